//! Emitted crates on disk: writing them, and the programs in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use kiln_compiler::back::rust::{
    Compiled, CrateOptions, EmittedFile, Golden, PackageName, Signature, Workspace, emit_crate,
};
use kiln_compiler::graph::{Elements, interp};
use kiln_compiler::pipeline;

use crate::array;
use crate::cache::{self, Cache, Program};
use crate::folder::NewFolder;
use crate::report::{Context, Failure, say};
use crate::temporary::Temporary;
use crate::toolchain::{LinkedWeights, build_example, fingerprint};
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
        let path = folder.path().join("weights.bin");
        let (content_hash, golden) = both(
            || write_weights(&emitted, self.weights, &path),
            || self.golden.then(|| self.golden_answer()).transpose(),
        )?;
        let options = CrateOptions {
            package: self.package.clone(),
            source: self.source.clone(),
            license: self.license.clone(),
            weights_metadata: self.weights.metadata()?,
            workspace: self.workspace,
            content_hash: Some(content_hash),
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

/// Writes the packed weights of a network, and gives their content hash.
fn write_weights(emitted: &Compiled<'_>, weights: &Weights, path: &Path) -> Result<u64, Failure> {
    let packing = emitted.packing();
    weights.with(|source| {
        let file = fs::File::create(path).context(format!("cannot write {}", path.display()))?;
        let written = packing.program().write(source, packing.hash, std::io::BufWriter::new(file));
        let written = written.map_err(|error| Failure::new(format!("the weights do not fit the network:\n{error}")))?;
        Ok(written.content_hash)
    })
}

/// Two things at the same time.
fn both<A: Send, B>(
    one: impl FnOnce() -> Result<A, Failure> + Send,
    other: impl FnOnce() -> Result<B, Failure>,
) -> Result<(A, B), Failure> {
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join(), other)
    });
    Ok((one.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?, other?))
}

/// The program of a network's crate that runs it once, and writes the file of weights that it takes. Weights are no part
/// of the program, which is built anew only where the cache does not have it.
pub(crate) fn run_program_of(
    compiled: &pipeline::Compiled,
    weights: &Weights,
    weights_file: &Path,
) -> Result<Program, Failure> {
    let emitted =
        Compiled::new(Signature::of(&compiled.source), &compiled.programs).context("cannot emit the crate")?;
    let options = CrateOptions {
        package: PackageName::like(&compiled.source.name),
        source: compiled.source.name.clone(),
        license: None,
        weights_metadata: Vec::new(),
        workspace: Workspace::Own,
        content_hash: None,
        golden: None,
    };
    let files = emit_crate(&emitted, &options).context("cannot emit the crate")?.files;
    let (_, program) = both(|| write_weights(&emitted, weights, weights_file), || kept_program(&files))?;
    Ok(program)
}

/// The example `run` of a crate of these files, which takes its weights by name: from the cache, or built and kept there.
fn kept_program(files: &[EmittedFile]) -> Result<Program, Failure> {
    let build = |folder: &Path| -> Result<PathBuf, Failure> {
        let folder = folder.join("crate");
        for file in files {
            let path = folder.join(&file.path);
            let written =
                path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, &file.contents));
            written.context(format!("cannot write {}", path.display()))?;
        }
        build_example(&folder, "run", LinkedWeights::No)
    };
    let uncached = |why: Failure| {
        say(&format!("the program is not kept for the next run: {}", why.line()));
        let folder = Temporary::new().context("cannot make a temporary folder")?;
        Ok(Program::alone(build(folder.path())?, folder))
    };
    let cache = match Cache::open() {
        Ok(cache) => cache,
        Err(why) => return uncached(why),
    };
    let fingerprint = fingerprint(cache.folder())?;
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let files = files.iter().flat_map(|file| [file.path.as_bytes(), &file.contents]);
    let key = cache::key([version, &fingerprint].into_iter().chain(files));
    if let Some(program) = cache.find(&key) {
        return Ok(program);
    }
    match Temporary::within(cache.folder()).context(format!("cannot write in {}", cache.folder().display())) {
        Ok(folder) => Ok(cache.keep(&key, build(folder.path())?, folder)),
        Err(why) => uncached(why),
    }
}

/// Writes the crate of a network, without a stored answer, into a new folder and builds its example `bench`, weights
/// linked: where they lie shows in the times. Gives the program's path.
pub(crate) fn build_bench(compiled: &pipeline::Compiled, weights: &Weights, folder: &Path) -> Result<PathBuf, Failure> {
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
    build_example(folder, "bench", LinkedWeights::Yes)
}
