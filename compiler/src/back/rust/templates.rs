//! The files of a crate that are text with blanks: manifest, README, example, test.

use super::compiled::{Compiled, Tensor};
use super::emit::{CAPI, CrateOptions, EMBED, STD, target_list, tensor_list};
use super::foreign::Interface;
use super::names::{Namer, snake};
use crate::graph::DType;

/// What the blanks are filled with.
pub(super) struct Template<'a> {
    pub(super) compiled: &'a Compiled<'a>,
    pub(super) options: &'a CrateOptions,
    pub(super) header: &'a str,
    pub(super) model: &'a str,
    pub(super) interface: &'a Interface<'a>,
}

impl Template<'_> {
    pub(super) fn manifest(&self) -> String {
        let CrateOptions { package, license, workspace_table, .. } = self.options;
        let license = license.as_ref().map(|license| format!("license = {license:?}\n")).unwrap_or_default();
        let mut programs = vec![("example", "run", vec![STD]), ("example", "bench", vec![STD, EMBED])];
        programs.extend(self.options.golden.as_ref().map(|_| ("test", "golden", vec![STD, EMBED])));
        let programs: String = programs
            .into_iter()
            .map(|(kind, name, features)| {
                format!("[[{kind}]]\nname = \"{name}\"\nrequired-features = {features:?}\n\n")
            })
            .collect();
        let workspace = if *workspace_table { "\n[workspace]\n" } else { "" };
        // Many kernels of one size build fastest in as many units as there are kinds; nothing is inlined across them.
        format!(
            "# {header}\n\
             [package]\n\
             name = {package:?}\n\
             version = \"0.1.0\"\n\
             edition = \"2024\"\n\
             description = \"{name}, compiled by kiln\"\n\
             {license}\
             publish = false\n\
             {workspace}\n\
             [features]\n\
             default = [\"{STD}\", \"{EMBED}\"]\n\
             # Threads, and the best target that the processor has. Without it the crate is no_std.\n\
             {STD} = []\n\
             # Links weights.bin into the program.\n\
             {EMBED} = []\n\
             # The functions that include/{prefix}.h declares.\n\
             {CAPI} = [\"{STD}\"]\n\n\
             {programs}\
             [profile.release]\n\
             opt-level = 3\n\
             codegen-units = 16\n\
             lto = \"off\"\n\
             debug = 0\n\
             panic = \"abort\"\n\n\
             # At level 0 vectors live in memory: about 150 times slower.\n\
             [profile.dev]\n\
             opt-level = 1\n",
            header = self.header,
            name = self.compiled.signature.name,
            prefix = self.interface.prefix(),
        )
    }

    pub(super) fn readme(&self) -> String {
        let signature = &self.compiled.signature;
        let mut namer = Namer::default();
        ["model", "session", "memory", "weights", "target"].iter().for_each(|name| namer.reserve(name));
        let names = |namer: &mut Namer, tensors: &[Tensor]| -> Vec<String> {
            tensors.iter().map(|tensor| namer.fresh(&tensor.name).to_string()).collect()
        };
        let inputs = names(&mut namer, &signature.inputs);
        let outputs = names(&mut namer, &signature.outputs);
        let mut run = String::new();
        for (tensor, name) in signature.inputs.iter().zip(&inputs) {
            let number = if tensor.dtype == DType::F32 { "0.5" } else { "7" };
            run += &format!("    let {name} = vec![{number}; {}];\n", tensor.elements());
        }
        match (&inputs[..], &outputs[..]) {
            ([input], [output]) => {
                run += &format!(
                    "    let {output}: &[{}] = session.run(&{input})?;\n    println!(\"{{:?}}\", {output}[0]);",
                    signature.outputs[0].dtype
                );
            }
            _ => {
                let pairs = signature.inputs.iter().zip(&inputs);
                // Slices where all are of one type, else elements of any.
                let mixed = signature.inputs.windows(2).any(|pair| pair[0].dtype != pair[1].dtype);
                let pair = |(tensor, name): (&Tensor, &String)| match mixed {
                    true => format!("({:?}, {name}[..].into())", tensor.name),
                    false => format!("({:?}, &{name})", tensor.name),
                };
                let pairs: Vec<String> = pairs.map(pair).collect();
                run += &format!("    session.run_named(&[{}])?;", pairs.join(", "));
                for (tensor, name) in signature.outputs.iter().zip(&outputs) {
                    run += &format!(
                        "\n    let {name} = session.output({:?});\n    println!(\"{{{name}:?}}\");",
                        tensor.name
                    );
                }
            }
        }
        let read = inputs.iter().zip(&signature.inputs).map(|(name, tensor)| format!("{name}: &[{}]", tensor.dtype));
        let written =
            outputs.iter().zip(&signature.outputs).map(|(name, tensor)| format!("{name}: &mut [{}]", tensor.dtype));
        let parameters: Vec<String> = read.chain(written).collect();
        let setting = signature.inputs.first().map_or_else(String::new, |Tensor { name, shape, .. }| {
            let batch = ["8".to_owned()].into_iter().chain(shape.iter().skip(1).map(usize::to_string));
            format!("{name}=[{}]", batch.collect::<Vec<_>>().join(", "))
        });
        // A printed graph has no parameters: its spec had. A model comes with its weights.
        let spec = match &self.options.source {
            source if source.ends_with(".graph") => "SPEC.net --weights FILE".to_owned(),
            source if source.ends_with(".onnx") => source.clone(),
            source => format!("{source} --weights FILE"),
        };
        let io = format!("Inputs: {}. Outputs: {}.", tensor_list(&signature.inputs), tensor_list(&signature.outputs));
        let best = self.compiled.targets().next().map_or_else(String::new, |target| format!("{target:?}"));
        let license = self.options.license.as_ref();
        self.fill(include_str!("templates/README.md"))
            .replace("__PACKAGE__", &self.options.package)
            .replace("__NAME__", &signature.name)
            .replace("__SOURCE__", &self.options.source)
            .replace("__SPEC__", &spec)
            .replace("__SETTING__", &setting)
            .replace("__TARGETS__", &target_list(self.compiled))
            .replace("__RUN__", &run)
            .replace("__IO__", &io)
            .replace("__LENT_PARAMETERS__", &parameters.join(", "))
            .replace("__LENT_ARGUMENTS__", &[inputs, outputs].concat().join(", "))
            .replace("__BEST__", &best)
            .replace("__PREFIX__", self.interface.prefix())
            .replace("__C_EXAMPLE__", &self.interface.example())
            .replace("__LICENSE__", &license.map_or_else(String::new, |it| format!("\n## Licence\n\n{it}\n")))
            .replace("__WEIGHTS__", &weights_section(&self.options.weights_metadata))
    }

    pub(super) fn example(&self) -> String {
        self.fill(&by_type(include_str!("templates/run.rs")))
            .replace("__PROBABILITIES__", if self.compiled.signature.probabilities { "true" } else { "false" })
    }

    pub(super) fn bench(&self) -> String {
        self.fill(&by_type(include_str!("templates/bench.rs")))
    }

    pub(super) fn golden_test(&self) -> String {
        let tolerance = if self.compiled.signature.quantizes { "5e-2" } else { "1e-5" };
        self.fill(include_str!("templates/golden.rs")).replace("__TOLERANCE__", tolerance)
    }

    fn fill(&self, text: &str) -> String {
        text.replace("__HEADER__", self.header)
            .replace("__CRATE__", &snake(&self.options.package))
            .replace("__MODEL__", self.model)
    }
}

/// A text whose blanks stand for lines that differ by the type of elements alone.
fn by_type(text: &str) -> String {
    let lines = |indent: usize, line: &dyn Fn(&str, &str, usize) -> String| -> String {
        let types = [("F32", "f32", 4), ("I32", "i32", 4), ("I8", "i8", 1), ("U8", "u8", 1)];
        let lines = types.map(|(variant, name, size)| format!("{}{}", " ".repeat(indent), line(variant, name, size)));
        lines.join("\n")
    };
    let from_bytes = |variant: &str, name: &str, size: usize| {
        let value = match (name, size) {
            ("u8", _) => "data.to_vec()".to_owned(),
            (_, 1) => format!("data.iter().map(|&b| b as {name}).collect()"),
            _ => format!("data.chunks_exact(4).map(|b| {name}::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()"),
        };
        format!("DType::{variant} => Numbers::{variant}({value}),")
    };
    text.replace("__VARIANTS__", &lines(4, &|variant, name, _| format!("{variant}(Vec<{name}>),")))
        .replace("__ELEMENTS__", &lines(12, &|variant, _, _| format!("Self::{variant}(v) => Elements::{variant}(v),")))
        .replace("__FROM_BYTES__", &lines(8, &from_bytes))
        .replace(
            "__TO_BYTES__",
            &lines(8, &|variant, _, _| {
                format!("Elements::{variant}(v) => file.extend(v.iter().flat_map(|v| v.to_le_bytes())),")
            }),
        )
        .replace(
            "__PRINT__",
            &lines(8, &|variant, _, _| {
                format!("Elements::{variant}(v) => println!(\"{{OUTPUT}}: {{:?}} ...\", &v[..first]),")
            }),
        )
}

/// The longest name and text of the weights' metadata that a README shows, in characters, and the most entries.
const LONGEST: usize = 500;
const MOST: usize = 50;

/// What the file of trained weights says of itself. Each entry is a line of a block that no text in it can end, since
/// quotes begin each line and control characters are escaped.
fn weights_section(metadata: &[(String, String)]) -> String {
    if metadata.is_empty() {
        return String::new();
    }
    let shown = |text: &str| match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?} and {} bytes more", &text[..end], text.len() - end),
        None => format!("{text:?}"),
    };
    let mut text = "\n## Weights\n\nWhat the file of trained weights says of itself:\n\n```text\n".to_owned();
    for (name, value) in metadata.iter().take(MOST) {
        text += &format!("{}: {}\n", shown(name), shown(value));
    }
    if metadata.len() > MOST {
        text += &format!("and {} more\n", metadata.len() - MOST);
    }
    text + "```\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn metadata_stays_in_its_block_and_in_bounds() {
        assert_eq!(weights_section(&[]), "");
        let hostile = [
            entry("format", "pt"),
            entry("```\n# no title", "a\n```\n<script>\u{202e}\0\t\"x\""),
            entry("long", &"ä".repeat(LONGEST + 3)),
        ];
        let text = weights_section(&hostile);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..5], ["", "## Weights", "", "What the file of trained weights says of itself:", ""]);
        assert_eq!(
            lines[5..8],
            ["```text", r#""format": "pt""#, r#""```\n# no title": "a\n```\n<script>\u{202e}\0\t\"x\"""#]
        );
        assert_eq!(lines[8], format!("\"long\": \"{}\" and 6 bytes more", "ä".repeat(LONGEST)));
        assert_eq!(lines[9..], ["```"]);

        let many: Vec<_> = (0..100_000).map(|i| entry(&i.to_string(), &"x".repeat(LONGEST + 1))).collect();
        let text = weights_section(&many);
        assert!(text.ends_with("and 99950 more\n```\n") && text.len() < MOST * (2 * LONGEST + 100));
    }
}
