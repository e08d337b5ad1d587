//! The module of weights: where each tensor lies, and where they come from.

use kiln_rt::fill::Kind;
use kiln_rt::weights::{Expr, ExprId, Form};
use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::compiled::{Compiled, Packing};
use super::module::Module;
use super::names::{ident, snake};
use super::print::comment;
use crate::kernel::{Arg, Place};

/// A weights file that is linked into the program.
pub(super) struct LinkedFile<'a> {
    /// The hash of its content, which is part of its name for the linker; None where any content is taken.
    pub(super) content_hash: Option<u64>,
    /// The package that it belongs to: the rest of that name.
    pub(super) owner: &'a str,
    /// The variable that names its folder when the code is compiled.
    pub(super) folder: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// Where the folder is, in words.
    pub(super) place: &'a str,
    /// The feature that links it, if it is not always linked.
    pub(super) feature: Option<&'a str>,
}

/// Weights in a file that is linked into the program.
pub(super) fn linked(compiled: &Compiled<'_>, rt: &TokenStream, file: &LinkedFile<'_>) -> Module {
    let LinkedFile { content_hash, owner, folder, name, place, feature } = *file;
    let when = feature.map(|feature| quote! { #[cfg(feature = #feature)] });
    let and_when = feature.map(|feature| quote! { feature = #feature, });
    let content = match content_hash.map(Literal::u64_unsuffixed) {
        Some(content) => quote! { ::core::option::Option::Some(#content) },
        None => quote! { ::core::option::Option::None },
    };
    let layout = layout(&compiled.packing, &content);
    let names = offsets(compiled);
    let symbol = format!("kiln_weights_{}_{:016x}", snake(owner), content_hash.unwrap_or(compiled.packing.hash));
    let (start, end) = (format!("{symbol}_start"), format!("{symbol}_end"));
    // Of equal groups the linker keeps one, so that a package's library and program may both hold the file.
    let assembly = format!(
        ".pushsection .rodata.{symbol},\"aG\",@progbits,{symbol},comdat\n\
         .balign 64\n\
         .globl {start}\n.hidden {start}\n{start}:\n.incbin \""
    );
    let path = format!("/{name}");
    let after = format!("{path}\"\n.globl {end}\n.hidden {end}\n{end}:\n.popsection\n");
    let safety = comment(
        "SAFETY: the two symbols are the ends of one constant piece of memory, which lives as long as the program.",
    );
    let elf = quote! {
        all(
            any(target_arch = "x86_64", target_arch = "aarch64"),
            any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")
        )
    };
    let imports = layout_imports(&compiled.packing, rt);
    let items = quote! {
        #imports

        #layout

        #when
        pub use linked::file;

        /// The file's place in the program: read by the assembler.
        #[cfg(all(#and_when #elf))]
        mod linked {
            ::core::arch::global_asm!(::core::concat!(#assembly, ::core::env!(#folder), #after), options(raw));

            unsafe extern "C" {
                #[link_name = #start]
                static START: u8;
                #[link_name = #end]
                static END: u8;
            }

            /// The weights file.
            pub fn file() -> &'static [u8] {
                let (start, end) = (&raw const START, &raw const END);
                #safety
                unsafe { ::core::slice::from_raw_parts(start, end.addr() - start.addr()) }
            }
        }

        /// The file's place in the program: read by the compiler.
        #[cfg(all(#and_when not(#elf)))]
        mod linked {
            #[repr(C, align(64))]
            struct Aligned<T: ?Sized>(T);

            static FILE: &Aligned<[u8]> = &Aligned(*::core::include_bytes!(::core::concat!(::core::env!(#folder), #path)));

            /// The weights file.
            pub fn file() -> &'static [u8] {
                &FILE.0
            }
        }

        #names
    };
    let doc = format!(
        "The packed weights: the file `{name}` {place}, and where each tensor lies in it.\n\n\
         The assembler reads the file, so Cargo does not see that it changed; what it must hold is stated here, and \
         loading refuses any other."
    );
    module(&doc, items)
}

/// Weights computed when the network is loaded.
pub(super) fn evaluated(compiled: &Compiled<'_>, rt: &TokenStream) -> Module {
    let layout = layout(&compiled.packing, &quote! { ::core::option::Option::None });
    let names = offsets(compiled);
    let exprs = compiled.packing.exprs.iter().map(expr);
    let packed = compiled.packing.packed.iter().map(|(id, form)| {
        let (id, form) = (expr_id(*id), form_name(*form));
        quote! { (#id, Form::#form) }
    });
    let imports = layout_imports(&compiled.packing, rt);
    // A network may have no weights, or none that are trained.
    let reads = compiled.packing.exprs.iter().any(|expr| matches!(expr, Expr::Read { .. }));
    let for_reads = reads.then(|| quote! { use #rt::fill::Kind; });
    let items = quote! {
        use ::std::borrow::Cow;
        #for_reads
        use #rt::weights::{Expr, ExprId, Form, WeightProgram};
        #imports

        #layout

        /// How packed tensors are computed from trained ones.
        pub const PROGRAM: WeightProgram<'static> = WeightProgram { exprs: EXPRS, packed: PACKED };

        static EXPRS: &[Expr] = &[#(#exprs),*];

        static PACKED: &[(ExprId, Form)] = &[#(#packed),*];

        #names
    };
    module("The packed weights: how they are computed, and where each tensor lies.", items)
}

fn module(doc: &str, items: TokenStream) -> Module {
    Module { name: "weights".to_owned(), doc: doc.to_owned(), attributes: quote! {}, items, children: vec![] }
}

/// What [`layout`] names: spans where there are tensors.
fn layout_imports(packing: &Packing, rt: &TokenStream) -> TokenStream {
    match packing.spans.is_empty() {
        true => quote! { use #rt::weights_file::WeightsLayout; },
        false => quote! { use #rt::weights_file::{Span, WeightsLayout}; },
    }
}

fn layout(packing: &Packing, content_hash: &TokenStream) -> TokenStream {
    let (hash, bytes) = (Literal::u64_unsuffixed(packing.hash), Literal::usize_unsuffixed(packing.file_bytes()));
    let spans = packing.spans.iter().map(|span| {
        let (offset, len) = (Literal::usize_unsuffixed(span.offset), Literal::usize_unsuffixed(span.len));
        quote! { Span { offset: #offset, len: #len } }
    });
    quote! {
        /// What the weights must be.
        pub const LAYOUT: WeightsLayout = WeightsLayout {
            hash: #hash,
            bytes: #bytes,
            content_hash: #content_hash,
            tensors: &[#(#spans),*],
        };
    }
}

/// A constant for the place of each tensor that a step names, in elements. Lists of places have them as numbers.
fn offsets(compiled: &Compiled<'_>) -> TokenStream {
    let packing = &compiled.packing;
    let mut named = vec![false; packing.names.len()];
    for (index, program) in compiled.programs.iter().enumerate() {
        for arg in program.steps.iter().flat_map(|step| &step.args) {
            if let Arg::Flat(region) = arg
                && let Place::Packed { weight, form } = program.buffer(region.buffer).place
            {
                named[packing.tensor(index, weight, form)] = true;
            }
        }
    }
    let tensors = packing.names.iter().zip(&packing.spans).zip(named).filter(|(_, named)| *named);
    let constants = tensors.map(|((name, span), _)| {
        let (name, offset) = (ident(name), Literal::usize_unsuffixed(span.offset));
        quote! { pub const #name: usize = #offset; }
    });
    quote! { #(#constants)* }
}

fn form_name(form: Form) -> proc_macro2::Ident {
    ident(match form {
        Form::Vector => "Vector",
        Form::Panel => "Panel",
        Form::Depthwise => "Depthwise",
        Form::WinogradF2 => "WinogradF2",
        Form::WinogradF4 => "WinogradF4",
        Form::Plain => "Plain",
    })
}

fn expr_id(id: ExprId) -> TokenStream {
    let id = Literal::u32_unsuffixed(id.0);
    quote! { ExprId(#id) }
}

/// An expression as a constant.
fn expr(expr: &Expr) -> TokenStream {
    let extents = |shape: &[usize]| {
        let extents = shape.iter().map(|extent| Literal::usize_unsuffixed(*extent));
        quote! { Cow::Borrowed(&[#(#extents),*]) }
    };
    let words = |words: &[u32]| {
        let words = words.iter().map(|word| Literal::u32_unsuffixed(*word));
        quote! { Cow::Borrowed(&[#(#words),*]) }
    };
    match expr {
        Expr::Read { name, kind, shape } => {
            let kind = ident(match kind {
                Kind::Kernel => "Kernel",
                Kind::Gamma => "Gamma",
                Kind::Var => "Var",
                Kind::Mean => "Mean",
                Kind::Bias => "Bias",
            });
            let (name, shape) = (&**name, extents(shape));
            quote! { Expr::Read { name: Cow::Borrowed(#name), kind: Kind::#kind, shape: #shape } }
        }
        Expr::Literal { shape, bits } => {
            let (shape, bits) = (extents(shape), words(bits));
            quote! { Expr::Literal { shape: #shape, bits: #bits } }
        }
        Expr::Splat { shape, bits } => {
            let (shape, bits) = (extents(shape), Literal::u32_unsuffixed(*bits));
            quote! { Expr::Splat { shape: #shape, bits: #bits } }
        }
        Expr::Transpose { of, perm } => {
            let (of, perm) = (expr_id(*of), extents(perm));
            quote! { Expr::Transpose { of: #of, perm: #perm } }
        }
        Expr::Reshape { of, shape } => {
            let (of, shape) = (expr_id(*of), extents(shape));
            quote! { Expr::Reshape { of: #of, shape: #shape } }
        }
        Expr::Concat { of, axis } => {
            let (of, axis) = (of.iter().map(|id| expr_id(*id)), Literal::usize_unsuffixed(*axis));
            quote! { Expr::Concat { of: Cow::Borrowed(&[#(#of),*]), axis: #axis } }
        }
        Expr::Gather { of, axis, index } => {
            let (of, axis, index) = (expr_id(*of), Literal::usize_unsuffixed(*axis), words(index));
            quote! { Expr::Gather { of: #of, axis: #axis, index: #index } }
        }
        Expr::Scale { of, axis, by } => {
            let (of, axis, by) = (expr_id(*of), Literal::usize_unsuffixed(*axis), expr_id(*by));
            quote! { Expr::Scale { of: #of, axis: #axis, by: #by } }
        }
        Expr::Add { a, b } => {
            let (a, b) = (expr_id(*a), expr_id(*b));
            quote! { Expr::Add { a: #a, b: #b } }
        }
        Expr::Times { of, bits } => {
            let (of, bits) = (expr_id(*of), Literal::u64_unsuffixed(*bits));
            quote! { Expr::Times { of: #of, bits: #bits } }
        }
        Expr::RsqrtEps { of, eps } => {
            let (of, eps) = (expr_id(*of), Literal::u64_unsuffixed(*eps));
            quote! { Expr::RsqrtEps { of: #of, eps: #eps } }
        }
        Expr::Contract { of, by, groups } => {
            let (of, by, groups) = (expr_id(*of), expr_id(*by), Literal::usize_unsuffixed(*groups));
            quote! { Expr::Contract { of: #of, by: #by, groups: #groups } }
        }
    }
}
