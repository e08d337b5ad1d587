//! Files of trained weights: which format one is of, its tensors by name, and how a network's names are found in it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`torch`] | PyTorch's state dicts |
//! | [`dict`] | which dict of a file is the network's |
//! | [`names`] | a network's names in a file, behind prefixes and by conventions |
//! | [`convention`] | how other programs name the tensors of a network |
//!
//! safetensors are read by kiln-rt, since emitted crates read them too.

use std::{error, fmt};

use kiln_rt::content::Content;
use kiln_rt::safetensors::SafeTensors;
use kiln_rt::weights::{Source, SourceError, Stored};

use crate::graph::weights::Kind;

pub mod convention;
pub mod dict;
pub mod names;
pub mod torch;

use dict::Dict;
use torch::StateDict;

/// How the reader of safetensors begins where a file is none at all.
const NO_SAFETENSORS: &str = "not a safetensors file: ";

/// A file of weights, its tensors where they lie.
#[derive(Debug)]
pub enum Checkpoint<'a> {
    /// `.safetensors`.
    SafeTensors(SafeTensors<'a>),
    /// `.pth`, `.pt`, `.bin`.
    StateDict(StateDict<'a>),
}

impl<'a> Checkpoint<'a> {
    /// Reads a file of a format that its content tells.
    ///
    /// # Errors
    /// The first mistake, with its place where it has one; or what the file is, if it is none of weights.
    pub fn parse(file: &'a [u8]) -> Result<Self, Malformed> {
        let content = || Content::of(file);
        let other = |content: Content| Malformed {
            message: format!("{content}, not a file of weights"),
            help: Some(content.help().unwrap_or(
                "weights are in safetensors files and in PyTorch's state dicts; those of an ONNX model come with it",
            )),
        };
        if torch::is_torch(file) {
            return StateDict::parse(file).map(Checkpoint::StateDict).map_err(|error| match content() {
                Some(content @ (Content::Npz | Content::Keras)) => other(content),
                content => {
                    let help = content.filter(|content| *content != Content::StateDict).and_then(Content::help);
                    Malformed { message: format!("not a state dict of PyTorch that kiln reads: {error}"), help }
                }
            });
        }
        SafeTensors::parse(file).map(Checkpoint::SafeTensors).map_err(|error| match content() {
            Some(Content::SafeTensors) | None => {
                let why = error.to_string();
                let why = why.strip_prefix(NO_SAFETENSORS).unwrap_or(&why);
                Malformed::new(format!("{NO_SAFETENSORS}{why}"))
            }
            Some(content) => other(content),
        })
    }

    /// All tensors: their names, sorted, and their shapes.
    pub fn shapes(&self) -> Vec<(&str, &[usize])> {
        match self {
            Checkpoint::SafeTensors(file) => file.names().filter_map(|name| Some((name, file.shape(name)?))).collect(),
            Checkpoint::StateDict(dict) => dict.shapes().collect(),
        }
    }

    /// What the file says of itself, by name.
    pub fn metadata(&self) -> Vec<(String, String)> {
        match self {
            Checkpoint::SafeTensors(file) => {
                file.metadata().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
            }
            Checkpoint::StateDict(_) => Vec::new(),
        }
    }

    /// The dict of the network, where a training program keeps it beside other things.
    fn network(&self) -> Dict {
        match self {
            Checkpoint::SafeTensors(_) => Dict::default(),
            Checkpoint::StateDict(dict) => dict.network(),
        }
    }

    /// The dicts of a file that hold tensors, by name.
    fn dicts(&self) -> Vec<&str> {
        match self {
            Checkpoint::SafeTensors(_) => Vec::new(),
            Checkpoint::StateDict(dict) => dict.dicts(),
        }
    }

    /// How many bytes follow the last tensor.
    pub fn trailing(&self) -> usize {
        match self {
            Checkpoint::SafeTensors(file) => file.trailing(),
            Checkpoint::StateDict(_) => 0,
        }
    }
}

impl Source for Checkpoint<'_> {
    fn tensor(&self, name: &str, kind: Kind, shape: &[usize]) -> Result<Stored<'_>, SourceError> {
        match self {
            Checkpoint::SafeTensors(file) => Source::tensor(file, name, kind, shape),
            Checkpoint::StateDict(dict) => dict.tensor(name, kind, shape),
        }
    }

    fn names(&self) -> Vec<&str> {
        match self {
            Checkpoint::SafeTensors(file) => Source::names(file),
            Checkpoint::StateDict(dict) => dict.names(),
        }
    }
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    message: String,
    help: Option<&'static str>,
}

impl Malformed {
    fn new(message: impl Into<String>) -> Self {
        Malformed { message: message.into(), help: None }
    }

    /// What to do about it, where something is known.
    pub fn help(&self) -> Option<&'static str> {
        self.help
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for Malformed {}
