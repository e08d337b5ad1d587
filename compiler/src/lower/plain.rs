//! Row-major kernels for whatever has no faster form: strided copies and broadcasting pairs, element by element.

use super::build::{KernelBuilder, for_loop, whole};
use super::chain::binary;
use super::{Lowering, Stored};
use crate::graph::{self, NodeId, Op};
use crate::kernel::{Access, At, BufferId, Index, LANES, Range, Stmt, Value, Var};

/// Row-major strides of a shape.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    strides
}

impl Lowering<'_> {
    fn plain_operand(&self, id: NodeId, operand: usize) -> BufferId {
        match self.operand(id, operand) {
            Stored::Plain(buffer) => buffer,
            Stored::Blocked(_) => unreachable!("layout gives this operand row-major"),
        }
    }

    /// Slices, transpositions and concatenations that are copies.
    pub(super) fn lower_plain(&mut self, id: NodeId) {
        let graph = self.graph;
        let operands = graph.operands(id);
        let shape = graph.node(id).ty.shape.clone();
        let to = self.make_plain(id);
        let out_strides = strides(&shape);
        match &graph.node(id).op {
            Op::Slice { axis, start, .. } => {
                let in_strides = strides(&graph.node(operands[0]).ty.shape);
                self.copy(id, "slice", 0, to, &shape, (&in_strides, start * in_strides[*axis]), (&out_strides, 0));
            }
            Op::Transpose { perm } => {
                let from = strides(&graph.node(operands[0]).ty.shape);
                let in_strides: Vec<usize> = perm.iter().map(|&p| from[p]).collect();
                self.copy(id, "transpose", 0, to, &shape, (&in_strides, 0), (&out_strides, 0));
            }
            Op::Concat { axis } => {
                let mut start = 0;
                for (i, &operand) in operands.iter().enumerate() {
                    let part = graph.node(operand).ty.shape.clone();
                    let offset = start * out_strides[*axis];
                    self.copy(id, "concat", i, to, &part, (&strides(&part), 0), (&out_strides, offset));
                    start += part[*axis];
                }
            }
            Op::Input(_)
            | Op::Constant(_)
            | Op::Weight { .. }
            | Op::Conv(_)
            | Op::Linear(_)
            | Op::BatchNorm { .. }
            | Op::Activate(_)
            | Op::Cast(_)
            | Op::Binary(_)
            | Op::MatMul
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::GlobalAvgPool
            | Op::GlobalMaxPool
            | Op::Softmax { .. }
            | Op::Gather { .. }
            | Op::ChannelShuffle { .. }
            | Op::Reshape { .. }
            | Op::Pad { .. }
            | Op::Resize(_)
            | Op::Dropout
            | Op::Identity
            | Op::Fused { .. } => unreachable!("not a copy"),
        }
    }

    /// Copies a box of elements from one strided place to another.
    fn copy(
        &mut self,
        id: NodeId,
        what: &str,
        operand: usize,
        to: BufferId,
        shape: &[usize],
        (in_strides, in_offset): (&[usize], usize),
        (out_strides, out_offset): (&[usize], usize),
    ) {
        let from = self.plain_operand(id, operand);
        let mut kb = KernelBuilder::new();
        let x = kb.flat("x", self.program.buffer(from).len, Access::Read, whole(from));
        let y = kb.flat("y", self.program.buffer(to).len, Access::Write, whole(to));
        let nest = Nest::new(shape, [in_strides, out_strides]);
        let (units, body) = nest.build(&mut kb, &mut |_, [from, to], lanes| {
            let value = nest.read(0, At::flat(x, from + in_offset), lanes);
            vec![Stmt::Store { at: At::flat(y, to + out_offset), value, lanes }]
        });
        let name = format!("{what}_{}", dims(shape));
        let (kernel, args) = kb.build(name, units, 0, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }

    /// Two operands broadcast against each other.
    pub(super) fn lower_broadcast(&mut self, id: NodeId, op: graph::Binary) {
        let shape = self.graph.node(id).ty.shape.clone();
        let operands = self.graph.operands(id);
        let mut kb = KernelBuilder::new();
        let reads = [0, 1].map(|i| {
            let buffer = self.plain_operand(id, i);
            let of = &self.graph.node(operands[i]).ty.shape;
            let missing = shape.len() - of.len();
            let own = strides(of);
            let strides: Vec<usize> = (0..shape.len())
                .map(|axis| if axis < missing || of[axis - missing] == 1 { 0 } else { own[axis - missing] })
                .collect();
            (kb.flat(["a", "b"][i], self.program.buffer(buffer).len, Access::Read, whole(buffer)), strides)
        });
        let to = self.make_plain(id);
        let y = kb.flat("y", self.program.buffer(to).len, Access::Write, whole(to));
        let nest = Nest::new(&shape, [&reads[0].1, &reads[1].1, &strides(&shape)]);
        let (units, body) = nest.build(&mut kb, &mut |kb, [a, b, to], lanes| {
            let mut body = Vec::new();
            let [a, b] = [(0, a), (1, b)].map(|(i, at)| nest.read(i, At::flat(reads[i].0, at), lanes));
            let value = binary(kb, &mut body, op, a, b);
            body.push(Stmt::Store { at: At::flat(y, to), value, lanes });
            body
        });
        let word = crate::graph::infer::name(&Op::Binary(op));
        let name = format!(
            "{word}_{}_{}",
            dims(&self.graph.node(operands[0]).ty.shape),
            dims(&self.graph.node(operands[1]).ty.shape)
        );
        let flops = self.graph.node(id).ty.len() as u64;
        let (kernel, args) = kb.build(name, units, flops, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }
}

/// As many units keep all workers busy.
const UNITS: usize = 64;

/// An axis: its extent, and from one element to the next the distance in each of K places, the last of them written.
type Axis<const K: usize> = (usize, [usize; K]);

/// What is done at a place: given where it stands in each, and for how many elements side by side.
type Each<'a, const K: usize> = dyn FnMut(&mut KernelBuilder, [Index; K], usize) -> Vec<Stmt> + 'a;

/// Loops over the elements of a shape, whose axes are taken together where all places allow it.
struct Nest<const K: usize> {
    outer: Vec<Axis<K>>,
    inner: Axis<K>,
}

impl<const K: usize> Nest<K> {
    fn new(shape: &[usize], strides: [&[usize]; K]) -> Self {
        let mut axes: Vec<Axis<K>> = Vec::new();
        for (axis, &extent) in shape.iter().enumerate().filter(|(_, extent)| **extent != 1) {
            let by = strides.map(|strides| strides[axis]);
            match axes.last_mut() {
                Some((all, of)) if *of == by.map(|stride| stride * extent) => (*all, *of) = (*all * extent, by),
                _ => axes.push((extent, by)),
            }
        }
        let inner = axes.pop().unwrap_or((1, [1; K]));
        Nest { outer: axes, inner }
    }

    /// Whether elements are written side by side, and read so or are all the same.
    fn is_side_by_side(&self) -> bool {
        let (_, strides) = self.inner;
        strides[K - 1] == 1 && strides.iter().all(|&stride| stride <= 1)
    }

    /// What is read of a place: an element a lane, or one for all.
    fn read(&self, place: usize, at: At, lanes: usize) -> Value {
        let (_, strides) = self.inner;
        if lanes == 1 || strides[place] == 0 { Value::Splat(at) } else { Value::Load { at, lanes } }
    }

    /// The units, and the loops.
    fn build(&self, kb: &mut KernelBuilder, each: &mut Each<'_, K>) -> (usize, Vec<Stmt>) {
        // Units are elements of as many axes as make enough of them; of one axis alone, what is written at once.
        let mut units = 1;
        let by_axes = self.outer.iter().position(|(extent, _)| {
            units *= extent;
            units >= UNITS
        });
        let unit_axes = by_axes.map_or(self.outer.len(), |last| last + 1);
        let vars: Vec<Var> = (0..self.outer.len()).map(|axis| kb.var(&format!("a{axis}"))).collect();
        let at: [Index; K] = std::array::from_fn(|place| {
            let axes = vars.iter().zip(&self.outer);
            axes.fold(Index::constant(0), |sum, (&var, (_, strides))| sum + var * strides[place])
        });
        let (writes, mut body) = self.innermost(kb, &at, unit_axes == 0, each);
        if unit_axes == 0 {
            return (writes, body);
        }
        for (axis, &var) in vars.iter().enumerate().rev() {
            let (extent, _) = self.outer[axis];
            let range = if axis + 1 != unit_axes {
                Range::new(0usize, extent)
            } else if axis == 0 {
                Range::new(Var::LO, Var::HI)
            } else {
                let before = vars[..axis].iter().zip(&self.outer[1..]);
                let start = before.fold(Index::constant(0), |start, (&var, (extent, _))| (start + var) * *extent);
                Range::units(start, extent)
            };
            body = vec![for_loop(var, range, body)];
        }
        (units, body)
    }

    /// The loop over the innermost axis, and how many writes it makes: each is a unit where `as_units`.
    fn innermost(
        &self,
        kb: &mut KernelBuilder,
        at: &[Index; K],
        as_units: bool,
        each: &mut Each<'_, K>,
    ) -> (usize, Vec<Stmt>) {
        let (extent, strides) = self.inner;
        let width = if self.is_side_by_side() { LANES } else { 1 };
        let (full, rest) = (extent / width, extent % width);
        let mut body = Vec::new();
        for (first, count, lanes) in [(0, full, width), (full, 1, rest)].into_iter().filter(|part| part.1 * part.2 > 0)
        {
            let var = kb.var("i");
            let write = Index::var(var) + first;
            let places = std::array::from_fn(|place| at[place].clone() + write.clone() * (width * strides[place]));
            let stmts = each(kb, places, lanes);
            let range = if as_units { Range::units(first, count) } else { Range::new(0usize, count) };
            body.push(for_loop(var, range, stmts));
        }
        (full + usize::from(rest > 0), body)
    }
}

fn dims(shape: &[usize]) -> String {
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    if dims.is_empty() { "scalar".to_owned() } else { dims.join("x") }
}
