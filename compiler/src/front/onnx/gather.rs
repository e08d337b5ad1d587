//! Elements of an axis, or of several, by their index.

use super::Problem;
use super::builder::{Builder, Value};
use super::call::Call;
use super::geometry::{Rows, axis, rows};
use crate::graph::{NodeId, Op};

/// `Gather` with known indices.
pub(super) fn gather(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let at = axis(call.attributes().int_or("axis", 0)?, shape.len())?;
    let known = call.required_known(1)?;
    let indices = known.tensor.to_integers().ok_or_else(|| Problem::new("its indices are no integers"))?;
    let extent = shape[at] as i64;
    let indices: Option<Vec<usize>> = indices
        .into_iter()
        .map(|index| if index < 0 { index.checked_add(extent) } else { Some(index) })
        .map(|index| index.filter(|&index| (0..extent).contains(&index)).map(|index| index as usize))
        .collect();
    let indices = indices.ok_or_else(|| Problem::new(format!("an index is outside of axis {at} of {shape:?}")))?;
    let y = elements_at(builder, call, x, at, indices.into_iter())?;
    let shape = [&shape[..at], &known.tensor.shape, &shape[at + 1..]].concat();
    if builder.ty(y).shape == shape {
        return Ok(vec![Value::Node(y)]);
    }
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// `GatherND` with known indices: joins the indexed axes and gathers along the joined one.
pub(super) fn gather_nd(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let mut x = builder.operand(call, 0)?;
    let from = builder.ty(x).shape.clone();
    let known = call.required_known(1)?;
    let positions = known.tensor.to_integers().ok_or_else(|| Problem::new("its indices are no integers"))?;
    let batch = call.attributes().int_or("batch_dims", 0)?;
    let Rows { axes, rows, shape } = rows(&from, &known.tensor.shape, &positions, batch)?;
    if axes > 1 {
        let shape = [&[from[..axes].iter().product()], &from[axes..]].concat();
        x = builder.add_part(call, "rows", Op::Reshape { shape }, &[x], vec![])?;
    }
    let y = elements_at(builder, call, x, 0, rows.into_iter())?;
    if builder.ty(y).shape == shape {
        return Ok(vec![Value::Node(y)]);
    }
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// The elements of an axis with these indices, in this order; they may occur several times. Neighbours are a slice.
///
/// # Errors
/// There are none, or more than may be listed.
pub(super) fn elements_at(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    axis: usize,
    indices: impl ExactSizeIterator<Item = usize> + Clone,
) -> Result<NodeId, Problem> {
    let extent = builder.ty(x).shape[axis];
    let Some(start) = indices.clone().next() else {
        return Err(Problem::new(format!("it takes nothing of axis {axis}")));
    };
    let end = start + indices.len();
    if indices.clone().eq(start..end) {
        return match end - start == extent {
            true => Ok(x),
            false => builder.add_part(call, "piece", Op::Slice { axis, start, end }, &[x], vec![]),
        };
    }
    builder.budget.take(&[indices.len()])?;
    let listed: Option<Vec<u32>> = indices.map(|index| u32::try_from(index).ok()).collect();
    let indices = listed.ok_or_else(|| Problem::new(format!("an index is too large for axis {axis}")))?;
    builder.add_part(call, "gathered", Op::Gather { axis, indices }, &[x], vec![])
}

/// A value that is repeated along the axes of which it has one element, in a shape that it broadcasts to.
pub(super) fn repeated(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    mut x: NodeId,
    shape: &[usize],
) -> Result<NodeId, Problem> {
    let own = &builder.ty(x).shape;
    let own = [vec![1; shape.len() - own.len()], own.clone()].concat();
    if builder.ty(x).shape != own {
        x = builder.add_part(call, part, Op::Reshape { shape: own.clone() }, &[x], vec![])?;
    }
    // The last axis first: what is copied in the end, and is most, lies side by side.
    for axis in (0..shape.len()).rev().filter(|&axis| own[axis] != shape[axis]) {
        builder.budget.take(&[shape[axis]])?;
        x = builder.add_part(call, part, Op::Gather { axis, indices: vec![0; shape[axis]] }, &[x], vec![])?;
    }
    Ok(x)
}
