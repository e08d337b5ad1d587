//! What the C interface of a network is made of where there is no system: a session on memory that the caller lends.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::{ptr, slice};

use super::lent::{LentError, LentSession};
use super::network::Network;
use super::plan::Plan;
use super::pointers::{self, Status};
use super::target::{AvailableTarget, Target};

/// A cache line: where the session, its arena and its scratch start in what is lent.
const LINE: usize = 64;

/// What the session itself takes.
const SESSION: usize = 2 * LINE;
const _: () = assert!(size_of::<LentSession<'static>>() <= SESSION && align_of::<LentSession<'static>>() <= LINE);

/// The bytes that are to be lent, at any address, for an arena and a scratch of so many elements.
pub const fn lent_bytes(arena: usize, scratch: usize) -> usize {
    LINE - 1 + SESSION + (4 * arena).next_multiple_of(LINE) + 4 * scratch
}

/// Makes a session in lent memory, with a weights file that is used in place. `target` is a name, or null for the best that
/// the program as a whole is compiled for. Null stands in `*place` where that fails.
///
/// # Safety
/// - `memory` is null or valid for `bytes` bytes, and nobody else uses them for as long as the session is used.
/// - `weights` is null or valid for reading `weights_bytes` bytes, and unchanged, as long.
/// - `target` is null or a text that ends with a zero, and the processor has the target that it names.
/// - `place` is null or valid for writing a pointer.
pub unsafe fn lent(
    network: &'static Network,
    memory: *mut c_void,
    bytes: usize,
    weights: *const c_void,
    weights_bytes: usize,
    target: *const c_char,
    place: *mut *mut LentSession<'static>,
) -> c_int {
    if place.is_null() || !place.is_aligned() {
        return Status::Pointer as c_int;
    }
    // SAFETY: the caller's contract.
    let (session, status) = match unsafe { make(network, memory, bytes, weights, weights_bytes, target) } {
        Ok(session) => (session, Status::Ok),
        Err(status) => (ptr::null_mut(), status),
    };
    // SAFETY: the caller's contract, and the place is aligned.
    unsafe { place.write(session) };
    status as c_int
}

/// # Safety
/// As for [`lent`].
unsafe fn make(
    network: &'static Network,
    memory: *mut c_void,
    bytes: usize,
    weights: *const c_void,
    weights_bytes: usize,
    target: *const c_char,
) -> Result<*mut LentSession<'static>, Status> {
    if memory.is_null() || weights.is_null() {
        return Err(Status::Pointer);
    }
    // SAFETY: the caller's contract.
    let target = unsafe { available(network, target) }.ok_or(Status::Target)?;
    let plan = network.plans().iter().find(|plan| plan.target == target.target()).ok_or(Status::Target)?;
    let &Plan { arena, scratch, .. } = plan;
    if bytes < lent_bytes(arena, scratch) {
        return Err(Status::Memory);
    }
    // No more is read than a whole file has, so that an absurd length is a long file and nothing else.
    let read = weights_bytes.min(network.weights().bytes.saturating_add(1));
    // SAFETY: the caller's contract; the length is at most that of a file.
    let weights = unsafe { slice::from_raw_parts(weights.cast::<u8>(), read) };
    let start = memory.cast::<u8>();
    // SAFETY: of what is lent, at least `lent_bytes`, a line less one byte is for this step, then come the session, the arena
    // up to a whole line, and the scratch. The memory is the caller's, who uses it no more; its bytes are set, so that they
    // are elements; what the slices and the session lie in is apart and aligned to a line.
    unsafe {
        let session = start.add(start.align_offset(LINE));
        let arena_at = session.add(SESSION);
        let scratch_at = arena_at.add((4 * arena).next_multiple_of(LINE));
        arena_at.write_bytes(0, 4 * arena);
        scratch_at.write_bytes(0, 4 * scratch);
        let arena = slice::from_raw_parts_mut(arena_at.cast::<f32>(), arena);
        let scratch = slice::from_raw_parts_mut(scratch_at.cast::<f32>(), scratch);
        let made = LentSession::new(network, target, weights, arena, scratch).map_err(|error| status(&error))?;
        let session = session.cast::<LentSession<'static>>();
        session.write(made);
        Ok(session)
    }
}

/// The target of a name, or for none the best of the network's that the program as a whole is compiled for.
///
/// # Safety
/// `name` is null or a text that ends with a zero, and the processor has the target that it names.
unsafe fn available(network: &Network, name: *const c_char) -> Option<AvailableTarget> {
    if name.is_null() {
        return network.plans().iter().find_map(|plan| AvailableTarget::compiled_in(plan.target));
    }
    // SAFETY: the caller's contract.
    let name = unsafe { CStr::from_ptr(name) };
    let target = Target::ALL.into_iter().find(|target| target.name().as_bytes() == name.to_bytes())?;
    // SAFETY: the caller vouches for it.
    Some(unsafe { AvailableTarget::assume(target) })
}

/// Runs once, with inputs and outputs in the network's order, each with its length in elements.
///
/// # Safety
/// `session` is null or came from [`lent`], and nobody else uses it meanwhile. Each pointer to the elements of an input or
/// output is null or valid for its length in elements of the network's type.
pub unsafe fn run_lent<const I: usize, const O: usize>(
    session: *mut LentSession<'static>,
    inputs: [(*const c_void, usize); I],
    outputs: [(*mut c_void, usize); O],
) -> c_int {
    // SAFETY: the caller's contract.
    let Some(session) = (unsafe { session.as_mut() }) else { return Status::Pointer as c_int };
    // SAFETY: the caller's contract; the elements are used until this returns.
    let status = match unsafe { pointers::elements(session.network(), inputs, outputs) } {
        Ok((inputs, outputs)) => session.run(inputs, outputs).map_or_else(|error| status(&error), |()| Status::Ok),
        Err(error) => error.status(),
    };
    status as c_int
}

fn status(error: &LentError) -> Status {
    match error {
        LentError::NotBuilt { .. } => Status::Target,
        LentError::Arena { .. } | LentError::Scratch { .. } => Status::Memory,
        LentError::Weights(_) | LentError::ByteOrder => Status::Weights,
        LentError::Alignment => Status::Pointer,
        LentError::Count | LentError::Type { .. } | LentError::Length { .. } => Status::Length,
    }
}
