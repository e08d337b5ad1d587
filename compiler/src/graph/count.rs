//! Parameters and multiply-adds, counted as papers and frameworks count them.

use super::weights::{Kind, Source};
use super::{Conv, Core, Graph, NodeId, Op};

/// The tensors that a graph reads, in the order of its nodes, each once.
pub fn sources(graph: &Graph) -> Vec<Source> {
    let roots = graph.order().into_iter().flat_map(|id| graph.node(id).weights.clone());
    graph.weights.sources(roots)
}

/// Elements of the trained tensors: all but running means and variances, as PyTorch counts.
pub fn parameters(graph: &Graph) -> usize {
    count(sources(graph).iter())
}

/// Elements of the trained tensors that one node reads.
pub fn node_parameters(graph: &Graph, id: NodeId) -> usize {
    count(graph.weights.sources(graph.node(id).weights.iter().copied()).iter())
}

fn count<'a>(sources: impl Iterator<Item = &'a Source>) -> usize {
    sources
        .filter(|source| match source.kind {
            Kind::Kernel | Kind::Gamma | Kind::Bias => true,
            Kind::Mean | Kind::Var => false,
        })
        .map(|source| source.shape.iter().product::<usize>())
        .sum()
}

/// Multiply-adds of convolutions and linear layers; everything else counts nothing.
pub fn macs(graph: &Graph, id: NodeId) -> u64 {
    let node = graph.node(id);
    let input_channels = || graph.node(graph.operands(id)[0]).ty.shape[1] as u64;
    let conv = |conv: &Conv| {
        let taps = (conv.window.kernel[0] * conv.window.kernel[1]) as u64;
        node.ty.len() as u64 * (input_channels() / conv.groups as u64) * taps
    };
    match &node.op {
        Op::Conv(attributes) => conv(attributes),
        Op::Linear(_) => node.ty.len() as u64 * input_channels(),
        Op::MatMul => node.ty.len() as u64 * graph.node(graph.operands(id)[0]).ty.shape[2] as u64,
        Op::Fused { core, .. } => match core {
            Core::Conv(attributes) => conv(attributes),
            Core::Linear(_) => node.ty.len() as u64 * input_channels(),
            Core::Identity => 0,
        },
        Op::Input(_)
        | Op::Constant(_)
        | Op::Weight { .. }
        | Op::BatchNorm { .. }
        | Op::Activate(_)
        | Op::Cast(_)
        | Op::Binary(_)
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Softmax { .. }
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Resize(_)
        | Op::Dropout
        | Op::Identity => 0,
    }
}

/// What the interpreter does for a node: multiply-adds, elements that it reads and makes, taps of pools.
pub fn steps(graph: &Graph, id: NodeId) -> u64 {
    let len = |id: NodeId| graph.node(id).ty.len() as u64;
    let read = graph.operands(id).into_iter().map(len).fold(len(id), u64::saturating_add);
    let taps = if let Op::MaxPool(pool) | Op::AvgPool(pool) = &graph.node(id).op {
        pool.window.kernel.iter().product::<usize>() as u64
    } else {
        0
    };
    read.saturating_add(macs(graph, id)).saturating_add(len(id).saturating_mul(taps))
}
