//! The nodes that the ops of the language add: for those that are more than one line of the table.

use super::attribute::Args;
use super::{Elaborator, Value};
use crate::diag::{Diagnostic, counted};
use crate::graph::infer::{self, Role};
use crate::graph::{
    Activation, Binary, Constant, Conv, Coordinates, F32, Filter, Linear, NodeId, Op, Pads, Pool, Resize, Rounding,
    Scale, Window,
};

impl<'a> Elaborator<'a> {
    pub(super) fn shape(&self, node: NodeId) -> &[usize] {
        &self.graph.node(node).ty.shape
    }

    /// The extent of axis 1, where there is one.
    pub(super) fn channels(&self, node: NodeId) -> usize {
        self.shape(node).get(1).copied().unwrap_or_default()
    }

    /// A node of one operand without weights.
    pub(super) fn simple(&mut self, args: &Args<'a>, op: Op) -> Option<Value> {
        let x = self.tensor(args, "x")?;
        let name = self.node_name(args.op.name, args.name.as_deref());
        self.add_node(op, &[x], Vec::new(), name, args.place, &[args.written("x")]).map(Value::Tensor)
    }

    pub(super) fn activate(&mut self, args: &Args<'a>, activation: Activation) -> Option<Value> {
        self.simple(args, Op::Activate(activation))
    }

    pub(super) fn elementwise(&mut self, args: &Args<'a>, binary: Binary) -> Option<Value> {
        let (x, y) = (self.tensor_or_number(args, "x"), self.tensor_or_number(args, "y"));
        let name = self.node_name(args.op.name, args.name.as_deref());
        let written = [args.written("x"), args.written("y")];
        self.add_node(Op::Binary(binary), &[x?, y?], Vec::new(), name, args.place, &written).map(Value::Tensor)
    }

    pub(super) fn pool(&mut self, args: &Args<'a>, op: fn(Pool) -> Op) -> Option<Value> {
        let x = self.tensor(args, "x")?;
        let kernel = self.pair(args, "kernel")?;
        let stride = if args.has("stride") { self.pair(args, "stride")? } else { kernel };
        let dilation = if args.has("dilation") { self.pair(args, "dilation")? } else { [1, 1] };
        let window = self.window(args, x, kernel, stride, dilation);
        let ceil_mode = self.flag(args, "ceil_mode");
        let count_include_pad =
            if args.has("count_include_pad") { self.flag(args, "count_include_pad") } else { Some(true) };
        let pool = Pool { window: window?, ceil_mode: ceil_mode?, count_include_pad: count_include_pad? };
        self.simple(args, op(pool))
    }

    /// The window of an op with `padding`.
    fn window(
        &mut self,
        args: &Args<'a>,
        x: NodeId,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> Option<Window> {
        let extents = match *self.shape(x) {
            [_, _, h, w] => [h, w],
            // What x lacks is said where the node is added.
            _ => [0, 0],
        };
        let window = Window { kernel, stride, pads: Pads::default(), dilation };
        let pads = self.pads(args, "padding", || same_padding(&window, extents))?;
        Some(Window { pads, ..window })
    }
}

/// TensorFlow's "same": as many outputs as strides fit, rounded up; what is odd goes below and to the right.
fn same_padding(window: &Window, extents: [usize; 2]) -> Pads {
    let reach = window.reach();
    let total = |i: usize| {
        let outputs = extents[i].div_ceil(window.stride[i]).max(1);
        ((outputs - 1) * window.stride[i] + reach[i]).saturating_sub(extents[i])
    };
    let (rows, columns) = (total(0), total(1));
    Pads { top: rows / 2, left: columns / 2, bottom: rows - rows / 2, right: columns - columns / 2 }
}

pub(super) fn conv<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x");
    let (channels, kernel, stride) = (e.count(args, "channels"), e.pair(args, "kernel"), e.pair(args, "stride"));
    let (dilation, groups, bias) = (e.pair(args, "dilation"), e.count(args, "groups"), e.flag(args, "bias"));
    let x = x?;
    let window = e.window(args, x, kernel?, stride?, dilation?)?;
    let op = Op::Conv(Conv { channels: channels?, window, groups: groups?, bias: bias? });
    let kernel = if args.has("weight") { Some(e.text(args, "weight")?) } else { None };
    let written = [args.written("x")];
    let node = e.layer(op, x, args.name.as_deref(), kernel.as_deref(), &[], args.place, &written)?;
    if let Some(width) = args.written("channels") {
        e.widths.insert(node, width);
    }
    Some(Value::Tensor(node))
}

pub(super) fn linear<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x");
    let (features, bias) = (e.count(args, "features"), e.flag(args, "bias"));
    let op = Op::Linear(Linear { features: features?, bias: bias? });
    e.layer(op, x?, args.name.as_deref(), None, &[], args.place, &[args.written("x")]).map(Value::Tensor)
}

pub(super) fn matmul<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let (x, y) = (e.tensor(args, "x"), e.tensor(args, "y"));
    let name = e.node_name(args.op.name, args.name.as_deref());
    let written = [args.written("x"), args.written("y")];
    e.add_node(Op::MatMul, &[x?, y?], Vec::new(), name, args.place, &written).map(Value::Tensor)
}

pub(super) fn bn<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x");
    let (eps, scale, shift) = (e.float(args, "eps"), e.flag(args, "scale"), e.flag(args, "shift"));
    let (eps, scale, shift) = (eps?, scale?, shift?);
    if !(eps >= 0.0 && eps.is_finite()) {
        e.report(Diagnostic::error(args.place, format!("`eps` of bn must not be negative, this is {eps:?}")));
        return None;
    }
    let mut absent = Vec::new();
    if !scale {
        absent.push((Role::Gamma, 1.0));
    }
    if !shift {
        absent.push((Role::Beta, 0.0));
    }
    let op = Op::BatchNorm { eps: F32::new(eps as f32), affine: scale || shift };
    e.layer(op, x?, args.name.as_deref(), None, &absent, args.place, &[args.written("x")]).map(Value::Tensor)
}

/// PyTorch's adaptive pooling: window i of an axis is `floor(i * extent / size)..ceil((i + 1) * extent / size)`. Equal windows
/// are one pool; others are cut out and averaged one by one, rows first.
pub(super) fn adaptive_avg_pool<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let (x, size) = (e.tensor(args, "x"), e.pair(args, "size"));
    let (x, size) = (x?, size?);
    let extents = match *e.shape(x) {
        [_, _, h, w] if size != [1, 1] => [h, w],
        _ => return e.simple(args, Op::GlobalAvgPool),
    };
    if size == extents {
        return e.simple(args, Op::Identity);
    }
    if (0..2).all(|axis| extents[axis].is_multiple_of(size[axis])) {
        return e.simple(args, mean_of_windows([0, 1].map(|axis| extents[axis] / size[axis])));
    }
    let mut node = x;
    for axis in 0..2 {
        let (extent, size) = (extents[axis], size[axis]);
        let mut parts = Vec::new();
        for i in 0..size {
            let (start, end) = (i * extent / size, ((i + 1) * extent).div_ceil(size));
            let mut kernel = [1, 1];
            kernel[axis] = end - start;
            let cut = Op::Slice { axis: axis + 2, start, end };
            let name = e.node_name("adaptive_avg_pool", args.name.as_deref());
            let cut = e.add_node(cut, &[node], Vec::new(), name, args.place, &[args.written("x")])?;
            let name = e.node_name("adaptive_avg_pool", args.name.as_deref());
            parts.push(e.add_node(mean_of_windows(kernel), &[cut], Vec::new(), name, args.place, &[])?);
        }
        let name = e.node_name("adaptive_avg_pool", args.name.as_deref());
        node = e.add_node(Op::Concat { axis: axis + 2 }, &parts, Vec::new(), name, args.place, &[])?;
    }
    Some(Value::Tensor(node))
}

/// Windows beside each other.
fn mean_of_windows(kernel: [usize; 2]) -> Op {
    let window = Window { kernel, stride: kernel, pads: Pads::default(), dilation: [1, 1] };
    Op::AvgPool(Pool { window, ceil_mode: false, count_include_pad: true })
}

pub(super) fn concat<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let tensors = e.tensors_of(args, "tensors")?;
    let Some(&first) = tensors.first() else {
        e.report(Diagnostic::error(args.place, "concat needs at least one tensor"));
        return None;
    };
    let axis = e.axis(args, "axis", e.shape(first).len())?;
    let name = e.node_name("concat", args.name.as_deref());
    e.add_node(Op::Concat { axis }, &tensors, Vec::new(), name, args.place, &[]).map(Value::Tensor)
}

pub(super) fn split<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x")?;
    let axis = e.axis(args, "axis", e.shape(x).len())?;
    let extent = e.shape(x)[axis];
    let sizes: Vec<usize> = if args.is_list("parts") {
        let sizes = e.integers_of(args, "parts")?;
        let positive = sizes.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect::<Vec<_>>();
        let sum = positive.iter().fold(0usize, |sum, &size| sum.saturating_add(size));
        if positive.contains(&0) || sum != extent {
            let message = format!("cannot split an extent of {extent} into {sizes:?}, which is {sum}");
            e.report(Diagnostic::error(args.place, message));
            return None;
        }
        positive
    } else {
        let parts = e.count(args, "parts")?;
        if !extent.is_multiple_of(parts) {
            let message = format!("cannot split an extent of {extent} into {parts} equal parts");
            e.report(Diagnostic::error(args.place, message));
            return None;
        }
        vec![extent / parts; parts]
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for size in sizes {
        let op = Op::Slice { axis, start, end: start + size };
        let name = e.node_name("split", args.name.as_deref());
        parts.push(Value::Tensor(e.add_node(op, &[x], Vec::new(), name, args.place, &[args.written("x")])?));
        start += size;
    }
    Some(e.make_list(true, parts, args.place))
}

/// Elements by index; those outside of the axis inference refuses.
pub(super) fn gather<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x")?;
    let axis = e.axis(args, "axis", e.shape(x).len());
    let indices = e.indices(args, "indices");
    e.simple(args, Op::Gather { axis: axis?, indices: indices? })
}

/// Reshape to blocks, transpose, reshape.
pub(super) fn depth_to_space<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let (x, block) = (e.tensor(args, "x"), e.count(args, "block"));
    let (x, r) = (x?, block?);
    let [n, c, h, w] = match *e.shape(x) {
        [n, c, h, w] if c % r.saturating_mul(r) == 0 => [n, c, h, w],
        ref shape => {
            let message =
                format!("depth_to_space of blocks of {r}×{r} pixels does not fit a tensor of shape {shape:?}");
            e.report(Diagnostic::error(args.place, message));
            return None;
        }
    };
    let c = c / (r * r);
    let mut node = x;
    let steps = [
        Op::Reshape { shape: vec![n, c, r, r, h, w] },
        Op::Transpose { perm: vec![0, 1, 4, 2, 5, 3] },
        Op::Reshape { shape: vec![n, c, h * r, w * r] },
    ];
    for op in steps {
        let name = e.node_name(infer::name(&op), args.name.as_deref());
        node = e.add_node(op, &[node], Vec::new(), name, args.place, &[])?;
    }
    Some(Value::Tensor(node))
}

/// PyTorch's `interpolate`.
pub(super) fn resize<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let (x, size) = (e.tensor(args, "x"), e.pair(args, "size"));
    let (filter, align) = (e.word(args, "filter", &["nearest", "bilinear"]), e.flag(args, "align_corners"));
    let (x, size, filter, align) = (x?, size?, filter?, align?);
    // Of what is no feature map, inference says so.
    let extents = e.graph.node(x).ty.nchw().map_or([1, 1], |[_, _, h, w]| [h, w]);
    let scale = [0, 1].map(|i| Scale::Ratio { outputs: size[i], inputs: extents[i] });
    let (filter, coordinates) = match (filter.as_str(), align) {
        ("nearest", _) => (Filter::Nearest(Rounding::Floor), Coordinates::Asymmetric),
        (_, true) => (Filter::Linear, Coordinates::AlignCorners),
        (_, false) => (Filter::Linear, Coordinates::HalfPixel),
    };
    e.simple(args, Op::Resize(Resize { size, scale, filter, coordinates }))
}

pub(super) fn flatten<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x")?;
    let start = e.axis(args, "start", e.shape(x).len())?;
    let shape = e.shape(x);
    let rest = shape[start..].iter().product();
    let shape = [&shape[..start], &[rest]].concat();
    e.simple(args, Op::Reshape { shape })
}

pub(super) fn reshape<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let x = e.tensor(args, "x")?;
    let wanted = e.integers_of(args, "shape")?;
    let open = wanted.iter().filter(|&&extent| extent == -1).count();
    let known = wanted.iter().filter(|&&extent| extent != -1);
    let known = known.fold(1usize, |len, &extent| len.saturating_mul(usize::try_from(extent).unwrap_or(0)));
    let elements: usize = e.shape(x).iter().product();
    if open > 1 || known == 0 || open == 1 && !elements.is_multiple_of(known) {
        let elements = counted(elements, "element");
        let message = format!("cannot reshape a tensor of shape {:?} ({elements}) to {wanted:?}", e.shape(x));
        e.report(Diagnostic::error(args.place, message));
        return None;
    }
    let shape = wanted.iter().map(|&extent| usize::try_from(extent).unwrap_or(elements / known)).collect();
    e.simple(args, Op::Reshape { shape })
}

pub(super) fn normalize<'a>(e: &mut Elaborator<'a>, args: &Args<'a>) -> Option<Value> {
    let (x, mean, std) = (e.tensor(args, "x"), e.floats(args, "mean"), e.floats(args, "std"));
    let (x, mean, std) = (x?, mean?, std?);
    let channels = e.shape(x).get(1).copied().unwrap_or(1);
    let rank = e.shape(x).len();
    let mut node = x;
    for (values, binary) in [(mean, Binary::Sub), (std, Binary::Div)] {
        if values.len() != 1 && values.len() != channels || values.len() > Constant::LIMIT {
            let message = format!("normalize takes one number or {channels}, not {}", values.len());
            e.report(Diagnostic::error(args.place, message));
            return None;
        }
        let mut shape = vec![1; rank];
        if let Some(extent) = shape.get_mut(1) {
            *extent = values.len();
        }
        let values = values.into_iter().map(|value| F32::new(value as f32)).collect();
        let constant = e.constant(Constant { shape, values }, args.place)?;
        let op = Op::Binary(binary);
        let name = e.node_name(infer::name(&op), args.name.as_deref());
        node = e.add_node(op, &[node, constant], Vec::new(), name, args.place, &[args.written("x")])?;
    }
    Some(Value::Tensor(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_tensorflows() {
        let window = |kernel, stride| Window { kernel: [kernel; 2], stride: [stride; 2], ..Window::POINT };
        assert_eq!(same_padding(&window(3, 2), [224, 224]), Pads { top: 0, left: 0, bottom: 1, right: 1 });
        assert_eq!(same_padding(&window(3, 1), [7, 8]), Pads::symmetric(1, 1));
        assert_eq!(same_padding(&window(5, 2), [7, 8]), Pads { top: 2, left: 1, bottom: 2, right: 2 });
    }
}
