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

    /// The files as a crate of their own, with warnings as errors.
    #[test]
    fn files_compile_alone() {
        use std::{env, fs, process::Command};
        let folder = env::temp_dir().join(format!("kiln-rt-sources-{}", std::process::id()));
        for (path, text) in SOURCES {
            let path = folder.join("rt").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(folder.join("lib.rs"), "mod rt;\n").unwrap();
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
}
