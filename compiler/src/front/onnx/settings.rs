//! What a user says of the extents that a file leaves open.

use std::collections::BTreeMap;

use super::proto::tensor_shape_proto::dimension;
use super::proto::{ValueInfoProto, tensor_proto::DataType, type_proto};
use super::tensor;
use crate::diag::{Diagnostic, Error, Span};
use crate::graph::TensorType;

/// Extents for the dimensions of inputs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    dimensions: BTreeMap<String, usize>,
    shapes: BTreeMap<String, Vec<usize>>,
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
        let parsed = setting.rsplit_once('=').and_then(|(name, text)| {
            let shape: Option<Vec<usize>> = text.split(['x', ',']).map(extent).collect();
            Some((name, shape?))
        });
        let (name, shape) = parsed.ok_or_else(|| {
            unplaced(format!("`--input-shape {setting}` is no input's shape"))
                .help("write `--input-shape NAME=1x3x224x224`")
        })?;
        self.shapes.insert(name.trim().to_owned(), shape);
        Ok(())
    }

    /// The types of inputs.
    ///
    /// # Errors
    /// Open extents, with what to type; types that no network has; settings that set nothing.
    pub(super) fn types(&self, inputs: &[ValueInfoProto]) -> Result<Vec<TensorType>, Vec<Diagnostic>> {
        let mut mistakes = Vec::new();
        let mut used: Vec<&str> = Vec::new();
        let mut types = Vec::new();
        for input in inputs {
            match self.type_of(input, &mut used) {
                Ok(ty) => types.push(ty),
                Err(mistake) => mistakes.push(*mistake),
            }
        }
        let names = || inputs.iter().map(|input| format!("`{}`", input.name())).collect::<Vec<_>>().join(", ");
        for name in self.shapes.keys().filter(|name| !inputs.iter().any(|input| input.name() == name.as_str())) {
            mistakes.push(unplaced(format!("the model has no input `{name}`; it has {}", names())));
        }
        for name in self.dimensions.keys().filter(|name| !used.contains(&name.as_str())) {
            mistakes.push(unplaced(format!("no input has a dimension named `{name}`")));
        }
        if mistakes.is_empty() { Ok(types) } else { Err(mistakes) }
    }

    fn type_of<'a>(&self, input: &'a ValueInfoProto, used: &mut Vec<&'a str>) -> Result<TensorType, Box<Diagnostic>> {
        let name = input.name();
        let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|ty| ty.value.as_ref()) else {
            return Err(unplaced(format!("the input `{name}` is no tensor")).into());
        };
        let element = DataType::try_from(tensor.elem_type()).unwrap_or(DataType::Undefined);
        let dtype = match element {
            // A half has no memory of its own in a network.
            DataType::Float16 | DataType::Bfloat16 => Err(String::new()),
            other => tensor::dtype(other).and_then(tensor::element_type),
        };
        let Ok(dtype) = dtype else {
            return Err(unplaced(format!(
                "the input `{name}` is of type {}, which kiln has no inputs of",
                element.as_str_name()
            ))
            .into());
        };
        let of_shape = |shape: Vec<usize>| TensorType { dtype, shape };
        let given = self.shapes.get(name);
        let Some(shape) = &tensor.shape else {
            return given.cloned().map(of_shape).ok_or_else(|| {
                unplaced(format!("the file does not say the shape of its input `{name}`"))
                    .help(format!("say it: `--input-shape {name}=1x3x224x224`"))
                    .into()
            });
        };
        // What the file says of each extent: a number, or a name that may be empty.
        let said: Vec<Result<usize, &str>> = shape
            .dim
            .iter()
            .map(|dim| match &dim.value {
                Some(dimension::Value::DimValue(extent)) if *extent > 0 => Ok(*extent as usize),
                Some(dimension::Value::DimParam(name)) => Err(name.as_str()),
                Some(dimension::Value::DimValue(_)) | None => Err(""),
            })
            .collect();
        used.extend(said.iter().filter_map(|said| said.err()));
        if let Some(given) = given {
            let fits = given.len() == said.len()
                && given.iter().zip(&said).all(|(given, said)| said.is_err() || said.is_ok_and(|said| said == *given));
            return if fits {
                Ok(of_shape(given.clone()))
            } else {
                Err(unplaced(format!("the input `{name}` is {} in the file, not {}", shown(&said), joined(given)))
                    .into())
            };
        }
        let extents: Option<Vec<usize>> = said
            .iter()
            .map(|said| match said {
                Ok(extent) => Some(*extent),
                Err(name) => self.dimensions.get(*name).copied(),
            })
            .collect();
        extents.map(of_shape).ok_or_else(|| {
            let mut open: Vec<&str> = said.iter().filter_map(|said| said.err()).collect();
            open.retain(|name| !self.dimensions.contains_key(*name));
            open.dedup();
            // A name says which dimension is meant where it is one, and is not shared by different ones.
            let named = open.iter().all(|name| name.chars().any(char::is_alphanumeric) && !name.contains(' '));
            let settings: Vec<String> = open.iter().map(|name| format!("--set {name}=1")).collect();
            let example: Vec<usize> =
                said.iter().enumerate().map(|(i, said)| said.unwrap_or([1, 3, 224, 224][i.min(3)])).collect();
            let shape = format!("`--input-shape {name}={}`", joined(&example));
            let help = if named { format!("`{}`, or {shape}", settings.join(" ")) } else { shape };
            unplaced(format!("the input `{name}` is {} in the file, and kiln compiles for one shape", shown(&said)))
                .help(format!("say which, for example {help}"))
                .into()
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
