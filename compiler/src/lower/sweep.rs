//! The loops of what slides a window over pixels and leaves channels where they are: depthwise convolutions, pools.

use super::build::{KernelBuilder, for_loop};
use super::conv::{RowClass, tile_runs};
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

impl Sweep {
    /// Units: rows of each image of each block.
    pub(super) fn units(&self) -> usize {
        self.blocks * self.images * self.output[0]
    }

    /// The loops over blocks, images, rows and tiles. A tile has so many reductions over its window; `update` is given
    /// the number of the reduction, the block, the tap `kh * KW + kw` and the input's element of lane 0; `finish` the
    /// spot.
    pub(super) fn build(
        &self,
        kb: &mut KernelBuilder,
        classes: &[RowClass],
        init: &dyn Fn(&Index) -> Value,
        reductions: usize,
        update: &dyn Fn(usize, &Index, Index, Index) -> Update,
        finish: &mut dyn FnMut(&mut KernelBuilder, Spot) -> Vec<Stmt>,
    ) -> Vec<Stmt> {
        let Sweep { window, images, blocks, input: [h, w], output: [out_h, out_w], schedule } = *self;
        let schedule::Lanewise { tiling, shares_taps } = schedule;
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
            for run in tile_runs(&window, w, out_w, tiling) {
                let (t, p, b) = (kb.var("t"), kb.var("p"), kb.var("b"));
                let tile_index = if run.count == 1 { Index::from(run.first) } else { Index::var(t) };
                let ow = tile_index * tiling.pixels + p;
                let block = Index::var(cb);
                let over_window = |kb: &mut KernelBuilder, number: usize| {
                    let mut axes = Vec::new();
                    let kh = if kernel_rows == Range::new(0usize, 1usize) {
                        Index::constant(0)
                    } else {
                        let kh = kb.var("kh");
                        axes.push(Axis::Loop { var: kh, range: kernel_rows.clone() });
                        Index::var(kh)
                    };
                    let kw = kb.var("kw");
                    let every_tap = || {
                        let every = |value| Tap { value: value as i64, first: 0, end: run.pixels };
                        (0..window.kernel[1]).map(every).collect()
                    };
                    axes.push(match &run.taps {
                        Some(taps) => Axis::Taps { var: kw, taps: taps.clone(), together: shares_taps },
                        None if shares_taps => Axis::Taps { var: kw, taps: every_tap(), together: true },
                        None => Axis::Loop { var: kw, range: Range::new(0usize, window.kernel[1]) },
                    });
                    let ih = Index::var(oh) * window.stride[0] + kh.clone() * window.dilation[0] - window.pads.top;
                    let iw = ow.clone() * window.stride[1] + kw * window.dilation[1] - window.pads.left;
                    let from = (n.clone() * (h * w) + ih * w + iw) * LANES;
                    let update = update(number, &block, kh * window.kernel[1] + kw, from);
                    Reduction { axes, prefetch: None, update }
                };
                let reductions = (0..reductions).map(|number| over_window(kb, number)).collect();
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
}
