use kiln_rt::safetensors::{self, Dtype, SafeTensors, View};

use super::super::weights::{HOLE, Kind, Pool as Weights, WeightId};
use super::super::{
    Activation, Binary, Chain, Constant, Conv, Coordinates, Core, F32, Filter, Linear, Origin, Pads, Pool, Resize,
    Rounding, Scale, Stage,
};
use super::super::{TensorType, Window};
use super::*;

type Values<'a> = (&'a [usize], &'a [f32]);

/// Runs one operator on literal operands and weights.
fn eval(op: Op, operands: &[Values<'_>], weights: &[Values<'_>]) -> Vec<f32> {
    let mut graph = Graph::new("Test");
    let mut ids = Vec::new();
    for (i, (shape, _)) in operands.iter().enumerate() {
        let input = Op::Input(TensorType::f32(*shape));
        ids.push(graph.add(input, &[], vec![], Origin::named(format!("x{i}"))).unwrap());
    }
    let weights = weights.iter().map(|(shape, values)| graph.weights.literal(shape, values)).collect();
    let node = graph.add(op, &ids, weights, Origin::named("node")).unwrap();
    graph.add_output("y", node);
    let inputs: Vec<Vec<f32>> = operands.iter().map(|(_, values)| values.to_vec()).collect();
    run_f32(&graph, &Fill { gain: 1.0 }, &inputs).unwrap().remove(0)
}

/// Bits, so that NaN equals itself and zeros keep their sign.
#[track_caller]
fn check(op: Op, operands: &[Values<'_>], weights: &[Values<'_>], expected: &[f32]) {
    let bits =
        |values: &[f32]| values.iter().map(|v| if v.is_nan() { F32::new(f32::NAN) } else { F32::new(*v) }).collect();
    let (got, expected): (Vec<F32>, Vec<F32>) = (bits(&eval(op, operands, weights)), bits(expected));
    assert_eq!(got, expected);
}

fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7 % 23) as f32 - 11.0).collect()
}

fn window(kernel: usize, stride: usize, pad: usize) -> Window {
    Window { kernel: [kernel; 2], stride: [stride; 2], pads: Pads::symmetric(pad, pad), dilation: [1, 1] }
}

/// The definition of a convolution, one output and one tap at a time.
fn conv_by_definition(conv: &Conv, x: &[f32], [n, c, h, w]: [usize; 4], kernel: &[f32], bias: &[f32]) -> Vec<f32> {
    let Window { kernel: [kh, kw], stride, pads, dilation } = conv.window;
    let [rows, columns] = super::super::infer::window_outputs(&conv.window, h, w, false).unwrap();
    let inputs = c / conv.groups;
    let mut y = Vec::new();
    for (image, o) in (0..n).flat_map(|image| (0..conv.channels).map(move |o| (image, o))) {
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let mut sum = f64::from(bias[o]);
            for (i, ky, kx) in (0..inputs).flat_map(|i| (0..kh).flat_map(move |ky| (0..kw).map(move |kx| (i, ky, kx))))
            {
                let at_y = (row * stride[0] + ky * dilation[0]) as isize - pads.top as isize;
                let at_x = (column * stride[1] + kx * dilation[1]) as isize - pads.left as isize;
                if (0..h as isize).contains(&at_y) && (0..w as isize).contains(&at_x) {
                    let channel = o / (conv.channels / conv.groups) * inputs + i;
                    let x = x[((image * c + channel) * h + at_y as usize) * w + at_x as usize];
                    sum += f64::from(kernel[((o * inputs + i) * kh + ky) * kw + kx]) * f64::from(x);
                }
            }
            y.push(sum as f32);
        }
    }
    y
}

#[test]
fn products_are_sums_over_the_inner_axis_part_by_part() {
    let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, -1.0, 2.0, 1.0, 3.0]);
    // [1 2 3; 4 5 6] by [1 0; -1 2; 1 3].
    check(Op::MatMul, &[(&[1, 2, 3], &a), (&[1, 3, 2], &b)], &[], &[2.0, 13.0, 5.0, 28.0]);
    // The rows [1 2 3] and [4 5 6] are parts; one matrix serves both, or each has its own.
    check(Op::MatMul, &[(&[2, 1, 3], &a), (&[1, 3, 2], &b)], &[], &[2.0, 13.0, 5.0, 28.0]);
    let own = [b, b.map(|v| -v)].concat();
    check(Op::MatMul, &[(&[2, 1, 3], &a), (&[2, 3, 2], &own)], &[], &[2.0, 13.0, -5.0, -28.0]);
    check(Op::MatMul, &[(&[1, 1, 3], &a[..3]), (&[2, 3, 2], &own)], &[], &[2.0, 13.0, -2.0, -13.0]);
}

#[test]
fn convolutions_are_their_definition() {
    let pads = Pads { top: 2, left: 0, bottom: 1, right: 3 };
    let cases = [
        ([1, 3, 5, 7], 4, Window::POINT, 1),
        ([2, 3, 7, 5], 4, window(3, 1, 1), 1),
        ([1, 4, 7, 6], 6, window(3, 2, 1), 2),
        ([1, 3, 9, 9], 3, window(5, 3, 2), 3),
        ([2, 4, 6, 5], 8, Window { kernel: [3, 2], stride: [1, 2], pads, dilation: [2, 1] }, 4),
        ([1, 2, 5, 5], 2, Window { stride: [2, 2], ..Window::POINT }, 1),
        ([1, 2, 2, 2], 3, window(3, 1, 4), 1),
        // More maps, pixels, columns and inputs than are computed together.
        ([2, 10, 20, 21], 22, window(3, 1, 1), 2),
        ([1, 6, 3, 301], 9, window(3, 1, 1), 1),
        ([1, 7, 5, 603], 10, window(5, 2, 1), 1),
        ([1, 5, 18, 17], 9, Window::POINT, 1),
    ];
    for (shape, channels, window, groups) in cases {
        let conv = Conv { channels, window, groups, bias: true };
        let [n, c, h, w] = shape;
        let x = ramp(n * c * h * w);
        let kernel_shape = [channels, c / groups, window.kernel[0], window.kernel[1]];
        let (kernel, bias) = (ramp(kernel_shape.iter().product()), ramp(channels));
        let expected = conv_by_definition(&conv, &x, shape, &kernel, &bias);
        check(Op::Conv(conv), &[(&shape, &x)], &[(&kernel_shape, &kernel), (&[channels], &bias)], &expected);
    }
}

#[test]
fn a_linear_layer_is_a_matrix_product() {
    let linear = Op::Linear(Linear { features: 3, bias: true });
    let (x, w, b) = ([1.0, 2.0, 3.0, -4.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0], [0.5, 0.0, -1.0]);
    check(linear, &[(&[2, 2], &x)], &[(&[3, 2], &w), (&[3], &b)], &[1.5, 2.0, 2.0, 3.5, -4.0, -2.0]);
}

#[test]
fn batch_norm_normalizes_by_channel() {
    let bn = |affine| Op::BatchNorm { eps: F32::new(0.25), affine };
    let x: Values<'_> = (&[1, 2, 1, 2], &[1.0, 3.0, 5.0, 7.0]);
    let (mean, var): (Values<'_>, Values<'_>) = ((&[2], &[1.0, 5.0]), (&[2], &[0.75, 3.75]));
    check(bn(false), &[x], &[mean, var], &[0.0, 2.0, 0.0, 1.0]);
    check(bn(true), &[x], &[(&[2], &[-2.0, 3.0]), (&[2], &[10.0, 20.0]), mean, var], &[10.0, 6.0, 20.0, 23.0]);
}

#[test]
fn activations_are_their_formulas_and_keep_nan() {
    let x = [-4.0, -1.0, -0.0, 0.5, 4.0, 7.0, f32::NAN];
    let nan = f32::NAN;
    let by = |f: fn(f64) -> f64| x.map(|x| f(f64::from(x)) as f32);
    let f32 = F32::new;
    let cases = [
        (Activation::Relu, [0.0, 0.0, -0.0, 0.5, 4.0, 7.0, nan]),
        (Activation::RELU6, [0.0, 0.0, -0.0, 0.5, 4.0, 6.0, nan]),
        (Activation::Clip { lo: f32(-2.0), hi: f32(1.0) }, [-2.0, -1.0, -0.0, 0.5, 1.0, 1.0, nan]),
        (Activation::LeakyRelu { slope: f32(0.25) }, [-1.0, -0.25, -0.0, 0.5, 4.0, 7.0, nan]),
        (Activation::Elu { alpha: f32(2.0) }, by(|x| if x > 0.0 { x } else { 2.0 * x.exp_m1() })),
        (Activation::Sigmoid, by(|x| 1.0 / (1.0 + (-x).exp()))),
        (Activation::HardSigmoid, [0.0, 1.0 / 3.0, 0.5, 7.0 / 12.0, 1.0, 1.0, nan]),
        (Activation::Tanh, by(f64::tanh)),
        (Activation::Silu, by(|x| x / (1.0 + (-x).exp()))),
        (Activation::HardSwish, by(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0)),
        (Activation::Exp, by(f64::exp)),
        (Activation::Log, by(f64::ln)),
        (Activation::Sqrt, by(f64::sqrt)),
        (Activation::Softplus, by(|v| (1.0 + v.exp()).ln())),
        (Activation::Gelu, [-1.2668497e-4, -0.15865526, -0.0, 0.34573123, 3.9998733, 7.0, nan]),
    ];
    for (activation, expected) in cases {
        check(Op::Activate(activation), &[(&[1, 7], &x)], &[], &expected);
    }
}

#[test]
fn the_complementary_error_function_is_small_without_losing_digits() {
    let cases = [
        (-6.0, 2.0),
        (-2.6, 1.9997639655834707),
        (-2.4, 1.999311486103355),
        (-0.5, 1.5204998778130465),
        (1e-09, 0.9999999988716208),
        (0.3, 0.6713732405408726),
        (1.5, 0.033894853524689274),
        (2.4, 0.0006885138966450789),
        (2.6, 0.00023603441652934908),
        (5.0, 1.5374597944280351e-12),
        (20.0, 5.3958656116079005e-176),
    ];
    for (x, expected) in cases {
        let error = (super::pointwise::erfc(x) - expected) / expected;
        assert!(error.abs() < 1e-12, "erfc({x}) is off by {error:e}");
    }
    assert_eq!([f64::INFINITY, f64::NEG_INFINITY].map(super::pointwise::erfc), [0.0, 2.0]);
}

#[test]
fn binary_operators_broadcast() {
    let a: Values<'_> = (&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
    let b: Values<'_> = (&[2, 1], &[10.0, 20.0]);
    check(Op::Binary(Binary::Add), &[a, b], &[], &[11.0, 12.0, 21.0, 22.0, 13.0, 14.0, 23.0, 24.0]);
    check(Op::Binary(Binary::Sub), &[b, b], &[], &[0.0, 0.0]);
    check(Op::Binary(Binary::Mul), &[a, (&[2], &[-1.0, 0.5])], &[], &[-1.0, 1.0, -3.0, 2.0]);
    check(Op::Binary(Binary::Div), &[(&[1], &[1.0]), a], &[], &[1.0, 0.5, 1.0 / 3.0, 0.25]);
}

#[test]
fn pools_look_at_the_map_only() {
    let x = [1.0, -2.0, 3.0, 4.0, -5.0, f32::NAN, -7.0, -8.0, -9.0];
    let x: Values<'_> = (&[1, 1, 3, 3], &x);
    let pool = |window, ceil_mode, count_include_pad| Pool { window, ceil_mode, count_include_pad };
    check(Op::MaxPool(pool(window(2, 1, 0), false, false)), &[x], &[], &[4.0, f32::NAN, 4.0, f32::NAN]);
    check(Op::MaxPool(pool(window(2, 2, 1), false, false)), &[x], &[], &[1.0, 3.0, 4.0, f32::NAN]);
    let x: Values<'_> = (&[1, 1, 3, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    check(Op::AvgPool(pool(window(2, 2, 1), false, false)), &[x], &[], &[1.0, 2.5, 5.5, 7.0]);
    check(Op::AvgPool(pool(window(2, 2, 1), false, true)), &[x], &[], &[0.25, 1.25, 2.75, 7.0]);
    // The last windows reach one past the map: only what is on the map or its padding counts.
    check(Op::AvgPool(pool(window(2, 2, 0), true, true)), &[x], &[], &[3.0, 4.5, 7.5, 9.0]);
    check(
        Op::AvgPool(pool(window(3, 2, 1), true, true)),
        &[(&[1, 1, 2, 2], &[9.0, 9.0, 9.0, 9.0])],
        &[],
        &[4.0, 3.0, 3.0, 2.25],
    );
    check(Op::GlobalAvgPool, &[(&[1, 2, 1, 2], &[1.0, 2.0, 3.0, 5.0])], &[], &[1.5, 4.0]);
    check(Op::GlobalMaxPool, &[(&[1, 2, 1, 2], &[-1.0, -2.0, f32::NAN, 5.0])], &[], &[-1.0, f32::NAN]);
}

#[test]
fn softmax_runs_along_its_axis() {
    let x: Values<'_> = (&[2, 2], &[1000.0, 1000.0, 0.0, 3f32.ln()]);
    check(Op::Softmax { axis: 1 }, &[x], &[], &[0.5, 0.5, 0.25, 0.75]);
    check(Op::Softmax { axis: 0 }, &[(&[2, 2], &[1.0, 2.0, 1.0, f32::NAN])], &[], &[0.5, f32::NAN, 0.5, f32::NAN]);
}

#[test]
fn movers_move() {
    let x: Values<'_> = (&[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]);
    check(Op::Concat { axis: 1 }, &[x, (&[2, 1, 1, 1], &[5.0, 6.0])], &[], &[1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
    check(Op::Concat { axis: 0 }, &[x, x], &[], &[1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    check(Op::Slice { axis: 1, start: 1, end: 2 }, &[x], &[], &[2.0, 4.0]);
    check(Op::Gather { axis: 1, indices: vec![1, 0, 1] }, &[x], &[], &[2.0, 1.0, 2.0, 4.0, 3.0, 4.0]);
    check(Op::Gather { axis: 0, indices: vec![1, 0] }, &[x], &[], &[3.0, 4.0, 1.0, 2.0]);
    check(Op::Reshape { shape: vec![4] }, &[x], &[], x.1);
    check(Op::Transpose { perm: vec![1, 0, 2, 3] }, &[x], &[], &[1.0, 3.0, 2.0, 4.0]);
    check(Op::Dropout, &[x], &[], x.1);
    check(Op::Identity, &[x], &[], x.1);
    let six: Values<'_> = (&[1, 6, 1, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    check(Op::ChannelShuffle { groups: 2 }, &[six], &[], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    check(Op::ChannelShuffle { groups: 3 }, &[six], &[], &[0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    let pads = Pads { top: 0, left: 1, bottom: 1, right: 0 };
    let pad = Op::Pad { pads, value: F32::new(9.0) };
    check(pad, &[(&[1, 1, 1, 2], &[1.0, 2.0])], &[], &[9.0, 1.0, 2.0, 9.0, 9.0, 9.0]);
    let weight: Values<'_> = (&[2, 1], &[3.0, -0.0]);
    check(Op::Weight { shape: vec![2, 1] }, &[], &[weight], &[3.0, -0.0]);
    let constant = Constant { shape: vec![2], values: vec![F32::new(1.0), F32::new(-0.0)] };
    check(Op::Constant(constant), &[], &[], &[1.0, -0.0]);
}

#[test]
fn resizing_takes_rows_and_columns_where_its_coordinates_say() {
    let row: Values<'_> = (&[1, 1, 1, 4], &[0.0, 1.0, 2.0, 4.0]);
    let resize = |columns: usize, scale: f32, filter, coordinates| {
        let scale = [1.0, scale].map(|by| Scale::Number(F32::new(by)));
        Op::Resize(Resize { size: [1, columns], scale, filter, coordinates })
    };
    let nearest = Filter::Nearest;
    let check = |op, expected: &[f32]| check(op, &[row], &[], expected);
    check(resize(8, 2.0, nearest(Rounding::Floor), Coordinates::Asymmetric), &[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]);
    check(resize(8, 2.0, nearest(Rounding::Ceil), Coordinates::Asymmetric), &[0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 4.0]);
    // Halves of pixels: 1/2 and 5/2.
    check(resize(2, 0.5, nearest(Rounding::HalfDown), Coordinates::HalfPixel), &[0.0, 2.0]);
    check(resize(2, 0.5, nearest(Rounding::HalfUp), Coordinates::HalfPixel), &[1.0, 4.0]);
    check(resize(2, 0.5, Filter::Linear, Coordinates::HalfPixel), &[0.5, 3.0]);
    check(resize(8, 2.0, Filter::Linear, Coordinates::HalfPixel), &[0.0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 4.0]);
    check(resize(7, 7.0 / 4.0, Filter::Linear, Coordinates::AlignCorners), &[0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0]);
    check(resize(1, 0.25, Filter::Linear, Coordinates::HalfPixel), &[1.5]);
    check(resize(1, 0.25, Filter::Linear, Coordinates::PytorchHalfPixel), &[0.0]);
    check(resize(1, 0.25, Filter::Linear, Coordinates::AlignCorners), &[0.0]);
    // The middle of a row of four, of which 2 * 5 / 8 makes one and more.
    check(resize(1, 0.3125, Filter::Linear, Coordinates::HalfPixelSymmetric), &[1.5]);
    check(resize(2, 0.5, Filter::Linear, Coordinates::TfHalfPixelForNn), &[1.0, 4.0]);
    // By sizes: 1/2 * 4/7 and so on, of which only the middle one is a half.
    let scale = [Scale::Ratio { outputs: 1, inputs: 1 }, Scale::Ratio { outputs: 7, inputs: 4 }];
    let (size, coordinates) = ([1, 7], Coordinates::HalfPixel);
    let by_sizes = |filter| Op::Resize(Resize { size, scale, filter, coordinates });
    check(by_sizes(nearest(Rounding::HalfDown)), &[0.0, 0.0, 1.0, 1.0, 2.0, 4.0, 4.0]);
    check(by_sizes(nearest(Rounding::HalfUp)), &[0.0, 0.0, 1.0, 2.0, 2.0, 4.0, 4.0]);
}

#[test]
fn a_fused_node_is_its_parts_in_order() {
    let conv = Conv { channels: 2, window: window(3, 1, 1), groups: 1, bias: true };
    let before: Chain = vec![Stage::Affine, Stage::Activate(Activation::Relu), Stage::Scale];
    let after: Chain = vec![Stage::Add, Stage::Affine, Stage::Activate(Activation::HardSwish), Stage::Scale];
    let (x, gate) = (ramp(8), [0.5, 2.0]);
    let x: Values<'_> = (&[1, 2, 2, 2], &x);
    let gate: Values<'_> = (&[1, 2, 1, 1], &gate);
    let kernel = ramp(36);
    let weights: [Values<'_>; 6] = [
        (&[2, 2, 3, 3], &kernel),
        (&[2], &[1.0, 2.0]),
        (&[2], &[-1.0, 2.0]),
        (&[2], &[4.0, 8.0]),
        (&[2], &[0.5, 0.25]),
        (&[2], &[1.0, -1.0]),
    ];
    // Shifts act on the operand, not on its padding; all numbers are exact, so that rounding between parts is none.
    let affine = Op::Fused { before: vec![], core: Core::Identity, after: vec![Stage::Affine] };
    let step = |op: Op, operands: &[Values<'_>], weights: &[Values<'_>]| eval(op, operands, weights);
    let shape: &[usize] = &[1, 2, 2, 2];
    let mut parts = step(affine.clone(), &[x], &weights[2..4]);
    parts = step(Op::Activate(Activation::Relu), &[(shape, &parts)], &[]);
    parts = step(Op::Binary(Binary::Mul), &[(shape, &parts), gate], &[]);
    parts = step(Op::Conv(conv), &[(shape, &parts)], &weights[..2]);
    parts = step(Op::Binary(Binary::Add), &[(shape, &parts), x], &[]);
    parts = step(affine, &[(shape, &parts)], &weights[4..]);
    parts = step(Op::Activate(Activation::HardSwish), &[(shape, &parts)], &[]);
    parts = step(Op::Binary(Binary::Mul), &[(shape, &parts), gate], &[]);
    check(Op::Fused { before, core: Core::Conv(conv), after }, &[x, gate, x, gate], &weights, &parts);

    let linear = Core::Linear(Linear { features: 1, bias: false });
    let fused = Op::Fused { before: vec![], core: linear, after: vec![Stage::Add] };
    check(fused, &[(&[1, 2], &[3.0, 4.0]), (&[1, 1], &[100.0])], &[(&[1, 2], &[1.0, 10.0])], &[143.0]);
}

#[test]
fn sums_are_rounded_once() {
    // In f32 the ones would vanish beside 2^24.
    let linear = Op::Linear(Linear { features: 1, bias: false });
    let x = [16_777_216.0, 1.0, 1.0, 1.0, 1.0];
    check(linear, &[(&[1, 5], &x)], &[(&[1, 5], &[1.0; 5])], &[16_777_220.0]);
}

#[test]
fn inputs_are_counted_and_need_not_be_read() {
    let mut graph = Graph::new("Two");
    let x = graph.add(Op::Input(TensorType::f32([1, 2])), &[], vec![], Origin::named("x")).unwrap();
    graph.add(Op::Input(TensorType::f32([1])), &[], vec![], Origin::named("unread")).unwrap();
    let y = graph.add(Op::Activate(Activation::Relu), &[x], vec![], Origin::named("y")).unwrap();
    graph.add(Op::Identity, &[x], vec![], Origin::named("dead")).unwrap();
    graph.add_output("y", y);
    let none = Fill { gain: 1.0 };
    assert_eq!(run_f32(&graph, &none, &[vec![-1.0, 1.0], vec![5.0]]).unwrap(), [[0.0, 1.0]]);

    let error = |inputs: &[Vec<f32>]| run_f32(&graph, &none, inputs).unwrap_err().to_string();
    assert_eq!(error(&[]), "the network has 2 inputs, not 0");
    assert_eq!(error(&[vec![1.0], vec![1.0]]), "the input `x` has 2 elements, not 1");
}

#[test]
fn a_value_that_is_used_again_is_not_written_over() {
    let mut graph = Graph::new("Shared");
    let named = |name: &str| Origin::named(name.to_owned());
    let x = graph.add(Op::Input(TensorType::f32([1, 2])), &[], vec![], named("x")).unwrap();
    let relu = graph.add(Op::Activate(Activation::Relu), &[x], vec![], named("relu")).unwrap();
    let twice = graph.add(Op::Binary(Binary::Add), &[x, x], vec![], named("twice")).unwrap();
    let sigmoid = graph.add(Op::Activate(Activation::HardSigmoid), &[relu], vec![], named("sigmoid")).unwrap();
    for (name, node) in [("relu", relu), ("twice", twice), ("sigmoid", sigmoid), ("again", relu)] {
        graph.add_output(name, node);
    }
    let outputs = run_f32(&graph, &Fill { gain: 1.0 }, &[vec![-3.0, 3.0]]).unwrap();
    assert_eq!(outputs, [[0.0, 3.0], [-6.0, 6.0], [0.5, 1.0], [0.0, 3.0]]);
}

#[test]
fn all_tensors_that_do_not_fit_are_listed() {
    let mut graph = Graph::new("Linear");
    let x = graph.add(Op::Input(TensorType::f32([1, 2])), &[], vec![], Origin::named("x")).unwrap();
    let weights = vec![graph.weights.read("w", Kind::Kernel, &[3, 2]), graph.weights.read("b", Kind::Bias, &[3])];
    let linear = Op::Linear(Linear { features: 3, bias: true });
    let y = graph.add(linear, &[x], weights, Origin::named("y")).unwrap();
    graph.add_output("y", y);
    let file = safetensors::write([("w", View { dtype: Dtype::F32, shape: &[2, 3], bytes: &[0; 24] })]);
    let error = run_f32(&graph, &SafeTensors::parse(&file).unwrap(), &[vec![1.0, 2.0]]).unwrap_err();
    let expected = "tensor `w` has shape [2, 3], and [3, 2] is needed\nthe weights have no tensor `b`; near it are `w`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn expressions_are_their_formulas() {
    let mut pool = Weights::default();
    let w = pool.read_transposed("w", Kind::Kernel, &[2, 3], &[1, 0]);
    let v = pool.read("v", Kind::Var, &[2]);
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (of_w, of_v) = (bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), bytes(&[0.0, 12.0]));
    let file = safetensors::write([
        ("w", View { dtype: Dtype::F32, shape: &[2, 3], bytes: &of_w }),
        ("v", View { dtype: Dtype::F32, shape: &[2], bytes: &of_v }),
    ]);
    let source = SafeTensors::parse(&file).unwrap();
    let value = |pool: &Weights, id: WeightId| evaluate(pool, id, &source).unwrap();
    assert_eq!(value(&pool, w), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let rsqrt = pool.rsqrt(v, 4.0);
    assert_eq!(value(&pool, rsqrt), [0.5, 0.25]);
    let scaled = pool.scale(w, 1, rsqrt);
    assert_eq!(value(&pool, scaled), [0.5, 1.0, 1.0, 1.25, 1.5, 1.5]);
    let holed = pool.gather(scaled, 0, &[2, HOLE]);
    assert_eq!(value(&pool, holed), [1.5, 1.5, 0.0, 0.0]);
    let both = pool.concat(&[w, holed], 0);
    assert_eq!(value(&pool, both), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0, 1.5, 1.5, 0.0, 0.0]);
    let minus = pool.times(v, -0.5);
    let sum = pool.add(v, minus);
    assert_eq!(value(&pool, sum), [0.0, 6.0]);
    let flat = pool.reshape(w, &[6]);
    assert_eq!(value(&pool, flat), value(&pool, w));
    let contract = pool.contract(w, v, 1);
    assert_eq!(value(&pool, contract), [48.0, 60.0, 72.0]);
    let grouped = pool.reshape(w, &[2, 3]);
    let six = pool.literal(&[6], &[1.0, 10.0, 100.0, -1.0, -10.0, -100.0]);
    let contract = pool.contract(grouped, six, 2);
    assert_eq!(value(&pool, contract), [241.0, -635.0]);
}
