//! Calls: which function or op a path means, and which argument goes to which parameter.

use super::eval::variable_name;
use super::foreign::{self, Meant};
use super::library::{Found, NotFound};
use super::{Elaborator, Eval, MAX_CALLS, Stop, Value, builtin, ops, setting, suggest};
use crate::diag::{Diagnostic, Span, counted};
use crate::front::spec::{Call, Expr, ExprKind, Function, Ident};

/// An argument: the value, where it stands, and how it was written.
#[derive(Clone)]
pub(super) struct Given<'a> {
    pub(super) name: Option<&'a Ident>,
    pub(super) value: Value,
    pub(super) span: Span,
    /// The variable that it is.
    pub(super) variable: Option<&'a str>,
}

impl<'a> Elaborator<'a> {
    /// A call; a chain of method calls is run from its first receiver on, without recursion.
    pub(super) fn call(&mut self, call: &'a Call, span: Span) -> Eval {
        let mut chain = vec![(call, span)];
        let mut first = call.receiver.as_deref();
        while let Some(Expr { kind: ExprKind::Call(inner), span }) = first {
            chain.push((inner, *span));
            first = inner.receiver.as_deref();
        }
        let mut receiver = match first {
            Some(expr) => {
                Some(Given { name: None, value: self.expr(expr)?, span: expr.span, variable: variable_name(expr) })
            }
            None => None,
        };
        let mut value = Value::Unit;
        for (call, span) in chain.into_iter().rev() {
            self.step(span)?;
            value = self.link(call, span, receiver)?;
            receiver = Some(Given { name: None, value: value.clone(), span, variable: None });
        }
        Ok(value)
    }

    /// One call of a chain.
    fn link(&mut self, call: &'a Call, span: Span, mut receiver: Option<Given<'a>>) -> Eval {
        // What is no value here, `self` or a framework, has been reported: of the latter the call itself may be one.
        if let Some(Given { value: Value::Poison, variable: Some(name), .. }) = &receiver
            && foreign::variable(name).is_some()
        {
            if *name == "self" {
                return Ok(Value::Poison);
            }
            receiver = None;
        }
        // After a long receiver, the method alone is the place of what it does.
        let place = match &receiver {
            Some(given) if given.variable.is_none() => call.path_span.to(span),
            _ => span,
        };
        let method = receiver.is_some();
        let mut given: Vec<Given<'a>> = receiver.into_iter().collect();
        let found = match self.library.find(self.module(), &call.path) {
            Err(NotFound::Unknown) if !method && setting::of(call).is_some() => return self.setting(call, place),
            found => found,
        };
        for arg in &call.args {
            let value = self.expr(&arg.value)?;
            given.push(Given {
                name: arg.name.as_ref(),
                value,
                span: arg.value.span,
                variable: variable_name(&arg.value),
            });
        }
        match found {
            Ok(Found::Function(module, function)) => self.function(module, function, false, given, place),
            Ok(Found::Net(module, net)) => self.function(module, &net.function, true, given, place),
            Ok(Found::Alias(_, alias)) => {
                let message = format!("`{}` names a network made from another and cannot be called", alias.name.name);
                Ok(self.report(Diagnostic::error(call.path_span, message).secondary(alias.name.span, "defined here")))
            }
            Err(NotFound::Ambiguous(imports)) => {
                let message = format!("`{}` is in {}", call.path.join("::"), imports.join(" and in "));
                let help = format!("say which: `{}::{}`", imports[0], call.path.join("::"));
                Ok(self.report(Diagnostic::error(call.path_span, message).help(help)))
            }
            Err(NotFound::Unknown) => match &call.path[..] {
                [name] => {
                    // `abs` and `sqrt` are functions of numbers, and ops of tensors.
                    let of_tensor = matches!(given.first(), Some(Given { value: Value::Tensor(_), .. }));
                    let op = ops::find(name);
                    match builtin::find(name) {
                        Some(builtin) if op.is_none() || !of_tensor => return Ok(self.builtin(builtin, given, place)),
                        _ => {}
                    }
                    if let Some(op) = op {
                        return Ok(self.op(op, given, place));
                    }
                    Ok(self.unknown(name, call.path_span))
                }
                path => {
                    let message = format!("there is no function `{}`", path.join("::"));
                    let names = builtin::names().chain(ops::names());
                    let meant = path.last().and_then(|name| foreign::function(name, names));
                    let help = meant.map(|meant| match meant {
                        Meant::Help(help) => help,
                        Meant::Unsupported(help) => help.to_owned(),
                    });
                    Ok(self.report(Diagnostic { help, ..Diagnostic::error(call.path_span, message) }))
                }
            },
        }
    }

    fn unknown(&mut self, name: &str, span: Span) -> Value {
        let mut known: Vec<&str> = self.library.callable(self.module()).collect();
        known.extend(builtin::names().chain(ops::names()).map(|name| -> &str { name }));
        let mistake = Diagnostic::error(span, format!("there is no function or op `{name}`"));
        let near = || suggest::nearest(name, known.iter().copied()).map(|near| format!("`{near}` is near"));
        let mistake = match foreign::function(name, known.iter().copied()) {
            Some(Meant::Help(help)) => mistake.help(help),
            Some(Meant::Unsupported(help)) => Diagnostic::error(span, format!("`{name}` is not supported")).help(help),
            None => Diagnostic { help: near(), ..mistake },
        };
        self.report(mistake)
    }

    /// Runs a function of the language: its ops are added to the graph.
    fn function(
        &mut self,
        module: usize,
        function: &'a Function,
        net: bool,
        given: Vec<Given<'a>>,
        place: Span,
    ) -> Eval {
        let name = &function.name.name;
        let (inner, given) = self.take_name(given);
        let params: Vec<&str> = function.params.iter().map(|param| param.name.name.as_str()).collect();
        let Some(bound) = self.bind(name, &params, given, place, Some(function.name.span)) else {
            return Ok(Value::Poison);
        };
        let mut complete = true;
        for (param, value) in function.params.iter().zip(&bound) {
            if value.is_none() && param.default.is_none() {
                let message = format!("`{}` is missing in this call of {name}", param.name.name);
                self.report(Diagnostic::error(place, message).secondary(param.name.span, "the parameter"));
                complete = false;
            }
        }
        if !complete {
            return Ok(Value::Poison);
        }
        if self.frames.len() >= MAX_CALLS {
            let message =
                format!("calls are nested more than {MAX_CALLS} deep: does `{name}` call itself without end?");
            return Err(self.limit(place, message));
        }
        let prefix = self.convention().join(self.prefix(), inner.as_deref().unwrap_or(""));
        let depth = self.depth;
        self.push(name, net, module, prefix);
        let result = self.body(module, function, net, bound);
        self.frames.pop();
        self.depth = depth;
        match result {
            Err(Stop::Call) => Ok(Value::Poison),
            result => result,
        }
    }

    fn body(&mut self, module: usize, function: &'a Function, net: bool, bound: Vec<Option<Given<'a>>>) -> Eval {
        for (param, given) in function.params.iter().zip(bound) {
            let place = given.as_ref().map(|given| given.span);
            let value = match (given, &param.default) {
                (Some(given), _) => given.value,
                (None, Some(default)) => self.expr(default)?,
                (None, None) => Value::Poison,
            };
            if let (true, Some(shape), Some(place)) = (net, &param.shape, place) {
                let wanted = self.expr(shape)?;
                self.check_input(&param.name, &value, &wanted, shape.span, place);
            }
            self.declare(&param.name.name, value, false, param.name.span);
        }
        if net {
            self.module_setting(module, "weights")?;
        }
        self.block(&function.body)
    }

    /// The input of a net that is called as a function must have the shape that the net declares.
    fn check_input(&mut self, param: &Ident, value: &Value, wanted: &Value, shape_span: Span, place: Span) {
        let Some(wanted) = self.extents(&format!("the shape of `{}`", param.name), wanted, shape_span) else { return };
        match value {
            Value::Tensor(node) if self.graph.node(*node).ty.shape == wanted => {}
            Value::Poison => {}
            Value::Tensor(node) => {
                let message =
                    format!("`{}` has shape {wanted:?}, not {:?}", param.name, self.graph.node(*node).ty.shape);
                self.report(Diagnostic::error(place, message).secondary(shape_span, "declared here"));
            }
            other => {
                self.report(Diagnostic::error(place, format!("`{}` is a tensor, not {}", param.name, other.kind())));
            }
        }
    }

    /// Takes `name = "…"` out of the arguments.
    pub(super) fn take_name(&mut self, given: Vec<Given<'a>>) -> (Option<String>, Vec<Given<'a>>) {
        let (names, rest): (Vec<_>, Vec<_>) =
            given.into_iter().partition(|given| given.name.is_some_and(|name| name.name == "name"));
        let mut inner = None;
        for given in names {
            match given.value {
                Value::Str(text) if !text.is_empty() && text.split('.').all(|part| !part.is_empty()) => {
                    inner = Some(text.to_string());
                }
                Value::Poison => {}
                Value::Str(text) => {
                    let message = format!("`{text}` is not a name: words between dots are expected");
                    self.report(Diagnostic::error(given.span, message));
                }
                other => {
                    let message = format!("a name is a string, this is {}", other.kind());
                    self.report(Diagnostic::error(given.span, message));
                }
            }
        }
        (inner, rest)
    }

    /// The argument of each parameter, or nothing after a mistake.
    pub(super) fn bind(
        &mut self,
        callee: &str,
        params: &[&str],
        given: Vec<Given<'a>>,
        place: Span,
        defined: Option<Span>,
    ) -> Option<Vec<Option<Given<'a>>>> {
        let mut bound: Vec<Option<Given<'a>>> = vec![None; params.len()];
        let mut sound = true;
        let takes =
            format!("{callee} takes {}", params.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", "));
        for (i, given) in given.into_iter().enumerate() {
            let index = match given.name {
                None if i < params.len() => Some(i),
                None => {
                    let message = format!("{callee} takes {}, this is one too many", counted(params.len(), "argument"));
                    let mistake = Diagnostic::error(given.span, message).help(takes.clone());
                    self.report(match defined {
                        Some(defined) => mistake.secondary(defined, "defined here"),
                        None => mistake,
                    });
                    None
                }
                Some(name) => {
                    let index = params.iter().position(|param| *param == name.name);
                    if index.is_none() {
                        let message = format!("{callee} has no parameter `{}`", name.name);
                        let near = suggest::nearest(&name.name, params.iter().copied());
                        let near = near.map(|near| format!("`{near}` is near"));
                        let help = foreign::parameter(&name.name, params).or(near).unwrap_or_else(|| takes.clone());
                        self.report(Diagnostic::error(name.span, message).help(help));
                    }
                    index
                }
            };
            match index {
                Some(index) if bound[index].is_none() => bound[index] = Some(given),
                Some(index) => {
                    let message = format!("`{}` is given twice", params[index]);
                    let at = given.name.map_or(given.span, |name| name.span);
                    let mistake = Diagnostic::error(at, message);
                    let first = bound[index].as_ref().map_or(place, |first| first.span);
                    self.report(mistake.secondary(first, "first here"));
                    sound = false;
                }
                None => sound = false,
            }
        }
        sound.then_some(bound)
    }
}
