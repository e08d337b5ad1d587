//! What steps wait for: steps without a barrier between them share memory unit by unit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use super::affine::{Multiple, Owner, Proofs};
use super::sharing::{Space, base};
use super::trace::regions;
use super::{Invariant, Report};
use crate::kernel::{Access, LANES, ParamId, ParamKind, Program, Step, Waits};

pub(super) fn check(program: &Program, proofs: &mut Proofs<'_>, report: &mut Report) {
    let mut first = 0;
    for i in 1..=program.steps.len() {
        if program.steps.get(i).is_none_or(|step| step.waits == Waits::Barrier) {
            own_units(program, first..i, proofs, report);
            first = i;
        }
    }
    (report.step, report.kernel) = (None, None);
}

/// The least that each step must wait for. Steps join those before them as long as they have as many units and it is
/// proved for all of them together.
pub(super) fn least_waits(program: &Program, proofs: &mut Proofs<'_>) -> Vec<Waits> {
    let units = |step: usize| program.kernel(&program.steps[step]).units;
    let mut least = vec![Waits::Barrier; program.steps.len()];
    let (mut first, mut since) = (0, Since::default());
    for i in 1..program.steps.len() {
        let joins = units(first) == units(i)
            // A step that nothing joins is not looked at.
            && (first + 1 < i || since.join(program, first, proofs).is_ok())
            && since.join(program, i, proofs).is_ok();
        if joins {
            least[i] = Waits::OwnUnits;
        } else {
            (first, since) = (i, Since::default());
        }
    }
    least
}

/// The steps from one barrier to the next: what a unit touches, of what an earlier step writes, is its own.
fn own_units(program: &Program, steps: std::ops::Range<usize>, proofs: &mut Proofs<'_>, report: &mut Report) {
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
        if let Err(what) = since.join(program, i, proofs) {
            report.add(Invariant::Waits, what);
            return;
        }
    }
}

/// The steps since a barrier, as what they have touched, memory by memory.
#[derive(Default)]
struct Since(BTreeMap<Space, Elements>);

impl Since {
    /// Lets a step in, unless one of its units may touch what another unit has written, or write what another unit has
    /// touched: then nothing changes and it says why. Each element knows of all steps that were let in as much as decides
    /// about the next one, so this is what a comparison with each of those steps would say.
    fn join(&mut self, program: &Program, number: usize, proofs: &mut Proofs<'_>) -> Result<(), String> {
        let touches = touches(program, &program.steps[number], proofs);
        let conflicts = touches.iter().flat_map(|touch| {
            let elements = self.0.get(&touch.space).into_iter().flat_map(|elements| elements.overlapping(touch));
            elements.flat_map(|element| element.conflicts(touch))
        });
        if let Some(first) = conflicts.min() {
            return Err(first.to_string());
        }
        for touch in touches {
            self.0.entry(touch.space).or_default().touch(&touch, number);
        }
        Ok(())
    }
}

/// Elements of a memory that a step touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Touch {
    space: Space,
    start: usize,
    end: usize,
    writes: bool,
    units: Option<Rc<Units>>,
}

/// Which unit touches an element: the sum of a constant and of multiples of the element's digits, counted from an origin.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Units {
    origin: usize,
    elements: Vec<Multiple>,
    constant: i64,
}

/// What a step touches of the arena and of outputs.
fn touches(program: &Program, step: &Step, proofs: &mut Proofs<'_>) -> BTreeSet<Touch> {
    let mut touches = BTreeSet::new();
    for (i, (param, arg)) in program.kernel(step).params.iter().zip(&step.args).enumerate() {
        let (ParamKind::Flat { len, access, .. } | ParamKind::Blocks { len, access, .. }) = param.kind else {
            continue;
        };
        let mut owner = None;
        for (block, region) in (0i64..).zip(regions(arg)) {
            let Some((space, at)) = base(&program.buffer(region.buffer).place) else { continue };
            if space == Space::Scratch {
                continue;
            }
            let owner = owner.get_or_insert_with(|| proofs.owner(step.kernel, [ParamId(i as u32)].into())).as_deref();
            let (mut start, mut end) = (at + region.offset, at + region.offset + len);
            if owner.is_some_and(|owner| ((start % LANES) as i64) <= owner.slack) {
                // A lane of a block belongs to the unit of the block's first.
                (start, end) = (start / LANES * LANES, end.next_multiple_of(LANES));
            }
            let units = owner.and_then(|owner| units(owner, start, end, block)).map(Rc::new);
            let touch = |writes| Touch { space, start, end, writes, units: units.clone() };
            touches.extend((access != Access::Write).then(|| touch(false)));
            touches.extend((access != Access::Read).then(|| touch(true)));
        }
    }
    touches
}

/// The units of the elements `start..end`, which are a block of this number.
fn units(owner: &Owner, start: usize, end: usize, block: i64) -> Option<Units> {
    let within = |of: &Multiple| {
        let all = usize::try_from(of.above).is_ok_and(|above| above >= end - start);
        Multiple { above: if all { 0 } else { of.above }, ..*of }
    };
    let elements: Vec<Multiple> = owner.elements.iter().map(within).collect();
    Some(Units { origin: if elements.is_empty() { 0 } else { start }, elements, constant: owner.of_block(block)? })
}

/// Who has touched the elements of a memory: from each key up to the next, the same units.
#[derive(Default)]
struct Elements(BTreeMap<usize, Touched>);

impl Elements {
    fn overlapping(&self, touch: &Touch) -> impl Iterator<Item = &Touched> + use<'_> {
        let first = self.0.range(..=touch.start).next_back().map_or(touch.start, |(&first, _)| first);
        self.0.range(first..touch.end).map(|(_, touched)| touched)
    }

    fn touch(&mut self, touch: &Touch, step: usize) {
        for edge in [touch.start, touch.end] {
            let around = self.0.range(..=edge).next_back().map_or(Touched::default(), |(_, touched)| touched.clone());
            self.0.insert(edge, around);
        }
        for (_, touched) in self.0.range_mut(touch.start..touch.end) {
            let did = if touch.writes { &mut touched.written } else { &mut touched.read };
            let did = did.get_or_insert_with(|| Did { step, units: touch.units.clone() });
            if did.units != touch.units {
                // More than one unit has, or which one is not known.
                did.units = None;
            }
        }
    }
}

/// The units that have touched an element, none if that is not known, and the first step since the barrier that did.
#[derive(Clone, Debug)]
struct Did {
    step: usize,
    units: Option<Rc<Units>>,
}

/// Who has touched an element.
#[derive(Clone, Debug, Default)]
struct Touched {
    written: Option<Did>,
    read: Option<Did>,
}

impl Touched {
    fn conflicts(&self, touch: &Touch) -> impl Iterator<Item = Conflict> + use<> {
        let on_written = if touch.writes { Kind::WritesWritten } else { Kind::ReadsWritten };
        let on_read = self.read.as_ref().filter(|_| touch.writes).map(|read| (Kind::WritesRead, read));
        let all = [self.written.as_ref().map(|written| (on_written, written)), on_read];
        let differs = |did: &Did| did.units.is_none() || did.units != touch.units;
        let found: Vec<Conflict> = all
            .into_iter()
            .flatten()
            .filter(|(_, did)| differs(did))
            .map(|(kind, did)| Conflict { step: did.step, kind })
            .collect();
        found.into_iter()
    }
}

/// What keeps a step from joining those before it, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ReadsWritten,
    WritesWritten,
    WritesRead,
}

/// A step, and how a later one disagrees with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Conflict {
    step: usize,
    kind: Kind,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conflict { step, kind } = self;
        write!(f, "without a barrier after step {step}, ")?;
        f.write_str(match kind {
            Kind::ReadsWritten => "a unit may read what another one wrote",
            Kind::WritesWritten => "a unit may write what another one wrote",
            Kind::WritesRead => "a unit may write what another one read",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::kernel::text;

    /// Kernels of which unit u moves 16 elements, or stores 8 of them.
    const KERNELS: [(&str, usize, usize); 3] = [("full", 4, 16), ("half", 4, 8), ("pair", 2, 16)];
    /// Where a unit begins to read or to write, as text and as a function.
    type Place = (&'static str, fn(usize) -> usize);

    /// Upwards, downwards, and all units at the same place.
    const PLACES: [Place; 3] = [("16*u", |u| 16 * u), ("48 - 16*u", |u| 48 - 16 * u), ("0", |_| 0)];

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

        fn name(&self) -> String {
            format!("{}_{}_{}", KERNELS[self.kernel].0, self.from, self.to)
        }

        /// Elements with the unit that touches them, and whether it writes them.
        fn touched(&self) -> Vec<(usize, usize, bool)> {
            let (_, units, stored) = KERNELS[self.kernel];
            let reads = |unit| (0..16).map(move |i| (self.x + PLACES[self.from].1(unit) + i, unit, false));
            let writes = |unit| (0..stored).map(move |i| (self.y + PLACES[self.to].1(unit) + i, unit, true));
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
        for (kernel, (_, units, stored)) in KERNELS.iter().enumerate() {
            for (from, to) in (0..PLACES.len()).flat_map(|from| (0..PLACES.len()).map(move |to| (from, to))) {
                let name = Move { kernel, from, to, x: 0, y: 0 }.name();
                let _ = writeln!(
                    text,
                    "kernel {name} units {units} flops 0 tile \"\" x: read f32 flat 64 y: write f32 flat 64 \
                     {{ for u in lo..hi {{ store y[{}] lanes {stored}, load x[{}] }} }}",
                    PLACES[to].0, PLACES[from].0
                );
            }
        }
        for of in moves {
            let _ = writeln!(text, "step {} {{ x: a + {} y: a + {} }}", of.name(), of.x, of.y);
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
        let (mut joined, mut refused, mut missed) = (0, 0, 0);
        for case in 0..400 {
            let moves: Vec<Move> = (0..10)
                .map(|_| {
                    // Mostly the same units and the same places, so that some steps join; a step reads and writes apart.
                    let kernel = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2][random(10)];
                    let [from, to] = [[0, 0, 0, 0, 0, 0, 1, 2][random(8)], [0, 0, 0, 0, 0, 0, 0, 1][random(8)]];
                    let near = [0, 0, 0, 16, 8, 32][random(6)];
                    let far = 128 + [0, 0, 0, 16, 24, 64][random(6)];
                    let (x, y) = if random(2) == 0 { (near, far) } else { (far, near) };
                    Move { kernel, from, to, x, y }
                })
                .collect();
            let mut program = program(&moves);
            let least = least_waits(&program, &mut Proofs::new(&program));
            let mut first = 0;
            let mut conflicts = Vec::new();
            for i in 1..moves.len() {
                let comparable = moves[first].units() == moves[i].units();
                let conflict = (first..i).find(|&earlier| !moves[earlier].is_apart_from(&moves[i]));
                if least[i] == Waits::OwnUnits {
                    assert!(comparable && conflict.is_none(), "case {case}, step {i}");
                    joined += 1;
                } else {
                    // Only what is read by all units, or reaches into other regions in part, is taken for more than it is.
                    missed += usize::from(comparable && conflict.is_none());
                    conflicts.extend(conflict.filter(|_| comparable).map(|earlier| (i, earlier)));
                    first = i;
                }
            }
            // The verifier agrees, and refuses each barrier the less.
            let found = |program: &Program| {
                let mut report = Report::default();
                check(program, &mut Proofs::new(program), &mut report);
                report.found.first().map(|found| (found.step, found.what.clone()))
            };
            program.steps.iter_mut().zip(&least).for_each(|(step, waits)| step.waits = *waits);
            assert_eq!(found(&program), None, "case {case}");
            for (i, _) in conflicts {
                program.steps[i].waits = Waits::OwnUnits;
                let (step, what) = found(&program).expect("a unit meets another one");
                assert_eq!(step, Some(i), "case {case}");
                assert!(what.starts_with("without a barrier after step "), "case {case}, step {i}: {what}");
                program.steps[i].waits = Waits::Barrier;
                refused += 1;
            }
        }
        assert!(joined > 300 && refused > 300, "{joined} joined, {refused} refused");
        assert!(missed * 2 < joined, "{missed} missed, {joined} joined");
    }
}
