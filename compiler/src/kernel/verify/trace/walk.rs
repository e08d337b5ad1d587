//! Running through an outline for one call.

use std::collections::BTreeMap;

use super::outline::{Node, Outline};
use super::{Run, Wanted, merged};
use crate::kernel::{At, Bound, Index, ParamId, Term, Var};

/// What one call touches.
#[derive(Default)]
pub(super) struct Touched {
    /// Sorted, without overlaps; the unit is the first of the call.
    pub(super) writes: Vec<Run>,
    pub(super) reads: Vec<Run>,
    /// Elements written, by parameter; what is written twice counts twice. Private parameters are left out.
    pub(super) written: BTreeMap<ParamId, usize>,
    /// The first read, of each private parameter, of what the call has not written before.
    pub(super) unwritten: BTreeMap<ParamId, Run>,
    /// What has been written of private parameters so far: block and start to end, without overlaps.
    private: BTreeMap<ParamId, BTreeMap<(usize, usize), usize>>,
}

pub(super) struct Walk<'a> {
    outline: &'a Outline<'a>,
    tables: &'a [&'a [u32]],
    wanted: &'a Wanted,
    /// Values of walked variables; first values of folded ones.
    values: Vec<i64>,
    /// Folded variables in scope, with their number of values.
    folded: Vec<(Var, i64)>,
    budget: usize,
    unit: usize,
    touched: Touched,
}

impl<'a> Walk<'a> {
    pub(super) fn new(outline: &'a Outline<'a>, tables: &'a [&'a [u32]], wanted: &'a Wanted, budget: usize) -> Self {
        Walk {
            outline,
            tables,
            wanted,
            values: vec![0; outline.walked.len()],
            folded: Vec::new(),
            budget,
            unit: 0,
            touched: Touched::default(),
        }
    }

    /// What the call of the units `lo..hi` touches. None if all calls together are too much to run through.
    pub(super) fn call(&mut self, lo: usize, hi: usize) -> Option<Touched> {
        self.spend(1)?;
        self.unit = lo;
        self.values[Var::LO.index()] = i64::try_from(lo).ok()?;
        self.values[Var::HI.index()] = i64::try_from(hi).ok()?;
        self.nodes(&self.outline.nodes)?;
        let mut touched = std::mem::take(&mut self.touched);
        touched.writes = merged(touched.writes);
        touched.reads = merged(touched.reads);
        Some(touched)
    }

    fn nodes(&mut self, nodes: &[Node<'_>]) -> Option<()> {
        for node in nodes {
            match node {
                Node::Loop { var, range, body } => {
                    let (lo, hi) = (self.bound(&range.lo)?, self.bound(&range.hi)?);
                    self.values_of(*var, lo, hi, body)?;
                }
                Node::Values { var, first, end, body } => self.values_of(*var, *first, *end, body)?,
                Node::Access { at, count, write } => self.access(at, *count, *write)?,
            }
        }
        Some(())
    }

    fn values_of(&mut self, var: Var, lo: i64, hi: i64, body: &[Node<'_>]) -> Option<()> {
        if hi <= lo {
            self.spend(1)?;
        } else if self.outline.walked[var.index()] {
            for value in lo..hi {
                self.spend(1)?;
                self.values[var.index()] = value;
                self.nodes(body)?;
            }
        } else {
            self.values[var.index()] = lo;
            self.folded.push((var, hi.checked_sub(lo)?));
            self.nodes(body)?;
            self.folded.pop();
        }
        Some(())
    }

    fn spend(&mut self, steps: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(steps)?;
        Some(())
    }

    fn bound(&self, bound: &Bound) -> Option<i64> {
        Some(match bound {
            Bound::Index(index) => self.index(index)?,
            Bound::Min(a, b) => self.index(a)?.min(self.index(b)?),
            Bound::Max(a, b) => self.index(a)?.max(self.index(b)?),
        })
    }

    fn index(&self, index: &Index) -> Option<i64> {
        let mut sum = index.constant;
        for (term, factor) in &index.terms {
            let value = match term {
                Term::Var(var) => self.values[var.index()],
                Term::Mod(of, modulus) => self.index(of)?.rem_euclid(*modulus),
                Term::Table(param, of) => {
                    i64::from(*self.tables[param.index()].get(usize::try_from(self.index(of)?).ok()?)?)
                }
            };
            sum = sum.checked_add(value.checked_mul(*factor)?)?;
        }
        Some(sum)
    }

    fn access(&mut self, at: &At, count: usize, write: bool) -> Option<()> {
        let block = at.block.as_ref().map_or(Some(0), |block| self.index(block))?;
        let mut start = self.index(&at.offset)?;
        // The folded variables by distance; from the first values on, upwards.
        let mut steps: Vec<(i64, i64)> = Vec::new();
        let mut times = 1usize;
        for &(var, values) in &self.folded {
            match at.offset.factor(var) {
                0 => times = times.checked_mul(usize::try_from(values).ok()?)?,
                factor => {
                    if factor < 0 {
                        start = start.checked_add(factor.checked_mul(values - 1)?)?;
                    }
                    steps.push((factor.checked_abs()?, values));
                }
            }
        }
        steps.sort_unstable();
        let mut len = i64::try_from(count).ok()?;
        let mut elements = count;
        steps.retain(|&(distance, values)| {
            let folds = distance <= len;
            if folds {
                len = len.saturating_add(distance.saturating_mul(values - 1));
                elements = elements.saturating_mul(usize::try_from(values).unwrap_or(usize::MAX));
            }
            !folds
        });
        let mut starts = vec![start];
        for (distance, values) in steps {
            self.spend(starts.len().checked_mul(usize::try_from(values).ok()?)?)?;
            starts = starts
                .iter()
                .flat_map(|start| (0..values).map(move |i| start.checked_add(distance.checked_mul(i)?)))
                .collect::<Option<_>>()?;
        }
        let private = self.wanted.private.contains(&at.param);
        if write && !private {
            let all = elements.checked_mul(starts.len())?.checked_mul(times)?;
            *self.touched.written.entry(at.param).or_default() += all;
        }
        for start in starts {
            self.spend(1)?;
            // Bounds are proved, so nothing is negative.
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            let run = Run { param: at.param, block: usize::try_from(block).ok()?, start, end, unit: self.unit };
            if private {
                self.private_access(run, write);
            } else if write {
                self.touched.writes.push(run);
            } else {
                self.touched.reads.push(run);
            }
        }
        Some(())
    }

    fn private_access(&mut self, run: Run, write: bool) {
        let written = self.touched.private.entry(run.param).or_default();
        let Run { block, start, end, .. } = run;
        let before = written.range(..=(block, start)).next_back().filter(|((b, _), to)| *b == block && **to >= start);
        if !write {
            if before.is_none_or(|(_, to)| *to < end) {
                self.touched.unwritten.entry(run.param).or_insert(run);
            }
            return;
        }
        let first = before.map_or(start, |((_, from), _)| *from);
        let overlapping: Vec<((usize, usize), usize)> =
            written.range((block, first)..=(block, end)).map(|(&from, &to)| (from, to)).collect();
        let mut last = end;
        for (from, to) in overlapping {
            written.remove(&from);
            last = last.max(to);
        }
        written.insert((block, first), last);
    }
}
