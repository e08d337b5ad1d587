//! Aligned memory.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::{error, fmt, slice};

use super::tensor::{DType, Elements};

/// Where every buffer starts: a cache line, which is also the widest vector.
pub const ALIGNMENT: usize = 64;

/// A huge page of x86-64 and, in its usual setting, of AArch64.
const HUGE_PAGE: usize = 2 << 20;

/// A buffer of `f32`, zeroed when made, on a cache line. Elements of other types lie in one as well.
///
/// A buffer of two huge pages or more starts at one, and is made of them where the system gives them. A network's arena
/// is written all over in every run: with pages of 4 KiB, making them takes longer than some networks' whole first run,
/// and looking up their addresses a few percent of every run.
pub struct AlignedBuf {
    start: NonNull<f32>,
    len: usize,
    /// What the allocator gave; `start` is the first aligned place in it.
    memory: NonNull<u8>,
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
        if len == 0 {
            let nothing = NonNull::<CacheLine>::dangling();
            return Ok(Self { start: nothing.cast(), len, memory: nothing.cast() });
        }
        let extent = Extent::of(len).ok_or(error)?;
        // SAFETY: the layout's size is not zero.
        let memory = NonNull::new(unsafe { alloc_zeroed(extent.layout) }).ok_or(error)?;
        // SAFETY: the layout has room for what is skipped, less than the alignment, before the aligned bytes.
        let mut start = unsafe { memory.add(memory.as_ptr().align_offset(extent.alignment)) };
        if extent.alignment == HUGE_PAGE {
            // One cache line behind the page's start: weights that are streamed lie at whole pages from each other, and
            // in an arena that also begins a page, convolutions of 512 channels were measured to take 20 % longer.
            // SAFETY: the aligned bytes lie in the allocation, which nobody else knows yet; they are one cache line more
            // than the buffer's, at least.
            start = unsafe {
                make_huge_pages(start, extent.aligned_bytes);
                start.add(ALIGNMENT)
            };
        }
        // Zeroed bytes are the f32 +0.
        Ok(Self { start: start.cast(), len, memory })
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
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The elements, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in as_slice, and self is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The first `len` elements, taken for some of this type.
    ///
    /// # Panics
    /// Where there is no room for so many.
    pub fn elements(&self, dtype: DType, len: usize) -> Elements<'_> {
        assert!(len <= self.len.saturating_mul(size_of::<f32>() / dtype.size()), "{len} elements in {}", self.len);
        let start = self.start.as_ptr();
        // SAFETY: so many elements lie in the buffer, whose alignment does for them all; their bytes are initialized, and
        // any bytes are an element; self is borrowed.
        unsafe {
            match dtype {
                DType::F32 => Elements::F32(slice::from_raw_parts(start, len)),
                DType::I32 => Elements::I32(slice::from_raw_parts(start.cast(), len)),
                DType::I8 => Elements::I8(slice::from_raw_parts(start.cast(), len)),
                DType::U8 => Elements::U8(slice::from_raw_parts(start.cast(), len)),
            }
        }
    }

    /// The first element, for code that shares the buffer between workers. No reference is made: who writes through
    /// the pointer sees to it that no slice of the buffer is in use.
    pub fn base(&self) -> *mut f32 {
        self.start.as_ptr()
    }
}

/// What a buffer asks of the allocator.
struct Extent {
    alignment: usize,
    /// The buffer's bytes, up to a whole huge page if it starts on one.
    aligned_bytes: usize,
    layout: Layout,
}

impl Extent {
    /// That of `len` elements, unless so many bytes cannot be asked for.
    fn of(len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<f32>())?;
        let alignment = if bytes < 2 * HUGE_PAGE { ALIGNMENT } else { HUGE_PAGE };
        let aligned_bytes = match alignment {
            HUGE_PAGE => bytes.checked_add(ALIGNMENT)?.checked_next_multiple_of(HUGE_PAGE)?,
            _ => bytes,
        };
        // The alignment is made here, out of more room: allocators clear memory that they align, byte by byte, even if
        // it comes zeroed from the system. Room that is never touched is no memory.
        let layout = Layout::from_size_align(aligned_bytes.checked_add(alignment)?, size_of::<f32>()).ok()?;
        Some(Self { alignment, aligned_bytes, layout })
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if let Some(extent) = Extent::of(self.len).filter(|_| self.len > 0) {
            // SAFETY: a buffer that is not empty was allocated with the layout of its length, which never changes.
            unsafe { dealloc(self.memory.as_ptr(), extent.layout) }
        }
    }
}

/// Asks the system to make `bytes` from `start` on of huge pages, and to do so now, not one by one in the first run.
/// Their content stays; a system that cannot is no error, as the memory is as good in small pages.
///
/// # Safety
/// The bytes belong to the caller.
#[cfg(target_os = "linux")]
unsafe fn make_huge_pages(start: NonNull<u8>, bytes: usize) {
    use std::ffi::{c_int, c_void};

    /// Linux's `MADV_HUGEPAGE` and, since 5.14, `MADV_POPULATE_WRITE`.
    const ADVICE: [c_int; 2] = [14, 23];

    unsafe extern "C" {
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }

    for advice in ADVICE {
        // SAFETY: neither advice changes what the bytes hold, and they are the caller's.
        unsafe { madvise(start.as_ptr().cast(), bytes, advice) };
    }
}

/// Elsewhere the allocator's pages stay as they are.
///
/// # Safety
/// None is needed; it is that of the function for Linux.
#[cfg(not(target_os = "linux"))]
unsafe fn make_huge_pages(_: NonNull<u8>, _: usize) {}

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
    fn large_buffers_start_on_a_huge_page() {
        for bytes in [2 * HUGE_PAGE, 3 * HUGE_PAGE + 4] {
            let mut buffer = AlignedBuf::zeroed(bytes / 4).unwrap();
            assert_eq!((buffer.base().addr() % HUGE_PAGE, buffer.len()), (ALIGNMENT, bytes / 4));
            assert!(buffer.as_slice().iter().all(|element| element.to_bits() == 0));
            buffer.as_mut_slice().fill(1.0);
            assert_eq!(AlignedBuf::copied(buffer.as_slice()).unwrap().as_slice(), buffer.as_slice());
        }
        let below = Extent::of(HUGE_PAGE / 2 - 1).unwrap();
        assert_eq!((below.alignment, below.aligned_bytes), (ALIGNMENT, 2 * HUGE_PAGE - 4));
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4] {
            assert!(AlignedBuf::zeroed(len).is_err());
        }
    }
}
