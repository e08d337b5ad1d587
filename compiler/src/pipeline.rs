//! The order of passes, on one screen.

use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

#[cfg(feature = "onnx")]
use crate::back;
use crate::diag::Error;
use crate::graph::{self, Graph, Verified};
use crate::kernel::verify::{Invariant, Violation};
use crate::kernel::{self, Program};
use crate::lower::lower;
use crate::optimize::{self, Record};
use crate::plan;
use crate::target::Target;

/// What to compile for, and how hard to try.
#[derive(Clone, Debug)]
pub struct Options {
    /// One program is made for each, in this order; the best first.
    pub targets: Vec<Target>,
    /// The optimizer's limits.
    pub optimize: optimize::Options,
}

impl Default for Options {
    /// All instruction sets that have kernels of their own.
    fn default() -> Self {
        let own = |target: &Target| target.architecture().is_some();
        Options { targets: Target::ALL.into_iter().filter(own).collect(), optimize: optimize::Options::default() }
    }
}

/// A compiled network, each stage kept for looking at.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// As it was declared.
    pub source: Verified<Graph>,
    /// After the e-graph's rewrites.
    pub optimized: Verified<Graph>,
    /// Which rules led from the one to the other.
    pub record: Record,
    /// One program a target.
    pub programs: Vec<Verified<Program>>,
}

/// Compiles a network.
///
/// # Errors
/// [`Error::Unsupported`] where an operator has no kernels, [`Error::Bug`] where a pass broke an invariant.
pub fn compile(graph: Graph, options: &Options) -> Result<Compiled, Error> {
    let source = verify_graph("elaboration", graph)?;
    let optimized = optimize::optimize(&source, &options.optimize);
    let record = optimized.record;
    let optimized = verify_graph("optimization", optimized.graph)?;
    // Targets share nothing but the graph, so each has a thread of its own.
    let programs = std::thread::scope(|scope| {
        let compile = |&target| {
            scope.spawn({
                let graph = &optimized;
                move || program(graph, target)
            })
        };
        let threads: Vec<_> = options.targets.iter().map(compile).collect();
        let result = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().map(result).collect::<Result<_, Error>>()
    })?;
    Ok(Compiled { source, optimized, record, programs })
}

/// The passes from the optimized graph to what runs on one target.
fn program(graph: &Verified<Graph>, target: Target) -> Result<Verified<Program>, Error> {
    let program = lower(graph, target).map_err(|nodes| Error::Unsupported(lines(nodes)))?;
    plan::check(&program).map_err(|lost| Error::Bug(format!("after planning: {}", lines(lost))))?;
    let program = kernel::verify::verify(program).map_err(|found| {
        let (large, mut wrong): (Vec<_>, Vec<_>) = found.into_iter().partition(|of| of.invariant == Invariant::Size);
        // A step that is too large to be proved leaves others open, for itself and for the whole program.
        wrong.retain(|of| large.is_empty() || of.step.is_some_and(|step| large.iter().all(|of| of.step != Some(step))));
        if !wrong.is_empty() {
            return Error::Bug(format!("after lowering: {}", lines(wrong)));
        }
        let too_large = |of: Violation| {
            let advice = "compile for a smaller input or a smaller batch, or leave the layer to another program";
            format!("`{}`: {}; {advice}", of.layers.join("`, `"), of.what)
        };
        Error::Limit(lines(large.into_iter().map(too_large).collect()))
    })?;
    Ok(kernel::verify::spare_barriers(program))
}

/// Makes an ONNX model of a network as it is declared, or with its BatchNorms folded into what stands before them.
///
/// # Errors
/// [`Error::Unsupported`] where ONNX has no operator, [`Error::Bug`] where a pass broke an invariant.
#[cfg(feature = "onnx")]
pub fn export(graph: Graph, fold_batch_norms: bool) -> Result<back::onnx::Model, Error> {
    let mut graph = verify_graph("elaboration", graph)?;
    if fold_batch_norms {
        graph = verify_graph("folding", optimize::fold_batch_norms(&graph).graph)?;
    }
    let unsupported = back::onnx::unsupported(&graph);
    if unsupported.is_empty() { Ok(back::onnx::emit(&graph)) } else { Err(Error::Unsupported(lines(unsupported))) }
}

fn verify_graph(pass: &str, graph: Graph) -> Result<Verified<Graph>, Error> {
    graph::verify::verify(graph).map_err(|found| Error::Bug(format!("after {pass}: {}", lines(found))))
}

fn lines(items: Vec<impl std::fmt::Display>) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
