//! The common reduction, taken quickly: `fma` of two places that move evenly over the pixels and blocks of a tile.
//!
//! Where it does not apply, or meets an access that is outside, [`super::call`] goes the slow way, which says what is
//! wrong; nothing else is different.

use super::Memory;
use super::call::{Argument, Call};
use super::lanes::{Lanes, fma};
use crate::kernel::{Access, At, Elem, Index, LANES, ParamKind, Term, Tile, Update, Value, Var};

/// A place for each pixel and block of a tile.
struct Stream<'a> {
    /// The space and the first element of each block of the parameter.
    blocks: &'a [(usize, usize)],
    /// Elements that each may be read of.
    len: usize,
    block: Even,
    offset: Even,
    /// Elements that are read: all lanes, or one for every lane.
    count: usize,
}

/// A number that moves evenly with the pixel and the block.
struct Even {
    first: i64,
    by_pixel: i64,
    by_block: i64,
}

impl Even {
    fn at(&self, pixel: usize, block: usize) -> usize {
        // A negative number becomes one that is outside of everything.
        (self.first + self.by_pixel * pixel as i64 + self.by_block * block as i64) as usize
    }
}

impl Stream<'_> {
    fn lanes(&self, memory: &Memory, pixel: usize, block: usize) -> Option<[f32; LANES]> {
        let &(space, start) = self.blocks.get(self.block.at(pixel, block))?;
        let offset = self.offset.at(pixel, block);
        if offset.checked_add(self.count)? > self.len {
            return None;
        }
        let elements = &memory.spaces[space][start + offset..];
        match self.count {
            1 => Some([elements[0]; LANES]),
            _ => elements.first_chunk().copied(),
        }
    }
}

impl Call<'_> {
    /// Updates the pixels `first..end` at the present point of the axes; None where it is not done.
    pub(super) fn stream(
        &mut self,
        tile: &Tile,
        update: &Update,
        (first, end): (usize, usize),
        acc: &mut [Lanes],
    ) -> Option<()> {
        let Update::Fma(a, b) = update else { return None };
        self.bind_tile(tile, 0, 0).ok()?;
        let (a, b) = (self.stream_of(tile, a)?, self.stream_of(tile, b)?);
        for pixel in first..end {
            for block in 0..tile.blocks {
                let Lanes::F32(acc) = &mut acc[pixel * tile.blocks + block] else { return None };
                *acc = fma(self.fused, &a.lanes(self.memory, pixel, block)?, &b.lanes(self.memory, pixel, block)?, acc);
            }
        }
        Some(())
    }

    fn stream_of(&self, tile: &Tile, value: &Value) -> Option<Stream<'_>> {
        let (at, count) = match value {
            Value::Load { at, lanes: LANES } => (at, LANES),
            Value::Splat(at) => (at, 1),
            Value::Const(_)
            | Value::ConstI32(_)
            | Value::Local(_)
            | Value::Acc
            | Value::Load { .. }
            | Value::SplatGroup { .. }
            | Value::Unary(..)
            | Value::Binary(..)
            | Value::Fma(..)
            | Value::SelectLt { .. } => return None,
        };
        let At { param, block, offset } = at;
        let kind = self.kernel.params.get(param.index())?.kind;
        let (len, block) = match (kind, block) {
            (ParamKind::Flat { elem: Elem::F32, len, access: Access::Read | Access::Update }, None) => {
                (len, Even { first: 0, by_pixel: 0, by_block: 0 })
            }
            (ParamKind::Blocks { elem: Elem::F32, len, access: Access::Read | Access::Update, .. }, Some(block)) => {
                (len, self.even(tile, block)?)
            }
            (ParamKind::Flat { .. } | ParamKind::Blocks { .. } | ParamKind::Table { .. }, _) => return None,
        };
        let Argument::Memory(blocks) = self.arguments.get(param.index())? else { return None };
        Some(Stream { blocks, len, block, offset: self.even(tile, offset)?, count })
    }

    fn even(&self, tile: &Tile, index: &Index) -> Option<Even> {
        let bent = |var: Var| {
            index.terms.iter().any(|(term, _)| match term {
                Term::Var(_) => false,
                Term::Mod(of, _) | Term::Table(_, of) => of.mentions(var),
            })
        };
        if bent(tile.pixel) || bent(tile.block) {
            return None;
        }
        let (by_pixel, by_block) = (index.factor(tile.pixel), index.factor(tile.block));
        // Sums of small numbers do not overflow; large ones are no places.
        let small = |number: i64| (number.unsigned_abs() < 1 << 40).then_some(number);
        Some(Even { first: small(self.index(index).ok()?)?, by_pixel: small(by_pixel)?, by_block: small(by_block)? })
    }
}
