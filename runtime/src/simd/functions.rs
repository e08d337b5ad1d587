//! Functions of one number, written once for all targets: on their vectors' own methods, with one order of rounding.
//! `functions` adds them to a type of vectors.
//!
//! Each is within 4 units in the last place (ULP) of the true value for every finite `f32`, results that are subnormal
//! included: nothing is flushed to 0 unless the processor is told to. The table has the largest error of all, as
//! `bench/ulp.rs` finds it. With an infinite argument the result is the limit, a NaN stays one, and so does -0 where the
//! result is 0.
//!
//! | function | with FMA | without |
//! | --- | --- | --- |
//! | `exp` | 0.99 | 0.96 |
//! | `log` | 0.83 | 0.83 |
//! | `tanh` | 2.42 | 2.43 |
//! | `sigmoid` | 2.41 | 2.41 |
//! | `silu` | 2.72 | 2.80 |
//! | `elu` | 0.89 | 0.85 |
//! | `erf` | 1.01 | 1.26 |
//! | `softplus` | 2.17 | 2.53 |
//! | `mish` | 3.37 | 3.37 |
//! | `gelu` | 3.71 | 3.995 |
//! | `gelu_tanh` | 2.85 | 2.94 |
//!
//! Where no source is named, coefficients are the weighted least-squares fit at 2000 Chebyshev nodes that makes the
//! largest relative error least (Lawson's algorithm), rounded to `f32`.
//!
//! # Exponentials
//!
//! `e^x = 2^k · e^r` with `k = round(x / ln 2)` and `r = x - k ln 2`, so that |r| ≤ ln 2 / 2; the subtraction is in two
//! parts (Cody and Waite), the first of them exact even without FMA. `e^r - 1 = r + r² q(r)` with q of degree 5: its
//! coefficients are the least-squares fit of `(e^r - 1 - r) / r²` at 64 Chebyshev nodes, rounded to f32, and leave a
//! relative error below 1e-9. What is multiplied by a power of two is so last, and rounded once: k runs from -160 to 128.
//!
//! `elu` needs `e^x - 1`, which is `2^k (e^r - 1) + (2^k - 1)`. All others take `e = e^-|x|`, which neither overflows nor
//! loses what is small: `sigmoid` is 1 or e, whichever the sign says, divided by `1 + e`; `silu` is x times that;
//! `softplus` is `max(x, 0) + ln(1 + e)`, with the logarithm by a polynomial of degree 9 in e, off by 7e-9; `mish`, which
//! is `x tanh(ln(1 + e^x))`, is `x e (1 - (e + e²) / (2 + 2e + e²))` of a negative x and
//! `x (1 - 2e² / (1 + 2e + 2e²))` of others.
//!
//! `tanh` is `(e^2x - 1) / (e^2x + 1)`, of |x|, for which nothing is lost in the sum.
//!
//! # The error function
//!
//! `erf(x)` is `x + x P(x²)` below 0.875, with P of degree 5 and an error of 1.4e-8; from there on `1 - e^R(x)`, with R of
//! degree 6 and an error of 1.9e-9, until the result is 1 in `f32`.
//!
//! # GELU
//!
//! With the tail `t(x) = erfc(x / √2) / 2` of the normal distribution, `gelu(x) = max(x, 0) - |x| t(|x|)`. The tail is
//! `e^(-x²/2)` times what falls from 1/2 like 1/x: `S(v) / (x + c)` with `v = 2 x / (x + c) - 1`, which lies between -1
//! and 1 (after Shepherd and Laframboise 1981, Mathematics of Computation 36). S of degree 8 is off by 6e-9 up to x = 14.6,
//! where the product is 0 in `f32`. An exponent of 100 must have an error below 1e-8: the remainder r is that of the exact
//! x², of which FMA rounds nothing away; without it, what rounding took is added. Below 0.6875, where the rounding of all
//! these factors would add up to more than 4 ULP, it is `x (1/2 + x P(x²))`, with P of degree 4 and an error of 3e-9.
//!
//! The form by `tanh` is `x sigmoid(s)` with `s = 2 √(2/π) (x + 0.044715 x³)`, whose exponent is exact in the same way.
//!
//! # The logarithm
//!
//! `ln x = k ln 2 + ln m` with `x = m · 2^k` and m between √½ and √2, subnormal x being scaled first. With `r = m - 1`,
//! `ln m = r - r²/2 + r³ q(r)`; q of degree 8 has the coefficients of Moshier's Cephes library (`logf`). Of 0 it is
//! `-inf`, of `inf` infinite, of what is below 0 a NaN.

/// `e^x` is infinite from here on, and `k` still an exponent that two factors can hold.
pub(super) const EXP_HIGH: f32 = 89.0;
/// `e^x` rounds to 0 from here down, and so does `x e^x`.
pub(super) const EXP_LOW: f32 = -110.0;
/// `e^x - 1` rounds to -1 from here down.
pub(super) const ELU_LOW: f32 = -18.0;
pub(super) const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// ln 2 cut to nine bits, so that its product with any `k` is exact.
pub(super) const LN_2_HIGH: f32 = 355.0 / 512.0;
/// ln 2 less `LN_2_HIGH`.
pub(super) const LN_2_LOW: f32 = -2.121_944_4e-4;
/// The coefficients of the exponential's q, from r^0 to r^5.
pub(super) const EXP_TAIL: [f32; 6] =
    [0.5, 0.166_666_67, 0.041_666_463, 0.008_333_298, 0.001_393_368_8, 0.000_198_993_34];

/// The coefficients of `ln(1 + e) / e`, from e^0 to e^9.
pub(super) const LOG_1P: [f32; 10] = [
    1.0,
    -0.499_999_3,
    0.333_305_1,
    -0.249_585_87,
    0.196_953_98,
    -0.153_553_93,
    0.106_805_556,
    -0.057_664_447,
    0.020_204_581,
    -0.003_318_472_8,
];

/// `tanh(x)` rounds to 1 from here on.
pub(super) const TANH_HIGH: f32 = 9.02;

/// `erf(x)` rounds to 1 from here on.
pub(super) const ERF_HIGH: f32 = 3.93;
/// Where its two forms meet.
pub(super) const ERF_MIDDLE: f32 = 0.875;
/// The coefficients of `erf(x) / x - 1` below, from z^0 to z^5.
pub(super) const ERF_NEAR: [f32; 6] =
    [0.128_379_15, -0.376_125_48, 0.112_824_544, -0.026_791_466, 0.005_032_186, -0.000_620_327_95];
/// The coefficients of `ln(1 - erf(x))` above, from x^0 to x^6.
pub(super) const ERF_FAR: [f32; 7] =
    [-0.000_133_574_87, -1.127_936_1, -0.636_737_2, -0.104_327_515, 0.022_420_224, -0.003_092_293_2, 0.000_200_996_34];

/// `x t(x)` rounds to 0 from here on.
pub(super) const GELU_HIGH: f32 = 14.6;
/// Where its two forms meet.
pub(super) const GELU_MIDDLE: f32 = 0.6875;
/// The coefficients of `(1/2 - t(x)) / x` below, from z^0 to z^4.
pub(super) const GELU_NEAR: [f32; 5] = [0.398_942_3, -0.066_490_57, 0.009_974_198, -0.001_186_174_1, 0.000_107_361_16];
/// The c of the tail's variable above.
pub(super) const GELU_CENTRE: f32 = 3.625;
/// The coefficients of S, from v^0 to v^8.
pub(super) const GELU_S: [f32; 9] = [
    0.747_477_95,
    -0.577_270_87,
    0.334_608_14,
    -0.133_798_2,
    0.027_034_473,
    0.004_262_242,
    -0.003_826_205_4,
    3.790_994e-5,
    0.000_445_812_33,
];

/// `x e^-s` rounds to 0 from here on.
pub(super) const GELU_TANH_HIGH: f32 = 10.9;
/// `2 √(2/π)` as the sum of two numbers.
pub(super) const GELU_TANH_LINEAR: [f32; 2] = [1.595_769_2, -4.534_068e-8];
/// `0.044715 · 2 √(2/π)` as the sum of two numbers.
pub(super) const GELU_TANH_CUBIC: [f32; 2] = [0.071_354_814, 2.398_832_5e-9];

/// What makes a subnormal number a normal one.
pub(super) const LOG_SCALE: f32 = 8_388_608.0;
/// Its binary logarithm.
pub(super) const LOG_SCALE_EXPONENT: f32 = 23.0;
/// The coefficients of the logarithm's q, from r^0 to r^8.
pub(super) const LOG_TAIL: [f32; 9] = [
    3.333_333e-1,
    -2.499_999_4e-1,
    2.000_071_6e-1,
    -1.666_805_7e-1,
    1.424_932_3e-1,
    -1.242_014_1e-1,
    1.167_699_84e-1,
    -1.151_461e-1,
    7.037_683_6e-2,
];

/// What 24 bits are split at by its product: 12 and 12 (Dekker 1971).
pub(super) const SPLIT: f32 = 4097.0;

/// A polynomial in `$x` by Horner's scheme, the highest coefficient first.
macro_rules! horner {
    ($x:expr; $highest:expr $(, $coefficient:expr)*) => {
        Self::splat($highest)$(.mul_add($x, Self::splat($coefficient)))*
    };
}

/// The functions as methods of a type, with the target features of its module. The type has the primitive methods that
/// the table in the parent module lists, `FUSED`, `scale` and `split`; its integers have `to_f32` and `power_of_two`.
macro_rules! functions {
    ($(#[$features:meta])? impl [$($generics:tt)*] $type:ty, $integers:ty) => {
        impl<$($generics)*> $type {
            /// `e^self`
            #[inline]
            $(#[$features])?
            pub fn exp(self) -> Self {
                let x = Self::splat(super::functions::EXP_HIGH).min(Self::splat(super::functions::EXP_LOW).max(self));
                let (k, r) = x.reduced();
                r.exp_m1_of_remainder().add(Self::splat(1.0)).scale(k)
            }

            /// `ln(self)`
            #[inline]
            $(#[$features])?
            pub fn log(self) -> Self {
                let (x, zero, one) = (self, Self::zero(), Self::splat(1.0));
                let is_small =
                    |a: f32, b: f32| Self::select_lt(x, Self::splat(f32::MIN_POSITIVE), Self::splat(a), Self::splat(b));
                let (k, m) = x.mul(is_small(super::functions::LOG_SCALE, 1.0)).split();
                let n: Self = k.to_f32();
                let n = n.add(is_small(-super::functions::LOG_SCALE_EXPONENT, 0.0));
                let root = Self::splat(core::f32::consts::SQRT_2);
                let n = n.add(Self::select_lt(root, m, one, zero));
                let r = Self::select_lt(root, m, m.mul(Self::splat(0.5)), m).sub(one);
                let square = r.mul(r);
                let [c0, c1, c2, c3, c4, c5, c6, c7, c8] = super::functions::LOG_TAIL;
                let q = horner!(r; c8, c7, c6, c5, c4, c3, c2, c1, c0);
                let low = n.mul_add(Self::splat(super::functions::LN_2_LOW), q.mul(r).mul(square));
                let low = square.mul_add(Self::splat(-0.5), low);
                let y = n.mul_add(Self::splat(super::functions::LN_2_HIGH), low.add(r));
                let below = Self::select_lt(x, zero, Self::splat(f32::NAN), Self::splat(f32::NEG_INFINITY));
                let y = Self::select_lt(zero, x, y, below);
                Self::select_lt(x, Self::splat(f32::INFINITY), y, x)
            }

            /// `tanh(self)`
            #[inline]
            $(#[$features])?
            pub fn tanh(self) -> Self {
                let x = Self::splat(super::functions::TANH_HIGH).min(self.abs());
                let y = x.add(x).exp_m1();
                let y = y.div(y.add(Self::splat(2.0)));
                // What is neither is -0, 0 or a NaN.
                let upward = Self::select_lt(Self::zero(), self, y, self);
                Self::select_lt(self, Self::zero(), y.neg(), upward)
            }

            /// `erf(self)`
            #[inline]
            $(#[$features])?
            pub fn erf(self) -> Self {
                let x = Self::splat(super::functions::ERF_HIGH).min(self.abs());
                let z = x.mul(x);
                let [p0, p1, p2, p3, p4, p5] = super::functions::ERF_NEAR;
                let near = horner!(z; p5, p4, p3, p2, p1, p0).mul_add(self, self);
                let [r0, r1, r2, r3, r4, r5, r6] = super::functions::ERF_FAR;
                let far = horner!(x; r6, r5, r4, r3, r2, r1, r0).exp_m1().neg();
                let far = Self::select_lt(self, Self::zero(), far.neg(), far);
                Self::select_lt(x, Self::splat(super::functions::ERF_MIDDLE), near, far)
            }

            /// `1 / (1 + e^-self)`
            #[inline]
            $(#[$features])?
            pub fn sigmoid(self) -> Self {
                let (_, p, k) = self.decay();
                let one = Self::splat(1.0);
                let e = p.add(one).scale(k);
                Self::select_lt(self, Self::zero(), e, one).div(e.add(one))
            }

            /// `self / (1 + e^-self)`
            #[inline]
            $(#[$features])?
            pub fn silu(self) -> Self {
                let (x, p, k) = self.decay();
                let one = Self::splat(1.0);
                let e = p.add(one).scale(k);
                // A subnormal e would lose what the product with x has.
                let below = p.mul_add(x, x).scale(k);
                Self::select_lt(self, Self::zero(), below, self).div(e.add(one))
            }

            /// `self` where positive, else `e^self - 1`
            #[inline]
            $(#[$features])?
            pub fn elu(self) -> Self {
                let below = Self::splat(super::functions::ELU_LOW).max(self).exp_m1();
                Self::select_lt(self, Self::zero(), below, self)
            }

            /// `ln(1 + e^self)`
            #[inline]
            $(#[$features])?
            pub fn softplus(self) -> Self {
                let (_, p, k) = self.decay();
                let e = p.add(Self::splat(1.0)).scale(k);
                let [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9] = super::functions::LOG_1P;
                Self::zero().max(self).add(e.mul(horner!(e; c9, c8, c7, c6, c5, c4, c3, c2, c1, c0)))
            }

            /// `self * tanh(ln(1 + e^self))`
            #[inline]
            $(#[$features])?
            pub fn mish(self) -> Self {
                let (x, p, k) = self.decay();
                let (zero, one, two) = (Self::zero(), Self::splat(1.0), Self::splat(2.0));
                let e = p.add(one).scale(k);
                let (square, twice) = (e.mul(e), e.add(e));
                let lacks = Self::select_lt(self, zero, square.add(e), square.add(square));
                let of = Self::select_lt(self, zero, e.mul_add(e, twice.add(two)), twice.mul_add(e, twice.add(one)));
                let limit = Self::select_lt(self, zero, p.mul_add(x, x).scale(k), self);
                limit.mul(one.sub(lacks.div(of)))
            }

            /// `self * (1 + erf(self / √2)) / 2`
            #[inline]
            $(#[$features])?
            pub fn gelu(self) -> Self {
                let x = Self::splat(super::functions::GELU_HIGH).min(self.abs());
                let (square, half) = (x.mul(x), Self::splat(0.5));
                let [p0, p1, p2, p3, p4] = super::functions::GELU_NEAR;
                let near = self.mul(horner!(square; p4, p3, p2, p1, p0).mul_add(self, half));
                // `-x²/2 = k ln 2 + r`, with nothing lost of x².
                let k = square.mul(Self::splat(-0.5 * super::functions::LOG2_E)).to_i32();
                let n: Self = k.to_f32();
                let r = x.mul(half.neg()).mul_add(x, n.mul(Self::splat(-super::functions::LN_2_HIGH)));
                let r = if Self::FUSED { r } else { r.sub(x.residue(x, square).mul(half)) };
                let p = n.mul_add(Self::splat(-super::functions::LN_2_LOW), r).exp_m1_of_remainder();
                let share = x.div(x.add(Self::splat(super::functions::GELU_CENTRE)));
                let v = share.mul_add(Self::splat(2.0), Self::splat(-1.0));
                // Even and odd powers apart: their chains run side by side, after that of the division.
                let [s0, s1, s2, s3, s4, s5, s6, s7, s8] = super::functions::GELU_S;
                let w = v.mul(v);
                let s = horner!(w; s7, s5, s3, s1).mul_add(v, horner!(w; s8, s6, s4, s2, s0));
                let tail = share.mul(s);
                let far = Self::zero().max(self).sub(p.mul_add(tail, tail).scale(k));
                Self::select_lt(x, Self::splat(super::functions::GELU_MIDDLE), near, far)
            }

            /// `self * (1 + tanh(√(2/π) (self + 0.044715 self³))) / 2`
            #[inline]
            $(#[$features])?
            pub fn gelu_tanh(self) -> Self {
                let x = Self::splat(super::functions::GELU_TANH_HIGH).min(self.abs());
                let [linear, linear_low] = super::functions::GELU_TANH_LINEAR.map(|x| Self::splat(x));
                let [cubic, cubic_low] = super::functions::GELU_TANH_CUBIC.map(|x| Self::splat(x));
                // Each number with what rounding took from it.
                let square = x.mul(x);
                let square_low = x.residue(x, square);
                let cube = square.mul(x);
                let cube_low = square_low.mul_add(x, square.residue(x, cube));
                let a = x.mul(linear);
                let a_low = x.mul_add(linear_low, x.residue(linear, a));
                let b = cube.mul(cubic);
                let b_low = cube.mul_add(cubic_low, cube_low.mul_add(cubic, cube.residue(cubic, b)));
                let sum = a.add(b);
                let from_b = sum.sub(a);
                let sum_low = a.sub(sum.sub(from_b)).add(b.sub(from_b)).add(a_low).add(b_low);
                let (k, r) = sum.neg().reduced();
                let (p, one) = (r.sub(sum_low).exp_m1_of_remainder(), Self::splat(1.0));
                let below = p.mul_add(x, x).neg().scale(k);
                Self::select_lt(self, Self::zero(), below, self).div(p.add(one).scale(k).add(one))
            }

            /// `(x, p, k)` with `x = -|self|`, or where the exponential is 0, and `e^x = 2^k (1 + p)`.
            #[inline]
            $(#[$features])?
            fn decay(self) -> (Self, Self, $integers) {
                let x = Self::splat(super::functions::EXP_LOW).max(self.abs().neg());
                let (k, r) = x.reduced();
                (x, r.exp_m1_of_remainder(), k)
            }

            /// `(k, r)` with `self = k ln 2 + r`.
            #[inline]
            $(#[$features])?
            fn reduced(self) -> ($integers, Self) {
                let k = self.mul(Self::splat(super::functions::LOG2_E)).to_i32();
                let n: Self = k.to_f32();
                let r = n.mul_add(Self::splat(-super::functions::LN_2_HIGH), self);
                (k, n.mul_add(Self::splat(-super::functions::LN_2_LOW), r))
            }

            /// `e^self - 1` where its power of two is an exponent.
            #[inline]
            $(#[$features])?
            fn exp_m1(self) -> Self {
                let (k, r) = self.reduced();
                let scale: Self = k.power_of_two();
                r.exp_m1_of_remainder().mul_add(scale, scale.sub(Self::splat(1.0)))
            }

            /// `e^self - 1` of a remainder.
            #[inline]
            $(#[$features])?
            fn exp_m1_of_remainder(self) -> Self {
                let [c2, c3, c4, c5, c6, c7] = super::functions::EXP_TAIL;
                horner!(self; c7, c6, c5, c4, c3, c2).mul_add(self.mul(self), self)
            }

            /// What rounding took from a product: `self * b - product`, exactly.
            #[inline]
            $(#[$features])?
            fn residue(self, b: Self, product: Self) -> Self {
                if Self::FUSED {
                    return self.mul_add(b, product.neg());
                }
                let halves = |x: Self| {
                    let scaled = x.mul(Self::splat(super::functions::SPLIT));
                    let high = scaled.sub(scaled.sub(x));
                    (high, x.sub(high))
                };
                let ((a_high, a_low), (b_high, b_low)) = (halves(self), halves(b));
                let rest = a_high.mul(b_high).sub(product);
                rest.add(a_high.mul(b_low)).add(a_low.mul(b_high)).add(a_low.mul(b_low))
            }
        }
    };
}
