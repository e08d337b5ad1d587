//! Many cases as one program: a module each, as `network!` would expand to, beside the runtime.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use kiln_compiler::back::rust::{Compiled, ExpandOptions, Signature, emit_tokens};
use kiln_compiler::graph::{Elements, count};
use kiln_compiler::pipeline;
use kiln_rt::safetensors::{View, write};
use kiln_rt::weights::{Source as _, Stored};

use super::cases::Model;
use crate::crates::{cargo, from_bytes, lock, target_folder, to_bytes};

/// How many crates the cases are divided into, so that as many compilers run side by side.
const CRATES: usize = 2;

/// A case that is compiled.
pub(super) struct Program<'a> {
    pub(super) name: &'a str,
    pub(super) compiled: &'a pipeline::Compiled,
    pub(super) model: &'a Model,
}

/// The beginning of each crate: what runs a case in its folder. A case that fails leaves its mistake there.
const RUN: &str = r#"#![allow(warnings, reason = "each module stands where a macro would put it")]

use std::error::Error;
use std::path::{Path, PathBuf};

use kiln_rt::tensor::{DType, Elements, TensorInfo};

enum Tensor {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
}

impl Tensor {
    fn read(path: PathBuf, info: &TensorInfo) -> std::io::Result<Tensor> {
        let bytes = std::fs::read(path)?;
        let words = || bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
        Ok(match info.dtype {
            DType::F32 => Tensor::F32(words().map(f32::from_le_bytes).collect()),
            DType::I32 => Tensor::I32(words().map(i32::from_le_bytes).collect()),
            DType::I8 => Tensor::I8(bytes.iter().map(|&b| b as i8).collect()),
            DType::U8 => Tensor::U8(bytes),
        })
    }

    fn elements(&self) -> Elements<'_> {
        match self {
            Tensor::F32(v) => v.as_slice().into(),
            Tensor::I32(v) => v.as_slice().into(),
            Tensor::I8(v) => v.as_slice().into(),
            Tensor::U8(v) => v.as_slice().into(),
        }
    }
}

fn bytes(elements: Elements<'_>) -> Vec<u8> {
    match elements {
        Elements::F32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Elements::I32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Elements::I8(v) => v.iter().map(|&v| v as u8).collect(),
        Elements::U8(v) => v.to_vec(),
    }
}

type Answer = Result<(), Box<dyn Error>>;

fn run(
    folder: &Path,
    inputs: &[TensorInfo],
    answer: impl FnOnce(&[u8], &[(&str, Elements<'_>)], &dyn Fn(usize, Elements<'_>)) -> Answer,
) {
    let answer = || -> Answer {
        let weights = std::fs::read(folder.join("weights.safetensors"))?;
        let each = inputs.iter().enumerate();
        let tensors = each.map(|(i, info)| Tensor::read(folder.join(format!("input{i}.bin")), info));
        let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
        let named: Vec<(&str, Elements<'_>)> =
            inputs.iter().zip(&tensors).map(|(info, tensor)| (info.name, tensor.elements())).collect();
        answer(&weights, &named, &|i, elements| {
            std::fs::write(folder.join(format!("output{i}.bin")), bytes(elements)).expect("a file");
        })
    };
    let mistake = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(answer)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked".to_owned(),
    };
    std::fs::write(folder.join("mistake"), mistake).expect("a file");
}

macro_rules! case {
    ($folder:expr, $module:ident::$model:ident) => {
        run(&$folder.join(stringify!($module)), $module::$model::INPUTS, |weights, inputs, output| {
            let mut session = $module::$model::load(weights)?.session(kiln_rt::session::Threads::new(1));
            session.run_elements(inputs)?;
            for (i, info) in $module::$model::OUTPUTS.iter().enumerate() {
                output(i, session.elements(info.name).ok_or("an output is missing")?);
            }
            Ok(())
        });
    };
}

"#;

/// Builds and runs programs: the outputs of each case by its name, or what went wrong.
pub(super) fn run(programs: &[Program<'_>]) -> BTreeMap<String, Result<Vec<Elements>, String>> {
    let _one = lock();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    std::fs::remove_dir_all(&folder).ok();
    let members: Vec<String> = (0..CRATES).map(|i| format!("cases{i}")).collect();
    let parts: Vec<&[Program<'_>]> = programs.chunks(programs.len().div_ceil(CRATES).max(1)).collect();
    for (member, part) in members.iter().zip(&parts) {
        write_crate(&folder.join(member), member, part);
    }
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = {:?}\n\n[profile.dev]\nopt-level = {OPT_LEVEL}\ndebug = 0\n\
         incremental = false\n",
        &members[..parts.len()]
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).expect("a file");
    cargo(&folder, &["build"]);
    let mut answers = BTreeMap::new();
    for (member, part) in members.iter().zip(parts) {
        let folder = folder.join(member);
        let status = Command::new(target_folder().join("debug").join(member)).arg(&folder).status();
        assert!(status.expect("the program runs").success(), "{member}");
        for (i, program) in part.iter().enumerate() {
            answers.insert(program.name.to_owned(), answer(&folder.join(format!("case{i}")), program));
        }
    }
    std::fs::remove_dir_all(&folder).ok();
    answers
}

/// At level 0 vectors live in memory, which is slow to run, and quick to build.
const OPT_LEVEL: u8 = 0;

fn answer(folder: &Path, program: &Program<'_>) -> Result<Vec<Elements>, String> {
    if let Ok(mistake) = std::fs::read_to_string(folder.join("mistake")) {
        return Err(mistake);
    }
    let each = program.model.expected.iter().enumerate();
    each.map(|(i, expected)| {
        let bytes = std::fs::read(folder.join(format!("output{i}.bin")));
        bytes.map(|bytes| from_bytes(expected.dtype(), &bytes)).map_err(|error| format!("output {i}: {error}"))
    })
    .collect()
}

/// A crate with a module a case, and what the cases read in folders of their own.
fn write_crate(folder: &Path, name: &str, programs: &[Program<'_>]) {
    let source = folder.join("src");
    std::fs::create_dir_all(&source).expect("a folder");
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime");
    let manifest = format!(
        "[package]\nname = {name:?}\nedition = \"2024\"\n\n[dependencies]\nkiln-rt = {{ path = {runtime:?} }}\n"
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).expect("a file");
    let (mut text, mut calls) = (RUN.to_owned(), String::new());
    for (i, Program { name, compiled, model }) in programs.iter().enumerate() {
        let mut signature = Signature::of(&compiled.source);
        "Case".clone_into(&mut signature.name);
        let emitted = Compiled::new(signature, &compiled.programs).expect("it emits");
        let options = ExpandOptions {
            runtime: "::kiln_rt".parse().expect("a path"),
            visibility: "pub".parse().expect("a visibility"),
            about: format!("`{name}`"),
        };
        let tokens = emit_tokens(&emitted, &options).expect("it emits");
        std::fs::write(source.join(format!("case{i}.rs")), tokens.to_string()).expect("a file");
        writeln!(text, "mod case{i};").expect("text");
        writeln!(calls, "    case!(folder, case{i}::Case);").expect("text");
        write_data(&folder.join(format!("case{i}")), compiled, model);
    }
    let main = format!(
        "\nfn main() {{\n    let folder = PathBuf::from(std::env::args().nth(1).expect(\"a folder\"));\n{calls}}}\n"
    );
    std::fs::write(source.join("main.rs"), text + &main).expect("a file");
}

/// The inputs and the weights of a case.
fn write_data(folder: &Path, compiled: &pipeline::Compiled, model: &Model) {
    std::fs::create_dir_all(folder).expect("a folder");
    for (i, input) in model.inputs.iter().enumerate() {
        std::fs::write(folder.join(format!("input{i}.bin")), to_bytes(input)).expect("a file");
    }
    let sources = count::sources(&compiled.source);
    let stored = sources.iter().map(|source| {
        let stored = model.import.tensors.tensor(&source.name, source.kind, &source.shape);
        (source.name.as_str(), stored.expect("a tensor of the case"))
    });
    let stored: Vec<(&str, Stored<'_>)> = stored.collect();
    let views = stored.iter().map(|(name, stored)| match stored {
        Stored::View(view) => (*name, View { ..*view }),
        Stored::Formula(_) => panic!("{name} is no tensor of a file"),
    });
    std::fs::write(folder.join("weights.safetensors"), write(views)).expect("a file");
}
