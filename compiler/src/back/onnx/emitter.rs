//! The model in the making.

use std::collections::HashMap;

use super::file::{Model, Weight};
use super::{IR_VERSION, OPSET};
use crate::graph::names::Names;
use crate::graph::weights::{Expr, Pool};
use crate::graph::{Core, DType, Graph, NodeId, Op, Pads, Preprocessing, TensorType, WeightId};
use crate::onnx_schema::attribute_proto::AttributeType;
use crate::onnx_schema::tensor_proto::DataType;
use crate::onnx_schema::tensor_shape_proto::{Dimension, dimension};
use crate::onnx_schema::type_proto::{Tensor, Value};
use crate::onnx_schema::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
};

/// Nodes, names and initializers so far.
pub(super) struct Emitter<'a> {
    pub(super) graph: &'a Graph,
    /// The graph's weights, and those that are made of them here.
    pub(super) pool: Pool,
    proto: GraphProto,
    /// The name of each node's value.
    values: HashMap<NodeId, String>,
    /// The names of values, initializers among them.
    names: Names,
    /// The names of nodes.
    node_names: Names,
    weights: Vec<(String, WeightId)>,
    known: HashMap<WeightId, String>,
}

/// An attribute of a node.
pub(super) enum Is<'a> {
    Int(usize),
    Ints(&'a [usize]),
    Pads(Pads),
    Float(f32),
    Text(&'a str),
}

impl<'a> Emitter<'a> {
    /// Gives names: inputs first, then the tensors of the weights file, outputs, and all other values.
    pub(super) fn new(graph: &'a Graph) -> Self {
        let mut emitter = Emitter {
            graph,
            pool: graph.weights.clone(),
            proto: GraphProto { name: Some(graph.name.clone()), ..GraphProto::default() },
            values: HashMap::new(),
            names: Names::default(),
            node_names: Names::default(),
            weights: Vec::new(),
            known: HashMap::new(),
        };
        let order = graph.order();
        for &input in graph.inputs() {
            let name = emitter.names.fresh(&graph.node(input).origin.name);
            emitter.proto.input.push(value_info(&name, &graph.node(input).ty));
            emitter.values.insert(input, name);
        }
        // Tensors as they stand in the file come before those that are made of them, whose names may be others.
        let mut read: HashMap<&str, String> = HashMap::new();
        for &weight in order.iter().flat_map(|&id| read_as_it_is(graph, id)) {
            let Expr::Read { name, .. } = graph.weights.expr(weight) else { continue };
            if emitter.known.contains_key(&weight) {
                continue;
            }
            // One tensor may be read as kernels of two kinds.
            let given = read.entry(name).or_insert_with(|| {
                let given = emitter.names.fresh(name);
                emitter.weights.push((given.clone(), weight));
                given
            });
            emitter.known.insert(weight, given.clone());
        }
        for output in graph.outputs() {
            let name = emitter.names.fresh(&output.name);
            emitter.proto.output.push(value_info(&name, &graph.node(output.node).ty));
            if is_computed(&graph.node(output.node).op) {
                emitter.values.entry(output.node).or_insert(name);
            }
        }
        for &id in &order {
            let node = graph.node(id);
            // The names of nodes themselves are the graph's; parts take what is left.
            emitter.node_names.reserve(&node.origin.name);
            if !emitter.values.contains_key(&id) && !matches!(node.op, Op::Weight { .. }) {
                let name = emitter.names.fresh(&node.origin.name);
                emitter.values.insert(id, name);
            }
        }
        emitter
    }

    /// The names of the operands of a node.
    pub(super) fn operands(&self, id: NodeId) -> Vec<String> {
        self.graph.operands(id).iter().map(|operand| self.values[operand].clone()).collect()
    }

    /// The type of an operand.
    pub(super) fn operand_type(&self, id: NodeId, operand: usize) -> &'a TensorType {
        &self.graph.node(self.graph.operands(id)[operand]).ty
    }

    /// Adds a node of ONNX that gives the value of a node.
    pub(super) fn whole(&mut self, id: NodeId, operator: &str, inputs: &[&str], attributes: &[(&str, Is<'_>)]) {
        let (node, value) = (self.graph.node(id), self.values[&id].clone());
        if !self.proto.output.iter().any(|output| output.name() == value) {
            self.proto.value_info.push(value_info(&value, &node.ty));
        }
        let doc = (node.origin.layers.len() > 1).then(|| format!("computes {}", node.origin.layers.join(", ")));
        let made = NodeProto { doc_string: doc, ..made(&node.origin.name, operator, inputs, &value, attributes) };
        self.proto.node.push(made);
    }

    /// Adds a node of ONNX that is a part of a node, and gives the name of its value.
    pub(super) fn part(
        &mut self,
        id: NodeId,
        part: &str,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Is<'_>)],
    ) -> String {
        let name = self.node_names.fresh(&self.part_name(id, part));
        let value = self.names.fresh(&name);
        self.proto.node.push(made(&name, operator, inputs, &value, attributes));
        value
    }

    fn part_name(&self, id: NodeId, part: &str) -> String {
        format!("{}.{part}", self.graph.node(id).origin.name)
    }

    /// An initializer of integers.
    pub(super) fn integers(&mut self, id: NodeId, part: &str, values: &[usize]) -> String {
        let name = self.names.fresh(&self.part_name(id, part));
        self.proto.initializer.push(TensorProto {
            name: Some(name.clone()),
            dims: vec![values.len() as i64],
            data_type: Some(DataType::Int64 as i32),
            int64_data: signed(values),
            ..TensorProto::default()
        });
        name
    }

    /// An initializer of a few numbers; a scalar has no extents.
    pub(super) fn floats(&mut self, id: NodeId, part: &str, shape: &[usize], values: &[f32]) -> String {
        let name = self.names.fresh(&self.part_name(id, part));
        self.literal(&name, shape, values);
        name
    }

    /// An initializer with the name of a node's value.
    pub(super) fn value(&mut self, id: NodeId, shape: &[usize], values: &[f32]) {
        let name = self.values[&id].clone();
        self.literal(&name, shape, values);
    }

    fn literal(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.proto.initializer.push(TensorProto {
            name: Some(name.to_owned()),
            dims: signed(shape),
            data_type: Some(DataType::Float as i32),
            raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into()),
            ..TensorProto::default()
        });
    }

    /// The initializer of a weight. A tensor that is only moved keeps its name; what is computed of several is named for
    /// the node and its part in it.
    pub(super) fn weight(&mut self, id: NodeId, part: &str, weight: WeightId) -> String {
        if let Some(name) = self.known.get(&weight) {
            return name.clone();
        }
        let wanted = match moved_tensor(&self.pool, weight) {
            Some(name) => name.to_owned(),
            None => self.part_name(id, part),
        };
        let name = self.names.fresh(&wanted);
        self.known.insert(weight, name.clone());
        self.weights.push((name.clone(), weight));
        name
    }

    /// Makes an initializer the value of a node.
    pub(super) fn value_is_weight(&mut self, id: NodeId, weight: WeightId) {
        let name = self.weight(id, "value", weight);
        self.values.insert(id, name);
    }

    /// The model, when all nodes are there.
    pub(super) fn finish(mut self) -> Model {
        for (output, info) in self.graph.outputs().iter().zip(self.proto.output.clone()) {
            let value = self.values[&output.node].clone();
            if value != info.name() {
                // A value that is an input, a literal, a weight or another output as well.
                let name = self.node_names.fresh(info.name());
                self.proto.node.push(made(&name, "Identity", &[&value], info.name(), &[]));
            }
        }
        let (exprs, ids) = self.pool.program(self.weights.iter().map(|(_, weight)| *weight));
        let weights = self.weights.into_iter().zip(ids).map(|((name, weight), expr)| {
            let shape = self.pool.shape(weight).to_vec();
            Weight { name, shape, expr }
        });
        let proto = ModelProto {
            ir_version: Some(IR_VERSION),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
            producer_name: Some("kiln".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            doc_string: self.graph.preprocessing.as_ref().map(preparation),
            ..ModelProto::default()
        };
        let weights = weights.collect();
        Model::new(proto, self.proto, exprs, weights)
    }
}

/// The weights of a node but for those of affine stages, which are written in another shape.
fn read_as_it_is(graph: &Graph, id: NodeId) -> &[WeightId] {
    let node = graph.node(id);
    match &node.op {
        Op::Fused { core, .. } => &node.weights[..own_weights(*core)],
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
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Resize(_)
        | Op::Dropout
        | Op::Identity => &node.weights,
    }
}

/// How many weights a fused core reads.
pub(super) fn own_weights(core: Core) -> usize {
    match core {
        Core::Conv(conv) => 1 + usize::from(conv.bias),
        Core::Linear(linear) => 1 + usize::from(linear.bias),
        Core::Identity => 0,
    }
}

/// Whether a node's value is made at every inference.
fn is_computed(op: &Op) -> bool {
    !matches!(op, Op::Input(_) | Op::Constant(_) | Op::Weight { .. })
}

/// The tensor whose elements an expression has in other places, if it is that.
fn moved_tensor(pool: &Pool, weight: WeightId) -> Option<&str> {
    match pool.expr(weight) {
        Expr::Read { name, .. } => Some(name),
        Expr::Transpose { of, .. } | Expr::Reshape { of, .. } | Expr::Gather { of, .. } => moved_tensor(pool, *of),
        Expr::Literal { .. }
        | Expr::Splat { .. }
        | Expr::Concat { .. }
        | Expr::Scale { .. }
        | Expr::Add { .. }
        | Expr::Times { .. }
        | Expr::RsqrtEps { .. }
        | Expr::Contract { .. } => None,
    }
}

/// How an image becomes the input, in words.
fn preparation(preprocessing: &Preprocessing) -> String {
    let Preprocessing { resize, filter, crop, order, mean, std } = preprocessing;
    format!(
        "An image becomes the input so: its shorter side is resized to {resize} pixels ({filter}), the middle {crop}×{crop} \
         are taken, channels are {order}, and each is (x - mean) / std for x from 0 to 255, with mean {mean:?} and std {std:?}."
    )
}

fn made(name: &str, operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, Is<'_>)]) -> NodeProto {
    NodeProto {
        name: Some(name.to_owned()),
        op_type: Some(operator.to_owned()),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: attributes.iter().map(|(name, is)| attribute(name, is)).collect(),
        ..NodeProto::default()
    }
}

fn attribute(name: &str, is: &Is<'_>) -> AttributeProto {
    let mut attribute = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    let kind = match *is {
        Is::Int(value) => {
            attribute.i = Some(value as i64);
            AttributeType::Int
        }
        Is::Ints(values) => {
            attribute.ints = signed(values);
            AttributeType::Ints
        }
        Is::Pads(Pads { top, left, bottom, right }) => {
            attribute.ints = signed(&[top, left, bottom, right]);
            AttributeType::Ints
        }
        Is::Float(value) => {
            attribute.f = Some(value);
            AttributeType::Float
        }
        Is::Text(text) => {
            attribute.s = Some(text.to_owned().into());
            AttributeType::String
        }
    };
    attribute.r#type = Some(kind as i32);
    attribute
}

/// ONNX's name of a type.
pub(super) fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Float,
        DType::F64 => DataType::Double,
        DType::I64 => DataType::Int64,
        DType::I32 => DataType::Int32,
        DType::I8 => DataType::Int8,
        DType::U8 => DataType::Uint8,
        DType::Bool => DataType::Bool,
    }
}

fn value_info(name: &str, ty: &TensorType) -> ValueInfoProto {
    let dtype = data_type(ty.dtype);
    let extent =
        |&extent: &usize| Dimension { value: Some(dimension::Value::DimValue(extent as i64)), ..Dimension::default() };
    let shape = TensorShapeProto { dim: ty.shape.iter().map(extent).collect() };
    let tensor = Tensor { elem_type: Some(dtype as i32), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

/// Extents as ONNX has them; the graph's are below [`TensorType::LIMIT`].
pub(super) fn signed(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}
