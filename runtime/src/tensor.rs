//! What a network says about its inputs and outputs, and what it is given for them.

use core::fmt;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// `f32`
    F32,
    /// `i32`
    I32,
    /// `i8`
    I8,
    /// `u8`
    U8,
}

impl DType {
    /// Bytes of an element, which are also its alignment.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::I8 | Self::U8 => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::I8 => "i8",
            Self::U8 => "u8",
        })
    }
}

/// The elements of an input or output, read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elements<'a> {
    /// Of [`DType::F32`].
    F32(&'a [f32]),
    /// Of [`DType::I32`].
    I32(&'a [i32]),
    /// Of [`DType::I8`].
    I8(&'a [i8]),
    /// Of [`DType::U8`].
    U8(&'a [u8]),
}

/// The elements of an output, written.
#[derive(Debug, PartialEq)]
pub enum ElementsMut<'a> {
    /// Of [`DType::F32`].
    F32(&'a mut [f32]),
    /// Of [`DType::I32`].
    I32(&'a mut [i32]),
    /// Of [`DType::I8`].
    I8(&'a mut [i8]),
    /// Of [`DType::U8`].
    U8(&'a mut [u8]),
}

impl Elements<'_> {
    /// Their type.
    pub const fn dtype(self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::I32(_) => DType::I32,
            Self::I8(_) => DType::I8,
            Self::U8(_) => DType::U8,
        }
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::I32(elements) => elements.len(),
            Self::I8(elements) => elements.len(),
            Self::U8(elements) => elements.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Where they start. The pointer is for elements of their own type, whatever it says.
    pub(crate) const fn base(self) -> *const f32 {
        match self {
            Self::F32(elements) => elements.as_ptr(),
            Self::I32(elements) => elements.as_ptr().cast(),
            Self::I8(elements) => elements.as_ptr().cast(),
            Self::U8(elements) => elements.as_ptr().cast(),
        }
    }
}

impl ElementsMut<'_> {
    /// The same, to be read.
    pub const fn as_elements(&self) -> Elements<'_> {
        match self {
            Self::F32(elements) => Elements::F32(elements),
            Self::I32(elements) => Elements::I32(elements),
            Self::I8(elements) => Elements::I8(elements),
            Self::U8(elements) => Elements::U8(elements),
        }
    }

    /// Where they start. The pointer is for elements of their own type, whatever it says.
    pub(crate) const fn base(&mut self) -> *mut f32 {
        match self {
            Self::F32(elements) => elements.as_mut_ptr(),
            Self::I32(elements) => elements.as_mut_ptr().cast(),
            Self::I8(elements) => elements.as_mut_ptr().cast(),
            Self::U8(elements) => elements.as_mut_ptr().cast(),
        }
    }
}

/// What inputs and outputs have elements of.
pub trait Element: Copy + Sized {
    /// Its type.
    const DTYPE: DType;

    /// The elements, if they are of this type.
    fn elements(of: Elements<'_>) -> Option<&[Self]>;
}

macro_rules! element {
    ($($name:ident $variant:ident),*) => {
        $(impl Element for $name {
            const DTYPE: DType = DType::$variant;

            fn elements(of: Elements<'_>) -> Option<&[Self]> {
                if let Elements::$variant(elements) = of { Some(elements) } else { None }
            }
        }

        impl<'a> From<&'a [$name]> for Elements<'a> {
            fn from(elements: &'a [$name]) -> Self {
                Self::$variant(elements)
            }
        }

        impl<'a, const N: usize> From<&'a [$name; N]> for Elements<'a> {
            fn from(elements: &'a [$name; N]) -> Self {
                Self::$variant(elements)
            }
        }

        impl<'a> From<&'a mut [$name]> for ElementsMut<'a> {
            fn from(elements: &'a mut [$name]) -> Self {
                Self::$variant(elements)
            }
        }

        impl<'a, const N: usize> From<&'a mut [$name; N]> for ElementsMut<'a> {
            fn from(elements: &'a mut [$name; N]) -> Self {
                Self::$variant(elements)
            }
        })*
    };
}

element!(f32 F32, i32 I32, i8 I8, u8 U8);

/// An input or output: dense, in row-major order of its logical shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the network's declaration.
    pub name: &'static str,
    /// The type of its elements.
    pub dtype: DType,
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
    /// As in `image [1x3x224x224]`, and `pixels u8 [1x3x96x96]` where elements are not f32.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.dtype != DType::F32 {
            write!(f, " {}", self.dtype)?;
        }
        f.write_str(" [")?;
        for (axis, extent) in self.shape.iter().enumerate() {
            write!(f, "{}{extent}", if axis == 0 { "" } else { "x" })?;
        }
        f.write_str("]")
    }
}

/// So many of something, in words: `1 element`, `2 elements`.
pub(super) struct Counted(pub(super) usize, pub(super) &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// The same before what was done with them: `1 was`, `2 were`.
pub(super) struct Were(pub(super) usize);

impl fmt::Display for Were {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "was" } else { "were" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_text() {
        const IMAGE: TensorInfo = TensorInfo { name: "image", dtype: DType::F32, shape: &[1, 3, 8, 8] };
        const LEN: usize = IMAGE.len();
        assert_eq!((LEN, IMAGE.to_string().as_str()), (192, "image [1x3x8x8]"));
        assert_eq!(TensorInfo { dtype: DType::U8, ..IMAGE }.to_string(), "image u8 [1x3x8x8]");
        assert_eq!(TensorInfo { name: "s", dtype: DType::I8, shape: &[] }.len(), 1);
        assert!(TensorInfo { name: "none", dtype: DType::F32, shape: &[3, 0] }.is_empty());
    }
}
