//! Random small networks: odd sizes, odd channel counts, batches, groups, dilation, uneven padding, concatenations,
//! slices and shuffles anywhere. A failing seed is printed.

use kiln_compiler::graph::weights::Kind;
use kiln_compiler::graph::{
    Activation, Binary, Conv, Coordinates, F32, Filter, Graph, Linear, NodeId, Op, Origin, Pads, Pool, Resize,
    Rounding, Scale, TensorType, WeightId, Window, infer,
};

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
    pub(crate) fn range(&mut self, lo: usize, hi: usize) -> usize {
        lo + (self.next() % (hi - lo + 1) as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.range(0, items.len() - 1)]
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.range(1, one_in) == 1
    }
}

/// Adds a node with weights named after it, or nothing where the operator does not fit.
pub(crate) fn add(graph: &mut Graph, op: Op, operands: &[NodeId], name: &str) -> Option<NodeId> {
    let types: Vec<&TensorType> = operands.iter().map(|&id| &graph.node(id).ty).collect();
    let wanted = infer::weight_shapes(&op, &types).ok()?;
    let weights: Vec<WeightId> = wanted
        .into_iter()
        .enumerate()
        .map(|(i, (role, shape))| {
            let kind = match role {
                infer::Role::Kernel => Kind::Kernel,
                infer::Role::Gamma => Kind::Gamma,
                infer::Role::Var => Kind::Var,
                infer::Role::Mean => Kind::Mean,
                infer::Role::Bias | infer::Role::Beta | infer::Role::Value => Kind::Bias,
            };
            graph.weights.read(&format!("{name}.{i}"), kind, &shape)
        })
        .collect();
    graph.add(op, operands, weights, Origin::named(name)).ok()
}

/// A random window that fits `h` × `w`.
fn window(random: &mut Random, h: usize, w: usize, padded: bool) -> Window {
    let kernel = [random.range(1, 4.min(h)), random.range(1, 4.min(w))];
    let dilation = [random.range(1, 2), random.range(1, 2)];
    let reach = [0, 1].map(|i| dilation[i] * (kernel[i] - 1) + 1);
    let mut pad = |reach: usize| if padded { random.range(0, reach - 1) } else { 0 };
    let pads = Pads { top: pad(reach[0]), bottom: pad(reach[0]), left: pad(reach[1]), right: pad(reach[1]) };
    Window { kernel, stride: [random.range(1, 2), random.range(1, 2)], pads, dilation }
}

fn activation(random: &mut Random) -> Activation {
    random.pick(&[
        Activation::Relu,
        Activation::RELU6,
        Activation::LeakyRelu { slope: F32::new(0.1) },
        Activation::Elu { alpha: F32::new(1.0) },
        Activation::Sigmoid,
        Activation::HardSigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::HardSwish,
        Activation::Gelu,
        Activation::Exp,
        Activation::Erf,
        Activation::Softplus,
    ])
}

/// A network of about `size` nodes.
pub(crate) fn network(seed: u64, size: usize) -> Graph {
    let mut random = Random(seed);
    let mut graph = Graph::new("Random");
    let n = random.pick(&[1, 1, 1, 2, 3]);
    let c = random.pick(&[1, 3, 3, 4, 17, 24]);
    let (h, w) = (random.range(3, 11), random.range(3, 11));
    let input = Op::Input(TensorType::f32([n, c, h, w]));
    let x = graph.add(input, &[], vec![], Origin::named("image")).expect("an input");
    let mut values = vec![x];
    let mut used = std::collections::HashSet::new();
    let mut count = 0;
    while count < size {
        let recent = values.len().saturating_sub(4);
        let from = values[random.range(recent, values.len() - 1)];
        let [n, c, h, w] = graph.node(from).ty.nchw().expect("a map");
        let name = format!("n{}", graph.len());
        let (op, operands): (Op, Vec<NodeId>) = match random.range(0, 18) {
            0..=2 => {
                let groups = random.pick(&[1, 1, 1, 2, 3, c]);
                let groups = if c % groups == 0 { groups } else { 1 };
                let channels = groups * random.range(1, (40 / groups).max(1));
                let window = if random.chance(3) { Window::POINT } else { window(&mut random, h, w, true) };
                (Op::Conv(Conv { channels, window, groups, bias: random.chance(2) }), vec![from])
            }
            3 | 4 => {
                let window = window(&mut random, h, w, true);
                (Op::Conv(Conv { channels: c, window, groups: c, bias: random.chance(2) }), vec![from])
            }
            5 | 6 => (Op::BatchNorm { eps: F32::new(1e-3), affine: random.chance(2) }, vec![from]),
            7 | 8 => (Op::Activate(activation(&mut random)), vec![from]),
            9 => {
                let window = window(&mut random, h, w, true);
                let pool = Pool { window, ceil_mode: random.chance(2), count_include_pad: random.chance(2) };
                (if random.chance(2) { Op::MaxPool(pool) } else { Op::AvgPool(pool) }, vec![from])
            }
            10 => {
                let same: Vec<NodeId> =
                    values.iter().copied().filter(|&v| graph.node(v).ty == graph.node(from).ty).collect();
                let other = random.pick(&same);
                (
                    Op::Binary(random.pick(&[
                        Binary::Add,
                        Binary::Add,
                        Binary::Mul,
                        Binary::Sub,
                        Binary::Min,
                        Binary::Max,
                    ])),
                    vec![from, other],
                )
            }
            11 => {
                let fits: Vec<NodeId> = values
                    .iter()
                    .copied()
                    .filter(|&v| {
                        let [_, cv, hv, wv] = graph.node(v).ty.nchw().expect("a map");
                        (hv, wv) == (h, w) && cv + c <= 60
                    })
                    .collect();
                if fits.is_empty() {
                    continue;
                }
                (Op::Concat { axis: 1 }, vec![from, random.pick(&fits)])
            }
            12 => {
                let start = random.range(0, c - 1);
                let slice = Op::Slice { axis: 1, start, end: random.range(start + 1, c) };
                // As many images as there were.
                let axis = random.range(0, 3);
                let extent = [n, c, h, w][axis];
                let taken = if axis == 0 { n } else { random.range(1, extent + 2) };
                let indices = (0..taken).map(|_| random.range(0, extent - 1) as u32).collect();
                (if random.chance(2) { slice } else { Op::Gather { axis, indices } }, vec![from])
            }
            13 => {
                let groups = (2..=4).find(|g| c % g == 0).unwrap_or(1);
                (Op::ChannelShuffle { groups }, vec![from])
            }
            14 => {
                let pads = Pads { top: random.range(0, 2), left: random.range(0, 1), bottom: 1, right: 0 };
                (Op::Pad { pads, value: F32::new(random.pick(&[0.0, 0.0, 1.5])) }, vec![from])
            }
            15 => {
                let size = [random.range(1, 12), random.range(1, 12)];
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
                (Op::Resize(Resize { size, scale, filter, coordinates }), vec![from])
            }
            16 => {
                let shape = random.pick(&[&[c, 1, 1][..], &[c, h, w], &[w]]).to_vec();
                let Some(weight) = add(&mut graph, Op::Weight { shape }, &[], &format!("{name}w")) else { continue };
                (Op::Binary(random.pick(&[Binary::Add, Binary::Mul])), vec![from, weight])
            }
            17 => {
                // How channels go together, image by image or by those of the first: `[N, C, P]` by `[N, P, C]`.
                let Some(rows) =
                    add(&mut graph, Op::Reshape { shape: vec![n, c, h * w] }, &[from], &format!("{name}r"))
                else {
                    continue;
                };
                let columns = Op::Transpose { perm: vec![0, 2, 1] };
                let Some(mut columns) = add(&mut graph, columns, &[rows], &format!("{name}c")) else { continue };
                if random.chance(3) {
                    let first = Op::Slice { axis: 0, start: 0, end: 1 };
                    let Some(first) = add(&mut graph, first, &[columns], &format!("{name}f")) else { continue };
                    columns = first;
                }
                let Some(product) = add(&mut graph, Op::MatMul, &[rows, columns], &format!("{name}p")) else {
                    continue;
                };
                used.insert(from);
                (Op::Reshape { shape: vec![n, c, c, 1] }, vec![product])
            }
            _ => {
                // Squeeze-and-excitation: a pooled gate times the map.
                let Some(pooled) = add(&mut graph, Op::GlobalAvgPool, &[from], &format!("{name}p")) else { continue };
                let gate = Conv { channels: c, window: Window::POINT, groups: 1, bias: true };
                let Some(gate) = add(&mut graph, Op::Conv(gate), &[pooled], &format!("{name}g")) else { continue };
                used.insert(from);
                (Op::Binary(Binary::Mul), if random.chance(2) { vec![from, gate] } else { vec![gate, from] })
            }
        };
        if let Some(id) = add(&mut graph, op, &operands, &name) {
            used.extend(operands);
            values.push(id);
            count += 1;
        }
    }
    let last = *values.last().expect("a value");
    if random.chance(2) {
        let pooled = add(&mut graph, Op::GlobalAvgPool, &[last], "pool").expect("fits");
        let [n, c, ..] = graph.node(pooled).ty.nchw().expect("a map");
        let flat = add(&mut graph, Op::Reshape { shape: vec![n, c] }, &[pooled], "flatten").expect("fits");
        let features = random.range(1, 40);
        let linear = Linear { features, bias: random.chance(2) };
        let logits = add(&mut graph, Op::Linear(linear), &[flat], "classifier").expect("fits");
        let y = if random.chance(2) {
            add(&mut graph, Op::Softmax { axis: 1 }, &[logits], "softmax").expect("fits")
        } else {
            logits
        };
        graph.add_output("y", y);
    } else {
        graph.add_output("y", last);
    }
    if random.chance(3) {
        let other = values[random.range(0, values.len() - 1)];
        graph.add_output("other", other);
    }
    graph
}
