//! Scope, forms of statements, and types of values, kernel by kernel.

use super::{Invariant, Report};
use crate::kernel::{
    Access, At, Axis, Binary, Bound, Elem, Index, Kernel, LANES, Local, ParamKind, Prefetch, Range, Stmt, Term, Tile,
    Update, Value, Var,
};

pub(super) fn check(kernel: &Kernel, report: &mut Report) {
    let mut vars = vec![Use::Unbound; kernel.vars.len()];
    vars.iter_mut().take(2).for_each(|var| *var = Use::Visible);
    let locals = vec![(Use::Unbound, Elem::F32); kernel.locals.len()];
    Checker { kernel, report, vars, locals, in_finish: false, acc: Elem::F32 }.body(&kernel.body);
}

#[derive(Clone, Copy, PartialEq)]
enum Use {
    Unbound,
    Visible,
    Past,
}

struct Checker<'a> {
    kernel: &'a Kernel,
    report: &'a mut Report,
    vars: Vec<Use>,
    locals: Vec<(Use, Elem)>,
    in_finish: bool,
    /// The type of the accumulators of the tile that is looked at.
    acc: Elem,
}

impl Checker<'_> {
    fn scope(&mut self, what: impl Into<String>) {
        self.report.add(Invariant::Scope, what);
    }

    fn within(&mut self, label: String, look: impl FnOnce(&mut Self)) {
        self.report.statement.push(label);
        look(self);
        self.report.statement.pop();
    }

    fn name(&self, var: Var) -> String {
        self.kernel.vars.get(var.index()).cloned().unwrap_or_else(|| format!("{var:?}"))
    }

    fn bind(&mut self, var: Var) {
        match self.vars.get_mut(var.index()) {
            None => self.scope(format!("there is no variable {var:?}")),
            Some(of) if *of != Use::Unbound => self.scope(format!("{} is bound twice", self.name(var))),
            Some(of) => *of = Use::Visible,
        }
    }

    fn unbind(&mut self, var: Var) {
        if let Some(of) = self.vars.get_mut(var.index()) {
            *of = Use::Past;
        }
    }

    fn body(&mut self, body: &[Stmt]) {
        let mut bound: Vec<Local> = Vec::new();
        for stmt in body {
            match stmt {
                Stmt::For { var, range, unroll, body } => self.within(format!("for {}", self.name(*var)), |this| {
                    this.range(range);
                    if *unroll && !constant(range) {
                        this.scope("an unrolled range that is not constant");
                    }
                    this.bind(*var);
                    this.body(body);
                    this.unbind(*var);
                }),
                Stmt::Let { local, value } => self.within(format!("let {local:?}"), |this| {
                    let ty = this.value(value).unwrap_or(Elem::F32);
                    match this.locals.get_mut(local.index()) {
                        None => this.scope(format!("there is no local {local:?}")),
                        Some((Use::Unbound, elem)) => {
                            *elem = ty;
                            this.locals[local.index()].0 = Use::Visible;
                            bound.push(*local);
                        }
                        Some((Use::Visible | Use::Past, _)) => this.scope("it is bound twice"),
                    }
                }),
                Stmt::Tile(tile) => self.within("tile".into(), |this| this.tile(tile)),
                Stmt::Store { at, value, lanes } => self.within(self.label("store", at), |this| {
                    this.lanes(*lanes);
                    let ty = this.value(value);
                    if let (Some(elem), Some(ty)) = (this.at(at, Some(Access::Write)), ty)
                        && elem != ty
                    {
                        this.report.add(Invariant::Types, format!("a value of {ty:?} in elements of {elem:?}"));
                    }
                }),
                Stmt::Zero { at, len } => self.within(self.label("zero", at), |this| {
                    this.at(at, Some(Access::Write));
                    if *len == 0 {
                        this.scope("nothing to zero");
                    }
                }),
                Stmt::Prefetch(prefetch) => self.prefetch(prefetch),
            }
        }
        for local in bound {
            self.locals[local.index()].0 = Use::Past;
        }
    }

    fn label(&self, word: &str, at: &At) -> String {
        let param = self.kernel.params.get(at.param.index());
        format!("{word} {}", param.map_or_else(|| format!("{:?}", at.param), |param| param.name.clone()))
    }

    fn prefetch(&mut self, Prefetch { at, level }: &Prefetch) {
        self.within(self.label("prefetch", at), |this| {
            this.at(at, None);
            if !matches!(level, 1 | 2) {
                this.scope(format!("there is no cache level {level}"));
            }
        });
    }

    fn tile(&mut self, tile: &Tile) {
        let Tile { pixel, pixels, block, blocks, init, reductions, finish } = tile;
        if self.in_finish {
            self.scope("a tile in a finish");
        }
        if *pixels == 0 || *blocks == 0 {
            self.scope(format!("an empty tile, {pixels}×{blocks}"));
        }
        self.bind(*pixel);
        self.bind(*block);
        self.within("init".into(), |this| this.acc = this.value(init).unwrap_or(Elem::F32));
        for reduction in reductions {
            self.within("reduce".into(), |this| {
                // Pixels and blocks are inside the axes.
                let tile_vars = [pixel, block];
                tile_vars.into_iter().for_each(|var| this.unbind(*var));
                let mut axes = Vec::new();
                let apart = reduction.axes.iter().take(reduction.apart);
                if reduction.apart > 0 && reduction.apart >= reduction.axes.len() {
                    this.scope(format!("{} of {} axes are summed apart", reduction.apart, reduction.axes.len()));
                }
                if apart.into_iter().any(|axis| matches!(axis, Axis::Taps { .. })) {
                    this.scope("taps that are summed apart");
                }
                if reduction.apart > 0 && matches!(reduction.update, Update::Max(_)) {
                    this.scope("a largest that is summed apart");
                }
                for (position, axis) in reduction.axes.iter().enumerate() {
                    match axis {
                        Axis::Loop { var, range } => {
                            this.range(range);
                            this.bind(*var);
                            axes.push(*var);
                        }
                        Axis::Taps { var, taps, together } => {
                            if *together && position + 1 < reduction.axes.len() {
                                this.scope("an axis inside of taps that are one point");
                            }
                            for tap in taps {
                                if tap.first > tap.end || tap.end > *pixels {
                                    let (first, end) = (tap.first, tap.end);
                                    this.scope(format!("a tap for pixels {first}..{end} of {pixels}"));
                                }
                            }
                            this.bind(*var);
                            axes.push(*var);
                        }
                    }
                }
                // What is asked for is asked for once a block.
                for (var, prefetch) in [(block, reduction.prefetch.as_ref()), (pixel, None)] {
                    if let Some(of) = this.vars.get_mut(var.index()) {
                        *of = Use::Visible;
                    }
                    prefetch.into_iter().for_each(|prefetch| this.prefetch(prefetch));
                }
                match &reduction.update {
                    Update::Fma(a, b) => {
                        this.typed(a, this.acc);
                        this.typed(b, this.acc);
                    }
                    Update::Add(value) | Update::Max(value) => this.typed(value, this.acc),
                }
                axes.into_iter().for_each(|var| this.unbind(var));
            });
        }
        let outside = std::mem::replace(&mut self.in_finish, true);
        self.within("finish".into(), |this| this.body(finish));
        self.in_finish = outside;
        self.unbind(*pixel);
        self.unbind(*block);
    }

    fn lanes(&mut self, lanes: usize) {
        if !(1..=LANES).contains(&lanes) {
            self.scope(format!("{lanes} lanes"));
        }
    }

    fn range(&mut self, range: &Range) {
        for bound in [&range.lo, &range.hi] {
            match bound {
                Bound::Index(index) => self.index(index),
                Bound::Min(a, b) | Bound::Max(a, b) => {
                    self.index(a);
                    self.index(b);
                }
            }
        }
    }

    fn index(&mut self, index: &Index) {
        let ordered = index.terms.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ordered || index.terms.iter().any(|(_, factor)| *factor == 0) {
            self.scope("an index that is not in normal form");
        }
        for (term, _) in &index.terms {
            match term {
                Term::Var(var) => match self.vars.get(var.index()) {
                    Some(Use::Visible) => {}
                    Some(Use::Unbound | Use::Past) => self.scope(format!("{} is not bound here", self.name(*var))),
                    None => self.scope(format!("there is no variable {var:?}")),
                },
                Term::Mod(of, modulus) => {
                    if *modulus < 1 {
                        self.scope(format!("modulo {modulus}"));
                    }
                    self.index(of);
                }
                Term::Table(param, of) => {
                    let kind = self.kernel.params.get(param.index()).map(|param| param.kind);
                    if !matches!(kind, Some(ParamKind::Table { .. })) {
                        self.scope(format!("{param:?} is not a table"));
                    }
                    self.index(of);
                }
            }
        }
    }

    /// Checks a place for an access, none for a prefetch, and gives its element type.
    fn at(&mut self, at: &At, wanted: Option<Access>) -> Option<Elem> {
        at.block.iter().for_each(|block| self.index(block));
        self.index(&at.offset);
        let (name, kind) = match self.kernel.params.get(at.param.index()) {
            Some(param) => (param.name.clone(), param.kind),
            None => {
                self.scope(format!("there is no parameter {:?}", at.param));
                return None;
            }
        };
        let (elem, access, in_blocks) = match kind {
            ParamKind::Flat { elem, access, .. } => (elem, access, false),
            ParamKind::Blocks { elem, access, .. } => (elem, access, true),
            ParamKind::Table { .. } => {
                self.scope(format!("{name} is a table"));
                return None;
            }
        };
        if at.block.is_some() != in_blocks {
            self.scope(format!("{name} is taken {}", if in_blocks { "block by block" } else { "without blocks" }));
        }
        match (wanted, access) {
            (Some(Access::Read), Access::Write) => self.report.add(Invariant::Access, format!("{name} is not read")),
            (Some(Access::Write), Access::Read) => self.report.add(Invariant::Access, format!("{name} is not written")),
            (None | Some(Access::Read | Access::Write | Access::Update), _) => {}
        }
        match elem {
            Elem::F32 => Some(Elem::F32),
            Elem::I32 | Elem::I8 | Elem::U8 => Some(Elem::I32),
            Elem::Bf16 => {
                self.report.add(Invariant::Types, format!("{name} has elements of {elem:?}, which have no arithmetic"));
                None
            }
        }
    }

    fn f32(&mut self, value: &Value) {
        self.typed(value, Elem::F32);
    }

    fn typed(&mut self, value: &Value, wanted: Elem) {
        if let Some(ty) = self.value(value)
            && ty != wanted
        {
            self.report.add(Invariant::Types, format!("a value of {ty:?} where {wanted:?} is wanted"));
        }
    }

    /// The type of a value; none where it has been reported.
    fn value(&mut self, value: &Value) -> Option<Elem> {
        match value {
            Value::Const(_) => Some(Elem::F32),
            Value::ConstI32(_) => Some(Elem::I32),
            Value::Local(local) => match self.locals.get(local.index()) {
                Some((Use::Visible, elem)) => Some(*elem),
                Some((Use::Unbound | Use::Past, _)) => {
                    self.scope(format!("{} is not bound here", self.kernel.locals[local.index()]));
                    None
                }
                None => {
                    self.scope(format!("there is no local {local:?}"));
                    None
                }
            },
            Value::Acc => {
                if !self.in_finish {
                    self.scope("acc outside of a finish");
                }
                Some(self.acc)
            }
            Value::Load { at, lanes } => {
                self.lanes(*lanes);
                self.at(at, Some(Access::Read))
            }
            Value::Splat(at) => self.at(at, Some(Access::Read)),
            Value::SplatGroup { at, lane, width } => {
                if !matches!(width, 2 | 4 | 8) || lane >= width {
                    self.scope(format!("lane {lane} of groups of {width}"));
                }
                let elem = self.at(at, Some(Access::Read));
                if elem == Some(Elem::I32) {
                    self.report.add(Invariant::Types, "groups of lanes of I32");
                }
                elem
            }
            Value::Unary(function, of) => {
                let (from, to) = function.signature();
                self.typed(of, from);
                Some(to)
            }
            Value::Binary(function @ (Binary::Add | Binary::Sub | Binary::Mul | Binary::Min | Binary::Max), a, b) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                if a != b {
                    self.report.add(Invariant::Types, format!("{function:?} of {a:?} and {b:?}"));
                }
                Some(a)
            }
            Value::Binary(Binary::Div | Binary::MinNan | Binary::MaxNan, a, b) => {
                self.f32(a);
                self.f32(b);
                Some(Elem::F32)
            }
            Value::Fma(a, b, c) => {
                [a, b, c].into_iter().for_each(|value| self.f32(value));
                Some(Elem::F32)
            }
            Value::SelectLt { a, b, then, otherwise } => {
                [a, b, then, otherwise].into_iter().for_each(|value| self.f32(value));
                Some(Elem::F32)
            }
        }
    }
}

fn constant(range: &Range) -> bool {
    [&range.lo, &range.hi].into_iter().all(|bound| match bound {
        Bound::Index(index) => index.as_constant().is_some(),
        Bound::Min(..) | Bound::Max(..) => false,
    })
}
