//! Operators that look at one element at a time.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use super::super::{Activation, Binary, Stage};
use super::Tensor;

/// The stages of a fused node in order, each taking the operand and the weights it needs.
pub(super) fn chain(
    stages: &[Stage],
    mut x: Tensor,
    operands: &mut impl Iterator<Item = Tensor>,
    weights: &mut &[Vec<f64>],
) -> Tensor {
    for stage in stages {
        match stage {
            Stage::Affine => {
                let [scale, shift, rest @ ..] = *weights else { unreachable!("inference counts the weights") };
                *weights = rest;
                by_channel(&mut x, |c, v| v * scale[c] + shift[c]);
            }
            Stage::Activate(activation) => x.data.iter_mut().for_each(|v| *v = activate(*activation, *v)),
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

/// Replaces each element by a function of its channel (axis 1) and itself.
pub(super) fn by_channel(x: &mut Tensor, f: impl Fn(usize, f64) -> f64) {
    let [_, channels, inner] = x.around(1);
    for (plane, values) in x.data.chunks_exact_mut(inner).enumerate() {
        values.iter_mut().for_each(|v| *v = f(plane % channels, *v));
    }
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
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::HardSigmoid => clip(x / 6.0 + 0.5, 0.0, 1.0),
        Activation::Tanh => x.tanh(),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::HardSwish => x * clip(x + 3.0, 0.0, 6.0) / 6.0,
        Activation::Gelu => x * erfc(-x * FRAC_1_SQRT_2) / 2.0,
        Activation::Exp => x.exp(),
    }
}

/// `1 - erf(x)`, where small not by subtraction.
pub(super) fn erfc(x: f64) -> f64 {
    // Abramowitz and Stegun 1964, formulas 7.1.6 (all of whose terms have one sign) and 7.1.14.
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
        let mut term = x;
        let mut sum = x;
        for n in 1..=60 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        1.0 - FRAC_2_SQRT_PI * (-x * x).exp() * sum
    }
}

/// Two operands broadcast to one shape, element by element.
pub(super) fn binary(binary: Binary, a: &Tensor, b: &Tensor) -> Tensor {
    let rank = a.shape.len().max(b.shape.len());
    let aligned = |x: &Tensor| [vec![1; rank - x.shape.len()], x.shape.clone()].concat();
    let (of_a, of_b) = (aligned(a), aligned(b));
    let shape: Vec<usize> = of_a.iter().zip(&of_b).map(|(&x, &y)| if x == 1 { y } else { x }).collect();
    let spread = |x: &Tensor, own: &[usize]| {
        let strides: Vec<usize> =
            strides(own).into_iter().zip(own).map(|(stride, &extent)| if extent == 1 { 0 } else { stride }).collect();
        strided(&x.data, shape.clone(), &strides)
    };
    let mut result = spread(a, &of_a);
    for (x, y) in result.data.iter_mut().zip(spread(b, &of_b).data) {
        *x = match binary {
            Binary::Add => *x + y,
            Binary::Sub => *x - y,
            Binary::Mul => *x * y,
            Binary::Div => *x / y,
        };
    }
    result
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
pub(super) fn strided(data: &[f64], shape: Vec<usize>, strides: &[usize]) -> Tensor {
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
