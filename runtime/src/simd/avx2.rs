//! Sixteen lanes as two `__m256`: AVX2 with FMA.

use core::arch::asm;
use core::arch::x86_64::*;

/// Sixteen `f32` lanes in two registers. Semantics: the table in the parent module.
#[derive(Clone, Copy)]
pub struct F32x16(__m256, __m256);

/// Sixteen `i32` lanes in two registers.
#[derive(Clone, Copy)]
pub struct I32x16(__m256i, __m256i);

/// Asks for the cache line at `p`, which need not be valid: into the first level of cache for 1, else the second.
#[inline]
#[target_feature(enable = "avx2,fma")]
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
    #[target_feature(enable = "avx2,fma")]
    pub fn splat(x: f32) -> Self {
        Self(_mm256_set1_ps(x), _mm256_set1_ps(x))
    }

    /// Every lane is +0.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn zero() -> Self {
        Self(_mm256_setzero_ps(), _mm256_setzero_ps())
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's 16 elements; both loads are unaligned ones.
        unsafe { Self(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
    }

    /// The element at `p` in every lane.
    ///
    /// # Safety
    /// `p` is valid for reading one element.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
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
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn load_lanes(p: *const f32, n: usize) -> Self {
        let (low, high) = lane_mask(n);
        // SAFETY: a masked load touches only lanes below n. The second pointer may lie past the buffer, hence
        // wrapping_add; it is read only where n > 8.
        unsafe { Self(_mm256_maskload_ps(p, low), _mm256_maskload_ps(p.wrapping_add(8), high)) }
    }

    /// Stores sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for writing 16 elements.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's 16 elements; both stores are unaligned ones.
        unsafe {
            _mm256_storeu_ps(p, self.0);
            _mm256_storeu_ps(p.add(8), self.1);
        }
    }

    /// Stores the first `n` lanes from `p` on. An `n` above 16 is 16.
    ///
    /// # Safety
    /// `p` is valid for writing `min(n, 16)` elements; no more are written.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn store_lanes(self, p: *mut f32, n: usize) {
        let (low, high) = lane_mask(n);
        // SAFETY: a masked store touches only lanes below n; see load_lanes for the second pointer.
        unsafe {
            _mm256_maskstore_ps(p, low, self.0);
            _mm256_maskstore_ps(p.wrapping_add(8), high, self.1);
        }
    }

    /// Element `K` of each group of `W` lanes (2, 4 or 8) in every lane of its group.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn splat_group<const K: usize, const W: usize>(self) -> Self {
        const { assert!(matches!(W, 2 | 4 | 8) && K < W) }
        let from = |lane: usize| (lane / W * W + K) as i32;
        let index = _mm256_setr_epi32(from(0), from(1), from(2), from(3), from(4), from(5), from(6), from(7));
        Self(_mm256_permutevar8x32_ps(self.0, index), _mm256_permutevar8x32_ps(self.1, index))
    }

    /// `self + b`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn add(self, b: Self) -> Self {
        Self(_mm256_add_ps(self.0, b.0), _mm256_add_ps(self.1, b.1))
    }

    /// `self - b`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn sub(self, b: Self) -> Self {
        Self(_mm256_sub_ps(self.0, b.0), _mm256_sub_ps(self.1, b.1))
    }

    /// `self * b`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn mul(self, b: Self) -> Self {
        Self(_mm256_mul_ps(self.0, b.0), _mm256_mul_ps(self.1, b.1))
    }

    /// `self / b`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn div(self, b: Self) -> Self {
        Self(_mm256_div_ps(self.0, b.0), _mm256_div_ps(self.1, b.1))
    }

    /// `self < b ? self : b`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn min(self, b: Self) -> Self {
        Self(_mm256_min_ps(self.0, b.0), _mm256_min_ps(self.1, b.1))
    }

    /// `self > b ? self : b`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn max(self, b: Self) -> Self {
        Self(_mm256_max_ps(self.0, b.0), _mm256_max_ps(self.1, b.1))
    }

    /// `max`, but a NaN on either side stays.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn max_nan(self, b: Self) -> Self {
        let max = self.max(b);
        Self(
            _mm256_blendv_ps(max.0, self.0, _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0)),
            _mm256_blendv_ps(max.1, self.1, _mm256_cmp_ps::<_CMP_UNORD_Q>(self.1, self.1)),
        )
    }

    /// `min`, but a NaN on either side stays.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn min_nan(self, b: Self) -> Self {
        let min = self.min(b);
        Self(
            _mm256_blendv_ps(min.0, self.0, _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0)),
            _mm256_blendv_ps(min.1, self.1, _mm256_cmp_ps::<_CMP_UNORD_Q>(self.1, self.1)),
        )
    }

    /// `self * b + c`, rounded once.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn mul_add(self, b: Self, c: Self) -> Self {
        Self(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1))
    }

    /// `a * b + self`, rounded once, pinned: a step of a sum of products.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn add_product(self, a: Self, b: Self) -> Self {
        a.mul_add(b, self).pin()
    }

    /// `a < b ? t : e`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn select_lt(a: Self, b: Self, t: Self, e: Self) -> Self {
        Self(
            _mm256_blendv_ps(e.0, t.0, _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0)),
            _mm256_blendv_ps(e.1, t.1, _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1)),
        )
    }

    /// The sign bit flipped.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn neg(self) -> Self {
        let sign = _mm256_set1_ps(-0.0);
        Self(_mm256_xor_ps(self.0, sign), _mm256_xor_ps(self.1, sign))
    }

    /// The sign bit cleared.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn abs(self) -> Self {
        let sign = _mm256_set1_ps(-0.0);
        Self(_mm256_andnot_ps(sign, self.0), _mm256_andnot_ps(sign, self.1))
    }

    /// The same value, computed here and not elsewhere; see the parent module.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn pin(self) -> Self {
        let Self(mut a, mut b) = self;
        // SAFETY: no instruction is added.
        unsafe {
            asm!("/* {0} */", inout(ymm_reg) a, options(nostack, preserves_flags));
            asm!("/* {0} */", inout(ymm_reg) b, options(nostack, preserves_flags));
        }
        Self(a, b)
    }

    scale_by_factors! { #[target_feature(enable = "avx2,fma")] }

    /// The value whose sign and exponent are the low nine bits of this one.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn low_bits_as_exponent(self) -> Self {
        let up = |x| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(x)));
        Self(up(self.0), up(self.1))
    }

    /// The square root, correctly rounded.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn sqrt(self) -> Self {
        Self(_mm256_sqrt_ps(self.0), _mm256_sqrt_ps(self.1))
    }

    /// `(k, m)` with `self = m * 2^k` and m from 1 to 2, of positive normal lanes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn split(self) -> (Self, Self) {
        let (a, b) = (_mm256_castps_si256(self.0), _mm256_castps_si256(self.1));
        let exponent = I32x16(_mm256_srai_epi32::<23>(a), _mm256_srai_epi32::<23>(b)).sub(I32x16::splat(127));
        let (mask, one) = (_mm256_set1_epi32(0x007F_FFFF), _mm256_set1_epi32(0x3F80_0000));
        let mantissa = |bits| _mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(bits, mask), one));
        (exponent.to_f32(), Self(mantissa(a), mantissa(b)))
    }

    /// The nearest integer, ties to even; `i32::MIN` for a NaN and for what an `i32` cannot hold.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn to_i32(self) -> I32x16 {
        I32x16(_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1))
    }
}

impl I32x16 {
    /// Every lane is `x`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn splat(x: i32) -> Self {
        Self(_mm256_set1_epi32(x), _mm256_set1_epi32(x))
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn load(p: *const i32) -> Self {
        // SAFETY: the caller's 16 elements; both loads are unaligned ones.
        unsafe { Self(_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())) }
    }

    /// Stores sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for writing 16 elements.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn store(self, p: *mut i32) {
        // SAFETY: the caller's 16 elements; both stores are unaligned ones.
        unsafe {
            _mm256_storeu_si256(p.cast(), self.0);
            _mm256_storeu_si256(p.add(8).cast(), self.1);
        }
    }

    /// `self + b`, wrapping.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn add(self, b: Self) -> Self {
        Self(_mm256_add_epi32(self.0, b.0), _mm256_add_epi32(self.1, b.1))
    }

    /// `self - b`, wrapping.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn sub(self, b: Self) -> Self {
        Self(_mm256_sub_epi32(self.0, b.0), _mm256_sub_epi32(self.1, b.1))
    }

    /// The lesser of the two.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn min(self, b: Self) -> Self {
        Self(_mm256_min_epi32(self.0, b.0), _mm256_min_epi32(self.1, b.1))
    }

    /// The greater of the two.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn max(self, b: Self) -> Self {
        Self(_mm256_max_epi32(self.0, b.0), _mm256_max_epi32(self.1, b.1))
    }

    /// The low 32 bits of `self * b`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn mul(self, b: Self) -> Self {
        Self(_mm256_mullo_epi32(self.0, b.0), _mm256_mullo_epi32(self.1, b.1))
    }

    /// The nearest `f32`, ties to even.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub fn to_f32(self) -> F32x16 {
        F32x16(_mm256_cvtepi32_ps(self.0), _mm256_cvtepi32_ps(self.1))
    }
}

functions! { #[target_feature(enable = "avx2,fma")] impl [] F32x16 }

integers_one_by_one! { #[target_feature(enable = "avx2,fma")] }

/// All bits of the lanes below `n`, in two halves.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn lane_mask(n: usize) -> (__m256i, __m256i) {
    let n = _mm256_set1_epi32(n.min(16) as i32);
    let low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
    (_mm256_cmpgt_epi32(n, low), _mm256_cmpgt_epi32(n, high))
}
