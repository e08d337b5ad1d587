//! The type for programs without a system: one thread, on memory that the caller lends.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::api::types;
use super::compiled::{Compiled, Tensor};
use super::emit::{EMBED, LINKED};
use super::module::Module;
use super::names::Namer;
use super::print::doc;

/// The name of the type.
pub(super) fn type_name(compiled: &Compiled<'_>) -> Ident {
    format_ident!("{}LentSession", types(compiled, LINKED).0)
}

/// The module `lent` of a crate; `rt` is the path of the runtime.
pub(super) fn lent(compiled: &Compiled<'_>, rt: &TokenStream) -> Module {
    let name = type_name(compiled);
    let mut names = Namer::without(&["self"]);
    let signature = &compiled.signature;
    let inputs: Vec<Ident> = signature.inputs.iter().map(|tensor| names.fresh(&tensor.name)).collect();
    let outputs: Vec<Ident> = signature.outputs.iter().map(|tensor| names.fresh(&tensor.name)).collect();
    let input_types = signature.inputs.iter().map(Tensor::rust_type);
    let output_types = signature.outputs.iter().map(Tensor::rust_type);
    let about = doc(&format!(
        "Runs {} on one thread and on lent memory; it needs no allocator and no system.\n\n\
         Memory may start at any `f32`, and what arena and scratch hold does not matter. Where they and the weights start \
         at a multiple of 64 bytes it is fastest.",
        compiled.signature.name
    ));
    Module {
        name: "lent".to_owned(),
        doc: "The network on memory that the caller lends.".to_owned(),
        attributes: quote! {},
        items: quote! {
            use crate::{network, plan, weights};
            use #rt::lent::{LentError, LentSession};
            use #rt::plan::{largest_arena, largest_scratch};
            use #rt::target::{AvailableTarget, Target};
            use #rt::tensor::TensorInfo;

            #about
            #[derive(Debug)]
            pub struct #name<'m>(LentSession<'m>);

            impl<'m> #name<'m> {
                /// Names and shapes of the inputs, in order.
                pub const INPUTS: &'static [TensorInfo] = network::INPUTS;
                /// Names and shapes of the outputs, in order.
                pub const OUTPUTS: &'static [TensorInfo] = network::OUTPUTS;
                /// The elements of an arena that does for each of the targets.
                pub const ARENA: usize = largest_arena(plan::PLANS);
                /// The elements of a scratch that does for each of the targets.
                pub const SCRATCH: usize = largest_scratch(plan::PLANS);
                /// The length of the packed weights file, in bytes.
                pub const WEIGHTS_BYTES: usize = weights::LAYOUT.bytes;

                /// A session on `target` with the bytes of the packed weights file, which are used in place.
                ///
                /// # Errors
                /// A target that was not built; a file that is cut, damaged, or not the one that this code was built
                /// with; memory that is too short.
                pub fn new(
                    target: AvailableTarget,
                    weights: &'m [u8],
                    arena: &'m mut [f32],
                    scratch: &'m mut [f32],
                ) -> ::core::result::Result<Self, LentError> {
                    LentSession::new(&network::NETWORK, target, weights, arena, scratch).map(Self)
                }

                /// A session on `target` with the weights in the program.
                ///
                /// # Errors
                /// A target that was not built, or memory that is too short.
                #[cfg(feature = #EMBED)]
                pub fn linked(
                    target: AvailableTarget,
                    arena: &'m mut [f32],
                    scratch: &'m mut [f32],
                ) -> ::core::result::Result<Self, LentError> {
                    Self::new(target, weights::file(), arena, scratch)
                }

                /// The target that it runs on.
                pub fn target(&self) -> Target {
                    self.0.target()
                }

                /// Runs once.
                ///
                /// # Errors
                /// An input or output of another length.
                pub fn run(
                    &mut self,
                    #(#inputs: &[#input_types],)*
                    #(#outputs: &mut [#output_types]),*
                ) -> ::core::result::Result<(), LentError> {
                    self.0.run([#(::core::convert::Into::into(#inputs)),*], [#(::core::convert::Into::into(#outputs)),*])
                }
            }
        },
        children: vec![],
    }
}
