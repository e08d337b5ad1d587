//! The ops of the language, one entry each: parameters with defaults, what it computes, and the nodes it adds.
//!
//! Defaults and formulas are PyTorch's unless an entry says otherwise. Every op takes `name = "…"` besides.

use super::attribute::Args;
use super::{Elaborator, Value};
use crate::diag::Diagnostic;
use crate::graph::infer::{self, Role};
use crate::graph::{Activation, Binary, Constant, Conv, F32, Linear, NodeId, Op, Pads, Pool, Window};

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
pub(super) const PLANNED: &[&str] = &["conv_transpose", "gelu", "log_softmax", "lrn", "prelu", "resize"];

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

use Preset::{Bool, Float, Int, Required, Unset};

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
        ],
        doc: "[N, C, H, W] to [N, channels, H', W']: convolution. `kernel`, `stride` and `dilation` are a number or (rows, columns); \
              `padding` is a number, (rows, columns), (top, left, bottom, right), or \"same\" as TensorFlow pads: \
              H' = ceil(H / stride), the odd row below. Weights: NAME.weight [channels, C / groups, kh, kw], NAME.bias.",
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
        doc: "[N, C, H, W] to [N, C, size, size]: means over equal windows; H and W must be multiples of the size.",
        build: adaptive_avg_pool,
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

impl<'a> Elaborator<'a> {
    fn shape(&self, node: NodeId) -> &[usize] {
        &self.graph.node(node).ty.shape
    }

    /// A node of one operand without weights.
    fn simple(&mut self, args: &Args<'a>, op: Op) -> Option<Value> {
        let x = self.tensor(args, "x")?;
        let name = self.node_name(args.op.name, args.name.as_deref());
        self.add_node(op, &[x], Vec::new(), name, args.place, &[args.written("x")]).map(Value::Tensor)
    }

    fn activate(&mut self, args: &Args<'a>, activation: Activation) -> Option<Value> {
        self.simple(args, Op::Activate(activation))
    }

    fn elementwise(&mut self, args: &Args<'a>, binary: Binary) -> Option<Value> {
        let (x, y) = (self.tensor_or_number(args, "x"), self.tensor_or_number(args, "y"));
        let name = self.node_name(args.op.name, args.name.as_deref());
        let written = [args.written("x"), args.written("y")];
        self.add_node(Op::Binary(binary), &[x?, y?], Vec::new(), name, args.place, &written).map(Value::Tensor)
    }

    fn pool(&mut self, args: &Args<'a>, op: fn(Pool) -> Op) -> Option<Value> {
        let x = self.tensor(args, "x")?;
        let kernel = self.pair(args, "kernel")?;
        let stride = if args.has("stride") { self.pair(args, "stride")? } else { kernel };
        let dilation = if args.has("dilation") { self.pair(args, "dilation")? } else { [1, 1] };
        let window = self.window(args, x, kernel, stride, dilation);
        let ceil_mode = self.flag(args, "ceil_mode");
        let count_include_pad =
            if args.has("count_include_pad") { self.flag(args, "count_include_pad") } else { Some(true) };
        let pool = Pool { window: window?, ceil_mode: ceil_mode?, count_include_pad: count_include_pad? };
        self.simple(args, op(pool))
    }

    /// The window of an op with `padding`.
    fn window(
        &mut self,
        args: &Args<'a>,
        x: NodeId,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> Option<Window> {
        let extents = match *self.shape(x) {
            [_, _, h, w] => [h, w],
            // What x lacks is said where the node is added.
            _ => [0, 0],
        };
        let window = Window { kernel, stride, pads: Pads::default(), dilation };
        let pads = self.pads(args, "padding", || same_padding(&window, extents))?;
        Some(Window { pads, ..window })
    }
}

/// TensorFlow's "same": as many outputs as strides fit, rounded up; what is odd goes below and to the right.
fn same_padding(window: &Window, extents: [usize; 2]) -> Pads {
    let reach = window.reach();
    let total = |i: usize| {
        let outputs = extents[i].div_ceil(window.stride[i]).max(1);
        ((outputs - 1) * window.stride[i] + reach[i]).saturating_sub(extents[i])
    };
    let (rows, columns) = (total(0), total(1));
    Pads { top: rows / 2, left: columns / 2, bottom: rows - rows / 2, right: columns - columns / 2 }
}

fn conv<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x");
    let (channels, kernel, stride) = (e.count(args, "channels"), e.pair(args, "kernel"), e.pair(args, "stride"));
    let (dilation, groups, bias) = (e.pair(args, "dilation"), e.count(args, "groups"), e.flag(args, "bias"));
    let x = x?;
    let window = e.window(args, x, kernel?, stride?, dilation?)?;
    let op = Op::Conv(Conv { channels: channels?, window, groups: groups?, bias: bias? });
    let node = e.layer(op, x, args.name.as_deref(), &[], args.place, &[args.written("x")])?;
    if let Some(width) = args.written("channels") {
        e.widths.insert(node, width);
    }
    Some(Value::Tensor(node))
}

fn linear<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x");
    let (features, bias) = (e.count(args, "features"), e.flag(args, "bias"));
    let op = Op::Linear(Linear { features: features?, bias: bias? });
    e.layer(op, x?, args.name.as_deref(), &[], args.place, &[args.written("x")]).map(Value::Tensor)
}

fn bn<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x");
    let (eps, scale, shift) = (e.float(args, "eps"), e.flag(args, "scale"), e.flag(args, "shift"));
    let (eps, scale, shift) = (eps?, scale?, shift?);
    if !(eps >= 0.0 && eps.is_finite()) {
        e.report(Diagnostic::error(args.place, format!("`eps` of bn must not be negative, this is {eps:?}")));
        return None;
    }
    let mut absent = Vec::new();
    if !scale {
        absent.push((Role::Gamma, 1.0));
    }
    if !shift {
        absent.push((Role::Beta, 0.0));
    }
    let op = Op::BatchNorm { eps: F32::new(eps as f32), affine: scale || shift };
    e.layer(op, x?, args.name.as_deref(), &absent, args.place, &[args.written("x")]).map(Value::Tensor)
}

fn adaptive_avg_pool<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let (x, size) = (e.tensor(args, "x"), e.pair(args, "size"));
    let (x, size) = (x?, size?);
    let op = match *e.shape(x) {
        [_, _, h, w] if size != [1, 1] => {
            if h % size[0] != 0 || w % size[1] != 0 {
                let message =
                    format!("adaptive_avg_pool cannot cut {h}×{w} pixels into {}×{} equal windows", size[0], size[1]);
                e.report(Diagnostic::error(args.place, message));
                return None;
            }
            let kernel = [h / size[0], w / size[1]];
            let window = Window { kernel, stride: kernel, pads: Pads::default(), dilation: [1, 1] };
            Op::AvgPool(Pool { window, ceil_mode: false, count_include_pad: true })
        }
        _ => Op::GlobalAvgPool,
    };
    e.simple(args, op)
}

fn concat<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let tensors = e.tensors_of(args, "tensors")?;
    let Some(&first) = tensors.first() else {
        e.report(Diagnostic::error(args.place, "concat needs at least one tensor"));
        return None;
    };
    let axis = e.axis(args, "axis", e.shape(first).len())?;
    let name = e.node_name("concat", args.name.as_deref());
    e.add_node(Op::Concat { axis }, &tensors, Vec::new(), name, args.place, &[]).map(Value::Tensor)
}

fn split<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x")?;
    let axis = e.axis(args, "axis", e.shape(x).len())?;
    let extent = e.shape(x)[axis];
    let sizes: Vec<usize> = if args.is_list("parts") {
        let sizes = e.integers_of(args, "parts")?;
        let positive = sizes.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect::<Vec<_>>();
        let sum = positive.iter().fold(0usize, |sum, &size| sum.saturating_add(size));
        if positive.contains(&0) || sum != extent {
            let message = format!("cannot split an extent of {extent} into {sizes:?}, which is {sum}");
            e.report(Diagnostic::error(args.place, message));
            return None;
        }
        positive
    } else {
        let parts = e.count(args, "parts")?;
        if extent % parts != 0 {
            let message = format!("cannot split an extent of {extent} into {parts} equal parts");
            e.report(Diagnostic::error(args.place, message));
            return None;
        }
        vec![extent / parts; parts]
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for size in sizes {
        let op = Op::Slice { axis, start, end: start + size };
        let name = e.node_name("split", args.name.as_deref());
        parts.push(Value::Tensor(e.add_node(op, &[x], Vec::new(), name, args.place, &[args.written("x")])?));
        start += size;
    }
    Some(e.make_list(true, parts, args.place))
}

/// Reshape to blocks, transpose, reshape.
fn depth_to_space<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let (x, block) = (e.tensor(args, "x"), e.count(args, "block"));
    let (x, r) = (x?, block?);
    let [n, c, h, w] = match *e.shape(x) {
        [n, c, h, w] if c % r.saturating_mul(r) == 0 => [n, c, h, w],
        ref shape => {
            let message =
                format!("depth_to_space of blocks of {r}×{r} pixels does not fit a tensor of shape {shape:?}");
            e.report(Diagnostic::error(args.place, message));
            return None;
        }
    };
    let c = c / (r * r);
    let mut node = x;
    let steps = [
        Op::Reshape { shape: vec![n, c, r, r, h, w] },
        Op::Transpose { perm: vec![0, 1, 4, 2, 5, 3] },
        Op::Reshape { shape: vec![n, c, h * r, w * r] },
    ];
    for op in steps {
        let name = e.node_name(infer::name(&op), args.name.as_deref());
        node = e.add_node(op, &[node], Vec::new(), name, args.place, &[])?;
    }
    Some(Value::Tensor(node))
}

fn flatten<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x")?;
    let start = e.axis(args, "start", e.shape(x).len())?;
    let shape = e.shape(x);
    let rest = shape[start..].iter().product();
    let shape = [&shape[..start], &[rest]].concat();
    e.simple(args, Op::Reshape { shape })
}

fn reshape<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x")?;
    let wanted = e.integers_of(args, "shape")?;
    let open = wanted.iter().filter(|&&extent| extent == -1).count();
    let known = wanted.iter().filter(|&&extent| extent != -1);
    let known = known.fold(1usize, |len, &extent| len.saturating_mul(usize::try_from(extent).unwrap_or(0)));
    let elements: usize = e.shape(x).iter().product();
    if open > 1 || known == 0 || open == 1 && elements % known != 0 {
        let message = format!("cannot reshape a tensor of shape {:?} ({elements} elements) to {wanted:?}", e.shape(x));
        e.report(Diagnostic::error(args.place, message));
        return None;
    }
    let shape = wanted.iter().map(|&extent| usize::try_from(extent).unwrap_or(elements / known)).collect();
    e.simple(args, Op::Reshape { shape })
}

fn normalize<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let (x, mean, std) = (e.tensor(args, "x"), e.floats(args, "mean"), e.floats(args, "std"));
    let (x, mean, std) = (x?, mean?, std?);
    let channels = e.shape(x).get(1).copied().unwrap_or(1);
    let rank = e.shape(x).len();
    let mut node = x;
    for (values, binary) in [(mean, Binary::Sub), (std, Binary::Div)] {
        if values.len() != 1 && values.len() != channels || values.len() > Constant::LIMIT {
            let message = format!("normalize takes one number or {channels}, not {}", values.len());
            e.report(Diagnostic::error(args.place, message));
            return None;
        }
        let mut shape = vec![1; rank];
        if let Some(extent) = shape.get_mut(1) {
            *extent = values.len();
        }
        let values = values.into_iter().map(|value| F32::new(value as f32)).collect();
        let constant = e.constant(Constant { shape, values }, args.place)?;
        let op = Op::Binary(binary);
        let name = e.node_name(infer::name(&op), args.name.as_deref());
        node = e.add_node(op, &[node, constant], Vec::new(), name, args.place, &[args.written("x")])?;
    }
    Some(Value::Tensor(node))
}

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

    #[test]
    fn same_padding_is_tensorflows() {
        let window = |kernel, stride| Window { kernel: [kernel; 2], stride: [stride; 2], ..Window::POINT };
        assert_eq!(same_padding(&window(3, 2), [224, 224]), Pads { top: 0, left: 0, bottom: 1, right: 1 });
        assert_eq!(same_padding(&window(3, 1), [7, 8]), Pads::symmetric(1, 1));
        assert_eq!(same_padding(&window(5, 2), [7, 8]), Pads { top: 2, left: 1, bottom: 2, right: 2 });
    }
}
