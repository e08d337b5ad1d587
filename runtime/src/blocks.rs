//! Blocks, found in a memory by their offsets.

/// The blocks of a value that is read: block b lies `offsets[b]` elements past the base.
#[derive(Clone, Copy)]
pub struct Blocks<T = f32> {
    base: *const T,
    offsets: *const u32,
}

impl<T: Copy> Blocks<T> {
    /// Blocks at `offsets`, in elements, from `base` on.
    #[inline]
    pub fn new(base: *const T, offsets: &'static [u32]) -> Self {
        Self { base, offsets: offsets.as_ptr() }
    }

    /// Where block `block` starts.
    ///
    /// # Safety
    /// `block` is less than the number of offsets, and its offset lies within the allocation of the base.
    #[inline]
    pub unsafe fn at(self, block: usize) -> *const T {
        // SAFETY: the table is static and has a block-th entry; the sum stays in the base's allocation.
        unsafe { self.base.add(*self.offsets.add(block) as usize) }
    }
}

/// The blocks of a value that is written.
#[derive(Clone, Copy)]
pub struct BlocksMut<T = f32> {
    base: *mut T,
    offsets: *const u32,
}

impl<T: Copy> BlocksMut<T> {
    /// Blocks at `offsets`, in elements, from `base` on.
    #[inline]
    pub fn new(base: *mut T, offsets: &'static [u32]) -> Self {
        Self { base, offsets: offsets.as_ptr() }
    }

    /// Where block `block` starts.
    ///
    /// # Safety
    /// As [`Blocks::at`].
    #[inline]
    pub unsafe fn at(self, block: usize) -> *mut T {
        // SAFETY: the table is static and has a block-th entry; the sum stays in the base's allocation.
        unsafe { self.base.add(*self.offsets.add(block) as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_offset() {
        let mut buffer = [0.0; 64];
        buffer[48] = 3.0;
        let base = buffer.as_mut_ptr();
        let (read, write) = (Blocks::new(base, &[0, 48]), BlocksMut::new(base, &[16, 32]));
        // SAFETY: two offsets each, all below 64, the length of the buffer.
        unsafe {
            assert_eq!(*read.at(1), 3.0);
            *write.at(1) = 5.0;
        }
        assert_eq!(buffer[32], 5.0);
    }
}
