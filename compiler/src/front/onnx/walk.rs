//! Nodes in their order, each with the values that it reads; of an `If` whose condition is known, the branch that it takes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::builder::{Builder, Value};
use super::call::Call;
use super::geometry::axis;
use super::model::{node_name, operator_name};
use super::operators::{Convert, data_inputs, is_operator, operator};
use super::proto::{GraphProto, NodeProto};
use super::tensor::Tensor;
use super::{Folder, Problem, apart, fold, tensor};
use crate::diag::{Diagnostic, Mistakes, Span};
use crate::graph::{Graph, NodeId, Op};

/// How deep branches may lie in branches.
const DEPTH: usize = 16;

/// What is known of a model's values, and what is wrong with its nodes, so far.
pub(super) struct Walk<'m> {
    pub(super) values: HashMap<&'m str, Value>,
    /// The names that something reads.
    pub(super) read: HashSet<&'m str>,
    pub(super) mistakes: Mistakes,
    /// Nodes whose values would have to be known.
    pub(super) needs: Vec<NodeId>,
    /// The names of values of which the outputs are made, beside those that only say how.
    data: HashSet<&'m str>,
    folder: &'m dyn Folder,
    /// What names meant outside of the branches that the walk is in, of those that mean something else inside.
    outside: Vec<(&'m str, Option<Value>)>,
    depth: usize,
}

/// The names that a node reads, and all that anything in its branches reads.
pub(super) fn names_read(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        names.extend(node.input.iter().map(String::as_str).filter(|name| !name.is_empty()));
        for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_deref()) {
            names.extend(graph.output.iter().map(|output| output.name()));
            open.extend(&graph.node);
        }
    }
    names
}

/// The names that a node takes from around it: its inputs, and what its branches read and do not make. How deep branches
/// lie is bounded before messages are made of a file.
pub(super) fn names_taken(node: &NodeProto) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_deref()) {
        let mut within: BTreeSet<&str> = graph.node.iter().flat_map(names_taken).collect();
        within.extend(graph.output.iter().map(|output| output.name()));
        for made in graph.node.iter().flat_map(|node| &node.output) {
            within.remove(made.as_str());
        }
        for tensor in &graph.initializer {
            within.remove(tensor.name());
        }
        names.extend(within);
    }
    names
}

/// The names of values of which outputs are made, beside those that only say how an operator works, among nodes in their
/// order: a photo is data, and the shape that a part of it takes is none.
pub(super) fn data<'m>(nodes: &'m [NodeProto], order: &[usize], outputs: &'m [String]) -> HashSet<&'m str> {
    let mut data: HashSet<&str> = outputs.iter().map(String::as_str).collect();
    for &position in order.iter().rev() {
        let node = &nodes[position];
        if !node.output.iter().any(|name| data.contains(name.as_str())) {
            continue;
        }
        let of_data = data_inputs(&operator_name(node));
        data.extend(node.input.iter().take(of_data).map(String::as_str));
        data.extend(names_taken(node).into_iter().filter(|name| !node.input.iter().any(|input| input == name)));
    }
    data
}

/// The names of the inputs on which nodes depend.
pub(super) fn inputs_behind(graph: &Graph, mut open: Vec<NodeId>) -> BTreeSet<String> {
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

impl<'m> Walk<'m> {
    /// Before the first node.
    pub(super) fn new(read: HashSet<&'m str>, data: HashSet<&'m str>, folder: &'m dyn Folder) -> Self {
        let (values, mistakes, needs, outside) = (HashMap::new(), Mistakes::default(), Vec::new(), Vec::new());
        Walk { values, read, mistakes, needs, data, folder, outside, depth: 0 }
    }

    fn insert(&mut self, name: &'m str, value: Value) {
        // An empty name says that nobody wants the result.
        if name.is_empty() {
            return;
        }
        let before = self.values.insert(name, value);
        if self.depth > 0 {
            self.outside.push((name, before));
        }
    }

    /// Adds what a node gives to the values, or what is wrong with it to the mistakes.
    pub(super) fn node(&mut self, builder: &mut Builder, node: &'m NodeProto, name: String, span: Span) {
        let mut inputs = Vec::with_capacity(node.input.len());
        for input in &node.input {
            match self.values.get(input.as_str()) {
                Some(value) => inputs.push(Some(value.clone())),
                None if input.is_empty() => inputs.push(None),
                // What cannot be made is told once, not again for all that depends on it.
                None if !self.mistakes.is_empty() => return,
                None => {
                    let message = format!("nothing gives `{input}`, which `{name}` reads");
                    return self.mistakes.push(Diagnostic::error(span, message));
                }
            }
        }
        let shape = inputs.first().and_then(Option::as_ref).map(|value| builder.shape_of(value));
        let is_read = node.output.iter().map(|name| self.read.contains(name.as_str())).collect();
        let mut call = Call { inputs, shape, is_read, name, span, node };
        let mistakes = self.mistakes.count();
        let results = match operator_name(node).as_str() {
            "If" => self.branch(builder, &call),
            _ => convert(builder, &mut call),
        };
        // What is wrong within a branch has been told.
        if self.mistakes.count() > mistakes {
            return;
        }
        match results {
            Ok(results) => {
                let given = results.len();
                for (name, value) in node.output.iter().zip(results) {
                    self.insert(name, value);
                }
                for name in node.output.iter().skip(given).filter(|name| self.read.contains(name.as_str())) {
                    let message = format!("`{name}` is a result of {} that is not supported", operator_name(node));
                    self.mistakes.push(Diagnostic::error(span, message));
                }
            }
            // What follows from another mistake is not told again.
            Err(problem) if problem.follows && !self.mistakes.is_empty() => {}
            Err(problem) => {
                let message = format!("{} `{}`: {}", operator_name(node), call.name, problem.message);
                let mistake = Diagnostic::error(span, message);
                // Of a mistake that is only counted nobody is helped.
                let needs = if self.mistakes.is_full() { Vec::new() } else { problem.needs.clone() };
                let inputs = self.constants(&builder.graph, needs);
                self.mistakes.push(match inputs.first() {
                    Some(input) => mistake.help(format!(
                        "where `{input}` is the same in every run, make it a constant: `--constant {input}=FILE.npy`"
                    )),
                    None => mistake,
                });
                self.needs.extend(problem.needs);
            }
        }
    }

    /// The inputs that would have to be constants for the sake of these nodes. What the outputs are made of is different in
    /// every run, and no constant.
    pub(super) fn constants(&self, graph: &Graph, needs: Vec<NodeId>) -> BTreeSet<String> {
        let mut inputs = inputs_behind(graph, needs);
        inputs.retain(|input| !self.data.contains(input.as_str()));
        inputs
    }

    /// Forgets a value that nothing reads any more.
    pub(super) fn forget(&mut self, builder: &mut Builder, name: &str) {
        if let Some(Value::Known(mut known)) = self.values.remove(name)
            && let Some(tensor) = Rc::get_mut(&mut known.tensor)
        {
            builder.budget.release(tensor);
        }
    }

    /// The outputs of the branch that an `If` takes.
    fn branch(&mut self, builder: &mut Builder, call: &Call<'m>) -> Result<Vec<Value>, Problem> {
        call.attributes().check("If")?;
        let condition = call.required_known(0)?.tensor.scalar();
        let name = match condition.ok_or_else(|| Problem::new("its condition is not one truth value"))? {
            0.0 => "else_branch",
            _ => "then_branch",
        };
        let attribute = call.node.attribute.iter().find(|attribute| attribute.name() == name);
        let graph: &GraphProto = attribute
            .and_then(|attribute| attribute.g.as_deref())
            .ok_or_else(|| Problem::new(format!("it has no {name}")))?;
        if self.depth == DEPTH {
            return Err(Problem::new(format!("branches lie in branches more than {DEPTH} deep")));
        }
        let start = self.outside.len();
        self.depth += 1;
        builder.is_within = true;
        let results = self.graph(builder, graph, call);
        self.depth -= 1;
        builder.is_within = self.depth > 0;
        for (name, before) in self.outside.drain(start..).rev() {
            match before {
                Some(value) => self.values.insert(name, value),
                None => self.values.remove(name),
            };
        }
        results
    }

    /// The outputs of a graph within a node.
    fn graph(&mut self, builder: &mut Builder, graph: &'m GraphProto, call: &Call<'m>) -> Result<Vec<Value>, Problem> {
        for proto in &graph.initializer {
            if !self.read.contains(proto.name()) {
                continue;
            }
            let tensor = Tensor::read(proto.clone(), self.folder)
                .map_err(|why| Problem::new(format!("the initializer `{}` cannot be used: {why}", proto.name())))?;
            let value = builder.value(proto.name(), tensor.into());
            self.insert(proto.name(), value);
        }
        for (position, node) in graph.node.iter().enumerate() {
            let operator = operator_name(node);
            if !is_operator(&operator) {
                return Err(Problem::new(format!("kiln has no operator {operator}, which its branch has")));
            }
            self.node(builder, node, format!("{}/{}", call.name, node_name(node, position)), call.span);
        }
        let mut results = Vec::with_capacity(graph.output.len());
        for output in &graph.output {
            let value = self.values.get(output.name()).cloned();
            results.push(value.ok_or_else(|| Problem::new(format!("its branch does not give `{}`", output.name())))?);
        }
        Ok(results)
    }
}

/// What a node of the model gives.
fn convert(builder: &mut Builder, call: &mut Call<'_>) -> Result<Vec<Value>, Problem> {
    call.attributes().check(&call.operator())?;
    align_old_operand(builder, call)?;
    if let Some(results) = fold::fold(call, &mut builder.budget)? {
        results.iter().try_for_each(|result| tensor::check_rank(result.shape.len()))?;
        results.iter().for_each(|result| builder.budget.hold(result));
        let named = call.node.output.iter().zip(results);
        return Ok(named.map(|(name, tensor)| builder.value(name, tensor.into())).collect());
    }
    let convert: Convert = operator(&operator_name(call.node)).ok_or_else(|| call.of_known_alone("it"))?;
    if let Some(values) = apart::computed(builder, call, convert)? {
        return Ok(values);
    }
    convert(builder, call)
}

/// Before version 7 the second operand of a pair is aligned with the axes of the first from `axis` on, and slopes by
/// channel with its channels, where later versions align last axes.
fn align_old_operand(builder: &mut Builder, call: &mut Call<'_>) -> Result<(), Problem> {
    let operator = call.operator();
    let (Some(first), Some(second)) = (call.input(0), call.input(1)) else { return Ok(()) };
    if builder.opset >= 7 {
        return Ok(());
    }
    let (of, shape) = (builder.shape_of(first), builder.shape_of(second));
    let at = match operator.as_str() {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" if call.attributes().int_or("broadcast", 0)? != 0 => {
            match call.attributes().int("axis")? {
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
            Value::Node(builder.add_part(call, "aligned", Op::Reshape { shape: aligned }, &[node], vec![])?)
        }
        Value::Known(known) => Value::Known(builder.reshaped(&known, aligned)),
    };
    call.inputs[1] = Some(second);
    Ok(())
}
