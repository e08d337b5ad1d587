//! Arithmetic on known values, with broadcasting. Integers are exact, numbers are computed in f64.

use kiln_rt::safetensors::Dtype;

use super::super::Problem;
use super::super::budget::Budget;
use super::super::geometry;
use super::super::geometry::axis;
use super::super::tensor::{Tensor, elements};
use super::Known;

fn overflow() -> Problem {
    Problem::new("its result does not fit the type of its elements")
}

/// Operators of two operands, and `Min` and `Max` of any number.
pub(super) fn pair(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let operator = known.call.operator();
    let mut result = known.operand(0)?.clone();
    if operator == "Mod" && result.to_integers().is_some() && known.call.attributes().int_or("fmod", 0)? != 0 {
        return Err(Problem::new("kiln takes the remainder of integers by the sign of the divisor (`fmod`)"));
    }
    for i in 1..known.operands.len() {
        let other = known.operand(i)?;
        if other.dtype != result.dtype && (operator != "Pow" || other.is_float() != result.is_float()) {
            return Err(Problem::new(format!("{result:?} and {other:?} do not mix")));
        }
        result = combine(&operator, &result, other, budget)?;
    }
    Ok(vec![result])
}

fn combine(operator: &str, a: &Tensor, b: &Tensor, budget: &mut Budget) -> Result<Tensor, Problem> {
    let shape = geometry::broadcast(&[&a.shape, &b.shape])?;
    budget.take(&shape)?;
    let places = |of: &Tensor| geometry::places(&shape, 0, &geometry::broadcast_strides(&of.shape, &shape));
    let pairs = places(a).zip(places(b));
    let truth = |values: Vec<i64>| Tensor::integers(Dtype::Bool, shape.clone(), &values).ok_or_else(overflow);
    match (a.to_integers(), b.to_integers()) {
        (Some(x), Some(y)) => {
            let values: Option<Vec<i64>> = pairs.map(|(i, j)| integer(operator, x[i], y[j])).collect();
            let values = values.ok_or_else(overflow)?;
            match is_truth(operator) {
                true => truth(values),
                false => Tensor::integers(a.dtype, shape, &values).ok_or_else(overflow),
            }
        }
        _ => {
            let (x, y) = (a.to_floats(), b.to_floats());
            if is_truth(operator) {
                return truth(pairs.map(|(i, j)| i64::from(compare(operator, &x[i], &y[j]))).collect());
            }
            let values: Vec<f64> = pairs.map(|(i, j)| float(operator, x[i], y[j])).collect();
            Ok(Tensor::floats(a.dtype, shape, &values))
        }
    }
}

fn is_truth(operator: &str) -> bool {
    matches!(operator, "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or")
}

fn compare<T: PartialOrd>(operator: &str, a: &T, b: &T) -> bool {
    match operator {
        "Less" => a < b,
        "LessOrEqual" => a <= b,
        "Greater" => a > b,
        "GreaterOrEqual" => a >= b,
        _ => a == b,
    }
}

/// None where the result is no such integer: overflow, or a division by zero.
fn integer(operator: &str, a: i64, b: i64) -> Option<i64> {
    match operator {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Mod" => a.checked_rem_euclid(b).map(|r| if b < 0 && r != 0 { r + b } else { r }),
        "Pow" => a.checked_pow(u32::try_from(b).ok()?),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "And" => Some(i64::from(a != 0 && b != 0)),
        "Or" => Some(i64::from(a != 0 || b != 0)),
        _ => Some(i64::from(compare(operator, &a, &b))),
    }
}

fn float(operator: &str, a: f64, b: f64) -> f64 {
    match operator {
        "Add" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Mod" => a % b,
        "Pow" => a.powf(b),
        "Min" if a.is_nan() || a < b => a,
        "Max" if a.is_nan() || a > b => a,
        _ => b,
    }
}

pub(super) fn single(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let (x, operator) = (known.operand(0)?, known.call.operator());
    budget.take(&x.shape)?;
    if let Some(integers) = x.to_integers() {
        let values: Option<Vec<i64>> = integers
            .into_iter()
            .map(|v| match operator.as_str() {
                "Neg" => v.checked_neg(),
                "Abs" => v.checked_abs(),
                "Sign" => Some(v.signum()),
                "Not" => Some(i64::from(v == 0)),
                "Floor" | "Ceil" | "Round" => Some(v),
                _ => None,
            })
            .collect();
        let tensor = values.and_then(|values| Tensor::integers(x.dtype, x.shape.clone(), &values));
        return Ok(vec![tensor.ok_or_else(|| Problem::new(format!("it is not computed of {x:?}")))?]);
    }
    let of = |v: f64| match operator.as_str() {
        "Neg" => -v,
        "Abs" => v.abs(),
        "Sqrt" => v.sqrt(),
        "Exp" => v.exp(),
        "Log" => v.ln(),
        "Floor" => v.floor(),
        "Ceil" => v.ceil(),
        "Round" => v.round_ties_even(),
        "Reciprocal" => 1.0 / v,
        "Sign" if v == 0.0 || v.is_nan() => v,
        "Sign" => v.signum(),
        _ => f64::NAN,
    };
    if operator == "Not" {
        return Err(Problem::new(format!("it is not computed of {x:?}")));
    }
    let values: Vec<f64> = x.to_floats().into_iter().map(of).collect();
    Ok(vec![Tensor::floats(x.dtype, x.shape.clone(), &values)])
}

/// `Where`.
pub(super) fn choose(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let (condition, a, b) = (known.operand(0)?, known.operand(1)?, known.operand(2)?);
    if a.dtype != b.dtype {
        return Err(Problem::new(format!("{a:?} and {b:?} do not mix")));
    }
    let shape = geometry::broadcast(&[&condition.shape, &a.shape, &b.shape])?;
    budget.take(&shape)?;
    let places = |of: &Tensor| geometry::places(&shape, 0, &geometry::broadcast_strides(&of.shape, &shape));
    let chosen: Vec<bool> = known.integers(0)?.into_iter().map(|v| v != 0).collect();
    let from = places(condition).zip(places(a).zip(places(b)));
    let from = from.map(|(c, (i, j))| if chosen[c] { i } else { a.len() + j });
    let both = Tensor::joined(vec![a.len() + b.len()], 0, &[&a.reshaped(vec![a.len()]), &b.reshaped(vec![b.len()])]);
    Ok(vec![both.picked(shape.clone(), from)])
}

pub(super) fn reduce(known: &Known<'_>, budget: &mut Budget) -> Result<Vec<Tensor>, Problem> {
    let x = known.operand(0)?;
    let rank = x.shape.len();
    let axes = match known.call.integers("axes", 1)? {
        Some(axes) if !axes.is_empty() => axes,
        _ if known.call.attributes().int_or("noop_with_empty_axes", 0)? != 0 => Vec::new(),
        _ => (0..rank as i64).collect(),
    };
    let mut reduced = vec![false; rank];
    for at in axes {
        reduced[axis(at, rank)?] = true;
    }
    let keep = known.call.attributes().int_or("keepdims", 1)? != 0;
    let kept: Vec<usize> = x.shape.iter().zip(&reduced).map(|(&extent, &gone)| if gone { 1 } else { extent }).collect();
    budget.take(&x.shape)?;
    let own = geometry::strides(&kept);
    let strides: Vec<isize> =
        own.iter().zip(&reduced).map(|(&stride, &gone)| if gone { 0 } else { stride as isize }).collect();
    let to: Vec<usize> = geometry::places(&x.shape, 0, &strides).collect();
    let count = elements(&kept).unwrap_or(0);
    let operator = known.call.operator();
    let combine = match operator.as_str() {
        "ReduceProd" => "Mul",
        "ReduceMin" => "Min",
        "ReduceMax" => "Max",
        _ => "Add",
    };
    let shape: Vec<usize> = if keep {
        kept
    } else {
        kept.iter().zip(&reduced).filter(|(_, gone)| !**gone).map(|(&extent, _)| extent).collect()
    };
    let each = x.len().checked_div(count).unwrap_or(0);
    if operator == "ReduceMean" && each == 0 {
        return Err(Problem::new(format!("{x:?} has nothing to take the mean of")));
    }
    if let Some(integers) = x.to_integers() {
        // Of nothing, what changes nothing: the ends of the type for extremes.
        let ends = super::super::tensor::element_type(x.dtype).ok().and_then(crate::graph::DType::range);
        let (least, largest) = ends.unwrap_or((i64::MIN, i64::MAX));
        let nothing = match combine {
            "Mul" => 1,
            "Min" => largest,
            "Max" => least,
            _ => 0,
        };
        let mut result: Vec<Option<i64>> = vec![None; count];
        for (value, to) in integers.into_iter().zip(to) {
            let value = match operator.as_str() {
                "ReduceL1" => value.checked_abs(),
                "ReduceL2" | "ReduceSumSquare" => value.checked_mul(value),
                _ => Some(value),
            };
            let value = value.ok_or_else(overflow)?;
            result[to] = Some(match result[to] {
                Some(sum) => integer(combine, sum, value).ok_or_else(overflow)?,
                None => value,
            });
        }
        let finish = |sum: Option<i64>| match (operator.as_str(), sum) {
            ("ReduceMean", Some(sum)) => sum / each as i64,
            ("ReduceL2", Some(sum)) => (sum as f64).sqrt() as i64,
            (_, sum) => sum.unwrap_or(nothing),
        };
        let result: Vec<i64> = result.into_iter().map(finish).collect();
        return Ok(vec![Tensor::integers(x.dtype, shape, &result).ok_or_else(overflow)?]);
    }
    let nothing = match combine {
        "Mul" => 1.0,
        "Min" => f64::INFINITY,
        "Max" => f64::NEG_INFINITY,
        _ => 0.0,
    };
    let mut result: Vec<Option<f64>> = vec![None; count];
    for (value, to) in x.to_floats().into_iter().zip(to) {
        let value = match operator.as_str() {
            "ReduceL1" => value.abs(),
            "ReduceL2" | "ReduceSumSquare" => value * value,
            _ => value,
        };
        result[to] = Some(result[to].map_or(value, |sum| float(combine, sum, value)));
    }
    let finish = |sum: Option<f64>| match (operator.as_str(), sum) {
        ("ReduceMean", Some(sum)) => sum / each as f64,
        ("ReduceL2", Some(sum)) => sum.sqrt(),
        (_, sum) => sum.unwrap_or(nothing),
    };
    let result: Vec<f64> = result.into_iter().map(finish).collect();
    Ok(vec![Tensor::floats(x.dtype, shape, &result)])
}
