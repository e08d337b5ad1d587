//! `kiln man`: the manual, a page for the program and one for each verb.

use std::path::PathBuf;

use clap::Command;
use clap_mangen::Man;

use crate::dump::print;
use crate::report::{Context, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The page of a verb in place of the program's
    #[arg(value_name = "VERB", conflicts_with = "out")]
    verb: Option<String>,
    /// Write all pages to this folder, `kiln.1` and `kiln-VERB.1`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints or writes pages in roff.
pub(crate) fn man(args: &Args) -> Result<(), Failure> {
    let pages = pages()?;
    if let Some(folder) = &args.out {
        let cannot = || format!("cannot write {}", folder.display());
        std::fs::create_dir_all(folder).context(cannot())?;
        return pages
            .iter()
            .try_for_each(|(name, page)| std::fs::write(folder.join(format!("{name}.1")), page).context(cannot()));
    }
    let name = args.verb.as_ref().map_or("kiln".to_owned(), |verb| format!("kiln-{verb}"));
    match pages.iter().find(|(page, _)| *page == name) {
        Some((_, page)) => print(page),
        None => Err(Failure::new(format!("there is no verb `{}`", args.verb.as_deref().unwrap_or_default()))
            .help("`kiln help` lists them")),
    }
}

/// Names and texts of all pages.
fn pages() -> Result<Vec<(String, String)>, Failure> {
    let command = crate::command().disable_help_subcommand(true);
    let verbs: Vec<Command> = command
        .get_subcommands()
        .map(|verb| {
            let name = format!("kiln-{}", verb.get_name());
            verb.clone().bin_name(format!("kiln {}", verb.get_name())).display_name(name.clone()).name(name)
        })
        .collect();
    let render = |command: Command| {
        let (name, mut page) = (command.get_name().to_owned(), Vec::new());
        Man::new(command).render(&mut page).context("cannot write a page")?;
        // What stands behind the options has no heading of its own in clap.
        Ok((name, String::from_utf8_lossy(&page).replace(".SH EXTRA\nExamples:", ".SH EXAMPLES\n.nf")))
    };
    std::iter::once(command).chain(verbs).map(render).collect()
}
