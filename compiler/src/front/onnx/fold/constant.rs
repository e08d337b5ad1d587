//! Tensors out of attributes and shapes, and the same elements in another type.

use kiln_rt::safetensors::Dtype;

use super::super::budget::Budget;
use super::super::call::Call;
use super::super::geometry::axis;
use super::super::narrow::Narrow;
use super::super::sparse;
use super::super::tensor::{Folder, Tensor, data_type, dtype, is_float};
use super::super::{Listed, Problem};
use super::Known;
use crate::front::onnx::builder::Value;
use crate::onnx_schema::Bytes;

/// Attributes lie in the file itself.
struct NoFolder;

impl Folder for NoFolder {
    fn open(&self, _: &str) -> Result<Bytes, String> {
        Err("attributes are not read from other files".to_owned())
    }
}

pub(super) fn constant(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let attributes = known.call.attributes();
    let float = |shape: Vec<usize>, values: &[f32]| {
        let values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
        Ok(Tensor::floats(Dtype::F32, shape, &values))
    };
    let integer = |shape: Vec<usize>, values: &[i64]| {
        Tensor::integers(Dtype::I64, shape, values).ok_or_else(|| Problem::new("its value does not fit"))
    };
    let value = if let Some(tensor) = attributes.tensor("value")? {
        Tensor::read(tensor.clone(), &NoFolder).map_err(|why| Problem::new(format!("its value cannot be used: {why}")))
    } else if let Some(tensor) = attributes.sparse_tensor("sparse_value")? {
        sparse::dense(tensor.clone(), &NoFolder, budget)
            .map_err(|why| Problem::new(format!("its value cannot be used: {why}")))
    } else if let Some(value) = attributes.float("value_float")? {
        float(vec![], &[value])
    } else if let Some(values) = attributes.floats("value_floats")? {
        float(vec![values.len()], values)
    } else if let Some(value) = attributes.int("value_int")? {
        integer(vec![], &[value])
    } else if let Some(values) = attributes.ints("value_ints")? {
        integer(vec![values.len()], values)
    } else {
        Err(Problem::new("it has no value of numbers"))
    };
    Ok(vec![value?])
}

/// `Shape` and `Size`, which look at a value's type alone.
pub(super) fn of_shape(call: &Call<'_>) -> Result<Tensor, Problem> {
    let shape = match call.required(0)? {
        Value::Node(_) => call.shape.clone().unwrap_or_default(),
        Value::Known(known) => known.tensor.shape.clone(),
    };
    let too_large = || Problem::new("its shape is too large");
    let extents: Option<Vec<i64>> = shape.iter().map(|&extent| i64::try_from(extent).ok()).collect();
    let extents = extents.ok_or_else(too_large)?;
    if call.operator() == "Size" {
        let size = extents.iter().try_fold(1i64, |size, &extent| size.checked_mul(extent)).ok_or_else(too_large)?;
        return Tensor::integers(Dtype::I64, vec![], &[size]).ok_or_else(too_large);
    }
    let rank = extents.len() as i64;
    let bound = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (bound(call.attributes().int_or("start", 0)?), bound(call.attributes().int_or("end", rank)?));
    let part = &extents[start..end.max(start)];
    Tensor::integers(Dtype::I64, vec![part.len()], part).ok_or_else(too_large)
}

pub(super) fn constant_of_shape(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let extents = known.integers(0)?;
    let shape: Option<Vec<usize>> = extents.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = shape.ok_or_else(|| Problem::new(format!("{} is no shape", Listed(&extents))))?;
    budget.take(&shape)?;
    let value = match known.call.attributes().tensor("value")? {
        Some(tensor) => Tensor::read(tensor.clone(), &NoFolder)?,
        None => Tensor::floats(Dtype::F32, vec![1], &[0.0]),
    };
    if value.len() != 1 {
        return Err(Problem::new(format!("its value has {} elements, not one", value.len())));
    }
    let count = shape.iter().product();
    Ok(vec![value.picked(shape, std::iter::repeat_n(0, count))])
}

pub(super) fn range(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let operands = [known.operand(0)?, known.operand(1)?, known.operand(2)?];
    let dtype = operands[0].dtype;
    let too_many = || Problem::new("its range has too many elements");
    if is_float(dtype) {
        let scalars = operands.map(Tensor::scalar);
        let [Some(start), Some(limit), Some(step)] = scalars else {
            return Err(Problem::new("it takes three numbers"));
        };
        let count = ((limit - start) / step).ceil().max(0.0);
        if !count.is_finite() || count > 1e9 {
            return Err(too_many());
        }
        budget.take(&[count as usize])?;
        let values: Vec<f64> = (0..count as usize).map(|i| start + i as f64 * step).collect();
        return Ok(vec![Tensor::floats(dtype, vec![values.len()], &values)]);
    }
    let [start, limit, step] = [known.integers(0)?, known.integers(1)?, known.integers(2)?];
    let ([start], [limit], [step]) = (&start[..], &limit[..], &step[..]) else {
        return Err(Problem::new("it takes three numbers"));
    };
    if *step == 0 {
        return Err(Problem::new("its step is 0"));
    }
    let [start, limit, step] = [*start, *limit, *step].map(i128::from);
    let room = if step > 0 { limit - start } else { start - limit };
    let count = room.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
    let count = usize::try_from(count).map_err(|_| too_many())?;
    budget.take(&[count])?;
    let values: Option<Vec<i64>> = (0..count as i128).map(|i| i64::try_from(start + i * step).ok()).collect();
    let tensor = values.and_then(|values| Tensor::integers(dtype, vec![values.len()], &values));
    Ok(vec![tensor.ok_or_else(too_many)?])
}

pub(super) fn identity(known: &Known<'_>, _: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    Ok(vec![known.operand(0)?.clone()])
}

pub(super) fn cast(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let to = known.call.attributes().int("to")?.ok_or_else(|| Problem::new("it does not say to what type"))?;
    let to = data_type(to).ok_or_else(|| Problem::new(format!("there is no type {to}")))?;
    let x = known.operand(0)?;
    match Narrow::of(to) {
        Some(narrow) => narrowed(known, x, narrow, budget),
        None => converted(x, dtype(to)?, budget),
    }
}

pub(super) fn cast_like(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let (x, like) = (known.operand(0)?, known.operand(1)?);
    match like.narrow {
        Some(narrow) => narrowed(known, x, narrow, budget),
        None => converted(x, like.dtype, budget),
    }
}

fn narrowed(known: &Known<'_>, x: &Tensor, narrow: Narrow, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let saturate = known.call.attributes().int_or("saturate", 1)? != 0;
    budget.take(&x.shape)?;
    let numbers: Vec<f64> = match x.to_integers() {
        Some(integers) => integers.into_iter().map(|integer| narrow.cut(integer, saturate)).collect(),
        None => x.to_floats().into_iter().map(|number| narrow.nearest(number, saturate)).collect(),
    };
    Ok(vec![Tensor::narrowed(narrow, x.shape.clone(), &numbers)])
}

/// Numbers lose their fraction on the way to integers, and integers the bits that do not fit; halves are kept as f32.
fn converted(x: &Tensor, to: Dtype, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let does_not_fit = || Problem::new(format!("an element does not fit the type {}", to.name()));
    if x.dtype == to {
        return Ok(vec![x.without_narrow()]);
    }
    budget.take(&x.shape)?;
    if to.size() > x.dtype.size().max(4) {
        budget.take(&x.shape)?;
    }
    let converted = match (x.to_integers(), is_float(to)) {
        (Some(integers), false) => Tensor::wrapped(to, x.shape.clone(), &integers).ok_or_else(does_not_fit)?,
        (_, true) => Tensor::floats(to, x.shape.clone(), &x.to_floats()),
        (None, false) => {
            let integers: Option<Vec<i64>> = x
                .to_floats()
                .into_iter()
                .map(|v| match to {
                    Dtype::Bool => Some(i64::from(v != 0.0)),
                    _ => (v.abs() < 9.2e18).then_some(v as i64),
                })
                .collect();
            let integers = integers.and_then(|integers| Tensor::integers(to, x.shape.clone(), &integers));
            integers.ok_or_else(does_not_fit)?
        }
    };
    Ok(vec![converted])
}

/// An axis attribute of an operand.
pub(super) fn axis_of(known: &Known<'_>, rank: usize, default: Option<i64>) -> Result<usize, Problem> {
    let at = known.call.attributes().int("axis")?.or(default);
    axis(at.ok_or_else(|| Problem::new("it does not say which axis"))?, rank)
}
