//! What each unit of a kernel touches, as runs of elements.
//!
//! Each unit's loops are run through with `lo = unit, hi = unit + 1`. A loop is *walked*, value by value, only where
//! its variable decides another range, a block, or what is taken modulo or from a table. Of all other loops, an access
//! is made of runs: elements at a constant distance no greater than their length are one run. So a tile of 14 pixels by
//! 16 lanes is one run of 224 elements, and a whole row is one run too.
//!
//! [`outline`] keeps of a body what matters; [`walk`] runs through it.

mod outline;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::kernel::{Access, Arg, Kernel, KernelId, ParamId, ParamKind, Place, Program, Region, Step, TableId};
use outline::Outline;
pub(super) use outline::each_read;
use walk::Walk;

/// Values of walked loops and runs together, for one kernel. Real kernels need at most some hundred thousand.
const BUDGET: usize = 1 << 25;

/// Elements `start..end` of a block that a unit touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) param: ParamId,
    pub(super) block: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) unit: usize,
}

/// What all units of a kernel touch, of the parameters that were asked for.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Of each unit, block by block, without overlaps.
    pub(super) writes: Vec<Run>,
    /// The same for reads.
    pub(super) reads: Vec<Run>,
    /// Parameters of which a unit writes an element twice.
    pub(super) rewritten: BTreeSet<ParamId>,
    /// A parameter of which a call of all units writes something else than the units do one by one.
    pub(super) uneven: Option<ParamId>,
    /// The first read, of each private parameter, of what the unit has not written before.
    pub(super) unwritten: BTreeMap<ParamId, Run>,
}

/// Which parameters a trace follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) writes: BTreeSet<ParamId>,
    pub(super) reads: BTreeSet<ParamId>,
    /// Those in scratch: each unit must write what it reads of them.
    pub(super) private: BTreeSet<ParamId>,
}

type Key = (KernelId, Vec<TableId>, Wanted);

/// Traces of a program's kernels, each made once.
pub(super) struct Traces<'a> {
    program: &'a Program,
    known: HashMap<Key, Option<Rc<Trace>>>,
}

impl<'a> Traces<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        Traces { program, known: HashMap::new() }
    }

    /// The trace that proves a step's units: writes, reads of what is also written, and scratch.
    pub(super) fn of_step(&mut self, step: &Step) -> Option<Rc<Trace>> {
        let kernel = self.program.kernel(step);
        let mut wanted = Wanted::default();
        for (i, (param, arg)) in kernel.params.iter().zip(&step.args).enumerate() {
            let (ParamKind::Flat { access, .. } | ParamKind::Blocks { access, .. }) = param.kind else { continue };
            let id = ParamId(i as u32);
            let scratch = regions(arg).iter().any(|at| in_scratch(self.program, at));
            if scratch {
                wanted.private.insert(id);
            }
            if scratch || access != Access::Read {
                wanted.writes.insert(id);
            }
            if scratch || access == Access::Update || kernel.in_place.iter().any(|(_, read)| *read == id) {
                wanted.reads.insert(id);
            }
        }
        self.get(step.kernel, step, wanted)
    }

    fn get(&mut self, id: KernelId, step: &Step, wanted: Wanted) -> Option<Rc<Trace>> {
        let table = |arg: &Arg| match arg {
            Arg::Table(id) => Some(*id),
            Arg::Flat(_) | Arg::Blocks(_) => None,
        };
        let tables = step.args.iter().filter_map(table).collect();
        let key = (id, tables, wanted);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let entries: Vec<&[u32]> = step
            .args
            .iter()
            .map(|arg| table(arg).map_or(&[][..], |id| &self.program.tables[id.index()].values))
            .collect();
        let made = trace(self.program.kernel(step), &entries, &key.2).map(Rc::new);
        self.known.insert(key, made.clone());
        made
    }
}

/// The regions of an argument.
pub(super) fn regions(arg: &Arg) -> &[Region] {
    match arg {
        Arg::Flat(region) => std::slice::from_ref(region),
        Arg::Blocks(regions) => regions,
        Arg::Table(_) => &[],
    }
}

pub(super) fn in_scratch(program: &Program, at: &Region) -> bool {
    match program.buffer(at.buffer).place {
        Place::Scratch(_) => true,
        Place::Input(_) | Place::Output(_) | Place::Arena(_) | Place::Packed { .. } => false,
    }
}

/// None if there is too much to run through.
fn trace(kernel: &Kernel, tables: &[&[u32]], wanted: &Wanted) -> Option<Trace> {
    let outline = Outline::new(kernel, wanted);
    let mut walk = Walk::new(&outline, tables, wanted, BUDGET);
    let mut trace = Trace::default();
    let mut total: BTreeMap<ParamId, usize> = BTreeMap::new();
    for unit in 0..kernel.units {
        let call = walk.call(unit, unit + 1)?;
        for (param, count) in call.written {
            let own = call.writes.iter().filter(|run| run.param == param);
            if own.map(|run| run.end - run.start).sum::<usize>() != count {
                trace.rewritten.insert(param);
            }
            *total.entry(param).or_default() += count;
        }
        trace.writes.extend(call.writes);
        trace.reads.extend(call.reads);
        for (param, run) in call.unwritten {
            trace.unwritten.entry(param).or_insert(run);
        }
    }
    let all = walk.call(0, kernel.units)?;
    let as_one = |run: &Run| Run { unit: 0, ..*run };
    let one_by_one = merged(trace.writes.iter().map(as_one).collect());
    let differs = |param: &ParamId| {
        let of = |runs: &[Run]| runs.iter().filter(|run| run.param == *param).copied().collect::<Vec<Run>>();
        total.get(param) != all.written.get(param) || of(&one_by_one) != of(&all.writes)
    };
    trace.uneven = wanted.writes.iter().find(|param| differs(param)).copied();
    Some(trace)
}

/// Runs sorted, those that touch made one.
pub(super) fn merged(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_unstable();
    let mut merged: Vec<Run> = Vec::with_capacity(runs.len());
    for run in runs {
        match merged.last_mut() {
            Some(last)
                if (last.param, last.block, last.unit) == (run.param, run.block, run.unit) && run.start <= last.end =>
            {
                last.end = last.end.max(run.end);
            }
            _ => merged.push(run),
        }
    }
    merged
}
