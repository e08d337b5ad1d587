//! Sixteen lanes of `f32`, the width of a channel block, once for each target.
//!
//! Every module has the same two types with the same methods, so that a kernel's text differs between targets only in
//! the path it names. A method carries the module's `#[target_feature]`s: called from a function that enables them it
//! is safe and costs nothing, and a method is `unsafe` only where it follows a pointer (none needs to be aligned).
//!
//! | module | an `F32x16` is | `mul_add` |
//! | --- | --- | --- |
//! | `avx512` | one `__m512` | one rounding |
//! | `avx2` | two `__m256` | one rounding |
//! | `base` | four `__m128` (SSE2) | product and sum rounded |
//! | `neon` | four `float32x4_t` | one rounding |
//! | `portable` | `[f32; 16]` | product and sum rounded |
//!
//! | method | lane by lane |
//! | --- | --- |
//! | `min`, `max` | `a < b ? a : b`, `a > b ? a : b`: a NaN on either side gives b, and so do equal zeros |
//! | `max_nan`, `min_nan` | `max` and `min`, but a NaN on either side stays |
//! | `select_lt(a, b, t, e)` | `a < b ? t : e`; a NaN compares false |
//! | `to_i32` | to nearest, ties to even; `i32::MIN` for a NaN and for what an `i32` cannot hold |
//! | `load_lanes`, `store_lanes` | only the first n elements are touched; lanes past them load as +0 |
//! | `splat_group::<K, W>` | lane `i / W * W + K` |
//! | `add_product(a, b)` | `a * b + self`, pinned |
//! | `pin` | the same value; see below |
//! | `recip`, `sqrt` | `1 / x` and the square root, correctly rounded |
//! | `exp`, `log` | below |
//! | `load_lanes`, `store_lanes` of `I32x16` | of bytes too, which are widened, and cut to their low bits |
//!
//! AVX-512, AVX2 and NEON give the same bits for every method, and so do base and portable.
//!
//! # Pinned values
//!
//! A compiler that sees many sums of products in a row loads ahead, and keeps what two of them load alike, until it runs
//! out of registers and moves the sums to the stack. `pin` gives its value back unchanged through a piece of assembly
//! without instructions that, for all the compiler knows, reads and writes memory: so what is pinned is computed, and
//! what is loaded is loaded, in the order of the text. The processor reorders both anyway.
//!
//! # The exponential
//!
//! `e^x = 2^k · e^r` with `k = round(x / ln 2)` and `r = x - k ln 2`, so that |r| ≤ ln 2 / 2; the subtraction is in two
//! parts (Cody and Waite), the first of them exact even without FMA. `e^r = 1 + r + r² q(r)` with q of degree 5: its
//! coefficients are the least-squares fit of `(e^r - 1 - r) / r²` at 64 Chebyshev nodes, rounded to f32, and leave a
//! relative error below 1e-9. `2^k` is multiplied in two halves, because k runs from -151 to 128. Within 2 ULP of the
//! true value everywhere, subnormal results included; `e^-inf` is 0, `e^inf` is infinite, a NaN stays one.
//!
//! # The logarithm
//!
//! `ln x = k ln 2 + ln m` with `x = m · 2^k` and m between √½ and √2, subnormal x being scaled first. With `r = m - 1`,
//! `ln m = r - r²/2 + r³ q(r)`; q of degree 8 has the coefficients of Moshier's Cephes library (`logf`). Within 2 ULP of
//! the true value, or 1e-7 near 1; of 0 it is `-inf`, of `inf` infinite, of what is below 0 a NaN.

#![allow(clippy::missing_safety_doc, reason = "clippy takes a safe function with target features for an unsafe one")]

/// What sixteen lanes of `i32` are loaded from and stored to.
pub trait Integer: Copy {
    /// The number.
    fn widen(self) -> i32;
    /// The number in the low bits of another.
    fn narrow(wide: i32) -> Self;
}

/// The integers that memory holds.
macro_rules! integer {
    ($($name:ident),*) => {
        $(impl Integer for $name {
            #[inline]
            fn widen(self) -> i32 {
                self.into()
            }

            #[inline]
            fn narrow(wide: i32) -> Self {
                wide as $name
            }
        })*
    };
}

integer!(i32, i8, u8);

/// Methods of `I32x16` that take elements one by one, with the target features of a module.
macro_rules! integers_one_by_one {
    ($(#[$features:meta])?) => {
        impl I32x16 {
            /// The first `n` elements from `p` on; lanes from `n` on are 0. An `n` above 16 is 16.
            ///
            /// # Safety
            /// `p` is valid for reading `min(n, 16)` elements; no more are read.
            #[inline]
            $(#[$features])?
            pub unsafe fn load_lanes<T: super::Integer>(p: *const T, n: usize) -> Self {
                let mut lanes = [0; 16];
                for (i, lane) in lanes.iter_mut().enumerate().take(n) {
                    // SAFETY: the caller's element i, which is below n and 16; it need not be aligned.
                    *lane = unsafe { p.add(i).read_unaligned() }.widen();
                }
                // SAFETY: an array of sixteen.
                unsafe { Self::load(lanes.as_ptr()) }
            }

            /// The element at `p` in every lane.
            ///
            /// # Safety
            /// `p` is valid for reading one element.
            #[inline]
            $(#[$features])?
            pub unsafe fn load_splat<T: super::Integer>(p: *const T) -> Self {
                // SAFETY: the caller's one element; it need not be aligned.
                let x = unsafe { p.read_unaligned() };
                Self::splat(x.widen())
            }

            /// Stores the first `n` lanes from `p` on, their low bits where elements are shorter. An `n` above 16 is 16.
            ///
            /// # Safety
            /// `p` is valid for writing `min(n, 16)` elements; no more are written.
            #[inline]
            $(#[$features])?
            pub unsafe fn store_lanes<T: super::Integer>(self, p: *mut T, n: usize) {
                let mut lanes = [0; 16];
                // SAFETY: an array of sixteen.
                unsafe { self.store(lanes.as_mut_ptr()) }
                for (i, &lane) in lanes.iter().enumerate().take(n) {
                    // SAFETY: the caller's element i, which is below n and 16; it need not be aligned.
                    unsafe { p.add(i).write_unaligned(T::narrow(lane)) }
                }
            }

            /// `a * b + self`, wrapping: a step of a sum of products.
            #[inline]
            $(#[$features])?
            pub fn add_product(self, a: Self, b: Self) -> Self {
                self.add(a.mul(b))
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "x86_64")]
pub mod base;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;

/// `e^x` is infinite from here on, and `k` still an exponent that two factors can hold.
const EXP_HIGH: f32 = 89.0;
/// `e^x` rounds to 0 from here down.
const EXP_LOW: f32 = -104.5;
const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// ln 2 cut to nine bits, so that its product with any `k` is exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
/// ln 2 less `LN_2_HIGH`.
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// The coefficients of q, from r^0 to r^5.
const EXP_TAIL: [f32; 6] = [0.5, 0.166_666_67, 0.041_666_463, 0.008_333_298, 0.001_393_368_8, 0.000_198_993_34];

/// What makes a subnormal number a normal one.
const LOG_SCALE: f32 = 8_388_608.0;
/// Its binary logarithm.
const LOG_SCALE_EXPONENT: f32 = 23.0;
/// The coefficients of the logarithm's q, from r^8 to r^0.
const LOG_TAIL: [f32; 9] = [
    7.037_683_6e-2,
    -1.151_461e-1,
    1.167_699_87e-1,
    -1.242_014_1e-1,
    1.424_932_3e-1,
    -1.666_805_8e-1,
    2.000_071_5e-1,
    -2.499_999_4e-1,
    3.333_333e-1,
];

#[cfg(test)]
mod tests;
