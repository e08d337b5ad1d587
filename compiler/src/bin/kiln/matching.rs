//! `kiln weights`: which tensors of a file a network reads, which it lacks, and which are left over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kiln_compiler::front::nearest;
use kiln_compiler::graph::count;
use kiln_compiler::graph::weights::Source;
use kiln_rt::safetensors::SafeTensors;
use serde_json::json;

use crate::dump::print;
use crate::map::Mapped;
use crate::report::{Context, Failure};
use crate::spec::Spec;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Spec,
    /// A safetensors file
    #[arg(value_name = "FILE")]
    file: PathBuf,
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
    /// What stands before the names of the file but not before those of the network.
    prefix: Option<String>,
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
        matching.prefix = matching.missing.first().and_then(|(name, _)| {
            let prefix = over.iter().find_map(|other| other.strip_suffix(name.as_str()))?;
            let all = matching.missing.iter().all(|(name, _)| file.contains_key(format!("{prefix}{name}").as_str()));
            all.then(|| prefix.to_owned())
        });
        matching.left_over = over.into_iter().map(str::to_owned).collect();
        matching
    }

    fn holds(&self) -> bool {
        self.missing.is_empty() && self.reshaped.is_empty()
    }

    fn text(&self) -> String {
        let mut text = format!("{} tensors match\n", self.matched.len());
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
    let tensors = SafeTensors::parse(mapped.bytes()).context(format!("{shown} is not a safetensors file"))?;
    let file = tensors.names().filter_map(|name| Some((name, tensors.tensor(name)?.shape.to_vec()))).collect();
    let matching = Matching::of(&count::sources(&graph), &file);
    print(&if args.json {
        let object = json!({
            "matched": matching.matched,
            "other_shape": matching.reshaped.iter().map(|(name, wanted, found)| json!({
                "name": name, "network": wanted, "file": found,
            })).collect::<Vec<_>>(),
            "missing": matching.missing.iter().map(|(name, near)| json!({ "name": name, "near": near })).collect::<Vec<_>>(),
            "left_over": matching.left_over,
        });
        format!("{object:#}\n")
    } else {
        matching.text()
    });
    if matching.holds() {
        return Ok(());
    }
    let (missing, reshaped) = (matching.missing.len(), matching.reshaped.len());
    let failure = Failure::new(format!(
        "{shown} lacks {missing} tensors of `{}`, and {reshaped} have another shape",
        args.spec.name()
    ));
    Err(match matching.prefix {
        Some(prefix) => failure.help(format!("the names of the file begin with `{prefix}`")),
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
        assert!(found.prefix.is_none() && !found.holds());
    }

    #[test]
    fn a_prefix_of_all_names_is_told() {
        let sources = [source("a.weight", &[4]), source("b.weight", &[4])];
        let file = [("module.a.weight", vec![4]), ("module.b.weight", vec![4])];
        assert_eq!(Matching::of(&sources, &BTreeMap::from(file)).prefix.as_deref(), Some("module."));
    }
}
