//! The same elements in other places.

use super::super::budget::Budget;
use super::super::geometry;
use super::super::tensor::{Tensor, elements};
use super::super::{Listed, Problem};
use super::Known;
use super::constant::axis_of;

pub(super) fn reshape(known: &Known<'_>, _: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    let target = known.call.integers("shape", 1)?.ok_or_else(|| Problem::new("it does not say to what shape"))?;
    let allow_zero = known.call.attributes().int_or("allowzero", 0)? != 0;
    Ok(vec![x.reshaped(geometry::reshaped(&x.shape, &target, allow_zero)?)])
}

pub(super) fn flatten(known: &Known<'_>, _: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    Ok(vec![x.reshaped(geometry::flattened(&x.shape, known.call.attributes().int_or("axis", 1)?)?)])
}

pub(super) fn squeeze(known: &Known<'_>, _: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    let axes = known.call.integers("axes", 1)?;
    Ok(vec![x.reshaped(geometry::squeezed(&x.shape, axes.as_deref())?)])
}

pub(super) fn unsqueeze(known: &Known<'_>, _: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    let axes = known.call.integers("axes", 1)?.ok_or_else(|| Problem::new("it does not say which axes"))?;
    Ok(vec![x.reshaped(geometry::unsqueezed(&x.shape, &axes)?)])
}

pub(super) fn transpose(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    let perm = permutation(known.call.attributes().ints("perm")?, x.shape.len())?;
    Ok(vec![transposed(x, &perm, budget)?])
}

/// A permutation, by default the one that turns all axes around.
pub(in crate::front::onnx) fn permutation(given: Option<&[i64]>, rank: usize) -> Result<Vec<usize>, Problem> {
    let Some(given) = given else { return Ok((0..rank).rev().collect()) };
    let mut seen = vec![false; rank];
    let perm: Option<Vec<usize>> = given
        .iter()
        .map(|&axis| {
            usize::try_from(axis).ok().filter(|&axis| axis < rank && !std::mem::replace(&mut seen[axis], true))
        })
        .collect();
    perm.filter(|perm| perm.len() == rank)
        .ok_or_else(|| Problem::new(format!("{} is no permutation of {rank} axes", Listed(given))))
}

fn transposed(x: &Tensor, perm: &[usize], budget: &mut Budget) -> Result<Tensor, Problem> {
    budget.take(&x.shape)?;
    let own = geometry::strides(&x.shape);
    let shape: Vec<usize> = perm.iter().map(|&axis| x.shape[axis]).collect();
    let strides: Vec<isize> = perm.iter().map(|&axis| own[axis] as isize).collect();
    let places = geometry::places(&shape, 0, &strides);
    Ok(x.picked(shape, places))
}

pub(super) fn gather(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let (x, at) = (known.operand(0)?, known.operand(1)?);
    let axis = axis_of(known, x.shape.len(), Some(0))?;
    let extent = x.shape[axis];
    let mut index = Vec::with_capacity(at.len());
    for i in known.integers(1)? {
        let place = if i < 0 { i.saturating_add(extent as i64) } else { i };
        let place = usize::try_from(place).ok().filter(|&place| place < extent);
        index.push(place.ok_or_else(|| Problem::new(format!("there is no element {i} of {extent}")))?);
    }
    let shape = [&x.shape[..axis], &at.shape, &x.shape[axis + 1..]].concat();
    budget.take(&shape)?;
    let [outer, inner] = [&x.shape[..axis], &x.shape[axis + 1..]].map(|part| elements(part).unwrap_or(0));
    let index = &index;
    let places =
        (0..outer).flat_map(|o| index.iter().flat_map(move |&i| (0..inner).map(move |k| (o * extent + i) * inner + k)));
    Ok(vec![x.picked(shape, places)])
}

pub(super) fn gather_nd(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let (x, at) = (known.operand(0)?, known.operand(1)?);
    let batch = known.call.attributes().int_or("batch_dims", 0)?;
    let geometry::Rows { axes, rows, shape } = geometry::rows(&x.shape, &at.shape, &known.integers(1)?, batch)?;
    budget.take(&shape)?;
    let inner = elements(&x.shape[axes..]).unwrap_or(0);
    let places = rows.into_iter().flat_map(|row| row * inner..(row + 1) * inner);
    Ok(vec![x.picked(shape, places)])
}

pub(super) fn slice(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    budget.take(&x.shape)?;
    let mut shape = x.shape.clone();
    let mut strides: Vec<isize> = geometry::strides(&shape).into_iter().map(|stride| stride as isize).collect();
    let mut start = 0;
    for stride in known.call.strides(&x.shape)? {
        start += stride.start * strides[stride.axis] as usize;
        strides[stride.axis] *= stride.step;
        shape[stride.axis] = stride.count;
    }
    let places = geometry::places(&shape, start, &strides);
    Ok(vec![x.picked(shape, places)])
}

pub(super) fn concat(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let parts: Vec<&Tensor> = (0..known.operands.len()).map(|i| known.operand(i)).collect::<Result<_, _>>()?;
    let first = *parts.first().ok_or_else(|| Problem::new("it has no input"))?;
    let axis = axis_of(known, first.shape.len(), None)?;
    let mut shape = first.shape.clone();
    for part in &parts[1..] {
        let fits = part.dtype == first.dtype
            && part.shape.len() == shape.len()
            && (0..shape.len()).all(|i| i == axis || part.shape[i] == shape[i]);
        if !fits {
            return Err(Problem::new(format!("{first:?} and {part:?} do not go together along axis {axis}")));
        }
        shape[axis] = shape[axis].saturating_add(part.shape[axis]);
    }
    budget.take(&shape)?;
    Ok(vec![Tensor::joined(shape, axis, &parts)])
}

pub(super) fn split(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    let axis = axis_of(known, x.shape.len(), Some(0))?;
    let parts = known.call.parts(x.shape[axis])?;
    budget.take(&x.shape)?;
    let strides: Vec<isize> = geometry::strides(&x.shape).into_iter().map(|stride| stride as isize).collect();
    let mut start = 0;
    Ok(parts
        .into_iter()
        .map(|part| {
            let mut shape = x.shape.clone();
            shape[axis] = part;
            let places = geometry::places(&shape, start * strides[axis] as usize, &strides);
            start += part;
            x.picked(shape, places)
        })
        .collect())
}

pub(super) fn expand(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let (x, wanted) = (known.operand(0)?, known.integers(1)?);
    let extents: Option<Vec<usize>> = wanted.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let extents = extents.ok_or_else(|| Problem::new(format!("{} is no shape", Listed(&wanted))))?;
    let shape = geometry::broadcast(&[&x.shape, &extents])?;
    budget.take(&shape)?;
    let places = geometry::places(&shape, 0, &geometry::broadcast_strides(&x.shape, &shape));
    Ok(vec![x.picked(shape, places)])
}

pub(super) fn tile(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let (x, repeats) = (known.operand(0)?, known.integers(1)?);
    let wrong = || {
        Problem::new(format!("{} does not say how often to repeat a value of shape {:?}", Listed(&repeats), x.shape))
    };
    if repeats.len() != x.shape.len() {
        return Err(wrong());
    }
    let mut shape = Vec::with_capacity(repeats.len());
    for (&extent, &times) in x.shape.iter().zip(&repeats) {
        let times = usize::try_from(times).map_err(|_| wrong())?;
        shape.push(extent.checked_mul(times).ok_or_else(wrong)?);
    }
    budget.take(&shape)?;
    let (own, to, from) = (geometry::strides(&x.shape), geometry::strides(&shape), x.shape.clone());
    let count = elements(&shape).unwrap_or(0);
    let wanted = shape.clone();
    let places = (0..count).map(move |at| (0..to.len()).map(|i| at / to[i] % wanted[i] % from[i] * own[i]).sum());
    Ok(vec![x.picked(shape, places)])
}
