//! Nodes whose operands are known, computed at once: what exporters make of shapes, and of weights.
//!
//! Integers are exact, and what does not fit its type is a mistake. What it costs is bounded: see [`Budget`].

mod arithmetic;
mod constant;
mod movement;
mod order;
mod quantized;

pub(super) use movement::permutation;

use super::Problem;
use super::budget::Budget;
use super::builder::Value;
use super::call::Call;
use super::tensor::Tensor;

/// A node with its operands.
struct Known<'a> {
    call: &'a Call<'a>,
    operands: Vec<Option<&'a Tensor>>,
}

impl<'a> Known<'a> {
    fn operand(&self, position: usize) -> Result<&'a Tensor, Problem> {
        let found = self.operands.get(position).copied().flatten();
        found.ok_or_else(|| Problem::new(format!("it has no input {}", position + 1)))
    }

    fn integers(&self, position: usize) -> Result<Vec<i64>, Problem> {
        let integers = self.operand(position)?.to_integers();
        integers.ok_or_else(|| Problem::new(format!("its input {} holds no integers", position + 1)))
    }
}

type Evaluate = fn(&Known<'_>, &mut Budget) -> Result<Vec<Tensor>, Problem>;

fn evaluator(operator: &str) -> Option<Evaluate> {
    Some(match operator {
        "Constant" => constant::constant,
        "ConstantOfShape" => constant::constant_of_shape,
        "Range" => constant::range,
        "Identity" => constant::identity,
        "Cast" => constant::cast,
        "CastLike" => constant::cast_like,
        "QuantizeLinear" => quantized::quantize,
        "DequantizeLinear" => quantized::dequantize,
        "Reshape" => movement::reshape,
        "Flatten" => movement::flatten,
        "Squeeze" => movement::squeeze,
        "Unsqueeze" => movement::unsqueeze,
        "Transpose" => movement::transpose,
        "Gather" => movement::gather,
        "GatherND" => movement::gather_nd,
        "Slice" => movement::slice,
        "Concat" => movement::concat,
        "Split" => movement::split,
        "Expand" => movement::expand,
        "Tile" => movement::tile,
        "Where" => arithmetic::choose,
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "Min" | "Max" | "Equal" | "Less" | "LessOrEqual"
        | "Greater" | "GreaterOrEqual" | "And" | "Or" => arithmetic::pair,
        "Neg" | "Abs" | "Sqrt" | "Exp" | "Log" | "Floor" | "Ceil" | "Round" | "Reciprocal" | "Sign" | "Not" => {
            arithmetic::single
        }
        "ReduceProd" | "ReduceSum" | "ReduceMin" | "ReduceMax" | "ReduceMean" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" => arithmetic::reduce,
        "ArgMax" | "ArgMin" => order::arg_most,
        "TopK" => order::top,
        "MaxPool" => order::max_pool,
        _ => return None,
    })
}

/// Whether an operator can be computed of known values, or of the shapes of others.
pub(super) fn is_known(operator: &str) -> bool {
    matches!(operator, "Shape" | "Size") || evaluator(operator).is_some()
}

/// The results of a node, if they do not depend on the network's inputs.
///
/// # Errors
/// The operands do not fit the operator, or the results are too large.
pub(super) fn fold(call: &Call<'_>, budget: &mut Budget) -> Result<Option<Vec<Tensor>>, Problem> {
    let operator = call.operator();
    if let "Shape" | "Size" = operator.as_str() {
        return constant::of_shape(call).map(|tensor| Some(vec![tensor]));
    }
    // Without its second result it is one of the graph's own.
    if operator == "MaxPool" && !call.reads(1) {
        return Ok(None);
    }
    let Some(evaluate) = evaluator(&operator) else { return Ok(None) };
    let mut operands = Vec::with_capacity(call.inputs.len());
    for input in &call.inputs {
        match input {
            None => operands.push(None),
            Some(Value::Known(known)) => operands.push(Some(&*known.tensor)),
            Some(Value::Node(_)) => return Ok(None),
        }
    }
    evaluate(&Known { call, operands }, budget).map(Some)
}
