//! The e-graph's language: a thin image of [`Op`].
//!
//! A node becomes `(name attributes operands… weights…)`. Attributes, chains and weights are *leaves*, so that a plain
//! pattern binds them: `(bn ?e (conv ?a ?x ?w ?b) ?g ?beta ?m ?v)` matches any convolution followed by any BatchNorm.
//! (Attributes inside the operator would match one convolution only.) What an operator may lack, a bias or a gamma, is
//! the leaf [`Leaf::Absent`], and operands of any number stand in a [`Term::List`], so every operator has one arity.
//!
//! [`encode`] and [`decode`] are total over [`Op`] and each other's inverse.

use std::fmt;

use egg::{FromOp, FromOpError, Id, Language};

use super::analysis::EGraph;
use crate::graph::{Activation, Binary, Chain, Constant, Core, Op, Stage, WeightId};

/// An operator's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// `(weight attributes w)`
    Weight,
    /// `(conv attributes x w b)`
    Conv,
    /// `(linear attributes x w b)`
    Linear,
    /// `(bn attributes x gamma beta mean var)`
    BatchNorm,
    /// `(activate attributes x)`
    Activate,
    /// `(cast attributes x)`
    Cast,
    /// `(add x y)`
    Add,
    /// `(sub x y)`
    Sub,
    /// `(mul x y)`
    Mul,
    /// `(div x y)`
    Div,
    /// `(min x y)`
    Min,
    /// `(max x y)`
    Max,
    /// `(pow x y)`
    Pow,
    /// `(matmul x y)`
    MatMul,
    /// `(max_pool attributes x)`
    MaxPool,
    /// `(avg_pool attributes x)`
    AvgPool,
    /// `(global_avg_pool x)`
    GlobalAvgPool,
    /// `(global_max_pool x)`
    GlobalMaxPool,
    /// `(softmax attributes x)`
    Softmax,
    /// `(concat attributes list)`
    Concat,
    /// `(slice attributes x)`
    Slice,
    /// `(gather attributes x)`
    Gather,
    /// `(channel_shuffle attributes x)`
    ChannelShuffle,
    /// `(reshape attributes x)`
    Reshape,
    /// `(transpose attributes x)`
    Transpose,
    /// `(pad attributes x)`
    Pad,
    /// `(resize attributes x)`
    Resize,
    /// `(dropout x)`
    Dropout,
    /// `(identity x)`
    Identity,
    /// `(fused before core after x w b list)`: chains hold their own weights, the list the operands of their stages.
    Fused,
}

/// Each tag with its name in patterns and its arity.
const TAGS: [(Tag, &str, usize); 30] = [
    (Tag::Weight, "weight", 2),
    (Tag::Conv, "conv", 4),
    (Tag::Linear, "linear", 4),
    (Tag::BatchNorm, "bn", 6),
    (Tag::Activate, "activate", 2),
    (Tag::Cast, "cast", 2),
    (Tag::Add, "add", 2),
    (Tag::Sub, "sub", 2),
    (Tag::Mul, "mul", 2),
    (Tag::Div, "div", 2),
    (Tag::Min, "min", 2),
    (Tag::Max, "max", 2),
    (Tag::Pow, "pow", 2),
    (Tag::MatMul, "matmul", 2),
    (Tag::MaxPool, "max_pool", 2),
    (Tag::AvgPool, "avg_pool", 2),
    (Tag::GlobalAvgPool, "global_avg_pool", 1),
    (Tag::GlobalMaxPool, "global_max_pool", 1),
    (Tag::Softmax, "softmax", 2),
    (Tag::Concat, "concat", 2),
    (Tag::Slice, "slice", 2),
    (Tag::Gather, "gather", 2),
    (Tag::ChannelShuffle, "channel_shuffle", 2),
    (Tag::Reshape, "reshape", 2),
    (Tag::Transpose, "transpose", 2),
    (Tag::Pad, "pad", 2),
    (Tag::Resize, "resize", 2),
    (Tag::Dropout, "dropout", 1),
    (Tag::Identity, "identity", 1),
    (Tag::Fused, "fused", 7),
];

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TAGS.iter().find(|(tag, ..)| tag == self).map_or("?", |(_, name, _)| name))
    }
}

/// A [`Stage`] with the weights it reads; its operand, if any, stands in the fused node's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// [`Stage::Affine`].
    Affine {
        /// The factor by channel.
        scale: WeightId,
        /// What is added by channel.
        shift: WeightId,
    },
    /// [`Stage::Activate`].
    Activate(Activation),
    /// [`Stage::Add`].
    Add,
    /// [`Stage::Scale`].
    Scale,
}

impl Step {
    /// The stage without its weights.
    pub fn stage(self) -> Stage {
        match self {
            Step::Affine { .. } => Stage::Affine,
            Step::Activate(activation) => Stage::Activate(activation),
            Step::Add => Stage::Add,
            Step::Scale => Stage::Scale,
        }
    }

    /// Whether the stage reads an operand.
    pub fn reads_operand(self) -> bool {
        matches!(self, Step::Add | Step::Scale)
    }
}

/// An e-node without children.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leaf {
    /// A value from outside: the input of this number in [`super::analysis::Facts::inputs`].
    Value(u32),
    /// A literal.
    Constant(Constant),
    /// An operator's attributes: the operator itself.
    Attributes(Op),
    /// The stages of a fused node on one side of its core.
    Chain(Vec<Step>),
    /// The core of a fused node.
    Core(Core),
    /// A weight expression.
    Weight(WeightId),
    /// A weight that the operator goes without.
    Absent,
}

/// An e-node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// An operator on its children.
    Apply(Tag, Vec<Id>),
    /// Values in order, for an operator that takes any number.
    List(Vec<Id>),
    /// Attributes, weights, and values that nothing computes.
    Leaf(Leaf),
}

/// What e-nodes are sorted by for matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An operator.
    Apply(Tag),
    /// A list.
    List,
    /// A leaf.
    Leaf,
}

impl Language for Term {
    type Discriminant = Kind;

    fn discriminant(&self) -> Kind {
        match self {
            Term::Apply(tag, _) => Kind::Apply(*tag),
            Term::List(_) => Kind::List,
            Term::Leaf(_) => Kind::Leaf,
        }
    }

    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Term::Apply(a, x), Term::Apply(b, y)) => a == b && x.len() == y.len(),
            (Term::List(x), Term::List(y)) => x.len() == y.len(),
            (Term::Leaf(a), Term::Leaf(b)) => a == b,
            (Term::Apply(..) | Term::List(_) | Term::Leaf(_), _) => false,
        }
    }

    fn children(&self) -> &[Id] {
        match self {
            Term::Apply(_, children) | Term::List(children) => children,
            Term::Leaf(_) => &[],
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Term::Apply(_, children) | Term::List(children) => children,
            Term::Leaf(_) => &mut [],
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Apply(tag, _) => tag.fmt(f),
            Term::List(_) => f.write_str("list"),
            Term::Leaf(leaf) => write!(f, "{leaf:?}"),
        }
    }
}

impl FromOp for Term {
    type Error = FromOpError;

    /// For patterns: an operator by name with all its children, or `list`. Leaves are always pattern variables.
    fn from_op(op: &str, children: Vec<Id>) -> Result<Self, FromOpError> {
        match TAGS.iter().find(|(_, name, arity)| *name == op && *arity == children.len()) {
            Some((tag, ..)) => Ok(Term::Apply(*tag, children)),
            None if op == "list" => Ok(Term::List(children)),
            None => Err(FromOpError::new(op, children)),
        }
    }
}

/// A node in the graph's own words, over e-classes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Applied {
    /// The operator.
    pub op: Op,
    /// The classes of its operands, by position.
    pub operands: Vec<Id>,
    /// The weights it reads.
    pub weights: Vec<WeightId>,
}

/// Adds a node to the e-graph. An [`Op::Input`] becomes the next value from outside.
pub fn encode(egraph: &mut EGraph, op: &Op, operands: &[Id], weights: &[WeightId]) -> Id {
    let attributes = |egraph: &mut EGraph| egraph.add(Term::Leaf(Leaf::Attributes(op.clone())));
    let weight = |egraph: &mut EGraph, weight: Option<&WeightId>| {
        egraph.add(Term::Leaf(weight.map_or(Leaf::Absent, |w| Leaf::Weight(*w))))
    };
    let plain = |egraph: &mut EGraph, tag: Tag| egraph.add(Term::Apply(tag, operands.to_vec()));
    let with_attributes = |egraph: &mut EGraph, tag: Tag| {
        let mut children = vec![attributes(egraph)];
        children.extend(operands);
        egraph.add(Term::Apply(tag, children))
    };
    let weighted = |egraph: &mut EGraph, tag: Tag, weights: &[Option<&WeightId>]| {
        let mut children = vec![attributes(egraph)];
        children.extend(operands);
        children.extend(weights.iter().map(|w| weight(egraph, *w)));
        egraph.add(Term::Apply(tag, children))
    };
    match op {
        Op::Input(ty) => {
            egraph.analysis.inputs.push(ty.clone());
            let number = egraph.analysis.inputs.len() as u32 - 1;
            egraph.add(Term::Leaf(Leaf::Value(number)))
        }
        Op::Constant(constant) => egraph.add(Term::Leaf(Leaf::Constant(constant.clone()))),
        Op::Weight { .. } => weighted(egraph, Tag::Weight, &[weights.first()]),
        Op::Conv(_) => weighted(egraph, Tag::Conv, &[weights.first(), weights.get(1)]),
        Op::Linear(_) => weighted(egraph, Tag::Linear, &[weights.first(), weights.get(1)]),
        Op::BatchNorm { affine: true, .. } => {
            weighted(egraph, Tag::BatchNorm, &[weights.first(), weights.get(1), weights.get(2), weights.get(3)])
        }
        Op::BatchNorm { affine: false, .. } => {
            weighted(egraph, Tag::BatchNorm, &[None, None, weights.first(), weights.get(1)])
        }
        Op::Activate(_) => with_attributes(egraph, Tag::Activate),
        Op::Cast(_) => with_attributes(egraph, Tag::Cast),
        Op::Binary(Binary::Add) => plain(egraph, Tag::Add),
        Op::Binary(Binary::Sub) => plain(egraph, Tag::Sub),
        Op::Binary(Binary::Mul) => plain(egraph, Tag::Mul),
        Op::Binary(Binary::Div) => plain(egraph, Tag::Div),
        Op::Binary(Binary::Min) => plain(egraph, Tag::Min),
        Op::Binary(Binary::Max) => plain(egraph, Tag::Max),
        Op::Binary(Binary::Pow) => plain(egraph, Tag::Pow),
        Op::MatMul => plain(egraph, Tag::MatMul),
        Op::MaxPool(_) => with_attributes(egraph, Tag::MaxPool),
        Op::AvgPool(_) => with_attributes(egraph, Tag::AvgPool),
        Op::GlobalAvgPool => plain(egraph, Tag::GlobalAvgPool),
        Op::GlobalMaxPool => plain(egraph, Tag::GlobalMaxPool),
        Op::Softmax { .. } => with_attributes(egraph, Tag::Softmax),
        Op::Concat { .. } => {
            let children = vec![attributes(egraph), egraph.add(Term::List(operands.to_vec()))];
            egraph.add(Term::Apply(Tag::Concat, children))
        }
        Op::Slice { .. } => with_attributes(egraph, Tag::Slice),
        Op::Gather { .. } => with_attributes(egraph, Tag::Gather),
        Op::ChannelShuffle { .. } => with_attributes(egraph, Tag::ChannelShuffle),
        Op::Reshape { .. } => with_attributes(egraph, Tag::Reshape),
        Op::Transpose { .. } => with_attributes(egraph, Tag::Transpose),
        Op::Pad { .. } => with_attributes(egraph, Tag::Pad),
        Op::Resize(_) => with_attributes(egraph, Tag::Resize),
        Op::Dropout => plain(egraph, Tag::Dropout),
        Op::Identity => plain(egraph, Tag::Identity),
        Op::Fused { before, core, after } => {
            let mut rest = weights.iter();
            let (has_kernel, has_bias) = core_weights(*core);
            let kernel = weight(egraph, has_kernel.then(|| rest.next()).flatten());
            let bias = weight(egraph, has_bias.then(|| rest.next()).flatten());
            let before = steps(before, &mut rest);
            let after = steps(after, &mut rest);
            let children = vec![
                egraph.add(Term::Leaf(Leaf::Chain(before))),
                egraph.add(Term::Leaf(Leaf::Core(*core))),
                egraph.add(Term::Leaf(Leaf::Chain(after))),
                operands[0],
                kernel,
                bias,
                egraph.add(Term::List(operands[1..].to_vec())),
            ];
            egraph.add(Term::Apply(Tag::Fused, children))
        }
    }
}

/// Whether a core reads a kernel, and whether it reads a bias.
fn core_weights(core: Core) -> (bool, bool) {
    match core {
        Core::Conv(conv) => (true, conv.bias),
        Core::Linear(linear) => (true, linear.bias),
        Core::Identity => (false, false),
    }
}

/// The stages of a chain with the weights they take from `weights`; an affine stage without weights is left out, which
/// inference does not admit.
fn steps<'a>(chain: &Chain, weights: &mut impl Iterator<Item = &'a WeightId>) -> Vec<Step> {
    chain
        .iter()
        .filter_map(|stage| match *stage {
            Stage::Affine => Some(Step::Affine { scale: *weights.next()?, shift: *weights.next()? }),
            Stage::Activate(activation) => Some(Step::Activate(activation)),
            Stage::Add => Some(Step::Add),
            Stage::Scale => Some(Step::Scale),
        })
        .collect()
}

/// The node that an e-node is, or None for an e-node that is no value: attributes, weights, lists.
pub fn decode(egraph: &EGraph, term: &Term) -> Option<Applied> {
    let (tag, children) = match term {
        Term::List(_) => return None,
        Term::Leaf(Leaf::Value(number)) => {
            let op = Op::Input(egraph.analysis.inputs.get(*number as usize)?.clone());
            return Some(Applied { op, operands: vec![], weights: vec![] });
        }
        Term::Leaf(Leaf::Constant(constant)) => {
            return Some(Applied { op: Op::Constant(constant.clone()), operands: vec![], weights: vec![] });
        }
        Term::Leaf(Leaf::Attributes(_) | Leaf::Chain(_) | Leaf::Core(_) | Leaf::Weight(_) | Leaf::Absent) => {
            return None;
        }
        Term::Apply(tag, children) => (*tag, children),
    };
    let attributes = || match leaf(egraph, children[0])? {
        Leaf::Attributes(op) => Some(op.clone()),
        Leaf::Value(_) | Leaf::Constant(_) | Leaf::Chain(_) | Leaf::Core(_) | Leaf::Weight(_) | Leaf::Absent => None,
    };
    let (op, operands, weights) = match tag {
        Tag::Weight => (attributes()?, &[][..], &children[1..]),
        Tag::Conv | Tag::Linear | Tag::BatchNorm => (attributes()?, &children[1..2], &children[2..]),
        Tag::Activate
        | Tag::Cast
        | Tag::MaxPool
        | Tag::AvgPool
        | Tag::Softmax
        | Tag::Slice
        | Tag::Gather
        | Tag::ChannelShuffle
        | Tag::Reshape
        | Tag::Transpose
        | Tag::Pad
        | Tag::Resize => (attributes()?, &children[1..], &[][..]),
        Tag::Add => (Op::Binary(Binary::Add), &children[..], &[][..]),
        Tag::Sub => (Op::Binary(Binary::Sub), &children[..], &[][..]),
        Tag::Mul => (Op::Binary(Binary::Mul), &children[..], &[][..]),
        Tag::Div => (Op::Binary(Binary::Div), &children[..], &[][..]),
        Tag::Min => (Op::Binary(Binary::Min), &children[..], &[][..]),
        Tag::Max => (Op::Binary(Binary::Max), &children[..], &[][..]),
        Tag::Pow => (Op::Binary(Binary::Pow), &children[..], &[][..]),
        Tag::MatMul => (Op::MatMul, &children[..], &[][..]),
        Tag::GlobalAvgPool => (Op::GlobalAvgPool, &children[..], &[][..]),
        Tag::GlobalMaxPool => (Op::GlobalMaxPool, &children[..], &[][..]),
        Tag::Dropout => (Op::Dropout, &children[..], &[][..]),
        Tag::Identity => (Op::Identity, &children[..], &[][..]),
        Tag::Concat => (attributes()?, list(egraph, children[1])?, &[][..]),
        Tag::Fused => return decode_fused(egraph, children),
    };
    let weights = weights.iter().filter_map(|&id| weight(egraph, id)).collect();
    Some(Applied { op, operands: operands.to_vec(), weights })
}

fn decode_fused(egraph: &EGraph, children: &[Id]) -> Option<Applied> {
    let (before, core, after) = (chain(egraph, children[0])?, core(egraph, children[1])?, chain(egraph, children[2])?);
    let mut operands = vec![children[3]];
    operands.extend(list(egraph, children[6])?);
    let mut weights: Vec<WeightId> = [4, 5].into_iter().filter_map(|i| weight(egraph, children[i])).collect();
    for step in before.iter().chain(after) {
        match *step {
            Step::Affine { scale, shift } => weights.extend([scale, shift]),
            Step::Activate(_) | Step::Add | Step::Scale => {}
        }
    }
    let stages = |steps: &[Step]| steps.iter().map(|step| step.stage()).collect();
    Some(Applied { op: Op::Fused { before: stages(before), core, after: stages(after) }, operands, weights })
}

/// The leaf of a class. Classes of attributes, chains and weights are never merged, so there is one.
pub fn leaf(egraph: &EGraph, id: Id) -> Option<&Leaf> {
    match egraph[id].nodes.first()? {
        Term::Leaf(leaf) => Some(leaf),
        Term::Apply(..) | Term::List(_) => None,
    }
}

/// The elements of a list's class.
pub fn list(egraph: &EGraph, id: Id) -> Option<&[Id]> {
    match egraph[id].nodes.first()? {
        Term::List(children) => Some(children),
        Term::Apply(..) | Term::Leaf(_) => None,
    }
}

/// The weight of a leaf's class; None where it is absent.
pub fn weight(egraph: &EGraph, id: Id) -> Option<WeightId> {
    if let Leaf::Weight(weight) = leaf(egraph, id)? { Some(*weight) } else { None }
}

/// The chain of a leaf's class.
pub fn chain(egraph: &EGraph, id: Id) -> Option<&[Step]> {
    if let Leaf::Chain(steps) = leaf(egraph, id)? { Some(steps) } else { None }
}

/// The core of a leaf's class.
pub fn core(egraph: &EGraph, id: Id) -> Option<Core> {
    if let Leaf::Core(core) = leaf(egraph, id)? { Some(*core) } else { None }
}
