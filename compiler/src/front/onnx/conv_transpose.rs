//! Transposed convolutions, as convolutions whose channels are then laid out as pixels.
//!
//! With stride s, dilation d and kernel w, output position `q * s + r` is the sum over the taps k with `k * d = m * s + r`
//! of `x[q - m] * w[k]`. So each of the s phases r is a convolution of its own over x, and all phases of all channels are
//! one, whose outputs are pixels of blocks of s by s (Shi et al. 2016, "Is the deconvolution layer the same as a
//! convolutional layer?", arXiv:1609.07009).

use kiln_rt::safetensors::Dtype;

use super::Problem;
use super::build::{Builder, Call, Known, Value};
use super::conv::{as_image, image, line, positive};
use super::fold::Budget;
use super::shape::pixels_of_channels;
use super::tensor::Tensor;
use crate::graph::weights::Kind;
use crate::graph::{Binary, Conv, NodeId, Op, Pads, WeightId, Window};

/// How many times as large as a small kernel the kernel of all phases may be.
const GROWTH: usize = 64;

/// One direction: layers, rows or columns.
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

impl Side {
    /// Along the one row of a line.
    const POINT: Self = Side { taps: 1, stride: 1, dilation: 1, before: 0, outputs: 1, reach: 1, each: 1 };
}

/// The most layers of a volume, times taps, that are convolutions of their own.
const LAYERS: usize = 1 << 10;

/// `ConvTranspose`.
pub(super) fn conv_transpose(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let (x, is_line) = as_image(builder, call)?;
    let kernel = call.required_known(1)?;
    let groups = positive("group", call.attributes.int_or("group", 1)?)?;
    let (shape, of) = (builder.ty(x).shape.clone(), kernel.tensor.shape.as_slice());
    let (&[have, ..], &[inputs, per_group, ..]) = (&shape[1..], of) else {
        return Err(Problem::new(format!("its kernel has shape {of:?}, and is [I, O, KH, KW]")));
    };
    if have != inputs || !inputs.is_multiple_of(groups) {
        return Err(Problem::new(format!("its kernel takes {inputs} channels in {groups} groups, not {have}")));
    }
    let channels = per_group.checked_mul(groups).ok_or_else(|| Problem::new("its output is too large"))?;
    let bias = match call.input(2) {
        None => None,
        Some(_) => {
            let bias = builder.operand(call, 2)?;
            Some(builder.add_part(call, "bias", Op::Reshape { shape: vec![1, channels, 1, 1] }, &[bias], vec![])?)
        }
    };
    let mut transposed = Transposed { builder, call, kernel, groups, channels, bias };
    let y = match (&shape[..], &of[2..]) {
        (&[_, _, _, w], &[k]) if is_line => {
            let [columns] = sides(call, [k], [w])?;
            let sides = [Side::POINT, columns];
            let phases = transposed.phases(&kernel.tensor, "phases", sides)?;
            let y = transposed.map(x, phases, sides)?;
            let y = transposed.with_bias(y)?;
            line(transposed.builder, call, y)?
        }
        (&[_, _, h, w], &[kh, kw]) if !is_line => {
            let sides = sides(call, [kh, kw], [h, w])?;
            let phases = transposed.phases(&kernel.tensor, "phases", sides)?;
            let y = transposed.map(x, phases, sides)?;
            transposed.with_bias(y)?
        }
        (&[_, _, d, h, w], &[kd, kh, kw]) => transposed.volume(x, sides(call, [kd, kh, kw], [d, h, w])?)?,
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
    builder: &'a mut Builder,
    call: &'a Call<'b>,
    kernel: &'a Known,
    groups: usize,
    /// Of the result.
    channels: usize,
    /// `[1, O, 1, 1]`
    bias: Option<NodeId>,
}

impl Transposed<'_, '_> {
    /// The kernel of all phases of a kernel `[I, O / groups, KH, KW]`.
    fn phases(&mut self, kernel: &Tensor, name: &str, sides: [Side; 2]) -> Result<WeightId, Problem> {
        let phases = phase_kernel(kernel, self.groups, sides)?;
        let phases = self.builder.derived(self.kernel, name, phases);
        Ok(self.builder.weight(&phases, Kind::Kernel))
    }

    /// A map, by the kernel of all phases, without the bias.
    fn map(&mut self, x: NodeId, phases: WeightId, [rows, columns]: [Side; 2]) -> Result<NodeId, Problem> {
        let Transposed { builder, call, groups, channels, .. } = self;
        let extents = image(builder, x)?;
        // A window of m taps that ends at its output.
        let pads = Pads {
            top: rows.reach - 1,
            left: columns.reach - 1,
            bottom: rows.each - extents[0],
            right: columns.each - extents[1],
        };
        let window = Window { kernel: [rows.reach, columns.reach], stride: [1, 1], pads, dilation: [1, 1] };
        let channels = *channels * rows.stride * columns.stride;
        let op = Op::Conv(Conv { channels, window, groups: *groups, bias: false });
        let mut y = builder.add_part(call, "conv", op, &[x], vec![phases])?;
        if [rows.stride, columns.stride] != [1, 1] {
            y = pixels_of_channels(builder, call, "pixels", y, [rows.stride, columns.stride], true)?;
        }
        for (axis, side) in [(2, rows), (3, columns)] {
            let (start, end) = (side.before, side.before + side.outputs);
            if (start, end) != (0, builder.ty(y).shape[axis]) {
                y = builder.add_part(call, "cut", Op::Slice { axis, start, end }, &[y], vec![])?;
            }
        }
        Ok(y)
    }

    fn with_bias(&mut self, y: NodeId) -> Result<NodeId, Problem> {
        let Some(bias) = self.bias else { return Ok(y) };
        self.builder.add_part(self.call, "", Op::Binary(Binary::Add), &[y, bias], vec![])
    }

    /// A volume `[N, C, D, H, W]`, layer by layer: each is a sum of maps, one for each tap along the depth that leads to it
    /// from a layer of the input.
    fn volume(&mut self, x: NodeId, [depth, rows, columns]: [Side; 3]) -> Result<NodeId, Problem> {
        let &[n, c, d, h, w] = self.builder.ty(x).shape.as_slice() else {
            return Err(Problem::new("it takes volumes"));
        };
        if depth.outputs.max(d).saturating_mul(depth.taps) > LAYERS {
            let Side { outputs, taps, .. } = depth;
            return Err(Problem::new(format!("it makes {outputs} layers of {d} with {taps} taps, too many")));
        }
        let kernel = &self.kernel.tensor;
        let (plane, [inputs, per_group]) = (rows.taps * columns.taps, [kernel.shape[0], kernel.shape[1]]);
        let mut kernels = Vec::with_capacity(depth.taps);
        for tap in 0..depth.taps {
            let places =
                (0..inputs * per_group).flat_map(|row| (0..plane).map(move |at| (row * depth.taps + tap) * plane + at));
            let part = kernel.picked(vec![inputs, per_group, rows.taps, columns.taps], places);
            kernels.push(self.phases(&part, &format!("phases of depth {tap}"), [rows, columns])?);
        }
        let mut layers = Vec::with_capacity(d);
        for start in 0..d {
            let cut = Op::Slice { axis: 2, start, end: start + 1 };
            let cut = self.builder.add_part(self.call, "layer", cut, &[x], vec![])?;
            let map = Op::Reshape { shape: vec![n, c, h, w] };
            layers.push(self.builder.add_part(self.call, "layer", map, &[cut], vec![])?);
        }
        let mut parts = Vec::with_capacity(depth.outputs);
        for layer in depth.before..depth.before + depth.outputs {
            let mut sum: Option<NodeId> = None;
            for (tap, &phases) in kernels.iter().enumerate() {
                let steps = layer.checked_sub(tap * depth.dilation).filter(|steps| steps.is_multiple_of(depth.stride));
                let Some(&from) = steps.and_then(|steps| layers.get(steps / depth.stride)) else { continue };
                let y = self.map(from, phases, [rows, columns])?;
                sum = Some(match sum {
                    Some(sum) => self.builder.add_part(self.call, "sum", Op::Binary(Binary::Add), &[sum, y], vec![])?,
                    None => y,
                });
            }
            let y = sum.ok_or_else(|| Problem::new(format!("no tap leads to layer {layer} of its result")))?;
            let y = self.with_bias(y)?;
            let shape = vec![n, self.channels, 1, rows.outputs, columns.outputs];
            parts.push(self.builder.add_part(self.call, "stacked", Op::Reshape { shape }, &[y], vec![])?);
        }
        match parts[..] {
            [only] => Ok(only),
            _ => self.builder.add(self.call, Op::Concat { axis: 2 }, &parts, vec![]),
        }
    }
}

/// The directions of a call with so many taps over so many extents.
fn sides<const N: usize>(call: &Call<'_>, taps: [usize; N], extents: [usize; N]) -> Result<[Side; N], Problem> {
    let each = |name: &str, default: i64| -> Result<[i64; N], Problem> {
        let Some(values) = call.attributes.ints(name)? else { return Ok([default; N]) };
        values.try_into().map_err(|_| Problem::new(format!("its {name} are {values:?}, and kiln takes {N}")))
    };
    if each("kernel_shape", 0)?.iter().zip(taps).any(|(&said, taps)| said != 0 && said != taps as i64) {
        return Err(Problem::new(format!("its kernel_shape is not its kernel's, {taps:?}")));
    }
    let (strides, dilations, more) = (each("strides", 1)?, each("dilations", 1)?, each("output_padding", 0)?);
    let wanted = match call.attributes.ints("output_shape")? {
        None => None,
        Some(wanted) if wanted.len() == N || wanted.len() == N + 2 => Some(&wanted[wanted.len() - N..]),
        Some(other) => return Err(Problem::new(format!("its output_shape is {other:?}, and kiln takes {N}"))),
    };
    let auto_pad = call.attributes.text_or("auto_pad", "NOTSET")?;
    let (starts, ends) = match call.attributes.ints("pads")? {
        None => ([0; N].to_vec(), [0; N].to_vec()),
        Some(pads) if pads.len() == 2 * N => (pads[..N].to_vec(), pads[N..].to_vec()),
        Some(other) => return Err(Problem::new(format!("its pads are {other:?}, and kiln takes {}", 2 * N))),
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
            Some(wanted) => Some(wanted[i]),
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
            None => [starts[i], ends[i]],
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
