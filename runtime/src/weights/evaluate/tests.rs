//! Every operation against plain loops over whole tensors.

use super::super::super::fill::{Kind, fill};
use super::super::source::FillSource;
use super::*;

/// A tensor as plain as it gets.
#[derive(Clone)]
struct Whole {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Whole {
    fn at(&self, index: &[usize]) -> f64 {
        let place = index.iter().zip(&self.shape).fold(0, |place, (i, extent)| place * extent + i);
        self.values[place]
    }

    fn from_fn(shape: &[usize], mut value: impl FnMut(&[usize]) -> f64) -> Self {
        let count: usize = shape.iter().product();
        let mut index = vec![0; shape.len()];
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(value(&index));
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Self { shape: shape.to_vec(), values }
    }
}

fn replaced(index: &[usize], axis: usize, with: usize) -> Vec<usize> {
    let mut index = index.to_vec();
    index[axis] = with;
    index
}

/// The value of an expression from the values of those before it.
fn plain(expr: &Expr, of: impl Fn(ExprId) -> Whole, shape: &[usize]) -> Whole {
    match expr {
        Expr::Read { name, kind, shape } => {
            let values = fill(name, *kind, shape, 1.5).into_iter().map(f64::from).collect();
            Whole { shape: shape.to_vec(), values }
        }
        Expr::Literal { bits, .. } => {
            let values = bits.iter().map(|&bits| f64::from(f32::from_bits(bits))).collect();
            Whole { shape: shape.to_vec(), values }
        }
        Expr::Splat { bits, .. } => Whole::from_fn(shape, |_| f64::from(f32::from_bits(*bits))),
        Expr::Transpose { of: id, perm } => {
            let from = of(*id);
            Whole::from_fn(shape, |index| {
                let mut place = vec![0; index.len()];
                perm.iter().zip(index).for_each(|(&axis, &i)| place[axis] = i);
                from.at(&place)
            })
        }
        Expr::Reshape { of: id, .. } => Whole { shape: shape.to_vec(), ..of(*id) },
        Expr::Concat { of: ids, axis } => Whole::from_fn(shape, |index| {
            let mut i = index[*axis];
            for &id in ids.iter() {
                let part = of(id);
                if i < part.shape[*axis] {
                    return part.at(&replaced(index, *axis, i));
                }
                i -= part.shape[*axis];
            }
            unreachable!("the parts are as long as the whole")
        }),
        Expr::Gather { of: id, axis, index: chosen } => {
            let from = of(*id);
            Whole::from_fn(shape, |index| match chosen[index[*axis]] {
                HOLE => 0.0,
                i => from.at(&replaced(index, *axis, i as usize)),
            })
        }
        Expr::Scale { of: id, axis, by } => {
            let (from, by) = (of(*id), of(*by));
            Whole::from_fn(shape, |index| from.at(index) * by.at(&[index[*axis]]))
        }
        Expr::Add { a, b } => {
            let (a, b) = (of(*a), of(*b));
            Whole::from_fn(shape, |index| a.at(index) + b.at(index))
        }
        Expr::Times { of: id, bits } => {
            let from = of(*id);
            Whole::from_fn(shape, |index| from.at(index) * f64::from_bits(*bits))
        }
        Expr::RsqrtEps { of: id, eps } => {
            let from = of(*id);
            Whole::from_fn(shape, |index| 1.0 / (from.at(index) + f64::from_bits(*eps)).sqrt())
        }
        Expr::Contract { of: id, by, groups } => {
            let (from, by) = (of(*id), of(*by));
            let (inputs, taps) = (from.shape[1], from.shape[2..].iter().product::<usize>());
            Whole::from_fn(shape, |index| {
                let group = index[0] / (from.shape[0] / groups);
                let mut sum = 0.0;
                for i in 0..inputs {
                    for tap in 0..taps {
                        sum += from.values[(index[0] * inputs + i) * taps + tap] * by.at(&[group * inputs + i]);
                    }
                }
                sum
            })
        }
    }
}

fn read(name: &'static str, kind: Kind, shape: &'static [usize]) -> Expr {
    Expr::Read { name: name.into(), kind, shape: shape.into() }
}

fn list() -> Vec<Expr> {
    let id = ExprId;
    vec![
        /* 0 */ read("hwio", Kind::Kernel, &[3, 2, 4, 6]),
        /* 1 */ Expr::Transpose { of: id(0), perm: [3, 2, 0, 1].as_slice().into() },
        /* 2 */ read("var", Kind::Var, &[6]),
        /* 3 */ Expr::RsqrtEps { of: id(2), eps: 1e-3_f64.to_bits() },
        /* 4 */ read("gamma", Kind::Gamma, &[6]),
        /* 5 */ Expr::Scale { of: id(4), axis: 0, by: id(3) },
        /* 6 */ Expr::Scale { of: id(1), axis: 0, by: id(5) },
        /* 7 */
        Expr::Literal { shape: [4].as_slice().into(), bits: [1.5, -2.0, 0.25, 3.0].map(f32::to_bits).to_vec().into() },
        /* 8 */ Expr::Scale { of: id(6), axis: 1, by: id(7) },
        /* 9 */ Expr::Concat { of: vec![id(8), id(6), id(8)].into(), axis: 1 },
        /* 10 */ Expr::Concat { of: vec![id(8), id(6)].into(), axis: 0 },
        /* 11 */ Expr::Gather { of: id(10), axis: 0, index: [11, HOLE, 0, 5, 5, HOLE, 6, 1].as_slice().into() },
        /* 12 */ Expr::Gather { of: id(9), axis: 1, index: [2, HOLE, 11, 0].as_slice().into() },
        /* 13 */ Expr::Splat { shape: [6, 4, 3, 2].as_slice().into(), bits: 0.5_f32.to_bits() },
        /* 14 */ Expr::Add { a: id(12), b: id(13) },
        /* 15 */ Expr::Reshape { of: id(14), shape: [18, 8].as_slice().into() },
        /* 16 */ Expr::Reshape { of: id(14), shape: [4, 36].as_slice().into() },
        /* 17 */ Expr::Reshape { of: id(2), shape: [2, 3].as_slice().into() },
        /* 18 */ Expr::Reshape { of: id(17), shape: [6].as_slice().into() },
        /* 19 */ Expr::Times { of: id(18), bits: (-1.0_f64).to_bits() },
        /* 20 */ Expr::Contract { of: id(1), by: id(7), groups: 1 },
        /* 21 */ Expr::Concat { of: vec![id(7), id(7), id(7)].into(), axis: 0 },
        /* 22 */ Expr::Contract { of: id(14), by: id(21), groups: 3 },
        /* 23 */ Expr::Add { a: id(22), b: id(19) },
        /* 24 */ Expr::Gather { of: id(16), axis: 1, index: [35, 0].as_slice().into() },
        /* 25 */ Expr::Scale { of: id(16), axis: 0, by: id(7) },
    ]
}

#[test]
fn every_operation_agrees_with_plain_loops() {
    let exprs = list();
    let source = FillSource { gain: 1.5 };
    let evaluator = Evaluator::new(&exprs, &source).unwrap();
    let mut wholes: Vec<Whole> = Vec::new();
    for (index, expr) in exprs.iter().enumerate() {
        let id = ExprId(index as u32);
        let shape = evaluator.shape(id).unwrap();
        let whole = plain(expr, |id| wholes[id.index()].clone(), shape);
        assert_eq!(evaluator.all(id), whole.values, "{id}: {expr:?}");

        // Some rows, in no order and twice.
        let (count, length) = (row_count(shape), row_len(shape));
        let rows: Vec<u32> = [count - 1, 0, count / 2, 0].into();
        let some: Vec<f64> =
            rows.iter().flat_map(|&row| whole.values[row as usize * length..][..length].iter().copied()).collect();
        assert_eq!(evaluator.rows(id, &rows), some, "{id}: {expr:?}");
        assert!(evaluator.rows(id, &[]).is_empty());
        wholes.push(whole);
    }
}

#[test]
fn what_is_missing_is_found_first() {
    use super::super::super::safetensors::SafeTensors;
    let file = super::super::super::safetensors::write([]);
    let source = SafeTensors::parse(&file).unwrap();
    let exprs = list();
    let Err(PackError::Source(errors)) = Evaluator::new(&exprs, &source) else { panic!("nothing is there") };
    assert_eq!(errors.len(), 3);
}
