use std::borrow::Cow;

use kiln_rt::fill::Kind;
use kiln_rt::weights::{Expr, ExprId, Form, HOLE};

use super::*;
use crate::graph::F32;
use crate::kernel::*;

/// Knuth's MMIX generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn var(&mut self) -> Var {
        Var(self.below(8) as u32)
    }

    fn index(&mut self, depth: usize) -> Index {
        let mut sum = Index::constant(self.below(9) as i64 - 4);
        for _ in 0..self.below(4) {
            let term = match self.below(if depth == 0 { 1 } else { 4 }) {
                2 => Term::Mod(Box::new(self.index(depth - 1)), 1 + self.below(5) as i64),
                3 => Term::Table(ParamId(2), Box::new(self.index(depth - 1))),
                _ => Term::Var(self.var()),
            };
            sum = sum + Index::term(term) * (self.below(7) as i64 - 3);
        }
        sum
    }

    fn at(&mut self) -> At {
        if self.below(2) == 0 {
            At::flat(ParamId(0), self.index(2))
        } else {
            At::block(ParamId(1), self.index(2), self.index(2))
        }
    }

    fn lanes(&mut self) -> usize {
        [16, 16, 1, 5][self.below(4)]
    }

    fn number(&mut self) -> F32 {
        let numbers = [0.0, -0.0, 1.0, -1.5e-7, 3.4e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.1];
        F32::new(numbers[self.below(numbers.len())])
    }

    fn value(&mut self, depth: usize) -> Value {
        let mut inner = || Box::new(self.value(depth.saturating_sub(1)));
        let [a, b, c, d] =
            if depth > 0 { [inner(), inner(), inner(), inner()] } else { [(); 4].map(|()| Box::new(Value::Acc)) };
        match self.below(if depth == 0 { 7 } else { 11 }) {
            0 => Value::Const(self.number()),
            1 => Value::ConstI32(self.below(100) as i32 - 50),
            2 => Value::Local(Local(self.below(3) as u32)),
            3 => Value::Acc,
            4 => Value::Load { at: self.at(), lanes: self.lanes() },
            5 => Value::Splat(self.at()),
            6 => Value::SplatGroup { at: self.at(), lane: self.below(4), width: 4 },
            7 => Value::Unary(Unary::ALL[self.below(Unary::ALL.len())], a),
            8 => {
                let all = [
                    Binary::Add,
                    Binary::Sub,
                    Binary::Mul,
                    Binary::Div,
                    Binary::Min,
                    Binary::Max,
                    Binary::MinNan,
                    Binary::MaxNan,
                ];
                Value::Binary(all[self.below(6)], a, b)
            }
            9 => Value::Fma(a, b, c),
            _ => Value::SelectLt { a, b, then: c, otherwise: d },
        }
    }

    fn bound(&mut self) -> Bound {
        match self.below(3) {
            0 => Bound::Index(self.index(1)),
            1 => Bound::Min(self.index(1), self.index(1)),
            _ => Bound::Max(self.index(1), self.index(1)),
        }
    }

    fn range(&mut self) -> Range {
        Range { lo: self.bound(), hi: self.bound() }
    }

    fn body(&mut self, depth: usize) -> Vec<Stmt> {
        (0..self.below(4)).map(|_| self.stmt(depth)).collect()
    }

    fn stmt(&mut self, depth: usize) -> Stmt {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => Stmt::Let { local: Local(self.below(3) as u32), value: self.value(2) },
            1 => Stmt::Store { at: self.at(), value: self.value(2), lanes: self.lanes() },
            2 => Stmt::Zero { at: self.at(), len: self.below(100) },
            3 => Stmt::Prefetch(self.prefetch()),
            4 => Stmt::For {
                var: self.var(),
                range: self.range(),
                unroll: self.below(2) == 0,
                body: self.body(depth - 1),
            },
            _ => Stmt::Tile(Tile {
                pixel: self.var(),
                pixels: self.below(9),
                block: self.var(),
                blocks: self.below(9),
                init: self.value(1),
                reductions: (0..self.below(3)).map(|_| self.reduction()).collect(),
                finish: self.body(depth - 1),
            }),
        }
    }

    fn prefetch(&mut self) -> Prefetch {
        Prefetch { at: self.at(), level: 1 + self.below(2) as u8 }
    }

    fn reduction(&mut self) -> Reduction {
        let mut axis = || match self.below(2) {
            0 => Axis::Loop { var: self.var(), range: self.range() },
            _ => {
                let mut tap = || Tap { value: self.below(9) as i64 - 4, first: self.below(9), end: self.below(9) };
                let taps = vec![tap(), tap()];
                Axis::Taps { var: self.var(), taps, together: self.below(2) == 0 }
            }
        };
        let axes = vec![axis(), axis()];
        let update = match self.below(3) {
            0 => Update::Fma(self.value(1), self.value(1)),
            1 => Update::Add(self.value(1)),
            _ => Update::Max(self.value(1)),
        };
        let prefetch = (self.below(2) == 0).then(|| self.prefetch());
        Reduction { axes, apart: self.below(3), prefetch, update }
    }

    fn kernel(&mut self, name: &str) -> Kernel {
        let elem = Elem::F32;
        let param = |name: &str, kind| Param { name: name.into(), kind };
        Kernel {
            name: name.into(),
            params: vec![
                param("w", ParamKind::Flat { elem, len: 100, access: Access::Read }),
                param("y", ParamKind::Blocks { elem: Elem::I32, count: 2, len: 50, access: Access::Update }),
                param("vars", ParamKind::Table { len: 3, below: 2 }),
            ],
            units: self.below(100),
            in_place: if self.below(2) == 0 { vec![(ParamId(1), ParamId(0))] } else { Vec::new() },
            vars: ["lo", "hi", "in_place", "t", "load", "oh", "kh", "k2"].map(String::from).into(),
            locals: ["v", "w2", "store"].map(String::from).into(),
            body: self.body(3),
            flops: u64::MAX,
            tile: "6×1".into(),
        }
    }
}

fn program(seed: u64) -> Program {
    let mut random = Random(seed);
    let kernels: Vec<Kernel> = ["plain", "with \"quotes\" and \\ and \u{7}"].map(|name| random.kernel(name)).into();
    let of = ExprId(0);
    let weights = vec![
        Expr::Read { name: "a \"b\"\n".into(), kind: Kind::Gamma, shape: Cow::Owned(vec![4, 2]) },
        Expr::Literal { shape: Cow::Owned(vec![2]), bits: vec![f32::NAN.to_bits(), (-0.5f32).to_bits()].into() },
        Expr::Splat { shape: Cow::Owned(vec![]), bits: f32::NEG_INFINITY.to_bits() },
        Expr::Transpose { of, perm: vec![1, 0].into() },
        Expr::Reshape { of, shape: vec![8].into() },
        Expr::Concat { of: vec![of, of].into(), axis: 0 },
        Expr::Gather { of, axis: 0, index: vec![3, 0, 1, 2, HOLE, HOLE, 2].into() },
        Expr::Scale { of, axis: 1, by: ExprId(1) },
        Expr::Add { a: of, b: of },
        Expr::Times { of, bits: (-0.1f64).to_bits() },
        Expr::RsqrtEps { of, eps: f64::NAN.to_bits() },
        Expr::Contract { of, by: ExprId(4), groups: 4 },
    ];
    let buffer = |name: &str, place| Buffer { name: name.into(), elem: Elem::I8, len: 7, place };
    let region = |buffer, offset| Region { buffer: BufferId(buffer), offset };
    let step = |kernel, waits, layers: &[&str]| Step {
        kernel: KernelId(kernel),
        args: vec![
            Arg::Flat(region(0, 5)),
            Arg::Blocks(vec![region(1, 0), region(2, 16), region(4, 0)]),
            Arg::Table(TableId(1)),
        ],
        waits,
        layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
    };
    Program {
        name: "Random".into(),
        target: Target::ALL[random.below(4)],
        weights,
        buffers: vec![
            buffer("x", Place::Input(0)),
            buffer("features.0[1]", Place::Arena(64)),
            buffer("table", Place::Scratch(32)),
            buffer("y", Place::Output(1)),
            buffer("w", Place::Packed { weight: ExprId(9), form: Form::Panel }),
        ],
        tables: vec![
            Table { name: "empty".into(), values: Vec::new() },
            Table { name: "taps 3".into(), values: vec![1, u32::MAX] },
        ],
        kernels,
        steps: vec![step(0, Waits::Barrier, &["conv1", "features.0.bn"]), step(1, Waits::OwnUnits, &[])],
        arena: 1000,
        scratch: 100,
        arena_lower_bound: 10,
        logical_lower_bound: 9,
    }
}

#[test]
fn random_programs_read_back_as_they_were() {
    for seed in 0..300 {
        let program = program(seed);
        let text = print(&program);
        let read = parse(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        // NaNs are equal by bits in values and weights alike.
        assert_eq!(read, program, "seed {seed}:\n{text}");
        assert_eq!(parse_kernel(&kernel(&program.kernels[1])).unwrap(), program.kernels[1]);
    }
}

#[test]
fn a_kernel_is_readable() {
    let program = super::super::interp::tests::pointwise(Target::Avx2);
    let text = "\
kernel pointwise_32x32_20px_relu units 10 flops 40960 tile \"4×1\"
  x: read f32 blocks 2 of 320
  weight: read f32 flat 1024
  bias: read f32 flat 32
  y: write f32 blocks 2 of 320
{
  for ob in 0..2 {
    for t in max(lo - 5*ob, 0)..min(hi - 5*ob, 5) {
      tile p: 4, b: 1 {
        init load bias[16*ob]
        reduce ib in 0..2, i in 0..16 {
          fma(splat x[ib][64*t + 16*p + i], load weight[512*ob + 256*ib + 16*i])
        }
        finish {
          store y[ob + b][64*t + 16*p], max(0.0, acc)
        }
      }
    }
  }
}
";
    assert_eq!(kernel(&program.kernels[0]), text);
    assert_eq!(parse(&print(&program)), Ok(program));
}

#[test]
fn errors_have_a_place() {
    let text = print(&super::super::interp::tests::pointwise(Target::Avx2));
    let mut wrong = String::new();
    let mut check = |from: &str, to: &str, want: &str| {
        assert!(text.contains(from), "{text}");
        let found = parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
        if found != want {
            wrong += &format!("{found}\n");
        }
    };
    check("program", "Program", "1:1: `Program` where `program` should stand");
    check("avx2", "avx3", "1:26: there is no target avx3");
    check("input 0", "inputs 0", "7:19: `inputs` is no place");
    check("ob in 0..2", "ob in 0.2", "18:13: `0.2` where a number should stand");
    check("512*ob", "512*co", "23:61: there is no variable co here");
    check("512*ob", "512*(ob + 1)", "23:61: a sum in parentheses without `mod`");
    check("for t in", "for ob in", "19:9: ob is bound twice");
    check("splat x", "splat X", "23:21: there is no parameter X");
    check("max(0.0, acc)", "maximum(0.0, acc)", "26:41: there is no function maximum");
    check("tile \"4×1\"", "tile \"4×1", "12:60: this string does not end");
    check("units 10", "units 99999999999", "12:40: 99999999999 is more than 2^31");
    check("step pointwise", "step Pointwise", "33:6: there is no kernel Pointwise_32x32_20px_relu yet");
    check("bias: read", "weight: read", "15:3: two parameters are called weight");
    check("{\n  for ob", "%{\n  for ob", "17:1: '%' means nothing here");
    assert_eq!(wrong, "");
    let deep = format!("kernel k units 1 flops 0 tile \"\" {{ let v = {}0.0", "neg(".repeat(1 << 20));
    assert_eq!(parse_kernel(&deep).unwrap_err().message, "nested deeper than 64");
}

#[test]
fn no_text_makes_it_panic() {
    let whole =
        print(&super::super::interp::tests::pointwise(Target::Avx2)) + super::super::programs::INVERTED_RESIDUAL_RING;
    for text in [whole.as_str(), &print(&program(3))] {
        let mut random = Random(1);
        let pieces =
            ["", "{", "}", "(", "-", "*", "..", "\"", "×", "0", "99999999999999999999", "mod", "lanes", "//", "\\u{"];
        for _ in 0..400 {
            let mut text = text.to_owned();
            let mut cut = |text: &str| loop {
                let at = random.below(text.len() + 1);
                if text.is_char_boundary(at) {
                    return (at, random.below(3), pieces[random.below(pieces.len())]);
                }
            };
            let (at, remove, insert) = cut(&text);
            let end = (at..=text.len()).filter(|end| text.is_char_boundary(*end)).nth(remove).unwrap_or(text.len());
            text.replace_range(at..end, insert);
            // Whatever reads, prints.
            let _ = parse(&text).map(|program| print(&program));
        }
    }
}
