//! `kiln weights`: which tensors of a file a network reads, which it lacks, and which are left over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kiln_compiler::front::nearest;
use kiln_compiler::graph::count;
use kiln_compiler::graph::weights::Source;
use serde_json::json;

use crate::dump::print;
use crate::map::Mapped;
use crate::report::Failure;
use crate::spec::Spec;
use crate::weights::{Prefixes, checkpoint};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Spec,
    /// A safetensors file or a PyTorch state dict
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    prefixes: Prefixes,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A network's tensors beside a file's.
#[derive(Debug, Default, PartialEq)]
struct Matching {
    /// In both, with the same shape.
    matched: Vec<String>,
    /// In both, but of other shapes: the network's and the file's.
    reshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// In the network alone; beside each the tensor of the file that may be meant.
    missing: Vec<(String, Option<String>)>,
    /// In the file alone.
    left_over: Vec<String>,
    /// Whose names the file has, where they are not the network's own.
    convention: Option<String>,
}

impl Matching {
    fn of(sources: &[Source], file: &BTreeMap<&str, Vec<usize>>) -> Self {
        let mut matching = Matching::default();
        let wanted: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let over: Vec<&str> = file.keys().copied().filter(|name| !wanted.contains(name)).collect();
        for source in sources {
            match file.get(source.name.as_str()) {
                Some(shape) if *shape == source.shape => matching.matched.push(source.name.clone()),
                Some(shape) => matching.reshaped.push((source.name.clone(), source.shape.clone(), shape.clone())),
                None => {
                    let as_large = over.iter().copied().filter(|name| file[name] == source.shape);
                    let near = nearest(&source.name, as_large).map(str::to_owned);
                    matching.missing.push((source.name.clone(), near));
                }
            }
        }
        matching.left_over = over.into_iter().map(str::to_owned).collect();
        matching
    }

    fn holds(&self) -> bool {
        self.missing.is_empty() && self.reshaped.is_empty()
    }

    fn text(&self) -> String {
        let convention = self.convention.as_ref().map_or(String::new(), |name| format!(", named as in {name}"));
        let mut text = format!("{} tensors match{convention}\n", self.matched.len());
        for (name, wanted, found) in &self.reshaped {
            text.push_str(&format!("other shape  {name}: the network's is {wanted:?}, the file's {found:?}\n"));
        }
        for (name, near) in &self.missing {
            let near = near.as_ref().map_or(String::new(), |near| format!("  (near: {near})"));
            text.push_str(&format!("missing      {name}{near}\n"));
        }
        let (steps, other): (Vec<_>, Vec<_>) =
            self.left_over.iter().partition(|name| name.ends_with(".num_batches_tracked"));
        if !steps.is_empty() {
            let count = steps.len();
            text.push_str(&format!(
                "left over    {count} times num_batches_tracked, PyTorch's counts of training steps\n"
            ));
        }
        for name in other {
            text.push_str(&format!("left over    {name}\n"));
        }
        text
    }
}

/// Compares a network with a file.
pub(crate) fn weights(args: &Args) -> Result<(), Failure> {
    let graph = args.spec.load()?;
    let shown = args.file.display();
    let mapped = Mapped::open(&args.file)?;
    let checkpoint = checkpoint(&mapped, &shown.to_string())?;
    let found = args.prefixes.find(&graph, &checkpoint, &args.spec.conventions()?)?;
    let mut matching = Matching::of(&count::sources(&graph), &found.shapes(&checkpoint));
    matching.convention = found.names.convention().map(str::to_owned);
    print(&if args.json {
        let object = json!({
            "matched": matching.matched,
            "other_shape": matching.reshaped.iter().map(|(name, wanted, found)| json!({
                "name": name, "network": wanted, "file": found,
            })).collect::<Vec<_>>(),
            "missing": matching.missing.iter().map(|(name, near)| json!({ "name": name, "near": near })).collect::<Vec<_>>(),
            "left_over": matching.left_over,
            "convention": matching.convention,
        });
        format!("{object:#}\n")
    } else {
        matching.text()
    })?;
    if matching.holds() {
        return Ok(());
    }
    let (missing, reshaped) = (matching.missing.len(), matching.reshaped.len());
    let failure = Failure::new(format!(
        "{shown} lacks {missing} tensors of `{}`, and {reshaped} have another shape",
        args.spec.name()
    ));
    Err(match found.help() {
        Some(help) => failure.help(help),
        None => failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_compiler::graph::weights::Kind;

    fn source(name: &str, shape: &[usize]) -> Source {
        Source { name: name.to_owned(), kind: Kind::Kernel, shape: shape.to_vec() }
    }

    #[test]
    fn tensors_match_by_name_and_shape() {
        let sources = [source("a.weight", &[4, 3]), source("b.weight", &[4]), source("conv1.weight", &[2, 2])];
        let file = [("a.weight", vec![4, 3]), ("b.weight", vec![5]), ("conv_1.weight", vec![2, 2]), ("x", vec![2, 2])];
        let found = Matching::of(&sources, &BTreeMap::from(file));
        assert_eq!(found.matched, ["a.weight"]);
        assert_eq!(found.reshaped, [("b.weight".to_owned(), vec![4], vec![5])]);
        assert_eq!(found.missing, [("conv1.weight".to_owned(), Some("conv_1.weight".to_owned()))]);
        assert_eq!(found.left_over, ["conv_1.weight", "x"]);
        assert!(!found.holds());
    }
}
