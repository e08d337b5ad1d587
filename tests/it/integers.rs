//! Networks of several types: crates give what the interpreters give, in all of their forms.

use kiln_compiler::graph::{
    Activation, Binary, Conv, DType, Elements, F32, Graph, NodeId, Op, Origin, Pads, TensorType, Window, interp,
};
use kiln_compiler::kernel;
use kiln_compiler::pipeline::{Options, compile};

use crate::crates::{Built, cargo, lock};

/// Adds a node; a weight is integers of this shape.
fn add(graph: &mut Graph, name: &str, op: Op, operands: &[NodeId], weight: Option<&[usize]>) -> NodeId {
    let weight = weight.map(|shape| {
        let integers = (0..shape.iter().product::<usize>()).map(|i| (i * 37 % 15) as f32 - 7.0);
        graph.weights.literal(shape, &integers.collect::<Vec<f32>>())
    });
    graph.add(op, operands, weight.into_iter().collect(), Origin::named(name)).expect("a sound node")
}

/// Bytes and floats in; bytes, sums of integers, and floats out. Odd extents and channels, two images, uneven padding.
fn network() -> Graph {
    let g = &mut Graph::new("Bytes");
    let pads = Pads { top: 1, left: 0, bottom: 0, right: 2 };
    let window = Window { kernel: [3, 3], stride: [1, 1], pads, dilation: [1, 1] };
    let conv = Op::Conv(Conv { channels: 18, window, groups: 1, bias: false });
    let f32 = F32::new;
    let quantize = Activation::Quantize { scale: f32(55.5), zero: f32(-3.0), lo: f32(-128.0), hi: f32(127.0) };
    let x = add(g, "pixels", Op::Input(TensorType { dtype: DType::U8, shape: vec![2, 3, 5, 7] }), &[], None);
    let shift = add(g, "shift", Op::Input(TensorType::f32([2, 18, 1, 1])), &[], None);
    let wide = add(g, "wide", Op::Cast(DType::I32), &[x], None);
    let sums = add(g, "sums", conv, &[wide], Some(&[18, 3, 3, 3]));
    let floats = add(g, "floats", Op::Cast(DType::F32), &[sums], None);
    let shifted = add(g, "shifted", Op::Binary(Binary::Add), &[floats, shift], None);
    let quantized = add(g, "quantized", Op::Activate(quantize), &[shifted], None);
    let bytes = add(g, "bytes", Op::Cast(DType::I8), &[quantized], None);
    let again = add(g, "again", Op::Identity, &[x], None);
    for (name, node) in [("integers", bytes), ("sums", sums), ("numbers", shifted), ("pixels again", again)] {
        g.add_output(name, node);
    }
    g.clone()
}

#[test]
fn a_crate_of_several_types_gives_the_interpreters_numbers() {
    let compiled = compile(network(), &Options::default()).expect("it compiles");
    let source = interp::Fill { gain: 1.0 };
    let pixels = (0..2 * 3 * 5 * 7).map(|i| (i * 89 + i / 7 * 31) as u8).collect();
    let shift = (0..2 * 18).map(|i| i as f32 * 3.25 - 40.0).collect();
    let inputs = [Elements::U8(pixels), Elements::F32(shift)];
    let expected = interp::run(&compiled.source, &source, &inputs).expect("the oracle runs");
    for program in &compiled.programs {
        let options = kernel::interp::Options { poison: true, ..Default::default() };
        let found = kernel::interp::run_elements(program, &source, &inputs, options).expect("the kernels run");
        assert_eq!(found, expected, "{}", program.target);
    }
    let built = Built::new("of_several_types", &compiled, &source);
    for target in built.available_targets() {
        for threads in [1, 2] {
            assert_eq!(built.run_elements(&inputs, target, threads), expected, "{target}, {threads} threads");
        }
    }
    // The README's program, the functions for C, the documentation, and what a crate without a system holds.
    let _one = lock();
    cargo(built.folder(), &["test", "--doc"]);
    cargo(built.folder(), &["check", "--all-targets", "--features", "capi"]);
    cargo(built.folder(), &["check", "--lib", "--no-default-features"]);
    let header = std::fs::read_to_string(built.folder().join("include/emitted_of_several_types.h")).expect("a header");
    for text in ["const uint8_t *pixels", "const float *shift", "int8_t *integers", "int32_t *sums", "<stdint.h>"] {
        assert!(header.contains(text), "{text}");
    }
}

#[test]
fn what_has_no_kernel_is_named() {
    let g = &mut Graph::new("Wraps");
    let x = add(g, "x", Op::Input(TensorType { dtype: DType::U8, shape: vec![4] }), &[], None);
    let y = add(g, "twice", Op::Binary(Binary::Add), &[x, x], None);
    let long = add(g, "long", Op::Cast(DType::I64), &[y], None);
    g.add_output("y", long);
    let source = interp::Fill { gain: 1.0 };
    let inputs = [Elements::U8(vec![1, 127, 128, 255])];
    let found = interp::run(g, &source, &inputs).expect("the oracle runs");
    assert_eq!(found, [Elements::I64(vec![2, 254, 0, 254])], "it wraps");
    let message = compile(g.clone(), &Options::default()).expect_err("there are no kernels").to_string();
    assert!(message.contains("`long`: no kernels for elements of type i64"), "{message}");
}

#[test]
fn bytes_wrap() {
    let (x, y): (Vec<u8>, Vec<u8>) = (0..=255).flat_map(|a| [1, 2, 7, 127, 128, 200, 255].map(|b| (a, b))).unzip();
    for dtype in [DType::U8, DType::I8] {
        for binary in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Min, Binary::Max] {
            let g = &mut Graph::new("Wraps");
            let ty = TensorType { dtype, shape: vec![x.len()] };
            let operands = ["x", "y"].map(|name| add(g, name, Op::Input(ty.clone()), &[], None));
            let pair = add(g, "pair", Op::Binary(binary), &operands, None);
            // What stays in memory is as wide as what is read again.
            let wide = add(g, "wide", Op::Cast(DType::I32), &[pair], None);
            [("pair", pair), ("wide", wide)].into_iter().for_each(|(name, node)| g.add_output(name, node));
            let source = interp::Fill { gain: 1.0 };
            let inputs = [&x, &y].map(|bytes| match dtype {
                DType::U8 => Elements::U8(bytes.clone()),
                _ => Elements::I8(bytes.iter().map(|&v| v as i8).collect()),
            });
            let compiled = compile(g.clone(), &Options::default()).expect("it compiles");
            let expected = interp::run(&compiled.source, &source, &inputs).expect("the oracle runs");
            for program in &compiled.programs {
                let options = kernel::interp::Options::default();
                let found = kernel::interp::run_elements(program, &source, &inputs, options).expect("it runs");
                assert_eq!(found, expected, "{binary:?} of {dtype} on {}", program.target);
            }
        }
    }
}
