//! What does nothing goes away.
//!
//! Values are compared as numbers: `-0.0` and `0.0` are the same value, so `x + 0.0` is `x` although it would turn a
//! `-0.0` into `0.0`. NaN stays NaN through every rule.

use egg::Id;

use super::{ALWAYS, Condition, Phase, Rule, Site};
use crate::graph::{Activation, F32, Op};

/// The theme's rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "identity-is-nothing",
        reading: "identity(x) == x",
        phase: Phase::Fold,
        patterns: &["(identity ?x)", "(dropout ?x)"],
        guard: ALWAYS,
        when: &[],
        apply: |site| Some(site.id("?x")),
    },
    Rule {
        name: "add-of-zero",
        reading: "x + 0 == x",
        phase: Phase::Fold,
        patterns: &["(add ?x ?c)", "(add ?c ?x)", "(sub ?x ?c)"],
        guard: |site| is_uniform(site, "?c", 0.0),
        when: &[SAME_SHAPE],
        apply: |site| Some(site.id("?x")),
    },
    Rule {
        name: "mul-by-one",
        reading: "x * 1 == x",
        phase: Phase::Fold,
        patterns: &["(mul ?x ?c)", "(mul ?c ?x)", "(div ?x ?c)"],
        guard: |site| is_uniform(site, "?c", 1.0),
        when: &[SAME_SHAPE],
        apply: |site| Some(site.id("?x")),
    },
    Rule {
        name: "cast-of-integers",
        reading: "f32(u8(quantize(x))) == quantize(x)",
        phase: Phase::Fold,
        patterns: &["(cast ?f (cast ?t (activate ?q ?x)))"],
        guard: |site| matches!(site.activation("?q"), Some(Activation::Quantize { .. })),
        when: &[INTEGERS_FIT],
        apply: |site| {
            let quantize = Op::Activate(site.activation("?q")?);
            site.add(quantize, &[site.id("?x")], &[])
        },
    },
    Rule {
        name: "reshape-to-same",
        reading: "reshape(x, shape of x) == x",
        phase: Phase::Fold,
        patterns: &["(reshape ?a ?x)"],
        guard: |site| site.ty("?x").is_some() && site.ty("?x") == site.root_ty(),
        when: &[],
        apply: |site| Some(site.id("?x")),
    },
    Rule {
        name: "reshape-of-reshape",
        reading: "reshape(reshape(x, s), t) == reshape(x, t)",
        phase: Phase::Fold,
        patterns: &["(reshape ?a (reshape ?inner ?x))"],
        guard: ALWAYS,
        when: &[],
        apply: |site| {
            let op = site.op("?a")?.clone();
            site.add(op, &[site.id("?x")], &[])
        },
    },
    Rule {
        name: "transpose-of-nothing",
        reading: "transpose(x, 0, 1, 2, …) == x",
        phase: Phase::Fold,
        patterns: &["(transpose ?a ?x)"],
        guard: |site| permutation(site, "?a").is_some_and(|perm| is_identity(&perm)),
        when: &[],
        apply: |site| Some(site.id("?x")),
    },
    Rule {
        name: "transpose-of-transpose",
        reading: "transpose(transpose(x, p), q) == transpose(x, p∘q)",
        phase: Phase::Fold,
        patterns: &["(transpose ?a (transpose ?inner ?x))"],
        guard: ALWAYS,
        when: &[],
        apply: |site| {
            let (outer, inner) = (permutation(site, "?a")?, permutation(site, "?inner")?);
            let perm: Vec<usize> = outer.iter().map(|&p| inner[p]).collect();
            if is_identity(&perm) {
                return Some(site.id("?x"));
            }
            site.add(Op::Transpose { perm }, &[site.id("?x")], &[])
        },
    },
    Rule {
        name: "pad-by-nothing",
        reading: "pad(x, 0) == x",
        phase: Phase::Fold,
        patterns: &["(pad ?a ?x)"],
        guard: |site| matches!(site.op("?a"), Some(Op::Pad { pads, .. }) if pads.is_none()),
        when: &[],
        apply: |site| Some(site.id("?x")),
    },
    Rule {
        name: "clip-of-clip",
        reading: "clip(clip(x, a, b), c, d) == clip(x, clip(a, c, d), clip(b, c, d))",
        phase: Phase::Fold,
        patterns: &["(activate ?f (activate ?g ?x))"],
        guard: |site| bounds(site, "?f").is_some() && bounds(site, "?g").is_some(),
        when: &[],
        apply: clip_of_clip,
    },
    Rule {
        name: "activation-within-range",
        reading: "f(g(x)) == g(x) where f leaves the range of g as it is",
        phase: Phase::Fold,
        patterns: &["(activate ?f (activate ?g ?x))"],
        guard: within_range,
        when: &[],
        apply: |site| {
            let inner = Op::Activate(site.activation("?g")?);
            site.add(inner, &[site.id("?x")], &[])
        },
    },
];

pub(super) const SAME_SHAPE: Condition = Condition {
    name: "same-shape",
    reason: "the constant has more axes or larger ones, so that the result has another shape",
    holds: |site| site.ty("?x").is_some() && site.ty("?x") == site.root_ty(),
};

/// Whether a variable is a literal of this value everywhere.
pub(super) fn is_uniform(site: &Site<'_>, variable: &str, value: f32) -> bool {
    // `==` between floats: -0.0 is zero.
    site.constant(variable).and_then(|constant| constant.uniform()).is_some_and(|uniform| uniform == value)
}

/// The integers of `?q` are within the type of `?t`.
const INTEGERS_FIT: Condition = Condition {
    name: "integers-fit",
    reason: "the cast would change integers that its type does not hold",
    holds: |site| {
        let (Some(Activation::Quantize { lo, hi, .. }), Some(Op::Cast(to))) = (site.activation("?q"), site.op("?t"))
        else {
            return false;
        };
        to.range().is_none_or(|(least, most)| f64::from(lo.get()) >= least as f64 && f64::from(hi.get()) <= most as f64)
    },
};

fn permutation(site: &Site<'_>, variable: &str) -> Option<Vec<usize>> {
    if let Op::Transpose { perm } = site.op(variable)? { Some(perm.clone()) } else { None }
}

fn is_identity(perm: &[usize]) -> bool {
    perm.iter().enumerate().all(|(i, &p)| i == p)
}

/// An activation that is a clip, by its bounds; those of ReLU are 0 and infinity. None where they are out of order.
fn bounds(site: &Site<'_>, variable: &str) -> Option<(f32, f32)> {
    let (lo, hi) = match site.activation(variable)? {
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Clip { lo, hi } => (lo.get(), hi.get()),
        Activation::LeakyRelu { .. }
        | Activation::Abs
        | Activation::Elu { .. }
        | Activation::Sigmoid
        | Activation::HardSigmoid
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
        | Activation::Quantize { .. } => return None,
    };
    (lo <= hi).then_some((lo, hi))
}

fn clip_of_clip(site: &mut Site<'_>) -> Option<Id> {
    let ((c, d), (a, b)) = (bounds(site, "?f")?, bounds(site, "?g")?);
    let (lo, hi) = (a.max(c).min(d), b.max(c).min(d));
    let clip = if lo == 0.0 && hi == f32::INFINITY {
        Activation::Relu
    } else {
        Activation::Clip { lo: F32::new(lo), hi: F32::new(hi) }
    };
    site.add(Op::Activate(clip), &[site.id("?x")], &[])
}

/// The least and the greatest value of an activation, where a rule has use for them.
pub(super) fn range(activation: Activation) -> Option<(f32, f32)> {
    match activation {
        Activation::Relu => Some((0.0, f32::INFINITY)),
        Activation::Clip { lo, hi } | Activation::Quantize { lo, hi, .. } => Some((lo.get(), hi.get())),
        Activation::Sigmoid | Activation::HardSigmoid => Some((0.0, 1.0)),
        Activation::Tanh => Some((-1.0, 1.0)),
        Activation::Exp | Activation::Softplus | Activation::Abs => Some((0.0, f32::INFINITY)),
        Activation::Erf => Some((-1.0, 1.0)),
        Activation::LeakyRelu { .. }
        | Activation::Elu { .. }
        | Activation::Silu
        | Activation::HardSwish
        | Activation::Gelu
        | Activation::GeluTanh
        | Activation::Mish
        | Activation::Log
        | Activation::Sqrt => None,
    }
}

/// Whether `?f` is the identity on every value that `?g` can have. Clips of clips are [`clip_of_clip`]'s.
fn within_range(site: &Site<'_>) -> bool {
    let (Some(f), Some(g)) = (site.activation("?f"), site.activation("?g")) else { return false };
    let Some((least, most)) = range(g) else { return false };
    match f {
        Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } => least >= 0.0 && least <= most,
        Activation::Clip { lo, hi } => lo.get() <= least && least <= most && most <= hi.get(),
        // What is not below 0 may be -0.
        Activation::Abs
        | Activation::Sigmoid
        | Activation::HardSigmoid
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
        | Activation::Quantize { .. } => false,
    }
}
