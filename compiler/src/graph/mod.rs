//! The graph: what a network computes, before anyone says how.
//!
//! A [`Graph`] is a directed acyclic graph of [`Node`]s. A node applies its [`Op`] to its operands and yields exactly
//! one value of a static [`TensorType`]; what has several results in a source language is several nodes. Operands are
//! edges whose weight is the operand's position, read by [`Graph::operands`] alone. Weights are expressions in the
//! graph's [`weights::Pool`], known by name, type and shape: no node holds their bytes and no rule looks at them.
//!
//! A graph only grows: [`Graph::add`] infers the type of what it adds or says why it has none; passes build new graphs.
//! Wherever order shows, it is the canonical one of [`Graph::order`]: depth first from the outputs, operands in order,
//! so that a network gives the same text, plan and kernels whichever door it came through.

pub mod count;
pub mod dot;
pub mod elements;
pub mod infer;
pub mod interp;
pub mod names;
pub mod op;
pub mod resize;
pub mod svg;
pub mod text;
pub mod verify;
pub mod weights;

#[cfg(test)]
pub(crate) mod sample;

use std::fmt;

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use crate::diag::Span;
pub use elements::Elements;
pub use op::{Activation, Binary, Chain, Constant, Conv, Core, F32, Linear, Op, Pads, Pool, Stage, Window};
pub use resize::{Coordinates, Filter, Resize, Rounding, Scale};
pub use weights::WeightId;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64. Interpreted only.
    F64,
    /// Signed 64-bit integers. Interpreted only, and exact up to 2^53.
    I64,
    /// Signed 32-bit integers.
    I32,
    /// Signed bytes.
    I8,
    /// Unsigned bytes.
    U8,
    /// Truth values, 0 and 1. Interpreted only.
    Bool,
}

impl DType {
    /// All types.
    pub const ALL: [DType; 7] = [DType::F32, DType::F64, DType::I64, DType::I32, DType::I8, DType::U8, DType::Bool];

    /// Whether elements have fractions.
    pub fn is_float(self) -> bool {
        match self {
            DType::F32 | DType::F64 => true,
            DType::I64 | DType::I32 | DType::I8 | DType::U8 | DType::Bool => false,
        }
    }

    /// The least and the largest integer that elements hold; None for floats.
    pub fn range(self) -> Option<(i64, i64)> {
        match self {
            DType::F32 | DType::F64 => None,
            DType::I64 => Some((i64::MIN, i64::MAX)),
            DType::I32 => Some((i32::MIN.into(), i32::MAX.into())),
            DType::I8 => Some((i8::MIN.into(), i8::MAX.into())),
            DType::U8 => Some((u8::MIN.into(), u8::MAX.into())),
            DType::Bool => Some((0, 1)),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I64 => "i64",
            DType::I32 => "i32",
            DType::I8 => "i8",
            DType::U8 => "u8",
            DType::Bool => "bool",
        })
    }
}

/// Element type and static shape of a value; printed as `f32[1, 3, 224, 224]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorType {
    /// The type of its elements.
    pub dtype: DType,
    /// Its extents; feature maps are `[N, C, H, W]`.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// The most elements a value may have, so that sizes in bytes and offsets in 32 bits cannot overflow.
    pub const LIMIT: usize = 1 << 31;

    /// An f32 tensor of this shape.
    pub fn f32(shape: impl Into<Vec<usize>>) -> Self {
        TensorType { dtype: DType::F32, shape: shape.into() }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element, as literals alone may be.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// `[N, C, H, W]` of a feature map; `[N, F]` is read as a map of one pixel. None for other ranks.
    pub fn nchw(&self) -> Option<[usize; 4]> {
        match *self.shape.as_slice() {
            [n, c] => Some([n, c, 1, 1]),
            [n, c, h, w] => Some([n, c, h, w]),
            _ => None,
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}

/// A node of the graph, by its index; printed as `n3`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NodeIndex<u32>);

impl NodeId {
    /// The index, dense in graphs that were built by [`Graph::add`].
    pub fn index(self) -> usize {
        self.0.index()
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0.index())
    }
}

/// One application of an operator.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// The weights it reads, in the order that its [`Op`] states.
    pub weights: Vec<WeightId>,
    /// The type of its value.
    pub ty: TensorType,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a node came from; no pass decides anything by it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Its name, unique in a graph; dotted, as weight names are.
    pub name: String,
    /// The place in the source that made it.
    pub span: Option<Span>,
    /// The source nodes that it computes, by name, in their order; empty for one that stands for itself.
    pub layers: Vec<String>,
}

impl Origin {
    /// A node of this name from nowhere in particular.
    pub fn named(name: impl Into<String>) -> Self {
        Origin { name: name.into(), ..Origin::default() }
    }

    /// The source nodes it stands for: `layers`, or itself.
    pub fn sources(&self) -> Vec<String> {
        if self.layers.is_empty() { vec![self.name.clone()] } else { self.layers.clone() }
    }
}

/// A result of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The node whose value it is.
    pub node: NodeId,
}

/// How an image becomes the network's input: the spec's `image(…)` statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// The shorter side after resizing, in pixels.
    pub resize: usize,
    /// The resampling filter: "nearest", "bilinear", "bicubic" or "lanczos".
    pub filter: String,
    /// The side of the square cut from the middle, in pixels.
    pub crop: usize,
    /// The order of the input's channels: "rgb", or "bgr", as networks that come from Caffe have it.
    pub order: String,
    /// Subtracted from each channel of the 0..255 pixels: one number, or three.
    pub mean: Vec<f64>,
    /// What the difference is divided by.
    pub std: Vec<f64>,
}

/// A network.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Its name, as a type: `MobileNetV2`.
    pub name: String,
    /// The expressions that its nodes' weights refer to.
    pub weights: weights::Pool,
    /// How images become its input, where the source says so.
    pub preprocessing: Option<Preprocessing>,
    dag: StableDiGraph<Node, u32>,
    inputs: Vec<NodeId>,
    outputs: Vec<Output>,
}

impl Graph {
    /// A graph without nodes.
    pub fn new(name: impl Into<String>) -> Self {
        Graph {
            name: name.into(),
            weights: weights::Pool::default(),
            preprocessing: None,
            dag: StableDiGraph::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Adds a node and infers its type; [`Op::Input`]s become inputs in the order they are added.
    ///
    /// # Errors
    /// Where operands or weights do not fit the operator: nothing is added.
    pub fn add(
        &mut self,
        op: Op,
        operands: &[NodeId],
        weights: Vec<WeightId>,
        origin: Origin,
    ) -> Result<NodeId, infer::TypeError> {
        let operand_types: Vec<&TensorType> = operands.iter().map(|&n| &self.node(n).ty).collect();
        let weight_shapes: Vec<&[usize]> = weights.iter().map(|&w| self.weights.shape(w)).collect();
        let ty = infer::infer(&op, &operand_types, &weight_shapes)?;
        let is_input = matches!(op, Op::Input(_));
        let id = NodeId(self.dag.add_node(Node { op, weights, ty, origin }));
        for (position, operand) in operands.iter().enumerate() {
            self.dag.add_edge(operand.0, id.0, position as u32);
        }
        if is_input {
            self.inputs.push(id);
        }
        Ok(id)
    }

    /// Makes a node's value a result of the network; results keep the order of these calls.
    pub fn add_output(&mut self, name: impl Into<String>, node: NodeId) {
        self.outputs.push(Output { name: name.into(), node });
    }

    /// The node of an id that this graph gave out.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.dag[id.0]
    }

    /// The operands of a node, by position.
    pub fn operands(&self, id: NodeId) -> Vec<NodeId> {
        let mut edges: Vec<(u32, NodeId)> = self
            .dag
            .edges_directed(id.0, Direction::Incoming)
            .map(|edge| (*edge.weight(), NodeId(edge.source())))
            .collect();
        edges.sort_unstable();
        edges.into_iter().map(|(_, operand)| operand).collect()
    }

    /// The operand positions of a node, sorted: `0..k` in a graph that the verifier accepts.
    pub fn operand_positions(&self, id: NodeId) -> Vec<u32> {
        let mut positions: Vec<u32> =
            self.dag.edges_directed(id.0, Direction::Incoming).map(|edge| *edge.weight()).collect();
        positions.sort_unstable();
        positions
    }

    /// The nodes that read a node's value, each once per operand, in the order of their ids.
    pub fn users(&self, id: NodeId) -> Vec<NodeId> {
        let mut users: Vec<NodeId> =
            self.dag.edges_directed(id.0, Direction::Outgoing).map(|edge| NodeId(edge.target())).collect();
        users.sort_unstable();
        users
    }

    /// The inputs, in the order they were declared; also those that nothing reads.
    pub fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    /// The results, in order.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// All node ids, in the order of addition.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.dag.node_indices().map(NodeId)
    }

    /// Number of nodes, dead ones included.
    pub fn len(&self) -> usize {
        self.dag.node_count()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.dag.node_count() == 0
    }

    /// The canonical order: the inputs as declared, then depth first from the outputs, operands before their users
    /// and in order. Nodes that no output needs are left out, inputs excepted. Without recursion.
    pub fn order(&self) -> Vec<NodeId> {
        let mut done = vec![false; self.dag.node_indices().next_back().map_or(0, |n| n.index() + 1)];
        let mut order = Vec::with_capacity(self.len());
        for &input in &self.inputs {
            done[input.index()] = true;
            order.push(input);
        }
        for output in &self.outputs {
            let mut stack = vec![(output.node, self.operands(output.node), 0)];
            while let Some((node, operands, next)) = stack.last_mut() {
                if done[node.index()] {
                    stack.pop();
                } else if let Some(&operand) = operands.get(*next) {
                    *next += 1;
                    if !done[operand.index()] {
                        let of = self.operands(operand);
                        stack.push((operand, of, 0));
                    }
                } else {
                    done[node.index()] = true;
                    order.push(*node);
                    stack.pop();
                }
            }
        }
        order
    }

    /// The node of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.ids().find(|&id| self.node(id).origin.name == name)
    }
}

/// What the verifier found in order. Only the verifiers of [`crate::graph::verify`] and [`crate::kernel::verify`]
/// make one, so a function that takes it cannot meet anything unchecked.
#[derive(Clone, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn assert_checked(inner: T) -> Self {
        Verified(inner)
    }

    /// Gives the value back, unchecked from then on.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
