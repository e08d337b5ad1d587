//! Networks like those of the zoo come out fused whole.

use super::build::{Build, assert_same};
use super::{by_hand, kernels, optimized};
use crate::graph::{Activation, Graph, Linear, NodeId, Op};
use crate::optimize::blocks::cut;

/// Sandler et al. 2018: expansion, depthwise convolution, projection; a sum where the shape allows.
fn inverted_residual(b: &mut Build, x: NodeId, channels: usize, stride: usize, expand: usize) -> NodeId {
    let hidden = b.shape(x)[1] * expand;
    let mut y = b.conv_to(x, hidden, 1, 1);
    y = b.bn(y);
    y = b.activate(Activation::RELU6, y);
    y = b.depthwise(y, stride);
    y = b.bn(y);
    y = b.activate(Activation::RELU6, y);
    y = b.conv_to(y, channels, 1, 1);
    y = b.bn(y);
    if stride == 1 && b.shape(x)[1] == channels { b.binary(crate::graph::Binary::Add, x, y) } else { y }
}

fn classifier(b: &mut Build, x: NodeId) -> NodeId {
    let (n, c) = (b.shape(x)[0], b.shape(x)[1]);
    let y = b.node(Op::GlobalAvgPool, &[x]);
    let y = b.node(Op::Reshape { shape: vec![n, c] }, &[y]);
    let y = b.node(Op::Dropout, &[y]);
    b.node(Op::Linear(Linear { features: 10, bias: true }), &[y])
}

fn mobilenet_v2() -> Graph {
    let mut b = Build::new(1);
    let x = b.input(&[1, 3, 16, 16]);
    let mut y = b.conv_to(x, 8, 3, 2);
    y = b.bn(y);
    y = b.activate(Activation::RELU6, y);
    for (channels, stride) in [(8, 1), (12, 2), (12, 1), (12, 1)] {
        y = inverted_residual(&mut b, y, channels, stride, 3);
    }
    y = b.conv_to(y, 32, 1, 1);
    y = b.bn(y);
    y = b.activate(Activation::RELU6, y);
    let y = classifier(&mut b, y);
    b.finish(&[y])
}

/// He et al. 2016: two convolutions and a shortcut, which is a convolution where the shape changes.
fn basic_block(b: &mut Build, x: NodeId, channels: usize, stride: usize) -> NodeId {
    let y = b.conv_to(x, channels, 3, stride);
    let y = b.bn(y);
    let y = b.relu(y);
    let y = b.conv_to(y, channels, 3, 1);
    let y = b.bn(y);
    let shortcut = if stride == 1 && b.shape(x)[1] == channels {
        x
    } else {
        let z = b.conv_to(x, channels, 1, stride);
        b.bn(z)
    };
    let y = b.binary(crate::graph::Binary::Add, y, shortcut);
    b.relu(y)
}

fn resnet() -> Graph {
    let mut b = Build::new(1);
    let x = b.input(&[1, 3, 16, 16]);
    let mut y = b.conv_to(x, 8, 3, 1);
    y = b.bn(y);
    y = b.relu(y);
    for (channels, stride) in [(8, 1), (8, 1), (16, 2), (16, 1)] {
        y = basic_block(&mut b, y, channels, stride);
    }
    let y = classifier(&mut b, y);
    b.finish(&[y])
}

#[test]
fn mobilenet_v2_is_convolutions_alone() {
    let graph = mobilenet_v2();
    let optimized = optimized(&graph);
    let (act, plain, add) = ("conv + clip", "conv", "conv + add");
    let expected = [
        &[act][..],
        &[act, act, add],
        &[act, act, plain],
        &[act, act, add],
        &[act, act, add],
        &[act],
        &["global_avg_pool", "reshape", "linear"],
    ];
    assert_eq!(kernels(&optimized.graph), expected.concat());
    assert_eq!(kernels(&by_hand(&graph)), expected.concat());
    assert_same(&graph, &optimized.graph);
}

#[test]
fn resnet_is_convolutions_with_sums_in_their_epilogues() {
    let graph = resnet();
    let optimized = optimized(&graph);
    let (relu, sum) = ("conv + relu", "conv + add + relu");
    let expected = [
        &[relu][..],
        &[relu, sum],
        &[relu, sum],
        &[relu, "conv", sum],
        &[relu, sum],
        &["global_avg_pool", "reshape", "linear"],
    ];
    assert_eq!(kernels(&optimized.graph), expected.concat());
    assert_same(&graph, &optimized.graph);
}

/// Of two convolutions that could take the sum, at the same cost, it is the later one: the other value is there by then.
#[test]
fn a_sum_of_two_convolutions_goes_into_the_later_one() {
    for swap in [false, true] {
        let mut b = Build::new(1);
        let x = b.input(&[1, 8, 8, 8]);
        let (p, q) = (b.conv_to(x, 8, 1, 1), b.conv_to(x, 8, 1, 1));
        let (p, q) = if swap { (q, p) } else { (p, q) };
        let y = b.binary(crate::graph::Binary::Add, p, q);
        let later = b.graph.node(q).origin.name.clone();
        let graph = b.finish(&[y]);
        let optimized = optimized(&graph).graph;
        assert_eq!(kernels(&optimized), ["conv", "conv + add"]);
        assert_eq!(optimized.node(optimized.outputs()[0].node).origin.name, later);
        assert_same(&graph, &optimized);
    }
}

#[test]
fn optimizing_twice_changes_nothing_more() {
    for graph in [mobilenet_v2(), resnet()] {
        let once = optimized(&graph).graph;
        let twice = optimized(&once).graph;
        assert_eq!(kernels(&once), kernels(&twice));
        assert_eq!(cut(&once).len(), cut(&graph).len());
    }
}

#[test]
fn names_are_those_of_the_cores_and_unique() {
    for graph in [mobilenet_v2(), resnet()] {
        let optimized = optimized(&graph).graph;
        let mut names: Vec<&str> = optimized.ids().map(|id| optimized.node(id).origin.name.as_str()).collect();
        for name in &names {
            assert!(graph.find(name).is_some(), "{name} is no source");
        }
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        let covered: Vec<String> = optimized.ids().flat_map(|id| optimized.node(id).origin.sources()).collect();
        for id in graph.ids() {
            assert!(covered.contains(&graph.node(id).origin.name), "{} is lost", graph.node(id).origin.name);
        }
    }
}

#[test]
fn equal_blocks_are_cut_alike() {
    let graph = resnet();
    let keys: Vec<_> = cut(&graph).iter().map(|block| block.local(&graph).key()).collect();
    assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len() - 1, "the first two blocks");
}

#[test]
fn explanations_tell_the_chain_and_the_near_misses() {
    let record = optimized(&resnet()).record;
    let text: Vec<String> = record.explanations().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}
