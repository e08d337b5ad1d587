//! Where a network's weights come from: a safetensors file, the model that the network is from, or the formula.

use std::path::Path;

use kiln_compiler::front::onnx::Tensors;
use kiln_rt::fill::DEFAULT_GAIN;
use kiln_rt::safetensors::SafeTensors;
use kiln_rt::weights::{FillSource, Source};

use crate::map::Mapped;
use crate::report::{Context, Failure};

/// What `--weights` named, or what a model holds.
pub(crate) enum Weights {
    /// A mapped file.
    File(Mapped, String),
    /// A model's own.
    Own(Tensors),
    /// The formula, with its gain.
    Fill(f64),
}

impl Weights {
    /// Reads `fill`, `fill:GAIN`, or the path of a safetensors file.
    pub(crate) fn open(argument: &str) -> Result<Self, Failure> {
        if argument == "fill" {
            return Ok(Weights::Fill(DEFAULT_GAIN));
        }
        if let Some(gain) = argument.strip_prefix("fill:") {
            let parsed = gain.parse().ok().filter(|gain: &f64| gain.is_finite() && *gain > 0.0);
            return parsed
                .map(Weights::Fill)
                .ok_or_else(|| Failure::new(format!("the gain in `{argument}` is not a positive number")));
        }
        Ok(Weights::File(Mapped::open(Path::new(argument))?, argument.to_owned()))
    }

    /// Hands the weights to something that reads them.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&dyn Source) -> Result<T, Failure>) -> Result<T, Failure> {
        match self {
            Weights::Fill(gain) => read(&FillSource { gain: *gain }),
            Weights::Own(tensors) => read(tensors),
            Weights::File(file, name) => {
                let tensors = SafeTensors::parse(file.bytes()).context(format!("{name} is not a safetensors file"))?;
                read(&tensors)
            }
        }
    }

    /// What the file says of itself, by name.
    pub(crate) fn metadata(&self) -> Result<Vec<(String, String)>, Failure> {
        match self {
            Weights::Fill(_) | Weights::Own(_) => Ok(Vec::new()),
            Weights::File(file, name) => {
                let file = SafeTensors::parse(file.bytes()).context(format!("{name} is not a safetensors file"))?;
                Ok(file.metadata().iter().map(|(name, value)| (name.clone(), value.clone())).collect())
            }
        }
    }
}
