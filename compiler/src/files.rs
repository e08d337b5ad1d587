//! The door to files for those who compile from files: the program `kiln`, `network!`, build scripts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use kiln_rt::content::Content;

use crate::front::Loader;

/// The most bytes of a source.
const LIMIT: u64 = 64 << 20;

/// Reads sources, and remembers which. A file has one name, however it is reached.
#[derive(Debug, Default)]
pub struct Files {
    read: RefCell<BTreeSet<PathBuf>>,
    /// The paths that are no text, by what stands for them.
    unreadable: RefCell<BTreeMap<String, PathBuf>>,
}

impl Files {
    /// The name and the text of the file at `path`.
    ///
    /// # Errors
    /// What the operating system says, what is no text in UTF-8, and a file of more than 64 MiB.
    pub fn read(&self, path: &Path) -> Result<(String, String), String> {
        let path = without_dots(path);
        if path.is_dir() {
            return Err("it is a folder".to_owned());
        }
        // What is no file, as a pipe, has no size to ask for, and maybe no end.
        let mut source = File::open(&path).map_err(|error| error.to_string())?.take(LIMIT + 1);
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > LIMIT {
            return Err(format!("it has more than the {} MiB of any source", LIMIT >> 20));
        }
        let text = String::from_utf8(bytes).map_err(|error| match Content::of(error.as_bytes()) {
            Some(content) => format!("it is {content}, not a text"),
            None => "it is no text in UTF-8".to_owned(),
        })?;
        let name = self.name(&path);
        self.read.borrow_mut().insert(path);
        Ok((name, text))
    }

    /// What a path is called where names are text, as in [`Loader::load`]. Of one that is no text these files know what it
    /// stands for.
    pub fn name(&self, path: &Path) -> String {
        let name = path.display().to_string();
        if path.to_str().is_none() {
            self.unreadable.borrow_mut().insert(name.clone(), path.to_owned());
        }
        name
    }

    /// The path that a name stands for.
    fn path(&self, name: &str) -> PathBuf {
        self.unreadable.borrow().get(name).cloned().unwrap_or_else(|| name.into())
    }

    /// The bytes of the file at `path`.
    ///
    /// # Errors
    /// What the operating system says, and what is not a file.
    pub fn read_bytes(&self, path: &Path) -> Result<Vec<u8>, String> {
        let path = without_dots(path);
        let metadata = std::fs::metadata(&path).map_err(|error| error.to_string())?;
        if metadata.is_dir() {
            return Err("it is a folder".to_owned());
        }
        if !metadata.is_file() {
            return Err("it is not a file".to_owned());
        }
        let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
        self.read.borrow_mut().insert(path);
        Ok(bytes)
    }

    /// The files that were read, in order of their names.
    pub fn were_read(&self) -> Vec<PathBuf> {
        self.read.borrow().iter().cloned().collect()
    }
}

impl Loader for Files {
    /// Paths are relative to the file that names them, or to the current folder.
    fn load(&self, from: &str, path: &str) -> Result<(String, String), String> {
        self.read(&self.path(from).parent().unwrap_or(Path::new("")).join(self.path(path)))
    }
}

/// The path of a file that a model names, which lies in the model's folder. A model that is a link lies in two: where the
/// link is, and where it leads.
///
/// # Errors
/// What the operating system says, or that the file lies elsewhere.
pub fn beside(model: &Path, location: &str) -> Result<PathBuf, String> {
    let folder = |model: &Path| match model.parent() {
        Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("."),
    };
    let real = |path: &Path| path.canonicalize().map_err(|error| error.to_string());
    let path = real(&folder(model).join(location))?;
    let homes = [real(&folder(model))?, folder(&real(model)?)];
    match homes.iter().any(|home| path.starts_with(home)) {
        true => Ok(path),
        false => Err("it leads out of the model's folder".to_owned()),
    }
}

/// `a/c` for `a/b/../c` and `a/./c`.
fn without_dots(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(short.components().next_back(), Some(Component::Normal(_))) => {
                short.pop();
            }
            Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => short.push(part),
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_do_not_lead_out_of_a_models_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("models/data")).expect("a folder");
        std::fs::create_dir(path("blobs")).expect("a folder");
        std::fs::create_dir(path("cache")).expect("a folder");
        for file in ["models/m.onnx", "models/data/w", "secret", "blobs/m", "blobs/w"] {
            std::fs::write(path(file), file).expect("a file");
        }
        for (link, to) in [("models/out", "../secret"), ("cache/m.onnx", "../blobs/m"), ("cache/w", "../blobs/w")] {
            std::os::unix::fs::symlink(to, path(link)).expect("a link");
        }
        let read = |model: &str, location: &str| {
            beside(&path(model), location).map(|path| std::fs::read_to_string(path).expect("a file"))
        };
        assert_eq!(read("models/m.onnx", "data/w"), Ok("models/data/w".to_owned()));
        assert_eq!(read("cache/m.onnx", "w"), Ok("blobs/w".to_owned()));
        for (model, location) in [("models/m.onnx", "out"), ("models/m.onnx", "../secret"), ("models/m.onnx", "none")] {
            assert!(read(model, location).is_err(), "{location}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_path_that_is_no_text_has_a_name_that_leads_to_it() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
        std::fs::create_dir(&path).expect("a folder");
        std::fs::write(path.join("a.net"), "use \"b.net\";").expect("a file");
        std::fs::write(path.join("b.net"), "fn b(x) { x }").expect("a file");
        let files = Files::default();
        let (name, _) = files.load("", &files.name(&path.join("a.net"))).expect("a file");
        assert!(name.ends_with("\u{fffd}/a.net"), "{name}");
        assert_eq!(files.load(&name, "b.net").expect("a file").1, "fn b(x) { x }");
        assert_eq!(files.were_read(), [path.join("a.net"), path.join("b.net")]);
    }

    #[test]
    fn a_file_has_one_name_however_it_is_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("blocks")).expect("a folder");
        std::fs::write(path("blocks/a.net"), "fn a(x) { x }").expect("a file");
        let files = Files::default();
        let from = path("net.net").display().to_string();
        let direct = files.load(&from, "blocks/a.net").expect("a file");
        let around = files.load(&direct.0, "../blocks/./a.net").expect("a file");
        assert_eq!((direct.0.as_str(), direct.1.as_str()), (path("blocks/a.net").to_str().unwrap(), "fn a(x) { x }"));
        assert_eq!(direct, around);
        assert!(files.load(&from, "b.net").is_err());
        assert_eq!(files.were_read(), [path("blocks/a.net")]);
    }
}
