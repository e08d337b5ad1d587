//! Every activation within 4 ULP of its true value, for arguments of all sizes, on each target: in the machine code that
//! `network!` makes, and in the kernel interpreter where this processor lacks the target. `bench/ulp.rs` takes all arguments.

#[path = "../ulp/oracle.rs"]
mod oracle;

use std::collections::BTreeMap;

use kiln::{Target, Threads, network};
use kiln_compiler::kernel::interp;
use kiln_compiler::pipeline::{Compiled, Options, compile};
use kiln_rt::weights::FillSource;

use crate::golden::elaborated;
use oracle::{FUNCTIONS, ulps};

network! {
    use "../ulp/activations.net";

    pub use activations::Activations() as OfAll;
}

/// How many arguments the network takes.
const LEN: usize = 65536;
const MOST: f64 = 4.0;

/// Numbers of all sizes and both signs, and all around those where a formula changes or a result leaves the range of
/// normal numbers, as groups of [`LEN`].
fn arguments() -> Vec<Vec<f32>> {
    // A prime, so that the low bits vary.
    let mut all: Vec<f32> = (0..=u32::MAX).step_by(8191).map(f32::from_bits).filter(|x| x.is_finite()).collect();
    let places = [
        0.0,
        0.6875,
        0.875,
        1.0,
        1.5e-3,
        0.5,
        std::f32::consts::SQRT_2,
        3.0,
        3.93,
        6.0,
        9.02,
        10.9,
        13.2,
        14.0,
        14.6,
        17.3,
        87.3,
        88.72,
        103.97,
        110.0,
        1.175_494_4e-38,
        3e38,
        f32::MAX,
    ];
    for place in places {
        for step in -300_i32..=300 {
            let near = f32::from_bits(f32::to_bits(place).saturating_add_signed(step));
            all.extend([near, -near].into_iter().filter(|x| x.is_finite()));
        }
    }
    all.resize(all.len().next_multiple_of(LEN), 0.0);
    all.chunks(LEN).map(<[f32]>::to_vec).collect()
}

/// The largest errors by function and target, and where they are.
type Worst = BTreeMap<(&'static str, &'static str), (f64, f32)>;

fn note(worst: &mut Worst, target: Target, function: usize, x: &[f32], found: &[f32], truth: &[Vec<f64>]) {
    let worst = worst.entry((FUNCTIONS[function].0, target.name())).or_default();
    for ((&x, &found), &truth) in x.iter().zip(found).zip(&truth[function]) {
        let error = ulps(found, truth);
        if error > worst.0 {
            *worst = (error, x);
        }
    }
}

#[test]
fn every_activation_is_within_four_ulps_on_every_target() {
    let arguments = arguments();
    let mut worst = Worst::new();
    let graph = elaborated("Activations", include_str!("../ulp/activations.net"), &[]);
    let options = Options { targets: Target::ALL.to_vec(), ..Options::default() };
    let Compiled { programs, .. } = compile(graph, &options).expect("it compiles");
    let interpreted = |target: Target, x: &[f32]| -> Vec<Vec<f32>> {
        let program = programs.iter().find(|program| program.target == target).expect("all targets");
        let source = FillSource { gain: 1.0 };
        interp::run_with(program, &source, &[x.to_vec()], interp::Options::default()).expect("it runs")
    };
    let empty = kiln_rt::safetensors::write([]);
    let mut sessions: Vec<_> = Target::ALL
        .into_iter()
        .filter(|target| target.is_available() && *target != Target::Portable)
        .map(|target| (target, OfAll::load_for(&empty, target).expect("it loads").session(Threads::new(1))))
        .collect();
    for (group, x) in arguments.iter().enumerate() {
        let truth: Vec<Vec<f64>> =
            FUNCTIONS.iter().map(|(_, of)| x.iter().map(|&x| of(f64::from(x))).collect()).collect();
        // Targets that round alike have the same bits.
        let mut bits: BTreeMap<bool, Vec<Vec<u32>>> = BTreeMap::new();
        let mut hold = |target: Target, found: &[Vec<f32>]| {
            let found: Vec<Vec<u32>> = found.iter().map(|of| of.iter().map(|v| v.to_bits()).collect()).collect();
            let expected = bits.entry(target.has_fma()).or_insert_with(|| found.clone());
            for ((name, _), (found, expected)) in FUNCTIONS.iter().zip(found.iter().zip(expected)) {
                let other = found.iter().zip(&*expected).zip(x).find(|((a, b), _)| a != b);
                assert!(other.is_none(), "{name} on {target} has other bits: {other:?}");
            }
        };
        for (target, session) in &mut sessions {
            session.run_named(&[("x", x.as_slice())]).expect("it runs");
            let found: Vec<Vec<f32>> = FUNCTIONS
                .iter()
                .map(|(name, _)| session.output(name).unwrap_or_else(|| panic!("there is no {name}")).to_vec())
                .collect();
            (0..FUNCTIONS.len()).for_each(|i| note(&mut worst, *target, i, x, &found[i], &truth));
            hold(*target, &found);
        }
        if group % 5 == 0 || group + 1 == arguments.len() {
            for target in [Target::Neon, Target::Portable, Target::Avx2] {
                let found = interpreted(target, x);
                (0..FUNCTIONS.len()).for_each(|i| note(&mut worst, target, i, x, &found[i], &truth));
                hold(target, &found);
            }
        }
    }
    for ((function, target), (error, x)) in &worst {
        println!("{function:13} {target:9} {error:6.3} ULP at {x:e}");
    }
    let beyond: Vec<_> = worst.iter().filter(|(_, (error, _))| *error > MOST).collect();
    assert!(beyond.is_empty(), "{beyond:?}");
}
