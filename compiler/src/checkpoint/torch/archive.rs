//! The zip format, PyTorch 1.6 and later: `NAME/data.pkl`, and `NAME/data/KEY` for each storage. PyTorch stores them as
//! they are; what a zip program compressed is unpacked.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Deref;
use std::sync::Arc;

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive};

use super::super::Malformed;
use super::pickle::shown;
use crate::diag::counted;

/// The most entries that are listed.
const MAX_ENTRIES: usize = 1_000_000;

/// The longest name of an entry.
const LONGEST_NAME: usize = 1000;

/// What compressed entries may take together: so many bytes, and so many times the file.
const UNPACKED: (usize, usize) = (256 << 20, 16);

/// Where the entries of an archive lie.
pub(super) struct Archive<'a> {
    file: &'a [u8],
    archive: ZipSliceArchive<&'a [u8]>,
    /// The folder that all lie in.
    pub(super) folder: String,
    entries: HashMap<String, Entry>,
}

enum Entry {
    Stored(ZipArchiveEntryWayfinder),
    /// With its size when unpacked.
    Deflated(ZipArchiveEntryWayfinder, usize),
    /// By its method.
    Unread(String),
}

/// Bytes that lie in a file, or that were unpacked.
#[derive(Clone, Debug)]
pub(super) enum Bytes<'a> {
    Lent(&'a [u8]),
    Unpacked(Arc<Vec<u8>>),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Lent(bytes) => bytes,
            Bytes::Unpacked(bytes) => bytes,
        }
    }
}

impl<'a> Archive<'a> {
    /// Lists the entries of a file.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, Malformed> {
        let archive = ZipArchive::from_slice(file).map_err(broken)?;
        let mut entries = HashMap::new();
        let mut unpacked = 0_usize;
        let most = UNPACKED.0.saturating_add(UNPACKED.1.saturating_mul(file.len()));
        let mut listed = archive.entries();
        while let Some(entry) = listed.next_entry().map_err(broken)? {
            let path = entry.file_path();
            let Some(name) = std::str::from_utf8(path.as_ref()).ok().filter(|name| name.len() <= LONGEST_NAME) else {
                return Err(Malformed::new("the archive is not PyTorch's: the name of an entry is no short text"));
            };
            let found = match entry.compression_method() {
                _ if entry.flags().is_encrypted() => Entry::Unread("encrypted".to_owned()),
                CompressionMethod::STORE => Entry::Stored(entry.wayfinder()),
                CompressionMethod::DEFLATE => {
                    let size = usize::try_from(entry.uncompressed_size_hint()).unwrap_or(usize::MAX);
                    unpacked = unpacked.saturating_add(size);
                    Entry::Deflated(entry.wayfinder(), size)
                }
                other => {
                    let method = other.name().map_or_else(|| format!("method {}", other.as_u16()), str::to_owned);
                    Entry::Unread(format!("compressed by {method}"))
                }
            };
            if unpacked > most {
                return Err(Malformed::new(format!(
                    "the archive's {} would be more than {most} when unpacked",
                    counted(file.len(), "byte")
                )));
            }
            if entries.insert(name.to_owned(), found).is_some() {
                return Err(Malformed::new(format!("`{}` is twice in the archive", shown(name))));
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
        let archive = Archive { file, archive, folder: folder.to_owned(), entries };
        if archive.entries.contains_key(&archive.path("constants.pkl")) {
            return Err(Malformed::new(
                "the archive is a TorchScript module; `torch.save(module.state_dict(), FILE)` writes its state dict",
            ));
        }
        if archive.entry("byteorder")?.is_some_and(|order| &*order != b"little") {
            return Err(Malformed::new("the tensors are big endian, which kiln does not read"));
        }
        Ok(archive)
    }

    /// The pickle.
    pub(super) fn pickle(&self) -> Result<Bytes<'a>, Malformed> {
        Ok(self.entry("data.pkl")?.unwrap_or(Bytes::Lent(&[])))
    }

    /// The bytes of a storage.
    pub(super) fn storage(&self, key: &str) -> Result<Option<Bytes<'a>>, Malformed> {
        self.entry(&format!("data/{key}"))
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn entry(&self, name: &str) -> Result<Option<Bytes<'a>>, Malformed> {
        let path = self.path(name);
        let Some(entry) = self.entries.get(&path) else { return Ok(None) };
        let shown = shown(&path);
        match entry {
            Entry::Stored(way) => {
                let (start, end) = self.archive.get_entry(*way).map_err(broken)?.compressed_data_range();
                let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
                let data = range.and_then(|(start, end)| self.file.get(start..end));
                let data = data.ok_or_else(|| Malformed::new(format!("`{shown}` reaches beyond the archive")))?;
                Ok(Some(Bytes::Lent(data)))
            }
            Entry::Deflated(way, size) => {
                let entry = self.archive.get_entry(*way).map_err(broken)?;
                // What comes out is compared with what the archive says of it, so one byte more ends it.
                let reader = entry.verifying_reader(DeflateDecoder::new(entry.data()));
                let mut unpacked = Vec::new();
                let read = reader.take(*size as u64 + 1).read_to_end(&mut unpacked);
                match read {
                    Ok(length) if length == *size => Ok(Some(Bytes::Unpacked(Arc::new(unpacked)))),
                    Ok(length) => Err(Malformed::new(format!(
                        "`{shown}` has not {} when unpacked, but {length}",
                        counted(*size, "byte")
                    ))),
                    Err(error) => Err(Malformed::new(format!("`{shown}` cannot be unpacked: {error}"))),
                }
            }
            Entry::Unread(how) => Err(Malformed::new(format!("`{shown}` is {how}, which kiln does not unpack"))),
        }
    }
}

fn broken(error: rawzip::Error) -> Malformed {
    Malformed::new(format!("the archive is cut or broken: {error}"))
}
