//! Activations and channel shuffles that files of other frameworks spell out.

use super::identity::{SAME_SHAPE, is_uniform};
use super::site::Site;
use super::{Phase, Rule};
use crate::graph::{Activation, Op};

/// The rules of this theme.
pub const RULES: &[Rule] = &[
    Rule {
        name: "gate-is-swish",
        reading: "x * sigmoid(x) == silu(x); of hard_sigmoid likewise hard_swish",
        phase: Phase::Fold,
        patterns: &["(mul ?x (activate ?f ?x))", "(mul (activate ?f ?x) ?x)"],
        guard: |site| swish(site).is_some(),
        when: &[],
        apply: |site| site.add(Op::Activate(swish(site)?), &[site.id("?x")], &[]),
    },
    Rule {
        name: "clip-is-hard-swish",
        reading: "x * clip(x + 3, 0, 6) / 6 == hard_swish(x)",
        phase: Phase::Fold,
        patterns: &[
            "(div (mul ?x (activate ?f (add ?x ?c))) ?d)",
            "(div (mul ?x (activate ?f (add ?c ?x))) ?d)",
            "(div (mul (activate ?f (add ?x ?c)) ?x) ?d)",
            "(div (mul (activate ?f (add ?c ?x)) ?x) ?d)",
            "(mul (mul ?x (activate ?f (add ?x ?c))) ?d)",
            "(mul (mul ?x (activate ?f (add ?c ?x))) ?d)",
            "(mul (mul (activate ?f (add ?x ?c)) ?x) ?d)",
            "(mul (mul (activate ?f (add ?c ?x)) ?x) ?d)",
        ],
        guard: |site| is_relu6(site) && is_uniform(site, "?c", 3.0) && is_sixth(site, site.pattern < 4),
        when: &[SAME_SHAPE],
        apply: |site| site.add(Op::Activate(Activation::HardSwish), &[site.id("?x")], &[]),
    },
    Rule {
        name: "clip-is-hard-sigmoid",
        reading: "clip(x + 3, 0, 6) / 6 == hard_sigmoid(x)",
        phase: Phase::Fold,
        patterns: &[
            "(div (activate ?f (add ?x ?c)) ?d)",
            "(div (activate ?f (add ?c ?x)) ?d)",
            "(mul (activate ?f (add ?x ?c)) ?d)",
            "(mul (activate ?f (add ?c ?x)) ?d)",
            "(mul ?d (activate ?f (add ?x ?c)))",
        ],
        guard: |site| is_relu6(site) && is_uniform(site, "?c", 3.0) && is_sixth(site, site.pattern < 2),
        when: &[SAME_SHAPE],
        apply: |site| site.add(Op::Activate(Activation::HardSigmoid), &[site.id("?x")], &[]),
    },
    Rule {
        name: "transpose-is-shuffle",
        reading: "x as [N, g, C / g, …], those two axes swapped, as [N, C, H, W] == channel_shuffle(x, g)",
        phase: Phase::Fold,
        patterns: &["(reshape ?outer (transpose ?a (reshape ?inner ?x)))"],
        guard: |site| shuffled_groups(site).is_some(),
        when: &[],
        apply: |site| {
            let groups = shuffled_groups(site)?;
            site.add(Op::ChannelShuffle { groups }, &[site.id("?x")], &[])
        },
    },
];

/// The groups of the shuffle that two reshapes around a transposition are, if they are one.
fn shuffled_groups(site: &Site<'_>) -> Option<usize> {
    let &[n, c, h, w] = site.ty("?x")?.shape.as_slice() else { return None };
    let (Op::Reshape { shape: seen }, Op::Transpose { perm }) = (site.op("?inner")?, site.op("?a")?) else {
        return None;
    };
    let (&[images, groups, each, ref pixels @ ..], &[0, 2, 1, ref kept @ ..]) = (&seen[..], &perm[..]) else {
        return None;
    };
    let in_place = kept.iter().zip(3..).all(|(&from, to)| from == to);
    let whole = images == n && groups * each == c && pixels.iter().product::<usize>() == h * w;
    (in_place && whole && site.root_ty() == site.ty("?x")).then_some(groups)
}

/// What a gate by `?f` makes of a value.
fn swish(site: &Site<'_>) -> Option<Activation> {
    match site.activation("?f")? {
        Activation::Sigmoid => Some(Activation::Silu),
        Activation::HardSigmoid => Some(Activation::HardSwish),
        Activation::Relu
        | Activation::Clip { .. }
        | Activation::LeakyRelu { .. }
        | Activation::Abs
        | Activation::Elu { .. }
        | Activation::Tanh
        | Activation::Silu
        | Activation::HardSwish
        | Activation::Gelu
        | Activation::GeluTanh
        | Activation::Exp
        | Activation::Log
        | Activation::Sqrt
        | Activation::Erf
        | Activation::Softplus
        | Activation::Mish
        | Activation::Quantize { .. } => None,
    }
}

fn is_relu6(site: &Site<'_>) -> bool {
    site.activation("?f") == Some(Activation::RELU6)
}

/// Whether `?d` takes a sixth, by division or by a product.
fn is_sixth(site: &Site<'_>, divides: bool) -> bool {
    if divides { is_uniform(site, "?d", 6.0) } else { is_uniform(site, "?d", 1.0 / 6.0) }
}
