//! A network as the expansion of a macro: the same modules and types, nested in one module, with weights that are
//! computed when it is loaded.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::api::{WeightsFrom, api, types};
use super::compiled::{Compiled, Error};
use super::print::without_comments;
use super::{modules, network, plan, weights};

/// How a network is expanded.
#[derive(Clone, Debug)]
pub struct ExpandOptions {
    /// The path of the runtime: `$crate::__private`.
    pub runtime: TokenStream,
    /// The visibility of the network's type.
    pub visibility: TokenStream,
    /// The doc comment of the network's type.
    pub about: String,
}

/// The items that a network's declaration stands for: its type and its session's, in a module of their own.
///
/// # Errors
/// A program that this back end cannot write.
pub fn emit_tokens(compiled: &Compiled<'_>, options: &ExpandOptions) -> Result<TokenStream, Error> {
    let rt = &options.runtime;
    let none = TokenStream::new();
    let kernels = modules::kernels(compiled, rt).tokens(&none);
    let plan = plan::plan(compiled, rt)?.tokens(&none);
    let weights = weights::evaluated(compiled, rt).tokens(&none);
    let network = network::network(compiled, rt).tokens(&none);
    let api = api(compiled, rt, WeightsFrom::SafeTensors, &options.about);
    let (model, session) = types(compiled, WeightsFrom::SafeTensors);
    // As many modules as types: what differs by case alone is two.
    let module = format_ident!("__{model}");
    let visibility = &options.visibility;
    Ok(without_comments(quote! {
        #[doc(hidden)]
        #[allow(
            clippy::all,
            clippy::pedantic,
            clippy::undocumented_unsafe_blocks,
            dead_code,
            missing_docs,
            non_snake_case,
            unreachable_pub,
            reason = "generated; a program uses the parts that it needs"
        )]
        mod #module {
            #kernels
            #plan
            #weights
            #network
            #api
        }
        #[allow(unused_imports, reason = "a program need not name its session's type")]
        #visibility use #module::{#model, #session};
    }))
}
