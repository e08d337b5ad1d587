//! A network with its weights, on one target: what sessions share.

use std::sync::Arc;
use std::{error, fmt};

use super::arena::{ALIGNMENT, AlignedBuf, OutOfMemory};
use super::network::Network;
use super::plan::Plan;
use super::session::{Session, Threads};
use super::target::Target;
use super::weights_file::{self, WeightsError};

impl Network {
    /// The plan for `target`, or the best that this processor can run.
    fn plan(&self, target: Option<Target>) -> Result<&'static Plan, LoadError> {
        let built = || self.plans().iter().map(|plan| plan.target).collect();
        let Some(target) = target else {
            let best = self.plans().iter().find(|plan| plan.target.is_available());
            return best.ok_or_else(|| LoadError::NoTarget { built: built() });
        };
        let plan = self.plans().iter().find(|plan| plan.target == target);
        let plan = plan.ok_or_else(|| LoadError::NotBuilt { target, built: built() })?;
        if target.is_available() { Ok(plan) } else { Err(LoadError::NotAvailable { target }) }
    }
}

/// Where packed weights come from.
#[derive(Debug)]
pub enum Weights<'f> {
    /// A weights file that stays where it is, used in place where it is aligned: one linked into the program, or mapped
    /// for as long as it runs.
    Static(&'static [u8]),
    /// A weights file in memory; its data is copied.
    Bytes(&'f [u8]),
    /// The data alone, as the layout places it, packed in this process.
    Packed(AlignedBuf),
}

impl<'f> From<&'f [u8]> for Weights<'f> {
    fn from(file: &'f [u8]) -> Self {
        Self::Bytes(file)
    }
}

impl<'f> From<&'f Vec<u8>> for Weights<'f> {
    fn from(file: &'f Vec<u8>) -> Self {
        Self::Bytes(file)
    }
}

impl From<AlignedBuf> for Weights<'_> {
    fn from(data: AlignedBuf) -> Self {
        Self::Packed(data)
    }
}

/// A network, its packed weights and the plan that its sessions run. Cloning it shares them.
#[derive(Clone)]
pub struct Model(Arc<Loaded>);

struct Loaded {
    network: &'static Network,
    plan: &'static Plan,
    data: Data,
}

enum Data {
    Static(&'static [u8]),
    Owned(AlignedBuf),
}

impl Model {
    /// A model of `network` with `weights`, for `target` or for the best one that this processor has.
    ///
    /// # Errors
    /// A target that is not available here or was not built; weights that are not those of this network.
    pub fn from_packed<'w>(
        network: &'static Network,
        weights: impl Into<Weights<'w>>,
        target: Option<Target>,
    ) -> Result<Self, LoadError> {
        let plan = network.plan(target)?;
        let layout = network.weights();
        let data = match weights.into() {
            Weights::Static(file) => {
                let data = weights_file::open(file, layout)?;
                let in_place = cfg!(target_endian = "little") && data.as_ptr().addr().is_multiple_of(ALIGNMENT);
                if in_place { Data::Static(data) } else { Data::Owned(copied(data)?) }
            }
            Weights::Bytes(file) => Data::Owned(copied(weights_file::open(file, layout)?)?),
            Weights::Packed(data) if data.len() == layout.elements() => Data::Owned(data),
            Weights::Packed(data) => {
                return Err(WeightsError::Elements { expected: layout.elements(), found: data.len() }.into());
            }
        };
        Ok(Self(Arc::new(Loaded { network, plan, data })))
    }

    /// The network that it runs.
    pub fn network(&self) -> &'static Network {
        self.0.network
    }

    /// The target that it runs on.
    pub fn target(&self) -> Target {
        self.0.plan.target
    }

    /// The plan that its sessions run.
    pub fn plan(&self) -> &'static Plan {
        self.0.plan
    }

    /// A session with its own arena and workers.
    pub fn session(&self, threads: Threads) -> Session {
        Session::new(self.clone(), threads)
    }

    /// The first packed tensor, valid as long as the model lives.
    pub(super) fn weights(&self) -> *const f32 {
        match &self.0.data {
            Data::Static(bytes) => bytes.as_ptr().cast(),
            Data::Owned(buffer) => buffer.base(),
        }
    }
}

fn copied(data: &[u8]) -> Result<AlignedBuf, OutOfMemory> {
    let mut buffer = AlignedBuf::zeroed(data.len() / 4)?;
    for (element, bytes) in buffer.as_mut_slice().iter_mut().zip(data.chunks_exact(4)) {
        *element = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    Ok(buffer)
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (network, target) = (self.network().name(), self.target());
        f.debug_struct("Model").field("network", &network).field("target", &target).finish_non_exhaustive()
    }
}

/// Why a model cannot be made.
#[derive(Clone, PartialEq, Eq)]
pub enum LoadError {
    /// The weights are not this network's.
    Weights(WeightsError),
    /// This processor lacks the target that was asked for.
    NotAvailable {
        /// That target.
        target: Target,
    },
    /// The network was built without the target that was asked for.
    NotBuilt {
        /// That target.
        target: Target,
        /// The targets that it was built for.
        built: Vec<Target>,
    },
    /// This processor has none of the targets that the network was built for.
    NoTarget {
        /// Those targets.
        built: Vec<Target>,
    },
    /// There is no memory for the weights.
    OutOfMemory(OutOfMemory),
}

impl From<WeightsError> for LoadError {
    fn from(error: WeightsError) -> Self {
        Self::Weights(error)
    }
}

impl From<OutOfMemory> for LoadError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |targets: &[Target]| targets.iter().map(|target| target.name()).collect::<Vec<_>>().join(", ");
        match self {
            Self::Weights(error) => error.fmt(f),
            Self::NotAvailable { target } => write!(f, "this processor lacks the target {target}"),
            Self::NotBuilt { target, built } => {
                write!(f, "the network was built without the target {target}; it has {}", list(built))
            }
            Self::NoTarget { built } => {
                write!(f, "this processor has none of the targets of the network: {}", list(built))
            }
            Self::OutOfMemory(error) => error.fmt(f),
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

#[cfg(test)]
mod tests;
