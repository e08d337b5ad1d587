//! Graphs to ONNX models, which other engines run.
//!
//! | file | holds |
//! | --- | --- |
//! | `emitter` | the model in the making: names, nodes, initializers |
//! | `operator` | a node of the graph as nodes of ONNX |
//! | `pointwise`, `pool`, `resize` | the families whose members ONNX has in other forms |
//! | `file` | the model as bytes, its weights evaluated piece by piece |
//!
//! A model is of version 17 of ONNX's operators. Nodes keep their names, inputs and outputs theirs, and tensors the names
//! that the weights file has for them. What ONNX lacks is spelled out, in parts that are named `NODE.part`; where a
//! version of ONNX or an engine reads an attribute in its own way, as those of pools that round up, the form is taken
//! that all read alike.

mod emitter;
mod file;
mod operator;
mod pointwise;
mod pool;
mod resize;

#[cfg(test)]
mod tests;

pub use file::Model;

use crate::graph::{DType, Graph, Op, Verified, infer};

/// The version of ONNX's own operators that models use.
pub const OPSET: i64 = 17;

/// The version of the file format that goes with it.
const IR_VERSION: i64 = 8;

/// Nodes that ONNX's operators do not express: those of integers, whose operands its quantized operators take as bytes.
pub fn unsupported(graph: &Verified<Graph>) -> Vec<String> {
    let of_floats = |op: &Op| match op {
        Op::Conv(_) | Op::Linear(_) | Op::Activate(_) | Op::Pad { .. } | Op::GlobalMaxPool | Op::MaxPool(_) => true,
        Op::Input(_)
        | Op::Constant(_)
        | Op::Weight { .. }
        | Op::BatchNorm { .. }
        | Op::Cast(_)
        | Op::Binary(_)
        | Op::MatMul
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::Softmax { .. }
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Resize(_)
        | Op::Dropout
        | Op::Identity
        | Op::Fused { .. } => false,
    };
    let nodes = graph.order().into_iter().map(|id| graph.node(id));
    let nodes = nodes.filter(|node| node.ty.dtype != DType::F32 && of_floats(&node.op));
    nodes
        .map(|node| {
            let (op, name, dtype) = (infer::name(&node.op), &node.origin.name, node.ty.dtype);
            format!("{op} `{name}`: kiln exports it for elements of type f32, not {dtype}")
        })
        .collect()
}

/// The model of a network, of which nothing is [`unsupported`]. It holds no weights: [`Model`] evaluates them as it is written.
pub fn emit(graph: &Verified<Graph>) -> Model {
    let mut emitter = emitter::Emitter::new(graph);
    for id in graph.order() {
        operator::node(&mut emitter, id);
    }
    emitter.finish()
}
