//! Padding goes into the convolution or pool that reads it: a map is not written a second time.

use super::identity::range;
use super::{ALWAYS, Condition, Phase, Rule, Site};
use crate::graph::infer::infer;
use crate::graph::{Op, Pads, Pool, WeightId, Window};

/// The theme's rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "pad-into-conv",
        reading: "conv(pad(x, p), w) == conv(x, w) with p more padding",
        phase: Phase::Fold,
        patterns: &["(conv ?a (pad ?p ?x) ?w ?b)"],
        guard: ALWAYS,
        when: &[ZERO_PADDING],
        apply: |site| {
            let (mut conv, Op::Pad { pads, .. }) = (site.conv("?a")?, site.op("?p")?.clone()) else { return None };
            conv.window.pads = sum(conv.window.pads, pads);
            let weights: Vec<WeightId> = site.weight("?w").into_iter().chain(site.weight("?b")).collect();
            site.add(Op::Conv(conv), &[site.id("?x")], &weights)
        },
    },
    Rule {
        name: "pad-into-max-pool",
        reading: "max_pool(pad(f(x), p)) == max_pool(f(x)) with p more padding, where the padding is below f",
        phase: Phase::Fold,
        patterns: &["(max_pool ?a (pad ?p (activate ?f ?x)))", "(max_pool ?a (pad ?p ?x))"],
        guard: fits_a_window,
        when: &[NEVER_LARGEST],
        apply: |site| {
            let (mut pool, Op::Pad { pads, .. }) = (site.pooling("?a")?, site.op("?p")?.clone()) else {
                return None;
            };
            pool.window.pads = sum(pool.window.pads, pads);
            let mut x = site.id("?x");
            if site.pattern == 0 {
                x = site.add(Op::Activate(site.activation("?f")?), &[x], &[])?;
            }
            site.add(Op::MaxPool(pool), &[x], &[])
        },
    },
    Rule {
        name: "pad-into-avg-pool",
        reading: "avg_pool(pad(x, p)) == avg_pool(x) with p more padding that counts",
        phase: Phase::Fold,
        patterns: &["(avg_pool ?a (pad ?p ?x))"],
        guard: fits_a_window,
        when: &[ZERO_PADDING, ALL_PADDING_COUNTS],
        apply: |site| {
            let (mut pool, Op::Pad { pads, .. }) = (site.pooling("?a")?, site.op("?p")?.clone()) else {
                return None;
            };
            pool.window.pads = sum(pool.window.pads, pads);
            pool.count_include_pad = true;
            site.add(Op::AvgPool(pool), &[site.id("?x")], &[])
        },
    },
];

/// Whether a pool can pad as much as the `pad` before it: less than a window, and never past the last one.
fn fits_a_window(site: &Site<'_>) -> bool {
    let (Some(pool), Some(Op::Pad { pads, .. })) = (site.pooling("?a"), site.op("?p")) else { return false };
    let pads = sum(pool.window.pads, *pads);
    let padded = Op::MaxPool(Pool { window: Window { pads, ..pool.window }, ..pool });
    !pool.ceil_mode
        && site.ty("?x").is_some_and(|x| infer(&padded, &[x], &[]).is_ok_and(|ty| Some(&ty) == site.root_ty()))
}

fn sum(a: Pads, b: Pads) -> Pads {
    Pads { top: a.top + b.top, left: a.left + b.left, bottom: a.bottom + b.bottom, right: a.right + b.right }
}

const NEVER_LARGEST: Condition = Condition {
    name: "never-largest",
    reason: "the padding may be larger than an element of the window",
    holds: |site| {
        let Some(Op::Pad { value, .. }) = site.op("?p") else { return false };
        let least = if site.pattern == 0 { site.activation("?f").and_then(range) } else { None };
        value.get() <= least.map_or(f32::NEG_INFINITY, |(least, _)| least)
    },
};

const ALL_PADDING_COUNTS: Condition = Condition {
    name: "all-padding-counts",
    reason: "the pool has padding of its own that does not count",
    holds: |site| site.pooling("?a").is_some_and(|pool| pool.count_include_pad || pool.window.pads.is_none()),
};

const ZERO_PADDING: Condition = Condition {
    name: "zero-padding",
    reason: "the padding does not hold zero, as that of convolutions and pools does",
    holds: |site| matches!(site.op("?p"), Some(Op::Pad { value, .. }) if value.get() == 0.0),
};
