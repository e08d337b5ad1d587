//! What operators answer, held against formulas that share nothing with the conversion.

use super::super::proto::NodeProto;
use super::model::{Is, Model, floats, integers};
use super::{answers, imported, near, ramp};
use crate::front::{self, NoFiles};
use crate::graph::{Op, text};
use crate::kernel;
use crate::pipeline::{Options, compile};

/// The answer of one node to one input.
pub(super) fn of(model: Model, op: &str, inputs: &str, attributes: &[(&str, Is<'_>)], x: &[f32]) -> Vec<f32> {
    let model = model.node(op, inputs, "y", attributes).output("y");
    answers(&model, &[x.to_vec()]).remove(0)
}

fn by(x: &[f32], f: impl Fn(f64) -> f64) -> Vec<f32> {
    x.iter().map(|&v| f(f64::from(v)) as f32).collect()
}

#[test]
fn functions_of_one_number_are_their_formulas() {
    let x = ramp(24);
    let check = |opset: i64, op: &str, attributes: &[(&str, Is<'_>)], f: &dyn Fn(f64) -> f64| {
        near(&of(Model::new(opset).input("x", &[2, 3, 2, 2]), op, "x", attributes, &x), &by(&x, f), 1e-6);
    };
    check(17, "Relu", &[], &|v| v.max(0.0));
    check(17, "LeakyRelu", &[], &|v| if v < 0.0 { 0.01 * v } else { v });
    check(17, "LeakyRelu", &[("alpha", Is::Float(0.25))], &|v| if v < 0.0 { 0.25 * v } else { v });
    check(17, "Elu", &[("alpha", Is::Float(2.0))], &|v| if v < 0.0 { 2.0 * v.exp_m1() } else { v });
    check(17, "Selu", &[], &|v| 1.050701 * if v < 0.0 { 1.6732632 * v.exp_m1() } else { v });
    check(17, "Sigmoid", &[], &|v| 1.0 / (1.0 + (-v).exp()));
    check(17, "HardSigmoid", &[], &|v| (0.2 * v + 0.5).clamp(0.0, 1.0));
    check(17, "HardSigmoid", &[("alpha", Is::Float(0.16666667))], &|v| (v / 6.0 + 0.5).clamp(0.0, 1.0));
    let gelu = |v: f64| v * (1.0 + (0.797_884_560_8 * (v + 0.044_715 * v.powi(3))).tanh()) / 2.0;
    check(20, "Gelu", &[("approximate", Is::Text("tanh"))], &gelu);
    check(17, "HardSwish", &[], &|v| v * (v / 6.0 + 0.5).clamp(0.0, 1.0));
    check(17, "Tanh", &[], &f64::tanh);
    check(17, "Exp", &[], &f64::exp);
    check(17, "Abs", &[], &f64::abs);
    check(17, "Neg", &[], &|v| -v);
    check(10, "Clip", &[("min", Is::Float(-1.0)), ("max", Is::Float(0.5))], &|v| v.clamp(-1.0, 0.5));
    check(10, "Clip", &[("min", Is::Float(0.0))], &|v| v.max(0.0));
    check(10, "Clip", &[], &|v| v);
    check(17, "Identity", &[], &|v| v);
    check(7, "Dropout", &[], &|v| v);
    check(17, "Cast", &[("to", Is::Int(1))], &|v| v);
}

#[test]
fn bounds_and_exponents_may_be_inputs() {
    let x = ramp(12);
    let model = || {
        Model::new(17).input("x", &[1, 3, 2, 2]).weight("lo", &[], &[-0.5]).weight("hi", &[1], &[0.75]).weight(
            "two",
            &[],
            &[2.0],
        )
    };
    let check =
        |op: &str, inputs: &str, f: &dyn Fn(f64) -> f64| near(&of(model(), op, inputs, &[], &x), &by(&x, f), 1e-6);
    check("Clip", "x lo hi", &|v| v.clamp(-0.5, 0.75));
    check("Clip", "x _ hi", &|v| v.min(0.75));
    check("Max", "x lo", &|v| v.max(-0.5));
    check("Min", "hi x two", &|v| v.min(0.75));
    check("Pow", "x two", &|v| v * v);
}

#[test]
fn prelu_has_slopes_by_channel() {
    let (x, slope) = (ramp(12), [0.5, -2.0, 0.0]);
    let model = Model::new(17).input("x", &[1, 3, 2, 2]).weight("s", &[3, 1, 1], &slope);
    let expected: Vec<f32> = x.iter().enumerate().map(|(i, &v)| if v < 0.0 { v * slope[i / 4] } else { v }).collect();
    near(&of(model, "PRelu", "x s", &[], &x), &expected, 1e-6);
}

#[test]
fn pairs_broadcast() {
    let x = ramp(24);
    let w = [1.0, -2.0, 4.0];
    for (op, f) in [
        ("Add", (|a, b| a + b) as fn(f32, f32) -> f32),
        ("Sub", |a, b| a - b),
        ("Mul", |a, b| a * b),
        ("Div", |a, b| a / b),
    ] {
        let model = || Model::new(17).input("x", &[2, 3, 2, 2]).weight("w", &[3, 1, 1], &w);
        let expected = |f: &dyn Fn(f32, f32) -> f32| -> Vec<f32> {
            x.iter().enumerate().map(|(i, &v)| f(v + 10.0, w[i / 4 % 3])).collect()
        };
        let moved: Vec<f32> = x.iter().map(|v| v + 10.0).collect();
        near(&of(model(), op, "x w", &[], &moved), &expected(&f), 1e-6);
        near(&of(model(), op, "w x", &[], &moved), &expected(&|a, b| f(b, a)), 1e-6);
        let last = Model::new(17).input("x", &[2, 3, 2, 2]).weight("w", &[2], &w[..2]);
        let expected: Vec<f32> = moved.iter().enumerate().map(|(i, &v)| f(v, w[i % 2])).collect();
        near(&of(last, op, "x w", &[], &moved), &expected, 1e-6);
    }
}

#[test]
fn before_version_7_pairs_say_where_they_broadcast() {
    let x = ramp(24);
    let w = [1.0, -2.0, 4.0];
    let model = |opset| Model::new(opset).input("x", &[2, 3, 2, 2]).weight("w", &[3], &w);
    let old = [("broadcast", Is::Int(1)), ("axis", Is::Int(1))];
    let by_channel: Vec<f32> = x.iter().enumerate().map(|(i, v)| v * w[i / 4 % 3]).collect();
    near(&of(model(6), "Mul", "x w", &old, &x), &by_channel, 1e-6);
    let slopes: Vec<f32> = x.iter().zip(&by_channel).map(|(&v, &scaled)| if v < 0.0 { scaled } else { v }).collect();
    near(&of(model(6), "PRelu", "x w", &[], &x), &slopes, 1e-6);
}

#[test]
fn large_constants_stay_weights() {
    // By channel they are a stage, else a value.
    for (shape, is_stage) in [(&[1, 1100, 1, 1][..], true), (&[1, 1100, 2, 1], false)] {
        let len = shape.iter().product::<i64>() as usize;
        let (x, w) = (ramp(2200), ramp(len));
        for op in ["Add", "Mul"] {
            let model = Model::new(17).input("x", &[1, 1100, 2, 1]).weight("w", shape, &w);
            let model = model.node(op, "x w", "y", &[]).output("y");
            let import = imported(&model);
            assert_eq!(import.graph.ids().any(|id| matches!(import.graph.node(id).op, Op::Weight { .. })), !is_stage);
            let f = |a: f32, b: f32| if op == "Add" { a + b } else { a * b };
            let expected: Vec<f32> = (0..2200).map(|i| f(x[i], w[i * len / 2200])).collect();
            near(&answers(&model, std::slice::from_ref(&x))[0], &expected, 1e-6);
        }
    }
}

#[test]
fn a_bias_may_be_computed() {
    let x = ramp(8);
    let model = Model::new(17)
        .input("x", &[1, 2, 2, 2])
        .input("b", &[3])
        .weight("w", &[3, 2, 1, 1], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0])
        .node("Conv", "x w b", "y", &[])
        .output("y");
    let y = answers(&model, &[x.clone(), vec![10.0, 20.0, 30.0]]).remove(0);
    let expected: Vec<f32> =
        (0..12).map(|i| [x[i % 4], x[4 + i % 4], x[i % 4] + x[4 + i % 4]][i / 4] + [10.0, 20.0, 30.0][i / 4]).collect();
    near(&y, &expected, 1e-6);
}

#[test]
fn products_with_matrices_are_scaled_transposed_and_added_to() {
    // A [2, 3], B [3, 4].
    let (a, b) = (ramp(6), ramp(12));
    let product = |i: usize, j: usize| (0..3).map(|k| a[3 * i + k] * b[4 * k + j]).sum::<f32>();
    let transposed = |x: &[f32], columns: usize| -> Vec<f32> {
        (0..x.len()).map(|i| x[i % (x.len() / columns) * columns + i / (x.len() / columns)]).collect()
    };
    let scales = || vec![("alpha", Is::Float(0.5)), ("beta", Is::Float(2.0))];
    for (shape, c) in
        [(&[4][..], ramp(4)), (&[1, 4], ramp(4)), (&[], vec![3.0]), (&[2, 1], ramp(2)), (&[2, 4], ramp(8))]
    {
        let expected: Vec<f32> = (0..8)
            .map(|i| {
                let added = match (shape, c.len()) {
                    (_, 1) => c[0],
                    (&[2, 1], _) => c[i / 4],
                    (_, 4) => c[i % 4],
                    _ => c[i],
                };
                0.5 * product(i / 4, i % 4) + 2.0 * added
            })
            .collect();
        let model = Model::new(17).input("x", &[2, 3]).weight("b", &[3, 4], &b).weight("c", shape, &c);
        near(&of(model, "Gemm", "x b c", &scales(), &a), &expected, 1e-6);
        let model = Model::new(17).input("x", &[3, 2]).weight("b", &[4, 3], &transposed(&b, 4)).weight("c", shape, &c);
        let mut attributes = scales();
        attributes.extend([("transA", Is::Int(1)), ("transB", Is::Int(1))]);
        near(&of(model, "Gemm", "x b c", &attributes, &transposed(&a, 3)), &expected, 1e-6);
    }
    let expected: Vec<f32> = (0..8).map(|i| product(i / 4, i % 4)).collect();
    for shape in [&[2, 3][..], &[1, 2, 3], &[2, 1, 1, 3]] {
        let model = Model::new(17).input("x", shape).weight("b", &[3, 4], &b);
        near(&of(model, "MatMul", "x b", &[], &a), &expected, 1e-6);
    }
}

#[test]
fn batch_norm_is_its_formula() {
    let x = ramp(12);
    let (gamma, beta, mean, var) = ([1.0, -2.0, 0.5], [0.0, 1.0, 2.0], [0.5, 0.0, -1.0], [1.0, 4.0, 0.25]);
    let model = Model::new(9)
        .input("x", &[1, 3, 2, 2])
        .weight("g", &[3], &gamma)
        .weight("b", &[3], &beta)
        .weight("m", &[3], &mean)
        .weight("v", &[3], &var);
    let expected: Vec<f32> =
        (0..12).map(|i| (x[i] - mean[i / 4]) / (var[i / 4] + 0.5f32).sqrt() * gamma[i / 4] + beta[i / 4]).collect();
    near(&of(model, "BatchNormalization", "x g b m v", &[("epsilon", Is::Float(0.5))], &x), &expected, 1e-6);
}

#[test]
fn pools_count_as_they_say() {
    // One row of five: windows of two, a step of two, one column of padding before.
    let x = [1.0, 2.0, 4.0, 8.0, 16.0];
    let model = || Model::new(19).input("x", &[1, 1, 1, 5]);
    let window = |more: Vec<(&'static str, Is<'static>)>| {
        let mut attributes = vec![("kernel_shape", Is::Ints(&[1, 2])), ("strides", Is::Ints(&[1, 2]))];
        attributes.extend(more);
        attributes
    };
    let check = |op: &str, more: Vec<(&'static str, Is<'static>)>, expected: &[f32]| {
        near(&of(model(), op, "x", &window(more), &x), expected, 1e-6);
    };
    check("MaxPool", vec![], &[2.0, 8.0]);
    check("MaxPool", vec![("ceil_mode", Is::Int(1))], &[2.0, 8.0, 16.0]);
    check("MaxPool", vec![("dilations", Is::Ints(&[1, 2]))], &[4.0, 16.0]);
    check("AveragePool", vec![("pads", Is::Ints(&[0, 1, 0, 0]))], &[1.0, 3.0, 12.0]);
    let counted = vec![("pads", Is::Ints(&[0, 1, 0, 0])), ("count_include_pad", Is::Int(1))];
    check("AveragePool", counted, &[0.5, 3.0, 12.0]);
    check("AveragePool", vec![("auto_pad", Is::Text("SAME_UPPER"))], &[1.5, 6.0, 16.0]);
    check("AveragePool", vec![("auto_pad", Is::Text("SAME_LOWER"))], &[1.0, 3.0, 12.0]);
    near(&of(model(), "GlobalAveragePool", "x", &[], &x), &[6.2], 1e-6);
    near(&of(model(), "GlobalMaxPool", "x", &[], &x), &[16.0], 1e-6);
}

#[test]
fn reductions_run_along_their_axes() {
    let x = ramp(24);
    let at = |n: usize, c: usize, h: usize, w: usize| x[((n * 3 + c) * 2 + h) * 2 + w];
    let model = |opset| Model::new(opset).input("x", &[2, 3, 2, 2]);
    let maps: Vec<f32> = (0..6).map(|i| x[4 * i..4 * i + 4].iter().sum::<f32>() / 4.0).collect();
    near(&of(model(13), "ReduceMean", "x", &[("axes", Is::Ints(&[2, 3]))], &x), &maps, 1e-6);
    let flat = [("axes", Is::Ints(&[-1, -2])), ("keepdims", Is::Int(0))];
    near(&of(model(13), "ReduceMean", "x", &flat, &x), &maps, 1e-6);
    let places = || (0..8).map(|i| (i / 4, i / 2 % 2, i % 2));
    let channels: Vec<f32> = places().map(|(n, h, w)| (0..3).map(|c| at(n, c, h, w)).sum()).collect();
    let with_axes = |axes: &[i64]| model(18).integers("a", &[axes.len() as i64], axes);
    near(&of(with_axes(&[1]), "ReduceSum", "x a", &[], &x), &channels, 1e-6);
    let most: Vec<f32> = places().map(|(n, h, w)| at(n, 2, h, w)).collect();
    near(&of(with_axes(&[1]), "ReduceMax", "x a", &[("keepdims", Is::Int(0))], &x), &most, 1e-6);
    let least: Vec<f32> = (0..6).map(|i| x[i * 2]).collect();
    near(&of(with_axes(&[0, 3]), "ReduceMin", "x a", &[], &x), &least, 1e-6);
    near(&of(model(18), "ReduceSum", "x", &[], &x), &[x.iter().sum()], 1e-5);
    near(&of(model(18), "ReduceSum", "x", &[("noop_with_empty_axes", Is::Int(1))], &x), &x, 0.0);
}

#[test]
fn softmax_takes_one_axis_or_before_version_13_all_that_follow() {
    let x = ramp(12);
    let shares = |groups: &dyn Fn(usize) -> usize| -> Vec<f32> {
        let sum = |group| (0..12).filter(|&i| groups(i) == group).map(|i| f64::from(x[i]).exp()).sum::<f64>();
        (0..12).map(|i| (f64::from(x[i]).exp() / sum(groups(i))) as f32).collect()
    };
    let model = |opset| Model::new(opset).input("x", &[2, 3, 2]);
    near(&of(model(13), "Softmax", "x", &[], &x), &shares(&|i| i / 2), 1e-6);
    near(&of(model(13), "Softmax", "x", &[("axis", Is::Int(1))], &x), &shares(&|i| i / 6 * 2 + i % 2), 1e-6);
    near(&of(model(11), "Softmax", "x", &[], &x), &shares(&|i| i / 6), 1e-6);
    near(&of(model(11), "Softmax", "x", &[("axis", Is::Int(2))], &x), &shares(&|i| i / 2), 1e-6);
}

#[test]
fn slices_step_and_splits_part() {
    let x = ramp(2 * 3 * 5 * 6);
    let at = |n: usize, c: usize, h: usize, w: usize| x[((n * 3 + c) * 5 + h) * 6 + w];
    let slice = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
        let len = [starts.len() as i64];
        let model = Model::new(17).input("x", &[2, 3, 5, 6]);
        let model = model.integers("s", &len, starts).integers("e", &len, ends);
        of(model.integers("a", &len, axes).integers("t", &len, steps), "Slice", "x s e a t", &[], &x)
    };
    let picked = |c: &[usize], h: &[usize], w: &[usize]| -> Vec<f32> {
        let mut y = Vec::new();
        for n in 0..2 {
            c.iter().for_each(|&c| h.iter().for_each(|&h| w.iter().for_each(|&w| y.push(at(n, c, h, w)))));
        }
        y
    };
    let all = [0, 1, 2, 3, 4, 5];
    near(&slice(&[1, -3], &[i64::MAX, -1], &[1, 3], &[1, 1]), &picked(&[1, 2], &all[..5], &[3, 4]), 0.0);
    near(&slice(&[0, 1], &[5, 6], &[2, 3], &[2, 2]), &picked(&all[..3], &[0, 2, 4], &[1, 3, 5]), 0.0);
    near(&slice(&[0], &[i64::MAX], &[1], &[2]), &picked(&[0, 2], &all[..5], &all), 0.0);
    near(&slice(&[1], &[4], &[3], &[2]), &picked(&all[..3], &all[..5], &[1, 3]), 0.0);

    let model = Model::new(17)
        .input("x", &[2, 3, 5, 6])
        .integers("p", &[2], &[1, 4])
        .node("Split", "x p", "a b", &[("axis", Is::Int(2))])
        .node("Concat", "b a", "y", &[("axis", Is::Int(-2))])
        .output("y");
    near(&answers(&model, std::slice::from_ref(&x))[0], &picked(&all[..3], &[1, 2, 3, 4, 0], &all), 0.0);
}

#[test]
fn padding_surrounds_any_axis_and_cuts_where_it_is_negative() {
    let x = ramp(12);
    let pads = |pads: &[i64]| {
        let model = Model::new(17).input("x", &[1, 3, 2, 2]).integers("p", &[8], pads).weight("v", &[], &[7.0]);
        of(model, "Pad", "x p v", &[], &x)
    };
    let seven = |count: usize| vec![7.0; count];
    near(&pads(&[0, 1, 0, 0, 0, 2, 0, 0]), &[seven(4), x.clone(), seven(8)].concat(), 0.0);
    let rows = [&[7.0, 7.0, x[0], x[1], x[2], x[3]][..], &[7.0, 7.0, x[4], x[5], x[6], x[7]]].concat();
    near(&pads(&[0, 0, 1, 0, 0, -1, 0, 0]), &rows, 0.0);
    near(&pads(&[0, -2, -1, 0, 0, 0, 0, -1]), &[x[10]], 0.0);
}

#[test]
fn channels_become_pixels_and_back() {
    // Channels 0 to 7 at one pixel: blocks of 2×2 pixels of two channels.
    let x: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let block = || ("blocksize", Is::Int(2));
    let model = || Model::new(13).input("x", &[1, 8, 1, 1]);
    let dcr = [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0];
    near(&of(model(), "DepthToSpace", "x", &[block()], &x), &dcr, 0.0);
    near(&of(model(), "DepthToSpace", "x", &[block(), ("mode", Is::Text("CRD"))], &x), &x, 0.0);
    near(&of(Model::new(13).input("x", &[1, 2, 2, 2]), "SpaceToDepth", "x", &[block()], &dcr), &x, 0.0);
}

#[test]
fn shapes_that_exporters_compute_are_known() {
    // x.view(x.size(0), -1), as PyTorch exports it.
    let x = ramp(24);
    let model = Model::new(9)
        .input("x", &[2, 3, 2, 2])
        .integers("zero", &[], &[0])
        .integers("rest", &[], &[-1])
        .node("Shape", "x", "s", &[])
        .node("Gather", "s zero", "n", &[])
        .node("Unsqueeze", "n", "a", &[("axes", Is::Ints(&[0]))])
        .node("Unsqueeze", "rest", "b", &[("axes", Is::Ints(&[0]))])
        .node("Concat", "a b", "t", &[("axis", Is::Int(0))])
        .node("Reshape", "x t", "y", &[])
        .output("y");
    assert_eq!(text::print(&imported(&model).graph).matches("reshape").count(), 1);
    let import = imported(&model);
    assert_eq!(import.graph.node(import.graph.outputs()[0].node).ty.shape, [2, 12]);
    near(&answers(&model, std::slice::from_ref(&x))[0], &x, 0.0);

    // expand(-1, ..) as PyTorch exports it: Where(Equal(t, -1), ones, t).
    let model = Model::new(17)
        .input("x", &[1, 3, 1, 2])
        .integers("t", &[4], &[2, -1, 2, -1])
        .integers("four", &[1], &[4])
        .node("ConstantOfShape", "four", "ones", &[("value", Is::Tensor(integers("", &[1], &[1]).into()))])
        .node("Constant", "", "minus", &[("value", Is::Tensor(integers("", &[1], &[-1]).into()))])
        .node("Mul", "ones minus", "open", &[])
        .node("Equal", "t open", "is", &[])
        .node("Where", "is ones t", "shape", &[])
        .node("Expand", "x shape", "y", &[])
        .output("y");
    let x = ramp(6);
    let expected: Vec<f32> = (0..24).map(|i| x[i / 4 % 3 * 2 + i % 2]).collect();
    near(&answers(&model, &[x])[0], &expected, 0.0);

    // Ranges, casts, slices backwards, and a product of extents.
    let model = Model::new(17)
        .input("x", &[2, 3, 4])
        .integers("from", &[1], &[-1])
        .integers("to", &[1], &[-100])
        .integers("axis", &[1], &[0])
        .node("Shape", "x", "s", &[])
        .node("Slice", "s from to axis from", "back", &[])
        .node("Cast", "back", "f", &[("to", Is::Int(1))])
        .node("Cast", "f", "shape", &[("to", Is::Int(7))])
        .node("Reshape", "x shape", "y", &[])
        .output("y");
    let import = imported(&model);
    assert_eq!(import.graph.node(import.graph.outputs()[0].node).ty.shape, [4, 3, 2]);
}

#[test]
fn weights_are_computed_before_the_network_runs() {
    // A kernel that is transposed, scaled and joined; halves are widened.
    let half = |v: f32| half_bits(v).to_le_bytes();
    let mut halves = floats("h", &[1, 3], &[]);
    halves.data_type = Some(10);
    halves.raw_data = Some([1.0, -0.5, 2.0].into_iter().flat_map(half).collect::<Vec<u8>>().into());
    let mut model = Model::new(17).input("x", &[1, 2]).weight("w", &[3, 2], &ramp(6)).weight("two", &[], &[2.0]);
    model.graph().initializer.push(halves);
    let model = model
        .node("Transpose", "w", "wt", &[])
        .node("Mul", "wt two", "scaled", &[])
        .node("Cast", "h", "bias", &[("to", Is::Int(1))])
        .node("Gemm", "x scaled bias", "y", &[])
        .output("y");
    let w = ramp(6);
    let expected: Vec<f32> = (0..3).map(|o| 2.0 * (3.0 * w[2 * o] - w[2 * o + 1]) + [1.0, -0.5, 2.0][o]).collect();
    near(&answers(&model, &[vec![3.0, -1.0]])[0], &expected, 1e-6);
}

/// The bits of a half that holds a number exactly.
fn half_bits(v: f32) -> u16 {
    let bits = v.to_bits();
    (((bits >> 16) & 0x8000) | ((((bits >> 23) & 0xff) + 15 - 127) << 10) | ((bits >> 13) & 0x3ff)) as u16
}

#[test]
fn outputs_may_be_inputs_or_known() {
    let model = Model::new(17)
        .input("x", &[2])
        .weight("w", &[3], &[1.0, 2.0, 3.0])
        .node("Identity", "x", "y", &[])
        .node("Neg", "w", "z", &[])
        .output("y")
        .output("z");
    let outputs = answers(&model, &[vec![4.0, 5.0]]);
    assert_eq!(outputs, [vec![4.0, 5.0], vec![-1.0, -2.0, -3.0]]);
}

#[test]
fn nodes_are_named_as_in_the_file_and_place_their_mistakes_there() {
    let mut model =
        Model::new(17).input("x", &[1, 2]).node("Relu", "x", "r", &[]).node("Relu", "r", "y", &[]).output("y");
    let named = |node: &mut NodeProto, name: &str| node.name = Some(name.to_owned());
    named(&mut model.graph().node[0], "/block/Relu");
    named(&mut model.graph().node[1], "/block/Relu");
    let graph = imported(&model).graph;
    let names: Vec<&str> = graph.ids().map(|id| graph.node(id).origin.name.as_str()).collect();
    assert_eq!(names, ["x", "/block/Relu", "/block/Relu#2"]);
    assert_eq!(graph.name, "M");

    model.graph().node[1].op_type = Some("Gemm".to_owned());
    let said = super::mistakes(model.bytes());
    assert!(said.contains(" --> m.onnx:2:1"), "{said}");
    assert!(said.contains("2 | /block/Relu: y = Gemm(r)"), "{said}");
}

/// A network as PyTorch exports it has the kernels of the same network in the language.
#[test]
fn a_network_from_onnx_has_the_kernels_of_the_language() {
    let model = Model::new(17)
        .input("image", &[1, 3, 15, 15])
        .weight("c.weight", &[24, 3, 3, 3], &ramp(648))
        .weight("g", &[24], &ramp(24))
        .weight("b", &[24], &ramp(24))
        .weight("m", &[24], &ramp(24))
        .weight("v", &[24], &[1.0; 24])
        .weight("d.weight", &[24, 1, 3, 3], &ramp(216))
        .weight("l.weight", &[5, 24], &ramp(120))
        .weight("l.bias", &[5], &ramp(5))
        .integers("pads", &[8], &[0, 0, 0, 0, 0, 0, 1, 1])
        .weight("three", &[], &[3.0])
        .weight("zero", &[], &[0.0])
        .weight("six", &[], &[6.0])
        .node("Pad", "image pads", "p", &[])
        .node("Conv", "p c.weight", "c", &[("strides", Is::Ints(&[2, 2]))])
        .node("BatchNormalization", "c g b m v", "n", &[])
        .node("Add", "n three", "n3", &[])
        .node("Clip", "n3 zero six", "gate", &[])
        .node("Mul", "n gate", "product", &[])
        .node("Div", "product six", "h", &[])
        .node("Conv", "h d.weight", "d", &[("group", Is::Int(24)), ("pads", Is::Ints(&[1, 1, 1, 1]))])
        .node("Sigmoid", "d", "s", &[])
        .node("Mul", "d s", "silu", &[])
        .node("ReduceMean", "silu", "pooled", &[("axes", Is::Ints(&[-2, -1]))])
        .node("Flatten", "pooled", "f", &[])
        .node("Gemm", "f l.weight l.bias", "y", &[("transB", Is::Int(1))])
        .output("y");
    let spec = "pub net M(image: [1, 3, 15, 15]) {
        let x = image.pad([0, 0, 1, 1]).conv(24, 3, stride = 2, bias = false).bn().hard_swish();
        x.conv(24, 3, padding = 1, groups = 24, bias = false).silu().global_avg_pool().flatten().linear(5)
    }";
    let spec = front::parse_text("m.net", spec).expect("it parses");
    let declared =
        front::elaborate(&spec, "M", &Default::default(), &NoFiles).unwrap_or_else(|error| panic!("{error}"));
    let kernels = |graph| {
        let compiled = compile(graph, &Options::default()).expect("it compiles");
        let kernels = compiled.programs.iter().flat_map(|program| program.kernels.iter().map(kernel::text::kernel));
        kernels.collect::<Vec<String>>()
    };
    assert_eq!(kernels(imported(&model).graph), kernels(declared));
}

#[test]
fn a_vector_on_the_left_is_a_row_that_the_product_does_not_have() {
    let matrices: Vec<f32> = (0..12).map(|v| v as f32).collect();
    let column = |part: usize, at: usize| matrices[part * 6 + at] + 10.0 * matrices[part * 6 + 3 + at];
    let product = |shape: &[i64], x: &[f32]| {
        let len = shape.iter().product::<i64>() as usize;
        let model =
            Model::new(17).input("x", &[2]).weight("w", shape, &matrices[..len]).node("MatMul", "x w", "y", &[]);
        let model = model.output("y");
        let graph = imported(&model).graph;
        (graph.node(graph.outputs()[0].node).ty.shape.clone(), answers(&model, &[x.to_vec()]).remove(0))
    };
    let first: Vec<f32> = (0..3).map(|at| column(0, at)).collect();
    let both: Vec<f32> = (0..6).map(|at| column(at / 3, at % 3)).collect();
    assert_eq!(product(&[2, 3], &[1.0, 10.0]), (vec![3], first.clone()));
    assert_eq!(product(&[1, 2, 3], &[1.0, 10.0]), (vec![1, 3], first));
    assert_eq!(product(&[2, 2, 3], &[1.0, 10.0]), (vec![2, 3], both));
    assert_eq!(product(&[2], &[1.0, 10.0]), (vec![], vec![10.0]));
}

/// A product by its definition, with the parts of each side by their places among those of the result.
fn multiplied(a: &[f32], b: &[f32], [m, k, n]: [usize; 3], parts: &[(usize, usize)]) -> Vec<f32> {
    let element = |(p, q): (usize, usize), i: usize, j: usize| -> f32 {
        (0..k).map(|l| a[(p * m + i) * k + l] * b[(q * k + l) * n + j]).sum()
    };
    let each = |part| (0..m).flat_map(move |i| (0..n).map(move |j| (part, i, j)));
    parts.iter().flat_map(|&part| each(part)).map(|(part, i, j)| element(part, i, j)).collect()
}

#[test]
fn two_values_multiply_as_matrices_whose_parts_broadcast() {
    let product = |left: &[i64], right: &[i64]| {
        let model = Model::new(17).input("a", left).input("b", right).node("MatMul", "a b", "y", &[]).output("y");
        let graph = imported(&model).graph;
        let shape = graph.node(graph.outputs()[0].node).ty.shape.clone();
        let (a, b) = (ramp(left.iter().product::<i64>() as usize), ramp(right.iter().product::<i64>() as usize));
        (shape, answers(&model, &[a.clone(), b.clone()]).remove(0), a, b)
    };
    let check = |left: &[i64], right: &[i64], shape: &[usize], extents: [usize; 3], parts: &[(usize, usize)]| {
        let (found_shape, found, a, b) = product(left, right);
        assert_eq!(found_shape, shape, "{left:?} {right:?}");
        near(&found, &multiplied(&a, &b, extents, parts), 1e-5);
    };
    check(&[5, 7], &[7, 33], &[5, 33], [5, 7, 33], &[(0, 0)]);
    check(&[1, 40], &[40, 17], &[1, 17], [1, 40, 17], &[(0, 0)]);
    check(&[3, 5, 7], &[3, 7, 4], &[3, 5, 4], [5, 7, 4], &[(0, 0), (1, 1), (2, 2)]);
    check(&[2, 5, 7], &[7, 4], &[2, 5, 4], [5, 7, 4], &[(0, 0), (1, 0)]);
    check(&[5, 7], &[2, 7, 4], &[2, 5, 4], [5, 7, 4], &[(0, 0), (0, 1)]);
    let parts = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];
    check(&[2, 1, 3, 4], &[3, 4, 5], &[2, 3, 3, 5], [3, 4, 5], &parts);
    check(&[2, 1, 3, 4], &[1, 3, 4, 5], &[2, 3, 3, 5], [3, 4, 5], &parts);
    check(&[7], &[7], &[], [1, 7, 1], &[(0, 0)]);
    check(&[7], &[2, 7, 4], &[2, 4], [1, 7, 4], &[(0, 0), (0, 1)]);
    check(&[2, 3, 7], &[7], &[2, 3], [3, 7, 1], &[(0, 0), (1, 0)]);
}

#[test]
fn a_gemm_of_values_scales_and_adds() {
    let (a, b, c) = (ramp(3 * 5), ramp(4 * 5), ramp(4));
    let model = Model::new(17)
        .input("a", &[5, 3])
        .input("b", &[4, 5])
        .input("c", &[4])
        .node(
            "Gemm",
            "a b c",
            "y",
            &[("transA", Is::Int(1)), ("transB", Is::Int(1)), ("alpha", Is::Float(0.5)), ("beta", Is::Float(-2.0))],
        )
        .output("y");
    let expected: Vec<f32> = (0..12)
        .map(|at| {
            let (i, j) = (at / 4, at % 4);
            0.5 * (0..5).map(|l| a[l * 3 + i] * b[j * 5 + l]).sum::<f32>() - 2.0 * c[j]
        })
        .collect();
    near(&answers(&model, &[a.clone(), b.clone(), c.clone()])[0], &expected, 1e-5);
}

#[test]
fn without_axes_each_element_is_reduced_by_itself() {
    let x = ramp(6);
    let noop = [("noop_with_empty_axes", Is::Int(1))];
    let reduce = |op: &str| of(Model::new(18).input("x", &[2, 3]), op, "x", &noop, &x);
    near(&reduce("ReduceSum"), &x, 0.0);
    near(&reduce("ReduceL1"), &by(&x, f64::abs), 0.0);
    near(&reduce("ReduceL2"), &by(&x, f64::abs), 1e-6);
    near(&reduce("ReduceSumSquare"), &by(&x, |v| v * v), 1e-6);
}

#[test]
fn constants_of_a_higher_rank_give_it_to_the_result() {
    let shape = |op: &str, value: f32| {
        let model = Model::new(17).input("x", &[2, 3]).weight("c", &[1, 1, 1, 1], &[value]).node(op, "x c", "y", &[]);
        let graph = imported(&model.output("y")).graph;
        graph.node(graph.outputs()[0].node).ty.shape.clone()
    };
    for op in ["Pow", "Min", "Max", "Add"] {
        assert_eq!(shape(op, 2.0), [1, 1, 2, 3], "{op}");
    }
}

#[test]
fn bounds_and_slopes_may_be_computed() {
    let (x, other) = (ramp(6), vec![0.5; 6]);
    let model = |op: &str, inputs: &str| {
        Model::new(17).input("x", &[2, 3]).input("other", &[2, 3]).node(op, inputs, "y", &[]).output("y")
    };
    let inputs = [x.clone(), other];
    near(&answers(&model("PRelu", "x other"), &inputs)[0], &by(&x, |v| if v < 0.0 { v / 2.0 } else { v }), 1e-6);
    near(&answers(&model("Clip", "x _ other"), &inputs)[0], &by(&x, |v| v.min(0.5)), 0.0);
}

#[test]
fn every_coordinate_transformation_of_a_resize_is_its_formula() {
    let x = ramp(4);
    let nearest = |coordinates: &str| {
        let attributes =
            [("coordinate_transformation_mode", Is::Text(coordinates)), ("nearest_mode", Is::Text("floor"))];
        let model = Model::new(11).input("x", &[1, 1, 1, 4]).weight("roi", &[8], &[0.0; 8]);
        let model = model.weight("scales", &[4], &[1.0, 1.0, 1.0, 2.0]);
        of(model, "Resize", "x roi scales", &attributes, &x)
    };
    let at = |places: [usize; 8]| places.map(|place| x[place]).to_vec();
    near(&nearest("tf_half_pixel_for_nn"), &at([0, 0, 1, 1, 2, 2, 3, 3]), 0.0);
    near(&nearest("asymmetric"), &at([0, 0, 1, 1, 2, 2, 3, 3]), 0.0);
    near(&nearest("half_pixel"), &at([0, 0, 0, 1, 1, 2, 2, 3]), 0.0);
}
