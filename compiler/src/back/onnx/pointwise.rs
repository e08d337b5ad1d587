//! Functions of one element, and chains of them.

use super::emitter::{Emitter, Is, own_weights};
use super::operator::{conv, names, with_weights};
use crate::graph::{Activation, Binary, Core, NodeId, Stage, WeightId};

/// What gives a value: the node as a whole, or a part of it.
enum Place<'a> {
    Whole,
    Part(&'a str),
}

impl Place<'_> {
    /// Adds a node of ONNX in this place and gives the name of its value, which nothing needs of the whole.
    fn add(
        &self,
        emitter: &mut Emitter<'_>,
        id: NodeId,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Is<'_>)],
    ) -> String {
        match self {
            Place::Whole => {
                emitter.whole(id, operator, inputs, attributes);
                String::new()
            }
            Place::Part(part) => emitter.part(id, part, operator, inputs, attributes),
        }
    }
}

/// An activation that is a node.
pub(super) fn activation(emitter: &mut Emitter<'_>, id: NodeId, activation: Activation, x: &str) {
    activate(emitter, id, activation, x, &Place::Whole);
}

/// The operator of a function of two numbers.
pub(super) fn binary(binary: Binary) -> &'static str {
    match binary {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Min => "Min",
        Binary::Max => "Max",
        Binary::Pow => "Pow",
    }
}

fn activate(emitter: &mut Emitter<'_>, id: NodeId, activation: Activation, x: &str, place: &Place<'_>) -> String {
    let simple = |emitter: &mut Emitter<'_>, operator: &str, attributes: &[(&str, Is<'_>)]| {
        place.add(emitter, id, operator, &[x], attributes)
    };
    match activation {
        Activation::Relu => simple(emitter, "Relu", &[]),
        Activation::Clip { lo, hi } => {
            let mut bound = |part, value: f32, none: f32| {
                if value == none { String::new() } else { emitter.floats(id, part, &[], &[value]) }
            };
            let lo = bound("min", lo.get(), f32::NEG_INFINITY);
            let hi = bound("max", hi.get(), f32::INFINITY);
            let mut inputs = vec![x, &lo, &hi];
            // Inputs at the end that are not given are left out.
            while inputs.last().is_some_and(|input| input.is_empty()) {
                inputs.pop();
            }
            place.add(emitter, id, "Clip", &inputs, &[])
        }
        Activation::LeakyRelu { slope } => simple(emitter, "LeakyRelu", &[("alpha", Is::Float(slope.get()))]),
        Activation::Abs => simple(emitter, "Abs", &[]),
        Activation::Elu { alpha } => simple(emitter, "Elu", &[("alpha", Is::Float(alpha.get()))]),
        Activation::Sigmoid => simple(emitter, "Sigmoid", &[]),
        Activation::HardSigmoid => {
            simple(emitter, "HardSigmoid", &[("alpha", Is::Float(1.0 / 6.0)), ("beta", Is::Float(0.5))])
        }
        Activation::Tanh => simple(emitter, "Tanh", &[]),
        Activation::Silu => {
            let gate = emitter.part(id, "sigmoid", "Sigmoid", &[x], &[]);
            place.add(emitter, id, "Mul", &[x, &gate], &[])
        }
        Activation::HardSwish => simple(emitter, "HardSwish", &[]),
        Activation::Gelu => {
            let [root, one, half] = [("sqrt2", std::f32::consts::SQRT_2), ("one", 1.0), ("half", 0.5)]
                .map(|(part, value)| emitter.floats(id, part, &[], &[value]));
            let scaled = emitter.part(id, "scaled", "Div", &[x, &root], &[]);
            let erf = emitter.part(id, "erf", "Erf", &[&scaled], &[]);
            let shifted = emitter.part(id, "shifted", "Add", &[&erf, &one], &[]);
            let product = emitter.part(id, "product", "Mul", &[x, &shifted], &[]);
            place.add(emitter, id, "Mul", &[&product, &half], &[])
        }
        Activation::GeluTanh => {
            // x * sigmoid(x * (linear + cubic * x^2)), which says the same and loses nothing where it is small.
            let rate = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
            let [linear, cubic] = [("linear", rate), ("cubic", 0.044_715 * rate)]
                .map(|(part, value)| emitter.floats(id, part, &[], &[value as f32]));
            let square = emitter.part(id, "square", "Mul", &[x, x], &[]);
            let scaled = emitter.part(id, "scaled", "Mul", &[&square, &cubic], &[]);
            let shifted = emitter.part(id, "shifted", "Add", &[&scaled, &linear], &[]);
            let inner = emitter.part(id, "inner", "Mul", &[x, &shifted], &[]);
            let share = emitter.part(id, "share", "Sigmoid", &[&inner], &[]);
            place.add(emitter, id, "Mul", &[x, &share], &[])
        }
        Activation::Exp => simple(emitter, "Exp", &[]),
        Activation::Log => simple(emitter, "Log", &[]),
        Activation::Sqrt => simple(emitter, "Sqrt", &[]),
        Activation::Erf => simple(emitter, "Erf", &[]),
        Activation::Softplus => simple(emitter, "Softplus", &[]),
        Activation::Mish => {
            let inner = emitter.part(id, "softplus", "Softplus", &[x], &[]);
            let gate = emitter.part(id, "tanh", "Tanh", &[&inner], &[]);
            place.add(emitter, id, "Mul", &[x, &gate], &[])
        }
        Activation::Quantize { scale, zero, lo, hi } => {
            let [scale, zero, lo, hi] = [("scale", scale), ("zero", zero), ("min", lo), ("max", hi)]
                .map(|(part, value)| emitter.floats(id, part, &[], &[value.get()]));
            let quotient = emitter.part(id, "quotient", "Div", &[x, &scale], &[]);
            let rounded = emitter.part(id, "rounded", "Round", &[&quotient], &[]);
            let shifted = emitter.part(id, "shifted", "Add", &[&rounded, &zero], &[]);
            place.add(emitter, id, "Clip", &[&shifted, &lo, &hi], &[])
        }
    }
}

/// A fused node, part by part.
pub(super) fn fused(emitter: &mut Emitter<'_>, id: NodeId, before: &[Stage], core: Core, after: &[Stage]) {
    let node = emitter.graph.node(id);
    let operands = emitter.operands(id);
    let mut rest = operands[1..].iter().map(String::as_str);
    let (own, of_stages) = node.weights.split_at(own_weights(core));
    let mut of_stages = of_stages.iter().copied();
    let mut x = operands[0].clone();
    let rank = emitter.operand_type(id, 0).shape.len();
    for stage in before {
        x = add_stage(emitter, id, *stage, &x, rank, &mut rest, &mut of_stages, &Place::Part("before"));
    }
    let place = if after.is_empty() { Place::Whole } else { Place::Part("core") };
    match core {
        Core::Conv(attributes) => {
            let inputs = with_weights(emitter, id, &x, own);
            x = place.add(emitter, id, "Conv", &names(&inputs), &conv(&attributes));
        }
        Core::Linear(_) => {
            let inputs = with_weights(emitter, id, &x, own);
            x = place.add(emitter, id, "Gemm", &names(&inputs), &[("transB", Is::Int(1))]);
        }
        Core::Identity => {
            if after.is_empty() {
                emitter.whole(id, "Identity", &[&x], &[]);
            }
        }
    }
    for (i, stage) in after.iter().enumerate() {
        let place = if i + 1 == after.len() { Place::Whole } else { Place::Part("after") };
        x = add_stage(emitter, id, *stage, &x, rank, &mut rest, &mut of_stages, &place);
    }
}

fn add_stage<'a>(
    emitter: &mut Emitter<'_>,
    id: NodeId,
    stage: Stage,
    x: &str,
    rank: usize,
    operands: &mut impl Iterator<Item = &'a str>,
    weights: &mut impl Iterator<Item = WeightId>,
    place: &Place<'_>,
) -> String {
    let Some(operand) = (match stage {
        Stage::Affine | Stage::Activate(_) => Some(""),
        Stage::Add | Stage::Scale => operands.next(),
    }) else {
        unreachable!("inference counts the operands of stages");
    };
    match stage {
        Stage::Affine => {
            let (Some(scale), Some(shift)) = (weights.next(), weights.next()) else {
                unreachable!("inference counts the weights of stages");
            };
            let [scale, shift] = [("scale", scale), ("shift", shift)].map(|(part, vector)| {
                // One number a channel, which stands before rows and columns.
                let mut shape = emitter.pool.shape(vector).to_vec();
                shape.resize(rank - 1, 1);
                let vector = emitter.pool.reshape(vector, &shape);
                emitter.weight(id, part, vector)
            });
            let scaled = emitter.part(id, "scaled", "Mul", &[x, &scale], &[]);
            place.add(emitter, id, "Add", &[&scaled, &shift], &[])
        }
        Stage::Activate(activation) => activate(emitter, id, activation, x, place),
        Stage::Add => place.add(emitter, id, "Add", &[x, operand], &[]),
        Stage::Scale if rank == 2 => {
            let factors = emitter.part(id, "factors", "Flatten", &[operand], &[("axis", Is::Int(1))]);
            place.add(emitter, id, "Mul", &[x, &factors], &[])
        }
        Stage::Scale => place.add(emitter, id, "Mul", &[x, operand], &[]),
    }
}
