//! What `kiln` says of itself: help, examples, completions, the manual; and how it prints for programs.

use std::fs;
use std::process::{Command, Stdio};

use super::{NET, command, fails, folder, kiln, names, prefixed, succeeds, weights};

/// The verbs, as `kiln --help` lists them.
fn verbs() -> Vec<String> {
    let help = succeeds(folder().path(), &["--help"]);
    let (_, list) = help.split_once("Commands:\n").expect("a list");
    let verbs = list.lines().take_while(|line| line.starts_with("  "));
    verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help").map(str::to_owned).collect()
}

/// The command lines among a verb's examples.
fn examples(verb: &str) -> Vec<String> {
    let help = succeeds(folder().path(), &[verb, "--help"]);
    let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{verb} has no examples"));
    examples.lines().filter(|line| line.starts_with("  kiln ")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn every_verb_has_examples_and_those_that_need_no_files_run() {
    let folder = folder();
    let mut ran = 0;
    for verb in verbs() {
        let examples = examples(&verb);
        assert!(!examples.is_empty(), "{verb}");
        if !["inspect", "graph", "kernels", "explain", "weights", "zoo", "cache", "completions", "man"]
            .contains(&verb.as_str())
        {
            continue;
        }
        for line in examples
            .iter()
            .filter(|line| !["model.", "--out", ".pth", "--template", "--clear"].iter().any(|file| line.contains(file)))
        {
            let arguments: Vec<&str> = line.split(' ').skip(1).take_while(|word| !["|", ">"].contains(word)).collect();
            assert!(!succeeds(folder.path(), &arguments).is_empty(), "{line}");
            ran += 1;
        }
    }
    assert!(ran >= 14, "{ran} examples ran");
}

#[test]
fn commands_stand_whole_on_a_line() {
    let folder = folder();
    let path = folder.path();
    let whole = |text: &str| {
        for line in text.lines() {
            assert!(line.matches('`').count().is_multiple_of(2), "`{line}` ends within a command:\n{text}");
        }
    };
    for verb in verbs() {
        for flag in ["-h", "--help"] {
            let help = succeeds(path, &[&verb, flag]);
            whole(&help);
            for line in help.lines().filter(|line| !line.starts_with("  kiln ")) {
                assert!(line.chars().count() <= 140, "kiln {verb} {flag}: {line}");
            }
        }
    }
    // The prefix does not fit behind the option on the line that the option still fits on.
    let prefix = "a.prefix.that.some.training.program.put.before.names.";
    let file = prefixed(&weights(|_| true, |_, shape| shape), prefix);
    fs::write(path.join("w.safetensors"), file).expect("a file");
    let output = kiln(path, &["build", "small.net", "--weights", "w.safetensors", "--out", "crate"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(&format!("`--strip-prefix {prefix}`")), "{message}");
    whole(&message);
}

#[test]
fn shells_get_completions_and_man_gets_pages() {
    let folder = folder();
    let path = folder.path();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeeds(path, &["completions", shell]);
        for verb in verbs() {
            assert!(script.contains(&verb), "{shell} does not know {verb}");
        }
        assert!(script.contains("strip-prefix"), "{shell}");
        if shell == "zsh" {
            assert!(
                script.contains("or an `.onnx` file; `FILE#NET` where"),
                "descriptions are lines of their own: {script}"
            );
        }
    }
    let page = succeeds(path, &["man"]);
    assert!(page.contains(".TH kiln 1") && page.contains("kiln\\-explain(1)"), "{page}");
    let page = succeeds(path, &["man", "inspect"]);
    assert!(page.contains(".TH kiln-inspect 1") && page.contains(".SH EXAMPLES\n.nf\n  # "), "{page}");
    assert!(page.contains("kiln inspect zoo:resnet18"), "{page}");
    succeeds(path, &["man", "--out", "pages/man1"]);
    let mut expected: Vec<String> = verbs().iter().map(|verb| format!("kiln-{verb}.1")).collect();
    expected.push("kiln.1".to_owned());
    expected.sort();
    assert_eq!(names(&path.join("pages/man1")), expected);
    assert!(fails(path, &["man", "fly"]).contains("no verb `fly`"));
}

#[test]
fn the_version_is_the_package_s() {
    let folder = folder();
    for arguments in [&["--version"][..], &["-V"]] {
        assert_eq!(succeeds(folder.path(), arguments), format!("kiln {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for arguments in
        [&["zoo"][..], &["zoo", "--json"], &["graph", "zoo:lenet5"], &["--help"], &["man"], &["completions", "zsh"]]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kiln"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kiln runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
    // What is said on standard error goes nowhere either; a failure still shows in the exit code.
    let folder = folder();
    let many = ["--weights", "fill", "--input", "fill", "--engine", "aot", "--threads", "999"];
    for (arguments, code) in [([&["run", "small.net"][..], &many].concat(), 0), (vec!["inspect", "gone.net"], 1)] {
        let mut child = command(folder.path())
            .args(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kiln runs");
        drop(child.stderr.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn json_is_one_line() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("w.safetensors"), weights(|_| true, |_, shape| shape)).expect("a file");
    let run = ["run", "small.net", "--weights", "fill", "--input", "fill", "--engine", "interp", "--json"];
    for arguments in [
        &["inspect", "small.net", "--json"][..],
        &["inspect", "small.net", "--json", "--stats", "--depth", "1"],
        &["zoo", "--json"],
        &["zoo", "squeezenet", "--stats", "--json"],
        &["weights", "small.net", "--json"],
        &["weights", "small.net", "w.safetensors", "--json"],
        &["zoo", "squeezenet1_0", "squeezenet1_1", "--json"],
        &run,
    ] {
        let text = succeeds(path, arguments);
        assert_eq!(text.matches('\n').count(), 1, "{arguments:?}: {text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    }
}

#[test]
fn layers_are_folded_by_the_parts_of_their_names() {
    let folder = folder();
    let fold = |depth| {
        let text = succeeds(folder.path(), &["inspect", "zoo:resnet18", "--depth", depth]);
        let layers = text.lines().skip(1).take_while(|line| !line.trim().is_empty());
        layers.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let one = fold("1");
    // Two blocks of two convolutions of 64 by 64 channels and 3 by 3 taps on 56 by 56 pixels, and their BatchNorms.
    let (weights, macs) = (4 * 64 * 64 * 9 + 4 * 128, 4 * 64 * 64 * 9 * 56 * 56);
    assert_eq!((weights, macs), (147_968, 462_422_016));
    assert!(one.contains(&"layer1 14 layers 1×64×56×56 147,968 462,422,016".to_owned()), "{one:?}");
    assert!(!one.iter().any(|line| line.contains("layer1.")), "{one:?}");
    let two = fold("2");
    let at = two.iter().position(|line| line.starts_with("layer1 ")).expect("the first stage");
    assert!(two[at + 1].starts_with("0 7 layers") && two[at + 2].starts_with("1 7 layers"), "{two:?}");
    let json = succeeds(folder.path(), &["inspect", "zoo:resnet18", "--depth", "1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let layers = json["layers"].as_array().expect("layers");
    for sum in ["parameters", "macs"] {
        let of_layers: u64 = layers.iter().filter_map(|layer| layer[sum].as_u64()).sum();
        assert_eq!(Some(of_layers), json[sum].as_u64(), "{sum}");
    }
    let stage = layers.iter().find(|layer| layer["name"] == "layer1").expect("the first stage");
    assert_eq!((&stage["layers"], &stage["op"], &stage["level"]), (&14.into(), &serde_json::Value::Null, &0.into()));
}

#[test]
fn a_rust_file_with_a_network_is_a_spec() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("src")).expect("a folder");
    let write = |text: &str| fs::write(path.join("src/model.rs"), text).expect("a file");
    let rust = format!("//! A model.\nuse kiln::network;\n\nnetwork! {{{NET}}}\n\nfn main() {{}}\n");
    write(&rust);
    for verb in ["graph", "kernels"] {
        assert_eq!(succeeds(path, &[verb, "src/model.rs"]), succeeds(path, &[verb, "small.net"]));
    }
    assert_eq!(succeeds(path, &["inspect", "src/model.rs#Small"]), succeeds(path, &["inspect", "small.net"]));
    write(&rust.replace("padding = 1, groups", "padding = 9, grups"));
    let message = fails(path, &["inspect", "src/model.rs"]);
    assert!(message.contains("src/model.rs:8:") && message.contains("grups"), "{message}");
}

#[test]
fn what_a_rust_file_lacks_or_has_twice_is_told() {
    let folder = folder();
    let path = folder.path();
    let fails_with = |text: &str, spec: &str, parts: &[&str]| {
        fs::write(path.join("model.rs"), text).expect("a file");
        let message = fails(path, &["inspect", spec]);
        parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in: {message}"));
    };
    let two =
        "network! { pub net A(x: [1, 3]) { x.relu() } }\nmod m { network! { pub net B(x: [1, 3]) { x.tanh() } } }\n";
    fs::write(path.join("model.rs"), two).expect("a file");
    assert!(succeeds(path, &["inspect", "model.rs#B"]).contains("tanh"));
    fails_with(two, "model.rs", &["several networks: A, B", "`model.rs#A`"]);
    fails_with(two, "model.rs#C", &["declares no network `C`", "it has A, B"]);
    fails_with(&two.replace("net B", "net A"), "model.rs", &["model.rs:2:28", "`A` is declared twice", "first here"]);
    fails_with("fn main() { vec![1]; println!(\"network! {{}}\"); }\n", "model.rs", &["has no `network!`"]);
    fails_with("fn main() {\n    (1, 2];\n}\n", "model.rs", &["model.rs:2:10", "this is no Rust"]);
    fails_with(&two.replace("tanh", "tahn"), "model.rs#B", &["model.rs:2:", "tahn", "tanh"]);
}
