//! Examples in the help of each verb.

use std::fmt::Write;

/// What a command line does, and the line.
type Example = (&'static str, &'static str);

/// The examples of each verb.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "build",
        &[
            (
                "Published weights, as PyTorch saves them",
                "kiln build zoo:resnet18 --weights resnet18.pth --out resnet18",
            ),
            ("An ONNX file, with its own weights", "kiln build model.onnx --out model"),
            (
                "For batches of eight, with kernels for AVX2 alone",
                "kiln build zoo:mobilenet_v2 --weights fill --set n=8 --target avx2 --out mobilenet_v2",
            ),
        ],
    ),
    (
        "export",
        &[(
            "A network with its weights for other engines",
            "kiln export zoo:resnet18 --weights resnet18.pth --out resnet18.onnx",
        )],
    ),
    (
        "run",
        &[
            ("Classify a photo", "kiln run zoo:resnet18 --weights resnet18.pth --input cat.jpg"),
            (
                "A photo for an ONNX file, which does not say how",
                "kiln run model.onnx --input cat.jpg --image imagenet",
            ),
            ("An ONNX file on an array", "kiln run model.onnx --input x.npy --output y.npy"),
            ("Hold the output against another program's", "kiln run model.onnx --input x.npy --compare y.npy"),
            (
                "Several inputs, and every output in a file of its own",
                "kiln run model.onnx --input ids=ids.npy --input mask=mask.npy --outputs answers",
            ),
        ],
    ),
    (
        "bench",
        &[
            ("A network on two threads", "kiln bench zoo:resnet18 --threads 2"),
            ("For a program", "kiln bench model.onnx --json"),
        ],
    ),
    ("profile", &[("Where the time goes, with the roofline", "kiln profile zoo:resnet18 --svg roofline.svg")]),
    (
        "inspect",
        &[
            ("Each stage of a network in a line", "kiln inspect zoo:resnet18 --depth 1"),
            ("Kernels by kind, and what is copied", "kiln inspect zoo:mobilenet_v2 --stats --target avx512"),
            ("A `network!` in a Rust file", "kiln inspect src/model.rs"),
            ("An ONNX file whose batch is open", "kiln inspect model.onnx --set N=1"),
        ],
    ),
    (
        "graph",
        &[
            ("As it is after the rewrites", "kiln graph zoo:resnet18 --stage optimized"),
            ("A picture", "kiln graph zoo:googlenet --format svg > googlenet.svg"),
        ],
    ),
    (
        "kernels",
        &[
            ("The Rust of some kernels", "kiln kernels zoo:resnet18 --name linear"),
            ("The kernel IR for AVX-512", "kiln kernels zoo:lenet5 --target avx512 --ir"),
        ],
    ),
    ("explain", &[("How a layer became part of a kernel", "kiln explain zoo:resnet18 --node layer1.0.conv2")]),
    (
        "weights",
        &[
            ("The tensors that a network reads", "kiln weights zoo:resnet18"),
            ("Which of them a file has", "kiln weights zoo:resnet18 resnet18.pth"),
            ("A file of zeros to fill in", "kiln weights zoo:resnet18 --template resnet18.safetensors"),
        ],
    ),
    (
        "zoo",
        &[
            ("All networks", "kiln zoo"),
            ("The spec of one", "kiln zoo resnet18"),
            ("Code and memory of a family", "kiln zoo squeezenet --stats"),
        ],
    ),
    ("demo", &[("Keep the crate", "kiln demo --out digits")]),
    ("cache", &[("Where it is, and how large", "kiln cache"), ("Remove all programs", "kiln cache --clear")]),
    (
        "completions",
        &[
            ("Bash", "kiln completions bash > ~/.local/share/bash-completion/completions/kiln"),
            ("Fish", "kiln completions fish > ~/.config/fish/completions/kiln.fish"),
        ],
    ),
    (
        "man",
        &[("Read a page", "kiln man run | man -l -"), ("Install all pages", "kiln man --out ~/.local/share/man/man1")],
    ),
];

/// The command with examples behind the options of each verb.
pub(crate) fn added(command: clap::Command) -> clap::Command {
    EXAMPLES.iter().fold(command, |command, (verb, examples)| {
        let mut text = "Examples:".to_owned();
        for (does, line) in *examples {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  # {does}\n  {line}");
        }
        command.mut_subcommand(verb, |verb| verb.after_help(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_examples_and_each_is_a_command() {
        for verb in crate::command().get_subcommands() {
            let known = EXAMPLES.iter().any(|(name, examples)| *name == verb.get_name() && !examples.is_empty());
            assert!(known, "`kiln {}` has no example", verb.get_name());
        }
        for (verb, examples) in EXAMPLES {
            for (does, line) in *examples {
                let arguments = line.split([' ']).take_while(|word| !["|", ">"].contains(word));
                let parsed = crate::command().try_get_matches_from(arguments);
                let parsed = parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(parsed.subcommand_name(), Some(*verb), "{line}");
                assert!(does.len() < 80 && line.len() < 100, "{line}");
            }
        }
    }
}
