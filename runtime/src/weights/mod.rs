//! From trained tensors to the packed ones that kernels read.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`expr`] | weight expressions: a list of operations on named tensors |
//! | [`source`] | where named tensors come from: a safetensors file, or the formula |
//! | [`evaluate`] | their values, in f64, by rows |
//! | [`form`] | the orders in which packed tensors are stored |
//!
//! A compiler folds what it can into expressions, knowing names and shapes only. The values come later, at build time or
//! at load time, by the same code here: each element in f64 with products and sums rounded separately, rounded once to
//! f32, so that packed weights are the same bytes on every machine.

use std::io::{self, Write};
use std::{error, fmt};

use super::arena::{AlignedBuf, OutOfMemory};
use super::weights_writer::{Writer, Written, place};

pub mod evaluate;
pub mod expr;
pub mod form;
pub mod source;

pub use evaluate::Evaluator;
pub use expr::{Expr, ExprError, ExprId, HOLE};
pub use form::{Form, pack, packed_len};
pub use source::{FillSource, Source, SourceError, Stored, check};

/// All packed tensors of a network, in the order of its weights layout.
#[derive(Clone, Copy, Debug)]
pub struct WeightProgram<'a> {
    /// The expressions; each refers only to earlier ones.
    pub exprs: &'a [Expr],
    /// The expression and form of each packed tensor.
    pub packed: &'a [(ExprId, Form)],
}

impl WeightProgram<'_> {
    /// The length of each packed tensor, in `f32` elements.
    ///
    /// # Errors
    /// A malformed expression, or a form that does not take its shape.
    pub fn lengths(&self) -> Result<Vec<usize>, ExprError> {
        let shapes = expr::shapes(self.exprs)?;
        let length = |&(id, form): &(ExprId, Form)| {
            let shape = shapes.get(id.index()).ok_or(ExprError { id, message: "not in the list".to_owned() })?;
            packed_len(form, shape).ok_or_else(|| form::refusal(id, form, shape))
        };
        self.packed.iter().map(length).collect()
    }

    /// Packs all tensors into memory, as the weights layout places them.
    ///
    /// # Errors
    /// Everything that the source lacks or has in another shape, before anything is computed; or no memory.
    pub fn pack(&self, source: &dyn Source) -> Result<AlignedBuf, PackError> {
        let lengths = self.lengths()?;
        let evaluator = Evaluator::new(self.exprs, source)?;
        let spans = place(&lengths);
        let mut data = AlignedBuf::zeroed(spans.last().map_or(0, |last| last.offset + last.len.next_multiple_of(16)))?;
        for (&(id, form), span) in self.packed.iter().zip(spans) {
            let mut rest = &mut data.as_mut_slice()[span.offset..][..span.len];
            pack(&evaluator, id, form, &mut |piece| {
                let (head, tail) = std::mem::take(&mut rest).split_at_mut(piece.len());
                head.copy_from_slice(piece);
                rest = tail;
            })?;
        }
        Ok(data)
    }

    /// Writes the weights file of all tensors, piece by piece.
    ///
    /// # Errors
    /// As [`WeightProgram::pack`], and those of `out`.
    pub fn write(&self, source: &dyn Source, hash: u64, out: impl Write) -> Result<Written, PackError> {
        let lengths = self.lengths()?;
        let evaluator = Evaluator::new(self.exprs, source)?;
        let mut writer = Writer::new(out, hash, &lengths)?;
        for &(id, form) in self.packed {
            let mut written = Ok(());
            pack(&evaluator, id, form, &mut |piece| {
                if written.is_ok() {
                    written = writer.push(piece);
                }
            })?;
            written?;
        }
        Ok(writer.finish()?)
    }
}

/// Why weights cannot be packed.
#[derive(Debug)]
pub enum PackError {
    /// Tensors that are missing or have another shape: all of them.
    Source(Vec<SourceError>),
    /// The program itself is malformed: a mistake of the compiler that made it.
    Expr(ExprError),
    /// There is no memory for the packed weights.
    OutOfMemory(OutOfMemory),
    /// The file could not be written.
    Io(io::Error),
}

impl From<ExprError> for PackError {
    fn from(error: ExprError) -> Self {
        Self::Expr(error)
    }
}

impl From<OutOfMemory> for PackError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

impl From<io::Error> for PackError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(errors) => {
                for (index, error) in errors.iter().enumerate() {
                    write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
            Self::Expr(error) => error.fmt(f),
            Self::OutOfMemory(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl error::Error for PackError {}

#[cfg(test)]
mod tests {
    use super::super::weights_file::{WeightsLayout, file_bytes, open};
    use super::*;
    use crate::fill::{Kind, fill};

    fn program() -> (Vec<Expr>, Vec<(ExprId, Form)>) {
        let exprs = vec![
            Expr::Read { name: "w".into(), kind: Kind::Kernel, shape: vec![19, 20, 3, 3].into() },
            Expr::Read { name: "b".into(), kind: Kind::Bias, shape: vec![19].into() },
        ];
        (exprs, vec![(ExprId(0), Form::Panel), (ExprId(1), Form::Vector), (ExprId(1), Form::Plain)])
    }

    #[test]
    fn memory_and_file_hold_the_same() {
        let (exprs, packed) = program();
        let program = WeightProgram { exprs: &exprs, packed: &packed };
        assert_eq!(program.lengths().unwrap(), [32 * 20 * 9, 32, 19]);
        let source = FillSource { gain: 2.0 };
        let memory = program.pack(&source).unwrap();
        let mut file = Vec::new();
        let written = program.write(&source, 9, &mut file).unwrap();

        let spans: &'static [_] = place(&program.lengths().unwrap()).leak();
        let content_hash = Some(written.content_hash);
        let layout = WeightsLayout { hash: 9, bytes: file_bytes(spans), content_hash, tensors: spans };
        let data = open(&file, &layout).unwrap();
        let bytes: Vec<u8> = memory.as_slice().iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(data, bytes);
        assert_eq!(memory.as_slice()[spans[1].offset..][..19], fill("b", Kind::Bias, &[19], 2.0));
        assert_eq!(memory.as_slice()[spans[1].offset + 19..][..13], [0.0; 13]);
        assert_eq!(memory.as_slice()[spans[2].offset..][..19], fill("b", Kind::Bias, &[19], 2.0));
    }
}
