//! Known values by their size.

use std::cmp::Ordering;

use kiln_rt::safetensors::Dtype;

use super::super::Problem;
use super::super::budget::Budget;
use super::super::conv::window;
use super::super::geometry::axis;
use super::super::tensor::Tensor;
use super::Known;
use super::constant::axis_of;
use crate::graph::Window;
use crate::graph::infer::window_outputs;

/// Elements before, along and behind an axis.
fn around(x: &Tensor, axis: usize) -> [usize; 3] {
    [x.shape[..axis].iter().product(), x.shape[axis], x.shape[axis + 1..].iter().product()]
}

/// The order of two elements, larger ones last; NaN is larger than all.
fn order(x: &Tensor) -> impl Fn(usize, usize) -> Ordering {
    let (integers, floats) = (x.to_integers(), x.to_floats());
    move |a, b| match &integers {
        Some(integers) => integers[a].cmp(&integers[b]),
        None => floats[a].partial_cmp(&floats[b]).unwrap_or_else(|| floats[a].is_nan().cmp(&floats[b].is_nan())),
    }
}

/// `ArgMax` and `ArgMin`: the place of the largest or the least along an axis, of equals the first or the last.
pub(super) fn arg_most(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    budget.take(&x.shape)?;
    let axis = axis_of(known, x.shape.len(), Some(0))?;
    let [outer, extent, inner] = around(x, axis);
    if extent == 0 {
        return Err(Problem::new(format!("{x:?} has nothing along axis {axis}")));
    }
    let last = known.call.attributes().int_or("select_last_index", 0)? != 0;
    let is_min = known.call.operator() == "ArgMin";
    let order = order(x);
    let mut places = Vec::new();
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |k: usize| (o * extent + k) * inner + i;
        let mut best = 0;
        for k in 1..extent {
            let compared = if is_min { order(at(best), at(k)) } else { order(at(k), at(best)) };
            if compared == Ordering::Greater || last && compared == Ordering::Equal {
                best = k;
            }
        }
        places.push(best as i64);
    }
    let mut shape = x.shape.clone();
    match known.call.attributes().int_or("keepdims", 1)? {
        0 => drop(shape.remove(axis)),
        _ => shape[axis] = 1,
    }
    Tensor::integers(Dtype::I64, shape, &places).map(|y| vec![y]).ok_or_else(|| Problem::new("a place is too large"))
}

/// `TopK`: the largest or least along an axis, and their places; of equals the first come first.
pub(super) fn top(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    budget.take(&x.shape)?;
    let attributes = known.call.attributes();
    let axis = axis(attributes.int_or("axis", -1)?, x.shape.len())?;
    let [outer, extent, inner] = around(x, axis);
    let count = match attributes.int("k")? {
        Some(k) => k,
        None => *known.integers(1)?.first().ok_or_else(|| Problem::new("it does not say how many"))?,
    };
    let count = usize::try_from(count).ok().filter(|&count| count <= extent);
    let count = count.ok_or_else(|| Problem::new(format!("there are not so many along axis {axis} of {x:?}")))?;
    let largest = attributes.int_or("largest", 1)? != 0;
    let order = order(x);
    let mut shape = x.shape.clone();
    shape[axis] = count;
    let mut places = vec![0i64; shape.iter().product()];
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |k: usize| (o * extent + k) * inner + i;
        let mut sorted: Vec<usize> = (0..extent).collect();
        sorted.sort_by(|&a, &b| if largest { order(at(b), at(a)) } else { order(at(a), at(b)) });
        for (rank, &k) in sorted.iter().take(count).enumerate() {
            places[(o * count + rank) * inner + i] = k as i64;
        }
    }
    let elements = places
        .iter()
        .enumerate()
        .map(|(to, &k)| (to / (count * inner).max(1) * extent + k as usize) * inner + to % inner.max(1));
    let values = x.picked(shape.clone(), elements.collect::<Vec<_>>().into_iter());
    let places = Tensor::integers(Dtype::I64, shape, &places).ok_or_else(|| Problem::new("a place is too large"))?;
    Ok(vec![values, places])
}

/// `MaxPool` of images with its second result, where in the whole value each largest element stands: counted row by
/// row, or column by column when `storage_order` is 1.
pub(super) fn max_pool(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    let &[n, c, h, w] = x.shape.as_slice() else {
        return Err(Problem::new(format!("it takes images [N, C, H, W], and its input has shape {:?}", x.shape)));
    };
    let attributes = known.call.attributes();
    let by_columns = match attributes.int_or("storage_order", 0)? {
        0 => false,
        1 => true,
        other => return Err(Problem::new(format!("storage_order is 0 or 1, not {other}"))),
    };
    let window = window(known.call, None, [h, w], false)?;
    let outputs = window_outputs(&window, h, w, attributes.int_or("ceil_mode", 0)? != 0);
    let [rows, columns] = outputs.ok_or_else(|| Problem::new(format!("its window does not fit {h}×{w} pixels")))?;
    let shape = vec![n, c, rows, columns];
    let Window { kernel: [kh, kw], stride, pads, dilation } = window;
    // All elements of all windows are looked at.
    budget.take(&[n, c, rows, columns, kh, kw])?;
    let order = order(x);
    let mut places = Vec::new();
    for (plane, row, column) in
        (0..n * c).flat_map(|plane| (0..rows).flat_map(move |row| (0..columns).map(move |column| (plane, row, column))))
    {
        let mut best: Option<usize> = None;
        for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
            let y = (row * stride[0] + ky * dilation[0]).checked_sub(pads.top).filter(|&y| y < h);
            let x = (column * stride[1] + kx * dilation[1]).checked_sub(pads.left).filter(|&x| x < w);
            if let (Some(y), Some(x)) = (y, x) {
                let at = (plane * h + y) * w + x;
                best = Some(best.filter(|&best| order(at, best) != Ordering::Greater).unwrap_or(at));
            }
        }
        places.push(best.ok_or_else(|| Problem::new("a window holds nothing but padding"))?);
    }
    let values = x.picked(shape.clone(), places.iter().copied());
    let counted = |place: usize| {
        let (plane, y, x) = (place / (h * w), place / w % h, place % w);
        (if by_columns { plane * h * w + x * h + y } else { place }) as i64
    };
    let places: Vec<i64> = places.into_iter().map(counted).collect();
    let places = Tensor::integers(Dtype::I64, shape, &places).ok_or_else(|| Problem::new("a place is too large"))?;
    Ok(vec![values, places])
}
