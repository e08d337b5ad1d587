//! Pools over windows and over whole images.

use super::Problem;
use super::build::{Builder, Call, Value};
use super::conv::{image, window};
use crate::graph::{Op, Pool};

/// `MaxPool`; its second result, where the largest stood, is not made.
pub(super) fn max_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    windowed(builder, call, Op::MaxPool)
}

/// `AveragePool`.
pub(super) fn average_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    windowed(builder, call, Op::AvgPool)
}

fn windowed(builder: &mut Builder, call: &Call<'_>, op: fn(Pool) -> Op) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let pool = Pool {
        window: window(call, None, image(builder, x)?)?,
        ceil_mode: call.attributes.int_or("ceil_mode", 0)? != 0,
        count_include_pad: call.attributes.int_or("count_include_pad", 0)? != 0,
    };
    Ok(vec![Value::Node(builder.add(call, op(pool), &[x], vec![])?)])
}

/// `GlobalAveragePool`.
pub(super) fn global_average_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    Ok(vec![Value::Node(builder.add(call, Op::GlobalAvgPool, &[x], vec![])?)])
}

/// `GlobalMaxPool`.
pub(super) fn global_max_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    Ok(vec![Value::Node(builder.add(call, Op::GlobalMaxPool, &[x], vec![])?)])
}
