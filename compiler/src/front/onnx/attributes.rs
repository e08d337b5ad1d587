//! A node's attributes, by name and type.

use super::Problem;
use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, NodeProto, TensorProto};

/// The attributes of a node.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a NodeProto);

impl<'a> Attributes<'a> {
    fn find(self, name: &str, kind: AttributeType) -> Result<Option<&'a AttributeProto>, Problem> {
        let Some(found) = self.0.attribute.iter().find(|attribute| attribute.name() == name) else { return Ok(None) };
        // Files of the first version do not say an attribute's type.
        if found.r#type.is_some() && found.r#type() != kind && found.r#type() != AttributeType::Undefined {
            return Err(Problem::new(format!(
                "the attribute `{name}` is of type {}, not {}",
                found.r#type().as_str_name(),
                kind.as_str_name()
            )));
        }
        Ok(Some(found))
    }

    pub(super) fn int(self, name: &str) -> Result<Option<i64>, Problem> {
        Ok(self.find(name, AttributeType::Int)?.map(AttributeProto::i))
    }

    pub(super) fn int_or(self, name: &str, default: i64) -> Result<i64, Problem> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(super) fn ints(self, name: &str) -> Result<Option<&'a [i64]>, Problem> {
        Ok(self.find(name, AttributeType::Ints)?.map(|attribute| attribute.ints.as_slice()))
    }

    pub(super) fn float(self, name: &str) -> Result<Option<f32>, Problem> {
        Ok(self.find(name, AttributeType::Float)?.map(AttributeProto::f))
    }

    pub(super) fn float_or(self, name: &str, default: f32) -> Result<f32, Problem> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    pub(super) fn floats(self, name: &str) -> Result<Option<&'a [f32]>, Problem> {
        Ok(self.find(name, AttributeType::Floats)?.map(|attribute| attribute.floats.as_slice()))
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Problem> {
        let Some(found) = self.find(name, AttributeType::String)? else { return Ok(None) };
        match std::str::from_utf8(found.s.as_deref().unwrap_or_default()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Problem::new(format!("the attribute `{name}` is not UTF-8"))),
        }
    }

    pub(super) fn text_or(self, name: &str, default: &'static str) -> Result<&'a str, Problem> {
        Ok(self.text(name)?.unwrap_or(default))
    }

    pub(super) fn tensor(self, name: &str) -> Result<Option<&'a TensorProto>, Problem> {
        Ok(self.find(name, AttributeType::Tensor)?.and_then(|attribute| attribute.t.as_deref()))
    }
}
