//! A program in the form that runs: steps of independent units over one memory.
//!
//! A step's units are fixed when the code is made, so what a unit computes, and in which order, does not depend on who
//! runs it.

use super::target::Target;

/// What a step's function is given: the memory, and this worker's part of it.
pub struct Context<'a> {
    arena: *mut f32,
    scratch: *mut f32,
    weights: *const f32,
    inputs: &'a [*const f32],
    outputs: &'a [*mut f32],
}

impl<'a> Context<'a> {
    /// The memory that one worker runs on. Who runs a step with it sees to it that the pointers are valid.
    pub fn new(
        arena: *mut f32,
        scratch: *mut f32,
        weights: *const f32,
        inputs: &'a [*const f32],
        outputs: &'a [*mut f32],
    ) -> Self {
        Self { arena, scratch, weights, inputs, outputs }
    }

    /// The arena: [`Plan::arena`] elements, shared by all workers.
    #[inline]
    pub fn arena(&self) -> *mut f32 {
        self.arena
    }

    /// This worker's scratch: [`Plan::scratch`] elements, its own.
    #[inline]
    pub fn scratch(&self) -> *mut f32 {
        self.scratch
    }

    /// The packed weights; tensors lie at the offsets of the network's weights layout.
    #[inline]
    pub fn weights(&self) -> *const f32 {
        self.weights
    }

    /// Input `index` of the network: as many elements as it declares, of the type that it declares.
    #[inline]
    pub fn input(&self, index: usize) -> *const f32 {
        self.inputs[index]
    }

    /// Output `index` of the network: as many elements as it declares, of the type that it declares.
    #[inline]
    pub fn output(&self, index: usize) -> *mut f32 {
        self.outputs[index]
    }
}

/// One kernel call for each unit.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The kernel's name, as profiles print it.
    pub name: &'static str,
    /// Computes units `lo..hi`. The contract of its call is that of [`Plan::run_alone`].
    pub run: unsafe fn(&Context<'_>, lo: usize, hi: usize),
    /// How many units it has.
    pub units: usize,
    /// What must be done before it starts.
    pub waits: Waits,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// All units of the steps before it.
    Barrier,
    /// Nothing: unit u reads only what unit u of the step before wrote, and both have the same number of units.
    OwnUnits,
}

/// A network's program for one target.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whose instructions the steps use.
    pub target: Target,
    /// The arena's size in `f32` elements.
    pub arena: usize,
    /// The scratch of one worker in `f32` elements.
    pub scratch: usize,
    /// The steps, in order.
    pub steps: &'static [Step],
}

impl Plan {
    /// Runs all steps on the caller's thread.
    ///
    /// # Safety
    /// - This processor has the plan's target.
    /// - The arena and the scratch of `context` are valid for as many elements as this plan says, the weights, and each
    ///   input and output, for as many as the network says; no output overlaps another pointer or is in use elsewhere
    ///   while this runs.
    /// - Within those bounds the steps are right: units `lo..hi` of a step touch no memory outside them, write nothing
    ///   that other units of that step touch, and read what others wrote only as their [`Waits`] allows.
    pub unsafe fn run_alone(&self, context: &Context<'_>) {
        for step in self.steps {
            if step.units > 0 {
                // SAFETY: the caller's contract; one worker has all units, one step after another.
                unsafe { (step.run)(context, 0, step.units) }
            }
        }
    }
}

/// The largest arena of some plans, in `f32` elements.
pub const fn largest_arena(plans: &[Plan]) -> usize {
    let (mut largest, mut index) = (0, 0);
    while index < plans.len() {
        if plans[index].arena > largest {
            largest = plans[index].arena;
        }
        index += 1;
    }
    largest
}

/// The largest scratch of one worker of some plans, in `f32` elements.
pub const fn largest_scratch(plans: &[Plan]) -> usize {
    let (mut largest, mut index) = (0, 0);
    while index < plans.len() {
        if plans[index].scratch > largest {
            largest = plans[index].scratch;
        }
        index += 1;
    }
    largest
}
