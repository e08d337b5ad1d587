//! What a user says of a model's inputs: extents that the file leaves open, and values.

use std::collections::{BTreeMap, BTreeSet};

use kiln_rt::safetensors::Dtype;

use super::proto::tensor_shape_proto::dimension;
use super::proto::{TensorShapeProto, ValueInfoProto, tensor_proto::DataType, type_proto};
use super::tensor::{self, Tensor};
use crate::diag::{Diagnostic, Error, Span};
use crate::graph::{DType, Elements, TensorType};

/// Extents and values of inputs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    dimensions: BTreeMap<String, usize>,
    shapes: BTreeMap<String, Vec<usize>>,
    values: Vec<Value>,
}

/// The value of an input.
#[derive(Clone, Debug)]
struct Value {
    /// None for that of the only input.
    name: Option<String>,
    shape: Vec<usize>,
    elements: Elements,
    /// Whether the input is a constant even where no node needs that.
    is_fixed: bool,
}

/// What becomes of a model's inputs.
pub(super) struct Inputs {
    pub(super) given: Vec<Given>,
    /// Extents that were not said, a sentence each.
    pub(super) notes: Vec<String>,
}

/// What becomes of an input.
pub(super) enum Given {
    /// An input of the network.
    Open(TensorType),
    /// A constant.
    Constant(Tensor),
}

impl Settings {
    /// Sets a dimension that the file gives a name, by `N=1`.
    ///
    /// # Errors
    /// Where it is not of that form.
    pub fn set(&mut self, setting: &str) -> Result<(), Error> {
        let parsed = setting.split_once('=').and_then(|(name, text)| Some((name, extent(text)?)));
        let (name, extent) = parsed.ok_or_else(|| {
            unplaced(format!("`--set {setting}` does not set a dimension")).help("of an ONNX file, write `--set N=1`")
        })?;
        self.dimensions.insert(name.trim().to_owned(), extent);
        Ok(())
    }

    /// Sets the shape of an input, by `NAME=1x3x224x224`.
    ///
    /// # Errors
    /// Where it is not of that form.
    pub fn set_shape(&mut self, setting: &str) -> Result<(), Error> {
        // A number has no extents, and a tensor without elements has an extent 0.
        let parsed = setting.rsplit_once('=').and_then(|(name, text)| {
            if text.trim().is_empty() {
                return Some((name, Vec::new()));
            }
            let shape: Option<Vec<usize>> = text.split(['x', ',']).map(|extent| extent.trim().parse().ok()).collect();
            Some((name, shape?))
        });
        let (name, shape) = parsed.ok_or_else(|| {
            unplaced(format!("`--input-shape {setting}` is no input's shape"))
                .help("write `--input-shape NAME=1x3x224x224`")
        })?;
        self.shapes.insert(name.trim().to_owned(), shape);
        Ok(())
    }

    /// Makes an input a constant of the network, whatever value is offered besides.
    pub fn fix(&mut self, input: impl Into<String>, shape: Vec<usize>, elements: Elements) {
        self.values.push(Value { name: Some(input.into()), shape, elements, is_fixed: true });
    }

    /// Says what an input, or the only one, will be given. It stays an input, of this shape where the file leaves that
    /// open; but where a node needs it when the network is compiled, as `Reshape` does its shape, or where no network has
    /// such inputs, it becomes a constant.
    pub fn offer(&mut self, input: Option<&str>, shape: Vec<usize>, elements: Elements) {
        self.values.push(Value { name: input.map(str::to_owned), shape, elements, is_fixed: false });
    }

    /// The value of an input, one of these.
    fn value(&self, input: &str, inputs: &[ValueInfoProto]) -> Option<&Value> {
        let names = |value: &&Value| value.name.as_deref().map_or(inputs.len() == 1, |name| name == input);
        let mut values = self.values.iter().filter(names);
        let first = values.clone().next();
        values.find(|value| value.is_fixed).or(first)
    }

    /// Whether the value of an input, one of these, is known.
    pub(super) fn offers(&self, input: &str, inputs: &[ValueInfoProto]) -> bool {
        self.value(input, inputs).is_some()
    }

    /// Whether an input is a constant because somebody said so.
    pub(super) fn fixes(&self, input: &str) -> bool {
        self.values.iter().any(|value| value.is_fixed && value.name.as_deref() == Some(input))
    }

    /// What becomes of inputs, of which some are constants for the sake of nodes; `unread` are others that nothing reads.
    ///
    /// # Errors
    /// Open extents, with what to type; types that no network has; values that do not fit; settings that set nothing.
    pub(super) fn inputs(
        &self,
        inputs: &[ValueInfoProto],
        unread: &[String],
        constants: &BTreeSet<String>,
    ) -> Result<Inputs, Vec<Diagnostic>> {
        let mut mistakes = Vec::new();
        let mut open = OpenExtents { dimensions: self.dimensions.clone(), ..OpenExtents::default() };
        let mut given = Vec::new();
        for input in inputs {
            open.learn(
                input,
                self.shapes.get(input.name()).or(self.value(input.name(), inputs).map(|value| &value.shape)),
            );
        }
        open.batch = inputs.first().map(|input| (input.name(), extents(input).unwrap_or_default()));
        for input in inputs {
            let value = self.value(input.name(), inputs);
            match self.given(input, value, constants.contains(input.name()), &mut open) {
                Ok(input) => given.push(input),
                Err(mistake) => mistakes.push(*mistake),
            }
        }
        let names = || match inputs {
            [] => "none".to_owned(),
            inputs => inputs.iter().map(|input| format!("`{}`", input.name())).collect::<Vec<_>>().join(", "),
        };
        let fixed = self.values.iter().filter(|value| value.is_fixed).filter_map(|value| value.name.as_ref());
        let known = |name: &String| inputs.iter().any(|input| input.name() == name.as_str()) || unread.contains(name);
        for name in self.shapes.keys().chain(fixed).filter(|&name| !known(name)) {
            mistakes.push(unplaced(format!("the model has no input `{name}`; it has {}", names())));
        }
        for name in self.dimensions.keys().filter(|name| !open.used.contains(name.as_str())) {
            mistakes.push(unplaced(format!("no input has a dimension named `{name}`")));
        }
        if mistakes.is_empty() { Ok(Inputs { given, notes: open.notes }) } else { Err(mistakes) }
    }

    fn given<'a>(
        &self,
        input: &'a ValueInfoProto,
        value: Option<&Value>,
        is_needed: bool,
        open: &mut OpenExtents<'a>,
    ) -> Result<Given, Box<Diagnostic>> {
        let name = input.name();
        let Some(type_proto::Value::TensorType(of)) = input.r#type.as_ref().and_then(|ty| ty.value.as_ref()) else {
            return Err(unplaced(format!("the input `{name}` is no tensor")).into());
        };
        let element = DataType::try_from(of.elem_type()).unwrap_or(DataType::Undefined);
        let stored = tensor::dtype(element);
        // An input of halves is one of f32s, in which they are computed.
        let dtype = stored.clone().and_then(tensor::element_type);
        let shape = self.shape(input, of.shape.as_ref(), value, open)?;
        tensor::check_rank(shape.len()).map_err(|why| unplaced(format!("the input `{name}` cannot be that: {why}")))?;
        match (dtype, stored, value) {
            (dtype, Ok(stored), Some(value)) if value.is_fixed || is_needed || dtype.is_err() || shape.contains(&0) => {
                Ok(Given::Constant(value.tensor(name, stored, shape)?))
            }
            (Ok(dtype), ..) => Ok(Given::Open(TensorType { dtype, shape })),
            (Err(_), ..) => {
                let element = element.as_str_name();
                Err(unplaced(format!("the input `{name}` is of type {element}, which kiln has no inputs of")).into())
            }
        }
    }

    /// The shape of an input of which the file says so much.
    fn shape<'a>(
        &self,
        input: &'a ValueInfoProto,
        shape: Option<&'a TensorShapeProto>,
        value: Option<&Value>,
        open: &mut OpenExtents<'a>,
    ) -> Result<Vec<usize>, Box<Diagnostic>> {
        let name = input.name();
        let given = self.shapes.get(name);
        let Some(said) = shape.map(said) else {
            return given.or(value.map(|value| &value.shape)).cloned().ok_or_else(|| {
                unplaced(format!("the file does not say the shape of its input `{name}`"))
                    .help(format!("say it: `--input-shape {name}=1x3x224x224`"))
                    .into()
            });
        };
        open.used.extend(said.iter().filter_map(|said| said.err()));
        if let Some(given) = given {
            let fits = given.len() == said.len()
                && given.iter().zip(&said).all(|(given, said)| said.is_err() || said.is_ok_and(|said| said == *given));
            return if fits {
                Ok(given.clone())
            } else {
                Err(unplaced(format!("the input `{name}` is {} in the file, not {}", shown(&said), joined(given)))
                    .into())
            };
        }
        let offered = value.map(|value| value.shape.as_slice()).filter(|shape| shape.len() == said.len());
        let found: Vec<Option<usize>> = said
            .iter()
            .enumerate()
            .map(|(axis, said)| match said {
                Ok(extent) => Some(*extent),
                Err(name) => self.dimensions.get(*name).copied().or(offered.map(|shape| shape[axis])),
            })
            .collect();
        let extents: Vec<Option<usize>> =
            (0..said.len()).map(|axis| found[axis].or_else(|| open.extent(input.name(), axis, &said))).collect();
        let whole: Option<Vec<usize>> = extents.iter().copied().collect();
        whole.ok_or_else(|| {
            let asked = (0..said.len()).filter(|&axis| extents[axis].is_none());
            let mut named: Vec<(&str, usize)> =
                asked.map(|axis| (said[axis].err().unwrap_or_default(), axis)).collect();
            named.dedup_by_key(|(name, _)| *name);
            // A name says which dimension is meant where it is one, and is not shared by different ones.
            let is_name = |name: &str| name.chars().any(char::is_alphanumeric) && !name.contains(' ');
            let example =
                |axis: usize| extents[axis].unwrap_or(if said.len() == 4 { [8, 3, 224, 224][axis] } else { 128 });
            let settings: Vec<String> =
                named.iter().map(|&(name, axis)| format!("--set {name}={}", example(axis))).collect();
            let shape = format!("`--input-shape {name}={}`", joined(&(0..said.len()).map(example).collect::<Vec<_>>()));
            let all_named = named.iter().all(|(name, _)| is_name(name));
            let help = if all_named { format!("`{}`, or {shape}", settings.join(" ")) } else { shape };
            unplaced(format!("the input `{name}` is {} in the file, and kiln compiles for one shape", shown(&said)))
                .help(format!("say which, for example {help}"))
                .into()
        })
    }
}

/// Extents that a file leaves open, while they are found.
#[derive(Default)]
struct OpenExtents<'a> {
    /// Those of dimensions with a name.
    dimensions: BTreeMap<String, usize>,
    /// The first input, and what the file says of its extents.
    batch: Option<(&'a str, Vec<Result<usize, &'a str>>)>,
    /// The names of dimensions that inputs have.
    used: BTreeSet<&'a str>,
    notes: Vec<String>,
}

impl<'a> OpenExtents<'a> {
    /// Takes the extents of named dimensions from the shape that an input is given.
    fn learn(&mut self, input: &'a ValueInfoProto, shape: Option<&Vec<usize>>) {
        let (Some(said), Some(shape)) = (extents(input), shape) else { return };
        for (said, &extent) in said.iter().zip(shape).filter(|_| said.len() == shape.len()) {
            if let Err(name) = said
                && !name.is_empty()
            {
                self.dimensions.entry((*name).to_owned()).or_insert(extent);
            }
        }
    }

    /// An open extent: that of others with its name, and 1 for a batch.
    fn extent(&mut self, input: &str, axis: usize, said: &[Result<usize, &'a str>]) -> Option<usize> {
        let name = said[axis].err().unwrap_or_default();
        if let Some(&extent) = self.dimensions.get(name) {
            return Some(extent);
        }
        let (first, of_first) = self.batch.as_ref()?;
        let is_first = axis == 0 && *first == input;
        let shares_name = !name.is_empty() && of_first.first() == Some(&Err(name));
        let is_named = BATCH.contains(&name.to_ascii_lowercase().as_str());
        if !is_first && !shares_name && !is_named {
            return None;
        }
        let note = match name {
            "" => format!("the input `{input}` is {} in the file: its batch is 1", shown(said)),
            name => format!("the dimension `{name}` is taken for the batch, and is 1; `--set {name}=…` sets another"),
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        Some(1)
    }
}

/// Names by which files call the number of samples that are computed at once.
const BATCH: [&str; 5] = ["n", "batch", "batch_size", "batchsize", "batch_dim"];

/// What a file says of each extent: a number, or a name that may be empty.
fn said(shape: &TensorShapeProto) -> Vec<Result<usize, &str>> {
    let mut said = Vec::with_capacity(shape.dim.len());
    for dim in &shape.dim {
        said.push(match &dim.value {
            Some(dimension::Value::DimValue(extent)) if *extent > 0 => Ok(*extent as usize),
            Some(dimension::Value::DimParam(name)) => Err(name.as_str()),
            Some(dimension::Value::DimValue(_)) | None => Err(""),
        });
    }
    said
}

/// Whether crates can have an input: that it is a tensor of elements that kernels read.
pub(super) fn has_kernels(input: &ValueInfoProto) -> bool {
    let Some(type_proto::Value::TensorType(of)) = input.r#type.as_ref().and_then(|ty| ty.value.as_ref()) else {
        return false;
    };
    let element = DataType::try_from(of.elem_type()).unwrap_or(DataType::Undefined);
    match tensor::dtype(element).and_then(tensor::element_type) {
        Ok(DType::F32 | DType::I32 | DType::I8 | DType::U8) => true,
        Ok(DType::F64 | DType::I64 | DType::Bool) | Err(_) => false,
    }
}

/// What a file says of the extents of an input, if that is a tensor.
fn extents(input: &ValueInfoProto) -> Option<Vec<Result<usize, &str>>> {
    let type_proto::Value::TensorType(of) = input.r#type.as_ref()?.value.as_ref()? else { return None };
    of.shape.as_ref().map(said)
}

impl Value {
    /// As a tensor of an input's type and shape.
    fn tensor(&self, name: &str, dtype: Dtype, shape: Vec<usize>) -> Result<Tensor, Box<Diagnostic>> {
        if self.shape != shape || tensor::elements(&shape) != Some(self.elements.len()) {
            let message = format!("the input `{name}` is {shape:?}, and its value {:?}", self.shape);
            return Err(unplaced(message).into());
        }
        let tensor = match (tensor::is_float(dtype), self.elements.to_i64()) {
            (true, _) => Some(Tensor::floats(dtype, shape, &self.elements.to_f64())),
            (false, Some(integers)) => Tensor::integers(dtype, shape, &integers),
            (false, None) => None,
        };
        tensor.ok_or_else(|| {
            let message = format!("the value of the input `{name}` holds numbers that are none of {}", dtype.name());
            unplaced(message).into()
        })
    }
}

/// `[N, 3, ?, 224]`.
fn shown(said: &[Result<usize, &str>]) -> String {
    let each: Vec<String> = said
        .iter()
        .map(|said| match said {
            Ok(extent) => extent.to_string(),
            Err("") => "?".to_owned(),
            Err(name) => (*name).to_owned(),
        })
        .collect();
    format!("[{}]", each.join(", "))
}

/// `1x3x224x224`.
fn joined(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn extent(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|&extent| extent > 0)
}

fn unplaced(message: String) -> Diagnostic {
    Diagnostic::error(Span::NOWHERE, message)
}
