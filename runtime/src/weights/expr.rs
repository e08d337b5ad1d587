//! Weight expressions: what a compiler knows of weights while it knows no values.
//!
//! A list of expressions refers only backwards. It is built by a compiler's constructors, which normalize; here it is
//! data, that a program can hold as a constant.

use std::borrow::Cow;
use std::{error, fmt};

use super::super::fill::Kind;

/// An index of [`Expr::Gather`] that gives 0.
pub const HOLE: u32 = u32::MAX;

/// One operation. Shapes are row-major; floats are held as bits, so that equal means the same weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// A named tensor of the weights file, in its stored shape.
    Read {
        /// The name in the file.
        name: Cow<'static, str>,
        /// What it is to its layer.
        kind: Kind,
        /// Its shape in the file.
        shape: Cow<'static, [usize]>,
    },
    /// Literal values.
    Literal {
        /// The shape.
        shape: Cow<'static, [usize]>,
        /// The f32 bits of each element.
        bits: Cow<'static, [u32]>,
    },
    /// Every element the same.
    Splat {
        /// The shape.
        shape: Cow<'static, [usize]>,
        /// The f32 bits of the element.
        bits: u32,
    },
    /// Axes permuted: axis j of the result is axis `perm[j]` of `of`.
    Transpose {
        /// Always a [`Expr::Read`].
        of: ExprId,
        /// A permutation of the axes.
        perm: Cow<'static, [usize]>,
    },
    /// The same elements in another shape.
    Reshape {
        /// What is reshaped.
        of: ExprId,
        /// The new shape, of as many elements.
        shape: Cow<'static, [usize]>,
    },
    /// One after another along an axis.
    Concat {
        /// The parts, at least one, equal in all other extents.
        of: Cow<'static, [ExprId]>,
        /// The axis.
        axis: usize,
    },
    /// Element i along the axis is element `index[i]` of `of`, or 0 for a [`HOLE`].
    Gather {
        /// What is gathered from.
        of: ExprId,
        /// The axis.
        axis: usize,
        /// An index for each element of the result along the axis.
        index: Cow<'static, [u32]>,
    },
    /// `of` times a vector that is broadcast along an axis.
    Scale {
        /// What is scaled.
        of: ExprId,
        /// The axis.
        axis: usize,
        /// A vector as long as that axis.
        by: ExprId,
    },
    /// The sum of two tensors of one shape.
    Add {
        /// One.
        a: ExprId,
        /// The other.
        b: ExprId,
    },
    /// A constant multiple.
    Times {
        /// What is multiplied.
        of: ExprId,
        /// The f64 bits of the constant.
        bits: u64,
    },
    /// `1 / sqrt(of + eps)`.
    RsqrtEps {
        /// A variance.
        of: ExprId,
        /// The f64 bits of eps.
        eps: u64,
    },
    /// `out[o] = sum over i, kh, kw of of[o, i, kh, kw] · by[g I + i]`, where output o is in group `g = o / (O / groups)`:
    /// what a constant input of each channel adds to a convolution.
    Contract {
        /// A kernel of shape O, I, and any further extents.
        of: ExprId,
        /// A vector of `groups · I`.
        by: ExprId,
        /// How many groups; they divide O.
        groups: usize,
    },
}

/// A place in a list of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExprId(pub u32);

impl ExprId {
    /// The place as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ExprId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

impl Expr {
    /// The expressions that this one refers to, in order.
    pub fn operands(&self) -> Vec<ExprId> {
        match self {
            Self::Read { .. } | Self::Literal { .. } | Self::Splat { .. } => vec![],
            Self::Transpose { of, .. }
            | Self::Reshape { of, .. }
            | Self::Gather { of, .. }
            | Self::Times { of, .. }
            | Self::RsqrtEps { of, .. } => vec![*of],
            Self::Concat { of, .. } => of.to_vec(),
            Self::Scale { of, by, .. } | Self::Contract { of, by, .. } => vec![*of, *by],
            Self::Add { a, b } => vec![*a, *b],
        }
    }

    /// The shape, given the shapes of the operands.
    ///
    /// # Errors
    /// What about the operands or attributes does not fit.
    pub fn shape<'a>(&self, of: impl Fn(ExprId) -> &'a [usize]) -> Result<Vec<usize>, String> {
        let axis_of = |axis: usize, shape: &[usize]| {
            shape.get(axis).copied().ok_or_else(|| format!("axis {axis} of a tensor of shape {shape:?}"))
        };
        let elements = |shape: &[usize]| {
            let product = shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent));
            product.ok_or_else(|| format!("shape {shape:?} has more elements than memory"))
        };
        match self {
            Self::Read { shape, .. } | Self::Splat { shape, .. } => elements(shape).map(|_| shape.to_vec()),
            Self::Literal { shape, bits } if elements(shape)? == bits.len() => Ok(shape.to_vec()),
            Self::Literal { shape, bits } => Err(format!("{} literal values of shape {shape:?}", bits.len())),
            Self::Transpose { of: id, perm } => {
                let shape = of(*id);
                let mut axes = perm.to_vec();
                axes.sort_unstable();
                if !axes.iter().copied().eq(0..shape.len()) {
                    return Err(format!("{perm:?} does not permute the axes of shape {shape:?}"));
                }
                Ok(perm.iter().map(|&axis| shape[axis]).collect())
            }
            Self::Reshape { of: id, shape } if elements(of(*id))? == elements(shape)? => Ok(shape.to_vec()),
            Self::Reshape { of: id, shape } => Err(format!("shape {:?} reshaped to {shape:?}", of(*id))),
            Self::Concat { of: parts, axis } => {
                let (first, rest) = parts.split_first().ok_or("nothing concatenated")?;
                let mut shape = of(*first).to_vec();
                axis_of(*axis, &shape)?;
                for &part in rest {
                    let mut expected = shape.clone();
                    expected[*axis] = axis_of(*axis, of(part))?;
                    if of(part) != expected {
                        return Err(format!("shapes {shape:?} and {:?} concatenated along axis {axis}", of(part)));
                    }
                    shape[*axis] += expected[*axis];
                }
                elements(&shape).map(|_| shape)
            }
            Self::Gather { of: id, axis, index } => {
                let mut shape = of(*id).to_vec();
                let extent = axis_of(*axis, &shape)?;
                if let Some(wrong) = index.iter().find(|&&i| i != HOLE && i as usize >= extent) {
                    return Err(format!("index {wrong} along axis {axis} of shape {shape:?}"));
                }
                shape[*axis] = index.len();
                elements(&shape).map(|_| shape)
            }
            Self::Scale { of: id, axis, by } => {
                let shape = of(*id);
                if of(*by) != [axis_of(*axis, shape)?] {
                    return Err(format!("shape {shape:?} scaled along axis {axis} by shape {:?}", of(*by)));
                }
                Ok(shape.to_vec())
            }
            Self::Add { a, b } if of(*a) == of(*b) => Ok(of(*a).to_vec()),
            Self::Add { a, b } => Err(format!("shapes {:?} and {:?} added", of(*a), of(*b))),
            Self::Times { of: id, .. } | Self::RsqrtEps { of: id, .. } => Ok(of(*id).to_vec()),
            Self::Contract { of: id, by, groups } => {
                let shape = of(*id);
                let &[outputs, inputs, ..] = shape else { return Err(format!("shape {shape:?} contracted")) };
                let divides = *groups > 0 && outputs.is_multiple_of(*groups);
                if !divides || inputs.checked_mul(*groups).is_none_or(|inputs| of(*by) != [inputs]) {
                    return Err(format!("shape {shape:?} in {groups} groups contracted with shape {:?}", of(*by)));
                }
                Ok(vec![outputs])
            }
        }
    }
}

/// The shapes of all expressions of a list.
///
/// # Errors
/// The first that is malformed or refers forwards.
pub fn shapes(exprs: &[Expr]) -> Result<Vec<Vec<usize>>, ExprError> {
    let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(exprs.len());
    for (index, expr) in exprs.iter().enumerate() {
        let error = |message| ExprError { id: ExprId(index as u32), message };
        if let Some(forward) = expr.operands().into_iter().find(|operand| operand.index() >= index) {
            return Err(error(format!("refers forwards, to {forward}")));
        }
        if let Expr::Transpose { of, .. } = expr
            && !matches!(exprs[of.index()], Expr::Read { .. })
        {
            return Err(error("transposes what is not read".to_owned()));
        }
        let shape = expr.shape(|id| shapes[id.index()].as_slice()).map_err(error)?;
        shapes.push(shape);
    }
    Ok(shapes)
}

/// The shape of one expression of a list.
///
/// # Errors
/// As [`shapes`], of the expressions up to it; or it is not in the list.
pub fn shape(exprs: &[Expr], id: ExprId) -> Result<Vec<usize>, ExprError> {
    let upto = exprs.get(..=id.index()).ok_or(ExprError { id, message: "not in the list".to_owned() })?;
    // Up to it there is at least one expression.
    shapes(upto).map(|mut shapes| shapes.pop().unwrap_or_default())
}

/// What is wrong with an expression: a mistake of the compiler that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    /// Which expression.
    pub id: ExprId,
    /// What it does that it must not.
    pub message: String,
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weight expression {}: {}", self.id, self.message)
    }
}

impl error::Error for ExprError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(shape: &'static [usize]) -> Expr {
        Expr::Read { name: "w".into(), kind: Kind::Kernel, shape: shape.into() }
    }

    #[test]
    fn shapes_follow_from_operands() {
        let w0 = ExprId(0);
        let cases = [
            (Expr::Transpose { of: w0, perm: [3, 2, 0, 1].as_slice().into() }, Ok(vec![3, 5, 8, 4])),
            (Expr::Reshape { of: w0, shape: [32, 15].as_slice().into() }, Ok(vec![32, 15])),
            (
                Expr::Reshape { of: w0, shape: [32, 16].as_slice().into() },
                Err("shape [8, 4, 5, 3] reshaped to [32, 16]"),
            ),
            (Expr::Concat { of: vec![w0, w0, w0].into(), axis: 1 }, Ok(vec![8, 12, 5, 3])),
            (Expr::Gather { of: w0, axis: 1, index: [3, HOLE].as_slice().into() }, Ok(vec![8, 2, 5, 3])),
            (
                Expr::Gather { of: w0, axis: 1, index: [4].as_slice().into() },
                Err("index 4 along axis 1 of shape [8, 4, 5, 3]"),
            ),
            (Expr::Scale { of: w0, axis: 0, by: ExprId(1) }, Ok(vec![8, 4, 5, 3])),
            (
                Expr::Scale { of: w0, axis: 1, by: ExprId(1) },
                Err("shape [8, 4, 5, 3] scaled along axis 1 by shape [8]"),
            ),
            (Expr::Contract { of: w0, by: ExprId(1), groups: 2 }, Ok(vec![8])),
            (
                Expr::Contract { of: w0, by: ExprId(1), groups: 3 },
                Err("shape [8, 4, 5, 3] in 3 groups contracted with shape [8]"),
            ),
            (Expr::Add { a: w0, b: ExprId(1) }, Err("shapes [8, 4, 5, 3] and [8] added")),
            (Expr::Times { of: ExprId(2), bits: 0 }, Err("refers forwards, to w2")),
        ];
        for (expr, expected) in cases {
            let exprs = [read(&[8, 4, 5, 3]), read(&[8]), expr];
            let found = shape(&exprs, ExprId(2)).map_err(|error| error.message);
            assert_eq!(found, expected.map_err(str::to_owned), "{:?}", exprs[2]);
        }
    }
}
