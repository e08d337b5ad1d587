//! The graph of a model, node by node.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::budget::Budget;
use super::builder::{Builder, Known, Value};
use super::model::{Model, node_name, operator_name};
use super::operators::is_operator;
use super::proto::NodeProto;
use super::settings::Given;
use super::walk::{Walk, inputs_behind, names_read};
use super::{Folder, Import, Settings, Tensors};
use crate::diag::{Diagnostic, Errors, Span};
use crate::graph::Op;

/// How many nodes of one operator are named in a message.
const NAMED: usize = 5;

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
    folder: &dyn Folder,
) -> Result<Import, Refusal> {
    let Model { opset, nodes, order, inputs, outputs, initializers, listing } = model;
    let unknown = unknown_operators(&nodes, &order, |node| listing.span(node));
    if !unknown.is_empty() {
        return Err(Errors::new(unknown, listing.sources).into());
    }
    let given =
        settings.inputs(&inputs, constants).map_err(|mistakes| Errors::new(mistakes, listing.sources.clone()))?;
    let names = nodes.iter().flat_map(|node| &node.output).chain(initializers.keys());
    let budget = Budget::for_tensors(initializers.values());
    let mut builder = Builder::new(type_name(name), opset, names.cloned().collect(), budget);
    let read = nodes.iter().flat_map(names_read).chain(outputs.iter().map(String::as_str)).collect();
    let mut walk = Walk::new(read, folder);
    for (name, tensor) in initializers {
        let Some(&name) = walk.read.get(name.as_str()) else { continue };
        walk.values.insert(name, Value::Known(Known { name: name.into(), tensor: Rc::new(tensor) }));
    }
    let mut constants = Vec::new();
    for (input, given) in inputs.iter().zip(given) {
        let name = input.name();
        match given {
            Given::Open(ty) => {
                let origin = builder.origin(name, None);
                match builder.graph.add(Op::Input(ty), &[], vec![], origin) {
                    Ok(id) => drop(walk.values.insert(name, Value::Node(id))),
                    Err(error) => {
                        let message = format!("the input `{name}` cannot be that: {}", error.message);
                        walk.mistakes.push(Diagnostic::error(Span::NOWHERE, message));
                    }
                }
            }
            Given::Constant(tensor) => {
                constants.push(name.to_owned());
                walk.values.insert(name, Value::Known(Known { name: name.into(), tensor: Rc::new(tensor) }));
            }
        }
    }
    for position in order {
        // A file of mistakes is not read to its end.
        if walk.mistakes.is_full() {
            break;
        }
        let node = &nodes[position];
        walk.node(&mut builder, node, node_name(node, position), listing.span(position));
    }
    let Walk { values, mut mistakes, needs, .. } = walk;
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
    let (graph, tensors) = builder.finish();
    Ok(Import { graph, tensors: Tensors(tensors), constants })
}

/// Operators that kiln does not have: a mistake each, with the places where they stand.
fn unknown_operators(nodes: &[NodeProto], order: &[usize], span: impl Fn(usize) -> Span) -> Vec<Diagnostic> {
    let mut unknown: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &position in order {
        let name = operator_name(&nodes[position]);
        if !is_operator(&name) {
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
