//! `kiln completions`: what a shell reads to complete verbs and options.

use clap_complete::{Shell, generate};

use crate::dump::print;
use crate::report::Failure;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the completions of a shell.
pub(crate) fn completions(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut crate::command(), "kiln", &mut script);
    print(&String::from_utf8_lossy(&script))
}
