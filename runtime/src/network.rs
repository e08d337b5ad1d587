//! A compiled network: its code and what is constant about it.

use super::plan::Plan;
use super::tensor::TensorInfo;
use super::weights_file::WeightsLayout;

/// A compiled network: everything about it that is constant.
#[derive(Debug)]
pub struct Network {
    name: &'static str,
    inputs: &'static [TensorInfo],
    outputs: &'static [TensorInfo],
    plans: &'static [Plan],
    weights: WeightsLayout,
}

impl Network {
    /// A network with one plan for each target, best first.
    ///
    /// # Safety
    /// The last point of [`Plan::run_alone`]'s contract holds for every plan, with inputs and outputs of the declared
    /// lengths and weights of the layout's extent: sessions run the plans from safe code.
    #[allow(unsafe_code, reason = "the promise that makes a session's run safe is given here, once a network")]
    pub const unsafe fn new(
        name: &'static str,
        inputs: &'static [TensorInfo],
        outputs: &'static [TensorInfo],
        plans: &'static [Plan],
        weights: WeightsLayout,
    ) -> Self {
        Self { name, inputs, outputs, plans, weights }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its inputs, in order.
    pub const fn inputs(&self) -> &'static [TensorInfo] {
        self.inputs
    }

    /// Its outputs, in order.
    pub const fn outputs(&self) -> &'static [TensorInfo] {
        self.outputs
    }

    /// Its plans, best target first.
    pub const fn plans(&self) -> &'static [Plan] {
        self.plans
    }

    /// Its packed weights.
    pub const fn weights(&self) -> &WeightsLayout {
        &self.weights
    }
}
