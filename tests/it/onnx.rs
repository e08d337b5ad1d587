//! Models of others, in the folder that `KILN_SHARED` names, with the answers that ONNX Runtime gave. Without the variable
//! there is nothing to hold against.

use std::path::{Path, PathBuf};

use kiln_compiler::front::onnx::{self, Bytes, Folder, Import, Settings, proto::TensorProto};
use kiln_compiler::graph::{DType, Elements, interp};
use kiln_compiler::kernel;
use kiln_compiler::pipeline::{Options, compile};
use kiln_compiler::target::Target;
use prost::Message;

use crate::crates::{Built, from_bytes};
use crate::engines::error;
use crate::golden::zoo;

/// The models whose operators kiln has, with what must be said of their inputs, and how far answers may lie apart.
const MODELS: [(&str, &[&str], f64); 10] = [
    // Of networks that round to integers, ONNX Runtime's own modes differ by 3 %.
    ("coral_mobilenet_v1_0.25_128_u8qdq", &[], 5e-2),
    ("efficientnet_lite0", &[], 1e-4),
    ("mlperf_tiny_mobilenetv1_0.25_vww96", &[], 1e-4),
    ("mlperf_tiny_resnet8_cifar10", &[], 1e-4),
    ("mlperf_tiny_vww96_i8qdq", &[], 5e-2),
    ("mnist8", &[], 1e-4),
    ("ppocr_v2_cls", &["x=1x3x48x192"], 1e-4),
    // ONNX Runtime's own modes differ by 1e-3 here.
    ("ppocr_v4_det", &["x=1x3x320x320"], 3e-3),
    ("resnet20_cifar10", &[], 1e-4),
    ("ultraface_slim320", &[], 1e-4),
];

/// The model's own folder.
pub(crate) struct Beside(pub(crate) PathBuf);

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
fn stored(folder: &Path, kind: &str) -> Vec<Elements> {
    let path = |i: usize| folder.join(format!("test_data_set_0/{kind}_{i}.pb"));
    let read = |path: PathBuf| {
        let tensor = TensorProto::decode(&*std::fs::read(path).expect("a tensor")).expect("a tensor");
        let dtype = match tensor.data_type() {
            1 => DType::F32,
            2 => DType::U8,
            3 => DType::I8,
            other => panic!("a tensor of type {other}"),
        };
        match &tensor.raw_data {
            Some(raw) => from_bytes(dtype, raw),
            None => Elements::F32(tensor.float_data),
        }
    };
    (0..).map(path).take_while(|path| path.is_file()).map(read).collect()
}

fn near(name: &str, engine: &str, found: &[Elements], expected: &[Elements], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name} by {engine}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.dtype(), expected.dtype(), "{name} by {engine}");
        let [found, expected] =
            [found, expected].map(|of| of.to_f64().into_iter().map(|v| v as f32).collect::<Vec<f32>>());
        let error = error(&found, &expected);
        assert!(error <= tolerance, "{name} by {engine}: error {error:e}");
        let largest = |of: &[f32]| (0..of.len()).max_by(|&a, &b| of[a].total_cmp(&of[b]));
        if found.len() <= 1001 {
            assert_eq!(largest(&found), largest(&expected), "{name} by {engine}: another class");
        }
    }
}

#[test]
fn models_of_others_answer_as_onnx_runtime_does() {
    let Some(models) = models() else { return };
    for (name, shapes, tolerance) in MODELS {
        let folder = models.join(name);
        let Import { graph, tensors } = import(&folder, shapes);
        let (inputs, expected) = (stored(&folder, "input"), stored(&folder, "output"));
        let compiled = compile(graph, &Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let outputs = interp::run(&compiled.source, &tensors, &inputs).expect("the oracle runs");
        near(name, "the graph interpreter", &outputs, &expected, tolerance);
        let built = Built::new(&name.replace('.', "_"), &compiled, &tensors);
        for target in built.available_targets() {
            let found = built.run_elements(&inputs, target, 1);
            near(name, &format!("a crate for {target}"), &found, &expected, tolerance);
        }
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
