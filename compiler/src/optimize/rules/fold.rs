//! Affine functions by channel go into weights: BatchNorms, and sums and products with constants.
//!
//! Weights are expressions: a rule calls constructors of [`Pool`] and never looks at a value, not at the sign of a
//! gamma either. Scales and shifts follow Ioffe and Szegedy 2015 (algorithm 2): a BatchNorm is `x * s + t`.

use egg::Id;

use super::parts::FusedParts;
use super::{ALWAYS, Condition, Phase, Rule, Site};
use crate::graph::interp::{Fill, run};
use crate::graph::weights::Pool;
use crate::graph::{Binary, Constant, Core, F32, Graph, Op, Origin, TensorType, WeightId};

use super::super::language::Step;

/// The theme's rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "bn-into-conv",
        reading: "bn(conv(x, w) + b) == conv(x, w * s) + (b * s + t)",
        phase: Phase::Fold,
        patterns: &["(bn ?e (conv ?a ?x ?w ?b) ?g ?beta ?m ?v)"],
        guard: ALWAYS,
        when: &[],
        apply: |site| {
            let core = Core::Conv(site.conv("?a")?);
            bn_after(site, core)
        },
    },
    Rule {
        name: "bn-into-linear",
        reading: "bn(linear(x, w) + b) == linear(x, w * s) + (b * s + t)",
        phase: Phase::Fold,
        patterns: &["(bn ?e (linear ?a ?x ?w ?b) ?g ?beta ?m ?v)"],
        guard: ALWAYS,
        when: &[],
        apply: |site| {
            let core = Core::Linear(site.linear("?a")?);
            bn_after(site, core)
        },
    },
    Rule {
        name: "conv-of-bn",
        reading: "conv(bn(x), w) + b == conv(x, s * w) + (t · w + b)",
        phase: Phase::Explore,
        patterns: &["(conv ?a (bn ?e ?x ?g ?beta ?m ?v) ?w ?b)"],
        guard: ALWAYS,
        when: &[UNPADDED],
        apply: |site| {
            let (core, (scale, shift)) = (Core::Conv(site.conv("?a")?), site.batch_norm()?);
            core_of_affine(site, core, site.id("?x"), scale, shift)
        },
    },
    Rule {
        name: "linear-of-bn",
        reading: "linear(bn(x), w) + b == linear(x, s * w) + (t · w + b)",
        phase: Phase::Explore,
        patterns: &["(linear ?a (bn ?e ?x ?g ?beta ?m ?v) ?w ?b)"],
        guard: ALWAYS,
        when: &[],
        apply: |site| {
            let (core, (scale, shift)) = (Core::Linear(site.linear("?a")?), site.batch_norm()?);
            core_of_affine(site, core, site.id("?x"), scale, shift)
        },
    },
    Rule {
        name: "bn-is-affine",
        reading: "bn(x) == x * s + t",
        phase: Phase::Fold,
        patterns: &["(bn ?e ?x ?g ?beta ?m ?v)"],
        guard: ALWAYS,
        when: &[],
        apply: |site| {
            let (scale, shift) = site.batch_norm()?;
            let x = site.id("?x");
            site.add_fused(FusedParts::chain(x, vec![Step::Affine { scale, shift }], vec![]))
        },
    },
    Rule {
        name: "affine-into-core",
        reading: "(conv(x, w) + b) * s + t == conv(x, w * s) + (b * s + t); linear likewise",
        phase: Phase::Fold,
        patterns: &["(fused ?before ?core ?after ?x ?w ?b ?more)"],
        guard: |site| site.fused("").is_some_and(|fused| fused.has_affine_after_core()),
        when: &[],
        apply: |site| {
            let fused = site.fused("")?;
            site.add_fused(fused)
        },
    },
    Rule {
        name: "conv-of-affine",
        reading: "conv(x * s + t, w) + b == conv(x, s * w) + (t · w + b)",
        phase: Phase::Explore,
        patterns: &["(conv ?a (fused ?before2 ?core2 ?after2 ?x2 ?w2 ?b2 ?more2) ?w ?b)"],
        guard: |site| site.fused("2").is_some_and(|fused| matches!(fused.after.last(), Some(Step::Affine { .. }))),
        when: &[UNPADDED],
        apply: |site| {
            let mut fused = site.fused("2")?;
            let Some(Step::Affine { scale, shift }) = fused.after.pop() else { return None };
            let (core, x) = (Core::Conv(site.conv("?a")?), site.add_fused(fused)?);
            core_of_affine(site, core, x, scale, shift)
        },
    },
    Rule {
        name: "affine-of-affine",
        reading: "(x * s + t) * s' + t' == x * (s * s') + (t * s' + t')",
        phase: Phase::Fold,
        patterns: &["(fused ?before ?core ?after ?x ?w ?b ?more)"],
        guard: |site| site.fused("").is_some_and(|fused| fused.has_adjacent_affines()),
        when: &[],
        apply: |site| {
            let fused = site.fused("")?;
            site.add_fused(fused)
        },
    },
    Rule {
        name: "constant-is-affine",
        reading: "x + c == x * 1 + c; x - c, c - x, x * c and x / c likewise, c one by channel",
        phase: Phase::Fold,
        patterns: &[
            "(add ?x ?c)",
            "(add ?c ?x)",
            "(sub ?x ?c)",
            "(sub ?c ?x)",
            "(mul ?x ?c)",
            "(mul ?c ?x)",
            "(div ?x ?c)",
        ],
        guard: |site| site.constant("?c").is_some() && site.constant("?x").is_none(),
        when: &[ONE_BY_CHANNEL, FINITE_RECIPROCAL],
        apply: |site| {
            let values = by_channel(site.constant("?c")?, site.ty("?x")?)?;
            let pattern = site.pattern;
            let shape = [values.len()];
            let pool = site.pool();
            let [one, minus_one, zero] = [1.0, -1.0, 0.0].map(|value| pool.splat(&shape, value));
            let negative: Vec<f32> = values.iter().map(|v| -v).collect();
            let reciprocal: Vec<f32> = values.iter().map(|v| 1.0 / v).collect();
            let (scale, shift) = match pattern {
                0 | 1 => (one, pool.literal(&shape, &values)),
                2 => (one, pool.literal(&shape, &negative)),
                3 => (minus_one, pool.literal(&shape, &values)),
                4 | 5 => (pool.literal(&shape, &values), zero),
                _ => (pool.literal(&shape, &reciprocal), zero),
            };
            let x = site.id("?x");
            site.add_fused(FusedParts::chain(x, vec![Step::Affine { scale, shift }], vec![]))
        },
    },
    Rule {
        name: "constant-of-constants",
        reading: "f(c, d) == what f makes of them",
        phase: Phase::Fold,
        patterns: &["(add ?c ?d)", "(sub ?c ?d)", "(mul ?c ?d)", "(div ?c ?d)"],
        guard: |site| site.constant("?c").is_some() && site.constant("?d").is_some(),
        when: &[SMALL],
        apply: |site| {
            let binary = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div][site.pattern];
            let operands = [site.constant("?c")?.clone(), site.constant("?d")?.clone()];
            let constant = evaluate(Op::Binary(binary), operands)?;
            site.add_constant(constant)
        },
    },
    Rule {
        name: "constant-of-constant",
        reading: "f(c) == what f makes of it",
        phase: Phase::Fold,
        patterns: &["(activate ?a ?c)", "(reshape ?a ?c)", "(transpose ?a ?c)", "(slice ?a ?c)"],
        guard: |site| site.constant("?c").is_some(),
        when: &[],
        apply: |site| {
            let constant = evaluate(site.op("?a")?.clone(), [site.constant("?c")?.clone()])?;
            site.add_constant(constant)
        },
    },
];

const UNPADDED: Condition = Condition {
    name: "unpadded",
    reason: "the convolution's padding reads as zero after the affine function, not before it",
    holds: |site| site.conv("?a").is_some_and(|conv| conv.window.pads.is_none()),
};

const ONE_BY_CHANNEL: Condition = Condition {
    name: "one-by-channel",
    reason: "the constant is not one number by channel of a value of the same shape",
    holds: |site| {
        site.ty("?x") == site.root_ty()
            && site.constant("?c").zip(site.ty("?x")).is_some_and(|(c, x)| by_channel(c, x).is_some())
    },
};

const FINITE_RECIPROCAL: Condition = Condition {
    name: "finite-reciprocal",
    reason: "the constant's reciprocal is no finite number",
    holds: |site| {
        site.pattern < 6 || site.constant("?c").is_some_and(|c| c.values.iter().all(|v| (1.0 / v.get()).is_finite()))
    },
};

const SMALL: Condition = Condition {
    name: "small",
    reason: "the result is too large for a literal",
    holds: |site| site.root_ty().is_some_and(|ty| ty.len() <= Constant::LIMIT),
};

/// `(w, b)` of a core that reads `* scale + shift` by input channel of its operand. The shift's share is what the kernel
/// makes of a constant map, so the core must not pad.
fn affine_before(
    pool: &mut Pool,
    kernel: WeightId,
    bias: Option<WeightId>,
    groups: usize,
    scale: WeightId,
    shift: WeightId,
) -> (WeightId, WeightId) {
    let share = pool.contract(kernel, shift, groups);
    let bias = bias.map_or(share, |bias| pool.add(bias, share));
    (pool.scale_in(kernel, scale, groups), bias)
}

fn bn_after(site: &mut Site<'_>, core: Core) -> Option<Id> {
    let (scale, shift) = site.batch_norm()?;
    let (x, kernel, bias) = (site.id("?x"), site.weight("?w")?, site.weight("?b"));
    site.add_fused(FusedParts::core(core, x, kernel, bias, vec![Step::Affine { scale, shift }]))
}

/// The core `?w`, `?b` on `x * scale + shift`, as a core on `x`.
fn core_of_affine(site: &mut Site<'_>, core: Core, x: Id, scale: WeightId, shift: WeightId) -> Option<Id> {
    let groups = match core {
        Core::Conv(conv) => conv.groups,
        Core::Linear(_) | Core::Identity => 1,
    };
    let (kernel, bias) = (site.weight("?w")?, site.weight("?b"));
    let (kernel, bias) = affine_before(site.pool(), kernel, bias, groups, scale, shift);
    site.add_fused(FusedParts::core(core, x, kernel, Some(bias), vec![]))
}

/// The constant as one number by channel of a value of type `x`, if it is that.
fn by_channel(constant: &Constant, x: &TensorType) -> Option<Vec<f32>> {
    if !matches!(x.shape.len(), 2 | 4) || x.dtype != crate::graph::DType::F32 {
        return None;
    }
    let channels = x.shape[1];
    if let Some(value) = constant.uniform() {
        return Some(vec![value; channels]);
    }
    let missing = x.shape.len().checked_sub(constant.shape.len())?;
    let fits = constant.shape.iter().enumerate().all(|(i, &extent)| {
        let wanted = if i + missing == 1 { channels } else { 1 };
        extent == wanted
    });
    fits.then(|| constant.values.iter().map(|v| v.get()).collect())
}

/// What an operator makes of literals, by the oracle.
fn evaluate<const N: usize>(op: Op, operands: [Constant; N]) -> Option<Constant> {
    let mut graph = Graph::new("constant");
    let mut ids = Vec::with_capacity(N);
    for constant in operands {
        ids.push(graph.add(Op::Constant(constant), &[], vec![], Origin::default()).ok()?);
    }
    let node = graph.add(op, &ids, vec![], Origin::default()).ok()?;
    graph.add_output("", node);
    let values = run(&graph, &Fill { gain: 1.0 }, &[]).ok()?.pop()?;
    let shape = graph.node(node).ty.shape.clone();
    Some(Constant { shape, values: values.into_f32()?.into_iter().map(F32::new).collect() })
}
