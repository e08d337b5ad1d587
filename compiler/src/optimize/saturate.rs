//! Runs the rules on an e-graph, phase by phase, and keeps what explains the result.
//!
//! An iteration looks for all matches first and applies them after, in a fixed order: rule, pattern, class. It stops
//! when nothing changes, or at a limit on iterations or e-nodes. No limit is one of time.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use egg::{ENodeOrVar, Id, Language, Pattern, Searcher, Subst};

use super::analysis::EGraph;
use super::language::Term;
use super::rules::{Compiled, Phase, Rule, Site, compiled};
use crate::graph::DType;

/// Bounds on one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rounds of matching and applying.
    pub iterations: usize,
    /// E-nodes, counted after each rule.
    pub nodes: usize,
}

/// A rule that made something equal to something else.
#[derive(Clone, Debug)]
pub struct Application {
    /// The rule.
    pub rule: &'static Rule,
    /// The class where it matched.
    pub root: Id,
    /// The e-nodes that it matched, the root first.
    pub premises: Vec<Term>,
    /// The e-nodes that it added, by uncanonical id; none where both sides were there.
    pub made: Range<usize>,
}

/// A precondition that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Miss {
    /// The class where the rule's pattern matched.
    pub root: Id,
    /// The rule, by position in [`compiled`].
    pub rule: usize,
    /// The condition, by position in the rule.
    pub condition: usize,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Applications, in order.
    pub applications: Vec<Application>,
    /// Near misses, also of rules that applied later to the same class.
    pub misses: BTreeSet<Miss>,
    /// Matches that were applied, so that they are not applied again.
    done: HashSet<(usize, usize, Id, Vec<Id>)>,
}

/// Runs every phase. Folding and fusing end by themselves; their bounds only keep a mistake in a rule from running on.
pub fn saturate(egraph: &mut EGraph, log: &mut Log, explore: Limits) {
    let enough = Limits { iterations: 64, nodes: 64 * egraph.total_size() + 1024 };
    for (phase, limits) in [(Phase::Fold, enough), (Phase::Explore, explore), (Phase::Fuse, enough)] {
        run(egraph, log, |rule| rule.phase <= phase, limits);
    }
}

/// Runs the selected rules until nothing changes or a limit is reached.
pub fn run(egraph: &mut EGraph, log: &mut Log, select: impl Fn(&Rule) -> bool, limits: Limits) {
    egraph.rebuild();
    for _ in 0..limits.iterations {
        let before = (egraph.total_size(), egraph.number_of_classes());
        let matches: Vec<Match> = compiled()
            .iter()
            .enumerate()
            .filter(|(_, compiled)| select(compiled.rule))
            .flat_map(|(rule, compiled)| search(egraph, rule, compiled))
            .collect();
        for found in &matches {
            apply(egraph, log, found);
            if egraph.total_size() > limits.nodes {
                egraph.rebuild();
                return;
            }
        }
        egraph.rebuild();
        if (egraph.total_size(), egraph.number_of_classes()) == before {
            return;
        }
    }
}

/// The most matches of a pattern in one iteration; the rest is found in the next one.
const MATCHES: usize = 1 << 14;

/// A rule's pattern in the e-graph.
#[derive(Clone, Debug)]
pub struct Match {
    /// The rule, by position in [`compiled`].
    pub rule: usize,
    /// Which of its patterns.
    pub pattern: usize,
    /// The class.
    pub root: Id,
    /// What the variables stand for.
    pub subst: Subst,
}

/// All matches of a rule, by pattern and class.
pub fn search(egraph: &EGraph, rule: usize, compiled: &Compiled) -> Vec<Match> {
    let mut found = Vec::new();
    for (pattern, left) in compiled.patterns.iter().enumerate() {
        let mut classes = left.search_with_limit(egraph, MATCHES);
        classes.sort_by_key(|class| class.eclass);
        for class in classes {
            found.extend(class.substs.into_iter().map(|subst| Match { rule, pattern, root: class.eclass, subst }));
        }
    }
    found
}

/// Applies a match and gives the class of the right side, where the rule holds and says something.
pub fn apply(egraph: &mut EGraph, log: &mut Log, found: &Match) -> Option<Id> {
    let Compiled { rule, patterns } = &compiled()[found.rule];
    let left = &patterns[found.pattern];
    let root = egraph.find(found.root);
    let bound = left.vars().into_iter().filter_map(|var| found.subst.get(var)).map(|&id| egraph.find(id)).collect();
    let key = (found.rule, found.pattern, root, bound);
    if log.done.contains(&key) {
        return None;
    }
    // Rules are about real numbers: sums of integers wrap, and their quotients are rounded.
    if egraph[root].data.ty.as_ref().is_some_and(|ty| ty.dtype != DType::F32) {
        return None;
    }
    let first = egraph.nodes().len();
    let site = Site::new(egraph, root, &found.subst, found.pattern);
    if !(rule.guard)(&site) {
        return None;
    }
    if let Some(condition) = rule.when.iter().position(|condition| !(condition.holds)(&site)) {
        log.misses.insert(Miss { root, rule: found.rule, condition });
        return None;
    }
    let premises = premises(egraph, left, &found.subst, root);
    if premises.iter().skip(1).any(|(id, _)| *id == root) {
        // Such as relu(y) == y for a y that is itself a relu: true, and nothing to build on without end.
        return None;
    }
    let right = (rule.apply)(&mut Site::new(egraph, root, &found.subst, found.pattern))?;
    log.done.insert(key);
    debug_assert_eq!(egraph[right].data.ty, egraph[root].data.ty, "{} changes a type", rule.name);
    if egraph[right].data.ty != egraph[root].data.ty {
        return None;
    }
    let made = first..egraph.nodes().len();
    if egraph.union(root, right) || !made.is_empty() {
        let premises = premises.into_iter().map(|(_, term)| term).collect();
        log.applications.push(Application { rule, root, premises, made });
    }
    Some(right)
}

/// The e-nodes that a pattern matched, with their classes, the root first.
pub fn premises(egraph: &EGraph, left: &Pattern<Term>, subst: &Subst, root: Id) -> Vec<(Id, Term)> {
    let ast = left.ast.as_ref();
    let mut terms = Vec::new();
    match_node(egraph, ast, ast.len() - 1, subst, root, &mut terms);
    terms
}

/// Whether class `id` has an e-node that the pattern's node `at` is under the substitution; pushes it and those below.
fn match_node(
    egraph: &EGraph,
    ast: &[ENodeOrVar<Term>],
    at: usize,
    subst: &Subst,
    id: Id,
    terms: &mut Vec<(Id, Term)>,
) -> bool {
    let pattern = match &ast[at] {
        ENodeOrVar::Var(var) => return subst.get(*var).is_some_and(|&bound| egraph.find(bound) == egraph.find(id)),
        ENodeOrVar::ENode(pattern) => pattern,
    };
    egraph[id].nodes.iter().any(|term| {
        let start = terms.len();
        terms.push((egraph.find(id), term.clone()));
        let matches = pattern.matches(term)
            && pattern
                .children()
                .iter()
                .zip(term.children())
                .all(|(&below, &child)| match_node(egraph, ast, usize::from(below), subst, child, terms));
        if !matches {
            terms.truncate(start);
        }
        matches
    })
}

/// For each e-node that a rule made, by its canonical form, the first application that made it.
pub fn makers(egraph: &EGraph, log: &Log) -> HashMap<Term, usize> {
    let mut makers = HashMap::new();
    for (number, application) in log.applications.iter().enumerate() {
        for id in application.made.clone() {
            let term = canonical(egraph, &egraph.nodes()[id]);
            makers.entry(term).or_insert(number);
        }
    }
    makers
}

/// An e-node with its children's present classes.
pub fn canonical(egraph: &EGraph, term: &Term) -> Term {
    term.clone().map_children(|id| egraph.find(id))
}
