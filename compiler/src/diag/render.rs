//! Diagnostics as plain text, in the shape of rustc's frames.

use std::collections::BTreeMap;

use super::{Diagnostic, Sources, Span};

/// The message, a frame for each file with a place in it (the primary's first), then notes and help.
pub(super) fn frame(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let mut out = format!("{}: {}\n", diagnostic.severity, diagnostic.message);
    let mut marks: Vec<Mark<'_>> = diagnostic
        .secondary
        .iter()
        .map(|(span, text)| Mark { span: *span, text, sign: '-' })
        .chain([Mark { span: diagnostic.span, text: &diagnostic.label, sign: '^' }])
        .filter(|mark| !mark.span.is_nowhere())
        .collect();
    // On one line the rightmost comes first, so that rows read from the line outwards.
    marks.sort_by_key(|m| (m.span.file != diagnostic.span.file, m.span.file, m.span.start.line, !m.span.start.column));
    let width = marks.iter().map(|m| m.span.start.line.to_string().len()).max().unwrap_or(1);

    let mut files: Vec<u32> = marks.iter().map(|m| m.span.file).collect();
    files.dedup();
    for file in files {
        let of_file: Vec<&Mark<'_>> = marks.iter().filter(|m| m.span.file == file).collect();
        let at = of_file.iter().find(|m| m.sign == '^').or(of_file.first()).map_or(Span::NOWHERE, |m| m.span);
        let arrow = if file == diagnostic.span.file { "-->" } else { ":::" };
        out += &format!("{:width$}{arrow} {}\n", "", sources.locate(at));
        if sources.get(file).is_some_and(|f| f.text.is_some()) {
            out += &lines(&of_file, sources, width);
        } else {
            for mark in of_file.iter().filter(|m| !m.text.is_empty()) {
                out += &format!("{:width$} = {}: {}\n", "", sources.locate(mark.span), mark.text);
            }
        }
    }
    for note in &diagnostic.notes {
        out += &format!("{:width$} = {note}\n", "");
    }
    if let Some(help) = &diagnostic.help {
        out += &format!("{:width$} = help: {help}\n", "");
    }
    out
}

/// The message, then label, other places, notes and help as indented lines.
pub(super) fn inline(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let mut lines = vec![diagnostic.message.clone()];
    if !diagnostic.label.is_empty() {
        lines.push(diagnostic.label.clone());
    }
    for (span, text) in &diagnostic.secondary {
        lines.push(format!("--> {}: {text}", sources.locate(*span)));
    }
    lines.extend(diagnostic.notes.iter().map(|note| format!("= {note}")));
    lines.extend(diagnostic.help.iter().map(|help| format!("= help: {help}")));
    lines.join("\n        ")
}

/// A place to underline.
struct Mark<'a> {
    span: Span,
    text: &'a str,
    sign: char,
}

/// The marked lines of one file, each with its underlines below.
fn lines(marks: &[&Mark<'_>], sources: &Sources, width: usize) -> String {
    let mut by_line: BTreeMap<u32, Vec<&Mark<'_>>> = BTreeMap::new();
    for mark in marks {
        by_line.entry(mark.span.start.line).or_default().push(mark);
    }
    let mut out = format!("{:width$} |\n", "");
    for (number, marks) in by_line {
        let line = sources.line(marks[0].span.file, number).unwrap_or("");
        out += &format!("{number:>width$} | {}\n", line.replace('\t', "    "));
        for mark in marks {
            let (indent, length) = underline(line, mark.span);
            let text = format!("{:indent$}{} {}", "", mark.sign.to_string().repeat(length), mark.text);
            out += &format!("{:width$} | {}\n", "", text.trim_end());
        }
    }
    out + &format!("{:width$} |\n", "")
}

/// Where the underline of `span` starts in its first line and how long it is, with tabs as four spaces.
fn underline(line: &str, span: Span) -> (usize, usize) {
    let width = |c: char| if c == '\t' { 4 } else { 1 };
    let first = span.start.column.max(1) as usize - 1;
    let last = match span.end.line == span.start.line {
        true => span.end.column.max(1) as usize - 1,
        false => line.trim_end().chars().count(),
    };
    let indent = line.chars().take(first).map(width).sum();
    let length: usize = line.chars().skip(first).take(last.saturating_sub(first)).map(width).sum();
    (indent, length.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Pos;

    fn span(line: u32, from: u32, to: u32) -> Span {
        Span { file: 0, start: Pos { offset: 0, line, column: from }, end: Pos { offset: 0, line, column: to } }
    }

    fn example() -> (Diagnostic, Sources) {
        let mut sources = Sources::default();
        sources.add("model.net", Some("let y = x.conv(32, 1);\n\nif stride == 1 { x + y } else { y }\n"));
        let diagnostic = Diagnostic::error(span(3, 18, 23), "cannot add tensors of shape [1, 24] and [1, 32]")
            .label("channels differ: 24 and 32")
            .secondary(span(1, 9, 22), "this one has 32 channels")
            .note("in block, called for features.3.conv")
            .help("make `channels` 24");
        (diagnostic, sources)
    }

    #[test]
    fn both_places_are_framed() {
        let (diagnostic, sources) = example();
        insta::assert_snapshot!(diagnostic.render(&sources), @r"
        error: cannot add tensors of shape [1, 24] and [1, 32]
         --> model.net:3:18
          |
        1 | let y = x.conv(32, 1);
          |         ------------- this one has 32 channels
        3 | if stride == 1 { x + y } else { y }
          |                  ^^^^^ channels differ: 24 and 32
          |
          = in block, called for features.3.conv
          = help: make `channels` 24
        ");
    }

    #[test]
    fn without_a_frame_the_other_place_is_named() {
        let (diagnostic, sources) = example();
        insta::assert_snapshot!(diagnostic.render_inline(&sources), @r"
        cannot add tensors of shape [1, 24] and [1, 32]
                channels differ: 24 and 32
                --> model.net:1:9: this one has 32 channels
                = in block, called for features.3.conv
                = help: make `channels` 24
        ");
    }

    #[test]
    fn a_place_outside_every_text_is_left_out() {
        let diagnostic = Diagnostic::error(Span::NOWHERE, "no net in this file");
        assert_eq!(diagnostic.render(&Sources::default()), "error: no net in this file\n");
    }
}
