//! `Resize` and `Upsample`.

use super::builder::{Builder, Value};
use super::call::Call;
use super::geometry::axis;
use super::resample::{Around, Kernel, Places, resample};
use super::{Listed, Problem};
use crate::diag::counted;
use crate::graph::{Coordinates, F32, Filter, Op, Resize, Rounding, Scale};

/// `Resize` of rows and columns, and what it was before version 11 and, as `Upsample`, before version 10.
pub(super) fn resize(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let shape = builder.ty(x).shape.clone();
    let rank = shape.len();
    let is_older = builder.opset < 11 || call.operator() == "Upsample";
    let (given_scales, given_sizes) = if is_older { (1, None) } else { (2, Some(3)) };
    let mode = call.attributes().text_or("mode", "nearest")?;
    let takes_one = mode == "nearest";
    let by_name = if is_older { "asymmetric" } else { call.attributes().text_or(COORDINATES, "half_pixel")? };
    let axes = match call.attributes().ints("axes")? {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<usize>, _>>()?,
        None => (0..rank).collect(),
    };
    let (size, scale) = extents(call, &shape, &axes, (given_scales, given_sizes), takes_one)?;
    let crops = by_name == "tf_crop_and_resize";
    if size == shape && scale.iter().all(|by| by.is_one()) && !crops {
        return Ok(vec![Value::Node(x)]);
    }
    let named = call.attributes().text_or("nearest_mode", "round_prefer_floor")?;
    let roundings: Vec<Rounding> = match is_older {
        // The text is silent; ONNX's tests of version 10 and ONNX Runtime take the next element where there are fewer of
        // them, else the last one.
        true => scale.iter().map(|by| if by.to_f64() < 1.0 { Rounding::Ceil } else { Rounding::Floor }).collect(),
        false => vec![rounding(named)?; rank],
    };
    let antialias = call.attributes().int_or("antialias", 0)? != 0;
    let exclude_outside = call.attributes().int_or("exclude_outside", 0)? != 0;
    let coordinates = if crops { None } else { Some(coordinates(by_name)?) };
    let plain = match (mode, coordinates) {
        ("nearest", Some(coordinates)) => match roundings[..] {
            [.., rows, columns] if rows == columns => Some((Filter::Nearest(rows), coordinates)),
            _ => None,
        },
        ("linear" | "bilinear", Some(coordinates)) => Some((Filter::Linear, coordinates)),
        _ => None,
    };
    if let Some((filter, coordinates)) = plain
        && !antialias
        && !exclude_outside
        && rank == 4
        && size[..2] == shape[..2]
        && scale[..2].iter().all(|by| by.is_one())
    {
        let resize = Resize { size: [size[2], size[3]], scale: [scale[2], scale[3]], filter, coordinates };
        return Ok(vec![Value::Node(builder.add(call, Op::Resize(resize), &[x], vec![])?)]);
    }
    let region = region(call, &axes, rank, crops)?;
    let fill = f64::from(call.attributes().float_or("extrapolation_value", 0.0)?);
    let mut y = x;
    for axis in 0..rank {
        let (inputs, outputs, region) = (shape[axis], size[axis], region[axis]);
        let cropped = crops && region != [0.0, 1.0];
        if inputs == outputs && scale[axis].is_one() && !cropped {
            continue;
        }
        let kernel = match mode {
            "nearest" => Kernel::Nearest(roundings[axis]),
            "linear" | "bilinear" => Kernel::Linear,
            "cubic" => Kernel::Cubic(f64::from(call.attributes().float_or("cubic_coeff_a", -0.75)?)),
            other => return Err(Problem::new(format!("its mode `{other}` is not known"))),
        };
        let places = coordinates.map_or(Places::Within(region), Places::By);
        // The ends of a region are numbers, and so are positions in it.
        let scale = if crops { Scale::Number(F32::new(scale[axis].to_f64() as f32)) } else { scale[axis] };
        let around = Around { kernel, places, inputs, outputs, scale, antialias, exclude_outside };
        y = resample(builder, call, y, axis, &around, fill)?;
    }
    Ok(vec![Value::Node(y)])
}

/// The output size and scale of each axis. Nearest resizing (`takes_one`) rounds a scale given by sizes to f32, as ONNX Runtime
/// does: an exact scale would sometimes choose another element. Linear resizing keeps the exact ratio, since a small change
/// of position changes its result little.
fn extents(
    call: &Call<'_>,
    shape: &[usize],
    axes: &[usize],
    (given_scales, given_sizes): (usize, Option<usize>),
    takes_one: bool,
) -> Result<(Vec<usize>, Vec<Scale>), Problem> {
    let ratio = |outputs: usize, inputs: usize| match takes_one && outputs != inputs {
        true => Scale::Number(F32::new(outputs as f32 / inputs as f32)),
        false => Scale::Ratio { outputs, inputs },
    };
    let mut size = shape.to_vec();
    let mut scale = vec![Scale::Ratio { outputs: 1, inputs: 1 }; shape.len()];
    let per_axis = |count: usize| {
        if count == axes.len() {
            Ok(())
        } else {
            Err(Problem::new(format!("it has {} where one an axis is needed", counted(count, "number"))))
        }
    };
    if let Some(scales) = scales(call, given_scales)? {
        per_axis(scales.len())?;
        for (&axis, by) in axes.iter().zip(scales) {
            let extent = (shape[axis] as f32 * by).floor();
            if !(by > 0.0 && (1.0..1e9).contains(&extent)) {
                return Err(Problem::new(format!("it scales {} elements by {by}", shape[axis])));
            }
            (size[axis], scale[axis]) = (extent as usize, Scale::Number(F32::new(by)));
        }
    } else if let Some(sizes) = given_sizes.map(|input| call.known_integers(input)).transpose()?.flatten() {
        per_axis(sizes.len())?;
        for (&axis, &wanted) in axes.iter().zip(&sizes) {
            let wanted = usize::try_from(wanted).ok().filter(|&wanted| wanted > 0);
            size[axis] = wanted.ok_or_else(|| Problem::new(format!("{} is no size", Listed(&sizes))))?;
            scale[axis] = ratio(size[axis], shape[axis]);
        }
        // One scale for all axes, the least or the largest, and sizes that follow from it.
        let by_scale =
            |&a: &usize, &b: &usize| (size[a] as u128 * shape[b] as u128).cmp(&(size[b] as u128 * shape[a] as u128));
        let kept = match call.attributes().text_or("keep_aspect_ratio_policy", "stretch")? {
            "stretch" => None,
            "not_larger" => axes.iter().copied().min_by(by_scale),
            "not_smaller" => axes.iter().copied().max_by(by_scale),
            other => return Err(Problem::new(format!("its keep_aspect_ratio_policy `{other}` is not known"))),
        };
        if let Some(of) = kept {
            let (outputs, inputs) = (size[of], shape[of]);
            for &axis in axes {
                // The nearest whole number, halves upwards.
                let [twice, inputs_twice] = [2 * shape[axis] as u128 * outputs as u128, 2 * inputs as u128];
                let rounded = usize::try_from((twice + inputs as u128) / inputs_twice);
                size[axis] = rounded.map_err(|_| Problem::new(format!("{} is no size", Listed(&sizes))))?.max(1);
                scale[axis] = ratio(outputs, inputs);
            }
        }
    } else {
        return Err(Problem::new("it says neither its scales nor its sizes"));
    }
    Ok((size, scale))
}

/// The attribute that says where an output lies.
const COORDINATES: &str = "coordinate_transformation_mode";

/// Start and end of the region that is resized, along each axis of the value.
fn region(call: &Call<'_>, axes: &[usize], rank: usize, crops: bool) -> Result<Vec<[f32; 2]>, Problem> {
    let mut region = vec![[0.0, 1.0]; rank];
    if !crops {
        return Ok(region);
    }
    let given = call.required_known(1)?.tensor.to_floats();
    if given.len() != 2 * axes.len() {
        return Err(Problem::new(format!(
            "its roi has {} where two an axis are needed",
            counted(given.len(), "number")
        )));
    }
    for (i, &axis) in axes.iter().enumerate() {
        region[axis] = [given[i], given[axes.len() + i]].map(|end| end as f32);
    }
    Ok(region)
}

/// The factors, if there are any: an empty tensor says that there are none.
fn scales(call: &Call<'_>, input: usize) -> Result<Option<Vec<f32>>, Problem> {
    if let Some(scales) = call.attributes().floats("scales")? {
        return Ok(Some(scales.to_vec()));
    }
    let scales = call.known(input)?.map(|known| known.tensor.to_floats());
    Ok(scales.filter(|scales| !scales.is_empty()).map(|scales| scales.into_iter().map(|by| by as f32).collect()))
}

fn rounding(name: &str) -> Result<Rounding, Problem> {
    Ok(match name {
        "round_prefer_floor" => Rounding::HalfDown,
        "round_prefer_ceil" => Rounding::HalfUp,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => return Err(Problem::new(format!("its nearest_mode `{other}` is not known"))),
    })
}

fn coordinates(name: &str) -> Result<Coordinates, Problem> {
    Ok(match name {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNn,
        "asymmetric" => Coordinates::Asymmetric,
        "align_corners" => Coordinates::AlignCorners,
        other => return Err(Problem::new(format!("its coordinates `{other}` are not known"))),
    })
}
