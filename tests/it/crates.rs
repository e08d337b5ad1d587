//! Emitted crates: written, built with warnings as errors, and run. All share one target folder.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use kiln_compiler::back::rust::{Compiled, CrateOptions, PackageName, Signature, Workspace, emit_crate};
use kiln_compiler::graph::{DType, Elements, TensorType};
use kiln_compiler::pipeline;
use kiln_compiler::target::Target;
use kiln_rt::weights::Source;

/// A crate that is built, with its example program.
pub(crate) struct Built {
    folder: PathBuf,
    program: PathBuf,
    targets: Vec<Target>,
    inputs: Vec<TensorType>,
    outputs: Vec<TensorType>,
}

/// Where emitted crates and their shared target folder lie.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("emitted")
}

/// Writes a crate's files and its weights.
pub(crate) fn write(name: &str, compiled: &pipeline::Compiled, source: &dyn Source) -> PathBuf {
    let package = PackageName::like(&format!("emitted-{}", name.replace('_', "-")));
    write_as(package, name, compiled, source)
}

/// The same with a package of another name.
pub(crate) fn write_as(
    package: PackageName,
    name: &str,
    compiled: &pipeline::Compiled,
    source: &dyn Source,
) -> PathBuf {
    let folder = folder().join(name);
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).expect("a folder");
    let emitted = Compiled::new(Signature::of(&compiled.source), &compiled.programs).expect("it emits");
    let packing = emitted.packing();
    let file = std::fs::File::create(folder.join("weights.bin")).expect("a file");
    let file = std::io::BufWriter::new(file);
    let written = packing.program().write(source, packing.hash, file).expect("the weights fit");
    let options = CrateOptions {
        package,
        source: format!("{name}.net"),
        license: None,
        weights_metadata: Vec::new(),
        workspace: Workspace::Own,
        content_hash: Some(written.content_hash),
        golden: None,
    };
    for file in emit_crate(&emitted, &options).expect("it emits").files {
        let path = folder.join(&file.path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, file.contents).expect("a file");
    }
    folder
}

/// The numbers of a `.npy` file of f32.
pub(crate) fn read_npy(path: &Path) -> Vec<f32> {
    from_bytes(DType::F32, &npy_data(path)).into_f32().expect("f32s")
}

/// The data of a `.npy` file: its header, of version 1, gives its own length, then they come.
fn npy_data(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes.split_off(start)
}

/// The folder that emitted crates are built in.
pub(crate) fn target_folder() -> PathBuf {
    folder().join("target")
}

/// Cargo in a crate's folder, where any warning is an error: what it printed.
pub(crate) fn cargo(folder: &Path, arguments: &[&str]) -> String {
    let (verb, rest) = arguments.split_first().expect("a verb");
    let output = Command::new(env!("CARGO"))
        .args([verb, "--offline", "--quiet"])
        .args(rest)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target_folder())
        .env("RUSTFLAGS", "-D warnings")
        .env("RUSTDOCFLAGS", "-D warnings")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let place = folder.display();
    assert!(output.status.success(), "{place}: {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Builds an example program of a crate.
fn build(folder: &Path, example: &str) -> PathBuf {
    cargo(folder, &["build", "--release", "--example", example]);
    // Examples of all crates have one name: this one's moves away before the next is built.
    let program = folder.join(example);
    std::fs::rename(target_folder().join("release/examples").join(example), &program).expect("the program");
    program
}

/// One crate at a time: they share a target folder.
pub(crate) fn lock() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs a program of one's own in a crate.
pub(crate) fn run_example(name: &str, compiled: &pipeline::Compiled, source: &dyn Source, program: &str) -> ExitStatus {
    let _one = lock();
    let folder = write(name, compiled, source);
    std::fs::write(folder.join("examples").join(format!("{name}.rs")), program).expect("a file");
    let program = build(&folder, name);
    Command::new(program).status().expect("the program runs")
}

/// Weights and programs fill disks: of crates whose test fails alone they are kept, to be looked at.
impl Drop for Built {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

impl Built {
    /// Writes and builds a crate.
    pub(crate) fn new(name: &str, compiled: &pipeline::Compiled, source: &dyn Source) -> Self {
        let _one = lock();
        let folder = write(name, compiled, source);
        let program = build(&folder, "run");
        let graph = &compiled.source;
        let inputs = graph.inputs().iter().map(|&id| graph.node(id).ty.clone()).collect();
        let outputs = graph.outputs().iter().map(|output| graph.node(output.node).ty.clone()).collect();
        let targets = compiled.programs.iter().map(|program| program.target).collect();
        Built { folder, program, targets, inputs, outputs }
    }

    /// The crate's targets that this processor has.
    pub(crate) fn available_targets(&self) -> Vec<Target> {
        self.targets.iter().copied().filter(|target| target.is_available()).collect()
    }

    /// The folder of the crate.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The first output, of a network of f32s.
    pub(crate) fn run(&self, inputs: &[Vec<f32>], target: Target, threads: usize) -> Vec<f32> {
        let inputs: Vec<Elements> = inputs.iter().cloned().map(Elements::F32).collect();
        self.run_elements(&inputs, target, threads).swap_remove(0).into_f32().expect("an output of f32s")
    }

    /// All outputs.
    pub(crate) fn run_elements(&self, inputs: &[Elements], target: Target, threads: usize) -> Vec<Elements> {
        let mut command = Command::new(&self.program);
        for (i, (input, ty)) in inputs.iter().zip(&self.inputs).enumerate() {
            assert_eq!((ty.dtype, ty.len()), (input.dtype(), input.len()));
            let path = self.folder.join(format!("input{i}.bin"));
            std::fs::write(&path, to_bytes(input)).expect("a file");
            command.arg(path);
        }
        let path = |i: usize| self.folder.join(format!("output{i}.npy"));
        for i in 0..self.outputs.len() {
            command.arg("--output").arg(path(i));
        }
        command.args(["--exact-threads", &threads.to_string(), "--target", target.name()]);
        let output = command.output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.outputs.iter().enumerate().map(|(i, ty)| from_bytes(ty.dtype, &npy_data(&path(i)))).collect()
    }
}

/// Little-endian elements.
pub(crate) fn to_bytes(elements: &Elements) -> Vec<u8> {
    match elements {
        Elements::F32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Elements::I32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Elements::I8(v) => v.iter().map(|&v| v as u8).collect(),
        Elements::U8(v) => v.clone(),
        Elements::F64(_) | Elements::I64(_) | Elements::Bool(_) => panic!("crates have none of {}", elements.dtype()),
    }
}

/// Elements of a type, little endian.
pub(crate) fn from_bytes(dtype: DType, bytes: &[u8]) -> Elements {
    let words = || bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
    match dtype {
        DType::F32 => Elements::F32(words().map(f32::from_le_bytes).collect()),
        DType::I32 => Elements::I32(words().map(i32::from_le_bytes).collect()),
        DType::I8 => Elements::I8(bytes.iter().map(|&b| b as i8).collect()),
        DType::U8 => Elements::U8(bytes.to_vec()),
        DType::F64 | DType::I64 | DType::Bool => panic!("crates have none of {dtype}"),
    }
}
