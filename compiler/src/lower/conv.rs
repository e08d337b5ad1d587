//! Convolutions and linear layers: sums over channels and taps in register tiles.
//!
//! Pointwise layers see flat pixels, of all images; others go row by row. A row's kernel rows are narrowed at the top
//! and bottom by the bounds of their loop; its tiles at the left and right leave out the taps that lie outside.

use std::collections::BTreeSet;

use super::build::{KernelBuilder, for_loop, whole};
use super::chain::{Through, chain_name};
use super::edges::{row_classes, tile_runs};
use super::reduce::{Output, Pixel, Place, ReduceTile, Source, Taps, lane_regions};
use super::{Lowering, Stored};
use crate::graph::{Conv, Linear, NodeId, Stage, WeightId, Window};
use crate::kernel::{Access, Bound, BufferId, Index, LANES, Range, Region, Stmt, Var};
use crate::layout::Layout;
use crate::schedule::{self, Layer, Reduce, Units};
use kiln_rt::weights::{Form, HOLE};

/// The extents of a layer.
struct Extents {
    images: usize,
    /// Input rows and columns.
    input: [usize; 2],
    /// Output rows and columns.
    output: [usize; 2],
    window: Window,
}

/// Output blocks that one step computes.
struct Part<'a> {
    /// The channel of each lane of all blocks of the value.
    lanes: &'a [Option<usize>],
    /// Which blocks.
    blocks: Vec<usize>,
    to: Destination,
    /// What the layer is, for the kernel's name.
    name: String,
}

/// Where a part goes.
enum Destination {
    /// Its blocks.
    Blocks(Vec<Region>),
    /// All of a row-major value.
    Plain(BufferId),
}

impl Lowering<'_> {
    pub(super) fn lower_linear(&mut self, id: NodeId, linear: Linear, before: &[Stage], after: &[Stage]) {
        let conv = Conv { channels: linear.features, window: Window::POINT, groups: 1, bias: linear.bias };
        self.lower_layer(id, conv, before, after, format!("linear_{}x{}", self.inputs(id), linear.features));
    }

    pub(super) fn lower_conv(&mut self, id: NodeId, conv: Conv, before: &[Stage], after: &[Stage]) {
        let Window { kernel: [kh, kw], stride: [sh, sw], dilation, .. } = conv.window;
        let [n, _, oh, ow] = self.nchw(id);
        let channels = format!("{}x{}", self.inputs(id), conv.channels);
        let images = if n > 1 { format!("{n}x") } else { String::new() };
        let name = if conv.window == Window::POINT {
            format!("pointwise_{channels}_{}px", n * oh * ow)
        } else {
            let stride = if sh == sw { sh.to_string() } else { format!("{sh}x{sw}") };
            let dilation =
                if dilation == [1, 1] { String::new() } else { format!("_d{}x{}", dilation[0], dilation[1]) };
            format!("conv{kh}x{kw}_s{stride}{dilation}_{channels}_{images}{oh}x{ow}")
        };
        let groups = if conv.groups > 1 { format!("_g{}", conv.groups) } else { String::new() };
        self.lower_layer(id, conv, before, after, name + &groups);
    }

    fn inputs(&self, id: NodeId) -> usize {
        self.nchw(self.graph.operands(id)[0])[1]
    }

    fn lower_layer(&mut self, id: NodeId, conv: Conv, before: &[Stage], after: &[Stage], name: String) {
        let (lanes, regions) = match self.layouts.of(id).clone() {
            Layout::Blocked(map) => (map.channels_of_lanes(), Some(self.make_blocks(id))),
            Layout::Plain => {
                let lanes = (0..conv.channels.next_multiple_of(LANES)).map(|c| (c < conv.channels).then_some(c));
                (lanes.collect(), None)
            }
        };
        let plain = if regions.is_none() { Some(self.make_plain(id)) } else { None };
        // Blocks of a grouped convolution read as many channels as they have groups: those with equally many make a step.
        let counts: Vec<usize> = lanes.chunks(LANES).map(|block| groups_of_block(&conv, block).len()).collect();
        let mut classes = counts.clone();
        classes.sort_unstable();
        classes.dedup();
        for class in &classes {
            let blocks: Vec<usize> = (0..counts.len()).filter(|&block| counts[block] == *class).collect();
            let to = match (&regions, plain) {
                (Some(regions), _) => Destination::Blocks(blocks.iter().map(|&block| regions[block]).collect()),
                (None, Some(buffer)) => Destination::Plain(buffer),
                (None, None) => unreachable!("a value is in blocks or plain"),
            };
            let name = if classes.len() == 1 { name.clone() } else { format!("{name}_{}blocks", blocks.len()) };
            self.lower_part(id, conv, before, after, Part { lanes: &lanes, blocks, to, name });
        }
    }

    /// Some output blocks of a layer.
    fn lower_part(&mut self, id: NodeId, conv: Conv, before: &[Stage], after: &[Stage], part: Part<'_>) {
        let node = self.graph.node(id);
        let input_id = self.graph.operands(id)[0];
        let [images, input_channels, h, w] = self.nchw(input_id);
        let [_, _, oh, ow] = self.nchw(id);
        let stored = self.operand(id, 0);
        let lanes: Vec<Option<usize>> =
            part.blocks.iter().flat_map(|&block| &part.lanes[block * LANES..][..LANES]).copied().collect();
        let mut kb = KernelBuilder::new();

        // The input and the kernel weights; a grouped convolution's are spread by output block.
        let kernel = node.weights[0];
        let (source, channels, packed, read) = if conv.groups == 1 {
            let source = self.source(&mut kb, &stored, input_channels, [images, h * w]);
            (source, input_channels, self.by_lanes(kernel, &lanes), (0..input_channels).collect())
        } else {
            let Stored::Blocked(places) = &stored else { unreachable!("layout gives grouped inputs in blocks") };
            let (spread, read) = self.spread_groups(kernel, &conv, &lanes);
            let channels = self.pool.shape(spread)[1];
            let listed: Vec<_> = read.iter().map(|&channel| places[channel]).collect();
            let len = images * h * w * LANES - (LANES - 1);
            let param = kb.blocks("x", len, Access::Read, lane_regions(&listed));
            (Source::Scattered { param, stride: channels }, channels, spread, read)
        };
        let buffer = self.pack(packed, Form::Panel);
        let len = self.program.buffer(buffer).len;
        let weight = kb.flat("weight", len, Access::Read, whole(buffer));
        let bias = conv.bias.then(|| self.lane_vector(&mut kb, "bias", node.weights[1], &lanes));

        // The chains around it, and the output.
        let (mut operand, mut next_weight) = (1, 1 + usize::from(conv.bias));
        let (read_lanes, through) = match (&source, self.layouts.read(self.graph, id, 0)) {
            (Source::Scattered { .. }, _) => (read.iter().copied().map(Some).collect(), Through::Channels(&read)),
            (Source::Dense { .. }, Layout::Blocked(map)) => (map.channels_of_lanes(), Through::Blocks),
            (Source::Dense { .. } | Source::Plain { .. }, _) => (Vec::new(), Through::Blocks),
        };
        let bound_before = self.bind_chain(&mut kb, id, before, &read_lanes, through, (&mut operand, &mut next_weight));
        let through = Through::SomeBlocks(&part.blocks);
        let bound_after = self.bind_chain(&mut kb, id, after, &lanes, through, (&mut operand, &mut next_weight));
        let output = match part.to {
            Destination::Blocks(regions) => {
                let y = kb.blocks("y", images * oh * ow * LANES, Access::Write, regions);
                bound_after.overwrite_added(&mut kb, y);
                Output::Blocked(y)
            }
            Destination::Plain(buffer) => {
                let param = kb.flat("y", images * conv.channels, Access::Write, whole(buffer));
                Output::Plain { param, channels: conv.channels }
            }
        };

        let extents = Extents { images, input: [h, w], output: [oh, ow], window: conv.window };
        // Pixels of all images are one line where nothing asks which image a pixel is of.
        let by_image =
            matches!(source, Source::Plain { .. }) || before.contains(&Stage::Scale) || after.contains(&Stage::Scale);
        let flat = conv.window == Window::POINT && (images == 1 || h * w == 1 || !by_image);
        let blocks = lanes.len() / LANES;
        let schedule = schedule::reduce(
            &self.machine,
            Layer {
                channels,
                taps: conv.window.kernel[0] * conv.window.kernel[1],
                blocks,
                lines: if flat { 1 } else { images * oh },
                line: if flat { images * oh * ow } else { ow },
                shared: conv.groups == 1,
            },
        );
        let tile = ReduceTile {
            source: &source,
            channels,
            weight,
            bias,
            before: &bound_before,
            after: &bound_after,
            output,
            prefetch: schedule.prefetch,
        };
        // Only a row-major output looks at lanes past its channels.
        let last_lanes = match output {
            Output::Blocked(_) => LANES,
            Output::Plain { channels, .. } => channels - (blocks - 1) * LANES,
        };
        let nest = Nest { tile: &tile, schedule, blocks, last_lanes };
        let (body, units) = if flat { nest.flat(&mut kb, &extents) } else { nest.rows(&mut kb, &extents) };

        let outputs = lanes.iter().flatten().count() * images * oh * ow;
        let macs = outputs * (input_channels / conv.groups) * conv.window.kernel[0] * conv.window.kernel[1];
        let name = format!("{}{}{}{}", part.name, source.suffix(), prologue_name(before), chain_name(after));
        let shape = format!("{}×{}", schedule.tiling.pixels, schedule.blocks);
        let (kernel, args) = kb.build(name, units, 2 * macs as u64, shape, body);
        self.step(self.layers(id), kernel, args);
    }

    /// A grouped kernel `[O, I, KH, KW]` as one that reads, for each block of output lanes, the channels of its groups,
    /// of which all blocks have equally many: `[lanes, K, KH, KW]`, with zeros between groups, and the K channels of
    /// each block, one block after the other.
    fn spread_groups(&mut self, kernel: WeightId, conv: &Conv, lanes: &[Option<usize>]) -> (WeightId, Vec<usize>) {
        let [outputs, inputs] = [self.pool.shape(kernel)[0], self.pool.shape(kernel)[1]];
        let per_group = outputs / conv.groups;
        let mut read = Vec::new();
        let mut parts = Vec::new();
        for block in lanes.chunks(LANES) {
            let channels: Vec<usize> = groups_of_block(conv, block)
                .into_iter()
                .flat_map(|group| group * inputs..(group + 1) * inputs)
                .collect();
            let mut sum = None;
            for group in groups_of_block(conv, block) {
                let of_group = |channel: usize, per_group: usize| channel / per_group == group;
                let rows: Vec<u32> = block
                    .iter()
                    .map(|lane| lane.filter(|&o| of_group(o, per_group)).map_or(HOLE, |o| o as u32))
                    .collect();
                let columns: Vec<u32> =
                    channels.iter().map(|&c| if of_group(c, inputs) { (c % inputs) as u32 } else { HOLE }).collect();
                let rows = self.pool.gather(kernel, 0, &rows);
                let part = self.pool.gather(rows, 1, &columns);
                sum = Some(match sum {
                    None => part,
                    Some(sum) => self.pool.add(sum, part),
                });
            }
            parts.extend(sum);
            read.extend(channels);
        }
        (self.pool.concat(&parts, 0), read)
    }
}

/// The groups that have outputs in a block, in order.
fn groups_of_block(conv: &Conv, block: &[Option<usize>]) -> BTreeSet<usize> {
    block.iter().flatten().map(|channel| channel / (conv.channels / conv.groups)).collect()
}

/// What a kernel's name says of the chain before it.
pub(super) fn prologue_name(before: &[Stage]) -> String {
    if before.is_empty() { String::new() } else { format!("_after{}", chain_name(before)) }
}

/// The loops around the tiles.
struct Nest<'a> {
    tile: &'a ReduceTile<'a>,
    schedule: Reduce,
    blocks: usize,
    last_lanes: usize,
}

/// A run of groups of output blocks that one loop covers.
struct Groups {
    /// The first output block.
    start: usize,
    /// Output blocks of a group.
    size: usize,
    /// Groups.
    count: usize,
    /// Lanes that exist of a group's last block.
    lanes: usize,
}

impl Nest<'_> {
    /// Output blocks in groups of the schedule's size, what is left over, and a last block that is not whole.
    fn groups(&self) -> Vec<Groups> {
        let whole_blocks = if self.last_lanes == LANES { self.blocks } else { self.blocks - 1 };
        let size = self.schedule.blocks;
        let mut groups = Vec::new();
        if whole_blocks >= size {
            groups.push(Groups { start: 0, size, count: whole_blocks / size, lanes: LANES });
        }
        if whole_blocks % size > 0 {
            let start = whole_blocks / size * size;
            groups.push(Groups { start, size: whole_blocks % size, count: 1, lanes: LANES });
        }
        if whole_blocks < self.blocks {
            groups.push(Groups { start: whole_blocks, size: 1, count: 1, lanes: self.last_lanes });
        }
        groups
    }

    /// Runs `inner` for all groups of output blocks; as units where the schedule says so. `first_unit` counts them.
    fn over_blocks(
        &self,
        kb: &mut KernelBuilder,
        mut inner: impl FnMut(&mut KernelBuilder, Index, &Groups) -> Vec<Stmt>,
    ) -> (Vec<Stmt>, usize) {
        let as_units = self.schedule.units == Units::Blocks;
        let mut body = Vec::new();
        let mut unit = 0;
        for groups in self.groups() {
            let range = if as_units { Range::units(unit, groups.count) } else { Range::new(0usize, groups.count) };
            unit += groups.count;
            if groups.count == 1 && !as_units {
                body.extend(inner(kb, Index::from(groups.start), &groups));
                continue;
            }
            let var = kb.var("og");
            let ob = Index::var(var) * groups.size + groups.start;
            let stmts = inner(kb, ob, &groups);
            body.push(for_loop(var, range, stmts));
        }
        (body, unit)
    }

    /// All pixels of all images in one line.
    fn flat(&self, kb: &mut KernelBuilder, extents: &Extents) -> (Vec<Stmt>, usize) {
        let tiling = self.schedule.tiling;
        let taps = Taps { kernel: [1, 1], rows: Range::new(0usize, 1usize), columns: None };
        // A pixel is an image where images have one pixel each: that is what `scale` stages and plain rows count by.
        let per_image =
            if extents.output == [1, 1] { 1 } else { extents.images * extents.output[0] * extents.output[1] };
        let by_image = extents.output == [1, 1];
        let tile = |kb: &mut KernelBuilder, ob: Index, groups: &Groups, t: Index, pixels: usize| {
            let pixel = move |p: Var| {
                let flat = t.clone() * tiling.pixels + p;
                if by_image {
                    Pixel { image: flat, pixel: Index::constant(0), per_image }
                } else {
                    Pixel { image: Index::constant(0), pixel: flat, per_image }
                }
            };
            let place = Place {
                ob,
                blocks: groups.size,
                lanes: groups.lanes,
                pixels,
                input: &|_, _, p| pixel(p),
                output: &pixel,
                taps: &taps,
            };
            self.tile.build(kb, &place)
        };
        match self.schedule.units {
            Units::Blocks => self.over_blocks(kb, |kb, ob, groups| {
                let mut body = Vec::new();
                let t = kb.var("t");
                let stmts = tile(kb, ob.clone(), groups, Index::var(t), tiling.pixels);
                body.push(for_loop(t, Range::new(0usize, tiling.full), stmts));
                if tiling.rest > 0 {
                    body.extend(tile(kb, ob, groups, Index::from(tiling.full), tiling.rest));
                }
                body
            }),
            Units::Pixels { tiles } => {
                let units = tiling.tiles().div_ceil(tiles);
                let u = kb.var("u");
                let (body, _) = self.over_blocks(kb, |kb, ob, groups| {
                    let mut body = Vec::new();
                    let t = kb.var("t");
                    let first = u * tiles;
                    let stmts = tile(kb, ob.clone(), groups, first.clone() + t, tiling.pixels);
                    // The last unit may have fewer tiles.
                    let left = Index::from(tiling.full) - first;
                    let hi = if tiling.full == units * tiles {
                        Bound::Index(Index::from(tiles))
                    } else {
                        Bound::Min(Index::from(tiles), left)
                    };
                    body.push(for_loop(t, Range { lo: Bound::Index(Index::constant(0)), hi }, stmts));
                    if tiling.rest > 0 {
                        // Runs once, in the last unit.
                        let last = kb.var("last");
                        let stmts = tile(kb, ob, groups, Index::from(tiling.full), tiling.rest);
                        let range = Range {
                            lo: Bound::Max(Index::var(u), Index::from(units - 1)),
                            hi: Bound::Index(Index::var(u) + 1i64),
                        };
                        body.push(for_loop(last, range, stmts));
                    }
                    body
                });
                (vec![for_loop(u, Range::new(Var::LO, Var::HI), body)], units)
            }
        }
    }

    /// Row by row of each image.
    fn rows(&self, kb: &mut KernelBuilder, extents: &Extents) -> (Vec<Stmt>, usize) {
        let lines = extents.images * extents.output[0];
        match self.schedule.units {
            Units::Blocks => self.over_blocks(kb, |kb, ob, groups| {
                self.over_rows(kb, extents, false, &mut |kb, n, oh, rows| {
                    self.row(kb, extents, (ob.clone(), groups), (n, oh, rows))
                })
            }),
            Units::Pixels { .. } => {
                let body = self.over_rows(kb, extents, true, &mut |kb, n, oh, rows| {
                    let stmts = self.over_blocks(kb, |kb, ob, groups| {
                        self.row(kb, extents, (ob, groups), (n.clone(), oh.clone(), rows))
                    });
                    stmts.0
                });
                (body, lines)
            }
        }
    }

    /// Runs `inner` for all rows of all images, with the kernel rows that lie inside.
    fn over_rows(
        &self,
        kb: &mut KernelBuilder,
        extents: &Extents,
        as_units: bool,
        inner: &mut dyn FnMut(&mut KernelBuilder, Index, Index, &Range) -> Vec<Stmt>,
    ) -> Vec<Stmt> {
        let image = (extents.images > 1).then(|| kb.var("n"));
        let n = image.map_or(Index::constant(0), Index::var);
        let mut body = Vec::new();
        for class in row_classes(&extents.window, extents.input[0], extents.output[0]) {
            let oh = kb.var("oh");
            let start = n.clone() * extents.output[0];
            let range = if as_units {
                Range {
                    lo: Bound::Max(Index::var(Var::LO) - start.clone(), Index::from(class.start)),
                    hi: Bound::Min(Index::var(Var::HI) - start, Index::from(class.end)),
                }
            } else {
                Range::new(class.start, class.end)
            };
            let rows = class.kernel_rows(&extents.window, extents.input[0], oh).all();
            let stmts = inner(kb, n.clone(), Index::var(oh), &rows);
            body.push(for_loop(oh, range, stmts));
        }
        match image {
            Some(n) => vec![for_loop(n, Range::new(0usize, extents.images), body)],
            None => body,
        }
    }

    /// The tiles of one row.
    fn row(
        &self,
        kb: &mut KernelBuilder,
        extents: &Extents,
        (ob, groups): (Index, &Groups),
        (n, oh, rows): (Index, Index, &Range),
    ) -> Vec<Stmt> {
        let Extents { input: [h, w], output: [out_h, out_w], window, .. } = *extents;
        let mut body = Vec::new();
        for run in tile_runs(&window, w, 0..out_w, self.schedule.tiling) {
            let taps = Taps { kernel: window.kernel, rows: rows.clone(), columns: run.taps.clone() };
            let t = kb.var("t");
            let tile_index = if run.count == 1 { Index::from(run.first) } else { Index::var(t) };
            let ow = tile_index * self.schedule.tiling.pixels;
            let (n1, n2, oh1, oh2, ow1, ow2) = (n.clone(), n.clone(), oh.clone(), oh.clone(), ow.clone(), ow);
            let input = move |kh: Index, kw: Index, p: Var| {
                let ih = oh1.clone() * window.stride[0] + kh * window.dilation[0] - window.pads.top;
                let column = ow1.clone() + p;
                let iw = column * window.stride[1] + kw * window.dilation[1] - window.pads.left;
                Pixel { image: n1.clone(), pixel: ih * w + iw, per_image: h * w }
            };
            let output = move |p: Var| {
                let pixel = oh2.clone() * out_w + ow2.clone() + p;
                Pixel { image: n2.clone(), pixel, per_image: out_h * out_w }
            };
            let place = Place {
                ob: ob.clone(),
                blocks: groups.size,
                lanes: groups.lanes,
                pixels: run.pixels,
                input: &input,
                output: &output,
                taps: &taps,
            };
            let stmts = self.tile.build(kb, &place);
            if run.count == 1 {
                body.extend(stmts);
            } else {
                body.push(for_loop(t, Range::new(run.first, run.first + run.count), stmts));
            }
        }
        body
    }
}
