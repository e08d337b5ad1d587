//! Instruction sets.

/// An instruction set that kernels are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// SSE2 on x86-64.
    Base,
    /// Plain Rust.
    Portable,
}
