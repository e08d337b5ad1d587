//! Bounds: every access of a kernel inside its parameter, for all calls and all values of its variables.
//!
//! The largest value of an index is found by eliminating its variables, the innermost first: a variable of positive
//! factor is replaced by the last value of its range, which is an index of variables further out, so that what the
//! range has to do with the rest of the index is not lost: with `kh` in `max(0, 1 - oh)..min(3, 57 - oh)`, the row
//! `oh + kh - 1` is at most `oh + (56 - oh) - 1 = 55`. Where a range ends at the smaller of two, either is a bound and
//! the better one is taken; where it ends at the larger, both must hold. The least value likewise.

use std::cell::Cell;

use super::{Invariant, Report};
use crate::kernel::{
    At, Axis, Bound, Index, Kernel, LANES, ParamKind, Prefetch, Range, Stmt, Tap, Term, Tile, Update, Value, Var, text,
};

pub(super) fn check(kernel: &Kernel, report: &mut Report) {
    let mut prover = Prover { kernel, scope: Vec::new(), fuel: Cell::new(0) };
    // 0 <= lo < hi <= units.
    prover.scope.push((Var::HI, Span::Values(1, kernel.units as i64)));
    prover.scope.push((Var::LO, Span::Range(Range::new(0usize, Var::HI))));
    prover.body(&kernel.body, report);
}

/// The values of a variable.
enum Span {
    Range(Range),
    /// From the first to the last, both inclusive.
    Values(i64, i64),
}

/// An end of an interval.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Least,
    Largest,
}

/// A sum without `mod` and tables. Sums that leave i128 have no bound.
#[derive(Clone)]
struct Sum {
    terms: Vec<(Var, i128)>,
    constant: i128,
}

impl Sum {
    fn add(&mut self, var: Var, factor: i128) -> Option<()> {
        match self.terms.iter_mut().find(|(v, _)| *v == var) {
            Some((_, f)) => *f = f.checked_add(factor)?,
            None => self.terms.push((var, factor)),
        }
        Some(())
    }

    fn factor(&self, var: Var) -> i128 {
        self.terms.iter().find(|(v, _)| *v == var).map_or(0, |(_, factor)| *factor)
    }
}

/// Steps of elimination that one question may take. Real kernels need a few dozen.
const FUEL: usize = 20_000;

struct Prover<'k> {
    kernel: &'k Kernel,
    /// What is bound, outermost first.
    scope: Vec<(Var, Span)>,
    fuel: Cell<usize>,
}

/// What is looked at inside axes, with the pixels that it is for.
type Inner<'a, 'k> = dyn FnMut(&mut Prover<'k>, (usize, usize), &mut Report) + 'a;

impl<'k> Prover<'k> {
    /// The interval of an index, both ends inclusive; none where it cannot be found.
    fn interval(&self, index: &Index) -> Option<(i128, i128)> {
        self.fuel.set(FUEL);
        Some((self.end(index, End::Least, self.scope.len())?, self.end(index, End::Largest, self.scope.len())?))
    }

    /// An end of an index of the `visible` outermost variables.
    fn end(&self, index: &Index, end: End, visible: usize) -> Option<i128> {
        let mut sum = Sum { terms: Vec::new(), constant: 0 };
        self.add_scaled(&mut sum, index, 1, end, visible)?;
        self.eliminate(sum, end, visible)
    }

    /// Adds `factor * index`, with `mod` and table terms replaced by their worst values.
    fn add_scaled(&self, sum: &mut Sum, index: &Index, factor: i128, end: End, visible: usize) -> Option<()> {
        sum.constant = sum.constant.checked_add(factor.checked_mul(i128::from(index.constant))?)?;
        for (term, by) in &index.terms {
            let factor = factor.checked_mul(i128::from(*by))?;
            let rises = (factor > 0) == (end == End::Largest);
            let worst = match term {
                Term::Var(var) => {
                    sum.add(*var, factor)?;
                    continue;
                }
                Term::Mod(of, modulus) => {
                    let modulus = i128::from(*modulus);
                    let (least, largest) = (self.end(of, End::Least, visible)?, self.end(of, End::Largest, visible)?);
                    if least >= 0 && least / modulus == largest / modulus {
                        // Within one period `mod` only takes a constant off.
                        self.add_scaled(sum, of, factor, end, visible)?;
                        -(least / modulus).checked_mul(modulus)?
                    } else if rises {
                        modulus - 1
                    } else {
                        0
                    }
                }
                Term::Table(param, _) => match self.kernel.params[param.index()].kind {
                    ParamKind::Table { below, .. } if rises => i128::from(below) - 1,
                    ParamKind::Table { .. } | ParamKind::Flat { .. } | ParamKind::Blocks { .. } => 0,
                },
            };
            sum.constant = sum.constant.checked_add(factor.checked_mul(worst)?)?;
        }
        Some(())
    }

    fn eliminate(&self, sum: Sum, end: End, visible: usize) -> Option<i128> {
        self.fuel.set(self.fuel.get().checked_sub(1)?);
        let Some(at) = (0..visible).rev().find(|&at| sum.factor(self.scope[at].0) != 0) else {
            return Some(sum.constant);
        };
        let (var, span) = &self.scope[at];
        let factor = sum.factor(*var);
        let mut rest = sum;
        rest.terms.retain(|(v, _)| v != var);
        let to_last = (factor > 0) == (end == End::Largest);
        let with = |bound: &Index| {
            let mut sum = rest.clone();
            self.add_scaled(&mut sum, bound, factor, end, at)?;
            sum.constant = sum.constant.checked_sub(if to_last { factor } else { 0 })?;
            self.eliminate(sum, end, at)
        };
        let better = |a: i128, b: i128| if end == End::Largest { a.min(b) } else { a.max(b) };
        let worse = |a: i128, b: i128| if end == End::Largest { a.max(b) } else { a.min(b) };
        match span {
            Span::Values(first, last) => {
                // `with` takes the end of a range, which is one past the last.
                with(&Index::constant(if to_last { last.checked_add(1)? } else { *first }))
            }
            Span::Range(range) => {
                let bound = if to_last { &range.hi } else { &range.lo };
                match (bound, to_last) {
                    (Bound::Index(index), _) => with(index),
                    (Bound::Min(a, b), true) | (Bound::Max(a, b), false) => match (with(a), with(b)) {
                        (Some(a), Some(b)) => Some(better(a, b)),
                        (one, other) => one.or(other),
                    },
                    (Bound::Max(a, b), true) | (Bound::Min(a, b), false) => Some(worse(with(a)?, with(b)?)),
                }
            }
        }
    }

    fn bind<T>(&mut self, bound: Vec<(Var, Span)>, look: impl FnOnce(&mut Self) -> T) -> T {
        let outside = self.scope.len();
        self.scope.extend(bound);
        let result = look(self);
        self.scope.truncate(outside);
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
                            let bound = vec![(*var, Span::Range(range.clone()))];
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
            vec![(tile.pixel, Span::Values(first as i64, last(end))), (tile.block, Span::Values(0, last(tile.blocks)))]
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
                    let bound = vec![(*var, Span::Range(range.clone()))];
                    self.bind(bound, |this| this.axes(rest, pixels, report, inner));
                }
            }
            Some((Axis::Taps { var, taps, .. }, rest)) => {
                for Tap { value, first, end } in taps {
                    let pixels = (pixels.0.max(*first), pixels.1.min(*end));
                    if pixels.0 < pixels.1 {
                        let bound = vec![(*var, Span::Values(*value, *value))];
                        self.bind(bound, |this| this.axes(rest, pixels, report, inner));
                    }
                }
            }
        }
    }

    /// Whether a range has no value, whatever the variables outside.
    fn is_empty(&self, range: &Range) -> bool {
        let (Bound::Index(lo), Bound::Index(hi)) = (&range.lo, &range.hi) else { return false };
        self.fuel.set(FUEL);
        let mut extent = Sum { terms: Vec::new(), constant: 0 };
        let visible = self.scope.len();
        let largest = self
            .add_scaled(&mut extent, hi, 1, End::Largest, visible)
            .and_then(|()| self.add_scaled(&mut extent, lo, -1, End::Largest, visible))
            .and_then(|()| self.eliminate(extent, End::Largest, visible));
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
        match self.interval(index) {
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
