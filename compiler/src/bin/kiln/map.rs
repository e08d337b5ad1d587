//! Files as memory: weights are mapped, not read.

#![allow(unsafe_code, reason = "a memory map is only as stable as its file")]

use std::fs::File;
use std::path::Path;

use kiln_rt::content::Content;
use memmap2::Mmap;

use crate::report::{Context, Failure};

/// What is said of a folder that stands where a file belongs.
pub(crate) fn folder(path: &Path) -> Failure {
    let shown = path.display();
    match path.join("saved_model.pb").is_file() {
        true => {
            let help = Content::SavedModel.help().unwrap_or_default();
            Failure::new(format!("{shown} is {}, a folder, not a file", Content::SavedModel)).help(help)
        }
        false => Failure::new(format!("{shown} is a folder, not a file")).help("name a file in it"),
    }
}

/// A file's bytes.
pub(crate) struct Mapped(Option<Mmap>);

impl Mapped {
    /// Maps a file for reading.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        // Opening a pipe would wait for a writer.
        let metadata = std::fs::metadata(path).context(format!("cannot open {shown}"))?;
        if metadata.is_dir() {
            return Err(folder(path));
        }
        if !metadata.is_file() {
            return Err(Failure::new(format!("{shown} is not a file")));
        }
        let file = File::open(path).context(format!("cannot open {shown}"))?;
        if file.metadata().context(format!("cannot read {shown}"))?.len() == 0 {
            return Ok(Mapped(None));
        }
        // SAFETY: the map is read only and lives as long as this value. Another process that cuts or rewrites the file
        // meanwhile is outside of what a program can exclude; kiln holds the map for one command only.
        let map = unsafe { Mmap::map(&file) }.context(format!("cannot map {shown}"))?;
        Ok(Mapped(Some(map)))
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}
