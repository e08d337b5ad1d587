//! What convolutions and resizing answer, held against plain loops that share nothing with the conversion.

use super::super::proto::tensor_proto::DataType;
use super::answers::of;
use super::model::{Is, Model};
use super::{answers, imported, near, ramp};
use crate::graph::{Elements, Op, interp};

/// A convolution in plain loops: `[n, c, h, w]`, `[o, c / groups, kh, kw]`, pads before.
fn convolved(
    x: &[f32],
    [c, h, w]: [usize; 3],
    kernel: &[f32],
    [o, kh, kw]: [usize; 3],
    groups: usize,
    [top, left]: [usize; 2],
    stride: usize,
    [oh, ow]: [usize; 2],
) -> Vec<f32> {
    let (n, each) = (x.len() / (c * h * w), c / groups);
    let mut y = Vec::new();
    for image in 0..n {
        for channel in 0..o {
            for (row, column) in (0..oh).flat_map(|row| (0..ow).map(move |column| (row, column))) {
                let mut sum = 0.0;
                for i in 0..each {
                    for (a, b) in (0..kh).flat_map(|a| (0..kw).map(move |b| (a, b))) {
                        let (Some(r), Some(s)) =
                            ((row * stride + a).checked_sub(top), (column * stride + b).checked_sub(left))
                        else {
                            continue;
                        };
                        if r < h && s < w {
                            let from = channel / (o / groups) * each + i;
                            sum += x[((image * c + from) * h + r) * w + s]
                                * kernel[((channel * each + i) * kh + a) * kw + b];
                        }
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

#[test]
fn convolutions_pad_as_they_say() {
    let (x, kernel) = (ramp(2 * 4 * 5 * 7), ramp(6 * 2 * 3 * 2));
    let model = || Model::new(17).input("x", &[2, 4, 5, 7]).weight("w", &[6, 2, 3, 2], &kernel);
    // Rows: (3 - 1) * 2 + 3 - 5 = 2 in all; columns: (4 - 1) * 2 + 2 - 7 = 1.
    for (auto_pad, pads, out) in [
        ("SAME_UPPER", [1, 0], [3, 4]),
        ("SAME_LOWER", [1, 1], [3, 4]),
        ("VALID", [0, 0], [2, 3]),
        ("NOTSET", [2, 1], [3, 4]),
    ] {
        let mut attributes =
            vec![("strides", Is::Ints(&[2, 2])), ("group", Is::Int(2)), ("auto_pad", Is::Text(auto_pad))];
        if auto_pad == "NOTSET" {
            attributes.push(("pads", Is::Ints(&[2, 1, 0, 0])));
        }
        let expected = convolved(&x, [4, 5, 7], &kernel, [6, 3, 2], 2, pads, 2, out);
        near(&of(model(), "Conv", "x w", &attributes, &x), &expected, 1e-5);
    }
}

/// A transposed convolution in plain loops, all of it: `[n, c, h, w]`, `[c, o / groups, kh, kw]`.
fn spread(
    x: &[f32],
    [c, h, w]: [usize; 3],
    kernel: &[f32],
    [o, kh, kw]: [usize; 3],
    groups: usize,
    stride: [usize; 2],
    dilation: [usize; 2],
) -> (Vec<f32>, [usize; 2]) {
    let oh = (h - 1) * stride[0] + (kh - 1) * dilation[0] + 1;
    let ow = (w - 1) * stride[1] + (kw - 1) * dilation[1] + 1;
    let mut y = vec![0.0; x.len() / (c * h * w) * o * oh * ow];
    for (at, value) in x.iter().enumerate() {
        let (image, from, row, column) = (at / (c * h * w), at / (h * w) % c, at / w % h, at % w);
        let group = from / (c / groups);
        for (i, tap) in kernel[from * (o / groups) * kh * kw..][..o / groups * kh * kw].iter().enumerate() {
            let (channel, a, b) = (group * (o / groups) + i / (kh * kw), i / kw % kh, i % kw);
            let to = (row * stride[0] + a * dilation[0], column * stride[1] + b * dilation[1]);
            y[((image * o + channel) * oh + to.0) * ow + to.1] += value * tap;
        }
    }
    (y, [oh, ow])
}

#[test]
fn transposed_convolutions_spread_their_inputs() {
    for (taps, stride, dilation, groups) in [
        ([2, 2], [2, 2], [1, 1], 1),
        ([3, 3], [2, 2], [1, 1], 2),
        ([3, 2], [1, 1], [1, 1], 1),
        ([4, 1], [2, 3], [1, 1], 2),
        ([2, 3], [3, 2], [2, 3], 1),
        ([1, 2], [1, 2], [1, 2], 2),
    ] {
        let [kh, kw] = taps;
        let (x, kernel) = (ramp(2 * 4 * 3 * 5), ramp(4 * (6 / groups) * kh * kw));
        let (whole, [oh, ow]) = spread(&x, [4, 3, 5], &kernel, [6, kh, kw], groups, stride, dilation);
        let signed = |pair: [usize; 2]| pair.map(|v| v as i64);
        let shape = [4, (6 / groups) as i64, kh as i64, kw as i64];
        let (stride, dilation) = (signed(stride), signed(dilation));
        let attributes = || {
            vec![("strides", Is::Ints(&stride)), ("dilations", Is::Ints(&dilation)), ("group", Is::Int(groups as i64))]
        };
        let model = || Model::new(17).input("x", &[2, 4, 3, 5]).weight("w", &shape, &kernel);
        near(&of(model(), "ConvTranspose", "x w", &attributes(), &x), &whole, 1e-5);
        // One row is cut off above, a column of zeros comes behind; a bias is added.
        let bias = ramp(6);
        let mut padded = attributes();
        padded.extend([("pads", Is::Ints(&[1, 0, 0, 0])), ("output_padding", Is::Ints(&[0, 1]))]);
        let mut expected = Vec::new();
        for (plane, values) in whole.chunks_exact(oh * ow).enumerate() {
            for row in values.chunks_exact(ow).skip(1) {
                expected.extend(row.iter().chain([&0.0]).map(|v| v + bias[plane % 6]));
            }
        }
        near(&of(model().weight("b", &[6], &bias), "ConvTranspose", "x w b", &padded, &x), &expected, 1e-5);
    }
}

#[test]
fn negative_pads_of_a_transposed_convolution_are_zeros_around() {
    let (x, kernel, bias) = (ramp(2 * 4 * 5), ramp(2 * 3 * 2 * 2), [0.5, -1.0, 2.0]);
    let (whole, [oh, ow]) = spread(&x, [2, 4, 5], &kernel, [3, 2, 2], 1, [2, 2], [1, 1]);
    // Rows and columns from here to there, of which the whole has some.
    for pads in [[0, 0, -1, 0], [-2, 0, 0, 1], [1, -3, -2, -1], [0, 0, 0, -4]] {
        let [top, left, bottom, right] = pads;
        let mut expected = Vec::new();
        for (plane, values) in whole.chunks_exact(oh * ow).enumerate() {
            for (row, column) in
                (top..oh as i64 - bottom).flat_map(|row| (left..ow as i64 - right).map(move |c| (row, c)))
            {
                let is_within = (0..oh as i64).contains(&row) && (0..ow as i64).contains(&column);
                let value = if is_within { values[row as usize * ow + column as usize] } else { 0.0 };
                expected.push(value + bias[plane]);
            }
        }
        let model =
            Model::new(13).input("x", &[1, 2, 4, 5]).weight("w", &[2, 3, 2, 2], &kernel).weight("b", &[3], &bias);
        let attributes = [("pads", Is::Ints(&pads)), ("strides", Is::Ints(&[2, 2]))];
        near(&of(model, "ConvTranspose", "x w b", &attributes, &x), &expected, 1e-5);
    }
    // Along the depth too.
    let (x, kernel) = (ramp(2 * 3), [1.0, 2.0]);
    let model = Model::new(13).input("x", &[1, 1, 3, 1, 2]).weight("w", &[1, 1, 2, 1, 1], &kernel);
    let pads = [("pads", Is::Ints(&[-1, 0, 0, -2, 0, 0]))];
    let layer = |i: usize| [x[2 * i], x[2 * i + 1]];
    let (a, b, c) = (layer(0), layer(1), layer(2));
    let sums = [
        [0.0; 2],
        a,
        [b[0] + 2.0 * a[0], b[1] + 2.0 * a[1]],
        [c[0] + 2.0 * b[0], c[1] + 2.0 * b[1]],
        c.map(|v| 2.0 * v),
        [0.0; 2],
        [0.0; 2],
    ];
    near(&of(model, "ConvTranspose", "x w", &pads, &x), &sums.concat(), 1e-5);
}

#[test]
fn transposed_convolutions_of_volumes_are_sums_of_those_of_layers() {
    // Every element of a volume adds a scaled kernel to the result.
    let ([c, d, h, w], [o, kd, kh, kw], stride, dilation) = ([4, 2, 3, 2], [6, 3, 2, 3], [2, 1, 2], [1, 2, 1]);
    let (groups, bias) = (2, ramp(o));
    let (x, kernel) = (ramp(2 * c * d * h * w), ramp(c * (o / groups) * kd * kh * kw));
    let out = |extent: usize, taps: usize, i: usize| (extent - 1) * stride[i] + (taps - 1) * dilation[i] + 1;
    let [od, oh, ow] = [out(d, kd, 0), out(h, kh, 1), out(w, kw, 2)];
    let mut whole = vec![0.0; 2 * o * od * oh * ow];
    for (at, value) in x.iter().enumerate() {
        let (image, from) = (at / (c * d * h * w), at / (d * h * w) % c);
        let (layer, row, column) = (at / (h * w) % d, at / w % h, at % w);
        for i in 0..o / groups * kd * kh * kw {
            let channel = from / (c / groups) * (o / groups) + i / (kd * kh * kw);
            let (k, a, b) = (i / (kh * kw) % kd, i / kw % kh, i % kw);
            let (k, a) = (layer * stride[0] + k * dilation[0], row * stride[1] + a * dilation[1]);
            let to = (((image * o + channel) * od + k) * oh + a) * ow + column * stride[2] + b * dilation[2];
            whole[to] += value * kernel[from * (o / groups) * kd * kh * kw + i];
        }
    }
    // One layer is cut off before, one row behind.
    let mut expected = Vec::new();
    for (plane, values) in whole.chunks_exact(od * oh * ow).enumerate() {
        for layer in values.chunks_exact(oh * ow).skip(1) {
            expected.extend(layer[..(oh - 1) * ow].iter().map(|v| v + bias[plane % o]));
        }
    }
    let signed = |sizes: [usize; 3]| sizes.map(|size| size as i64);
    let (stride, dilation) = (signed(stride), signed(dilation));
    let attributes = [
        ("strides", Is::Ints(&stride)),
        ("dilations", Is::Ints(&dilation)),
        ("group", Is::Int(groups as i64)),
        ("pads", Is::Ints(&[1, 0, 0, 0, 1, 0])),
    ];
    let shape = [c, o / groups, kd, kh, kw].map(|extent| extent as i64);
    let model = Model::new(17).input("x", &[2, c as i64, d as i64, h as i64, w as i64]).weight("w", &shape, &kernel);
    let model = model.weight("b", &[o as i64], &bias);
    near(&of(model, "ConvTranspose", "x w b", &attributes, &x), &expected, 1e-5);
}

#[test]
fn resizing_takes_scales_or_sizes() {
    let x = [0.0, 1.0, 2.0, 4.0];
    let check = |model: Model, op: &str, inputs: &str, attributes: &[(&str, Is<'_>)], expected: &[f32]| {
        near(&of(model.input("x", &[1, 1, 1, 4]), op, inputs, attributes, &x), expected, 1e-6);
    };
    let twice = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0];
    let scales = |opset| Model::new(opset).weight("s", &[4], &[1.0, 1.0, 1.0, 2.0]);
    check(scales(9), "Upsample", "x s", &[], &twice);
    check(scales(10), "Resize", "x s", &[], &twice);
    // Before version 11, of fewer elements the next ones, as ONNX's test of version 10 has it; of more the last ones.
    let both = |by: [f32; 2]| {
        let model = Model::new(10).input("x", &[1, 1, 2, 4]).weight("s", &[4], &[1.0, 1.0, by[0], by[1]]);
        of(model, "Resize", "x s", &[], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    };
    near(&both([0.6, 0.6]), &[1.0, 3.0], 0.0);
    near(&both([1.5, 0.6]), &[1.0, 3.0, 1.0, 3.0, 5.0, 7.0], 0.0);
    let linear = || ("mode", Is::Text("linear"));
    check(scales(9), "Upsample", "x s", &[linear()], &[0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 4.0]);
    check(scales(13), "Resize", "x _ s", &[linear()], &[0.0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 4.0]);
    let asymmetric = || ("coordinate_transformation_mode", Is::Text("asymmetric"));
    check(scales(13), "Resize", "x _ s", &[asymmetric(), ("nearest_mode", Is::Text("floor"))], &twice);
    let sizes = || Model::new(18).integers("z", &[2], &[1, 7]);
    let align = ("coordinate_transformation_mode", Is::Text("align_corners"));
    let attributes = [linear(), align, ("axes", Is::Ints(&[2, 3]))];
    let kept = |policy: &'static str| {
        [("keep_aspect_ratio_policy", Is::Text(policy)), ("axes", Is::Ints(&[2, 3])), asymmetric()]
    };
    check(sizes(), "Resize", "x _ _ z", &kept("not_larger"), &x);
    check(sizes(), "Resize", "x _ _ z", &kept("not_smaller"), &[0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0].repeat(2));
    check(sizes(), "Resize", "x _ _ z", &attributes, &[0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0]);
}

/// What ONNX Runtime 1.32.0 takes on the CPU, for maps and, by a matrix, for other values. It rounds the quotient of two
/// sizes: of the middle one of 19 the place is 3 exactly, and of element 32 of 64 it is 13.
#[test]
fn nearest_elements_by_sizes_are_those_of_onnx_runtime() {
    let halves: Vec<usize> = (0..64).map(|y| if y == 32 { 12 } else { y * 26 / 64 }).collect();
    let cases: [(usize, &str, &str, &[usize]); 4] = [
        (26, "asymmetric", "floor", &halves),
        (7, "asymmetric", "round_prefer_ceil", &[0, 4]),
        (
            20,
            "half_pixel",
            "round_prefer_floor",
            &[0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11, 11, 12, 13, 14, 14, 15, 16, 17, 18, 18, 19],
        ),
        (7, "half_pixel", "ceil", &[0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 6]),
    ];
    for (inputs, coordinates, rounding, places) in cases {
        let x: Vec<f32> = (0..inputs).map(|i| i as f32).collect();
        let expected: Vec<f32> = places.iter().map(|&place| place as f32).collect();
        let attributes =
            [("coordinate_transformation_mode", Is::Text(coordinates)), ("nearest_mode", Is::Text(rounding))];
        for rank in [4, 3] {
            let shape = |last: usize| [vec![1; rank - 1], vec![last as i64]].concat();
            let model = Model::new(17).input("x", &shape(inputs));
            let model = model.integers("z", &[rank as i64], &shape(places.len()));
            near(&of(model, "Resize", "x _ _ z", &attributes, &x), &expected, 0.0);
        }
    }
    // One scale for both sides, by the sizes of one of them.
    let model = Model::new(18).input("x", &[1, 1, 14, 7]).integers("z", &[2], &[100, 2]);
    let attributes = [
        ("axes", Is::Ints(&[2, 3])),
        ("keep_aspect_ratio_policy", Is::Text("not_larger")),
        ("coordinate_transformation_mode", Is::Text("asymmetric")),
        ("nearest_mode", Is::Text("round_prefer_ceil")),
    ];
    let x: Vec<f32> = (0..14 * 7).map(|i| i as f32).collect();
    let rows = [0.0, 4.0, 7.0, 11.0];
    let expected: Vec<f32> = rows.iter().flat_map(|row| [row * 7.0, row * 7.0 + 4.0]).collect();
    near(&of(model, "Resize", "x _ _ z", &attributes, &x), &expected, 0.0);
}

/// A constant that f32 does not hold.
#[test]
fn integers_are_padded_by_whole_integers() {
    let by = (1i64 << 33) + 1;
    let model = Model::new(13).typed_input("x", DataType::Int64, &[1, 1, 1, 2]).integers("v", &[1], &[by]);
    let model = model.integers("p", &[8], &[0, 0, 1, 1, 0, 0, 0, 1]).node("Pad", "x p v", "y", &[]).output("y");
    let import = imported(&model);
    let x = Elements::I64(vec![1 << 40, 5]);
    let y = interp::run(&import.graph, &import.tensors, &[x]).expect("it runs").remove(0);
    assert_eq!(y, Elements::I64(vec![by, by, by, by, by, 1 << 40, 5, by]));
}

#[test]
fn lines_are_images_of_one_row() {
    let (x, kernel) = (ramp(2 * 3 * 7), ramp(4 * 3 * 2));
    let model = Model::new(17).input("x", &[2, 3, 7]).weight("w", &[4, 3, 2], &kernel);
    let attributes = [("strides", Is::Ints(&[2])), ("pads", Is::Ints(&[1, 0]))];
    let expected = convolved(&x, [3, 1, 7], &kernel, [4, 1, 2], 1, [0, 1], 2, [1, 4]);
    near(&of(model, "Conv", "x w", &attributes, &x), &expected, 1e-5);
    let pool = [("kernel_shape", Is::Ints(&[3])), ("strides", Is::Ints(&[2]))];
    let model = || Model::new(17).input("x", &[2, 3, 7]);
    let most: Vec<f32> = (0..18).map(|i| x[i / 3 * 7 + i % 3 * 2 + 2]).collect();
    near(&of(model(), "MaxPool", "x", &pool, &x), &most, 0.0);
    let means: Vec<f32> = (0..6).map(|i| x[i * 7 + 3]).collect();
    near(&of(model(), "GlobalAveragePool", "x", &[], &x), &means, 1e-6);
    // Transposed, with a tap cut off before.
    let kernel = ramp(3 * 4 * 3);
    let spread_out = [("strides", Is::Ints(&[2])), ("pads", Is::Ints(&[1, 0])), ("output_padding", Is::Ints(&[1]))];
    let (whole, [_, width]) = spread(&x, [3, 1, 7], &kernel, [4, 1, 3], 1, [1, 2], [1, 1]);
    let expected: Vec<f32> = whole.chunks_exact(width).flat_map(|row| row[1..].iter().copied().chain([0.0])).collect();
    let model = model().weight("w", &[3, 4, 3], &kernel);
    near(&of(model, "ConvTranspose", "x w", &spread_out, &x), &expected, 1e-5);
}

/// Rounded up, a window larger than the map is one, of what there is.
#[test]
fn a_window_that_reaches_beyond_the_map_by_less_than_a_step_is_one() {
    let x = ramp(16);
    let pool = |op: &str| {
        let attributes =
            [("kernel_shape", Is::Ints(&[2, 2])), ("strides", Is::Ints(&[2, 2])), ("ceil_mode", Is::Int(1))];
        of(Model::new(17).input("x", &[1, 1, 1, 16]), op, "x", &attributes, &x)
    };
    let pairs = |f: fn(f32, f32) -> f32| x.chunks(2).map(|pair| f(pair[0], pair[1])).collect::<Vec<_>>();
    near(&pool("MaxPool"), &pairs(f32::max), 0.0);
    near(&pool("AveragePool"), &pairs(|a, b| (a + b) / 2.0), 1e-6);
}

/// Layers that no tap leads to are the bias alone.
#[test]
fn layers_of_padding_alone_are_the_bias() {
    let conv =
        Model::new(17).input("x", &[1, 1, 1, 1, 1]).weight("w", &[1, 1, 1, 1, 1], &[2.0]).weight("b", &[1], &[0.5]);
    let y = of(conv.clone(), "Conv", "x w b", &[("pads", Is::Ints(&[1, 0, 0, 1, 0, 0]))], &[3.0]);
    assert_eq!(y, [0.5, 6.5, 0.5]);
    let steps = [("strides", Is::Ints(&[3, 1, 1])), ("output_padding", Is::Ints(&[1, 0, 0]))];
    assert_eq!(of(conv, "ConvTranspose", "x w b", &steps, &[3.0]), [6.5, 0.5]);
}

/// With steps of 1 the kernel of a transposed convolution keeps its taps, as far apart as they are.
#[test]
fn a_dilated_transposed_convolution_of_single_steps_keeps_its_taps() {
    let model = Model::new(17).input("x", &[1, 1, 1, 3]).weight("w", &[1, 1, 1, 2], &[1.0, 10.0]);
    let model = model.node("ConvTranspose", "x w", "y", &[("dilations", Is::Ints(&[1, 2]))]).output("y");
    assert_eq!(answers(&model, &[vec![1.0, 2.0, 3.0]]), [[1.0, 2.0, 13.0, 20.0, 30.0]]);
    let graph = imported(&model).graph;
    let taps = graph.order().into_iter().find_map(|id| match graph.node(id).op {
        Op::Conv(conv) => Some(conv.window.kernel),
        _ => None,
    });
    assert_eq!(taps, Some([1, 2]));
}
