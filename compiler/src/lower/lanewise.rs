//! Kernels that work lane by lane: chains, pairs, borders. A value keeps its blocks' lanes.

use super::build::{KernelBuilder, for_loop, load, store, whole};
use super::chain::{Element, Through, activation_name, binary, chain_name, constant};
use super::{Lowering, Stored};
use crate::graph::{self, Activation, F32, NodeId, Pads, Stage};
use crate::kernel::{Access, At, Bound, Index, LANES, ParamId, Range, Stmt, Value, Var};
use crate::layout::Layout;

impl Lowering<'_> {
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
        let bound = self.bind_chain(&mut kb, id, chain, &lanes, Through::Blocks, (&mut operand, &mut weight));
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
            let combine = move |kb: &mut KernelBuilder, body: &mut Vec<Stmt>, value: Value| match position {
                0 => binary(kb, body, op, constant(number), value),
                _ => binary(kb, body, op, value, constant(number)),
            };
            let name = format!("{name}_scalar{}", if position == 0 { "_left" } else { "" });
            match self.operand(id, 1 - position) {
                Stored::Plain(from) => self.flat_map(id, from, format!("_{name}"), combine),
                Stored::Blocked(_) => {
                    let mut kb = KernelBuilder::new();
                    let (regions, len) = self.operand_blocks(id, 1 - position);
                    let x = kb.blocks("x", len, Access::Read, regions);
                    let y = self.lanewise_result(&mut kb, id, &[x]);
                    self.lanewise_step(kb, id, name, y, |kb, body, element| {
                        let read = load(At::block(x, element.block.clone(), element.offset.clone()));
                        combine(kb, body, read)
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
        self.lanewise_step(kb, id, name.to_owned(), y, |kb, body, element| {
            let [a, b] = params.map(|(param, of)| {
                let offset = if of == pixels { element.offset.clone() } else { element.image.clone() * LANES };
                load(At::block(param, element.block.clone(), offset))
            });
            binary(kb, body, op, a, b)
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
    pub(super) fn lanewise_result(&mut self, kb: &mut KernelBuilder, id: NodeId, overwritable: &[ParamId]) -> ParamId {
        let len = self.pixels(id) * LANES;
        let regions = self.make_blocks(id);
        let y = kb.blocks("y", len, Access::Write, regions);
        for &read in overwritable {
            kb.may_overwrite(y, read);
        }
        y
    }

    /// A step over all blocks, images and pixels of a value; units are images of blocks.
    pub(super) fn lanewise_step(
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
    pub(super) fn flat_map(
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
