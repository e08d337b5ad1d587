//! The networks in a Rust file: what stands in its `network!`s.

use proc_macro2::{TokenStream, TokenTree};

use super::parse::parse_source;
use super::source::OwnLexer;
use super::spec::Spec;
use super::{nets, scan};
use crate::diag::{Diagnostic, Error, Errors, Sources, Span};

/// The specs of a file's `network!`s, in the order of the file; places are those in the file.
///
/// # Errors
/// What is not Rust, a file without a `network!`, one with two networks of one name, and the mistakes of all specs.
pub(super) fn parse_rust(name: &str, text: &str) -> Result<Vec<Spec>, Error> {
    let mut sources = Sources::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = sources.add(name, Some(text));
    let fail = |mistakes| Error::from(Errors::new(mistakes, sources.clone()));
    let mistake = |message: String| fail(vec![Diagnostic::error(Span::NOWHERE, message)]);
    if text.len() > scan::MAX_BYTES {
        return Err(Error::Limit(format!("a source has at most {} bytes, {name} has {}", scan::MAX_BYTES, text.len())));
    }
    let inside =
        macros(text).map_err(|line| mistake(format!("{name} is no Rust: line {line} is not made of tokens")))?;
    if inside.is_empty() {
        return Err(mistake(format!("{name} has no `network!`")));
    }
    let (mut specs, mut mistakes) = (Vec::new(), Vec::new());
    for (start, end) in inside {
        // Everything around becomes spaces, so that each token keeps its place.
        let blank = |text: &str| text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect::<String>();
        let alone = [&blank(&text[..start]), &text[start..end], &blank(&text[end..])].concat();
        match parse_source(&alone, &sources, file) {
            Ok(spec) => specs.push(spec),
            Err(Error::Spec(errors)) => mistakes.extend(errors.diagnostics),
            Err(error) => return Err(error),
        }
    }
    if !mistakes.is_empty() {
        return Err(fail(mistakes));
    }
    let mut names: Vec<&str> = specs.iter().flat_map(nets).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(mistake(format!("{name} declares `{}` twice", pair[0]))),
        None => Ok(specs),
    }
}

/// The bytes between the brackets of each `network!`.
///
/// # Errors
/// The line where the text stops being made of Rust's tokens.
fn macros(text: &str) -> Result<Vec<(usize, usize)>, usize> {
    let _lexer = OwnLexer::start();
    let tokens: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| error.span().start().line)?;
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
        assert_eq!(specs.iter().flat_map(nets).collect::<Vec<_>>(), ["A", "B"]);
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
        let fails = |text: &str| parse_rust("lib.rs", text).expect_err("a mistake").to_string();
        assert!(fails("fn main() {}").contains("lib.rs has no `network!`"));
        assert!(fails("fn main( {}").contains("lib.rs is no Rust"));
        assert!(fails(&FILE.replace("net B", "net A")).contains("declares `A` twice"));
    }
}
