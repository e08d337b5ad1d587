//! Cargo and rustc, as emitted crates are built by them, and the programs that come out.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::interrupt;
use crate::report::{Context, Failure};

/// Whether a crate's weights are part of its programs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkedWeights {
    Yes,
    /// A program takes a file of them: `--weights FILE`.
    No,
}

/// What the caller builds with, which must not leak into an emitted crate.
const REMOVED: [&str; 5] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_INCREMENTAL"];

/// Builds an example of an emitted crate in release mode and gives the program's path.
pub(crate) fn build_example(folder: &Path, example: &str, linked: LinkedWeights) -> Result<PathBuf, Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Cargo runs in the folder: a relative path would be another one there.
    let folder = std::path::absolute(folder).context("cannot tell where the crate lies")?;
    let target = folder.join("target");
    let features: &[&str] = match linked {
        LinkedWeights::Yes => &[],
        LinkedWeights::No => &["--no-default-features", "--features", "std"],
    };
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--offline", "--quiet", "--example", example]).args(features);
    command.current_dir(&folder).env("CARGO_TARGET_DIR", &target);
    for name in REMOVED {
        command.env_remove(name);
    }
    let output = interrupt::output(&mut command).map_err(|error| {
        Failure::new(format!("cannot run cargo: {error}")).help("kiln builds emitted crates with it")
    })?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "cargo could not build the crate:\n{}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(target.join("release").join("examples").join(format!("{example}{}", env::consts::EXE_SUFFIX)))
}

/// A program's standard output.
pub(crate) fn run_program(program: &Path, args: &[OsString]) -> Result<String, Failure> {
    let output =
        interrupt::output(Command::new(program).args(args)).context(format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(message.trim().trim_start_matches("error: ").to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All that decides what a crate's sources become when they are built below a folder, apart from the sources: the compiler,
/// its host among that, and what cargo is told by variables and files.
pub(crate) fn fingerprint(folder: &Path) -> Result<Vec<u8>, Failure> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = interrupt::output(Command::new(&rustc).arg("-vV").current_dir(folder))
        .context(format!("cannot run {}", Path::new(&rustc).display()))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("rustc does not say its version:\n{message}")));
    }
    let mut text = output.stdout;
    let mut push = |bytes: &[u8]| {
        text.extend_from_slice(bytes);
        text.push(0);
    };
    let mut variables: Vec<(OsString, OsString)> = env::vars_os().filter(|(name, _)| decides(name)).collect();
    variables.sort();
    for (name, value) in variables {
        push(name.as_encoded_bytes());
        push(value.as_encoded_bytes());
    }
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    for folder in folder.ancestors().map(|folder| folder.join(".cargo")).chain(home) {
        for name in ["config", "config.toml"] {
            push(&fs::read(folder.join(name)).unwrap_or_default());
        }
    }
    Ok(text)
}

/// Whether a variable may decide what cargo builds.
fn decides(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let begins =
        ["CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_BUILD_", "RUSTC"].iter().any(|start| name.starts_with(start));
    begins && name != "CARGO_TARGET_DIR" && name != "CARGO_BUILD_JOBS" && !REMOVED.contains(&name)
}
