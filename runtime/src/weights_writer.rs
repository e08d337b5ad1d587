//! Writing the packed weights file, piece by piece.

use std::io::{self, Write};

use super::content_hash::ContentHash;
use super::weights_file::{ALIGN, FORMAT, MAGIC, Span, data_start, file_bytes};

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

#[cfg(test)]
mod tests {
    use super::super::weights_file::{WeightsError, WeightsLayout, open};
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
