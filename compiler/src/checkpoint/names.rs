//! How the tensors of a network are called in a file: under its own names, behind prefixes, or by the convention of
//! another program.
//!
//! A convention is a list of rules in a text, `#` before remarks:
//!
//! ```text
//! [EfficientNet-PyTorch]
//! conv_stem                    _conv_stem
//! blocks.{i=0}.{r}.conv_dw     _blocks.{i.r}._depthwise_conv
//! blocks.{i}.{r}.conv_dw       _blocks.{i.r}._depthwise_conv
//! ```
//!
//! The left side is the start of the network's name: parts between dots, of which `{i}` is any number and `{i=0}` that
//! one. The first rule that fits gives the start of the file's name, and the rest follows as it is. On the right, `{i}`
//! is the number, and `{i.r}` the place of the numbers `i`, `r` among all those that rules with `{i.r}` find in the
//! network, from 0 on: what counts through where the network counts in stages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kiln_rt::weights::{Expr, Source, SourceError, Stored, check};

use super::Checkpoint;
use crate::graph::weights::{Kind, Source as Wanted};

/// The names of a network's tensors in a file.
#[derive(Clone, Debug, Default)]
pub struct Names {
    in_file: BTreeMap<String, String>,
    convention: Option<String>,
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
    /// The prefix without which all names would match, and the convention by which.
    pub suggestion: Option<(String, Option<String>)>,
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
/// Two names of the file are one without their prefixes.
pub fn match_names<'a>(
    wanted: &[Wanted],
    checkpoint: &'a Checkpoint<'a>,
    prefixes: &[String],
    conventions: &[Convention],
) -> Result<Match<'a>, String> {
    let file = without_prefixes(checkpoint, prefixes)?;
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
        false => candidates.iter().find_map(|(convention, names)| {
            let first = names.first()?;
            // Those of the network's own dict first, where there are several.
            let own = |network: bool| {
                let of = file.iter().filter(move |(_, full)| full.starts_with(checkpoint.network()) == network);
                of.filter_map(|(name, _)| name.strip_suffix(first.as_str()))
            };
            let mut prefixes = own(true).chain(own(false));
            let helps = |prefix: &&str| {
                !prefix.is_empty()
                    && names.iter().zip(wanted).all(|(name, tensor)| fits(&format!("{prefix}{name}"), tensor))
            };
            prefixes.find(helps).map(|prefix| (prefix.to_owned(), convention.clone()))
        }),
    };
    Ok(Match { names, left_over, mistakes, suggestion })
}

/// The names of a file without prefixes, each with the whole name. Where the network's tensors are one dict of several,
/// its name is taken off first, unless the prefixes are of whole names.
fn without_prefixes<'a>(
    checkpoint: &'a Checkpoint<'a>,
    prefixes: &[String],
) -> Result<BTreeMap<&'a str, &'a str>, String> {
    let shapes = checkpoint.shapes();
    let whole = prefixes.first().is_some_and(|prefix| shapes.iter().any(|(name, _)| name.starts_with(prefix.as_str())));
    let network = if whole { "" } else { checkpoint.network() };
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for (full, _) in shapes {
        let mut name = full.strip_prefix(network).unwrap_or(full);
        for prefix in prefixes {
            name = name.strip_prefix(prefix.as_str()).unwrap_or(name);
        }
        if let Some(other) = names.insert(name, full) {
            return Err(format!("tensors `{other}` and `{full}` are both `{name}` without their prefixes"));
        }
    }
    Ok(names)
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

    /// The prefix without which all names would match.
    pub fn prefix(&self) -> Option<&str> {
        self.suggestion.as_ref().map(|(prefix, _)| prefix.as_str())
    }

    /// What to do about mistakes on the command line, where something is known.
    pub fn help(&self) -> Option<String> {
        let (prefix, convention) = self.suggestion.as_ref()?;
        let by = convention.as_ref().map_or(String::new(), |name| format!(", as {name} names them"));
        Some(format!("all names would match with `--strip-prefix {prefix}`{by}"))
    }
}

impl fmt::Display for Match<'_> {
    /// The mistakes, one a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.mistakes.iter().map(SourceError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// How another program names the tensors of a network.
#[derive(Clone, Debug)]
pub struct Convention {
    /// The program's name.
    pub name: String,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    network: Vec<Part>,
    file: Vec<Part>,
}

/// What stands between two dots.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Word(String),
    /// Variables: one on the left, with the number that it must have, or those that count together on the right.
    Number(Vec<String>, Option<usize>),
}

/// The conventions in a text.
///
/// # Errors
/// What is not a rule, with its line.
pub fn conventions(text: &str) -> Result<Vec<Convention>, String> {
    let mut conventions: Vec<Convention> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |why: &str| format!("line {}: {why}: {line}", index + 1);
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| wrong("`]` is missing"))?;
            conventions.push(Convention { name: name.to_owned(), rules: Vec::new() });
        } else if !line.is_empty() {
            let [network, file] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                return Err(wrong("a rule has two sides"));
            };
            let convention = conventions.last_mut().ok_or_else(|| wrong("a rule before `[NAME]`"))?;
            convention.rules.push(Rule::new(network, file).map_err(|why| wrong(&why))?);
        }
    }
    Ok(conventions)
}

/// The parts of one side. Braces hold dots of their own.
fn parts(side: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = side;
    loop {
        let braces = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (part, behind) = match braces {
            Some((inner, behind)) => {
                let (names, value) = match inner.split_once('=') {
                    None => (inner, None),
                    Some((name, value)) => {
                        (name, Some(value.parse().map_err(|_| format!("`{value}` is not a number"))?))
                    }
                };
                (Part::Number(names.split('.').map(str::to_owned).collect(), value), behind)
            }
            None => {
                let (word, behind) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
                (Part::Word(word.to_owned()), behind)
            }
        };
        if matches!(&part, Part::Word(word) if word.is_empty() || word.contains(['{', '}'])) {
            return Err("a part between dots is a word or stands in braces".to_owned());
        }
        parts.push(part);
        rest = match behind.strip_prefix('.') {
            Some(rest) => rest,
            None if behind.is_empty() => return Ok(parts),
            None => return Err("braces are a part of their own".to_owned()),
        };
    }
}

/// The numbers that variables stand for.
type Numbers<'r> = BTreeMap<&'r str, usize>;

impl Rule {
    /// Variables stand one by one on the left, and there if on the right.
    fn new(network: &str, file: &str) -> Result<Self, String> {
        let (network, file) = (parts(network)?, parts(file)?);
        let mut known = BTreeSet::new();
        for part in &network {
            if let Part::Number(names, _) = part
                && (names.len() != 1 || !known.insert(&names[0]))
            {
                return Err("braces on the left hold one variable, each once".to_owned());
            }
        }
        for part in &file {
            match part {
                Part::Word(_) => {}
                Part::Number(_, Some(_)) => return Err("a number is asked for on the left".to_owned()),
                Part::Number(names, None) => {
                    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
                        return Err(format!("`{name}` does not stand on the left"));
                    }
                }
            }
        }
        Ok(Rule { network, file })
    }

    /// The numbers in a name, and what follows, if it starts as the rule says.
    fn matches<'r, 'n>(&'r self, name: &'n str) -> Option<(Numbers<'r>, Vec<&'n str>)> {
        let mut words = name.split('.');
        let mut numbers = Numbers::new();
        for part in &self.network {
            let word = words.next()?;
            match part {
                Part::Word(wanted) if word == wanted => {}
                Part::Word(_) => return None,
                Part::Number(names, wanted) => {
                    let number = word.parse().ok()?;
                    if wanted.is_some_and(|wanted| wanted != number) {
                        return None;
                    }
                    numbers.extend(names.iter().map(|name| (name.as_str(), number)));
                }
            }
        }
        Some((numbers, words.collect()))
    }
}

impl Convention {
    /// The names in a file of what a network reads; those that no rule fits stay.
    fn names_of(&self, wanted: &[Wanted]) -> Vec<String> {
        let found: Vec<_> = wanted
            .iter()
            .map(|tensor| self.rules.iter().find_map(|rule| Some((rule, rule.matches(&tensor.name)?))))
            .collect();
        // All numbers that variables have together, in order.
        let mut together: BTreeMap<&[String], BTreeSet<Vec<usize>>> = BTreeMap::new();
        let of = |names: &[String], numbers: &Numbers<'_>| -> Vec<usize> {
            names.iter().filter_map(|name| numbers.get(name.as_str()).copied()).collect()
        };
        for (rule, (numbers, _)) in found.iter().flatten() {
            for part in &rule.file {
                if let Part::Number(names, _) = part {
                    together.entry(names).or_default().insert(of(names, numbers));
                }
            }
        }
        let name = |found: &Option<(&Rule, (Numbers<'_>, Vec<&str>))>, tensor: &Wanted| -> String {
            let Some((rule, (numbers, rest))) = found else { return tensor.name.clone() };
            let start = rule.file.iter().map(|part| match part {
                Part::Word(word) => word.clone(),
                Part::Number(names, _) => match &of(names, numbers)[..] {
                    [number] => number.to_string(),
                    several => together[&names[..]].range(..several.to_vec()).count().to_string(),
                },
            });
            start.chain(rest.iter().map(|&word| word.to_owned())).collect::<Vec<_>>().join(".")
        };
        found.iter().zip(wanted).map(|(found, tensor)| name(found, tensor)).collect()
    }
}

#[cfg(test)]
mod tests {
    use kiln_rt::safetensors::{Dtype, View, write};

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
        let found = match_names(&wanted, &checkpoint, &prefixes, &conventions(rules).expect("rules"))?;
        if !found.mistakes.is_empty() {
            return Err(format!("{found}\nhelp: {:?}", found.help()));
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
        assert!(found(&network, &in_file, &["module."], "").is_err_and(|message| message.ends_with(&help("model."))));
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
        let found = match_names(&wanted(&["head"]), &checkpoint, &[], &[]).expect("names");
        assert_eq!(found.to_string(), "tensor `head` has shape [3], and [2] is needed");
    }

    #[test]
    fn rules_that_say_nothing_are_mistakes() {
        for (text, words) in [
            (RULES, "line 5: a part between dots is a word or stands in braces"),
            ("[A]\n{i} {i}x", "braces are a part of their own"),
            ("[A]\na. b", "a part between dots"),
            ("[A]\n{i=x} b", "`x` is not a number"),
            ("[A]\n{i} {i=1}", "asked for on the left"),
            ("[A]\n{i} {j}", "`j` does not stand on the left"),
            ("a b", "a rule before `[NAME]`"),
            ("[A]\na", "line 2: a rule has two sides"),
            ("[A]\na b c", "two sides"),
            ("[A", "`]` is missing"),
            ("[A]\n{i.r} b", "one variable"),
            ("[A]\n{i}.{i} b", "each once"),
        ] {
            let message = conventions(text).expect_err(words);
            assert!(message.contains(words), "{message}");
        }
    }
}
