//! Normalizations: by channel with known statistics, by a value's own, and of exponentials.

use super::Problem;
use super::builder::{Builder, Value};
use super::call::Call;
use super::geometry::axis;
use super::reduce::{along, pixels_last};
use crate::graph::weights::Kind;
use crate::graph::{Activation, Binary, Core, F32, NodeId, Op, Pads, Pool, Stage, Window};

/// `BatchNormalization` at inference.
pub(super) fn batch_norm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    if call.attributes().int_or("spatial", 1)? == 0 {
        return Err(Problem::new("kiln normalizes by channel, not by element (spatial)"));
    }
    // Before version 14 a node is in training where it has the statistics of the batch among its results.
    let has_statistics = builder.opset < 14 && call.node.output.iter().skip(1).any(|name| !name.is_empty());
    if call.attributes().int_or("training_mode", 0)? != 0 || has_statistics {
        return by_the_batch(builder, call);
    }
    let x = builder.operand(call, 0)?;
    let kinds = [Kind::Gamma, Kind::Bias, Kind::Mean, Kind::Var];
    let mut weights = Vec::with_capacity(kinds.len());
    for (i, kind) in kinds.into_iter().enumerate() {
        let known = call.required_known(i + 1)?;
        weights.push(builder.weight(known, kind));
    }
    let eps = F32::new(call.attributes().float_or("epsilon", 1e-5)?);
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

/// `BatchNormalization` by the mean and variance of the batch, with the running ones as further results.
fn by_the_batch(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    if shape.len() < 2 {
        return Err(Problem::new(format!("it takes channels, not a value of shape {shape:?}")));
    }
    let channels = shape[1];
    let by_channel = [vec![1, channels], vec![1; shape.len() - 2]].concat();
    let [add, mul] = [Binary::Add, Binary::Mul].map(Op::Binary);
    let others: Vec<bool> = (0..shape.len()).map(|axis| axis != 1).collect();
    let Standardized { normal, mean, var, .. } = standardized(builder, call, x, &others)?;
    let mut y = normal;
    for (input, op) in [(1, mul.clone()), (2, add.clone())] {
        let vector = builder.operand(call, input)?;
        let vector = builder.add_part(call, "vector", Op::Reshape { shape: by_channel.clone() }, &[vector], vec![])?;
        y = builder.add_part(call, "scaled", op, &[y, vector], vec![])?;
    }
    let momentum = call.attributes().float_or("momentum", 0.9)?;
    let mut results = vec![Value::Node(y)];
    for (input, now) in [(3, mean), (4, var)] {
        let now = builder.add_part(call, "now", Op::Reshape { shape: vec![channels] }, &[now], vec![])?;
        let before = builder.operand(call, input)?;
        let mut shares = Vec::new();
        for (value, share) in [(before, momentum), (now, 1.0 - momentum)] {
            let share = builder.literal_like(call, "share", share, value)?;
            shares.push(builder.add_part(call, "share", mul.clone(), &[value, share], vec![])?);
        }
        results.push(Value::Node(builder.add_part(call, "running", add.clone(), &shares, vec![])?));
    }
    Ok(results)
}

/// `Softmax`. Before version 13 it takes all axes from the given one on as one.
pub(super) fn softmax(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let default = if builder.opset < 13 { 1 } else { -1 };
    let at = axis(call.attributes().int_or("axis", default)?, shape.len())?;
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
    let mut at = axis(call.attributes().int_or("axis", default)?, shape.len())?;
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
    let Standardized { normal, .. } = standardized(builder, call, x, &[false, false, true, true])?;
    let (scale, bias) = (call.required_known(1)?, call.required_known(2)?);
    let weights = vec![builder.weight(scale, Kind::Gamma), builder.weight(bias, Kind::Bias)];
    let affine = Op::Fused { before: vec![], core: Core::Identity, after: vec![Stage::Affine] };
    let y = builder.add(call, affine, &[normal], weights)?;
    if builder.ty(y).shape == shape {
        return Ok(vec![Value::Node(y)]);
    }
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// `LayerNormalization`: all axes from the given one on by their own mean and variance (Ba et al. 2016, arXiv:1607.06450).
/// Results: the value, the means, and one over the deviations.
pub(super) fn layer_norm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let rank = builder.ty(x).shape.len();
    let at = axis(call.attributes().int_or("axis", -1)?, rank)?;
    let reduced: Vec<bool> = (0..rank).map(|axis| axis >= at).collect();
    let Standardized { normal, mean, inverse, .. } = standardized(builder, call, x, &reduced)?;
    let (scale, has_bias) = (builder.operand(call, 1)?, call.input(2).is_some());
    let mul = Op::Binary(Binary::Mul);
    let y = if has_bias {
        let scaled = builder.add_part(call, "scaled", mul, &[normal, scale], vec![])?;
        let bias = builder.operand(call, 2)?;
        builder.add(call, Op::Binary(Binary::Add), &[scaled, bias], vec![])?
    } else {
        builder.add(call, mul, &[normal, scale], vec![])?
    };
    let shape = builder.ty(x).shape.clone();
    let kept: Vec<usize> = shape.iter().zip(&reduced).map(|(&of, &reduced)| if reduced { 1 } else { of }).collect();
    let mut results = vec![Value::Node(y)];
    for value in [mean, inverse] {
        let shaped = Op::Reshape { shape: kept.clone() };
        results.push(Value::Node(builder.add_part(call, "statistic", shaped, &[value], vec![])?));
    }
    Ok(results)
}

/// `GroupNormalization`: groups of channels of each image by their own mean and variance (Wu and He 2018,
/// arXiv:1803.08494). Scale and bias are one a group before version 21, one a channel from then on.
pub(super) fn group_norm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let &[n, c, ref extents @ ..] = shape.as_slice() else {
        return Err(Problem::new(format!("it takes channels, not a value of shape {shape:?}")));
    };
    let groups = call.attributes().int("num_groups")?.and_then(|groups| usize::try_from(groups).ok());
    let groups = groups.filter(|&groups| groups > 0 && c % groups == 0);
    let groups = groups.ok_or_else(|| Problem::new(format!("its num_groups do not divide {c} channels")))?;
    let of_groups = vec![n, groups, c / groups, extents.iter().product()];
    let x = builder.add_part(call, "groups", Op::Reshape { shape: of_groups }, &[x], vec![])?;
    let Standardized { normal, .. } = standardized(builder, call, x, &[false, false, true, true])?;
    let vector = vec![1, groups, if builder.opset < 21 { 1 } else { c / groups }, 1];
    let mut y = normal;
    for (part, input, binary) in [("scale", 1, Binary::Mul), ("bias", 2, Binary::Add)] {
        let operand = builder.operand(call, input)?;
        let operand = builder.add_part(call, part, Op::Reshape { shape: vector.clone() }, &[operand], vec![])?;
        y = builder.add_part(call, part, Op::Binary(binary), &[y, operand], vec![])?;
    }
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// A value less its mean, by its deviation, in the value's shape; and its statistics as `[N, C, 1, 1]`.
struct Standardized {
    normal: NodeId,
    mean: NodeId,
    var: NodeId,
    /// One over the root of the variance and the node's `epsilon`.
    inverse: NodeId,
}

/// Standardizes a value over some axes. Where the mean is large beside the deviation, no f32 is near enough to it; so the
/// mean of the differences to it, which is small and therefore exact, is taken off too (Chan, Golub and LeVeque 1983).
fn standardized(builder: &mut Builder, call: &Call<'_>, x: NodeId, reduced: &[bool]) -> Result<Standardized, Problem> {
    let shape = builder.ty(x).shape.clone();
    let count = shape.iter().zip(reduced).filter(|(_, reduced)| **reduced).map(|(&extent, _)| extent).product();
    let images = pixels_last(builder, call, x, &shape, reduced, count)?;
    let [add, sub, mul, div] = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div].map(Op::Binary);
    let near = builder.add_part(call, "near mean", Op::GlobalAvgPool, &[images], vec![])?;
    let near_off = builder.add_part(call, "near off", sub.clone(), &[images, near], vec![])?;
    let rest = builder.add_part(call, "rest of mean", Op::GlobalAvgPool, &[near_off], vec![])?;
    let mean = builder.add_part(call, "mean", add.clone(), &[near, rest], vec![])?;
    let off = builder.add_part(call, "off", sub, &[near_off, rest], vec![])?;
    let square = builder.add_part(call, "square", mul.clone(), &[off, off], vec![])?;
    let var = builder.add_part(call, "var", Op::GlobalAvgPool, &[square], vec![])?;
    let eps = builder.literal_like(call, "eps", call.attributes().float_or("epsilon", 1e-5)?, var)?;
    let sum = builder.add_part(call, "var and eps", add, &[var, eps], vec![])?;
    let deviation = builder.add_part(call, "deviation", Op::Activate(Activation::Sqrt), &[sum], vec![])?;
    let one = builder.literal_like(call, "one", 1.0, deviation)?;
    let inverse = builder.add_part(call, "inverse", div, &[one, deviation], vec![])?;
    let normal = builder.add_part(call, "normal", mul, &[off, inverse], vec![])?;
    let normal = as_before(builder, call, normal, &shape, reduced)?;
    Ok(Standardized { normal, mean, var, inverse })
}

/// What [`pixels_last`] made of a value of some shape, in that shape again.
fn as_before(
    builder: &mut Builder,
    call: &Call<'_>,
    images: NodeId,
    shape: &[usize],
    reduced: &[bool],
) -> Result<NodeId, Problem> {
    if builder.ty(images).shape == shape {
        return Ok(images);
    }
    let perm: Vec<usize> =
        [false, true].into_iter().flat_map(|of| (0..shape.len()).filter(move |&i| reduced[i] == of)).collect();
    let moved = Op::Reshape { shape: perm.iter().map(|&i| shape[i]).collect() };
    let moved = builder.add_part(call, "normal", moved, &[images], vec![])?;
    if perm.is_sorted() {
        return Ok(moved);
    }
    let mut back = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    builder.add_part(call, "normal", Op::Transpose { perm: back }, &[moved], vec![])
}

/// `LRN`: `x / (bias + alpha / size * sum of squares of `size` channels around)^beta` (Krizhevsky et al. 2012). The sum is
/// a pool over a map whose rows are the channels.
pub(super) fn local_response_norm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let size = call.attributes().int("size")?.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
    let size = size.ok_or_else(|| Problem::new("it does not say over how many channels"))?;
    let &[n, c, ref extents @ ..] = shape.as_slice() else {
        return Err(Problem::new(format!("it takes channels, not a value of shape {shape:?}")));
    };
    let attribute = |name: &str, default: f32| call.attributes().float_or(name, default);
    let (alpha, beta, bias) = (attribute("alpha", 1e-4)?, attribute("beta", 0.75)?, attribute("bias", 1.0)?);
    let (mul, add) = (Op::Binary(Binary::Mul), Op::Binary(Binary::Add));
    let square = builder.add_part(call, "square", mul.clone(), &[x, x], vec![])?;
    let map = vec![n, 1, c, extents.iter().product()];
    let map = builder.add_part(call, "map", Op::Reshape { shape: map }, &[square], vec![])?;
    // Channels that there are not add nothing; the mean is over those of the window.
    let pads = Pads { top: ((size - 1) / 2).min(c - 1), left: 0, bottom: (size / 2).min(c - 1), right: 0 };
    let reach = pads.top + 1 + pads.bottom;
    let alpha = alpha * (reach as f64 / size as f64) as f32;
    let window = Window { kernel: [reach, 1], stride: [1, 1], pads, dilation: [1, 1] };
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
