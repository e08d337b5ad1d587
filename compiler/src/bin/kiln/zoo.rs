//! `kiln zoo`: the networks that come with kiln, listed, shown, and checked against what their frameworks say.

mod check;
mod reference;

use std::path::PathBuf;

use kiln_compiler::files::Files;
use kiln_compiler::front;
use kiln_compiler::front::zoo::{Family, Variant, find, variants};
use kiln_compiler::graph::{Graph, count};
use kiln_compiler::kernel::stats::stats;
use kiln_compiler::pipeline::{Options, compile};
use kiln_compiler::target::Target;
use serde_json::{Value, json};

use crate::dump::{print, print_json};
use crate::engine::Engine;
use crate::inspect::{Memory, aligned, grouped};
use crate::progress::Doing;
use crate::report::Failure;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Networks or families; one alone is shown with its spec
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Compare parameters, multiply-adds, weight names and logits with a folder of `counts.json` and `golden/NAME.json`
    #[arg(long, value_name = "DIR")]
    check: Option<PathBuf>,
    /// What computes the logits of --check; `none` leaves them out
    #[arg(long, value_enum, default_value = "aot", requires = "check")]
    logits: Logits,
    /// Networks checked at the same time; default: as many as there are processors
    #[arg(long, requires = "check")]
    jobs: Option<usize>,
    /// Compile each, and list code, arena, its lower bounds and what is copied
    #[arg(long, conflicts_with = "check")]
    stats: bool,
    /// For which instruction set --stats compiles
    #[arg(long, default_value = "avx2", requires = "stats")]
    target: Target,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Logits {
    /// Nothing: counts and weight names alone
    None,
    /// The graph interpreter: plain loops, the oracle
    Interp,
    /// The emitted crate, built with cargo
    Aot,
}

impl Logits {
    fn engine(self) -> Option<Engine> {
        match self {
            Logits::None => None,
            Logits::Interp => Some(Engine::Interp),
            Logits::Aot => Some(Engine::Aot),
        }
    }
}

/// Lists, shows or checks networks.
pub(crate) fn zoo(args: &Args) -> Result<(), Failure> {
    let chosen = choose(&args.names)?;
    if let Some(folder) = &args.check {
        let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        return check::check(folder, &chosen, args.logits.engine(), jobs.max(1), args.json);
    }
    match (&args.names[..], args.json) {
        _ if args.stats => list_programs(&chosen, args.target, args.json),
        ([name], false) => show(name),
        _ => list(&chosen, args.json),
    }
}

type Entry = (&'static Family, &'static Variant);

/// The networks of these names, each once; all without names.
fn choose(names: &[String]) -> Result<Vec<Entry>, Failure> {
    for name in names {
        if find(name).is_none() {
            let failure = Failure::new(format!("the zoo has no network or family `{name}`"));
            return Err(match front::nearest(name, front::zoo::names()) {
                Some(near) => failure.help(format!("`{near}` is near; `kiln zoo` lists all")),
                None => failure.help("`kiln zoo` lists what it has"),
            });
        }
    }
    let is_chosen = |(family, variant): &Entry| {
        names.is_empty() || names.iter().any(|name| name == family.name || name == variant.name)
    };
    Ok(variants().filter(is_chosen).collect())
}

fn load(name: &str) -> Result<Graph, Failure> {
    Ok(front::load(&format!("zoo:{name}"), None, &[], &Files::default())?)
}

/// What is said of a network in a list.
struct Summary {
    parameters: u64,
    macs: u64,
    input: String,
}

impl Summary {
    fn of(graph: &Graph) -> Self {
        let shapes = graph.inputs().iter().map(|&id| graph.node(id).ty.shape.iter().map(usize::to_string));
        Summary {
            parameters: count::parameters(graph) as u64,
            macs: macs(graph),
            input: shapes.map(|shape| shape.collect::<Vec<_>>().join("×")).collect::<Vec<_>>().join(", "),
        }
    }
}

fn macs(graph: &Graph) -> u64 {
    graph.order().into_iter().map(|id| count::macs(graph, id)).sum()
}

fn list(chosen: &[Entry], json: bool) -> Result<(), Failure> {
    let mut objects = Vec::new();
    let mut rows = vec![["network", "family", "parameters", "multiply-adds", "input", "weights as"].map(str::to_owned)];
    for (family, variant) in chosen {
        let Summary { parameters, macs, input } = Summary::of(&load(variant.name)?);
        let row = [variant.name, family.name, &grouped(parameters), &grouped(macs), &input, variant.source];
        rows.push(row.map(str::to_owned));
        objects.push(json!({
            "network": variant.name, "family": family.name, "net": variant.net, "parameters": parameters, "macs": macs,
            "input": input, "weights": variant.source,
        }));
    }
    if json { print_json(&Value::Array(objects)) } else { print(&aligned(&rows, &[2, 3])) }
}

/// What the program of each network takes: bytes of code and memory, and what it copies.
fn list_programs(chosen: &[Entry], target: Target, json: bool) -> Result<(), Failure> {
    let heads =
        ["network", "steps", "kernels", "code", "arena", "of bound", "bound", "logical bound", "relayouts", "copied"];
    let (mut objects, mut rows) = (Vec::new(), vec![heads.map(str::to_owned)]);
    let doing = Doing::new("");
    doing.now_counting("compiling", chosen.len());
    for (_, variant) in chosen {
        let compiled = compile(load(variant.name)?, &Options { targets: vec![target], ..Options::default() })?;
        let program = &compiled.programs[0];
        let (memory, stats) = (Memory::of(program), stats(program));
        let ratio = memory.arena as f64 / memory.lower_bound.max(1) as f64;
        let bytes = |bytes: usize| grouped(bytes as u64);
        rows.push([
            variant.name.to_owned(),
            bytes(program.steps.len()),
            bytes(program.kernels.len()),
            bytes(memory.code),
            bytes(memory.arena),
            format!("{ratio:.3}"),
            bytes(memory.lower_bound),
            bytes(memory.logical_lower_bound),
            bytes(stats.relayouts),
            bytes(stats.relayout_bytes),
        ]);
        objects.push(json!({
            "network": variant.name, "target": target.name(), "steps": program.steps.len(),
            "kernels": program.kernels.len(), "code_bytes": memory.code, "arena_bytes": memory.arena,
            "arena_lower_bound_bytes": memory.lower_bound,
            "arena_logical_lower_bound_bytes": memory.logical_lower_bound, "relayouts": stats.relayouts,
            "relayout_bytes": stats.relayout_bytes,
        }));
        doing.one_done();
    }
    drop(doing);
    let numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    if json { print_json(&Value::Array(objects)) } else { print(&aligned(&rows, &numbers)) }
}

/// A network's figures, and the file that declares it.
fn show(name: &str) -> Result<(), Failure> {
    let Some(entry) = find(name) else { return Ok(()) };
    let variant = entry.family.variants.iter().find(|variant| variant.name == name);
    let mut text = String::new();
    if let Some(variant) = variant {
        let Summary { parameters, macs, input } = Summary::of(&load(name)?);
        for (what, value) in [
            ("network", format!("{}, in zoo::{}", variant.net, entry.family.name)),
            ("parameters", grouped(parameters)),
            ("multiply-adds", grouped(macs)),
            ("input", input),
            ("weights as", variant.source.to_owned()),
        ] {
            text.push_str(&format!("// {what:<16}{value}\n"));
        }
        text.push('\n');
    }
    text.push_str(entry.family.text);
    print(&text)
}
