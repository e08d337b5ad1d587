//! Temporary folders: they go when they are dropped or a signal ends the program, and where it was killed, at a later
//! start.
//!
//! A folder that is in use holds a file that its process has locked, which the system ends with the process: a folder
//! whose file nobody has locked is stale. That holds for processes on any machine that shares the disk, as far as its
//! locks do.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::interrupt::live;

/// How the names of the folders begin.
const PREFIX: &str = ".kiln-";

/// The locked file.
const LOCK: &str = ".kiln-is-at-work";

/// A folder of one's own.
pub(crate) struct Temporary {
    path: PathBuf,
    /// None where the file system has no locks: then it never counts as stale.
    lock: Option<File>,
}

impl Temporary {
    /// A folder where the system has such.
    pub(crate) fn new() -> io::Result<Self> {
        Temporary::within(&std::env::temp_dir())
    }

    /// A folder in another one, from which stale ones are removed.
    pub(crate) fn within(folder: &Path) -> io::Result<Self> {
        sweep(folder);
        let mut held = live();
        let path = std::path::absolute(tempfile::Builder::new().prefix(PREFIX).tempdir_in(folder)?.keep())?;
        held.folders.push(path.clone());
        drop(held);
        let mut made = Temporary { path, lock: None };
        made.lock = locked(&made.path)?;
        Ok(made)
    }

    /// Where it is, as an absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        remove(&self.path).ok();
        live().folders.retain(|other| *other != self.path);
        self.lock.take();
    }
}

/// Locks a folder, if its file system lets it be. The file gets its name once it is locked, so that nobody finds it
/// unlocked before.
fn locked(folder: &Path) -> io::Result<Option<File>> {
    let unlocked = folder.join("unlocked");
    let file = File::create_new(&unlocked)?;
    if file.try_lock().is_err() {
        fs::remove_file(unlocked)?;
        return Ok(None);
    }
    fs::rename(unlocked, folder.join(LOCK))?;
    Ok(Some(file))
}

/// Removes the stale ones of the temporary folders in a folder.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        // A link is none of them.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let lock = path.join(LOCK);
        if lock.symlink_metadata().is_ok_and(|lock| lock.is_file())
            && let Ok(lock) = File::open(lock)
            && lock.try_lock().is_ok()
        {
            // What resists, as another user's does, is left to others.
            remove(&path).ok();
        }
    }
}

/// Removes a temporary folder, the locked file last: what cannot be removed now is still known as one later.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return gone(Err(error)),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        gone(match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        })?;
    }
    gone(fs::remove_file(folder.join(LOCK)))?;
    gone(fs::remove_dir(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_folders_go_and_those_in_use_stay() {
        let place = tempfile::tempdir().expect("a folder");
        let used = Temporary::within(place.path()).expect("a folder");
        let stale = place.path().join(".kiln-stale");
        fs::create_dir_all(stale.join("deep/deeper")).expect("a folder");
        fs::write(stale.join("deep/file"), "").expect("a file");
        fs::write(stale.join(LOCK), "").expect("a file");
        // A folder of somebody else, and one that is just being made.
        for other in ["mine", ".kiln-mine"] {
            fs::create_dir(place.path().join(other)).expect("a folder");
        }
        fs::write(place.path().join("mine").join(LOCK), "").expect("a file");
        let next = Temporary::within(place.path()).expect("a folder");
        assert!(!stale.exists() && used.path().is_dir() && next.path().is_dir());
        assert!(place.path().join("mine").is_dir() && place.path().join(".kiln-mine").is_dir());
        let paths = [used.path().to_owned(), next.path().to_owned()];
        fs::write(paths[0].join("file"), "").expect("a file");
        drop((used, next));
        assert!(!paths.iter().any(|path| path.exists()));
        assert!(!live().folders.iter().any(|folder| paths.contains(folder)));
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_stays() {
        let place = tempfile::tempdir().expect("a folder");
        let home = tempfile::tempdir().expect("a folder");
        fs::write(home.path().join(LOCK), "").expect("a file");
        std::os::unix::fs::symlink(home.path(), place.path().join(".kiln-link")).expect("a link");
        sweep(place.path());
        assert!(home.path().join(LOCK).is_file());
        let used = Temporary::within(place.path()).expect("a folder");
        std::os::unix::fs::symlink(home.path(), used.path().join("link")).expect("a link");
        drop(used);
        assert!(home.path().join(LOCK).is_file());
    }
}
