//! Nodes: their names, their weights, and what is said when an op does not fit its operands.

use super::{Elaborator, Value};
use crate::diag::{Diagnostic, Span, counted};
use crate::graph::infer::{self, Role, TypeError};
use crate::graph::weights::Kind;
use crate::graph::{self, Constant, NodeId, Op, Origin, TensorType, WeightId};

impl Elaborator<'_> {
    /// Adds a node; a mistake is reported at `place`. `written` are the variables that the operands are.
    pub(super) fn add_node(
        &mut self,
        op: Op,
        operands: &[NodeId],
        weights: Vec<WeightId>,
        name: String,
        place: Span,
        written: &[Option<&str>],
    ) -> Option<NodeId> {
        let origin = Origin { span: Some(place), ..Origin::named(name) };
        match self.graph.add(op.clone(), operands, weights, origin) {
            Ok(node) => Some(node),
            Err(error) => {
                self.misfit(&op, operands, error, place, written);
                None
            }
        }
    }

    /// A name for a node: the one that its call gives, or one made from the op and a count.
    pub(super) fn node_name(&mut self, op: &str, given: Option<&str>) -> String {
        match given {
            Some(name) => {
                let name = self.convention().join(self.prefix(), name);
                self.names.node(name)
            }
            None => self.made_name(op),
        }
    }

    /// A name made from the op and a count.
    pub(super) fn made_name(&mut self, op: &str) -> String {
        let base = self.convention().join(self.prefix(), op);
        self.names.counted(&base)
    }

    /// The node of an operand; a number becomes a constant.
    pub(super) fn operand(&mut self, value: &Value, place: Span) -> Option<NodeId> {
        match value {
            Value::Tensor(node) => Some(*node),
            other => {
                let number = other.number()? as f32;
                self.constant(Constant::scalar(number), place)
            }
        }
    }

    /// A literal tensor.
    pub(super) fn constant(&mut self, constant: Constant, place: Span) -> Option<NodeId> {
        let name = self.made_name("constant");
        self.add_node(Op::Constant(constant), &[], Vec::new(), name, place, &[])
    }

    /// Adds a layer: a node that reads weights, each named after the layer and its role. `named` is the name that the call
    /// gives, `kernel` what it calls the kernel. `absent` are roles that have no tensor in the weights file, and what stands for them.
    pub(super) fn layer(
        &mut self,
        op: Op,
        operand: NodeId,
        named: Option<&str>,
        kernel: Option<&str>,
        absent: &[(Role, f32)],
        place: Span,
        written: &[Option<&str>],
    ) -> Option<NodeId> {
        let ty: &TensorType = &self.graph.node(operand).ty;
        let shapes = match infer::weight_shapes(&op, &[ty]) {
            Ok(shapes) => shapes,
            Err(error) => {
                self.misfit(&op, &[operand], error, place, written);
                return None;
            }
        };
        let kind = infer::name(&op);
        let convention = self.convention();
        let node = match (named, convention.layer(&op, self.channels(operand))) {
            (Some(name), _) => convention.join(self.prefix(), name),
            (None, Some(kind)) => self.names.layer(kind),
            (None, None) => self.made_name(kind),
        };
        let mut weights = Vec::new();
        for (role, shape) in shapes {
            if let Some((_, value)) = absent.iter().find(|(absent, _)| *absent == role) {
                weights.push(self.graph.weights.splat(&shape, *value));
                continue;
            }
            let elements = shape.iter().fold(1usize, |len, &extent| len.saturating_mul(extent));
            if elements > TensorType::LIMIT {
                let message = format!("{kind} would have a weight of shape {shape:?}, more than 2^31 elements");
                self.report(Diagnostic::error(place, message));
                return None;
            }
            let tensor = convention.tensor(&node, role, kernel);
            if let Err(first) = self.names.tensor(&tensor, place) {
                let mistake = Diagnostic::error(place, format!("`{tensor}` is already a weight of another layer"));
                let mistake = if first == place { mistake } else { mistake.secondary(first, "this layer has it") };
                self.report(mistake.help("give the calls around one of them another `name = \"…\"`"));
                return None;
            }
            weights.push(self.read_weight(&op, &tensor, kind_of(role), &shape));
        }
        let name = if named.is_some() { self.names.node(node) } else { node };
        self.add_node(op, &[operand], weights, name, place, written)
    }

    /// Reports that an op does not fit its operands, and where the operand comes from that decides.
    fn misfit(&mut self, op: &Op, operands: &[NodeId], error: TypeError, place: Span, written: &[Option<&str>]) {
        let TypeError { message, operand, label } = error;
        let mut mistake = Diagnostic::error(place, message).label(label.unwrap_or_default());
        let channels = mistake.label.starts_with("channels differ");
        let culprit = operand.and_then(|i| operands.get(i)).or(operands.iter().max()).copied();
        if let Some(culprit) = culprit {
            let origin = if channels { self.decides_channels(culprit) } else { culprit };
            let node = self.graph.node(origin);
            let shape = &self.graph.node(culprit).ty.shape;
            let text = match shape[..] {
                [_, c, ..] if channels => format!("this one has {}", counted(c, "channel")),
                _ if operands.len() > 1 => format!("this one has shape {shape:?}"),
                _ => format!("this has shape {shape:?}"),
            };
            if let Some(span) = node.origin.span.filter(|span| !inside(*span, place)) {
                mistake = mistake.secondary(span, text);
            }
        }
        mistake.help = self.advice(op, operands, channels, written);
        self.report(mistake);
    }

    /// What to do about channels that differ in an addition.
    fn advice(&self, op: &Op, operands: &[NodeId], channels: bool, written: &[Option<&str>]) -> Option<String> {
        let (Op::Binary(graph::Binary::Add | graph::Binary::Sub), true, &[a, b]) = (op, channels, operands) else {
            return None;
        };
        let (older, newer) = if a < b { (a, b) } else { (b, a) };
        let name = written.get(usize::from(older == b)).copied().flatten();
        let older_name = name.map_or("the other one".to_owned(), |name| format!("`{name}`"));
        let convolution = format!("add a 1×1 convolution to {older_name}");
        let wanted = self.graph.node(older).ty.shape.get(1)?;
        match self.widths.get(&self.decides_channels(newer)) {
            Some(width) => Some(format!("{convolution}, or make `{width}` {wanted}")),
            None => Some(convolution),
        }
    }

    /// The node that decided how many channels a value has: back through what keeps them.
    fn decides_channels(&self, mut node: NodeId) -> NodeId {
        loop {
            let operands = self.graph.operands(node);
            let keeps = match self.graph.node(node).op {
                Op::BatchNorm { .. }
                | Op::Activate(_)
                | Op::Cast(_)
                | Op::MaxPool(_)
                | Op::AvgPool(_)
                | Op::GlobalAvgPool
                | Op::GlobalMaxPool
                | Op::Softmax { .. }
                | Op::ChannelShuffle { .. }
                | Op::Pad { .. }
                | Op::Resize(_)
                | Op::Dropout
                | Op::Identity => true,
                Op::Input(_)
                | Op::Constant(_)
                | Op::Weight { .. }
                | Op::Conv(_)
                | Op::Linear(_)
                | Op::Binary(_)
                | Op::MatMul
                | Op::Concat { .. }
                | Op::Slice { .. }
                | Op::Gather { .. }
                | Op::Reshape { .. }
                | Op::Transpose { .. }
                | Op::Fused { .. } => false,
            };
            match operands.first() {
                Some(&operand) if keeps => node = operand,
                _ => return node,
            }
        }
    }
}

/// How the tensor of a role is filled for tests.
fn kind_of(role: Role) -> Kind {
    match role {
        Role::Kernel => Kind::Kernel,
        Role::Bias | Role::Beta | Role::Value => Kind::Bias,
        Role::Gamma => Kind::Gamma,
        Role::Mean => Kind::Mean,
        Role::Var => Kind::Var,
    }
}

fn inside(inner: Span, outer: Span) -> bool {
    inner.file == outer.file && outer.start <= inner.start && inner.end <= outer.end
}
