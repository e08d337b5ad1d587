//! Tokens to text.
//!
//! Tokens carry doc comments but no others, so a comment of emitted code is a marker until it is printed: the statement
//! or item `kiln_comment!("text");`. [`file()`] turns markers into `//` lines, [`without_comments`] drops them.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::quote;

/// The macro name that marks a comment. Nothing defines it.
const MARKER: &str = "kiln_comment";

/// The width that lists of numbers are filled to.
const WIDTH: usize = 100;

/// A comment, as a statement or item of its own.
pub(super) fn comment(text: &str) -> TokenStream {
    let marker = super::names::ident(MARKER);
    quote! { #marker!(#text); }
}

/// A doc comment; each line of the text is a line of it.
pub(super) fn doc(text: &str) -> TokenStream {
    let lines = text.lines().map(|line| if line.is_empty() { String::new() } else { format!(" {line}") });
    quote! { #(#[doc = #lines])* }
}

/// The doc comment of the file or module that it opens.
pub(super) fn inner_doc(text: &str) -> TokenStream {
    let lines = text.lines().map(|line| if line.is_empty() { String::new() } else { format!(" {line}") });
    quote! { #(#![doc = #lines])* }
}

/// The text of a source file, with `header` as its first line.
///
/// # Errors
/// Tokens that are no Rust file: a mistake in the back end.
pub(super) fn file(header: &str, tokens: TokenStream) -> Result<String, syn::Error> {
    Ok(format!("// {header}\n{}", items(tokens)?))
}

/// The text of items.
///
/// # Errors
/// Tokens that are no items: a mistake in the back end.
pub(super) fn items(tokens: TokenStream) -> Result<String, syn::Error> {
    let text = prettyplease::unparse(&syn::parse2(tokens)?);
    let mut lines: Vec<String> = Vec::new();
    let mut rest = text.lines();
    while let Some(line) = rest.next() {
        let marker = line.trim_start();
        if let Some(literal) = marker.strip_prefix(MARKER).and_then(|rest| rest.strip_prefix("!(")) {
            let indent = &line[..line.len() - marker.len()];
            // A text that does not fit beside the marker stands on a line of its own, and so does what closes it.
            let literal = if literal.is_empty() { rest.next().unwrap_or_default().trim() } else { literal };
            let literal = match literal.strip_suffix(");") {
                Some(literal) => literal,
                None => {
                    rest.next();
                    literal
                }
            };
            let text = syn::parse_str::<syn::LitStr>(literal)?.value();
            if lines.last().is_some_and(|last| indent.is_empty() && is_gap(last, line)) {
                lines.push(String::new());
            }
            lines.extend(text.lines().map(|line| format!("{indent}// {line}")));
            continue;
        }
        if lines.last().is_some_and(|last| is_gap(last, line)) {
            lines.push(String::new());
        }
        match lines.last_mut() {
            // Numbers of a long list stand side by side.
            Some(last) if is_numbers(last) && is_numbers(line) && last.len() + marker.len() < WIDTH => {
                last.push(' ');
                last.push_str(marker);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// The same tokens without their comments.
pub(super) fn without_comments(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(name) if name == MARKER => {
                // What follows is `!`, the text in parentheses, and `;`.
                tokens.by_ref().take(3).for_each(drop);
            }
            TokenTree::Group(group) => {
                let mut stripped = Group::new(group.delimiter(), without_comments(group.stream()));
                stripped.set_span(group.span());
                kept.push(TokenTree::Group(stripped));
            }
            token => kept.push(token),
        }
    }
    kept.into_iter().collect()
}

fn is_numbers(line: &str) -> bool {
    line.ends_with(',') && line.trim_start().bytes().all(|byte| byte.is_ascii_digit() || byte == b',' || byte == b' ')
}

/// Whether a blank line belongs between two lines: both are at the margin, and between them an item or the file's doc
/// comment ends. Declarations of one kind, as `use`, stay together.
fn is_gap(last: &str, next: &str) -> bool {
    let at_margin = |line: &str| line.starts_with(|c: char| !c.is_whitespace() && c != '}' && c != ')' && c != ']');
    if !at_margin(next) || next.starts_with("//!") {
        return false;
    }
    if last.starts_with(['}', ']']) || last.starts_with("//!") {
        return true;
    }
    let kind = |line: &str| {
        let words = line.split(' ').take_while(|word| ["pub", "use", "mod", "const", "static"].contains(word));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    at_margin(last)
        && last.ends_with(';')
        && !kind(last).is_empty()
        && kind(last) != kind(next)
        && !next.starts_with("#[cfg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_printed_or_dropped() {
        let safety =
            comment("SAFETY: it is, it is, it is, it is, it is, it is, it is, it is, it is, it is.\nReally \"so\".");
        let tokens = quote! { fn f() { #safety unsafe { g() } } fn g() {} };
        let text = file("Generated.", tokens.clone()).unwrap();
        let expected = "// Generated.\nfn f() {\n    // SAFETY: it is, it is, it is, it is, it is, \
                        it is, it is, it is, it is, it is.\n    // Really \"so\".\n    unsafe { g() }\n}\n\n\
                        fn g() {}\n";
        assert_eq!(text, expected);
        let bare = quote! { fn f() { unsafe { g() } } fn g() {} };
        assert_eq!(without_comments(tokens).to_string(), bare.to_string());
    }
}
