//! Text or macro tokens to the AST: syn reads Rust's syntax, [`convert`] keeps what belongs to the language.
//!
//! The items of a source are parsed one by one, so that a mistake in one does not hide the mistakes of the next.

mod convert;
mod pattern;

use std::collections::HashMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, LitStr, Token, braced, parenthesized};

use super::scan;
use super::source::{OwnLexer, Places, TokenSpans};
use super::spec::{Alias, Call, Expr, Function, Ident, Item, Net, Param, SourcePath, Spec, Use};
use crate::diag::{Diagnostic, Error, Errors, Sources, Span};
use convert::Convert;

mod keyword {
    syn::custom_keyword!(net);
    syn::custom_keyword!(image);
    syn::custom_keyword!(weights);
}

/// Parses a `.net` text; `name` is what messages call it.
///
/// # Errors
/// All syntax mistakes, at most one an item, and everything that is Rust but not the language.
pub fn parse_text(name: &str, text: &str) -> Result<Spec, Error> {
    let mut sources = Sources::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = sources.add(name, Some(text));
    parse_source(text, &sources, file)
}

/// Parses the tokens of `network! { … }`. What comes back beside the result turns mistakes into `compile_error!` tokens.
///
/// Spans that proc-macro2 itself made on this thread (not a compiler's) are void afterwards.
///
/// # Errors
/// As [`parse_text`].
pub fn parse_tokens(tokens: TokenStream) -> (Result<Spec, Error>, TokenSpans) {
    let (text, spans) = TokenSpans::write(tokens);
    let mut sources = Sources::default();
    let file = sources.add(spans.file(), None);
    let spec = parse(&text, &sources, Places::Tokens { file, tokens: &spans });
    (spec, spans)
}

/// Parses one expression that is `file` of `sources`.
pub(super) fn parse_value(text: &str, sources: &Sources, file: u32) -> Result<Expr, Error> {
    let fail = |mistakes| Errors::new(mistakes, sources.clone()).into();
    let _lexer = OwnLexer::start();
    scan::check(text).map_err(|mistake| fail(vec![Diagnostic { span: Span::NOWHERE, ..*mistake }]))?;
    let mut convert = Convert::new(Places::Text { file });
    match syn::parse_str::<syn::Expr>(text) {
        Ok(expr) => {
            let expr = convert.expr(&expr);
            if convert.mistakes.is_empty() { Ok(expr) } else { Err(fail(convert.mistakes)) }
        }
        Err(error) => Err(fail(vec![Diagnostic::error(Span::NOWHERE, format!("in `{text}`: {error}"))])),
    }
}

/// Parses the text that is `file` of `sources`.
pub(super) fn parse_source(text: &str, sources: &Sources, file: u32) -> Result<Spec, Error> {
    parse(text, sources, Places::Text { file })
}

fn parse(text: &str, sources: &Sources, places: Places<'_>) -> Result<Spec, Error> {
    if text.len() > scan::MAX_BYTES {
        return Err(Error::Limit(format!(
            "a source has at most {} bytes, this one has {}",
            scan::MAX_BYTES,
            text.len()
        )));
    }
    let fail = |mistakes| Err(Errors::new(mistakes, sources.clone()).into());
    let _lexer = OwnLexer::start();
    let place = |span: Span| match places {
        Places::Text { file } => Span { file, ..span },
        Places::Tokens { file, tokens } => tokens.place(file, span),
        Places::Inside(outer) => outer,
    };
    if let Err(mut mistake) = scan::check(text) {
        mistake.span = place(mistake.span);
        for (span, _) in &mut mistake.secondary {
            *span = place(*span);
        }
        return fail(vec![*mistake]);
    }
    let tokens: TokenStream = match text.parse() {
        Ok(tokens) => tokens,
        Err(error) => {
            let span = place(scan::character(text, error.span().byte_range().start));
            return fail(vec![Diagnostic::error(span, "this is not a token of the language")]);
        }
    };
    let mut convert = Convert::new(places);
    let mut spec = Spec { sources: sources.clone(), docs: Vec::new(), items: Vec::new() };
    for chunk in split_items(tokens) {
        let end = chunk.last().map(TokenTree::span);
        let parser = |input: ParseStream| item(input, &mut convert, &mut spec.docs);
        match parser.parse2(chunk.into_iter().collect()) {
            Ok(Some(item)) => spec.items.push(item),
            Ok(None) => {}
            Err(error) => convert.syntax(error, end),
        }
    }
    duplicates(&spec, &mut convert.mistakes);
    if convert.mistakes.is_empty() { Ok(spec) } else { fail(convert.mistakes) }
}

/// Cuts a source after each `;` and each `}` of the top level.
fn split_items(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut items = vec![Vec::new()];
    for token in tokens {
        let ends = match &token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        };
        if let Some(item) = items.last_mut() {
            item.push(token);
        }
        if ends {
            items.push(Vec::new());
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

/// One item; nothing for what only documents the file.
fn item(input: ParseStream, convert: &mut Convert<'_>, file_docs: &mut Vec<String>) -> syn::Result<Option<Item>> {
    file_docs.extend(docs(input.call(Attribute::parse_inner)?));
    let docs = docs(input.call(Attribute::parse_outer)?);
    if input.is_empty() {
        return Ok(None);
    }
    let public: Option<Token![pub]> = input.parse()?;
    let lookahead = input.lookahead1();
    let item = if lookahead.peek(Token![fn]) {
        input.parse::<Token![fn]>()?;
        Item::Function(function(input, convert, docs)?)
    } else if lookahead.peek(keyword::net) {
        input.parse::<keyword::net>()?;
        Item::Net(Net { public: public.is_some(), function: function(input, convert, docs)? })
    } else if lookahead.peek(Token![use]) {
        input.parse::<Token![use]>()?;
        import(input, convert, docs, public.is_some())?
    } else if public.is_none() && (lookahead.peek(keyword::image) || lookahead.peek(keyword::weights)) {
        let name: syn::Ident = input.parse()?;
        let call = arguments(input, convert, vec![name])?;
        input.parse::<Option<Token![;]>>()?;
        Item::Setting(call)
    } else if public.is_none() && lookahead.peek(Token![;]) {
        input.parse::<Token![;]>()?;
        return Ok(None);
    } else {
        return Err(lookahead.error());
    };
    Ok(Some(item))
}

fn function(input: ParseStream, convert: &mut Convert<'_>, docs: Vec<String>) -> syn::Result<Function> {
    let name: syn::Ident = input.parse()?;
    let content;
    parenthesized!(content in input);
    let mut params = Vec::new();
    while !content.is_empty() {
        params.push(param(&content, convert)?);
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    let content;
    let brace = braced!(content in input);
    let stmts = content.call(syn::Block::parse_within)?;
    let body = convert.block(&syn::Block { brace_token: brace, stmts });
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for param in &params {
        let Ident { name, span } = &param.name;
        if name == "name" {
            convert.error(
                *span,
                "`name` cannot be a parameter: every call may give a name, and it goes before the names inside",
            );
        }
        if let Some(first) = seen.insert(name, *span) {
            let twice = Diagnostic::error(*span, format!("parameter `{name}` is there twice"));
            convert.mistakes.push(twice.secondary(first, "first here"));
        }
    }
    Ok(Function { docs, name: convert.ident(&name), params, body })
}

fn param(input: ParseStream, convert: &mut Convert<'_>) -> syn::Result<Param> {
    let name: syn::Ident = input.parse()?;
    let mut param = Param { name: convert.ident(&name), shape: None, default: None };
    if input.parse::<Option<Token![:]>>()?.is_some() {
        let shape: syn::Expr = input.parse()?;
        param.shape = Some(convert.expr(&shape));
    } else if input.parse::<Option<Token![=]>>()?.is_some() {
        let default: syn::Expr = input.parse()?;
        param.default = Some(convert.expr(&default));
    }
    Ok(param)
}

/// What follows `use`.
fn import(input: ParseStream, convert: &mut Convert<'_>, docs: Vec<String>, public: bool) -> syn::Result<Item> {
    if input.peek(LitStr) {
        let file: LitStr = input.parse()?;
        input.parse::<Token![;]>()?;
        return Ok(Item::Use(Use { source: SourcePath::File(file.value()), span: convert.place(file.span()) }));
    }
    let path: Vec<syn::Ident> =
        Punctuated::<syn::Ident, Token![::]>::parse_separated_nonempty(input)?.into_iter().collect();
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
        let span = convert.path_span(&path);
        return match &path[..] {
            [zoo, name] if zoo == "zoo" => Ok(Item::Use(Use { source: SourcePath::Zoo(name.to_string()), span })),
            _ => Err(syn::Error::new(path[0].span(), "expected a file in quotes, `zoo::NAME`, or `PATH(…) as NAME`")),
        };
    }
    let target = match input.peek(syn::token::Paren) {
        true => arguments(input, convert, path)?,
        false => {
            let span = convert.path_span(&path);
            Call {
                path: path.iter().map(ToString::to_string).collect(),
                path_span: span,
                receiver: None,
                args: Vec::new(),
            }
        }
    };
    input.parse::<Token![as]>()?;
    let name: syn::Ident = input.parse()?;
    input.parse::<Token![;]>()?;
    Ok(Item::Alias(Alias { docs, public, target, name: convert.ident(&name) }))
}

/// A call whose path has been read.
fn arguments(input: ParseStream, convert: &mut Convert<'_>, path: Vec<syn::Ident>) -> syn::Result<Call> {
    let content;
    parenthesized!(content in input);
    let args = Punctuated::<syn::Expr, Token![,]>::parse_terminated(&content)?;
    Ok(Call {
        path_span: convert.path_span(&path),
        path: path.iter().map(ToString::to_string).collect(),
        receiver: None,
        args: convert.args(&args),
    })
}

/// The lines of `///` and `//!` comments.
fn docs(attributes: Vec<Attribute>) -> Vec<String> {
    let mut docs = Vec::new();
    for attribute in attributes {
        let text = match &attribute.meta {
            syn::Meta::NameValue(syn::MetaNameValue { path, value: syn::Expr::Lit(lit), .. })
                if path.is_ident("doc") =>
            {
                match &lit.lit {
                    syn::Lit::Str(text) => text.value(),
                    _ => continue,
                }
            }
            _ => continue,
        };
        docs.extend(text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()));
        if text.is_empty() {
            docs.push(String::new());
        }
    }
    docs
}

/// Items of one name.
fn duplicates(spec: &Spec, mistakes: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for item in &spec.items {
        let name = match item {
            Item::Function(function) => &function.name,
            Item::Net(net) => &net.function.name,
            Item::Alias(alias) => &alias.name,
            Item::Use(_) | Item::Setting(_) => continue,
        };
        if let Some(&first) = seen.get(name.name.as_str()) {
            let twice = Diagnostic::error(name.span, format!("`{}` is defined twice", name.name));
            mistakes.push(twice.secondary(first, "first here"));
        }
        seen.entry(&name.name).or_insert(name.span);
    }
}

#[cfg(test)]
mod tests;
