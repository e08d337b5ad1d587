//! Normalizations: by channel with known statistics, and of exponentials.

use super::Problem;
use super::build::{Builder, Call, Value, axis};
use crate::graph::weights::Kind;
use crate::graph::{F32, Op};

/// `BatchNormalization` at inference.
pub(super) fn batch_norm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    if call.attributes.int_or("training_mode", 0)? != 0 || call.attributes.int_or("spatial", 1)? == 0 {
        return Err(Problem::new("kiln normalizes by channel, with the statistics that the model holds"));
    }
    let x = builder.operand(call, 0)?;
    let kinds = [Kind::Gamma, Kind::Bias, Kind::Mean, Kind::Var];
    let mut weights = Vec::with_capacity(kinds.len());
    for (i, kind) in kinds.into_iter().enumerate() {
        let known = call.required_known(i + 1)?;
        weights.push(builder.weight(known, kind));
    }
    let eps = F32::new(call.attributes.float_or("epsilon", 1e-5)?);
    Ok(vec![Value::Node(builder.add(call, Op::BatchNorm { eps, affine: true }, &[x], weights)?)])
}

/// `Softmax`. Before version 13 it takes all axes from the given one on as one.
pub(super) fn softmax(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let default = if builder.opset < 13 { 1 } else { -1 };
    let at = axis(call.attributes.int_or("axis", default)?, shape.len())?;
    if builder.opset >= 13 || at + 1 == shape.len() {
        return Ok(vec![Value::Node(builder.add(call, Op::Softmax { axis: at }, &[x], vec![])?)]);
    }
    let rows = vec![shape[..at].iter().product(), shape[at..].iter().product()];
    let x = builder.add_part(call, "rows", Op::Reshape { shape: rows }, &[x], vec![])?;
    let y = builder.add_part(call, "softmax", Op::Softmax { axis: 1 }, &[x], vec![])?;
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}
