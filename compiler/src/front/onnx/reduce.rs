//! Means, sums and extremes along axes.

use super::Problem;
use super::build::{Builder, Call, Value, axis};
use super::pointwise::abs;
use crate::graph::{Activation, Binary, DType, NodeId, Op};

/// `ReduceMean`, `ReduceSum`, `ReduceMax`, `ReduceMin`, `ReduceL1`, `ReduceL2`, `ReduceSumSquare`, `ReduceLogSum`.
pub(super) fn reduce(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    if builder.ty(x).dtype == DType::Bool {
        return Err(call.of_known_alone("it, for truth values,"));
    }
    let shape = builder.ty(x).shape.clone();
    let axes = match call.integers("axes", 1)? {
        Some(axes) if !axes.is_empty() => axes,
        _ if call.attributes.int_or("noop_with_empty_axes", 0)? != 0 => return Ok(vec![Value::Node(x)]),
        _ => (0..shape.len() as i64).collect(),
    };
    let mut reduced = vec![false; shape.len()];
    for at in axes {
        reduced[axis(at, shape.len())?] = true;
    }
    let keep = call.attributes.int_or("keepdims", 1)? != 0;
    let result: Vec<usize> =
        (0..shape.len()).filter(|&i| keep || !reduced[i]).map(|i| if reduced[i] { 1 } else { shape[i] }).collect();
    let count: usize = (0..shape.len()).filter(|&i| reduced[i]).map(|i| shape[i]).product();
    let operator = call.operator();
    let x = match operator.as_str() {
        "ReduceMin" => scaled(builder, call, "negative", x, -1.0)?,
        "ReduceL1" => builder.add_part(call, "size", abs(), &[x], vec![])?,
        "ReduceL2" | "ReduceSumSquare" => builder.add_part(call, "square", Op::Binary(Binary::Mul), &[x, x], vec![])?,
        _ => x,
    };
    let images = pixels_last(builder, call, x, &shape, &reduced, count)?;
    let (pool, factor) = match operator.as_str() {
        "ReduceMax" => (Op::GlobalMaxPool, 1.0),
        "ReduceMin" => (Op::GlobalMaxPool, -1.0),
        "ReduceMean" => (Op::GlobalAvgPool, 1.0),
        _ => (Op::GlobalAvgPool, count as f32),
    };
    let last = match operator.as_str() {
        "ReduceL2" => Some(Activation::Sqrt),
        "ReduceLogSum" => Some(Activation::Log),
        _ => None,
    };
    let pooled_shape = [&builder.ty(images).shape[..2], &[1, 1]].concat();
    let (is_scaled, is_reshaped) = (factor != 1.0, pooled_shape != result);
    let name = |is_last: bool, part: &'static str| if is_last { "" } else { part };
    // Sums of integers are exact, and a mean of them would not be one: they have no pool of their own.
    let given = builder.ty(images).dtype;
    let whole = matches!(pool, Op::GlobalAvgPool) && !given.is_float();
    let images = if whole { builder.add_part(call, "wide", Op::Cast(DType::F64), &[images], vec![])? } else { images };
    let is_last = !is_scaled && !is_reshaped && last.is_none() && !whole;
    let mut y = builder.add_part(call, name(is_last, "pool"), pool, &[images], vec![])?;
    if is_scaled {
        y = scaled(builder, call, name(!is_reshaped && last.is_none() && !whole, "scaled"), y, factor)?;
    }
    if let Some(last) = last {
        y = builder.add_part(call, name(!is_reshaped && !whole, "root"), Op::Activate(last), &[y], vec![])?;
    }
    if whole {
        y = builder.add_part(call, name(!is_reshaped, "narrow"), Op::Cast(given), &[y], vec![])?;
    }
    if is_reshaped {
        y = builder.add(call, Op::Reshape { shape: result }, &[y], vec![])?;
    }
    Ok(vec![Value::Node(y)])
}

/// The mean over some axes, which become 1.
pub(super) fn mean_over(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    x: NodeId,
    reduced: &[bool],
) -> Result<NodeId, Problem> {
    let shape = builder.ty(x).shape.clone();
    let count = shape.iter().zip(reduced).filter(|(_, reduced)| **reduced).map(|(&extent, _)| extent).product();
    let images = pixels_last(builder, call, x, &shape, reduced, count)?;
    let y = builder.add_part(call, part, Op::GlobalAvgPool, &[images], vec![])?;
    let kept = shape.iter().zip(reduced).map(|(&extent, &reduced)| if reduced { 1 } else { extent }).collect();
    builder.add_part(call, part, Op::Reshape { shape: kept }, &[y], vec![])
}

/// The largest, or the mean, along an axis, which becomes 1.
pub(super) fn along(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    pool: Op,
    x: NodeId,
    axis: usize,
) -> Result<NodeId, Problem> {
    let mut shape = builder.ty(x).shape.clone();
    let reduced: Vec<bool> = (0..shape.len()).map(|i| i == axis).collect();
    let images = pixels_last(builder, call, x, &shape, &reduced, shape[axis])?;
    let y = builder.add_part(call, part, pool, &[images], vec![])?;
    shape[axis] = 1;
    builder.add_part(call, part, Op::Reshape { shape }, &[y], vec![])
}

fn scaled(builder: &mut Builder, call: &Call<'_>, part: &str, x: NodeId, by: f32) -> Result<NodeId, Problem> {
    let factor = builder.literal_like(call, "factor", by, x)?;
    builder.add_part(call, part, Op::Binary(Binary::Mul), &[x, factor], vec![])
}

/// The value as images `[N, C, H, W]` whose rows and columns are what is reduced.
fn pixels_last(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    shape: &[usize],
    reduced: &[bool],
    count: usize,
) -> Result<NodeId, Problem> {
    if reduced == [false, false, true, true] {
        return Ok(x);
    }
    let kept = (0..shape.len()).filter(|&i| !reduced[i]);
    let perm: Vec<usize> = kept.clone().chain((0..shape.len()).filter(|&i| reduced[i])).collect();
    let moved = if perm.is_sorted() {
        x
    } else {
        builder.add_part(call, "transposed", Op::Transpose { perm }, &[x], vec![])?
    };
    let extents: Vec<usize> = kept.map(|i| shape[i]).collect();
    let [images, channels] = match extents.split_first() {
        Some((&first, rest)) if !rest.is_empty() => [first, rest.iter().product()],
        Some((&only, _)) => [1, only],
        None => [1, 1],
    };
    builder.add_part(call, "images", Op::Reshape { shape: vec![images, channels, 1, count] }, &[moved], vec![])
}
