//! What a node costs: a roofline (Williams, Waterman and Patterson 2009).
//!
//! A kernel takes the longer of its arithmetic and its traffic, and a constant for being a kernel at all. The rates are
//! those of one core of a recent x86 server; they rank alternatives and predict nothing. What only renames channels
//! costs next to nothing: concatenations, channel slices and shuffles become channel maps.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

use crate::graph::{Activation, Chain, Core, Filter, Graph, Op, Stage, TensorType};

/// Time in picoseconds, so that sums are exact and do not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(u64);

impl Cost {
    /// No time.
    pub const ZERO: Cost = Cost(0);
    /// Starting a kernel: a call and a barrier.
    const KERNEL: u64 = 1_000_000;
    /// A new list of channels.
    const MAP: u64 = 10_000;
    /// One floating-point operation, at 100 a nanosecond.
    const FLOP: u64 = 10;
    /// One byte to or from memory, at 20 a nanosecond.
    const BYTE: u64 = 50;

    /// The time in nanoseconds.
    pub fn nanoseconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    fn kernel(flops: u64, bytes: u64) -> Cost {
        Cost(flops.saturating_mul(Cost::FLOP).max(bytes.saturating_mul(Cost::BYTE)).saturating_add(Cost::KERNEL))
    }
}

impl Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost(self.0.saturating_add(other.0))
    }
}

impl Sub for Cost {
    type Output = Cost;
    fn sub(self, other: Cost) -> Cost {
        Cost(self.0.saturating_sub(other.0))
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::ZERO, Cost::add)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} µs", self.0 as f64 / 1e6)
    }
}

/// The cost of one node, from its operands' types, its weights' shapes and its own type.
pub fn cost(op: &Op, operands: &[&TensorType], weights: &[&[usize]], ty: &TensorType) -> Cost {
    let elements = |ty: &TensorType| ty.len() as u64;
    let made = elements(ty);
    let weight_elements: u64 = weights.iter().map(|shape| shape.iter().product::<usize>() as u64).sum();
    // Every element is four bytes here: what ranks f32 nets ranks others.
    let bytes = 4 * (operands.iter().map(|ty| elements(ty)).sum::<u64>() + made + weight_elements);
    let kernel = |flops: u64| Cost::kernel(flops, bytes);
    let mapped_if = |free: bool| if free { Cost(Cost::MAP) } else { kernel(0) };
    match op {
        Op::Input(_) | Op::Constant(_) | Op::Weight { .. } => Cost::ZERO,
        Op::Conv(_) | Op::Linear(_) => kernel(core_flops(weights, made)),
        Op::BatchNorm { .. } => kernel(4 * made),
        Op::Activate(activation) => kernel(activation_flops(*activation) * made),
        Op::Binary(_) | Op::Cast(_) => kernel(made),
        Op::MatMul => kernel(2 * made * operands.first().and_then(|a| a.shape.last()).map_or(0, |&k| k as u64)),
        Op::MaxPool(pool) | Op::AvgPool(pool) => {
            let [rows, columns] = pool.window.kernel;
            kernel((rows * columns) as u64 * made)
        }
        Op::GlobalAvgPool | Op::GlobalMaxPool => kernel(operands.iter().map(|ty| elements(ty)).sum()),
        Op::Softmax { .. } => kernel(20 * made),
        Op::Concat { axis } | Op::Slice { axis, .. } | Op::Gather { axis, .. } => mapped_if(*axis == 1),
        Op::ChannelShuffle { .. } | Op::Dropout | Op::Identity => Cost(Cost::MAP),
        Op::Reshape { .. } => {
            // A map of one pixel lies in memory as its features do.
            let one_pixel = |ty: &TensorType| ty.nchw().is_some_and(|[_, _, h, w]| h * w == 1);
            mapped_if(one_pixel(ty) && operands.iter().all(|from| one_pixel(from) && from.shape[..2] == ty.shape[..2]))
        }
        Op::Transpose { .. } | Op::Pad { .. } => kernel(0),
        Op::Resize(resize) => kernel(if resize.filter == Filter::Linear { 8 * made } else { 0 }),
        Op::Fused { before, core, after } => {
            let read = operands.first().map_or(0, |ty| elements(ty));
            let core = match core {
                Core::Conv(_) | Core::Linear(_) => core_flops(weights, made),
                Core::Identity => 0,
            };
            kernel(chain_flops(before) * read + core + chain_flops(after) * made)
        }
    }
}

/// The cost of the nodes that a graph's outputs need.
pub fn total(graph: &Graph) -> Cost {
    let of = |id| {
        let node = graph.node(id);
        let operands = graph.operands(id);
        let operands: Vec<&TensorType> = operands.iter().map(|&operand| &graph.node(operand).ty).collect();
        let weights: Vec<&[usize]> = node.weights.iter().map(|&w| graph.weights.shape(w)).collect();
        cost(&node.op, &operands, &weights, &node.ty)
    };
    graph.order().into_iter().map(of).sum()
}

/// A multiplication and an addition for each output and each element of its filter, the first weight.
fn core_flops(weights: &[&[usize]], made: u64) -> u64 {
    let filter = weights.first().map_or(0, |kernel| kernel[1..].iter().product::<usize>());
    2 * filter as u64 * made
}

fn chain_flops(chain: &Chain) -> u64 {
    let stage = |stage: &Stage| match stage {
        Stage::Affine => 2,
        Stage::Activate(activation) => activation_flops(*activation),
        Stage::Add | Stage::Scale => 1,
    };
    chain.iter().map(stage).sum()
}

/// Operations an element; an exponential counts for twelve.
fn activation_flops(activation: Activation) -> u64 {
    match activation {
        Activation::Relu | Activation::Abs => 1,
        Activation::Clip { .. } | Activation::LeakyRelu { .. } => 2,
        Activation::HardSigmoid | Activation::HardSwish => 4,
        Activation::Quantize { .. } => 8,
        Activation::Sqrt => 4,
        Activation::Elu { .. }
        | Activation::Sigmoid
        | Activation::Tanh
        | Activation::Silu
        | Activation::Exp
        | Activation::Log => 16,
        Activation::Gelu | Activation::Erf | Activation::Softplus | Activation::Mish => 30,
        Activation::GeluTanh => 40,
    }
}
