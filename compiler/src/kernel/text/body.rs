//! Text to the body of a kernel.

use std::collections::HashMap;

use super::lexer::{Lexer, Parsed, Position, Token};
use crate::graph::F32;
use crate::kernel::{
    At, Axis, Binary, Bound, Index, LANES, Local, Param, ParamId, Prefetch, Range, Reduction, Stmt, Tap, Term, Tile,
    Unary, Update, Value, Var,
};

/// What names of a kernel stand for. Variables and locals are numbered as they are bound, unless they were listed.
pub(super) struct Names {
    params: HashMap<String, ParamId>,
    vars: List,
    locals: List,
}

struct List {
    names: Vec<String>,
    known: HashMap<String, u32>,
    listed: bool,
}

impl List {
    fn new(first: &[&str], listed: Option<Vec<String>>) -> List {
        let mut list = List { names: Vec::new(), known: HashMap::new(), listed: listed.is_some() };
        let first = first.iter().map(|name| (*name).to_owned());
        first.chain(listed.into_iter().flatten()).for_each(|name| list.push(name));
        list
    }

    fn push(&mut self, name: String) {
        self.known.insert(name.clone(), self.names.len() as u32);
        self.names.push(name);
    }

    /// The number of a name that is being bound.
    fn bind(&mut self, lexer: &mut Lexer<'_>, what: &str) -> Parsed<u32> {
        let at = lexer.at();
        let name = lexer.word(what)?;
        match (self.known.get(name), self.listed) {
            (Some(&id), true) => Ok(id),
            (None, true) => lexer.error(at, format!("{name} is not among the names that are listed")),
            (Some(_), false) => lexer.error(at, format!("{name} is bound twice")),
            (None, false) => {
                self.push(name.to_owned());
                Ok(self.names.len() as u32 - 1)
            }
        }
    }

    fn find(&self, lexer: &Lexer<'_>, at: Position, name: &str, what: &str) -> Parsed<u32> {
        match self.known.get(name) {
            Some(&id) => Ok(id),
            None => lexer.error(at, format!("there is no {what} {name} here")),
        }
    }
}

/// The names of a kernel, before its body.
pub(super) fn kernel_names(params: &[Param], vars: Option<Vec<String>>, locals: Option<Vec<String>>) -> Names {
    let params = params.iter().enumerate().map(|(i, param)| (param.name.clone(), ParamId(i as u32))).collect();
    Names { params, vars: List::new(&["lo", "hi"], vars), locals: List::new(&[], locals) }
}

impl Names {
    /// Variables and locals, by number.
    pub(super) fn into_lists(self) -> (Vec<String>, Vec<String>) {
        (self.vars.names, self.locals.names)
    }

    fn bind_var(&mut self, lexer: &mut Lexer<'_>) -> Parsed<Var> {
        self.vars.bind(lexer, "a variable").map(Var)
    }

    fn param(&self, lexer: &Lexer<'_>, at: Position, name: &str) -> Parsed<ParamId> {
        match self.params.get(name) {
            Some(&param) => Ok(param),
            None => lexer.error(at, format!("there is no parameter {name}")),
        }
    }
}

/// Statements in braces.
pub(super) fn body(lexer: &mut Lexer<'_>, names: &mut Names) -> Parsed<Vec<Stmt>> {
    lexer.nested(|lexer| {
        lexer.expect('{')?;
        let mut body = Vec::new();
        while !lexer.accept('}')? {
            body.push(statement(lexer, names)?);
        }
        Ok(body)
    })
}

fn statement(lexer: &mut Lexer<'_>, names: &mut Names) -> Parsed<Stmt> {
    let at = lexer.at();
    Ok(match lexer.word("a statement or `}`")? {
        "for" => {
            let var = names.bind_var(lexer)?;
            lexer.expect_word("in")?;
            let range = range(lexer, names)?;
            let unroll = lexer.accept_word("unroll")?;
            Stmt::For { var, range, unroll, body: body(lexer, names)? }
        }
        "let" => {
            let local = Local(names.locals.bind(lexer, "a name")?);
            lexer.expect('=')?;
            Stmt::Let { local, value: value(lexer, names)? }
        }
        "tile" => Stmt::Tile(tile(lexer, names)?),
        "store" => {
            let at = place(lexer, names)?;
            let lanes = lanes(lexer)?;
            lexer.expect(',')?;
            Stmt::Store { at, value: value(lexer, names)?, lanes }
        }
        "zero" => {
            let at = place(lexer, names)?;
            lexer.expect(',')?;
            Stmt::Zero { at, len: lexer.count()? }
        }
        "prefetch" => Stmt::Prefetch(prefetch(lexer, names)?),
        word => return lexer.error(at, format!("`{word}` begins no statement")),
    })
}

fn prefetch(lexer: &mut Lexer<'_>, names: &mut Names) -> Parsed<Prefetch> {
    let level = lexer.parsed("a cache level")?;
    lexer.expect(',')?;
    Ok(Prefetch { at: place(lexer, names)?, level })
}

fn tile(lexer: &mut Lexer<'_>, names: &mut Names) -> Parsed<Tile> {
    let pixel = names.bind_var(lexer)?;
    lexer.expect(':')?;
    let pixels = lexer.count()?;
    lexer.expect(',')?;
    let block = names.bind_var(lexer)?;
    lexer.expect(':')?;
    let blocks = lexer.count()?;
    lexer.expect('{')?;
    lexer.expect_word("init")?;
    let init = value(lexer, names)?;
    let mut reductions = Vec::new();
    while lexer.accept_word("reduce")? {
        let mut apart = 0;
        let axes = match lexer.is('{') {
            true => Vec::new(),
            false => {
                let mut position = 0;
                lexer.sequence(|lexer| {
                    let axis = axis(lexer, names)?;
                    let at = lexer.at();
                    if lexer.accept_word("apart")? {
                        if apart < position {
                            return lexer.error(at, "an axis apart inside of one that is not");
                        }
                        apart += 1;
                    }
                    position += 1;
                    Ok(axis)
                })?
            }
        };
        lexer.expect('{')?;
        let prefetch = if lexer.accept_word("prefetch")? { Some(prefetch(lexer, names)?) } else { None };
        let at = lexer.at();
        let word = lexer.word("`fma`, `add` or `max`")?;
        lexer.expect('(')?;
        let first = value(lexer, names)?;
        let update = match word {
            "fma" => {
                lexer.expect(',')?;
                Update::Fma(first, value(lexer, names)?)
            }
            "add" => Update::Add(first),
            "max" => Update::Max(first),
            _ => return lexer.error(at, format!("`{word}` where `fma`, `add` or `max` should stand")),
        };
        lexer.expect(')')?;
        lexer.expect('}')?;
        reductions.push(Reduction { axes, apart, prefetch, update });
    }
    lexer.expect_word("finish")?;
    let finish = body(lexer, names)?;
    lexer.expect('}')?;
    Ok(Tile { pixel, pixels, block, blocks, init, reductions, finish })
}

fn axis(lexer: &mut Lexer<'_>, names: &mut Names) -> Parsed<Axis> {
    let var = names.bind_var(lexer)?;
    lexer.expect_word("in")?;
    if !lexer.is('{') {
        return Ok(Axis::Loop { var, range: range(lexer, names)? });
    }
    let taps = lexer.list('{', '}', |lexer| {
        let value = lexer.integer()?;
        lexer.expect(':')?;
        let first = lexer.count()?;
        if *lexer.peek() != Token::DotDot {
            return lexer.unexpected("`..`");
        }
        lexer.advance()?;
        Ok(Tap { value, first, end: lexer.count()? })
    })?;
    Ok(Axis::Taps { var, taps, together: lexer.accept_word("together")? })
}

fn range(lexer: &mut Lexer<'_>, names: &Names) -> Parsed<Range> {
    let lo = bound(lexer, names)?;
    if *lexer.peek() != Token::DotDot {
        return lexer.unexpected("`..`");
    }
    lexer.advance()?;
    Ok(Range { lo, hi: bound(lexer, names)? })
}

fn bound(lexer: &mut Lexer<'_>, names: &Names) -> Parsed<Bound> {
    let of: fn(Index, Index) -> Bound = match lexer.peek() {
        Token::Word("min") => Bound::Min,
        Token::Word("max") => Bound::Max,
        Token::Word(_) | Token::Text(_) | Token::Punctuation(_) | Token::DotDot | Token::End => {
            return index(lexer, names).map(Bound::Index);
        }
    };
    lexer.advance()?;
    lexer.expect('(')?;
    let a = index(lexer, names)?;
    lexer.expect(',')?;
    let b = index(lexer, names)?;
    lexer.expect(')')?;
    Ok(of(a, b))
}

fn index(lexer: &mut Lexer<'_>, names: &Names) -> Parsed<Index> {
    lexer.nested(|lexer| {
        let mut sum = Index::constant(0);
        let mut negative = lexer.accept('-')?;
        loop {
            let term = product(lexer, names)?;
            sum = if negative { sum - term } else { sum + term };
            if lexer.accept('+')? {
                negative = false;
            } else if lexer.accept('-')? {
                negative = true;
            } else {
                return Ok(sum);
            }
        }
    })
}

/// A number, a term, or a number times a term.
fn product(lexer: &mut Lexer<'_>, names: &Names) -> Parsed<Index> {
    let is_number = matches!(lexer.peek(), Token::Word(word) if word.starts_with(|c: char| c.is_ascii_digit()));
    if !is_number {
        return term(lexer, names).map(Index::term);
    }
    let number = lexer.count()? as i64;
    if lexer.accept('*')? { Ok(Index::term(term(lexer, names)?) * number) } else { Ok(Index::constant(number)) }
}

fn term(lexer: &mut Lexer<'_>, names: &Names) -> Parsed<Term> {
    let at = lexer.at();
    if lexer.accept('(')? {
        let inner = index(lexer, names)?;
        lexer.expect(')')?;
        if lexer.accept_word("mod")? {
            return Ok(Term::Mod(Box::new(inner), lexer.integer()?));
        }
        return match inner {
            Index { mut terms, constant: 0 } if terms.len() == 1 && terms[0].1 == 1 => Ok(terms.remove(0).0),
            _ => lexer.error(at, "a sum in parentheses without `mod`"),
        };
    }
    let name = lexer.word("an index")?;
    if lexer.accept('[')? {
        let param = names.param(lexer, at, name)?;
        let of = index(lexer, names)?;
        lexer.expect(']')?;
        return Ok(Term::Table(param, Box::new(of)));
    }
    let var = Var(names.vars.find(lexer, at, name, "variable")?);
    if lexer.accept_word("mod")? {
        return Ok(Term::Mod(Box::new(Index::var(var)), lexer.integer()?));
    }
    Ok(Term::Var(var))
}

fn place(lexer: &mut Lexer<'_>, names: &Names) -> Parsed<At> {
    let at = lexer.at();
    let name = lexer.word("a parameter")?;
    let param = names.param(lexer, at, name)?;
    lexer.expect('[')?;
    let first = index(lexer, names)?;
    lexer.expect(']')?;
    if !lexer.accept('[')? {
        return Ok(At { param, block: None, offset: first });
    }
    let offset = index(lexer, names)?;
    lexer.expect(']')?;
    Ok(At { param, block: Some(first), offset })
}

fn lanes(lexer: &mut Lexer<'_>) -> Parsed<usize> {
    if lexer.accept_word("lanes")? { lexer.count() } else { Ok(LANES) }
}

fn value(lexer: &mut Lexer<'_>, names: &Names) -> Parsed<Value> {
    lexer.nested(|lexer| {
        let at = lexer.at();
        if lexer.accept('-')? {
            return match lexer.accept_word("inf")? {
                true => Ok(Value::Const(F32::new(f32::NEG_INFINITY))),
                false => Ok(Value::Const(F32::new(-lexer.parsed::<f32>("a number")?))),
            };
        }
        let word = match lexer.peek() {
            Token::Word(word) if word.starts_with(|c: char| c.is_ascii_digit()) => {
                return Ok(Value::Const(F32::new(lexer.parsed("a number")?)));
            }
            Token::Word(_) => lexer.word("a value")?,
            Token::Text(_) | Token::Punctuation(_) | Token::DotDot | Token::End => {
                return lexer.unexpected("a value");
            }
        };
        match word {
            "acc" => Ok(Value::Acc),
            "inf" => Ok(Value::Const(F32::new(f32::INFINITY))),
            "load" => Ok(Value::Load { at: place(lexer, names)?, lanes: lanes(lexer)? }),
            "splat" => {
                let at = place(lexer, names)?;
                if !lexer.accept_word("lane")? {
                    return Ok(Value::Splat(at));
                }
                let lane = lexer.count()?;
                lexer.expect_word("of")?;
                Ok(Value::SplatGroup { at, lane, width: lexer.count()? })
            }
            _ if lexer.accept('(')? => {
                let value = function(lexer, names, at, word)?;
                lexer.expect(')')?;
                Ok(value)
            }
            name => Ok(Value::Local(Local(names.locals.find(lexer, at, name, "value")?))),
        }
    })
}

/// A function of values, after the parenthesis.
fn function(lexer: &mut Lexer<'_>, names: &Names, at: Position, name: &str) -> Parsed<Value> {
    match name {
        "f32" => {
            let at = lexer.at();
            let bits = lexer.word("bits, as 0x…")?;
            return match bits.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16)) {
                Some(Ok(bits)) => Ok(Value::Const(F32::new(f32::from_bits(bits)))),
                _ => lexer.error(at, format!("`{bits}` where bits, as 0x…, should stand")),
            };
        }
        "i32" => {
            let at = lexer.at();
            let number = lexer.integer()?;
            return match i32::try_from(number) {
                Ok(number) => Ok(Value::ConstI32(number)),
                Err(_) => lexer.error(at, format!("{number} is no i32")),
            };
        }
        _ => {}
    }
    let next = |lexer: &mut Lexer<'_>| -> Parsed<Box<Value>> {
        lexer.expect(',')?;
        value(lexer, names).map(Box::new)
    };
    let first = Box::new(value(lexer, names)?);
    if let Some(unary) = Unary::ALL.into_iter().find(|unary| unary.name() == name) {
        return Ok(Value::Unary(unary, first));
    }
    let second = next(lexer)?;
    if let Some(binary) = Binary::ALL.into_iter().find(|binary| binary.name() == name) {
        return Ok(Value::Binary(binary, first, second));
    }
    match name {
        "fma" => Ok(Value::Fma(first, second, next(lexer)?)),
        "select_lt" => Ok(Value::SelectLt { a: first, b: second, then: next(lexer)?, otherwise: next(lexer)? }),
        _ => lexer.error(at, format!("there is no function {name}")),
    }
}
