//! The safetensors file: named tensors behind a JSON header.
//!
//! ```text
//! length of the header u64, little endian
//! header              {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {...}}
//! data                row-major, little endian; the offsets count from here and leave no gap
//! ```
//!
//! A file may hold tensors of types that are not read here, as long as nobody asks for them, and bytes behind the last.
//!
//! The reader holds on to nothing but the bytes it is given, checks every number in the header against them, and is
//! done in one pass without recursion: the header's form is fixed, so there is nothing to nest.

use std::collections::BTreeMap;
use std::ops::Range;
use std::{error, fmt};

use super::content::Content;

mod dtype;
mod header;
#[cfg(test)]
mod tests;

pub use dtype::Dtype;

/// The longest header that is read, that of the format's own reader.
pub const MAX_HEADER: usize = 100_000_000;
/// The most axes that a tensor may have.
pub const MAX_RANK: usize = 16;

/// A file whose header is read and checked.
#[derive(Clone, Debug)]
pub struct SafeTensors<'a> {
    data: &'a [u8],
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

/// One tensor of the header.
#[derive(Clone, Debug)]
struct Entry {
    elements: ElementType,
    shape: Vec<usize>,
    /// In the data, in bytes.
    range: Range<usize>,
}

/// The type of a tensor's elements.
#[derive(Clone, Debug)]
enum ElementType {
    Read(Dtype),
    /// One that is not read, by the name in the file.
    Unread(String),
}

/// A tensor in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its extents.
    pub shape: &'a [usize],
    /// Its elements, row-major and little endian: as many as the shape says.
    pub bytes: &'a [u8],
}

impl View<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Element `index` in row-major order. Exact but for integers beyond 2^53, which round.
    ///
    /// # Panics
    /// When there is no such element.
    pub fn element(&self, index: usize) -> f64 {
        self.dtype.read(&self.bytes[index * self.dtype.size()..][..self.dtype.size()])
    }
}

impl<'a> SafeTensors<'a> {
    /// Reads the header of `file` and checks that all of the file is as it says.
    ///
    /// # Errors
    /// The first mistake, and where in the file it is; or what the file is, if it is of another kind.
    pub fn parse(file: &'a [u8]) -> Result<Self, ParseError> {
        Self::read(file).map_err(|error| match Content::of(file) {
            Some(Content::SafeTensors) | None => error,
            Some(other) => {
                let help = other.help().map_or(String::new(), |help| format!("; {help}"));
                ParseError::new(0, format!("not a safetensors file, but {other}{help}"))
            }
        })
    }

    fn read(file: &'a [u8]) -> Result<Self, ParseError> {
        let Some((length, rest)) = file.split_first_chunk::<8>() else {
            return Err(ParseError::new(
                0,
                format!("not a safetensors file: it has {} of the first 8 bytes", file.len()),
            ));
        };
        let length = u64::from_le_bytes(*length);
        let Some(length) = usize::try_from(length).ok().filter(|&length| length <= MAX_HEADER) else {
            return Err(ParseError::new(0, format!("not a safetensors file: a header of {length} bytes")));
        };
        let Some((text, data)) = rest.split_at_checked(length) else {
            let found = rest.len();
            return Err(ParseError::new(
                0,
                format!("the file is cut, or not safetensors: a header of {length} bytes, {found} found"),
            ));
        };
        let header = header::parse(text).map_err(|error| ParseError { position: error.position + 8, ..error })?;
        let file = Self { data, tensors: header.tensors, metadata: header.metadata };
        file.check_ranges()?;
        Ok(file)
    }

    /// The tensors' ranges must tile the data: no overlap, no gap, nothing beyond.
    fn check_ranges(&self) -> Result<(), ParseError> {
        let start = |error: String| ParseError::new(0, error);
        let mut entries: Vec<(&String, &Entry)> = self.tensors.iter().collect();
        entries.sort_by_key(|(_, entry)| (entry.range.start, entry.range.end));
        let mut end = 0;
        let mut before: Option<&String> = None;
        for (name, Entry { range, .. }) in entries {
            if range.end > self.data.len() {
                let found = self.data.len();
                return Err(start(format!(
                    "the file is cut: tensor `{name}` ends at byte {} of {found} bytes of data",
                    range.end
                )));
            }
            match before {
                Some(before) if range.start < end => {
                    return Err(start(format!("tensors `{before}` and `{name}` overlap")));
                }
                Some(_) | None if range.start != end => {
                    return Err(start(format!("bytes {end} to {} of the data belong to no tensor", range.start)));
                }
                Some(_) | None => {}
            }
            (end, before) = (range.end, Some(name));
        }
        Ok(())
    }

    /// The tensor of that name, if its type is read.
    pub fn tensor(&self, name: &str) -> Option<View<'_>> {
        match self.tensors.get(name)? {
            Entry { elements: ElementType::Read(dtype), shape, range } => {
                Some(View { dtype: *dtype, shape, bytes: &self.data[range.clone()] })
            }
            Entry { elements: ElementType::Unread(_), .. } => None,
        }
    }

    /// The type of a tensor that is there, but of a type that is not read.
    pub fn unread(&self, name: &str) -> Option<&str> {
        match &self.tensors.get(name)?.elements {
            ElementType::Read(_) => None,
            ElementType::Unread(name) => Some(name),
        }
    }

    /// The extents of the tensor of that name, whatever its type.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.tensors.get(name)?.shape)
    }

    /// How many bytes follow the last tensor.
    pub fn trailing(&self) -> usize {
        self.data.len() - self.tensors.values().map(|entry| entry.range.end).max().unwrap_or(0)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The entries of `__metadata__`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

/// A file of the given tensors, in the given order. The length of each `bytes` is taken on trust.
pub fn write<'a>(tensors: impl IntoIterator<Item = (&'a str, View<'a>)>) -> Vec<u8> {
    let mut data = Vec::new();
    let mut file = start(tensors.into_iter().map(|(name, View { dtype, shape, bytes })| {
        data.extend_from_slice(bytes);
        (name, dtype, shape, bytes.len())
    }));
    file.extend_from_slice(&data);
    file
}

/// The start of a file: what stands before the elements of the given tensors, which follow in the same order. Of each
/// its name, its type, its extents and its length in bytes, which is taken on trust.
pub fn start<'a>(tensors: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize], usize)>) -> Vec<u8> {
    let mut header = String::from("{");
    let mut start = 0;
    for (name, dtype, shape, bytes) in tensors {
        if header.len() > 1 {
            header.push(',');
        }
        header::escape(name, &mut header);
        let end = start + bytes;
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        let shape = shape.join(",");
        header.push_str(&format!(r#":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{start},{end}]}}"#));
        start = end;
    }
    header.push('}');
    // Spaces up to a multiple of 8, so that the data is aligned where the file is.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The byte of the file at which it was seen.
    pub position: usize,
    /// What it is.
    pub message: String,
}

impl ParseError {
    fn new(position: usize, message: impl Into<String>) -> Self {
        Self { position, message: message.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Mistakes of the file as a whole are at its start.
        match self.position {
            0 => f.write_str(&self.message),
            position => write!(f, "safetensors header, byte {position}: {}", self.message),
        }
    }
}

impl error::Error for ParseError {}
