//! A crate's interface for C: the module `capi`, and the header that declares its functions.

use std::fmt::Write;

use kiln_rt::foreign::Status;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::compiled::{Compiled, Tensor};
use super::emit::{CAPI, CrateOptions, EMBED, target_list};
use super::module::Module;
use super::names::{Namer, snake};
use super::print::{comment, doc};
use crate::graph::DType;

/// Words that C or C++ keep for themselves and Rust does not, and names of the parameters around.
const RESERVED: &str = "alignas alignof and and_eq asm auto bitand bitor bool case catch char char8_t char16_t char32_t \
    class compl concept consteval constexpr constinit const_cast co_await co_return co_yield decltype default delete \
    double dynamic_cast explicit export float friend goto inline int int32_t int8_t uint8_t long mutable namespace new noexcept not \
    not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict short signed \
    size_t sizeof static_assert static_cast switch template this thread_local throw typedef typeid typename typeof_unqual \
    union unsigned using void volatile wchar_t xor xor_eq linux unix i386 session model target threads";

/// The functions of a crate, and what they take.
pub(super) struct Interface<'a> {
    compiled: &'a Compiled<'a>,
    /// What all names start with: the crate's name.
    prefix: String,
    inputs: Vec<Parameter<'a>>,
    outputs: Vec<Parameter<'a>>,
}

/// An input or output: a pointer and a length.
struct Parameter<'a> {
    tensor: &'a Tensor,
    pointer: Ident,
    len: Ident,
}

impl<'a> Interface<'a> {
    /// The interface of a crate.
    pub(super) fn of(compiled: &'a Compiled<'a>, options: &CrateOptions) -> Self {
        let mut names = Namer::default();
        RESERVED.split_whitespace().for_each(|word| names.reserve(word));
        let mut parameters = |tensors: &'a [Tensor]| -> Vec<Parameter<'a>> {
            let parameter = |tensor: &'a Tensor| {
                let pointer = names.fresh(&tensor.name);
                let len = names.fresh(&format!("{pointer}_len"));
                Parameter { tensor, pointer, len }
            };
            tensors.iter().map(parameter).collect()
        };
        let (inputs, outputs) = (parameters(&compiled.signature.inputs), parameters(&compiled.signature.outputs));
        Interface { compiled, prefix: snake(&options.package), inputs, outputs }
    }

    /// What all names start with, and the header is called.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The module `capi`; `rt` is the path of the runtime.
    pub(super) fn module(&self, rt: &TokenStream) -> Module {
        let name = |verb: &str| format_ident!("{}_{verb}", self.prefix);
        let [load, load_from, session, run, target, session_free, free, last_error] =
            ["load", "load_from", "session", "run", "target", "session_free", "free", "last_error"].map(name);
        let inputs: Vec<TokenStream> = self.inputs.iter().map(Parameter::pair).collect();
        let outputs: Vec<TokenStream> = self.outputs.iter().map(Parameter::pair).collect();
        let input_types = self.inputs.iter().map(|input| input.types(&quote! { *const }));
        let output_types = self.outputs.iter().map(|output| output.types(&quote! { *mut }));
        let safety = comment("SAFETY: what the header asks of the caller.");
        let contract = doc("\n# Safety\nWhat the header asks of the caller.");
        let about = |text: &str| doc(text);
        let texts = [
            "Loads the model with the weights in the program.",
            "Loads the model with the bytes of its weights file.",
            "Starts a session.",
            "Runs once.",
            "The name of the target that a model runs on, null for no model.",
            "Ends a session.",
            "Frees a model.",
            "Why the last call of this thread that failed did so.",
        ];
        let [load_doc, load_from_doc, session_doc, run_doc, target_doc, session_free_doc, free_doc, last_error_doc] =
            texts.map(about);
        Module {
            name: "capi".to_owned(),
            doc: format!("The functions that `include/{}.h` declares.", self.prefix),
            attributes: quote! { #[cfg(feature = #CAPI)] },
            items: quote! {
                use core::ffi::{c_char, c_int};

                use crate::network::NETWORK;
                use #rt::foreign;
                #[cfg(feature = #EMBED)]
                use #rt::model::Weights;
                use #rt::model::Model;
                use #rt::session::Session;

                #load_doc
                #contract
                #[cfg(feature = #EMBED)]
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #load(target: *const c_char, model: *mut *mut Model) -> c_int {
                    #safety
                    unsafe { foreign::load(&NETWORK, Weights::Static(crate::weights::file()), target, model) }
                }

                #load_from_doc
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

                #target_doc
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #target(model: *const Model) -> *const c_char {
                    #safety
                    unsafe { foreign::target(model) }
                }

                #session_doc
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

                #run_doc
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #run(
                    session: *mut Session,
                    #(#input_types,)*
                    #(#output_types),*
                ) -> c_int {
                    #safety
                    unsafe { foreign::run(session, [#(#inputs),*], [#(#outputs),*]) }
                }

                #session_free_doc
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #session_free(session: *mut Session) {
                    #safety
                    unsafe { foreign::free(session) }
                }

                #free_doc
                #contract
                #[unsafe(no_mangle)]
                pub unsafe extern "C" fn #free(model: *mut Model) {
                    #safety
                    unsafe { foreign::free(model) }
                }

                #last_error_doc
                #[unsafe(no_mangle)]
                pub extern "C" fn #last_error() -> *const c_char {
                    foreign::last_error()
                }
            },
            children: vec![],
        }
    }

    /// The text of the header.
    pub(super) fn header(&self, made_by: &str) -> String {
        let (name, macros) = (&self.prefix, self.prefix.to_ascii_uppercase());
        let network = in_comment(&self.compiled.signature.name);
        let made_by = in_comment(made_by);
        let mut constants = String::new();
        for (what, parameters) in [("Input", &self.inputs), ("Output", &self.outputs)] {
            for parameter in parameters {
                constants += &parameter.constants(what, &macros);
            }
        }
        let bytes = self.compiled.packing.file_bytes();
        let statuses: String = Status::ALL
            .into_iter()
            .map(|status| {
                format!("    /** {} */\n    {macros}_{} = {},\n", meaning(status), constant(status), status as i32)
            })
            .collect();
        let statuses = statuses.trim_end_matches(",\n");
        let parameters = |parameters: &[Parameter<'_>], kind: &str| -> String {
            let text = |Parameter { pointer, len, tensor }: &Parameter<'_>| {
                format!(",\n    {kind}{} *{pointer}, size_t {len}", c_type(tensor.dtype))
            };
            parameters.iter().map(text).collect()
        };
        let (inputs, outputs) = (parameters(&self.inputs, "const "), parameters(&self.outputs, ""));
        let integers = self.inputs.iter().chain(&self.outputs).any(|parameter| parameter.tensor.dtype != DType::F32);
        let stdint = if integers { "#include <stdint.h>\n" } else { "" };
        let lengths: Vec<String> = self
            .inputs
            .iter()
            .chain(&self.outputs)
            .map(|Parameter { pointer, len, .. }| format!("`{len}` must be {}", macro_name(&macros, pointer, "LEN")))
            .collect();
        format!(
            "/* {made_by} */\n\
             #ifndef {macros}_H\n\
             #define {macros}_H\n\n\
             #include <stddef.h>\n{stdint}\n\
             /**\n\
             \x20* {network} for {targets}, made by kiln. Build the library with\n\
             \x20*\n\
             \x20*     cargo rustc --lib --release --features capi --crate-type staticlib\n\
             \x20*\n\
             \x20* or `cdylib`. Shapes are static: the lengths below are those of this network and no others.\n\
             \x20*\n\
             \x20* A function that can fail returns an `enum {name}_status`. For all but {macros}_OK,\n\
             \x20* {name}_last_error() says why. A defect of the library that it detects itself, a panic, ends the\n\
             \x20* process; no input is known to cause one.\n\
             \x20*\n\
             \x20* What this library gives, it frees: with {name}_session_free() and {name}_free(), in any order.\n\
             \x20*/\n\n\
             #ifdef __cplusplus\n\
             extern \"C\" {{\n\
             #endif\n\n\
             {constants}\
             /** The bytes of the weights file, `weights.bin`. */\n\
             #define {macros}_WEIGHTS_BYTES {bytes}\n\n\
             /** What a call returns. */\n\
             enum {name}_status {{\n{statuses}\n}};\n\n\
             /** A network with its weights. Any number of threads and sessions may share it. */\n\
             typedef struct {name}_model {name}_model_t;\n\n\
             /** Memory and threads of one caller: two threads must not use one at the same time. It outlives its model. */\n\
             typedef struct {name}_session {name}_session_t;\n\n\
             /**\n\
             \x20* Loads the network with the weights in the library. It is there if the library was built with the feature\n\
             \x20* `embed`, as it is by default.\n\
             \x20*\n\
             \x20* `target` is {target_names}, or null for the best of them that this processor has. On failure\n\
             \x20* `*model` is null.\n\
             \x20*/\n\
             int {name}_load(const char *target, {name}_model_t **model);\n\n\
             /**\n\
             \x20* The same with the weights file in memory, `bytes` long, which is copied and checked. Any other file, also a\n\
             \x20* cut or a changed one, is {macros}_WEIGHTS.\n\
             \x20*/\n\
             int {name}_load_from(const void *weights, size_t bytes, const char *target, {name}_model_t **model);\n\n\
             /** The name of the target that a model runs on; it is constant. Null for null. */\n\
             const char *{name}_target(const {name}_model_t *model);\n\n\
             /**\n\
             \x20* Starts a session with so many threads, the caller's among them; 0 is taken as 1. On failure `*session` is\n\
             \x20* null. The results of a run are the same bits for any number of threads.\n\
             \x20*/\n\
             int {name}_session(const {name}_model_t *model, size_t threads, {name}_session_t **session);\n\n\
             /**\n\
             \x20* Runs once: {lengths}. What is written must not overlap\n\
             \x20* anything else. A call that fails writes nothing. It allocates nothing.\n\
             \x20*/\n\
             int {name}_run({name}_session_t *session{inputs}{outputs});\n\n\
             /** Ends a session and its threads. Null is nothing. */\n\
             void {name}_session_free({name}_session_t *session);\n\n\
             /** Frees a model; sessions that still run it keep what they need. Null is nothing. */\n\
             void {name}_free({name}_model_t *model);\n\n\
             /**\n\
             \x20* Why the last call of this thread that failed did so, empty if none did. The text is valid until the next\n\
             \x20* call on this thread.\n\
             \x20*/\n\
             const char *{name}_last_error(void);\n\n\
             #ifdef __cplusplus\n\
             }}\n\
             #endif\n\n\
             #endif\n",
            targets = target_list(self.compiled),
            target_names = self.compiled.targets().map(|target| format!("\"{target}\"")).collect::<Vec<_>>().join(", "),
            lengths = lengths.join(",\n * "),
        )
    }

    /// A program that runs the network once.
    pub(super) fn example(&self) -> String {
        let (name, macros) = (&self.prefix, self.prefix.to_ascii_uppercase());
        let mut arrays = Vec::new();
        let mut arguments = String::new();
        for Parameter { pointer, tensor, .. } in self.inputs.iter().chain(&self.outputs) {
            let len = macro_name(&macros, pointer, "LEN");
            arrays.push(format!("static {} {pointer}[{len}];", c_type(tensor.dtype)));
            let _ = write!(arguments, ",\n        {pointer}, {len}");
        }
        let first = self.outputs.first().map_or_else(String::new, |output| {
            let cast = if output.tensor.dtype == DType::F32 { "" } else { "(double)" };
            format!("{cast}{}", output.pointer)
        });
        format!(
            "#include <stdio.h>\n\
             #include \"{name}.h\"\n\n\
             {arrays}\n\n\
             int main(void) {{\n\
             \x20   {name}_model_t *model = NULL;\n\
             \x20   {name}_session_t *session = NULL;\n\
             \x20   int status = {name}_load(NULL, &model);\n\
             \x20   if (status == {macros}_OK) status = {name}_session(model, 1, &session);\n\
             \x20   if (status == {macros}_OK) status = {name}_run(session{arguments});\n\
             \x20   if (status == {macros}_OK) printf(\"%g\\n\", {first}[0]);\n\
             \x20   else fprintf(stderr, \"%s\\n\", {name}_last_error());\n\
             \x20   {name}_session_free(session);\n\
             \x20   {name}_free(model);\n\
             \x20   return status;\n\
             }}",
            arrays = arrays.join("\n"),
        )
    }
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

    /// Its length and shape.
    fn constants(&self, what: &str, macros: &str) -> String {
        let Parameter { tensor, pointer, .. } = self;
        let shape = &tensor.shape;
        let list = |between: &str| shape.iter().map(usize::to_string).collect::<Vec<_>>().join(between);
        let mut text = format!(
            "/** {what} `{}`: {}, dense, in row-major order{}. */\n#define {} {}\n#define {} {}\n",
            in_comment(&tensor.name),
            if tensor.dtype == DType::F32 { "floats" } else { c_type(tensor.dtype) },
            if shape.is_empty() { String::new() } else { format!(" of {}", list(" x ")) },
            macro_name(macros, pointer, "LEN"),
            tensor.elements(),
            macro_name(macros, pointer, "RANK"),
            shape.len(),
        );
        if !shape.is_empty() {
            text += &format!("#define {} {{{}}}\n", macro_name(macros, pointer, "SHAPE"), list(", "));
        }
        text + "\n"
    }
}

/// `NAME_IMAGE_LEN`.
fn macro_name(prefix: &str, pointer: &Ident, what: &str) -> String {
    format!("{prefix}_{}_{what}", pointer.to_string().to_ascii_uppercase())
}

/// A text that cannot end the comment it stands in.
fn in_comment(text: &str) -> String {
    text.replace("*/", "* /").replace("/*", "/ *").replace(char::is_control, " ")
}

fn constant(status: Status) -> &'static str {
    match status {
        Status::Ok => "OK",
        Status::Pointer => "POINTER",
        Status::Length => "LENGTH",
        Status::Target => "TARGET",
        Status::Weights => "WEIGHTS",
        Status::Memory => "MEMORY",
    }
}

fn meaning(status: Status) -> &'static str {
    match status {
        Status::Ok => "It is done.",
        Status::Pointer => "A pointer is null, not aligned for what it points to, or overlaps another.",
        Status::Length => "An input or output has another length.",
        Status::Target => "There is no such target, the library was built without it, or the processor lacks it.",
        Status::Weights => "The weights are not those that the library was made for.",
        Status::Memory => "There is no memory.",
    }
}

/// What C calls elements of a type.
fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::F64 => "double",
        DType::I64 => "int64_t",
        DType::I32 => "int32_t",
        DType::I8 => "int8_t",
        DType::U8 => "uint8_t",
        DType::Bool => "bool",
    }
}
