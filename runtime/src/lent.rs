//! Running a network on memory that the caller lends: one thread, no allocation, no system.

use core::{error, fmt};

use super::network::Network;
use super::plan::{Context, Plan};
use super::target::{AvailableTarget, Target};
use super::tensor::{Counted, DType, Elements, ElementsMut, TensorInfo, Were};
use super::weights_file::{self, WeightsError};

/// A network on lent memory. Its results are the bits of a session on the same target.
///
/// Nothing but the alignment of an `f32` is asked of any memory. Arena, scratch and weights that start on a cache line,
/// a multiple of 64 bytes, are the fastest.
pub struct LentSession<'m> {
    network: &'static Network,
    plan: &'static Plan,
    weights: &'m [f32],
    arena: &'m mut [f32],
    scratch: &'m mut [f32],
}

impl fmt::Debug for LentSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (network, target) = (self.network.name(), self.target());
        f.debug_struct("LentSession").field("network", &network).field("target", &target).finish_non_exhaustive()
    }
}

impl<'m> LentSession<'m> {
    /// `network` on `target` with a weights file, which is used in place. What arena and scratch hold does not matter.
    ///
    /// # Errors
    /// See [`LentError`].
    pub fn new(
        network: &'static Network,
        target: AvailableTarget,
        weights: &'m [u8],
        arena: &'m mut [f32],
        scratch: &'m mut [f32],
    ) -> Result<Self, LentError> {
        let target = target.target();
        let plan = network.plans().iter().find(|plan| plan.target == target);
        let plan = plan.ok_or(LentError::NotBuilt { target })?;
        if arena.len() < plan.arena {
            return Err(LentError::Arena { needed: plan.arena, given: arena.len() });
        }
        if scratch.len() < plan.scratch {
            return Err(LentError::Scratch { needed: plan.scratch, given: scratch.len() });
        }
        let data = weights_file::open(weights, network.weights()).map_err(LentError::Weights)?;
        if cfg!(target_endian = "big") {
            return Err(LentError::ByteOrder);
        }
        // SAFETY: any bytes are an f32.
        let (before, weights, after) = unsafe { data.align_to::<f32>() };
        if !before.is_empty() || !after.is_empty() {
            return Err(LentError::Alignment);
        }
        Ok(Self { network, plan, weights, arena, scratch })
    }

    /// The network that it runs.
    pub fn network(&self) -> &'static Network {
        self.network
    }

    /// The target that it runs on.
    pub fn target(&self) -> Target {
        self.plan.target
    }

    /// Runs with inputs and outputs in the network's order.
    ///
    /// # Errors
    /// Another number of inputs or outputs, or one of another length or type: nothing was computed.
    pub fn run<const I: usize, const O: usize>(
        &mut self,
        inputs: [Elements<'_>; I],
        mut outputs: [ElementsMut<'_>; O],
    ) -> Result<(), LentError> {
        let (input_infos, output_infos) = (self.network.inputs(), self.network.outputs());
        if (I, O) != (input_infos.len(), output_infos.len()) {
            return Err(LentError::Count);
        }
        let given = inputs.iter().copied().chain(outputs.iter().map(ElementsMut::as_elements));
        for (&tensor, given) in input_infos.iter().chain(output_infos).zip(given) {
            if given.dtype() != tensor.dtype {
                return Err(LentError::Type { tensor, given: given.dtype() });
            }
            if given.len() != tensor.len() {
                return Err(LentError::Length { tensor, given: given.len() });
            }
        }
        let (inputs, outputs) = (inputs.map(Elements::base), outputs.each_mut().map(ElementsMut::base));
        let (arena, scratch) = (self.arena.as_mut_ptr(), self.scratch.as_mut_ptr());
        let context = Context::new(arena, scratch, self.weights.as_ptr(), &inputs, &outputs);
        // SAFETY: the processor has the target, as its token says. Arena and scratch are at least as long as the plan
        // asks for, the weights as long as the layout says, inputs and outputs as the network says. All are borrowed
        // until this returns, what is written exclusively. The steps are right by the contract of Network::new.
        unsafe { self.plan.run_alone(&context) }
        Ok(())
    }
}

/// Why lent memory does not do, or a run was refused. Lengths are in `f32` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LentError {
    /// The network was built without this target.
    NotBuilt {
        /// That target.
        target: Target,
    },
    /// The arena is too short.
    Arena {
        /// The least length.
        needed: usize,
        /// That of the one that was given.
        given: usize,
    },
    /// The scratch is too short.
    Scratch {
        /// The least length.
        needed: usize,
        /// That of the one that was given.
        given: usize,
    },
    /// The weights are not this network's.
    Weights(WeightsError),
    /// The weights file does not start at a multiple of four bytes.
    Alignment,
    /// Weights files are little endian, and this processor is not.
    ByteOrder,
    /// Another number of inputs or outputs.
    Count,
    /// An input or output with elements of another type.
    Type {
        /// The tensor.
        tensor: TensorInfo,
        /// The type that was given.
        given: DType,
    },
    /// An input or output of another length.
    Length {
        /// The tensor.
        tensor: TensorInfo,
        /// The length that was given.
        given: usize,
    },
}

impl fmt::Display for LentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt { target } => write!(f, "the network was built without the target {target}"),
            Self::Arena { needed, given } => {
                write!(f, "the arena has {}, and {needed} are needed", Counted(*given, "element"))
            }
            Self::Scratch { needed, given } => {
                write!(f, "the scratch has {}, and {needed} are needed", Counted(*given, "element"))
            }
            Self::Weights(error) => error.fmt(f),
            Self::Alignment => f.write_str("the weights file does not start at a multiple of four bytes"),
            Self::ByteOrder => f.write_str("weights files are little endian, and this processor is not"),
            Self::Count => f.write_str("another number of inputs or outputs than the network has"),
            Self::Type { tensor, given } => {
                write!(f, "`{}` has elements of type {}, but {given} were given", tensor.name, tensor.dtype)
            }
            Self::Length { tensor, given } => {
                let elements = Counted(tensor.len(), "element");
                write!(f, "`{}` has {elements}, but {} given", tensor.name, Were(*given))
            }
        }
    }
}

impl error::Error for LentError {}
