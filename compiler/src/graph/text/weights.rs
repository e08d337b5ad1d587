//! Weight expressions as they are written: `scale(kernel("conv.weight", [8, 3, 3, 3]), axis = 0, by = $0)`.

use std::collections::{BTreeMap, BTreeSet};

use kiln_rt::fill::Kind as TensorKind;

use super::super::TensorType;
use super::super::weights::{Expr, HOLE, Pool, WeightId};
use super::ParseError;
use super::syntax::{Call, Kind, Position, Term, quote, write_f32, write_f64};

/// Calls within calls on one line; what is deeper gets a `$n` of its own.
const INLINE_DEPTH: usize = 6;

/// The deepest expression that is read, through `$n` too: the pool's constructors recurse.
const DEPTH: usize = 256;

/// The most indices and parts that a text may unfold to, a multiple of what real networks have: `0..1000000` is short
/// to write, and a gather of a sum is a sum of gathers.
const UNFOLDED: usize = 1 << 25;

/// Writes the weights of a graph in order.
pub(super) struct Writer {
    roots: std::vec::IntoIter<WeightId>,
    /// By expression, what stands for it.
    written: Vec<String>,
    /// The `$n = …` lines with their expressions, ascending.
    definitions: std::iter::Peekable<std::vec::IntoIter<(usize, String)>>,
}

impl Writer {
    /// The weights `roots`, to be written in this order.
    pub(super) fn new(pool: &Pool, roots: &[WeightId]) -> Self {
        let (exprs, roots) = pool.program(roots.iter().copied());
        let mut uses = vec![0usize; exprs.len()];
        for id in exprs.iter().flat_map(Expr::operands).chain(roots.iter().copied()) {
            uses[id.0 as usize] += 1;
        }
        let mut written: Vec<String> = Vec::with_capacity(exprs.len());
        let mut depths: Vec<usize> = Vec::with_capacity(exprs.len());
        let mut definitions = Vec::new();
        for (i, expr) in exprs.iter().enumerate() {
            let text = write(expr, |of| &written[of.0 as usize]);
            let depth = expr.operands().iter().map(|of| depths[of.0 as usize]).max().unwrap_or(0) + 1;
            let leaf = matches!(expr, Expr::Read { .. } | Expr::Splat { .. });
            if uses[i] > 1 && !leaf || depth > INLINE_DEPTH {
                let name = format!("${}", definitions.len());
                definitions.push((i, format!("{name} = {text}\n")));
                written.push(name);
                depths.push(0);
            } else {
                written.push(text);
                depths.push(depth);
            }
        }
        Writer { roots: roots.into_iter(), written, definitions: definitions.into_iter().peekable() }
    }

    /// The next weight; the definitions that it needs and that are not yet there go to `lines`.
    pub(super) fn next(&mut self, lines: &mut String) -> String {
        let Some(root) = self.roots.next() else { return String::new() };
        while let Some((_, line)) = self.definitions.next_if(|(i, _)| *i <= root.0 as usize) {
            *lines += &line;
        }
        self.written[root.0 as usize].clone()
    }
}

fn write<'a>(expr: &Expr, written: impl Fn(&WeightId) -> &'a str) -> String {
    match expr {
        Expr::Read { name, kind, shape } => format!("{}({}, {shape:?})", kind.name(), quote(name)),
        Expr::Literal { shape, bits } => {
            let values: Vec<String> = bits.iter().map(|&bits| write_f32(bits)).collect();
            format!("literal({shape:?}, [{}])", values.join(", "))
        }
        Expr::Splat { shape, bits } => format!("splat({shape:?}, {})", write_f32(*bits)),
        Expr::Transpose { of, perm } => format!("transpose({}, perm = {perm:?})", written(of)),
        Expr::Reshape { of, shape } => format!("reshape({}, shape = {shape:?})", written(of)),
        Expr::Concat { of, axis } => {
            let parts: Vec<&str> = of.iter().map(written).collect();
            format!("concat({}, axis = {axis})", parts.join(", "))
        }
        Expr::Gather { of, axis, index } => {
            format!("gather({}, axis = {axis}, index = [{}])", written(of), write_index(index))
        }
        Expr::Scale { of, axis, by } => format!("scale({}, axis = {axis}, by = {})", written(of), written(by)),
        Expr::Add { a, b } => format!("add({}, {})", written(a), written(b)),
        Expr::Times { of, bits } => format!("times({}, {})", written(of), write_f64(*bits)),
        Expr::RsqrtEps { of, eps } => format!("rsqrt({}, eps = {})", written(of), write_f64(*eps)),
        Expr::Contract { of, by, groups } => {
            format!("contract({}, by = {}, groups = {groups})", written(of), written(by))
        }
    }
}

/// Indices, `a..b` for three and more in a row, `_` for a hole.
fn write_index(index: &[u32]) -> String {
    let mut parts = Vec::new();
    let mut rest = index;
    while let [first, ..] = *rest {
        let mut run = 1;
        while first != HOLE && rest.get(run).is_some_and(|&next| next != HOLE && next as usize == first as usize + run)
        {
            run += 1;
        }
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

/// Reads expressions into a pool.
#[derive(Default)]
pub(super) struct Reader<'a> {
    /// The expressions named `$n`, with their depths.
    defined: BTreeMap<&'a str, (WeightId, usize)>,
    unfolded: usize,
}

impl<'a> Reader<'a> {
    /// `$name = value`
    pub(super) fn define(
        &mut self,
        pool: &mut Pool,
        at: Position,
        name: &'a str,
        value: Term<'a>,
    ) -> Result<(), ParseError> {
        let value = self.expression(pool, value)?;
        match self.defined.insert(name, value) {
            Some(_) => Err(ParseError::new(at, format!("`${name}` is defined twice"))),
            None => Ok(()),
        }
    }

    /// The expression that a term describes.
    pub(super) fn read(&mut self, pool: &mut Pool, value: Term<'a>) -> Result<WeightId, ParseError> {
        self.expression(pool, value).map(|(id, _)| id)
    }

    /// The expression with its depth. Recursion is bounded by that of the syntax.
    fn expression(&mut self, pool: &mut Pool, term: Term<'a>) -> Result<(WeightId, usize), ParseError> {
        let at = term.at;
        if let Kind::Reference(name) = term.kind {
            let undefined = || ParseError::new(at, format!("`${name}` is not defined before"));
            return self.defined.get(name).copied().ok_or_else(undefined);
        }
        let mut call = Call::new(term)?;
        let mut depth = 0;
        let mut operand = |reader: &mut Self, pool: &mut Pool, term| {
            let (id, below) = reader.expression(pool, term)?;
            depth = depth.max(below);
            Ok::<_, ParseError>(id)
        };
        let expr = match call.name {
            "literal" => {
                let [shape, values] = call.exactly()?;
                let bits = values.list()?.iter().map(Term::f32_bits).collect::<Result<Vec<u32>, _>>()?;
                Expr::Literal { shape: shape.usizes()?.into(), bits: bits.into() }
            }
            "splat" => {
                let [shape, value] = call.exactly()?;
                Expr::Splat { shape: shape.usizes()?.into(), bits: value.f32_bits()? }
            }
            "transpose" => {
                let [of] = call.exactly()?;
                let of = operand(self, pool, of)?;
                Expr::Transpose { of, perm: call.require("perm")?.usizes()?.into() }
            }
            "reshape" => {
                let [of] = call.exactly()?;
                let of = operand(self, pool, of)?;
                Expr::Reshape { of, shape: call.require("shape")?.usizes()?.into() }
            }
            "concat" => {
                let mut parts = Vec::new();
                for part in call.positional() {
                    let part = operand(self, pool, part)?;
                    // Parts of a part become parts.
                    self.unfold(at, pool.expr(part).operands().len().max(1))?;
                    parts.push(part);
                }
                Expr::Concat { of: parts.into(), axis: call.require("axis")?.usize()? }
            }
            "gather" => {
                let [of] = call.exactly()?;
                let of = operand(self, pool, of)?;
                let axis = call.require("axis")?.usize()?;
                let extent = pool.shape(of).get(axis).copied().unwrap_or(0);
                Expr::Gather {
                    of,
                    axis,
                    index: self.index(call.require("index")?, extent, reachable(pool, of))?.into(),
                }
            }
            "scale" => {
                let [of] = call.exactly()?;
                let of = operand(self, pool, of)?;
                let axis = call.require("axis")?.usize()?;
                Expr::Scale { of, axis, by: operand(self, pool, call.require("by")?)? }
            }
            "add" => {
                let [a, b] = call.exactly()?;
                Expr::Add { a: operand(self, pool, a)?, b: operand(self, pool, b)? }
            }
            "times" => {
                let [of, factor] = call.exactly()?;
                Expr::Times { of: operand(self, pool, of)?, bits: factor.f64()?.to_bits() }
            }
            "rsqrt" => {
                let [of] = call.exactly()?;
                let of = operand(self, pool, of)?;
                Expr::RsqrtEps { of, eps: call.require("eps")?.f64()?.to_bits() }
            }
            "contract" => {
                let [of] = call.exactly()?;
                let of = operand(self, pool, of)?;
                let by = operand(self, pool, call.require("by")?)?;
                Expr::Contract { of, by, groups: call.require("groups")?.usize()? }
            }
            name => {
                let Some(kind) = TensorKind::ALL.into_iter().find(|kind| kind.name() == name) else {
                    return Err(ParseError::new(at, format!("no expression is called `{name}`")));
                };
                let [name, shape] = call.exactly()?;
                Expr::Read { name: name.text()?.into(), kind, shape: shape.usizes()?.into() }
            }
        };
        call.finish()?;
        if depth >= DEPTH {
            return Err(ParseError::new(at, format!("a weight's expression is deeper than {DEPTH}")));
        }
        let shape = expr.shape(|of| pool.shape(of)).map_err(|message| ParseError::new(at, message))?;
        check_size(at, &shape)?;
        let id = pool.insert(expr).map_err(|message| ParseError::new(at, message))?;
        Ok((id, depth + 1))
    }

    /// The indices of a gather out of `extent` elements, which normalizing may copy to `copies` places.
    fn index(&mut self, term: Term<'a>, extent: usize, copies: usize) -> Result<Vec<u32>, ParseError> {
        let mut index = Vec::new();
        for item in term.list()? {
            let at = item.at;
            let number = |word| Term { at, kind: Kind::Word(word) }.usize();
            let (start, end) = match item.kind {
                Kind::Word("_") => {
                    self.unfold(at, copies)?;
                    index.push(HOLE);
                    continue;
                }
                Kind::Range(start, end) => (number(start)?, number(end)?),
                Kind::Word(_) | Kind::Text(_) | Kind::Reference(_) | Kind::List(_) | Kind::Call(..) => {
                    let one = item.usize()?;
                    (one, one.saturating_add(1))
                }
            };
            if start >= end || end > extent {
                return Err(ParseError::new(at, format!("not an index of {extent} elements")));
            }
            self.unfold(at, (end - start).saturating_mul(copies))?;
            index.extend(start as u32..end as u32);
        }
        Ok(index)
    }

    fn unfold(&mut self, at: Position, more: usize) -> Result<(), ParseError> {
        self.unfolded = self.unfolded.saturating_add(more);
        if self.unfolded > UNFOLDED {
            return Err(ParseError::new(at, format!("the weights unfold to more than {UNFOLDED} indices")));
        }
        Ok(())
    }
}

/// Number of expressions that one consists of.
fn reachable(pool: &Pool, root: WeightId) -> usize {
    let mut seen = BTreeSet::from([root]);
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        stack.extend(pool.expr(id).operands().into_iter().filter(|of| seen.insert(*of)));
    }
    seen.len()
}

/// As values of nodes, weights are not empty and within [`TensorType::LIMIT`].
fn check_size(at: Position, shape: &[usize]) -> Result<(), ParseError> {
    match shape.iter().try_fold(1usize, |size, &extent| size.checked_mul(extent)) {
        Some(1..=TensorType::LIMIT) => Ok(()),
        Some(0) => Err(ParseError::new(at, format!("a tensor of shape {shape:?} is empty"))),
        _ => Err(ParseError::new(at, format!("a tensor of shape {shape:?} has more than 2^31 elements"))),
    }
}
