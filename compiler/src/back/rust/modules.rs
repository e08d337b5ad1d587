//! The modules of kernels, one a target, with a module for each kind of kernel in it.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::TokenStream;
use quote::quote;

use super::compiled::Compiled;
use super::kernel::function;
use super::module::{Module, import};
use super::names::{ident, snake};
use crate::kernel::stats::kind;
use crate::kernel::{Kernel, Program};
use crate::target::Target;

/// The module `kernels`; `rt` is the path of the runtime.
pub(super) fn kernels(compiled: &Compiled<'_>, rt: &TokenStream) -> Module {
    Module {
        name: "kernels".to_owned(),
        doc: "The kernels, for each target.".to_owned(),
        attributes: quote! {},
        items: quote! {},
        children: compiled.programs.iter().map(|program| target_kernels(compiled, program, rt)).collect(),
    }
}

/// The module of a kernel within those of its target.
pub(super) fn family(kernel: &Kernel) -> String {
    snake(&kind(&kernel.name))
}

/// When a target's code is compiled: on its architecture, the portable one's on those that no other target is for.
pub(super) fn condition(compiled: &Compiled<'_>, target: Target) -> TokenStream {
    if let Some(architecture) = target.architecture() {
        return quote! { #[cfg(target_arch = #architecture)] };
    }
    let others: BTreeSet<&str> = compiled.targets().filter_map(Target::architecture).collect();
    match others.len() {
        0 => quote! {},
        1 => quote! { #[cfg(not(#(target_arch = #others)*))] },
        2.. => quote! { #[cfg(not(any(#(target_arch = #others),*)))] },
    }
}

/// The architectures that a network has kernels for, where they are not all.
pub(super) struct Architectures(BTreeSet<&'static str>);

/// See [`Architectures`]; a network without any programs stands in for one with mistakes, everywhere.
pub(super) fn architectures(compiled: &Compiled<'_>) -> Option<Architectures> {
    let some: Option<BTreeSet<&str>> = compiled.targets().map(Target::architecture).collect();
    some.filter(|architectures| !architectures.is_empty()).map(Architectures)
}

impl Architectures {
    /// Whether code is compiled for one of them.
    pub(super) fn condition(&self) -> TokenStream {
        let names = &self.0;
        if names.len() == 1 {
            quote! { #(target_arch = #names),* }
        } else {
            quote! { any(#(target_arch = #names),*) }
        }
    }

    /// The error on all others, which says what to do.
    pub(super) fn error(&self, advice: &str) -> TokenStream {
        let condition = self.condition();
        let names: Vec<&str> = self.0.iter().copied().collect();
        let message = format!("this network was compiled for {} alone: {advice}", names.join(" and "));
        quote! {
            #[cfg(not(#condition))]
            ::core::compile_error!(#message);
        }
    }
}

fn target_kernels(compiled: &Compiled<'_>, program: &Program, rt: &TokenStream) -> Module {
    let used: BTreeSet<usize> = program.steps.iter().map(|step| step.kernel.index()).collect();
    let mut families: BTreeMap<String, TokenStream> = BTreeMap::new();
    for index in used {
        let kernel = &program.kernels[index];
        let steps = program.steps.iter().filter(|step| step.kernel.index() == index);
        let layers: Vec<&str> = steps.flat_map(|step| step.layers.iter().map(String::as_str)).collect();
        families.entry(family(kernel)).or_default().extend(function(kernel, program.target, &layers));
    }
    let simd = ident(program.target.name());
    let children = families.into_iter().map(|(name, functions)| {
        let blocks = import(&quote! { #rt::blocks }, &["Blocks", "BlocksMut"], &functions);
        let vectors = import(&quote! { #rt::simd::#simd }, &["F32x16", "I32x16", "prefetch"], &functions);
        Module {
            doc: format!("Kernels of kind `{name}` for {}.", program.target),
            name,
            attributes: quote! {},
            items: quote! { #blocks #vectors #functions },
            children: vec![],
        }
    });
    Module {
        name: program.target.name().to_owned(),
        doc: format!("Kernels for {}.", program.target),
        attributes: condition(compiled, program.target),
        items: quote! {},
        children: children.collect(),
    }
}
