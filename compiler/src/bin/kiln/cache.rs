//! `kiln cache`, and what it is about: the programs of emitted crates, kept by all that they were built of.
//!
//! ```text
//! FOLDER/KEY/program   a program
//! FOLDER/KEY/sha256    its hash, in hexadecimal digits; when it was changed is when the program was last used
//! ```
//!
//! An entry comes and goes by a rename, so that it is whole or not there, and its hash is checked each time it is used.
//! Whoever uses a program holds a lock on its `sha256`, and who removes it must have that lock alone.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};

use crate::dump::print_line;
use crate::inspect::grouped;
use crate::report::{Context, Failure};
use crate::temporary::{Temporary, sweep};

/// The most bytes that are kept. Programs hold no weights, and have one to five million bytes.
const MOST_BYTES: u64 = 512_000_000;

/// The variable that names another folder.
const VARIABLE: &str = "KILN_CACHE";

const PROGRAM: &str = if cfg!(windows) { "program.exe" } else { "program" };
const HASH: &str = "sha256";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove all programs
    #[arg(long)]
    clear: bool,
}

/// Says what is kept, or removes it.
pub(crate) fn cache(args: &Args) -> Result<(), Failure> {
    let cache = Cache::find_folder()?;
    let shown = cache.folder.display();
    let entries = cache.entries();
    let count = |entries: &[Entry]| {
        let bytes = entries.iter().map(|entry| entry.bytes).sum();
        format!("{} program{}, {} bytes", entries.len(), if entries.len() == 1 { "" } else { "s" }, grouped(bytes))
    };
    if !args.clear {
        let most = grouped(MOST_BYTES);
        return print_line(format_args!("{shown}\n{} of at most {most}", count(&entries)));
    }
    if entries.is_empty() {
        sweep(&cache.folder);
        return print_line(format_args!("{shown} is empty"));
    }
    let trash = Temporary::within(&cache.folder).context(format!("cannot remove anything from {shown}"))?;
    let (removed, used): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.remove(&trash));
    print_line(format_args!("removed {} from {shown}", count(&removed)))?;
    if used.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("{} cannot be removed, or are in use", count(&used))))
    }
}

/// A program that is there as long as this value is.
pub(crate) struct Program {
    path: PathBuf,
    _held: Held,
}

enum Held {
    /// The lock on an entry.
    Entry { _lock: File },
    /// The folder that the program is in, which is no part of a cache.
    Folder { _folder: Temporary },
}

impl Program {
    /// A program that is kept nowhere.
    pub(crate) fn alone(path: PathBuf, folder: Temporary) -> Self {
        Program { path, _held: Held::Folder { _folder: folder } }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The folder of all programs.
pub(crate) struct Cache {
    folder: PathBuf,
}

/// A program in the cache.
struct Entry {
    folder: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Cache {
    /// The user's, made if it is not there.
    pub(crate) fn open() -> Result<Self, Failure> {
        let cache = Cache::find_folder()?;
        let mut builder = DirBuilder::new();
        // What is in it is run: it is nobody else's to write.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&cache.folder).context(format!("cannot make {}", cache.folder.display()))?;
        Ok(cache)
    }

    fn find_folder() -> Result<Self, Failure> {
        let folder = match std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
            Some(folder) => PathBuf::from(folder),
            None => {
                let strategy = etcetera::base_strategy::choose_native_strategy();
                let strategy =
                    strategy.context(format!("cannot tell where the user's caches are; {VARIABLE} says it"))?;
                strategy.cache_dir().join("kiln")
            }
        };
        let folder = std::path::absolute(folder).context("cannot tell where the cache is")?;
        Ok(Cache { folder })
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The program of a key, if it is there and whole.
    pub(crate) fn find(&self, key: &str) -> Option<Program> {
        let entry = self.folder.join(key);
        let mut lock = File::open(entry.join(HASH)).ok()?;
        // Without locks, as on some network disks, it may go while it is used: that is an error, not a wrong answer.
        lock.lock_shared().ok();
        let mut expected = String::new();
        lock.read_to_string(&mut expected).ok()?;
        let path = entry.join(PROGRAM);
        if hash(&path).ok()? != expected {
            return None;
        }
        lock.set_modified(SystemTime::now()).ok();
        Some(Program { path, _held: Held::Entry { _lock: lock } })
    }

    /// Keeps a program that was built in a folder of this cache, and removes those that were not used for longest where
    /// they become too many. What cannot be kept is given all the same.
    pub(crate) fn keep(&self, key: &str, built: PathBuf, staging: Temporary) -> Program {
        let new = staging.path().join("entry");
        match self.try_keep(key, &built, &new, &staging) {
            Ok(program) => program,
            Err(_) => {
                let moved = new.join(PROGRAM);
                Program::alone(if moved.is_file() { moved } else { built }, staging)
            }
        }
    }

    fn try_keep(&self, key: &str, built: &Path, new: &Path, staging: &Temporary) -> io::Result<Program> {
        fs::create_dir(new)?;
        fs::rename(built, new.join(PROGRAM))?;
        fs::write(new.join(HASH), hash(&new.join(PROGRAM))?)?;
        if let Some(found) = self.find(key) {
            // Another process was faster.
            return Ok(found);
        }
        let lock = File::open(new.join(HASH))?;
        lock.lock_shared().ok();
        let entry = self.folder.join(key);
        if entry.symlink_metadata().is_ok() {
            fs::rename(&entry, staging.path().join("broken"))?;
        }
        fs::rename(new, &entry)?;
        self.evict(MOST_BYTES, staging);
        Ok(Program { path: entry.join(PROGRAM), _held: Held::Entry { _lock: lock } })
    }

    /// Removes entries, those that were not used for longest first, until the others have at most so many bytes.
    fn evict(&self, most: u64, trash: &Temporary) {
        let mut entries = self.entries();
        entries.sort_by_key(|entry| entry.used);
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries {
            if bytes <= most {
                break;
            }
            if entry.remove(trash) {
                bytes -= entry.bytes;
            }
        }
    }

    /// What is there, broken ones included.
    fn entries(&self) -> Vec<Entry> {
        let Ok(found) = fs::read_dir(&self.folder) else { return Vec::new() };
        let is_key = |name: &[u8]| name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit);
        let entries = found.flatten().filter(|found| is_key(found.file_name().as_encoded_bytes()));
        let entry = |found: fs::DirEntry| {
            let folder = found.path();
            let bytes = [PROGRAM, HASH].iter().filter_map(|name| Some(folder.join(name).metadata().ok()?.len())).sum();
            let used = folder.join(HASH).metadata().and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            Entry { folder, bytes, used }
        };
        entries.map(entry).collect()
    }
}

impl Entry {
    /// Moves it to where it will be removed, unless it is in use.
    fn remove(&self, trash: &Temporary) -> bool {
        let lock = File::open(self.folder.join(HASH));
        if let Ok(lock) = &lock
            && let Err(TryLockError::WouldBlock) = lock.try_lock()
        {
            return false;
        }
        let Some(name) = self.folder.file_name() else { return false };
        fs::rename(&self.folder, trash.path().join(name)).is_ok()
    }
}

/// The SHA-256 of a file, in hexadecimal digits.
fn hash(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// A key that no other list of parts has.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hexadecimal(&hasher.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache { folder: folder.path().to_owned() };
        (folder, cache)
    }

    fn keep(cache: &Cache, key: &str, text: &str) -> Program {
        let staging = Temporary::within(&cache.folder).expect("a folder");
        let built = staging.path().join("built");
        fs::write(&built, text).expect("a file");
        cache.keep(key, built, staging)
    }

    fn text(program: Option<Program>) -> Option<String> {
        program.map(|program| fs::read_to_string(program.path()).expect("a program"))
    }

    #[test]
    fn programs_are_kept_by_key_and_broken_ones_are_not_found() {
        let (_folder, cache) = cache();
        let [a, b] = [key([&b"a"[..], b"bc"]), key([&b"ab"[..], b"c"])];
        assert_ne!(a, b, "the parts of a key do not run together");
        assert!(cache.find(&a).is_none());
        assert_eq!(text(Some(keep(&cache, &a, "one"))).as_deref(), Some("one"));
        assert_eq!(text(cache.find(&a)).as_deref(), Some("one"));
        assert!(cache.find(&b).is_none());
        // Whoever built the same meanwhile gets what is there.
        assert_eq!(text(Some(keep(&cache, &a, "other"))).as_deref(), Some("one"));
        for broken in ["", "on", "two"] {
            fs::write(cache.folder.join(&a).join(PROGRAM), broken).expect("a file");
            assert!(cache.find(&a).is_none());
        }
        assert_eq!(text(Some(keep(&cache, &a, "new"))).as_deref(), Some("new"));
        fs::remove_file(cache.folder.join(&a).join(HASH)).expect("a file");
        assert!(cache.find(&a).is_none());
        assert_eq!(text(Some(keep(&cache, &a, "newer"))).as_deref(), Some("newer"));
        let names: Vec<_> = fs::read_dir(&cache.folder).expect("a folder").flatten().collect();
        assert_eq!(names.len(), 1, "nothing temporary is left: {names:?}");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_what_is_in_use_stays() {
        let (_folder, cache) = cache();
        let keys: Vec<String> = (0..4u8).map(|i| key([&[i][..]])).collect();
        for (age, key) in [(9, &keys[0]), (7, &keys[1]), (5, &keys[2]), (3, &keys[3])] {
            drop(keep(&cache, key, "0123456789"));
            let hash = File::open(cache.folder.join(key).join(HASH)).expect("a file");
            hash.set_modified(SystemTime::now() - Duration::from_secs(age * 60)).expect("a time");
        }
        let each = cache.entries()[0].bytes;
        assert_eq!(each, 10 + 64);
        let trash = Temporary::within(&cache.folder).expect("a folder");
        let there = || keys.iter().map(|key| cache.folder.join(key).exists()).collect::<Vec<_>>();
        cache.evict(4 * each, &trash);
        assert_eq!(there(), [true; 4]);
        // The oldest is used once more, and the next one is in use.
        drop(cache.find(&keys[0]));
        let used = {
            let program = cache.find(&keys[1]).expect("a program");
            let hash = File::open(cache.folder.join(&keys[1]).join(HASH)).expect("a file");
            hash.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("a time");
            program
        };
        cache.evict(3 * each, &trash);
        assert_eq!(there(), [true, true, false, true]);
        cache.evict(each, &trash);
        assert_eq!(there(), [false, true, false, false]);
        drop(used);
        cache.evict(0, &trash);
        assert_eq!(there(), [false; 4]);
    }
}
