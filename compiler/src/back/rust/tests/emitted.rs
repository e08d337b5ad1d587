//! Emitted crates: built with warnings as errors, tested by their own test, and compared with the kernel interpreter
//! bit for bit.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use kiln_rt::fill::Kind;
use kiln_rt::weights::FillSource;

use super::super::{
    Compiled, CrateOptions, ExpandOptions, Golden, PackageName, Signature, Workspace, emit_crate, emit_tokens,
};
use crate::graph::{
    Activation, Binary, Conv, Coordinates, F32, Filter, Graph, Linear, NodeId, Op, Origin, Pads, Pool, Resize,
    Rounding, Scale, TensorType, Verified, Window,
};
use crate::kernel::interp;
use crate::kernel::{Buffer, Place, Program};
use crate::lower::lower;
use crate::target::Target;

/// A network of most kernel families: an image of odd size, channels that do not fill blocks, batch 2.
fn network() -> Graph {
    let mut net = Net { graph: Graph::new("every_family") };
    let image = net.add("image", Op::Input(TensorType::f32([2, 3, 21, 19])), &[]);
    let x = net.conv("stem", image, 24, 3, 2, 1);
    let x = net.add("stem.relu", Op::Activate(Activation::Relu), &[x]);
    let y = net.conv("depthwise", x, 24, 3, 1, 24);
    let y = net.add("depthwise.silu", Op::Activate(Activation::Silu), &[y]);
    let y = net.conv("pointwise", y, 24, 1, 1, 1);
    let y = net.add("pointwise.gelu", Op::Activate(Activation::Gelu), &[y]);
    let x = net.add("add", Op::Binary(Binary::Add), &[x, y]);
    let window = Window { kernel: [3, 3], stride: [2, 2], pads: Pads::symmetric(1, 1), dilation: [1, 1] };
    let pool = Pool { window, ceil_mode: false, count_include_pad: false };
    let a = net.add("max", Op::MaxPool(pool), &[x]);
    let b = net.add("average", Op::AvgPool(pool), &[x]);
    let x = net.add("concat", Op::Concat { axis: 1 }, &[a, b]);
    let x = net.add("shuffle", Op::ChannelShuffle { groups: 4 }, &[x]);
    let scale = [Scale::Number(F32::new(1.5)), Scale::Ratio { outputs: 2, inputs: 1 }];
    let (filter, coordinates) = (Filter::Nearest(Rounding::Floor), Coordinates::Asymmetric);
    let x = net.add("nearest", Op::Resize(Resize { size: [9, 10], scale, filter, coordinates }), &[x]);
    let linear = Resize { size: [7, 6], scale, filter: Filter::Linear, coordinates: Coordinates::AlignCorners };
    let x = net.add("linear resize", Op::Resize(linear), &[x]);
    let anchors = net.graph.weights.read("anchors", Kind::Bias, &[48, 1, 1]);
    let anchors = net.graph.add(Op::Weight { shape: vec![48, 1, 1] }, &[], vec![anchors], Origin::named("anchors"));
    let x = net.add("by anchors", Op::Binary(Binary::Add), &[x, anchors.unwrap()]);
    let x = net.conv("grouped", x, 48, 3, 1, 4);
    let x = net.add("tanh", Op::Activate(Activation::Tanh), &[x]);
    let x = net.add("mirrored", Op::Gather { axis: 3, indices: vec![5, 4, 3, 3, 1, 0] }, &[x]);
    let rows = net.add("rows", Op::Reshape { shape: vec![2, 48, 42] }, &[x]);
    let rows = net.add("turned", Op::Gather { axis: 1, indices: (0..48).rev().collect() }, &[rows]);
    let columns = net.add("columns", Op::Transpose { perm: vec![0, 2, 1] }, &[rows]);
    let x = net.add("products", Op::MatMul, &[rows, columns]);
    let x = net.add("map", Op::Reshape { shape: vec![2, 48, 6, 8] }, &[x]);
    let x = net.add("global", Op::GlobalAvgPool, &[x]);
    let x = net.add("flatten", Op::Reshape { shape: vec![2, 48] }, &[x]);
    let weight = net.graph.weights.read("fc.weight", Kind::Kernel, &[10, 48]);
    let bias = net.graph.weights.read("fc.bias", Kind::Bias, &[10]);
    let fc = Op::Linear(Linear { features: 10, bias: true });
    let x = net.graph.add(fc, &[x], vec![weight, bias], Origin::named("fc")).unwrap();
    let x = net.add("softmax", Op::Softmax { axis: 1 }, &[x]);
    net.graph.add_output("classes", x);
    net.graph
}

struct Net {
    graph: Graph,
}

impl Net {
    fn add(&mut self, name: &str, op: Op, operands: &[NodeId]) -> NodeId {
        self.graph.add(op, operands, vec![], Origin::named(name)).unwrap()
    }

    fn conv(&mut self, name: &str, x: NodeId, channels: usize, kernel: usize, stride: usize, groups: usize) -> NodeId {
        let inputs = self.graph.node(x).ty.shape[1];
        let shape = [channels, inputs / groups, kernel, kernel];
        let weight = self.graph.weights.read(&format!("{name}.weight"), Kind::Kernel, &shape);
        let bias = self.graph.weights.read(&format!("{name}.bias"), Kind::Bias, &[channels]);
        let pads = Pads::symmetric(kernel / 2, kernel / 2);
        let window = Window { kernel: [kernel; 2], stride: [stride; 2], pads, dilation: [1, 1] };
        let conv = Op::Conv(Conv { channels, window, groups, bias: true });
        self.graph.add(conv, &[x], vec![weight, bias], Origin::named(name)).unwrap()
    }
}

/// What the kernel interpreter answers.
fn interpreted(program: &Program, input: &[f32]) -> Vec<f32> {
    let evaluator = kiln_rt::weights::Evaluator::new(&program.weights, &FillSource { gain: 2.0 }).unwrap();
    let packed = |buffer: &Buffer| {
        let Place::Packed { weight, form } = buffer.place else { unreachable!() };
        let mut elements = Vec::new();
        kiln_rt::weights::pack(&evaluator, weight, form, &mut |piece| elements.extend_from_slice(piece)).unwrap();
        elements
    };
    interp::run(program, packed, &[input.to_vec()], interp::Options::default()).unwrap().remove(0)
}

/// Cargo in an emitted crate; all of them share a target folder.
fn command(crate_folder: &Path, arguments: &[&str]) -> Command {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/emitted");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(crate_folder).args(arguments).env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", "-D warnings");
    // What the assembler reads is not seen to have changed.
    command.env_remove("CARGO_INCREMENTAL");
    command
}

fn cargo(crate_folder: &Path, arguments: &[&str]) -> String {
    let output = command(crate_folder, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_crate_answers_as_the_interpreter() {
    let graph = network();
    let signature = Signature::of(&graph);
    let graph = Verified::assert_checked(graph);
    let targets = Target::ALL;
    let programs: Vec<_> =
        targets.iter().map(|&target| Verified::assert_checked(lower(&graph, target).unwrap())).collect();
    let input = kiln_rt::fill::fill_input(&signature.inputs[0].shape);
    let outputs: Vec<Vec<f32>> = programs.iter().map(|program| interpreted(program, &input)).collect();

    let compiled = Compiled::new(signature, &programs).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = env::var_os("KEEP_EMITTED").map_or(folder.path().to_owned(), PathBuf::from);
    let mut weights = Vec::new();
    let packing = compiled.packing();
    let written = packing.program().write(&FillSource { gain: 2.0 }, packing.hash, &mut weights).unwrap();
    let options = CrateOptions {
        package: PackageName::like("every-family"),
        source: "every_family.net".to_owned(),
        license: None,
        weights_metadata: Vec::new(),
        workspace: Workspace::Own,
        content_hash: Some(written.content_hash),
        golden: Some(Golden { inputs: vec![input.clone()], outputs: vec![outputs[1].clone()] }),
    };
    let emitted = emit_crate(&compiled, &options).unwrap();
    for file in &emitted.files {
        let path = folder.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.contents).unwrap();
    }
    fs::write(folder.join("weights.bin"), &weights).unwrap();
    fs::write(folder.join("input.bin"), input.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    cargo(&folder, &["test", "--release", "--offline"]);

    // Beside others the portable target is for other architectures.
    let here = |target: Target| target.is_available() && target != Target::Portable;
    for (target, expected) in targets.iter().zip(&outputs).filter(|(target, _)| here(**target)) {
        let arguments = ["run", "--release", "--offline", "--example", "run", "--", "input.bin", "--output", "y.npy"];
        let printed = cargo(&folder, &[&arguments[..], &["--target", target.name()]].concat());
        assert!(printed.starts_with("image 0\nclass "), "{printed}");
        let file = fs::read(folder.join("y.npy")).unwrap();
        let bits = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
        let found: Vec<u32> = bits(&file[file.len() - 4 * expected.len()..]);
        assert_eq!(found, expected.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), "{target}");
    }

    // A crate for any weights takes them from a file when it runs, and is not built again.
    let any = folder.join("any");
    let options =
        CrateOptions { package: PackageName::like("any-weights"), content_hash: None, golden: None, ..options };
    for file in &emit_crate(&compiled, &options).unwrap().files {
        let path = any.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.contents).unwrap();
    }
    let run =
        "run --release --offline --no-default-features --features std --example run -- ../input.bin --output y.npy";
    let run: Vec<&str> = run.split(' ').chain(["--target", "base", "--weights", "other.bin"]).collect();
    let answer = |weights: &[u8]| {
        fs::write(any.join("other.bin"), weights).unwrap();
        let output = command(&any, &run).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then(|| fs::read(any.join("y.npy")).unwrap()).ok_or(message)
    };
    let base = outputs[targets.iter().position(|&target| target == Target::Base).unwrap()].clone();
    let expected: Vec<u8> = base.iter().flat_map(|x| x.to_le_bytes()).collect();
    if Target::Base.is_available() {
        assert!(answer(&weights).unwrap().ends_with(&expected));
        let mut other = Vec::new();
        packing.program().write(&FillSource { gain: 3.0 }, packing.hash, &mut other).unwrap();
        assert!(!answer(&other).unwrap().ends_with(&expected));
        other[200] ^= 1;
        assert!(answer(&other).unwrap_err().contains("the weights file is damaged"));
        assert!(answer(&weights[..99]).unwrap_err().contains("is cut"));
    }

    // A weights file of another content is refused.
    let last = weights.len() - 9;
    weights[last] ^= 1;
    fs::write(folder.join("weights.bin"), &weights).unwrap();
    let touched = emitted.files.iter().find(|file| file.path == "src/weights.rs").unwrap();
    fs::write(folder.join(&touched.path), &touched.contents).unwrap();
    let run = ["run", "--release", "--offline", "--example", "run", "--", "input.bin"];
    let output = command(&folder, &run).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("the weights file is damaged"), "{message}");
}

/// An expansion in a crate of its own, with overflow checks: loaded from a safetensors file, run on every target.
#[test]
fn an_expansion_answers_as_the_interpreter() {
    let graph = network();
    let signature = Signature::of(&graph);
    let sources = graph.weights.sources((0..graph.weights.exprs().len() as u32).map(crate::graph::WeightId));
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = sources
        .into_iter()
        .map(|source| {
            let values = kiln_rt::fill::fill(&source.name, source.kind, &source.shape, 2.0);
            (source.name, source.shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), kiln_rt::safetensors::View { dtype: kiln_rt::safetensors::Dtype::F32, shape, bytes })
    });
    let file = kiln_rt::safetensors::write(views);

    let graph = Verified::assert_checked(graph);
    let input = kiln_rt::fill::fill_input(&signature.inputs[0].shape);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("src")).unwrap();
    let mut library = String::new();
    let mut checks = String::new();
    // The portable target has a network to itself: beside others it is for other architectures.
    for (module, targets) in [("own", crate::pipeline::Options::default().targets), ("any", vec![Target::Portable])] {
        let programs: Vec<_> =
            targets.iter().map(|&target| Verified::assert_checked(lower(&graph, target).unwrap())).collect();
        for (target, program) in targets.iter().zip(&programs).filter(|(target, _)| target.is_available()) {
            let name = format!("{}.bin", target.name());
            let expected = interpreted(program, &input);
            fs::write(folder.join(&name), expected.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()).unwrap();
            checks += &format!("check({module}::EveryFamily::load_for(&file, Target::{target:?}).unwrap(), {name:?});");
        }
        let compiled = Compiled::new(signature.clone(), &programs).unwrap();
        let options = ExpandOptions {
            runtime: quote::quote! { ::kiln_rt },
            visibility: quote::quote! { pub },
            about: "Most kernel families.".to_owned(),
        };
        library += &format!("pub mod {module} {{ {} }}\n", emit_tokens(&compiled, &options).unwrap());
    }
    // Macros write code once a type: the two modules' sessions are two types.
    let main = "use kiln_rt::{session::Threads, target::Target};
        macro_rules! check { ($model:expr, $answer:expr) => {{
            let (model, expected) = ($model, std::fs::read($answer).unwrap());
            let input: Vec<f32> = kiln_rt::fill::fill_input(&[2, 3, 21, 19]);
            let mut session = model.session(Threads::new(2));
            let output: Vec<u8> = session.run(&input).unwrap().iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(output, expected, $answer);
            let mut classes = [0.0; 20];
            session.run_array(&input.try_into().unwrap(), &mut classes);
            assert_eq!(classes.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>(), expected, $answer);
        }} }
        #[test] fn answers() { let file = std::fs::read(\"weights.safetensors\").unwrap(); CHECKS }
        #[test] fn a_cut_file_is_refused() {
            let file = std::fs::read(\"weights.safetensors\").unwrap();
            assert!(any::EveryFamily::load(&file[..file.len() - 1]).is_err());
        }";
    library += &main.replace("CHECKS", &checks.replace("check(", "check!("));
    fs::write(folder.join("src/lib.rs"), library).unwrap();
    fs::write(folder.join("weights.safetensors"), file).unwrap();
    let runtime = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../runtime");
    let manifest = format!(
        "[package]\nname = \"expanded-family\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         kiln-rt = {{ path = {runtime:?} }}\n[profile.dev]\nopt-level = 1\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    cargo(folder, &["test", "--offline", "--lib"]);
}
