//! Tensors that a file knows: initializers, constants and what is computed from them.

use std::fmt;
use std::ops::Range;

use kiln_rt::safetensors::{Dtype, MAX_RANK, View};

use super::narrow::Narrow;
use super::proto::tensor_proto::{DataLocation, DataType};
use super::proto::{self, Bytes, TensorProto};
use crate::diag::counted;
use crate::graph::{DType, Elements};

/// The folder that a model lies in, for what it keeps outside of its file.
pub trait Folder {
    /// The bytes of a file in the folder. Whoever implements it sees to it that nothing outside is read.
    ///
    /// # Errors
    /// What the operating system says, or that the file lies outside.
    fn open(&self, path: &str) -> Result<Bytes, String>;
}

/// Why a tensor cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// What is wrong with it.
    Itself(String),
    /// The file in which it lies cannot be opened, and why.
    File { location: String, why: String },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Itself(why) => f.write_str(why),
            Unreadable::File { location, why } => write!(f, "it lies in `{location}`: {why}"),
        }
    }
}

impl From<String> for Unreadable {
    fn from(why: String) -> Self {
        Unreadable::Itself(why)
    }
}

impl From<Unreadable> for super::Problem {
    fn from(unreadable: Unreadable) -> Self {
        super::Problem::new(unreadable.to_string())
    }
}

/// Elements in row-major order, little endian; shared, not copied, where they lie in a file.
#[derive(Clone)]
pub(super) struct Tensor {
    pub(super) dtype: Dtype,
    /// The narrower type that its elements have in the file, where kiln holds them in `dtype`.
    pub(super) narrow: Option<Narrow>,
    pub(super) shape: Vec<usize>,
    bytes: Bytes,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype.name(), self.shape)
    }
}

impl Tensor {
    /// The tensor of a message, whose data are moved out.
    ///
    /// # Errors
    /// Its type has no place here, or its data are not what its shape says.
    pub(super) fn read(mut proto: TensorProto, folder: &dyn Folder) -> Result<Self, Unreadable> {
        let number = i64::from(proto.data_type());
        let named = data_type(number).ok_or_else(|| format!("there is no type {number}"))?;
        let narrow = Narrow::of(named);
        let dtype = narrow.map_or_else(|| dtype(named), |narrow| Ok(narrow.holder()))?;
        check_rank(proto.dims.len())?;
        let mut shape = Vec::with_capacity(proto.dims.len());
        for &extent in &proto.dims {
            shape.push(usize::try_from(extent).map_err(|_| format!("its shape {:?} is negative", proto.dims))?);
        }
        let size = |len: usize| narrow.map_or_else(|| len.checked_mul(dtype.size()), |narrow| Some(narrow.stored(len)));
        let wanted = elements(&shape)
            .and_then(size)
            .ok_or_else(|| format!("its shape {shape:?} has more elements than fit into memory"))?;
        if proto.segment.is_some() {
            return Err("it is stored in segments, which kiln does not read".to_owned().into());
        }
        let bytes = if proto.data_location() == DataLocation::External {
            external(&proto, wanted, folder)?
        } else if let Some(raw) = proto.raw_data.take() {
            raw
        } else {
            typed(&mut proto, if narrow.is_some() { Dtype::U8 } else { dtype })?
        };
        if bytes.len() != wanted {
            let size = if narrow.is_some() { 1 } else { dtype.size() };
            let [have, want] = [bytes.len(), wanted].map(|bytes| bytes / size);
            let held = counted(have, "element");
            return Err(format!("it holds {held}, and its shape {shape:?} says {want}").into());
        }
        Ok(match narrow {
            Some(narrow) => Tensor::narrowed(narrow, shape, &narrow.numbers(&bytes)),
            None => Tensor { dtype, narrow: None, shape, bytes },
        })
    }

    /// Numbers of a narrow type. Of those of four bits, an odd one out is left away.
    pub(super) fn narrowed(narrow: Narrow, shape: Vec<usize>, numbers: &[f64]) -> Self {
        let numbers = &numbers[..elements(&shape).unwrap_or(0).min(numbers.len())];
        let bytes: Vec<u8> = match narrow.holder() {
            Dtype::I8 => numbers.iter().map(|&v| (v as i8).cast_unsigned()).collect(),
            Dtype::U8 => numbers.iter().map(|&v| v as u8).collect(),
            _ => numbers.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
        };
        Tensor { dtype: narrow.holder(), narrow: Some(narrow), shape, bytes: bytes.into() }
    }

    /// Integers or truth values; None where one does not fit the type.
    pub(super) fn integers(dtype: Dtype, shape: Vec<usize>, values: &[i64]) -> Option<Self> {
        debug_assert_eq!(elements(&shape), Some(values.len()));
        let mut bytes = Vec::with_capacity(values.len() * dtype.size());
        for &value in values {
            match dtype {
                Dtype::I64 => bytes.extend(value.to_le_bytes()),
                Dtype::I32 => bytes.extend(i32::try_from(value).ok()?.to_le_bytes()),
                Dtype::I16 => bytes.extend(i16::try_from(value).ok()?.to_le_bytes()),
                Dtype::I8 => bytes.extend(i8::try_from(value).ok()?.to_le_bytes()),
                Dtype::U64 => bytes.extend(u64::try_from(value).ok()?.to_le_bytes()),
                Dtype::U32 => bytes.extend(u32::try_from(value).ok()?.to_le_bytes()),
                Dtype::U16 => bytes.extend(u16::try_from(value).ok()?.to_le_bytes()),
                Dtype::U8 => bytes.push(u8::try_from(value).ok()?),
                Dtype::Bool => bytes.push(u8::from(value != 0)),
                Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => return None,
            }
        }
        Some(Tensor { dtype, narrow: None, shape, bytes: bytes.into() })
    }

    /// Numbers, kept in f32, or in f64 for that type.
    pub(super) fn floats(dtype: Dtype, shape: Vec<usize>, values: &[f64]) -> Self {
        debug_assert_eq!(elements(&shape), Some(values.len()));
        let (dtype, bytes): (_, Vec<u8>) = match dtype {
            Dtype::F64 => (dtype, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            _ => (Dtype::F32, values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()),
        };
        Tensor { dtype, narrow: None, shape, bytes: bytes.into() }
    }

    /// The elements of a network's value.
    pub(super) fn of(elements: &Elements, shape: Vec<usize>) -> Self {
        let (dtype, bytes): (_, Vec<u8>) = match elements {
            Elements::F32(v) => (Dtype::F32, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Elements::F64(v) => (Dtype::F64, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Elements::I64(v) => (Dtype::I64, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Elements::I32(v) => (Dtype::I32, v.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Elements::I8(v) => (Dtype::I8, v.iter().map(|&v| v.cast_unsigned()).collect()),
            Elements::U8(v) => (Dtype::U8, v.clone()),
            Elements::Bool(v) => (Dtype::Bool, v.iter().map(|&v| v.into()).collect()),
        };
        Tensor { dtype, narrow: None, shape, bytes: bytes.into() }
    }

    /// The same elements in another shape.
    pub(super) fn reshaped(&self, shape: Vec<usize>) -> Self {
        debug_assert_eq!(elements(&shape), Some(self.len()));
        Tensor { shape, ..self.clone() }
    }

    /// The same numbers as ones of the type that holds them.
    pub(super) fn without_narrow(&self) -> Self {
        Tensor { narrow: None, ..self.clone() }
    }

    /// Where its elements lie in memory.
    pub(super) fn memory(&self) -> Range<usize> {
        let start = self.bytes.as_ptr().addr();
        start..start + self.bytes.len()
    }

    /// The elements at these places, in another shape.
    pub(super) fn picked(&self, shape: Vec<usize>, places: impl Iterator<Item = usize>) -> Self {
        let size = self.dtype.size();
        let mut bytes = Vec::new();
        places.for_each(|place| bytes.extend_from_slice(&self.bytes[place * size..(place + 1) * size]));
        debug_assert_eq!(elements(&shape), Some(bytes.len() / size));
        Tensor { dtype: self.dtype, narrow: self.narrow, shape, bytes: bytes.into() }
    }

    /// Its elements at these places among zeros.
    pub(super) fn scattered(&self, shape: Vec<usize>, places: &[usize]) -> Self {
        let size = self.dtype.size();
        let mut bytes = vec![0; elements(&shape).unwrap_or(0) * size];
        for (from, to) in self.bytes.chunks_exact(size).zip(places) {
            bytes[to * size..][..size].copy_from_slice(from);
        }
        Tensor { dtype: self.dtype, narrow: self.narrow, shape, bytes: bytes.into() }
    }

    /// Whether another tensor is the same, element by element.
    pub(super) fn equals(&self, other: &Tensor) -> bool {
        (self.dtype, self.narrow, &self.shape, &self.bytes) == (other.dtype, other.narrow, &other.shape, &other.bytes)
    }

    /// Whether its elements lie in no other tensor and in no file.
    pub(super) fn is_alone(&self) -> bool {
        self.bytes.is_unique()
    }

    /// Tensors of one type, one after the other along an axis; `shape` is theirs together.
    pub(super) fn joined(shape: Vec<usize>, axis: usize, parts: &[&Tensor]) -> Self {
        let outer = shape[..axis].iter().product::<usize>();
        let mut bytes = Vec::new();
        for o in 0..outer {
            for part in parts {
                let each = part.bytes.len() / outer;
                bytes.extend_from_slice(&part.bytes[o * each..(o + 1) * each]);
            }
        }
        let (dtype, narrow) = parts.first().map_or((Dtype::F32, None), |part| (part.dtype, part.narrow));
        Tensor { dtype, narrow, shape, bytes: bytes.into() }
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether its elements are numbers with a fraction.
    pub(super) fn is_float(&self) -> bool {
        is_float(self.dtype)
    }

    /// All elements, if they are integers or truth values, and none is above `i64::MAX`.
    pub(super) fn to_integers(&self) -> Option<Vec<i64>> {
        let words = self.bytes.chunks_exact(self.dtype.size());
        let unsigned = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        let shift = 64 - 8 * self.dtype.size() as u32;
        Some(match self.dtype {
            Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 => {
                words.map(|bytes| (unsigned(bytes) << shift).cast_signed() >> shift).collect()
            }
            Dtype::U64 | Dtype::U32 | Dtype::U16 | Dtype::U8 => {
                words.map(|bytes| i64::try_from(unsigned(bytes)).ok()).collect::<Option<_>>()?
            }
            Dtype::Bool => words.map(|bytes| i64::from(bytes[0] != 0)).collect(),
            Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => return None,
        })
    }

    /// Integers, of which those that do not fit lose their higher bits.
    pub(super) fn wrapped(dtype: Dtype, shape: Vec<usize>, values: &[i64]) -> Option<Self> {
        let cut = |v: i64| match dtype {
            Dtype::I32 => i64::from(v as i32),
            Dtype::I16 => i64::from(v as i16),
            Dtype::I8 => i64::from(v as i8),
            Dtype::U32 => i64::from(v as u32),
            Dtype::U16 => i64::from(v as u16),
            Dtype::U8 => i64::from(v as u8),
            Dtype::I64 | Dtype::U64 | Dtype::Bool | Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => v,
        };
        Tensor::integers(dtype, shape, &values.iter().map(|&v| cut(v)).collect::<Vec<_>>())
    }

    /// The same integers in a type that a network's values have, where a larger one has them; else the tensor as it is.
    pub(super) fn widened(&self) -> Self {
        let to = match self.dtype {
            Dtype::I16 | Dtype::U16 => Dtype::I32,
            Dtype::U32 => Dtype::I64,
            Dtype::F64
            | Dtype::F32
            | Dtype::F16
            | Dtype::BF16
            | Dtype::I64
            | Dtype::I32
            | Dtype::I8
            | Dtype::U64
            | Dtype::U8
            | Dtype::Bool => return self.clone(),
        };
        let integers = self.to_integers().unwrap_or_default();
        Tensor::integers(to, self.shape.clone(), &integers).unwrap_or_else(|| self.clone())
    }

    /// All elements as numbers.
    pub(super) fn to_floats(&self) -> Vec<f64> {
        let view = self.view();
        (0..self.len()).map(|i| view.element(i)).collect()
    }

    /// Its one element as a number, if it has one.
    pub(super) fn scalar(&self) -> Option<f64> {
        (self.len() == 1).then(|| self.view().element(0))
    }

    /// As a weights file holds it.
    pub(super) fn view(&self) -> View<'_> {
        View { dtype: self.dtype, shape: &self.shape, bytes: &self.bytes }
    }
}

/// Whether numbers of a type have fractions.
pub(super) fn is_float(dtype: Dtype) -> bool {
    match dtype {
        Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => true,
        Dtype::I64
        | Dtype::I32
        | Dtype::I16
        | Dtype::I8
        | Dtype::U64
        | Dtype::U32
        | Dtype::U16
        | Dtype::U8
        | Dtype::Bool => false,
    }
}

/// The type of a network's values that elements of a tensor have: halves are widened.
///
/// # Errors
/// Networks have no such values.
pub(super) fn element_type(dtype: Dtype) -> Result<DType, String> {
    Ok(match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I8 => DType::I8,
        Dtype::U8 => DType::U8,
        Dtype::Bool => DType::Bool,
        Dtype::I16 | Dtype::U64 | Dtype::U32 | Dtype::U16 => {
            return Err(format!("kiln computes with no elements of type {}", dtype.name()));
        }
    })
}

/// Refuses a rank that no network has.
///
/// # Errors
/// It is above [`MAX_RANK`].
pub(super) fn check_rank(rank: usize) -> Result<(), String> {
    if rank <= MAX_RANK { Ok(()) } else { Err(format!("it has {rank} axes, and kiln takes {MAX_RANK}")) }
}

/// The number of elements of a shape, if it can be counted: along any of its axes, of which one may be empty beside others
/// that are too large.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    let full = shape.iter().try_fold(1usize, |len, &extent| len.checked_mul(extent.max(1)))?;
    Some(if shape.contains(&0) { 0 } else { full })
}

/// The type that an ONNX file names by number.
///
/// # Errors
/// It has no place here.
pub(super) fn dtype(of: DataType) -> Result<Dtype, String> {
    Ok(match of {
        DataType::Float => Dtype::F32,
        DataType::Double => Dtype::F64,
        DataType::Float16 => Dtype::F16,
        DataType::Bfloat16 => Dtype::BF16,
        DataType::Int64 => Dtype::I64,
        DataType::Int32 => Dtype::I32,
        DataType::Int16 => Dtype::I16,
        DataType::Int8 => Dtype::I8,
        DataType::Uint64 => Dtype::U64,
        DataType::Uint32 => Dtype::U32,
        DataType::Uint16 => Dtype::U16,
        DataType::Uint8 => Dtype::U8,
        DataType::Bool => Dtype::Bool,
        other => return Err(format!("elements of type {} are not supported", other.as_str_name())),
    })
}

/// The type of this number in a message, if there is one.
pub(super) fn data_type(number: i64) -> Option<DataType> {
    DataType::try_from(i32::try_from(number).ok()?).ok()
}

/// The elements that a message holds in a field of their type.
fn typed(proto: &mut TensorProto, dtype: Dtype) -> Result<Bytes, String> {
    let (ints, longs, words) = (
        std::mem::take(&mut proto.int32_data),
        std::mem::take(&mut proto.int64_data),
        std::mem::take(&mut proto.uint64_data),
    );
    // Halves and whatever is shorter than 32 bits lie in the low bits of an int32.
    let low = |size: usize| ints.iter().flat_map(move |v| v.to_le_bytes().into_iter().take(size)).collect();
    let bytes: Vec<u8> = match dtype {
        Dtype::F32 => std::mem::take(&mut proto.float_data).into_iter().flat_map(f32::to_le_bytes).collect(),
        Dtype::F64 => std::mem::take(&mut proto.double_data).into_iter().flat_map(f64::to_le_bytes).collect(),
        Dtype::I64 => longs.into_iter().flat_map(i64::to_le_bytes).collect(),
        Dtype::U64 => words.into_iter().flat_map(u64::to_le_bytes).collect(),
        Dtype::U32 => {
            let narrow: Option<Vec<u32>> = words.into_iter().map(|v| u32::try_from(v).ok()).collect();
            let narrow = narrow.ok_or("an element is larger than its type")?;
            narrow.into_iter().flat_map(u32::to_le_bytes).collect()
        }
        Dtype::I32 | Dtype::F16 | Dtype::BF16 | Dtype::I16 | Dtype::I8 | Dtype::U16 | Dtype::U8 | Dtype::Bool => {
            low(dtype.size())
        }
    };
    Ok(bytes.into())
}

/// The elements that lie in a file beside the model.
fn external(proto: &TensorProto, wanted: usize, folder: &dyn Folder) -> Result<Bytes, Unreadable> {
    let entry = |key: &str| {
        let found = proto.external_data.iter().find(|entry| entry.key() == key);
        found.map(proto::StringStringEntryProto::value)
    };
    let number = |key: &str| {
        let parse = |text: &str| text.parse::<usize>().map_err(|_| format!("its {key} `{text}` is not a number"));
        entry(key).map(parse).transpose()
    };
    let missing = || "it lies outside of the file, which does not say where".to_owned();
    let location = entry("location").ok_or_else(missing)?;
    // Windows writes paths so; elsewhere a name may hold a backslash too.
    let path = location.replace('\\', "/");
    if !is_inside(&path) {
        return Err(format!("it lies in `{location}`, outside of the model's folder").into());
    }
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?.unwrap_or(wanted));
    let opened = folder.open(&path).or_else(|why| match path == location {
        true => Err(why),
        false => folder.open(location).map_err(|_| why),
    });
    let bytes = opened.map_err(|why| Unreadable::File { location: location.to_owned(), why })?;
    match offset.checked_add(length) {
        Some(end) if end <= bytes.len() => Ok(bytes.slice(offset..end)),
        _ => Err(format!(
            "it lies in `{location}` from byte {offset} on, {length} bytes, and that file has {}",
            bytes.len()
        )
        .into()),
    }
}

/// Whether a path names something in the folder that it starts from.
fn is_inside(path: &str) -> bool {
    use std::path::{Component, Path};
    !path.is_empty()
        && !path.contains(':')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
