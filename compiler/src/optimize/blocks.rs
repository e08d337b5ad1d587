//! Cuts a network where one tensor is alive, so that each e-graph is small, and equal blocks are solved once.
//!
//! A cut must not come between what a rule would join: it stands after a value that is made (an activation, a sum, a
//! pool) and before operators that start afresh (convolutions, pools). A block is a graph of its own, whose weights are
//! placeholders: rules do not look at weights, so blocks that differ in their weights alone have one solution, which is
//! placed once for each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::graph::weights::{Expr, Kind, Pool};
use crate::graph::{Binary, Core, Graph, NodeId, Op, Origin, Stage, WeightId};

/// A part of a network.
#[derive(Clone, Debug)]
pub struct Block {
    /// The values it reads, in order of use.
    pub inputs: Vec<NodeId>,
    /// Its nodes, in order.
    pub nodes: Vec<NodeId>,
    /// The values that later blocks read or that are results.
    pub outputs: Vec<NodeId>,
}

/// A block as a graph: inputs first, then nodes, each where [`Block::source`] says.
#[derive(Clone, Debug)]
pub struct Local {
    /// The graph, over placeholders.
    pub graph: Graph,
    /// The weight that each placeholder stands for, by its id.
    pub weights: Vec<WeightId>,
}

/// What equal blocks have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    nodes: Vec<(Op, Vec<usize>, Vec<WeightId>)>,
    weights: Vec<Expr>,
    outputs: Vec<usize>,
}

/// The blocks of a network, in order. Constants stand in every block that reads them.
pub fn cut(graph: &Graph) -> Vec<Block> {
    let order: Vec<NodeId> =
        graph.order().into_iter().filter(|&id| !matches!(graph.node(id).op, Op::Input(_))).collect();
    let position: BTreeMap<NodeId, usize> = order.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    let users = |id: NodeId| graph.users(id).into_iter().filter(|user| position.contains_key(user));
    let last_use = |id: NodeId| users(id).map(|user| position[&user]).max();
    let results: BTreeSet<NodeId> = graph.outputs().iter().map(|output| output.node).collect();
    // Values that are read after the node at hand.
    let mut alive: BTreeSet<NodeId> =
        graph.inputs().iter().copied().filter(|&input| last_use(input).is_some()).collect();
    let mut ends_at: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    for &id in order.iter().chain(graph.inputs()) {
        if let Some(last) = last_use(id) {
            ends_at.entry(last).or_default().push(id);
        }
    }
    let mut blocks = Vec::new();
    let mut start = 0;
    for (i, &id) in order.iter().enumerate() {
        if last_use(id).is_some() && !is_constant(graph, id) {
            alive.insert(id);
        }
        for ended in ends_at.remove(&i).unwrap_or_default() {
            alive.remove(&ended);
        }
        let waist = alive.len() == 1 && alive.contains(&id) && is_seam(graph, id, users(id));
        if waist || i + 1 == order.len() {
            blocks.push(block(graph, &order[start..=i], |node| {
                results.contains(&node) || last_use(node).is_some_and(|last| last > i)
            }));
            start = i + 1;
        }
    }
    blocks
}

fn block(graph: &Graph, own: &[NodeId], leaves: impl Fn(NodeId) -> bool) -> Block {
    let inside: BTreeSet<NodeId> = own.iter().copied().collect();
    let mut block = Block { inputs: Vec::new(), nodes: Vec::new(), outputs: Vec::new() };
    for &id in own {
        for operand in graph.operands(id) {
            if inside.contains(&operand) {
                continue;
            }
            let list = if is_constant(graph, operand) { &mut block.nodes } else { &mut block.inputs };
            if !list.contains(&operand) {
                list.push(operand);
            }
        }
        block.nodes.push(id);
    }
    block.outputs =
        own.iter().copied().filter(|&id| leaves(id) && (!is_constant(graph, id) || is_result(graph, id))).collect();
    block
}

fn is_constant(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Constant(_))
}

fn is_result(graph: &Graph, id: NodeId) -> bool {
    graph.outputs().iter().any(|output| output.node == id)
}

/// Whether no rule joins a value with its readers.
fn is_seam(graph: &Graph, id: NodeId, mut users: impl Iterator<Item = NodeId>) -> bool {
    made(graph, id) && users.all(|user| starts_afresh(graph, user))
}

/// Whether a value is no chain of affine functions, nothing at all, or padding, which its reader could take in.
fn made(graph: &Graph, id: NodeId) -> bool {
    match &graph.node(id).op {
        Op::BatchNorm { .. } => {
            let from = graph.operands(id)[0];
            matches!(graph.node(from).op, Op::Conv(_) | Op::Linear(_)) && graph.users(from).len() == 1
        }
        Op::Binary(_) => graph.operands(id).iter().all(|&operand| !is_constant(graph, operand)),
        Op::Conv(_)
        | Op::Linear(_)
        | Op::MatMul
        | Op::Activate(_)
        | Op::Cast(_)
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Softmax { .. }
        | Op::Concat { .. } => true,
        Op::Fused { core, after, .. } => *core != Core::Identity && after.last() != Some(&Stage::Affine),
        Op::Input(_)
        | Op::Constant(_)
        | Op::Weight { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Resize(_)
        | Op::Dropout
        | Op::Identity => false,
    }
}

/// Whether no rule takes a reader into what it reads. A sum or product of two values may read a waist: its other operand
/// comes after it, so the waist's node cannot take it in.
fn starts_afresh(graph: &Graph, id: NodeId) -> bool {
    match &graph.node(id).op {
        Op::Conv(_)
        | Op::Linear(_)
        | Op::MatMul
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Softmax { .. } => true,
        Op::Binary(Binary::Add | Binary::Mul) => {
            let operands = graph.operands(id);
            operands[0] != operands[1] && operands.iter().all(|&operand| !is_constant(graph, operand))
        }
        Op::Fused { before, core, .. } => before.is_empty() && *core != Core::Identity,
        Op::Binary(Binary::Sub | Binary::Div | Binary::Min | Binary::Max | Binary::Pow)
        | Op::Input(_)
        | Op::Constant(_)
        | Op::Weight { .. }
        | Op::BatchNorm { .. }
        | Op::Activate(_)
        | Op::Cast(_)
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Resize(_)
        | Op::Dropout
        | Op::Identity => false,
    }
}

impl Block {
    /// The source of a local graph's node, by its index.
    pub fn source(&self, index: usize) -> NodeId {
        match index.checked_sub(self.inputs.len()) {
            None => self.inputs[index],
            Some(node) => self.nodes[node],
        }
    }

    /// The block as a graph of its own.
    ///
    /// # Panics
    /// Where the graph's types are not those of inference, which the verifier rules out.
    pub fn local(&self, graph: &Graph) -> Local {
        let mut local = Graph::new(graph.name.clone());
        let mut ids: HashMap<NodeId, NodeId> = HashMap::new();
        let mut placeholders: HashMap<WeightId, WeightId> = HashMap::new();
        let mut weights = Vec::new();
        for (i, &id) in self.inputs.iter().chain(&self.nodes).enumerate() {
            let node = graph.node(id);
            let (op, operands) = if i < self.inputs.len() {
                (Op::Input(node.ty.clone()), vec![])
            } else {
                (node.op.clone(), graph.operands(id).iter().map(|operand| ids[operand]).collect())
            };
            let read = if i < self.inputs.len() { &[][..] } else { &node.weights };
            let read = read
                .iter()
                .map(|&weight| {
                    *placeholders.entry(weight).or_insert_with(|| {
                        weights.push(weight);
                        placeholder(&mut local.weights, &graph.weights, weight, weights.len() - 1)
                    })
                })
                .collect();
            match local.add(op, &operands, read, Origin::named(i.to_string())) {
                Ok(new) => ids.insert(id, new),
                Err(error) => unreachable!("a verified node has a type: {error}"),
            };
        }
        for &output in &self.outputs {
            local.add_output("", ids[&output]);
        }
        Local { graph: local, weights }
    }
}

/// A weight known by its shape alone, but for one that is the same everywhere.
fn placeholder(local: &mut Pool, pool: &Pool, weight: WeightId, number: usize) -> WeightId {
    match pool.expr(weight) {
        Expr::Splat { shape, bits } => local.splat(shape, f32::from_bits(*bits)),
        Expr::Read { .. }
        | Expr::Literal { .. }
        | Expr::Transpose { .. }
        | Expr::Reshape { .. }
        | Expr::Concat { .. }
        | Expr::Gather { .. }
        | Expr::Scale { .. }
        | Expr::Add { .. }
        | Expr::Times { .. }
        | Expr::RsqrtEps { .. }
        | Expr::Contract { .. } => local.read(&number.to_string(), Kind::Kernel, pool.shape(weight)),
    }
}

impl Local {
    /// What it has in common with equal blocks.
    pub fn key(&self) -> Key {
        let graph = &self.graph;
        let node = |id: NodeId| {
            let operands = graph.operands(id).into_iter().map(NodeId::index).collect();
            (graph.node(id).op.clone(), operands, graph.node(id).weights.clone())
        };
        Key {
            nodes: graph.ids().map(node).collect(),
            weights: graph.weights.exprs().to_vec(),
            outputs: graph.outputs().iter().map(|output| output.node.index()).collect(),
        }
    }
}

/// Builds an expression over placeholders again over what they stand for. Constructors normalize it there.
///
/// # Panics
/// Where the expression reads anything but placeholders.
pub fn transplant(
    from: &Pool,
    id: WeightId,
    weights: &[WeightId],
    to: &mut Pool,
    done: &mut HashMap<WeightId, WeightId>,
) -> WeightId {
    if let Some(&weight) = weights.get(id.0 as usize) {
        return weight;
    }
    if let Some(&known) = done.get(&id) {
        return known;
    }
    let mut of = |id: WeightId, to: &mut Pool| transplant(from, id, weights, to, done);
    let built = match from.expr(id) {
        Expr::Read { .. } | Expr::Transpose { .. } => unreachable!("placeholders stand for all that is read"),
        Expr::Literal { shape, bits } => {
            let values: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
            to.literal(shape, &values)
        }
        Expr::Splat { shape, bits } => to.splat(shape, f32::from_bits(*bits)),
        Expr::Reshape { of: inner, shape } => {
            let inner = of(*inner, to);
            to.reshape(inner, shape)
        }
        Expr::Concat { of: parts, axis } => {
            let parts: Vec<WeightId> = parts.iter().map(|&part| of(part, to)).collect();
            to.concat(&parts, *axis)
        }
        Expr::Gather { of: inner, axis, index } => {
            let inner = of(*inner, to);
            to.gather(inner, *axis, index)
        }
        Expr::Scale { of: inner, axis, by } => {
            let (inner, by) = (of(*inner, to), of(*by, to));
            to.scale(inner, *axis, by)
        }
        Expr::Add { a, b } => {
            let (a, b) = (of(*a, to), of(*b, to));
            to.add(a, b)
        }
        Expr::Times { of: inner, bits } => {
            let inner = of(*inner, to);
            to.times(inner, f64::from_bits(*bits))
        }
        Expr::RsqrtEps { of: inner, eps } => {
            let inner = of(*inner, to);
            to.rsqrt(inner, f64::from_bits(*eps))
        }
        Expr::Contract { of: inner, by, groups } => {
            let (inner, by) = (of(*inner, to), of(*by, to));
            to.contract(inner, by, *groups)
        }
    };
    done.insert(id, built);
    built
}
