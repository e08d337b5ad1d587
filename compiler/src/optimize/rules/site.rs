//! A place where a rule's pattern matched: what the rule may look at, and how it builds its right side.

use egg::{Id, Subst, Var};

use super::super::analysis::{EGraph, check};
use super::super::language::{self, Leaf, Term, decode, encode};
use super::parts::{FusedParts, Plain};
use crate::graph::weights::Pool;
use crate::graph::{Activation, Constant, Conv, Core, F32, Linear, Op, TensorType, WeightId};

/// A match: a class, and the classes that the pattern's variables stand for.
#[derive(Debug)]
pub struct Site<'a> {
    egraph: &'a mut EGraph,
    root: Id,
    subst: &'a Subst,
    /// Which of the rule's patterns matched.
    pub pattern: usize,
}

impl<'a> Site<'a> {
    /// The place where a pattern matched class `root`.
    pub fn new(egraph: &'a mut EGraph, root: Id, subst: &'a Subst, pattern: usize) -> Self {
        Site { egraph, root, subst, pattern }
    }

    /// The class that matched.
    pub fn root(&self) -> Id {
        self.egraph.find(self.root)
    }

    /// The class that a variable (`"?x"`) stands for.
    ///
    /// # Panics
    /// Where the pattern has no such variable: a mistake in the rule, found by its test.
    pub fn id(&self, variable: &str) -> Id {
        let bound = variable.parse::<Var>().ok().and_then(|var| self.subst.get(var).copied());
        match bound {
            Some(id) => self.egraph.find(id),
            None => panic!("the pattern binds no {variable}"),
        }
    }

    /// The type of a variable's value.
    pub fn ty(&self, variable: &str) -> Option<&TensorType> {
        self.type_of(self.id(variable))
    }

    /// The type of a class.
    pub fn type_of(&self, id: Id) -> Option<&TensorType> {
        self.egraph[id].data.ty.as_ref()
    }

    /// The type of the class that matched.
    pub fn root_ty(&self) -> Option<&TensorType> {
        self.type_of(self.root)
    }

    /// A variable's elements, where they are literal.
    pub fn constant(&self, variable: &str) -> Option<&Constant> {
        self.egraph[self.id(variable)].data.constant.as_ref()
    }

    /// The operator whose attributes a variable stands for.
    pub fn op(&self, variable: &str) -> Option<&Op> {
        if let Leaf::Attributes(op) = language::leaf(self.egraph, self.id(variable))? { Some(op) } else { None }
    }

    /// A convolution's attributes.
    pub fn conv(&self, variable: &str) -> Option<Conv> {
        if let Op::Conv(conv) = self.op(variable)? { Some(*conv) } else { None }
    }

    /// A linear layer's attributes.
    pub fn linear(&self, variable: &str) -> Option<Linear> {
        if let Op::Linear(linear) = self.op(variable)? { Some(*linear) } else { None }
    }

    /// An activation.
    pub fn activation(&self, variable: &str) -> Option<Activation> {
        if let Op::Activate(activation) = self.op(variable)? { Some(*activation) } else { None }
    }

    /// A pool's attributes.
    pub fn pooling(&self, variable: &str) -> Option<crate::graph::Pool> {
        if let Op::MaxPool(pool) | Op::AvgPool(pool) = self.op(variable)? { Some(*pool) } else { None }
    }

    /// A BatchNorm's epsilon.
    pub fn eps(&self, variable: &str) -> Option<F32> {
        if let Op::BatchNorm { eps, .. } = self.op(variable)? { Some(*eps) } else { None }
    }

    /// A weight, None where the operator goes without.
    pub fn weight(&self, variable: &str) -> Option<WeightId> {
        language::weight(self.egraph, self.id(variable))
    }

    /// The elements of a list.
    pub fn list(&self, variable: &str) -> Option<Vec<Id>> {
        language::list(self.egraph, self.id(variable)).map(<[Id]>::to_vec)
    }

    /// The fused node that `(fused ?before ?core ?after ?x ?w ?b ?more)` bound; `suffix` stands at the end of each
    /// variable's name, for patterns with two of them.
    pub fn fused(&self, suffix: &str) -> Option<FusedParts> {
        self.fused_on(suffix, self.id(&format!("?x{suffix}")))
    }

    /// As [`Self::fused`], for a pattern that binds no `?x`, with the operand `x`.
    pub fn fused_on(&self, suffix: &str, x: Id) -> Option<FusedParts> {
        let id = |name: &str| self.id(&format!("?{name}{suffix}"));
        Some(FusedParts {
            before: language::chain(self.egraph, id("before"))?.to_vec(),
            core: language::core(self.egraph, id("core"))?,
            after: language::chain(self.egraph, id("after"))?.to_vec(),
            x,
            kernel: language::weight(self.egraph, id("w")),
            bias: language::weight(self.egraph, id("b")),
            more: language::list(self.egraph, id("more"))?.to_vec(),
        })
    }

    /// The type of the fused node that [`Self::fused`] reads.
    pub fn fused_ty(&self) -> Option<TensorType> {
        let FusedParts { core, x, kernel, bias, .. } = self.fused("")?;
        let weights: Vec<WeightId> = kernel.into_iter().chain(bias).collect();
        match core {
            Core::Conv(conv) => check(self.egraph, &Op::Conv(conv), &[x], &weights),
            Core::Linear(linear) => check(self.egraph, &Op::Linear(linear), &[x], &weights),
            Core::Identity => self.type_of(x).cloned(),
        }
    }

    /// The operators of a class that are `slice`s, with their attributes `(axis, start, end)` and operands.
    pub fn slices(&self, id: Id) -> Vec<(usize, usize, usize, Id)> {
        let slice = |term: &Term| {
            if !matches!(term, Term::Apply(language::Tag::Slice, _)) {
                return None;
            }
            let applied = decode(self.egraph, term)?;
            match applied.op {
                Op::Slice { axis, start, end } => Some((axis, start, end, self.egraph.find(applied.operands[0]))),
                _ => None,
            }
        };
        self.egraph[id].nodes.iter().filter_map(slice).collect()
    }

    /// Weight expressions, whose constructors build a right side's weights.
    pub fn pool(&mut self) -> &mut Pool {
        &mut self.egraph.analysis.pool
    }

    /// The scale and shift of the BatchNorm that `(bn ?e … ?g ?beta ?m ?v)` bound.
    pub fn batch_norm(&mut self) -> Option<(WeightId, WeightId)> {
        let eps = f64::from(self.eps("?e")?.get());
        let affine = self.weight("?g").zip(self.weight("?beta"));
        let (mean, var) = (self.weight("?m")?, self.weight("?v")?);
        Some(self.pool().batch_norm(affine, mean, var, eps))
    }

    /// Adds a node, or nothing where it has no type.
    pub fn add(&mut self, op: Op, operands: &[Id], weights: &[WeightId]) -> Option<Id> {
        check(self.egraph, &op, operands, weights)?;
        Some(encode(self.egraph, &op, operands, weights))
    }

    /// Adds a fused node in its plainest form; see [`FusedParts::into_node`].
    pub fn add_fused(&mut self, parts: FusedParts) -> Option<Id> {
        match parts.into_node(self.pool()) {
            Plain::Operand(x) => Some(x),
            Plain::Node { op, operands, weights } => self.add(op, &operands, &weights),
        }
    }

    /// Adds a literal.
    pub fn add_constant(&mut self, constant: Constant) -> Option<Id> {
        self.add(Op::Constant(constant), &[], &[])
    }
}
