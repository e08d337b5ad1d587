//! Pointwise work moves into the node that makes the value: its epilogue.
//!
//! Every convolution and linear layer is also a fused node without stages, and every pointwise operator
//! also a chain without a core; from there, few rules build every fused form. A rule does not ask whether its operand is
//! read elsewhere too: then both forms stand in the e-graph, and extraction pays for what it picks.

use egg::Id;

use super::super::language::Step;
use super::parts::FusedParts;
use super::{ALWAYS, Condition, Phase, Rule, Site};
use crate::graph::{Core, Op, TensorType, WeightId};

/// The most stages a fused node may have.
pub const STAGES: usize = 8;
/// The most operands its stages may have. Chains of residual sums would otherwise grow with the depth of the network.
pub const STAGE_OPERANDS: usize = 2;

/// The theme's rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "conv-is-core",
        reading: "conv(x, w) == fused(conv)(x, w)",
        phase: Phase::Fuse,
        patterns: &["(conv ?a ?x ?w ?b)"],
        guard: ALWAYS,
        when: &[],
        apply: |site| {
            let core = Core::Conv(site.conv("?a")?);
            bare_core(site, core)
        },
    },
    Rule {
        name: "linear-is-core",
        reading: "linear(x, w) == fused(linear)(x, w)",
        phase: Phase::Fuse,
        patterns: &["(linear ?a ?x ?w ?b)"],
        guard: ALWAYS,
        when: &[],
        apply: |site| {
            let core = Core::Linear(site.linear("?a")?);
            bare_core(site, core)
        },
    },
    Rule {
        name: "sum-is-chain",
        reading: "x + y == fused(+ y)(x)",
        phase: Phase::Fuse,
        patterns: &["(add ?x ?y)"],
        guard: |site| site.ty("?x") == site.ty("?y") && site.ty("?x").is_some_and(|ty| matches!(ty.shape.len(), 2 | 4)),
        when: &[],
        apply: |site| {
            let (x, y) = (site.id("?x"), site.id("?y"));
            site.add_fused(FusedParts::chain(x, vec![Step::Add], vec![y]))
        },
    },
    Rule {
        name: "scale-is-chain",
        reading: "x * s == fused(* s)(x), s one by image and channel",
        phase: Phase::Fuse,
        patterns: &["(mul ?x ?y)", "(mul ?y ?x)"],
        guard: |site| {
            site.constant("?y").is_none()
                && site.ty("?x") == site.root_ty()
                && factor_fits(site.ty("?x"), site.ty("?y"))
        },
        when: &[],
        apply: |site| {
            let (x, y) = (site.id("?x"), site.id("?y"));
            site.add_fused(FusedParts::chain(x, vec![Step::Scale], vec![y]))
        },
    },
    Rule {
        name: "activation-is-chain",
        reading: "f(x) == fused(f)(x)",
        phase: Phase::Fuse,
        patterns: &["(activate ?f ?x)"],
        guard: |site| site.constant("?x").is_none() && site.ty("?x").is_some_and(|ty| matches!(ty.shape.len(), 2 | 4)),
        when: &[],
        apply: |site| {
            let (f, x) = (site.activation("?f")?, site.id("?x"));
            site.add_fused(FusedParts::chain(x, vec![Step::Activate(f)], vec![]))
        },
    },
    Rule {
        name: "activation-into-epilogue",
        reading: "f(fused(… after)) == fused(… after, f)",
        phase: Phase::Fuse,
        patterns: &["(activate ?f (fused ?before ?core ?after ?x ?w ?b ?more))"],
        guard: ALWAYS,
        when: &[ROOM],
        apply: |site| {
            let mut fused = site.fused("")?;
            fused.after.push(Step::Activate(site.activation("?f")?));
            site.add_fused(fused)
        },
    },
    Rule {
        name: "add-into-epilogue",
        reading: "fused(… after) + y == fused(… after, + y) == y + fused(… after)",
        phase: Phase::Fuse,
        patterns: &[
            "(add (fused ?before ?core ?after ?x ?w ?b ?more) ?y)",
            "(add ?y (fused ?before ?core ?after ?x ?w ?b ?more))",
        ],
        guard: |site| site.constant("?y").is_none(),
        when: &[ADDEND_OF_SAME_SHAPE, ROOM],
        apply: |site| {
            let mut fused = site.fused("")?;
            fused.after.push(Step::Add);
            fused.more.push(site.id("?y"));
            site.add_fused(fused)
        },
    },
    Rule {
        name: "scale-into-epilogue",
        reading: "fused(… after) * s == fused(… after, * s) == s * fused(… after), s one by image and channel",
        phase: Phase::Fuse,
        patterns: &[
            "(mul (fused ?before ?core ?after ?x ?w ?b ?more) ?y)",
            "(mul ?y (fused ?before ?core ?after ?x ?w ?b ?more))",
        ],
        guard: |site| site.constant("?y").is_none() && site.ty("?y") != site.root_ty(),
        when: &[ONE_BY_IMAGE_AND_CHANNEL, ROOM],
        apply: |site| {
            let mut fused = site.fused("")?;
            fused.after.push(Step::Scale);
            fused.more.push(site.id("?y"));
            site.add_fused(fused)
        },
    },
    Rule {
        name: "chain-into-epilogue",
        reading: "fused(stage)(fused(… after)) == fused(… after, stage), affine stages joined",
        phase: Phase::Fuse,
        patterns: &["(fused ?before2 ?core2 ?after2 (fused ?before ?core ?after ?x ?w ?b ?more) ?w2 ?b2 ?more2)"],
        // Longer chains grow by one stage at a time.
        guard: |site| outer(site).is_some_and(|outer| outer.core == Core::Identity && outer.stages() == 1),
        when: &[ROOM_FOR_STAGE],
        apply: |site| {
            let (mut fused, outer) = (site.fused("")?, outer(site)?);
            fused.after.extend(outer.after);
            fused.more.extend(outer.more);
            site.add_fused(fused)
        },
    },
];

const ROOM: Condition = Condition {
    name: "room",
    reason: "the epilogue is full",
    holds: |site| site.fused("").is_some_and(|fused| fused.stages() < STAGES && fused.more.len() < STAGE_OPERANDS),
};

const ROOM_FOR_STAGE: Condition = Condition {
    name: "room",
    reason: "the epilogue is full",
    holds: |site| {
        site.fused("").zip(outer(site)).is_some_and(|(fused, outer)| {
            fused.stages() + outer.stages() <= STAGES && fused.more.len() + outer.more.len() <= STAGE_OPERANDS
        })
    },
};

const ADDEND_OF_SAME_SHAPE: Condition = Condition {
    name: "same-shape",
    reason: "the other operand has another shape: a stage adds without broadcasting",
    holds: |site| {
        // The fused node must have it too: a sum may broadcast either side.
        site.ty("?y") == site.root_ty() && site.fused_ty().as_ref() == site.root_ty()
    },
};

const ONE_BY_IMAGE_AND_CHANNEL: Condition = Condition {
    name: "one-by-image-and-channel",
    reason: "the factor is not one number by image and channel: [N, C, 1, 1]",
    holds: |site| {
        let value = site.fused_ty();
        value.as_ref() == site.root_ty() && factor_fits(value.as_ref(), site.ty("?y"))
    },
};

/// Whether a factor of type `by` is one number by image and channel of a map of type `x`.
fn factor_fits(x: Option<&TensorType>, by: Option<&TensorType>) -> bool {
    match (x.map(|x| &*x.shape), by) {
        (Some(&[n, c, _, _]), Some(by)) => by.shape == [n, c, 1, 1],
        _ => false,
    }
}

fn bare_core(site: &mut Site<'_>, core: Core) -> Option<Id> {
    let weights: Vec<WeightId> = site.weight("?w").into_iter().chain(site.weight("?b")).collect();
    site.add(Op::Fused { before: vec![], core, after: vec![] }, &[site.id("?x")], &weights)
}

/// The outer of two fused nodes, whose operand is the inner one.
fn outer(site: &Site<'_>) -> Option<FusedParts> {
    let x = site.root(); // Not read: the inner node's operand takes its place.
    site.fused_on("2", x)
}
