//! Extraction counts what is shared once, and never goes round in a circle.

use super::build::{Build, assert_same};
use super::{by_hand, kernels, optimized};
use crate::graph::{Activation, Conv, Graph, Op, Stage, Window};
use crate::optimize::analysis::EGraph;
use crate::optimize::cost::total;
use crate::optimize::extract::extract;
use crate::optimize::first_notes;
use crate::optimize::language::{decode, encode};
use crate::optimize::rebuild::{Image, rebuild};
use crate::optimize::saturate::Log;

/// A dense block: every layer reads the concatenation of all before it.
fn dense(layers: usize, x: &[usize]) -> Graph {
    let mut b = Build::new(5);
    let mut values = vec![b.input(x)];
    for _ in 0..layers {
        let all = b.node(Op::Concat { axis: 1 }, &values);
        let y = b.bn(all);
        let y = b.relu(y);
        let window = Window::POINT;
        let y = b.node(Op::Conv(Conv { channels: 8, window, groups: 1, bias: false }), &[y]);
        values.push(y);
    }
    let y = b.node(Op::Concat { axis: 1 }, &values);
    b.finish(&[y])
}

/// Each convolution and concatenation gets a twin that does the same and then twice nothing, in the same class.
#[test]
fn a_dearer_twin_is_never_picked() {
    let graph = dense(58, &[1, 16, 8, 8]);
    let mut image = Image::new(&graph);
    let egraph: &mut EGraph = &mut image.egraph;
    for (class, term) in &image.sources {
        let applied = decode(egraph, term).unwrap();
        if matches!(applied.op, Op::Input(_)) {
            continue;
        }
        // A chain that doubles the node's own traffic, and is wrong, which extraction cannot know.
        let op = Op::Fused {
            before: vec![],
            core: crate::graph::Core::Identity,
            after: vec![Stage::Activate(Activation::Tanh)],
        };
        let inner = encode(egraph, &applied.op, &applied.operands, &applied.weights);
        let inner = encode(egraph, &Op::Transpose { perm: vec![0, 1, 2, 3] }, &[inner], &[]);
        let twin = encode(egraph, &op, &[inner], &[]);
        egraph.union(*class, twin);
    }
    egraph.rebuild();
    let selection = extract(&image.egraph, &image.roots(&graph), &image.sources);
    for picked in selection.nodes.values() {
        assert!(!matches!(picked.applied.op, Op::Fused { .. } | Op::Transpose { .. }), "{:?}", picked.applied.op);
    }
    let (back, ..) = rebuild(&graph, &first_notes(&graph), &image, &Log::default(), &selection);
    assert_eq!(total(&back), total(&graph));
}

/// Both readers of a BatchNorm must take it in before it is gone: no single switch is a gain.
#[test]
fn what_two_readers_share_is_folded_into_both() {
    let mut b = Build::new(2);
    let x = b.input(&[1, 8, 16, 16]);
    let x = b.relu(x);
    let y = b.bn(x);
    let (a, c) = (b.conv_to(y, 8, 1, 1), b.conv_to(y, 8, 1, 1));
    let graph = b.finish(&[a, c]);
    let optimized = optimized(&graph).graph;
    assert_eq!(kernels(&optimized), ["activate", "conv", "conv"]);
    assert_same(&graph, &optimized);
}

/// An activation of a value that something else reads too stays alone: fused, the convolution would run twice.
#[test]
fn what_is_read_twice_is_computed_once() {
    let mut b = Build::new(2);
    let x = b.input(&[1, 8, 16, 16]);
    let y = b.conv_to(x, 64, 3, 1);
    let z = b.activate(Activation::Silu, y);
    let w = b.node(
        Op::MaxPool(crate::graph::Pool {
            window: Window { kernel: [2, 2], ..Window::POINT },
            ceil_mode: false,
            count_include_pad: false,
        }),
        &[y],
    );
    let graph = b.finish(&[z, w]);
    assert_eq!(kernels(&optimized(&graph).graph), ["conv", "activate", "max_pool"]);
    assert_eq!(kernels(&by_hand(&graph)), ["conv", "activate", "max_pool"]);
}

/// 5,000 nodes without a waist: two strands side by side that meet at the end.
#[test]
fn five_thousand_nodes_without_a_waist() {
    let mut b = Build::new(9);
    let x = b.input(&[1, 4, 2, 2]);
    let mut strands = [x, x];
    for i in 0..832 {
        for strand in &mut strands {
            let y = b.conv_to(*strand, 4, 1, 1);
            let y = b.bn(y);
            *strand = b.relu(y);
        }
        if i % 4 == 3 {
            strands[0] = b.binary(crate::graph::Binary::Add, strands[0], strands[1]);
        }
    }
    let y = b.binary(crate::graph::Binary::Add, strands[0], strands[1]);
    let graph = b.finish(&[y]);
    assert!(graph.len() >= 5_000, "{}", graph.len());
    let optimized = optimized(&graph).graph;
    assert!(!optimized.ids().any(|id| matches!(optimized.node(id).op, Op::BatchNorm { .. } | Op::Activate(_))));
}
