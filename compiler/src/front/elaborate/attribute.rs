//! The arguments of an op, each read as what its attribute needs.

use super::call::Given;
use super::ops::{OpEntry, Preset};
use super::{Elaborator, Value};
use crate::diag::{Diagnostic, Span};
use crate::front::value::List;
use crate::graph::{NodeId, Pads};

/// The largest integer attribute: products of two still fit 64 bits.
const MAX_ATTRIBUTE: i64 = i32::MAX as i64;

/// The arguments of one call of an op. Each reader below returns nothing after a mistake, which has then been reported.
pub(super) struct Args<'a> {
    pub(super) op: &'static OpEntry,
    /// Where the call stands.
    pub(super) place: Span,
    /// The name that the call gives.
    pub(super) name: Option<String>,
    given: Vec<Option<Given<'a>>>,
}

impl<'a> Args<'a> {
    /// The value of a parameter and its place, or nothing if it is left out and has no default.
    fn get(&self, param: &str) -> Option<(Value, Span)> {
        let index = self.op.params.iter().position(|p| p.name == param)?;
        if let Some(given) = &self.given[index] {
            return Some((given.value.clone(), given.span));
        }
        let value = match self.op.params[index].default {
            Preset::Required | Preset::Unset => return None,
            Preset::Int(value) => Value::Int(value),
            Preset::Float(value) => Value::Float(value),
            Preset::Bool(value) => Value::Bool(value),
            Preset::Str(value) => Value::Str(value.into()),
        };
        Some((value, self.place))
    }

    /// Whether the call gives a parameter that has no default.
    pub(super) fn has(&self, param: &str) -> bool {
        self.get(param).is_some()
    }

    /// Whether a parameter is a list.
    pub(super) fn is_list(&self, param: &str) -> bool {
        matches!(self.get(param), Some((Value::List(_), _)))
    }

    /// The variable that an argument is.
    pub(super) fn written(&self, param: &str) -> Option<&'a str> {
        let index = self.op.params.iter().position(|p| p.name == param)?;
        self.given[index].as_ref()?.variable
    }
}

impl<'a> Elaborator<'a> {
    /// Calls an op.
    pub(super) fn op(&mut self, op: &'static OpEntry, given: Vec<Given<'a>>, place: Span) -> Value {
        let (name, given) = self.take_name(given);
        let params: Vec<&str> = op.params.iter().map(|param| param.name).collect();
        let Some(given) = self.bind(op.name, &params, given, place, None) else { return Value::Poison };
        for (param, given) in op.params.iter().zip(&given) {
            if given.is_none() && param.default == Preset::Required {
                let message = format!("`{}` is missing in this call of {}", param.name, op.name);
                return self.report(Diagnostic::error(place, message).help(format!("the op is {}", op.signature())));
            }
        }
        if given.iter().flatten().any(|given| given.value == Value::Poison) {
            return Value::Poison;
        }
        let args = Args { op, place, name, given };
        (op.build)(self, &args).unwrap_or(Value::Poison)
    }

    fn wrong(&mut self, args: &Args<'a>, param: &str, what: &str, value: &Value, span: Span) -> Diagnostic {
        let is = match value {
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => value.to_string(),
            Value::Str(text) => format!("\"{text}\""),
            other => other.kind().to_owned(),
        };
        Diagnostic::error(span, format!("`{param}` of {} must be {what}, this is {is}", args.op.name))
    }

    pub(super) fn tensor(&mut self, args: &Args<'a>, param: &str) -> Option<NodeId> {
        match args.get(param)? {
            (Value::Tensor(node), _) => Some(node),
            (value, span) => {
                let mistake = self.wrong(args, param, "a tensor", &value, span);
                self.report(mistake);
                None
            }
        }
    }

    /// A tensor, or a number as a constant.
    pub(super) fn tensor_or_number(&mut self, args: &Args<'a>, param: &str) -> Option<NodeId> {
        match args.get(param)? {
            (value @ (Value::Tensor(_) | Value::Int(_) | Value::Float(_)), span) => self.operand(&value, span),
            (value, span) => {
                let mistake = self.wrong(args, param, "a tensor or a number", &value, span);
                self.report(mistake);
                None
            }
        }
    }

    pub(super) fn tensors_of(&mut self, args: &Args<'a>, param: &str) -> Option<Vec<NodeId>> {
        let (value, span) = args.get(param)?;
        let Value::List(list) = &value else {
            let mistake = self.wrong(args, param, "an array of tensors", &value, span);
            self.report(mistake);
            return None;
        };
        let mut nodes = Vec::new();
        for item in &list.items {
            match item {
                Value::Tensor(node) => nodes.push(*node),
                Value::Poison => return None,
                other => {
                    let mistake = self.wrong(args, param, "an array of tensors", other, span);
                    self.report(mistake);
                    return None;
                }
            }
        }
        Some(nodes)
    }

    /// An integer of a range.
    fn integer_in(&mut self, args: &Args<'a>, param: &str, value: &Value, span: Span, least: i64) -> Option<i64> {
        let what = if least == 1 { "a positive integer" } else { "an integer from 0" };
        match value {
            Value::Int(n) if (least..=MAX_ATTRIBUTE).contains(n) => Some(*n),
            Value::Poison => None,
            Value::Int(n) if *n > MAX_ATTRIBUTE => {
                let message = format!("`{param}` of {} is too large: {n}", args.op.name);
                self.report(Diagnostic::error(span, message));
                None
            }
            other => {
                let mut mistake = self.wrong(args, param, what, other, span);
                if let Value::Float(_) = other {
                    mistake.help = Some("`int(…)` makes an integer of a float, `round8(…)` a multiple of 8".into());
                }
                self.report(mistake);
                None
            }
        }
    }

    /// An integer from 1.
    pub(super) fn count(&mut self, args: &Args<'a>, param: &str) -> Option<usize> {
        let (value, span) = args.get(param)?;
        self.integer_in(args, param, &value, span, 1).map(|n| n as usize)
    }

    /// An integer from 0.
    pub(super) fn natural(&mut self, args: &Args<'a>, param: &str) -> Option<usize> {
        let (value, span) = args.get(param)?;
        self.integer_in(args, param, &value, span, 0).map(|n| n as usize)
    }

    /// Rows and columns: one integer for both, or a pair.
    pub(super) fn pair(&mut self, args: &Args<'a>, param: &str) -> Option<[usize; 2]> {
        let (value, span) = args.get(param)?;
        match &value {
            Value::List(list) if list.items.len() == 2 => {
                let rows = self.integer_in(args, param, &list.items[0], span, 1);
                let columns = self.integer_in(args, param, &list.items[1], span, 1);
                Some([rows? as usize, columns? as usize])
            }
            Value::List(_) => {
                let mistake = self.wrong(args, param, "an integer or a pair of rows and columns", &value, span);
                self.report(mistake);
                None
            }
            value => self.integer_in(args, param, value, span, 1).map(|n| [n as usize; 2]),
        }
    }

    /// Padding: one integer for all sides, a pair of rows and columns, four sides (top, left, bottom, right), or "same", which
    /// `same` works out.
    pub(super) fn pads(&mut self, args: &Args<'a>, param: &str, same: impl FnOnce() -> Pads) -> Option<Pads> {
        let (value, span) = args.get(param)?;
        let sides: &[Value] = match &value {
            Value::Str(text) if **text == *"same" => return Some(same()),
            Value::Str(text) if **text == *"valid" => return Some(Pads::default()),
            Value::List(list) => &list.items,
            value => std::slice::from_ref(value),
        };
        let what = "an integer, a pair (rows, columns), four sides (top, left, bottom, right) or \"same\"";
        if !matches!(sides.len(), 1 | 2 | 4) || sides.iter().any(|side| matches!(side, Value::Str(_))) {
            let mistake = self.wrong(args, param, what, &value, span);
            self.report(mistake);
            return None;
        }
        let mut read = Vec::new();
        for side in sides {
            read.push(self.integer_in(args, param, side, span, 0)? as usize);
        }
        Some(match read[..] {
            [all] => Pads::symmetric(all, all),
            [rows, columns] => Pads::symmetric(rows, columns),
            [top, left, bottom, right] => Pads { top, left, bottom, right },
            _ => return None,
        })
    }

    pub(super) fn float(&mut self, args: &Args<'a>, param: &str) -> Option<f64> {
        let (value, span) = args.get(param)?;
        let number = value.number();
        if number.is_none() {
            let mistake = self.wrong(args, param, "a number", &value, span);
            self.report(mistake);
        }
        number
    }

    /// A number, or an array of numbers.
    pub(super) fn floats(&mut self, args: &Args<'a>, param: &str) -> Option<Vec<f64>> {
        let (value, span) = args.get(param)?;
        let numbers: Option<Vec<f64>> = match &value {
            Value::List(list) => list.items.iter().map(Value::number).collect(),
            value => value.number().map(|number| vec![number]),
        };
        if numbers.is_none() {
            let mistake = self.wrong(args, param, "a number or an array of numbers", &value, span);
            self.report(mistake);
        }
        numbers
    }

    pub(super) fn flag(&mut self, args: &Args<'a>, param: &str) -> Option<bool> {
        match args.get(param)? {
            (Value::Bool(value), _) => Some(value),
            (value, span) => {
                let mistake = self.wrong(args, param, "true or false", &value, span);
                self.report(mistake);
                None
            }
        }
    }

    /// A string.
    pub(super) fn text(&mut self, args: &Args<'a>, param: &str) -> Option<String> {
        match args.get(param)? {
            (Value::Str(text), _) => Some(text.to_string()),
            (value, span) => {
                let mistake = self.wrong(args, param, "a string", &value, span);
                self.report(mistake);
                None
            }
        }
    }

    pub(super) fn word(&mut self, args: &Args<'a>, param: &str, words: &[&str]) -> Option<String> {
        let what = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        match args.get(param)? {
            (Value::Str(word), _) if words.contains(&&*word) => Some(word.to_string()),
            (value, span) => {
                let mistake = self.wrong(args, param, &what, &value, span);
                self.report(mistake);
                None
            }
        }
    }

    /// An axis of a tensor of a rank; negative ones count from the end.
    pub(super) fn axis(&mut self, args: &Args<'a>, param: &str, rank: usize) -> Option<usize> {
        let (value, span) = args.get(param)?;
        let axis = match &value {
            Value::Int(axis) if *axis < 0 => axis.checked_add(rank as i64),
            Value::Int(axis) => Some(*axis),
            _ => None,
        };
        match axis.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank) {
            Some(axis) => Some(axis),
            None => {
                let what = format!("an axis of a tensor with {rank} axes");
                let mistake = self.wrong(args, param, &what, &value, span);
                self.report(mistake);
                None
            }
        }
    }

    /// Integers from -1: a shape with at most one extent left open, or axes.
    pub(super) fn integers_of(&mut self, args: &Args<'a>, param: &str) -> Option<Vec<i64>> {
        let (value, span) = args.get(param)?;
        let integers = match &value {
            Value::List(list) => whole(list),
            _ => None,
        };
        if integers.is_none() {
            let mistake = self.wrong(args, param, "an array of integers", &value, span);
            self.report(mistake);
        }
        integers
    }

    /// Indices of elements, each from 0.
    pub(super) fn indices(&mut self, args: &Args<'a>, param: &str) -> Option<Vec<u32>> {
        let (value, span) = args.get(param)?;
        let indices = match &value {
            Value::List(list) => whole(list),
            _ => None,
        };
        let indices: Option<Vec<u32>> =
            indices.and_then(|indices| indices.into_iter().map(|index| u32::try_from(index).ok()).collect());
        if indices.is_none() {
            let mistake = self.wrong(args, param, "an array of integers from 0 on", &value, span);
            self.report(mistake);
        }
        indices
    }

    /// Extents of a shape, each from 1.
    pub(super) fn extents(&mut self, what: &str, value: &Value, span: Span) -> Option<Vec<usize>> {
        let integers = match value {
            Value::Poison => return None,
            Value::List(list) if list.items.contains(&Value::Poison) => return None,
            Value::List(list) => whole(list),
            _ => None,
        };
        let extents: Option<Vec<usize>> = integers.as_ref().and_then(|integers| {
            let extent = |&n: &i64| (1..=MAX_ATTRIBUTE).contains(&n).then_some(n as usize);
            integers.iter().map(extent).collect()
        });
        if extents.as_ref().is_none_or(|extents| extents.is_empty() || extents.len() > 8) {
            let mistake = Diagnostic::error(span, format!("{what} is an array of 1 to 8 positive integers"));
            self.report(mistake.help("feature maps are [N, C, H, W]: `[1, 3, 224, 224]`"));
            return None;
        }
        extents
    }
}

/// The integers of a list, if it holds nothing else.
fn whole(list: &List) -> Option<Vec<i64>> {
    let integer = |value: &Value| match value {
        Value::Int(n) => Some(*n),
        _ => None,
    };
    list.items.iter().map(integer).collect()
}
