//! What each unit of a kernel touches, as runs of elements.
//!
//! Each unit's loops are run through with `lo = unit, hi = unit + 1`. A loop is *walked*, value by value, only where its
//! variable decides another range, a block, or what is taken modulo or from a table; of all other loops, an access is
//! made of runs: elements at a constant distance no greater than their length are one run. So a tile of 14 pixels by
//! 16 lanes is one run of 224 elements, and a whole row is one run too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::kernel::{
    Access, Arg, At, Axis, Bound, Index, Kernel, KernelId, LANES, ParamId, ParamKind, Place, Program, Range, Region,
    Step, Stmt, TableId, Term, Tile, Update, Value, Var,
};

/// Elements `start..end` of a block that a unit touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) param: ParamId,
    pub(super) block: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) unit: usize,
}

/// What all units of a kernel touch, of the parameters that were asked for.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Of each unit, block by block, without overlaps.
    pub(super) writes: Vec<Run>,
    /// The same for reads.
    pub(super) reads: Vec<Run>,
    /// Parameters of which a unit writes an element twice.
    pub(super) rewritten: BTreeSet<ParamId>,
    /// The first read, of each private parameter, of what the unit has not written before.
    pub(super) unwritten: BTreeMap<ParamId, Run>,
}

/// Which parameters a trace follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) writes: BTreeSet<ParamId>,
    pub(super) reads: BTreeSet<ParamId>,
    /// Those in scratch: each unit must write what it reads of them.
    pub(super) private: BTreeSet<ParamId>,
}

type Key = (KernelId, Vec<TableId>, Wanted);

/// Traces of a program's kernels, each made once.
pub(super) struct Traces<'a> {
    program: &'a Program,
    known: HashMap<Key, Option<Rc<Trace>>>,
}

impl<'a> Traces<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        Traces { program, known: HashMap::new() }
    }

    /// The trace that proves a step's units: writes, reads of what is also written, and scratch.
    pub(super) fn of_step(&mut self, step: &Step) -> Option<Rc<Trace>> {
        let kernel = self.program.kernel(step);
        let mut wanted = Wanted::default();
        for (i, (param, arg)) in kernel.params.iter().zip(&step.args).enumerate() {
            let (ParamKind::Flat { access, .. } | ParamKind::Blocks { access, .. }) = param.kind else { continue };
            let id = ParamId(i as u32);
            let scratch = regions(arg).iter().any(|at| in_scratch(self.program, at));
            if scratch {
                wanted.private.insert(id);
            }
            if scratch || access != Access::Read {
                wanted.writes.insert(id);
            }
            if scratch || access == Access::Update || kernel.in_place.iter().any(|(_, read)| *read == id) {
                wanted.reads.insert(id);
            }
        }
        self.get(step.kernel, step, wanted)
    }

    /// The trace of everything that a step touches in the arena and in outputs.
    pub(super) fn of_shared(&mut self, step: &Step) -> Option<Rc<Trace>> {
        let kernel = self.program.kernel(step);
        let mut wanted = Wanted::default();
        for (i, arg) in step.args.iter().enumerate() {
            let shared = |at: &Region| match self.program.buffer(at.buffer).place {
                Place::Arena(_) | Place::Output(_) => true,
                Place::Input(_) | Place::Scratch(_) | Place::Packed { .. } => false,
            };
            let (ParamKind::Flat { access, .. } | ParamKind::Blocks { access, .. }) = kernel.params[i].kind else {
                continue;
            };
            if regions(arg).iter().any(shared) {
                let id = ParamId(i as u32);
                if access != Access::Read {
                    wanted.writes.insert(id);
                }
                if access != Access::Write {
                    wanted.reads.insert(id);
                }
            }
        }
        self.get(step.kernel, step, wanted)
    }

    fn get(&mut self, id: KernelId, step: &Step, wanted: Wanted) -> Option<Rc<Trace>> {
        let table = |arg: &Arg| match arg {
            Arg::Table(id) => Some(*id),
            Arg::Flat(_) | Arg::Blocks(_) => None,
        };
        let tables = step.args.iter().filter_map(table).collect();
        let key = (id, tables, wanted);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let entries: Vec<&[u32]> = step
            .args
            .iter()
            .map(|arg| table(arg).map_or(&[][..], |id| &self.program.tables[id.index()].values))
            .collect();
        let made = trace(self.program.kernel(step), &entries, &key.2).map(Rc::new);
        self.known.insert(key, made.clone());
        made
    }
}

/// The regions of an argument.
pub(super) fn regions(arg: &Arg) -> &[Region] {
    match arg {
        Arg::Flat(region) => std::slice::from_ref(region),
        Arg::Blocks(regions) => regions,
        Arg::Table(_) => &[],
    }
}

fn in_scratch(program: &Program, at: &Region) -> bool {
    match program.buffer(at.buffer).place {
        Place::Scratch(_) => true,
        Place::Input(_) | Place::Output(_) | Place::Arena(_) | Place::Packed { .. } => false,
    }
}

/// Values of walked loops and runs together, for one kernel. Real kernels need at most some hundred thousand.
const BUDGET: usize = 1 << 25;

/// None if there is too much to run through.
fn trace(kernel: &Kernel, tables: &[&[u32]], wanted: &Wanted) -> Option<Trace> {
    let mut builder = Builder { wanted, walked: vec![false; kernel.vars.len()] };
    let nodes = builder.body(&kernel.body);
    builder.mark(&nodes);
    let mut walk = Walk {
        walked: builder.walked,
        tables,
        wanted,
        values: vec![0; kernel.vars.len()],
        folded: Vec::new(),
        budget: BUDGET,
        unit: 0,
        writes: Vec::new(),
        reads: Vec::new(),
        written: BTreeMap::new(),
        private: BTreeMap::new(),
        trace: Trace::default(),
    };
    for unit in 0..kernel.units {
        walk.unit(unit, &nodes)?;
    }
    Some(walk.trace)
}

/// The part of a body that matters.
enum Node<'a> {
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

struct Builder<'a> {
    wanted: &'a Wanted,
    walked: Vec<bool>,
}

impl<'a> Builder<'a> {
    fn body(&self, body: &'a [Stmt]) -> Vec<Node<'a>> {
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

    fn tile(&self, tile: &'a Tile, nodes: &mut Vec<Node<'a>>) {
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

    fn write(&self, at: &'a At, count: usize, nodes: &mut Vec<Node<'a>>) {
        if self.wanted.writes.contains(&at.param) {
            nodes.push(Node::Access { at, count, write: true });
        }
    }

    fn reads(&self, value: &'a Value, nodes: &mut Vec<Node<'a>>) {
        each_read(value, &mut |at, count| {
            if self.wanted.reads.contains(&at.param) {
                nodes.push(Node::Access { at, count, write: false });
            }
        });
    }

    /// Marks the variables whose loops are walked.
    fn mark(&mut self, nodes: &[Node<'a>]) {
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

    fn mark_body(&mut self, var: Var, body: &[Node<'a>]) {
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
        Some((Axis::Taps { var, taps }, rest)) => taps
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
pub(super) fn each_read<'a>(value: &'a Value, look: &mut dyn FnMut(&'a At, usize)) {
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

struct Walk<'a> {
    walked: Vec<bool>,
    tables: &'a [&'a [u32]],
    wanted: &'a Wanted,
    /// Values of walked variables; first values of folded ones.
    values: Vec<i64>,
    /// Folded variables in scope, with their number of values.
    folded: Vec<(Var, i64)>,
    budget: usize,
    unit: usize,
    writes: Vec<Run>,
    reads: Vec<Run>,
    /// Elements written by this unit, by parameter; those written twice are counted twice.
    written: BTreeMap<ParamId, usize>,
    /// What this unit has written of its own parameters: block and start to end, without overlaps.
    private: BTreeMap<ParamId, BTreeMap<(usize, usize), usize>>,
    trace: Trace,
}

impl Walk<'_> {
    fn unit(&mut self, unit: usize, nodes: &[Node<'_>]) -> Option<()> {
        self.spend(1)?;
        self.unit = unit;
        self.values[Var::LO.index()] = unit as i64;
        self.values[Var::HI.index()] = unit as i64 + 1;
        self.private.clear();
        self.nodes(nodes)?;
        let counts = std::mem::take(&mut self.written);
        let writes = merged(std::mem::take(&mut self.writes));
        for (param, count) in counts {
            let distinct: usize = writes.iter().filter(|run| run.param == param).map(|run| run.end - run.start).sum();
            if distinct != count {
                self.trace.rewritten.insert(param);
            }
        }
        self.trace.writes.extend(writes);
        self.trace.reads.extend(merged(std::mem::take(&mut self.reads)));
        Some(())
    }

    fn nodes(&mut self, nodes: &[Node<'_>]) -> Option<()> {
        for node in nodes {
            match node {
                Node::Loop { var, range, body } => {
                    let (lo, hi) = (self.bound(&range.lo)?, self.bound(&range.hi)?);
                    self.values_of(*var, lo, hi, body)?;
                }
                Node::Values { var, first, end, body } => self.values_of(*var, *first, *end, body)?,
                Node::Access { at, count, write } => self.access(at, *count, *write)?,
            }
        }
        Some(())
    }

    fn values_of(&mut self, var: Var, lo: i64, hi: i64, body: &[Node<'_>]) -> Option<()> {
        if hi <= lo {
            self.spend(1)?;
        } else if self.walked[var.index()] {
            for value in lo..hi {
                self.spend(1)?;
                self.values[var.index()] = value;
                self.nodes(body)?;
            }
        } else {
            self.values[var.index()] = lo;
            self.folded.push((var, hi.checked_sub(lo)?));
            self.nodes(body)?;
            self.folded.pop();
        }
        Some(())
    }

    fn spend(&mut self, steps: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(steps)?;
        Some(())
    }

    fn bound(&self, bound: &Bound) -> Option<i64> {
        Some(match bound {
            Bound::Index(index) => self.index(index)?,
            Bound::Min(a, b) => self.index(a)?.min(self.index(b)?),
            Bound::Max(a, b) => self.index(a)?.max(self.index(b)?),
        })
    }

    fn index(&self, index: &Index) -> Option<i64> {
        let mut sum = index.constant;
        for (term, factor) in &index.terms {
            let value = match term {
                Term::Var(var) => self.values[var.index()],
                Term::Mod(of, modulus) => self.index(of)?.rem_euclid(*modulus),
                Term::Table(param, of) => {
                    i64::from(*self.tables[param.index()].get(usize::try_from(self.index(of)?).ok()?)?)
                }
            };
            sum = sum.checked_add(value.checked_mul(*factor)?)?;
        }
        Some(sum)
    }

    fn access(&mut self, at: &At, count: usize, write: bool) -> Option<()> {
        let block = at.block.as_ref().map_or(Some(0), |block| self.index(block))?;
        let mut start = self.index(&at.offset)?;
        // The folded variables by distance; from the first values on, upwards.
        let mut steps: Vec<(i64, i64)> = Vec::new();
        let mut times = 1usize;
        for &(var, values) in &self.folded {
            match at.offset.factor(var) {
                0 => times = times.checked_mul(usize::try_from(values).ok()?)?,
                factor => {
                    if factor < 0 {
                        start = start.checked_add(factor.checked_mul(values - 1)?)?;
                    }
                    steps.push((factor.checked_abs()?, values));
                }
            }
        }
        steps.sort_unstable();
        let mut len = i64::try_from(count).ok()?;
        let mut elements = count;
        steps.retain(|&(distance, values)| {
            let folds = distance <= len;
            if folds {
                len = len.saturating_add(distance.saturating_mul(values - 1));
                elements = elements.saturating_mul(usize::try_from(values).unwrap_or(usize::MAX));
            }
            !folds
        });
        let mut starts = vec![start];
        for (distance, values) in steps {
            self.spend(starts.len().checked_mul(usize::try_from(values).ok()?)?)?;
            starts = starts
                .iter()
                .flat_map(|start| (0..values).map(move |i| start.checked_add(distance.checked_mul(i)?)))
                .collect::<Option<_>>()?;
        }
        let private = self.wanted.private.contains(&at.param);
        if write && !private {
            let all = elements.checked_mul(starts.len())?.checked_mul(times)?;
            *self.written.entry(at.param).or_default() += all;
        }
        for start in starts {
            self.spend(1)?;
            // Bounds are proved, so nothing is negative.
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            let run = Run { param: at.param, block: usize::try_from(block).ok()?, start, end, unit: self.unit };
            if private {
                self.private_access(run, write);
            } else if write {
                self.writes.push(run);
            } else {
                self.reads.push(run);
            }
        }
        Some(())
    }

    fn private_access(&mut self, run: Run, write: bool) {
        let written = self.private.entry(run.param).or_default();
        let Run { block, start, end, .. } = run;
        let before = written.range(..=(block, start)).next_back().filter(|((b, _), to)| *b == block && **to >= start);
        if !write {
            if before.is_none_or(|(_, to)| *to < end) {
                self.trace.unwritten.entry(run.param).or_insert(run);
            }
            return;
        }
        let first = before.map_or(start, |((_, from), _)| *from);
        let overlapping: Vec<((usize, usize), usize)> =
            written.range((block, first)..=(block, end)).map(|(&from, &to)| (from, to)).collect();
        let mut last = end;
        for (from, to) in overlapping {
            written.remove(&from);
            last = last.max(to);
        }
        written.insert((block, first), last);
    }
}

/// Runs sorted, those that touch made one.
pub(super) fn merged(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_unstable();
    let mut merged: Vec<Run> = Vec::with_capacity(runs.len());
    for run in runs {
        match merged.last_mut() {
            Some(last)
                if (last.param, last.block, last.unit) == (run.param, run.block, run.unit) && run.start <= last.end =>
            {
                last.end = last.end.max(run.end);
            }
            _ => merged.push(run),
        }
    }
    merged
}
