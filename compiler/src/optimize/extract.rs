//! Picks one e-node a class, so that the whole is cheap: the cost is that of a DAG, each class counted once.
//!
//! Two starts are improved and the cheaper one is taken. The first is a greedy DAG extraction, as in the extraction gym:
//! bottom up, each class picks the e-node whose set of classes below is cheapest; sets and not sums, so what is shared
//! counts once. It sees no sharing between one class and its siblings. The second start is the network as it was.
//! Improvement is *exact local area*, known from technology mapping (Mishchenko, Cho, Chatterjee and Brayton 2007,
//! "Combinational and sequential mapping with priority cuts"): with the references of each class counted, the gain of
//! switching one class to another e-node is exactly what the switch frees less what it needs anew.
//!
//! A tree cost would count what is shared once a reader: on a DenseNet it passes an f64's resolution. Choices never form
//! a cycle, not even among classes that no root needs. Ties go to the plainer e-node, then to the one whose operands are
//! ready first, so that a sum of two convolutions is fused into the later one.

use std::collections::{BTreeMap, HashMap, VecDeque};

use egg::Id;

use super::analysis::EGraph;
use super::cost::{Cost, cost};
use super::language::{Applied, Term, decode};
use super::saturate::canonical;
use crate::graph::{Op, TensorType};

/// The picked e-nodes: all that the roots need.
#[derive(Clone, Debug)]
pub struct Selection {
    /// By class.
    pub nodes: BTreeMap<Id, Picked>,
}

/// A picked e-node.
#[derive(Clone, Debug)]
pub struct Picked {
    /// The e-node, with canonical children.
    pub term: Term,
    /// The node that it is, over canonical classes.
    pub applied: Applied,
}

/// Extracts what the roots need. `sources` are the e-nodes of the network as it was, in its order, with their classes.
pub fn extract(egraph: &EGraph, roots: &[Id], sources: &[(Id, Term)]) -> Selection {
    let problem = Problem::new(egraph, roots, sources);
    let greedy = Cover::new(&problem, &problem.greedy()).improved();
    let given = Cover::new(&problem, &problem.given(egraph, sources)).improved();
    let best = if given.total < greedy.total { given } else { greedy };
    best.selection()
}

/// An e-node that a class may pick.
struct Candidate {
    picked: Picked,
    children: Vec<usize>,
    cost: Cost,
}

/// The e-graph as extraction sees it: classes of values that the roots may need, numbered, sources in their order first.
struct Problem {
    ids: Vec<Id>,
    classes: Vec<Vec<Candidate>>,
    roots: Vec<usize>,
}

impl Problem {
    fn new(egraph: &EGraph, roots: &[Id], sources: &[(Id, Term)]) -> Self {
        let mut rank: HashMap<Id, usize> = HashMap::new();
        for (i, (id, _)) in sources.iter().enumerate() {
            rank.entry(egraph.find(*id)).or_insert(i);
        }
        let rank_of = |id: Id| rank.get(&id).copied().unwrap_or(usize::MAX);
        let mut found: BTreeMap<Id, Vec<Picked>> = BTreeMap::new();
        let mut stack: Vec<Id> = roots.iter().map(|&id| egraph.find(id)).collect();
        while let Some(id) = stack.pop() {
            if found.contains_key(&id) {
                continue;
            }
            let nodes: Vec<Picked> = egraph[id].nodes.iter().filter_map(|term| picked(egraph, term)).collect();
            stack.extend(nodes.iter().flat_map(|node| node.applied.operands.iter().copied()));
            found.insert(id, nodes);
        }
        let mut ids: Vec<Id> = found.keys().copied().collect();
        ids.sort_by_key(|&id| (rank_of(id), id));
        let number: HashMap<Id, usize> = ids.iter().enumerate().map(|(i, &id)| (id, i)).collect();
        let classes = ids
            .iter()
            .map(|id| {
                let nodes = found.remove(id).unwrap_or_default();
                let mut candidates: Vec<Candidate> = nodes
                    .into_iter()
                    .map(|picked| {
                        let mut children: Vec<usize> = picked.applied.operands.iter().map(|id| number[id]).collect();
                        children.sort_unstable();
                        children.dedup();
                        let cost = cost_of(egraph, *id, &picked.applied);
                        Candidate { picked, children, cost }
                    })
                    .collect();
                candidates.sort_by(|a, b| tie(a).cmp(&tie(b)));
                candidates
            })
            .collect();
        let roots = roots.iter().map(|&id| number[&egraph.find(id)]).collect();
        Problem { ids, classes, roots }
    }

    /// The choice of the greedy DAG extraction, None for classes that have none without a cycle.
    fn greedy(&self) -> Vec<Option<usize>> {
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); self.classes.len()];
        for (class, candidates) in self.classes.iter().enumerate() {
            for &child in candidates.iter().flat_map(|candidate| &candidate.children) {
                if readers[child].last() != Some(&class) {
                    readers[child].push(class);
                }
            }
        }
        let mut best: Vec<Option<Best>> = self.classes.iter().map(|_| None).collect();
        let mut queue: VecDeque<usize> = (0..self.classes.len()).collect();
        let mut queued = vec![true; self.classes.len()];
        while let Some(class) = queue.pop_front() {
            queued[class] = false;
            let mut better: Option<Best> = None;
            for (choice, candidate) in self.classes[class].iter().enumerate() {
                let Some(next) = self.best_with(&best, class, choice, candidate) else { continue };
                let bound = better.as_ref().or(best[class].as_ref()).map(|best| best.total);
                if bound.is_none_or(|bound| next.total < bound) {
                    better = Some(next);
                }
            }
            if better.is_some() {
                best[class] = better;
                for &reader in &readers[class] {
                    if !std::mem::replace(&mut queued[reader], true) {
                        queue.push_back(reader);
                    }
                }
            }
        }
        best.into_iter().map(|best| best.map(|best| best.choice)).collect()
    }

    /// What class `class` needs with this candidate; None where operands have no choice yet or need the class itself.
    fn best_with(&self, best: &[Option<Best>], class: usize, choice: usize, candidate: &Candidate) -> Option<Best> {
        let children: Vec<&Best> =
            candidate.children.iter().map(|&child| best[child].as_ref()).collect::<Option<_>>()?;
        if children.iter().any(|child| child.below.contains(class)) {
            return None;
        }
        let largest = children.iter().enumerate().max_by_key(|(i, child)| (child.total, usize::MAX - i));
        let (skip, mut below, mut total) = match largest {
            Some((i, child)) => (i, child.below.clone(), child.total),
            None => (0, Bits::none(self.classes.len()), Cost::ZERO),
        };
        for (i, child) in children.into_iter().enumerate() {
            if i != skip {
                below.absorb(&child.below, |new| {
                    let own = best[new].as_ref().map_or(Cost::ZERO, |best| self.classes[new][best.choice].cost);
                    total = total + own;
                });
            }
        }
        below.insert(class);
        Some(Best { choice, below, total: total + candidate.cost })
    }

    /// The choice of the network as it was; where a class is none of it, the first candidate.
    fn given(&self, egraph: &EGraph, sources: &[(Id, Term)]) -> Vec<Option<usize>> {
        let mut terms: HashMap<Id, Term> = HashMap::new();
        for (id, term) in sources {
            terms.entry(egraph.find(*id)).or_insert_with(|| canonical(egraph, term));
        }
        let position = |(class, id): (usize, &Id)| {
            let term = terms.get(id)?;
            self.classes[class].iter().position(|candidate| candidate.picked.term == *term)
        };
        self.ids.iter().enumerate().map(|class| Some(position(class).unwrap_or(0))).collect()
    }

    /// Choices without a cycle, as close to the wanted ones as an order of the classes allows; None for classes that
    /// cannot be computed.
    fn acyclic(&self, wanted: &[Option<usize>]) -> Vec<Option<usize>> {
        let mut choice: Vec<Option<usize>> = vec![None; self.classes.len()];
        let mut left: Vec<usize> = (0..self.classes.len()).collect();
        loop {
            let before = left.len();
            left.retain(|&class| {
                let ready = |&i: &usize| self.classes[class][i].children.iter().all(|&child| choice[child].is_some());
                choice[class] = wanted[class].filter(|i| *i < self.classes[class].len()).filter(ready);
                choice[class].is_none()
            });
            if left.len() < before {
                continue;
            }
            // Nothing wanted is ready: settle one class otherwise.
            let other = left.iter().enumerate().find_map(|(at, &class)| {
                let ready = |candidate: &Candidate| candidate.children.iter().all(|&child| choice[child].is_some());
                self.classes[class].iter().position(ready).map(|i| (at, class, i))
            });
            match other {
                Some((at, class, i)) => {
                    choice[class] = Some(i);
                    left.remove(at);
                }
                None => return choice,
            }
        }
    }
}

/// A class's choice in the greedy extraction, with all classes that it needs, itself included.
struct Best {
    choice: usize,
    below: Bits,
    total: Cost,
}

/// A set of classes.
#[derive(Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn none(len: usize) -> Self {
        Bits(vec![0; len.div_ceil(64)])
    }

    fn contains(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 == 1
    }

    fn insert(&mut self, i: usize) {
        self.0[i / 64] |= 1 << (i % 64);
    }

    /// Adds all of another set and names those that are new.
    fn absorb(&mut self, other: &Bits, mut new: impl FnMut(usize)) {
        for (i, (word, &more)) in self.0.iter_mut().zip(&other.0).enumerate() {
            let mut fresh = more & !*word;
            *word |= more;
            while fresh != 0 {
                new(i * 64 + fresh.trailing_zeros() as usize);
                fresh &= fresh - 1;
            }
        }
    }
}

/// Choices with the references that they make, counted from the roots.
struct Cover<'a> {
    problem: &'a Problem,
    choice: Vec<Option<usize>>,
    references: Vec<u32>,
    total: Cost,
}

impl<'a> Cover<'a> {
    fn new(problem: &'a Problem, wanted: &[Option<usize>]) -> Self {
        let choice = problem.acyclic(wanted);
        let mut cover = Cover { problem, choice, references: vec![0; problem.classes.len()], total: Cost::ZERO };
        for &root in &problem.roots {
            cover.take(root);
        }
        cover
    }

    fn candidate(&self, class: usize) -> Option<&'a Candidate> {
        let problem = self.problem;
        self.choice[class].map(|i| &problem.classes[class][i])
    }

    /// One more reference to a class; the first one needs its operands.
    fn take(&mut self, class: usize) {
        let mut stack = vec![class];
        while let Some(class) = stack.pop() {
            self.references[class] += 1;
            if self.references[class] == 1
                && let Some(candidate) = self.candidate(class)
            {
                self.total = self.total + candidate.cost;
                stack.extend(&candidate.children);
            }
        }
    }

    /// One reference less; the last one frees its operands.
    fn release(&mut self, class: usize) {
        let mut stack = vec![class];
        while let Some(class) = stack.pop() {
            self.references[class] -= 1;
            if self.references[class] == 0
                && let Some(candidate) = self.candidate(class)
            {
                self.total = self.total - candidate.cost;
                stack.extend(&candidate.children);
            }
        }
    }

    /// Replaces a referenced class's choice. What both choices need is never let go in between.
    fn switch(&mut self, class: usize, to: usize) {
        let (Some(old), new) = (self.candidate(class), &self.problem.classes[class][to]) else { return };
        new.children.iter().for_each(|&child| self.take(child));
        self.choice[class] = Some(to);
        self.total = self.total + new.cost - old.cost;
        old.children.iter().for_each(|&child| self.release(child));
    }

    /// Switches classes, from the roots down, as long as that makes the whole cheaper.
    fn improved(mut self) -> Self {
        loop {
            let before = self.total;
            for class in (0..self.problem.classes.len()).rev() {
                for to in 0..self.problem.classes[class].len() {
                    let Some(from) = self.choice[class].filter(|_| self.references[class] > 0) else { break };
                    if to == from || !self.computable(class, to) {
                        continue;
                    }
                    let total = self.total;
                    self.switch(class, to);
                    if self.total >= total || self.needs_itself(class) {
                        self.switch(class, from);
                    }
                }
            }
            if self.total == before {
                return self;
            }
        }
    }

    fn computable(&self, class: usize, to: usize) -> bool {
        self.problem.classes[class][to].children.iter().all(|&child| self.choice[child].is_some())
    }

    fn needs_itself(&self, class: usize) -> bool {
        let mut seen = vec![false; self.problem.classes.len()];
        let mut stack = vec![class];
        while let Some(at) = stack.pop() {
            for &child in self.candidate(at).map_or(&[][..], |candidate| &candidate.children) {
                if child == class {
                    return true;
                }
                if !std::mem::replace(&mut seen[child], true) {
                    stack.push(child);
                }
            }
        }
        false
    }

    fn selection(&self) -> Selection {
        let nodes = (0..self.choice.len())
            .filter(|&class| self.references[class] > 0)
            .filter_map(|class| Some((self.problem.ids[class], self.candidate(class)?.picked.clone())))
            .collect();
        Selection { nodes }
    }
}

/// An e-node as a candidate, if it is a value.
pub fn picked(egraph: &EGraph, term: &Term) -> Option<Picked> {
    let term = canonical(egraph, term);
    let mut applied = decode(egraph, &term)?;
    applied.operands.iter_mut().for_each(|id| *id = egraph.find(*id));
    Some(Picked { term, applied })
}

fn cost_of(egraph: &EGraph, id: Id, applied: &Applied) -> Cost {
    let operands: Vec<&TensorType> = applied.operands.iter().filter_map(|&id| egraph[id].data.ty.as_ref()).collect();
    let weights: Vec<&[usize]> = applied.weights.iter().map(|&w| egraph.analysis.pool.shape(w)).collect();
    egraph[id].data.ty.as_ref().map_or(Cost::ZERO, |ty| cost(&applied.op, &operands, &weights, ty))
}

/// What decides between candidates that cost the same.
fn tie(candidate: &Candidate) -> (bool, Option<usize>, &Term) {
    let fused = matches!(candidate.picked.applied.op, Op::Fused { .. });
    (fused, candidate.children.last().copied(), &candidate.picked.term)
}
