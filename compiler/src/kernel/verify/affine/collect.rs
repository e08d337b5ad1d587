//! The accesses of a kernel with the loops around them, in normal form.
//!
//! A loop from `max(lo - e, a)` to `min(hi - e, b)` hands out units: its variable v runs for the unit `v + e`, and a
//! call runs those of its own units. As each access stands in one such loop, a call of all units touches what the calls
//! of the units touch one by one.
//!
//! Variables that have one value are replaced by it, and a variable whose range moves with others is replaced by where
//! the range begins and a variable from there on: `ty` in `u + r..u + r + 1` is `u + r`. That a loop runs at all says
//! something of the variables around it too: in `last in max(u, 6)..u + 1`, u is at least 6.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::interval::{Bounded, Ends, Scope};
use super::super::trace::each_read;
use crate::kernel::{At, Axis, Bound, Index, Kernel, ParamId, Range, Stmt, Tap, Term, Tile, Update, Value, Var};

/// Elements that a kernel reads or writes at one place of its text.
#[derive(Clone, Debug)]
pub(super) struct Access<'k> {
    pub(super) param: ParamId,
    pub(super) write: bool,
    /// Its position in the text among all accesses.
    pub(super) order: usize,
    /// The block; zero of a flat parameter.
    pub(super) block: Index,
    /// The first element.
    pub(super) offset: Index,
    /// Which of the elements side by side, where there are several.
    pub(super) lane: Option<Var>,
    /// The unit that it belongs to.
    pub(super) unit: Index,
    /// The variables around it, and the lane.
    pub(super) scope: Scope<'k>,
    /// Indexes that are not negative where it happens: each says that a loop around it runs at all.
    pub(super) guards: Rc<Vec<Index>>,
}

impl Access<'_> {
    /// One element of it.
    pub(super) fn element(&self) -> Index {
        self.lane.iter().fold(self.offset.clone(), |offset, lane| offset + *lane)
    }

    /// Whether another access differs by a constant distance, if at all.
    pub(super) fn differs_in_place_alone(&self, other: &Access<'_>) -> bool {
        let (own, others) = (self.scope.vars(), other.scope.vars());
        let is_like = |(a, b): (&Rc<Bounded>, &Rc<Bounded>)| {
            let lanes = self.lane == Some(a.var) && other.lane == Some(b.var);
            (a.var == b.var || lanes) && (&a.lowers, &a.uppers) == (&b.lowers, &b.uppers)
        };
        (self.write, &self.block, &self.offset.terms) == (other.write, &other.block, &other.offset.terms)
            && self.guards == other.guards
            && own.len() == others.len()
            && own.iter().zip(others).all(is_like)
    }
}

/// The accesses to some parameters, in the order of the text.
pub(super) struct Accesses<'k> {
    pub(super) list: Vec<Access<'k>>,
    /// Parameters of which some access is not affine: not all of theirs are listed.
    pub(super) irregular: BTreeSet<ParamId>,
    /// How many variables there are in them: no other has this number or a larger one.
    vars: u32,
}

/// Finds them; none where a loop around one of them is not affine, or where it stands in no loop that hands out units or
/// in two.
pub(super) fn accesses<'k>(kernel: &'k Kernel, params: &BTreeSet<ParamId>) -> Option<Accesses<'k>> {
    let around = Around { scope: Scope::new(kernel), known: BTreeMap::new(), guards: Rc::default(), unit: None };
    let found = Accesses { list: Vec::new(), irregular: BTreeSet::new(), vars: kernel.vars.len() as u32 };
    let mut collector = Collector { kernel, params, around, found };
    collector.body(&kernel.body)?;
    let mut found = collector.found;
    let mut of_params: BTreeMap<ParamId, Vec<Access<'k>>> = BTreeMap::new();
    for (order, access) in found.list.drain(..).enumerate() {
        of_params.entry(access.param).or_default().push(Access { order, ..access });
    }
    for accesses in of_params.into_values() {
        found.list.extend(rows_of_writes(accesses, &mut found.vars));
    }
    found.list.sort_by_key(|access| access.order);
    Some(found)
}

/// Writes of a body that lie equally far apart, as one with a variable that counts them.
fn rows_of_writes<'k>(accesses: Vec<Access<'k>>, vars: &mut u32) -> Vec<Access<'k>> {
    let mut result: Vec<Access<'k>> = Vec::new();
    let mut rest = accesses.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut row = vec![first];
        while let Some(next) = rest.next_if(|next| row[0].write && row[0].differs_in_place_alone(next)) {
            row.push(next);
        }
        let last = row[row.len() - 1].order;
        row.sort_by_key(|access| access.offset.constant);
        let distances: BTreeSet<i64> =
            row.windows(2).map(|pair| pair[1].offset.constant - pair[0].offset.constant).collect();
        match (distances.first(), distances.len()) {
            (Some(&distance), 1) if distance > 0 => {
                let (count, access) = (row.len() as i64, row.swap_remove(0));
                let offset = access.offset + Var(*vars) * distance;
                let scope = access.scope.with(Bounded::values(Var(*vars), 0, count - 1));
                *vars += 1;
                result.push(Access { offset, scope, order: last, ..access });
            }
            _ => result.extend(row),
        }
    }
    result
}

struct Collector<'k, 'p> {
    kernel: &'k Kernel,
    params: &'p BTreeSet<ParamId>,
    around: Around<'k>,
    found: Accesses<'k>,
}

/// What the loops around a place say.
#[derive(Clone)]
struct Around<'k> {
    scope: Scope<'k>,
    /// By variable, what stands for it.
    known: BTreeMap<Var, Index>,
    guards: Rc<Vec<Index>>,
    unit: Option<Index>,
}

/// What is done inside axes, with the pixels that it is for.
type Inner<'a, 'k, 'p> = dyn FnMut(&mut Collector<'k, 'p>, (usize, usize)) -> Option<()> + 'a;

impl<'k, 'p> Collector<'k, 'p> {
    fn body(&mut self, body: &'k [Stmt]) -> Option<()> {
        for stmt in body {
            match stmt {
                Stmt::For { var, range, unroll: _, body } => self.in_loop(*var, range, |this| this.body(body))?,
                Stmt::Let { local: _, value } => self.reads(value)?,
                Stmt::Tile(tile) => self.tile(tile)?,
                Stmt::Store { at, value, lanes } => {
                    self.reads(value)?;
                    self.access(at, *lanes, true)?;
                }
                Stmt::Zero { at, len } => self.access(at, *len, true)?,
                Stmt::Prefetch(_) => {}
            }
        }
        Some(())
    }

    fn tile(&mut self, tile: &'k Tile) -> Option<()> {
        self.over_tile(tile, (0, tile.pixels), |this| this.reads(&tile.init))?;
        for reduction in &tile.reductions {
            self.axes(&reduction.axes, (0, tile.pixels), &mut |this, pixels| {
                this.over_tile(tile, pixels, |this| match &reduction.update {
                    Update::Fma(a, b) => this.reads(a).and_then(|()| this.reads(b)),
                    Update::Add(value) | Update::Max(value) => this.reads(value),
                })
            })?;
        }
        self.over_tile(tile, (0, tile.pixels), |this| this.body(&tile.finish))
    }

    fn over_tile(
        &mut self,
        tile: &'k Tile,
        (first, end): (usize, usize),
        inner: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.in_loop(tile.pixel, &Range::new(first, end), |this| {
            this.in_loop(tile.block, &Range::new(0usize, tile.blocks), inner)
        })
    }

    fn axes(&mut self, axes: &'k [Axis], pixels: (usize, usize), inner: &mut Inner<'_, 'k, 'p>) -> Option<()> {
        match axes.split_first() {
            None => inner(self, pixels),
            Some((Axis::Loop { var, range }, rest)) => self.in_loop(*var, range, |this| this.axes(rest, pixels, inner)),
            Some((Axis::Taps { var, taps, together: _ }, rest)) => {
                for Tap { value, first, end } in taps {
                    let pixels = (pixels.0.max(*first), pixels.1.min(*end));
                    if pixels.0 < pixels.1 {
                        let range = Range::new(*value, *value + 1);
                        self.in_loop(*var, &range, |this| this.axes(rest, pixels, inner))?;
                    }
                }
                Some(())
            }
        }
    }

    fn reads(&mut self, value: &'k Value) -> Option<()> {
        let mut all = Some(());
        each_read(value, &mut |at, count| all = all.and_then(|()| self.access(at, count, false)));
        all
    }

    fn access(&mut self, at: &At, count: usize, write: bool) -> Option<()> {
        if !self.params.contains(&at.param) {
            return Some(());
        }
        let block = at.block.as_ref().map_or(Some(Index::constant(0)), |block| self.resolve(block));
        let (Some(block), Some(offset)) = (block, self.resolve(&at.offset)) else {
            self.found.irregular.insert(at.param);
            return Some(());
        };
        let unit = self.resolve(self.around.unit.as_ref()?)?;
        let lane = (count > 1).then(|| self.fresh());
        let mut scope = self.around.scope.clone();
        if let Some(lane) = lane {
            scope = scope.with(Bounded::values(lane, 0, count as i64 - 1));
        }
        let guards = self.around.guards.clone();
        self.found.list.push(Access { param: at.param, write, order: 0, block, offset, lane, unit, scope, guards });
        Some(())
    }

    fn fresh(&mut self) -> Var {
        self.found.vars += 1;
        Var(self.found.vars - 1)
    }

    /// An index in terms of the variables in scope; none where it is not affine or depends on the call.
    fn resolve(&self, index: &Index) -> Option<Index> {
        let mut sum = Index::constant(index.constant);
        for (term, factor) in &index.terms {
            let Term::Var(var) = term else { return None };
            if *var == Var::LO || *var == Var::HI {
                return None;
            }
            sum = match self.around.known.get(var) {
                Some(by) => sum + self.resolve(by)? * *factor,
                None => sum + *var * *factor,
            };
        }
        Some(sum)
    }

    /// The bounds of a loop's variable, both inclusive, and what its unit is more than the variable, if it hands out
    /// units.
    fn bounds(&self, range: &Range) -> Option<(Vec<Index>, Vec<Index>, Option<Index>)> {
        let (lowers, uppers) = match (&range.lo, &range.hi) {
            (Bound::Min(..), _) | (_, Bound::Max(..)) => return None,
            (lo, hi) => (listed(lo), listed(hi)),
        };
        let of_call = |index: &&Index, var: Var| index.mentions(var);
        let (first, lowers): (Vec<&Index>, Vec<&Index>) = lowers.into_iter().partition(|i| of_call(i, Var::LO));
        let (last, uppers): (Vec<&Index>, Vec<&Index>) = uppers.into_iter().partition(|i| of_call(i, Var::HI));
        let resolved = |indexes: Vec<&Index>| indexes.into_iter().map(|i| self.resolve(i)).collect::<Option<Vec<_>>>();
        let (mut lowers, mut uppers) = (resolved(lowers)?, resolved(uppers)?);
        let shift = match (&first[..], &last[..]) {
            ([], []) => None,
            ([first], [last]) => {
                let first = self.resolve(&(Index::var(Var::LO) - (*first).clone()))?;
                let last = self.resolve(&(Index::var(Var::HI) - (*last).clone()))?;
                if first != last {
                    return None;
                }
                lowers.push(first.clone() * -1i64);
                uppers.push(Index::from(self.kernel.units) - first.clone());
                Some(first)
            }
            _ => return None,
        };
        let uppers = uppers.into_iter().map(|upper| upper - 1i64).collect();
        Some((lowers, uppers, shift))
    }

    /// Runs `inner` inside a loop, unless the loop is empty.
    fn in_loop(&mut self, var: Var, range: &Range, inner: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let (lowers, uppers, shift) = self.bounds(range)?;
        if shift.is_some() && self.around.unit.is_some() {
            return None;
        }
        let outside = self.around.clone();
        let mut result = Some(());
        if self.enter(var, lowers, uppers)? {
            if let Some(shift) = shift {
                self.around.unit = Some(shift + var);
            }
            result = inner(self);
        }
        self.around = outside;
        result
    }

    /// Binds a variable to the values from all of `lowers` up to all of `uppers`; false where there are none.
    fn enter(&mut self, var: Var, mut lowers: Vec<Index>, mut uppers: Vec<Index>) -> Option<bool> {
        // A variable that is bound a second time, as a tile's are, is another one.
        self.around.known.remove(&var);
        for (lower, upper) in lowers.iter().flat_map(|lower| uppers.iter().map(move |upper| (lower, upper))) {
            if !self.assume(upper.clone() - lower.clone())? {
                return Some(false);
            }
        }
        let scope = &self.around.scope;
        let largest = lowers.iter().filter_map(Index::as_constant).max();
        let least = uppers.iter().filter_map(Index::as_constant).min();
        lowers.retain(|lower| largest.is_none_or(|c| scope.largest(lower).is_none_or(|l| l > c.into())));
        uppers.retain(|upper| least.is_none_or(|c| scope.least(upper).is_none_or(|l| l < c.into())));
        lowers.extend(largest.map(Index::constant));
        uppers.extend(least.map(Index::constant));
        let bounded = Bounded { var, lowers: Ends::All(lowers.clone()), uppers: Ends::All(uppers.clone()) };
        let inside = scope.with(bounded);
        // Where the range begins, from which on the variable has the fewest values; by itself if no fewer.
        let values = |base: &Index| inside.interval(&(Index::var(var) - base.clone()));
        let mut best = (Index::constant(0), values(&Index::constant(0))?);
        for base in lowers.iter().filter(|lower| lower.as_constant().is_none()) {
            if let Some(values) = values(base)
                && values.1 - values.0 < best.1.1 - best.1.0
            {
                best = (base.clone(), values);
            }
        }
        let (base, (first, last)) = (best.0, (i64::try_from(best.1.0).ok()?, i64::try_from(best.1.1).ok()?));
        if first > last {
            return Some(false);
        }
        if first == last {
            self.around.known.insert(var, base + first);
        } else if base.terms.is_empty() {
            self.around.scope = inside;
        } else {
            let part = self.fresh();
            let from_base = |ends: Vec<Index>, end: i64| {
                let mut ends: Vec<Index> = ends.into_iter().map(|of| of - base.clone()).collect();
                ends.retain(|of| of.as_constant().is_none());
                ends.push(Index::constant(end));
                Ends::All(ends)
            };
            let bounded = Bounded { var: part, lowers: from_base(lowers, first), uppers: from_base(uppers, last) };
            self.around.scope = self.around.scope.with(bounded);
            self.around.known.insert(var, base + part);
        }
        Some(true)
    }

    /// Takes it that an index is not negative; false where it always is.
    fn assume(&mut self, index: Index) -> Option<bool> {
        let scope = &self.around.scope;
        if scope.largest(&index).is_some_and(|largest| largest < 0) {
            return Some(false);
        }
        if scope.least(&index).is_some_and(|least| least >= 0) {
            return Some(true);
        }
        for (term, factor) in &index.terms {
            let Term::Var(var) = term else { return None };
            let rest = self.around.scope.largest(&(index.clone() - *var * *factor))?;
            let (own, factor) = (Index::var(*var), i128::from(*factor));
            let (least, largest) = self.around.scope.interval(&own)?;
            let end = rest.div_euclid(factor.abs());
            let (lower, upper) = if factor > 0 { (-end, largest) } else { (least, end) };
            if lower <= least && upper >= largest {
                continue;
            }
            let (lower, upper) = (least.max(lower), largest.min(upper));
            if lower > upper {
                return Some(false);
            }
            let (lower, upper) = (i64::try_from(lower).ok()?, i64::try_from(upper).ok()?);
            self.around.scope = self.around.scope.tightened(*var, Some(lower), Some(upper));
            if lower == upper {
                self.around.known.insert(*var, Index::constant(lower));
            }
        }
        Rc::make_mut(&mut self.around.guards).push(index);
        Some(true)
    }
}

/// The indexes of a bound.
fn listed(bound: &Bound) -> Vec<&Index> {
    match bound {
        Bound::Index(index) => vec![index],
        Bound::Min(a, b) | Bound::Max(a, b) => vec![a, b],
    }
}
