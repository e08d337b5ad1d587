//! The zip format, PyTorch 1.6 and later: `NAME/data.pkl`, and `NAME/data/KEY` for each storage, stored as they are.

use std::collections::HashMap;

use rawzip::{CompressionMethod, ZipArchive};

use super::super::Malformed;
use super::pickle::{Pickle, read, shown};

/// The most entries that are listed.
const MAX_ENTRIES: usize = 1_000_000;

/// The longest name of an entry.
const LONGEST_NAME: usize = 1000;

/// Where the entries of an archive lie.
pub(super) struct Archive<'a> {
    /// The folder that all lie in.
    folder: String,
    entries: HashMap<String, &'a [u8]>,
}

impl<'a> Archive<'a> {
    /// Lists the entries of a file, and reads its pickle.
    pub(super) fn open(file: &'a [u8]) -> Result<(Self, Pickle<'a>), Malformed> {
        let broken = |error: rawzip::Error| Malformed::new(format!("the archive is cut or broken: {error}"));
        let archive = ZipArchive::from_slice(file).map_err(broken)?;
        let (mut entries, mut packed) = (HashMap::new(), None);
        let mut listed = archive.entries();
        while let Some(entry) = listed.next_entry().map_err(broken)? {
            let path = entry.file_path();
            let Some(name) = std::str::from_utf8(path.as_ref()).ok().filter(|name| name.len() <= LONGEST_NAME) else {
                return Err(Malformed::new("the archive is not PyTorch's: the name of an entry is no short text"));
            };
            let text = || shown(name);
            if entry.compression_method() != CompressionMethod::STORE || entry.flags().is_encrypted() {
                packed.get_or_insert_with(text);
                continue;
            }
            let (start, end) = archive.get_entry(entry.wayfinder()).map_err(broken)?.compressed_data_range();
            let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
            let data = range.and_then(|(start, end)| file.get(start..end));
            let data = data.ok_or_else(|| Malformed::new(format!("`{}` reaches beyond the archive", text())))?;
            if entries.insert(name.to_owned(), data).is_some() {
                return Err(Malformed::new(format!("`{}` is twice in the archive", text())));
            }
            if entries.len() > MAX_ENTRIES {
                return Err(Malformed::new(format!("the archive has more than {MAX_ENTRIES} entries")));
            }
        }
        let pickles = entries.keys().filter_map(|name| name.strip_suffix("/data.pkl"));
        let folders: Vec<&str> = pickles.filter(|folder| !folder.contains('/')).collect();
        let [folder] = folders[..] else {
            return Err(Malformed::new("the archive is not PyTorch's: it has no one `NAME/data.pkl`"));
        };
        let archive = Archive { folder: folder.to_owned(), entries };
        if archive.entry("constants.pkl").is_some() {
            return Err(Malformed::new(
                "the archive is a TorchScript module; `torch.save(module.state_dict(), FILE)` writes its state dict",
            ));
        }
        if let Some(name) = packed {
            return Err(Malformed::new(format!("`{name}` is compressed or encrypted; PyTorch stores it plain")));
        }
        if archive.entry("byteorder").is_some_and(|order| order != b"little") {
            return Err(Malformed::new("the tensors are big endian, which kiln does not read"));
        }
        let place = format!("{}/data.pkl", shown(&archive.folder));
        let (pickle, _) = read(archive.entry("data.pkl").unwrap_or_default(), &place, 0)?;
        Ok((archive, pickle))
    }

    /// The bytes of a storage.
    pub(super) fn storage(&self, key: &str) -> Option<&'a [u8]> {
        self.entry(&format!("data/{key}"))
    }

    fn entry(&self, name: &str) -> Option<&'a [u8]> {
        self.entries.get(&format!("{}/{name}", self.folder)).copied()
    }
}
