//! Products of matrices that are values both, part by part, row-major.

use super::build::{KernelBuilder, for_loop, whole};
use super::chain::constant;
use super::sums::{self, Points};
use super::{Lowering, Stored};
use crate::graph::NodeId;
use crate::kernel::{Access, At, Index, LANES, ParamId, Range, Reduction, Stmt, Tile, Update, Value};
use crate::schedule::{self, Product};

/// What all tiles of a kernel share.
struct Matrices {
    a: ParamId,
    b: ParamId,
    y: ParamId,
    /// Rows, columns of a, which are rows of b, and columns.
    extents: [usize; 3],
    /// Elements from a part of a, and of b, to the next: none where one serves all.
    strides: [usize; 2],
}

/// Where a tile stands.
struct Place {
    part: Index,
    row: Index,
    rows: usize,
    /// The first column, and what is read of its blocks' lanes.
    column: Index,
    blocks: usize,
    lanes: usize,
}

impl Lowering<'_> {
    /// A unit is some rows of a part. Its tiles hold sums of rows by blocks of columns: each element of a row of b, which
    /// lie side by side, is read once for all rows of a tile.
    pub(super) fn lower_matmul(&mut self, id: NodeId) {
        let operands = self.graph.operands(id);
        let shape = |operand: usize| self.graph.node(operands[operand]).ty.shape.as_slice();
        let (&[p, m, k], &[q, _, n]) = (shape(0), shape(1)) else {
            unreachable!("inference admits lists of matrices alone")
        };
        let parts = p.max(q);
        let (Stored::Plain(left), Stored::Plain(right)) = (self.operand(id, 0), self.operand(id, 1)) else {
            unreachable!("layout gives matmul row-major values")
        };
        let mut kb = KernelBuilder::new();
        let a = kb.flat("a", p * m * k, Access::Read, whole(left));
        let b = kb.flat("b", q * k * n, Access::Read, whole(right));
        let to = self.make_plain(id);
        let y = kb.flat("y", parts * m * n, Access::Write, whole(to));
        let each = |count: usize, len: usize| if count == 1 { 0 } else { len };
        let matrices = Matrices { a, b, y, extents: [m, k, n], strides: [each(p, m * k), each(q, k * n)] };

        let Product { tiling, blocks } = schedule::product(&self.machine, m, n);
        let part = kb.var("part");
        let mut units = Vec::new();
        let mut rows = |kb: &mut KernelBuilder, first: usize, tiles: usize, rows: usize| {
            let t = kb.var("t");
            let row = Index::var(t) * rows + first * tiling.pixels;
            let body = matrices.over_columns(kb, &Index::var(part), &row, rows, blocks);
            units.push(for_loop(t, Range::units(part * tiling.tiles() + first, tiles), body));
        };
        rows(&mut kb, 0, tiling.full, tiling.pixels);
        if tiling.rest > 0 {
            rows(&mut kb, tiling.full, 1, tiling.rest);
        }
        let body = vec![for_loop(part, Range::new(0usize, parts), units)];
        let name = format!("matmul_{parts}x{m}x{k}x{n}");
        let tile = format!("{}×{blocks}", tiling.pixels);
        let flops = 2 * (parts * m * k * n) as u64;
        let (kernel, args) = kb.build(name, parts * tiling.tiles(), flops, tile, body);
        self.step(self.layers(id), kernel, args);
    }
}

impl Matrices {
    /// Tiles of some rows over all columns: groups of blocks, what is left of them, and a block that is not whole.
    fn over_columns(&self, kb: &mut KernelBuilder, part: &Index, row: &Index, rows: usize, blocks: usize) -> Vec<Stmt> {
        let [_, _, n] = self.extents;
        let (whole, lanes) = (n / LANES, n % LANES);
        let tile = |kb: &mut KernelBuilder, column: Index, blocks: usize, lanes: usize| {
            self.tile(kb, &Place { part: part.clone(), row: row.clone(), rows, column, blocks, lanes })
        };
        let mut body = Vec::new();
        let groups = whole / blocks;
        if groups > 0 {
            let j = kb.var("j");
            let stmt = tile(kb, j * (blocks * LANES), blocks, LANES);
            body.push(for_loop(j, Range::new(0usize, groups), vec![stmt]));
        }
        if whole > groups * blocks {
            body.push(tile(kb, Index::from(groups * blocks * LANES), whole - groups * blocks, LANES));
        }
        if lanes > 0 {
            body.push(tile(kb, Index::from(whole * LANES), 1, lanes));
        }
        body
    }

    fn tile(&self, kb: &mut KernelBuilder, place: &Place) -> Stmt {
        let Place { part, row, rows, column, blocks, lanes } = place;
        let ([m, k, n], [left, right]) = (self.extents, self.strides);
        let (pixel, block) = (kb.var("p"), kb.var("b"));
        let Points { axes, apart, point: i } = sums::products(kb, "k", k, 1);
        let row = row.clone() + pixel;
        let column = column.clone() + block * LANES;
        let of_a = At::flat(self.a, part.clone() * left + row.clone() * k + i.clone());
        let of_b = At::flat(self.b, part.clone() * right + i * n + column.clone());
        let update = Update::Fma(Value::Splat(of_a), Value::Load { at: of_b, lanes: *lanes });
        let at = At::flat(self.y, part.clone() * (m * n) + row * n + column);
        Stmt::Tile(Tile {
            pixel,
            pixels: *rows,
            block,
            blocks: *blocks,
            init: constant(0.0),
            reductions: vec![Reduction { axes, apart, prefetch: None, update }],
            finish: vec![Stmt::Store { at, value: Value::Acc, lanes: *lanes }],
        })
    }
}
