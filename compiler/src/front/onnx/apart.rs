//! Nodes whose operands are all known, and that have no evaluator: each becomes a graph of its own, which the interpreter
//! runs when the model is read. So weights may be computed, as those of low-rank adaptation are.

use std::rc::Rc;

use super::builder::{Builder, Known, Value};
use super::call::Call;
use super::operators::Convert;
use super::tensor::Tensor;
use super::{Problem, Tensors};
use crate::graph::{count, interp};

/// The results of a call, or None where an operand is not known, or where computing them would take too long: then the
/// network computes them.
///
/// # Errors
/// The operands do not fit the operator, or its results are larger than what is left for such tensors.
pub(super) fn computed(
    builder: &mut Builder,
    call: &Call<'_>,
    convert: Convert,
) -> Result<Option<Vec<Value>>, Problem> {
    let mut given = call.inputs.iter().flatten().peekable();
    let is_known = |value: &Value| matches!(value, Value::Known(known) if known.tensor.len() > 0);
    if given.peek().is_none() || !given.all(is_known) {
        return Ok(None);
    }
    let mut apart = builder.apart();
    let results = convert(&mut apart, call);
    builder.budget.after(&apart.budget);
    let results = results?;
    let mut outputs = Vec::new();
    for (i, result) in results.iter().enumerate() {
        if let Value::Node(_) = result {
            let node = apart.output(result, "result")?;
            apart.graph.add_output(i.to_string(), node);
            outputs.push(node);
        }
    }
    let work = apart.graph.order().into_iter().map(|id| count::steps(&apart.graph, id)).fold(0, u64::saturating_add);
    let Some(left) = builder.budget.work.checked_sub(work) else { return Ok(None) };
    builder.budget.work = left;
    for &node in &outputs {
        builder.budget.take(&apart.ty(node).shape)?;
    }
    let (graph, tensors) = apart.finish();
    let found = interp::run(&graph, &Tensors(tensors), &[]).map_err(|error| Problem::new(error.to_string()))?;
    let mut found = outputs.iter().map(|&node| graph.node(node).ty.shape.clone()).zip(found);
    let mut values = Vec::with_capacity(results.len());
    for (result, name) in results.into_iter().zip(&call.node.output) {
        values.push(match result {
            // What is passed on keeps its name; what was made apart has none of the model's.
            Value::Known(known) if passes_on(call, &known) => Value::Known(known),
            Value::Known(known) => builder.value(name, known.tensor),
            Value::Node(_) => {
                let (shape, elements) = found.next().ok_or_else(|| Problem::new("it has no value"))?;
                let tensor = Tensor::of(&elements, shape);
                builder.budget.hold(&tensor);
                builder.value(name, tensor.into())
            }
        });
    }
    Ok(Some(values))
}

fn passes_on(call: &Call<'_>, result: &Known) -> bool {
    let is_same = |value: &Value| matches!(value, Value::Known(known) if Rc::ptr_eq(&known.tensor, &result.tensor));
    call.inputs.iter().flatten().any(is_same)
}
