//! Convolutions whose groups lie within blocks: depthwise ones, and those with 2, 4 or 8 channels a group.
//!
//! A block of outputs reads the block of inputs at its own place, and no other: lane i of the outputs sums over the lanes
//! of its group. So each tap takes, for each channel of a group, one block in which every lane holds that channel of its
//! group, times a block of weights. The sum's order is channel of the group, kernel row, kernel column.

use super::Lowering;
use super::build::{KernelBuilder, load, store, whole};
use super::chain::{Element, Through, chain_name, constant};
use super::edges::row_classes;
use super::sweep::{Over, Sweep};
use crate::graph::{Conv, NodeId, Stage};
use crate::kernel::{Access, At, Index, LANES, Update, Value};
use crate::layout::{Layout, is_depthwise};
use crate::schedule;
use kiln_rt::weights::Form;

impl Lowering<'_> {
    /// The channels of a group, where groups lie within blocks: the maps of input and output are in order then, or each
    /// channel is a group of its own.
    pub(super) fn lane_group(&self, id: NodeId, conv: &Conv) -> Option<usize> {
        let input = self.graph.operands(id)[0];
        let channels = self.graph.node(input).ty.shape[1];
        if is_depthwise(conv, channels) {
            return Some(1);
        }
        let width = channels / conv.groups;
        let square = conv.channels == channels && matches!(width, 2 | 4 | 8);
        let in_order = |layout: &Layout| match layout {
            Layout::Blocked(map) => map.is_dense(),
            Layout::Plain => false,
        };
        (square && in_order(self.layouts.read(self.graph, id, 0)) && in_order(self.layouts.of(id))).then_some(width)
    }

    /// A convolution whose groups have `width` channels each: 1, or as many as divide a block evenly.
    pub(super) fn lower_lane_groups(&mut self, id: NodeId, conv: Conv, width: usize, after: &[Stage]) {
        let node = self.graph.node(id);
        let input = self.graph.operands(id)[0];
        let ([images, channels, h, w], [_, _, oh, ow]) = (self.nchw(input), self.nchw(id));
        let Layout::Blocked(map) = self.layouts.of(id).clone() else { unreachable!("depthwise values are in blocks") };
        let lanes = map.channels_of_lanes();
        let [kh, kw] = conv.window.kernel;

        let mut kb = KernelBuilder::new();
        let (regions, len) = self.operand_blocks(id, 0);
        let x = kb.blocks("x", len, Access::Read, regions);
        let kernel = self.by_lanes(node.weights[0], &lanes);
        let buffer = self.pack(kernel, if width == 1 { Form::Depthwise } else { Form::Panel });
        let weight_len = self.program.buffer(buffer).len;
        let weight = kb.flat("weight", weight_len, Access::Read, whole(buffer));
        let bias = conv.bias.then(|| self.lane_vector(&mut kb, "bias", node.weights[1], &lanes));
        let (mut operand, mut next_weight) = (1, 1 + usize::from(conv.bias));
        let chain = self.bind_chain(&mut kb, id, after, &lanes, Through::Blocks, (&mut operand, &mut next_weight));
        let regions = self.make_blocks(id);
        let y = kb.blocks("y", images * oh * ow * LANES, Access::Write, regions);
        chain.overwrite_added(&mut kb, y);

        let sweep = Sweep {
            window: conv.window,
            images,
            blocks: lanes.len() / LANES,
            input: [h, w],
            output: [oh, ow],
            schedule: schedule::lanewise(&self.machine, ow, conv.window, width > 1),
        };
        let update = |lane: usize, block: &Index, tap: Index, from: Index| {
            let row = (block.clone() * (kh * kw) + tap) * width + lane;
            let read = At::block(x, block.clone(), from);
            let input = if width == 1 { load(read) } else { Value::SplatGroup { at: read, lane, width } };
            Update::Fma(input, load(At::flat(weight, row * LANES)))
        };
        let body = sweep.build(
            &mut kb,
            &row_classes(&conv.window, h, oh),
            &|block| match bias {
                Some(bias) => load(At::flat(bias, block.clone() * LANES)),
                None => constant(0.0),
            },
            &Over::Taps { reductions: width, rows_apart: false, update: &update },
            &mut |kb, spot| {
                let mut body = Vec::new();
                let element = Element { block: spot.block.clone(), offset: spot.output.clone(), image: spot.image };
                let value = chain.apply(kb, &mut body, Value::Acc, &element);
                body.push(store(At::block(y, spot.block, spot.output), value));
                body
            },
        );
        let [sh, sw] = conv.window.stride;
        let stride = if sh == sw { sh.to_string() } else { format!("{sh}x{sw}") };
        let dilation = match conv.window.dilation {
            [1, 1] => String::new(),
            [dh, dw] => format!("_d{dh}x{dw}"),
        };
        let images_name = if images > 1 { format!("{images}x") } else { String::new() };
        let (kind, groups) = match width {
            1 => ("depthwise", String::new()),
            _ => ("grouped", format!("_g{}", conv.groups)),
        };
        let name = format!(
            "{kind}{kh}x{kw}_s{stride}{dilation}_{channels}_{images_name}{oh}x{ow}{groups}{}",
            chain_name(after)
        );
        let flops = 2 * (node.ty.len() * kh * kw * width) as u64;
        let (kernel, args) = kb.build(name, sweep.units(), flops, format!("{}×1", sweep.schedule.tiling.pixels), body);
        self.step(self.layers(id), kernel, args);
    }
}
