//! Models of others, in the folder that `KILN_SHARED` names, with the answers that ONNX Runtime gave. Without the variable
//! there is nothing to hold against.

use std::path::{Path, PathBuf};

use kiln_compiler::front::onnx::{self, Bytes, Folder, Import, Settings};
use kiln_compiler::graph::interp;
use kiln_compiler::kernel;
use kiln_compiler::onnx_schema::{Message, TensorProto};
use kiln_compiler::pipeline::{Compiled, Options, compile};
use kiln_compiler::target::Target;

use crate::crates::Built;
use crate::engines::error;
use crate::golden::zoo;

/// The models whose operators kiln has, with what must be said of their inputs, and how far answers may lie apart.
const MODELS: [(&str, &[&str], f64); 8] = [
    ("efficientnet_lite0", &[], 1e-4),
    ("mlperf_tiny_mobilenetv1_0.25_vww96", &[], 1e-4),
    ("mlperf_tiny_resnet8_cifar10", &[], 1e-4),
    ("mnist8", &[], 1e-4),
    ("ppocr_v2_cls", &["x=1x3x48x192"], 1e-4),
    // ONNX Runtime's own modes differ by 1e-3 here.
    ("ppocr_v4_det", &["x=1x3x320x320"], 3e-3),
    ("resnet20_cifar10", &[], 1e-4),
    ("ultraface_slim320", &[], 1e-4),
];

/// The model's own folder.
struct Beside(PathBuf);

impl Folder for Beside {
    fn open(&self, path: &str) -> Result<Bytes, String> {
        std::fs::read(self.0.join(path)).map(Bytes::from).map_err(|error| error.to_string())
    }
}

fn models() -> Option<PathBuf> {
    std::env::var_os("KILN_SHARED").map(|shared| Path::new(&shared).join("models"))
}

fn import(folder: &Path, shapes: &[&str]) -> Import {
    let mut settings = Settings::default();
    shapes.iter().for_each(|shape| settings.set_shape(shape).expect("a shape"));
    let file = std::fs::read(folder.join("model.onnx")).expect("the model");
    onnx::import("model.onnx", file.into(), &settings, &Beside(folder.to_owned()))
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// The tensors `{kind}_0.pb`, `{kind}_1.pb`, … of a model's test.
fn stored(folder: &Path, kind: &str) -> Vec<Vec<f32>> {
    let path = |i: usize| folder.join(format!("test_data_set_0/{kind}_{i}.pb"));
    let read = |path: PathBuf| {
        let tensor = TensorProto::decode(&*std::fs::read(path).expect("a tensor")).expect("a tensor");
        match &tensor.raw_data {
            Some(raw) => raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            None => tensor.float_data,
        }
    };
    (0..).map(path).take_while(|path| path.is_file()).map(read).collect()
}

fn near(name: &str, engine: &str, found: &[f32], expected: &[f32], tolerance: f64) {
    let error = error(found, expected);
    assert!(error <= tolerance, "{name} by {engine}: error {error:e}");
}

#[test]
fn models_of_others_answer_as_onnx_runtime_does() {
    let Some(models) = models() else { return };
    for (name, shapes, tolerance) in MODELS {
        let folder = models.join(name);
        let Import { graph, tensors } = import(&folder, shapes);
        let (inputs, expected) = (stored(&folder, "input"), stored(&folder, "output"));
        assert_eq!(graph.outputs().len(), expected.len(), "{name}");
        let compiled = compile(graph, &Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let outputs = interp::run(&compiled.source, &tensors, &inputs).expect("the oracle runs");
        for (found, expected) in outputs.iter().zip(&expected) {
            near(name, "the graph interpreter", found, expected, tolerance);
        }
        let built = Built::new(&name.replace('.', "_"), &compiled, &tensors);
        for target in built.available_targets() {
            let found = built.run(&inputs, target, 1);
            near(name, &format!("a crate for {target}"), &found, &expected[0], tolerance);
        }
        if expected.len() > 1 {
            every_output(name, &compiled, &tensors, &inputs, &expected, tolerance);
        }
    }
}

/// Crates' programs print their first output; the kernel interpreter gives all.
fn every_output(
    name: &str,
    compiled: &Compiled,
    tensors: &onnx::Tensors,
    inputs: &[Vec<f32>],
    expected: &[Vec<f32>],
    tolerance: f64,
) {
    let options = kernel::interp::Options::default();
    let outputs = kernel::interp::run_with(&compiled.programs[1], tensors, inputs, options).expect("it runs");
    for (found, expected) in outputs.iter().zip(expected) {
        near(name, "the kernel interpreter", found, expected, tolerance);
    }
}

/// What comes from ONNX and what comes from the language meet in the same kernels.
#[test]
fn a_model_has_the_kernels_of_the_zoos_network() {
    let Some(models) = models() else { return };
    let options = Options { targets: vec![Target::Avx512], ..Options::default() };
    let kernels = |graph| {
        let compiled = compile(graph, &options).expect("it compiles");
        let kernels = compiled.programs[0].kernels.iter().map(kernel::text::kernel);
        kernels.collect::<Vec<String>>()
    };
    let imported = kernels(import(&models.join("efficientnet_lite0"), &[]).graph);
    assert_eq!(imported, kernels(zoo("tf_efficientnet_lite0", &[])));
}
