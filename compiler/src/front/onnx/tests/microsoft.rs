//! Quantized operators of ONNX Runtime's own, held against their formulas.

use super::super::proto::tensor_proto::DataType;
use super::mistakes;
use super::model::{Is, Model};
use super::quantized::{bytes, exactly, signed, wide};
use crate::graph::Elements;

/// A number as the u8 that stands for it.
fn byte(number: f32, scale: f32, zero: f32) -> u8 {
    ((number / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8
}

/// A file with scales `s0`, `s1`, … and zero points `z0`, `z1`, … of u8.
fn quantized(scales: &[f32], zeros: &[i32]) -> Model {
    let mut model = Model::new(13);
    for (i, (&scale, &zero)) in scales.iter().zip(zeros).enumerate() {
        model = model.weight(&format!("s{i}"), &[], &[scale]).typed(&format!("z{i}"), DataType::Uint8, &[], &[zero]);
    }
    model
}

#[test]
fn pairs_broadcast_and_round_once() {
    let (a, b) = (bytes(2 * 3 * 5), bytes(3));
    let model = quantized(&[0.25, 0.5, 0.75], &[7, 130, 9])
        .typed_input("a", DataType::Uint8, &[2, 3, 5])
        .typed_input("b", DataType::Uint8, &[3, 1])
        .node("com.microsoft.QLinearAdd", "a s0 z0 b s1 z1 s2 z2", "sum", &[])
        .node("com.microsoft.QLinearMul", "a s0 z0 b s1 z1 s2 z2", "product", &[])
        .output("sum")
        .output("product");
    let number = |v: u8, zero: f32, scale: f32| (f32::from(v) - zero) * scale;
    let each = |of: fn(f32, f32) -> f32| -> Vec<u8> {
        let pairs = a.iter().enumerate().map(|(i, &a)| (number(a, 7.0, 0.25), number(b[i / 5 % 3], 130.0, 0.5)));
        pairs.map(|(a, b)| byte(of(a, b), 0.75, 9.0)).collect()
    };
    let expected = [Elements::U8(each(|a, b| a + b)), Elements::U8(each(|a, b| a * b))];
    assert_eq!(exactly(&model, &[Elements::U8(a.clone()), Elements::U8(b.clone())]), expected);
}

/// Without a zero point the result is of the type of the operands.
#[test]
fn zero_points_may_be_left_out() {
    let model = Model::new(13)
        .typed_input("a", DataType::Int8, &[4])
        .typed("b", DataType::Int8, &[1], &[-3])
        .weight("s", &[], &[0.5])
        .typed("z", DataType::Int8, &[], &[0])
        .node("com.microsoft.QLinearAdd", "a s z b s z s _", "y", &[])
        .output("y");
    let found = exactly(&model, &[Elements::I8(vec![-128, 0, 5, 127])]);
    assert_eq!(found, [Elements::I8(vec![-128, -3, 2, 124])]);
}

#[test]
fn parts_have_scales_of_their_own() {
    let (a, b) = (bytes(2 * 2 * 3), bytes(2 * 3));
    let model = quantized(&[0.5, 0.25, 1.0], &[10, 20, 30])
        .typed_input("a", DataType::Uint8, &[2, 2, 3])
        .typed_input("b", DataType::Uint8, &[2, 1, 3])
        .node("com.microsoft.QLinearConcat", "s0 z0 a s1 z1 b s2 z2", "y", &[("axis", Is::Int(1))])
        .output("y");
    let of = |part: &[u8], zero: f32, scale: f32| -> Vec<u8> {
        part.iter().map(|&v| byte((f32::from(v) - zero) * scale, 0.5, 10.0)).collect()
    };
    let (from_a, from_b) = (of(&a, 20.0, 0.25), of(&b, 30.0, 1.0));
    let expected = [&from_a[..6], &from_b[..3], &from_a[6..], &from_b[3..]].concat();
    assert_eq!(exactly(&model, &[Elements::U8(a), Elements::U8(b)]), [Elements::U8(expected)]);
}

#[test]
fn means_of_integers_are_quantized() {
    let x = bytes(2 * 3 * 4 * 4);
    let model = quantized(&[0.5, 0.75], &[100, 90])
        .typed_input("x", DataType::Uint8, &[2, 3, 4, 4])
        .node("com.microsoft.QLinearGlobalAveragePool", "x s0 z0 s1 z1", "all", &[("channels_last", Is::Int(0))])
        .node(
            "com.microsoft.QLinearAveragePool",
            "x s0 z0 s1 z1",
            "some",
            &[("kernel_shape", Is::Ints(&[2, 2])), ("strides", Is::Ints(&[2, 2]))],
        )
        .output("all")
        .output("some");
    let mean = |of: &[u8]| of.iter().map(|&v| (f32::from(v) - 100.0) * 0.5).sum::<f32>() / of.len() as f32;
    let all = x.chunks_exact(16).map(|map| byte(mean(map), 0.75, 90.0)).collect();
    let windows = x.chunks_exact(16).flat_map(|map| {
        [0, 2, 8, 10].map(|at| byte(mean(&[map[at], map[at + 1], map[at + 4], map[at + 5]]), 0.75, 90.0))
    });
    let expected = [Elements::U8(all), Elements::U8(windows.collect())];
    assert_eq!(exactly(&model, &[Elements::U8(x.clone())]), expected);

    let last = quantized(&[1.0], &[0]).typed_input("x", DataType::Uint8, &[1, 4, 4, 3]);
    let last =
        last.node("com.microsoft.QLinearGlobalAveragePool", "x s0 z0 s0 z0", "y", &[("channels_last", Is::Int(1))]);
    assert!(mistakes(last.output("y").bytes()).contains("its channels are its last axis"));
}

#[test]
fn functions_of_integers_are_quantized() {
    let x: Vec<u8> = (0..40).map(|i| i * 6).collect();
    let (scale, zero) = (0.05f32, 128.0);
    let numbers: Vec<f32> = x.iter().map(|&v| (f32::from(v) - zero) * scale).collect();
    let of = |op: &str, to: f32, attributes: &[(&str, Is<'_>)]| {
        let model = quantized(&[scale, to], &[128, 3]).typed_input("x", DataType::Uint8, &[4, 10]);
        let model = model.node(op, "x s0 z0 s1 z1", "y", attributes).output("y");
        exactly(&model, &[Elements::U8(x.clone())]).remove(0)
    };
    let sigmoid = numbers.iter().map(|x| byte(1.0 / (1.0 + (-x).exp()), 0.0041, 3.0));
    assert_eq!(of("com.microsoft.QLinearSigmoid", 0.0041, &[]), Elements::U8(sigmoid.collect()));
    let leaky = numbers.iter().map(|&x| byte(if x < 0.0 { x * -0.3 } else { x }, 0.031, 3.0));
    let slope = [("alpha", Is::Float(-0.3))];
    assert_eq!(of("com.microsoft.QLinearLeakyRelu", 0.031, &slope), Elements::U8(leaky.collect()));
    let softmax = numbers.chunks_exact(10).flat_map(|row| {
        let sum: f32 = row.iter().map(|x| x.exp()).sum();
        row.iter().map(move |x| byte(x.exp() / sum, 0.0037, 3.0))
    });
    let softmax = Elements::U8(softmax.collect());
    let version = |opset| [("axis", Is::Int(1)), ("opset", Is::Int(opset))];
    assert_eq!(of("com.microsoft.QLinearSoftmax", 0.0037, &version(13)), softmax);
    let other = quantized(&[1.0], &[0]).typed_input("x", DataType::Uint8, &[4, 10]);
    let other = other.node("com.microsoft.QLinearSoftmax", "x s0 z0 s0 z0", "y", &version(12)).output("y");
    assert!(mistakes(other.bytes()).contains("it is of version 12 in a file of version 13"));
}

/// Both ways that the matrix is stored, a scale and a zero point a column, a bias of integers; as integers and as floats.
#[test]
fn products_with_a_bias_are_exact_until_they_are_scaled() {
    let (rows, inner, columns) = (3, 7, 5);
    let (a, b) = (bytes(rows * inner), signed(inner * columns));
    let transposed: Vec<i8> =
        (0..columns).flat_map(|j| (0..inner).map(move |k| (j, k))).map(|(j, k)| b[k * columns + j]).collect();
    let bias: Vec<i32> = (0..columns as i32).map(|j| (1 << 24) + 1 - j * 4_000_003).collect();
    let (scales, zeros) = ([0.5f32, 0.25, 0.125, 1.0, 2.0], [0, 3, -4, 100, -128]);
    let base = |stored: &[i8], shape: [i64; 2]| {
        Model::new(13)
            .typed_input("a", DataType::Uint8, &[rows as i64, inner as i64])
            .weight("as", &[], &[0.5])
            .typed("az", DataType::Uint8, &[], &[77])
            .typed("b", DataType::Int8, &shape, &wide(stored))
            .weight("bs", &[5], &scales)
            .typed("bz", DataType::Int8, &[5], &zeros)
            .typed("c", DataType::Int32, &[5], &bias)
            .weight("ys", &[], &[65536.0])
            .typed("yz", DataType::Uint8, &[], &[100])
    };
    let alpha = 1.5f32;
    let numbers: Vec<f32> = (0..rows * columns)
        .map(|at| {
            let (i, j) = (at / columns, at % columns);
            let product = |k| (i32::from(a[i * inner + k]) - 77) * (i32::from(b[k * columns + j]) - zeros[j]);
            let sum = (0..inner).map(product).sum::<i32>() + bias[j];
            sum as f32 * (alpha * 0.5 * scales[j])
        })
        .collect();
    let integers: Vec<u8> = numbers.iter().map(|&v| byte(v, 65536.0, 100.0)).collect();
    for (model, trans) in [(base(&b, [7, 5]), 0), (base(&transposed, [5, 7]), 1)] {
        let attributes = [("alpha", Is::Float(alpha)), ("transB", Is::Int(trans))];
        let model = model
            .node("com.microsoft.QGemm", "a as az b bs bz c ys yz", "integers", &attributes)
            .node("com.microsoft.QGemm", "a as az b bs bz c", "numbers", &attributes)
            .output("integers")
            .output("numbers");
        let found = exactly(&model, &[Elements::U8(a.clone())]);
        assert_eq!(found, [Elements::U8(integers.clone()), Elements::F32(numbers.clone())]);
    }
}

/// Both matrices are inputs.
#[test]
fn two_values_are_multiplied_and_a_bias_added() {
    let model = Model::new(13)
        .typed_input("a", DataType::Uint8, &[1, 2])
        .typed_input("b", DataType::Uint8, &[2, 2])
        .weight("one", &[], &[1.0])
        .typed("zero", DataType::Uint8, &[], &[0])
        .typed("c", DataType::Int32, &[2], &[100, -50])
        .node("com.microsoft.QGemm", "a one zero b one zero c one zero", "y", &[])
        .output("y");
    // [1 2] by [3 4; 5 60] is [13 124].
    let found = exactly(&model, &[Elements::U8(vec![1, 2]), Elements::U8(vec![3, 4, 5, 60])]);
    assert_eq!(found, [Elements::U8(vec![113, 74])]);
}

#[test]
fn a_matrix_of_integers_may_be_added() {
    let model = Model::new(13)
        .typed_input("a", DataType::Uint8, &[2, 1])
        .weight("one", &[], &[1.0])
        .typed("zero", DataType::Uint8, &[], &[0])
        .typed("b", DataType::Uint8, &[1, 2], &[1, 10])
        .typed("c", DataType::Int32, &[2, 2], &[1, 2, 3, (1 << 25) + 1])
        .node("com.microsoft.QGemm", "a one zero b one zero c one zero", "y", &[])
        .node("com.microsoft.QGemm", "a one zero b one zero c", "numbers", &[])
        .output("y")
        .output("numbers");
    let found = exactly(&model, &[Elements::U8(vec![5, 7])]);
    let numbers = Elements::F32(vec![6.0, 52.0, 10.0, 33_554_503.0]);
    assert_eq!(found, [Elements::U8(vec![6, 52, 10, 255]), numbers]);
}

#[test]
fn what_these_operators_cannot_be_is_told() {
    let several =
        quantized(&[1.0], &[0]).typed_input("x", DataType::Uint8, &[1, 2, 4, 4]).weight("s", &[2], &[1.0, 2.0]);
    let several = several.node("com.microsoft.QLinearSigmoid", "x s z0 s0 z0", "y", &[]).output("y");
    assert!(mistakes(several.bytes()).contains("it has more than one scale or zero point for a value"));
    let few = quantized(&[1.0], &[0]).typed_input("x", DataType::Uint8, &[1, 2, 4, 4]);
    let few = few.node("com.microsoft.QLinearAdd", "x s0 z0", "y", &[]).output("y");
    assert!(mistakes(few.bytes()).contains("it has no input 4"));
    let none = quantized(&[1.0], &[0]).typed_input("x", DataType::Uint8, &[1]);
    let none = none.node("com.microsoft.QLinearConcat", "s0 z0", "y", &[("axis", Is::Int(0))]).output("y");
    assert!(mistakes(none.bytes()).contains("it has no input"));
}
