//! Files of trained weights: which format one is of, its tensors by name, and how a network's names are found in it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`torch`] | PyTorch's state dicts |
//! | [`names`] | prefixes, and the conventions under which others name the tensors of a network |
//!
//! safetensors are read by kiln-rt, since emitted crates read them too.

use std::{error, fmt};

use kiln_rt::safetensors::SafeTensors;
use kiln_rt::weights::{Source, SourceError, Stored};

use crate::graph::weights::Kind;

pub mod names;
pub mod torch;

use torch::StateDict;

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
    /// The first mistake, with its place where it has one.
    pub fn parse(file: &'a [u8]) -> Result<Self, Malformed> {
        if torch::is_torch(file) {
            let dict = StateDict::parse(file);
            return dict
                .map(Checkpoint::StateDict)
                .map_err(|error| Malformed(format!("not a state dict of PyTorch that kiln reads: {error}")));
        }
        match file {
            [0x89, b'H', b'D', b'F', ..] => {
                Err(Malformed::new("an HDF5 file, as Keras writes it, which kiln does not read"))
            }
            [0x80, 2..=5, ..] => Err(Malformed::new("a pickle, but none of `torch.save`, and kiln runs nothing")),
            _ => SafeTensors::parse(file)
                .map(Checkpoint::SafeTensors)
                .map_err(|error| Malformed(format!("not a safetensors file: {error}"))),
        }
    }

    /// All tensors: their names, sorted, and their shapes.
    pub fn shapes(&self) -> Vec<(&str, &[usize])> {
        match self {
            Checkpoint::SafeTensors(file) => {
                file.names().filter_map(|name| Some((name, file.tensor(name)?.shape))).collect()
            }
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

    /// What stands before the names of the network's tensors: see [`StateDict::network`].
    fn network(&self) -> &str {
        match self {
            Checkpoint::SafeTensors(_) => "",
            Checkpoint::StateDict(dict) => dict.network(),
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
pub struct Malformed(String);

impl Malformed {
    fn new(message: impl Into<String>) -> Self {
        Malformed(message.into())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Malformed {}
