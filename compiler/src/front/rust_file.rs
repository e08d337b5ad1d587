//! The networks in a Rust file: what stands in its `network!`s.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};

use super::parse::parse_source;
use super::scan;
use super::source::OwnLexer;
use super::spec::{Ident, Item, Spec};
use crate::diag::{Diagnostic, Error, Errors, Sources, Span};

/// The most `network!`s of a file: each is parsed with blanks for all that stands before it.
const MOST: usize = 64;

/// The specs of a file's `network!`s, in the order of the file; places are those in the file.
///
/// # Errors
/// What is not Rust, a file without a `network!`, one with two networks of one name, and the mistakes of all specs.
pub(super) fn parse_rust(name: &str, text: &str) -> Result<Vec<Spec>, Error> {
    let mut sources = Sources::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = sources.add(name, Some(text));
    let fail = |mistake| Error::from(Errors::new(vec![mistake], sources.clone()));
    if text.len() > scan::MAX_BYTES {
        return Err(Error::Limit(format!("a source has at most {} bytes, {name} has {}", scan::MAX_BYTES, text.len())));
    }
    let inside = macros(text).map_err(|offset| {
        let span = Span { file, ..scan::character(text, offset) };
        fail(Diagnostic::error(span, "this is no Rust: a bracket, a quote or a sign that nothing fits"))
    })?;
    if inside.is_empty() {
        return Err(fail(Diagnostic::error(Span::NOWHERE, format!("{name} has no `network!`"))));
    }
    if inside.len() > MOST {
        return Err(Error::Limit(format!("a Rust file has at most {MOST} `network!`s, {name} has {}", inside.len())));
    }
    let (mut specs, mut mistakes, mut more) = (Vec::new(), Vec::new(), 0);
    for (start, end) in inside {
        // What stands before becomes spaces, so that each token keeps its place.
        let blank = text[..start].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' });
        let alone = blank.chain(text[start..end].chars()).collect::<String>();
        match parse_source(&alone, &sources, file) {
            Ok(spec) => specs.push(spec),
            Err(Error::Spec(errors)) => {
                mistakes.extend(errors.diagnostics);
                more += errors.more;
            }
            Err(error) => return Err(error),
        }
    }
    if !mistakes.is_empty() {
        let mut errors = Errors::new(mistakes, sources);
        errors.more += more;
        return Err(errors.into());
    }
    match twice(&specs) {
        Some(mistake) => Err(fail(mistake)),
        None => Ok(specs),
    }
}

/// What a spec declares, public or not.
fn declared(spec: &Spec) -> impl Iterator<Item = &Ident> {
    spec.items.iter().filter_map(|item| match item {
        Item::Net(net) => Some(&net.function.name),
        Item::Alias(alias) => Some(&alias.name),
        Item::Function(_) | Item::Use(_) | Item::Setting(_) => None,
    })
}

/// Whether a spec declares a network of this name.
pub(super) fn declares(spec: &Spec, net: &str) -> bool {
    declared(spec).any(|name| name.name == net)
}

/// The mistake that two networks have one name. Within a spec it is found as that is parsed.
fn twice(specs: &[Spec]) -> Option<Diagnostic> {
    let mut known: BTreeMap<&str, Span> = BTreeMap::new();
    for Ident { name, span } in specs.iter().flat_map(declared) {
        if let Some(first) = known.insert(name, *span) {
            let mistake = Diagnostic::error(*span, format!("`{name}` is declared twice in this file"));
            return Some(
                mistake.label("again here").secondary(first, "first here").help("`FILE#NET` could mean either"),
            );
        }
    }
    None
}

/// The bytes between the brackets of each `network!`.
///
/// # Errors
/// The byte where the text stops being made of Rust's tokens.
fn macros(text: &str) -> Result<Vec<(usize, usize)>, usize> {
    let _lexer = OwnLexer::start();
    let tokens: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| error.span().byte_range().start)?;
    let mut found = Vec::new();
    let mut streams = vec![tokens];
    while let Some(stream) = streams.pop() {
        // How much of `network !` stands before the token.
        let mut before = 0;
        for token in stream {
            before = match token {
                TokenTree::Ident(ident) if ident == "network" => 1,
                TokenTree::Punct(punct) if before == 1 && punct.as_char() == '!' => 2,
                TokenTree::Group(group) => {
                    if before == 2 {
                        found.push((group.span_open().byte_range().end, group.span_close().byte_range().start));
                    } else {
                        streams.push(group.stream());
                    }
                    0
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => 0,
            };
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "//! network! { in a comment }\nuse kiln::network;\n\nmod nets {\n    kiln::network! {\n        /// Größe.\n        pub net A(x: [1, 3]) { x.relu() }\n    }\n}\nfn network() { println!(\"network! {{ }}\"); }\nnetwork!(net B(x: [1, 4]) { x.tanh() });\n";

    #[test]
    fn every_network_of_a_file_is_found_at_its_place() {
        let specs = parse_rust("lib.rs", FILE).expect("two specs");
        let names: Vec<&str> = specs.iter().flat_map(declared).map(|name| name.name.as_str()).collect();
        assert_eq!(names, ["A", "B"]);
        let name = |spec: &Spec| {
            let span = spec.nets().next().expect("a net").function.name.span;
            spec.sources.locate(span)
        };
        assert_eq!(specs.iter().map(name).collect::<Vec<_>>(), ["lib.rs:7:17", "lib.rs:11:14"]);
    }

    #[test]
    fn mistakes_of_all_networks_are_told_with_lines_of_the_file() {
        let text = FILE.replace("x.relu()", "x.while()").replace("x.tanh()", "x.loop()");
        let Err(Error::Spec(errors)) = parse_rust("lib.rs", &text) else { panic!("two mistakes") };
        assert_eq!(errors.diagnostics.len(), 2);
        assert_eq!(
            errors.sources.line(0, errors.diagnostics[1].span.start.line),
            Some("network!(net B(x: [1, 4]) { x.loop() });")
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_place() {
        let fails = |text: &str| parse_rust("lib.rs", text).expect_err("a mistake").to_string();
        assert!(fails("fn main() {}").contains("lib.rs has no `network!`"));
        for (text, place) in [
            ("fn main() {\n  (1, 2];\n}", "lib.rs:2:8\n"),
            ("fn main() {\n  let s = \"open;\n}", "lib.rs:2:11\n"),
            ("fn f() {}\n}", "lib.rs:2:1\n"),
            ("fn f() {\n", "lib.rs:1:8\n"),
        ] {
            let message = fails(text);
            assert!(message.contains("this is no Rust") && message.contains(place), "{message}");
        }
        let twice = fails(&FILE.replace("net B", "net A"));
        assert!(twice.contains("`A` is declared twice") && twice.contains("lib.rs:11:14\n"), "{twice}");
        assert!(fails(&"network!{net A(x:[1]){x}}".repeat(65)).contains("at most 64 `network!`s, lib.rs has 65"));
    }
}
