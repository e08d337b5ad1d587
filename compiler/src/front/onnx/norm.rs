//! Normalizations: by channel with known statistics, and of exponentials.

use super::Problem;
use super::build::{Builder, Call, Value, axis};
use super::reduce::along;
use crate::graph::weights::Kind;
use crate::graph::{Activation, Binary, Core, F32, Op, Pads, Pool, Stage, Window};

/// `BatchNormalization` at inference.
pub(super) fn batch_norm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    if call.attributes.int_or("training_mode", 0)? != 0 || call.attributes.int_or("spatial", 1)? == 0 {
        return Err(Problem::new("kiln normalizes by channel, with the statistics that the model holds"));
    }
    let x = builder.operand(call, 0)?;
    let kinds = [Kind::Gamma, Kind::Bias, Kind::Mean, Kind::Var];
    let mut weights = Vec::with_capacity(kinds.len());
    for (i, kind) in kinds.into_iter().enumerate() {
        let known = call.required_known(i + 1)?;
        weights.push(builder.weight(known, kind));
    }
    let eps = F32::new(call.attributes.float_or("epsilon", 1e-5)?);
    let norm = Op::BatchNorm { eps, affine: true };
    let shape = builder.ty(x).shape.clone();
    let &[n, c, ref extents @ ..] = shape.as_slice() else {
        return Err(Problem::new(format!("it takes channels, not a value of shape {shape:?}")));
    };
    if matches!(extents.len(), 0 | 2) {
        return Ok(vec![Value::Node(builder.add(call, norm, &[x], weights)?)]);
    }
    // Lines and volumes as maps.
    let map = Op::Reshape { shape: vec![n, c, 1, extents.iter().product()] };
    let x = builder.add_part(call, "map", map, &[x], vec![])?;
    let y = builder.add_part(call, "normal", norm, &[x], weights)?;
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// `Softmax`. Before version 13 it takes all axes from the given one on as one.
pub(super) fn softmax(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let default = if builder.opset < 13 { 1 } else { -1 };
    let at = axis(call.attributes.int_or("axis", default)?, shape.len())?;
    if builder.opset >= 13 || at + 1 == shape.len() {
        return Ok(vec![Value::Node(builder.add(call, Op::Softmax { axis: at }, &[x], vec![])?)]);
    }
    let rows = vec![shape[..at].iter().product(), shape[at..].iter().product()];
    let x = builder.add_part(call, "rows", Op::Reshape { shape: rows }, &[x], vec![])?;
    let y = builder.add_part(call, "softmax", Op::Softmax { axis: 1 }, &[x], vec![])?;
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// `LogSoftmax`: `x - max - ln(sum of exp(x - max))`, which loses nothing where softmax is tiny.
pub(super) fn log_softmax(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let default = if builder.opset < 13 { 1 } else { -1 };
    let mut at = axis(call.attributes.int_or("axis", default)?, shape.len())?;
    let mut rows = x;
    if builder.opset < 13 && at + 1 != shape.len() {
        let flat = vec![shape[..at].iter().product(), shape[at..].iter().product()];
        rows = builder.add_part(call, "rows", Op::Reshape { shape: flat }, &[x], vec![])?;
        at = 1;
    }
    let count = builder.ty(rows).shape[at] as f32;
    let (sub, mul) = (Op::Binary(Binary::Sub), Op::Binary(Binary::Mul));
    let largest = along(builder, call, "largest", Op::GlobalMaxPool, rows, at)?;
    let below = builder.add_part(call, "below", sub.clone(), &[rows, largest], vec![])?;
    let powers = builder.add_part(call, "powers", Op::Activate(Activation::Exp), &[below], vec![])?;
    let mean = along(builder, call, "mean", Op::GlobalAvgPool, powers, at)?;
    let count = builder.literal_like(call, "count", count, mean)?;
    let sum = builder.add_part(call, "sum", mul, &[mean, count], vec![])?;
    let log = builder.add_part(call, "log", Op::Activate(Activation::Log), &[sum], vec![])?;
    let y = builder.add(call, sub, &[below, log], vec![])?;
    if builder.ty(y).shape == shape {
        return Ok(vec![Value::Node(y)]);
    }
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// `InstanceNormalization`: each map by its own mean and variance (Ulyanov et al. 2016, arXiv:1607.08022).
pub(super) fn instance_norm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let given = builder.operand(call, 0)?;
    let shape = builder.ty(given).shape.clone();
    let &[n, c, ref extents @ ..] = shape.as_slice() else {
        return Err(Problem::new(format!("it takes channels, not a value of shape {shape:?}")));
    };
    let map = vec![n, c, 1, extents.iter().product()];
    let x = match extents.len() {
        2 => given,
        _ => builder.add_part(call, "map", Op::Reshape { shape: map }, &[given], vec![])?,
    };
    let (sub, mul, div) = (Op::Binary(Binary::Sub), Op::Binary(Binary::Mul), Op::Binary(Binary::Div));
    let mean = builder.add_part(call, "mean", Op::GlobalAvgPool, &[x], vec![])?;
    let off = builder.add_part(call, "off", sub, &[x, mean], vec![])?;
    let square = builder.add_part(call, "square", mul, &[off, off], vec![])?;
    let var = builder.add_part(call, "var", Op::GlobalAvgPool, &[square], vec![])?;
    let eps = builder.literal_like(call, "eps", call.attributes.float_or("epsilon", 1e-5)?, var)?;
    let var = builder.add_part(call, "var and eps", Op::Binary(Binary::Add), &[var, eps], vec![])?;
    let deviation = builder.add_part(call, "deviation", Op::Activate(Activation::Sqrt), &[var], vec![])?;
    let normal = builder.add_part(call, "normal", div, &[off, deviation], vec![])?;
    let (scale, bias) = (call.required_known(1)?, call.required_known(2)?);
    let weights = vec![builder.weight(scale, Kind::Gamma), builder.weight(bias, Kind::Bias)];
    let affine = Op::Fused { before: vec![], core: Core::Identity, after: vec![Stage::Affine] };
    let y = builder.add(call, affine, &[normal], weights)?;
    if builder.ty(y).shape == shape {
        return Ok(vec![Value::Node(y)]);
    }
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// `LRN`: `x / (bias + alpha / size * sum of squares of `size` channels around)^beta` (Krizhevsky et al. 2012). The sum is
/// a pool over a map whose rows are the channels.
pub(super) fn local_response_norm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let size = call.attributes.int("size")?.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
    let size = size.ok_or_else(|| Problem::new("it does not say over how many channels"))?;
    let &[n, c, ref extents @ ..] = shape.as_slice() else {
        return Err(Problem::new(format!("it takes channels, not a value of shape {shape:?}")));
    };
    let attribute = |name: &str, default: f32| call.attributes.float_or(name, default);
    let (alpha, beta, bias) = (attribute("alpha", 1e-4)?, attribute("beta", 0.75)?, attribute("bias", 1.0)?);
    let (mul, add) = (Op::Binary(Binary::Mul), Op::Binary(Binary::Add));
    let square = builder.add_part(call, "square", mul.clone(), &[x, x], vec![])?;
    let map = vec![n, 1, c, extents.iter().product()];
    let map = builder.add_part(call, "map", Op::Reshape { shape: map }, &[square], vec![])?;
    let pads = Pads { top: (size - 1) / 2, left: 0, bottom: size / 2, right: 0 };
    let window = Window { kernel: [size, 1], stride: [1, 1], pads, dilation: [1, 1] };
    let pool = Op::AvgPool(Pool { window, ceil_mode: false, count_include_pad: true });
    let mean = builder.add_part(call, "mean", pool, &[map], vec![])?;
    let mean = builder.add_part(call, "mean", Op::Reshape { shape }, &[mean], vec![])?;
    let alpha = builder.literal_like(call, "alpha", alpha, mean)?;
    let scaled = builder.add_part(call, "scaled", mul, &[mean, alpha], vec![])?;
    let bias = builder.literal_like(call, "bias", bias, scaled)?;
    let base = builder.add_part(call, "base", add, &[scaled, bias], vec![])?;
    let beta = builder.literal_like(call, "beta", beta, base)?;
    let power = builder.add_part(call, "power", Op::Binary(Binary::Pow), &[base, beta], vec![])?;
    Ok(vec![Value::Node(builder.add(call, Op::Binary(Binary::Div), &[x, power], vec![])?)])
}
