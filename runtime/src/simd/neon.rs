//! Sixteen lanes as four `float32x4_t`: NEON, the Advanced SIMD of AArch64.

use core::arch::aarch64::*;
use core::arch::asm;

/// One intrinsic on each of the four registers of its operands.
macro_rules! each {
    ($of:ident: $f:path, $($v:ident),+) => {
        $of($f($($v.0),+), $f($($v.1),+), $f($($v.2),+), $f($($v.3),+))
    };
}

/// Sixteen `f32` lanes in four registers. Semantics: the table in the parent module.
#[derive(Clone, Copy)]
pub struct F32x16(float32x4_t, float32x4_t, float32x4_t, float32x4_t);

/// Sixteen `i32` lanes in four registers.
#[derive(Clone, Copy)]
pub struct I32x16(int32x4_t, int32x4_t, int32x4_t, int32x4_t);

/// All bits, or none, of each of sixteen lanes.
#[derive(Clone, Copy)]
struct Mask(uint32x4_t, uint32x4_t, uint32x4_t, uint32x4_t);

/// Asks for the cache line at `p`, which need not be valid: into the first level of cache for 1, else the second.
#[inline]
#[target_feature(enable = "neon")]
pub fn prefetch<const LEVEL: u8>(p: *const f32) {
    // SAFETY: a hint, for any address.
    unsafe {
        if LEVEL == 1 {
            asm!("prfm pldl1keep, [{0}]", in(reg) p, options(readonly, nostack, preserves_flags));
        } else {
            asm!("prfm pldl2keep, [{0}]", in(reg) p, options(readonly, nostack, preserves_flags));
        }
    }
}

impl F32x16 {
    /// Whether `mul_add` rounds once.
    const FUSED: bool = true;

    /// Every lane is `x`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn splat(x: f32) -> Self {
        let x = vdupq_n_f32(x);
        Self(x, x, x, x)
    }

    /// Every lane is +0.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn zero() -> Self {
        let zero = vdupq_n_f32(0.0);
        Self(zero, zero, zero, zero)
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's 16 elements, at any address.
        unsafe { Self(vld1q_f32(p), vld1q_f32(p.add(4)), vld1q_f32(p.add(8)), vld1q_f32(p.add(12))) }
    }

    /// The element at `p` in every lane.
    ///
    /// # Safety
    /// `p` is valid for reading one element.
    #[inline]
    #[target_feature(enable = "neon")]
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
    #[target_feature(enable = "neon")]
    pub unsafe fn load_lanes(p: *const f32, n: usize) -> Self {
        let mut lanes = [0.0; 16];
        // SAFETY: min(n, 16) elements, which the caller vouches for and `lanes` holds; then all 16 of `lanes`.
        unsafe {
            core::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n.min(16));
            Self::load(lanes.as_ptr())
        }
    }

    /// Stores sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for writing 16 elements.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's 16 elements, at any address.
        unsafe {
            vst1q_f32(p, self.0);
            vst1q_f32(p.add(4), self.1);
            vst1q_f32(p.add(8), self.2);
            vst1q_f32(p.add(12), self.3);
        }
    }

    /// Stores the first `n` lanes from `p` on. An `n` above 16 is 16.
    ///
    /// # Safety
    /// `p` is valid for writing `min(n, 16)` elements; no more are written.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn store_lanes(self, p: *mut f32, n: usize) {
        let mut lanes = [0.0; 16];
        // SAFETY: all 16 of `lanes`; then min(n, 16) of them to where the caller vouches for them.
        unsafe {
            self.store(lanes.as_mut_ptr());
            core::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n.min(16));
        }
    }

    /// Element `K` of each group of `W` lanes (2, 4 or 8) in every lane of its group.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn splat_group<const K: usize, const W: usize>(self) -> Self {
        const { assert!(matches!(W, 2 | 4 | 8) && K < W) }
        if W == 2 {
            let pairs = |v| if K == 0 { vtrn1q_f32(v, v) } else { vtrn2q_f32(v, v) };
            return Self(pairs(self.0), pairs(self.1), pairs(self.2), pairs(self.3));
        }
        let quad = |v| match K % 4 {
            0 => vdupq_laneq_f32::<0>(v),
            1 => vdupq_laneq_f32::<1>(v),
            2 => vdupq_laneq_f32::<2>(v),
            _ => vdupq_laneq_f32::<3>(v),
        };
        if W == 4 {
            return Self(quad(self.0), quad(self.1), quad(self.2), quad(self.3));
        }
        let (low, high) = if K < 4 { (quad(self.0), quad(self.2)) } else { (quad(self.1), quad(self.3)) };
        Self(low, low, high, high)
    }

    /// `self + b`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn add(self, b: Self) -> Self {
        each!(Self: vaddq_f32, self, b)
    }

    /// `self - b`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn sub(self, b: Self) -> Self {
        each!(Self: vsubq_f32, self, b)
    }

    /// `self * b`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn mul(self, b: Self) -> Self {
        each!(Self: vmulq_f32, self, b)
    }

    /// `self / b`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn div(self, b: Self) -> Self {
        each!(Self: vdivq_f32, self, b)
    }

    /// `self < b ? self : b`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn min(self, b: Self) -> Self {
        Self::select_lt(self, b, self, b)
    }

    /// `self > b ? self : b`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn max(self, b: Self) -> Self {
        Self::select_lt(b, self, self, b)
    }

    /// `max`, but a NaN on either side stays.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn max_nan(self, b: Self) -> Self {
        let max = self.max(b);
        let is_number = each!(Mask: vceqq_f32, self, self);
        each!(Self: vbslq_f32, is_number, max, self)
    }

    /// `min`, but a NaN on either side stays.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn min_nan(self, b: Self) -> Self {
        let min = self.min(b);
        let is_number = each!(Mask: vceqq_f32, self, self);
        each!(Self: vbslq_f32, is_number, min, self)
    }

    /// `self * b + c`, rounded once.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn mul_add(self, b: Self, c: Self) -> Self {
        each!(Self: vfmaq_f32, c, self, b)
    }

    /// `a * b + self`, rounded once, pinned: a step of a sum of products.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn add_product(self, a: Self, b: Self) -> Self {
        a.mul_add(b, self).pin()
    }

    /// `a < b ? t : e`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn select_lt(a: Self, b: Self, t: Self, e: Self) -> Self {
        let less = each!(Mask: vcltq_f32, a, b);
        each!(Self: vbslq_f32, less, t, e)
    }

    /// The sign bit flipped.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn neg(self) -> Self {
        each!(Self: vnegq_f32, self)
    }

    /// The sign bit cleared.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn abs(self) -> Self {
        each!(Self: vabsq_f32, self)
    }

    /// The same value, computed here and not elsewhere; see the parent module.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn pin(self) -> Self {
        let Self(mut a, mut b, mut c, mut d) = self;
        // SAFETY: no instruction is added.
        unsafe {
            asm!("/* {0:v} */", inout(vreg) a, options(nostack, preserves_flags));
            asm!("/* {0:v} */", inout(vreg) b, options(nostack, preserves_flags));
            asm!("/* {0:v} */", inout(vreg) c, options(nostack, preserves_flags));
            asm!("/* {0:v} */", inout(vreg) d, options(nostack, preserves_flags));
        }
        Self(a, b, c, d)
    }

    scale_by_factors! { #[target_feature(enable = "neon")] }

    /// The value whose sign and exponent are the low nine bits of this one.
    #[inline]
    #[target_feature(enable = "neon")]
    fn low_bits_as_exponent(self) -> Self {
        let bits = each!(I32x16: vreinterpretq_s32_f32, self);
        let bits = each!(I32x16: vshlq_n_s32::<23>, bits);
        each!(Self: vreinterpretq_f32_s32, bits)
    }

    /// The square root, correctly rounded.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn sqrt(self) -> Self {
        each!(Self: vsqrtq_f32, self)
    }

    /// `(k, m)` with `self = m * 2^k` and m from 1 to 2, of positive normal lanes.
    #[inline]
    #[target_feature(enable = "neon")]
    fn split(self) -> (Self, Self) {
        let bits = each!(I32x16: vreinterpretq_s32_f32, self);
        let exponent = each!(I32x16: vshrq_n_s32::<23>, bits).sub(I32x16::splat(127));
        let (mask, one) = (vdupq_n_s32(0x007F_FFFF), vdupq_n_s32(0x3F80_0000));
        let mantissa = |bits| vreinterpretq_f32_s32(vorrq_s32(vandq_s32(bits, mask), one));
        (exponent.to_f32(), Self(mantissa(bits.0), mantissa(bits.1), mantissa(bits.2), mantissa(bits.3)))
    }

    /// The nearest integer, ties to even; `i32::MIN` for a NaN and for what an `i32` cannot hold.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn to_i32(self) -> I32x16 {
        // The conversion takes a NaN to 0, and what is too large to `i32::MAX`.
        let nearest = each!(I32x16: vcvtnq_s32_f32, self);
        let (limit, min) = (Self::splat(2_147_483_648.0), I32x16::splat(i32::MIN));
        let held = each!(Mask: vcltq_f32, self, limit);
        each!(I32x16: vbslq_s32, held, nearest, min)
    }
}

impl I32x16 {
    /// Every lane is `x`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn splat(x: i32) -> Self {
        let x = vdupq_n_s32(x);
        Self(x, x, x, x)
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn load(p: *const i32) -> Self {
        // SAFETY: the caller's 16 elements, at any address.
        unsafe { Self(vld1q_s32(p), vld1q_s32(p.add(4)), vld1q_s32(p.add(8)), vld1q_s32(p.add(12))) }
    }

    /// Stores sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for writing 16 elements.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn store(self, p: *mut i32) {
        // SAFETY: the caller's 16 elements, at any address.
        unsafe {
            vst1q_s32(p, self.0);
            vst1q_s32(p.add(4), self.1);
            vst1q_s32(p.add(8), self.2);
            vst1q_s32(p.add(12), self.3);
        }
    }

    /// `self + b`, wrapping.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn add(self, b: Self) -> Self {
        each!(Self: vaddq_s32, self, b)
    }

    /// `self - b`, wrapping.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn sub(self, b: Self) -> Self {
        each!(Self: vsubq_s32, self, b)
    }

    /// The lesser of the two.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn min(self, b: Self) -> Self {
        each!(Self: vminq_s32, self, b)
    }

    /// The greater of the two.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn max(self, b: Self) -> Self {
        each!(Self: vmaxq_s32, self, b)
    }

    /// The low 32 bits of `self * b`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn mul(self, b: Self) -> Self {
        each!(Self: vmulq_s32, self, b)
    }

    /// The nearest `f32`, ties to even.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn to_f32(self) -> F32x16 {
        each!(F32x16: vcvtq_f32_s32, self)
    }
}

functions! { #[target_feature(enable = "neon")] impl [] F32x16 }

integers_one_by_one! { #[target_feature(enable = "neon")] }
