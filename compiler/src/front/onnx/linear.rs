//! Products with matrices, of weights and of values.

use std::collections::BTreeMap;

use super::Problem;
use super::builder::{Builder, Known, Value};
use super::call::Call;
use super::gather::repeated;
use super::geometry;
use super::tensor::elements;
use crate::graph::weights::Kind;
use crate::graph::{Binary, Linear, NodeId, Op, WeightId};

/// `Gemm`: `alpha * A * B + beta * C`.
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
    let is_transposed = call.attributes().int_or("transB", 0)? != 0;
    if let Value::Node(matrix) = *call.required(1)? {
        return sum_of_values(builder, call, [x, matrix], is_transposed, [alpha, beta]);
    }
    let (features, kernel) = kernel(builder, call, is_transposed)?;
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
    let Some(c) = added else { return Ok(vec![Value::Node(builder.add(call, op, &[x], weights)?)]) };
    let y = builder.add_part(call, "product", op, &[x], weights)?;
    let c = times(builder, call, "beta", c, beta)?;
    Ok(vec![Value::Node(builder.add(call, Op::Binary(Binary::Add), &[y, c], vec![])?)])
}

/// A `Gemm` of two values.
fn sum_of_values(
    builder: &mut Builder,
    call: &Call<'_>,
    [x, mut matrix]: [NodeId; 2],
    is_transposed: bool,
    [alpha, beta]: [f32; 2],
) -> Result<Vec<Value>, Problem> {
    let [left, right] = [x, matrix].map(|value| &builder.ty(value).shape);
    if left.len() != 2 || right.len() != 2 {
        return Err(Problem::new(format!("it multiplies {left:?} with {right:?}, which are not both matrices")));
    }
    if is_transposed {
        matrix = builder.add_part(call, "columns", Op::Transpose { perm: vec![1, 0] }, &[matrix], vec![])?;
    }
    let product = product_of_values(builder, call, "product", [x, matrix])?;
    let mut y = times(builder, call, "alpha", product, alpha)?;
    if call.input(2).is_some() {
        let c = builder.operand(call, 2)?;
        let c = times(builder, call, "beta", c, beta)?;
        y = builder.add(call, Op::Binary(Binary::Add), &[y, c], vec![])?;
    }
    Ok(vec![Value::Node(y)])
}

/// A value times a number.
fn times(builder: &mut Builder, call: &Call<'_>, part: &str, x: NodeId, by: f32) -> Result<NodeId, Problem> {
    if by == 1.0 {
        return Ok(x);
    }
    let factor = builder.literal_like(call, part, by, x)?;
    builder.add_part(call, part, Op::Binary(Binary::Mul), &[x, factor], vec![])
}

/// `MatMul` of two values, of a value with a matrix of weights, or with a matrix for each part of the value. As numpy has
/// it, a vector on the left is a row, one on the right a column, and the result has no axis for it.
pub(super) fn matmul(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let mut x = builder.operand(call, 0)?;
    let known = match call.required(1)? {
        Value::Known(known) => known,
        Value::Node(matrix) => return Ok(vec![Value::Node(product_of_values(builder, call, "", [x, *matrix])?)]),
    };
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

/// A product of two values: a matrix of each part of the first with that of the second, which broadcast.
fn product_of_values(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    [a, b]: [NodeId; 2],
) -> Result<NodeId, Problem> {
    let (left, right) = (builder.ty(a).shape.clone(), builder.ty(b).shape.clone());
    let (is_row, is_column) = (left.len() == 1, right.len() == 1);
    let left = if is_row { [&[1], &left[..]].concat() } else { left };
    let right = if is_column { [&right[..], &[1]].concat() } else { right };
    let ([of_a @ .., m, k], [of_b @ .., inner, n]) = (&left[..], &right[..]) else {
        return Err(Problem::new("it multiplies with a scalar"));
    };
    if k != inner {
        return Err(Problem::new(format!("it multiplies {left:?} with {right:?}")));
    }
    let outer = geometry::broadcast(&[of_a, of_b])?;
    let mut shape = [&outer[..], &[*m, *n]].concat();
    if is_column {
        shape.pop();
    }
    if is_row {
        shape.remove(outer.len());
    }
    let count = elements(of_b).ok_or_else(|| Problem::new(format!("{right:?} has more elements than fit")))?;
    // With one matrix for all, all rows are those of one part.
    let rows = if count == 1 { outer.iter().product::<usize>().checked_mul(*m) } else { None };
    let (a, b) = match rows {
        Some(rows) => (as_parts(builder, call, "rows", a, vec![1, rows, *k])?, b),
        None => (parts_of_value(builder, call, "left", a, (of_a, &outer), [*m, *k])?, b),
    };
    let b = parts_of_value(builder, call, "right", b, (of_b, if count == 1 { of_b } else { &outer }), [*k, *n])?;
    let [first, second] = [a, b].map(|x| &builder.ty(x).shape);
    if shape == [first[0].max(second[0]), first[1], second[2]] {
        return builder.add_part(call, part, Op::MatMul, &[a, b], vec![]);
    }
    let y = builder.add_part(call, "products", Op::MatMul, &[a, b], vec![])?;
    builder.add_part(call, part, Op::Reshape { shape }, &[y], vec![])
}

/// A value as a matrix for each part, `[P, rows, columns]`: one that serves all, or as many as the shape of parts has that
/// its own broadcasts to.
fn parts_of_value(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    x: NodeId,
    (own, outer): (&[usize], &[usize]),
    matrix: [usize; 2],
) -> Result<NodeId, Problem> {
    let count = own.iter().product::<usize>();
    if count == 1 || count == outer.iter().product::<usize>() {
        return as_parts(builder, call, part, x, vec![count, matrix[0], matrix[1]]);
    }
    let own = [vec![1; outer.len() - own.len()], own.to_vec()].concat();
    let x = as_parts(builder, call, part, x, [&own[..], &matrix].concat())?;
    let whole = [outer, &matrix].concat();
    let x = repeated(builder, call, part, x, &whole)?;
    as_parts(builder, call, part, x, vec![outer.iter().product(), matrix[0], matrix[1]])
}

fn as_parts(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    x: NodeId,
    shape: Vec<usize>,
) -> Result<NodeId, Problem> {
    if builder.ty(x).shape == shape {
        return Ok(x);
    }
    builder.add_part(call, part, Op::Reshape { shape }, &[x], vec![])
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
