//! Elements of an axis by their index: one kernel with a table, however many they are.

use super::build::{KernelBuilder, for_loop, whole};
use super::{Lowering, Stored};
use crate::graph::NodeId;
use crate::kernel::{Access, At, Index, LANES, ParamId, Range, Stmt, Term, Value, Var};
use crate::layout::Layout;

/// Memory `[outer, extent, inner]` of which `count` elements of the middle axis are taken.
struct Taken {
    outer: usize,
    extent: usize,
    count: usize,
    inner: usize,
}

impl Taken {
    /// Along an axis of a row-major value.
    fn along(shape: &[usize], axis: usize, count: usize) -> Taken {
        let [outer, inner] = [&shape[..axis], &shape[axis + 1..]].map(|part| part.iter().product());
        Taken { outer, extent: shape[axis], count, inner }
    }

    /// Whether a unit is an element of the outer axis, and not one of those that are taken: single numbers are no work
    /// for a unit.
    fn by_outer(&self) -> bool {
        self.outer > 1 && self.inner < LANES
    }

    fn units(&self) -> usize {
        if self.by_outer() { self.outer } else { self.outer * self.count }
    }
}

impl Lowering<'_> {
    /// Channels of a value in blocks are in other places of its map, which costs nothing. Everything else is copied.
    pub(super) fn lower_gather(&mut self, id: NodeId, axis: usize, indices: &[u32]) {
        let layout = self.layouts.of(id).clone();
        if axis == 1 && matches!(layout, Layout::Blocked(_)) {
            return;
        }
        let from = self.graph.node(self.graph.operands(id)[0]).ty.shape.clone();
        let count = indices.len();
        let mut kb = KernelBuilder::new();
        let table = self.table("indices", indices);
        let table = kb.table("index", count, from[axis] as u32, table);
        let (units, body) = match (layout, self.operand(id, 0)) {
            (Layout::Blocked(_), _) => {
                let (regions, len) = self.operand_blocks(id, 0);
                let blocks = regions.len();
                let x = kb.blocks("x", len, Access::Read, regions);
                let regions = self.make_blocks(id);
                let y = kb.blocks("y", self.pixels(id) * LANES, Access::Write, regions);
                // A block is row-major `[N, H, W]`, sixteen lanes each.
                let [n, _, h, w] = self.nchw(self.graph.operands(id)[0]);
                let taken = Taken::along(&[n, h, w, LANES], axis.saturating_sub(1), count);
                let cb = kb.var("cb");
                let start = cb * taken.units();
                let each =
                    copies(&mut kb, &taken, &start, table, [&|at| At::block(x, cb, at), &|at| At::block(y, cb, at)]);
                (blocks * taken.units(), vec![for_loop(cb, Range::new(0usize, blocks), each)])
            }
            (Layout::Plain, Stored::Plain(buffer)) => {
                let x = kb.flat("x", self.program.buffer(buffer).len, Access::Read, whole(buffer));
                let to = self.make_plain(id);
                let y = kb.flat("y", self.program.buffer(to).len, Access::Write, whole(to));
                let taken = Taken::along(&from, axis, count);
                let start = Index::constant(0);
                let body = copies(&mut kb, &taken, &start, table, [&|at| At::flat(x, at), &|at| At::flat(y, at)]);
                (taken.units(), body)
            }
            (Layout::Plain, Stored::Blocked(_)) => unreachable!("layout keeps a gather's layout"),
        };
        let extents: Vec<String> = from.iter().map(usize::to_string).collect();
        let name = format!("gather_{}_axis{axis}_{count}", extents.join("x"));
        let (kernel, args) = kb.build(name, units, 0, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }
}

/// The loops that copy what is taken, from the unit `start` on; `places` are those of an element that is read and of one
/// that is written.
fn copies(
    kb: &mut KernelBuilder,
    taken: &Taken,
    start: &Index,
    table: ParamId,
    [read, written]: [&dyn Fn(Index) -> At; 2],
) -> Vec<Stmt> {
    let Taken { outer, extent, count, inner } = *taken;
    let (o, k) = ((outer > 1).then(|| kb.var("o")), kb.var("k"));
    let list = o.map_or(Index::constant(0), Index::var);
    let index = Index::term(Term::Table(table, Box::new(Index::var(k))));
    let from = (list.clone() * extent + index) * inner;
    let to = (list.clone() * count + k) * inner;
    let copy = |first: Index, lanes: usize| {
        let at = read(from.clone() + first.clone());
        let value = if lanes == 1 { Value::Splat(at) } else { Value::Load { at, lanes } };
        Stmt::Store { at: written(to.clone() + first), value, lanes }
    };
    let (full, rest) = (inner / LANES, inner % LANES);
    let mut body = Vec::new();
    if full == 1 {
        body.push(copy(Index::constant(0), LANES));
    } else if full > 1 {
        let j = kb.var("j");
        body.push(for_loop(j, Range::new(0usize, full), vec![copy(j * LANES, LANES)]));
    }
    if rest > 0 {
        body.push(copy(Index::from(full * LANES), rest));
    }
    let Some(o) = o else { return vec![for_loop(k, units(start.clone(), count), body)] };
    if taken.by_outer() {
        return vec![for_loop(o, units(start.clone(), outer), vec![for_loop(k, Range::new(0usize, count), body)])];
    }
    let lists = for_loop(k, Range::units(start.clone() + list * count, count), body);
    vec![for_loop(o, Range::new(0usize, outer), vec![lists])]
}

/// The units from `start` on that a call computes, of `extent`: where they are all there are, no bound is looked for.
fn units(start: Index, extent: usize) -> Range {
    if start == Index::constant(0) { Range::new(Var::LO, Var::HI) } else { Range::units(start, extent) }
}
