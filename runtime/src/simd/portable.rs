//! Sixteen lanes as an array: plain Rust, for any architecture.

#![allow(clippy::should_implement_trait, reason = "the methods are named as those of the other targets")]

use core::array::from_fn;
use core::marker::PhantomData;

/// The square root, correctly rounded. (`f32::sqrt` needs `std`.)
#[inline]
pub fn sqrt(x: f32) -> f32 {
    if x < 0.0 {
        return f32::NAN;
    }
    if x == 0.0 || x.is_nan() || x == f32::INFINITY {
        return x;
    }
    // Newton's method in f64, from half the exponent, within 7 % of the root: each step doubles the right digits. No root
    // of an f32 lies so near the middle between two f32s that an error in the last place of an f64 moved it across.
    let wide = f64::from(x);
    let guess = f64::from_bits((wide.to_bits() >> 1) + (1023 << 51));
    (0..5).fold(guess, |y, _| 0.5 * (y + wide / y)) as f32
}

/// The nearest integer, ties to even; `i32::MIN` for a NaN and for what an `i32` cannot hold.
#[inline]
pub fn to_i32(x: f32) -> i32 {
    /// From here on every f32 is an integer.
    const INTEGERS: f32 = 8_388_608.0;
    // The bounds are exact in f32. A NaN is in no range. The sum rounds to an integer, and the difference is exact.
    if !(-2_147_483_648.0..2_147_483_648.0).contains(&x) {
        i32::MIN
    } else if x.abs() < INTEGERS {
        ((x.abs() + INTEGERS) - INTEGERS).copysign(x) as i32
    } else {
        x as i32
    }
}

/// How a multiply-add rounds.
pub trait MulAdd: Copy {
    /// Whether once: the product is exact.
    const FUSED: bool;

    /// `a * b + c`
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// The product and the sum are rounded.
#[derive(Clone, Copy, Debug)]
pub struct Unfused;

impl MulAdd for Unfused {
    const FUSED: bool = false;

    #[inline]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// One lane of any target whose multiply-add rounds as `M` does: its functions give the same bits.
#[derive(Clone, Copy)]
pub struct Lane<M: MulAdd>(f32, PhantomData<M>);

impl<M: MulAdd> Lane<M> {
    const FUSED: bool = M::FUSED;

    /// A lane of `x`.
    #[inline]
    pub fn splat(x: f32) -> Self {
        Self(x, PhantomData)
    }

    /// Its number.
    #[inline]
    pub fn get(self) -> f32 {
        self.0
    }

    #[inline]
    fn zero() -> Self {
        Self::splat(0.0)
    }

    #[inline]
    fn add(self, b: Self) -> Self {
        Self::splat(self.0 + b.0)
    }

    #[inline]
    fn sub(self, b: Self) -> Self {
        Self::splat(self.0 - b.0)
    }

    #[inline]
    fn mul(self, b: Self) -> Self {
        Self::splat(self.0 * b.0)
    }

    #[inline]
    fn div(self, b: Self) -> Self {
        Self::splat(self.0 / b.0)
    }

    #[inline]
    fn min(self, b: Self) -> Self {
        Self::select_lt(self, b, self, b)
    }

    #[inline]
    fn max(self, b: Self) -> Self {
        Self::select_lt(b, self, self, b)
    }

    #[inline]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self::splat(M::mul_add(self.0, b.0, c.0))
    }

    #[inline]
    fn select_lt(a: Self, b: Self, t: Self, e: Self) -> Self {
        if a.0 < b.0 { t } else { e }
    }

    #[inline]
    fn neg(self) -> Self {
        Self::splat(-self.0)
    }

    #[inline]
    fn abs(self) -> Self {
        Self::splat(self.0.abs())
    }

    #[inline]
    fn pin(self) -> Self {
        self
    }

    scale_by_factors! {}

    /// The value whose sign and exponent are the low nine bits of this one.
    #[inline]
    fn low_bits_as_exponent(self) -> Self {
        Self::splat(f32::from_bits(self.0.to_bits() << 23))
    }

    /// `(k, m)` with `self = m * 2^k` and m from 1 to 2, of a positive normal number.
    #[inline]
    fn split(self) -> (Self, Self) {
        let bits = self.0.to_bits();
        let exponent = (bits.cast_signed() >> 23).wrapping_sub(127);
        (Self::splat(exponent as f32), Self::splat(f32::from_bits(bits & 0x007F_FFFF | 0x3F80_0000)))
    }
}

functions! { impl [M: MulAdd] Lane<M> }

/// The functions of a lane, lane by lane.
macro_rules! lane_by_lane {
    ($($function:ident),*) => {
        impl F32x16 {
            $(
                /// Documented where all functions are.
                #[inline]
                pub fn $function(self) -> Self {
                    Self(self.0.map(|x| Lane::<Unfused>::splat(x).$function().get()))
                }
            )*
        }
    };
}

lane_by_lane! { exp, log, tanh, erf, sigmoid, silu, elu, softplus, mish, gelu, gelu_tanh }

/// Sixteen `f32` lanes. Semantics: the table in the parent module.
#[derive(Clone, Copy)]
pub struct F32x16([f32; 16]);

/// Sixteen `i32` lanes.
#[derive(Clone, Copy)]
pub struct I32x16([i32; 16]);

/// Asks for the cache line at `p`: nothing here, where no instruction is sure to exist.
#[inline]
pub fn prefetch<const LEVEL: u8>(_p: *const f32) {}

impl F32x16 {
    /// Every lane is `x`.
    #[inline]
    pub fn splat(x: f32) -> Self {
        Self([x; 16])
    }

    /// Every lane is +0.
    #[inline]
    pub fn zero() -> Self {
        Self([0.0; 16])
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    pub unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's 16 elements; an array of f32 has the alignment of f32.
        unsafe { Self(*p.cast()) }
    }

    /// The element at `p` in every lane.
    ///
    /// # Safety
    /// `p` is valid for reading one element.
    #[inline]
    pub unsafe fn load_splat(p: *const f32) -> Self {
        // SAFETY: the caller's one element.
        let x = unsafe { *p };
        Self::splat(x)
    }

    /// The first `n` elements from `p` on; lanes from `n` on are +0. An `n` above 16 is 16.
    ///
    /// # Safety
    /// `p` is valid for reading `min(n, 16)` elements; no more are read.
    #[inline]
    pub unsafe fn load_lanes(p: *const f32, n: usize) -> Self {
        let mut lanes = [0.0; 16];
        // SAFETY: min(n, 16) elements, which the caller vouches for and `lanes` holds.
        unsafe { core::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n.min(16)) };
        Self(lanes)
    }

    /// Stores sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for writing 16 elements.
    #[inline]
    pub unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's 16 elements; an array of f32 has the alignment of f32.
        unsafe { *p.cast() = self.0 }
    }

    /// Stores the first `n` lanes from `p` on. An `n` above 16 is 16.
    ///
    /// # Safety
    /// `p` is valid for writing `min(n, 16)` elements; no more are written.
    #[inline]
    pub unsafe fn store_lanes(self, p: *mut f32, n: usize) {
        // SAFETY: min(n, 16) elements, which the caller vouches for and the array holds.
        unsafe { core::ptr::copy_nonoverlapping(self.0.as_ptr(), p, n.min(16)) }
    }

    /// Element `K` of each group of `W` lanes (2, 4 or 8) in every lane of its group.
    #[inline]
    pub fn splat_group<const K: usize, const W: usize>(self) -> Self {
        const { assert!(matches!(W, 2 | 4 | 8) && K < W) }
        Self(from_fn(|i| self.0[i / W * W + K]))
    }

    /// `self + b`.
    #[inline]
    pub fn add(self, b: Self) -> Self {
        Self(from_fn(|i| self.0[i] + b.0[i]))
    }

    /// `self - b`.
    #[inline]
    pub fn sub(self, b: Self) -> Self {
        Self(from_fn(|i| self.0[i] - b.0[i]))
    }

    /// `self * b`.
    #[inline]
    pub fn mul(self, b: Self) -> Self {
        Self(from_fn(|i| self.0[i] * b.0[i]))
    }

    /// `self / b`.
    #[inline]
    pub fn div(self, b: Self) -> Self {
        Self(from_fn(|i| self.0[i] / b.0[i]))
    }

    /// `self < b ? self : b`.
    #[inline]
    pub fn min(self, b: Self) -> Self {
        Self::select_lt(self, b, self, b)
    }

    /// `self > b ? self : b`.
    #[inline]
    pub fn max(self, b: Self) -> Self {
        Self::select_lt(b, self, self, b)
    }

    /// `max`, but a NaN on either side stays.
    #[inline]
    pub fn max_nan(self, b: Self) -> Self {
        let max = self.max(b);
        Self(from_fn(|i| if self.0[i].is_nan() { self.0[i] } else { max.0[i] }))
    }

    /// `min`, but a NaN on either side stays.
    #[inline]
    pub fn min_nan(self, b: Self) -> Self {
        let min = self.min(b);
        Self(from_fn(|i| if self.0[i].is_nan() { self.0[i] } else { min.0[i] }))
    }

    /// `self * b + c`, rounded after the product and after the sum.
    #[inline]
    pub fn mul_add(self, b: Self, c: Self) -> Self {
        self.mul(b).add(c)
    }

    /// `a * b + self`, rounded after the product and after the sum: a step of a sum of products.
    #[inline]
    pub fn add_product(self, a: Self, b: Self) -> Self {
        a.mul_add(b, self)
    }

    /// `a < b ? t : e`.
    #[inline]
    pub fn select_lt(a: Self, b: Self, t: Self, e: Self) -> Self {
        Self(from_fn(|i| if a.0[i] < b.0[i] { t.0[i] } else { e.0[i] }))
    }

    /// The sign bit flipped.
    #[inline]
    pub fn neg(self) -> Self {
        Self(from_fn(|i| -self.0[i]))
    }

    /// The sign bit cleared.
    #[inline]
    pub fn abs(self) -> Self {
        Self(from_fn(|i| self.0[i].abs()))
    }

    /// The same value, computed here and not elsewhere; see the parent module.
    #[inline]
    pub fn pin(self) -> Self {
        self
    }

    /// The square root, correctly rounded.
    #[inline]
    pub fn sqrt(self) -> Self {
        Self(self.0.map(sqrt))
    }

    /// The nearest integer, ties to even; `i32::MIN` for a NaN and for what an `i32` cannot hold.
    #[inline]
    pub fn to_i32(self) -> I32x16 {
        I32x16(self.0.map(to_i32))
    }
}

impl I32x16 {
    /// Every lane is `x`.
    #[inline]
    pub fn splat(x: i32) -> Self {
        Self([x; 16])
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    pub unsafe fn load(p: *const i32) -> Self {
        // SAFETY: the caller's 16 elements; an array of i32 has the alignment of i32.
        unsafe { Self(*p.cast()) }
    }

    /// Stores sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for writing 16 elements.
    #[inline]
    pub unsafe fn store(self, p: *mut i32) {
        // SAFETY: the caller's 16 elements; an array of i32 has the alignment of i32.
        unsafe { *p.cast() = self.0 }
    }

    /// `self + b`, wrapping.
    #[inline]
    pub fn add(self, b: Self) -> Self {
        Self(from_fn(|i| self.0[i].wrapping_add(b.0[i])))
    }

    /// `self - b`, wrapping.
    #[inline]
    pub fn sub(self, b: Self) -> Self {
        Self(from_fn(|i| self.0[i].wrapping_sub(b.0[i])))
    }

    /// The lesser of the two.
    #[inline]
    pub fn min(self, b: Self) -> Self {
        Self(from_fn(|i| self.0[i].min(b.0[i])))
    }

    /// The greater of the two.
    #[inline]
    pub fn max(self, b: Self) -> Self {
        Self(from_fn(|i| self.0[i].max(b.0[i])))
    }

    /// The low 32 bits of `self * b`.
    #[inline]
    pub fn mul(self, b: Self) -> Self {
        Self(from_fn(|i| self.0[i].wrapping_mul(b.0[i])))
    }

    /// The nearest `f32`, ties to even.
    #[inline]
    pub fn to_f32(self) -> F32x16 {
        F32x16(from_fn(|i| self.0[i] as f32))
    }
}

integers_one_by_one! {}
