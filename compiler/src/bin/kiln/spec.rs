//! What SPEC names: `zoo:NAME`, `FILE.net`, `FILE.net#NET`, a printed graph, `FILE.graph`, or a model, `FILE.onnx`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use kiln_compiler::checkpoint::names::{Convention, conventions};
use kiln_compiler::files::{Files, beside};
use kiln_compiler::front;
use kiln_compiler::front::onnx::{self, Bytes, Import};
use kiln_compiler::graph::Graph;

use crate::map::Mapped;
use crate::report::{Context, Failure};
use crate::weights::{Argument, Weights};

/// The network that an argument names, and changes to its parameters.
#[derive(clap::Args)]
pub(crate) struct Spec {
    /// `zoo:NAME`, a `.net` file, `FILE.net#NET` where it has several, a `.graph` file, or an `.onnx` file
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Set a parameter of the network; of an ONNX file, a dimension that it names
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The shape of an input that an ONNX file leaves open
    #[arg(long, value_name = "NAME=1x3x224x224")]
    input_shape: Vec<String>,
}

impl Spec {
    /// The argument as it was given.
    pub(crate) fn name(&self) -> &str {
        &self.spec
    }

    /// Reads the network.
    pub(crate) fn load(&self) -> Result<Graph, Failure> {
        Ok(self.read()?.0)
    }

    /// Reads the network and its weights: those that an argument names, else the model's own.
    pub(crate) fn load_with(&self, argument: &Argument) -> Result<(Graph, Weights), Failure> {
        let (graph, own) = self.read()?;
        let weights = match (argument.open(&graph, &self.conventions()?)?, own) {
            (Some(named), _) => named,
            (None, Some(own)) => own,
            (None, None) => {
                return Err(Failure::new(format!("{} comes without weights", self.spec))
                    .help("name them: `--weights FILE`, or `--weights fill` for weights by formula"));
            }
        };
        Ok((graph, weights))
    }

    /// As [`Spec::load_with`], with weights by formula where there are none.
    pub(crate) fn load_or_fill(&self, argument: &Argument) -> Result<(Graph, Weights), Failure> {
        if self.is_model() { self.load_with(argument) } else { self.load_with(&argument.or_fill()) }
    }

    /// How other programs name the weights of a network of the zoo.
    pub(crate) fn conventions(&self) -> Result<Vec<Convention>, Failure> {
        match self.spec.strip_prefix("zoo:").and_then(front::zoo::find) {
            Some(entry) => conventions(entry.family.names).context(format!("the names of zoo::{}", entry.family.name)),
            None => Ok(Vec::new()),
        }
    }

    fn is_model(&self) -> bool {
        Path::new(&self.spec).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"))
    }

    fn read(&self) -> Result<(Graph, Option<Weights>), Failure> {
        if self.is_model() {
            let Import { graph, tensors } = self.import()?;
            return Ok((graph, Some(Weights::Own(tensors))));
        }
        if !self.input_shape.is_empty() {
            return Err(Failure::new("`--input-shape` is for ONNX files").help("set a parameter: `--set NAME=VALUE`"));
        }
        Ok((load(&self.spec, &self.set)?, None))
    }

    fn import(&self) -> Result<Import, Failure> {
        let mut settings = onnx::Settings::default();
        self.set.iter().try_for_each(|setting| settings.set(setting))?;
        self.input_shape.iter().try_for_each(|setting| settings.set_shape(setting))?;
        let file = Bytes::from_owner(Mapped::open(Path::new(&self.spec))?);
        let folder = ModelFolder { model: Path::new(&self.spec), open: RefCell::default() };
        Ok(onnx::import(&self.spec, file, &settings, &folder)?)
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

/// The files beside a model, mapped, each once.
struct ModelFolder<'a> {
    model: &'a Path,
    open: RefCell<HashMap<String, Bytes>>,
}

impl onnx::Folder for ModelFolder<'_> {
    fn open(&self, path: &str) -> Result<Bytes, String> {
        if let Some(bytes) = self.open.borrow().get(path) {
            return Ok(bytes.clone());
        }
        let mapped = Mapped::open(&beside(self.model, path)?).map_err(|failure| failure.line())?;
        let bytes = Bytes::from_owner(mapped);
        self.open.borrow_mut().insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }
}
