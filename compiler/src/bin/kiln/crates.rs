//! Emitted crates on disk: writing them, building them with cargo, running them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_compiler::back::rust::{Compiled, CrateOptions, Golden, PackageName, Signature, Workspace, emit_crate};
use kiln_compiler::graph::{Elements, interp};
use kiln_compiler::pipeline;

use crate::array;
use crate::folder::NewFolder;
use crate::report::{Context, Failure};
use crate::weights::Weights;

/// A network with its weights, ready to be written as a crate.
pub(crate) struct Recipe<'a> {
    pub(crate) compiled: &'a pipeline::Compiled,
    pub(crate) weights: &'a Weights,
    /// The name of the package.
    pub(crate) package: PackageName,
    /// What it was made from, for the header of each file.
    pub(crate) source: String,
    /// What it is to a workspace around it.
    pub(crate) workspace: Workspace,
    /// Whether it holds a stored answer and a test.
    pub(crate) golden: bool,
    /// The licence of the network with these weights, an SPDX expression.
    pub(crate) license: Option<String>,
}

impl Recipe<'_> {
    /// Writes the crate's files, weights first, since the code holds their hash.
    pub(crate) fn write(&self, folder: &NewFolder) -> Result<(), Failure> {
        let signature = Signature::of(&self.compiled.source);
        let emitted = Compiled::new(signature, &self.compiled.programs).context("cannot emit the crate")?;
        let packing = emitted.packing();
        let path = folder.path().join("weights.bin");
        let write_weights = || {
            self.weights.with(|source| {
                let file = fs::File::create(&path).context("cannot write weights.bin")?;
                packing
                    .program()
                    .write(source, packing.hash, std::io::BufWriter::new(file))
                    .map_err(|error| Failure::new(format!("the weights do not fit the network:\n{error}")))
            })
        };
        let golden_answer = || self.golden.then(|| self.golden_answer()).transpose();
        let (written, golden) = std::thread::scope(|scope| {
            let written = scope.spawn(write_weights);
            let golden = golden_answer();
            (written.join(), golden)
        });
        let (written, golden) = (written.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?, golden?);
        let options = CrateOptions {
            package: self.package.clone(),
            source: self.source.clone(),
            license: self.license.clone(),
            weights_metadata: self.weights.metadata()?,
            workspace: self.workspace,
            content_hash: written.content_hash,
            golden,
        };
        let files = emit_crate(&emitted, &options).context("cannot emit the crate")?.files;
        files.iter().try_for_each(|file| folder.write(&file.path, &file.contents))
    }

    /// The formula's input, and the graph interpreter's answer to it on the network as it was declared.
    fn golden_answer(&self) -> Result<Golden, Failure> {
        let graph = &self.compiled.source;
        let inputs: Vec<Elements> = graph.inputs().iter().map(|&id| array::fill(&graph.node(id).ty)).collect();
        let outputs =
            self.weights.with(|source| interp::run(graph, source, &inputs).context("cannot interpret the network"))?;
        let floats = |of: Elements| of.to_f64().into_iter().map(|v| v as f32).collect();
        let [inputs, outputs] = [inputs, outputs].map(|tensors| tensors.into_iter().map(floats).collect());
        Ok(Golden { inputs, outputs })
    }
}

/// Writes the crate of a network, without a stored answer, into a new folder and builds one of its examples; gives the
/// program's path.
pub(crate) fn build_example(
    compiled: &pipeline::Compiled,
    weights: &Weights,
    folder: &Path,
    example: &str,
) -> Result<PathBuf, Failure> {
    let new = NewFolder::begin(folder)?;
    let recipe = Recipe {
        compiled,
        weights,
        package: PackageName::like(&compiled.source.name),
        source: compiled.source.name.clone(),
        workspace: Workspace::Own,
        golden: false,
        license: None,
    };
    recipe.write(&new)?;
    new.finish()?;
    cargo_build(folder, example)
}

/// Builds an example of an emitted crate in release mode and gives the program's path.
pub(crate) fn cargo_build(folder: &Path, example: &str) -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = folder.join("target");
    let output = Command::new(cargo)
        .args(["build", "--release", "--offline", "--quiet", "--example", example])
        .current_dir(folder)
        // The crate is its own world: what the caller builds with must not leak into it.
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::new(format!("cannot run cargo: {error}")).help("kiln builds emitted crates with it")
        })?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "cargo could not build the crate:\n{}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(target.join("release").join("examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX)))
}

/// A program's standard output.
pub(crate) fn run_program(program: &Path, args: &[String]) -> Result<String, Failure> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context(format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(message.trim().trim_start_matches("error: ").to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
