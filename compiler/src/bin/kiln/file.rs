//! Output files that appear whole or not at all.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::place::{Parents, said};
use crate::report::{Context, Failure};
use crate::temporary::Temporary;

/// A file being written beside its final place.
pub(crate) struct NewFile {
    staged: NamedTempFile,
    place: Place,
}

/// A file that is whole, and still beside its place.
pub(crate) struct WholeFile {
    staged: TempPath,
    place: Place,
}

struct Place {
    /// What the file is in for now.
    _staging: Temporary,
    target: PathBuf,
    parents: Parents,
    force: bool,
}

impl NewFile {
    /// Begins a file that will stand at `target`, with the folders that it stands in.
    ///
    /// # Errors
    /// Where something stands there already, unless it is a file and `force`, and where no file can stand.
    pub(crate) fn begin(target: &Path, force: bool) -> Result<Self, Failure> {
        let shown = target.display();
        let found = target.metadata().or_else(|_| target.symlink_metadata()).ok();
        let is_folder = found.as_ref().is_some_and(|found| found.is_dir());
        if is_folder || target.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(Failure::new(format!("{shown} is a folder: it is left alone")).help("name a file"));
        }
        if let Some(found) = found {
            if !found.is_file() && !found.is_symlink() {
                return Err(Failure::new(format!("{shown} is not a file: it is left alone")).help("name a file"));
            }
            if !force {
                return Err(Failure::new(format!("{shown} exists already"))
                    .help("choose another name, or let --force replace it"));
            }
        }
        let parents = Parents::make(target)?;
        let staging = parents.temporary()?;
        let staged = builder().tempfile_in(staging.path()).context(format!("cannot make {shown}"))?;
        Ok(NewFile { staged, place: Place { _staging: staging, target: target.to_path_buf(), parents, force } })
    }

    /// Writes what the file holds.
    pub(crate) fn write(
        mut self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
    ) -> Result<WholeFile, Failure> {
        let mut out = BufWriter::new(self.staged.as_file_mut());
        write(&mut out)?;
        out.flush().context(format!("cannot write {}", self.place.target.display()))?;
        drop(out);
        Ok(WholeFile { staged: self.staged.into_temp_path(), place: self.place })
    }
}

impl WholeFile {
    /// Moves the file to its place.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Place { _staging, target, parents, force } = self.place;
        let moved = if force { self.staged.persist(&target) } else { self.staged.persist_noclobber(&target) };
        moved.map_err(|failed| Failure::new(format!("cannot make {}: {}", target.display(), said(&failed.error))))?;
        parents.keep();
        Ok(())
    }
}

/// Makes a file that is as readable as any, as far as the umask lets it: temporary ones are private else.
#[cfg(unix)]
fn builder() -> tempfile::Builder<'static, 'static> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = tempfile::Builder::new();
    builder.permissions(std::fs::Permissions::from_mode(0o666));
    builder
}

#[cfg(not(unix))]
fn builder() -> tempfile::Builder<'static, 'static> {
    tempfile::Builder::new()
}
