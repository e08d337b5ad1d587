//! Operators between values: numbers as in Rust, tensors as in ONNX.

use std::cmp::Ordering;

use super::{Elaborator, MAX_STRING, Value};
use crate::diag::{Diagnostic, Span};
use crate::front::spec::BinaryOp;
use crate::graph;

/// An operand and, if it is a variable, its name.
pub(super) type Operand<'n> = (Value, Option<&'n str>);

impl Elaborator<'_> {
    /// `left op right`; `&&` and `||` of booleans too, though evaluation decides them earlier.
    pub(super) fn apply(&mut self, op: BinaryOp, left: Operand<'_>, right: Operand<'_>, span: Span) -> Value {
        match (&left.0, &right.0) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::Tensor(_), Value::Tensor(_) | Value::Int(_) | Value::Float(_))
            | (Value::Int(_) | Value::Float(_), Value::Tensor(_)) => self.tensor_op(op, left, right, span),
            (Value::Int(a), Value::Int(b)) => self.integer_op(op, *a, *b, span),
            (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
                let (a, b) = (left.0.number().unwrap_or(f64::NAN), right.0.number().unwrap_or(f64::NAN));
                self.float_op(op, a, b, span)
            }
            (Value::Str(a), Value::Str(b)) => match op {
                BinaryOp::Add if a.len() + b.len() <= MAX_STRING => Value::Str(format!("{a}{b}").into()),
                BinaryOp::Add => {
                    self.report(Diagnostic::error(span, format!("a string is longer than {MAX_STRING} bytes")))
                }
                _ => self.compare_or_refuse(op, a.cmp(b), &left.0, &right.0, span),
            },
            (Value::Bool(a), Value::Bool(b)) => match op {
                BinaryOp::And => Value::Bool(*a && *b),
                BinaryOp::Or => Value::Bool(*a || *b),
                BinaryOp::Eq => Value::Bool(a == b),
                BinaryOp::Ne => Value::Bool(a != b),
                _ => self.no_operator(op, &left.0, &right.0, span),
            },
            (Value::List(_), Value::List(_)) if matches!(op, BinaryOp::Eq | BinaryOp::Ne) => {
                match self.same(&left.0, &right.0, span) {
                    Some(same) => Value::Bool(same == (op == BinaryOp::Eq)),
                    None => Value::Poison,
                }
            }
            _ => self.no_operator(op, &left.0, &right.0, span),
        }
    }

    fn integer_op(&mut self, op: BinaryOp, a: i64, b: i64, span: Span) -> Value {
        let result = match op {
            BinaryOp::Add => a.checked_add(b),
            BinaryOp::Sub => a.checked_sub(b),
            BinaryOp::Mul => a.checked_mul(b),
            BinaryOp::Div | BinaryOp::Rem if b == 0 => {
                return self.report(Diagnostic::error(span, "division by zero").label(format!("{a} {} 0", op.sign())));
            }
            BinaryOp::Div => a.checked_div(b),
            BinaryOp::Rem => a.checked_rem(b),
            _ => return self.compare_or_refuse(op, a.cmp(&b), &Value::Int(a), &Value::Int(b), span),
        };
        match result {
            Some(value) => Value::Int(value),
            None => {
                let label = format!("{a} {} {b} does not fit 64 bits", op.sign());
                self.report(Diagnostic::error(span, "integer overflow").label(label))
            }
        }
    }

    fn float_op(&mut self, op: BinaryOp, a: f64, b: f64, span: Span) -> Value {
        let result = match op {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div => a / b,
            BinaryOp::Rem => a % b,
            _ => {
                let ordering = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
                return self.compare_or_refuse(op, ordering, &Value::Float(a), &Value::Float(b), span);
            }
        };
        if result.is_finite() {
            return Value::Float(result);
        }
        let message = format!("{a:?} {} {b:?} is not a finite number", op.sign());
        self.report(Diagnostic::error(span, message))
    }

    fn compare_or_refuse(&mut self, op: BinaryOp, ordering: Ordering, a: &Value, b: &Value, span: Span) -> Value {
        Value::Bool(match op {
            BinaryOp::Eq => ordering.is_eq(),
            BinaryOp::Ne => ordering.is_ne(),
            BinaryOp::Lt => ordering.is_lt(),
            BinaryOp::Le => ordering.is_le(),
            BinaryOp::Gt => ordering.is_gt(),
            BinaryOp::Ge => ordering.is_ge(),
            _ => return self.no_operator(op, a, b, span),
        })
    }

    /// Whether two values are equal. Each comparison counts as a step, since lists share their items and may hold far more
    /// than their memory says.
    fn same(&mut self, a: &Value, b: &Value, span: Span) -> Option<bool> {
        self.step(span).ok()?;
        Some(match (a, b) {
            (Value::List(a), Value::List(b)) => {
                if a.items.len() != b.items.len() {
                    return Some(false);
                }
                for (a, b) in a.items.iter().zip(&b.items) {
                    if !self.same(a, b, span)? {
                        return Some(false);
                    }
                }
                true
            }
            (Value::Poison, _) | (_, Value::Poison) => return None,
            (a, b) => match (a.number(), b.number()) {
                (Some(a), Some(b)) => a == b,
                _ => a == b,
            },
        })
    }

    fn no_operator(&mut self, op: BinaryOp, a: &Value, b: &Value, span: Span) -> Value {
        let message = format!("`{}` does not take {} and {}", op.sign(), a.kind(), b.kind());
        self.report(Diagnostic::error(span, message))
    }

    fn tensor_op(&mut self, op: BinaryOp, left: Operand<'_>, right: Operand<'_>, span: Span) -> Value {
        let binary = match op {
            BinaryOp::Add => graph::Binary::Add,
            BinaryOp::Sub => graph::Binary::Sub,
            BinaryOp::Mul => graph::Binary::Mul,
            BinaryOp::Div => graph::Binary::Div,
            _ => {
                let mistake = format!("`{}` does not take {} and {}", op.sign(), left.0.kind(), right.0.kind());
                let help = "a network has one graph: compare shapes or parameters instead";
                return self.report(Diagnostic::error(span, mistake).help(help));
            }
        };
        let (Some(a), Some(b)) = (self.operand(&left.0, span), self.operand(&right.0, span)) else {
            return Value::Poison;
        };
        let name = self.made_name(graph::infer::name(&graph::Op::Binary(binary)));
        self.add_node(graph::Op::Binary(binary), &[a, b], Vec::new(), name, span, &[left.1, right.1])
            .map_or(Value::Poison, Value::Tensor)
    }
}
