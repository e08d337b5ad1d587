//! Tensors of a file in every form: sparse, doubled, elsewhere, of types that nothing reads.

use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::tensor_proto::{DataLocation, DataType};
use super::super::proto::{AttributeProto, Bytes, SparseTensorProto, StringStringEntryProto, TensorProto};
use super::super::{Folder, Settings, import};
use super::model::{Is, Model, floats, integers};
use super::{answers, imported, mistakes};

fn sum() -> Model {
    Model::new(17).input("x", &[2, 3]).node("Add", "x w", "y", &[]).output("y")
}

fn with(tensors: impl IntoIterator<Item = TensorProto>) -> Model {
    let mut model = sum();
    model.graph().initializer.extend(tensors);
    model
}

#[test]
fn an_initializer_may_stand_twice_where_it_is_the_same() {
    let w = || floats("w", &[3], &[1.0, 2.0, 3.0]);
    assert_eq!(answers(&with([w(), w()]), &[vec![0.5; 6]])[0], [1.5, 2.5, 3.5, 1.5, 2.5, 3.5]);
    for other in
        [floats("w", &[3], &[1.0, 2.0, 4.0]), floats("w", &[1, 3], &[1.0, 2.0, 3.0]), integers("w", &[3], &[1, 2, 3])]
    {
        assert!(mistakes(with([w(), other]).bytes()).contains("two initializers `w`, which are not equal"));
    }
}

#[test]
fn tensors_that_nothing_reads_may_be_anything() {
    let text = |name: &str| TensorProto {
        data_type: Some(DataType::String as i32),
        string_data: vec![Bytes::from_static(b"a")],
        raw_data: None,
        ..floats(name, &[1], &[])
    };
    let w = floats("w", &[3], &[1.0, 2.0, 3.0]);
    let model = with([w.clone(), text("note")]).typed_input("label", DataType::String, &[1]);
    let mut model = model.typed_input("step", DataType::Int64, &[1]);
    // Nor what only reads what nothing needs.
    model = model.node("Identity", "note", "unused", &[]);
    assert_eq!(answers(&model, &[vec![0.5; 6]])[0], [1.5, 2.5, 3.5, 1.5, 2.5, 3.5]);
    let import = imported(&model);
    assert_eq!((import.graph.inputs().len(), import.unread), (1, vec!["label".to_owned(), "step".to_owned()]));
    assert!(import.notes[0].contains("nothing reads the input `label`"), "{:?}", import.notes);
    // What is read is still looked at.
    assert!(mistakes(with([text("w")]).bytes()).contains("`w` cannot be used: elements of type STRING"));
    let read = model.node("Add", "y step", "z", &[]).output("z");
    assert!(mistakes(read.bytes()).contains("f32 and i64 do not mix"));
}

fn sparse(shape: &[i64], values: &[f32], indices: TensorProto) -> SparseTensorProto {
    let values = floats("w", &[values.len() as i64], values);
    SparseTensorProto { values: Some(values), indices: Some(indices), dims: shape.to_vec() }
}

#[test]
fn sparse_tensors_are_zero_elsewhere() {
    let linear = || sparse(&[2, 3], &[5.0, 7.0], integers("", &[2], &[1, 5]));
    let by_axes = || sparse(&[2, 3], &[5.0, 7.0], integers("", &[2, 2], &[0, 1, 1, 2]));
    for tensor in [linear(), by_axes()] {
        let mut model = sum();
        model.graph().sparse_initializer.push(tensor.clone());
        assert_eq!(answers(&model, &[vec![0.5; 6]])[0], [0.5, 5.5, 0.5, 0.5, 0.5, 7.5]);
        let mut model = sum().node("Constant", "", "w", &[]);
        let (kind, name) = (Some(AttributeType::SparseTensor as i32), Some("sparse_value".to_owned()));
        let value = AttributeProto { name, r#type: kind, sparse_tensor: Some(Box::new(tensor)), ..Default::default() };
        model.graph().node[1].attribute.push(value);
        assert_eq!(answers(&model, &[vec![0.5; 6]])[0], [0.5, 5.5, 0.5, 0.5, 0.5, 7.5]);
    }
    let wrong = |tensor: SparseTensorProto| {
        let mut model = sum();
        model.graph().sparse_initializer.push(tensor);
        mistakes(model.bytes())
    };
    let at = |places: &[i64]| integers("", &[places.len() as i64], places);
    assert!(wrong(sparse(&[2, 3], &[5.0, 7.0], at(&[1, 6]))).contains("its index [6] is outside of [2, 3]"));
    assert!(wrong(sparse(&[2, 3], &[5.0], at(&[-1]))).contains("its index [-1] is outside"));
    assert!(wrong(sparse(&[2, 3], &[5.0, 7.0], at(&[3, 3]))).contains("its element 3 stands after its element 3"));
    assert!(wrong(sparse(&[2, 3], &[5.0, 7.0], at(&[3]))).contains("do not say where 2 values of [2, 3] stand"));
    assert!(wrong(sparse(&[2, 3], &[5.0], integers("", &[1, 2], &[1, 3]))).contains("[1, 3] is outside of [2, 3]"));
    assert!(wrong(sparse(&[2, -3], &[5.0], at(&[1]))).contains("its shape [2, -3] is negative"));
    // A few bytes do not become any amount of memory, nor many of them together.
    assert!(wrong(sparse(&[1 << 20, 1 << 20], &[5.0], at(&[1]))).contains("too large"));
    let mut model = sum();
    for i in 0..8 {
        let mut part = sparse(&[1 << 22], &[5.0], at(&[i]));
        part.values.get_or_insert_default().name = Some(format!("w{i}"));
        model.graph().sparse_initializer.push(part);
        model = model.node("Add", "x w", &format!("y{i}"), &[]).output(&format!("y{i}"));
        model.graph().node.last_mut().expect("a node").input[1] = format!("w{i}");
    }
    assert!(mistakes(model.bytes()).contains("too large"));
}

/// A tensor that lies in another file.
fn elsewhere(name: &str, location: &str) -> TensorProto {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
    TensorProto {
        raw_data: None,
        data_location: Some(DataLocation::External as i32),
        external_data: vec![entry("location", location), entry("length", "12")],
        ..floats(name, &[3], &[])
    }
}

/// One file, by its own name.
struct Only(&'static str);

impl Folder for Only {
    fn open(&self, path: &str) -> Result<Bytes, String> {
        let bytes: Vec<u8> = [1.0f32, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        if path == self.0 { Ok(bytes.into()) } else { Err("no such file".to_owned()) }
    }
}

#[test]
fn backslashes_of_a_path_are_slashes_or_themselves() {
    for there in ["data/w.bin", "data\\w.bin"] {
        let model = with([elsewhere("w", "data\\w.bin")]);
        import("m.onnx", model.bytes(), &Settings::default(), &Only(there)).unwrap_or_else(|error| panic!("{error}"));
    }
    let error =
        import("m.onnx", with([elsewhere("w", "data\\v.bin")]).bytes(), &Settings::default(), &Only("data/w.bin"));
    let said = error.expect_err("no file").to_string();
    assert!(
        said.contains("`data\\v.bin`, which holds the initializer `w` of the model, cannot be opened: no such file"),
        "{said}"
    );
}

#[test]
fn a_missing_file_is_one_mistake() {
    let mut model = Model::new(17).input("x", &[2, 3]).node("Identity", "x", "y0", &[]);
    for i in 0..20 {
        model.graph().initializer.push(elsewhere(&format!("w{i}"), if i < 17 { "m.data" } else { "n.data" }));
        model = model.node("Add", &format!("y{i} w{i}"), &format!("y{}", i + 1), &[]);
    }
    let model = model.output("y20");
    let said = import("m.onnx", model.bytes(), &Settings::default(), &Only("w.bin")).expect_err("no file").to_string();
    assert_eq!(said.matches("cannot be opened").count(), 2, "{said}");
    assert!(
        said.contains("`m.data`, which holds 17 initializers of the model, cannot be opened: no such file"),
        "{said}"
    );
    assert!(said.contains("`n.data`, which holds 3 initializers of the model"), "{said}");
    // Of what nothing reads, no file is missing.
    let unread = with([floats("w", &[3], &[1.0; 3]), elsewhere("spare", "m.data")]);
    imported(&unread);
}

#[test]
fn notes_that_tools_leave_at_nodes_say_nothing() {
    let attributes =
        [("com.example.layer", Is::Text("block 3")), ("pytorch:scope", Is::Int(1)), ("__private", Is::Float(2.0))];
    let model = Model::new(17).input("x", &[2]).node("Relu", "x", "y", &attributes).output("y");
    assert_eq!(answers(&model, &[vec![-1.0, 2.0]])[0], [0.0, 2.0]);
}

/// Weights that are standardized as the network runs, as NFNet and BiT have them: no more elements than real models make.
#[test]
fn weights_may_be_made_of_weights_in_many_steps() {
    let (o, k, layers) = (1024, 1536, 12);
    let x = vec![0.5; k];
    let weight: Vec<f32> = (0..o * k).map(|i| ((i * 7919) % 1000) as f32 / 1000.0).collect();
    let mut model = Model::new(17).input("x", &[1, k as i64]);
    model = model.integers("axes", &[1], &[1]).weight("eps", &[], &[1e-5]).weight("scale", &[o as i64], &vec![2.0; o]);
    model = model.weight("bias", &[o as i64], &vec![0.0; o]).integers("flat", &[3], &[1, o as i64, -1]);
    model = model.integers("kernel", &[2], &[o as i64, k as i64]);
    for i in 0..layers {
        let n = |name: &str| format!("{name}{i}");
        model = model
            .weight(&n("w"), &[o as i64, k as i64], &weight)
            .node("Reshape", &format!("{} flat", n("w")), &n("r"), &[])
            .node("ReduceMean", &n("r"), &n("m"), &[("axes", Is::Ints(&[0, 2])), ("keepdims", Is::Int(1))])
            .node("Sub", &format!("{} {}", n("r"), n("m")), &n("d"), &[])
            .node("Mul", &format!("{} {}", n("d"), n("d")), &n("q"), &[])
            .node("ReduceMean", &n("q"), &n("v"), &[("axes", Is::Ints(&[0, 2])), ("keepdims", Is::Int(0))])
            .node("ReduceMean", &n("r"), &n("mean"), &[("axes", Is::Ints(&[0, 2])), ("keepdims", Is::Int(0))])
            .node("BatchNormalization", &format!("{} scale bias {} {}", n("r"), n("mean"), n("v")), &n("s"), &[])
            .node("Reshape", &format!("{} kernel", n("s")), &n("kernel"), &[])
            .node("Gemm", &format!("x {}", n("kernel")), &n("y"), &[("transB", Is::Int(1))])
            .output(&n("y"));
    }
    let import = imported(&model);
    let y = crate::graph::interp::run_f32(&import.graph, &import.tensors, &[x]).expect("it runs");
    let row = &weight[..k];
    let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / k as f64;
    let var = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / k as f64;
    let sum: f64 = row.iter().map(|&v| 0.5 * 2.0 * (f64::from(v) - mean) / (var + 1e-5).sqrt()).sum();
    let largest = row.iter().map(|&v| (f64::from(v) - mean).abs()).sum::<f64>();
    assert!((f64::from(y[0][0]) - sum).abs() <= 1e-5 * largest, "{} for {sum}", y[0][0]);
}

#[test]
fn what_follows_from_one_mistake_is_not_told_again() {
    // More than there is room for, and then many nodes that would be computed too.
    let mut model = Model::new(17).input("x", &[1]).integers("many", &[1], &[1 << 40]).weight("w", &[1], &[1.0]);
    model = model.node("ConstantOfShape", "many", "c", &[]).node("Add", "x c", "y", &[]).output("y");
    for i in 0..30 {
        model = model.node("Neg", "w", &format!("n{i}"), &[]).node("Add", &format!("x n{i}"), &format!("y{i}"), &[]);
        model = model.output(&format!("y{i}"));
    }
    let said = mistakes(model.bytes());
    assert!(said.contains("too large to be computed when compiling"), "{said}");
    assert!(!said.contains("was too large before"), "{said}");
}
