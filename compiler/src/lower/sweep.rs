//! The loops of what slides a window over pixels and leaves channels where they are: depthwise convolutions, pools.

use super::build::{KernelBuilder, for_loop};
use super::edges::{RowClass, TileRun, tile_runs};
use super::sums;
use crate::graph::Window;
use crate::kernel::{Axis, Bound, Index, LANES, Range, Reduction, Stmt, Tap, Tile, Update, Value, Var};
use crate::schedule;

/// A row's worth of a lane-wise window: what depthwise convolutions and pools have in common.
pub(super) struct Sweep {
    pub(super) window: Window,
    pub(super) images: usize,
    pub(super) blocks: usize,
    /// Input rows and columns.
    pub(super) input: [usize; 2],
    /// Output rows and columns.
    pub(super) output: [usize; 2],
    pub(super) schedule: schedule::Lanewise,
}

/// A tile of a [`Sweep`]: what its update and its finish may use.
pub(super) struct Spot {
    /// The block.
    pub(super) block: Index,
    /// The image.
    pub(super) image: Index,
    /// The output element of lane 0, in the block.
    pub(super) output: Index,
    /// The output row.
    pub(super) row: Index,
    /// The output column.
    pub(super) column: Index,
}

/// What is done at a tap, see [`Over::Taps`].
type Updates<'a> = dyn Fn(usize, &Index, Index, Index) -> Update + 'a;

/// What a tile does over its window.
pub(super) enum Over<'a> {
    /// So many reductions, tap by tap.
    Taps {
        reductions: usize,
        /// Whether kernel rows are summed apart.
        rows_apart: bool,
        /// Given the number of the reduction, the block, the tap `kh * KW + kw` and the input's element of lane 0.
        update: &'a Updates<'a>,
    },
    /// A sum as a tree, of a value given by the block and the input's element of lane 0.
    Sum(&'a dyn Fn(&Index, Index) -> Value),
}

impl Sweep {
    /// Units: rows of each image of each block.
    pub(super) fn units(&self) -> usize {
        self.blocks * self.images * self.output[0]
    }

    /// The loops over blocks, images, rows and tiles; what a tile does over its window, and `finish` at a spot.
    pub(super) fn build(
        &self,
        kb: &mut KernelBuilder,
        classes: &[RowClass],
        init: &dyn Fn(&Index) -> Value,
        over: &Over<'_>,
        finish: &mut dyn FnMut(&mut KernelBuilder, Spot) -> Vec<Stmt>,
    ) -> Vec<Stmt> {
        let Sweep { window, images, blocks, input: [h, w], output: [out_h, out_w], .. } = *self;
        let cb = kb.var("cb");
        let image = (images > 1).then(|| kb.var("n"));
        let n = image.map_or(Index::constant(0), Index::var);
        let mut rows = Vec::new();
        for class in classes {
            let oh = kb.var("oh");
            let start = cb * (images * out_h) + n.clone() * out_h;
            let range = Range {
                lo: Bound::Max(Index::var(Var::LO) - start.clone(), Index::from(class.start)),
                hi: Bound::Min(Index::var(Var::HI) - start, Index::from(class.end)),
            };
            let kernel_rows = class.kernel_rows(&window, h, oh);
            let mut row = Vec::new();
            for run in self.runs(over) {
                let (t, p, b) = (kb.var("t"), kb.var("p"), kb.var("b"));
                let tile_index = if run.count == 1 { Index::from(run.first) } else { Index::var(t) };
                let ow = tile_index * run.distance + p + run.origin;
                let block = Index::var(cb);
                let from = |kh: Index, kw: Index| {
                    let ih = Index::var(oh) * window.stride[0] + kh * window.dilation[0] - window.pads.top;
                    let iw = ow.clone() * window.stride[1] + kw * window.dilation[1] - window.pads.left;
                    (n.clone() * (h * w) + ih * w + iw) * LANES
                };
                let reductions = match *over {
                    Over::Taps { reductions, rows_apart, update } => {
                        let rows = kernel_rows.all();
                        let taps = |number| {
                            let update = |tap: Index, kh: Index, kw: Index| update(number, &block, tap, from(kh, kw));
                            self.taps(kb, &rows, &run, rows_apart, &update)
                        };
                        (0..reductions).map(taps).collect()
                    }
                    Over::Sum(element) => {
                        let columns = run.columns(window.kernel[1]);
                        sums::window(kb, &kernel_rows, columns, &|kh, kw| element(&block, from(kh, kw)))
                    }
                };
                let output = (n.clone() * (out_h * out_w) + oh * out_w + ow.clone()) * LANES;
                let spot = Spot { block: block.clone(), image: n.clone(), output, row: Index::var(oh), column: ow };
                let tile = Stmt::Tile(Tile {
                    pixel: p,
                    pixels: run.pixels,
                    block: b,
                    blocks: 1,
                    init: init(&block),
                    reductions,
                    finish: finish(kb, spot),
                });
                if run.count == 1 {
                    row.push(tile);
                } else {
                    row.push(for_loop(t, Range::new(run.first, run.first + run.count), vec![tile]));
                }
            }
            rows.push(for_loop(oh, range, row));
        }
        let body = match image {
            Some(n) => vec![for_loop(n, Range::new(0usize, images), rows)],
            None => rows,
        };
        vec![for_loop(cb, Range::new(0usize, blocks), body)]
    }

    /// The tiles of a row. Of a long sum, those whose windows lie inside have several pixels, others one.
    fn runs(&self, over: &Over<'_>) -> Vec<TileRun> {
        let Sweep { window, input: [_, w], output: [_, out_w], schedule: schedule::Lanewise { tiling, .. }, .. } =
            *self;
        match over {
            Over::Taps { .. } => tile_runs(&window, w, 0..out_w, tiling),
            Over::Sum(_) => {
                let last = window.dilation[1] * (window.kernel[1] - 1);
                let inside = |ow: &usize| {
                    let first = ow * window.stride[1];
                    first >= window.pads.left && first + last < window.pads.left + w
                };
                let start = (0..out_w).find(inside).unwrap_or(out_w);
                let end = (0..out_w).rev().find(inside).map_or(start, |last| last + 1);
                let parts = [(0..start, 1), (start..end, tiling.pixels), (end..out_w, 1)];
                let parts = parts.into_iter().filter(|(outputs, _)| !outputs.is_empty());
                let runs = |(outputs, limit): (std::ops::Range<usize>, usize)| {
                    let tiling = schedule::Tiling::of(outputs.len(), limit);
                    tile_runs(&window, w, outputs, tiling)
                };
                parts.flat_map(runs).collect()
            }
        }
    }

    /// A reduction over the taps of a tile: `update` is given the tap `kh * KW + kw`, its row and its column.
    fn taps(
        &self,
        kb: &mut KernelBuilder,
        rows: &Range,
        run: &TileRun,
        rows_apart: bool,
        update: &dyn Fn(Index, Index, Index) -> Update,
    ) -> Reduction {
        let (kernel, shares_taps) = (self.window.kernel[1], self.schedule.shares_taps);
        let mut axes = Vec::new();
        let kh = if *rows == Range::new(0usize, 1usize) {
            Index::constant(0)
        } else {
            let kh = kb.var("kh");
            axes.push(Axis::Loop { var: kh, range: rows.clone() });
            Index::var(kh)
        };
        let apart = if rows_apart { axes.len() } else { 0 };
        let kw = kb.var("kw");
        let every_tap = || {
            let every = |value| Tap { value: value as i64, first: 0, end: run.pixels };
            (0..kernel).map(every).collect()
        };
        axes.push(match &run.taps {
            Some(taps) => Axis::Taps { var: kw, taps: taps.clone(), together: shares_taps },
            None if shares_taps => Axis::Taps { var: kw, taps: every_tap(), together: true },
            None => Axis::Loop { var: kw, range: Range::new(0usize, kernel) },
        });
        let update = update(kh.clone() * kernel + kw, kh, Index::var(kw));
        Reduction { axes, apart, prefetch: None, update }
    }
}
