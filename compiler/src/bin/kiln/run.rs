//! `kiln run`: a network on an input, by one of three engines.

use std::path::PathBuf;

use clap::ValueEnum;
use kiln_compiler::graph::{Graph, Op, interp as graph_interp};
use kiln_compiler::kernel::interp as kernel_interp;
use kiln_compiler::pipeline::{Compiled, Options, compile};
use kiln_compiler::target::Target;

use crate::array;
use crate::crates::{Recipe, cargo_build, package_name, run_program};
use crate::folder::NewFolder;
use crate::progress::Doing;
use crate::report::{Context, Failure};
use crate::spec::Spec;
use crate::weights::Weights;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The graph interpreter: plain loops, the oracle
    Interp,
    /// The kernel interpreter: the program, step by step; slow
    Kernel,
    /// The emitted crate, built with cargo
    Aot,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Spec,
    /// A safetensors file, or `fill[:GAIN]` for weights by formula
    #[arg(long)]
    weights: String,
    /// A `.npy` file, or `fill` for an input by formula; `NAME=FILE` where there are several inputs
    #[arg(long, required = true)]
    input: Vec<String>,
    /// Write the first output to a `.npy` file
    #[arg(long)]
    output: Option<PathBuf>,
    /// How many classes to print
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// A text file with the name of a class in each line
    #[arg(long)]
    labels: Option<PathBuf>,
    /// What runs it
    #[arg(long, value_enum, default_value = "aot")]
    engine: Engine,
    /// Threads of the emitted crate
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The instruction set; default: the best that this processor has
    #[arg(long)]
    target: Option<Target>,
}

/// Runs a network.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let labels = match &args.labels {
        Some(path) => {
            let text = std::fs::read_to_string(path).context(format!("cannot read {}", path.display()))?;
            text.lines().map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    let graph = args.spec.load()?;
    let inputs = read_inputs(&graph, &args.input)?;
    let weights = Weights::open(&args.weights)?;
    let target = args.target.unwrap_or_else(Target::detect);
    let targets = if args.engine == Engine::Interp { Vec::new() } else { vec![target] };
    let doing = Doing::new(format!("compiling {}", args.spec.name()));
    let compiled = compile(graph, &Options { targets, ..Options::default() })?;
    doing.now(format!("running {}", args.spec.name()));
    let first = &compiled.source.outputs()[0];
    let shape = compiled.source.node(first.node).ty.shape.clone();
    let output = match args.engine {
        Engine::Interp => weights
            .with(|source| graph_interp::run(&compiled.source, source, &inputs).context("cannot run the network"))?
            .swap_remove(0),
        Engine::Kernel => by_kernels(&compiled, &weights, &inputs)?,
        Engine::Aot => by_crate(&compiled, &weights, &inputs, args, target)?,
    };
    drop(doing);
    if let Some(path) = &args.output {
        array::write(path, &shape, &output)?;
    }
    let probabilities = matches!(compiled.source.node(first.node).op, Op::Softmax { .. });
    print(&shape, &output, probabilities, args.top, &labels);
    Ok(())
}

/// The inputs in the network's order; `NAME=` may be left out where there is one.
fn read_inputs(graph: &Graph, arguments: &[String]) -> Result<Vec<Vec<f32>>, Failure> {
    let names: Vec<&str> = graph.inputs().iter().map(|&id| &*graph.node(id).origin.name).collect();
    let mut given = std::collections::HashMap::new();
    for argument in arguments {
        let (name, source) = match argument.split_once('=') {
            Some((name, source)) if names.contains(&name) => (name, source),
            _ if names.len() == 1 => (names[0], argument.as_str()),
            _ => {
                return Err(Failure::new(format!("`--input {argument}` names no input"))
                    .help(format!("this network has {}: write `--input NAME=FILE`", names.join(", "))));
            }
        };
        if given.insert(name, source).is_some() {
            return Err(Failure::new(format!("the input `{name}` is given twice")));
        }
    }
    graph
        .inputs()
        .iter()
        .map(|&id| {
            let node = graph.node(id);
            let name = &node.origin.name;
            let source = given
                .get(&**name)
                .ok_or_else(|| Failure::new(format!("the input `{name}` {:?} is not given", node.ty.shape)))?;
            array::read_input(source, name, &node.ty)
        })
        .collect()
}

fn by_kernels(compiled: &Compiled, weights: &Weights, inputs: &[Vec<f32>]) -> Result<Vec<f32>, Failure> {
    let program = &compiled.programs[0];
    let mut outputs = weights.with(|source| {
        kernel_interp::run_with(program, source, inputs, kernel_interp::Options::default())
            .context("cannot run the kernels")
    })?;
    Ok(outputs.swap_remove(0))
}

fn by_crate(
    compiled: &Compiled,
    weights: &Weights,
    inputs: &[Vec<f32>],
    args: &Args,
    target: Target,
) -> Result<Vec<f32>, Failure> {
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = temporary.path().join("crate");
    let new = NewFolder::begin(&folder, false)?;
    let recipe = Recipe {
        compiled,
        weights,
        package: package_name(&compiled.source.name),
        source: compiled.source.name.clone(),
        workspace_table: true,
        golden: false,
    };
    recipe.write(&new)?;
    new.finish()?;
    let program = cargo_build(&folder, "run")?;
    let mut command = Vec::new();
    for (i, (&id, input)) in compiled.source.inputs().iter().zip(inputs).enumerate() {
        let path = temporary.path().join(format!("input{i}.npy"));
        array::write(&path, &compiled.source.node(id).ty.shape, input)?;
        command.push(path.display().to_string());
    }
    let output = temporary.path().join("output.npy");
    for (flag, value) in [
        ("--output", output.display().to_string()),
        ("--threads", args.threads.to_string()),
        ("--target", target.name().to_owned()),
    ] {
        command.extend([flag.to_owned(), value]);
    }
    run_program(&program, &command)?;
    Ok(array::read(&output)?.1)
}

/// Prints the largest classes of each image, or the first numbers of an output that has no classes.
fn print(shape: &[usize], output: &[f32], probabilities: bool, top: usize, labels: &[String]) {
    let &[images, classes] = shape else {
        println!("{shape:?}: {:?}", &output[..output.len().min(8)]);
        return;
    };
    for (image, scores) in output.chunks_exact(classes.max(1)).enumerate() {
        if images > 1 {
            println!("image {image}");
        }
        let shares = if probabilities { scores.to_vec() } else { softmax(scores) };
        let mut ranked: Vec<usize> = (0..classes).collect();
        ranked.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
        for &class in ranked.iter().take(top) {
            let label = labels.get(class).map_or("", |label| label.as_str());
            println!("{class:>5}  {:.3}  {label}", shares[class]);
        }
    }
}

/// Scores as probabilities.
fn softmax(scores: &[f32]) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
