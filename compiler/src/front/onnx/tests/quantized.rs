//! Integers that stand for numbers, held against formulas of integers; the kernels give the same to the last bit.

use super::super::Import;
use super::super::proto::tensor_proto::DataType;
use super::model::{Is, Model};
use super::{imported, mistakes};
use crate::graph::{Elements, interp};
use crate::kernel;
use crate::pipeline::{Options, compile};
use crate::target::Target;

/// The outputs for these inputs, by the oracle and, to the last bit, by the kernels of three targets.
pub(super) fn exactly(model: &Model, inputs: &[Elements]) -> Vec<Elements> {
    let Import { graph, tensors, .. } = imported(model);
    let targets = vec![Target::Avx512, Target::Avx2, Target::Base];
    let compiled = compile(graph, &Options { targets, ..Options::default() }).unwrap_or_else(|error| panic!("{error}"));
    let expected = interp::run(&compiled.source, &tensors, inputs).expect("the oracle runs");
    for program in &compiled.programs {
        let options = kernel::interp::Options { poison: true, ..Default::default() };
        let found = kernel::interp::run_elements(program, &tensors, inputs, options).expect("the kernels run");
        assert_eq!(found, expected, "{}", program.target);
    }
    expected
}

/// Bytes in no order.
pub(super) fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 89 + i / 7 * 31 + 5) as u8).collect()
}

pub(super) fn signed(len: usize) -> Vec<i8> {
    bytes(len).into_iter().map(|v| v as i8).collect()
}

pub(super) fn wide<T: Copy + Into<i32>>(values: &[T]) -> Vec<i32> {
    values.iter().map(|&v| v.into()).collect()
}

/// A convolution of integers, one product at a time: strides, pads before, dilations and groups as given.
struct Convolution {
    x: [usize; 4],
    kernel: [usize; 4],
    stride: usize,
    pads: [usize; 4],
    dilation: usize,
    groups: usize,
}

impl Convolution {
    fn attributes(&self) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
        let pads = self.pads.iter().map(|&pad| pad as i64).collect();
        (vec![self.stride as i64; 2], pads, vec![self.dilation as i64; 2])
    }

    fn sums(&self, x: &[i32], kernel: &[i32]) -> Vec<i32> {
        let ([n, c, h, w], [o, i, kh, kw]) = (self.x, self.kernel);
        let [top, left, bottom, right] = self.pads;
        let along =
            |extent: usize, pads: usize, k: usize| (extent + pads - self.dilation * (k - 1) - 1) / self.stride + 1;
        let (rows, columns) = (along(h, top + bottom, kh), along(w, left + right, kw));
        let mut sums = Vec::new();
        for (image, channel) in (0..n).flat_map(|image| (0..o).map(move |channel| (image, channel))) {
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let mut sum = 0;
                for (input, y, z) in (0..i).flat_map(|i| (0..kh).flat_map(move |y| (0..kw).map(move |z| (i, y, z)))) {
                    let at = (row * self.stride + y * self.dilation, column * self.stride + z * self.dilation);
                    if (top..top + h).contains(&at.0) && (left..left + w).contains(&at.1) {
                        let from = channel / (o / self.groups) * i + input;
                        let x = x[((image * c + from) * h + at.0 - top) * w + at.1 - left];
                        sum += x * kernel[((channel * i + input) * kh + y) * kw + z];
                    }
                }
                sums.push(sum);
            }
        }
        sums
    }
}

/// Odd extents and channels, uneven pads, groups of one channel and of several, dilation, two images.
fn convolutions() -> Vec<Convolution> {
    let of = |x, kernel, stride, pads, dilation, groups| Convolution { x, kernel, stride, pads, dilation, groups };
    vec![
        of([1, 3, 5, 7], [4, 3, 3, 3], 1, [1, 1, 1, 1], 1, 1),
        of([2, 17, 6, 5], [24, 17, 1, 1], 1, [0; 4], 1, 1),
        of([1, 20, 9, 8], [20, 1, 3, 3], 2, [0, 1, 2, 1], 1, 20),
        of([1, 16, 7, 7], [16, 4, 3, 3], 1, [1; 4], 1, 4),
        of([2, 12, 9, 9], [6, 4, 3, 2], 1, [2, 0, 1, 3], 2, 3),
        of([1, 40, 20, 20], [16, 40, 3, 3], 1, [1; 4], 1, 1),
    ]
}

#[test]
fn convolutions_of_integers_are_exact() {
    for conv in convolutions() {
        let x = bytes(conv.x.iter().product());
        let kernel = signed(conv.kernel.iter().product());
        let shape = |extents: [usize; 4]| extents.map(|extent| extent as i64);
        let (strides, pads, dilations) = conv.attributes();
        let model = Model::new(17)
            .typed_input("x", DataType::Uint8, &shape(conv.x))
            .typed("w", DataType::Int8, &shape(conv.kernel), &wide(&kernel))
            .typed("xz", DataType::Uint8, &[], &[131])
            .typed("wz", DataType::Int8, &[], &[-5])
            .node(
                "ConvInteger",
                "x w xz wz",
                "y",
                &[
                    ("strides", Is::Ints(&strides)),
                    ("pads", Is::Ints(&pads)),
                    ("dilations", Is::Ints(&dilations)),
                    ("group", Is::Int(conv.groups as i64)),
                ],
            )
            .output("y");
        let found = exactly(&model, &[Elements::U8(x.clone())]).remove(0);
        let x: Vec<i32> = wide(&x).into_iter().map(|v| v - 131).collect();
        let kernel: Vec<i32> = wide(&kernel).into_iter().map(|v| v + 5).collect();
        assert_eq!(found, Elements::I32(conv.sums(&x, &kernel)), "{:?}", conv.kernel);
    }
}

#[test]
fn quantized_convolutions_round_once() {
    let conv = &convolutions()[1];
    let x = bytes(conv.x.iter().product());
    let kernel = signed(conv.kernel.iter().product());
    let shape = |extents: [usize; 4]| extents.map(|extent| extent as i64);
    let channels = conv.kernel[0];
    // A bias that f32 does not hold, and scales by channel.
    let bias: Vec<i32> = (0..channels as i32).map(|i| (1 << 24) + 1 + i * 1_000_003).collect();
    let scales: Vec<f32> = (0..channels).map(|i| 4e-6 * (1.0 + i as f32 / 7.0)).collect();
    let model = Model::new(17)
        .typed_input("x", DataType::Uint8, &shape(conv.x))
        .weight("xs", &[], &[0.5])
        .typed("xz", DataType::Uint8, &[], &[3])
        .typed("w", DataType::Int8, &shape(conv.kernel), &wide(&kernel))
        .weight("ws", &[channels as i64], &scales)
        .typed("wz", DataType::Int8, &[channels as i64], &vec![0; channels])
        .weight("ys", &[], &[4.0])
        .typed("yz", DataType::Int8, &[], &[-20])
        .typed("b", DataType::Int32, &[channels as i64], &bias)
        .node("QLinearConv", "x xs xz w ws wz ys yz b", "y", &[])
        .output("y");
    let found = exactly(&model, &[Elements::U8(x.clone())]).remove(0);
    let x: Vec<i32> = wide(&x).into_iter().map(|v| v - 3).collect();
    let pixels = conv.x[2] * conv.x[3];
    let sums = conv.sums(&x, &wide(&kernel));
    let expected = sums.into_iter().enumerate().map(|(i, sum)| {
        let channel = i / pixels % channels;
        let scaled = (sum + bias[channel]) as f32 * (0.5 * scales[channel] / 4.0);
        (scaled.round_ties_even() - 20.0).clamp(-128.0, 127.0) as i8
    });
    let expected: Vec<i8> = expected.collect();
    assert!(expected.iter().collect::<std::collections::BTreeSet<_>>().len() > 20, "they are of use");
    assert_eq!(found, Elements::I8(expected));
}

#[test]
fn products_of_integers_are_exact() {
    let (a, b) = (signed(2 * 3 * 19), bytes(19 * 5));
    let model = Model::new(17)
        .typed_input("a", DataType::Int8, &[2, 3, 19])
        .typed("b", DataType::Uint8, &[19, 5], &wide(&b))
        .typed("az", DataType::Int8, &[3], &[1, -2, 3])
        .typed("bz", DataType::Uint8, &[5], &[0, 9, 128, 255, 7])
        .node("MatMulInteger", "a b az bz", "y", &[])
        .output("y");
    let found = exactly(&model, &[Elements::I8(a.clone())]).remove(0);
    let (az, bz) = ([1, -2, 3], [0, 9, 128, 255, 7]);
    let element = |row: usize, column: usize| {
        let product =
            |k: usize| (i32::from(a[row * 19 + k]) - az[row % 3]) * (i32::from(b[k * 5 + column]) - bz[column]);
        (0..19).map(product).sum::<i32>()
    };
    let expected =
        (0..6).flat_map(|row| (0..5).map(move |column| (row, column))).map(|(row, column)| element(row, column));
    assert_eq!(found, Elements::I32(expected.collect()));
}

#[test]
fn numbers_are_quantized_with_ties_to_even() {
    let x = vec![0.0, 0.25, 0.75, -0.25, -0.75, 1.0, 63.9, 64.0, -1e9, 1e9, 0.1, -33.3];
    let scalar =
        Model::new(17).input("x", &[1, 3, 2, 2]).weight("s", &[], &[0.5]).typed("z", DataType::Int8, &[], &[3]);
    let scalar = scalar.node("QuantizeLinear", "x s z", "y", &[]).output("y");
    let by = |scale: &dyn Fn(usize) -> f32, zero: &dyn Fn(usize) -> f32, lo: f32, hi: f32| -> Vec<f32> {
        let each = x.iter().enumerate();
        each.map(|(i, v)| ((v / scale(i)).round_ties_even() + zero(i)).clamp(lo, hi)).collect()
    };
    let expected: Vec<i8> = by(&|_| 0.5, &|_| 3.0, -128.0, 127.0).into_iter().map(|v| v as i8).collect();
    assert_eq!(exactly(&scalar, &[Elements::F32(x.clone())]), [Elements::I8(expected)]);

    let (scales, zeros) = ([0.5, 2.0, 0.125], [0, 200, 17]);
    let by_channel = Model::new(17).input("x", &[1, 3, 2, 2]).weight("s", &[3], &scales);
    let by_channel = by_channel.typed("z", DataType::Uint8, &[3], &zeros);
    let there = by_channel.node("QuantizeLinear", "x s z", "q", &[]);
    let expected = by(&|i| scales[i / 4], &|i| zeros[i / 4] as f32, 0.0, 255.0);
    let bytes: Vec<u8> = expected.iter().map(|&v| v as u8).collect();
    assert_eq!(exactly(&there.clone().output("q"), &[Elements::F32(x.clone())]), [Elements::U8(bytes)]);
    let back = there.node("DequantizeLinear", "q s z", "y", &[]).output("y");
    let numbers = expected.iter().enumerate().map(|(i, v)| (v - zeros[i / 4] as f32) * scales[i / 4]);
    assert_eq!(exactly(&back, &[Elements::F32(x)]), [Elements::F32(numbers.collect())]);
}

#[test]
fn a_scale_may_come_from_the_numbers() {
    let x: Vec<f32> = (0..30).map(|i| ((i * 7 % 11) as f32 - 3.5) * 0.37).collect();
    let model = Model::new(17).input("x", &[5, 6]).node("DynamicQuantizeLinear", "x", "y s z", &[]);
    let found = exactly(&model.output("y").output("s").output("z"), &[Elements::F32(x.clone())]);
    let (least, most) = x.iter().fold((0f32, 0f32), |(least, most), &v| (least.min(v), most.max(v)));
    let scale = (most - least) / 255.0;
    let zero = (-least / scale).round_ties_even();
    let y = x.iter().map(|v| ((v / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8);
    assert_eq!(found, [Elements::U8(y.collect()), Elements::F32(vec![scale]), Elements::U8(vec![zero as u8])]);
    // Zeros alone have the scale 1, and other numbers their own, however small.
    let model = Model::new(17).input("x", &[2, 2]).node("DynamicQuantizeLinear", "x", "y s z", &[]);
    let model = model.output("y").output("s").output("z");
    let zeros = exactly(&model, &[Elements::F32(vec![0.0; 4])]);
    assert_eq!(zeros, [Elements::U8(vec![0; 4]), Elements::F32(vec![1.0]), Elements::U8(vec![0])]);
    let least = 255.0 * f32::MIN_POSITIVE;
    let small = exactly(&model, &[Elements::F32(vec![least, 0.0, 0.0, least])]);
    let scale = Elements::F32(vec![f32::MIN_POSITIVE]);
    assert_eq!(small, [Elements::U8(vec![255, 0, 0, 255]), scale, Elements::U8(vec![0])]);
}

#[test]
fn integers_are_moved_and_compared() {
    let x = bytes(2 * 5 * 4 * 3);
    let model = Model::new(17).typed_input("x", DataType::Uint8, &[2, 5, 4, 3]);
    let pooled = model.clone().node("MaxPool", "x", "y", &[("kernel_shape", Is::Ints(&[4, 3]))]).output("y");
    let most = x.chunks_exact(12).map(|map| *map.iter().max().expect("twelve")).collect();
    assert_eq!(exactly(&pooled, &[Elements::U8(x.clone())]), [Elements::U8(most)]);
    let moved = model.node("Transpose", "x", "t", &[("perm", Is::Ints(&[0, 2, 3, 1]))]).output("t");
    let moved = exactly(&moved, &[Elements::U8(x.clone())]).remove(0);
    let expected = (0..2).flat_map(|n| (0..12).flat_map(move |pixel| (0..5).map(move |c| (n * 5 + c) * 12 + pixel)));
    assert_eq!(moved, Elements::U8(expected.map(|i| x[i]).collect()));
}

#[test]
fn casts_drop_fractions_and_stay_within_the_type() {
    let x = vec![0.5, -0.5, 1.5, 2.999, -2.999, 300.0, -300.0, f32::NAN, f32::INFINITY, 127.5, -0.0, 16_777_217.0];
    for (to, of) in [(DataType::Uint8, 2), (DataType::Int8, 3)] {
        let model = Model::new(17).input("x", &[12]).node("Cast", "x", "y", &[("to", Is::Int(of))]).output("y");
        let expected = match to {
            DataType::Uint8 => Elements::U8(x.iter().map(|&v| v as u8).collect()),
            _ => Elements::I8(x.iter().map(|&v| v as i8).collect()),
        };
        assert_eq!(exactly(&model, &[Elements::F32(x.clone())]), [expected]);
    }
}

#[test]
fn what_is_no_quantization_is_refused() {
    let model = || Model::new(21).input("x", &[1, 3, 2, 2]).weight("s", &[], &[0.5]);
    let long = model().typed("z", DataType::Int16, &[], &[0]).node("QuantizeLinear", "x s z", "y", &[]).output("y");
    assert!(mistakes(long.bytes()).contains("computes with no elements of type I16"));
    let zero = Model::new(21).input("x", &[1, 3, 2, 2]).weight("s", &[], &[0.0]);
    let zero = zero.node("QuantizeLinear", "x s", "y", &[]).output("y");
    assert!(mistakes(zero.bytes()).contains("quantize cannot have the scale 0.0"));
    let blocks = model().node("QuantizeLinear", "x s", "y", &[("block_size", Is::Int(2))]).output("y");
    assert!(mistakes(blocks.bytes()).contains("a scale for each 2 elements"));
    let several = Model::new(21).input("x", &[1, 3, 2, 2]).weight("s", &[2], &[1.0, 2.0]);
    let several = several.node("QuantizeLinear", "x s", "y", &[]).output("y");
    assert!(mistakes(several.bytes()).contains("its scale has shape [2] for axis 1 of [1, 3, 2, 2]"));
}

#[test]
fn sums_and_least_of_integers_are_exact() {
    let reduce = |op: &str, of: DataType, x: Elements| {
        let shape = [1, x.len() as i64];
        let model = Model::new(13).typed_input("x", of, &shape).integers("axes", &[1], &[1]);
        let model = match op {
            "ReduceSum" => model.node(op, "x axes", "y", &[]),
            _ => model.node(op, "x", "y", &[("axes", Is::Ints(&[1]))]),
        };
        exactly(&model.output("y"), &[x]).remove(0)
    };
    let i32s = |values: &[i32]| Elements::I32(values.to_vec());
    // Eleven numbers whose mean is no f64.
    let eleven = i32s(&[1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0]);
    assert_eq!(reduce("ReduceSum", DataType::Int32, eleven), i32s(&[15]));
    assert_eq!(reduce("ReduceSum", DataType::Int32, i32s(&[i32::MAX, 1])), i32s(&[i32::MIN]), "sums wrap");
    assert_eq!(reduce("ReduceMin", DataType::Int32, i32s(&[5, i32::MIN, 7])), i32s(&[i32::MIN]));
    assert_eq!(reduce("ReduceMin", DataType::Uint8, Elements::U8(vec![200, 5, 255])), Elements::U8(vec![5]));
    assert_eq!(reduce("ReduceMin", DataType::Int8, Elements::I8(vec![5, -128, 7])), Elements::I8(vec![-128]));
}

#[test]
fn bounds_of_integers_are_whole() {
    let x = vec![i32::MAX, 16_777_216, -5];
    let model = Model::new(13)
        .typed_input("x", DataType::Int32, &[3])
        .typed("lo", DataType::Int32, &[], &[16_777_217])
        .typed("hi", DataType::Int32, &[], &[i32::MAX - 1])
        .node("Clip", "x lo hi", "y", &[])
        .output("y");
    let bounded = Elements::I32(vec![i32::MAX - 1, 16_777_217, 16_777_217]);
    assert_eq!(exactly(&model, &[Elements::I32(x)]), [bounded]);
}

/// The scales of the first operand are one a row, those of the second one a column.
#[test]
fn scales_of_a_quantized_product_go_by_row_and_by_column() {
    let model = Model::new(21)
        .typed_input("a", DataType::Uint8, &[2, 2])
        .weight("sa", &[2, 1], &[1.0, 10.0])
        .typed("zero", DataType::Uint8, &[], &[0])
        .typed("b", DataType::Uint8, &[2, 2], &[1, 2, 3, 4])
        .weight("sb", &[2], &[1.0, 0.5])
        .weight("sy", &[], &[1.0])
        .node("QLinearMatMul", "a sa zero b sb zero sy zero", "y", &[])
        .output("y");
    // [1 2; 3 4] squared is [7 10; 15 22].
    let found = exactly(&model, &[Elements::U8(vec![1, 2, 3, 4])]);
    assert_eq!(found, [Elements::U8(vec![7, 5, 150, 110])]);
}

#[test]
fn a_quantized_convolution_of_volumes_has_a_bias_of_integers() {
    let model = Model::new(13)
        .typed_input("x", DataType::Uint8, &[1, 1, 2, 1, 1])
        .weight("one", &[], &[1.0])
        .typed("zero", DataType::Uint8, &[], &[0])
        .typed("w", DataType::Uint8, &[1, 1, 2, 1, 1], &[2, 3])
        .typed("b", DataType::Int32, &[1], &[7])
        .node("QLinearConv", "x one zero w one zero one zero b", "y", &[])
        .output("y");
    assert_eq!(exactly(&model, &[Elements::U8(vec![5, 10])]), [Elements::U8(vec![47])]);
}

/// Bytes of two inputs: neither matrix is known when the network is compiled.
#[test]
fn two_values_of_integers_multiply_exactly() {
    let (a, b) = (signed(2 * 3 * 19), bytes(2 * 19 * 5));
    let model = Model::new(17)
        .typed_input("a", DataType::Int8, &[2, 3, 19])
        .typed_input("b", DataType::Uint8, &[2, 19, 5])
        .typed("az", DataType::Int8, &[], &[3])
        .typed("bz", DataType::Uint8, &[5], &[0, 9, 128, 255, 7])
        .node("MatMulInteger", "a b az bz", "y", &[])
        .output("y");
    let found = exactly(&model, &[Elements::I8(a.clone()), Elements::U8(b.clone())]).remove(0);
    let zeros = [0, 9, 128, 255, 7];
    let element = |at: usize| {
        let (part, row, column) = (at / 15, at / 5 % 3, at % 5);
        let product = |k: usize| {
            let (a, b) = (a[(part * 3 + row) * 19 + k], b[(part * 19 + k) * 5 + column]);
            (i32::from(a) - 3) * (i32::from(b) - zeros[column])
        };
        (0..19).map(product).sum::<i32>()
    };
    assert_eq!(found, Elements::I32((0..30).map(element).collect()));
}
