//! Choosing a target while the program runs: by its name, or by what this processor has.

use std::str::FromStr;
use std::{error, fmt};

use super::target::{AvailableTarget, Target};

impl Target {
    /// Whether the processor that this runs on has every instruction of the target, and the system saves its registers.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Base => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 | Self::Base => false,
            #[cfg(not(target_arch = "aarch64"))]
            Self::Neon => false,
            Self::Portable => true,
        }
    }

    /// The best target that is available here.
    pub fn detect() -> Self {
        Self::ALL.into_iter().find(|target| target.is_available()).unwrap_or(Self::Portable)
    }
}

impl AvailableTarget {
    /// `target`, where the processor that this runs on has it.
    #[allow(unsafe_code, reason = "the promise that detection keeps")]
    pub fn detected(target: Target) -> Option<Self> {
        // SAFETY: the processor was asked just now.
        target.is_available().then(|| unsafe { Self::assume(target) })
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
        assert_eq!(error.to_string(), "there is no target `avx`; targets are avx512, avx2, base, neon, portable");
    }

    #[test]
    fn detection_prefers_the_first_available() {
        assert!(Target::Portable.is_available());
        let best = Target::detect();
        assert!(best.is_available());
        assert!(Target::ALL.into_iter().take_while(|&target| target != best).all(|target| !target.is_available()));
    }

    #[test]
    fn what_is_compiled_in_is_available() {
        for target in Target::ALL {
            if let Some(there) = AvailableTarget::compiled_in(target) {
                assert_eq!(AvailableTarget::detected(target), Some(there));
            }
            assert_eq!(AvailableTarget::detected(target).is_some(), target.is_available());
        }
        assert!(AvailableTarget::compiled_in(Target::Portable).is_some());
        assert_eq!(AvailableTarget::compiled_in(Target::Base).is_some(), cfg!(target_arch = "x86_64"));
        assert_eq!(AvailableTarget::compiled_in(Target::Neon).is_some(), cfg!(target_arch = "aarch64"));
    }
}
