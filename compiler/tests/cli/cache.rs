//! Programs that are built once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{command, folder, names};

const RUN: [&str; 5] = ["run", "small.net", "--input", "fill", "--output"];

/// The program with a cache of the test's own.
fn with_cache(folder: &Path) -> Command {
    let mut command = command(folder);
    command.env("KILN_CACHE", folder.join("cache"));
    command
}

fn answer(mut command: Command, folder: &Path, weights: &str) -> Vec<u8> {
    let output = command.args(RUN).args(["y.npy", "--weights", weights]).output().expect("kiln runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(folder.join("y.npy")).expect("an output")
}

/// The program of the only entry.
fn program(folder: &Path) -> PathBuf {
    let entries = names(&folder.join("cache"));
    assert_eq!(entries.len(), 1, "{entries:?}");
    folder.join("cache").join(&entries[0]).join("program")
}

#[test]
fn a_program_is_built_once_whatever_its_weights_and_again_where_it_is_broken() {
    let folder = folder();
    let path = folder.path();
    let says = |args: &[&str]| {
        let output = with_cache(path).arg("cache").args(args).output().expect("kiln runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(says(&[]).ends_with("cache\n0 programs, 0 bytes of at most 512,000,000\n"), "{}", says(&[]));
    assert!(!path.join("cache").exists());
    let first = answer(with_cache(path), path, "fill");
    // Without cargo nothing can be built.
    let without_cargo = || {
        let mut command = with_cache(path);
        command.env("CARGO", path.join("no-cargo"));
        command
    };
    assert_eq!(answer(without_cargo(), path, "fill"), first);
    let other = answer(without_cargo(), path, "fill:3");
    assert_ne!(other, first, "other weights, the same program");
    let mut another = without_cargo();
    another.args(RUN).args(["y.npy", "--weights", "fill", "--set", "image=[1, 3, 9, 8]"]);
    assert!(!another.output().expect("kiln runs").status.success(), "another shape is another program");

    let whole = fs::read(program(path)).expect("a program");
    for broken in [&whole[..whole.len() / 2], b"#!/bin/sh\nexit 0\n"] {
        fs::write(program(path), broken).expect("a file");
        assert_eq!(answer(with_cache(path), path, "fill"), first);
        assert!(fs::read(program(path)).expect("a program").len() > broken.len());
    }
    assert!(says(&[]).contains("\n1 program, "), "{}", says(&[]));
    assert!(says(&["--clear"]).starts_with("removed 1 program, "));
    assert_eq!(names(&path.join("cache")), [""; 0]);
}

#[test]
fn what_runs_at_the_same_time_shares_a_cache() {
    let folder = folder();
    let path = folder.path();
    let children: Vec<_> = (0..3)
        .map(|i| {
            let mut command = with_cache(path);
            command.args(RUN).args([&format!("y{i}.npy"), "--weights", "fill"]);
            command.spawn().expect("kiln runs")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("kiln ends").success());
    }
    let answers: Vec<Vec<u8>> = (0..3).map(|i| fs::read(path.join(format!("y{i}.npy"))).expect("an output")).collect();
    assert!(answers[0] == answers[1] && answers[1] == answers[2]);
    program(path);
}

#[cfg(unix)]
#[test]
fn where_nothing_can_be_kept_it_runs_all_the_same() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("file"), "").expect("a file");
    let mut command = command(path);
    command.env("KILN_CACHE", path.join("file/cache")).args(RUN).args(["y.npy", "--weights", "fill"]);
    let output = command.output().expect("kiln runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("not kept for the next run"), "{said}");
}
