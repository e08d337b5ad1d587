//! Weight expressions, evaluated plainly: one expression after the other, whole tensors in f64, rounded once at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use kiln_rt::fill::fill;

use super::super::weights::{Expr, HOLE, Pool, Source, WeightId, operands};
use super::Tensor;
use super::pointwise::{strided, strides};

/// Where named tensors come from.
pub trait Tensors {
    /// The tensor of this name with the shape it has there, row-major; None where there is none.
    fn tensor(&self, source: &Source) -> Option<(Vec<usize>, Vec<f32>)>;
}

impl Tensors for HashMap<String, (Vec<usize>, Vec<f32>)> {
    fn tensor(&self, source: &Source) -> Option<(Vec<usize>, Vec<f32>)> {
        self.get(&source.name).cloned()
    }
}

/// Every tensor there is, filled by the formula of [`kiln_rt::fill`] from its name, kind and shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// The factor in a kernel's range, chosen so that values neither grow nor vanish through a net.
    pub gain: f64,
}

impl Tensors for Fill {
    fn tensor(&self, source: &Source) -> Option<(Vec<usize>, Vec<f32>)> {
        Some((source.shape.clone(), fill(&source.name, source.kind, &source.shape, self.gain)))
    }
}

/// The named tensors that do not fit what the graph reads: all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeightsError {
    /// Those that are not there.
    pub missing: Vec<Source>,
    /// Those of another shape, with the shape they have.
    pub misshapen: Vec<(Source, Vec<usize>)>,
}

impl std::error::Error for WeightsError {}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} weights do not fit the network", self.missing.len() + self.misshapen.len())?;
        for source in &self.missing {
            write!(f, "\n`{}` of shape {:?} is missing", source.name, source.shape)?;
        }
        for (source, shape) in &self.misshapen {
            write!(f, "\n`{}` has shape {shape:?}, not {:?}", source.name, source.shape)?;
        }
        Ok(())
    }
}

/// Fetches named tensors, by name.
///
/// # Errors
/// All that are missing or have another shape.
pub fn load(sources: &[Source], tensors: &dyn Tensors) -> Result<HashMap<String, Vec<f32>>, WeightsError> {
    let mut loaded = HashMap::new();
    let mut error = WeightsError::default();
    for source in sources {
        match tensors.tensor(source) {
            None => error.missing.push(source.clone()),
            Some((shape, values)) if shape == source.shape && values.len() == shape.iter().product::<usize>() => {
                loaded.insert(source.name.clone(), values);
            }
            Some((shape, _)) => error.misshapen.push((source.clone(), shape)),
        }
    }
    if error == WeightsError::default() { Ok(loaded) } else { Err(error) }
}

/// The value of an expression over tensors that [`load`] fetched for it.
pub fn evaluate(pool: &Pool, root: WeightId, files: &HashMap<String, Vec<f32>>) -> Vec<f32> {
    let mut needed = BTreeSet::new();
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if needed.insert(id) {
            stack.extend(operands(pool.expr(id)));
        }
    }
    // Expressions refer to earlier ones only, so ascending ids are an order of evaluation.
    let mut values: BTreeMap<WeightId, Tensor> = BTreeMap::new();
    for id in needed {
        let data = value(pool.expr(id), &values, files);
        debug_assert_eq!(data.len(), pool.shape(id).iter().product::<usize>());
        values.insert(id, Tensor { shape: pool.shape(id).to_vec(), data });
    }
    values[&root].data.iter().map(|&v| v as f32).collect()
}

fn value(expr: &Expr, values: &BTreeMap<WeightId, Tensor>, files: &HashMap<String, Vec<f32>>) -> Vec<f64> {
    match expr {
        Expr::Read { name, .. } => files[name.as_ref()].iter().map(|&v| f64::from(v)).collect(),
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
