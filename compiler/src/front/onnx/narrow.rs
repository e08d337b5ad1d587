//! Types of eight bits and four, whose numbers kiln holds in a wider type.

use kiln_rt::safetensors::Dtype;

use super::proto::tensor_proto::DataType;

/// A type of eight bits or four.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Narrow {
    Float(Minifloat),
    /// From -8 to 7.
    I4,
    /// From 0 to 15.
    U4,
}

/// A float of eight bits, as in ONNX's "Float stored in 8 bits" and the papers named there (arXiv:2209.05433,
/// arXiv:2206.02915): a sign, an exponent and a mantissa.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Minifloat {
    /// Bits of the mantissa, without the leading one.
    mantissa: i32,
    /// The exponent of the least normal number; what is smaller has its quantum.
    least: i32,
    largest: f64,
    /// What is too large without saturation.
    overflow: f64,
    /// Whether -0 is a number of its own.
    signed_zero: bool,
}

impl Narrow {
    /// The type that an ONNX file names, if it is one of these.
    pub(super) fn of(named: DataType) -> Option<Self> {
        let float = |mantissa, least, largest, overflow, signed_zero| {
            Narrow::Float(Minifloat { mantissa, least, largest, overflow, signed_zero })
        };
        Some(match named {
            DataType::Float8e4m3fn => float(3, -6, 448.0, f64::NAN, true),
            DataType::Float8e4m3fnuz => float(3, -7, 240.0, f64::NAN, false),
            DataType::Float8e5m2 => float(2, -14, 57344.0, f64::INFINITY, true),
            DataType::Float8e5m2fnuz => float(2, -15, 57344.0, f64::NAN, false),
            DataType::Int4 => Narrow::I4,
            DataType::Uint4 => Narrow::U4,
            DataType::Undefined
            | DataType::Float
            | DataType::Double
            | DataType::Float16
            | DataType::Bfloat16
            | DataType::Int64
            | DataType::Int32
            | DataType::Int16
            | DataType::Int8
            | DataType::Uint64
            | DataType::Uint32
            | DataType::Uint16
            | DataType::Uint8
            | DataType::Bool
            | DataType::String
            | DataType::Complex64
            | DataType::Complex128
            | DataType::Float4e2m1
            | DataType::Float8e8m0
            | DataType::Uint2
            | DataType::Int2
            | DataType::Float6e2m3
            | DataType::Float6e3m2 => return None,
        })
    }

    /// The type that holds its numbers.
    pub(super) fn holder(self) -> Dtype {
        match self {
            Narrow::Float(_) => Dtype::F32,
            Narrow::I4 => Dtype::I8,
            Narrow::U4 => Dtype::U8,
        }
    }

    /// The least and the largest integer of a type of integers.
    pub(super) fn range(self) -> Option<(f64, f64)> {
        match self {
            Narrow::Float(_) => None,
            Narrow::I4 => Some((-8.0, 7.0)),
            Narrow::U4 => Some((0.0, 15.0)),
        }
    }

    /// The number of this type that a float becomes; `saturate` says whether a float too large becomes the largest. Integers
    /// are the nearest, as ONNX's reference and ONNX Runtime have it.
    pub(super) fn nearest(self, number: f64, saturate: bool) -> f64 {
        match (self, self.range()) {
            (Narrow::Float(format), _) => format.nearest(number, saturate),
            (_, Some((lo, hi))) if !number.is_nan() => number.round_ties_even().clamp(lo, hi),
            _ => 0.0,
        }
    }

    /// The number of this type that an integer becomes: of integers the low bits.
    pub(super) fn cut(self, integer: i64, saturate: bool) -> f64 {
        match self {
            Narrow::Float(format) => format.nearest(integer as f64, saturate),
            Narrow::I4 => (integer << 60 >> 60) as f64,
            Narrow::U4 => (integer & 15) as f64,
        }
    }

    /// The bytes that so many elements take in a file.
    pub(super) fn stored(self, len: usize) -> usize {
        match self {
            Narrow::Float(_) => len,
            Narrow::I4 | Narrow::U4 => len.div_ceil(2),
        }
    }

    /// The numbers of a file's bytes. Two of four bits lie in a byte, the first in its low bits.
    pub(super) fn numbers(self, bytes: &[u8]) -> Vec<f64> {
        match self {
            Narrow::Float(format) => bytes.iter().map(|&byte| format.number(byte)).collect(),
            Narrow::I4 | Narrow::U4 => {
                bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).map(|bits| self.cut(bits.into(), true)).collect()
            }
        }
    }
}

impl Minifloat {
    /// The number of these bits.
    fn number(self, bits: u8) -> f64 {
        let (sign, magnitude) = (if bits >> 7 == 1 { -1.0 } else { 1.0 }, i32::from(bits & 127));
        let (exponent, fraction) = (magnitude >> self.mantissa, magnitude & ((1 << self.mantissa) - 1));
        // A subnormal number has the exponent of the least normal one, and no leading one.
        let leading = if exponent == 0 { 0 } else { 1 << self.mantissa };
        let quantum = 2f64.powi(exponent.max(1) - 1 + self.least - self.mantissa);
        match sign * f64::from(leading + fraction) * quantum {
            _ if magnitude == 0 && sign < 0.0 && !self.signed_zero => f64::NAN,
            number if number.abs() <= self.largest => number,
            number if self.overflow.is_infinite() && fraction == 0 => number.signum() * f64::INFINITY,
            _ => f64::NAN,
        }
    }

    /// Ties go to the even mantissa. With `saturate` an infinity too becomes the largest number, as in ONNX's test cases and
    /// ONNX Runtime; the table of its `Cast` has NaN for the formats without infinities and negative zeros.
    fn nearest(self, number: f64, saturate: bool) -> f64 {
        if number.is_nan() {
            return number;
        }
        let magnitude = number.abs();
        // The exponent of a double, whose subnormals are far below every quantum.
        let exponent = (magnitude.to_bits() >> 52) as i32 - 1023;
        let quantum = 2f64.powi(exponent.max(self.least) - self.mantissa);
        let rounded = if magnitude.is_finite() { (magnitude / quantum).round_ties_even() * quantum } else { magnitude };
        let nearest = match (rounded > self.largest, saturate) {
            (false, _) => rounded,
            (true, true) => self.largest,
            (true, false) => self.overflow,
        };
        if nearest == 0.0 && !self.signed_zero { 0.0 } else { nearest.copysign(number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(named: DataType, saturate: bool, numbers: &[f64]) -> Vec<f64> {
        let narrow = Narrow::of(named).expect("a narrow type");
        numbers.iter().map(|&number| narrow.nearest(number, saturate)).collect()
    }

    /// Every number of a format is its own nearest, and halfway between two lies the even one.
    #[test]
    fn floats_round_to_the_nearest_with_ties_to_even() {
        for (named, mantissa, least, largest) in [
            (DataType::Float8e4m3fn, 3, -6, 448.0),
            (DataType::Float8e4m3fnuz, 3, -7, 240.0),
            (DataType::Float8e5m2, 2, -14, 57344.0),
            (DataType::Float8e5m2fnuz, 2, -15, 57344.0),
        ] {
            let steps = 1 << mantissa;
            let of_place = |place: i32| {
                let (exponent, fraction) = ((place / steps - 1).max(0), place - (place / steps - 1).max(0) * steps);
                f64::from(fraction) * 2f64.powi(exponent + least - mantissa)
            };
            let numbers: Vec<f64> = (0..).map(of_place).take_while(|&number| number <= largest).collect();
            assert_eq!(numbers.last(), Some(&largest), "{named:?}");
            assert_eq!(nearest(named, true, &numbers), numbers);
            for (place, pair) in numbers.windows(2).enumerate() {
                let even = pair[place % 2];
                assert_eq!(nearest(named, true, &[(pair[0] + pair[1]) / 2.0]), [even], "{named:?}");
                assert_eq!(nearest(named, true, &[-pair[0], -pair[1]]), [-pair[0], -pair[1]]);
            }
        }
    }

    #[test]
    fn what_is_too_large_saturates_or_becomes_what_the_format_has() {
        let far = [460.0, 1e6, f64::NEG_INFINITY];
        assert_eq!(nearest(DataType::Float8e4m3fn, true, &far), [448.0, 448.0, -448.0]);
        let found = nearest(DataType::Float8e4m3fn, false, &far);
        assert!(found[0] == 448.0 && found[1].is_nan() && found[2].is_nan(), "{found:?}");
        let found = nearest(DataType::Float8e5m2, false, &far);
        assert_eq!(found, [448.0, f64::INFINITY, f64::NEG_INFINITY]);
        assert!(nearest(DataType::Float8e4m3fnuz, false, &[-1e-9])[0].is_sign_positive());
        assert!(nearest(DataType::Float8e4m3fn, false, &[-1e-9])[0].is_sign_negative());
    }

    /// All bits of each format are what the nearest number to them is.
    #[test]
    fn numbers_of_bits_are_of_their_format() {
        for (named, finite) in [
            (DataType::Float8e4m3fn, 254),
            (DataType::Float8e4m3fnuz, 255),
            (DataType::Float8e5m2, 248),
            (DataType::Float8e5m2fnuz, 255),
        ] {
            let narrow = Narrow::of(named).expect("a narrow type");
            let numbers = narrow.numbers(&(0..=255).collect::<Vec<u8>>());
            let known: Vec<f64> = numbers.iter().copied().filter(|number| number.is_finite()).collect();
            assert_eq!(known.len(), finite, "{named:?}");
            assert_eq!(nearest(named, true, &known), known, "{named:?}");
            assert_eq!(
                numbers[1],
                2f64.powi(match named {
                    DataType::Float8e4m3fn => -9,
                    DataType::Float8e4m3fnuz => -10,
                    DataType::Float8e5m2 => -16,
                    _ => -17,
                })
            );
        }
        assert_eq!(Narrow::I4.numbers(&[0x8f]), [-1.0, -8.0]);
        assert_eq!(Narrow::U4.numbers(&[0x8f]), [15.0, 8.0]);
    }

    #[test]
    fn floats_round_to_integers_of_four_bits_and_integers_lose_their_high_ones() {
        assert_eq!(nearest(DataType::Int4, true, &[-9.5, -1.9, 2.5, 100.0, f64::NAN]), [-8.0, -2.0, 2.0, 7.0, 0.0]);
        assert_eq!(nearest(DataType::Uint4, true, &[-3.0, 2.9, 16.0]), [0.0, 3.0, 15.0]);
        assert_eq!([9, 200, -9, 16].map(|v| Narrow::I4.cut(v, true)), [-7.0, -8.0, 7.0, 0.0]);
        assert_eq!([9, 200, -1, 16].map(|v| Narrow::U4.cut(v, true)), [9.0, 8.0, 15.0, 0.0]);
    }
}
