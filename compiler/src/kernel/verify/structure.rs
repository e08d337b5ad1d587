//! Structure: ids, names, places of buffers, arguments of steps; and what may be done with a buffer's place.

use std::collections::BTreeSet;

use super::{Invariant, Report};
use crate::kernel::{Access, Arg, Buffer, Elem, Kernel, LANES, ParamKind, Place, Program, Region, Step, Waits, text};

pub(super) fn check(program: &Program, report: &mut Report) {
    names("buffer", program.buffers.iter().map(|buffer| &buffer.name), report);
    names("table", program.tables.iter().map(|table| &table.name), report);
    names("kernel", program.kernels.iter().map(|kernel| &kernel.name), report);
    if program.name.is_empty() {
        report.add(Invariant::Structure, "the program has no name");
    }
    places(program, report);
    for kernel in &program.kernels {
        report.kernel = Some(kernel.name.clone());
        check_kernel(kernel, report);
    }
    for (i, step) in program.steps.iter().enumerate() {
        report.step = Some(i);
        report.kernel = program.kernels.get(step.kernel.index()).map(|kernel| kernel.name.clone());
        check_step(program, step, report);
        if i == 0 && step.waits == Waits::OwnUnits {
            report.add(Invariant::Waits, "the first step waits for the units of a step before it");
        }
    }
    (report.step, report.kernel) = (None, None);
}

fn names<'a>(what: &str, names: impl Iterator<Item = &'a String>, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (i, name) in names.enumerate() {
        if name.is_empty() {
            report.add(Invariant::Structure, format!("{what} {i} has no name"));
        } else if !seen.insert(name) {
            report.add(Invariant::Structure, format!("two {what}s are called {name}"));
        }
    }
}

fn places(program: &Program, report: &mut Report) {
    let shapes = kiln_rt::weights::expr::shapes(&program.weights);
    if let Err(error) = &shapes {
        report.add(Invariant::Structure, format!("weights: {error}"));
    }
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for buffer in &program.buffers {
        let Buffer { name, elem: _, len, place } = buffer;
        let mut inside = |at: usize, extent: usize, memory: &str| {
            if !at.is_multiple_of(LANES) {
                report.add(Invariant::Structure, format!("buffer {name} starts at {at}, which is no multiple of 16"));
            }
            if at.checked_add(*len).is_none_or(|end| end > extent) {
                report.add(Invariant::Structure, format!("buffer {name} ends past the {extent} elements of {memory}"));
            }
        };
        match place {
            Place::Arena(at) => inside(*at, program.arena, "the arena"),
            Place::Scratch(at) => inside(*at, program.scratch, "scratch"),
            Place::Input(position) => inputs.push(*position),
            Place::Output(position) => outputs.push(*position),
            Place::Packed { weight, form } => {
                let Ok(shapes) = &shapes else { continue };
                let Some(shape) = shapes.get(weight.index()) else {
                    report.add(Invariant::Structure, format!("buffer {name} packs {weight}, which is not there"));
                    continue;
                };
                let packed = kiln_rt::weights::packed_len(*form, shape);
                if packed != Some(*len) {
                    let packed = packed.map_or("nothing".into(), |packed| format!("{packed} elements"));
                    let form = form.name();
                    let what = format!("buffer {name} has {len} elements, but {shape:?} packed as {form} is {packed}");
                    report.add(Invariant::Structure, what);
                }
            }
        }
    }
    for (what, mut positions) in [("inputs", inputs), ("outputs", outputs)] {
        positions.sort_unstable();
        if !positions.iter().copied().eq(0..positions.len()) {
            report.add(Invariant::Structure, format!("the positions of {what} are {positions:?}"));
        }
    }
}

fn check_kernel(kernel: &Kernel, report: &mut Report) {
    if kernel.units == 0 {
        report.add(Invariant::Structure, "it has no units");
    }
    if kernel.vars.len() < 2 || kernel.vars[..2] != ["lo", "hi"] {
        report.add(Invariant::Structure, "its first variables are not lo and hi");
    }
    let params = || kernel.params.iter().map(|param| &param.name);
    names("parameter", params(), report);
    names("variable", kernel.vars.iter(), report);
    names("local", kernel.locals.iter(), report);
    let mut refuse = |what: &str, name: &String| {
        report.add(Invariant::Structure, format!("{name:?} cannot be the name of a {what}"));
    };
    params().filter(|name| !text::is_variable(name)).for_each(|name| refuse("parameter", name));
    kernel.vars.iter().filter(|name| !text::is_variable(name)).for_each(|name| refuse("variable", name));
    kernel.locals.iter().filter(|name| !text::is_local(name)).for_each(|name| refuse("local", name));
    for &(written, read) in &kernel.in_place {
        let kind = |id: super::super::ParamId| kernel.params.get(id.index()).map(|param| param.kind);
        let fits = match (kind(written), kind(read)) {
            (
                Some(ParamKind::Flat { elem: a, len: b, access: Access::Write }),
                Some(ParamKind::Flat { elem: c, len: d, access: Access::Read }),
            ) => (a, b) == (c, d),
            (
                Some(ParamKind::Blocks { elem: a, count: b, len: c, access: Access::Write }),
                Some(ParamKind::Blocks { elem: d, count: e, len: f, access: Access::Read }),
            ) => (a, b, c) == (d, e, f),
            (None | Some(ParamKind::Flat { .. } | ParamKind::Blocks { .. } | ParamKind::Table { .. }), _) => false,
        };
        if !fits {
            let what =
                format!("in place {written:?}, {read:?} is no pair of a written and a read parameter of one form");
            report.add(Invariant::Structure, what);
        }
    }
}

fn check_step(program: &Program, step: &Step, report: &mut Report) {
    let Some(kernel) = program.kernels.get(step.kernel.index()) else {
        report.add(Invariant::Structure, format!("there is no kernel {:?}", step.kernel));
        return;
    };
    if kernel.params.len() != step.args.len() {
        let what = format!("{} parameters, but {} arguments", kernel.params.len(), step.args.len());
        report.add(Invariant::Structure, what);
        return;
    }
    for (param, arg) in kernel.params.iter().zip(&step.args) {
        let mut misfit = |invariant, what: String| report.add(invariant, format!("argument {}: {what}", param.name));
        let scratch = |region: &Region| {
            program.buffers.get(region.buffer.index()).is_some_and(|buffer| matches!(buffer.place, Place::Scratch(_)))
        };
        if let Arg::Blocks(list) = arg
            && list.iter().any(scratch)
            && !list.iter().all(scratch)
        {
            misfit(Invariant::Structure, "some of its blocks are in scratch and some are not".into());
        }
        match (param.kind, arg) {
            (ParamKind::Flat { elem, len, access }, Arg::Flat(region)) => {
                regions_fit(program, elem, len, access, std::slice::from_ref(region), &mut misfit);
            }
            (ParamKind::Blocks { elem, count, len, access }, Arg::Blocks(list)) => {
                regions_fit(program, elem, len, access, list, &mut misfit);
                if list.len() != count {
                    misfit(Invariant::Structure, format!("{} blocks where {count} are taken", list.len()));
                }
            }
            (ParamKind::Table { len, below }, Arg::Table(id)) => match program.tables.get(id.index()) {
                None => misfit(Invariant::Structure, format!("there is no table {id:?}")),
                Some(table) if table.values.len() != len => {
                    let what = format!("{} has {} entries where {len} are taken", table.name, table.values.len());
                    misfit(Invariant::Structure, what);
                }
                Some(table) => {
                    if let Some(value) = table.values.iter().find(|value| **value >= below) {
                        misfit(Invariant::Structure, format!("{} has an entry {value}, not below {below}", table.name));
                    }
                }
            },
            (ParamKind::Flat { .. } | ParamKind::Blocks { .. } | ParamKind::Table { .. }, _) => {
                misfit(Invariant::Structure, "not of the parameter's kind".into());
            }
        }
    }
}

fn regions_fit(
    program: &Program,
    elem: Elem,
    len: usize,
    access: Access,
    regions: &[Region],
    misfit: &mut dyn FnMut(Invariant, String),
) {
    for region in regions {
        let Some(buffer) = program.buffers.get(region.buffer.index()) else {
            misfit(Invariant::Structure, format!("there is no buffer {:?}", region.buffer));
            continue;
        };
        let (name, at) = (&buffer.name, region.offset);
        if buffer.elem != elem {
            misfit(Invariant::Structure, format!("{name} has elements {:?}, not {elem:?}", buffer.elem));
        }
        if at.checked_add(len).is_none_or(|end| end > buffer.len) {
            let what = format!("{len} elements from {at} on do not lie in {name}, which has {}", buffer.len);
            misfit(Invariant::Structure, what);
        }
        match (&buffer.place, access) {
            (Place::Input(_) | Place::Packed { .. }, Access::Write | Access::Update) => {
                misfit(Invariant::Access, format!("{name} is read only"));
            }
            (Place::Output(_), Access::Read | Access::Update) => {
                misfit(Invariant::Access, format!("{name} is an output, which is never read"));
            }
            (Place::Input(_) | Place::Packed { .. }, Access::Read)
            | (Place::Output(_), Access::Write)
            | (Place::Arena(_) | Place::Scratch(_), Access::Read | Access::Write | Access::Update) => {}
        }
    }
}
