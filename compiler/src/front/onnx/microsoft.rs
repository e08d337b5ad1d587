//! Quantized operators of ONNX Runtime's own, in the domain `com.microsoft`, which its quantizer writes beside ONNX's in its
//! operator-oriented format. What they mean is said in ONNX Runtime's docs/ContribOperators.md.
//!
//! Each is an operator of floats, on the numbers that the integers stand for, whose result is quantized; but for a product
//! of matrices, which is one of integers, as ONNX's own are.

use super::Problem;
use super::builder::{Builder, Value};
use super::call::Call;
use super::integers::{self, Zeros};
use super::operators::Convert;
use super::{linear, norm, pool, quantize, shape};
use crate::graph::{Activation, Binary, F32, NodeId, Op};

/// `QLinearAdd`: operands with a scale and a zero point each, then those of the result.
pub(super) fn qlinear_add(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    pair(builder, call, Binary::Add)
}

/// `QLinearMul`, whose inputs are as those of `QLinearAdd`.
pub(super) fn qlinear_mul(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    pair(builder, call, Binary::Mul)
}

fn pair(builder: &mut Builder, call: &Call<'_>, binary: Binary) -> Result<Vec<Value>, Problem> {
    let operands = [quantize::number(builder, call, "a", 0)?, quantize::number(builder, call, "b", 3)?];
    let y = builder.add_part(call, "number", Op::Binary(binary), &operands, vec![])?;
    quantize::as_integers(builder, call, y, 6, 0)
}

/// `QLinearConcat`: the scale and zero point of the result, then those of each part after it.
pub(super) fn qlinear_concat(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let parts = (2..call.inputs.len()).step_by(3);
    let parts: Vec<Option<Value>> = parts
        .map(|part| Ok(Some(Value::Node(quantize::number(builder, call, "part", part)?))))
        .collect::<Result<_, Problem>>()?;
    let y = integers::only(&shape::concat(builder, &call.with_inputs(parts))?)?;
    quantize::as_integers(builder, call, y, 0, 2)
}

/// `QLinearAveragePool`: a value, its scale and zero point, those of the result.
pub(super) fn qlinear_average_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    channels_second(call)?;
    of_one(builder, call, pool::average_pool)
}

/// `QLinearGlobalAveragePool`, whose inputs are as those of `QLinearAveragePool`.
pub(super) fn qlinear_global_average_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    channels_second(call)?;
    of_one(builder, call, pool::global_average_pool)
}

fn channels_second(call: &Call<'_>) -> Result<(), Problem> {
    match call.attributes().int_or("channels_last", 0)? {
        0 => Ok(()),
        _ => Err(Problem::new("its channels are its last axis, and kiln takes them as the second")),
    }
}

/// `QLinearSoftmax`, whose inputs are as those of `QLinearAveragePool`. It says of which version of Softmax it is.
pub(super) fn qlinear_softmax(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let opset =
        call.attributes().int("opset")?.ok_or_else(|| Problem::new("it does not say of which version it is"))?;
    if (opset < 13) != (builder.opset < 13) {
        return Err(Problem::new(format!("it is of version {opset} in a file of version {}", builder.opset)));
    }
    of_one(builder, call, norm::softmax)
}

/// `QLinearSigmoid`, whose inputs are as those of `QLinearAveragePool`.
pub(super) fn qlinear_sigmoid(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    activation(builder, call, Activation::Sigmoid)
}

/// `QLinearLeakyRelu`, whose inputs are as those of `QLinearAveragePool`.
pub(super) fn qlinear_leaky_relu(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let slope = F32::new(call.attributes().float_or("alpha", 0.01)?);
    activation(builder, call, Activation::LeakyRelu { slope })
}

fn activation(builder: &mut Builder, call: &Call<'_>, activation: Activation) -> Result<Vec<Value>, Problem> {
    let x = quantize::number(builder, call, "x", 0)?;
    let y = builder.add_part(call, "number", Op::Activate(activation), &[x], vec![])?;
    quantize::as_integers(builder, call, y, 3, 0)
}

/// An operator of one value, whose scale and zero point are followed by those of the result.
fn of_one(builder: &mut Builder, call: &Call<'_>, convert: Convert) -> Result<Vec<Value>, Problem> {
    let x = quantize::number(builder, call, "x", 0)?;
    let y = integers::only(&convert(builder, &call.with_inputs(vec![Some(Value::Node(x))]))?)?;
    quantize::as_integers(builder, call, y, 3, 0)
}

/// `QGemm`: `alpha * A * B + C`, where C is of integers that stand for multiples of `alpha * a_scale * b_scale`. Without a
/// scale of its own the result is a float.
pub(super) fn qgemm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let (columns, along) = match call.attributes().int_or("transB", 0)? {
        0 => (Zeros::Columns, 1),
        _ => (Zeros::First, 0),
    };
    let kernel = integers::integers(builder, call, "b", call.required(3)?, call.input(5), columns)?;
    let features = builder.shape_of(&kernel).get(along).copied().unwrap_or(1);
    let added = match call.input(6).cloned() {
        // Beside weights one number a column is a bias; all else is a value, of i32s as the sums are.
        Some(Value::Known(known))
            if matches!(kernel, Value::Known(_))
                && known.tensor.len() == features
                && known.tensor.shape.last() == Some(&features) =>
        {
            Some(integers::small_integers(builder, Value::Known(known))?)
        }
        Some(Value::Known(known)) => Some(Value::Node(builder.known_node(&known, Some(call.span))?)),
        added @ (Some(Value::Node(_)) | None) => added,
    };
    let a = integers::integers(builder, call, "a", call.required(0)?, call.input(2), Zeros::Every)?;
    let inputs = vec![Some(a), Some(kernel), added];
    let sums = integers::only(&linear::sum_of_product(builder, &call.with_inputs(inputs), [1.0, 1.0])?)?;
    let alpha = call.attributes().float_or("alpha", 1.0)?;
    let (scales, shapes): ([usize; 2], [&[usize]; 2]) = ([1, 4], [&[], &[features]]);
    if call.input(7).is_some() {
        return integers::quantized_sums(builder, call, sums, alpha, scales, shapes, [7, 8]);
    }
    let y: NodeId = integers::scaled_sums(builder, call, sums, [alpha, 1.0], scales, shapes)?;
    Ok(vec![Value::Node(y)])
}
