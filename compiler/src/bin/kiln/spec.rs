//! What SPEC names: `zoo:NAME`, `FILE.net`, `FILE.net#NET`, or a printed graph, `FILE.graph`.

use kiln_compiler::files::Files;
use kiln_compiler::front;
use kiln_compiler::graph::Graph;

use crate::report::Failure;

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

/// Reads and elaborates a network.
pub(crate) fn load(spec: &str, set: &[String]) -> Result<Graph, Failure> {
    let (source, net) = match spec.split_once('#') {
        Some((source, net)) => (source, Some(net)),
        None => (spec, None),
    };
    Ok(front::load(source, net, set, &Files::default())?)
}
