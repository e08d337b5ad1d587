//! The bare form of the text: tokens, and terms such as `conv("x", kernel = [3, 3])`, before they mean anything.

use std::fmt::Write as _;
use std::str::{CharIndices, FromStr};

use super::ParseError;

/// Brackets within brackets.
const DEPTH: usize = 64;

/// A place in the text, from 1; columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A number or a name: `-1.5e-3`, `0x7fc00001`, `relu`, `_`.
    Word(&'a str),
    /// A string, unquoted.
    Text(String),
    /// `$name`
    Reference(&'a str),
    /// One of `( ) [ ] , = :`
    Punctuation(char),
    DotDot,
    End,
}

/// A value of any form.
#[derive(Clone, Debug)]
pub(super) struct Term<'a> {
    pub(super) at: Position,
    pub(super) kind: Kind<'a>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind<'a> {
    Word(&'a str),
    Text(String),
    Reference(&'a str),
    /// `from..to`
    Range(&'a str, &'a str),
    List(Vec<Term<'a>>),
    /// A name and arguments, those that are named with their names.
    Call(&'a str, Vec<(Option<&'a str>, Term<'a>)>),
}

impl<'a> Term<'a> {
    fn not(&self, wanted: &str) -> ParseError {
        ParseError::new(self.at, format!("this is not {wanted}"))
    }

    fn number<T: FromStr>(&self, wanted: &str) -> Result<T, ParseError> {
        let Kind::Word(word) = self.kind else { return Err(self.not(wanted)) };
        word.parse().map_err(|_| ParseError::new(self.at, format!("`{word}` is not {wanted}")))
    }

    pub(super) fn usize(&self) -> Result<usize, ParseError> {
        self.number("a number that counts")
    }

    pub(super) fn bool(&self) -> Result<bool, ParseError> {
        self.number("`true` or `false`")
    }

    /// The bits of an f32, written as a number or as `0x…`.
    pub(super) fn f32_bits(&self) -> Result<u32, ParseError> {
        match self.hex() {
            Some(hex) => u32::from_str_radix(hex, 16).map_err(|_| self.not("the bits of an f32")),
            None => self.number("a number").map(f32::to_bits),
        }
    }

    pub(super) fn f64(&self) -> Result<f64, ParseError> {
        match self.hex() {
            Some(hex) => u64::from_str_radix(hex, 16).map(f64::from_bits).map_err(|_| self.not("the bits of an f64")),
            None => self.number("a number"),
        }
    }

    fn hex(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Word(word) => word.strip_prefix("0x"),
            Kind::Text(_) | Kind::Reference(_) | Kind::Range(..) | Kind::List(_) | Kind::Call(..) => None,
        }
    }

    pub(super) fn text(self) -> Result<String, ParseError> {
        match self.kind {
            Kind::Text(text) => Ok(text),
            Kind::Word(_) | Kind::Reference(_) | Kind::Range(..) | Kind::List(_) | Kind::Call(..) => {
                Err(ParseError::new(self.at, "this is not a string"))
            }
        }
    }

    pub(super) fn list(self) -> Result<Vec<Term<'a>>, ParseError> {
        match self.kind {
            Kind::List(terms) => Ok(terms),
            Kind::Word(_) | Kind::Text(_) | Kind::Reference(_) | Kind::Range(..) | Kind::Call(..) => {
                Err(ParseError::new(self.at, "this is not a list"))
            }
        }
    }

    pub(super) fn usizes(self) -> Result<Vec<usize>, ParseError> {
        self.list()?.iter().map(Term::usize).collect()
    }
}

/// A call whose arguments are taken one by one.
pub(super) struct Call<'a> {
    pub(super) at: Position,
    pub(super) name: &'a str,
    positional: Vec<Term<'a>>,
    named: Vec<(&'a str, Term<'a>)>,
}

impl<'a> Call<'a> {
    /// A call, or a word as a call without arguments.
    pub(super) fn new(term: Term<'a>) -> Result<Self, ParseError> {
        let (name, arguments) = match term.kind {
            Kind::Call(name, arguments) => (name, arguments),
            Kind::Word(word) => (word, Vec::new()),
            Kind::Text(_) | Kind::Reference(_) | Kind::Range(..) | Kind::List(_) => {
                return Err(ParseError::new(term.at, "this is not a call"));
            }
        };
        let mut call = Call { at: term.at, name, positional: Vec::new(), named: Vec::new() };
        for (argument, value) in arguments {
            match argument {
                None => call.positional.push(value),
                Some(argument) if call.named.iter().any(|(other, _)| *other == argument) => {
                    return Err(ParseError::new(value.at, format!("`{argument}` is given twice")));
                }
                Some(argument) => call.named.push((argument, value)),
            }
        }
        Ok(call)
    }

    /// The arguments without a name.
    pub(super) fn positional(&mut self) -> Vec<Term<'a>> {
        std::mem::take(&mut self.positional)
    }

    /// The arguments without a name, which are this many.
    pub(super) fn exactly<const N: usize>(&mut self) -> Result<[Term<'a>; N], ParseError> {
        let name = self.name;
        self.positional()
            .try_into()
            .map_err(|_| ParseError::new(self.at, format!("`{name}` takes {N} arguments without a name")))
    }

    /// The argument of this name, if there is one.
    pub(super) fn take(&mut self, name: &str) -> Option<Term<'a>> {
        let at = self.named.iter().position(|(other, _)| *other == name)?;
        Some(self.named.remove(at).1)
    }

    /// The argument of this name.
    pub(super) fn require(&mut self, name: &str) -> Result<Term<'a>, ParseError> {
        self.take(name).ok_or_else(|| ParseError::new(self.at, format!("`{}` needs `{name}`", self.name)))
    }

    /// Nothing is left over.
    pub(super) fn finish(self) -> Result<(), ParseError> {
        match (self.positional.first(), self.named.first()) {
            (Some(term), _) => Err(ParseError::new(term.at, format!("`{}` does not take this", self.name))),
            (_, Some((name, term))) => Err(ParseError::new(term.at, format!("`{}` does not take `{name}`", self.name))),
            (None, None) => Ok(()),
        }
    }
}

/// Reads tokens with one in sight, and terms.
pub(super) struct Parser<'a> {
    text: &'a str,
    rest: std::iter::Peekable<CharIndices<'a>>,
    /// Where the next character stands.
    here: Position,
    token: Token<'a>,
    token_at: Position,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, ParseError> {
        let start = Position { line: 1, column: 1 };
        let rest = text.char_indices().peekable();
        let mut parser = Parser { text, rest, here: start, token: Token::End, token_at: start };
        parser.advance()?;
        Ok(parser)
    }

    /// The next token.
    pub(super) fn peek(&self) -> &Token<'a> {
        &self.token
    }

    /// Where it stands.
    pub(super) fn at(&self) -> Position {
        self.token_at
    }

    /// Takes the next token.
    pub(super) fn advance(&mut self) -> Result<Token<'a>, ParseError> {
        self.skip_blank();
        self.token_at = self.here;
        let next = self.lex()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    pub(super) fn unexpected(&self, wanted: &str) -> ParseError {
        let have = match &self.token {
            Token::Word(word) => format!("`{word}`"),
            Token::Text(text) => quote(text),
            Token::Reference(name) => format!("`${name}`"),
            Token::Punctuation(c) => format!("`{c}`"),
            Token::DotDot => "`..`".to_owned(),
            Token::End => "the end".to_owned(),
        };
        ParseError::new(self.token_at, format!("{have} where {wanted} should stand"))
    }

    pub(super) fn expect(&mut self, punctuation: char) -> Result<(), ParseError> {
        if self.token != Token::Punctuation(punctuation) {
            return Err(self.unexpected(&format!("`{punctuation}`")));
        }
        self.advance().map(drop)
    }

    pub(super) fn keyword(&mut self, word: &str) -> Result<(), ParseError> {
        if self.token != Token::Word(word) {
            return Err(self.unexpected(&format!("`{word}`")));
        }
        self.advance().map(drop)
    }

    pub(super) fn text(&mut self, wanted: &str) -> Result<(Position, String), ParseError> {
        let at = self.token_at;
        if !matches!(self.token, Token::Text(_)) {
            return Err(self.unexpected(wanted));
        }
        let Token::Text(text) = self.advance()? else { unreachable!("just looked at") };
        Ok((at, text))
    }

    pub(super) fn reference(&mut self) -> Result<(Position, &'a str), ParseError> {
        let (at, Token::Reference(name)) = (self.token_at, &self.token) else { return Err(self.unexpected("`$n`")) };
        let name = *name;
        self.advance()?;
        Ok((at, name))
    }

    /// A value.
    pub(super) fn term(&mut self) -> Result<Term<'a>, ParseError> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Term<'a>, ParseError> {
        let at = self.token_at;
        if depth > DEPTH {
            return Err(ParseError::new(at, format!("brackets nest deeper than {DEPTH}")));
        }
        if !matches!(self.token, Token::Word(_) | Token::Text(_) | Token::Reference(_) | Token::Punctuation('[')) {
            return Err(self.unexpected("a value"));
        }
        let kind = match self.advance()? {
            Token::Text(text) => Kind::Text(text),
            Token::Reference(name) => Kind::Reference(name),
            Token::Punctuation(_) | Token::DotDot | Token::End => {
                let items = self.arguments(']', depth)?;
                if let Some((_, named)) = items.iter().find(|(name, _)| name.is_some()) {
                    return Err(ParseError::new(named.at, "the items of a list have no names"));
                }
                Kind::List(items.into_iter().map(|(_, item)| item).collect())
            }
            Token::Word(word) => match self.token {
                Token::Punctuation('(') => {
                    self.advance()?;
                    Kind::Call(word, self.arguments(')', depth)?)
                }
                Token::DotDot => {
                    self.advance()?;
                    let Token::Word(end) = self.token else { return Err(self.unexpected("the end of a range")) };
                    self.advance()?;
                    Kind::Range(word, end)
                }
                Token::Word(_) | Token::Text(_) | Token::Reference(_) | Token::Punctuation(_) | Token::End => {
                    Kind::Word(word)
                }
            },
        };
        Ok(Term { at, kind })
    }

    /// What stands between brackets, and the closing one.
    fn arguments(&mut self, close: char, depth: usize) -> Result<Vec<(Option<&'a str>, Term<'a>)>, ParseError> {
        let mut arguments = Vec::new();
        while self.token != Token::Punctuation(close) {
            let term = self.nested(depth + 1)?;
            arguments.push(match term.kind {
                Kind::Word(name) if self.token == Token::Punctuation('=') => {
                    self.advance()?;
                    (Some(name), self.nested(depth + 1)?)
                }
                Kind::Word(_)
                | Kind::Text(_)
                | Kind::Reference(_)
                | Kind::Range(..)
                | Kind::List(_)
                | Kind::Call(..) => (None, term),
            });
            if self.token != Token::Punctuation(close) {
                self.expect(',')?;
            }
        }
        self.advance()?;
        Ok(arguments)
    }

    fn bump(&mut self) -> Option<char> {
        let (_, c) = self.rest.next()?;
        self.here = match c {
            '\n' => Position { line: self.here.line + 1, column: 1 },
            _ => Position { column: self.here.column + 1, ..self.here },
        };
        Some(c)
    }

    fn sight(&mut self) -> Option<char> {
        self.rest.peek().map(|&(_, c)| c)
    }

    /// Where the next character begins, in bytes.
    fn offset(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |&(at, _)| at)
    }

    fn skip_blank(&mut self) {
        while let Some(c) = self.sight() {
            let at = self.offset();
            if self.text[at..].starts_with("//") {
                while self.sight().is_some_and(|c| c != '\n') {
                    self.bump();
                }
            } else if c.is_whitespace() {
                self.bump();
            } else {
                break;
            }
        }
    }

    fn lex(&mut self) -> Result<Token<'a>, ParseError> {
        let start = self.offset();
        let Some(c) = self.sight() else { return Ok(Token::End) };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match c {
            '"' => self.lex_text(),
            '(' | ')' | '[' | ']' | ',' | '=' | ':' => {
                self.bump();
                Ok(Token::Punctuation(c))
            }
            '.' if self.text[start..].starts_with("..") => {
                self.bump();
                self.bump();
                Ok(Token::DotDot)
            }
            '$' => {
                self.bump();
                while self.sight().is_some_and(is_word) {
                    self.bump();
                }
                let end = self.offset();
                Ok(Token::Reference(&self.text[start + 1..end]))
            }
            c if is_word(c) || c == '-' => {
                let number = self.text[start..].trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
                let mut before = self.bump();
                while let Some(c) = self.sight() {
                    let at = self.offset();
                    let point = c == '.' && self.text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
                    let sign = matches!(c, '+' | '-') && matches!(before, Some('e' | 'E'));
                    if !(is_word(c) || number && (point || sign)) {
                        break;
                    }
                    before = self.bump();
                }
                let end = self.offset();
                Ok(Token::Word(&self.text[start..end]))
            }
            c => Err(ParseError::new(self.token_at, format!("{c:?} means nothing here"))),
        }
    }

    /// A string; escapes are those that [`quote()`] makes.
    fn lex_text(&mut self) -> Result<Token<'a>, ParseError> {
        self.bump();
        let mut text = String::new();
        loop {
            let at = self.here;
            match self.bump() {
                None | Some('\n') => return Err(ParseError::new(self.token_at, "this string does not end")),
                Some('"') => return Ok(Token::Text(text)),
                Some('\\') => {
                    let escape = match self.bump() {
                        Some(c @ ('"' | '\\')) => Some(c),
                        Some('u') => self.lex_code(),
                        _ => None,
                    };
                    text.push(escape.ok_or_else(|| ParseError::new(at, "an unknown escape"))?);
                }
                Some(c) => text.push(c),
            }
        }
    }

    /// `{hex}` of an escape.
    fn lex_code(&mut self) -> Option<char> {
        let mut code = 0u32;
        if self.bump() != Some('{') {
            return None;
        }
        loop {
            match self.bump()? {
                '}' => return char::from_u32(code),
                c => code = code.checked_mul(16)?.checked_add(c.to_digit(16)?)?,
            }
        }
    }
}

/// A string in quotes; control characters are escaped as `\u{…}`.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An f32 that reads back as the same bits.
pub(super) fn write_f32(bits: u32) -> String {
    let value = f32::from_bits(bits);
    if value.is_nan() { format!("{bits:#x}") } else { format!("{value:?}") }
}

/// An f64 that reads back as the same bits.
pub(super) fn write_f64(bits: u64) -> String {
    let value = f64::from_bits(bits);
    if value.is_nan() { format!("{bits:#x}") } else { format!("{value:?}") }
}
