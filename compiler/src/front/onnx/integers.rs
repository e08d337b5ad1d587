//! Operators on integers that stand for numbers.
//!
//! Each becomes what it means: its operands as i32s without their zero points, the operator on integers, which is exact,
//! then the sum as a float, scaled and rounded to the integer that stands for it.

use std::rc::Rc;

use kiln_rt::safetensors::Dtype;

use super::builder::{Builder, Known, Value};
use super::call::Call;
use super::quantize::{Quantization, as_type, is_zero, numbers_of_shape, quantized};
use super::tensor::Tensor;
use super::{Problem, conv, geometry, linear};
use crate::graph::{Binary, DType, NodeId, Op};

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
    quantized_sums(builder, call, sums, 1.0, [1, 4], [&[], &by_channel], [6, 7])
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
    quantized_sums(builder, call, sums, 1.0, [1, 4], [&rows, &columns], [6, 7])
}

/// Sums of integers times `alpha * a * b / y`, each in f32, as the integers that stand for them. `scales` are the inputs of a
/// and b, `to` those of y and the zero point; `shapes` are those of a and b where they are several, as they broadcast to
/// the sums.
pub(super) fn quantized_sums(
    builder: &mut Builder,
    call: &Call<'_>,
    sums: NodeId,
    alpha: f32,
    scales: [usize; 2],
    shapes: [&[usize]; 2],
    to: [usize; 2],
) -> Result<Vec<Value>, Problem> {
    let y = call.required_known(to[0])?.tensor.scalar();
    let y = y.ok_or_else(|| Problem::new("its result has more than one scale"))? as f32;
    let scaled = scaled_sums(builder, call, sums, [alpha, y], scales, shapes)?;
    let mut to = Quantization::of(builder, call, to[0], to[1])?;
    let one = Tensor::floats(Dtype::F32, vec![], &[1.0]);
    to.scale = Value::Known(Known { name: "one".into(), tensor: Rc::new(one) });
    Ok(vec![Value::Node(quantized(builder, call, scaled, &to)?)])
}

/// Sums of integers times `alpha * a * b / y`, as floats.
pub(super) fn scaled_sums(
    builder: &mut Builder,
    call: &Call<'_>,
    sums: NodeId,
    [alpha, y]: [f32; 2],
    scales: [usize; 2],
    shapes: [&[usize]; 2],
) -> Result<NodeId, Problem> {
    let [a, b] = scales.map(|input| call.required_known(input).map(|known| known.tensor.to_floats()));
    let (a, b) = (a?, b?);
    let shape_of = |scales: &[f64], several: &[usize]| match scales.len() {
        1 => Ok(Vec::new()),
        len if len == several.iter().product::<usize>() => Ok(several.to_vec()),
        len => Err(Problem::new(format!("it has {len} scales, not one, and not one for each of {several:?}"))),
    };
    let own = [shape_of(&a, shapes[0])?, shape_of(&b, shapes[1])?];
    let shape = geometry::broadcast(&[&own[0], &own[1]])?;
    builder.budget.take(&shape)?;
    let [of_a, of_b] = own.map(|own| geometry::places(&shape, 0, &geometry::broadcast_strides(&own, &shape)));
    let factor = |(i, j): (usize, usize)| f64::from(alpha * a[i] as f32 * b[j] as f32 / y);
    let factors = Tensor::floats(Dtype::F32, shape.clone(), &of_a.zip(of_b).map(factor).collect::<Vec<_>>());
    let factors = Value::Known(builder.made("factor", factors)?);
    let sums = as_type(builder, call, "sum", sums, DType::F32)?;
    let factors = numbers_of_shape(builder, call, "factor", &factors, shape)?;
    builder.add_part(call, "scaled", Op::Binary(Binary::Mul), &[sums, factors], vec![])
}

/// The one node that a call gave.
pub(super) fn only(values: &[Value]) -> Result<NodeId, Problem> {
    match *values {
        [Value::Node(node)] => Ok(node),
        _ => Err(Problem::new("it has no value that depends on an input")),
    }
}

/// Which elements share a zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zeros {
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
pub(super) fn integers(
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
            Err(Problem { needs: vec![*zero], ..Problem::new(message) })
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
pub(super) fn small_integers(builder: &mut Builder, bias: Value) -> Result<Value, Problem> {
    let Value::Known(known) = &bias else { return Ok(bias) };
    let numbers = known.tensor.to_floats();
    if numbers.iter().any(|v| v.abs() > f64::from(1 << 24)) {
        return builder.known_node(known, None).map(Value::Node);
    }
    let tensor = || Ok(Tensor::floats(Dtype::F32, known.tensor.shape.clone(), &numbers));
    builder.derived(known, "bias", "", tensor).map(Value::Known)
}
