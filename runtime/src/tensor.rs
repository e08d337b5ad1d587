//! What a network says about its inputs and outputs.

use core::fmt;

/// An input or output: dense `f32` in row-major order of its logical shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the network's declaration.
    pub name: &'static str,
    /// The logical extents, N, C, H, W for images.
    pub shape: &'static [usize],
}

impl TensorInfo {
    /// How many elements it has: the product of its shape, 1 for a scalar.
    pub const fn len(&self) -> usize {
        let mut len = 1;
        let mut axis = 0;
        while axis < self.shape.len() {
            len *= self.shape[axis];
            axis += 1;
        }
        len
    }

    /// Whether an extent is 0.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for TensorInfo {
    /// As in `image [1x3x224x224]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [", self.name)?;
        for (axis, extent) in self.shape.iter().enumerate() {
            write!(f, "{}{extent}", if axis == 0 { "" } else { "x" })?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_text() {
        const IMAGE: TensorInfo = TensorInfo { name: "image", shape: &[1, 3, 8, 8] };
        const LEN: usize = IMAGE.len();
        assert_eq!((LEN, IMAGE.to_string().as_str()), (192, "image [1x3x8x8]"));
        assert_eq!(TensorInfo { name: "s", shape: &[] }.len(), 1);
        assert!(TensorInfo { name: "none", shape: &[3, 0] }.is_empty());
    }
}
