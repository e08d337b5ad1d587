//! A fused node in parts, and its plainest form.

use egg::Id;

use super::super::language::Step;
use crate::graph::weights::Pool;
use crate::graph::{Chain, Conv, Core, Linear, Op, WeightId};

/// The parts of a fused node.
#[derive(Clone, Debug)]
pub struct FusedParts {
    /// Stages on what the core reads.
    pub before: Vec<Step>,
    /// The core; whether it has a bias is [`Self::bias`]'s to say.
    pub core: Core,
    /// Stages on the core's result.
    pub after: Vec<Step>,
    /// The core's operand.
    pub x: Id,
    /// The core's kernel.
    pub kernel: Option<WeightId>,
    /// The core's bias.
    pub bias: Option<WeightId>,
    /// Operands of the stages, those of `before` first.
    pub more: Vec<Id>,
}

/// The plainest form of a fused node.
#[derive(Clone, Debug)]
pub enum Plain {
    /// Nothing is done to this value.
    Operand(Id),
    /// An operator with its operands and weights.
    Node {
        /// The operator.
        op: Op,
        /// Its operands.
        operands: Vec<Id>,
        /// Its weights.
        weights: Vec<WeightId>,
    },
}

impl FusedParts {
    /// A chain on a value, without a core.
    pub fn chain(x: Id, after: Vec<Step>, more: Vec<Id>) -> Self {
        FusedParts { before: vec![], core: Core::Identity, after, x, kernel: None, bias: None, more }
    }

    /// A convolution or linear layer, and what follows it.
    pub fn core(core: Core, x: Id, kernel: WeightId, bias: Option<WeightId>, after: Vec<Step>) -> Self {
        FusedParts { before: vec![], core, after, x, kernel: Some(kernel), bias, more: vec![] }
    }

    /// Stages of both sides.
    pub fn stages(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Whether an affine stage follows the core, which could take it into its weights.
    pub fn has_affine_after_core(&self) -> bool {
        self.kernel.is_some() && matches!(self.after.first(), Some(Step::Affine { .. }))
    }

    /// Whether two affine stages follow one another.
    pub fn has_adjacent_affines(&self) -> bool {
        [&self.before, &self.after].into_iter().any(|chain| adjacent_affines(chain).is_some())
    }

    /// The plainest form: affine stages joined and taken into the core's weights where they follow it, a core without
    /// stages as its own operator, no core and no stages as the operand. One form for what is the same keeps the e-graph
    /// small.
    pub fn into_node(mut self, pool: &mut Pool) -> Plain {
        join_affines(&mut self.before, pool);
        join_affines(&mut self.after, pool);
        if let (Some(kernel), Some(&Step::Affine { scale, shift })) = (self.kernel, self.after.first()) {
            self.after.remove(0);
            self.kernel = Some(pool.scale(kernel, 0, scale));
            self.bias = Some(match self.bias {
                Some(bias) => {
                    let scaled = pool.scale(bias, 0, scale);
                    pool.add(scaled, shift)
                }
                None => shift,
            });
        }
        let FusedParts { before, core, after, x, kernel, bias, more } = self;
        let core = match core {
            Core::Conv(conv) => Core::Conv(Conv { bias: bias.is_some(), ..conv }),
            Core::Linear(linear) => Core::Linear(Linear { bias: bias.is_some(), ..linear }),
            Core::Identity => Core::Identity,
        };
        let mut weights: Vec<WeightId> = kernel.into_iter().chain(bias).collect();
        let mut operands = vec![x];
        if before.is_empty() && after.is_empty() {
            return match core {
                Core::Conv(conv) => Plain::Node { op: Op::Conv(conv), operands, weights },
                Core::Linear(linear) => Plain::Node { op: Op::Linear(linear), operands, weights },
                Core::Identity => Plain::Operand(x),
            };
        }
        for step in before.iter().chain(&after) {
            match *step {
                Step::Affine { scale, shift } => weights.extend([scale, shift]),
                Step::Activate(_) | Step::Add | Step::Scale => {}
            }
        }
        let stages = |steps: Vec<Step>| -> Chain { steps.into_iter().map(Step::stage).collect() };
        operands.extend(more);
        Plain::Node { op: Op::Fused { before: stages(before), core, after: stages(after) }, operands, weights }
    }
}

/// `(x * s + t) * s' + t' == x * (s * s') + (t * s' + t')`, for all affine stages in a row.
fn join_affines(chain: &mut Vec<Step>, pool: &mut Pool) {
    while let Some((i, [(s, t), (scale, shift)])) = adjacent_affines(chain) {
        let moved = pool.scale(t, 0, scale);
        let both = Step::Affine { scale: pool.scale(s, 0, scale), shift: pool.add(moved, shift) };
        chain.splice(i..i + 2, [both]);
    }
}

/// The first two affine stages in a row: where, and their scales and shifts.
fn adjacent_affines(chain: &[Step]) -> Option<(usize, [(WeightId, WeightId); 2])> {
    chain.windows(2).enumerate().find_map(|(i, pair)| match *pair {
        [Step::Affine { scale: s, shift: t }, Step::Affine { scale, shift }] => Some((i, [(s, t), (scale, shift)])),
        _ => None,
    })
}
