use kiln_rt::fill::Kind;

use super::*;
use crate::graph::F32;
use crate::kernel::*;

/// y = relu(x · w + bias) for 20 pixels, 2 input and 2 output blocks; a unit is 4 pixels of one output block.
pub(crate) fn pointwise(target: Target) -> Program {
    let [x, w, bias, y] = [ParamId(0), ParamId(1), ParamId(2), ParamId(3)];
    let names = ["lo", "hi", "ob", "t", "p", "b", "ib", "i"];
    let [ob, t, p, b, ib, i] = [2, 3, 4, 5, 6, 7].map(Var);
    let blocks = |access| ParamKind::Blocks { elem: Elem::F32, count: 2, len: 320, access };
    let flat = |len| ParamKind::Flat { elem: Elem::F32, len, access: Access::Read };
    let param = |name: &str, kind| Param { name: name.into(), kind };
    let pixel = t * 64usize + p * 16usize;
    let splat = Value::Splat(At::block(x, ib, pixel.clone() + i));
    let weight = Value::Load { at: At::flat(w, ob * 512usize + ib * 256usize + i * 16usize), lanes: 16 };
    let relu = Value::Binary(Binary::Max, Box::new(Value::Const(F32::new(0.0))), Box::new(Value::Acc));
    let tile = Tile {
        pixel: p,
        pixels: 4,
        block: b,
        blocks: 1,
        init: Value::Load { at: At::flat(bias, ob * 16usize), lanes: 16 },
        reductions: vec![Reduction {
            axes: vec![
                Axis::Loop { var: ib, range: Range::new(0usize, 2usize) },
                Axis::Loop { var: i, range: Range::new(0usize, 16usize) },
            ],
            apart: 0,
            prefetch: None,
            update: Update::Fma(splat, weight),
        }],
        finish: vec![Stmt::Store { at: At::block(y, Index::var(ob) + b, pixel), value: relu, lanes: 16 }],
    };
    let inner = Stmt::For { var: t, range: Range::units(ob * 5usize, 5), unroll: false, body: vec![Stmt::Tile(tile)] };
    let kernel = Kernel {
        name: "pointwise_32x32_20px_relu".into(),
        params: vec![
            param("x", blocks(Access::Read)),
            param("weight", flat(1024)),
            param("bias", flat(32)),
            param("y", blocks(Access::Write)),
        ],
        units: 10,
        in_place: Vec::new(),
        vars: names.map(String::from).into(),
        locals: Vec::new(),
        body: vec![Stmt::For { var: ob, range: Range::new(0usize, 2usize), unroll: false, body: vec![inner] }],
        flops: 2 * 32 * 32 * 20,
        tile: "4×1".into(),
    };
    let buffer = |name: &str, len, place| Buffer { name: name.into(), elem: Elem::F32, len, place };
    let packed = |weight, form| Place::Packed { weight: WeightId(weight), form };
    let two = |buffer| Arg::Blocks([0, 320].map(|offset| Region { buffer: BufferId(buffer), offset }).into());
    let step = Step {
        kernel: KernelId(0),
        args: vec![
            two(0),
            Arg::Flat(Region { buffer: BufferId(1), offset: 0 }),
            Arg::Flat(Region { buffer: BufferId(2), offset: 0 }),
            two(3),
        ],
        waits: Waits::Barrier,
        layers: vec!["conv".into()],
    };
    Program {
        name: "Pointwise".into(),
        target,
        weights: vec![
            Expr::Read { name: "conv.weight".into(), kind: Kind::Kernel, shape: vec![32, 32, 1, 1].into() },
            Expr::Read { name: "conv.bias".into(), kind: Kind::Bias, shape: vec![32].into() },
        ],
        buffers: vec![
            buffer("x", 640, Place::Input(0)),
            buffer("conv.weight", 1024, packed(0, Form::Panel)),
            buffer("conv.bias", 32, packed(1, Form::Vector)),
            buffer("y", 640, Place::Output(0)),
        ],
        tables: Vec::new(),
        kernels: vec![kernel],
        steps: vec![step],
        arena: 0,
        scratch: 0,
        arena_lower_bound: 0,
        logical_lower_bound: 0,
    }
}

/// Numbers in -1..1 that differ.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    (0..len as u32).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn packed(buffer: &Buffer) -> Vec<f32> {
    numbers(buffer.len, buffer.len as u32)
}

fn run_pointwise(target: Target, split: Split) -> Vec<f32> {
    let options = Options { poison: true, split };
    run(&pointwise(target), packed, &[numbers(640, 7)], options).unwrap().remove(0)
}

#[test]
fn the_order_of_sums_and_the_rounding_are_as_stated() {
    let (x, w, bias) = (numbers(640, 7), numbers(1024, 1024), numbers(32, 32));
    for target in [Target::Avx2, Target::Base] {
        let got = run_pointwise(target, Split::Whole);
        for (o, p) in (0..32).flat_map(|o| (0..20).map(move |p| (o, p))) {
            let mut acc = bias[o];
            for c in 0..32 {
                let (a, b) = (x[c / 16 * 320 + p * 16 + c % 16], w[o / 16 * 512 + c * 16 + o % 16]);
                acc = if target == Target::Avx2 { a.mul_add(b, acc) } else { a * b + acc };
            }
            assert_eq!(got[o / 16 * 320 + p * 16 + o % 16].to_bits(), acc.max(0.0).to_bits());
        }
    }
}

#[test]
fn what_is_summed_apart_starts_at_zero_and_is_added_as_one() {
    let (x, w, bias) = (numbers(640, 7), numbers(1024, 1024), numbers(32, 32));
    for (target, apart) in [(Target::Avx2, 1), (Target::Base, 1), (Target::Avx2, 0)] {
        let mut program = pointwise(target);
        let Stmt::For { body, .. } = &mut program.kernels[0].body[0] else { panic!("a loop over blocks") };
        let Stmt::For { body, .. } = &mut body[0] else { panic!("a loop over tiles") };
        let Stmt::Tile(tile) = &mut body[0] else { panic!("a tile") };
        tile.reductions[0].apart = apart;
        let got = run(&program, packed, &[numbers(640, 7)], Options::default()).unwrap().remove(0);
        for (o, p) in (0..32).flat_map(|o| (0..20).map(move |p| (o, p))) {
            let mut acc = bias[o];
            for block in 0..2 {
                let mut inner = if apart == 1 { 0.0 } else { acc };
                for c in 0..16 {
                    let (a, b) = (x[block * 320 + p * 16 + c], w[o / 16 * 512 + (block * 16 + c) * 16 + o % 16]);
                    inner = if target == Target::Avx2 { a.mul_add(b, inner) } else { a * b + inner };
                }
                acc = if apart == 1 { acc + inner } else { inner };
            }
            assert_eq!(got[o / 16 * 320 + p * 16 + o % 16].to_bits(), acc.max(0.0).to_bits());
        }
    }
}

#[test]
fn every_split_gives_the_same_bits() {
    let whole = run_pointwise(Target::Avx512, Split::Whole);
    for split in [Split::Workers(1), Split::Workers(3), Split::Workers(32), Split::Shuffled(1), Split::Shuffled(2)] {
        assert_eq!(run_pointwise(Target::Avx512, split), whole);
    }
}

#[test]
fn splits_cover_all_units_once() {
    for split in [Split::Whole, Split::Workers(4), Split::Shuffled(3)] {
        let mut units: Vec<usize> = split.calls(101).into_iter().flatten().collect();
        units.sort_unstable();
        assert_eq!(units, (0..101).collect::<Vec<_>>());
    }
}

#[test]
fn an_access_outside_is_an_error_that_says_where() {
    let mut program = pointwise(Target::Portable);
    let ParamKind::Blocks { len, .. } = &mut program.kernels[0].params[0].kind else { unreachable!() };
    *len -= 1;
    let error = run(&program, packed, &[numbers(640, 7)], Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "step 0, kernel pointwise_32x32_20px_relu: for ob = 0: for t = 4: reduce ib = 0: reduce i = 15: tile 3, 0: \
         x[0][319], 1 elements: there are 319 elements"
    );
}

#[test]
fn what_does_not_fit_is_an_error() {
    let check = |change: &dyn Fn(&mut Program), want: &str| {
        let mut program = pointwise(Target::Portable);
        change(&mut program);
        let error = run(&program, packed, &[numbers(640, 7)], Options::default()).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    check(&|p| p.buffers[0].len = 1, "buffer x has 1 elements, but 640 are given");
    check(&|p| p.buffers[1].len = 1023, "argument weight: 1024 elements from 0 on do not lie in conv.weight");
    check(&|p| p.buffers[3].place = Place::Arena(1), "buffer y ends past the 0 elements");
    check(&|p| drop(p.steps[0].args.pop()), "4 parameters, but 3 arguments");
    check(&|p| p.steps[0].args[1] = Arg::Table(TableId(0)), "not of the parameter's kind");
    check(&|p| p.kernels[0].params[3].kind = p.kernels[0].params[0].kind, "a write to what is read only");
}

#[test]
fn weights_come_from_a_source() {
    let source = kiln_rt::weights::FillSource { gain: 1.0 };
    let zeros = [vec![0.0; 640]];
    let got = run_with(&pointwise(Target::Avx2), &source, &zeros, Options::default()).unwrap().remove(0);
    let bias = kiln_rt::fill::fill("conv.bias", Kind::Bias, &[32], 1.0);
    for (i, got) in got.iter().enumerate() {
        assert_eq!(*got, bias[i / 320 * 16 + i % 16].max(0.0));
    }
}
