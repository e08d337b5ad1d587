//! Activations that files of other frameworks spell out.

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
];

/// What a gate by `?f` makes of a value.
fn swish(site: &Site<'_>) -> Option<Activation> {
    match site.activation("?f")? {
        Activation::Sigmoid => Some(Activation::Silu),
        Activation::HardSigmoid => Some(Activation::HardSwish),
        Activation::Relu
        | Activation::Clip { .. }
        | Activation::LeakyRelu { .. }
        | Activation::Elu { .. }
        | Activation::Tanh
        | Activation::Silu
        | Activation::HardSwish
        | Activation::Gelu
        | Activation::Exp
        | Activation::Log
        | Activation::Sqrt
        | Activation::Erf
        | Activation::Softplus
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
