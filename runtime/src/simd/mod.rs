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
//! | `sqrt` | the square root, correctly rounded |
//! | `exp`, `tanh`, `gelu`, … | documented in `functions.rs` |
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

#[macro_use]
mod functions;

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "x86_64")]
pub mod base;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;

#[cfg(test)]
mod tests;
