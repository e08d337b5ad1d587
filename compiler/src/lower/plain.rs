//! Row-major kernels for whatever has no faster form: strided copies and broadcasting pairs, element by element.

use super::build::{KernelBuilder, for_loop, whole};
use super::chain::binary;
use super::{Lowering, Stored};
use crate::graph::{self, NodeId, Op};
use crate::kernel::{Access, At, BufferId, Index, Range, Stmt, Value, Var};

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

    /// Copies a box of elements from one strided place to another; units are indices of the first axis.
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
        let (axes, body) = nest(&mut kb, shape, |_, axes| {
            let read = Value::Splat(At::flat(x, offset(axes, in_strides) + in_offset));
            vec![Stmt::Store { at: At::flat(y, offset(axes, out_strides) + out_offset), value: read, lanes: 1 }]
        });
        let units = if axes == 0 { 1 } else { shape[0] };
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
        let out = strides(&shape);
        let (axes, body) = nest(&mut kb, &shape, |kb, axes| {
            let mut body = Vec::new();
            let [a, b] = reads.each_ref().map(|(param, strides)| Value::Splat(At::flat(*param, offset(axes, strides))));
            let value = binary(kb, &mut body, op, a, b);
            body.push(Stmt::Store { at: At::flat(y, offset(axes, &out)), value, lanes: 1 });
            body
        });
        let units = if axes == 0 { 1 } else { shape[0] };
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

/// Loops over all axes of a shape, the first by units.
fn nest(
    kb: &mut KernelBuilder,
    shape: &[usize],
    each: impl FnOnce(&mut KernelBuilder, &[Var]) -> Vec<Stmt>,
) -> (usize, Vec<Stmt>) {
    let axes: Vec<Var> = (0..shape.len()).map(|axis| kb.var(&format!("a{axis}"))).collect();
    let mut body = each(kb, &axes);
    for (axis, &var) in axes.iter().enumerate().rev() {
        let range = if axis == 0 { Range::new(Var::LO, Var::HI) } else { Range::new(0usize, shape[axis]) };
        body = vec![for_loop(var, range, body)];
    }
    if axes.is_empty() {
        let once = kb.var("once");
        body = vec![for_loop(once, Range::new(Var::LO, Var::HI), body)];
    }
    (axes.len(), body)
}

fn offset(axes: &[Var], strides: &[usize]) -> Index {
    axes.iter().zip(strides).fold(Index::constant(0), |sum, (&axis, &stride)| sum + axis * stride)
}

fn dims(shape: &[usize]) -> String {
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    if dims.is_empty() { "scalar".to_owned() } else { dims.join("x") }
}
