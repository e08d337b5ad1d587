//! Functions, normalizations and reductions that are made of others, held against their formulas.

use super::answers::of;
use super::model::{Is, Model};
use super::{Import, answers, imported, mistakes, near, ramp};
use crate::graph::interp;
use crate::kernel;
use crate::pipeline::{Options, compile};
use crate::target::Target;

fn by(x: &[f32], f: impl Fn(f64) -> f64) -> Vec<f32> {
    x.iter().map(|&v| f(f64::from(v)) as f32).collect()
}

#[test]
fn exponentials_and_logarithms_are_their_formulas() {
    let check = |op: &str, x: &[f32], f: &dyn Fn(f64) -> f64| {
        near(&of(Model::new(18).input("x", &[2, 3, 2, 2]), op, "x", &[], x), &by(x, f), 1e-5);
    };
    let x = ramp(24);
    let positive: Vec<f32> = (0..24).map(|i| (i as f32 * 1.7).exp2() * 1e-6).collect();
    let softplus = |v: f64| v.max(0.0) + (-v.abs()).exp().ln_1p();
    check("Log", &positive, &f64::ln);
    check("Sqrt", &positive, &f64::sqrt);
    check("Reciprocal", &positive[12..].repeat(2), &|v| 1.0 / v);
    check("Softplus", &x, &softplus);
    check("Softplus", &x.iter().map(|v| v * 100.0).collect::<Vec<f32>>(), &softplus);
    check("Mish", &x, &|v| v * softplus(v).tanh());
    check("Softsign", &x, &|v| v / (1.0 + v.abs()));
    // Of 0, of what is negative, and of what is none: the ends of their domains.
    let ends = [0.0, -1.0, f32::INFINITY, f32::NAN];
    let of_ends = |op: &str| of(Model::new(18).input("x", &[4]), op, "x", &[], &ends);
    near(&of_ends("Log"), &[f32::NEG_INFINITY, f32::NAN, f32::INFINITY, f32::NAN], 0.0);
    near(&of_ends("Sqrt"), &[0.0, f32::NAN, f32::INFINITY, f32::NAN], 0.0);
}

#[test]
fn the_error_function_has_its_values() {
    // Abramowitz and Stegun 1964, table 7.1.
    let x = [0.0, 0.1, 0.5, 1.0, 1.5, 2.0, -0.1, -1.0, 1e-4, f32::INFINITY];
    let expected = [
        0.0,
        0.112_462_92,
        0.520_499_9,
        0.842_700_8,
        0.966_105_15,
        0.995_322_3,
        -0.112_462_92,
        -0.842_700_8,
        1.128_379_2e-4,
        1.0,
    ];
    let found = of(Model::new(18).input("x", &[10]), "Erf", "x", &[], &x);
    near(&found, &expected, 1e-6);
    assert!((found[8] / expected[8] - 1.0).abs() < 1e-3, "{}", found[8]);
}

#[test]
fn powers_and_extremes_take_two_values() {
    let infinity = f32::INFINITY;
    let a =
        vec![-2.0, -2.0, -1.0, 0.0, 0.0, 1.0, 2.0, 9.0, f32::NAN, f32::NAN, 3.0, -8.0, -1.0, -1.0, 1.0, 0.0, -2.0, 0.5];
    // Above 2^22 odd exponents are hard to tell, above 2^24 there are none.
    let b = vec![
        3.0,
        2.0,
        0.5,
        0.0,
        2.0,
        infinity,
        -1.0,
        0.5,
        0.0,
        1.0,
        f32::NAN,
        -3.0,
        4_194_305.0,
        16_777_218.0,
        f32::NAN,
        1e-40,
        infinity,
        -infinity,
    ];
    let pair = |op: &str| {
        let model = Model::new(18).input("a", &[18]).input("b", &[18]).node(op, "a b", "y", &[]).output("y");
        answers(&model, &[a.clone(), b.clone()]).remove(0)
    };
    let each = |f: &dyn Fn(f32, f32) -> f32| a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect::<Vec<f32>>();
    near(&pair("Pow"), &each(&|a, b| f64::from(a).powf(b.into()) as f32), 1e-5);
    let nan = |a: f32, b: f32| a.is_nan() || b.is_nan();
    near(&pair("Min"), &each(&|a, b| if nan(a, b) { f32::NAN } else { a.min(b) }), 0.0);
    near(&pair("Max"), &each(&|a, b| if nan(a, b) { f32::NAN } else { a.max(b) }), 0.0);
    // Three, of which two broadcast.
    let model = Model::new(18)
        .input("a", &[2, 3])
        .input("b", &[3])
        .weight("c", &[2, 1], &[0.5, -9.0])
        .node("Max", "a b c", "y", &[])
        .output("y");
    let found = answers(&model, &[vec![1.0, -1.0, 0.0, -2.0, 5.0, -4.0], vec![0.0, 0.25, 3.0]]).remove(0);
    near(&found, &[1.0, 0.5, 3.0, 0.0, 5.0, 3.0], 0.0);
    // Exponents that are known.
    let x: Vec<f32> = (1..=6).map(|i| i as f32 * 0.5).collect();
    for exponent in [0.5, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 2.5] {
        let model = Model::new(18).input("x", &[6]).weight("e", &[], &[exponent]);
        near(&of(model, "Pow", "x e", &[], &x), &by(&x, |v| v.powf(exponent.into())), 1e-5);
    }
}

#[test]
fn logarithms_of_softmax_lose_nothing() {
    let x: Vec<f32> = ramp(24).iter().map(|v| v * 40.0).collect();
    let shape = [2, 3, 2, 2];
    let expected = |group: &dyn Fn(usize) -> usize| -> Vec<f32> {
        let of = |g: usize| (0..24).filter(move |&i| group(i) == g);
        let log = |g: usize| {
            let most = of(g).map(|i| f64::from(x[i])).fold(f64::NEG_INFINITY, f64::max);
            most + of(g).map(|i| (f64::from(x[i]) - most).exp()).sum::<f64>().ln()
        };
        (0..24).map(|i| (f64::from(x[i]) - log(group(i))) as f32).collect()
    };
    let found =
        |opset, axis| of(Model::new(opset).input("x", &shape), "LogSoftmax", "x", &[("axis", Is::Int(axis))], &x);
    near(&found(13, -1), &expected(&|i| i / 2), 1e-6);
    near(&found(13, 1), &expected(&|i| i / 12 * 4 + i % 4), 1e-6);
    near(&found(11, 1), &expected(&|i| i / 12), 1e-6);
}

#[test]
fn normalizations_are_their_formulas() {
    let (n, c) = (2, 3);
    let (scale, bias) = ([1.0f32, -2.0, 0.5], [0.0f32, 1.0, -1.0]);
    for pixels in [vec![5i64], vec![2, 3], vec![2, 1, 3]] {
        let each: usize = pixels.iter().product::<i64>() as usize;
        let x: Vec<f32> = (0..n * c * each).map(|i| (i * 37 % 11) as f32 * 0.5 - 2.0).collect();
        let shape = [&[n as i64, c as i64], pixels.as_slice()].concat();
        let model = Model::new(17).input("x", &shape).weight("s", &[3], &scale).weight("b", &[3], &bias);
        let expected: Vec<f32> = (0..x.len())
            .map(|i| {
                let map = &x[i / each * each..(i / each + 1) * each];
                let mean = map.iter().sum::<f32>() / each as f32;
                let var = map.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / each as f32;
                (x[i] - mean) / (var + 0.25).sqrt() * scale[i / each % c] + bias[i / each % c]
            })
            .collect();
        let eps = [("epsilon", Is::Float(0.25))];
        near(&of(model, "InstanceNormalization", "x s b", &eps, &x), &expected, 1e-5);
    }
    // Three of five channels around each, one more of them behind than before where they are even.
    let x = ramp(2 * 5 * 3);
    for size in [2usize, 3] {
        let square = |n: usize, c: isize, p: usize| {
            if (0..5).contains(&c) { x[(n * 5 + c as usize) * 3 + p].powi(2) } else { 0.0 }
        };
        let expected: Vec<f32> = (0..x.len())
            .map(|i| {
                let (n, c, p) = (i / 15, (i / 3 % 5) as isize, i % 3);
                let (before, after) = (((size - 1) / 2) as isize, (size / 2) as isize);
                let sum: f32 = (c - before..=c + after).map(|c| square(n, c, p)).sum();
                x[i] / (2.0 + 0.5 / size as f32 * sum).powf(0.75)
            })
            .collect();
        let attributes = [("size", Is::Int(size as i64)), ("alpha", Is::Float(0.5)), ("bias", Is::Float(2.0))];
        near(&of(Model::new(13).input("x", &[2, 5, 1, 3]), "LRN", "x", &attributes, &x), &expected, 1e-5);
    }
}

/// Each of `count` parts of a value in a row, less its mean, by its deviation.
fn standardized(x: &[f32], count: usize, eps: f32) -> Vec<f32> {
    let part = |part: &[f32]| {
        let mean = part.iter().sum::<f32>() / part.len() as f32;
        let var = part.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / part.len() as f32;
        part.iter().map(|v| (v - mean) / (var + eps).sqrt()).collect::<Vec<f32>>()
    };
    x.chunks_exact(x.len() / count).flat_map(part).collect()
}

#[test]
fn layers_and_groups_are_normalized_by_their_own_statistics() {
    let x: Vec<f32> = ramp(2 * 3 * 5 * 4).iter().map(|v| v.sin()).collect();
    for (axis, parts, shape) in [(-1, 30, &[4][..]), (2, 6, &[5, 4]), (0, 1, &[2, 3, 5, 4]), (1, 2, &[5, 1])] {
        let len = shape.iter().product::<i64>() as usize;
        let (scale, bias): (Vec<f32>, Vec<f32>) = (0..len).map(|i| (i as f32 - 1.5, i as f32 * 0.5)).unzip();
        let model = Model::new(17)
            .input("x", &[2, 3, 5, 4])
            .weight("s", shape, &scale)
            .weight("b", shape, &bias)
            .node("LayerNormalization", "x s b", "y", &[("axis", Is::Int(axis)), ("epsilon", Is::Float(0.25))])
            .output("y");
        let place = |i: usize| if shape == [5, 1] { i / 4 % 5 } else { i % len };
        let normal = standardized(&x, parts, 0.25);
        let expected: Vec<f32> = normal.iter().enumerate().map(|(i, v)| v * scale[place(i)] + bias[place(i)]).collect();
        near(&answers(&model, std::slice::from_ref(&x))[0], &expected, 1e-5);
    }
    // Means and one over the deviations are results too; a bias there need not be.
    let model = Model::new(17)
        .input("x", &[1, 4])
        .weight("s", &[4], &[2.0; 4])
        .node("LayerNormalization", "x s", "y mean inverse", &[("epsilon", Is::Float(0.0))])
        .output("y")
        .output("mean")
        .output("inverse");
    let found = answers(&model, &[vec![1.0, 3.0, 5.0, 7.0]]);
    let root = 5f32.sqrt();
    near(&found[0], &[-6.0 / root, -2.0 / root, 2.0 / root, 6.0 / root], 1e-6);
    near(&[found[1][0], found[2][0]], &[4.0, 1.0 / root], 1e-6);
    // Three groups of two channels; scale and bias by group, then by channel.
    let x: Vec<f32> = ramp(2 * 6 * 5).iter().map(|v| v.cos()).collect();
    for (opset, vector) in [(18, 3), (21, 6)] {
        let (scale, bias): (Vec<f32>, Vec<f32>) = (0..vector).map(|i| (1.0 - i as f32, i as f32 * 0.5)).unzip();
        let model = Model::new(opset)
            .input("x", &[2, 6, 5])
            .weight("s", &[vector as i64], &scale)
            .weight("b", &[vector as i64], &bias)
            .node("GroupNormalization", "x s b", "y", &[("num_groups", Is::Int(3)), ("epsilon", Is::Float(0.25))])
            .output("y");
        let place = |i: usize| i / 5 % 6 * vector / 6;
        let normal = standardized(&x, 6, 0.25);
        let expected: Vec<f32> = normal.iter().enumerate().map(|(i, v)| v * scale[place(i)] + bias[place(i)]).collect();
        near(&answers(&model, std::slice::from_ref(&x))[0], &expected, 1e-5);
    }
    let odd = Model::new(18).input("x", &[2, 6, 5]).weight("s", &[4], &[1.0; 4]);
    let odd = odd.node("GroupNormalization", "x s s", "y", &[("num_groups", Is::Int(4))]).output("y");
    assert!(mistakes(odd.bytes()).contains("its num_groups do not divide 6 channels"));
}

#[test]
fn values_a_thousand_deviations_from_zero_are_normalized_to_a_millionth() {
    const EPS: f64 = 1e-5;
    let len = 2 * 3 * 91 * 90;
    // Of deviation 1, in no order that a sum could profit from.
    let x: Vec<f32> = (0..len).map(|i| 1000.0 + 1.414 * (i as f32 * 0.91).sin() + 0.01 * (i % 7) as f32).collect();
    let expected = |parts: usize| -> Vec<f32> {
        let part = |part: &[f32]| {
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let values: Vec<f64> = part.iter().map(|&v| v.into()).collect();
            let middle = mean(&values);
            let off: Vec<f64> = values.iter().map(|v| v - middle).collect();
            let var = mean(&off.iter().map(|v| v * v).collect::<Vec<f64>>());
            off.into_iter().map(|v| (v / (var + EPS).sqrt()) as f32).collect::<Vec<f32>>()
        };
        x.chunks_exact(len / parts).flat_map(part).collect()
    };
    let model = |opset: i64, op: &str, extent: usize, attributes: &[(&str, Is<'_>)]| {
        let (ones, zeros) = (vec![1.0; extent], vec![0.0; extent]);
        let model = Model::new(opset).input("x", &[2, 3, 91, 90]);
        let model = model.weight("s", &[extent as i64], &ones).weight("b", &[extent as i64], &zeros);
        model.node(op, "x s b", "y", attributes).output("y")
    };
    let eps = || ("epsilon", Is::Float(EPS as f32));
    for (model, parts) in [
        (model(17, "InstanceNormalization", 3, &[eps()]), 6),
        (model(21, "GroupNormalization", 3, &[eps(), ("num_groups", Is::Int(1))]), 2),
        (model(17, "LayerNormalization", 90, &[eps(), ("axis", Is::Int(-1))]), 2 * 3 * 91),
    ] {
        let Import { graph, tensors, .. } = imported(&model);
        let targets = vec![Target::Avx512, Target::Avx2, Target::Neon, Target::Base];
        let compiled = compile(graph, &Options { targets, ..Options::default() }).expect("it compiles");
        let inputs = std::slice::from_ref(&x);
        near(&interp::run_f32(&compiled.source, &tensors, inputs).expect("it runs")[0], &expected(parts), 1e-6);
        let options = kernel::interp::Options::default();
        let run = |program| kernel::interp::run_with(program, &tensors, inputs, options).expect("it runs");
        let found: Vec<Vec<f32>> = compiled.programs.iter().map(|program| run(program).swap_remove(0)).collect();
        found.iter().for_each(|found| near(found, &expected(parts), 1e-6));
        assert!(found[0] == found[1] && found[1] == found[2], "targets with FMA give other bits");
    }
}

#[test]
fn batch_norm_takes_any_number_of_axes() {
    let (gamma, beta, mean, var) = ([1.0, -2.0, 0.5], [0.0, 1.0, 2.0], [0.5, 0.0, -1.0], [1.0, 4.0, 0.25]);
    for (shape, each) in [(vec![2, 3], 1), (vec![2, 3, 5], 5), (vec![1, 3, 2, 2, 3], 12)] {
        let x = ramp(shape.iter().product::<i64>() as usize);
        let model = Model::new(9)
            .input("x", &shape)
            .weight("g", &[3], &gamma)
            .weight("b", &[3], &beta)
            .weight("m", &[3], &mean)
            .weight("v", &[3], &var);
        let channel = |i: usize| i / each % 3;
        let normal = |i: usize| (x[i] - mean[channel(i)]) / (var[channel(i)] + 0.5f32).sqrt();
        let expected: Vec<f32> = (0..x.len()).map(|i| normal(i) * gamma[channel(i)] + beta[channel(i)]).collect();
        near(&of(model, "BatchNormalization", "x g b m v", &[("epsilon", Is::Float(0.5))], &x), &expected, 1e-6);
    }
}

#[test]
fn sums_of_sizes_and_squares_are_reductions_too() {
    let x = ramp(12);
    let rows = |f: &dyn Fn(&[f32]) -> f32| x.chunks(4).map(f).collect::<Vec<f32>>();
    let found = |op: &str| of(Model::new(18).input("x", &[3, 4]).integers("a", &[1], &[1]), op, "x a", &[], &x);
    near(&found("ReduceL1"), &rows(&|row| row.iter().map(|v| v.abs()).sum()), 1e-6);
    near(&found("ReduceL2"), &rows(&|row| row.iter().map(|v| v * v).sum::<f32>().sqrt()), 1e-6);
    near(&found("ReduceSumSquare"), &rows(&|row| row.iter().map(|v| v * v).sum()), 1e-6);
    let positive: Vec<f32> = x.iter().map(|v| v.abs() + 1.0).collect();
    let model = Model::new(18).input("x", &[3, 4]).integers("a", &[1], &[1]);
    let sums: Vec<f32> = positive.chunks(4).map(|row| row.iter().sum::<f32>().ln()).collect();
    near(&of(model, "ReduceLogSum", "x a", &[], &positive), &sums, 1e-6);
}

#[test]
fn padding_takes_elements_from_inside() {
    let x = [1.0, 2.0, 3.0, 4.0];
    let padded = |mode: &str, pads: &[i64]| {
        let model = Model::new(19).input("x", &[1, 4]).integers("p", &[4], pads);
        of(model, "Pad", "x p", &[("mode", Is::Text(mode))], &x)
    };
    near(&padded("reflect", &[0, 2, 0, 3]), &[3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0], 0.0);
    near(&padded("edge", &[0, 2, 0, 1]), &[1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0], 0.0);
    near(&padded("wrap", &[0, 1, 0, 2]), &[4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0], 0.0);
    near(&padded("edge", &[0, -1, 0, 1]), &[2.0, 3.0, 4.0, 4.0], 0.0);
}

#[test]
fn elements_are_taken_in_any_order() {
    let x = ramp(10);
    let model = Model::new(13)
        .input("x", &[2, 5])
        .integers("starts", &[1], &[-1])
        .integers("ends", &[1], &[0])
        .integers("axes", &[1], &[1])
        .integers("steps", &[1], &[-2]);
    near(&of(model, "Slice", "x starts ends axes steps", &[], &x), &[x[4], x[2], x[9], x[7]], 0.0);
    let model = Model::new(13).input("x", &[2, 5]).integers("i", &[2, 2], &[0, -1, 3, 3]);
    let expected = [0, 4, 3, 3, 5, 9, 8, 8].map(|i| x[i]);
    near(&of(model, "Gather", "x i", &[("axis", Is::Int(1))], &x), &expected, 0.0);
}

/// The examples of ONNX's text of `GatherND`, of values that are computed.
#[test]
fn elements_are_taken_by_their_positions_along_several_axes() {
    let check = |shape: &[i64], listed: &[i64], positions: &[i64], batch: i64, expected: &[f32]| {
        let x = ramp(shape.iter().product::<i64>() as usize);
        let model = Model::new(13).input("x", shape).integers("i", listed, positions);
        let expected: Vec<f32> = expected.iter().map(|&at| x[at as usize]).collect();
        let attributes = [("batch_dims", Is::Int(batch))];
        near(&of(model, "GatherND", "x i", &attributes, &x), &expected, 0.0);
        // And of what is known.
        let known: Vec<i64> = (0..x.len() as i64).collect();
        let model = Model::new(13).input("x", &[x.len() as i64]).integers("i", listed, positions);
        let model = model.integers("places", shape, &known).node("GatherND", "places i", "at", &attributes);
        near(&of(model, "Gather", "x at", &[], &x), &expected, 0.0);
    };
    check(&[2, 2], &[2, 2], &[0, 0, 1, -1], 0, &[0.0, 3.0]);
    check(&[2, 2], &[2, 1], &[1, 0], 0, &[2.0, 3.0, 0.0, 1.0]);
    check(&[2, 2, 2], &[2, 2], &[0, 1, 1, 0], 0, &[2.0, 3.0, 4.0, 5.0]);
    check(&[2, 2, 2], &[2, 1, 2], &[0, 1, 1, 0], 0, &[2.0, 3.0, 4.0, 5.0]);
    check(&[2, 2, 2], &[2, 1], &[1, 0], 1, &[2.0, 3.0, 4.0, 5.0]);
    check(
        &[2, 3, 4],
        &[2, 3, 2, 1],
        &[3, 0, 1, 1, -1, 2, 0, 0, 1, 3, 2, 2],
        2,
        &[3.0, 0.0, 5.0, 5.0, 11.0, 10.0, 12.0, 12.0, 17.0, 19.0, 22.0, 22.0],
    );
    let refused = |listed: &[i64], positions: &[i64], batch: i64| {
        let model = Model::new(13).input("x", &[2, 3]).integers("i", listed, positions);
        mistakes(model.node("GatherND", "x i", "y", &[("batch_dims", Is::Int(batch))]).output("y").bytes())
    };
    for (listed, positions, batch, said) in [
        (&[1, 2][..], &[0, 3][..], 0, "there is no element 3 of 3"),
        (&[1, 3], &[0, 0, 0], 0, "take nothing of [2, 3]"),
        (&[1, 1], &[0], 1, "take nothing of [2, 3]"),
        (&[1, 1], &[0], -1, "take nothing of [2, 3]"),
    ] {
        let errors = refused(listed, positions, batch);
        assert!(errors.contains(said), "{errors}");
    }
}

/// However many pieces of an axis there are, they are one node with their indices.
#[test]
fn long_lists_of_elements_are_one_node() {
    const LONG: i64 = 1500;
    let x = ramp(2 * LONG as usize);
    let input = || Model::new(19).input("x", &[2, LONG]);
    let row = |row: usize, at: i64| x[row * LONG as usize + at as usize];
    let both =
        |list: &[i64]| (0..2).flat_map(|r| list.iter().map(move |&at| (r, at))).map(|(r, at)| row(r, at)).collect();
    let check = |model: Model, op: &str, operands: &str, attributes: &[(&str, Is<'_>)], list: &[i64]| {
        let expected: Vec<f32> = both(list);
        near(&of(model, op, operands, attributes, &x), &expected, 0.0);
    };
    let backwards: Vec<i64> = (0..LONG).rev().collect();
    let flip = input().integers("s", &[1], &[-1]).integers("e", &[1], &[i64::MIN]).integers("a", &[1], &[1]);
    check(flip.integers("t", &[1], &[-1]), "Slice", "x s e a t", &[], &backwards);
    let third: Vec<i64> = (1..LONG).step_by(3).collect();
    let strided = input().integers("s", &[1], &[1]).integers("e", &[1], &[i64::MAX]).integers("a", &[1], &[1]);
    check(strided.integers("t", &[1], &[3]), "Slice", "x s e a t", &[], &third);
    let mixed: Vec<i64> = (0..2000).map(|i| i * 7 % LONG).collect();
    check(input().integers("i", &[2000], &mixed), "Gather", "x i", &[("axis", Is::Int(1))], &mixed);
    let reflected: Vec<i64> = (1..700).rev().chain(0..LONG).chain((LONG - 800..LONG - 1).rev()).collect();
    let pad = input().integers("p", &[4], &[0, 699, 0, 799]);
    check(pad, "Pad", "x p", &[("mode", Is::Text("reflect"))], &reflected);
}

#[test]
fn expanding_repeats_what_is_there_once() {
    let x = [1.0, -0.0, f32::INFINITY];
    let model = Model::new(13).input("x", &[3, 1]).integers("shape", &[4], &[2, 1, 3, 2]);
    let rows = [1.0, 1.0, -0.0, -0.0, f32::INFINITY, f32::INFINITY];
    let found = of(model, "Expand", "x shape", &[], &x);
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&found), bits(&[rows, rows].concat()));
}

/// Numbers of the formulas that ONNX's text of `Resize` gives, at one line.
#[test]
fn resizing_by_cubics_and_by_regions_is_a_product_with_a_matrix() {
    let x = [1.0, 3.0, 2.0, 5.0];
    let resized = |sizes: &[i64], attributes: &[(&str, Is<'_>)], region: &[f32]| {
        let model = Model::new(18).input("x", &[1, 1, 1, 4]).weight("r", &[region.len() as i64], region).integers(
            "s",
            &[4],
            &[&[1, 1, 1], sizes].concat(),
        );
        of(model, "Resize", "x r _ s", attributes, &x)
    };
    let cubic = |d: f64| {
        let d = d.abs();
        let a = -0.75;
        if d <= 1.0 {
            (a + 2.0) * d.powi(3) - (a + 3.0) * d.powi(2) + 1.0
        } else if d < 2.0 {
            a * d.powi(3) - 5.0 * a * d.powi(2) + 8.0 * a * d - 4.0 * a
        } else {
            0.0
        }
    };
    let expected: Vec<f32> = (0..7)
        .map(|y| {
            let at = (f64::from(y) + 0.5) * 4.0 / 7.0 - 0.5;
            let near = at.floor() as i64;
            let taps = (near - 1..=near + 2).map(|i| cubic(at - i as f64) * f64::from(x[i.clamp(0, 3) as usize]));
            taps.sum::<f64>() as f32
        })
        .collect();
    near(&resized(&[7], &[("mode", Is::Text("cubic"))], &[]), &expected, 1e-5);
    // Half of the elements: each output is a hat over four of them.
    let antialias = [("mode", Is::Text("linear")), ("antialias", Is::Int(1))];
    let hat = |at: f64| {
        let shares = (-2..6).map(|i| ((1.0 - (f64::from(i) - at).abs() * 0.5).max(0.0), x[i.clamp(0, 3) as usize]));
        let (sum, all) = shares.fold((0.0, 0.0), |(sum, all), (w, x)| (sum + w * f64::from(x), all + w));
        (sum / all) as f32
    };
    near(&resized(&[2], &antialias, &[]), &[hat(0.5), hat(2.5)], 1e-5);
    // From the first element to beyond the last.
    let crop = [
        ("mode", Is::Text("linear")),
        ("coordinate_transformation_mode", Is::Text("tf_crop_and_resize")),
        ("extrapolation_value", Is::Float(-7.0)),
    ];
    let region = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.5];
    near(&resized(&[4], &crop, &region), &[1.0, 2.5, 5.0, -7.0], 1e-5);
}
