//! Weight expressions, evaluated plainly: one expression after the other, whole tensors in f64, rounded once at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kiln_rt::weights::{Source, SourceError, check};

use super::super::weights::{Expr, HOLE, Pool, WeightId};
use super::Tensor;
use super::pointwise::{strided, strides};

/// Named tensors, row-major.
pub type Named = HashMap<String, Vec<f64>>;

/// Fetches the named tensors that expressions read.
///
/// # Errors
/// All that are missing or have another shape.
pub fn load(
    pool: &Pool,
    roots: impl IntoIterator<Item = WeightId>,
    source: &dyn Source,
) -> Result<Named, Vec<SourceError>> {
    let (exprs, _) = pool.program(roots);
    let errors = check(&exprs, source);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut named = Named::new();
    for expr in &exprs {
        if let Expr::Read { name, kind, shape } = expr {
            let stored = source.tensor(name, *kind, shape).map_err(|error| vec![error])?;
            let mut values = Vec::new();
            stored.append(0..shape.iter().product(), &mut values);
            named.insert(name.to_string(), values);
        }
    }
    Ok(named)
}

/// The value of an expression over tensors that [`load`] fetched for it.
pub fn evaluate(pool: &Pool, root: WeightId, named: &Named) -> Vec<f32> {
    let mut needed = BTreeSet::new();
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if needed.insert(id) {
            stack.extend(pool.expr(id).operands());
        }
    }
    // Expressions refer to earlier ones only, so ascending ids are an order of evaluation.
    let mut values: BTreeMap<WeightId, Tensor> = BTreeMap::new();
    for id in needed {
        let data = value(pool.expr(id), &values, named);
        debug_assert_eq!(data.len(), pool.shape(id).iter().product::<usize>());
        values.insert(id, Tensor { shape: pool.shape(id).to_vec(), data });
    }
    values[&root].data.iter().map(|&v| v as f32).collect()
}

fn value(expr: &Expr, values: &BTreeMap<WeightId, Tensor>, named: &Named) -> Vec<f64> {
    match expr {
        Expr::Read { name, .. } => named[name.as_ref()].clone(),
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
    }
}
