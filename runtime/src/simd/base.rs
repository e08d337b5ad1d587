//! Sixteen lanes as four `__m128`: SSE2, which every x86-64 processor has.

use core::arch::asm;
use core::arch::x86_64::*;

/// One intrinsic on each of the four registers of its operands.
macro_rules! each {
    ($of:ident: $f:path, $($v:ident),+) => {
        $of($f($($v.0),+), $f($($v.1),+), $f($($v.2),+), $f($($v.3),+))
    };
}

/// Sixteen `f32` lanes in four registers. Semantics: the table in the parent module.
#[derive(Clone, Copy)]
pub struct F32x16(__m128, __m128, __m128, __m128);

/// Sixteen `i32` lanes in four registers.
#[derive(Clone, Copy)]
pub struct I32x16(__m128i, __m128i, __m128i, __m128i);

/// Asks for the cache line at `p`, which need not be valid: into the first level of cache for 1, else the second.
#[inline]
#[target_feature(enable = "sse2")]
pub fn prefetch<const LEVEL: u8>(p: *const f32) {
    if LEVEL == 1 {
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    } else {
        _mm_prefetch::<_MM_HINT_T1>(p.cast());
    }
}

impl F32x16 {
    /// Whether `mul_add` rounds once.
    const FUSED: bool = false;

    /// Every lane is `x`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn splat(x: f32) -> Self {
        let x = _mm_set1_ps(x);
        Self(x, x, x, x)
    }

    /// Every lane is +0.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn zero() -> Self {
        let zero = _mm_setzero_ps();
        Self(zero, zero, zero, zero)
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller's 16 elements; the loads are unaligned ones.
        unsafe { Self(_mm_loadu_ps(p), _mm_loadu_ps(p.add(4)), _mm_loadu_ps(p.add(8)), _mm_loadu_ps(p.add(12))) }
    }

    /// The element at `p` in every lane.
    ///
    /// # Safety
    /// `p` is valid for reading one element.
    #[inline]
    #[target_feature(enable = "sse2")]
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
    #[target_feature(enable = "sse2")]
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
    #[target_feature(enable = "sse2")]
    pub unsafe fn store(self, p: *mut f32) {
        // SAFETY: the caller's 16 elements; the stores are unaligned ones.
        unsafe {
            _mm_storeu_ps(p, self.0);
            _mm_storeu_ps(p.add(4), self.1);
            _mm_storeu_ps(p.add(8), self.2);
            _mm_storeu_ps(p.add(12), self.3);
        }
    }

    /// Stores the first `n` lanes from `p` on. An `n` above 16 is 16.
    ///
    /// # Safety
    /// `p` is valid for writing `min(n, 16)` elements; no more are written.
    #[inline]
    #[target_feature(enable = "sse2")]
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
    #[target_feature(enable = "sse2")]
    pub fn splat_group<const K: usize, const W: usize>(self) -> Self {
        const { assert!(matches!(W, 2 | 4 | 8) && K < W) }
        if W == 2 {
            let pairs = |v| if K == 0 { _mm_shuffle_ps::<0xA0>(v, v) } else { _mm_shuffle_ps::<0xF5>(v, v) };
            return Self(pairs(self.0), pairs(self.1), pairs(self.2), pairs(self.3));
        }
        let quad = |v| match K % 4 {
            0 => _mm_shuffle_ps::<0x00>(v, v),
            1 => _mm_shuffle_ps::<0x55>(v, v),
            2 => _mm_shuffle_ps::<0xAA>(v, v),
            _ => _mm_shuffle_ps::<0xFF>(v, v),
        };
        if W == 4 {
            return Self(quad(self.0), quad(self.1), quad(self.2), quad(self.3));
        }
        let (low, high) = if K < 4 { (quad(self.0), quad(self.2)) } else { (quad(self.1), quad(self.3)) };
        Self(low, low, high, high)
    }

    /// `self + b`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn add(self, b: Self) -> Self {
        each!(Self: _mm_add_ps, self, b)
    }

    /// `self - b`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn sub(self, b: Self) -> Self {
        each!(Self: _mm_sub_ps, self, b)
    }

    /// `self * b`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn mul(self, b: Self) -> Self {
        each!(Self: _mm_mul_ps, self, b)
    }

    /// `self / b`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn div(self, b: Self) -> Self {
        each!(Self: _mm_div_ps, self, b)
    }

    /// `self < b ? self : b`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn min(self, b: Self) -> Self {
        each!(Self: _mm_min_ps, self, b)
    }

    /// `self > b ? self : b`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn max(self, b: Self) -> Self {
        each!(Self: _mm_max_ps, self, b)
    }

    /// `max`, but a NaN on either side stays.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn max_nan(self, b: Self) -> Self {
        let max = self.max(b);
        let keep = |v, max| select(_mm_cmpunord_ps(v, v), v, max);
        Self(keep(self.0, max.0), keep(self.1, max.1), keep(self.2, max.2), keep(self.3, max.3))
    }

    /// `min`, but a NaN on either side stays.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn min_nan(self, b: Self) -> Self {
        let min = self.min(b);
        let keep = |v, min| select(_mm_cmpunord_ps(v, v), v, min);
        Self(keep(self.0, min.0), keep(self.1, min.1), keep(self.2, min.2), keep(self.3, min.3))
    }

    /// `self * b + c`, rounded after the product and after the sum.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn mul_add(self, b: Self, c: Self) -> Self {
        self.mul(b).add(c)
    }

    /// `a * b + self`, rounded after the product and after the sum, pinned: a step of a sum of products.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn add_product(self, a: Self, b: Self) -> Self {
        let (Self(mut s0, mut s1, mut s2, mut s3), Self(p0, p1, p2, p3)) = (self, a.mul(b));
        // An addition by the compiler's choice may be made in the product's register. Loops then move all accumulators
        // back, and have no registers for that.
        // SAFETY: `addps` changes nothing but its first operand.
        unsafe {
            asm!("addps {0}, {1}", inout(xmm_reg) s0, in(xmm_reg) p0, options(nostack, preserves_flags));
            asm!("addps {0}, {1}", inout(xmm_reg) s1, in(xmm_reg) p1, options(nostack, preserves_flags));
            asm!("addps {0}, {1}", inout(xmm_reg) s2, in(xmm_reg) p2, options(nostack, preserves_flags));
            asm!("addps {0}, {1}", inout(xmm_reg) s3, in(xmm_reg) p3, options(nostack, preserves_flags));
        }
        Self(s0, s1, s2, s3)
    }

    /// `a < b ? t : e`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn select_lt(a: Self, b: Self, t: Self, e: Self) -> Self {
        let mask = each!(Self: _mm_cmplt_ps, a, b);
        each!(Self: select, mask, t, e)
    }

    /// The sign bit flipped.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn neg(self) -> Self {
        let sign = Self::splat(-0.0);
        each!(Self: _mm_xor_ps, self, sign)
    }

    /// The sign bit cleared.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn abs(self) -> Self {
        let sign = Self::splat(-0.0);
        each!(Self: _mm_andnot_ps, sign, self)
    }

    /// The same value, computed here and not elsewhere; see the parent module.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn pin(self) -> Self {
        let Self(mut a, mut b, mut c, mut d) = self;
        // SAFETY: no instruction is added.
        unsafe {
            asm!("/* {0} */", inout(xmm_reg) a, options(nostack, preserves_flags));
            asm!("/* {0} */", inout(xmm_reg) b, options(nostack, preserves_flags));
            asm!("/* {0} */", inout(xmm_reg) c, options(nostack, preserves_flags));
            asm!("/* {0} */", inout(xmm_reg) d, options(nostack, preserves_flags));
        }
        Self(a, b, c, d)
    }

    scale_by_factors! { #[target_feature(enable = "sse2")] }

    /// The value whose sign and exponent are the low nine bits of this one.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn low_bits_as_exponent(self) -> Self {
        let bits = each!(I32x16: _mm_castps_si128, self);
        let bits = each!(I32x16: _mm_slli_epi32::<23>, bits);
        each!(Self: _mm_castsi128_ps, bits)
    }

    /// The square root, correctly rounded.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn sqrt(self) -> Self {
        each!(Self: _mm_sqrt_ps, self)
    }

    /// `(k, m)` with `self = m * 2^k` and m from 1 to 2, of positive normal lanes.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn split(self) -> (Self, Self) {
        let bits = each!(I32x16: _mm_castps_si128, self);
        let exponent = each!(I32x16: _mm_srai_epi32::<23>, bits).sub(I32x16::splat(127));
        let (mask, one) = (_mm_set1_epi32(0x007F_FFFF), _mm_set1_epi32(0x3F80_0000));
        let mantissa = |bits| _mm_castsi128_ps(_mm_or_si128(_mm_and_si128(bits, mask), one));
        (exponent.to_f32(), Self(mantissa(bits.0), mantissa(bits.1), mantissa(bits.2), mantissa(bits.3)))
    }

    /// The nearest integer, ties to even; `i32::MIN` for a NaN and for what an `i32` cannot hold.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn to_i32(self) -> I32x16 {
        each!(I32x16: _mm_cvtps_epi32, self)
    }
}

impl I32x16 {
    /// Every lane is `x`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn splat(x: i32) -> Self {
        let x = _mm_set1_epi32(x);
        Self(x, x, x, x)
    }

    /// Sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub unsafe fn load(p: *const i32) -> Self {
        // SAFETY: the caller's 16 elements; the loads are unaligned ones.
        unsafe {
            Self(
                _mm_loadu_si128(p.cast()),
                _mm_loadu_si128(p.add(4).cast()),
                _mm_loadu_si128(p.add(8).cast()),
                _mm_loadu_si128(p.add(12).cast()),
            )
        }
    }

    /// Stores sixteen elements from `p` on.
    ///
    /// # Safety
    /// `p` is valid for writing 16 elements.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub unsafe fn store(self, p: *mut i32) {
        // SAFETY: the caller's 16 elements; the stores are unaligned ones.
        unsafe {
            _mm_storeu_si128(p.cast(), self.0);
            _mm_storeu_si128(p.add(4).cast(), self.1);
            _mm_storeu_si128(p.add(8).cast(), self.2);
            _mm_storeu_si128(p.add(12).cast(), self.3);
        }
    }

    /// `self + b`, wrapping.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn add(self, b: Self) -> Self {
        each!(Self: _mm_add_epi32, self, b)
    }

    /// `self - b`, wrapping.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn sub(self, b: Self) -> Self {
        each!(Self: _mm_sub_epi32, self, b)
    }

    /// The lesser of the two.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn min(self, b: Self) -> Self {
        each!(Self: lesser, self, b)
    }

    /// The greater of the two.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn max(self, b: Self) -> Self {
        each!(Self: greater, self, b)
    }

    /// The low 32 bits of `self * b`.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn mul(self, b: Self) -> Self {
        each!(Self: mullo, self, b)
    }

    /// The nearest `f32`, ties to even.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn to_f32(self) -> F32x16 {
        each!(F32x16: _mm_cvtepi32_ps, self)
    }
}

functions! { #[target_feature(enable = "sse2")] impl [] F32x16 }

integers_one_by_one! { #[target_feature(enable = "sse2")] }

/// `t` where the mask's bits are set, `e` elsewhere.
#[inline]
#[target_feature(enable = "sse2")]
fn select(mask: __m128, t: __m128, e: __m128) -> __m128 {
    _mm_or_ps(_mm_and_ps(mask, t), _mm_andnot_ps(mask, e))
}

/// The low 32 bits of each product; SSE2 multiplies only the even lanes, to 64 bits.
#[inline]
#[target_feature(enable = "sse2")]
fn mullo(a: __m128i, b: __m128i) -> __m128i {
    let even = _mm_mul_epu32(a, b);
    let odd = _mm_mul_epu32(_mm_srli_epi64::<32>(a), _mm_srli_epi64::<32>(b));
    _mm_unpacklo_epi32(_mm_shuffle_epi32::<0b10_00>(even), _mm_shuffle_epi32::<0b10_00>(odd))
}

/// The lesser of each pair; SSE2 compares, and has no minimum of 32-bit integers.
#[inline]
#[target_feature(enable = "sse2")]
fn lesser(a: __m128i, b: __m128i) -> __m128i {
    let b_is_less = _mm_cmpgt_epi32(a, b);
    _mm_or_si128(_mm_and_si128(b_is_less, b), _mm_andnot_si128(b_is_less, a))
}

/// The greater of each pair.
#[inline]
#[target_feature(enable = "sse2")]
fn greater(a: __m128i, b: __m128i) -> __m128i {
    let a_is_greater = _mm_cmpgt_epi32(a, b);
    _mm_or_si128(_mm_and_si128(a_is_greater, a), _mm_andnot_si128(a_is_greater, b))
}
