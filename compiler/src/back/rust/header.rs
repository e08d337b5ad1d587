//! A crate's interface for C as C has it: the header that declares the functions of `foreign`, programs that call them, and
//! how others build the library.

use kiln_rt::foreign_lent::lent_bytes;
use kiln_rt::pointers::Status;
use kiln_rt::session::Threads;
use proc_macro2::Ident;

use super::emit::target_list;
use super::foreign::{Interface, Parameter};
use super::print::one_line;
use super::templates::fill;
use crate::graph::DType;

impl Interface<'_> {
    /// The text of the header.
    pub(super) fn header(&self, made_by: &str) -> String {
        let macros = self.macros();
        let constants: String = [("Input", &self.inputs), ("Output", &self.outputs)]
            .into_iter()
            .flat_map(|(what, parameters)| parameters.iter().map(move |parameter| (what, parameter)))
            .map(|(what, parameter)| parameter.constants(what, &macros))
            .collect();
        let statuses = Status::ALL.into_iter().map(|status| {
            format!("    /** {} */\n    {macros}_{} = {}", meaning(status), constant(status), status as i32)
        });
        let declared = |parameters: &[Parameter<'_>], kind: &str| -> String {
            let text = |Parameter { pointer, len, tensor }: &Parameter<'_>| {
                format!(",\n    {kind}{} *{pointer}, size_t {len}", c_type(tensor.dtype))
            };
            parameters.iter().map(text).collect()
        };
        let lengths = self
            .tensors_in_order()
            .map(|Parameter { pointer, len, .. }| format!("`{len}` must be {}", macro_name(&macros, pointer, "LEN")));
        let integers = self.tensors_in_order().any(|parameter| parameter.tensor.dtype != DType::F32);
        let programs = self.compiled.programs.iter();
        let lent = programs.map(|program| lent_bytes(program.arena, program.scratch)).max().unwrap_or_default();
        let names = self.compiled.targets().map(|target| format!("\"{target}\""));
        fill(
            include_str!("templates/header.h"),
            &[
                ("__MADE_BY__", &in_comment(made_by)),
                ("__NAME__", &self.prefix),
                ("__MACROS__", &macros),
                ("__STDINT__", if integers { "#include <stdint.h>\n" } else { "" }),
                ("__NETWORK__", &in_comment(&self.compiled.signature.name)),
                ("__TARGETS__", &target_list(self.compiled)),
                ("__TARGET_NAMES__", &names.collect::<Vec<_>>().join(", ")),
                ("__CONSTANTS__", &constants),
                ("__WEIGHTS_BYTES__", &self.compiled.packing.file_bytes().to_string()),
                ("__LENT_BYTES__", &lent.to_string()),
                ("__STATUSES__", &statuses.collect::<Vec<_>>().join(",\n")),
                ("__MOST_THREADS__", &Threads::MOST.to_string()),
                ("__LENGTHS__", &lengths.collect::<Vec<_>>().join(",\n * ")),
                ("__INPUTS__", &declared(&self.inputs, "const ")),
                ("__OUTPUTS__", &declared(&self.outputs, "")),
            ],
        )
    }

    /// A program that runs the network once.
    pub(super) fn example(&self) -> String {
        self.fill_call(include_str!("templates/main.c"))
    }

    /// A function that does so on lent memory.
    pub(super) fn lent_example(&self) -> String {
        self.fill_call(include_str!("templates/lent.c"))
    }

    /// A text with arrays for inputs and outputs, and a call that is given them.
    fn fill_call(&self, text: &str) -> String {
        let macros = self.macros();
        let len = |parameter: &Parameter<'_>| macro_name(&macros, &parameter.pointer, "LEN");
        let arrays = self.tensors_in_order().map(|parameter| {
            format!("    static {} {}[{}];", c_type(parameter.tensor.dtype), parameter.pointer, len(parameter))
        });
        let arguments: String = self
            .tensors_in_order()
            .map(|parameter| format!(",\n        {}, {}", parameter.pointer, len(parameter)))
            .collect();
        let first = self.outputs.first().map_or_else(String::new, |output| {
            let cast = if output.tensor.dtype == DType::F32 { "" } else { "(double)" };
            format!("{cast}{}", output.pointer)
        });
        fill(
            text,
            &[
                ("__NAME__", &self.prefix),
                ("__MACROS__", &macros),
                ("__ARRAYS__", &arrays.collect::<Vec<_>>().join("\n")),
                ("__ARGUMENTS__", &arguments),
                ("__FIRST__", &first),
            ],
        )
    }

    /// What the names of macros start with.
    fn macros(&self) -> String {
        self.prefix.to_ascii_uppercase()
    }

    fn tensors_in_order(&self) -> impl Iterator<Item = &Parameter<'_>> {
        self.inputs.iter().chain(&self.outputs)
    }
}

impl Parameter<'_> {
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
    one_line(text).replace("*/", "* /").replace("/*", "/ *")
}

fn constant(status: Status) -> &'static str {
    match status {
        Status::Ok => "OK",
        Status::Pointer => "POINTER",
        Status::Length => "LENGTH",
        Status::Target => "TARGET",
        Status::Weights => "WEIGHTS",
        Status::Memory => "MEMORY",
        Status::Threads => "THREADS",
    }
}

fn meaning(status: Status) -> &'static str {
    match status {
        Status::Ok => "It is done.",
        Status::Pointer => "A pointer is null, not aligned for what it points to, or overlaps another.",
        Status::Length => "An input or output has another length.",
        Status::Target => "There is no such target, the library was built without it, or the processor lacks it.",
        Status::Weights => "The weights are not those that the library was made for.",
        Status::Memory => "There is no memory, or too little was lent.",
        Status::Threads => "A session of no threads, or of too many.",
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
