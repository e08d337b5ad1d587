//! From a file of trained weights to a model, in one step: what networks declared in a program do when they are loaded.

use std::collections::BTreeMap;
use std::{error, fmt};

use super::fill::Kind;
use super::model::{self, Model};
use super::network::Network;
use super::safetensors::{ParseError, SafeTensors};
use super::target::Target;
use super::weights::{Expr, PackError, Source, SourceError, Stored, WeightProgram};

/// How a file of trained weights is loaded.
///
/// ```
/// # use kiln_rt::{load::LoadOptions, target::Target};
/// // Names as PyTorch's `DataParallel` leaves them, `module.conv1.weight`; on one target.
/// LoadOptions::new().strip_prefix("module.").target(Target::Portable);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LoadOptions {
    prefixes: Vec<String>,
    target: Option<Target>,
}

impl LoadOptions {
    /// Names as they are, on the best target that this processor has.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes something off the names in the file, as `module.`; given several times, one after the other.
    pub fn strip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefixes.push(prefix.into());
        self
    }

    /// The target, in place of the best one.
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }
}

/// Packs the weights of a safetensors file and makes the model.
///
/// # Errors
/// See [`LoadError`].
pub fn load(
    network: &'static Network,
    weights: WeightProgram<'static>,
    file: &[u8],
    options: &LoadOptions,
) -> Result<Model, LoadError> {
    let file = SafeTensors::parse(file)?;
    let source = Stripped::new(&file, &options.prefixes)?;
    let packed = weights
        .pack(&source)
        .map_err(|error| LoadError::Weights { error, prefix: helpful_prefix(weights.exprs, &file) })?;
    Ok(Model::from_packed(network, packed, options.target)?)
}

/// The tensors of a file by their names without prefixes.
struct Stripped<'f> {
    file: &'f SafeTensors<'f>,
    /// The whole name of each.
    names: BTreeMap<&'f str, &'f str>,
}

impl<'f> Stripped<'f> {
    fn new(file: &'f SafeTensors<'f>, prefixes: &[String]) -> Result<Self, LoadError> {
        let mut names = BTreeMap::new();
        for whole in file.names() {
            let name = prefixes.iter().fold(whole, |name, prefix| name.strip_prefix(prefix.as_str()).unwrap_or(name));
            if let Some(other) = names.insert(name, whole) {
                let (one, other, name) = (other.to_owned(), whole.to_owned(), name.to_owned());
                return Err(LoadError::SameName { one, other, name });
            }
        }
        Ok(Self { file, names })
    }
}

impl Source for Stripped<'_> {
    fn tensor(&self, name: &str, kind: Kind, shape: &[usize]) -> Result<Stored<'_>, SourceError> {
        // What is not there has no whole name, and is missed by its own.
        let whole = self.names.get(name).copied();
        let missing = || SourceError::Missing { name: name.to_owned(), near: Vec::new() };
        Source::tensor(self.file, whole.ok_or_else(missing)?, kind, shape)
    }

    fn names(&self) -> Vec<&str> {
        self.names.keys().copied().collect()
    }
}

/// What stands before the names of all tensors that a network reads, where that is all that keeps them from matching.
fn helpful_prefix(exprs: &[Expr], file: &SafeTensors<'_>) -> Option<String> {
    let reads: Vec<(&str, &[usize])> = exprs
        .iter()
        .filter_map(|expr| match expr {
            Expr::Read { name, shape, .. } => Some((&**name, &**shape)),
            _ => None,
        })
        .collect();
    let (first, _) = reads.first()?;
    let fits = |prefix: &str| {
        reads.iter().all(|(name, shape)| file.shape(&format!("{prefix}{name}")).is_some_and(|found| found == *shape))
    };
    let mut prefixes = file.names().filter_map(|name| name.strip_suffix(first)).filter(|prefix| !prefix.is_empty());
    prefixes.find(|prefix| fits(prefix)).map(str::to_owned)
}

/// Why a network cannot be loaded.
pub enum LoadError {
    /// The file is no safetensors file, or a broken one.
    File(ParseError),
    /// Two names of the file are one without their prefixes.
    SameName {
        /// The first.
        one: String,
        /// The other.
        other: String,
        /// What both are then.
        name: String,
    },
    /// It is not this network's.
    Weights {
        /// All that it lacks or has in another shape.
        error: PackError,
        /// Without which prefix all names would match.
        prefix: Option<String>,
    },
    /// The model cannot be made: a target that is not there, or no memory.
    Model(model::LoadError),
}

impl From<ParseError> for LoadError {
    fn from(error: ParseError) -> Self {
        Self::File(error)
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
            Self::SameName { one, other, name } => {
                write!(f, "tensors `{one}` and `{other}` are both `{name}` without their prefixes")
            }
            Self::Weights { error, prefix } => {
                error.fmt(f)?;
                match prefix {
                    Some(prefix) => write!(f, "\nall names would match with `.strip_prefix({prefix:?})`"),
                    None => Ok(()),
                }
            }
            Self::Model(error) => error.fmt(f),
        }
    }
}

impl error::Error for LoadError {}

/// As it is displayed: a program whose `main` returns it prints this.
impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
