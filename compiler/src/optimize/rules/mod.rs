//! The rules, by theme, and what a rule is made of. `README.md` beside this folder says how to write one.

pub mod fold;
pub mod fuse;
pub mod identity;
pub mod layout;
pub mod pad;
pub mod parts;
pub mod site;
pub mod spelled;

use std::sync::LazyLock;

use egg::{Id, Pattern};

use super::language::Term;
pub use site::Site;

/// When a rule runs. Each phase runs its own rules and those of the phases before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Removes and folds; runs until nothing changes.
    Fold,
    /// Moves values about; runs within the limits of [`super::Options`].
    Explore,
    /// Builds fused nodes; runs until nothing changes.
    Fuse,
}

/// A rewrite rule: data, with three small functions for what a pattern cannot say.
#[derive(Debug)]
pub struct Rule {
    /// Its name, kebab-case.
    pub name: &'static str,
    /// What it says, on one line: `bn(conv(x, w)) == conv(x, w')`.
    pub reading: &'static str,
    /// When it runs.
    pub phase: Phase,
    /// The left side, in the words of [`super::language`]; several where operands may stand in either order.
    pub patterns: &'static [&'static str],
    /// What belongs to the left side but cannot be said in a pattern. Where it fails there is nothing to report.
    pub guard: fn(&Site<'_>) -> bool,
    /// When the rule is right. Where one fails, `explain` reports it as a near miss.
    pub when: &'static [Condition],
    /// The class of the right side; None where it has no type, which leaves the left side as it is.
    pub apply: fn(&mut Site<'_>) -> Option<Id>,
}

/// A named precondition.
#[derive(Debug)]
pub struct Condition {
    /// Its name, kebab-case.
    pub name: &'static str,
    /// Why the rule would be wrong, or no gain, where this does not hold.
    pub reason: &'static str,
    /// The check.
    pub holds: fn(&Site<'_>) -> bool,
}

/// The guard of a rule whose patterns say it all.
pub const ALWAYS: fn(&Site<'_>) -> bool = |_| true;

/// All rules, theme by theme.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [identity::RULES, pad::RULES, fold::RULES, layout::RULES, spelled::RULES, fuse::RULES].into_iter().flatten()
}

/// A rule with its patterns parsed.
#[derive(Debug)]
pub struct Compiled {
    /// The rule.
    pub rule: &'static Rule,
    /// Its patterns, in order.
    pub patterns: Vec<Pattern<Term>>,
}

/// All rules, ready to match.
///
/// # Panics
/// Where a rule's pattern does not parse; a test goes through all of them.
pub fn compiled() -> &'static [Compiled] {
    static COMPILED: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
        let parse = |pattern: &&str| match pattern.parse() {
            Ok(pattern) => pattern,
            Err(error) => panic!("the pattern {pattern} does not parse: {error}"),
        };
        all().map(|rule| Compiled { rule, patterns: rule.patterns.iter().map(parse).collect() }).collect()
    });
    &COMPILED
}
