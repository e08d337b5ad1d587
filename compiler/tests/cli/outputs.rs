//! What the program leaves behind: where its outputs come to stand, and what is there after it failed.

use std::fs;
use std::path::Path;

use super::photos::{COLOURS, photos};
use super::{fails, folder, names, succeeds, weights};

const RUN: [&str; 8] = ["run", "small.net", "--weights", "fill", "--input", "fill", "--engine", "interp"];

fn run(path: &Path, more: &[&str]) -> String {
    succeeds(path, &[&RUN[..], more].concat())
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_is_an_error_and_a_reader_that_stops_is_none() {
    use std::process::{Command, Stdio};
    let folder = folder();
    let graph = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(["graph", "small.net"]).current_dir(folder.path()).stdout(stdout).stderr(Stdio::piped());
        command.spawn().expect("kiln runs").wait_with_output().expect("kiln ends")
    };
    let full = graph(fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device").into());
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&full.stderr).contains("cannot write to standard output: No space left"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let stopped = graph(writer.into());
    assert!(stopped.status.success() && stopped.stderr.is_empty(), "{stopped:?}");
}

#[cfg(unix)]
#[test]
fn outputs_are_as_readable_as_any_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("folder")).expect("a folder");
    run(path, &["--output", "new/y.npy", "--outputs", "all"]);
    succeeds(path, &["export", "small.net", "--weights", "fill", "--out", "m.onnx"]);
    let mode = |name: &str| path.join(name).metadata().expect("an output").permissions().mode() & 0o777;
    for name in ["new/y.npy", "m.onnx"] {
        assert_eq!(mode(name), mode("small.net"), "{name}");
    }
    assert_eq!((mode("all"), mode("new")), (mode("folder"), mode("folder")));
}

#[test]
fn a_folder_of_results_is_not_kilns_to_replace() {
    let folder = folder();
    let path = folder.path();
    run(path, &["--outputs", "results"]);
    let before = names(&path.join("results"));
    let message = fails(path, &[&RUN[..], &["--outputs", "results"]].concat());
    assert!(message.contains("results exists already") && !message.contains("--force"), "{message}");
    let message = fails(path, &["build", "small.net", "--weights", "fill", "--out", "results", "--force"]);
    assert!(message.contains("not made by kiln"), "{message}");
    assert_eq!(names(&path.join("results")), before);
}

#[test]
fn what_fails_leaves_no_folders_behind() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("w.safetensors"), weights(|name| name != "norm.bias", |_, shape| shape)).expect("a file");
    let unfit = ["small.net", "--weights", "w.safetensors", "--out", "pa/pb/pc"];
    let before = names(path);
    for verb in ["build", "export"] {
        assert!(fails(path, &[verb, "missing.onnx", "--out", "pa/pb/pc"]).contains("missing.onnx"));
        assert!(fails(path, &[&[verb], &unfit[..]].concat()).contains("norm.bias"));
    }
    fs::write(path.join("colours.net"), COLOURS.replace(".flatten()", "")).expect("a file");
    let csv = ["run", "colours.net", "--weights", "fill", "--input", "fill", "--csv", "--output", "pa/y.npy"];
    assert!(fails(path, &csv).contains("no classes to print"));
    fs::remove_file(path.join("colours.net")).expect("a file");
    assert_eq!(names(path), before);
}

#[test]
fn a_place_where_nothing_can_stand_is_told_before_anything_runs() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("there")).expect("a folder");
    let before = names(path);
    for (args, words) in [
        (["--output", "small.net/y.npy"], "small.net is not a folder"),
        (["--outputs", "small.net/a/b"], "small.net is not a folder"),
        (["--output", "there"], "there is a folder"),
        (["--output", "none/"], "none/ is a folder"),
        #[cfg(target_os = "linux")]
        (["--output", "/dev/null"], "/dev/null is not a file"),
    ] {
        // By the engine that builds a crate first.
        let run = ["run", "small.net", "--weights", "fill", "--input", "fill"];
        let message = fails(path, &[&run[..], &args].concat());
        assert!(message.contains(words) && !message.contains(".kiln-") && !message.contains("/tmp"), "{message}");
    }
    assert_eq!(names(path), before);
}

#[test]
fn outputs_without_classes_are_printed_as_json() {
    let folder = photos(&[("a.png", [200, 100, 50]), ("b.png", [100, 100, 150])]);
    let path = folder.path();
    let net = COLOURS
        .replace("image.global_avg_pool().flatten()", "let y = image.max_pool(2); let z = y.global_avg_pool(); (z, y)");
    fs::write(path.join("maps.net"), net).expect("a file");
    let json = |more: &[&str]| -> serde_json::Value {
        let run = ["run", "maps.net", "--weights", "fill", "--engine", "interp", "--json"];
        serde_json::from_str(&succeeds(path, &[&run[..], more].concat())).expect("JSON")
    };
    let images = json(&["--input", "photos", "--set", "image=[2, 3, 4, 4]"])["images"].clone();
    assert_eq!(images[1]["file"], "photos/b.png");
    let z = serde_json::json!({"name": "z", "shape": [1, 3, 1, 1], "dtype": "f32", "numbers": [0.0, 0.0, 1.0]});
    assert_eq!(images[1]["outputs"][0], z);
    assert_eq!(images[0]["outputs"][1]["numbers"].as_array().map(Vec::len), Some(12));
    let large = json(&["--input", "fill", "--set", "image=[2, 3, 64, 64]"])["images"].clone();
    assert_eq!(large[0]["outputs"][0]["shape"], serde_json::json!([2, 3, 1, 1]));
    assert_eq!(large[0]["outputs"][1]["first"].as_array().map(Vec::len), Some(8));
    assert!(large[1].is_null() && large[0]["outputs"][1].get("numbers").is_none());
}

#[test]
fn weights_that_nobody_named_are_not_made_up() {
    let folder = folder();
    let path = folder.path();
    let before = names(path);
    for verb in ["build", "export"] {
        let message = fails(path, &[verb, "small.net", "--out", "out"]);
        assert!(message.contains("small.net comes without weights") && message.contains("--weights fill"), "{message}");
        assert_eq!(names(path), before);
    }
    // A network that has none needs none.
    fs::write(path.join("none.net"), "pub net None(x: [1, 3]) { x.relu() }").expect("a file");
    succeeds(path, &["build", "none.net", "--out", "crate", "--target", "base"]);
    succeeds(path, &["export", "none.net", "--out", "none.onnx"]);
    succeeds(path, &["run", "none.net", "--input", "fill", "--engine", "interp"]);
}

#[test]
fn the_demo_keeps_its_crate_where_it_is_told() {
    let folder = folder();
    let printed = succeeds(folder.path(), &["demo", "--out", "kept/demo1"]);
    assert!(printed.contains("360 of 360") && printed.contains("the crate is in  kept/demo1"), "{printed}");
    assert!(folder.path().join("kept/demo1/src/lib.rs").is_file());
}

/// Plain loops over so many numbers take more time and memory than compiling does.
#[test]
fn a_large_network_has_a_stored_answer_where_it_is_asked_for() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("large.net"), "pub net Large(x: [1, 1, 2048, 1536]) { x.relu() }").expect("a file");
    let build = ["build", "large.net", "--target", "base", "--out"];
    assert!(succeeds(path, &[&build[..], &["large"]].concat()).contains("no stored answer"));
    assert!(!path.join("large/tests/golden.rs").exists());
    assert!(!succeeds(path, &[&build[..], &["asked", "--golden"]].concat()).contains("no stored answer"));
    let answer = fs::metadata(path.join("asked/tests/golden_output.bin")).expect("the answer");
    assert_eq!(answer.len(), 4 * 2048 * 1536);
    assert!(path.join("asked/tests/golden.rs").exists());
}
