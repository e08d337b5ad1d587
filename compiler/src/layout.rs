//! Where each channel lives.
//!
//! A value is [`Layout::Plain`], row-major in its logical shape, or [`Layout::Blocked`]: its channels are lanes of
//! blocks, found by a [`ChannelMap`]. A block is born with the step that makes it; concatenating, slicing and shuffling
//! channels only make new maps over blocks that exist, so they cost nothing. [`assign`] decides all layouts of a graph:
//!
//! 1. A kernel that broadcasts its inputs (convolution, linear) reads any map, and network inputs as they are.
//! 2. A kernel that works lane by lane (depthwise, pooling, pointwise) keeps its input's blocks and lanes; its weights
//!    are permuted to match.
//! 3. A producer with weights makes dense blocks, or takes the lanes of the operand that its epilogue adds, or those
//!    that a node further on asks for.
//! 4. What still does not fit is a conversion: a `relayout` step, which `kiln inspect --stats` counts.

use std::collections::HashMap;

use crate::graph::{Conv, Core, Graph, NodeId, Op, Stage, TensorType, Window};
use crate::kernel::LANES;

/// A block of 16 lanes over the pixels of one value, by number in its [`Layouts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// A channel's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The block.
    pub block: BlockId,
    /// The lane of the block, 0 to 15.
    pub lane: u8,
}

/// The place of each logical channel of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelMap(pub Vec<Lane>);

impl ChannelMap {
    /// The blocks that channels lie in, in the order of their first channel, each once.
    pub fn blocks(&self) -> Vec<BlockId> {
        let mut seen = std::collections::HashSet::new();
        self.0.iter().map(|lane| lane.block).filter(|block| seen.insert(*block)).collect()
    }

    /// Each channel's block, as a position in [`ChannelMap::blocks`], and lane: maps with equal lanes differ only in
    /// which blocks they name.
    pub fn lanes(&self) -> Vec<(usize, u8)> {
        let position: HashMap<BlockId, usize> = self.blocks().into_iter().enumerate().map(|(i, b)| (b, i)).collect();
        self.0.iter().map(|lane| (position[&lane.block], lane.lane)).collect()
    }

    /// Whether channel c is lane `c % 16` of block `c / 16`.
    pub fn is_dense(&self) -> bool {
        self.lanes().iter().enumerate().all(|(c, &(block, lane))| block == c / LANES && lane as usize == c % LANES)
    }

    /// Whether two channels share a place, as after `concat([x, x])`.
    pub fn has_duplicates(&self) -> bool {
        let mut seen = std::collections::HashSet::new();
        !self.0.iter().all(|lane| seen.insert(*lane))
    }

    /// For each lane of each block, in order, its channel, if one lies there.
    pub fn channels_of_lanes(&self) -> Vec<Option<usize>> {
        let mut channels = vec![None; self.blocks().len() * LANES];
        for (channel, (block, lane)) in self.lanes().into_iter().enumerate() {
            channels[block * LANES + lane as usize] = Some(channel);
        }
        channels
    }
}

/// How a value lies in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Row-major in the logical shape.
    Plain,
    /// In blocks of `[N][H][W][16]`. The shape is `[N, C, H, W]` or `[N, C]`.
    Blocked(ChannelMap),
}

/// A value needed in another layout than its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// The value.
    pub value: NodeId,
    /// The layout that is needed.
    pub to: Layout,
}

/// The layouts of a graph's values.
#[derive(Clone, Debug, Default)]
pub struct Layouts {
    layouts: HashMap<NodeId, Layout>,
    conversions: Vec<Conversion>,
    reads: HashMap<(NodeId, usize), usize>,
    /// Lanes that producers are to make, for the sake of nodes further on.
    wishes: HashMap<NodeId, Vec<(usize, u8)>>,
    blocks: u32,
}

impl Layouts {
    /// The layout that a node's value is made in.
    pub fn of(&self, node: NodeId) -> &Layout {
        &self.layouts[&node]
    }

    /// The conversion through which a node reads an operand, if it does not read it as it is: a position in
    /// [`Layouts::conversions`].
    pub fn conversion(&self, node: NodeId, operand: usize) -> Option<usize> {
        self.reads.get(&(node, operand)).copied()
    }

    /// The layout in which a node reads an operand.
    pub fn read<'a>(&'a self, graph: &Graph, node: NodeId, operand: usize) -> &'a Layout {
        match self.conversion(node, operand) {
            Some(conversion) => &self.conversions[conversion].to,
            None => self.of(graph.operands(node)[operand]),
        }
    }

    /// All conversions, in the order in which they are first needed.
    pub fn conversions(&self) -> &[Conversion] {
        &self.conversions
    }

    fn fresh_dense(&mut self, channels: usize) -> ChannelMap {
        self.fresh(&(0..channels).map(|c| (c / LANES, (c % LANES) as u8)).collect::<Vec<_>>())
    }

    fn fresh(&mut self, lanes: &[(usize, u8)]) -> ChannelMap {
        let start = self.blocks;
        self.blocks += lanes.iter().map(|(block, _)| block + 1).max().unwrap_or(0) as u32;
        ChannelMap(lanes.iter().map(|&(block, lane)| Lane { block: BlockId(start + block as u32), lane }).collect())
    }

    /// Lets a node read an operand in a layout like `wanted`, converting where its own differs.
    fn require(&mut self, graph: &Graph, node: NodeId, operand: usize, wanted: Wanted) -> Layout {
        let value = graph.operands(node)[operand];
        let have = self.of(value).clone();
        let fits = match (&have, &wanted) {
            (Layout::Plain, Wanted::Plain) => true,
            (Layout::Blocked(_), Wanted::AnyBlocked) => true,
            (Layout::Blocked(map), Wanted::DistinctLanes) => !map.has_duplicates(),
            (Layout::Blocked(map), Wanted::Lanes(lanes)) => map.lanes() == *lanes,
            (Layout::Plain, Wanted::AnyBlocked | Wanted::DistinctLanes | Wanted::Lanes(_))
            | (Layout::Blocked(_), Wanted::Plain) => false,
        };
        if fits {
            return have;
        }
        let channels = graph.node(value).ty.shape[1.min(graph.node(value).ty.shape.len() - 1)];
        let known = self.conversions.iter().position(|conversion| {
            conversion.value == value
                && match (&conversion.to, &wanted) {
                    (Layout::Plain, Wanted::Plain) => true,
                    (Layout::Blocked(_), Wanted::AnyBlocked | Wanted::DistinctLanes) => true,
                    (Layout::Blocked(map), Wanted::Lanes(lanes)) => map.lanes() == *lanes,
                    (Layout::Plain, Wanted::AnyBlocked | Wanted::DistinctLanes | Wanted::Lanes(_))
                    | (Layout::Blocked(_), Wanted::Plain) => false,
                }
        });
        let conversion = known.unwrap_or_else(|| {
            let to = match &wanted {
                Wanted::Plain => Layout::Plain,
                Wanted::AnyBlocked | Wanted::DistinctLanes => Layout::Blocked(self.fresh_dense(channels)),
                Wanted::Lanes(lanes) => Layout::Blocked(self.fresh(lanes)),
            };
            self.conversions.push(Conversion { value, to });
            self.conversions.len() - 1
        });
        self.reads.insert((node, operand), conversion);
        self.conversions[conversion].to.clone()
    }

    fn require_map(&mut self, graph: &Graph, node: NodeId, operand: usize, wanted: Wanted) -> ChannelMap {
        match self.require(graph, node, operand, wanted) {
            Layout::Blocked(map) => map,
            Layout::Plain => unreachable!("a blocked layout was required"),
        }
    }
}

/// What a node asks of an operand's layout.
enum Wanted {
    Plain,
    AnyBlocked,
    /// No lane stands for two channels: per-channel weights can then be permuted to the lanes.
    DistinctLanes,
    /// These lanes exactly.
    Lanes(Vec<(usize, u8)>),
}

/// Decides the layout of every value: once as each node's operands have it, and again wherever a producer that makes the
/// lanes that a later node asks for spares a conversion.
pub fn assign(graph: &Graph) -> Layouts {
    let mut best = assign_with(graph, HashMap::new());
    let mut next = 0;
    while let Some(conversion) = best.conversions.get(next) {
        let better = wish(graph, conversion).filter(|(producer, _)| !best.wishes.contains_key(producer)).and_then(
            |(producer, lanes)| {
                let mut wishes = best.wishes.clone();
                wishes.insert(producer, lanes);
                let layouts = assign_with(graph, wishes);
                (layouts.conversions.len() < best.conversions.len()).then_some(layouts)
            },
        );
        match better {
            // The conversions before this one are those that no wish could spare.
            Some(layouts) => best = layouts,
            None => next += 1,
        }
    }
    best
}

fn assign_with(graph: &Graph, wishes: HashMap<NodeId, Vec<(usize, u8)>>) -> Layouts {
    let mut layouts = Layouts { wishes, ..Layouts::default() };
    for node in graph.order() {
        let layout = assign_node(graph, node, &mut layouts);
        layouts.layouts.insert(node, layout);
    }
    layouts
}

/// The producer that could make a value in the lanes of a conversion, and those lanes: the value's own node, or one whose
/// lanes the nodes after it keep.
fn wish(graph: &Graph, conversion: &Conversion) -> Option<(NodeId, Vec<(usize, u8)>)> {
    let Layout::Blocked(map) = &conversion.to else { return None };
    let mut producer = conversion.value;
    loop {
        let node = graph.node(producer);
        let channels = |id: NodeId| graph.node(id).ty.shape[1];
        let keeps_lanes = match &node.op {
            Op::Conv(conv) | Op::Fused { core: Core::Conv(conv), .. } => {
                is_depthwise(conv, channels(graph.operands(producer)[0]))
            }
            Op::Linear(_) | Op::Fused { core: Core::Linear(_), .. } => false,
            Op::BatchNorm { .. }
            | Op::Activate(_)
            | Op::Cast(_)
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::GlobalAvgPool
            | Op::GlobalMaxPool
            | Op::Fused { core: Core::Identity, .. }
            | Op::Resize(_)
            | Op::Dropout
            | Op::Identity => true,
            Op::Input(_)
            | Op::Constant(_)
            | Op::Weight { .. }
            | Op::Binary(_)
            | Op::MatMul
            | Op::Softmax { .. }
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Gather { .. }
            | Op::ChannelShuffle { .. }
            | Op::Pad { .. }
            | Op::Transpose { .. }
            | Op::Reshape { .. } => return None,
        };
        if !keeps_lanes {
            return Some((producer, map.lanes()));
        }
        producer = graph.operands(producer)[0];
    }
}

/// Whether a convolution has one input channel and one output channel a group.
pub fn is_depthwise(conv: &Conv, channels: usize) -> bool {
    conv.groups == channels && conv.channels == channels && channels > 1
}

fn assign_node(graph: &Graph, id: NodeId, layouts: &mut Layouts) -> Layout {
    let node = graph.node(id);
    let operands = graph.operands(id);
    let ty = |i: usize| &graph.node(operands[i]).ty;
    let layout = |layouts: &Layouts, i: usize| layouts.of(operands[i]).clone();
    match &node.op {
        Op::Input(_) | Op::Constant(_) | Op::Weight { .. } => Layout::Plain,
        Op::Conv(conv) => assign_core(graph, id, layouts, Core::Conv(*conv), &[], &[]),
        Op::Linear(linear) => assign_core(graph, id, layouts, Core::Linear(*linear), &[], &[]),
        Op::Fused { before, core, after } => assign_core(graph, id, layouts, *core, before, after),
        Op::BatchNorm { .. } => {
            let map = layouts.require_map(graph, id, 0, Wanted::DistinctLanes);
            Layout::Blocked(layouts.fresh(&map.lanes()))
        }
        Op::Activate(_) | Op::Cast(_) => match layout(layouts, 0) {
            Layout::Plain => Layout::Plain,
            Layout::Blocked(map) => Layout::Blocked(layouts.fresh(&map.lanes())),
        },
        // Rows of numbers stay so: as blocks of channels they could be very many, of a pixel each.
        Op::GlobalAvgPool | Op::GlobalMaxPool if layout(layouts, 0) == Layout::Plain => Layout::Plain,
        Op::GlobalAvgPool | Op::GlobalMaxPool if is_read_plain(graph, id) && is_dense_read(layouts, operands[0]) => {
            Layout::Plain
        }
        Op::MaxPool(_) | Op::AvgPool(_) | Op::GlobalAvgPool | Op::GlobalMaxPool => {
            let map = layouts.require_map(graph, id, 0, Wanted::AnyBlocked);
            Layout::Blocked(layouts.fresh(&map.lanes()))
        }
        Op::Pad { .. } | Op::Resize(_) => {
            let map = layouts.require_map(graph, id, 0, Wanted::AnyBlocked);
            Layout::Blocked(layouts.fresh(&map.lanes()))
        }
        Op::Binary(_) => match by_lanes(ty(0), ty(1)) {
            Some(wide) if matches!((layout(layouts, 0), layout(layouts, 1)), (Layout::Plain, Layout::Plain)) => {
                let _ = wide;
                Layout::Plain
            }
            Some(wide) => {
                // The wider operand keeps its lanes where it has any; the other follows.
                let first = match layout(layouts, wide) {
                    Layout::Blocked(_) => wide,
                    Layout::Plain => 1 - wide,
                };
                let lanes = layouts.require_map(graph, id, first, Wanted::DistinctLanes).lanes();
                layouts.require(graph, id, 1 - first, Wanted::Lanes(lanes.clone()));
                Layout::Blocked(layouts.fresh(&lanes))
            }
            None => {
                for i in 0..2 {
                    // A literal of one element is a constant of the kernel, whatever the layout of the other side.
                    if let Some(other) = scalar_operand(graph, &operands, i) {
                        return match layout(layouts, other) {
                            Layout::Plain => Layout::Plain,
                            Layout::Blocked(map) => Layout::Blocked(layouts.fresh(&map.lanes())),
                        };
                    }
                }
                for i in 0..2 {
                    layouts.require(graph, id, i, Wanted::Plain);
                }
                Layout::Plain
            }
        },
        Op::Softmax { .. } | Op::Transpose { .. } | Op::MatMul => {
            for i in 0..operands.len() {
                layouts.require(graph, id, i, Wanted::Plain);
            }
            Layout::Plain
        }
        Op::Concat { axis } => {
            let blocked = *axis == 1
                && node.ty.nchw().is_some()
                && (0..operands.len()).any(|i| matches!(layout(layouts, i), Layout::Blocked(_)));
            if !blocked {
                for i in 0..operands.len() {
                    layouts.require(graph, id, i, Wanted::Plain);
                }
                return Layout::Plain;
            }
            let mut lanes = Vec::new();
            for i in 0..operands.len() {
                lanes.extend(layouts.require_map(graph, id, i, Wanted::AnyBlocked).0);
            }
            Layout::Blocked(ChannelMap(lanes))
        }
        Op::Slice { axis, start, end } => match layout(layouts, 0) {
            Layout::Blocked(map) if *axis == 1 => Layout::Blocked(ChannelMap(map.0[*start..*end].to_vec())),
            Layout::Blocked(_) | Layout::Plain => {
                layouts.require(graph, id, 0, Wanted::Plain);
                Layout::Plain
            }
        },
        Op::Gather { axis, indices } => match layout(layouts, 0) {
            Layout::Blocked(map) if *axis == 1 => {
                Layout::Blocked(ChannelMap(indices.iter().map(|&index| map.0[index as usize]).collect()))
            }
            // Images, rows and columns are taken in blocks.
            Layout::Blocked(map) => Layout::Blocked(layouts.fresh(&map.lanes())),
            Layout::Plain => Layout::Plain,
        },
        Op::ChannelShuffle { groups } => {
            let map = layouts.require_map(graph, id, 0, Wanted::AnyBlocked);
            let per_group = map.0.len() / groups;
            let shuffled = (0..map.0.len()).map(|c| map.0[(c % groups) * per_group + c / groups]).collect();
            Layout::Blocked(ChannelMap(shuffled))
        }
        Op::Reshape { shape } => match layout(layouts, 0) {
            // Features of an image stay so; where images become features, or features images, they move.
            Layout::Blocked(map)
                if is_pixel(ty(0)) && is_pixel(&TensorType::f32(shape.clone())) && ty(0).shape[..2] == shape[..2] =>
            {
                Layout::Blocked(map)
            }
            Layout::Blocked(_) | Layout::Plain => {
                layouts.require(graph, id, 0, Wanted::Plain);
                Layout::Plain
            }
        },
        Op::Dropout | Op::Identity => layout(layouts, 0),
    }
}

fn assign_core(
    graph: &Graph,
    id: NodeId,
    layouts: &mut Layouts,
    core: Core,
    before: &[Stage],
    after: &[Stage],
) -> Layout {
    let node = graph.node(id);
    let operands = graph.operands(id);
    let input = &graph.node(operands[0]).ty;
    let source = layouts.of(operands[0]).clone();
    let takes_operand = |stage: &&Stage| matches!(stage, Stage::Add | Stage::Scale);
    let after_start = 1 + before.iter().filter(takes_operand).count();
    let extra: Vec<usize> = (after_start..operands.len()).collect();

    let lanes = match core {
        Core::Conv(conv) if is_depthwise(&conv, input.shape[1]) => {
            layouts.require_map(graph, id, 0, Wanted::DistinctLanes).lanes()
        }
        Core::Identity => match &source {
            Layout::Plain if after.iter().all(|stage| matches!(stage, Stage::Activate(_))) => return Layout::Plain,
            Layout::Plain | Layout::Blocked(_) => layouts.require_map(graph, id, 0, Wanted::DistinctLanes).lanes(),
        },
        Core::Conv(_) | Core::Linear(_) => {
            let grouped = matches!(core, Core::Conv(conv) if conv.groups > 1);
            if grouped || !before.is_empty() {
                layouts.require(graph, id, 0, Wanted::AnyBlocked);
            }
            let one_pixel = match core {
                Core::Linear(_) => true,
                Core::Conv(conv) => conv.window == Window::POINT && !grouped && is_pixel(&node.ty),
                Core::Identity => false,
            };
            if one_pixel && extra.is_empty() && before.is_empty() && is_read_plain(graph, id) {
                return Layout::Plain;
            }
            // The epilogue's operand gives the lanes, if it has whole blocks of its own to give.
            let added = extra.iter().find_map(|&i| match layouts.of(operands[i]) {
                Layout::Blocked(map) if !map.has_duplicates() => Some(map.lanes()),
                Layout::Blocked(_) | Layout::Plain => None,
            });
            let wished = layouts.wishes.get(&id).cloned();
            wished.or(added).unwrap_or_else(|| dense_lanes(node.ty.shape[1]))
        }
    };
    for operand in 1..after_start {
        let read = match layouts.read(graph, id, 0) {
            Layout::Blocked(map) => map.lanes(),
            Layout::Plain => dense_lanes(input.shape[1]),
        };
        layouts.require(graph, id, operand, Wanted::Lanes(read));
    }
    for operand in extra {
        layouts.require(graph, id, operand, Wanted::Lanes(lanes.clone()));
    }
    Layout::Blocked(layouts.fresh(&lanes))
}

/// The lanes of dense blocks.
pub fn dense_lanes(channels: usize) -> Vec<(usize, u8)> {
    (0..channels).map(|c| (c / LANES, (c % LANES) as u8)).collect()
}

/// Whether two operands can be combined lane by lane: equal shapes, or one is `[N, C, 1, 1]` to the other's
/// `[N, C, H, W]`. Gives the position of the wider one.
pub fn by_lanes(a: &TensorType, b: &TensorType) -> Option<usize> {
    let ([an, ac, ah, aw], [bn, bc, bh, bw]) = (a.nchw()?, b.nchw()?);
    if a.shape.len() != b.shape.len() || (an, ac) != (bn, bc) {
        return None;
    }
    match ((ah, aw), (bh, bw)) {
        (x, y) if x == y => Some(0),
        (_, (1, 1)) => Some(0),
        ((1, 1), _) => Some(1),
        _ => None,
    }
}

/// The other operand's position, if operand `i` is a literal of one element and of no higher rank.
pub fn scalar_operand(graph: &Graph, operands: &[NodeId], i: usize) -> Option<usize> {
    let other = 1 - i;
    let rank = |n: NodeId| graph.node(n).ty.shape.len();
    match &graph.node(operands[i]).op {
        Op::Constant(constant) if constant.values.len() == 1 && rank(operands[i]) <= rank(operands[other]) => {
            Some(other)
        }
        _ => None,
    }
}

/// Whether a value is `[N, C]` or `[N, C, 1, 1]`.
fn is_pixel(ty: &TensorType) -> bool {
    matches!(ty.nchw(), Some([_, _, 1, 1]))
}

/// Whether all that reads a value wants it row-major.
fn is_read_plain(graph: &Graph, id: NodeId) -> bool {
    graph.users(id).into_iter().all(|user| match &graph.node(user).op {
        Op::Softmax { .. } | Op::Transpose { .. } | Op::MatMul | Op::Activate(_) | Op::Cast(_) => true,
        Op::Concat { axis } | Op::Slice { axis, .. } | Op::Gather { axis, .. } => *axis != 1,
        Op::Binary(_) => {
            let operands = graph.operands(user);
            let by_lanes = by_lanes(&graph.node(operands[0]).ty, &graph.node(operands[1]).ty).is_some();
            let by_literal = (0..2).any(|i| scalar_operand(graph, &operands, i).is_some());
            if by_literal { is_read_plain(graph, user) } else { !by_lanes }
        }
        op => is_alias(op) && is_read_plain(graph, user),
    })
}

/// Whether an operator's row-major value is that of its operand.
pub fn is_alias(op: &Op) -> bool {
    matches!(op, Op::Reshape { .. } | Op::Dropout | Op::Identity)
}

/// Whether a value lies in dense blocks.
fn is_dense_read(layouts: &Layouts, value: NodeId) -> bool {
    matches!(layouts.of(value), Layout::Blocked(map) if map.is_dense())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Origin;

    fn conv(graph: &mut Graph, x: NodeId, channels: usize, name: &str) -> NodeId {
        let inputs = graph.node(x).ty.shape[1];
        let kernel = graph.weights.read(name, crate::graph::weights::Kind::Kernel, &[channels, inputs, 1, 1]);
        let op = Op::Conv(Conv { channels, window: Window::POINT, groups: 1, bias: false });
        graph.add(op, &[x], vec![kernel], Origin::named(name)).unwrap()
    }

    #[test]
    fn concat_slice_and_shuffle_are_maps_over_existing_blocks() {
        let mut g = Graph::new("Maps");
        let x = g.add(Op::Input(TensorType::f32([1, 3, 4, 4])), &[], vec![], Origin::named("x")).unwrap();
        let a = conv(&mut g, x, 24, "a");
        let b = conv(&mut g, x, 34, "b");
        let cat = g.add(Op::Concat { axis: 1 }, &[a, b], vec![], Origin::named("cat")).unwrap();
        let shuffled = g.add(Op::ChannelShuffle { groups: 2 }, &[cat], vec![], Origin::named("shuffle")).unwrap();
        let half = Op::Slice { axis: 1, start: 29, end: 58 };
        let half = g.add(half, &[shuffled], vec![], Origin::named("half")).unwrap();
        let y = conv(&mut g, half, 16, "y");
        g.add_output("y", y);

        let layouts = assign(&g);
        assert!(layouts.conversions().is_empty());
        let Layout::Blocked(map) = layouts.of(half) else { panic!("blocked") };
        // Shuffled channel 29 is channel 14 of the second half of the concatenation: channel 43 of it, 19 of b.
        let Layout::Blocked(of_b) = layouts.of(b) else { panic!("blocked") };
        assert_eq!(map.0[0], of_b.0[19]);
        assert_eq!(map.0.len(), 29);
    }

    #[test]
    fn rows_of_numbers_are_pooled_where_they_lie() {
        let mut g = Graph::new("Rows");
        let x = g.add(Op::Input(TensorType::f32([1, 5000, 1, 2])), &[], vec![], Origin::named("x")).unwrap();
        let y = g.add(Op::GlobalAvgPool, &[x], vec![], Origin::named("y")).unwrap();
        g.add_output("y", y);
        let layouts = assign(&g);
        assert!(layouts.conversions().is_empty());
        assert_eq!(*layouts.of(y), Layout::Plain);
    }

    #[test]
    fn images_that_become_features_move() {
        for (shape, stays) in [(vec![3, 2], true), (vec![3, 2, 1, 1], true), (vec![6, 1], false), (vec![2, 3], false)] {
            let mut g = Graph::new("Pixels");
            let x = g.add(Op::Input(TensorType::f32([3, 2, 4, 4])), &[], vec![], Origin::named("x")).unwrap();
            let x = conv(&mut g, x, 2, "a");
            let pooled = g.add(Op::GlobalMaxPool, &[x], vec![], Origin::named("pooled")).unwrap();
            let y = g.add(Op::Reshape { shape }, &[pooled], vec![], Origin::named("y")).unwrap();
            let z = conv_or_linear(&mut g, y);
            g.add_output("z", z);
            assert_eq!(matches!(assign(&g).of(y), Layout::Blocked(_)), stays, "{}", g.node(y).ty);
        }
    }

    fn conv_or_linear(graph: &mut Graph, x: NodeId) -> NodeId {
        if graph.node(x).ty.shape.len() == 4 {
            return conv(graph, x, 5, "z");
        }
        let inputs = graph.node(x).ty.shape[1];
        let kernel = graph.weights.read("z", crate::graph::weights::Kind::Kernel, &[5, inputs]);
        let linear = Op::Linear(crate::graph::Linear { features: 5, bias: false });
        graph.add(linear, &[x], vec![kernel], Origin::named("z")).unwrap()
    }

    #[test]
    fn a_producer_takes_the_lanes_of_what_it_adds() {
        let mut g = Graph::new("Add");
        let x = g.add(Op::Input(TensorType::f32([1, 3, 4, 4])), &[], vec![], Origin::named("x")).unwrap();
        let a = conv(&mut g, x, 8, "a");
        let b = conv(&mut g, x, 24, "b");
        let cat = g.add(Op::Concat { axis: 1 }, &[a, b], vec![], Origin::named("cat")).unwrap();
        let kernel = g.weights.read("c", crate::graph::weights::Kind::Kernel, &[32, 32, 1, 1]);
        let core = Core::Conv(Conv { channels: 32, window: Window::POINT, groups: 1, bias: false });
        let op = Op::Fused { before: vec![], core, after: vec![Stage::Add] };
        let y = g.add(op, &[cat, cat], vec![kernel], Origin::named("c")).unwrap();
        g.add_output("y", y);
        let layouts = assign(&g);
        assert!(layouts.conversions().is_empty());
        let (Layout::Blocked(made), Layout::Blocked(added)) = (layouts.of(y), layouts.of(cat)) else {
            panic!("blocked")
        };
        assert_eq!(made.lanes(), added.lanes());
    }
}
