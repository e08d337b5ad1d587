//! What other frameworks say of a network, stored in `tests/data/golden`.

use kiln_compiler::front::{self, NoFiles, Overrides};
use kiln_compiler::graph::Graph;
use kiln_compiler::graph::weights::Source;
use kiln_rt::fill::Kind;
use serde_json::Value;

/// The networks with a stored answer.
pub(crate) const NETS: [&str; 5] = ["mobilenet_v2", "resnet18", "resnet50", "tf_efficientnet_lite0", "vgg16"];

/// Those that plain loops run in seconds.
pub(crate) const LIGHT_NETS: [&str; 3] = ["mobilenet_v2", "resnet18", "tf_efficientnet_lite0"];

/// A stored answer.
pub(crate) struct Golden {
    pub(crate) parameters: usize,
    pub(crate) macs: u64,
    pub(crate) gain: f64,
    /// The tensors of the weights file, in the framework's order.
    pub(crate) state: Vec<Source>,
    pub(crate) output: Vec<f32>,
}

impl Golden {
    /// Reads the answer for a network of the zoo.
    pub(crate) fn read(net: &str) -> Self {
        let path = format!("{}/tests/data/golden/{net}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the golden file");
        let json: Value = serde_json::from_str(&text).expect("JSON");
        let number = |key: &str| json[key].as_u64().expect("a number");
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
            parameters: number("params") as usize,
            macs: number("macs"),
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
