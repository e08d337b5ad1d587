//! The graph of a model, node by node.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::budget::Budget;
use super::builder::{Builder, Known, Value};
use super::model::{Model, node_name, operator_name};
use super::operators::is_operator;
use super::proto::{NodeProto, ValueInfoProto};
use super::settings::{Given, Inputs, has_kernels};
use super::walk::{Walk, data, names_read, names_taken};
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
    let taken: HashSet<&str> = order.iter().flat_map(|&node| names_taken(&nodes[node])).collect();
    let is_taken = |name: &str| taken.contains(name) || outputs.iter().any(|output| output == name);
    let (inputs, unread): (Vec<ValueInfoProto>, Vec<ValueInfoProto>) =
        inputs.into_iter().partition(|input| is_taken(input.name()) || has_kernels(input));
    let unread: Vec<String> = unread.iter().map(|input| input.name().to_owned()).collect();
    let found = settings.inputs(&inputs, &unread, constants);
    let Inputs { given, mut notes } = found.map_err(|mistakes| Errors::new(mistakes, listing.sources.clone()))?;
    notes
        .extend(unread.iter().map(|name| format!("nothing reads the input `{name}`, which the network does not have")));
    let names = nodes.iter().flat_map(|node| &node.output).chain(initializers.keys());
    let budget = Budget::for_tensors(initializers.values());
    let mut builder = Builder::new(type_name(name), opset, names.cloned().collect(), budget);
    let read = nodes.iter().flat_map(names_read).chain(outputs.iter().map(String::as_str)).collect();
    let data = data(&nodes, &order, &outputs);
    let mut walk = Walk::new(read, data, folder);
    let last_readers = last_readers(&nodes, &order, &outputs);
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
                if !settings.fixes(name) {
                    notes.push(format!("the input `{name}` is a constant of the network, of the value that is given"));
                }
                constants.push(name.to_owned());
                walk.values.insert(name, Value::Known(Known { name: name.into(), tensor: Rc::new(tensor) }));
            }
        }
    }
    for (at, &position) in order.iter().enumerate() {
        // A file of mistakes is not read to its end.
        if walk.mistakes.is_full() {
            break;
        }
        let node = &nodes[position];
        walk.node(&mut builder, node, node_name(node, position), listing.span(position));
        for name in names_taken(node) {
            if last_readers.get(name) == Some(&at) {
                walk.forget(&mut builder, name);
            }
        }
    }
    for output in &outputs {
        let Some(value) = walk.values.get(output.as_str()) else { continue };
        match builder.output(value, output) {
            Ok(node) => builder.graph.add_output(output.clone(), node),
            Err(problem) => {
                let message = format!("the output `{output}` cannot be given: {}", problem.message);
                walk.mistakes.push(Diagnostic::error(Span::NOWHERE, message));
            }
        }
    }
    if !walk.mistakes.is_empty() {
        let needs = std::mem::take(&mut walk.needs);
        let needed = walk.constants(&builder.graph, needs).into_iter().filter(|input| settings.offers(input, &inputs));
        return Err(Refusal { needed: needed.collect(), errors: Errors::new(walk.mistakes, listing.sources) });
    }
    let (graph, tensors) = builder.finish();
    Ok(Import { graph, tensors: Tensors(tensors), constants, unread, notes })
}

/// The node, by its place in the order, after which nothing reads a value; of outputs none.
fn last_readers<'m>(nodes: &'m [NodeProto], order: &[usize], outputs: &'m [String]) -> HashMap<&'m str, usize> {
    let mut last = HashMap::new();
    for (at, &position) in order.iter().enumerate() {
        last.extend(names_taken(&nodes[position]).into_iter().map(|name| (name, at)));
    }
    last.retain(|name, _| !outputs.iter().any(|output| output == name));
    last
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
