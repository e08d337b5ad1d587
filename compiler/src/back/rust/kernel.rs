//! A kernel as a function.

use std::fmt::Write;

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::body::body;
use super::compiled::Error;
use super::names::{ident, snake};
use super::print::{self, comment, doc};
use crate::graph::Verified;
use crate::kernel::{Access, Elem, Kernel, Param, ParamKind, Program};
use crate::target::Target;

/// The function of a kernel; `layers` are the source nodes that it computes, in order.
///
/// It takes the units `lo..hi` to compute, then its parameters in order: `Flat` as a pointer to its first element,
/// `Blocks` as `Blocks` or `BlocksMut`, a table as a pointer to its first entry.
pub(super) fn function(kernel: &Kernel, target: Target, layers: &[&str]) -> TokenStream {
    let (names, body) = body(kernel);
    let description = doc(&description(kernel, target, layers));
    let features = target.features();
    let attribute = (!features.is_empty()).then(|| quote! { #[target_feature(enable = #features)] });
    let name = ident(&snake(&kernel.name));
    let (units, params) = names.split_at(2);
    let types = kernel.params.iter().map(|param| parameter_type(param.kind));
    let safety = comment("SAFETY: the verifier proved that every access below stays within the bounds above.");
    quote! {
        #description
        #attribute
        #[inline(never)]
        pub unsafe fn #name(#(#units: usize,)* #(#params: #types),*) {
            #safety
            unsafe { #body }
        }
    }
}

/// A kernel of a program as Rust text, for reading.
///
/// # Errors
/// Where its tokens are no Rust, which is a mistake of the emitter.
pub fn kernel_text(program: &Verified<Program>, kernel: &Kernel) -> Result<String, Error> {
    let steps = program.steps.iter().filter(|step| program.kernel(step).name == kernel.name);
    let layers: Vec<&str> = steps.flat_map(|step| step.layers.iter().map(String::as_str)).collect();
    Ok(print::items(function(kernel, program.target, &layers))?)
}

/// The type that a parameter has in a function's signature.
fn parameter_type(kind: ParamKind) -> TokenStream {
    match kind {
        ParamKind::Flat { elem, access, .. } => {
            let elem = elem_type(elem);
            match access {
                Access::Read => quote! { *const #elem },
                Access::Write | Access::Update => quote! { *mut #elem },
            }
        }
        ParamKind::Blocks { elem, access, .. } => {
            let list = match access {
                Access::Read => quote! { Blocks },
                Access::Write | Access::Update => quote! { BlocksMut },
            };
            let elem = (elem != Elem::F32).then(|| elem_type(elem)).map(|elem| quote! { <#elem> });
            quote! { #list #elem }
        }
        ParamKind::Table { .. } => quote! { *const u32 },
    }
}

/// The name of an element type.
pub(super) fn elem_type(elem: Elem) -> Ident {
    ident(match elem {
        Elem::F32 => "f32",
        Elem::Bf16 => "u16",
        Elem::I32 => "i32",
        Elem::I8 => "i8",
        Elem::U8 => "u8",
    })
}

fn description(kernel: &Kernel, target: Target, layers: &[&str]) -> String {
    let mut text = String::new();
    let _ = match layers {
        [] => write!(text, "`{}`", kernel.name),
        [one] => write!(text, "Computes {one}"),
        [one, two] => write!(text, "Computes {one} and {two}"),
        [one, two, three] => write!(text, "Computes {one}, {two} and {three}"),
        [one, two, rest @ ..] => write!(text, "Computes {one}, {two} and {} more", rest.len()),
    };
    let _ = writeln!(text, ": units `lo..hi` of {}.\n", kernel.units);
    for param in &kernel.params {
        let _ = writeln!(text, "- `{}`: {}", param.name, extent(param));
    }
    if !kernel.tile.is_empty() {
        let _ = write!(text, "\nTile {}; ", kernel.tile);
    } else {
        text.push('\n');
    }
    let _ = writeln!(text, "{} and {} for all units.", amount(kernel.flops, "FLOP"), amount(bytes(kernel), "B"));
    text.push_str("\n# Safety\n");
    match target {
        Target::Avx512 => text.push_str("- The processor has AVX-512 F, BW, DQ and VL, AVX2 and FMA.\n"),
        Target::Avx2 => text.push_str("- The processor has AVX2 and FMA.\n"),
        Target::Base => text.push_str("- The processor has SSE2, as every x86-64 has.\n"),
        Target::Neon => text.push_str("- The processor has NEON, as every AArch64 has.\n"),
        Target::Portable => {}
    }
    let _ = writeln!(text, "- `lo <= hi <= {}`.", kernel.units);
    text.push_str("- Each parameter is valid for the extent above, for as long as this runs.\n");
    text.push_str("- What is written overlaps nothing else, and units of other calls at the same time are others");
    let pairs: Vec<String> = kernel
        .in_place
        .iter()
        .map(|(written, read)| {
            format!("`{}` may be `{}`", kernel.params[written.index()].name, kernel.params[read.index()].name)
        })
        .collect();
    if pairs.is_empty() {
        text.push('.')
    } else {
        _ = write!(text, "; but {}.", pairs.join(", and "))
    }
    text
}

fn extent(param: &Param) -> String {
    let touched = |access: Access| match access {
        Access::Read => "read",
        Access::Write => "written",
        Access::Update => "read and written",
    };
    match param.kind {
        ParamKind::Flat { elem, len, access } => format!("{len} `{}`, {}", elem_type(elem), touched(access)),
        ParamKind::Blocks { elem, count, len, access } => {
            format!("{count} blocks of {len} `{}`, {}", elem_type(elem), touched(access))
        }
        ParamKind::Table { len, below } => format!("{len} entries below {below}"),
    }
}

/// Each element of each parameter once.
fn bytes(kernel: &Kernel) -> u64 {
    let size = |elem: Elem| match elem {
        Elem::F32 | Elem::I32 => 4,
        Elem::Bf16 => 2,
        Elem::I8 | Elem::U8 => 1,
    };
    let of = |param: &Param| match param.kind {
        ParamKind::Flat { elem, len, .. } => size(elem) * len as u64,
        ParamKind::Blocks { elem, count, len, .. } => size(elem) * (count * len) as u64,
        ParamKind::Table { len, .. } => 4 * len as u64,
    };
    kernel.params.iter().map(of).sum()
}

fn amount(number: u64, unit: &str) -> String {
    match number {
        0..10_000 => format!("{number} {unit}"),
        10_000..1_000_000 => format!("{:.1} k{unit}", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M{unit}", number as f64 / 1e6),
        _ => format!("{:.2} G{unit}", number as f64 / 1e9),
    }
}
