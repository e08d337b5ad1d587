//! Means, sums and extremes along axes.

use super::Problem;
use super::builder::{Builder, Value};
use super::call::Call;
use super::geometry::axis;
use crate::graph::{Activation, Binary, DType, Linear, NodeId, Op};

/// `ReduceMean`, `ReduceSum`, `ReduceMax`, `ReduceMin`, `ReduceL1`, `ReduceL2`, `ReduceSumSquare`, `ReduceLogSum`.
pub(super) fn reduce(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    if builder.ty(x).dtype == DType::Bool {
        return Err(call.of_known_alone("it, for truth values,"));
    }
    let shape = builder.ty(x).shape.clone();
    let axes = match call.integers("axes", 1)? {
        Some(axes) if !axes.is_empty() => axes,
        // No axis is reduced; each element is a sum, a largest, a norm of itself.
        _ if call.attributes().int_or("noop_with_empty_axes", 0)? != 0 => Vec::new(),
        _ => (0..shape.len() as i64).collect(),
    };
    let mut reduced = vec![false; shape.len()];
    for at in axes {
        reduced[axis(at, shape.len())?] = true;
    }
    let keep = call.attributes().int_or("keepdims", 1)? != 0;
    let result: Vec<usize> =
        (0..shape.len()).filter(|&i| keep || !reduced[i]).map(|i| if reduced[i] { 1 } else { shape[i] }).collect();
    let count: usize = (0..shape.len()).filter(|&i| reduced[i]).map(|i| shape[i]).product();
    let images = pixels_last(builder, call, x, &shape, &reduced, count)?;
    let mut steps = steps(&call.operator(), builder.ty(x).dtype, count);
    let is_sum = steps.iter().any(|step| matches!(step, Step::Sum));
    if is_sum || result != [&builder.ty(images).shape[..2], &[1, 1]].concat() {
        steps.push(Step::Op("shaped", Op::Reshape { shape: result }));
    }
    let (mut y, len) = (images, steps.len());
    for (i, step) in steps.into_iter().enumerate() {
        let part = if i + 1 == len { "" } else { step.part() };
        y = match step {
            Step::Op(_, op) => builder.add_part(call, part, op, &[y], vec![])?,
            Step::Square => builder.add_part(call, part, Op::Binary(Binary::Mul), &[y, y], vec![])?,
            Step::Sum => {
                let rows = vec![builder.ty(y).len() / count, count];
                let rows = builder.add_part(call, "rows", Op::Reshape { shape: rows }, &[y], vec![])?;
                let ones = builder.graph.weights.splat(&[1, count], 1.0);
                builder.add_part(call, part, Op::Linear(Linear { features: 1, bias: false }), &[rows], vec![ones])?
            }
            Step::With(binary, literal) => {
                let literal = builder.literal_like(call, "literal", literal, y)?;
                builder.add_part(call, part, Op::Binary(binary), &[y, literal], vec![])?
            }
            Step::From(literal) => {
                let literal = builder.literal_like(call, "literal", literal, y)?;
                builder.add_part(call, part, Op::Binary(Binary::Sub), &[literal, y], vec![])?
            }
        };
    }
    Ok(vec![Value::Node(y)])
}

/// A step from images, whose pixels are what is reduced, to the result.
enum Step {
    Op(&'static str, Op),
    Square,
    /// The sum of the pixels of each channel, exact for integers.
    Sum,
    /// A pair with a literal.
    With(Binary, f32),
    /// A literal less the value.
    From(f32),
}

impl Step {
    fn part(&self) -> &'static str {
        match self {
            Step::Op(part, _) => part,
            Step::Square => "square",
            Step::Sum => "sum",
            Step::With(..) => "scaled",
            Step::From(_) => "turned",
        }
    }
}

/// What an operator does with so many pixels of a type.
fn steps(operator: &str, dtype: DType, count: usize) -> Vec<Step> {
    let activate = |part, activation| Step::Op(part, Op::Activate(activation));
    let (mut before, mut behind) = (Vec::new(), Vec::new());
    let reduced = match operator {
        "ReduceMax" => vec![Step::Op("pool", Op::GlobalMaxPool)],
        "ReduceMin" => {
            // The least is the largest, turned around: of integers about -1 or 255, so that none leaves its type.
            let turned = || match dtype {
                DType::F32 | DType::F64 | DType::Bool => Step::With(Binary::Mul, -1.0),
                DType::I64 | DType::I32 | DType::I8 => Step::From(-1.0),
                DType::U8 => Step::From(255.0),
            };
            vec![turned(), Step::Op("pool", Op::GlobalMaxPool), turned()]
        }
        "ReduceMean" if dtype.is_float() => vec![Step::Op("pool", Op::GlobalAvgPool)],
        _ if dtype.is_float() => {
            let whole = (count != 1).then_some(Step::With(Binary::Mul, count as f32));
            [Step::Op("pool", Op::GlobalAvgPool)].into_iter().chain(whole).collect()
        }
        _ => vec![Step::Sum],
    };
    match operator {
        "ReduceL1" => before.push(activate("size", Activation::Abs)),
        "ReduceL2" | "ReduceSumSquare" => before.push(Step::Square),
        _ => {}
    }
    match operator {
        "ReduceL2" => behind.push(activate("root", Activation::Sqrt)),
        "ReduceLogSum" => behind.push(activate("log", Activation::Log)),
        "ReduceMean" if !dtype.is_float() => behind.push(Step::With(Binary::Div, count as f32)),
        _ => {}
    }
    // Sums of i32s wrap as theirs do; other integers are added as f64s, which lose their fraction at the end.
    let widens = !dtype.is_float()
        && !matches!(operator, "ReduceMax" | "ReduceMin")
        && (dtype != DType::I32 || !behind.is_empty());
    if widens {
        before.insert(0, Step::Op("wide", Op::Cast(DType::F64)));
        behind.push(Step::Op("narrow", Op::Cast(dtype)));
    }
    before.into_iter().chain(reduced).chain(behind).collect()
}

/// The largest, or the mean, along an axis, which becomes 1.
pub(super) fn along(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    pool: Op,
    x: NodeId,
    axis: usize,
) -> Result<NodeId, Problem> {
    let mut shape = builder.ty(x).shape.clone();
    let reduced: Vec<bool> = (0..shape.len()).map(|i| i == axis).collect();
    let images = pixels_last(builder, call, x, &shape, &reduced, shape[axis])?;
    let y = builder.add_part(call, part, pool, &[images], vec![])?;
    shape[axis] = 1;
    builder.add_part(call, part, Op::Reshape { shape }, &[y], vec![])
}

/// The value as images `[N, C, H, W]` whose rows and columns are the axes that are reduced, `count` elements each.
pub(super) fn pixels_last(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    shape: &[usize],
    reduced: &[bool],
    count: usize,
) -> Result<NodeId, Problem> {
    if reduced == [false, false, true, true] {
        return Ok(x);
    }
    let kept = (0..shape.len()).filter(|&i| !reduced[i]);
    let perm: Vec<usize> = kept.clone().chain((0..shape.len()).filter(|&i| reduced[i])).collect();
    let moved = if perm.is_sorted() {
        x
    } else {
        builder.add_part(call, "transposed", Op::Transpose { perm }, &[x], vec![])?
    };
    let extents: Vec<usize> = kept.map(|i| shape[i]).collect();
    let [images, channels] = match extents.split_first() {
        Some((&first, rest)) if !rest.is_empty() => [first, rest.iter().product()],
        Some((&only, _)) => [1, only],
        None => [1, 1],
    };
    builder.add_part(call, "images", Op::Reshape { shape: vec![images, channels, 1, count] }, &[moved], vec![])
}
