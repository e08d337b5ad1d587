//! Nodes whose operands are known, computed at once: what exporters make of shapes, and of weights.
//!
//! Integers are exact, and what does not fit its type is a mistake. What it costs is bounded by the size of the file.

mod arithmetic;
mod constant;
mod movement;
mod order;
mod quantized;

pub(super) use movement::permutation;

use super::Problem;
use super::builder::Value;
use super::call::Call;
use super::tensor::Tensor;

/// How many elements may still be made.
#[derive(Clone)]
pub(super) struct Budget {
    /// None once more was asked for.
    left: Option<usize>,
}

impl Budget {
    /// Elements that are made even of a small file.
    pub(super) const LEAST: usize = 8 << 20;

    /// For a model with these tensors: each of their elements twice. Tensors that share their bytes count once.
    pub(super) fn for_tensors<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Self {
        let (mut elements, mut parts) = (0usize, Vec::new());
        for tensor in tensors {
            elements = elements.saturating_add(tensor.len());
            parts.push(tensor.memory());
        }
        parts.sort_by_key(|part| (part.start, part.end));
        let (mut stored, mut end) = (0, 0);
        for part in parts {
            stored += part.end.saturating_sub(part.start.max(end));
            end = end.max(part.end);
        }
        Budget { left: Some(elements.min(stored).saturating_mul(2).saturating_add(Budget::LEAST)) }
    }

    /// Takes the elements of a shape. An empty axis counts as one of 1, so that what is left bounds the loops over the
    /// others too.
    ///
    /// # Errors
    /// They are more than are left.
    pub(super) fn take(&mut self, shape: &[usize]) -> Result<(), Problem> {
        let steps = shape.iter().try_fold(1usize, |steps, &extent| steps.checked_mul(extent.max(1)));
        self.check()?;
        let left = steps.and_then(|steps| self.left?.checked_sub(steps));
        self.left = left;
        let too_large =
            || Problem::new(format!("a value of shape {shape:?} is too large to be computed when compiling"));
        left.map(|_| ()).ok_or_else(too_large)
    }

    /// Whether anything can still be taken: once more was asked for than there was, nothing more is made.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let spent = || Problem::new("what is computed when compiling was too large before");
        self.left.map(|_| ()).ok_or_else(spent)
    }
}

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
