//! The two transforms of Winograd's algorithm, a patch and a block at a time.

use kiln_rt::weights::form::WINOGRAD_F4_POINTS;

use super::super::build::{KernelBuilder, for_loop, load, store};
use super::super::chain::{BoundChain, Element, add, constant, fma, mul, sub};
use super::super::edges::fixed_row_classes;
use super::{Chunk, Extents, Points};
use crate::graph::{Pads, Window};
use crate::kernel::{At, Bound, Index, LANES, ParamId, Range, Stmt, Value};
use crate::schedule::Winograd;

impl Winograd {
    /// Bᵀ d: hands out the value at each point, those that share terms one after the other.
    fn to_points(self, kb: &mut KernelBuilder, body: &mut Vec<Stmt>, d: &[Value], out: &mut Out<'_>) {
        let d = |i: usize| d[i].clone();
        let times = |a: Value, by: f64, c: Value| fma(a, constant(by as f32), c);
        match self {
            Winograd::F2 => {
                out(kb, body, 0, sub(d(0), d(2)));
                out(kb, body, 1, add(d(1), d(2)));
                out(kb, body, 2, sub(d(2), d(1)));
                out(kb, body, 3, sub(d(1), d(3)));
            }
            Winograd::F4 => {
                let [a, b] = WINOGRAD_F4_POINTS;
                let (a2, b2) = (a * a, b * b);
                out(kb, body, 0, times(d(0), a2 * b2, times(d(2), -a2 - b2, d(4))));
                for (first, point, other) in [(1, a, b2), (3, b, a2)] {
                    let even = kb.bind(body, times(d(2), -other, d(4)));
                    let odd = kb.bind(body, times(d(1), -other, d(3)));
                    out(kb, body, first, times(odd.clone(), point, even.clone()));
                    out(kb, body, first + 1, times(odd, -point, even));
                }
                out(kb, body, 5, times(d(1), a2 * b2, times(d(3), -a2 - b2, d(5))));
            }
        }
    }

    /// Aᵀ m: hands out the first `wanted` outputs, in any order.
    fn to_outputs(self, kb: &mut KernelBuilder, body: &mut Vec<Stmt>, m: &[Value], wanted: usize, out: &mut Out<'_>) {
        let m = |i: usize| m[i].clone();
        let mut out = |kb: &mut KernelBuilder, body: &mut Vec<Stmt>, output, value| {
            if output < wanted {
                out(kb, body, output, value);
            }
        };
        let times = |a: Value, by: f64, c: Value| fma(a, constant(by as f32), c);
        match self {
            Winograd::F2 => {
                out(kb, body, 0, add(add(m(0), m(1)), m(2)));
                out(kb, body, 1, sub(sub(m(1), m(2)), m(3)));
            }
            Winograd::F4 => {
                let [a, b] = WINOGRAD_F4_POINTS;
                let scaled = |a: Value, by: f64| mul(a, constant(by as f32));
                let near = kb.bind(body, add(m(1), m(2)));
                let far = kb.bind(body, add(m(3), m(4)));
                out(kb, body, 0, add(add(m(0), near.clone()), far.clone()));
                out(kb, body, 2, times(far, b * b, scaled(near, a * a)));
                if wanted == 1 {
                    return;
                }
                let near = kb.bind(body, sub(m(1), m(2)));
                let far = kb.bind(body, sub(m(3), m(4)));
                out(kb, body, 1, times(far.clone(), b, scaled(near.clone(), a)));
                out(kb, body, 3, times(far, b * b * b, times(near, a * a * a, m(5))));
            }
        }
    }

    /// Floating-point operations of the transforms of a channel of a patch: of its input, of its output.
    pub(super) fn transform_flops(self) -> [usize; 2] {
        // Columns that neighbours share are transformed once.
        let passes = self.outputs() + self.points();
        match self {
            Winograd::F2 => [4 * passes, 4 * passes],
            Winograd::F4 => [24 * passes, 16 * passes],
        }
    }
}

/// Takes a value by its number, and puts what it becomes into the body.
type Out<'a> = dyn FnMut(&mut KernelBuilder, &mut Vec<Stmt>, usize, Value) + 'a;

/// What a transform reads: by name, where registers hold it all; else each use reads it again.
fn kept(keeps: bool, kb: &mut KernelBuilder, body: &mut Vec<Stmt>, value: Value) -> Value {
    if keeps { kb.bind(body, value) } else { value }
}

/// Bᵀ d B.
pub(super) struct InputTransform<'a> {
    pub(super) extents: &'a Extents,
    pub(super) keeps: bool,
    pub(super) x: ParamId,
    pub(super) before: &'a BoundChain,
    /// Scratch: `[points][columns][16]`, patches' rows of one block transformed along their columns.
    pub(super) half: ParamId,
    pub(super) half_columns: usize,
}

impl InputTransform<'_> {
    /// Transforms the patches of a chunk; they go to the places from `first` on.
    pub(super) fn build(&self, kb: &mut KernelBuilder, chunk: &Chunk, points: &Points, first: &Index) -> Vec<Stmt> {
        let Extents { channels, patches, .. } = *self.extents;
        let (ib, r) = (kb.var("ib"), kb.var("r"));
        let (block, ty) = (Index::var(ib), chunk.row.clone() + r);
        let mut row = Vec::new();
        for class in fixed_row_classes(&self.patch_window(), self.extents.input[0], patches[0]) {
            // Runs once, for rows of the class.
            let of_class = kb.var("ty");
            let inside = class.kernel_rows(&self.patch_window(), self.extents.input[0], of_class).all();
            let range = Range {
                lo: Bound::Max(ty.clone(), class.start.into()),
                hi: Bound::Min(ty.clone() + 1i64, class.end.into()),
            };
            let columns = self.along_columns(kb, chunk, &block, &Index::var(of_class), &inside);
            row.push(for_loop(of_class, range, vec![columns]));
        }
        row.push(self.along_rows(kb, chunk.columns, points, &block, first.clone() + r * chunk.columns));
        let rows = for_loop(r, Range::new(0usize, chunk.rows), row);
        let mut body = self.zeros(kb, chunk);
        body.push(for_loop(ib, Range::new(0usize, channels.div_ceil(LANES)), vec![rows]));
        body
    }

    /// Patches as the windows of a convolution.
    fn patch_window(&self) -> Window {
        let (n, m) = (self.extents.winograd.points(), self.extents.winograd.outputs());
        Window { kernel: [n, n], stride: [m, m], dilation: [1, 1], pads: self.extents.pads }
    }

    fn half_at(&self, point: impl Into<Index>, column: impl Into<Index>) -> At {
        let row = point.into() * (self.half_columns * LANES);
        At::flat(self.half, row + column.into() * LANES)
    }

    /// The columns of a chunk that lie in the input, and by how much they are moved against the input's.
    fn inside(&self, chunk: &Chunk) -> (Index, Index, Index) {
        let shift = chunk.column.clone() * self.extents.winograd.outputs() - self.extents.pads.left;
        (shift.clone() * -1i64, Index::from(self.extents.input[1]) - shift.clone(), shift)
    }

    /// Columns that the patches of a chunk have.
    fn columns(&self, chunk: &Chunk) -> Index {
        Index::from(self.extents.winograd.outputs() * chunk.columns + 2)
    }

    /// Zeros for the columns outside of the input: nothing else is written there.
    fn zeros(&self, kb: &mut KernelBuilder, chunk: &Chunk) -> Vec<Stmt> {
        let (begin, end, _) = self.inside(chunk);
        let left = Range { lo: Bound::Index(Index::constant(0)), hi: Bound::Index(begin) };
        let right = Range { lo: Bound::Index(end), hi: Bound::Index(self.columns(chunk)) };
        [left, right]
            .into_iter()
            .map(|range| {
                let c = kb.var("outside");
                let points = 0..self.extents.winograd.points();
                for_loop(c, range, points.map(|point| store(self.half_at(point, c), constant(0.0))).collect())
            })
            .collect()
    }

    /// Bᵀ d for the columns of the patches of row `ty` that lie in the input.
    fn along_columns(&self, kb: &mut KernelBuilder, chunk: &Chunk, block: &Index, ty: &Index, inside: &Range) -> Stmt {
        let Extents { winograd, input: [h, w], pads: Pads { top, .. }, .. } = *self.extents;
        let (n, m) = (winograd.points(), winograd.outputs());
        let (begin, end, shift) = self.inside(chunk);
        let c = kb.var("c");
        let mut column = Vec::new();
        let d: Vec<Value> = (0..n)
            .map(|i| {
                if !holds(inside, i) {
                    return constant(0.0);
                }
                let pixel = (ty.clone() * m + i - top) * w + shift.clone() + c;
                let pixel = chunk.image.clone() * (h * w) + pixel;
                let element = Element { block: block.clone(), offset: pixel * LANES, image: chunk.image.clone() };
                let read = load(At::block(self.x, block.clone(), element.offset.clone()));
                let value = self.before.apply(kb, &mut column, read, &element);
                kept(self.keeps, kb, &mut column, value)
            })
            .collect();
        winograd.to_points(kb, &mut column, &d, &mut |_, body, point, value| {
            body.push(store(self.half_at(point, c), value));
        });
        let range = Range { lo: Bound::Max(Index::constant(0), begin), hi: Bound::Min(self.columns(chunk), end) };
        for_loop(c, range, column)
    }

    /// (Bᵀ d) B for a row of patches.
    fn along_rows(&self, kb: &mut KernelBuilder, columns: usize, points: &Points, block: &Index, patch: Index) -> Stmt {
        let winograd = self.extents.winograd;
        let (n, m) = (winograd.points(), winograd.outputs());
        let (tx, point) = (kb.var("tx"), kb.var("point"));
        let mut body = Vec::new();
        let halves: Vec<Value> =
            (0..n).map(|j| kept(self.keeps, kb, &mut body, load(self.half_at(point, tx * m + j)))).collect();
        winograd.to_points(kb, &mut body, &halves, &mut |_, body, j, value| {
            body.push(store(points.at(point * n + j, block.clone(), patch.clone() + tx), value));
        });
        let over_points = for_loop(point, Range::new(0usize, n), body);
        for_loop(tx, Range::new(0usize, columns), vec![over_points])
    }
}

/// Whether a constant range holds a value.
fn holds(range: &Range, value: usize) -> bool {
    let end = |bound: &Bound| match bound {
        Bound::Index(index) => index.as_constant(),
        Bound::Min(..) | Bound::Max(..) => None,
    };
    end(&range.lo).is_some_and(|lo| lo <= value as i64) && end(&range.hi).is_some_and(|hi| (value as i64) < hi)
}

/// Aᵀ M A, with the bias and what follows.
pub(super) struct OutputTransform<'a> {
    pub(super) extents: &'a Extents,
    pub(super) keeps: bool,
    /// What is transformed: products, summed over channels.
    pub(super) sums: &'a Points,
    /// Scratch: `[outputs][points][16]`, Aᵀ M of a patch of one block.
    pub(super) half: ParamId,
    pub(super) bias: Option<ParamId>,
    pub(super) after: &'a BoundChain,
    pub(super) y: ParamId,
}

impl OutputTransform<'_> {
    /// Transforms the patches of a chunk for `size` output blocks from `ob` on.
    pub(super) fn build(&self, kb: &mut KernelBuilder, ob: &Index, size: usize, chunk: &Chunk) -> Vec<Stmt> {
        let Extents { winograd, output: [_, ow], patches, .. } = *self.extents;
        let m = winograd.outputs();
        let (b, r) = (kb.var("b"), kb.var("r"));
        let row = chunk.row.clone() + r;
        // Patches whose columns all exist, and the last of a row, if some of its do not.
        let cut = ow % m;
        let whole = if cut == 0 { chunk.columns } else { patches[1] - 1 };
        let mut body = Vec::new();
        let tx = kb.var("tx");
        let range = Range {
            lo: Bound::Index(Index::constant(0)),
            hi: Bound::Min(chunk.columns.into(), Index::from(whole) - chunk.column.clone()),
        };
        let range = if cut == 0 { Range::new(0usize, chunk.columns) } else { range };
        let inner = self.patch(kb, (ob, b.into()), chunk, (row.clone(), r.into(), tx.into()), m);
        body.push(for_loop(tx, range, inner));
        if cut > 0 {
            let tx = kb.var("last");
            let range = Range {
                lo: Bound::Max(Index::constant(0), Index::from(whole) - chunk.column.clone()),
                hi: Bound::Index(chunk.columns.into()),
            };
            let inner = self.patch(kb, (ob, b.into()), chunk, (row, r.into(), tx.into()), cut);
            body.push(for_loop(tx, range, inner));
        }
        let rows = for_loop(r, Range::new(0usize, chunk.rows), body);
        vec![for_loop(b, Range::new(0usize, size), vec![rows])]
    }

    /// One patch, of which so many columns exist.
    fn patch(
        &self,
        kb: &mut KernelBuilder,
        (ob, b): (&Index, Index),
        chunk: &Chunk,
        (row, r, tx): (Index, Index, Index),
        columns: usize,
    ) -> Vec<Stmt> {
        let Extents { winograd, output: [oh, ow], .. } = *self.extents;
        let (n, m) = (winograd.points(), winograd.outputs());
        let half = |output: Index, point: Index| At::flat(self.half, output * (n * LANES) + point * LANES);
        let patch = r * chunk.columns + tx.clone();

        let j = kb.var("j");
        let mut along_columns = Vec::new();
        let sums: Vec<Value> = (0..n)
            .map(|i| {
                let at = self.sums.at(Index::from(i * n) + j, b.clone(), patch.clone());
                kept(self.keeps, kb, &mut along_columns, load(at))
            })
            .collect();
        winograd.to_outputs(kb, &mut along_columns, &sums, m, &mut |_, body, i, value| {
            body.push(store(half(i.into(), j.into()), value));
        });

        let oy = kb.var("oy");
        let mut along_rows = Vec::new();
        // Of the points of a patch that is cut, some are not read.
        let whole = columns == m;
        let halves: Vec<Value> = (0..n)
            .map(|j| {
                let read = load(half(oy.into(), j.into()));
                kept(self.keeps && whole, kb, &mut along_rows, read)
            })
            .collect();
        let block = ob.clone() + b;
        winograd.to_outputs(kb, &mut along_rows, &halves, columns, &mut |kb, body, ox, value| {
            let value = match self.bias {
                Some(bias) => add(value, load(At::flat(bias, block.clone() * LANES))),
                None => value,
            };
            let pixel = (row.clone() * m + oy) * ow + (chunk.column.clone() + tx.clone()) * m + ox;
            let offset = (chunk.image.clone() * (oh * ow) + pixel) * LANES;
            let element = Element { block: block.clone(), offset, image: chunk.image.clone() };
            let value = self.after.apply(kb, body, value, &element);
            body.push(store(At::block(self.y, block.clone(), element.offset), value));
        });
        let rows = Range { lo: Bound::Index(Index::constant(0)), hi: Bound::Min(m.into(), Index::from(oh) - row * m) };
        let rows = if oh.is_multiple_of(m) { Range::new(0usize, m) } else { rows };
        vec![for_loop(j, Range::new(0usize, n), along_columns), for_loop(oy, rows, along_rows)]
    }
}
