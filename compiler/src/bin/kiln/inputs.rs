//! What `--input` names: tensors, a photo, or a folder of photos.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_compiler::diag::counted;
use kiln_compiler::graph::{DType, Elements, Graph, TensorType};

use crate::array;
use crate::npy;
use crate::photo;
use crate::preprocess::Preparation;
use crate::progress::Doing;
use crate::report::{Context, Failure};
use crate::spec::splits;

/// The most mistakes that are told at once.
const MOST_TOLD: usize = 20;

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
pub(crate) fn tensors(arguments: &[String]) -> Vec<Tensor> {
    let is_tensor = |path: &Path| path.is_file() && path.extension().is_some_and(|it| it.eq_ignore_ascii_case("npy"));
    let mut tensors = Vec::new();
    for argument in arguments {
        let named = splits(argument).find(|(_, source)| is_tensor(Path::new(source)));
        let (input, source) = named.map_or((None, argument.as_str()), |(input, source)| (Some(input), source));
        if is_tensor(Path::new(source))
            && let Ok((shape, elements)) = npy::read(Path::new(source))
        {
            tensors.push(Tensor { input: input.map(str::to_owned), shape, elements });
        }
    }
    tensors
}

enum Images {
    /// The images of a batch have no names of their own: the first input's argument names them.
    Tensor(String),
    Photos {
        paths: Vec<PathBuf>,
        preparation: Preparation,
        batch: usize,
    },
}

impl Inputs {
    /// Reads tensors, and looks through all photos, each of which is decoded and dropped again. `NAME=` may be left out
    /// where the network has one input; `absent` are names of inputs of the model that it does not have.
    ///
    /// # Errors
    /// All that is wrong with photos at once; the first mistake of any other kind.
    pub(crate) fn read(graph: &Graph, absent: &[String], arguments: &[String], doing: &Doing) -> Result<Self, Failure> {
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
                Kind::Photos(paths) if position == 0 => {
                    photos = Some(look_through(graph, paths, name, &node.ty, doing)?);
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
        let images = photos.unwrap_or_else(|| Images::Tensor(named.copied().unwrap_or_default().to_owned()));
        Ok(Inputs { tensors, images })
    }

    /// How many times to run the network.
    pub(crate) fn runs(&self) -> usize {
        match &self.images {
            Images::Tensor(_) => 1,
            Images::Photos { paths, batch, .. } => paths.len().div_ceil(*batch),
        }
    }

    /// How many images a run takes; None for tensors, of which the output's shape says it.
    pub(crate) fn batch(&self) -> Option<usize> {
        match &self.images {
            Images::Tensor(_) => None,
            Images::Photos { batch, .. } => Some(*batch),
        }
    }

    /// The names of a run's images, where the output is of `count`; the last batch of photos may hold fewer.
    pub(crate) fn names(&self, run: usize, count: usize) -> Vec<String> {
        match &self.images {
            Images::Tensor(name) if count == 1 => vec![name.clone()],
            Images::Tensor(name) => (0..count).map(|i| format!("{name}[{i}]")).collect(),
            Images::Photos { paths, batch, .. } => {
                paths.iter().skip(run * batch).take(*batch).map(|path| path.display().to_string()).collect()
            }
        }
    }

    /// The tensors of a run. A batch that is not full ends in zeros.
    pub(crate) fn load(&mut self, run: usize) -> Result<&[Elements], Failure> {
        if let Images::Photos { paths, preparation, batch } = &self.images {
            let mut first = Vec::with_capacity(batch * preparation.len());
            for path in paths.iter().skip(run * batch).take(*batch) {
                first.extend(read_photo(path, preparation).map_err(Failure::new)?);
            }
            first.resize(batch * preparation.len(), 0.0);
            self.tensors[0] = Elements::F32(first);
        }
        Ok(&self.tensors)
    }
}

/// The arguments by the input they are for.
fn by_name<'a>(
    graph: &'a Graph,
    absent: &'a [String],
    arguments: &'a [String],
) -> Result<HashMap<&'a str, &'a str>, Failure> {
    let names = graph.inputs().iter().map(|&id| &*graph.node(id).origin.name);
    let names: Vec<&str> = names.chain(absent.iter().map(String::as_str)).collect();
    let is_only = names.len() == 1 || graph.inputs().len() == 1;
    let mut given = HashMap::new();
    for argument in arguments {
        let named = names.iter().filter_map(|&name| Some((name, argument.strip_prefix(name)?.strip_prefix('=')?)));
        let (name, source) = match (named.max_by_key(|(name, _)| name.len()), argument.split_once('=')) {
            (Some(named), _) => named,
            // A path may hold an `=` too.
            (None, split) if is_only && (split.is_none() || Path::new(argument).exists()) => {
                (names[0], argument.as_str())
            }
            (None, Some((name, _))) => {
                let known = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "none" } else { &known };
                return Err(Failure::new(format!("the network has no input `{name}`; it has {known}")));
            }
            (None, None) => {
                return Err(Failure::new(format!("`--input {argument}` names no input"))
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
    Photos(Vec<PathBuf>),
}

impl Kind {
    fn of(source: &str) -> Result<Self, Failure> {
        if source == "fill" {
            return Ok(Kind::Tensor);
        }
        let path = Path::new(source);
        if fs::metadata(path).context(format!("cannot read {source}"))?.is_dir() {
            return photos_of(path).map(Kind::Photos);
        }
        if photo::is_named_photo(path) {
            return Ok(Kind::Photos(vec![path.to_owned()]));
        }
        match path.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("npy") => Ok(Kind::Tensor),
            _ => Err(Failure::new(format!("{source} is neither a tensor nor a photo, as its name ends"))
                .help(format!("kiln reads .npy files, and {}", photo::FORMATS))),
        }
    }
}

/// The files in a folder, in the order of their names, hidden ones left out. That they are photos is not said here.
fn photos_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let shown = folder.display();
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).context(format!("cannot read {shown}"))? {
        let path = entry.context(format!("cannot read {shown}"))?.path();
        if !path.file_name().unwrap_or(OsStr::new("")).as_encoded_bytes().starts_with(b".") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(
            Failure::new(format!("there is no photo in {shown}")).help(format!("kiln reads {}", photo::FORMATS))
        );
    }
    paths.sort();
    Ok(paths)
}

/// Makes sure that each photo can become an image of the input.
fn look_through(
    graph: &Graph,
    paths: Vec<PathBuf>,
    name: &str,
    ty: &TensorType,
    doing: &Doing,
) -> Result<Images, Failure> {
    let Some(preprocessing) = graph.preprocessing.as_ref().filter(|_| ty.dtype == DType::F32) else {
        return Err(Failure::new(format!("{} does not say how a photo becomes its input `{name}`", graph.name)).help(
            "give a .npy file, or add to the net what it was trained with, as in\n\
             image(resize = 256, filter = \"bilinear\", crop = 224, mean = [123.675, 116.28, 103.53], std = [58.395, 57.12, 57.375]);",
        ));
    };
    let preparation = Preparation::new(preprocessing, name, &ty.shape)?;
    doing.now_counting("looking through the photos", paths.len());
    let mut mistakes = Vec::new();
    for path in &paths {
        mistakes.extend(look_at(path, &preparation).err());
        doing.one_done();
    }
    let message = match mistakes.as_slice() {
        [] => return Ok(Images::Photos { paths, preparation, batch: ty.shape[0] }),
        [only] => only.clone(),
        several => {
            let mut message = format!("{} of {} cannot be used:", several.len(), counted(paths.len(), "file"));
            several.iter().take(MOST_TOLD).for_each(|mistake| message.push_str(&format!("\n{mistake}")));
            if several.len() > MOST_TOLD {
                message.push_str(&format!("\nand {} more", several.len() - MOST_TOLD));
            }
            message
        }
    };
    let failure = Failure::new(message);
    let misnamed = paths.iter().any(|path| !photo::is_named_photo(path));
    Err(if misnamed { failure.help(format!("kiln reads {}", photo::FORMATS)) } else { failure })
}

/// Whether a file can become an image of the input.
fn look_at(path: &Path, preparation: &Preparation) -> Result<(), String> {
    if path.is_file() && !photo::is_named_photo(path) {
        return Err(format!("{} is no photo, as its name ends", path.display()));
    }
    let photo = photo::decode(path)?;
    preparation.resized(photo.width(), photo.height()).map_err(|error| format!("{} {error}", path.display()))?;
    Ok(())
}

/// One image of the input.
fn read_photo(path: &Path, preparation: &Preparation) -> Result<Vec<f32>, String> {
    preparation.image(&photo::decode(path)?).map_err(|error| format!("{} {error}", path.display()))
}
