//! What the C interface of a network is made of: results as numbers, the last error of each thread, checked pointers.
//!
//! Whatever a caller can get wrong and a pointer can tell is a [`Status`] with a text. A panic, which is a defect of this
//! code, cannot be given back: it ends the process, as it does in every function with C's calling convention.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::{ptr, slice};

use super::detect::UnknownTarget;
use super::model::{LoadError, Model, Weights};
use super::network::Network;
use super::pointers::{self, PointerError, Status};
use super::session::{RunError, Session, Threads};
use super::target::Target;

/// Why a call failed.
#[derive(Debug)]
pub struct Failure {
    status: Status,
    message: String,
}

impl Failure {
    fn new(status: Status, message: impl ToString) -> Self {
        Self { status, message: message.to_string() }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let status = match error {
            LoadError::Weights(_) => Status::Weights,
            LoadError::NotAvailable { .. } | LoadError::NotBuilt { .. } | LoadError::NoTarget { .. } => Status::Target,
            LoadError::OutOfMemory(_) => Status::Memory,
        };
        Self::new(status, error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let status = match error {
            RunError::OutOfMemory(_) => Status::Memory,
            RunError::Threads(_) => Status::Threads,
            RunError::Length { .. }
            | RunError::Type { .. }
            | RunError::InputCount { .. }
            | RunError::OutputCount { .. }
            | RunError::UnknownInput { .. }
            | RunError::RepeatedInput { .. }
            | RunError::MissingInput { .. } => Status::Length,
        };
        Self::new(status, error)
    }
}

impl From<PointerError> for Failure {
    fn from(error: PointerError) -> Self {
        Self::new(error.status(), error)
    }
}

impl From<UnknownTarget> for Failure {
    fn from(error: UnknownTarget) -> Self {
        Self::new(Status::Target, error)
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// The text of the last call of this thread that failed, empty if none did: valid until the next call on this thread.
pub fn last_error() -> *const c_char {
    // The thread's data is gone only while it ends.
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// The number of a call's result; the text of a failure is kept for [`last_error`].
fn number(result: Result<(), Failure>) -> c_int {
    let Err(Failure { status, message }) = result else { return Status::Ok as c_int };
    let text = CString::new(message.replace('\0', " ")).unwrap_or_default();
    let _ = LAST_ERROR.try_with(|last| last.replace(text));
    status as c_int
}

/// Loads a model: `target` is a name, or null for the best one that this processor has. Null stands in `*place` where that
/// fails.
///
/// # Safety
/// `target` is null or a text that ends with a zero; `place` is null or valid for writing a pointer.
pub unsafe fn load(
    network: &'static Network,
    weights: Weights<'_>,
    target: *const c_char,
    place: *mut *mut Model,
) -> c_int {
    // SAFETY: the caller's contract.
    number(unsafe {
        give("model", place, || {
            let target = if target.is_null() { None } else { Some(named(CStr::from_ptr(target))?) };
            Ok(Model::from_packed(network, weights, target)?)
        })
    })
}

/// Loads a model with a weights file in memory, whose data is copied.
///
/// # Safety
/// As for [`load`], and `weights` is null or valid for reading `bytes` bytes.
pub unsafe fn load_from(
    network: &'static Network,
    weights: *const u8,
    bytes: usize,
    target: *const c_char,
    place: *mut *mut Model,
) -> c_int {
    let expected = network.weights().bytes;
    if weights.is_null() {
        return number(Err(null("weights")));
    }
    // No more is read than a whole file has, so that an absurd length is a long file and nothing else.
    let read = bytes.min(expected.saturating_add(1));
    // SAFETY: the caller's contract; the length is at most that of a file.
    let file = unsafe { slice::from_raw_parts(weights, read) };
    // SAFETY: the caller's contract.
    unsafe { load(network, Weights::Bytes(file), target, place) }
}

/// Starts a session with so many threads, of those that sessions can have, but no more than the machine has processors. Null
/// stands in `*place` where that fails.
///
/// # Safety
/// `model` is null or came from [`load`] and is not freed; `place` is null or valid for writing a pointer.
pub unsafe fn session(model: *const Model, threads: usize, place: *mut *mut Session) -> c_int {
    // SAFETY: the caller's contract.
    number(unsafe {
        give("session", place, || {
            let model = model.as_ref().ok_or_else(|| null("model"))?;
            Threads::exactly(threads).count().map_err(RunError::Threads)?;
            let session = model.session(Threads::new(threads));
            session.ready()?;
            Ok(session)
        })
    })
}

/// The name of the target that a model runs on; null for null.
///
/// # Safety
/// `model` is null or came from [`load`] and is not freed.
pub unsafe fn target(model: *const Model) -> *const c_char {
    // SAFETY: the caller's contract.
    let Some(model) = (unsafe { model.as_ref() }) else { return ptr::null() };
    let name = match model.target() {
        Target::Avx512 => c"avx512",
        Target::Avx2 => c"avx2",
        Target::Base => c"base",
        Target::Neon => c"neon",
        Target::Portable => c"portable",
    };
    name.as_ptr()
}

/// Runs once, with inputs and outputs in the network's order, each with its length in elements.
///
/// # Safety
/// `session` is null or came from [`session`], is not freed, and nobody else uses it meanwhile. Each pointer to the
/// elements of an input or output is null or valid for its length in elements of the network's type.
pub unsafe fn run<const I: usize, const O: usize>(
    session: *mut Session,
    inputs: [(*const c_void, usize); I],
    outputs: [(*mut c_void, usize); O],
) -> c_int {
    // SAFETY: the caller's contract.
    let Some(session) = (unsafe { session.as_mut() }) else { return number(Err(null("session"))) };
    // SAFETY: the caller's contract; the elements are used until this returns.
    let elements = unsafe { pointers::elements(session.model().network(), inputs, outputs) };
    number(elements.map_err(Failure::from).and_then(|(inputs, mut outputs)| {
        session.run_into(&inputs, &mut outputs)?;
        Ok(())
    }))
}

/// Frees what a call gave; null is nothing.
///
/// # Safety
/// `given` is null, or a call gave it and it is not freed yet.
pub unsafe fn free<T>(given: *mut T) {
    if !given.is_null() {
        // SAFETY: `give` made the pointer from a box.
        drop(unsafe { Box::from_raw(given) });
    }
}

/// Makes something and puts a pointer to it in `place`: null where that fails.
///
/// # Safety
/// `place` is null or valid for writing a pointer.
unsafe fn give<T>(
    name: &'static str,
    place: *mut *mut T,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    if place.is_null() {
        return Err(null(name));
    }
    if !place.is_aligned() {
        return Err(Failure::new(Status::Pointer, format!("the place for `{name}` is not aligned for a pointer")));
    }
    let (pointer, result) = match make() {
        Ok(value) => (Box::into_raw(Box::new(value)), Ok(())),
        Err(failure) => (ptr::null_mut(), Err(failure)),
    };
    // SAFETY: the caller's contract, and the place is aligned.
    unsafe { place.write(pointer) };
    result
}

fn named(name: &CStr) -> Result<Target, Failure> {
    Ok(name.to_string_lossy().parse::<Target>()?)
}

fn null(name: &'static str) -> Failure {
    PointerError::Null { name }.into()
}
