//! `kiln`: networks to crates, from the command line.

mod answers;
mod array;
mod bench;
mod build;
mod cache;
mod classes;
mod compare;
mod completions;
mod crates;
mod demo;
mod dump;
mod engine;
mod examples;
mod export;
mod file;
mod folder;
mod golden;
mod image_option;
mod inputs;
mod inspect;
mod interrupt;
mod man;
mod map;
mod matching;
mod npy;
mod photo;
mod photos;
mod place;
mod preprocess;
mod profile;
mod progress;
mod report;
mod roofline;
mod run;
mod spec;
mod template;
mod temporary;
mod threads;
mod toolchain;
mod tree;
mod weights;
mod workspace;
mod wrap;
mod zoo;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// A neural architecture compiler: networks to standalone Rust crates of SIMD kernels.
#[derive(Parser)]
#[command(name = "kiln", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Compile a network to a standalone crate without dependencies
    Build(build::Args),
    /// Write a network with its weights as an ONNX model
    Export(export::Args),
    /// Run a network on an input
    Run(run::Args),
    /// Time a network and its layers
    Bench(bench::Args),
    /// Say where the time goes, and what keeps each layer from the peak
    Profile(profile::Args),
    /// Show layers, shapes, parameters, multiply-adds and memory
    Inspect(inspect::Args),
    /// Print the graph of a network
    Graph(dump::GraphArgs),
    /// Print the generated kernels of a network
    Kernels(dump::KernelArgs),
    /// Say which rewrites led to a node, and which did not happen
    Explain(dump::ExplainArgs),
    /// List the tensors that a network reads, or say which of them a file has, which it lacks, and which are left over
    Weights(matching::Args),
    /// List the networks that come with kiln, show one, or check them against their frameworks
    Zoo(zoo::Args),
    /// Compile a small trained network and read handwritten digits with it
    Demo(demo::Args),
    /// Say which programs `run` keeps for the next run, and where; or remove them
    Cache(cache::Args),
    /// Print what a shell reads to complete verbs and options
    Completions(completions::Args),
    /// Print a page of the manual, or write all pages
    Man(man::Args),
}

/// The command line with its examples. Shells and `man` break its descriptions into lines themselves.
fn command() -> clap::Command {
    examples::added(Cli::command())
}

fn main() -> ExitCode {
    report::keep_commands_whole();
    let cli = Cli::from_arg_matches(&wrap::help(command()).get_matches()).unwrap_or_else(|error| error.exit());
    interrupt::clean_up_on_signals();
    temporary::sweep(&std::env::temp_dir());
    let result = match cli.verb {
        Verb::Build(args) => build::build(&args),
        Verb::Export(args) => export::export(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Bench(args) => bench::bench(&args),
        Verb::Profile(args) => profile::profile(&args),
        Verb::Inspect(args) => inspect::inspect(&args),
        Verb::Graph(args) => dump::graph(&args),
        Verb::Kernels(args) => dump::kernels(&args),
        Verb::Explain(args) => dump::explain(&args),
        Verb::Weights(args) => matching::weights(&args),
        Verb::Zoo(args) => zoo::zoo(&args),
        Verb::Demo(args) => demo::demo(&args),
        Verb::Cache(args) => cache::cache(&args),
        Verb::Completions(args) => completions::completions(&args),
        Verb::Man(args) => man::man(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::FAILURE
        }
    }
}
