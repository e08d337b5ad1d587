//! Where a network's weights come from: a file, the model that the network is from, or the formula.

use std::ffi::OsString;
use std::path::Path;

use clap_lex::OsStrExt;
use kiln_compiler::checkpoint::Checkpoint;
use kiln_compiler::checkpoint::names::{Convention, Match, Names, match_names};
use kiln_compiler::front::onnx::Tensors;
use kiln_compiler::graph::{Graph, count};
use kiln_rt::fill::DEFAULT_GAIN;
use kiln_rt::weights::{FillSource, Source};

use crate::content::Content;
use crate::map::Mapped;
use crate::report::Failure;

/// The argument that names weights.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Argument {
    /// A safetensors file, a PyTorch state dict, or `fill[:GAIN]` for weights by formula; default: those of an ONNX file,
    /// and where only times are asked for, `fill`
    #[arg(long)]
    weights: Option<OsString>,
    #[command(flatten)]
    prefixes: Prefixes,
}

/// What stands before the names of a file.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Prefixes {
    /// Take this off the names in the weights file, as `module.`; repeated: one after the other
    #[arg(long, value_name = "PREFIX")]
    strip_prefix: Vec<String>,
}

/// What `--weights` named, or what a model holds.
pub(crate) enum Weights {
    /// A mapped file, its path, and the names in it.
    File(Mapped, String, Names),
    /// A model's own.
    Own(Tensors),
    /// The formula, with its gain.
    Fill(f64),
}

impl Argument {
    /// `fill` where nothing is named.
    pub(crate) fn or_fill(&self) -> Self {
        Argument { weights: self.weights.clone().or_else(|| Some("fill".into())), prefixes: self.prefixes.clone() }
    }

    fn is_file(&self) -> bool {
        self.weights.as_ref().is_some_and(|argument| argument != "fill" && !argument.starts_with("fill:"))
    }

    /// Reads `fill`, `fill:GAIN`, or a file with all that the graph reads, under its own names or by a convention. None
    /// where nothing is named.
    pub(crate) fn open(&self, graph: &Graph, conventions: &[Convention]) -> Result<Option<Weights>, Failure> {
        if !self.is_file() && !self.prefixes.strip_prefix.is_empty() {
            return Err(Failure::new("`--strip-prefix` is for a file that `--weights` names"));
        }
        let Some(argument) = &self.weights else { return Ok(None) };
        if argument == "fill" {
            return Ok(Some(Weights::Fill(DEFAULT_GAIN)));
        }
        let shown = argument.display();
        if let Some(gain) = argument.strip_prefix("fill:") {
            let parsed =
                gain.to_str().and_then(|gain| gain.parse().ok()).filter(|gain: &f64| gain.is_finite() && *gain > 0.0);
            return parsed
                .map(|gain| Some(Weights::Fill(gain)))
                .ok_or_else(|| Failure::new(format!("the gain in `{shown}` is not a positive number")));
        }
        let file = Mapped::open(Path::new(argument))?;
        let content = checkpoint(&file, &shown.to_string())?;
        let found = self.prefixes.find(graph, &content, conventions)?;
        if !found.mistakes.is_empty() {
            let failure = Failure::new(format!("the weights in {shown} do not fit the network:\n{found}"));
            return Err(match found.help() {
                Some(help) => failure.help(help),
                None => failure,
            });
        }
        if let Some(convention) = found.names.convention() {
            eprintln!("the tensors in {shown} are named as in {convention}");
        }
        let names = found.names;
        drop(content);
        Ok(Some(Weights::File(file, shown.to_string(), names)))
    }
}

impl Prefixes {
    /// Finds the tensors that a graph reads.
    pub(crate) fn find<'a>(
        &self,
        graph: &Graph,
        checkpoint: &'a Checkpoint<'a>,
        conventions: &[Convention],
    ) -> Result<Match<'a>, Failure> {
        match_names(&count::sources(graph), checkpoint, &self.strip_prefix, conventions).map_err(Failure::new)
    }
}

const NO_SAFETENSORS: &str = "not a safetensors file: ";

/// Reads a file, of whatever format.
pub(crate) fn checkpoint<'a>(file: &'a Mapped, name: &str) -> Result<Checkpoint<'a>, Failure> {
    Checkpoint::parse(file.bytes()).map_err(|error| match Content::of(file.bytes()) {
        Some(content @ (Content::Onnx | Content::Npy | Content::Photo)) => Failure::new(format!(
            "{name} is {content}, not a file of weights"
        ))
        .help("weights are in safetensors files and in PyTorch's state dicts; those of an ONNX model come with it"),
        Some(Content::SafeTensors | Content::Zip | Content::Hdf5) | None => {
            let why = error.to_string();
            // Both that which chooses the format and the reader of safetensors say what the file is not.
            let short = why.strip_prefix(NO_SAFETENSORS).filter(|rest| rest.starts_with(NO_SAFETENSORS));
            Failure::new(format!("{name} is {}", short.unwrap_or(&why)))
        }
    })
}

impl Weights {
    /// A safetensors file under its own names.
    pub(crate) fn of_file(path: &Path, graph: &Graph) -> Result<Self, Failure> {
        let argument = Argument { weights: Some(path.into()), ..Argument::default() };
        argument.open(graph, &[])?.ok_or_else(|| Failure::new("there are no weights"))
    }

    /// Hands the weights to something that reads them.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&dyn Source) -> Result<T, Failure>) -> Result<T, Failure> {
        match self {
            Weights::Fill(gain) => read(&FillSource { gain: *gain }),
            Weights::Own(tensors) => read(tensors),
            Weights::File(file, name, names) => read(&names.of(&checkpoint(file, name)?)),
        }
    }

    /// What the file says of itself, by name.
    pub(crate) fn metadata(&self) -> Result<Vec<(String, String)>, Failure> {
        match self {
            Weights::Fill(_) | Weights::Own(_) => Ok(Vec::new()),
            Weights::File(file, name, _) => Ok(checkpoint(file, name)?.metadata()),
        }
    }
}
