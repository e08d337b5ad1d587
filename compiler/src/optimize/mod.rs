//! Rewrites a network into a cheaper one that computes the same: equality saturation over an e-graph (Tate et al. 2009;
//! Willsey et al. 2021, egg).
//!
//! | file | holds |
//! | --- | --- |
//! | [`rules`] | the rules, by theme; `README.md` says how to write one |
//! | [`language`], [`analysis`] | the e-graph's terms, and what it knows of a class |
//! | [`blocks`] | cutting a network at its waists, so that equal blocks are solved once |
//! | [`mod@saturate`] | running the rules, and the log of what they did |
//! | [`cost`], [`extract`] | what a node costs, and picking the cheapest nodes |
//! | [`mod@rebuild`] | from picked nodes to a graph, with a note on each |
//! | [`hand`] | the yardstick: the same rules in a fixed order |
//! | [`explain`] | the record behind `kiln explain` |
//!
//! A result depends on the network and [`Options`] alone: no clock, no hash order, no weight values.

pub mod analysis;
pub mod blocks;
pub mod cost;
pub mod explain;
pub mod extract;
pub mod hand;
pub mod language;
pub mod rebuild;
pub mod rules;
pub mod saturate;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::graph::infer::name;
use crate::graph::{Activation, Chain, Core, Graph, NodeId, Op, Origin, Stage, Verified};
use blocks::{Block, Key, Local, cut, transplant};
use cost::{Cost, total};
pub use explain::{Explanation, Record};
use rebuild::{Image, Link, NearMiss, Note, rebuild};
use saturate::{Limits, Log, saturate};

/// How hard to look. The bounds count work, never time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Rounds of exploring; folding and fusing run until nothing changes.
    pub iterations: usize,
    /// E-nodes at which exploring stops, for each node of a block.
    pub nodes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { iterations: 16, nodes: 32 }
    }
}

/// An optimized network.
#[derive(Clone, Debug)]
pub struct Optimized {
    /// The network: the same inputs and outputs, nodes named for the sources they compute.
    pub graph: Graph,
    /// What was done.
    pub record: Record,
}

/// An optimized block.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The block, over placeholders.
    pub graph: Graph,
    /// A note on each node, by its index.
    pub notes: Vec<Note>,
    /// Rules that would have applied but for a precondition.
    pub misses: Vec<NearMiss>,
    /// What the block costs.
    pub cost: Cost,
}

/// Optimizes a network: each block by the e-graph, or by the list of [`hand`] where that is cheaper.
pub fn optimize(graph: &Verified<Graph>, options: &Options) -> Optimized {
    assemble(graph, |block| {
        let by_egraph = solve(block, options);
        let by_hand = hand::solve(block, first_notes(block), hand::ORDER);
        if by_hand.cost < by_egraph.cost { by_hand } else { by_egraph }
    })
}

/// Optimizes a network by the list of [`hand`] alone.
pub fn pipeline(graph: &Verified<Graph>) -> Optimized {
    assemble(graph, |block| hand::solve(block, first_notes(block), hand::ORDER))
}

/// The network with its BatchNorms in the convolutions and linear layers before them, where nothing else reads those.
pub fn fold_batch_norms(graph: &Verified<Graph>) -> Optimized {
    assemble(graph, |block| hand::solve(block, first_notes(block), hand::BATCH_NORMS))
}

/// Optimizes a block by the e-graph.
fn solve(block: &Graph, options: &Options) -> Solution {
    let mut image = Image::new(block);
    let mut log = Log::default();
    let nodes = options.nodes.saturating_mul(image.egraph.total_size()).saturating_add(1024);
    saturate(&mut image.egraph, &mut log, Limits { iterations: options.iterations, nodes });
    let selection = extract::extract(&image.egraph, &image.roots(block), &image.sources);
    let (graph, notes, misses) = rebuild(block, &first_notes(block), &image, &log, &selection);
    Solution { cost: total(&graph), graph, notes, misses }
}

/// Each node stands for itself, and inputs for nothing.
fn first_notes(block: &Graph) -> Vec<Note> {
    let note = |id: NodeId| {
        let layers = if matches!(block.node(id).op, Op::Input(_)) { vec![] } else { vec![id.index()] };
        Note { core: id.index(), value: id.index(), layers, ..Note::default() }
    };
    block.ids().map(note).collect()
}

/// Solves each block, equal ones once, and puts the network together again.
fn assemble(graph: &Graph, mut solve: impl FnMut(&Graph) -> Solution) -> Optimized {
    let mut assembly = Assembly::new(graph);
    let mut known: HashMap<Key, usize> = HashMap::new();
    let mut solutions: Vec<Solution> = Vec::new();
    for block in cut(graph) {
        let local = block.local(graph);
        let number = *known.entry(local.key()).or_insert_with(|| {
            solutions.push(solve(&local.graph));
            solutions.len() - 1
        });
        assembly.place(&block, &local, &solutions[number]);
    }
    assembly.finish()
}

/// The optimized network in the making.
struct Assembly<'a> {
    source: &'a Graph,
    graph: Graph,
    record: Record,
    /// The new node of each source that stands between blocks.
    placed: BTreeMap<NodeId, NodeId>,
    names: BTreeSet<String>,
}

impl<'a> Assembly<'a> {
    fn new(source: &'a Graph) -> Self {
        let mut graph = Graph::new(source.name.clone());
        graph.weights = source.weights.clone();
        graph.preprocessing = source.preprocessing.clone();
        let mut assembly =
            Assembly { source, graph, record: Record::default(), placed: BTreeMap::new(), names: BTreeSet::new() };
        for &input in source.inputs() {
            let node = source.node(input);
            let new = assembly.add(node.op.clone(), &[], vec![], node.origin.clone());
            assembly.placed.insert(input, new);
        }
        assembly
    }

    fn add(&mut self, op: Op, operands: &[NodeId], weights: Vec<crate::graph::WeightId>, origin: Origin) -> NodeId {
        self.names.insert(origin.name.clone());
        match self.graph.add(op, operands, weights, origin) {
            Ok(id) => id,
            Err(error) => unreachable!("rules keep types: {error}"),
        }
    }

    fn place(&mut self, block: &Block, local: &Local, solution: &Solution) {
        let mut done = HashMap::new();
        let mut ids: Vec<NodeId> = Vec::with_capacity(solution.graph.len());
        for id in solution.graph.ids() {
            let node = solution.graph.node(id);
            if let Some(&input) = block.inputs.get(id.index()) {
                ids.push(self.placed[&input]);
                continue;
            }
            let operands: Vec<NodeId> =
                solution.graph.operands(id).iter().map(|operand| ids[operand.index()]).collect();
            let weights = node
                .weights
                .iter()
                .map(|&w| transplant(&solution.graph.weights, w, &local.weights, &mut self.graph.weights, &mut done))
                .collect();
            let note = &solution.notes[id.index()];
            let origin = self.origin(block, note, &node.op);
            self.explain(block, note, &solution.misses, &origin, &node.op);
            let new = self.add(node.op.clone(), &operands, weights, origin);
            ids.push(new);
        }
        for (output, from) in solution.graph.outputs().iter().zip(&block.outputs) {
            self.placed.insert(*from, ids[output.node.index()]);
        }
    }

    /// The origin of a node: named for its core, or for its value where that name is taken.
    fn origin(&self, block: &Block, note: &Note, op: &Op) -> Origin {
        let origin_of = |index: usize| &self.source.node(block.source(index)).origin;
        let core = origin_of(note.core);
        let mut name = if note.made { format!("{}.{}", core.name, name(op)) } else { core.name.clone() };
        if self.names.contains(&name) && !note.made {
            name = origin_of(note.value).name.clone();
        }
        if self.names.contains(&name) {
            let free = (2..).map(|i| format!("{name}.{i}")).find(|name| !self.names.contains(name));
            name = free.unwrap_or(name);
        }
        Origin { name, span: core.span, layers: self.names_of(block, &note.layers) }
    }

    /// The names of sources, by their numbers in the block.
    fn names_of(&self, block: &Block, layers: &[usize]) -> Vec<String> {
        let mut names: Vec<String> =
            layers.iter().flat_map(|&index| self.source.node(block.source(index)).origin.sources()).collect();
        let mut seen: HashSet<String> = HashSet::with_capacity(names.len());
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    fn explain(&mut self, block: &Block, note: &Note, misses: &[NearMiss], origin: &Origin, op: &Op) {
        let name_of = |index: usize| self.source.node(block.source(index)).origin.name.clone();
        let applied = |link: &Link| explain::Applied { rule: link.rule, layers: self.names_of(block, &link.layers) };
        let explanation = Explanation {
            node: origin.name.clone(),
            kernel: summary(op),
            layers: origin.layers.clone(),
            chain: note.links.iter().map(applied).collect(),
            passed: note.passed.iter().map(applied).collect(),
            near_misses: misses
                .iter()
                .filter(|miss| note.layers.binary_search(&miss.at).is_ok())
                .map(|miss| explain::Missed {
                    rule: miss.rule,
                    condition: &miss.rule.when[miss.condition],
                    at: name_of(miss.at),
                })
                .collect(),
        };
        self.record.push(explanation);
    }

    fn finish(mut self) -> Optimized {
        for output in self.source.outputs() {
            self.graph.add_output(output.name.clone(), self.placed[&output.node]);
        }
        Optimized { graph: self.graph, record: self.record }
    }
}

/// An operator in short: its name, for a fused node those of its parts.
fn summary(op: &Op) -> String {
    let Op::Fused { before, core, after } = op else { return name(op).to_owned() };
    let core = match core {
        Core::Conv(_) => Some("conv"),
        Core::Linear(_) => Some("linear"),
        Core::Identity => None,
    };
    let parts: Vec<&str> = stages(before).chain(core).chain(stages(after)).collect();
    parts.join(" + ")
}

fn stages(chain: &Chain) -> impl Iterator<Item = &'static str> + '_ {
    chain.iter().map(|stage| match stage {
        Stage::Affine => "affine",
        Stage::Activate(Activation::Relu) => "relu",
        Stage::Activate(Activation::Clip { .. }) => "clip",
        Stage::Activate(Activation::LeakyRelu { .. }) => "leaky_relu",
        Stage::Activate(Activation::Abs) => "abs",
        Stage::Activate(Activation::Elu { .. }) => "elu",
        Stage::Activate(Activation::Sigmoid) => "sigmoid",
        Stage::Activate(Activation::HardSigmoid) => "hard_sigmoid",
        Stage::Activate(Activation::Tanh) => "tanh",
        Stage::Activate(Activation::Silu) => "silu",
        Stage::Activate(Activation::HardSwish) => "hard_swish",
        Stage::Activate(Activation::Gelu) => "gelu",
        Stage::Activate(Activation::GeluTanh) => "gelu_tanh",
        Stage::Activate(Activation::Exp) => "exp",
        Stage::Activate(Activation::Log) => "log",
        Stage::Activate(Activation::Sqrt) => "sqrt",
        Stage::Activate(Activation::Erf) => "erf",
        Stage::Activate(Activation::Softplus) => "softplus",
        Stage::Activate(Activation::Mish) => "mish",
        Stage::Activate(Activation::Quantize { .. }) => "quantize",
        Stage::Add => "add",
        Stage::Scale => "scale",
    })
}
