//! What runs a network: one of three engines, made ready once and run on as many inputs as there are.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use kiln_compiler::diag::Error;
use kiln_compiler::graph::{DType, Elements, Graph, TensorType, interp as graph_interp};
use kiln_compiler::kernel::interp as kernel_interp;
use kiln_compiler::pipeline::Compiled;
use kiln_compiler::target::Target;

use crate::cache::Program;
use crate::crates::run_program_of;
use crate::npy;
use crate::report::{Context, Failure};
use crate::temporary::Temporary;
use crate::toolchain::run_program;
use crate::weights::Weights;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// The graph interpreter: plain loops, the oracle
    Interp,
    /// The kernel interpreter: the program, step by step; slow
    Kernel,
    /// The emitted crate, built with cargo
    Aot,
}

/// The most bytes of a value that an interpreter is to make: both hold whole values, and a machine that has not enough
/// memory for one ends the program.
const MOST_BYTES: usize = 1 << 31;

impl Engine {
    /// Makes sure that no value of a network is too large for it.
    pub(crate) fn check(self, graph: &Graph) -> Result<(), Failure> {
        let bytes = |ty: &TensorType| ty.len().saturating_mul(if ty.dtype == DType::F32 { 4 } else { 8 });
        let mut nodes = graph.order().into_iter().map(|id| graph.node(id));
        match nodes.find(|node| bytes(&node.ty) > MOST_BYTES) {
            Some(node) if self != Engine::Aot => {
                let (name, bytes) = (&node.origin.name, bytes(&node.ty));
                let why = format!("`{name}` takes {bytes} bytes, more than the {MOST_BYTES} that an interpreter makes");
                Err(Failure::from(Error::Limit(why)).help("`--engine aot` runs the crate"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A network that an engine has been made ready for.
pub(crate) struct Runner<'a> {
    compiled: &'a Compiled,
    weights: &'a Weights,
    ready: Ready,
}

enum Ready {
    Interp,
    Kernel,
    Aot { folder: Temporary, program: Program, flags: Vec<OsString> },
}

impl<'a> Runner<'a> {
    /// Makes an engine ready; the crate is built here, unless the cache has its program. Both compiled engines need a program: the first of `compiled`.
    pub(crate) fn new(
        engine: Engine,
        compiled: &'a Compiled,
        weights: &'a Weights,
        target: Target,
        threads: usize,
    ) -> Result<Self, Failure> {
        let ready = match engine {
            Engine::Interp => Ready::Interp,
            Engine::Kernel => Ready::Kernel,
            Engine::Aot => {
                let folder = Temporary::new().context("cannot make a temporary folder")?;
                let file = folder.path().join("weights.bin");
                let program = run_program_of(compiled, weights, &file)?;
                let flags = ["--exact-threads", &threads.to_string(), "--target", target.name(), "--weights"];
                let flags = flags.map(OsString::from).into_iter().chain([file.into()]).collect();
                Ready::Aot { folder, program, flags }
            }
        };
        Ok(Runner { compiled, weights, ready })
    }

    /// The outputs for these inputs, both in the network's order.
    pub(crate) fn run(&self, inputs: &[Elements]) -> Result<Vec<Elements>, Failure> {
        let compiled = self.compiled;
        match &self.ready {
            Ready::Interp => self
                .weights
                .with(|source| graph_interp::run(&compiled.source, source, inputs).context("cannot run the network")),
            Ready::Kernel => self.weights.with(|source| {
                let options = kernel_interp::Options::default();
                kernel_interp::run_elements(&compiled.programs[0], source, inputs, options)
                    .context("cannot run the kernels")
            }),
            Ready::Aot { folder, program, flags } => {
                let mut command = flags.clone();
                for (i, (&id, input)) in compiled.source.inputs().iter().zip(inputs).enumerate() {
                    let path = folder.path().join(format!("input{i}.npy"));
                    let mut file = BufWriter::new(File::create(&path).context("cannot make a temporary file")?);
                    npy::write(&mut file, &compiled.source.node(id).ty.shape, input)?;
                    file.flush().context("cannot write a temporary file")?;
                    command.push(path.into());
                }
                let count = compiled.source.outputs().len();
                let outputs: Vec<PathBuf> = (0..count).map(|i| folder.path().join(format!("output{i}.npy"))).collect();
                command.extend(outputs.iter().flat_map(|path| ["--output".into(), path.into()]));
                run_program(program.path(), &command)?;
                outputs.iter().map(|path| Ok(npy::read(path)?.1)).collect()
            }
        }
    }
}
