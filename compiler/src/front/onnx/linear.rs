//! Products with matrices of weights.

use std::collections::BTreeMap;

use super::Problem;
use super::builder::{Builder, Known, Value};
use super::call::Call;
use super::geometry;
use super::tensor::elements;
use crate::graph::weights::Kind;
use crate::graph::{Binary, Linear, NodeId, Op, WeightId};

/// `Gemm`: `alpha * A * B + beta * C`, of which B, a matrix of weights, is known.
pub(super) fn gemm(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let (alpha, beta) = (call.attributes().float_or("alpha", 1.0)?, call.attributes().float_or("beta", 1.0)?);
    sum_of_product(builder, call, [alpha, beta])
}

/// `alpha * A * B + beta * C`; attributes say which of A and B are transposed.
pub(super) fn sum_of_product(
    builder: &mut Builder,
    call: &Call<'_>,
    [alpha, beta]: [f32; 2],
) -> Result<Vec<Value>, Problem> {
    let mut x = builder.operand(call, 0)?;
    if call.attributes().int_or("transA", 0)? != 0 {
        x = builder.add_part(call, "transposed", Op::Transpose { perm: vec![1, 0] }, &[x], vec![])?;
    }
    let (features, kernel) = kernel(builder, call, call.attributes().int_or("transB", 0)? != 0)?;
    let mut weights = vec![builder.graph.weights.times(kernel, f64::from(alpha))];
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

/// `MatMul` of a value with a matrix of weights, or with a matrix for each part of the value. As numpy has it, a vector on
/// the left is a row, one on the right a column, and the result has no axis for it.
pub(super) fn matmul(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let mut x = builder.operand(call, 0)?;
    let known = call.required_known(1)?;
    let given = builder.ty(x).shape.clone();
    if given.is_empty() || known.tensor.shape.is_empty() {
        return Err(Problem::new("it multiplies with a scalar"));
    }
    let (is_row, is_column) = (given.len() == 1, known.tensor.shape.len() == 1);
    if is_row {
        x = builder.add_part(call, "row", Op::Reshape { shape: vec![1, given[0]] }, &[x], vec![])?;
    }
    let y = match known.tensor.shape[..] {
        [_, _] if !is_row => return Ok(vec![Value::Node(product(builder, call, "", x, known)?)]),
        [_, _] => product(builder, call, "product", x, known)?,
        [k] => {
            let column = builder.reshaped(known, vec![k, 1]);
            product(builder, call, "column", x, &column)?
        }
        [ref outer @ .., k, features] if outer.iter().any(|&extent| extent != 1) => {
            parts(builder, call, x, known, (outer, [k, features]))?
        }
        [.., k, features] => {
            let flat = builder.reshaped(known, vec![k, features]);
            product(builder, call, "product", x, &flat)?
        }
        [] => return Err(Problem::new("it multiplies with a scalar")),
    };
    let own = builder.ty(y).shape.clone();
    let missing = known.tensor.shape.len().saturating_sub(own.len());
    let mut shape = if is_column { own } else { [vec![1; missing], own].concat() };
    if is_column {
        shape.pop();
    }
    if is_row {
        shape.remove(shape.len() - if is_column { 1 } else { 2 });
    }
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// A product with a matrix `[K, N]`; all axes of the value but the last count rows.
fn product(builder: &mut Builder, call: &Call<'_>, part: &str, x: NodeId, known: &Known) -> Result<NodeId, Problem> {
    let features = known.tensor.shape[1];
    let kernel = builder.weight_transposed(known, Kind::Kernel, &[1, 0]);
    let op = Op::Linear(Linear { features, bias: false });
    let shape = builder.ty(x).shape.clone();
    let Some((&inputs, outer)) = shape.split_last() else {
        return Err(Problem::new("it multiplies a scalar, which has no last axis"));
    };
    if outer.len() == 1 {
        return builder.add_part(call, part, op, &[x], vec![kernel]);
    }
    let rows = vec![outer.iter().product(), inputs];
    let x = builder.add_part(call, "rows", Op::Reshape { shape: rows }, &[x], vec![])?;
    let y = builder.add_part(call, "product", op, &[x], vec![kernel])?;
    let shape = [outer, &[features]].concat();
    builder.add_part(call, part, Op::Reshape { shape }, &[y], vec![])
}

/// A product of each part `[M, K]` of a value with a matrix `[K, N]` of its own; the parts before them broadcast.
fn parts(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    known: &Known,
    (outer, [k, features]): (&[usize], [usize; 2]),
) -> Result<NodeId, Problem> {
    const MOST: usize = 1 << 10;
    let shape = builder.ty(x).shape.clone();
    let [own @ .., rows, inputs] = &shape[..] else {
        return Err(Problem::new(format!("it multiplies {shape:?} with parts of {:?}", known.tensor.shape)));
    };
    let all = geometry::broadcast(&[own, outer])?;
    let count = elements(&all).filter(|count| (1..=MOST).contains(count));
    if *inputs != k || features == 0 || count.is_none() {
        return Err(Problem::new(format!("it multiplies {shape:?} with {:?}, part by part", known.tensor.shape)));
    }
    let of = |extents: &[usize]| geometry::places(&all, 0, &geometry::broadcast_strides(extents, &all));
    let flat = Op::Reshape { shape: vec![own.iter().product(), *rows, *inputs] };
    let flat = builder.add_part(call, "parts", flat, &[x], vec![])?;
    let (mut products, mut kernels) = (Vec::new(), BTreeMap::new());
    for (left, right) in of(own).zip(of(outer)) {
        let part = Op::Slice { axis: 0, start: left, end: left + 1 };
        let part = builder.add_part(call, "part", part, &[flat], vec![])?;
        let part = builder.add_part(call, "rows", Op::Reshape { shape: vec![*rows, k] }, &[part], vec![])?;
        // Parts that share a matrix share its weight.
        let kernel = match kernels.get(&right) {
            Some(&kernel) => kernel,
            None => {
                let places = right * k * features..(right + 1) * k * features;
                let matrix = || Ok(known.tensor.picked(vec![k, features], places));
                let matrix = builder.derived(known, &right.to_string(), "", matrix)?;
                let kernel = builder.weight_transposed(&matrix, Kind::Kernel, &[1, 0]);
                kernels.insert(right, kernel);
                kernel
            }
        };
        let linear = Op::Linear(Linear { features, bias: false });
        products.push(builder.add_part(call, "product", linear, &[part], vec![kernel])?);
    }
    let y = match products[..] {
        [only] => only,
        _ => builder.add_part(call, "products", Op::Concat { axis: 0 }, &products, vec![])?,
    };
    let shape = [&all[..], &[*rows, features]].concat();
    builder.add_part(call, "parts", Op::Reshape { shape }, &[y], vec![])
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
