//! Running a plan on the workers of a session, and the memory that they share.
//!
//! Worker w of n runs units `U*w/n .. U*(w+1)/n` of each step.

use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::arena::{AlignedBuf, OutOfMemory};
use super::plan::{Context, Plan, Waits};
use super::pool::{Pool, Team};

impl Plan {
    /// Runs all steps on the workers of `pool`.
    ///
    /// # Safety
    /// - This processor has the plan's target.
    /// - `memory` was made for this plan and at least as many workers as the pool has, and is bound: the weights, and
    ///   each input and output, are valid for as many elements as the network says, and no output overlaps another
    ///   pointer or is in use elsewhere while this runs.
    /// - The last point of [`Plan::run_alone`]'s contract.
    pub unsafe fn run(&self, memory: &Memory, pool: &mut Pool) {
        // SAFETY: the caller's contract.
        unsafe { self.run_marked(memory, pool, &|| ()) }
    }

    /// Runs as [`Plan::run`] does, and says how long each step took, as the caller's thread sees it.
    ///
    /// # Safety
    /// As for [`Plan::run`].
    pub unsafe fn run_timed(&self, memory: &Memory, pool: &mut Pool) -> Vec<StepTime> {
        let starts = Mutex::new(Vec::with_capacity(self.steps.len() + 1));
        let mark = || starts.lock().map_or((), |mut starts| starts.push(Instant::now()));
        // SAFETY: the caller's contract.
        unsafe { self.run_marked(memory, pool, &mark) }
        mark();
        let starts = starts.into_inner().unwrap_or_default();
        let times = starts.windows(2).map(|pair| pair[1] - pair[0]);
        self.steps.iter().zip(times).map(|(step, time)| StepTime { kernel: step.name, time }).collect()
    }

    /// Runs all steps; the caller's thread calls `mark` whenever one may begin.
    ///
    /// # Safety
    /// As for [`Plan::run`].
    unsafe fn run_marked(&self, memory: &Memory, pool: &mut Pool, mark: &(impl Fn() + Sync)) {
        pool.run(&|team| {
            let context = memory.context(team.worker());
            for (index, step) in self.steps.iter().enumerate() {
                // Starting a run orders it after all that was before, so the first step waits for nobody.
                if index > 0 && step.waits == Waits::Barrier {
                    team.meet();
                }
                if team.worker() == 0 {
                    mark();
                }
                let units = share(step.units, &team);
                if !units.is_empty() {
                    // SAFETY: the caller's contract. Workers have disjoint units of a step, and those of steps with a
                    // barrier between them are ordered by it; with OwnUnits a worker meets its own units again.
                    unsafe { (step.run)(&context, units.start, units.end) }
                }
            }
        });
    }
}

/// How long a step took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    /// The name of its kernel.
    pub kernel: &'static str,
    /// From its start to the next one's.
    pub time: Duration,
}

/// The part of `units` that a worker of the team runs.
fn share(units: usize, team: &Team<'_>) -> Range<usize> {
    units * team.worker() / team.workers()..units * (team.worker() + 1) / team.workers()
}

/// The memory of one session: its own arena and scratch, and pointers to weights, inputs and outputs.
pub struct Memory {
    arena: AlignedBuf,
    scratch: AlignedBuf,
    /// Distance between two workers' scratch.
    stride: usize,
    weights: *const f32,
    inputs: Vec<*const f32>,
    outputs: Vec<*mut f32>,
}

// SAFETY: the pointers are only followed in Plan::run, whose contract is that they may be, from any worker.
unsafe impl Send for Memory {}
// SAFETY: as for Send; a shared reference gives nothing but the pointers.
unsafe impl Sync for Memory {}

impl Memory {
    /// Zeroed arena and scratch for `plan` with `workers`, and room for so many inputs and outputs.
    ///
    /// # Errors
    /// When the system does not give the memory.
    pub fn new(plan: &Plan, workers: usize, inputs: usize, outputs: usize) -> Result<Self, OutOfMemory> {
        // Two cache lines, so that no worker's prefetches reach into another's scratch.
        let stride = plan.scratch.div_ceil(32) * 32;
        Ok(Self {
            arena: AlignedBuf::zeroed(plan.arena)?,
            scratch: AlignedBuf::zeroed(stride.saturating_mul(workers))?,
            stride,
            weights: std::ptr::null(),
            inputs: vec![std::ptr::null(); inputs],
            outputs: vec![std::ptr::null_mut(); outputs],
        })
    }

    /// Binds the packed weights.
    pub fn bind_weights(&mut self, weights: *const f32) {
        self.weights = weights;
    }

    /// Binds input `index`.
    pub fn bind_input(&mut self, index: usize, input: *const f32) {
        self.inputs[index] = input;
    }

    /// Binds output `index`.
    pub fn bind_output(&mut self, index: usize, output: *mut f32) {
        self.outputs[index] = output;
    }

    fn context(&self, worker: usize) -> Context<'_> {
        // Within the buffer or, for a scratch of no elements, its base.
        let scratch = self.scratch.base().wrapping_add(self.stride * worker);
        Context::new(self.arena.base(), scratch, self.weights, &self.inputs, &self.outputs)
    }
}
