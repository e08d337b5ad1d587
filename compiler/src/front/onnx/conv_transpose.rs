//! Transposed convolutions, as convolutions whose channels are then laid out as pixels.
//!
//! With stride s, dilation d and kernel w, output position `q * s + r` is the sum over the taps k with `k * d = m * s + r`
//! of `x[q - m] * w[k]`. So each of the s phases r is a convolution of its own over x, and all phases of all channels are
//! one, whose outputs are pixels of blocks of s by s (Shi et al. 2016, "Is the deconvolution layer the same as a
//! convolutional layer?", arXiv:1609.07009).

use kiln_rt::safetensors::Dtype;

use super::budget::Budget;
use super::builder::{Builder, Known, Value};
use super::call::Call;
use super::conv::{as_image, channel_bias, image, line, positive};
use super::shape::pixels_of_channels;
use super::tensor::Tensor;
use super::volume::{Volume, by_layers, plane};
use super::{Listed, Problem};
use crate::graph::weights::Kind;
use crate::graph::{Binary, Conv, F32, NodeId, Op, Pads, WeightId, Window};

/// How many times as large as a small kernel the kernel of all phases may be.
const GROWTH: usize = 64;

/// One direction: layers, rows or columns.
#[derive(Clone, Copy, Debug)]
struct Side {
    taps: usize,
    stride: usize,
    dilation: usize,
    /// Outputs cut off at the start.
    before: usize,
    /// Zeros before the first output, where padding is negative. Those after the last one are sums of no taps.
    ahead: usize,
    /// Outputs, with the zeros.
    outputs: usize,
    /// Taps of a phase, and how far apart they lie.
    reach: usize,
    step: usize,
    /// Outputs of a phase.
    each: usize,
}

impl Side {
    /// Along the one row of a line.
    const POINT: Self =
        Side { taps: 1, stride: 1, dilation: 1, before: 0, ahead: 0, outputs: 1, reach: 1, step: 1, each: 1 };
}

/// `ConvTranspose`.
pub(super) fn conv_transpose(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let (x, is_line) = as_image(builder, call)?;
    let kernel = call.required_known(1)?.clone();
    let groups = positive("group", call.attributes().int_or("group", 1)?)?;
    let (shape, of) = (builder.ty(x).shape.clone(), kernel.tensor.shape.as_slice());
    let ([n, have, ..], &[inputs, per_group, ..]) = (&shape[..], of) else {
        return Err(Problem::new(format!("its kernel has shape {of:?} for a value of shape {shape:?}")));
    };
    if *have != inputs || !inputs.is_multiple_of(groups) {
        return Err(Problem::new(format!("its kernel takes {inputs} channels in {groups} groups, not {have}")));
    }
    let channels = per_group.checked_mul(groups).ok_or_else(|| Problem::new("its output is too large"))?;
    let bias = channel_bias(builder, call, channels, x)?;
    let transposed = Transposed { call, kernel: &kernel, groups, channels };
    let y = match (&shape[..], &of[2..]) {
        (&[_, _, _, w], &[k]) if is_line => {
            let [columns] = sides(call, [k], [w])?;
            let sides = [Side::POINT, columns];
            let phases = transposed.phases(builder, &kernel.tensor, "phases", sides)?;
            let y = transposed.map(builder, x, phases, sides)?;
            let y = transposed.with_bias(builder, y, bias)?;
            line(builder, call, y)?
        }
        (&[_, _, h, w], &[kh, kw]) if !is_line => {
            let sides = sides(call, [kh, kw], [h, w])?;
            let phases = transposed.phases(builder, &kernel.tensor, "phases", sides)?;
            let y = transposed.map(builder, x, phases, sides)?;
            transposed.with_bias(builder, y, bias)?
        }
        (&[_, _, d, h, w], &[kd, kh, kw]) => {
            let [depth, rows, columns] = sides(call, [kd, kh, kw], [d, h, w])?;
            let mut kernels = Vec::with_capacity(kd);
            for tap in 0..kd {
                let part = plane(&kernel.tensor, tap);
                kernels.push(transposed.phases(builder, &part, &format!("phases of depth {tap}"), [rows, columns])?);
            }
            let result = Volume { shape: [*n, channels, depth.outputs, rows.outputs, columns.outputs], bias };
            let from = |layer: usize, tap: usize| {
                let steps = (depth.before + layer).checked_sub(depth.ahead)?.checked_sub(tap * depth.dilation)?;
                steps.is_multiple_of(depth.stride).then_some(steps / depth.stride)
            };
            by_layers(builder, call, x, kd, &result, from, |builder, layer, tap| {
                transposed.map(builder, layer, kernels[tap], [rows, columns])
            })?
        }
        _ => {
            return Err(Problem::new(format!(
                "its kernel has shape {of:?}; kiln convolves lines with kernels [I, O, K], images with [I, O, KH, KW] and \
                 volumes with [I, O, KD, KH, KW]"
            )));
        }
    };
    Ok(vec![Value::Node(y)])
}

/// A call whose operands fit each other.
struct Transposed<'a, 'b> {
    call: &'a Call<'b>,
    kernel: &'a Known,
    groups: usize,
    /// Of the result.
    channels: usize,
}

impl Transposed<'_, '_> {
    /// The kernel of all phases of a kernel `[I, O / groups, KH, KW]`.
    fn phases(
        &self,
        builder: &mut Builder,
        kernel: &Tensor,
        name: &str,
        sides: [Side; 2],
    ) -> Result<WeightId, Problem> {
        let groups = self.groups;
        let besides = format!("{sides:?} {groups}");
        let phases = builder.derived(self.kernel, name, &besides, || phase_kernel(kernel, groups, sides))?;
        Ok(builder.weight(&phases, Kind::Kernel))
    }

    /// A map, by the kernel of all phases, without the bias.
    fn map(
        &self,
        builder: &mut Builder,
        x: NodeId,
        phases: WeightId,
        [rows, columns]: [Side; 2],
    ) -> Result<NodeId, Problem> {
        let Transposed { call, groups, channels, .. } = *self;
        let extents = image(builder, x)?;
        // A window of m taps that ends at its output.
        let pads = Pads {
            top: (rows.reach - 1) * rows.step,
            left: (columns.reach - 1) * columns.step,
            bottom: rows.each - extents[0],
            right: columns.each - extents[1],
        };
        let (kernel, dilation) = ([rows.reach, columns.reach], [rows.step, columns.step]);
        let window = Window { kernel, stride: [1, 1], pads, dilation };
        let channels = channels * rows.stride * columns.stride;
        let op = Op::Conv(Conv { channels, window, groups, bias: false });
        let mut y = builder.add_part(call, "conv", op, &[x], vec![phases])?;
        if [rows.stride, columns.stride] != [1, 1] {
            y = pixels_of_channels(builder, call, "pixels", y, [rows.stride, columns.stride], true)?;
        }
        for (axis, side) in [(2, rows), (3, columns)] {
            let (start, end) = (side.before, side.before + side.outputs - side.ahead);
            if (start, end) != (0, builder.ty(y).shape[axis]) {
                y = builder.add_part(call, "cut", Op::Slice { axis, start, end }, &[y], vec![])?;
            }
        }
        if [rows.ahead, columns.ahead] != [0, 0] {
            let pads = Pads { top: rows.ahead, left: columns.ahead, ..Pads::default() };
            y = builder.add_part(call, "behind zeros", Op::Pad { pads, value: F32::new(0.0) }, &[y], vec![])?;
        }
        Ok(y)
    }

    fn with_bias(&self, builder: &mut Builder, y: NodeId, bias: Option<NodeId>) -> Result<NodeId, Problem> {
        let Some(bias) = bias else { return Ok(y) };
        builder.add_part(self.call, "", Op::Binary(Binary::Add), &[y, bias], vec![])
    }
}

/// The directions of a call with so many taps over so many extents.
fn sides<const N: usize>(call: &Call<'_>, taps: [usize; N], extents: [usize; N]) -> Result<[Side; N], Problem> {
    let given = |name: &str| -> Result<Option<[i64; N]>, Problem> {
        let Some(values) = call.attributes().ints(name)? else { return Ok(None) };
        let each = values
            .try_into()
            .map_err(|_| Problem::new(format!("its {name} are {}, and kiln takes {N}", Listed(values))));
        each.map(Some)
    };
    if given("kernel_shape")?.is_some_and(|said| said != taps.map(|taps| taps as i64)) {
        return Err(Problem::new(format!("its kernel_shape is not its kernel's, {taps:?}")));
    }
    if taps.contains(&0) {
        return Err(Problem::new("its kernel has no taps"));
    }
    let [strides, dilations] = [given("strides")?, given("dilations")?].map(|given| given.unwrap_or([1; N]));
    let more = given("output_padding")?.unwrap_or([0; N]);
    if more.iter().any(|&more| more < 0) {
        return Err(Problem::new(format!("its output_padding {more:?} is negative")));
    }
    let wanted = match call.attributes().ints("output_shape")? {
        None => None,
        Some(wanted) if wanted.len() == N || wanted.len() == N + 2 => Some(&wanted[wanted.len() - N..]),
        Some(other) => return Err(Problem::new(format!("its output_shape is {}, and kiln takes {N}", Listed(other)))),
    };
    if wanted.is_some_and(|wanted| wanted.iter().any(|&extent| extent <= 0)) {
        return Err(Problem::new(format!("its output_shape {:?} is no shape", wanted.unwrap_or_default())));
    }
    let pads = match call.attributes().ints("pads")? {
        None => vec![0; 2 * N],
        Some(pads) if pads.len() == 2 * N => pads.to_vec(),
        Some(other) => return Err(Problem::new(format!("its pads are {}, and kiln takes {}", Listed(other), 2 * N))),
    };
    let (is_same, is_upper, pads) = match call.attributes().text_or("auto_pad", "NOTSET")? {
        "NOTSET" | "" => (false, false, pads),
        "VALID" => (false, false, vec![0; 2 * N]),
        "SAME_UPPER" => (true, true, pads),
        "SAME_LOWER" => (true, false, pads),
        other => return Err(Problem::new(format!("its auto_pad `{other}` is not known"))),
    };
    let too_large = || Problem::new("its output is too large");
    let side = |i: usize| -> Result<Side, Problem> {
        let (stride, dilation) = (positive("strides", strides[i])?, positive("dilations", dilations[i])?);
        let signed = |extent: usize| i64::try_from(extent).map_err(|_| too_large());
        let span = (taps[i] - 1).checked_mul(dilation).and_then(|span| span.checked_add(1)).ok_or_else(too_large)?;
        let steps = (extents[i] - 1).checked_mul(stride).ok_or_else(too_large)?;
        let full = signed(steps)?.checked_add(signed(span)?).and_then(|full| full.checked_add(more[i]));
        let mut full = full.ok_or_else(too_large)?;
        // What is cut off in all, to the shape that is asked for.
        let asked = match wanted {
            Some(wanted) => Some(wanted[i]),
            None if is_same => Some(signed(extents[i].checked_mul(stride).ok_or_else(too_large)?)?),
            None => None,
        };
        // Where more is asked for than there is, zeros follow.
        full = full.max(asked.unwrap_or(full));
        let [before, after] = match asked {
            Some(asked) => {
                let (total, less) = (full - asked, (full - asked) / 2);
                if is_upper { [less, total - less] } else { [total - less, less] }
            }
            None => [pads[i], pads[N + i]],
        };
        let outputs = full.checked_sub(before).and_then(|rest| rest.checked_sub(after));
        // At least one of the outputs is none of the zeros.
        let some = |outputs: i64| outputs > 0 && outputs.checked_add(before.min(0)).is_some_and(|outputs| outputs > 0);
        let outputs = outputs.filter(|&outputs| some(outputs)).ok_or_else(|| {
            Problem::new(format!("its padding {:?} leaves nothing of {full} outputs", [before, after]))
        })?;
        let whole =
            full.checked_sub(after.min(0)).and_then(|whole| usize::try_from(whole).ok()).ok_or_else(too_large)?;
        // One phase is a convolution with the kernel's own taps.
        let (reach, step) = if stride == 1 { (taps[i], dilation) } else { ((span - 1) / stride + 1, 1) };
        Ok(Side {
            taps: taps[i],
            stride,
            dilation,
            before: before.max(0) as usize,
            ahead: before.min(0).unsigned_abs() as usize,
            outputs: outputs as usize,
            reach,
            step,
            each: whole.div_ceil(stride).max(extents[i]),
        })
    };
    let mut all = [Side::POINT; N];
    for (i, of) in all.iter_mut().enumerate() {
        *of = side(i)?;
    }
    Ok(all)
}

/// The kernel of all phases, `[O * s * s, I / groups, m, m]`, from `[I, O / groups, KH, KW]`.
fn phase_kernel(kernel: &Tensor, groups: usize, [rows, columns]: [Side; 2]) -> Result<Tensor, Problem> {
    let (inputs, per_group) = (kernel.shape[0] / groups, kernel.shape[1]);
    let shape = [per_group * groups, rows.stride, columns.stride, inputs, rows.reach, columns.reach];
    let len = shape.iter().try_fold(1usize, |len, &extent| len.checked_mul(extent));
    let most = GROWTH.saturating_mul(kernel.len()).min(Budget::LEAST.saturating_add(kernel.len().saturating_mul(4)));
    let len = len.filter(|&len| len <= most);
    let len = len.ok_or_else(|| Problem::new("its strides or dilations are too large beside its kernel"))?;
    // The tap that phase r has at place j of its window, counted from the first of m.
    let tap = |side: Side, r: usize, j: usize| {
        let at = (side.reach - 1 - j) * side.step * side.stride + r;
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
