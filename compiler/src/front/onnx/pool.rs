//! Pools over windows and over whole images.

use super::Problem;
use super::build::{Builder, Call, Value};
use super::conv::{as_given, as_image, image, window};
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
    let (x, is_line) = as_image(builder, call)?;
    let pool = Pool {
        window: window(call, None, image(builder, x)?, is_line)?,
        ceil_mode: call.attributes.int_or("ceil_mode", 0)? != 0,
        count_include_pad: call.attributes.int_or("count_include_pad", 0)? != 0,
    };
    as_given(builder, call, op(pool), x, vec![], is_line)
}

/// `GlobalAveragePool`.
pub(super) fn global_average_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let (x, is_line) = as_image(builder, call)?;
    as_given(builder, call, Op::GlobalAvgPool, x, vec![], is_line)
}

/// `GlobalMaxPool`.
pub(super) fn global_max_pool(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let (x, is_line) = as_image(builder, call)?;
    as_given(builder, call, Op::GlobalMaxPool, x, vec![], is_line)
}
