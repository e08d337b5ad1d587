//! Functions of a model: nodes that name one become the nodes that it is made of.

use std::collections::HashMap;

use prost::Message as _;

use super::model::node_name;
use super::proto::{AttributeProto, FunctionProto, ModelProto, NodeProto};
use crate::graph::names::Names;

/// How deep functions may call functions.
const DEPTH: usize = 32;

/// How many bytes the nodes of all calls may take.
const BYTES: usize = 64 << 20;

/// What a node takes beside its names and attributes.
const NODE: usize = 256;

/// The domain of ONNX's own operators has two names.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// What is known while calls are replaced.
struct Inliner<'a> {
    functions: HashMap<(&'a str, &'a str, &'a str), &'a FunctionProto>,
    /// The version of ONNX's own operators that the model asks for.
    opset: i64,
    /// The names of all values.
    names: Names,
    nodes: Vec<NodeProto>,
    /// Bytes that may still be taken.
    left: usize,
}

/// Replaces all calls of the model's functions in its graph. What functions make inside has names of its own.
///
/// # Errors
/// Functions that call themselves, that become too many nodes, or that are written in another version of ONNX's operators.
pub(super) fn inline(proto: &mut ModelProto, opset: i64) -> Result<(), String> {
    let functions = std::mem::take(&mut proto.functions);
    let Some(graph) = proto.graph.as_mut().filter(|_| !functions.is_empty()) else { return Ok(()) };
    let key = |function| -> (&str, &str, &str) {
        let function: &FunctionProto = function;
        (domain(function.domain()), function.name(), function.overload())
    };
    let values = graph.node.iter().flat_map(|node| node.input.iter().chain(&node.output));
    let mut inliner = Inliner {
        functions: functions.iter().map(|function| (key(function), function)).collect(),
        opset,
        names: values.cloned().collect(),
        nodes: Vec::with_capacity(graph.node.len()),
        left: BYTES,
    };
    for (position, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        inliner.add(node, position, 0)?;
    }
    graph.node = inliner.nodes;
    Ok(())
}

impl Inliner<'_> {
    /// Adds a node, or what it calls.
    fn add(&mut self, node: NodeProto, position: usize, depth: usize) -> Result<(), String> {
        let key = (domain(node.domain()), node.op_type(), node.overload());
        let Some(&function) = self.functions.get(&key) else {
            self.nodes.push(node);
            return Ok(());
        };
        let name = node_name(&node, position);
        if depth == DEPTH {
            return Err(format!("the function `{}` calls functions more than {DEPTH} deep", function.name()));
        }
        let own = function.opset_import.iter().filter(|opset| domain(opset.domain()).is_empty());
        if let Some(other) = own.map(|opset| opset.version()).find(|version| *version != self.opset) {
            return Err(format!(
                "the function `{}` is in version {other} of ONNX's operators, and the model in version {}",
                function.name(),
                self.opset
            ));
        }
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            return Err(format!("`{name}` has more inputs or outputs than its function `{}`", function.name()));
        }
        if function.node.iter().flat_map(|node| &node.attribute).any(|attribute| attribute.g.is_some()) {
            return Err(format!(
                "the function `{}` has branches, which kiln does not read in functions",
                function.name()
            ));
        }
        // Even an empty function takes its inputs and outputs.
        self.take(NODE * (1 + function.input.len() + function.output.len()))?;
        let given = |i: usize, of: &[String]| of.get(i).cloned().unwrap_or_default();
        let inputs = function.input.iter().enumerate().map(|(i, inside)| (inside.as_str(), given(i, &node.input)));
        let mut values: HashMap<&str, String> = inputs.collect();
        let mut passed_on = Vec::new();
        for (i, inside) in function.output.iter().enumerate().filter(|(i, _)| !given(*i, &node.output).is_empty()) {
            // What goes in and comes out has two names.
            match values.get(inside.as_str()) {
                Some(from) => passed_on.push((from.clone(), node.output[i].clone())),
                None => {
                    values.insert(inside, node.output[i].clone());
                }
            }
        }
        let attributes = Attributes { given: &node.attribute, defaults: &function.attribute_proto };
        for (position, inside) in function.node.iter().enumerate() {
            // The names of a call stand before all that is inside of it.
            let names = (1 + inside.input.len() + inside.output.len()) * name.len();
            let own: usize =
                inside.attribute.iter().filter_map(|of| attributes.source(of)).map(|of| of.encoded_len()).sum();
            self.take(NODE + inside.encoded_len() + own + 2 * names)?;
            let mut inside = NodeProto {
                name: Some(format!("{name}/{}", node_name(inside, position))),
                input: inside.input.iter().map(|value| self.value(&mut values, &name, value)).collect(),
                output: inside.output.iter().map(|value| self.value(&mut values, &name, value)).collect(),
                ..inside.clone()
            };
            inside.attribute = inside.attribute.into_iter().filter_map(|of| attributes.resolved(of)).collect();
            self.add(inside, position, depth + 1)?;
        }
        for (from, to) in passed_on {
            let identity = NodeProto {
                name: Some(name.clone()),
                op_type: Some("Identity".to_owned()),
                input: vec![from],
                output: vec![to],
                ..NodeProto::default()
            };
            self.add(identity, position, depth + 1)?;
        }
        Ok(())
    }

    /// The name that a value inside of a function has outside, for the call of this name.
    fn value<'f>(&mut self, values: &mut HashMap<&'f str, String>, call: &str, inside: &'f str) -> String {
        if inside.is_empty() {
            return String::new();
        }
        let names = &mut self.names;
        values.entry(inside).or_insert_with(|| names.fresh(&format!("{call}/{inside}"))).clone()
    }

    /// Takes bytes of those that are left.
    fn take(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| format!("its functions become more than {BYTES} bytes of nodes"))?;
        Ok(())
    }
}

/// The attributes of a call.
struct Attributes<'a> {
    given: &'a [AttributeProto],
    defaults: &'a [AttributeProto],
}

impl Attributes<'_> {
    /// The attribute of the call that one inside of the function stands for; None where it is given inside, or not at all.
    fn source(&self, inside: &AttributeProto) -> Option<&AttributeProto> {
        let name = inside.ref_attr_name.as_deref().filter(|name| !name.is_empty())?;
        self.given.iter().chain(self.defaults).find(|attribute| attribute.name() == name)
    }

    /// An attribute inside of the function, which may be one of the call's under another name; None where that is not
    /// given.
    fn resolved(&self, inside: AttributeProto) -> Option<AttributeProto> {
        if inside.ref_attr_name.as_deref().is_none_or(str::is_empty) {
            return Some(inside);
        }
        self.source(&inside).map(|found| AttributeProto { name: inside.name.clone(), ..found.clone() })
    }
}
