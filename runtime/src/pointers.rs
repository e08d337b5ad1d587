//! What C hands over for the inputs and outputs of a network, made into slices as far as pointers can tell that they are
//! some; and what calls from C give back.

use core::ffi::c_void;
use core::{error, fmt, slice};

use super::network::Network;
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
    /// There is no memory, or too little was lent.
    Memory = 5,
    /// No session has so many threads, or none.
    Threads = 6,
}

impl Status {
    /// All of them, by number.
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::Pointer, Self::Length, Self::Target, Self::Weights, Self::Memory, Self::Threads];
}

/// What is wrong with a pointer or its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerError {
    /// It is null.
    Null {
        /// What it should point to.
        name: &'static str,
    },
    /// It is not aligned for the elements.
    Unaligned {
        /// The input or output.
        tensor: TensorInfo,
    },
    /// The input or output has another length.
    Length {
        /// The input or output.
        tensor: TensorInfo,
        /// The length that was given.
        given: usize,
    },
    /// What is written is a part of something else.
    Overlap {
        /// An input or output.
        one: TensorInfo,
        /// An output.
        other: TensorInfo,
    },
}

impl PointerError {
    /// What the call gives back.
    pub fn status(&self) -> Status {
        match self {
            Self::Null { .. } | Self::Unaligned { .. } | Self::Overlap { .. } => Status::Pointer,
            Self::Length { .. } => Status::Length,
        }
    }
}

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null { name } => write!(f, "`{name}` is null"),
            Self::Unaligned { tensor } => {
                write!(f, "`{}` is not aligned for elements of type {}", tensor.name, tensor.dtype)
            }
            Self::Length { tensor, given } => {
                write!(f, "`{}` has {} elements, but {given} were given", tensor.name, tensor.len())
            }
            Self::Overlap { one, other } => write!(f, "`{}` and `{}` overlap", one.name, other.name),
        }
    }
}

impl error::Error for PointerError {}

/// The elements of inputs and outputs in the network's order, each a pointer and a length in elements. A network that has
/// another number of them refuses them by that.
///
/// # Errors
/// See [`PointerError`].
///
/// # Safety
/// For as long as the elements are used, each pointer is null or valid for its length in elements of the network's type,
/// for writing where it is an output's, and nobody else uses those.
pub unsafe fn elements<'a, const I: usize, const O: usize>(
    network: &Network,
    inputs: [(*const c_void, usize); I],
    outputs: [(*mut c_void, usize); O],
) -> Result<([Elements<'a>; I], [ElementsMut<'a>; O]), PointerError> {
    check(network, &inputs, &outputs)?;
    let (mut input_infos, mut output_infos) = (network.inputs().iter(), network.outputs().iter());
    // SAFETY: the pointers are aligned and, by the caller's contract, valid for the lengths, which are the network's.
    let inputs = inputs.map(|(input, len)| unsafe { read(next_type(&mut input_infos), input, len) });
    // SAFETY: as above, and what is written overlaps nothing.
    let outputs = outputs.map(|(output, len)| unsafe { written(next_type(&mut output_infos), output, len) });
    Ok((inputs, outputs))
}

/// Whether the pointers are what their network's inputs and outputs ask for.
fn check(
    network: &Network,
    inputs: &[(*const c_void, usize)],
    outputs: &[(*mut c_void, usize)],
) -> Result<(), PointerError> {
    let read = network.inputs().iter().zip(inputs).map(|(&info, &(start, len))| (info, start, len));
    let written = network.outputs().iter().zip(outputs).map(|(&info, &(start, len))| (info, start.cast_const(), len));
    for (tensor, start, given) in read.clone().chain(written.clone()) {
        if start.is_null() {
            return Err(PointerError::Null { name: tensor.name });
        }
        if !start.addr().is_multiple_of(tensor.dtype.size()) {
            return Err(PointerError::Unaligned { tensor });
        }
        if given != tensor.len() {
            return Err(PointerError::Length { tensor, given });
        }
    }
    let bytes = |(tensor, start, len): (TensorInfo, *const c_void, usize)| {
        start.addr()..start.addr().saturating_add(len * tensor.dtype.size())
    };
    for (index, output) in written.clone().enumerate() {
        let own = bytes(output);
        for one in read.clone().chain(written.clone().take(index)) {
            let others = bytes(one);
            if own.start < others.end && others.start < own.end {
                return Err(PointerError::Overlap { one: one.0, other: output.0 });
            }
        }
    }
    Ok(())
}

/// The type of the next tensor; a network that has fewer than it is given refuses them by their number.
fn next_type<'a>(infos: &mut impl Iterator<Item = &'a TensorInfo>) -> DType {
    infos.next().map_or(DType::U8, |info| info.dtype)
}

/// Elements of a type.
///
/// # Safety
/// `start` is aligned and valid for reading `len` of them for as long as they are used.
unsafe fn read<'a>(dtype: DType, start: *const c_void, len: usize) -> Elements<'a> {
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
unsafe fn written<'a>(dtype: DType, start: *mut c_void, len: usize) -> ElementsMut<'a> {
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
