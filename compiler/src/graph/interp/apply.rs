//! One operator on its operands.

use std::rc::Rc;

use super::super::{Core, Op};
use super::weights::Weight;
use super::window::{avg_pool, conv, linear, max_pool, resize};
use super::{Element, Tensor, max, pieces, pointwise};

/// The value of a node, but for what is peculiar to its type. Operands and weights are as inference admits them.
pub(super) fn apply<E: Element>(op: &Op, operands: Vec<Rc<Tensor<E>>>, weights: &[Weight<'_>]) -> Tensor<E> {
    // The first operand, to be written over where nobody else will read it.
    let first = |mut operands: Vec<Rc<Tensor<E>>>| Rc::unwrap_or_clone(operands.swap_remove(0));
    match op {
        Op::Input(_) => unreachable!("inputs are given"),
        Op::Constant(constant) => {
            let values = constant.values.iter().map(|v| E::round(v.get().into()));
            Tensor { shape: constant.shape.clone(), data: values.collect() }
        }
        Op::Weight { shape } => {
            let values = weights[0].values(0..shape.iter().product());
            Tensor { shape: shape.clone(), data: values.into_iter().map(E::round).collect() }
        }
        Op::Conv(attributes) => conv(attributes, &operands[0], weights),
        Op::Linear(attributes) => linear(attributes, &operands[0], weights),
        Op::BatchNorm { eps, affine } => {
            let mut x = first(operands);
            let vectors: Vec<_> = weights.iter().map(|weight| weight.values(0..x.shape[1])).collect();
            let (affine, [mean, var]) = match (affine, &vectors[..]) {
                (true, [gamma, beta, mean, var]) => (Some((gamma, beta)), [mean, var]),
                (false, [mean, var]) => (None, [mean, var]),
                _ => unreachable!("inference counts a bn's weights"),
            };
            pointwise::by_channel(&mut x, |c, v| {
                let normal = (v - mean[c]) / (var[c] + f64::from(eps.get())).sqrt();
                affine.map_or(normal, |(gamma, beta)| normal * gamma[c] + beta[c])
            });
            x
        }
        Op::Activate(activation) => {
            let mut x = first(operands);
            pointwise::each(&mut x, |v| pointwise::activate(*activation, v));
            x
        }
        Op::Binary(binary) => pointwise::binary(*binary, &operands[0], &operands[1]),
        Op::MatMul => matmul(&operands[0], &operands[1]),
        Op::MaxPool(pool) => max_pool(pool, &operands[0]),
        Op::AvgPool(pool) => avg_pool(pool, &operands[0]),
        Op::GlobalAvgPool => {
            global_pool(&operands[0], |map| map.iter().map(|&v| v.into()).sum::<f64>() / map.len() as f64)
        }
        Op::GlobalMaxPool => {
            global_pool(&operands[0], |map| map.iter().map(|&v| v.into()).fold(f64::NEG_INFINITY, max))
        }
        Op::Softmax { axis } => softmax(first(operands), *axis),
        Op::Concat { axis } => concat(&operands, *axis),
        Op::Slice { axis, start, end } => slice(&operands[0], *axis, *start, *end),
        Op::Gather { axis, indices } => gather(&operands[0], *axis, indices),
        Op::ChannelShuffle { groups } => {
            let [n, c, h, w] = operands[0].feature_map();
            let mut data = Vec::with_capacity(operands[0].data.len());
            for image in 0..n {
                for channel in 0..c {
                    let (j, g) = (channel / groups, channel % groups);
                    let from = image * c + g * (c / groups) + j;
                    data.extend_from_slice(&operands[0].data[from * h * w..][..h * w]);
                }
            }
            Tensor { shape: operands[0].shape.clone(), data }
        }
        Op::Reshape { shape } => Tensor { shape: shape.clone(), ..first(operands) },
        Op::Transpose { perm } => {
            let x = &operands[0];
            let strides = pointwise::strides(&x.shape);
            let shape = perm.iter().map(|&p| x.shape[p]).collect();
            let moved: Vec<usize> = perm.iter().map(|&p| strides[p]).collect();
            pointwise::strided(&x.data, shape, &moved)
        }
        Op::Pad { pads, value } => {
            let x = &operands[0];
            let [n, c, h, w] = x.feature_map();
            let (rows, columns) = (pads.top + h + pads.bottom, pads.left + w + pads.right);
            let mut data = vec![E::round(value.get().into()); n * c * rows * columns];
            for (plane, to) in data.chunks_exact_mut(rows * columns).enumerate() {
                for y in 0..h {
                    let row = &x.data[(plane * h + y) * w..][..w];
                    to[(pads.top + y) * columns + pads.left..][..w].copy_from_slice(row);
                }
            }
            Tensor { shape: vec![n, c, rows, columns], data }
        }
        Op::Resize(attributes) => resize(attributes, &operands[0]),
        Op::Cast(_) | Op::Dropout | Op::Identity => first(operands),
        Op::Fused { before, core, after } => {
            let (own, mut chained) = weights.split_at(match core {
                Core::Conv(conv) => 1 + usize::from(conv.bias),
                Core::Linear(linear) => 1 + usize::from(linear.bias),
                Core::Identity => 0,
            });
            let mut operands = operands.into_iter().map(|operand| convert(&operand));
            let Some(x) = operands.next() else { unreachable!("inference counts the operands") };
            let x = pointwise::chain(before, x, &mut operands, &mut chained);
            let y = match core {
                Core::Conv(attributes) => conv(attributes, &x, own),
                Core::Linear(attributes) => linear(attributes, &x, own),
                Core::Identity => x,
            };
            convert(&pointwise::chain(after, y, &mut operands, &mut chained))
        }
    }
}

/// A value in other elements.
pub(super) fn convert<A: Element, B: Element>(x: &Tensor<A>) -> Tensor<B> {
    Tensor { shape: x.shape.clone(), data: x.data.iter().map(|&v| B::round(v.into())).collect() }
}

fn global_pool<E: Element>(x: &Tensor<E>, reduce: impl Fn(&[E]) -> f64 + Sync) -> Tensor<E> {
    let [n, c, h, w] = x.feature_map();
    let mut data = vec![E::round(0.0); n * c];
    pieces::each_piece(&mut data, 1, |plane, to| to[0] = E::round(reduce(&x.data[plane * h * w..][..h * w])));
    Tensor { shape: vec![n, c, 1, 1], data }
}

/// Products of matrices, part by part.
fn matmul<E: Element>(a: &Tensor<E>, b: &Tensor<E>) -> Tensor<E> {
    let ([p, m, k], [q, n]) = ([a.shape[0], a.shape[1], a.shape[2]], [b.shape[0], b.shape[2]]);
    let parts = if p == 1 { q } else { p };
    let mut data = vec![E::round(0.0); parts * m * n];
    pieces::each_piece(&mut data, n, |row, to| {
        let (part, row) = (row / m, row % m);
        let row = &a.data[(part % p * m + row) * k..][..k];
        let matrix = &b.data[part % q * k * n..][..k * n];
        for (column, to) in to.iter_mut().enumerate() {
            let sum: f64 = row.iter().enumerate().map(|(i, &v)| v.into() * matrix[i * n + column].into()).sum();
            *to = E::round(sum);
        }
    });
    Tensor { shape: vec![parts, m, n], data }
}

fn softmax<E: Element>(mut x: Tensor<E>, axis: usize) -> Tensor<E> {
    let [outer, extent, inner] = x.around(axis);
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| (o * extent + k) * inner + i;
            let values: Vec<f64> = (0..extent).map(|k| x.data[at(k)].into()).collect();
            let largest = values.iter().copied().fold(f64::NEG_INFINITY, max);
            let sum: f64 = values.iter().map(|v| (v - largest).exp()).sum();
            for (k, v) in values.iter().enumerate() {
                x.data[at(k)] = E::round((v - largest).exp() / sum);
            }
        }
    }
    x
}

fn concat<E: Element>(parts: &[Rc<Tensor<E>>], axis: usize) -> Tensor<E> {
    let mut shape = parts[0].shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    let [outer, ..] = parts[0].around(axis);
    let mut data = Vec::with_capacity(shape.iter().product());
    for o in 0..outer {
        for part in parts {
            let [_, extent, inner] = part.around(axis);
            data.extend_from_slice(&part.data[o * extent * inner..][..extent * inner]);
        }
    }
    Tensor { shape, data }
}

fn slice<E: Element>(x: &Tensor<E>, axis: usize, start: usize, end: usize) -> Tensor<E> {
    let [outer, extent, inner] = x.around(axis);
    let mut shape = x.shape.clone();
    shape[axis] = end - start;
    let mut data = Vec::with_capacity(shape.iter().product());
    for o in 0..outer {
        data.extend_from_slice(&x.data[(o * extent + start) * inner..(o * extent + end) * inner]);
    }
    Tensor { shape, data }
}

fn gather<E: Element>(x: &Tensor<E>, axis: usize, indices: &[u32]) -> Tensor<E> {
    let [outer, extent, inner] = x.around(axis);
    let mut shape = x.shape.clone();
    shape[axis] = indices.len();
    let mut data = Vec::with_capacity(shape.iter().product());
    for o in 0..outer {
        for &index in indices {
            data.extend_from_slice(&x.data[(o * extent + index as usize) * inner..][..inner]);
        }
    }
    Tensor { shape, data }
}
