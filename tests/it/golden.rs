//! The networks of the zoo against what the frameworks that they come from answer.

use std::collections::BTreeMap;
use std::fs;

use kiln_compiler::front::{self, NoFiles, Overrides};
use kiln_compiler::graph::{Graph, Verified, interp, text, verify};
use serde_json::Value;

use crate::engines;

/// A network of the zoo.
pub(crate) fn zoo(name: &str) -> Verified<Graph> {
    let source = front::zoo::source(name).expect("a name of the zoo");
    let spec = front::parse_text(name, source).expect("the zoo parses");
    let net = front::nets(&spec)[0];
    let graph = front::elaborate(&spec, net, &Overrides::default(), &NoFiles).expect("the zoo elaborates");
    verify::verify(graph).expect("the zoo verifies")
}

/// The golden file of a network: gain of the formula, logits, and weights by name.
pub(crate) struct Golden {
    pub(crate) gain: f64,
    pub(crate) logits: Vec<f32>,
    state: BTreeMap<String, (String, Vec<usize>)>,
}

impl Golden {
    pub(crate) fn read(name: &str) -> Self {
        let path = format!("{}/tests/data/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let file: Value = serde_json::from_str(&fs::read_to_string(path).expect("a golden file")).expect("JSON");
        let items = |value: &Value| value.as_array().expect("a list").clone();
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let shape = |value: &Value| items(value).iter().map(|n| n.as_u64().expect("an extent") as usize).collect();
        let entry = |entry: &Value| (text(&entry[0]), (text(&entry[1]), shape(&entry[2])));
        Golden {
            gain: file["gain"].as_f64().expect("a gain"),
            logits: items(&file["output"]).iter().map(|v| v.as_f64().expect("a logit") as f32).collect(),
            state: items(&file["state"]).iter().map(entry).collect(),
        }
    }
}

fn check(name: &str) {
    let (graph, golden) = (zoo(name), Golden::read(name));
    let weights = graph.order().into_iter().flat_map(|id| graph.node(id).weights.clone());
    let read: BTreeMap<String, (String, Vec<usize>)> = graph
        .weights
        .sources(weights)
        .into_iter()
        .map(|source| (source.name, (source.kind.name().to_owned(), source.shape)))
        .collect();
    assert_eq!(read, golden.state, "the weights of {name}");

    let printed = text::print(&graph);
    let parsed = text::parse(&printed).expect("a printed graph parses");
    assert_eq!(text::print(&parsed), printed);

    let inputs = engines::inputs(&graph);
    let found = interp::run(&parsed, &interp::Fill { gain: golden.gain }, &inputs).expect("the oracle runs");
    let error = engines::error(&found[0], &golden.logits);
    // Values are rounded to f32 between nodes; the golden logits are all f64.
    assert!(error <= 2e-6, "{name}: {error:e}");
}

#[test]
fn mobilenet_v2_answers_as_torchvisions() {
    check("mobilenet_v2");
}

#[test]
fn resnet18_answers_as_torchvisions() {
    check("resnet18");
}

#[test]
fn tf_efficientnet_lite0_answers_as_timms() {
    check("tf_efficientnet_lite0");
}
