//! What is written, by name, and what it computes when it is read back.

use std::fmt::Write;

use kiln_rt::weights::FillSource;

use super::{Model, emit};
use crate::front::onnx::{Bytes, Folder, Import, Settings, import};
use crate::graph::infer::window_outputs;
use crate::graph::sample::{add, every_op, random};
use crate::graph::verify::verify;
use crate::graph::{
    Activation, Coordinates, Core, F32, Filter, Graph, Op, Origin, Pads, Pool, Resize, Rounding, Scale, Stage,
    TensorType, Verified, Window, interp,
};
use crate::onnx_schema::{AttributeProto, Message, ModelProto, NodeProto, ValueInfoProto, type_proto};
use crate::optimize::fold_batch_norms;

const WEIGHTS: FillSource = FillSource { gain: 2.0 };

/// A folder with one file.
struct Beside(&'static str, Bytes);

impl Folder for Beside {
    fn open(&self, path: &str) -> Result<Bytes, String> {
        if path == self.0 { Ok(self.1.clone()) } else { Err(format!("there is no file {path}")) }
    }
}

fn verified(graph: Graph) -> Verified<Graph> {
    verify(graph).unwrap_or_else(|found| panic!("{found:?}"))
}

fn bytes(model: &Model) -> Vec<u8> {
    let mut bytes = Vec::new();
    model.write(&WEIGHTS, &mut bytes).expect("all weights are there");
    assert_eq!(bytes.len() as u64, model.size());
    bytes
}

fn read_back(bytes: Vec<u8>) -> Import {
    import("m.onnx", bytes.into(), &Settings::default(), &Beside("", Bytes::new()))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A number a seed and a place, of both signs.
fn inputs(graph: &Graph, seed: usize) -> Vec<Vec<f32>> {
    let value = |i: usize| ((i * 37 + seed * 11) % 23) as f32 / 8.0 - 1.25;
    graph.inputs().iter().map(|&id| (0..graph.node(id).ty.len()).map(value).collect()).collect()
}

/// The model computes what the graph does.
fn holds(graph: &Verified<Graph>, seed: usize) {
    let Import { graph: read, tensors, .. } = read_back(bytes(&emit(graph)));
    let inputs = inputs(graph, seed);
    let expected = interp::run_f32(graph, &WEIGHTS, &inputs).expect("the oracle runs");
    let found = interp::run_f32(&read, &tensors, &inputs).expect("the oracle runs");
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let shapes = [graph, &read].map(|graph| &graph.node(graph.outputs()[i].node).ty);
        assert_eq!(shapes[0], shapes[1], "seed {seed}, output {i}");
        let largest = expected.iter().fold(1e-30f32, |m, v| if v.is_finite() { m.max(v.abs()) } else { m });
        // A node that is spelled out rounds between its parts.
        let near = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-5 * largest;
        assert!(found.iter().zip(expected).all(near), "seed {seed}, output {i}: {found:?} for {expected:?}");
    }
}

/// Whether a graph has what kiln writes and does not read: the Round of an `Activation::Quantize`.
fn has_round(graph: &Graph) -> bool {
    let rounds = |activation: &Activation| matches!(activation, Activation::Quantize { .. });
    graph.ids().any(|id| match &graph.node(id).op {
        Op::Activate(activation) => rounds(activation),
        Op::Fused { before, after, .. } => {
            before.iter().chain(after).any(|stage| matches!(stage, Stage::Activate(activation) if rounds(activation)))
        }
        Op::Input(_)
        | Op::Constant(_)
        | Op::Weight { .. }
        | Op::Conv(_)
        | Op::Linear(_)
        | Op::BatchNorm { .. }
        | Op::Cast(_)
        | Op::Binary(_)
        | Op::MatMul
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Softmax { .. }
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Resize(_)
        | Op::Dropout
        | Op::Identity => false,
    })
}

/// A model in lines: inputs, outputs, initializers, nodes.
fn listing(proto: &ModelProto) -> String {
    let graph = proto.graph.as_ref().expect("a graph");
    let info = |info: &ValueInfoProto| {
        let ty = info.r#type.as_ref().and_then(|ty| ty.value.as_ref());
        let Some(type_proto::Value::TensorType(tensor)) = ty else { panic!("{info:?} is no tensor") };
        let dims = tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dim| match dim.value {
            Some(crate::onnx_schema::tensor_shape_proto::dimension::Value::DimValue(extent)) => extent,
            ref other => panic!("{other:?} is no extent"),
        });
        format!("{:?} type {} {:?}", info.name(), tensor.elem_type(), dims.collect::<Vec<_>>())
    };
    let attribute = |attribute: &AttributeProto| {
        let AttributeProto { i, f, s, ints, .. } = attribute;
        let value = match (i, f, s) {
            (Some(i), ..) => i.to_string(),
            (_, Some(f), _) => format!("{f:?}"),
            (.., Some(s)) => format!("{s:?}"),
            _ => format!("{ints:?}"),
        };
        format!(" {}={value}", attribute.name())
    };
    let node = |node: &NodeProto| {
        let attributes: String = node.attribute.iter().map(attribute).collect();
        format!("{:?}: {} {:?} -> {:?}{attributes}", node.name(), node.op_type(), node.input, node.output)
    };
    let mut text = format!("{} {:?}\n", graph.name(), proto.doc_string());
    graph.input.iter().for_each(|input| writeln!(text, "input {}", info(input)).expect("text"));
    graph.output.iter().for_each(|output| writeln!(text, "output {}", info(output)).expect("text"));
    for tensor in &graph.initializer {
        let values = if tensor.int64_data.is_empty() { String::new() } else { format!(" {:?}", tensor.int64_data) };
        writeln!(text, "{:?} type {} {:?}{values}", tensor.name(), tensor.data_type(), tensor.dims).expect("text");
    }
    graph.node.iter().for_each(|of| writeln!(text, "{}", node(of)).expect("text"));
    text
}

#[test]
fn every_operator_is_written() {
    let proto = ModelProto::decode(&*bytes(&emit(&verified(every_op())))).expect("a model");
    assert_eq!((proto.ir_version(), proto.opset_import[0].version()), (8, 17));
    insta::assert_snapshot!(listing(&proto));
}

#[test]
fn random_networks_compute_the_same_when_they_are_read_back() {
    let mut run = 0;
    for seed in 0..400 {
        let graph = random(seed as u64);
        if !has_round(&graph) {
            holds(&verified(graph), seed);
            run += 1;
        }
    }
    assert!(run > 250, "{run}");
}

#[test]
fn folded_networks_compute_the_same_and_keep_the_names_of_their_layers() {
    let mut folded = 0;
    for seed in 0..2000 {
        let graph = verified(random(seed as u64));
        if has_round(&graph) {
            continue;
        }
        let norms = |graph: &Graph| {
            graph.order().iter().filter(|&&id| matches!(graph.node(id).op, Op::BatchNorm { .. })).count()
        };
        let after = verified(fold_batch_norms(&graph).graph);
        folded += norms(&graph) - norms(&after);
        holds(&after, seed);
        for id in after.order() {
            let node = after.node(id);
            assert!(graph.find(&node.origin.name).is_some(), "{}", node.origin.name);
            let inner = after.operands(id).first().map(|&x| after.node(x));
            if matches!(node.op, Op::BatchNorm { .. })
                && let Some(inner) = inner
                && matches!(inner.op, Op::Conv(_) | Op::Linear(_))
            {
                let id = after.find(&inner.origin.name).expect("it is there");
                let others = after.users(id).len() + after.outputs().iter().filter(|output| output.node == id).count();
                assert!(others > 1, "seed {seed}: {}", node.origin.name);
            }
        }
    }
    assert!(folded > 30, "{folded}");
}

/// A network of one operator over an image.
fn one(op: Op, shape: [usize; 4]) -> Verified<Graph> {
    let mut graph = Graph::new("One");
    let x = add(&mut graph, Op::Input(TensorType::f32(shape)), &[], "x").expect("an input");
    let y = add(&mut graph, op, &[x], "y").expect("it fits");
    graph.add_output("y", y);
    verified(graph)
}

#[test]
fn pools_of_all_geometries_are_written_without_what_engines_read_differently() {
    let (mut tried, mut ceil) = (0, 0);
    for seed in 0..4000usize {
        let pick = |place: usize, of: usize| seed / [1, 2, 4, 12, 36, 72, 144, 288, 576, 1152][place] % of;
        let window = Window {
            kernel: [1 + pick(2, 3), 2],
            stride: [1 + pick(3, 3), 2],
            pads: Pads { top: pick(4, 2), left: pick(5, 2), bottom: pick(6, 2), right: 0 },
            dilation: [1 + pick(7, 2), 1],
        };
        let pool = Pool { window, ceil_mode: pick(0, 2) == 1, count_include_pad: pick(1, 2) == 1 };
        let [h, w] = [5 + pick(8, 2), 4 + pick(9, 3)];
        for op in [Op::MaxPool(pool), Op::AvgPool(pool)] {
            let mut graph = Graph::new("Pool");
            let x = add(&mut graph, Op::Input(TensorType::f32([1, 2, h, w])), &[], "x").expect("an input");
            let Some(y) = add(&mut graph, op, &[x], "y") else { continue };
            graph.add_output("y", y);
            let graph = verified(graph);
            tried += 1;
            for node in &ModelProto::decode(&*bytes(&emit(&graph))).expect("a model").graph.expect("a graph").node {
                ceil += usize::from(is_plain(node, [h, w]));
            }
            holds(&graph, seed);
        }
    }
    assert!(tried > 4000 && ceil > 100, "{tried}, {ceil}");
}

/// Whether a pool rounds up; then ONNX's count of outputs is PyTorch's, and its windows do not reach past padding that
/// counts. Padding is less than the kernel.
fn is_plain(node: &NodeProto, map: [usize; 2]) -> bool {
    let ints = |name: &str| -> Option<Vec<usize>> {
        let found = node.attribute.iter().find(|attribute| attribute.name() == name)?;
        Some(found.ints.iter().map(|&i| i as usize).collect())
    };
    let int = |name: &str| node.attribute.iter().find(|attribute| attribute.name() == name).map_or(0, |a| a.i());
    if !matches!(node.op_type(), "MaxPool" | "AveragePool") {
        return false;
    }
    let (kernel, stride, pads) = (ints("kernel_shape").unwrap(), ints("strides").unwrap(), ints("pads").unwrap());
    assert!((0..4).all(|i| pads[i] < kernel[i % 2]), "{node:?}");
    if int("ceil_mode") == 0 {
        return false;
    }
    // A map behind a Pad has other extents; its padding is there.
    if node.input[0] == "x" {
        let dilation = ints("dilations").unwrap_or(vec![1, 1]);
        let window = Window {
            kernel: [kernel[0], kernel[1]],
            stride: [stride[0], stride[1]],
            pads: Pads { top: pads[0], left: pads[1], bottom: pads[2], right: pads[3] },
            dilation: [dilation[0], dilation[1]],
        };
        let by_pytorch = window_outputs(&window, map[0], map[1], true).expect("it fits");
        for i in 0..2 {
            let room = map[i] + pads[i] + pads[i + 2] - window.reach()[i];
            assert_eq!(by_pytorch[i], room.div_ceil(stride[i]) + 1, "{node:?}");
            assert!(int("count_include_pad") == 0 || room.is_multiple_of(stride[i]), "{node:?}");
        }
    }
    true
}

#[test]
fn a_resize_says_its_scale_or_its_size_or_is_spelled_out() {
    let resize = |size, scale: [Scale; 2], filter| {
        let op = Op::Resize(Resize { size, scale, filter, coordinates: Coordinates::HalfPixel });
        let graph = one(op, [1, 2, 4, 3]);
        let proto = ModelProto::decode(&*bytes(&emit(&graph))).expect("a model").graph.expect("a graph");
        let last = proto.node.last().expect("a node");
        let said = last.input.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        if last.op_type() == "Resize" {
            holds(&graph, 3);
        }
        format!("{} {said}", last.op_type())
    };
    let by = |scale: [f32; 2]| scale.map(|by| Scale::Number(F32::new(by)));
    let to = |[rows, columns]: [usize; 2]| {
        [Scale::Ratio { outputs: rows, inputs: 4 }, Scale::Ratio { outputs: columns, inputs: 3 }]
    };
    let nearest = Filter::Nearest(Rounding::HalfUp);
    assert_eq!(resize([6, 2], by([1.5, 0.75]), Filter::Linear), "Resize x,,y.scales");
    assert_eq!(resize([7, 5], by([7.0 / 4.0, 5.0 / 3.0]), Filter::Linear), "Resize x,,y.scales");
    assert_eq!(resize([7, 5], to([7, 5]), Filter::Linear), "Resize x,,,y.sizes");
    assert_eq!(resize([7, 5], to([7, 5]), nearest), "Resize x,,,y.sizes");
    assert_eq!(resize([4, 5], [to([4, 5])[0], by([5.0 / 3.0; 2])[1]], nearest), "Resize x,,y.scales");
    // A size that is not the product is said by neither.
    assert_eq!(resize([5, 3], by([1.5, 0.75]), Filter::Linear), "Add y.shared#3,y.shared#4");
    assert_eq!(resize([5, 3], to([6, 3]), nearest), "Gather y.rows,y.index#2");
}

/// ONNX Runtime rounds the quotient of two sizes, and takes element 12 where the place is 13.
#[test]
fn a_resize_of_other_elements_than_its_sizes_say_is_spelled_out() {
    let emitted = |inputs: usize, outputs: usize, scale: Scale| {
        let filter = Filter::Nearest(Rounding::Floor);
        let scale = [Scale::Ratio { outputs: 1, inputs: 1 }, scale];
        let resize = Resize { size: [1, outputs], scale, filter, coordinates: Coordinates::Asymmetric };
        let graph = one(Op::Resize(resize), [1, 1, 1, inputs]);
        let proto = ModelProto::decode(&*bytes(&emit(&graph))).expect("a model").graph.expect("a graph");
        holds(&graph, 3);
        let last = proto.node.last().expect("a node");
        format!("{} {}", last.op_type(), last.input.join(","))
    };
    assert_eq!(emitted(26, 64, Scale::Ratio { outputs: 64, inputs: 26 }), "Gather y.rows,y.index#2");
    assert_eq!(emitted(26, 64, Scale::Number(F32::new(64.0 / 26.0))), "Resize x,,y.scales");
    // Of 7 elements that many are 30.999998.
    assert_eq!(emitted(7, 31, Scale::Number(F32::new(31.0 / 7.0))), "Resize x,,,y.sizes");
}

#[test]
fn outputs_that_are_inputs_literals_or_other_outputs_stand_behind_an_identity() {
    let mut graph = Graph::new("Same");
    let x = add(&mut graph, Op::Input(TensorType::f32([1, 2, 3, 3])), &[], "x").expect("an input");
    let anchors = add(&mut graph, Op::Weight { shape: vec![2, 1, 1] }, &[], "anchors").expect("a weight");
    let y = add(&mut graph, Op::Activate(Activation::Relu), &[x], "relu").expect("it fits");
    for (name, node) in [("a", y), ("b", y), ("same", x), ("anchors", anchors), ("x", y)] {
        graph.add_output(name, node);
    }
    let graph = verified(graph);
    let proto = ModelProto::decode(&*bytes(&emit(&graph))).expect("a model");
    insta::assert_snapshot!(listing(&proto));
    holds(&graph, 1);
}

#[test]
fn weights_keep_their_names_and_what_is_made_of_them_is_named_for_its_node() {
    let mut graph = Graph::new("Named");
    let x = add(&mut graph, Op::Input(TensorType::f32([1, 2, 3, 3])), &[], "features.0.weight").expect("an input");
    let kernel = graph.weights.read("kernel", crate::graph::weights::Kind::Kernel, &[2, 2, 1, 1]);
    let twice = graph.weights.times(kernel, 2.0);
    let swapped = graph.weights.gather(kernel, 0, &[1, 0]);
    let conv = crate::graph::Conv { channels: 2, window: Window::POINT, groups: 1, bias: false };
    let mut y = x;
    for (i, weight) in [twice, swapped, kernel, kernel].into_iter().enumerate() {
        y = graph.add(Op::Conv(conv), &[y], vec![weight], Origin::named(format!("conv.{i}"))).expect("it fits");
    }
    let core = Core::Identity;
    let after = vec![Stage::Add];
    let y =
        graph.add(Op::Fused { before: vec![], core, after }, &[y, x], vec![], Origin::named("sum")).expect("it fits");
    graph.add_output("y", y);
    let graph = verified(graph);
    let proto = ModelProto::decode(&*bytes(&emit(&graph))).expect("a model");
    insta::assert_snapshot!(listing(&proto));
    holds(&graph, 2);
}

#[test]
fn weights_in_a_file_of_their_own_are_the_same() {
    for seed in (0..40).filter(|&seed| !has_round(&random(seed))) {
        let graph = verified(random(seed));
        let model = emit(&graph);
        let mut data = Vec::new();
        model.write_weights(&WEIGHTS, &mut data).expect("all weights are there");
        let file = model.without_weights("m.onnx.data").into();
        let folder = Beside("m.onnx.data", data.into());
        let apart = import("m.onnx", file, &Settings::default(), &folder).unwrap_or_else(|error| panic!("{error}"));
        let whole = read_back(bytes(&model));
        let inputs = inputs(&graph, seed as usize);
        let [apart, whole] =
            [apart, whole].map(|Import { graph, tensors, .. }| interp::run_f32(&graph, &tensors, &inputs));
        let bits = |values: Vec<Vec<f32>>| values.concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(apart.expect("it runs")), bits(whole.expect("it runs")));
    }
}

#[test]
fn tensors_that_are_missing_are_told_before_anything_is_written() {
    let graph = verified(every_op());
    let nothing = kiln_rt::safetensors::write([]);
    let source = kiln_rt::safetensors::SafeTensors::parse(&nothing).expect("an empty file");
    let mut out = Vec::new();
    let error = emit(&graph).write(&source, &mut out).expect_err("nothing is there").to_string();
    assert!(error.contains("`conv.0`") && error.contains("`linear.1`"), "{error}");
    assert!(out.is_empty());
}
