//! The oracle: what a graph means, in plain loops.
//!
//! Every engine is compared with this one, so it shares nothing with them: no layouts, no tiles, and an evaluator of
//! weight expressions of its own. Values between nodes are row-major. Within a node everything is f64, sums and the
//! stages of an [`Op::Fused`] included, and each element is rounded once, when it is done, to the type of the value:
//! f32s are kept as such, all other types in f64. NaN goes through everything: sums, activations, maxima.
//!
//! A value is dropped with its last use, a weight with its node. Elements are computed on all processors, each by one
//! thread and in one order of its sum.

mod apply;
mod pieces;
mod pointwise;
mod round;
mod weights;
mod window;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use kiln_rt::weights::FillSource as Fill;
use kiln_rt::weights::{Source, SourceError, check};

use super::{DType, Elements, Graph, NodeId, Op, TensorType};
use crate::diag::counted;
use weights::Weight;
pub use weights::evaluate;

/// Why a graph could not be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    /// Named tensors are missing or have another shape.
    #[error("{}", .0.iter().map(SourceError::to_string).collect::<Vec<_>>().join("\n"))]
    Weights(Vec<SourceError>),
    /// Too few or too many inputs.
    #[error("the network has {}, not {given}", counted(*wanted, "input"))]
    InputCount {
        /// Inputs of the graph.
        wanted: usize,
        /// Inputs given.
        given: usize,
    },
    /// An input of the wrong length.
    #[error("the input `{name}` has {}, not {given}", counted(*wanted, "element"))]
    InputLength {
        /// Its name.
        name: String,
        /// Elements of its type.
        wanted: usize,
        /// Elements given.
        given: usize,
    },
    /// An input or output of another type.
    #[error("`{name}` has elements of type {wanted}, not {given}")]
    Type {
        /// Its name.
        name: String,
        /// The type in the graph.
        wanted: DType,
        /// The type given, or asked for.
        given: DType,
    },
}

/// Runs a network of f32 inputs and outputs; else as [`run`].
///
/// # Errors
/// As [`run`], and where an output has another type.
pub fn run_f32(graph: &Graph, source: &dyn Source, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, RunError> {
    let inputs: Vec<Elements> = inputs.iter().cloned().map(Elements::F32).collect();
    let outputs = run(graph, source, &inputs)?.into_iter().zip(graph.outputs());
    let f32s = outputs.map(|(elements, output)| {
        let (name, wanted) = (output.name.clone(), elements.dtype());
        elements.into_f32().ok_or(RunError::Type { name, wanted, given: DType::F32 })
    });
    f32s.collect()
}

/// Runs the network on one row-major value per input and gives one per output, in the graph's orders.
///
/// # Errors
/// Where inputs or named tensors do not fit the graph; of the tensors all that do not are listed.
pub fn run(graph: &Graph, source: &dyn Source, inputs: &[Elements]) -> Result<Vec<Elements>, RunError> {
    if inputs.len() != graph.inputs().len() {
        return Err(RunError::InputCount { wanted: graph.inputs().len(), given: inputs.len() });
    }
    for (&id, input) in graph.inputs().iter().zip(inputs) {
        let node = graph.node(id);
        if input.len() != node.ty.len() {
            let name = node.origin.name.clone();
            return Err(RunError::InputLength { name, wanted: node.ty.len(), given: input.len() });
        }
        if input.dtype() != node.ty.dtype {
            let name = node.origin.name.clone();
            return Err(RunError::Type { name, wanted: node.ty.dtype, given: input.dtype() });
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
        values.insert(id, Value::of(&graph.node(id).ty.shape, input));
    }
    for &id in &order {
        let node = graph.node(id);
        if matches!(node.op, Op::Input(_)) {
            continue;
        }
        let operands: Vec<Value> = graph.operands(id).into_iter().map(|of| values.take(of)).collect();
        let weights: Result<Vec<_>, _> =
            node.weights.iter().map(|&weight| Weight::new(&graph.weights, weight, source)).collect();
        let weights = weights.map_err(|error| RunError::Weights(vec![error]))?;
        let from = graph.operands(id).first().map(|&of| graph.node(of).ty.dtype);
        let result = compute(&node.op, from, &node.ty, operands, &weights);
        debug_assert_eq!(result.shape(), node.ty.shape, "the oracle and the inferred type of `{}`", node.origin.name);
        values.insert(id, result);
    }
    let outputs = graph.outputs().iter().map(|output| (values.take(output.node), graph.node(output.node).ty.dtype));
    Ok(outputs.map(|(value, dtype)| value.into_elements(dtype)).collect())
}

/// The value of a node: in f32 where nothing else is around.
fn compute(op: &Op, from: Option<DType>, ty: &TensorType, operands: Vec<Value>, weights: &[Weight<'_>]) -> Value {
    if ty.dtype == DType::F32 && operands.iter().all(|operand| matches!(operand, Value::F32(_))) {
        let operands =
            operands.into_iter().filter_map(|operand| if let Value::F32(x) = operand { Some(x) } else { None });
        return Value::F32(Rc::new(apply::apply(op, operands.collect(), weights)));
    }
    let operands = operands.into_iter().map(|operand| match operand {
        Value::F32(x) => Rc::new(apply::convert(&x)),
        Value::Wide(x) => x,
    });
    let mut result = apply::apply::<f64>(op, operands.collect(), weights);
    round::to_type(op, from, ty.dtype, &mut result.data);
    match ty.dtype {
        DType::F32 => Value::F32(Rc::new(apply::convert(&result))),
        DType::F64 | DType::I64 | DType::I32 | DType::I8 | DType::U8 | DType::Bool => Value::Wide(Rc::new(result)),
    }
}

/// A value between nodes.
#[derive(Clone, Debug)]
enum Value {
    /// Of f32s.
    F32(Rc<Tensor<f32>>),
    /// Of another type, whose elements these numbers are.
    Wide(Rc<Tensor<f64>>),
}

impl Value {
    fn of(shape: &[usize], elements: &Elements) -> Self {
        let shape = shape.to_vec();
        match elements {
            Elements::F32(data) => Value::F32(Rc::new(Tensor { shape, data: data.clone() })),
            Elements::F64(_)
            | Elements::I64(_)
            | Elements::I32(_)
            | Elements::I8(_)
            | Elements::U8(_)
            | Elements::Bool(_) => Value::Wide(Rc::new(Tensor { shape, data: elements.to_f64() })),
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Value::F32(x) => &x.shape,
            Value::Wide(x) => &x.shape,
        }
    }

    fn into_elements(self, dtype: DType) -> Elements {
        match self {
            Value::F32(x) => Elements::F32(Rc::unwrap_or_clone(x).data),
            Value::Wide(x) => Elements::from_f64(dtype, &x.data),
        }
    }
}

/// The values of nodes that are still to be used.
struct Values {
    /// How many uses of each node are to come.
    uses: BTreeMap<NodeId, usize>,
    values: BTreeMap<NodeId, Value>,
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

    fn insert(&mut self, id: NodeId, value: Value) {
        if self.uses.contains_key(&id) {
            self.values.insert(id, value);
        }
    }

    /// A value for one use; nobody else holds it where that is the last.
    fn take(&mut self, id: NodeId) -> Value {
        let value = self.values[&id].clone();
        if let Some(uses) = self.uses.get_mut(&id) {
            *uses -= 1;
            if *uses == 0 {
                self.values.remove(&id);
            }
        }
        value
    }
}

/// What the elements of a value are kept as: f32 or f64 between nodes, f64 between the stages of one.
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
