//! Engines side by side: the oracle on the graph, the kernel interpreter on the program of each target.

use kiln_compiler::graph::{Activation, F32, Graph, Op, Origin, TensorType, Verified, interp, verify};
use kiln_compiler::kernel::{self, interp::Split};
use kiln_compiler::lower::lower;
use kiln_compiler::optimize::{Options, optimize};
use kiln_compiler::pipeline::{self, compile};
use kiln_compiler::plan;
use kiln_compiler::target::Target;
use kiln_rt::weights::{FillSource, Source};

use crate::crates::Built;
use crate::golden::elaborated;
use crate::random;

const LANES: &str = include_str!("nets/lanes.net");
const GROUPS: &str = include_str!("nets/groups.net");
const WINOGRAD: &str = include_str!("nets/winograd.net");
const WIDE: &str = include_str!("nets/wide.net");
const GATHER: &str = include_str!("nets/gather.net");
const ATTENTION: &str = include_str!("nets/attention.net");

/// The largest difference, relative to the largest expected value.
pub(crate) fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f64, |m, v| m.max(f64::from(v.abs())));
    let worst = found
        .iter()
        .zip(expected)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0f64, |m, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
    worst / largest.max(1e-30)
}

/// The inputs of a graph by the formula.
pub(crate) fn inputs(graph: &Graph) -> Vec<Vec<f32>> {
    graph.inputs().iter().map(|&id| kiln_rt::fill::fill_input(&graph.node(id).ty.shape)).collect()
}

/// Holds the programs of all targets against the oracle: the kernel interpreter with unwritten memory poisoned, in one
/// call a step and in shuffled pieces. Targets with FMA give the same bits.
fn check(name: &str, graph: &Verified<Graph>, expected: &[Vec<f32>], source: &dyn Source) {
    let inputs = inputs(graph);
    let mut with_fma: Option<Vec<Vec<u32>>> = None;
    for target in [Target::Avx512, Target::Avx2, Target::Base, Target::Neon] {
        let program = lower(graph, target).expect("everything lowers");
        plan::check(&program).unwrap_or_else(|lost| panic!("{name} on {target}: {lost:?}"));
        let program = kernel::verify::verify(program).unwrap_or_else(|found| panic!("{name} on {target}: {found:?}"));
        let program = kernel::verify::spare_barriers(program);
        let run = |split| {
            let options = kernel::interp::Options { poison: true, split };
            let outputs = kernel::interp::run_with(&program, source, &inputs, options);
            outputs.unwrap_or_else(|error| panic!("{name} on {target}: {error}"))
        };
        let bits = |outputs: &[Vec<f32>]| -> Vec<Vec<u32>> {
            outputs.iter().map(|output| output.iter().map(|v| v.to_bits()).collect()).collect()
        };
        let found = run(Split::Whole);
        for (found, expected) in found.iter().zip(expected) {
            let error = error(found, expected);
            assert!(error <= 1e-5, "{name} on {target}: error {error:e}");
        }
        for split in [Split::Shuffled(7), Split::Workers(3)] {
            assert!(bits(&run(split)) == bits(&found), "{name} on {target}: {split:?} shows");
        }
        if target.has_fma() {
            assert!(*with_fma.get_or_insert(bits(&found)) == bits(&found), "{name}: {target} gives other bits");
        }
    }
}

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
        Activation::Elu { alpha: f32(1.0) },
        Activation::Sigmoid,
        Activation::HardSigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::HardSwish,
        Activation::Gelu,
        Activation::Exp,
        Activation::Log,
        Activation::Sqrt,
        Activation::Erf,
        Activation::Softplus,
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
                let near = (found - expected).abs() <= 1e-6 * expected.abs().max(1.0);
                let same = found == expected || found.is_nan() && expected.is_nan();
                assert!(near || same, "{activation:?} of {x} on {target}: {found} for {expected}");
            }
        }
    }
}

#[test]
fn programs_answer_as_the_oracle_does_on_random_networks_before_and_after_the_rewrites() {
    let source = FillSource { gain: 3.0 };
    for seed in 0..120 {
        let graph = random::network(seed, 1 + (seed % 12) as usize);
        let graph = verify::verify(graph).unwrap_or_else(|found| panic!("seed {seed}: {found:?}"));
        let expected = interp::run_f32(&graph, &source, &inputs(&graph)).expect("the oracle runs");
        check(&format!("seed {seed}, as declared"), &graph, &expected, &source);
        let optimized = optimize(&graph, &Options::default()).graph;
        let optimized = verify::verify(optimized).unwrap_or_else(|found| panic!("seed {seed}, optimized: {found:?}"));
        check(&format!("seed {seed}, optimized"), &optimized, &expected, &source);
    }
}

/// Holds a network's programs and crate against the oracle, as declared and optimized. Returns the kernels' names.
fn check_network(name: &str, text: &str) -> Vec<String> {
    let source = FillSource { gain: 3.0 };
    let graph = elaborated(name, text, &[]);
    let verified = verify::verify(graph.clone()).unwrap_or_else(|found| panic!("{found:?}"));
    let inputs = inputs(&verified);
    let expected = interp::run_f32(&verified, &source, &inputs).expect("the oracle runs");
    check(&format!("{name}, as declared"), &verified, &expected, &source);
    let compiled = compile(graph, &pipeline::Options::default()).expect("it compiles");
    check(&format!("{name}, optimized"), &compiled.optimized, &expected, &source);
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
