//! The format before PyTorch 1.6: pickles of a magic number, the protocol, the writer's system, the object and the keys
//! of its storages; then each storage as a number of elements, u64 little endian, and the elements.

use std::collections::HashMap;

use super::super::Malformed;
use super::pickle::{Pickle, Value, read, shown};

/// The pickle of the magic number behind its protocol: LONG1, ten bytes, STOP.
const MAGIC: [u8; 13] = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
/// The protocol of files that there is.
const PROTOCOL: i64 = 1001;

/// Whether a file begins as this format does.
pub(super) fn is_legacy(file: &[u8]) -> bool {
    matches!(file, [0x80, _, rest @ ..] if rest.starts_with(&MAGIC))
}

/// Where storages lie, by key.
pub(super) struct Storages<'a>(HashMap<&'a str, &'a [u8]>);

impl<'a> Storages<'a> {
    /// The bytes of a storage.
    pub(super) fn storage(&self, key: &str) -> Option<&'a [u8]> {
        self.0.get(key).copied()
    }
}

/// Reads a file that [`is_legacy`].
pub(super) fn open<'a>(file: &'a [u8]) -> Result<(Storages<'a>, Pickle<'a>), Malformed> {
    let mut rest = &file[2 + MAGIC.len()..];
    let mut next = |what: &str| -> Result<Pickle<'a>, Malformed> {
        let (pickle, behind) = read(rest, &format!("the pickle of {what}"), file.len() - rest.len())?;
        rest = behind;
        Ok(pickle)
    };
    match next("the protocol")?.root {
        Value::Int(PROTOCOL) => {}
        _ => return Err(Malformed::new(format!("the file's protocol is not {PROTOCOL}"))),
    }
    let system = next("the writer's system")?;
    let entries = system.entries(system.root).unwrap_or_default();
    if entries.contains(&(Value::Str("little_endian"), Value::Bool(false))) {
        return Err(Malformed::new("the tensors are big endian, which kiln does not read"));
    }
    let object = next("the state dict")?;
    let keys = next("the keys of storages")?;
    let keys = keys.items(keys.root).ok_or_else(|| Malformed::new("the keys of storages are no list"))?;

    let mut sizes: HashMap<&str, (usize, usize)> = HashMap::new();
    for storage in object.storages() {
        let size = (storage.size, storage.len);
        if *sizes.entry(storage.key).or_insert(size) != size {
            return Err(Malformed::new(format!("storage {} is of two sizes", shown(storage.key))));
        }
    }
    let mut storages = HashMap::new();
    for key in keys {
        let &Value::Str(key) = key else { return Err(Malformed::new("the key of a storage is no text")) };
        let Some((size, len)) = sizes.get(key) else {
            return Err(Malformed::new(format!("storage {} is in the file, but no tensor's", shown(key))));
        };
        let cut = || Malformed::new(format!("the file is cut in storage {}", shown(key)));
        let (count, behind) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        let count = u64::from_le_bytes(*count);
        if count != *len as u64 {
            return Err(Malformed::new(format!(
                "storage {} has another number of elements than {len}: {count}",
                shown(key)
            )));
        }
        let bytes = len.checked_mul(*size).ok_or_else(cut)?;
        let (data, behind) = behind.split_at_checked(bytes).ok_or_else(cut)?;
        rest = behind;
        storages.insert(key, data);
    }
    Ok((Storages(storages), object))
}
