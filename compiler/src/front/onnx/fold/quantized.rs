//! Weights that a file stores as integers, and those that it would have rounded to integers.

use kiln_rt::safetensors::Dtype;

use super::super::Problem;
use super::super::budget::Budget;
use super::super::geometry;
use super::super::geometry::axis;
use super::super::narrow::Narrow;
use super::super::tensor::{Tensor, data_type, dtype};
use super::Known;

/// The scales and zero points of a call by element of its first operand: numbers, and for each element their place.
struct Scales {
    scales: Vec<f64>,
    zeros: Option<Vec<f64>>,
    places: Vec<usize>,
}

impl Scales {
    fn of(known: &Known<'_>) -> Result<Self, Problem> {
        let block = known.call.attributes().int_or("block_size", 0)?;
        let (shape, scale) = (&known.operand(0)?.shape, known.operand(1)?);
        let zeros = known.operands.get(2).copied().flatten();
        let mut aligned = vec![1; shape.len()];
        if zeros.is_some_and(|zeros| zeros.len() != scale.len()) {
            return Err(Problem::new("it has as many zero points as scales"));
        }
        let wrong = || Problem::new(format!("it has scales of shape {:?} for {shape:?}", scale.shape));
        if scale.len() != 1 {
            let at = axis(known.call.attributes().int_or("axis", 1)?, shape.len())?;
            if block != 0 {
                // A scale for each run of elements along the axis.
                let block = usize::try_from(block).map_err(|_| wrong())?;
                let runs = shape.iter().enumerate().map(|(i, &n)| if i == at { n.div_ceil(block) } else { n });
                if !runs.eq(scale.shape.iter().copied()) {
                    return Err(wrong());
                }
                let (strides, own) = (geometry::strides(shape), geometry::strides(&scale.shape));
                let place = |element: usize| {
                    let index = |i: usize| element / strides[i] % shape[i];
                    (0..shape.len()).map(|i| own[i] * if i == at { index(i) / block } else { index(i) }).sum()
                };
                let places = (0..known.operand(0)?.len()).map(place).collect();
                return Ok(Scales { scales: scale.to_floats(), zeros: zeros.map(Tensor::to_floats), places });
            }
            aligned[at] = scale.len();
            if scale.len() != shape[at] {
                return Err(wrong());
            }
        }
        let places = geometry::places(shape, 0, &geometry::broadcast_strides(&aligned, shape)).collect();
        Ok(Scales { scales: scale.to_floats(), zeros: zeros.map(Tensor::to_floats), places })
    }

    fn at(&self, element: usize) -> (f32, f64) {
        let place = self.places[element];
        (self.scales[place] as f32, self.zeros.as_ref().map_or(0.0, |zeros| zeros[place]))
    }
}

/// `(x - zero) * scale`
pub(super) fn dequantize(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    budget.take(&x.shape)?;
    let scales = Scales::of(known)?;
    let of = |(i, v): (usize, f64)| {
        let (scale, zero) = scales.at(i);
        f64::from((v - zero) as f32 * scale)
    };
    let values: Vec<f64> = x.to_floats().into_iter().enumerate().map(of).collect();
    Ok(vec![Tensor::floats(Dtype::F32, x.shape.clone(), &values)])
}

/// `round(x / scale) + zero`, within the type of the zero point.
pub(super) fn quantize(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    budget.take(&x.shape)?;
    let named = known.call.attributes().int_or("output_dtype", 0)?;
    let (narrow, to) = match known.operands.get(2).copied().flatten() {
        Some(zero) => (zero.narrow, zero.dtype),
        None if named != 0 => {
            let named = data_type(named).unwrap_or_default();
            let narrow = Narrow::of(named);
            (narrow, narrow.map_or_else(|| dtype(named), |narrow| Ok(narrow.holder()))?)
        }
        None => (None, Dtype::U8),
    };
    let (lo, hi) = match (narrow, to) {
        (Some(narrow), _) => {
            narrow.range().ok_or_else(|| Problem::new("kiln quantizes to integers, not to floats of eight bits"))?
        }
        (None, Dtype::U8) => (0.0, 255.0),
        (None, Dtype::I8) => (-128.0, 127.0),
        (None, Dtype::U16) => (0.0, 65535.0),
        (None, Dtype::I16) => (-32768.0, 32767.0),
        (None, other) => return Err(Problem::new(format!("kiln quantizes to bytes, not to {}", other.name()))),
    };
    let scales = Scales::of(known)?;
    let of = |(i, v): (usize, f64)| {
        let (scale, zero) = scales.at(i);
        (f64::from((v as f32 / scale).round_ties_even()) + zero).clamp(lo, hi)
    };
    let values: Vec<f64> = x.to_floats().into_iter().enumerate().map(of).collect();
    if let Some(narrow) = narrow {
        return Ok(vec![Tensor::narrowed(narrow, x.shape.clone(), &values)]);
    }
    let integers: Vec<i64> = values.into_iter().map(|v| v as i64).collect();
    let tensor = Tensor::integers(to, x.shape.clone(), &integers);
    Ok(vec![tensor.ok_or_else(|| Problem::new("a number does not fit"))?])
}
