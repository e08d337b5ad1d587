//! What frameworks say of networks: a folder with `counts.json` and `golden/NAME.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kiln_compiler::graph::weights::{Kind, Source};
use serde_json::Value;

use crate::report::{Context, Failure};

/// Parameters by `framework/model`. Keras counts the running statistics of BatchNorm, the others do not.
pub(super) struct Counts(pub(super) BTreeMap<String, u64>);

/// A network's stored answer.
pub(super) struct Golden {
    pub(super) parameters: Option<u64>,
    pub(super) macs: Option<u64>,
    /// The gain of the filled kernels.
    pub(super) gain: f64,
    /// The tensors of the weights file.
    pub(super) state: Vec<Source>,
    /// The logits.
    pub(super) output: Vec<f64>,
}

impl Counts {
    /// Reads `counts.json` of a folder; nothing is known where there is none.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("counts.json");
        let Some(json) = read(&path)? else { return Ok(Counts(BTreeMap::new())) };
        let object = json.as_object().ok_or_else(|| unreadable(&path, "an object of counts"))?;
        let counts = object.iter().map(|(name, count)| Some((name.clone(), count.as_u64()?)));
        counts.collect::<Option<_>>().map(Counts).ok_or_else(|| unreadable(&path, "counts that are integers"))
    }
}

impl Golden {
    /// Reads `golden/NAME.json` of a folder, if it is there.
    pub(super) fn read(folder: &Path, name: &str) -> Result<Option<Self>, Failure> {
        let path = folder.join("golden").join(format!("{name}.json"));
        let Some(json) = read(&path)? else { return Ok(None) };
        let state = json["state"].as_array().and_then(|state| state.iter().map(source).collect());
        let output = json["output"].as_array().and_then(|output| output.iter().map(Value::as_f64).collect());
        Ok(Some(Golden {
            parameters: json["params"].as_u64(),
            macs: json["macs"].as_u64(),
            gain: json["gain"].as_f64().ok_or_else(|| unreadable(&path, "a number `gain`"))?,
            state: state.ok_or_else(|| unreadable(&path, "a list `state` of [name, kind, shape]"))?,
            output: output.ok_or_else(|| unreadable(&path, "a list `output` of numbers"))?,
        }))
    }
}

fn source(entry: &Value) -> Option<Source> {
    let kind = entry[1].as_str()?;
    Some(Source {
        name: entry[0].as_str()?.to_owned(),
        kind: Kind::ALL.into_iter().find(|known| known.name() == kind)?,
        shape: entry[2].as_array()?.iter().map(|n| usize::try_from(n.as_u64()?).ok()).collect::<Option<_>>()?,
    })
}

fn read(path: &Path) -> Result<Option<Value>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).context(format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).map(Some).context(format!("{} is not JSON", path.display()))
}

fn unreadable(path: &Path, wanted: &str) -> Failure {
    Failure::new(format!("{} does not hold {wanted}", path.display()))
}
