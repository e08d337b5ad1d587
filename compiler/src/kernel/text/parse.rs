//! Text to program.

use std::collections::HashMap;

use super::body::{body, kernel_names};
use super::lexer::{Lexer, ParseError, Parsed, Token};
use super::{print, weights};
use crate::kernel::{
    Access, Arg, Buffer, BufferId, Elem, Kernel, KernelId, Param, ParamId, ParamKind, Place, Program, Region, Step,
    Table, TableId, Waits,
};
use crate::target::Target;
use kiln_rt::weights::Form;

/// A program from its text.
///
/// # Errors
/// The first thing that does not follow the form, with its place. What the verifier looks at is not looked at here.
pub fn parse(text: &str) -> Result<Program, ParseError> {
    let mut lexer = Lexer::new(text)?;
    let mut reader = Reader::header(&mut lexer)?;
    while *lexer.peek() != Token::End {
        reader.item(&mut lexer)?;
    }
    Ok(reader.program)
}

/// A kernel from its text.
///
/// # Errors
/// As [`parse`].
pub fn parse_kernel(text: &str) -> Result<Kernel, ParseError> {
    let mut lexer = Lexer::new(text)?;
    lexer.expect_word("kernel")?;
    let kernel = kernel(&mut lexer)?;
    if *lexer.peek() == Token::End { Ok(kernel) } else { lexer.unexpected("the end") }
}

struct Reader {
    program: Program,
    buffers: HashMap<String, BufferId>,
    tables: HashMap<String, TableId>,
    kernels: HashMap<String, KernelId>,
}

impl Reader {
    fn header(lexer: &mut Lexer<'_>) -> Parsed<Reader> {
        lexer.expect_word("program")?;
        let name = lexer.name("the program's name")?;
        lexer.expect_word("target")?;
        let at = lexer.at();
        let word = lexer.word("a target")?;
        let Ok(target) = word.parse::<Target>() else {
            return lexer.error(at, format!("there is no target {word}"));
        };
        let mut size = |word: &str| lexer.expect_word(word).and_then(|()| lexer.count());
        let arena = size("arena")?;
        let arena_lower_bound = size("at_least")?;
        let logical_lower_bound = size("logical")?;
        let scratch = size("scratch")?;
        let program = Program {
            name,
            target,
            weights: Vec::new(),
            buffers: Vec::new(),
            tables: Vec::new(),
            kernels: Vec::new(),
            steps: Vec::new(),
            arena,
            scratch,
            arena_lower_bound,
            logical_lower_bound,
        };
        Ok(Reader { program, buffers: HashMap::new(), tables: HashMap::new(), kernels: HashMap::new() })
    }

    fn item(&mut self, lexer: &mut Lexer<'_>) -> Parsed<()> {
        let at = lexer.at();
        let known = |known: bool, what: &str, name: &str, lexer: &Lexer<'_>| {
            if known { lexer.error(at, format!("two {what}s are called {name}")) } else { Ok(()) }
        };
        match lexer.word("`buffer`, `table`, `kernel`, `step` or a weight")? {
            "buffer" => {
                let buffer = self.buffer(lexer)?;
                let id = BufferId(self.program.buffers.len() as u32);
                known(self.buffers.insert(buffer.name.clone(), id).is_some(), "buffer", &buffer.name, lexer)?;
                self.program.buffers.push(buffer);
            }
            "table" => {
                let name = lexer.name("the table's name")?;
                let values = lexer.list('[', ']', |lexer| lexer.parsed("an entry"))?;
                let id = TableId(self.program.tables.len() as u32);
                known(self.tables.insert(name.clone(), id).is_some(), "table", &name, lexer)?;
                self.program.tables.push(Table { name, values });
            }
            "kernel" => {
                let kernel = kernel(lexer)?;
                let id = KernelId(self.program.kernels.len() as u32);
                known(self.kernels.insert(kernel.name.clone(), id).is_some(), "kernel", &kernel.name, lexer)?;
                self.program.kernels.push(kernel);
            }
            "step" => {
                let step = self.step(lexer)?;
                self.program.steps.push(step);
            }
            word if word == format!("w{}", self.program.weights.len()) => {
                lexer.expect('=')?;
                let expr = weights::parse(lexer, self.program.weights.len())?;
                self.program.weights.push(expr);
            }
            word => return lexer.error(at, format!("`{word}` begins no part of a program, nor is it the next weight")),
        }
        Ok(())
    }

    fn buffer(&self, lexer: &mut Lexer<'_>) -> Parsed<Buffer> {
        let name = lexer.name("the buffer's name")?;
        lexer.expect(':')?;
        let elem = elem(lexer)?;
        let len = lexer.count()?;
        let at = lexer.at();
        let place = match lexer.word("a place")? {
            "input" => Place::Input(lexer.count()?),
            "output" => Place::Output(lexer.count()?),
            "arena" => Place::Arena(lexer.count()?),
            "scratch" => Place::Scratch(lexer.count()?),
            "packed" => {
                let weight = weights::id(lexer, self.program.weights.len())?;
                let at = lexer.at();
                let word = lexer.word("a form")?;
                match Form::ALL.into_iter().find(|form| form.name() == word) {
                    Some(form) => Place::Packed { weight, form },
                    None => return lexer.error(at, format!("there is no form {word}")),
                }
            }
            word => return lexer.error(at, format!("`{word}` is no place")),
        };
        Ok(Buffer { name, elem, len, place })
    }

    fn step(&self, lexer: &mut Lexer<'_>) -> Parsed<Step> {
        let at = lexer.at();
        let name = lexer.name("a kernel's name")?;
        let Some(&kernel) = self.kernels.get(&name) else {
            return lexer.error(at, format!("there is no kernel {name} yet"));
        };
        let waits = if lexer.accept_word("own_units")? { Waits::OwnUnits } else { Waits::Barrier };
        let layers = match lexer.accept_word("for")? {
            true => lexer.sequence(|lexer| lexer.name("a layer's name"))?,
            false => Vec::new(),
        };
        lexer.expect('{')?;
        let mut args = Vec::new();
        for param in &self.program.kernels[kernel.index()].params {
            lexer.expect_word(&param.name)?;
            lexer.expect(':')?;
            args.push(self.argument(lexer)?);
        }
        lexer.expect('}')?;
        Ok(Step { kernel, args, waits, layers })
    }

    fn argument(&self, lexer: &mut Lexer<'_>) -> Parsed<Arg> {
        if lexer.is('[') {
            return Ok(Arg::Blocks(lexer.list('[', ']', |lexer| {
                let at = lexer.at();
                let name = lexer.name("a buffer")?;
                self.region(lexer, at, &name)
            })?));
        }
        let at = lexer.at();
        let name = lexer.name("a buffer, a list of regions or a table")?;
        if name == "table" && lexer.accept('(')? {
            let at = lexer.at();
            let name = lexer.name("a table's name")?;
            lexer.expect(')')?;
            return match self.tables.get(&name) {
                Some(&table) => Ok(Arg::Table(table)),
                None => lexer.error(at, format!("there is no table {name} yet")),
            };
        }
        self.region(lexer, at, &name).map(Arg::Flat)
    }

    fn region(&self, lexer: &mut Lexer<'_>, at: super::lexer::Position, name: &str) -> Parsed<Region> {
        let Some(&buffer) = self.buffers.get(name) else {
            return lexer.error(at, format!("there is no buffer {name} yet"));
        };
        let offset = if lexer.accept('+')? { lexer.count()? } else { 0 };
        Ok(Region { buffer, offset })
    }
}

fn elem(lexer: &mut Lexer<'_>) -> Parsed<Elem> {
    let at = lexer.at();
    let word = lexer.word("an element type")?;
    match [Elem::F32, Elem::Bf16, Elem::I32, Elem::I8, Elem::U8].into_iter().find(|elem| print::elem(*elem) == word) {
        Some(elem) => Ok(elem),
        None => lexer.error(at, format!("`{word}` is no element type")),
    }
}

/// A kernel, after the word `kernel`.
fn kernel(lexer: &mut Lexer<'_>) -> Parsed<Kernel> {
    let name = lexer.name("the kernel's name")?;
    lexer.expect_word("units")?;
    let units = lexer.count()?;
    lexer.expect_word("flops")?;
    let flops = lexer.parsed("a number")?;
    lexer.expect_word("tile")?;
    let tile = lexer.text("the tile in quotes")?;
    let mut params: Vec<Param> = Vec::new();
    let (mut pairs, mut vars, mut locals) = (Vec::new(), None, None);
    while !lexer.is('{') {
        let at = lexer.at();
        let word = lexer.word("a parameter or `{`")?;
        if lexer.accept(':')? {
            let kind = param_kind(lexer)?;
            if params.iter().any(|param| param.name == word) {
                return lexer.error(at, format!("two parameters are called {word}"));
            }
            params.push(Param { name: word.to_owned(), kind });
            continue;
        }
        let mut names = || lexer.sequence(|lexer| lexer.name("a name"));
        match word {
            "vars" => vars = Some(names()?),
            "locals" => locals = Some(names()?),
            "in_place" => {
                pairs = lexer.sequence(|lexer| {
                    let written = (lexer.at(), lexer.word("a parameter")?);
                    lexer.expect_word("over")?;
                    Ok([written, (lexer.at(), lexer.word("a parameter")?)])
                })?;
            }
            _ => return lexer.unexpected("`:`"),
        }
    }
    let mut in_place = Vec::new();
    for [written, read] in pairs {
        let param = |(at, name)| match params.iter().position(|param| param.name == name) {
            Some(param) => Ok(ParamId(param as u32)),
            None => lexer.error(at, format!("there is no parameter {name}")),
        };
        in_place.push((param(written)?, param(read)?));
    }
    let mut names = kernel_names(&params, vars, locals);
    let body = body(lexer, &mut names)?;
    let (vars, locals) = names.into_lists();
    Ok(Kernel { name, params, units, in_place, vars, locals, body, flops, tile })
}

fn param_kind(lexer: &mut Lexer<'_>) -> Parsed<ParamKind> {
    if lexer.accept_word("table")? {
        let len = lexer.count()?;
        lexer.expect_word("below")?;
        return Ok(ParamKind::Table { len, below: lexer.parsed("a number")? });
    }
    let at = lexer.at();
    let word = lexer.word("`read`, `write`, `update` or `table`")?;
    let Some(access) =
        [Access::Read, Access::Write, Access::Update].into_iter().find(|access| print::access(*access) == word)
    else {
        return lexer.error(at, format!("`{word}` where `read`, `write`, `update` or `table` should stand"));
    };
    let elem = elem(lexer)?;
    if lexer.accept_word("flat")? {
        return Ok(ParamKind::Flat { elem, len: lexer.count()?, access });
    }
    lexer.expect_word("blocks")?;
    let count = lexer.count()?;
    lexer.expect_word("of")?;
    Ok(ParamKind::Blocks { elem, count, len: lexer.count()?, access })
}
