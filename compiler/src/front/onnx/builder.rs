//! The graph while it is made, and the tensors that it reads.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use kiln_rt::safetensors::Dtype;

use super::Problem;
use super::budget::Budget;
use super::call::Call;
use super::tensor::{self, Tensor};
use crate::diag::Span;
use crate::graph::names::Names;
use crate::graph::weights::Kind;
use crate::graph::{Binary, Constant, DType, F32, Graph, NodeId, Op, Origin, TensorType, WeightId};

/// Up to so many bits f32 holds every integer.
const DIGIT: u32 = 24;
/// Up to so many bits the graph computes with integers exactly.
const WHOLE: u32 = 53;

/// What an ONNX value is while the graph is made.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A node of the graph.
    Node(NodeId),
    /// A tensor that does not depend on the network's inputs.
    Known(Known),
}

/// A tensor with the name by which it is a weight.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: Rc<str>,
    pub(super) tensor: Rc<Tensor>,
}

/// The graph so far, and the tensors that it reads.
pub(super) struct Builder {
    pub(super) graph: Graph,
    pub(super) opset: i64,
    /// What may still be made of the model's tensors.
    pub(super) budget: Budget,
    /// Whether names are those of a branch, which other branches may have too.
    pub(super) is_within: bool,
    tensors: BTreeMap<String, Tensor>,
    /// Tensors that were made of others: of which, what, and what else they depend on.
    derived: HashMap<(Rc<str>, String, String), Known>,
    /// Nodes of large tensors, by the names of those.
    large: HashMap<Rc<str>, NodeId>,
    /// The names of nodes.
    names: Names,
    /// The names of the model's values, and of tensors that are made of them.
    values: Names,
}

impl Builder {
    /// An empty graph, for a model whose values have these names and which may take so much memory.
    pub(super) fn new(name: String, opset: i64, values: Names, budget: Budget) -> Self {
        let (tensors, derived, large, names) = (BTreeMap::new(), HashMap::new(), HashMap::new(), Names::default());
        Builder { graph: Graph::new(name), opset, budget, is_within: false, tensors, derived, large, names, values }
    }

    /// Another, for a part that is computed by itself, with the same bounds.
    pub(super) fn apart(&self) -> Self {
        Builder::new(String::new(), self.opset, Names::default(), self.budget.clone())
    }

    /// The graph, and the tensors that it reads.
    pub(super) fn finish(self) -> (Graph, BTreeMap<String, Tensor>) {
        (self.graph, self.tensors)
    }

    /// Where a node comes from that stands for something of this name.
    pub(super) fn origin(&mut self, wanted: &str, span: Option<Span>) -> Origin {
        Origin { name: self.names.fresh(wanted), span, layers: Vec::new() }
    }

    /// A tensor that is made of others, under a name of its own, as near to the wanted one as can be.
    ///
    /// # Errors
    /// It is larger than what is left for such tensors.
    pub(super) fn made(&mut self, wanted: &str, tensor: Tensor) -> Result<Known, Problem> {
        self.budget.take(&tensor.shape)?;
        self.budget.hold(&tensor);
        Ok(Known { name: self.values.fresh(wanted).into(), tensor: tensor.into() })
    }

    /// A tensor that a value of the model is. Values of the model have names of their own, and in a branch of their own.
    pub(super) fn value(&mut self, name: &str, tensor: Rc<Tensor>) -> Value {
        let name = if self.is_within { self.values.fresh(name).into() } else { name.into() };
        Value::Known(Known { name, tensor })
    }

    /// The same elements in another shape.
    pub(super) fn reshaped(&mut self, known: &Known, shape: Vec<usize>) -> Known {
        let key = (known.name.clone(), "reshaped".to_owned(), format!("{shape:?}"));
        if let Some(same) = self.derived.get(&key) {
            return same.clone();
        }
        let name = self.values.fresh(&format!("{}.reshaped", known.name)).into();
        let reshaped = Known { name, tensor: known.tensor.reshaped(shape).into() };
        self.derived.insert(key, reshaped.clone());
        reshaped
    }

    /// Adds what a node of the model is as a whole.
    pub(super) fn add(
        &mut self,
        call: &Call<'_>,
        op: Op,
        operands: &[NodeId],
        weights: Vec<WeightId>,
    ) -> Result<NodeId, Problem> {
        self.add_part(call, "", op, operands, weights)
    }

    /// Adds a part of what a node of the model is, named after it.
    pub(super) fn add_part(
        &mut self,
        call: &Call<'_>,
        part: &str,
        op: Op,
        operands: &[NodeId],
        weights: Vec<WeightId>,
    ) -> Result<NodeId, Problem> {
        let name = if part.is_empty() { call.name.clone() } else { format!("{}.{part}", call.name) };
        let origin = self.origin(&name, Some(call.span));
        let node = self.graph.add(op, operands, weights, origin)?;
        tensor::check_rank(self.ty(node).shape.len())?;
        Ok(node)
    }

    /// The type of a value of the graph.
    pub(super) fn ty(&self, node: NodeId) -> &TensorType {
        &self.graph.node(node).ty
    }

    /// The shape of any value.
    pub(super) fn shape_of(&self, value: &Value) -> Vec<usize> {
        match value {
            Value::Node(node) => self.ty(*node).shape.clone(),
            Value::Known(known) => known.tensor.shape.clone(),
        }
    }

    /// A tensor as a weight, of the shape that it has in the file.
    pub(super) fn weight(&mut self, known: &Known, kind: Kind) -> WeightId {
        self.keep(known);
        self.graph.weights.read(&known.name, kind, &known.tensor.shape)
    }

    /// A tensor as a weight with its axes in another order.
    pub(super) fn weight_transposed(&mut self, known: &Known, kind: Kind, perm: &[usize]) -> WeightId {
        self.keep(known);
        self.graph.weights.read_transposed(&known.name, kind, &known.tensor.shape, perm)
    }

    fn keep(&mut self, known: &Known) {
        if !self.tensors.contains_key(&*known.name) {
            self.tensors.insert(known.name.to_string(), (*known.tensor).clone());
        }
    }

    /// An input as a node of the graph; known tensors become literals, or weights where they are large.
    pub(super) fn operand(&mut self, call: &Call<'_>, input: usize) -> Result<NodeId, Problem> {
        match call.required(input)? {
            Value::Node(node) => Ok(*node),
            // No node has a value without elements; but an operator may make one with elements of it.
            Value::Known(known) if known.tensor.len() == 0 => {
                Err(call.of_known_alone("it, of a value without elements,"))
            }
            Value::Known(known) => self.known_node(known, Some(call.span)),
        }
    }

    /// A tensor as a node: a literal, or a weight where it is large. Literals and weights are f32s, so that those of
    /// another type are cast, and integers that f32 does not hold are put together of digits. All that read a large one
    /// read one node.
    pub(super) fn known_node(&mut self, known: &Known, span: Option<Span>) -> Result<NodeId, Problem> {
        if let Some(&node) = self.large.get(&known.name) {
            return Ok(node);
        }
        let node = self.new_node(known, span)?;
        if known.tensor.len() > Constant::LIMIT {
            self.large.insert(known.name.clone(), node);
        }
        Ok(node)
    }

    fn new_node(&mut self, known: &Known, span: Option<Span>) -> Result<NodeId, Problem> {
        let tensor = &known.tensor;
        let dtype = tensor::element_type(tensor.dtype)?;
        let origin = self.origin(&known.name, span);
        if dtype == DType::F32 {
            return self.known_floats(known, origin);
        }
        let Some(integers) = tensor.to_integers() else {
            let part = self.derived(known, "f32", "", || {
                Ok(Tensor::floats(Dtype::F32, tensor.shape.clone(), &tensor.to_floats()))
            })?;
            return self.cast_floats(&part, dtype, origin);
        };
        // Digits of an integer, of which the first has its sign.
        let largest = integers.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
        if largest > 1 << WHOLE {
            return Err(Problem::new(format!("`{}` holds integers of more than {WHOLE} bits", known.name)));
        }
        let digits = (1..3).find(|&digits| largest <= 1 << (DIGIT * digits)).unwrap_or(3);
        let digit = |at: u32| -> Vec<f64> {
            let shifted = |v: i64| v >> (DIGIT * (digits - 1 - at));
            let cut = |v: i64| if at == 0 { v } else { v & ((1 << DIGIT) - 1) };
            integers.iter().map(|&v| cut(shifted(v)) as f64).collect()
        };
        let shape = &tensor.shape;
        if digits == 1 {
            let part = self.derived(known, "f32", "", || Ok(Tensor::floats(Dtype::F32, shape.clone(), &digit(0))))?;
            return self.cast_floats(&part, dtype, origin);
        }
        let radix = || Ok(Tensor::floats(Dtype::F32, vec![], &[2f64.powi(DIGIT as i32)]));
        let radix = self.derived(known, "radix", "", radix)?;
        let radix_origin = self.origin(&format!("{}.{dtype}", radix.name), span);
        let radix = self.cast_floats(&radix, dtype, radix_origin)?;
        let mut sum: Option<NodeId> = None;
        for at in 0..digits {
            let part = self.derived(known, &format!("digit {at}"), "", || {
                Ok(Tensor::floats(Dtype::F32, shape.clone(), &digit(at)))
            })?;
            let part_origin = self.origin(&format!("{}.{dtype}", part.name), span);
            let part = self.cast_floats(&part, dtype, part_origin)?;
            sum = Some(match sum {
                None => part,
                Some(sum) => {
                    let shifted = self.origin(&format!("{}.shifted", known.name), span);
                    let sum = self.graph.add(Op::Binary(Binary::Mul), &[sum, radix], vec![], shifted)?;
                    let added = if at + 1 == digits { origin.clone() } else { self.origin(&known.name, span) };
                    self.graph.add(Op::Binary(Binary::Add), &[sum, part], vec![], added)?
                }
            });
        }
        sum.ok_or_else(|| Problem::new(format!("`{}` has no digits", known.name)))
    }

    /// Floats as elements of another type.
    fn cast_floats(&mut self, known: &Known, dtype: DType, origin: Origin) -> Result<NodeId, Problem> {
        let floats_origin = self.origin(&known.name, origin.span);
        let floats = self.known_floats(known, floats_origin)?;
        Ok(self.graph.add(Op::Cast(dtype), &[floats], vec![], origin)?)
    }

    fn known_floats(&mut self, known: &Known, origin: Origin) -> Result<NodeId, Problem> {
        let tensor = &known.tensor;
        if tensor.len() <= Constant::LIMIT {
            let values = tensor.to_floats().into_iter().map(|v| F32::new(v as f32)).collect();
            let constant = Constant { shape: tensor.shape.clone(), values };
            return Ok(self.graph.add(Op::Constant(constant), &[], vec![], origin)?);
        }
        let weight = self.weight(known, Kind::Bias);
        let op = Op::Weight { shape: known.tensor.shape.clone() };
        Ok(self.graph.add(op, &[], vec![weight], origin)?)
    }

    /// A tensor that is made of another, as [`Builder::made`] has it, once for all that ask for it: for the same `what`,
    /// and the same of whatever else it depends on.
    pub(super) fn derived(
        &mut self,
        from: &Known,
        what: &str,
        besides: &str,
        make: impl FnOnce() -> Result<Tensor, Problem>,
    ) -> Result<Known, Problem> {
        let key = (from.name.clone(), what.to_owned(), besides.to_owned());
        if let Some(same) = self.derived.get(&key) {
            return Ok(same.clone());
        }
        self.budget.check()?;
        let known = self.made(&format!("{}.{what}", from.name), make()?)?;
        self.derived.insert(key, known.clone());
        Ok(known)
    }

    /// A literal with one value everywhere, of the type of a node.
    pub(super) fn literal_like(
        &mut self,
        call: &Call<'_>,
        part: &str,
        value: f32,
        like: NodeId,
    ) -> Result<NodeId, Problem> {
        let literal = self.literal(call, part, value)?;
        match self.ty(like).dtype {
            DType::F32 => Ok(literal),
            dtype => self.add_part(call, part, Op::Cast(dtype), &[literal], vec![]),
        }
    }

    /// A literal with one value everywhere.
    pub(super) fn literal(&mut self, call: &Call<'_>, part: &str, value: f32) -> Result<NodeId, Problem> {
        self.add_part(call, part, Op::Constant(Constant::scalar(value)), &[], vec![])
    }

    /// The node of an output. An output that is an input or a literal stands behind an identity, so that it is made; known
    /// integers of a type that networks do not compute with are given in a wider one.
    pub(super) fn output(&mut self, value: &Value, name: &str) -> Result<NodeId, Problem> {
        let node = match value {
            Value::Node(node) => *node,
            Value::Known(known) => {
                let tensor = known.tensor.widened().into();
                self.known_node(&Known { name: known.name.clone(), tensor }, None)?
            }
        };
        match self.graph.node(node).op {
            Op::Input(_) | Op::Constant(_) | Op::Weight { .. } => {
                let origin = self.origin(name, None);
                Ok(self.graph.add(Op::Identity, &[node], vec![], origin)?)
            }
            _ => Ok(node),
        }
    }
}
