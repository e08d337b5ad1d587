//! What an expression is worth while a network is elaborated.

use std::fmt;
use std::sync::Arc;

use crate::graph::NodeId;

/// A value. Tensors are nodes of the graph; everything else is gone when the graph is done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Tensor(NodeId),
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(Arc<str>),
    List(Arc<List>),
    /// From `start` up to `end`, which does not belong to it.
    Range {
        start: i64,
        end: i64,
    },
    Unit,
    /// What a mistake leaves behind: everything made of it is poison too, and nothing more is said.
    Poison,
}

/// A tuple or an array. Values nest at most [`List::MAX_DEPTH`] deep, so that nothing that walks them needs much stack.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List {
    pub(super) tuple: bool,
    pub(super) items: Vec<Value>,
    depth: u32,
}

impl List {
    /// Lists in lists.
    pub(super) const MAX_DEPTH: u32 = 64;
    /// Items of one list.
    pub(super) const MAX_LEN: usize = 1 << 16;

    /// A list of these items, or nothing if it would be too deep or too long.
    pub(super) fn of(tuple: bool, items: Vec<Value>) -> Option<Value> {
        let inner = items.iter().map(|item| if let Value::List(list) = item { list.depth } else { 0 }).max();
        let depth = inner.unwrap_or(0) + 1;
        (depth <= List::MAX_DEPTH && items.len() <= List::MAX_LEN)
            .then(|| Value::List(Arc::new(List { tuple, items, depth })))
    }
}

impl Value {
    /// What kind of value it is, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Tensor(_) => "a tensor",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Bool(_) => "a boolean",
            Value::Str(_) => "a string",
            Value::List(list) if list.tuple => "a tuple",
            Value::List(_) => "an array",
            Value::Range { .. } => "a range",
            Value::Unit => "nothing",
            Value::Poison => "unknown",
        }
    }

    /// The value of an integer or a float.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Tensor(_)
            | Value::Bool(_)
            | Value::Str(_)
            | Value::List(_)
            | Value::Range { .. }
            | Value::Unit
            | Value::Poison => None,
        }
    }
}

/// As in the language; lists and tensors by their kind.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Str(value) => f.write_str(value),
            Value::Range { start, end } => write!(f, "{start}..{end}"),
            Value::Tensor(_) | Value::List(_) | Value::Unit | Value::Poison => f.write_str(self.kind()),
        }
    }
}
