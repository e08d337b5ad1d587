//! `kiln export`: a network to an ONNX model.

use std::path::{Path, PathBuf};

use kiln_compiler::back::onnx::{Model, OPSET};
use kiln_compiler::pipeline;

use crate::dump::print_line;
use crate::file::NewFile;
use crate::inspect::grouped;
use crate::progress::Doing;
use crate::report::{Context, Failure};
use crate::spec::{Network, Spec};
use crate::weights;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Spec,
    #[command(flatten)]
    weights: weights::Argument,
    /// Fold each BatchNorm into the convolution or linear layer before it; default: they stay nodes
    #[arg(long)]
    fold_batch_norm: bool,
    /// Keep the weights in a file beside the model, `FILE.data`; so they are anyhow where the model exceeds 2 GB
    #[arg(long)]
    external_data: bool,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// The model, an `.onnx` file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Writes a model.
pub(crate) fn export(args: &Args) -> Result<(), Failure> {
    let doing = Doing::new(format!("reading {}", args.spec.name()));
    let Network { graph, weights, .. } = args.spec.load_with(&args.weights, &[])?;
    let model_file = NewFile::begin(&args.out, args.force)?;
    let network = graph.name.clone();
    let model = pipeline::export(graph, args.fold_batch_norm)?;
    doing.now("evaluating weights and writing the model");
    let failed = format!("cannot write {}", args.out.display());
    if args.external_data || model.size() > Model::LIMIT {
        let (path, location) = data_file(&args.out)?;
        let data_file = NewFile::begin(&path, args.force)?;
        let data_file =
            data_file.write(|out| weights.with(|source| model.write_weights(source, out).context(&failed)))?;
        let model_file = model_file.write(|out| out.write_all(&model.without_weights(&location)).context(&failed))?;
        data_file.finish()?;
        model_file.finish()?;
    } else {
        let model_file = model_file.write(|out| weights.with(|source| model.write(source, out).context(&failed)))?;
        model_file.finish()?;
    }
    drop(doing);
    let [nodes, initializers, bytes] = model.counts().map(grouped);
    print_line(format_args!("{network} in {}", args.out.display()))?;
    print_line(format_args!(
        "version {OPSET} of ONNX: {nodes} nodes, {initializers} initializers, {bytes} bytes of weights"
    ))
}

/// The file of a model's weights, and what the model calls it.
fn data_file(model: &Path) -> Result<(PathBuf, String), Failure> {
    let name = model.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| {
        Failure::new(format!("a model names the file of its weights in UTF-8, which {} is not", model.display()))
    })?;
    let location = format!("{name}.data");
    Ok((model.with_file_name(&location), location))
}
