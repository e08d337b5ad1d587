//! What a file would take in memory, before anything of it is read into messages.
//!
//! An empty node is two bytes of a file and hundreds of a message, so a small file can ask for any amount of memory. This
//! walk over the wire format (protobuf.dev/programming-guides/encoding) adds up what the messages would take, without
//! making any.

use std::mem::size_of;

use super::proto;

/// Bytes of messages that a file may ask for beside those that it holds itself.
const LIMIT: usize = 128 << 20;

/// How deep messages may lie in each other.
const DEPTH: usize = 64;

#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Function,
}

/// What a field of bytes holds.
enum Field {
    Message(Message, usize),
    /// A message of small parts: types, shapes, entries.
    Small(usize),
    /// Numbers of so many bytes each, of which the shortest takes one byte of the file.
    Varints(usize),
    /// Numbers as they lie in memory.
    Numbers,
    /// Bytes that stay in the file.
    Raw,
    Text,
}

fn field(message: Message, tag: u64) -> Field {
    use Field::{Numbers, Raw, Text, Varints};
    let small = || Field::Small(size_of::<proto::ValueInfoProto>());
    match (message, tag) {
        (Message::Model, 7) => Field::Message(Message::Graph, size_of::<proto::GraphProto>()),
        (Message::Model, 25) => Field::Message(Message::Function, size_of::<proto::FunctionProto>()),
        (Message::Model, 20) => Field::Small(size_of::<proto::TrainingInfoProto>()),
        (Message::Model, 8 | 14 | 26) => small(),
        (Message::Graph, 1) | (Message::Function, 7) => Field::Message(Message::Node, size_of::<proto::NodeProto>()),
        (Message::Graph, 5) => Field::Message(Message::Tensor, size_of::<proto::TensorProto>()),
        (Message::Graph, 15) => Field::Small(size_of::<proto::SparseTensorProto>()),
        (Message::Graph, 11..=13) | (Message::Function, 12) => {
            Field::Message(Message::ValueInfo, size_of::<proto::ValueInfoProto>())
        }
        (Message::Graph, 14 | 16) | (Message::Function, 9 | 14) => small(),
        (Message::Node, 5) | (Message::Function, 11) => {
            Field::Message(Message::Attribute, size_of::<proto::AttributeProto>())
        }
        (Message::Node, 9 | 10) => small(),
        (Message::Attribute, 5 | 10) => Field::Message(Message::Tensor, size_of::<proto::TensorProto>()),
        (Message::Attribute, 6 | 11) => Field::Message(Message::Graph, size_of::<proto::GraphProto>()),
        (Message::Attribute, 14 | 15 | 22 | 23) => Field::Small(size_of::<proto::SparseTensorProto>()),
        (Message::Attribute, 4 | 9) | (Message::Tensor, 6 | 9) => Raw,
        (Message::Attribute, 7) | (Message::Tensor, 4 | 10) => Numbers,
        (Message::Attribute, 8) | (Message::Tensor, 1 | 5 | 7 | 11) => Varints(8),
        (Message::Tensor, 3 | 13 | 16) => small(),
        (Message::ValueInfo, 2 | 4) => small(),
        (Message::Model | Message::Graph | Message::Node | Message::Attribute, _)
        | (Message::Tensor | Message::ValueInfo | Message::Function, _) => Text,
    }
}

/// Makes sure that a file can be read into messages.
///
/// # Errors
/// It is cut off or no message, or its messages would take too much memory.
pub(super) fn check(file: &[u8]) -> Result<(), String> {
    let limit = LIMIT + file.len();
    let mut cost = 0usize;
    // Messages that are open: what they are, and where they end.
    let mut open = vec![(Message::Model, file.len())];
    let mut at = 0;
    while let Some(&(message, end)) = open.last() {
        if cost > limit {
            return Err(format!("its {} bytes hold more messages than fit into {} bytes of memory", file.len(), limit));
        }
        if at == end {
            open.pop();
            continue;
        }
        let key = varint(file, &mut at, end)?;
        let (tag, wire) = (key >> 3, key & 7);
        match wire {
            0 => {
                varint(file, &mut at, end)?;
                cost += 8;
            }
            1 => at = skip(at, 8, end)?,
            5 => {
                at = skip(at, 4, end)?;
                cost += 8;
            }
            2 => {
                let length = usize::try_from(varint(file, &mut at, end)?).map_err(|_| cut_off(at))?;
                let inner = skip(at, length, end)?;
                match field(message, tag) {
                    Field::Message(kind, size) => {
                        if open.len() == DEPTH {
                            return Err(format!("its messages lie more than {DEPTH} deep in each other"));
                        }
                        cost += size;
                        open.push((kind, inner));
                        continue;
                    }
                    Field::Small(size) => cost += size + SMALL * length,
                    Field::Varints(size) => cost += size * length,
                    Field::Numbers => cost += length,
                    Field::Raw => cost += size_of::<proto::Bytes>(),
                    Field::Text => cost += size_of::<String>() + length,
                }
                at = inner;
            }
            _ => return Err(format!("byte {at} starts no field")),
        }
    }
    Ok(())
}

/// What a byte of a small message may take: an empty dimension is two bytes of a file and some forty of memory.
const SMALL: usize = 24;

fn varint(file: &[u8], at: &mut usize, end: usize) -> Result<u64, String> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        if *at >= end {
            return Err(cut_off(*at));
        }
        let byte = file[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(format!("the number at byte {} does not end", *at))
}

fn skip(at: usize, length: usize, end: usize) -> Result<usize, String> {
    at.checked_add(length).filter(|&after| after <= end).ok_or_else(|| cut_off(at))
}

fn cut_off(at: usize) -> String {
    format!("it is cut off, or no ONNX file: what starts at byte {at} does not end")
}
