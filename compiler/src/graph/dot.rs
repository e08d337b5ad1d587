//! The graph as Graphviz draws it: `dot -Tsvg`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::text::write_op;
use super::{Graph, NodeId, Op};

/// The graph in the DOT language: a box a node with its name, operator and type, outputs as ellipses. Nodes that no
/// output needs are left out, inputs excepted.
pub fn print(graph: &Graph) -> String {
    let mut dot = format!("digraph {} {{\n", quote(&graph.name));
    dot += "  node [shape = box, fontname = \"monospace\"];\n";
    let order = graph.order();
    // Writing to a String cannot fail.
    for (position, &id) in order.iter().enumerate() {
        let node = graph.node(id);
        let label = quote(&format!("{}\n{}\n{}", node.origin.name, operator(&node.op), node.ty));
        let style = if matches!(node.op, Op::Input(_)) { ", style = bold" } else { "" };
        let _ = writeln!(dot, "  n{position} [label = {label}{style}];");
    }
    let position: BTreeMap<NodeId, usize> = order.iter().enumerate().map(|(position, &id)| (id, position)).collect();
    for (to, &id) in order.iter().enumerate() {
        for operand in graph.operands(id) {
            let _ = writeln!(dot, "  n{} -> n{to};", position[&operand]);
        }
    }
    for (i, output) in graph.outputs().iter().enumerate() {
        let _ = writeln!(dot, "  output{i} [label = {}, shape = ellipse];", quote(&output.name));
        let _ = writeln!(dot, "  n{} -> output{i};", position[&output.node]);
    }
    dot + "}\n"
}

/// A quoted string of the DOT language: backslashes are its escapes too, and a line break is centred.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// An operator with its attributes; the values of a literal may be many, and are cut.
fn operator(op: &Op) -> String {
    let text = write_op(op, &[]);
    match (op, text.char_indices().nth(120)) {
        (Op::Constant(_), Some((end, _))) => format!("{}…", &text[..end]),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Activation, Binary, Origin, TensorType};
    use super::*;

    #[test]
    fn nodes_operands_and_outputs_are_drawn() {
        let mut graph = Graph::new("Say \"hi\"");
        let image = Op::Input(TensorType::f32([1, 3, 8, 8]));
        let image = graph.add(image, &[], vec![], Origin::named("image \\ \"x\"")).unwrap();
        let relu = Op::Activate(Activation::RELU6);
        let relu = graph.add(relu, &[image], vec![], Origin::named("relu")).unwrap();
        let sum = graph.add(Op::Binary(Binary::Add), &[relu, image], vec![], Origin::named("sum")).unwrap();
        graph.add(Op::Dropout, &[sum], vec![], Origin::named("dead")).unwrap();
        graph.add_output("y", sum);
        let expected = r#"digraph "Say \"hi\"" {
  node [shape = box, fontname = "monospace"];
  n0 [label = "image \\ \"x\"\ninput()\nf32[1, 3, 8, 8]", style = bold];
  n1 [label = "relu\nclip(lo = 0.0, hi = 6.0)\nf32[1, 3, 8, 8]"];
  n2 [label = "sum\nadd()\nf32[1, 3, 8, 8]"];
  n0 -> n1;
  n1 -> n2;
  n0 -> n2;
  output0 [label = "y", shape = ellipse];
  n2 -> output0;
}
"#;
        assert_eq!(print(&graph), expected);
    }
}
