//! A network as one file that a crate includes in a module: what an emitted crate holds, nested, runtime and all.

use proc_macro2::TokenStream;
use quote::quote;

use super::api::{WeightsFrom, api};
use super::compiled::{Compiled, Error};
use super::emit::{model_doc, runtime_types};
use super::weights::LinkedFile;
use super::{modules, network, plan, print, weights};

/// How a file to include is made.
#[derive(Clone, Debug)]
pub struct ModuleOptions {
    /// What it was made from, for its first line: `mobilenet_v2.net`.
    pub source: String,
    /// The package that includes it.
    pub package: String,
    /// The name of its weights file, which lies in the package's `OUT_DIR`.
    pub weights_file: String,
    /// The content hash of that file, as its writer returned it.
    pub content_hash: u64,
}

/// The text for `mod model { include!(…); }`. It names nothing outside of itself but `core` and `std`.
///
/// # Errors
/// A program that this back end cannot write.
pub fn emit_module(compiled: &Compiled<'_>, options: &ModuleOptions) -> Result<String, Error> {
    // Modules see the runtime under one name, wherever the file is included.
    let rt = quote! { self::rt };
    let imports = quote! { use super::rt; };
    let file = LinkedFile {
        content_hash: Some(options.content_hash),
        owner: &options.package,
        folder: "OUT_DIR",
        name: &options.weights_file,
        place: "in `OUT_DIR`",
        feature: None,
    };
    let kernels = modules::kernels(compiled, &rt).tokens(&imports);
    let plan = plan::plan(compiled, &rt)?.tokens(&imports);
    let weights = weights::linked(compiled, &rt, &file).tokens(&imports);
    let network = network::network(compiled, &rt).tokens(&imports);
    let api = api(compiled, &rt, WeightsFrom::File { feature: None }, &model_doc(compiled));
    let (types, lints) = (runtime_types(&rt), lints());
    let (error, when) = match modules::architectures(compiled) {
        Some(architectures) => {
            let any = architectures.condition();
            (architectures.error("add `Target::Portable` to the `.targets` of its `Build`"), quote! { #[cfg(#any)] })
        }
        None => (quote! {}, quote! {}),
    };
    let attributes = quote! { #when #lints };
    let text = print::file(
        &print::generated_from(&options.source),
        quote! {
            #error

            #attributes
            pub use model::*;

            #attributes
            mod model {
                use super::{network, rt, weights};
                #types
                #api
            }

            #attributes
            #network
            #attributes
            #kernels
            #attributes
            #plan
            #attributes
            #weights
        },
    )?;
    let opened = print::items(quote! { #attributes mod rt {} })?;
    let targets: Vec<_> = compiled.targets().collect();
    let runtime = kiln_rt::sources::as_one_text(&targets);
    Ok(format!("{text}\n{}{{\n{runtime}}}\n", opened.trim_end().trim_end_matches("{}")))
}

/// Included code is the crate's own to the compiler: no lint of the crate is about it.
fn lints() -> TokenStream {
    quote! {
        #[allow(
            warnings,
            missing_docs,
            unreachable_pub,
            unsafe_code,
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            clippy::restriction,
            reason = "generated; a program uses the parts that it needs"
        )]
    }
}
