//! Every method of every target, lane by lane against the same formula on scalars.

use super::super::target::Target;
use super::portable::{Lane, MulAdd, Unfused};

/// Values whose handling differs between instructions: zeros of both signs, subnormals, limits, NaN, ties.
const SPECIAL: [f32; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    3.0,
    1e-45,
    -1e-45,
    1e-40,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    1e10,
    -1e10,
    0.1,
    -7.3,
    16_777_217.0,
];

type Lanes = [f32; 16];

/// Sixteen lanes that pair every special value with others as `shift` runs.
fn lanes(shift: usize, step: usize) -> Lanes {
    std::array::from_fn(|i| SPECIAL[(shift + i * step) % SPECIAL.len()])
}

/// The results of all methods on some inputs, by name.
type Results = Vec<(&'static str, Lanes)>;

fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

fn to_i32(x: f32) -> i32 {
    if x.abs() < 2_147_483_648.0 { x.round_ties_even() as i32 } else { i32::MIN }
}

/// What the methods must give.
fn expected(a: Lanes, b: Lanes, c: Lanes, n: usize, fma: bool) -> Results {
    let each = |f: &dyn Fn(usize) -> f32| std::array::from_fn(f);
    let int = |i: usize| to_i32(a[i]).wrapping_add(3).wrapping_mul(to_i32(b[i]));
    vec![
        ("splat", [a[0]; 16]),
        ("load_splat", [a[1]; 16]),
        ("zero", [0.0; 16]),
        ("load_lanes", each(&|i| if i < n { a[i] } else { 0.0 })),
        ("store_lanes", each(&|i| if i < n { a[i] } else { 9.0 })),
        ("splat_group 1 of 2", each(&|i| a[i / 2 * 2 + 1])),
        ("splat_group 0 of 2", each(&|i| a[i / 2 * 2])),
        ("splat_group 2 of 4", each(&|i| a[i / 4 * 4 + 2])),
        ("splat_group 3 of 4", each(&|i| a[i / 4 * 4 + 3])),
        ("splat_group 1 of 8", each(&|i| a[i / 8 * 8 + 1])),
        ("splat_group 6 of 8", each(&|i| a[i / 8 * 8 + 6])),
        ("add", each(&|i| a[i] + b[i])),
        ("sub", each(&|i| a[i] - b[i])),
        ("mul", each(&|i| a[i] * b[i])),
        ("div", each(&|i| a[i] / b[i])),
        ("min", each(&|i| if a[i] < b[i] { a[i] } else { b[i] })),
        ("max", each(&|i| max(a[i], b[i]))),
        ("max_nan", each(&|i| if a[i].is_nan() { a[i] } else { max(a[i], b[i]) })),
        ("mul_add", each(&|i| if fma { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })),
        ("add_product", each(&|i| if fma { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })),
        ("pin", a),
        ("select_lt", each(&|i| if a[i] < b[i] { c[i] } else { a[i] })),
        ("neg", each(&|i| -a[i])),
        ("abs", each(&|i| a[i].abs())),
        ("min_nan", each(&|i| if a[i].is_nan() || a[i] < b[i] { a[i] } else { b[i] })),
        ("sqrt", each(&|i| a[i].sqrt())),
        ("integers", each(&|i| int(i) as f32)),
        ("integer bits", each(&|i| f32::from_bits(int(i) as u32))),
        ("integer sub", each(&|i| (int(i).wrapping_sub(to_i32(b[i]))) as f32)),
        ("integer min", each(&|i| int(i).min(to_i32(b[i])) as f32)),
        ("integer max", each(&|i| int(i).max(to_i32(b[i])) as f32)),
        ("integer add_product", each(&|i| int(i).wrapping_add(to_i32(b[i]).wrapping_mul(int(i))) as f32)),
        ("integer lanes", each(&|i| if i < n { int(i) as f32 } else { 0.0 })),
        ("bytes", each(&|i| if i < n { f32::from(int(i) as u8) } else { 0.0 })),
        ("signed bytes", each(&|i| if i < n { f32::from(int(i) as i8) } else { 0.0 })),
        ("byte splat", [f32::from(int(0) as i8); 16]),
    ]
}

/// The functions, in the order of `curves`.
const FUNCTIONS: [&str; 11] =
    ["exp", "log", "tanh", "erf", "sigmoid", "silu", "elu", "softplus", "mish", "gelu", "gelu_tanh"];

/// `results` and `curves` of one module, as functions with its features.
macro_rules! module {
    ($module:ident, $target:expr $(, $features:literal)?) => {
        mod $module {
            use super::super::$module::{F32x16, I32x16};
            use super::{FUNCTIONS, Lanes, Results};

            $(#[target_feature(enable = $features)])?
            fn lanes(x: F32x16) -> Lanes {
                let mut lanes = [0.0; 16];
                // SAFETY: sixteen elements.
                unsafe { x.store(lanes.as_mut_ptr()) };
                lanes
            }

            $(#[target_feature(enable = $features)])?
            fn results_here(a: Lanes, b: Lanes, c: Lanes, n: usize) -> Results {
                let first = a;
                // SAFETY: sixteen elements each.
                let (a, b, c) = unsafe { (F32x16::load(a.as_ptr()), F32x16::load(b.as_ptr()), F32x16::load(c.as_ptr())) };
                // Boxes of n elements exactly, so that a checker of memory sees an access past them.
                let (short, mut stored) = (first[..n].to_vec().into_boxed_slice(), vec![9.0; n].into_boxed_slice());
                let mut padded = [9.0; 16];
                // SAFETY: n elements each, and one.
                let (load_lanes, load_splat) = unsafe {
                    a.store_lanes(stored.as_mut_ptr(), n);
                    a.store_lanes(padded.as_mut_ptr(), n);
                    (F32x16::load_lanes(short.as_ptr(), n), F32x16::load_splat(&first[1]))
                };
                assert!(stored.iter().zip(&padded).all(|(x, y)| x.to_bits() == y.to_bits()));
                let mut integers = a.to_i32().add(I32x16::splat(3)).mul(b.to_i32());
                let mut bits = [0; 16];
                // SAFETY: sixteen elements.
                unsafe {
                    integers.store(bits.as_mut_ptr());
                    integers = I32x16::load(bits.as_ptr());
                }
                let other = b.to_i32();
                let (mut words, mut bytes, mut signed) = (vec![7_i32; n], vec![7_u8; n], vec![7_i8; n.max(1)]);
                // SAFETY: n elements each, and one.
                let [some, some_bytes, some_signed, byte] = unsafe {
                    integers.store_lanes(words.as_mut_ptr(), n);
                    integers.store_lanes(bytes.as_mut_ptr(), n);
                    integers.store_lanes(signed.as_mut_ptr(), n.max(1));
                    let some = I32x16::load_lanes(words.as_ptr(), n);
                    let signed_lanes = I32x16::load_lanes(signed.as_ptr(), n);
                    [some, I32x16::load_lanes(bytes.as_ptr(), n), signed_lanes, I32x16::load_splat(signed.as_ptr())]
                };
                vec![
                    ("splat", lanes(F32x16::splat(first[0]))),
                    ("load_splat", lanes(load_splat)),
                    ("zero", lanes(F32x16::zero())),
                    ("load_lanes", lanes(load_lanes)),
                    ("store_lanes", padded),
                    ("splat_group 1 of 2", lanes(a.splat_group::<1, 2>())),
                    ("splat_group 0 of 2", lanes(a.splat_group::<0, 2>())),
                    ("splat_group 2 of 4", lanes(a.splat_group::<2, 4>())),
                    ("splat_group 3 of 4", lanes(a.splat_group::<3, 4>())),
                    ("splat_group 1 of 8", lanes(a.splat_group::<1, 8>())),
                    ("splat_group 6 of 8", lanes(a.splat_group::<6, 8>())),
                    ("add", lanes(a.add(b))),
                    ("sub", lanes(a.sub(b))),
                    ("mul", lanes(a.mul(b))),
                    ("div", lanes(a.div(b))),
                    ("min", lanes(a.min(b))),
                    ("max", lanes(a.max(b))),
                    ("max_nan", lanes(a.max_nan(b))),
                    ("mul_add", lanes(a.mul_add(b, c))),
                    ("add_product", lanes(c.add_product(a, b))),
                    ("pin", lanes(a.pin())),
                    ("select_lt", lanes(F32x16::select_lt(a, b, c, a))),
                    ("neg", lanes(a.neg())),
                    ("abs", lanes(a.abs())),
                    ("min_nan", lanes(a.min_nan(b))),
                    ("sqrt", lanes(a.sqrt())),
                    ("integers", lanes(integers.to_f32())),
                    ("integer bits", bits.map(|bits: i32| f32::from_bits(bits as u32))),
                    ("integer sub", lanes(integers.sub(other).to_f32())),
                    ("integer min", lanes(integers.min(other).to_f32())),
                    ("integer max", lanes(integers.max(other).to_f32())),
                    ("integer add_product", lanes(integers.add_product(other, integers).to_f32())),
                    ("integer lanes", lanes(some.to_f32())),
                    ("bytes", lanes(some_bytes.to_f32())),
                    ("signed bytes", lanes(some_signed.to_f32())),
                    ("byte splat", lanes(byte.to_f32())),
                ]
            }

            $(#[target_feature(enable = $features)])?
            fn curves_here(x: Lanes) -> [Lanes; FUNCTIONS.len()] {
                // SAFETY: sixteen elements.
                let x = unsafe { F32x16::load(x.as_ptr()) };
                [
                    lanes(x.exp()),
                    lanes(x.log()),
                    lanes(x.tanh()),
                    lanes(x.erf()),
                    lanes(x.sigmoid()),
                    lanes(x.silu()),
                    lanes(x.elu()),
                    lanes(x.softplus()),
                    lanes(x.mish()),
                    lanes(x.gelu()),
                    lanes(x.gelu_tanh()),
                ]
            }

            pub(super) fn results(a: Lanes, b: Lanes, c: Lanes, n: usize) -> Results {
                assert!($target.is_available());
                // SAFETY: the features are here.
                #[allow(unused_unsafe, reason = "portable has no features")]
                unsafe { results_here(a, b, c, n) }
            }

            pub(super) fn curves(x: Lanes) -> [Lanes; FUNCTIONS.len()] {
                assert!($target.is_available());
                // SAFETY: the features are here.
                #[allow(unused_unsafe, reason = "portable has no features")]
                unsafe { curves_here(x) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
module!(avx512, super::Target::Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma");
#[cfg(target_arch = "x86_64")]
module!(avx2, super::Target::Avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
module!(base, super::Target::Base, "sse2");
#[cfg(target_arch = "aarch64")]
module!(neon, super::Target::Neon, "neon");
module!(portable, super::Target::Portable);

/// The module of a target that is available.
fn results(target: Target, a: Lanes, b: Lanes, c: Lanes, n: usize) -> Results {
    match target {
        #[cfg(target_arch = "x86_64")]
        Target::Avx512 => avx512::results(a, b, c, n),
        #[cfg(target_arch = "x86_64")]
        Target::Avx2 => avx2::results(a, b, c, n),
        #[cfg(target_arch = "x86_64")]
        Target::Base => base::results(a, b, c, n),
        #[cfg(target_arch = "aarch64")]
        Target::Neon => neon::results(a, b, c, n),
        #[cfg(not(target_arch = "x86_64"))]
        Target::Avx512 | Target::Avx2 | Target::Base => unreachable!("not available"),
        #[cfg(not(target_arch = "aarch64"))]
        Target::Neon => unreachable!("not available"),
        Target::Portable => portable::results(a, b, c, n),
    }
}

fn exp(target: Target, x: Lanes) -> Lanes {
    curves(target, x)[0]
}

fn log(target: Target, x: Lanes) -> Lanes {
    curves(target, x)[1]
}

/// All functions.
fn curves(target: Target, x: Lanes) -> [Lanes; FUNCTIONS.len()] {
    match target {
        #[cfg(target_arch = "x86_64")]
        Target::Avx512 => avx512::curves(x),
        #[cfg(target_arch = "x86_64")]
        Target::Avx2 => avx2::curves(x),
        #[cfg(target_arch = "x86_64")]
        Target::Base => base::curves(x),
        #[cfg(target_arch = "aarch64")]
        Target::Neon => neon::curves(x),
        #[cfg(not(target_arch = "x86_64"))]
        Target::Avx512 | Target::Avx2 | Target::Base => unreachable!("not available"),
        #[cfg(not(target_arch = "aarch64"))]
        Target::Neon => unreachable!("not available"),
        Target::Portable => portable::curves(x),
    }
}

fn available() -> impl Iterator<Item = Target> {
    Target::ALL.into_iter().filter(|target| target.is_available())
}

/// Equal bits, or two NaNs: which NaN an operation gives is the processor's affair.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[test]
fn methods_agree_with_scalars() {
    for target in available() {
        for shift in 0..SPECIAL.len() {
            for step in [1, 5, 7] {
                let (a, b, c) = (lanes(0, 1), lanes(shift, step), lanes(shift + 3, 11));
                let n = shift % 17;
                let found = results(target, a, b, c, n);
                let expected = expected(a, b, c, n, target.has_fma());
                for ((name, found), (_, expected)) in found.into_iter().zip(expected) {
                    for i in 0..16 {
                        assert!(
                            same(found[i], expected[i]),
                            "{target} {name} lane {i}: {} instead of {} for {}, {}, {}, n = {n}",
                            found[i],
                            expected[i],
                            a[i],
                            b[i],
                            c[i]
                        );
                    }
                }
            }
        }
    }
}

/// The distance in steps of representable numbers; the sign of zero does not count.
fn ulps(a: f32, b: f32) -> u32 {
    let order =
        |x: f32| if x.is_sign_negative() { -i64::from(x.to_bits() & i32::MAX as u32) } else { i64::from(x.to_bits()) };
    u32::try_from((order(a) - order(b)).unsigned_abs()).unwrap_or(u32::MAX)
}

/// Numbers over the whole range of `exp`, dense around 0, with the rounding boundaries of its reduction among them.
fn exp_arguments() -> Vec<f32> {
    let mut all: Vec<f32> = (-108_000..=92_000).map(|i| i as f32 * 1e-3).collect();
    all.extend((0..100_000).map(|i| (i as f32 - 50_000.0) * 1e-6));
    for k in -150..=128 {
        let boundary = (k as f32 + 0.5) * std::f32::consts::LN_2;
        all.extend([boundary.next_down(), boundary, boundary.next_up()]);
    }
    all.extend(SPECIAL);
    all.extend([88.722_83, 88.722_84, -103.972_08, -87.336_54, 710.0, -745.0]);
    all
}

#[test]
fn exp_is_within_two_ulps() {
    for target in available() {
        let mut worst = (0, 0.0);
        for chunk in exp_arguments().chunks(16) {
            let x: Lanes = std::array::from_fn(|i| chunk.get(i).copied().unwrap_or(0.0));
            for (x, y) in x.into_iter().zip(exp(target, x)) {
                if x.is_nan() {
                    assert!(y.is_nan(), "{target} exp({x}) = {y}");
                } else {
                    worst = std::cmp::max_by_key(worst, (ulps(y, f64::from(x).exp() as f32), x), |(ulps, _)| *ulps);
                }
            }
        }
        assert!(worst.0 <= 2, "{target}: {} ULPs at {}", worst.0, worst.1);
        let ends = exp(target, std::array::from_fn(|i| [f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0][i % 4]));
        assert_eq!(ends[..4], [f32::INFINITY, 0.0, 1.0, 1.0], "{target}");
    }
}

/// Multiply-adds that round once.
#[derive(Clone, Copy)]
struct Fused;

impl MulAdd for Fused {
    const FUSED: bool = true;

    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// All functions of a lane.
fn curves_of_lane<M: MulAdd>(x: f32) -> [f32; FUNCTIONS.len()] {
    let x = Lane::<M>::splat(x);
    [
        x.exp(),
        x.log(),
        x.tanh(),
        x.erf(),
        x.sigmoid(),
        x.silu(),
        x.elu(),
        x.softplus(),
        x.mish(),
        x.gelu(),
        x.gelu_tanh(),
    ]
    .map(Lane::get)
}

/// A lane stands for those of every target, so that targets that round alike give the same bits.
#[test]
fn functions_of_a_lane_have_the_same_bits() {
    let strided = (0..400_000_u32).map(|i| f32::from_bits(i.wrapping_mul(10_737)));
    let arguments: Vec<f32> = exp_arguments().into_iter().chain(log_arguments()).chain(strided).collect();
    for target in available() {
        for chunk in arguments.chunks_exact(16) {
            let x: Lanes = chunk.try_into().unwrap();
            let found = curves(target, x);
            for (lane, x) in x.into_iter().enumerate() {
                let expected = if target.has_fma() { curves_of_lane::<Fused>(x) } else { curves_of_lane::<Unfused>(x) };
                for (function, expected) in expected.into_iter().enumerate() {
                    let found = found[function][lane];
                    assert!(same(found, expected), "{} of {x:e} on {target}: {found:e}", FUNCTIONS[function]);
                }
            }
        }
    }
}

#[test]
fn functions_take_their_limits_keep_the_sign_of_zero_and_let_a_nan_through() {
    const INF: f32 = f32::INFINITY;
    // Of inf, -inf and -0.
    let expected: [[f32; 3]; FUNCTIONS.len()] = [
        [INF, 0.0, 1.0],
        [INF, f32::NAN, -INF],
        [1.0, -1.0, -0.0],
        [1.0, -1.0, -0.0],
        [1.0, 0.0, 0.5],
        [INF, 0.0, -0.0],
        [INF, -1.0, -0.0],
        [INF, 0.0, std::f32::consts::LN_2],
        [INF, 0.0, -0.0],
        [INF, 0.0, -0.0],
        [INF, 0.0, -0.0],
    ];
    for target in available() {
        let found = curves(target, std::array::from_fn(|i| [INF, -INF, -0.0, f32::NAN][i % 4]));
        for ((name, found), expected) in FUNCTIONS.into_iter().zip(found).zip(expected) {
            assert!(found[3].is_nan(), "{name} on {target}: {found:?}");
            // What falls to 0 may do so from below.
            assert!(found[0] == expected[0], "{name} on {target}: {found:?}");
            assert!(
                found[1] == expected[1] || expected[1].is_nan() && found[1].is_nan(),
                "{name} on {target}: {found:?}"
            );
            assert!(same(found[2], expected[2]), "{name} on {target}: {found:?}");
        }
    }
}

/// Positive numbers of all sizes, dense around 1, where the logarithm changes its sign, and around √2, where its parts meet.
fn log_arguments() -> Vec<f32> {
    let dense = |around: f32| (-2000..2000).map(move |i| f32::from_bits(around.to_bits().wrapping_add_signed(i * 17)));
    let all = (0..65_000_u32).map(|i| f32::from_bits(i * 32_603 + 1)).filter(|x| x.is_finite());
    all.chain(dense(1.0)).chain(dense(std::f32::consts::SQRT_2)).chain(dense(f32::MIN_POSITIVE)).collect()
}

#[test]
fn log_is_within_two_ulps() {
    for target in available() {
        for chunk in log_arguments().chunks_exact(16) {
            let x: Lanes = chunk.try_into().unwrap();
            for (x, y) in x.into_iter().zip(log(target, x)) {
                let expected = f64::from(x).ln();
                let near =
                    (f64::from(y) - expected).abs() <= 1e-7 * f64::max(expected.abs(), (f64::from(x) - 1.0).abs());
                assert!(ulps(y, expected as f32) <= 2 || near, "{target} log({x:e}) = {y:e}, not {expected:e}");
            }
        }
        let ends = [f32::INFINITY, 0.0, -0.0, -1.0, f32::NAN, f32::NEG_INFINITY, 1.0, -1e-40];
        let found = log(target, std::array::from_fn(|i| ends[i % 8]));
        assert_eq!(found[0], f32::INFINITY, "{target}");
        assert_eq!(found[1..3], [f32::NEG_INFINITY; 2], "{target}");
        assert!([3, 4, 5, 7].into_iter().all(|i: usize| found[i].is_nan()), "{target} {found:?}");
        assert_eq!(found[6], 0.0, "{target}");
    }
}
