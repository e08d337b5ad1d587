use super::super::sample::{Random, every_op, random};
use super::super::verify::verify;
use super::super::weights::Kind;
use super::super::{Linear, Op};
use super::*;

/// The same nodes in the same order, with the same weights, inputs, outputs and preprocessing.
#[track_caller]
fn assert_same(one: &Graph, other: &Graph) {
    let nodes = |graph: &Graph| -> Vec<_> {
        let name = |id: NodeId| graph.node(id).origin.name.clone();
        let node = |id: NodeId| {
            let node = graph.node(id);
            let operands: Vec<String> = graph.operands(id).into_iter().map(name).collect();
            (name(id), node.op.clone(), node.ty.clone(), node.origin.layers.clone(), operands)
        };
        graph.order().into_iter().map(node).collect()
    };
    assert_eq!(nodes(one), nodes(other));
    let weights = |graph: &Graph| {
        let weights: Vec<Vec<WeightId>> = graph.order().iter().map(|&id| graph.node(id).weights.clone()).collect();
        (graph.weights.program(weights.iter().flatten().copied()), weights.iter().map(Vec::len).collect::<Vec<_>>())
    };
    assert_eq!(weights(one), weights(other));
    let names = |graph: &Graph| -> Vec<String> {
        graph.inputs().iter().map(|&id| graph.node(id).origin.name.clone()).collect()
    };
    assert_eq!(names(one), names(other));
    let outputs = |graph: &Graph| -> Vec<(String, String)> {
        graph.outputs().iter().map(|o| (o.name.clone(), graph.node(o.node).origin.name.clone())).collect()
    };
    assert_eq!(outputs(one), outputs(other));
    assert_eq!((&one.name, &one.preprocessing), (&other.name, &other.preprocessing));
}

#[track_caller]
fn round_trip(graph: &Graph) {
    let text = print(graph);
    let read = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_same(graph, &read);
    assert_eq!(print(&read), text);
    verify(read).unwrap();
}

#[test]
fn every_operator_prints_and_parses() {
    let graph = every_op();
    insta::assert_snapshot!(print(&graph));
    round_trip(&graph);
}

#[test]
fn random_graphs_print_and_parse() {
    for seed in 0..400 {
        round_trip(&random(seed));
    }
}

/// A linear layer on ten numbers with this kernel and bias.
fn linear(weights: impl FnOnce(&mut super::super::weights::Pool) -> [WeightId; 2]) -> Graph {
    let mut graph = Graph::new("Linear");
    let x = graph.add(Op::Input(TensorType::f32([1, 10])), &[], vec![], Origin::named("x")).unwrap();
    let weights = weights(&mut graph.weights);
    let features = graph.weights.shape(weights[0])[0];
    let origin = Origin { layers: vec!["a".into(), "b".into()], ..Origin::named("y") };
    let y = graph.add(Op::Linear(Linear { features, bias: true }), &[x], weights.to_vec(), origin).unwrap();
    graph.add_output("y", y);
    graph
}

#[test]
fn shared_and_deep_expressions_get_lines_of_their_own() {
    let graph = linear(|pool| {
        let w = pool.read("w", Kind::Kernel, &[6, 10]);
        let var = pool.read("v", Kind::Var, &[6]);
        let by = pool.rsqrt(var, 1e-5);
        let mut bias = pool.read("b", Kind::Bias, &[6]);
        for i in 0..7 {
            let more = pool.read(&format!("b{i}"), Kind::Bias, &[6]);
            bias = pool.add(bias, more);
        }
        let bias = pool.scale(bias, 0, by);
        let kernel = pool.gather(w, 0, &[4, 5, super::super::weights::HOLE, 0, 1, 2]);
        [pool.scale(kernel, 0, by), bias]
    });
    round_trip(&graph);
    let expected = r#"graph "Linear"

"x" = input(): f32[1, 10]
$0 = rsqrt(var("v", [6]), eps = 1e-5)
$1 = add(add(add(add(add(add(bias("b", [6]), bias("b0", [6])), bias("b1", [6])), bias("b2", [6])), bias("b3", [6])), bias("b4", [6])), bias("b5", [6]))
"y" = linear("x", features = 6): f32[1, 6]
  weight = scale(gather(kernel("w", [6, 10]), axis = 0, index = [4, 5, _, 0..3]), axis = 0, by = $0)
  bias = scale(add($1, bias("b6", [6])), axis = 0, by = $0)
  layers = ["a", "b"]
output "y" = "y"
"#;
    assert_eq!(print(&graph), expected);
}

#[test]
fn the_text_does_not_depend_on_how_the_graph_was_built() {
    let read = |pool: &mut super::super::weights::Pool| {
        [pool.read("w", Kind::Kernel, &[6, 10]), pool.read("b", Kind::Bias, &[6])]
    };
    let other = linear(|pool| {
        pool.read("unused", Kind::Bias, &[3]);
        let bias = pool.read("b", Kind::Bias, &[6]);
        [pool.read("w", Kind::Kernel, &[6, 10]), bias]
    });
    assert_eq!(print(&linear(read)), print(&other));
}

#[test]
fn mistakes_have_a_place() {
    let head = "graph \"G\"\n\"x\" = input(): f32[1, 4, 4, 4]\n";
    let cases = [
        (r#""y" = relu("z"): f32[1]"#, r#"3:12: no node is named "z""#),
        (r#""x" = relu("x"): f32[1, 4, 4, 4]"#, r#"3:1: two nodes are named "x""#),
        (r#""y" = rely("x"): f32[1]"#, "3:7: no operator is called `rely`"),
        (r#""y" = relu("x"): f32[1, 4, 4]"#, "3:18: the node is f32[1, 4, 4, 4], not f32[1, 4, 4]"),
        (r#""y" = relu("x", slope = 1.0): f32[1]"#, "3:25: `relu` does not take `slope`"),
        (r#""y" = clip("x", lo = 0): f32[1]"#, "3:7: `clip` needs `hi`"),
        (r#""y" = clip("x", lo = a, hi = 1): f32[1]"#, "3:22: `a` is not a number"),
        (r#""y" = softmax("x", axis = 9): f32[1]"#, "3:1: softmax along axis 9 of a tensor of shape [1, 4, 4, 4]"),
        (r#""y" = softmax("x", axis = -1): f32[1]"#, "3:27: `-1` is not a number that counts"),
        (r#""y" = concat("x", axis = 1, axis = 2): f32[1]"#, "3:36: `axis` is given twice"),
        (r#""y" = relu("x"): f16[1]"#, "3:18: `f16` where a type should stand"),
        (r#""y" = relu("x") f32[1]"#, "3:17: `f32` where `:` should stand"),
        (r#""y" = relu("x""#, "3:15: the end where `,` should stand"),
        (r#""y" = relu("x"#, "3:12: this string does not end"),
        (r#""\q" = relu("x")"#, "3:2: an unknown escape"),
        (r#""y" = conv("x", channels = 2, kernel = [1, 1, 1]): f32[1]"#, "3:40: a number or [rows, columns]"),
        (
            r#""y" = fused("x", conv(channels = 4, kernel = 1), linear(features = 3)): f32[1]"#,
            "3:50: a fused node has one core",
        ),
        (r#""y" = fused("x", add): f32[1]"#, "3:18: `add` takes 1 arguments without a name"),
        ("{", "3:1: '{' means nothing here"),
        ("output \"o\" = 3", "3:14: `3` where a node's name should stand"),
        ("$0 = $1", "3:6: `$1` is not defined before"),
        ("$0 = splat([1], 0)\n$0 = splat([1], 0)", "4:1: `$0` is defined twice"),
        ("$0 = splat([0], 0)", "3:6: a tensor of shape [0] is empty"),
        ("$0 = splat([65536, 65536], 0)", "3:6: a tensor of shape [65536, 65536] has more than 2^31 elements"),
        ("$0 = literal([2], [1.0])", "3:6: 1 literal values of shape [2]"),
        ("$0 = gather(bias(\"b\", [4]), axis = 0, index = [2..5])", "3:48: not an index of 4 elements"),
        ("$0 = gather(bias(\"b\", [4]), axis = 1, index = [0])", "3:48: not an index of 0 elements"),
        ("$0 = transpose(splat([1, 2], 0), perm = [1, 0])", "3:6: only a named tensor is transposed"),
        ("$0 = bins(\"b\", [4])", "3:6: no expression is called `bins`"),
        ("$0 = bias(\"b\")", "3:6: `bias` takes 2 arguments without a name"),
    ];
    for (line, expected) in cases {
        let error = parse(&format!("{head}{line}")).expect_err(line);
        assert_eq!(error.to_string(), expected, "{line}");
    }
    let conv = "\"y\" = conv(\"x\", channels = 2, kernel = 1): f32[1, 2, 4, 4]\n";
    let below = [
        ("", "3:1: conv reads 1 weights, not 0"),
        ("  bias = bias(\"b\", [2])", "4:3: `bias` where the operator has weight"),
        ("  weight = kernel(\"w\", [2, 4])", "3:1: conv needs a Kernel of shape [2, 4, 1, 1], not [2, 4]"),
        (
            "  weight = kernel(\"w\", [2, 4, 1, 1])\n  mean = bias(\"b\", [2])",
            "5:3: `mean` where the operator has no weight",
        ),
    ];
    for (lines, expected) in below {
        let error = parse(&format!("{head}{conv}{lines}")).expect_err(lines);
        assert_eq!(error.to_string(), expected, "{lines}");
    }
}

#[test]
fn changed_texts_never_panic() {
    let texts: Vec<String> = [every_op(), random(3), random(17), random(40)].iter().map(print).collect();
    let bits = ["\"", "(", ")", "[", "]", ",", "=", ":", "..", "$0", "_", "-1", "0", "18446744073709551615", "1e-5"];
    let r = &mut Random(1);
    for _ in 0..3000 {
        let mut text: Vec<char> = r.pick(&texts).chars().collect();
        for _ in 0..1 + r.below(3) {
            let (at, end) = (r.below(text.len()), r.below(text.len()));
            let range = at.min(end)..at.max(end).min(at.min(end) + 40);
            match r.below(4) {
                0 => text.truncate(at.max(1)),
                1 => drop(text.drain(range)),
                2 => {
                    let copy = text[range].to_vec();
                    text.splice(at..at, copy);
                }
                _ => drop(text.splice(range.start..range.start + 1, r.pick(&bits).chars())),
            }
            if text.is_empty() {
                text.push(' ');
            }
        }
        let text: String = text.into_iter().collect();
        match parse(&text) {
            Ok(graph) => drop(print(&graph)),
            Err(error) => assert!(error.line >= 1 && error.column >= 1),
        }
    }
}

/// Runs on a small stack, as an editor or a macro may.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(1 << 20).spawn(test).unwrap().join().unwrap();
}

#[test]
fn hostile_texts_are_refused() {
    on_a_small_stack(|| {
        let refused = |body: &str| parse(&format!("graph \"G\"\n{body}")).unwrap_err().to_string();
        for open in ["[", "f(", "add("] {
            let deep = format!("$0 = {}", open.repeat(100_000));
            assert!(refused(&deep).ends_with("brackets nest deeper than 64"));
        }
        let chain: Vec<String> =
            (1..100_000).map(|i| format!("${i} = add(${}, bias(\"b{i}\", [4]))\n", i - 1)).collect();
        let deep = refused(&format!("$0 = bias(\"b\", [4])\n{}", chain.concat()));
        assert!(deep.ends_with("a weight's expression is deeper than 256"), "{deep}");

        let doubled: Vec<String> = (1..40).map(|i| format!("${i} = concat(${0}, ${0}, axis = 0)\n", i - 1)).collect();
        let wide = refused(&format!("$0 = bias(\"b\", [1])\n{}", doubled.concat()));
        assert!(wide.ends_with("the weights unfold to more than 33554432 indices"), "{wide}");

        let sums: Vec<String> = (1..200).map(|i| format!("${i} = add(${0}, ${0})\n", i - 1)).collect();
        let gathers = "$a = gather($199, axis = 0, index = [0..1000000])\n";
        let gathered = refused(&format!("$0 = bias(\"b\", [2000000])\n{}{gathers}", sums.concat()));
        assert!(gathered.ends_with("the weights unfold to more than 33554432 indices"), "{gathered}");
        let few =
            format!("graph \"G\"\n$0 = bias(\"b\", [4])\n{}$a = gather($199, axis = 0, index = [1])", sums.concat());
        parse(&few).unwrap();
    });
}

#[test]
fn graphs_that_do_not_verify_are_printed_too() {
    let graph = Graph::new("Empty");
    assert_eq!(print(&graph), "graph \"Empty\"\n\n");
    assert_eq!(parse("graph \"Empty\" // nothing").unwrap().len(), 0);
}
