//! Convolutions over volumes `[N, C, D, H, W]`, layer by layer: each layer of a result is a sum of maps, one for each tap
//! along the depth that leads to it from a layer of the input.

use std::collections::BTreeMap;

use super::Problem;
use super::builder::Builder;
use super::call::Call;
use super::shape::everywhere;
use super::tensor::Tensor;
use crate::graph::{Binary, NodeId, Op};

/// The most layers, times taps, that are convolutions of their own.
const MAPS: usize = 1 << 10;

/// What a volume becomes.
pub(super) struct Volume {
    /// `[N, C, D, H, W]`
    pub(super) shape: [usize; 5],
    /// `[1, C, 1, 1]`
    pub(super) bias: Option<NodeId>,
}

/// The kernel of a tap along the depth, `[A, B, KH, KW]`, of a kernel `[A, B, KD, KH, KW]`.
pub(super) fn plane(kernel: &Tensor, tap: usize) -> Tensor {
    let [a, b, kd, kh, kw] = [0, 1, 2, 3, 4].map(|axis| kernel.shape[axis]);
    let plane = kh * kw;
    let places = (0..a * b).flat_map(|row| (0..plane).map(move |at| (row * kd + tap) * plane + at));
    kernel.picked(vec![a, b, kh, kw], places)
}

/// Makes a volume of a volume. `taps` are so many along the depth; `from` says which layer of the input a tap takes to a
/// layer of the result, if any; `map` makes of a layer `[N, C, H, W]` and a tap a part of the sum.
///
/// # Errors
/// There are too many layers, or a map cannot be made.
pub(super) fn by_layers(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    taps: usize,
    result: &Volume,
    from: impl Fn(usize, usize) -> Option<usize>,
    mut map: impl FnMut(&mut Builder, NodeId, usize) -> Result<NodeId, Problem>,
) -> Result<NodeId, Problem> {
    let &[n, c, depth, h, w] = builder.ty(x).shape.as_slice() else {
        return Err(Problem::new(format!("it takes volumes, not a value of shape {:?}", builder.ty(x).shape)));
    };
    let [_, channels, layers, rows, columns] = result.shape;
    if layers.saturating_mul(taps) > MAPS {
        return Err(Problem::new(format!("it makes a volume of {layers} layers with {taps} taps each, too many")));
    }
    let add = || Op::Binary(Binary::Add);
    let mut slices = BTreeMap::new();
    let mut parts = Vec::with_capacity(layers);
    for layer in 0..layers {
        let mut sum = None;
        for (tap, at) in (0..taps).filter_map(|tap| Some((tap, from(layer, tap).filter(|&at| at < depth)?))) {
            let slice = match slices.get(&at) {
                Some(&slice) => slice,
                None => {
                    let cut = Op::Slice { axis: 2, start: at, end: at + 1 };
                    let cut = builder.add_part(call, "layer", cut, &[x], vec![])?;
                    let slice = Op::Reshape { shape: vec![n, c, h, w] };
                    let slice = builder.add_part(call, "layer", slice, &[cut], vec![])?;
                    slices.insert(at, slice);
                    slice
                }
            };
            let y = map(builder, slice, tap)?;
            sum = Some(match sum {
                Some(sum) => builder.add_part(call, "sum", add(), &[sum, y], vec![])?,
                None => y,
            });
        }
        // A layer that no tap leads to is a sum of nothing.
        let mut y = match sum {
            Some(sum) => sum,
            None => everywhere(builder, call, "nothing", vec![n, channels, rows, columns], 0.0, x)?,
        };
        if let Some(bias) = result.bias {
            y = builder.add_part(call, "biased", add(), &[y, bias], vec![])?;
        }
        let stacked = Op::Reshape { shape: vec![n, channels, 1, rows, columns] };
        parts.push(builder.add_part(call, "stacked", stacked, &[y], vec![])?);
    }
    match parts[..] {
        [only] => Ok(only),
        _ => builder.add(call, Op::Concat { axis: 2 }, &parts, vec![]),
    }
}
