//! Integers that stand for numbers: `(integer - zero point) * scale`.

use kiln_rt::safetensors::Dtype;

use super::Problem;
use super::builder::{Builder, Value};
use super::call::Call;
use super::geometry::axis;
use super::narrow::Narrow;
use super::tensor::{self, Tensor, data_type};
use crate::graph::{Activation, Binary, Constant, DType, F32, NodeId, Op};

/// No rounded quotient of a byte that is not clipped away lies farther from 0.
const FAR: f32 = 65536.0;

/// The scale and zero point of a tensor, or of each channel of one.
pub(super) struct Quantization {
    pub(super) scale: Value,
    zero: Option<Value>,
    /// The integers' type.
    dtype: DType,
    /// The least and the largest of them.
    range: (f32, f32),
}

impl Quantization {
    /// From two inputs of a call; the zero point may be left out, and is 0 then.
    pub(super) fn of(builder: &Builder, call: &Call<'_>, scale: usize, zero: usize) -> Result<Self, Problem> {
        let scale = call.required(scale)?.clone();
        let zero = call.input(zero).cloned();
        let dtype = match &zero {
            None => DType::U8,
            Some(Value::Node(node)) => builder.ty(*node).dtype,
            Some(Value::Known(known)) => tensor::element_type(known.tensor.dtype)?,
        };
        let narrow = match &zero {
            Some(Value::Known(known)) => known.tensor.narrow,
            Some(Value::Node(_)) | None => None,
        };
        Ok(Quantization { scale, zero, dtype, range: range(dtype, narrow)? })
    }

    /// The one scale and zero point, where they are known and one.
    fn known_scalars(&self) -> Option<(f32, f32)> {
        let scalar = |value: &Value| match value {
            Value::Known(known) => known.tensor.scalar().map(|v| v as f32),
            Value::Node(_) => None,
        };
        let zero = self.zero.as_ref().map_or(Some(0.0), scalar)?;
        Some((scalar(&self.scale)?, zero))
    }
}

/// The least and the largest integer of a type that stands for numbers.
fn range(dtype: DType, narrow: Option<Narrow>) -> Result<(f32, f32), Problem> {
    let whole = match dtype {
        DType::U8 | DType::I8 | DType::I32 => dtype.range().map(|(lo, hi)| (lo as f64, hi as f64)),
        DType::F32 | DType::F64 | DType::I64 | DType::Bool => None,
    };
    let range = narrow.map_or(whole, Narrow::range);
    let (lo, hi) = range
        .ok_or_else(|| Problem::new(format!("its zero point is of type {dtype}, and kiln quantizes to u8 and i8")))?;
    Ok((lo as f32, hi as f32))
}

/// `QuantizeLinear`.
pub(super) fn quantize(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    without_blocks(call)?;
    let x = builder.operand(call, 0)?;
    let x = as_type(builder, call, "number", x, DType::F32)?;
    let mut to = Quantization::of(builder, call, 1, 2)?;
    if let (None, Some(named)) = (&to.zero, call.attributes().int("output_dtype")?.filter(|&named| named != 0)) {
        let named = data_type(named).unwrap_or_default();
        let narrow = Narrow::of(named);
        to.dtype = tensor::element_type(narrow.map_or_else(|| tensor::dtype(named), |narrow| Ok(narrow.holder()))?)?;
        to.range = range(to.dtype, narrow)?;
    }
    let y = quantized(builder, call, x, &to)?;
    Ok(vec![Value::Node(y)])
}

/// A value of floats as the integers that stand for it.
pub(super) fn quantized(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    to: &Quantization,
) -> Result<NodeId, Problem> {
    let ((lo, hi), f32) = (to.range, F32::new);
    if to.dtype == DType::I32 {
        return Err(Problem::new("kiln quantizes to u8 and i8, not to i32"));
    }
    if let Some((scale, zero)) = to.known_scalars() {
        let quantize = Activation::Quantize { scale: f32(scale), zero: f32(zero), lo: f32(lo), hi: f32(hi) };
        let y = builder.add_part(call, "quantized", Op::Activate(quantize), &[x], vec![])?;
        return builder.add(call, Op::Cast(to.dtype), &[y], vec![]);
    }
    let shape = builder.ty(x).shape.clone();
    let scale = along_axis(builder, call, "scale", &to.scale, &shape)?;
    let y = builder.add_part(call, "quotient", Op::Binary(Binary::Div), &[x, scale], vec![])?;
    let round = Activation::Quantize { scale: f32(1.0), zero: f32(0.0), lo: f32(-FAR), hi: f32(FAR) };
    let mut y = builder.add_part(call, "rounded", Op::Activate(round), &[y], vec![])?;
    if let Some(zero) = &to.zero {
        let zero = along_axis(builder, call, "zero", zero, &shape)?;
        y = builder.add_part(call, "shifted", Op::Binary(Binary::Add), &[y, zero], vec![])?;
    }
    let clip = Op::Activate(Activation::Clip { lo: f32(lo), hi: f32(hi) });
    let y = builder.add_part(call, "clipped", clip, &[y], vec![])?;
    builder.add(call, Op::Cast(to.dtype), &[y], vec![])
}

/// `DequantizeLinear`.
pub(super) fn dequantize(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    without_blocks(call)?;
    let x = builder.operand(call, 0)?;
    let from = Quantization::of(builder, call, 1, 2)?;
    Ok(vec![Value::Node(dequantized(builder, call, "", x, &from)?)])
}

/// Integers as the floats that they stand for.
fn dequantized(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    x: NodeId,
    from: &Quantization,
) -> Result<NodeId, Problem> {
    let shape = builder.ty(x).shape.clone();
    let mut y = as_type(builder, call, "number", x, DType::F32)?;
    if let Some(zero) = &from.zero
        && !is_zero(zero)
    {
        let zero = along_axis(builder, call, "zero", zero, &shape)?;
        y = builder.add_part(call, "shifted", Op::Binary(Binary::Sub), &[y, zero], vec![])?;
    }
    let scale = along_axis(builder, call, "scale", &from.scale, &shape)?;
    builder.add_part(call, part, Op::Binary(Binary::Mul), &[y, scale], vec![])
}

pub(super) fn is_zero(zero: &Value) -> bool {
    matches!(zero, Value::Known(known) if known.tensor.to_floats().iter().all(|&v| v == 0.0))
}

fn without_blocks(call: &Call<'_>) -> Result<(), Problem> {
    match call.attributes().int_or("block_size", 0)? {
        0 => Ok(()),
        size => Err(call.of_known_alone(&format!("it, with a scale for each {size} elements,"))),
    }
}

/// One number, or one for each place along the call's axis, as a float that broadcasts to a value of this shape.
fn along_axis(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    numbers: &Value,
    shape: &[usize],
) -> Result<NodeId, Problem> {
    let own = builder.shape_of(numbers);
    let len = own.iter().product::<usize>();
    let target = if len == 1 {
        Vec::new()
    } else {
        let at = axis(call.attributes().int_or("axis", 1)?, shape.len())?;
        if own.len() != 1 || len != shape[at] {
            return Err(Problem::new(format!("its {part} has shape {own:?} for axis {at} of {shape:?}")));
        }
        let mut target = vec![1; shape.len() - at];
        target[0] = len;
        target
    };
    numbers_of_shape(builder, call, part, numbers, target)
}

/// Numbers as a value of floats of this shape.
pub(super) fn numbers_of_shape(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    numbers: &Value,
    shape: Vec<usize>,
) -> Result<NodeId, Problem> {
    match numbers {
        Value::Known(known) if known.tensor.len() <= Constant::LIMIT => {
            let values = known.tensor.to_floats().into_iter().map(|v| F32::new(v as f32)).collect();
            builder.add_part(call, part, Op::Constant(Constant { shape, values }), &[], vec![])
        }
        Value::Known(known) => {
            let besides = format!("{shape:?}");
            let tensor = || Ok(Tensor::floats(Dtype::F32, shape, &known.tensor.to_floats()));
            let known = builder.derived(known, part, &besides, tensor)?;
            builder.known_node(&known, None)
        }
        Value::Node(node) => {
            let node = as_type(builder, call, part, *node, DType::F32)?;
            if builder.ty(node).shape == shape {
                return Ok(node);
            }
            builder.add_part(call, part, Op::Reshape { shape }, &[node], vec![])
        }
    }
}

/// A value as elements of a type.
pub(super) fn as_type(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    x: NodeId,
    dtype: DType,
) -> Result<NodeId, Problem> {
    if builder.ty(x).dtype == dtype { Ok(x) } else { builder.add_part(call, part, Op::Cast(dtype), &[x], vec![]) }
}

/// `DynamicQuantizeLinear`: to u8, with a scale and zero point such that the least and the largest element, and 0, are
/// stood for. Results: the integers, the scale, the zero point.
pub(super) fn dynamic_quantize(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let (f32, relu) = (F32::new, Op::Activate(Activation::Relu));
    let line = vec![1, 1, 1, builder.ty(x).len()];
    let minus_one = builder.literal(call, "minus one", -1.0)?;
    let negative = builder.add_part(call, "negative", Op::Binary(Binary::Mul), &[x, minus_one], vec![])?;
    // How far the elements reach above 0, and below.
    let mut reach = |part: &str, of: NodeId| {
        let of = builder.add_part(call, part, Op::Reshape { shape: line.clone() }, &[of], vec![])?;
        let of = builder.add_part(call, part, Op::GlobalMaxPool, &[of], vec![])?;
        let of = builder.add_part(call, part, relu.clone(), &[of], vec![])?;
        builder.add_part(call, part, Op::Reshape { shape: vec![] }, &[of], vec![])
    };
    let (above, below) = (reach("above", x)?, reach("below", negative)?);
    let span = builder.add_part(call, "span", Op::Binary(Binary::Add), &[above, below], vec![])?;
    let steps = builder.literal(call, "steps", 255.0)?;
    let scale = builder.add_part(call, "step", Op::Binary(Binary::Div), &[span, steps], vec![])?;
    // Of zeros alone the scale is 1, as any other would do. Twice 2^100 times the least number that f32 has is above 1.
    let mut some = span;
    for part in ["reaches", "reaches far"] {
        let times = builder.literal(call, part, 2f32.powi(100))?;
        some = builder.add_part(call, part, Op::Binary(Binary::Mul), &[some, times], vec![])?;
        let clip = Activation::Clip { lo: f32(0.0), hi: f32(1.0) };
        some = builder.add_part(call, part, Op::Activate(clip), &[some], vec![])?;
    }
    let one = builder.literal(call, "one", 1.0)?;
    let none = builder.add_part(call, "zeros alone", Op::Binary(Binary::Sub), &[one, some], vec![])?;
    let scale = builder.add_part(call, "scale", Op::Binary(Binary::Add), &[scale, none], vec![])?;
    let steps_below = builder.add_part(call, "steps below", Op::Binary(Binary::Div), &[below, scale], vec![])?;
    let to_byte = Activation::Quantize { scale: f32(1.0), zero: f32(0.0), lo: f32(0.0), hi: f32(255.0) };
    let zero = builder.add_part(call, "zero", Op::Activate(to_byte), &[steps_below], vec![])?;
    let zero = builder.add_part(call, "zero point", Op::Cast(DType::U8), &[zero], vec![])?;
    let to = Quantization {
        scale: Value::Node(scale),
        zero: Some(Value::Node(zero)),
        dtype: DType::U8,
        range: (0.0, 255.0),
    };
    let y = quantized(builder, call, x, &to)?;
    Ok([y, scale, zero].map(Value::Node).to_vec())
}

/// The number that an input of integers stands for, whose scale and zero point are the inputs after it.
pub(super) fn number(builder: &mut Builder, call: &Call<'_>, part: &str, input: usize) -> Result<NodeId, Problem> {
    let x = builder.operand(call, input)?;
    let from = Quantization::of(builder, call, input + 1, input + 2)?;
    if from.known_scalars().is_none() {
        return Err(scalars(call, [input + 1, input + 2]));
    }
    dequantized(builder, call, part, x, &from)
}

/// Numbers as the integers that stand for them by the scale of an input and the zero point of the next. Where there is no
/// zero point they are of the type of the input `like`.
pub(super) fn as_integers(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    scale: usize,
    like: usize,
) -> Result<Vec<Value>, Problem> {
    let mut to = Quantization::of(builder, call, scale, scale + 1)?;
    if to.known_scalars().is_none() {
        return Err(scalars(call, [scale, scale + 1]));
    }
    if to.zero.is_none() {
        to.dtype = match call.required(like)? {
            Value::Node(node) => builder.ty(*node).dtype,
            Value::Known(known) => tensor::element_type(known.tensor.dtype)?,
        };
        to.range = range(to.dtype, None)?;
    }
    Ok(vec![Value::Node(quantized(builder, call, x, &to)?)])
}

/// That a scale and a zero point are not one known number each.
fn scalars(call: &Call<'_>, inputs: [usize; 2]) -> Problem {
    match inputs.map(|input| call.known(input)) {
        [Err(problem), _] | [_, Err(problem)] => problem,
        [Ok(_), Ok(_)] => Problem::new("it has more than one scale or zero point for a value"),
    }
}
