//! The error of every activation at every finite `f32`, on the targets of this processor:
//!
//! ```text
//! cargo run --release --example ulp [THREADS]
//! ```
//!
//! Printed is the largest error of each, in units in the last place, and where it is; the exit status is 1 if one is above
//! 4. The kernels are those of `tests/ulp/activations.net`, the true values those of `tests/ulp/oracle.rs`. A target whose
//! results have the bits of one before it has its errors.

#[path = "../tests/ulp/oracle.rs"]
mod oracle;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use kiln::__private::safetensors;
use kiln::{Target, Threads, network};
use oracle::{FUNCTIONS, ulps};

network! {
    use "../tests/ulp/activations.net";

    pub use activations::Activations() as OfAll;
}

/// How many arguments the network takes: those of equal high bits.
const LEN: u32 = 65536;
const MOST: f64 = 4.0;

/// By target and function.
type Worst = Vec<[(f64, f32); FUNCTIONS.len()]>;

fn main() -> ExitCode {
    let targets: Vec<Target> =
        Target::ALL.into_iter().filter(|target| target.is_available() && *target != Target::Portable).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = std::env::args().nth(1).map_or(cores, |count| count.parse().expect("a number of threads"));
    let next = AtomicU32::new(0);
    let mut worst = vec![[(0.0, 0.0); FUNCTIONS.len()]; targets.len()];
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| measure(&targets, &next))).collect();
        for worker in workers {
            let found = worker.join().expect("a worker ends");
            for (all, found) in worst.iter_mut().flatten().zip(found.iter().flatten()) {
                if found.0 > all.0 {
                    *all = *found;
                }
            }
        }
    });
    print!("{:13}", "");
    targets.iter().for_each(|target| print!(" {:>22}", target.name()));
    println!();
    for (i, (name, _)) in FUNCTIONS.iter().enumerate() {
        print!("{name:13}");
        worst.iter().for_each(|of| print!(" {:6.3} at {:12e}", of[i].0, of[i].1));
        println!();
    }
    if worst.iter().flatten().any(|(error, _)| *error > MOST) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Takes groups of arguments that no other worker has, until there are none.
fn measure(targets: &[Target], next: &AtomicU32) -> Worst {
    let empty = safetensors::write([]);
    let mut sessions: Vec<_> = targets
        .iter()
        .map(|&target| OfAll::load_for(&empty, target).expect("it loads").session(Threads::new(1)))
        .collect();
    let mut worst = vec![[(0.0, 0.0); FUNCTIONS.len()]; targets.len()];
    loop {
        let high = next.fetch_add(1, Ordering::Relaxed);
        if high > u32::MAX / LEN {
            return worst;
        }
        let x: Vec<f32> = (0..LEN).map(|low| f32::from_bits(high * LEN + low)).collect();
        if !x[0].is_finite() {
            continue;
        }
        sessions.iter_mut().for_each(|session| session.run_named(&[("x", x.as_slice())]).expect("it runs"));
        for (i, (name, truth)) in FUNCTIONS.iter().enumerate() {
            let truth: Vec<f64> = x.iter().map(|&x| truth(f64::from(x))).collect();
            let found: Vec<&[f32]> =
                sessions.iter().map(|session| session.output(name).expect("the network has it")).collect();
            let mut errors: Vec<(f64, f32)> = Vec::new();
            for (target, of) in found.iter().enumerate() {
                let alike = found[..target]
                    .iter()
                    .position(|other| other.iter().zip(*of).all(|(a, b)| a.to_bits() == b.to_bits()));
                errors.push(match alike {
                    Some(other) => errors[other],
                    None => largest(&x, of, &truth),
                });
                if errors[target].0 > worst[target][i].0 {
                    worst[target][i] = errors[target];
                }
            }
        }
    }
}

/// The largest error, and the argument that has it.
fn largest(x: &[f32], found: &[f32], truth: &[f64]) -> (f64, f32) {
    let errors = x.iter().zip(found).zip(truth).map(|((&x, &found), &truth)| (ulps(found, truth), x));
    errors.fold((0.0, 0.0), |most, one| if one.0 > most.0 { one } else { most })
}
