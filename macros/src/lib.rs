//! The procedural macro behind `kiln::network!`: kiln's compiler, run on tokens.
//!
//! It is an implementation detail of the package `kiln`, whose macro passes on the path of the runtime, `$crate`, and
//! chooses the entry by the architecture that it is itself compiled for.

mod declared;
mod files;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kiln_compiler::back::rust::{Compiled, ExpandOptions, Signature, emit_tokens, type_names};
use kiln_compiler::diag::{Diagnostic, Error, Errors};
use kiln_compiler::front::{Overrides, TokenSpans, elaborate, parse_tokens};
use kiln_compiler::pipeline::{self, Options};
use kiln_compiler::target::{Target, targets_of};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};

use declared::Declared;
use files::Files;

/// A program for each instruction set of x86-64.
#[doc(hidden)]
#[proc_macro]
pub fn network_x86_64(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(input.into(), &targets_of("x86_64")).into()
}

/// A program for each instruction set of AArch64.
#[doc(hidden)]
#[proc_macro]
pub fn network_aarch64(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(input.into(), &targets_of("aarch64")).into()
}

/// For any other architecture.
#[doc(hidden)]
#[proc_macro]
pub fn network_portable(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(input.into(), &[Target::Portable]).into()
}

/// Expands `RUNTIME; NETWORKS`.
fn expand(input: TokenStream, targets: &[Target]) -> TokenStream {
    // Parsing switches proc-macro2 to its own lexer, for all threads of the process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);

    let mut input = input.into_iter();
    let is_end = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';');
    let runtime: TokenStream = input.by_ref().take_while(|token| !is_end(token)).collect();
    let networks: TokenStream = input.collect();
    let files = Files::beside(&networks);
    let (spec, spans) = parse_tokens(networks.clone());

    let declared = match &spec {
        Ok(spec) => declared::of_spec(spec, &spans),
        Err(_) => declared::of_tokens(networks),
    };
    let mut mistakes = Mistakes::default();
    let mut items = TokenStream::new();
    let mut types: BTreeMap<String, &str> = BTreeMap::new();
    for net in &declared {
        let name = &net.signature.name;
        let names = type_names(name);
        if let Some((ty, other)) = names.iter().find_map(|ty| Some((ty, *types.get(ty)?))) {
            let message =
                format!("`{name}` would be the type `{ty}`, which `{other}` makes: give one of them another name");
            mistakes.unplaced.push((net.span, message));
            continue;
        }
        types.extend(names.map(|ty| (ty, name.as_str())));
        let compiled = match &spec {
            Ok(spec) => elaborate(spec, &net.signature.name, &Overrides::default(), &files)
                .and_then(|graph| compile(net, graph, targets, &runtime)),
            Err(error) => Err(error.clone()),
        };
        items.extend(compiled.unwrap_or_else(|error| {
            mistakes.add(error, net.span);
            stand_in(net, &runtime)
        }));
    }
    match spec {
        Err(error) if declared.is_empty() => mistakes.add(error, Span::call_site()),
        Ok(_) if declared.is_empty() => {
            mistakes.unplaced.push((Span::call_site(), "there is no `net` in `network!`".to_owned()));
        }
        Ok(_) | Err(_) => {}
    }
    let (files, mistakes) = (files.included(), mistakes.tokens(&spans));
    quote! { #mistakes #files #items }
}

/// The items of a net.
fn compile(
    net: &Declared,
    graph: kiln_compiler::graph::Graph,
    targets: &[Target],
    runtime: &TokenStream,
) -> Result<TokenStream, Error> {
    let signature = Signature::of(&graph);
    let options = Options { targets: targets.to_vec(), ..Options::default() };
    let stages = pipeline::compile(graph, &options)?;
    let bug = |error: kiln_compiler::back::rust::Error| Error::Bug(error.to_string());
    let compiled = Compiled::new(signature, &stages.programs).map_err(bug)?;
    emit_tokens(&compiled, &expansion(net, runtime)).map_err(bug)
}

/// The items of a net with mistakes: the same types and signatures, without kernels, so that its users compile.
fn stand_in(net: &Declared, runtime: &TokenStream) -> TokenStream {
    Compiled::new(net.signature.clone(), &[])
        .and_then(|compiled| emit_tokens(&compiled, &expansion(net, runtime)))
        .unwrap_or_default()
}

fn expansion(net: &Declared, runtime: &TokenStream) -> ExpandOptions {
    let visibility = if net.public {
        quote! { pub }
    } else {
        quote! {}
    };
    ExpandOptions { runtime: runtime.clone(), visibility, about: net.about.clone() }
}

/// What goes wrong with all nets of one macro, each mistake once.
#[derive(Default)]
struct Mistakes {
    placed: Option<Errors>,
    unplaced: Vec<(Span, String)>,
}

impl Mistakes {
    /// Adds what is wrong with the net whose name stands at `net`.
    fn add(&mut self, error: Error, net: Span) {
        match error {
            Error::Spec(Errors { diagnostics, sources, .. }) => {
                let before: Vec<Diagnostic> = self.placed.take().map_or_else(Vec::new, |placed| placed.diagnostics);
                self.placed = Some(Errors::new(before.into_iter().chain(diagnostics).collect::<Vec<_>>(), sources));
            }
            Error::Unsupported(_) | Error::Limit(_) | Error::Bug(_) => self.unplaced.push((net, error.to_string())),
        }
    }

    fn tokens(&self, spans: &TokenSpans) -> TokenStream {
        let placed = self.placed.as_ref().map(|errors| spans.compile_errors(errors));
        let unplaced =
            self.unplaced.iter().map(|(net, message)| quote_spanned! {*net=> ::core::compile_error! { #message } });
        quote! { #placed #(#unplaced)* }
    }
}
