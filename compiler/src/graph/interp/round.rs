//! Results as elements of a type.

use super::super::{DType, Op};
use super::pieces;

/// Elements of a piece.
const PIECE: usize = 1 << 14;

/// Makes numbers elements of a node's type: `from` is that of its first operand. Casts have rules of their own; the
/// results of all else are rounded to floats, and integers keep their low bits.
pub(super) fn to_type(op: &Op, from: Option<DType>, to: DType, numbers: &mut [f64]) {
    let convert: fn(DType, f64) -> f64 = match op {
        Op::Cast(_) if from.is_none_or(DType::is_float) => saturated,
        _ => wrapped,
    };
    pieces::each_piece(numbers, PIECE, |_, piece| piece.iter_mut().for_each(|v| *v = convert(to, *v)));
}

/// A float as an element of a type: without its fraction, no farther than the type's ends, 0 for NaN.
fn saturated(to: DType, v: f64) -> f64 {
    match to {
        DType::F32 => f64::from(v as f32),
        DType::F64 => v,
        DType::I64 => v as i64 as f64,
        DType::I32 => f64::from(v as i32),
        DType::I8 => f64::from(v as i8),
        DType::U8 => f64::from(v as u8),
        DType::Bool => f64::from(u8::from(v != 0.0)),
    }
}

/// A result as an element of a type: without its fraction, the low bits of integers.
fn wrapped(to: DType, v: f64) -> f64 {
    let integer = v as i128;
    match to {
        DType::F32 => f64::from(v as f32),
        DType::F64 => v,
        DType::I64 => integer as i64 as f64,
        DType::I32 => f64::from(integer as i32),
        DType::I8 => f64::from(integer as i8),
        DType::U8 => f64::from(integer as u8),
        DType::Bool => f64::from(u8::from(v != 0.0)),
    }
}
