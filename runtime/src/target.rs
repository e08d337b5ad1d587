//! Instruction sets that code is made for, and what this processor has.

use std::{error, fmt, str::FromStr};

/// An instruction set; the order is by preference, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// x86-64 with AVX-512 F, BW, DQ and VL, beside AVX2 and FMA.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// Any x86-64: SSE2.
    Base,
    /// Any architecture: plain Rust.
    Portable,
}

impl Target {
    /// All targets, best first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Base, Self::Portable];

    /// The name by which a target is asked for and printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Base => "base",
            Self::Portable => "portable",
        }
    }

    /// The argument of `#[target_feature(enable = "...")]` that a kernel for this target carries; empty for none.
    pub const fn features(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
            Self::Avx2 => "avx2,fma",
            Self::Base => "sse2",
            Self::Portable => "",
        }
    }

    /// Whether a multiply-add rounds once.
    pub const fn has_fma(self) -> bool {
        match self {
            Self::Avx512 | Self::Avx2 => true,
            Self::Base | Self::Portable => false,
        }
    }

    /// Whether the processor that this runs on has every instruction of the target, and the system saves its registers.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && Self::Avx2.is_available()
            }
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Base | Self::Portable => true,
        }
        #[cfg(not(target_arch = "x86_64"))]
        matches!(self, Self::Portable)
    }

    /// The best target that is available here.
    pub fn detect() -> Self {
        Self::ALL.into_iter().find(|target| target.is_available()).unwrap_or(Self::Portable)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        Self::ALL
            .into_iter()
            .find(|target| target.name() == name)
            .ok_or_else(|| UnknownTarget { name: name.to_owned() })
    }
}

/// A name that is no target's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTarget {
    /// What was given.
    pub name: String,
}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no target `{}`; targets are", self.name)?;
        for (i, target) in Target::ALL.into_iter().enumerate() {
            write!(f, "{} {target}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl error::Error for UnknownTarget {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for target in Target::ALL {
            assert_eq!(target.name().parse(), Ok(target));
        }
        let error = "avx".parse::<Target>().unwrap_err();
        assert_eq!(error.to_string(), "there is no target `avx`; targets are avx512, avx2, base, portable");
    }

    #[test]
    fn detection_prefers_the_first_available() {
        assert!(Target::Portable.is_available());
        let best = Target::detect();
        assert!(best.is_available());
        assert!(Target::ALL.into_iter().take_while(|&target| target != best).all(|target| !target.is_available()));
    }
}
