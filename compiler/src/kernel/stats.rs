//! What a program is made of: kernels by kind, bytes moved, memory.

use std::collections::BTreeMap;

use super::{Access, Arg, Elem, ParamKind, Place, Program, Step};

/// Figures of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Steps by the kind of their kernel, the first word of its name.
    pub steps: BTreeMap<String, usize>,
    /// Distinct kernels by kind.
    pub kernels: BTreeMap<String, usize>,
    /// Steps that only change a layout or copy.
    pub relayouts: usize,
    /// Bytes that those steps read and write.
    pub relayout_bytes: usize,
    /// Bytes that all steps read and write, each argument once: what an inference moves if caches held one step.
    pub bytes_moved: usize,
    /// Floating-point operations of all steps.
    pub flops: u64,
    /// Bytes of packed weights.
    pub weight_bytes: usize,
}

/// The kind of a kernel: its name up to the first digit or underscore, and whether it reads row-major input.
pub fn kind(name: &str) -> String {
    let end = name.find(|c: char| c.is_ascii_digit() || c == '_').unwrap_or(name.len());
    let word = &name[..end];
    match word {
        "global" => "global_pool".to_owned(),
        "max" | "avg" => "pool".to_owned(),
        _ => word.to_owned(),
    }
}

/// Bytes of an element.
pub fn elem_bytes(elem: Elem) -> usize {
    match elem {
        Elem::F32 | Elem::I32 => 4,
        Elem::Bf16 => 2,
        Elem::I8 | Elem::U8 => 1,
    }
}

/// Bytes that a step reads and writes, each argument once; an entry of one lane counts a lane's share.
pub fn step_bytes(program: &Program, step: &Step) -> usize {
    let kernel = program.kernel(step);
    let argument = |(param, arg): (&super::Param, &Arg)| match (param.kind, arg) {
        (ParamKind::Flat { elem, len, access }, Arg::Flat(_)) => {
            let times = if access == Access::Update { 2 } else { 1 };
            times * len * elem_bytes(elem)
        }
        (ParamKind::Blocks { elem, len, access, .. }, Arg::Blocks(regions)) => {
            let times = if access == Access::Update { 2 } else { 1 };
            let lanes = regions.iter().any(|region| region.offset % super::LANES != 0);
            let bytes = regions.len() * len * elem_bytes(elem) * times;
            if lanes { bytes / super::LANES } else { bytes }
        }
        (ParamKind::Table { len, .. }, Arg::Table(_)) => 4 * len,
        (ParamKind::Flat { .. } | ParamKind::Blocks { .. } | ParamKind::Table { .. }, _) => 0,
    };
    kernel.params.iter().zip(&step.args).map(argument).sum()
}

/// Bytes of packed weights that a step reads.
pub fn step_weight_bytes(program: &Program, step: &Step) -> usize {
    let buffers = step.args.iter().filter_map(|arg| match arg {
        Arg::Flat(region) => Some(program.buffer(region.buffer)),
        Arg::Blocks(_) | Arg::Table(_) => None,
    });
    buffers
        .map(|buffer| match buffer.place {
            Place::Packed { .. } => buffer.len * elem_bytes(buffer.elem),
            Place::Input(_) | Place::Output(_) | Place::Arena(_) | Place::Scratch(_) => 0,
        })
        .sum()
}

/// Counts a program.
pub fn stats(program: &Program) -> Stats {
    let mut stats = Stats::default();
    for kernel in &program.kernels {
        *stats.kernels.entry(kind(&kernel.name)).or_default() += 1;
    }
    for step in &program.steps {
        let kernel = program.kernel(step);
        let (kind, bytes) = (kind(&kernel.name), step_bytes(program, step));
        if matches!(&*kind, "relayout" | "copy" | "slice" | "concat" | "gather" | "transpose") {
            stats.relayouts += 1;
            stats.relayout_bytes += bytes;
        }
        *stats.steps.entry(kind).or_default() += 1;
        stats.bytes_moved += bytes;
        stats.flops += kernel.flops;
    }
    stats.weight_bytes = program
        .buffers
        .iter()
        .map(|buffer| match buffer.place {
            Place::Packed { .. } => buffer.len * elem_bytes(buffer.elem),
            Place::Input(_) | Place::Output(_) | Place::Arena(_) | Place::Scratch(_) => 0,
        })
        .sum();
    stats
}
