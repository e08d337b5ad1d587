//! Small networks for tests, with weights by formula.

use crate::graph::infer::{Role, weight_shapes};
use crate::graph::interp::{Fill, run_f32 as run};
use crate::graph::weights::Kind;
use crate::graph::{
    Activation, Binary, Chain, Constant, Conv, Core, F32, Graph, Linear, NodeId, Op, Origin, Pads, Pool, Stage,
    TensorType, WeightId, Window,
};

/// Numbers that look random (Steele, Lea and Flood 2014, SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) % n as u64) as usize
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Between -2 and 2.
    pub(super) fn value(&mut self) -> f32 {
        self.below(4001) as f32 / 1000.0 - 2.0
    }
}

/// A network in the making.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) graph: Graph,
    pub(super) random: Random,
}

impl Build {
    pub(super) fn new(seed: u64) -> Self {
        Build { graph: Graph::new("Test"), random: Random(seed) }
    }

    /// Adds a node named for its operator and a count, with the weights it needs.
    pub(super) fn node(&mut self, op: Op, operands: &[NodeId]) -> NodeId {
        let name = format!("{}{}", crate::graph::infer::name(&op), self.graph.len());
        self.named(&name, op, operands)
    }

    pub(super) fn named(&mut self, name: &str, op: Op, operands: &[NodeId]) -> NodeId {
        let types: Vec<&TensorType> = operands.iter().map(|&id| &self.graph.node(id).ty).collect();
        let shapes = weight_shapes(&op, &types).unwrap();
        let weights: Vec<WeightId> = shapes
            .iter()
            .enumerate()
            .map(|(i, (role, shape))| {
                let kind = match role {
                    Role::Kernel => Kind::Kernel,
                    Role::Bias | Role::Beta | Role::Value => Kind::Bias,
                    Role::Gamma => Kind::Gamma,
                    Role::Mean => Kind::Mean,
                    Role::Var => Kind::Var,
                };
                self.graph.weights.read(&format!("{name}.{i}"), kind, shape)
            })
            .collect();
        self.graph.add(op, operands, weights, Origin::named(name)).unwrap()
    }

    pub(super) fn finish(mut self, outputs: &[NodeId]) -> Graph {
        for (i, &output) in outputs.iter().enumerate() {
            self.graph.add_output(format!("y{i}"), output);
        }
        self.graph
    }

    pub(super) fn shape(&self, x: NodeId) -> &[usize] {
        &self.graph.node(x).ty.shape
    }

    pub(super) fn input(&mut self, shape: &[usize]) -> NodeId {
        self.node(Op::Input(TensorType::f32(shape)), &[])
    }

    /// An input `[N, C, H, W]`.
    pub(super) fn map(&mut self) -> NodeId {
        let random = &mut self.random;
        let shape = [1 + random.below(2), random.pick(&[4, 6, 8, 12, 16]), 3 + random.below(5), 3 + random.below(5)];
        self.input(&shape)
    }

    /// A map with a border of `value`, on each side or on two.
    pub(super) fn pad(&mut self, x: NodeId, value: f32) -> NodeId {
        let pads = self.random.pick(&[Pads::symmetric(1, 1), Pads { top: 0, left: 1, bottom: 1, right: 0 }]);
        self.node(Op::Pad { pads, value: F32::new(value) }, &[x])
    }

    /// A pool's attributes: a window of 3×3 with a padding of none or one.
    pub(super) fn pool_attributes(&mut self) -> Pool {
        let random = &mut self.random;
        let pads =
            random.pick(&[Pads::default(), Pads::symmetric(1, 1), Pads { top: 1, left: 0, bottom: 0, right: 1 }]);
        let window =
            Window { kernel: [3, 3], stride: [1 + random.below(2), 1 + random.below(2)], pads, dilation: [1, 1] };
        Pool { window, ceil_mode: false, count_include_pad: random.coin() }
    }

    /// An input `[N, F]`.
    pub(super) fn matrix(&mut self) -> NodeId {
        let shape = [1 + self.random.below(2), self.random.pick(&[3, 8, 12])];
        self.input(&shape)
    }

    /// A convolution's attributes for a map of `c` channels; padded and strided as asked.
    pub(super) fn conv_attributes(&mut self, c: usize, padding: bool, stride: bool) -> Conv {
        let random = &mut self.random;
        let groups = random.pick(&[1, 1, 2, c]);
        let [kh, kw] = [1 + random.below(3), 1 + random.below(3)];
        let stride = if stride { [1 + random.below(2), 1 + random.below(2)] } else { [1, 1] };
        let pads = if padding {
            Pads { top: 1, left: random.below(2), bottom: random.below(2), right: 1 }
        } else {
            Pads::default()
        };
        let window = Window { kernel: [kh, kw], stride, pads, dilation: [1, 1] };
        Conv {
            channels: groups * (1 + random.below(3)) * if groups == c { 1 } else { 4 },
            window,
            groups,
            bias: random.coin(),
        }
    }

    pub(super) fn conv(&mut self, x: NodeId) -> NodeId {
        let (c, padding) = (self.shape(x)[1], self.random.coin());
        let conv = self.conv_attributes(c, padding, true);
        self.node(Op::Conv(conv), &[x])
    }

    /// A convolution to a map of the same size with `channels` channels.
    pub(super) fn conv_to(&mut self, x: NodeId, channels: usize, kernel: usize, stride: usize) -> NodeId {
        let pads = Pads::symmetric(kernel / 2, kernel / 2);
        let window = Window { kernel: [kernel; 2], stride: [stride; 2], pads, dilation: [1, 1] };
        self.node(Op::Conv(Conv { channels, window, groups: 1, bias: false }), &[x])
    }

    pub(super) fn depthwise(&mut self, x: NodeId, stride: usize) -> NodeId {
        let channels = self.shape(x)[1];
        let window = Window { kernel: [3, 3], stride: [stride; 2], pads: Pads::symmetric(1, 1), dilation: [1, 1] };
        self.node(Op::Conv(Conv { channels, window, groups: channels, bias: false }), &[x])
    }

    pub(super) fn linear(&mut self, x: NodeId) -> NodeId {
        let linear = Linear { features: 1 + self.random.below(12), bias: self.random.coin() };
        self.node(Op::Linear(linear), &[x])
    }

    pub(super) fn bn(&mut self, x: NodeId) -> NodeId {
        let affine = self.random.below(4) != 0;
        self.node(Op::BatchNorm { eps: F32::new(1e-3), affine }, &[x])
    }

    pub(super) fn relu(&mut self, x: NodeId) -> NodeId {
        self.node(Op::Activate(Activation::Relu), &[x])
    }

    pub(super) fn activate(&mut self, f: Activation, x: NodeId) -> NodeId {
        self.node(Op::Activate(f), &[x])
    }

    pub(super) fn activation(&mut self) -> Activation {
        self.random.pick(&[
            Activation::Relu,
            Activation::RELU6,
            Activation::Clip { lo: F32::new(-1.0), hi: F32::new(0.5) },
            Activation::LeakyRelu { slope: F32::new(0.1) },
            Activation::Elu { alpha: F32::new(1.0) },
            Activation::Sigmoid,
            Activation::HardSigmoid,
            Activation::Tanh,
            Activation::Silu,
            Activation::HardSwish,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Mish,
            Activation::Abs,
            Activation::Exp,
        ])
    }

    pub(super) fn binary(&mut self, binary: Binary, x: NodeId, y: NodeId) -> NodeId {
        self.node(Op::Binary(binary), &[x, y])
    }

    /// `op(x, y)` or `op(y, x)`.
    pub(super) fn either(&mut self, binary: Binary, x: NodeId, y: NodeId) -> NodeId {
        if self.random.coin() { self.binary(binary, x, y) } else { self.binary(binary, y, x) }
    }

    pub(super) fn constant(&mut self, shape: &[usize], mut value: impl FnMut(&mut Random) -> f32) -> NodeId {
        let len = shape.iter().product();
        let values = (0..len).map(|_| F32::new(value(&mut self.random))).collect();
        self.node(Op::Constant(Constant { shape: shape.to_vec(), values }), &[])
    }

    /// A fused node with a convolution, a linear layer (on `[N, F]`) or nothing as its core, and inputs for its stages.
    pub(super) fn fused(&mut self, x: NodeId, with_core: bool, after: &[Stage]) -> NodeId {
        let mut before: Chain = Vec::new();
        let shape = self.shape(x).to_vec();
        let core = match (with_core, shape.len()) {
            (false, _) => Core::Identity,
            (true, 4) => {
                let padding = self.random.coin();
                Core::Conv(self.conv_attributes(shape[1], padding, true))
            }
            (true, _) => Core::Linear(Linear { features: 5, bias: self.random.coin() }),
        };
        if with_core && self.random.coin() {
            before.push(Stage::Affine);
        }
        let made = match core {
            Core::Conv(conv) => {
                let x = &self.graph.node(x).ty;
                let weights = weight_shapes(&Op::Conv(conv), &[x]).unwrap();
                let weights: Vec<&[usize]> = weights.iter().map(|(_, shape)| &**shape).collect();
                crate::graph::infer::infer(&Op::Conv(conv), &[x], &weights).unwrap().shape
            }
            Core::Linear(linear) => vec![shape[0], linear.features],
            Core::Identity => shape,
        };
        let mut operands = vec![x];
        for stage in after {
            match stage {
                Stage::Add => operands.push(self.input(&made)),
                Stage::Scale => operands.push(self.input(&[made[0], made[1], 1, 1])),
                Stage::Affine | Stage::Activate(_) => {}
            }
        }
        self.node(Op::Fused { before, core, after: after.to_vec() }, &operands)
    }
}

/// The outputs of a network on inputs by formula.
pub(super) fn outputs(graph: &Graph) -> Vec<Vec<f32>> {
    let mut random = Random(7);
    let inputs: Vec<Vec<f32>> =
        graph.inputs().iter().map(|&input| (0..graph.node(input).ty.len()).map(|_| random.value()).collect()).collect();
    run(graph, &Fill { gain: 2.0 }, &inputs).unwrap()
}

/// Checks that two networks agree within 1e-5 of the largest output.
#[track_caller]
pub(super) fn assert_same(a: &Graph, b: &Graph) {
    let (ys, zs) = (outputs(a), outputs(b));
    assert_eq!(ys.len(), zs.len());
    for (y, z) in ys.iter().zip(&zs) {
        assert_eq!(y.len(), z.len());
        let largest = y.iter().filter(|v| v.is_finite()).fold(0.0f32, |largest, v| largest.max(v.abs()));
        for (p, q) in y.iter().zip(z) {
            let same = p == q || p.is_nan() && q.is_nan() || (p - q).abs() <= 1e-5 * largest;
            assert!(same, "{p} and {q}, where the largest is {largest}");
        }
    }
}
