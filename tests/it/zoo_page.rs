//! `docs/zoo.md` and its pictures, made from the specs; `INSTA_UPDATE=always` writes them anew, as it does snapshots.

use std::fmt::Write as _;
use std::path::PathBuf;

use kiln_compiler::front::spec::Spec;
use kiln_compiler::front::zoo::{FAMILIES, Family};
use kiln_compiler::front::{NoFiles, Overrides, elaborate, parse_text};
use kiln_compiler::graph::svg;

use crate::golden::{macs, parameters, zoo};

/// The block of each family whose picture the page shows: the shape of its input, and the call.
const BLOCKS: &[(&str, &str, &str)] = &[
    ("alexnet", "1, 3, 224, 224", "AlexNet(image = x)"),
    ("bn_inception", "1, 192, 28, 28", r#"inception_v2(x, "3a", 64, 64, 64, 64, 96, "avg", 32)"#),
    ("cifar_resnet", "1, 16, 32, 32", "cifar_block(x, 32, 2)"),
    ("densenet", "1, 64, 56, 56", "dense_layer(x, 32)"),
    ("efficientnet", "1, 24, 56, 56", r#"mbconv(x, 144, 24, 3, 1, "silu", 6, "silu")"#),
    ("efficientnet_lite", "1, 24, 56, 56", r#"inverted_residual(x, 144, 24, 3, 1, "relu6")"#),
    ("ghostnet", "1, 24, 56, 56", "ghost_bottleneck(x, 72, 40, 5, 2, 20)"),
    ("googlenet", "1, 192, 28, 28", "inception(x, 64, 96, 128, 16, 32, 32)"),
    ("inception_resnet_v1", "1, 256, 17, 17", "block35(x)"),
    ("inception_resnet_v2", "1, 320, 35, 35", "block35(x)"),
    ("inception_v3", "1, 768, 17, 17", "inception_c(x, 128)"),
    ("inception_v4", "1, 384, 35, 35", "inception_a(x)"),
    ("keras_inception_resnet_v2", "1, 320, 35, 35", "block35(x)"),
    ("keras_mobilenet", "1, 3, 224, 224", "KerasMobileNet(image = x)"),
    ("keras_resnet", "1, 64, 56, 56", "keras_bottleneck(x, 64, 1, true)"),
    ("keras_resnet_v2", "1, 64, 56, 56", "keras_preact_bottleneck(x, 64, 1, true)"),
    ("keras_xception", "1, 64, 147, 147", "halving_block(x, 128, 128)"),
    ("lenet5", "1, 1, 32, 32", "LeNet5(image = x)"),
    ("mnasnet", "1, 24, 56, 56", "inverted_residual_mnas(x, 24, 3, 1, 3)"),
    ("mobilenet_v1", "1, 64, 112, 112", r#"separable(x, 128, 3, 2, "relu6", last = "relu6")"#),
    ("mobilenet_v2", "1, 24, 56, 56", "inverted_residual_v2(x, 24, 1, 6)"),
    ("mobilenet_v3", "1, 40, 28, 28", r#"mbconv(x, 120, 40, 5, 1, "relu", 32, gate = "hard_sigmoid")"#),
    ("regnet", "1, 48, 56, 56", "regnet_block(x, 104, 2, 8, 12)"),
    ("repvgg", "1, 48, 56, 56", "repvgg_block(x, 48, 1)"),
    ("resnet", "1, 64, 56, 56", "bottleneck(x, 64, 256)"),
    ("resnet_v2", "1, 64, 56, 56", "preact_bottleneck(x, 64, 256)"),
    ("senet", "1, 256, 56, 56", "senet_bottleneck(x, 256, 512, 2)"),
    ("shufflenet_v1", "1, 240, 28, 28", "shuffle_unit_v1(x, 480, 2, 3)"),
    ("shufflenet_v2", "1, 116, 28, 28", "shuffle_unit(x, 116, 1)"),
    ("squeezenet", "1, 96, 55, 55", "fire(x, 16, 64)"),
    ("vgg", "1, 3, 224, 224", "VGG(image = x, convolutions = [1, 1, 2, 2, 2])"),
    ("xception", "1, 728, 19, 19", "xception_block(x, [728, 728, 728])"),
];

fn docs(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(file)
}

/// The picture of a family's block.
fn picture(family: &Family) -> String {
    let (_, shape, call) = BLOCKS.iter().find(|(name, ..)| *name == family.name).expect("every family has a block");
    let text = format!("use zoo::blocks;\nuse zoo::{};\npub net Block(x: [{shape}]) {{ {call} }}", family.name);
    let spec = parse_text(family.name, &text).unwrap_or_else(|error| panic!("{error}"));
    let graph = elaborate(&spec, "Block", &Overrides::default(), &NoFiles);
    svg::print(&graph.unwrap_or_else(|error| panic!("{}: {error}", family.name)))
}

/// What a family's one written-out net, or the first of them, says of itself.
fn about(spec: &Spec) -> Vec<String> {
    let nets = spec.nets().filter(|net| net.public).map(|net| net.function.docs.join("\n"));
    nets.collect()
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let threes: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|d| std::str::from_utf8(d).expect("digits")).collect();
    threes.join(",")
}

fn page() -> String {
    let accuracy = std::fs::read_to_string(format!("{}/tests/data/accuracy.json", env!("CARGO_MANIFEST_DIR")));
    let mut accuracy: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&accuracy.expect("the accuracies")).expect("JSON");
    let mut page = String::from(
        "# The zoo\n\nMade from the specs in `compiler/zoo` by `tests/it/zoo_page.rs`. Parameters and multiply-adds are counted \
         as the frameworks count them, without the running statistics of BatchNorm. Accuracy is what its source says, of its \
         published weights or in its paper, on ImageNet where it names nothing else: the first class and the first five, in \
         percent.\n\n\
         Published weights load as they are, as safetensors or PyTorch's state dicts: `kiln weights SPEC FILE` says what matches. \
         Keras' kernels are to be stored as O, I, H, W, its linear layers as O, I. Photos are prepared as each spec's \
         `image(…)` says. Classes have the order of ImageNet's synsets, where the framework trains on ImageNet.\n",
    );
    for family in FAMILIES.iter().filter(|family| !family.variants.is_empty()) {
        let spec = parse_text(family.name, family.text).unwrap_or_else(|error| panic!("{error}"));
        let _ = write!(page, "\n## {}\n\n", family.name);
        about(&spec).iter().for_each(|about| page.push_str(&format!("{about}\n\n")));
        let _ = writeln!(page, "![block](zoo/{}.svg)\n", family.name);
        page.push_str("| network | parameters | multiply-adds | input | weights named as | top 1 | top 5 | source |\n");
        page.push_str("| --- | ---: | ---: | --- | --- | ---: | ---: | --- |\n");
        for variant in family.variants {
            let graph = zoo(variant.name, &[]);
            let input: Vec<String> = graph.node(graph.inputs()[0]).ty.shape.iter().map(usize::to_string).collect();
            let (parameters, macs) = (grouped(parameters(&graph, false)), grouped(macs(&graph)));
            let said = match accuracy.remove(variant.name) {
                Some(said) => {
                    let share = |i: usize| if said[i].is_null() { String::new() } else { said[i].to_string() };
                    format!("{} | {} | {}", share(0), share(1), said[2].as_str().expect("a source"))
                }
                None => " | | ".to_owned(),
            };
            let _ = writeln!(
                page,
                "| `{}` | {parameters} | {macs} | {} | {} | {said} |",
                variant.name,
                input.join("×"),
                variant.source
            );
        }
    }
    assert!(accuracy.is_empty(), "not in the zoo: {:?}", accuracy.keys());
    page
}

#[test]
fn the_page_of_the_zoo_is_what_the_specs_say() {
    let families = FAMILIES.iter().filter(|family| !family.variants.is_empty());
    let pictures = families.map(|family| (docs(&format!("zoo/{}.svg", family.name)), picture(family)));
    let mut stale = Vec::new();
    for (path, text) in pictures.chain([(docs("zoo.md"), page())]) {
        if std::fs::read_to_string(&path).ok().as_ref() == Some(&text) {
            continue;
        }
        if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, text).expect("a file");
        } else {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "INSTA_UPDATE=always writes anew: {stale:?}");
}
