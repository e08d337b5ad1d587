//! Pickles, read as data: a stack machine of the opcodes that `torch.save` writes, which calls nothing.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`machine`] | the opcodes |
//! | [`call`] | what a pickle asks for by name, and what its calls of that would make |
//!
//! Opcodes, their arguments and their effects are those of Python's `pickletools`, protocols 2 to 5. A call of what is no
//! part of a state dict makes an [`Object::Instance`], which keeps what the call was given and nothing else. Values refer
//! to one another by number, so nothing here recurses, and every opcode adds a bounded number of bytes.

mod call;
mod machine;

use kiln_rt::safetensors::Dtype;

pub(super) use call::Global;
#[cfg(test)]
pub(super) use machine::MAX_OPCODES;
pub(super) use machine::read;

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

#[derive(Debug)]
enum Object<'a> {
    /// Lists, tuples and sets.
    Items(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor<'a>>),
    /// A class or a function by its name, which is no part of a state dict.
    Class(Class<'a>),
    Instance(Box<Instance<'a>>),
}

/// The name of a class or a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
}

/// What a call would make, as it is given: nothing was called.
#[derive(Debug)]
struct Instance<'a> {
    /// Of what it is, a class or an instance itself.
    class: Value<'a>,
    /// The arguments, its state, and the items that are added to it.
    parts: Vec<Value<'a>>,
    /// The entries that are added to it, as to a dict.
    entries: Vec<(Value<'a>, Value<'a>)>,
}

/// The elements of a storage or a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Elements<'a> {
    Read(Dtype),
    /// Of a type that is not read, by its name in PyTorch.
    Unread(&'a str),
}

/// Elements of a type that lie elsewhere under a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) elements: Elements<'a>,
    /// Bytes an element.
    pub(super) size: usize,
    /// The elements under the key.
    pub(super) len: usize,
    /// The first of them that belongs to this storage, and how many do.
    pub(super) view: (usize, usize),
}

/// A tensor over a storage; offset and strides count elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) elements: Elements<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Under which names an instance of `torch.nn.Module` keeps the dicts of its tensors and of its parts.
const MODULE: [&str; 3] = ["_parameters", "_buffers", "_modules"];

impl<'a> Pickle<'a> {
    /// The entries of a dict, in order, or of what entries are added to as to a dict; those of other values are none.
    pub(super) fn entries(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.object(value)? {
            Object::Dict(entries) => Some(entries),
            Object::Instance(instance) if !instance.entries.is_empty() => Some(&instance.entries),
            Object::Instance(_) | Object::Items(_) | Object::Storage(_) | Object::Tensor(_) | Object::Class(_) => None,
        }
    }

    /// The dicts of a module's tensors and of its parts.
    pub(super) fn module(&self, value: Value<'a>) -> Vec<Value<'a>> {
        let Some(Object::Instance(instance)) = self.object(value) else { return Vec::new() };
        let states = instance.parts.iter().filter_map(|&state| match self.object(state)? {
            Object::Dict(entries) => Some(entries),
            Object::Instance(_) | Object::Items(_) | Object::Storage(_) | Object::Tensor(_) | Object::Class(_) => None,
        });
        let of_module = |&(key, value): &(Value<'a>, Value<'a>)| match key {
            Value::Str(key) if MODULE.contains(&key) && self.entries(value).is_some() => Some(value),
            _ => None,
        };
        states.flatten().filter_map(of_module).collect()
    }

    /// The items of a list, a tuple or a set.
    pub(super) fn items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.object(value)? {
            Object::Items(items) => Some(items),
            Object::Dict(_) | Object::Storage(_) | Object::Tensor(_) | Object::Class(_) | Object::Instance(_) => None,
        }
    }

    /// A tensor.
    pub(super) fn tensor(&self, value: Value<'a>) -> Option<&Tensor<'a>> {
        match self.object(value)? {
            Object::Tensor(tensor) => Some(tensor),
            Object::Items(_) | Object::Dict(_) | Object::Storage(_) | Object::Class(_) | Object::Instance(_) => None,
        }
    }

    /// What an instance is of.
    pub(super) fn class(&self, value: Value<'a>) -> Option<Class<'a>> {
        let Object::Instance(instance) = self.object(value)? else { return None };
        match self.object(instance.class)? {
            Object::Class(class) => Some(*class),
            // What an instance makes has no name of its own.
            Object::Instance(_) | Object::Items(_) | Object::Dict(_) | Object::Storage(_) | Object::Tensor(_) => None,
        }
    }

    fn storage(&self, value: Value<'a>) -> Option<&Storage<'a>> {
        match self.object(value)? {
            Object::Storage(storage) => Some(storage),
            Object::Items(_) | Object::Dict(_) | Object::Tensor(_) | Object::Class(_) | Object::Instance(_) => None,
        }
    }

    /// All storages that were named.
    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(&**storage),
            Object::Items(_) | Object::Dict(_) | Object::Tensor(_) | Object::Class(_) | Object::Instance(_) => None,
        })
    }

    /// The values in which a tensor is, at any depth.
    pub(super) fn holders(&self) -> Holders {
        let mut within: Vec<Vec<usize>> = vec![Vec::new(); self.objects.len()];
        let mut found = Vec::new();
        let mut holds = vec![false; self.objects.len()];
        for (outer, object) in self.objects.iter().enumerate() {
            let mut hold = |value: &Value<'a>| {
                if let Value::Object(inner) = value {
                    within[*inner].push(outer);
                }
            };
            match object {
                Object::Items(items) => items.iter().for_each(hold),
                Object::Dict(entries) => entries.iter().for_each(|(_, value)| hold(value)),
                Object::Instance(instance) => {
                    instance.parts.iter().chain([&instance.class]).for_each(&mut hold);
                    instance.entries.iter().for_each(|(_, value)| hold(value));
                }
                Object::Tensor(_) => {
                    holds[outer] = true;
                    found.push(outer);
                }
                Object::Storage(_) | Object::Class(_) => {}
            }
        }
        while let Some(inner) = found.pop() {
            for &outer in &within[inner] {
                if !std::mem::replace(&mut holds[outer], true) {
                    found.push(outer);
                }
            }
        }
        Holders(holds)
    }

    fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(id) => Some(&self.objects[id]),
            Value::Other | Value::Bool(_) | Value::Int(_) | Value::Str(_) | Value::Global(_) => None,
        }
    }
}

/// In which values a tensor is.
pub(super) struct Holders(Vec<bool>);

impl Holders {
    pub(super) fn holds(&self, value: Value<'_>) -> bool {
        matches!(value, Value::Object(id) if self.0[id])
    }
}

/// As much of a name as fits into a message.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}
