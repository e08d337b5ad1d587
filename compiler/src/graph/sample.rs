//! Graphs for tests: one that has every operator, and random ones.

use super::infer::{Role, weight_shapes};
use super::weights::{HOLE, Kind, WeightId};
use super::{
    Activation, Binary, Constant, Conv, Coordinates, Core, F32, Filter, Graph, Linear, NodeId, Op, Origin, Pads, Pool,
    Resize, Rounding, Scale,
};
use super::{Preprocessing, Stage, TensorType, Window};

/// Steele, Lea and Flood's SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// A number under `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// Adds a node with plain weights `NAME.weight`, `NAME.bias`, …; None where inference refuses it.
pub(crate) fn add(graph: &mut Graph, op: Op, operands: &[NodeId], name: &str) -> Option<NodeId> {
    let types: Vec<TensorType> = operands.iter().map(|&of| graph.node(of).ty.clone()).collect();
    let shapes = weight_shapes(&op, &types.iter().collect::<Vec<_>>()).ok()?;
    let weights = shapes
        .iter()
        .enumerate()
        .map(|(i, (role, shape))| graph.weights.read(&format!("{name}.{i}"), kind(*role), shape))
        .collect();
    graph.add(op, operands, weights, Origin::named(name)).ok()
}

fn kind(role: Role) -> Kind {
    match role {
        Role::Kernel => Kind::Kernel,
        Role::Gamma => Kind::Gamma,
        Role::Mean => Kind::Mean,
        Role::Var => Kind::Var,
        Role::Bias | Role::Beta | Role::Value => Kind::Bias,
    }
}

/// All activations, with attributes of different signs.
pub(crate) fn activations() -> Vec<Activation> {
    let f32 = F32::new;
    vec![
        Activation::Relu,
        Activation::RELU6,
        Activation::Clip { lo: f32(-0.0), hi: f32(f32::INFINITY) },
        Activation::LeakyRelu { slope: f32(0.01) },
        Activation::Abs,
        Activation::Elu { alpha: f32(-1e-20) },
        Activation::Sigmoid,
        Activation::HardSigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::HardSwish,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Exp,
        Activation::Log,
        Activation::Sqrt,
        Activation::Erf,
        Activation::Softplus,
        Activation::Mish,
        Activation::Quantize { scale: f32(0.25), zero: f32(3.0), lo: f32(-128.0), hi: f32(127.0) },
    ]
}

/// A graph with every operator, stage, activation, and form of attribute.
pub(crate) fn every_op() -> Graph {
    let mut graph = Graph::new("Every \"op\"");
    graph.preprocessing = Some(Preprocessing {
        resize: 10,
        filter: "bicubic".into(),
        crop: 8,
        order: "bgr".into(),
        mean: vec![123.675, 116.28, 103.53],
        std: vec![58.4],
    });
    let g = &mut graph;
    let mut node = |op: Op, operands: &[NodeId], name: &str| add(g, op, operands, name).expect("a sound node");
    let image = node(Op::Input(TensorType::f32([2, 4, 8, 8])), &[], "image");
    let mut bytes = node(Op::Input(TensorType { dtype: super::DType::U8, shape: vec![1] }), &[], "bytes");
    for to in super::DType::ALL {
        bytes = node(Op::Cast(to), &[bytes], &format!("cast to {to}"));
    }
    let pads = Pads { top: 0, left: 1, bottom: 1, right: 0 };
    let window = Window { kernel: [3, 3], stride: [1, 1], pads: Pads::symmetric(1, 1), dilation: [1, 1] };
    let odd = Window { kernel: [2, 3], stride: [1, 2], pads, dilation: [2, 1] };
    let conv = Conv { channels: 6, window, groups: 2, bias: true };
    let x = node(Op::Conv(conv), &[image], "conv");
    let x = node(Op::BatchNorm { eps: F32::new(1e-5), affine: true }, &[x], "bn");
    let x = node(Op::BatchNorm { eps: F32::new(0.0), affine: false }, &[x], "bn\u{7}2");
    let mut y = x;
    for (i, activation) in activations().into_iter().enumerate() {
        y = node(Op::Activate(activation), &[y], &format!("activation.{i}"));
    }
    for binary in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Min, Binary::Max, Binary::Pow] {
        y = node(Op::Binary(binary), &[y, x], &format!("{binary:?}"));
    }
    let values = vec![F32::new(f32::NAN), F32::new(f32::from_bits(0xffc0_0001)), F32::new(-0.0)];
    let constant = node(Op::Constant(Constant { shape: vec![3, 1, 1], values }), &[], "constant");
    let anchors = node(Op::Weight { shape: vec![6, 1, 1] }, &[], "anchors");
    let y = node(Op::Binary(Binary::Add), &[y, anchors], "by anchors");
    let three = node(Op::Slice { axis: 1, start: 1, end: 4 }, &[y], "slice");
    let three = node(Op::Binary(Binary::Mul), &[constant, three], "by constant");
    let y = node(Op::Concat { axis: 1 }, &[three, y, three], "concat");
    let y = node(Op::Gather { axis: 3, indices: vec![4, 0, 0, 3, 2, 1] }, &[y], "gather");
    let y = node(Op::ChannelShuffle { groups: 4 }, &[y], "shuffle");
    let pool = |window, ceil_mode, count_include_pad| Pool { window, ceil_mode, count_include_pad };
    let y = node(Op::MaxPool(pool(odd, false, false)), &[y], "max_pool");
    let y = node(Op::AvgPool(pool(Window { pads: Pads::default(), ..window }, true, true)), &[y], "avg_pool");
    let y = node(Op::Pad { pads, value: F32::new(-0.5) }, &[y], "pad");
    let scale = [Scale::Number(F32::new(1.5)), Scale::Ratio { outputs: 3, inputs: 4 }];
    let (filter, coordinates) = (Filter::Nearest(Rounding::HalfDown), Coordinates::HalfPixel);
    let y = node(Op::Resize(Resize { size: [4, 3], scale, filter, coordinates }), &[y], "nearest");
    let linear = Resize { size: [3, 2], scale, filter: Filter::Linear, coordinates: Coordinates::AlignCorners };
    let y = node(Op::Resize(linear), &[y], "linear resize");
    let y = node(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[y], "transpose");
    let after = vec![Stage::Add, Stage::Affine, Stage::Activate(Activation::RELU6), Stage::Scale];
    let before = vec![Stage::Affine, Stage::Activate(Activation::Relu), Stage::Scale];
    let gate = node(Op::GlobalAvgPool, &[y], "gate");
    let most = node(Op::GlobalMaxPool, &[y], "most");
    let core = Core::Conv(Conv { channels: 12, window: Window::POINT, groups: 1, bias: false });
    let y = node(Op::Fused { before, core, after: after.clone() }, &[y, gate, y, most], "fused");
    let y = node(Op::Fused { before: vec![], core: Core::Identity, after }, &[y, y, gate], "chain");
    let y = node(Op::Fused { before: vec![], core: Core::Identity, after: vec![] }, &[y], "nothing");
    let y = node(Op::GlobalAvgPool, &[y], "global");
    let y = node(Op::Reshape { shape: vec![2, 12] }, &[y], "flatten");
    let y = node(Op::Dropout, &[y], "dropout");
    let y = node(Op::Linear(Linear { features: 5, bias: true }), &[y], "linear");
    let core = Core::Linear(Linear { features: 5, bias: false });
    let y = node(Op::Fused { before: vec![], core, after: vec![Stage::Add] }, &[y, y], "fused linear");
    let column = node(Op::Reshape { shape: vec![2, 5, 1] }, &[y], "column");
    let row = node(Op::Reshape { shape: vec![2, 1, 5] }, &[y], "row");
    let products = node(Op::MatMul, &[row, column], "products");
    let y = node(Op::Softmax { axis: 1 }, &[y], "softmax");
    let y = node(Op::Identity, &[y], "identity \\ 恒等");
    graph.add_output("probabilities", y);
    graph.add_output("features", x);
    graph.add_output("products", products);
    graph.add_output("truth", bytes);
    graph
}

/// A random small net; every fit of it is tried, and the seed says which.
pub(crate) fn random(seed: u64) -> Graph {
    let r = &mut Random(seed);
    let mut graph = Graph::new(format!("Random{seed}"));
    let shape = [1 + r.below(2), 1 + r.below(8), 1 + r.below(9), 1 + r.below(9)];
    let input = Op::Input(TensorType::f32(shape));
    let mut values = vec![graph.add(input, &[], vec![], Origin::named("input")).expect("an input fits")];
    for i in 0..4 + r.below(12) {
        let (op, operands) = random_op(r, &graph, &values);
        let types: Vec<TensorType> = operands.iter().map(|&of| graph.node(of).ty.clone()).collect();
        let Ok(shapes) = weight_shapes(&op, &types.iter().collect::<Vec<_>>()) else { continue };
        if shapes.iter().any(|(_, shape)| shape.iter().product::<usize>() > 1 << 14) {
            continue;
        }
        let weights = shapes
            .iter()
            .enumerate()
            .map(|(j, (role, shape))| random_weight(r, &mut graph, &format!("layer.{i}.{j}"), kind(*role), shape))
            .collect();
        if let Ok(id) = graph.add(op, &operands, weights, Origin::named(format!("layer.{i}"))) {
            values.push(id);
        }
    }
    let last = values[values.len() - 1];
    graph.add_output("y", last);
    if r.flip() {
        let other = r.pick(&values);
        graph.add_output("z", other);
    }
    graph
}

fn random_op(r: &mut Random, graph: &Graph, values: &[NodeId]) -> (Op, Vec<NodeId>) {
    // The newest half of the time, so that nets grow deep.
    let x = if r.flip() { values[values.len() - 1] } else { r.pick(values) };
    let shape = graph.node(x).ty.shape.clone();
    let alike: Vec<NodeId> = values.iter().copied().filter(|&v| graph.node(v).ty.shape == shape).collect();
    let other = r.pick(&alike);
    let channels = shape.get(1).copied().unwrap_or(1);
    let divisors: Vec<usize> = (1..=channels).filter(|d| channels % d == 0).collect();
    let mut window = || Window {
        kernel: [1 + r.below(3), 1 + r.below(3)],
        stride: [1 + r.below(2), 1 + r.below(2)],
        pads: Pads { top: r.below(2), left: r.below(2), bottom: r.below(2), right: r.below(2) },
        dilation: [1 + r.below(2), 1 + r.below(2)],
    };
    let (one, two) = (window(), window());
    let groups = r.pick(&divisors);
    let conv = Conv { channels: groups * (1 + r.below(3)), window: one, groups, bias: r.flip() };
    let pool = Pool { window: two, ceil_mode: r.flip(), count_include_pad: r.flip() };
    let linear = Linear { features: 1 + r.below(9), bias: r.flip() };
    let activation = r.pick(&activations()[3..]);
    let axis = r.below(shape.len().max(1));
    let only = vec![x];
    match r.below(20) {
        0..4 => (Op::Conv(conv), only),
        4 => (Op::BatchNorm { eps: F32::new(1e-3), affine: r.flip() }, only),
        5 => (Op::Activate(activation), only),
        6 => (Op::Binary(r.pick(&[Binary::Add, Binary::Sub, Binary::Mul])), vec![x, other]),
        7 => (Op::MaxPool(pool), only),
        8 => (Op::AvgPool(pool), only),
        9 => (if r.flip() { Op::GlobalAvgPool } else { Op::GlobalMaxPool }, only),
        10 => (Op::Softmax { axis }, only),
        11 => (Op::Concat { axis }, vec![x, other, x]),
        12 => {
            let extent = shape.get(axis).copied().unwrap_or(1);
            let start = r.below(extent);
            if r.flip() {
                let indices = (0..1 + r.below(2 * extent)).map(|_| r.below(extent) as u32).collect();
                return (Op::Gather { axis, indices }, only);
            }
            (Op::Slice { axis, start, end: start + 1 + r.below(extent - start) }, only)
        }
        13 => (Op::ChannelShuffle { groups }, only),
        14 => (Op::Reshape { shape: vec![shape[0], shape[1..].iter().product()] }, only),
        15 => (Op::Transpose { perm: vec![0, 1, 3, 2] }, only),
        16 => (Op::Pad { pads: one.pads, value: F32::new(0.5) }, only),
        17 => (Op::Linear(linear), only),
        18 => (if r.flip() { Op::Dropout } else { Op::Identity }, only),
        _ => {
            let before = if r.flip() { vec![Stage::Affine, Stage::Activate(activation)] } else { vec![] };
            let conv = Conv { channels, window: Window::POINT, groups, bias: conv.bias };
            (Op::Fused { before, core: Core::Conv(conv), after: vec![Stage::Affine, Stage::Add] }, vec![x, other])
        }
    }
}

/// An expression of this shape over tensors that begin with `name`.
pub(crate) fn random_weight(r: &mut Random, graph: &mut Graph, name: &str, kind: Kind, shape: &[usize]) -> WeightId {
    let pool = &mut graph.weights;
    let read = pool.read(name, kind, shape);
    let axis = r.below(shape.len());
    let extent = shape[axis];
    match r.below(10) {
        0 => {
            let var = pool.read(&format!("{name}.var"), Kind::Var, &[extent]);
            let by = pool.rsqrt(var, 1e-5);
            pool.scale(read, axis, by)
        }
        1 => {
            let other = pool.read(&format!("{name}.b"), kind, shape);
            let half = pool.times(other, -0.5);
            pool.add(read, half)
        }
        2 => {
            let other = pool.read(&format!("{name}.c"), kind, shape);
            let both = pool.concat(&[read, other], axis);
            let index: Vec<u32> =
                (0..extent).map(|_| if r.below(8) == 0 { HOLE } else { r.below(2 * extent) as u32 }).collect();
            pool.gather(both, axis, &index)
        }
        3 => {
            let reversed: Vec<usize> = shape.iter().rev().copied().collect();
            let perm: Vec<usize> = (0..shape.len()).rev().collect();
            pool.read_transposed(&format!("{name}.t"), kind, &reversed, &perm)
        }
        4 => {
            let flat = pool.read(&format!("{name}.flat"), kind, &[shape.iter().product()]);
            pool.reshape(flat, shape)
        }
        5 if shape.len() == 1 => {
            let kernel = pool.read(&format!("{name}.k"), Kind::Kernel, &[extent, 3, 2, 1]);
            let by = pool.literal(&[3], &[0.5, -1.0, 2.0]);
            pool.contract(kernel, by, 1)
        }
        _ => read,
    }
}
