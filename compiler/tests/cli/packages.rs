//! Crates as packages: their names, and what they are to a workspace around them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{folder, succeeds};

const BUILD: [&str; 6] = ["build", "small.net", "--weights", "fill", "--target", "base"];

/// What `cargo metadata` says of the package in a folder, without any warning.
fn metadata(folder: &Path) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--offline", "--no-deps", "--format-version", "1", "--color", "never"];
    let output = Command::new(cargo).args(arguments).current_dir(folder).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("warning"), "{}: {said}", folder.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_program_says_which_version_it_is() {
    let version = concat!("kiln ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(succeeds(folder().path(), &["--version"]), version);
}

#[test]
fn a_folder_of_any_name_is_a_package() {
    let folder = folder();
    for (out, package) in
        [("my__net", "my__net"), ("über", "ber"), ("_x", "x"), ("test", "net_test"), ("std", "net_std")]
    {
        succeeds(folder.path(), &[&BUILD[..], &["--out", out]].concat());
        let said = metadata(&folder.path().join(out));
        assert!(said.contains(&format!("\"name\":\"{package}\"")), "{out}: {said}");
    }
}

#[test]
fn a_crate_is_a_member_of_a_workspace_that_lists_it_and_one_of_its_own_in_any_other() {
    let folder = folder();
    let path = folder.path();
    let read = |out: &str| fs::read_to_string(path.join(out).join("Cargo.toml")).expect("a manifest");
    succeeds(path, &[&BUILD[..], &["--out", "alone"]].concat());
    assert!(read("alone").contains("[profile.dev]") && !read("alone").contains("[workspace]"));

    fs::write(path.join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"nets/*\"]\n").expect("a file");
    let printed = succeeds(path, &[&BUILD[..], &["--out", "nets/small"]].concat());
    assert!(!printed.contains("workspace"), "{printed}");
    assert!(!read("nets/small").contains("[profile") && !read("nets/small").contains("[workspace]"));
    assert!(metadata(path).contains("\"name\":\"small\""));

    let printed = succeeds(path, &[&BUILD[..], &["--out", "other"]].concat());
    assert!(printed.contains("a workspace of its own") && read("other").contains("\n[workspace]\n"), "{printed}");
    assert!(read("other").contains("[profile.dev]") && metadata(&path.join("other")).contains("\"name\":\"other\""));
}
