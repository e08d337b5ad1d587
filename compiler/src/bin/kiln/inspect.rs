//! `kiln inspect`: layers, shapes, parameters, multiply-adds, memory.

use std::fmt::Write;

use kiln_compiler::back::rust::kernel_text;
use kiln_compiler::diag::counted;
use kiln_compiler::graph::{Graph, Op, count, infer};
use kiln_compiler::kernel::{Program, Waits, stats};
use kiln_compiler::pipeline::{Compiled, Options, compile};
use kiln_compiler::target::Target;
use serde_json::{Value, json};

use crate::dump::{print, print_json};
use crate::report::Failure;
use crate::spec::Spec;
use crate::tree::{self, Layer, Row};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Spec,
    /// For which instruction set: avx512, avx2, base, neon or portable
    #[arg(long, default_value = "avx2")]
    target: Target,
    /// Fold layers: show so many levels of the tree that their names make, each with its sums
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    depth: Option<u8>,
    /// Count kernels by kind, relayouts and bytes moved
    #[arg(long)]
    stats: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows what a network is made of.
pub(crate) fn inspect(args: &Args) -> Result<(), Failure> {
    let options = Options { targets: vec![args.target], ..Options::default() };
    let compiled = compile(args.spec.load()?, &options)?;
    if args.json { print_json(&object(&compiled, args)) } else { print(&table(&compiled, args)) }
}

/// What a layer table shows of a network: literals are no layers.
fn rows_of(graph: &Graph, depth: Option<u8>) -> Vec<Row> {
    let layers =
        graph.order().into_iter().filter(|&id| !matches!(graph.node(id).op, Op::Constant(_) | Op::Weight { .. }));
    let layers: Vec<Layer> = layers
        .map(|id| {
            let node = graph.node(id);
            let (parameters, macs) = (count::node_parameters(graph, id) as u64, count::macs(graph, id));
            let op = infer::name(&node.op);
            Layer { name: node.origin.name.clone(), op, shape: node.ty.shape.clone(), parameters, macs }
        })
        .collect();
    match depth {
        Some(depth) => tree::fold(&layers, depth.into()),
        None => layers.iter().map(Row::of).collect(),
    }
}

/// Bytes of a program.
pub(crate) struct Memory {
    pub(crate) weights: usize,
    pub(crate) arena: usize,
    pub(crate) lower_bound: usize,
    pub(crate) logical_lower_bound: usize,
    pub(crate) scratch: usize,
    /// Of Rust.
    pub(crate) code: usize,
}

impl Memory {
    pub(crate) fn of(program: &kiln_compiler::graph::Verified<Program>) -> Self {
        Memory {
            weights: stats::stats(program).weight_bytes,
            arena: 4 * program.arena,
            lower_bound: 4 * program.arena_lower_bound,
            logical_lower_bound: 4 * program.logical_lower_bound,
            scratch: 4 * program.scratch,
            code: program.kernels.iter().filter_map(|kernel| Some(kernel_text(program, kernel).ok()?.len())).sum(),
        }
    }
}

fn object(compiled: &Compiled, args: &Args) -> Value {
    let (graph, program) = (&compiled.source, &compiled.programs[0]);
    let rows: Vec<Value> = rows_of(graph, args.depth).iter().map(|row| row.object(args.depth.is_some())).collect();
    let memory = Memory::of(program);
    let mut object = json!({
        "net": graph.name,
        "target": args.target.name(),
        "inputs": graph.inputs().iter().map(|&id| json!({
            "name": graph.node(id).origin.name, "shape": graph.node(id).ty.shape,
        })).collect::<Vec<_>>(),
        "outputs": graph.outputs().iter().map(|output| json!({
            "name": output.name, "shape": graph.node(output.node).ty.shape,
        })).collect::<Vec<_>>(),
        "parameters": count::parameters(graph),
        "macs": graph.order().into_iter().map(|id| count::macs(graph, id)).sum::<u64>(),
        "weight_bytes": memory.weights,
        "arena_bytes": memory.arena,
        "arena_lower_bound_bytes": memory.lower_bound,
        "arena_logical_lower_bound_bytes": memory.logical_lower_bound,
        "scratch_bytes": memory.scratch,
        "code_bytes": memory.code,
        "steps": program.steps.len(),
        "kernels": program.kernels.len(),
        "barriers": barriers(program),
        "layers": rows,
    });
    if args.stats
        && let Some(object) = object.as_object_mut()
    {
        let stats = stats::stats(program);
        object.insert(
            "stats".to_owned(),
            json!({
                "steps": stats.steps,
                "kernels": stats.kernels,
                "relayouts": stats.relayouts,
                "relayout_bytes": stats.relayout_bytes,
                "bytes_moved": stats.bytes_moved,
                "flops": stats.flops,
            }),
        );
    }
    object
}

/// How often all workers wait for each other in a run, before its end.
fn barriers(program: &Program) -> usize {
    program.steps.iter().skip(1).filter(|step| step.waits == Waits::Barrier).count()
}

fn table(compiled: &Compiled, args: &Args) -> String {
    let (graph, program) = (&compiled.source, &compiled.programs[0]);
    let mut rows = vec![["layer", "op", "shape", "parameters", "multiply-adds"].map(str::to_owned)];
    for row in rows_of(graph, args.depth) {
        let number = |n: u64| if n == 0 { String::new() } else { grouped(n) };
        rows.push([
            format!("{}{}", "  ".repeat(row.level), row.label),
            row.op.map_or_else(|| format!("{} layers", row.layers), str::to_owned),
            row.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×"),
            number(row.parameters),
            number(row.macs),
        ]);
    }
    let macs: u64 = graph.order().into_iter().map(|id| count::macs(graph, id)).sum();
    let mut text = aligned(&rows, &[3, 4]);
    let memory = Memory::of(program);
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<24}{value}");
    };
    line("", String::new());
    line("network", graph.name.clone());
    line("parameters", grouped(count::parameters(graph) as u64));
    line("multiply-adds", grouped(macs));
    line("target", args.target.name().to_owned());
    line("steps, kernels", format!("{}, {}", program.steps.len(), program.kernels.len()));
    line("barriers", barriers(program).to_string());
    line("code", format!("{} bytes of Rust", grouped(memory.code as u64)));
    line("weights", format!("{} bytes", grouped(memory.weights as u64)));
    let ratio = memory.arena as f64 / memory.lower_bound.max(1) as f64;
    line("arena", format!("{} bytes, {ratio:.3} of the lower bound", grouped(memory.arena as u64)));
    line("lower bound", format!("{} bytes in blocks of 16 channels", grouped(memory.lower_bound as u64)));
    line("", format!("{} bytes in logical channels", grouped(memory.logical_lower_bound as u64)));
    line("scratch", format!("{} bytes a worker", grouped(memory.scratch as u64)));
    if args.stats {
        let stats = stats::stats(program);
        line("", String::new());
        for (kind, steps) in &stats.steps {
            line(
                kind,
                format!(
                    "{}, {}",
                    counted(*steps, "step"),
                    counted(stats.kernels.get(kind).copied().unwrap_or(0), "kernel")
                ),
            );
        }
        line("relayouts", format!("{}, {} bytes", stats.relayouts, grouped(stats.relayout_bytes as u64)));
        line("bytes moved", grouped(stats.bytes_moved as u64));
        line("operations", grouped(stats.flops));
    }
    text
}

/// Columns padded to their widest entry, those named in `right` to the right; columns without any entry are left out.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]], right: &[usize]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate().filter(|&(column, _)| widths[column] > 0) {
            let width = widths[column];
            let _ = if right.contains(&column) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A number with its digits in groups of three: `3,504,872`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([0, 999, 1000, 3504872].map(grouped), ["0", "999", "1,000", "3,504,872"]);
    }
}
