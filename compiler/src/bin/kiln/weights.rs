//! Where a network's weights come from: a file, the model that the network is from, or the formula.

use std::ffi::OsString;
use std::path::Path;

use clap_lex::OsStrExt;
use kiln_compiler::checkpoint::Checkpoint;
use kiln_compiler::checkpoint::convention::Convention;
use kiln_compiler::checkpoint::names::{Match, Names, Selection, Suggestion, match_names};
use kiln_compiler::front::onnx::Tensors;
use kiln_compiler::graph::{Graph, count};
use kiln_rt::fill::DEFAULT_GAIN;
use kiln_rt::weights::{FillSource, Source};

use crate::map::Mapped;
use crate::report::{Failure, say};

/// The argument that names weights.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Argument {
    /// A safetensors file, a PyTorch state dict, or `fill[:GAIN]` for weights by formula; default: those of an ONNX file,
    /// and where only times are asked for, `fill`
    #[arg(long)]
    weights: Option<OsString>,
    #[command(flatten)]
    selected: Selected,
}

/// Which tensors of a file are the network's, and what stands before their names.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Selected {
    /// Take this dict of the weights file, as `params_ema`, where a training program keeps several
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
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
        Argument { weights: self.weights.clone().or_else(|| Some("fill".into())), selected: self.selected.clone() }
    }

    fn is_file(&self) -> bool {
        self.weights.as_ref().is_some_and(|argument| argument != "fill" && !argument.starts_with("fill:"))
    }

    /// Reads `fill`, `fill:GAIN`, or a file with all that the graph reads, under its own names or by a convention. None
    /// where nothing is named.
    pub(crate) fn open(&self, graph: &Graph, conventions: &[Convention]) -> Result<Option<Weights>, Failure> {
        if !self.is_file()
            && let Some(flag) = self.selected.flag()
        {
            return Err(Failure::new(format!("`{flag}` is for a file that `--weights` names")));
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
        let name = shown.to_string();
        let content = checkpoint(&file, &name)?;
        let found = self.selected.find(graph, &content, &name, conventions)?;
        if !found.mistakes.is_empty() {
            let failure = Failure::new(format!("the weights in {name} do not fit the network:\n{found}"));
            return Err(failure.help_if_known(found.help(Suggestion::flags)));
        }
        if let Some(convention) = found.names.convention() {
            say(&format!("the tensors in {shown} are named as in {convention}"));
        }
        let names = found.names;
        drop(content);
        Ok(Some(Weights::File(file, shown.to_string(), names)))
    }
}

impl Selected {
    /// The first flag that is given.
    pub(crate) fn flag(&self) -> Option<&'static str> {
        let key = self.key.as_ref().map(|_| "--key");
        key.or_else(|| self.strip_prefix.first().map(|_| "--strip-prefix"))
    }

    /// The dict that is asked for.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Finds the tensors that a graph reads, and says of which dict they are taken, where there are several.
    pub(crate) fn find<'a>(
        &self,
        graph: &Graph,
        checkpoint: &'a Checkpoint<'a>,
        name: &str,
        conventions: &[Convention],
    ) -> Result<Match<'a>, Failure> {
        let selection = Selection { key: self.key.clone(), prefixes: self.strip_prefix.clone() };
        let found = match_names(&count::sources(graph), checkpoint, &selection, conventions)
            .map_err(|why| Failure::new(format!("{name}: {why}")))?;
        if let Some(choice) = found.choice() {
            say(&format!("{name}: {choice}; `--key NAME` takes others"));
        }
        Ok(found)
    }
}

/// Reads a file, of whatever format.
pub(crate) fn checkpoint<'a>(file: &'a Mapped, name: &str) -> Result<Checkpoint<'a>, Failure> {
    Checkpoint::parse(file.bytes())
        .map_err(|error| Failure::new(format!("{name} is {error}")).help_if_known(error.help()))
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
