//! `Resize` and `Upsample`.

use super::Problem;
use super::build::{Builder, Call, Value, axis};
use crate::graph::{Coordinates, F32, Filter, Op, Resize, Rounding};

/// `Resize` of rows and columns, and what it was before version 11 and, as `Upsample`, before version 10.
pub(super) fn resize(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let rank = shape.len();
    let is_older = builder.opset < 11 || call.operator() == "Upsample";
    let (given_scales, given_sizes) = if is_older { (1, None) } else { (2, Some(3)) };
    let axes = match call.attributes.ints("axes")? {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<usize>, _>>()?,
        None => (0..rank).collect(),
    };
    let mut size = shape.clone();
    let mut scale = vec![1.0f32; rank];
    let per_axis = |count: usize| {
        if count == axes.len() {
            Ok(())
        } else {
            Err(Problem::new(format!("it has {count} numbers for {} axes", axes.len())))
        }
    };
    if let Some(scales) = scales(call, given_scales)? {
        per_axis(scales.len())?;
        for (&axis, by) in axes.iter().zip(scales) {
            let extent = (shape[axis] as f32 * by).floor();
            if !(by > 0.0 && (1.0..1e9).contains(&extent)) {
                return Err(Problem::new(format!("it scales {} elements by {by}", shape[axis])));
            }
            (size[axis], scale[axis]) = (extent as usize, by);
        }
    } else if let Some(sizes) = given_sizes.map(|input| call.known_integers(input)).transpose()?.flatten() {
        per_axis(sizes.len())?;
        for (&axis, &wanted) in axes.iter().zip(&sizes) {
            let wanted = usize::try_from(wanted).ok().filter(|&wanted| wanted > 0);
            size[axis] = wanted.ok_or_else(|| Problem::new(format!("{sizes:?} is no size")))?;
            scale[axis] = size[axis] as f32 / shape[axis] as f32;
        }
        // One scale for all axes, the least or the largest, and sizes that follow from it.
        let scales = axes.iter().map(|&axis| scale[axis]);
        let kept = match call.attributes.text_or("keep_aspect_ratio_policy", "stretch")? {
            "stretch" => None,
            "not_larger" => Some(scales.fold(f32::INFINITY, f32::min)),
            "not_smaller" => Some(scales.fold(0.0, f32::max)),
            other => return Err(Problem::new(format!("its keep_aspect_ratio_policy `{other}` is not known"))),
        };
        if let Some(by) = kept {
            for &axis in &axes {
                size[axis] = ((shape[axis] as f32 * by + 0.5).floor() as usize).max(1);
                scale[axis] = by;
            }
        }
    } else {
        return Err(Problem::new("it says neither its scales nor its sizes"));
    }
    if size == shape && scale.iter().all(|&by| by == 1.0) {
        return Ok(vec![Value::Node(x)]);
    }
    if rank != 4 || size[..2] != shape[..2] || scale[..2] != [1.0, 1.0] {
        return Err(Problem::new(format!("kiln resizes rows and columns of images, not {shape:?} to {size:?}")));
    }
    if call.attributes.int_or("antialias", 0)? != 0 {
        return Err(Problem::new("kiln does not smooth what it makes smaller (antialias)"));
    }
    let (filter, coordinates) = if is_older {
        (filter(call, "floor")?, Coordinates::Asymmetric)
    } else {
        (filter(call, call.attributes.text_or("nearest_mode", "round_prefer_floor")?)?, coordinates(call)?)
    };
    let resize =
        Resize { size: [size[2], size[3]], scale: [F32::new(scale[2]), F32::new(scale[3])], filter, coordinates };
    Ok(vec![Value::Node(builder.add(call, Op::Resize(resize), &[x], vec![])?)])
}

/// The factors, if there are any: an empty tensor says that there are none.
fn scales(call: &Call<'_>, input: usize) -> Result<Option<Vec<f32>>, Problem> {
    if let Some(scales) = call.attributes.floats("scales")? {
        return Ok(Some(scales.to_vec()));
    }
    let scales = call.known(input)?.map(|known| known.tensor.to_floats());
    Ok(scales.filter(|scales| !scales.is_empty()).map(|scales| scales.into_iter().map(|by| by as f32).collect()))
}

fn filter(call: &Call<'_>, rounding: &str) -> Result<Filter, Problem> {
    let rounding = match rounding {
        "round_prefer_floor" => Rounding::HalfDown,
        "round_prefer_ceil" => Rounding::HalfUp,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => return Err(Problem::new(format!("its nearest_mode `{other}` is not known"))),
    };
    match call.attributes.text_or("mode", "nearest")? {
        "nearest" => Ok(Filter::Nearest(rounding)),
        "linear" | "bilinear" => Ok(Filter::Linear),
        other => Err(Problem::new(format!("kiln resizes by nearest and linear, not by `{other}`"))),
    }
}

fn coordinates(call: &Call<'_>) -> Result<Coordinates, Problem> {
    Ok(match call.attributes.text_or("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "asymmetric" => Coordinates::Asymmetric,
        "align_corners" => Coordinates::AlignCorners,
        other => return Err(Problem::new(format!("kiln does not have its coordinates, `{other}`"))),
    })
}
