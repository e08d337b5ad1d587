//! Long sums in parts, which follow from the length alone, so that all targets add in the same order.
//!
//! Products of channels and weights are summed by runs, and the sums of runs added up: a run costs one more addition, and
//! the rounding error, which grows with the root of the length, is that of a run and of as many sums as there are.
//!
//! Other sums are trees: eights of eights of points, each point four elements added in pairs. The rounding error grows
//! with the logarithm of the length, and no more than a constant is off where all elements are alike.

use super::build::KernelBuilder;
use super::chain::add;
use super::edges::{KernelRows, narrowed};
use crate::kernel::{Axis, Bound, Index, Range, Reduction, Update, Value};

/// Products that are added up one after the other, about. That takes a convolution 0.6 % of its time; runs of half the
/// length twice that.
const RUN: usize = 512;
/// The same for layers of few channels, such as the first. Norms after them take differences of such sums.
const RUN_OF_TAPS: usize = 128;
/// Sums that are added up one after the other.
const FAN: usize = 8;
/// Elements of a point.
const POINT: usize = 4;

/// A part of a long sum: points at even distances in nested loops, outermost first.
struct Part {
    /// The first element.
    start: usize,
    /// How often each loop runs, and how far it goes.
    loops: Vec<(usize, usize)>,
    /// Elements side by side that make a point.
    elements: usize,
}

/// The axes of a sum over points.
pub(super) struct Points {
    /// Outermost first: none for one point.
    pub(super) axes: Vec<Axis>,
    /// How many of them are summed [apart](Reduction::apart).
    pub(super) apart: usize,
    /// The point.
    pub(super) point: Index,
}

/// Whether the taps of each of a few channels are a run, where all have so many products.
pub(super) fn taps_are_runs(products: usize) -> bool {
    products > RUN_OF_TAPS
}

/// Goes through `len` points, each with so many products: by runs of about equal length where there are many. Each point
/// has an axis of its own, inside of these, if there is more than one product.
pub(super) fn products(kb: &mut KernelBuilder, name: &str, len: usize, each: usize) -> Points {
    let runs = (len * each / RUN).clamp(1, len);
    let run = len.div_ceil(runs);
    let mut axes = Vec::new();
    let mut point = Index::constant(0);
    let mut axis = |range: Range, step: usize| {
        let var = kb.var(name);
        axes.push(Axis::Loop { var, range });
        point = point.clone() + var * step;
        point.clone()
    };
    if runs == 1 {
        if len > 1 {
            axis(Range::new(0usize, len), 1);
        }
        return Points { axes, apart: 0, point };
    }
    let start = axis(Range::new(0usize, len.div_ceil(run)), run);
    if run > 1 {
        let left = Index::from(len) - start;
        let hi = if len.is_multiple_of(run) { Bound::Index(run.into()) } else { Bound::Min(run.into(), left) };
        axis(Range { lo: Bound::Index(Index::constant(0)), hi }, 1);
    }
    Points { axes, apart: 1, point }
}

/// Cuts `first..first + len` into parts, the smallest first: a sum is then added to what is about as large as it.
fn parts(first: usize, len: usize, point: usize) -> Vec<Part> {
    let (mut parts, mut start) = (Vec::new(), first);
    let single = len % point;
    if single > 0 {
        parts.push(Part { start, loops: vec![(single, 1)], elements: 1 });
        start += single;
    }
    let (mut rest, mut distance, mut inner) = (len / point, point, Vec::new());
    while rest > 0 {
        if rest % FAN > 0 {
            let loops = [vec![(rest % FAN, distance)], inner.clone()].concat();
            parts.push(Part { start, loops, elements: point });
            start += rest % FAN * distance;
        }
        inner.insert(0, (FAN, distance));
        rest /= FAN;
        distance *= FAN;
    }
    parts
}

impl Part {
    /// Binds the loops: their axes, and the place of a point.
    fn bind(&self, kb: &mut KernelBuilder, name: &str) -> (Vec<Axis>, Index) {
        let mut place = Index::from(self.start);
        let mut axes = Vec::with_capacity(self.loops.len());
        for &(times, distance) in &self.loops {
            let var = kb.var(name);
            place = place + var * distance;
            axes.push(Axis::Loop { var, range: Range::new(0usize, times) });
        }
        (axes, place)
    }

    /// The elements of a point, added in pairs.
    fn point(&self, place: &Index, element: &dyn Fn(Index) -> Value) -> Value {
        let mut values: Vec<Value> = (0..self.elements).map(|i| element(place.clone() + i)).collect();
        while values.len() > 1 {
            values = values.chunks(2).map(|pair| pair.iter().cloned().reduce(add).unwrap_or(pair[0].clone())).collect();
        }
        values.swap_remove(0)
    }
}

/// Adds the elements `0..len` to an accumulator.
pub(super) fn sum(kb: &mut KernelBuilder, len: usize, element: &dyn Fn(Index) -> Value) -> Vec<Reduction> {
    let part = |part: Part| {
        let (axes, place) = part.bind(kb, "i");
        let (apart, update) = (axes.len() - 1, Update::Add(part.point(&place, element)));
        Reduction { axes, apart, prefetch: None, update }
    };
    parts(0, len, POINT).into_iter().map(part).collect()
}

/// Adds the elements of a large window to an accumulator: those of some kernel rows, and of the kernel columns
/// `first..end`. An element is given by its kernel row and column.
pub(super) fn window(
    kb: &mut KernelBuilder,
    rows: &KernelRows,
    (first, end): (usize, usize),
    element: &dyn Fn(Index, Index) -> Value,
) -> Vec<Reduction> {
    let mut reductions = Vec::new();
    for columns in parts(first, end - first, POINT) {
        for (mut axes, kh) in rows_apart(kb, rows) {
            let (inner, kw) = columns.bind(kb, "kw");
            axes.extend(inner);
            let (apart, point) = (axes.len() - 1, columns.point(&kw, &|kw| element(kh.clone(), kw)));
            reductions.push(Reduction { axes, apart, prefetch: None, update: Update::Add(point) });
        }
    }
    reductions
}

/// Loops over kernel rows: their axes, and the row.
fn rows_apart(kb: &mut KernelBuilder, rows: &KernelRows) -> Vec<(Vec<Axis>, Index)> {
    match rows {
        &KernelRows::Fixed { first, end } => {
            parts(first, end - first, 1).into_iter().map(|part| part.bind(kb, "kh")).collect()
        }
        KernelRows::Narrowed { kernel, at, h } => {
            // Runs of about as many rows as there are runs: which of them lie inside is known for each run alone.
            let run = (1..=*kernel).find(|run| run * run >= *kernel).unwrap_or(1);
            let mut loops = Vec::new();
            for (start, runs, len) in [(0, kernel / run, run), (kernel / run * run, 1, kernel % run)] {
                let (outer, inner) = (kb.var("kh"), kb.var("kh"));
                let start = outer * run + start;
                let axes = vec![
                    Axis::Loop { var: outer, range: Range::new(0usize, runs) },
                    Axis::Loop { var: inner, range: narrowed(len, at.clone() - start.clone(), *h) },
                ];
                if len > 0 {
                    loops.push((axes, start + inner));
                }
            }
            loops
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_each_element_once_and_rise() {
        for (first, len, point) in [(0, 1, 4), (3, 31, 4), (0, 49, 4), (7, 262_144, 4), (0, 4_194_303, 4), (5, 1000, 1)]
        {
            let mut at = first;
            for part in parts(first, len, point) {
                assert_eq!(part.start, at);
                // From the innermost loop outwards, each goes as far as what is inside of it.
                let mut reach = part.elements;
                for &(times, distance) in part.loops.iter().rev() {
                    assert_eq!(distance, reach);
                    assert!((1..=FAN).contains(&times), "{times}");
                    reach *= times;
                }
                at += reach;
            }
            assert_eq!(at, first + len);
        }
    }
}
