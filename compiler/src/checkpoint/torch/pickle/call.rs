//! What a pickle asks for by name, and what its calls of that would make.

use std::fmt;

use kiln_rt::safetensors::{Dtype, MAX_RANK};

use super::machine::{MAX_OPCODES, Machine};
use super::{Class, Elements, Object, Storage, Tensor, Value, shown};
use crate::diag::counted;

/// What a state dict is made of. Whatever else a pickle asks for by name is a [`Class`], and is never looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `collections.defaultdict`.
    DefaultDict,
    /// `torch._utils._rebuild_tensor_v2`, and `_rebuild_tensor` before it.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v3`, which says the type of the elements.
    RebuildTypedTensor,
    /// `torch._utils._rebuild_parameter`, and `_rebuild_parameter_with_state`.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`: a tensor of a class of its own, or with attributes.
    RebuildFromType,
    /// `torch.FloatStorage` and its kin.
    Storage(Dtype),
    /// Storages of elements that are not read, by name and bytes an element.
    OtherStorage(&'static str, usize),
    /// `torch.storage.UntypedStorage`: bytes.
    UntypedStorage,
    /// `torch.uint16` and its kin.
    Type(Dtype),
    /// `torch.Size`, a tuple.
    Size,
}

impl Global {
    fn find(class: Class<'_>) -> Option<Self> {
        Some(match (class.module, class.name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("collections", "defaultdict") => Self::DefaultDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::RebuildTypedTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::RebuildParameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::BF16),
            ("torch", "LongStorage") => Self::Storage(Dtype::I64),
            ("torch", "IntStorage") => Self::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Self::Storage(Dtype::I16),
            ("torch", "CharStorage") => Self::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Self::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Self::Storage(Dtype::Bool),
            ("torch", "ComplexFloatStorage") => Self::OtherStorage("complex64", 8),
            ("torch", "ComplexDoubleStorage") => Self::OtherStorage("complex128", 16),
            ("torch", "QInt8Storage") => Self::OtherStorage("qint8", 1),
            ("torch", "QUInt8Storage") => Self::OtherStorage("quint8", 1),
            ("torch", "QInt32Storage") => Self::OtherStorage("qint32", 4),
            ("torch.storage", "UntypedStorage") | ("torch", "UntypedStorage") => Self::UntypedStorage,
            ("torch", "Size") => Self::Size,
            ("torch", name) => Self::Type(match name {
                "float64" => Dtype::F64,
                "float32" => Dtype::F32,
                "float16" => Dtype::F16,
                "bfloat16" => Dtype::BF16,
                "int64" => Dtype::I64,
                "int32" => Dtype::I32,
                "int16" => Dtype::I16,
                "int8" => Dtype::I8,
                "uint64" => Dtype::U64,
                "uint32" => Dtype::U32,
                "uint16" => Dtype::U16,
                "uint8" => Dtype::U8,
                "bool" => Dtype::Bool,
                _ => return None,
            }),
            _ => return None,
        })
    }
}

impl fmt::Display for Class<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", shown(self.module), shown(self.name))
    }
}

impl<'a> Machine<'a> {
    /// What a pickle asks for by name.
    pub(super) fn named(&mut self, class: Class<'a>) {
        match Global::find(class) {
            Some(global) => self.stack.push(Value::Global(global)),
            None => self.push(Object::Class(class)),
        }
    }

    /// A persistent id: `("storage", type, key, device, elements)`, in the legacy format followed by `None` or
    /// `(key, offset, elements)` of a view; or there `("module", class, file, source)`, which is the class.
    pub(super) fn persistent(&mut self, id: Value<'a>) -> Result<(), String> {
        let parts = self.pickle.items(id).ok_or("a persistent id is no tuple")?;
        let (elements, size) = match (parts.first(), parts.get(1)) {
            (Some(Value::Str("module")), Some(&class)) => {
                self.stack.push(class);
                return Ok(());
            }
            (Some(Value::Str("storage")), Some(Value::Global(Global::Storage(dtype)))) => {
                (Elements::Read(*dtype), dtype.size())
            }
            (Some(Value::Str("storage")), Some(Value::Global(Global::OtherStorage(name, size)))) => {
                (Elements::Unread(name), *size)
            }
            (Some(Value::Str("storage")), Some(Value::Global(Global::UntypedStorage))) => {
                (Elements::Read(Dtype::U8), 1)
            }
            (Some(Value::Str("storage")), Some(&other)) => {
                return Err(match self.pickle.object(other) {
                    Some(Object::Class(class)) => format!("a storage of type `{class}`, which kiln does not know"),
                    _ => "a storage without a type".to_owned(),
                });
            }
            _ => return Err("a persistent id is not of a storage".to_owned()),
        };
        let Some(&Value::Str(key)) = parts.get(2) else { return Err("a storage without a key".to_owned()) };
        let count = |value: Option<&Value<'a>>| match value {
            Some(Value::Int(count)) => usize::try_from(*count).map_err(|_| format!("a storage of {count} elements")),
            _ => Err("a storage without a number of elements".to_owned()),
        };
        let len = count(parts.get(4))?;
        let view = match parts.get(5) {
            None | Some(Value::Other) => (0, len),
            Some(&view) => {
                let view = self.pickle.items(view).ok_or("a view of a storage is no tuple")?;
                (count(view.get(1))?, count(view.get(2))?)
            }
        };
        if view.0.checked_add(view.1).is_none_or(|end| end > len) {
            return Err(format!("a view of storage {} reaches beyond its {}", shown(key), counted(len, "element")));
        }
        self.push(Object::Storage(Box::new(Storage { key, elements, size, len, view })));
        Ok(())
    }

    /// What a call gives.
    pub(super) fn reduce(&mut self, function: Value<'a>, arguments: Value<'a>) -> Result<(), String> {
        let Value::Global(function) = function else { return self.instance(function, vec![arguments]) };
        let arguments = self.pickle.items(arguments).ok_or("a call without a tuple of arguments")?;
        match (function, arguments) {
            (Global::OrderedDict, []) | (Global::DefaultDict, [] | [_]) => self.push(Object::Dict(Vec::new())),
            // Python 2 hands the entries over as a list of pairs.
            (Global::OrderedDict, &[pairs]) => {
                let pair = |&pair| match self.pickle.items(pair) {
                    Some(&[key, value]) => Some((key, value)),
                    _ => None,
                };
                let pairs = self.pickle.items(pairs).ok_or("an OrderedDict is made of no list")?;
                self.copied += pairs.len();
                if self.copied > MAX_OPCODES {
                    return Err(format!("more than {MAX_OPCODES} entries of dicts"));
                }
                let pairs: Option<_> = pairs.iter().map(pair).collect();
                self.push(Object::Dict(pairs.ok_or("an OrderedDict is made of no list of pairs")?));
            }
            (Global::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                let tensor = self.tensor(storage, offset, shape, strides)?;
                self.push(Object::Tensor(Box::new(tensor)));
            }
            (Global::RebuildTypedTensor, &[storage, offset, shape, strides, _, _, of, ..]) => {
                let tensor = self.tensor(storage, offset, shape, strides)?;
                let elements = match (of, self.pickle.object(of)) {
                    (Value::Global(Global::Type(dtype)), _) => Elements::Read(dtype),
                    (_, Some(Object::Class(class))) => Elements::Unread(class.name),
                    _ => return Err("a tensor without a type".to_owned()),
                };
                self.push(Object::Tensor(Box::new(Tensor { elements, ..tensor })));
            }
            (Global::Size, &[extents @ Value::Object(_)]) => self.stack.push(extents),
            // The data is a tensor, or made of tensors in a way that is not read.
            (Global::RebuildParameter, &[data @ Value::Object(_), ..]) => self.stack.push(data),
            (
                Global::RebuildFromType,
                &[Value::Global(of @ (Global::RebuildTensor | Global::RebuildTypedTensor)), _, given, ..],
            ) => {
                self.reduce(Value::Global(of), given)?;
            }
            (Global::RebuildFromType, &[of @ Value::Object(_), _, given, ..]) => self.instance(of, vec![given])?,
            (Global::Storage(_) | Global::OtherStorage(..) | Global::UntypedStorage, _) => {
                return Err("a storage is made by a call".to_owned());
            }
            (Global::Type(_), _) => return Err("a call of a type of elements".to_owned()),
            (
                Global::OrderedDict
                | Global::DefaultDict
                | Global::RebuildTensor
                | Global::RebuildTypedTensor
                | Global::RebuildParameter
                | Global::RebuildFromType
                | Global::Size,
                _,
            ) => return Err("a call has other arguments than those of a state dict".to_owned()),
        }
        Ok(())
    }

    fn tensor(
        &self,
        storage: Value<'a>,
        offset: Value<'a>,
        shape: Value<'a>,
        strides: Value<'a>,
    ) -> Result<Tensor<'a>, String> {
        let storage = *self.pickle.storage(storage).ok_or("a tensor without a storage")?;
        let number = |value: &Value<'a>| match value {
            Value::Int(number) => usize::try_from(*number).ok(),
            Value::Other | Value::Bool(_) | Value::Str(_) | Value::Global(_) | Value::Object(_) => None,
        };
        let numbers = |value| -> Option<Vec<usize>> {
            let items = self.pickle.items(value).filter(|items| items.len() <= MAX_RANK)?;
            items.iter().map(number).collect()
        };
        match (number(&offset), numbers(shape), numbers(strides)) {
            (Some(offset), Some(shape), Some(strides)) if shape.len() == strides.len() => {
                Ok(Tensor { storage, elements: storage.elements, offset, shape, strides })
            }
            _ => Err(format!("a tensor whose offset, shape and strides are not up to {MAX_RANK} whole numbers")),
        }
    }
}
