//! Softmax down columns: the lines of sixteen neighbours along the axes behind are computed side by side, a lane each.

use super::super::build::{KernelBuilder, for_loop, load, store, whole};
use super::super::chain::{div, exp, sub};
use super::super::{Lowering, Stored};
use super::{Fold, accumulate};
use crate::graph::NodeId;
use crate::kernel::{Access, At, Index, LANES, ParamId, Place, Range, Stmt, Value};

/// What the units of a kernel share.
struct Columns {
    x: ParamId,
    y: ParamId,
    /// The exponentials, sixteen for each element of a line, and behind them the largest or the sum of each line.
    lines: ParamId,
    line: usize,
    inner: usize,
}

impl Lowering<'_> {
    /// A unit is sixteen lines, the last of each of the axes before as many as are left.
    pub(super) fn lower_softmax_columns(&mut self, id: NodeId, [outer, line, inner]: [usize; 3]) {
        let Stored::Plain(from) = self.operand(id, 0) else { unreachable!("layout gives softmax row-major values") };
        let mut kb = KernelBuilder::new();
        let x = kb.flat("x", outer * line * inner, Access::Read, whole(from));
        let name = format!("{} (lines)", self.graph.node(id).origin.name);
        let len = (line + 1) * LANES;
        let scratch = self.buffer(name, len, Place::Scratch(0));
        let lines = kb.flat("lines", len, Access::Update, whole(scratch));
        let to = self.make_plain(id);
        let y = kb.flat("y", outer * line * inner, Access::Write, whole(to));
        let columns = Columns { x, y, lines, line, inner };
        let o = kb.var("o");
        let (full, rest) = (inner / LANES, inner % LANES);
        let each = full + usize::from(rest > 0);
        let mut units = Vec::new();
        for (first, count, lanes) in [(0, full, LANES), (full, 1, rest)].into_iter().filter(|part| part.2 > 0) {
            let j = kb.var("j");
            let start = o * (line * inner) + j * LANES + first * LANES;
            let body = columns.side_by_side(&mut kb, &start, lanes);
            units.push(for_loop(j, Range::units(o * each + first, count), body));
        }
        let body = vec![for_loop(o, Range::new(0usize, outer), units)];
        let name = format!("softmax_{outer}x{line}x{inner}");
        let flops = 3 * self.graph.node(id).ty.len() as u64;
        let (kernel, args) = kb.build(name, outer * each, flops, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }
}

impl Columns {
    /// The lines of so many lanes, of which the first element of the first is at `start`.
    fn side_by_side(&self, kb: &mut KernelBuilder, start: &Index, lanes: usize) -> Vec<Stmt> {
        let &Columns { x, y, lines, line, inner } = self;
        let given = |k: Index| Value::Load { at: At::flat(x, start.clone() + k * inner), lanes };
        let power = |k: Index| At::flat(lines, k * LANES);
        let folded = At::flat(lines, line * LANES);
        let mut body = Vec::new();

        body.push(accumulate_over(kb, Fold::Largest, line, &given, &folded));
        let k = kb.var("k");
        let below = sub(given(Index::var(k)), load(folded.clone()));
        body.push(for_loop(k, Range::new(0usize, line), vec![store(power(Index::var(k)), exp(below))]));
        body.push(accumulate_over(kb, Fold::Sum, line, &|k| load(power(k)), &folded));
        let k = kb.var("k");
        let value = div(load(power(Index::var(k))), load(folded));
        let share = Stmt::Store { at: At::flat(y, start.clone() + k * inner), value, lanes };
        body.push(for_loop(k, Range::new(0usize, line), vec![share]));
        body
    }
}

/// Accumulates over the elements of lines.
fn accumulate_over(kb: &mut KernelBuilder, fold: Fold, len: usize, element: &dyn Fn(Index) -> Value, to: &At) -> Stmt {
    let reductions = fold.over(kb, len, element);
    accumulate(kb, fold, reductions, to)
}
