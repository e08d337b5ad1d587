//! `kiln weights`: which tensors a network reads; which of them a file has, which it lacks, and which are left over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kiln_compiler::checkpoint::names::{Match, Suggestion};
use kiln_compiler::diag::counted;
use kiln_compiler::front::nearest;
use kiln_compiler::graph::count;
use kiln_compiler::graph::weights::Source;
use kiln_rt::weights::SourceError;
use serde_json::{Value, json};

use crate::dump::{print, print_json};
use crate::map::Mapped;
use crate::report::Failure;
use crate::spec::Spec;
use crate::template;
use crate::weights::{Selected, checkpoint};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: Spec,
    /// A safetensors file or a PyTorch state dict; without one, the network's own tensors are listed
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    selected: Selected,
    /// Write a safetensors file of the network's names and shapes, all zeros, to be filled in
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    template: Option<PathBuf>,
    /// Replace a template that is there
    #[arg(long, requires = "template")]
    force: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "template")]
    json: bool,
}

/// A network's tensors beside a file's.
#[derive(Debug, Default, PartialEq)]
struct Matching {
    /// In both, with the same shape.
    matched: Vec<String>,
    /// In both, but of other shapes: the network's and the file's.
    reshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// In both, but kept in the file in a way that is not read: each with why.
    unread: Vec<(String, String)>,
    /// In the network alone; beside each the tensor of the file that may be meant.
    missing: Vec<(String, Option<String>)>,
    /// In the file alone.
    left_over: Vec<String>,
    /// Whose names the file has, where they are not the network's own.
    convention: Option<String>,
    /// The dict of the file that holds them, where it is not the file itself.
    dict: Option<String>,
    /// Bytes behind the last tensor of the file.
    trailing: usize,
}

impl Matching {
    fn of(sources: &[Source], file: &BTreeMap<&str, Vec<usize>>, unread: &BTreeMap<&str, &str>) -> Self {
        let mut matching = Matching::default();
        let wanted: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let over: Vec<&str> = file.keys().copied().filter(|name| !wanted.contains(name)).collect();
        for source in sources {
            if let Some(why) = unread.get(source.name.as_str()) {
                matching.unread.push((source.name.clone(), (*why).to_owned()));
                continue;
            }
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
        self.missing.is_empty() && self.reshaped.is_empty() && self.unread.is_empty()
    }

    fn failure(&self, file: &Path, network: &str) -> Failure {
        let parts = [
            (self.missing.len(), "is missing", "are missing"),
            (self.reshaped.len(), "has another shape", "have another shape"),
            (self.unread.len(), "is not read", "are not read"),
        ];
        let parts = parts.into_iter().filter(|&(count, ..)| count > 0);
        let said = parts.map(|(count, one, several)| format!("{count} {}", if count == 1 { one } else { several }));
        let said = said.collect::<Vec<_>>().join(", ");
        Failure::new(format!("{} does not hold all tensors of `{network}`: {said}", file.display()))
    }

    fn object(&self) -> Value {
        json!({
            "matched": self.matched,
            "other_shape": self.reshaped.iter().map(|(name, wanted, found)| json!({
                "name": name, "network": wanted, "file": found,
            })).collect::<Vec<_>>(),
            "not_read": self.unread.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect::<Vec<_>>(),
            "missing": self.missing.iter().map(|(name, near)| json!({ "name": name, "near": near })).collect::<Vec<_>>(),
            "left_over": self.left_over,
            "convention": self.convention,
            "dict": self.dict,
            "trailing_bytes": self.trailing,
        })
    }

    fn text(&self) -> String {
        let convention = self.convention.as_ref().map_or(String::new(), |name| format!(", named as in {name}"));
        let dict = self.dict.as_ref().map_or(String::new(), |name| format!(" in `{name}`"));
        let matched = match self.matched.len() {
            1 => "1 tensor matches".to_owned(),
            several => format!("{several} tensors match"),
        };
        let mut text = format!("{matched}{dict}{convention}\n");
        for (name, wanted, found) in &self.reshaped {
            text.push_str(&format!("other shape  {name}: the network's is {wanted:?}, the file's {found:?}\n"));
        }
        for (name, why) in &self.unread {
            text.push_str(&format!("not read     {name}: it has {why}\n"));
        }
        for (name, near) in &self.missing {
            let near = near.as_ref().map_or(String::new(), |near| format!("  (near: {near})"));
            text.push_str(&format!("missing      {name}{near}\n"));
        }
        let (steps, other): (Vec<_>, Vec<_>) =
            self.left_over.iter().partition(|name| name.ends_with(".num_batches_tracked"));
        if !steps.is_empty() {
            let times = counted(steps.len(), "time");
            text.push_str(&format!("left over    {times} num_batches_tracked, PyTorch's counts of training steps\n"));
        }
        for name in other {
            text.push_str(&format!("left over    {name}\n"));
        }
        if self.trailing > 0 {
            text.push_str(&format!("left over    {} behind the last tensor\n", counted(self.trailing, "byte")));
        }
        text
    }
}

/// Lists the tensors of a network, writes a template of them, or compares them with a file.
pub(crate) fn weights(args: &Args) -> Result<(), Failure> {
    let graph = args.spec.load()?;
    let sources = count::sources(&graph);
    let Some(path) = &args.file else {
        if let Some(flag) = args.selected.flag() {
            return Err(Failure::new(format!("`{flag}` is for a file that is compared")));
        }
        if let Some(path) = &args.template {
            return template::write(&sources, path, args.force);
        }
        return if args.json { print_json(&template::object(&sources)) } else { print(&template::list(&sources)) };
    };
    let shown = path.display().to_string();
    let mapped = Mapped::open(path)?;
    let checkpoint = checkpoint(&mapped, &shown)?;
    let found = args.selected.find(&graph, &checkpoint, &shown, &args.spec.conventions()?)?;
    let mut matching = Matching::of(&sources, &found.shapes(&checkpoint), &unread(&found));
    matching.convention = found.names.convention().map(str::to_owned);
    let taken = found.dict.as_ref().map(|dict| dict.name.clone());
    matching.dict = args.selected.key().map(str::to_owned).or(taken).filter(|name| !name.is_empty());
    matching.trailing = checkpoint.trailing();
    if args.json {
        print_json(&matching.object())?
    } else {
        print(&matching.text())?
    }
    if matching.holds() {
        return Ok(());
    }
    Err(matching.failure(path, &args.spec.name()).help_if_known(found.help(Suggestion::flags)))
}

/// The tensors that the file has and that are not read, with why.
fn unread<'m>(found: &'m Match<'_>) -> BTreeMap<&'m str, &'m str> {
    let unread = found.mistakes.iter().filter_map(|mistake| match mistake {
        SourceError::Unread { name, why } => Some((name.as_str(), why.as_str())),
        SourceError::Missing { .. } | SourceError::Shape { .. } => None,
    });
    unread.collect()
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
        let found = Matching::of(&sources, &BTreeMap::from(file), &BTreeMap::new());
        assert_eq!(found.matched, ["a.weight"]);
        assert_eq!(found.reshaped, [("b.weight".to_owned(), vec![4], vec![5])]);
        assert_eq!(found.missing, [("conv1.weight".to_owned(), Some("conv_1.weight".to_owned()))]);
        assert_eq!(found.left_over, ["conv_1.weight", "x"]);
        assert!(!found.holds());
    }
}
