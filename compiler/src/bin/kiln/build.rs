//! `kiln build`: a network to a crate.

use std::path::PathBuf;

use kiln_compiler::back::rust::{PackageName, Workspace};
use kiln_compiler::diag::counted;
use kiln_compiler::front::short_name;
use kiln_compiler::kernel::{Place, Program};
use kiln_compiler::pipeline::{Options, compile};
use kiln_compiler::target::Target;

use crate::crates::Recipe;
use crate::dump::print_line;
use crate::folder::NewFolder;
use crate::golden;
use crate::inspect::grouped;
use crate::progress::Doing;
use crate::report::Failure;
use crate::spec::{Network, Spec};
use crate::weights;
use crate::workspace::around;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Spec,
    #[command(flatten)]
    weights: weights::Argument,
    /// Instruction sets to make kernels for: avx512, avx2, base, neon, portable; default: all but portable
    #[arg(long, value_delimiter = ',')]
    target: Vec<Target>,
    /// The licence of the network with these weights, an SPDX expression as `MIT OR Apache-2.0`
    #[arg(long, value_parser = spdx_expression)]
    license: Option<String>,
    /// Store an input and its answer for the crate's test, however long the reference interpreter takes
    #[arg(long)]
    golden: bool,
    /// Replace a folder that kiln made
    #[arg(long)]
    force: bool,
    /// The folder of the crate; its name is the package's
    #[arg(long)]
    out: PathBuf,
}

/// Writes a crate.
pub(crate) fn build(args: &Args) -> Result<(), Failure> {
    let doing = Doing::new(format!("compiling {}", args.spec.name()));
    let Network { graph, weights, .. } = args.spec.load_with(&args.weights, &[])?;
    let workspace = around(&args.out)?;
    let folder = NewFolder::begin_marked(&args.out, args.force)?;
    let mut options = Options::default();
    if !args.target.is_empty() {
        options.targets = args.target.clone();
        options.targets.sort_unstable();
        options.targets.dedup();
    }
    let compiled = compile(graph, &options)?;
    doing.now("packing weights and writing the crate");
    let stem = args.out.file_name().map_or_else(|| compiled.source.name.clone(), |n| n.to_string_lossy().into_owned());
    let has_golden = args.golden || golden::is_quick(&compiled.source);
    let recipe = Recipe {
        compiled: &compiled,
        weights: &weights,
        package: PackageName::like(&stem),
        source: short_name(&args.spec.name()).to_owned(),
        workspace,
        golden: has_golden,
        license: args.license.clone(),
    };
    recipe.write(&folder)?;
    folder.finish()?;
    drop(doing);
    print_line(format_args!("{} in {}", compiled.source.name, args.out.display()))?;
    if workspace == Workspace::Own {
        print_line(format_args!(
            "a workspace of its own: to make it a member of the one around it, list it in `members` and build it again"
        ))?;
    }
    if !has_golden {
        print_line(format_args!(
            "no stored answer: the reference interpreter would take long for it; `--golden` stores one"
        ))?;
    }
    let mut known = std::collections::HashSet::new();
    for program in &compiled.programs {
        print_line(format_args!(
            "{:>9}: {}, {}, arena {} bytes, adds {} bytes of weights",
            program.target.name(),
            counted(program.steps.len(), "step"),
            counted(program.kernels.len(), "kernel"),
            grouped(4 * program.arena as u64),
            grouped(added_weights(program, &mut known))
        ))?;
    }
    Ok(())
}

/// Takes what names licences as Cargo and SPDX do.
fn spdx_expression(text: &str) -> Result<String, String> {
    match spdx::Expression::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{} at `{}`", error.reason, &text[error.span])),
    }
}

/// Bytes of packed weights that no earlier program has: a tensor is its expression and its form.
fn added_weights(program: &Program, known: &mut std::collections::HashSet<String>) -> u64 {
    let text = |id: kiln_compiler::graph::WeightId| expression(program, id);
    program
        .buffers
        .iter()
        .filter_map(|buffer| match &buffer.place {
            Place::Packed { weight, form } => {
                known.insert(format!("{form:?} {}", text(*weight))).then_some(4 * buffer.len as u64)
            }
            Place::Input(_) | Place::Output(_) | Place::Arena(_) | Place::Scratch(_) => None,
        })
        .sum()
}

/// A weight expression written out.
fn expression(program: &Program, id: kiln_compiler::graph::WeightId) -> String {
    let expr = &program.weights[id.index()];
    let operands: Vec<String> = expr.operands().into_iter().map(|of| expression(program, of)).collect();
    let flat = kiln_compiler::graph::weights::map_operands(expr, |_| kiln_compiler::graph::WeightId(0));
    format!("{flat:?}({})", operands.join(","))
}
