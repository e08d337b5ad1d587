//! `kiln profile`: where a network's time goes, and what keeps each layer from the machine's peak; as a table, and as a
//! roofline (Williams, Waterman and Patterson 2009).

use std::fmt::Write;
use std::path::PathBuf;

use kiln_rt::peak::read_bandwidth;

use crate::bench::{LayerShape, Measured, StepTime, Subject, measure};
use crate::dump::print;
use crate::file::NewFile;
use crate::inspect::aligned;
use crate::report::{Context, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Draw the roofline to this SVG file
    #[arg(long)]
    svg: Option<PathBuf>,
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
    print(&table(&measured, &levels))
}

/// A level of memory.
struct Level {
    name: &'static str,
    /// What was read to measure it.
    bytes: usize,
    /// Bytes a second.
    bandwidth: f64,
}

/// The level that holds so many bytes.
fn level_of(bytes: usize, levels: &[Level]) -> &Level {
    levels.iter().find(|level| bytes <= 2 * level.bytes).unwrap_or(&levels[levels.len() - 1])
}

fn table(measured: &Measured, levels: &[Level]) -> String {
    let total: f64 = measured.steps.iter().map(|step| step.ms).sum();
    let weights = measured.steps.iter().map(|step| step.weight_bytes).sum();
    let mut rows = vec![["layer", "kernel", "µs", "of all", "GFLOP/s", "of peak", "why not more"].map(str::to_owned)];
    for step in &measured.steps {
        let share = measured.share(step);
        let reason = match share {
            Some(share) if share < FAST_ENOUGH => reason(step, share, weights, levels),
            _ => String::new(),
        };
        rows.push([
            step.layers.last().cloned().unwrap_or_default(),
            step.kernel.clone(),
            format!("{:.1}", step.ms * 1e3),
            format!("{:.1} %", 100.0 * step.ms / total),
            format!("{:.1}", step.gflops()),
            share.map_or(String::new(), |share| format!("{:.0} %", share * 100.0)),
            reason,
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

/// The drawing and the plot's margins in it, in pixels.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 560.0;
const MARGIN: f64 = 60.0;

/// The ranges of a plot whose axes are logarithmic.
struct Axes {
    /// Operations a byte.
    x: [f64; 2],
    /// Billions of operations a second.
    y: [f64; 2],
}

impl Axes {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let along = |v: f64, [low, high]: [f64; 2]| (v.clamp(low, high) / low).ln() / (high / low).ln();
        let (width, height) = (WIDTH - 2.0 * MARGIN, HEIGHT - 2.0 * MARGIN);
        (MARGIN + width * along(x, self.x), HEIGHT - MARGIN - height * along(y, self.y))
    }
}

/// The roofline: each step by its operations a byte and its speed, under the peak and the levels of memory. A step's
/// area is its share of the time.
fn roofline(measured: &Measured, levels: &[Level]) -> String {
    let peak = measured.peak.unwrap_or(0.0) / 1e9;
    let fastest = measured.steps.iter().map(StepTime::gflops).fold(peak, f64::max);
    let axes = Axes { x: [0.0625, 1024.0], y: [fastest / 512.0, fastest * 1.5] };
    let total: f64 = measured.steps.iter().map(|step| step.ms).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"28\" font-size=\"15\">{}</text>\n",
        escaped(&measured.summary())
    );
    let line = |svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str| {
        let _ = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
            from.0, from.1, to.0, to.1
        );
    };
    let text = |svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str| {
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(words));
    };
    let [left, right] = axes.x;
    let [bottom, top] = axes.y;
    for i in -4..=10 {
        let x = 2f64.powi(i);
        line(&mut svg, axes.at(x, bottom), axes.at(x, top), "#eeeeee");
        let (px, py) = axes.at(x, bottom);
        text(&mut svg, (px, py + 16.0), "middle", &format!("{x}"));
    }
    let mut y = 1.0;
    while y < top {
        if y > bottom {
            line(&mut svg, axes.at(left, y), axes.at(right, y), "#eeeeee");
            let (px, py) = axes.at(left, y);
            text(&mut svg, (px - 6.0, py + 4.0), "end", &format!("{y}"));
        }
        y *= 10.0;
    }
    text(&mut svg, (WIDTH / 2.0, HEIGHT - 18.0), "middle", "operations a byte");
    text(&mut svg, (MARGIN, MARGIN - 8.0), "middle", "GFLOP/s");
    for level in levels {
        let bandwidth = level.bandwidth / 1e9;
        let ridge = if peak > 0.0 { peak / bandwidth } else { right };
        let start = (bottom / bandwidth).max(left);
        line(
            &mut svg,
            axes.at(start, start * bandwidth),
            axes.at(ridge.min(right), ridge.min(right) * bandwidth),
            "#7788aa",
        );
        let (px, py) = axes.at(start, start * bandwidth);
        text(&mut svg, (px + 4.0, py - 6.0), "start", &format!("{} {bandwidth:.0} GB/s", level.name));
    }
    if peak > 0.0 {
        line(&mut svg, axes.at(left, peak), axes.at(right, peak), "#aa4444");
        let (px, py) = axes.at(right, peak);
        text(&mut svg, (px, py - 6.0), "end", &format!("{peak:.0} GFLOP/s of multiply-adds"));
    }
    for step in &measured.steps {
        let (x, y) = axes.at(step.flops as f64 / step.bytes.max(1) as f64, step.gflops());
        let radius = 2.0 + 30.0 * (step.ms / total).sqrt();
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"#3366cc\" fill-opacity=\"0.35\" \
             stroke=\"#3366cc\"><title>{}: {:.1} µs, {:.1} GFLOP/s</title></circle>",
            escaped(&step.kernel),
            step.ms * 1e3,
            step.gflops()
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
