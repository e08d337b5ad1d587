//! A crate's interface for C: the module `capi`, whose functions `header` declares.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::compiled::{Compiled, Tensor};
use super::emit::{CAPI, CrateOptions, EMBED, STD};
use super::module::Module;
use super::names::Namer;
use super::print::{comment, doc};

/// Words that C or C++ keep for themselves and Rust does not, what headers of systems define as macros, and names of what is
/// around: parameters, and what the examples call.
const RESERVED: &str = "alignas alignof and and_eq asm auto bitand bitor bool case catch char char8_t char16_t char32_t \
    class compl concept consteval constexpr constinit const_cast co_await co_return co_yield decltype default delete \
    double dynamic_cast explicit export float friend goto inline int int32_t int8_t uint8_t long mutable namespace new noexcept not \
    not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict short signed \
    size_t sizeof static_assert static_cast switch template this thread_local throw typedef typeid typename typeof_unqual \
    union unsigned using void volatile wchar_t xor xor_eq complex emit errno far i386 imaginary interface linux near \
    noreturn signals slots small stderr stdin stdout unix session model target threads memory bytes status main printf \
    fprintf";

/// The functions of a crate, and what they take.
pub(super) struct Interface<'a> {
    pub(super) compiled: &'a Compiled<'a>,
    /// What all names start with: the crate's name.
    pub(super) prefix: String,
    pub(super) inputs: Vec<Parameter<'a>>,
    pub(super) outputs: Vec<Parameter<'a>>,
}

/// An input or output: a pointer and a length.
pub(super) struct Parameter<'a> {
    pub(super) tensor: &'a Tensor,
    pub(super) pointer: Ident,
    pub(super) len: Ident,
}

impl<'a> Interface<'a> {
    /// The interface of a crate.
    pub(super) fn of(compiled: &'a Compiled<'a>, options: &CrateOptions) -> Self {
        let mut names = Namer::without(&RESERVED.split_ascii_whitespace().collect::<Vec<_>>());
        let mut parameters = |tensors: &'a [Tensor]| -> Vec<Parameter<'a>> {
            let parameter = |tensor: &'a Tensor| {
                let pointer = names.fresh(&tensor.name);
                let len = names.fresh(&format!("{pointer}_len"));
                Parameter { tensor, pointer, len }
            };
            tensors.iter().map(parameter).collect()
        };
        let (inputs, outputs) = (parameters(&compiled.signature.inputs), parameters(&compiled.signature.outputs));
        Interface { compiled, prefix: options.package.prefix(), inputs, outputs }
    }

    /// The module `capi`; `rt` is the path of the runtime.
    pub(super) fn module(&self, rt: &TokenStream) -> Module {
        Module {
            name: "capi".to_owned(),
            doc: format!("The functions that `include/{}.h` declares.", self.prefix),
            attributes: quote! { #[cfg(feature = #CAPI)] },
            items: quote! {},
            children: vec![self.sessions(rt), self.lent(rt)],
        }
    }

    /// The functions with threads; they need `std`.
    fn sessions(&self, rt: &TokenStream) -> Module {
        let [load, load_from, session, run, target, session_free, free, last_error] =
            ["load", "load_from", "session", "run", "target", "session_free", "free", "last_error"]
                .map(|verb| self.function(verb));
        let (parameters, inputs, outputs) = self.tensors();
        let (safety, contract) = (safety(), contract());
        Module {
            name: "sessions".to_owned(),
            doc: "Models and sessions, with threads.".to_owned(),
            attributes: quote! { #[cfg(feature = #STD)] },
            items: quote! {
                use ::core::ffi::{c_char, c_int};

                use crate::network::NETWORK;
                use #rt::foreign;
                #[cfg(feature = #EMBED)]
                use #rt::model::Weights;
                use #rt::model::Model;
                use #rt::session::Session;

                /// Loads the model with the weights in the program.
                #contract
                #[cfg(feature = #EMBED)]
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #load(target: *const c_char, model: *mut *mut Model) -> c_int {
                    #safety
                    unsafe { foreign::load(&NETWORK, Weights::Static(crate::weights::file()), target, model) }
                }

                /// Loads the model with the bytes of its weights file.
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #load_from(
                    weights: *const u8,
                    bytes: usize,
                    target: *const c_char,
                    model: *mut *mut Model,
                ) -> c_int {
                    #safety
                    unsafe { foreign::load_from(&NETWORK, weights, bytes, target, model) }
                }

                /// The name of the target that a model runs on, null for no model.
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #target(model: *const Model) -> *const c_char {
                    #safety
                    unsafe { foreign::target(model) }
                }

                /// Starts a session.
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #session(
                    model: *const Model,
                    threads: usize,
                    session: *mut *mut Session,
                ) -> c_int {
                    #safety
                    unsafe { foreign::session(model, threads, session) }
                }

                /// Runs once.
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #run(session: *mut Session, #parameters) -> c_int {
                    #safety
                    unsafe { foreign::run(session, #inputs, #outputs) }
                }

                /// Ends a session.
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #session_free(session: *mut Session) {
                    #safety
                    unsafe { foreign::free(session) }
                }

                /// Frees a model.
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #free(model: *mut Model) {
                    #safety
                    unsafe { foreign::free(model) }
                }

                /// Why the last call of this thread that failed did so.
                #[unsafe(no_mangle)]
                pub extern "C" fn #last_error() -> *const c_char {
                    foreign::last_error()
                }
            },
            children: vec![],
        }
    }

    /// The functions on lent memory.
    fn lent(&self, rt: &TokenStream) -> Module {
        let [lent, lent_from, lent_run] = ["lent", "lent_from", "lent_run"].map(|verb| self.function(verb));
        let (parameters, inputs, outputs) = self.tensors();
        let (safety, contract) = (safety(), contract());
        Module {
            name: "lent".to_owned(),
            doc: "Sessions on memory that the caller lends.".to_owned(),
            attributes: quote! {},
            items: quote! {
                use ::core::ffi::{c_char, c_int, c_void};

                use crate::network::NETWORK;
                use #rt::foreign_lent;
                use #rt::lent::LentSession;

                /// Makes a session with the weights in the program.
                #contract
                #[cfg(feature = #EMBED)]
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #lent(
                    memory: *mut c_void,
                    bytes: usize,
                    target: *const c_char,
                    session: *mut *mut LentSession<'static>,
                ) -> c_int {
                    let file = crate::weights::file();
                    #safety
                    unsafe {
                        foreign_lent::lent(&NETWORK, memory, bytes, file.as_ptr().cast(), file.len(), target, session)
                    }
                }

                /// Makes a session with the bytes of the weights file.
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #lent_from(
                    memory: *mut c_void,
                    bytes: usize,
                    weights: *const c_void,
                    weights_bytes: usize,
                    target: *const c_char,
                    session: *mut *mut LentSession<'static>,
                ) -> c_int {
                    #safety
                    unsafe { foreign_lent::lent(&NETWORK, memory, bytes, weights, weights_bytes, target, session) }
                }

                /// Runs once.
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #lent_run(session: *mut LentSession<'static>, #parameters) -> c_int {
                    #safety
                    unsafe { foreign_lent::run_lent(session, #inputs, #outputs) }
                }
            },
            children: vec![],
        }
    }

    /// The name of a function.
    fn function(&self, verb: &str) -> Ident {
        format_ident!("{}_{verb}", self.prefix)
    }

    /// Inputs and outputs as parameters, and as arrays of pairs.
    fn tensors(&self) -> (TokenStream, TokenStream, TokenStream) {
        let inputs = self.inputs.iter().map(|input| input.types(&quote! { *const }));
        let outputs = self.outputs.iter().map(|output| output.types(&quote! { *mut }));
        let parameters = quote! { #(#inputs,)* #(#outputs),* };
        let pairs = |parameters: &[Parameter<'_>]| {
            let pairs = parameters.iter().map(Parameter::pair);
            quote! { [#(#pairs),*] }
        };
        (parameters, pairs(&self.inputs), pairs(&self.outputs))
    }
}

fn safety() -> TokenStream {
    comment("SAFETY: what the header asks of the caller.")
}

fn contract() -> TokenStream {
    doc("\n# Safety\nWhat the header asks of the caller.")
}

impl Parameter<'_> {
    /// Pointer and length as a pair.
    fn pair(&self) -> TokenStream {
        let Parameter { pointer, len, .. } = self;
        quote! { (#pointer.cast(), #len) }
    }

    /// Both as parameters of a function.
    fn types(&self, kind: &TokenStream) -> TokenStream {
        let Parameter { pointer, len, tensor } = self;
        let of = tensor.rust_type();
        quote! { #pointer: #kind #of, #len: usize }
    }
}
