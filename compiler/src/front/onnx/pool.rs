//! Pools over windows and over whole images.

use super::Problem;
use super::builder::{Builder, Value};
use super::call::Call;
use super::conv::{as_given, as_image, image, volume_window, window};
use crate::graph::{NodeId, Op, Pool};

/// `MaxPool`.
pub(super) fn max_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    if call.reads(1) {
        return Err(call.of_known_alone("its second result, where the largest stand,"));
    }
    windowed(builder, call, Op::MaxPool)
}

/// `AveragePool`.
pub(super) fn average_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    windowed(builder, call, Op::AvgPool)
}

fn windowed(builder: &mut Builder, call: &Call<'_>, op: fn(Pool) -> Op) -> Result<Vec<Value>, Problem> {
    let (x, is_line) = as_image(builder, call)?;
    if builder.ty(x).shape.len() == 5 {
        return volume(builder, call, op, x);
    }
    let pool = Pool {
        window: window(call, None, image(builder, x)?, is_line)?,
        ceil_mode: call.attributes().int_or("ceil_mode", 0)? != 0,
        count_include_pad: call.attributes().int_or("count_include_pad", 0)? != 0,
    };
    as_given(builder, call, op(pool), x, vec![], is_line)
}

/// A pool over `[N, C, D, H, W]`: over rows and columns, then over the depth. The largest of the largest is the largest;
/// and so with means, since all windows of a depth count equally many elements.
fn volume(builder: &mut Builder, call: &Call<'_>, op: fn(Pool) -> Op, x: NodeId) -> Result<Vec<Value>, Problem> {
    let [n, c, d, h, w] = *builder.ty(x).shape.as_slice() else { return Err(Problem::new("it takes volumes")) };
    let (depth, rest) = (volume_window(call, None, &[0], [d, 1])?, volume_window(call, None, &[1, 2], [h, w])?);
    let pool = |window| Pool {
        window,
        ceil_mode: call.attributes().int_or("ceil_mode", 0).unwrap_or(0) != 0,
        count_include_pad: call.attributes().int_or("count_include_pad", 0).unwrap_or(0) != 0,
    };
    let layers = Op::Reshape { shape: vec![n, c * d, h, w] };
    let layers = builder.add_part(call, "layers", layers, &[x], vec![])?;
    let pooled = builder.add_part(call, "rows and columns", op(pool(rest)), &[layers], vec![])?;
    let [_, _, rows, columns] = *builder.ty(pooled).shape.as_slice() else {
        return Err(Problem::new("it has no maps"));
    };
    let stack = Op::Reshape { shape: vec![n, c, d, rows * columns] };
    let stack = builder.add_part(call, "stack", stack, &[pooled], vec![])?;
    let y = builder.add_part(call, "depth", op(pool(depth)), &[stack], vec![])?;
    let shape = vec![n, c, builder.ty(y).shape[2], rows, columns];
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}

/// `GlobalAveragePool`.
pub(super) fn global_average_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    global(builder, call, Op::GlobalAvgPool)
}

/// `GlobalMaxPool`.
pub(super) fn global_max_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    global(builder, call, Op::GlobalMaxPool)
}

fn global(builder: &mut Builder, call: &Call<'_>, op: Op) -> Result<Vec<Value>, Problem> {
    let (x, is_line) = as_image(builder, call)?;
    let [n, c, ref extents @ ..] = builder.ty(x).shape[..] else { return Err(Problem::new("it takes images")) };
    if extents.len() == 2 {
        return as_given(builder, call, op, x, vec![], is_line);
    }
    let shape = [&[n, c][..], &vec![1; extents.len()]].concat();
    let map = Op::Reshape { shape: vec![n, c, 1, extents.iter().product()] };
    let map = builder.add_part(call, "map", map, &[x], vec![])?;
    let y = builder.add_part(call, "pool", op, &[map], vec![])?;
    Ok(vec![Value::Node(builder.add(call, Op::Reshape { shape }, &[y], vec![])?)])
}
