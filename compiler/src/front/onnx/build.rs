//! The graph of a model, node by node.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use kiln_rt::safetensors::Dtype;

use super::attributes::Attributes;
use super::fold::{self, Budget};
use super::geometry::{self, Stride};
use super::model::{Model, node_name, operator_name};
use super::operators::{Convert, operator};
use super::proto::NodeProto;
use super::settings::Given;
use super::tensor::{self, Tensor};
use super::{Import, Problem, Settings, Tensors};
use crate::diag::{Diagnostic, Errors, Span};
use crate::graph::weights::Kind;
use crate::graph::{Binary, Constant, DType, F32, Graph, NodeId, Op, Origin, TensorType, WeightId};

/// How many nodes of one operator are named in a message.
const NAMED: usize = 5;

/// Up to here f32 holds every integer.
const EXACT: f64 = (1 << 24) as f64;
/// What larger integers are divided by.
const RADIX: f64 = (1 << 16) as f64;

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
    tensors: BTreeMap<String, Tensor>,
    /// The names of nodes.
    names: HashSet<String>,
    /// The names of the model's values, and of tensors that are computed of them.
    values: HashSet<String>,
}

/// A node of the model with what its inputs are.
pub(super) struct Call<'a> {
    pub(super) attributes: Attributes<'a>,
    pub(super) inputs: Vec<Option<Value>>,
    pub(super) outputs: usize,
    /// The shape of the first input, if it is given.
    pub(super) shape: Option<Vec<usize>>,
    name: String,
    span: Span,
    node: &'a NodeProto,
}

/// Why a model is no network.
pub(super) struct Refusal {
    pub(super) errors: Errors,
    /// Inputs whose values are offered, and would have to be known.
    pub(super) needed: BTreeSet<String>,
}

impl From<Errors> for Refusal {
    fn from(errors: Errors) -> Self {
        Refusal { errors, needed: BTreeSet::new() }
    }
}

/// Makes the graph of a model, of which some inputs are constants.
///
/// # Errors
/// All operators that kiln does not have, with how often they stand where; else all nodes that do not fit.
pub(super) fn build(
    name: &str,
    model: Model,
    settings: &Settings,
    constants: &BTreeSet<String>,
) -> Result<Import, Refusal> {
    let Model { opset, nodes, order, inputs, outputs, initializers, listing } = model;
    let unknown = unknown_operators(&nodes, &order, |node| listing.span(node));
    if !unknown.is_empty() {
        return Err(Errors::new(unknown, listing.sources).into());
    }
    let given =
        settings.inputs(&inputs, constants).map_err(|mistakes| Errors::new(mistakes, listing.sources.clone()))?;
    let mut builder = Builder {
        graph: Graph::new(type_name(name)),
        opset,
        tensors: BTreeMap::new(),
        names: HashSet::new(),
        values: nodes.iter().flat_map(|node| &node.output).chain(initializers.keys()).cloned().collect(),
    };
    let mut budget = Budget::for_tensors(initializers.values());
    let mut values: HashMap<&str, Value> = HashMap::new();
    let read: HashSet<&str> = nodes.iter().flat_map(|node| &node.input).chain(&outputs).map(String::as_str).collect();
    for (name, tensor) in initializers {
        let Some(&name) = read.get(name.as_str()) else { continue };
        values.insert(name, Value::Known(Known { name: name.into(), tensor: Rc::new(tensor) }));
    }
    let (mut mistakes, mut needs, mut constants) = (Vec::new(), Vec::new(), Vec::new());
    for (input, given) in inputs.iter().zip(given) {
        let ty = match given {
            Given::Open(ty) => ty,
            Given::Constant(tensor) => {
                constants.push(input.name().to_owned());
                values.insert(input.name(), Value::Known(Known { name: input.name().into(), tensor: Rc::new(tensor) }));
                continue;
            }
        };
        let origin = Origin::named(builder.fresh(input.name()));
        match builder.graph.add(Op::Input(ty), &[], vec![], origin) {
            Ok(id) => {
                values.insert(input.name(), Value::Node(id));
            }
            Err(error) => {
                let message = format!("the input `{}` cannot be that: {}", input.name(), error.message);
                mistakes.push(Diagnostic::error(Span::NOWHERE, message));
            }
        }
    }
    for position in order {
        let node = &nodes[position];
        let inputs: Option<Vec<Option<Value>>> = node
            .input
            .iter()
            .map(|input| if input.is_empty() { Some(None) } else { values.get(input.as_str()).cloned().map(Some) })
            .collect();
        // What cannot be made is told once, not again for all that depends on it.
        let Some(inputs) = inputs else { continue };
        let mut call = Call {
            shape: inputs.first().and_then(Option::as_ref).map(|value| builder.shape_of(value)),
            attributes: Attributes(node),
            inputs,
            outputs: node.output.len(),
            name: node_name(node, position),
            span: listing.span(position),
            node,
        };
        match builder.convert(&mut call, &mut budget) {
            Ok(results) => {
                for (name, value) in node.output.iter().zip(results) {
                    values.insert(name, value);
                }
                for name in node.output.iter().filter(|name| !name.is_empty()) {
                    if !values.contains_key(name.as_str()) && read.contains(name.as_str()) {
                        let message = format!("`{name}` is a result of {} that is not supported", operator_name(node));
                        mistakes.push(Diagnostic::error(call.span, message));
                    }
                }
            }
            Err(problem) => {
                let message = format!("{} `{}`: {}", operator_name(node), call.name, problem.message);
                mistakes.push(Diagnostic::error(call.span, message));
                needs.extend(problem.needs);
            }
        }
    }
    for output in &outputs {
        let Some(value) = values.get(output.as_str()) else { continue };
        match builder.output(value, output) {
            Ok(node) => builder.graph.add_output(output.clone(), node),
            Err(problem) => {
                let message = format!("the output `{output}` cannot be given: {}", problem.message);
                mistakes.push(Diagnostic::error(Span::NOWHERE, message));
            }
        }
    }
    if !mistakes.is_empty() {
        let needed = inputs_behind(&builder.graph, needs).into_iter().filter(|input| settings.offers(input, &inputs));
        return Err(Refusal { needed: needed.collect(), errors: Errors::new(mistakes, listing.sources) });
    }
    Ok(Import { graph: builder.graph, tensors: Tensors(builder.tensors), constants })
}

/// The names of the inputs on which nodes depend.
fn inputs_behind(graph: &Graph, mut open: Vec<NodeId>) -> BTreeSet<String> {
    let (mut seen, mut inputs) = (HashSet::new(), BTreeSet::new());
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        if let Op::Input(_) = graph.node(id).op {
            inputs.insert(graph.node(id).origin.name.clone());
        }
        open.extend(graph.operands(id));
    }
    inputs
}

/// Operators that kiln does not have: a mistake each, with the places where they stand.
fn unknown_operators(nodes: &[NodeProto], order: &[usize], span: impl Fn(usize) -> Span) -> Vec<Diagnostic> {
    let mut unknown: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &position in order {
        let name = operator_name(&nodes[position]);
        if operator(&name).is_none() && !fold::is_known(&name) {
            unknown.entry(name).or_default().push(position);
        }
    }
    unknown
        .into_iter()
        .map(|(operator, mut places)| {
            places.sort_unstable();
            let names: Vec<String> =
                places.iter().take(NAMED).map(|&i| format!("`{}`", node_name(&nodes[i], i))).collect();
            let (count, plural) = (places.len(), if places.len() == 1 { "" } else { "s" });
            let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
            let message = format!("kiln has no operator {operator}: {count} node{plural}, {}{more}", names.join(", "));
            Diagnostic::error(span(places[0]), message)
        })
        .collect()
}

/// A file's name as a network's: `mobilenet_v2.onnx` is `MobilenetV2`.
fn type_name(file: &str) -> String {
    let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let stem = file.strip_suffix(".onnx").unwrap_or(file);
    let words = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name: String = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("Net{name}") }
}

impl Builder {
    fn convert(&mut self, call: &mut Call<'_>, budget: &mut Budget) -> Result<Vec<Value>, Problem> {
        call.attributes.check(&call.operator())?;
        self.align_old_operand(call)?;
        if let Some(results) = fold::fold(call, budget)? {
            let named = call.node.output.iter().zip(results);
            return Ok(named
                .map(|(name, tensor)| Value::Known(Known { name: name.as_str().into(), tensor: Rc::new(tensor) }))
                .collect());
        }
        let convert: Convert = operator(&operator_name(call.node)).ok_or_else(|| call.of_known_alone("it"))?;
        convert(self, call)
    }

    /// Before version 7 the second operand of a pair is aligned with the axes of the first from `axis` on, and slopes by
    /// channel with its channels, where later versions align last axes.
    fn align_old_operand(&mut self, call: &mut Call<'_>) -> Result<(), Problem> {
        let operator = call.operator();
        let (Some(first), Some(second)) = (call.input(0), call.input(1)) else { return Ok(()) };
        if self.opset >= 7 {
            return Ok(());
        }
        let (of, shape) = (self.shape_of(first), self.shape_of(second));
        let at = match operator.as_str() {
            "Add" | "Sub" | "Mul" | "Div" | "Pow" if call.attributes.int_or("broadcast", 0)? != 0 => {
                match call.attributes.int("axis")? {
                    Some(at) if !shape.is_empty() => axis(at, of.len())?,
                    Some(_) | None => return Ok(()),
                }
            }
            "PRelu" if shape.len() == 1 && shape[0] > 1 => 1,
            _ => return Ok(()),
        };
        let behind = of.len().checked_sub(at + shape.len());
        let behind = behind.ok_or_else(|| Problem::new(format!("{shape:?} does not fit {of:?} from axis {at} on")))?;
        if behind == 0 {
            return Ok(());
        }
        let aligned = [shape, vec![1; behind]].concat();
        let second = match second.clone() {
            Value::Node(node) => {
                Value::Node(self.add_part(call, "aligned", Op::Reshape { shape: aligned }, &[node], vec![])?)
            }
            Value::Known(known) => Value::Known(Known {
                name: self.fresh_tensor(&format!("{}.aligned", known.name)),
                tensor: Rc::new(known.tensor.reshaped(aligned)),
            }),
        };
        call.inputs[1] = Some(second);
        Ok(())
    }

    /// A name that no node has, as near to the wanted one as can be.
    fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 1;
        while name.is_empty() || self.names.contains(&name) {
            number += 1;
            name = format!("{wanted}#{number}");
        }
        self.names.insert(name.clone());
        name
    }

    /// A name that no value has, as near to the wanted one as can be.
    pub(super) fn fresh_tensor(&mut self, wanted: &str) -> Rc<str> {
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !self.values.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}#{number}");
        }
        name.into()
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
        let origin = Origin { name: self.fresh(&name), span: Some(call.span), layers: Vec::new() };
        Ok(self.graph.add(op, operands, weights, origin)?)
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
            Value::Known(known) => self.known_node(known, Some(call.span)),
        }
    }

    /// A tensor as a node: a literal, or a weight where it is large. Literals and weights are f32s, so that those of
    /// another type are cast, and integers that f32 does not hold are put together of two.
    pub(super) fn known_node(&mut self, known: &Known, span: Option<Span>) -> Result<NodeId, Problem> {
        let tensor = &known.tensor;
        let dtype = tensor::element_type(tensor.dtype)?;
        let origin = Origin { name: self.fresh(&known.name), span, layers: Vec::new() };
        if dtype == DType::F32 {
            return self.known_floats(known, origin);
        }
        let numbers = tensor.to_floats();
        if dtype.is_float() || numbers.iter().all(|v| v.abs() <= EXACT) {
            let floats = Tensor::floats(Dtype::F32, tensor.shape.clone(), &numbers);
            let part = self.derived(known, "f32", floats);
            let part_origin = Origin::named(self.fresh(&part.name));
            let floats = self.known_floats(&part, part_origin)?;
            return Ok(self.graph.add(Op::Cast(dtype), &[floats], vec![], origin)?);
        }
        if numbers.iter().any(|v| v.abs() >= EXACT * RADIX) {
            return Err(Problem::new(format!("`{}` holds integers of more than 40 bits", known.name)));
        }
        let cast = |builder: &mut Self, name: &str, shape: Vec<usize>, numbers: Vec<f64>| {
            let part = builder.derived(known, name, Tensor::floats(Dtype::F32, shape, &numbers));
            let part_origin = Origin::named(builder.fresh(&part.name));
            let floats = builder.known_floats(&part, part_origin)?;
            let cast_origin = Origin::named(builder.fresh(&format!("{}.{dtype}", part.name)));
            Ok::<_, Problem>(builder.graph.add(Op::Cast(dtype), &[floats], vec![], cast_origin)?)
        };
        let high = cast(self, "high", tensor.shape.clone(), numbers.iter().map(|v| (v / RADIX).floor()).collect())?;
        let low = cast(self, "low", tensor.shape.clone(), numbers.iter().map(|v| v.rem_euclid(RADIX)).collect())?;
        let radix = cast(self, "radix", vec![], vec![RADIX])?;
        let high_origin = Origin::named(self.fresh(&format!("{}.shifted", known.name)));
        let high = self.graph.add(Op::Binary(Binary::Mul), &[high, radix], vec![], high_origin)?;
        Ok(self.graph.add(Op::Binary(Binary::Add), &[high, low], vec![], origin)?)
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

    /// A tensor that is computed of another, under a name of its own.
    pub(super) fn derived(&mut self, from: &Known, what: &str, tensor: Tensor) -> Known {
        Known { name: self.fresh_tensor(&format!("{}.{what}", from.name)), tensor: tensor.into() }
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
    fn output(&mut self, value: &Value, name: &str) -> Result<NodeId, Problem> {
        let node = match value {
            Value::Node(node) => *node,
            Value::Known(known) => {
                let tensor = known.tensor.widened().into();
                self.known_node(&Known { name: known.name.clone(), tensor }, None)?
            }
        };
        match self.graph.node(node).op {
            Op::Input(_) | Op::Constant(_) | Op::Weight { .. } => {
                let origin = Origin::named(self.fresh(name));
                Ok(self.graph.add(Op::Identity, &[node], vec![], origin)?)
            }
            _ => Ok(node),
        }
    }
}

impl<'a> Call<'a> {
    /// The same call of other inputs.
    pub(super) fn with_inputs(&self, inputs: Vec<Option<Value>>) -> Call<'a> {
        let Call { attributes, outputs, span, node, .. } = *self;
        Call { attributes, inputs, outputs, shape: self.shape.clone(), name: self.name.clone(), span, node }
    }
}

impl Call<'_> {
    /// The operator's name.
    pub(super) fn operator(&self) -> String {
        operator_name(self.node)
    }

    /// An input, if it is given.
    pub(super) fn input(&self, input: usize) -> Option<&Value> {
        self.inputs.get(input).and_then(Option::as_ref)
    }

    /// An input that must be given.
    pub(super) fn required(&self, input: usize) -> Result<&Value, Problem> {
        self.input(input).ok_or_else(|| Problem::new(format!("it has no input {}", input + 1)))
    }

    /// An input that must be known, if it is given.
    pub(super) fn known(&self, input: usize) -> Result<Option<&Known>, Problem> {
        match self.input(input) {
            None => Ok(None),
            Some(Value::Known(known)) => Ok(Some(known)),
            Some(Value::Node(node)) => {
                let message = format!(
                    "its input {}, `{}`, depends on the network's inputs, and kiln needs it when it compiles",
                    input + 1,
                    self.node.input[input]
                );
                Err(Problem { message, needs: vec![*node] })
            }
        }
    }

    /// That kiln has an operator, or the form of it that `what` says, for known inputs alone.
    pub(super) fn of_known_alone(&self, what: &str) -> Problem {
        let nodes = self.inputs.iter().flatten().filter_map(|value| match value {
            Value::Node(node) => Some(*node),
            Value::Known(_) => None,
        });
        let message = format!("kiln computes {what} of values alone that do not depend on the network's inputs");
        Problem { message, needs: nodes.collect() }
    }

    /// An input that must be given and known.
    pub(super) fn required_known(&self, input: usize) -> Result<&Known, Problem> {
        self.required(input)?;
        self.known(input)?.ok_or_else(|| Problem::new(format!("it has no input {}", input + 1)))
    }

    /// The integers of an input that must be known, if it is given.
    pub(super) fn known_integers(&self, input: usize) -> Result<Option<Vec<i64>>, Problem> {
        let Some(known) = self.known(input)? else { return Ok(None) };
        let integers = known.tensor.to_integers();
        integers
            .map(Some)
            .ok_or_else(|| Problem::new(format!("its input {} `{}` holds no integers", input + 1, known.name)))
    }

    /// Integers that are an attribute in some versions of an operator and an input in others.
    pub(super) fn integers(&self, attribute: &str, input: usize) -> Result<Option<Vec<i64>>, Problem> {
        match self.attributes.ints(attribute)? {
            Some(ints) => Ok(Some(ints.to_vec())),
            None => self.known_integers(input),
        }
    }
}

impl Call<'_> {
    /// What a `Slice` takes of a value of this shape. Before version 10 it says so by attributes.
    pub(super) fn strides(&self, shape: &[usize]) -> Result<Vec<Stride>, Problem> {
        let missing = || Problem::new("it does not say where it starts and ends");
        let (starts, ends) =
            (self.integers("starts", 1)?.ok_or_else(missing)?, self.integers("ends", 2)?.ok_or_else(missing)?);
        let (axes, steps) = (self.integers("axes", 3)?, self.known_integers(4)?);
        geometry::sliced(shape, &starts, &ends, axes.as_deref(), steps.as_deref())
    }

    /// How a `Split` divides an extent.
    pub(super) fn parts(&self, extent: usize) -> Result<Vec<usize>, Problem> {
        let sizes = self.integers("split", 1)?;
        let parts = geometry::parts(extent, sizes.as_deref(), self.outputs)?;
        if parts.len() < self.outputs {
            return Err(Problem::new(format!("it has {} results and makes {} parts", self.outputs, parts.len())));
        }
        Ok(parts)
    }
}

/// An axis that counts from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    from_start
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank)
        .ok_or_else(|| Problem::new(format!("a value of rank {rank} has no axis {axis}")))
}
