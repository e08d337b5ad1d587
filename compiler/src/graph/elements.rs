//! The elements of a value, row-major, in the type that they have.

use super::DType;

/// Elements of one of the types of [`DType`].
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// [`DType::F32`]
    F32(Vec<f32>),
    /// [`DType::F64`]
    F64(Vec<f64>),
    /// [`DType::I64`]
    I64(Vec<i64>),
    /// [`DType::I32`]
    I32(Vec<i32>),
    /// [`DType::I8`]
    I8(Vec<i8>),
    /// [`DType::U8`]
    U8(Vec<u8>),
    /// [`DType::Bool`]
    Bool(Vec<bool>),
}

impl Elements {
    /// Their type.
    pub fn dtype(&self) -> DType {
        match self {
            Elements::F32(_) => DType::F32,
            Elements::F64(_) => DType::F64,
            Elements::I64(_) => DType::I64,
            Elements::I32(_) => DType::I32,
            Elements::I8(_) => DType::I8,
            Elements::U8(_) => DType::U8,
            Elements::Bool(_) => DType::Bool,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Elements::F32(v) => v.len(),
            Elements::F64(v) => v.len(),
            Elements::I64(v) => v.len(),
            Elements::I32(v) => v.len(),
            Elements::I8(v) => v.len(),
            Elements::U8(v) => v.len(),
            Elements::Bool(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `count` of them.
    ///
    /// # Panics
    /// Where there are fewer.
    pub fn first(&self, count: usize) -> Self {
        match self {
            Elements::F32(v) => Elements::F32(v[..count].to_vec()),
            Elements::F64(v) => Elements::F64(v[..count].to_vec()),
            Elements::I64(v) => Elements::I64(v[..count].to_vec()),
            Elements::I32(v) => Elements::I32(v[..count].to_vec()),
            Elements::I8(v) => Elements::I8(v[..count].to_vec()),
            Elements::U8(v) => Elements::U8(v[..count].to_vec()),
            Elements::Bool(v) => Elements::Bool(v[..count].to_vec()),
        }
    }

    /// Adds others behind them.
    ///
    /// # Panics
    /// Where those are of another type.
    pub fn append(&mut self, other: Self) {
        match (self, other) {
            (Elements::F32(v), Elements::F32(other)) => v.extend(other),
            (Elements::F64(v), Elements::F64(other)) => v.extend(other),
            (Elements::I64(v), Elements::I64(other)) => v.extend(other),
            (Elements::I32(v), Elements::I32(other)) => v.extend(other),
            (Elements::I8(v), Elements::I8(other)) => v.extend(other),
            (Elements::U8(v), Elements::U8(other)) => v.extend(other),
            (Elements::Bool(v), Elements::Bool(other)) => v.extend(other),
            (one, other) => panic!("elements of type {} and {} in one list", one.dtype(), other.dtype()),
        }
    }

    /// The elements, if they are f32.
    pub fn into_f32(self) -> Option<Vec<f32>> {
        if let Elements::F32(v) = self { Some(v) } else { None }
    }

    /// The nearest f64 to each.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Elements::F32(v) => v.iter().map(|&v| v.into()).collect(),
            Elements::F64(v) => v.clone(),
            Elements::I64(v) => v.iter().map(|&v| v as f64).collect(),
            Elements::I32(v) => v.iter().map(|&v| v.into()).collect(),
            Elements::I8(v) => v.iter().map(|&v| v.into()).collect(),
            Elements::U8(v) => v.iter().map(|&v| v.into()).collect(),
            Elements::Bool(v) => v.iter().map(|&v| f64::from(u8::from(v))).collect(),
        }
    }

    /// The elements, if each is a whole number between the bounds of i64.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        match self {
            Elements::I64(v) => Some(v.clone()),
            Elements::F32(_)
            | Elements::F64(_)
            | Elements::I32(_)
            | Elements::I8(_)
            | Elements::U8(_)
            | Elements::Bool(_) => {
                let whole = |v: f64| (v.fract() == 0.0 && v.abs() < 2f64.powi(63)).then_some(v as i64);
                self.to_f64().into_iter().map(whole).collect()
            }
        }
    }

    /// Elements of a type, which are the numbers given: rounded to floats; integers must be within the type's range.
    pub fn from_f64(dtype: DType, numbers: &[f64]) -> Self {
        let each = numbers.iter();
        match dtype {
            DType::F32 => Elements::F32(each.map(|&v| v as f32).collect()),
            DType::F64 => Elements::F64(numbers.to_vec()),
            DType::I64 => Elements::I64(each.map(|&v| v as i64).collect()),
            DType::I32 => Elements::I32(each.map(|&v| v as i32).collect()),
            DType::I8 => Elements::I8(each.map(|&v| v as i8).collect()),
            DType::U8 => Elements::U8(each.map(|&v| v as u8).collect()),
            DType::Bool => Elements::Bool(each.map(|&v| v != 0.0).collect()),
        }
    }
}
