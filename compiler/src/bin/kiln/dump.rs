//! `kiln graph`, `kiln kernels`, `kiln explain`: the stages as text.

use clap::ValueEnum;
use kiln_compiler::back::rust;
use kiln_compiler::graph::{dot, svg, text};
use kiln_compiler::optimize;
use kiln_compiler::pipeline::{self, Options, compile};
use kiln_compiler::target::Target;

use crate::report::{Context, Failure};
use crate::spec::Spec;

#[derive(Clone, Copy, ValueEnum)]
enum Stage {
    /// As declared
    Source,
    /// After the rewrites
    Optimized,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// The text form, which `kiln` reads back
    Text,
    /// Graphviz
    Dot,
    /// A picture
    Svg,
}

#[derive(clap::Args)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    spec: Spec,
    /// Which graph
    #[arg(long, value_enum, default_value = "source")]
    stage: Stage,
    /// In what form
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Prints a graph.
pub(crate) fn graph(args: &GraphArgs) -> Result<(), Failure> {
    let source = args.spec.load()?;
    let compiled = compile(source, &Options { targets: Vec::new(), optimize: optimize::Options::default() })?;
    let graph = match args.stage {
        Stage::Source => &compiled.source,
        Stage::Optimized => &compiled.optimized,
    };
    match args.format {
        Format::Text => print(&text::print(graph)),
        Format::Dot => print(&dot::print(graph)),
        Format::Svg => print(&svg::print(graph)),
    }
}

#[derive(clap::Args)]
pub(crate) struct KernelArgs {
    #[command(flatten)]
    spec: Spec,
    /// For which instruction set: avx512, avx2, base, neon or portable
    #[arg(long, default_value = "avx2")]
    target: Target,
    /// Only kernels whose name contains this
    #[arg(long)]
    name: Option<String>,
    /// The kernel IR instead of Rust
    #[arg(long)]
    ir: bool,
}

/// Prints kernels.
pub(crate) fn kernels(args: &KernelArgs) -> Result<(), Failure> {
    let options = Options { targets: vec![args.target], ..Options::default() };
    let compiled = pipeline::compile(args.spec.load()?, &options)?;
    let program = &compiled.programs[0];
    let mut any = false;
    for kernel in &program.kernels {
        if args.name.as_ref().is_none_or(|name| kernel.name.contains(name)) {
            any = true;
            let text = if args.ir {
                kiln_compiler::kernel::text::kernel(kernel)
            } else {
                rust::kernel_text(program, kernel).context("cannot print the kernel")?
            };
            print(&format!("{text}\n"))?;
        }
    }
    match &args.name {
        Some(name) if !any => Err(Failure::new(format!("no kernel's name contains `{name}`"))),
        _ => Ok(()),
    }
}

#[derive(clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    spec: Spec,
    /// The node, by its name in `kiln graph`
    #[arg(long)]
    node: String,
}

/// Explains a node.
pub(crate) fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let compiled = compile(args.spec.load()?, &Options { targets: Vec::new(), ..Options::default() })?;
    let Some(explanations) = compiled.record.explain(&args.node) else {
        return Err(Failure::new(format!("no node is named `{}`", args.node)).help("`kiln graph SPEC` lists them"));
    };
    explanations.into_iter().try_for_each(|explanation| print(&format!("{explanation}\n")))
}

/// Prints to standard output; a reader that stops early, as `head` does, is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a JSON value on a line of its own, as [`print()`] does.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}

/// Prints a line, as [`print()`] does.
pub(crate) fn print_line(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    print(&format!("{line}\n"))
}
