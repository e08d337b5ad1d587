//! What a node can be: the operators of the graph and their attributes.
//!
//! Shapes are static and logical: feature maps are `[N, C, H, W]`, vectors of features `[N, F]`. An [`Op`] says what a
//! node computes from its operands (values of other nodes) and its weights (expressions over named tensors, see
//! [`super::weights`]); the comment on each variant is its specification, and [`super::interp`] is the same thing in
//! plain loops.
//!
//! `Op` is compared and hashed by bits: a float attribute is an [`F32`], for which `-0.0` and `0.0` differ and a NaN
//! equals itself. No `match` over it has a wildcard arm, so a new variant lights up every place that has to think.

use std::fmt;

use super::Resize;

/// A float attribute, compared, ordered and hashed by its bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct F32(u32);

impl F32 {
    /// The attribute with this value.
    pub const fn new(value: f32) -> Self {
        F32(value.to_bits())
    }

    /// Its value.
    pub const fn get(self) -> f32 {
        f32::from_bits(self.0)
    }

    /// Its bits.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for F32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

impl fmt::Display for F32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

impl From<f32> for F32 {
    fn from(value: f32) -> Self {
        F32::new(value)
    }
}

/// Rows or columns added on each side of a feature map, before the operator looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pads {
    /// Rows above.
    pub top: usize,
    /// Columns before.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns after.
    pub right: usize,
}

impl Pads {
    /// The same number of rows above and below, and of columns before and after.
    pub const fn symmetric(rows: usize, columns: usize) -> Self {
        Pads { top: rows, left: columns, bottom: rows, right: columns }
    }

    /// Whether nothing is added.
    pub fn is_none(self) -> bool {
        self == Pads::default()
    }
}

/// A sliding window over rows and columns; each pair is `[rows, columns]`.
///
/// Output rows are `(H + top + bottom - dilation * (kernel - 1) - 1) / stride + 1`, rounded down; columns likewise. Extents
/// are bounded, so that arithmetic on places stays far from overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Taps, at least 1.
    pub kernel: [usize; 2],
    /// Step between outputs, at least 1.
    pub stride: [usize; 2],
    /// Rows and columns around the input. They read as zero in a convolution and are not looked at in a pool.
    pub pads: Pads,
    /// Distance between taps, at least 1.
    pub dilation: [usize; 2],
}

impl Window {
    /// A window of one pixel: what a pointwise convolution looks at.
    pub const POINT: Window = Window { kernel: [1, 1], stride: [1, 1], pads: Pads::symmetric(0, 0), dilation: [1, 1] };

    /// The most taps.
    const TAPS: usize = 1 << 20;
    /// The largest step, distance or padding.
    const FAR: usize = 1 << 24;

    /// Whether its extents are within their bounds, from below and from above.
    pub fn is_bounded(&self) -> bool {
        let Window { kernel, stride, pads, dilation } = *self;
        let within = |extents: [usize; 2], bound: usize| extents.iter().all(|extent| (1..=bound).contains(extent));
        let Pads { top, bottom, left, right } = pads;
        within(kernel, Self::TAPS)
            && kernel[0] * kernel[1] <= Self::TAPS
            && within(stride, Self::FAR)
            && within(dilation, Self::FAR)
            && [top, bottom, left, right].iter().all(|&side| side <= Self::FAR)
    }

    /// Rows and columns covered from the first tap to the last.
    pub fn reach(&self) -> [usize; 2] {
        [0, 1].map(|i| self.dilation[i] * (self.kernel[i] - 1) + 1)
    }
}

/// A convolution: `y[n, o, y, x] = b[o] + sum over i, kh, kw of w[o, i, kh, kw] * x[n, g*I + i, y*s + kh*d - p, ...]`.
/// Of floats; or of i32s, whose sums wrap and whose weights are integers below 2^24.
///
/// Weights: `[O, C / groups, KH, KW]`, then, where `bias`, `[O]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conv {
    /// Output channels O, a multiple of `groups`.
    pub channels: usize,
    /// The window; its padding reads as zero.
    pub window: Window,
    /// Groups; output channel o reads the input channels of group `o / (O / groups)`.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// A fully connected layer on `[N, F]`: `y[n, o] = b[o] + sum over f of w[o, f] * x[n, f]`. Elements as for [`Conv`].
///
/// Weights: `[O, F]`, then, where `bias`, `[O]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Linear {
    /// Outputs O.
    pub features: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// How a pool counts what its windows hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pool {
    /// The window; taps on padding are not looked at.
    pub window: Window,
    /// Whether the number of outputs is rounded up, as in PyTorch: a last window must still start inside the input or
    /// its padding before it.
    pub ceil_mode: bool,
    /// Average pools: whether padding counts as zeros in the mean. What `ceil_mode` adds past the padding never counts.
    pub count_include_pad: bool,
}

/// A function of one number. Formulas are PyTorch's. NaN gives NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, lo), hi)`; ReLU6 is 0 to 6
    Clip {
        /// The least result.
        lo: F32,
        /// The largest result.
        hi: F32,
    },
    /// `x` where positive, else `slope * x`
    LeakyRelu {
        /// The factor for negative x.
        slope: F32,
    },
    /// `|x|`, which has no sign
    Abs,
    /// `x` where positive, else `alpha * (exp(x) - 1)`
    Elu {
        /// The factor for negative x.
        alpha: F32,
    },
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `min(max(x / 6 + 1/2, 0), 1)`
    HardSigmoid,
    /// `(exp(2x) - 1) / (exp(2x) + 1)`
    Tanh,
    /// `x * sigmoid(x)`, also called swish; 0 of `-inf`
    Silu,
    /// `x * min(max(x + 3, 0), 6) / 6`
    HardSwish,
    /// `x * (1 + erf(x / sqrt(2))) / 2` (Hendrycks and Gimpel 2016, arXiv:1606.08415); 0 of `-inf`
    Gelu,
    /// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2`, which the same paper takes for it; 0 of `-inf`
    GeluTanh,
    /// `e^x`
    Exp,
    /// The natural logarithm: `-inf` of 0, NaN of what is below.
    Log,
    /// The square root: NaN of what is below 0.
    Sqrt,
    /// `2 / sqrt(pi) * (integral of exp(-t^2) from 0 to x)`
    Erf,
    /// `ln(1 + e^x)`
    Softplus,
    /// `x * tanh(ln(1 + e^x))` (Misra 2019, arXiv:1908.08681); 0 of `-inf`
    Mish,
    /// `min(max(round(x / scale) + zero, lo), hi)`, rounded to the nearest, ties to even: the integer that stands for x
    /// (ONNX, QuantizeLinear). `zero`, `lo` and `hi` are integers.
    Quantize {
        /// The distance between numbers that neighbouring integers stand for; positive.
        scale: F32,
        /// The integer that stands for 0.
        zero: F32,
        /// The least result.
        lo: F32,
        /// The largest result. All three are within 2^16 of 0.
        hi: F32,
    },
}

impl Activation {
    /// ReLU6.
    pub const RELU6: Activation = Activation::Clip { lo: F32::new(0.0), hi: F32::new(6.0) };
}

/// A function of two numbers, element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The lesser; NaN if either is.
    Min,
    /// The larger; NaN if either is.
    Max,
    /// `a^b`, as IEEE 754's `pow` has it: of a below 0 only integers b have one.
    Pow,
}

/// A literal of at most [`Constant::LIMIT`] elements, row-major; everything larger is a weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constant {
    /// Its shape; a scalar has none.
    pub shape: Vec<usize>,
    /// Its elements.
    pub values: Vec<F32>,
}

impl Constant {
    /// The most elements a literal may have.
    pub const LIMIT: usize = 1024;

    /// A scalar.
    pub fn scalar(value: f32) -> Self {
        Constant { shape: Vec::new(), values: vec![F32::new(value)] }
    }

    /// The value that every element has, if there is one.
    pub fn uniform(&self) -> Option<f32> {
        let first = *self.values.first()?;
        self.values.iter().all(|v| *v == first).then(|| first.get())
    }
}

/// One pointwise step of a [`Chain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// `x * scale[c] + shift[c]`, by channel. Weights: `scale [C]`, `shift [C]`.
    Affine,
    /// An activation.
    Activate(Activation),
    /// Adds an operand of the same shape.
    Add,
    /// Multiplies by an operand `[N, C, 1, 1]`, by image and channel.
    Scale,
}

/// Pointwise stages, applied in order.
pub type Chain = Vec<Stage>;

/// What stands in the middle of a fused node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Core {
    /// A convolution.
    Conv(Conv),
    /// A fully connected layer.
    Linear(Linear),
    /// Nothing: the node is its chain. By convention the stages stand in `after`.
    Identity,
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// An input of the network, of this type.
    Input(super::TensorType),
    /// A literal.
    Constant(Constant),
    /// A tensor of weights as a value. Weights: the tensor, of this shape.
    Weight {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A convolution.
    Conv(Conv),
    /// A fully connected layer.
    Linear(Linear),
    /// `(x - mean[c]) / sqrt(var[c] + eps) * gamma[c] + beta[c]` on axis 1.
    /// Weights: `gamma`, `beta` where `affine`, then `mean`, `var`; each `[C]`.
    BatchNorm {
        /// Added to the variance.
        eps: F32,
        /// Whether gamma and beta are there.
        affine: bool,
    },
    /// An activation. Integers have ReLU, clip and leaky ReLU.
    Activate(Activation),
    /// The same numbers as elements of another type. To an integer: the fraction is dropped, what does not fit becomes
    /// the nearest that does, NaN becomes 0. From an integer to another that does not hold it: the low bits. To a truth
    /// value: whether it is not 0. To a float: the nearest.
    Cast(super::DType),
    /// Two operands of one type, broadcast as in ONNX (shapes aligned at their last axis; an axis of 1 repeats).
    /// Integers wrap; their quotients are rounded towards zero.
    Binary(Binary),
    /// Products of matrices that are values both, one for each part: `[P, M, K]` times `[Q, K, N]` is `[R, M, N]`, where R is
    /// the larger of P and Q, and the smaller is as many or 1, which serves all parts. A matrix of weights makes an
    /// [`Op::Linear`].
    MatMul,
    /// The largest element of each window. NaN in a window gives NaN.
    MaxPool(Pool),
    /// The mean of each window.
    AvgPool(Pool),
    /// The mean over rows and columns: `[N, C, 1, 1]`.
    GlobalAvgPool,
    /// The largest over rows and columns: `[N, C, 1, 1]`. NaN is kept.
    GlobalMaxPool,
    /// `exp(x - max) / sum of exp(x - max)` along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Operands one after the other along an axis; all other axes agree.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Elements `start..end` of an axis.
    Slice {
        /// The axis.
        axis: usize,
        /// The first element taken.
        start: usize,
        /// One past the last.
        end: usize,
    },
    /// Elements of an axis by their index, which may occur several times: element i of the result is element `indices[i]`
    /// of the operand.
    Gather {
        /// The axis.
        axis: usize,
        /// At least one; each less than the extent.
        indices: Vec<u32>,
    },
    /// Channels seen as `[groups, C / groups]` and transposed: output channel `j * groups + g` is input channel
    /// `g * (C / groups) + j` (Zhang et al. 2017, ShuffleNet, figure 1).
    ChannelShuffle {
        /// Groups, a divisor of C.
        groups: usize,
    },
    /// The same elements in row-major order, in another shape.
    Reshape {
        /// The new shape.
        shape: Vec<usize>,
    },
    /// Axes in another order: output axis i is input axis `perm[i]`.
    Transpose {
        /// A permutation.
        perm: Vec<usize>,
    },
    /// A feature map with rows and columns of a constant around it.
    Pad {
        /// How many.
        pads: Pads,
        /// What they hold.
        value: F32,
    },
    /// A feature map sampled at other places.
    Resize(Resize),
    /// The operand: dropout does nothing at inference.
    Dropout,
    /// The operand.
    Identity,
    /// Pointwise stages, a core, pointwise stages: the form of fusion. Operands and weights come in the order core,
    /// `before`, `after`. The stages of `before` act on what the core reads (never on its padding).
    Fused {
        /// On the core's operand.
        before: Chain,
        /// The core.
        core: Core,
        /// On the core's result.
        after: Chain,
    },
}
