//! Errors for people: the compiler's diagnostics through miette, everything else as a message with its help.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use kiln_compiler::diag::{self, Diagnostic, Errors, counted, shown};
use miette::{LabeledSpan, MietteDiagnostic, MietteHandlerOpts, NamedSource, Report, ReportHandler};
use textwrap::{WordSeparator, WordSplitter};

use crate::wrap::words;

/// Breaks the lines of all messages between words alone, a command in backticks being one.
pub(crate) fn keep_commands_whole() {
    let handler = |_: &(dyn miette::Diagnostic + 'static)| -> Box<dyn ReportHandler> {
        let options = MietteHandlerOpts::new().break_words(false);
        let options = options.word_separator(WordSeparator::Custom(words)).word_splitter(WordSplitter::NoHyphenation);
        Box::new(options.build())
    };
    // Only a second call finds that there is a handler.
    let _ = miette::set_hook(Box::new(handler));
}

/// What went wrong, ready to print.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Mistakes in a spec, each with its place.
    Spec(Errors),
    /// Anything else.
    Other(Box<MietteDiagnostic>),
}

impl Failure {
    /// A failure with a message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure::Other(Box::new(MietteDiagnostic::new(shown(message))))
    }

    /// Adds what to do about it.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        match self {
            Failure::Other(diagnostic) => Failure::Other(Box::new(diagnostic.with_help(help))),
            Failure::Spec(_) => self,
        }
    }

    /// Adds what to do about it, where something is known.
    pub(crate) fn help_if_known(self, help: Option<impl Into<String>>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// What went wrong in one line: the first mistake of a spec.
    pub(crate) fn line(&self) -> String {
        match self {
            Failure::Other(diagnostic) => diagnostic.message.lines().collect::<Vec<_>>().join(" "),
            Failure::Spec(errors) => errors.diagnostics.first().map_or_else(String::new, |diagnostic| {
                format!("{}: {}", errors.sources.locate(diagnostic.span), diagnostic.message)
            }),
        }
    }

    /// What went wrong, without places: all mistakes of a spec.
    pub(crate) fn messages(&self) -> Vec<String> {
        match self {
            Failure::Other(diagnostic) => vec![diagnostic.message.clone()],
            Failure::Spec(errors) => errors.diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect(),
        }
    }

    /// Prints it to standard error. A reader that has gone away misses it; the exit code still says that it failed.
    pub(crate) fn print(self) {
        let mut err = io::stderr().lock();
        let _ = match self {
            Failure::Other(diagnostic) => writeln!(err, "{:?}", Report::new(*diagnostic)),
            Failure::Spec(errors) => {
                let count = errors.diagnostics.len() + errors.more;
                let mut reports = errors.diagnostics.iter();
                reports
                    .try_for_each(|diagnostic| writeln!(err, "{:?}", report(diagnostic, &errors)))
                    .and_then(|()| if errors.more > 0 { writeln!(err, "and {} more\n", errors.more) } else { Ok(()) })
                    .and_then(|()| {
                        writeln!(err, "error: could not compile the network due to {}", counted(count, "error"))
                    })
            }
        };
    }
}

/// Says on standard error what was decided without being asked for. A line that says what is being done is written anew.
pub(crate) fn note(text: &str) {
    let mut err = io::stderr().lock();
    let clear = if err.is_terminal() { "\r\x1b[2K" } else { "" };
    let _ = writeln!(err, "{clear}note: {}", shown(text));
}

/// Writes a line to standard error, which a reader that has gone away misses.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

impl From<diag::Error> for Failure {
    fn from(error: diag::Error) -> Self {
        match error {
            diag::Error::Spec(errors) => Failure::Spec(errors),
            diag::Error::Unsupported(_) | diag::Error::Limit(_) | diag::Error::Bug(_) => {
                Failure::new(error.to_string())
            }
        }
    }
}

/// A failure from anything that displays itself, with what was being done.
pub(crate) trait Context<T> {
    /// Says what was being done.
    fn context(self, doing: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{doing}: {error}")))
    }
}

/// The longest line that is quoted, in bytes.
const LONGEST_LINE: usize = 500;

/// The length of the line around a byte of a text.
fn line_length(text: &str, at: usize) -> usize {
    let (before, after) = text.as_bytes().split_at(at.min(text.len()));
    let newline = |byte: &u8| *byte == b'\n';
    let start = before.iter().rev().position(newline).unwrap_or(before.len());
    start + after.iter().position(newline).unwrap_or(after.len())
}

/// One diagnostic with its source and labels.
fn report(diagnostic: &Diagnostic, errors: &Errors) -> Report {
    let file = errors.sources.get(diagnostic.span.file);
    let mut help = diagnostic.notes.iter().map(|note| format!("in: {note}")).collect::<Vec<_>>();
    let span = |span: diag::Span, text: &str, new: fn(_, std::ops::Range<usize>) -> LabeledSpan| {
        let (start, end) = (span.start.offset as usize, span.end.offset as usize);
        new((!text.is_empty()).then(|| text.to_owned()), start..end.max(start))
    };
    let mut message = MietteDiagnostic::new(diagnostic.message.clone());
    let text = file.and_then(|file| file.text.clone());
    let text = text.filter(|text| line_length(text, diagnostic.span.start.offset as usize) <= LONGEST_LINE);
    if text.is_none() && !diagnostic.span.is_nowhere() {
        help.push(format!("at {}", errors.sources.locate(diagnostic.span)));
    }
    if text.is_some() && !diagnostic.span.is_nowhere() {
        // The primary label's place is the one that the message names, also where another stands before it.
        let mut labels = vec![span(diagnostic.span, &diagnostic.label, LabeledSpan::new_primary_with_span)];
        for (other, words) in &diagnostic.secondary {
            if other.file == diagnostic.span.file && !other.is_nowhere() {
                labels.push(span(*other, words, LabeledSpan::new_with_span));
            } else {
                help.push(format!("{}: {words}", errors.sources.locate(*other)));
            }
        }
        message = message.with_labels(labels);
    }
    help.extend(diagnostic.help.clone());
    if !help.is_empty() {
        message = message.with_help(help.join("\n"));
    }
    match (file, text) {
        (Some(file), Some(text)) => Report::new(message).with_source_code(NamedSource::new(&file.name, text)),
        _ => Report::new(message),
    }
}
