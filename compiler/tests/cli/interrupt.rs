//! What is left when a signal ends the program.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{command, folder, names};

/// In place of cargo: writes as cargo does, with a process of its own that goes on writing, and says the number of both.
const CARGO: &str = r#"#!/bin/sh
mkdir -p "$CARGO_TARGET_DIR"
head -c 1000000 /dev/zero >"$CARGO_TARGET_DIR/large"
(while :; do date >>"$CARGO_TARGET_DIR/more"; sleep 0.05; done) &
echo "$$ $!" >pids.new && mv pids.new "$KILN_TEST_PIDS"
wait
"#;

/// A folder with the small network and a cargo that never ends.
fn place() -> tempfile::TempDir {
    let folder = folder();
    let cargo = folder.path().join("cargo");
    fs::write(&cargo, CARGO).expect("a file");
    fs::set_permissions(cargo, fs::Permissions::from_mode(0o755)).expect("a program");
    for name in ["tmp", "out"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    folder
}

/// A run that waits for its crate, with the numbers of the processes that build it.
struct Running {
    child: Child,
    builders: Vec<String>,
}

fn started(path: &Path, outputs: &str) -> Running {
    let pids = path.join(format!("pids-{}", outputs.replace('/', "-")));
    let mut command = command(path);
    command.env("TMPDIR", path.join("tmp")).env("KILN_CACHE", path.join("cache"));
    command.env("CARGO", path.join("cargo")).env("KILN_TEST_PIDS", &pids);
    command.args(["run", "small.net", "--weights", "fill", "--input", "fill", "--outputs", outputs]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("kiln runs");
    let text = waited(|| fs::read_to_string(&pids).ok());
    Running { child, builders: text.split_whitespace().map(str::to_owned).collect() }
}

/// What comes to be within a minute.
fn waited<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().expect("kill").success());
}

/// Whether a process is there, and no zombie.
fn is_alive(process: &str) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", process]).output().expect("ps");
    let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

/// What is in the folders that temporary ones are made in.
fn left(path: &Path) -> Vec<PathBuf> {
    ["tmp", "cache", "out"]
        .iter()
        .flat_map(|folder| fs::read_dir(path.join(folder)).into_iter().flatten())
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[test]
fn a_signal_leaves_no_folder_and_no_process() {
    let folder = place();
    let path = folder.path();
    let before = names(path);
    for (signal, number) in [("-INT", 2), ("-TERM", 15)] {
        let mut running = started(path, "out/made/y");
        assert!(left(path).len() >= 3, "the test looks at the right places: {:?}", left(path));
        kill(signal, &running.child.id().to_string());
        let status = running.child.wait().expect("kiln ends");
        assert_eq!(status.signal(), Some(number), "{status}");
        assert!(left(path).is_empty(), "{:?}", left(path));
        waited(|| (!running.builders.iter().any(|process| is_alive(process))).then_some(()));
        assert!(left(path).is_empty(), "{:?}", left(path));
        fs::remove_file(path.join("pids-out-made-y")).expect("a file");
    }
    fs::remove_dir(path.join("cache")).expect("an empty folder");
    assert_eq!(names(path), before);
}

#[test]
fn what_was_killed_is_cleaned_up_by_the_next_one_and_what_runs_is_not() {
    let folder = place();
    let path = folder.path();
    let mut killed = started(path, "out/a");
    kill("-KILL", &killed.child.id().to_string());
    killed.child.wait().expect("kiln ends");
    killed.builders.iter().for_each(|process| kill("-KILL", process));
    waited(|| (!killed.builders.iter().any(|process| is_alive(process))).then_some(()));
    let stale = left(path);
    assert_eq!(stale.len(), 3, "in the temporary folder, in the cache, beside the outputs: {stale:?}");
    let mut running = started(path, "out/b");
    let used: Vec<PathBuf> = left(path).into_iter().filter(|place| !stale.contains(place)).collect();
    assert_eq!((used.len(), left(path).len()), (3, 3), "{:?}", left(path));
    let mut next = started(path, "out/c");
    assert!(used.iter().all(|place| place.is_dir()), "another one's folders are left alone");
    for other in [&mut running, &mut next] {
        kill("-TERM", &other.child.id().to_string());
        other.child.wait().expect("kiln ends");
    }
    assert!(left(path).is_empty(), "{:?}", left(path));
}
