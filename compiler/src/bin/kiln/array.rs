//! Arrays in `.npy` files.

use std::path::Path;

use kiln_compiler::graph::{DType, Elements, TensorType};
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{ReadNpyExt, ReadableElement, WritableElement, WriteNpyExt};

use crate::report::{Context, Failure};

/// The elements of an input: from a `.npy` file with this shape, or, for `fill`, by the formula. A file of another type
/// does where every number is one of the input's type.
pub(crate) fn read_input(source: &str, name: &str, ty: &TensorType) -> Result<Elements, Failure> {
    if source == "fill" {
        return Ok(fill(ty));
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
    let given = values.dtype();
    converted(values, ty.dtype).ok_or_else(|| {
        Failure::new(format!(
            "{} holds {given}s that are no {}s, but the input `{name}` is {}",
            path.display(),
            ty.dtype,
            ty.dtype
        ))
    })
}

/// An input by the formula; integers are spread over a byte, those with a sign around 0.
pub(crate) fn fill(ty: &TensorType) -> Elements {
    let numbers = kiln_rt::fill::fill_input(&ty.shape);
    if ty.dtype.is_float() {
        return Elements::from_f64(ty.dtype, &numbers.into_iter().map(f64::from).collect::<Vec<_>>());
    }
    // The formula's numbers lie between -2 and 2.
    let (lo, hi) = ty.dtype.range().unwrap_or_default();
    let middle = if lo < 0 { 0.0 } else { 128.0 };
    let integers = numbers.into_iter().map(|v| (f64::from(v) * 63.0 + middle).round().clamp(lo as f64, hi as f64));
    Elements::from_f64(ty.dtype, &integers.collect::<Vec<_>>())
}

/// The same numbers in another type, unless one of them is none of its. Floats are rounded to floats.
fn converted(values: Elements, to: DType) -> Option<Elements> {
    if values.dtype() == to {
        return Some(values);
    }
    let numbers = values.to_f64();
    let fits = match to.range() {
        None => true,
        Some((lo, hi)) => numbers.iter().all(|v| v.fract() == 0.0 && *v >= lo as f64 && *v <= hi as f64),
    };
    fits.then(|| Elements::from_f64(to, &numbers))
}

/// Shape and elements of a `.npy` file.
pub(crate) fn read(path: &Path) -> Result<(Vec<usize>, Elements), Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path).context(format!("cannot read {shown}"))?;
    let mut found = None;
    let mut first = None;
    for dtype in DType::ALL {
        let array = match dtype {
            DType::F32 => elements(&bytes, Elements::F32),
            DType::F64 => elements(&bytes, Elements::F64),
            DType::I64 => elements(&bytes, Elements::I64),
            DType::I32 => elements(&bytes, Elements::I32),
            DType::I8 => elements(&bytes, Elements::I8),
            DType::U8 => elements(&bytes, Elements::U8),
            DType::Bool => elements(&bytes, Elements::Bool),
        };
        match array {
            Ok(array) => {
                found = Some(array);
                break;
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    found.ok_or_else(|| {
        let types = DType::ALL.map(|dtype| dtype.to_string()).join(", ");
        let why = first.map(|error| format!(": {error}")).unwrap_or_default();
        Failure::new(format!("{shown} is not a .npy file of one of {types}{why}"))
    })
}

fn elements<T: ReadableElement + Clone>(
    bytes: &[u8],
    make: fn(Vec<T>) -> Elements,
) -> Result<(Vec<usize>, Elements), ndarray_npy::ReadNpyError> {
    let array = ArrayD::<T>::read_npy(bytes)?;
    Ok((array.shape().to_vec(), make(array.iter().cloned().collect())))
}

/// Writes a `.npy` file, whole or not at all.
pub(crate) fn write(path: &Path, shape: &[usize], values: &Elements) -> Result<(), Failure> {
    let shown = path.display();
    let bytes = match values {
        Elements::F32(v) => file(shape, v),
        Elements::F64(v) => file(shape, v),
        Elements::I64(v) => file(shape, v),
        Elements::I32(v) => file(shape, v),
        Elements::I8(v) => file(shape, v),
        Elements::U8(v) => file(shape, v),
        Elements::Bool(v) => file(shape, v),
    };
    let bytes = bytes.map_err(|why| Failure::new(format!("cannot write {shown}: {why}")))?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(parent).context(format!("cannot write in {}", parent.display()))?;
    std::fs::write(temporary.path(), bytes).context(format!("cannot write {shown}"))?;
    temporary.persist(path).context(format!("cannot write {shown}"))?;
    Ok(())
}

fn file<T: WritableElement + Clone>(shape: &[usize], values: &[T]) -> Result<Vec<u8>, String> {
    let array = ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
