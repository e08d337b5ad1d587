//! Graph to program: one kernel family a file, each building its loop nest from a schedule.
//!
//! [`lower`] walks the graph in canonical order. For each node it first makes the conversions that
//! [`crate::layout`] asked for, then the node's own step, if it needs one: concatenation, slices and shuffles of
//! channels are maps and need none. Kernels that turn out equal are one.

mod build;
mod chain;
mod conv;
mod depthwise;
mod edges;
mod gather;
mod integers;
mod lanewise;
mod matmul;
mod plain;
mod pool;
mod reduce;
mod relayout;
mod resize;
mod softmax;
mod sums;
mod sweep;
mod winograd;

use std::collections::HashMap;

use integers::Integers;

use crate::graph::{Core, DType, Graph, NodeId, Op, Verified, WeightId, weights};
use crate::kernel::{Arg, Buffer, BufferId, Elem, Kernel, KernelId, LANES, Place, Program, Region, Step, Waits};
use crate::layout::{BlockId, ChannelMap, Layout, Layouts, assign, is_alias, scalar_operand};
use crate::plan;
use crate::target::{Machine, Target};
use kiln_rt::weights::Form;

/// What lowering cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op} `{node}`: {why}")]
pub struct Unsupported {
    /// The operator.
    pub op: String,
    /// The node's name.
    pub node: String,
    /// Why.
    pub why: String,
}

/// Lowers a graph to a program for a target, memory planned.
///
/// # Errors
/// Where an element type has no kernels: every such node.
pub fn lower(graph: &Verified<Graph>, target: Target) -> Result<Program, Vec<Unsupported>> {
    let unsupported: Vec<Unsupported> =
        graph.order().into_iter().filter_map(|id| integers::unsupported(graph, id)).collect();
    if !unsupported.is_empty() {
        return Err(unsupported);
    }
    let mut lowering = Lowering::new(graph, Machine::of(target));
    for id in graph.order() {
        lowering.lower_node(id);
    }
    lowering.store_outputs();
    let (program, lanes) = lowering.finish();
    Ok(plan::plan(program, &lanes))
}

/// A value in memory.
#[derive(Clone, Debug)]
enum Stored {
    /// Row-major.
    Plain(BufferId),
    /// Channel by channel: the block's buffer and the lane.
    Blocked(Vec<(BufferId, usize)>),
}

struct Lowering<'g> {
    graph: &'g Graph,
    machine: Machine,
    layouts: Layouts,
    pool: weights::Pool,
    program: Program,
    kernels: HashMap<String, Vec<KernelId>>,
    blocks: HashMap<BlockId, BufferId>,
    packed: HashMap<(WeightId, Form), BufferId>,
    plain: HashMap<NodeId, BufferId>,
    converted: HashMap<usize, Stored>,
    /// Lanes of a block that hold a channel, where that is fewer than all.
    lanes: HashMap<BufferId, usize>,
    /// What the present steps do with integers.
    integers: Integers,
}

impl<'g> Lowering<'g> {
    fn new(graph: &'g Graph, machine: Machine) -> Self {
        Lowering {
            graph,
            machine,
            layouts: assign(graph),
            pool: graph.weights.clone(),
            program: Program {
                name: graph.name.clone(),
                target: machine.target,
                weights: Vec::new(),
                buffers: Vec::new(),
                tables: Vec::new(),
                kernels: Vec::new(),
                steps: Vec::new(),
                arena: 0,
                scratch: 0,
                arena_lower_bound: 0,
                logical_lower_bound: 0,
            },
            kernels: HashMap::new(),
            blocks: HashMap::new(),
            packed: HashMap::new(),
            plain: HashMap::new(),
            converted: HashMap::new(),
            lanes: HashMap::new(),
            integers: Integers::AsFloats,
        }
    }

    fn lower_node(&mut self, id: NodeId) {
        let graph = self.graph;
        let node = graph.node(id);
        for operand in 0..graph.operands(id).len() {
            self.convert(id, operand);
        }
        match &node.op {
            Op::Input(ty) => {
                let position = graph.inputs().iter().position(|&input| input == id).unwrap_or_default();
                let buffer = self.value_buffer(id, node.origin.name.clone(), ty.len(), Place::Input(position));
                self.plain.insert(id, buffer);
            }
            Op::Constant(constant) => {
                let values: Vec<f32> = constant.values.iter().map(|v| v.get()).collect();
                let weight = self.pool.literal(&[values.len()], &values);
                let buffer = self.pack(weight, Form::Plain);
                self.plain.insert(id, buffer);
            }
            Op::Weight { .. } => {
                let buffer = self.pack(node.weights[0], Form::Plain);
                self.plain.insert(id, buffer);
            }
            Op::Conv(conv) => self.lower_core(id, Core::Conv(*conv), &[], &[]),
            Op::Linear(linear) => self.lower_core(id, Core::Linear(*linear), &[], &[]),
            Op::Fused { before, core, after } => self.lower_core(id, *core, before, after),
            Op::BatchNorm { eps, affine } => self.lower_batch_norm(id, *eps, *affine),
            Op::Activate(activation) => self.lower_activation(id, *activation),
            Op::Cast(_) => {
                self.integers = Integers::Converted;
                self.lower_cast(id);
                self.integers = Integers::AsFloats;
            }
            Op::Binary(binary) => {
                self.integers = integers::of_pair(*binary, node.ty.dtype);
                self.lower_binary(id, *binary);
                self.integers = Integers::AsFloats;
            }
            Op::MatMul => self.lower_matmul(id),
            Op::MaxPool(pool) => self.lower_pool(id, pool, pool::Kind::Max),
            Op::AvgPool(pool) => self.lower_pool(id, pool, pool::Kind::Average),
            Op::GlobalAvgPool => self.lower_global_pool(id, pool::Kind::Average),
            Op::GlobalMaxPool => self.lower_global_pool(id, pool::Kind::Max),
            Op::Softmax { axis } => self.lower_softmax(id, *axis),
            Op::Concat { .. } | Op::Slice { .. } => match self.layouts.of(id) {
                Layout::Blocked(_) => {}
                Layout::Plain => self.lower_plain(id),
            },
            Op::Gather { axis, indices } => self.lower_gather(id, *axis, indices),
            Op::ChannelShuffle { .. } => {}
            Op::Transpose { .. } => self.lower_plain(id),
            Op::Pad { pads, value } => self.lower_pad(id, *pads, value.get()),
            Op::Resize(resize) => self.lower_resize(id, resize),
            Op::Reshape { .. } | Op::Dropout | Op::Identity => {
                if let Stored::Plain(buffer) = self.operand(id, 0) {
                    self.plain.insert(id, buffer);
                }
            }
        }
    }

    fn lower_core(&mut self, id: NodeId, core: Core, before: &[crate::graph::Stage], after: &[crate::graph::Stage]) {
        let is_f32 = self.graph.node(id).ty.dtype == DType::F32;
        match core {
            Core::Conv(conv) => match self.lane_group(id, &conv) {
                // A channel for each of some lanes is taken of floats alone.
                Some(width) if before.is_empty() && (is_f32 || width == 1) => {
                    self.lower_lane_groups(id, conv, width, after);
                }
                Some(_) | None => match self.winograd(id, &conv).filter(|_| is_f32) {
                    Some(winograd) => self.lower_winograd(id, conv, winograd, before, after),
                    None => self.lower_conv(id, conv, before, after),
                },
            },
            Core::Linear(linear) => self.lower_linear(id, linear, before, after),
            Core::Identity => self.lower_chain(id, after),
        }
    }

    // Values.

    /// Where an operand lies, in the layout in which the node reads it.
    fn operand(&self, id: NodeId, operand: usize) -> Stored {
        match self.layouts.conversion(id, operand) {
            Some(conversion) => self.converted[&conversion].clone(),
            None => self.stored(self.graph.operands(id)[operand]),
        }
    }

    /// Where a value lies, in the layout in which it was made.
    fn stored(&self, id: NodeId) -> Stored {
        match self.layouts.of(id) {
            Layout::Plain => Stored::Plain(self.plain[&id]),
            Layout::Blocked(map) => self.stored_map(map),
        }
    }

    fn stored_map(&self, map: &ChannelMap) -> Stored {
        Stored::Blocked(map.0.iter().map(|lane| (self.blocks[&lane.block], lane.lane as usize)).collect())
    }

    /// The blocks of a blocked value, each whole, in the order of its map.
    fn block_regions(&self, map: &ChannelMap) -> Vec<Region> {
        map.blocks().into_iter().map(|block| Region { buffer: self.blocks[&block], offset: 0 }).collect()
    }

    /// The map in which a node reads an operand that it asked for in blocks.
    fn operand_map(&self, id: NodeId, operand: usize) -> ChannelMap {
        match self.layouts.read(self.graph, id, operand) {
            Layout::Blocked(map) => map.clone(),
            Layout::Plain => unreachable!("layout gives this operand in blocks"),
        }
    }

    /// Makes buffers for a node's own blocks and gives them in order.
    fn make_blocks(&mut self, id: NodeId) -> Vec<Region> {
        let Layout::Blocked(map) = self.layouts.of(id).clone() else {
            unreachable!("layout gives this value in blocks")
        };
        let pixels = self.pixels(id);
        let name = self.graph.node(id).origin.name.clone();
        self.make_map(id, &name, &map, pixels)
    }

    /// Makes buffers for blocks of a node's value.
    fn make_map(&mut self, id: NodeId, name: &str, map: &ChannelMap, pixels: usize) -> Vec<Region> {
        let channels = map.channels_of_lanes();
        for (i, block) in map.blocks().into_iter().enumerate() {
            let buffer = self.value_buffer(id, format!("{name}[{i}]"), pixels * LANES, Place::Arena(0));
            self.blocks.insert(block, buffer);
            let used = channels[i * LANES..(i + 1) * LANES].iter().flatten().count();
            if used < LANES {
                self.lanes.insert(buffer, used);
            }
        }
        self.block_regions(map)
    }

    /// Makes a row-major buffer for a node's value: the network's output itself, where that is all it is for.
    fn make_plain(&mut self, id: NodeId) -> BufferId {
        let node = self.graph.node(id);
        let place = self.only_output(id).map_or(Place::Arena(0), Place::Output);
        let buffer = self.value_buffer(id, node.origin.name.clone(), node.ty.len(), place);
        self.plain.insert(id, buffer);
        buffer
    }

    /// The output that a row-major value is, by its own name or as another shape of it, if it is nothing else.
    fn only_output(&self, id: NodeId) -> Option<usize> {
        let outputs: Vec<usize> =
            (0..self.graph.outputs().len()).filter(|&i| self.graph.outputs()[i].node == id).collect();
        match (outputs.as_slice(), self.graph.users(id).as_slice()) {
            (&[only], []) => Some(only),
            ([], &[user]) if is_alias(&self.graph.node(user).op) => self.only_output(user),
            _ => None,
        }
    }

    /// Pixels of all images of a value in blocks.
    fn pixels(&self, id: NodeId) -> usize {
        let [n, _, h, w] = self.nchw(id);
        n * h * w
    }

    fn nchw(&self, id: NodeId) -> [usize; 4] {
        self.graph.node(id).ty.nchw().unwrap_or_default()
    }

    /// The number that an operand stands for, if it is a literal of one element.
    fn scalar(&self, id: NodeId, operand: usize) -> Option<f32> {
        let operands = self.graph.operands(id);
        scalar_operand(self.graph, &operands, operand)?;
        match &self.graph.node(operands[operand]).op {
            Op::Constant(constant) => constant.uniform(),
            _ => None,
        }
    }

    // The program.

    /// A buffer of f32s.
    fn buffer(&mut self, name: String, len: usize, place: Place) -> BufferId {
        self.program.buffers.push(Buffer { name, elem: Elem::F32, len, place });
        BufferId(self.program.buffers.len() as u32 - 1)
    }

    /// The buffer of a packed weight; one for each weight and form.
    fn pack(&mut self, weight: WeightId, form: Form) -> BufferId {
        if let Some(&buffer) = self.packed.get(&(weight, form)) {
            return buffer;
        }
        let Some(len) = kiln_rt::weights::packed_len(form, self.pool.shape(weight)) else {
            unreachable!("a kernel family packs weights in forms that take their shape")
        };
        let name = match self.pool.sources([weight]).as_slice() {
            [] => format!("literal{}", self.packed.len()),
            [first, ..] => first.name.clone(),
        };
        let buffer = self.buffer(name, len, Place::Packed { weight, form });
        self.packed.insert((weight, form), buffer);
        buffer
    }

    /// Adds a step for a node, and its kernel if the program has none like it. A kernel of floats that is given integers
    /// becomes one of integers, unless it converts them.
    fn step(&mut self, layers: Vec<String>, mut kernel: Kernel, args: Vec<Arg>) {
        integers::set_elements(&mut kernel, |i| {
            let region = match &args[i] {
                Arg::Flat(region) => Some(region),
                Arg::Blocks(regions) => regions.first(),
                Arg::Table(_) => None,
            };
            region.map(|region| self.program.buffer(region.buffer).elem)
        });
        if integers::touches_integers(&kernel) {
            kernel = integers::to_integers(kernel, self.integers);
        }
        let known = self.kernels.entry(kernel.name.clone()).or_default();
        let same = known.iter().copied().find(|k| is_same(&self.program.kernels[k.index()], &kernel));
        let kernel = same.unwrap_or_else(|| {
            let id = KernelId(self.program.kernels.len() as u32);
            known.push(id);
            let name = match known.len() {
                1 => kernel.name.clone(),
                n => format!("{}_v{n}", kernel.name),
            };
            self.program.kernels.push(Kernel { name, ..kernel });
            id
        });
        self.program.steps.push(Step { kernel, args, waits: Waits::Barrier, layers });
    }

    fn layers(&self, id: NodeId) -> Vec<String> {
        self.graph.node(id).origin.sources()
    }

    /// Writes the network's outputs that no step wrote in place.
    fn store_outputs(&mut self) {
        for (position, output) in self.graph.outputs().iter().enumerate() {
            let stored = self.stored(output.node);
            if let Stored::Plain(buffer) = stored
                && self.program.buffer(buffer).place == Place::Output(position)
            {
                continue;
            }
            let len = self.graph.node(output.node).ty.len();
            let name = format!("{} (output)", output.name);
            let target = self.value_buffer(output.node, name, len, Place::Output(position));
            self.relayout_to_plain(output.node, stored, target);
        }
    }

    /// Leaves out the weights that no step reads: literals that became constants of kernels.
    fn drop_unread_weights(&mut self) {
        let mut read = vec![false; self.program.buffers.len()];
        let steps = self.program.steps.iter_mut();
        for region in steps.flat_map(|step| &mut step.args).flat_map(regions_mut) {
            read[region.buffer.index()] = true;
        }
        let kept = |i: usize, buffer: &Buffer| read[i] || !matches!(buffer.place, Place::Packed { .. });
        let mut renumbered = HashMap::new();
        let mut buffers = Vec::with_capacity(self.program.buffers.len());
        for (i, buffer) in std::mem::take(&mut self.program.buffers).into_iter().enumerate() {
            if kept(i, &buffer) {
                renumbered.insert(BufferId(i as u32), BufferId(buffers.len() as u32));
                buffers.push(buffer);
            }
        }
        self.program.buffers = buffers;
        let steps = self.program.steps.iter_mut();
        for region in steps.flat_map(|step| &mut step.args).flat_map(regions_mut) {
            region.buffer = renumbered[&region.buffer];
        }
        self.lanes = self.lanes.iter().map(|(buffer, &lanes)| (renumbered[buffer], lanes)).collect();
    }

    /// Keeps the weights that buffers refer to, numbered anew, and names every buffer distinctly.
    fn finish(mut self) -> (Program, HashMap<BufferId, usize>) {
        self.drop_unread_weights();
        let packed: Vec<WeightId> = self
            .program
            .buffers
            .iter()
            .filter_map(|buffer| match buffer.place {
                Place::Packed { weight, .. } => Some(weight),
                Place::Input(_) | Place::Output(_) | Place::Arena(_) | Place::Scratch(_) => None,
            })
            .collect();
        let (exprs, ids) = self.pool.program(packed);
        self.program.weights = exprs;
        let mut ids = ids.into_iter();
        let mut taken: HashMap<String, usize> = HashMap::new();
        for buffer in &mut self.program.buffers {
            if let Place::Packed { weight, .. } = &mut buffer.place
                && let Some(id) = ids.next()
            {
                *weight = id;
            }
            let count = taken.entry(buffer.name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                buffer.name = format!("{}#{count}", buffer.name);
            }
        }
        (self.program, self.lanes)
    }
}

fn regions_mut(arg: &mut Arg) -> &mut [Region] {
    match arg {
        Arg::Flat(region) => std::slice::from_mut(region),
        Arg::Blocks(regions) => regions,
        Arg::Table(_) => &mut [],
    }
}

/// Whether kernels differ in nothing but their names. Nothing is cloned for it, since many kernels may share a name.
fn is_same(a: &Kernel, b: &Kernel) -> bool {
    let Kernel { name: _, params, units, in_place, vars, locals, body, flops, tile } = a;
    (params, units, in_place, vars) == (&b.params, &b.units, &b.in_place, &b.vars)
        && (locals, body, flops, tile) == (&b.locals, &b.body, &b.flops, &b.tile)
}
