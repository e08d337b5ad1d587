//! The true values of the functions in `activations.net`, to some 1e-15 of themselves, and how far a number is from them.
//! Of the functions by name that are no sums, libm's are used, which are a translation of musl's.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The name of an output, and what it is of x.
pub(crate) type Function = (&'static str, fn(f64) -> f64);

/// The outputs of the network.
pub(crate) const FUNCTIONS: [Function; 21] = [
    ("relu", |x| x.max(0.0)),
    ("relu6", |x| x.clamp(0.0, 6.0)),
    ("leaky_relu", |x| if x > 0.0 { x } else { f64::from(0.1_f32) * x }),
    ("abs", f64::abs),
    ("elu", |x| elu(x, 1.0)),
    ("elu_of_alpha", |x| elu(x, 1.5)),
    ("selu", |x| elu(x, f64::from(1.673_263_2_f32)) * f64::from(1.050_701_f32)),
    ("sigmoid", sigmoid),
    ("hard_sigmoid", hard_sigmoid),
    ("tanh", libm::tanh),
    ("silu", |x| x * sigmoid(x)),
    ("hard_swish", |x| x * hard_sigmoid(x)),
    ("gelu", |x| x * libm::erfc(-x * FRAC_1_SQRT_2) / 2.0),
    ("gelu_tanh", |x| x * sigmoid(2.0 * (2.0 / PI).sqrt() * (x + 0.044_715 * x * x * x))),
    ("mish", |x| x * libm::tanh(softplus(x))),
    ("exp", libm::exp),
    ("log", libm::log),
    ("sqrt", f64::sqrt),
    ("erf", libm::erf),
    ("softplus", softplus),
    ("softsign", |x| x / (1.0 + x.abs())),
];

fn elu(x: f64, alpha: f64) -> f64 {
    if x > 0.0 { x } else { alpha * libm::expm1(x) }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn hard_sigmoid(x: f64) -> f64 {
    ((x + 3.0) / 6.0).clamp(0.0, 1.0)
}

fn softplus(x: f64) -> f64 {
    libm::log1p(libm::exp(-x.abs())) + x.max(0.0)
}

/// How far a number is from the true value, in units in the last place of an `f32` of its size: the distance to the next,
/// of subnormal values 2^-149. Infinite where only one of them is no number.
pub(crate) fn ulps(found: f32, truth: f64) -> f64 {
    let nearest = truth as f32;
    if found.is_nan() || nearest.is_nan() {
        return if found.is_nan() && nearest.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if found.is_infinite() || nearest.is_infinite() {
        let order = |x: f32| f64::from(x.abs().to_bits()).copysign(f64::from(x));
        return (order(found) - order(nearest)).abs();
    }
    let exponent = (truth.to_bits() >> 52 & 0x7FF) as i32 - 1023;
    (f64::from(found) - truth).abs() / f64::exp2(f64::from(exponent.max(-126) - 23))
}
