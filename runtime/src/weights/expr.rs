//! The weight expression.
use std::borrow::Cow;

use super::super::fill::Kind;

/// An expression of a list, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExprId(pub u32);

/// The index of [`Expr::Gather`] that gives zero.
pub const HOLE: u32 = u32::MAX;

/// A weight expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// A named tensor of the weights file, in its stored shape.
    Read { name: Cow<'static, str>, kind: Kind, shape: Cow<'static, [usize]> },
    /// Literal values (f32 bits), row-major.
    Literal { shape: Cow<'static, [usize]>, bits: Cow<'static, [u32]> },
    /// Every element the same.
    Splat { shape: Cow<'static, [usize]>, bits: u32 },
    /// Axes permuted; `of` is always a Read.
    Transpose { of: ExprId, perm: Cow<'static, [usize]> },
    /// Same elements, other shape.
    Reshape { of: ExprId, shape: Cow<'static, [usize]> },
    /// One after the other along an axis.
    Concat { of: Cow<'static, [ExprId]>, axis: usize },
    /// Element i along axis is element index[i]; HOLE gives 0.
    Gather { of: ExprId, axis: usize, index: Cow<'static, [u32]> },
    /// of * by, broadcast along axis.
    Scale { of: ExprId, axis: usize, by: ExprId },
    /// Elementwise, same shape.
    Add { a: ExprId, b: ExprId },
    /// Constant multiple.
    Times { of: ExprId, bits: u64 },
    /// 1 / sqrt(of + eps).
    RsqrtEps { of: ExprId, eps: u64 },
    /// out[o] = sum over i, kh, kw of of[o, i, kh, kw] * by[group(o) * I + i].
    Contract { of: ExprId, by: ExprId, groups: usize },
}
