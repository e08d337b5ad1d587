//! Every rule, on random instances of its left side, and every precondition, on an instance where it fails.

use super::build::{Build, assert_same};
use crate::graph::{Activation, Binary, DType, F32, Graph, Linear, NodeId, Op, Pads, Pool, Stage};
use crate::optimize::first_notes;
use crate::optimize::hand::apply_rule;
use crate::optimize::rules::{all, compiled};

type Instance = fn(&mut Build) -> NodeId;

fn clip(lo: f32, hi: f32) -> Activation {
    Activation::Clip { lo: F32::new(lo), hi: F32::new(hi) }
}

fn relu() -> Stage {
    Stage::Activate(Activation::Relu)
}

/// `clip(x + 3, 0, 6)`, with a literal of this shape.
fn relu6_of_three_more(b: &mut Build, x: NodeId, shape: &[usize]) -> NodeId {
    let three = b.constant(shape, |_| 3.0);
    let sum = b.either(Binary::Add, x, three);
    b.activate(Activation::RELU6, sum)
}

fn sixth(b: &mut Build, x: NodeId) -> NodeId {
    let divides = b.random.coin();
    let by = b.constant(&[], |_| if divides { 6.0 } else { 1.0 / 6.0 });
    b.binary(if divides { Binary::Div } else { Binary::Mul }, x, by)
}

/// `f32(u8(quantize(x)))`, of a type and bounds.
fn cast_of_quantized(b: &mut Build, x: NodeId, (to, lo, hi): (DType, f32, f32)) -> NodeId {
    let f32 = F32::new;
    let y = b.activate(Activation::Quantize { scale: f32(0.25), zero: f32(3.0), lo: f32(lo), hi: f32(hi) }, x);
    let y = b.node(Op::Cast(to), &[y]);
    b.node(Op::Cast(DType::F32), &[y])
}

/// Left sides, by rule.
const INSTANCES: &[(&str, Instance)] = &[
    ("identity-is-nothing", |b| {
        let x = b.map();
        let op = b.random.pick(&[Op::Identity, Op::Dropout]);
        b.node(op, &[x])
    }),
    ("add-of-zero", |b| {
        let x = b.map();
        let shape = b.random.pick(&[vec![], vec![1], vec![1, 1, 1]]);
        let zero = b.random.pick(&[0.0, -0.0]);
        let zero = b.constant(&shape, |_| zero);
        if b.random.coin() { b.either(Binary::Add, x, zero) } else { b.binary(Binary::Sub, x, zero) }
    }),
    ("mul-by-one", |b| {
        let x = b.map();
        let one = b.constant(&[], |_| 1.0);
        if b.random.coin() { b.either(Binary::Mul, x, one) } else { b.binary(Binary::Div, x, one) }
    }),
    ("cast-of-integers", |b| {
        let x = b.map();
        let bytes = b.random.pick(&[(DType::U8, 0.0, 255.0), (DType::I8, -128.0, 127.0), (DType::I32, -7.0, 9.0)]);
        cast_of_quantized(b, x, bytes)
    }),
    ("reshape-to-same", |b| {
        let x = b.map();
        let shape = b.shape(x).to_vec();
        b.node(Op::Reshape { shape }, &[x])
    }),
    ("reshape-of-reshape", |b| {
        let x = b.map();
        let (shape, len) = (b.shape(x).to_vec(), b.graph.node(x).ty.len());
        let flat = b.node(Op::Reshape { shape: vec![len] }, &[x]);
        b.node(Op::Reshape { shape: vec![shape[0], len / shape[0]] }, &[flat])
    }),
    ("transpose-of-nothing", |b| {
        let x = b.map();
        b.node(Op::Transpose { perm: vec![0, 1, 2, 3] }, &[x])
    }),
    ("transpose-of-transpose", |b| {
        let x = b.map();
        let inner = b.node(Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x]);
        let perm = b.random.pick(&[vec![0, 3, 1, 2], vec![3, 2, 0, 1], vec![1, 0, 3, 2]]);
        b.node(Op::Transpose { perm }, &[inner])
    }),
    ("pad-by-nothing", |b| {
        let x = b.map();
        b.node(Op::Pad { pads: Pads::default(), value: F32::new(3.0) }, &[x])
    }),
    ("clip-of-clip", |b| {
        let x = b.map();
        let clips = [Activation::Relu, Activation::RELU6, clip(-1.0, 0.5), clip(1.0, 3.0), clip(-2.0, -1.0)];
        let (inner, outer) = (b.random.pick(&clips), b.random.pick(&clips));
        let inner = b.activate(inner, x);
        b.activate(outer, inner)
    }),
    ("activation-within-range", |b| {
        let x = b.map();
        let slope = F32::new(0.3);
        let (inner, outer) = b.random.pick(&[
            (Activation::Sigmoid, Activation::Relu),
            (Activation::HardSigmoid, clip(0.0, 1.0)),
            (Activation::Relu, Activation::LeakyRelu { slope }),
            (Activation::RELU6, Activation::Elu { alpha: slope }),
            (Activation::Tanh, clip(-1.0, 6.0)),
        ]);
        let inner = b.activate(inner, x);
        b.activate(outer, inner)
    }),
    ("gate-is-swish", |b| {
        let x = b.map();
        let gate = b.random.pick(&[Activation::Sigmoid, Activation::HardSigmoid]);
        let gate = b.activate(gate, x);
        b.either(Binary::Mul, x, gate)
    }),
    ("clip-is-hard-swish", |b| {
        let x = b.map();
        let gate = relu6_of_three_more(b, x, &[]);
        let product = b.either(Binary::Mul, x, gate);
        sixth(b, product)
    }),
    ("clip-is-hard-sigmoid", |b| {
        let x = b.map();
        let gate = relu6_of_three_more(b, x, &[1]);
        sixth(b, gate)
    }),
    ("transpose-is-shuffle", |b| {
        let (c, groups) = b.random.pick(&[(12, 3), (8, 2), (6, 6), (10, 1)]);
        let x = b.input(&[2, c, 3, 2]);
        let pixels = b.random.pick(&[vec![3, 2], vec![6], vec![2, 3]]);
        let seen = b.node(Op::Reshape { shape: [&[2, groups, c / groups], &pixels[..]].concat() }, &[x]);
        let perm = [0, 2, 1].into_iter().chain(3..3 + pixels.len()).collect();
        let moved = b.node(Op::Transpose { perm }, &[seen]);
        b.node(Op::Reshape { shape: vec![2, c, 3, 2] }, &[moved])
    }),
    ("bn-into-conv", |b| {
        let x = b.map();
        let y = b.conv(x);
        b.bn(y)
    }),
    ("bn-into-linear", |b| {
        let x = b.matrix();
        let y = b.linear(x);
        b.bn(y)
    }),
    ("conv-of-bn", |b| {
        let x = b.map();
        let y = b.bn(x);
        let conv = b.conv_attributes(b.shape(x)[1], false, true);
        b.node(Op::Conv(conv), &[y])
    }),
    ("linear-of-bn", |b| {
        let x = b.matrix();
        let y = b.bn(x);
        b.linear(y)
    }),
    ("bn-is-affine", |b| {
        let x = if b.random.coin() { b.map() } else { b.matrix() };
        b.bn(x)
    }),
    ("affine-into-core", |b| {
        let x = if b.random.coin() { b.map() } else { b.matrix() };
        let after = b.random.pick(&[vec![Stage::Affine], vec![Stage::Affine, relu()], vec![Stage::Affine, Stage::Add]]);
        b.fused(x, true, &after)
    }),
    ("conv-of-affine", |b| {
        let x = b.map();
        let after = b.random.pick(&[vec![Stage::Affine], vec![relu(), Stage::Affine], vec![Stage::Add, Stage::Affine]]);
        let y = b.fused(x, false, &after);
        let conv = b.conv_attributes(b.shape(x)[1], false, true);
        b.node(Op::Conv(conv), &[y])
    }),
    ("affine-of-affine", |b| {
        let x = b.map();
        let core = b.random.coin();
        b.fused(x, core, &[relu(), Stage::Affine, Stage::Affine])
    }),
    ("constant-is-affine", |b| {
        let x = if b.random.coin() { b.map() } else { b.matrix() };
        let mut shape = if b.random.coin() { vec![b.shape(x)[1]] } else { vec![1] };
        if b.shape(x).len() == 4 {
            shape.extend([1, 1]);
        }
        let c = b.constant(&shape, |random| random.value() + 3.0);
        let binary = b.random.pick(&[Binary::Add, Binary::Sub, Binary::Mul]);
        if b.random.below(4) == 0 { b.binary(Binary::Div, x, c) } else { b.either(binary, x, c) }
    }),
    ("constant-of-constants", |b| {
        let c = b.constant(&[3, 1], |random| random.value());
        let d = b.constant(&[2], |random| random.value() + 3.0);
        let binary = b.random.pick(&[Binary::Add, Binary::Sub, Binary::Mul, Binary::Div]);
        b.binary(binary, c, d)
    }),
    ("constant-of-constant", |b| {
        let c = b.constant(&[3, 2], |random| random.value());
        let op = b.random.pick(&[
            Op::Activate(Activation::Silu),
            Op::Reshape { shape: vec![6] },
            Op::Transpose { perm: vec![1, 0] },
            Op::Slice { axis: 0, start: 1, end: 3 },
        ]);
        b.node(op, &[c])
    }),
    ("pad-into-conv", |b| {
        let x = b.map();
        let pads = Pads { top: 1, left: 0, bottom: b.random.below(3), right: 2 };
        let y = b.node(Op::Pad { pads, value: F32::new(-0.0) }, &[x]);
        b.conv(y)
    }),
    ("pad-into-max-pool", |b| {
        let x = b.map();
        let (f, value) = b.random.pick(&[
            (None, f32::NEG_INFINITY),
            (Some(Activation::Relu), 0.0),
            (Some(Activation::Relu), -1.0),
            (Some(Activation::Tanh), -1.0),
            (Some(clip(0.5, 2.0)), 0.25),
        ]);
        let x = f.map_or(x, |f| b.activate(f, x));
        let x = b.pad(x, value);
        let pool = b.pool_attributes();
        b.node(Op::MaxPool(pool), &[x])
    }),
    ("pad-into-avg-pool", |b| {
        let x = b.map();
        let x = b.pad(x, 0.0);
        let mut pool = b.pool_attributes();
        pool.count_include_pad |= !pool.window.pads.is_none();
        b.node(Op::AvgPool(pool), &[x])
    }),
    ("shuffle-in-place", |b| {
        let x = b.map();
        let groups = b.random.pick(&[1, b.graph.node(x).ty.shape[1]]);
        b.node(Op::ChannelShuffle { groups }, &[x])
    }),
    ("shuffle-of-shuffle", |b| {
        let (c, inner, outer) = b.random.pick(&[(12, 3, 4), (8, 2, 2), (12, 2, 3), (16, 4, 4)]);
        let x = b.input(&[2, c, 3, 2]);
        let y = b.node(Op::ChannelShuffle { groups: inner }, &[x]);
        b.node(Op::ChannelShuffle { groups: outer }, &[y])
    }),
    ("slice-of-all", |b| {
        let x = b.map();
        let end = b.shape(x)[1];
        b.node(Op::Slice { axis: 1, start: 0, end }, &[x])
    }),
    ("slice-of-slice", |b| {
        let x = b.input(&[2, 8, 7, 3]);
        let axis = 1 + b.random.below(2);
        let y = b.node(Op::Slice { axis, start: 1, end: 6 }, &[x]);
        b.node(Op::Slice { axis, start: 2, end: 4 }, &[y])
    }),
    ("slice-of-concat", |b| {
        let axis = 1 + b.random.below(2);
        let parts = [2, 3, 4].map(|extent| {
            let mut shape = [2, 5, 5, 3];
            shape[axis] = extent;
            b.input(&shape)
        });
        let y = b.node(Op::Concat { axis }, &parts);
        let (start, end) = b.random.pick(&[(0, 2), (2, 5), (2, 9), (0, 5), (3, 5), (6, 8), (0, 1)]);
        b.node(Op::Slice { axis, start, end }, &[y])
    }),
    ("concat-of-one", |b| {
        let x = b.map();
        b.node(Op::Concat { axis: 1 }, &[x])
    }),
    ("concat-of-slices", |b| {
        let (x, other) = (b.input(&[2, 8, 3, 3]), b.input(&[2, 3, 3, 3]));
        let (start, end) = b.random.pick(&[(0, 8), (1, 8), (2, 6)]);
        let left = b.node(Op::Slice { axis: 1, start, end: 4 }, &[x]);
        let right = b.node(Op::Slice { axis: 1, start: 4, end }, &[x]);
        let parts = b.random.pick(&[vec![left, right], vec![other, left, right], vec![left, right, other]]);
        b.node(Op::Concat { axis: 1 }, &parts)
    }),
    ("conv-is-core", |b| {
        let x = b.map();
        b.conv(x)
    }),
    ("linear-is-core", |b| {
        let x = b.matrix();
        b.linear(x)
    }),
    ("sum-is-chain", |b| {
        let x = b.map();
        let y = b.activate(Activation::Tanh, x);
        b.either(Binary::Add, x, y)
    }),
    ("scale-is-chain", |b| {
        let x = b.map();
        let by = b.node(Op::GlobalAvgPool, &[x]);
        b.either(Binary::Mul, x, by)
    }),
    ("activation-is-chain", |b| {
        let x = b.map();
        let f = b.activation();
        b.activate(f, x)
    }),
    ("activation-into-epilogue", |b| {
        let x = if b.random.coin() { b.map() } else { b.matrix() };
        let after = b.random.pick(&[vec![], vec![Stage::Add], vec![Stage::Affine, relu()]]);
        let core = after.is_empty() || b.random.coin();
        let y = b.fused(x, core, &after);
        let f = b.activation();
        b.activate(f, y)
    }),
    ("add-into-epilogue", |b| {
        let x = if b.random.coin() { b.map() } else { b.matrix() };
        let after = b.random.pick(&[vec![], vec![Stage::Add], vec![relu()]]);
        let y = b.fused(x, true, &after);
        let shape = b.shape(y).to_vec();
        let z = b.input(&shape);
        b.either(Binary::Add, y, z)
    }),
    ("scale-into-epilogue", |b| {
        let x = b.map();
        let y = b.fused(x, true, &[relu()]);
        let (n, c) = (b.shape(y)[0], b.shape(y)[1]);
        let by = b.input(&[n, c, 1, 1]);
        b.either(Binary::Mul, y, by)
    }),
    ("chain-into-epilogue", |b| {
        let x = b.map();
        let after = b.random.pick(&[vec![], vec![Stage::Add], vec![relu(), Stage::Affine]]);
        let y = b.fused(x, true, &after);
        let chain = b.random.pick(&[vec![Stage::Affine], vec![relu()], vec![Stage::Add], vec![Stage::Scale]]);
        b.fused(y, false, &chain)
    }),
];

/// Left sides for which one precondition fails, by rule and condition.
const NEAR_MISSES: &[(&str, &str, Instance)] = &[
    ("cast-of-integers", "integers-fit", |b| {
        let x = b.map();
        cast_of_quantized(b, x, (DType::U8, -1.0, 255.0))
    }),
    ("add-of-zero", "same-shape", |b| {
        let x = b.input(&[1, 4, 1, 1]);
        let zeros = b.constant(&[3, 3], |_| 0.0);
        b.either(Binary::Add, x, zeros)
    }),
    ("mul-by-one", "same-shape", |b| {
        let x = b.matrix();
        let ones = b.constant(&[1, 1, 1], |_| 1.0);
        b.either(Binary::Mul, x, ones)
    }),
    ("clip-is-hard-swish", "same-shape", |b| {
        let x = b.input(&[1, 4, 1, 3]);
        let gate = relu6_of_three_more(b, x, &[3, 1]);
        let product = b.either(Binary::Mul, x, gate);
        sixth(b, product)
    }),
    ("clip-is-hard-sigmoid", "same-shape", |b| {
        let x = b.matrix();
        let gate = relu6_of_three_more(b, x, &[1, 1, 1]);
        sixth(b, gate)
    }),
    ("conv-of-bn", "unpadded", |b| {
        let x = b.map();
        let y = b.bn(x);
        b.conv_to(y, 4, 3, 1)
    }),
    ("conv-of-affine", "unpadded", |b| {
        let x = b.map();
        let y = b.fused(x, false, &[Stage::Affine]);
        b.conv_to(y, 4, 3, 1)
    }),
    ("constant-is-affine", "one-by-channel", |b| {
        let x = b.input(&[1, 4, 3, 3]);
        let c = b.constant(&[3, 1], |random| random.value());
        b.binary(Binary::Add, x, c)
    }),
    ("constant-is-affine", "finite-reciprocal", |b| {
        let x = b.map();
        let zero = b.random.pick(&[0.0, 1e-40]);
        let c = b.constant(&[], |_| zero);
        b.binary(Binary::Div, x, c)
    }),
    ("constant-of-constants", "small", |b| {
        let c = b.constant(&[64, 1], |random| random.value());
        let d = b.constant(&[1, 64], |random| random.value());
        b.binary(Binary::Add, c, d)
    }),
    ("pad-into-conv", "zero-padding", |b| {
        let x = b.map();
        let y = b.node(Op::Pad { pads: Pads::symmetric(1, 1), value: F32::new(1.0) }, &[x]);
        b.conv(y)
    }),
    ("pad-into-max-pool", "never-largest", |b| {
        let x = b.map();
        let f = b.random.pick(&[None, Some(Activation::Silu), Some(Activation::Tanh)]);
        let x = f.map_or(x, |f| b.activate(f, x));
        let x = b.pad(x, 0.0);
        let pool = b.pool_attributes();
        b.node(Op::MaxPool(pool), &[x])
    }),
    ("pad-into-avg-pool", "zero-padding", |b| {
        let x = b.map();
        let x = b.pad(x, 1.0);
        let pool = b.pool_attributes();
        b.node(Op::AvgPool(Pool { count_include_pad: true, ..pool }), &[x])
    }),
    ("pad-into-avg-pool", "all-padding-counts", |b| {
        let x = b.map();
        let x = b.pad(x, 0.0);
        let mut pool = b.pool_attributes();
        pool.window.pads = Pads::symmetric(1, 1);
        b.node(Op::AvgPool(Pool { count_include_pad: false, ..pool }), &[x])
    }),
    ("shuffle-of-shuffle", "one-shuffle", |b| {
        let x = b.input(&[1, 6, 2, 2]);
        let y = b.node(Op::ChannelShuffle { groups: 2 }, &[x]);
        b.node(Op::ChannelShuffle { groups: 2 }, &[y])
    }),
    ("slice-of-slice", "same-axis", |b| {
        let x = b.input(&[1, 6, 5, 5]);
        let y = b.node(Op::Slice { axis: 1, start: 2, end: 5 }, &[x]);
        b.node(Op::Slice { axis: 2, start: 0, end: 3 }, &[y])
    }),
    ("slice-of-concat", "whole-parts", |b| {
        let parts = [b.input(&[1, 4, 3, 3]), b.input(&[1, 4, 3, 3])];
        let y = b.node(Op::Concat { axis: 1 }, &parts);
        b.node(Op::Slice { axis: 1, start: 2, end: 6 }, &[y])
    }),
    ("activation-into-epilogue", "room", |b| {
        let x = b.map();
        let y = b.fused(x, false, &[relu(); 8]);
        b.relu(y)
    }),
    ("add-into-epilogue", "same-shape", |b| {
        let x = b.map();
        let y = b.fused(x, true, &[relu()]);
        let (n, c) = (b.shape(y)[0], b.shape(y)[1]);
        let z = b.input(&[n, c, 1, 1]);
        b.either(Binary::Add, y, z)
    }),
    ("add-into-epilogue", "room", |b| {
        let x = b.map();
        let y = b.fused(x, true, &[Stage::Add, Stage::Add]);
        let shape = b.shape(y).to_vec();
        let z = b.input(&shape);
        b.either(Binary::Add, y, z)
    }),
    ("scale-into-epilogue", "one-by-image-and-channel", |b| {
        let x = b.map();
        let y = b.fused(x, true, &[relu()]);
        let mut shape = b.shape(y).to_vec();
        shape[1] = 1;
        let by = b.input(&shape);
        b.either(Binary::Mul, y, by)
    }),
    ("scale-into-epilogue", "room", |b| {
        let x = b.map();
        let y = b.fused(x, true, &[Stage::Add, Stage::Scale]);
        let (n, c) = (b.shape(y)[0], b.shape(y)[1]);
        let by = b.input(&[n, c, 1, 1]);
        b.either(Binary::Mul, y, by)
    }),
    ("chain-into-epilogue", "room", |b| {
        let x = b.map();
        let y = b.fused(x, true, &[Stage::Add, Stage::Scale]);
        b.fused(y, false, &[Stage::Add])
    }),
];

fn number(name: &str) -> usize {
    compiled().iter().position(|compiled| compiled.rule.name == name).unwrap_or_else(|| panic!("no rule {name}"))
}

fn instance(make: Instance, seed: u64) -> Graph {
    let mut build = Build::new(seed);
    let output = make(&mut build);
    build.finish(&[output])
}

#[test]
fn every_rule_has_instances_and_every_precondition_near_misses() {
    let with_instances: Vec<&str> = INSTANCES.iter().map(|(name, _)| *name).collect();
    let with_misses: Vec<(&str, &str)> = NEAR_MISSES.iter().map(|(rule, condition, _)| (*rule, *condition)).collect();
    for rule in all() {
        assert!(with_instances.contains(&rule.name), "no instances of {}", rule.name);
        for condition in rule.when {
            assert!(with_misses.contains(&(rule.name, condition.name)), "no miss of {}: {}", rule.name, condition.name);
        }
    }
}

#[test]
fn names_are_kebab_case_and_unique() {
    let mut names: Vec<&str> = all().map(|rule| rule.name).collect();
    for name in &names {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
    }
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn both_sides_of_every_rule_are_equal() {
    for (name, make) in INSTANCES {
        for seed in 0..12 {
            let left = instance(*make, seed);
            let (right, misses) = apply_rule(&left, first_notes(&left), number(name));
            let Some(right) = right else { panic!("{name} does not apply to instance {seed}: {misses:?}") };
            assert_same(&left, &right);
        }
    }
}

#[test]
fn near_misses_are_left_alone_and_reported() {
    for (name, condition, make) in NEAR_MISSES {
        for seed in 0..4 {
            let left = instance(*make, seed);
            let (right, misses) = apply_rule(&left, first_notes(&left), number(name));
            assert!(right.is_none(), "{name} applies although {condition} fails");
            let reported = misses.iter().any(|m| m.rule.name == *name && m.rule.when[m.condition].name == *condition);
            assert!(reported, "{name} does not report {condition}: {misses:?}");
        }
    }
}

/// Else a network of many branches would take as many steps, each through all of it.
#[test]
fn readers_of_one_value_are_rewritten_in_one_step() {
    let mut b = Build::new(1);
    let x = b.map();
    let convs: Vec<NodeId> = (0..5).map(|_| b.conv_to(x, 8, 1, 1)).collect();
    let left = b.finish(&convs);
    let (right, _) = apply_rule(&left, first_notes(&left), number("conv-is-core"));
    let right = right.expect("it applies");
    assert!(right.ids().all(|id| !matches!(right.node(id).op, Op::Conv(_))));
    assert_same(&left, &right);
}

/// A scale that moves to the other side of an activation would need to know its sign.
#[test]
fn negative_gammas_stay_on_their_side_of_an_activation() {
    let mut b = Build::new(3);
    let x = b.input(&[1, 16, 5, 5]);
    let y = b.conv_to(x, 16, 1, 1);
    let y = b.relu(y);
    let y = b.bn(y);
    let y = b.node(Op::GlobalAvgPool, &[y]);
    let y = b.node(Op::Reshape { shape: vec![1, 16] }, &[y]);
    let y = b.node(Op::Linear(Linear { features: 4, bias: true }), &[y]);
    let graph = b.finish(&[y]);
    let optimized = super::optimized(&graph);
    assert_same(&graph, &optimized.graph);
}
