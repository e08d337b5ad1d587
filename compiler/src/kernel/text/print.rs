//! Program to text.

use std::fmt::Write;

use super::super::{
    Access, Arg, At, Axis, Bound, Elem, Index, Kernel, Param, ParamKind, Place, Prefetch, Program, Range, Reduction,
    Region, Stmt, Table, Term, Tile, Update, Value, Var, Waits,
};
use crate::graph::F32;

/// A program as text.
pub fn print(program: &Program) -> String {
    let mut out = String::new();
    let Program { name: n, target, arena, scratch, arena_lower_bound, logical_lower_bound, .. } = program;
    line(&mut out, 0, format_args!("program {} target {}", name(n), target.name()));
    let sizes = format!("arena {arena} at_least {arena_lower_bound} logical {logical_lower_bound} scratch {scratch}");
    line(&mut out, 0, format_args!("{sizes}"));
    for (i, expr) in program.weights.iter().enumerate() {
        line(&mut out, 0, format_args!("{}w{i} = {}", if i == 0 { "\n" } else { "" }, super::weights::print(expr)));
    }
    for (i, buffer) in program.buffers.iter().enumerate() {
        let place = match &buffer.place {
            Place::Input(i) => format!("input {i}"),
            Place::Output(i) => format!("output {i}"),
            Place::Arena(at) => format!("arena {at}"),
            Place::Scratch(at) => format!("scratch {at}"),
            Place::Packed { weight, form } => format!("packed {weight} {}", form.name()),
        };
        let (start, n, elem) = (if i == 0 { "\n" } else { "" }, name(&buffer.name), elem(buffer.elem));
        line(&mut out, 0, format_args!("{start}buffer {n}: {elem} {} {place}", buffer.len));
    }
    for (i, Table { name: n, values }) in program.tables.iter().enumerate() {
        let (start, n) = (if i == 0 { "\n" } else { "" }, name(n));
        line(&mut out, 0, format_args!("{start}table {n} {values:?}"));
    }
    for k in &program.kernels {
        out.push('\n');
        out.push_str(&kernel(k));
    }
    for step in &program.steps {
        let kernel = program.kernels.get(step.kernel.index());
        let waits = match step.waits {
            Waits::Barrier => "",
            Waits::OwnUnits => " own_units",
        };
        let layers: Vec<String> = step.layers.iter().map(|layer| name(layer)).collect();
        let layers = if layers.is_empty() { String::new() } else { format!(" for {}", layers.join(", ")) };
        let kernel_name = kernel.map_or_else(|| format!("{:?}", step.kernel), |kernel| name(&kernel.name));
        line(&mut out, 0, format_args!("\nstep {kernel_name}{waits}{layers} {{"));
        for (i, arg) in step.args.iter().enumerate() {
            let param = kernel.and_then(|kernel| kernel.params.get(i)).map_or("?", |param| &param.name);
            line(&mut out, 1, format_args!("{param}: {}", argument(program, arg)));
        }
        out.push_str("}\n");
    }
    out
}

/// A kernel as text.
pub fn kernel(kernel: &Kernel) -> String {
    let mut out = String::new();
    let Kernel { name: n, params, units, in_place, vars, locals, body, flops, tile } = kernel;
    line(&mut out, 0, format_args!("kernel {} units {units} flops {flops} tile {}", name(n), quote(tile)));
    if !in_place.is_empty() {
        let param = |i: usize| params.get(i).map_or("?", |param| &param.name);
        let pairs: Vec<String> =
            in_place.iter().map(|(w, r)| format!("{} over {}", param(w.index()), param(r.index()))).collect();
        line(&mut out, 1, format_args!("in_place {}", pairs.join(", ")));
    }
    // Names are listed where the order of binding does not give them: some are never bound.
    let (bound_vars, bound_locals) = bound(body);
    if bound_vars.iter().map(|var| var.index()).ne(2..vars.len()) {
        line(&mut out, 1, format_args!("vars {}", vars[2.min(vars.len())..].join(", ")));
    }
    if bound_locals.iter().copied().ne(0..locals.len()) {
        line(&mut out, 1, format_args!("locals {}", locals.join(", ")));
    }
    for Param { name, kind } in params {
        let kind = match *kind {
            ParamKind::Flat { elem: e, len, access: a } => format!("{} {} flat {len}", access(a), elem(e)),
            ParamKind::Blocks { elem: e, count, len, access: a } => {
                format!("{} {} blocks {count} of {len}", access(a), elem(e))
            }
            ParamKind::Table { len, below } => format!("table {len} below {below}"),
        };
        line(&mut out, 1, format_args!("{name}: {kind}"));
    }
    out.push_str("{\n");
    let mut printer = Printer { kernel, out };
    printer.body(body, 1);
    printer.out.push_str("}\n");
    printer.out
}

/// An index in the names of a kernel.
pub fn index(kernel: &Kernel, index: &Index) -> String {
    Printer { kernel, out: String::new() }.index(index)
}

/// The variables and the locals of a body, in the order in which they are bound.
pub(super) fn bound(body: &[Stmt]) -> (Vec<Var>, Vec<usize>) {
    fn visit(body: &[Stmt], vars: &mut Vec<Var>, locals: &mut Vec<usize>) {
        for stmt in body {
            match stmt {
                Stmt::For { var, body, .. } => {
                    vars.push(*var);
                    visit(body, vars, locals);
                }
                Stmt::Let { local, .. } => locals.push(local.index()),
                Stmt::Tile(tile) => {
                    vars.extend([tile.pixel, tile.block]);
                    for axis in tile.reductions.iter().flat_map(|reduction| &reduction.axes) {
                        match axis {
                            Axis::Loop { var, .. } | Axis::Taps { var, .. } => vars.push(*var),
                        }
                    }
                    visit(&tile.finish, vars, locals);
                }
                Stmt::Store { .. } | Stmt::Zero { .. } | Stmt::Prefetch { .. } => {}
            }
        }
    }
    let (mut vars, mut locals) = (Vec::new(), Vec::new());
    visit(body, &mut vars, &mut locals);
    (vars, locals)
}

struct Printer<'a> {
    kernel: &'a Kernel,
    out: String,
}

impl Printer<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        line(&mut self.out, depth, format_args!("{text}"));
    }

    fn var(&self, var: Var) -> &str {
        self.kernel.vars.get(var.index()).map_or("?", |name| name)
    }

    fn body(&mut self, body: &[Stmt], depth: usize) {
        for stmt in body {
            match stmt {
                Stmt::For { var, range, unroll, body } => {
                    let unroll = if *unroll { " unroll" } else { "" };
                    let text = format!("for {} in {}{unroll} {{", self.var(*var), self.range(range));
                    self.line(depth, &text);
                    self.body(body, depth + 1);
                    self.line(depth, "}");
                }
                Stmt::Let { local, value } => {
                    let text = format!("let {} = {}", self.local(local.index()), self.value(value));
                    self.line(depth, &text);
                }
                Stmt::Tile(tile) => self.tile(tile, depth),
                Stmt::Store { at, value, lanes } => {
                    let text = format!("store {}{}, {}", self.at(at), lane_count(*lanes), self.value(value));
                    self.line(depth, &text);
                }
                Stmt::Zero { at, len } => self.line(depth, &format!("zero {}, {len}", self.at(at))),
                Stmt::Prefetch(prefetch) => self.prefetch(prefetch, depth),
            }
        }
    }

    fn prefetch(&mut self, Prefetch { at, level }: &Prefetch, depth: usize) {
        let text = format!("prefetch {level}, {}", self.at(at));
        self.line(depth, &text);
    }

    fn tile(&mut self, tile: &Tile, depth: usize) {
        let (pixel, block) = (self.var(tile.pixel), self.var(tile.block));
        let text = format!("tile {pixel}: {}, {block}: {} {{", tile.pixels, tile.blocks);
        self.line(depth, &text);
        self.line(depth + 1, &format!("init {}", self.value(&tile.init)));
        for Reduction { axes, apart, prefetch, update } in &tile.reductions {
            let word = |i: usize| if i < *apart { " apart" } else { "" };
            let axes: Vec<String> =
                axes.iter().enumerate().map(|(i, axis)| format!("{}{}", self.axis(axis), word(i))).collect();
            let space = if axes.is_empty() { "" } else { " " };
            self.line(depth + 1, &format!("reduce{space}{} {{", axes.join(", ")));
            if let Some(prefetch) = prefetch {
                self.prefetch(prefetch, depth + 2);
            }
            let update = match update {
                Update::Fma(a, b) => format!("fma({}, {})", self.value(a), self.value(b)),
                Update::Add(value) => format!("add({})", self.value(value)),
                Update::Max(value) => format!("max({})", self.value(value)),
            };
            self.line(depth + 2, &update);
            self.line(depth + 1, "}");
        }
        self.line(depth + 1, "finish {");
        self.body(&tile.finish, depth + 2);
        self.line(depth + 1, "}");
        self.line(depth, "}");
    }

    fn axis(&self, axis: &Axis) -> String {
        match axis {
            Axis::Loop { var, range } => format!("{} in {}", self.var(*var), self.range(range)),
            Axis::Taps { var, taps, together } => {
                let taps: Vec<String> =
                    taps.iter().map(|tap| format!("{}: {}..{}", tap.value, tap.first, tap.end)).collect();
                let together = if *together { " together" } else { "" };
                format!("{} in {{{}}}{together}", self.var(*var), taps.join(", "))
            }
        }
    }

    fn range(&self, range: &Range) -> String {
        format!("{}..{}", self.bound(&range.lo), self.bound(&range.hi))
    }

    fn bound(&self, bound: &Bound) -> String {
        match bound {
            Bound::Index(index) => self.index(index),
            Bound::Min(a, b) => format!("min({}, {})", self.index(a), self.index(b)),
            Bound::Max(a, b) => format!("max({}, {})", self.index(a), self.index(b)),
        }
    }

    fn index(&self, index: &Index) -> String {
        let mut parts: Vec<(bool, String)> = Vec::new();
        for (term, factor) in &index.terms {
            let atom = self.term(term);
            let atom = match factor.unsigned_abs() {
                1 => atom,
                by if matches!(term, Term::Mod(..)) => format!("{by}*({atom})"),
                by => format!("{by}*{atom}"),
            };
            parts.push((*factor < 0, atom));
        }
        if index.constant != 0 || parts.is_empty() {
            let constant = (index.constant < 0, index.constant.unsigned_abs().to_string());
            // `57 - oh` reads better than `-oh + 57`.
            let first = if parts.first().is_some_and(|(negative, _)| *negative) { 0 } else { parts.len() };
            parts.insert(first, constant);
        }
        let mut text = String::new();
        for (i, (negative, part)) in parts.iter().enumerate() {
            text.push_str(match (i, negative) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            });
            text.push_str(part);
        }
        text
    }

    fn term(&self, term: &Term) -> String {
        match term {
            Term::Var(var) => self.var(*var).to_owned(),
            Term::Mod(of, modulus) => match of.terms.as_slice() {
                [(Term::Var(var), 1)] if of.constant == 0 => format!("{} mod {modulus}", self.var(*var)),
                _ => format!("({}) mod {modulus}", self.index(of)),
            },
            Term::Table(param, of) => format!("{}[{}]", self.param(param.index()), self.index(of)),
        }
    }

    fn param(&self, param: usize) -> &str {
        self.kernel.params.get(param).map_or("?", |param| &param.name)
    }

    fn local(&self, local: usize) -> &str {
        self.kernel.locals.get(local).map_or("?", |name| name)
    }

    fn at(&self, at: &At) -> String {
        let block = at.block.as_ref().map_or(String::new(), |block| format!("[{}]", self.index(block)));
        format!("{}{block}[{}]", self.param(at.param.index()), self.index(&at.offset))
    }

    fn value(&self, value: &Value) -> String {
        match value {
            Value::Const(x) => number(*x),
            Value::ConstI32(x) => format!("i32({x})"),
            Value::Local(local) => self.local(local.index()).to_owned(),
            Value::Acc => "acc".to_owned(),
            Value::Load { at, lanes } => format!("load {}{}", self.at(at), lane_count(*lanes)),
            Value::Splat(at) => format!("splat {}", self.at(at)),
            Value::SplatGroup { at, lane, width } => format!("splat {} lane {lane} of {width}", self.at(at)),
            Value::Unary(function, of) => format!("{}({})", function.name(), self.value(of)),
            Value::Binary(function, a, b) => format!("{}({}, {})", function.name(), self.value(a), self.value(b)),
            Value::Fma(a, b, c) => format!("fma({}, {}, {})", self.value(a), self.value(b), self.value(c)),
            Value::SelectLt { a, b, then, otherwise } => {
                let [a, b, then, otherwise] = [a, b, then, otherwise].map(|value| self.value(value));
                format!("select_lt({a}, {b}, {then}, {otherwise})")
            }
        }
    }
}

fn argument(program: &Program, arg: &Arg) -> String {
    match arg {
        Arg::Flat(at) => region(program, at),
        Arg::Blocks(regions) => {
            let regions: Vec<String> = regions.iter().map(|at| region(program, at)).collect();
            format!("[{}]", regions.join(", "))
        }
        Arg::Table(id) => {
            let table = program.tables.get(id.index());
            format!("table({})", table.map_or_else(|| format!("{id:?}"), |table| name(&table.name)))
        }
    }
}

fn region(program: &Program, region: &Region) -> String {
    let buffer = program.buffers.get(region.buffer.index());
    let buffer = buffer.map_or_else(|| format!("{:?}", region.buffer), |buffer| name(&buffer.name));
    if region.offset == 0 { buffer } else { format!("{buffer} + {}", region.offset) }
}

fn lane_count(lanes: usize) -> String {
    if lanes == super::super::LANES { String::new() } else { format!(" lanes {lanes}") }
}

/// An f32 that reads back as the same bits.
pub(super) fn number(x: F32) -> String {
    if x.get().is_nan() { format!("f32({:#x})", x.bits()) } else { format!("{x}") }
}

/// The word for an element type.
pub(super) fn elem(elem: Elem) -> &'static str {
    match elem {
        Elem::F32 => "f32",
        Elem::Bf16 => "bf16",
        Elem::I32 => "i32",
        Elem::I8 => "i8",
        Elem::U8 => "u8",
    }
}

/// The word for an access.
pub(super) fn access(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::Update => "update",
    }
}

/// A name: bare where it is an identifier, otherwise in quotes.
pub(super) fn name(name: &str) -> String {
    if super::is_identifier(name) { name.to_owned() } else { quote(name) }
}

/// A string in quotes; control characters are escaped as `\u{…}`.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(c.escape_unicode()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn line(out: &mut String, depth: usize, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:1$}{text}", "", 2 * depth);
}
