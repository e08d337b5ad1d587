//! Conversions between layouts, channel by channel.

use super::build::{KernelBuilder, for_loop, load, store, whole};
use super::reduce::{dense_regions, lane_regions};
use super::{Lowering, Stored};
use crate::graph::NodeId;
use crate::kernel::{Access, At, BufferId, Index, LANES, Range, Region, Stmt, Value, Var};
use crate::layout::{ChannelMap, Layout};

/// A block of an image's features.
struct Features {
    image: Index,
    block: Index,
}

impl Lowering<'_> {
    /// Makes an operand's conversion, if it has one that no earlier node needed.
    pub(super) fn convert(&mut self, id: NodeId, operand: usize) {
        let Some(conversion) = self.layouts.conversion(id, operand) else { return };
        if self.converted.contains_key(&conversion) {
            return;
        }
        let crate::layout::Conversion { value, to } = self.layouts.conversions()[conversion].clone();
        let from = self.stored(value);
        let name = format!("{} (converted)", self.graph.node(value).origin.name);
        let stored = match to {
            Layout::Plain => {
                let len = self.graph.node(value).ty.len();
                let buffer = self.value_buffer(value, name, len, crate::kernel::Place::Arena(0));
                self.relayout_to_plain(value, from, buffer);
                Stored::Plain(buffer)
            }
            Layout::Blocked(map) => {
                let regions = self.make_map(value, &name, &map, self.pixels(value));
                self.relayout_to_blocks(value, from, &map, regions);
                self.stored_map(&map)
            }
        };
        self.converted.insert(conversion, stored);
    }

    /// Writes a value row-major.
    pub(super) fn relayout_to_plain(&mut self, value: NodeId, from: Stored, to: BufferId) {
        let mut kb = KernelBuilder::new();
        let layers = self.layers(value);
        match from {
            Stored::Plain(buffer) => {
                let len = self.graph.node(value).ty.len();
                let x = kb.flat("x", len, Access::Read, whole(buffer));
                let y = kb.flat("y", len, Access::Write, whole(to));
                let (u, units) = (kb.var("u"), len.div_ceil(LANES));
                let (full, rest) = (len / LANES, len % LANES);
                let copy = store(At::flat(y, u * LANES), load(At::flat(x, u * LANES)));
                let mut body = vec![for_loop(u, Range::units(0usize, full), vec![copy])];
                if rest > 0 {
                    let last = kb.var("last");
                    let at = Index::from(full * LANES);
                    let value = Value::Load { at: At::flat(x, at.clone()), lanes: rest };
                    let copy = Stmt::Store { at: At::flat(y, at), value, lanes: rest };
                    body.push(for_loop(last, Range::units(full, 1), vec![copy]));
                }
                let (kernel, args) = kb.build(format!("copy_{len}"), units, 0, "1×1".to_owned(), body);
                self.step(layers, kernel, args);
            }
            Stored::Blocked(lanes) => {
                let [images, channels, h, w] = self.nchw(value);
                let pixels = h * w;
                if let Some(blocks) = dense_regions(&lanes).filter(|_| pixels == 1) {
                    let x = kb.blocks("x", images * LANES, Access::Read, blocks);
                    let y = kb.flat("y", images * channels, Access::Write, whole(to));
                    return self.relayout_features(value, kb, "to_plain", |of, lanes| {
                        let read = Value::Load { at: At::block(x, of.block.clone(), of.image.clone() * LANES), lanes };
                        let at = At::flat(y, of.image * channels + of.block * LANES);
                        Stmt::Store { at, value: read, lanes }
                    });
                }
                let len = images * pixels * LANES - (LANES - 1);
                let x = kb.blocks("x", len, Access::Read, lane_regions(&lanes));
                let y = kb.flat("y", images * channels * pixels, Access::Write, whole(to));
                let (n, c, pixel) = (kb.var("n"), kb.var("c"), kb.var("pixel"));
                let read = Value::Splat(At::block(x, c, (n * pixels + pixel) * LANES));
                let at = At::flat(y, (n * channels + c) * pixels + pixel);
                let copy = Stmt::Store { at, value: read, lanes: 1 };
                let over_pixels = for_loop(pixel, Range::new(0usize, pixels), vec![copy]);
                let over_channels = for_loop(c, Range::units(n * channels, channels), vec![over_pixels]);
                let body = vec![for_loop(n, Range::new(0usize, images), vec![over_channels])];
                let name = format!("relayout_{channels}_{images}x{h}x{w}_to_plain");
                let (kernel, args) = kb.build(name, images * channels, 0, "1×1".to_owned(), body);
                self.step(layers, kernel, args);
            }
        }
    }

    /// Copies features, of one pixel an image, block by block; a unit is an image.
    fn relayout_features(
        &mut self,
        value: NodeId,
        mut kb: KernelBuilder,
        way: &str,
        copy: impl Fn(Features, usize) -> Stmt,
    ) {
        let [images, channels, ..] = self.nchw(value);
        let (n, cb) = (kb.var("n"), kb.var("cb"));
        let (full, rest) = (channels / LANES, channels % LANES);
        let mut body = Vec::new();
        if full > 0 {
            let each = copy(Features { image: Index::var(n), block: Index::var(cb) }, LANES);
            body.push(for_loop(cb, Range::new(0usize, full), vec![each]));
        }
        if rest > 0 {
            body.push(copy(Features { image: Index::var(n), block: Index::from(full) }, rest));
        }
        let body = vec![for_loop(n, Range::new(Var::LO, Var::HI), body)];
        let name = format!("relayout_{channels}_{images}x1x1_{way}");
        let (kernel, args) = kb.build(name, images, 0, "1×1".to_owned(), body);
        self.step(self.layers(value), kernel, args);
    }

    /// Writes a value into blocks, lane by lane; lanes without a channel get some channel's values.
    fn relayout_to_blocks(&mut self, value: NodeId, from: Stored, map: &ChannelMap, to: Vec<Region>) {
        let [images, channels, h, w] = self.nchw(value);
        let pixels = h * w;
        let mut kb = KernelBuilder::new();
        if let (Stored::Plain(buffer), true, 1) = (&from, map.is_dense(), pixels) {
            let x = kb.flat("x", images * channels, Access::Read, whole(*buffer));
            let y = kb.blocks("y", images * LANES, Access::Write, to);
            return self.relayout_features(value, kb, "plain_to_blocks", |of, lanes| {
                let read =
                    Value::Load { at: At::flat(x, of.image.clone() * channels + of.block.clone() * LANES), lanes };
                store(At::block(y, of.block, of.image * LANES), read)
            });
        }
        // One entry for each lane of each block; a lane without a channel reads channel 0.
        let channel_of: Vec<usize> = map.channels_of_lanes().into_iter().map(Option::unwrap_or_default).collect();
        let (regions, image_stride, pixel_stride, len, word): (Vec<Region>, _, _, _, _) = match &from {
            Stored::Plain(buffer) => {
                let regions = channel_of.iter().map(|c| Region { buffer: *buffer, offset: c * pixels }).collect();
                (regions, channels * pixels, 1, (images - 1) * channels * pixels + pixels, "plain")
            }
            Stored::Blocked(lanes) => {
                let listed: Vec<_> = channel_of.iter().map(|&c| lanes[c]).collect();
                let len = images * pixels * LANES - (LANES - 1);
                (lane_regions(&listed), pixels * LANES, LANES, len, "blocks")
            }
        };
        let x = kb.blocks("x", len, Access::Read, regions);
        let blocks = to.len();
        let y = kb.blocks("y", images * pixels * LANES, Access::Write, to);
        let (cb, n, lane, pixel) = (kb.var("cb"), kb.var("n"), kb.var("lane"), kb.var("pixel"));
        let read = Value::Splat(At::block(x, cb * LANES + lane, n * image_stride + pixel * pixel_stride));
        let at = At::block(y, cb, (n * pixels + pixel) * LANES + lane);
        let copy = Stmt::Store { at, value: read, lanes: 1 };
        let over_lanes = for_loop(lane, Range::new(0usize, LANES), vec![copy]);
        let over_pixels = for_loop(pixel, Range::new(0usize, pixels), vec![over_lanes]);
        let over_images = for_loop(n, Range::new(0usize, images), vec![over_pixels]);
        let body = vec![for_loop(cb, Range::new(Var::LO, Var::HI), vec![over_images])];
        let name = format!("relayout_{channels}_{images}x{h}x{w}_{word}_to_blocks");
        let (kernel, args) = kb.build(name, blocks, 0, "1×1".to_owned(), body);
        self.step(self.layers(value), kernel, args);
    }
}
