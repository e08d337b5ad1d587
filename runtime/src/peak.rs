//! What a core could do at best: the rate of multiply-adds between registers, and of reading memory.

use std::hint::black_box;
use std::time::Instant;

use super::target::Target;

/// Multiply-adds of a measured round, for each accumulator.
const ROUNDS: usize = 1 << 17;

/// Writes a function that runs `ROUNDS` multiply-adds on as many accumulators as keep the units of `$name` busy, and
/// returns the seconds that they took.
macro_rules! chains {
    ($architecture:literal, $name:ident, $feature:literal, $($acc:ident)*) => {
        #[cfg(target_arch = $architecture)]
        #[target_feature(enable = $feature)]
        fn $name() -> f64 {
            use super::simd::$name::F32x16;
            let (a, b) = (F32x16::splat(black_box(0.999)), F32x16::splat(black_box(1e-3)));
            $(let mut $acc = F32x16::splat(black_box(1.0));)*
            let start = Instant::now();
            for _ in 0..ROUNDS {
                $($acc = $acc.add_product(a, b);)*
            }
            let seconds = start.elapsed().as_secs_f64();
            let mut lanes = [0f32; 16];
            // SAFETY: the array has sixteen elements.
            $(unsafe { $acc.store(lanes.as_mut_ptr()) };
            black_box(&lanes);)*
            seconds / [$(stringify!($acc)),*].len() as f64
        }
    };
}

chains!("x86_64", avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11);
chains!("x86_64", avx2, "avx2,fma", c0 c1 c2 c3 c4 c5);
chains!("x86_64", base, "sse2", c0 c1 c2);
chains!("aarch64", neon, "neon", c0 c1 c2 c3 c4);

/// Floating-point operations a second of one core in multiply-adds of `target`, two operations a lane: the best of
/// seven rounds. None where the processor lacks the target, and for the portable one, whose vectors are the compiler's.
pub fn multiply_add_peak(target: Target) -> Option<f64> {
    if !target.is_available() {
        return None;
    }
    let round = || match target {
        // SAFETY: the processor has the target's instructions, as was just asked.
        #[cfg(target_arch = "x86_64")]
        Target::Avx512 => Some(unsafe { avx512() }),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Target::Avx2 => Some(unsafe { avx2() }),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Target::Base => Some(unsafe { base() }),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Target::Neon => Some(unsafe { neon() }),
        #[cfg(not(target_arch = "x86_64"))]
        Target::Avx512 | Target::Avx2 | Target::Base => None,
        #[cfg(not(target_arch = "aarch64"))]
        Target::Neon => None,
        Target::Portable => None,
    };
    let seconds = (0..7).map(|_| round()).collect::<Option<Vec<f64>>>()?;
    Some((2 * 16 * ROUNDS) as f64 / seconds.into_iter().fold(f64::INFINITY, f64::min))
}

/// Bytes a second that one core reads from a buffer of `bytes` again and again: the best of seven rounds. A small buffer
/// measures a cache, a large one memory.
pub fn read_bandwidth(bytes: usize) -> f64 {
    const WORDS: usize = 16;
    let chunks = (bytes / 8 / WORDS).max(1);
    let buffer: Vec<u64> = (0..(chunks * WORDS) as u64).collect();
    // About four milliseconds a round, at ten bytes a nanosecond.
    let passes = ((40 << 20) / (buffer.len() * 8)).max(1);
    let round = || {
        let start = Instant::now();
        for _ in 0..passes {
            let mut sums = [0u64; WORDS];
            for chunk in black_box(&buffer).chunks_exact(WORDS) {
                sums.iter_mut().zip(chunk).for_each(|(sum, word)| *sum ^= word);
            }
            black_box(sums);
        }
        (passes * buffer.len() * 8) as f64 / start.elapsed().as_secs_f64()
    };
    (0..7).map(|_| round()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_this_processor_but_the_portable_one_has_a_peak() {
        for target in Target::ALL {
            let peak = multiply_add_peak(target);
            assert_eq!(peak.is_some(), target.is_available() && target != Target::Portable, "{target}");
            assert!(peak.is_none_or(|peak| peak.is_finite() && peak > 0.0), "{target}: {peak:?}");
        }
        assert!(read_bandwidth(64 << 10) > 0.0);
    }
}
