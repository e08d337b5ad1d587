//! The types that users of a compiled network see. Crates and expansions differ in where weights come from, and in
//! nothing else. A type may be called as any of the standard library's, so those are named by their paths.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{ToTokens, quote};

use super::compiled::{Compiled, Tensor};
use super::emit::runtime_type_names;
use super::names::{Namer, camel, ident, upper};
use super::print::doc;

/// Where a model's weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WeightsFrom {
    /// A packed file, which is linked into the program: always, or where a feature says so.
    File { feature: Option<&'static str> },
    /// The caller gives a safetensors file.
    SafeTensors,
}

/// The names of the types of the network `net` where it is declared in a program: of its model and its session.
pub fn type_names(net: &str) -> [String; 2] {
    let model = camel(net);
    let session = format!("{model}Session");
    [model, session]
}

/// The names of the model's type and its session's. Those that come with the runtime's types have other names.
pub(super) fn types(compiled: &Compiled<'_>, from: WeightsFrom) -> (Ident, Ident) {
    let name = &compiled.signature.name;
    let [mut model, mut session] = type_names(name);
    if let WeightsFrom::File { .. } = from
        && runtime_type_names().any(|taken| taken == model)
    {
        [model, session] = type_names(&format!("Net {model}"));
    }
    (ident(&model), ident(&session))
}

/// The types; `rt` is the path of the runtime. They stand where the modules `network` and `weights` are in scope.
pub(super) fn api(compiled: &Compiled<'_>, rt: &TokenStream, from: WeightsFrom, about: &str) -> TokenStream {
    let (model, session) = types(compiled, from);
    let load = loaders(rt, from);
    let methods = session_methods(compiled, rt, &session);
    let about = doc(about);
    let session_doc = doc(&format!("Runs [`{model}`]: memory and workers of one caller."));
    quote! {
        #about
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        pub struct #model(#rt::model::Model);

        impl #model {
            /// Names and shapes of the inputs, in order.
            pub const INPUTS: &'static [#rt::tensor::TensorInfo] = network::INPUTS;
            /// Names and shapes of the outputs, in order.
            pub const OUTPUTS: &'static [#rt::tensor::TensorInfo] = network::OUTPUTS;

            #load

            /// The target that it runs on.
            pub fn target(&self) -> #rt::target::Target {
                self.0.target()
            }

            /// A session with its own memory and so many threads, the caller's among them.
            pub fn session(&self, threads: #rt::session::Threads) -> #session {
                #session(self.0.session(threads))
            }
        }

        #session_doc
        #[derive(Debug)]
        pub struct #session(#rt::session::Session);

        #methods
    }
}

fn loaders(rt: &TokenStream, from: WeightsFrom) -> TokenStream {
    match from {
        WeightsFrom::File { feature } => {
            let when = feature.map(|feature| quote! { #[cfg(feature = #feature)] });
            quote! {
                /// The model on the best target that this processor has, with the weights in the program.
                ///
                /// # Errors
                /// Weights that are not those that this code was built with, or a processor that has none of the targets.
                #when
                pub fn load() -> ::core::result::Result<Self, #rt::model::LoadError> {
                    Self::load_from(#rt::model::Weights::Static(weights::file()))
                }

                /// The model on one target, with the weights in the program.
                ///
                /// # Errors
                /// A target that this processor lacks or that was not built, or weights that are not those of this code.
                #when
                pub fn load_for(target: #rt::target::Target) -> ::core::result::Result<Self, #rt::model::LoadError> {
                    Self::load_from_for(#rt::model::Weights::Static(weights::file()), target)
                }

                /// The model on the best target that this processor has, with the bytes of its packed weights file: a
                /// slice is copied, `Weights::Static` stays where it is.
                ///
                /// # Errors
                /// As [`Self::load_from_for`], or a processor that has none of the targets.
                pub fn load_from<'w>(
                    file: impl ::core::convert::Into<#rt::model::Weights<'w>>,
                ) -> ::core::result::Result<Self, #rt::model::LoadError> {
                    #rt::model::Model::from_packed(&network::NETWORK, file, ::core::option::Option::None).map(Self)
                }

                /// The same on one target.
                ///
                /// # Errors
                /// A file that is cut, damaged, or not the one that this code was built with; a target that this
                /// processor lacks or that was not built.
                pub fn load_from_for<'w>(
                    file: impl ::core::convert::Into<#rt::model::Weights<'w>>,
                    target: #rt::target::Target,
                ) -> ::core::result::Result<Self, #rt::model::LoadError> {
                    #rt::model::Model::from_packed(&network::NETWORK, file, ::core::option::Option::Some(target)).map(Self)
                }
            }
        }
        WeightsFrom::SafeTensors => quote! {
            /// The model with the weights of a safetensors file, on the best target that this processor has.
            ///
            /// # Errors
            /// What the file lacks or has in another shape, all of it; or a processor that has none of the targets.
            pub fn load(file: &[u8]) -> ::core::result::Result<Self, #rt::load::LoadError> {
                Self::load_with(file, &#rt::load::LoadOptions::new())
            }

            /// The model with the weights of a safetensors file, on one target.
            ///
            /// # Errors
            /// As [`Self::load`], and a target that this processor lacks or that was not built.
            pub fn load_for(file: &[u8], target: #rt::target::Target) -> ::core::result::Result<Self, #rt::load::LoadError> {
                Self::load_with(file, &#rt::load::LoadOptions::new().target(target))
            }

            /// The model with the weights of a safetensors file whose names have prefixes, as `module.`.
            ///
            /// # Errors
            /// As [`Self::load_for`], and two names that are one without their prefixes.
            pub fn load_with(
                file: &[u8],
                options: &#rt::load::LoadOptions,
            ) -> ::core::result::Result<Self, #rt::load::LoadError> {
                #rt::load::load(&network::NETWORK, weights::PROGRAM, file, options).map(Self)
            }
        },
    }
}

fn session_methods(compiled: &Compiled<'_>, rt: &TokenStream, session: &Ident) -> TokenStream {
    let (inputs, outputs) = (&compiled.signature.inputs, &compiled.signature.outputs);
    let mut names = Namer::without(&["self", "session"]);
    let input_names: Vec<Ident> = inputs.iter().map(|tensor| names.fresh(&tensor.name)).collect();
    let output_names: Vec<Ident> = outputs.iter().map(|tensor| names.fresh(&tensor.name)).collect();
    // What stands in for a network with mistakes takes arrays of any length.
    let open = compiled.programs.is_empty();
    let len = |name: &Ident, tensor: &Tensor| match open {
        true => ident(&upper(&name.to_string())).into_token_stream(),
        false => Literal::usize_unsuffixed(tensor.elements()).into_token_stream(),
    };
    let lens = |names: &[Ident], tensors: &[Tensor]| -> Vec<TokenStream> {
        names.iter().zip(tensors).map(|(name, tensor)| len(name, tensor)).collect()
    };
    let (input_lens, output_lens) = (lens(&input_names, inputs), lens(&output_names, outputs));
    let parameters = open.then(|| quote! { <#(const #input_lens: usize,)* #(const #output_lens: usize),*> });
    let (input_types, output_types): (Vec<Ident>, Vec<Ident>) =
        (inputs.iter().map(Tensor::rust_type).collect(), outputs.iter().map(Tensor::rust_type).collect());
    let elements = quote! { #rt::tensor::Elements };
    let input_type = match only_type(inputs) {
        Some(only) => quote! { &[#only] },
        None => quote! { #elements<'_> },
    };
    let (output_type, of_output) = match only_type(outputs) {
        Some(only) => (quote! { &[#only] }, quote! { .and_then(#rt::tensor::Element::elements) }),
        None => (quote! { #elements<'_> }, quote! {}),
    };
    let one = (inputs.len() == 1).then(|| {
        let (name, of, gives) = (&input_names[0], &input_types[0], &output_types[0]);
        let text = match outputs.len() {
            1 => "Runs once and returns the output.",
            _ => "Runs once and returns the first output; [`Self::output`] gives all.",
        };
        let text = doc(text);
        quote! {
            #text
            ///
            /// # Errors
            /// An input of another length.
            pub fn run(&mut self, #name: &[#of]) -> ::core::result::Result<&[#gives], #rt::session::RunError> {
                self.0.run(#name)
            }
        }
    });
    quote! {
        impl #session {
            #one

            /// Runs once with each input by its name, in any order; [`Self::output`] gives the results.
            ///
            /// # Errors
            /// An input that is unknown, given twice, missing, or of another length.
            pub fn run_named(&mut self, inputs: &[(&str, #input_type)]) -> ::core::result::Result<(), #rt::session::RunError> {
                self.0.run_named(inputs)
            }

            /// The same for programs that serve networks of any types.
            ///
            /// # Errors
            /// As [`Self::run_named`], and elements of another type.
            pub fn run_elements(&mut self, inputs: &[(&str, #elements<'_>)]) -> ::core::result::Result<(), #rt::session::RunError> {
                self.0.run_named(inputs)
            }

            /// Runs once, from and to arrays of the right sizes.
            ///
            /// # Panics
            /// If there was no memory for the session.
            pub fn run_array #parameters (
                &mut self,
                #(#input_names: &[#input_types; #input_lens],)*
                #(#output_names: &mut [#output_types; #output_lens]),*
            ) {
                if let ::core::result::Result::Err(error) = self.0.run_into(&[#(::core::convert::Into::into(#input_names)),*], &mut [#(::core::convert::Into::into(#output_names)),*]) {
                    ::core::panic!("{error}");
                }
            }

            /// Runs once with the inputs in order and says how long each step took.
            ///
            /// # Errors
            /// Another number of inputs, or one of another length or type.
            pub fn profile(&mut self, inputs: &[#elements<'_>]) -> ::core::result::Result<::std::vec::Vec<#rt::run::StepTime>, #rt::session::RunError> {
                self.0.profile(inputs)
            }

            /// An output of the last run by its name; zeros before the first.
            pub fn output(&self, name: &str) -> ::core::option::Option<#output_type> {
                self.0.output(name)#of_output
            }

            /// The same for programs that serve networks of any types.
            pub fn elements(&self, name: &str) -> ::core::option::Option<#elements<'_>> {
                self.0.output(name)
            }

            /// How many threads it has.
            pub fn threads(&self) -> usize {
                self.0.threads()
            }
        }
    }
}

/// The type of all tensors' elements, if they have one.
fn only_type(tensors: &[Tensor]) -> Option<Ident> {
    let first = tensors.first()?;
    tensors.iter().all(|tensor| tensor.dtype == first.dtype).then(|| first.rust_type())
}
