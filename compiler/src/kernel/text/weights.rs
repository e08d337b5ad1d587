//! Weight expressions as they are written: `scale(w1, axis 0, by w2)`.

use kiln_rt::fill::Kind;
use kiln_rt::weights::{Expr, ExprId, HOLE};

use super::lexer::{Lexer, Parsed, Token};
use super::print::{number, quote};
use crate::graph::F32;

/// The most indices that one range of a text may unfold to.
const UNFOLDED: u32 = 1 << 24;

/// An expression, with others under their names.
pub(super) fn print(expr: &Expr) -> String {
    let float = |bits: u32| number(F32::new(f32::from_bits(bits)));
    match expr {
        Expr::Read { name, kind, shape } => format!("read {} {} {shape:?}", quote(name), kind.name()),
        Expr::Literal { shape, bits } => {
            let values: Vec<String> = bits.iter().map(|&bits| float(bits)).collect();
            format!("literal {shape:?} [{}]", values.join(", "))
        }
        Expr::Splat { shape, bits } => format!("splat {shape:?} {}", float(*bits)),
        Expr::Transpose { of, perm } => format!("transpose({of}, {perm:?})"),
        Expr::Reshape { of, shape } => format!("reshape({of}, {shape:?})"),
        Expr::Concat { of, axis } => {
            let parts: Vec<String> = of.iter().map(ToString::to_string).collect();
            format!("concat([{}], axis {axis})", parts.join(", "))
        }
        Expr::Gather { of, axis, index } => format!("gather({of}, axis {axis}, [{}])", gather_index(index)),
        Expr::Scale { of, axis, by } => format!("scale({of}, axis {axis}, {by})"),
        Expr::Add { a, b } => format!("add({a}, {b})"),
        Expr::Times { of, bits } => format!("times({of}, {})", double(*bits)),
        Expr::RsqrtEps { of, eps } => format!("rsqrt({of}, {})", double(*eps)),
        Expr::Contract { of, by, groups } => format!("contract({of}, {by}, groups {groups})"),
    }
}

/// Indices, `a..b` for three and more in a row, `_` for a hole.
fn gather_index(index: &[u32]) -> String {
    let mut parts = Vec::new();
    let mut rest = index;
    while let [first, ..] = *rest {
        let follows = |&(i, &next): &(usize, &u32)| next != HOLE && next as usize == first as usize + i;
        let run = if first == HOLE { 1 } else { rest.iter().enumerate().take_while(follows).count() };
        let taken = if run > 2 { run } else { 1 };
        parts.push(match (first, taken) {
            (HOLE, _) => "_".to_owned(),
            (first, 1) => first.to_string(),
            (first, run) => format!("{first}..{}", first as usize + run),
        });
        rest = &rest[taken..];
    }
    parts.join(", ")
}

/// An f64 that reads back as the same bits.
fn double(bits: u64) -> String {
    let value = f64::from_bits(bits);
    if value.is_nan() { format!("f64({bits:#x})") } else { format!("{value:?}") }
}

/// An expression whose operands are below `next`.
pub(super) fn parse(lexer: &mut Lexer<'_>, next: usize) -> Parsed<Expr> {
    let at = lexer.at();
    let word = lexer.word("an expression")?;
    match word {
        "read" => {
            let name = lexer.text("a tensor's name in quotes")?.into();
            let at = lexer.at();
            let word = lexer.word("a kind of weight")?;
            let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == word) else {
                return lexer.error(at, format!("there is no kind {word}"));
            };
            return Ok(Expr::Read { name, kind, shape: counts(lexer)?.into() });
        }
        "literal" => {
            let shape = counts(lexer)?.into();
            return Ok(Expr::Literal { shape, bits: lexer.list('[', ']', float)?.into() });
        }
        "splat" => return Ok(Expr::Splat { shape: counts(lexer)?.into(), bits: float(lexer)? }),
        _ => lexer.expect('(')?,
    }
    let comma = |lexer: &mut Lexer<'_>, word: &str| {
        lexer.expect(',')?;
        if word.is_empty() { Ok(()) } else { lexer.expect_word(word) }
    };
    let expr = if word == "concat" {
        let of = lexer.list('[', ']', |lexer| id(lexer, next))?;
        comma(lexer, "axis")?;
        Expr::Concat { of: of.into(), axis: lexer.count()? }
    } else {
        let of = id(lexer, next)?;
        match word {
            "transpose" | "reshape" | "add" | "times" | "rsqrt" | "contract" => comma(lexer, "")?,
            "gather" | "scale" => comma(lexer, "axis")?,
            _ => return lexer.error(at, format!("`{word}` is no expression")),
        }
        match word {
            "transpose" => Expr::Transpose { of, perm: counts(lexer)?.into() },
            "reshape" => Expr::Reshape { of, shape: counts(lexer)?.into() },
            "add" => Expr::Add { a: of, b: id(lexer, next)? },
            "times" => Expr::Times { of, bits: double_bits(lexer)? },
            "rsqrt" => Expr::RsqrtEps { of, eps: double_bits(lexer)? },
            "contract" => {
                let by = id(lexer, next)?;
                comma(lexer, "groups")?;
                Expr::Contract { of, by, groups: lexer.count()? }
            }
            "gather" => {
                let axis = lexer.count()?;
                comma(lexer, "")?;
                Expr::Gather { of, axis, index: indices(lexer)?.into() }
            }
            _ => {
                let axis = lexer.count()?;
                comma(lexer, "")?;
                Expr::Scale { of, axis, by: id(lexer, next)? }
            }
        }
    };
    lexer.expect(')')?;
    Ok(expr)
}

/// `w3`, which is below `next`.
pub(super) fn id(lexer: &mut Lexer<'_>, next: usize) -> Parsed<ExprId> {
    let at = lexer.at();
    let word = lexer.word("a weight")?;
    match word.strip_prefix('w').and_then(|number| number.parse::<u32>().ok()) {
        Some(id) if (id as usize) < next => Ok(ExprId(id)),
        _ => lexer.error(at, format!("there is no weight {word} yet")),
    }
}

fn counts(lexer: &mut Lexer<'_>) -> Parsed<Vec<usize>> {
    lexer.list('[', ']', |lexer| lexer.count())
}

fn indices(lexer: &mut Lexer<'_>) -> Parsed<Vec<u32>> {
    let mut all = Vec::new();
    lexer.list('[', ']', |lexer| {
        let at = lexer.at();
        if lexer.accept_word("_")? {
            all.push(HOLE);
            return Ok(());
        }
        let first: u32 = lexer.parsed("an index")?;
        if *lexer.peek() != Token::DotDot {
            all.push(first);
            return Ok(());
        }
        lexer.advance()?;
        let end: u32 = lexer.parsed("an index")?;
        if end.saturating_sub(first) > UNFOLDED || all.len() > UNFOLDED as usize {
            return lexer.error(at, format!("more than {UNFOLDED} indices"));
        }
        all.extend(first..end);
        Ok(())
    })?;
    Ok(all)
}

/// The bits of an f32.
fn float(lexer: &mut Lexer<'_>) -> Parsed<u32> {
    let negative = lexer.accept('-')?;
    if lexer.accept_word("f32")? {
        let at = lexer.at();
        lexer.expect('(')?;
        let bits = hex(lexer).and_then(|bits| u32::try_from(bits).ok());
        lexer.expect(')')?;
        return bits.map_or_else(|| lexer.error(at, "no bits of an f32"), Ok);
    }
    let value = if lexer.accept_word("inf")? { f32::INFINITY } else { lexer.parsed("a number")? };
    Ok((if negative { -value } else { value }).to_bits())
}

/// The bits of an f64.
fn double_bits(lexer: &mut Lexer<'_>) -> Parsed<u64> {
    let negative = lexer.accept('-')?;
    if lexer.accept_word("f64")? {
        let at = lexer.at();
        lexer.expect('(')?;
        let bits = hex(lexer);
        lexer.expect(')')?;
        return bits.map_or_else(|| lexer.error(at, "no bits of an f64"), Ok);
    }
    let value = if lexer.accept_word("inf")? { f64::INFINITY } else { lexer.parsed("a number")? };
    Ok((if negative { -value } else { value }).to_bits())
}

fn hex(lexer: &mut Lexer<'_>) -> Option<u64> {
    let word = lexer.word("bits, as 0x…").ok()?;
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}
