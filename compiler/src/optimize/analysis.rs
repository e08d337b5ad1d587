//! What the e-graph knows of each class: its type, and its elements where they are literal.

use egg::{Analysis, DidMerge, Id};

use super::language::{Applied, Leaf, Term, decode};
use crate::graph::infer::infer;
use crate::graph::weights::Pool;
use crate::graph::{Constant, Op, TensorType, WeightId};

/// An e-graph over the graph's operators.
pub type EGraph = egg::EGraph<Term, Facts>;

/// What stands beside the e-graph: what its leaves refer to.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Weight expressions.
    pub pool: Pool,
    /// The types of the values from outside.
    pub inputs: Vec<TensorType>,
}

/// What is known of a class.
#[derive(Clone, Debug, Default)]
pub struct Fact {
    /// The type of its value; None for attributes, weights and lists.
    pub ty: Option<TensorType>,
    /// Its elements, where they are literal.
    pub constant: Option<Constant>,
}

impl Analysis<Term> for Facts {
    type Data = Fact;

    fn make(egraph: &mut EGraph, term: &Term, _id: Id) -> Fact {
        let ty = decode(egraph, term).and_then(|applied| type_of(egraph, &applied));
        let constant = match term {
            Term::Leaf(Leaf::Constant(constant)) => Some(constant.clone()),
            Term::Leaf(_) | Term::Apply(..) | Term::List(_) => None,
        };
        Fact { ty, constant }
    }

    fn merge(&mut self, a: &mut Fact, b: Fact) -> DidMerge {
        debug_assert_eq!(a.ty, b.ty, "a rule made two values of different types equal");
        let (a_learns, b_learns) =
            (a.constant.is_none() && b.constant.is_some(), b.constant.is_none() && a.constant.is_some());
        if a_learns {
            a.constant = b.constant;
        }
        DidMerge(a_learns, b_learns)
    }
}

/// The type that a node has on these classes, or None where it does not fit them.
pub fn type_of(egraph: &EGraph, applied: &Applied) -> Option<TensorType> {
    check(egraph, &applied.op, &applied.operands, &applied.weights)
}

/// As [`type_of`], in parts.
pub fn check(egraph: &EGraph, op: &Op, operands: &[Id], weights: &[WeightId]) -> Option<TensorType> {
    let operands: Vec<&TensorType> = operands.iter().map(|&id| egraph[id].data.ty.as_ref()).collect::<Option<_>>()?;
    let weights: Vec<&[usize]> = weights.iter().map(|&w| egraph.analysis.pool.shape(w)).collect();
    infer(op, &operands, &weights).ok()
}
