//! Softmax over any axis of a row-major value.

mod columns;

use super::build::{KernelBuilder, for_loop, load, store, whole};
use super::chain::{constant, div, exp, sub};
use super::sums::sum;
use super::{Lowering, Stored};
use crate::graph::NodeId;
use crate::kernel::{Access, At, Axis, Index, LANES, Place, Range, Reduction, Stmt, Tile, Update, Value, Var};

impl Lowering<'_> {
    /// A unit is one line along the axis: its largest, the exponentials and their sum, the quotients. The
    /// exponentials stay in scratch.
    pub(super) fn lower_softmax(&mut self, id: NodeId, axis: usize) {
        let shape = self.graph.node(id).ty.shape.clone();
        let line = shape[axis];
        let inner: usize = shape[axis + 1..].iter().product();
        let outer: usize = shape[..axis].iter().product();
        if inner >= LANES {
            return self.lower_softmax_columns(id, [outer, line, inner]);
        }
        let Stored::Plain(from) = self.operand(id, 0) else { unreachable!("layout gives softmax row-major values") };

        let mut kb = KernelBuilder::new();
        let x = kb.flat("x", outer * line * inner, Access::Read, whole(from));
        let name = self.graph.node(id).origin.name.clone();
        let padded = line.next_multiple_of(LANES);
        let scratch = self.buffer(format!("{name} (line)"), padded + LANES, Place::Scratch(0));
        let line_param = kb.flat("line", padded + LANES, Access::Update, whole(scratch));
        let to = self.make_plain(id);
        let y = kb.flat("y", outer * line * inner, Access::Write, whole(to));
        let (o, i) = (kb.var("o"), kb.var("i"));
        let at = |element: Index| o * (line * inner) + element * inner + i;
        // The largest and, later, the sum lie after the line.
        let single = At::flat(line_param, padded);

        let mut body = Vec::new();
        let elements = |place: Index| At::flat(x, at(place));
        let side_by_side = inner == 1;
        fold(&mut kb, &mut body, Line { len: line, side_by_side, at: &elements }, Fold::Largest, &single);
        let power = |value: Value| exp(sub(value, load(single.clone())));
        if inner == 1 {
            over_line(&mut kb, &mut body, line, |at_line, lanes| {
                let value = power(Value::Load { at: At::flat(x, at(at_line.clone())), lanes });
                Stmt::Store { at: At::flat(line_param, at_line), value, lanes }
            });
        } else {
            let k = kb.var("k");
            let value = power(Value::Splat(At::flat(x, at(Index::var(k)))));
            let each = Stmt::Store { at: At::flat(line_param, k), value, lanes: 1 };
            body.push(for_loop(k, Range::new(0usize, line), vec![each]));
        }
        let powers = |place: Index| At::flat(line_param, place);
        fold(&mut kb, &mut body, Line { len: line, side_by_side: true, at: &powers }, Fold::Sum, &single);
        let share = |value: Value| div(value, load(single.clone()));
        if inner == 1 {
            over_line(&mut kb, &mut body, line, |at_line, lanes| {
                let value = share(Value::Load { at: At::flat(line_param, at_line.clone()), lanes });
                Stmt::Store { at: At::flat(y, at(at_line)), value, lanes }
            });
        } else {
            let k = kb.var("k");
            let value = share(Value::Splat(At::flat(line_param, k)));
            let each = Stmt::Store { at: At::flat(y, at(Index::var(k))), value, lanes: 1 };
            body.push(for_loop(k, Range::new(0usize, line), vec![each]));
        }
        // Where a unit's number is the index along one of the two, no unit looks for its own among all.
        let body = if inner == 1 {
            let only = for_loop(i, Range::new(0usize, 1usize), body);
            vec![for_loop(o, Range::new(Var::LO, Var::HI), vec![only])]
        } else {
            let lines = for_loop(i, Range::units(o * inner, inner), body);
            vec![for_loop(o, Range::new(0usize, outer), vec![lines])]
        };
        let name = format!("softmax_{outer}x{line}x{inner}");
        let flops = 3 * self.graph.node(id).ty.len() as u64;
        let (kernel, args) = kb.build(name, outer * inner, flops, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }
}

/// The elements of a line.
pub(super) struct Line<'a> {
    pub(super) len: usize,
    /// Whether they lie one after the other.
    pub(super) side_by_side: bool,
    pub(super) at: &'a dyn Fn(Index) -> At,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    Largest,
    Sum,
}

impl Fold {
    fn init(self) -> Value {
        match self {
            Fold::Largest => constant(f32::NEG_INFINITY),
            Fold::Sum => constant(0.0),
        }
    }

    /// Takes `len` elements to an accumulator.
    fn over(self, kb: &mut KernelBuilder, len: usize, element: &dyn Fn(Index) -> Value) -> Vec<Reduction> {
        match self {
            Fold::Largest => {
                let var = kb.var("k");
                let axes = vec![Axis::Loop { var, range: Range::new(0usize, len) }];
                vec![Reduction { axes, apart: 0, prefetch: None, update: Update::Max(element(Index::var(var))) }]
            }
            Fold::Sum => sum(kb, len, element),
        }
    }
}

/// Accumulates over a line and stores the result in every lane of a place. Of a long line whose elements lie side by side,
/// each lane takes every sixteenth; then the lanes are taken together, and what is left of the line.
pub(super) fn fold(kb: &mut KernelBuilder, body: &mut Vec<Stmt>, line: Line<'_>, fold: Fold, to: &At) {
    let full = if line.side_by_side { line.len / LANES } else { 0 };
    let mut reductions = Vec::new();
    let mut first = 0;
    if full > 1 {
        let lanes = fold.over(kb, full, &|k| load((line.at)(k * LANES)));
        body.push(accumulate(kb, fold, lanes, to));
        reductions = fold.over(kb, LANES, &|lane| Value::Splat(At { offset: to.offset.clone() + lane, ..to.clone() }));
        first = full * LANES;
    }
    if first < line.len {
        reductions.extend(fold.over(kb, line.len - first, &|k| Value::Splat((line.at)(k + first))));
    }
    body.push(accumulate(kb, fold, reductions, to));
}

fn accumulate(kb: &mut KernelBuilder, fold: Fold, reductions: Vec<Reduction>, to: &At) -> Stmt {
    let (pixel, block) = (kb.var("p"), kb.var("b"));
    let finish = vec![store(to.clone(), Value::Acc)];
    Stmt::Tile(Tile { pixel, pixels: 1, block, blocks: 1, init: fold.init(), reductions, finish })
}

/// A statement for each sixteen elements of a line, and one for what is left.
fn over_line(kb: &mut KernelBuilder, body: &mut Vec<Stmt>, line: usize, each: impl Fn(Index, usize) -> Stmt) {
    let (full, rest) = (line / LANES, line % LANES);
    if full > 0 {
        let j = kb.var("j");
        body.push(for_loop(j, Range::new(0usize, full), vec![each(j * LANES, LANES)]));
    }
    if rest > 0 {
        body.push(each(Index::from(full * LANES), rest));
    }
}
