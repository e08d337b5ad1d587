//! The oracle: what a graph means, in plain loops.
//!
//! Every engine is compared with this one, so it shares nothing with them: no layouts, no tiles, and an evaluator of
//! weight expressions of its own. Values between nodes are f32, row-major. Within a node everything is f64, sums and
//! the stages of an [`Op::Fused`] included, and the result is rounded once, when the node is done. NaN goes through
//! everything: sums, activations, maxima.

mod apply;
mod pointwise;
mod weights;
mod window;

use std::collections::BTreeMap;

pub use kiln_rt::weights::FillSource as Fill;
use kiln_rt::weights::{Source, SourceError};

use super::{Graph, NodeId, Op};
pub use weights::{Named, evaluate, load};

/// Why a graph could not be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    /// Named tensors are missing or have another shape.
    #[error("{}", .0.iter().map(SourceError::to_string).collect::<Vec<_>>().join("\n"))]
    Weights(Vec<SourceError>),
    /// Too few or too many inputs.
    #[error("the network has {wanted} inputs, not {given}")]
    InputCount {
        /// Inputs of the graph.
        wanted: usize,
        /// Inputs given.
        given: usize,
    },
    /// An input of the wrong length.
    #[error("the input `{name}` has {wanted} elements, not {given}")]
    InputLength {
        /// Its name.
        name: String,
        /// Elements of its type.
        wanted: usize,
        /// Elements given.
        given: usize,
    },
}

/// Runs the network on one row-major value per input and gives one per output, in the graph's orders.
///
/// # Errors
/// Where inputs or named tensors do not fit the graph; of the tensors all that do not are listed.
pub fn run(graph: &Graph, source: &dyn Source, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, RunError> {
    let values = run_all(graph, source, inputs)?;
    Ok(graph.outputs().iter().map(|output| values[&output.node].clone()).collect())
}

/// As [`run`], and gives the value of every node that an output needs, and of every input.
///
/// # Errors
/// As [`run`].
pub fn run_all(
    graph: &Graph,
    source: &dyn Source,
    inputs: &[Vec<f32>],
) -> Result<BTreeMap<NodeId, Vec<f32>>, RunError> {
    let order = graph.order();
    let mut values = BTreeMap::new();
    if inputs.len() != graph.inputs().len() {
        return Err(RunError::InputCount { wanted: graph.inputs().len(), given: inputs.len() });
    }
    for (&id, input) in graph.inputs().iter().zip(inputs) {
        let node = graph.node(id);
        if input.len() != node.ty.len() {
            let name = node.origin.name.clone();
            return Err(RunError::InputLength { name, wanted: node.ty.len(), given: input.len() });
        }
        values.insert(id, input.clone());
    }
    let read = order.iter().flat_map(|&id| graph.node(id).weights.iter().copied());
    let named = load(&graph.weights, read, source).map_err(RunError::Weights)?;
    for &id in &order {
        let node = graph.node(id);
        if matches!(node.op, Op::Input(_)) {
            continue;
        }
        let operands = graph
            .operands(id)
            .into_iter()
            .map(|of| Tensor { shape: graph.node(of).ty.shape.clone(), data: widen(&values[&of]) })
            .collect();
        let weights: Vec<Vec<f64>> =
            node.weights.iter().map(|&w| widen(&evaluate(&graph.weights, w, &named))).collect();
        let result = apply::apply(&node.op, operands, &weights);
        debug_assert_eq!(result.shape, node.ty.shape, "the oracle and the inferred type of `{}`", node.origin.name);
        values.insert(id, result.data.into_iter().map(|v| v as f32).collect());
    }
    Ok(values)
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// A value while a node is computed: row-major, in f64.
#[derive(Clone, Debug, PartialEq)]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Tensor {
    /// Elements before, along and behind an axis: the value seen as `[outer, extent, inner]`.
    fn around(&self, axis: usize) -> [usize; 3] {
        let outer = self.shape[..axis].iter().product();
        let inner = self.shape[axis + 1..].iter().product();
        [outer, self.shape[axis], inner]
    }

    /// `[N, C, H, W]` of a feature map.
    fn feature_map(&self) -> [usize; 4] {
        match *self.shape.as_slice() {
            [n, c, h, w] => [n, c, h, w],
            _ => unreachable!("inference admits only feature maps here, not {:?}", self.shape),
        }
    }
}

/// The larger of two numbers, or NaN where either is.
fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

#[cfg(test)]
mod tests;
