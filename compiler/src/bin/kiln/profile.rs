//! `kiln profile`: where a network's time goes, and what keeps each layer from the machine's peak; as a table, and as a
//! roofline.

use std::fmt::Write;
use std::path::PathBuf;

use kiln_rt::peak::read_bandwidth;

use serde_json::{Value, json};

use crate::bench::{LayerShape, Measured, StepTime, Subject, measure};
use crate::dump::{print, print_json};
use crate::file::NewFile;
use crate::inspect::aligned;
use crate::report::{Context, Failure};
use crate::roofline::roofline;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Draw the roofline to this SVG file
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Layers that reach less of the peak than this are explained.
const FAST_ENOUGH: f64 = 0.6;

/// Sizes whose reading speed stands for a level of memory, with the name of the level.
const LEVELS: [(&str, usize); 3] =
    [("second-level cache", 256 << 10), ("last-level cache", 6 << 20), ("memory", 96 << 20)];

/// Measures a network and says where its time goes.
pub(crate) fn profile(args: &Args) -> Result<(), Failure> {
    let svg = args.svg.as_ref().map(|path| NewFile::begin(path, true)).transpose()?;
    let measured = measure(&args.subject)?;
    let levels =
        LEVELS.map(|(name, bytes)| Level { name, bytes, bandwidth: read_bandwidth(bytes) * measured.threads as f64 });
    if let Some(svg) = svg {
        let drawn = roofline(&measured, &levels);
        svg.write(|out| out.write_all(drawn.as_bytes()).context("cannot write the roofline"))?.finish()?;
    }
    if args.json { print_json(&object(&measured, &levels)) } else { print(&table(&measured, &levels)) }
}

/// A level of memory.
pub(crate) struct Level {
    pub(crate) name: &'static str,
    /// What was read to measure it.
    bytes: usize,
    /// Bytes a second.
    pub(crate) bandwidth: f64,
}

/// What `kiln bench` says, with the reasons and the levels of memory.
fn object(measured: &Measured, levels: &[Level]) -> Value {
    let mut object = measured.object();
    let reasons = measured.steps.iter().map(|step| Value::from(reason_of(measured, step, levels)));
    for (layer, reason) in object["layers"].as_array_mut().into_iter().flatten().zip(reasons) {
        layer["why_not_more"] = reason;
    }
    let level = |level: &Level| json!({ "name": level.name, "gb_per_s": level.bandwidth / 1e9 });
    object["memory"] = levels.iter().map(level).collect();
    object
}

/// Why a step is slow; nothing where it is not, and where nothing says how fast it could be.
fn reason_of(measured: &Measured, step: &StepTime, levels: &[Level]) -> String {
    let weights = measured.steps.iter().map(|step| step.weight_bytes).sum();
    match measured.share(step) {
        Some(share) if share < FAST_ENOUGH => reason(step, share, weights, levels),
        _ => String::new(),
    }
}

/// The level that holds so many bytes.
fn level_of(bytes: usize, levels: &[Level]) -> &Level {
    levels.iter().find(|level| bytes <= 2 * level.bytes).unwrap_or(&levels[levels.len() - 1])
}

fn table(measured: &Measured, levels: &[Level]) -> String {
    let total: f64 = measured.steps.iter().map(|step| step.ms).sum();
    let mut rows = vec![["layer", "kernel", "µs", "of all", "GFLOP/s", "of peak", "why not more"].map(str::to_owned)];
    for step in &measured.steps {
        let share = measured.share(step);
        rows.push([
            step.layers.last().cloned().unwrap_or_default(),
            step.kernel.clone(),
            format!("{:.1}", step.ms * 1e3),
            format!("{:.1} %", 100.0 * step.ms / total),
            format!("{:.1}", step.gflops()),
            share.map_or(String::new(), |share| format!("{:.0} %", share * 100.0)),
            reason_of(measured, step, levels),
        ]);
    }
    let mut text = aligned(&rows, &[2, 3, 4, 5]);
    let _ = writeln!(text, "\n{}", measured.summary());
    if let Some(peak) = measured.peak {
        let _ = writeln!(text, "multiply-adds between registers: {:.1} GFLOP/s", peak / 1e9);
    }
    for level in levels {
        let _ = writeln!(text, "reading {}: {:.1} GB/s", level.name, level.bandwidth / 1e9);
    }
    text
}

/// What keeps a step from the peak, the strongest first: memory that brings its bytes no faster, lanes without a channel,
/// loads that go with every product, tiles that the edges leave half empty.
fn reason(step: &StepTime, share: f64, all_weights: usize, levels: &[Level]) -> String {
    // Weights were last read by the run before, what layers hand on was just written.
    let handed_on = step.bytes - step.weight_bytes;
    let (weights_from, rest_from) = (level_of(all_weights, levels), level_of(handed_on, levels));
    let part = |bytes: usize, level: &Level| bytes as f64 / level.bandwidth / (step.ms / 1e3);
    let (weights, rest) = (part(step.weight_bytes, weights_from), part(handed_on, rest_from));
    let reading = weights + rest;
    if reading > 0.5 {
        let (what, from) = if weights > rest { ("weights", weights_from) } else { ("values", rest_from) };
        return format!("{}: {:.0} % of the time goes to {what}", from.name, 100.0 * weights.max(rest).min(1.0));
    }
    match step.shape {
        LayerShape::Other => "no multiply-adds".to_owned(),
        LayerShape::Reduction { useful, .. } | LayerShape::Depthwise { useful } if share / useful > FAST_ENOUGH => {
            format!("channel counts: {:.0} % of the products count", 100.0 * useful)
        }
        LayerShape::Depthwise { .. } => "a load for every product".to_owned(),
        LayerShape::Reduction { pixels: 1, .. } => "a lone pixel: each weight serves one product".to_owned(),
        LayerShape::Reduction { pixels, .. } if pixels < 14 => format!("edges: {pixels} pixels leave tiles half empty"),
        LayerShape::Reduction { .. } => {
            format!("edges, short sums; {:.0} % of the time goes to bytes", 100.0 * reading)
        }
    }
}

/// Levels of some machine.
#[cfg(test)]
pub(crate) fn levels_for_test() -> [Level; 3] {
    let mut bandwidths = [200e9, 60e9, 12e9].into_iter();
    LEVELS.map(|(name, bytes)| Level { name, bytes, bandwidth: bandwidths.next().unwrap_or(1e9) })
}
