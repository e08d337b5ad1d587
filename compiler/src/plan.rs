//! Where each block lies in the arena, and the checker beside the planner.
//!
//! A buffer is alive from the step that first writes it to the step that last touches it. Where a kernel allows a
//! result to overwrite an operand that dies with the step, both are one allocation. Allocations that are alive at once
//! get disjoint places; several greedy orders are tried, and the smallest arena wins.
//!
//! The **lower bound** is the largest sum, over the steps in their order, of the bytes of the allocations then alive:
//! no plan of these steps can need less.

mod place;

use std::collections::{BTreeMap, HashMap};

use crate::kernel::{Arg, BufferId, LANES, ParamId, Place, Program, Region, Step};

/// First and last step in which something is alive, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    first: usize,
    last: usize,
}

/// A run of elements that one buffer, or several one after the other, occupy.
#[derive(Clone, Debug)]
struct Allocation {
    buffers: Vec<BufferId>,
    len: usize,
    life: Life,
}

/// Gives every arena and scratch buffer its place. `lanes` says how many lanes of a block hold a channel, where that
/// is fewer than all.
pub fn plan(mut program: Program, lanes: &HashMap<BufferId, usize>) -> Program {
    let allocations = allocations(&program);
    let most = |loads: Vec<usize>| loads.into_iter().max().unwrap_or(0);
    program.arena_lower_bound = most(loads(&allocations, |a| a.len));
    program.logical_lower_bound = most(loads(&allocations, |a| {
        let used = |buffer: &BufferId| match lanes.get(buffer) {
            Some(used) => a.len / LANES * used,
            None => program.buffer(*buffer).len,
        };
        a.buffers.iter().map(used).max().unwrap_or(0)
    }));
    let offsets = place::place(&allocations);
    program.arena = 0;
    for (allocation, offset) in allocations.iter().zip(&offsets) {
        program.arena = program.arena.max(offset + allocation.len);
        for &buffer in &allocation.buffers {
            program.buffers[buffer.index()].place = Place::Arena(*offset);
        }
    }
    plan_scratch(&mut program);
    program
}

/// Scratch holds nothing between calls, so each step's starts at zero.
fn plan_scratch(program: &mut Program) {
    program.scratch = 0;
    for step in 0..program.steps.len() {
        let mut at = 0;
        for buffer in buffers_of(&program.steps[step]) {
            let buffer = &mut program.buffers[buffer.index()];
            if let Place::Scratch(offset) = &mut buffer.place {
                *offset = at;
                at += buffer.len.next_multiple_of(LANES);
            }
        }
        program.scratch = program.scratch.max(at);
    }
}

/// The buffers that a step touches, each once, in the order of its arguments.
fn buffers_of(step: &Step) -> Vec<BufferId> {
    let mut buffers = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for arg in &step.args {
        for region in regions_of(arg) {
            if seen.insert(region.buffer) {
                buffers.push(region.buffer);
            }
        }
    }
    buffers
}

fn regions_of(arg: &Arg) -> &[Region] {
    match arg {
        Arg::Flat(region) => std::slice::from_ref(region),
        Arg::Blocks(regions) => regions,
        Arg::Table(_) => &[],
    }
}

fn allocations(program: &Program) -> Vec<Allocation> {
    let mut lives: BTreeMap<BufferId, Life> = BTreeMap::new();
    for (i, step) in program.steps.iter().enumerate() {
        for buffer in buffers_of(step) {
            if matches!(program.buffer(buffer).place, Place::Arena(_)) {
                lives.entry(buffer).and_modify(|life| life.last = i).or_insert(Life { first: i, last: i });
            }
        }
    }
    let mut allocations: Vec<Option<Allocation>> = Vec::new();
    let mut owner: BTreeMap<BufferId, usize> = BTreeMap::new();
    for (&buffer, &life) in &lives {
        owner.insert(buffer, allocations.len());
        let len = program.buffer(buffer).len.next_multiple_of(LANES);
        allocations.push(Some(Allocation { buffers: vec![buffer], len, life }));
    }
    for (i, step) in program.steps.iter().enumerate() {
        for (written, read) in in_place_pairs(program, step) {
            let (Some(&into), Some(&from)) = (owner.get(&read), owner.get(&written)) else { continue };
            // The operand dies here, and the result is born here, in no place of another operand yet.
            let unplaced = allocations[from].as_ref().is_some_and(|result| *result.buffers == [written]);
            if !unplaced || lives[&read].last != i || lives[&written].first != i {
                continue;
            }
            let Some(result) = allocations[from].take() else { continue };
            let Some(operand) = &mut allocations[into] else { continue };
            if operand.len != result.len {
                allocations[from] = Some(result);
                continue;
            }
            operand.life.last = operand.life.last.max(result.life.last);
            for &buffer in &result.buffers {
                owner.insert(buffer, into);
            }
            operand.buffers.extend(result.buffers);
        }
    }
    allocations.into_iter().flatten().collect()
}

/// Pairs (result, operand) of whole buffers that a step's kernel allows to be the same memory.
fn in_place_pairs(program: &Program, step: &Step) -> Vec<(BufferId, BufferId)> {
    if program.kernel(step).in_place.is_empty() {
        return Vec::new();
    }
    let mut uses: HashMap<BufferId, usize> = HashMap::new();
    step.args.iter().flat_map(regions_of).for_each(|region| *uses.entry(region.buffer).or_default() += 1);
    let mut pairs = Vec::new();
    for &(ParamId(written), ParamId(read)) in &program.kernel(step).in_place {
        let (written, read) = (regions_of(&step.args[written as usize]), regions_of(&step.args[read as usize]));
        for (written, read) in written.iter().zip(read) {
            if written.offset == 0 && read.offset == 0 && uses[&read.buffer] == 1 && uses[&written.buffer] == 1 {
                pairs.push((written.buffer, read.buffer));
            }
        }
    }
    pairs
}

/// The sum of the sizes of what is alive, step by step.
fn loads(allocations: &[Allocation], size: impl Fn(&Allocation) -> usize) -> Vec<usize> {
    let steps = allocations.iter().map(|a| a.life.last + 1).max().unwrap_or(0);
    let (mut born, mut dead) = (vec![0; steps], vec![0; steps + 1]);
    for allocation in allocations {
        let size = size(allocation);
        born[allocation.life.first] += size;
        dead[allocation.life.last + 1] += size;
    }
    let mut alive = 0;
    let load = |(born, dead): (usize, usize)| {
        alive = alive - dead + born;
        alive
    };
    born.into_iter().zip(dead).map(load).collect()
}

/// A plan that loses a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step} reads {buffer}, but {what}")]
pub struct LostValue {
    /// The step that reads.
    pub step: usize,
    /// The buffer that it reads.
    pub buffer: String,
    /// What happened to it.
    pub what: String,
}

/// Checks a plan knowing nothing of how it was made: runs through the steps, remembering for every run of arena
/// elements which buffer was written there last, and looks at each read whether all of its elements are still the
/// buffer's own. A step reads before it writes; what overlaps within a step is the program verifier's matter.
///
/// # Errors
/// Every read that would find another value.
pub fn check(program: &Program) -> Result<(), Vec<LostValue>> {
    let mut owners: BTreeMap<usize, (usize, BufferId)> = BTreeMap::new();
    let mut lost = Vec::new();
    for (i, step) in program.steps.iter().enumerate() {
        let kernel = program.kernel(step);
        let mut written = Vec::new();
        for (param, arg) in kernel.params.iter().zip(&step.args) {
            let access = match param.kind {
                crate::kernel::ParamKind::Flat { access, .. } | crate::kernel::ParamKind::Blocks { access, .. } => {
                    access
                }
                crate::kernel::ParamKind::Table { .. } => continue,
            };
            for region in regions_of(arg) {
                let buffer = program.buffer(region.buffer);
                let Place::Arena(offset) = buffer.place else { continue };
                let range = (offset, offset + buffer.len);
                if access == crate::kernel::Access::Read
                    && let Some(what) = stolen(&owners, range, region.buffer, program)
                {
                    lost.push(LostValue { step: i, buffer: buffer.name.clone(), what });
                } else if access != crate::kernel::Access::Read {
                    written.push((range, region.buffer));
                }
            }
        }
        for ((start, end), buffer) in written {
            claim(&mut owners, start, end, buffer);
        }
    }
    if lost.is_empty() { Ok(()) } else { Err(lost) }
}

/// What keeps a range from being wholly a buffer's, if anything.
fn stolen(
    owners: &BTreeMap<usize, (usize, BufferId)>,
    (start, end): (usize, usize),
    buffer: BufferId,
    program: &Program,
) -> Option<String> {
    let mut at = start;
    let before = owners.range(..=start).next_back();
    for (&from, &(to, owner)) in before.into_iter().chain(owners.range(start + 1..end)) {
        if to <= at {
            continue;
        }
        if from > at {
            break;
        }
        if owner != buffer {
            return Some(format!("{} was written over it", program.buffer(owner).name));
        }
        at = to;
        if at >= end {
            return None;
        }
    }
    (at < end).then(|| "no step has written all of it".to_owned())
}

/// Makes a buffer the owner of a range, cutting what was there.
fn claim(owners: &mut BTreeMap<usize, (usize, BufferId)>, start: usize, end: usize, buffer: BufferId) {
    // Ranges lie apart, so that of those that begin before this one only the last may reach into it.
    let before = owners.range(..start).next_back().filter(|(_, (to, _))| *to > start);
    let overlapping: Vec<(usize, (usize, BufferId))> =
        before.into_iter().chain(owners.range(start..end)).map(|(&from, &rest)| (from, rest)).collect();
    for (from, (to, owner)) in overlapping {
        owners.remove(&from);
        if from < start {
            owners.insert(from, (start, owner));
        }
        if to > end {
            owners.insert(end, (to, owner));
        }
    }
    owners.insert(start, (end, buffer));
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn allocation(len: usize, first: usize, last: usize) -> Allocation {
        Allocation { buffers: Vec::new(), len, life: Life { first, last } }
    }

    /// Numbers by a formula.
    pub(super) struct Random(pub(super) u64);

    impl Random {
        pub(super) fn below(&mut self, below: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 33) as usize % below
        }
    }

    #[test]
    fn claims_cut_what_was_there() {
        let mut owners = BTreeMap::new();
        claim(&mut owners, 0, 100, BufferId(0));
        claim(&mut owners, 20, 40, BufferId(1));
        let runs: Vec<_> = owners.into_iter().collect();
        assert_eq!(runs, [(0, (20, BufferId(0))), (20, (40, BufferId(1))), (40, (100, BufferId(0)))]);
    }
}
