//! From a file of trained weights to a model, in one step: what networks declared in a program do when they are loaded.

use std::{error, fmt};

use super::model::{self, Model};
use super::network::Network;
use super::safetensors::{ParseError, SafeTensors};
use super::target::Target;
use super::weights::{PackError, WeightProgram};

/// Packs the weights of a safetensors file and makes the model, for `target` or for the best one of this processor.
///
/// # Errors
/// See [`LoadError`].
pub fn load(
    network: &'static Network,
    weights: WeightProgram<'static>,
    file: &[u8],
    target: Option<Target>,
) -> Result<Model, LoadError> {
    let packed = weights.pack(&SafeTensors::parse(file)?)?;
    Ok(Model::from_packed(network, packed, target)?)
}

/// Why a network cannot be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The file is no safetensors file, or a broken one.
    File(ParseError),
    /// It is not this network's: all that it lacks or has in another shape.
    Weights(PackError),
    /// The model cannot be made: a target that is not there, or no memory.
    Model(model::LoadError),
}

impl From<ParseError> for LoadError {
    fn from(error: ParseError) -> Self {
        Self::File(error)
    }
}

impl From<PackError> for LoadError {
    fn from(error: PackError) -> Self {
        Self::Weights(error)
    }
}

impl From<model::LoadError> for LoadError {
    fn from(error: model::LoadError) -> Self {
        Self::Model(error)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Weights(error) => error.fmt(f),
            Self::Model(error) => error.fmt(f),
        }
    }
}

impl error::Error for LoadError {}
