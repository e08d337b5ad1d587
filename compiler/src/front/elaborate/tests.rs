use std::collections::BTreeMap;

use super::*;
use crate::front::{parse_text, zoo};
use crate::graph::Activation;

/// Files by name.
struct Files(BTreeMap<&'static str, &'static str>);

impl Loader for Files {
    fn load(&self, from: &str, path: &str) -> Result<(String, String), String> {
        assert!(!from.is_empty());
        self.0.get(path).map(|text| (path.to_owned(), (*text).to_owned())).ok_or_else(|| "there is no such file".into())
    }
}

fn run(text: &str, set: &[&str], files: &[(&'static str, &'static str)]) -> Result<Graph, Error> {
    let spec = parse_text("model.net", text)?;
    let name = nets(&spec).first().copied().unwrap_or("Net").to_owned();
    let mut overrides = Overrides::default();
    for setting in set {
        overrides.set(setting)?;
    }
    elaborate(&spec, &name, &overrides, &Files(files.iter().copied().collect()))
}

fn graph(text: &str) -> Graph {
    run(text, &[], &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn from_zoo(name: &str) -> Graph {
    crate::front::load(&format!("zoo:{name}"), None, &[], &NoFiles).unwrap_or_else(|error| panic!("{error}"))
}

/// A net on a feature map with this body.
fn body(statements: &str) -> String {
    format!("pub net Net(x: [1, 8, 6, 6]) {{\n{statements}\n}}\n")
}

/// The shape that a body gives.
fn shape(statements: &str) -> Vec<usize> {
    let graph = graph(&body(statements));
    graph.node(graph.outputs()[0].node).ty.shape.clone()
}

fn mistakes(text: &str) -> String {
    run(text, &[], &[]).map_or_else(|error| error.to_string(), |_| "no mistake".to_owned())
}

/// Weight names of a graph, sorted.
fn weights(graph: &Graph) -> Vec<String> {
    let roots = graph.order().into_iter().flat_map(|id| graph.node(id).weights.clone()).collect::<Vec<_>>();
    let mut names: Vec<String> = graph.weights.sources(roots).into_iter().map(|source| source.name).collect();
    names.sort();
    names
}

#[test]
fn values_are_multiplied_as_matrices() {
    let rows = "let rows = x.reshape([1, 8, 36]);";
    assert_eq!(shape(&format!("{rows} rows.matmul(rows.transpose([0, 2, 1]))")), [1, 8, 8]);
    let said = mistakes(&body(&format!("{rows} rows.matmul(rows)")));
    assert!(said.contains("cannot multiply matrices of shape [1, 8, 36] and [1, 8, 36]"), "{said}");
    let said = mistakes(&body(&format!("{rows} rows.matmul(2.0)")));
    assert!(said.contains("`y` of matmul"), "{said}");
}

#[test]
fn functions_of_numbers_are_ops_of_tensors_where_there_is_one() {
    let activations = |text: &str| {
        let graph = graph(&body(text));
        let ops = graph.order().into_iter().map(|id| graph.node(id).op.clone());
        ops.filter(|op| matches!(op, Op::Activate(_))).collect::<Vec<_>>()
    };
    let expected = [Activation::Sqrt, Activation::Abs].map(Op::Activate);
    assert_eq!(activations("abs(x.sqrt())"), expected);
    assert_eq!(activations("x * (abs(-2) + sqrt(4.0))"), []);
}

#[test]
fn every_net_of_the_zoo_elaborates() {
    for (_, variant) in zoo::variants() {
        let graph = from_zoo(variant.name);
        assert_eq!(graph.name, variant.net);
        assert!(matches!(graph.node(graph.outputs()[0].node).ty.shape[..], [1, 10 | 1000 | 8631]), "{}", variant.name);
        let preprocessing = graph.preprocessing.as_ref().expect("it says how a photo becomes its input");
        assert_eq!(graph.node(graph.inputs()[0]).ty.shape[2], preprocessing.crop, "{}", variant.name);
    }
}

#[test]
fn the_nets_of_the_zoo_name_their_weights_as_their_sources_do() {
    let graph = from_zoo("mobilenet_v2");
    let names = weights(&graph);
    for name in [
        "features.0.0.weight",
        "features.1.conv.0.0.weight",
        "features.1.conv.1.weight",
        "features.1.conv.2.running_var",
        "features.17.conv.3.bias",
        "features.18.1.running_mean",
        "classifier.1.bias",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
}

#[test]
fn numbers_follow_rust() {
    for (expression, wanted) in [
        ("7 / 2", 3),
        ("-7 % 4 + 8", 5),
        ("int(7 * 0.5)", 3),
        ("round8(32 * 0.75)", 24),
        ("round8(16 * 0.35)", 8),
        ("round8(11)", 16),
        ("max(3, 5, 4) - min(1, 2)", 4),
        ("int(ceil(2.1) + floor(2.9) + round(2.5) + sqrt(16.0) + abs(-1))", 13),
        ("len([1, 2, 3]) + len(\"abcd\")", 7),
        ("if 1 < 2 && !(3.0 >= 4) || false { 1 } else { 2 }", 1),
        ("match 3 { 1 | 2 => 10, 3..=4 => 20, _ => 30 }", 20),
        ("match \"b\" { \"a\" => 1, \"b\" => 2, _ => 3 }", 2),
        ("match (1, 5) { (2, _) => 1, (_, n) if n > 5 => 2, (_, n) => n }", 5),
        ("{ let (a, [b, c]) = (1, [2, 3]); a + b * c }", 7),
        ("[(1, 2), (3, 4)][1].0 + [5, 6, 7][1..3][0]", 9),
        ("{ let mut s = 0; for i in 1..=4 { s += i; } for (i, v) in enumerate([2, 3]) { s += i * v } s }", 13),
        ("{ let mut s = 0; for (a, b) in zip([1, 2], [3, 4]) { s += a * b; } s }", 11),
        ("int(round(ln(100) + pow(2, 10)))", 1029),
        ("len([0; 5]) + x.channels() + x.height() + x.shape()[3]", 25),
    ] {
        assert_eq!(shape(&format!("x.conv({expression}, 1)")), [1, wanted, 6, 6], "{expression}");
    }
}

#[test]
fn ops_have_the_shapes_of_pytorch() {
    for (expression, wanted) in [
        ("x.conv(4, 3, stride = 2, padding = \"same\")", vec![1, 4, 3, 3]),
        ("x.conv(4, (3, 1), padding = (1, 0), groups = 4)", vec![1, 4, 6, 6]),
        ("x.conv(4, 3, padding = (0, 0, 1, 1), dilation = 2)", vec![1, 4, 3, 3]),
        (
            "x.bn().relu().relu6().silu().swish().tanh().sigmoid().hard_sigmoid().hard_swish().gelu().elu()",
            vec![1, 8, 6, 6],
        ),
        ("x.leaky_relu(0.1).clip(0, 1).dropout().identity().softmax()", vec![1, 8, 6, 6]),
        ("x.max_pool(3, stride = 2, ceil_mode = true)", vec![1, 8, 3, 3]),
        ("x.avg_pool(2)", vec![1, 8, 3, 3]),
        ("x.adaptive_avg_pool(3)", vec![1, 8, 3, 3]),
        ("x.adaptive_avg_pool((4, 6))", vec![1, 8, 4, 6]),
        ("x.global_avg_pool() + x.global_max_pool()", vec![1, 8, 1, 1]),
        ("x.flatten().linear(5)", vec![1, 5]),
        ("concat([x, x.slice(1, 0, 4)])", vec![1, 12, 6, 6]),
        ("x.gather(3, [5, 0, 0])", vec![1, 8, 6, 3]),
        ("x.split([3, 5]).1", vec![1, 5, 6, 6]),
        ("{ let (a, b) = x.split(2); (a - b) / 2 + a * b }", vec![1, 4, 6, 6]),
        ("x.channel_shuffle(2)", vec![1, 8, 6, 6]),
        ("x.depth_to_space(2)", vec![1, 2, 12, 12]),
        ("x.reshape([1, -1, 4])", vec![1, 72, 4]),
        ("x.transpose([0, 2, 3, 1])", vec![1, 6, 6, 8]),
        ("x.pad((1, 2))", vec![1, 8, 8, 10]),
        ("x.resize(12)", vec![1, 8, 12, 12]),
        ("x.exp().resize((3, 9), \"bilinear\", align_corners = true)", vec![1, 8, 3, 9]),
        ("x.mean(keep = false)", vec![1, 8]),
        ("x.normalize(127, [1, 2, 3, 4, 5, 6, 7, 8])", vec![1, 8, 6, 6]),
        ("-x * 2.0 + add(x, 1).sub(x).mul(x).div(3)", vec![1, 8, 6, 6]),
    ] {
        assert_eq!(shape(expression), wanted, "{expression}");
    }
}

#[test]
fn names_nest_and_unnamed_layers_are_counted() {
    let graph = graph(
        r#"fn block(x) { x.conv(8, 1, name = "c").bn() }
        pub net Net(x: [1, 8, 6, 6]) {
            let mut y = block(x, name = "a");
            for i in 0..2 { y = block(y, name = "b.{i}"); }
            y.conv(8, 1).conv(8, 1, bias = false).bn(scale = false, shift = false, name = "plain")
        }"#,
    );
    insta::assert_snapshot!(weights(&graph).join("\n"));
}

#[test]
fn keras_nests_names_with_underscores_and_counts_layers_by_kind() {
    let graph = graph(
        r#"weights(names = "keras");
        fn block(x) { x.conv(8, 1, name = "1_conv").bn(scale = false, name = "1_bn") }
        pub net Net(x: [1, 8, 6, 6]) {
            let y = block(x, name = "conv2_block1").conv(8, 3, bias = false).conv(8, 3, bias = false).bn();
            let y = y.conv(16, 2, groups = 8, name = "dw", bias = false).conv(4, 1, name = "sep", weight = "pointwise_kernel");
            y.flatten().linear(2)
        }"#,
    );
    insta::assert_snapshot!(weights(&graph).join("\n"));
    let source = graph.weights.sources(graph.order().into_iter().flat_map(|id| graph.node(id).weights.clone()));
    let depthwise = source.into_iter().find(|source| source.name == "dw/kernel").expect("a kernel");
    assert_eq!(depthwise.shape, [2, 8, 2, 2], "multiplier first");
}

#[test]
fn a_net_names_its_weights_as_it_says_wherever_it_stands() {
    let files = [(
        "inner.net",
        "weights(names = \"keras\");\npub net Inner(x: [1, 8, 6, 6]) { image(crop = 6); x.conv(8, 1) }",
    )];
    let text = "use \"inner.net\";\npub net Net(x: [1, 8, 6, 6]) { Inner(x).conv(8, 1, name = \"last\") }";
    let graph = run(text, &[], &files).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(weights(&graph), ["conv2d/bias", "conv2d/kernel", "last.bias", "last.weight"]);
    assert!(graph.preprocessing.is_none());
    assert!(
        mistakes("fn f(x) { weights(names = \"keras\"); x }\npub net Net(x: [1]) { f(x) }")
            .contains("belongs in a net")
    );
    assert!(
        mistakes("weights(names = \"jax\");\npub net Net(x: [1]) { x.relu() }").contains("\"pytorch\" or \"keras\"")
    );
}

#[test]
fn a_user_s_net_is_made_of_the_blocks_of_the_zoo() {
    let text = "use zoo::blocks;\nuse zoo::inception_v4;\npub net Net(x: [1, 384, 9, 9]) {
        let y = inception_v4::inception_a(x, name = \"a\");
        blocks::mbconv(y, 96, 24, 5, 2, \"silu\", 4, name = \"b\").flatten().linear(3, name = \"c\")
    }";
    let graph = run(text, &[], &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(graph.node(graph.outputs()[0].node).ty.shape, [1, 3]);
    assert!(weights(&graph).contains(&"b.2.fc1.weight".to_owned()));
    let text = "pub use zoo::efficientnet(variant = 3) as B3;";
    let graph = run(text, &["classes=7"], &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(graph.node(graph.inputs()[0]).ty.shape, [1, 3, 300, 300]);
    assert_eq!(graph.node(graph.outputs()[0].node).ty.shape, [1, 7]);
}

#[test]
fn a_net_may_return_a_tuple() {
    let graph = graph(&body("let low = x.relu();\n(low, x.tanh())"));
    let names: Vec<&str> = graph.outputs().iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["low", "output1"]);
}

#[test]
fn parameters_are_set_from_outside() {
    let text = "pub net Net(n = 2, image: [n, 3, 8, 8], classes = 10) { image.flatten().linear(classes) }";
    let graph = run(text, &["n=3", "classes = 7"], &[]).expect("sound");
    assert_eq!(graph.node(graph.outputs()[0].node).ty.shape, [3, 7]);
    let graph = run(text, &["image=[1, 3, 5, 4]"], &[]).expect("sound");
    assert_eq!(graph.node(graph.inputs()[0]).ty.shape, [1, 3, 5, 4]);
    insta::assert_snapshot!(run(text, &["clases=7"], &[]).expect_err("unknown").to_string());
}

#[test]
fn nets_are_made_from_others() {
    let text = "pub use zoo::mobilenet_v2(width = 0.5, classes = 10) as Half;";
    let graph = run(text, &["classes=7"], &[]).expect("sound");
    assert_eq!(graph.name, "Half");
    assert_eq!(graph.node(graph.outputs()[0].node).ty.shape, [1, 7]);
    insta::assert_snapshot!(mistakes("pub use zoo::mobilenet_v2(widht = 0.5) as Half;"));
    insta::assert_snapshot!(mistakes("pub use zoo::mobilnet_v2() as Half;"));
    insta::assert_snapshot!(mistakes("pub use B() as A;\npub use A() as B;"));
}

#[test]
fn files_use_files() {
    let files = [
        ("blocks.net", "use \"more.net\";\nfn twice(x) { once(once(x)) }\nfn other(x) { x }"),
        ("more.net", "use \"blocks.net\";\nfn once(x) { x.relu() }\nfn other(x) { x }"),
        ("wrong.net", "fn f(x) { x.conv( }"),
        ("shape.net", "fn f(x) {\n  x.linear(3)\n}"),
    ];
    let run = |text: &str| run(text, &[], &files).map_or_else(|e| e.to_string(), |g| format!("{} nodes", g.len()));
    assert_eq!(run(&format!("use \"blocks.net\";\n{}", body("blocks::twice(twice(x))"))), "5 nodes");
    insta::assert_snapshot!(run(&format!("use \"wrong.net\";\nuse \"none.net\";\n{}", body("f(x)"))));
    insta::assert_snapshot!(run(&format!("use \"shape.net\";\n{}", body("f(x, name = \"a\")"))));
    insta::assert_snapshot!(run(&format!("use \"blocks.net\";\nuse \"more.net\";\n{}", body("other(x)"))));
}

#[test]
fn shapes_that_do_not_fit_show_both_places() {
    insta::assert_snapshot!(mistakes(
        r#"fn inverted_residual(x, channels, stride) {
    let mut y = x.conv(16, 1, name = "0");
    y = y.conv(channels, 1, bias = false, name = "1").bn(name = "2");
    if stride == 1 { x + y } else { y }
}
pub net Net(image: [1, 24, 56, 56]) {
    inverted_residual(image, 32, 1, name = "features.3.conv")
}
"#
    ));
    insta::assert_snapshot!(mistakes(&body(
        "let a = x.conv(3, 3);\nlet b = a.linear(10);\nx.conv(8, 9) + x.conv(7, 1, groups = 3)"
    )));
    insta::assert_snapshot!(mistakes(&body("concat([x, x.max_pool(2)]).reshape([5, 5])")));
}

#[test]
fn mistakes_say_what_to_do() {
    for (i, text) in [
        "x.cnv(3, 3)",
        "x.conv(8)",
        "x.conv(8, 3, strid = 2)",
        "x.conv(8 * 0.5, 3)",
        "x.conv(8, 3, 1, 1, 1, 1, true, \"w\", 9)",
        "x.relu() + y",
        "x.bn();\nx",
        "let y = x;\ny = y.relu();\ny",
        "x.conv(9223372036854775807 + 1, 1 / 0)",
        "x.conv(4, 1, name = \"a\").conv(8, 1, name = \"b\").conv(8, 1, name = \"a\")",
        "let (a, b, c) = x.split(2);\na",
        "if x.channels() { x } else { x.tanh() }",
        "x.log_softmax()",
        "for i in 3 { }\nx",
        "(x, 3)",
        "x.conv(\"8\", 1, padding = \"sam\", name = 3)",
        "x.relu();",
        "match x.channels() { 1 => x, 2 => x }",
        "x.Conv2d(8, kernel_size = 3).batch_norm()",
        "x.conv(8, kernel_size = 3, in_channels = 8)",
        "cat([x, x], dim = 1).layer_norm()",
        "let y = torch.relu(x);\nlet z = self.conv1(y);\nnn::Linear(z, 10)",
        "for c in [8, 16].iter() { }\nx.clone().relu(1)",
        "let (a, b) = [x];\n[x][1]",
    ]
    .into_iter()
    .enumerate()
    {
        insta::assert_snapshot!(format!("mistake_{i:02}"), mistakes(&body(text)));
    }
}

#[test]
fn a_mistake_has_no_followers_and_is_said_once() {
    let text =
        body("let mut y = x;\nfor i in 0..3 {\n  y = y.cnv(3).relu() + x;\n  y = y.bnn();\n}\ny.linear(nothing)");
    assert_eq!(mistakes(&text).matches("error:").count(), 3, "{}", mistakes(&text));
}

#[test]
fn everything_is_bounded() {
    for text in [
        "fn f(x) { f(x) }\npub net Net(x: [1]) { f(x) }",
        "fn f(x) { f(x) + f(x) }\npub net Net(x: [1]) { f(x) }",
        "pub net Net(x: [1]) { for i in 0..9223372036854775807 { } x }",
        "pub net Net(x: [1]) { let mut a = [0]; for i in 0..100 { a = [a, a]; } x }",
        "pub net Net(x: [1]) { let mut a = \"ab\"; for i in 0..100 { a = \"{a}{a}\"; } x }",
        "pub net Net(x: [1]) { let mut a = [0]; let mut b = [0]; for i in 0..60 { a = [a, a]; b = [b, b]; } if a == b { x } else { x } }",
        "pub net Net(x: [1]) { let mut y = x; for i in 0..300000 { y = y.relu(); } y }",
        "pub net Net(x: [1]) { let a = [0; 99999999]; x }",
        "pub net Net(x: [99999, 99999, 99999, 99999]) { x }",
        "pub net Net(x: [1, 1, 1, 1]) { x.conv(2000000000, 30000, padding = 2000000000) }",
        "pub net Net(x: [1, 1, 1, 1]) { x.pad(2000000000) }",
        "pub net Net(x: [-1, 0]) { x }",
        "pub net Net(x: []) { x }",
    ] {
        let text = text.to_owned();
        let check = move || {
            run(&text, &[], &[]).expect_err(&text);
        };
        std::thread::Builder::new().stack_size(1 << 20).spawn(check).expect("a thread").join().expect("no overflow");
    }
}

#[test]
fn broken_specs_never_panic() {
    let text = zoo::find("inception_v3").expect("there").family.text;
    let tokens: Vec<&str> = text.split_inclusive(|c: char| !c.is_alphanumeric()).collect();
    let mut state = 7u64;
    let mut parsed = 0;
    for _ in 0..200 {
        let mut broken = tokens.clone();
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let (at, from) = ((state >> 33) as usize % broken.len(), (state >> 13) as usize % broken.len());
        match state >> 62 {
            0 => drop(broken.remove(at)),
            1 => broken.insert(at, broken[from]),
            _ => broken.swap(at, from),
        }
        if let Ok(spec) = parse_text("broken.net", &broken.concat()) {
            parsed += 1;
            let _ = elaborate(&spec, "InceptionV3", &Overrides::default(), &NoFiles);
        }
    }
    assert!(parsed > 20, "{parsed}");
}
