//! Operators that slide a window over a feature map, and the fully connected layer.

use std::ops::Range;

use super::super::infer::window_outputs;
use super::super::{Conv, Linear, Pool, Resize, Window};
use super::weights::Weight;
use super::{Element, Tensor, max, pieces};

/// Output maps that are computed together, so that a row of the input is read once for all of them.
const MAPS: usize = 8;
/// Pixels of an output map that are computed together: their sums stay in the cache.
const STRIP: usize = 256;
/// Inputs whose rows are added in one go.
const INPUTS: usize = 4;

/// A convolution. Each sum starts at its bias; then each tap adds a shifted row of an input map.
pub(super) fn conv<E: Element>(conv: &Conv, x: &Tensor<E>, weights: &[Weight<'_>]) -> Tensor<E> {
    let [n, c, mut h, mut w] = x.feature_map();
    let [mut rows, mut columns] = outputs(&conv.window, h, w, false);
    let shape = vec![n, conv.channels, rows, columns];
    if conv.window == Window::POINT {
        // A pointwise convolution knows no rows: one long row is faster.
        [h, w, rows, columns] = [1, h * w, 1, rows * columns];
    }
    let (group_inputs, group_outputs) = (c / conv.groups, conv.channels / conv.groups);
    let [kh, kw] = conv.window.kernel;
    let (kernel, bias) = (&weights[0], weights.get(1));
    let mut data = vec![E::round(0.0); n * conv.channels * rows * columns];
    pieces::each_piece(&mut data, MAPS * rows * columns, |piece, maps| {
        // Each output map with its place among all, and those together that read the same inputs.
        let mut maps: Vec<_> = (piece * MAPS..).zip(maps.chunks_exact_mut(rows * columns)).collect();
        for maps in maps.chunk_by_mut(|(a, _), (b, _)| a / group_outputs == b / group_outputs) {
            let group = maps[0].0 / group_outputs;
            let channels = maps[0].0 % conv.channels..maps[0].0 % conv.channels + maps.len();
            let taps = group_inputs * kh * kw;
            let sums = Sums {
                window: &conv.window,
                inputs: &x.data[group * group_inputs * h * w..][..group_inputs * h * w],
                input: [group_inputs, h, w],
                output: [rows, columns],
                kernels: kernel.values(channels.start * taps..channels.end * taps),
                biases: bias.map_or(vec![0.0; channels.len()], |bias| bias.values(channels)),
            };
            for (ys, xs) in strips(rows, columns) {
                for ((_, map), sums) in maps.iter_mut().zip(sums.of_strip(&ys, &xs)) {
                    for (y, sums) in ys.clone().zip(sums.chunks_exact(xs.len())) {
                        let row = &mut map[y * columns..][xs.clone()];
                        row.iter_mut().zip(sums).for_each(|(y, &sum)| *y = E::round(sum));
                    }
                }
            }
        }
    });
    Tensor { shape, data }
}

/// Cuts a map into rows and columns of about [`STRIP`] pixels.
fn strips(rows: usize, columns: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let (high, wide) = ((STRIP / columns).max(1), columns.min(STRIP));
    let cut = |extent: usize, by: usize| (0..extent).step_by(by).map(move |start| start..extent.min(start + by));
    cut(rows, high).flat_map(move |ys| cut(columns, wide).map(move |xs| (ys.clone(), xs)))
}

/// The sums of output maps that read the same input maps.
struct Sums<'a, E> {
    window: &'a Window,
    inputs: &'a [E],
    /// How many input maps, of how many rows and columns.
    input: [usize; 3],
    /// Rows and columns of an output map.
    output: [usize; 2],
    /// For each output map its kernel, `[I, KH, KW]`.
    kernels: Vec<f64>,
    /// For each output map its bias.
    biases: Vec<f64>,
}

impl<E: Element> Sums<'_, E> {
    /// The sums in a rectangle of each output map.
    fn of_strip(&self, ys: &Range<usize>, xs: &Range<usize>) -> Vec<Vec<f64>> {
        let Window { kernel: [kh, kw], stride: [sy, sx], pads, dilation: [dy, dx] } = *self.window;
        let ([inputs, h, w], [rows, columns]) = (self.input, self.output);
        let mut sums: Vec<_> = self.biases.iter().map(|&bias| vec![bias; ys.len() * xs.len()]).collect();
        let (mut taps, mut read) = (Vec::new(), Vec::new());
        let places = || (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx)));
        for (i, (ky, kx)) in (0..inputs).step_by(INPUTS).flat_map(|i| places().map(move |place| (i, place))) {
            let inputs = i..inputs.min(i + INPUTS);
            let inside_xs = meet(&inside(kx * dx, pads.left, sx, w, columns), xs);
            if inside_xs.is_empty() {
                continue;
            }
            let left = inside_xs.start * sx + kx * dx - pads.left;
            // By output map the tap of each of these inputs.
            taps.clear();
            for kernel in self.kernels.chunks_exact(self.input[0] * kh * kw) {
                taps.extend(inputs.clone().map(|i| kernel[(i * kh + ky) * kw + kx]));
            }
            for y in meet(&inside(ky * dy, pads.top, sy, h, rows), ys) {
                read.clear();
                for i in inputs.clone() {
                    let row = &self.inputs[(i * h + y * sy + ky * dy - pads.top) * w..][..w][left..];
                    if sx == 1 {
                        read.extend(row[..inside_xs.len()].iter().map(|&x| x.into()));
                    } else {
                        read.extend(row.iter().step_by(sx).take(inside_xs.len()).map(|&x| x.into()));
                    }
                }
                let at = (y - ys.start) * xs.len() + inside_xs.start - xs.start;
                for (sums, taps) in sums.iter_mut().zip(taps.chunks_exact(inputs.len())) {
                    add_scaled(&mut sums[at..][..inside_xs.len()], taps, &read);
                }
            }
        }
        sums
    }
}

/// Adds to each sum its element of each row, times the row's tap. The rows stand one after another.
fn add_scaled(sums: &mut [f64], taps: &[f64], rows: &[f64]) {
    let row = |i: usize| &rows[i * sums.len()..][..sums.len()];
    if let &[p, q, r, s] = taps {
        let rows = row(0).iter().zip(row(1)).zip(row(2)).zip(row(3));
        for (sum, (((a, b), c), d)) in sums.iter_mut().zip(rows) {
            *sum = *sum + p * a + q * b + r * c + s * d;
        }
    } else {
        for (tap, row) in taps.iter().zip(rows.chunks_exact(sums.len())) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += tap * x);
        }
    }
}

/// A fully connected layer on `[N, F]`.
pub(super) fn linear<E: Element>(linear: &Linear, x: &Tensor<E>, weights: &[Weight<'_>]) -> Tensor<E> {
    let (kernel, bias) = (&weights[0], weights.get(1));
    let [n, f] = [x.shape[0], x.shape[1]];
    // By features first, so that each row of the kernel is read once.
    let mut sums = vec![0.0; linear.features * n];
    pieces::each_piece(&mut sums, n, |o, sums| {
        let kernel = kernel.values(o * f..(o + 1) * f);
        let bias = bias.map_or(0.0, |bias| bias.values(o..o + 1)[0]);
        for (sum, row) in sums.iter_mut().zip(x.data.chunks_exact(f)) {
            *sum = kernel.iter().zip(row).fold(bias, |sum, (w, &x)| sum + w * x.into());
        }
    });
    let by_image = (0..n).flat_map(|image| sums[image..].iter().step_by(n));
    Tensor { shape: vec![n, linear.features], data: by_image.map(|&sum| E::round(sum)).collect() }
}

/// The largest of each window; padding is not looked at.
pub(super) fn max_pool<E: Element>(pool: &Pool, x: &Tensor<E>) -> Tensor<E> {
    windows(pool, x, |values, _| values.fold(f64::NEG_INFINITY, max))
}

/// The mean of each window, over the taps that count.
pub(super) fn avg_pool<E: Element>(pool: &Pool, x: &Tensor<E>) -> Tensor<E> {
    windows(pool, x, |values, padded| {
        let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
        sum / if pool.count_include_pad { padded as f64 } else { f64::from(count) }
    })
}

/// Reduces each window: the values of its taps on the map, and the number of its taps on map and padding.
fn windows<E: Element>(
    pool: &Pool,
    x: &Tensor<E>,
    reduce: impl Fn(&mut dyn Iterator<Item = f64>, usize) -> f64 + Sync,
) -> Tensor<E> {
    let [n, c, h, w] = x.feature_map();
    let [rows, columns] = outputs(&pool.window, h, w, pool.ceil_mode);
    let pads = pool.window.pads;
    let row_taps = taps(&pool.window, 0, rows, [pads.top, h, pads.bottom]);
    let column_taps = taps(&pool.window, 1, columns, [pads.left, w, pads.right]);
    let mut data = vec![E::round(0.0); n * c * rows * columns];
    pieces::each_piece(&mut data, rows * columns, |plane, reduced| {
        let map = &x.data[plane * h * w..][..h * w];
        let windows = row_taps.iter().flat_map(|rows| column_taps.iter().map(move |columns| (rows, columns)));
        for (reduced, ((ys, padded_rows), (xs, padded_columns))) in reduced.iter_mut().zip(windows) {
            let mut values = ys.iter().flat_map(|y| xs.iter().map(move |x| map[y * w + x].into()));
            *reduced = E::round(reduce(&mut values, padded_rows * padded_columns));
        }
    });
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

fn meet(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// [`Resize::taken`] along rows and columns.
pub(super) fn resize<E: Element>(attributes: &Resize, x: &Tensor<E>) -> Tensor<E> {
    let [n, c, h, w] = x.feature_map();
    let [oh, ow] = attributes.size;
    let rows: Vec<_> = (0..oh).map(|y| attributes.taken(0, h, y)).collect();
    let columns: Vec<_> = (0..ow).map(|y| attributes.taken(1, w, y)).collect();
    let mut data = Vec::with_capacity(n * c * oh * ow);
    for plane in 0..n * c {
        for of_rows in &rows {
            for of_columns in &columns {
                let mut sum = 0.0;
                for (i, of_row) in of_rows {
                    for (j, of_column) in of_columns {
                        let element: f64 = x.data[(plane * h + i) * w + j].into();
                        sum += of_row * of_column * element;
                    }
                }
                data.push(E::round(sum));
            }
        }
    }
    Tensor { shape: vec![n, c, oh, ow], data }
}
