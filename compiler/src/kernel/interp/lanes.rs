//! Arithmetic on sixteen lanes, with the bits of kiln-rt's SIMD types.

use std::array::from_fn;

use crate::kernel::{Binary, LANES, Unary};

/// Sixteen lanes of one type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Lanes {
    F32([f32; LANES]),
    I32([i32; LANES]),
}

/// `a * b + c`, rounded once or twice.
pub(super) fn fma(fused: bool, a: &[f32; LANES], b: &[f32; LANES], c: &[f32; LANES]) -> [f32; LANES] {
    if fused { from_fn(|i| a[i].mul_add(b[i], c[i])) } else { from_fn(|i| a[i] * b[i] + c[i]) }
}

/// The larger; NaN if either is.
pub(super) fn max_nan(a: &[f32; LANES], b: &[f32; LANES]) -> [f32; LANES] {
    from_fn(|i| if a[i] > b[i] || a[i].is_nan() { a[i] } else { b[i] })
}

/// A function of one value; None if it is not defined for the type.
pub(super) fn unary(fused: bool, function: Unary, value: Lanes) -> Option<Lanes> {
    Some(match (function, value) {
        (Unary::Neg, Lanes::F32(v)) => Lanes::F32(v.map(|v| -v)),
        (Unary::Exp, Lanes::F32(v)) => Lanes::F32(v.map(|v| exp(v, fused))),
        (Unary::Recip, Lanes::F32(v)) => Lanes::F32(v.map(|v| 1.0 / v)),
        (Unary::ToI32, Lanes::F32(v)) => Lanes::I32(v.map(to_i32)),
        (Unary::ToF32, Lanes::I32(v)) => Lanes::F32(v.map(|v| v as f32)),
        (Unary::Neg | Unary::Exp | Unary::Recip | Unary::ToI32, Lanes::I32(_)) | (Unary::ToF32, Lanes::F32(_)) => {
            return None;
        }
    })
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
        }),
        (Lanes::I32(a), Lanes::I32(b)) => Lanes::I32(match function {
            Binary::Add => from_fn(|i| a[i].wrapping_add(b[i])),
            Binary::Mul => from_fn(|i| a[i].wrapping_mul(b[i])),
            Binary::Sub | Binary::Div | Binary::Min | Binary::Max => return None,
        }),
        (Lanes::F32(_), Lanes::I32(_)) | (Lanes::I32(_), Lanes::F32(_)) => return None,
    })
}

/// To nearest, ties to even; `i32::MIN` for a NaN and for what an `i32` cannot hold.
fn to_i32(x: f32) -> i32 {
    if (-2_147_483_648.0..2_147_483_648.0).contains(&x) { x.round_ties_even() as i32 } else { i32::MIN }
}

/// `e^x` with the method and the constants of `kiln_rt::simd`, where they are explained.
fn exp(x: f32, fused: bool) -> f32 {
    let mul_add = |a: f32, b: f32, c: f32| if fused { a.mul_add(b, c) } else { a * b + c };
    let x = if -104.5 > x { -104.5 } else { x };
    let x = if 89.0 < x { 89.0 } else { x };
    let k = to_i32(x * std::f32::consts::LOG2_E);
    let n = k as f32;
    let r = mul_add(n, 2.121_944_4e-4, mul_add(n, -355.0 / 512.0, x));
    let q = [0.001_393_368_8, 0.008_333_298, 0.041_666_463, 0.166_666_67, 0.5];
    let q = q.into_iter().fold(0.000_198_993_34, |q, c| mul_add(q, r, c));
    let p = mul_add(q, r * r, r) + 1.0;
    let power_of_two = |k: i32| f32::from_bits((k.wrapping_add(127) << 23) as u32);
    let low = k >> 1;
    p * power_of_two(low) * power_of_two(k.wrapping_sub(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp_and_keeps_nan() {
        for fused in [false, true] {
            for i in -2000..1700 {
                let x = i as f32 * 0.051_7;
                let (got, want) = (exp(x, fused), f64::from(x).exp());
                let ulp = f64::from(f32::from_bits((want as f32).to_bits() + 1)) - f64::from(want as f32);
                assert!((f64::from(got) - want).abs() <= 2.0 * ulp, "{x} {fused}: {got} for {want}");
            }
            assert!(exp(f32::NAN, fused).is_nan());
            assert_eq!(exp(f32::INFINITY, fused), f32::INFINITY);
            assert_eq!(exp(f32::NEG_INFINITY, fused), 0.0);
        }
    }

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
