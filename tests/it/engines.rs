//! Engines side by side: the oracle on the graph, the kernel interpreter on the program of each target.

use kiln_compiler::graph::{Activation, F32, Graph, Op, Origin, TensorType, interp, text, verify};
use kiln_compiler::kernel;
use kiln_compiler::lower::lower;
use kiln_compiler::pipeline::{self, compile};
use kiln_compiler::target::Target;
use kiln_rt::weights::FillSource;

use crate::crates::Built;
use crate::golden::elaborated;
use crate::oracle::{Nearness, Verdict, compare, compare_all_forms, error, inputs};
use crate::random;

const LANES: &str = include_str!("nets/lanes.net");
const GROUPS: &str = include_str!("nets/groups.net");
const WINOGRAD: &str = include_str!("nets/winograd.net");
const WIDE: &str = include_str!("nets/wide.net");
const GATHER: &str = include_str!("nets/gather.net");
const PROLOGUES: &str = include_str!("nets/prologues.graph");
const ATTENTION: &str = include_str!("nets/attention.net");

/// Values of all sizes, and what is none. Outputs are compared one by one, so that small ones count.
#[test]
fn activations_answer_as_the_oracle_does_everywhere() {
    let values: Vec<f32> = (-1200..=1200)
        .map(|i| i as f32 / 100.0)
        .chain([1e-30, -1e-30, 1e4, -1e4, 1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN])
        .collect();
    let f32 = F32::new;
    for activation in [
        Activation::Relu,
        Activation::RELU6,
        Activation::LeakyRelu { slope: f32(0.1) },
        Activation::Abs,
        Activation::Elu { alpha: f32(1.0) },
        Activation::Sigmoid,
        Activation::HardSigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::HardSwish,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Exp,
        Activation::Log,
        Activation::Sqrt,
        Activation::Erf,
        Activation::Softplus,
        Activation::Mish,
    ] {
        let mut graph = Graph::new("Activation");
        let input = Op::Input(TensorType::f32([1, values.len()]));
        let x = graph.add(input, &[], vec![], Origin::named("x")).expect("an input");
        let y = graph.add(Op::Activate(activation), &[x], vec![], Origin::named("y")).expect("an activation");
        graph.add_output("y", y);
        let graph = verify::verify(graph).expect("a sound graph");
        let (source, inputs) = (FillSource { gain: 1.0 }, [values.clone()]);
        let expected = interp::run_f32(&graph, &source, &inputs).expect("the oracle runs").remove(0);
        for target in Target::ALL {
            let program = kernel::verify::verify(lower(&graph, target).expect("it lowers")).expect("a sound program");
            let options = kernel::interp::Options::default();
            let found = kernel::interp::run_with(&program, &source, &inputs, options).expect("it runs").remove(0);
            for ((x, found), expected) in values.iter().zip(&found).zip(&expected) {
                let near = (found - expected).abs() <= 1e-6 * expected.abs().max(f32::MIN_POSITIVE);
                let same = found == expected || found.is_nan() && expected.is_nan();
                assert!(near || same, "{activation:?} of {x} on {target}: {found} for {expected}");
            }
        }
    }
}

/// As the program `random_nets` does for longer, see CONTRIBUTING.md.
#[test]
fn sizes_have_no_sign() {
    let mut graph = Graph::new("Size");
    let x = graph.add(Op::Input(TensorType::f32([1, 3])), &[], vec![], Origin::named("x")).expect("an input");
    let y = graph.add(Op::Activate(Activation::Abs), &[x], vec![], Origin::named("y")).expect("an activation");
    graph.add_output("y", y);
    let graph = verify::verify(graph).expect("a sound graph");
    let (source, inputs) = (FillSource { gain: 1.0 }, [vec![0.0, -0.0, f32::NEG_INFINITY]]);
    let bits = |found: Vec<Vec<f32>>| found[0].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let expected = [0.0, 0.0, f32::INFINITY].map(f32::to_bits);
    assert_eq!(bits(interp::run_f32(&graph, &source, &inputs).expect("the oracle runs")), expected);
    for target in Target::ALL {
        let program = kernel::verify::verify(lower(&graph, target).expect("it lowers")).expect("a sound program");
        let options = kernel::interp::Options::default();
        let found = kernel::interp::run_with(&program, &source, &inputs, options).expect("it runs");
        assert_eq!(bits(found), expected, "{target}");
    }
}

#[test]
fn programs_answer_as_the_oracle_does_on_random_networks_before_and_after_the_rewrites() {
    let (mut compared, mut largest) = (0, 0f64);
    for seed in 0..120 {
        let graph = random::network(seed, random::size(seed));
        let verdict = compare_all_forms(graph, &random::WEIGHTS).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        match verdict {
            Verdict::Near(error) => {
                compared += 1;
                largest = largest.max(error);
            }
            Verdict::IllConditioned(why) => println!("seed {seed} is ill-conditioned: {why}"),
        }
    }
    assert!(compared > 117, "only {compared} of 120 networks are well-conditioned");
    println!("{compared} networks, largest error {largest:.1e}");
}

/// Holds a network's programs and crate against the oracle, as declared and optimized. Returns the kernels' names.
fn check_network(name: &str, text: &str) -> Vec<String> {
    let source = FillSource { gain: 3.0 };
    let graph = elaborated(name, text, &[]);
    let verified = verify::verify(graph.clone()).unwrap_or_else(|found| panic!("{found:?}"));
    let inputs = inputs(&verified);
    let expected = interp::run_f32(&verified, &source, &inputs).expect("the oracle runs");
    compare(&verified, &expected, &source)
        .and_then(Nearness::within_rounding)
        .unwrap_or_else(|why| panic!("{name}, as declared, {why}"));
    let compiled = compile(graph, &pipeline::Options::default()).expect("it compiles");
    compare(&compiled.optimized, &expected, &source)
        .and_then(Nearness::within_rounding)
        .unwrap_or_else(|why| panic!("{name}, optimized, {why}"));
    let built = Built::new(name, &compiled, &source);
    let mut with_fma: Option<Vec<u32>> = None;
    for target in built.available_targets() {
        let found = built.run(&inputs, target, 2);
        let error = error(&found, &expected[0]);
        assert!(error <= 1e-5, "{name} on {target}: error {error:e}");
        let bits: Vec<u32> = found.iter().map(|v| v.to_bits()).collect();
        assert!(!target.has_fma() || *with_fma.get_or_insert(bits.clone()) == bits, "{target} gives other bits");
    }
    compiled.programs[0].kernels.iter().map(|kernel| kernel.name.clone()).collect()
}

#[test]
fn groups_of_every_size_answer_as_the_oracle_does() {
    let kernels = check_network("groups", GROUPS);
    for kind in ["grouped3x3_s1_32_2x13x17_g8", "grouped3x3_s1_d2x2_32", "grouped1x1_s1_32"] {
        assert!(kernels.iter().any(|name| name.starts_with(kind)), "{kind} is not among {kernels:?}");
    }
}

/// Stages before a core, which no rule makes but a printed graph may have: by channel, wherever the channels lie.
#[test]
fn stages_before_a_core_answer_as_the_oracle_does() {
    let graph = text::parse(PROLOGUES).expect("a graph");
    let compared = compare_all_forms(graph, &random::WEIGHTS).unwrap_or_else(|why| panic!("{why}"));
    assert!(matches!(compared, Verdict::Near(_)));
}

#[test]
fn values_are_made_in_the_lanes_that_later_nodes_ask_for() {
    let kernels = check_network("lanes", LANES);
    assert!(!kernels.iter().any(|name| name.starts_with("relayout") || name.starts_with("copy")), "{kernels:?}");
}

#[test]
fn products_of_values_answer_as_the_oracle_does() {
    let kernels = check_network("attention", ATTENTION);
    for name in ["matmul_3x11x19x53", "matmul_3x11x53x37", "softmax_33x53x1", "softmax_111x11x1", "softmax_3x11x37"] {
        assert!(kernels.iter().any(|kernel| kernel == name), "{name}: {kernels:?}");
    }
}

#[test]
fn gathered_elements_are_those_of_the_oracle() {
    let kernels = check_network("gather", GATHER);
    let gathers: Vec<&String> = kernels.iter().filter(|kernel| kernel.starts_with("gather")).collect();
    let expected = [
        "gather_3x24x9x7_axis2_5",
        "gather_3x24x5x7_axis3_8",
        "gather_3x24x5x8_axis0_2",
        "gather_5x33x19_axis1_7",
        "gather_5x7x19_axis2_4",
        "gather_5x7x19_axis0_3",
        "gather_3x20x9x7_axis1_3",
    ];
    // Channels of what lies in blocks are only in other places.
    assert_eq!(gathers.len(), expected.len(), "{gathers:?}");
    assert!(expected.iter().all(|name| gathers.iter().any(|kernel| kernel == name)), "{gathers:?}");
}

#[test]
fn convolutions_by_winograd_s_algorithm_answer_as_the_oracle_does() {
    let kernels = check_network("winograd", WINOGRAD);
    for kind in
        ["winograd_f4_35x35_2x31x22", "winograd_f4_35x33_2x33x20", "winograd_f2_33x48_2x16x9", "winograd_f2_48x40"]
    {
        assert!(kernels.iter().any(|name| name.starts_with(kind)), "{kind} is not among {kernels:?}");
    }
    let kernels = check_network("wide", WIDE);
    assert!(kernels.iter().any(|name| name == "winograd_f4_17x32_29x331_relu"), "{kernels:?}");
}
