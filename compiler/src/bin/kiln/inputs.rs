//! What `--input` names: tensors, a photo, or a folder of photos.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use clap_lex::OsStrExt;
use kiln_compiler::graph::{Elements, Graph};

use crate::array;
use crate::npy;
use crate::photo;
use crate::photos::{Found, Photos};
use crate::progress::Doing;
use crate::report::{Context, Failure};
use crate::spec::splits;

/// What a network is run on, run by run: once on tensors, or on all photos, as many at a time as its batch holds.
pub(crate) struct Inputs {
    /// A tensor for each input, in the network's order; where there are photos, the first is made from them.
    tensors: Vec<Elements>,
    images: Images,
}

/// A tensor among the arguments.
pub(crate) struct Tensor {
    /// None for that of the only input.
    pub(crate) input: Option<String>,
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Elements,
}

/// The arguments that name `.npy` files, for networks that need some of them when they are compiled. Of one that cannot be
/// read, it is said when the network turns out to have that input.
pub(crate) fn tensors(arguments: &[OsString]) -> Vec<Tensor> {
    let is_tensor = |path: &Path| path.is_file() && path.extension().is_some_and(|it| it.eq_ignore_ascii_case("npy"));
    let mut tensors = Vec::new();
    for argument in arguments {
        let named = splits(argument).find(|(_, source)| is_tensor(Path::new(source)));
        let (input, source) = named.map_or((None, argument.as_os_str()), |(input, source)| (Some(input), source));
        if is_tensor(Path::new(source))
            && let Ok((shape, elements)) = npy::read(Path::new(source))
        {
            tensors.push(Tensor { input, shape, elements });
        }
    }
    tensors
}

enum Images {
    /// The images of a batch have no names of their own: the first input's argument names them.
    Tensor(String),
    Photos(Photos),
}

impl Inputs {
    /// Reads tensors, and looks through all photos, each of which is decoded and dropped again. `NAME=` may be left out
    /// where the network has one input; `absent` are names of inputs of the model that it does not have. Whether a broken
    /// photo of a folder is an error says `strict`.
    ///
    /// # Errors
    /// All that is wrong with photos at once; the first mistake of any other kind.
    pub(crate) fn read(
        graph: &Graph,
        absent: &[String],
        arguments: &[OsString],
        strict: bool,
        doing: &Doing,
    ) -> Result<Self, Failure> {
        let given = by_name(graph, absent, arguments)?;
        let (mut tensors, mut photos) = (Vec::new(), None);
        for (position, &id) in graph.inputs().iter().enumerate() {
            let node = graph.node(id);
            let name = node.origin.name.as_str();
            let source = *given
                .get(name)
                .ok_or_else(|| Failure::new(format!("the input `{name}` {:?} is not given", node.ty.shape)))?;
            match Kind::of(source)? {
                Kind::Tensor => tensors.push(array::read_input(source, name, &node.ty)?),
                Kind::Photos(found) if position == 0 => {
                    photos = Some(Photos::look_through(graph, found, name, &node.ty, strict, doing)?);
                    tensors.push(Elements::F32(Vec::new()));
                }
                Kind::Photos(_) => {
                    let first = &graph.node(graph.inputs()[0]).origin.name;
                    return Err(Failure::new(format!("the input `{name}` takes a .npy file")).help(format!(
                        "the network says only of its first input, `{first}`, how it is made from photos"
                    )));
                }
            }
        }
        let named = graph.inputs().first().and_then(|&id| given.get(graph.node(id).origin.name.as_str()));
        let images = match photos {
            Some(photos) => Images::Photos(photos),
            None => Images::Tensor(named.map_or(String::new(), |source| source.display().to_string())),
        };
        Ok(Inputs { tensors, images })
    }

    /// How many times to run the network.
    pub(crate) fn runs(&self) -> usize {
        self.photos().map_or(1, |photos| photos.count().div_ceil(photos.batch()))
    }

    /// The photos; None for tensors, of which the output's shape says how many images they are.
    pub(crate) fn photos(&self) -> Option<&Photos> {
        match &self.images {
            Images::Tensor(_) => None,
            Images::Photos(photos) => Some(photos),
        }
    }

    /// How many images a run takes; None for tensors.
    pub(crate) fn batch(&self) -> Option<usize> {
        self.photos().map(Photos::batch)
    }

    /// The names of a run's images, where the output is of `count`; the last batch of photos may hold fewer.
    pub(crate) fn names(&self, run: usize, count: usize) -> Vec<String> {
        match &self.images {
            Images::Tensor(name) if count == 1 => vec![name.clone()],
            Images::Tensor(name) => (0..count).map(|i| format!("{name}[{i}]")).collect(),
            Images::Photos(photos) => photos.of_run(run).iter().map(|path| path.display().to_string()).collect(),
        }
    }

    /// The tensors of a run.
    pub(crate) fn load(&mut self, run: usize) -> Result<&[Elements], Failure> {
        if let Images::Photos(photos) = &self.images {
            self.tensors[0] = Elements::F32(photos.load(run)?);
        }
        Ok(&self.tensors)
    }
}

/// The arguments by the input they are for.
fn by_name<'a>(
    graph: &'a Graph,
    absent: &'a [String],
    arguments: &'a [OsString],
) -> Result<HashMap<&'a str, &'a OsStr>, Failure> {
    let names = graph.inputs().iter().map(|&id| &*graph.node(id).origin.name);
    let names: Vec<&str> = names.chain(absent.iter().map(String::as_str)).collect();
    let is_only = names.len() == 1 || graph.inputs().len() == 1;
    let mut given = HashMap::new();
    for argument in arguments {
        let named = names.iter().filter_map(|&name| Some((name, argument.strip_prefix(name)?.strip_prefix("=")?)));
        let (name, source) = match (named.max_by_key(|(name, _)| name.len()), argument.split_once("=")) {
            (Some(named), _) => named,
            // A path may hold an `=` too.
            (None, split) if is_only && (split.is_none() || Path::new(argument).exists()) => {
                (names[0], argument.as_os_str())
            }
            (None, Some((name, _))) => {
                let known = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "none" } else { &known };
                return Err(Failure::new(format!("the network has no input `{}`; it has {known}", name.display())));
            }
            (None, None) => {
                return Err(Failure::new(format!("`--input {}` names no input", argument.display()))
                    .help(format!("this network has {}: write `--input NAME=FILE`", names.join(", "))));
            }
        };
        if given.insert(name, source).is_some() {
            return Err(Failure::new(format!("the input `{name}` is given twice"))
                .help("for several photos, give the folder that they are in"));
        }
    }
    Ok(given)
}

/// What an argument is, by its name.
enum Kind {
    /// A `.npy` file, or `fill`.
    Tensor,
    /// A photo, or all photos of a folder.
    Photos(Found),
}

impl Kind {
    fn of(source: &OsStr) -> Result<Self, Failure> {
        if source == "fill" {
            return Ok(Kind::Tensor);
        }
        let path = Path::new(source);
        let shown = path.display();
        if fs::metadata(path).context(format!("cannot read {shown}"))?.is_dir() {
            return Found::in_folder(path).map(Kind::Photos);
        }
        if photo::is_named_photo(path) {
            return Ok(Kind::Photos(Found::One(path.to_owned())));
        }
        match path.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("npy") => Ok(Kind::Tensor),
            _ => Err(Failure::new(format!("{shown} is neither a tensor nor a photo, as its name ends"))
                .help(format!("kiln reads .npy files, and {}", photo::FORMATS))),
        }
    }
}
