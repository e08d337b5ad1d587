//! Transposed convolutions, as convolutions whose channels are then laid out as pixels.
//!
//! With stride s, dilation d and kernel w, output position `q * s + r` is the sum over the taps k with `k * d = m * s + r`
//! of `x[q - m] * w[k]`. So each of the s phases r is a convolution of its own over x, and all phases of all channels are
//! one, whose outputs are pixels of blocks of s by s (Shi et al. 2016, "Is the deconvolution layer the same as a
//! convolutional layer?", arXiv:1609.07009).

use kiln_rt::safetensors::Dtype;

use super::Problem;
use super::build::{Builder, Call, Value};
use super::conv::{as_image, image, line, positive};
use super::shape::pixels_of_channels;
use super::tensor::Tensor;
use crate::graph::weights::Kind;
use crate::graph::{Binary, Conv, Op, Pads, Window};

/// How many times as large as the kernel the kernel of all phases may be.
const GROWTH: usize = 64;

/// One direction, rows or columns.
#[derive(Clone, Copy)]
struct Side {
    taps: usize,
    stride: usize,
    dilation: usize,
    /// Outputs cut off at the start.
    before: usize,
    outputs: usize,
    /// Taps of a phase.
    reach: usize,
    /// Outputs of a phase.
    each: usize,
}

/// `ConvTranspose`.
pub(super) fn conv_transpose(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let (x, is_line) = as_image(builder, call)?;
    let kernel = call.required_known(1)?;
    let [inputs, per_group, kh, kw] = match *kernel.tensor.shape.as_slice() {
        [inputs, per_group, kh, kw] if !is_line => [inputs, per_group, kh, kw],
        [inputs, per_group, k] if is_line => [inputs, per_group, 1, k],
        ref other => {
            return Err(Problem::new(format!(
                "its kernel has shape {other:?}; kiln convolves images with kernels [I, O, KH, KW], and lines with [I, O, K]"
            )));
        }
    };
    let extents = image(builder, x)?;
    let groups = positive("group", call.attributes.int_or("group", 1)?)?;
    if builder.ty(x).shape[1] != inputs || !inputs.is_multiple_of(groups) {
        let have = builder.ty(x).shape[1];
        return Err(Problem::new(format!("its kernel takes {inputs} channels in {groups} groups, not {have}")));
    }
    let sides = sides(call, [kh, kw], extents, is_line)?;
    let [rows, columns] = sides;
    let channels = per_group * groups;
    let phases = phase_kernel(&kernel.tensor, groups, sides)?;
    let phases = builder.derived(kernel, "phases", phases);
    let kernel = builder.weight(&phases, Kind::Kernel);
    // A window of m taps that ends at its output.
    let pads = Pads {
        top: rows.reach - 1,
        left: columns.reach - 1,
        bottom: rows.each - extents[0],
        right: columns.each - extents[1],
    };
    let window = Window { kernel: [rows.reach, columns.reach], stride: [1, 1], pads, dilation: [1, 1] };
    let op = Op::Conv(Conv { channels: channels * rows.stride * columns.stride, window, groups, bias: false });
    let mut y = builder.add_part(call, "conv", op, &[x], vec![kernel])?;
    if [rows.stride, columns.stride] != [1, 1] {
        y = pixels_of_channels(builder, call, "pixels", y, [rows.stride, columns.stride], true)?;
    }
    for (axis, side) in [(2, rows), (3, columns)] {
        let (start, end) = (side.before, side.before + side.outputs);
        if (start, end) != (0, builder.ty(y).shape[axis]) {
            y = builder.add_part(call, "cut", Op::Slice { axis, start, end }, &[y], vec![])?;
        }
    }
    if call.input(2).is_some() {
        let bias = builder.operand(call, 2)?;
        let bias = builder.add_part(call, "bias", Op::Reshape { shape: vec![1, channels, 1, 1] }, &[bias], vec![])?;
        y = builder.add_part(call, "", Op::Binary(Binary::Add), &[y, bias], vec![])?;
    }
    Ok(vec![Value::Node(if is_line { line(builder, call, y)? } else { y })])
}

/// The two directions of a call over so many rows and columns. Of a line, attributes say nothing of rows.
fn sides(call: &Call<'_>, taps: [usize; 2], extents: [usize; 2], is_line: bool) -> Result<[Side; 2], Problem> {
    let two = |name: &str, default: i64| -> Result<[i64; 2], Problem> {
        match call.attributes.ints(name)? {
            None if is_line => Ok([default.min(1), default]),
            None => Ok([default; 2]),
            Some(&[columns]) if is_line => Ok([default.min(1), columns]),
            Some(&[rows, columns]) if !is_line => Ok([rows, columns]),
            Some(other) => Err(Problem::new(format!("its {name} are {other:?}, and kiln takes two"))),
        }
    };
    if two("kernel_shape", 0)?.iter().zip(taps).any(|(&said, taps)| said != 0 && said != taps as i64) {
        return Err(Problem::new(format!("its kernel_shape is not its kernel's, {}×{}", taps[0], taps[1])));
    }
    let (strides, dilations, more) = (two("strides", 1)?, two("dilations", 1)?, two("output_padding", 0)?);
    let wanted = call.attributes.ints("output_shape")?;
    let auto_pad = call.attributes.text_or("auto_pad", "NOTSET")?;
    let pads = match call.attributes.ints("pads")? {
        None => [0; 4],
        Some(&[left, right]) if is_line => [0, left, 0, right],
        Some(&[top, left, bottom, right]) if !is_line => [top, left, bottom, right],
        Some(other) => return Err(Problem::new(format!("its pads are {other:?}, and kiln takes four"))),
    };
    let too_large = || Problem::new("its output is too large");
    let side = |i: usize| -> Result<Side, Problem> {
        let (stride, dilation) = (positive("strides", strides[i])?, positive("dilations", dilations[i])?);
        let signed = |extent: usize| i64::try_from(extent).map_err(|_| too_large());
        let span = (taps[i] - 1).checked_mul(dilation).and_then(|span| span.checked_add(1)).ok_or_else(too_large)?;
        let steps = (extents[i] - 1).checked_mul(stride).ok_or_else(too_large)?;
        let full = signed(steps)?.checked_add(signed(span)?).and_then(|full| full.checked_add(more[i]));
        let mut full = full.filter(|_| more[i] >= 0).ok_or_else(too_large)?;
        // What is cut off in all, to the shape that is asked for.
        let asked = match wanted {
            Some(&[rows, columns] | &[_, _, rows, columns]) if !is_line => Some([rows, columns][i]),
            Some(&[columns] | &[_, _, columns]) if is_line => Some([1, columns][i]),
            Some(other) => return Err(Problem::new(format!("its output_shape is {other:?}, and kiln takes two"))),
            None if auto_pad.starts_with("SAME") => {
                Some(signed(extents[i].checked_mul(stride).ok_or_else(too_large)?)?)
            }
            None => None,
        };
        full = full.max(asked.unwrap_or(full));
        let [before, after] = match asked {
            Some(asked) => {
                // Where more is asked for than there is, zeros follow.
                let total = full.checked_sub(asked).filter(|_| asked > 0).ok_or_else(too_large)?.max(0);
                let less = total / 2;
                if auto_pad == "SAME_UPPER" { [less, total - less] } else { [total - less, less] }
            }
            None => [pads[i], pads[i + 2]],
        };
        let outputs = full.checked_sub(before).and_then(|rest| rest.checked_sub(after));
        let fits = before >= 0 && after >= 0 && outputs.is_some_and(|outputs| outputs > 0);
        let outputs = outputs.filter(|_| fits).ok_or_else(|| {
            Problem::new(format!("its padding {:?} leaves nothing of {full} outputs", [before, after]))
        })?;
        let whole = usize::try_from(full).map_err(|_| too_large())?;
        Ok(Side {
            taps: taps[i],
            stride,
            dilation,
            before: before as usize,
            outputs: outputs as usize,
            reach: (span - 1) / stride + 1,
            each: whole.div_ceil(stride).max(extents[i]),
        })
    };
    if taps.contains(&0) {
        return Err(Problem::new("its kernel has no taps"));
    }
    Ok([side(0)?, side(1)?])
}

/// The kernel of all phases, `[O * s * s, I / groups, m, m]`, from `[I, O / groups, KH, KW]`.
fn phase_kernel(kernel: &Tensor, groups: usize, [rows, columns]: [Side; 2]) -> Result<Tensor, Problem> {
    let (inputs, per_group) = (kernel.shape[0] / groups, kernel.shape[1]);
    let shape = [per_group * groups, rows.stride, columns.stride, inputs, rows.reach, columns.reach];
    let len = shape.iter().try_fold(1usize, |len, &extent| len.checked_mul(extent));
    let len = len.filter(|&len| len <= GROWTH.saturating_mul(kernel.len()));
    let len = len.ok_or_else(|| Problem::new("its strides are too large beside its kernel"))?;
    // The tap that phase r has at place j of its window, counted from the first of m.
    let tap = |side: Side, r: usize, j: usize| {
        let at = (side.reach - 1 - j) * side.stride + r;
        (at.is_multiple_of(side.dilation) && at / side.dilation < side.taps).then(|| at / side.dilation)
    };
    let values = kernel.to_floats();
    let mut phases = Vec::with_capacity(len);
    for o in 0..per_group * groups {
        for (r, s) in (0..rows.stride).flat_map(|r| (0..columns.stride).map(move |s| (r, s))) {
            for i in 0..inputs {
                let from = ((o / per_group * inputs + i) * per_group + o % per_group) * rows.taps;
                for (j, k) in (0..rows.reach).flat_map(|j| (0..columns.reach).map(move |k| (j, k))) {
                    let taps = tap(rows, r, j).zip(tap(columns, s, k));
                    phases.push(taps.map_or(0.0, |(a, b)| values[(from + a) * columns.taps + b]));
                }
            }
        }
    }
    let channels = per_group * groups * rows.stride * columns.stride;
    Ok(Tensor::floats(Dtype::F32, vec![channels, inputs, rows.reach, columns.reach], &phases))
}
