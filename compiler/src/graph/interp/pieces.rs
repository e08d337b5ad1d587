//! Values computed piece by piece.

use std::sync::Mutex;
use std::thread;

/// Values of fewer elements are not worth a thread.
const SMALL: usize = 1 << 12;

/// Computes the pieces of a value, `len` elements each, on all processors. No piece sees another, so that it does not
/// matter which thread computes it.
pub(super) fn each_piece<E: Send>(value: &mut [E], len: usize, compute: impl Fn(usize, &mut [E]) + Sync) {
    let threads = if value.len() < SMALL { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    let pieces = Mutex::new(value.chunks_mut(len.max(1)).enumerate());
    let next = || pieces.lock().ok()?.next();
    let work = || {
        while let Some((index, piece)) = next() {
            compute(index, piece);
        }
    };
    thread::scope(|scope| {
        // A thread that cannot be had leaves its share to the others.
        (1..threads).for_each(|_| drop(thread::Builder::new().spawn_scoped(scope, work)));
        work();
    });
}
