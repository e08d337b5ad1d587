//! How other programs name the tensors of a network.
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

use crate::graph::weights::Source as Wanted;

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
    pub(super) fn names_of(&self, wanted: &[Wanted]) -> Vec<String> {
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
    use super::*;

    const RULES: &str = "[First]\nstem  head\n[Counted] # through stages\nstages.{s=0}.{b}.conv  blocks.{s.b}.first\n\
                         stages.{s}.{b}.conv  blocks.{s.b}.conv_{x}\n";

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
