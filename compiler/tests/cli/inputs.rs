//! What the program is given: files of all kinds, by names of all kinds, and what they claim to be.

use std::fs;
use std::path::Path;

use super::{fails, folder, kiln, notes, succeeds, weights};

/// A `.npy` file.
pub(super) fn npy(path: &Path, descriptor: &str, shape: &str, elements: &[u8]) {
    let header = format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).expect("a short header").to_le_bytes();
    fs::write(path, [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), elements].concat()).expect("a file");
}

/// The sum of two inputs, one of which has an `=` in its name.
const SUM: &str = "\
pub net Sum(x: [1, 2], other: [1, 2]) { let y = x + other; y }
";

#[test]
fn names_of_inputs_may_hold_an_equals_sign() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("sum.net"), SUM).expect("a file");
    let graph = succeeds(path, &["graph", "sum.net"]).replace("\"x\"", "\"a=b\"");
    fs::write(path.join("sum.graph"), graph).expect("a file");
    succeeds(path, &["export", "sum.graph", "--out", "sum.onnx"]);
    // 1 and 2 in halves, 3 and 4 in integers of two bytes.
    npy(&path.join("a.npy"), "<f2", "(1, 2)", &[0x00, 0x3c, 0x00, 0x40]);
    npy(&path.join("c=d.npy"), ">u2", "(2,)", &[0, 3, 0, 4]);
    let run = |more: &[&str]| succeeds(path, &[&["run", "sum.onnx", "--engine", "interp"], more].concat());
    let sum = run(&["--input", "a=b=a.npy", "--input", "other=c=d.npy", "--json"]);
    let fixed = run(&["--constant", "a=b=a.npy", "--input", "c=d.npy", "--json"]);
    for json in [sum, fixed] {
        assert!(json.contains("\"classes\":[{\"class\":1"), "{json}");
    }
    let refused = |more: &[&str]| fails(path, &[&["run", "sum.onnx", "--engine", "interp"], more].concat());
    let message = refused(&["--input", "Nope=a.npy"]);
    assert!(message.contains("the network has no input `Nope`; it has `a=b`, `other`"), "{message}");
    let message = fails(path, &["run", "small.net", "--weights", "fill", "--input", "Nope=a.npy"]);
    assert!(message.contains("the network has no input `Nope`; it has `image`"), "{message}");
    let twice = ["--constant", "other=a.npy", "--constant", "other=c=d.npy"];
    assert!(refused(&twice).contains("`--constant other=…` is given twice"));
    let message = fails(path, &["inspect", "zoo:lenet5", "--set", "n=4", "--set", "n=5"]);
    assert!(message.contains("`--set n=…` is given twice"), "{message}");
}

#[test]
fn arrays_are_no_larger_than_their_files_and_numbers_are_none_but_the_inputs() {
    let folder = folder();
    let path = folder.path();
    let refused = |file: &str, words: &str| {
        let message = fails(path, &["run", "small.net", "--weights", "fill", "--input", file]);
        assert!(message.contains(words) && message.len() < 400, "`{words}` in: {message}");
    };
    npy(&path.join("vast.npy"), "<f4", "(1000000, 1000000)", &[]);
    refused("vast.npy", "vast.npy: its elements take 4000000000000 bytes, but 0 follow");
    npy(&path.join("long.npy"), &"f".repeat(60000), "()", &[]);
    refused("long.npy", "long.npy: its header has 60");
    fs::write(path.join("zip.npy"), b"PK\x03\x04").expect("a file");
    refused("zip.npy", "zip.npy is a zip archive");
    let ints = |last: i64| {
        let values = std::iter::repeat_n(0, 3 * 9 * 7 - 1).chain([last]);
        npy(&path.join("ints.npy"), "<i8", "(3, 9, 7)", &values.flat_map(i64::to_le_bytes).collect::<Vec<_>>());
    };
    ints((1 << 24) + 1);
    refused("ints.npy", "holds i64s that are no f32s");
    ints(1 << 24);
    succeeds(path, &["run", "small.net", "--weights", "fill", "--engine", "interp", "--input", "ints.npy"]);
}

#[test]
fn what_a_file_is_says_its_content() {
    let folder = folder();
    let path = folder.path();
    succeeds(path, &["export", "small.net", "--weights", "fill", "--out", "m.onnx"]);
    fs::copy(path.join("m.onnx"), path.join("m.bin")).expect("a file");
    fs::write(path.join("w.safetensors"), weights(|_| true, |_, shape| shape)).expect("a file");
    npy(&path.join("a.npy"), "<f4", "(1,)", &[0; 4]);
    fs::write(path.join("short"), b"short").expect("a file");
    let weights_of = |file| fails(path, &["build", "small.net", "--out", "crate", "--weights", file]);
    assert!(weights_of("m.onnx").contains("m.onnx is an ONNX model, not a file of weights"));
    assert!(weights_of("a.npy").contains("a.npy is an array"));
    assert!(weights_of("short").contains("short is a text, not a file of weights"));
    assert!(fails(path, &["inspect", "m.bin"]).contains("m.bin is an ONNX model, but its name does not end in .onnx"));
    assert!(fails(path, &["inspect", "w.safetensors"]).contains("w.safetensors is a safetensors file, not a network"));
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_no_file_is_neither_waited_for_nor_read_without_end() {
    let folder = folder();
    let path = folder.path();
    assert!(std::process::Command::new("mkfifo").arg(path.join("pipe.onnx")).status().expect("mkfifo").success());
    assert!(fails(path, &["inspect", "pipe.onnx"]).contains("pipe.onnx is not a file"));
    assert!(fails(path, &["weights", "small.net", "pipe.onnx"]).contains("pipe.onnx is not a file"));
    assert!(fails(path, &["inspect", "/dev/zero"]).contains("more than the 64 MiB of any source"));
}

#[test]
fn threads_and_sizes_have_limits() {
    let folder = folder();
    let path = folder.path();
    for (verb, threads) in [("run", "0"), ("bench", "100000"), ("profile", "-1")] {
        let output = kiln(path, &[verb, "small.net", &format!("--threads={threads}")]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && message.contains("kiln runs on 1 to 1024 threads"), "{message}");
    }
    let run = ["run", "small.net", "--weights", "fill", "--input", "fill", "--engine", "interp"];
    let most = std::thread::available_parallelism().expect("processors").get();
    if most < 1024 {
        let said = notes(path, &[&run[..], &["--threads", "1024"]].concat());
        assert!(said.starts_with(&format!("{most} thread")) && said.contains("in place of 1024"), "{said}");
        assert_eq!(notes(path, &[&run[..], &["--exact-threads", "1024"]].concat()), "");
    }
    assert_eq!(notes(path, &[&run[..], &["--threads", &most.to_string()]].concat()), "");
    fs::write(path.join("vast.net"), "pub net Vast(x: [1, 1, 1, 1]) { x.conv(1, 1, padding = 12000, name = \"c\") }")
        .expect("a file");
    let run = ["run", "vast.net", "--weights", "fill", "--input", "fill", "--engine", "interp"];
    assert!(fails(path, &run).contains("limit exceeded: `c` takes 2304192004 bytes"));
}

/// A model of which an input says a shape, and another nothing: what becomes of them is told on standard error.
#[test]
fn what_becomes_of_a_models_inputs_is_told() {
    use kiln_compiler::onnx_schema::tensor_proto::DataType;
    use kiln_compiler::onnx_schema::tensor_shape_proto::{Dimension, dimension};
    use kiln_compiler::onnx_schema::type_proto::{Tensor, Value};
    use kiln_compiler::onnx_schema::{
        GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
    };
    let folder = folder();
    let path = folder.path();
    let info = |name: &str, of: DataType, extents: &[dimension::Value]| {
        let dim = extents.iter().map(|value| Dimension { value: Some(value.clone()), denotation: None }).collect();
        let tensor = Tensor { elem_type: Some(of as i32), shape: Some(TensorShapeProto { dim }) };
        let value = Some(TypeProto { value: Some(Value::TensorType(tensor)), denotation: None });
        ValueInfoProto { name: Some(name.to_owned()), r#type: value, ..ValueInfoProto::default() }
    };
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: Some(op.to_owned()),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    };
    let write = |name: &str, nodes: Vec<NodeProto>, inputs: Vec<ValueInfoProto>| {
        let output = vec![ValueInfoProto { name: Some("y".to_owned()), ..ValueInfoProto::default() }];
        let graph = GraphProto { node: nodes, input: inputs, output, ..GraphProto::default() };
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
        let model = ModelProto { opset_import, graph: Some(graph), ..ModelProto::default() };
        fs::write(path.join(name), model.encode_to_vec()).expect("a file");
    };
    let two = [dimension::Value::DimValue(2)];
    let x = info("x", DataType::Float, &[&[dimension::Value::DimParam("N".to_owned())][..], &two].concat());
    let inputs = vec![x.clone(), info("shape", DataType::Int64, &two), info("label", DataType::String, &two)];
    write("m.onnx", vec![node("Reshape", &["x", "shape"], "r"), node("Relu", &["r"], "y")], inputs);
    npy(&path.join("x.npy"), "<f4", "(1, 2)", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
    npy(&path.join("shape.npy"), "<i8", "(2,)", &[2i64, 1].map(i64::to_le_bytes).concat());
    npy(&path.join("label.npy"), "<U1", "(2,)", &[0; 8]);
    let given = ["--input", "x=x.npy", "--input", "shape=shape.npy", "--input", "label=label.npy"];
    let run = kiln(path, &[&["run", "m.onnx", "--engine", "interp", "--json"], &given[..]].concat());
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{told}");
    assert!(
        told.contains("note: the input `shape` is a constant of the network, of the value that is given"),
        "{told}"
    );
    assert!(told.contains("note: nothing reads the input `label`, which the network does not have"), "{told}");
    // The array that is given says the batch; without one it is 1, which is told.
    assert!(!told.contains("batch"), "{told}");
    let built = kiln(path, &["graph", "m.onnx", "--constant", "shape=shape.npy"]);
    let told = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(
        built.status.success() && told.contains("note: the dimension `N` is taken for the batch, and is 1"),
        "{told}"
    );
    assert!(!told.contains("is a constant"), "what was asked for is not told: {told}");
    // A photo is no constant: what cannot be built does not run.
    write("most.onnx", vec![node("Relu", &["x"], "r"), node("ArgMax", &["r"], "y")], vec![x]);
    let refused = fails(path, &["run", "most.onnx", "--engine", "interp", "--input", "x.npy"]);
    assert!(refused.contains("ArgMax `y`: kiln computes it of values alone"), "{refused}");
    assert!(!refused.contains("--constant"), "{refused}");
}
