//! What operators on shapes do, as arithmetic that cannot overflow.

use super::tensor::elements;
use super::{Listed, Problem};

/// Elements `start`, `start + step`, … of an axis, `count` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stride {
    pub(super) axis: usize,
    pub(super) start: usize,
    pub(super) step: isize,
    pub(super) count: usize,
}

/// An axis that counts from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    from_start
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank)
        .ok_or_else(|| Problem::new(format!("a value of rank {rank} has no axis {axis}")))
}

/// The shape that `Reshape` makes: 0 keeps an extent (unless `allow_zero`), -1 takes what is left.
pub(super) fn reshaped(shape: &[usize], target: &[i64], allow_zero: bool) -> Result<Vec<usize>, Problem> {
    let wrong = || Problem::new(format!("a value of shape {shape:?} cannot take the shape {}", Listed(target)));
    let mut open = None;
    let mut result = Vec::with_capacity(target.len());
    for (i, &extent) in target.iter().enumerate() {
        result.push(match extent {
            0 if !allow_zero => *shape.get(i).ok_or_else(wrong)?,
            -1 if open.replace(i).is_none() => 1,
            _ => usize::try_from(extent).map_err(|_| wrong())?,
        });
    }
    let total = elements(shape).ok_or_else(wrong)?;
    let known = elements(&result).ok_or_else(wrong)?;
    if let Some(open) = open {
        if known == 0 || !total.is_multiple_of(known) {
            return Err(wrong());
        }
        result[open] = total / known;
    } else if known != total {
        return Err(wrong());
    }
    Ok(result)
}

/// `[product before the axis, product from it on]`; the axis may be the rank.
pub(super) fn flattened(shape: &[usize], at: i64) -> Result<Vec<usize>, Problem> {
    let at = if at == shape.len() as i64 { shape.len() } else { axis(at, shape.len())? };
    let product = |extents: &[usize]| elements(extents).ok_or_else(|| Problem::new("its shape is too large"));
    Ok(vec![product(&shape[..at])?, product(&shape[at..])?])
}

/// Without the extents of 1 at these axes, or without any where none are named.
pub(super) fn squeezed(shape: &[usize], axes: Option<&[i64]>) -> Result<Vec<usize>, Problem> {
    let Some(axes) = axes else { return Ok(shape.iter().copied().filter(|&extent| extent != 1).collect()) };
    let mut gone = vec![false; shape.len()];
    for &at in axes {
        let at = axis(at, shape.len())?;
        if shape[at] != 1 {
            return Err(Problem::new(format!("axis {at} of a value of shape {shape:?} is not 1")));
        }
        gone[at] = true;
    }
    Ok(shape.iter().zip(gone).filter(|(_, gone)| !gone).map(|(&extent, _)| extent).collect())
}

/// With extents of 1 that become these axes.
pub(super) fn unsqueezed(shape: &[usize], axes: &[i64]) -> Result<Vec<usize>, Problem> {
    let rank = shape.len() + axes.len();
    let mut new = vec![false; rank];
    for &at in axes {
        if std::mem::replace(&mut new[axis(at, rank)?], true) {
            return Err(Problem::new(format!("the axes {} name one twice", Listed(axes))));
        }
    }
    let mut old = shape.iter().copied();
    Ok(new.into_iter().map(|new| if new { 1 } else { old.next().unwrap_or(1) }).collect())
}

/// What `Slice` takes of each axis that it names.
pub(super) fn sliced(
    shape: &[usize],
    starts: &[i64],
    ends: &[i64],
    axes: Option<&[i64]>,
    steps: Option<&[i64]>,
) -> Result<Vec<Stride>, Problem> {
    let all: Vec<i64> = (0..starts.len() as i64).collect();
    let axes = axes.unwrap_or(&all);
    let ones = vec![1; starts.len()];
    let steps = steps.unwrap_or(&ones);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Problem::new("its starts, ends, axes and steps are not equally many"));
    }
    let mut strides: Vec<Stride> = Vec::with_capacity(axes.len());
    for (i, &at) in axes.iter().enumerate() {
        let at = axis(at, shape.len())?;
        if strides.iter().any(|stride| stride.axis == at) {
            return Err(Problem::new(format!("it slices axis {at} twice")));
        }
        let extent = i64::try_from(shape[at]).map_err(|_| Problem::new("its shape is too large"))?;
        let step = isize::try_from(steps[i]).ok().filter(|&step| step != 0);
        let step = step.ok_or_else(|| Problem::new("a step is 0"))?;
        let from_start = |place: i64| if place < 0 { place.saturating_add(extent) } else { place };
        let (start, end) = (from_start(starts[i]), from_start(ends[i]));
        // Backwards, a range ends before its `end`, which may be before the first element.
        let (start, room) = if step > 0 {
            let start = start.clamp(0, extent);
            (start, end.clamp(0, extent) - start)
        } else {
            let start = start.clamp(0, (extent - 1).max(0));
            (start, if extent == 0 { 0 } else { start - end.clamp(-1, extent - 1) })
        };
        let count = (room.max(0) as usize).div_ceil(step.unsigned_abs());
        // A lone element has no next one: whatever its step, it cannot overflow.
        let step = if count > 1 { step } else { 1 };
        strides.push(Stride { axis: at, start: start as usize, step, count });
    }
    Ok(strides)
}

/// How `Split` divides an extent: into these parts, or into `count` of which the last may be smaller.
pub(super) fn parts(extent: usize, sizes: Option<&[i64]>, count: usize) -> Result<Vec<usize>, Problem> {
    if let Some(sizes) = sizes {
        let parts: Option<Vec<usize>> = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
        return parts
            .filter(|parts| parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part)) == Some(extent))
            .ok_or_else(|| Problem::new(format!("the parts {} are not {extent} together", Listed(sizes))));
    }
    if count == 0 || count > extent {
        return Err(Problem::new(format!("{extent} elements do not make {count} parts")));
    }
    let each = extent.div_ceil(count);
    Ok((0..count).map(|i| each.min(extent.saturating_sub(i * each))).collect())
}

/// The shape that shapes broadcast to: aligned at their last axis, an extent of 1 repeats.
pub(super) fn broadcast(shapes: &[&[usize]]) -> Result<Vec<usize>, Problem> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut result = vec![1; rank];
    for shape in shapes {
        let missing = rank - shape.len();
        for (i, &extent) in shape.iter().enumerate() {
            let at = &mut result[missing + i];
            if *at == 1 {
                *at = extent;
            } else if extent != 1 && extent != *at {
                let shapes: Vec<String> = shapes.iter().map(|shape| format!("{shape:?}")).collect();
                return Err(Problem::new(format!("shapes {} do not broadcast", shapes.join(" and "))));
            }
        }
    }
    Ok(result)
}

/// Row-major strides of a shape.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1].saturating_mul(shape[axis + 1]);
    }
    strides
}

/// Strides by which a value is read as one of a shape that it broadcasts to.
pub(super) fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<isize> {
    let missing = to.len() - from.len();
    let own = strides(from);
    let stride =
        |axis: usize| if axis < missing || from[axis - missing] == 1 { 0 } else { own[axis - missing] as isize };
    (0..to.len()).map(stride).collect()
}

/// The places of all elements of a box, in row-major order, in memory with these strides.
pub(super) fn places(shape: &[usize], start: usize, strides: &[isize]) -> impl Iterator<Item = usize> + use<> {
    let count = elements(shape).unwrap_or(0);
    let (shape, strides) = (shape.to_vec(), strides.to_vec());
    let mut index = vec![0usize; shape.len()];
    let mut at = start as isize;
    (0..count).map(move |_| {
        let place = at as usize;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis] as isize;
            index[axis] = 0;
        }
        place
    })
}

/// The rows that `GatherND` takes of a value whose first axes are joined.
pub(super) struct Rows {
    /// The number of joined axes.
    pub(super) axes: usize,
    /// Indices along the joined axis.
    pub(super) rows: Vec<usize>,
    /// The shape of the result.
    pub(super) shape: Vec<usize>,
}

/// Turns the indices of `GatherND` into rows. The indices have shape `listed`, and their last axis holds one position for each
/// axis after the first `batch`. Value and indices share these `batch` axes.
///
/// # Errors
/// The shapes do not fit, or a position is outside.
pub(super) fn rows(shape: &[usize], listed: &[usize], positions: &[i64], batch: i64) -> Result<Rows, Problem> {
    let unfit =
        || Problem::new(format!("indices of shape {listed:?} with batch_dims {batch} take nothing of {shape:?}"));
    let batch = usize::try_from(batch).map_err(|_| unfit())?;
    let (&depth, lists) = listed.split_last().ok_or_else(unfit)?;
    let axes = batch.checked_add(depth).filter(|&axes| depth > 0 && axes <= shape.len()).ok_or_else(unfit)?;
    if lists.len() < batch || lists[..batch] != shape[..batch] {
        return Err(unfit());
    }
    // Lists of one batch, one after the other.
    let of_batch = lists[batch..].iter().product::<usize>();
    let mut rows = Vec::with_capacity(positions.len() / depth);
    for (i, list) in positions.chunks_exact(depth).enumerate() {
        let mut row = i / of_batch;
        for (&position, &extent) in list.iter().zip(&shape[batch..axes]) {
            let place = if position < 0 { position.saturating_add(extent as i64) } else { position };
            let place = usize::try_from(place).ok().filter(|&place| place < extent);
            row = row * extent
                + place.ok_or_else(|| Problem::new(format!("there is no element {position} of {extent}")))?;
        }
        rows.push(row);
    }
    Ok(Rows { axes, rows, shape: [lists, &shape[axes..]].concat() })
}
