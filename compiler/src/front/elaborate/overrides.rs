//! Net parameters that are set from outside: `--set width=0.5`.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Error, Errors, Sources};
use crate::front::parse::parse_value;
use crate::front::spec::{Expr, ExprKind, Piece, UnaryOp};
use crate::front::value::{List, Value};

/// Values for parameters of a net, in place of their defaults; for an input, its shape.
#[derive(Clone, Debug, Default)]
pub struct Overrides(pub(super) BTreeMap<String, Value>);

impl Overrides {
    /// Sets one parameter from `name=value`; the value is a number, `true`, `false`, a string with or without quotes, or an
    /// array of such: `image=[1, 3, 97, 131]`.
    ///
    /// # Errors
    /// Where it is not of that form.
    pub fn set(&mut self, setting: &str) -> Result<(), Error> {
        let mut sources = Sources::default();
        let file = sources.add("setting", Some(setting));
        let Some((name, text)) = setting.split_once('=') else {
            let mistake = Diagnostic::error(Default::default(), format!("`{setting}` is not of the form `name=value`"));
            return Err(Errors::new(vec![mistake], sources).into());
        };
        let value = parse_value(text.trim(), &sources, file)?;
        let Some(value) = literal(&value) else {
            let message = format!("`{}` is not a number, a boolean, a string or an array of them", text.trim());
            return Err(Errors::new(vec![Diagnostic::error(Default::default(), message)], sources).into());
        };
        self.0.insert(name.trim().to_owned(), value);
        Ok(())
    }
}

/// The value of an expression without names and operators. A name alone is a string.
fn literal(expr: &Expr) -> Option<Value> {
    Some(match &expr.kind {
        ExprKind::Int(value) => Value::Int(*value),
        ExprKind::Float(value) => Value::Float(*value),
        ExprKind::Bool(value) => Value::Bool(*value),
        ExprKind::Name(name) => Value::Str(name.as_str().into()),
        ExprKind::Str(pieces) => match &pieces[..] {
            [] => Value::Str("".into()),
            [Piece::Text(text)] => Value::Str(text.as_str().into()),
            _ => return None,
        },
        ExprKind::Unary(UnaryOp::Neg, operand) => match literal(operand)? {
            Value::Int(value) => Value::Int(value.checked_neg()?),
            Value::Float(value) => Value::Float(-value),
            _ => return None,
        },
        ExprKind::Array(items) => List::of(false, items.iter().map(literal).collect::<Option<_>>()?)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_numbers_words_and_arrays() {
        let mut overrides = Overrides::default();
        for setting in ["width=0.5", "n = -3", "kind=fast", "name=\"a b\"", "image=[1, 3, 97, 131]", "on=true"] {
            overrides.set(setting).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(overrides.0["width"], Value::Float(0.5));
        assert_eq!(overrides.0["n"], Value::Int(-3));
        assert_eq!(overrides.0["kind"], Value::Str("fast".into()));
        assert_eq!(overrides.0["image"].kind(), "an array");
        for wrong in ["width", "width=", "width=1+1", "a=[1", "a=f(x)"] {
            assert!(overrides.set(wrong).is_err(), "{wrong}");
        }
    }
}
