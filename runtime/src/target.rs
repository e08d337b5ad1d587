//! Instruction sets that code is made for.

use core::fmt;

/// An instruction set; the order is by preference, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// x86-64 with AVX-512 F, BW, DQ and VL, beside AVX2 and FMA.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// Any x86-64: SSE2.
    Base,
    /// Any AArch64: NEON, its Advanced SIMD.
    Neon,
    /// Any architecture: plain Rust.
    Portable,
}

impl Target {
    /// All targets, best first.
    pub const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Base, Self::Neon, Self::Portable];

    /// The name by which a target is asked for and printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Base => "base",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// The argument of `#[target_feature(enable = "...")]` that a kernel for this target carries; empty for none.
    pub const fn features(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
            Self::Avx2 => "avx2,fma",
            Self::Base => "sse2",
            Self::Neon => "neon",
            Self::Portable => "",
        }
    }

    /// The architecture that has it, by Rust's name, as `target_arch` is asked for; none where any has it.
    pub const fn architecture(self) -> Option<&'static str> {
        match self {
            Self::Avx512 | Self::Avx2 | Self::Base => Some("x86_64"),
            Self::Neon => Some("aarch64"),
            Self::Portable => None,
        }
    }

    /// Whether a multiply-add rounds once.
    pub const fn has_fma(self) -> bool {
        match self {
            Self::Avx512 | Self::Avx2 | Self::Neon => true,
            Self::Base | Self::Portable => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A target whose instructions this processor has. There is none of a target that was not asked about or vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvailableTarget(Target);

impl AvailableTarget {
    /// `target`, on the caller's word: for code that cannot ask the processor.
    ///
    /// # Safety
    /// The processor that this runs on has every instruction of the target's [features](Target::features), and the
    /// system saves the registers that they use.
    #[allow(unsafe_code, reason = "a promise about the processor, which safe code builds on")]
    pub const unsafe fn assume(target: Target) -> Self {
        Self(target)
    }

    /// `target`, where the program as a whole is compiled for its instructions: [`Target::Base`] on x86-64,
    /// [`Target::Neon`] on AArch64, [`Target::Portable`] everywhere, and others as `-C target-cpu` or `-C target-feature` says.
    pub const fn compiled_in(target: Target) -> Option<Self> {
        let there = match target {
            Target::Avx512 => {
                cfg!(all(
                    target_feature = "avx512f",
                    target_feature = "avx512bw",
                    target_feature = "avx512dq",
                    target_feature = "avx512vl",
                    target_feature = "avx2",
                    target_feature = "fma"
                ))
            }
            Target::Avx2 => cfg!(all(target_feature = "avx2", target_feature = "fma")),
            Target::Base => cfg!(all(target_arch = "x86_64", target_feature = "sse2")),
            Target::Neon => cfg!(all(target_arch = "aarch64", target_feature = "neon")),
            Target::Portable => true,
        };
        if there { Some(Self(target)) } else { None }
    }

    /// Which target it is.
    pub const fn target(self) -> Target {
        self.0
    }
}
