//! A first look at a text, without recursion: brackets and quotes that do not close, and nesting too deep for a parser.
//!
//! After [`check`], nothing that walks the syntax tree can run out of stack: the depth of the tree is bounded by the brackets
//! around a token, plus the operators, dots and keywords that stand before it in its statement and in the statements around.

use crate::diag::{Diagnostic, Pos, Span};

/// Nothing, or a mistake.
pub(super) type Scanned = Result<(), Box<Diagnostic>>;

/// Brackets inside brackets.
const MAX_DEPTH: usize = 64;
/// Prefix operators and keywords in a row.
const MAX_PREFIX: usize = 64;
/// Operators, dots and keywords before a token, in its statement and those around it.
const MAX_LINKS: usize = 256;
/// Bytes of one source.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// Words that open or continue an expression around what follows them.
const LINKING: &[&str] = &[
    "if", "else", "match", "for", "in", "while", "loop", "return", "break", "continue", "let", "move", "async",
    "await", "unsafe", "as", "mut", "ref", "const", "dyn", "impl", "where", "yield", "static", "try", "gen",
];

/// Finds what would stop or endanger the parser. At most one mistake, in file 0: what follows it
/// would only follow from it.
pub(super) fn check(text: &str) -> Scanned {
    Scan { text, at: 0, open: Vec::new(), links: 0, base: 0, prefix: 0, after_brace: false }.run()
}

/// An open bracket.
struct Open {
    sign: char,
    offset: usize,
    /// Links before it in its own statement, and in those around.
    links: usize,
    base: usize,
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open>,
    /// Links so far in this statement.
    links: usize,
    /// Links in the statements around.
    base: usize,
    /// Prefix operators and keywords that directly precede.
    prefix: usize,
    /// Whether the last token closed a brace, which ends a statement unless it goes on.
    after_brace: bool,
}

impl<'a> Scan<'a> {
    fn run(mut self) -> Scanned {
        while let Some(c) = self.rest().chars().next() {
            let start = self.at;
            if c.is_whitespace() {
                self.at += c.len_utf8();
            } else if self.rest().starts_with("//") {
                self.at = self.rest().find('\n').map_or(self.text.len(), |n| self.at + n);
            } else if self.rest().starts_with("/*") {
                self.comment()?;
            } else if let Some(hashes) = self.raw_string() {
                self.raw_text(start, hashes)?;
                self.word("");
            } else if c == '"' {
                self.string()?;
                self.word("");
            } else if c == '\'' {
                self.at += self.char_or_lifetime();
                self.word("");
            } else if c.is_alphanumeric() || c == '_' {
                let word = self.rest();
                let end = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
                self.at += end;
                self.word(&word[..end]);
            } else if "([{".contains(c) {
                self.opening(c)?;
            } else if ")]}".contains(c) {
                self.closing(c)?;
            } else {
                self.at += c.len_utf8();
                self.punct(c);
                if c == '#' && !documents(self.rest()) {
                    return Err(self.error(start, self.at, "attributes are not part of the network language").into());
                }
            }
            if self.prefix > MAX_PREFIX {
                let message = format!("more than {MAX_PREFIX} prefix operators in a row");
                return Err(self.error(start, self.at, message).into());
            }
            if self.base + self.links > MAX_LINKS {
                let message = format!("this statement has more than {MAX_LINKS} operators, dots and keywords");
                let error = self.error(start, self.at, message).label("here it becomes too long");
                return Err(error.help("split it with `let`").into());
            }
        }
        match self.open.last() {
            Some(open) => Err(self.unclosed(open).into()),
            None => Ok(()),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn word(&mut self, word: &str) {
        let goes_on = matches!(word, "else" | "as");
        if self.after_brace && !goes_on {
            self.links = 0;
        }
        self.after_brace = false;
        if LINKING.contains(&word) {
            self.links += 1;
            self.prefix += 1;
        } else {
            self.prefix = 0;
        }
    }

    fn punct(&mut self, c: char) {
        if matches!(c, ',' | ';') || (c == '#' && self.after_brace) {
            self.links = 0;
            self.prefix = 0;
        } else {
            self.links += 1;
            self.prefix = if matches!(c, '-' | '!' | '*' | '&' | '|') { self.prefix + 1 } else { 0 };
        }
        self.after_brace = false;
    }

    fn opening(&mut self, sign: char) -> Scanned {
        let offset = self.at;
        self.at += 1;
        self.open.push(Open { sign, offset, links: self.links, base: self.base });
        if self.open.len() > MAX_DEPTH {
            let message = format!("brackets are nested more than {MAX_DEPTH} deep");
            return Err(self.error(offset, self.at, message).into());
        }
        (self.base, self.links, self.prefix, self.after_brace) = (self.base + self.links, 0, 0, false);
        Ok(())
    }

    fn closing(&mut self, sign: char) -> Scanned {
        let offset = self.at;
        self.at += 1;
        let Some(open) = self.open.pop() else {
            let error = self.error(offset, self.at, format!("`{sign}` closes nothing"));
            return Err(error.label("no bracket is open here").into());
        };
        if partner(open.sign) != sign {
            let place = self.span(offset, self.at);
            let error = match self.open.iter().any(|outer| partner(outer.sign) == sign) {
                true => self.unclosed(&open).secondary(place, format!("`{sign}` comes first")),
                false => Diagnostic::error(place, format!("`{}` is closed by `{sign}`", open.sign))
                    .label(format!("`{}` is expected", partner(open.sign)))
                    .secondary(self.span(open.offset, open.offset + 1), "opened here"),
            };
            return Err(error.into());
        }
        (self.base, self.links, self.prefix, self.after_brace) = (open.base, open.links, 0, sign == '}');
        Ok(())
    }

    fn unclosed(&self, open: &Open) -> Diagnostic {
        let message = format!("this `{}` is never closed", open.sign);
        self.error(open.offset, open.offset + 1, message).label("opened here")
    }

    fn comment(&mut self) -> Scanned {
        let (start, mut depth) = (self.at, 0usize);
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                (depth, self.at) = (depth + 1, self.at + 2);
            } else if rest.starts_with("*/") {
                (depth, self.at) = (depth - 1, self.at + 2);
                if depth == 0 {
                    return Ok(());
                }
            } else {
                let Some(c) = rest.chars().next() else {
                    return Err(self.error(start, start + 2, "this comment is never closed").into());
                };
                self.at += c.len_utf8();
            }
        }
    }

    fn string(&mut self) -> Scanned {
        let start = self.at;
        let mut escaped = false;
        for (i, c) in self.rest().char_indices().skip(1) {
            match c {
                '"' if !escaped => {
                    self.at += i + 1;
                    return Ok(());
                }
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        Err(self.error(start, start + 1, "this quote is never closed").label("opened here").into())
    }

    /// The number of `#` of a raw string that starts here.
    fn raw_string(&self) -> Option<usize> {
        let rest = self.rest();
        let after = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br")).or_else(|| rest.strip_prefix("cr"))?;
        let hashes = after.len() - after.trim_start_matches('#').len();
        after[hashes..].starts_with('"').then_some(hashes)
    }

    fn raw_text(&mut self, start: usize, hashes: usize) -> Scanned {
        let close = format!("\"{}", "#".repeat(hashes));
        let body = start + self.rest().find('"').unwrap_or(0) + 1;
        match self.text[body..].find(&close) {
            Some(n) => {
                self.at = body + n + close.len();
                Ok(())
            }
            None => Err(self.error(start, body, "this quote is never closed").label("opened here").into()),
        }
    }

    /// The bytes of a character literal, or of the quote of a lifetime.
    fn char_or_lifetime(&self) -> usize {
        let mut chars = self.rest().char_indices().skip(1);
        match chars.next() {
            Some((_, '\\')) => {
                chars.next();
                chars.find(|&(_, c)| c == '\'' || c == '\n').map_or(1, |(i, c)| if c == '\'' { i + 1 } else { 1 })
            }
            Some(_) => chars.next().filter(|&(_, c)| c == '\'').map_or(1, |(i, _)| i + 1),
            None => 1,
        }
    }

    fn error(&self, start: usize, end: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.span(start, end), message)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { file: 0, start: position(self.text, start), end: position(self.text, end) }
    }
}

/// Whether what follows a `#` makes it a documentation comment, as a macro sees one.
fn documents(rest: &str) -> bool {
    let rest = rest.trim_start().trim_start_matches('!').trim_start();
    rest.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with("doc"))
}

/// The bracket that closes `open`.
fn partner(open: char) -> char {
    match open {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

/// The character at a byte offset, in file 0.
pub(super) fn character(text: &str, offset: usize) -> Span {
    let offset = offset.min(text.len());
    let length = text.get(offset..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    Span { file: 0, start: position(text, offset), end: position(text, offset + length) }
}

/// The position of a byte offset, found by counting: for mistakes only.
fn position(text: &str, offset: usize) -> Pos {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    Pos {
        offset: offset as u32,
        line: before.matches('\n').count() as u32 + 1,
        column: before[line_start..].chars().count() as u32 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        check(text).expect_err("a mistake").message
    }

    #[test]
    fn sound_texts_pass() {
        let deep = format!("{}{}", "(".repeat(64), ")".repeat(64));
        for text in [
            "",
            "net N(x: [1]) { x } // (",
            "/* ( /* [ */ */",
            r##"f("(", r#"("#, '(', '\'', 'a)"##.replace("'a)", ")").as_str(),
            "fn f(x) { if a { b } else if c { d } x }",
            &deep,
            &"let x = a.b(c).d(e);\n".repeat(10_000),
            &"for i in 0..3 { x += i }\n".repeat(10_000),
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn brackets_and_quotes_are_told_apart() {
        assert_eq!(message("f(a[1)"), "this `[` is never closed");
        assert_eq!(message("f(a"), "this `(` is never closed");
        assert_eq!(message("f(a]"), "`(` is closed by `]`");
        assert_eq!(message("a)"), "`)` closes nothing");
        assert_eq!(message("f(\"a)"), "this quote is never closed");
        assert_eq!(message("f(r#\"a\")"), "this quote is never closed");
        assert_eq!(message("/* a"), "this comment is never closed");
    }

    #[test]
    fn deep_nesting_is_refused() {
        for text in ["(", "[", "{", "-", "!", "if ", "a=", "a.b", "1+", "else if a {} ", "A<", "&", "a..", "return "] {
            check(&text.repeat(100_000)).expect_err(text);
        }
    }
}
