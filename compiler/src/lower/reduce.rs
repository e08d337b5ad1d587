//! What a tile that sums over channels reads: its input by channel, whatever the layout, and its packed weights.

use super::build::{KernelBuilder, load, whole};
use super::chain::{BoundChain, Element, Entry};
use super::sums::{self, Points};
use super::{Lowering, Stored};
use crate::kernel::{
    Access, At, Axis, BufferId, Index, LANES, ParamId, Prefetch, Range, Reduction, Region, Stmt, Tap, Tile, Update,
    Value, Var,
};

/// How the channels of an input are found.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Channel c is lane `c % 16` of block `c / 16`: immediate offsets.
    Dense { param: ParamId },
    /// Each channel has an entry of its own in a list of places; output block ob starts at entry `ob * stride`.
    Scattered { param: ParamId, stride: usize },
    /// Row-major `[N, C, H, W]`, as networks are given their inputs.
    Plain { param: ParamId, channels: usize, pixels: usize },
}

/// A pixel of the input.
#[derive(Clone, Debug)]
pub(super) struct Pixel {
    /// The image; zero where pixels of all images are counted through.
    pub(super) image: Index,
    /// The pixel in it.
    pub(super) pixel: Index,
    /// Pixels of an image in blocks.
    pub(super) per_image: usize,
}

impl Pixel {
    /// The pixel among those of all images.
    fn flat(&self) -> Index {
        self.image.clone() * self.per_image + self.pixel.clone()
    }
}

impl Source {
    /// The element of channel `16 * block + lane` at a pixel, as output block `ob` reads it.
    pub(super) fn at(&self, ob: &Index, block: &Index, lane: &Index, pixel: &Pixel) -> At {
        let channel = block.clone() * LANES + lane.clone();
        match self {
            Source::Dense { param } => At::block(*param, block.clone(), pixel.flat() * LANES + lane.clone()),
            Source::Scattered { param, stride } => {
                At::block(*param, ob.clone() * *stride + channel, pixel.flat() * LANES)
            }
            Source::Plain { param, channels, pixels } => {
                let image = pixel.image.clone() * (channels * pixels);
                At::flat(*param, image + channel * *pixels + pixel.pixel.clone())
            }
        }
    }

    /// How output block `ob` finds channel `16 * block + lane` at a pixel in what is laid out as the input.
    fn entry(&self, ob: &Index, block: &Index, lane: &Index, pixel: &Pixel) -> Entry {
        let channel = block.clone() * LANES + lane.clone();
        let (pixel, image) = (pixel.flat(), pixel.image.clone());
        match self {
            Source::Dense { .. } | Source::Plain { .. } => {
                Entry { channel, place: block.clone(), lane: lane.clone(), pixel, image }
            }
            Source::Scattered { stride, .. } => {
                let channel = ob.clone() * *stride + channel;
                Entry { place: channel.clone(), channel, lane: Index::constant(0), pixel, image }
            }
        }
    }

    /// A word for kernel names.
    pub(super) fn suffix(&self) -> &'static str {
        match self {
            Source::Dense { .. } => "",
            Source::Scattered { .. } => "_scattered",
            Source::Plain { .. } => "_plain",
        }
    }
}

impl Lowering<'_> {
    /// The source of a value that all output blocks read alike.
    pub(super) fn source(
        &self,
        kb: &mut KernelBuilder,
        stored: &Stored,
        channels: usize,
        pixels: [usize; 2],
    ) -> Source {
        let [images, pixels] = pixels;
        let len = images * pixels * LANES;
        match stored {
            Stored::Plain(buffer) => {
                let param = kb.flat("x", images * channels * pixels, Access::Read, whole(*buffer));
                Source::Plain { param, channels, pixels }
            }
            Stored::Blocked(lanes) => {
                if let Some(regions) = dense_regions(lanes) {
                    Source::Dense { param: kb.blocks("x", len, Access::Read, regions) }
                } else {
                    let param = kb.blocks("x", len - (LANES - 1), Access::Read, lane_regions(lanes));
                    Source::Scattered { param, stride: 0 }
                }
            }
        }
    }
}

/// A region for each channel, from its lane on.
pub(super) fn lane_regions(lanes: &[(BufferId, usize)]) -> Vec<Region> {
    lanes.iter().map(|&(buffer, offset)| Region { buffer, offset }).collect()
}

/// The blocks, where channel c is lane `c % 16` of block `c / 16`.
pub(super) fn dense_regions(lanes: &[(BufferId, usize)]) -> Option<Vec<Region>> {
    let is_dense =
        |(c, &(buffer, lane)): (usize, &(BufferId, usize))| lane == c % LANES && buffer == lanes[c / LANES * LANES].0;
    let regions = || lanes.iter().step_by(LANES).map(|&(buffer, _)| whole(buffer)).collect();
    lanes.iter().enumerate().all(is_dense).then(regions)
}

/// A convolution's taps, as one tile sees them.
#[derive(Clone, Debug)]
pub(super) struct Taps {
    /// Kernel rows and columns.
    pub(super) kernel: [usize; 2],
    /// The kernel rows that lie inside the input.
    pub(super) rows: Range,
    /// The kernel columns, each with the pixels of the tile for which it lies inside; None where all do for all.
    pub(super) columns: Option<Vec<Tap>>,
}

/// All that the tiles of one kernel share.
pub(super) struct ReduceTile<'a> {
    pub(super) source: &'a Source,
    /// Channels that an output sums over.
    pub(super) channels: usize,
    pub(super) weight: ParamId,
    pub(super) bias: Option<ParamId>,
    pub(super) before: &'a BoundChain,
    pub(super) after: &'a BoundChain,
    pub(super) output: Output,
    /// Whether a tile asks for the weights of the blocks after its own.
    pub(super) prefetch: bool,
}

/// Where a tile's results go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    /// Block by block.
    Blocked(ParamId),
    /// Row-major `[N, channels]`: one pixel an image.
    Plain { param: ParamId, channels: usize },
}

/// Where one tile stands.
pub(super) struct Place<'a> {
    /// The first output block.
    pub(super) ob: Index,
    /// Output blocks.
    pub(super) blocks: usize,
    /// Lanes that exist of the last of them.
    pub(super) lanes: usize,
    /// Pixels.
    pub(super) pixels: usize,
    /// The input pixel of a kernel row, a kernel column and a pixel of the tile.
    pub(super) input: &'a dyn Fn(Index, Index, Var) -> Pixel,
    /// The output pixel of a pixel of the tile.
    pub(super) output: &'a dyn Fn(Var) -> Pixel,
    pub(super) taps: &'a Taps,
}

impl ReduceTile<'_> {
    /// The tile statement: bias, then `input block, kernel row, kernel column, channel` in that order, long sums [by
    /// runs](sums::products), then the epilogue.
    pub(super) fn build(&self, kb: &mut KernelBuilder, place: &Place<'_>) -> Vec<Stmt> {
        let (p, b) = (kb.var("p"), kb.var("b"));
        let ob = place.ob.clone() + b;
        let init = match self.bias {
            Some(bias) => load(At::flat(bias, ob.clone() * LANES)),
            None => super::chain::constant(0.0),
        };
        let (full, rest) = (self.channels / LANES, self.channels % LANES);
        let mut reductions = Vec::new();
        if full > 0 {
            reductions.push(self.reduction(kb, place, (p, &ob), full, LANES, 0));
        }
        if rest > 0 {
            reductions.push(self.reduction(kb, place, (p, &ob), 1, rest, full));
        }
        let mut finish = Vec::new();
        let to = (place.output)(p);
        let element = Element { block: ob.clone(), offset: to.flat() * LANES, image: to.image.clone() };
        let value = self.after.apply(kb, &mut finish, Value::Acc, &element);
        let at = match self.output {
            Output::Blocked(param) => At::block(param, ob.clone(), element.offset),
            Output::Plain { param, channels } => At::flat(param, to.flat() * channels + ob * LANES),
        };
        finish.push(Stmt::Store { at, value, lanes: place.lanes });
        vec![Stmt::Tile(Tile {
            pixel: p,
            pixels: place.pixels,
            block: b,
            blocks: place.blocks,
            init,
            reductions,
            finish,
        })]
    }

    /// A reduction over `blocks` input blocks from block `first` on, of `lanes` channels each.
    fn reduction(
        &self,
        kb: &mut KernelBuilder,
        place: &Place<'_>,
        (p, ob): (Var, &Index),
        blocks: usize,
        lanes: usize,
        first: usize,
    ) -> Reduction {
        let Taps { kernel: [kernel_h, kernel_w], rows, columns } = place.taps;
        let taps = kernel_h * kernel_w;
        let Points { mut axes, mut apart, point } = sums::products(kb, "ib", blocks, lanes * taps);
        let block = point + first;
        let (lane, mut lane_axis) = match lanes {
            1 => (Index::constant(0), None),
            _ => {
                let var = kb.var("i");
                (Index::var(var), Some(Axis::Loop { var, range: Range::new(0usize, lanes) }))
            }
        };
        let by_lane = blocks == 1 && taps > 1 && sums::taps_are_runs(lanes * taps);
        if by_lane {
            axes.extend(lane_axis.take());
        }
        let outside = axes.len();
        let kh = if *rows == Range::new(0usize, 1usize) {
            Index::constant(0)
        } else {
            let var = kb.var("kh");
            axes.push(Axis::Loop { var, range: rows.clone() });
            Index::var(var)
        };
        let kw = match columns {
            None if *kernel_w == 1 => Index::constant(0),
            None => {
                let var = kb.var("kw");
                axes.push(Axis::Loop { var, range: Range::new(0usize, *kernel_w) });
                Index::var(var)
            }
            Some(taps) => {
                let var = kb.var("kw");
                axes.push(Axis::Taps { var, taps: taps.clone(), together: false });
                Index::var(var)
            }
        };
        if by_lane && axes.len() > outside {
            apart = outside;
        }
        axes.extend(lane_axis);
        let panel = self.channels * taps * LANES;
        let tap = kh.clone() * *kernel_w + kw.clone();
        let weight =
            ob.clone() * panel + block.clone() * (taps * LANES * LANES) + tap * (lanes * LANES) + lane.clone() * LANES;
        let pixel = (place.input)(kh, kw, p);
        let read = Value::Splat(self.source.at(ob, &block, &lane, &pixel));
        let input = self.before.apply_splat(read, &self.source.entry(ob, &block, &lane, &pixel));
        let next = weight.clone() + place.blocks * panel;
        let prefetch = self.prefetch.then(|| Prefetch { at: At::flat(self.weight, next), level: 2 });
        Reduction { axes, apart, prefetch, update: Update::Fma(input, load(At::flat(self.weight, weight))) }
    }
}
