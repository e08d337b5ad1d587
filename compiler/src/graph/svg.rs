//! The graph as a picture: boxes in layers from top to bottom, an edge a curve.
//!
//! Layers are longest paths from the inputs; edges that pass layers are led through each of them, and what lies in a layer
//! is ordered by the mean position of its neighbours (Sugiyama, Tagawa and Toda 1981, "Methods for Visual Understanding of
//! Hierarchical System Structures").

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Activation, Binary, Conv, Core, Graph, NodeId, Op, Stage, Window};

/// Pixels of a character, a line of text, and between boxes.
const CHARACTER: f64 = 7.3;
const LINE: f64 = 16.0;
const GAP: [f64; 2] = [18.0, 30.0];
/// How often the layers are ordered, downwards and upwards.
const SWEEPS: usize = 8;

/// What is drawn in a layer: a box, or a point of an edge that passes.
struct Item {
    lines: Vec<String>,
    /// The items above that lead here.
    above: Vec<usize>,
    layer: usize,
    /// Its middle.
    x: f64,
}

impl Item {
    fn width(&self) -> f64 {
        let longest = self.lines.iter().map(|line| line.chars().count()).max();
        longest.map_or(0.0, |longest| longest as f64 * CHARACTER + 16.0)
    }

    fn height(&self) -> f64 {
        if self.lines.is_empty() { 0.0 } else { self.lines.len() as f64 * LINE + 8.0 }
    }
}

/// The graph in SVG. A box is an operator with the normalization and activation that follow it; literals are not drawn.
pub fn print(graph: &Graph) -> String {
    let mut items = boxes(graph);
    let mut layers = lead_through_layers(&mut items);
    for sweep in 0..SWEEPS {
        order(&items, &mut layers, sweep % 2 == 0);
    }
    let width = place(&mut items, &layers);
    draw(&items, &layers, width)
}

/// Boxes in the order of the nodes, each in the layer below the lowest it reads.
fn boxes(graph: &Graph) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut item_of: BTreeMap<NodeId, usize> = BTreeMap::new();
    for id in graph.order() {
        let op = &graph.node(id).op;
        if matches!(op, Op::Constant(_) | Op::Weight { .. }) {
            continue;
        }
        let operands: Vec<NodeId> = graph.operands(id).into_iter().filter(|id| item_of.contains_key(id)).collect();
        let text = lines(graph, id);
        if let ([only], true) = (&operands[..], follows(op))
            && graph.users(*only).len() == 1
            && !graph.outputs().iter().any(|output| output.node == *only)
        {
            let item = item_of[only];
            items[item].lines.extend(text);
            item_of.insert(id, item);
            continue;
        }
        let above: Vec<usize> = operands.iter().map(|operand| item_of[operand]).collect();
        let layer = above.iter().map(|&item| items[item].layer + 1).max().unwrap_or(0);
        item_of.insert(id, items.len());
        items.push(Item { lines: text, above, layer, x: 0.0 });
    }
    items
}

/// Whether a node is drawn in the box of its operand.
fn follows(op: &Op) -> bool {
    match op {
        Op::BatchNorm { .. }
        | Op::Activate(_)
        | Op::Cast(_)
        | Op::Binary(_)
        | Op::Softmax { .. }
        | Op::Reshape { .. }
        | Op::Dropout
        | Op::Identity => true,
        Op::Input(_)
        | Op::Constant(_)
        | Op::Weight { .. }
        | Op::Conv(_)
        | Op::Linear(_)
        | Op::MatMul
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Resize(_)
        | Op::Fused { .. } => false,
    }
}

/// What a node is, in a few words a line; nothing for what does nothing.
fn lines(graph: &Graph, id: NodeId) -> Vec<String> {
    let Op::Fused { before, core, after } = &graph.node(id).op else { return label(graph, id).into_iter().collect() };
    let core = match core {
        Core::Conv(conv) => Some(conv_label(conv, graph.node(graph.operands(id)[0]).ty.shape[1])),
        Core::Linear(linear) => Some(format!("linear {}", linear.features)),
        Core::Identity => None,
    };
    before.iter().map(stage_name).chain(core).chain(after.iter().map(stage_name)).collect()
}

/// A convolution of so many channels: `3×3 depthwise / 2, 32`.
fn conv_label(conv: &Conv, read: usize) -> String {
    let (kind, groups) = match conv.groups {
        1 => ("conv", String::new()),
        groups if groups == read => ("depthwise", String::new()),
        groups => ("conv", format!(" in {groups} groups")),
    };
    format!("{} {kind}{}, {}{groups}", sides(conv.window.kernel), stride(&conv.window), conv.channels)
}

/// What a node that is not fused is; nothing for what does nothing.
fn label(graph: &Graph, id: NodeId) -> Option<String> {
    let node = graph.node(id);
    let channels = node.ty.shape.get(1).copied().unwrap_or(1);
    let literal = graph.operands(id).into_iter().find_map(|operand| {
        let op = &graph.node(operand).op;
        if let Op::Weight { .. } = op {
            return Some("weight".to_owned());
        }
        let Op::Constant(constant) = op else { return None };
        Some(constant.uniform().map_or("literal".to_owned(), |value| value.to_string()))
    });
    Some(match &node.op {
        Op::Input(_) => format!("{} {}", node.origin.name, extents(&node.ty.shape)),
        Op::Constant(_) | Op::Weight { .. } | Op::Dropout | Op::Identity | Op::Fused { .. } => return None,
        Op::Conv(conv) => conv_label(conv, graph.node(graph.operands(id)[0]).ty.shape[1]),
        Op::Linear(linear) => format!("linear {}", linear.features),
        Op::BatchNorm { .. } => "BatchNorm".to_owned(),
        Op::Activate(activation) => activation_name(*activation),
        Op::Cast(dtype) => format!("as {dtype}"),
        Op::Binary(binary) => {
            let sign = match binary {
                Binary::Add => "+",
                Binary::Sub => "−",
                Binary::Mul => "×",
                Binary::Div => "÷",
                Binary::Min => "min",
                Binary::Max => "max",
                Binary::Pow => "to the power",
            };
            literal.map_or(sign.to_owned(), |literal| format!("{sign} {literal}"))
        }
        Op::MatMul => "product".to_owned(),
        Op::MaxPool(pool) => format!("{} max pool{}", sides(pool.window.kernel), stride(&pool.window)),
        Op::AvgPool(pool) => format!("{} average pool{}", sides(pool.window.kernel), stride(&pool.window)),
        Op::GlobalAvgPool => "global average".to_owned(),
        Op::GlobalMaxPool => "global maximum".to_owned(),
        Op::Softmax { .. } => "softmax".to_owned(),
        Op::Concat { .. } => format!("concat, {channels}"),
        Op::Slice { start, end, .. } => format!("{start}..{end}"),
        Op::Gather { indices, .. } => format!("{} by index", indices.len()),
        Op::ChannelShuffle { groups } => format!("shuffle {groups}"),
        Op::Reshape { shape } => format!("reshape {}", extents(shape)),
        Op::Transpose { perm } => format!("transpose {perm:?}"),
        Op::Pad { .. } => format!("pad to {}", extents(&node.ty.shape)),
        Op::Resize(_) => format!("resize to {}", extents(&node.ty.shape[2..])),
    })
}

fn stage_name(stage: &Stage) -> String {
    match stage {
        Stage::Affine => "affine".to_owned(),
        Stage::Activate(activation) => activation_name(*activation),
        Stage::Add => "+".to_owned(),
        Stage::Scale => "×".to_owned(),
    }
}

fn activation_name(activation: Activation) -> String {
    match activation {
        Activation::Relu => "ReLU".to_owned(),
        Activation::RELU6 => "ReLU6".to_owned(),
        Activation::Clip { lo, hi } => format!("clip {lo} to {hi}"),
        Activation::LeakyRelu { slope } => format!("leaky ReLU {slope}"),
        Activation::Abs => "absolute value".to_owned(),
        Activation::Elu { alpha } => format!("ELU {alpha}"),
        Activation::Sigmoid => "sigmoid".to_owned(),
        Activation::HardSigmoid => "hard-sigmoid".to_owned(),
        Activation::Tanh => "tanh".to_owned(),
        Activation::Silu => "SiLU".to_owned(),
        Activation::HardSwish => "hard-swish".to_owned(),
        Activation::Gelu => "GELU".to_owned(),
        Activation::GeluTanh => "GELU by tanh".to_owned(),
        Activation::Exp => "exp".to_owned(),
        Activation::Log => "log".to_owned(),
        Activation::Sqrt => "square root".to_owned(),
        Activation::Erf => "erf".to_owned(),
        Activation::Softplus => "softplus".to_owned(),
        Activation::Mish => "Mish".to_owned(),
        Activation::Quantize { lo, hi, .. } => format!("quantize to {lo} .. {hi}"),
    }
}

fn sides([rows, columns]: [usize; 2]) -> String {
    format!("{rows}×{columns}")
}

fn stride(window: &Window) -> String {
    match window.stride {
        [1, 1] => String::new(),
        [rows, columns] if rows == columns => format!(" / {rows}"),
        both => format!(" / {}", sides(both)),
    }
}

fn extents(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// The items of each layer; edges that pass layers get a point in each.
fn lead_through_layers(items: &mut Vec<Item>) -> Vec<Vec<usize>> {
    for to in 0..items.len() {
        for edge in 0..items[to].above.len() {
            let mut from = items[to].above[edge];
            for layer in items[from].layer + 1..items[to].layer {
                items.push(Item { lines: Vec::new(), above: vec![from], layer, x: 0.0 });
                from = items.len() - 1;
            }
            items[to].above[edge] = from;
        }
    }
    let mut layers = vec![Vec::new(); items.iter().map(|item| item.layer + 1).max().unwrap_or(0)];
    for (i, item) in items.iter().enumerate() {
        layers[item.layer].push(i);
    }
    layers
}

/// Orders each layer by the mean position of what it hangs from, or of what hangs from it.
fn order(items: &[Item], layers: &mut [Vec<usize>], downwards: bool) {
    let mut below = vec![Vec::new(); items.len()];
    for (i, item) in items.iter().enumerate() {
        item.above.iter().for_each(|&above| below[above].push(i));
    }
    let mut position = vec![0.0; items.len()];
    let number = |layer: &[usize], position: &mut [f64]| {
        let middle = (layer.len() as f64 - 1.0) / 2.0;
        layer.iter().enumerate().for_each(|(place, &item)| position[item] = place as f64 - middle);
    };
    layers.iter().for_each(|layer| number(layer, &mut position));
    let sequence: Vec<usize> = if downwards { (0..layers.len()).collect() } else { (0..layers.len()).rev().collect() };
    for layer in sequence {
        let mean = |item: usize| {
            let neighbours = if downwards { &items[item].above } else { &below[item] };
            let sum: f64 = neighbours.iter().map(|&other| position[other]).sum();
            if neighbours.is_empty() { position[item] } else { sum / neighbours.len() as f64 }
        };
        let mut keyed: Vec<(f64, usize)> = layers[layer].iter().map(|&item| (mean(item), item)).collect();
        keyed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        layers[layer] = keyed.into_iter().map(|(_, item)| item).collect();
        number(&layers[layer], &mut position);
    }
}

/// Gives each item its place in its layer, layers centred; the width of the picture.
fn place(items: &mut [Item], layers: &[Vec<usize>]) -> f64 {
    let wide = |layer: &[usize], items: &[Item]| {
        layer.iter().map(|&item| items[item].width()).sum::<f64>() + GAP[0] * (layer.len() as f64 - 1.0)
    };
    let width = layers.iter().map(|layer| wide(layer, items)).fold(0.0, f64::max) + 2.0 * GAP[0];
    for layer in layers {
        let mut x = (width - wide(layer, items)) / 2.0;
        for &item in layer {
            let own = items[item].width();
            items[item].x = x + own / 2.0;
            x += own + GAP[0];
        }
    }
    width
}

fn draw(items: &[Item], layers: &[Vec<usize>], width: f64) -> String {
    let (mut curves, mut boxes) = (String::new(), String::new());
    let mut y = GAP[1] / 2.0;
    let mut spans = Vec::new();
    for layer in layers {
        let height = layer.iter().map(|&item| items[item].height()).fold(0.0, f64::max);
        spans.push((y, height));
        y += height + GAP[1];
    }
    // Writing to a String cannot fail.
    for item in items {
        let (top, height) = spans[item.layer];
        for &above in &item.above {
            let from = &items[above];
            let (start, room) = spans[from.layer];
            let (bottom, half) = (start + from.height(), (top - start - from.height()) / 2.0);
            let bottom = if from.lines.is_empty() { start + room } else { bottom };
            let half = half.min(GAP[1]);
            let _ = writeln!(
                curves,
                r#"<path d="M{:.1} {bottom:.1}C{:.1} {:.1} {:.1} {:.1} {:.1} {top:.1}"/>"#,
                from.x,
                from.x,
                bottom + half,
                item.x,
                top - half,
                item.x
            );
        }
        if item.lines.is_empty() {
            let _ = writeln!(curves, r#"<path d="M{:.1} {top:.1}V{:.1}"/>"#, item.x, top + height);
            continue;
        }
        let (left, wide, high) = (item.x - item.width() / 2.0, item.width(), item.height());
        let _ = writeln!(boxes, r#"<rect x="{left:.1}" y="{top:.1}" width="{wide:.1}" height="{high:.1}" rx="4"/>"#);
        for (i, line) in item.lines.iter().enumerate() {
            let baseline = top + LINE * (i as f64 + 1.0);
            let _ = writeln!(boxes, r#"<text x="{:.1}" y="{baseline:.1}">{}</text>"#, item.x, escape(line));
        }
    }
    let height = y - GAP[1] / 2.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"monospace\" font-size=\"12\" text-anchor=\"middle\">\n\
         <g fill=\"none\" stroke=\"#888\">\n{curves}</g>\n<g fill=\"#fff\" stroke=\"#555\">\n{}</g>\n\
         <g fill=\"#222\">\n{}</g>\n</svg>\n",
        lines_of(&boxes, "<rect"),
        lines_of(&boxes, "<text"),
    )
}

/// The lines of a text that begin so.
fn lines_of(text: &str, start: &str) -> String {
    text.lines().filter(|line| line.starts_with(start)).map(|line| format!("{line}\n")).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::sample::every_op;
    use super::*;
    use crate::front::{NoFiles, load};

    #[test]
    fn a_block_is_drawn_in_layers_without_boxes_that_overlap() {
        let graph = load("zoo:googlenet", None, &["image=[1, 3, 64, 64]".to_owned()], &NoFiles).expect("a network");
        for graph in [&graph, &every_op()] {
            let mut items = boxes(graph);
            let mut layers = lead_through_layers(&mut items);
            for sweep in 0..SWEEPS {
                order(&items, &mut layers, sweep % 2 == 0);
            }
            let width = place(&mut items, &layers);
            for item in &items {
                assert!(item.above.iter().all(|&above| items[above].layer + 1 == item.layer));
            }
            for layer in &layers {
                let edges =
                    layer.iter().flat_map(|&i| [-1.0, 1.0].map(|side| items[i].x + side * items[i].width() / 2.0));
                let edges: Vec<f64> = edges.collect();
                assert!(
                    edges.windows(2).all(|pair| pair[0] <= pair[1]) && edges.iter().all(|x| (0.0..=width).contains(x))
                );
            }
            let svg = print(graph);
            assert_eq!(svg.matches("<rect").count(), items.iter().filter(|item| !item.lines.is_empty()).count());
            let shapes: Vec<&str> = svg.lines().filter(|line| !line.starts_with("<text")).collect();
            assert!(!shapes.iter().any(|line| line.contains("NaN") || line.contains("inf")));
        }
    }

    #[test]
    fn what_follows_an_operator_stands_in_its_box() {
        let text = "pub net Net(x: [1, 8, 6, 6]) {
            let y = x.conv(8, 3, stride = 2, padding = 1, groups = 8).bn().relu6();
            concat([y, x.avg_pool(2) * 0.5])
        }";
        let spec = crate::front::parse_text("net.net", text).expect("it parses");
        let graph = crate::front::elaborate(&spec, "Net", &Default::default(), &NoFiles).expect("a network");
        let lines: Vec<Vec<String>> = boxes(&graph).into_iter().map(|item| item.lines).collect();
        let wanted: [&[&str]; 4] = [
            &["x 1×8×6×6"],
            &["3×3 depthwise / 2, 8", "BatchNorm", "ReLU6"],
            &["2×2 average pool / 2", "× 0.5"],
            &["concat, 16"],
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn a_fused_node_keeps_its_kernel_stride_and_kind() {
        let text = r#"graph "Net"
"x" = input(): f32[1, 8, 6, 6]
"y" = fused("x", conv(channels = 8, kernel = 3, stride = 2, padding = 1, groups = 8), clip(lo = 0.0, hi = 6.0)): f32[1, 8, 3, 3]
  weight = kernel("y.weight", [8, 1, 3, 3])
"z" = fused("y", affine, conv(channels = 20, kernel = [1, 5], padding = [0, 2], groups = 4)): f32[1, 20, 3, 3]
  weight = kernel("z.weight", [20, 2, 1, 5])
  gamma = gamma("z.gamma", [8])
  beta = bias("z.beta", [8])
output "z" = "z"
"#;
        let graph = super::super::text::parse(text).expect("a graph");
        let lines: Vec<Vec<String>> = boxes(&graph).into_iter().map(|item| item.lines).collect();
        let wanted: [&[&str]; 3] =
            [&["x 1×8×6×6"], &["3×3 depthwise / 2, 8", "ReLU6"], &["affine", "1×5 conv, 20 in 4 groups"]];
        assert_eq!(lines, wanted);
    }
}
