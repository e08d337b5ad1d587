//! The verifier: what every pass may rely on.
//!
//! A graph that it accepts has these invariants:
//!
//! - the operand positions of a node are `0..k`, each once;
//! - no node depends on itself;
//! - a node's weights are expressions of the graph's pool;
//! - a node has the number of operands that its operator takes, the weights that it reads in their shapes, and the type
//!   that inference gives it;
//! - a named tensor is read in one shape;
//! - every node has a name, and no two nodes have the same;
//! - the inputs are the input nodes, each once;
//! - there is an output, every output is a node, has a name, and no two outputs have the same.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::kosaraju_scc;

use super::infer::{self, TypeError};
use super::weights::Source;
use super::{Graph, NodeId, Op, TensorType, Verified};

/// A broken invariant; it names the node or output where it was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Violation {
    /// Operand positions with a gap or twice the same.
    #[error("`{node}` has operands at positions {positions:?}")]
    Positions {
        /// The node.
        node: String,
        /// Its positions, sorted.
        positions: Vec<u32>,
    },
    /// Nodes that depend on each other.
    #[error("a cycle: {nodes:?}")]
    Cycle {
        /// All nodes of the cycle, in the order of their ids.
        nodes: Vec<String>,
    },
    /// A weight that is not in the pool.
    #[error("`{node}` reads weight {position}, which the graph does not have")]
    NoWeight {
        /// The node.
        node: String,
        /// Which of its weights.
        position: usize,
    },
    /// Operands or weights that the operator does not take.
    #[error("`{node}`: {error}")]
    Misfit {
        /// The node.
        node: String,
        /// What inference says.
        error: TypeError,
    },
    /// A type that inference does not give.
    #[error("`{node}` is {stated}, but its operands make it {inferred}")]
    Type {
        /// The node.
        node: String,
        /// The type it has.
        stated: TensorType,
        /// The type it should have.
        inferred: TensorType,
    },
    /// A named tensor that no file can hold.
    #[error("`{node}` reads `{tensor}` as {shape:?}, which is read as {other:?} elsewhere")]
    Tensor {
        /// The later reader.
        node: String,
        /// The tensor's name.
        tensor: String,
        /// The shape it is read in here.
        shape: Vec<usize>,
        /// The shape it was read in before.
        other: Vec<usize>,
    },
    /// A node without a name.
    #[error("{node:?} has no name")]
    NoName {
        /// The node.
        node: NodeId,
    },
    /// Two nodes of one name.
    #[error("two nodes are named `{node}`")]
    SameName {
        /// The name.
        node: String,
    },
    /// An input that is not an input node, or is listed twice.
    #[error("`{node}` is listed among the inputs by mistake")]
    NotInput {
        /// The node.
        node: String,
    },
    /// An input node that is not listed.
    #[error("the input `{node}` is not listed among the inputs")]
    UnlistedInput {
        /// The node.
        node: String,
    },
    /// A network without results.
    #[error("the network has no output")]
    NoOutput,
    /// An output without a name.
    #[error("output {position} has no name")]
    UnnamedOutput {
        /// Its position.
        position: usize,
    },
    /// Two outputs of one name.
    #[error("two outputs are named `{output}`")]
    SameOutput {
        /// The name.
        output: String,
    },
    /// An output that is not a node.
    #[error("the output `{output}` is {node:?}, which the graph does not have")]
    NoSuchNode {
        /// The output.
        output: String,
        /// What it refers to.
        node: NodeId,
    },
}

/// Checks every invariant.
///
/// # Errors
/// All that are broken, node by node in the order of their ids, then those of the graph as a whole.
pub fn verify(graph: Graph) -> Result<Verified<Graph>, Vec<Violation>> {
    let mut violations = Vec::new();
    let mut names = BTreeSet::new();
    let mut tensors = BTreeMap::new();
    for id in graph.ids() {
        check_name(&graph, id, &mut names, &mut violations);
        check_node(&graph, id, &mut violations);
        check_tensors(&graph, id, &mut tensors, &mut violations);
    }
    check_cycles(&graph, &mut violations);
    check_inputs(&graph, &mut violations);
    check_outputs(&graph, &mut violations);
    if violations.is_empty() { Ok(Verified::assert_checked(graph)) } else { Err(violations) }
}

/// The name by which a violation speaks of a node.
fn name(graph: &Graph, id: NodeId) -> String {
    let name = &graph.node(id).origin.name;
    if name.is_empty() { format!("{id:?}") } else { name.clone() }
}

fn check_name<'g>(graph: &'g Graph, id: NodeId, names: &mut BTreeSet<&'g str>, violations: &mut Vec<Violation>) {
    let name = graph.node(id).origin.name.as_str();
    if name.is_empty() {
        violations.push(Violation::NoName { node: id });
    } else if !names.insert(name) {
        violations.push(Violation::SameName { node: name.to_owned() });
    }
}

/// Operands, weights and type of one node. Inference runs only on what it can look at.
fn check_node(graph: &Graph, id: NodeId, violations: &mut Vec<Violation>) {
    let node = graph.node(id);
    let before = violations.len();
    let positions = graph.operand_positions(id);
    if positions.iter().enumerate().any(|(i, &position)| i != position as usize) {
        violations.push(Violation::Positions { node: name(graph, id), positions });
    }
    for (position, weight) in node.weights.iter().enumerate() {
        if weight.0 as usize >= graph.weights.exprs().len() {
            violations.push(Violation::NoWeight { node: name(graph, id), position });
        }
    }
    if violations.len() > before {
        return;
    }
    let operands = graph.operands(id);
    let operands: Vec<&TensorType> = operands.iter().map(|&of| &graph.node(of).ty).collect();
    let weights: Vec<&[usize]> = node.weights.iter().map(|&weight| graph.weights.shape(weight)).collect();
    match infer::infer(&node.op, &operands, &weights) {
        Err(error) => violations.push(Violation::Misfit { node: name(graph, id), error }),
        Ok(inferred) if inferred != node.ty => {
            violations.push(Violation::Type { node: name(graph, id), stated: node.ty.clone(), inferred });
        }
        Ok(_) => {}
    }
}

fn check_tensors(
    graph: &Graph,
    id: NodeId,
    tensors: &mut BTreeMap<String, Vec<usize>>,
    violations: &mut Vec<Violation>,
) {
    let pool = &graph.weights;
    let weights = graph.node(id).weights.iter().copied();
    for Source { name: tensor, shape, .. } in pool.sources(weights.filter(|w| (w.0 as usize) < pool.exprs().len())) {
        let other = tensors.entry(tensor.clone()).or_insert_with(|| shape.clone());
        if *other != shape {
            violations.push(Violation::Tensor { node: name(graph, id), tensor, shape, other: other.clone() });
        }
    }
}

fn check_cycles(graph: &Graph, violations: &mut Vec<Violation>) {
    for component in kosaraju_scc(&graph.dag) {
        if component.len() > 1 || graph.dag.contains_edge(component[0], component[0]) {
            let mut nodes: Vec<NodeId> = component.into_iter().map(NodeId).collect();
            nodes.sort_unstable();
            violations.push(Violation::Cycle { nodes: nodes.into_iter().map(|id| name(graph, id)).collect() });
        }
    }
}

fn check_inputs(graph: &Graph, violations: &mut Vec<Violation>) {
    let mut listed = BTreeSet::new();
    for &id in graph.inputs() {
        let is_input = graph.dag.contains_node(id.0) && matches!(graph.node(id).op, Op::Input(_));
        if !is_input || !listed.insert(id) {
            let node = if graph.dag.contains_node(id.0) { name(graph, id) } else { format!("{id:?}") };
            violations.push(Violation::NotInput { node });
        }
    }
    for id in graph.ids() {
        if matches!(graph.node(id).op, Op::Input(_)) && !listed.contains(&id) {
            violations.push(Violation::UnlistedInput { node: name(graph, id) });
        }
    }
}

fn check_outputs(graph: &Graph, violations: &mut Vec<Violation>) {
    if graph.outputs().is_empty() {
        violations.push(Violation::NoOutput);
    }
    let mut names = BTreeSet::new();
    for (position, output) in graph.outputs().iter().enumerate() {
        if output.name.is_empty() {
            violations.push(Violation::UnnamedOutput { position });
        } else if !names.insert(&output.name) {
            violations.push(Violation::SameOutput { output: output.name.clone() });
        }
        if !graph.dag.contains_node(output.node.0) {
            violations.push(Violation::NoSuchNode { output: output.name.clone(), node: output.node });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::weights::Kind;
    use super::super::{Activation, Binary, Conv, Origin, Output, WeightId, Window};
    use super::*;

    /// `image -> conv -> relu -> add with conv`, one output.
    fn sound() -> Graph {
        let mut graph = Graph::new("Sound");
        let image = Op::Input(TensorType::f32([1, 3, 8, 8]));
        let image = graph.add(image, &[], vec![], Origin::named("image")).unwrap();
        let weights = vec![
            graph.weights.read("conv.weight", Kind::Kernel, &[4, 3, 1, 1]),
            graph.weights.read("conv.bias", Kind::Bias, &[4]),
        ];
        let conv = Op::Conv(Conv { channels: 4, window: Window::POINT, groups: 1, bias: true });
        let conv = graph.add(conv, &[image], weights, Origin::named("conv")).unwrap();
        let relu = graph.add(Op::Activate(Activation::Relu), &[conv], vec![], Origin::named("relu")).unwrap();
        let sum = graph.add(Op::Binary(Binary::Add), &[relu, conv], vec![], Origin::named("sum")).unwrap();
        graph.add_output("logits", sum);
        graph
    }

    /// Breaks a sound graph and compares what the verifier says.
    #[track_caller]
    fn check(break_it: impl FnOnce(&mut Graph, &dyn Fn(&str) -> NodeId), expected: &[&str]) {
        let mut graph = sound();
        let sound = graph.clone();
        break_it(&mut graph, &|name| sound.find(name).unwrap());
        let found: Vec<String> = verify(graph).expect_err("a broken graph").iter().map(Violation::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_sound_graph_passes() {
        assert!(verify(sound()).is_ok());
    }

    #[test]
    fn operand_positions_have_no_gaps() {
        let gap = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            let edge = graph.dag.find_edge(at("conv").0, at("sum").0).unwrap();
            graph.dag[edge] = 2;
        };
        check(gap, &["`sum` has operands at positions [0, 2]"]);
    }

    #[test]
    fn operand_positions_are_distinct() {
        let twice = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            let edge = graph.dag.find_edge(at("conv").0, at("sum").0).unwrap();
            graph.dag[edge] = 0;
        };
        check(twice, &["`sum` has operands at positions [0, 0]"]);
    }

    #[test]
    fn arity_is_the_operators() {
        let third = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            graph.dag.add_edge(at("relu").0, at("sum").0, 2);
        };
        check(third, &["`sum`: add takes 2 operands, not 3"]);
    }

    #[test]
    fn types_are_what_inference_says() {
        let wider = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            graph.dag[at("sum").0].ty = TensorType::f32([1, 4, 8, 9]);
        };
        check(wider, &["`sum` is f32[1, 4, 8, 9], but its operands make it f32[1, 4, 8, 8]"]);
        let operand = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            graph.dag[at("relu").0].ty = TensorType::f32([1, 3, 8, 8]);
        };
        check(
            operand,
            &[
                "`relu` is f32[1, 3, 8, 8], but its operands make it f32[1, 4, 8, 8]",
                "`sum`: cannot add tensors of shape [1, 3, 8, 8] and [1, 4, 8, 8]",
            ],
        );
    }

    #[test]
    fn weights_are_in_the_pool() {
        let foreign = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            graph.dag[at("conv").0].weights[1] = WeightId(7);
        };
        check(foreign, &["`conv` reads weight 1, which the graph does not have"]);
    }

    #[test]
    fn weights_have_the_operators_number_and_shapes() {
        let one = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| graph.dag[at("conv").0].weights.truncate(1);
        check(one, &["`conv`: conv reads 2 weights, not 1"]);
        let swapped = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| graph.dag[at("conv").0].weights.swap(0, 1);
        check(swapped, &["`conv`: conv needs a Kernel of shape [4, 3, 1, 1], not [4]"]);
    }

    #[test]
    fn a_tensor_has_one_shape() {
        let renamed = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            graph.dag[at("conv").0].weights[1] = graph.weights.read("conv.weight", Kind::Bias, &[4]);
        };
        check(renamed, &["`conv` reads `conv.weight` as [4], which is read as [4, 3, 1, 1] elsewhere"]);
    }

    #[test]
    fn nodes_do_not_depend_on_themselves() {
        let back = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            let edge = graph.dag.find_edge(at("conv").0, at("relu").0).unwrap();
            graph.dag.remove_edge(edge);
            graph.dag.add_edge(at("sum").0, at("relu").0, 0);
        };
        check(back, &[r#"a cycle: ["relu", "sum"]"#]);
        let own = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            let edge = graph.dag.find_edge(at("conv").0, at("relu").0).unwrap();
            graph.dag.remove_edge(edge);
            graph.dag.add_edge(at("relu").0, at("relu").0, 0);
        };
        check(own, &[r#"a cycle: ["relu"]"#]);
    }

    #[test]
    fn nodes_have_names_of_their_own() {
        let unnamed = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| graph.dag[at("relu").0].origin.name.clear();
        check(unnamed, &["n2 has no name"]);
        let same = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| graph.dag[at("relu").0].origin.name = "conv".into();
        check(same, &["two nodes are named `conv`"]);
    }

    #[test]
    fn inputs_are_the_input_nodes() {
        check(|graph, _| graph.inputs.clear(), &["the input `image` is not listed among the inputs"]);
        check(|graph, at| graph.inputs.push(at("image")), &["`image` is listed among the inputs by mistake"]);
        check(|graph, at| graph.inputs.push(at("relu")), &["`relu` is listed among the inputs by mistake"]);
        check(|graph, _| graph.inputs.push(NodeId(9.into())), &["`n9` is listed among the inputs by mistake"]);
    }

    #[test]
    fn outputs_are_named_nodes() {
        check(|graph, _| graph.outputs.clear(), &["the network has no output"]);
        check(|graph, _| graph.outputs[0].name.clear(), &["output 0 has no name"]);
        let twice = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| graph.add_output("logits", at("relu"));
        check(twice, &["two outputs are named `logits`"]);
        let foreign = |graph: &mut Graph, _: &dyn Fn(&str) -> NodeId| {
            graph.outputs.push(Output { name: "aux".into(), node: NodeId(9.into()) });
        };
        check(foreign, &["the output `aux` is n9, which the graph does not have"]);
    }

    #[test]
    fn all_violations_are_found() {
        let several = |graph: &mut Graph, at: &dyn Fn(&str) -> NodeId| {
            graph.dag[at("relu").0].origin.name.clear();
            graph.dag[at("conv").0].weights.clear();
            graph.outputs.clear();
        };
        check(several, &["`conv`: conv reads 2 weights, not 0", "n2 has no name", "the network has no output"]);
    }
}
