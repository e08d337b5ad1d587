//! Runs a [`Program`] in plain Rust: the oracle that emitted code must match bit for bit.
//!
//! It needs no verified program, because tests run broken ones: every access is checked against its parameter and its
//! buffer, and what does not fit is an [`Error`] that says where. Options show that nothing hangs on what a program
//! leaves open: [`Split`] cuts steps into calls in other ways and orders, `poison` fills what nobody wrote with NaN.

mod call;
mod lanes;
mod stream;

use std::fmt;

use kiln_rt::weights::{self, Evaluator, Source};

use super::{Arg, Buffer, Elem, Kernel, ParamKind, Place, Program, Region, Waits};
use crate::graph::Elements;
use call::{Argument, Call};

/// What a run leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether the arena, and scratch before each call, start as NaN in place of zero.
    pub poison: bool,
    /// The calls that each step is cut into.
    pub split: Split,
}

/// How steps are cut into calls. Steps that wait for [`Waits::OwnUnits`] are cut as the step that they follow, and each
/// piece runs through all of them before the next piece starts: what a worker without barriers may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// One call a step.
    #[default]
    Whole,
    /// Worker w of n runs units `U*w/n..U*(w+1)/n`, one worker after the other.
    Workers(usize),
    /// Pieces of random length in random order, from this seed.
    Shuffled(u64),
}

impl Split {
    fn calls(self, units: usize) -> Vec<std::ops::Range<usize>> {
        match self {
            Split::Whole => std::iter::once(0..units).collect(),
            Split::Workers(n) => (0..n).map(|w| units * w / n..units * (w + 1) / n).filter(|r| !r.is_empty()).collect(),
            Split::Shuffled(seed) => {
                let mut state = seed;
                let mut random = move |below: usize| {
                    // Knuth's MMIX generator; its high bits are the good ones.
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as usize % below
                };
                let mut calls = Vec::new();
                let mut lo = 0;
                while lo < units {
                    let hi = (lo + 1 + random(units.div_ceil(4))).min(units);
                    calls.push(lo..hi);
                    lo = hi;
                }
                for i in (1..calls.len()).rev() {
                    calls.swap(i, random(i + 1));
                }
                calls
            }
        }
    }
}

/// What a program did that it may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The step, by position, with the name of its kernel; none for what concerns the whole program.
    pub step: Option<(usize, String)>,
    /// The statements around, outermost first, with the values of their variables.
    pub place: Vec<String>,
    /// What is wrong.
    pub what: String,
}

impl Error {
    fn new(what: impl Into<String>) -> Box<Error> {
        Box::new(Error { step: None, place: Vec::new(), what: what.into() })
    }

    fn within(mut self: Box<Error>, place: String) -> Box<Error> {
        self.place.insert(0, place);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((step, kernel)) = &self.step {
            write!(f, "step {step}, kernel {kernel}: ")?;
        }
        for place in &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

/// Runs a program once. `packed` gives the elements of each buffer at [`Place::Packed`]; inputs and outputs are
/// row-major, in the order of their positions.
///
/// # Errors
/// If an input or a packed weight has another length than its buffer, if an argument does not fit its parameter, and
/// at the first access outside of one.
pub fn run(
    program: &Program,
    packed: impl FnMut(&Buffer) -> Vec<f32>,
    inputs: &[Vec<f32>],
    options: Options,
) -> Result<Vec<Vec<f32>>, Box<Error>> {
    let mut memory = Memory::new(program, packed, inputs, options.poison)?;
    let mut first = 0;
    while first < program.steps.len() {
        let own_units = |i: &usize| program.steps[*i].waits == Waits::OwnUnits;
        let end = (first + 1..program.steps.len()).find(|i| !own_units(i)).unwrap_or(program.steps.len());
        for units in options.split.calls(program.kernel(&program.steps[first]).units) {
            for step in first..end {
                let kernel = program.kernel(&program.steps[step]);
                let all = program.kernel(&program.steps[first]).units;
                let at_step = |mut error: Box<Error>| {
                    error.step = Some((step, kernel.name.clone()));
                    error
                };
                if kernel.units != all {
                    let what = format!("it waits for its own units, has {} and the step before {all}", kernel.units);
                    return Err(at_step(Error::new(what)));
                }
                if options.poison {
                    memory.spaces[SCRATCH].fill(f32::NAN);
                }
                let arguments = arguments(program, kernel, &program.steps[step].args).map_err(at_step)?;
                Call::new(kernel, &arguments, &mut memory, program.target).run(&units).map_err(at_step)?;
            }
        }
        first = end;
    }
    Ok(memory.into_outputs(program))
}

/// Runs a program once, with weights from a source.
///
/// # Errors
/// As [`run`]; and whatever the source lacks.
pub fn run_with(
    program: &Program,
    source: &dyn Source,
    inputs: &[Vec<f32>],
    options: Options,
) -> Result<Vec<Vec<f32>>, Box<Error>> {
    let evaluator = Evaluator::new(&program.weights, source).map_err(|error| Error::new(error.to_string()))?;
    let mut failed = None;
    let pack = |buffer: &Buffer| {
        let mut packed = Vec::new();
        if let Place::Packed { weight, form } = buffer.place {
            let result = weights::pack(&evaluator, weight, form, &mut |piece| packed.extend_from_slice(piece));
            failed = failed.take().or(result.err());
        }
        packed
    };
    let result = run(program, pack, inputs, options);
    match failed {
        Some(error) => Err(Error::new(error.to_string())),
        None => result,
    }
}

/// Runs a program of inputs and outputs of any type; else as [`run_with`].
///
/// # Errors
/// As [`run_with`], and where an input has another type than its buffer.
pub fn run_elements(
    program: &Program,
    source: &dyn Source,
    inputs: &[Elements],
    options: Options,
) -> Result<Vec<Elements>, Box<Error>> {
    let elem = |wanted: Place| program.buffers.iter().find(|buffer| buffer.place == wanted).map(|buffer| buffer.elem);
    let mut words = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let of = elem(Place::Input(i));
        words.push(match (input, of) {
            (Elements::F32(v), Some(Elem::F32) | None) => v.clone(),
            (Elements::I32(_), Some(Elem::I32))
            | (Elements::I8(_), Some(Elem::I8))
            | (Elements::U8(_), Some(Elem::U8)) => {
                input.to_f64().into_iter().map(|v| f32::from_bits(v as i32 as u32)).collect()
            }
            _ => return Err(Error::new(format!("input {i} has elements of {of:?}, not {}", input.dtype()))),
        });
    }
    let outputs = run_with(program, source, &words, options)?;
    let typed = outputs.into_iter().enumerate().map(|(i, words)| {
        let integers = || words.iter().map(|word| word.to_bits() as i32);
        match elem(Place::Output(i)) {
            Some(Elem::I32) => Elements::I32(integers().collect()),
            Some(Elem::I8) => Elements::I8(integers().map(|v| v as i8).collect()),
            Some(Elem::U8) => Elements::U8(integers().map(|v| v as u8).collect()),
            Some(Elem::F32 | Elem::Bf16) | None => Elements::F32(words),
        }
    });
    Ok(typed.collect())
}

/// All memory: one word an element, those of integers with the bits of an i32. The arena, the scratch, then a space for each buffer that lies in neither.
struct Memory {
    spaces: Vec<Vec<f32>>,
}

const ARENA: usize = 0;
const SCRATCH: usize = 1;
const OTHERS: usize = 2;

impl Memory {
    fn new(
        program: &Program,
        mut packed: impl FnMut(&Buffer) -> Vec<f32>,
        inputs: &[Vec<f32>],
        poison: bool,
    ) -> Result<Memory, Box<Error>> {
        let unwritten = if poison { f32::NAN } else { 0.0 };
        let mut spaces = vec![vec![unwritten; program.arena], vec![unwritten; program.scratch]];
        for buffer in &program.buffers {
            let space = match &buffer.place {
                Place::Arena(_) | Place::Scratch(_) => Vec::new(),
                Place::Input(i) => {
                    inputs.get(*i).cloned().ok_or_else(|| Error::new(format!("input {i} is missing")))?
                }
                Place::Output(_) => vec![unwritten; buffer.len],
                Place::Packed { .. } => packed(buffer),
            };
            let (offset, extent) = match &buffer.place {
                Place::Arena(offset) => (*offset, program.arena),
                Place::Scratch(offset) => (*offset, program.scratch),
                Place::Input(_) | Place::Output(_) | Place::Packed { .. } if space.len() == buffer.len => {
                    (0, space.len())
                }
                Place::Input(_) | Place::Output(_) | Place::Packed { .. } => {
                    let (name, given, len) = (&buffer.name, space.len(), buffer.len);
                    return Err(Error::new(format!("buffer {name} has {len} elements, but {given} are given")));
                }
            };
            if offset.checked_add(buffer.len).is_none_or(|end| end > extent) {
                return Err(Error::new(format!(
                    "buffer {} ends past the {extent} elements of its memory",
                    buffer.name
                )));
            }
            spaces.push(space);
        }
        Ok(Memory { spaces })
    }

    fn into_outputs(mut self, program: &Program) -> Vec<Vec<f32>> {
        let mut outputs: Vec<(usize, Vec<f32>)> = Vec::new();
        for (i, buffer) in program.buffers.iter().enumerate() {
            if let Place::Output(position) = buffer.place {
                outputs.push((position, std::mem::take(&mut self.spaces[OTHERS + i])));
            }
        }
        outputs.sort_by_key(|(position, _)| *position);
        outputs.into_iter().map(|(_, values)| values).collect()
    }
}

/// Where each argument of a step lies.
fn arguments<'a>(program: &'a Program, kernel: &Kernel, args: &[Arg]) -> Result<Vec<Argument<'a>>, Box<Error>> {
    if args.len() != kernel.params.len() {
        return Err(Error::new(format!("{} parameters, but {} arguments", kernel.params.len(), args.len())));
    }
    let mut arguments = Vec::new();
    for (param, arg) in kernel.params.iter().zip(args) {
        let misfit = |what: String| Error::new(format!("argument {}: {what}", param.name));
        let place = |region: &Region, elem, len: usize| {
            let buffer = program.buffers.get(region.buffer.index());
            let buffer = buffer.ok_or_else(|| misfit(format!("there is no buffer {:?}", region.buffer)))?;
            if buffer.elem != elem {
                return Err(misfit(format!("buffer {} has other elements", buffer.name)));
            }
            if region.offset.checked_add(len).is_none_or(|end| end > buffer.len) {
                let (at, name) = (region.offset, &buffer.name);
                return Err(misfit(format!(
                    "{len} elements from {at} on do not lie in {name}, which has {}",
                    buffer.len
                )));
            }
            Ok(match buffer.place {
                Place::Arena(offset) => (ARENA, offset + region.offset),
                Place::Scratch(offset) => (SCRATCH, offset + region.offset),
                Place::Input(_) | Place::Output(_) | Place::Packed { .. } => {
                    (OTHERS + region.buffer.index(), region.offset)
                }
            })
        };
        arguments.push(match (param.kind, arg) {
            (ParamKind::Flat { elem, len, .. }, Arg::Flat(region)) => Argument::Memory(vec![place(region, elem, len)?]),
            (ParamKind::Blocks { elem, count, len, .. }, Arg::Blocks(regions)) => {
                if regions.len() != count {
                    return Err(misfit(format!("{} blocks where {count} are taken", regions.len())));
                }
                Argument::Memory(regions.iter().map(|region| place(region, elem, len)).collect::<Result<_, _>>()?)
            }
            (ParamKind::Table { len, .. }, Arg::Table(id)) => {
                let table =
                    program.tables.get(id.index()).ok_or_else(|| misfit(format!("there is no table {id:?}")))?;
                if table.values.len() != len {
                    return Err(misfit(format!("{} entries where {len} are taken", table.values.len())));
                }
                Argument::Table(&table.values)
            }
            (ParamKind::Flat { .. } | ParamKind::Blocks { .. } | ParamKind::Table { .. }, _) => {
                return Err(misfit("not of the parameter's kind".into()));
            }
        });
    }
    Ok(arguments)
}

#[cfg(test)]
pub(crate) mod tests;
