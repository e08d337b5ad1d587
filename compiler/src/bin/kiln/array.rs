//! Tensors for inputs: from files, or by the formula.

use std::ffi::OsStr;
use std::path::Path;

use kiln_compiler::graph::{DType, Elements, TensorType};

use crate::npy;
use crate::report::Failure;

/// The elements of an input: from a `.npy` file with this shape, or, for `fill`, by the formula. A file of another type
/// does where every number is one of the input's type.
pub(crate) fn read_input(source: &OsStr, name: &str, ty: &TensorType) -> Result<Elements, Failure> {
    if source == "fill" {
        return Ok(fill(ty));
    }
    let path = Path::new(source);
    let (shape, values) = npy::read(path)?;
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

/// The same numbers in another type, unless one of them is none of its. Floats are rounded to floats, but not to infinity.
fn converted(values: Elements, to: DType) -> Option<Elements> {
    let from = values.dtype();
    if from == to {
        return Some(values);
    }
    let numbers = values.to_f64();
    let fits = match to.range() {
        None if from.is_float() => {
            to == DType::F64 || numbers.iter().all(|&v| (v as f32).is_finite() || !v.is_finite())
        }
        // An integer that its float gives back is exact; of the f64 nearest to i64's largest that is not to be had.
        None => {
            let nearest = |v: i64| if to == DType::F32 { (v as f32).into() } else { v as f64 };
            values.to_i64()?.into_iter().all(|v| nearest(v) as i128 == i128::from(v))
        }
        Some((lo, hi)) => values.to_i64()?.into_iter().all(|v| (lo..=hi).contains(&v)),
    };
    fits.then(|| Elements::from_f64(to, &numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_those_of_another_type_only_where_they_are_some_of_its() {
        let ints = |v: i64, to| converted(Elements::I64(vec![v]), to);
        assert_eq!(ints(1 << 24, DType::F32), Some(Elements::F32(vec![16_777_216.0])));
        assert_eq!(ints((1 << 24) + 1, DType::F32), None);
        assert_eq!(ints((1 << 24) + 1, DType::F64), Some(Elements::F64(vec![16_777_217.0])));
        assert_eq!((ints(i64::MAX, DType::F64), ints(i64::MAX, DType::F32)), (None, None));
        assert_eq!(ints(i64::MIN, DType::F32), Some(Elements::F32(vec![-(2f32.powi(63))])));
        assert_eq!((ints(255, DType::U8), ints(256, DType::U8)), (Some(Elements::U8(vec![255])), None));
        let floats = |v: f64, to| converted(Elements::F64(vec![v]), to);
        assert_eq!(floats(0.1, DType::F32), Some(Elements::F32(vec![0.1])));
        assert_eq!(
            (floats(1e300, DType::F32), floats(f64::INFINITY, DType::F32)),
            (None, Some(Elements::F32(vec![f32::INFINITY])))
        );
        assert_eq!((floats(2f64.powi(63), DType::I64), floats(2f64.powi(31), DType::I32)), (None, None));
        assert_eq!(floats(-3.0, DType::I8), Some(Elements::I8(vec![-3])));
        assert_eq!((floats(0.5, DType::I32), floats(f64::NAN, DType::I32)), (None, None));
    }
}
