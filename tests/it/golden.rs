//! What other frameworks say of a network, stored in `tests/data/golden`.

use std::path::Path;

use kiln_compiler::front::{self, NoFiles, Overrides};
use kiln_compiler::graph::weights::Source;
use kiln_compiler::graph::{Graph, count};
use kiln_rt::fill::Kind;
use serde_json::Value;

/// The networks with a stored answer.
pub(crate) const NETS: [&str; 10] = [
    "ghostnet_100",
    "keras_mobilenet",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "resnet18",
    "resnet50",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "tf_efficientnet_lite0",
    "vgg16",
];

/// Those that plain loops run in seconds.
pub(crate) const LIGHT_NETS: [&str; 8] = [
    "ghostnet_100",
    "keras_mobilenet",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "resnet18",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "tf_efficientnet_lite0",
];

/// A stored answer.
pub(crate) struct Golden {
    /// As the framework counts: Keras with the running statistics of BatchNorm.
    pub(crate) parameters: u64,
    pub(crate) macs: Option<u64>,
    pub(crate) gain: f64,
    /// The tensors of the weights file, in the framework's order.
    pub(crate) state: Vec<Source>,
    pub(crate) output: Vec<f32>,
}

impl Golden {
    /// Reads the answer for a network of the zoo.
    pub(crate) fn read(net: &str) -> Self {
        Golden::from_file(format!("{}/tests/data/golden/{net}.json", env!("CARGO_MANIFEST_DIR")).as_ref())
    }

    /// Reads an answer.
    pub(crate) fn from_file(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the golden file");
        let json: Value = serde_json::from_str(&text).expect("JSON");
        let state = json["state"].as_array().expect("a list").iter().map(|entry| Source {
            name: entry[0].as_str().expect("a name").to_owned(),
            kind: kind(entry[1].as_str().expect("a kind")),
            shape: entry[2]
                .as_array()
                .expect("a shape")
                .iter()
                .map(|n| n.as_u64().expect("an extent") as usize)
                .collect(),
        });
        Golden {
            parameters: json["params"].as_u64().expect("a number"),
            macs: json["macs"].as_u64(),
            gain: json["gain"].as_f64().expect("a gain"),
            state: state.collect(),
            output: json["output"]
                .as_array()
                .expect("logits")
                .iter()
                .map(|v| v.as_f64().expect("a logit") as f32)
                .collect(),
        }
    }
}

/// Parameters as a framework counts: Keras counts the running statistics of BatchNorm, the others do not.
pub(crate) fn parameters(graph: &Graph, keras: bool) -> u64 {
    match keras {
        true => count::sources(graph).iter().map(|source| source.shape.iter().product::<usize>() as u64).sum(),
        false => count::parameters(graph) as u64,
    }
}

/// Multiply-adds of a network.
pub(crate) fn macs(graph: &Graph) -> u64 {
    graph.order().into_iter().map(|id| count::macs(graph, id)).sum()
}

/// Holds weight names, kinds, shapes and counts of a network against a stored answer.
pub(crate) fn hold_against(graph: &Graph, golden: &Golden, net: &str) {
    assert_eq!(parameters(graph, net.starts_with("keras_")), golden.parameters, "{net}");
    assert_eq!(golden.macs.unwrap_or(macs(graph)), macs(graph), "{net}");
    let by_name = |sources: &[Source]| {
        let mut sorted = sources.to_vec();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        sorted
    };
    assert_eq!(by_name(&count::sources(graph)), by_name(&golden.state), "{net}");
}

fn kind(name: &str) -> Kind {
    Kind::ALL.into_iter().find(|kind| kind.name() == name).expect("a kind of weight")
}

/// A network of the zoo, with parameters set.
pub(crate) fn zoo(net: &str, set: &[&str]) -> Graph {
    let set: Vec<String> = set.iter().map(|&setting| setting.to_owned()).collect();
    front::load(&format!("zoo:{net}"), None, &set, &NoFiles).unwrap_or_else(|error| panic!("{error}"))
}

/// The first network of a text, with parameters set.
pub(crate) fn elaborated(file: &str, text: &str, set: &[&str]) -> Graph {
    let spec = front::parse_text(&format!("{file}.net"), text).expect("it parses");
    let mut overrides = Overrides::default();
    for setting in set {
        overrides.set(setting).expect("a setting");
    }
    let name = front::nets(&spec)[0].to_owned();
    front::elaborate(&spec, &name, &overrides, &NoFiles).unwrap_or_else(|error| panic!("{error}"))
}
