//! The oracle: what a graph means, in plain loops.
//!
//! Every engine is compared with this one, so it shares nothing with them: no layouts, no tiles, and an evaluator of
//! weight expressions of its own. Values between nodes are f32, row-major. Within a node everything is f64, sums and
//! the stages of an [`Op::Fused`] included, and each element is rounded once, when it is done. NaN goes through
//! everything: sums, activations, maxima.
//!
//! A value is dropped with its last use, a weight with its node. Elements are computed on all processors, each by one
//! thread and in one order of its sum.

mod apply;
mod pieces;
mod pointwise;
mod weights;
mod window;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use kiln_rt::weights::FillSource as Fill;
use kiln_rt::weights::{Source, SourceError, check};

use super::{Graph, NodeId, Op};
use weights::Weight;
pub use weights::evaluate;

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
    if inputs.len() != graph.inputs().len() {
        return Err(RunError::InputCount { wanted: graph.inputs().len(), given: inputs.len() });
    }
    for (&id, input) in graph.inputs().iter().zip(inputs) {
        let node = graph.node(id);
        if input.len() != node.ty.len() {
            let name = node.origin.name.clone();
            return Err(RunError::InputLength { name, wanted: node.ty.len(), given: input.len() });
        }
    }
    let order = graph.order();
    let read = order.iter().flat_map(|&id| graph.node(id).weights.iter().copied());
    let errors = check(&graph.weights.program(read).0, source);
    if !errors.is_empty() {
        return Err(RunError::Weights(errors));
    }
    let mut values = Values::of(graph, &order);
    for (&id, input) in graph.inputs().iter().zip(inputs) {
        values.insert(id, Tensor { shape: graph.node(id).ty.shape.clone(), data: input.clone() });
    }
    for &id in &order {
        let node = graph.node(id);
        if matches!(node.op, Op::Input(_)) {
            continue;
        }
        let operands = graph.operands(id).into_iter().map(|of| values.take(of)).collect();
        let weights: Result<Vec<_>, _> =
            node.weights.iter().map(|&weight| Weight::new(&graph.weights, weight, source)).collect();
        let weights = weights.map_err(|error| RunError::Weights(vec![error]))?;
        let result = apply::apply(&node.op, operands, &weights);
        debug_assert_eq!(result.shape, node.ty.shape, "the oracle and the inferred type of `{}`", node.origin.name);
        values.insert(id, result);
    }
    Ok(graph.outputs().iter().map(|output| Rc::unwrap_or_clone(values.take(output.node)).data).collect())
}

/// The values of nodes that are still to be used.
struct Values {
    /// How many uses of each node are to come.
    uses: BTreeMap<NodeId, usize>,
    values: BTreeMap<NodeId, Rc<Tensor<f32>>>,
}

impl Values {
    /// No values, for the nodes that outputs need.
    fn of(graph: &Graph, order: &[NodeId]) -> Self {
        let mut uses = BTreeMap::new();
        let operands = order.iter().flat_map(|&id| graph.operands(id));
        for id in operands.chain(graph.outputs().iter().map(|output| output.node)) {
            *uses.entry(id).or_default() += 1;
        }
        Self { uses, values: BTreeMap::new() }
    }

    fn insert(&mut self, id: NodeId, value: Tensor<f32>) {
        if self.uses.contains_key(&id) {
            self.values.insert(id, Rc::new(value));
        }
    }

    /// A value for one use; nobody else holds it where that is the last.
    fn take(&mut self, id: NodeId) -> Rc<Tensor<f32>> {
        let value = Rc::clone(&self.values[&id]);
        if let Some(uses) = self.uses.get_mut(&id) {
            *uses -= 1;
            if *uses == 0 {
                self.values.remove(&id);
            }
        }
        value
    }
}

/// What the elements of a value are kept as: f32 between nodes, f64 between the stages of one.
trait Element: Copy + Into<f64> + Send + Sync {
    /// The nearest to a number.
    fn round(number: f64) -> Self;
}

impl Element for f32 {
    fn round(number: f64) -> Self {
        number as f32
    }
}

impl Element for f64 {
    fn round(number: f64) -> Self {
        number
    }
}

/// A value, row-major.
#[derive(Clone, Debug, PartialEq)]
struct Tensor<E> {
    shape: Vec<usize>,
    data: Vec<E>,
}

impl<E> Tensor<E> {
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
