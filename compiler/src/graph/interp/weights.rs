//! Weight expressions, evaluated plainly: one expression after the other, whole tensors in f64, rounded once at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use kiln_rt::weights::{Source, SourceError, Stored};

use super::super::weights::{Expr, HOLE, Pool, WeightId};
use super::Tensor;
use super::pointwise::{strided, strides};

/// A weight of a node.
pub(super) enum Weight<'a> {
    /// A named tensor as it is, which may be as large as all others together: it stays where it lies.
    Stored(Stored<'a>),
    /// The value of an expression.
    Computed(Vec<f32>),
}

impl<'a> Weight<'a> {
    /// A weight of a node that is about to be computed.
    pub(super) fn new(pool: &Pool, id: WeightId, source: &'a dyn Source) -> Result<Self, SourceError> {
        Ok(match pool.expr(id) {
            Expr::Read { name, kind, shape } => Self::Stored(source.tensor(name, *kind, shape)?),
            _ => Self::Computed(evaluate(pool, id, source)?),
        })
    }

    /// The elements of a range, row-major.
    pub(super) fn values(&self, range: Range<usize>) -> Vec<f64> {
        match self {
            Self::Stored(stored) => {
                let mut values = Vec::with_capacity(range.len());
                stored.append(range, &mut values);
                values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
                values
            }
            Self::Computed(values) => values[range].iter().map(|&v| f64::from(v)).collect(),
        }
    }
}

/// The value of an expression.
///
/// # Errors
/// A named tensor is missing or has another shape.
pub fn evaluate(pool: &Pool, root: WeightId, source: &dyn Source) -> Result<Vec<f32>, SourceError> {
    let mut needed = BTreeSet::new();
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if needed.insert(id) {
            stack.extend(pool.expr(id).operands());
        }
    }
    // Expressions refer to earlier ones only, so ascending ids are an order of evaluation.
    let mut values: BTreeMap<WeightId, Tensor<f64>> = BTreeMap::new();
    for id in needed {
        let data = value(pool.expr(id), &values, source)?;
        debug_assert_eq!(data.len(), pool.shape(id).iter().product::<usize>());
        values.insert(id, Tensor { shape: pool.shape(id).to_vec(), data });
    }
    Ok(values[&root].data.iter().map(|&v| v as f32).collect())
}

fn value(expr: &Expr, values: &BTreeMap<WeightId, Tensor<f64>>, source: &dyn Source) -> Result<Vec<f64>, SourceError> {
    Ok(match expr {
        Expr::Read { name, kind, shape } => {
            let mut data = Vec::new();
            source.tensor(name, *kind, shape)?.append(0..shape.iter().product(), &mut data);
            data
        }
        Expr::Literal { bits, .. } => bits.iter().map(|&b| f64::from(f32::from_bits(b))).collect(),
        Expr::Splat { shape, bits } => vec![f64::from(f32::from_bits(*bits)); shape.iter().product()],
        Expr::Transpose { of, perm } => {
            let of = &values[of];
            let from = strides(&of.shape);
            let moved: Vec<usize> = perm.iter().map(|&p| from[p]).collect();
            strided(&of.data, perm.iter().map(|&p| of.shape[p]).collect(), &moved).data
        }
        Expr::Reshape { of, .. } => values[of].data.clone(),
        Expr::Concat { of, axis } => {
            let [outer, ..] = values[&of[0]].around(*axis);
            let mut data = Vec::new();
            for o in 0..outer {
                for part in of.iter().map(|part| &values[part]) {
                    let [_, extent, inner] = part.around(*axis);
                    data.extend_from_slice(&part.data[o * extent * inner..][..extent * inner]);
                }
            }
            data
        }
        Expr::Gather { of, axis, index } => {
            let of = &values[of];
            let [outer, extent, inner] = of.around(*axis);
            let mut data = Vec::with_capacity(outer * index.len() * inner);
            for o in 0..outer {
                for &i in index.iter() {
                    if i == HOLE {
                        data.resize(data.len() + inner, 0.0);
                    } else {
                        data.extend_from_slice(&of.data[(o * extent + i as usize) * inner..][..inner]);
                    }
                }
            }
            data
        }
        Expr::Scale { of, axis, by } => {
            let (of, by) = (&values[of], &values[by].data);
            let [_, extent, inner] = of.around(*axis);
            of.data.iter().enumerate().map(|(i, v)| v * by[i / inner % extent]).collect()
        }
        Expr::Add { a, b } => values[a].data.iter().zip(&values[b].data).map(|(a, b)| a + b).collect(),
        Expr::Times { of, bits } => values[of].data.iter().map(|v| v * f64::from_bits(*bits)).collect(),
        Expr::RsqrtEps { of, eps } => values[of].data.iter().map(|v| 1.0 / (v + f64::from_bits(*eps)).sqrt()).collect(),
        Expr::Contract { of, by, groups } => {
            let (of, by) = (&values[of], &values[by].data);
            let (outputs, inputs) = (of.shape[0], of.shape[1]);
            let taps: usize = of.shape[2..].iter().product();
            let row = |o: usize| {
                let group = o / (outputs / groups);
                (0..inputs * taps).map(move |k| (o * inputs * taps + k, group * inputs + k / taps))
            };
            (0..outputs).map(|o| row(o).map(|(at, channel)| of.data[at] * by[channel]).sum()).collect()
        }
    })
}
