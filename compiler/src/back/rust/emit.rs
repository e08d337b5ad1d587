//! A network as a crate of its own: files as data, nothing is written.

use proc_macro2::TokenStream;
use quote::quote;

use super::api::{WeightsFrom, api, types};
use super::compiled::{Compiled, Error, Tensor};
use super::foreign::Interface;
use super::module::Module;
use super::names::{PackageName, ident};
use super::weights::LinkedFile;
use super::{lent, modules, network, plan, print, templates, weights};
use crate::graph::DType;
use crate::target::Target;

/// What a crate is made with.
#[derive(Clone, Debug)]
pub struct CrateOptions {
    /// The name of the package.
    pub package: PackageName,
    /// What it was made from, for the first line of each file: `mobilenet_v2.net`.
    pub source: String,
    /// An SPDX expression, if the network has a licence.
    pub license: Option<String>,
    /// What the file of trained weights says of itself, by name.
    pub weights_metadata: Vec<(String, String)>,
    /// What it is to a workspace around it.
    pub workspace: Workspace,
    /// The content hash of its weights file, as its writer returned it. None for a crate that takes any weights for its
    /// kernels, from a file when it loads: such weights must not be linked.
    pub content_hash: Option<u64>,
    /// A stored answer to test against.
    pub golden: Option<Golden>,
}

/// What a crate is to a workspace around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workspace {
    /// There is none.
    Outside,
    /// It lies in one that it is no member of, and has a `[workspace]` table of its own: Cargo refuses it else.
    Own,
    /// It is a member: profiles are for the root's manifest to set.
    Member,
}

/// Inputs, and the answer to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// The inputs, in order, row-major.
    pub inputs: Vec<Vec<f32>>,
    /// The outputs, in order, row-major.
    pub outputs: Vec<Vec<f32>>,
}

/// A crate in memory. Its weights file, `weights.bin`, is not part of it: it is written from the
/// [packing](super::Packing) before, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmittedCrate {
    /// The files, ordered by path.
    pub files: Vec<EmittedFile>,
}

/// A file of an emitted crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmittedFile {
    /// Its path from the crate's folder, with slashes.
    pub path: String,
    /// What is in it.
    pub contents: Vec<u8>,
}

/// The crate of a network.
///
/// # Errors
/// A program that this back end cannot write.
pub fn emit_crate(compiled: &Compiled<'_>, options: &CrateOptions) -> Result<EmittedCrate, Error> {
    let header = print::generated_from(&options.source);
    let rt = quote! { crate::rt };
    let file = LinkedFile {
        content_hash: options.content_hash,
        owner: options.package.as_str(),
        folder: "CARGO_MANIFEST_DIR",
        name: "weights.bin",
        place: "beside `Cargo.toml`",
        feature: Some(EMBED),
    };
    let interface = Interface::of(compiled, options);
    let mut sources = Vec::new();
    let modules = [
        modules::kernels(compiled, &rt),
        plan::plan(compiled, &rt)?,
        weights::linked(compiled, &rt, &file),
        network::network(compiled, &rt),
        model(compiled, &rt),
        lent::lent(compiled, &rt),
        interface.module(&rt),
    ];
    for module in &modules {
        module.files("src", &header, &mut sources)?;
    }
    let library = library(compiled, &options.package, &modules);
    sources.push(("src/lib.rs".to_owned(), print::file(&header, library)?));
    let targets: Vec<Target> = compiled.targets().collect();
    for (path, text) in kiln_rt::sources::files(&targets) {
        sources.push((format!("src/rt/{path}"), format!("// {header}\n{text}")));
    }
    sources.push((format!("include/{}.h", interface.prefix), interface.header(&header)));
    sources.push(("c/main.c".to_owned(), interface.example()));
    let (model, _) = types(compiled, LINKED);
    let template =
        templates::Template { compiled, options, header: &header, model: &model.to_string(), interface: &interface };
    sources.push(("Cargo.toml".to_owned(), template.manifest()));
    sources.push(("c/CMakeLists.txt".to_owned(), template.cmake()));
    sources.push((format!("c/{}.pc", interface.prefix), template.pkg_config()));
    sources.push(("rustfmt.toml".to_owned(), template.rustfmt()));
    sources.push(("README.md".to_owned(), template.readme()));
    sources.push(("examples/bench.rs".to_owned(), template.bench()));
    sources.push(("examples/run.rs".to_owned(), template.example()));
    let mut files: Vec<EmittedFile> =
        sources.into_iter().map(|(path, text)| EmittedFile { path, contents: text.into_bytes() }).collect();
    if let Some(golden) = &options.golden {
        files.push(EmittedFile { path: "tests/golden.rs".to_owned(), contents: template.golden_test().into_bytes() });
        for (name, tensors) in [("input", &golden.inputs), ("output", &golden.outputs)] {
            let contents = tensors.iter().flatten().flat_map(|element| element.to_le_bytes()).collect();
            files.push(EmittedFile { path: format!("tests/golden_{name}.bin"), contents });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(EmittedCrate { files })
}

/// A crate's feature for threads and detection of targets: all that needs more than `core`.
pub(super) const STD: &str = "std";
/// A crate's feature that links its weights.
pub(super) const EMBED: &str = "embed";
/// A crate's feature for C.
pub(super) const CAPI: &str = "capi";
/// A crate's feature that makes of it, without `std`, a whole library for C.
pub(super) const PANIC_HANDLER: &str = "panic-handler";

/// Where the weights of a crate come from.
pub(super) const LINKED: WeightsFrom = WeightsFrom::File { feature: Some(EMBED) };

/// The module of the types that need `std`.
fn model(compiled: &Compiled<'_>, rt: &TokenStream) -> Module {
    let api = api(compiled, rt, LINKED, &model_doc(compiled));
    Module {
        name: "model".to_owned(),
        doc: "The network with threads, on what the processor has.".to_owned(),
        attributes: quote! { #[cfg(feature = #STD)] },
        items: quote! {
            use crate::network;
            #[cfg(feature = #EMBED)]
            use crate::weights;

            #api
        },
        children: vec![],
    }
}

fn library(compiled: &Compiled<'_>, package: &PackageName, modules: &[Module]) -> TokenStream {
    let (model, session) = types(compiled, LINKED);
    let lent = lent::type_name(compiled);
    let about = print::inner_doc(&format!(
        "{} for {}.\n\n\
         With the feature `std`, `{model}` holds the weights and `{session}` runs them, on threads. Without it the crate \
         is `no_std`, and [`{lent}`] runs on memory that the caller lends.\n\n\
         | feature | what it adds |\n| --- | --- |\n\
         | `std` | threads, and the best target that the processor has; on by default |\n\
         | `embed` | the weights, linked into the program; on by default |\n\
         | `capi` | functions for C, as `include` declares them |\n\
         | `panic-handler` | with `capi` and without `std`: what a static library for C ends with |\n\n\
         | module | what it is |\n| --- | --- |\n\
         | `kernels` | what computes, for each target |\n\
         | `plan` | which kernel runs when, over which memory |\n\
         | `weights` | where each packed tensor lies |\n\
         | `network` | all that is constant |\n\
         | `model`, `lent`, `capi` | the types, and the functions for C |\n\
         | `rt` | vectors, memory, workers, sessions |",
        compiled.signature.name,
        target_list(compiled),
    ));
    let rt = quote! { crate::rt };
    let (types, lent_types) = (runtime_types(&rt), exports(LENT_TYPES, &rt));
    // On other architectures the error is all that there is.
    let (error, when, no_std) = match modules::architectures(compiled) {
        Some(architectures) => {
            let error = architectures.error("build it again with `kiln build … --target portable`");
            let there = architectures.condition();
            (error, quote! { #[cfg(#there)] }, quote! { any(not(feature = #STD), not(#there)) })
        }
        None => (quote! {}, quote! {}, quote! { not(feature = #STD) }),
    };
    let declarations = modules.iter().map(|module| {
        let declaration = module.declaration(&quote! {});
        quote! { #when #declaration }
    });
    let name = package.crate_name();
    let lint = name.contains("__").then(|| quote! { #![allow(non_snake_case, reason = "the name of the package")] });
    quote! {
        #about
        #lint
        #![cfg_attr(#no_std, no_std)]

        #error

        #(#declarations)*
        #when
        mod rt;

        #when
        pub use lent::#lent;
        #when
        #[cfg(feature = #STD)]
        pub use model::{#model, #session};
        #when
        pub use runtime_types::*;

        #when
        mod runtime_types {
            #lent_types
            #[cfg(feature = #STD)]
            pub use with_std::*;
            #[cfg(not(feature = #STD))]
            pub use crate::rt::{target::Target, tensor::{DType, Elements, TensorInfo}, weights_file::WeightsError};

            #[cfg(feature = #STD)]
            mod with_std {
                #types
            }
        }

        /// A static library has to say where a panic ends: in C's `abort`, which the program that it is linked into has.
        #[cfg(all(feature = #PANIC_HANDLER, not(feature = #STD), not(test)))]
        mod panic_handler {
            unsafe extern "C" {
                safe fn abort() -> !;
            }

            #[panic_handler]
            fn panic(_: &::core::panic::PanicInfo<'_>) -> ! {
                abort()
            }

            /// The core library of a system is compiled for unwinding and names this; nothing unwinds.
            #[cfg(not(target_os = "none"))]
            #[unsafe(no_mangle)]
            extern "C" fn rust_eh_personality() {}
        }

        /// What the README shows is compiled with the tests.
        #when
        #[cfg(all(doctest, feature = #STD, feature = #EMBED))]
        #[doc = include_str!("../README.md")]
        mod readme {}
    }
}

/// The runtime's types that users of a network with linked weights see, by module.
const RUNTIME_TYPES: &[(&str, &[&str])] = &[
    ("arena", &["OutOfMemory"]),
    ("detect", &["UnknownTarget"]),
    ("model", &["LoadError", "Weights"]),
    ("run", &["StepTime"]),
    ("session", &["RunError", "Threads"]),
    ("target", &["Target"]),
    ("tensor", &["DType", "Elements", "TensorInfo"]),
    ("weights_file", &["WeightsError"]),
];

/// Those that a crate has beside them, for lent memory.
const LENT_TYPES: &[(&str, &[&str])] = &[("lent", &["LentError"]), ("target", &["AvailableTarget"])];

/// The names of all of them.
pub(super) fn runtime_type_names() -> impl Iterator<Item = &'static str> {
    RUNTIME_TYPES.iter().chain(LENT_TYPES).flat_map(|(_, names)| names.iter().copied())
}

/// The runtime's types that users of a network with linked weights see; `rt` is the path of the runtime.
pub(super) fn runtime_types(rt: &TokenStream) -> TokenStream {
    exports(RUNTIME_TYPES, rt)
}

fn exports(types: &[(&str, &[&str])], rt: &TokenStream) -> TokenStream {
    let exports = types.iter().map(|(module, names)| {
        let (module, names): (_, Vec<_>) = (ident(module), names.iter().map(|name| ident(name)).collect());
        match &names[..] {
            [one] => quote! { pub use #rt::#module::#one; },
            several => quote! { pub use #rt::#module::{#(#several),*}; },
        }
    });
    quote! { #(#exports)* }
}

/// What the type of a network with linked weights is.
pub(super) fn model_doc(compiled: &Compiled<'_>) -> String {
    format!(
        "{}: {} to {}. It is cheap to clone, and sessions of all threads share it.",
        compiled.signature.name,
        tensor_list(&compiled.signature.inputs),
        tensor_list(&compiled.signature.outputs)
    )
}

/// `avx512, avx2 and base`.
pub(super) fn target_list(compiled: &Compiled<'_>) -> String {
    let names: Vec<&str> = compiled.targets().map(|target| target.name()).collect();
    match &names[..] {
        [] => "no target".to_owned(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// ``image` (1×3×224×224)`, and ``pixels` (u8, 1×3×96×96)` where elements are not f32.
pub(super) fn tensor_list(tensors: &[Tensor]) -> String {
    let tensor = |tensor: &Tensor| {
        let extents: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        let dtype = if tensor.dtype == DType::F32 { String::new() } else { format!("{}, ", tensor.dtype) };
        format!("`{}` ({dtype}{})", tensor.name, extents.join("×"))
    };
    tensors.iter().map(tensor).collect::<Vec<_>>().join(", ")
}
