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

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::OnceLock;

use kiln_rt::safetensors::{Dtype, View};
use kiln_rt::weights::{Source, SourceError, Stored};

use super::Malformed;
use crate::graph::weights::Kind;
use archive::Archive;
use pickle::{Pickle, Value, shown};

/// The most tensors that a file may have.
const MAX_TENSORS: usize = 20_000;
/// The most bytes that the names of a file take together.
const MAX_NAMES: usize = 1 << 22;

/// Under which names a training program keeps the state dict of its network beside other things, the likeliest first.
const NETWORKS: [&str; 8] =
    ["state_dict", "model_state_dict", "model", "model_state", "net", "network", "params", "weights"];

/// The tensors of a file.
#[derive(Debug)]
pub struct StateDict<'a> {
    tensors: BTreeMap<String, Tensor<'a>>,
    network: String,
}

#[derive(Debug)]
struct Tensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
    /// From the first element on.
    bytes: &'a [u8],
    /// The elements in row-major order, if they do not lie so.
    copied: OnceLock<Vec<u8>>,
}

/// Whether a file begins as one of the formats does.
pub(super) fn is_torch(file: &[u8]) -> bool {
    file.starts_with(b"PK\x03\x04") || legacy::is_legacy(file)
}

impl<'a> StateDict<'a> {
    /// Reads a file. Dicts within dicts give names with dots; what is no tensor is left out.
    ///
    /// # Errors
    /// The first mistake, with its place where it has one: what is cut or broken, and whatever is not a part of a state
    /// dict.
    pub fn parse(file: &'a [u8]) -> Result<Self, Malformed> {
        if legacy::is_legacy(file) {
            let (storages, pickle) = legacy::open(file)?;
            Self::gather(&pickle, |key| storages.storage(key))
        } else if file.starts_with(b"PK\x03\x04") {
            let (archive, pickle) = Archive::open(file)?;
            Self::gather(&pickle, |key| archive.storage(key))
        } else {
            Err(Malformed::new(
                "not a state dict of PyTorch: it is neither an archive nor begins with the magic number",
            ))
        }
    }

    fn gather(pickle: &Pickle<'a>, storage: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Self, Malformed> {
        let (mut tensors, mut holders) = (BTreeMap::new(), BTreeSet::new());
        let mut names = 0;
        // Each dict once, so that one within itself ends.
        let (mut open, mut seen) = (vec![(String::new(), pickle.root)], HashSet::from([pickle.root]));
        while let Some((path, dict)) = open.pop() {
            for &(key, value) in pickle.entries(dict).unwrap_or_default() {
                let Value::Str(key) = key else { continue };
                let is_dict = pickle.entries(value).is_some() && !seen.contains(&value);
                if !is_dict && pickle.tensor(value).is_none() {
                    continue;
                }
                names += path.len() + key.len() + 1;
                if names > MAX_NAMES {
                    return Err(Malformed::new(format!("the names of tensors take more than {MAX_NAMES} bytes")));
                }
                if is_dict {
                    seen.insert(value);
                    open.push((format!("{path}{key}."), value));
                } else if let Some(tensor) = pickle.tensor(value) {
                    let name = format!("{path}{key}");
                    let tensor = Tensor::of(tensor, &storage)
                        .map_err(|why| Malformed::new(format!("tensor `{}`: {why}", shown(&name))))?;
                    tensors.insert(name, tensor);
                    if tensors.len() > MAX_TENSORS {
                        return Err(Malformed::new(format!("the file has more than {MAX_TENSORS} tensors")));
                    }
                    holders.insert(path.clone());
                }
            }
        }
        if tensors.is_empty() {
            return Err(Malformed::new("the file holds no dict of tensors by name"));
        }
        Ok(StateDict { tensors, network: network(&holders) })
    }

    /// What stands before the names of the network's tensors, with its dot: nothing where the file is a state dict itself,
    /// `state_dict.` for instance where a training program keeps it beside other things.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// All tensors: their names, sorted, and their shapes.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), &tensor.shape[..]))
    }
}

/// The dict that is the network's, of those that hold tensors.
fn network(holders: &BTreeSet<String>) -> String {
    if let [only] = holders.iter().collect::<Vec<_>>()[..] {
        return only.clone();
    }
    let known = || NETWORKS.iter().map(|name| format!("{name}.")).find(|name| holders.contains(name));
    if holders.contains("") { String::new() } else { known().unwrap_or_default() }
}

impl Source for StateDict<'_> {
    fn tensor(&self, name: &str, _: Kind, shape: &[usize]) -> Result<Stored<'_>, SourceError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(SourceError::Missing { name: name.to_owned(), near: Vec::new() });
        };
        if tensor.shape != shape {
            let (expected, found) = (shape.to_vec(), tensor.shape.clone());
            return Err(SourceError::Shape { name: name.to_owned(), expected, found });
        }
        Ok(Stored::View(tensor.view()))
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }
}

impl<'a> Tensor<'a> {
    /// Checks that all elements lie within the storage.
    fn of(tensor: &pickle::Tensor<'a>, storage: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Self, String> {
        let pickle::Tensor { storage: pickle::Storage { key, dtype, len, view }, offset, shape, strides } = tensor;
        let stored = storage(key).ok_or_else(|| format!("there is no storage {}", shown(key)))?;
        let beyond = || format!("it reaches beyond its storage {} of {len} elements", shown(key));
        let size = dtype.size();
        // The storage's own length is the file's word; the bytes are what is there.
        if len.checked_mul(size).is_none_or(|bytes| bytes > stored.len()) {
            return Err(format!("its storage {} is cut: {len} elements, {} bytes", shown(key), stored.len()));
        }
        let stored = &stored[view.0 * size..(view.0 + view.1) * size];
        let count = shape.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent)).ok_or_else(beyond)?;
        let last = shape.iter().zip(strides).try_fold(0_usize, |last, (&extent, &stride)| {
            last.checked_add(extent.saturating_sub(1).checked_mul(stride)?)
        });
        let end = last.and_then(|last| last.checked_add(*offset)?.checked_add(1)).ok_or_else(beyond)?;
        let bytes = match count {
            0 => &[],
            _ if end > view.1 => return Err(beyond()),
            _ => &stored[offset * size..end * size],
        };
        Ok(Tensor { dtype: *dtype, shape: shape.clone(), strides: strides.clone(), bytes, copied: OnceLock::new() })
    }

    fn view(&self) -> View<'_> {
        let bytes = if self.is_row_major() { self.bytes } else { self.copied.get_or_init(|| self.copy()) };
        View { dtype: self.dtype, shape: &self.shape, bytes }
    }

    fn is_row_major(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&extent, &stride)| {
            let fits = extent == 1 || stride == expected;
            expected *= extent;
            fits
        }) || self.bytes.is_empty()
    }

    /// The elements in row-major order.
    fn copy(&self) -> Vec<u8> {
        let size = self.dtype.size();
        let count = self.shape.iter().product::<usize>();
        let mut copy = Vec::with_capacity(count * size);
        let mut place = vec![0; self.shape.len()];
        for _ in 0..count {
            let at = place.iter().zip(&self.strides).map(|(index, stride)| index * stride).sum::<usize>() * size;
            copy.extend_from_slice(&self.bytes[at..at + size]);
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
