//! Where outputs come to stand: the folders around them, and the one beside the place in which they are written.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::interrupt::live;
use crate::report::Failure;
use crate::temporary::Temporary;

/// The folder that an output stands in, with those around it that were made for it: they go again unless something comes
/// to stand there.
pub(crate) struct Parents {
    /// The folder.
    folder: PathBuf,
    /// What was made, the innermost first.
    made: Vec<PathBuf>,
}

impl Parents {
    /// Makes the folders that `target` is to stand in.
    pub(crate) fn make(target: &Path) -> Result<Self, Failure> {
        let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        if let Some(file) = folder.ancestors().find(|place| place.exists()).filter(|place| !place.is_dir()) {
            return Err(Failure::new(format!("{} is not a folder: nothing can stand in it", file.display())));
        }
        let parents = Parents { folder: folder.to_owned(), made: missing.map(Path::to_owned).collect() };
        live().parents.extend(parents.made.iter().cloned());
        fs::create_dir_all(folder)
            .map_err(|error| Failure::new(format!("cannot make {}: {}", folder.display(), said(&error))))?;
        Ok(parents)
    }

    /// Makes a temporary folder beside the place.
    pub(crate) fn temporary(&self) -> Result<Temporary, Failure> {
        Temporary::within(&self.folder)
            .map_err(|error| Failure::new(format!("cannot write in {}: {}", self.folder.display(), said(&error))))
    }

    /// Leaves the folders where they are.
    pub(crate) fn keep(mut self) {
        self.forget();
        self.made.clear();
    }

    fn forget(&self) {
        live().parents.retain(|folder| !self.made.contains(folder));
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        for folder in &self.made {
            // One that holds something by now is no longer ours alone, and stays.
            fs::remove_dir(folder).ok();
        }
        self.forget();
    }
}

/// What the system said of a mistake, without the name of a temporary file, which no user wrote.
pub(crate) fn said(error: &io::Error) -> String {
    match error.get_ref().and_then(Error::source) {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_around_an_output_go_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        drop(Parents::make(&path("a/b/c")).expect("folders"));
        assert!(!path("a").exists());
        fs::create_dir(path("a")).expect("a folder");
        drop(Parents::make(&path("a/b/c")).expect("folders"));
        assert!(path("a").exists() && !path("a/b").exists());
        Parents::make(&path("a/b/c")).expect("folders").keep();
        assert!(path("a/b").is_dir());
        fs::write(path("file"), "").expect("a file");
        let failure = Parents::make(&path("file/b/c")).err().expect("a file is no folder");
        let line = failure.line();
        assert!(line.contains("file is not a folder"), "{line}");
    }
}
