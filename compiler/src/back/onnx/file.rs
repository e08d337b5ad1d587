//! A model as bytes.
//!
//! Messages are put together by the schema, but for the weights: they are evaluated as they are written, some rows at a
//! time, so that a model of any size takes little memory.

use std::io::{self, Write};

use kiln_rt::weights::{Evaluator, Expr, ExprId, PackError, Source};

use super::emitter::signed;
use crate::onnx_schema::tensor_proto::{DataLocation, DataType};
use crate::onnx_schema::{
    GraphProto, Message, ModelProto, StringStringEntryProto, TensorProto, encode_length_delimiter, length_delimiter_len,
};

/// Elements that are evaluated at once.
const PIECE: usize = 1 << 18;

/// Where the weights of a file of their own start: at multiples of so many bytes.
const ALIGNMENT: u64 = 64;

/// The key of a field of bytes or of a message: its number, and that its length follows (protobuf, wire type 2).
const fn key(number: u8) -> u8 {
    number << 3 | 2
}

const MODEL_GRAPH: u8 = key(7);
const GRAPH_INITIALIZER: u8 = key(5);
const TENSOR_RAW_DATA: u8 = key(9);

/// A model whose weights are still expressions.
#[derive(Clone, Debug)]
pub struct Model {
    /// All but the graph.
    proto: ModelProto,
    /// The graph, but for the weights.
    graph: GraphProto,
    exprs: Vec<Expr>,
    weights: Vec<Weight>,
}

/// An initializer that is computed of named tensors.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) expr: ExprId,
}

impl Weight {
    fn bytes(&self) -> u64 {
        4 * self.shape.iter().product::<usize>() as u64
    }

    /// The message without its elements.
    fn head(&self) -> TensorProto {
        TensorProto {
            name: Some(self.name.clone()),
            dims: signed(&self.shape),
            data_type: Some(DataType::Float as i32),
            ..TensorProto::default()
        }
    }

    /// Evaluates and writes the elements, little endian.
    fn write(&self, evaluator: &Evaluator<'_>, out: &mut dyn Write) -> io::Result<()> {
        let rows = self.shape.first().copied().unwrap_or(1) as u32;
        let row: usize = self.shape.iter().skip(1).product();
        let step = (PIECE / row.max(1)).max(1);
        let all: Vec<u32> = (0..rows).collect();
        for rows in all.chunks(step) {
            let values = evaluator.rows(self.expr, rows);
            let bytes: Vec<u8> = values.into_iter().flat_map(|value| (value as f32).to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// The length of a field of so many bytes, with its key and its length.
fn field(bytes: u64) -> u64 {
    1 + length_delimiter_len(bytes as usize) as u64 + bytes
}

/// Writes a field's key and length.
fn begin(out: &mut dyn Write, key: u8, bytes: u64) -> io::Result<()> {
    let mut head = vec![key];
    encode_length_delimiter(bytes as usize, &mut head)?;
    out.write_all(&head)
}

impl Model {
    /// The most bytes that a file may have: protobuf counts them in 31 bits.
    pub const LIMIT: u64 = (1 << 31) - 1;

    pub(super) fn new(proto: ModelProto, graph: GraphProto, exprs: Vec<Expr>, weights: Vec<Weight>) -> Self {
        Model { proto, graph, exprs, weights }
    }

    /// The number of nodes, of initializers, and of the weights' bytes.
    pub fn counts(&self) -> [u64; 3] {
        let initializers = self.graph.initializer.len() + self.weights.len();
        [self.graph.node.len() as u64, initializers as u64, self.weights.iter().map(Weight::bytes).sum()]
    }

    /// The bytes of the model as one file, which must be at most [`Model::LIMIT`].
    pub fn size(&self) -> u64 {
        self.proto.encoded_len() as u64 + field(self.graph_size())
    }

    fn graph_size(&self) -> u64 {
        let initializer = |weight: &Weight| field(weight.head().encoded_len() as u64 + field(weight.bytes()));
        self.graph.encoded_len() as u64 + self.weights.iter().map(initializer).sum::<u64>()
    }

    /// Writes the model as one file.
    ///
    /// # Errors
    /// All tensors that the source lacks or has in another shape, before anything is written; and those of `out`.
    pub fn write(&self, source: &dyn Source, out: &mut dyn Write) -> Result<(), PackError> {
        let evaluator = Evaluator::new(&self.exprs, source)?;
        out.write_all(&self.proto.encode_to_vec())?;
        begin(out, MODEL_GRAPH, self.graph_size())?;
        out.write_all(&self.graph.encode_to_vec())?;
        for weight in &self.weights {
            let head = weight.head().encode_to_vec();
            begin(out, GRAPH_INITIALIZER, head.len() as u64 + field(weight.bytes()))?;
            out.write_all(&head)?;
            begin(out, TENSOR_RAW_DATA, weight.bytes())?;
            weight.write(&evaluator, out)?;
        }
        Ok(())
    }

    /// The model as a file whose weights lie in another one, `location`, in the same folder.
    pub fn without_weights(&self, location: &str) -> Vec<u8> {
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) };
        let mut graph = self.graph.clone();
        let mut offset = 0;
        for weight in &self.weights {
            let place = [("offset", offset), ("length", weight.bytes())].map(|(key, n)| entry(key, n.to_string()));
            let external_data = std::iter::once(entry("location", location.to_owned())).chain(place).collect();
            let data_location = Some(DataLocation::External as i32);
            graph.initializer.push(TensorProto { external_data, data_location, ..weight.head() });
            offset += weight.bytes().next_multiple_of(ALIGNMENT);
        }
        ModelProto { graph: Some(graph), ..self.proto.clone() }.encode_to_vec()
    }

    /// Writes the file of the weights that [`Model::without_weights`] refers to.
    ///
    /// # Errors
    /// As [`Model::write`].
    pub fn write_weights(&self, source: &dyn Source, out: &mut dyn Write) -> Result<(), PackError> {
        let evaluator = Evaluator::new(&self.exprs, source)?;
        for weight in &self.weights {
            weight.write(&evaluator, out)?;
            let rest = weight.bytes().next_multiple_of(ALIGNMENT) - weight.bytes();
            out.write_all(&vec![0; rest as usize])?;
        }
        Ok(())
    }
}
