//! Networks, layers, tensors and packages of any names: what is emitted for them builds without warnings, in Rust and in C.

use std::path::Path;
use std::process::Command;

use kiln_compiler::back::rust::{OutputFiles, PackageName};
use kiln_compiler::graph::{Graph, Linear, Op, Origin, TensorType};
use kiln_compiler::pipeline::{Options, compile};
use kiln_compiler::target::Target;
use kiln_rt::fill::Kind;
use kiln_rt::weights::FillSource;

use crate::crates;

/// A network of linear layers, one from each input to an output.
fn network(name: &str, tensors: &[(&str, &str, &str)]) -> Graph {
    let mut graph = Graph::new(name);
    for (input, layer, output) in tensors {
        let x = graph.add(Op::Input(TensorType::f32([1, 3])), &[], vec![], Origin::named(*input)).expect("an input");
        let weight = graph.weights.read(layer, Kind::Kernel, &[2, 3]);
        let op = Op::Linear(Linear { features: 2, bias: false });
        let y = graph.add(op, &[x], vec![weight], Origin::named(*layer)).expect("a layer");
        graph.add_output(*output, y);
    }
    graph
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes the crate of a network, and checks all that is in it: code with its features, examples, README, what is for C.
fn check(package: &str, net: &str, tensors: &[(&str, &str, &str)]) -> std::path::PathBuf {
    let options = Options { targets: vec![Target::detect()], ..Options::default() };
    let compiled = compile(network(net, tensors), &options).unwrap_or_else(|error| panic!("{error}"));
    let package = PackageName::like(package);
    let folder = crates::write_as(package.clone(), &format!("named_{package}"), &compiled, &FillSource { gain: 2.0 });
    crates::cargo(&folder, &["check", "--all-targets", "--features", "capi"]);
    crates::cargo(&folder, &["test", "--doc"]);
    let include = folder.join("include");
    for (compiler, language) in [("cc", "c"), ("c++", "c++")] {
        let header = std::fs::read_dir(&include).expect("a folder").next().expect("a header").expect("a header").path();
        let flags = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", language];
        succeeds(Command::new(compiler).args(flags).arg(header));
    }
    let program = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-Iinclude", "c/main.c"];
    succeeds(Command::new("cc").args(program).current_dir(&folder));
    folder
}

#[test]
fn names_of_the_language_and_its_library_are_taken_as_any() {
    let _one = crates::lock();
    check(
        "my__net",
        "Result",
        &[("self", "layout", "result"), ("async", "packed", "some"), ("gen", "exprs", "printf")],
    );
    check("std", "threads", &[("status", "program", "vec"), ("main", "steps", "stderr"), ("u8", "cx", "str")]);
    check("u8", "vec", &[("box", "core", "box"), ("memory", "span", "y1"), ("int", "none", "double")]);
    check("über", " ", &[(" ", "9", "0"), ("_", "__", "é"), ("数", "super", "crate")]);
}

#[test]
fn names_that_are_no_names_leave_comments_texts_and_folders_whole() {
    let _one = crates::lock();
    let long = ["a", "b"].map(|end| format!("{}{end}", "logits/of/the/head/".repeat(16)));
    let hostile = "x\"; */ // \\\n\r__MODEL__ {} `b` \u{202e}";
    let layer = format!("{hostile}.layer");
    let tensors = [
        (hostile, layer.as_str(), hostile),
        ("A", "A.layer", &long[0]),
        ("a", "a.layer", &long[1]),
        (&long[1], "/", "../y"),
    ];
    let folder = check("a\"b\n", hostile, &tensors);

    // The program writes each output to a file of its own, inside of the folder.
    let inputs: Vec<String> = (0..tensors.len()).map(|i| format!("input{i}.bin")).collect();
    for (index, input) in inputs.iter().enumerate() {
        let values = [1.0, 2.0, index as f32];
        std::fs::write(folder.join(input), values.map(f32::to_le_bytes).concat()).expect("a file");
    }
    let named: Vec<String> = (0..tensors.len()).map(|i| format!("output{i}.npy")).collect();
    let outputs = named.iter().flat_map(|name| ["--output", name]);
    let arguments: Vec<&str> = inputs.iter().map(String::as_str).chain(outputs).chain(["--outputs", "all"]).collect();
    crates::cargo(&folder, &[&["run", "--example", "run", "--"], &arguments[..]].concat());
    let OutputFiles { files, json } = OutputFiles::of(&tensors.map(|(_, _, output)| output));
    let read = |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (named, file) in named.iter().zip(&files) {
        assert_eq!(read(&folder.join(named)), read(&folder.join("all").join(file)), "{file}");
    }
    let written = read(&folder.join("all/outputs.json"));
    assert_eq!(String::from_utf8_lossy(&written), json);
    let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&written).expect("JSON");
    assert_eq!(parsed.keys().map(String::as_str).collect::<Vec<_>>(), tensors.map(|(_, _, output)| output));
    assert_eq!(parsed[&long[1]], files[2].as_str());
    assert_eq!(std::fs::read_dir(folder.join("all")).expect("a folder").count(), tensors.len() + 1);
}
