//! The nets that become types, known also where they have mistakes.

use kiln_compiler::back::rust::{Signature, Tensor};
use kiln_compiler::front::spec::{Call, ExprKind, Function, Ident, Item, Spec};
use kiln_compiler::front::{TokenSpans, nets};
use kiln_compiler::graph::DType;
use proc_macro2::{Span, TokenStream, TokenTree};

/// A net that becomes a type.
pub(crate) struct Declared {
    /// Whether it is declared `pub`.
    pub(crate) public: bool,
    /// Its documentation.
    pub(crate) about: String,
    /// Where its name stands.
    pub(crate) span: Span,
    /// Its name, and what it takes and gives as far as its declaration says: names without shapes.
    pub(crate) signature: Signature,
}

/// The public nets of a spec, or all if none is public.
pub(crate) fn of_spec(spec: &Spec, spans: &TokenSpans) -> Vec<Declared> {
    let names = nets(spec);
    let declared = spec.items.iter().filter_map(|item| {
        let (public, docs, name, function) = match item {
            Item::Net(net) => (net.public, &net.function.docs, &net.function.name, Some(&net.function)),
            Item::Alias(alias) => (alias.public, &alias.docs, &alias.name, target(spec, &alias.target)),
            Item::Function(_) | Item::Use(_) | Item::Setting(_) => return None,
        };
        let Ident { name, span } = name;
        let span = spans.ends(*span).map_or_else(Span::call_site, |(first, _)| first);
        let signature = function.map_or_else(|| one_to_one(name), |function| signature(name, function));
        let about = if docs.is_empty() { format!("The network `{name}`.") } else { docs.join("\n") };
        names.contains(&name.as_str()).then_some(Declared { public, about, span, signature })
    });
    declared.collect()
}

/// The nets that tokens with mistakes declare, as far as can be told: the names that follow `net` and `as` outside of
/// all brackets.
pub(crate) fn of_tokens(tokens: TokenStream) -> Vec<Declared> {
    let mut declared = Vec::new();
    let mut public = false;
    let mut names = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if std::mem::take(&mut names) => {
                let (name, span) = (word.to_string(), word.span());
                declared.push(Declared { public, about: String::new(), span, signature: one_to_one(&name) });
            }
            TokenTree::Ident(word) if word == "pub" => public = true,
            TokenTree::Ident(word) if word == "net" || word == "as" => names = true,
            TokenTree::Ident(word) if word == "fn" => public = false,
            TokenTree::Punct(punct) if punct.as_char() == ';' => (public, names) = (false, false),
            TokenTree::Group(_) => names = false,
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    declared
}

/// The net of the same spec that an alias names.
fn target<'a>(spec: &'a Spec, call: &Call) -> Option<&'a Function> {
    let [path] = &call.path[..] else { return None };
    spec.items.iter().find_map(|item| match item {
        Item::Net(net) if net.function.name.name == *path => Some(&net.function),
        Item::Net(_) | Item::Alias(_) | Item::Function(_) | Item::Use(_) | Item::Setting(_) => None,
    })
}

fn signature(name: &str, function: &Function) -> Signature {
    let inputs = function.params.iter().filter(|param| param.shape.is_some()).map(|param| tensor(&param.name.name));
    let outputs = match function.body.tail.as_ref().map(|tail| &tail.kind) {
        Some(ExprKind::Tuple(results)) => results
            .iter()
            .enumerate()
            .map(|(i, result)| match &result.kind {
                ExprKind::Name(name) => tensor(name),
                _ => tensor(&format!("output{i}")),
            })
            .collect(),
        _ => vec![tensor("output")],
    };
    Signature { name: name.to_owned(), inputs: inputs.collect(), outputs, probabilities: false, quantizes: false }
}

/// The signature of most networks.
fn one_to_one(name: &str) -> Signature {
    Signature {
        name: name.to_owned(),
        inputs: vec![tensor("input")],
        outputs: vec![tensor("output")],
        probabilities: false,
        quantizes: false,
    }
}

fn tensor(name: &str) -> Tensor {
    Tensor { name: name.to_owned(), dtype: DType::F32, shape: vec![] }
}
