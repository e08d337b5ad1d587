//! Memory that is shared within a step: by its arguments and by its units.

use std::collections::BTreeMap;

use super::affine::Proofs;
use super::trace::{Run, Traces, in_scratch, regions};
use super::{Invariant, Report};
use crate::kernel::{Access, ParamId, ParamKind, Place, Program, Step};

pub(super) fn check(program: &Program, proofs: &mut Proofs<'_>, traces: &mut Traces<'_>, report: &mut Report) {
    for (i, step) in program.steps.iter().enumerate() {
        report.step = Some(i);
        report.kernel = Some(program.kernel(step).name.clone());
        aliasing(program, step, report);
        if !units_are_apart(program, step, proofs) {
            run_through(program, step, traces, report);
        }
    }
    (report.step, report.kernel) = (None, None);
}

/// A memory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Space {
    Arena,
    Scratch,
    Output(usize),
}

/// Where a buffer begins, if it is in memory that steps write.
pub(super) fn base(place: &Place) -> Option<(Space, usize)> {
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
pub(super) type ByPlace<K> = BTreeMap<K, Vec<Run>>;

pub(super) fn by_place<K: Ord>(runs: &[Run], key: impl Fn(&Run) -> Option<(K, Run)>) -> ByPlace<K> {
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

/// Whether it is proved that no unit of a step touches what another one writes, and that scratch is written before it is
/// read. That a call of all units writes what the units write follows from how units are handed out.
pub(super) fn units_are_apart(program: &Program, step: &Step, proofs: &mut Proofs<'_>) -> bool {
    let kernel = program.kernel(step);
    kernel.params.iter().zip(&step.args).enumerate().all(|(i, (param, arg))| {
        let id = ParamId(i as u32);
        let (ParamKind::Flat { access, .. } | ParamKind::Blocks { access, .. }) = param.kind else { return true };
        if regions(arg).iter().any(|at| in_scratch(program, at)) {
            return proofs.writes_before_reading(step.kernel, id);
        }
        // Where a pair may be in place, reads of the second are reads of the first.
        let second = kernel.in_place.iter().filter(|(written, _)| *written == id).map(|(_, read)| *read);
        access == Access::Read || proofs.units_are_apart(step.kernel, [id].into_iter().chain(second).collect())
    })
}

/// Finds units that touch what others write by running through all of them.
pub(super) fn run_through(program: &Program, step: &Step, traces: &mut Traces<'_>, report: &mut Report) {
    let kernel = program.kernel(step);
    let Some(trace) = traces.of_step(step) else {
        report.add(
            Invariant::Size,
            "its accesses are too many to run through one by one, and its text does not prove them apart",
        );
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
