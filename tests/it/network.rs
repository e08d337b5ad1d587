//! Networks declared in a program, from tokens and from a file, against the oracle.

use kiln::{LoadOptions, Target, Threads, network};
use kiln_compiler::front::{NoFiles, Overrides, elaborate, parse_text};
use kiln_compiler::graph::weights::Source;
use kiln_compiler::graph::{Graph, interp, text};
use kiln_compiler::pipeline::{Compiled, Options, compile};
use kiln_rt::fill::{fill, fill_input};
use kiln_rt::safetensors::{Dtype, SafeTensors, View, write};

use crate::allocations;
use crate::golden::zoo;
use crate::oracle::error;

const GAIN: f64 = 3.0;

/// Declares a network, and keeps its text.
macro_rules! declare {
    ($text:ident: $($network:tt)*) => {
        network! { $($network)* }
        const $text: &str = stringify!($($network)*);
    };
}

declare! { SMALL:
    /// The same as in the file, in other lines.
    fn conv_bn(x, channels, kernel, stride = 1, groups = 1) {
        let x = x.conv(channels, kernel, stride, padding = kernel / 2, groups = groups, bias = false, name = "conv");
        x.bn(name = "bn")
    }
    pub net Small(image: [1, 3, 19, 17], classes = 7) {
        let x = hard_swish(conv_bn(image, 24, 3, stride = 2, name = "stem"));
        let mut y = x;
        for (name, groups) in [("depthwise", 24), ("project", 1)] {
            y = conv_bn(y, 24, if groups == 1 { 1 } else { 3 }, groups = groups, name = name);
            if groups != 1 { y = y.relu6(); }
        }
        let x = add(x, y).conv(12 * 3, 3, padding = 1, groups = 3, name = "grouped").relu();
        let gate = x.global_avg_pool().conv(x.channels(), 1, name = "gate").hard_sigmoid();
        mul(x, gate).global_avg_pool().flatten().linear(classes, name = "fc").softmax()
    }
}

network! {
    use "nets/small.net";

    pub use small::Small() as FromFile;
}

declare! { PAIR:
    /// Two inputs, two outputs.
    pub net Pair(left: [1, 5, 6, 7], right: [1, 5, 6, 7]) {
        let sum = (left + right).conv(20, 3, name = "a").tanh();
        let high = concat([sum, sum.max_pool(2, stride = 1, padding = (0, 0, 1, 1))]).conv(3, 1, name = "b");
        (sum, high)
    }
}

network! {
    /// Nothing of it is trained.
    pub net Weightless(x: [1, 3, 4, 4]) { x.relu() }
}

/// Types may be called as any of the standard library's, and two may differ by case alone.
mod named_as_others {
    kiln::network! {
        pub net Result(vec: [1, 3, 4, 4], some: [1, 3, 4, 4]) {
            let none = vec + some.conv(3, 1, name = "layout");
            let err = none.conv(3, 1, name = "packed").relu();
            (none, err)
        }
        pub net Option(string: [1, 4]) { string.relu() }
        pub net Vec(u8: [1, 4]) { u8.relu() }
        pub net Some(self_: [1, 4]) { self_.relu() }
        pub net Err(into: [1, 4]) { into.relu() }
        pub net ERr(core: [1, 4]) { core.relu() }
        pub net Into(session: [1, 4]) { session.relu() }
        pub net Threads(threads: [1, 4]) { threads.relu() }
    }
}

const FILE: &str = include_str!("nets/small.net");

fn graph(text: &str, net: &str) -> Graph {
    let spec = parse_text("test.net", text).unwrap_or_else(|error| panic!("{error}"));
    elaborate(&spec, net, &Overrides::default(), &NoFiles).unwrap_or_else(|error| panic!("{error}"))
}

/// A safetensors file with all that a graph reads, by the formula.
fn weights(graph: &Graph) -> Vec<u8> {
    let read = graph.order().into_iter().flat_map(|id| graph.node(id).weights.clone());
    let tensors: Vec<(Source, Vec<u8>)> = graph
        .weights
        .sources(read)
        .into_iter()
        .map(|source| {
            let values = fill(&source.name, source.kind, &source.shape, GAIN);
            (source, values.into_iter().flat_map(f32::to_le_bytes).collect())
        })
        .collect();
    write(
        tensors
            .iter()
            .map(|(source, bytes)| (source.name.as_str(), View { dtype: Dtype::F32, shape: &source.shape, bytes })),
    )
}

fn oracle(graph: &Graph, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    interp::run_f32(graph, &interp::Fill { gain: GAIN }, inputs).expect("the oracle runs")
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn targets() -> impl Iterator<Item = Target> {
    Target::ALL.into_iter().filter(|&target| target.is_available() && target != Target::Portable)
}

#[test]
fn a_network_answers_as_the_oracle_does_on_every_target() {
    let graph = graph(SMALL, "Small");
    let image = fill_input(&[1, 3, 19, 17]);
    let expected = oracle(&graph, std::slice::from_ref(&image)).remove(0);
    let weights = weights(&graph);
    for target in targets() {
        let model = Small::load_for(&weights, target).expect("it loads");
        assert_eq!(model.target(), target);
        let mut session = model.session(Threads::new(1));
        let found = session.run(&image).expect("it runs");
        assert!(error(found, &expected) <= 1e-5, "{target}: {found:?} for {expected:?}");
    }
}

#[test]
fn tokens_and_file_make_the_same_network() {
    let stages = |graph| {
        let Compiled { optimized, programs, .. } = compile(graph, &Options::default()).expect("it compiles");
        (text::print(&optimized), programs.iter().map(|program| format!("{:?}", **program)).collect::<Vec<_>>())
    };
    let from_tokens = graph(SMALL, "Small");
    let printed = text::parse(&text::print(&from_tokens)).expect("what is printed parses");
    let from_tokens = stages(from_tokens);
    assert_eq!(from_tokens, stages(graph(FILE, "Small")));
    assert_eq!(from_tokens, stages(printed));

    let weights = weights(&graph(FILE, "Small"));
    let image = fill_input(&[1, 3, 19, 17]);
    let (small, from_file) = (Small::load(&weights).expect("it loads"), FromFile::load(&weights).expect("it loads"));
    let (mut small, mut from_file) = (small.session(Threads::new(1)), from_file.session(Threads::new(1)));
    assert_eq!(bits(small.run(&image).expect("it runs")), bits(from_file.run(&image).expect("it runs")));
}

declare! { BLOCKS:
    use zoo::blocks;
    use zoo::inception_v4;
    pub net FromBlocks(image: [1, 3, 23, 21]) {
        let x = conv_bn(image, 12, 3, stride = 2, name = "stem").relu();
        let x = mbconv(x, 36, 20, 5, 1, "silu", 4, "silu", name = "expand");
        let x = bottleneck(x, 16, 32, stride = 2, groups = 4, squeeze = 8, name = "residual");
        inception_v4::inception_a(x, name = "mixed").global_avg_pool().flatten().linear(5, name = "fc")
    }
}

network! { pub use zoo::shufflenet_v2(channels = [16, 32, 48], last = 40, image = [1, 3, 45, 39], classes = 6) as Narrow; }

#[test]
fn networks_made_of_the_zoo_answer_as_the_oracle_does() {
    let set = ["channels=[16, 32, 48]", "last=40", "image=[1, 3, 45, 39]", "classes=6"];
    for (graph, narrow) in [(graph(BLOCKS, "FromBlocks"), false), (zoo("shufflenet_v2", &set), true)] {
        let image = fill_input(&graph.node(graph.inputs()[0]).ty.shape);
        let expected = oracle(&graph, std::slice::from_ref(&image)).remove(0);
        let weights = weights(&graph);
        for target in targets() {
            let found = if narrow {
                let mut session = Narrow::load_for(&weights, target).expect("it loads").session(Threads::new(1));
                session.run(&image).expect("it runs").to_vec()
            } else {
                let mut session = FromBlocks::load_for(&weights, target).expect("it loads").session(Threads::new(1));
                session.run(&image).expect("it runs").to_vec()
            };
            assert!(error(&found, &expected) <= 1e-5, "{target}, narrow: {narrow}");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let weights = weights(&graph(SMALL, "Small"));
    let image = fill_input(&[1, 3, 19, 17]);
    for target in targets() {
        let model = Small::load_for(&weights, target).expect("it loads");
        let mut one = model.session(Threads::new(1));
        let expected = bits(one.run(&image).expect("it runs"));
        for threads in [2, 3, 5] {
            let mut session = model.session(Threads::exactly(threads));
            for _ in 0..3 {
                assert_eq!(bits(session.run(&image).expect("it runs")), expected, "{target}, {threads} threads");
            }
        }
    }
}

#[test]
fn inputs_and_outputs_go_by_name_or_by_array() {
    let graph = graph(PAIR, "Pair");
    assert_eq!(Pair::INPUTS.iter().map(|input| input.name).collect::<Vec<_>>(), ["left", "right"]);
    assert_eq!(Pair::OUTPUTS.iter().map(ToString::to_string).collect::<Vec<_>>(), ["sum [1x20x4x5]", "high [1x3x4x5]"]);
    let left = fill_input(&[1, 5, 6, 7]);
    let right: Vec<f32> = left.iter().rev().copied().collect();
    let expected = oracle(&graph, &[left.clone(), right.clone()]);

    let mut session = Pair::load(&weights(&graph)).expect("it loads").session(Threads::new(2));
    session.run_named(&[("right", &right), ("left", &left)]).expect("it runs");
    for (output, expected) in Pair::OUTPUTS.iter().zip(&expected) {
        let found = session.output(output.name).expect("an output of the network");
        assert!(error(found, expected) <= 1e-5, "{output}");
    }
    let (mut sum, mut high) = ([0.0; 20 * 4 * 5], [0.0; 3 * 4 * 5]);
    let (left, right) = (left.first_chunk().expect("as long"), right.first_chunk().expect("as long"));
    session.run_array(left, right, &mut sum, &mut high);
    assert_eq!(bits(&sum), bits(session.output("sum").expect("an output")));
    assert_eq!(bits(&high), bits(session.output("high").expect("an output")));

    let message = session.run_named(&[("lft", left)]).expect_err("no such input").to_string();
    assert_eq!(message, "the network has no input `lft`; its inputs are left [1x5x6x7], right [1x5x6x7]");
}

#[test]
fn networks_are_called_as_one_likes() {
    let nothing = write(std::iter::empty::<(&str, View<'_>)>());
    macro_rules! relu {
        ($($net:ident)*) => {$(
            let mut found = [f32::NAN; 4];
            let model = named_as_others::$net::load(&nothing).expect("it loads");
            model.session(Threads::new(1)).run_array(&[-1.0, 2.0, -3.0, 4.0], &mut found);
            assert_eq!(found, [0.0, 2.0, 0.0, 4.0], stringify!($net));
        )*};
    }
    relu!(Option Vec Some Err ERr Into Threads);
    let names: Vec<&str> = named_as_others::Result::OUTPUTS.iter().map(|output| output.name).collect();
    assert_eq!(names, ["none", "err"]);
}

#[test]
fn a_network_may_have_no_weights() {
    let nothing = write(std::iter::empty::<(&str, View<'_>)>());
    let mut session = Weightless::load(&nothing).expect("it needs nothing").session(Threads::new(1));
    let x: Vec<f32> = (0..48).map(|i| i as f32 - 24.0).collect();
    let expected: Vec<f32> = x.iter().map(|v| v.max(0.0)).collect();
    assert_eq!(session.run(&x).expect("it runs"), expected);
}

#[test]
fn nan_goes_through() {
    let weights = weights(&graph(SMALL, "Small"));
    for target in targets() {
        let mut image = fill_input(&[1, 3, 19, 17]);
        image[100] = f32::NAN;
        let mut session = Small::load_for(&weights, target).expect("it loads").session(Threads::new(1));
        let found = session.run(&image).expect("it runs");
        assert!(found.iter().all(|value| value.is_nan()), "{target}: {found:?}");
        image[100] = 0.0;
        let found = session.run(&image).expect("it runs");
        assert!(found.iter().all(|value| value.is_finite()), "{target}: nothing stays behind, but {found:?}");
    }
}

#[test]
fn mistakes_of_a_caller_are_errors() {
    let weights = weights(&graph(SMALL, "Small"));
    let mut session = Small::load(&weights).expect("it loads").session(Threads::new(1));
    let message = session.run(&[0.0; 968]).expect_err("one element is missing").to_string();
    assert_eq!(message, "`image` has shape [1x3x19x17], 969 elements, but 968 were given");
    let message = Pair::load(&weights).expect_err("weights of another network").to_string();
    assert!(message.contains("the weights have no tensor `a.weight`"), "{message}");
    assert!(Small::load(&weights[..weights.len() - 1]).is_err());
    assert!(Small::load_for(&weights, Target::Portable).is_err() == (targets().count() > 0));
}

#[test]
fn prefixes_of_names_are_taken_off() {
    let graph = graph(SMALL, "Small");
    let whole = weights(&graph);
    let file = SafeTensors::parse(&whole).expect("safetensors");
    let prefixed: Vec<(String, View<'_>)> =
        file.names().map(|name| (format!("module.net.{name}"), file.tensor(name).expect("a tensor"))).collect();
    let prefixed = write(prefixed.iter().map(|(name, view)| (name.as_str(), *view)));
    let image = fill_input(&[1, 3, 19, 17]);
    let answer = |model: Small| model.session(Threads::new(1)).run(&image).expect("it runs").to_vec();
    let expected = answer(Small::load(&whole).expect("it loads"));
    for prefixes in [&["module.net."][..], &["module.", "net."], &["x.", "module.net."]] {
        let options = prefixes.iter().fold(LoadOptions::new(), |options, prefix| options.strip_prefix(*prefix));
        assert_eq!(answer(Small::load_with(&prefixed, &options).expect("it loads")), expected, "{prefixes:?}");
    }
    let none = LoadOptions::new().strip_prefix("x.");
    assert_eq!(answer(Small::load_with(&whole, &none).expect("it loads")), expected);

    let message = Small::load(&prefixed).expect_err("other names").to_string();
    let help = "\nall names would match with `.strip_prefix(\"module.net.\")`";
    assert!(message.contains("the weights have no tensor") && message.ends_with(help), "{message}");
    let (one, other) = ("a.x", "x");
    let view = View { dtype: Dtype::U8, shape: &[1], bytes: &[0] };
    let twice = write([(one, view), (other, view)]);
    let message = Small::load_with(&twice, &LoadOptions::new().strip_prefix("a.")).expect_err("twice").to_string();
    assert_eq!(message, "tensors `a.x` and `x` are both `x` without their prefixes");
}

#[test]
fn models_sessions_and_errors_are_shown_in_few_words() {
    let weights = weights(&graph(SMALL, "Small"));
    let model = Small::load(&weights).expect("it loads");
    let shown = format!("{model:?} {:?}", model.session(Threads::new(2)));
    let target = format!("{:?}", model.target());
    assert_eq!(
        shown,
        format!(
            "Small(Model {{ network: \"Small\", target: {target}, .. }}) \
             SmallSession(Session {{ network: \"Small\", target: {target}, threads: 2, .. }})"
        )
    );
    // What `main` prints where it returns an error.
    let error = Pair::load(&weights).expect_err("weights of another network");
    assert_eq!(format!("{error:?}"), error.to_string());
    let error = Small::load(b"<html></html>").expect_err("no weights");
    assert!(format!("{error:?}").starts_with("not a safetensors file, but an HTML page; "), "{error:?}");
}

#[test]
fn a_run_allocates_nothing() {
    let model = Small::load(&weights(&graph(SMALL, "Small"))).expect("it loads");
    let image = fill_input(&[1, 3, 19, 17]);
    let mut session = model.session(Threads::new(1));
    let before = allocations::of_this_thread();
    for _ in 0..10 {
        session.run(&image).expect("it runs");
    }
    assert_eq!(allocations::of_this_thread(), before);

    // Other tests allocate meanwhile; that workers do not is seen in a run in which nobody did.
    let mut session = model.session(Threads::exactly(2));
    let mut counts = (0..10_000).map(|_| {
        let before = (allocations::of_this_thread(), allocations::of_all_threads());
        session.run(&image).expect("it runs");
        assert_eq!(allocations::of_this_thread(), before.0);
        allocations::of_all_threads() - before.1
    });
    assert!(counts.any(|count| count == 0));
}
