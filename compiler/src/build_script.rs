//! The door for build scripts: a network to a file in `OUT_DIR` that a crate includes.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use kiln_rt::fill::DEFAULT_GAIN;
use kiln_rt::weights::{FillSource, Source};

use crate::back::rust::{Compiled, ModuleOptions, Signature, emit_module};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::convention::conventions;
use crate::checkpoint::names::{Names, Selection, Suggestion, match_names};
use crate::diag::{Diagnostic, Error, Span};
use crate::files::Files;
use crate::front;
use crate::graph::{Graph, count};
use crate::pipeline::{Options, compile};
use crate::target::{Target, targets_of};

/// Compiles a network from a build script.
///
/// ```no_run
/// // in fn main of build.rs
/// kiln_compiler::Build::new("model.net").weights("model.safetensors").emit();
/// ```
///
/// An ONNX file has its weights with it, `Build::new("model.onnx").emit()`, and is read where the package asks for the
/// feature `onnx` of kiln-compiler.
///
/// The crate includes what it wrote, as a module that needs nothing else at run time:
///
/// ```text
/// pub mod model {
///     include!(concat!(env!("OUT_DIR"), "/model.rs"));
/// }
///
/// let mut session = model::Digits::load()?.session(model::Threads::new(1));
/// ```
///
/// Paths are relative to the package's folder. The kernels are made for the architecture that the package is built for:
/// for each of its instruction sets, or in plain Rust where none has kernels. The module has `unsafe` code, so it cannot
/// stand in a crate that forbids it; the module's own attributes allow it in a crate that denies it.
#[derive(Clone, Debug)]
#[must_use = "nothing is compiled before `emit`"]
pub struct Build {
    source: String,
    net: Option<String>,
    settings: Vec<String>,
    input_shapes: Vec<String>,
    targets: Option<Vec<Target>>,
    weights: Option<Weights>,
    selection: Selection,
    module: String,
}

#[derive(Clone, Debug)]
enum Weights {
    File(PathBuf),
    Fill,
}

/// A network, and the weights that come with it.
struct Network {
    graph: Graph,
    own: Option<Box<dyn Source>>,
}

/// Where the weights of a network are.
enum Tensors {
    Formula,
    Own(Box<dyn Source>),
    File { shown: String, bytes: Vec<u8>, names: Names },
}

fn checkpoint<'a>(shown: &str, bytes: &'a [u8]) -> Result<Checkpoint<'a>, Error> {
    Checkpoint::parse(bytes).map_err(|error| {
        let mistake = Diagnostic::error(Span::NOWHERE, format!("{shown} is {error}"));
        Diagnostic { help: error.help().map(str::to_owned), ..mistake }.into()
    })
}

impl Build {
    /// A network: a `.net` file, `zoo:NAME`, a `.rs` file with `network!`, a printed graph, a `.graph` file, or an `.onnx`
    /// file.
    pub fn new(source: impl Into<String>) -> Self {
        Build {
            source: source.into(),
            net: None,
            settings: Vec::new(),
            input_shapes: Vec::new(),
            targets: None,
            weights: None,
            selection: Selection::default(),
            module: "model".to_owned(),
        }
    }

    /// Which net of the source it is, where there are several.
    pub fn net(mut self, name: impl Into<String>) -> Self {
        self.net = Some(name.into());
        self
    }

    /// Sets a parameter of the network: `classes=10`, `image=[1, 3, 97, 131]`; of an ONNX file, a dimension that it names.
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// The shape of an input that an ONNX file leaves open: `name=1x3x224x224`.
    pub fn input_shape(mut self, setting: impl Into<String>) -> Self {
        self.input_shapes.push(setting.into());
        self
    }

    /// The weights: a safetensors file, or a state dict of PyTorch. Without it an ONNX file's own are taken.
    pub fn weights(mut self, file: impl Into<PathBuf>) -> Self {
        self.weights = Some(Weights::File(file.into()));
        self
    }

    /// Takes something off the names in the weights file, as `module.`; given several times, one after the other.
    pub fn strip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.selection.prefixes.push(prefix.into());
        self
    }

    /// Which dict of the weights file is the network's, as `params_ema`, where a training program keeps several beside
    /// each other. Without it the likeliest is taken, which is said as a warning of the build script.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.selection.key = Some(key.into());
        self
    }

    /// Weights by formula, for tests: see [`kiln_rt::fill`].
    pub fn fill(mut self) -> Self {
        self.weights = Some(Weights::Fill);
        self
    }

    /// The instruction sets to make kernels for, in place of those of the architecture.
    pub fn targets(mut self, targets: impl IntoIterator<Item = Target>) -> Self {
        self.targets = Some(targets.into_iter().collect());
        self
    }

    /// The name of the file without `.rs`, in place of `model`: each network of a package needs its own.
    pub fn module(mut self, name: impl Into<String>) -> Self {
        self.module = name.into();
        self
    }

    /// Compiles the network, writes `OUT_DIR/model.rs` and its packed weights, and tells Cargo which files they came
    /// from. Where that fails, it writes all mistakes to standard error, which Cargo shows, and ends the build script
    /// with exit code 1.
    pub fn emit(&self) {
        let files = Files::default();
        let result = Package::of_build_script().and_then(|package| self.write(&package, &files));
        if let Err(error) = self.tell_cargo(&files).and(result) {
            let text = match error {
                Error::Spec(mistakes) => mistakes.to_string(),
                Error::Unsupported(_) | Error::Limit(_) | Error::Bug(_) => format!("error: {error}\n"),
            };
            // Without a reader the exit code alone has to say it.
            let _ = io::stderr().write_all(text.as_bytes());
            process::exit(1);
        }
    }

    /// Names the files that the network depends on. The manifest is always there: a script that names no file at all
    /// would run whenever any file of the package changes.
    fn tell_cargo(&self, files: &Files) -> Result<(), Error> {
        let mut paths = files.were_read();
        if let Some(Weights::File(path)) = &self.weights
            && !paths.contains(path)
        {
            paths.push(path.clone());
        }
        paths.push(PathBuf::from("Cargo.toml"));
        let lines = paths.iter().map(|path| format!("cargo::rerun-if-changed={}\n", path.display()));
        io::stdout().write_all(lines.collect::<String>().as_bytes()).map_err(|error| mistake(format!("cargo: {error}")))
    }

    fn write(&self, package: &Package, files: &Files) -> Result<(), Error> {
        if self.module.is_empty() || !self.module.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(mistake(format!("`{}` is not the name of a module", self.module)));
        }
        let Network { graph, own } = self.network(files)?;
        let tensors = self.tensors(&graph, own, files)?;
        let options = Options { targets: self.targets_for(package)?, ..Options::default() };
        let stages = compile(graph, &options)?;
        let bug = |error: crate::back::rust::Error| Error::Bug(error.to_string());
        let compiled = Compiled::new(Signature::of(&stages.source), &stages.programs).map_err(bug)?;

        let weights_file = format!("{}.weights", self.module);
        let content_hash = match &tensors {
            Tensors::Formula => {
                pack(&compiled, &FillSource { gain: DEFAULT_GAIN }, "the formula", package, &weights_file)?
            }
            Tensors::Own(own) => pack(&compiled, &**own, &self.source, package, &weights_file)?,
            Tensors::File { shown, bytes, names } => {
                pack(&compiled, &names.of(&checkpoint(shown, bytes)?), shown, package, &weights_file)?
            }
        };
        let options = ModuleOptions {
            source: front::short_name(&self.source).to_owned(),
            package: package.name.clone(),
            weights_file,
            content_hash,
        };
        let text = emit_module(&compiled, &options).map_err(bug)?;
        package.write(&format!("{}.rs", self.module), |file| file.write_all(text.as_bytes()).map_err(|e| e.to_string()))
    }

    /// Reads the network, and the weights that come with it.
    fn network(&self, files: &Files) -> Result<Network, Error> {
        if Path::new(&self.source).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx")) {
            return self.model(files);
        }
        if !self.input_shapes.is_empty() {
            return Err(mistake("`.input_shape` is for ONNX files; `.set(\"NAME=VALUE\")` sets a parameter"));
        }
        let graph = front::load(&self.source, self.net.as_deref(), &self.settings, files)?;
        Ok(Network { graph, own: None })
    }

    /// Finds the weights of a network: those that are named, else its own.
    fn tensors(&self, graph: &Graph, own: Option<Box<dyn Source>>, files: &Files) -> Result<Tensors, Error> {
        let path = match (&self.weights, own) {
            (Some(Weights::File(path)), _) => path,
            _ if self.selection != Selection::default() => {
                return Err(mistake("`.key` and `.strip_prefix` are for a file of weights"));
            }
            (Some(Weights::Fill), _) => return Ok(Tensors::Formula),
            (None, Some(own)) => return Ok(Tensors::Own(own)),
            (None, None) => {
                return Err(Diagnostic::error(Span::NOWHERE, format!("{} has no weights", self.source))
                    .help("`.weights(\"FILE.safetensors\")` names them, `.fill()` makes them up")
                    .into());
            }
        };
        let shown = path.display().to_string();
        let bytes = files.read_bytes(path).map_err(|why| mistake(format!("cannot read {shown}: {why}")))?;
        let family = self.source.strip_prefix("zoo:").and_then(front::zoo::find).map(|entry| entry.family);
        let conventions = conventions(family.map_or("", |family| family.names)).map_err(Error::Bug)?;
        let wanted = count::sources(graph);
        let content = checkpoint(&shown, &bytes)?;
        let found = match_names(&wanted, &content, &self.selection, &conventions).map_err(mistake)?;
        if found.mistakes.is_empty() {
            if let Some(choice) = found.choice() {
                warn(&format!("{shown}: {choice}; `.key(\"NAME\")` names another"))?;
            }
            let names = found.names;
            drop(content);
            return Ok(Tensors::File { shown, bytes, names });
        }
        let error = Diagnostic::error(Span::NOWHERE, format!("{shown} does not fit the network:\n{found}"));
        Err(Diagnostic { help: found.help(Suggestion::calls), ..error }.into())
    }

    #[cfg(feature = "onnx")]
    fn model(&self, files: &Files) -> Result<Network, Error> {
        use crate::front::onnx::{self, Bytes, Import};

        struct Folder<'a>(&'a Path, &'a Files);
        impl onnx::Folder for Folder<'_> {
            fn open(&self, path: &str) -> Result<Bytes, String> {
                self.1.read_bytes(&crate::files::beside(self.0, path)?).map(Bytes::from)
            }
        }
        if let Some(net) = &self.net {
            return Err(mistake(format!("{} is one network, not several of which `{net}` is one", self.source)));
        }
        let mut settings = onnx::Settings::default();
        self.settings.iter().try_for_each(|setting| settings.set(setting))?;
        self.input_shapes.iter().try_for_each(|setting| settings.set_shape(setting))?;
        let path = Path::new(&self.source);
        let file = files.read_bytes(path).map_err(|why| mistake(format!("cannot read {}: {why}", self.source)))?;
        let Import { graph, tensors, .. } = onnx::import(&self.source, file.into(), &settings, &Folder(path, files))?;
        Ok(Network { graph, own: Some(Box::new(tensors)) })
    }

    #[cfg(not(feature = "onnx"))]
    fn model(&self, _: &Files) -> Result<Network, Error> {
        Err(Diagnostic::error(
            Span::NOWHERE,
            format!("{} is an ONNX file, which this kiln-compiler does not read", self.source),
        )
        .help("ask for `features = [\"onnx\"]` of kiln-compiler in [build-dependencies]")
        .into())
    }

    fn targets_for(&self, package: &Package) -> Result<Vec<Target>, Error> {
        let mut targets = match &self.targets {
            Some(targets) => targets.clone(),
            None => targets_of(&package.architecture),
        };
        targets.sort_unstable();
        targets.dedup();
        if targets.is_empty() { Err(mistake("there is no target to compile for")) } else { Ok(targets) }
    }
}

/// Writes the weights file and gives its content hash.
fn pack(
    compiled: &Compiled<'_>,
    source: &dyn Source,
    shown: &str,
    package: &Package,
    name: &str,
) -> Result<u64, Error> {
    let packing = compiled.packing();
    let mut content_hash = 0;
    package.write(name, |file| {
        let written = packing.program().write(source, packing.hash, io::BufWriter::new(file));
        content_hash = written.map_err(|error| format!("{shown} does not fit the network:\n{error}"))?.content_hash;
        Ok(())
    })?;
    Ok(content_hash)
}

/// The package whose build script runs: what Cargo says of it.
struct Package {
    name: String,
    out: PathBuf,
    architecture: String,
}

impl Package {
    fn of_build_script() -> Result<Package, Error> {
        let variable = |name: &str| -> Result<OsString, Error> {
            env::var_os(name).ok_or_else(|| mistake(format!("{name} is not set: kiln's `Build` is for build scripts")))
        };
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        Ok(Package {
            name: text("CARGO_PKG_NAME")?,
            out: variable("OUT_DIR")?.into(),
            architecture: text("CARGO_CFG_TARGET_ARCH")?,
        })
    }

    /// Writes a file in `OUT_DIR`, whole or not at all.
    fn write(&self, name: &str, write: impl FnOnce(&mut fs::File) -> Result<(), String>) -> Result<(), Error> {
        let (part, whole) = (self.out.join(format!("{name}.part")), self.out.join(name));
        let io = |path: &Path, error: io::Error| mistake(format!("cannot write {}: {error}", path.display()));
        let mut file = fs::File::create(&part).map_err(|error| io(&part, error))?;
        let written = write(&mut file);
        drop(file);
        match written {
            Ok(()) => fs::rename(&part, &whole).map_err(|error| io(&whole, error)),
            Err(why) => {
                fs::remove_file(&part).ok();
                Err(mistake(why))
            }
        }
    }
}

/// Has Cargo show a warning.
fn warn(message: &str) -> Result<(), Error> {
    let line = format!("cargo::warning={}\n", message.replace('\n', " "));
    io::stdout().write_all(line.as_bytes()).map_err(|error| mistake(format!("cargo: {error}")))
}

fn mistake(message: impl Into<String>) -> Error {
    Diagnostic::error(Span::NOWHERE, message).into()
}

#[cfg(test)]
mod tests {
    use kiln_rt::safetensors::{Dtype, View, write};

    use super::*;

    fn package(architecture: &str) -> (tempfile::TempDir, Package) {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().to_owned();
        (folder, Package { name: "example".to_owned(), out, architecture: architecture.to_owned() })
    }

    fn names(package: &Package) -> Vec<String> {
        let entries = fs::read_dir(&package.out).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    const NET: &str = "pub net Net(x: [1, 5], features = 3) { x.linear(features, name = \"fc\") }";

    #[test]
    fn a_module_and_its_weights_are_written_for_the_architecture() {
        for (architecture, target) in
            [("x86_64", Target::Avx2), ("aarch64", Target::Neon), ("riscv64", Target::Portable)]
        {
            let (_folder, package) = package(architecture);
            let spec = package.out.join("a.net");
            fs::write(&spec, NET).expect("a file");
            let (build, files) = (Build::new(spec.display().to_string()).fill().module("b"), Files::default());
            build.write(&package, &files).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(names(&package), ["a.net", "b.rs", "b.weights"]);
            assert_eq!(files.were_read(), [spec]);
            let text = fs::read_to_string(package.out.join("b.rs")).expect("a file");
            assert!(text.starts_with("// Generated by kiln from a.net. Do not edit.\n"));
            assert!(!text.contains(&package.out.display().to_string()), "no path of the machine");
            for other in [Target::Avx2, Target::Neon, Target::Portable] {
                assert_eq!(text.contains(&format!("pub mod {other} {{")), other == target, "{architecture}: {other}");
                assert_eq!(text.contains(&format!("simd::{other}")), other == target, "{architecture}: {other}");
            }
        }
    }

    #[test]
    fn what_fails_leaves_nothing_and_says_why() {
        let (folder, package) = package("x86_64");
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("a.net"), NET).expect("a file");
        fs::write(path("w.safetensors"), "Not Found").expect("a file");
        fs::write(path("page.onnx"), "<html></html>").expect("a file");
        let shape = [3, 5];
        let kernel = View { dtype: Dtype::U8, shape: &shape, bytes: &[0; 15] };
        let all = [("ema.fc.weight", kernel), ("ema.fc.bias", View { shape: &shape[..1], bytes: &[0; 3], ..kernel })];
        fs::write(path("ema.safetensors"), write(all)).expect("a file");
        let given = ["a.net", "ema.safetensors", "page.onnx", "w.safetensors"];
        let net = Build::new(path("a.net"));
        for (build, words) in [
            (net.clone(), "has no weights"),
            (net.clone().fill().module("a/b"), "`a/b` is not the name of a module"),
            (net.clone().fill().targets([]), "no target"),
            (net.clone().fill().set("featurs=4"), "`features` is near"),
            (net.clone().fill().net("Other"), "Other"),
            (net.clone().fill().strip_prefix("a."), "`.strip_prefix` are for a file of weights"),
            (net.clone().fill().key("ema"), "`.key` and `.strip_prefix` are for a file of weights"),
            (net.clone().fill().input_shape("x=1x5"), "`.input_shape` is for ONNX files"),
            (net.clone().weights(path("w.safetensors")), "w.safetensors is a text, not a file of weights"),
            (net.clone().weights(path("")), "it is a folder"),
            (net.clone().weights(path("ema.safetensors")), "all names would match with `.strip_prefix(\"ema.\")`"),
            (net.clone().weights(path("ema.safetensors")).key("model"), "has no dict of tensors `model`"),
            (Build::new(path("page.onnx")), "page.onnx is an HTML page, not an ONNX model"),
            (net.weights(path("v.safetensors")), "cannot read "),
            (Build::new("zoo:resnet17").fill(), "the zoo has no network `resnet17`"),
            (Build::new(path("b.net")).fill(), "cannot read "),
        ] {
            let error = build.write(&package, &Files::default()).expect_err(words).to_string();
            assert!(error.starts_with("error: ") && error.contains(words), "{error}");
            assert_eq!(names(&package), given);
        }
        let build = Build::new(path("a.net")).weights(path("ema.safetensors")).key("ema");
        build.write(&package, &Files::default()).unwrap_or_else(|error| panic!("{error}"));
    }
}
