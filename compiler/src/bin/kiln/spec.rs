//! What SPEC names: `zoo:NAME`, `FILE.net`, `FILE.net#NET`, or a printed graph, `FILE.graph`.

use std::path::Path;

use kiln_compiler::front::{self, Loader, Overrides};
use kiln_compiler::graph::{Graph, text};

use crate::report::{Context, Failure};

/// The network that an argument names, and changes to its parameters.
#[derive(clap::Args)]
pub(crate) struct Spec {
    /// `zoo:NAME`, a `.net` file, `FILE.net#NET` where it has several, or a `.graph` file
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Set a parameter of the network
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl Spec {
    /// The argument as it was given.
    pub(crate) fn name(&self) -> &str {
        &self.spec
    }

    /// Reads and elaborates the network.
    pub(crate) fn load(&self) -> Result<Graph, Failure> {
        load(&self.spec, &self.set)
    }
}

/// Files beside the file that uses them.
struct Files;

impl Loader for Files {
    fn load(&self, from: &str, path: &str) -> Result<(String, String), String> {
        let path = Path::new(from).parent().unwrap_or(Path::new("")).join(path);
        let text =
            std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok((path.display().to_string(), text))
    }
}

/// Reads and elaborates a network.
pub(crate) fn load(spec: &str, set: &[String]) -> Result<Graph, Failure> {
    let (file, net) = match spec.split_once('#') {
        Some((file, net)) => (file, Some(net)),
        None => (spec, None),
    };
    let (name, text) = match file.strip_prefix("zoo:") {
        Some(name) => {
            let text = front::zoo::source(name).ok_or_else(|| {
                let known: Vec<&str> = front::zoo::SOURCES.iter().map(|(name, _)| *name).collect();
                Failure::new(format!("the zoo has no network `{name}`")).help(format!("it has {}", known.join(", ")))
            })?;
            (format!("zoo/{name}.net"), text.to_owned())
        }
        None => {
            let text = std::fs::read_to_string(file).context(format!("cannot read {file}"))?;
            (file.to_owned(), text)
        }
    };
    if file.ends_with(".graph") {
        if !set.is_empty() {
            return Err(Failure::new("a printed graph has no parameters to set"));
        }
        return text::parse(&text).context(name);
    }
    let mut overrides = Overrides::default();
    for setting in set {
        overrides.set(setting)?;
    }
    let spec = front::parse_text(&name, &text)?;
    let nets = front::nets(&spec);
    let net = match (net, nets.as_slice()) {
        (Some(net), _) => net.to_owned(),
        (None, [only]) => (*only).to_owned(),
        (None, []) => return Err(Failure::new(format!("{file} declares no `pub net`"))),
        (None, several) => {
            return Err(Failure::new(format!("{file} declares several networks: {}", several.join(", ")))
                .help(format!("name one, as in `{file}#{}`", several[0])));
        }
    };
    Ok(front::elaborate(&spec, &net, &overrides, &Files)?)
}
