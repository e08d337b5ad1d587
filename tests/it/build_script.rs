//! A package whose build script compiles its networks: what Cargo makes of it, what it answers, what its user is shown.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kiln_compiler::files::Files;
use kiln_compiler::front;
use kiln_compiler::front::onnx::{self, Bytes, Import, Settings};
use kiln_compiler::graph::{Graph, count, interp};
use kiln_compiler::onnx_schema::Message;
use kiln_compiler::onnx_schema::tensor_proto::{DataLocation, DataType};
use kiln_compiler::onnx_schema::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, tensor_shape_proto, type_proto,
};
use kiln_rt::fill::{DEFAULT_GAIN, fill, fill_input};
use kiln_rt::safetensors::{Dtype, View, write};
use kiln_rt::target::Target;

use crate::oracle::error;

const BUILD: &str = r#"use kiln_compiler::Build;
use kiln_compiler::target::Target;

fn main() {
    Build::new("nets/small.net").weights("small.safetensors").emit();
    Build::new("nets/two.net").net("Two").set("channels=21").targets([Target::Portable]).fill().module("two").emit();
    Build::new("nets/model.onnx").set("n=2").input_shape("x=2x3x9x11").module("onnx").emit();
}
"#;

/// The library holds both networks, under its own strict lints.
const LIBRARY: &str = r#"//! Networks.
#![deny(warnings, missing_docs, unsafe_code, unreachable_pub)]

/// The first network.
pub mod model {
    include!(concat!(env!("OUT_DIR"), "/model.rs"));
}

/// Another one.
pub mod two {
    include!(concat!(env!("OUT_DIR"), "/two.rs"));
}

/// A model of another program's.
pub mod onnx {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}
"#;

/// The program holds the first network once more: both copies have the same weights.
const PROGRAM: &str = r#"#![deny(warnings, unreachable_pub, clippy::pedantic)]

mod model {
    include!(concat!(env!("OUT_DIR"), "/model.rs"));
}

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let floats = |path: &str| -> Result<Vec<f32>, std::io::Error> {
        Ok(std::fs::read(path)?.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    let show = |name: &str, values: &[f32]| {
        println!("{name} {}", values.iter().map(|value| value.to_bits().to_string()).collect::<Vec<_>>().join(" "));
    };
    let image = floats("image.bin")?;
    for target in example::model::Target::ALL {
        if target.is_available() && target != example::model::Target::Portable {
            let model = example::model::Small::load_for(target)?;
            show(target.name(), model.session(example::model::Threads::new(2)).run(&image)?);
        }
    }
    show("best", model::Small::load()?.session(model::Threads::new(1)).run(&image)?);
    show("two", example::two::Two::load()?.session(example::two::Threads::new(1)).run(&floats("vector.bin")?)?);
    let images = [image.clone(), image].concat();
    show("onnx", example::onnx::Model::load()?.session(example::onnx::Threads::new(1)).run(&images)?);
    Ok(())
}
"#;

const SMALL: &str = r#"use "blocks.net";

pub net Small(image: [1, 3, 9, 11]) {
    let x = conv_bn(image, 20, 3, stride = 2, name = "stem").relu();
    let y = conv_bn(x, 20, 3, groups = 20, name = "depthwise").relu6();
    (x + y).global_avg_pool().flatten().linear(7, name = "fc").softmax()
}
"#;

const BLOCKS: &str = r#"fn conv_bn(x, channels, kernel, stride = 1, groups = 1) {
    x.conv(channels, kernel, stride = stride, padding = kernel / 2, groups = groups, name = "conv").bn(name = "bn")
}
"#;

const TWO: &str = r#"pub net One(x: [1, 5]) { x.relu() }
pub net Two(x: [2, 5], channels = 3) { x.linear(channels, name = "fc").tanh() }
"#;

/// A convolution of two images and relu, its weights in a file beside it.
fn model() -> ModelProto {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
    let tensor = |name: &str, dims: &[i64]| TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(DataType::Float as i32),
        ..Default::default()
    };
    let weight = TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: vec![entry("location", "model.data"), entry("offset", "8"), entry("length", "432")],
        ..tensor("w", &[4, 3, 3, 3])
    };
    let bias = TensorProto { float_data: vec![0.5, -0.5, 0.25, 0.0], ..tensor("b", &[4]) };
    let pads = AttributeProto {
        name: Some("pads".into()),
        r#type: Some(attribute_proto::AttributeType::Ints as i32),
        ints: vec![1, 1, 1, 1],
        ..Default::default()
    };
    let node = |op: &str, inputs: &[&str], output: &str, attribute| NodeProto {
        op_type: Some(op.into()),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    };
    let open = |name: &str| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimParam(name.into())),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: ["n", "c", "h", "w"].map(open).to_vec() };
    let ty = type_proto::Tensor { elem_type: Some(DataType::Float as i32), shape: Some(shape) };
    let value = |name: &str| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(ty.clone())), ..Default::default() }),
        ..Default::default()
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { version: Some(17), ..Default::default() }],
        graph: Some(GraphProto {
            name: Some("Model".into()),
            node: vec![node("Conv", &["x", "w", "b"], "y", vec![pads]), node("Relu", &["y"], "z", Vec::new())],
            initializer: vec![weight, bias],
            input: vec![value("x")],
            output: vec![value("z")],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The package, in a folder of its own.
struct Package {
    folder: PathBuf,
}

impl Package {
    fn new() -> Package {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("build_script");
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir_all(folder.join("src")).expect("a folder");
        std::fs::create_dir_all(folder.join("nets")).expect("a folder");
        let package = Package { folder };
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = format!(
            "[package]\nname = \"example\"\nedition = \"2024\"\n\n[workspace]\n\n[build-dependencies]\n\
             kiln-compiler = {{ path = {:?}, default-features = false, features = [\"onnx\"] }}\n\n\
             [profile.dev.package.kiln-compiler]\nopt-level = 3\n\
             [profile.release.package.kiln-compiler]\nopt-level = 3\n",
            workspace.join("compiler")
        );
        std::fs::copy(workspace.join("Cargo.lock"), package.folder.join("Cargo.lock")).expect("a file");
        let texts = [
            ("Cargo.toml", manifest.as_str()),
            ("build.rs", BUILD),
            ("src/lib.rs", LIBRARY),
            ("src/main.rs", PROGRAM),
            ("nets/small.net", SMALL),
            ("nets/blocks.net", BLOCKS),
            ("nets/two.net", TWO),
        ];
        texts.iter().for_each(|(path, text)| package.write(path, text.as_bytes()));
        package
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        std::fs::write(self.folder.join(path), bytes).expect("a file");
    }

    fn write_floats(&self, path: &str, values: &[f32]) {
        self.write(path, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    }

    /// Cargo, in the target folder in which the tests of mistakes have what kiln-compiler depends on built as a part of a
    /// macro. Build scripts have the profile of macros but for debug information; with that too it is built once for both.
    fn cargo(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO"))
            .args(arguments)
            .args(["--offline", "--color=never"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tests/trybuild"))
            .env("CARGO_PROFILE_DEV_BUILD_OVERRIDE_DEBUG", "true")
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .output()
            .expect("cargo runs")
    }

    /// Builds and runs the program: the bits of each answer by its name.
    fn run(&self) -> Vec<(String, Vec<f32>)> {
        let output = self.cargo(&["run"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer = |line: &str| {
            let mut words = line.split(' ');
            let name = words.next().expect("a name").to_owned();
            (name, words.map(|bits| f32::from_bits(bits.parse().expect("bits"))).collect())
        };
        String::from_utf8_lossy(&output.stdout).lines().map(answer).collect()
    }

    /// Builds what must not build: what Cargo shows.
    fn fails(&self) -> String {
        let output = self.cargo(&["build"]);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{shown}");
        assert!(shown.contains("exit status: 1") && !shown.contains("panicked"), "{shown}");
        shown
    }

    fn import(&self) -> Import {
        struct Beside<'a>(&'a Package);
        impl onnx::Folder for Beside<'_> {
            fn open(&self, path: &str) -> Result<Bytes, String> {
                Ok(std::fs::read(self.0.folder.join("nets").join(path)).expect("a file").into())
            }
        }
        let mut settings = Settings::default();
        settings.set_shape("x=2x3x9x11").expect("a shape");
        onnx::import("model.onnx", model().encode_to_vec().into(), &settings, &Beside(self))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn graph(&self, file: &str, net: &str, settings: &[&str]) -> Graph {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let file = self.folder.join(file).display().to_string();
        front::load(&file, Some(net), &settings, &Files::default()).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A safetensors file with all that a graph reads, by the formula.
fn weights(graph: &Graph) -> Vec<u8> {
    let tensors: Vec<_> = count::sources(graph)
        .into_iter()
        .map(|source| {
            let values = fill(&source.name, source.kind, &source.shape, DEFAULT_GAIN);
            (source, values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())
        })
        .collect();
    let view = |shape, bytes| View { dtype: Dtype::F32, shape, bytes };
    write(tensors.iter().map(|(source, bytes)| (source.name.as_str(), view(&source.shape, bytes))))
}

#[test]
fn a_build_script_compiles_networks_into_its_package() {
    let package = Package::new();
    let (image, vector) = (fill_input(&[1, 3, 9, 11]), fill_input(&[2, 5]));
    package.write("small.safetensors", &weights(&package.graph("nets/small.net", "Small", &[])));
    package.write("nets/model.onnx", &model().encode_to_vec());
    let kernel = |step: f32| (0..2 + 4 * 3 * 9).map(|i| (i % 13) as f32 * step - 0.5).collect::<Vec<f32>>();
    package.write_floats("nets/model.data", &kernel(0.1));
    package.write_floats("image.bin", &image);
    package.write_floats("vector.bin", &vector);
    let oracle = |graph: &Graph, input: &[f32]| {
        interp::run_f32(graph, &interp::Fill { gain: DEFAULT_GAIN }, &[input.to_vec()])
            .expect("the oracle runs")
            .remove(0)
    };
    let two = oracle(&package.graph("nets/two.net", "Two", &["channels=21"]), &vector);
    let check = |answers: &[(String, Vec<f32>)]| {
        let small = oracle(&package.graph("nets/small.net", "Small", &[]), &image);
        let Import { graph, tensors, .. } = package.import();
        let onnx =
            interp::run_f32(&graph, &tensors, &[[&image[..], &image].concat()]).expect("the oracle runs").remove(0);
        let here = |target: &Target| target.is_available() && *target != Target::Portable;
        let targets = Target::ALL.into_iter().filter(here);
        let names: Vec<&str> = targets.map(Target::name).chain(["best", "two", "onnx"]).collect();
        assert_eq!(answers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
        for (name, found) in answers {
            let expected = match name.as_str() {
                "two" => &two,
                "onnx" => &onnx,
                _ => &small,
            };
            let error = error(found, expected);
            assert!(error <= 1e-5, "{name}: error {error:e}");
        }
    };
    let first = package.run();
    check(&first);

    // Nothing changed: nothing is built. A file that a spec or a model uses changed: the answer is another.
    let again = package.cargo(&["build", "--verbose"]);
    let again = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.contains("Fresh example ") && !again.contains("Dirty"), "{again}");
    package.write("nets/blocks.net", BLOCKS.replace(".bn(name", ".bn(eps = 0.5, name").as_bytes());
    let second = package.run();
    check(&second);
    assert!(first[0] != second[0] && first.last() == second.last());
    package.write_floats("nets/model.data", &kernel(0.2));
    let third = package.run();
    check(&third);
    assert!(second[0] == third[0] && second.last() != third.last());

    // Weights that do not fit are named, every one.
    package.write("nets/small.net", SMALL.replace("linear(7, name = \"fc\")", "linear(8, name = \"head\")").as_bytes());
    let shown = package.fails();
    assert!(shown.contains("small.safetensors does not fit the network"), "{shown}");
    assert!(shown.contains("head.weight") && shown.contains("head.bias"), "{shown}");

    // Mistakes are shown with their places.
    package.write("nets/small.net", SMALL.replace("(x + y).global_avg_pool().flatten()", "(x + image)").as_bytes());
    let shown = package.fails();
    let lines = [
        "error: cannot add tensors of shape [1, 20, 5, 6] and [1, 3, 9, 11]",
        "--> nets/small.net:6:5",
        "6 |     (x + image).linear(7, name = \"fc\").softmax()",
        "  |     ^^^^^^^^^^^ channels differ: 20 and 3",
    ];
    assert!(lines.iter().all(|line| shown.contains(line)), "{shown}");
}
