//! Models of others, in the folder that `KILN_SHARED` names, with the answers that ONNX Runtime gave; without the variable
//! there is nothing to hold against. And networks that are exported and read back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_compiler::front::onnx::{self, Bytes, Folder, Import, Settings};
use kiln_compiler::front::zoo::variants;
use kiln_compiler::graph::{DType, Elements, Graph, Op, interp};
use kiln_compiler::kernel;
use kiln_compiler::onnx_schema::{Message, TensorProto};
use kiln_compiler::pipeline::{self, Options, compile};
use kiln_compiler::target::Target;

use crate::crates::{Built, from_bytes};
use crate::golden::{macs, zoo};
use crate::oracle::error;

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
pub(crate) fn stored(folder: &Path, kind: &str) -> Vec<Elements> {
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
        let Import { graph, tensors, .. } = import(&folder, shapes);
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

fn kernels(graph: Graph) -> Vec<String> {
    let options = Options { targets: vec![Target::Avx512], ..Options::default() };
    let compiled = compile(graph, &options).expect("it compiles");
    compiled.programs[0].kernels.iter().map(kernel::text::kernel).collect()
}

/// What comes from ONNX and what comes from the language meet in the same kernels.
#[test]
fn a_model_has_the_kernels_of_the_zoos_network() {
    let Some(models) = models() else { return };
    let imported = kernels(import(&models.join("efficientnet_lite0"), &[]).graph);
    assert_eq!(imported, kernels(zoo("tf_efficientnet_lite0", &[])));
}

/// A file of zeros, as long as it must be.
struct Zeros(Bytes);

impl Folder for Zeros {
    fn open(&self, _: &str) -> Result<Bytes, String> {
        Ok(self.0.clone())
    }
}

/// Exports a network, without its weights, and reads it back.
fn round_trip(graph: Graph, fold: bool) -> Graph {
    let model = pipeline::export(graph, fold).expect("it is exported");
    let [_, initializers, bytes] = model.counts();
    let folder = Zeros(vec![0; (bytes + 64 * initializers) as usize].into());
    let file = model.without_weights("m.onnx.data").into();
    onnx::import("m.onnx", file, &Settings::default(), &folder).unwrap_or_else(|error| panic!("{error}")).graph
}

/// The named tensors that a network reads, with how many elements they have.
fn tensors(graph: &Graph) -> BTreeMap<String, usize> {
    let read = graph.order().into_iter().flat_map(|id| graph.node(id).weights.clone());
    let sources = graph.weights.sources(read);
    sources.into_iter().map(|of| (of.name, of.shape.iter().product())).collect()
}

#[test]
fn every_network_of_the_zoo_comes_back_from_onnx_with_its_layers_and_names() {
    for (_, variant) in variants() {
        let graph = zoo(variant.name, &[]);
        let back = round_trip(graph.clone(), false);
        assert_eq!(macs(&back), macs(&graph), "{}", variant.name);
        // Gammas that are all one and betas of zeros are tensors in ONNX.
        let found = tensors(&back);
        for (name, elements) in tensors(&graph) {
            assert_eq!(found.get(&name), Some(&elements), "{}: {name}", variant.name);
        }
        let inputs = |graph: &Graph| {
            let named = |&id| (graph.node(id).origin.name.clone(), graph.node(id).ty.clone());
            graph.inputs().iter().map(named).collect::<Vec<_>>()
        };
        assert_eq!(inputs(&back), inputs(&graph), "{}", variant.name);
        let outputs = |graph: &Graph| {
            let outputs = graph.outputs().iter();
            outputs.map(|output| (output.name.clone(), graph.node(output.node).ty.clone())).collect::<Vec<_>>()
        };
        assert_eq!(outputs(&back), outputs(&graph), "{}", variant.name);
        let layers: BTreeMap<String, Op> =
            back.ids().map(|id| back.node(id)).map(|node| (node.origin.name.clone(), node.op.clone())).collect();
        for node in graph.order().into_iter().map(|id| graph.node(id)).filter(|node| !node.weights.is_empty()) {
            let op = match node.op {
                Op::BatchNorm { eps, .. } => Op::BatchNorm { eps, affine: true },
                ref op => op.clone(),
            };
            assert_eq!(layers.get(&node.origin.name), Some(&op), "{}: {}", variant.name, node.origin.name);
        }
    }
}

#[test]
fn exported_networks_come_back_with_the_same_kernels() {
    for net in
        ["densenet121", "efficientnet_b0", "googlenet", "keras_mobilenet", "mobilenet_v3_small", "shufflenet_v1_g3"]
    {
        assert!(kernels(round_trip(zoo(net, &[]), false)) == kernels(zoo(net, &[])), "{net}");
    }
    for net in ["cifar_resnet20", "mobilenet_v3_small"] {
        assert!(kernels(round_trip(zoo(net, &[]), true)) == kernels(zoo(net, &[])), "{net}, folded");
    }
}
