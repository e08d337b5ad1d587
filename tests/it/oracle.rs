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

/// How near programs come to the oracle.
#[derive(Debug, Default)]
pub(crate) struct Nearness {
    /// The largest [`error`].
    largest: f64,
    /// The first output whose error is more than that of rounding.
    off: Option<String>,
}

impl Nearness {
    /// The largest error.
    ///
    /// # Errors
    /// The first output that is off.
    pub(crate) fn within_rounding(self) -> Result<f64, String> {
        self.off.map_or(Ok(self.largest), Err)
    }
}

/// Compares the programs of all targets with the oracle: the kernel interpreter with unwritten memory poisoned, in one call
/// a step and in shuffled pieces. Targets with FMA must give the same bits.
///
/// # Errors
/// The first target that has no program, or whose bits are others than they may be.
pub(crate) fn compare(graph: &Verified<Graph>, expected: &[Vec<f32>], source: &dyn Source) -> Result<Nearness, String> {
    let inputs = inputs(graph);
    let bits = |outputs: &[Vec<f32>]| -> Vec<Vec<u32>> {
        outputs.iter().map(|output| output.iter().map(|v| v.to_bits()).collect()).collect()
    };
    let (mut with_fma, mut near): (Option<Vec<Vec<u32>>>, Nearness) = (None, Nearness::default());
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
            near.largest = near.largest.max(error);
            if error > tolerance(target) && near.off.is_none() {
                let name = &output.name;
                near.off = Some(format!("{target}: `{name}` is off by {error:.2e} of its largest element"));
            }
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
    Ok(near)
}

/// The result of comparing all forms of a network.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The largest [`error`], which is that of rounding.
    Near(f64),
    /// An output is off, but the network amplifies rounding errors, so the comparison proves nothing. See
    /// [`is_well_conditioned`].
    IllConditioned(String),
}

/// Compares a network with the oracle as it was declared, as the e-graph rewrites it, and as the list of rules by hand
/// does.
///
/// # Errors
/// The first form and target that differ, and how.
pub(crate) fn compare_all_forms(graph: Graph, source: &dyn Source) -> Result<Verdict, String> {
    let declared = verify::verify(graph).map_err(|found| format!("as declared: {found:?}"))?;
    let run = |graph: &Graph| interp::run_f32(graph, source, &inputs(graph)).map_err(|error| error.to_string());
    let expected = run(&declared)?;
    let rewritten =
        [("by the e-graph", optimize(&declared, &Options::default()).graph), ("by hand", pipeline(&declared).graph)];
    let mut near: Nearness = compare(&declared, &expected, source).map_err(|why| format!("as declared, {why}"))?;
    near.off = near.off.map(|why| format!("as declared, {why}"));
    for (form, graph) in rewritten {
        let graph = verify::verify(graph).map_err(|found| format!("{form}: {found:?}"))?;
        let of_form = compare(&graph, &expected, source).map_err(|why| format!("{form}, {why}"))?;
        near.largest = near.largest.max(of_form.largest);
        near.off = near.off.or(of_form.off.map(|why| format!("{form}, {why}")));
    }
    let why = match near.within_rounding() {
        Ok(largest) => return Ok(Verdict::Near(largest)),
        Err(why) => why,
    };
    for round in 0..3 {
        if !is_well_conditioned(&expected, &run(&shaken(&declared, round))?) {
            return Ok(Verdict::IllConditioned(why));
        }
    }
    Err(why)
}

/// Whether outputs move by no more than the tolerance when every value of a network moves by up to a millionth of itself.
/// Where they do, as in the difference of two values that are nearly equal, another way to round gives other numbers, and
/// neither is wrong.
fn is_well_conditioned(expected: &[Vec<f32>], shaken: &[Vec<f32>]) -> bool {
    let is_finite = expected.iter().flatten().all(|v| v.is_finite());
    is_finite && shaken.iter().zip(expected).all(|(shaken, expected)| error(shaken, expected) <= 1e-5)
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
