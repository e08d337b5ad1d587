//! Convolutions, and the windows that they share with pools.

use super::builder::{Builder, Known, Value};
use super::call::Call;
use super::volume::{Volume, by_layers, plane};
use super::{Listed, Problem};
use crate::graph::infer::window_outputs;
use crate::graph::weights::Kind;
use crate::graph::{Binary, Conv, NodeId, Op, Pads, WeightId, Window};

/// `Conv`.
pub(super) fn conv(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let (x, is_line) = as_image(builder, call)?;
    let kernel = call.required_known(1)?;
    if let ([_, _, _, _, _], &[o, i, kd, kh, kw]) = (&builder.ty(x).shape[..], kernel.tensor.shape.as_slice()) {
        return volume(builder, call, x, kernel, [o, i, kd, kh, kw]);
    }
    let (channels, per_group, kh, kw) = match *kernel.tensor.shape.as_slice() {
        [o, i, kh, kw] if !is_line => (o, i, kh, kw),
        [o, i, k] if is_line => (o, i, 1, k),
        ref other => {
            return Err(Problem::new(format!(
                "its kernel has shape {other:?}; kiln convolves images with kernels [O, I, KH, KW], and lines with [O, I, K]"
            )));
        }
    };
    let [h, w] = image(builder, x)?;
    let window = window(call, Some([kh, kw]), [h, w], is_line)?;
    if window.kernel != [kh, kw] {
        return Err(Problem::new(format!("its kernel_shape {:?} is not its kernel's, {kh}×{kw}", window.kernel)));
    }
    let groups = positive("group", call.attributes().int_or("group", 1)?)?;
    let kernel = builder.weight(kernel, Kind::Kernel);
    let mut weights = vec![builder.graph.weights.reshape(kernel, &[channels, per_group, kh, kw])];
    let added = match call.input(2) {
        Some(Value::Known(bias)) => {
            weights.push(builder.weight(bias, Kind::Bias));
            None
        }
        Some(Value::Node(bias)) => Some(*bias),
        None => None,
    };
    let op = Op::Conv(Conv { channels, window, groups, bias: weights.len() == 2 });
    let Some(bias) = added else { return as_given(builder, call, op, x, weights, is_line) };
    let y = builder.add_part(call, "conv", op, &[x], weights)?;
    let bias = builder.add_part(call, "bias", Op::Reshape { shape: vec![1, channels, 1, 1] }, &[bias], vec![])?;
    let y = builder.add(call, Op::Binary(Binary::Add), &[y, bias], vec![])?;
    Ok(vec![Value::Node(if is_line { line(builder, call, y)? } else { y })])
}

/// A convolution over `[N, C, D, H, W]`.
fn volume(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    kernel: &Known,
    [channels, _, kd, kh, kw]: [usize; 5],
) -> Result<Vec<Value>, Problem> {
    let [n, _, d, h, w] = *builder.ty(x).shape.as_slice() else { return Err(Problem::new("it takes volumes")) };
    let taps = Some([kd, kh, kw]);
    let depth = volume_window(call, taps, &[0], [d, 1])?;
    let window = volume_window(call, taps, &[1, 2], [h, w])?;
    if window.kernel != [kh, kw] || depth.kernel[0] != kd {
        return Err(Problem::new("its kernel_shape is not its kernel's"));
    }
    let outputs = window_outputs(&depth, d, 1, false).zip(window_outputs(&window, h, w, false));
    let ([layers, _], [rows, columns]) =
        outputs.ok_or_else(|| Problem::new(format!("its kernel does not fit {d} layers of {h}×{w}")))?;
    let groups = positive("group", call.attributes().int_or("group", 1)?)?;
    let mut kernels = Vec::with_capacity(kd);
    for tap in 0..kd {
        let part = builder.derived(kernel, &format!("depth {tap}"), "", || Ok(plane(&kernel.tensor, tap)))?;
        kernels.push(builder.weight(&part, Kind::Kernel));
    }
    let result =
        Volume { shape: [n, channels, layers, rows, columns], bias: channel_bias(builder, call, channels, x)? };
    let from =
        |layer: usize, tap: usize| (layer * depth.stride[0] + tap * depth.dilation[0]).checked_sub(depth.pads.top);
    let y = by_layers(builder, call, x, kd, &result, from, |builder, layer, tap| {
        let op = Op::Conv(Conv { channels, window, groups, bias: false });
        builder.add_part(call, "tap", op, &[layer], vec![kernels[tap]])
    })?;
    Ok(vec![Value::Node(y)])
}

/// The third input, one number a channel, as what is added to a map of `like`'s type: `[1, C, 1, 1]`.
pub(super) fn channel_bias(
    builder: &mut Builder,
    call: &Call<'_>,
    channels: usize,
    like: NodeId,
) -> Result<Option<NodeId>, Problem> {
    if call.input(2).is_none() {
        return Ok(None);
    }
    let (mut bias, dtype) = (builder.operand(call, 2)?, builder.ty(like).dtype);
    if builder.ty(bias).dtype != dtype {
        bias = builder.add_part(call, "bias", Op::Cast(dtype), &[bias], vec![])?;
    }
    builder.add_part(call, "bias", Op::Reshape { shape: vec![1, channels, 1, 1] }, &[bias], vec![]).map(Some)
}

/// The first input as an image, and whether it is a line `[N, C, L]`: an image of one row.
pub(super) fn as_image(builder: &mut Builder, call: &Call<'_>) -> Result<(NodeId, bool), Problem> {
    let x = builder.operand(call, 0)?;
    let &[n, c, l] = builder.ty(x).shape.as_slice() else { return Ok((x, false)) };
    Ok((builder.add_part(call, "row", Op::Reshape { shape: vec![n, c, 1, l] }, &[x], vec![])?, true))
}

/// An operator on what [`as_image`] made, of the rank that the call has.
pub(super) fn as_given(
    builder: &mut Builder,
    call: &Call<'_>,
    op: Op,
    x: NodeId,
    weights: Vec<WeightId>,
    is_line: bool,
) -> Result<Vec<Value>, Problem> {
    let y = builder.add(call, op, &[x], weights)?;
    Ok(vec![Value::Node(if is_line { line(builder, call, y)? } else { y })])
}

/// An image of one row as the line that it is.
pub(super) fn line(builder: &mut Builder, call: &Call<'_>, y: NodeId) -> Result<NodeId, Problem> {
    let shape = builder.ty(y).shape.iter().copied().enumerate().filter(|(axis, _)| *axis != 2);
    let shape = shape.map(|(_, extent)| extent).collect();
    builder.add_part(call, "line", Op::Reshape { shape }, &[y], vec![])
}

/// Rows and columns of an image.
pub(super) fn image(builder: &Builder, x: NodeId) -> Result<[usize; 2], Problem> {
    match *builder.ty(x).shape.as_slice() {
        [_, _, h, w] => Ok([h, w]),
        ref other => Err(Problem::new(format!("it takes images [N, C, H, W], and its input has shape {other:?}"))),
    }
}

/// What attributes say of a window.
pub(super) struct Given {
    pub(super) kernel: Option<Vec<i64>>,
    pub(super) stride: Option<Vec<i64>>,
    pub(super) dilation: Option<Vec<i64>>,
    pub(super) pads: Option<Vec<i64>>,
}

/// The window that a call's attributes describe, over so many rows and columns. `kernel` is the one that the weights
/// have, for calls that do not say it. Over a line, attributes say nothing of rows.
pub(super) fn window(
    call: &Call<'_>,
    kernel: Option<[usize; 2]>,
    extents: [usize; 2],
    is_line: bool,
) -> Result<Window, Problem> {
    let ints = |name: &str| Ok::<_, Problem>(call.attributes().ints(name)?.map(<[i64]>::to_vec));
    let given = Given {
        kernel: ints("kernel_shape")?,
        stride: ints("strides")?,
        dilation: ints("dilations")?,
        pads: ints("pads")?,
    };
    window_of(&given, call.attributes().text_or("auto_pad", "NOTSET")?, kernel, extents, is_line)
}

/// The window that is given, as [`window`] has it.
pub(super) fn window_of(
    given: &Given,
    auto_pad: &str,
    kernel: Option<[usize; 2]>,
    extents: [usize; 2],
    is_line: bool,
) -> Result<Window, Problem> {
    let two = |name: &'static str, values: &Option<Vec<i64>>| -> Result<Option<[usize; 2]>, Problem> {
        let Some(values) = values else { return Ok(None) };
        match **values {
            [rows, columns] if !is_line => Ok(Some([positive(name, rows)?, positive(name, columns)?])),
            [columns] if is_line => Ok(Some([1, positive(name, columns)?])),
            _ => Err(Problem::new(format!(
                "its {name} are {}: kiln has windows over rows and columns alone",
                Listed(values)
            ))),
        }
    };
    let kernel = two("kernel_shape", &given.kernel)?.or(kernel);
    let kernel = kernel.ok_or_else(|| Problem::new("it does not say its kernel_shape"))?;
    if kernel.contains(&0) {
        return Err(Problem::new("its kernel has no taps"));
    }
    let stride = two("strides", &given.stride)?.unwrap_or([1, 1]);
    let dilation = two("dilations", &given.dilation)?.unwrap_or([1, 1]);
    let pads = match auto_pad {
        "NOTSET" | "" => given_pads(given.pads.as_deref(), is_line)?,
        "VALID" => Pads::default(),
        "SAME_UPPER" | "SAME_LOWER" => {
            let mut sides = [[0; 2]; 2];
            for i in 0..2 {
                let reach = dilation[i].saturating_mul(kernel[i] - 1).saturating_add(1);
                let needed =
                    (extents[i].div_ceil(stride[i]).max(1) - 1).saturating_mul(stride[i]).saturating_add(reach);
                let total = needed.saturating_sub(extents[i]);
                sides[i] = [total / 2, total.div_ceil(2)];
                if auto_pad == "SAME_LOWER" {
                    sides[i].reverse();
                }
            }
            let [[top, bottom], [left, right]] = sides;
            Pads { top, left, bottom, right }
        }
        other => return Err(Problem::new(format!("its auto_pad `{other}` is not known"))),
    };
    Ok(Window { kernel, stride, pads, dilation })
}

fn given_pads(pads: Option<&[i64]>, is_line: bool) -> Result<Pads, Problem> {
    let Some(pads) = pads else { return Ok(Pads::default()) };
    let sides: Option<Vec<usize>> = pads.iter().map(|&side| usize::try_from(side).ok()).collect();
    match sides.as_deref() {
        Some(&[top, left, bottom, right]) if !is_line => Ok(Pads { top, left, bottom, right }),
        Some(&[left, right]) if is_line => Ok(Pads { left, right, ..Pads::default() }),
        _ => Err(Problem::new(format!("its pads are {}, and kiln takes four that are not negative", Listed(pads)))),
    }
}

/// An attribute that counts something.
pub(super) fn positive(name: &str, value: i64) -> Result<usize, Problem> {
    let positive = usize::try_from(value).ok().filter(|&value| value > 0);
    positive.ok_or_else(|| Problem::new(format!("its {name} is {value}, and must be positive")))
}

/// The window of a call over volumes along some of its directions, as one over rows and columns; of one direction those
/// are the rows. `kernel` is the one that the weights have.
pub(super) fn volume_window(
    call: &Call<'_>,
    kernel: Option<[usize; 3]>,
    directions: &[usize],
    extents: [usize; 2],
) -> Result<Window, Problem> {
    let three = |name: &str| -> Result<Option<Vec<i64>>, Problem> {
        let Some(values) = call.attributes().ints(name)? else { return Ok(None) };
        match values.len() {
            3 => Ok(Some(directions.iter().map(|&i| values[i]).collect())),
            _ => Err(Problem::new(format!("its {name} are {} for a volume", Listed(values)))),
        }
    };
    let pads = match call.attributes().ints("pads")? {
        Some(pads) if pads.len() == 6 => {
            Some(directions.iter().copied().chain(directions.iter().map(|i| i + 3)).map(|i| pads[i]).collect())
        }
        Some(pads) => return Err(Problem::new(format!("its pads are {} for a volume", Listed(pads)))),
        None => None,
    };
    let own = kernel.map(|kernel| directions.iter().map(|&i| kernel[i] as i64).collect());
    let given = Given {
        kernel: three("kernel_shape")?.or(own),
        stride: three("strides")?,
        dilation: three("dilations")?,
        pads,
    };
    let auto_pad = call.attributes().text_or("auto_pad", "NOTSET")?;
    if let [_] = directions {
        // A line is an image of one row; this one stands upright.
        let Window { kernel, stride, pads, dilation } = window_of(&given, auto_pad, None, [1, extents[0]], true)?;
        let upright = |[_, along]: [usize; 2]| [along, 1];
        let pads = Pads { top: pads.left, bottom: pads.right, left: 0, right: 0 };
        return Ok(Window { kernel: upright(kernel), stride: upright(stride), pads, dilation: upright(dilation) });
    }
    window_of(&given, auto_pad, None, extents, false)
}
