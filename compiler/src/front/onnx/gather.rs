//! Elements of an axis by their places, as slices one after the other.

use std::ops::Range;

use super::Problem;
use super::builder::{Builder, Value};
use super::call::Call;
use super::geometry::axis;
use crate::graph::{NodeId, Op};

/// The most slices that a list of places becomes.
const PIECES: usize = 1 << 9;

/// `Gather` of places that are known.
pub(super) fn gather(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let at = axis(call.attributes().int_or("axis", 0)?, shape.len())?;
    let known = call.required_known(1)?;
    let places = known.tensor.to_integers().ok_or_else(|| Problem::new("its indices are no integers"))?;
    let extent = shape[at] as i64;
    let places: Option<Vec<usize>> = places
        .into_iter()
        .map(|place| if place < 0 { place.checked_add(extent) } else { Some(place) })
        .map(|place| place.filter(|&place| (0..extent).contains(&place)).map(|place| place as usize))
        .collect();
    let places = places.ok_or_else(|| Problem::new(format!("an index is outside of axis {at} of {shape:?}")))?;
    let y = at_runs(builder, call, x, at, places.into_iter().map(|place| place..place + 1))?;
    let shape = [&shape[..at], &known.tensor.shape, &shape[at + 1..]].concat();
    if builder.ty(y).shape == shape {
        return Ok(vec![Value::Node(y)]);
    }
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// The elements of an axis in these runs, in their order; they may occur several times.
pub(super) fn at_runs(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    axis: usize,
    given: impl Iterator<Item = Range<usize>>,
) -> Result<NodeId, Problem> {
    // Neighbours that ascend are a slice.
    let mut runs: Vec<Range<usize>> = Vec::new();
    for next in given.filter(|next| !next.is_empty()) {
        match runs.last_mut() {
            Some(run) if run.end == next.start => run.end = next.end,
            _ => runs.push(next),
        }
        if runs.len() > PIECES {
            return Err(Problem::new(format!("it takes more than {PIECES} pieces of axis {axis}")));
        }
    }
    if runs.is_empty() {
        return Err(Problem::new(format!("it takes nothing of axis {axis}")));
    }
    let whole = 0..builder.ty(x).shape[axis];
    let mut parts = Vec::with_capacity(runs.len());
    for run in runs {
        parts.push(match run == whole {
            true => x,
            false => {
                let op = Op::Slice { axis, start: run.start, end: run.end };
                builder.add_part(call, "piece", op, &[x], vec![])?
            }
        });
    }
    match parts[..] {
        [only] => Ok(only),
        _ => builder.add_part(call, "pieces", Op::Concat { axis }, &parts, vec![]),
    }
}
