//! Output folders that appear whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use crate::report::{Context, Failure};

/// The file that says that kiln made a folder, so that `--force` may replace it.
const MARK: &str = ".kiln";

/// A folder being written beside its final place.
pub(crate) struct NewFolder {
    staging: tempfile::TempDir,
    target: PathBuf,
}

impl NewFolder {
    /// Begins a folder that will stand at `target`.
    ///
    /// # Errors
    /// Where something stands there already, unless `force` and kiln made it.
    pub(crate) fn begin(target: &Path, force: bool) -> Result<Self, Failure> {
        if target.symlink_metadata().is_ok() {
            let shown = target.display();
            if !force {
                return Err(Failure::new(format!("{shown} exists already"))
                    .help("choose another folder, or let --force replace one that kiln made"));
            }
            if !target.join(MARK).is_file() {
                return Err(Failure::new(format!("{shown} was not made by kiln: it is left alone"))
                    .help("remove it yourself, or choose another folder"));
            }
        }
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).context(format!("cannot make {}", parent.display()))?;
        let staging = tempfile::Builder::new()
            .prefix(".kiln-")
            .tempdir_in(&parent)
            .context(format!("cannot write in {}", parent.display()))?;
        fs::write(staging.path().join(MARK), "This folder was made by kiln; `kiln build --force` may replace it.\n")
            .context("cannot write")?;
        Ok(NewFolder { staging, target: target.to_path_buf() })
    }

    /// Where to write for now.
    pub(crate) fn path(&self) -> &Path {
        self.staging.path()
    }

    /// Writes a file, with the folders it stands in.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<(), Failure> {
        let path = self.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).context(format!("cannot make {}", parent.display()))?;
        }
        fs::write(&path, contents).context(format!("cannot write {name}"))
    }

    /// Moves the folder to its place.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let shown = self.target.display().to_string();
        let mut old = None;
        if self.target.symlink_metadata().is_ok() {
            // The old folder steps aside first, so that a failure leaves one of the two whole.
            let aside = self.staging.path().with_extension("old");
            fs::rename(&self.target, &aside).context(format!("cannot replace {shown}"))?;
            old = Some(aside);
        }
        let staged = self.staging.keep();
        if let Err(error) = fs::rename(&staged, &self.target) {
            if let Some(old) = old {
                fs::rename(old, &self.target).context(format!("cannot restore {shown}"))?;
            }
            fs::remove_dir_all(&staged).ok();
            return Err(Failure::new(format!("cannot make {shown}: {error}")));
        }
        set_readable(&self.target);
        if let Some(old) = old {
            fs::remove_dir_all(old).context("cannot remove the old folder")?;
        }
        Ok(())
    }
}

/// Temporary folders are private; a finished one is as readable as any.
#[cfg(unix)]
fn set_readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).ok();
}

#[cfg(not(unix))]
fn set_readable(_: &Path) {}
