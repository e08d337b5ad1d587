//! The packed weights file: written once, used in place.
//!
//! ```text
//! header, 64 bytes   magic "kilnwts\n", format u32, number of tensors u32, hash u64, length of the file u64, zeros
//! table              for each tensor: offset u64 from the first tensor, length u64, both in f32 elements
//! zeros              up to a multiple of 64
//! data               each tensor at a multiple of 64 bytes, zeros between
//! content            u64: the content hash of all bytes before it
//! ```
//!
//! Everything is little endian. The hash is the caller's: of graph, forms and targets, so that a file made for other
//! kernels is refused. A file is taken only if all of it agrees with the [`WeightsLayout`] in the code.

use core::{error, fmt};

use super::content_hash::ContentHash;

/// The number that changes with every change of this format.
pub const FORMAT: u32 = 1;

pub(super) const MAGIC: [u8; 8] = *b"kilnwts\n";
/// Header, table entries and data are aligned to this many bytes; also what the header takes.
pub(super) const ALIGN: usize = 64;
const TRAILER: usize = 8;

/// What the code knows about its weights file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightsLayout {
    /// Of graph, forms and targets.
    pub hash: u64,
    /// The length of the file: [`file_bytes`].
    pub bytes: usize,
    /// The one content that is taken, or any that is whole.
    pub content_hash: Option<u64>,
    /// Where each tensor lies, one after another, each on a cache line.
    pub tensors: &'static [Span],
}

impl WeightsLayout {
    /// The extent of the data, in `f32` elements.
    pub const fn elements(&self) -> usize {
        data_elements(self.tensors)
    }
}

/// Where a tensor lies in the data, in `f32` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From the first tensor on; a multiple of 16.
    pub offset: usize,
    /// How many elements.
    pub len: usize,
}

/// The length of the file that holds tensors so placed.
pub const fn file_bytes(spans: &[Span]) -> usize {
    data_start(spans.len()) + 4 * data_elements(spans) + TRAILER
}

pub(super) const fn data_start(tensors: usize) -> usize {
    ALIGN + (16 * tensors).next_multiple_of(ALIGN)
}

const fn data_elements(spans: &[Span]) -> usize {
    match spans.last() {
        Some(last) => last.offset + last.len.next_multiple_of(16),
        None => 0,
    }
}

/// Checks that `file` is whole and made for `layout`, and gives its data: the tensors at the offsets of the layout.
///
/// # Errors
/// What is wrong with it, the most telling thing first.
pub fn open<'a>(file: &'a [u8], layout: &WeightsLayout) -> Result<&'a [u8], WeightsError> {
    let Some(header) = file.first_chunk::<ALIGN>() else {
        // The start of a magic number, or of nothing at all, is a file that was cut.
        let cut = MAGIC.starts_with(&file[..file.len().min(8)]);
        let error = WeightsError::Cut { expected: layout.bytes, found: file.len() };
        return Err(if cut || file.starts_with(&MAGIC) { error } else { WeightsError::NotWeights });
    };
    if header[..8] != MAGIC {
        return Err(WeightsError::NotWeights);
    }
    let format = u32_at(header, 8);
    if format != FORMAT {
        return Err(WeightsError::Format { found: format });
    }
    let hash = u64_at(header, 16);
    if hash != layout.hash {
        return Err(WeightsError::OtherNetwork { expected: layout.hash, found: hash });
    }
    if file.len() != layout.bytes {
        return Err(WeightsError::Cut { expected: layout.bytes, found: file.len() });
    }
    // The hash vouches for the table, so one that disagrees was damaged, as was a layout that does not fit its length.
    let start = data_start(layout.tensors.len());
    let end = file.len().checked_sub(TRAILER).filter(|&end| end == start + 4 * layout.elements());
    let Some(end) = end else { return Err(WeightsError::Changed) };
    let table = file[ALIGN..start].chunks_exact(16).map(|entry| (u64_at(entry, 0), u64_at(entry, 8)));
    let agrees =
        layout.tensors.iter().map(|span| (span.offset as u64, span.len as u64)).eq(table.take(layout.tensors.len()));
    if !agrees || u32_at(header, 12) as usize != layout.tensors.len() || u64_at(header, 24) != file.len() as u64 {
        return Err(WeightsError::Changed);
    }
    let stored = u64_at(&file[end..], 0);
    let mut content = ContentHash::default();
    content.update(&file[..end]);
    if content.finish() != stored {
        return Err(WeightsError::Changed);
    }
    match layout.content_hash {
        Some(expected) if expected != stored => Err(WeightsError::OtherContent { expected, found: stored }),
        Some(_) | None => Ok(&file[start..end]),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// What is wrong with a weights file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsError {
    /// It does not start as one.
    NotWeights,
    /// It has another format number.
    Format {
        /// That number.
        found: u32,
    },
    /// It was made for another network, or for other kernels of this one.
    OtherNetwork {
        /// The hash in the code.
        expected: u64,
        /// The hash in the file.
        found: u64,
    },
    /// Its length is wrong.
    Cut {
        /// The length it must have, in bytes.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// Its content is not what was written.
    Changed,
    /// It is whole, but holds other weights than those that the code was built with.
    OtherContent {
        /// The content hash in the code.
        expected: u64,
        /// The content hash of the file.
        found: u64,
    },
    /// The weights were packed in memory, but not for this layout.
    Elements {
        /// The extent of the data, in `f32` elements.
        expected: usize,
        /// What was given.
        found: usize,
    },
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotWeights => f.write_str("not a kiln weights file: it does not start with `kilnwts`"),
            Self::Format { found } => {
                write!(f, "the weights file has format {found}, and this code reads format {FORMAT}: write it again")
            }
            Self::OtherNetwork { expected, found } => write!(
                f,
                "the weights file was made for another network or other kernels: hash {found:016x} instead of \
                 {expected:016x}"
            ),
            Self::Cut { expected, found } if found < expected => {
                write!(f, "the weights file is cut: {found} bytes instead of {expected}")
            }
            Self::Cut { expected, found } => {
                write!(f, "the weights file is too long: {found} bytes instead of {expected}")
            }
            Self::Changed => f.write_str("the weights file is damaged: its content does not match its hash"),
            Self::OtherContent { expected, found } => write!(
                f,
                "the weights file was changed since the code was made: content {found:016x} instead of {expected:016x}"
            ),
            Self::Elements { expected, found } => {
                write!(f, "the packed weights have {found} elements, and the network takes {expected}")
            }
        }
    }
}

impl error::Error for WeightsError {}
