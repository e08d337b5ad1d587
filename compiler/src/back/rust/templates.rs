//! The files of a crate that are text with blanks: manifest, README, example, test.

use super::compiled::{Compiled, Tensor};
use super::emit::{CAPI, CrateOptions, EMBED, PANIC_HANDLER, STD, Workspace, target_list, tensor_list};
use super::foreign::Interface;
use super::names::{Namer, OutputFiles, quoted};
use super::print::one_line;
use crate::graph::DType;

/// What the blanks are filled with.
pub(super) struct Template<'a> {
    pub(super) compiled: &'a Compiled<'a>,
    pub(super) options: &'a CrateOptions,
    pub(super) header: &'a str,
    pub(super) model: &'a str,
    pub(super) interface: &'a Interface<'a>,
}

/// Many kernels of one size build fastest in as many units as there are kinds; nothing is inlined across them.
const PROFILES: &str = "
[profile.release]
opt-level = 3
codegen-units = 16
lto = \"off\"
debug = 0
panic = \"abort\"

# At level 0 vectors live in memory: about 150 times slower.
[profile.dev]
opt-level = 1
";

impl Template<'_> {
    pub(super) fn manifest(&self) -> String {
        let CrateOptions { package, license, workspace, .. } = self.options;
        let license = license.as_ref().map(|license| format!("license = {}\n", quoted(license))).unwrap_or_default();
        let mut programs = vec![("example", "run", vec![STD]), ("example", "bench", vec![STD, EMBED])];
        programs.extend(self.options.golden.as_ref().map(|_| ("test", "golden", vec![STD, EMBED])));
        let programs: String = programs
            .into_iter()
            .map(|(kind, name, features)| {
                format!("\n[[{kind}]]\nname = \"{name}\"\nrequired-features = {features:?}\n")
            })
            .collect();
        let table = if *workspace == Workspace::Own { "\n[workspace]\n" } else { "" };
        // Cargo takes the profiles of a workspace's root and warns of all others.
        let profiles = if *workspace == Workspace::Member { "" } else { PROFILES };
        format!(
            "# {header}\n\
             [package]\n\
             name = {name}\n\
             version = \"0.1.0\"\n\
             edition = \"2024\"\n\
             description = {description}\n\
             {license}\
             publish = false\n\
             {table}\n\
             [features]\n\
             default = [\"{STD}\", \"{EMBED}\"]\n\
             # Threads, and the best target that the processor has. Without it the crate is no_std.\n\
             {STD} = []\n\
             # Links weights.bin into the program.\n\
             {EMBED} = []\n\
             # The functions that include/{prefix}.h declares.\n\
             {CAPI} = []\n\
             # What a library for C without `{STD}` ends with: it stops where Rust would panic.\n\
             {PANIC_HANDLER} = [\"{CAPI}\"]\n\
             {programs}\
             {profiles}",
            header = self.header,
            name = quoted(package.as_str()),
            description = quoted(&format!("{}, compiled by kiln", self.compiled.signature.name)),
            prefix = self.interface.prefix,
        )
    }

    pub(super) fn readme(&self) -> String {
        let signature = &self.compiled.signature;
        let mut namer = Namer::without(&["model", "session", "memory", "weights", "target"]);
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
        let profiles = match self.options.workspace {
            Workspace::Member => "The root of the workspace says at which level this crate is built:",
            Workspace::Outside | Workspace::Own => {
                "This crate's own profiles see to that; a program that depends on it has its own:"
            }
        };
        let license = self.options.license.as_ref().map_or_else(String::new, |it| format!("\n## Licence\n\n{it}\n"));
        self.fill(
            include_str!("templates/README.md"),
            &[
                ("__PACKAGE__", self.options.package.as_str()),
                ("__NAME__", &one_line(&signature.name)),
                ("__SOURCE__", &one_line(&self.options.source)),
                ("__SPEC__", &one_line(&spec)),
                ("__SETTING__", &one_line(&setting)),
                ("__TARGETS__", &target_list(self.compiled)),
                ("__RUN__", &run),
                ("__IO__", &one_line(&io)),
                ("__LENT_PARAMETERS__", &parameters.join(", ")),
                ("__LENT_ARGUMENTS__", &[inputs, outputs].concat().join(", ")),
                ("__BEST__", &best),
                ("__PROFILES__", profiles),
                ("__PREFIX__", &self.interface.prefix),
                ("__C_EXAMPLE__", &self.interface.example()),
                ("__C_LENT_EXAMPLE__", &self.interface.lent_example()),
                ("__LICENSE__", &license),
                ("__WEIGHTS__", &weights_section(&self.options.weights_metadata)),
            ],
        )
    }

    pub(super) fn example(&self) -> String {
        let signature = &self.compiled.signature;
        let names: Vec<&str> = signature.outputs.iter().map(|output| output.name.as_str()).collect();
        let OutputFiles { files, json } = OutputFiles::of(&names);
        let files: Vec<String> = files.iter().map(|file| format!("{file:?}")).collect();
        self.fill(
            &by_type(include_str!("templates/run.rs")),
            &[
                ("__PROBABILITIES__", if signature.probabilities { "true" } else { "false" }),
                ("__OUTPUT_COUNT__", &files.len().to_string()),
                ("__FILES__", &files.join(", ")),
                ("__OUTPUTS_JSON__", &format!("{json:?}")),
            ],
        )
    }

    pub(super) fn bench(&self) -> String {
        self.fill(&by_type(include_str!("templates/bench.rs")), &[])
    }

    pub(super) fn golden_test(&self) -> String {
        let tolerance = if self.compiled.signature.quantizes { "5e-2" } else { "1e-5" };
        self.fill(include_str!("templates/golden.rs"), &[("__TOLERANCE__", tolerance)])
    }

    /// What keeps `cargo fmt` from changing what will be made anew.
    pub(super) fn rustfmt(&self) -> String {
        format!("# {}\ndisable_all_formatting = true\n", self.header)
    }

    /// How CMake builds and finds the library.
    pub(super) fn cmake(&self) -> String {
        self.fill(include_str!("templates/CMakeLists.txt"), &self.library())
    }

    /// How pkg-config finds it.
    pub(super) fn pkg_config(&self) -> String {
        self.fill(include_str!("templates/pkg_config.pc"), &self.library())
    }

    fn library(&self) -> [(&str, &str); 2] {
        [("__PACKAGE__", self.options.package.as_str()), ("__PREFIX__", &self.interface.prefix)]
    }

    fn fill(&self, text: &str, blanks: &[(&str, &str)]) -> String {
        let crate_name = self.options.package.crate_name();
        let of_all = [("__HEADER__", self.header), ("__CRATE__", &crate_name), ("__MODEL__", self.model)];
        fill(text, &[&of_all, blanks].concat())
    }
}

/// A text with its blanks filled; what they are filled with is not read for blanks.
pub(super) fn fill(text: &str, blanks: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("__") {
        filled += &rest[..start];
        rest = &rest[start..];
        // A blank, or underscores that are part of the text.
        let (len, value) = match blanks.iter().find(|(blank, _)| rest.starts_with(blank)) {
            Some((blank, value)) => (blank.len(), *value),
            None => (1, "_"),
        };
        filled += value;
        rest = &rest[len..];
    }
    filled + rest
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
