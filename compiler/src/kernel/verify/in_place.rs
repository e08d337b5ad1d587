//! Pairs of parameters that may be the same memory: each element is read by the store that overwrites it, or bound to a
//! local just before it in the same body; and as no element is written twice in a unit, none is read after that.

use std::collections::BTreeSet;

use super::affine::Proofs;
use super::trace::{Traces, each_read};
use super::{Invariant, Report};
use crate::kernel::{At, ParamId, Program, Step, Stmt, Update, Value};

pub(super) fn check(program: &Program, proofs: &mut Proofs<'_>, traces: &mut Traces<'_>, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for step in &program.steps {
        let kernel = program.kernel(step);
        if kernel.in_place.is_empty() || !seen.insert(step.kernel) {
            continue;
        }
        report.kernel = Some(kernel.name.clone());
        for &(written, read) in &kernel.in_place {
            let [written_name, read_name] = [written, read].map(|param| &kernel.params[param.index()].name);
            if !(Pair { written, read }).holds(&kernel.body) {
                let what = format!("{read_name} is read elsewhere than where {written_name} overwrites it");
                report.add(Invariant::InPlace, what);
            }
        }
        let written: BTreeSet<ParamId> = kernel.in_place.iter().map(|(written, _)| *written).collect();
        if written.iter().all(|param| proofs.writes_once(step.kernel, *param)) {
            continue;
        }
        for param in written.intersection(&rewrites(step, traces)) {
            let name = &kernel.params[param.index()].name;
            report.add(Invariant::InPlace, format!("a unit writes elements of {name} twice"));
        }
    }
    report.kernel = None;
}

/// The parameters of which a unit writes elements twice, by running through all units. That does not depend on where a
/// step's arguments lie.
pub(super) fn rewrites(step: &Step, traces: &mut Traces<'_>) -> BTreeSet<ParamId> {
    traces.of_step(step).map_or_else(BTreeSet::new, |trace| trace.rewritten.clone())
}

struct Pair {
    written: ParamId,
    read: ParamId,
}

impl Pair {
    /// Whether all reads of the second in a body are where they may be.
    fn holds(&self, body: &[Stmt]) -> bool {
        let nowhere = |value: &Value| self.all_reads(value, |_, _| false);
        body.iter().enumerate().all(|(i, stmt)| match stmt {
            Stmt::For { body, .. } => self.holds(body),
            Stmt::Let { local: _, value } => self.all_reads(value, |at, count| {
                body[i + 1..].iter().any(|later| match later {
                    Stmt::Store { at: to, lanes, .. } => self.is_same(at, to) && count <= *lanes,
                    Stmt::For { .. } | Stmt::Let { .. } | Stmt::Tile(_) | Stmt::Zero { .. } | Stmt::Prefetch { .. } => {
                        false
                    }
                })
            }),
            Stmt::Tile(tile) => {
                let updates = tile.reductions.iter().all(|reduction| match &reduction.update {
                    Update::Fma(a, b) => nowhere(a) && nowhere(b),
                    Update::Add(value) | Update::Max(value) => nowhere(value),
                });
                updates && nowhere(&tile.init) && self.holds(&tile.finish)
            }
            Stmt::Store { at: to, value, lanes } => {
                self.all_reads(value, |at, count| self.is_same(at, to) && count <= *lanes)
            }
            Stmt::Zero { .. } | Stmt::Prefetch { .. } => true,
        })
    }

    fn is_same(&self, read: &At, written: &At) -> bool {
        written.param == self.written && (&read.block, &read.offset) == (&written.block, &written.offset)
    }

    /// Whether every read of the second in a value passes a test.
    fn all_reads(&self, value: &Value, test: impl Fn(&At, usize) -> bool) -> bool {
        let mut pass = true;
        each_read(value, &mut |at, count| pass &= at.param != self.read || test(at, count));
        pass
    }
}
