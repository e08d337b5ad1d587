//! Random small networks of floats that reach every operator, every activation but `Quantize` (a rounding error next to a
//! tie moves its result by a whole step, `integers.rs` compares it exactly) and the forms that exporters write out: odd
//! sizes and channel counts, batches, groups, dilation, uneven padding, negative scales, maps of a single pixel and maps
//! that are large enough for both of Winograd's algorithms.
//!
//! Results that no compiler can be blamed for are avoided: what would overflow, divide by almost nothing or take the
//! logarithm of a negative number is clipped first.

mod composed;
mod layers;

use kiln_compiler::graph::infer::{self, Role};
use kiln_compiler::graph::weights::Kind;
use kiln_compiler::graph::{
    Activation, Binary, Constant, F32, Graph, Linear, NodeId, Op, Origin, TensorType, WeightId,
};
use kiln_rt::weights::FillSource;

/// The weights that random networks are compared with.
pub(crate) const WEIGHTS: FillSource = FillSource { gain: 3.0 };

/// How many layers the network of a seed has, where nobody asks for another size.
pub(crate) fn size(seed: u64) -> usize {
    1 + (seed % 12) as usize
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `lo..=hi`.
    fn range(&mut self, lo: usize, hi: usize) -> usize {
        lo + (self.next() % (hi - lo + 1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.range(0, items.len() - 1)]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.range(1, one_in) == 1
    }
}

/// The most elements of a value, and the most channels: the interpreters take every element one by one.
const ELEMENTS: usize = 20_000;
const CHANNELS: usize = 60;

/// A network in the making.
struct Net {
    random: Random,
    graph: Graph,
    /// The feature maps so far, which later layers read.
    maps: Vec<NodeId>,
}

/// The network of a seed, of about `size` layers. A smaller size gives the first layers of the same network.
pub(crate) fn network(seed: u64, size: usize) -> Graph {
    let mut net = Net { random: Random(seed), graph: Graph::new("Random"), maps: Vec::new() };
    let image = net.image_shape();
    net.input("image", &image);
    if net.random.chance(5) {
        let [n, c, ..] = image;
        let other = [n, net.random.pick(&[1, 2, c]), image[2], image[3]];
        net.input("other image", &other);
    }
    // Most choices fit what they are made for; a network of which few do ends early.
    let enough = net.maps.len() + size;
    for _ in 0..20 * size {
        let recent = net.maps.len().saturating_sub(4);
        let x = net.maps[net.random.range(recent, net.maps.len() - 1)];
        if let Some(y) = net.layer(x) {
            net.maps.push(y);
        }
        if net.maps.len() >= enough {
            break;
        }
    }
    net.outputs();
    net.graph
}

impl Net {
    fn image_shape(&mut self) -> [usize; 4] {
        let random = &mut self.random;
        let (n, c) = (random.pick(&[1, 1, 1, 2, 3]), random.pick(&[1, 3, 3, 4, 8, 17, 24]));
        let [h, w] = match random.range(0, 11) {
            0 => [random.range(1, 2), random.range(1, 2)],
            1 => [random.range(1, 3), random.range(12, 40)],
            2 | 3 => [random.range(7, 17), random.range(7, 17)],
            4 => [random.range(20, 26), random.range(20, 26)],
            _ => [random.range(3, 11), random.range(3, 11)],
        };
        [if h * w > 300 { n.min(2) } else { n }, c, h, w]
    }

    fn input(&mut self, name: &str, shape: &[usize]) {
        let input = Op::Input(TensorType::f32(shape));
        let x = self.graph.add(input, &[], vec![], Origin::named(name)).expect("an input");
        self.maps.push(x);
    }

    /// One layer, or a block of some nodes, on a feature map: another one, unless what was chosen does not fit.
    fn layer(&mut self, x: NodeId) -> Option<NodeId> {
        let y = match self.random.range(0, 33) {
            0..=3 => self.conv(x),
            4 | 5 => self.depthwise(x),
            6 | 7 => self.batch_norm(x),
            8..=10 => self.activation(x),
            11 | 12 => self.pool(x),
            13 => self.global_pool(x),
            14 | 15 => self.pair(x),
            16 | 17 => self.broadcast(x),
            18 | 19 => self.concat(x),
            20 => {
                if self.random.chance(2) {
                    self.slice(x)
                } else {
                    self.gather(x)
                }
            }
            21 => self.shuffle(x),
            22 => self.pad(x),
            23 => self.resize(x),
            24 | 25 => self.fused(x),
            26 => self.nothing(x),
            27 => self.rearranged(x),
            28 => self.linear(x),
            29 => self.product(x),
            30 => self.softmax(x),
            31 => self.gate(x),
            32 => self.norm(x),
            _ => self.spelled(x),
        }?;
        let [_, c, ..] = self.nchw(y)?;
        (c <= CHANNELS && self.ty(y).len() <= ELEMENTS).then_some(y)
    }

    fn outputs(&mut self) {
        let last = *self.maps.last().expect("the image");
        let y = if self.random.chance(2) { self.classes(last) } else { None };
        self.graph.add_output("y", y.unwrap_or(last));
        if self.random.chance(3) {
            let other = self.random.pick(&self.maps.clone());
            self.graph.add_output("other", other);
        }
    }

    /// Scores of classes, as at the end of a classifier.
    fn classes(&mut self, x: NodeId) -> Option<NodeId> {
        let [n, c, ..] = self.nchw(x)?;
        let pooled = self.add(Op::GlobalAvgPool, &[x])?;
        let mut y = self.add(Op::Reshape { shape: vec![n, c] }, &[pooled])?;
        if self.random.chance(3) {
            y = self.add(Op::BatchNorm { eps: F32::new(1e-3), affine: true }, &[y])?;
        }
        let linear = Linear { features: self.random.range(1, 40), bias: self.random.chance(2) };
        y = self.add(Op::Linear(linear), &[y])?;
        if self.random.chance(2) { self.add(Op::Softmax { axis: 1 }, &[y]) } else { Some(y) }
    }

    fn ty(&self, id: NodeId) -> &TensorType {
        &self.graph.node(id).ty
    }

    fn nchw(&self, id: NodeId) -> Option<[usize; 4]> {
        self.ty(id).nchw()
    }

    /// Adds a node, with weights named after it; nothing where the operator does not fit.
    fn add(&mut self, op: Op, operands: &[NodeId]) -> Option<NodeId> {
        let name = format!("n{}", self.graph.len());
        let types: Vec<&TensorType> = operands.iter().map(|&id| self.ty(id)).collect();
        let wanted = infer::weight_shapes(&op, &types).ok()?;
        let both_signs = self.random.chance(3);
        let weights: Vec<WeightId> = wanted
            .into_iter()
            .enumerate()
            .map(|(i, (role, shape))| {
                let kind = match role {
                    // Scales are positive but for a few: a kernel's formula has as many of either sign.
                    Role::Gamma if both_signs => Kind::Kernel,
                    Role::Kernel => Kind::Kernel,
                    Role::Gamma => Kind::Gamma,
                    Role::Var => Kind::Var,
                    Role::Mean => Kind::Mean,
                    Role::Value if both_signs => Kind::Gamma,
                    Role::Bias | Role::Beta | Role::Value => Kind::Bias,
                };
                self.graph.weights.read(&format!("{name}.{i}"), kind, &shape)
            })
            .collect();
        self.graph.add(op, operands, weights, Origin::named(name)).ok()
    }

    fn activate(&mut self, activation: Activation, x: NodeId) -> Option<NodeId> {
        self.add(Op::Activate(activation), &[x])
    }

    /// The value within bounds.
    fn clip(&mut self, x: NodeId, lo: f32, hi: f32) -> Option<NodeId> {
        self.activate(Activation::Clip { lo: F32::new(lo), hi: F32::new(hi) }, x)
    }

    fn binary(&mut self, binary: Binary, a: NodeId, b: NodeId) -> Option<NodeId> {
        self.add(Op::Binary(binary), &[a, b])
    }

    /// A pair with a literal.
    fn with(&mut self, binary: Binary, x: NodeId, literal: f32) -> Option<NodeId> {
        let literal = self.add(Op::Constant(Constant::scalar(literal)), &[])?;
        self.binary(binary, x, literal)
    }

    fn reshape(&mut self, x: NodeId, shape: &[usize]) -> Option<NodeId> {
        self.add(Op::Reshape { shape: shape.to_vec() }, &[x])
    }

    fn transpose(&mut self, x: NodeId, perm: &[usize]) -> Option<NodeId> {
        self.add(Op::Transpose { perm: perm.to_vec() }, &[x])
    }

    /// A map of those so far that fits a condition.
    fn map_where(&mut self, fits: impl Fn([usize; 4]) -> bool) -> Option<NodeId> {
        let fitting: Vec<NodeId> = self.maps.iter().copied().filter(|&id| self.nchw(id).is_some_and(&fits)).collect();
        if fitting.is_empty() { None } else { Some(self.random.pick(&fitting)) }
    }
}
