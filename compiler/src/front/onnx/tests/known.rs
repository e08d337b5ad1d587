//! What is known when a network is compiled: inputs whose values are given, weights that are computed, branches.

use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::tensor_proto::DataType;
use super::super::proto::{AttributeProto, Bytes, GraphProto, TensorProto};
use super::super::{Import, Settings, import};
use super::model::{Is, Model, floats, integers};
use super::{Alone, answers, imported, mistakes, near, ramp};
use crate::graph::{DType, Elements, Op, interp};
use crate::pipeline::{Options, compile};

/// A network that needs the shape and the kernel, and not the rest.
fn shaped() -> Model {
    Model::new(17)
        .open_input("x", &["N", "4"])
        .typed_input("shape", DataType::Int64, &[4])
        .input("w", &[3, 2, 1, 1])
        .input("b", &[1])
        .node("Identity", "shape", "same", &[])
        .node("Reshape", "x same", "r", &[])
        .node("Conv", "r w", "p", &[])
        .node("Add", "p b", "y", &[])
        .output("y")
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.offer(Some("x"), vec![2, 4], Elements::F32(ramp(8)));
    settings.offer(Some("shape"), vec![4], Elements::I64(vec![4, 2, 1, 1]));
    settings.offer(Some("w"), vec![3, 2, 1, 1], Elements::F32(vec![1.0, 0.0, 0.0, 1.0, 2.0, -1.0]));
    settings.offer(Some("b"), vec![1], Elements::F32(vec![0.5]));
    settings
}

#[test]
fn inputs_that_nodes_need_become_constants_and_others_stay() {
    let import = import("m.onnx", shaped().bytes(), &settings(), &Alone).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(import.constants, ["shape", "w"]);
    let note = |name: &str| format!("the input `{name}` is a constant of the network, of the value that is given");
    assert_eq!(import.notes, [note("shape"), note("w")]);
    let inputs: Vec<_> = import.graph.inputs().iter().map(|&id| import.graph.node(id)).collect();
    let described: Vec<_> = inputs.iter().map(|node| (node.origin.name.as_str(), node.ty.shape.clone())).collect();
    assert_eq!(described, [("x", vec![2, 4]), ("b", vec![1])], "an open extent is the offered value's");
    let x = ramp(8);
    let y = interp::run_f32(&import.graph, &import.tensors, &[x.clone(), vec![0.5]]).expect("it runs");
    let by_hand: Vec<f32> =
        x.chunks(2).flat_map(|row| [row[0] + 0.5, row[1] + 0.5, 2.0 * row[0] - row[1] + 0.5]).collect();
    assert_eq!(y, [by_hand]);
}

#[test]
fn an_input_may_be_fixed_where_no_node_needs_it() {
    let mut settings = settings();
    settings.fix("b", vec![1], Elements::F32(vec![0.5]));
    let import = import("m.onnx", shaped().bytes(), &settings, &Alone);
    assert_eq!(import.expect("a network").constants, ["shape", "w", "b"]);
    let mut settings = Settings::default();
    settings.fix("x", vec![1, 2], Elements::F32(vec![1.0, 2.0]));
    settings.fix("z", vec![1], Elements::F32(vec![1.0]));
    let model = Model::new(17).input("x", &[1, 3]).node("Relu", "x", "y", &[]).output("y");
    let error = super::super::import("m.onnx", model.bytes(), &settings, &Alone).expect_err("a mistake").to_string();
    assert!(error.contains("the input `x` is [1, 3], and its value [1, 2]"), "{error}");
    assert!(error.contains("has no input `z`; it has `x`"), "{error}");
}

#[test]
fn values_have_the_type_of_their_input() {
    let model = |of: DataType| {
        Model::new(17).input("x", &[4]).typed_input("s", of, &[1]).node("Reshape", "x s", "y", &[]).output("y")
    };
    let given = |of: DataType, value: Elements| {
        let mut settings = Settings::default();
        settings.offer(Some("s"), vec![1], value);
        import("m.onnx", model(of).bytes(), &settings, &Alone).map(|import| import.constants)
    };
    assert_eq!(given(DataType::Int64, Elements::F32(vec![4.0])).expect("a network"), ["s"]);
    // No network has inputs of that type, but constants.
    assert_eq!(given(DataType::Uint16, Elements::I32(vec![4])).expect("a network"), ["s"]);
    let error = given(DataType::Int64, Elements::F32(vec![0.5])).expect_err("no integer").to_string();
    assert!(error.contains("holds numbers that are none of"), "{error}");
}

#[test]
fn what_is_not_offered_is_still_asked_for() {
    let mut settings = Settings::default();
    settings.offer(Some("x"), vec![2, 4], Elements::F32(ramp(8)));
    let error = import("m.onnx", shaped().bytes(), &settings, &Alone).expect_err("a mistake").to_string();
    assert!(error.contains("its input 2, `same`, depends on the network's inputs"), "{error}");
    assert!(error.contains("make it a constant: `--constant shape=FILE.npy`"), "{error}");
}

/// What the outputs are made of stays an input, and a network that cannot compute it is refused as it is built.
#[test]
fn data_are_no_constants() {
    let image = || Elements::F32(ramp(8));
    let refused = |model: Model| {
        let mut settings = Settings::default();
        settings.offer(Some("x"), vec![2, 4], image());
        import("m.onnx", model.bytes(), &settings, &Alone).expect_err("a mistake").to_string()
    };
    let model = || Model::new(17).input("x", &[2, 4]);
    let said = refused(model().node("Relu", "x", "r", &[]).node("ArgMax", "r", "y", &[]).output("y"));
    assert!(said.contains("ArgMax `y`: kiln computes it of values alone that do not depend"), "{said}");
    assert!(!said.contains("--constant"), "{said}");
    let shape = model().node("Relu", "x", "r", &[]).node("Reshape", "r x", "y", &[]).output("y");
    let said = refused(shape);
    assert!(
        said.contains("its input 2, `x`, depends on the network's inputs") && !said.contains("--constant"),
        "{said}"
    );
    // What only says how is a constant, also where it is computed of values alone.
    let of_shape = model()
        .input("s", &[2])
        .node("Floor", "s", "f", &[])
        .node("Cast", "f", "i", &[("to", Is::Int(7))])
        .node("Reshape", "x i", "y", &[])
        .output("y");
    let mut settings = Settings::default();
    settings.offer(Some("x"), vec![2, 4], image());
    settings.offer(Some("s"), vec![2], Elements::F32(vec![4.5, 2.0]));
    let found = import("m.onnx", of_shape.bytes(), &settings, &Alone).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.constants, ["s"]);
    // What is made a constant by name is one.
    let mut settings = Settings::default();
    settings.fix("x", vec![2, 4], image());
    let model = model().node("ArgMax", "x", "y", &[("axis", Is::Int(1))]).output("y");
    let found = import("m.onnx", model.bytes(), &settings, &Alone).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((found.constants, found.notes), (vec!["x".to_owned()], vec![]));
}

#[test]
fn halves_at_the_door_are_floats() {
    let half = Model::new(17).typed_input("x", DataType::Float16, &[2]).node("Relu", "x", "y", &[]).output("y");
    let Import { graph, .. } = imported(&half);
    assert_eq!(graph.node(graph.inputs()[0]).ty.dtype, DType::F32);
}

#[test]
fn weights_may_be_computed_of_others() {
    // W + B A, as low-rank adaptation has it.
    let model = Model::new(17)
        .input("x", &[2, 2])
        .weight("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0])
        .weight("b", &[2, 1], &[1.0, -1.0])
        .weight("a", &[1, 2], &[10.0, 20.0])
        .node("MatMul", "b a", "ba", &[])
        .node("Add", "w ba", "sum", &[])
        .node("Relu", "sum", "kernel", &[])
        .node("MatMul", "x kernel", "y", &[])
        .output("y");
    let Import { graph, .. } = imported(&model);
    let linear = graph.order().into_iter().filter(|&id| matches!(graph.node(id).op, Op::Linear(_))).count();
    assert_eq!(linear, 1, "the product of constants is none of the network's");
    assert_eq!(answers(&model, &[vec![1.0, 1.0, 2.0, 0.0]]), [[11.0, 22.0, 22.0, 44.0]]);
}

#[test]
fn what_takes_long_to_compute_is_left_to_the_network() {
    let convolved = |extent: i64, kernel: usize| {
        let taps = vec![0.5; 16 * 16 * kernel * kernel];
        let model = Model::new(17)
            .input("x", &[1])
            .integers("s", &[4], &[1, 16, extent, extent])
            .node("ConstantOfShape", "s", "big", &[])
            .weight("w", &[16, 16, kernel as i64, kernel as i64], &taps)
            .node("Conv", "big w", "c", &[])
            .node("GlobalAveragePool", "c", "p", &[])
            .node("Add", "x p", "y", &[])
            .output("y");
        let graph = imported(&model).graph;
        graph.order().into_iter().filter(|&id| matches!(graph.node(id).op, Op::Conv(_))).count()
    };
    assert_eq!([convolved(16, 3), convolved(512, 3)], [0, 1]);
    // Pools multiply nothing, and look at as many elements.
    let wide = [("kernel_shape", Is::Ints(&[1001, 1001]))];
    let pooled = Model::new(17)
        .input("x", &[1])
        .integers("s", &[4], &[1, 1, 2000, 2000])
        .node("ConstantOfShape", "s", "big", &[])
        .node("MaxPool", "big", "c", &wide)
        .node("GlobalAveragePool", "c", "p", &[])
        .node("Add", "x p", "y", &[])
        .output("y");
    imported(&pooled);
}

/// A branch that gives `y`, a sum of `x` and a constant.
fn branch(value: f32) -> Box<GraphProto> {
    let mut model = Model::new(17).node("Add", "x c", "y", &[]).output("y");
    model.graph().initializer.push(floats("c", &[1], &[value]));
    Box::new(model.graph().clone())
}

fn chosen(mut model: Model, condition: &str) -> Model {
    model = model.node("If", condition, "z", &[]).output("z");
    let graph = |name: &str, value: f32| AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(branch(value)),
        ..Default::default()
    };
    let node = model.graph().node.last_mut().expect("a node");
    node.attribute = vec![graph("then_branch", 1.0), graph("else_branch", 2.0)];
    model
}

#[test]
fn of_an_if_the_branch_is_taken_that_a_known_condition_says() {
    for (rank, sum) in [(2, 1.0), (3, 2.0)] {
        // Whether the input has two axes.
        let model = Model::new(17)
            .input("given", &[1, 3])
            .node("Relu", "given", "x", &[])
            .node("Shape", "x", "shape", &[])
            .node("Size", "shape", "rank", &[])
            .integers("two", &[], &[rank])
            .node("Equal", "rank two", "is", &[]);
        assert_eq!(answers(&chosen(model, "is"), &[vec![1.0, 2.0, 3.0]]), [[1.0 + sum, 2.0 + sum, 3.0 + sum]]);
    }
    let open = chosen(Model::new(17).input("x", &[3]).typed_input("is", DataType::Bool, &[]), "is");
    assert!(mistakes(open.bytes()).contains("its input 1, `is`, depends on the network's inputs"));
    let empty = Model::new(17).input("x", &[3]).typed("is", DataType::Bool, &[], &[1]);
    let empty = empty.node("If", "is", "z", &[]).output("z");
    assert!(mistakes(empty.bytes()).contains("it has no then_branch"));
}

#[test]
fn names_of_a_branch_do_not_leave_it() {
    let taken = Model::new(17).input("x", &[3]).typed("is", DataType::Bool, &[], &[1]);
    let outside = chosen(taken, "is").node("Relu", "c", "w", &[]).output("w");
    assert!(mistakes(outside.bytes()).contains("nothing gives `c`"));
}

/// An `If` that takes a branch.
fn taken(model: Model, branch: Model, output: &str) -> Model {
    let mut model = model.node("If", "is", output, &[]);
    let graph = AttributeProto {
        name: Some("then_branch".to_owned()),
        r#type: Some(AttributeType::Graph as i32),
        g: branch.proto.graph.map(Box::new),
        ..Default::default()
    };
    model.graph().node.last_mut().expect("a node").attribute.push(graph);
    model
}

#[test]
fn branches_may_use_the_same_names() {
    // Small values and large ones, which are weights.
    for len in [4, 2000] {
        let of = |value: f32| {
            let weights = vec![value; len];
            Model::new(17).weight("w", &[len as i64], &weights).node("Mul", "x w", "inner", &[]).output("inner")
        };
        let model = Model::new(17).input("x", &[len as i64]).typed("is", DataType::Bool, &[], &[1]);
        let model = taken(taken(model, of(1.0), "a"), of(2.0), "b").node("Add", "a b", "y", &[]).output("y");
        assert_eq!(answers(&model, &[vec![1.0; len]]), [vec![3.0; len]]);
    }
}

#[test]
fn branches_lie_in_branches_and_shadow_what_is_around_them() {
    let start = || Model::new(17).input("x", &[2]).typed("is", DataType::Bool, &[], &[1]);
    let inner = Model::new(17).node("Neg", "w", "v", &[]).output("v");
    let outer = taken(Model::new(17).node("Add", "x x", "w", &[]), inner, "v").output("v");
    // The `w` outside is made later, of what the branch gives; so is the `If`'s own result of an inner name.
    let model = taken(start(), outer, "v").node("Add", "v x", "w", &[]).output("w");
    assert_eq!(answers(&model, &[vec![1.0, 2.0]]), [[-1.0, -2.0]]);
    let mut deep = Model::new(17).node("Relu", "x", "v", &[]).output("v");
    for _ in 0..18 {
        deep = taken(Model::new(17), deep, "v").output("v");
    }
    let said = mistakes(taken(start(), deep, "y").output("y").bytes());
    assert!(said.contains("more than 16 deep") && said.matches("error:").count() == 1, "{said}");
}

#[test]
fn results_that_nobody_wants_are_no_inputs() {
    let model = Model::new(17)
        .input("x", &[6])
        .weight("hi", &[], &[100.0])
        .node("Split", "x", "a _ c", &[])
        .node("Clip", "c _ hi", "y", &[])
        .output("y");
    assert_eq!(answers(&model, &[vec![1.0, 2.0, 30.0, 40.0, 5.0, 6.0]]), [[5.0, 6.0]]);
}

/// A tensor of a type, of bytes.
fn raw(name: &str, of: DataType, shape: &[i64], bytes: &[u8]) -> TensorProto {
    let (name, raw_data) = (Some(name.to_owned()), Some(Bytes::copy_from_slice(bytes)));
    TensorProto { name, dims: shape.to_vec(), data_type: Some(of as i32), raw_data, ..Default::default() }
}

#[test]
fn weights_of_four_bits_are_read_and_dequantized() {
    // -8, 7 and -1: the first in the low bits of the first byte.
    let mut model = Model::new(21)
        .input("x", &[3])
        .weight("scale", &[], &[0.5])
        .node("DequantizeLinear", "q scale", "w", &[])
        .node("Mul", "x w", "y", &[])
        .output("y");
    model.graph().initializer.push(raw("q", DataType::Int4, &[3], &[0x78, 0x0f]));
    assert_eq!(answers(&model, &[vec![1.0, 2.0, 4.0]]), [[-4.0, 7.0, -2.0]]);
    model.graph().initializer.pop();
    model.graph().initializer.push(raw("q", DataType::Float8e4m3fn, &[3], &[0x38, 0xb8, 0x7e]));
    assert_eq!(answers(&model, &[vec![1.0, 2.0, 1.0]]), [[0.5, -1.0, 224.0]]);
}

#[test]
fn a_zero_point_of_four_bits_bounds_what_is_quantized() {
    let mut model = Model::new(21)
        .input("x", &[3])
        .weight("scale", &[], &[1.0])
        .node("QuantizeLinear", "x scale zero", "q", &[])
        .node("DequantizeLinear", "q scale zero", "y", &[])
        .output("y");
    model.graph().initializer.push(raw("zero", DataType::Int4, &[], &[0]));
    assert_eq!(answers(&model, &[vec![100.0, -100.0, 3.0]]), [[7.0, -8.0, 3.0]]);
}

#[test]
fn constants_of_large_integers_can_be_given() {
    let values = [1 << 53, -(1 << 53), -1, (1 << 53) - 1, 0, -(1 << 24), (1 << 48) + 1];
    let mut model = Model::new(17).input("x", &[1]).node("Identity", "big", "y", &[]).output("y");
    model.graph().initializer.push(integers("big", &[7], &values));
    let Import { graph, tensors, .. } = imported(&model);
    let found = interp::run(&graph, &tensors, &[Elements::F32(vec![0.0])]).expect("it runs");
    assert_eq!(found, [Elements::I64(values.to_vec())]);
}

#[test]
fn integers_that_are_cast_lose_the_bits_that_do_not_fit() {
    let model = Model::new(17)
        .input("x", &[3])
        .integers("big", &[1], &[i64::MAX])
        .node("Cast", "big", "last", &[("to", Is::Int(DataType::Int32 as i64))])
        .node("Gather", "x last", "y", &[])
        .output("y");
    near(&answers(&model, &[vec![1.0, 2.0, 3.0]])[0], &[3.0], 0.0);
}

/// Nothing can be computed of them, but a network may give them.
#[test]
fn values_without_elements_can_be_given() {
    let model = Model::new(17)
        .input("x", &[2, 3])
        .integers("three", &[1], &[3])
        .integers("one", &[1], &[1])
        .integers("parts", &[2], &[0, 3])
        .node("Slice", "x three three one", "sliced", &[])
        .node("Split", "x parts", "none all", &[("axis", Is::Int(1))])
        .output("sliced")
        .output("none")
        .output("all");
    let Import { graph, tensors, .. } = imported(&model);
    let found = interp::run_f32(&graph, &tensors, &[ramp(6)]).expect("it runs");
    assert_eq!(found, [vec![], vec![], ramp(6)]);
    let shapes: Vec<_> = graph.outputs().iter().map(|output| graph.node(output.node).ty.shape.clone()).collect();
    assert_eq!(shapes, [[2, 0], [2, 0], [2, 3]]);
    let error = compile(graph, &Options::default()).expect_err("no kernels").to_string();
    assert!(error.contains("no kernels for values without elements"), "{error}");
    let used = Model::new(17).input("x", &[2]).weight("e", &[0], &[]).node("Relu", "e", "r", &[]);
    let used = used.node("Concat", "x r", "y", &[("axis", Is::Int(0))]).output("y");
    assert!(mistakes(used.bytes()).contains("Relu `r`: kiln computes it, of a value without elements,"));
}
