//! What the C interface of a network is made of: results as numbers, the last error of each thread, checked pointers.
//!
//! Whatever a caller can get wrong and a pointer can tell is a [`Status`] with a text. A panic, which is a defect of this
//! code, cannot be given back: it ends the process, as it does in every function with C's calling convention.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::{ptr, slice};

use super::arena::OutOfMemory;
use super::detect::UnknownTarget;
use super::model::{LoadError, Model, Weights};
use super::network::Network;
use super::session::{RunError, Session, Threads};
use super::target::Target;
use super::tensor::{DType, Elements, ElementsMut, TensorInfo};

/// What a call gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is done.
    Ok = 0,
    /// A pointer is null, not aligned for what it points to, or overlaps another.
    Pointer = 1,
    /// An input or output has another length.
    Length = 2,
    /// There is no such target, the network was built without it, or the processor lacks it.
    Target = 3,
    /// The weights are not this network's.
    Weights = 4,
    /// There is no memory.
    Memory = 5,
}

impl Status {
    /// All of them, by number.
    pub const ALL: [Self; 6] = [Self::Ok, Self::Pointer, Self::Length, Self::Target, Self::Weights, Self::Memory];
}

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

impl From<OutOfMemory> for Failure {
    fn from(error: OutOfMemory) -> Self {
        Self::new(Status::Memory, error)
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

/// Starts a session with so many threads. Null stands in `*place` where that fails.
///
/// # Safety
/// `model` is null or came from [`load`] and is not freed; `place` is null or valid for writing a pointer.
pub unsafe fn session(model: *const Model, threads: usize, place: *mut *mut Session) -> c_int {
    // SAFETY: the caller's contract.
    number(unsafe {
        give("session", place, || {
            let model = model.as_ref().ok_or_else(|| null("model"))?;
            let session = model.session(Threads::new(threads));
            session.memory()?;
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
    let network = session.model().network();
    number(check(network, &inputs, &outputs).and_then(|()| {
        let (mut input_infos, mut output_infos) = (network.inputs().iter(), network.outputs().iter());
        // SAFETY: the pointers are aligned and, by the caller's contract, valid for the lengths, which are the network's;
        // what is written overlaps nothing.
        let inputs = inputs.map(|(input, len)| unsafe { elements(next_type(&mut input_infos), input, len) });
        // SAFETY: as above.
        let mut outputs =
            outputs.map(|(output, len)| unsafe { elements_mut(next_type(&mut output_infos), output, len) });
        Ok(session.run_into(&inputs, &mut outputs)?)
    }))
}

/// The type of the next tensor; a network that has fewer than it is given refuses them by their number.
fn next_type<'a>(infos: &mut impl Iterator<Item = &'a TensorInfo>) -> DType {
    infos.next().map_or(DType::U8, |info| info.dtype)
}

/// Elements of a type.
///
/// # Safety
/// `start` is aligned and valid for reading `len` of them for as long as they are used.
unsafe fn elements<'a>(dtype: DType, start: *const c_void, len: usize) -> Elements<'a> {
    // SAFETY: the caller's contract.
    unsafe {
        match dtype {
            DType::F32 => Elements::F32(slice::from_raw_parts(start.cast(), len)),
            DType::I32 => Elements::I32(slice::from_raw_parts(start.cast(), len)),
            DType::I8 => Elements::I8(slice::from_raw_parts(start.cast(), len)),
            DType::U8 => Elements::U8(slice::from_raw_parts(start.cast(), len)),
        }
    }
}

/// Elements of a type, to be written.
///
/// # Safety
/// `start` is aligned and valid for writing `len` of them for as long as they are used, and nobody else uses them.
unsafe fn elements_mut<'a>(dtype: DType, start: *mut c_void, len: usize) -> ElementsMut<'a> {
    // SAFETY: the caller's contract.
    unsafe {
        match dtype {
            DType::F32 => ElementsMut::F32(slice::from_raw_parts_mut(start.cast(), len)),
            DType::I32 => ElementsMut::I32(slice::from_raw_parts_mut(start.cast(), len)),
            DType::I8 => ElementsMut::I8(slice::from_raw_parts_mut(start.cast(), len)),
            DType::U8 => ElementsMut::U8(slice::from_raw_parts_mut(start.cast(), len)),
        }
    }
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

/// Whether the pointers are what their network's inputs and outputs ask for.
fn check(
    network: &Network,
    inputs: &[(*const c_void, usize)],
    outputs: &[(*mut c_void, usize)],
) -> Result<(), Failure> {
    let read = network.inputs().iter().zip(inputs).map(|(&info, &(start, len))| (info, start, len));
    let written = network.outputs().iter().zip(outputs).map(|(&info, &(start, len))| (info, start.cast_const(), len));
    for (tensor, start, given) in read.clone().chain(written.clone()) {
        if start.is_null() {
            return Err(null(tensor.name));
        }
        if !start.addr().is_multiple_of(tensor.dtype.size()) {
            let message = format!("`{}` is not aligned for elements of type {}", tensor.name, tensor.dtype);
            return Err(Failure::new(Status::Pointer, message));
        }
        if given != tensor.len() {
            return Err(RunError::Length { tensor, given }.into());
        }
    }
    let bytes = |(tensor, start, len): (TensorInfo, *const c_void, usize)| {
        start.addr()..start.addr().saturating_add(len * tensor.dtype.size())
    };
    for (index, (output, start, len)) in written.clone().enumerate() {
        let own = bytes((output, start, len));
        for (other, other_start, other_len) in read.clone().chain(written.clone().take(index)) {
            let others = bytes((other, other_start, other_len));
            if own.start < others.end && others.start < own.end {
                let message = format!("`{}` and `{}` overlap", other.name, output.name);
                return Err(Failure::new(Status::Pointer, message));
            }
        }
    }
    Ok(())
}

/// Makes something and puts a pointer to it in `place`: null where that fails.
///
/// # Safety
/// `place` is null or valid for writing a pointer.
unsafe fn give<T>(name: &str, place: *mut *mut T, make: impl FnOnce() -> Result<T, Failure>) -> Result<(), Failure> {
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

fn null(name: &str) -> Failure {
    Failure::new(Status::Pointer, format!("`{name}` is null"))
}
