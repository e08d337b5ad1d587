//! ONNX files: bytes to a [`Graph`] and the tensors that it reads.
//!
//! ```text
//! bytes ──> wire ──> proto ──> model ──> fold, or one of the families ──> Graph, Tensors
//!          (memory) (prost)  (checked)   (constants)  (conv, pool, …)
//! ```
//!
//! A node whose operands are all known is computed at once (`fold`), which resolves the chains that exporters make of
//! shapes. All others add nodes to the graph, a family of operators a file. Initializers stay where they lie: the graph
//! names them, and [`Tensors`] hands them out.
//!
//! All mistakes of a stage are told at once. Their places are lines of a listing of the model, one a node.

mod apart;
mod attributes;
mod budget;
mod build;
mod builder;
mod call;
mod conv;
mod conv_transpose;
mod fold;
mod functions;
mod gather;
mod geometry;
mod integers;
mod linear;
mod microsoft;
mod model;
mod narrow;
mod norm;
mod operators;
mod pointwise;
mod pool;
mod quantize;
mod reduce;
mod resample;
mod resize;
mod settings;
mod shape;
mod sparse;
mod tensor;
mod volume;
mod walk;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kiln_rt::weights::{Source, SourceError, Stored};

use crate::diag::Error;
use crate::graph::{Graph, NodeId, weights::Kind};
use crate::onnx_schema as proto;

pub use crate::onnx_schema::Bytes;
pub use settings::Settings;
pub use tensor::Folder;

/// A network from a file.
#[derive(Debug)]
pub struct Import {
    /// What it computes.
    pub graph: Graph,
    /// Its weights.
    pub tensors: Tensors,
    /// The inputs of the file that are constants of the network: see [`Settings::fix`] and [`Settings::offer`].
    pub constants: Vec<String>,
    /// The inputs of the file that nothing reads, and of which crates have no kernels: the network does not have them.
    pub unread: Vec<String>,
    /// What was decided without being asked for, a sentence each.
    pub notes: Vec<String>,
}

/// Tensors of an ONNX file by name, those that its graph reads.
#[derive(Clone, Debug, Default)]
pub struct Tensors(BTreeMap<String, tensor::Tensor>);

impl Source for Tensors {
    fn tensor(&self, name: &str, _: Kind, shape: &[usize]) -> Result<Stored<'_>, SourceError> {
        let Some(tensor) = self.0.get(name) else {
            return Err(SourceError::Missing { name: name.to_owned(), near: Vec::new() });
        };
        if tensor.shape != shape {
            let (expected, found) = (shape.to_vec(), tensor.shape.clone());
            return Err(SourceError::Shape { name: name.to_owned(), expected, found });
        }
        Ok(Stored::View(tensor.view()))
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// The network of an ONNX file. `name` is the path that messages say; `settings` give the extents that the file leaves
/// open; `folder` is asked for weights that lie in files of their own.
///
/// # Errors
/// All mistakes of the file at once, what the graph cannot express among them, and what must be said to fix its shapes.
pub fn import(name: &str, file: Bytes, settings: &Settings, folder: &dyn Folder) -> Result<Import, Error> {
    let mut constants = BTreeSet::new();
    loop {
        let model = model::Model::read(name, file.clone(), folder)?;
        match build::build(name, model, settings, &constants, folder) {
            Ok(import) => return Ok(import),
            // Each round makes an input a constant, so that there are no more rounds than inputs.
            Err(refusal) if !refusal.needed.is_subset(&constants) => constants.extend(refusal.needed),
            Err(refusal) => return Err(refusal.errors.into()),
        }
    }
}

/// Why a node cannot become part of the graph.
#[derive(Clone, Debug)]
struct Problem {
    message: String,
    /// Nodes whose values would have to be known.
    needs: Vec<NodeId>,
    /// Whether it follows from another one that has been told.
    follows: bool,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Problem { message: message.into(), needs: Vec::new(), follows: false }
    }
}

/// Numbers in a message: all of a few, the first of many.
struct Listed<'a>(&'a [i64]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FIRST: usize = 16;
        match self.0.get(..FIRST) {
            Some(first) if self.0.len() > FIRST => write!(f, "{first:?} and {} more", self.0.len() - FIRST),
            Some(_) | None => write!(f, "{:?}", self.0),
        }
    }
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Problem::new(message)
    }
}

impl From<crate::graph::infer::TypeError> for Problem {
    fn from(error: crate::graph::infer::TypeError) -> Self {
        let label = error.label.map(|label| format!(": {label}")).unwrap_or_default();
        Problem::new(format!("{}{label}", error.message))
    }
}

#[cfg(test)]
mod tests;
