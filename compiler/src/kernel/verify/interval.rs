//! Intervals of indexes: the least and the largest value under the bounds of their variables.
//!
//! The largest value of an index is found by eliminating its variables, the innermost first: a variable of positive
//! factor is replaced by its largest value, which is an index of variables further out, so that what the bound has to do
//! with the rest of the index is not lost: with `kh` in `max(0, 1 - oh)..min(3, 57 - oh)`, the row `oh + kh - 1` is at
//! most `oh + (56 - oh) - 1 = 55`. Where several bounds hold, each is tried and the best result taken; where only one of
//! several holds, the worst. The least value likewise.

use std::cell::Cell;
use std::rc::Rc;

use crate::kernel::{Bound, Index, Kernel, ParamKind, Range, Term, Var};

/// The bounds of a variable from one side, both inclusive ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ends {
    /// Each of them holds.
    All(Vec<Index>),
    /// One of them holds.
    Any(Vec<Index>),
}

/// A variable and its values. Its bounds mention variables further out only.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    pub(super) var: Var,
    pub(super) lowers: Ends,
    pub(super) uppers: Ends,
}

impl Bounded {
    /// From the first to the last, both inclusive.
    pub(super) fn values(var: Var, first: i64, last: i64) -> Bounded {
        Bounded { var, lowers: Ends::All(vec![Index::constant(first)]), uppers: Ends::All(vec![Index::constant(last)]) }
    }

    /// The values of a range that is not empty.
    pub(super) fn range(var: Var, range: &Range) -> Bounded {
        let lowers = match &range.lo {
            Bound::Index(index) => Ends::All(vec![index.clone()]),
            Bound::Max(a, b) => Ends::All(vec![a.clone(), b.clone()]),
            Bound::Min(a, b) => Ends::Any(vec![a.clone(), b.clone()]),
        };
        let last = |index: &Index| index.clone() - 1i64;
        let uppers = match &range.hi {
            Bound::Index(index) => Ends::All(vec![last(index)]),
            Bound::Min(a, b) => Ends::All(vec![last(a), last(b)]),
            Bound::Max(a, b) => Ends::Any(vec![last(a), last(b)]),
        };
        Bounded { var, lowers, uppers }
    }
}

/// The variable that stands for another one in a [renamed](Scope::renamed) scope.
fn other(var: Var) -> Var {
    Var(var.0 | 1 << 31)
}

/// An affine index in a [renamed](Scope::renamed) scope.
pub(super) fn renamed(index: &Index) -> Index {
    let mut result = Index::constant(index.constant);
    for (term, factor) in &index.terms {
        let term = match term {
            Term::Var(var) => Term::Var(other(*var)),
            Term::Mod(of, modulus) => Term::Mod(Box::new(renamed(of)), *modulus),
            Term::Table(param, of) => Term::Table(*param, Box::new(renamed(of))),
        };
        result = result + Index::term(term) * *factor;
    }
    result
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

/// The variables around a place, outermost first. A copy costs little.
#[derive(Clone, Debug)]
pub(super) struct Scope<'k> {
    kernel: &'k Kernel,
    vars: Rc<Vec<Rc<Bounded>>>,
    fuel: Cell<usize>,
}

impl<'k> Scope<'k> {
    pub(super) fn new(kernel: &'k Kernel) -> Scope<'k> {
        Scope { kernel, vars: Rc::default(), fuel: Cell::new(0) }
    }

    /// The scope with a variable inside of the others.
    pub(super) fn with(&self, bounded: Bounded) -> Scope<'k> {
        let mut scope = self.clone();
        Rc::make_mut(&mut scope.vars).push(Rc::new(bounded));
        scope
    }

    pub(super) fn vars(&self) -> &[Rc<Bounded>] {
        &self.vars
    }

    /// The scope with other variables in the place of its own, each with its bounds.
    pub(super) fn renamed(&self) -> Scope<'k> {
        let all = |ends: &[Index]| ends.iter().map(renamed).collect();
        let ends = |ends: &Ends| match ends {
            Ends::All(ends) => Ends::All(all(ends)),
            Ends::Any(ends) => Ends::Any(all(ends)),
        };
        let vars = self.vars.iter().map(|bounded| {
            let Bounded { var, lowers, uppers } = &**bounded;
            Rc::new(Bounded { var: other(*var), lowers: ends(lowers), uppers: ends(uppers) })
        });
        Scope { vars: Rc::new(vars.collect()), ..self.clone() }
    }

    /// The bounds of a variable in scope.
    pub(super) fn bounded(&self, var: Var) -> Option<&Bounded> {
        self.vars.iter().rev().find(|bounded| bounded.var == var).map(Rc::as_ref)
    }

    /// The scope in which one more bound of a variable holds.
    pub(super) fn tightened(&self, var: Var, lower: Option<i64>, upper: Option<i64>) -> Scope<'k> {
        let mut scope = self.clone();
        if let Some(bounded) = Rc::make_mut(&mut scope.vars).iter_mut().rev().find(|bounded| bounded.var == var) {
            let bounded = Rc::make_mut(bounded);
            for (ends, more) in [(&mut bounded.lowers, lower), (&mut bounded.uppers, upper)] {
                if let (Ends::All(ends), Some(more)) = (ends, more) {
                    ends.push(Index::constant(more));
                }
            }
        }
        scope
    }

    /// The interval of an index, both ends inclusive; none where it cannot be found.
    pub(super) fn interval(&self, index: &Index) -> Option<(i128, i128)> {
        Some((self.least(index)?, self.largest(index)?))
    }

    pub(super) fn least(&self, index: &Index) -> Option<i128> {
        self.fuel.set(FUEL);
        self.end(index, End::Least, self.vars.len())
    }

    pub(super) fn largest(&self, index: &Index) -> Option<i128> {
        self.fuel.set(FUEL);
        self.end(index, End::Largest, self.vars.len())
    }

    /// The largest value of `a - b`, in which each may have `mod` and table terms of its own.
    pub(super) fn largest_difference(&self, a: &Index, b: &Index) -> Option<i128> {
        self.fuel.set(FUEL);
        let mut sum = Sum { terms: Vec::new(), constant: 0 };
        self.add_scaled(&mut sum, a, 1, End::Largest, self.vars.len())?;
        self.add_scaled(&mut sum, b, -1, End::Largest, self.vars.len())?;
        self.eliminate(sum, End::Largest, self.vars.len())
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
        let Some(at) = (0..visible).rev().find(|&at| sum.factor(self.vars[at].var) != 0) else {
            return sum.terms.iter().all(|(_, factor)| *factor == 0).then_some(sum.constant);
        };
        let Bounded { var, lowers, uppers } = &*self.vars[at];
        let factor = sum.factor(*var);
        let mut rest = sum;
        rest.terms.retain(|(v, _)| v != var);
        let with = |bound: &Index| {
            let mut sum = rest.clone();
            self.add_scaled(&mut sum, bound, factor, end, at)?;
            self.eliminate(sum, end, at)
        };
        let better = |a: i128, b: i128| if end == End::Largest { a.min(b) } else { a.max(b) };
        let worse = |a: i128, b: i128| if end == End::Largest { a.max(b) } else { a.min(b) };
        match if (factor > 0) == (end == End::Largest) { uppers } else { lowers } {
            Ends::All(ends) => ends.iter().filter_map(with).reduce(better),
            Ends::Any(ends) => ends.iter().map(with).reduce(|one, other| Some(worse(one?, other?))).unwrap_or_default(),
        }
    }
}
