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

use std::io::{self, Write};
use std::{error, fmt};

use super::content_hash::ContentHash;

/// The number that changes with every change of this format.
pub const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"kilnwts\n";
/// Header, table entries and data are aligned to this many bytes; also what the header takes.
const ALIGN: usize = 64;
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
    /// Where each tensor lies: [`place`].
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

/// Places tensors of the given lengths one after another, each on a cache line.
pub fn place(lengths: &[usize]) -> Vec<Span> {
    let mut offset = 0;
    let mut spans = Vec::with_capacity(lengths.len());
    for &len in lengths {
        spans.push(Span { offset, len });
        offset += len.next_multiple_of(16);
    }
    spans
}

/// The length of the file that holds tensors so placed.
pub const fn file_bytes(spans: &[Span]) -> usize {
    data_start(spans.len()) + 4 * data_elements(spans) + TRAILER
}

const fn data_start(tensors: usize) -> usize {
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

/// The whole file of `tensors`, in memory.
pub fn write(hash: u64, tensors: &[&[f32]]) -> Vec<u8> {
    let lengths: Vec<usize> = tensors.iter().map(|tensor| tensor.len()).collect();
    let mut file = Vec::with_capacity(file_bytes(&place(&lengths)));
    let written = Writer::new(&mut file, hash, &lengths).and_then(|mut writer| {
        for tensor in tensors {
            writer.push(tensor)?;
        }
        writer.finish()
    });
    debug_assert!(written.is_ok(), "a vector takes every write, and each tensor has the length that was announced");
    file
}

/// Writes a weights file piece by piece; only one piece is held at a time.
pub struct Writer<W> {
    out: W,
    spans: Vec<Span>,
    /// The tensor that the next piece belongs to, and how much of it is written.
    tensor: usize,
    filled: usize,
    content: ContentHash,
    bytes: Vec<u8>,
}

/// What a written file's code must know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The length of the file.
    pub bytes: usize,
    /// The hash of its content.
    pub content_hash: u64,
}

impl<W: Write> Writer<W> {
    /// Starts a file of tensors with the given lengths.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, hash: u64, lengths: &[usize]) -> io::Result<Self> {
        let spans = place(lengths);
        let mut header = Vec::with_capacity(data_start(spans.len()));
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        let count = u32::try_from(spans.len()).map_err(|_| mistake("more tensors than a weights file can count"))?;
        header.extend_from_slice(&count.to_le_bytes());
        header.extend_from_slice(&hash.to_le_bytes());
        header.extend_from_slice(&(file_bytes(&spans) as u64).to_le_bytes());
        header.resize(ALIGN, 0);
        for span in &spans {
            header.extend_from_slice(&(span.offset as u64).to_le_bytes());
            header.extend_from_slice(&(span.len as u64).to_le_bytes());
        }
        header.resize(data_start(spans.len()), 0);
        let mut writer = Self { out, spans, tensor: 0, filled: 0, content: ContentHash::default(), bytes: header };
        writer.flush()?;
        writer.close_full_tensors()?;
        Ok(writer)
    }

    /// Appends the next piece of the tensor that is under way; the tensors follow one another as they fill up.
    ///
    /// # Errors
    /// Those of `out`, and `InvalidInput` for a piece that is longer than what its tensor lacks.
    pub fn push(&mut self, piece: &[f32]) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        let lacking = self.spans.get(self.tensor).map_or(0, |span| span.len - self.filled);
        if piece.len() > lacking {
            return Err(mistake("a piece that is longer than what its tensor lacks"));
        }
        self.bytes.extend(piece.iter().flat_map(|element| element.to_le_bytes()));
        self.filled += piece.len();
        self.flush()?;
        self.close_full_tensors()
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Those of `out`, and `InvalidInput` where a tensor is not full.
    pub fn finish(mut self) -> io::Result<Written> {
        if self.tensor < self.spans.len() {
            return Err(mistake("a tensor that is shorter than was announced"));
        }
        let content_hash = self.content.finish();
        self.out.write_all(&content_hash.to_le_bytes())?;
        self.out.flush()?;
        Ok(Written { bytes: file_bytes(&self.spans), content_hash })
    }

    fn close_full_tensors(&mut self) -> io::Result<()> {
        while self.spans.get(self.tensor).is_some_and(|span| span.len == self.filled) {
            self.bytes.resize(4 * (self.filled.next_multiple_of(16) - self.filled), 0);
            self.tensor += 1;
            self.filled = 0;
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.content.update(&self.bytes);
        self.out.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

fn mistake(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
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

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: &[Span] = &[
        Span { offset: 0, len: 17 },
        Span { offset: 32, len: 0 },
        Span { offset: 32, len: 16 },
        Span { offset: 48, len: 3 },
    ];
    const LAYOUT: WeightsLayout =
        WeightsLayout { hash: 77, bytes: file_bytes(SPANS), content_hash: None, tensors: SPANS };

    fn tensors() -> Vec<Vec<f32>> {
        SPANS.iter().map(|span| (0..span.len).map(|i| (span.offset + i) as f32 + 0.5).collect()).collect()
    }

    fn file() -> Vec<u8> {
        let tensors = tensors();
        write(77, &tensors.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn a_file_reads_back() {
        assert_eq!(place(&[17, 0, 16, 3]), SPANS);
        let file = file();
        assert_eq!(file.len(), LAYOUT.bytes);
        let data = open(&file, &LAYOUT).unwrap();
        assert_eq!(data.len(), 4 * LAYOUT.elements());
        for (span, tensor) in SPANS.iter().zip(tensors()) {
            let bytes = &data[4 * span.offset..][..4 * span.len];
            let read: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            assert_eq!(read, tensor);
        }
    }

    #[test]
    fn pieces_make_the_same_file() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, 77, &[17, 0, 16, 3]).unwrap();
        for tensor in tensors() {
            for piece in tensor.chunks(5) {
                writer.push(piece).unwrap();
            }
        }
        let written = writer.finish().unwrap();
        assert_eq!(out, file());
        assert_eq!(written.bytes, out.len());
        let layout = WeightsLayout { content_hash: Some(written.content_hash), ..LAYOUT };
        assert!(open(&out, &layout).is_ok());
        let layout = WeightsLayout { content_hash: Some(5), ..LAYOUT };
        assert!(matches!(open(&out, &layout), Err(WeightsError::OtherContent { expected: 5, .. })));
    }

    #[test]
    fn lengths_are_held_to() {
        let mut writer = Writer::new(io::sink(), 0, &[4]).unwrap();
        assert!(writer.push(&[0.0; 5]).is_err());
        assert!(writer.push(&[0.0; 3]).is_ok());
        assert!(writer.finish().is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let whole = file();
        let wrong = |at: usize, byte: u8| {
            let mut file = whole.clone();
            file[at] ^= byte;
            open(&file, &LAYOUT).unwrap_err()
        };
        assert_eq!(wrong(0, 1), WeightsError::NotWeights);
        assert_eq!(wrong(8, 3), WeightsError::Format { found: FORMAT ^ 3 });
        assert_eq!(wrong(16, 1), WeightsError::OtherNetwork { expected: 77, found: 76 });
        for length in 0..whole.len() {
            let error = open(&whole[..length], &LAYOUT).unwrap_err();
            assert_eq!(error, WeightsError::Cut { expected: LAYOUT.bytes, found: length });
        }
        for at in [12, 24, 40, 64, 100, 130, 200, whole.len() - 1] {
            assert_eq!(wrong(at, 1), WeightsError::Changed, "byte {at}");
        }
        assert_eq!(open(b"PK", &LAYOUT), Err(WeightsError::NotWeights));
        assert_eq!(
            open(&whole[..90], &LAYOUT).unwrap_err().to_string(),
            format!("the weights file is cut: 90 bytes instead of {}", LAYOUT.bytes)
        );
    }
}
