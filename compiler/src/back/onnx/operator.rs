//! A node of the graph as nodes of ONNX.

use super::emitter::{Emitter, Is, data_type};
use super::{pointwise, pool, resize};
use crate::graph::{Conv, Linear, NodeId, Op, Pads, WeightId, Window};

/// Adds what a node is.
pub(super) fn node(emitter: &mut Emitter<'_>, id: NodeId) {
    let graph = emitter.graph;
    let node = graph.node(id);
    let operands = emitter.operands(id);
    let x = operands.first().map_or("", String::as_str);
    match &node.op {
        Op::Input(_) => {}
        Op::Constant(constant) => {
            let values: Vec<f32> = constant.values.iter().map(|value| value.get()).collect();
            emitter.value(id, &constant.shape, &values);
        }
        Op::Weight { .. } => emitter.value_is_weight(id, node.weights[0]),
        Op::Conv(attributes) => {
            let inputs = with_weights(emitter, id, x, &node.weights);
            emitter.whole(id, "Conv", &names(&inputs), &conv(attributes));
        }
        Op::Linear(Linear { .. }) => {
            let inputs = with_weights(emitter, id, x, &node.weights);
            emitter.whole(id, "Gemm", &names(&inputs), &[("transB", Is::Int(1))]);
        }
        Op::BatchNorm { eps, affine } => {
            let mut inputs = vec![x.to_owned()];
            let mut statistics = &node.weights[..];
            if *affine {
                inputs.push(emitter.weight(id, "weight", node.weights[0]));
                inputs.push(emitter.weight(id, "bias", node.weights[1]));
                statistics = &node.weights[2..];
            } else {
                let channels = node.ty.shape[1];
                for (part, value) in [("weight", 1.0), ("bias", 0.0)] {
                    let weight = emitter.pool.splat(&[channels], value);
                    inputs.push(emitter.weight(id, part, weight));
                }
            }
            inputs.push(emitter.weight(id, "running_mean", statistics[0]));
            inputs.push(emitter.weight(id, "running_var", statistics[1]));
            emitter.whole(id, "BatchNormalization", &names(&inputs), &[("epsilon", Is::Float(eps.get()))]);
        }
        Op::Activate(activation) => pointwise::activation(emitter, id, *activation, x),
        Op::Cast(dtype) => {
            // Where floats become integers, ONNX leaves open what does not fit; no operator of the graph relies on it.
            emitter.whole(id, "Cast", &[x], &[("to", Is::Int(data_type(*dtype) as usize))]);
        }
        Op::Binary(binary) => emitter.whole(id, pointwise::binary(*binary), &names(&operands), &[]),
        Op::MatMul => emitter.whole(id, "MatMul", &names(&operands), &[]),
        Op::MaxPool(attributes) => pool::max_pool(emitter, id, attributes, x),
        Op::AvgPool(attributes) => pool::avg_pool(emitter, id, attributes, x),
        Op::GlobalAvgPool => emitter.whole(id, "GlobalAveragePool", &[x], &[]),
        Op::GlobalMaxPool => emitter.whole(id, "GlobalMaxPool", &[x], &[]),
        Op::Softmax { axis } => emitter.whole(id, "Softmax", &[x], &[("axis", Is::Int(*axis))]),
        Op::Concat { axis } => emitter.whole(id, "Concat", &names(&operands), &[("axis", Is::Int(*axis))]),
        Op::Slice { axis, start, end } => {
            let [start, end, axis] = [("starts", start), ("ends", end), ("axes", axis)]
                .map(|(part, &value)| emitter.integers(id, part, &[value]));
            emitter.whole(id, "Slice", &[x, &start, &end, &axis], &[]);
        }
        Op::Gather { axis, indices } => {
            let indices: Vec<usize> = indices.iter().map(|&index| index as usize).collect();
            let indices = emitter.integers(id, "indices", &indices);
            emitter.whole(id, "Gather", &[x, &indices], &[("axis", Is::Int(*axis))]);
        }
        Op::ChannelShuffle { groups } => shuffle(emitter, id, *groups, x),
        Op::Reshape { shape } => reshape(emitter, id, shape, x),
        Op::Transpose { perm } => emitter.whole(id, "Transpose", &[x], &[("perm", Is::Ints(perm))]),
        Op::Pad { pads: Pads { top, left, bottom, right }, value } => {
            let pads = emitter.integers(id, "pads", &[0, 0, *top, *left, 0, 0, *bottom, *right]);
            let value = emitter.floats(id, "value", &[], &[value.get()]);
            emitter.whole(id, "Pad", &[x, &pads, &value], &[]);
        }
        Op::Resize(attributes) => resize::resize(emitter, id, attributes, x),
        // A Dropout of ONNX would have to tell a rate, which the graph does not know.
        Op::Dropout | Op::Identity => emitter.whole(id, "Identity", &[x], &[]),
        Op::Fused { before, core, after } => pointwise::fused(emitter, id, before, *core, after),
    }
}

/// Names as they are passed on.
pub(super) fn names(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// A value, a kernel, and a bias where there is one.
pub(super) fn with_weights(emitter: &mut Emitter<'_>, id: NodeId, x: &str, weights: &[WeightId]) -> Vec<String> {
    let weights = ["weight", "bias"].into_iter().zip(weights).map(|(part, &weight)| emitter.weight(id, part, weight));
    std::iter::once(x.to_owned()).chain(weights).collect()
}

/// The attributes of a convolution.
pub(super) fn conv(conv: &Conv) -> Vec<(&'static str, Is<'_>)> {
    let Window { kernel, stride, pads, dilation } = &conv.window;
    vec![
        ("kernel_shape", Is::Ints(kernel)),
        ("strides", Is::Ints(stride)),
        ("pads", Is::Pads(*pads)),
        ("dilations", Is::Ints(dilation)),
        ("group", Is::Int(conv.groups)),
    ]
}

/// Channels as `[groups, C / groups]`, transposed.
fn shuffle(emitter: &mut Emitter<'_>, id: NodeId, groups: usize, x: &str) {
    let &[n, c, h, w] = emitter.operand_type(id, 0).shape.as_slice() else {
        unreachable!("inference admits only feature maps here");
    };
    let shape = emitter.integers(id, "groups", &[n, groups, c / groups, h, w]);
    let seen = emitter.part(id, "grouped", "Reshape", &[x, &shape], &[]);
    let moved = emitter.part(id, "transposed", "Transpose", &[&seen], &[("perm", Is::Ints(&[0, 2, 1, 3, 4]))]);
    let shape = emitter.integers(id, "shape", &[n, c, h, w]);
    emitter.whole(id, "Reshape", &[&moved, &shape], &[]);
}

fn reshape(emitter: &mut Emitter<'_>, id: NodeId, shape: &[usize], x: &str) {
    let from = &emitter.operand_type(id, 0).shape;
    let flat = from.first().is_some_and(|&n| shape == [n, from[1..].iter().product()]);
    if flat {
        return emitter.whole(id, "Flatten", &[x], &[("axis", Is::Int(1))]);
    }
    let shape = emitter.integers(id, "shape", shape);
    emitter.whole(id, "Reshape", &[x, &shape], &[]);
}
