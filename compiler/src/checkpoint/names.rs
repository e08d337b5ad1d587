//! How the tensors of a network are called in a file: under its own names, behind prefixes, or by the convention of
//! another program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kiln_rt::weights::{Expr, Source, SourceError, Stored, check};

use super::Checkpoint;
use super::convention::Convention;
use super::dict::Dict;
use crate::graph::weights::{Kind, Source as Wanted};

/// The names of a network's tensors in a file.
#[derive(Clone, Debug, Default)]
pub struct Names {
    in_file: BTreeMap<String, String>,
    convention: Option<String>,
}

/// What a user says about the names of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The dict of the file that is the network's, a path of names with dots.
    pub key: Option<String>,
    /// What is taken off the names, one after the other.
    pub prefixes: Vec<String>,
}

/// What matching names comes to.
#[derive(Clone, Debug)]
pub struct Match<'a> {
    /// The names under which most tensors match.
    pub names: Names,
    /// The tensors of the file that are not the network's, named as prefixes leave them, with their shapes.
    pub left_over: Vec<(&'a str, &'a [usize])>,
    /// All tensors that the network reads and the file does not have so.
    pub mistakes: Vec<SourceError>,
    /// With what all names would match, where some do not.
    pub suggestion: Option<Suggestion>,
    /// The dict of the file that was taken for the network's, where nobody named it.
    pub dict: Option<Dict>,
}

/// What a user could say about a file, so that all names would match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    selection: Selection,
    convention: Option<String>,
}

/// A file's tensors under the names of a network.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    checkpoint: &'a Checkpoint<'a>,
    names: &'a Names,
    left_over: &'a [(&'a str, &'a [usize])],
}

/// Finds the tensors that a network reads in a file. Of each name in the file the prefixes are taken off, one after the
/// other; then the network's own names are tried, and the conventions in their order. The first under which all tensors
/// match is taken.
///
/// # Errors
/// There is no dict of the name that was given, or two names of the file are one without their prefixes.
pub fn match_names<'a>(
    wanted: &[Wanted],
    checkpoint: &'a Checkpoint<'a>,
    selection: &Selection,
    conventions: &[Convention],
) -> Result<Match<'a>, String> {
    let (dict, file) = selected(checkpoint, selection)?;
    let own = || (None, wanted.iter().map(|tensor| tensor.name.clone()).collect::<Vec<_>>());
    let others = conventions.iter().map(|convention| (Some(convention.name.clone()), convention.names_of(wanted)));
    let candidates: Vec<(Option<String>, Vec<String>)> = std::iter::once(own()).chain(others).collect();
    let shapes: BTreeMap<&str, &[usize]> = checkpoint.shapes().into_iter().collect();
    let fits = |name: &str, tensor: &Wanted| file.get(name).is_some_and(|full| shapes[full] == tensor.shape);
    let matched = |names: &[String]| names.iter().zip(wanted).filter(|(name, tensor)| fits(name, tensor)).count();

    let mut best = &candidates[0];
    for candidate in &candidates[1..] {
        if matched(&candidate.1) > matched(&best.1) {
            best = candidate;
        }
    }
    let mut in_file: BTreeMap<String, String> = BTreeMap::new();
    let mut left_over: BTreeMap<&str, &str> = file.clone();
    for (name, tensor) in best.1.iter().zip(wanted) {
        if let Some(&full) = file.get(name.as_str()) {
            in_file.insert(tensor.name.clone(), full.to_owned());
            left_over.remove(name.as_str());
        }
    }
    let left_over: Vec<_> = left_over.into_iter().map(|(name, full)| (name, shapes[full])).collect();
    let names = Names { in_file, convention: best.0.clone() };
    let reads: Vec<Expr> = wanted
        .iter()
        .map(|Wanted { name, kind, shape }| Expr::Read {
            name: name.clone().into(),
            kind: *kind,
            shape: shape.clone().into(),
        })
        .collect();
    let mistakes = check(&reads, &Named { left_over: &left_over, ..names.of(checkpoint) });
    let suggestion = match mistakes.is_empty() {
        true => None,
        false => suggestion(&candidates, wanted, checkpoint, selection),
    };
    Ok(Match { names, left_over, mistakes, suggestion, dict })
}

/// With which dict and prefix all names match, under the network's own names or by a convention.
fn suggestion(
    candidates: &[(Option<String>, Vec<String>)],
    wanted: &[Wanted],
    checkpoint: &Checkpoint<'_>,
    selection: &Selection,
) -> Option<Suggestion> {
    let shapes: BTreeMap<&str, &[usize]> = checkpoint.shapes().into_iter().collect();
    // The dict that is taken first, then the others, then the file as a whole.
    let taken = selection.key.clone().unwrap_or_else(|| checkpoint.network().name);
    let others = checkpoint.network().others;
    let named = checkpoint.dicts().into_iter().map(str::to_owned);
    let mut dicts: Vec<String> =
        [taken.clone()].into_iter().chain(others).chain(named).chain([String::new()]).collect();
    let mut known = BTreeSet::new();
    dicts.retain(|dict| known.insert(dict.clone()));
    for dict in dicts {
        let key = if dict.is_empty() { String::new() } else { format!("{dict}.") };
        let inside: BTreeMap<&str, &[usize]> =
            shapes.iter().filter_map(|(full, shape)| Some((full.strip_prefix(key.as_str())?, *shape))).collect();
        for (convention, names) in candidates {
            let first = names.first()?;
            let helps = |prefix: &str| {
                names.iter().zip(wanted).all(|(name, tensor)| {
                    inside.get(format!("{prefix}{name}").as_str()).is_some_and(|shape| **shape == tensor.shape)
                })
            };
            let mut prefixes = inside.keys().filter_map(|name| name.strip_suffix(first.as_str()));
            if let Some(prefix) = prefixes.find(|prefix| helps(prefix)) {
                let key = (dict != taken && !dict.is_empty()).then(|| dict.clone()).or(selection.key.clone());
                let prefixes = Vec::from_iter((!prefix.is_empty()).then(|| prefix.to_owned()));
                let found = Selection { key, prefixes };
                if found != Selection::default() && found != *selection {
                    return Some(Suggestion { selection: found, convention: convention.clone() });
                }
            }
        }
    }
    None
}

/// The names of a file that may be the network's, without prefixes, each with the whole name. A dict that is named holds
/// all of them. Where it is not, the name of the dict that is the network's is taken off first, unless the prefixes are of
/// whole names; that dict comes with them.
fn selected<'a>(
    checkpoint: &'a Checkpoint<'a>,
    selection: &Selection,
) -> Result<(Option<Dict>, BTreeMap<&'a str, &'a str>), String> {
    let shapes = checkpoint.shapes();
    let Selection { key, prefixes } = selection;
    let whole = prefixes.first().is_some_and(|prefix| shapes.iter().any(|(name, _)| name.starts_with(prefix.as_str())));
    let dict = (key.is_none() && !whole).then(|| checkpoint.network());
    let within = match (key, &dict) {
        (Some(key), _) => format!("{key}."),
        (None, Some(dict)) => dict.prefix(),
        (None, None) => String::new(),
    };
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for (full, _) in shapes {
        let mut name = match full.strip_prefix(within.as_str()) {
            Some(name) => name,
            None if key.is_some() => continue,
            None => full,
        };
        for prefix in prefixes {
            name = name.strip_prefix(prefix.as_str()).unwrap_or(name);
        }
        if let Some(other) = names.insert(name, full) {
            return Err(format!("tensors `{other}` and `{full}` are both `{name}` without their prefixes"));
        }
    }
    match key {
        Some(key) if names.is_empty() => {
            let dicts: Vec<String> = checkpoint.dicts().iter().map(|dict| format!("`{dict}`")).collect();
            let has = if dicts.is_empty() { String::new() } else { format!("; it has {}", dicts.join(", ")) };
            Err(format!("the file has no dict of tensors `{key}`{has}"))
        }
        _ => Ok((dict, names)),
    }
}

impl Suggestion {
    /// As flags of a command: `--key ema --strip-prefix module.`
    pub fn flags(&self) -> String {
        let Selection { key, prefixes } = &self.selection;
        let key = key.iter().map(|key| format!("--key {key}"));
        key.chain(prefixes.iter().map(|prefix| format!("--strip-prefix {prefix}"))).collect::<Vec<_>>().join(" ")
    }

    /// As calls of a build script: `.key("ema").strip_prefix("module.")`
    pub fn calls(&self) -> String {
        let Selection { key, prefixes } = &self.selection;
        let key = key.iter().map(|key| format!(".key({key:?})"));
        key.chain(prefixes.iter().map(|prefix| format!(".strip_prefix({prefix:?})"))).collect()
    }
}

impl Names {
    /// The tensors of the file under these names.
    pub fn of<'a>(&'a self, checkpoint: &'a Checkpoint<'a>) -> Named<'a> {
        Named { checkpoint, names: self, left_over: &[] }
    }

    /// Whose convention the file follows, where it is not the network's own.
    pub fn convention(&self) -> Option<&str> {
        self.convention.as_deref()
    }
}

impl Source for Named<'_> {
    fn tensor(&self, name: &str, kind: Kind, shape: &[usize]) -> Result<Stored<'_>, SourceError> {
        let Some(full) = self.names.in_file.get(name) else {
            return Err(SourceError::Missing { name: name.to_owned(), near: Vec::new() });
        };
        self.checkpoint.tensor(full, kind, shape).map_err(|error| match error {
            SourceError::Missing { near, .. } => SourceError::Missing { name: name.to_owned(), near },
            SourceError::Shape { expected, found, .. } => SourceError::Shape { name: name.to_owned(), expected, found },
            SourceError::Unread { why, .. } => SourceError::Unread { name: name.to_owned(), why },
        })
    }

    fn names(&self) -> Vec<&str> {
        let found = self.names.in_file.keys().map(String::as_str);
        found.chain(self.left_over.iter().map(|&(name, _)| name)).collect()
    }
}

impl Match<'_> {
    /// All tensors of the file, by the network's names where they are its, with their shapes.
    pub fn shapes<'s>(&'s self, checkpoint: &'s Checkpoint<'_>) -> BTreeMap<&'s str, Vec<usize>> {
        let shapes: BTreeMap<&str, &[usize]> = checkpoint.shapes().into_iter().collect();
        let found = self.names.in_file.iter().map(|(name, full)| (name.as_str(), shapes[full.as_str()]));
        self.left_over.iter().copied().chain(found).map(|(name, shape)| (name, shape.to_vec())).collect()
    }

    /// What to do about mistakes, said as `say` says it, where something is known.
    pub fn help(&self, say: impl Fn(&Suggestion) -> String) -> Option<String> {
        let suggestion = self.suggestion.as_ref()?;
        let by = suggestion.convention.as_ref().map_or(String::new(), |name| format!(", as {name} names them"));
        Some(format!("all names would match with `{}`{by}", say(suggestion)))
    }

    /// Which dict of the file was taken for the network's, where there are others.
    pub fn choice(&self) -> Option<String> {
        let Dict { name, others } = self.dict.as_ref().filter(|dict| !dict.others.is_empty())?;
        let taken = if name.is_empty() { "the file itself".to_owned() } else { format!("`{name}`") };
        let others: Vec<String> = others.iter().map(|other| format!("`{other}`")).collect();
        Some(format!("the tensors of {taken} are taken, not those of {}", others.join(" or ")))
    }
}

impl fmt::Display for Match<'_> {
    /// The mistakes, one a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.mistakes.iter().map(SourceError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use kiln_rt::safetensors::{Dtype, View, write};

    use super::super::convention::conventions;
    use super::*;

    fn file(tensors: &[(&str, &[usize])]) -> Vec<u8> {
        let zeros = [0; 64];
        let bytes = |shape: &[usize]| &zeros[..shape.iter().product()];
        write(tensors.iter().map(|&(name, shape)| (name, View { dtype: Dtype::U8, shape, bytes: bytes(shape) })))
    }

    fn wanted(names: &[&str]) -> Vec<Wanted> {
        let wanted = |&name: &&str| Wanted { name: name.to_owned(), kind: Kind::Kernel, shape: vec![2] };
        names.iter().map(wanted).collect()
    }

    /// Under which names of the file tensors are found, or the mistakes and what helps.
    fn found(
        network: &[&str],
        in_file: &[&str],
        prefixes: &[&str],
        rules: &str,
    ) -> Result<(Vec<String>, Option<String>), String> {
        let bytes = file(&in_file.iter().map(|&name| (name, &[2][..])).collect::<Vec<_>>());
        let checkpoint = Checkpoint::parse(&bytes).expect("a file");
        let prefixes: Vec<String> = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        let wanted = wanted(network);
        let selection = Selection { key: None, prefixes };
        let found = match_names(&wanted, &checkpoint, &selection, &conventions(rules).expect("rules"))?;
        if !found.mistakes.is_empty() {
            return Err(format!("{found}\nhelp: {:?}", found.help(Suggestion::flags)));
        }
        let full = wanted.iter().map(|wanted| found.names.in_file[&wanted.name].clone()).collect();
        Ok((full, found.names.convention))
    }

    #[test]
    fn prefixes_are_taken_off_one_after_the_other_and_suggested() {
        let network = ["a.weight", "b.weight"];
        let in_file = ["module.model.a.weight", "module.model.b.weight", "module.steps"];
        let full = in_file[..2].iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        for prefixes in [&["module.model."][..], &["module.", "model."], &["x.", "module.", "model.", "model."]] {
            assert_eq!(found(&network, &in_file, prefixes, ""), Ok((full.clone(), None)));
        }
        let help = |prefix: &str| format!("help: Some(\"all names would match with `--strip-prefix {prefix}`\")");
        assert!(found(&network, &in_file, &[], "").is_err_and(|message| message.ends_with(&help("module.model."))));
        let further = found(&network, &in_file, &["module."], "");
        assert!(further.is_err_and(|message| message.ends_with(&help("module.model."))));
        // No prefix helps where a name would still be missing.
        let message = found(&["a.weight", "c.weight"], &in_file, &[], "").expect_err("a mistake");
        assert!(message.contains("no tensor `c.weight`") && message.ends_with("help: None"), "{message}");
        let twice = found(&["a"], &["m.a", "a"], &["m."], "");
        assert_eq!(twice, Err("tensors `a` and `m.a` are both `a` without their prefixes".to_owned()));
    }

    const RULES: &str = "[First]\nstem  head\n[Counted] # through stages\nstages.{s=0}.{b}.conv  blocks.{s.b}.first\n\
                         stages.{s}.{b}.conv  blocks.{s.b}.conv_{x}\n";

    #[test]
    fn a_convention_counts_through() {
        let rules = RULES.replace("conv_{x}", "{s}.{b}.conv");
        let network =
            ["stages.0.0.conv.weight", "stages.1.0.conv.weight", "stages.1.2.conv.bias", "stages.10.0.conv.w", "fc"];
        let in_file = [
            "blocks.0.first.weight",
            "blocks.1.1.0.conv.weight",
            "blocks.2.1.2.conv.bias",
            "blocks.3.10.0.conv.w",
            "fc",
        ];
        let full = in_file.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(found(&network, &in_file, &[], &rules), Ok((full.clone(), Some("Counted".to_owned()))));
        let prefixed = in_file.map(|name| format!("m.{name}"));
        let message =
            found(&network, &prefixed.each_ref().map(|name| name.as_str()), &[], &rules).expect_err("a prefix");
        assert!(message.contains("`--strip-prefix m.`, as Counted names them"), "{message}");
        // Its own names come first.
        assert_eq!(found(&["stem"], &["stem", "head"], &[], &rules), Ok((vec!["stem".to_owned()], None)));
        assert_eq!(found(&["stem"], &["head"], &[], &rules), Ok((vec!["head".to_owned()], Some("First".to_owned()))));
    }

    #[test]
    fn shapes_are_told_by_the_networks_names() {
        let bytes = file(&[("head", &[3])]);
        let checkpoint = Checkpoint::parse(&bytes).expect("a file");
        let found = match_names(&wanted(&["head"]), &checkpoint, &Selection::default(), &[]).expect("names");
        assert_eq!(found.to_string(), "tensor `head` has shape [3], and [2] is needed");
    }
}
