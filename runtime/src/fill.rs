//! Weights by formula: untrained, but the same for everyone who knows a tensor's name, kind and shape.
//!
//! Element i of tensor `name`, with all integers modulo 2^64:
//!
//! ```text
//! h = FNV-1a 64 of the name's UTF-8 bytes
//! z = SplitMix64's output function of h + (i + 1) · 0x9E3779B97F4A7C15
//! u = (z >> 40) / 2^24, in [0, 1)
//! ```
//!
//! | kind | value, computed in f64, stored as f32 |
//! | --- | --- |
//! | kernel | (2u - 1) · sqrt(gain / product of the shape without its first extent) |
//! | gamma | 0.5 + u, and its negative where i mod 16 = 7 |
//! | var | 0.5 + u |
//! | mean | (2u - 1) · 0.2 |
//! | bias | (2u - 1) · 0.1 |
//! | the input image, named `input` | (2u - 1) · 2 |
//!
//! Some gammas are negative on purpose: a rewrite that moves a BatchNorm across a ReLU without a look at the sign gives
//! another answer.

/// The gain where none is asked for: He's, for layers before a ReLU (He et al. 2015, arXiv:1502.01852), as the variance
/// of a uniform number in `±sqrt(gain / fan-in)` is a third of it.
pub const DEFAULT_GAIN: f64 = 6.0;

/// What a weight is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Of a convolution or linear layer: output channels, input channels of a group, height, width.
    Kernel,
    /// The scale of a normalization.
    Gamma,
    /// A running variance.
    Var,
    /// A running mean.
    Mean,
    /// A bias, or the shift of a normalization.
    Bias,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Kernel, Self::Gamma, Self::Var, Self::Mean, Self::Bias];

    /// The name as printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Gamma => "gamma",
            Self::Var => "var",
            Self::Mean => "mean",
            Self::Bias => "bias",
        }
    }
}

/// The formula of one tensor.
#[derive(Clone, Copy, Debug)]
pub struct Formula {
    hash: u64,
    range: Range,
}

#[derive(Clone, Copy, Debug)]
enum Range {
    /// (2u - 1) · half.
    Symmetric(f64),
    /// 0.5 + u.
    Positive,
    /// 0.5 + u with the sign of a gamma.
    Flipped,
}

impl Formula {
    /// The formula of a weight.
    pub fn new(name: &str, kind: Kind, shape: &[usize], gain: f64) -> Self {
        let range = match kind {
            Kind::Kernel => {
                let fan_in: f64 = shape.iter().skip(1).map(|&extent| extent as f64).product();
                Range::Symmetric((gain / fan_in).sqrt())
            }
            Kind::Gamma => Range::Flipped,
            Kind::Var => Range::Positive,
            Kind::Mean => Range::Symmetric(0.2),
            Kind::Bias => Range::Symmetric(0.1),
        };
        Self { hash: fnv1a(name.as_bytes()), range }
    }

    /// The formula of an input image.
    pub fn input() -> Self {
        Self { hash: fnv1a(b"input"), range: Range::Symmetric(2.0) }
    }

    /// Element `index`.
    pub fn element(&self, index: usize) -> f32 {
        let u = unit(self.hash, index as u64);
        let value = match self.range {
            Range::Symmetric(half) => (2.0 * u - 1.0) * half,
            Range::Positive => 0.5 + u,
            Range::Flipped if index % 16 == 7 => -(0.5 + u),
            Range::Flipped => 0.5 + u,
        };
        value as f32
    }
}

/// The weight `name`, in row-major order.
pub fn fill(name: &str, kind: Kind, shape: &[usize], gain: f64) -> Vec<f32> {
    let formula = Formula::new(name, kind, shape, gain);
    (0..shape.iter().product()).map(|index| formula.element(index)).collect()
}

/// The input image, in row-major order.
pub fn fill_input(shape: &[usize]) -> Vec<f32> {
    let formula = Formula::input();
    (0..shape.iter().product()).map(|index| formula.element(index)).collect()
}

/// Fowler, Noll and Vo's hash 1a.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// Steele, Lea and Flood's SplitMix64, cut to 24 bits.
fn unit(hash: u64, index: u64) -> f64 {
    let z = hash.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    let z = z ^ z >> 31;
    (z >> 40) as f64 / (1_u64 << 24) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements 0, 1, 7 and 23, computed by another program from the same table.
    #[test]
    fn values_are_the_formula_s() {
        let check = |values: Vec<f32>, bits: [u32; 4]| assert_eq!([0, 1, 7, 23].map(|i| values[i].to_bits()), bits);
        check(
            fill("conv1.weight", Kind::Kernel, &[8, 3, 3, 3], 3.0),
            [0x3cf6_2b55, 0x3e27_5d1d, 0xbe8e_8f0c, 0xbc9a_86d5],
        );
        check(fill("bn1.weight", Kind::Gamma, &[32], 2.0), [0x3f5c_3654, 0x3fa9_863c, 0xbf27_ee65, 0xbf6a_1ec7]);
        check(fill("bn1.running_var", Kind::Var, &[32], 2.0), [0x3f92_3722, 0x3fa4_b456, 0x3f29_c31a, 0x3f27_f3ea]);
        check(fill("bn1.running_mean", Kind::Mean, &[32], 2.0), [0x3dc0_0fb6, 0x3d24_da86, 0x3e1f_b82a, 0x3e27_4f72]);
        check(fill("fc.bias", Kind::Bias, &[32], 2.0), [0xbb92_76e6, 0xbb7c_8d66, 0xbd2b_394d, 0xbd18_4083]);
        check(fill_input(&[1, 3, 4, 4]), [0xbfcd_eac2, 0x3f1c_045c, 0x3fff_b854, 0x3fda_db1e]);
    }
}
