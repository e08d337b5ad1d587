//! Emitted kernels as snapshots.

mod emitted;
mod families;

use super::{kernel, print};
use crate::graph::F32;
use crate::kernel::*;
use crate::target::Target;

/// `y = relu6(weight · x + bias)` over `outputs` blocks from `inputs` blocks, pixels in tiles of `pixels` × `blocks`.
pub(super) fn pointwise(size: usize, inputs: usize, outputs: usize, pixels: usize, blocks: usize) -> Kernel {
    let [x, weight, bias, y] = [0, 1, 2, 3].map(ParamId);
    let [ob, at, pixel, block, ib, k] = [2, 3, 4, 5, 6, 7].map(Var);
    let panel = inputs * 256;
    let input = Value::Splat(At::block(x, ib, at * (16 * pixels) + pixel * 16usize + k));
    let kernel = Value::Load {
        at: At::flat(weight, ob * (blocks * panel) + block * panel + ib * 256usize + k * 16usize),
        lanes: LANES,
    };
    let relu6 = Value::Binary(
        Binary::Min,
        Box::new(Value::Const(F32::new(6.0))),
        Box::new(Value::Binary(Binary::Max, Box::new(Value::Const(F32::new(0.0))), Box::new(Value::Acc))),
    );
    let tile = Tile {
        pixel,
        pixels,
        block,
        blocks,
        init: Value::Load { at: At::flat(bias, ob * (16 * blocks) + block * 16usize), lanes: LANES },
        reductions: vec![Reduction {
            axes: vec![
                Axis::Loop { var: ib, range: Range::new(0usize, inputs) },
                Axis::Loop { var: k, range: Range::new(0usize, 16usize) },
            ],
            apart: 0,
            prefetch: None,
            update: Update::Fma(input, kernel),
        }],
        finish: vec![Stmt::Store {
            at: At::block(y, ob * blocks + block, at * (16 * pixels) + pixel * 16usize),
            value: relu6,
            lanes: LANES,
        }],
    };
    let (tiles, groups) = (size / pixels, outputs / blocks);
    let blocks_of = |count, access| ParamKind::Blocks { elem: Elem::F32, count, len: size * 16, access };
    let flat = |len| ParamKind::Flat { elem: Elem::F32, len, access: Access::Read };
    Kernel {
        name: format!("conv1x1_{}x{}_{size}_relu6", inputs * 16, outputs * 16),
        params: [
            ("x", blocks_of(inputs, Access::Read)),
            ("weight", flat(outputs * panel)),
            ("bias", flat(outputs * 16)),
            ("y", blocks_of(outputs, Access::Write)),
        ]
        .map(|(name, kind)| Param { name: name.to_owned(), kind })
        .into(),
        units: tiles,
        in_place: vec![],
        vars: ["lo", "hi", "ob", "at", "p", "b", "ib", "k"].map(str::to_owned).into(),
        locals: vec![],
        body: vec![Stmt::For {
            var: ob,
            range: Range::new(0usize, groups),
            unroll: false,
            body: vec![Stmt::For {
                var: at,
                range: Range { lo: Bound::Index(Var::LO.into()), hi: Bound::Index(Var::HI.into()) },
                unroll: false,
                body: vec![Stmt::Tile(tile)],
            }],
        }],
        flops: (2 * size * inputs * outputs * 256) as u64,
        tile: format!("{pixels}×{blocks}"),
    }
}

/// Depthwise 3×3 with one pixel of padding over rows of `width` pixels, `width` in tiles of `pixels`; a unit is a row
/// of a block.
pub(super) fn depthwise(blocks: usize, height: usize, width: usize, pixels: usize) -> Kernel {
    let [x, weight, bias, y] = [0, 1, 2, 3].map(ParamId);
    let [cb, oh, at, pixel, block, kh, kw] = [2, 3, 4, 5, 6, 7, 8].map(Var);
    let row = 16 * width;
    let tiles = width / pixels;
    let tile = |at: Index, taps: Vec<Tap>| {
        let offset = (oh * row) + (kh * row) + at.clone() * 16usize + pixel * 16usize + kw * 16usize - row - 16usize;
        Stmt::Tile(Tile {
            pixel,
            pixels,
            block,
            blocks: 1,
            init: Value::Load { at: At::flat(bias, cb * 16usize), lanes: LANES },
            reductions: vec![Reduction {
                axes: vec![
                    Axis::Loop {
                        var: kh,
                        range: Range {
                            lo: Bound::Max(Index::constant(1) - oh, Index::constant(0)),
                            hi: Bound::Min(Index::from(height + 1) - oh, Index::constant(3)),
                        },
                    },
                    Axis::Taps { var: kw, taps, together: false },
                ],
                apart: 0,
                prefetch: None,
                update: Update::Fma(
                    Value::Load { at: At::block(x, cb, offset), lanes: LANES },
                    Value::Load { at: At::flat(weight, cb * 144usize + kh * 48usize + kw * 16usize), lanes: LANES },
                ),
            }],
            finish: vec![Stmt::Store {
                at: At::block(y, cb, oh * row + at * 16usize + pixel * 16usize),
                value: Value::Binary(Binary::Max, Box::new(Value::Const(F32::new(0.0))), Box::new(Value::Acc)),
                lanes: LANES,
            }],
        })
    };
    let tap = |value, first, end| Tap { value, first, end };
    let start = cb * height;
    let inner = vec![tap(0, 0, pixels), tap(1, 0, pixels), tap(2, 0, pixels)];
    let rows = vec![
        tile(Index::constant(0), vec![tap(0, 1, pixels), tap(1, 0, pixels), tap(2, 0, pixels)]),
        Stmt::For {
            var: at,
            range: Range::new(1usize, tiles - 1),
            unroll: false,
            body: vec![tile(at * pixels, inner)],
        },
        tile(Index::from(width - pixels), vec![tap(0, 0, pixels), tap(1, 0, pixels), tap(2, 0, pixels - 1)]),
    ];
    let blocks_of = |access| ParamKind::Blocks { elem: Elem::F32, count: blocks, len: height * row, access };
    let flat = |len| ParamKind::Flat { elem: Elem::F32, len, access: Access::Read };
    Kernel {
        name: format!("depthwise3x3_{}_{height}x{width}_relu", blocks * 16),
        params: [
            ("x", blocks_of(Access::Read)),
            ("weight", flat(blocks * 144)),
            ("bias", flat(blocks * 16)),
            ("y", blocks_of(Access::Write)),
        ]
        .map(|(name, kind)| Param { name: name.to_owned(), kind })
        .into(),
        units: blocks * height,
        in_place: vec![],
        vars: ["lo", "hi", "cb", "oh", "at", "p", "b", "kh", "kw"].map(str::to_owned).into(),
        locals: vec![],
        body: vec![Stmt::For {
            var: cb,
            range: Range::new(0usize, blocks),
            unroll: false,
            body: vec![Stmt::For { var: oh, range: Range::units(start, height), unroll: false, body: rows }],
        }],
        flops: (2 * 9 * blocks * 16 * height * width) as u64,
        tile: format!("{pixels}×1"),
    }
}

fn check(kernel: &Kernel, target: Target) -> String {
    print::file("kernel", kernel::function(kernel, target, &["features.1", "features.2"])).unwrap()
}

#[test]
fn pointwise_avx2() {
    insta::assert_snapshot!(check(&pointwise(12, 2, 4, 6, 1), Target::Avx2));
}

#[test]
fn pointwise_avx512() {
    insta::assert_snapshot!(check(&pointwise(8, 2, 4, 4, 2), Target::Avx512));
}

#[test]
fn depthwise_base() {
    insta::assert_snapshot!(check(&depthwise(2, 5, 8, 2), Target::Base));
}
