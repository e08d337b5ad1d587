//! Memory that is shared: by the arguments of a step, by its units, and by steps without a barrier between them.

use std::collections::BTreeMap;

use super::trace::{Run, Trace, Traces, regions};
use super::{Invariant, Report};
use crate::kernel::{Access, ParamId, ParamKind, Place, Program, Step, Waits};

pub(super) fn check(program: &Program, traces: &mut Traces<'_>, report: &mut Report) {
    for (i, step) in program.steps.iter().enumerate() {
        report.step = Some(i);
        report.kernel = Some(program.kernel(step).name.clone());
        aliasing(program, step, report);
        units(program, step, traces, report);
    }
    let mut first = 0;
    for i in 1..=program.steps.len() {
        if program.steps.get(i).is_none_or(|step| step.waits == Waits::Barrier) {
            waits(program, first..i, traces, report);
            first = i;
        }
    }
    (report.step, report.kernel) = (None, None);
}

/// A memory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Space {
    Arena,
    Scratch,
    Output(usize),
}

/// Where a buffer begins, if it is in memory that steps write.
fn base(place: &Place) -> Option<(Space, usize)> {
    match place {
        Place::Arena(at) => Some((Space::Arena, *at)),
        Place::Scratch(at) => Some((Space::Scratch, *at)),
        Place::Output(position) => Some((Space::Output(*position), 0)),
        Place::Input(_) | Place::Packed { .. } => None,
    }
}

/// A region of an argument, in its memory.
struct Extent {
    space: Space,
    start: usize,
    end: usize,
    param: ParamId,
    block: usize,
    written: bool,
}

fn extents(program: &Program, step: &Step) -> Vec<Extent> {
    let mut extents = Vec::new();
    for (i, (param, arg)) in program.kernel(step).params.iter().zip(&step.args).enumerate() {
        let (ParamKind::Flat { len, access, .. } | ParamKind::Blocks { len, access, .. }) = param.kind else {
            continue;
        };
        for (block, region) in regions(arg).iter().enumerate() {
            if let Some((space, at)) = base(&program.buffer(region.buffer).place) {
                let start = at + region.offset;
                let written = access != Access::Read;
                extents.push(Extent { space, start, end: start + len, param: ParamId(i as u32), block, written });
            }
        }
    }
    extents
}

fn aliasing(program: &Program, step: &Step, report: &mut Report) {
    let kernel = program.kernel(step);
    let mut all = extents(program, step);
    all.sort_by_key(|extent| (extent.space, extent.start, extent.end));
    let in_place = |a: &Extent, b: &Extent| {
        (a.block, a.start, a.end) == (b.block, b.start, b.end)
            && kernel.in_place.iter().any(|pair| *pair == (a.param, b.param) || *pair == (b.param, a.param))
    };
    let mut open: Vec<&Extent> = Vec::new();
    for extent in &all {
        open.retain(|other| other.space == extent.space && other.end > extent.start);
        for other in &open {
            if (extent.written || other.written) && !in_place(extent, other) {
                let name =
                    |extent: &Extent| format!("block {} of {}", extent.block, kernel.params[extent.param.index()].name);
                let what = format!("{} and {} overlap and one is written", name(other), name(extent));
                report.add(Invariant::Aliasing, what);
            }
        }
        open.push(extent);
    }
}

/// Runs of one block or memory, those of a unit without overlaps, sorted.
type ByPlace<K> = BTreeMap<K, Vec<Run>>;

fn by_place<K: Ord>(runs: &[Run], key: impl Fn(&Run) -> Option<(K, Run)>) -> ByPlace<K> {
    let mut places: ByPlace<K> = BTreeMap::new();
    for (key, run) in runs.iter().filter_map(key) {
        places.entry(key).or_default().push(run);
    }
    places.values_mut().for_each(|runs| runs.sort_by_key(|run| (run.start, run.end)));
    places
}

/// Two units that write the same element, if there are any.
fn write_twice(writes: &[Run]) -> Option<(Run, Run)> {
    let mut furthest: Option<Run> = None;
    for run in writes {
        match furthest {
            Some(before) if before.end > run.start && before.unit != run.unit => return Some((before, *run)),
            Some(before) if before.end >= run.end => {}
            _ => furthest = Some(*run),
        }
    }
    None
}

/// A write by another unit that a run meets. No two units write the same element of `writes`.
fn meets(writes: &[Run], run: &Run) -> Option<Run> {
    // Starts are sorted, and as runs of different units are apart and those of one unit merged, so are ends.
    let first = writes.partition_point(|write| write.end <= run.start);
    writes[first..].iter().take_while(|write| write.start < run.end).find(|write| write.unit != run.unit).copied()
}

fn units(program: &Program, step: &Step, traces: &mut Traces<'_>, report: &mut Report) {
    let kernel = program.kernel(step);
    let Some(trace) = traces.of_step(step) else {
        report.add(Invariant::Units, "its units are too many accesses to run through");
        return;
    };
    for (param, run) in &trace.unwritten {
        let Run { block, start, end, unit, .. } = run;
        let name = &kernel.params[param.index()].name;
        let what = format!("unit {unit} reads {start}..{end} of block {block} of {name} before it has written them");
        report.add(Invariant::Scratch, what);
    }
    // Where a pair may be in place, reads of the second are reads of the first.
    for (i, param) in kernel.params.iter().enumerate() {
        let id = ParamId(i as u32);
        let second = |read: ParamId| kernel.in_place.contains(&(id, read));
        let own = |run: &Run| (run.param == id).then_some((run.block, *run));
        let writes = by_place(&trace.writes, own);
        let reads = by_place(&trace.reads, |run| (run.param == id || second(run.param)).then_some((run.block, *run)));
        for (block, writes) in &writes {
            if let Some((a, b)) = write_twice(writes) {
                let (start, end) = (b.start, a.end.min(b.end));
                let what = format!(
                    "units {} and {} both write {start}..{end} of block {block} of {}",
                    a.unit, b.unit, param.name
                );
                report.add(Invariant::Units, what);
                return;
            }
            let met = reads.get(block).into_iter().flatten().find_map(|run| Some((*run, meets(writes, run)?)));
            if let Some((read, write)) = met {
                let (start, end) = (read.start.max(write.start), read.end.min(write.end));
                let what = format!(
                    "unit {} reads {start}..{end} of block {block} of {}, which unit {} writes",
                    read.unit, param.name, write.unit
                );
                report.add(Invariant::Units, what);
                return;
            }
        }
    }
    if let Some(param) = trace.uneven {
        let name = &kernel.params[param.index()].name;
        let what = format!("a call of all units does not write of {name} what the units write one by one");
        report.add(Invariant::Units, what);
    }
}

/// What a step touches, memory by memory.
struct Touched {
    writes: ByPlace<Space>,
    reads: ByPlace<Space>,
}

fn touched(program: &Program, step: &Step, trace: &Trace) -> Touched {
    let absolute = |run: &Run| {
        let region = regions(&step.args[run.param.index()])[run.block];
        let (space, at) = base(&program.buffer(region.buffer).place)?;
        let at = at + region.offset;
        (space != Space::Scratch).then_some((space, Run { start: run.start + at, end: run.end + at, ..*run }))
    };
    let merge = |mut places: ByPlace<Space>| {
        for runs in places.values_mut() {
            // Whether they are of one parameter and block does not matter any more.
            runs.iter_mut().for_each(|run| (run.param, run.block) = (ParamId(0), 0));
            let mut merged: Vec<Run> = Vec::with_capacity(runs.len());
            for run in runs.drain(..) {
                match merged.last_mut() {
                    Some(last) if last.unit == run.unit && run.start <= last.end => last.end = last.end.max(run.end),
                    _ => merged.push(run),
                }
            }
            *runs = merged;
        }
        places
    };
    Touched { writes: merge(by_place(&trace.writes, absolute)), reads: by_place(&trace.reads, absolute) }
}

/// The least that each step must wait for. Steps join those before them as long as they have as many units and it is
/// proved for all of them together.
pub(super) fn least_waits(program: &Program, traces: &mut Traces<'_>) -> Vec<Waits> {
    let mut least = vec![Waits::Barrier; program.steps.len()];
    let mut first = 0;
    for i in 1..program.steps.len() {
        let units = |step: usize| program.kernel(&program.steps[step]).units;
        let mut report = Report::default();
        if units(first) == units(i) {
            waits(program, first..i + 1, traces, &mut report);
            if report.found.is_empty() {
                least[i] = Waits::OwnUnits;
                continue;
            }
        }
        first = i;
    }
    least
}

/// The steps from one barrier to the next: what a unit touches, of what an earlier step writes, is its own.
fn waits(program: &Program, steps: std::ops::Range<usize>, traces: &mut Traces<'_>, report: &mut Report) {
    if steps.len() < 2 {
        return;
    }
    let units = program.kernel(&program.steps[steps.start]).units;
    let mut before: Vec<(usize, Touched)> = Vec::new();
    for i in steps {
        let step = &program.steps[i];
        let kernel = program.kernel(step);
        report.step = Some(i);
        report.kernel = Some(kernel.name.clone());
        if kernel.units != units {
            let what = format!("it waits for its own units, but has {} and the step before {units}", kernel.units);
            report.add(Invariant::Waits, what);
            return;
        }
        let Some(trace) = traces.of_shared(step) else {
            report.add(Invariant::Waits, "its units are too many accesses to run through");
            return;
        };
        let now = touched(program, step, &trace);
        for (other, earlier) in &before {
            // Runs of the one against writes of the other; who is named first did the former.
            let pairs = [
                (&now.reads, &earlier.writes, "reads what", "wrote"),
                (&now.writes, &earlier.writes, "writes what", "wrote"),
                (&earlier.reads, &now.writes, "read what", "now writes"),
            ];
            for (runs, writes, does, did) in pairs {
                let met = runs.iter().find_map(|(space, runs)| {
                    let writes = writes.get(space)?;
                    runs.iter().find_map(|run| Some((run.unit, meets(writes, run)?.unit)))
                });
                if let Some((unit, by)) = met {
                    let what = format!("without a barrier after step {other}, unit {unit} {does} unit {by} {did}");
                    report.add(Invariant::Waits, what);
                }
            }
        }
        before.push((i, now));
    }
}
