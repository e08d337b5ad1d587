//! Pointwise stages as values: what an epilogue, a prologue or a kernel of its own does to each element.

use super::build::{KernelBuilder, load, whole};
use super::reduce::lane_regions;
use super::{Lowering, Stored};
use crate::graph::{self, Activation, F32, NodeId, Stage, WeightId};
use crate::kernel::{Access, At, Binary, Index, LANES, ParamId, Region, Stmt, Unary, Value};
use kiln_rt::weights::{Form, HOLE};

/// A stage whose operands are parameters of a kernel.
#[derive(Clone, Copy, Debug)]
enum Bound {
    Affine { scale: ParamId, shift: ParamId },
    Activate(Activation),
    Add(ParamId),
    Scale(ParamId),
}

/// A chain whose operands are parameters of a kernel.
#[derive(Clone, Debug, Default)]
pub(super) struct BoundChain(Vec<Bound>);

/// The element that a chain is applied to.
pub(super) struct Element {
    /// Its block.
    pub(super) block: Index,
    /// The element in the block of lane 0.
    pub(super) offset: Index,
    /// Its image.
    pub(super) image: Index,
}

/// What a kernel goes through, and so what it is handed of a chain's operands, which lie as the value does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Through<'a> {
    /// All blocks.
    Blocks,
    /// These blocks.
    SomeBlocks(&'a [usize]),
    /// These channels, one after the other: each has an entry of its own in a list of places.
    Channels(&'a [usize]),
}

impl Lowering<'_> {
    /// Binds a chain to parameters of a kernel. `operand` and `weight` are the node's next unused ones and move on;
    /// `lanes` says which channel each lane of each block holds that the kernel goes through, or each entry.
    pub(super) fn bind_chain(
        &mut self,
        kb: &mut KernelBuilder,
        id: NodeId,
        chain: &[Stage],
        lanes: &[Option<usize>],
        through: Through<'_>,
        (operand, weight): (&mut usize, &mut usize),
    ) -> BoundChain {
        let mut bound = Vec::new();
        for stage in chain {
            bound.push(match stage {
                Stage::Affine => {
                    let [scale, shift] = [0, 1].map(|i| self.graph.node(id).weights[*weight + i]);
                    *weight += 2;
                    let scale = self.lane_vector(kb, "scale", scale, lanes);
                    let shift = self.lane_vector(kb, "shift", shift, lanes);
                    Bound::Affine { scale, shift }
                }
                Stage::Activate(activation) => Bound::Activate(*activation),
                Stage::Add => {
                    let (regions, len) = self.chain_operand(id, *operand, through);
                    *operand += 1;
                    Bound::Add(kb.blocks("added", len, Access::Read, regions))
                }
                Stage::Scale => {
                    let (regions, len) = self.chain_operand(id, *operand, through);
                    *operand += 1;
                    Bound::Scale(kb.blocks("scaled_by", len, Access::Read, regions))
                }
            });
        }
        BoundChain(bound)
    }

    /// A weight by channel, laid out by lanes, as a parameter.
    pub(super) fn lane_vector(
        &mut self,
        kb: &mut KernelBuilder,
        name: &str,
        weight: WeightId,
        lanes: &[Option<usize>],
    ) -> ParamId {
        let weight = self.by_lanes(weight, lanes);
        let buffer = self.pack(weight, Form::Vector);
        let len = self.program.buffer(buffer).len;
        kb.flat(name, len, Access::Read, whole(buffer))
    }

    /// A weight whose axis 0 is a channel, in the order of lanes; lanes without a channel are zero.
    pub(super) fn by_lanes(&mut self, weight: WeightId, lanes: &[Option<usize>]) -> WeightId {
        let channels = self.pool.shape(weight)[0];
        let dense = lanes.iter().enumerate().all(|(i, channel)| *channel == (i < channels).then_some(i));
        if dense {
            return weight;
        }
        let index: Vec<u32> = lanes.iter().map(|channel| channel.map_or(HOLE, |c| c as u32)).collect();
        self.pool.gather(weight, 0, &index)
    }

    /// Where a kernel finds an operand of a chain, and how many elements there are at each place.
    fn chain_operand(&self, id: NodeId, operand: usize, through: Through<'_>) -> (Vec<Region>, usize) {
        let (regions, len) = self.operand_blocks(id, operand);
        match through {
            Through::Blocks => (regions, len),
            Through::SomeBlocks(blocks) => (blocks.iter().map(|&block| regions[block]).collect(), len),
            Through::Channels(channels) => {
                let Stored::Blocked(places) = self.operand(id, operand) else {
                    unreachable!("layout gives operands of chains in blocks")
                };
                let listed: Vec<_> = channels.iter().map(|&channel| places[channel]).collect();
                (lane_regions(&listed), len - (LANES - 1))
            }
        }
    }

    /// The blocks in which a node reads an operand, and the elements of each.
    pub(super) fn operand_blocks(&self, id: NodeId, operand: usize) -> (Vec<Region>, usize) {
        let map = self.operand_map(id, operand);
        let pixels = self.pixels(self.graph.operands(id)[operand]);
        (self.block_regions(&map), pixels * LANES)
    }
}

impl BoundChain {
    /// Lets the kernel's result overwrite what the chain adds.
    pub(super) fn overwrite_added(&self, kb: &mut KernelBuilder, written: ParamId) {
        for stage in &self.0 {
            if let Bound::Add(param) = stage {
                kb.may_overwrite(written, *param);
            }
        }
    }

    /// The chain applied to a value. What is used twice is bound to a name in `body`.
    pub(super) fn apply(&self, kb: &mut KernelBuilder, body: &mut Vec<Stmt>, value: Value, element: &Element) -> Value {
        let Element { block, offset, image } = element;
        let by_channel = |param| load(At::flat(param, block.clone() * LANES));
        self.0.iter().fold(value, |value, stage| match stage {
            Bound::Affine { scale, shift } => fma(value, by_channel(*scale), by_channel(*shift)),
            Bound::Activate(activation) => activate(kb, body, *activation, value),
            Bound::Add(param) => add(value, load(At::block(*param, block.clone(), offset.clone()))),
            Bound::Scale(param) => mul(value, load(At::block(*param, block.clone(), image.clone() * LANES))),
        })
    }

    /// The chain applied to one element in every lane: the channel that `entry` finds. Nothing is bound.
    pub(super) fn apply_splat(&self, value: Value, entry: &Entry) -> Value {
        let by_channel = |param| Value::Splat(At::flat(param, entry.channel.clone()));
        self.0.iter().fold(value, |value, stage| match stage {
            Bound::Affine { scale, shift } => fma(value, by_channel(*scale), by_channel(*shift)),
            Bound::Activate(activation) => activation_of(*activation, value, &mut |value| value),
            Bound::Add(param) => add(value, Value::Splat(entry.at(*param, entry.pixel.clone()))),
            Bound::Scale(param) => mul(value, Value::Splat(entry.at(*param, entry.image.clone()))),
        })
    }
}

/// One channel of a pixel, as a kernel that sums over channels finds it in vectors and in values laid out as its input.
pub(super) struct Entry {
    /// The place of the channel in the order in which the kernel goes through them.
    pub(super) channel: Index,
    /// The block or the entry of a list of places.
    pub(super) place: Index,
    /// The lane in it, 0 where each channel has an entry of its own.
    pub(super) lane: Index,
    /// The pixel among those of all images.
    pub(super) pixel: Index,
    /// The image.
    pub(super) image: Index,
}

impl Entry {
    /// The channel's element at a pixel of a value in blocks.
    fn at(&self, param: ParamId, pixel: Index) -> At {
        At::block(param, self.place.clone(), pixel * LANES + self.lane.clone())
    }
}

/// A suffix for kernel names: `_add_relu6`.
pub(super) fn chain_name(chain: &[Stage]) -> String {
    chain.iter().map(|stage| format!("_{}", stage_name(*stage))).collect()
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Affine => "affine",
        Stage::Activate(activation) => activation_name(activation),
        Stage::Add => "add",
        Stage::Scale => "scale",
    }
}

/// The activation's name in kernel names.
pub(super) fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "relu",
        Activation::Clip { .. } if activation == Activation::RELU6 => "relu6",
        Activation::Clip { .. } => "clip",
        Activation::LeakyRelu { .. } => "leaky_relu",
        Activation::Abs => "abs",
        Activation::Elu { .. } => "elu",
        Activation::Sigmoid => "sigmoid",
        Activation::HardSigmoid => "hard_sigmoid",
        Activation::Tanh => "tanh",
        Activation::Silu => "silu",
        Activation::HardSwish => "hard_swish",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_tanh",
        Activation::Exp => "exp",
        Activation::Log => "log",
        Activation::Sqrt => "sqrt",
        Activation::Erf => "erf",
        Activation::Softplus => "softplus",
        Activation::Mish => "mish",
        Activation::Quantize { .. } => "quantize",
    }
}

/// An activation of a value. What its formula needs twice is bound to a name in `body`.
pub(super) fn activate(kb: &mut KernelBuilder, body: &mut Vec<Stmt>, activation: Activation, value: Value) -> Value {
    activation_of(activation, value, &mut |value| kb.bind(body, value))
}

/// The formula of an activation; `bind` is called with what occurs in it twice. Constants stand first in `min` and
/// `max`, so that a NaN comes through.
fn activation_of(activation: Activation, v: Value, bind: &mut dyn FnMut(Value) -> Value) -> Value {
    let clip = |lo: f32, hi: f32, v: Value| min(constant(hi), max(constant(lo), v));
    let unary = |function: Unary, v: Value| Value::Unary(function, Box::new(v));
    // (v + 3) / 6 within 0 and 1: near -3 the sum is exact, where v / 6 + 1/2 would keep little of a small result.
    let gate = |v: Value| mul(clip(0.0, 6.0, add(v, constant(3.0))), constant(1.0 / 6.0));
    match activation {
        Activation::Relu => max(constant(0.0), v),
        Activation::Clip { lo, hi } => clip(lo.get(), hi.get(), v),
        Activation::LeakyRelu { slope } => {
            let v = bind(v);
            if_positive(v.clone(), v.clone(), mul(v, constant(slope.get())))
        }
        Activation::Abs => unary(Unary::Abs, v),
        Activation::Elu { alpha } if alpha.get() == 1.0 => unary(Unary::Elu, v),
        Activation::Elu { alpha } => {
            let v = bind(v);
            if_positive(v.clone(), v.clone(), mul(unary(Unary::Elu, v), constant(alpha.get())))
        }
        Activation::Sigmoid => unary(Unary::Sigmoid, v),
        Activation::HardSigmoid => gate(v),
        Activation::Tanh => unary(Unary::Tanh, v),
        Activation::Silu => unary(Unary::Silu, v),
        Activation::HardSwish => {
            // The gate is at most 1: six times a large v would be infinite.
            let v = bind(v);
            mul(v.clone(), gate(v))
        }
        Activation::Gelu => unary(Unary::Gelu, v),
        Activation::GeluTanh => unary(Unary::GeluTanh, v),
        Activation::Exp => unary(Unary::Exp, v),
        Activation::Log => unary(Unary::Log, v),
        Activation::Sqrt => unary(Unary::Sqrt, v),
        Activation::Erf => unary(Unary::Erf, v),
        Activation::Softplus => unary(Unary::Softplus, v),
        Activation::Mish => unary(Unary::Mish, v),
        Activation::Quantize { scale, zero, lo, hi } => {
            // What is clipped lies so near to 0 that the sum with 1.5 * 2^23, in which neighbours are 1 apart, rounds it.
            const UNIT_STEPS: f32 = 12_582_912.0;
            let [zero, lo, hi] = [zero, lo, hi].map(F32::get);
            let quotient = if scale.get() == 1.0 { v } else { div(v, constant(scale.get())) };
            let shifted = add(clip(lo - zero, hi - zero, quotient), constant(UNIT_STEPS));
            let rounded = sub(shifted, constant(UNIT_STEPS));
            if zero == 0.0 { rounded } else { add(rounded, constant(zero)) }
        }
    }
}

/// The value of the graph's binary operator.
pub(super) fn binary(kb: &mut KernelBuilder, body: &mut Vec<Stmt>, binary: graph::Binary, a: Value, b: Value) -> Value {
    match binary {
        graph::Binary::Add => add(a, b),
        graph::Binary::Sub => sub(a, b),
        graph::Binary::Mul => mul(a, b),
        graph::Binary::Div => div(a, b),
        graph::Binary::Min => Value::Binary(Binary::MinNan, Box::new(a), Box::new(b)),
        graph::Binary::Max => Value::Binary(Binary::MaxNan, Box::new(a), Box::new(b)),
        graph::Binary::Pow => {
            let (a, b) = (kb.bind(body, a), kb.bind(body, b));
            power(&mut |value| kb.bind(body, value), a, b)
        }
    }
}

/// `a^b = e^(b ln |a|)`, with the sign of a where b is odd, NaN where a is below 0 and b no integer, 1 where b is 0 or
/// |a| is 1. The error grows with the exponent: `|b ln a|` times that of an f32.
fn power(bind: &mut dyn FnMut(Value) -> Value, a: Value, b: Value) -> Value {
    // Larger exponents count as this one: from here on all f32s are even integers.
    const EVEN: f32 = 16_777_216.0;
    // No number but 0 is smaller.
    const LEAST: f32 = f32::from_bits(1);
    let less = |a: Value, b: Value, then: Value, otherwise: Value| Value::SelectLt {
        a: Box::new(a),
        b: Box::new(b),
        then: Box::new(then),
        otherwise: Box::new(otherwise),
    };
    let magnitude = |v: Value| Value::Unary(Unary::Abs, Box::new(v));
    let rounded = |v: Value| Value::Unary(Unary::ToF32, Box::new(Value::Unary(Unary::ToI32, Box::new(v))));
    let log_of_size = bind(log(magnitude(a.clone())));
    // Where the logarithm is 0 the exponent may be infinite or NaN, where the exponent is 0 the logarithm: products with 0
    // that are NaN.
    let size = exp(mul(b.clone(), log_of_size.clone()));
    let size = bind(less(magnitude(log_of_size), constant(LEAST), constant(1.0), size));
    let exponent = bind(min(constant(EVEN), max(constant(-EVEN), b.clone())));
    let off_integer = bind(sub(exponent.clone(), rounded(exponent.clone())));
    let half = bind(mul(exponent, constant(0.5)));
    let off_even = bind(sub(half.clone(), rounded(half)));
    let signed = less(constant(0.25), magnitude(off_even), neg(size.clone()), size.clone());
    let below = bind(less(magnitude(off_integer), constant(LEAST), signed, constant(f32::NAN)));
    let power = bind(less(a, constant(0.0), below, size));
    less(magnitude(b), constant(LEAST), constant(1.0), power)
}

fn log(v: Value) -> Value {
    Value::Unary(Unary::Log, Box::new(v))
}

pub(super) fn constant(value: f32) -> Value {
    Value::Const(F32::new(value))
}

fn if_positive(v: Value, then: Value, otherwise: Value) -> Value {
    Value::SelectLt { a: Box::new(constant(0.0)), b: Box::new(v), then: Box::new(then), otherwise: Box::new(otherwise) }
}

pub(super) fn fma(a: Value, b: Value, c: Value) -> Value {
    Value::Fma(Box::new(a), Box::new(b), Box::new(c))
}

pub(super) fn add(a: Value, b: Value) -> Value {
    Value::Binary(Binary::Add, Box::new(a), Box::new(b))
}

pub(super) fn sub(a: Value, b: Value) -> Value {
    Value::Binary(Binary::Sub, Box::new(a), Box::new(b))
}

pub(super) fn mul(a: Value, b: Value) -> Value {
    Value::Binary(Binary::Mul, Box::new(a), Box::new(b))
}

pub(super) fn div(a: Value, b: Value) -> Value {
    Value::Binary(Binary::Div, Box::new(a), Box::new(b))
}

pub(super) fn min(a: Value, b: Value) -> Value {
    Value::Binary(Binary::Min, Box::new(a), Box::new(b))
}

pub(super) fn max(a: Value, b: Value) -> Value {
    Value::Binary(Binary::Max, Box::new(a), Box::new(b))
}

pub(super) fn exp(v: Value) -> Value {
    Value::Unary(Unary::Exp, Box::new(v))
}

fn neg(v: Value) -> Value {
    Value::Unary(Unary::Neg, Box::new(v))
}
