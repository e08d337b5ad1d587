//! Pickles, read as data: a stack machine of the opcodes that state dicts are made of, which calls nothing.
//!
//! Opcodes, their arguments and their effects are those of Python's `pickletools`, protocols 2 to 5. What a pickle may
//! ask for by name is the list in [`Global`]; all else is an error before anything is made of it. Values refer to one
//! another by number, so nothing here recurses, and every opcode adds a bounded number of bytes.

use std::collections::HashMap;

use kiln_rt::safetensors::{Dtype, MAX_RANK};

use super::super::Malformed;

/// The most opcodes that are read. A tensor of a state dict takes about 40.
pub(super) const MAX_OPCODES: usize = 1_000_000;

/// What a pickle holds.
pub(super) struct Pickle<'a> {
    /// The value as a whole.
    pub(super) root: Value<'a>,
    objects: Vec<Object<'a>>,
}

/// A value. Containers are numbers of objects, which may hold one another in circles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value<'a> {
    /// Plain data that no tensor depends on: `None`, numbers with a fraction, long integers, bytes.
    Other,
    Bool(bool),
    Int(i64),
    Str(&'a str),
    Global(Global),
    Object(usize),
}

/// What a pickle may ask for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`, and `_rebuild_tensor` before it.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// `torch.FloatStorage` and its kin.
    Storage(Dtype),
}

#[derive(Debug)]
enum Object<'a> {
    /// Lists, tuples and sets.
    Items(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor<'a>>),
}

/// Elements of a type that lie elsewhere under a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    /// The elements under the key.
    pub(super) len: usize,
    /// The first of them that belongs to this storage, and how many do.
    pub(super) view: (usize, usize),
}

/// A tensor over a storage; offset and strides count elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl<'a> Pickle<'a> {
    /// The entries of a dict, in order; those of other values are none.
    pub(super) fn entries(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.object(value)? {
            Object::Dict(entries) => Some(entries),
            Object::Items(_) | Object::Storage(_) | Object::Tensor(_) => None,
        }
    }

    /// The items of a list, a tuple or a set.
    pub(super) fn items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.object(value)? {
            Object::Items(items) => Some(items),
            Object::Dict(_) | Object::Storage(_) | Object::Tensor(_) => None,
        }
    }

    /// A tensor.
    pub(super) fn tensor(&self, value: Value<'a>) -> Option<&Tensor<'a>> {
        match self.object(value)? {
            Object::Tensor(tensor) => Some(tensor),
            Object::Items(_) | Object::Dict(_) | Object::Storage(_) => None,
        }
    }

    fn storage(&self, value: Value<'a>) -> Option<&Storage<'a>> {
        match self.object(value)? {
            Object::Storage(storage) => Some(storage),
            Object::Items(_) | Object::Dict(_) | Object::Tensor(_) => None,
        }
    }

    /// All storages that were named.
    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(&**storage),
            Object::Items(_) | Object::Dict(_) | Object::Tensor(_) => None,
        })
    }

    fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(id) => Some(&self.objects[id]),
            Value::Other | Value::Bool(_) | Value::Int(_) | Value::Str(_) | Value::Global(_) => None,
        }
    }
}

/// Reads the pickle at the start of `bytes`, and gives what lies behind it. `place` says where it is, and `position` at
/// which byte of that it starts.
///
/// # Errors
/// What is not a pickle, or not one of a state dict, with its place.
pub(super) fn read<'a>(bytes: &'a [u8], place: &str, position: usize) -> Result<(Pickle<'a>, &'a [u8]), Malformed> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
        pickle: Pickle { root: Value::Other, objects: Vec::new() },
    };
    for _ in 0..MAX_OPCODES {
        let at = machine.at;
        let wrong = |message: String| Malformed::new(format!("{place}, byte {}: {message}", position + at));
        let opcode = *machine.take(1).map_err(wrong)?.first().unwrap_or(&0);
        if opcode == b'.' {
            machine.pickle.root = machine.pop().map_err(wrong)?;
            return Ok((machine.pickle, &bytes[machine.at..]));
        }
        machine.step(opcode).map_err(wrong)?;
    }
    Err(Malformed::new(format!("{place}: the pickle has more than {MAX_OPCODES} opcodes")))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// The heights of the stack at which marks stand.
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
    /// Entries that were copied from remembered lists: the one thing of which an opcode can make many.
    copied: usize,
    pickle: Pickle<'a>,
}

impl<'a> Machine<'a> {
    /// Carries out an opcode other than STOP.
    fn step(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            // PROTO
            0x80 => {
                let protocol = self.unsigned(1)?;
                if !(2..=5).contains(&protocol) {
                    return Err(format!("protocol {protocol} of pickles is not one of 2 to 5"));
                }
            }
            // FRAME: its length is for readers that read ahead.
            0x95 => _ = self.take(8)?,
            b'(' => self.marks.push(self.stack.len()),
            // POP, POP_MARK
            b'0' => _ = self.pop()?,
            b'1' => _ = self.marked()?,
            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.stack.push(Value::Other),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            // BININT, BININT1, BININT2, LONG1, LONG4
            b'J' => {
                let bits = self.unsigned(4)? as u32;
                self.stack.push(Value::Int(i64::from(bits.cast_signed())));
            }
            b'K' => self.small_int(1)?,
            b'M' => self.small_int(2)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            // BINFLOAT
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Other);
            }
            // BINSTRING, SHORT_BINSTRING, BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
            b'T' | b'X' => self.string(4)?,
            b'U' | 0x8c => self.string(1)?,
            0x8d => self.string(8)?,
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' => self.opaque(4)?,
            b'C' => self.opaque(1)?,
            0x8e | 0x96 => self.opaque(8)?,
            // EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET
            b']' | b')' | 0x8f => self.push(Object::Items(Vec::new())),
            // EMPTY_DICT
            b'}' => self.push(Object::Dict(Vec::new())),
            // TUPLE, LIST, FROZENSET
            b't' | b'l' | 0x91 => {
                let items = self.marked()?;
                self.push(Object::Items(items));
            }
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            // APPEND, APPENDS, ADDITEMS
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.marked()?;
                self.extend_list(items)?;
            }
            // SETITEM, SETITEMS, DICT
            b's' => {
                let items = self.top(2)?;
                self.extend_dict(items)?;
            }
            b'u' => {
                let items = self.marked()?;
                self.extend_dict(items)?;
            }
            b'd' => {
                let items = self.marked()?;
                self.push(Object::Dict(Vec::new()));
                self.extend_dict(items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            0x94 => {
                let top = self.peek()?;
                self.memo.insert(self.memo.len(), top);
            }
            // BINGET, LONG_BINGET
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(global(module, name)?));
            }
            0x93 => {
                let names = self.top(2)?;
                let [Value::Str(module), Value::Str(name)] = names[..] else {
                    return Err("STACK_GLOBAL has no two strings".to_owned());
                };
                self.stack.push(Value::Global(global(module, name)?));
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.persistent(id)?;
                self.push(Object::Storage(Box::new(storage)));
            }
            b'R' => {
                let call = self.top(2)?;
                self.reduce(call[0], call[1])?;
            }
            // BUILD: an OrderedDict's attributes, which is where PyTorch keeps the versions of modules.
            b'b' => {
                self.pop()?;
                let built = self.peek()?;
                if self.pickle.entries(built).is_none() {
                    return Err("BUILD sets attributes of what is not a dict".to_owned());
                }
            }
            other => {
                return Err(match refused(other) {
                    Some(name) => format!("opcode {name} has no place in a state dict"),
                    None => format!("{other:#04x} is no opcode of pickles"),
                });
            }
        }
        Ok(())
    }

    /// The next bytes.
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| {
            let left = rest.len();
            if left == 0 {
                "the pickle is cut".to_owned()
            } else {
                format!("the pickle is cut: {count} bytes, {left} left")
            }
        })?;
        self.at += count;
        Ok(taken)
    }

    /// An unsigned number of up to 8 bytes, little endian.
    fn unsigned(&mut self, width: usize) -> Result<u64, String> {
        let mut word = [0; 8];
        word[..width].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(word))
    }

    /// A number of bytes, and so many.
    fn counted(&mut self, width: usize) -> Result<&'a [u8], String> {
        let length = self.unsigned(width)?;
        self.take(usize::try_from(length).map_err(|_| format!("the pickle is cut: {length} bytes"))?)
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("a name without an end")?;
        self.at += length + 1;
        text(&rest[..length])
    }

    fn small_int(&mut self, width: usize) -> Result<(), String> {
        let value = self.unsigned(width)?;
        self.stack.push(Value::Int(value.cast_signed()));
        Ok(())
    }

    /// A two's complement number of any length; beyond 64 bits it is kept as other data.
    fn long(&mut self, width: usize) -> Result<(), String> {
        let bytes = self.counted(width)?;
        let value = match bytes {
            [] => Value::Int(0),
            &[.., last] if bytes.len() <= 8 => {
                let mut word = [if last < 128 { 0 } else { 255 }; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(word))
            }
            _ => Value::Other,
        };
        self.stack.push(value);
        Ok(())
    }

    fn string(&mut self, width: usize) -> Result<(), String> {
        let text = text(self.counted(width)?)?;
        self.stack.push(Value::Str(text));
        Ok(())
    }

    fn opaque(&mut self, width: usize) -> Result<(), String> {
        self.counted(width)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(Value::Object(self.pickle.objects.len()));
        self.pickle.objects.push(object);
    }

    /// The height below which the stack is closed by a mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn peek(&self) -> Result<Value<'a>, String> {
        self.stack[self.floor()..].last().copied().ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        let top = self.peek()?;
        self.stack.pop();
        Ok(top)
    }

    /// The topmost values, taken off.
    fn top(&mut self, count: usize) -> Result<Vec<Value<'a>>, String> {
        if self.stack.len() - self.floor() < count {
            return Err(format!("the stack has no {count} values"));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    /// The values above the last mark, taken off with it.
    fn marked(&mut self) -> Result<Vec<Value<'a>>, String> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.drain(mark..).collect())
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let items = self.top(count)?;
        self.push(Object::Items(items));
        Ok(())
    }

    fn extend_list(&mut self, more: Vec<Value<'a>>) -> Result<(), String> {
        if let Value::Object(id) = self.peek()?
            && let Object::Items(items) = &mut self.pickle.objects[id]
        {
            items.extend(more);
            return Ok(());
        }
        Err("an item is added to what is not a list".to_owned())
    }

    fn extend_dict(&mut self, more: Vec<Value<'a>>) -> Result<(), String> {
        if !more.len().is_multiple_of(2) {
            return Err("a key without a value".to_owned());
        }
        if let Value::Object(id) = self.peek()?
            && let Object::Dict(entries) = &mut self.pickle.objects[id]
        {
            entries.extend(more.chunks_exact(2).map(|entry| (entry[0], entry[1])));
            return Ok(());
        }
        Err("an entry is added to what is not a dict".to_owned())
    }

    fn put(&mut self, width: usize) -> Result<(), String> {
        let (index, top) = (self.unsigned(width)?, self.peek()?);
        self.memo.insert(index as usize, top);
        Ok(())
    }

    fn get(&mut self, width: usize) -> Result<(), String> {
        let index = self.unsigned(width)?;
        let value = self.memo.get(&(index as usize)).copied();
        self.stack.push(value.ok_or_else(|| format!("nothing is remembered as {index}"))?);
        Ok(())
    }

    /// A persistent id: `("storage", type, key, device, elements)`, in the legacy format followed by `None` or
    /// `(key, offset, elements)` of a view.
    fn persistent(&self, id: Value<'a>) -> Result<Storage<'a>, String> {
        let parts = self.pickle.items(id).ok_or("a persistent id is no tuple")?;
        let (Some(Value::Str("storage")), Some(Value::Global(Global::Storage(dtype))), Some(Value::Str(key))) =
            (parts.first(), parts.get(1), parts.get(2))
        else {
            return Err(match parts.first() {
                Some(Value::Str("module")) => "the file holds the source of a module, not a state dict".to_owned(),
                _ => "a persistent id is not of a storage".to_owned(),
            });
        };
        let size = |value: Option<&Value<'a>>| match value {
            Some(Value::Int(size)) => usize::try_from(*size).map_err(|_| format!("a storage of {size} elements")),
            _ => Err("a storage without a number of elements".to_owned()),
        };
        let len = size(parts.get(4))?;
        let view = match parts.get(5) {
            None | Some(Value::Other) => (0, len),
            Some(&view) => {
                let view = self.pickle.items(view).ok_or("a view of a storage is no tuple")?;
                (size(view.get(1))?, size(view.get(2))?)
            }
        };
        match view.0.checked_add(view.1) {
            Some(end) if end <= len => Ok(Storage { key, dtype: *dtype, len, view }),
            _ => Err(format!("a view of storage {} reaches beyond its {len} elements", shown(key))),
        }
    }

    /// What a call gives, for the few functions that there are.
    fn reduce(&mut self, function: Value<'a>, arguments: Value<'a>) -> Result<(), String> {
        let Value::Global(function) = function else { return Err("a call of what is no function".to_owned()) };
        let arguments = self.pickle.items(arguments).ok_or("a call without a tuple of arguments")?;
        match (function, arguments) {
            (Global::OrderedDict, []) => self.push(Object::Dict(Vec::new())),
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
            (Global::RebuildParameter, &[data, ..]) if self.pickle.tensor(data).is_some() => self.stack.push(data),
            (Global::Storage(_), _) => return Err("a storage is made by a call".to_owned()),
            (Global::OrderedDict | Global::RebuildTensor | Global::RebuildParameter, _) => {
                return Err("a call has other arguments than those of a state dict".to_owned());
            }
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
                Ok(Tensor { storage, offset, shape, strides })
            }
            _ => Err(format!("a tensor whose offset, shape and strides are not up to {MAX_RANK} whole numbers")),
        }
    }
}

/// As much of a name as fits into a message.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a string is not UTF-8".to_owned())
}

/// What a pickle asks for.
fn global(module: &str, name: &str) -> Result<Global, String> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
        ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
        ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::Storage(Dtype::BF16),
        ("torch", "LongStorage") => Global::Storage(Dtype::I64),
        ("torch", "IntStorage") => Global::Storage(Dtype::I32),
        ("torch", "ShortStorage") => Global::Storage(Dtype::I16),
        ("torch", "CharStorage") => Global::Storage(Dtype::I8),
        ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
        ("torch", "BoolStorage") => Global::Storage(Dtype::Bool),
        _ => {
            return Err(format!(
                "the pickle asks for `{}.{}`, which is no part of a state dict, and kiln runs nothing; \
                 `torch.save(model.state_dict(), FILE)` writes one",
                shown(module),
                shown(name)
            ));
        }
    })
}

/// The names of opcodes that are known and not read.
fn refused(opcode: u8) -> Option<&'static str> {
    Some(match opcode {
        b'2' => "DUP",
        b'F' => "FLOAT",
        b'I' => "INT",
        b'L' => "LONG",
        b'P' => "PERSID",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'g' => "GET",
        b'i' => "INST",
        b'o' => "OBJ",
        b'p' => "PUT",
        0x81 => "NEWOBJ",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x92 => "NEWOBJ_EX",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return None,
    })
}
