//! Integers that stand for numbers: `(integer - zero point) * scale`.
//!
//! A quantized operator becomes what it means: its operands as i32s without their zero points, the operator on integers,
//! which is exact, then the sum as a float, scaled and rounded to the integer that stands for it.

use std::rc::Rc;

use kiln_rt::safetensors::Dtype;

use super::builder::{Builder, Known, Value};
use super::call::Call;
use super::geometry::axis;
use super::narrow::Narrow;
use super::tensor::{self, Tensor, data_type};
use super::{Problem, conv, geometry, linear};
use crate::graph::{Activation, Binary, Constant, DType, F32, NodeId, Op};

/// No rounded quotient of a byte that is not clipped away lies farther from 0.
const FAR: f32 = 65536.0;

/// The scale and zero point of a tensor, or of each channel of one.
struct Quantization {
    scale: Value,
    zero: Option<Value>,
    /// The integers' type.
    dtype: DType,
    /// The least and the largest of them.
    range: (f32, f32),
}

impl Quantization {
    /// From two inputs of a call; the zero point may be left out, and is 0 then.
    fn of(builder: &Builder, call: &Call<'_>, scale: usize, zero: usize) -> Result<Self, Problem> {
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
fn quantized(builder: &mut Builder, call: &Call<'_>, x: NodeId, to: &Quantization) -> Result<NodeId, Problem> {
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
    let shape = builder.ty(x).shape.clone();
    let mut y = as_type(builder, call, "number", x, DType::F32)?;
    if let Some(zero) = &from.zero
        && !is_zero(zero)
    {
        let zero = along_axis(builder, call, "zero", zero, &shape)?;
        y = builder.add_part(call, "shifted", Op::Binary(Binary::Sub), &[y, zero], vec![])?;
    }
    let scale = along_axis(builder, call, "scale", &from.scale, &shape)?;
    Ok(vec![Value::Node(builder.add(call, Op::Binary(Binary::Mul), &[y, scale], vec![])?)])
}

fn is_zero(zero: &Value) -> bool {
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
fn numbers_of_shape(
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
fn as_type(builder: &mut Builder, call: &Call<'_>, part: &str, x: NodeId, dtype: DType) -> Result<NodeId, Problem> {
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
    let scale = builder.add_part(call, "scale", Op::Binary(Binary::Div), &[span, steps], vec![])?;
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

/// `ConvInteger`.
pub(super) fn conv_integer(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let inputs = vec![
        Some(integers(builder, call, "x", call.required(0)?, call.input(2), Zeros::Every)?),
        Some(integers(builder, call, "kernel", call.required(1)?, call.input(3), Zeros::First)?),
    ];
    conv::conv(builder, &call.with_inputs(inputs))
}

/// `MatMulInteger`.
pub(super) fn matmul_integer(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let inputs = vec![
        Some(integers(builder, call, "a", call.required(0)?, call.input(2), Zeros::Rows)?),
        Some(integers(builder, call, "b", call.required(1)?, call.input(3), Zeros::Columns)?),
    ];
    linear::matmul(builder, &call.with_inputs(inputs))
}

/// `QLinearConv`.
pub(super) fn qlinear_conv(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let inputs = vec![
        Some(integers(builder, call, "x", call.required(0)?, call.input(2), Zeros::Every)?),
        Some(integers(builder, call, "kernel", call.required(3)?, call.input(5), Zeros::First)?),
        call.input(8).cloned().map(|bias| small_integers(builder, bias)).transpose()?,
    ];
    let sums = only(&conv::conv(builder, &call.with_inputs(inputs))?)?;
    // Of the kernel, scales may be one a channel of the result.
    let mut by_channel = vec![1; builder.ty(sums).shape.len() - 1];
    by_channel[0] = builder.ty(sums).shape[1];
    scaled_sums(builder, call, sums, [1, 4, 6, 7], [&[], &by_channel])
}

/// `QLinearMatMul`.
pub(super) fn qlinear_matmul(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let inputs = vec![
        Some(integers(builder, call, "a", call.required(0)?, call.input(2), Zeros::Rows)?),
        Some(integers(builder, call, "b", call.required(3)?, call.input(5), Zeros::Columns)?),
    ];
    let sums = only(&linear::matmul(builder, &call.with_inputs(inputs))?)?;
    // Of a, scales may be one a row; of b, one a column.
    let (rows, columns) = match *builder.ty(sums).shape.as_slice() {
        [.., rows, columns] => (vec![rows, 1], vec![columns]),
        _ => (vec![], vec![]),
    };
    scaled_sums(builder, call, sums, [1, 4, 6, 7], [&rows, &columns])
}

/// Sums of integers times `scale * scale / scale`, each in f32, quantized by the last scale and the zero point. The inputs
/// are those three scales and the zero point; `shapes` are those of the first two scales where they are several, as they
/// broadcast to the sums.
fn scaled_sums(
    builder: &mut Builder,
    call: &Call<'_>,
    sums: NodeId,
    [a, b, y, zero]: [usize; 4],
    shapes: [&[usize]; 2],
) -> Result<Vec<Value>, Problem> {
    let [a, b, y_scale] = [a, b, y].map(|input| call.required_known(input).map(|known| known.tensor.to_floats()));
    let ([a, b], y_scale) = ([a?, b?], y_scale?);
    let &[y_scale] = y_scale.as_slice() else { return Err(Problem::new("its result has more than one scale")) };
    let shape_of = |scales: &[f64], several: &[usize]| match scales.len() {
        1 => Ok(Vec::new()),
        len if len == several.iter().product::<usize>() => Ok(several.to_vec()),
        len => Err(Problem::new(format!("it has {len} scales, not one, and not one for each of {several:?}"))),
    };
    let own = [shape_of(&a, shapes[0])?, shape_of(&b, shapes[1])?];
    let shape = geometry::broadcast(&[&own[0], &own[1]])?;
    builder.budget.take(&shape)?;
    let [of_a, of_b] = own.map(|own| geometry::places(&shape, 0, &geometry::broadcast_strides(&own, &shape)));
    let factor = |(i, j): (usize, usize)| f64::from(a[i] as f32 * b[j] as f32 / y_scale as f32);
    let factors = Tensor::floats(Dtype::F32, shape.clone(), &of_a.zip(of_b).map(factor).collect::<Vec<_>>());
    let factors = Value::Known(builder.made("factor", factors)?);
    let sums = as_type(builder, call, "sum", sums, DType::F32)?;
    let factors = numbers_of_shape(builder, call, "factor", &factors, shape)?;
    let scaled = builder.add_part(call, "scaled", Op::Binary(Binary::Mul), &[sums, factors], vec![])?;
    let mut to = Quantization::of(builder, call, y, zero)?;
    let one = Tensor::floats(Dtype::F32, vec![], &[1.0]);
    to.scale = Value::Known(Known { name: "one".into(), tensor: Rc::new(one) });
    Ok(vec![Value::Node(quantized(builder, call, scaled, &to)?)])
}

/// The one node that a call gave.
fn only(values: &[Value]) -> Result<NodeId, Problem> {
    match *values {
        [Value::Node(node)] => Ok(node),
        _ => Err(Problem::new("it has no value that depends on an input")),
    }
}

/// Which elements share a zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zeros {
    /// All.
    Every,
    /// All, or those with the same first index.
    First,
    /// All, or the rows of a matrix.
    Rows,
    /// All, or the columns of a matrix.
    Columns,
}

/// An operand as integers without their zero point: a node of i32s, or a tensor that is known.
fn integers(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    value: &Value,
    zero: Option<&Value>,
    zeros: Zeros,
) -> Result<Value, Problem> {
    let shape = builder.shape_of(value);
    // The zero points' shape, where they are several.
    let aligned = |len: usize| match (zeros, shape.len()) {
        _ if len == 1 => Ok(Vec::new()),
        (Zeros::First, rank) if rank > 0 && len == shape[0] => {
            let mut aligned = vec![1; rank];
            aligned[0] = len;
            Ok(aligned)
        }
        (Zeros::Rows, rank) if rank > 1 && len == shape[rank - 2] => Ok(vec![len, 1]),
        (Zeros::Columns, rank) if rank > 0 && len == shape[rank - 1] => Ok(vec![len]),
        _ => Err(Problem::new(format!("it has {len} zero points for a value of shape {shape:?}"))),
    };
    let zero = zero.filter(|zero| !is_zero(zero));
    match (value, zero) {
        (Value::Known(known), None) => {
            let tensor = || Ok(Tensor::floats(Dtype::F32, shape, &known.tensor.to_floats()));
            builder.derived(known, part, "", tensor).map(Value::Known)
        }
        (Value::Known(known), Some(Value::Known(zero))) => {
            let aligned = aligned(zero.tensor.len())?;
            let tensor = || {
                let zeros = zero.tensor.to_floats();
                let places = geometry::places(&shape, 0, &geometry::broadcast_strides(&aligned, &shape));
                let values = known.tensor.to_floats().into_iter().zip(places).map(|(v, place)| v - zeros[place]);
                Ok(Tensor::floats(Dtype::F32, shape, &values.collect::<Vec<_>>()))
            };
            builder.derived(known, part, &zero.name, tensor).map(Value::Known)
        }
        (Value::Known(_), Some(Value::Node(zero))) => {
            let message = "its weights are known, and their zero point depends on the network's inputs".to_owned();
            Err(Problem { message, needs: vec![*zero] })
        }
        (Value::Node(node), zero) => {
            let mut x = *node;
            if let Some(zero) = zero {
                // Differences of bytes are exact as floats.
                x = as_type(builder, call, part, x, DType::F32)?;
                let aligned = aligned(builder.shape_of(zero).iter().product())?;
                let zero = numbers_of_shape(builder, call, "zero", zero, aligned)?;
                x = builder.add_part(call, part, Op::Binary(Binary::Sub), &[x, zero], vec![])?;
            }
            Ok(Value::Node(as_type(builder, call, part, x, DType::I32)?))
        }
    }
}

/// A bias of integers, as a weight where f32s hold them all, else as a value.
fn small_integers(builder: &mut Builder, bias: Value) -> Result<Value, Problem> {
    let Value::Known(known) = &bias else { return Ok(bias) };
    let numbers = known.tensor.to_floats();
    if numbers.iter().any(|v| v.abs() > f64::from(1 << 24)) {
        return builder.known_node(known, None).map(Value::Node);
    }
    let tensor = || Ok(Tensor::floats(Dtype::F32, known.tensor.shape.clone(), &numbers));
    builder.derived(known, "bias", "", tensor).map(Value::Known)
}
