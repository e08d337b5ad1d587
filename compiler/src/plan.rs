//! Where each block lies in the arena, and the checker beside the planner.
//!
//! A buffer is alive from the step that first writes it to the step that last touches it. Where a kernel allows a
//! result to overwrite an operand that dies with the step, both are one allocation. Allocations that are alive at once
//! get disjoint places; several greedy orders are tried, and the smallest arena wins.
//!
//! The **lower bound** is the largest sum, over the steps in their order, of the bytes of the allocations then alive:
//! no plan of these steps can need less.

use std::collections::{BTreeMap, HashMap};

use crate::kernel::{Arg, BufferId, LANES, ParamId, Place, Program, Region, Step};

/// First and last step in which something is alive, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    first: usize,
    last: usize,
}

impl Life {
    fn meets(self, other: Life) -> bool {
        self.first <= other.last && other.first <= self.last
    }
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
    let steps = program.steps.len();
    program.arena_lower_bound = lower_bound(&allocations, steps, |a| a.len);
    program.logical_lower_bound = lower_bound(&allocations, steps, |a| {
        let used = |buffer: &BufferId| match lanes.get(buffer) {
            Some(used) => a.len / LANES * used,
            None => program.buffer(*buffer).len,
        };
        a.buffers.iter().map(used).max().unwrap_or(0)
    });
    let offsets = place(&allocations);
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
    let uses =
        |buffer: BufferId| step.args.iter().flat_map(regions_of).filter(|region| region.buffer == buffer).count();
    let mut pairs = Vec::new();
    for &(ParamId(written), ParamId(read)) in &program.kernel(step).in_place {
        let (written, read) = (regions_of(&step.args[written as usize]), regions_of(&step.args[read as usize]));
        for (written, read) in written.iter().zip(read) {
            if written.offset == 0 && read.offset == 0 && uses(read.buffer) == 1 && uses(written.buffer) == 1 {
                pairs.push((written.buffer, read.buffer));
            }
        }
    }
    pairs
}

fn lower_bound(allocations: &[Allocation], steps: usize, size: impl Fn(&Allocation) -> usize) -> usize {
    (0..steps)
        .map(|step| {
            let now = Life { first: step, last: step };
            allocations.iter().filter(|a| a.life.meets(now)).map(&size).sum()
        })
        .max()
        .unwrap_or(0)
}

/// Places allocations in several greedy orders, each at the lowest place where it meets nothing alive with it, and
/// keeps the best.
fn place(allocations: &[Allocation]) -> Vec<usize> {
    let span = |a: &Allocation| a.life.last - a.life.first + 1;
    type Key = fn(&Allocation) -> (std::cmp::Reverse<usize>, usize);
    let by_size: Key = |a| (std::cmp::Reverse(a.len), a.life.first);
    let by_birth: Key = |a| (std::cmp::Reverse(usize::MAX - a.life.first), usize::MAX - a.len);
    let by_death: Key = |a| (std::cmp::Reverse(a.life.last), a.life.first);
    let by_volume: Key = |a| (std::cmp::Reverse(a.len * (a.life.last - a.life.first + 1)), a.life.first);
    let mut best: Option<(usize, Vec<usize>)> = None;
    let mut consider = |mut order: Vec<usize>, key: &dyn Fn(&Allocation) -> (std::cmp::Reverse<usize>, usize)| {
        order.sort_by_key(|&i| key(&allocations[i]));
        let (arena, offsets) = place_in_order(allocations, &order);
        if best.as_ref().is_none_or(|(least, _)| arena < *least) {
            best = Some((arena, offsets));
        }
    };
    let all: Vec<usize> = (0..allocations.len()).collect();
    for key in [by_size, by_birth, by_death, by_volume] {
        consider(all.clone(), &key);
    }
    // What is alive at the fullest step first, longest lives first: it must fit exactly; then outwards in time.
    let steps = allocations.iter().map(|a| a.life.last + 1).max().unwrap_or(0);
    let load = |step: usize| -> usize {
        let now = Life { first: step, last: step };
        allocations.iter().filter(|a| a.life.meets(now)).map(|a| a.len).sum()
    };
    if let Some(peak) = (0..steps).max_by_key(|&step| (load(step), std::cmp::Reverse(step))) {
        let distance = move |a: &Allocation| {
            if a.life.first > peak { a.life.first - peak } else { peak.saturating_sub(a.life.last) }
        };
        consider(all.clone(), &|a| (std::cmp::Reverse(usize::MAX - distance(a)), usize::MAX - a.len));
        consider(all.clone(), &|a| (std::cmp::Reverse(usize::MAX - distance(a)), usize::MAX - span(a)));
    }
    best.map(|(_, offsets)| offsets).unwrap_or_default()
}

fn place_in_order(allocations: &[Allocation], order: &[usize]) -> (usize, Vec<usize>) {
    let steps = allocations.iter().map(|a| a.life.last + 1).max().unwrap_or(0);
    // By step what is placed and alive then, and of that what was born then: a large network has tens of thousands of
    // blocks, of which few meet.
    let mut alive: Vec<Vec<usize>> = vec![Vec::new(); steps];
    let mut born = alive.clone();
    let mut offsets = vec![0; allocations.len()];
    let mut arena = 0;
    for &i in order {
        let Allocation { len, life, .. } = allocations[i];
        let met = alive[life.first].iter().chain(born[life.first + 1..=life.last].iter().flatten());
        let mut taken: Vec<(usize, usize)> = met.map(|&j| (offsets[j], offsets[j] + allocations[j].len)).collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if start >= at + len {
                break;
            }
            at = at.max(end);
        }
        offsets[i] = at;
        arena = arena.max(at + len);
        alive[life.first..=life.last].iter_mut().for_each(|step| step.push(i));
        born[life.first].push(i);
    }
    (arena, offsets)
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
    let overlapping: Vec<(usize, (usize, BufferId))> =
        owners.range(..end).filter(|(_, (to, _))| *to > start).map(|(&from, &rest)| (from, rest)).collect();
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

    fn allocation(len: usize, first: usize, last: usize) -> Allocation {
        Allocation { buffers: Vec::new(), len, life: Life { first, last } }
    }

    #[test]
    fn a_chain_of_equal_blocks_needs_two() {
        let chain: Vec<Allocation> = (0..10).map(|i| allocation(64, i, i + 1)).collect();
        let offsets = place(&chain);
        assert_eq!(offsets.iter().max(), Some(&64));
        assert_eq!(lower_bound(&chain, 11, |a| a.len), 128);
    }

    #[test]
    fn allocations_alive_at_once_never_overlap() {
        let mut state = 7u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..50 {
            let all: Vec<Allocation> = (0..40)
                .map(|_| {
                    let first = random(30) as usize;
                    allocation(16 * (1 + random(8) as usize), first, first + random(6) as usize)
                })
                .collect();
            let offsets = place(&all);
            for i in 0..all.len() {
                for j in 0..i {
                    let apart = offsets[i] + all[i].len <= offsets[j] || offsets[j] + all[j].len <= offsets[i];
                    assert!(apart || !all[i].life.meets(all[j].life));
                }
            }
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
