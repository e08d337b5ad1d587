//! Kernels that work lane by lane: depthwise convolution, chains, pairs, borders. A value keeps its blocks' lanes.

use super::build::{KernelBuilder, for_loop, load, store, whole};
use super::chain::{Element, activation_name, binary, chain_name, constant};
use super::conv::{RowClass, row_classes, tile_runs};
use super::{Lowering, Stored};
use crate::graph::{self, Activation, Conv, F32, NodeId, Pads, Stage, Window};
use crate::kernel::{
    Access, At, Axis, Bound, Index, LANES, ParamId, Range, Reduction, Stmt, Tap, Tile, Update, Value, Var,
};
use crate::layout::Layout;
use crate::schedule;
use kiln_rt::weights::Form;

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
    /// The output pixel in its image.
    pub(super) pixel: Index,
}

impl Sweep {
    /// Units: rows of each image of each block.
    pub(super) fn units(&self) -> usize {
        self.blocks * self.images * self.output[0]
    }

    /// The loops over blocks, images, rows and tiles. `update` is given the block, the tap `kh * KW + kw` and the
    /// input's element; `finish` the spot.
    pub(super) fn build(
        &self,
        kb: &mut KernelBuilder,
        classes: &[RowClass],
        init: &dyn Fn(&Index) -> Value,
        update: &dyn Fn(&Index, Index, Index) -> Update,
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
                axes.push(match run.taps {
                    Some(taps) => Axis::Taps { var: kw, taps, together: shares_taps },
                    None if shares_taps => Axis::Taps { var: kw, taps: every_tap(), together: true },
                    None => Axis::Loop { var: kw, range: Range::new(0usize, window.kernel[1]) },
                });
                let ih = Index::var(oh) * window.stride[0] + kh.clone() * window.dilation[0] - window.pads.top;
                let iw = ow.clone() * window.stride[1] + kw * window.dilation[1] - window.pads.left;
                let from = (n.clone() * (h * w) + ih * w + iw) * LANES;
                let pixel = oh * out_w + ow;
                let output = (n.clone() * (out_h * out_w) + pixel.clone()) * LANES;
                let spot = Spot { block: block.clone(), image: n.clone(), output, pixel };
                let tile = Stmt::Tile(Tile {
                    pixel: p,
                    pixels: run.pixels,
                    block: b,
                    blocks: 1,
                    init: init(&block),
                    reductions: vec![Reduction {
                        axes,
                        prefetch: None,
                        update: update(&block, kh * window.kernel[1] + kw, from),
                    }],
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

impl Lowering<'_> {
    pub(super) fn lower_depthwise(&mut self, id: NodeId, conv: Conv, after: &[Stage]) {
        let node = self.graph.node(id);
        let input = self.graph.operands(id)[0];
        let ([images, channels, h, w], [_, _, oh, ow]) = (self.nchw(input), self.nchw(id));
        let Layout::Blocked(map) = self.layouts.of(id).clone() else { unreachable!("depthwise values are in blocks") };
        let lanes = map.channels_of_lanes();
        let [kh, kw] = conv.window.kernel;

        let mut kb = KernelBuilder::new();
        let (regions, len) = self.operand_blocks(id, 0);
        let x = kb.blocks("x", len, Access::Read, regions);
        let kernel = self.by_lanes(node.weights[0], &lanes);
        let buffer = self.pack(kernel, Form::Depthwise);
        let weight_len = self.program.buffer(buffer).len;
        let weight = kb.flat("weight", weight_len, Access::Read, whole(buffer));
        let bias = conv.bias.then(|| self.lane_vector(&mut kb, "bias", node.weights[1], &lanes));
        let (mut operand, mut next_weight) = (1, 1 + usize::from(conv.bias));
        let chain = self.bind_chain(&mut kb, id, after, &lanes, &mut operand, &mut next_weight);
        let regions = self.make_blocks(id);
        let y = kb.blocks("y", images * oh * ow * LANES, Access::Write, regions);
        chain.overwrite_added(&mut kb, y);

        let sweep = Sweep {
            window: conv.window,
            images,
            blocks: lanes.len() / LANES,
            input: [h, w],
            output: [oh, ow],
            schedule: schedule::lanewise(&self.machine, ow, conv.window),
        };
        let body = sweep.build(
            &mut kb,
            &row_classes(&conv.window, h, oh),
            &|block| match bias {
                Some(bias) => load(At::flat(bias, block.clone() * LANES)),
                None => constant(0.0),
            },
            &|block, tap, from| {
                let at = At::flat(weight, block.clone() * (kh * kw * LANES) + tap * LANES);
                Update::Fma(load(At::block(x, block.clone(), from)), load(at))
            },
            &mut |kb, spot| {
                let mut body = Vec::new();
                let element = Element { block: spot.block.clone(), offset: spot.output.clone(), image: spot.image };
                let value = chain.apply(kb, &mut body, Value::Acc, &element);
                body.push(store(At::block(y, spot.block, spot.output), value));
                body
            },
        );
        let [sh, sw] = conv.window.stride;
        let stride = if sh == sw { sh.to_string() } else { format!("{sh}x{sw}") };
        let dilation = match conv.window.dilation {
            [1, 1] => String::new(),
            [dh, dw] => format!("_d{dh}x{dw}"),
        };
        let images_name = if images > 1 { format!("{images}x") } else { String::new() };
        let name =
            format!("depthwise{kh}x{kw}_s{stride}{dilation}_{channels}_{images_name}{oh}x{ow}{}", chain_name(after));
        let flops = 2 * (node.ty.len() * kh * kw) as u64;
        let (kernel, args) = kb.build(name, sweep.units(), flops, format!("{}×1", sweep.schedule.tiling.pixels), body);
        self.step(self.layers(id), kernel, args);
    }

    /// A fused node without a core.
    pub(super) fn lower_chain(&mut self, id: NodeId, chain: &[Stage]) {
        if let (Layout::Plain, Stored::Plain(from)) = (self.layouts.of(id).clone(), self.operand(id, 0)) {
            let activations: Vec<Activation> = chain
                .iter()
                .filter_map(|stage| match stage {
                    Stage::Activate(activation) => Some(*activation),
                    Stage::Affine | Stage::Add | Stage::Scale => None,
                })
                .collect();
            return self.flat_map(id, from, chain_name(chain), |kb, body, value| {
                activations.iter().fold(value, |value, a| super::chain::activate(kb, body, *a, value))
            });
        }
        let lanes = match self.layouts.of(id) {
            Layout::Blocked(map) => map.channels_of_lanes(),
            Layout::Plain => Vec::new(),
        };
        let mut kb = KernelBuilder::new();
        let (regions, len) = self.operand_blocks(id, 0);
        let x = kb.blocks("x", len, Access::Read, regions);
        let (mut operand, mut weight) = (1, 0);
        let bound = self.bind_chain(&mut kb, id, chain, &lanes, &mut operand, &mut weight);
        let y = self.lanewise_result(&mut kb, id, &[x]);
        bound.overwrite_added(&mut kb, y);
        self.lanewise_step(kb, id, format!("chain{}", chain_name(chain)), y, |kb, body, element| {
            let read = load(At::block(x, element.block.clone(), element.offset.clone()));
            bound.apply(kb, body, read, element)
        });
    }

    pub(super) fn lower_batch_norm(&mut self, id: NodeId, eps: F32, affine: bool) {
        let weights = self.graph.node(id).weights.clone();
        let (gamma_beta, mean, var) = match *weights {
            [gamma, beta, mean, var] if affine => (Some((gamma, beta)), mean, var),
            [mean, var] => (None, mean, var),
            _ => unreachable!("inference checked the number of weights"),
        };
        let (scale, shift) = self.pool.batch_norm(gamma_beta, mean, var, f64::from(eps.get()));
        let Layout::Blocked(map) = self.layouts.of(id).clone() else { unreachable!("layout gives blocks") };
        let lanes = map.channels_of_lanes();
        let mut kb = KernelBuilder::new();
        let (regions, len) = self.operand_blocks(id, 0);
        let x = kb.blocks("x", len, Access::Read, regions);
        let scale = self.lane_vector(&mut kb, "scale", scale, &lanes);
        let shift = self.lane_vector(&mut kb, "shift", shift, &lanes);
        let y = self.lanewise_result(&mut kb, id, &[x]);
        self.lanewise_step(kb, id, "batch_norm".to_owned(), y, |_, _, element| {
            let [scale, shift] = [scale, shift].map(|param| load(At::flat(param, element.block.clone() * LANES)));
            let read = load(At::block(x, element.block.clone(), element.offset.clone()));
            Value::Fma(Box::new(read), Box::new(scale), Box::new(shift))
        });
    }

    pub(super) fn lower_activation(&mut self, id: NodeId, activation: Activation) {
        match self.operand(id, 0) {
            Stored::Plain(from) => {
                self.flat_map(id, from, format!("_{}", activation_name(activation)), |kb, body, value| {
                    super::chain::activate(kb, body, activation, value)
                });
            }
            Stored::Blocked(_) => self.lower_chain(id, &[Stage::Activate(activation)]),
        }
    }

    pub(super) fn lower_binary(&mut self, id: NodeId, op: graph::Binary) {
        let name = crate::graph::infer::name(&graph::Op::Binary(op));
        let scalar = [0, 1].into_iter().find_map(|i| Some((i, self.scalar(id, i)?)));
        if let Some((position, number)) = scalar {
            let combine = move |value: Value| match position {
                0 => binary(op, constant(number), value),
                _ => binary(op, value, constant(number)),
            };
            let name = format!("{name}_scalar{}", if position == 0 { "_left" } else { "" });
            match self.operand(id, 1 - position) {
                Stored::Plain(from) => self.flat_map(id, from, format!("_{name}"), |_, _, value| combine(value)),
                Stored::Blocked(_) => {
                    let mut kb = KernelBuilder::new();
                    let (regions, len) = self.operand_blocks(id, 1 - position);
                    let x = kb.blocks("x", len, Access::Read, regions);
                    let y = self.lanewise_result(&mut kb, id, &[x]);
                    self.lanewise_step(kb, id, name, y, |_, _, element| {
                        combine(load(At::block(x, element.block.clone(), element.offset.clone())))
                    });
                }
            }
            return;
        }
        if *self.layouts.of(id) == Layout::Plain {
            return self.lower_broadcast(id, op);
        }
        let mut kb = KernelBuilder::new();
        let params = [0, 1].map(|i| {
            let (regions, len) = self.operand_blocks(id, i);
            let [_, _, h, w] = self.nchw(self.graph.operands(id)[i]);
            (kb.blocks(["a", "b"][i], len, Access::Read, regions), h * w)
        });
        let pixels = {
            let [_, _, h, w] = self.nchw(id);
            h * w
        };
        let whole_operands: Vec<ParamId> =
            params.iter().filter(|(_, of)| *of == pixels).map(|(param, _)| *param).collect();
        let y = self.lanewise_result(&mut kb, id, &whole_operands);
        self.lanewise_step(kb, id, name.to_owned(), y, |_, _, element| {
            let [a, b] = params.map(|(param, of)| {
                let offset = if of == pixels { element.offset.clone() } else { element.image.clone() * LANES };
                load(At::block(param, element.block.clone(), offset))
            });
            binary(op, a, b)
        });
    }

    /// A border of a constant around each image.
    pub(super) fn lower_pad(&mut self, id: NodeId, pads: Pads, value: f32) {
        let input = self.graph.operands(id)[0];
        let ([images, channels, h, w], [_, _, oh, ow]) = (self.nchw(input), self.nchw(id));
        let mut kb = KernelBuilder::new();
        let (regions, len) = self.operand_blocks(id, 0);
        let blocks = regions.len();
        let x = kb.blocks("x", len, Access::Read, regions);
        let regions = self.make_blocks(id);
        let y = kb.blocks("y", images * oh * ow * LANES, Access::Write, regions);
        let (u, cb) = (kb.var("n"), kb.var("cb"));
        let mut body = Vec::new();
        let out_row = |row: Index| (Index::var(u) * oh + row) * ow;
        let mut fill = |kb: &mut KernelBuilder, rows: (usize, usize), columns: (usize, usize)| {
            if rows.0 == rows.1 || columns.0 == columns.1 {
                return;
            }
            let (row, column) = (kb.var("row"), kb.var("column"));
            let at = At::block(y, cb, (out_row(Index::var(row)) + column) * LANES);
            let inner = for_loop(column, Range::new(columns.0, columns.1), vec![store(at, constant(value))]);
            body.push(for_loop(row, Range::new(rows.0, rows.1), vec![inner]));
        };
        fill(&mut kb, (0, pads.top), (0, ow));
        fill(&mut kb, (pads.top, pads.top + h), (0, pads.left));
        fill(&mut kb, (pads.top, pads.top + h), (pads.left + w, ow));
        fill(&mut kb, (pads.top + h, oh), (0, ow));
        let (row, column) = (kb.var("row"), kb.var("column"));
        let from = ((Index::var(u) * h + row) * w + column) * LANES;
        let to = (out_row(Index::var(row) + pads.top) + column + pads.left) * LANES;
        let copy = store(At::block(y, cb, to), load(At::block(x, cb, from)));
        body.push(for_loop(row, Range::new(0usize, h), vec![for_loop(column, Range::new(0usize, w), vec![copy])]));
        let nest =
            vec![for_loop(u, Range::new(0usize, images), vec![for_loop(cb, Range::units(u * blocks, blocks), body)])];
        let name = format!("pad_{channels}_{images}x{h}x{w}_to_{oh}x{ow}");
        let (kernel, args) = kb.build(name, images * blocks, 0, "1×1".to_owned(), nest);
        self.step(self.layers(id), kernel, args);
    }

    /// The result's blocks as a parameter; it may overwrite operands that it reads element by element.
    fn lanewise_result(&mut self, kb: &mut KernelBuilder, id: NodeId, overwritable: &[ParamId]) -> ParamId {
        let len = self.pixels(id) * LANES;
        let regions = self.make_blocks(id);
        let y = kb.blocks("y", len, Access::Write, regions);
        for &read in overwritable {
            kb.may_overwrite(y, read);
        }
        y
    }

    /// A step over all blocks, images and pixels of a value; units are images of blocks.
    fn lanewise_step(
        &mut self,
        mut kb: KernelBuilder,
        id: NodeId,
        name: String,
        y: ParamId,
        value: impl FnOnce(&mut KernelBuilder, &mut Vec<Stmt>, &Element) -> Value,
    ) {
        let [images, channels, h, w] = self.nchw(id);
        let Layout::Blocked(map) = self.layouts.of(id).clone() else { unreachable!("layout gives blocks") };
        let blocks = map.blocks().len();
        let (n, cb, pixel) = (kb.var("n"), kb.var("cb"), kb.var("pixel"));
        let element = Element { block: Index::var(cb), offset: (n * (h * w) + pixel) * LANES, image: Index::var(n) };
        let mut inner = Vec::new();
        let value = value(&mut kb, &mut inner, &element);
        inner.push(store(At::block(y, element.block, element.offset), value));
        let over_pixels = for_loop(pixel, Range::new(0usize, h * w), inner);
        let over_blocks = for_loop(cb, Range::units(n * blocks, blocks), vec![over_pixels]);
        let body = vec![for_loop(n, Range::new(0usize, images), vec![over_blocks])];
        let name = format!("{name}_{channels}_{}px", images * h * w);
        let flops = self.graph.node(id).ty.len() as u64;
        let (kernel, args) = kb.build(name, images * blocks, flops, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }

    /// A function of each element of a row-major value; units are runs of 64 blocks.
    fn flat_map(
        &mut self,
        id: NodeId,
        from: crate::kernel::BufferId,
        name: String,
        value: impl Fn(&mut KernelBuilder, &mut Vec<Stmt>, Value) -> Value,
    ) {
        const RUN: usize = 64;
        let len = self.graph.node(id).ty.len();
        let mut kb = KernelBuilder::new();
        let x = kb.flat("x", len, Access::Read, whole(from));
        let to = self.make_plain(id);
        let y = kb.flat("y", len, Access::Write, whole(to));
        let (blocks, rest) = (len / LANES, len % LANES);
        let units = len.div_ceil(LANES * RUN);
        let (u, i) = (kb.var("u"), kb.var("i"));
        let each = |kb: &mut KernelBuilder, at: Index, lanes: usize| {
            let mut body = Vec::new();
            let read = Value::Load { at: At::flat(x, at.clone()), lanes };
            let value = value(kb, &mut body, read);
            body.push(Stmt::Store { at: At::flat(y, at), value, lanes });
            body
        };
        let mut body = Vec::new();
        if blocks > 0 {
            let hi = Bound::Min(Index::from(RUN), Index::from(blocks) - u * RUN);
            let stmts = each(&mut kb, (u * RUN + i) * LANES, LANES);
            body.push(for_loop(i, Range { lo: Bound::Index(Index::constant(0)), hi }, stmts));
        }
        if rest > 0 {
            let last = kb.var("last");
            let range =
                Range { lo: Bound::Max(Index::var(u), Index::from(units - 1)), hi: Bound::Index(Index::var(u) + 1i64) };
            let stmts = each(&mut kb, Index::from(blocks * LANES), rest);
            body.push(for_loop(last, range, stmts));
        }
        let body = vec![for_loop(u, Range::new(Var::LO, Var::HI), body)];
        let (kernel, args) = kb.build(format!("map{name}_{len}"), units, len as u64, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }
}
