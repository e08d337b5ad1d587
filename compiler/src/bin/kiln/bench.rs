//! `kiln bench`: how fast the crate of a network runs, and each of its layers.

use std::ffi::OsString;

use kiln_compiler::diag::counted;
use kiln_compiler::graph::Graph;
use kiln_compiler::kernel::{Arg, Program, Step, stats};
use kiln_compiler::pipeline::{Compiled, Options, compile};
use kiln_compiler::target::Target;
use serde_json::{Value, json};

use crate::crates::build_bench;
use crate::dump::{print, print_json};
use crate::inspect::{aligned, grouped};
use crate::progress::Doing;
use crate::report::{Context, Failure};
use crate::spec::Spec;
use crate::temporary::Temporary;
use crate::threads;
use crate::toolchain::run_program;
use crate::weights;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Subject {
    #[command(flatten)]
    spec: Spec,
    #[command(flatten)]
    weights: weights::Argument,
    #[command(flatten)]
    threads: threads::ThreadCount,
    /// The instruction set; default: the best that this processor has
    #[arg(long)]
    target: Option<Target>,
}

/// A network's times.
pub(crate) struct Measured {
    pub(crate) net: String,
    pub(crate) target: Target,
    pub(crate) threads: u64,
    pub(crate) runs: u64,
    pub(crate) median_ms: f64,
    pub(crate) min_ms: f64,
    /// The floating-point operations a second that the threads' cores could do in multiply-adds between registers; None
    /// where the target's vectors are the compiler's choice.
    pub(crate) peak: Option<f64>,
    pub(crate) steps: Vec<StepTime>,
}

/// The time of one step.
pub(crate) struct StepTime {
    /// The layers that it computes.
    pub(crate) layers: Vec<String>,
    pub(crate) kernel: String,
    pub(crate) ms: f64,
    /// Floating-point operations.
    pub(crate) flops: u64,
    /// Bytes that it reads and writes, each argument once.
    pub(crate) bytes: usize,
    /// Those of them that are packed weights.
    pub(crate) weight_bytes: usize,
    /// What in the layer's shape can keep it from the peak.
    pub(crate) shape: LayerShape,
}

/// What a layer's shape says of how well it can use the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LayerShape {
    /// Products summed over channels. `useful` is the part of the multiply-adds that do not meet a padded lane or a zero
    /// between groups.
    Reduction { useful: f64, pixels: usize },
    /// One product a tap, with an input of its own.
    Depthwise { useful: f64 },
    /// No products.
    Other,
}

impl LayerShape {
    /// The shape of a step's layer: each packed weight, zeros included, is multiplied once a pixel.
    fn of(graph: &Graph, program: &Program, step: &Step) -> Self {
        let kernel = program.kernel(step);
        let weight = kernel.params.iter().zip(&step.args).find_map(|(param, arg)| match arg {
            Arg::Flat(region) if param.name == "weight" => Some(program.buffer(region.buffer).len),
            Arg::Flat(_) | Arg::Blocks(_) | Arg::Table(_) => None,
        });
        let node = graph.order().into_iter().find(|&id| graph.node(id).origin.sources() == step.layers);
        let (Some(weights), Some(id)) = (weight, node) else { return LayerShape::Other };
        let shape = &graph.node(id).ty.shape;
        let pixels = shape[0] * shape.iter().skip(2).product::<usize>();
        let useful = kernel.flops as f64 / (2 * weights * pixels).max(1) as f64;
        match &*stats::kind(&kernel.name) {
            "depthwise" => LayerShape::Depthwise { useful },
            _ => LayerShape::Reduction { useful, pixels },
        }
    }
}

impl StepTime {
    /// Operations a second, in billions.
    pub(crate) fn gflops(&self) -> f64 {
        self.flops as f64 / (self.ms * 1e6).max(f64::MIN_POSITIVE)
    }
}

impl Measured {
    /// The part of the peak that a step reaches.
    pub(crate) fn share(&self, step: &StepTime) -> Option<f64> {
        Some(step.gflops() * 1e9 / self.peak?)
    }

    /// The time that all operations would take at the peak.
    pub(crate) fn at_peak_ms(&self) -> Option<f64> {
        let flops: u64 = self.steps.iter().map(|step| step.flops).sum();
        Some(flops as f64 / self.peak? * 1e3)
    }

    /// All of it in JSON.
    pub(crate) fn object(&self) -> Value {
        let layers = self.steps.iter().map(|step| {
            json!({
                "layers": step.layers,
                "kernel": step.kernel,
                "ms": step.ms,
                "flops": step.flops,
                "gflops": step.gflops(),
                "share_of_peak": self.share(step),
                "bytes": step.bytes,
            })
        });
        json!({
            "net": self.net,
            "target": self.target.name(),
            "threads": self.threads,
            "runs": self.runs,
            "median_ms": self.median_ms,
            "min_ms": self.min_ms,
            "peak_gflops": self.peak.map(|peak| peak / 1e9),
            "at_peak_ms": self.at_peak_ms(),
            "layers": layers.collect::<Vec<_>>(),
        })
    }

    fn table(&self) -> String {
        let mut rows = vec![["layer", "kernel", "µs", "GFLOP/s", "of peak", "kB"].map(str::to_owned)];
        for step in &self.steps {
            rows.push([
                step.layers.last().cloned().unwrap_or_default(),
                step.kernel.clone(),
                format!("{:.1}", step.ms * 1e3),
                format!("{:.1}", step.gflops()),
                self.share(step).map_or(String::new(), |share| format!("{:.0} %", share * 100.0)),
                grouped(step.bytes as u64 / 1000),
            ]);
        }
        format!("{}\n{}\n", aligned(&rows, &[2, 3, 4, 5]), self.summary())
    }

    /// The whole network's times in a line.
    pub(crate) fn summary(&self) -> String {
        let peak = self.at_peak_ms().map_or(String::new(), |ms| format!("; {ms:.2} ms at the peak of multiply-adds"));
        format!(
            "{}: {} on {}: median {:.3} ms, least {:.3} ms of {}{peak}",
            self.net,
            self.target,
            counted(self.threads as usize, "thread"),
            self.median_ms,
            self.min_ms,
            self.runs,
        )
    }
}

/// Measures a network and prints the times.
pub(crate) fn bench(args: &Args) -> Result<(), Failure> {
    let measured = measure(&args.subject)?;
    if args.json { print_json(&measured.object()) } else { print(&measured.table()) }
}

/// Builds the crate of a network for one target and runs its own bench.
pub(crate) fn measure(subject: &Subject) -> Result<Measured, Failure> {
    let Subject { spec, weights, threads, target } = subject;
    let target = target.unwrap_or_else(Target::detect);
    let threads = threads.count();
    let doing = Doing::new(format!("compiling {}", spec.name()));
    let (graph, weights) = spec.load_or_fill(weights)?;
    let compiled = compile(graph, &Options { targets: vec![target], ..Options::default() })?;
    let temporary = Temporary::new().context("cannot make a temporary folder")?;
    doing.now("building the crate");
    let program = build_bench(&compiled, &weights, &temporary.path().join("crate"))?;
    doing.now(format!("timing {}", spec.name()));
    let flags = ["--exact-threads", &threads.to_string(), "--target", target.name()].map(OsString::from);
    let printed = run_program(&program, &flags)?;
    read(&printed, &compiled, target).ok_or_else(|| Failure::new("the crate's bench printed no times"))
}

/// What the crate's bench printed, joined with what the program says of its steps.
fn read(printed: &str, compiled: &Compiled, target: Target) -> Option<Measured> {
    let object: Value = serde_json::from_str(printed).ok()?;
    let program = &compiled.programs[0];
    let threads = object["threads"].as_u64()?;
    let times = object["steps"].as_array().filter(|times| times.len() == program.steps.len())?;
    let steps = program.steps.iter().zip(times).map(|(step, time)| {
        let kernel = program.kernel(step);
        Some(StepTime {
            layers: step.layers.clone(),
            kernel: kernel.name.clone(),
            ms: time["ms"].as_f64()?,
            flops: kernel.flops,
            bytes: stats::step_bytes(program, step),
            weight_bytes: stats::step_weight_bytes(program, step),
            shape: LayerShape::of(&compiled.optimized, program, step),
        })
    });
    Some(Measured {
        net: compiled.source.name.clone(),
        target,
        threads,
        runs: object["runs"].as_u64()?,
        median_ms: object["median_ms"].as_f64()?,
        min_ms: object["min_ms"].as_f64()?,
        peak: kiln_rt::peak::multiply_add_peak(target).map(|peak| peak * threads as f64),
        steps: steps.collect::<Option<_>>()?,
    })
}
