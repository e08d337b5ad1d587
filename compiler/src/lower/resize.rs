//! Resizing: each output pixel takes one input pixel, or four, at places that tables list.

use super::Lowering;
use super::build::{KernelBuilder, for_loop, load, store, whole};
use super::chain::fma;
use crate::graph::{Filter, NodeId, Resize};
use crate::kernel::{Access, At, Binary, Index, LANES, ParamId, Range, Table, TableId, Term, Value};
use kiln_rt::weights::Form;

/// What is read along rows or columns, output by output.
struct Side {
    /// Elements, one or two an output.
    at: Vec<u32>,
    /// Their shares.
    shares: Vec<f32>,
}

impl Lowering<'_> {
    /// Units are rows of each image of each block.
    pub(super) fn lower_resize(&mut self, id: NodeId, resize: &Resize) {
        let input = self.graph.operands(id)[0];
        let ([images, channels, h, w], [_, _, oh, ow]) = (self.nchw(input), self.nchw(id));
        let mut kb = KernelBuilder::new();
        let (regions, len) = self.operand_blocks(id, 0);
        let blocks = regions.len();
        let x = kb.blocks("x", len, Access::Read, regions);
        let regions = self.make_blocks(id);
        let y = kb.blocks("y", images * oh * ow * LANES, Access::Write, regions);
        let sides = [side(resize, 0, h), side(resize, 1, w)];
        let tables = [("rows", &sides[0], h), ("columns", &sides[1], w)].map(|(name, side, extent)| {
            let table = self.table(name, &side.at);
            kb.table(name, side.at.len(), extent as u32, table)
        });
        let (cb, n, row, column) = (kb.var("cb"), kb.var("n"), kb.var("row"), kb.var("column"));
        // The input pixel of the taps `(i, j)` of an output.
        let taps = sides[0].at.len() / oh;
        let pixel = |i: usize, j: usize| {
            let entry = |table: ParamId, index: Index| Index::term(Term::Table(table, Box::new(index)));
            let from = entry(tables[0], row * taps + i) * w + entry(tables[1], column * taps + j);
            load(At::block(x, cb, (n * (h * w) + from) * LANES))
        };
        let value = match resize.filter {
            Filter::Nearest(_) => pixel(0, 0),
            Filter::Linear => {
                let shares = [("of_row", &sides[0]), ("of_column", &sides[1])].map(|(name, side)| {
                    let weight = self.pool.literal(&[side.shares.len()], &side.shares);
                    let buffer = self.pack(weight, Form::Plain);
                    kb.flat(name, side.shares.len(), Access::Read, whole(buffer))
                });
                let share = |side: usize, of: Index| Value::Splat(At::flat(shares[side], of));
                let mul = |a: Value, b: Value| Value::Binary(Binary::Mul, Box::new(a), Box::new(b));
                let along = |i: usize| {
                    let first = mul(pixel(i, 0), share(1, column * taps));
                    fma(pixel(i, 1), share(1, column * taps + 1usize), first)
                };
                fma(along(1), share(0, row * taps + 1usize), mul(along(0), share(0, row * taps)))
            }
        };
        let to = At::block(y, cb, ((n * oh + row) * ow + column) * LANES);
        let columns = for_loop(column, Range::new(0usize, ow), vec![store(to, value)]);
        let rows = for_loop(row, Range::units((cb * images + n) * oh, oh), vec![columns]);
        let over_images = for_loop(n, Range::new(0usize, images), vec![rows]);
        let body = vec![for_loop(cb, Range::new(0usize, blocks), vec![over_images])];
        let (filter, flops) = match resize.filter {
            Filter::Nearest(_) => ("nearest", 0),
            Filter::Linear => ("linear", 6 * self.graph.node(id).ty.len() as u64),
        };
        let name = format!("resize_{filter}_{channels}_{images}x{h}x{w}_to_{oh}x{ow}");
        let (kernel, args) = kb.build(name, blocks * images * oh, flops, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }

    /// The table of these entries, one for all that need it.
    pub(super) fn table(&mut self, name: &str, values: &[u32]) -> TableId {
        let tables = &mut self.program.tables;
        let known = tables.iter().position(|table| table.values == values);
        let position = known.unwrap_or_else(|| {
            tables.push(Table { name: format!("{name}{}", tables.len()), values: values.to_vec() });
            tables.len() - 1
        });
        TableId(position as u32)
    }
}

/// Rows (0) or columns (1) of a resized map, of which the input has `extent`.
fn side(resize: &Resize, side: usize, extent: usize) -> Side {
    let taken = (0..resize.size[side]).flat_map(|y| resize.taken(side, extent, y));
    let (at, shares) = taken.map(|(element, share)| (element as u32, share as f32)).unzip();
    Side { at, shares }
}
