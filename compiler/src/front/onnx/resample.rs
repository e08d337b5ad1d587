//! Resizing by any filter: each element along an axis is a sum of those that the filter takes, a product with a matrix.
//!
//! Formulas are those of ONNX's `Resize`: where an output lies among the inputs, and the shares of the inputs near it.
//! Shares that an input outside would have go to the first or last one, or, with `exclude_outside`, to the others.

use kiln_rt::safetensors::Dtype;

use super::Problem;
use super::builder::Builder;
use super::call::Call;
use super::tensor::Tensor;
use crate::graph::weights::Kind;
use crate::graph::{Linear, NodeId, Op};

/// What is taken around a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kernel {
    /// The nearest element, by the rounding of [`Around::round`].
    Nearest,
    /// The two neighbours.
    Linear,
    /// Four neighbours, by Keys' cubic with this coefficient (Keys 1981, "Cubic convolution interpolation for digital image
    /// processing").
    Cubic(f64),
}

/// How an axis is resized.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) kernel: Kernel,
    /// The nearest element of a position.
    pub(super) round: fn(f64) -> f64,
    /// The coordinate transformation, by ONNX's name.
    pub(super) coordinates: &'a str,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Outputs an input.
    pub(super) scale: f64,
    /// Start and end of the region for `tf_crop_and_resize`, as shares of the axis.
    pub(super) region: [f64; 2],
    /// Whether the filter is widened where outputs are fewer.
    pub(super) antialias: bool,
    pub(super) exclude_outside: bool,
}

/// The largest matrix.
const ELEMENTS: usize = 1 << 23;
/// The longest axis that is made so.
const OUTPUTS: usize = 1 << 16;

impl Around<'_> {
    /// Where an output lies among the inputs. Which is the nearest is told in f32, as ONNX Runtime does.
    fn position(&self, output: usize) -> Result<f64, Problem> {
        // One operation on f32s, rounded from f64, is the one of f32s.
        let r = |v: f64| if self.kernel == Kernel::Nearest { f64::from(v as f32) } else { v };
        let (y, inputs, outputs, scale) = (output as f64, self.inputs as f64, self.outputs as f64, self.scale);
        let half_pixel = |offset: f64| r(r(offset + r(r(y + 0.5) / scale)) - 0.5);
        Ok(match self.coordinates {
            "half_pixel_symmetric" => {
                // The middle stays where it is, although the size was rounded.
                let adjustment = r(outputs / r(scale * inputs));
                let offset = r(r(inputs / 2.0) * r(1.0 - adjustment));
                half_pixel(offset)
            }
            "pytorch_half_pixel" | "align_corners" if self.outputs == 1 => 0.0,
            "half_pixel" | "pytorch_half_pixel" => half_pixel(0.0),
            "tf_half_pixel_for_nn" => r(r(y + 0.5) / scale),
            "asymmetric" => r(y / scale),
            "align_corners" => r(r(y * (inputs - 1.0)) / (outputs - 1.0)),
            "tf_crop_and_resize" => {
                let [start, end] = self.region;
                match self.outputs {
                    1 => r(0.5 * r(r(start + end) * (inputs - 1.0))),
                    _ => r(r(start * (inputs - 1.0)) + r(r(y * r(end - start)) * (inputs - 1.0)) / (outputs - 1.0)),
                }
            }
            other => return Err(Problem::new(format!("its coordinates `{other}` are not known"))),
        })
    }

    /// The share of an input at a distance from the position.
    fn share(&self, distance: f64) -> f64 {
        let x = distance.abs();
        match self.kernel {
            Kernel::Nearest => 0.0,
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
            let position = self.position(output)?;
            outside.push(self.coordinates == "tf_crop_and_resize" && !(0.0..=last as f64).contains(&position));
            if self.kernel == Kernel::Nearest {
                row[((self.round)(position) as i64).clamp(0, last) as usize] = 1.0;
                continue;
            }
            // Widened, the filter looks at as many more inputs as outputs are fewer.
            let wide = if self.antialias { self.scale.min(1.0) } else { 1.0 };
            let reach = match self.kernel {
                Kernel::Cubic(_) => 2.0 / wide,
                Kernel::Linear | Kernel::Nearest => 1.0 / wide,
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
    around: &Around<'_>,
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
