//! The same rules in an order set by hand, each replacing what it matches: the yardstick for the e-graph.
//!
//! A rule runs until it matches nowhere, then the next one; the list repeats until nothing changes. Work is never done
//! twice: a convolution, linear layer or fused node that something else reads too is not taken into another.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use egg::Id;

use super::Solution;
use super::cost::total;
use super::extract::{Picked, Selection, picked};
use super::language::{Tag, Term};
use super::rebuild::{Image, NearMiss, Note, near_misses, rebuild};
use super::rules::compiled;
use super::saturate::{Log, Match, apply, premises, search};
use crate::graph::{Binary, Core, Graph, NodeId, Op, Stage};

/// The order.
pub const ORDER: &[&str] = &[
    "identity-is-nothing",
    "add-of-zero",
    "mul-by-one",
    "cast-of-integers",
    "transpose-is-shuffle",
    "reshape-to-same",
    "reshape-of-reshape",
    "transpose-of-nothing",
    "transpose-of-transpose",
    "pad-by-nothing",
    "clip-of-clip",
    "activation-within-range",
    "clip-is-hard-swish",
    "clip-is-hard-sigmoid",
    "gate-is-swish",
    "constant-of-constants",
    "constant-of-constant",
    "shuffle-in-place",
    "shuffle-of-shuffle",
    "slice-of-all",
    "slice-of-concat",
    "slice-of-slice",
    "concat-of-slices",
    "concat-of-one",
    "pad-into-conv",
    "pad-into-max-pool",
    "pad-into-avg-pool",
    "bn-into-conv",
    "bn-into-linear",
    "conv-of-bn",
    "linear-of-bn",
    "constant-is-affine",
    "bn-is-affine",
    "affine-of-affine",
    "conv-of-affine",
    "conv-is-core",
    "linear-is-core",
    "add-into-epilogue",
    "scale-into-epilogue",
    "activation-into-epilogue",
    "chain-into-epilogue",
    "affine-into-core",
    "sum-is-chain",
    "scale-is-chain",
    "activation-is-chain",
];

/// Rounds through the list. Each fuses one more stage of every chain, so a chain of [`super::rules::fuse::STAGES`] fits.
const ROUNDS: usize = 10;

/// The rules that leave no BatchNorm behind a convolution or a linear layer.
pub const BATCH_NORMS: &[&str] = &["bn-into-conv", "bn-into-linear"];

/// Optimizes a block by a list.
pub fn solve(graph: &Graph, notes: Vec<Note>, order: &[&str]) -> Solution {
    let mut state = State::new(graph, notes);
    let rules: Vec<usize> =
        order.iter().filter_map(|name| compiled().iter().position(|compiled| compiled.rule.name == *name)).collect();
    for _ in 0..ROUNDS {
        let mut changed = false;
        for &rule in &rules {
            while state.step(rule) {
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let graph = plain(&state.graph);
    Solution { cost: total(&graph), graph, notes: state.notes, misses: state.misses }
}

/// Applies one rule of a block wherever its matches do not overlap; None where it applied nowhere.
pub fn apply_rule(graph: &Graph, notes: Vec<Note>, rule: usize) -> (Option<Graph>, Vec<NearMiss>) {
    let mut state = State::new(graph, notes);
    let applied = state.step(rule);
    (applied.then_some(state.graph), state.misses)
}

struct State {
    graph: Graph,
    notes: Vec<Note>,
    misses: Vec<NearMiss>,
    /// The graph in an e-graph, as long as no rule has touched that.
    image: Option<Image>,
}

impl State {
    fn new(graph: &Graph, notes: Vec<Note>) -> Self {
        State { graph: graph.clone(), notes, misses: Vec::new(), image: None }
    }

    /// Applies a rule wherever its matches do not overlap; whether that changed the graph.
    fn step(&mut self, rule: usize) -> bool {
        let mut image = self.image.take().unwrap_or_else(|| Image::new(&self.graph));
        let matches = search(&image.egraph, rule, &compiled()[rule]);
        if matches.is_empty() {
            self.image = Some(image);
            return false;
        }
        let uses = self.uses(&image);
        let mut log = Log::default();
        let mut touched = Involved::default();
        let mut choice: HashMap<Id, Term> = HashMap::new();
        for found in &matches {
            let Some(involved) = involved(&image, found, &uses) else { continue };
            if involved.overlaps(&touched) {
                continue;
            }
            let Some(right) = apply(&mut image.egraph, &mut log, found) else { continue };
            choice.insert(found.root, image.egraph.nodes()[usize::from(right)].clone());
            touched.matched.extend(involved.matched);
            touched.read.extend(involved.read);
        }
        image.egraph.rebuild();
        for miss in near_misses(&self.graph, &self.notes, &image, &log) {
            if !self.misses.iter().any(|known| (known.rule.name, known.at) == (miss.rule.name, miss.at)) {
                self.misses.push(miss);
            }
        }
        if log.applications.is_empty() {
            return false;
        }
        let Some(selection) = select(&self.graph, &image, &choice) else { return false };
        let (graph, notes, _) = rebuild(&self.graph, &self.notes, &image, &log, &selection);
        let changed = !is_same(&self.graph, &graph);
        if changed {
            (self.graph, self.notes) = (graph, notes);
        }
        changed
    }

    /// Reads of each class: operands, and results.
    fn uses(&self, image: &Image) -> HashMap<Id, usize> {
        let mut uses: HashMap<Id, usize> = HashMap::new();
        let read = self.graph.ids().flat_map(|id| self.graph.operands(id));
        for id in read.chain(self.graph.outputs().iter().map(|output| output.node)) {
            *uses.entry(image.egraph.find(image.classes[id.index()])).or_default() += 1;
        }
        uses
    }
}

/// The classes of values that matches look at.
#[derive(Default)]
struct Involved {
    /// Those whose e-nodes are part of a pattern.
    matched: BTreeSet<Id>,
    /// Those that variables stand for, of which nothing is known but that they are read.
    read: BTreeSet<Id>,
}

impl Involved {
    /// Whether a match takes in what another one reads or takes in. Readers of one value do not overlap, be they many.
    fn overlaps(&self, other: &Involved) -> bool {
        let theirs = |id: &Id| other.matched.contains(id);
        self.matched.iter().any(|id| theirs(id) || other.read.contains(id)) || self.read.iter().any(theirs)
    }
}

/// The classes that a match looks at, or None where it would do work twice.
fn involved(image: &Image, found: &Match, uses: &HashMap<Id, usize>) -> Option<Involved> {
    let left = &compiled()[found.rule].patterns[found.pattern];
    let is_tensor = |id: &Id| image.egraph[*id].data.ty.is_some();
    let bound = left.vars().into_iter().filter_map(|var| found.subst.get(var)).copied();
    let mut involved = Involved { matched: BTreeSet::new(), read: bound.filter(is_tensor).collect() };
    for (id, term) in premises(&image.egraph, left, &found.subst, found.root) {
        let works = matches!(term, Term::Apply(Tag::Conv | Tag::Linear | Tag::Fused, _));
        if id != found.root && works && uses.get(&id).is_some_and(|&uses| uses > 1) {
            return None;
        }
        if is_tensor(&id) {
            involved.matched.insert(id);
        }
    }
    Some(involved)
}

/// The network as it is, with the chosen e-nodes in place of those that were there; None where that goes round in a
/// circle. A choice holds for the class of a node only while no node before it has joined the class: the first node of a
/// class is what reads least.
fn select(graph: &Graph, image: &Image, choice: &HashMap<Id, Term>) -> Option<Selection> {
    let egraph = &image.egraph;
    let mut first: HashMap<Id, &(Id, Term)> = HashMap::new();
    for source in &image.sources {
        first.entry(egraph.find(source.0)).or_insert(source);
    }
    let mut nodes: BTreeMap<Id, Picked> = BTreeMap::new();
    let mut open: BTreeSet<Id> = BTreeSet::new();
    let mut stack: Vec<(Id, bool)> = image.roots(graph).into_iter().map(|root| (root, false)).collect();
    while let Some((id, ready)) = stack.pop() {
        if ready {
            open.remove(&id);
        }
        if nodes.contains_key(&id) {
            if open.contains(&id) {
                return None;
            }
            continue;
        }
        let given = first.get(&id).map(|(source, term)| choice.get(source).unwrap_or(term));
        let picked = picked(egraph, given.or_else(|| egraph[id].nodes.first())?)?;
        open.insert(id);
        stack.push((id, true));
        stack.extend(picked.applied.operands.iter().map(|&operand| (operand, false)));
        nodes.insert(id, picked);
    }
    Some(Selection { nodes })
}

/// Whether two graphs have the same nodes in the same order.
fn is_same(a: &Graph, b: &Graph) -> bool {
    let node = |graph: &Graph, id: NodeId| {
        let node = graph.node(id);
        (node.op.clone(), node.weights.clone(), graph.operands(id))
    };
    a.len() == b.len() && a.ids().zip(b.ids()).all(|(p, q)| node(a, p) == node(b, q))
}

/// The same graph with fused nodes of no stages, and of one stage without a core, as plain operators.
fn plain(graph: &Graph) -> Graph {
    let mut plain = Graph::new(graph.name.clone());
    plain.weights = graph.weights.clone();
    let mut ids: Vec<NodeId> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let node = graph.node(id);
        let operands: Vec<NodeId> = graph.operands(id).iter().map(|operand| ids[operand.index()]).collect();
        match plain.add(plain_op(&node.op), &operands, node.weights.clone(), node.origin.clone()) {
            Ok(new) => ids.push(new),
            Err(error) => unreachable!("the plain form has the same type: {error}"),
        }
    }
    for output in graph.outputs() {
        plain.add_output(output.name.clone(), ids[output.node.index()]);
    }
    plain
}

fn plain_op(op: &Op) -> Op {
    let Op::Fused { before, core, after } = op else { return op.clone() };
    match (before.as_slice(), core, after.as_slice()) {
        ([], Core::Conv(conv), []) => Op::Conv(*conv),
        ([], Core::Linear(linear), []) => Op::Linear(*linear),
        ([], Core::Identity, [Stage::Activate(activation)]) => Op::Activate(*activation),
        ([], Core::Identity, [Stage::Add]) => Op::Binary(Binary::Add),
        _ => op.clone(),
    }
}
