//! Pools over windows.
//!
//! ONNX before version 22 rounds outputs up without PyTorch's rule that a last window must start inside, and engines
//! count what lies past the padding in a mean or do not. `ceil_mode` stays where all of them agree; elsewhere the windows
//! are given room by padding that is told.

use super::emitter::{Emitter, Is};
use super::operator::conv;
use crate::graph::infer::window_outputs;
use crate::graph::{Conv, NodeId, Pads, Pool, Window};

/// How far the windows of a pool reach, along rows and columns.
struct Reach {
    /// Windows.
    outputs: [usize; 2],
    /// Padding after the map with which no window reaches past it.
    after: [usize; 2],
    /// Whether ONNX counts as many windows when it rounds up.
    is_ceil: bool,
    /// Whether a window reaches past the padding.
    is_past: bool,
}

impl Reach {
    fn of(pool: &Pool, map: [usize; 2]) -> Self {
        let Window { stride, pads, .. } = pool.window;
        let reach = pool.window.reach();
        let Some(outputs) = window_outputs(&pool.window, map[0], map[1], pool.ceil_mode) else {
            unreachable!("inference checks windows");
        };
        let (before, given) = ([pads.top, pads.left], [pads.bottom, pads.right]);
        // None for a window that is larger than the padded map, which rounding up makes one.
        let room = [0, 1].map(|i| (map[i] + before[i] + given[i]).checked_sub(reach[i]));
        let needed = [0, 1].map(|i| ((outputs[i] - 1) * stride[i] + reach[i]).saturating_sub(map[i] + before[i]));
        let after = [0, 1].map(|i| needed[i].max(given[i]));
        let is_ceil = (0..2).all(|i| outputs[i] == room[i].map_or(1, |room| room.div_ceil(stride[i]) + 1));
        Reach { outputs, after, is_ceil, is_past: after != given }
    }

    /// The pool with padding in which its windows have room.
    fn roomy(&self, pool: &Pool) -> Pool {
        let pads = Pads { bottom: self.after[0], right: self.after[1], ..pool.window.pads };
        Pool { window: Window { pads, ..pool.window }, ceil_mode: false, ..*pool }
    }
}

/// `MaxPool`.
pub(super) fn max_pool(emitter: &mut Emitter<'_>, id: NodeId, pool: &Pool, x: &str) {
    let reach = Reach::of(pool, map(emitter, id));
    let mut pool = if pool.ceil_mode && reach.is_ceil { *pool } else { reach.roomy(pool) };
    let Window { kernel, pads, .. } = pool.window;
    let mut x = x.to_owned();
    // Padding that is as wide as the kernel, which dilation allows, is refused by engines.
    if pads.top.max(pads.bottom) >= kernel[0] || pads.left.max(pads.right) >= kernel[1] {
        x = padded(emitter, id, &x, reach.roomy(&pool).window.pads, f32::NEG_INFINITY);
        pool.window.pads = Pads::default();
        pool.ceil_mode = false;
    }
    let mut attributes = window(&pool);
    attributes.push(("dilations", Is::Ints(&pool.window.dilation)));
    emitter.whole(id, "MaxPool", &[&x], &attributes);
}

/// `AveragePool`, which has no dilation before version 19.
pub(super) fn avg_pool(emitter: &mut Emitter<'_>, id: NodeId, pool: &Pool, x: &str) {
    let [h, w] = map(emitter, id);
    let reach = Reach::of(pool, [h, w]);
    if (0..2).any(|i| pool.window.kernel[i] > 1 && pool.window.dilation[i] > 1) {
        return dilated_mean(emitter, id, pool, &reach, x);
    }
    let Pads { top, left, bottom, right } = pool.window.pads;
    if pool.count_include_pad && reach.is_past {
        // Padding as elements of the map counts, and what lies past it does not.
        let x = padded(emitter, id, x, pool.window.pads, 0.0);
        let pads = Pads { bottom: reach.after[0] - bottom, right: reach.after[1] - right, ..Pads::default() };
        let window = Window { pads: Pads::default(), ..pool.window };
        let inner = Pool { window, count_include_pad: false, ceil_mode: true };
        let same = Reach::of(&inner, [h + top + bottom, w + left + right]);
        let inner = if same.is_ceil && same.outputs == reach.outputs {
            inner
        } else {
            Pool { window: Window { pads, ..window }, ceil_mode: false, ..inner }
        };
        return emitter.whole(id, "AveragePool", &[&x], &mean(&inner));
    }
    let pool = if pool.ceil_mode && reach.is_ceil { *pool } else { reach.roomy(pool) };
    emitter.whole(id, "AveragePool", &[x], &mean(&pool));
}

/// A mean whose taps lie apart: their sum, a convolution with ones, by how many of them count.
fn dilated_mean(emitter: &mut Emitter<'_>, id: NodeId, pool: &Pool, reach: &Reach, x: &str) {
    let Window { kernel, stride, pads, dilation } = pool.window;
    let [h, w] = map(emitter, id);
    let channels = emitter.graph.node(id).ty.shape[1];
    let counted = |axis: usize, extent: usize, before: usize, after: usize| -> Vec<usize> {
        let inside = before..before + extent;
        let counted = if pool.count_include_pad { 0..before + extent + after } else { inside };
        let taps = |y: usize| (0..kernel[axis]).map(move |k| y * stride[axis] + k * dilation[axis]);
        (0..reach.outputs[axis]).map(|y| taps(y).filter(|at| counted.contains(at)).count()).collect()
    };
    let [rows, columns] = [counted(0, h, pads.top, pads.bottom), counted(1, w, pads.left, pads.right)];
    let counts: Vec<f32> = rows.iter().flat_map(|r| columns.iter().map(move |c| (r * c) as f32)).collect();
    let ones = emitter.pool.splat(&[channels, 1, kernel[0], kernel[1]], 1.0);
    let ones = emitter.weight(id, "ones", ones);
    let sums = Conv { channels, window: reach.roomy(pool).window, groups: channels, bias: false };
    let sums = emitter.part(id, "sums", "Conv", &[x, &ones], &conv(&sums));
    let counts = emitter.floats(id, "counts", &reach.outputs, &counts);
    emitter.whole(id, "Div", &[&sums, &counts], &[]);
}

/// Rows and columns of the operand.
fn map(emitter: &Emitter<'_>, id: NodeId) -> [usize; 2] {
    match emitter.operand_type(id, 0).shape[..] {
        [_, _, h, w] => [h, w],
        _ => unreachable!("inference admits only feature maps here"),
    }
}

fn padded(emitter: &mut Emitter<'_>, id: NodeId, x: &str, pads: Pads, value: f32) -> String {
    let Pads { top, left, bottom, right } = pads;
    let pads = emitter.integers(id, "pads", &[0, 0, top, left, 0, 0, bottom, right]);
    let value = emitter.floats(id, "value", &[], &[value]);
    emitter.part(id, "padded", "Pad", &[x, &pads, &value], &[])
}

fn window(pool: &Pool) -> Vec<(&'static str, Is<'_>)> {
    vec![
        ("kernel_shape", Is::Ints(&pool.window.kernel)),
        ("strides", Is::Ints(&pool.window.stride)),
        ("pads", Is::Pads(pool.window.pads)),
        ("ceil_mode", Is::Int(usize::from(pool.ceil_mode))),
    ]
}

fn mean(pool: &Pool) -> Vec<(&'static str, Is<'_>)> {
    let mut attributes = window(pool);
    attributes.push(("count_include_pad", Is::Int(usize::from(pool.count_include_pad))));
    attributes
}
