//! The optimizer as a whole.

mod build;
mod extraction;
mod nets;
mod rules;

use build::{Build, assert_same};

use super::rebuild::Image;
use super::{Optimized, Options, first_notes, hand, optimize, pipeline};
use crate::graph::verify::verify;
use crate::graph::{
    Activation, Binary, Constant, Conv, Coordinates, Core, DType, F32, Filter, Graph, Linear, Op, Pads, Pool, Resize,
    Scale, Stage, Window,
};

fn optimized(graph: &Graph) -> Optimized {
    let optimized = optimize(&verify(graph.clone()).unwrap(), &Options::default());
    verify(optimized.graph.clone()).unwrap();
    optimized
}

fn by_hand(graph: &Graph) -> Graph {
    verify(pipeline(&verify(graph.clone()).unwrap()).graph).unwrap().into_inner()
}

/// Operators in order, as the optimizer names them.
fn kernels(graph: &Graph) -> Vec<String> {
    graph.order().into_iter().map(|id| super::summary(&graph.node(id).op)).filter(|name| name != "input").collect()
}

/// One network with every operator, each attribute off its default somewhere.
fn every_op() -> Graph {
    let mut b = Build::new(1);
    let x = b.input(&[2, 8, 9, 9]);
    let window = Window {
        kernel: [3, 2],
        stride: [1, 2],
        pads: Pads { top: 1, left: 0, bottom: 1, right: 1 },
        dilation: [1, 1],
    };
    let pool = Pool { window: Window { kernel: [2, 2], ..window }, ceil_mode: true, count_include_pad: false };
    let conv = Conv { channels: 8, window, groups: 2, bias: true };
    let c = b.constant(&[8, 1, 1], |random| random.value());
    let mut y = b.node(Op::Conv(conv), &[x]);
    y = b.node(Op::Conv(Conv { bias: false, groups: 8, ..conv }), &[y]);
    y = b.node(Op::BatchNorm { eps: F32::new(1e-3), affine: true }, &[y]);
    y = b.node(Op::BatchNorm { eps: F32::new(1e-5), affine: false }, &[y]);
    y = b.node(Op::Activate(Activation::HardSwish), &[y]);
    y = b.binary(Binary::Add, y, c);
    let anchors = b.node(Op::Weight { shape: vec![1, 8, 1, 1] }, &[]);
    y = b.binary(Binary::Add, y, anchors);
    y = b.binary(Binary::Sub, c, y);
    y = b.binary(Binary::Mul, y, c);
    y = b.binary(Binary::Div, y, c);
    y = b.binary(Binary::Max, y, c);
    y = b.binary(Binary::Min, c, y);
    y = b.node(Op::Activate(Activation::Softplus), &[y]);
    y = b.binary(Binary::Pow, y, c);
    y = b.node(Op::MaxPool(pool), &[y]);
    y = b.node(Op::AvgPool(Pool { count_include_pad: true, ..pool }), &[y]);
    y = b.node(Op::Pad { pads: Pads::symmetric(1, 2), value: F32::new(0.5) }, &[y]);
    let scale = [1.25, 0.5].map(|by| Scale::Number(F32::new(by)));
    let resize = Resize { size: [5, 3], scale, filter: Filter::Linear, coordinates: Coordinates::HalfPixel };
    y = b.node(Op::Resize(resize), &[y]);
    y = b.node(Op::ChannelShuffle { groups: 2 }, &[y]);
    y = b.node(Op::Gather { axis: 2, indices: vec![4, 0, 0, 2, 1] }, &[y]);
    let first = b.node(Op::Slice { axis: 1, start: 0, end: 3 }, &[y]);
    y = b.node(Op::Concat { axis: 1 }, &[y, first, y]);
    y = b.node(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[y]);
    y = b.node(Op::Dropout, &[y]);
    y = b.node(Op::Identity, &[y]);
    y = b.node(Op::Cast(DType::I32), &[y]);
    y = b.node(Op::Cast(DType::F32), &[y]);
    let by = b.node(Op::GlobalAvgPool, &[y]);
    let most = b.node(Op::GlobalMaxPool, &[y]);
    let core = Core::Conv(Conv { channels: 19, window: Window::POINT, groups: 1, bias: true });
    let after = vec![Stage::Affine, Stage::Add, Stage::Activate(Activation::RELU6), Stage::Scale];
    y = b.node(Op::Fused { before: vec![Stage::Scale, Stage::Affine], core, after }, &[y, by, y, most]);
    y = b.node(Op::Fused { before: vec![], core: Core::Identity, after: vec![Stage::Affine] }, &[y]);
    let rows = b.node(Op::Reshape { shape: vec![2, 19, 15] }, &[y]);
    let columns = b.node(Op::Reshape { shape: vec![2, 15, 19] }, &[y]);
    y = b.node(Op::MatMul, &[rows, columns]);
    y = b.node(Op::Reshape { shape: vec![2, 19, 19, 1] }, &[y]);
    y = b.node(Op::GlobalAvgPool, &[y]);
    y = b.node(Op::Reshape { shape: vec![2, 19] }, &[y]);
    y = b.node(Op::Linear(Linear { features: 5, bias: false }), &[y]);
    let core = Core::Linear(Linear { features: 4, bias: true });
    y = b.node(Op::Fused { before: vec![], core, after: vec![Stage::Activate(Activation::Tanh)] }, &[y]);
    y = b.node(Op::Softmax { axis: 1 }, &[y]);
    b.finish(&[y])
}

/// What a node is, without its name.
fn listing(graph: &Graph) -> Vec<(Op, Vec<usize>, Vec<String>)> {
    let order = graph.order();
    let position = |id| order.iter().position(|&other| other == id).unwrap();
    let node = |&id: &crate::graph::NodeId| {
        let weights = graph.node(id).weights.iter().map(|&w| format!("{:?}", graph.weights.expr(w))).collect();
        (graph.node(id).op.clone(), graph.operands(id).into_iter().map(position).collect(), weights)
    };
    order.iter().map(node).collect()
}

#[test]
fn conversion_to_the_e_graph_and_back_changes_nothing() {
    let graph = every_op();
    let image = Image::new(&graph);
    let selection = super::extract::extract(&image.egraph, &image.roots(&graph), &image.sources);
    let log = super::saturate::Log::default();
    let (back, notes, _) = super::rebuild::rebuild(&graph, &first_notes(&graph), &image, &log, &selection);
    assert_eq!(listing(&graph), listing(&back));
    assert_eq!(notes.len(), back.len());
}

#[test]
fn a_network_with_every_operator_means_the_same_after() {
    let graph = every_op();
    assert_same(&graph, &optimized(&graph).graph);
    assert_same(&graph, &by_hand(&graph));
}

/// Random chains of everything, with values read twice.
fn random_net(seed: u64) -> Graph {
    let mut b = Build::new(seed);
    let mut values = vec![b.input(&[1, 8, 6, 6])];
    for _ in 0..14 {
        let x = b.random.pick(&values[values.len().saturating_sub(3)..]);
        let y = match b.random.below(14) {
            0 | 1 => b.conv_to(x, 8, 1, 1),
            2 => b.depthwise(x, 1),
            3 | 4 => b.bn(x),
            5 | 6 => {
                let f = b.activation();
                b.activate(f, x)
            }
            7 | 8 => {
                let other = b.random.pick(&values);
                b.binary(Binary::Add, x, other)
            }
            9 => {
                let c = b.constant(&[8, 1, 1], |random| random.value() + 3.0);
                let binary = b.random.pick(&[Binary::Add, Binary::Sub, Binary::Mul]);
                b.either(binary, x, c)
            }
            10 => {
                let by = b.node(Op::GlobalAvgPool, &[x]);
                b.either(Binary::Mul, x, by)
            }
            11 => {
                let halves = [(0, 4), (4, 8)].map(|(start, end)| b.node(Op::Slice { axis: 1, start, end }, &[x]));
                b.node(Op::Concat { axis: 1 }, &halves)
            }
            12 => b.node(Op::ChannelShuffle { groups: 2 }, &[x]),
            _ => b.node(Op::Dropout, &[x]),
        };
        values.push(y);
    }
    let last = *values.last().unwrap();
    let outputs = if b.random.coin() { vec![last] } else { vec![last, b.random.pick(&values)] };
    b.finish(&outputs)
}

#[test]
fn random_networks_mean_the_same_after() {
    for seed in 0..80 {
        let graph = random_net(seed);
        let by_egraph = optimized(&graph);
        assert_same(&graph, &by_egraph.graph);
        let by_hand = by_hand(&graph);
        assert_same(&graph, &by_hand);
        let cost = super::cost::total;
        assert!(cost(&by_egraph.graph) <= cost(&by_hand), "seed {seed}");
        assert!(cost(&by_egraph.graph) <= cost(&graph), "seed {seed}");
    }
}

#[test]
fn the_same_network_gives_the_same_result() {
    for seed in 0..5 {
        let graph = random_net(seed);
        let (a, b) = (optimized(&graph), optimized(&graph));
        assert_eq!(format!("{:?}", listing(&a.graph)), format!("{:?}", listing(&b.graph)));
        let explained = |o: &Optimized| o.record.explanations().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(explained(&a), explained(&b));
    }
}

#[test]
fn many_equal_nodes_become_one_that_names_them_all_and_each_rule_once() {
    let mut b = Build::new(1);
    let mut x = b.input(&[1, 8, 3, 3]);
    for _ in 0..200 {
        x = b.activate(Activation::Relu, x);
    }
    let optimized = optimized(&b.finish(&[x]));
    let [relu] = optimized.record.explanations() else { panic!("{:?}", kernels(&optimized.graph)) };
    assert_eq!(relu.layers.len(), 200);
    let mut rules: Vec<_> = relu.chain.iter().map(|applied| (applied.rule.name, &applied.layers)).collect();
    let all = rules.len();
    rules.sort_unstable();
    rules.dedup();
    assert_eq!(rules.len(), all);
}

#[test]
fn the_hand_order_knows_every_rule() {
    for rule in super::rules::all() {
        assert!(hand::ORDER.contains(&rule.name), "{} has no place in the order", rule.name);
    }
    assert_eq!(hand::ORDER.len(), super::rules::all().count());
}

#[test]
fn constants_larger_than_a_literal_are_not_made() {
    let mut b = Build::new(1);
    let c = b.constant(&[64, 1], |random| random.value());
    let d = b.constant(&[1, 64], |random| random.value());
    let y = b.binary(Binary::Add, c, d);
    let graph = b.finish(&[y]);
    let optimized = optimized(&graph).graph;
    let small = |id| matches!(&optimized.node(id).op, Op::Constant(Constant { values, .. }) if values.len() > 1024);
    assert!(!optimized.ids().any(small));
    assert_same(&graph, &optimized);
}
