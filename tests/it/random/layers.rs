//! Layers that are one operator, with its attributes at random.

use kiln_compiler::graph::{
    Activation, Binary, Constant, Conv, Coordinates, Core, F32, Filter, NodeId, Op, Pads, Pool, Resize, Rounding,
    Scale, Stage, Window,
};

use super::{CHANNELS, ELEMENTS, Net};

/// The most multiply-adds of a convolution.
const MACS: usize = 1_500_000;

impl Net {
    /// A window that fits `h` × `w`; where it is padded, on each side by a number of its own.
    fn window(&mut self, h: usize, w: usize) -> Window {
        let random = &mut self.random;
        let kernel = match random.range(0, 7) {
            0 | 1 => [3.min(h), 3.min(w)],
            2 => [random.range(1, 7.min(h)), 1],
            3 => [1, random.range(1, 7.min(w))],
            _ => [random.range(1, 5.min(h)), random.range(1, 5.min(w))],
        };
        let dilation = if random.chance(3) { [random.range(1, 3), random.range(1, 3)] } else { [1, 1] };
        let stride = if random.chance(2) { [1, 1] } else { [random.range(1, 3), random.range(1, 3)] };
        let reach = [0, 1].map(|i| dilation[i] * (kernel[i] - 1) + 1);
        let pads = match random.range(0, 3) {
            0 => Pads::default(),
            1 | 2 => Pads::symmetric(reach[0] / 2, reach[1] / 2),
            _ => Pads {
                top: random.range(0, reach[0] - 1),
                bottom: random.range(0, reach[0] - 1),
                left: random.range(0, reach[1] - 1),
                right: random.range(0, reach[1] - 1),
            },
        };
        Window { kernel, stride, pads, dilation }
    }

    /// A convolution that fits a map, from a pointwise one to some groups under a dilated window.
    fn conv_of(&mut self, x: NodeId) -> Option<Conv> {
        let [n, c, h, w] = self.nchw(x)?;
        let groups = self.random.pick(&[1, 1, 1, 1, 2, 3, 4, 8, c]);
        let groups = if c % groups == 0 { groups } else { 1 };
        let most = (CHANNELS / groups).max(1);
        let per_group = self.random.range(1, most);
        // Odd counts are more likely to break than multiples of a block, which the random ones miss.
        let channels = match self.random.range(0, 3) {
            0 if groups == 1 => self.random.pick(&[3, 8, 16, 17, 24, 32, 48]),
            _ => groups * per_group,
        };
        let window = if self.random.chance(3) { Window::POINT } else { self.window(h, w) };
        let macs = n * channels * (c / groups) * window.kernel[0] * window.kernel[1] * h * w;
        (macs <= MACS).then(|| Conv { channels, window, groups, bias: self.random.chance(2) })
    }

    pub(super) fn conv(&mut self, x: NodeId) -> Option<NodeId> {
        let conv = self.conv_of(x)?;
        self.add(Op::Conv(conv), &[x])
    }

    pub(super) fn depthwise(&mut self, x: NodeId) -> Option<NodeId> {
        let [_, c, h, w] = self.nchw(x)?;
        let channels = c * self.random.pick(&[1, 1, 1, 2]);
        let window = self.window(h, w);
        let conv = Conv { channels, window, groups: c, bias: self.random.chance(2) };
        self.add(Op::Conv(conv), &[x])
    }

    pub(super) fn batch_norm(&mut self, x: NodeId) -> Option<NodeId> {
        let norm = Op::BatchNorm { eps: F32::new(1e-3), affine: self.random.chance(2) };
        self.add(norm, &[x])
    }

    /// An activation that no number makes infinite or less exact than it was.
    pub(super) fn gentle_activation(&mut self) -> Activation {
        let f32 = F32::new;
        self.random.pick(&[
            Activation::Relu,
            Activation::RELU6,
            Activation::Clip { lo: f32(-1.0), hi: f32(1.0) },
            Activation::Clip { lo: f32(-2.0), hi: f32(-0.5) },
            Activation::LeakyRelu { slope: f32(0.1) },
            Activation::LeakyRelu { slope: f32(-0.5) },
            Activation::Elu { alpha: f32(1.0) },
            Activation::Elu { alpha: f32(0.5) },
            Activation::Sigmoid,
            Activation::HardSigmoid,
            Activation::Tanh,
            Activation::Silu,
            Activation::HardSwish,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Mish,
            Activation::Abs,
            Activation::Erf,
            Activation::Softplus,
        ])
    }

    pub(super) fn activation(&mut self, x: NodeId) -> Option<NodeId> {
        let (activation, lo, hi) = match self.random.range(0, 9) {
            0 => (Activation::Exp, -8.0, 8.0),
            1 => (Activation::Log, 0.125, 9.0),
            2 => (Activation::Sqrt, 0.01, 9.0),
            _ => {
                let gentle = self.gentle_activation();
                return self.activate(gentle, x);
            }
        };
        let within = self.clip(x, lo, hi)?;
        self.activate(activation, within)
    }

    pub(super) fn pool(&mut self, x: NodeId) -> Option<NodeId> {
        let [_, _, h, w] = self.nchw(x)?;
        let window = self.window(h, w);
        let pool = Pool { window, ceil_mode: self.random.chance(2), count_include_pad: self.random.chance(2) };
        let pool = if self.random.chance(2) { Op::MaxPool(pool) } else { Op::AvgPool(pool) };
        self.add(pool, &[x])
    }

    pub(super) fn global_pool(&mut self, x: NodeId) -> Option<NodeId> {
        let pool = if self.random.chance(2) { Op::GlobalAvgPool } else { Op::GlobalMaxPool };
        self.add(pool, &[x])
    }

    /// Two operands, of which a divisor and a base are made harmless.
    fn bounded(&mut self, binary: Binary, a: NodeId, b: NodeId) -> Option<NodeId> {
        match binary {
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Min | Binary::Max => self.binary(binary, a, b),
            Binary::Div => {
                let divisor = self.clip(b, 0.5, 2.0)?;
                self.binary(binary, a, divisor)
            }
            Binary::Pow => {
                let (base, exponent) = (self.clip(a, 0.25, 4.0)?, self.clip(b, -2.0, 2.0)?);
                self.binary(binary, base, exponent)
            }
        }
    }

    fn binary_kind(&mut self) -> Binary {
        self.random.pick(&[
            Binary::Add,
            Binary::Add,
            Binary::Add,
            Binary::Mul,
            Binary::Mul,
            Binary::Sub,
            Binary::Min,
            Binary::Max,
            Binary::Div,
            Binary::Pow,
        ])
    }

    /// Two maps of one shape.
    pub(super) fn pair(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.nchw(x)?;
        let other = self.map_where(|of| of == shape)?;
        let binary = self.binary_kind();
        self.bounded(binary, x, other)
    }

    /// A map with a smaller value: weights, a literal, a mean of its own, one channel or one image of it.
    pub(super) fn broadcast(&mut self, x: NodeId) -> Option<NodeId> {
        let [n, c, h, w] = self.nchw(x)?;
        let other = match self.random.range(0, 6) {
            0 | 1 => {
                let shapes: [&[usize]; 9] =
                    [&[c, 1, 1], &[c, 1, 1], &[1, c, 1, 1], &[n, c, 1, 1], &[c, h, w], &[h, 1], &[w], &[1], &[]];
                let shape = self.random.pick(&shapes).to_vec();
                self.add(Op::Weight { shape }, &[])?
            }
            2 => {
                let literal = self.random.pick(&[1.0, 0.5, -1.0, 0.0, 3.0]);
                self.add(Op::Constant(Constant::scalar(literal)), &[])?
            }
            3 => {
                let values = (0..c).map(|i| F32::new((i % 7) as f32 * 0.5 - 1.25)).collect();
                self.add(Op::Constant(Constant { shape: vec![c, 1, 1], values }), &[])?
            }
            4 => self.global_pool(x)?,
            5 => self.add(Op::Slice { axis: 1, start: c - 1, end: c }, &[x])?,
            _ => self.add(Op::Slice { axis: 0, start: 0, end: 1 }, &[x])?,
        };
        let binary = self.binary_kind();
        if self.random.chance(3) { self.bounded(binary, other, x) } else { self.bounded(binary, x, other) }
    }

    pub(super) fn concat(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.nchw(x)?;
        let axis = self.random.pick(&[1, 1, 1, 0, 2, 3]);
        let mut parts = vec![x];
        for _ in 0..self.random.range(1, 2) {
            parts.push(self.map_where(|of| (0..4).all(|at| at == axis || of[at] == shape[at]))?);
        }
        if self.random.chance(2) {
            parts.reverse();
        }
        self.add(Op::Concat { axis }, &parts)
    }

    pub(super) fn slice(&mut self, x: NodeId) -> Option<NodeId> {
        let axis = self.random.pick(&[1, 1, 1, 0, 2, 3]);
        let extent = self.nchw(x)?[axis];
        let start = self.random.range(0, extent - 1);
        let end = self.random.range(start + 1, extent);
        self.add(Op::Slice { axis, start, end }, &[x])
    }

    /// Elements of an axis in any order, some of them twice; of images as many as there were.
    pub(super) fn gather(&mut self, x: NodeId) -> Option<NodeId> {
        let axis = self.random.pick(&[1, 1, 0, 2, 3]);
        let extent = self.nchw(x)?[axis];
        let taken = if axis == 0 { extent } else { self.random.range(1, extent + 2) };
        let indices = (0..taken).map(|_| self.random.range(0, extent - 1) as u32).collect();
        self.add(Op::Gather { axis, indices }, &[x])
    }

    pub(super) fn shuffle(&mut self, x: NodeId) -> Option<NodeId> {
        let [_, c, ..] = self.nchw(x)?;
        let groups = (2..=4).filter(|groups| c % groups == 0).collect::<Vec<_>>();
        let groups = if groups.is_empty() { 1 } else { self.random.pick(&groups) };
        self.add(Op::ChannelShuffle { groups }, &[x])
    }

    pub(super) fn pad(&mut self, x: NodeId) -> Option<NodeId> {
        let mut side = || self.random.range(0, 2);
        let pads = Pads { top: side(), left: side(), bottom: side(), right: side() };
        let value = F32::new(self.random.pick(&[0.0, 0.0, 1.5, -3.0]));
        self.add(Op::Pad { pads, value }, &[x])
    }

    pub(super) fn resize(&mut self, x: NodeId) -> Option<NodeId> {
        let [_, _, h, w] = self.nchw(x)?;
        let random = &mut self.random;
        let size = match random.range(0, 2) {
            0 => [2 * h, 2 * w],
            _ => [random.range(1, 14), random.range(1, 14)],
        };
        let scale = [(size[0], h), (size[1], w)].map(|(outputs, inputs)| match random.range(0, 1) {
            0 => Scale::Number(F32::new(outputs as f32 / inputs as f32)),
            _ => Scale::Ratio { outputs, inputs },
        });
        let rounding = random.pick(&[Rounding::Floor, Rounding::Ceil, Rounding::HalfDown, Rounding::HalfUp]);
        let filter = random.pick(&[Filter::Linear, Filter::Nearest(rounding)]);
        let coordinates = random.pick(&[
            Coordinates::HalfPixel,
            Coordinates::PytorchHalfPixel,
            Coordinates::HalfPixelSymmetric,
            Coordinates::TfHalfPixelForNn,
            Coordinates::Asymmetric,
            Coordinates::AlignCorners,
        ]);
        self.add(Op::Resize(Resize { size, scale, filter, coordinates }), &[x])
    }

    /// A fused node as a printed graph may have it, with stages that the optimizer would not have chosen.
    pub(super) fn fused(&mut self, x: NodeId) -> Option<NodeId> {
        let core = if self.random.chance(3) { Core::Identity } else { Core::Conv(self.conv_of(x)?) };
        let mut before = Vec::new();
        let made = match core {
            Core::Conv(conv) => {
                for _ in 0..self.random.range(0, 2) {
                    before.push(self.pointwise_stage());
                }
                // What the core gives alone, to find maps of its shape by.
                self.add(Op::Conv(conv), &[x])?
            }
            Core::Linear(_) | Core::Identity => x,
        };
        let shape = self.nchw(made)?;
        let (mut after, mut operands) = (Vec::new(), vec![x]);
        for _ in 0..self.random.range(1, 3) {
            let stage = match self.random.range(0, 3) {
                0 => Stage::Add,
                1 => Stage::Scale,
                _ => self.pointwise_stage(),
            };
            match stage {
                Stage::Add => operands.push(self.map_where(|of| of == shape).unwrap_or(made)),
                Stage::Scale => operands.push(self.global_pool(made)?),
                Stage::Affine | Stage::Activate(_) => {}
            }
            after.push(stage);
        }
        self.add(Op::Fused { before, core, after }, &operands)
    }

    fn pointwise_stage(&mut self) -> Stage {
        if self.random.chance(2) { Stage::Affine } else { Stage::Activate(self.gentle_activation()) }
    }

    pub(super) fn nothing(&mut self, x: NodeId) -> Option<NodeId> {
        let op = if self.random.chance(2) { Op::Identity } else { Op::Dropout };
        self.add(op, &[x])
    }

    pub(super) fn softmax(&mut self, x: NodeId) -> Option<NodeId> {
        let axis = self.random.range(1, 3);
        self.add(Op::Softmax { axis }, &[x])
    }

    /// Elements in another order, or counted along other axes.
    pub(super) fn rearranged(&mut self, x: NodeId) -> Option<NodeId> {
        let [n, c, h, w] = self.nchw(x)?;
        match self.random.range(0, 6) {
            0 => self.transpose(x, &[0, 1, 3, 2]),
            1 => self.transpose(x, &[0, 2, 1, 3]),
            2 => {
                let shapes = [[n, c, h * w, 1], [n, c, 1, h * w], [n, c * h, w, 1], [1, n * c, h, w], [n, 1, c, h * w]];
                let shape = self.random.pick(&shapes);
                self.reshape(x, &shape)
            }
            // Pixels out of channels, and back.
            3 if c % 4 == 0 => {
                let parts = self.reshape(x, &[n, c / 4, 2, 2, h, w])?;
                let parts = self.transpose(parts, &[0, 1, 4, 2, 5, 3])?;
                self.reshape(parts, &[n, c / 4, 2 * h, 2 * w])
            }
            4 if h % 2 == 0 && w % 2 == 0 && 4 * c <= CHANNELS => {
                let parts = self.reshape(x, &[n, c, h / 2, 2, w / 2, 2])?;
                let parts = self.transpose(parts, &[0, 1, 3, 5, 2, 4])?;
                self.reshape(parts, &[n, 4 * c, h / 2, w / 2])
            }
            // A shuffle of channels, as exporters write it.
            5 => {
                let groups = (2..=4).find(|groups| c % groups == 0)?;
                let parts = self.reshape(x, &[n, groups, c / groups, h, w])?;
                let parts = self.transpose(parts, &[0, 2, 1, 3, 4])?;
                self.reshape(parts, &[n, c, h, w])
            }
            _ if c * h * w <= ELEMENTS => self.transpose(x, &[0, 3, 2, 1]),
            _ => None,
        }
    }
}
