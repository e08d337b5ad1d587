//! The files of a crate that are text with blanks: manifest, README, example, test.

use super::compiled::Compiled;
use super::emit::{CrateOptions, target_list, tensor_list};
use super::names::{Namer, snake};

/// What the blanks are filled with.
pub(super) struct Template<'a> {
    pub(super) compiled: &'a Compiled<'a>,
    pub(super) options: &'a CrateOptions,
    pub(super) header: &'a str,
    pub(super) model: &'a str,
}

impl Template<'_> {
    pub(super) fn manifest(&self) -> String {
        let CrateOptions { package, license, workspace_table, .. } = self.options;
        let license = license.as_ref().map(|license| format!("license = {license:?}\n")).unwrap_or_default();
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
        )
    }

    pub(super) fn readme(&self) -> String {
        let signature = &self.compiled.signature;
        let mut namer = Namer::default();
        let inputs: Vec<String> = signature.inputs.iter().map(|tensor| namer.fresh(&tensor.name).to_string()).collect();
        let outputs: Vec<String> =
            signature.outputs.iter().map(|tensor| namer.fresh(&tensor.name).to_string()).collect();
        let run = match (&inputs[..], &outputs[..]) {
            ([input], [output]) => format!("let {output}: &[f32] = session.run(&{input})?;"),
            _ => {
                let pairs =
                    signature.inputs.iter().zip(&inputs).map(|(tensor, name)| format!("({:?}, &{name})", tensor.name));
                let pairs = pairs.collect::<Vec<_>>().join(", ");
                let reads = signature.outputs.iter().zip(&outputs);
                let reads = reads.map(|(tensor, name)| format!("\nlet {name} = session.output({:?});", tensor.name));
                format!("session.run_named(&[{pairs}])?;{}", reads.collect::<String>())
            }
        };
        let io = format!("Inputs: {}. Outputs: {}.", tensor_list(&signature.inputs), tensor_list(&signature.outputs));
        self.fill(include_str!("templates/README.md"))
            .replace("__PACKAGE__", &self.options.package)
            .replace("__NAME__", &signature.name)
            .replace("__SOURCE__", &self.options.source)
            .replace("__TARGETS__", &target_list(self.compiled))
            .replace("__RUN__", &run)
            .replace("__IO__", &io)
    }

    pub(super) fn example(&self) -> String {
        self.fill(include_str!("templates/run.rs"))
            .replace("__PROBABILITIES__", if self.compiled.signature.probabilities { "true" } else { "false" })
    }

    pub(super) fn bench(&self) -> String {
        self.fill(include_str!("templates/bench.rs"))
    }

    pub(super) fn golden_test(&self) -> String {
        self.fill(include_str!("templates/golden.rs"))
    }

    fn fill(&self, text: &str) -> String {
        text.replace("__HEADER__", self.header)
            .replace("__CRATE__", &snake(&self.options.package))
            .replace("__MODEL__", self.model)
    }
}
