//! Expressions, statements and patterns.

use super::{Elaborator, Eval, MAX_DEPTH, MAX_STRING, Stop, Value, foreign, suggest};
use crate::diag::{Diagnostic, Span, counted};
use crate::front::spec::{
    Arm, BinaryOp, Block, Expr, ExprKind, Ident, Literal, Pattern, PatternKind, Piece, Stmt, UnaryOp,
};
use crate::front::value::List;

impl<'a> Elaborator<'a> {
    pub(super) fn expr(&mut self, expr: &'a Expr) -> Eval {
        self.step(expr.span)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.limit(expr.span, format!("calls and expressions are nested more than {MAX_DEPTH} deep")));
        }
        let value = self.kind(expr)?;
        self.depth -= 1;
        Ok(value)
    }

    fn kind(&mut self, expr: &'a Expr) -> Eval {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Int(value) => Ok(Value::Int(*value)),
            ExprKind::Float(value) => Ok(Value::Float(*value)),
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::Str(pieces) => self.string(pieces, span),
            ExprKind::Name(name) => Ok(self.variable(name, span)),
            ExprKind::Unary(op, operand) => {
                let value = self.expr(operand)?;
                Ok(self.unary(*op, value, span))
            }
            ExprKind::Binary(op, left, right) => self.binary(*op, left, right, span),
            ExprKind::Assign { place, op, value } => self.assign(place, *op, value, span),
            ExprKind::Call(call) => self.call(call, span),
            ExprKind::Index(list, index) => {
                let (of, at) = (self.expr(list)?, self.expr(index)?);
                Ok(self.index(of, at, list.span, index.span))
            }
            ExprKind::Field(tuple, field) => {
                let of = self.expr(tuple)?;
                Ok(self.index(of, Value::Int(i64::from(*field)), tuple.span, span))
            }
            ExprKind::Tuple(items) if items.is_empty() => Ok(Value::Unit),
            ExprKind::Tuple(items) => self.list(true, items, span),
            ExprKind::Array(items) => self.list(false, items, span),
            ExprKind::Repeat(value, count) => self.repeat(value, count, span),
            ExprKind::Range { start, end, inclusive } => self.range(start, end, *inclusive, span),
            ExprKind::If { condition, then, otherwise } => {
                if self.condition(condition)? {
                    return self.block(then);
                }
                match otherwise {
                    Some(otherwise) => self.expr(otherwise),
                    None => Ok(Value::Unit),
                }
            }
            ExprKind::Match { subject, arms } => self.choose(subject, arms, span),
            ExprKind::For { pattern, items, body } => self.each(pattern, items, body),
            ExprKind::Block(block) => self.block(block),
            ExprKind::Error => Ok(Value::Poison),
        }
    }

    /// Statements, then the value of the tail; what was declared is gone after it.
    pub(super) fn block(&mut self, block: &'a Block) -> Eval {
        let outer = self.frames.last().map_or(0, |frame| frame.variables.len());
        for stmt in &block.stmts {
            match stmt {
                Stmt::Let { pattern, value } => {
                    let value = self.expr(value)?;
                    self.bind_pattern(pattern, value);
                }
                Stmt::Expr(expr) => {
                    let value = self.expr(expr)?;
                    self.unused(&value, expr.span);
                }
            }
        }
        let value = match &block.tail {
            Some(tail) => self.expr(tail)?,
            None => Value::Unit,
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.variables.truncate(outer);
        }
        Ok(value)
    }

    /// A tensor that goes nowhere is a mistake: a layer would be silently left out.
    fn unused(&mut self, value: &Value, span: Span) {
        if let Value::Tensor(_) = value {
            let mistake = Diagnostic::error(span, "this tensor is not used");
            self.report(mistake.help("give it to a variable, or take the semicolon away to return it"));
        }
    }

    fn condition(&mut self, condition: &'a Expr) -> Eval<bool> {
        match self.expr(condition)? {
            Value::Bool(value) => Ok(value),
            Value::Poison => Err(Stop::Call),
            other => {
                let message = format!("a condition must be a boolean, this is {}", other.kind());
                self.report(Diagnostic::error(condition.span, message));
                Err(Stop::Call)
            }
        }
    }

    fn string(&mut self, pieces: &'a [Piece], span: Span) -> Eval {
        let mut text = String::new();
        let mut poison = false;
        for piece in pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Value(expr) => match self.expr(expr)? {
                    Value::Poison => poison = true,
                    value @ (Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Str(_)) => {
                        text.push_str(&value.to_string());
                    }
                    other => {
                        let message = format!("{} cannot stand in a string", other.kind());
                        self.report(Diagnostic::error(expr.span, message));
                        poison = true;
                    }
                },
            }
            if text.len() > MAX_STRING {
                return Err(self.limit(span, format!("a string is longer than {MAX_STRING} bytes")));
            }
        }
        Ok(if poison { Value::Poison } else { Value::Str(text.into()) })
    }

    fn variable(&mut self, name: &str, span: Span) -> Value {
        let Some(frame) = self.frames.last() else { return Value::Poison };
        if let Some(variable) = frame.variables.iter().rev().find(|variable| variable.name == name) {
            return variable.value.clone();
        }
        let mistake = Diagnostic::error(span, format!("there is no variable `{name}` here"));
        let near = suggest::nearest(name, frame.variables.iter().map(|variable| variable.name));
        let mistake = match (foreign::variable(name), near) {
            (Some(help), _) => mistake.help(help),
            (None, Some(near)) => mistake.help(format!("`{near}` is near")),
            (None, None) if self.library.callable(frame.module).any(|function| function == name) => {
                mistake.help(format!("`{name}` is a function; to call it, write `{name}(…)`"))
            }
            (None, None) => mistake,
        };
        self.report(mistake)
    }

    fn assign(&mut self, place: &'a Ident, op: Option<BinaryOp>, value: &'a Expr, span: Span) -> Eval {
        let mut new = self.expr(value)?;
        if let Some(op) = op {
            let old = self.variable(&place.name, place.span);
            new = self.apply(op, (old, Some(&place.name)), (new, None), span);
        }
        let frame = self.frames.last_mut();
        let found = frame.and_then(|frame| frame.variables.iter_mut().rev().find(|v| v.name == place.name));
        match found {
            Some(variable) if variable.mutable => variable.value = new,
            Some(variable) => {
                let declared = variable.span;
                let mistake = Diagnostic::error(place.span, format!("`{}` cannot be assigned", place.name))
                    .secondary(declared, "declared without `mut`")
                    .help(format!("declare it with `let mut {}`", place.name));
                self.report(mistake);
            }
            None => {
                self.variable(&place.name, place.span);
            }
        }
        Ok(Value::Unit)
    }

    fn list(&mut self, tuple: bool, items: &'a [Expr], span: Span) -> Eval {
        let values = items.iter().map(|item| self.expr(item)).collect::<Eval<Vec<_>>>()?;
        Ok(self.make_list(tuple, values, span))
    }

    /// A tuple or an array, if it is not too large.
    pub(super) fn make_list(&mut self, tuple: bool, items: Vec<Value>, span: Span) -> Value {
        List::of(tuple, items).unwrap_or_else(|| {
            let message =
                format!("a list has more than {} items or nests more than {} deep", List::MAX_LEN, List::MAX_DEPTH);
            self.report(Diagnostic::error(span, message))
        })
    }

    fn repeat(&mut self, value: &'a Expr, count: &'a Expr, span: Span) -> Eval {
        let item = self.expr(value)?;
        match self.expr(count)? {
            Value::Int(n) if (0..=List::MAX_LEN as i64).contains(&n) => {
                Ok(self.make_list(false, vec![item; n as usize], span))
            }
            Value::Poison => Ok(Value::Poison),
            other => {
                let message = format!("the length of an array is an integer from 0 to {}, not {other}", List::MAX_LEN);
                Ok(self.report(Diagnostic::error(count.span, message)))
            }
        }
    }

    fn range(&mut self, start: &'a Expr, end: &'a Expr, inclusive: bool, span: Span) -> Eval {
        Ok(match (self.expr(start)?, self.expr(end)?) {
            (Value::Int(start), Value::Int(end)) => match end.checked_add(i64::from(inclusive)) {
                Some(end) => Value::Range { start, end },
                None => self.report(Diagnostic::error(span, "the end of this range does not fit 64 bits")),
            },
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (a, b) => {
                let message = format!("the ends of a range are integers, not {} and {}", a.kind(), b.kind());
                self.report(Diagnostic::error(span, message))
            }
        })
    }

    fn index(&mut self, of: Value, at: Value, of_span: Span, at_span: Span) -> Value {
        match (of, at) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::List(list), Value::Int(at)) => match usize::try_from(at).ok().and_then(|at| list.items.get(at)) {
                Some(item) => item.clone(),
                None => {
                    let kind = if list.tuple { "tuple" } else { "array" };
                    let message =
                        format!("there is no item {at} in this {kind} of {}", counted(list.items.len(), "item"));
                    self.report(Diagnostic::error(at_span, message).help("the first item has the index 0"))
                }
            },
            (Value::List(list), Value::Range { start, end }) => {
                let items = usize::try_from(start).ok().zip(usize::try_from(end).ok());
                match items.and_then(|(start, end)| list.items.get(start..end)) {
                    Some(items) => self.make_list(list.tuple, items.to_vec(), at_span),
                    None => {
                        let message =
                            format!("there are no items {start}..{end} in {}", counted(list.items.len(), "item"));
                        self.report(Diagnostic::error(at_span, message))
                    }
                }
            }
            (Value::List(_), at) => {
                self.report(Diagnostic::error(at_span, format!("an index is an integer, this is {}", at.kind())))
            }
            (Value::Tensor(_), _) => {
                let mistake = Diagnostic::error(of_span, "a tensor has no index");
                self.report(mistake.help("`.slice(axis, start, end)` takes a part of it, `.shape()[i]` an extent"))
            }
            (of, _) => self.report(Diagnostic::error(of_span, format!("{} has no index", of.kind()))),
        }
    }

    fn choose(&mut self, subject: &'a Expr, arms: &'a [Arm], span: Span) -> Eval {
        let value = self.expr(subject)?;
        if value == Value::Poison {
            return Err(Stop::Call);
        }
        for arm in arms {
            if !self.fits(&arm.pattern, &value) {
                continue;
            }
            let outer = self.frames.last().map_or(0, |frame| frame.variables.len());
            self.bind_pattern(&arm.pattern, value.clone());
            let guarded = match &arm.guard {
                Some(guard) => self.condition(guard)?,
                None => true,
            };
            let result = if guarded { Some(self.expr(&arm.value)?) } else { None };
            if let Some(frame) = self.frames.last_mut() {
                frame.variables.truncate(outer);
            }
            if let Some(result) = result {
                return Ok(result);
            }
        }
        let mistake = Diagnostic::error(span, format!("no arm of this `match` fits {value}"));
        Ok(self.report(mistake.secondary(subject.span, format!("this is {value}")).help("add an arm `_ => …`")))
    }

    /// Whether a value has the form of a pattern.
    fn fits(&self, pattern: &Pattern, value: &Value) -> bool {
        match (&pattern.kind, value) {
            (PatternKind::Any | PatternKind::Name { .. }, _) => true,
            (PatternKind::Literal(Literal::Int(wanted)), Value::Int(value)) => wanted == value,
            (PatternKind::Literal(Literal::Bool(wanted)), Value::Bool(value)) => wanted == value,
            (PatternKind::Literal(Literal::Str(wanted)), Value::Str(value)) => **wanted == **value,
            (PatternKind::Range(first, last), Value::Int(value)) => (first..=last).contains(&value),
            (PatternKind::Or(patterns), value) => patterns.iter().any(|pattern| self.fits(pattern, value)),
            (PatternKind::Tuple(patterns) | PatternKind::Array(patterns), Value::List(list)) => {
                patterns.len() == list.items.len()
                    && patterns.iter().zip(&list.items).all(|(pattern, item)| self.fits(pattern, item))
            }
            (PatternKind::Literal(_) | PatternKind::Range(..) | PatternKind::Tuple(_) | PatternKind::Array(_), _) => {
                false
            }
        }
    }

    /// Declares the names of a pattern; after a mistake they are poison.
    fn bind_pattern(&mut self, pattern: &'a Pattern, value: Value) {
        match &pattern.kind {
            PatternKind::Any | PatternKind::Literal(_) | PatternKind::Range(..) | PatternKind::Or(_) => {}
            PatternKind::Name { name, mutable } => self.declare(name, value, *mutable, pattern.span),
            PatternKind::Tuple(patterns) | PatternKind::Array(patterns) => {
                let items = match value {
                    Value::List(list) if list.items.len() == patterns.len() => list.items.clone(),
                    Value::Poison => Vec::new(),
                    other => {
                        let of = match &other {
                            Value::List(list) => format!("{} of {}", other.kind(), counted(list.items.len(), "item")),
                            _ => other.kind().to_owned(),
                        };
                        let message = format!("a pattern of {} does not fit {of}", counted(patterns.len(), "name"));
                        self.report(Diagnostic::error(pattern.span, message));
                        Vec::new()
                    }
                };
                let values = items.into_iter().chain(std::iter::repeat(Value::Poison));
                for (pattern, value) in patterns.iter().zip(values) {
                    self.bind_pattern(pattern, value);
                }
            }
        }
    }

    fn each(&mut self, pattern: &'a Pattern, items: &'a Expr, body: &'a Block) -> Eval {
        match self.expr(items)? {
            Value::Range { start, end } => {
                for i in start..end {
                    self.round(pattern, Value::Int(i), body)?;
                }
            }
            Value::List(list) => {
                for item in &list.items {
                    self.round(pattern, item.clone(), body)?;
                }
            }
            Value::Poison => return Err(Stop::Call),
            other => {
                let message = format!("`for` runs over a range or an array, this is {}", other.kind());
                self.report(Diagnostic::error(items.span, message));
                return Err(Stop::Call);
            }
        }
        Ok(Value::Unit)
    }

    /// One round of a loop.
    fn round(&mut self, pattern: &'a Pattern, item: Value, body: &'a Block) -> Eval<()> {
        self.step(pattern.span)?;
        let outer = self.frames.last().map_or(0, |frame| frame.variables.len());
        self.bind_pattern(pattern, item);
        let value = self.block(body)?;
        let place = body.tail.as_ref().map_or(body.span, |tail| tail.span);
        self.unused(&value, place);
        if let Some(frame) = self.frames.last_mut() {
            frame.variables.truncate(outer);
        }
        Ok(())
    }

    fn binary(&mut self, op: BinaryOp, left: &'a Expr, right: &'a Expr, span: Span) -> Eval {
        if let BinaryOp::And | BinaryOp::Or = op {
            let first = self.condition(left)?;
            let decided = first == (op == BinaryOp::Or);
            return Ok(Value::Bool(if decided { first } else { self.condition(right)? }));
        }
        let (a, b) = (self.expr(left)?, self.expr(right)?);
        Ok(self.apply(op, (a, variable_name(left)), (b, variable_name(right)), span))
    }

    fn unary(&mut self, op: UnaryOp, value: Value, span: Span) -> Value {
        match (op, value) {
            (_, Value::Poison) => Value::Poison,
            (UnaryOp::Not, Value::Bool(value)) => Value::Bool(!value),
            (UnaryOp::Neg, Value::Int(value)) => match value.checked_neg() {
                Some(value) => Value::Int(value),
                None => self.report(Diagnostic::error(span, "this integer does not fit 64 bits")),
            },
            (UnaryOp::Neg, Value::Float(value)) => Value::Float(-value),
            (UnaryOp::Neg, tensor @ Value::Tensor(_)) => {
                self.apply(BinaryOp::Mul, (tensor, None), (Value::Int(-1), None), span)
            }
            (UnaryOp::Not, other) => {
                self.report(Diagnostic::error(span, format!("`!` takes a boolean, not {}", other.kind())))
            }
            (UnaryOp::Neg, other) => {
                self.report(Diagnostic::error(span, format!("`-` takes a number or a tensor, not {}", other.kind())))
            }
        }
    }
}

/// The name of an expression that is a variable.
pub(super) fn variable_name(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name),
        _ => None,
    }
}
