//! Aligned memory.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::{error, fmt};

/// Where every buffer starts: a cache line, which is also the widest vector.
pub const ALIGNMENT: usize = 64;

/// A buffer of `f32`, zeroed when made, on a cache line.
pub struct AlignedBuf {
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: the buffer is owned, like a Box of a slice: moving it to another thread leaves no other owner behind.
unsafe impl Send for AlignedBuf {}
// SAFETY: a shared buffer gives out shared slices, and a raw pointer whose use is up to unsafe code.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of `len` zeros.
    ///
    /// # Errors
    /// When the system does not give the memory; nothing aborts.
    pub fn zeroed(len: usize) -> Result<Self, OutOfMemory> {
        let error = OutOfMemory { bytes: len.saturating_mul(size_of::<f32>()) };
        let layout = Self::layout(len).ok_or(error)?;
        if len == 0 {
            return Ok(Self { start: NonNull::<CacheLine>::dangling().cast(), len });
        }
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        // Zeroed bytes are the f32 +0.
        NonNull::new(start.cast()).map(|start| Self { start, len }).ok_or(error)
    }

    /// A copy of `elements`.
    ///
    /// # Errors
    /// As [`AlignedBuf::zeroed`].
    pub fn copied(elements: &[f32]) -> Result<Self, OutOfMemory> {
        let mut buffer = Self::zeroed(elements.len())?;
        buffer.as_mut_slice().copy_from_slice(elements);
        Ok(buffer)
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: start is valid for len initialized elements as long as self lives, and self is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The elements, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in as_slice, and self is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The first element, for code that shares the buffer between workers. No reference is made: who writes through
    /// the pointer sees to it that no slice of the buffer is in use.
    pub fn base(&self) -> *mut f32 {
        self.start.as_ptr()
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len.checked_mul(size_of::<f32>())?, ALIGNMENT).ok()
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len).filter(|layout| layout.size() > 0) {
            // SAFETY: a buffer that is not empty was allocated with the layout of its length, which never changes.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) }
        }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} elements)", self.len)
    }
}

/// Stands for the alignment of an empty buffer's pointer.
#[repr(align(64))]
struct CacheLine;

/// Memory that the system did not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// How much was asked for.
    pub bytes: usize,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory: {} bytes were not to be had", self.bytes)
    }
}

impl error::Error for OutOfMemory {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zeroed_and_aligned() {
        for len in [0, 1, 15, 16, 1000] {
            let mut buffer = AlignedBuf::zeroed(len).unwrap();
            assert_eq!(buffer.base().addr() % ALIGNMENT, 0);
            assert_eq!(buffer.as_slice(), vec![0.0; len]);
            buffer.as_mut_slice().fill(1.0);
            assert_eq!(AlignedBuf::copied(buffer.as_slice()).unwrap().as_slice(), vec![1.0; len]);
        }
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4] {
            assert!(AlignedBuf::zeroed(len).is_err());
        }
    }
}
