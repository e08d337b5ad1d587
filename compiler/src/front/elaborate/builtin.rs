//! Built-in functions: numbers, lists, and what is known of a tensor's shape.

use super::call::Given;
use super::{Elaborator, Value};
use crate::diag::{Diagnostic, Span, counted};
use crate::front::value::List;

/// A built-in function: what it takes and what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    /// The least of its arguments.
    Min,
    /// The largest of its arguments.
    Max,
    /// Without the sign.
    Abs,
    /// The next whole number below, a float.
    Floor,
    /// The next whole number above, a float.
    Ceil,
    /// The nearest whole number, halves away from zero, a float.
    Round,
    /// The square root, a float.
    Sqrt,
    /// The natural logarithm, a float.
    Ln,
    /// The first number to the power of the second, a float.
    Pow,
    /// The integer of a number, without what follows the point.
    Int,
    /// The float of a number.
    Float,
    /// Items of a list, or characters of a string.
    Len,
    /// The nearest multiple of 8, not under 90 % of x: the rule of MobileNet's reference code (`_make_divisible`).
    Round8,
    /// Pairs of the items of two lists, as long as the shorter one.
    Zip,
    /// Pairs of an index and an item.
    Enumerate,
    /// The extent of axis 1.
    Channels,
    /// The extent of axis 2 of a feature map.
    Height,
    /// The extent of axis 3 of a feature map.
    Width,
    /// All extents, an array.
    Shape,
}

const TABLE: &[(&str, Builtin)] = &[
    ("min", Builtin::Min),
    ("max", Builtin::Max),
    ("abs", Builtin::Abs),
    ("floor", Builtin::Floor),
    ("ceil", Builtin::Ceil),
    ("round", Builtin::Round),
    ("sqrt", Builtin::Sqrt),
    ("ln", Builtin::Ln),
    ("pow", Builtin::Pow),
    ("int", Builtin::Int),
    ("float", Builtin::Float),
    ("len", Builtin::Len),
    ("round8", Builtin::Round8),
    ("zip", Builtin::Zip),
    ("enumerate", Builtin::Enumerate),
    ("channels", Builtin::Channels),
    ("height", Builtin::Height),
    ("width", Builtin::Width),
    ("shape", Builtin::Shape),
];

/// The built-in function of a name.
pub(super) fn find(name: &str) -> Option<Builtin> {
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, builtin)| *builtin)
}

/// The names of all built-in functions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

impl<'a> Elaborator<'a> {
    pub(super) fn builtin(&mut self, builtin: Builtin, given: Vec<Given<'a>>, place: Span) -> Value {
        let name = TABLE.iter().find(|(_, known)| *known == builtin).map_or("", |(name, _)| name);
        if let Some(named) = given.iter().find_map(|given| given.name) {
            return self.report(Diagnostic::error(named.span, format!("{name} has no parameter `{}`", named.name)));
        }
        if given.iter().any(|given| given.value == Value::Poison) {
            return Value::Poison;
        }
        let wanted = match builtin {
            Builtin::Min | Builtin::Max => given.len().max(1),
            Builtin::Zip | Builtin::Pow => 2,
            _ => 1,
        };
        if given.len() != wanted {
            let message = format!("{name} takes {}, not {}", counted(wanted, "argument"), given.len());
            return self.report(Diagnostic::error(place, message));
        }
        match builtin {
            Builtin::Min | Builtin::Max => self.extreme(builtin, &given),
            Builtin::Abs | Builtin::Floor | Builtin::Ceil | Builtin::Round | Builtin::Sqrt | Builtin::Ln => {
                self.rounded(builtin, name, &given[0])
            }
            Builtin::Pow => match (self.number(name, &given[0]), self.number(name, &given[1])) {
                (Some(base), Some(exponent)) if base.powf(exponent).is_finite() => Value::Float(base.powf(exponent)),
                (Some(base), Some(exponent)) => {
                    let message = format!("{base:?} to the power of {exponent:?} is not a finite number");
                    self.report(Diagnostic::error(place, message))
                }
                _ => Value::Poison,
            },
            Builtin::Int => match self.number(name, &given[0]) {
                Some(value) => self.integer(value.trunc(), &given[0].value, given[0].span),
                None => Value::Poison,
            },
            Builtin::Float => self.number(name, &given[0]).map_or(Value::Poison, Value::Float),
            Builtin::Round8 => match self.number(name, &given[0]) {
                Some(x) => {
                    let nearest = (((x + 4.0).trunc() / 8.0).floor() * 8.0).max(8.0);
                    let value = if nearest < 0.9 * x { nearest + 8.0 } else { nearest };
                    self.integer(value, &Value::Float(value), given[0].span)
                }
                None => Value::Poison,
            },
            Builtin::Len => match &given[0].value {
                Value::List(list) => Value::Int(list.items.len() as i64),
                Value::Str(text) => Value::Int(text.chars().count() as i64),
                other => {
                    let message = format!("len takes a list or a string, not {}", other.kind());
                    self.report(Diagnostic::error(given[0].span, message))
                }
            },
            Builtin::Zip => match (&given[0].value, &given[1].value) {
                (Value::List(a), Value::List(b)) => {
                    let pairs = a.items.iter().zip(&b.items).map(|(a, b)| List::of(true, vec![a.clone(), b.clone()]));
                    self.pairs(pairs.collect(), place)
                }
                (a, b) => {
                    let message = format!("zip takes two lists, not {} and {}", a.kind(), b.kind());
                    self.report(Diagnostic::error(place, message))
                }
            },
            Builtin::Enumerate => match &given[0].value {
                Value::List(list) => {
                    let items = list.items.iter().enumerate();
                    let pairs = items.map(|(i, item)| List::of(true, vec![Value::Int(i as i64), item.clone()]));
                    self.pairs(pairs.collect(), place)
                }
                other => {
                    let message = format!("enumerate takes a list, not {}", other.kind());
                    self.report(Diagnostic::error(given[0].span, message))
                }
            },
            Builtin::Channels | Builtin::Height | Builtin::Width | Builtin::Shape => {
                self.extent(builtin, name, &given[0], place)
            }
        }
    }

    fn pairs(&mut self, pairs: Option<Vec<Value>>, place: Span) -> Value {
        match pairs {
            Some(pairs) => self.make_list(false, pairs, place),
            None => self.report(Diagnostic::error(place, format!("a list nests more than {} deep", List::MAX_DEPTH))),
        }
    }

    fn extreme(&mut self, builtin: Builtin, given: &[Given<'a>]) -> Value {
        let mut best = Value::Unit;
        let mut float = false;
        for given in given {
            let Some(value) = self.number(if builtin == Builtin::Min { "min" } else { "max" }, given) else {
                return Value::Poison;
            };
            float |= matches!(given.value, Value::Float(_));
            let better = match best.number() {
                None => true,
                Some(best) => {
                    if builtin == Builtin::Min {
                        value < best
                    } else {
                        value > best
                    }
                }
            };
            if better {
                best = given.value.clone();
            }
        }
        match best {
            Value::Int(value) if float => Value::Float(value as f64),
            best => best,
        }
    }

    fn rounded(&mut self, builtin: Builtin, name: &str, given: &Given<'a>) -> Value {
        if let (Value::Int(value), Builtin::Abs | Builtin::Floor | Builtin::Ceil | Builtin::Round) =
            (&given.value, builtin)
        {
            return match builtin {
                Builtin::Abs => match value.checked_abs() {
                    Some(value) => Value::Int(value),
                    None => self.report(Diagnostic::error(given.span, "this integer does not fit 64 bits")),
                },
                _ => Value::Int(*value),
            };
        }
        let Some(x) = self.number(name, given) else { return Value::Poison };
        match builtin {
            Builtin::Abs => Value::Float(x.abs()),
            Builtin::Floor => Value::Float(x.floor()),
            Builtin::Ceil => Value::Float(x.ceil()),
            Builtin::Sqrt if x < 0.0 => {
                self.report(Diagnostic::error(given.span, format!("there is no square root of {x:?}")))
            }
            Builtin::Sqrt => Value::Float(x.sqrt()),
            Builtin::Ln if x <= 0.0 => {
                self.report(Diagnostic::error(given.span, format!("there is no logarithm of {x:?}")))
            }
            Builtin::Ln => Value::Float(x.ln()),
            _ => Value::Float(x.round()),
        }
    }

    fn number(&mut self, name: &str, given: &Given<'a>) -> Option<f64> {
        let number = given.value.number();
        if number.is_none() {
            let message = format!("{name} takes a number, not {}", given.value.kind());
            self.report(Diagnostic::error(given.span, message));
        }
        number
    }

    /// An integer of a whole float.
    fn integer(&mut self, whole: f64, of: &Value, span: Span) -> Value {
        // The largest float below 2^63; floats beyond would be clamped.
        if whole.abs() <= 9_223_372_036_854_774_784.0 {
            Value::Int(whole as i64)
        } else {
            self.report(Diagnostic::error(span, format!("{of} does not fit 64 bits")))
        }
    }

    fn extent(&mut self, builtin: Builtin, name: &str, given: &Given<'a>, place: Span) -> Value {
        let Value::Tensor(node) = given.value else {
            let message = format!("`{name}` is asked of a tensor, not of {}", given.value.kind());
            return self.report(Diagnostic::error(place, message));
        };
        let shape = self.graph.node(node).ty.shape.clone();
        let axis = match builtin {
            Builtin::Height if shape.len() == 4 => 2,
            Builtin::Width if shape.len() == 4 => 3,
            Builtin::Channels if shape.len() >= 2 => 1,
            Builtin::Shape => {
                let extents = shape.iter().map(|&extent| Value::Int(extent as i64)).collect();
                return self.make_list(false, extents, place);
            }
            _ => {
                let message = format!("a tensor of shape {shape:?} has no {name}");
                return self.report(Diagnostic::error(place, message));
            }
        };
        Value::Int(shape[axis] as i64)
    }
}
