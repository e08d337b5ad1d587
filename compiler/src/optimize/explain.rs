//! The record of what was done, and answers about one node at a time.

use std::collections::BTreeMap;
use std::fmt;

use super::rules::{Condition, Phase, Rule};

/// What rewriting did to a network.
#[derive(Clone, Debug, Default)]
pub struct Record {
    explanations: Vec<Explanation>,
    /// Nodes of the optimized network, and sources, with the explanations of what computes them.
    by_name: BTreeMap<String, Vec<usize>>,
}

/// Why a node of the optimized network is what it is.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The node.
    pub node: String,
    /// Its operator in short: `conv + add + relu`.
    pub kernel: String,
    /// The source nodes that it computes, in order.
    pub layers: Vec<String>,
    /// The rules that led to it, in order.
    pub chain: Vec<Applied>,
    /// Rules that offered to take in more, by a form that is no cheaper.
    pub passed: Vec<Applied>,
    /// Rules that would have applied but for a precondition.
    pub near_misses: Vec<Missed>,
}

/// A rule that applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The rule.
    pub rule: &'static Rule,
    /// The source nodes that it looked at, by name, in order.
    pub layers: Vec<String>,
}

/// A rule that did not apply, and why.
#[derive(Clone, Debug)]
pub struct Missed {
    /// The rule.
    pub rule: &'static Rule,
    /// The precondition that did not hold.
    pub condition: &'static Condition,
    /// The source node where the rule would have applied.
    pub at: String,
}

impl Record {
    /// The explanations of a node of the optimized network, or of a source node: of every node that computes it. None
    /// where there is no such node, or it is gone without a trace.
    pub fn explain(&self, name: &str) -> Option<Vec<&Explanation>> {
        Some(self.by_name.get(name)?.iter().map(|&i| &self.explanations[i]).collect())
    }

    /// All explanations, in the order of the optimized network's nodes.
    pub fn explanations(&self) -> &[Explanation] {
        &self.explanations
    }

    pub(super) fn push(&mut self, explanation: Explanation) {
        let number = self.explanations.len();
        for name in explanation.layers.iter().chain([&explanation.node]) {
            let of_name = self.by_name.entry(name.clone()).or_default();
            if !of_name.contains(&number) {
                of_name.push(number);
            }
        }
        self.explanations.push(explanation);
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.node, self.kernel)?;
        if self.layers.iter().any(|layer| *layer != self.node) {
            write!(f, "\n  computes {}", self.layers.join(", "))?;
        }
        // A rule that only gives a fused node's name to one node is no news.
        let news = |applied: &&Applied| applied.rule.phase != Phase::Fuse || applied.layers.len() > 1;
        for Applied { rule, layers } in self.chain.iter().filter(news) {
            write!(f, "\n  by {}: {}", rule.name, rule.reading)?;
            if !layers.is_empty() {
                write!(f, "\n     on {}", layers.join(", "))?;
            }
        }
        for Missed { rule, condition, at } in &self.near_misses {
            write!(f, "\n  not {} at {at}: {}", rule.name, condition.reason)?;
        }
        for Applied { rule, layers } in &self.passed {
            write!(
                f,
                "\n  not {} on {}: no gain, as where a value is read elsewhere too",
                rule.name,
                layers.join(", ")
            )?;
        }
        Ok(())
    }
}
