//! Arrays in `.npy` files.

use std::path::Path;

use kiln_compiler::graph::TensorType;
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};

use crate::report::{Context, Failure};

/// The elements of an input: from a `.npy` file of f32, f64 or u8 with this shape, or, for `fill`, by the formula.
pub(crate) fn read_input(source: &str, name: &str, ty: &TensorType) -> Result<Vec<f32>, Failure> {
    if source == "fill" {
        return Ok(kiln_rt::fill::fill_input(&ty.shape));
    }
    let path = Path::new(source);
    let (shape, values) = read(path)?;
    let fits = shape == ty.shape || shape.len() + 1 == ty.shape.len() && ty.shape[0] == 1 && shape == ty.shape[1..];
    if !fits {
        return Err(Failure::new(format!(
            "{} has shape {shape:?}, but the input `{name}` is {:?}",
            path.display(),
            ty.shape
        )));
    }
    Ok(values)
}

/// Shape and elements of a `.npy` file of f32, f64 or u8.
pub(crate) fn read(path: &Path) -> Result<(Vec<usize>, Vec<f32>), Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path).context(format!("cannot read {shown}"))?;
    let array = match ArrayD::<f32>::read_npy(&bytes[..]) {
        Ok(array) => array,
        Err(first) => match (ArrayD::<f64>::read_npy(&bytes[..]), ArrayD::<u8>::read_npy(&bytes[..])) {
            (Ok(array), _) => array.mapv(|v| v as f32),
            (_, Ok(array)) => array.mapv(f32::from),
            _ => return Err(Failure::new(format!("{shown} is not a .npy file of f32, f64 or u8: {first}"))),
        },
    };
    Ok((array.shape().to_vec(), array.iter().copied().collect()))
}

/// Writes a `.npy` file of f32, whole or not at all.
pub(crate) fn write(path: &Path, shape: &[usize], values: &[f32]) -> Result<(), Failure> {
    let shown = path.display();
    let array = ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).context(format!("cannot write {shown}"))?;
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).context(format!("cannot write {shown}"))?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(parent).context(format!("cannot write in {}", parent.display()))?;
    std::fs::write(file.path(), bytes).context(format!("cannot write {shown}"))?;
    file.persist(path).context(format!("cannot write {shown}"))?;
    Ok(())
}
