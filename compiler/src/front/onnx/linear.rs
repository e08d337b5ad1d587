//! Products with matrices of weights.

use super::Problem;
use super::build::{Builder, Call, Known, Value};
use crate::graph::weights::Kind;
use crate::graph::{Binary, Linear, Op, WeightId};

/// `Gemm`: `alpha * A * B + beta * C`, of which B, a matrix of weights, is known.
pub(super) fn gemm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let mut x = builder.operand(call, 0)?;
    if call.attributes.int_or("transA", 0)? != 0 {
        x = builder.add_part(call, "transposed", Op::Transpose { perm: vec![1, 0] }, &[x], vec![])?;
    }
    let (features, kernel) = kernel(builder, call, call.attributes.int_or("transB", 0)? != 0)?;
    let alpha = f64::from(call.attributes.float_or("alpha", 1.0)?);
    let beta = call.attributes.float_or("beta", 1.0)?;
    let mut weights = vec![builder.graph.weights.times(kernel, alpha)];
    let mut added = None;
    match call.input(2) {
        // A bias is one number a column; what else is added is an operand like any other.
        Some(Value::Known(known)) if known.tensor.len() == features && known.tensor.shape.last() == Some(&features) => {
            let bias = builder.weight(known, Kind::Bias);
            let bias = builder.graph.weights.reshape(bias, &[features]);
            weights.push(builder.graph.weights.times(bias, f64::from(beta)));
        }
        Some(_) => added = Some(builder.operand(call, 2)?),
        None => {}
    }
    let op = Op::Linear(Linear { features, bias: weights.len() == 2 });
    let Some(mut c) = added else { return Ok(vec![Value::Node(builder.add(call, op, &[x], weights)?)]) };
    let y = builder.add_part(call, "product", op, &[x], weights)?;
    if beta != 1.0 {
        let factor = builder.literal(call, "beta", beta)?;
        c = builder.add_part(call, "scaled", Op::Binary(Binary::Mul), &[c, factor], vec![])?;
    }
    Ok(vec![Value::Node(builder.add(call, Op::Binary(Binary::Add), &[y, c], vec![])?)])
}

/// `MatMul` of a value with a matrix of weights.
pub(super) fn matmul(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let (features, kernel) = kernel(builder, call, false)?;
    let op = Op::Linear(Linear { features, bias: false });
    let shape = builder.ty(x).shape.clone();
    let Some((&inputs, outer)) = shape.split_last() else {
        return Err(Problem::new("it multiplies a scalar, which has no last axis"));
    };
    if outer.len() == 1 {
        return Ok(vec![Value::Node(builder.add(call, op, &[x], vec![kernel])?)]);
    }
    // All axes but the last count rows.
    let rows = vec![outer.iter().product(), inputs];
    let x = builder.add_part(call, "rows", Op::Reshape { shape: rows }, &[x], vec![])?;
    let y = builder.add_part(call, "product", op, &[x], vec![kernel])?;
    let shape = [outer, &[features]].concat();
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// The second operand as the kernel of a linear layer, `[O, I]`, and O. Stored it is `[I, O]` unless `transposed`.
fn kernel(builder: &mut Builder, call: &Call<'_>, transposed: bool) -> Result<(usize, WeightId), Problem> {
    let known: &Known = call.required_known(1)?;
    let [rows, columns] = *known.tensor.shape.as_slice() else {
        return Err(Problem::new(format!(
            "its second operand has shape {:?}; kiln multiplies with a matrix",
            known.tensor.shape
        )));
    };
    Ok(if transposed {
        (rows, builder.weight(known, Kind::Kernel))
    } else {
        (columns, builder.weight_transposed(known, Kind::Kernel, &[1, 0]))
    })
}
