//! From picked e-nodes back to a graph, with a note on each node: which sources it computes and which rules made it.
//!
//! An e-node does not know where it came from. What it computes follows from the network as it was: the nodes on the
//! paths from its class down to the classes of its operands.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use egg::Id;

use super::analysis::EGraph;
use super::extract::Selection;
use super::language::{Leaf, Term, encode};
use super::rules::{Rule, compiled};
use super::saturate::{Application, Log, canonical, makers};
use crate::graph::{Core, Graph, NodeId, Op, Origin};

/// A rule in the history of a node.
#[derive(Clone, Debug)]
pub struct Link {
    /// The rule.
    pub rule: &'static Rule,
    /// The sources that it looked at, by number.
    pub layers: Vec<usize>,
}

/// What is known of a node beside what it computes. Sources are numbered as in the block before any rewriting.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// The source that it is named for: its core's, or its own.
    pub core: usize,
    /// The source of its value, the last of its layers.
    pub value: usize,
    /// The sources that it computes, sorted.
    pub layers: Vec<usize>,
    /// Whether the sources have no such value: a rule made it to be read by another node.
    pub made: bool,
    /// The rules that led to it, in order.
    pub links: Vec<Link>,
    /// Rules that offered to take in more, by a form that is no cheaper.
    pub passed: Vec<Link>,
}

/// A rule that would have applied but for a precondition.
#[derive(Clone, Copy, Debug)]
pub struct NearMiss {
    /// The rule.
    pub rule: &'static Rule,
    /// The precondition, by position in the rule.
    pub condition: usize,
    /// The source where it would have applied, by number.
    pub at: usize,
}

/// A graph in an e-graph.
pub struct Image {
    /// The e-graph.
    pub egraph: EGraph,
    /// The class of each node, by the node's index.
    pub classes: Vec<Id>,
    /// The class and e-node of each node, in the graph's order.
    pub sources: Vec<(Id, Term)>,
}

impl Image {
    /// Puts a graph into an e-graph.
    pub fn new(graph: &Graph) -> Self {
        let mut egraph = EGraph::default();
        egraph.analysis.pool = graph.weights.clone();
        let order = graph.order();
        let mut classes = vec![None; graph.len()];
        let mut sources = Vec::with_capacity(order.len());
        for &id in &order {
            let node = graph.node(id);
            let operands: Vec<Id> =
                graph.operands(id).into_iter().filter_map(|operand| classes[operand.index()]).collect();
            let class = encode(&mut egraph, &node.op, &operands, &node.weights);
            sources.push((class, egraph.nodes()[usize::from(class)].clone()));
            classes[id.index()] = Some(class);
        }
        // Nodes that nothing needs are left out of the order; they share a class that no root needs.
        let nothing = egraph.add(Term::List(vec![]));
        egraph.rebuild();
        Image { egraph, classes: classes.into_iter().map(|class| class.unwrap_or(nothing)).collect(), sources }
    }

    /// The classes of the outputs.
    pub fn roots(&self, graph: &Graph) -> Vec<Id> {
        graph.outputs().iter().map(|output| self.egraph.find(self.classes[output.node.index()])).collect()
    }
}

/// The graph of a selection, with a note for each node by its index, and the near misses.
///
/// # Panics
/// Where a selection is not what [`super::extract`] makes: cyclic, or short of an operand.
pub fn rebuild(
    graph: &Graph,
    notes: &[Note],
    image: &Image,
    log: &Log,
    selection: &Selection,
) -> (Graph, Vec<Note>, Vec<NearMiss>) {
    let history = History::new(graph, notes, image, log);
    let mut built = Graph::new(graph.name.clone());
    built.weights = image.egraph.analysis.pool.clone();
    let mut new_notes = Vec::new();
    let mut done: HashMap<Id, NodeId> = HashMap::new();
    for &input in graph.inputs() {
        let Ok(id) = built.add(graph.node(input).op.clone(), &[], vec![], graph.node(input).origin.clone()) else {
            unreachable!("an input has a type")
        };
        new_notes.push(notes[input.index()].clone());
        done.insert(image.egraph.find(image.classes[input.index()]), id);
    }
    for root in image.roots(graph) {
        let mut stack = vec![(root, root, false)];
        while let Some((class, reader, ready)) = stack.pop() {
            if done.contains_key(&class) {
                continue;
            }
            let picked = &selection.nodes[&class];
            if !ready {
                stack.push((class, reader, true));
                stack.extend(picked.applied.operands.iter().rev().map(|&operand| (operand, class, false)));
                continue;
            }
            let operands: Vec<NodeId> = picked.applied.operands.iter().map(|operand| done[operand]).collect();
            let note = history.note(class, reader, picked);
            let origin = Origin::named(new_notes.len().to_string());
            match built.add(picked.applied.op.clone(), &operands, picked.applied.weights.clone(), origin) {
                Ok(id) => done.insert(class, id),
                Err(error) => unreachable!("the e-graph knows its type: {error}"),
            };
            new_notes.push(note);
        }
    }
    for (output, root) in graph.outputs().iter().zip(image.roots(graph)) {
        built.add_output(output.name.clone(), done[&root]);
    }
    (built, new_notes, history.near_misses())
}

/// Preconditions that failed and never held later for the same rule and class.
pub fn near_misses(graph: &Graph, notes: &[Note], image: &Image, log: &Log) -> Vec<NearMiss> {
    if log.misses.is_empty() { Vec::new() } else { History::new(graph, notes, image, log).near_misses() }
}

/// What happened in an e-graph, seen from the network as it was.
struct History<'a> {
    graph: &'a Graph,
    notes: &'a [Note],
    image: &'a Image,
    log: &'a Log,
    /// The nodes of each class, in order.
    nodes: HashMap<Id, Vec<NodeId>>,
    /// The application that made an e-node.
    makers: HashMap<Term, usize>,
    /// The applications that only joined classes, by class.
    joined: HashMap<Id, Vec<usize>>,
    position: Vec<usize>,
}

impl<'a> History<'a> {
    fn new(graph: &'a Graph, notes: &'a [Note], image: &'a Image, log: &'a Log) -> Self {
        let egraph = &image.egraph;
        let mut position = vec![0; graph.len()];
        let mut nodes: HashMap<Id, Vec<NodeId>> = HashMap::new();
        for (i, id) in graph.order().into_iter().enumerate() {
            position[id.index()] = i;
            nodes.entry(egraph.find(image.classes[id.index()])).or_default().push(id);
        }
        let mut joined: HashMap<Id, Vec<usize>> = HashMap::new();
        for (number, application) in log.applications.iter().enumerate() {
            if application.made.is_empty() {
                joined.entry(egraph.find(application.root)).or_default().push(number);
            }
        }
        History { graph, notes, image, log, nodes, makers: makers(egraph, log), joined, position }
    }

    fn nodes_of(&self, class: Id) -> &[NodeId] {
        self.nodes.get(&class).map_or(&[], Vec::as_slice)
    }

    fn note(&self, class: Id, reader: Id, picked: &super::extract::Picked) -> Note {
        let own: Vec<NodeId> = self.nodes_of(class).iter().copied().filter(|&id| !self.is_input(id)).collect();
        let Some(&first) = own.first() else {
            let reader = self.nodes_of(reader).first().map(|id| self.notes[id.index()].clone()).unwrap_or_default();
            let links = self.links(&picked.term, &[]);
            return Note { made: true, links, passed: vec![], layers: vec![reader.core], ..reader };
        };
        let covered = self.covered(first, &own, &picked.applied.operands);
        let core = if has_core(&picked.applied.op) {
            covered.iter().rfind(|id| has_core(&self.graph.node(**id).op))
        } else {
            covered.first().filter(|_| matches!(picked.applied.op, Op::Fused { .. }))
        };
        let mut seen: HashSet<(&str, Vec<usize>)> = HashSet::new();
        let old = covered.iter().flat_map(|id| self.notes[id.index()].links.iter().cloned());
        let mut links: Vec<Link> = old.chain(self.links(&picked.term, &covered)).collect();
        links.retain(|link| seen.insert((link.rule.name, link.layers.clone())));
        let layers = self.layers(covered.iter().copied());
        let passed = self.passed(class, &layers);
        Note {
            core: self.notes[core.copied().unwrap_or(first).index()].core,
            value: self.notes[own.last().copied().unwrap_or(first).index()].value,
            layers,
            made: false,
            links,
            passed,
        }
    }

    fn is_input(&self, id: NodeId) -> bool {
        matches!(self.graph.node(id).op, Op::Input(_))
    }

    fn layers(&self, nodes: impl Iterator<Item = NodeId>) -> Vec<usize> {
        let all: BTreeSet<usize> = nodes.flat_map(|id| self.notes[id.index()].layers.iter().copied()).collect();
        all.into_iter().collect()
    }

    /// The nodes on the paths from the class's first node down to its operands, and the class's own, in order.
    fn covered(&self, first: NodeId, own: &[NodeId], operands: &[Id]) -> Vec<NodeId> {
        let ends: BTreeSet<NodeId> = operands.iter().flat_map(|&id| self.nodes_of(id).iter().copied()).collect();
        let mut region: BTreeMap<usize, NodeId> = BTreeMap::new();
        let mut stack = vec![first];
        while let Some(id) = stack.pop() {
            if !ends.contains(&id) && !self.is_input(id) && region.insert(self.position[id.index()], id).is_none() {
                stack.extend(self.graph.operands(id));
            }
        }
        let mut on_path = ends;
        let mut covered: BTreeMap<usize, NodeId> = own.iter().map(|&id| (self.position[id.index()], id)).collect();
        for (at, id) in region {
            if self.graph.operands(id).iter().any(|operand| on_path.contains(operand)) {
                on_path.insert(id);
                covered.insert(at, id);
            }
        }
        covered.into_values().collect()
    }

    /// The rules that led to an e-node, and those that joined the nodes it covers, in the order they applied.
    fn links(&self, term: &Term, covered: &[NodeId]) -> Vec<Link> {
        let egraph = &self.image.egraph;
        let mut numbers: BTreeSet<usize> = BTreeSet::new();
        let mut stack = vec![canonical(egraph, term)];
        while let Some(term) = stack.pop() {
            if let Some(&number) = self.makers.get(&term)
                && numbers.insert(number)
            {
                stack.extend(self.log.applications[number].premises.iter().map(|term| canonical(egraph, term)));
            }
        }
        let classes: BTreeSet<Id> = covered.iter().map(|id| egraph.find(self.image.classes[id.index()])).collect();
        numbers.extend(classes.iter().filter_map(|class| self.joined.get(class)).flatten());
        self.links_of(numbers)
    }

    /// Applications as links, a rule on the same classes once: a class may be of thousands of sources.
    fn links_of(&self, numbers: BTreeSet<usize>) -> Vec<Link> {
        let egraph = &self.image.egraph;
        let mut links = Vec::new();
        let mut seen: HashSet<(&str, BTreeSet<Id>)> = HashSet::new();
        for Application { rule, premises, .. } in numbers.into_iter().map(|number| &self.log.applications[number]) {
            let values = premises.iter().filter(|term| is_value(term));
            let classes: BTreeSet<Id> = values.filter_map(|term| egraph.lookup(term.clone())).collect();
            if seen.insert((rule.name, classes.clone())) {
                let nodes = classes.iter().flat_map(|&class| self.nodes_of(class)).copied();
                links.push(Link { rule, layers: self.layers(nodes.filter(|&id| !self.is_input(id))) });
            }
        }
        links
    }

    /// Rules that made another e-node of the class, out of more than the sources that it computes.
    fn passed(&self, class: Id, layers: &[usize]) -> Vec<Link> {
        let egraph = &self.image.egraph;
        let makers: BTreeSet<usize> =
            egraph[class].nodes.iter().filter_map(|term| self.makers.get(&canonical(egraph, term)).copied()).collect();
        let mut passed: Vec<Link> = Vec::new();
        for link in self.links_of(makers) {
            let known = passed.iter().any(|known| known.rule.name == link.rule.name);
            if !known && link.layers.iter().any(|layer| layers.binary_search(layer).is_err()) {
                passed.push(link);
            }
        }
        passed
    }

    /// Preconditions that failed and never held later for the same rule and class.
    fn near_misses(&self) -> Vec<NearMiss> {
        let egraph = &self.image.egraph;
        let applied: BTreeSet<(Id, &str)> =
            self.log.applications.iter().map(|a| (egraph.find(a.root), a.rule.name)).collect();
        let mut misses: BTreeMap<(usize, usize, usize), NearMiss> = BTreeMap::new();
        for miss in &self.log.misses {
            let (class, rule) = (egraph.find(miss.root), compiled()[miss.rule].rule);
            if applied.contains(&(class, rule.name)) {
                continue;
            }
            if let Some(id) = self.nodes_of(class).first() {
                let at = self.notes[id.index()].core;
                let near = NearMiss { rule, condition: miss.condition, at };
                misses.insert((at, miss.rule, miss.condition), near);
            }
        }
        misses.into_values().collect()
    }
}

/// Whether an operator is a convolution or linear layer, fused or not.
fn has_core(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::Linear(_) | Op::Fused { core: Core::Conv(_) | Core::Linear(_), .. })
}

/// Whether an e-node is a value of the network, no attribute, weight or list.
fn is_value(term: &Term) -> bool {
    match term {
        Term::Apply(..) | Term::Leaf(Leaf::Value(_) | Leaf::Constant(_)) => true,
        Term::List(_)
        | Term::Leaf(Leaf::Attributes(_) | Leaf::Chain(_) | Leaf::Core(_) | Leaf::Weight(_) | Leaf::Absent) => false,
    }
}
