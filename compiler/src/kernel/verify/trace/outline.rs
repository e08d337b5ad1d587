//! What of a kernel's body matters for some parameters: the loops around accesses to them.

use std::collections::BTreeSet;

use super::Wanted;
use crate::kernel::{At, Axis, Bound, Index, Kernel, LANES, ParamId, Range, Stmt, Term, Tile, Update, Value, Var};

/// The part of a body that matters.
pub(super) enum Node<'a> {
    Loop {
        var: Var,
        range: &'a Range,
        body: Vec<Node<'a>>,
    },
    /// A tile's variable, or a tap.
    Values {
        var: Var,
        first: i64,
        end: i64,
        body: Vec<Node<'a>>,
    },
    Access {
        at: &'a At,
        count: usize,
        write: bool,
    },
}

/// A kernel's body, as far as it touches what is followed.
pub(super) struct Outline<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// By variable, whether its loop is walked value by value.
    pub(super) walked: Vec<bool>,
}

impl<'a> Outline<'a> {
    pub(super) fn new(kernel: &'a Kernel, wanted: &Wanted) -> Self {
        let mut builder = Builder { wanted, walked: vec![false; kernel.vars.len()] };
        let nodes = builder.body(&kernel.body);
        builder.mark(&nodes);
        Outline { nodes, walked: builder.walked }
    }
}

struct Builder<'w> {
    wanted: &'w Wanted,
    walked: Vec<bool>,
}

impl Builder<'_> {
    fn body<'a>(&self, body: &'a [Stmt]) -> Vec<Node<'a>> {
        let mut nodes = Vec::new();
        for stmt in body {
            match stmt {
                Stmt::For { var, range, unroll: _, body } => {
                    let body = self.body(body);
                    if !body.is_empty() {
                        nodes.push(Node::Loop { var: *var, range, body });
                    }
                }
                Stmt::Let { local: _, value } => self.reads(value, &mut nodes),
                Stmt::Tile(tile) => self.tile(tile, &mut nodes),
                Stmt::Store { at, value, lanes } => {
                    self.reads(value, &mut nodes);
                    self.write(at, *lanes, &mut nodes);
                }
                Stmt::Zero { at, len } => self.write(at, *len, &mut nodes),
                Stmt::Prefetch { .. } => {}
            }
        }
        nodes
    }

    fn tile<'a>(&self, tile: &'a Tile, nodes: &mut Vec<Node<'a>>) {
        let around = |body: Vec<Node<'a>>, first: usize, end: usize| {
            let blocks = Node::Values { var: tile.block, first: 0, end: tile.blocks as i64, body };
            Node::Values { var: tile.pixel, first: first as i64, end: end as i64, body: vec![blocks] }
        };
        let mut init = Vec::new();
        self.reads(&tile.init, &mut init);
        if !init.is_empty() {
            nodes.push(around(init, 0, tile.pixels));
        }
        for reduction in &tile.reductions {
            let update = || {
                let mut reads = Vec::new();
                match &reduction.update {
                    Update::Fma(a, b) => {
                        self.reads(a, &mut reads);
                        self.reads(b, &mut reads);
                    }
                    Update::Add(value) | Update::Max(value) => self.reads(value, &mut reads),
                }
                reads
            };
            if !update().is_empty() {
                let inner = |(first, end)| around(update(), first, end);
                nodes.extend(axes(&reduction.axes, (0, tile.pixels), &inner));
            }
        }
        let finish = self.body(&tile.finish);
        if !finish.is_empty() {
            nodes.push(around(finish, 0, tile.pixels));
        }
    }

    fn write<'a>(&self, at: &'a At, count: usize, nodes: &mut Vec<Node<'a>>) {
        if self.wanted.writes.contains(&at.param) {
            nodes.push(Node::Access { at, count, write: true });
        }
    }

    fn reads<'a>(&self, value: &'a Value, nodes: &mut Vec<Node<'a>>) {
        each_read(value, &mut |at, count| {
            if self.wanted.reads.contains(&at.param) {
                nodes.push(Node::Access { at, count, write: false });
            }
        });
    }

    /// Marks the variables whose loops are walked.
    fn mark(&mut self, nodes: &[Node<'_>]) {
        for node in nodes {
            match node {
                Node::Loop { var, range, body } => {
                    for bound in [&range.lo, &range.hi] {
                        match bound {
                            Bound::Index(index) => self.mark_all(index),
                            Bound::Min(a, b) | Bound::Max(a, b) => [a, b].into_iter().for_each(|i| self.mark_all(i)),
                        }
                    }
                    self.mark_body(*var, body);
                }
                Node::Values { var, body, .. } => self.mark_body(*var, body),
                Node::Access { at, .. } => {
                    at.block.iter().for_each(|block| self.mark_all(block));
                    self.mark_parts(&at.offset);
                }
            }
        }
    }

    fn mark_body(&mut self, var: Var, body: &[Node<'_>]) {
        self.mark(body);
        // Where a loop both writes and reads scratch, which comes first matters.
        let (mut writes, mut reads) = (BTreeSet::new(), BTreeSet::new());
        touched(body, &mut writes, &mut reads);
        if writes.intersection(&reads).any(|param| self.wanted.private.contains(param)) {
            self.walked[var.index()] = true;
        }
    }

    fn mark_all(&mut self, index: &Index) {
        for (term, _) in &index.terms {
            match term {
                Term::Var(var) => self.walked[var.index()] = true,
                Term::Mod(of, _) | Term::Table(_, of) => self.mark_all(of),
            }
        }
    }

    fn mark_parts(&mut self, index: &Index) {
        for (term, _) in &index.terms {
            match term {
                Term::Var(_) => {}
                Term::Mod(of, _) | Term::Table(_, of) => self.mark_all(of),
            }
        }
    }
}

fn axes<'a>(axes: &'a [Axis], pixels: (usize, usize), inner: &dyn Fn((usize, usize)) -> Node<'a>) -> Vec<Node<'a>> {
    match axes.split_first() {
        None => vec![inner(pixels)],
        Some((Axis::Loop { var, range }, rest)) => {
            vec![Node::Loop { var: *var, range, body: self::axes(rest, pixels, inner) }]
        }
        Some((Axis::Taps { var, taps, .. }, rest)) => taps
            .iter()
            .map(|tap| (tap, (pixels.0.max(tap.first), pixels.1.min(tap.end))))
            .filter(|(_, pixels)| pixels.0 < pixels.1)
            .map(|(tap, pixels)| {
                let body = self::axes(rest, pixels, inner);
                Node::Values { var: *var, first: tap.value, end: tap.value + 1, body }
            })
            .collect(),
    }
}

fn touched(nodes: &[Node<'_>], writes: &mut BTreeSet<ParamId>, reads: &mut BTreeSet<ParamId>) {
    for node in nodes {
        match node {
            Node::Loop { body, .. } | Node::Values { body, .. } => touched(body, writes, reads),
            Node::Access { at, write: true, .. } => drop(writes.insert(at.param)),
            Node::Access { at, write: false, .. } => drop(reads.insert(at.param)),
        }
    }
}

/// All places that a value reads, with the number of elements.
pub(in super::super) fn each_read<'a>(value: &'a Value, look: &mut dyn FnMut(&'a At, usize)) {
    match value {
        Value::Const(_) | Value::ConstI32(_) | Value::Local(_) | Value::Acc => {}
        Value::Load { at, lanes } => look(at, *lanes),
        Value::Splat(at) => look(at, 1),
        Value::SplatGroup { at, .. } => look(at, LANES),
        Value::Unary(_, of) => each_read(of, look),
        Value::Binary(_, a, b) => [a, b].into_iter().for_each(|value| each_read(value, look)),
        Value::Fma(a, b, c) => [a, b, c].into_iter().for_each(|value| each_read(value, look)),
        Value::SelectLt { a, b, then, otherwise } => {
            [a, b, then, otherwise].into_iter().for_each(|value| each_read(value, look));
        }
    }
}
