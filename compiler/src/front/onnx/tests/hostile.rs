//! Files that no exporter writes: each is a mistake that is told, without a panic and without much memory.

use super::super::proto::tensor_proto::DataType;
use super::super::proto::{Message, ModelProto, NodeProto, TensorProto, encode_varint};
use super::model::{Is, Model, floats, integers};
use super::{answers, imported, mistakes};

/// `y = relu(x)` after what is told.
fn around(model: Model) -> Model {
    model.input("x", &[1, 3, 4, 4]).output("y")
}

#[test]
fn cut_off_and_garbled_files_are_refused() {
    let model = Model::new(17)
        .input("x", &[1, 2, 4, 4])
        .weight("w", &[3, 2, 1, 1], &[0.5; 6])
        .node("Conv", "x w", "c", &[("kernel_shape", Is::Ints(&[1, 1]))])
        .node("Relu", "c", "y", &[])
        .output("y");
    assert_eq!(answers(&model, &[vec![1.0; 32]])[0][0], 1.0);
    let bytes = model.bytes();
    for len in 0..bytes.len() {
        // Some beginnings are files of their own: they lack what comes later.
        let _ = super::super::import("m.onnx", bytes.slice(..len), &Default::default(), &super::Alone)
            .expect_err("a part of a model");
    }
    // Any byte may be another: whatever comes of it is no panic.
    for at in 0..bytes.len() {
        for flip in [1u8, 0x80, 0xff] {
            let mut garbled = bytes.to_vec();
            garbled[at] ^= flip;
            let _ = super::super::import("m.onnx", garbled.into(), &Default::default(), &super::Alone);
        }
    }
    assert!(mistakes(b"\x01\x02".as_slice().into()).contains("cannot read m.onnx as an ONNX file"));
    for (bytes, what) in [
        (&b"not a model"[..], "a text"),
        (b"", "an empty file"),
        (b"<html></html>", "an HTML page"),
        (b"ir_version: 8", "an ONNX model written as text"),
        // A message of another kind, which reads as one without a graph.
        (b"\x08\x01\x12\x02\x0a\0", "a SavedModel of TensorFlow"),
    ] {
        let message = mistakes(bytes.to_vec().into());
        assert!(message.contains(&format!("m.onnx is {what}, not an ONNX model")), "{message}");
    }
    assert!(mistakes(b"\x08\x08".as_slice().into()).contains("it holds no graph"));
}

#[test]
fn many_empty_messages_do_not_fill_the_memory() {
    // A node of two bytes becomes hundreds of bytes of memory.
    let mut graph = Vec::new();
    (0..4_000_000).for_each(|_| graph.extend([0x0a, 0x00]));
    let mut file = vec![0x3a];
    encode_varint(graph.len() as u64, &mut file);
    file.extend(graph);
    assert!(mistakes(file.into()).contains("hold more messages than fit into"));
    // So do integers of one byte.
    let mut model = around(Model::new(17)).node("Relu", "x", "y", &[]);
    model.graph().initializer.push(integers("many", &[30_000_000], &vec![0; 30_000_000]));
    assert!(mistakes(model.bytes()).contains("hold more messages than fit into"));
}

#[test]
fn messages_in_messages_end_somewhere() {
    let mut inner = ModelProto::default().encode_to_vec();
    for _ in 0..200 {
        // A graph in an attribute in a node in a graph.
        let wrap = |tag: u8, of: Vec<u8>| {
            let mut out = vec![tag];
            encode_varint(of.len() as u64, &mut out);
            out.extend(of);
            out
        };
        inner = wrap(0x0a, wrap(0x2a, wrap(0x32, inner)));
    }
    let mut file = vec![0x3a];
    encode_varint(inner.len() as u64, &mut file);
    file.extend(inner);
    assert!(mistakes(file.into()).contains("deep"));
}

#[test]
fn names_mean_one_thing() {
    let twice = around(Model::new(17)).node("Relu", "x", "y", &[]).node("Sigmoid", "x", "y", &[]);
    let said = mistakes(twice.bytes());
    assert!(said.contains("`y` is made a second time") && said.contains("m.onnx:2:1"), "{said}");
    let over = around(Model::new(17)).node("Relu", "x", "y", &[]).node("Relu", "y", "x", &[]);
    assert!(mistakes(over.bytes()).contains("`x` is made a second time"));
    let unknown = around(Model::new(17)).node("Add", "x gone", "z", &[]).node("Add", "z lost", "y", &[]);
    let said = mistakes(unknown.bytes());
    assert!(said.contains("nothing gives `gone`") && said.contains("nothing gives `lost`"), "{said}");
    let no_output = Model::new(17).input("x", &[1]).node("Relu", "x", "y", &[]);
    assert!(mistakes(no_output.bytes()).contains("the model has no output"));
    let other_output = Model::new(17).input("x", &[1]).node("Relu", "x", "y", &[]).output("z");
    assert!(mistakes(other_output.bytes()).contains("the output `z` is nothing that"));
    let two = around(Model::new(17))
        .node("Relu", "x", "y", &[])
        .node("Add", "y w", "z", &[])
        .weight("w", &[1], &[1.0])
        .weight("w", &[1], &[2.0]);
    assert!(mistakes(two.bytes()).contains("there are two initializers `w`"));
}

#[test]
fn nodes_that_wait_for_each_other_are_named() {
    let model = around(Model::new(17))
        .node("Add", "x c", "a", &[])
        .node("Relu", "a", "b", &[])
        .node("Relu", "b", "c", &[])
        .node("Relu", "c", "y", &[]);
    let said = mistakes(model.bytes());
    assert!(said.contains("nodes wait for each other's results: `"), "{said}");
    assert!(["`a`", "`b`", "`c`"].iter().all(|name| said.contains(name)), "{said}");
    let itself = around(Model::new(17)).node("Add", "x y", "y", &[]);
    assert!(mistakes(itself.bytes()).contains("nodes wait for each other's results: `y`"));
}

#[test]
fn all_operators_that_are_not_there_are_told_at_once() {
    let mut model = around(Model::new(17)).node("NonMaxSuppression", "x", "a", &[]);
    for i in 0..7 {
        model = model.node("LSTM", "a", &format!("l{i}"), &[]);
    }
    let reads = (0..7).map(|i| format!("l{i} ")).collect::<String>();
    let mut model = model.node("Concat", &reads, "y", &[("axis", Is::Int(0))]);
    model.graph().node[0].domain = Some("com.microsoft".to_owned());
    let said = mistakes(model.bytes());
    let operators =
        ["com.microsoft.NonMaxSuppression: 1 node, `a`", "LSTM: 7 nodes, `l0`, `l1`, `l2`, `l3`, `l4` and 2 more"];
    assert!(operators.iter().all(|operator| said.contains(operator)), "{said}");
}

#[test]
fn versions_that_are_not_read_are_refused() {
    for (opset, said) in [(0, "version 0 of ONNX's operators"), (22, "version 22"), (i64::MIN, "version -9223")] {
        let model = around(Model::new(opset)).node("Relu", "x", "y", &[]);
        assert!(mistakes(model.bytes()).contains(said), "{opset}");
    }
    let mut none = around(Model::new(17)).node("Relu", "x", "y", &[]);
    none.proto.opset_import.clear();
    assert!(mistakes(none.bytes()).contains("does not say which version"));
}

#[test]
fn tensors_are_what_their_shapes_say() {
    let with = |tensor: TensorProto| {
        let mut model = around(Model::new(17)).node("Add", "x w", "y", &[]);
        model.graph().initializer.push(tensor);
        mistakes(model.bytes())
    };
    assert!(with(floats("w", &[3], &[1.0])).contains("holds 1 element, and its shape [3] says 3"));
    assert!(with(floats("w", &[-3], &[1.0])).contains("its shape [-3] is negative"));
    assert!(with(floats("w", &[1 << 40, 1 << 40], &[])).contains("more elements than fit into memory"));
    assert!(with(floats("w", &[1 << 40], &[1.0])).contains("holds 1 element"));
    let text = TensorProto { data_type: Some(DataType::String as i32), ..floats("w", &[1], &[1.0]) };
    assert!(with(text).contains("elements of type STRING are not supported"));
    let none = TensorProto { data_type: Some(999), ..floats("w", &[1], &[1.0]) };
    assert!(with(none).contains("there is no type 999"));
    assert!(with(integers("w", &[1], &[1])).contains("elements of type f32 and i64 do not mix"));
    assert!(with(integers("w", &[4], &[1, 1 << 54, 0, 0])).contains("holds integers of more than 53 bits"));
    let short =
        TensorProto { data_type: Some(DataType::Int16 as i32), int32_data: vec![1], ..integers("w", &[1], &[]) };
    assert!(with(short).contains("computes with no elements of type"));
}

#[test]
fn shapes_of_inputs_are_positive_and_of_a_size() {
    for shape in [&[1, 3, 0, 4][..], &[3, -1], &[3, i64::MIN]] {
        let model = Model::new(17).input("x", shape).node("Relu", "x", "y", &[]).output("y");
        assert!(mistakes(model.bytes()).contains("--input-shape"), "{shape:?}");
    }
    let large = Model::new(17).input("x", &[1 << 40, 1 << 40]).node("Relu", "x", "y", &[]).output("y");
    assert!(mistakes(large.bytes()).contains("more than 2^31 elements"));
}

#[test]
fn attributes_have_their_types_and_make_sense() {
    let conv = |name: &str, is: Is<'_>| {
        let model =
            around(Model::new(17)).weight("w", &[2, 3, 3, 3], &[0.0; 54]).node("Conv", "x w", "y", &[(name, is)]);
        mistakes(model.bytes())
    };
    assert!(conv("strides", Is::Int(1)).contains("`strides` is of type INT, not INTS"));
    assert!(conv("strides", Is::Ints(&[0, 1])).contains("its strides is 0, and must be positive"));
    assert!(conv("dilations", Is::Ints(&[i64::MAX, 1])).contains("is out of bounds"));
    assert!(conv("dilations", Is::Ints(&[5, 1])).contains("does not fit a map of 4×4 pixels"));
    assert!(conv("kernel_shape", Is::Ints(&[3])).contains("windows over rows and columns alone"));
    assert!(conv("kernel_shape", Is::Ints(&[2, 3])).contains("is not its kernel's, 3×3"));
    assert!(conv("pads", Is::Ints(&[-1, 0, 0, 0])).contains("four that are not negative"));
    assert!(conv("pads", Is::Ints(&[i64::MAX, 0, i64::MAX, 0])).contains("is out of bounds"));
    assert!(conv("group", Is::Int(2)).contains("into 2 groups"));
    assert!(conv("group", Is::Int(-2)).contains("must be positive"));
    assert!(conv("auto_pad", Is::Text("SOME")).contains("`SOME` is not known"));
    for auto_pad in ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"] {
        let same: &[(&str, Is<'_>)] = &[("auto_pad", Is::Text(auto_pad))];
        let model = around(Model::new(17)).weight("w", &[2, 3, 0, 3], &[]).node("Conv", "x w", "y", same);
        assert!(mistakes(model.bytes()).contains("its kernel has no taps"), "{auto_pad}");
    }
}

#[test]
fn arithmetic_on_shapes_does_not_overflow() {
    let model = |values: &[i64], nodes: &[(&str, &str, &str)]| {
        let mut model = around(Model::new(17)).integers("v", &[values.len() as i64], values);
        for (op, inputs, outputs) in nodes {
            model = model.node(op, inputs, outputs, &[]);
        }
        mistakes(model.bytes())
    };
    let most = [i64::MAX];
    assert!(model(&most, &[("Mul", "v v", "s"), ("Reshape", "x s", "y")]).contains("does not fit the type"));
    assert!(model(&most, &[("Add", "v v", "s"), ("Reshape", "x s", "y")]).contains("does not fit the type"));
    assert!(model(&[i64::MIN], &[("Neg", "v", "s"), ("Reshape", "x s", "y")]).contains("Neg `s`"));
    assert!(model(&[0], &[("Div", "v v", "s"), ("Reshape", "x s", "y")]).contains("does not fit the type"));
    assert!(model(&most, &[("ConstantOfShape", "v", "s"), ("Add", "x s", "y")]).contains("too large"));
    assert!(model(&[1 << 31, 1 << 31, 4], &[("ConstantOfShape", "v", "s"), ("Add", "x s", "y")]).contains("too large"));
    let beside_nothing = [0, 1 << 40, 1 << 40];
    assert!(model(&beside_nothing, &[("ConstantOfShape", "v", "s"), ("ArgMax", "s", "y")]).contains("too large"));
    assert!(model(&[-5], &[("ConstantOfShape", "v", "s"), ("Add", "x s", "y")]).contains("is no shape"));
    assert!(model(&[-1, -1], &[("Reshape", "x v", "y")]).contains("cannot take the shape [-1, -1]"));
    assert!(model(&[i64::MAX, i64::MAX], &[("Reshape", "x v", "y")]).contains("cannot take the shape"));
    assert!(model(&[-7, 3], &[("Reshape", "x v", "y")]).contains("cannot take the shape"));
    assert!(model(&most, &[("Expand", "x v", "y")]).contains("do not broadcast"));
    assert!(model(&[i64::MAX, i64::MIN], &[("Squeeze", "x v", "y")]).contains("has no axis"));
    assert!(model(&most, &[("Tile", "v v", "y")]).contains("too large"));
    assert!(model(&[1, i64::MAX, 1, 1], &[("Expand", "x v", "y")]).contains("do not broadcast"));
    assert!(model(&[i64::MAX - 1, 1, 4, 4], &[("Expand", "x v", "y")]).contains("Expand `y`"));
    let pads = [0, 0, i64::MAX, i64::MAX, 0, 0, i64::MAX, i64::MAX];
    assert!(model(&pads, &[("Pad", "x v", "y")]).contains("Pad `y`"));
    let cuts = [0, 0, i64::MIN, 0, 0, 0, i64::MIN, 0];
    assert!(model(&cuts, &[("Pad", "x v", "y")]).contains("Pad `y`"));
    let ends = [i64::MIN, i64::MAX, i64::MIN, i64::MAX];
    assert!(model(&ends, &[("Slice", "x v v v v", "y")]).contains("has no axis"));
}

#[test]
fn what_is_made_of_large_inputs_is_bounded() {
    let model = Model::new(17).input("x", &[1, 1 << 30]).node("Dropout", "x", "y m", &[]);
    assert!(mistakes(model.output("y").output("m").bytes()).contains("its mask is too large"));
    let volume = Model::new(17).input("x", &[1, 1, 1 << 30, 1, 1]).weight("w", &[1, 1, 1, 1, 1], &[1.0]);
    assert!(mistakes(volume.node("ConvTranspose", "x w", "y", &[]).output("y").bytes()).contains("too many"));
    let steps = [("strides", Is::Ints(&[4, 4]))];
    let square = vec![0.5; 1 << 20];
    let strided = Model::new(17).input("x", &[1, 1 << 20, 1, 1]).weight("w", &[1 << 20, 1, 1, 1], &square);
    let strided = strided.node("ConvTranspose", "x w", "y", &steps);
    assert!(mistakes(strided.output("y").bytes()).contains("too large beside its kernel"));
}

/// Without a stretch one axis may have the scale of another, a thousand millions to one.
#[test]
fn a_filter_reaches_over_the_inputs_and_not_further() {
    let model = Model::new(18).input("x", &[2, 1 << 28]).integers("sizes", &[2], &[2, 1]);
    let policy =
        [("mode", Is::Text("linear")), ("antialias", Is::Int(1)), ("keep_aspect_ratio_policy", Is::Text("not_larger"))];
    let model = model.node("Resize", "x _ _ sizes", "y", &policy).output("y");
    assert!(mistakes(model.bytes()).contains("too far"));
    let model = Model::new(18).input("x", &[1, 1]).integers("sizes", &[2], &[1, 1 << 23]);
    let model = model.node("Resize", "x _ _ sizes", "y", &[("mode", Is::Text("linear"))]).output("y");
    assert!(mistakes(model.bytes()).contains("to 8388608, too many"));
}

#[test]
fn an_empty_axis_does_not_hide_the_others() {
    let huge = |shape: &[i64], op: &str, inputs: &str, attributes: &[(&str, Is<'_>)]| {
        let mut model = around(Model::new(17)).integers("at", &[1], &[0]);
        model.graph().initializer.push(floats("e", shape, &[]));
        mistakes(model.node(op, inputs, "y", attributes).bytes())
    };
    let axis = |at: i64| [("axis", Is::Int(at))];
    for said in [
        huge(&[1 << 40, 1, 0], "Gather", "e at", &axis(1)),
        huge(&[1 << 61, 0], "Concat", "e e", &axis(1)),
        huge(&[1 << 40, 2, 0], "ArgMax", "e", &axis(1)),
        huge(&[1 << 40, 2, 0], "TopK", "e at", &axis(1)),
        huge(&[1 << 40, 0], "ReduceMax", "e", &[("axes", Is::Ints(&[1]))]),
        huge(&[0, 1 << 40, 3], "Slice", "e at at", &[]),
    ] {
        assert!(said.contains("too large to be computed"), "{said}");
    }
}

#[test]
fn what_all_nodes_make_together_is_bounded() {
    let weight = vec![0.5; 1 << 16];
    let mut model = Model::new(17).input("x", &[1, 1, 8, 8]).weight("w", &[1, 1, 256, 256], &weight);
    for i in 0..60 {
        let steps = [("strides", Is::Ints(&[8, 8])), ("pads", Is::Ints(&[i, 0, 0, 0]))];
        model = model.node("ConvTranspose", "x w", &format!("y{i}"), &steps).output(&format!("y{i}"));
    }
    imported(&model);
    let mut model = Model::new(17).input("x", &[1, 1 << 22]);
    for i in 0..8 {
        model =
            model.node("Dropout", "x", &format!("y{i} m{i}"), &[]).output(&format!("y{i}")).output(&format!("m{i}"));
    }
    assert!(mistakes(model.bytes()).contains("too large to be computed"));
}

#[test]
fn ranks_are_bounded() {
    let model = around(Model::new(17)).weight("w", &[1; 40], &[1.0]).node("Add", "x w", "y", &[]);
    assert!(mistakes(model.bytes()).contains("it has 40 axes, and kiln takes 16"));
    let axes: Vec<i64> = (0..40).collect();
    let model = around(Model::new(17)).integers("axes", &[40], &axes).node("Unsqueeze", "x axes", "y", &[]);
    assert!(mistakes(model.bytes()).contains("axes, and kiln takes 16"));
    let model = Model::new(17).input("x", &[1; 40]).node("Relu", "x", "y", &[]).output("y");
    assert!(mistakes(model.bytes()).contains("the input `x` cannot be that: it has 40 axes"));
}

#[test]
fn many_mistakes_are_told_in_part() {
    let mut model = around(Model::new(17));
    for i in 0..500 {
        model = model.node("Relu", &format!("none{i}"), &format!("y{i}"), &[]);
    }
    let said = mistakes(model.node("Relu", "x", "y", &[]).bytes());
    assert!(said.matches("nothing gives").count() == 100 && said.contains("and 400 more errors"));
    let long = "n".repeat(100_000);
    let model = around(Model::new(17)).node("Relu", &long, "y", &[]);
    assert!(mistakes(model.bytes()).len() < 500_000);
}

#[test]
fn windows_and_values_without_axes_are_refused() {
    let scalar = Model::new(17).input("x", &[]).weight("w", &[1, 1, 1, 1], &[1.0]);
    for op in ["Conv", "ConvTranspose"] {
        assert!(mistakes(scalar.clone().node(op, "x w", "y", &[]).output("y").bytes()).contains(&format!("{op} `y`")));
    }
    let pool =
        |attributes: &[(&str, Is<'_>)]| mistakes(around(Model::new(17)).node("MaxPool", "x", "y", attributes).bytes());
    let far = 1 << 61;
    let wide = [("kernel_shape", Is::Ints(&[1 << 62, 1])), ("pads", Is::Ints(&[far, 0, far, 0]))];
    assert!(pool(&wide).contains("is out of bounds"));
    let step =
        [("kernel_shape", Is::Ints(&[2, 2])), ("strides", Is::Ints(&[(1 << 62) + 1, 1])), ("ceil_mode", Is::Int(1))];
    assert!(pool(&step).contains("is out of bounds"));
    // Of channels that there are not, a sum takes nothing.
    imported(&around(Model::new(17)).node("LRN", "x", "y", &[("size", Is::Int(i64::MAX))]));
}

#[test]
fn products_of_large_parts_are_refused() {
    let model = Model::new(17).input("x", &[4, 1, 2, 1]).weight("w", &[1, 1 << 62, 1, 0], &[]);
    let said = mistakes(model.node("MatMul", "x w", "y", &[]).output("y").bytes());
    assert!(said.contains("has more elements than fit") || said.contains("part by part"), "{said}");
}

#[test]
fn products_of_values_that_do_not_fit_are_refused() {
    let product = |left: &[i64], right: &[i64]| {
        let model = Model::new(17).input("a", left).input("b", right).node("MatMul", "a b", "y", &[]).output("y");
        mistakes(model.bytes())
    };
    assert!(product(&[2, 3], &[2, 3]).contains("it multiplies [2, 3] with [2, 3]"));
    assert!(product(&[], &[2, 3]).contains("it multiplies with a scalar"));
    assert!(product(&[2, 1, 3], &[3, 3, 1]).contains("do not broadcast"));
    let parts = Model::new(17).input("a", &[1, 2, 3]).input("b", &[3, 2]).node("Gemm", "a b", "y", &[]).output("y");
    assert!(mistakes(parts.bytes()).contains("it multiplies [1, 2, 3] with [3, 2], which are not both matrices"));
    let (column, row) = ([1 << 20, 1], [1, 1 << 20]);
    assert!(product(&column, &row).contains("more than 2^31 elements"));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let model = around(Model::new(17)).node("Nope\u{1b}[2J", "x", "y", &[]);
    let said = mistakes(model.bytes());
    assert!(said.contains("Nope\u{fffd}[2J") && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn ranges_end() {
    let range = |start: i64, limit: i64, step: i64| {
        let scalar = |name: &str, value: i64| integers(name, &[], &[value]);
        let mut model = around(Model::new(17)).node("Range", "a b c", "s", &[]).node("Reshape", "x s", "y", &[]);
        model.graph().initializer.extend([scalar("a", start), scalar("b", limit), scalar("c", step)]);
        mistakes(model.bytes())
    };
    assert!(range(i64::MIN, i64::MAX, 1).contains("too large"));
    assert!(range(0, 5, 0).contains("its step is 0"));
    assert!(range(0, 1 << 30, 1).contains("too large"));
}

#[test]
fn what_depends_on_inputs_cannot_shape_anything() {
    let model = Model::new(17)
        .input("x", &[1, 4])
        .input("s", &[2])
        .node("Reshape", "x s", "a", &[])
        .node("Reshape", "a s", "b", &[])
        .node("Tile", "x s", "c", &[])
        .node("Concat", "b c", "y", &[("axis", Is::Int(0))])
        .output("y");
    let said = mistakes(model.bytes());
    assert!(said.contains("its input 2, `s`, depends on the network's inputs"), "{said}");
    // What follows from it is not told again, and other mistakes are.
    assert!(!said.contains("Reshape `b`") && said.contains("Tile `c`"), "{said}");
}

#[test]
fn nodes_without_inputs_are_refused() {
    for op in
        ["Relu", "Conv", "Gemm", "Reshape", "Concat", "Slice", "Clip", "Shape", "Gather", "Where", "Range", "Split"]
    {
        let mut model = around(Model::new(17));
        let node = NodeProto { op_type: Some(op.to_owned()), output: vec!["y".to_owned()], ..Default::default() };
        model.graph().node.push(node);
        let said = mistakes(model.bytes());
        assert!(said.contains(&format!("{op} `y`: ")), "{op}: {said}");
    }
}

#[test]
fn attributes_that_are_not_known_are_named() {
    let model = || around(Model::new(17));
    let one = model().node("Relu", "x", "y", &[("slope", Is::Float(0.5))]);
    assert!(mistakes(one.bytes()).contains("Relu `y`: kiln does not know its attribute `slope`"));
    let two = model().node("Softmax", "x", "y", &[("a", Is::Int(1)), ("axis", Is::Int(-1)), ("b", Is::Int(2))]);
    assert!(mistakes(two.bytes()).contains("its attributes `a`, `b`"));
    let known = Model::new(17).weight("w", &[2], &[1.0, 2.0]).node("Neg", "w", "y", &[("a", Is::Int(1))]).output("y");
    assert!(mistakes(known.bytes()).contains("`a`"), "also where it is computed at once");
}
