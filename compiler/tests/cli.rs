//! The program `kiln` as its users meet it: what it prints, what it leaves on disk, how it fails.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kiln_rt::safetensors::{Dtype, SafeTensors, View, write};

#[path = "cli/cache.rs"]
mod cache;
#[path = "cli/compare.rs"]
mod compare;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/inputs.rs"]
mod inputs;
#[path = "cli/interrupt.rs"]
mod interrupt;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/packages.rs"]
mod packages;
#[path = "cli/paths.rs"]
mod paths;
#[path = "cli/photos.rs"]
mod photos;
#[path = "cli/weights.rs"]
mod weight_files;

const NET: &str = r#"
/// A layer of each kind.
pub net Small(image: [1, 3, 9, 7]) {
    let x = image.conv(20, 3, padding = 1, bias = false, name = "stem").bn(name = "norm").relu();
    let y = x.conv(20, 3, padding = 1, groups = 20, name = "depthwise").hard_swish();
    (x + y).global_avg_pool().flatten().linear(10, name = "classifier")
}
"#;

/// A folder for one test, with the small network in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("small.net"), NET).expect("a file");
    folder
}

/// The program in a folder, with a cache that the tests share.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.current_dir(folder).env("KILN_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("kiln-cache"));
    command
}

fn kiln<A: AsRef<OsStr>>(folder: &Path, args: &[A]) -> Output {
    command(folder).args(args).output().expect("kiln runs")
}

fn succeeds(folder: &Path, args: &[&str]) -> String {
    let output = kiln(folder, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command that must succeed says on standard error.
fn notes(folder: &Path, args: &[&str]) -> String {
    let output = kiln(folder, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The message of a command that must fail with exit code 1, on one line, without the frame around it.
fn fails(folder: &Path, args: &[&str]) -> String {
    let output = kiln(folder, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!message.contains("panicked"), "{message}");
    let words = message.split_whitespace().filter(|word| !word.chars().all(|c| "│╭╰─·×▶".contains(c)));
    words.collect::<Vec<_>>().join(" ")
}

/// What lies in a folder, hidden files included.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Weights for the small network, by the formula, all but those that `keep` leaves out.
fn weights(keep: impl Fn(&str) -> bool, shape_of: impl Fn(&str, Vec<usize>) -> Vec<usize>) -> Vec<u8> {
    use kiln_rt::fill::Kind;
    let vector = |name: &'static str, kind| (name, kind, vec![20]);
    let tensors = [
        ("stem.weight", Kind::Kernel, vec![20, 3, 3, 3]),
        vector("norm.weight", Kind::Gamma),
        vector("norm.bias", Kind::Bias),
        vector("norm.running_mean", Kind::Mean),
        vector("norm.running_var", Kind::Var),
        ("depthwise.weight", Kind::Kernel, vec![20, 1, 3, 3]),
        vector("depthwise.bias", Kind::Bias),
        ("classifier.weight", Kind::Kernel, vec![10, 20]),
        ("classifier.bias", Kind::Bias, vec![10]),
    ];
    let filled: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .filter(|(name, ..)| keep(name))
        .map(|(name, kind, shape)| {
            let shape = shape_of(name, shape);
            let values = kiln_rt::fill::fill(name, kind, &shape, 6.0);
            (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    write(filled.iter().map(|(name, shape, bytes)| (*name, View { dtype: Dtype::F32, shape, bytes })))
}

#[test]
fn weights_that_do_not_fit_are_named_and_nothing_is_written() {
    let folder = folder();
    let path = folder.path();
    let whole = weights(|_| true, |_, shape| shape);
    assert!(SafeTensors::parse(&whole).is_ok());
    let before = |extra: &[&str]| {
        let mut names: Vec<String> = ["small.net", "w.safetensors"].map(str::to_owned).to_vec();
        names.extend(extra.iter().map(|name| (*name).to_owned()));
        names.sort();
        names
    };
    let build = ["build", "small.net", "--weights", "w.safetensors", "--out", "crate"];
    let check = |bytes: &[u8], words: &[&str]| {
        fs::write(path.join("w.safetensors"), bytes).expect("a file");
        let message = fails(path, &build);
        for word in words {
            assert!(message.contains(word), "`{word}` in: {message}");
        }
        assert_eq!(names(path), before(&[]));
    };
    check(
        &weights(|name| !name.starts_with("norm"), |_, shape| shape),
        &["norm.weight", "norm.running_var", "have no tensor"],
    );
    let transposed = weights(|_| true, |name, shape| if name == "classifier.weight" { vec![20, 10] } else { shape });
    check(&transposed, &["classifier.weight", "[20, 10]", "[10, 20]"]);
    check(&whole[..whole.len() - 40], &["w.safetensors", "not a safetensors file"]);
    check(b"PK\x03\x04 a zip file", &["w.safetensors", "not a state dict of PyTorch", "archive"]);
    check(b"\x80\x02}.", &["w.safetensors", "a pickle"]);
    check(b"\x89HDF\r\n\x1a\n", &["w.safetensors", "HDF5"]);
    check(&prefixed(&whole, "module."), &["stem.weight", "all names would match with `--strip-prefix module.`"]);
    check(b"", &["w.safetensors is an empty file, not a file of weights"]);
    assert!(fails(path, &["build", "small.net", "--weights", "nowhere", "--out", "crate"]).contains("nowhere"));
    assert!(fails(path, &["build", "small.net", "--weights", "fill:x", "--out", "crate"]).contains("gain"));
}

/// A safetensors file with something before each name.
fn prefixed(file: &[u8], prefix: &str) -> Vec<u8> {
    let tensors = SafeTensors::parse(file).expect("a file");
    let names: Vec<(String, View<'_>)> =
        tensors.names().map(|name| (format!("{prefix}{name}"), tensors.tensor(name).expect("a tensor"))).collect();
    write(names.iter().map(|(name, view)| (name.as_str(), *view)))
}

#[test]
fn prefixes_of_names_are_taken_off() {
    let folder = folder();
    let path = folder.path();
    let whole = weights(|_| true, |_, shape| shape);
    fs::write(path.join("w.safetensors"), &whole).expect("a file");
    fs::write(path.join("p.safetensors"), prefixed(&whole, "a.b.")).expect("a file");
    let run = |weights: &[&str]| {
        let run = ["run", "small.net", "--input", "fill", "--engine", "interp", "--weights"];
        succeeds(path, &[&run[..], weights].concat())
    };
    let expected = run(&["w.safetensors"]);
    assert_eq!(run(&["p.safetensors", "--strip-prefix", "a.b."]), expected);
    assert_eq!(run(&["p.safetensors", "--strip-prefix", "a.", "--strip-prefix", "b."]), expected);
    let matching = ["weights", "small.net", "p.safetensors"];
    assert!(fails(path, &matching).contains("all names would match with `--strip-prefix a.b.`"));
    let text = succeeds(path, &[&matching[..], &["--strip-prefix", "a.b."]].concat());
    assert_eq!(text, "9 tensors match\n");
    let alone = fails(path, &["build", "small.net", "--strip-prefix", "a.", "--out", "crate"]);
    assert!(alone.contains("`--strip-prefix` is for a file that `--weights` names"), "{alone}");
}

/// A safetensors file with metadata.
fn with_metadata(file: &[u8], metadata: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let mut header = format!("{{\"__metadata__\":{metadata},").into_bytes();
    header.extend_from_slice(&file[9..8 + length]);
    [&(header.len() as u64).to_le_bytes()[..], &header, &file[8 + length..]].concat()
}

#[test]
fn a_crate_names_its_licence_and_what_its_weights_say_of_themselves() {
    let folder = folder();
    let path = folder.path();
    let metadata = r#"{"format": "pt", "license": "apache-2.0", "notes": "a\n```\n# b"}"#;
    let weights = with_metadata(&weights(|_| true, |_, shape| shape), metadata);
    fs::write(path.join("w.safetensors"), weights).expect("a file");
    let build = ["build", "small.net", "--weights", "w.safetensors", "--out", "crate", "--license"];
    succeeds(path, &[&build[..], &["MIT OR Apache-2.0"]].concat());
    let read = |name: &str| fs::read_to_string(path.join("crate").join(name)).expect("a file");
    assert!(read("Cargo.toml").contains("\nlicense = \"MIT OR Apache-2.0\"\n"));
    let readme = read("README.md");
    let (_, section) = readme.split_once("\n## Weights\n").expect("a section");
    let entries = "```text\n\"format\": \"pt\"\n\"license\": \"apache-2.0\"\n\"notes\": \"a\\n```\\n# b\"\n```\n";
    assert!(section.contains(entries), "{section}");
    assert!(readme.ends_with("\n## Licence\n\nMIT OR Apache-2.0\n"), "{readme}");

    for wrong in ["MTI", "MIT OR", "", "MIT\"\nname = \"x"] {
        let output = kiln(path, &[&build[..5], &["other", "--license", wrong]].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && message.contains("--license"), "{wrong}: {message}");
        assert!(!path.join("other").exists());
    }
    succeeds(path, &["build", "small.net", "--weights", "fill", "--out", "plain"]);
    let plain = fs::read_to_string(path.join("plain/README.md")).expect("a file");
    assert!(!plain.contains("Licence") && !plain.contains("## Weights"));
}

#[test]
fn a_folder_that_exists_is_replaced_only_if_kiln_made_it_and_only_by_force() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("mine")).expect("a folder");
    fs::write(path.join("mine/file"), "precious").expect("a file");
    let build = |out, force: bool| {
        let mut args = vec!["build", "small.net", "--weights", "fill", "--target", "base", "--out", out];
        args.extend(force.then_some("--force"));
        args
    };
    assert!(fails(path, &build("mine", false)).contains("exists already"));
    assert!(fails(path, &build("mine", true)).contains("not made by kiln"));
    assert_eq!(fs::read_to_string(path.join("mine/file")).expect("the file"), "precious");

    succeeds(path, &build("ours", false));
    fs::write(path.join("ours/extra"), "").expect("a file");
    assert!(fails(path, &build("ours", false)).contains("--force"));
    succeeds(path, &build("ours", true));
    assert!(!path.join("ours/extra").exists());
    assert_eq!(names(path), ["mine", "ours", "small.net"]);
}

#[test]
fn an_exported_model_answers_as_its_network_and_stands_whole_or_not_at_all() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("w.safetensors"), weights(|_| true, |_, shape| shape)).expect("a file");
    let answer = |spec: &str, weights: &[&str]| {
        let output = ["--input", "fill", "--engine", "interp", "--output", "y.npy"];
        succeeds(path, &[&["run", spec], weights, &output[..]].concat());
        let bytes = fs::read(path.join("y.npy")).expect("the output");
        let numbers = bytes[bytes.len() - 40..].chunks_exact(4);
        numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<f32>>()
    };
    let expected = answer("small.net", &["--weights", "w.safetensors"]);
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for extra in [&[][..], &["--fold-batch-norm"], &["--external-data"], &["--external-data", "--fold-batch-norm"]] {
        let export = ["export", "small.net", "--weights", "w.safetensors", "--out", "m.onnx", "--force"];
        let printed = succeeds(path, &[&export[..], extra].concat());
        assert!(printed.starts_with("Small in m.onnx\n"), "{printed}");
        let found = answer("m.onnx", &[]);
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-6 * largest), "{found:?}, {expected:?}");
    }
    assert_eq!(names(path), ["m.onnx", "m.onnx.data", "small.net", "w.safetensors", "y.npy"]);
    let graph = |model| succeeds(path, &["graph", model]);
    assert!(!graph("m.onnx").contains("= bn("));
    let batches =
        ["export", "small.net", "--weights", "fill", "--set", "image=[3, 3, 9, 7]", "--out", "deep/batches.onnx"];
    succeeds(path, &batches);
    let batches = graph("deep/batches.onnx");
    assert!(batches.contains("\"image\" = input(): f32[3, 3, 9, 7]"), "{batches}");
    assert!(
        batches.contains("\"norm\" = bn(") && batches.contains("kernel(\"stem.weight\", [20, 3, 3, 3])"),
        "{batches}"
    );

    // What is there stays as it is.
    let before = (fs::read(path.join("m.onnx")).expect("a model"), names(path));
    let fail = |args: &[&str], words: &[&str]| {
        let message = fails(path, &[&["export", "small.net"], args].concat());
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    fail(&["--weights", "fill", "--out", "m.onnx"], &["m.onnx exists already", "--force"]);
    fail(&["--weights", "fill", "--out", "deep", "--force"], &["deep is a folder"]);
    fs::remove_file(path.join("m.onnx.data")).expect("a file");
    fs::create_dir(path.join("m.onnx.data")).expect("a folder");
    let fill = ["--weights", "fill", "--out", "m.onnx", "--force", "--external-data"];
    fail(&fill, &["m.onnx.data is a folder"]);
    fs::write(path.join("w.safetensors"), weights(|name| name != "norm.bias", |_, shape| shape)).expect("a file");
    fail(&["--weights", "w.safetensors", "--out", "m.onnx", "--force"], &["`norm.bias`", "have no tensor"]);
    fail(&["--weights", "w.safetensors", "--out", "new.onnx"], &["`norm.bias`"]);
    assert_eq!((fs::read(path.join("m.onnx")).expect("a model"), names(path)), before);
}

#[test]
fn a_weights_file_that_was_cut_or_changed_is_an_error_on_load() {
    let folder = folder();
    let path = folder.path();
    succeeds(path, &["build", "small.net", "--weights", "fill", "--target", "base", "--out", "crate"]);
    let weights = fs::read(path.join("crate/weights.bin")).expect("the weights");
    let run = || -> Output {
        // Cargo does not see a changed weights file; a new build of the crate does.
        let touched = path.join("crate/src/lib.rs");
        fs::write(&touched, fs::read(&touched).expect("the source")).expect("the source");
        Command::new(env!("CARGO"))
            .args(["run", "--release", "--offline", "--quiet", "--example", "run", "--", "tests/golden_input.bin"])
            .current_dir(path.join("crate"))
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_INCREMENTAL")
            .output()
            .expect("cargo runs")
    };
    let whole = run();
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    let check = |bytes: &[u8]| {
        fs::write(path.join("crate/weights.bin"), bytes).expect("the weights");
        let output = run();
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains("weights"), "{message}");
    };
    check(&weights[..weights.len() - 64]);
    let mut changed = weights.clone();
    let last = changed.len() - 5;
    changed[last] ^= 1;
    check(&changed);
}

#[test]
fn a_wrong_layer_is_shown_with_line_column_and_both_shapes() {
    let folder = folder();
    let path: PathBuf = folder.path().join("wrong.net");
    fs::write(&path, NET.replace("(x + y)", "(x + y.conv(24, 1, name = \"wide\"))")).expect("a file");
    let message = fails(folder.path(), &["inspect", "wrong.net"]);
    for word in ["wrong.net:6:5", "[1, 20, 9, 7]", "[1, 24, 9, 7]", "channels differ: 20 and 24"] {
        assert!(message.contains(word), "`{word}` in: {message}");
    }
}

#[test]
fn every_stage_prints_and_the_printed_graph_is_read_back() {
    let folder = folder();
    let path = folder.path();
    let graph = succeeds(path, &["graph", "small.net"]);
    fs::write(path.join("small.graph"), &graph).expect("a file");
    assert_eq!(succeeds(path, &["graph", "small.graph"]), graph);
    let optimized = |spec| succeeds(path, &["graph", spec, "--stage", "optimized"]);
    assert_eq!(optimized("small.net"), optimized("small.graph"));
    let kernels = |spec| succeeds(path, &["kernels", spec, "--target", "avx2"]);
    assert_eq!(kernels("small.net"), kernels("small.graph"));
    assert!(succeeds(path, &["graph", "small.net", "--format", "dot"]).starts_with("digraph"));
    assert!(succeeds(path, &["kernels", "small.net", "--name", "depthwise", "--ir"]).contains("depthwise3x3"));
    assert!(succeeds(path, &["explain", "small.net", "--node", "stem"]).contains("bn"));
    assert!(fails(path, &["explain", "small.net", "--node", "stern"]).contains("stern"));
    let json = succeeds(path, &["inspect", "small.net", "--stats", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["parameters"], 20 * 27 + 40 + 20 * 9 + 20 + 210);
    assert!(json["arena_bytes"].as_u64() >= json["arena_lower_bound_bytes"].as_u64());
}

#[test]
fn engines_agree_on_the_command_line() {
    let folder = folder();
    let path = folder.path();
    let run = |engine| {
        let output = format!("{engine}.npy");
        let args =
            ["run", "small.net", "--weights", "fill", "--input", "fill", "--engine", engine, "--output", &output];
        succeeds(path, &args);
        let bytes = fs::read(path.join(output)).expect("the output");
        let numbers = bytes[bytes.len() - 40..].chunks_exact(4);
        numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<f32>>()
    };
    let (oracle, kernels, crates) = (run("interp"), run("kernel"), run("aot"));
    assert_eq!(kernels, crates, "the kernel interpreter gives the bits of the crate");
    let largest = oracle.iter().fold(0f32, |m, v| m.max(v.abs()));
    for (a, b) in oracle.iter().zip(&crates) {
        assert!((a - b).abs() <= 1e-5 * largest, "{oracle:?} {crates:?}");
    }
    let wrong = fails(path, &["run", "small.net", "--weights", "fill", "--input", "nowhere.npy"]);
    assert!(wrong.contains("nowhere.npy"), "{wrong}");
}

#[test]
fn every_output_is_written_to_a_file_of_its_name() {
    let folder = folder();
    let path = folder.path();
    let net = r#"
pub net Pair(image: [2, 3, 4, 5], other: [1, 3, 1, 1]) {
    let scores = image.global_max_pool().flatten();
    let boxes = other.relu();
    (scores, boxes)
}
"#;
    fs::write(path.join("pair.net"), net).expect("a file");
    for engine in ["interp", "aot"] {
        let inputs = ["--input", "image=fill", "--input", "other=fill"];
        let args =
            [&["run", "pair.net", "--weights", "fill", "--engine", engine, "--outputs", engine], &inputs[..]].concat();
        succeeds(path, &args);
        assert_eq!(names(&path.join(engine)), ["boxes.npy", "outputs.json", "scores.npy"]);
        let listed = fs::read_to_string(path.join(engine).join("outputs.json")).expect("a file");
        assert_eq!(listed.lines().nth(1), Some("  \"scores\": \"scores.npy\","), "{listed}");
        let read = |name: &str| fs::read(path.join(engine).join(name)).expect("an output");
        let says = |file: &[u8], shape: &[u8]| file.windows(shape.len()).any(|window| window == shape);
        assert!(says(&read("scores.npy"), b"(2, 3)") && says(&read("boxes.npy"), b"(1, 3, 1, 1)"));
        assert_eq!([read("scores.npy").len(), read("boxes.npy").len()], [128 + 4 * 6, 128 + 4 * 3]);
        assert!(fails(path, &args).contains("exists"));
    }
    assert_eq!(fs::read(path.join("interp/boxes.npy")).ok(), fs::read(path.join("aot/boxes.npy")).ok());
}

#[test]
fn the_zoo_is_listed_and_shown() {
    let folder = folder();
    let list = succeeds(folder.path(), &["zoo"]);
    let row = list.lines().find(|line| line.starts_with("mobilenet_v3_small ")).expect("a row");
    let cells: Vec<&str> = row.split_whitespace().collect();
    let wanted = [
        "mobilenet_v3_small",
        "mobilenet_v3",
        "2,542,856",
        "56,510,400",
        "1×3×224×224",
        "torchvision/mobilenet_v3_small",
    ];
    assert_eq!(cells, wanted);
    let shown = succeeds(folder.path(), &["zoo", "mobilenet_v3_small"]);
    for words in ["MobileNetV3Small, in zoo::mobilenet_v3", "2,542,856", "arXiv:1905.02244", "pub net MobileNetV3("] {
        assert!(shown.contains(words), "{words}");
    }
    let family: serde_json::Value =
        serde_json::from_str(&succeeds(folder.path(), &["zoo", "squeezenet", "--json"])).expect("JSON");
    assert_eq!(family.as_array().map(Vec::len), Some(2));
    assert_eq!(family[0]["parameters"], 1_248_424);
    let stats: serde_json::Value =
        serde_json::from_str(&succeeds(folder.path(), &["zoo", "lenet5", "--stats", "--json"])).expect("JSON");
    assert_eq!(stats[0]["arena_bytes"], stats[0]["arena_lower_bound_bytes"]);
    assert!(fails(folder.path(), &["zoo", "resnet19"]).contains("`resnet18` is near"));
}

#[test]
fn the_zoo_is_checked_against_a_folder() {
    let folder = folder();
    let counts = |text: &str| fs::write(folder.path().join("counts.json"), text).expect("a file");
    let check = ["zoo", "--check", ".", "--logits", "interp"];
    assert!(fails(folder.path(), &check).contains("says nothing of these networks"));
    counts(r#"{"torchvision/alexnet": 61100840, "keras/MobileNet": 4253864, "else/net": 3}"#);
    let table = succeeds(folder.path(), &check);
    assert!(table.ends_with("2 of 2 hold\n"), "{table}");
    counts(r#"{"torchvision/alexnet": 61100841}"#);
    assert!(fails(folder.path(), &check).contains("1 network of 1 is not what . says"));

    // A stored answer of zeros in place of LeNet-5's, whose names and shapes are right.
    let golden = |state: &str| {
        fs::create_dir_all(folder.path().join("golden")).expect("a folder");
        let text = format!(r#"{{"params": 60850, "gain": 2.0, "state": [{state}], "output": [0,0,0,0,0,0,0,0,0,1]}}"#);
        fs::write(folder.path().join("golden/lenet5.json"), text).expect("a file");
    };
    golden(r#"["c1.weight", "kernel", [6, 1, 5, 5]]"#);
    let output = kiln(folder.path(), &["zoo", "lenet5", "--check", ".", "--logits", "interp", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(rows[0]["weights"], "`c1.bias` too much");
    assert_eq!(rows[0]["parameters"], 60_850);
    assert!(rows[0]["logits_error"].is_null());
    golden(r#"["c9.weight", "kernel", [6, 1, 5, 5]]"#);
    let output = kiln(folder.path(), &["zoo", "lenet5", "--check", ".", "--logits", "interp"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("no `c9.weight`"));
    fs::write(folder.path().join("golden/lenet5.json"), "{}").expect("a file");
    assert!(fails(folder.path(), &["zoo", "lenet5", "--check", "."]).contains("does not hold a number `gain`"));
}

#[test]
fn weights_are_held_beside_a_network() {
    let folder = folder();
    fs::write(folder.path().join("all.safetensors"), weights(|_| true, |_, shape| shape)).expect("a file");
    let text = succeeds(folder.path(), &["weights", "small.net", "all.safetensors"]);
    assert_eq!(text, "9 tensors match\n");
    let some =
        weights(|name| name != "stem.weight", |name, shape| if name == "norm.bias" { vec![4, 5] } else { shape });
    fs::write(folder.path().join("some.safetensors"), some).expect("a file");
    let args = ["weights", "small.net", "some.safetensors", "--json"];
    let output = kiln(folder.path(), &args);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["missing"][0]["name"], "stem.weight");
    assert_eq!(found["other_shape"][0], serde_json::json!({"name": "norm.bias", "network": [20], "file": [4, 5]}));
    assert!(fails(folder.path(), &args).contains("tensors of `small.net`: 1 is missing, 1 has another shape"));
}
