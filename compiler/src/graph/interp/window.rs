//! Operators that slide a window over a feature map, and the fully connected layer.

use std::ops::Range;

use super::super::infer::window_outputs;
use super::super::{Conv, Filter, Linear, Pool, Resize, Window};
use super::{Tensor, max};

/// A convolution. Each output map starts at its bias; then each tap adds a shifted input map to it, row by row.
pub(super) fn conv(conv: &Conv, x: &Tensor, weights: &[Vec<f64>]) -> Tensor {
    let [n, c, mut h, mut w] = x.feature_map();
    let [rows, columns] = outputs(&conv.window, h, w, false);
    let shape = vec![n, conv.channels, rows, columns];
    let [mut rows, mut columns] = [rows, columns];
    if conv.window == Window::POINT {
        // A pointwise convolution knows no rows: one long row is faster.
        [h, w, rows, columns] = [1, h * w, 1, rows * columns];
    }
    let Window { kernel: [kh, kw], stride: [sy, sx], pads, dilation: [dy, dx] } = conv.window;
    let (kernel, bias) = (&weights[0], weights.get(1));
    let (group_inputs, group_outputs) = (c / conv.groups, conv.channels / conv.groups);
    let mut data = vec![0.0; n * conv.channels * rows * columns];
    for (plane, sums) in data.chunks_exact_mut(rows * columns).enumerate() {
        let (image, o) = (plane / conv.channels, plane % conv.channels);
        sums.fill(bias.map_or(0.0, |bias| bias[o]));
        for i in 0..group_inputs {
            let channel = o / group_outputs * group_inputs + i;
            let map = &x.data[(image * c + channel) * h * w..][..h * w];
            for ky in 0..kh {
                for kx in 0..kw {
                    let tap = kernel[((o * group_inputs + i) * kh + ky) * kw + kx];
                    let inside = inside(kx * dx, pads.left, sx, w, columns);
                    if inside.is_empty() {
                        continue;
                    }
                    let first = inside.start * sx + kx * dx - pads.left;
                    for y in self::inside(ky * dy, pads.top, sy, h, rows) {
                        let row = &map[(y * sy + ky * dy - pads.top) * w..][..w][first..];
                        let sums = &mut sums[y * columns..][inside.clone()];
                        if sx == 1 {
                            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += tap * x);
                        } else {
                            sums.iter_mut().zip(row.iter().step_by(sx)).for_each(|(sum, x)| *sum += tap * x);
                        }
                    }
                }
            }
        }
    }
    Tensor { shape, data }
}

/// A fully connected layer on `[N, F]`.
pub(super) fn linear(linear: &Linear, x: &Tensor, weights: &[Vec<f64>]) -> Tensor {
    let (kernel, bias) = (&weights[0], weights.get(1));
    let [n, f] = [x.shape[0], x.shape[1]];
    let mut data = Vec::with_capacity(n * linear.features);
    for row in x.data.chunks_exact(f) {
        for o in 0..linear.features {
            let products = kernel[o * f..][..f].iter().zip(row).map(|(w, x)| w * x);
            data.push(products.fold(bias.map_or(0.0, |bias| bias[o]), |sum, product| sum + product));
        }
    }
    Tensor { shape: vec![n, linear.features], data }
}

/// The largest of each window; padding is not looked at.
pub(super) fn max_pool(pool: &Pool, x: &Tensor) -> Tensor {
    windows(pool, x, |values, _| values.fold(f64::NEG_INFINITY, max))
}

/// The mean of each window, over the taps that count.
pub(super) fn avg_pool(pool: &Pool, x: &Tensor) -> Tensor {
    windows(pool, x, |values, padded| {
        let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
        sum / if pool.count_include_pad { padded as f64 } else { f64::from(count) }
    })
}

/// Reduces each window: the values of its taps on the map, and the number of its taps on map and padding.
fn windows(pool: &Pool, x: &Tensor, reduce: impl Fn(&mut dyn Iterator<Item = f64>, usize) -> f64) -> Tensor {
    let [n, c, h, w] = x.feature_map();
    let [rows, columns] = outputs(&pool.window, h, w, pool.ceil_mode);
    let pads = pool.window.pads;
    let row_taps = taps(&pool.window, 0, rows, [pads.top, h, pads.bottom]);
    let column_taps = taps(&pool.window, 1, columns, [pads.left, w, pads.right]);
    let mut data = Vec::with_capacity(n * c * rows * columns);
    for map in x.data.chunks_exact(h * w) {
        for (ys, padded_rows) in &row_taps {
            for (xs, padded_columns) in &column_taps {
                let mut values = ys.iter().flat_map(|y| xs.iter().map(move |x| map[y * w + x]));
                data.push(reduce(&mut values, padded_rows * padded_columns));
            }
        }
    }
    Tensor { shape: vec![n, c, rows, columns], data }
}

/// For each output along an axis the positions of its taps on the map, and how many fall on map or padding.
fn taps(window: &Window, axis: usize, outputs: usize, [before, extent, after]: [usize; 3]) -> Vec<(Vec<usize>, usize)> {
    let of = |output: usize| {
        let from_edge = (0..window.kernel[axis]).map(move |k| output * window.stride[axis] + k * window.dilation[axis]);
        let padded = from_edge.clone().filter(|&at| at < before + extent + after).count();
        let inside = from_edge.filter(|at| (before..before + extent).contains(at)).map(|at| at - before).collect();
        (inside, padded)
    };
    (0..outputs).map(of).collect()
}

fn outputs(window: &Window, h: usize, w: usize, ceil: bool) -> [usize; 2] {
    let Some(outputs) = window_outputs(window, h, w, ceil) else { unreachable!("inference checks windows") };
    outputs
}

/// The outputs whose tap at `offset` falls on the input: `output * stride + offset - pad` in `0..extent`.
fn inside(offset: usize, pad: usize, stride: usize, extent: usize, outputs: usize) -> Range<usize> {
    let first = pad.saturating_sub(offset).div_ceil(stride);
    let end = (extent + pad).saturating_sub(offset).div_ceil(stride).min(outputs);
    first..end.max(first)
}

/// The formula of [`Resize`]: rows, then columns.
pub(super) fn resize(attributes: &Resize, x: &Tensor) -> Tensor {
    let [n, c, h, w] = x.feature_map();
    let [oh, ow] = attributes.size;
    // What is read along a side for an output: elements and their shares.
    let taken = |side: usize, extent: usize, y: usize| -> Vec<(usize, f64)> {
        let within = |i: f64| i.clamp(0.0, (extent - 1) as f64) as usize;
        let position = attributes.position(side, extent, y);
        match attributes.filter {
            Filter::Nearest(rounding) => vec![(within(f64::from(rounding.round(position))), 1.0)],
            Filter::Linear => {
                let position = f64::from(position);
                let share = position - position.floor();
                vec![(within(position.floor()), 1.0 - share), (within(position.floor() + 1.0), share)]
            }
        }
    };
    let mut data = Vec::with_capacity(n * c * oh * ow);
    for plane in 0..n * c {
        for row in 0..oh {
            for column in 0..ow {
                let mut sum = 0.0;
                for (i, of_row) in taken(0, h, row) {
                    for (j, of_column) in taken(1, w, column) {
                        sum += of_row * of_column * x.data[(plane * h + i) * w + j];
                    }
                }
                data.push(sum);
            }
        }
    }
    Tensor { shape: vec![n, c, oh, ow], data }
}
