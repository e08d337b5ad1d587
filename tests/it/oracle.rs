//! The oracle, which is the graph interpreter, and how engines are compared with it.

use std::collections::BTreeMap;

use kiln_compiler::graph::weights::Kind;
use kiln_compiler::graph::{Binary, Graph, NodeId, Op, Origin, Verified, interp, verify};
use kiln_compiler::kernel::{self, interp::Split};
use kiln_compiler::lower::lower;
use kiln_compiler::optimize::{Options, optimize, pipeline};
use kiln_compiler::plan;
use kiln_compiler::target::Target;
use kiln_rt::weights::Source;

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

/// The largest [`error`] that is put down to rounding: without FMA each product is rounded once more.
fn tolerance(target: Target) -> f64 {
    if target.has_fma() { 1e-5 } else { 2e-5 }
}

/// Compares the programs of all targets with the oracle: the kernel interpreter with unwritten memory poisoned, in one call
/// a step and in shuffled pieces. Targets with FMA must give the same bits. Returns the largest error.
///
/// # Errors
/// The first target that differs, and how.
pub(crate) fn compare(graph: &Verified<Graph>, expected: &[Vec<f32>], source: &dyn Source) -> Result<f64, String> {
    let inputs = inputs(graph);
    let bits = |outputs: &[Vec<f32>]| -> Vec<Vec<u32>> {
        outputs.iter().map(|output| output.iter().map(|v| v.to_bits()).collect()).collect()
    };
    let (mut with_fma, mut largest): (Option<Vec<Vec<u32>>>, f64) = (None, 0.0);
    for target in Target::ALL {
        let program = lower(graph, target).map_err(|unsupported| format!("{target}: {unsupported:?}"))?;
        plan::check(&program).map_err(|lost| format!("{target}: {lost:?}"))?;
        let program = kernel::verify::verify(program).map_err(|found| format!("{target}: {found:?}"))?;
        let program = kernel::verify::spare_barriers(program);
        let run = |split| {
            let options = kernel::interp::Options { poison: true, split };
            kernel::interp::run_with(&program, source, &inputs, options).map_err(|error| format!("{target}: {error}"))
        };
        let found = run(Split::Whole)?;
        for ((found, expected), output) in found.iter().zip(expected).zip(graph.outputs()) {
            let error = error(found, expected);
            if error > tolerance(target) {
                let name = &output.name;
                return Err(format!("{target}: `{name}` is off by {error:.2e} of its largest element"));
            }
            largest = largest.max(error);
        }
        for split in [Split::Shuffled(7), Split::Workers(3)] {
            if bits(&run(split)?) != bits(&found) {
                return Err(format!("{target}: {split:?} gives other bits"));
            }
        }
        if target.has_fma() && *with_fma.get_or_insert(bits(&found)) != bits(&found) {
            return Err(format!("{target} gives other bits than {}", Target::ALL[0]));
        }
    }
    Ok(largest)
}

/// Compares a network with the oracle as it was declared, as the e-graph rewrites it, and as the list of rules by hand
/// does. Returns the largest error; nothing of an ill-conditioned network, see [`is_well_conditioned`].
///
/// # Errors
/// The first form and target that differ, and how.
pub(crate) fn compare_all_forms(graph: Graph, source: &dyn Source) -> Result<Option<f64>, String> {
    let declared = verify::verify(graph).map_err(|found| format!("as declared: {found:?}"))?;
    let run = |graph: &Graph| interp::run_f32(graph, source, &inputs(graph)).map_err(|error| error.to_string());
    let expected = run(&declared)?;
    for round in 0..3 {
        if !is_well_conditioned(&expected, &run(&shaken(&declared, round))?) {
            return Ok(None);
        }
    }
    let mut largest: f64 = compare(&declared, &expected, source).map_err(|why| format!("as declared, {why}"))?;
    for (form, graph) in
        [("by the e-graph", optimize(&declared, &Options::default()).graph), ("by hand", pipeline(&declared).graph)]
    {
        let graph = verify::verify(graph).map_err(|found| format!("{form}: {found:?}"))?;
        largest = largest.max(compare(&graph, &expected, source).map_err(|why| format!("{form}, {why}"))?);
    }
    Ok(Some(largest))
}

/// Whether outputs move little when every value of a network moves by up to a millionth of itself. Where they do not, as
/// in the difference of two values that are nearly equal, another way to round gives other numbers, and neither is wrong.
fn is_well_conditioned(expected: &[Vec<f32>], shaken: &[Vec<f32>]) -> bool {
    let is_finite = expected.iter().flatten().all(|v| v.is_finite());
    is_finite && shaken.iter().zip(expected).all(|(shaken, expected)| error(shaken, expected) < 5e-6)
}

/// The network with every value times factors within a millionth of one; each round has factors of its own.
fn shaken(graph: &Graph, round: usize) -> Graph {
    let mut shaken = Graph::new(graph.name.clone());
    shaken.weights = graph.weights.clone();
    let mut copies: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    for id in graph.order() {
        let node = graph.node(id);
        let operands: Vec<NodeId> = graph.operands(id).iter().map(|operand| copies[operand]).collect();
        let copy = shaken.add(node.op.clone(), &operands, node.weights.clone(), node.origin.clone());
        let mut copy = copy.expect("what the verified graph has");
        if !operands.is_empty() {
            let (name, shape) = (format!("shake {round} {}", node.origin.name), &node.ty.shape);
            let tenths = shaken.weights.read(&name, Kind::Bias, shape);
            let (millionths, one) = (shaken.weights.times(tenths, 1e-5), shaken.weights.splat(shape, 1.0));
            let factors = shaken.weights.add(one, millionths);
            let factors = shaken.add(Op::Weight { shape: shape.clone() }, &[], vec![factors], Origin::named(name));
            let operands = [copy, factors.expect("a weight")];
            copy = shaken
                .add(Op::Binary(Binary::Mul), &operands, vec![], Origin::named("shaken"))
                .expect("two values of one shape");
        }
        copies.insert(id, copy);
    }
    for output in graph.outputs() {
        shaken.add_output(output.name.clone(), copies[&output.node]);
    }
    shaken
}
