//! Blocks of several operators: layers over tokens, products of values, gates, normalizations by a value's own statistics,
//! and activations as exporters write them out.

use kiln_compiler::graph::{Activation, Binary, Conv, F32, Linear, NodeId, Op, Pads, Pool, Window};

use super::Net;

impl Net {
    /// A linear layer: on all of each image, or on the channels of each pixel, as transformers have it.
    pub(super) fn linear(&mut self, x: NodeId) -> Option<NodeId> {
        let [n, c, h, w] = self.nchw(x)?;
        let features = self.random.range(1, 40);
        let linear = Op::Linear(Linear { features, bias: self.random.chance(2) });
        if self.random.chance(2) {
            let flat = self.reshape(x, &[n, c * h * w])?;
            let y = self.add(linear, &[flat])?;
            return self.reshape(y, &[n, features, 1, 1]);
        }
        let last = self.transpose(x, &[0, 2, 3, 1])?;
        let tokens = self.reshape(last, &[n * h * w, c])?;
        let y = self.add(linear, &[tokens])?;
        let y = self.reshape(y, &[n, h, w, features])?;
        self.transpose(y, &[0, 3, 1, 2])
    }

    /// Products of values: how channels go together, image by image or by those of the first; or attention.
    pub(super) fn product(&mut self, x: NodeId) -> Option<NodeId> {
        let [n, c, h, w] = self.nchw(x)?;
        let within = self.activate(Activation::Tanh, x)?;
        let rows = self.reshape(within, &[n, c, h * w])?;
        let mut columns = self.transpose(rows, &[0, 2, 1])?;
        if self.random.chance(2) && h * w <= 80 {
            // Softmax(Q K^T / sqrt(c)) V, with one map as all three.
            let scores = self.add(Op::MatMul, &[columns, rows])?;
            let scores = self.with(Binary::Mul, scores, 1.0 / (c as f32).sqrt())?;
            let shares = self.add(Op::Softmax { axis: 2 }, &[scores])?;
            let values = self.add(Op::MatMul, &[shares, columns])?;
            let back = self.transpose(values, &[0, 2, 1])?;
            return self.reshape(back, &[n, c, h, w]);
        }
        if self.random.chance(3) {
            columns = self.add(Op::Slice { axis: 0, start: 0, end: 1 }, &[columns])?;
        }
        let product = self.add(Op::MatMul, &[rows, columns])?;
        self.reshape(product, &[n, c, c, 1])
    }

    /// Squeeze-and-excitation: a gate out of the means, times the map.
    pub(super) fn gate(&mut self, x: NodeId) -> Option<NodeId> {
        let [_, c, ..] = self.nchw(x)?;
        let mut gate = self.add(Op::GlobalAvgPool, &[x])?;
        let point = |channels| Op::Conv(Conv { channels, window: Window::POINT, groups: 1, bias: true });
        if self.random.chance(2) {
            gate = self.add(point(c.div_ceil(4)), &[gate])?;
            let activation = self.gentle_activation();
            gate = self.activate(activation, gate)?;
        }
        gate = self.add(point(c), &[gate])?;
        if self.random.chance(2) {
            let activation = self.random.pick(&[Activation::Sigmoid, Activation::HardSigmoid]);
            gate = self.activate(activation, gate)?;
        }
        if self.random.chance(2) { self.binary(Binary::Mul, x, gate) } else { self.binary(Binary::Mul, gate, x) }
    }

    /// Normalization by an image's own statistics: of each map, of groups of channels, of the channels of each pixel, of a
    /// window of channels.
    pub(super) fn norm(&mut self, x: NodeId) -> Option<NodeId> {
        let [n, c, h, w] = self.nchw(x)?;
        match self.random.range(0, 3) {
            0 => self.standardized(x),
            1 => {
                let groups = (2..=4).find(|groups| c % groups == 0).unwrap_or(1);
                let parts = self.reshape(x, &[n, groups, c / groups, h * w])?;
                let normal = self.standardized(parts)?;
                self.reshape(normal, &[n, c, h, w])
            }
            2 => {
                let last = self.transpose(x, &[0, 2, 3, 1])?;
                let pixels = self.reshape(last, &[n, h * w, c, 1])?;
                let normal = self.standardized(pixels)?;
                let last = self.reshape(normal, &[n, h, w, c])?;
                let scale = self.add(Op::Weight { shape: vec![c] }, &[])?;
                let scaled = self.binary(Binary::Mul, last, scale)?;
                self.transpose(scaled, &[0, 3, 1, 2])
            }
            _ => self.local_response(x),
        }
    }

    /// A map less its mean, by its deviation, image by image and channel by channel; with a bias, as a norm has it: without
    /// one its mean is 0, and a layer that takes that mean hands on what rounding left of it.
    fn standardized(&mut self, x: NodeId) -> Option<NodeId> {
        let mean = self.add(Op::GlobalAvgPool, &[x])?;
        let off = self.binary(Binary::Sub, x, mean)?;
        let square = self.binary(Binary::Mul, off, off)?;
        let variance = self.add(Op::GlobalAvgPool, &[square])?;
        let eps = self.random.pick(&[0.1, 1e-3, 1e-5]);
        let variance = self.with(Binary::Add, variance, eps)?;
        let deviation = self.activate(Activation::Sqrt, variance)?;
        let normal = self.binary(Binary::Div, off, deviation)?;
        let bias = self.random.pick(&[0.5, -1.0]);
        self.with(Binary::Add, normal, bias)
    }

    /// Krizhevsky et al. 2012: each channel by a power of the squares around it.
    fn local_response(&mut self, x: NodeId) -> Option<NodeId> {
        let [n, c, h, w] = self.nchw(x)?;
        let square = self.binary(Binary::Mul, x, x)?;
        let rows = self.reshape(square, &[n, 1, c, h * w])?;
        let side = 2.min(c - 1);
        let pads = Pads { top: side, bottom: side, left: 0, right: 0 };
        let window = Window { kernel: [2 * side + 1, 1], stride: [1, 1], pads, dilation: [1, 1] };
        let mean = self.add(Op::AvgPool(Pool { window, ceil_mode: false, count_include_pad: true }), &[rows])?;
        let mean = self.reshape(mean, &[n, c, h, w])?;
        let scaled = self.with(Binary::Mul, mean, 0.25)?;
        let base = self.with(Binary::Add, scaled, 1.0)?;
        let power = self.with(Binary::Pow, base, 0.75)?;
        self.binary(Binary::Div, x, power)
    }

    /// An activation out of others.
    pub(super) fn spelled(&mut self, x: NodeId) -> Option<NodeId> {
        match self.random.range(0, 6) {
            0 => {
                let gate = self.activate(Activation::Sigmoid, x)?;
                self.binary(Binary::Mul, x, gate)
            }
            1 => {
                let shifted = self.with(Binary::Add, x, 3.0)?;
                let within = self.clip(shifted, 0.0, 6.0)?;
                let product = self.binary(Binary::Mul, x, within)?;
                self.with(Binary::Div, product, 6.0)
            }
            2 => {
                let scaled = self.with(Binary::Div, x, std::f32::consts::SQRT_2)?;
                let erf = self.activate(Activation::Erf, scaled)?;
                let shifted = self.with(Binary::Add, erf, 1.0)?;
                let product = self.binary(Binary::Mul, x, shifted)?;
                self.with(Binary::Mul, product, 0.5)
            }
            3 => {
                let softplus = self.activate(Activation::Softplus, x)?;
                let tanh = self.activate(Activation::Tanh, softplus)?;
                self.binary(Binary::Mul, x, tanh)
            }
            4 => {
                let negative = self.with(Binary::Mul, x, -1.0)?;
                self.binary(Binary::Max, x, negative)
            }
            5 => {
                let elu = self.activate(Activation::Elu { alpha: F32::new(1.673_263_2) }, x)?;
                self.with(Binary::Mul, elu, 1.050_701)
            }
            _ => {
                let shifted = self.with(Binary::Add, x, 3.0)?;
                let sixth = self.with(Binary::Div, shifted, 6.0)?;
                self.clip(sixth, 0.0, 1.0)
            }
        }
    }
}
