//! Pooling over windows, and over whole maps.

use super::build::{KernelBuilder, for_loop, load, store, whole};
use super::chain::{constant, div, mul};
use super::edges::{fixed_row_classes, row_classes};
use super::reduce::Output;
use super::softmax::{Fold, Line, fold};
use super::sums;
use super::sweep::{Over, Sweep};
use super::{Lowering, Stored};
use crate::graph::{NodeId, Pool, Window};
use crate::kernel::{
    Access, At, Axis, BufferId, Index, LANES, Place, Range, Reduction, Stmt, Tile, Update, Value, Var,
};
use crate::layout::Layout;
use crate::schedule::{self, WindowSum};
use kiln_rt::weights::Form;

/// What a pool keeps of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The largest.
    Max,
    /// The mean.
    Average,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Max => "max_pool",
            Kind::Average => "avg_pool",
        }
    }

    fn init(self) -> Value {
        match self {
            Kind::Max => constant(f32::NEG_INFINITY),
            Kind::Average => constant(0.0),
        }
    }

    fn update(self, value: Value) -> Update {
        match self {
            Kind::Max => Update::Max(value),
            Kind::Average => Update::Add(value),
        }
    }
}

impl Lowering<'_> {
    pub(super) fn lower_pool(&mut self, id: NodeId, pool: &Pool, kind: Kind) {
        let window = pool.window;
        let input = self.graph.operands(id)[0];
        let ([images, channels, h, w], [_, _, oh, ow]) = (self.nchw(input), self.nchw(id));
        let mut kb = KernelBuilder::new();
        let (regions, len) = self.operand_blocks(id, 0);
        let blocks = regions.len();
        let x = kb.blocks("x", len, Access::Read, regions);
        let regions = self.make_blocks(id);
        let y = kb.blocks("y", images * oh * ow * LANES, Access::Write, regions);

        // The mean divides by one number, or, where windows at the edge hold fewer elements, by how many rows of an output
        // row there are, times columns of its column.
        let counts = window_counts(pool, [h, w], [oh, ow]);
        let uniform = counts.iter().all(|side| side.iter().all(|&count| count == side[0]));
        let divisors = (kind == Kind::Average && !uniform).then(|| {
            [("rows", &counts[0]), ("columns", &counts[1])].map(|(name, counts)| {
                let weight = self.pool.literal(&[counts.len()], counts);
                let buffer = self.pack(weight, Form::Plain);
                kb.flat(name, counts.len(), Access::Read, whole(buffer))
            })
        });
        let order = match kind {
            Kind::Max => WindowSum::InOrder,
            Kind::Average => schedule::window_sum(window),
        };
        let element = |block: &Index, from: Index| load(At::block(x, block.clone(), from));
        let update = |_: usize, block: &Index, _: Index, from: Index| kind.update(element(block, from));
        let over = match order {
            WindowSum::InOrder => Over::Taps { reductions: 1, rows_apart: false, update: &update },
            WindowSum::ByRows => Over::Taps { reductions: 1, rows_apart: true, update: &update },
            WindowSum::Tree => Over::Sum(&element),
        };
        let sweep = Sweep {
            window,
            images,
            blocks,
            input: [h, w],
            output: [oh, ow],
            schedule: match order {
                WindowSum::InOrder | WindowSum::ByRows => schedule::lanewise(&self.machine, ow, window, false),
                WindowSum::Tree => schedule::tree_of_sums(&self.machine, ow),
            },
        };
        let classes = if pool.ceil_mode { fixed_row_classes(&window, h, oh) } else { row_classes(&window, h, oh) };
        let body = sweep.build(&mut kb, &classes, &|_| kind.init(), &over, &mut |_, spot| {
            let value = match (kind, divisors) {
                (Kind::Max, _) => Value::Acc,
                (Kind::Average, None) => div(Value::Acc, constant(counts[0][0] * counts[1][0])),
                (Kind::Average, Some([rows, columns])) => {
                    let [rows, columns] = [At::flat(rows, spot.row), At::flat(columns, spot.column)];
                    div(Value::Acc, mul(Value::Splat(rows), Value::Splat(columns)))
                }
            };
            vec![store(At::block(y, spot.block, spot.output), value)]
        });
        let Window { kernel: [kh, kw], stride: [sh, sw], .. } = window;
        let stride = if sh == sw { sh.to_string() } else { format!("{sh}x{sw}") };
        let images_name = if images > 1 { format!("{images}x") } else { String::new() };
        let name = format!("{}{kh}x{kw}_s{stride}_{channels}_{images_name}{oh}x{ow}", kind.name());
        let flops = (self.graph.node(id).ty.len() * kh * kw) as u64;
        let (kernel, args) = kb.build(name, sweep.units(), flops, format!("{}×1", sweep.schedule.tiling.pixels), body);
        self.step(self.layers(id), kernel, args);
    }

    pub(super) fn lower_global_pool(&mut self, id: NodeId, kind: Kind) {
        if let Stored::Plain(from) = self.operand(id, 0) {
            return self.lower_row_pool(id, from, kind);
        }
        let input = self.graph.operands(id)[0];
        let [images, channels, h, w] = self.nchw(input);
        let mut kb = KernelBuilder::new();
        let (regions, len) = self.operand_blocks(id, 0);
        let blocks = regions.len();
        let x = kb.blocks("x", len, Access::Read, regions);
        let output = match self.layouts.of(id) {
            Layout::Blocked(_) => {
                let regions = self.make_blocks(id);
                Output::Blocked(kb.blocks("y", images * LANES, Access::Write, regions))
            }
            Layout::Plain => {
                let buffer = self.make_plain(id);
                Output::Plain { param: kb.flat("y", images * channels, Access::Write, whole(buffer)), channels }
            }
        };
        // Only a row-major output looks at lanes past its channels.
        let (whole_blocks, rest) = match output {
            Output::Blocked(_) => (blocks, 0),
            Output::Plain { .. } => (channels / LANES, channels % LANES),
        };
        let n = kb.var("n");
        let mut body = Vec::new();
        for (first, count, lanes) in [(0, whole_blocks, LANES), (whole_blocks, usize::from(rest > 0), rest)] {
            if count == 0 {
                continue;
            }
            let (cb, p, b) = (kb.var("cb"), kb.var("p"), kb.var("b"));
            let block = Index::var(cb) + first;
            let value = match kind {
                Kind::Max => Value::Acc,
                Kind::Average => div(Value::Acc, constant((h * w) as f32)),
            };
            let from = |pixel: Index| load(At::block(x, block.clone(), (n * (h * w) + pixel) * LANES));
            let reductions = match kind {
                Kind::Max => {
                    let pixel = kb.var("pixel");
                    let axes = vec![Axis::Loop { var: pixel, range: Range::new(0usize, h * w) }];
                    let update = Update::Max(from(Index::var(pixel)));
                    vec![Reduction { axes, apart: 0, prefetch: None, update }]
                }
                Kind::Average => sums::sum(&mut kb, h * w, &from),
            };
            let at = match output {
                Output::Blocked(param) => At::block(param, block.clone(), n * LANES),
                Output::Plain { param, channels } => At::flat(param, n * channels + block.clone() * LANES),
            };
            let tile = Stmt::Tile(Tile {
                pixel: p,
                pixels: 1,
                block: b,
                blocks: 1,
                init: kind.init(),
                reductions,
                finish: vec![Stmt::Store { at, value, lanes }],
            });
            body.push(for_loop(cb, Range::units(n * blocks + first, count), vec![tile]));
        }
        let body = vec![for_loop(n, Range::new(0usize, images), body)];
        let images_name = if images > 1 { format!("{images}x") } else { String::new() };
        let name = format!("global_{}_{channels}_{images_name}{h}x{w}", kind.name());
        let flops = (images * channels * h * w) as u64;
        let (kernel, args) = kb.build(name, images * blocks, flops, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }
}

impl Lowering<'_> {
    /// A pool over whole maps that lie row-major: a unit is a map.
    fn lower_row_pool(&mut self, id: NodeId, from: BufferId, kind: Kind) {
        let [images, channels, h, w] = self.nchw(self.graph.operands(id)[0]);
        let (rows, len) = (images * channels, h * w);
        let mut kb = KernelBuilder::new();
        let x = kb.flat("x", rows * len, Access::Read, whole(from));
        let name = format!("{} (row)", self.graph.node(id).origin.name);
        let scratch = self.value_buffer(id, name, LANES, Place::Scratch(0));
        let folded = kb.flat("folded", LANES, Access::Update, whole(scratch));
        let to = self.make_plain(id);
        let y = kb.flat("y", rows, Access::Write, whole(to));
        let row = kb.var("row");
        let element = |place: Index| At::flat(x, row * len + place);
        let folded = At::flat(folded, 0usize);
        let line = Line { len, side_by_side: true, at: &element };
        let mut body = Vec::new();
        let value = match kind {
            Kind::Max => {
                fold(&mut kb, &mut body, line, Fold::Largest, &folded);
                load(folded)
            }
            Kind::Average => {
                fold(&mut kb, &mut body, line, Fold::Sum, &folded);
                div(load(folded), constant(len as f32))
            }
        };
        body.push(Stmt::Store { at: At::flat(y, row), value, lanes: 1 });
        let body = vec![for_loop(row, Range::new(Var::LO, Var::HI), body)];
        let name = format!("global_{}_{rows}x{len}_plain", kind.name());
        let (kernel, args) = kb.build(name, rows, (rows * len) as u64, "1×1".to_owned(), body);
        self.step(self.layers(id), kernel, args);
    }
}

/// How many rows the windows of each output row count, and columns those of each column: those inside the input, and those on
/// its padding where the pool says so; never those that `ceil_mode` adds beyond.
fn window_counts(pool: &Pool, [h, w]: [usize; 2], [oh, ow]: [usize; 2]) -> [Vec<f32>; 2] {
    let Window { kernel, stride, pads, dilation } = pool.window;
    let along = |axis: usize, before: usize, after: usize, extent: usize, outputs: usize| -> Vec<f32> {
        let counted = if pool.count_include_pad { 0..before + extent + after } else { before..before + extent };
        let taps = |o: usize| (0..kernel[axis]).map(move |k| o * stride[axis] + k * dilation[axis]);
        (0..outputs).map(|o| taps(o).filter(|at| counted.contains(at)).count() as f32).collect()
    };
    [along(0, pads.top, pads.bottom, h, oh), along(1, pads.left, pads.right, w, ow)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Pads;

    #[test]
    fn windows_at_the_edge_count_fewer_elements_without_padding() {
        let window = Window { kernel: [3, 3], stride: [2, 2], pads: Pads::symmetric(1, 1), dilation: [1, 1] };
        let pool = Pool { window, ceil_mode: false, count_include_pad: false };
        assert_eq!(window_counts(&pool, [4, 4], [2, 2]), [[2.0, 3.0], [2.0, 3.0]]);
        let pool = Pool { count_include_pad: true, ..pool };
        assert_eq!(window_counts(&pool, [4, 4], [2, 2]), [[3.0; 2]; 2]);
    }

    #[test]
    fn what_ceil_mode_adds_never_counts() {
        let window = Window { kernel: [2, 2], stride: [2, 2], pads: Pads::symmetric(0, 0), dilation: [1, 1] };
        let pool = Pool { window, ceil_mode: true, count_include_pad: true };
        assert_eq!(window_counts(&pool, [3, 3], [2, 2]), [[2.0, 1.0], [2.0, 1.0]]);
    }
}
