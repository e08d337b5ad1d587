//! The text of the files that an emitted crate holds as its module `rt`.
//!
//! [`SOURCES`] are all of them, `mod.rs` included, as path relative to the module's folder and text, without tests. They
//! need nothing beside `std` and each other, under edition 2024.

/// Path and text of each file, `mod.rs` first.
pub const SOURCES: &[(&str, &str)] = &[
    ("mod.rs", MOD),
    ("arena.rs", without_tests(include_str!("arena.rs"))),
    ("content_hash.rs", without_tests(include_str!("content_hash.rs"))),
    ("model.rs", without_tests(include_str!("model.rs"))),
    ("pool.rs", without_tests(include_str!("pool.rs"))),
    ("session.rs", without_tests(include_str!("session.rs"))),
    ("simd/avx2.rs", without_tests(include_str!("simd/avx2.rs"))),
    ("simd/avx512.rs", without_tests(include_str!("simd/avx512.rs"))),
    ("simd/base.rs", without_tests(include_str!("simd/base.rs"))),
    ("simd/mod.rs", without_tests(include_str!("simd/mod.rs"))),
    ("simd/portable.rs", without_tests(include_str!("simd/portable.rs"))),
    ("step.rs", without_tests(include_str!("step.rs"))),
    ("target.rs", without_tests(include_str!("target.rs"))),
    ("tensor.rs", without_tests(include_str!("tensor.rs"))),
    ("weights_file.rs", without_tests(include_str!("weights_file.rs"))),
];

const MOD: &str = "\
//! What the kernels run on: vectors, memory, workers, weights and sessions.

#![allow(dead_code, reason = \"a network uses the parts that it needs\")]

pub mod arena;
pub mod content_hash;
pub mod model;
pub mod pool;
pub mod session;
pub mod simd;
pub mod step;
pub mod target;
pub mod tensor;
pub mod weights_file;
";

/// The same as one text, for the inside of a module: each file in the place of its declaration.
pub fn as_one_text() -> String {
    with_modules(MOD, "")
}

/// A file's text with the files of its modules, which lie in `folder`.
fn with_modules(text: &str, folder: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let name = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'));
        let file = name.and_then(|name| {
            let (alone, within) = (format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs"));
            SOURCES.iter().find(|(path, _)| *path == alone || *path == within)
        });
        match (name, file) {
            (Some(name), Some((_, text))) => {
                out += &format!("pub mod {name} {{\n{}}}\n", with_modules(text, &format!("{folder}{name}/")));
            }
            _ => {
                out += line;
                out.push('\n');
            }
        }
    }
    out
}

/// The text before its tests, which come last in every file.
const fn without_tests(text: &'static str) -> &'static str {
    const MARK: &[u8] = b"\n#[cfg(test)]\nmod tests";
    let bytes = text.as_bytes();
    let mut start = 0;
    while start + MARK.len() <= bytes.len() {
        let mut same = 0;
        while same < MARK.len() && bytes[start + same] == MARK[same] {
            same += 1;
        }
        if same == MARK.len() {
            // The mark is ASCII, so the cut is between characters.
            return text.split_at(start).0;
        }
        start += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stand_alone() {
        let modules: Vec<&str> =
            MOD.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
        for (path, text) in SOURCES {
            assert!(!text.contains("crate::") && !text.contains("kiln_rt"), "{path} names a crate");
            assert!(!text.contains("#[cfg(test)]"), "{path} has tests");
            assert!(text.starts_with("//! ") && text.ends_with('\n'), "{path}");
        }
        for module in modules {
            let (file, folder) = (format!("{module}.rs"), format!("{module}/mod.rs"));
            assert!(SOURCES.iter().any(|(path, _)| *path == file || *path == folder), "{module}");
        }
    }

    /// Files as a crate of their own, with warnings as errors.
    fn compile(name: &str, files: &[(&str, &str)]) {
        use std::{env, fs, process::Command};
        let folder = env::temp_dir().join(format!("kiln-rt-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc)
            .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "-D", "warnings", "--out-dir"])
            .arg(&folder)
            .arg(folder.join("lib.rs"))
            .output()
            .unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn files_compile_alone() {
        let files: Vec<(String, &str)> = SOURCES.iter().map(|(path, text)| (format!("rt/{path}"), *text)).collect();
        let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        files.push(("lib.rs", "mod rt;\n"));
        compile("files", &files);
    }

    #[test]
    fn one_text_compiles_at_any_depth() {
        let text = as_one_text();
        assert_eq!(SOURCES.len() - 1, text.lines().filter(|line| line.starts_with("pub mod ")).count());
        assert!(!text.lines().any(|line| line.starts_with("pub mod ") && line.ends_with(';')));
        compile("text", &[("lib.rs", &format!("pub mod a {{ pub mod b {{\n{text}}} }}\n"))]);
    }
}
