//! Resizing by any filter: each element along an axis is a sum of those that the filter takes, a product with a matrix.
//!
//! Formulas are those of ONNX's `Resize`: where an output lies among the inputs, and the shares of the inputs near it.
//! Shares that an input outside would have go to the first or last one, or, with `exclude_outside`, to the others.

use kiln_rt::safetensors::Dtype;

use super::Problem;
use super::builder::Builder;
use super::call::Call;
use super::tensor::Tensor;
use crate::graph::resize::Position;
use crate::graph::weights::Kind;
use crate::graph::{Coordinates, Linear, NodeId, Op, Rounding, Scale};

/// What is taken around a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kernel {
    /// The nearest element.
    Nearest(Rounding),
    /// The two neighbours.
    Linear,
    /// Four neighbours, by Keys' cubic with this coefficient (Keys 1981, "Cubic convolution interpolation for digital image
    /// processing").
    Cubic(f64),
}

/// Where outputs lie among the inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Places {
    /// As the graph has it.
    By(Coordinates),
    /// In a part of the axis, from here to there as shares of it (`tf_crop_and_resize`).
    Within([f32; 2]),
}

/// How an axis is resized.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub(super) kernel: Kernel,
    pub(super) places: Places,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) scale: Scale,
    /// Whether the filter is widened where outputs are fewer.
    pub(super) antialias: bool,
    pub(super) exclude_outside: bool,
}

/// The largest matrix.
const ELEMENTS: usize = 1 << 23;
/// The longest axis that is made so.
const OUTPUTS: usize = 1 << 16;

impl Around {
    /// Where an output lies among the inputs.
    fn position(&self, output: usize) -> Position {
        match self.places {
            Places::By(coordinates) => coordinates.position(self.scale, [self.inputs, self.outputs], output),
            // The ends are numbers, so that it is computed as one, as in ONNX Runtime.
            Places::Within([start, end]) => {
                let (y, last) = (output as f32, self.inputs as f32 - 1.0);
                Position::of(match self.outputs {
                    1 => (0.5 * f64::from(start + end) * f64::from(last)) as f32,
                    outputs => start * last + (y * (end - start) * last) / (outputs as f32 - 1.0),
                })
            }
        }
    }

    /// The share of an input at a distance from the position.
    fn share(&self, distance: f64) -> f64 {
        let x = distance.abs();
        match self.kernel {
            Kernel::Nearest(_) => 0.0,
            Kernel::Linear => (1.0 - x).max(0.0),
            Kernel::Cubic(a) if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Kernel::Cubic(a) if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            Kernel::Cubic(_) => 0.0,
        }
    }

    /// The matrix `[outputs, inputs]`, and for each output whether it lies outside of the inputs.
    fn matrix(&self) -> Result<(Vec<f64>, Vec<bool>), Problem> {
        if self.outputs > OUTPUTS || self.inputs.saturating_mul(self.outputs) > ELEMENTS {
            return Err(Problem::new(format!("it resizes {} elements to {}, too many", self.inputs, self.outputs)));
        }
        let last = self.inputs as i64 - 1;
        let mut matrix = vec![0.0; self.outputs * self.inputs];
        let mut outside = Vec::with_capacity(self.outputs);
        for (output, row) in matrix.chunks_exact_mut(self.inputs).enumerate() {
            let place = self.position(output);
            let position = place.to_f64();
            let is_within = (0.0..=last as f64).contains(&position);
            outside.push(matches!(self.places, Places::Within(_)) && !is_within);
            if let Kernel::Nearest(rounding) = self.kernel {
                row[rounding.element(place, self.scale).clamp(0, last) as usize] = 1.0;
                continue;
            }
            // Widened, the filter looks at as many more inputs as outputs are fewer.
            let wide = if self.antialias { self.scale.to_f64().min(1.0) } else { 1.0 };
            let reach = match self.kernel {
                Kernel::Cubic(_) => 2.0 / wide,
                Kernel::Linear | Kernel::Nearest(_) => 1.0 / wide,
            };
            let (from, to) = ((position - reach).floor() as i64, (position + reach).ceil() as i64);
            // A scale that is the sizes' own reaches over some of the inputs; another one could reach anywhere.
            if to.saturating_sub(from) > 8 * (last + 2) {
                return Err(Problem::new(format!("it resizes {} elements by {}, too far", self.inputs, self.scale)));
            }
            let shares = (from..=to).map(|input| (input, self.share((input as f64 - position) * wide)));
            let shares: Vec<(i64, f64)> =
                shares.filter(|(input, _)| !self.exclude_outside || (0..=last).contains(input)).collect();
            let sum: f64 = shares.iter().map(|(_, share)| share).sum();
            let whole = if self.exclude_outside || self.antialias { sum } else { 1.0 };
            for (input, share) in shares {
                row[input.clamp(0, last) as usize] += share / whole;
            }
        }
        Ok((matrix, outside))
    }
}

/// A value resized along an axis; outputs that lie outside are `fill`.
pub(super) fn resample(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    axis: usize,
    around: &Around,
    fill: f64,
) -> Result<NodeId, Problem> {
    builder.budget.clone().take(&[around.outputs, around.inputs])?;
    let (mut matrix, outside) = around.matrix()?;
    let mut bias = vec![0.0; around.outputs];
    for (output, _) in outside.iter().enumerate().filter(|(_, outside)| **outside) {
        matrix[output * around.inputs..][..around.inputs].fill(0.0);
        bias[output] = fill;
    }
    let matrix = Tensor::floats(Dtype::F32, vec![around.outputs, around.inputs], &matrix);
    let kernel = builder.made("resampling", matrix)?;
    let bias = builder.made("outside", Tensor::floats(Dtype::F32, vec![around.outputs], &bias))?;
    let weights = vec![builder.weight(&kernel, Kind::Kernel), builder.weight(&bias, Kind::Bias)];
    // The axis is the last one of rows.
    let shape = builder.ty(x).shape.clone();
    let mut perm: Vec<usize> = (0..shape.len()).filter(|&other| other != axis).collect();
    perm.push(axis);
    let moved: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
    let mut back = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let rows = vec![shape.iter().product::<usize>() / around.inputs, around.inputs];
    let x = builder.add_part(call, "last", Op::Transpose { perm }, &[x], vec![])?;
    let x = builder.add_part(call, "rows", Op::Reshape { shape: rows }, &[x], vec![])?;
    let linear = Op::Linear(Linear { features: around.outputs, bias: true });
    let y = builder.add_part(call, "resampled", linear, &[x], weights)?;
    let shape = moved[..moved.len() - 1].iter().copied().chain([around.outputs]).collect();
    let y = builder.add_part(call, "unrolled", Op::Reshape { shape }, &[y], vec![])?;
    builder.add_part(call, "back", Op::Transpose { perm: back }, &[y], vec![])
}
