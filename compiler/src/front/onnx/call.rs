//! A node of the model, as those that convert it see it.

use super::Problem;
use super::attributes::Attributes;
use super::builder::{Known, Value};
use super::geometry::{self, Stride};
use super::model::operator_name;
use super::proto::NodeProto;
use crate::diag::{Span, counted};

/// The most integers of an input that says how an operator works.
const INTEGERS: usize = 1 << 16;

/// A node of the model with what its inputs are.
pub(super) struct Call<'a> {
    pub(super) inputs: Vec<Option<Value>>,
    /// The shape of the first input, if it is given.
    pub(super) shape: Option<Vec<usize>>,
    /// Of each result, whether anything reads it.
    pub(super) is_read: Vec<bool>,
    /// What messages call it.
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) node: &'a NodeProto,
}

impl<'a> Call<'a> {
    /// The same call of other inputs.
    pub(super) fn with_inputs(&self, inputs: Vec<Option<Value>>) -> Call<'a> {
        let Call { shape, is_read, name, .. } = self;
        let (shape, is_read, name) = (shape.clone(), is_read.clone(), name.clone());
        Call { inputs, shape, is_read, name, span: self.span, node: self.node }
    }
}

impl Call<'_> {
    /// What its node says of it.
    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes(self.node)
    }

    /// Whether anything reads one of its results.
    pub(super) fn reads(&self, result: usize) -> bool {
        self.is_read.get(result).copied().unwrap_or(false)
    }

    /// The operator's name.
    pub(super) fn operator(&self) -> String {
        operator_name(self.node)
    }

    /// An input, if it is given.
    pub(super) fn input(&self, input: usize) -> Option<&Value> {
        self.inputs.get(input).and_then(Option::as_ref)
    }

    /// An input that must be given.
    pub(super) fn required(&self, input: usize) -> Result<&Value, Problem> {
        self.input(input).ok_or_else(|| Problem::new(format!("it has no input {}", input + 1)))
    }

    /// An input that must be known, if it is given.
    pub(super) fn known(&self, input: usize) -> Result<Option<&Known>, Problem> {
        match self.input(input) {
            None => Ok(None),
            Some(Value::Known(known)) => Ok(Some(known)),
            Some(Value::Node(node)) => {
                let message = format!(
                    "its input {}, `{}`, depends on the network's inputs, and kiln needs it when it compiles",
                    input + 1,
                    self.node.input.get(input).map_or("", String::as_str)
                );
                Err(Problem { needs: vec![*node], ..Problem::new(message) })
            }
        }
    }

    /// That kiln has an operator, or the form of it that `what` says, for known inputs alone.
    pub(super) fn of_known_alone(&self, what: &str) -> Problem {
        let nodes = self.inputs.iter().flatten().filter_map(|value| match value {
            Value::Node(node) => Some(*node),
            Value::Known(_) => None,
        });
        let message = format!("kiln computes {what} of values alone that do not depend on the network's inputs");
        Problem { needs: nodes.collect(), ..Problem::new(message) }
    }

    /// An input that must be given and known.
    pub(super) fn required_known(&self, input: usize) -> Result<&Known, Problem> {
        self.required(input)?;
        self.known(input)?.ok_or_else(|| Problem::new(format!("it has no input {}", input + 1)))
    }

    /// The integers of an input that must be known, if it is given.
    pub(super) fn known_integers(&self, input: usize) -> Result<Option<Vec<i64>>, Problem> {
        let Some(known) = self.known(input)? else { return Ok(None) };
        // A shape, axes, pads, sizes of parts: a few numbers.
        if known.tensor.len() > INTEGERS {
            return Err(Problem::new(format!(
                "its input {} `{}` holds more than {INTEGERS} numbers",
                input + 1,
                known.name
            )));
        }
        let integers = known.tensor.to_integers();
        integers
            .map(Some)
            .ok_or_else(|| Problem::new(format!("its input {} `{}` holds no integers", input + 1, known.name)))
    }

    /// Integers that are an attribute in some versions of an operator and an input in others.
    pub(super) fn integers(&self, attribute: &str, input: usize) -> Result<Option<Vec<i64>>, Problem> {
        match self.attributes().ints(attribute)? {
            Some(ints) => Ok(Some(ints.to_vec())),
            None => self.known_integers(input),
        }
    }
}

impl Call<'_> {
    /// What a `Slice` takes of a value of this shape. Before version 10 it says so by attributes.
    pub(super) fn strides(&self, shape: &[usize]) -> Result<Vec<Stride>, Problem> {
        let missing = || Problem::new("it does not say where it starts and ends");
        let (starts, ends) =
            (self.integers("starts", 1)?.ok_or_else(missing)?, self.integers("ends", 2)?.ok_or_else(missing)?);
        let (axes, steps) = (self.integers("axes", 3)?, self.known_integers(4)?);
        geometry::sliced(shape, &starts, &ends, axes.as_deref(), steps.as_deref())
    }

    /// How a `Split` divides an extent.
    pub(super) fn parts(&self, extent: usize) -> Result<Vec<usize>, Problem> {
        let sizes = self.integers("split", 1)?;
        let results = self.node.output.len();
        let parts = geometry::parts(extent, sizes.as_deref(), results)?;
        if parts.len() < results {
            return Err(Problem::new(format!("it has {results} results and makes {}", counted(parts.len(), "part"))));
        }
        Ok(parts)
    }
}
