//! Convolutions of 3×3 by Winograd's minimal filtering: Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A, with d the patches of the input
//! that begin at every second or fourth row and column, and g the kernel (Lavin and Gray, arXiv 1509.09308).
//!
//! A point of a patch is summed over channels like a pixel of a pointwise convolution. What lies between input and
//! output stands in scratch, for some rows of patches at a time. Where the transformed kernel is too large to be read
//! once for each of those, a step of its own transforms the whole input, and the units of the next are output blocks.
//!
//! Padding is never stored here either: what a patch lacks at the top or bottom are zeros in registers, by classes of
//! rows; at the left and right they are zeros in scratch. A NaN or an infinity reaches all outputs of its patches.

mod transform;

use super::Lowering;
use super::build::{KernelBuilder, for_loop, load, store, whole};
use super::chain::{Through, chain_name, constant};
use super::conv::prologue_name;
use super::sums;
use crate::graph::{Conv, NodeId, Pads, Stage, Window};
use crate::kernel::{
    Access, At, Axis, Index, LANES, ParamId, Place, Prefetch, Range, Reduction, Stmt, Tile, Update, Value,
};
use crate::layout::Layout;
use crate::schedule::{self, PatchUnits, Patches, Tiling, Winograd};
use kiln_rt::weights::Form;
use transform::{InputTransform, OutputTransform};

/// The extents of a convolution.
#[derive(Clone, Copy)]
struct Extents {
    winograd: Winograd,
    images: usize,
    /// Input channels.
    channels: usize,
    /// Input rows and columns.
    input: [usize; 2],
    /// Output rows and columns.
    output: [usize; 2],
    /// Rows and columns of an image's patches.
    patches: [usize; 2],
    pads: Pads,
}

/// Some rows and columns of an image's patches, computed together.
struct Chunk {
    image: Index,
    /// The first row.
    row: Index,
    rows: usize,
    /// The first column.
    column: Index,
    columns: usize,
}

/// Values at the points of patches: for each point, for each block of channels, sixteen lanes a patch.
struct Points {
    param: ParamId,
    /// Patches that have a place.
    patches: usize,
    /// Elements from a point to the next.
    plane: usize,
}

impl Points {
    /// Elements from a point to the next, a cache line more than needed: at a power of two apart, the points of a patch
    /// would lie in one set of the first-level cache.
    fn plane(blocks: usize, patches: usize) -> usize {
        (blocks * patches + 1) * LANES
    }

    /// Lane 0 of a patch's block.
    fn at(&self, point: Index, block: Index, patch: Index) -> At {
        At::flat(self.param, point * self.plane + block * (self.patches * LANES) + patch * LANES)
    }
}

impl Extents {
    fn patches_of_image(&self) -> usize {
        self.patches[0] * self.patches[1]
    }

    fn all_patches(&self) -> usize {
        self.images * self.patches_of_image()
    }

    /// Patches times points.
    fn all_points(&self) -> usize {
        self.all_patches() * self.winograd.points().pow(2)
    }

    fn images_name(&self) -> String {
        if self.images > 1 { format!("{}x", self.images) } else { String::new() }
    }

    /// Runs `inner` with the image and the first row of each unit, of so many rows of patches; says how many units.
    fn over_rows(
        &self,
        kb: &mut KernelBuilder,
        rows: usize,
        inner: &mut dyn FnMut(&mut KernelBuilder, &Index, Index, usize) -> Vec<Stmt>,
    ) -> (Vec<Stmt>, usize) {
        let Tiling { pixels: rows, full, rest } = Tiling::of(self.patches[0], rows);
        let units = full + usize::from(rest > 0);
        let images = (self.images > 1).then(|| kb.var("n"));
        let image = images.map_or(Index::constant(0), Index::var);
        let u = kb.var("u");
        let whole = inner(kb, &image, u * rows, rows);
        let mut body = vec![for_loop(u, Range::units(image.clone() * units, full), whole)];
        if rest > 0 {
            let last = inner(kb, &image, Index::from(full * rows), rest);
            let once = kb.var("last_rows");
            body.push(for_loop(once, Range::units(image * units + full, 1), last));
        }
        if let Some(n) = images {
            body = vec![for_loop(n, Range::new(0usize, self.images), body)];
        }
        (body, units * self.images)
    }

    /// Runs `inner` with the first column of each chunk of a row.
    fn over_columns(
        &self,
        kb: &mut KernelBuilder,
        columns: usize,
        inner: &mut dyn FnMut(&mut KernelBuilder, Index, usize) -> Vec<Stmt>,
    ) -> Vec<Stmt> {
        let Tiling { pixels: columns, full, rest } = Tiling::of(self.patches[1], columns);
        if full == 1 && rest == 0 {
            return inner(kb, Index::constant(0), columns);
        }
        let q = kb.var("q");
        let whole = inner(kb, q * columns, columns);
        let mut body = vec![for_loop(q, Range::new(0usize, full), whole)];
        if rest > 0 {
            body.extend(inner(kb, Index::from(full * columns), rest));
        }
        body
    }
}

impl Lowering<'_> {
    /// The form in which a convolution is computed by Winograd's algorithm, if it is: where the blocks of its input hold
    /// channels in order. Targets do not differ in this, so that they share weights.
    pub(super) fn winograd(&self, id: NodeId, conv: &Conv) -> Option<Winograd> {
        let Window { kernel, stride, dilation, pads } = conv.window;
        let narrow = [pads.top, pads.bottom, pads.left, pads.right].into_iter().all(|pad| pad <= 2);
        let is_plain = kernel == [3, 3] && stride == [1, 1] && dilation == [1, 1] && conv.groups == 1;
        let in_order = match (self.layouts.read(self.graph, id, 0), self.layouts.of(id)) {
            (Layout::Blocked(map), Layout::Blocked(_)) => map.is_dense(),
            (Layout::Plain, _) | (_, Layout::Plain) => false,
        };
        if !(is_plain && narrow && in_order) {
            return None;
        }
        let [_, channels, ..] = self.nchw(self.graph.operands(id)[0]);
        let [_, _, oh, ow] = self.nchw(id);
        schedule::winograd(channels, conv.channels, [oh, ow])
    }

    pub(super) fn lower_winograd(
        &mut self,
        id: NodeId,
        conv: Conv,
        winograd: Winograd,
        before: &[Stage],
        after: &[Stage],
    ) {
        let node = self.graph.node(id);
        let [images, channels, h, w] = self.nchw(self.graph.operands(id)[0]);
        let [_, _, oh, ow] = self.nchw(id);
        let patches = [oh, ow].map(|extent| extent.div_ceil(winograd.outputs()));
        let pads = conv.window.pads;
        let extents = Extents { winograd, images, channels, input: [h, w], output: [oh, ow], patches, pads };
        let Layout::Blocked(map) = self.layouts.of(id) else { unreachable!("only such layers are computed so") };
        let lanes = map.channels_of_lanes();
        let (inputs, outputs) = (channels.div_ceil(LANES), lanes.len() / LANES);
        let schedule = schedule::patches(&self.machine, winograd, [inputs, outputs], patches);
        let n = winograd.points();

        // The transform of the input: a step of its own, or the first part of the only one.
        let (mut operand, mut next_weight) = (1, 1 + usize::from(conv.bias));
        let mut kb = KernelBuilder::new();
        let (regions, len) = self.operand_blocks(id, 0);
        let x = kb.blocks("x", len, Access::Read, regions);
        let read_lanes = self.operand_map(id, 0).channels_of_lanes();
        let before_chain =
            self.bind_chain(&mut kb, id, before, &read_lanes, Through::Blocks, (&mut operand, &mut next_weight));
        let half_columns = winograd.outputs() * schedule.columns + 2;
        let half = self.scratch(&mut kb, "half", n * half_columns * LANES);
        let input_transform =
            InputTransform { extents: &extents, keeps: schedule.keeps, x, before: &before_chain, half, half_columns };
        let [input_flops, output_flops] = winograd.transform_flops();
        let (input_flops, output_flops) =
            (input_flops * extents.all_patches() * channels, output_flops * extents.all_patches() * conv.channels);
        let of_chunk = match schedule.units {
            PatchUnits::Rows(rows) => rows * schedule.columns,
            PatchUnits::Blocks => extents.patches_of_image(),
        };
        let (points, transformed) = match schedule.units {
            PatchUnits::Rows(_) => {
                let plane = Points::plane(inputs, of_chunk);
                let param = self.scratch(&mut kb, "points", n * n * plane);
                (Points { param, patches: of_chunk, plane }, 0)
            }
            PatchUnits::Blocks => {
                let plane = Points::plane(inputs, extents.all_patches());
                let len = n * n * plane;
                let buffer = self.buffer(format!("{} (points)", node.origin.name), len, Place::Arena(0));
                let param = kb.flat("points", len, Access::Write, whole(buffer));
                let points = Points { param, patches: extents.all_patches(), plane };
                let (body, units) = extents.over_rows(&mut kb, 1, &mut |kb, image, row, rows| {
                    let first = image.clone() * extents.patches_of_image() + row.clone() * patches[1];
                    let chunk =
                        Chunk { image: image.clone(), row, rows, column: Index::constant(0), columns: patches[1] };
                    input_transform.build(kb, &chunk, &points, &first)
                });
                let name = format!(
                    "winograd_{}_points_{channels}_{}{h}x{w}{}",
                    winograd.name(),
                    extents.images_name(),
                    prologue_name(before)
                );
                let finished = std::mem::replace(&mut kb, KernelBuilder::new());
                let (kernel, args) = finished.build(name, units, input_flops as u64, String::new(), body);
                self.step(self.layers(id), kernel, args);
                let param = kb.flat("points", len, Access::Read, whole(buffer));
                (Points { param, ..points }, input_flops)
            }
        };

        // Products, and the transform of the output.
        let kernel = self.by_lanes(node.weights[0], &lanes);
        let buffer = self.pack(kernel, form(winograd));
        let weight_len = self.program.buffer(buffer).len;
        let weight = kb.flat("weight", weight_len, Access::Read, whole(buffer));
        let bias = conv.bias.then(|| self.lane_vector(&mut kb, "bias", node.weights[1], &lanes));
        let after_chain =
            self.bind_chain(&mut kb, id, after, &lanes, Through::Blocks, (&mut operand, &mut next_weight));
        let plane = Points::plane(schedule.blocks, of_chunk);
        let sums = self.scratch(&mut kb, "sums", n * n * plane);
        let sums = Points { param: sums, patches: of_chunk, plane };
        let half = self.scratch(&mut kb, "half", winograd.outputs() * n * LANES);
        let regions = self.make_blocks(id);
        let y = kb.blocks("y", images * oh * ow * LANES, Access::Write, regions);
        after_chain.overwrite_added(&mut kb, y);
        let products = Products { extents: &extents, schedule, points: &points, weight, sums: &sums };
        let output_transform = OutputTransform {
            extents: &extents,
            keeps: schedule.keeps,
            sums: &sums,
            half,
            bias,
            after: &after_chain,
            y,
        };
        // A chunk, whose patches stand in `points` from `first` on, for a run of groups of output blocks.
        let build = |kb: &mut KernelBuilder, ob: &Index, size: usize, chunk: &Chunk, first: &Index| {
            let mut body = products.build(kb, ob, size, chunk.rows * chunk.columns, first);
            body.extend(output_transform.build(kb, ob, size, chunk));
            body
        };
        let (body, units) = match schedule.units {
            PatchUnits::Rows(rows) => extents.over_rows(&mut kb, rows, &mut |kb, image, row, rows| {
                extents.over_columns(kb, schedule.columns, &mut |kb, column, columns| {
                    let chunk = Chunk { image: image.clone(), row: row.clone(), rows, column, columns };
                    let mut body = input_transform.build(kb, &chunk, &points, &Index::constant(0));
                    for Group { start, size, count } in groups(outputs, schedule.blocks) {
                        let og = kb.var("og");
                        let stmts = build(kb, &(og * size + start), size, &chunk, &Index::constant(0));
                        body.push(for_loop(og, Range::new(0usize, count), stmts));
                    }
                    body
                })
            }),
            PatchUnits::Blocks => {
                let (mut body, mut unit) = (Vec::new(), 0);
                for Group { start, size, count } in groups(outputs, schedule.blocks) {
                    let og = kb.var("og");
                    let over_images = (images > 1).then(|| kb.var("n"));
                    let image = over_images.map_or(Index::constant(0), Index::var);
                    let first = image.clone() * extents.patches_of_image();
                    let chunk = Chunk {
                        image,
                        row: Index::constant(0),
                        rows: patches[0],
                        column: Index::constant(0),
                        columns: patches[1],
                    };
                    let mut stmts = build(&mut kb, &(og * size + start), size, &chunk, &first);
                    if let Some(n) = over_images {
                        stmts = vec![for_loop(n, Range::new(0usize, images), stmts)];
                    }
                    body.push(for_loop(og, Range::units(unit, count), stmts));
                    unit += count;
                }
                (body, unit)
            }
        };
        let product_flops = 2 * extents.all_points() * channels * conv.channels;
        let prologue = if transformed == 0 { prologue_name(before) } else { String::new() };
        let name = format!(
            "winograd_{}_{channels}x{}_{}{oh}x{ow}{prologue}{}",
            winograd.name(),
            conv.channels,
            extents.images_name(),
            chain_name(after)
        );
        let flops = product_flops + output_flops + input_flops - transformed;
        let tile = format!("{}×{}", Tiling::of(of_chunk, schedule.pixels).pixels, schedule.blocks);
        let (kernel, args) = kb.build(name, units, flops as u64, tile, body);
        self.step(self.layers(id), kernel, args);
    }

    /// A parameter in scratch.
    fn scratch(&mut self, kb: &mut KernelBuilder, name: &str, len: usize) -> ParamId {
        let buffer = self.buffer(name.to_owned(), len, Place::Scratch(0));
        kb.flat(name, len, Access::Update, whole(buffer))
    }
}

fn form(winograd: Winograd) -> Form {
    match winograd {
        Winograd::F2 => Form::WinogradF2,
        Winograd::F4 => Form::WinogradF4,
    }
}

/// A run of groups of output blocks.
struct Group {
    /// The first block.
    start: usize,
    /// Blocks of a group.
    size: usize,
    /// Groups.
    count: usize,
}

/// Output blocks in groups of `size`, and what is left over.
fn groups(blocks: usize, size: usize) -> Vec<Group> {
    let Tiling { pixels: size, full, rest } = Tiling::of(blocks, size);
    let mut groups = vec![Group { start: 0, size, count: full }];
    if rest > 0 {
        groups.push(Group { start: full * size, size: rest, count: 1 });
    }
    groups
}

/// The sums over channels of points times kernels.
struct Products<'a> {
    extents: &'a Extents,
    schedule: Patches,
    points: &'a Points,
    weight: ParamId,
    sums: &'a Points,
}

impl Products<'_> {
    /// Computes those of so many patches, which stand in the points from `first` on, for `size` output blocks from `ob`
    /// on.
    fn build(&self, kb: &mut KernelBuilder, ob: &Index, size: usize, patches: usize, first: &Index) -> Vec<Stmt> {
        let n = self.extents.winograd.points();
        let tiling = Tiling::of(patches, self.schedule.pixels);
        let point = kb.var("point");
        let t = kb.var("t");
        let tile = self.tile(kb, (ob, size), &point.into(), (t * tiling.pixels, tiling.pixels), first);
        let mut body = vec![for_loop(t, Range::new(0usize, tiling.full), vec![tile])];
        if tiling.rest > 0 {
            let start = Index::from(tiling.full * tiling.pixels);
            body.push(self.tile(kb, (ob, size), &point.into(), (start, tiling.rest), first));
        }
        vec![for_loop(point, Range::new(0usize, n * n), body)]
    }

    fn tile(
        &self,
        kb: &mut KernelBuilder,
        (ob, blocks): (&Index, usize),
        point: &Index,
        (start, pixels): (Index, usize),
        first: &Index,
    ) -> Stmt {
        let (p, b) = (kb.var("p"), kb.var("b"));
        let channels = self.extents.channels;
        let (full, rest) = (channels / LANES, channels % LANES);
        let patch = start + p;
        let read = first.clone() + patch.clone();
        let mut reductions = Vec::new();
        if full > 0 {
            let blocks = sums::products(kb, "ib", full, LANES);
            reductions.push(self.reduction(kb, blocks, (&(ob.clone() + b), LANES), point, &read));
        }
        if rest > 0 {
            let block = sums::Points { axes: Vec::new(), apart: 0, point: full.into() };
            reductions.push(self.reduction(kb, block, (&(ob.clone() + b), rest), point, &read));
        }
        let to = self.sums.at(point.clone(), b.into(), patch);
        Stmt::Tile(Tile {
            pixel: p,
            pixels,
            block: b,
            blocks,
            init: constant(0.0),
            reductions,
            finish: vec![store(to, Value::Acc)],
        })
    }

    /// A sum over the channels of input blocks, of each of which `lanes` exist.
    fn reduction(
        &self,
        kb: &mut KernelBuilder,
        blocks: sums::Points,
        (ob, lanes): (&Index, usize),
        point: &Index,
        patch: &Index,
    ) -> Reduction {
        let sums::Points { mut axes, apart, point: ib } = blocks;
        let n = self.extents.winograd.points();
        let panel = self.extents.channels * LANES;
        let i = kb.var("i");
        axes.push(Axis::Loop { var: i, range: Range::new(0usize, lanes) });
        let at = self.points.at(point.clone(), ib.clone(), patch.clone());
        let splat = Value::Splat(At { offset: at.offset + i, ..at });
        let weight = ob.clone() * (n * n * panel) + point.clone() * panel + ib * (LANES * LANES) + i * LANES;
        // The kernel's next point is read for the first time by the tiles after these.
        let next = At::flat(self.weight, weight.clone() + panel);
        let prefetch = self.schedule.prefetch.then_some(Prefetch { at: next, level: 2 });
        Reduction { axes, apart, prefetch, update: Update::Fma(splat, load(At::flat(self.weight, weight))) }
    }
}
