//! PyTorch's state dicts: `.pth`, `.pt`, `.bin`, of the zip format and the one before it.
//!
//! ```text
//! file ──> archive, or legacy ──> pickle ──> dicts of tensors ──> StateDict
//!         (where storages lie)   (as data)  (names, bounds)
//! ```
//!
//! Nothing of a file is executed: the pickle is read as data. Elements stay where they lie in the file; a tensor that is
//! not row-major there, a transposed view for instance, is copied when it is first asked for.
//!
//! The formats are those of `torch.save`, torch/serialization.py.

mod archive;
mod legacy;
mod pickle;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::OnceLock;

use kiln_rt::safetensors::{Dtype, View};
use kiln_rt::weights::{Source, SourceError, Stored};

use super::Malformed;
use super::dict::Dict;
use crate::diag::counted;
use crate::graph::weights::Kind;
use archive::{Archive, Bytes};
use pickle::{Elements, Pickle, Value, shown};

/// The most tensors that a file may have.
const MAX_TENSORS: usize = 20_000;
/// The most bytes that the names of a file take together.
const MAX_NAMES: usize = 1 << 22;

/// The tensors of a file.
#[derive(Debug)]
pub struct StateDict<'a> {
    entries: BTreeMap<String, Entry<'a>>,
    /// What holds tensors by name, paths that end with a dot.
    holders: BTreeSet<String>,
}

#[derive(Debug)]
enum Entry<'a> {
    Tensor(Tensor<'a>),
    /// What is not read, and why; with the shape where that is known.
    Unread {
        why: String,
        shape: Vec<usize>,
    },
}

#[derive(Debug)]
struct Tensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
    storage: Bytes<'a>,
    /// Of the storage, in bytes: from the first element to the end of the last.
    range: Range<usize>,
    /// The elements in row-major order, if they do not lie so.
    copied: OnceLock<Vec<u8>>,
}

/// Whether a file begins as one of the formats does.
pub(super) fn is_torch(file: &[u8]) -> bool {
    file.starts_with(b"PK\x03\x04") || legacy::is_legacy(file)
}

impl<'a> StateDict<'a> {
    /// Reads a file. Dicts within dicts, and modules, give names with dots. What holds no tensor is left out; what holds
    /// one in a way that is not read is an error of whoever asks for it.
    ///
    /// # Errors
    /// The first mistake, with its place where it has one: what is cut or broken, and a file without a tensor by name.
    pub fn parse(file: &'a [u8]) -> Result<Self, Malformed> {
        if legacy::is_legacy(file) {
            let (storages, pickle) = legacy::open(file)?;
            Self::gather(&pickle, |key| Ok(storages.storage(key).map(Bytes::Lent)))
        } else if file.starts_with(b"PK\x03\x04") {
            let archive = Archive::open(file)?;
            let bytes = archive.pickle()?;
            let (pickle, _) = pickle::read(&bytes, &format!("{}/data.pkl", shown(&archive.folder)), 0)?;
            let mut unpacked: HashMap<String, Option<Bytes<'a>>> = HashMap::new();
            Self::gather(&pickle, |key| match unpacked.get(key) {
                Some(storage) => Ok(storage.clone()),
                None => Ok(unpacked.entry(key.to_owned()).or_insert(archive.storage(key)?).clone()),
            })
        } else {
            Err(Malformed::new(
                "not a state dict of PyTorch: it is neither an archive nor begins with the magic number",
            ))
        }
    }

    fn gather(
        pickle: &Pickle<'_>,
        mut storage: impl FnMut(&str) -> Result<Option<Bytes<'a>>, Malformed>,
    ) -> Result<Self, Malformed> {
        let (mut entries, mut holders) = (BTreeMap::new(), BTreeSet::new());
        let mut names = 0;
        let held = pickle.holders();
        // Each dict once, so that one within itself ends.
        let (mut open, mut seen) = (vec![(String::new(), pickle.root)], HashSet::from([pickle.root]));
        while let Some((path, dict)) = open.pop() {
            for part in pickle.module(dict) {
                if seen.insert(part) {
                    open.push((path.clone(), part));
                }
            }
            for &(key, value) in pickle.entries(dict).unwrap_or_default() {
                let Value::Str(key) = key else { continue };
                if !held.holds(value) {
                    continue;
                }
                names += path.len() + key.len() + 1;
                if names > MAX_NAMES {
                    return Err(Malformed::new(format!("the names of tensors take more than {MAX_NAMES} bytes")));
                }
                let name = format!("{path}{key}");
                let entry = match (pickle.tensor(value), pickle.class(value)) {
                    (Some(tensor), _) => {
                        holders.insert(path.clone());
                        Entry::of(tensor, &mut storage)
                            .map_err(|error| Malformed::new(format!("tensor `{}`: {error}", shown(&name))))?
                    }
                    _ if pickle.entries(value).is_some() || !pickle.module(value).is_empty() => {
                        if seen.insert(value) {
                            open.push((format!("{name}."), value));
                        }
                        continue;
                    }
                    (None, Some(class)) => {
                        Entry::Unread { why: format!("a value made by `{class}`"), shape: Vec::new() }
                    }
                    // Lists of tensors, as an optimizer keeps them, have no names.
                    (None, None) => continue,
                };
                entries.insert(name, entry);
                if entries.len() > MAX_TENSORS {
                    return Err(Malformed::new(format!("the file has more than {MAX_TENSORS} tensors")));
                }
            }
        }
        Self::of_entries(entries, holders, pickle)
    }

    /// A file of which nothing is read is an error that says what there is.
    fn of_entries(
        entries: BTreeMap<String, Entry<'a>>,
        holders: BTreeSet<String>,
        pickle: &Pickle<'_>,
    ) -> Result<Self, Malformed> {
        let write = "`torch.save(model.state_dict(), FILE)` writes one";
        let unread = entries.iter().find_map(|(name, entry)| match entry {
            Entry::Unread { why, .. } => Some((name, why)),
            Entry::Tensor(_) => None,
        });
        match (unread, pickle.class(pickle.root)) {
            _ if entries.values().any(|entry| matches!(entry, Entry::Tensor(_))) => Ok(StateDict { entries, holders }),
            (Some((name, why)), _) => Err(Malformed::new(format!(
                "the file holds no dict of tensors that kiln reads: `{}` has {why}; {write}",
                shown(name)
            ))),
            (None, Some(class)) => Err(Malformed::new(format!(
                "the file holds no dict of tensors by name, but a value made by `{class}`; {write}"
            ))),
            (None, None) => Err(Malformed::new(format!("the file holds no dict of tensors by name; {write}"))),
        }
    }

    /// The dict of the network, where a training program keeps it beside other things.
    pub fn network(&self) -> Dict {
        Dict::among(&self.holders)
    }

    /// The dicts that hold tensors, by name, without what lies within them.
    pub fn dicts(&self) -> Vec<&str> {
        let outermost: BTreeSet<&str> =
            self.holders.iter().filter_map(|holder| holder.split('.').next()).filter(|name| !name.is_empty()).collect();
        outermost.into_iter().collect()
    }

    /// All tensors: their names, sorted, and their shapes, which are empty where they are not known.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.entries.iter().map(|(name, entry)| match entry {
            Entry::Tensor(Tensor { shape, .. }) | Entry::Unread { shape, .. } => (name.as_str(), &shape[..]),
        })
    }
}

impl Source for StateDict<'_> {
    fn tensor(&self, name: &str, _: Kind, shape: &[usize]) -> Result<Stored<'_>, SourceError> {
        match self.entries.get(name) {
            Some(Entry::Tensor(tensor)) if tensor.shape == shape => Ok(Stored::View(tensor.view())),
            Some(Entry::Tensor(tensor)) => {
                let (expected, found) = (shape.to_vec(), tensor.shape.clone());
                Err(SourceError::Shape { name: name.to_owned(), expected, found })
            }
            Some(Entry::Unread { why, .. }) => Err(SourceError::Unread { name: name.to_owned(), why: why.clone() }),
            None => Err(SourceError::Missing { name: name.to_owned(), near: Vec::new() }),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }
}

impl<'a> Entry<'a> {
    /// Checks that all elements of a tensor lie within the storage.
    fn of(
        tensor: &pickle::Tensor<'_>,
        storage: impl FnOnce(&str) -> Result<Option<Bytes<'a>>, Malformed>,
    ) -> Result<Self, Malformed> {
        let pickle::Tensor { storage: of, elements, offset, shape, strides } = tensor;
        let dtype = match elements {
            Elements::Read(dtype) => *dtype,
            Elements::Unread(name) => {
                let why = format!("elements of type {}", shown(name));
                return Ok(Entry::Unread { why, shape: shape.clone() });
            }
        };
        let pickle::Storage { key, len, size, view, .. } = of;
        let stored = storage(key)?.ok_or_else(|| Malformed::new(format!("there is no storage {}", shown(key))))?;
        // The storage's own length is the file's word; the bytes are what is there.
        if len.checked_mul(*size).is_none_or(|bytes| bytes > stored.len()) {
            return Err(Malformed::new(format!(
                "its storage {} is cut: {}, {}",
                shown(key),
                counted(*len, "element"),
                counted(stored.len(), "byte")
            )));
        }
        let (first, room) = (view.0 * size, view.1 * size / dtype.size());
        let beyond = || {
            let room = counted(room, "element");
            Malformed::new(format!("it reaches beyond its storage {} of {room}", shown(key)))
        };
        let count = shape.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent)).ok_or_else(beyond)?;
        let last = shape.iter().zip(strides).try_fold(0_usize, |last, (&extent, &stride)| {
            last.checked_add(extent.saturating_sub(1).checked_mul(stride)?)
        });
        let end = last.and_then(|last| last.checked_add(*offset)?.checked_add(1)).ok_or_else(beyond)?;
        let range = match count {
            0 => 0..0,
            _ if end > room => return Err(beyond()),
            _ => first + offset * dtype.size()..first + end * dtype.size(),
        };
        let (shape, strides) = (shape.clone(), strides.clone());
        Ok(Entry::Tensor(Tensor { dtype, shape, strides, storage: stored, range, copied: OnceLock::new() }))
    }
}

impl Tensor<'_> {
    fn bytes(&self) -> &[u8] {
        &self.storage[self.range.clone()]
    }

    fn view(&self) -> View<'_> {
        let bytes = if self.is_row_major() { self.bytes() } else { self.copied.get_or_init(|| self.copy()) };
        View { dtype: self.dtype, shape: &self.shape, bytes }
    }

    fn is_row_major(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&extent, &stride)| {
            let fits = extent == 1 || stride == expected;
            expected *= extent;
            fits
        }) || self.range.is_empty()
    }

    /// The elements in row-major order.
    fn copy(&self) -> Vec<u8> {
        let size = self.dtype.size();
        let count = self.shape.iter().product::<usize>();
        let mut copy = Vec::with_capacity(count * size);
        let mut place = vec![0; self.shape.len()];
        for _ in 0..count {
            let at = place.iter().zip(&self.strides).map(|(index, stride)| index * stride).sum::<usize>() * size;
            copy.extend_from_slice(&self.bytes()[at..at + size]);
            for axis in (0..place.len()).rev() {
                place[axis] += 1;
                if place[axis] < self.shape[axis] {
                    break;
                }
                place[axis] = 0;
            }
        }
        copy
    }
}
