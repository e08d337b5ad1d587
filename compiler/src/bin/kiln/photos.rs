//! Photos as inputs: one, or those of a folder, as many at a time as a batch holds.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_compiler::graph::{DType, Graph, TensorType};

use crate::image_option;
use crate::photo;
use crate::preprocess::Preparation;
use crate::progress::Doing;
use crate::report::{Context, Failure};

/// The most mistakes that are told at once.
const MOST_TOLD: usize = 20;

/// Photos that can become images of an input.
pub(crate) struct Photos {
    paths: Vec<PathBuf>,
    preparation: Preparation,
    batch: usize,
}

/// Files that are named as photos are. That they are photos is not said here.
pub(crate) enum Found {
    One(PathBuf),
    Folder { paths: Vec<PathBuf>, left_out: LeftOut },
}

/// What is in a folder beside photos, by the count.
#[derive(Default)]
pub(crate) struct LeftOut {
    others: usize,
    hidden: usize,
    folders: usize,
}

impl Found {
    /// The photos of a folder in the order of their names, but none of the folders in it.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, Failure> {
        let shown = folder.display();
        let (mut paths, mut left_out) = (Vec::new(), LeftOut::default());
        for entry in fs::read_dir(folder).context(format!("cannot read {shown}"))? {
            let path = entry.context(format!("cannot read {shown}"))?.path();
            if path.file_name().unwrap_or(OsStr::new("")).as_encoded_bytes().starts_with(b".") {
                left_out.hidden += 1;
            } else if path.is_dir() {
                left_out.folders += 1;
            } else if photo::is_named_photo(&path) {
                paths.push(path);
            } else {
                left_out.others += 1;
            }
        }
        if paths.is_empty() {
            let beside = left_out.text().map_or(String::new(), |text| format!(", only {text}"));
            return Err(Failure::new(format!("there is no photo in {shown}{beside}"))
                .help(format!("kiln reads {}", photo::FORMATS)));
        }
        paths.sort();
        Ok(Found::Folder { paths, left_out })
    }
}

impl LeftOut {
    /// `2 other files, 1 hidden and 1 folder`; None where nothing is left out.
    fn text(&self) -> Option<String> {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let parts = [
            (self.others, format!("{} other file{}", self.others, plural(self.others))),
            (self.hidden, format!("{} hidden", self.hidden)),
            (self.folders, format!("{} folder{}", self.folders, plural(self.folders))),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
        match parts.split_last()? {
            (last, []) => Some(last.clone()),
            (last, rest) => Some(format!("{} and {last}", rest.join(", "))),
        }
    }
}

impl Photos {
    /// Decodes each photo, and drops it again. In a folder, what cannot become an image of the input is told and left out,
    /// unless `strict`.
    ///
    /// # Errors
    /// A network that does not say how a photo becomes its input; all photos that cannot, where that is an error, or where
    /// no others are left.
    pub(crate) fn look_through(
        graph: &Graph,
        found: Found,
        name: &str,
        ty: &TensorType,
        strict: bool,
        doing: &Doing,
    ) -> Result<Self, Failure> {
        if ty.dtype != DType::F32 {
            let message = format!("a photo becomes f32s, but the input `{name}` is {}", ty.dtype);
            return Err(Failure::new(message).help("give a .npy file"));
        }
        let Some(preprocessing) = &graph.preprocessing else {
            return Err(Failure::new(format!("{} does not say how a photo becomes its input `{name}`", graph.name))
                .help(image_option::HELP));
        };
        let preparation = Preparation::new(preprocessing, name, &ty.shape)?;
        let (paths, left_out, strict) = match found {
            Found::One(path) => (vec![path], LeftOut::default(), true),
            Found::Folder { paths, left_out } => (paths, left_out, strict),
        };
        if let Some(text) = left_out.text() {
            let plural = if paths.len() == 1 { "" } else { "s" };
            doing.note(&format!("{} photo{plural}; left out: {text}", paths.len()));
        }
        doing.now_counting("looking through the photos", paths.len());
        let count = paths.len();
        let (mut usable, mut mistakes) = (Vec::new(), Vec::new());
        for path in paths {
            match look_at(&path, &preparation) {
                Ok(()) => usable.push(path),
                Err(mistake) => mistakes.push(mistake),
            }
            doing.one_done();
        }
        if !mistakes.is_empty() {
            let message = told(&mistakes, count);
            if strict || usable.is_empty() {
                return Err(Failure::new(message));
            }
            doing.note(&message);
        }
        Ok(Photos { paths: usable, preparation, batch: ty.shape[0] })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.paths.len()
    }

    /// How many a run takes; the last one may take fewer.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// The files of a run.
    pub(crate) fn of_run(&self, run: usize) -> &[PathBuf] {
        self.paths.chunks(self.batch).nth(run).unwrap_or_default()
    }

    /// The input of a run. A batch that is not full ends in zeros.
    pub(crate) fn load(&self, run: usize) -> Result<Vec<f32>, Failure> {
        let len = self.batch * self.preparation.len();
        let mut input = Vec::with_capacity(len);
        for path in self.of_run(run) {
            let image = photo::decode(path).and_then(|photo| {
                self.preparation.image(&photo).map_err(|error| format!("{} {error}", path.display()))
            });
            input.extend(image.map_err(Failure::new)?);
        }
        input.resize(len, 0.0);
        Ok(input)
    }
}

/// Whether a file can become an image of the input.
fn look_at(path: &Path, preparation: &Preparation) -> Result<(), String> {
    let photo = photo::decode(path)?;
    preparation.resized(photo.width(), photo.height()).map_err(|error| format!("{} {error}", path.display()))?;
    Ok(())
}

/// Mistakes of so many files, the first ones in full.
fn told(mistakes: &[String], files: usize) -> String {
    if let ([only], 1) = (mistakes, files) {
        return only.clone();
    }
    let mut text = format!("{} of {files} photos cannot be used:", mistakes.len());
    mistakes.iter().take(MOST_TOLD).for_each(|mistake| text.push_str(&format!("\n{mistake}")));
    if mistakes.len() > MOST_TOLD {
        text.push_str(&format!("\nand {} more", mistakes.len() - MOST_TOLD));
    }
    text
}
