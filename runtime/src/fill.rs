//! The weight formula.

/// What a weight is, which says how the formula fills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Kernels of convolutions and linear layers.
    Kernel,
    /// Scales.
    Gamma,
    /// Variances.
    Var,
    /// Means.
    Mean,
    /// Biases and shifts.
    Bias,
}

/// The weight `name`, in row-major order.
pub fn fill(name: &str, kind: Kind, shape: &[usize], gain: f64) -> Vec<f32> {
    let hash = fnv1a(name.as_bytes());
    let fan_in: f64 = shape.iter().skip(1).map(|&extent| extent as f64).product();
    let element = |i: usize| {
        let u = unit(hash, i as u64);
        let value = match kind {
            Kind::Kernel => (2.0 * u - 1.0) * (gain / fan_in).sqrt(),
            Kind::Gamma if i % 16 == 7 => -(0.5 + u),
            Kind::Gamma | Kind::Var => 0.5 + u,
            Kind::Mean => (2.0 * u - 1.0) * 0.2,
            Kind::Bias => (2.0 * u - 1.0) * 0.1,
        };
        value as f32
    };
    (0..shape.iter().product()).map(element).collect()
}

/// The input image, in row-major order.
pub fn fill_input(shape: &[usize]) -> Vec<f32> {
    let hash = fnv1a(b"input");
    (0..shape.iter().product()).map(|i: usize| ((2.0 * unit(hash, i as u64) - 1.0) * 2.0) as f32).collect()
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

fn unit(hash: u64, index: u64) -> f64 {
    let z = hash.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    let z = z ^ z >> 31;
    (z >> 40) as f64 / (1_u64 << 24) as f64
}
