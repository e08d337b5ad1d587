//! From a place in what syn parsed to a place in what the user wrote, for both doors.
//!
//! Both doors parse text. A macro's tokens are written out as text first, with a table of where each token lies in that text
//! and where the compiler says it came from; so one parser serves both, and a `proc_macro2::Span` of the compiler stays in
//! [`TokenSpans`].

use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, TokenStream, TokenTree};

use crate::diag::{Errors, Pos, Span};

/// Makes proc-macro2 lex by itself while it lives, also inside a procedural macro: the compiler gives text that it did not
/// read no places. Then the places are released; they would pile up otherwise.
pub(super) struct OwnLexer(());

impl OwnLexer {
    pub(super) fn start() -> Self {
        proc_macro2::fallback::force();
        OwnLexer(())
    }
}

impl Drop for OwnLexer {
    fn drop(&mut self) {
        proc_macro2::extra::invalidate_current_thread_spans();
        proc_macro2::fallback::unforce();
    }
}

/// How the spans of parsed tokens become [`Span`]s.
#[derive(Clone, Copy)]
pub(super) enum Places<'a> {
    /// The text is the source.
    Text { file: u32 },
    /// The text was written from tokens.
    Tokens { file: u32, tokens: &'a TokenSpans },
    /// The text stands inside one token: everything in it has its place.
    Inside(Span),
}

impl Places<'_> {
    /// The place of a token, or `None` for the span that syn gives to the end of the input.
    pub(super) fn span(self, span: proc_macro2::Span) -> Option<Span> {
        let range = span.byte_range();
        if range.is_empty() {
            return None;
        }
        let pos = |offset: usize, at: proc_macro2::LineColumn| Pos {
            offset: offset as u32,
            line: at.line as u32,
            column: at.column as u32 + 1,
        };
        Some(match self {
            Places::Inside(span) => span,
            Places::Text { file } => {
                Span { file, start: pos(range.start, span.start()), end: pos(range.end, span.end()) }
            }
            Places::Tokens { file, tokens } => {
                let at = |offset| Pos { offset: offset as u32, line: 1, column: 1 };
                tokens.place(file, Span { file, start: at(range.start), end: at(range.end) })
            }
        })
    }
}

/// The tokens that a macro was called with: where each lies in the text written from them, and its own span.
pub struct TokenSpans {
    tokens: Vec<Token>,
    file: String,
}

struct Token {
    /// Its first byte in the written text.
    start: u32,
    span: proc_macro2::Span,
    /// Where the user wrote it.
    from: Pos,
    to: Pos,
}

impl TokenSpans {
    /// Writes tokens as text, without recursion. Groups without delimiters, which stand for one expression, get parentheses.
    pub(super) fn write(stream: TokenStream) -> (String, TokenSpans) {
        let file = stream.clone().into_iter().next().map_or_else(String::new, |first| first.span().file());
        let mut table = TokenSpans { tokens: Vec::new(), file };
        let mut text = String::new();
        let mut open = vec![(stream.into_iter(), None)];
        while let Some((tokens, _)) = open.last_mut() {
            match tokens.next() {
                Some(TokenTree::Group(group)) => {
                    let (left, right) = brackets(&group);
                    table.push(&mut text, left, group.span_open(), " ");
                    open.push((group.stream().into_iter(), Some((right, group.span_close()))));
                }
                Some(TokenTree::Punct(punct)) => {
                    let space = if punct.spacing() == Spacing::Joint { "" } else { " " };
                    table.push(&mut text, &punct.as_char().to_string(), punct.span(), space);
                }
                Some(token) => table.push(&mut text, &token.to_string(), token.span(), " "),
                None => {
                    if let Some((_, Some((right, span)))) = open.pop() {
                        table.push(&mut text, right, span, " ");
                    }
                }
            }
        }
        (text, table)
    }

    /// The file that the first token says it came from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The compiler's spans of the first and the last token of a place in the macro's own tokens.
    pub fn ends(&self, span: Span) -> Option<(proc_macro2::Span, proc_macro2::Span)> {
        if span.is_nowhere() || span.file != 0 {
            return None;
        }
        let last = self.at(span.end.offset.saturating_sub(1).max(span.start.offset))?;
        Some((self.at(span.start.offset)?.span, last.span))
    }

    /// `compile_error!` calls, one a mistake, each under its own tokens. A mistake in another file stands under the first
    /// token of the macro and names its place.
    pub fn compile_errors(&self, errors: &Errors) -> TokenStream {
        let mut out = TokenStream::new();
        for diagnostic in &errors.diagnostics {
            let mut message = diagnostic.render_inline(&errors.sources);
            let (first, last) = self.ends(diagnostic.span).unwrap_or_else(|| {
                let place = errors.sources.locate(diagnostic.span);
                if !place.is_empty() {
                    message = format!("{place}: {message}");
                }
                let first = self.tokens.first().map_or_else(proc_macro2::Span::call_site, |token| token.span);
                (first, first)
            });
            out.extend(compile_error(&message, first, last));
        }
        out
    }

    /// The place in the user's file of a place in the written text.
    pub(super) fn place(&self, file: u32, span: Span) -> Span {
        let (start, end) = (span.start.offset, span.end.offset);
        match (self.at(start), self.at(end.saturating_sub(1).max(start))) {
            (Some(first), Some(last)) => {
                Span { file, start: Pos { offset: start, ..first.from }, end: Pos { offset: end, ..last.to } }
            }
            _ => Span::NOWHERE,
        }
    }

    fn push(&mut self, text: &mut String, token: &str, span: proc_macro2::Span, space: &str) {
        let start = text.len() as u32;
        text.push_str(token);
        let pos = |at: proc_macro2::LineColumn| Pos { offset: 0, line: at.line as u32, column: at.column as u32 + 1 };
        self.tokens.push(Token { start, span, from: pos(span.start()), to: pos(span.end()) });
        text.push_str(space);
    }

    /// The token at a byte of the written text.
    fn at(&self, offset: u32) -> Option<&Token> {
        let after = self.tokens.partition_point(|token| token.start <= offset);
        self.tokens.get(after.checked_sub(1)?)
    }
}

fn brackets(group: &Group) -> (&'static str, &'static str) {
    match group.delimiter() {
        Delimiter::Parenthesis | Delimiter::None => ("(", ")"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::Brace => ("{", "}"),
    }
}

/// `::core::compile_error! { "message" }`, whose tokens make the compiler underline from `first` to `last`.
fn compile_error(message: &str, first: proc_macro2::Span, last: proc_macro2::Span) -> TokenStream {
    let punct = |sign, spacing| {
        let mut punct = Punct::new(sign, spacing);
        punct.set_span(first);
        TokenTree::Punct(punct)
    };
    let ident = |name| TokenTree::Ident(Ident::new(name, first));
    let mut literal = Literal::string(message);
    literal.set_span(last);
    let mut group = Group::new(Delimiter::Brace, TokenTree::Literal(literal).into());
    group.set_span(last);
    TokenStream::from_iter([
        punct(':', Spacing::Joint),
        punct(':', Spacing::Alone),
        ident("core"),
        punct(':', Spacing::Joint),
        punct(':', Spacing::Alone),
        ident("compile_error"),
        punct('!', Spacing::Alone),
        TokenTree::Group(group),
    ])
}
