//! What steps wait for: steps without a barrier between them share memory unit by unit.

use std::collections::BTreeMap;
use std::fmt;

use super::sharing::{ByPlace, Space, base, by_place};
use super::trace::{Run, Traces, regions};
use super::{Invariant, Report};
use crate::kernel::{Program, Step, Waits};

pub(super) fn check(program: &Program, traces: &mut Traces<'_>, report: &mut Report) {
    let mut first = 0;
    for i in 1..=program.steps.len() {
        if program.steps.get(i).is_none_or(|step| step.waits == Waits::Barrier) {
            own_units(program, first..i, traces, report);
            first = i;
        }
    }
    (report.step, report.kernel) = (None, None);
}

/// The least that each step must wait for. Steps join those before them as long as they have as many units and it is
/// proved for all of them together.
pub(super) fn least_waits(program: &Program, traces: &mut Traces<'_>) -> Vec<Waits> {
    let units = |step: usize| program.kernel(&program.steps[step]).units;
    let mut least = vec![Waits::Barrier; program.steps.len()];
    let (mut first, mut since) = (0, Since::default());
    for i in 1..program.steps.len() {
        let joins = units(first) == units(i)
            // A step that nothing joins is never traced.
            && (first + 1 < i || since.join(program, first, traces).is_ok())
            && since.join(program, i, traces).is_ok();
        if joins {
            least[i] = Waits::OwnUnits;
        } else {
            (first, since) = (i, Since::default());
        }
    }
    least
}

/// The steps from one barrier to the next: what a unit touches, of what an earlier step writes, is its own.
fn own_units(program: &Program, steps: std::ops::Range<usize>, traces: &mut Traces<'_>, report: &mut Report) {
    if steps.len() < 2 {
        return;
    }
    let units = program.kernel(&program.steps[steps.start]).units;
    let mut since = Since::default();
    for i in steps {
        let kernel = program.kernel(&program.steps[i]);
        report.step = Some(i);
        report.kernel = Some(kernel.name.clone());
        if kernel.units != units {
            let what = format!("it waits for its own units, but has {} and the step before {units}", kernel.units);
            report.add(Invariant::Waits, what);
            return;
        }
        if let Err(what) = since.join(program, i, traces) {
            report.add(Invariant::Waits, what);
            return;
        }
    }
}

/// The steps since a barrier, as what they have touched, memory by memory.
#[derive(Default)]
struct Since(BTreeMap<Space, Elements>);

impl Since {
    /// Lets a step in, unless one of its units touches what another unit has written, or writes what another unit has
    /// touched: then, or where that is too much to run through, nothing changes and it says why. Each element knows of
    /// all steps that were let in as much as decides about the next one, so this is what a comparison with each of
    /// those steps would say.
    fn join(&mut self, program: &Program, number: usize, traces: &mut Traces<'_>) -> Result<(), String> {
        let step = &program.steps[number];
        let trace = traces.of_shared(step).ok_or("its units are too many accesses to run through")?;
        let touched =
            [(false, by_memory(program, step, &trace.reads)), (true, by_memory(program, step, &trace.writes))];
        let runs = || {
            let all = touched.iter().flat_map(|(writes, memories)| memories.iter().map(move |of| (*writes, of)));
            all.flat_map(|(writes, (space, runs))| runs.iter().map(move |run| (writes, *space, *run)))
        };
        let conflicts = runs().flat_map(|(writes, space, run)| {
            let elements = self.0.get(&space).into_iter().flat_map(move |elements| elements.overlapping(&run));
            elements.flat_map(move |element| element.conflicts(run.unit, writes))
        });
        if let Some(first) = conflicts.min_by_key(|conflict| (conflict.earlier.step, conflict.kind)) {
            return Err(first.to_string());
        }
        for (writes, space, run) in runs() {
            self.0.entry(space).or_default().touch(&run, Did { step: number, unit: run.unit }, writes);
        }
        Ok(())
    }
}

/// Runs as elements of the arena and of outputs.
fn by_memory(program: &Program, step: &Step, runs: &[Run]) -> ByPlace<Space> {
    by_place(runs, |run| {
        let region = regions(&step.args[run.param.index()])[run.block];
        let (space, at) = base(&program.buffer(region.buffer).place)?;
        let at = at + region.offset;
        (space != Space::Scratch).then_some((space, Run { start: run.start + at, end: run.end + at, ..*run }))
    })
}

/// Who has touched the elements of a memory: from each key up to the next, the same units.
#[derive(Default)]
struct Elements(BTreeMap<usize, Touched>);

impl Elements {
    fn overlapping(&self, run: &Run) -> impl Iterator<Item = &Touched> + use<'_> {
        let first = self.0.range(..=run.start).next_back().map_or(run.start, |(&first, _)| first);
        self.0.range(first..run.end).map(|(_, touched)| touched)
    }

    fn touch(&mut self, run: &Run, did: Did, writes: bool) {
        for edge in [run.start, run.end] {
            let around = self.0.range(..=edge).next_back().map_or(Touched::default(), |(_, touched)| *touched);
            self.0.insert(edge, around);
        }
        self.0.range_mut(run.start..run.end).for_each(|(_, touched)| touched.add(did, writes));
    }
}

/// A unit, and the first step since the barrier in which it did something.
#[derive(Clone, Copy, Debug)]
struct Did {
    step: usize,
    unit: usize,
}

/// Which units have touched an element, as far as it decides who else may: one unit alone has written it, since another
/// would not have been let in, and of those that have read it, two stand for all, since whoever writes it is another
/// unit than one of the two.
#[derive(Clone, Copy, Debug, Default)]
struct Touched {
    written: Option<Did>,
    read: Option<Did>,
    read_by_another: Option<Did>,
}

impl Touched {
    fn add(&mut self, did: Did, writes: bool) {
        if writes {
            self.written.get_or_insert(did);
        } else if self.read.get_or_insert(did).unit != did.unit {
            self.read_by_another.get_or_insert(did);
        }
    }

    fn conflicts(&self, unit: usize, writes: bool) -> impl Iterator<Item = Conflict> + use<> {
        let on_written = if writes { Kind::WritesWritten } else { Kind::ReadsWritten };
        let on_read = |read: Option<Did>| (Kind::WritesRead, read.filter(|_| writes));
        [(on_written, self.written), on_read(self.read), on_read(self.read_by_another)]
            .into_iter()
            .filter_map(move |(kind, did)| Some(Conflict { earlier: did.filter(|did| did.unit != unit)?, kind, unit }))
    }
}

/// What keeps a step from joining those before it, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ReadsWritten,
    WritesWritten,
    WritesRead,
}

/// A unit, what another one did before, and how they disagree.
struct Conflict {
    earlier: Did,
    kind: Kind,
    unit: usize,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conflict { earlier: Did { step, unit: by }, kind, unit } = self;
        write!(f, "without a barrier after step {step}, ")?;
        match kind {
            Kind::ReadsWritten => write!(f, "unit {unit} reads what unit {by} wrote"),
            Kind::WritesWritten => write!(f, "unit {unit} writes what unit {by} wrote"),
            Kind::WritesRead => write!(f, "unit {by} read what unit {unit} now writes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::kernel::text;

    /// Kernels of which unit u moves 16 elements, or stores 8 of them, from where a table says to where one says; `long`
    /// does it over and over.
    const KERNELS: [(&str, usize, usize); 4] = [("full", 4, 16), ("half", 4, 8), ("pair", 2, 16), ("long", 4, 16)];
    const TABLES: [[usize; 4]; 4] = [[0, 1, 2, 3], [1, 0, 2, 3], [3, 0, 1, 2], [2, 2, 2, 2]];
    /// Enough for all kernels but `long`.
    const BUDGET: usize = 64;

    struct Move {
        kernel: usize,
        from: usize,
        to: usize,
        x: usize,
        y: usize,
    }

    impl Move {
        fn units(&self) -> usize {
            KERNELS[self.kernel].1
        }

        fn is_traced(&self) -> bool {
            KERNELS[self.kernel].0 != "long"
        }

        /// Elements with the unit that touches them, and whether it writes them.
        fn touched(&self) -> Vec<(usize, usize, bool)> {
            let (_, units, stored) = KERNELS[self.kernel];
            let reads = |unit| (0..16).map(move |i| (self.x + 16 * TABLES[self.from][unit] + i, unit, false));
            let writes = |unit| (0..stored).map(move |i| (self.y + 16 * TABLES[self.to][unit] + i, unit, true));
            (0..units).flat_map(|unit| reads(unit).chain(writes(unit))).collect()
        }

        fn is_apart_from(&self, other: &Move) -> bool {
            let theirs = other.touched();
            self.touched().iter().all(|&(element, unit, writes)| {
                let meets =
                    |&(at, by, written): &(usize, usize, bool)| at == element && by != unit && (writes || written);
                !theirs.iter().any(meets)
            })
        }
    }

    fn program(moves: &[Move]) -> Program {
        let mut text =
            "program P target base arena 256 at_least 0 logical 0 scratch 0 buffer a: f32 256 arena 0\n".to_owned();
        for (i, table) in TABLES.iter().enumerate() {
            let _ = writeln!(text, "table t{i} {table:?}");
        }
        for (name, units, stored) in KERNELS {
            let store = format!("store y[16*to[u]] lanes {stored}, load x[16*from[u]]");
            let body =
                if name == "long" { format!("for k in 0..99 {{ for once in k..k + 1 {{ {store} }} }}") } else { store };
            let _ = writeln!(
                text,
                "kernel {name} units {units} flops 0 tile \"\" from: table 4 below 4 to: table 4 below 4 \
                 x: read f32 flat 64 y: write f32 flat 64 {{ for u in lo..hi {{ {body} }} }}"
            );
        }
        for Move { kernel, from, to, x, y } in moves {
            let name = KERNELS[*kernel].0;
            let _ = writeln!(text, "step {name} {{ from: table(t{from}) to: table(t{to}) x: a + {x} y: a + {y} }}");
        }
        text::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn steps_join_as_comparing_them_pair_by_pair_says() {
        let mut state = 1u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let (mut joined, mut refused) = (0, 0);
        for case in 0..400 {
            let moves: Vec<Move> = (0..10)
                .map(|_| {
                    // Mostly the same units and the same places, so that some steps join; a step reads and writes apart.
                    let kernel = [0, 0, 0, 0, 1, 1, 1, 1, 2, 3][random(10)];
                    let [from, to] = [[0, 0, 0, 0, 0, 1, 2, 3][random(8)], [0, 0, 0, 0, 0, 0, 1, 2][random(8)]];
                    let near = [0, 0, 0, 16, 8, 32][random(6)];
                    let far = 128 + [0, 0, 0, 16, 24, 64][random(6)];
                    let (x, y) = if random(2) == 0 { (near, far) } else { (far, near) };
                    Move { kernel, from, to, x, y }
                })
                .collect();
            let mut program = program(&moves);
            let least = least_waits(&program, &mut Traces::new(&program, BUDGET));
            let mut first = 0;
            let mut conflicts = Vec::new();
            for i in 1..moves.len() {
                let comparable =
                    moves[first].units() == moves[i].units() && moves[first..=i].iter().all(Move::is_traced);
                let conflict = (first..i).find(|&earlier| !moves[earlier].is_apart_from(&moves[i]));
                let joins = comparable && conflict.is_none();
                assert_eq!(least[i] == Waits::OwnUnits, joins, "case {case}, step {i}");
                if joins {
                    joined += 1;
                } else {
                    conflicts.extend(conflict.filter(|_| comparable).map(|earlier| (i, earlier)));
                    first = i;
                }
            }
            // The verifier agrees, and names the first step that stands against a barrier the less.
            let found = |program: &Program| {
                let mut report = Report::default();
                check(program, &mut Traces::new(program, BUDGET), &mut report);
                report.found.first().map(|found| (found.step, found.what.clone()))
            };
            program.steps.iter_mut().zip(&least).for_each(|(step, waits)| step.waits = *waits);
            assert_eq!(found(&program), None, "case {case}");
            for (i, earlier) in conflicts {
                program.steps[i].waits = Waits::OwnUnits;
                let (step, what) = found(&program).expect("a unit meets another one");
                assert_eq!(step, Some(i), "case {case}");
                let want = format!("without a barrier after step {earlier}, ");
                assert!(what.starts_with(&want), "case {case}, step {i}: {what}, not {want}");
                program.steps[i].waits = Waits::Barrier;
                refused += 1;
            }
        }
        assert!(joined > 300 && refused > 300, "{joined} joined, {refused} refused");
    }
}
