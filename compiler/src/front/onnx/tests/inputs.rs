//! Extents that a file leaves open, and what it keeps in other files.

use super::super::proto::tensor_proto::DataLocation;
use super::super::proto::{Bytes, StringStringEntryProto};
use super::super::{Folder, Settings, import};
use super::model::{Model, floats};
use super::{Alone, mistakes};
use crate::graph::interp;

fn open() -> Model {
    Model::new(17).open_input("x", &["N", "3", "H", "W"]).node("Relu", "x", "y", &[]).output("y")
}

fn shape(set: &[&str], shapes: &[&str]) -> Result<Vec<usize>, String> {
    let mut settings = Settings::default();
    set.iter().try_for_each(|setting| settings.set(setting)).map_err(|error| error.to_string())?;
    shapes.iter().try_for_each(|setting| settings.set_shape(setting)).map_err(|error| error.to_string())?;
    let import = import("m.onnx", open().bytes(), &settings, &Alone).map_err(|error| error.to_string())?;
    Ok(import.graph.node(import.graph.inputs()[0]).ty.shape.clone())
}

#[test]
fn open_extents_are_set_by_name_or_as_a_shape() {
    assert_eq!(shape(&["N=2", "H=5", "W=7"], &[]), Ok(vec![2, 3, 5, 7]));
    assert_eq!(shape(&[], &["x=2x3x5x7"]), Ok(vec![2, 3, 5, 7]));
    let wrong = |set: &[&str], shapes: &[&str]| shape(set, shapes).expect_err("a mistake");
    let said = wrong(&["N=2"], &[]);
    assert!(said.contains("the input `x` is [N, 3, H, W] in the file"), "{said}");
    assert!(said.contains("`--set H=224 --set W=224`, or `--input-shape x=2x3x224x224`"), "{said}");
    assert!(wrong(&[], &[]).contains("`--set H=224 --set W=224`, or `--input-shape x=1x3x224x224`"));
    assert!(wrong(&[], &["x=2x4x5x7"]).contains("is [N, 3, H, W] in the file, not 2x4x5x7"));
    assert!(wrong(&[], &["z=1x3x5x7", "x=1x3x5x7"]).contains("has no input `z`; it has `x`"));
    assert!(wrong(&["N=1", "H=1", "W=1", "K=1"], &[]).contains("no input has a dimension named `K`"));
    assert!(wrong(&["N=0"], &[]).contains("does not set a dimension"));
    assert!(wrong(&[], &["x=1x-3"]).contains("is no input's shape"));
}

#[test]
fn an_open_batch_is_one_and_other_open_extents_are_asked_for() {
    let of = |shape: &[&str], other: &[&str]| {
        let model = Model::new(17).open_input("x", shape).open_input("b", other);
        let model = model.node("Relu", "x", "y", &[]).output("y").node("Relu", "b", "z", &[]).output("z");
        import("m.onnx", model.bytes(), &Settings::default(), &Alone).map_err(|error| error.to_string()).map(|import| {
            let shapes = import.graph.inputs().iter().map(|&id| import.graph.node(id).ty.shape.clone());
            (shapes.collect::<Vec<_>>(), import.notes)
        })
    };
    let note =
        |name: &str| format!("the dimension `{name}` is taken for the batch, and is 1; `--set {name}=…` sets another");
    assert_eq!(of(&["N", "3"], &["N", "4"]), Ok((vec![vec![1, 3], vec![1, 4]], vec![note("N")])));
    assert_eq!(of(&["7", "batch"], &["1", "4"]), Ok((vec![vec![7, 1], vec![1, 4]], vec![note("batch")])));
    // Whatever its name: the first extent of the first input.
    assert_eq!(of(&["s0", "3"], &["s0", "4"]), Ok((vec![vec![1, 3], vec![1, 4]], vec![note("s0")])));
    let unnamed = "the input `x` is [?, 3] in the file: its batch is 1".to_owned();
    assert_eq!(of(&["-1", "3"], &["2"]), Ok((vec![vec![1, 3], vec![2]], vec![unnamed])));
    let said = of(&["N", "length"], &["rows", "4"]).expect_err("two are open");
    assert!(said.contains("`--set length=128`, or `--input-shape x=1x128`"), "{said}");
    assert!(said.contains("`--set rows=128`, or `--input-shape b=128x4`"), "{said}");
    let said = of(&["1", "-1"], &["2"]).expect_err("one is open");
    assert!(said.contains("for example `--input-shape x=1x128`"), "{said}");
    // What an array says of a name holds for all inputs.
    let model = Model::new(17).open_input("x", &["N", "3"]).open_input("b", &["N", "1"]);
    let model = model.node("Add", "x b", "y", &[]).output("y");
    let mut settings = Settings::default();
    settings.offer(Some("b"), vec![5, 1], crate::graph::Elements::F32(vec![1.0; 5]));
    let import = import("m.onnx", model.bytes(), &settings, &Alone).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((import.graph.node(import.graph.inputs()[0]).ty.shape.clone(), import.notes), (vec![5, 3], vec![]));
}

/// A model whose weight lies from byte 4 on in `location`.
fn external(location: &str, length: &str) -> Model {
    let mut weight = floats("w", &[3], &[]);
    weight.raw_data = None;
    weight.data_location = Some(DataLocation::External as i32);
    let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
    weight.external_data = vec![entry("location", location), entry("offset", "4"), entry("length", length)];
    let mut model = Model::new(17).input("x", &[2, 3]).node("Mul", "x w", "y", &[]).output("y");
    model.graph().initializer.push(weight);
    model
}

struct One;

impl Folder for One {
    fn open(&self, path: &str) -> Result<Bytes, String> {
        assert_eq!(path, "data/w.bin");
        Ok([9.0f32, 1.0, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into())
    }
}

#[test]
fn weights_may_lie_in_another_file() {
    let model = external("data/w.bin", "12");
    let import = import("m.onnx", model.bytes(), &Settings::default(), &One).expect("a network");
    let y = interp::run_f32(&import.graph, &import.tensors, &[vec![1.0; 6]]).expect("it runs");
    assert_eq!(y, [[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]]);
    for (length, said) in [("13", "from byte 4 on, 13 bytes"), ("8", "holds 2 elements"), ("x", "not a number")] {
        let model = external("data/w.bin", length);
        let error = super::super::import("m.onnx", model.bytes(), &Settings::default(), &One).expect_err("a mistake");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn weights_outside_of_the_folder_are_not_looked_for() {
    for location in ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "C:\\w.bin", "..\\w.bin"] {
        let said = mistakes(external(location, "12").bytes());
        assert!(said.contains("outside of the model's folder"), "{location}: {said}");
    }
}
