//! Programs written by hand in the text form: what lowering does not make yet. Their tests hold the form, the verifier
//! and the interpreter to kernels that are more than one loop nest.

/// Expand, depthwise, project and add in one kernel, through a ring of three rows in scratch.
pub const INVERTED_RESIDUAL_RING: &str = include_str!("inverted_residual_ring.kir");

/// A 3×3 convolution by Winograd's F(2×2, 3×3).
pub const WINOGRAD_F2X2: &str = include_str!("winograd_f2x2.kir");

/// A 1×1 convolution of channels that lie anywhere.
pub const SCATTERED_POINTWISE: &str = include_str!("scattered_pointwise.kir");

#[cfg(test)]
mod tests;
