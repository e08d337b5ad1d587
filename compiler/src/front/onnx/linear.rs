//! Products with matrices of weights.

use std::rc::Rc;

use super::Problem;
use super::build::{Builder, Call, Known, Value};
use super::geometry;
use crate::graph::weights::Kind;
use crate::graph::{Binary, Linear, NodeId, Op, WeightId};

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

/// `MatMul` of a value with a matrix of weights, or with a matrix for each part of the value.
pub(super) fn matmul(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let known = call.required_known(1)?;
    if let [outer @ .., k, features] = &known.tensor.shape[..]
        && outer.iter().any(|&extent| extent != 1)
    {
        return parts(builder, call, x, known, (outer, [*k, *features]));
    }
    let matrix = |builder: &mut Builder, shape: Vec<usize>| Known {
        name: builder.fresh_tensor(&format!("{}.matrix", known.name)),
        tensor: Rc::new(known.tensor.reshaped(shape)),
    };
    let given = builder.ty(x).shape.clone();
    match known.tensor.shape[..] {
        [_, _] => product(builder, call, "", x, known),
        // A vector is one column, which the result does not have.
        [k] => {
            let column = matrix(builder, vec![k, 1]);
            let y = product(builder, call, "column", x, &column)?;
            let shape = given[..given.len() - 1].to_vec();
            builder.add(call, Op::Reshape { shape }, &[y], vec![])
        }
        [ref ones @ .., k, features] => {
            let flat = matrix(builder, vec![k, features]);
            let y = product(builder, call, "product", x, &flat)?;
            let own = builder.ty(y).shape.clone();
            let missing = (ones.len() + 2).saturating_sub(own.len());
            let shape = [vec![1; missing], own].concat();
            builder.add(call, Op::Reshape { shape }, &[y], vec![])
        }
        [] => Err(Problem::new("it multiplies with a scalar")),
    }
    .map(|y| vec![Value::Node(y)])
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
) -> Result<Vec<Value>, Problem> {
    const MOST: usize = 1 << 10;
    let shape = builder.ty(x).shape.clone();
    let [own @ .., rows, inputs] = &shape[..] else {
        return Err(Problem::new(format!("it multiplies {shape:?} with parts of {:?}", known.tensor.shape)));
    };
    let all = geometry::broadcast(&[own, outer])?;
    let count = all.iter().product::<usize>();
    if *inputs != k || count > MOST {
        return Err(Problem::new(format!("it multiplies {shape:?} with {:?} in {count} parts", known.tensor.shape)));
    }
    let of = |extents: &[usize]| geometry::places(&all, 0, &geometry::broadcast_strides(extents, &all));
    let flat = Op::Reshape { shape: vec![own.iter().product(), *rows, *inputs] };
    let flat = builder.add_part(call, "parts", flat, &[x], vec![])?;
    let mut products = Vec::with_capacity(count);
    for (left, right) in of(own).zip(of(outer)) {
        let part = Op::Slice { axis: 0, start: left, end: left + 1 };
        let part = builder.add_part(call, "part", part, &[flat], vec![])?;
        let part = builder.add_part(call, "rows", Op::Reshape { shape: vec![*rows, k] }, &[part], vec![])?;
        let matrix = known.tensor.picked(vec![k, features], right * k * features..(right + 1) * k * features);
        let name = builder.fresh_tensor(&format!("{}.{right}", known.name));
        let matrix = Known { name, tensor: Rc::new(matrix) };
        let kernel = builder.weight_transposed(&matrix, Kind::Kernel, &[1, 0]);
        let linear = Op::Linear(Linear { features, bias: false });
        products.push(builder.add_part(call, "product", linear, &[part], vec![kernel])?);
    }
    let y = match products[..] {
        [only] => only,
        _ => builder.add_part(call, "products", Op::Concat { axis: 0 }, &products, vec![])?,
    };
    let shape = [&all[..], &[*rows, features]].concat();
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
