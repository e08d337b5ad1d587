//! The weight formula.

/// What a weight is, which says how the formula fills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Kernels of convolutions and linear layers.
    Kernel,
    /// Scales.
    Gamma,
    /// Variances.
    Var,
    /// Means.
    Mean,
    /// Biases and shifts.
    Bias,
}
