//! What SPEC names: `zoo:NAME`, `FILE.net`, `FILE.net#NET`, a Rust file with `network!`, `FILE.rs`, a printed graph,
//! `FILE.graph`, or a model, `FILE.onnx`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap_lex::OsStrExt;
use kiln_compiler::checkpoint::convention::{Convention, conventions};
use kiln_compiler::files::{Files, beside};
use kiln_compiler::front;
use kiln_compiler::front::onnx::{self, Bytes, Import, Tensors};
use kiln_compiler::graph::{Graph, count};
use kiln_rt::content::{Content, START};
use kiln_rt::fill::DEFAULT_GAIN;

use crate::inputs::Tensor;
use crate::map::{Mapped, folder};
use crate::npy;
use crate::report::{Context, Failure, note};
use crate::weights::{Argument, Weights};

/// The network that an argument names, and changes to its parameters.
#[derive(clap::Args)]
pub(crate) struct Spec {
    /// `zoo:NAME`, a `.net` file, a `.rs` file with `network!`, a `.graph` file, or an `.onnx` file; `FILE#NET` where a file
    /// has several networks
    #[arg(value_name = "SPEC")]
    spec: OsString,
    /// Set a parameter of the network; of an ONNX file, a dimension that it names
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The shape of an input that an ONNX file leaves open
    #[arg(long, value_name = "NAME=1x3x224x224")]
    input_shape: Vec<String>,
    /// Make an input of an ONNX file a constant: its value, a `.npy` file
    #[arg(long, value_name = "NAME=FILE")]
    constant: Vec<OsString>,
}

/// A network as it was read.
pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) weights: Weights,
    /// The inputs of a model that the network does not have: constants, and those that nothing reads.
    pub(crate) absent: Vec<String>,
}

impl Spec {
    /// The argument as it was given, as far as it is text.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        self.spec.to_string_lossy()
    }

    /// Reads the network.
    pub(crate) fn load(&self) -> Result<Graph, Failure> {
        Ok(self.read(&[])?.graph)
    }

    /// Reads the network and its weights: those that an argument names, else the model's own. A model may need some of the
    /// given inputs when it is compiled.
    pub(crate) fn load_with(&self, argument: &Argument, given: &[Tensor]) -> Result<Network, Failure> {
        let Import { graph, tensors, constants, unread, .. } = self.read(given)?;
        let weights = match argument.open(&graph, &self.conventions()?)? {
            Some(named) => named,
            None if self.is_model() => Weights::Own(tensors),
            None if count::sources(&graph).is_empty() => Weights::Fill(DEFAULT_GAIN),
            None => {
                return Err(Failure::new(format!("{} comes without weights", self.name()))
                    .help("name them: `--weights FILE`, or `--weights fill` for weights by formula"));
            }
        };
        Ok(Network { graph, weights, absent: [constants, unread].concat() })
    }

    /// As [`Spec::load_with`], with weights by formula where there are none.
    pub(crate) fn load_or_fill(&self, argument: &Argument) -> Result<(Graph, Weights), Failure> {
        let filled = if self.is_model() { argument.clone() } else { argument.or_fill() };
        let Network { graph, weights, .. } = self.load_with(&filled, &[])?;
        Ok((graph, weights))
    }

    /// How other programs name the weights of a network of the zoo.
    pub(crate) fn conventions(&self) -> Result<Vec<Convention>, Failure> {
        match self.name().strip_prefix("zoo:").and_then(front::zoo::find) {
            Some(entry) => conventions(entry.family.names).context(format!("the names of zoo::{}", entry.family.name)),
            None => Ok(Vec::new()),
        }
    }

    fn is_model(&self) -> bool {
        Path::new(&self.spec).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"))
    }

    /// A network that is no model has no tensors of its own, and no constants.
    fn read(&self, given: &[Tensor]) -> Result<Import, Failure> {
        let name = |setting: &str| setting.split_once('=').map(|(name, _)| name.trim().to_owned());
        once("--set", self.set.iter().filter_map(|setting| name(setting)))?;
        if self.is_model() {
            return self.import(given);
        }
        if !self.input_shape.is_empty() {
            return Err(Failure::new("`--input-shape` is for ONNX files").help("set a parameter: `--set NAME=VALUE`"));
        }
        if !self.constant.is_empty() {
            return Err(Failure::new("`--constant` is for ONNX files"));
        }
        let graph = load(&self.spec, &self.set)?;
        Ok(Import { graph, tensors: Tensors::default(), constants: Vec::new(), unread: Vec::new(), notes: Vec::new() })
    }

    fn import(&self, given: &[Tensor]) -> Result<Import, Failure> {
        let mut settings = onnx::Settings::default();
        self.set.iter().try_for_each(|setting| settings.set(setting))?;
        self.input_shape.iter().try_for_each(|setting| settings.set_shape(setting))?;
        let shapes = self.input_shape.iter().filter_map(|setting| setting.rsplit_once('='));
        once("--input-shape", shapes.map(|(name, _)| name.trim().to_owned()))?;
        let mut constants = Vec::new();
        for setting in &self.constant {
            let of_file = splits(setting).find(|(_, file)| Path::new(file).is_file());
            constants.push(of_file.or_else(|| splits(setting).next()).ok_or_else(|| {
                Failure::new(format!("`--constant {}` is no input's value", setting.display()))
                    .help("write `--constant NAME=FILE`")
            })?);
        }
        once("--constant", constants.iter().map(|(name, _)| name.clone()))?;
        for (name, file) in constants {
            let (shape, elements) = npy::read(Path::new(file))?;
            settings.fix(&name, shape, elements);
        }
        for Tensor { input, shape, elements } in given {
            settings.offer(input.as_deref(), shape.clone(), elements.clone());
        }
        let file = Bytes::from_owner(Mapped::open(Path::new(&self.spec))?);
        let folder = ModelFolder { model: Path::new(&self.spec), open: RefCell::default() };
        let import = onnx::import(&self.name(), file, &settings, &folder)?;
        import.notes.iter().for_each(|text| note(text));
        Ok(import)
    }
}

/// The ways to read `NAME=FILE`, of which either may hold an `=`, the shortest name first. A name is text, a file's may not
/// be.
pub(crate) fn splits(setting: &OsStr) -> impl Iterator<Item = (String, &OsStr)> {
    let (mut name, mut rest) = (String::new(), setting);
    std::iter::from_fn(move || {
        if !name.is_empty() || rest.len() < setting.len() {
            name.push('=');
        }
        let (more, file) = rest.split_once("=")?;
        name.push_str(more.to_str()?);
        rest = file;
        Some((name.clone(), file))
    })
}

/// Makes sure that an option says one thing of each name.
fn once(option: &str, names: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut known = BTreeSet::new();
    for name in names {
        if known.contains(&name) {
            return Err(Failure::new(format!("`{option} {name}=…` is given twice")));
        }
        known.insert(name);
    }
    Ok(())
}

/// Reads and elaborates a network.
fn load(spec: &OsStr, set: &[String]) -> Result<Graph, Failure> {
    let (source, net) = match spec.split_once("#") {
        Some((source, net)) => (source, Some(net.to_string_lossy())),
        None => (spec, None),
    };
    let (path, files) = (Path::new(source), Files::default());
    if path.is_dir() {
        return Err(folder(path));
    }
    match content(path) {
        Some(Content::Onnx) => {
            return Err(Failure::new(format!(
                "{} is an ONNX model, but its name does not end in .onnx",
                path.display()
            ))
            .help("rename it: what a network is written in is told by its file's name"));
        }
        // A network is a text, and says better itself what is wrong with it.
        Some(Content::Empty | Content::Text | Content::Json | Content::ProtocolText) | None => {}
        Some(content) => {
            return Err(
                Failure::new(format!("{} is {content}, not a network", path.display())).help_if_known(content.help())
            );
        }
    }
    Ok(front::load(&files.name(path), net.as_deref(), set, &files)?)
}

/// What a file is by its start; None where there is none, or nothing that can be read twice.
fn content(path: &Path) -> Option<Content> {
    let mut start = Vec::new();
    if !path.is_file() {
        return None;
    }
    File::open(path).ok()?.take(START as u64).read_to_end(&mut start).ok()?;
    Content::of(&start)
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
