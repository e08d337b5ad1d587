//! The opcodes of a pickle, and the stack that they work on.

use std::collections::HashMap;

use super::super::super::Malformed;
use super::{Class, Instance, Object, Pickle, Value};
use crate::diag::counted;

/// The most opcodes that are read. A tensor of a state dict takes about 40.
pub(in super::super) const MAX_OPCODES: usize = 1_000_000;

/// Reads the pickle at the start of `bytes`, and gives what lies behind it. `place` says where it is, and `position` at
/// which byte of that it starts.
///
/// # Errors
/// What is not a pickle, or not one of a state dict, with its place.
pub(in super::super) fn read<'a>(
    bytes: &'a [u8],
    place: &str,
    position: usize,
) -> Result<(Pickle<'a>, &'a [u8]), Malformed> {
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

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(super) stack: Vec<Value<'a>>,
    /// The heights of the stack at which marks stand.
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
    /// Entries that were copied from remembered lists: the one thing of which an opcode can make many.
    pub(super) copied: usize,
    pub(super) pickle: Pickle<'a>,
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
            // POP, POP_MARK, DUP
            b'0' => _ = self.pop()?,
            b'1' => _ = self.marked()?,
            b'2' => {
                let top = self.peek()?;
                self.stack.push(top);
            }
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
                self.named(Class { module, name });
            }
            0x93 => {
                let names = self.top(2)?;
                let [Value::Str(module), Value::Str(name)] = names[..] else {
                    return Err("STACK_GLOBAL has no two strings".to_owned());
                };
                self.named(Class { module, name });
            }
            b'Q' => {
                let id = self.pop()?;
                self.persistent(id)?;
            }
            b'R' => {
                let call = self.top(2)?;
                self.reduce(call[0], call[1])?;
            }
            // NEWOBJ, NEWOBJ_EX: a call of a class; the latter has named arguments too.
            0x81 => {
                let call = self.top(2)?;
                self.reduce(call[0], call[1])?;
            }
            0x92 => {
                let call = self.top(3)?;
                self.instance(call[0], vec![call[1], call[2]])?;
            }
            // OBJ, INST: a call whose arguments lie behind the mark.
            b'o' => {
                let mut items = self.marked()?.into_iter();
                let class = items.next().ok_or("a call without a function")?;
                self.instance(class, items.collect())?;
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let arguments = self.marked()?;
                self.named(Class { module, name });
                let class = self.pop()?;
                self.instance(class, arguments)?;
            }
            // BUILD: attributes. An OrderedDict's is where PyTorch keeps the versions of modules.
            b'b' => {
                let state = self.pop()?;
                self.build(state)?;
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
                format!("the pickle is cut: {}, {left} left", counted(count, "byte"))
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
        std::str::from_utf8(&rest[..length]).map_err(|_| "a name is not UTF-8".to_owned())
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

    /// A string. Python 2 keeps bytes in strings, and Python 3 halves of characters, which are no text to anybody else.
    fn string(&mut self, width: usize) -> Result<(), String> {
        let text = std::str::from_utf8(self.counted(width)?);
        self.stack.push(text.map_or(Value::Other, Value::Str));
        Ok(())
    }

    fn opaque(&mut self, width: usize) -> Result<(), String> {
        self.counted(width)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    pub(super) fn push(&mut self, object: Object<'a>) {
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
            return Err(format!("the stack has no {}", counted(count, "value")));
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
        let list = self.peek()?;
        match self.object_mut(list) {
            Some(Object::Items(items)) => items.extend(more),
            Some(Object::Instance(instance)) => instance.parts.extend(more),
            Some(Object::Dict(_) | Object::Storage(_) | Object::Tensor(_) | Object::Class(_)) | None => {
                return Err("an item is added to what is not a list".to_owned());
            }
        }
        Ok(())
    }

    fn extend_dict(&mut self, more: Vec<Value<'a>>) -> Result<(), String> {
        if !more.len().is_multiple_of(2) {
            return Err("a key without a value".to_owned());
        }
        let dict = self.peek()?;
        let entries = match self.object_mut(dict) {
            Some(Object::Dict(entries)) => entries,
            Some(Object::Instance(instance)) => &mut instance.entries,
            Some(Object::Items(_) | Object::Storage(_) | Object::Tensor(_) | Object::Class(_)) | None => {
                return Err("an entry is added to what is not a dict".to_owned());
            }
        };
        entries.extend(more.chunks_exact(2).map(|entry| (entry[0], entry[1])));
        Ok(())
    }

    /// Gives the topmost value its state.
    fn build(&mut self, state: Value<'a>) -> Result<(), String> {
        let built = self.peek()?;
        match self.object_mut(built) {
            Some(Object::Instance(instance)) => instance.parts.push(state),
            // Attributes of a dict or of a tensor: no tensor by name is among them.
            Some(Object::Dict(_) | Object::Tensor(_)) => {}
            Some(Object::Items(_) | Object::Storage(_) | Object::Class(_)) | None => {
                return Err("BUILD sets attributes of what has none".to_owned());
            }
        }
        Ok(())
    }

    /// What a call of `class` would make.
    pub(super) fn instance(&mut self, class: Value<'a>, parts: Vec<Value<'a>>) -> Result<(), String> {
        match self.object_mut(class) {
            Some(Object::Class(_) | Object::Instance(_)) => {}
            Some(Object::Items(_) | Object::Dict(_) | Object::Storage(_) | Object::Tensor(_)) | None => {
                return Err("a call of what is no function".to_owned());
            }
        }
        self.push(Object::Instance(Box::new(Instance { class, parts, entries: Vec::new() })));
        Ok(())
    }

    fn object_mut(&mut self, value: Value<'a>) -> Option<&mut Object<'a>> {
        match value {
            Value::Object(id) => Some(&mut self.pickle.objects[id]),
            Value::Other | Value::Bool(_) | Value::Int(_) | Value::Str(_) | Value::Global(_) => None,
        }
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
}

/// The names of opcodes that are known and not read.
fn refused(opcode: u8) -> Option<&'static str> {
    Some(match opcode {
        b'F' => "FLOAT",
        b'I' => "INT",
        b'L' => "LONG",
        b'P' => "PERSID",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'g' => "GET",
        b'p' => "PUT",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return None,
    })
}
