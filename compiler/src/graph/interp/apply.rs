//! One operator on its operands.

use super::super::{Core, Op};
use super::window::{avg_pool, conv, linear, max_pool, resize};
use super::{Tensor, max, pointwise};

/// The value of a node, unrounded. Operands and weights are as inference admits them.
pub(super) fn apply(op: &Op, mut operands: Vec<Tensor>, weights: &[Vec<f64>]) -> Tensor {
    match op {
        Op::Input(_) => unreachable!("inputs are given"),
        Op::Constant(constant) => {
            Tensor { shape: constant.shape.clone(), data: constant.values.iter().map(|v| f64::from(v.get())).collect() }
        }
        Op::Weight { shape } => Tensor { shape: shape.clone(), data: weights[0].clone() },
        Op::Conv(attributes) => conv(attributes, &operands[0], weights),
        Op::Linear(attributes) => linear(attributes, &operands[0], weights),
        Op::BatchNorm { eps, affine } => {
            let (affine, [mean, var]) = match (affine, weights) {
                (true, [gamma, beta, mean, var]) => (Some((gamma, beta)), [mean, var]),
                (false, [mean, var]) => (None, [mean, var]),
                _ => unreachable!("inference counts a bn's weights"),
            };
            let mut x = operands.swap_remove(0);
            pointwise::by_channel(&mut x, |c, v| {
                let normal = (v - mean[c]) / (var[c] + f64::from(eps.get())).sqrt();
                affine.map_or(normal, |(gamma, beta)| normal * gamma[c] + beta[c])
            });
            x
        }
        Op::Activate(activation) => {
            let mut x = operands.swap_remove(0);
            x.data.iter_mut().for_each(|v| *v = pointwise::activate(*activation, *v));
            x
        }
        Op::Binary(binary) => pointwise::binary(*binary, &operands[0], &operands[1]),
        Op::MaxPool(pool) => max_pool(pool, &operands[0]),
        Op::AvgPool(pool) => avg_pool(pool, &operands[0]),
        Op::GlobalAvgPool => global_pool(&operands[0], |map| map.iter().sum::<f64>() / map.len() as f64),
        Op::GlobalMaxPool => global_pool(&operands[0], |map| map.iter().copied().fold(f64::NEG_INFINITY, max)),
        Op::Softmax { axis } => softmax(operands.swap_remove(0), *axis),
        Op::Concat { axis } => concat(&operands, *axis),
        Op::Slice { axis, start, end } => slice(&operands[0], *axis, *start, *end),
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
            Tensor { data, ..operands.swap_remove(0) }
        }
        Op::Reshape { shape } => Tensor { shape: shape.clone(), ..operands.swap_remove(0) },
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
            let mut data = vec![f64::from(value.get()); n * c * rows * columns];
            for (plane, to) in data.chunks_exact_mut(rows * columns).enumerate() {
                for y in 0..h {
                    let row = &x.data[(plane * h + y) * w..][..w];
                    to[(pads.top + y) * columns + pads.left..][..w].copy_from_slice(row);
                }
            }
            Tensor { shape: vec![n, c, rows, columns], data }
        }
        Op::Resize(attributes) => resize(attributes, &operands[0]),
        Op::Dropout | Op::Identity => operands.swap_remove(0),
        Op::Fused { before, core, after } => {
            let (own, mut chained) = weights.split_at(match core {
                Core::Conv(conv) => 1 + usize::from(conv.bias),
                Core::Linear(linear) => 1 + usize::from(linear.bias),
                Core::Identity => 0,
            });
            let mut others = operands.split_off(1).into_iter();
            let x = pointwise::chain(before, operands.swap_remove(0), &mut others, &mut chained);
            let y = match core {
                Core::Conv(attributes) => conv(attributes, &x, own),
                Core::Linear(attributes) => linear(attributes, &x, own),
                Core::Identity => x,
            };
            pointwise::chain(after, y, &mut others, &mut chained)
        }
    }
}

fn global_pool(x: &Tensor, reduce: impl Fn(&[f64]) -> f64) -> Tensor {
    let [n, c, h, w] = x.feature_map();
    Tensor { shape: vec![n, c, 1, 1], data: x.data.chunks_exact(h * w).map(reduce).collect() }
}

fn softmax(mut x: Tensor, axis: usize) -> Tensor {
    let [outer, extent, inner] = x.around(axis);
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| (o * extent + k) * inner + i;
            let largest = (0..extent).map(|k| x.data[at(k)]).fold(f64::NEG_INFINITY, max);
            let sum: f64 = (0..extent).map(|k| (x.data[at(k)] - largest).exp()).sum();
            for k in 0..extent {
                x.data[at(k)] = (x.data[at(k)] - largest).exp() / sum;
            }
        }
    }
    x
}

fn concat(parts: &[Tensor], axis: usize) -> Tensor {
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

fn slice(x: &Tensor, axis: usize, start: usize, end: usize) -> Tensor {
    let [outer, extent, inner] = x.around(axis);
    let mut shape = x.shape.clone();
    shape[axis] = end - start;
    let mut data = Vec::with_capacity(shape.iter().product());
    for o in 0..outer {
        data.extend_from_slice(&x.data[(o * extent + start) * inner..(o * extent + end) * inner]);
    }
    Tensor { shape, data }
}
