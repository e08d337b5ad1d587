//! Operators that look at one element at a time.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use super::super::{Activation, Binary, Stage};
use super::weights::Weight;
use super::{Element, Tensor, pieces};

/// Elements of a piece that has no shape.
const PIECE: usize = 1 << 14;

/// The stages of a fused node in order, each taking the operand and the weights it needs.
pub(super) fn chain(
    stages: &[Stage],
    mut x: Tensor<f64>,
    operands: &mut impl Iterator<Item = Tensor<f64>>,
    weights: &mut &[Weight<'_>],
) -> Tensor<f64> {
    for stage in stages {
        match stage {
            Stage::Affine => {
                let [scale, shift, rest @ ..] = *weights else { unreachable!("inference counts the weights") };
                *weights = rest;
                let [scale, shift] = [scale, shift].map(|weight| weight.values(0..x.shape[1]));
                by_channel(&mut x, |c, v| v * scale[c] + shift[c]);
            }
            Stage::Activate(activation) => each(&mut x, |v| activate(*activation, v)),
            Stage::Add => {
                let Some(other) = operands.next() else { unreachable!("inference counts the operands") };
                x = binary(Binary::Add, &x, &other);
            }
            Stage::Scale => {
                let Some(mut by) = operands.next() else { unreachable!("inference counts the operands") };
                by.shape.truncate(x.shape.len());
                x = binary(Binary::Mul, &x, &by);
            }
        }
    }
    x
}

/// Replaces each element by a function of it.
pub(super) fn each<E: Element>(x: &mut Tensor<E>, f: impl Fn(f64) -> f64 + Sync) {
    pieces::each_piece(&mut x.data, PIECE, |_, values| values.iter_mut().for_each(|v| *v = E::round(f((*v).into()))));
}

/// Replaces each element by a function of its channel (axis 1) and itself.
pub(super) fn by_channel<E: Element>(x: &mut Tensor<E>, f: impl Fn(usize, f64) -> f64 + Sync) {
    let [_, channels, inner] = x.around(1);
    pieces::each_piece(&mut x.data, inner, |plane, values| {
        values.iter_mut().for_each(|v| *v = E::round(f(plane % channels, (*v).into())));
    });
}

/// The formulas of [`Activation`]. Comparisons are written so that NaN falls through as itself.
pub(super) fn activate(activation: Activation, x: f64) -> f64 {
    let clip = |x: f64, lo: f64, hi: f64| {
        let x = if x < lo { lo } else { x };
        if x > hi { hi } else { x }
    };
    match activation {
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::Clip { lo, hi } => clip(x, f64::from(lo.get()), f64::from(hi.get())),
        Activation::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope.get()) * x
            }
        }
        Activation::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha.get()) * x.exp_m1()
            }
        }
        Activation::Abs => x.abs(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::HardSigmoid => clip(x / 6.0 + 0.5, 0.0, 1.0),
        Activation::Tanh => x.tanh(),
        // -inf times 0 would be no number.
        Activation::Silu | Activation::Gelu | Activation::GeluTanh | Activation::Mish if x == f64::NEG_INFINITY => 0.0,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::HardSwish => x * clip(x + 3.0, 0.0, 6.0) / 6.0,
        Activation::Gelu => x * erfc(-x * FRAC_1_SQRT_2) / 2.0,
        // (1 + tanh(s / 2)) / 2 is 1 / (1 + e^-s), which loses nothing where it is small.
        Activation::GeluTanh => x / (1.0 + (-2.0 * (2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3))).exp()),
        Activation::Exp => x.exp(),
        Activation::Log => x.ln(),
        Activation::Sqrt => x.sqrt(),
        // Where erfc is near 1 the difference would lose what erf has.
        Activation::Erf if x.abs() < 2.5 => erf_near_zero(x),
        Activation::Erf => 1.0 - erfc(x),
        // max(x, 0) + ln(1 + e^-|x|), which does not overflow; a NaN falls through.
        Activation::Softplus => softplus(x),
        Activation::Mish => x * softplus(x).tanh(),
        Activation::Quantize { scale, zero, lo, hi } => {
            let [zero, lo, hi] = [zero, lo, hi].map(|v| f64::from(v.get()));
            // The quotient is rounded to f32 first, as it is in ONNX Runtime, so that ties are ties.
            let quotient = (x / f64::from(scale.get())) as f32;
            clip(f64::from(quotient.round_ties_even()) + zero, lo, hi)
        }
    }
}

/// `ln(1 + e^x)`
fn softplus(x: f64) -> f64 {
    (-x.abs()).exp().ln_1p() + if x < 0.0 { 0.0 } else { x }
}

/// `erf(x)` of small x, by a series all of whose terms have one sign (Abramowitz and Stegun 1964, formula 7.1.6).
fn erf_near_zero(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..=60 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// `1 - erf(x)`, where small not by subtraction.
pub(super) fn erfc(x: f64) -> f64 {
    // Abramowitz and Stegun 1964, formula 7.1.14.
    const BOUND: f64 = 2.5;
    let tail = |x: f64| {
        let fraction = (1..=100).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
        (-x * x).exp() / PI.sqrt() / fraction
    };
    if x > BOUND {
        tail(x)
    } else if x < -BOUND {
        2.0 - tail(-x)
    } else {
        1.0 - erf_near_zero(x)
    }
}

/// Two operands broadcast to one shape, element by element.
pub(super) fn binary<E: Element>(binary: Binary, a: &Tensor<E>, b: &Tensor<E>) -> Tensor<E> {
    let rank = a.shape.len().max(b.shape.len());
    let aligned = |x: &Tensor<E>| [vec![1; rank - x.shape.len()], x.shape.clone()].concat();
    let (of_a, of_b) = (aligned(a), aligned(b));
    let shape: Vec<usize> = of_a.iter().zip(&of_b).map(|(&x, &y)| if x == 1 { y } else { x }).collect();
    // An axis along which an operand is one number has its neighbours at no distance.
    let spread = |own: &[usize]| -> Vec<usize> {
        strides(own).into_iter().zip(own).map(|(stride, &extent)| if extent == 1 { 0 } else { stride }).collect()
    };
    let (to_a, to_b, to_result) = (spread(&of_a), spread(&of_b), strides(&shape));
    let mut data = vec![E::round(0.0); shape.iter().product()];
    let row = shape.last().copied().unwrap_or(1);
    pieces::each_piece(&mut data, row, |index, row_of_result| {
        let start = |strides: &[usize]| -> usize {
            let axes = shape.iter().zip(&to_result).zip(strides);
            axes.map(|((extent, place), stride)| index * row / place % extent * stride).sum()
        };
        let along = |strides: &[usize]| strides.last().copied().unwrap_or(0);
        let (from_a, from_b, step_a, step_b) = (start(&to_a), start(&to_b), along(&to_a), along(&to_b));
        for (i, to) in row_of_result.iter_mut().enumerate() {
            let (x, y): (f64, f64) = (a.data[from_a + i * step_a].into(), b.data[from_b + i * step_b].into());
            *to = E::round(match binary {
                Binary::Add => x + y,
                Binary::Sub => x - y,
                Binary::Mul => x * y,
                Binary::Div => x / y,
                Binary::Min if x.is_nan() || x < y => x,
                Binary::Max if x.is_nan() || x > y => x,
                Binary::Min | Binary::Max => y,
                Binary::Pow => x.powf(y),
            });
        }
    });
    Tensor { shape, data }
}

/// Distance between neighbours along each axis of a row-major value.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The value of this shape whose element at an index is `data[sum of index * stride]`.
pub(super) fn strided<E: Copy>(data: &[E], shape: Vec<usize>, strides: &[usize]) -> Tensor<E> {
    let mut out = Vec::with_capacity(shape.iter().product());
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..shape.iter().product() {
        out.push(data[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    Tensor { shape, data: out }
}
