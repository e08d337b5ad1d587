//! The module of the network: all that is constant about it.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::compiled::{Compiled, Tensor};
use super::module::Module;
use super::names::ident;
use super::print::comment;

/// The module `network`, beside `plan` and `weights`; `rt` is the path of the runtime.
pub(super) fn network(compiled: &Compiled<'_>, rt: &TokenStream) -> Module {
    let name = &compiled.signature.name;
    let (inputs, outputs) = (infos(&compiled.signature.inputs), infos(&compiled.signature.outputs));
    let safety = comment(
        "SAFETY: every step of the plans stays within its arguments, and units of a step, and steps without a barrier \
         between them, touch nothing that another one writes: the verifier proved it for each program.",
    );
    Module {
        name: "network".to_owned(),
        doc: "All that is constant about the network.".to_owned(),
        attributes: quote! {},
        items: quote! {
            use super::{plan, weights};
            use #rt::network::Network;
            use #rt::tensor::{DType, TensorInfo};

            /// Names and shapes of the inputs, in order.
            pub const INPUTS: &[TensorInfo] = &[#(#inputs),*];

            /// Names and shapes of the outputs, in order.
            pub const OUTPUTS: &[TensorInfo] = &[#(#outputs),*];

            #safety
            pub static NETWORK: Network =
                unsafe { Network::new(#name, INPUTS, OUTPUTS, plan::PLANS, weights::LAYOUT) };
        },
        children: vec![],
    }
}

fn infos(tensors: &[Tensor]) -> Vec<TokenStream> {
    let info = |Tensor { name, dtype, shape }: &Tensor| {
        let extents = shape.iter().map(|extent| Literal::usize_unsuffixed(*extent));
        let dtype = ident(&dtype.to_string().to_uppercase());
        quote! { TensorInfo { name: #name, dtype: DType::#dtype, shape: &[#(#extents),*] } }
    };
    tensors.iter().map(info).collect()
}
