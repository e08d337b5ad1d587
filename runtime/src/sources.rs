//! The text of the files that an emitted crate holds as its module `rt`.
//!
//! They need nothing beside `core`, or `std`, and each other, under edition 2024; and they come without tests. Which of
//! them a crate holds, and when it compiles them, depends on its targets and on the [`Part`] that a file belongs to.

use super::target::Target;

/// When a crate compiles a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Always: it needs nothing but `core`.
    Core,
    /// With the feature `std`.
    Std,
    /// With the feature `capi`: it needs nothing but `core`.
    Foreign,
    /// With both.
    ForeignStd,
}

/// A module of `rt`.
struct Module {
    name: &'static str,
    part: Part,
    text: &'static str,
}

const MODULES: &[Module] = &[
    module("arena", Part::Std, include_str!("arena.rs")),
    module("blocks", Part::Core, include_str!("blocks.rs")),
    module("content_hash", Part::Core, include_str!("content_hash.rs")),
    module("detect", Part::Std, include_str!("detect.rs")),
    module("foreign", Part::ForeignStd, include_str!("foreign.rs")),
    module("foreign_lent", Part::Foreign, include_str!("foreign_lent.rs")),
    module("lent", Part::Core, include_str!("lent.rs")),
    module("model", Part::Std, include_str!("model.rs")),
    module("network", Part::Core, include_str!("network.rs")),
    module("plan", Part::Core, include_str!("plan.rs")),
    module("pointers", Part::Foreign, include_str!("pointers.rs")),
    module("pool", Part::Std, include_str!("pool.rs")),
    module("run", Part::Std, include_str!("run.rs")),
    module("session", Part::Std, include_str!("session.rs")),
    module("simd", Part::Core, include_str!("simd/mod.rs")),
    module("target", Part::Core, include_str!("target.rs")),
    module("tensor", Part::Core, include_str!("tensor.rs")),
    module("weights_file", Part::Core, include_str!("weights_file.rs")),
];

const fn module(name: &'static str, part: Part, text: &'static str) -> Module {
    Module { name, part, text: without_tests(text) }
}

/// The functions of all vectors, a module of `simd`.
const FUNCTIONS: &str = include_str!("simd/functions.rs");

/// The vectors of a target, a module of `simd`.
const fn vectors(target: Target) -> &'static str {
    match target {
        Target::Avx512 => include_str!("simd/avx512.rs"),
        Target::Avx2 => include_str!("simd/avx2.rs"),
        Target::Base => include_str!("simd/base.rs"),
        Target::Neon => include_str!("simd/neon.rs"),
        Target::Portable => include_str!("simd/portable.rs"),
    }
}

const MOD: &str = "\
//! What the kernels run on: vectors, memory, workers, weights and sessions.

#![allow(dead_code, reason = \"a network uses the parts that it needs\")]
";

/// The files for a crate with these targets: path relative to the module's folder, and text. Modules of the parts beyond
/// [`Part::Core`] are declared under the features of their parts.
pub fn files(targets: &[Target]) -> Vec<(String, String)> {
    let mut root = format!("{MOD}\n");
    let mut files = Vec::new();
    for Module { name, part, text } in MODULES {
        root += match part {
            Part::Core => "",
            Part::Std => "#[cfg(feature = \"std\")]\n",
            Part::Foreign => "#[cfg(feature = \"capi\")]\n",
            Part::ForeignStd => "#[cfg(all(feature = \"capi\", feature = \"std\"))]\n",
        };
        root += &format!("pub mod {name};\n");
        match *name {
            "simd" => {
                files.push(("simd/mod.rs".to_owned(), simd(targets)));
                files.push(("simd/functions.rs".to_owned(), FUNCTIONS.to_owned()));
            }
            _ => files.push((format!("{name}.rs"), (*text).to_owned())),
        }
    }
    files.push(("mod.rs".to_owned(), root));
    files.extend(targets.iter().map(|&target| (format!("simd/{target}.rs"), vectors(target).to_owned())));
    files.sort();
    files
}

/// The same without features, as one text for the inside of a module: each file in the place of its declaration. What
/// other languages call is left out.
pub fn as_one_text(targets: &[Target]) -> String {
    let mut text = format!("{MOD}\n");
    for Module { name, part, text: inside } in MODULES {
        match (part, *name) {
            (Part::Foreign | Part::ForeignStd, _) => {}
            (Part::Core | Part::Std, "simd") => {
                let functions = format!("mod functions {{\n{FUNCTIONS}}}\n");
                let mut simd = simd(targets).replacen("mod functions;\n", &functions, 1);
                for &target in targets {
                    let declaration = format!("pub mod {target};\n");
                    let module = format!("pub mod {target} {{\n{}}}\n", vectors(target));
                    simd = simd.replacen(&declaration, &module, 1);
                }
                text += &format!("pub mod simd {{\n{simd}}}\n");
            }
            (Part::Core | Part::Std, _) => text += &format!("pub mod {name} {{\n{inside}}}\n"),
        }
    }
    text
}

/// The root of the vectors, with the modules of these targets alone.
fn simd(targets: &[Target]) -> String {
    let left_out: Vec<&str> =
        Target::ALL.into_iter().filter(|target| !targets.contains(target)).map(Target::name).collect();
    let mut lines: Vec<&str> = Vec::new();
    for line in without_tests(include_str!("simd/mod.rs")).lines() {
        let row = |name: &&str| line.starts_with(&format!("//! | `{name}` |"));
        let declaration = |name: &&str| line == format!("pub mod {name};");
        if left_out.iter().any(declaration) {
            // Its condition stands above.
            lines.pop_if(|last| last.starts_with("#[cfg("));
        } else if !left_out.iter().any(row) {
            lines.push(line);
        }
    }
    lines.push("");
    lines.join("\n")
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

    const SOME: [&[Target]; 4] = [&Target::ALL, &[Target::Avx2], &[Target::Avx512, Target::Base], &[Target::Portable]];

    #[test]
    fn files_stand_alone() {
        for (path, text) in files(&Target::ALL) {
            assert!(!text.contains("crate::") && !text.contains("kiln_rt"), "{path} names a crate");
            assert!(!text.contains("#[cfg(test)]"), "{path} has tests");
            assert!(text.starts_with("//! ") && text.ends_with('\n'), "{path}");
        }
        let names: Vec<&str> = MODULES.iter().map(|module| module.name).collect();
        assert!(names.is_sorted());
    }

    #[test]
    fn vectors_are_those_of_the_targets() {
        for targets in SOME {
            let (files, text) = (files(targets), as_one_text(targets));
            let simd = &files.iter().find(|(path, _)| path == "simd/mod.rs").unwrap().1;
            for target in Target::ALL {
                let there = targets.contains(&target);
                assert_eq!(files.iter().any(|(path, _)| *path == format!("simd/{target}.rs")), there, "{target}");
                assert_eq!(simd.contains(&format!("pub mod {target};")), there, "{target}");
                assert_eq!(simd.contains(&format!("| `{target}` |")), there, "{target}");
                assert_eq!(text.contains(&format!("pub mod {target} {{")), there, "{target}");
            }
        }
    }

    /// Files as a crate of their own, with warnings as errors.
    fn compile(name: &str, files: &[(&str, &str)], flags: &[&str]) {
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
            .args(flags)
            .output()
            .unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn files_compile_alone_with_any_features() {
        let std = ["--cfg", "feature=\"std\""];
        let foreign = ["--cfg", "feature=\"capi\""];
        let both = [std, foreign].concat();
        let known = ["--check-cfg", "cfg(feature, values(\"std\", \"capi\"))"];
        for (index, targets) in SOME.into_iter().enumerate() {
            let files: Vec<(String, String)> =
                files(targets).into_iter().map(|(path, text)| (format!("rt/{path}"), text)).collect();
            let mut files: Vec<(&str, &str)> =
                files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            files.push(("lib.rs", "#![cfg_attr(not(feature = \"std\"), no_std)]\nmod rt;\n"));
            let features: &[&[&str]] = if index == 0 { &[&[], &std, &foreign, &both] } else { &[&std] };
            for (set, features) in features.iter().enumerate() {
                compile(&format!("files-{index}-{set}"), &files, &[&known[..], features].concat());
            }
        }
    }

    #[test]
    fn one_text_compiles_at_any_depth() {
        let text = as_one_text(&Target::ALL);
        assert!(!text.lines().any(|line| line.starts_with("pub mod ") && line.ends_with(';')));
        assert!(!text.contains("cfg(feature"));
        compile("text", &[("lib.rs", &format!("pub mod a {{ pub mod b {{\n{text}}} }}\n"))], &[]);
    }
}
