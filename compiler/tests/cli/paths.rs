//! Paths that are no text.

#![cfg(target_os = "linux")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::photos::{COLOURS, photos};
use super::{NET, kiln, names, weights};

/// A name that is no UTF-8, with something before and behind.
fn name(before: &str, behind: &str) -> OsString {
    OsString::from_vec([before.as_bytes(), b"\xff", behind.as_bytes()].concat())
}

fn succeeds(folder: &Path, args: &[OsString]) -> String {
    let output = kiln(folder, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn args(args: &[&dyn AsRef<OsStr>]) -> Vec<OsString> {
    args.iter().map(|arg| arg.as_ref().to_owned()).collect()
}

#[test]
fn every_path_may_be_no_text() {
    let folder = photos(&[("a.png", [200, 100, 50])]);
    let path = folder.path();
    let home = path.join(name("h", "me"));
    fs::create_dir(&home).expect("a folder");
    fs::rename(path.join("photos"), home.join(name("photos", ""))).expect("a folder");
    fs::rename(home.join(name("photos", "")).join("a.png"), home.join(name("photos", "")).join(name("a", ".png")))
        .expect("a photo");
    fs::write(home.join(name("s", ".net")), NET).expect("a file");
    fs::write(home.join("colours.net"), COLOURS).expect("a file");
    fs::write(home.join("part.net"), "use \"colours.net\";\npub net Part(image: [1, 3, 4, 4]) { Colours(image) }")
        .expect("a file");
    fs::write(home.join(name("w", ".safetensors")), weights(|_| true, |_, shape| shape)).expect("a file");
    let within = |rest: OsString| {
        let mut path = name("h", "me/");
        path.push(rest);
        path
    };
    let (net, weights) = (within(name("s", ".net")), within(name("w", ".safetensors")));
    let (model, outputs) = (within(name("m", ".onnx")), within(name("out", "")));
    let fill: [&dyn AsRef<OsStr>; 4] = [&"--input", &"fill", &"--engine", &"interp"];

    succeeds(path, &args(&[&"inspect", &net]));
    let mut named = net.clone();
    named.push("#Small");
    succeeds(path, &args(&[&"inspect", &named]));
    // What a file of such a folder uses is found beside it.
    let mut part = within("part.net".into());
    part.push("#Part");
    succeeds(path, &args(&[&"inspect", &part]));
    succeeds(path, &args(&[&"weights", &net, &weights]));
    succeeds(path, &args(&[&"export", &net, &"--weights", &weights, &"--out", &model]));
    let output = within(name("y", ".npy"));
    let run: Vec<&dyn AsRef<OsStr>> = [&[&"run" as &dyn AsRef<OsStr>, &model], &fill[..]].concat();
    succeeds(path, &args(&[&run[..], &[&"--output", &output, &"--outputs", &outputs]].concat()));
    let compared = succeeds(path, &args(&[&run[..], &[&"--compare", &output]].concat()));
    assert!(compared.contains("no difference"), "{compared}");
    // By the crate, whose temporary files are in such a folder too; and the options of the form NAME=FILE.
    let x = home.join(name("x", ".npy"));
    super::inputs::npy(&x, "<f4", "(1, 3, 9, 7)", &[0; 4 * 3 * 9 * 7]);
    let mut input = OsString::from("image=");
    input.push(&x);
    let temporary = home.join(name("tmp", ""));
    fs::create_dir(&temporary).expect("a folder");
    let arguments = args(&[&"run", &net, &"--weights", &weights, &"--input", &input]);
    let output = super::command(path).args(&arguments).env("TMPDIR", &temporary).output().expect("kiln runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(names(&temporary).is_empty());
    let photos = within(name("photos", ""));
    let csv = succeeds(
        path,
        &args(&[&"run", &within("colours.net".into()), &"--engine", &"interp", &"--csv", &"--input", &photos]),
    );
    assert!(csv.lines().nth(1).is_some_and(|line| line.contains("a\u{fffd}.png,1,0")), "{csv}");
    let built = within(name("cr", "te"));
    succeeds(path, &args(&[&"build", &net, &"--weights", &weights, &"--target", &"base", &"--out", &built]));
    assert!(path.join(&built).join("src/lib.rs").is_file());
    assert!(Path::new(OsStr::from_bytes(outputs.as_bytes())).parent().is_some_and(|home| path.join(home).is_dir()));

    let missing = kiln(path, &args(&[&"inspect", &within(name("none", ".net"))]));
    let message = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(missing.status.code() == Some(1) && message.contains("none\u{fffd}.net"), "{message}");
}
