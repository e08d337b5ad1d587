//! Sixteen lanes as one `__m512`: AVX-512 with its F, BW, DQ and VL parts.

use core::arch::asm;
use core::arch::x86_64::*;

/// Sixteen `f32` lanes in one register. Semantics: the table in the parent module.
#[derive(Clone, Copy)]
pub struct F32x16(__m512);

/// Sixteen `i32` lanes in one register.
#[derive(Clone, Copy)]
pub struct I32x16(__m512i);

/// Asks for the cache line at `p`, which need not be valid: into the first level of cache for 1, else the second.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub fn prefetch<const LEVEL: u8>(p: *const f32) {
    if LEVEL == 1 {
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    } else {
        _mm_prefetch::<_MM_HINT_T1>(p.cast());
    }
}

impl F32x16 {
    /// Whether `mul_add` rounds once.
    const FUSED: bool = true;

    /// Every lane is `x`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn splat(x: f32) -> Self {
        Self(_mm512_set1_ps(x))
    }

    /// Every lane is +0.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn zero() -> Self {
        Self(_mm512_setzero_ps())
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's 16 elements; the load is an unaligned one.
        unsafe { Self(_mm512_loadu_ps(p)) }
    }

    /// The element at `p` in every lane.
    ///
    /// # Safety
    /// `p` is valid for reading one element.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
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
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn load_lanes(p: *const f32, n: usize) -> Self {
        // SAFETY: a masked load touches only lanes below n.
        unsafe { Self(_mm512_maskz_loadu_ps(lane_mask(n), p)) }
    }

    /// Stores sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for writing 16 elements.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's 16 elements; the store is an unaligned one.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }

    /// Stores the first `n` lanes from `p` on. An `n` above 16 is 16.
    ///
    /// # Safety
    /// `p` is valid for writing `min(n, 16)` elements; no more are written.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn store_lanes(self, p: *mut f32, n: usize) {
        // SAFETY: a masked store touches only lanes below n.
        unsafe { _mm512_mask_storeu_ps(p, lane_mask(n), self.0) }
    }

    /// Element `K` of each group of `W` lanes (2, 4 or 8) in every lane of its group.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn splat_group<const K: usize, const W: usize>(self) -> Self {
        const { assert!(matches!(W, 2 | 4 | 8) && K < W) }
        let from = |lane: usize| (lane / W * W + K) as i32;
        #[rustfmt::skip]
        let index = _mm512_setr_epi32(
            from(0), from(1), from(2), from(3), from(4), from(5), from(6), from(7),
            from(8), from(9), from(10), from(11), from(12), from(13), from(14), from(15),
        );
        Self(_mm512_permutexvar_ps(index, self.0))
    }

    /// `self + b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn add(self, b: Self) -> Self {
        Self(_mm512_add_ps(self.0, b.0))
    }

    /// `self - b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn sub(self, b: Self) -> Self {
        Self(_mm512_sub_ps(self.0, b.0))
    }

    /// `self * b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn mul(self, b: Self) -> Self {
        Self(_mm512_mul_ps(self.0, b.0))
    }

    /// `self / b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn div(self, b: Self) -> Self {
        Self(_mm512_div_ps(self.0, b.0))
    }

    /// `self < b ? self : b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn min(self, b: Self) -> Self {
        Self(_mm512_min_ps(self.0, b.0))
    }

    /// `self > b ? self : b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn max(self, b: Self) -> Self {
        Self(_mm512_max_ps(self.0, b.0))
    }

    /// `max`, but a NaN on either side stays.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn max_nan(self, b: Self) -> Self {
        let max = self.max(b);
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
        Self(_mm512_mask_blend_ps(nan, max.0, self.0))
    }

    /// `min`, but a NaN on either side stays.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn min_nan(self, b: Self) -> Self {
        let min = self.min(b);
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
        Self(_mm512_mask_blend_ps(nan, min.0, self.0))
    }

    /// `self * b + c`, rounded once.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn mul_add(self, b: Self, c: Self) -> Self {
        Self(_mm512_fmadd_ps(self.0, b.0, c.0))
    }

    /// `a * b + self`, rounded once, pinned: a step of a sum of products.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn add_product(self, a: Self, b: Self) -> Self {
        a.mul_add(b, self).pin()
    }

    /// `a < b ? t : e`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn select_lt(a: Self, b: Self, t: Self, e: Self) -> Self {
        Self(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0), e.0, t.0))
    }

    /// The sign bit flipped.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn neg(self) -> Self {
        let sign = _mm512_set1_ps(-0.0);
        Self(_mm512_xor_ps(self.0, sign))
    }

    /// The sign bit cleared.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn abs(self) -> Self {
        let sign = _mm512_set1_ps(-0.0);
        Self(_mm512_andnot_ps(sign, self.0))
    }

    /// The same value, computed here and not elsewhere; see the parent module.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn pin(self) -> Self {
        let Self(mut a) = self;
        // SAFETY: no instruction is added.
        unsafe {
            asm!("/* {0} */", inout(zmm_reg) a, options(nostack, preserves_flags));
        }
        Self(a)
    }

    /// `2^n * self`, rounded once.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn scale(self, n: Self) -> Self {
        Self(_mm512_scalef_ps(self.0, n.0))
    }

    /// The value whose sign and exponent are the low nine bits of this one.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn low_bits_as_exponent(self) -> Self {
        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(self.0))))
    }

    /// The square root, correctly rounded.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn sqrt(self) -> Self {
        Self(_mm512_sqrt_ps(self.0))
    }

    /// `(k, m)` with `self = m * 2^k` and m from 1 to 2, of positive normal lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn split(self) -> (Self, Self) {
        let bits = _mm512_castps_si512(self.0);
        let exponent = I32x16(_mm512_srai_epi32::<23>(bits)).sub(I32x16::splat(127));
        let mantissa = _mm512_and_si512(bits, _mm512_set1_epi32(0x007F_FFFF));
        (exponent.to_f32(), Self(_mm512_castsi512_ps(_mm512_or_si512(mantissa, _mm512_set1_epi32(0x3F80_0000)))))
    }

    /// The nearest integer, ties to even; `i32::MIN` for a NaN and for what an `i32` cannot hold.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn to_i32(self) -> I32x16 {
        I32x16(_mm512_cvtps_epi32(self.0))
    }
}

impl I32x16 {
    /// Every lane is `x`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn splat(x: i32) -> Self {
        Self(_mm512_set1_epi32(x))
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn load(p: *const i32) -> Self {
        // SAFETY: the caller's 16 elements; the load is an unaligned one.
        unsafe { Self(_mm512_loadu_si512(p.cast())) }
    }

    /// Stores sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for writing 16 elements.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn store(self, p: *mut i32) {
        // SAFETY: the caller's 16 elements; the store is an unaligned one.
        unsafe { _mm512_storeu_si512(p.cast(), self.0) }
    }

    /// `self + b`, wrapping.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn add(self, b: Self) -> Self {
        Self(_mm512_add_epi32(self.0, b.0))
    }

    /// `self - b`, wrapping.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn sub(self, b: Self) -> Self {
        Self(_mm512_sub_epi32(self.0, b.0))
    }

    /// The lesser of the two.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn min(self, b: Self) -> Self {
        Self(_mm512_min_epi32(self.0, b.0))
    }

    /// The greater of the two.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn max(self, b: Self) -> Self {
        Self(_mm512_max_epi32(self.0, b.0))
    }

    /// The low 32 bits of `self * b`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn mul(self, b: Self) -> Self {
        Self(_mm512_mullo_epi32(self.0, b.0))
    }

    /// The nearest `f32`, ties to even.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub fn to_f32(self) -> F32x16 {
        F32x16(_mm512_cvtepi32_ps(self.0))
    }
}

functions! { #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")] impl [] F32x16 }

integers_one_by_one! { #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")] }

/// A bit for each lane below `n`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn lane_mask(n: usize) -> __mmask16 {
    ((1_u32 << n.min(16)) - 1) as __mmask16
}
