//! Arithmetic on sixteen lanes, with the bits of kiln-rt's SIMD types.

use std::array::from_fn;

use kiln_rt::simd::portable::{self, Lane, MulAdd, Unfused};

use crate::kernel::{Binary, LANES, Unary};

/// Sixteen lanes of one type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Lanes {
    F32([f32; LANES]),
    I32([i32; LANES]),
}

/// The accumulator after an update by one value, or by the product of two; None if the types do not fit.
pub(super) fn updated(fused: bool, update: Updated, acc: Lanes) -> Option<Lanes> {
    Some(match (update, acc) {
        (Updated::Fma(Lanes::F32(a), Lanes::F32(b)), Lanes::F32(acc)) => Lanes::F32(fma(fused, &a, &b, &acc)),
        (Updated::Fma(a @ Lanes::I32(_), b), acc) => binary(Binary::Add, binary(Binary::Mul, a, b)?, acc)?,
        (Updated::Add(value), acc) => binary(Binary::Add, acc, value)?,
        (Updated::Max(Lanes::F32(value)), Lanes::F32(acc)) => Lanes::F32(max_nan(&acc, &value)),
        (Updated::Max(value @ Lanes::I32(_)), acc) => binary(Binary::Max, acc, value)?,
        (Updated::Fma(Lanes::F32(_), _) | Updated::Max(Lanes::F32(_)), _) => return None,
    })
}

/// An update whose values are known.
pub(super) enum Updated {
    Fma(Lanes, Lanes),
    Add(Lanes),
    Max(Lanes),
}

/// `a * b + c`, rounded once or twice.
pub(super) fn fma(fused: bool, a: &[f32; LANES], b: &[f32; LANES], c: &[f32; LANES]) -> [f32; LANES] {
    if fused { from_fn(|i| a[i].mul_add(b[i], c[i])) } else { from_fn(|i| a[i] * b[i] + c[i]) }
}

/// The larger; NaN if either is.
fn max_nan(a: &[f32; LANES], b: &[f32; LANES]) -> [f32; LANES] {
    from_fn(|i| if a[i] > b[i] || a[i].is_nan() { a[i] } else { b[i] })
}

/// A function of one value; None if it is not defined for the type.
pub(super) fn unary(fused: bool, function: Unary, value: Lanes) -> Option<Lanes> {
    Some(match value {
        Lanes::F32(v) if function == Unary::ToI32 => Lanes::I32(v.map(portable::to_i32)),
        Lanes::I32(v) if function == Unary::ToF32 => Lanes::F32(v.map(|v| v as f32)),
        Lanes::F32(v) if fused => Lanes::F32(each::<Fused>(function, v)?),
        Lanes::F32(v) => Lanes::F32(each::<Unfused>(function, v)?),
        Lanes::I32(_) => return None,
    })
}

/// Multiply-adds that round once.
#[derive(Clone, Copy)]
struct Fused;

impl MulAdd for Fused {
    const FUSED: bool = true;

    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// A function from floats to floats, lane by lane.
fn each<M: MulAdd>(function: Unary, v: [f32; LANES]) -> Option<[f32; LANES]> {
    let of: fn(Lane<M>) -> Lane<M> = match function {
        Unary::Neg => return Some(v.map(|v| -v)),
        Unary::Abs => return Some(v.map(f32::abs)),
        Unary::Sqrt => return Some(v.map(f32::sqrt)),
        Unary::Exp => Lane::exp,
        Unary::Log => Lane::log,
        Unary::Tanh => Lane::tanh,
        Unary::Erf => Lane::erf,
        Unary::Sigmoid => Lane::sigmoid,
        Unary::Silu => Lane::silu,
        Unary::Elu => Lane::elu,
        Unary::Softplus => Lane::softplus,
        Unary::Mish => Lane::mish,
        Unary::Gelu => Lane::gelu,
        Unary::GeluTanh => Lane::gelu_tanh,
        Unary::ToI32 | Unary::ToF32 => return None,
    };
    Some(v.map(|v| of(Lane::splat(v)).get()))
}

/// A function of two values; None if it is not defined for the types. Integers wrap.
pub(super) fn binary(function: Binary, a: Lanes, b: Lanes) -> Option<Lanes> {
    Some(match (a, b) {
        (Lanes::F32(a), Lanes::F32(b)) => Lanes::F32(match function {
            Binary::Add => from_fn(|i| a[i] + b[i]),
            Binary::Sub => from_fn(|i| a[i] - b[i]),
            Binary::Mul => from_fn(|i| a[i] * b[i]),
            Binary::Div => from_fn(|i| a[i] / b[i]),
            Binary::Min => from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] }),
            Binary::Max => from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] }),
            Binary::MinNan => from_fn(|i| if a[i] < b[i] || a[i].is_nan() { a[i] } else { b[i] }),
            Binary::MaxNan => max_nan(&a, &b),
        }),
        (Lanes::I32(a), Lanes::I32(b)) => Lanes::I32(match function {
            Binary::Add => from_fn(|i| a[i].wrapping_add(b[i])),
            Binary::Sub => from_fn(|i| a[i].wrapping_sub(b[i])),
            Binary::Mul => from_fn(|i| a[i].wrapping_mul(b[i])),
            Binary::Min => from_fn(|i| a[i].min(b[i])),
            Binary::Max => from_fn(|i| a[i].max(b[i])),
            Binary::Div | Binary::MinNan | Binary::MaxNan => return None,
        }),
        (Lanes::F32(_), Lanes::I32(_)) | (Lanes::I32(_), Lanes::F32(_)) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_give_the_second_for_nan() {
        let (nan, one) = (Lanes::F32([f32::NAN; LANES]), Lanes::F32([1.0; LANES]));
        assert_eq!(binary(Binary::Max, nan, one), Some(one));
        assert_eq!(binary(Binary::Min, nan, one), Some(one));
        assert!(max_nan(&[f32::NAN; LANES], &[1.0; LANES])[0].is_nan());
        assert!(max_nan(&[1.0; LANES], &[f32::NAN; LANES])[0].is_nan());
        assert_eq!(binary(Binary::Add, one, Lanes::I32([1; LANES])), None);
    }
}
