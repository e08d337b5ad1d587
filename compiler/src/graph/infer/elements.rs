//! Which operators compute with elements of which types.

use super::{TypeError, name};
use crate::graph::Filter;
use crate::graph::op::{Activation, Binary, F32, Op, Stage};
use crate::graph::{DType, TensorType};

/// Refuses operands of types that an operator does not compute with, or that do not mix.
pub(super) fn check_elements(op: &Op, operands: &[&TensorType]) -> Result<(), TypeError> {
    let Some(first) = operands.first().map(|ty| ty.dtype) else { return Ok(()) };
    let admitted: &[DType] = match op {
        Op::Conv(_) | Op::Linear(_) | Op::MatMul => &[DType::F32, DType::F64, DType::I32],
        Op::BatchNorm { .. } | Op::AvgPool(_) | Op::GlobalAvgPool | Op::Softmax { .. } => &[DType::F32, DType::F64],
        Op::Activate(activation) => {
            check_activation(*activation)?;
            activation_elements(*activation)
        }
        Op::Resize(resize) => match resize.filter {
            Filter::Nearest(_) => &DType::ALL,
            Filter::Linear => &[DType::F32, DType::F64],
        },
        Op::Binary(Binary::Pow) => &[DType::F32, DType::F64],
        Op::Binary(_) | Op::MaxPool(_) | Op::GlobalMaxPool => &NUMBERS,
        Op::Fused { before, after, .. } => {
            for stage in before.iter().chain(after) {
                if let Stage::Activate(activation) = stage {
                    check_activation(*activation)?;
                }
            }
            &[DType::F32]
        }
        Op::Input(_)
        | Op::Constant(_)
        | Op::Weight { .. }
        | Op::Cast(_)
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Dropout
        | Op::Identity => &DType::ALL,
    };
    if !admitted.contains(&first) {
        return Err(TypeError::new(format!("{} does not compute with elements of type {first}", name(op))));
    }
    match operands.iter().position(|ty| ty.dtype != first) {
        Some(other) => {
            let message = format!("elements of type {first} and {} do not mix", operands[other].dtype);
            Err(TypeError { operand: Some(other), ..TypeError::new(message) })
        }
        None => Ok(()),
    }
}

/// All types but truth values.
const NUMBERS: [DType; 6] = [DType::F32, DType::F64, DType::I64, DType::I32, DType::I8, DType::U8];

fn activation_elements(activation: Activation) -> &'static [DType] {
    match activation {
        Activation::Relu | Activation::Clip { .. } | Activation::LeakyRelu { .. } | Activation::Abs => &NUMBERS,
        Activation::Elu { .. }
        | Activation::Sigmoid
        | Activation::HardSigmoid
        | Activation::Tanh
        | Activation::Silu
        | Activation::HardSwish
        | Activation::Gelu
        | Activation::GeluTanh
        | Activation::Exp
        | Activation::Log
        | Activation::Sqrt
        | Activation::Erf
        | Activation::Softplus
        | Activation::Mish
        | Activation::Quantize { .. } => &[DType::F32, DType::F64],
    }
}

fn check_activation(activation: Activation) -> Result<(), TypeError> {
    let Activation::Quantize { scale, zero, lo, hi } = activation else { return Ok(()) };
    let is_integer = |v: F32| v.get().fract() == 0.0 && v.get().abs() <= 65536.0;
    if !(scale.get() > 0.0 && scale.get().is_finite()) {
        return Err(TypeError::new(format!("quantize cannot have the scale {scale}")));
    }
    if ![zero, lo, hi].into_iter().all(is_integer) || lo.get() > hi.get() {
        return Err(TypeError::new(format!("quantize cannot go to {lo} .. {hi} with {zero} for 0")));
    }
    Ok(())
}
