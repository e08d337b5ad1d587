//! Bounds: every access of a kernel inside its parameter, for all calls and all values of its variables, by the
//! [intervals](super::interval) of its indexes.

use super::interval::{Bounded, Scope};
use super::{Invariant, Report};
use crate::kernel::{
    At, Axis, Bound, Index, Kernel, LANES, ParamKind, Prefetch, Range, Stmt, Tap, Term, Tile, Update, Value, Var, text,
};

pub(super) fn check(kernel: &Kernel, report: &mut Report) {
    // 0 <= lo < hi <= units.
    let calls = Scope::new(kernel)
        .with(Bounded::values(Var::HI, 1, kernel.units as i64))
        .with(Bounded::range(Var::LO, &Range::new(0usize, Var::HI)));
    Prover { kernel, scope: calls }.body(&kernel.body, report);
}

struct Prover<'k> {
    kernel: &'k Kernel,
    scope: Scope<'k>,
}

/// What is looked at inside axes, with the pixels that it is for.
type Inner<'a, 'k> = dyn FnMut(&mut Prover<'k>, (usize, usize), &mut Report) + 'a;

impl<'k> Prover<'k> {
    fn bind<T>(&mut self, bound: Vec<Bounded>, look: impl FnOnce(&mut Self) -> T) -> T {
        let inside = bound.into_iter().fold(self.scope.clone(), |scope, bounded| scope.with(bounded));
        let outside = std::mem::replace(&mut self.scope, inside);
        let result = look(self);
        self.scope = outside;
        result
    }

    fn body(&mut self, body: &[Stmt], report: &mut Report) {
        for stmt in body {
            match stmt {
                Stmt::For { var, range, unroll: _, body } => {
                    let label = format!("for {}", self.kernel.vars[var.index()]);
                    report.within(label, |report| {
                        self.range(range, report);
                        if !self.is_empty(range) {
                            let bound = vec![Bounded::range(*var, range)];
                            self.bind(bound, |this| this.body(body, report));
                        }
                    });
                }
                Stmt::Let { local, value } => {
                    let label = format!("let {}", self.kernel.locals[local.index()]);
                    report.within(label, |report| self.value(value, report));
                }
                Stmt::Tile(tile) => report.within("tile", |report| self.tile(tile, report)),
                Stmt::Store { at, value, lanes } => report.within("store", |report| {
                    self.value(value, report);
                    self.access(at, *lanes, report);
                }),
                Stmt::Zero { at, len } => report.within("zero", |report| self.access(at, *len, report)),
                Stmt::Prefetch(prefetch) => self.prefetch(prefetch, report),
            }
        }
    }

    /// Only what is in the place's index has bounds.
    fn prefetch(&mut self, prefetch: &Prefetch, report: &mut Report) {
        report.within("prefetch", |report| {
            prefetch.at.block.iter().chain([&prefetch.at.offset]).for_each(|index| self.parts(index, report));
        });
    }

    fn tile(&mut self, tile: &Tile, report: &mut Report) {
        let spans = |first: usize, end: usize| {
            let last = |end: usize| end as i64 - 1;
            vec![
                Bounded::values(tile.pixel, first as i64, last(end)),
                Bounded::values(tile.block, 0, last(tile.blocks)),
            ]
        };
        self.bind(spans(0, tile.pixels), |this| report.within("init", |report| this.value(&tile.init, report)));
        for reduction in &tile.reductions {
            report.within("reduce", |report| {
                self.axes(&reduction.axes, (0, tile.pixels), report, &mut |this, (first, end), report| {
                    this.bind(spans(first, end), |this| {
                        reduction.prefetch.iter().for_each(|prefetch| this.prefetch(prefetch, report));
                        match &reduction.update {
                            Update::Fma(a, b) => {
                                this.value(a, report);
                                this.value(b, report);
                            }
                            Update::Add(value) | Update::Max(value) => this.value(value, report),
                        }
                    });
                });
            });
        }
        self.bind(spans(0, tile.pixels), |this| report.within("finish", |report| this.body(&tile.finish, report)));
    }

    /// Runs `inner` with the axes bound, once for each combination of taps.
    fn axes(&mut self, axes: &[Axis], pixels: (usize, usize), report: &mut Report, inner: &mut Inner<'_, 'k>) {
        match axes.split_first() {
            None => inner(self, pixels, report),
            Some((Axis::Loop { var, range }, rest)) => {
                self.range(range, report);
                if !self.is_empty(range) {
                    let bound = vec![Bounded::range(*var, range)];
                    self.bind(bound, |this| this.axes(rest, pixels, report, inner));
                }
            }
            Some((Axis::Taps { var, taps, .. }, rest)) => {
                for Tap { value, first, end } in taps {
                    let pixels = (pixels.0.max(*first), pixels.1.min(*end));
                    if pixels.0 < pixels.1 {
                        let bound = vec![Bounded::values(*var, *value, *value)];
                        self.bind(bound, |this| this.axes(rest, pixels, report, inner));
                    }
                }
            }
        }
    }

    /// Whether a range has no value, whatever the variables outside.
    fn is_empty(&self, range: &Range) -> bool {
        let (Bound::Index(lo), Bound::Index(hi)) = (&range.lo, &range.hi) else { return false };
        let largest = self.scope.largest_difference(hi, lo);
        largest.is_some_and(|largest| largest <= 0)
    }

    fn range(&self, range: &Range, report: &mut Report) {
        for bound in [&range.lo, &range.hi] {
            match bound {
                Bound::Index(index) => self.parts(index, report),
                Bound::Min(a, b) | Bound::Max(a, b) => [a, b].into_iter().for_each(|index| self.parts(index, report)),
            }
        }
    }

    /// What stands in `mod` is not negative, what stands in a table's brackets inside the table.
    fn parts(&self, index: &Index, report: &mut Report) {
        for (term, _) in &index.terms {
            let (of, len, what) = match term {
                Term::Var(_) => continue,
                Term::Mod(of, modulus) => (of, i128::MAX, format!("modulo {modulus}")),
                Term::Table(param, of) => {
                    let param = &self.kernel.params[param.index()];
                    let ParamKind::Table { len, .. } = param.kind else { continue };
                    (of, len as i128, format!("the {len} entries of {}", param.name))
                }
            };
            self.parts(of, report);
            self.within(of, len, &what, report);
        }
    }

    /// Proves that an index is in `0..extent`.
    fn within(&self, index: &Index, extent: i128, what: &str, report: &mut Report) {
        let text = || text::index(self.kernel, index);
        match self.scope.interval(index) {
            None => report.add(Invariant::Bounds, format!("{} has no bounds, for {what}", text())),
            Some((least, _)) if least < 0 => {
                report.add(Invariant::Bounds, format!("{} may be {least}, for {what}", text()));
            }
            Some((_, largest)) if largest >= extent => {
                report.add(Invariant::Bounds, format!("{} may be {largest}, for {what}", text()));
            }
            Some(_) => {}
        }
    }

    fn access(&self, at: &At, count: usize, report: &mut Report) {
        at.block.iter().chain([&at.offset]).for_each(|index| self.parts(index, report));
        let param = &self.kernel.params[at.param.index()];
        let (blocks, len) = match param.kind {
            ParamKind::Flat { len, .. } => (1, len),
            ParamKind::Blocks { count, len, .. } => (count, len),
            ParamKind::Table { .. } => return,
        };
        if let Some(block) = &at.block {
            self.within(block, blocks as i128, &format!("the {blocks} blocks of {}", param.name), report);
        }
        let what = format!("{count} of the {len} elements of {}", param.name);
        self.within(&at.offset, len as i128 - count as i128 + 1, &what, report);
    }

    fn value(&self, value: &Value, report: &mut Report) {
        match value {
            Value::Const(_) | Value::ConstI32(_) | Value::Local(_) | Value::Acc => {}
            Value::Load { at, lanes } => self.access(at, *lanes, report),
            Value::Splat(at) => self.access(at, 1, report),
            Value::SplatGroup { at, .. } => self.access(at, LANES, report),
            Value::Unary(_, of) => self.value(of, report),
            Value::Binary(_, a, b) => [a, b].into_iter().for_each(|value| self.value(value, report)),
            Value::Fma(a, b, c) => [a, b, c].into_iter().for_each(|value| self.value(value, report)),
            Value::SelectLt { a, b, then, otherwise } => {
                [a, b, then, otherwise].into_iter().for_each(|value| self.value(value, report));
            }
        }
    }
}
