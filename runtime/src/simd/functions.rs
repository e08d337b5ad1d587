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
//! | `exp` | 1.02 | 0.99 |
//! | `log` | 0.83 | 0.83 |
//! | `tanh` | 2.61 | 2.67 |
//! | `sigmoid` | 2.41 | 2.41 |
//! | `silu` | 3.40 | 3.40 |
//! | `elu` | 0.95 | 0.92 |
//! | `erf` | 1.01 | 1.26 |
//! | `softplus` | 2.17 | 2.53 |
//! | `mish` | 3.37 | 3.37 |
//! | `gelu` | 3.03 | 3.45 |
//! | `gelu_tanh` | 3.41 | 3.41 |
//!
//! Where no source is named, coefficients are the weighted least-squares fit at 2000 Chebyshev nodes that makes the
//! largest relative error least (Lawson's algorithm), rounded to `f32`.
//!
//! # Exponentials
//!
//! `e^x = 2^k · e^r` with `k = round(x / ln 2)`, by a sum that leaves k in its low bits, and `r = x - k ln 2`, so that |r| ≤ ln 2 / 2; the subtraction is in two
//! parts (Cody and Waite), the first of them exact even without FMA. `e^r - 1 = r + r² q(r)` with q of degree 4, which is
//! off by 3e-9 of `e^r`. What is multiplied by a power of two is so last, and rounded once: k runs from -160 to 128.
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
//! these factors would add up to more than 4 ULP, it is `x (1/2 + x P(x²))`, with P of degree 3 and an error of 4e-8.
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
/// A sum with it has the nearest integer in its low bits, ties to even, and above that 127: shifted into the place of an
/// exponent they are that power of two.
pub(super) const POWER: f32 = 12_582_912.0 + 127.0;
/// The same for a power of two that is 2^64 times as large, so that one of 2^-160 is no subnormal number.
pub(super) const HIGH_POWER: f32 = POWER + 64.0;
/// 2^-64: undoes the 2^64 of `HIGH_POWER`.
pub(super) const DOWN: f32 = 1.0 / 18_446_744_073_709_551_616.0;
/// ln 2 cut to nine bits, so that its product with any `k` is exact.
pub(super) const LN_2_HIGH: f32 = 355.0 / 512.0;
/// ln 2 less `LN_2_HIGH`.
pub(super) const LN_2_LOW: f32 = -2.121_944_4e-4;
/// The coefficients of the exponential's q, from r^0 to r^4.
pub(super) const EXP_TAIL: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_266, 0.008_368_684, 0.001_382_094_6];

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
/// The coefficients of `(1/2 - t(x)) / x` below, from z^0 to z^3.
pub(super) const GELU_NEAR: [f32; 4] = [0.398_942_05, -0.066_484_466, 0.009_930_524, -0.001_068_230_6];
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

/// Scaling by powers of two for targets that have no instruction for it, as a method in the `impl` of a type.
#[allow(unused_macros, reason = "a crate for AVX-512 alone has no use for it")]
macro_rules! scale_by_factors {
    ($(#[$features:meta])?) => {
        /// `2^n * self`, rounded once, where half of n is an exponent: by two factors, of which the first loses nothing if
        /// self is near 1.
        #[inline]
        $(#[$features])?
        fn scale(self, n: Self) -> Self {
            let power = Self::splat(super::functions::POWER);
            let low = n.mul_add(Self::splat(0.5), power);
            let high = n.sub(low.sub(power)).add(power);
            self.mul(low.low_bits_as_exponent()).mul(high.low_bits_as_exponent())
        }
    };
}

/// The functions as methods of a type, with the target features of its module. The type has the primitive methods that
/// the table in the parent module lists, `FUSED`, `scale`, `low_bits_as_exponent` and `split`.
macro_rules! functions {
    ($(#[$features:meta])? impl [$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> $type {
            /// `e^self`
            #[inline]
            $(#[$features])?
            pub fn exp(self) -> Self {
                let x = Self::splat(super::functions::EXP_HIGH).min(Self::splat(super::functions::EXP_LOW).max(self));
                let (n, r, _) = x.reduced(super::functions::POWER);
                r.exp_m1_of_remainder().add(Self::splat(1.0)).scale(n)
            }

            /// `ln(self)`
            #[inline]
            $(#[$features])?
            pub fn log(self) -> Self {
                let (x, zero, one) = (self, Self::zero(), Self::splat(1.0));
                let is_small =
                    |a: f32, b: f32| Self::select_lt(x, Self::splat(f32::MIN_POSITIVE), Self::splat(a), Self::splat(b));
                let (k, m) = x.mul(is_small(super::functions::LOG_SCALE, 1.0)).split();
                let n = k.add(is_small(-super::functions::LOG_SCALE_EXPONENT, 0.0));
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
                let (_, p, power) = self.decay();
                let high = p.mul_add(power, power);
                Self::select_lt(self, Self::zero(), high.down(), Self::splat(1.0)).div(high.down_and_one())
            }

            /// `self / (1 + e^-self)`
            #[inline]
            $(#[$features])?
            pub fn silu(self) -> Self {
                let (x, p, power) = self.decay();
                let high = p.mul_add(power, power);
                // A subnormal exponential would lose what the product with x has.
                let below = high.mul(x).down();
                Self::select_lt(self, Self::zero(), below, self).div(high.down_and_one())
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
                let (_, p, power) = self.decay();
                let e = p.mul_add(power, power).down();
                let [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9] = super::functions::LOG_1P;
                Self::zero().max(self).add(e.mul(horner!(e; c9, c8, c7, c6, c5, c4, c3, c2, c1, c0)))
            }

            /// `self * tanh(ln(1 + e^self))`
            #[inline]
            $(#[$features])?
            pub fn mish(self) -> Self {
                let (x, p, power) = self.decay();
                let (zero, one, two) = (Self::zero(), Self::splat(1.0), Self::splat(2.0));
                let e = p.mul_add(power, power).down();
                let (square, twice) = (e.mul(e), e.add(e));
                let lacks = Self::select_lt(self, zero, square.add(e), square.add(square));
                let of = Self::select_lt(self, zero, e.mul_add(e, twice.add(two)), twice.mul_add(e, twice.add(one)));
                let limit = Self::select_lt(self, zero, p.mul_add(x, x).mul(power).down(), self);
                limit.mul(one.sub(lacks.div(of)))
            }

            /// `self * (1 + erf(self / √2)) / 2`
            #[inline]
            $(#[$features])?
            pub fn gelu(self) -> Self {
                let x = Self::splat(super::functions::GELU_HIGH).min(self.abs());
                // The division takes longest. Pinned, it begins first.
                let share = x.div(x.add(Self::splat(super::functions::GELU_CENTRE))).pin();
                let (square, half) = (x.mul(x), Self::splat(0.5));
                // `-x²/2 = n ln 2 + r`, with nothing lost of x².
                let high_power = Self::splat(super::functions::HIGH_POWER);
                let rounded = square.mul_add(Self::splat(-0.5 * super::functions::LOG2_E), high_power);
                let n = rounded.sub(high_power);
                let r = x.mul(half.neg()).mul_add(x, n.mul(Self::splat(-super::functions::LN_2_HIGH)));
                let r = if Self::FUSED { r } else { r.sub(x.residue(x, square).mul(half)) };
                let p = n.mul_add(Self::splat(-super::functions::LN_2_LOW), r).exp_m1_of_remainder();
                let [p0, p1, p2, p3] = super::functions::GELU_NEAR;
                let near = self.mul(horner!(square; p3, p2, p1, p0).mul_add(self, half));
                let v = share.mul_add(Self::splat(2.0), Self::splat(-1.0));
                let [s0, s1, s2, s3, s4, s5, s6, s7, s8] = super::functions::GELU_S;
                let s = horner!(v; s8, s7, s6, s5, s4, s3, s2, s1, s0);
                let high = share.mul(rounded.low_bits_as_exponent());
                let tail = p.mul_add(high, high).mul(s);
                let far = tail.mul_add(Self::splat(-super::functions::DOWN), Self::zero().max(self));
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
                let (_, r, power) = sum.neg().reduced(super::functions::HIGH_POWER);
                let high = r.sub(sum_low).exp_m1_of_remainder().mul_add(power, power);
                let below = high.mul(x.neg()).down();
                Self::select_lt(self, Self::zero(), below, self).div(high.down_and_one())
            }

            /// `(x, p, power)` with `x = -|self|`, or where the exponential is 0, and `e^x = 2^-64 power (1 + p)`.
            #[inline]
            $(#[$features])?
            fn decay(self) -> (Self, Self, Self) {
                let x = Self::splat(super::functions::EXP_LOW).max(self.abs().neg());
                let (_, r, power) = x.reduced(super::functions::HIGH_POWER);
                (x, r.exp_m1_of_remainder(), power)
            }

            /// `2^-64 self`, rounded once.
            #[inline]
            $(#[$features])?
            fn down(self) -> Self {
                self.mul(Self::splat(super::functions::DOWN))
            }

            /// `1 + 2^-64 self`
            #[inline]
            $(#[$features])?
            fn down_and_one(self) -> Self {
                self.mul_add(Self::splat(super::functions::DOWN), Self::splat(1.0))
            }

            /// `(n, r, power)` with `self = n ln 2 + r` and, by `up`, which is `POWER` or `HIGH_POWER`, `2^n` or
            /// `2^(n + 64)`.
            #[inline]
            $(#[$features])?
            fn reduced(self, up: f32) -> (Self, Self, Self) {
                let rounded = self.mul_add(Self::splat(super::functions::LOG2_E), Self::splat(up));
                let n = rounded.sub(Self::splat(up));
                let r = n.mul_add(Self::splat(-super::functions::LN_2_HIGH), self);
                let r = n.mul_add(Self::splat(-super::functions::LN_2_LOW), r);
                (n, r, rounded.low_bits_as_exponent())
            }

            /// `e^self - 1` where its power of two is an exponent.
            #[inline]
            $(#[$features])?
            fn exp_m1(self) -> Self {
                let (_, r, power) = self.reduced(super::functions::POWER);
                r.exp_m1_of_remainder().mul_add(power, power.sub(Self::splat(1.0)))
            }

            /// `e^self - 1` of a remainder.
            #[inline]
            $(#[$features])?
            fn exp_m1_of_remainder(self) -> Self {
                let [c2, c3, c4, c5, c6] = super::functions::EXP_TAIL;
                horner!(self; c6, c5, c4, c3, c2).mul_add(self.mul(self), self)
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
