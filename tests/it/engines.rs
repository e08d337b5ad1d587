//! Engines side by side: the oracle on the graph, the kernel interpreter on the program of each target.

use kiln_compiler::graph::{Graph, interp, verify};
use kiln_compiler::kernel;
use kiln_compiler::lower::lower;
use kiln_compiler::plan;
use kiln_compiler::target::Target;
use kiln_rt::weights::{Evaluator, FillSource, Source};

use crate::random;

/// The largest difference, relative to the largest expected value.
pub(crate) fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f64, |m, v| m.max(f64::from(v.abs())));
    let worst = found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs())).fold(0f64, |m, d| {
        if d.is_nan() { f64::INFINITY } else { m.max(d) }
    });
    worst / largest.max(1e-30)
}

/// The inputs of a graph by the formula.
pub(crate) fn inputs(graph: &Graph) -> Vec<Vec<f32>> {
    graph.inputs().iter().map(|&id| kiln_rt::fill::fill_input(&graph.node(id).ty.shape)).collect()
}

/// Packs a program's weights from a source, buffer by buffer.
pub(crate) fn pack<'a>(
    program: &'a kernel::Program,
    source: &'a dyn Source,
) -> impl FnMut(&kernel::Buffer) -> Vec<f32> + use<'a> {
    let evaluator = Evaluator::new(&program.weights, source).expect("the source has all tensors");
    move |buffer| {
        let kernel::Place::Packed { weight, form } = buffer.place else { return Vec::new() };
        let mut packed = Vec::new();
        kiln_rt::weights::pack(&evaluator, weight, form, &mut |piece| packed.extend_from_slice(piece)).expect("it packs");
        packed
    }
}

#[test]
fn lowered_programs_answer_as_the_oracle_does_on_random_networks() {
    let gain = 3.0;
    for seed in 0..400 {
        let graph = random::network(seed, 1 + (seed % 9) as usize);
        let graph = verify::verify(graph).unwrap_or_else(|e| panic!("seed {seed}: {e:?}"));
        let inputs = inputs(&graph);
        let expected = interp::run(&graph, &interp::Fill { gain }, &inputs).expect("the oracle runs");
        for target in [Target::Avx512, Target::Avx2, Target::Base] {
            let program = lower(&graph, target).expect("everything lowers");
            plan::check(&program).unwrap_or_else(|lost| panic!("seed {seed}: {lost:?}"));
            let program = kernel::verify::verify(program).unwrap_or_else(|found| panic!("seed {seed}: {}", found[0]));
            let options = kernel::interp::Options { poison: true, ..Default::default() };
            let found = kernel::interp::run(&program, pack(&program, &FillSource { gain }), &inputs, options)
                .unwrap_or_else(|e| panic!("seed {seed} {target:?}: {e}"));
            for (found, expected) in found.iter().zip(&expected) {
                let error = error(found, expected);
                assert!(error <= 1e-5, "seed {seed} on {target:?}: error {error:e}");
            }
        }
    }
}
