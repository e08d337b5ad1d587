//! Functions of the lanes of values.

use super::Elem;

/// A function of one value, lane by lane. Those that are not exact are within 4 ULP of the true value, and have the same
/// bits on all targets with FMA, and on all without: kiln-rt's `simd/functions.rs` has methods and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-v`
    Neg,
    /// `|v|`
    Abs,
    /// `e^v`
    Exp,
    /// `ln v`
    Log,
    /// The square root, correctly rounded.
    Sqrt,
    /// `tanh v`
    Tanh,
    /// `erf v`
    Erf,
    /// `1 / (1 + e^-v)`
    Sigmoid,
    /// `v / (1 + e^-v)`
    Silu,
    /// `v` where positive, else `e^v - 1`
    Elu,
    /// `ln(1 + e^v)`
    Softplus,
    /// `v tanh(ln(1 + e^v))`
    Mish,
    /// `v (1 + erf(v / √2)) / 2`
    Gelu,
    /// `v (1 + tanh(√(2/π) (v + 0.044715 v³))) / 2`
    GeluTanh,
    /// To i32, ties to even.
    ToI32,
    /// To f32.
    ToF32,
}

/// A function of two values, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`, of f32s
    Div,
    /// `if a < b { a } else { b }`: b where either is NaN, so the constant comes first.
    Min,
    /// `if a > b { a } else { b }`: b where either is NaN, so the constant comes first.
    Max,
    /// The lesser; NaN if either is.
    MinNan,
    /// The larger; NaN if either is.
    MaxNan,
}

impl Unary {
    /// All of them.
    pub const ALL: [Unary; 16] = [
        Unary::Neg,
        Unary::Abs,
        Unary::Exp,
        Unary::Log,
        Unary::Sqrt,
        Unary::Tanh,
        Unary::Erf,
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Elu,
        Unary::Softplus,
        Unary::Mish,
        Unary::Gelu,
        Unary::GeluTanh,
        Unary::ToI32,
        Unary::ToF32,
    ];

    /// Its name in the text of kernels, and that of the method of kiln-rt's vectors.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Neg => "neg",
            Unary::Abs => "abs",
            Unary::Exp => "exp",
            Unary::Log => "log",
            Unary::Sqrt => "sqrt",
            Unary::Tanh => "tanh",
            Unary::Erf => "erf",
            Unary::Sigmoid => "sigmoid",
            Unary::Silu => "silu",
            Unary::Elu => "elu",
            Unary::Softplus => "softplus",
            Unary::Mish => "mish",
            Unary::Gelu => "gelu",
            Unary::GeluTanh => "gelu_tanh",
            Unary::ToI32 => "to_i32",
            Unary::ToF32 => "to_f32",
        }
    }

    /// The elements of its argument and of its result.
    pub fn signature(self) -> (Elem, Elem) {
        match self {
            Unary::ToI32 => (Elem::F32, Elem::I32),
            Unary::ToF32 => (Elem::I32, Elem::F32),
            Unary::Neg
            | Unary::Abs
            | Unary::Exp
            | Unary::Log
            | Unary::Sqrt
            | Unary::Tanh
            | Unary::Erf
            | Unary::Sigmoid
            | Unary::Silu
            | Unary::Elu
            | Unary::Softplus
            | Unary::Mish
            | Unary::Gelu
            | Unary::GeluTanh => (Elem::F32, Elem::F32),
        }
    }
}

impl Binary {
    /// All of them.
    pub const ALL: [Binary; 8] =
        [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Min, Binary::Max, Binary::MinNan, Binary::MaxNan];

    /// Its name in the text of kernels, and that of the method of kiln-rt's vectors.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Min => "min",
            Binary::Max => "max",
            Binary::MinNan => "min_nan",
            Binary::MaxNan => "max_nan",
        }
    }
}
