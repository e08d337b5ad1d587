//! The type of a node's value from its operator, operands and weights.

use self::elements::check_elements;
use super::TensorType;
use super::op::{Core, Op, Pads, Pool, Stage, Window};
use crate::diag::counted;

/// Why an operator does not fit what it is applied to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TypeError {
    /// What is wrong, with the shapes: "cannot add tensors of shape … and …".
    pub message: String,
    /// The operand to point at, if it is one operand's fault.
    pub operand: Option<usize>,
    /// A word on the place itself: "channels differ: 24 and 32".
    pub label: Option<String>,
}

impl TypeError {
    fn new(message: impl Into<String>) -> Self {
        TypeError { message: message.into(), operand: None, label: None }
    }

    fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
}

/// The shapes of the weights that an operator reads, given its operands' types, in order and with their roles.
///
/// # Errors
/// As [`infer`], where the operands alone are already wrong.
pub fn weight_shapes(op: &Op, operands: &[&TensorType]) -> Result<Vec<(Role, Vec<usize>)>, TypeError> {
    Ok(match op {
        Op::Conv(conv) => {
            let [_, c, ..] = feature_map("conv", operands)?;
            check_groups(c, conv.channels, conv.groups)?;
            let [kh, kw] = conv.window.kernel;
            let mut shapes = vec![(Role::Kernel, vec![conv.channels, c / conv.groups, kh, kw])];
            shapes.extend(conv.bias.then(|| (Role::Bias, vec![conv.channels])));
            shapes
        }
        Op::Linear(linear) => {
            let [.., f] = *matrix("linear", operands)?;
            let mut shapes = vec![(Role::Kernel, vec![linear.features, f])];
            shapes.extend(linear.bias.then(|| (Role::Bias, vec![linear.features])));
            shapes
        }
        Op::BatchNorm { affine, .. } => {
            let c = channels("bn", operands)?;
            let mut shapes = Vec::new();
            if *affine {
                shapes.extend([(Role::Gamma, vec![c]), (Role::Beta, vec![c])]);
            }
            shapes.extend([(Role::Mean, vec![c]), (Role::Var, vec![c])]);
            shapes
        }
        Op::Fused { before, core, after } => {
            let core_op = core_op(*core);
            let mut shapes = match &core_op {
                Some(op) => weight_shapes(op, &operands[..1.min(operands.len())])?,
                None => Vec::new(),
            };
            let read = channels("fused", operands)?;
            let made = match core {
                Core::Conv(conv) => conv.channels,
                Core::Linear(linear) => linear.features,
                Core::Identity => read,
            };
            for (chain, c) in [(before, read), (after, made)] {
                for stage in chain {
                    match stage {
                        Stage::Affine => shapes.extend([(Role::Gamma, vec![c]), (Role::Beta, vec![c])]),
                        Stage::Activate(_) | Stage::Add | Stage::Scale => {}
                    }
                }
            }
            shapes
        }
        Op::Weight { shape } => vec![(Role::Value, shape.clone())],
        Op::Input(_)
        | Op::Constant(_)
        | Op::Activate(_)
        | Op::Cast(_)
        | Op::Binary(_)
        | Op::MatMul
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Softmax { .. }
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Resize(_)
        | Op::Dropout
        | Op::Identity => Vec::new(),
    })
}

/// What a weight is to its operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A convolution's or linear layer's kernel.
    Kernel,
    /// An added vector.
    Bias,
    /// A scale.
    Gamma,
    /// A shift.
    Beta,
    /// A running mean.
    Mean,
    /// A running variance.
    Var,
    /// A tensor that is the node's value.
    Value,
}

/// The type of `op` applied to operands of these types and weights of these shapes.
///
/// # Errors
/// A message that names both sides, where they do not fit, where a value would be empty that is no literal, and where it
/// would have more than [`TensorType::LIMIT`] elements.
pub fn infer(op: &Op, operands: &[&TensorType], weights: &[&[usize]]) -> Result<TensorType, TypeError> {
    let expected = arity(op);
    if expected.is_some_and(|n| n != operands.len()) || operands.is_empty() && expected.is_none() {
        let wanted = expected.map_or("at least one operand".to_owned(), |n| counted(n, "operand"));
        return Err(TypeError::new(format!("{} takes {wanted}, not {}", name(op), operands.len())));
    }
    check_elements(op, operands)?;
    let ty = infer_shape(op, operands)?;
    let mut size = 1usize;
    for &extent in &ty.shape {
        size = size.saturating_mul(extent);
    }
    // Nothing can be computed of a value without elements, but a network may give one.
    let may_be_empty = matches!(op, Op::Constant(_) | Op::Cast(_) | Op::Identity);
    if size == 0 && !may_be_empty {
        return Err(TypeError::new(format!("{} would give an empty tensor of shape {:?}", name(op), ty.shape)));
    }
    if size > TensorType::LIMIT {
        return Err(TypeError::new(format!(
            "{} would give a tensor of shape {:?}, more than 2^31 elements",
            name(op),
            ty.shape
        )));
    }
    let wanted = weight_shapes(op, operands)?;
    if wanted.len() != weights.len() {
        return Err(TypeError::new(format!("{} reads {} weights, not {}", name(op), wanted.len(), weights.len())));
    }
    for ((role, want), have) in wanted.iter().zip(weights) {
        if want != have {
            return Err(TypeError::new(format!("{} needs a {role:?} of shape {want:?}, not {have:?}", name(op))));
        }
    }
    Ok(ty)
}

fn infer_shape(op: &Op, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
    let like = |shape: Vec<usize>| TensorType { dtype: operands[0].dtype, shape };
    Ok(match op {
        Op::Input(ty) => ty.clone(),
        Op::Constant(constant) => {
            let len = constant.shape.iter().try_fold(1usize, |len, &extent| len.checked_mul(extent));
            if len != Some(constant.values.len()) || constant.values.len() > super::Constant::LIMIT {
                return Err(TypeError::new(format!(
                    "a constant of shape {:?} with {} values",
                    constant.shape,
                    constant.values.len()
                )));
            }
            TensorType::f32(constant.shape.clone())
        }
        Op::Weight { shape } => TensorType::f32(shape.clone()),
        Op::Conv(conv) => {
            let [n, c, h, w] = feature_map("conv", operands)?;
            check_groups(c, conv.channels, conv.groups)?;
            let [oh, ow] = windowed("conv", &conv.window, h, w, false)?;
            like(vec![n, conv.channels, oh, ow])
        }
        Op::Linear(linear) => {
            let [n, _] = *matrix("linear", operands)?;
            like(vec![n, linear.features])
        }
        Op::BatchNorm { .. } => {
            channels("bn", operands)?;
            operands[0].clone()
        }
        Op::Activate(_) | Op::Dropout | Op::Identity => operands[0].clone(),
        Op::Cast(dtype) => TensorType { dtype: *dtype, shape: operands[0].shape.clone() },
        Op::Binary(binary) => like(broadcast(*binary, operands[0], operands[1])?),
        Op::MatMul => like(product(operands[0], operands[1])?),
        Op::MaxPool(pool) | Op::AvgPool(pool) => {
            let [n, c, h, w] = feature_map("pool", operands)?;
            check_pool(pool, h, w)?;
            let [oh, ow] = windowed("pool", &pool.window, h, w, pool.ceil_mode)?;
            like(vec![n, c, oh, ow])
        }
        Op::GlobalAvgPool | Op::GlobalMaxPool => {
            let [n, c, ..] = feature_map("global pool", operands)?;
            like(vec![n, c, 1, 1])
        }
        Op::Softmax { axis } => {
            check_axis("softmax", *axis, operands[0])?;
            operands[0].clone()
        }
        Op::Concat { axis } => {
            check_axis("concat", *axis, operands[0])?;
            let mut shape = operands[0].shape.clone();
            for (i, other) in operands.iter().enumerate().skip(1) {
                let fits = other.shape.len() == shape.len()
                    && (0..shape.len()).all(|a| a == *axis || other.shape[a] == operands[0].shape[a]);
                if !fits {
                    return Err(TypeError {
                        operand: Some(i),
                        ..TypeError::new(format!(
                            "cannot concatenate tensors of shape {:?} and {:?} along axis {axis}",
                            operands[0].shape, other.shape
                        ))
                    });
                }
                shape[*axis] += other.shape[*axis];
            }
            like(shape)
        }
        Op::Slice { axis, start, end } => {
            check_axis("slice", *axis, operands[0])?;
            let mut shape = operands[0].shape.clone();
            if start >= end || *end > shape[*axis] {
                return Err(TypeError::new(format!(
                    "cannot take {start}..{end} of axis {axis} of a tensor of shape {shape:?}"
                )));
            }
            shape[*axis] = end - start;
            like(shape)
        }
        Op::Gather { axis, indices } => {
            check_axis("gather", *axis, operands[0])?;
            let mut shape = operands[0].shape.clone();
            if let Some(index) = indices.iter().find(|&&index| index as usize >= shape[*axis]) {
                let message = format!("cannot take element {index} of axis {axis} of a tensor of shape {shape:?}");
                return Err(TypeError::new(message));
            }
            if indices.is_empty() {
                return Err(TypeError::new(format!("takes no element of axis {axis} of a tensor of shape {shape:?}")));
            }
            shape[*axis] = indices.len();
            like(shape)
        }
        Op::ChannelShuffle { groups } => {
            let [_, c, ..] = feature_map("channel_shuffle", operands)?;
            if *groups == 0 || c % groups != 0 {
                return Err(TypeError::new(format!(
                    "cannot shuffle {} in {}",
                    counted(c, "channel"),
                    counted(*groups, "group")
                )));
            }
            operands[0].clone()
        }
        Op::Reshape { shape } => {
            let len = shape.iter().try_fold(1usize, |len, &extent| len.checked_mul(extent));
            if len != Some(operands[0].len()) {
                return Err(TypeError::new(format!(
                    "cannot reshape a tensor of shape {:?} ({}) to {shape:?}",
                    operands[0].shape,
                    counted(operands[0].len(), "element")
                )));
            }
            like(shape.clone())
        }
        Op::Transpose { perm } => {
            let mut seen = perm.clone();
            seen.sort_unstable();
            if perm.len() != operands[0].shape.len() || seen.iter().enumerate().any(|(i, &p)| i != p) {
                return Err(TypeError::new(format!(
                    "{perm:?} is not a permutation of the axes of a tensor of shape {:?}",
                    operands[0].shape
                )));
            }
            like(perm.iter().map(|&p| operands[0].shape[p]).collect())
        }
        Op::Pad { pads, .. } => {
            let [n, c, h, w] = feature_map("pad", operands)?;
            let rows = [h, pads.top, pads.bottom].into_iter().fold(0, usize::saturating_add);
            let columns = [w, pads.left, pads.right].into_iter().fold(0, usize::saturating_add);
            like(vec![n, c, rows, columns])
        }
        Op::Resize(resize) => {
            let [n, c, ..] = feature_map("resize", operands)?;
            if let Some(scale) = resize.scale.into_iter().find(|scale| !scale.is_bounded()) {
                return Err(TypeError::new(format!("resize cannot scale by {scale}")));
            }
            like(vec![n, c, resize.size[0], resize.size[1]])
        }
        Op::Fused { before, core, after } => {
            if *core == Core::Identity && !before.is_empty() {
                return Err(TypeError::new("the stages of a fused identity stand after it"));
            }
            let mut rest = operands[1..].iter();
            check_chain(before, operands[0], &mut rest)?;
            let ty = match core_op(*core) {
                Some(op) => infer_shape(&op, &operands[..1])?,
                None => operands[0].clone(),
            };
            check_chain(after, &ty, &mut rest)?;
            ty
        }
    })
}

/// The operator that a fused core is, if it is one.
pub fn core_op(core: Core) -> Option<Op> {
    match core {
        Core::Conv(conv) => Some(Op::Conv(conv)),
        Core::Linear(linear) => Some(Op::Linear(linear)),
        Core::Identity => None,
    }
}

/// The number of operands; None for any number from one.
pub fn arity(op: &Op) -> Option<usize> {
    match op {
        Op::Input(_) | Op::Constant(_) | Op::Weight { .. } => Some(0),
        Op::Binary(_) | Op::MatMul => Some(2),
        Op::Concat { .. } => None,
        Op::Fused { before, after, .. } => {
            let extra = before.iter().chain(after).filter(|stage| matches!(stage, Stage::Add | Stage::Scale)).count();
            Some(1 + extra)
        }
        Op::Conv(_)
        | Op::Linear(_)
        | Op::BatchNorm { .. }
        | Op::Activate(_)
        | Op::Cast(_)
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Softmax { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::ChannelShuffle { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Resize(_)
        | Op::Dropout
        | Op::Identity => Some(1),
    }
}

/// The operator's name in the language and in dumps.
pub fn name(op: &Op) -> &'static str {
    match op {
        Op::Input(_) => "input",
        Op::Constant(_) => "constant",
        Op::Weight { .. } => "weight",
        Op::Conv(_) => "conv",
        Op::Linear(_) => "linear",
        Op::BatchNorm { .. } => "bn",
        Op::Activate(_) => "activate",
        Op::Cast(_) => "cast",
        Op::Binary(super::Binary::Add) => "add",
        Op::Binary(super::Binary::Sub) => "sub",
        Op::Binary(super::Binary::Mul) => "mul",
        Op::Binary(super::Binary::Div) => "div",
        Op::Binary(super::Binary::Min) => "min",
        Op::Binary(super::Binary::Max) => "max",
        Op::Binary(super::Binary::Pow) => "pow",
        Op::MatMul => "matmul",
        Op::MaxPool(_) => "max_pool",
        Op::AvgPool(_) => "avg_pool",
        Op::GlobalAvgPool => "global_avg_pool",
        Op::GlobalMaxPool => "global_max_pool",
        Op::Softmax { .. } => "softmax",
        Op::Concat { .. } => "concat",
        Op::Slice { .. } => "slice",
        Op::Gather { .. } => "gather",
        Op::ChannelShuffle { .. } => "channel_shuffle",
        Op::Reshape { .. } => "reshape",
        Op::Transpose { .. } => "transpose",
        Op::Pad { .. } => "pad",
        Op::Resize(_) => "resize",
        Op::Dropout => "dropout",
        Op::Identity => "identity",
        Op::Fused { .. } => "fused",
    }
}

/// The shape of the products of two lists of matrices.
fn product(a: &TensorType, b: &TensorType) -> Result<Vec<usize>, TypeError> {
    let ([p, m, k], [q, rows, n]) = (parts(a, 0)?, parts(b, 1)?);
    if k != rows || (p != q && p != 1 && q != 1) {
        let message = format!("cannot multiply matrices of shape {:?} and {:?}", a.shape, b.shape);
        return Err(TypeError { operand: Some(1), ..TypeError::new(message) });
    }
    // A side of one part serves all parts of the other, of which there may be none.
    Ok(vec![if p == 1 { q } else { p }, m, n])
}

/// Parts, rows and columns of a list of matrices.
fn parts(ty: &TensorType, operand: usize) -> Result<[usize; 3], TypeError> {
    <[usize; 3]>::try_from(ty.shape.as_slice()).map_err(|_| {
        let message = format!("matmul takes matrices [parts, rows, columns], not a tensor of shape {:?}", ty.shape);
        TypeError { operand: Some(operand), ..TypeError::new(message) }
    })
}

/// Output rows and columns of a window over `h` × `w`, as [`Window`] states it; with `ceil` as PyTorch rounds up.
pub fn window_outputs(window: &Window, h: usize, w: usize, ceil: bool) -> Option<[usize; 2]> {
    let Window { kernel, stride, pads, dilation } = *window;
    let sides = [(h, pads.top, pads.bottom), (w, pads.left, pads.right)];
    let mut out = [0; 2];
    if !window.is_bounded() {
        return None;
    }
    for i in 0..2 {
        let (extent, before, after) = sides[i];
        let reach = dilation[i].checked_mul(kernel[i] - 1)?.checked_add(1)?;
        let padded = extent.checked_add(before)?.checked_add(after)?;
        out[i] = match padded.checked_sub(reach) {
            Some(room) if ceil && room % stride[i] != 0 && (room / stride[i] + 1) * stride[i] < extent + before => {
                room / stride[i] + 2
            }
            Some(room) => room / stride[i] + 1,
            // Rounded up, a window that is cut off by less than a step is one.
            None if ceil && reach - padded < stride[i] => 1,
            None => return None,
        };
    }
    Some(out)
}

fn windowed(what: &str, window: &Window, h: usize, w: usize, ceil: bool) -> Result<[usize; 2], TypeError> {
    window_outputs(window, h, w, ceil).ok_or_else(|| {
        let Window { kernel: [kh, kw], stride, pads: Pads { top, left, bottom, right }, dilation } = *window;
        let fit = if window.is_bounded() {
            format!("does not fit a map of {h}×{w} pixels")
        } else {
            "is out of bounds".to_owned()
        };
        TypeError::new(format!(
            "{what} with a {kh}×{kw} kernel (stride {stride:?}, dilation {dilation:?}, padding {:?}) {fit}",
            [top, left, bottom, right]
        ))
    })
}

fn feature_map(what: &str, operands: &[&TensorType]) -> Result<[usize; 4], TypeError> {
    match operands.first().map(|ty| ty.shape.as_slice()) {
        Some(&[n, c, h, w]) => Ok([n, c, h, w]),
        other => Err(TypeError::new(format!(
            "{what} needs a feature map [N, C, H, W], not a tensor of shape {:?}",
            other.unwrap_or_default()
        ))),
    }
}

fn matrix<'a>(what: &str, operands: &[&'a TensorType]) -> Result<&'a [usize; 2], TypeError> {
    let shape = operands.first().map_or(&[][..], |ty| ty.shape.as_slice());
    shape.try_into().map_err(|_| {
        TypeError::new(format!("{what} needs a tensor [N, F], not one of shape {shape:?}"))
            .label("`.flatten()` makes one of a feature map")
    })
}

fn channels(what: &str, operands: &[&TensorType]) -> Result<usize, TypeError> {
    match operands.first().map(|ty| ty.shape.as_slice()) {
        Some(&[_, c] | &[_, c, _, _]) => Ok(c),
        other => Err(TypeError::new(format!(
            "{what} needs [N, C, H, W] or [N, C], not a tensor of shape {:?}",
            other.unwrap_or_default()
        ))),
    }
}

fn check_axis(what: &str, axis: usize, ty: &TensorType) -> Result<(), TypeError> {
    if axis < ty.shape.len() {
        return Ok(());
    }
    Err(TypeError::new(format!("{what} along axis {axis} of a tensor of shape {:?}", ty.shape)))
}

fn check_groups(inputs: usize, outputs: usize, groups: usize) -> Result<(), TypeError> {
    if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
        return Err(TypeError::new(format!(
            "conv cannot split {inputs} input channels and {outputs} output channels into {groups} groups"
        )));
    }
    Ok(())
}

/// Refuses windows that could hold nothing but padding: padding as wide as the window, and taps so far apart that
/// they step over the whole map.
fn check_pool(pool: &Pool, h: usize, w: usize) -> Result<(), TypeError> {
    let Window { kernel, dilation, pads, .. } = pool.window;
    for (axis, extent, before, after) in [(0, h, pads.top, pads.bottom), (1, w, pads.left, pads.right)] {
        let reach = dilation[axis].saturating_mul(kernel[axis].saturating_sub(1)).saturating_add(1);
        if before.max(after) >= reach || before > 0 && extent < dilation[axis] {
            return Err(TypeError::new(format!(
                "a pool with a {}×{} kernel cannot have padding {:?} here: a window would hold nothing else",
                kernel[0],
                kernel[1],
                [pads.top, pads.left, pads.bottom, pads.right]
            )));
        }
    }
    Ok(())
}

fn check_chain<'a, 'b: 'a>(
    chain: &[Stage],
    ty: &TensorType,
    operands: &mut impl Iterator<Item = &'a &'b TensorType>,
) -> Result<(), TypeError> {
    for stage in chain {
        let wanted = match stage {
            Stage::Affine | Stage::Activate(_) => continue,
            Stage::Add => ty.shape.clone(),
            Stage::Scale => match ty.shape[..] {
                [n, c, ..] => vec![n, c, 1, 1],
                _ => return Err(TypeError::new("a scale stage needs channels")),
            },
        };
        let have = operands.next().map_or(&[][..], |ty| ty.shape.as_slice());
        if have != wanted {
            return Err(TypeError::new(format!("a fused stage {stage:?} needs shape {wanted:?}, not {have:?}")));
        }
    }
    Ok(())
}

fn broadcast(binary: super::Binary, a: &TensorType, b: &TensorType) -> Result<Vec<usize>, TypeError> {
    let rank = a.shape.len().max(b.shape.len());
    let extent = |ty: &TensorType, axis: usize| {
        let missing = rank - ty.shape.len();
        if axis < missing { 1 } else { ty.shape[axis - missing] }
    };
    let mut shape = Vec::with_capacity(rank);
    for axis in 0..rank {
        match (extent(a, axis), extent(b, axis)) {
            (x, y) if x == y => shape.push(x),
            (1, y) => shape.push(y),
            (x, 1) => shape.push(x),
            (x, y) => {
                let verb = match binary {
                    super::Binary::Add => "add",
                    super::Binary::Sub => "subtract",
                    super::Binary::Mul => "multiply",
                    super::Binary::Div => "divide",
                    super::Binary::Min | super::Binary::Max => "compare",
                    super::Binary::Pow => "raise",
                };
                let axis_name = match (rank, axis) {
                    (4, 0) => "batch sizes".to_owned(),
                    (4, 1) => "channels".to_owned(),
                    (4, 2) => "heights".to_owned(),
                    (4, 3) => "widths".to_owned(),
                    _ => format!("extents of axis {axis}"),
                };
                return Err(TypeError::new(format!("cannot {verb} tensors of shape {:?} and {:?}", a.shape, b.shape))
                    .label(format!("{axis_name} differ: {x} and {y}")));
            }
        }
    }
    Ok(shape)
}

mod elements;
#[cfg(test)]
mod tests;
