//! Outputs beside those that are expected.

use std::fs;

use super::inputs::npy;
use super::{fails, folder, kiln, succeeds};

/// Two outputs of one input.
const TWO: &str = "\
pub net Two(x: [2, 3]) { let double = x + x; let positive = x.relu(); (double, positive) }
";

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn an_output_is_compared_and_a_difference_fails() {
    let folder = folder();
    let path = folder.path();
    let run = ["run", "small.net", "--weights", "fill", "--engine", "interp", "--input", "fill"];
    succeeds(path, &[&run[..], &["--output", "y.npy"]].concat());
    fn with<'a>(run: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [run, &["--compare"], more].concat()
    }
    let compare = |more: &[&'static str]| with(&run, more);
    let same = succeeds(path, &compare(&["y.npy"]));
    assert!(same.ends_with(": as expected, no difference\n"), "{same}");
    let mut bytes = fs::read(path.join("y.npy")).expect("the output");
    let at = bytes.len() - 4 * 7;
    let value = f32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    bytes[at..at + 4].copy_from_slice(&(value + 0.5).to_le_bytes());
    fs::write(path.join("off.npy"), &bytes).expect("a file");
    let output = kiln(path, &compare(&["off.npy"]));
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("largest difference 5.000e-1,") && printed.contains("at [0, 3] "), "{printed}");
    let message = fails(path, &compare(&["off.npy"]));
    assert!(message.contains("off off.npy, more than the tolerance of 1e-5"), "{message}");
    succeeds(path, &compare(&["off.npy", "--tolerance", "1e3"]));
    let json = kiln(path, &compare(&["off.npy", "--json"]));
    let object: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((json.status.code(), &object["compared"][0]["holds"]), (Some(1), &false.into()));
    assert_eq!(object["compared"][0]["at"], serde_json::json!([0, 3]));
    // The crate, whose last bits are not the interpreter's.
    let crates = ["run", "small.net", "--weights", "fill", "--input", "fill", "--compare", "y.npy"];
    succeeds(path, &crates);
}

#[test]
fn each_of_several_outputs_is_compared_by_its_name() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("two.net"), TWO).expect("a file");
    npy(&path.join("x.npy"), "<f4", "(2, 3)", &floats(&[1.0, -2.0, 3.0, -4.0, 5.0, -6.0]));
    npy(
        &path.join("double.npy"),
        "<f8",
        "(2, 3)",
        &[2.0, -4.0, 6.0, -8.0, 10.0, -12.0f64].map(f64::to_le_bytes).concat(),
    );
    npy(&path.join("positive.npy"), "<f4", "(2, 3)", &floats(&[1.0, 0.0, 3.0, 0.0, 5.0, 0.0]));
    npy(&path.join("flat.npy"), "<f4", "(6,)", &floats(&[0.0; 6]));
    let run = ["run", "two.net", "--engine", "interp", "--input", "x.npy"];
    let both = ["--compare", "positive=positive.npy", "--compare", "double=double.npy"];
    let printed = succeeds(path, &[&run[..], &both].concat());
    assert!(
        printed.ends_with("positive: as expected, no difference\ndouble: as expected, no difference\n"),
        "{printed}"
    );
    let refused = |more: &[&str]| fails(path, &[&run[..], more].concat());
    let message = refused(&["--compare", "positive=double.npy", "--compare", "double=positive.npy"]);
    assert!(message.contains("`positive` is") && message.contains("`double` is"), "{message}");
    assert!(refused(&["--compare", "double.npy"]).contains("names no output"));
    assert!(refused(&["--compare", "other=double.npy"]).contains("names no output"));
    assert!(refused(&["--compare", "double=x.npy", "--compare", "double=x.npy"]).contains("is given twice"));
    let message = refused(&["--compare", "double=flat.npy"]);
    assert!(message.contains("flat.npy has shape [6], but the output `double` is [2, 3]"), "{message}");
    assert!(refused(&["--compare", "double=none.npy"]).contains("none.npy"));
}
