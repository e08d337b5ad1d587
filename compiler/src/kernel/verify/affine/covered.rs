//! Whether an element is among those that accesses touch: digits against digits.
//!
//! An access touches the element of digits `d` if the variables that are its own can be chosen such that its digits are
//! those: each digit gives the variables in it, and what remains are conditions on `d` and on the variables around both.
//! An element is touched by one of several accesses if no choice of a failing condition of each is possible at once.

use std::collections::{BTreeMap, BTreeSet};

use super::super::interval::{Bounded, Ends, Scope};
use super::collect::Access;
use super::digits::Place;
use crate::kernel::{Index, Term, Var};

/// Choices of failing conditions that are tried for one element. Real kernels need a dozen.
const FUEL: usize = 4096;

/// Conditions under which an access touches an element: each an index that is not negative. None where they cannot be
/// told. Variables that are in the element's scope too are around both.
pub(super) fn conditions(
    access: &Access<'_>,
    touched: Place<'_>,
    element: Place<'_>,
    scope: &Scope<'_>,
) -> Option<Vec<Index>> {
    let around: BTreeSet<Var> = scope.vars().iter().map(|bounded| bounded.var).collect();
    let mut solver =
        Solver { scope: &access.scope, around, known: BTreeMap::new(), counted: BTreeSet::new(), found: Vec::new() };
    for bounded in access.scope.vars().iter().filter(|bounded| !solver.around.contains(&bounded.var)) {
        let (first, last) = access.scope.interval(&Index::var(bounded.var))?;
        if first == last {
            solver.known.insert(bounded.var, Index::constant(i64::try_from(first).ok()?));
        }
    }
    for (own, wanted) in touched.0.iter().zip(element.0) {
        solver.digit(own, wanted)?;
    }
    for bounded in access.scope.vars() {
        solver.within(bounded)?;
    }
    for guard in access.guards.iter() {
        let guard = solver.resolve(guard)?;
        solver.demand(guard);
    }
    Some(solver.found)
}

/// Whether an element is touched by an access, whichever conditions hold.
pub(super) fn is_covered(scope: &Scope<'_>, accesses: impl Iterator<Item = Vec<Index>>) -> bool {
    let mut choices: Vec<Vec<Index>> = Vec::new();
    for conditions in accesses {
        let always = |condition: &Index| scope.least(condition).is_some_and(|least| least >= 0);
        let never = |condition: &Index| scope.largest(condition).is_some_and(|largest| largest < 0);
        let open: Vec<Index> = conditions.into_iter().filter(|condition| !always(condition)).collect();
        if open.is_empty() {
            return true;
        }
        if !open.iter().any(never) {
            // A condition fails where it is at most -1.
            choices.push(open.into_iter().map(|condition| condition * -1i64 - 1i64).collect());
        }
    }
    !Refutation { scope, choices: &choices, fuel: FUEL }.is_possible(&mut Vec::new()).unwrap_or(true)
}

/// Whether no element is touched under some conditions.
pub(super) fn is_never(scope: &Scope<'_>, conditions: &[Index]) -> bool {
    conditions.iter().any(|condition| scope.largest(condition).is_some_and(|largest| largest < 0))
}

/// The search for a failing condition of each access that are possible together.
struct Refutation<'a> {
    scope: &'a Scope<'a>,
    choices: &'a [Vec<Index>],
    fuel: usize,
}

impl<'a> Refutation<'a> {
    fn is_possible(&mut self, chosen: &mut Vec<&'a Index>) -> Option<bool> {
        self.fuel = self.fuel.checked_sub(1)?;
        let Some(choices) = self.choices.get(chosen.len()) else { return Some(true) };
        for choice in choices {
            let against = |other: &&Index| {
                let sum = (*other).clone() + choice.clone();
                self.scope.largest(&sum).is_some_and(|largest| largest < 0)
            };
            if chosen.iter().rev().any(against) {
                continue;
            }
            chosen.push(choice);
            if self.is_possible(chosen)? {
                return Some(true);
            }
            chosen.pop();
        }
        Some(false)
    }
}

struct Solver<'a> {
    /// The access' scope.
    scope: &'a Scope<'a>,
    /// Variables around both.
    around: BTreeSet<Var>,
    /// The access' own variables, as the digits give them.
    known: BTreeMap<Var, Index>,
    /// Own variables that count through a digit together; conditions say which values of it they reach.
    counted: BTreeSet<Var>,
    found: Vec<Index>,
}

/// One of the variables that count through a digit, from zero.
struct Counter {
    var: Var,
    factor: i64,
    first: i64,
    /// Its number of values, if that is constant.
    values: Option<i64>,
    /// Largest values that are not constant.
    lasts: Vec<Index>,
    /// Whether it counts down in the access.
    falls: bool,
}

impl Solver<'_> {
    fn demand(&mut self, condition: Index) {
        if condition.as_constant().is_none_or(|value| value < 0) {
            self.found.push(condition);
        }
    }

    /// An index without own variables; none where some are not known.
    fn resolve(&self, index: &Index) -> Option<Index> {
        let mut sum = Index::constant(index.constant);
        for (term, factor) in &index.terms {
            let Term::Var(var) = term else { return None };
            sum = match self.known.get(var) {
                Some(by) => sum + by.clone() * *factor,
                None if self.around.contains(var) => sum + *var * *factor,
                None => return None,
            };
        }
        Some(sum)
    }

    /// Makes a digit of the access one of the element.
    fn digit(&mut self, own: &Index, wanted: &Index) -> Option<()> {
        let mut left = wanted.clone() - own.constant;
        let mut unknown: Vec<(Var, i64)> = Vec::new();
        for (term, factor) in &own.terms {
            let Term::Var(var) = term else { return None };
            if self.around.contains(var) || self.known.contains_key(var) {
                left = left - self.resolve(&Index::var(*var))? * *factor;
            } else {
                unknown.push((*var, *factor));
            }
        }
        match unknown[..] {
            [] => {
                self.demand(left.clone() * -1i64);
                self.demand(left);
            }
            [(var, factor @ (1 | -1))] => drop(self.known.insert(var, left * factor)),
            _ => self.count(unknown, left)?,
        }
        Some(())
    }

    /// Variables of which each counts through what the ones before it leave: `6*i + j` with j below 6 takes all values.
    fn count(&mut self, unknown: Vec<(Var, i64)>, mut left: Index) -> Option<()> {
        let mut counters = unknown.into_iter().map(|of| self.counter(of)).collect::<Option<Vec<_>>>()?;
        counters.sort_by_key(|counter| counter.factor);
        for Counter { factor, first, values, falls, .. } in &counters {
            // What falls from the last value rises from zero.
            let least = if *falls { -(first + (*values)? - 1) } else { *first };
            left = left - factor.checked_mul(least)?;
        }
        let mut reach = 1_i64;
        for (i, counter) in counters.iter().enumerate() {
            if counter.factor != reach {
                return None;
            }
            let outermost = i + 1 == counters.len();
            for last in &counter.lasts {
                let last = if outermost {
                    self.resolve(last)? - counter.first
                } else {
                    self.last_of_pair(counter, last, &counters[i + 1..])?
                };
                self.demand(last * counter.factor + (counter.factor - 1) - left.clone());
            }
            match counter.values {
                Some(values) => reach = reach.checked_mul(values)?,
                None if outermost && !counter.lasts.is_empty() => reach = i64::MAX,
                None => return None,
            }
            self.counted.insert(counter.var);
        }
        if reach != i64::MAX {
            self.demand(Index::constant(reach - 1) - left.clone());
        }
        self.demand(left);
        Some(())
    }

    fn counter(&self, (var, factor): (Var, i64)) -> Option<Counter> {
        let bounded = self.scope.bounded(var)?;
        let (Ends::All(lowers), Ends::All(uppers)) = (&bounded.lowers, &bounded.uppers) else { return None };
        let first = lowers.iter().map(Index::as_constant).collect::<Option<Vec<_>>>()?.into_iter().max()?;
        let last = uppers.iter().filter_map(Index::as_constant).min();
        let lasts: Vec<Index> = uppers.iter().filter(|upper| upper.as_constant().is_none()).cloned().collect();
        let falls = factor < 0;
        if falls && (last.is_none() || !lasts.is_empty()) {
            return None;
        }
        let values = last.map(|last| last - first + 1);
        Some(Counter { var, factor: factor.checked_abs()?, first, values, lasts, falls })
    }

    /// Where the last value of a counter of n values falls by n with each value of the only one around it, it ends both:
    /// `t` up to `9 - 4*u`, of 4 values, in `4*u + t`. Up to where the two of them count.
    fn last_of_pair(&self, inner: &Counter, last: &Index, outer: &[Counter]) -> Option<Index> {
        let [outer] = outer else { return None };
        let values = inner.values?;
        if outer.falls || last.factor(outer.var) != -values || outer.factor != inner.factor.checked_mul(values)? {
            return None;
        }
        let end = self.resolve(&(last.clone() + outer.var * values))?;
        Some(end - values.checked_mul(outer.first)? - inner.first)
    }

    /// Keeps a variable of the access within its bounds.
    fn within(&mut self, bounded: &Bounded) -> Option<()> {
        if self.around.contains(&bounded.var) || self.counted.contains(&bounded.var) {
            return Some(());
        }
        let (Ends::All(lowers), Ends::All(uppers)) = (&bounded.lowers, &bounded.uppers) else { return None };
        let resolved = |ends: &[Index]| ends.iter().map(|end| self.resolve(end)).collect::<Option<Vec<_>>>();
        let (lowers, uppers) = (resolved(lowers)?, resolved(uppers)?);
        match self.known.get(&bounded.var).cloned() {
            Some(value) => {
                lowers.into_iter().for_each(|lower| self.demand(value.clone() - lower));
                uppers.into_iter().for_each(|upper| self.demand(upper - value.clone()));
            }
            // It is in no digit: any value does, if there is one.
            None => {
                for lower in lowers {
                    uppers.iter().for_each(|upper| self.demand(upper.clone() - lower.clone()));
                }
            }
        }
        Some(())
    }
}
