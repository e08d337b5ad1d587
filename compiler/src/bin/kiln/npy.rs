//! `.npy` files: arrays as NumPy keeps them.

use std::io::{Read, Write};
use std::path::Path;

use kiln_compiler::graph::Elements;
use kiln_rt::content::Content;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyExt, ReadableElement, WritableElement, WriteNpyExt};

use crate::map::Mapped;
use crate::report::{Context, Failure};

/// The most bytes of a header. One of 64 extents, which is all that NumPy has, takes less; the parser recurses on it.
const MOST_HEADER: usize = 2048;

/// What kiln reads, for messages.
const TYPES: &str = "bools, integers of 8 to 64 bits, and floats of 16 to 64 bits";

/// Shape and elements of a `.npy` file, in row-major order. Types that kiln does not have become the next larger one: f16
/// f32, i16 and u16 i32, u32 i64, and u64 i64 too, where that holds all numbers.
pub(crate) fn read(path: &Path) -> Result<(Vec<usize>, Elements), Failure> {
    let shown = path.display();
    let mapped = Mapped::open(path)?;
    let bytes = mapped.bytes();
    parse(bytes).map_err(|why| match Content::of(bytes) {
        Some(Content::Npy) => Failure::new(format!("cannot read {shown}: {why}")),
        Some(other) => Failure::new(format!("{shown} is {other}, not a .npy file")).help_if_known(other.help()),
        None => Failure::new(format!("{shown} is not a .npy file: {why}")),
    })
}

/// An array's shape and elements; or why there is none.
fn parse(bytes: &[u8]) -> Result<(Vec<usize>, Elements), String> {
    let mut rest = bytes;
    let header = header(&mut rest)?;
    let descriptor = header.type_descriptor.as_string().map(String::as_str).unwrap_or_default();
    let size = match descriptor.trim_start_matches(['<', '>', '|']) {
        "b1" | "i1" | "u1" => 1,
        "i2" | "u2" | "f2" => 2,
        "i4" | "u4" | "f4" => 4,
        "i8" | "u8" | "f8" => 8,
        _ => return Err(format!("its elements are of another type than {TYPES}")),
    };
    // What a header claims is nothing to make memory by.
    let claimed = header.shape.iter().try_fold(size, |size: usize, &extent| size.checked_mul(extent));
    if claimed != Some(rest.len()) {
        let claimed = claimed.map_or("too many".to_owned(), |claimed| claimed.to_string());
        return Err(format!("its elements take {claimed} bytes, but {} follow the header", rest.len()));
    }
    let elements = match descriptor.trim_start_matches(['<', '>', '|']) {
        "b1" => Elements::Bool(values(bytes)?),
        "i1" => Elements::I8(values(bytes)?),
        "u1" => Elements::U8(values(bytes)?),
        "i2" => Elements::I32(widened::<i16, _>(bytes)?),
        "u2" => Elements::I32(widened::<u16, _>(bytes)?),
        "i4" => Elements::I32(values(bytes)?),
        "u4" => Elements::I64(widened::<u32, _>(bytes)?),
        "i8" => Elements::I64(values(bytes)?),
        "u8" => {
            let signed: Result<_, _> = values::<u64>(bytes)?.into_iter().map(i64::try_from).collect();
            Elements::I64(signed.map_err(|_| "it holds numbers from 2^63 on, which no i64 holds")?)
        }
        "f2" => Elements::F32(halves(header.clone(), rest, descriptor.starts_with('>'))?),
        "f4" => Elements::F32(values(bytes)?),
        _ => Elements::F64(values(bytes)?),
    };
    Ok((header.shape, elements))
}

/// Takes the header off the front of a file.
fn header(bytes: &mut &[u8]) -> Result<Header, String> {
    let length = match *bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => usize::from(u16::from_le_bytes([*a, *b])),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            u32::from_le_bytes([*a, *b, *c, *d]).try_into().unwrap_or(usize::MAX)
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => return Err("its header is cut, or of a later version".to_owned()),
        _ => return Err("it does not begin as one".to_owned()),
    };
    if length > MOST_HEADER {
        return Err(format!("its header has {length} bytes, more than the {MOST_HEADER} of any array"));
    }
    // The parser's own message quotes the header.
    Header::from_reader(bytes).map_err(|_| "its header is broken".to_owned())
}

/// The elements of a file in row-major order, from either order and either byte order.
fn values<T: ReadableElement + Clone>(file: impl Read) -> Result<Vec<T>, String> {
    let array = ArrayD::<T>::read_npy(file).map_err(|error| error.to_string())?;
    Ok(array.iter().cloned().collect())
}

fn widened<T: ReadableElement + Clone, U: From<T>>(bytes: &[u8]) -> Result<Vec<U>, String> {
    Ok(values::<T>(bytes)?.into_iter().map(U::from).collect())
}

/// Elements of IEEE 754's binary16. The library has no such type: it reads their bits.
fn halves(header: Header, elements: &[u8], is_big_endian: bool) -> Result<Vec<f32>, String> {
    let as_bits = Header { type_descriptor: u16::type_descriptor(), ..header };
    let front = as_bits.to_bytes().map_err(|error| error.to_string())?;
    let bits = values::<u16>(front.as_slice().chain(elements))?;
    let is_swapped = is_big_endian == cfg!(target_endian = "little");
    Ok(bits.into_iter().map(|bits| half(if is_swapped { bits.swap_bytes() } else { bits })).collect())
}

/// The number of an IEEE 754 binary16: a sign, five bits of exponent, ten of fraction.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15), u32::from(bits >> 10 & 31), u32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction as f32 * 2f32.powi(-24),
        31 => f32::from_bits(255 << 23 | fraction << 13),
        _ => f32::from_bits((exponent + 127 - 15) << 23 | fraction << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign << 31)
}

/// Writes a `.npy` file.
pub(crate) fn write(out: &mut dyn Write, shape: &[usize], values: &Elements) -> Result<(), Failure> {
    match values {
        Elements::F32(v) => write_as(out, shape, v),
        Elements::F64(v) => write_as(out, shape, v),
        Elements::I64(v) => write_as(out, shape, v),
        Elements::I32(v) => write_as(out, shape, v),
        Elements::I8(v) => write_as(out, shape, v),
        Elements::U8(v) => write_as(out, shape, v),
        Elements::Bool(v) => write_as(out, shape, v),
    }
}

fn write_as<T: WritableElement>(out: &mut dyn Write, shape: &[usize], values: &[T]) -> Result<(), Failure> {
    let array = ArrayViewD::from_shape(IxDyn(shape), values).context("cannot write an array")?;
    array.write_npy(out).context("cannot write an array")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this dictionary and these elements.
    fn file(dictionary: &str, elements: &[u8]) -> Vec<u8> {
        let length = u16::try_from(dictionary.len() + 1).expect("a short header").to_le_bytes();
        [b"\x93NUMPY\x01\0", &length[..], dictionary.as_bytes(), b"\n", elements].concat()
    }

    fn array(descriptor: &str, is_fortran: bool, shape: &str, elements: &[u8]) -> Vec<u8> {
        let order = if is_fortran { "True" } else { "False" };
        file(&format!("{{'descr': '{descriptor}', 'fortran_order': {order}, 'shape': {shape}, }}"), elements)
    }

    #[test]
    fn types_that_kiln_lacks_are_widened_from_either_byte_order() {
        let read = |descriptor: &str, elements: &[u8]| {
            let size = usize::from(descriptor.as_bytes()[2] - b'0');
            let shape = format!("({},)", elements.len() / size);
            parse(&array(descriptor, false, &shape, elements)).map(|(_, elements)| elements)
        };
        assert_eq!(read("<i2", &[0xfe, 0xff, 1, 0]), Ok(Elements::I32(vec![-2, 1])));
        assert_eq!(read(">i2", &[0xff, 0xfe, 0, 1]), Ok(Elements::I32(vec![-2, 1])));
        assert_eq!(read("<u2", &[0xfe, 0xff]), Ok(Elements::I32(vec![65534])));
        assert_eq!(read("<u4", &[0xff; 4]), Ok(Elements::I64(vec![u32::MAX.into()])));
        assert_eq!(read(">i4", &[0, 0, 1, 0]), Ok(Elements::I32(vec![256])));
        assert_eq!(read("<f2", &[0x00, 0x3c, 0x00, 0xc0]), Ok(Elements::F32(vec![1.0, -2.0])));
        assert_eq!(read(">f2", &[0x3c, 0x00, 0xc0, 0x00]), Ok(Elements::F32(vec![1.0, -2.0])));
        assert_eq!(read(">f8", &2.5f64.to_be_bytes()), Ok(Elements::F64(vec![2.5])));
        assert_eq!(read("<u8", &i64::MAX.to_le_bytes()), Ok(Elements::I64(vec![i64::MAX])));
        assert!(read("<u8", &[0xff; 8]).is_err_and(|why| why.contains("2^63")));
        assert!(read("<c8", &[0; 8]).is_err_and(|why| why.contains("another type")));
    }

    #[test]
    fn halves_are_exact() {
        let pairs = [(0x0001, 2f32.powi(-24)), (0x03ff, 1023.0 * 2f32.powi(-24)), (0x0400, 2f32.powi(-14))];
        for (bits, value) in
            [(0x3555, 0.333_251_95), (0x7bff, 65504.0), (0x7c00, f32::INFINITY)].into_iter().chain(pairs)
        {
            assert_eq!((half(bits), half(bits | 0x8000)), (value, -value));
        }
        assert!(half(0x7e00).is_nan() && half(0x8000).to_bits() == (-0f32).to_bits());
    }

    #[test]
    fn fortran_order_becomes_row_major() {
        for (descriptor, elements) in [("|u1", &[1, 4, 2, 5, 3, 6][..]), ("<u2", &[1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6, 0])]
        {
            let (shape, elements) = parse(&array(descriptor, true, "(2, 3)", elements)).expect("an array");
            assert_eq!((shape, elements.to_i64()), (vec![2, 3], Some(vec![1, 2, 3, 4, 5, 6])));
        }
    }

    #[test]
    fn what_a_header_claims_takes_no_memory() {
        let refused = |bytes: &[u8], words: &str| {
            let why = parse(bytes).map(|(shape, _)| shape).expect_err("no array");
            assert!(why.contains(words) && why.len() < 200, "`{words}` in: {why}");
        };
        refused(&array("<f4", false, "(1000000, 1000000)", &[]), "4000000000000 bytes, but 0 follow");
        refused(&array("<f8", false, "(4294967296, 4294967296, 4294967296)", &[]), "too many bytes");
        refused(&array("<f4", false, "(2,)", &[0; 9]), "8 bytes, but 9 follow");
        refused(&array("<f4", false, "(-1,)", &[0; 4]), "broken");
        refused(&file(&"(".repeat(2000), &[]), "broken");
        refused(&file(&"(".repeat(9000), &[]), "9001 bytes");
        refused(b"\x93NUMPY\x02\0\xff\xff\xff\xff", "4294967295 bytes");
        refused(b"\x93NUMPY\x01\0\x10\0{", "broken");
        refused(b"\x93NUMPY\x01", "cut");
        refused(b"", "does not begin");
        let empty = parse(&array("<f4", false, "(0, 3)", &[])).expect("an array");
        assert_eq!(empty, (vec![0, 3], Elements::F32(Vec::new())));
    }
}
