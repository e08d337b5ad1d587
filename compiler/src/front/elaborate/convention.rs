//! `weights(names = "keras")`: how the layers of a net and their weights are called.

use super::Elaborator;
use super::Value;
use super::attribute::Args;
use super::names::join;
use super::ops::{OpEntry, Preset, param};
use crate::graph::infer::Role;
use crate::graph::weights::Kind;
use crate::graph::{Op, WeightId};

/// Whose names the weights of a net have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Convention {
    /// PyTorch's: names nest with dots, and a layer's tensors are `layer.weight`, `layer.bias`, `layer.running_mean`.
    #[default]
    PyTorch,
    /// Keras': names nest with underscores, and a layer's tensors are `layer/kernel`, `layer/gamma`. A layer without a
    /// name is `conv2d`, the next one `conv2d_1`, wherever it stands.
    Keras,
}

/// The statement as an op without a tensor.
pub(super) static WEIGHTS: OpEntry = OpEntry {
    name: "weights",
    params: &[param("names", Preset::Str("pytorch"))],
    doc: "Whose names the weights of a net have: \"pytorch\" or \"keras\".",
    build: |elaborator, args| elaborator.keep_convention(args),
};

impl Convention {
    /// `inner` within `outer`.
    pub(super) fn join(self, outer: &str, inner: &str) -> String {
        match self {
            Convention::PyTorch => join(outer, inner),
            Convention::Keras if outer.is_empty() || inner.is_empty() => format!("{outer}{inner}"),
            Convention::Keras => format!("{outer}_{inner}"),
        }
    }

    /// What a layer without a name is called before it is counted, where that differs from the op's name.
    pub(super) fn layer(self, op: &Op, channels: usize) -> Option<&'static str> {
        match (self, op) {
            (Convention::Keras, Op::Conv(conv)) if is_depthwise(conv.groups, channels) => Some("depthwise_conv2d"),
            (Convention::Keras, Op::Conv(_)) => Some("conv2d"),
            (Convention::Keras, Op::Linear(_)) => Some("dense"),
            (Convention::Keras, Op::BatchNorm { .. }) => Some("batch_normalization"),
            _ => None,
        }
    }

    /// The name of a layer's tensor; `kernel` is what the layer calls its kernel, where it says so.
    pub(super) fn tensor(self, layer: &str, role: Role, kernel: Option<&str>) -> String {
        let (separator, names) = match self {
            Convention::PyTorch => ('.', ["weight", "bias", "weight", "bias", "running_mean", "running_var"]),
            Convention::Keras => ('/', ["kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"]),
        };
        let [weight, bias, gamma, beta, mean, var] = names;
        let name = match role {
            Role::Kernel | Role::Value => kernel.unwrap_or(weight),
            Role::Bias => bias,
            Role::Gamma => gamma,
            Role::Beta => beta,
            Role::Mean => mean,
            Role::Var => var,
        };
        format!("{layer}{separator}{name}")
    }
}

/// Whether each channel is filtered by itself.
fn is_depthwise(groups: usize, channels: usize) -> bool {
    groups == channels && groups > 1
}

impl<'a> Elaborator<'a> {
    /// The tensor of a role, read in the order of axes in which the convention stores it: Keras lists the kernel of a
    /// depthwise convolution as `[multiplier, C, kh, kw]`, and output channel `c * multiplier + m` is filtered by `[m, c]`.
    pub(super) fn read_weight(&mut self, op: &Op, name: &str, kind: Kind, shape: &[usize]) -> WeightId {
        match (self.convention(), op, shape) {
            (Convention::Keras, Op::Conv(conv), &[filters, 1, kh, kw])
                if kind == Kind::Kernel && conv.groups > 1 && filters % conv.groups == 0 =>
            {
                let stored = [filters / conv.groups, conv.groups, kh, kw];
                let by_channel = self.graph.weights.read_transposed(name, kind, &stored, &[1, 0, 2, 3]);
                self.graph.weights.reshape(by_channel, shape)
            }
            _ => self.graph.weights.read(name, kind, shape),
        }
    }

    fn keep_convention(&mut self, args: &Args<'a>) -> Option<Value> {
        let convention = match self.word(args, "names", &["pytorch", "keras"])?.as_str() {
            "keras" => Convention::Keras,
            _ => Convention::PyTorch,
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.convention = convention;
        }
        Some(Value::Unit)
    }

    /// The convention of the function that runs.
    pub(super) fn convention(&self) -> Convention {
        self.frames.last().map_or(Convention::default(), |frame| frame.convention)
    }
}
