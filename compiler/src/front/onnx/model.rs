//! A file as a model whose parts fit together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use kiln_rt::content::Content;

use super::budget::Budget;
use super::proto::{Bytes, Message, ModelProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto};
use super::tensor::{Folder, Tensor, Unreadable};
use super::walk::names_taken;
use super::{functions, sparse, wire};
use crate::diag::{Diagnostic, Errors, Mistakes, Pos, Sources, Span};

/// The versions of ONNX's own operators that are read as they are meant.
const OPSETS: std::ops::RangeInclusive<i64> = 1..=21;

/// A model in which every name means one thing and no node waits for itself.
pub(super) struct Model {
    /// The version of ONNX's own operators.
    pub(super) opset: i64,
    pub(super) nodes: Vec<NodeProto>,
    /// The nodes that an output needs, each after those that it reads.
    pub(super) order: Vec<usize>,
    /// What a user gives: the inputs that no initializer gives.
    pub(super) inputs: Vec<ValueInfoProto>,
    pub(super) outputs: Vec<String>,
    pub(super) initializers: HashMap<String, Tensor>,
    pub(super) listing: Listing,
}

/// A model's nodes as text, a line each, for places to point into.
pub(super) struct Listing {
    pub(super) sources: Sources,
    spans: Vec<Span>,
}

impl Listing {
    fn new(file: &str, nodes: &[NodeProto]) -> Self {
        let (mut text, mut spans) = (String::new(), Vec::with_capacity(nodes.len()));
        for (i, node) in nodes.iter().enumerate() {
            let start = text.len();
            let names = |names: &[String]| names.join(", ");
            let line = format!(
                "{}: {} = {}({})",
                node_name(node, i),
                names(&node.output),
                operator_name(node),
                names(&node.input)
            );
            text.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }));
            let at = |offset: usize| Pos {
                offset: offset as u32,
                line: i as u32 + 1,
                column: text[start..offset].chars().count() as u32 + 1,
            };
            spans.push(Span { file: 0, start: at(start), end: at(text.len()) });
            text.push('\n');
        }
        let mut sources = Sources::default();
        sources.add(file, Some(&text));
        Listing { sources, spans }
    }

    /// The line of a node.
    pub(super) fn span(&self, node: usize) -> Span {
        self.spans.get(node).copied().unwrap_or(Span::NOWHERE)
    }
}

/// The longest name that a node has in messages and in the graph, in characters.
const NAME: usize = 500;

/// What messages call a node: its name, its first result's, or its number.
pub(super) fn node_name(node: &NodeProto, position: usize) -> String {
    let named = [node.name()].into_iter().chain(node.output.iter().map(String::as_str)).find(|name| !name.is_empty());
    named.map_or_else(|| format!("node{position}"), |name| name.chars().take(NAME).collect())
}

/// `Conv`, or `com.microsoft.FusedConv` for operators that are not ONNX's own.
pub(super) fn operator_name(node: &NodeProto) -> String {
    match node.domain() {
        "" | "ai.onnx" => node.op_type().to_owned(),
        domain => format!("{domain}.{}", node.op_type()),
    }
}

impl Model {
    /// Reads and checks a file; `name` is what messages call it.
    ///
    /// # Errors
    /// All mistakes of a stage: the bytes, then the parts and how they are named, then how they hang together.
    pub(super) fn read(name: &str, file: Bytes, folder: &dyn Folder) -> Result<Self, Errors> {
        let content = Content::of(&file);
        let unreadable = |why: String| {
            let mistake = match content {
                None | Some(Content::Onnx) => {
                    Diagnostic::error(Span::NOWHERE, format!("cannot read {name} as an ONNX file: {why}"))
                }
                Some(other) => Diagnostic {
                    help: other.help().map(str::to_owned),
                    ..Diagnostic::error(Span::NOWHERE, format!("{name} is {other}, not an ONNX model"))
                },
            };
            Errors::new(vec![mistake], Sources::default())
        };
        wire::check(&file).map_err(unreadable)?;
        let mut proto = ModelProto::decode(file).map_err(|error| unreadable(error.to_string()))?;
        let mut mistakes = Mistakes::default();
        let unplaced = |message: String| Diagnostic::error(Span::NOWHERE, message);
        let opset = opset(&proto).unwrap_or_else(|mistake| {
            mistakes.push(*mistake);
            *OPSETS.end()
        });
        if mistakes.is_empty()
            && let Err(why) = functions::inline(&mut proto, opset)
        {
            mistakes.push(unplaced(why));
        }
        let graph = proto.graph.take().ok_or_else(|| unreadable("it holds no graph".to_owned()))?;
        let listing = Listing::new(name, &graph.node);
        let Initializers { read: initializers, unreadable, doubled } =
            Initializers::read(graph.initializer, graph.sparse_initializer, folder);
        for name in doubled {
            mistakes.push(unplaced(format!("there are two initializers `{name}`, which are not equal")));
        }
        if !mistakes.is_empty() {
            return Err(Errors::new(mistakes, listing.sources));
        }
        let is_initializer = |name: &str| initializers.contains_key(name) || unreadable.contains_key(name);
        let inputs: Vec<ValueInfoProto> =
            graph.input.into_iter().filter(|input| !is_initializer(input.name())).collect();
        let outputs: Vec<String> = graph.output.iter().map(|output| output.name().to_owned()).collect();
        let model = Model { opset, nodes: graph.node, order: Vec::new(), inputs, outputs, initializers, listing };
        model.linked(&unreadable)
    }

    /// Fills `order` in. Of initializers that cannot be read, those are mistakes that a node of it reads.
    fn linked(mut self, unreadable: &BTreeMap<String, Unreadable>) -> Result<Self, Errors> {
        let mut mistakes = Mistakes::default();
        let made_by = self.makers(unreadable, &mut mistakes);
        // What each node waits for: nodes, in the order of its inputs, then what its branches read.
        let waits: Vec<Vec<usize>> = self
            .nodes
            .iter()
            .map(|node| {
                let names = node.input.iter().map(String::as_str).chain(names_taken(node));
                names.filter_map(|name| made_by.get(name).copied().flatten()).collect()
            })
            .collect();
        let order = topological(&waits);
        if order.len() < self.nodes.len() && mistakes.is_empty() {
            mistakes.push(self.cycle(&waits, &order));
        }
        let mut wanted = Vec::new();
        for output in &self.outputs {
            match made_by.get(output.as_str()) {
                Some(maker) => wanted.extend(*maker),
                None => {
                    let message = format!("the output `{output}` is nothing that a node or an input gives");
                    mistakes.push(Diagnostic::error(Span::NOWHERE, message));
                }
            }
        }
        if self.outputs.is_empty() {
            mistakes.push(Diagnostic::error(Span::NOWHERE, "the model has no output"));
        }
        if self.outputs.iter().collect::<HashSet<_>>().len() < self.outputs.len() {
            mistakes.push(Diagnostic::error(Span::NOWHERE, "two outputs of the model have one name"));
        }
        let order = if mistakes.is_empty() { depth_first(&wanted, &waits) } else { order };
        let read = order.iter().flat_map(|&node| names_taken(&self.nodes[node]));
        let read: HashSet<&str> = read.chain(self.outputs.iter().map(String::as_str)).collect();
        mistakes.extend(missing(unreadable.iter().filter(|(name, _)| read.contains(name.as_str()))));
        if !mistakes.is_empty() {
            return Err(Errors::new(mistakes, self.listing.sources));
        }
        drop(made_by);
        self.order = order;
        Ok(self)
    }

    /// The node that makes each value, None for inputs and initializers. Values have one maker, and what is read has one.
    fn makers<'m>(
        &'m self,
        unreadable: &'m BTreeMap<String, Unreadable>,
        mistakes: &mut Mistakes,
    ) -> HashMap<&'m str, Option<usize>> {
        let mut made_by: HashMap<&str, Option<usize>> =
            self.initializers.keys().chain(unreadable.keys()).map(|name| (name.as_str(), None)).collect();
        for input in &self.inputs {
            if made_by.insert(input.name(), None).is_some() {
                let message = format!("there are two inputs `{}`", input.name());
                mistakes.push(Diagnostic::error(Span::NOWHERE, message));
            }
        }
        for (i, node) in self.nodes.iter().enumerate() {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                if let Some(first) = made_by.insert(name, Some(i)) {
                    let mistake = Diagnostic::error(self.listing.span(i), format!("`{name}` is made a second time"));
                    mistakes.push(match first {
                        Some(first) if first != i => mistake.secondary(self.listing.span(first), "first made here"),
                        Some(_) => mistake,
                        None => mistake.note("it is an input or an initializer of the model"),
                    });
                }
            }
        }
        for (i, node) in self.nodes.iter().enumerate() {
            let unknown = node.input.iter().filter(|name| !name.is_empty() && !made_by.contains_key(name.as_str()));
            for name in unknown.collect::<std::collections::BTreeSet<_>>() {
                let message = format!("nothing gives `{name}`, which `{}` reads", node_name(node, i));
                mistakes.push(Diagnostic::error(self.listing.span(i), message));
            }
        }
        made_by
    }

    /// Names nodes that wait for each other.
    fn cycle(&self, waits: &[Vec<usize>], order: &[usize]) -> Diagnostic {
        let mut done = vec![false; self.nodes.len()];
        order.iter().for_each(|&node| done[node] = true);
        let mut path = Vec::new();
        let mut position = HashMap::new();
        let mut at = done.iter().position(|done| !done).unwrap_or_default();
        while !position.contains_key(&at) {
            position.insert(at, path.len());
            path.push(at);
            at = waits[at].iter().copied().find(|&node| !done[node]).unwrap_or(at);
        }
        let cycle = &path[position[&at]..];
        let names: Vec<String> =
            cycle.iter().rev().take(6).map(|&i| format!("`{}`", node_name(&self.nodes[i], i))).collect();
        let more = if cycle.len() > 6 { ", …" } else { "" };
        Diagnostic::error(
            self.listing.span(at),
            format!("nodes wait for each other's results: {}{more}", names.join(", ")),
        )
    }
}

/// The tensors that a model comes with.
#[derive(Default)]
struct Initializers {
    read: HashMap<String, Tensor>,
    unreadable: BTreeMap<String, Unreadable>,
    /// The names of those that are not the same each time.
    doubled: BTreeSet<String>,
}

impl Initializers {
    fn read(initializers: Vec<TensorProto>, sparse: Vec<SparseTensorProto>, folder: &dyn Folder) -> Self {
        let mut all = Initializers::default();
        for proto in initializers {
            let name = proto.name().to_owned();
            all.add(name, Tensor::read(proto, folder));
        }
        // The elements of sparse tensors are bounded by how many of them the file holds.
        let len = |proto: &SparseTensorProto| {
            let dims = proto.values.as_ref().map(|values| values.dims.as_slice()).unwrap_or_default();
            dims.iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).fold(1, usize::saturating_mul)
        };
        let held = sparse.iter().map(|proto| len(proto).min(proto.encoded_len())).fold(0, usize::saturating_add);
        let mut budget = Budget::for_elements(held);
        for proto in sparse {
            let name = proto.values.as_ref().map(|values| values.name().to_owned()).unwrap_or_default();
            all.add(name, sparse::dense(proto, folder, &mut budget));
        }
        all
    }

    fn add(&mut self, name: String, tensor: Result<Tensor, Unreadable>) {
        let is_same = match (&tensor, self.read.get(&name), self.unreadable.get(&name)) {
            (_, None, None) => true,
            (Ok(tensor), Some(first), _) => first.equals(tensor),
            (Err(why), _, Some(first)) => first == why,
            (Ok(_), None, Some(_)) | (Err(_), Some(_), None) => false,
        };
        if !is_same {
            self.doubled.insert(name.clone());
        }
        match tensor {
            Ok(tensor) => drop(self.read.insert(name, tensor)),
            Err(why) => drop(self.unreadable.insert(name, why)),
        }
    }
}

/// What is said of initializers that cannot be read: of a file that cannot be opened once, however many lie in it.
fn missing<'m>(unreadable: impl Iterator<Item = (&'m String, &'m Unreadable)>) -> Vec<Diagnostic> {
    let mut files: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for (name, unreadable) in unreadable {
        match unreadable {
            Unreadable::Itself(why) => {
                let message = format!("the initializer `{name}` cannot be used: {why}");
                mistakes.push(Diagnostic::error(Span::NOWHERE, message));
            }
            Unreadable::File { location, why } => files.entry((location, why)).or_default().push(name),
        }
    }
    for ((location, why), names) in files {
        let held = match names[..] {
            [only] => format!("the initializer `{only}`"),
            _ => format!("{} initializers", names.len()),
        };
        let message = format!("`{location}`, which holds {held} of the model, cannot be opened: {why}");
        mistakes.push(Diagnostic::error(Span::NOWHERE, message));
    }
    mistakes
}

/// The version of ONNX's own operators that a model asks for.
fn opset(proto: &ModelProto) -> Result<i64, Box<Diagnostic>> {
    let own = proto.opset_import.iter().filter(|opset| matches!(opset.domain(), "" | "ai.onnx"));
    match own.map(|opset| opset.version()).max() {
        Some(version) if OPSETS.contains(&version) => Ok(version),
        Some(version) => {
            let message = format!(
                "the model uses version {version} of ONNX's operators, and kiln reads {} to {}",
                OPSETS.start(),
                OPSETS.end()
            );
            Err(Diagnostic::error(Span::NOWHERE, message)
                .help("export it with `opset_version = 17`, or convert it with onnx.version_converter")
                .into())
        }
        None => {
            let message = "the model does not say which version of ONNX's operators it uses";
            Err(Diagnostic::error(Span::NOWHERE, message).into())
        }
    }
}

/// The nodes that some need, each after those that it waits for, and as soon as it is waited for: so the fewest of their
/// values are there at a time. No node waits for itself.
fn depth_first(wanted: &[usize], waits: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut is_seen = vec![false; waits.len()];
    // Nodes that wait, with how many of those that they wait for are done.
    let mut open: Vec<(usize, usize)> = Vec::new();
    for &node in wanted {
        if !std::mem::replace(&mut is_seen[node], true) {
            open.push((node, 0));
        }
        while let Some((node, done)) = open.last_mut() {
            match waits[*node].get(*done) {
                Some(&before) => {
                    *done += 1;
                    if !std::mem::replace(&mut is_seen[before], true) {
                        open.push((before, 0));
                    }
                }
                None => {
                    order.push(*node);
                    open.pop();
                }
            }
        }
    }
    order
}

/// Nodes in an order in which each comes after those it waits for; those on a cycle and behind it are left out.
fn topological(waits: &[Vec<usize>]) -> Vec<usize> {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); waits.len()];
    let mut open: Vec<usize> = waits.iter().map(Vec::len).collect();
    for (node, waits) in waits.iter().enumerate() {
        waits.iter().for_each(|&of| users[of].push(node));
    }
    let mut ready: VecDeque<usize> = (0..waits.len()).filter(|&node| open[node] == 0).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(node) = ready.pop_front() {
        order.push(node);
        for &user in &users[node] {
            open[user] -= 1;
            if open[user] == 0 {
                ready.push_back(user);
            }
        }
    }
    order
}
