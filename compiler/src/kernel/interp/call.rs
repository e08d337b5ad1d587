//! One call of a kernel: its statements, read one by one.

use super::lanes::{Lanes, Updated, binary, fma, unary, updated};
use super::{Error, Memory};
use crate::kernel::{
    Access, At, Axis, Bound, Elem, Index, Kernel, LANES, ParamKind, Range, Reduction, Stmt, Target, Term, Tile, Update,
    Value, Var,
};

/// Where an argument lies.
pub(super) enum Argument<'a> {
    /// The space and the first element of each block; one for a flat parameter.
    Memory(Vec<(usize, usize)>),
    /// The entries.
    Table(&'a [u32]),
}

pub(super) struct Call<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) arguments: &'a [Argument<'a>],
    pub(super) memory: &'a mut Memory,
    pub(super) fused: bool,
    vars: Vec<i64>,
    locals: Vec<Lanes>,
    acc: Lanes,
}

type Done<T> = Result<T, Box<Error>>;

impl<'a> Call<'a> {
    pub(super) fn new(
        kernel: &'a Kernel,
        arguments: &'a [Argument<'a>],
        memory: &'a mut Memory,
        target: Target,
    ) -> Self {
        let zero = Lanes::F32([0.0; LANES]);
        Call {
            kernel,
            arguments,
            memory,
            fused: target.has_fma(),
            vars: vec![0; kernel.vars.len()],
            locals: vec![zero; kernel.locals.len()],
            acc: zero,
        }
    }

    /// Computes these units.
    pub(super) fn run(mut self, units: &std::ops::Range<usize>) -> Done<()> {
        self.bind(Var::LO, units.start as i64)?;
        self.bind(Var::HI, units.end as i64)?;
        self.body(&self.kernel.body)
    }

    fn bind(&mut self, var: Var, value: i64) -> Done<()> {
        let slot = self.vars.get_mut(var.index()).ok_or_else(|| Error::new(format!("there is no variable {var:?}")))?;
        *slot = value;
        Ok(())
    }

    fn at(&self, word: &str, var: Var, value: i64) -> String {
        format!("{word} {} = {value}", self.kernel.vars[var.index()])
    }

    fn body(&mut self, body: &[Stmt]) -> Done<()> {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Done<()> {
        match stmt {
            Stmt::For { var, range, unroll: _, body } => {
                for value in self.range(range)? {
                    self.bind(*var, value)?;
                    self.body(body).map_err(|error| error.within(self.at("for", *var, value)))?;
                }
                Ok(())
            }
            Stmt::Let { local, value } => {
                let lanes = self.value(value)?;
                let slot = self.locals.get_mut(local.index());
                *slot.ok_or_else(|| Error::new(format!("there is no local {local:?}")))? = lanes;
                Ok(())
            }
            Stmt::Tile(tile) => self.tile(tile),
            Stmt::Store { at, value, lanes } => {
                if !(1..=LANES).contains(lanes) {
                    return Err(Error::new(format!("a store of {lanes} lanes")));
                }
                let value = self.value(value)?;
                let elem = self.elem(at)?;
                let place = self.write(at, *lanes)?;
                let low_bits: fn(i32) -> i32 = match elem {
                    Elem::F32 | Elem::Bf16 | Elem::I32 => |v| v,
                    Elem::I8 => |v| (v as i8).into(),
                    Elem::U8 => |v| (v as u8).into(),
                };
                match (elem, value) {
                    (Elem::F32, Lanes::F32(value)) => place.copy_from_slice(&value[..*lanes]),
                    (Elem::I32 | Elem::I8 | Elem::U8, Lanes::I32(value)) => {
                        place.iter_mut().zip(value).for_each(|(to, v)| *to = f32::from_bits(low_bits(v) as u32));
                    }
                    (Elem::F32 | Elem::I32 | Elem::Bf16 | Elem::I8 | Elem::U8, _) => {
                        return Err(Error::new(format!("a store to {elem:?} of a value of another type")));
                    }
                }
                Ok(())
            }
            Stmt::Zero { at, len } => {
                self.write(at, *len)?.fill(0.0);
                Ok(())
            }
            Stmt::Prefetch { .. } => Ok(()),
        }
    }

    fn tile(&mut self, tile: &Tile) -> Done<()> {
        let mut acc = Vec::with_capacity(tile.pixels * tile.blocks);
        for p in 0..tile.pixels {
            for b in 0..tile.blocks {
                let init = self.bind_tile(tile, p, b).and_then(|()| self.value(&tile.init));
                acc.push(init.map_err(|error| error.within(format!("tile init {p}, {b}")))?);
            }
        }
        for reduction in &tile.reductions {
            self.reduce(tile, reduction, &reduction.axes, (0, tile.pixels), &mut acc)?;
        }
        for p in 0..tile.pixels {
            for b in 0..tile.blocks {
                self.bind_tile(tile, p, b)?;
                self.acc = acc[p * tile.blocks + b];
                self.body(&tile.finish).map_err(|error| error.within(format!("tile finish {p}, {b}")))?;
            }
        }
        Ok(())
    }

    pub(super) fn bind_tile(&mut self, tile: &Tile, p: usize, b: usize) -> Done<()> {
        self.bind(tile.pixel, p as i64)?;
        self.bind(tile.block, b as i64)
    }

    /// Updates the pixels `first..end` of the accumulators for all points of the axes.
    fn reduce(
        &mut self,
        tile: &Tile,
        reduction: &Reduction,
        axes: &[Axis],
        (first, end): (usize, usize),
        acc: &mut [Lanes],
    ) -> Done<()> {
        match axes.split_first() {
            None => {
                if self.stream(tile, &reduction.update, (first, end), acc).is_some() {
                    return Ok(());
                }
                for p in first..end {
                    for b in 0..tile.blocks {
                        self.bind_tile(tile, p, b)?;
                        let acc = &mut acc[p * tile.blocks + b];
                        self.update(&reduction.update, acc).map_err(|error| error.within(format!("tile {p}, {b}")))?;
                    }
                }
            }
            Some((Axis::Loop { var, range }, inner)) => {
                let apart = reduction.axes.len() - axes.len() < reduction.apart;
                for value in self.range(range)? {
                    self.bind(*var, value)?;
                    let done = match apart {
                        true => self.reduce_apart(tile, reduction, inner, (first, end), acc),
                        false => self.reduce(tile, reduction, inner, (first, end), acc),
                    };
                    done.map_err(|error| error.within(self.at("reduce", *var, value)))?;
                }
            }
            Some((Axis::Taps { var, taps, .. }, inner)) => {
                for tap in taps {
                    self.bind(*var, tap.value)?;
                    let pixels = (first.max(tap.first), end.min(tap.end));
                    self.reduce(tile, reduction, inner, pixels, acc)
                        .map_err(|error| error.within(self.at("tap", *var, tap.value)))?;
                }
            }
        }
        Ok(())
    }

    /// Updates accumulators that start at zero, and adds them to those of the pixels `first..end`.
    fn reduce_apart(
        &mut self,
        tile: &Tile,
        reduction: &Reduction,
        axes: &[Axis],
        (first, end): (usize, usize),
        acc: &mut [Lanes],
    ) -> Done<()> {
        let zero = |lanes: &Lanes| match lanes {
            Lanes::F32(_) => Lanes::F32([0.0; LANES]),
            Lanes::I32(_) => Lanes::I32([0; LANES]),
        };
        let mut apart: Vec<Lanes> = acc.iter().map(zero).collect();
        self.reduce(tile, reduction, axes, (first, end), &mut apart)?;
        let pixels = first * tile.blocks..end * tile.blocks;
        for (acc, apart) in acc[pixels.clone()].iter_mut().zip(&apart[pixels]) {
            let sum = updated(self.fused, Updated::Add(*apart), *acc);
            *acc = sum.ok_or_else(|| Error::new("an update of the wrong type"))?;
        }
        Ok(())
    }

    fn update(&mut self, update: &Update, acc: &mut Lanes) -> Done<()> {
        let update = match update {
            Update::Fma(a, b) => Updated::Fma(self.value(a)?, self.value(b)?),
            Update::Add(value) => Updated::Add(self.value(value)?),
            Update::Max(value) => Updated::Max(self.value(value)?),
        };
        *acc = updated(self.fused, update, *acc).ok_or_else(|| Error::new("an update of the wrong type"))?;
        Ok(())
    }

    fn f32(&self, value: &Value) -> Done<[f32; LANES]> {
        match self.value(value)? {
            Lanes::F32(lanes) => Ok(lanes),
            Lanes::I32(_) => Err(Error::new("an i32 where an f32 is needed")),
        }
    }

    fn value(&self, value: &Value) -> Done<Lanes> {
        let untyped = || Error::new("operands of the wrong type");
        Ok(match value {
            Value::Const(x) => Lanes::F32([x.get(); LANES]),
            Value::ConstI32(x) => Lanes::I32([*x; LANES]),
            Value::Local(local) => {
                let lanes = self.locals.get(local.index());
                *lanes.ok_or_else(|| Error::new(format!("there is no local {local:?}")))?
            }
            Value::Acc => self.acc,
            Value::Load { at, lanes } => {
                let from = self.read(at, *lanes)?;
                let mut all = [0.0; LANES];
                all[..*lanes].copy_from_slice(from);
                self.typed(at, all)?
            }
            Value::Splat(at) => self.typed(at, [self.read(at, 1)?[0]; LANES])?,
            Value::SplatGroup { at, lane, width } => {
                let from = self.read(at, LANES)?;
                if !matches!(width, 2 | 4 | 8) || lane >= width {
                    return Err(Error::new(format!("lane {lane} of groups of {width}")));
                }
                self.typed(at, std::array::from_fn(|i| from[i / width * width + lane]))?
            }
            Value::Unary(function, of) => unary(self.fused, *function, self.value(of)?).ok_or_else(untyped)?,
            Value::Binary(function, a, b) => binary(*function, self.value(a)?, self.value(b)?).ok_or_else(untyped)?,
            Value::Fma(a, b, c) => Lanes::F32(fma(self.fused, &self.f32(a)?, &self.f32(b)?, &self.f32(c)?)),
            Value::SelectLt { a, b, then, otherwise } => {
                let (a, b, then, otherwise) = (self.f32(a)?, self.f32(b)?, self.f32(then)?, self.f32(otherwise)?);
                Lanes::F32(std::array::from_fn(|i| if a[i] < b[i] { then[i] } else { otherwise[i] }))
            }
        })
    }

    fn typed(&self, at: &At, lanes: [f32; LANES]) -> Done<Lanes> {
        match self.elem(at)? {
            Elem::F32 => Ok(Lanes::F32(lanes)),
            Elem::I32 | Elem::I8 | Elem::U8 => Ok(Lanes::I32(lanes.map(|v| v.to_bits() as i32))),
            elem @ Elem::Bf16 => Err(Error::new(format!("{elem:?} is not computed with"))),
        }
    }

    fn range(&self, range: &Range) -> Done<std::ops::Range<i64>> {
        Ok(self.bound(&range.lo)?..self.bound(&range.hi)?)
    }

    fn bound(&self, bound: &Bound) -> Done<i64> {
        Ok(match bound {
            Bound::Index(index) => self.index(index)?,
            Bound::Min(a, b) => self.index(a)?.min(self.index(b)?),
            Bound::Max(a, b) => self.index(a)?.max(self.index(b)?),
        })
    }

    pub(super) fn index(&self, index: &Index) -> Done<i64> {
        let mut sum = index.constant;
        for (term, factor) in &index.terms {
            let value = match term {
                Term::Var(var) => {
                    let value = self.vars.get(var.index());
                    *value.ok_or_else(|| Error::new(format!("there is no variable {var:?}")))?
                }
                Term::Mod(of, modulus) => {
                    let value = self.index(of)?;
                    if value < 0 || *modulus <= 0 {
                        return Err(Error::new(format!("{value} mod {modulus}")));
                    }
                    value % modulus
                }
                Term::Table(param, of) => {
                    let at = self.index(of)?;
                    let Some(Argument::Table(entries)) = self.arguments.get(param.index()) else {
                        return Err(Error::new(format!("parameter {param:?} is not a table")));
                    };
                    let entry = usize::try_from(at).ok().and_then(|at| entries.get(at));
                    let len = entries.len();
                    i64::from(*entry.ok_or_else(|| Error::new(format!("entry {at} of a table with {len}")))?)
                }
            };
            // An index that overflows is outside of everything.
            sum = sum.wrapping_add(value.wrapping_mul(*factor));
        }
        Ok(sum)
    }

    fn elem(&self, at: &At) -> Done<Elem> {
        match self.kernel.params.get(at.param.index()).map(|param| param.kind) {
            Some(ParamKind::Flat { elem, .. } | ParamKind::Blocks { elem, .. }) => Ok(elem),
            Some(ParamKind::Table { .. }) | None => Err(Error::new(format!("parameter {:?} is no memory", at.param))),
        }
    }

    /// The space and the first element of a place, after all checks.
    fn place(&self, at: &At, count: usize, write: bool) -> Done<(usize, usize)> {
        let param = self.kernel.params.get(at.param.index());
        let (Some(param), Some(Argument::Memory(blocks))) = (param, self.arguments.get(at.param.index())) else {
            return Err(Error::new(format!("parameter {:?} is no memory", at.param)));
        };
        let (len, access) = match param.kind {
            ParamKind::Flat { len, access, .. } | ParamKind::Blocks { len, access, .. } => (len, access),
            ParamKind::Table { .. } => (0, Access::Read),
        };
        let block = at.block.as_ref().map(|block| self.index(block)).transpose()?;
        let offset = self.index(&at.offset)?;
        let fault = |what: String| {
            let block = block.map_or(String::new(), |block| format!("[{block}]"));
            Error::new(what).within(format!("{}{block}[{offset}], {count} elements", param.name))
        };
        match access {
            Access::Read if write => return Err(fault("a write to what is read only".into())),
            Access::Write if !write => return Err(fault("a read of what is written only".into())),
            Access::Read | Access::Write | Access::Update => {}
        }
        let in_blocks = matches!(param.kind, ParamKind::Blocks { .. });
        if block.is_some() != in_blocks {
            return Err(fault("a block is given exactly for parameters in blocks".into()));
        }
        let start = usize::try_from(block.unwrap_or(0)).ok().and_then(|block| blocks.get(block));
        let (space, start) = *start.ok_or_else(|| fault(format!("there are {} blocks", blocks.len())))?;
        match usize::try_from(offset) {
            Ok(offset) if offset + count <= len => Ok((space, start + offset)),
            _ => Err(fault(format!("there are {len} elements"))),
        }
    }

    fn read(&self, at: &At, count: usize) -> Done<&[f32]> {
        if !(1..=LANES).contains(&count) {
            return Err(Error::new(format!("a load of {count} lanes")));
        }
        let (space, start) = self.place(at, count, false)?;
        Ok(&self.memory.spaces[space][start..start + count])
    }

    fn write(&mut self, at: &At, count: usize) -> Done<&mut [f32]> {
        let (space, start) = self.place(at, count, true)?;
        Ok(&mut self.memory.spaces[space][start..start + count])
    }
}
