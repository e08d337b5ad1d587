//! The ops of the language, one entry each: parameters with defaults, what it computes, and the nodes it adds.
//!
//! Defaults and formulas are PyTorch's unless an entry says otherwise. Every op takes `name = "…"` besides.

use super::attribute::Args;
use super::build::{
    adaptive_avg_pool, bn, concat, conv, depth_to_space, flatten, gather, linear, matmul, normalize, reshape, resize,
    split,
};
use super::{Elaborator, Value};
use crate::graph::{Activation, Binary, F32, Op, Pads};

/// An op of the language.
pub struct OpEntry {
    /// Its name.
    pub name: &'static str,
    /// Its parameters in order; the first is what stands before the dot.
    pub params: &'static [OpParam],
    /// What it computes.
    pub doc: &'static str,
    pub(super) build: for<'e, 'a> fn(&'e mut Elaborator<'a>, &Args<'a>) -> Option<Value>,
}

/// A parameter of an op.
#[derive(Clone, Copy, Debug)]
pub struct OpParam {
    /// Its name.
    pub name: &'static str,
    pub(super) default: Preset,
}

/// What a parameter is where a call leaves it out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Preset {
    /// It must be given.
    Required,
    /// The op works it out.
    Unset,
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(&'static str),
}

/// All ops, in the order of the documentation.
pub fn all() -> &'static [OpEntry] {
    OPS
}

/// The op of a name.
pub(super) fn find(name: &str) -> Option<&'static OpEntry> {
    OPS.iter().find(|op| op.name == name)
}

/// The names of all ops.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OPS.iter().map(|op| op.name)
}

/// Ops of the language that the graph has no operator for.
pub(super) const PLANNED: &[&str] = &["conv_transpose", "log_softmax", "lrn", "prelu"];

impl OpEntry {
    /// The op as it is called: `conv(x, channels, kernel, stride = 1)`.
    pub fn signature(&self) -> String {
        let params = self.params.iter().map(|param| match param.default {
            Preset::Required => param.name.to_owned(),
            Preset::Unset => format!("{} = …", param.name),
            Preset::Int(value) => format!("{} = {value}", param.name),
            Preset::Float(value) => format!("{} = {value:?}", param.name),
            Preset::Bool(value) => format!("{} = {value}", param.name),
            Preset::Str(value) => format!("{} = {value:?}", param.name),
        });
        format!("{}({})", self.name, params.collect::<Vec<_>>().join(", "))
    }
}

pub(super) const fn param(name: &'static str, default: Preset) -> OpParam {
    OpParam { name, default }
}

use Preset::{Bool, Float, Int, Required, Str, Unset};

const X: OpParam = param("x", Required);
const BOTH: &[OpParam] = &[X, param("y", Required)];

static OPS: &[OpEntry] = &[
    OpEntry {
        name: "conv",
        params: &[
            X,
            param("channels", Required),
            param("kernel", Required),
            param("stride", Int(1)),
            param("padding", Int(0)),
            param("dilation", Int(1)),
            param("groups", Int(1)),
            param("bias", Bool(true)),
            param("weight", Unset),
        ],
        doc: "[N, C, H, W] to [N, channels, H', W']: convolution. `kernel`, `stride` and `dilation` are a number or (rows, columns); \
              `padding` is a number, (rows, columns), (top, left, bottom, right), or \"same\" as TensorFlow pads: \
              H' = ceil(H / stride), the odd row below. Weights: NAME.weight [channels, C / groups, kh, kw], NAME.bias; \
              `weight` is another word for the kernel's.",
        build: conv,
    },
    OpEntry {
        name: "linear",
        params: &[X, param("features", Required), param("bias", Bool(true))],
        doc: "[N, F] to [N, features]: x · weightᵀ + bias. Weights: NAME.weight [features, F], NAME.bias.",
        build: linear,
    },
    OpEntry {
        name: "bn",
        params: &[X, param("eps", Float(1e-5)), param("scale", Bool(true)), param("shift", Bool(true))],
        doc: "Batch normalization on axis 1 with the stored statistics: (x - mean) / sqrt(var + eps) * gamma + beta. Weights: \
              NAME.weight where `scale`, NAME.bias where `shift`, NAME.running_mean, NAME.running_var. TensorFlow's and Keras' \
              eps is 0.001.",
        build: bn,
    },
    OpEntry {
        name: "max_pool",
        params: &[
            X,
            param("kernel", Required),
            param("stride", Unset),
            param("padding", Int(0)),
            param("dilation", Int(1)),
            param("ceil_mode", Bool(false)),
        ],
        doc: "The largest of each window; `stride` is the kernel if left out. Padding is never the largest.",
        build: |e, a| e.pool(a, Op::MaxPool),
    },
    OpEntry {
        name: "avg_pool",
        params: &[
            X,
            param("kernel", Required),
            param("stride", Unset),
            param("padding", Int(0)),
            param("ceil_mode", Bool(false)),
            param("count_include_pad", Bool(true)),
        ],
        doc: "The mean of each window; `stride` is the kernel if left out. TensorFlow and Keras do not count padding.",
        build: |e, a| e.pool(a, Op::AvgPool),
    },
    OpEntry {
        name: "global_avg_pool",
        params: &[X],
        doc: "[N, C, H, W] to [N, C, 1, 1]: the mean over rows and columns.",
        build: |e, a| e.simple(a, Op::GlobalAvgPool),
    },
    OpEntry {
        name: "global_max_pool",
        params: &[X],
        doc: "[N, C, H, W] to [N, C, 1, 1]: the largest over rows and columns.",
        build: |e, a| e.simple(a, Op::GlobalMaxPool),
    },
    OpEntry {
        name: "adaptive_avg_pool",
        params: &[X, param("size", Required)],
        doc: "[N, C, H, W] to [N, C, size, size]: means over windows floor(i * H / size)..ceil((i + 1) * H / size).",
        build: adaptive_avg_pool,
    },
    OpEntry {
        name: "resize",
        params: &[X, param("size", Required), param("filter", Str("nearest")), param("align_corners", Bool(false))],
        doc: "[N, C, H, W] to [N, C, size, size], as PyTorch's `interpolate`; `filter` is \"nearest\" or \"bilinear\".",
        build: resize,
    },
    OpEntry { name: "relu", params: &[X], doc: "max(x, 0)", build: |e, a| e.activate(a, Activation::Relu) },
    OpEntry { name: "relu6", params: &[X], doc: "min(max(x, 0), 6)", build: |e, a| e.activate(a, Activation::RELU6) },
    OpEntry {
        name: "leaky_relu",
        params: &[X, param("slope", Float(0.01))],
        doc: "x where positive, else slope * x. Keras' slope is 0.3.",
        build: |e, a| {
            let slope = F32::new(e.float(a, "slope")? as f32);
            e.activate(a, Activation::LeakyRelu { slope })
        },
    },
    OpEntry {
        name: "elu",
        params: &[X, param("alpha", Float(1.0))],
        doc: "x where positive, else alpha * (exp(x) - 1)",
        build: |e, a| {
            let alpha = F32::new(e.float(a, "alpha")? as f32);
            e.activate(a, Activation::Elu { alpha })
        },
    },
    OpEntry {
        name: "sigmoid",
        params: &[X],
        doc: "1 / (1 + exp(-x))",
        build: |e, a| e.activate(a, Activation::Sigmoid),
    },
    OpEntry {
        name: "hard_sigmoid",
        params: &[X],
        doc: "min(max(x / 6 + 1/2, 0), 1), as PyTorch and Keras 3 have it; Keras 2's is `(x * 0.2 + 0.5).clip(0, 1)`.",
        build: |e, a| e.activate(a, Activation::HardSigmoid),
    },
    OpEntry { name: "tanh", params: &[X], doc: "tanh(x)", build: |e, a| e.activate(a, Activation::Tanh) },
    OpEntry { name: "silu", params: &[X], doc: "x * sigmoid(x)", build: |e, a| e.activate(a, Activation::Silu) },
    OpEntry {
        name: "swish",
        params: &[X],
        doc: "silu by its other name",
        build: |e, a| e.activate(a, Activation::Silu),
    },
    OpEntry {
        name: "hard_swish",
        params: &[X],
        doc: "x * min(max(x + 3, 0), 6) / 6",
        build: |e, a| e.activate(a, Activation::HardSwish),
    },
    OpEntry {
        name: "gelu",
        params: &[X, param("approximate", Str("none"))],
        doc: "x * (1 + erf(x / sqrt(2))) / 2; where `approximate` is \"tanh\", x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x³))) / 2.",
        build: |e, a| {
            let by_tanh = e.word(a, "approximate", &["none", "tanh"])? == "tanh";
            e.activate(a, if by_tanh { Activation::GeluTanh } else { Activation::Gelu })
        },
    },
    OpEntry { name: "mish", params: &[X], doc: "x * tanh(ln(1 + e^x))", build: |e, a| e.activate(a, Activation::Mish) },
    OpEntry { name: "abs", params: &[X], doc: "|x|", build: |e, a| e.activate(a, Activation::Abs) },
    OpEntry { name: "sqrt", params: &[X], doc: "The square root.", build: |e, a| e.activate(a, Activation::Sqrt) },
    OpEntry { name: "exp", params: &[X], doc: "e^x", build: |e, a| e.activate(a, Activation::Exp) },
    OpEntry { name: "log", params: &[X], doc: "ln(x)", build: |e, a| e.activate(a, Activation::Log) },
    OpEntry { name: "erf", params: &[X], doc: "erf(x)", build: |e, a| e.activate(a, Activation::Erf) },
    OpEntry { name: "softplus", params: &[X], doc: "ln(1 + e^x)", build: |e, a| e.activate(a, Activation::Softplus) },
    OpEntry {
        name: "clip",
        params: &[X, param("low", Required), param("high", Required)],
        doc: "min(max(x, low), high)",
        build: |e, a| {
            let (lo, hi) = (e.float(a, "low"), e.float(a, "high"));
            let (lo, hi) = (F32::new(lo? as f32), F32::new(hi? as f32));
            e.activate(a, Activation::Clip { lo, hi })
        },
    },
    OpEntry {
        name: "softmax",
        params: &[X, param("axis", Int(1))],
        doc: "exp(x - max) / sum of exp(x - max) along an axis",
        build: |e, a| {
            let x = e.tensor(a, "x")?;
            let axis = e.axis(a, "axis", e.shape(x).len())?;
            e.simple(a, Op::Softmax { axis })
        },
    },
    OpEntry { name: "add", params: BOTH, doc: "x + y", build: |e, a| e.elementwise(a, Binary::Add) },
    OpEntry { name: "sub", params: BOTH, doc: "x - y", build: |e, a| e.elementwise(a, Binary::Sub) },
    OpEntry { name: "mul", params: BOTH, doc: "x * y", build: |e, a| e.elementwise(a, Binary::Mul) },
    OpEntry { name: "div", params: BOTH, doc: "x / y", build: |e, a| e.elementwise(a, Binary::Div) },
    OpEntry {
        name: "matmul",
        params: BOTH,
        doc: "Products of matrices, part by part: `[P, M, K]` by `[Q, K, N]`, where P is Q, or one of them 1.",
        build: matmul,
    },
    OpEntry {
        name: "concat",
        params: &[param("tensors", Required), param("axis", Int(1))],
        doc: "Tensors one after the other along an axis: `concat([a, b])`.",
        build: concat,
    },
    OpEntry {
        name: "split",
        params: &[X, param("parts", Required), param("axis", Int(1))],
        doc: "A tuple of parts along an axis: `x.split(2)` into equal ones, `x.split([24, 34])` by extents.",
        build: split,
    },
    OpEntry {
        name: "slice",
        params: &[X, param("axis", Required), param("start", Required), param("end", Required)],
        doc: "Elements start..end of an axis.",
        build: |e, a| {
            let x = e.tensor(a, "x")?;
            let axis = e.axis(a, "axis", e.shape(x).len());
            let (start, end) = (e.natural(a, "start"), e.natural(a, "end"));
            e.simple(a, Op::Slice { axis: axis?, start: start?, end: end? })
        },
    },
    OpEntry {
        name: "gather",
        params: &[X, param("axis", Required), param("indices", Required)],
        doc: "Elements of an axis by their index, which may occur several times (PyTorch's index_select): \
              `x.gather(1, [2, 1, 0])`.",
        build: gather,
    },
    OpEntry {
        name: "channel_shuffle",
        params: &[X, param("groups", Required)],
        doc: "Channels seen as [groups, C / groups] and transposed (Zhang et al. 2017, ShuffleNet).",
        build: |e, a| {
            let groups = e.count(a, "groups")?;
            e.simple(a, Op::ChannelShuffle { groups })
        },
    },
    OpEntry {
        name: "depth_to_space",
        params: &[X, param("block", Required)],
        doc: "[N, C * block², H, W] to [N, C, H * block, W * block], as PyTorch's pixel_shuffle orders channels.",
        build: depth_to_space,
    },
    OpEntry {
        name: "flatten",
        params: &[X, param("start", Int(1))],
        doc: "All axes from `start` on as one, row-major.",
        build: flatten,
    },
    OpEntry {
        name: "reshape",
        params: &[X, param("shape", Required)],
        doc: "The same elements in row-major order; one extent may be -1, which the others decide.",
        build: reshape,
    },
    OpEntry {
        name: "transpose",
        params: &[X, param("axes", Required)],
        doc: "Axes in another order: axis i of the result is axis axes[i] of x (PyTorch's permute).",
        build: |e, a| {
            let perm = e.integers_of(a, "axes")?;
            let perm = perm.into_iter().map(|axis| usize::try_from(axis).unwrap_or(usize::MAX)).collect();
            e.simple(a, Op::Transpose { perm })
        },
    },
    OpEntry {
        name: "pad",
        params: &[X, param("padding", Required), param("value", Float(0.0))],
        doc: "Rows and columns of a constant around a feature map; `padding` as for conv.",
        build: |e, a| {
            let (pads, value) = (e.pads(a, "padding", Pads::default), e.float(a, "value"));
            e.simple(a, Op::Pad { pads: pads?, value: F32::new(value? as f32) })
        },
    },
    OpEntry {
        name: "dropout",
        params: &[X, param("rate", Float(0.5))],
        doc: "x: dropout does nothing at inference.",
        build: |e, a| {
            e.float(a, "rate")?;
            e.simple(a, Op::Dropout)
        },
    },
    OpEntry {
        name: "mean",
        params: &[X, param("keep", Bool(true))],
        doc: "The mean over rows and columns: [N, C, 1, 1], or [N, C] without `keep`.",
        build: |e, a| {
            let keep = e.flag(a, "keep")?;
            let mean = e.simple(a, Op::GlobalAvgPool)?;
            match mean {
                Value::Tensor(node) if !keep => {
                    let shape = e.shape(node)[..2].to_vec();
                    let name = e.made_name("reshape");
                    Some(Value::Tensor(e.add_node(Op::Reshape { shape }, &[node], Vec::new(), name, a.place, &[])?))
                }
                mean => Some(mean),
            }
        },
    },
    OpEntry {
        name: "normalize",
        params: &[X, param("mean", Required), param("std", Required)],
        doc: "(x - mean[c]) / std[c] by channel; each a number or an array of C.",
        build: normalize,
    },
    OpEntry { name: "identity", params: &[X], doc: "x", build: |e, a| e.simple(a, Op::Identity) },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_nothing_planned_is_there() {
        let mut names: Vec<&str> = names().collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(PLANNED.iter().all(|name| find(name).is_none()));
    }
}
