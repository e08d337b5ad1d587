//! Means, sums and extremes along axes.

use super::Problem;
use super::build::{Builder, Call, Value, axis};
use crate::graph::{Binary, NodeId, Op};

/// `ReduceMean`, `ReduceSum`, `ReduceMax`, `ReduceMin`.
pub(super) fn reduce(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
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
    let x = if operator == "ReduceMin" { scaled(builder, call, "negative", x, -1.0)? } else { x };
    let images = pixels_last(builder, call, x, &shape, &reduced, count)?;
    let pool =
        if matches!(operator.as_str(), "ReduceMax" | "ReduceMin") { Op::GlobalMaxPool } else { Op::GlobalAvgPool };
    let factor = match operator.as_str() {
        "ReduceSum" => count as f32,
        "ReduceMin" => -1.0,
        _ => 1.0,
    };
    let pooled_shape = [&builder.ty(images).shape[..2], &[1, 1]].concat();
    let (is_scaled, is_reshaped) = (factor != 1.0, pooled_shape != result);
    let mut y = builder.add_part(call, if is_scaled || is_reshaped { "pool" } else { "" }, pool, &[images], vec![])?;
    if is_scaled {
        y = scaled(builder, call, if is_reshaped { "scaled" } else { "" }, y, factor)?;
    }
    if is_reshaped {
        y = builder.add(call, Op::Reshape { shape: result }, &[y], vec![])?;
    }
    Ok(vec![Value::Node(y)])
}

fn scaled(builder: &mut Builder, call: &Call<'_>, part: &str, x: NodeId, by: f32) -> Result<NodeId, Problem> {
    let factor = builder.literal(call, "factor", by)?;
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
