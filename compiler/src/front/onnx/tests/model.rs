//! A builder of ONNX files.

use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::tensor_proto::DataType;
use super::super::proto::tensor_shape_proto::{Dimension, dimension};
use super::super::proto::type_proto::{Tensor, Value};
use super::super::proto::{
    AttributeProto, Bytes, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};

/// A file in the making.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) proto: ModelProto,
}

/// An attribute's value.
pub(crate) enum Is<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
    Text(&'a str),
    Tensor(Box<TensorProto>),
}

impl Model {
    /// A file without nodes, in this version of the operators.
    pub(crate) fn new(opset: i64) -> Self {
        let own = OperatorSetIdProto { domain: None, version: Some(opset) };
        Model {
            proto: ModelProto {
                ir_version: Some(8),
                opset_import: vec![own],
                graph: Some(GraphProto::default()),
                ..Default::default()
            },
        }
    }

    pub(crate) fn graph(&mut self) -> &mut GraphProto {
        self.proto.graph.get_or_insert_default()
    }

    /// An input of numbers.
    pub(crate) fn input(mut self, name: &str, shape: &[i64]) -> Self {
        let dim = shape.iter().map(|&extent| Some(dimension::Value::DimValue(extent)));
        let input = info(name, DataType::Float, dim);
        self.graph().input.push(input);
        self
    }

    /// An input of elements of a type.
    pub(crate) fn typed_input(mut self, name: &str, of: DataType, shape: &[i64]) -> Self {
        let dim = shape.iter().map(|&extent| Some(dimension::Value::DimValue(extent)));
        let input = info(name, of, dim);
        self.graph().input.push(input);
        self
    }

    /// An initializer of integers of a type.
    pub(crate) fn typed(mut self, name: &str, of: DataType, shape: &[i64], values: &[i32]) -> Self {
        let tensor = TensorProto {
            name: Some(name.to_owned()),
            dims: shape.to_vec(),
            data_type: Some(of as i32),
            int32_data: values.to_vec(),
            ..Default::default()
        };
        self.graph().initializer.push(tensor);
        self
    }

    /// An input whose extents are numbers or names.
    pub(crate) fn open_input(mut self, name: &str, shape: &[&str]) -> Self {
        let dim = shape.iter().map(|said| {
            Some(match said.parse() {
                Ok(extent) => dimension::Value::DimValue(extent),
                Err(_) => dimension::Value::DimParam((*said).to_owned()),
            })
        });
        let input = info(name, DataType::Float, dim);
        self.graph().input.push(input);
        self
    }

    /// An initializer of numbers, stored as bytes.
    pub(crate) fn weight(mut self, name: &str, shape: &[i64], values: &[f32]) -> Self {
        self.graph().initializer.push(floats(name, shape, values));
        self
    }

    /// An initializer of integers, stored as numbers.
    pub(crate) fn integers(mut self, name: &str, shape: &[i64], values: &[i64]) -> Self {
        self.graph().initializer.push(integers(name, shape, values));
        self
    }

    /// A node; names are separated by spaces, `_` is an input that is not given. An operator with a point is of a domain.
    pub(crate) fn node(mut self, op: &str, inputs: &str, outputs: &str, attributes: &[(&str, Is<'_>)]) -> Self {
        let names = |text: &str| text.split_whitespace().map(|name| name.replace('_', "")).collect();
        let attribute = attributes.iter().map(|(name, is)| {
            let mut attribute = AttributeProto { name: Some((*name).to_owned()), ..Default::default() };
            attribute.r#type = Some(match is {
                Is::Int(_) => AttributeType::Int,
                Is::Ints(_) => AttributeType::Ints,
                Is::Float(_) => AttributeType::Float,
                Is::Text(_) => AttributeType::String,
                Is::Tensor(_) => AttributeType::Tensor,
            } as i32);
            match is {
                Is::Int(value) => attribute.i = Some(*value),
                Is::Ints(values) => attribute.ints = values.to_vec(),
                Is::Float(value) => attribute.f = Some(*value),
                Is::Text(text) => attribute.s = Some(Bytes::copy_from_slice(text.as_bytes())),
                Is::Tensor(tensor) => attribute.t = Some(tensor.clone()),
            }
            attribute
        });
        let (domain, op) = op.rsplit_once('.').map_or((None, op), |(domain, op)| (Some(domain.to_owned()), op));
        let node = NodeProto {
            domain,
            op_type: Some(op.to_owned()),
            input: names(inputs),
            output: names(outputs),
            attribute: attribute.collect(),
            ..Default::default()
        };
        self.graph().node.push(node);
        self
    }

    /// A result.
    pub(crate) fn output(mut self, name: &str) -> Self {
        let output = info(name, DataType::Float, std::iter::empty());
        self.graph().output.push(output);
        self
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.proto.encode_to_vec().into()
    }
}

pub(crate) fn floats(name: &str, shape: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: shape.to_vec(),
        data_type: Some(DataType::Float as i32),
        raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..Default::default()
    }
}

pub(crate) fn integers(name: &str, shape: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: shape.to_vec(),
        data_type: Some(DataType::Int64 as i32),
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

fn info(name: &str, of: DataType, shape: impl Iterator<Item = Option<dimension::Value>>) -> ValueInfoProto {
    let dim = shape.map(|value| Dimension { value, denotation: None }).collect();
    let tensor = Tensor { elem_type: Some(of as i32), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { value: Some(Value::TensorType(tensor)), denotation: None }),
        ..Default::default()
    }
}
