//! Operators as they are written: `conv("x", channels = 32, kernel = 3, stride = 2, padding = 1)`.
//!
//! Attributes have the names of the network language. Those that are not written are their defaults: stride 1, padding
//! 0, dilation 1, groups 1, flags off. Whether there is a bias or a gamma shows in the weights below a node.

use super::super::op::{Activation, Binary, Chain, Constant, Conv, Core, F32, Linear, Op, Pads, Pool, Stage, Window};
use super::super::resize::{Coordinates, Filter, Resize, Rounding, Scale};
use super::super::{DType, TensorType, infer};
use super::ParseError;
use super::syntax::{Call, Kind, Term, write_f32};

/// An operator on operands of these (quoted) names. Without names the operator alone.
pub(in super::super) fn write(op: &Op, operands: &[String]) -> String {
    let mut operands = operands.iter().cloned();
    let attributes = match op {
        Op::Fused { before, core, after } => {
            let mut parts: Vec<String> = operands.next().into_iter().collect();
            parts.extend(before.iter().map(|stage| write_stage(stage, &mut operands)));
            match core {
                Core::Conv(conv) => parts.push(call("conv", write_conv(conv))),
                Core::Linear(linear) => parts.push(call("linear", write_linear(linear))),
                Core::Identity => {}
            }
            parts.extend(after.iter().map(|stage| write_stage(stage, &mut operands)));
            return call("fused", parts);
        }
        Op::Activate(activation) => {
            let (name, attributes) = write_activation(activation);
            return call(name, operands.chain(attributes));
        }
        Op::Conv(conv) => write_conv(conv),
        Op::Linear(linear) => write_linear(linear),
        Op::Constant(Constant { shape, values }) => {
            let values: Vec<String> = values.iter().map(|v| write_f32(v.bits())).collect();
            vec![format!("shape = {shape:?}"), format!("values = [{}]", values.join(", "))]
        }
        Op::Weight { shape } => vec![format!("shape = {shape:?}")],
        Op::BatchNorm { eps, affine: _ } => vec![format!("eps = {}", write_f32(eps.bits()))],
        Op::MaxPool(pool) | Op::AvgPool(pool) => {
            let mut attributes = write_window(&pool.window);
            attributes.extend(pool.ceil_mode.then(|| "ceil_mode = true".to_owned()));
            attributes.extend(pool.count_include_pad.then(|| "count_include_pad = true".to_owned()));
            attributes
        }
        Op::Cast(dtype) => vec![format!("to = {dtype}")],
        Op::Softmax { axis } | Op::Concat { axis } => vec![format!("axis = {axis}")],
        Op::Slice { axis, start, end } => vec![format!("axis = {axis}, start = {start}, end = {end}")],
        Op::Gather { axis, indices } => vec![format!("axis = {axis}, indices = {indices:?}")],
        Op::ChannelShuffle { groups } => vec![format!("groups = {groups}")],
        Op::Reshape { shape } => vec![format!("shape = {shape:?}")],
        Op::Transpose { perm } => vec![format!("perm = {perm:?}")],
        Op::Pad { pads, value } => {
            vec![format!("padding = {}", write_pads(*pads)), format!("value = {}", write_f32(value.bits()))]
        }
        Op::Resize(Resize { size, scale, filter, coordinates }) => {
            let [rows, columns] = scale.map(write_scale);
            vec![
                format!("size = {size:?}, scale = [{rows}, {columns}]"),
                format!("filter = \"{}\", coordinates = \"{}\"", filter_name(*filter), coordinates_name(*coordinates)),
            ]
        }
        Op::Input(_)
        | Op::Binary(_)
        | Op::MatMul
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Dropout
        | Op::Identity => vec![],
    };
    call(infer::name(op), operands.chain(attributes))
}

/// The operator of a call, and its operands. The type is that of an input; `bias` and `affine` say whether such
/// weights stand below the node.
pub(super) fn read<'a>(
    mut call: Call<'a>,
    ty: &TensorType,
    bias: bool,
    affine: bool,
) -> Result<(Op, Vec<Term<'a>>), ParseError> {
    let operands = call.positional();
    let op = match call.name {
        "fused" => return read_fused(call, operands, bias),
        "input" => Op::Input(ty.clone()),
        "constant" => {
            let values = call.require("values")?.list()?;
            Op::Constant(Constant {
                shape: call.require("shape")?.usizes()?,
                values: values.iter().map(read_f32).collect::<Result<_, _>>()?,
            })
        }
        "weight" => Op::Weight { shape: call.require("shape")?.usizes()? },
        "conv" => Op::Conv(read_conv(&mut call, bias)?),
        "linear" => Op::Linear(read_linear(&mut call, bias)?),
        "bn" => Op::BatchNorm { eps: read_f32(&call.require("eps")?)?, affine },
        "cast" => Op::Cast(read_dtype(&call.require("to")?)?),
        "add" => Op::Binary(Binary::Add),
        "sub" => Op::Binary(Binary::Sub),
        "mul" => Op::Binary(Binary::Mul),
        "div" => Op::Binary(Binary::Div),
        "min" => Op::Binary(Binary::Min),
        "max" => Op::Binary(Binary::Max),
        "pow" => Op::Binary(Binary::Pow),
        "matmul" => Op::MatMul,
        "max_pool" => Op::MaxPool(read_pool(&mut call)?),
        "avg_pool" => Op::AvgPool(read_pool(&mut call)?),
        "global_avg_pool" => Op::GlobalAvgPool,
        "global_max_pool" => Op::GlobalMaxPool,
        "softmax" => Op::Softmax { axis: call.require("axis")?.usize()? },
        "concat" => Op::Concat { axis: call.require("axis")?.usize()? },
        "slice" => Op::Slice {
            axis: call.require("axis")?.usize()?,
            start: call.require("start")?.usize()?,
            end: call.require("end")?.usize()?,
        },
        "gather" => {
            Op::Gather { axis: call.require("axis")?.usize()?, indices: read_indices(call.require("indices")?)? }
        }
        "channel_shuffle" => Op::ChannelShuffle { groups: call.require("groups")?.usize()? },
        "reshape" => Op::Reshape { shape: call.require("shape")?.usizes()? },
        "transpose" => Op::Transpose { perm: call.require("perm")?.usizes()? },
        "pad" => Op::Pad { pads: read_pads(call.require("padding")?)?, value: read_f32(&call.require("value")?)? },
        "resize" => Op::Resize(read_resize(&mut call)?),
        "dropout" => Op::Dropout,
        "identity" => Op::Identity,
        name => match read_activation(&mut call)? {
            Some(activation) => Op::Activate(activation),
            None => return Err(ParseError::new(call.at, format!("no operator is called `{name}`"))),
        },
    };
    call.finish()?;
    Ok((op, operands))
}

/// The parts after the first argument, in the order they act; without a core all of them come after.
fn read_fused<'a>(call: Call<'a>, parts: Vec<Term<'a>>, bias: bool) -> Result<(Op, Vec<Term<'a>>), ParseError> {
    let at = call.at;
    call.finish()?;
    let mut parts = parts.into_iter();
    let mut operands: Vec<Term<'a>> = parts.next().into_iter().collect();
    let (mut before, mut core, mut after) = (Chain::new(), Core::Identity, Chain::new());
    for part in parts {
        let mut part = Call::new(part)?;
        let stage = match part.name {
            "conv" | "linear" if core != Core::Identity => {
                return Err(ParseError::new(part.at, "a fused node has one core"));
            }
            "conv" => {
                core = Core::Conv(read_conv(&mut part, bias)?);
                before = std::mem::take(&mut after);
                part.finish()?;
                continue;
            }
            "linear" => {
                core = Core::Linear(read_linear(&mut part, bias)?);
                before = std::mem::take(&mut after);
                part.finish()?;
                continue;
            }
            "affine" => Stage::Affine,
            "add" | "scale" => {
                let stage = if part.name == "add" { Stage::Add } else { Stage::Scale };
                operands.extend(part.exactly::<1>()?);
                stage
            }
            name => match read_activation(&mut part)? {
                Some(activation) => Stage::Activate(activation),
                None => return Err(ParseError::new(part.at, format!("no stage is called `{name}`"))),
            },
        };
        part.finish()?;
        after.push(stage);
    }
    if operands.is_empty() {
        return Err(ParseError::new(at, "`fused` needs an operand"));
    }
    Ok((Op::Fused { before, core, after }, operands))
}

fn call(name: &str, arguments: impl IntoIterator<Item = String>) -> String {
    format!("{name}({})", arguments.into_iter().collect::<Vec<_>>().join(", "))
}

const FILTERS: [Filter; 5] = [
    Filter::Nearest(Rounding::Floor),
    Filter::Nearest(Rounding::Ceil),
    Filter::Nearest(Rounding::HalfDown),
    Filter::Nearest(Rounding::HalfUp),
    Filter::Linear,
];

const COORDINATES: [Coordinates; 6] = [
    Coordinates::HalfPixel,
    Coordinates::PytorchHalfPixel,
    Coordinates::HalfPixelSymmetric,
    Coordinates::TfHalfPixelForNn,
    Coordinates::Asymmetric,
    Coordinates::AlignCorners,
];

fn filter_name(filter: Filter) -> &'static str {
    match filter {
        Filter::Nearest(Rounding::Floor) => "nearest_floor",
        Filter::Nearest(Rounding::Ceil) => "nearest_ceil",
        Filter::Nearest(Rounding::HalfDown) => "nearest_half_down",
        Filter::Nearest(Rounding::HalfUp) => "nearest_half_up",
        Filter::Linear => "linear",
    }
}

fn coordinates_name(coordinates: Coordinates) -> &'static str {
    match coordinates {
        Coordinates::HalfPixel => "half_pixel",
        Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
        Coordinates::HalfPixelSymmetric => "half_pixel_symmetric",
        Coordinates::TfHalfPixelForNn => "tf_half_pixel_for_nn",
        Coordinates::Asymmetric => "asymmetric",
        Coordinates::AlignCorners => "align_corners",
    }
}

fn write_scale(scale: Scale) -> String {
    match scale {
        Scale::Ratio { outputs, inputs } => format!("ratio({outputs}, {inputs})"),
        Scale::Number(number) => write_f32(number.bits()),
    }
}

fn read_scale(term: Term<'_>) -> Result<Scale, ParseError> {
    let mut call = match read_f32(&term) {
        Ok(number) => return Ok(Scale::Number(number)),
        Err(error) => Call::new(term).ok().filter(|call| call.name == "ratio").ok_or(error)?,
    };
    let [outputs, inputs] = call.exactly()?;
    let scale = Scale::Ratio { outputs: outputs.usize()?, inputs: inputs.usize()? };
    call.finish().map(|()| scale)
}

fn read_resize(call: &mut Call<'_>) -> Result<Resize, ParseError> {
    let at = call.at;
    let unknown = |what: &str, name: &str| ParseError::new(at, format!("no {what} is called `{name}`"));
    let size = call.require("size")?.usizes()?;
    let scale = call.require("scale")?.list()?.into_iter().map(read_scale).collect::<Result<Vec<Scale>, _>>()?;
    let (&[rows, columns], &[by_rows, by_columns]) = (&*size, &*scale) else {
        return Err(ParseError::new(at, "a size and a scale are two numbers each"));
    };
    let (filter, coordinates) = (call.require("filter")?.text()?, call.require("coordinates")?.text()?);
    Ok(Resize {
        size: [rows, columns],
        scale: [by_rows, by_columns],
        filter: FILTERS
            .into_iter()
            .find(|known| filter_name(*known) == filter)
            .ok_or_else(|| unknown("filter", &filter))?,
        coordinates: COORDINATES
            .into_iter()
            .find(|known| coordinates_name(*known) == coordinates)
            .ok_or_else(|| unknown("transformation", &coordinates))?,
    })
}

fn write_stage(stage: &Stage, operands: &mut impl Iterator<Item = String>) -> String {
    let (name, arguments) = match stage {
        Stage::Affine => ("affine", vec![]),
        Stage::Activate(activation) => write_activation(activation),
        Stage::Add => ("add", operands.next().into_iter().collect()),
        Stage::Scale => ("scale", operands.next().into_iter().collect()),
    };
    if arguments.is_empty() { name.to_owned() } else { call(name, arguments) }
}

fn write_activation(activation: &Activation) -> (&'static str, Vec<String>) {
    let attribute = |name: &str, value: &F32| format!("{name} = {}", write_f32(value.bits()));
    match activation {
        Activation::Relu => ("relu", vec![]),
        Activation::Clip { lo, hi } => ("clip", vec![attribute("lo", lo), attribute("hi", hi)]),
        Activation::LeakyRelu { slope } => ("leaky_relu", vec![attribute("slope", slope)]),
        Activation::Abs => ("abs", vec![]),
        Activation::Elu { alpha } => ("elu", vec![attribute("alpha", alpha)]),
        Activation::Sigmoid => ("sigmoid", vec![]),
        Activation::HardSigmoid => ("hard_sigmoid", vec![]),
        Activation::Tanh => ("tanh", vec![]),
        Activation::Silu => ("silu", vec![]),
        Activation::HardSwish => ("hard_swish", vec![]),
        Activation::Gelu => ("gelu", vec![]),
        Activation::GeluTanh => ("gelu_tanh", vec![]),
        Activation::Exp => ("exp", vec![]),
        Activation::Log => ("log", vec![]),
        Activation::Sqrt => ("sqrt", vec![]),
        Activation::Erf => ("erf", vec![]),
        Activation::Softplus => ("softplus", vec![]),
        Activation::Mish => ("mish", vec![]),
        Activation::Quantize { scale, zero, lo, hi } => {
            let attributes = [("scale", scale), ("zero", zero), ("lo", lo), ("hi", hi)];
            ("quantize", attributes.map(|(name, value)| attribute(name, value)).to_vec())
        }
    }
}

fn read_activation(call: &mut Call<'_>) -> Result<Option<Activation>, ParseError> {
    let name = call.name;
    let mut float = |name: &str| read_f32(&call.require(name)?);
    Ok(Some(match name {
        "relu" => Activation::Relu,
        "clip" => Activation::Clip { lo: float("lo")?, hi: float("hi")? },
        "leaky_relu" => Activation::LeakyRelu { slope: float("slope")? },
        "abs" => Activation::Abs,
        "elu" => Activation::Elu { alpha: float("alpha")? },
        "sigmoid" => Activation::Sigmoid,
        "hard_sigmoid" => Activation::HardSigmoid,
        "tanh" => Activation::Tanh,
        "silu" => Activation::Silu,
        "hard_swish" => Activation::HardSwish,
        "gelu" => Activation::Gelu,
        "gelu_tanh" => Activation::GeluTanh,
        "exp" => Activation::Exp,
        "log" => Activation::Log,
        "sqrt" => Activation::Sqrt,
        "erf" => Activation::Erf,
        "softplus" => Activation::Softplus,
        "mish" => Activation::Mish,
        "quantize" => {
            Activation::Quantize { scale: float("scale")?, zero: float("zero")?, lo: float("lo")?, hi: float("hi")? }
        }
        _ => return Ok(None),
    }))
}

fn write_conv(conv: &Conv) -> Vec<String> {
    let mut attributes = vec![format!("channels = {}", conv.channels)];
    attributes.extend(write_window(&conv.window));
    attributes.extend((conv.groups != 1).then(|| format!("groups = {}", conv.groups)));
    attributes
}

fn read_conv(call: &mut Call<'_>, bias: bool) -> Result<Conv, ParseError> {
    Ok(Conv {
        channels: call.require("channels")?.usize()?,
        window: read_window(call)?,
        groups: call.take("groups").map_or(Ok(1), |groups| groups.usize())?,
        bias,
    })
}

fn write_linear(linear: &Linear) -> Vec<String> {
    vec![format!("features = {}", linear.features)]
}

fn read_linear(call: &mut Call<'_>, bias: bool) -> Result<Linear, ParseError> {
    Ok(Linear { features: call.require("features")?.usize()?, bias })
}

fn read_pool(call: &mut Call<'_>) -> Result<Pool, ParseError> {
    Ok(Pool {
        window: read_window(call)?,
        ceil_mode: call.take("ceil_mode").map_or(Ok(false), |flag| flag.bool())?,
        count_include_pad: call.take("count_include_pad").map_or(Ok(false), |flag| flag.bool())?,
    })
}

fn write_window(window: &Window) -> Vec<String> {
    let pair = |name: &str, [rows, columns]: [usize; 2]| {
        if rows == columns { format!("{name} = {rows}") } else { format!("{name} = [{rows}, {columns}]") }
    };
    let mut attributes = vec![pair("kernel", window.kernel)];
    attributes.extend((window.stride != [1, 1]).then(|| pair("stride", window.stride)));
    attributes.extend((!window.pads.is_none()).then(|| format!("padding = {}", write_pads(window.pads))));
    attributes.extend((window.dilation != [1, 1]).then(|| pair("dilation", window.dilation)));
    attributes
}

fn read_window(call: &mut Call<'_>) -> Result<Window, ParseError> {
    Ok(Window {
        kernel: read_pair(call.require("kernel")?)?,
        stride: call.take("stride").map_or(Ok([1, 1]), read_pair)?,
        pads: call.take("padding").map_or(Ok(Pads::default()), read_pads)?,
        dilation: call.take("dilation").map_or(Ok([1, 1]), read_pair)?,
    })
}

fn read_pair(term: Term<'_>) -> Result<[usize; 2], ParseError> {
    let at = term.at;
    if matches!(term.kind, Kind::Word(_)) {
        return term.usize().map(|both| [both; 2]);
    }
    term.usizes()?.try_into().map_err(|_| ParseError::new(at, "a number or [rows, columns]"))
}

/// One number for all sides, `[rows, columns]`, or `[top, left, bottom, right]`.
fn write_pads(Pads { top, left, bottom, right }: Pads) -> String {
    match (top == bottom && left == right, top == left) {
        (true, true) => top.to_string(),
        (true, false) => format!("[{top}, {left}]"),
        (false, _) => format!("{:?}", [top, left, bottom, right]),
    }
}

fn read_pads(term: Term<'_>) -> Result<Pads, ParseError> {
    let at = term.at;
    if matches!(term.kind, Kind::Word(_)) {
        return term.usize().map(|all| Pads::symmetric(all, all));
    }
    match *term.usizes()? {
        [rows, columns] => Ok(Pads::symmetric(rows, columns)),
        [top, left, bottom, right] => Ok(Pads { top, left, bottom, right }),
        _ => Err(ParseError::new(at, "a number, [rows, columns] or [top, left, bottom, right]")),
    }
}

fn read_indices(term: Term<'_>) -> Result<Vec<u32>, ParseError> {
    let at = term.at;
    let index = |index| u32::try_from(index).map_err(|_| ParseError::new(at, "an index below 2^32"));
    term.usizes()?.into_iter().map(index).collect()
}

fn read_dtype(term: &Term<'_>) -> Result<DType, ParseError> {
    let known = match term.kind {
        Kind::Word(word) => DType::ALL.into_iter().find(|dtype| dtype.to_string() == word),
        _ => None,
    };
    known.ok_or_else(|| ParseError::new(term.at, "a type of elements"))
}

fn read_f32(term: &Term<'_>) -> Result<F32, ParseError> {
    term.f32_bits().map(|bits| F32::new(f32::from_bits(bits)))
}
