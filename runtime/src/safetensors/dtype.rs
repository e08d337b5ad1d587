//! Element types and how they are read.

use std::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the format's own names")]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Dtype {
    /// All types.
    pub const ALL: [Self; 13] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::I64,
        Self::I32,
        Self::I16,
        Self::I8,
        Self::U64,
        Self::U32,
        Self::U16,
        Self::U8,
        Self::Bool,
    ];

    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// The type of that name in a file.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Bytes an element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The element in `bytes`, little endian and as many as the type has.
    pub(super) fn read(self, bytes: &[u8]) -> f64 {
        let mut raw = [0; 8];
        raw[..self.size()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(raw);
        match self {
            Self::F64 => f64::from_bits(bits),
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            Self::F16 => half(bits as u16),
            Self::BF16 => f64::from(f32::from_bits((bits as u32) << 16)),
            Self::I64 => bits as i64 as f64,
            Self::I32 => f64::from(bits as i32),
            Self::I16 => f64::from(bits as i16),
            Self::I8 => f64::from(bits as i8),
            Self::U64 => bits as f64,
            Self::U32 | Self::U16 | Self::U8 => bits as f64,
            Self::Bool => f64::from(bits != 0),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// IEEE 754 binary16: a sign, five bits of exponent, ten of fraction.
fn half(bits: u16) -> f64 {
    let exponent = i32::from(bits >> 10 & 31);
    let fraction = f64::from(bits & 1023);
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_type() {
        let cases: [(Dtype, &[u8], f64); 13] = [
            (Dtype::F64, &0.1_f64.to_le_bytes(), 0.1),
            (Dtype::F32, &0.1_f32.to_le_bytes(), f64::from(0.1_f32)),
            (Dtype::F16, &[0x00, 0x3C], 1.0),
            (Dtype::BF16, &[0x80, 0xBF], -1.0),
            (Dtype::I64, &(-3_i64).to_le_bytes(), -3.0),
            (Dtype::I32, &(-4_i32).to_le_bytes(), -4.0),
            (Dtype::I16, &(-5_i16).to_le_bytes(), -5.0),
            (Dtype::I8, &[0xFF], -1.0),
            (Dtype::U64, &7_u64.to_le_bytes(), 7.0),
            (Dtype::U32, &u32::MAX.to_le_bytes(), 4_294_967_295.0),
            (Dtype::U16, &[0xFF, 0xFF], 65535.0),
            (Dtype::U8, &[200], 200.0),
            (Dtype::Bool, &[1], 1.0),
        ];
        for (dtype, bytes, value) in cases {
            assert_eq!((dtype.read(bytes), bytes.len()), (value, dtype.size()), "{dtype}");
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
        }
    }

    #[test]
    fn half_precision_at_its_ends() {
        let cases = [(0x0001, 2_f64.powi(-24)), (0x03FF, 1023.0 * 2_f64.powi(-24)), (0x0400, 2_f64.powi(-14))];
        for (bits, value) in cases {
            assert_eq!((half(bits), half(bits | 0x8000)), (value, -value));
        }
        assert_eq!((half(0x7BFF), half(0x7C00), half(0xFC00)), (65504.0, f64::INFINITY, f64::NEG_INFINITY));
        assert!(half(0x7E00).is_nan() && half(0x8000).is_sign_negative());
    }
}
