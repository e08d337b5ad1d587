//! Tokens, with one in sight.

use std::fmt;
use std::str::FromStr;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A number or a name: `1.5e-3`, `0x7fc00001`, `relu`, `_`.
    Word(&'a str),
    /// A string, unquoted.
    Text(String),
    Punctuation(char),
    DotDot,
    End,
}

pub(super) type Parsed<T> = Result<T, ParseError>;

/// The largest number that a text may hold, so that no sum of them overflows.
const LARGEST: u64 = 1 << 31;

/// Statements, values and indexes within each other.
const DEPTH: usize = 64;

#[derive(Clone, Copy)]
pub(super) struct Position {
    line: usize,
    column: usize,
}

pub(super) struct Lexer<'a> {
    rest: &'a str,
    here: Position,
    token: Token<'a>,
    token_at: Position,
    depth: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Parsed<Self> {
        let here = Position { line: 1, column: 1 };
        let mut lexer = Lexer { rest: text, here, token: Token::End, token_at: here, depth: 0 };
        lexer.advance()?;
        Ok(lexer)
    }

    pub(super) fn peek(&self) -> &Token<'a> {
        &self.token
    }

    /// Where the next token stands.
    pub(super) fn at(&self) -> Position {
        self.token_at
    }

    pub(super) fn error<T>(&self, at: Position, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError { line: at.line, column: at.column, message: message.into() })
    }

    /// The next token is not what should stand there.
    pub(super) fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        let have = match &self.token {
            Token::Word(word) => format!("`{word}`"),
            Token::Text(text) => format!("{text:?}"),
            Token::Punctuation(c) => format!("`{c}`"),
            Token::DotDot => "`..`".into(),
            Token::End => "the end".into(),
        };
        self.error(self.token_at, format!("{have} where {wanted} should stand"))
    }

    /// Reads something that may hold others of its kind.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH {
            return self.error(self.token_at, format!("nested deeper than {DEPTH}"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Takes the next token.
    pub(super) fn advance(&mut self) -> Parsed<Token<'a>> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            let blank = match blank {
                0 if self.rest.starts_with("//") => self.rest.find('\n').unwrap_or(self.rest.len()),
                0 => break,
                blank => blank,
            };
            self.skip(blank);
        }
        self.token_at = self.here;
        let next = self.lex()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn skip(&mut self, bytes: usize) -> &'a str {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        for c in skipped.chars() {
            self.here = match c {
                '\n' => Position { line: self.here.line + 1, column: 1 },
                _ => Position { column: self.here.column + 1, ..self.here },
            };
        }
        skipped
    }

    fn lex(&mut self) -> Parsed<Token<'a>> {
        let Some(c) = self.rest.chars().next() else { return Ok(Token::End) };
        Ok(match c {
            '"' => return self.lex_text(),
            '.' if self.rest.starts_with("..") => {
                self.skip(2);
                Token::DotDot
            }
            '(' | ')' | '[' | ']' | '{' | '}' | ',' | ':' | '=' | '+' | '-' | '*' => {
                self.skip(1);
                Token::Punctuation(c)
            }
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let len = word_len(self.rest);
                Token::Word(self.skip(len))
            }
            c => return self.error(self.here, format!("{c:?} means nothing here")),
        })
    }

    fn lex_text(&mut self) -> Parsed<Token<'a>> {
        self.skip(1);
        let mut text = String::new();
        loop {
            let at = self.here;
            let Some(c) = self.rest.chars().next().filter(|c| *c != '\n') else {
                return self.error(self.token_at, "this string does not end");
            };
            self.skip(c.len_utf8());
            match c {
                '"' => return Ok(Token::Text(text)),
                '\\' => match self.lex_escape() {
                    Some(c) => text.push(c),
                    None => return self.error(at, "an unknown escape"),
                },
                c => text.push(c),
            }
        }
    }

    /// What follows a backslash: `"`, `\` or `u{hex}`.
    fn lex_escape(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.skip(c.len_utf8());
        match c {
            '"' | '\\' => Some(c),
            'u' => {
                let digits = self.rest.strip_prefix('{')?;
                let code = &digits[..digits.find('}')?];
                let c = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
                self.skip(code.len() + 2);
                Some(c)
            }
            _ => None,
        }
    }

    // Pieces of grammar.

    pub(super) fn is(&self, punctuation: char) -> bool {
        self.token == Token::Punctuation(punctuation)
    }

    pub(super) fn accept(&mut self, punctuation: char) -> Parsed<bool> {
        let is = self.is(punctuation);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    pub(super) fn expect(&mut self, punctuation: char) -> Parsed<()> {
        if !self.accept(punctuation)? {
            return self.unexpected(&format!("`{punctuation}`"));
        }
        Ok(())
    }

    pub(super) fn accept_word(&mut self, word: &str) -> Parsed<bool> {
        let is = self.token == Token::Word(word);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if !self.accept_word(word)? {
            return self.unexpected(&format!("`{word}`"));
        }
        Ok(())
    }

    pub(super) fn word(&mut self, wanted: &str) -> Parsed<&'a str> {
        let Token::Word(word) = self.token else { return self.unexpected(wanted) };
        self.advance()?;
        Ok(word)
    }

    /// A name, bare or in quotes.
    pub(super) fn name(&mut self, wanted: &str) -> Parsed<String> {
        match &self.token {
            Token::Word(word) if super::is_identifier(word) => self.word(wanted).map(str::to_owned),
            Token::Text(_) => self.text(wanted),
            Token::Word(_) | Token::Punctuation(_) | Token::DotDot | Token::End => self.unexpected(wanted),
        }
    }

    pub(super) fn text(&mut self, wanted: &str) -> Parsed<String> {
        if !matches!(self.token, Token::Text(_)) {
            return self.unexpected(wanted);
        }
        match self.advance()? {
            Token::Text(text) => Ok(text),
            Token::Word(_) | Token::Punctuation(_) | Token::DotDot | Token::End => Ok(String::new()),
        }
    }

    /// A word that reads as a number of this type.
    pub(super) fn parsed<T: FromStr>(&mut self, wanted: &str) -> Parsed<T> {
        match self.token {
            Token::Word(word) if word.starts_with(|c: char| c.is_ascii_digit()) => match word.parse() {
                Ok(number) => self.advance().map(|_| number),
                Err(_) => self.unexpected(wanted),
            },
            Token::Word(_) | Token::Text(_) | Token::Punctuation(_) | Token::DotDot | Token::End => {
                self.unexpected(wanted)
            }
        }
    }

    /// A number that counts.
    pub(super) fn count(&mut self) -> Parsed<usize> {
        let at = self.token_at;
        let number: u64 = self.parsed("a number")?;
        match usize::try_from(number) {
            Ok(count) if number <= LARGEST => Ok(count),
            _ => self.error(at, format!("{number} is more than 2^31")),
        }
    }

    /// A number with a sign.
    pub(super) fn integer(&mut self) -> Parsed<i64> {
        let negative = self.accept('-')?;
        let number = self.count()? as i64;
        Ok(if negative { -number } else { number })
    }

    /// Things between brackets, separated by commas.
    pub(super) fn list<T>(
        &mut self,
        open: char,
        close: char,
        mut read: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.expect(open)?;
        let mut list = Vec::new();
        while !self.is(close) {
            list.push(read(self)?);
            if !self.is(close) {
                self.expect(',')?;
            }
        }
        self.expect(close)?;
        Ok(list)
    }

    /// One thing and others after commas.
    pub(super) fn sequence<T>(&mut self, mut read: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut list = vec![read(self)?];
        while self.accept(',')? {
            list.push(read(self)?);
        }
        Ok(list)
    }
}

/// The length of the name or number at the front.
fn word_len(text: &str) -> usize {
    let number = text.starts_with(|c: char| c.is_ascii_digit()) && !text.starts_with("0x");
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let point = number && c == '.' && text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
        let sign = number && matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
        if !(c.is_ascii_alphanumeric() || c == '_' || point || sign) {
            return at;
        }
        before = c;
    }
    text.len()
}
