//! The JSON that a header is: an object of objects of fixed form.

use std::collections::BTreeMap;

use super::{Dtype, ElementType, Entry, MAX_RANK, ParseError};

/// What a header says.
#[derive(Default)]
pub(super) struct Header {
    pub(super) tensors: BTreeMap<String, Entry>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Reads a header. Positions in errors count from its start.
pub(super) fn parse(text: &[u8]) -> Result<Header, ParseError> {
    let text = std::str::from_utf8(text).map_err(|error| ParseError::new(error.valid_up_to(), "not UTF-8"))?;
    let mut reader = Reader { text, at: 0 };
    let mut header = Header::default();
    let mut metadata_seen = false;
    reader.object(|reader, key, position| {
        if key == "__metadata__" {
            if std::mem::replace(&mut metadata_seen, true) {
                return Err(ParseError::new(position, "`__metadata__` twice"));
            }
            return reader.object(|reader, key, position| {
                let value = reader.string()?;
                match header.metadata.insert(key.clone(), value) {
                    None => Ok(()),
                    Some(_) => Err(ParseError::new(position, format!("metadata `{key}` twice"))),
                }
            });
        }
        let entry = reader.entry(&key, position)?;
        match header.tensors.insert(key.clone(), entry) {
            None => Ok(()),
            Some(_) => Err(ParseError::new(position, format!("tensor `{key}` twice"))),
        }
    })?;
    reader.space();
    match reader.peek() {
        None => Ok(header),
        Some(_) => Err(reader.error("the end of the header was expected")),
    }
}

/// `text` as a JSON string, appended to `out`.
pub(super) fn escape(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            _ => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    text: &'a str,
    /// Always at a character's start.
    at: usize,
}

impl Reader<'_> {
    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(self.at, message)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Whether the next thing is `byte`, which is ASCII; it is taken if so.
    fn takes(&mut self, byte: u8) -> bool {
        self.space();
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.takes(byte) { Ok(()) } else { Err(self.error(format!("`{}` was expected", byte as char))) }
    }

    /// An object, whose values `value` reads, given key and position of the key.
    fn object(
        &mut self,
        mut value: impl FnMut(&mut Self, String, usize) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.expect(b'{')?;
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let position = self.at;
            let key = self.string()?;
            self.expect(b':')?;
            value(self, key, position)?;
            if self.takes(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// The object of one tensor.
    fn entry(&mut self, name: &str, position: usize) -> Result<Entry, ParseError> {
        let (mut elements, mut shape, mut offsets) = (None, None, None);
        self.object(|reader, key, position| {
            let twice = match key.as_str() {
                "dtype" => elements.replace(reader.elements()?).is_some(),
                "shape" => shape.replace(reader.numbers(MAX_RANK)?).is_some(),
                "data_offsets" => offsets.replace(reader.numbers(2)?).is_some(),
                _ => return Err(ParseError::new(position, format!("unknown key `{key}` of a tensor"))),
            };
            if twice { Err(ParseError::new(position, format!("`{key}` twice"))) } else { Ok(()) }
        })?;
        let missing = |what: &str| ParseError::new(position, format!("tensor `{name}` has no {what}"));
        let elements = elements.ok_or_else(|| missing("dtype"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        let offsets = offsets.ok_or_else(|| missing("data_offsets"))?;
        let &[start, end] = offsets.as_slice() else { return Err(missing("two data_offsets")) };
        // How many bytes an element of a type takes that is not read, nobody here knows.
        let (type_name, fits) = match &elements {
            ElementType::Read(dtype) => {
                let bytes = shape.iter().try_fold(dtype.size(), |bytes, &extent| bytes.checked_mul(extent));
                (dtype.name(), start <= end && bytes == Some(end - start))
            }
            ElementType::Unread(name) => (name.as_str(), start <= end),
        };
        if !fits {
            let message = format!("tensor `{name}`: {type_name} {shape:?} does not take bytes {start} to {end}");
            return Err(ParseError::new(position, message));
        }
        Ok(Entry { elements, shape, range: start..end })
    }

    fn elements(&mut self) -> Result<ElementType, ParseError> {
        self.space();
        let name = self.string()?;
        Ok(Dtype::from_name(&name).map_or(ElementType::Unread(name), ElementType::Read))
    }

    /// An array of at most `most` numbers.
    fn numbers(&mut self, most: usize) -> Result<Vec<usize>, ParseError> {
        let mut numbers = Vec::new();
        self.expect(b'[')?;
        if self.takes(b']') {
            return Ok(numbers);
        }
        loop {
            numbers.push(self.number()?);
            if self.takes(b']') {
                return Ok(numbers);
            }
            self.expect(b',')?;
            if numbers.len() == most {
                return Err(self.error(format!("more than {most} numbers")));
            }
        }
    }

    /// A whole number, without sign, point or exponent.
    fn number(&mut self) -> Result<usize, ParseError> {
        self.space();
        let rest = &self.text[self.at..];
        let digits = &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()];
        if digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
            return Err(self.error("a whole number was expected"));
        }
        let number = digits.parse().map_err(|_| self.error(format!("the number {digits} is too large")))?;
        self.at += digits.len();
        Ok(number)
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.expect(b'"')?;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().take_while(|&byte| byte != b'"' && byte != b'\\' && byte >= b' ').count();
            string.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escaped()?),
                Some(_) => return Err(self.error("a control character in a string")),
                None => return Err(self.error("a string without an end")),
            }
        }
    }

    /// The character that an escape stands for; the reader is at its backslash.
    fn escaped(&mut self) -> Result<char, ParseError> {
        let position = self.at;
        let wrong = || ParseError::new(position, "an unknown escape");
        let kind = self.text.as_bytes().get(self.at + 1).ok_or_else(wrong)?;
        let c = match kind {
            b'"' | b'\\' | b'/' => char::from(*kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit().ok_or_else(wrong)?;
                // A character beyond 16 bits is two escapes, of a high and a low surrogate.
                let second = if (0xD800..0xDC00).contains(&first) { self.unit() } else { None };
                let mut units = char::decode_utf16([first].into_iter().chain(second));
                return units.next().and_then(Result::ok).ok_or_else(wrong);
            }
            _ => return Err(wrong()),
        };
        self.at += 2;
        Ok(c)
    }

    /// The number in an escape of the form `\u12ab`, which is taken.
    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 6)?.strip_prefix("\\u")?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 6;
        u16::from_str_radix(digits, 16).ok()
    }
}
