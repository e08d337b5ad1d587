//! A spec to a graph: the language is run, and what remains are the nodes that its ops added.
//!
//! Elaboration goes on after a mistake: the wrong expression is worth [`Value::Poison`], and nothing made of poison is
//! reported again. A condition or a loop that is poison ends the function around it, whose value is poison. A place is
//! marked once, however often it runs. Everything is bounded: steps, nested calls and expressions, nodes, lengths.

mod arith;
mod attribute;
mod build;
mod builtin;
mod call;
mod convention;
mod eval;
mod foreign;
mod library;
mod names;
mod node;
mod ops;
mod overrides;
mod preprocess;
mod setting;
mod suggest;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::spec::{Expr, ExprKind, Function, Item, Net, Param, Spec};
use super::value::Value;
use crate::diag::{Diagnostic, Error, Errors, Span};
use crate::graph::{Graph, NodeId, Op, Origin, TensorType};
use convention::Convention;
use library::{Found, Library, NotFound};
use names::Names;

pub use library::{Loader, NoFiles, nets};
pub use ops::{OpEntry, OpParam, all as ops};
pub use overrides::Overrides;
pub use suggest::nearest;

/// Expressions evaluated, loop rounds included.
const MAX_STEPS: u32 = 2_000_000;
/// Expressions inside expressions, through all calls.
const MAX_DEPTH: u32 = 500;
/// Calls inside calls.
const MAX_CALLS: usize = 64;
/// Nodes of a graph.
const MAX_NODES: usize = 200_000;
/// Mistakes reported.
const MAX_MISTAKES: usize = 100;
/// Bytes of a string.
const MAX_STRING: usize = 4096;
/// Nets made from nets made from nets.
const MAX_ALIASES: usize = 16;

/// Runs the net called `net` of a spec and returns its graph.
///
/// # Errors
/// All mistakes, in the order of the source; and [`Error::Spec`] too where a limit is met, since that has a place.
pub fn elaborate(spec: &Spec, net: &str, overrides: &Overrides, loader: &dyn Loader) -> Result<Graph, Error> {
    let library = Library::load(spec, loader)?;
    let mut elaborator = Elaborator::new(&library, net);
    let outcome = elaborator.net(net, overrides);
    let Elaborator { mistakes, graph, .. } = elaborator;
    match outcome {
        _ if !mistakes.is_empty() => Err(Errors::new(mistakes, library.sources).into()),
        Ok(()) => Ok(graph),
        Err(_) => Err(Error::Bug(format!("the elaboration of `{net}` stopped without a mistake"))),
    }
}

/// Why evaluation goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The rest of this function cannot be known.
    Call,
    /// A limit was met.
    All,
}

type Eval<T = Value> = Result<T, Stop>;

/// The state of one elaboration.
struct Elaborator<'a> {
    library: &'a Library,
    graph: Graph,
    mistakes: Vec<Diagnostic>,
    /// Places that have been reported.
    marked: BTreeSet<Span>,
    frames: Vec<Frame<'a>>,
    names: Names,
    /// What the author called the channel count of a layer, for advice.
    widths: HashMap<NodeId, &'a str>,
    steps: u32,
    depth: u32,
}

/// A call in progress.
struct Frame<'a> {
    function: &'a str,
    is_net: bool,
    module: usize,
    /// What goes before the names inside.
    prefix: String,
    convention: Convention,
    variables: Vec<Variable<'a>>,
}

/// A variable in scope.
struct Variable<'a> {
    name: &'a str,
    value: Value,
    mutable: bool,
    span: Span,
}

impl<'a> Elaborator<'a> {
    fn new(library: &'a Library, name: &str) -> Self {
        Elaborator {
            library,
            graph: Graph::new(name),
            mistakes: Vec::new(),
            marked: BTreeSet::new(),
            frames: Vec::new(),
            names: Names::default(),
            widths: HashMap::new(),
            steps: 0,
            depth: 0,
        }
    }

    /// Finds a net, binds its parameters, runs it and makes what it returns the graph's results.
    fn net(&mut self, name: &str, overrides: &Overrides) -> Eval<()> {
        let Some((module, net, settings)) = self.resolve(name, overrides)? else { return Ok(()) };
        let function = &net.function;
        self.push(&function.name.name, true, module, String::new());
        for (setting, (_, span)) in &settings {
            if !function.params.iter().any(|param| param.name.name == *setting) {
                let names = function.params.iter().map(|param| param.name.name.as_str());
                let known: Vec<String> = names.clone().map(|name| format!("`{name}`")).collect();
                let mistake = Diagnostic::error(*span, format!("`{name}` has no parameter `{setting}`"));
                self.report(match suggest::nearest(setting, names) {
                    Some(near) => mistake.help(format!("`{near}` is near")),
                    None => mistake.help(format!("it has {}", known.join(", "))),
                });
            }
        }
        for param in &function.params {
            let value = match (&param.shape, settings.get(&param.name.name), &param.default) {
                (Some(shape), setting, _) => self.input(param, shape, setting)?,
                (None, Some((value, _)), _) => value.clone(),
                (None, None, Some(default)) => self.expr(default)?,
                (None, None, None) => {
                    let message = format!("parameter `{}` of a net needs a shape or a default", param.name.name);
                    let example = format!("write `{0}: [1, 3, 224, 224]` or `{0} = 1`", param.name.name);
                    self.report(Diagnostic::error(param.name.span, message).help(example))
                }
            };
            self.declare(&param.name.name, value, false, param.name.span);
        }
        self.module_setting(module, "weights")?;
        let result = self.block(&function.body)?;
        self.outputs(function, result);
        if self.graph.preprocessing.is_none() { self.module_setting(module, "image") } else { Ok(()) }
    }

    /// The net behind a name, through `pub use … as`, and the parameters set on the way, each with its place.
    #[allow(clippy::type_complexity, reason = "the three parts are taken apart at once by the only caller")]
    fn resolve(
        &mut self,
        name: &str,
        overrides: &Overrides,
    ) -> Eval<Option<(usize, &'a Net, BTreeMap<String, (Value, Span)>)>> {
        let nowhere = |(name, value): (&String, &Value)| (name.clone(), (value.clone(), Span::NOWHERE));
        let mut settings: BTreeMap<String, (Value, Span)> = overrides.0.iter().map(nowhere).collect();
        let library = self.library;
        let mut found = library.find(0, &[name.to_owned()]);
        let mut asked = (name.to_owned(), Span::NOWHERE);
        for _ in 0..MAX_ALIASES {
            match found {
                Ok(Found::Net(module, net)) => return Ok(Some((module, net, settings))),
                Ok(Found::Alias(module, alias)) => {
                    self.push(&alias.name.name, true, module, String::new());
                    for arg in &alias.target.args {
                        let value = self.expr(&arg.value)?;
                        match &arg.name {
                            Some(name) => drop(settings.entry(name.name.clone()).or_insert((value, name.span))),
                            None => drop(self.report(Diagnostic::error(arg.value.span, "a parameter is set by name"))),
                        }
                    }
                    self.frames.pop();
                    asked = (alias.target.path.join("::"), alias.target.path_span);
                    found = library.find(module, &alias.target.path);
                }
                Ok(Found::Function(_, function)) => {
                    let message = format!("`{}` is a function, not a net", asked.0);
                    let mistake = Diagnostic::error(asked.1, message).secondary(function.name.span, "defined here");
                    self.report(mistake);
                    return Ok(None);
                }
                Err(NotFound::Ambiguous(names)) => {
                    let message = format!("`{}` can be {}", asked.0, names.join(" or "));
                    self.report(Diagnostic::error(asked.1, message));
                    return Ok(None);
                }
                Err(NotFound::Unknown) => {
                    let nets = nets(&library.modules[0].spec);
                    let mistake = Diagnostic::error(asked.1, format!("there is no net `{}`", asked.0));
                    self.report(match suggest::nearest(&asked.0, nets.iter().copied()) {
                        Some(near) => mistake.help(format!("`{near}` is near")),
                        None if nets.is_empty() => mistake,
                        None => mistake.help(format!("there is {}", nets.join(", "))),
                    });
                    return Ok(None);
                }
            }
        }
        self.report(Diagnostic::error(asked.1, format!("`{name}` is made from itself")));
        Ok(None)
    }

    /// An input of the network.
    fn input(&mut self, param: &'a Param, shape: &'a Expr, setting: Option<&(Value, Span)>) -> Eval {
        let (value, place) = match setting {
            Some((value, span)) => (value.clone(), if span.is_nowhere() { shape.span } else { *span }),
            None => (self.expr(shape)?, shape.span),
        };
        let what = format!("the shape of `{}`", param.name.name);
        let Some(shape) = self.extents(&what, &value, place) else { return Ok(Value::Poison) };
        let origin = Origin { span: Some(param.name.span), ..Origin::named(self.names.node(param.name.name.clone())) };
        Ok(match self.graph.add(Op::Input(TensorType::f32(shape)), &[], Vec::new(), origin) {
            Ok(node) => Value::Tensor(node),
            Err(error) => self.report(Diagnostic::error(place, error.message)),
        })
    }

    /// Makes what the net returned the graph's results: one called `output`, or those of a tuple, called like the variables
    /// in it.
    fn outputs(&mut self, function: &'a Function, result: Value) {
        let tail = function.body.tail.as_deref();
        let place = tail.map_or(function.name.span, |tail| tail.span);
        let (values, exprs) = match (result, tail.map(|tail| &tail.kind)) {
            (Value::List(list), Some(ExprKind::Tuple(exprs))) => (list.items.clone(), Some(exprs)),
            (Value::List(list), _) => (list.items.clone(), None),
            (value, _) => (vec![value], None),
        };
        let single = values.len() == 1;
        let mut taken = BTreeSet::new();
        for (i, value) in values.iter().enumerate() {
            let written = exprs.and_then(|exprs| match &exprs.get(i)?.kind {
                ExprKind::Name(name) => Some(name.clone()),
                _ => None,
            });
            let name = match written.filter(|name| !taken.contains(name)) {
                Some(name) => name,
                None if single => "output".to_owned(),
                None => format!("output{i}"),
            };
            match value {
                Value::Tensor(node) => self.graph.add_output(name.clone(), *node),
                Value::Poison => {}
                // Most often a semicolon made it so, which has been said.
                Value::Unit if !self.mistakes.is_empty() => {}
                other => {
                    let what =
                        if single { "a net returns a tensor or a tuple of tensors" } else { "a net returns tensors" };
                    let mistake = Diagnostic::error(place, format!("{what}, this is {}", other.kind()));
                    self.report(match other {
                        Value::Unit => mistake.help("end the body with an expression without a semicolon"),
                        _ => mistake,
                    });
                }
            }
            taken.insert(name);
        }
        if values.is_empty() {
            self.report(Diagnostic::error(place, "a net returns at least one tensor"));
        }
    }

    /// The `image(…);` of a source, for a net that has none itself.
    /// Records a mistake, unless its place has been marked, with the function it happened in. The result is poison.
    fn report(&mut self, mut mistake: Diagnostic) -> Value {
        if mistake.span.is_nowhere() || self.marked.insert(mistake.span) {
            if let [_, .., frame] = &self.frames[..] {
                let called = match frame.prefix.as_str() {
                    "" => String::new(),
                    prefix => format!(", called for {prefix}"),
                };
                mistake.notes.push(format!("in {}{called}", frame.function));
            }
            self.mistakes.push(mistake);
        }
        Value::Poison
    }

    /// Records that a limit was met.
    fn limit(&mut self, span: Span, message: String) -> Stop {
        self.report(Diagnostic::error(span, message));
        Stop::All
    }

    /// Counts a step of evaluation.
    fn step(&mut self, span: Span) -> Eval<()> {
        self.steps += 1;
        if self.mistakes.len() >= MAX_MISTAKES {
            return Err(Stop::All);
        }
        if self.steps > MAX_STEPS {
            return Err(self.limit(span, format!("elaboration takes more than {MAX_STEPS} steps")));
        }
        if self.graph.len() > MAX_NODES {
            return Err(self.limit(span, format!("the network has more than {MAX_NODES} nodes")));
        }
        Ok(())
    }

    fn push(&mut self, function: &'a str, is_net: bool, module: usize, prefix: String) {
        // A net's weights are called as the net says, wherever it stands; those of a function as its caller's.
        let convention = if is_net { Convention::default() } else { self.convention() };
        self.frames.push(Frame { function, is_net, module, prefix, convention, variables: Vec::new() });
    }

    fn declare(&mut self, name: &'a str, value: Value, mutable: bool, span: Span) {
        if let Some(frame) = self.frames.last_mut() {
            frame.variables.push(Variable { name, value, mutable, span });
        }
    }

    /// What goes before the names of the function that runs.
    fn prefix(&self) -> &str {
        self.frames.last().map_or("", |frame| &frame.prefix)
    }

    /// The source that the function that runs stands in.
    fn module(&self) -> usize {
        self.frames.last().map_or(0, |frame| frame.module)
    }
}
