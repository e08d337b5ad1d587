//! Sparse tensors: values and where they stand, all other elements 0.

use super::Folder;
use super::budget::Budget;
use super::proto::SparseTensorProto;
use super::tensor::{self, Tensor, Unreadable};

/// The tensor of a message with all its elements.
///
/// # Errors
/// A part of it cannot be read, places are not among its elements or not in order, or it has more elements than are left.
pub(super) fn dense(proto: SparseTensorProto, folder: &dyn Folder, budget: &mut Budget) -> Result<Tensor, Unreadable> {
    let missing = |what: &str| format!("it is sparse and has no {what}");
    let values = Tensor::read(proto.values.ok_or_else(|| missing("values"))?, folder)?;
    let indices = Tensor::read(proto.indices.ok_or_else(|| missing("indices"))?, folder)?;
    tensor::check_rank(proto.dims.len())?;
    let shape: Option<Vec<usize>> = proto.dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = shape.ok_or_else(|| format!("its shape {:?} is negative", proto.dims))?;
    budget.take(&shape).map_err(|problem| problem.message)?;
    let places = places(&indices, &shape, values.len())?;
    if let Some(pair) = places.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("its element {} stands after its element {}", pair[1], pair[0]).into());
    }
    Ok(values.scattered(shape, &places))
}

/// Where so many values stand, in row-major order: as numbers, or as an index along each axis.
fn places(indices: &Tensor, shape: &[usize], count: usize) -> Result<Vec<usize>, String> {
    let elements = tensor::elements(shape).unwrap_or(0);
    let wrong = || format!("its indices {:?} do not say where {count} values of {shape:?} stand", indices.shape);
    let numbers = indices.to_integers().ok_or_else(wrong)?;
    let outside = |index: &[i64]| format!("its index {index:?} is outside of {shape:?}");
    let within = |index: i64, extent: usize| usize::try_from(index).ok().filter(|&index| index < extent);
    match indices.shape[..] {
        [rows] if rows == count => {
            numbers.iter().map(|&index| within(index, elements).ok_or_else(|| outside(&[index]))).collect()
        }
        [rows, axes] if rows == count && axes == shape.len() && axes > 0 => {
            let place = |index: &[i64]| {
                let axes = index.iter().zip(shape);
                let mut place = axes.map(|(&index, &extent)| Some((within(index, extent)?, extent)));
                let place = place.try_fold(0, |place, along| along.map(|(index, extent)| place * extent + index));
                place.ok_or_else(|| outside(index))
            };
            numbers.chunks_exact(axes).map(place).collect()
        }
        _ => Err(wrong()),
    }
}
