//! What is wrong, where, and by whose fault.
//!
//! A [`Diagnostic`] is one mistake with its places; [`Errors`] are all mistakes of one run, in the order of the source, with the
//! texts they point into; [`Error`] sorts failures by whose fault they are. Everything here is `Send` and owns its data: a
//! `proc_macro2::Span` never leaves the parser that read it.

mod render;

use std::fmt;
use std::sync::Arc;

/// So many of something, in words: `1 argument`, `2 arguments`.
pub fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// A position in a source: byte offset from 0, line and column (in characters) from 1.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pos {
    /// Bytes before this position.
    pub offset: u32,
    /// Line, from 1; 0 in a span that points nowhere.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A half-open range of one source, or nowhere (the default).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Index into [`Sources`].
    pub file: u32,
    /// Where the first token starts.
    pub start: Pos,
    /// Where the last token ends.
    pub end: Pos,
}

impl Span {
    /// The span that points nowhere.
    pub const NOWHERE: Span =
        Span { file: 0, start: Pos { offset: 0, line: 0, column: 0 }, end: Pos { offset: 0, line: 0, column: 0 } };

    /// Whether this span points nowhere.
    pub fn is_nowhere(self) -> bool {
        self.start.line == 0
    }

    /// From the start of `self` to the end of `last`, a span of the same file.
    pub fn to(self, last: Span) -> Span {
        Span { end: last.end, ..self }
    }
}

impl fmt::Debug for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}-{:?}", self.start, self.end)
    }
}

/// A text that spans point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The name shown to the user, usually a path as the user wrote it.
    pub name: Arc<str>,
    /// The whole text, or nothing where it is not at hand (the tokens of a macro): then no frame is drawn.
    pub text: Option<Arc<str>>,
}

/// The sources of one compilation; [`Span::file`] is the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// Adds a source and returns its number.
    pub fn add(&mut self, name: &str, text: Option<&str>) -> u32 {
        self.files.push(SourceFile { name: name.into(), text: text.map(Into::into) });
        (self.files.len() - 1) as u32
    }

    /// The source that `span` points into.
    pub fn get(&self, file: u32) -> Option<&SourceFile> {
        self.files.get(file as usize)
    }

    /// The sources in the order they were read.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// `file:line:column` of the start of `span`; empty if it points nowhere.
    pub fn locate(&self, span: Span) -> String {
        match self.get(span.file) {
            Some(file) if !span.is_nowhere() => format!("{}:{}:{}", file.name, span.start.line, span.start.column),
            _ => String::new(),
        }
    }

    /// The line numbered `line` (from 1) of a source, if its text is at hand.
    pub fn line(&self, file: u32, line: u32) -> Option<&str> {
        self.get(file)?.text.as_deref()?.lines().nth(line.checked_sub(1)? as usize)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Compilation cannot succeed.
    Error,
    /// Compilation goes on.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// The longest message, in characters: names and lists of a hostile file have no end.
const LONGEST: usize = 2000;

/// A text that may hold names from a file, as a terminal may show it: of bounded length, without control characters but line
/// breaks.
pub fn shown(text: impl Into<String>) -> String {
    let mut text: String = text.into();
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    if text.contains(|c: char| c.is_control() && c != '\n') {
        text = text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    }
    text
}

/// One mistake: what, where, what else belongs to it, and what to do.
///
/// Messages are in lower case and end without a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, with the values that make it so.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What is said under the span itself; may be empty.
    pub label: String,
    /// Other places that belong to it, each with what is said there.
    pub secondary: Vec<(Span, String)>,
    /// Facts without a place: `in inverted_residual, called for features.3.conv`.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            message: shown(message),
            span,
            label: String::new(),
            secondary: Vec::new(),
            notes: Vec::new(),
            help: None,
        }
    }

    /// A warning at `span`.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(span, message) }
    }

    /// Sets what is said under the span.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = shown(text);
        self
    }

    /// Adds another place.
    pub fn secondary(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push((span, shown(text)));
        self
    }

    /// Adds a fact without a place.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(shown(text));
        self
    }

    /// Sets what to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(shown(text));
        self
    }

    /// The mistake as text with a frame around each place, without colour.
    pub fn render(&self, sources: &Sources) -> String {
        render::frame(self, sources)
    }

    /// The mistake as lines under a message, for a compiler that draws the frame of the primary place itself.
    pub fn render_inline(&self, sources: &Sources) -> String {
        render::inline(self, sources)
    }
}

/// Mistakes while they are found. The first are kept, the others counted, so that a file which holds nothing else costs no
/// more than one with some.
#[derive(Clone, Debug, Default)]
pub struct Mistakes {
    first: Vec<Diagnostic>,
    more: usize,
}

impl Mistakes {
    /// How many are kept.
    pub const MOST: usize = 100;

    /// Adds one.
    pub fn push(&mut self, mistake: Diagnostic) {
        if self.first.len() < Self::MOST {
            self.first.push(mistake);
        } else {
            self.more += 1;
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.first.len() + self.more
    }

    /// Whether further ones are only counted.
    pub fn is_full(&self) -> bool {
        self.first.len() == Self::MOST
    }
}

impl Extend<Diagnostic> for Mistakes {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, mistakes: T) {
        mistakes.into_iter().for_each(|mistake| self.push(mistake));
    }
}

impl From<Vec<Diagnostic>> for Mistakes {
    fn from(mistakes: Vec<Diagnostic>) -> Self {
        let mut kept = Mistakes::default();
        kept.extend(mistakes);
        kept
    }
}

/// The mistakes of one run, in the order of the source, and the sources they point into. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The mistakes, at least one, and no more than [`Mistakes::MOST`].
    pub diagnostics: Vec<Diagnostic>,
    /// How many others there are.
    pub more: usize,
    /// What they point into.
    pub sources: Sources,
}

impl Errors {
    /// Sorts the mistakes by place (each file's together, unplaced ones last) and keeps one of equal ones.
    pub fn new(mistakes: impl Into<Mistakes>, sources: Sources) -> Self {
        let Mistakes { first: mut diagnostics, more } = mistakes.into();
        diagnostics.sort_by_key(|d| (d.span.is_nowhere(), d.span));
        diagnostics.dedup();
        Errors { diagnostics, more, sources }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&diagnostic.render(&self.sources))?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more errors", self.more)?;
        }
        Ok(())
    }
}

/// Why compiling failed, by whose fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The network's author: mistakes in a spec or a model file, each with its place.
    #[error("{0}")]
    Spec(Errors),
    /// Nobody: the network is right, and kiln cannot compile it. Says which node, which op and why.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// Nobody: the network is larger than a documented limit.
    #[error("limit exceeded: {0}")]
    Limit(String),
    /// Kiln's.
    #[error("internal error, please report it: {0}")]
    Bug(String),
}

impl From<Errors> for Error {
    fn from(errors: Errors) -> Self {
        Error::Spec(errors)
    }
}

impl From<Diagnostic> for Error {
    /// One mistake that points into no source.
    fn from(mistake: Diagnostic) -> Self {
        Errors::new(vec![mistake], Sources::default()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send<T: Send + Sync + 'static>() {}

    #[test]
    fn messages_are_bounded_and_without_control_characters() {
        let mistake = Diagnostic::error(Span::NOWHERE, format!("\u{1b}[2J `{}`\nnext", "x".repeat(9_000)));
        assert!(mistake.message.starts_with("\u{fffd}[2J `xxx") && mistake.message.ends_with("x…"));
        assert_eq!(mistake.message.chars().count(), LONGEST + 1);
        assert_eq!(shown("one\ntwo"), "one\ntwo");
        let errors = Errors::new(vec![mistake; 200], Sources::default());
        assert_eq!((errors.diagnostics.len(), errors.more), (1, 100));
    }

    #[test]
    fn diagnostics_cross_threads() {
        send::<Error>();
        send::<Span>();
    }
}
