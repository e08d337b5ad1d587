//! Slices, concatenations and channel shuffles of one another: what only renames channels should not be done twice.

use egg::Id;

use super::{ALWAYS, Condition, Phase, Rule, Site};
use crate::graph::{Op, TensorType};

/// The theme's rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "shuffle-in-place",
        reading: "channel_shuffle(x, 1) == x == channel_shuffle(x, C)",
        phase: Phase::Fold,
        patterns: &["(channel_shuffle ?a ?x)"],
        guard: |site| {
            groups(site, "?a").zip(channels(site, "?x")).is_some_and(|(groups, c)| groups == 1 || groups == c)
        },
        when: &[],
        apply: |site| Some(site.id("?x")),
    },
    Rule {
        name: "shuffle-of-shuffle",
        reading: "channel_shuffle(channel_shuffle(x, g), h) == channel_shuffle(x, k), or x",
        phase: Phase::Explore,
        patterns: &["(channel_shuffle ?a (channel_shuffle ?inner ?x))"],
        guard: ALWAYS,
        when: &[ONE_SHUFFLE],
        apply: |site| {
            let groups = composed(site)?;
            let x = site.id("?x");
            if groups == 1 { Some(x) } else { site.add(Op::ChannelShuffle { groups }, &[x], &[]) }
        },
    },
    Rule {
        name: "slice-of-all",
        reading: "x[0..n] == x",
        phase: Phase::Fold,
        patterns: &["(slice ?a ?x)"],
        guard: |site| site.ty("?x").is_some() && site.ty("?x") == site.root_ty(),
        when: &[],
        apply: |site| Some(site.id("?x")),
    },
    Rule {
        name: "slice-of-slice",
        reading: "x[a..b][c..d] == x[a + c..a + d]",
        phase: Phase::Explore,
        patterns: &["(slice ?a (slice ?inner ?x))"],
        guard: ALWAYS,
        when: &[SAME_AXIS],
        apply: |site| {
            let ((axis, start, end), (_, first, _)) = (range(site, "?a")?, range(site, "?inner")?);
            site.add(Op::Slice { axis, start: first + start, end: first + end }, &[site.id("?x")], &[])
        },
    },
    Rule {
        name: "slice-of-concat",
        reading: "concat(…, p, q, …)[range of p, q] == concat(p, q); of part of p: p[range]",
        phase: Phase::Explore,
        patterns: &["(slice ?a (concat ?inner ?parts))"],
        guard: |site| range(site, "?a").map(|(axis, ..)| axis) == concat_axis(site),
        when: &[WHOLE_PARTS],
        apply: slice_of_concat,
    },
    Rule {
        name: "concat-of-one",
        reading: "concat(x) == x",
        phase: Phase::Fold,
        patterns: &["(concat ?inner (list ?x))"],
        guard: ALWAYS,
        when: &[],
        apply: |site| Some(site.id("?x")),
    },
    Rule {
        name: "concat-of-slices",
        reading: "concat(…, x[a..b], x[b..c], …) == concat(…, x[a..c], …)",
        phase: Phase::Explore,
        patterns: &["(concat ?inner ?parts)"],
        guard: |site| adjacent_slices(site).is_some(),
        when: &[],
        apply: |site| {
            let (axis, mut parts) = (concat_axis(site)?, site.list("?parts")?);
            let (i, (x, start, end)) = adjacent_slices(site)?;
            let whole = site.type_of(x)?.shape[axis] == end - start;
            let joined = if whole { x } else { site.add(Op::Slice { axis, start, end }, &[x], &[])? };
            parts.splice(i..i + 2, [joined]);
            if let [only] = *parts { Some(only) } else { site.add(Op::Concat { axis }, &parts, &[]) }
        },
    },
];

const SAME_AXIS: Condition = Condition {
    name: "same-axis",
    reason: "the slices cut different axes",
    holds: |site| range(site, "?a").zip(range(site, "?inner")).is_some_and(|((outer, ..), (inner, ..))| outer == inner),
};

const ONE_SHUFFLE: Condition = Condition {
    name: "one-shuffle",
    reason: "the two shuffles together are no shuffle",
    holds: |site| composed(site).is_some(),
};

const WHOLE_PARTS: Condition = Condition {
    name: "whole-parts",
    reason: "the slice cuts through more than one of the concatenated values",
    holds: |site| covered(site).is_some(),
};

/// `(axis, start, end)` of a slice.
fn range(site: &Site<'_>, variable: &str) -> Option<(usize, usize, usize)> {
    if let Op::Slice { axis, start, end } = *site.op(variable)? { Some((axis, start, end)) } else { None }
}

fn concat_axis(site: &Site<'_>) -> Option<usize> {
    if let Op::Concat { axis } = *site.op("?inner")? { Some(axis) } else { None }
}

fn groups(site: &Site<'_>, variable: &str) -> Option<usize> {
    if let Op::ChannelShuffle { groups } = *site.op(variable)? { Some(groups) } else { None }
}

fn channels(site: &Site<'_>, variable: &str) -> Option<usize> {
    site.ty(variable).and_then(TensorType::nchw).map(|[_, c, ..]| c)
}

/// The groups of the one shuffle that `?a` after `?inner` is; 1 where together they do nothing.
fn composed(site: &Site<'_>) -> Option<usize> {
    let (c, outer, inner) = (channels(site, "?x")?, groups(site, "?a")?, groups(site, "?inner")?);
    let both = |channel| shuffled_from(shuffled_from(channel, outer, c), inner, c);
    (1..=c).filter(|k| c % k == 0).find(|&k| (0..c).all(|channel| both(channel) == shuffled_from(channel, k, c)))
}

/// The channel that a shuffle in `groups` groups puts at `channel` of `c`.
fn shuffled_from(channel: usize, groups: usize, c: usize) -> usize {
    channel % groups * (c / groups) + channel / groups
}

/// What a slice takes of the concatenated parts.
enum Covered {
    /// Some of them, whole.
    Parts(Vec<Id>),
    /// A range of one of them.
    Within(Id, usize, usize),
}

fn covered(site: &Site<'_>) -> Option<Covered> {
    let (axis, start, end) = range(site, "?a")?;
    let mut whole = Vec::new();
    let mut at = 0;
    for part in site.list("?parts")? {
        let next = at + site.type_of(part)?.shape[axis];
        if at <= start && end <= next && (at, next) != (start, end) {
            return Some(Covered::Within(part, start - at, end - at));
        }
        if start <= at && next <= end {
            whole.push((part, at, next));
        }
        at = next;
    }
    let fits = whole.first()?.1 == start && whole.last()?.2 == end;
    fits.then(|| Covered::Parts(whole.into_iter().map(|(part, ..)| part).collect()))
}

fn slice_of_concat(site: &mut Site<'_>) -> Option<Id> {
    let (axis, ..) = range(site, "?a")?;
    match covered(site)? {
        Covered::Parts(parts) => match *parts {
            [only] => Some(only),
            _ => site.add(Op::Concat { axis }, &parts, &[]),
        },
        Covered::Within(part, start, end) => site.add(Op::Slice { axis, start, end }, &[part], &[]),
    }
}

/// The first two parts in a row that are adjacent slices of one value: where, and that value's range.
fn adjacent_slices(site: &Site<'_>) -> Option<(usize, (Id, usize, usize))> {
    let (axis, parts) = (concat_axis(site)?, site.list("?parts")?);
    let slices: Vec<_> = parts.iter().map(|&part| site.slices(part)).collect();
    slices.windows(2).enumerate().find_map(|(i, pair)| {
        let joined = pair[0].iter().find_map(|&(a, start, middle, x)| {
            let next = |&&(b, from, _, y): &&(usize, usize, usize, Id)| b == axis && from == middle && x == y;
            pair[1].iter().find(next).filter(|_| a == axis).map(|&(_, _, end, _)| (x, start, end))
        })?;
        Some((i, joined))
    })
}
