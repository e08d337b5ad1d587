//! Integers: the kernels of floats with their numbers as i32, and conversions.
//!
//! Values of integers lie in memory as i32s, one a lane; what a caller gives or takes as bytes is widened and cut at the
//! door. So a kernel for integers is the one for floats with other types: its constants become integers, and weights,
//! which are stored as f32s, are converted as they are loaded.

use super::build::{KernelBuilder, load};
use super::chain::constant;
use super::{Lowering, Stored, Unsupported};
use crate::graph::{self, Activation, DType, Filter, Graph, Node, NodeId, Op};
use crate::kernel::{
    Access, At, Binary, Buffer, BufferId, Elem, Kernel, Param, ParamId, ParamKind, Place, Reduction, Stmt, Tile, Unary,
    Update, Value,
};

/// What a buffer of a value at a place has elements of.
pub(super) fn elem_at(dtype: DType, place: &Place) -> Elem {
    let of_caller = match place {
        Place::Input(_) | Place::Output(_) => true,
        Place::Arena(_) | Place::Scratch(_) | Place::Packed { .. } => false,
    };
    match dtype {
        DType::F32 => Elem::F32,
        DType::I8 if of_caller => Elem::I8,
        DType::U8 if of_caller => Elem::U8,
        DType::I32 | DType::I8 | DType::U8 => Elem::I32,
        DType::F64 | DType::I64 | DType::Bool => unreachable!("such values are refused before"),
    }
}

/// Why a node has no kernel, if it is one of elements without.
pub(super) fn unsupported(graph: &Graph, id: NodeId) -> Option<Unsupported> {
    let node = graph.node(id);
    let from = graph.operands(id).first().map(|&operand| graph.node(operand).ty.dtype);
    let why = match node.ty.dtype {
        _ if node.ty.is_empty() => "no kernels for values without elements".to_owned(),
        DType::F32 => return None,
        DType::F64 | DType::I64 | DType::Bool => format!("no kernels for elements of type {}", node.ty.dtype),
        DType::I32 | DType::I8 | DType::U8 => without_kernel(node, from)?,
    };
    // Constants are f32s, which others are cast from: that is no cast of the network's.
    let is_constant = |&id: &NodeId| matches!(graph.node(id).op, Op::Constant(_) | Op::Weight { .. });
    let op = match &node.op {
        Op::Cast(_) if graph.operands(id).iter().all(is_constant) => "constant",
        op => crate::graph::infer::name(op),
    };
    Some(Unsupported { op: op.to_owned(), node: node.origin.name.clone(), why })
}

/// Why a node of integers has no kernel, if it has none.
fn without_kernel(node: &Node, from: Option<DType>) -> Option<String> {
    let of = node.ty.dtype;
    match &node.op {
        // A quotient of bytes is exact as a float.
        Op::Binary(graph::Binary::Div) if of == DType::I32 => {
            Some(format!("no kernels for quotients of elements of type {of}"))
        }
        Op::Activate(Activation::LeakyRelu { .. } | Activation::Abs) => Some("no kernels for integers".to_owned()),
        Op::Cast(to) => {
            let from = from?;
            let (least, largest) = from.range()?;
            let (lo, hi) = to.range()?;
            (least < lo || largest > hi).then(|| format!("no kernels from {from} to {to}, which would have to wrap"))
        }
        Op::Resize(resize) if resize.filter == Filter::Linear => Some("no kernels for integers".to_owned()),
        _ => None,
    }
}

/// Gives each parameter of a kernel the elements of its argument's buffer.
pub(super) fn set_elements(kernel: &mut Kernel, of_argument: impl Fn(usize) -> Option<Elem>) {
    for (i, Param { kind, .. }) in kernel.params.iter_mut().enumerate() {
        if let (ParamKind::Flat { elem, .. } | ParamKind::Blocks { elem, .. }, Some(found)) = (kind, of_argument(i)) {
            *elem = found;
        }
    }
}

/// Whether a kernel touches integers.
pub(super) fn touches_integers(kernel: &Kernel) -> bool {
    kernel.params.iter().any(|param| match param.kind {
        ParamKind::Flat { elem, .. } | ParamKind::Blocks { elem, .. } => elem != Elem::F32,
        ParamKind::Table { .. } => false,
    })
}

/// What a kernel does with integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integers {
    /// What it does with floats.
    AsFloats,
    /// It makes them of floats, or floats of them, and is written for that.
    Converted,
    /// What it does with floats, and keeps the low eight bits of each result, as a byte with or without a sign.
    Bytes {
        /// Whether the byte has a sign.
        signed: bool,
    },
}

/// What the kernel of a function of two values does with integers: results may leave the range of bytes.
pub(super) fn of_pair(binary: graph::Binary, dtype: DType) -> Integers {
    let signed = dtype == DType::I8;
    match (binary, dtype) {
        (graph::Binary::Min | graph::Binary::Max | graph::Binary::Pow, _) => Integers::AsFloats,
        (_, DType::I8 | DType::U8) => Integers::Bytes { signed },
        (_, DType::F32 | DType::F64 | DType::I64 | DType::I32 | DType::Bool) => Integers::AsFloats,
    }
}

/// A kernel of floats as one of integers.
pub(super) fn to_integers(mut kernel: Kernel, integers: Integers) -> Kernel {
    if integers == Integers::Converted {
        return kernel;
    }
    let params = kernel.params.clone();
    // Parameters of unlike elements are not the same memory.
    let elem = |param: ParamId| match params[param.index()].kind {
        ParamKind::Flat { elem, .. } | ParamKind::Blocks { elem, .. } => Some(elem),
        ParamKind::Table { .. } => None,
    };
    kernel.in_place.retain(|&(written, read)| elem(written) == elem(read));
    each_value(&mut kernel.body, &mut |value| *value = integer(value, &params));
    if let Integers::Bytes { signed } = integers {
        each_stored(&mut kernel.body, &mut |value| *value = low_byte(value, signed));
    }
    kernel
}

/// The low eight bits of integers, of which 17 bits differ from their sign: the distance to the nearest multiple of 256
/// below, or, for bytes with a sign, to the nearest of all.
fn low_byte(value: &Value, signed: bool) -> Value {
    use super::chain::add;
    let to_float = Value::Unary(Unary::ToF32, Box::new(value.clone()));
    // Halfway between multiples lie fractions alone, so that none is rounded the wrong way.
    let middle = constant(if signed { 0.5 } else { -127.5 });
    let multiples = Value::Binary(Binary::Mul, Box::new(add(to_float, middle)), Box::new(constant(1.0 / 256.0)));
    let multiples = Value::Unary(Unary::ToI32, Box::new(multiples));
    let below = Value::Binary(Binary::Mul, Box::new(multiples), Box::new(Value::ConstI32(256)));
    Value::Binary(Binary::Sub, Box::new(value.clone()), Box::new(below))
}

/// Goes through the values that statements store.
fn each_stored(body: &mut [Stmt], change: &mut dyn FnMut(&mut Value)) {
    for stmt in body {
        match stmt {
            Stmt::For { body, .. } => each_stored(body, change),
            Stmt::Store { value, .. } => change(value),
            Stmt::Tile(Tile { finish, .. }) => each_stored(finish, change),
            Stmt::Let { .. } | Stmt::Zero { .. } | Stmt::Prefetch(_) => {}
        }
    }
}

fn integer(value: &Value, params: &[Param]) -> Value {
    let inner = |value: &Value| Box::new(integer(value, params));
    let of_f32 = |at: &At| match params[at.param.index()].kind {
        ParamKind::Flat { elem, .. } | ParamKind::Blocks { elem, .. } => elem == Elem::F32,
        ParamKind::Table { .. } => false,
    };
    match value {
        // As a cast has it: infinity, with which maxima begin, is the largest.
        Value::Const(x) => Value::ConstI32(x.get() as i32),
        Value::ConstI32(_) | Value::Local(_) | Value::Acc => value.clone(),
        Value::Load { at, .. } | Value::Splat(at) | Value::SplatGroup { at, .. } if of_f32(at) => {
            Value::Unary(Unary::ToI32, Box::new(value.clone()))
        }
        Value::Load { .. } | Value::Splat(_) | Value::SplatGroup { .. } => value.clone(),
        Value::Unary(function, a) => Value::Unary(*function, inner(a)),
        // Of bytes alone: see [`unsupported`].
        Value::Binary(Binary::Div, a, b) => {
            let [a, b] = [a, b].map(|value| Value::Unary(Unary::ToF32, inner(value)));
            to_integer(super::chain::div(a, b), -32768.0, 32767.0)
        }
        Value::Binary(function, a, b) => {
            let function = match function {
                Binary::MinNan => Binary::Min,
                Binary::MaxNan => Binary::Max,
                Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Min | Binary::Max => *function,
            };
            Value::Binary(function, inner(a), inner(b))
        }
        Value::Fma(a, b, c) => Value::Fma(inner(a), inner(b), inner(c)),
        Value::SelectLt { a, b, then, otherwise } => {
            Value::SelectLt { a: inner(a), b: inner(b), then: inner(then), otherwise: inner(otherwise) }
        }
    }
}

/// Goes through the values of statements.
fn each_value(body: &mut [Stmt], change: &mut dyn FnMut(&mut Value)) {
    for stmt in body {
        match stmt {
            Stmt::For { body, .. } => each_value(body, change),
            Stmt::Let { value, .. } | Stmt::Store { value, .. } => change(value),
            Stmt::Tile(Tile { init, reductions, finish, .. }) => {
                change(init);
                for Reduction { update, .. } in reductions {
                    match update {
                        Update::Fma(a, b) => {
                            change(a);
                            change(b);
                        }
                        Update::Add(value) | Update::Max(value) => change(value),
                    }
                }
                each_value(finish, change);
            }
            Stmt::Zero { .. } | Stmt::Prefetch(_) => {}
        }
    }
}

impl Lowering<'_> {
    /// The elements of a node's value at a place.
    pub(super) fn elem(&self, id: NodeId, place: &Place) -> Elem {
        elem_at(self.graph.node(id).ty.dtype, place)
    }

    /// A buffer of a node's value.
    pub(super) fn value_buffer(&mut self, id: NodeId, name: String, len: usize, place: Place) -> BufferId {
        let elem = self.elem(id, &place);
        self.program.buffers.push(Buffer { name, elem, len, place });
        BufferId(self.program.buffers.len() as u32 - 1)
    }

    /// The same numbers as elements of another type.
    pub(super) fn lower_cast(&mut self, id: NodeId) {
        let from = self.graph.node(self.graph.operands(id)[0]).ty.dtype;
        let to = self.graph.node(id).ty.dtype;
        let name = format!("cast_{from}_to_{to}");
        let convert = |value: Value| match (from.range(), to.range()) {
            (None, None) | (Some(_), Some(_)) => value,
            (Some(_), None) => Value::Unary(Unary::ToF32, Box::new(value)),
            (None, Some((lo, hi))) => to_integer(value, lo as f32, hi as f32),
        };
        match self.operand(id, 0) {
            Stored::Plain(buffer) => self.flat_map(id, buffer, format!("_{name}"), |_, _, value| convert(value)),
            Stored::Blocked(_) => {
                let mut kb = KernelBuilder::new();
                let (regions, len) = self.operand_blocks(id, 0);
                let x = kb.blocks("x", len, Access::Read, regions);
                let y = self.lanewise_result(&mut kb, id, &[]);
                self.lanewise_step(kb, id, name, y, |_, _, element| {
                    convert(load(At::block(x, element.block.clone(), element.offset.clone())))
                });
            }
        }
    }
}

/// A float as an integer from `lo` to `hi`, as [`Op::Cast`] states it. For i32, whose largest is no f32, the largest result
/// is the largest f32 below it.
fn to_integer(v: Value, lo: f32, hi: f32) -> Value {
    use super::chain::{add, max, min, sub};
    let hi = if hi as i64 > i64::from(i32::MAX) { hi.next_down() } else { hi };
    let less = |a: Value, b: Value, then: Value, otherwise: Value| Value::SelectLt {
        a: Box::new(a),
        b: Box::new(b),
        then: Box::new(then),
        otherwise: Box::new(otherwise),
    };
    let clipped = min(constant(hi), max(constant(lo), v));
    // NaN is below nothing.
    let number = less(clipped.clone(), constant(f32::INFINITY), clipped, constant(0.0));
    let nearest = Value::Unary(Unary::ToF32, Box::new(Value::Unary(Unary::ToI32, Box::new(number.clone()))));
    // Where the nearest integer lies farther from 0 than the number, the one before it.
    let lower = less(number.clone(), nearest.clone(), sub(nearest.clone(), constant(1.0)), nearest.clone());
    let upper = less(nearest.clone(), number.clone(), add(nearest.clone(), constant(1.0)), nearest);
    let towards_zero = less(number, constant(0.0), upper, lower);
    Value::Unary(Unary::ToI32, Box::new(towards_zero))
}
