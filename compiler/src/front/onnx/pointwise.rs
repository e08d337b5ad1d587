//! Functions of one element, and of pairs of elements.

use kiln_rt::safetensors::Dtype;

use super::Problem;
use super::budget::Budget;
use super::builder::{Builder, Known, Value};
use super::call::Call;
use super::geometry;
use super::tensor::{self, Tensor, data_type};
use crate::graph::weights::Kind;
use crate::graph::{Activation, Binary, Constant, Core, DType, F32, NodeId, Op, Stage, TensorType};

/// Functions of one number.
pub(super) fn activation(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let attributes = call.attributes();
    let f32 = F32::new;
    let activation = match call.operator().as_str() {
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu { slope: f32(attributes.float_or("alpha", 0.01)?) },
        "Elu" => Activation::Elu { alpha: f32(attributes.float_or("alpha", 1.0)?) },
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "HardSwish" => Activation::HardSwish,
        "Exp" => Activation::Exp,
        "Log" => Activation::Log,
        "Sqrt" => Activation::Sqrt,
        "Erf" => Activation::Erf,
        "Softplus" => Activation::Softplus,
        "Mish" => Activation::Mish,
        "Abs" => Activation::Abs,
        "Softsign" => {
            let size = builder.add_part(call, "size", Op::Activate(Activation::Abs), &[x], vec![])?;
            let below = with_literal(builder, call, "below", Binary::Add, size, 1.0)?;
            let [Value::Node(below)] = below[..] else { return Err(Problem::new("it has no value")) };
            return Ok(vec![Value::Node(builder.add(call, Op::Binary(Binary::Div), &[x, below], vec![])?)]);
        }
        "Reciprocal" => {
            let one = builder.literal_like(call, "one", 1.0, x)?;
            return Ok(vec![Value::Node(builder.add(call, Op::Binary(Binary::Div), &[one, x], vec![])?)]);
        }
        "Gelu" => match attributes.text_or("approximate", "none")? {
            "none" => Activation::Gelu,
            "tanh" => Activation::GeluTanh,
            other => return Err(Problem::new(format!("it is approximated by `{other}`, which kiln does not have"))),
        },
        "Clip" => return clip(builder, call, x),
        "HardSigmoid" => return hard_sigmoid(builder, call, x),
        "PRelu" => return prelu(builder, call, x),
        "Selu" => {
            // gamma * elu(x), by Klambauer et al. 2017, arXiv:1706.02515, whose constants are the defaults.
            let alpha = attributes.float_or("alpha", 1.673_263_2)?;
            let gamma = attributes.float_or("gamma", 1.050_701)?;
            let elu = Op::Activate(Activation::Elu { alpha: f32(alpha) });
            let y = builder.add_part(call, "elu", elu, &[x], vec![])?;
            return with_literal(builder, call, "", Binary::Mul, y, gamma);
        }
        "Neg" => return with_literal(builder, call, "", Binary::Mul, x, -1.0),
        other => return Err(Problem::new(format!("{other} is no function of one number"))),
    };
    Ok(vec![Value::Node(builder.add(call, Op::Activate(activation), &[x], vec![])?)])
}

/// `scale * x + shift`.
fn scaled_and_shifted(
    builder: &mut Builder,
    call: &Call<'_>,
    x: NodeId,
    scale: f32,
    shift: f32,
) -> Result<NodeId, Problem> {
    let scale = builder.literal_like(call, "scale", scale, x)?;
    let scaled = builder.add_part(call, "scaled", Op::Binary(Binary::Mul), &[x, scale], vec![])?;
    let shift = builder.literal_like(call, "shift", shift, x)?;
    builder.add_part(call, "shifted", Op::Binary(Binary::Add), &[scaled, shift], vec![])
}

/// A value and a literal.
fn with_literal(
    builder: &mut Builder,
    call: &Call<'_>,
    part: &str,
    binary: Binary,
    x: NodeId,
    value: f32,
) -> Result<Vec<Value>, Problem> {
    let literal = builder.literal_like(call, "literal", value, x)?;
    Ok(vec![Value::Node(builder.add_part(call, part, Op::Binary(binary), &[x, literal], vec![])?)])
}

/// `Clip`, whose bounds are attributes before version 11 and inputs since.
fn clip(builder: &mut Builder, call: &Call<'_>, x: NodeId) -> Result<Vec<Value>, Problem> {
    let is_computed = |input: usize| matches!(call.input(input), Some(Value::Node(_)));
    if !builder.ty(x).dtype.is_float() || is_computed(1) || is_computed(2) {
        // A clip's bounds are literals, and f32s, which do not hold every integer.
        let mut y = x;
        for (input, binary) in [(1, Binary::Max), (2, Binary::Min)] {
            if call.input(input).is_some() {
                let bound = builder.operand(call, input)?;
                y = builder.add_part(call, "bound", Op::Binary(binary), &[y, bound], vec![])?;
            }
        }
        return Ok(vec![Value::Node(y)]);
    }
    let bound = |attribute: &str, input: usize| -> Result<Option<f32>, Problem> {
        let Some(known) = call.known(input)? else { return call.attributes().float(attribute) };
        let scalar =
            known.tensor.scalar().ok_or_else(|| Problem::new(format!("its bound `{}` is no number", known.name)))?;
        Ok(Some(scalar as f32))
    };
    let lo = bound("min", 1)?.unwrap_or(f32::NEG_INFINITY);
    let hi = bound("max", 2)?.unwrap_or(f32::INFINITY);
    let [least, largest] = [f32::MIN, f32::MAX];
    let activation = match (lo, hi) {
        (lo, hi) if lo <= least && hi >= largest => return Ok(vec![Value::Node(x)]),
        (lo, hi) if lo == 0.0 && hi >= largest => Activation::Relu,
        (lo, hi) => Activation::Clip { lo: F32::new(lo), hi: F32::new(hi) },
    };
    Ok(vec![Value::Node(builder.add(call, Op::Activate(activation), &[x], vec![])?)])
}

/// `min(max(alpha * x + beta, 0), 1)`.
fn hard_sigmoid(builder: &mut Builder, call: &Call<'_>, x: NodeId) -> Result<Vec<Value>, Problem> {
    let (alpha, beta) = (call.attributes().float_or("alpha", 0.2)?, call.attributes().float_or("beta", 0.5)?);
    // Exporters write a sixth with as many digits as they see fit.
    if (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5 {
        return Ok(vec![Value::Node(builder.add(call, Op::Activate(Activation::HardSigmoid), &[x], vec![])?)]);
    }
    let shifted = scaled_and_shifted(builder, call, x, alpha, beta)?;
    let clip = Op::Activate(Activation::Clip { lo: F32::new(0.0), hi: F32::new(1.0) });
    Ok(vec![Value::Node(builder.add(call, clip, &[shifted], vec![])?)])
}

/// `x` where positive, else `slope * x`, with slopes that broadcast to the value: `max(x, 0) + slope * min(x, 0)`.
fn prelu(builder: &mut Builder, call: &Call<'_>, x: NodeId) -> Result<Vec<Value>, Problem> {
    if let Value::Known(known) = call.required(1)?
        && let Some(slope) = known.tensor.scalar()
        && known.tensor.shape.len() <= builder.ty(x).shape.len()
    {
        let op = Op::Activate(Activation::LeakyRelu { slope: F32::new(slope as f32) });
        return Ok(vec![Value::Node(builder.add(call, op, &[x], vec![])?)]);
    }
    let slope = builder.operand(call, 1)?;
    let above = builder.add_part(call, "above", Op::Activate(Activation::Relu), &[x], vec![])?;
    let clip = Activation::Clip { lo: F32::new(f32::NEG_INFINITY), hi: F32::new(0.0) };
    let below = builder.add_part(call, "below", Op::Activate(clip), &[x], vec![])?;
    let scaled = builder.add_part(call, "scaled", Op::Binary(Binary::Mul), &[below, slope], vec![])?;
    Ok(vec![Value::Node(builder.add(call, Op::Binary(Binary::Add), &[above, scaled], vec![])?)])
}

/// `Add`, `Sub`, `Mul`, `Div`.
pub(super) fn pair(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let binary = match call.operator().as_str() {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        _ => Binary::Div,
    };
    let node = match (binary, call.required(0)?, call.required(1)?) {
        (Binary::Add | Binary::Mul, Value::Node(x), Value::Known(known))
        | (Binary::Add | Binary::Mul, Value::Known(known), Value::Node(x)) => affine(builder, call, binary, *x, known)?,
        _ => None,
    };
    let node = match node {
        Some(node) => node,
        None => {
            let operands = [side(builder, call, 0)?, side(builder, call, 1)?];
            builder.add(call, Op::Binary(binary), &operands, vec![])?
        }
    };
    Ok(vec![Value::Node(node)])
}

/// A vector by channel that is too large for a literal stays a weight: a stage of its own.
fn affine(
    builder: &mut Builder,
    call: &Call<'_>,
    binary: Binary,
    x: NodeId,
    known: &Known,
) -> Result<Option<NodeId>, Problem> {
    let TensorType { dtype, shape } = builder.ty(x).clone();
    if dtype != DType::F32 {
        return Ok(None);
    }
    let (&[_, channels] | &[_, channels, _, _]) = shape.as_slice() else { return Ok(None) };
    let missing = shape.len().saturating_sub(known.tensor.shape.len());
    let by_channel = known.tensor.shape.len() <= shape.len()
        && known
            .tensor
            .shape
            .iter()
            .enumerate()
            .all(|(i, &extent)| extent == if missing + i == 1 { channels } else { 1 });
    if !by_channel || known.tensor.len() != channels || channels <= Constant::LIMIT {
        return Ok(None);
    }
    let vector = builder.weight(known, if binary == Binary::Add { Kind::Bias } else { Kind::Gamma });
    let pool = &mut builder.graph.weights;
    let vector = pool.reshape(vector, &[channels]);
    let weights = match binary {
        Binary::Add => vec![pool.splat(&[channels], 1.0), vector],
        _ => vec![vector, pool.splat(&[channels], 0.0)],
    };
    let op = Op::Fused { before: vec![], core: Core::Identity, after: vec![Stage::Affine] };
    Ok(Some(builder.add(call, op, &[x], weights)?))
}

/// An operand of a pair. A literal with one value everywhere is a scalar, where that changes no shape.
fn side(builder: &mut Builder, call: &Call<'_>, input: usize) -> Result<NodeId, Problem> {
    let (this, other) = (call.required(input)?, call.required(1 - input)?);
    let Value::Known(known) = this else { return builder.operand(call, input) };
    let shape = builder.shape_of(other);
    if geometry::broadcast(&[&shape, &known.tensor.shape])? == shape
        && tensor::element_type(known.tensor.dtype)? == DType::F32
        && let Some(value) = uniform(&known.tensor)
    {
        return builder.literal(call, "literal", value);
    }
    builder.operand(call, input)
}

/// The value that every element of a small tensor has.
fn uniform(tensor: &Tensor) -> Option<f32> {
    if tensor.len() > Constant::LIMIT {
        return None;
    }
    let values = tensor.to_floats();
    let first = *values.first()? as f32;
    values.iter().all(|&v| (v as f32).to_bits() == first.to_bits()).then_some(first)
}

/// `Sum` and `Mean` of any number of values.
pub(super) fn sum(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let count = call.inputs.len();
    let mean = call.operator() == "Mean" && count > 1;
    let mut sum = builder.operand(call, 0)?;
    for i in 1..count {
        let other = builder.operand(call, i)?;
        let part = if i + 1 == count && !mean { "" } else { "sum" };
        sum = builder.add_part(call, part, Op::Binary(Binary::Add), &[sum, other], vec![])?;
    }
    if mean {
        return with_literal(builder, call, "", Binary::Div, sum, count as f32);
    }
    Ok(vec![Value::Node(sum)])
}

/// `Min` and `Max` of any number of values. Of one value and numbers they are a clip.
pub(super) fn bound(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let is_min = call.operator() == "Min";
    let (mut lo, mut hi) = (f32::NEG_INFINITY, f32::INFINITY);
    let mut values = Vec::new();
    // What has more axes than all values that are computed gives its own to the result.
    let computed = call.inputs.iter().flatten().filter(|value| matches!(value, Value::Node(_)));
    let rank = computed.map(|value| builder.shape_of(value).len()).max().unwrap_or(0);
    for i in 0..call.inputs.len() {
        match call.required(i)? {
            Value::Known(known)
                if tensor::element_type(known.tensor.dtype)? == DType::F32
                    && known.tensor.shape.iter().all(|&extent| extent == 1)
                    && known.tensor.shape.len() <= rank
                    && uniform(&known.tensor).is_some_and(|bound| !bound.is_nan()) =>
            {
                let bound = uniform(&known.tensor).unwrap_or_default();
                if is_min { hi = hi.min(bound) } else { lo = lo.max(bound) }
            }
            Value::Node(_) | Value::Known(_) => values.push(builder.operand(call, i)?),
        }
    }
    let (binary, bounds) = (if is_min { Binary::Min } else { Binary::Max }, call.inputs.len() - values.len());
    let Some((&first, rest)) = values.split_first() else { return Err(Problem::new("it has no value")) };
    let mut y = first;
    for (i, &other) in rest.iter().enumerate() {
        let part = if i + 1 == rest.len() && bounds == 0 { "" } else { "pair" };
        y = builder.add_part(call, part, Op::Binary(binary), &[y, other], vec![])?;
    }
    if bounds == 0 {
        return Ok(vec![Value::Node(y)]);
    }
    let activation = match lo {
        0.0 if !is_min => Activation::Relu,
        _ => Activation::Clip { lo: F32::new(lo), hi: F32::new(hi) },
    };
    Ok(vec![Value::Node(builder.add(call, Op::Activate(activation), &[y], vec![])?)])
}

/// `Pow`: products for the exponents 1, 2 and 3, a root for a half. The exponent may be of another type.
pub(super) fn power(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let given = builder.ty(x).dtype;
    let known = match call.required(1)? {
        Value::Known(known) if known.tensor.shape.len() <= builder.ty(x).shape.len() => {
            uniform(&known.tensor).filter(|_| known.tensor.shape.iter().all(|&extent| extent == 1))
        }
        Value::Known(_) | Value::Node(_) => None,
    };
    let mul = || Op::Binary(Binary::Mul);
    match known {
        Some(1.0) => return Ok(vec![Value::Node(x)]),
        Some(2.0) => return Ok(vec![Value::Node(builder.add(call, mul(), &[x, x], vec![])?)]),
        Some(3.0) => {
            let square = builder.add_part(call, "square", mul(), &[x, x], vec![])?;
            return Ok(vec![Value::Node(builder.add(call, mul(), &[square, x], vec![])?)]);
        }
        Some(0.5) if given.is_float() => {
            return Ok(vec![Value::Node(builder.add(call, Op::Activate(Activation::Sqrt), &[x], vec![])?)]);
        }
        _ => {}
    }
    // Integers are raised as floats of 64 bits, which hold them.
    let within = if given.is_float() { given } else { DType::F64 };
    let to = |builder: &mut Builder, part: &str, x: NodeId, dtype: DType| match builder.ty(x).dtype == dtype {
        true => Ok(x),
        false => builder.add_part(call, part, Op::Cast(dtype), &[x], vec![]),
    };
    let base = to(builder, "base", x, within)?;
    let exponent = side(builder, call, 1)?;
    let exponent = to(builder, "exponent", exponent, within)?;
    let y = builder.add_part(call, "power", Op::Binary(Binary::Pow), &[base, exponent], vec![])?;
    Ok(vec![Value::Node(to(builder, "", y, given)?)])
}

/// `Identity`, and `Dropout`, which at inference is one. What it leaves is all.
pub(super) fn identity(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    if call.operator() == "Dropout" {
        let training = call.known(2)?.is_some_and(|known| known.tensor.scalar() != Some(0.0));
        let ratio = call.known(1)?.and_then(|known| known.tensor.scalar());
        if training && ratio != Some(0.0) {
            return Err(Problem::new("it is in training mode, and kiln compiles for inference"));
        }
    }
    let x = call.required(0)?.clone();
    if !call.reads(1) {
        return Ok(vec![x]);
    }
    let shape = builder.shape_of(&x);
    let len = tensor::elements(&shape).filter(|&len| len <= Budget::LEAST);
    let len = len.ok_or_else(|| Problem::new("its mask is too large"))?;
    let mask = Tensor::integers(Dtype::Bool, shape, &vec![1; len]);
    let mask = builder.made("mask", mask.ok_or_else(|| Problem::new("it has no mask"))?)?;
    Ok(vec![x, Value::Known(mask)])
}

/// `Cast` and `CastLike`. What becomes a half keeps the precision of the f32 that holds it.
pub(super) fn cast(builder: &mut Builder, call: &Call<'_>) -> Result<Vec<Value>, Problem> {
    let x = builder.operand(call, 0)?;
    let like = if call.operator() == "CastLike" { Some(call.required(1)?) } else { None };
    let to = match like {
        Some(Value::Node(like)) => builder.ty(*like).dtype,
        Some(Value::Known(like)) => tensor::element_type(like.tensor.dtype)?,
        None => {
            let to = call.attributes().int("to")?.ok_or_else(|| Problem::new("it does not say to what type"))?;
            let to = data_type(to).ok_or_else(|| Problem::new(format!("there is no type {to}")))?;
            let dtype = tensor::dtype(to).and_then(tensor::element_type);
            dtype.map_err(|_| call.of_known_alone(&format!("casts to {}", to.as_str_name())))?
        }
    };
    if builder.ty(x).dtype == to {
        return Ok(vec![Value::Node(x)]);
    }
    Ok(vec![Value::Node(builder.add(call, Op::Cast(to), &[x], vec![])?)])
}
