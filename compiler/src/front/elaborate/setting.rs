//! Statements in or beside a net that say what holds for it: `image(…)` and `weights(…)`.

use super::call::Given;
use super::convention::WEIGHTS;
use super::eval::variable_name;
use super::ops::OpEntry;
use super::preprocess::IMAGE;
use super::{Elaborator, Eval, Item, Value};
use crate::diag::{Diagnostic, Span};
use crate::front::spec::Call;

/// The statement that a call is.
pub(super) fn of(call: &Call) -> Option<&'static OpEntry> {
    let [name] = &call.path[..] else { return None };
    [&IMAGE, &WEIGHTS].into_iter().find(|entry| entry.name == name)
}

impl<'a> Elaborator<'a> {
    /// Runs a statement.
    pub(super) fn setting(&mut self, call: &'a Call, place: Span) -> Eval {
        let Some(entry) = of(call) else { return Ok(Value::Poison) };
        if self.frames.last().is_none_or(|frame| !frame.is_net) {
            let message = format!("`{}(…)` belongs in a net or beside it", entry.name);
            return Ok(self.report(Diagnostic::error(place, message)));
        }
        let mut given = Vec::new();
        for arg in &call.args {
            let value = self.expr(&arg.value)?;
            if arg.name.is_none() {
                let message = format!("the arguments of `{}` have names", entry.name);
                self.report(Diagnostic::error(arg.value.span, message));
                return Ok(Value::Poison);
            }
            let variable = variable_name(&arg.value);
            given.push(Given { name: arg.name.as_ref(), value, span: arg.value.span, variable });
        }
        Ok(self.op(entry, given, place))
    }

    /// Runs the statement of a name that stands beside the nets of a source, if there is one.
    pub(super) fn module_setting(&mut self, module: usize, name: &str) -> Eval<()> {
        let items = &self.library.modules[module].spec.items;
        let call = items.iter().find_map(|item| match item {
            Item::Setting(call) if call.path[0] == name => Some(call),
            Item::Setting(_) | Item::Function(_) | Item::Net(_) | Item::Use(_) | Item::Alias(_) => None,
        });
        match call {
            Some(call) => self.setting(call, call.path_span).map(drop),
            None => Ok(()),
        }
    }
}
