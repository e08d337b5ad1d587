//! The same elements in other places.

use super::builder::{Builder, Value};
use super::call::Call;
use super::fold::permutation;
use super::gather::{elements_at, repeated};
use super::geometry;
use super::geometry::axis;
use super::tensor::Tensor;
use super::{Listed, Problem};
use crate::diag::counted;
use crate::graph::{Binary, Constant, DType, Elements, F32, NodeId, Op, Pads, Pool, TensorType, Window};

/// `Reshape`.
pub(super) fn reshape(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let shape = builder.shape_of(call.required(0)?);
    let target = call.integers("shape", 1)?.ok_or_else(|| Problem::new("it does not say to what shape"))?;
    let allow_zero = call.attributes().int_or("allowzero", 0)? != 0;
    to_shape(builder, call, geometry::reshaped(&shape, &target, allow_zero)?)
}

/// `Flatten`.
pub(super) fn flatten(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let shape = builder.shape_of(call.required(0)?);
    to_shape(builder, call, geometry::flattened(&shape, call.attributes().int_or("axis", 1)?)?)
}

/// `Squeeze`.
pub(super) fn squeeze(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let shape = builder.shape_of(call.required(0)?);
    let axes = call.integers("axes", 1)?;
    to_shape(builder, call, geometry::squeezed(&shape, axes.as_deref())?)
}

/// `Unsqueeze`.
pub(super) fn unsqueeze(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let shape = builder.shape_of(call.required(0)?);
    let axes = call.integers("axes", 1)?.ok_or_else(|| Problem::new("it does not say which axes"))?;
    to_shape(builder, call, geometry::unsqueezed(&shape, &axes)?)
}

fn to_shape(builder: &mut Builder, call: &Call<'_>, shape: Vec<usize>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[x], vec![])?)])
}

/// `Transpose`.
pub(super) fn transpose(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let perm = permutation(call.attributes().ints("perm")?, builder.ty(x).shape.len())?;
    Ok(vec![Value::Node(builder.add(call, Op::Transpose { perm }, &[x], vec![])?)])
}

/// `Concat`.
pub(super) fn concat(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let parts: Vec<NodeId> = (0..call.inputs.len()).map(|i| builder.operand(call, i)).collect::<Result<_, _>>()?;
    let first = *parts.first().ok_or_else(|| Problem::new("it has no input"))?;
    let at = call.attributes().int("axis")?.ok_or_else(|| Problem::new("it does not say along which axis"))?;
    let axis = axis(at, builder.ty(first).shape.len())?;
    Ok(vec![Value::Node(builder.add(call, Op::Concat { axis }, &parts, vec![])?)])
}

/// `Split`: a slice a result.
pub(super) fn split(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let axis = axis(call.attributes().int_or("axis", 0)?, shape.len())?;
    let mut start = 0;
    let mut results = Vec::new();
    for (i, part) in call.parts(shape[axis])?.into_iter().enumerate() {
        let op = Op::Slice { axis, start, end: start + part };
        results.push(match part {
            0 => nothing(builder, x, &[(axis, 0)])?,
            _ => Value::Node(builder.add_part(call, &i.to_string(), op, &[x], vec![])?),
        });
        start += part;
    }
    Ok(results)
}

/// What is left of a value where so much is taken along some axes, and nothing along one: it is known, whatever the value.
fn nothing(builder: &mut Builder, x: NodeId, counts: &[(usize, usize)]) -> Result<Value, Problem> {
    let TensorType { dtype, mut shape } = builder.ty(x).clone();
    counts.iter().for_each(|&(axis, count)| shape[axis] = count);
    builder.made("nothing", Tensor::of(&Elements::from_f64(dtype, &[]), shape)).map(Value::Known)
}

/// `Slice`.
pub(super) fn slice(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let mut x = builder.operand(call, 0)?;
    let strides = call.strides(&builder.ty(x).shape.clone())?;
    if strides.iter().any(|stride| stride.count == 0) {
        let counts: Vec<(usize, usize)> = strides.iter().map(|stride| (stride.axis, stride.count)).collect();
        return Ok(vec![nothing(builder, x, &counts)?]);
    }
    for stride in &strides {
        let extent = builder.ty(x).shape[stride.axis];
        let Ok(step) = usize::try_from(stride.step) else {
            let indices = (0..stride.count).map(|i| stride.start - i * stride.step.unsigned_abs());
            x = elements_at(builder, call, x, stride.axis, indices)?;
            continue;
        };
        // A step passes over what comes after its last element.
        let end = extent.min(stride.start.saturating_add(step.saturating_mul(stride.count)));
        let is_of_image = builder.ty(x).shape.len() == 4 && stride.axis > 1;
        if step > 1 && !is_of_image {
            let indices = (0..stride.count).map(|i| stride.start + i * step);
            x = elements_at(builder, call, x, stride.axis, indices)?;
            continue;
        }
        if (stride.start, end) != (0, extent) {
            let op = Op::Slice { axis: stride.axis, start: stride.start, end };
            x = builder.add_part(call, "slice", op, &[x], vec![])?;
        }
        if step > 1 {
            x = every(builder, call, x, stride.axis, step)?;
        }
    }
    Ok(vec![Value::Node(x)])
}

/// Every `step`th row or column of images, from the first on: a pool of one pixel that steps over the others.
fn every(builder: &mut Builder, call: &Call<'_>, x: NodeId, axis: usize, step: usize) -> Result<NodeId, Problem> {
    let pool = |stride| {
        let window = Window { stride, ..Window::POINT };
        Op::MaxPool(Pool { window, ceil_mode: false, count_include_pad: false })
    };
    let rows_before = match builder.graph.node(x).op {
        Op::MaxPool(Pool { window: Window { stride: [rows, 1], .. }, .. })
            if builder.graph.node(x).op == pool([rows, 1]) =>
        {
            Some(rows)
        }
        _ => None,
    };
    match (axis, rows_before) {
        (2, _) => builder.add_part(call, "rows", pool([step, 1]), &[x], vec![]),
        (_, None) => builder.add_part(call, "columns", pool([1, step]), &[x], vec![]),
        // Every so many rows and every so many columns are one pool.
        (_, Some(rows)) => {
            let from = builder.graph.operands(x);
            builder.add_part(call, "pixels", pool([rows, step]), &from, vec![])
        }
    }
}

/// `Pad`. Negative padding cuts off.
pub(super) fn pad(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let mode = call.attributes().text_or("mode", "constant")?;
    let mut x = builder.operand(call, 0)?;
    let rank = builder.ty(x).shape.len();
    let sides = call.integers("pads", 1)?.ok_or_else(|| Problem::new("it does not say by how much"))?;
    let value = match call.known(2)? {
        Some(known) => {
            let number = known.tensor.scalar().ok_or_else(|| Problem::new("its value is no number"))?;
            match known.tensor.to_integers().as_deref() {
                // An integer that f32 does not hold is put together by the graph.
                Some(&[integer]) if number as f32 as i128 != i128::from(integer) => {
                    let point = builder.reshaped(&known.clone(), vec![]);
                    Fill::Node(builder.known_node(&point, Some(call.span))?)
                }
                Some(_) | None => Fill::Number(number as f32),
            }
        }
        None => Fill::Number(call.attributes().float_or("value", 0.0)?),
    };
    let axes = call.known_integers(3)?.unwrap_or_else(|| (0..rank as i64).collect());
    if sides.len() != 2 * axes.len() {
        return Err(Problem::new(format!("it has {} where two an axis are needed", counted(sides.len(), "pad"))));
    }
    let mut pads = vec![[0i64; 2]; rank];
    for (i, &at) in axes.iter().enumerate() {
        pads[axis(at, rank)?] = [sides[i], sides[axes.len() + i]];
    }
    for (axis, side) in pads.iter_mut().enumerate() {
        let extent = builder.ty(x).shape[axis];
        let [before, after] = side.map(|pad| usize::try_from(pad.min(0).unsigned_abs()).unwrap_or(usize::MAX));
        *side = side.map(|pad| pad.max(0));
        if before > 0 || after > 0 {
            let op = Op::Slice { axis, start: before, end: extent.saturating_sub(after) };
            x = builder.add_part(call, "cut", op, &[x], vec![])?;
        }
    }
    let pads: Vec<[usize; 2]> = pads.into_iter().map(|side| side.map(|pad| pad as usize)).collect();
    if mode != "constant" {
        for (axis, &sides) in pads.iter().enumerate().filter(|(_, sides)| **sides != [0, 0]) {
            let indices = continued(mode, builder.ty(x).shape[axis], sides)?;
            x = elements_at(builder, call, x, axis, indices)?;
        }
        return Ok(vec![Value::Node(x)]);
    }
    let of_image = match value {
        Fill::Number(value) if rank == 4 => Some(value),
        Fill::Number(_) | Fill::Node(_) => None,
    };
    for (axis, &side) in pads.iter().enumerate().filter(|(axis, _)| of_image.is_none() || *axis < 2) {
        if side != [0, 0] {
            x = surround(builder, call, x, axis, side, value)?;
        }
    }
    if let Some(value) = of_image
        && pads[2..] != [[0, 0], [0, 0]]
    {
        let [[top, bottom], [left, right]] = [pads[2], pads[3]];
        let op = Op::Pad { pads: Pads { top, left, bottom, right }, value: F32::new(value) };
        x = builder.add(call, op, &[x], vec![])?;
    }
    Ok(vec![Value::Node(x)])
}

/// What stands around a value.
#[derive(Clone, Copy)]
enum Fill {
    Number(f32),
    /// A value of one element, of the type of that which it surrounds.
    Node(NodeId),
}

/// The indices of an axis that is continued on both sides: by its end (`edge`), backwards (`reflect`), or anew (`wrap`).
fn continued(
    mode: &str,
    extent: usize,
    [before, after]: [usize; 2],
) -> Result<impl ExactSizeIterator<Item = usize> + Clone + use<>, Problem> {
    let index: fn(i64, i64) -> i64 = match mode {
        "edge" => |at, extent| at.clamp(0, extent - 1),
        "wrap" => |at, extent| at.rem_euclid(extent),
        "reflect" => |at, extent| {
            let period = (2 * (extent - 1)).max(1);
            let at = at.rem_euclid(period);
            if at < extent { at } else { period - at }
        },
        other => return Err(Problem::new(format!("its mode `{other}` is not known"))),
    };
    let total = before.checked_add(extent).and_then(|sum| sum.checked_add(after)).filter(|&total| total < 1 << 32);
    let total = total
        .ok_or_else(|| Problem::new(format!("it continues an axis by {before} and {after} elements, too many")))?;
    let (extent, before) = (extent as i64, before as i64);
    Ok((0..total).map(move |at| index(at as i64 - before, extent) as usize))
}

/// A value between others of one number along an axis.
fn surround(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    axis: usize,
    [before, after]: [usize; 2],
    value: Fill,
) -> Result<NodeId, Problem> {
    let shape = builder.ty(x).shape.clone();
    let mut filled = |part: &str, count: usize| {
        let mut shape = shape.clone();
        shape[axis] = count;
        match value {
            Fill::Number(value) => everywhere(builder, call, part, shape, value, x),
            Fill::Node(value) => {
                let ones = everywhere(builder, call, part, shape, 1.0, x)?;
                builder.add_part(call, part, Op::Binary(Binary::Mul), &[ones, value], vec![])
            }
        }
    };
    let mut parts = Vec::new();
    if before > 0 {
        parts.push(filled("before", before)?);
    }
    parts.push(x);
    if after > 0 {
        parts.push(filled("after", after)?);
    }
    builder.add_part(call, "padded", Op::Concat { axis }, &parts, vec![])
}

/// One number in a whole shape, of the type of a value.
pub(super) fn everywhere(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    shape: Vec<usize>,
    value: f32,
    like: NodeId,
) -> Result<NodeId, Problem> {
    let constant = Op::Constant(Constant { shape: vec![1; shape.len()], values: vec![F32::new(value)] });
    let mut one = builder.add_part(call, part, constant, &[], vec![])?;
    let dtype = builder.ty(like).dtype;
    if dtype != DType::F32 {
        one = builder.add_part(call, part, Op::Cast(dtype), &[one], vec![])?;
    }
    repeated(builder, call, part, one, &shape)
}

/// `Expand`.
pub(super) fn expand(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let wanted = call.known_integers(1)?.ok_or_else(|| Problem::new("it does not say to what shape"))?;
    let extents: Option<Vec<usize>> = wanted.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let extents = extents.ok_or_else(|| Problem::new(format!("{} is no shape", Listed(&wanted))))?;
    let shape = geometry::broadcast(&[&builder.ty(x).shape, &extents])?;
    Ok(vec![Value::Node(repeated(builder, call, "repeated", x, &shape)?)])
}

/// `DepthToSpace`: blocks of channels become blocks of pixels.
pub(super) fn depth_to_space(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let block = block_size(call)?;
    let columns_first = match call.attributes().text_or("mode", "DCR")? {
        "DCR" => false,
        "CRD" => true,
        other => return Err(Problem::new(format!("its mode `{other}` is not known"))),
    };
    Ok(vec![Value::Node(pixels_of_channels(builder, call, "", x, [block, block], columns_first)?)])
}

/// Channels `[C, R, S]` (or `[R, S, C]`, unless `channels_first`) as pixels: `[N, C, H * R, W * S]`.
pub(super) fn pixels_of_channels(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    x: NodeId,
    [rows, columns]: [usize; 2],
    channels_first: bool,
) -> Result<NodeId, Problem> {
    let [n, c, h, w] = *builder.ty(x).shape.as_slice() else {
        return Err(Problem::new(format!("it takes images, not a value of shape {:?}", builder.ty(x).shape)));
    };
    let each = c / (rows * columns);
    if each * rows * columns != c {
        return Err(Problem::new(format!("{c} channels do not make blocks of {rows}×{columns} pixels")));
    }
    let (split, perm) = if channels_first {
        (vec![n, each, rows, columns, h, w], vec![0, 1, 4, 2, 5, 3])
    } else {
        (vec![n, rows, columns, each, h, w], vec![0, 3, 4, 1, 5, 2])
    };
    let split = builder.add_part(call, "split", Op::Reshape { shape: split }, &[x], vec![])?;
    let moved = builder.add_part(call, "transposed", Op::Transpose { perm }, &[split], vec![])?;
    let shape = [(h, rows), (w, columns)].map(|(extent, by)| extent.saturating_mul(by));
    builder.add_part(call, part, Op::Reshape { shape: vec![n, each, shape[0], shape[1]] }, &[moved], vec![])
}

/// `SpaceToDepth`: blocks of pixels become blocks of channels.
pub(super) fn space_to_depth(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let block = block_size(call)?;
    match call.attributes().text_or("mode", "DCR")? {
        "DCR" => {}
        other => return Err(Problem::new(format!("kiln does not have its mode, `{other}`"))),
    }
    let [n, c, h, w] = *builder.ty(x).shape.as_slice() else {
        return Err(Problem::new(format!("it takes images, not a value of shape {:?}", builder.ty(x).shape)));
    };
    let split = vec![n, c, h / block, block, w / block, block];
    let split = builder.add_part(call, "split", Op::Reshape { shape: split }, &[x], vec![])?;
    let perm = vec![0, 3, 5, 1, 2, 4];
    let moved = builder.add_part(call, "transposed", Op::Transpose { perm }, &[split], vec![])?;
    let channels = c.saturating_mul(block).saturating_mul(block);
    let shape = vec![n, channels, h / block, w / block];
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[moved], vec![])?)])
}

fn block_size(call: &Call<'_>) -> Result<usize, Problem> {
    let block = call.attributes().int("blocksize")?.and_then(|block| usize::try_from(block).ok());
    let block = block.filter(|block| (1..=1 << 16).contains(block));
    block.ok_or_else(|| Problem::new("its blocksize is no size of a block"))
}
