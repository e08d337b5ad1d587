//! What of a window lies inside its input: rows of outputs in classes, tiles of a row in runs.

use crate::graph::Window;
use crate::kernel::{Bound, Index, Range, Tap, Var};
use crate::schedule::Tiling;

/// Output rows whose kernel rows one expression bounds.
pub(super) struct RowClass {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The kernel rows inside, where they are the same for all rows of the class.
    fixed: Option<(usize, usize)>,
}

impl RowClass {
    /// The kernel rows of output row `oh` that lie inside an input of `h` rows.
    pub(super) fn kernel_rows(&self, window: &Window, h: usize, oh: Var) -> KernelRows {
        match self.fixed {
            Some((first, end)) => KernelRows::Fixed { first, end },
            // Input row `oh * s + kh - top` is in 0..h.
            None => {
                let at = Index::from(window.pads.top) - oh * window.stride[0];
                KernelRows::Narrowed { kernel: window.kernel[0], at, h }
            }
        }
    }
}

/// The kernel rows that lie inside the input.
pub(super) enum KernelRows {
    /// These, of every output row.
    Fixed { first: usize, end: usize },
    /// Those of `0..kernel` in `at..at + h`, where `at` falls with the output row.
    Narrowed { kernel: usize, at: Index, h: usize },
}

impl KernelRows {
    /// All of them.
    pub(super) fn all(&self) -> Range {
        match self {
            &KernelRows::Fixed { first, end } => Range::new(first, end),
            KernelRows::Narrowed { kernel, at, h } => narrowed(*kernel, at.clone(), *h),
        }
    }
}

/// Those of `0..len` in `at..at + h`.
pub(super) fn narrowed(len: usize, at: Index, h: usize) -> Range {
    Range { lo: Bound::Max(Index::constant(0), at.clone()), hi: Bound::Min(Index::from(len), at + h) }
}

/// Cuts output rows into classes: one, where padding narrows the kernel rows by an affine bound or not at all; runs of
/// rows with equal kernel rows, where dilation makes the bound a quotient.
pub(super) fn row_classes(window: &Window, h: usize, out_h: usize) -> Vec<RowClass> {
    let inside = |oh: usize| inside(window.kernel[0], window.stride[0], window.dilation[0], window.pads.top, h, oh);
    let all = (0, window.kernel[0]);
    if (0..out_h).all(|oh| inside(oh) == all) {
        return vec![RowClass { start: 0, end: out_h, fixed: Some(all) }];
    }
    if window.dilation[0] == 1 && (0..out_h).all(|oh| inside(oh).0 < inside(oh).1) {
        return vec![RowClass { start: 0, end: out_h, fixed: None }];
    }
    fixed_row_classes(window, h, out_h)
}

/// Runs of output rows with equal kernel rows.
pub(super) fn fixed_row_classes(window: &Window, h: usize, out_h: usize) -> Vec<RowClass> {
    let inside = |oh: usize| inside(window.kernel[0], window.stride[0], window.dilation[0], window.pads.top, h, oh);
    let mut classes: Vec<RowClass> = Vec::new();
    for oh in 0..out_h {
        match classes.last_mut() {
            Some(class) if class.fixed == Some(inside(oh)) => class.end = oh + 1,
            _ => classes.push(RowClass { start: oh, end: oh + 1, fixed: Some(inside(oh)) }),
        }
    }
    classes
}

/// The taps of output `o` that lie inside an input of `extent`: `first..end`.
fn inside(kernel: usize, stride: usize, dilation: usize, before: usize, extent: usize, o: usize) -> (usize, usize) {
    let lies = |k: &usize| (before..before + extent).contains(&(o * stride + k * dilation));
    let first = (0..kernel).find(lies).unwrap_or(0);
    let end = (0..kernel).rev().find(lies).map_or(0, |k| k + 1);
    (first, end.max(first))
}

/// Neighbouring tiles of a row with the same taps.
pub(super) struct TileRun {
    /// The first tile.
    pub(super) first: usize,
    /// Tiles.
    pub(super) count: usize,
    /// Pixels of each.
    pub(super) pixels: usize,
    /// The columns with their pixels; None where all columns are inside for all pixels.
    pub(super) taps: Option<Vec<Tap>>,
    /// Where tile 0 starts, and how far each is from the one before.
    pub(super) origin: usize,
    pub(super) distance: usize,
}

impl TileRun {
    /// The kernel columns inside, of tiles of one pixel: `first..end`.
    pub(super) fn columns(&self, kernel: usize) -> (usize, usize) {
        match self.taps.as_deref() {
            None => (0, kernel),
            Some([]) => (0, 0),
            Some([first, .., last]) => (first.value as usize, last.value as usize + 1),
            Some([only]) => (only.value as usize, only.value as usize + 1),
        }
    }
}

/// The tiles of some outputs of a row, in runs of equal taps: those at the left edge, in the middle, at the right edge.
pub(super) fn tile_runs(window: &Window, w: usize, outputs: std::ops::Range<usize>, tiling: Tiling) -> Vec<TileRun> {
    let Window { kernel: [_, kernel], stride: [_, stride], dilation: [_, dilation], pads, .. } = *window;
    let mut runs: Vec<TileRun> = Vec::new();
    for t in 0..tiling.tiles() {
        let start = outputs.start + t * tiling.pixels;
        let pixels = tiling.pixels.min(outputs.end - start);
        let lies = |k: usize, p: usize| (pads.left..pads.left + w).contains(&((start + p) * stride + k * dilation));
        let mut taps = Vec::new();
        for k in 0..kernel {
            if let Some(first) = (0..pixels).find(|&p| lies(k, p)) {
                let end = (first..pixels).find(|&p| !lies(k, p)).unwrap_or(pixels);
                taps.push(Tap { value: k as i64, first, end });
            }
        }
        let all = taps.len() == kernel && taps.iter().all(|tap| tap.first == 0 && tap.end == pixels);
        let taps = (!all).then_some(taps);
        match runs.last_mut() {
            Some(run) if run.pixels == pixels && run.taps == taps => run.count += 1,
            _ => {
                runs.push(TileRun { first: t, count: 1, pixels, taps, origin: outputs.start, distance: tiling.pixels })
            }
        }
    }
    runs
}
