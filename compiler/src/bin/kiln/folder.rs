//! Output folders that appear whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use crate::interrupt::live;
use crate::place::Parents;
use crate::report::{Context, Failure};
use crate::temporary::Temporary;

/// The file that says that kiln made a folder, so that `--force` may replace it.
const MARK: &str = ".kiln";

/// A folder being written beside its final place.
pub(crate) struct NewFolder {
    /// The folder.
    staged: PathBuf,
    /// What it is in for now.
    staging: Temporary,
    target: PathBuf,
    parents: Parents,
    /// Whether a folder that stands at the place is replaced.
    force: bool,
}

impl NewFolder {
    /// Begins a folder that will stand at `target`, with the folders that it stands in.
    ///
    /// # Errors
    /// Where something stands there already.
    pub(crate) fn begin(target: &Path) -> Result<Self, Failure> {
        if target.symlink_metadata().is_ok() {
            return Err(Failure::new(format!("{} exists already", target.display()))
                .help("choose another folder, or remove that one yourself"));
        }
        NewFolder::stage(target, false)
    }

    fn stage(target: &Path, force: bool) -> Result<Self, Failure> {
        let parents = Parents::make(target)?;
        let staging = parents.temporary()?;
        let staged = staging.path().join("new");
        fs::create_dir(&staged).context(format!("cannot make {}", target.display()))?;
        Ok(NewFolder { staged, staging, target: target.to_path_buf(), parents, force })
    }

    /// Begins a folder that bears kiln's mark, so that a later one may replace it.
    ///
    /// # Errors
    /// Where something stands there already, unless `force` and it bears the mark.
    pub(crate) fn begin_marked(target: &Path, force: bool) -> Result<Self, Failure> {
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
        let folder = NewFolder::stage(target, force)?;
        folder.write(MARK, b"This folder was made by kiln; `kiln build --force` may replace it.\n")?;
        Ok(folder)
    }

    /// Where to write for now.
    pub(crate) fn path(&self) -> &Path {
        &self.staged
    }

    /// Writes a file, with the folders it stands in.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<(), Failure> {
        let path = self.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).context(format!("cannot make the folder of {name}"))?;
        }
        fs::write(&path, contents).context(format!("cannot write {name}"))
    }

    /// Moves the folder to its place.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let NewFolder { staged, staging, target, parents, force } = self;
        let shown = target.display();
        // No signal may come between the old folder and the new one.
        let undisturbed = live();
        if force && target.symlink_metadata().is_ok() {
            // The old folder steps aside first, so that a failure leaves one of the two whole; and not to where temporary
            // folders go.
            let aside = staging.path().with_extension("old");
            fs::rename(&target, &aside).context(format!("cannot replace {shown}"))?;
            if let Err(error) = fs::rename(&staged, &target) {
                fs::rename(aside, &target).context(format!("cannot restore {shown}"))?;
                return Err(Failure::new(format!("cannot make {shown}: {error}")));
            }
            fs::rename(aside, staging.path().join("old")).context("cannot remove the old folder")?;
        } else {
            fs::rename(&staged, &target).context(format!("cannot make {shown}"))?;
        }
        drop(undisturbed);
        parents.keep();
        Ok(())
    }
}
