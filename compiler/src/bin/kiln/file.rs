//! Output files that appear whole or not at all.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::report::{Context, Failure};

/// A file being written beside its final place.
pub(crate) struct NewFile {
    staging: NamedTempFile,
    target: PathBuf,
    force: bool,
}

/// A file that is whole, and still beside its place.
pub(crate) struct WholeFile {
    staged: TempPath,
    target: PathBuf,
    force: bool,
}

impl NewFile {
    /// Begins a file that will stand at `target`, with the folders that it stands in.
    ///
    /// # Errors
    /// Where something stands there already, unless it is a file and `force`.
    pub(crate) fn begin(target: &Path, force: bool) -> Result<Self, Failure> {
        let shown = target.display();
        if let Ok(found) = target.symlink_metadata() {
            if found.is_dir() {
                return Err(Failure::new(format!("{shown} is a folder: it is left alone")).help("name a file"));
            }
            if !force {
                return Err(Failure::new(format!("{shown} exists already"))
                    .help("choose another name, or let --force replace it"));
            }
        }
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).context(format!("cannot make {}", parent.display()))?;
        let staging = tempfile::Builder::new()
            .prefix(".kiln-")
            .tempfile_in(parent)
            .context(format!("cannot write in {}", parent.display()))?;
        Ok(NewFile { staging, target: target.to_path_buf(), force })
    }

    /// Writes what the file holds.
    pub(crate) fn write(
        mut self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
    ) -> Result<WholeFile, Failure> {
        let mut out = BufWriter::new(self.staging.as_file_mut());
        write(&mut out)?;
        out.flush().context(format!("cannot write {}", self.target.display()))?;
        drop(out);
        set_readable(self.staging.path());
        Ok(WholeFile { staged: self.staging.into_temp_path(), target: self.target, force: self.force })
    }
}

impl WholeFile {
    /// Moves the file to its place.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let shown = self.target.display();
        let moved =
            if self.force { self.staged.persist(&self.target) } else { self.staged.persist_noclobber(&self.target) };
        moved.context(format!("cannot make {shown}"))
    }
}

/// Temporary files are private; a finished one is as readable as any.
#[cfg(unix)]
fn set_readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).ok();
}

#[cfg(not(unix))]
fn set_readable(_: &Path) {}
