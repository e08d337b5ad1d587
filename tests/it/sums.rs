//! Long sums: means over many elements far from zero, whose error must not grow with their number.

use kiln_compiler::graph::{Elements, Graph, Op, Origin, Pads, Pool, TensorType, Verified, Window, interp, verify};
use kiln_compiler::kernel::{self, interp::Options};
use kiln_compiler::lower::lower;
use kiln_compiler::pipeline::{self, compile};
use kiln_compiler::target::Target;
use kiln_rt::weights::FillSource;

use crate::crates::Built;
use crate::golden::elaborated;
use crate::oracle::error;
use crate::random::Random;

/// The largest error of a mean, relative to it.
const TOLERANCE: f64 = 1e-6;

/// Numbers of deviation 1 around an offset.
fn around(offset: f32, len: usize) -> Vec<f32> {
    let mut random = Random(len as u64);
    let width = 12f32.sqrt();
    (0..len).map(|_| offset + ((random.next() >> 40) as f32 / (1 << 24) as f32 - 0.5) * width).collect()
}

fn pool(kernel: [usize; 2], stride: [usize; 2], pads: Pads, dilation: [usize; 2], count_include_pad: bool) -> Op {
    let window = Window { kernel, stride, pads, dilation };
    Op::AvgPool(Pool { window, ceil_mode: false, count_include_pad })
}

/// A network whose outputs are some pools of its input, and the softmax of each of its lines.
fn network(shape: [usize; 4], pools: &[Op]) -> Graph {
    let mut graph = Graph::new("Sums");
    let add = |graph: &mut Graph, op, x: &[_], name: &str| {
        graph.add(op, x, vec![], Origin::named(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let x = add(&mut graph, Op::Input(TensorType::f32(shape)), &[], "x");
    for (i, op) in pools.iter().enumerate() {
        let name = format!("mean{i}");
        let y = add(&mut graph, op.clone(), &[x], &name);
        graph.add_output(&name, y);
    }
    let [n, c, h, w] = shape;
    let lines = add(&mut graph, Op::Reshape { shape: vec![n * c, h * w] }, &[x], "lines");
    let shares = add(&mut graph, Op::Softmax { axis: 1 }, &[lines], "shares");
    graph.add_output("shares", shares);
    graph
}

/// The programs of all targets answer within the tolerance, those with FMA with the same bits.
fn hold_against_the_oracle(graph: &Verified<Graph>, input: &[f32]) {
    let source = FillSource { gain: 1.0 };
    let inputs = [input.to_vec()];
    let expected = interp::run_f32(graph, &source, &inputs).expect("the oracle runs");
    let mut with_fma = None;
    for target in [Target::Avx512, Target::Avx2, Target::Neon, Target::Base] {
        let program = kernel::verify::verify(lower(graph, target).expect("it lowers"));
        let program = program.unwrap_or_else(|found| panic!("{target}: {found:?}"));
        let options = Options { poison: true, ..Options::default() };
        let found = kernel::interp::run_with(&program, &source, &inputs, options).expect("it runs");
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = error(found, expected);
            assert!(error <= TOLERANCE, "output {i} on {target}: error {error:e}");
        }
        if target.has_fma() {
            assert!(*with_fma.get_or_insert(found.clone()) == found, "{target} gives other bits");
        }
    }
}

#[test]
fn means_are_right_whatever_the_window() {
    let (none, even) = (Pads::default(), Pads::symmetric);
    let uneven = Pads { top: 1, left: 30, bottom: 0, right: 21 };
    let pools = [
        Op::GlobalAvgPool,
        // Rows summed apart; trees over rows that the edge narrows, over rows in classes, over all.
        pool([9, 9], [3, 2], even(4, 4), [1, 1], false),
        pool([40, 33], [7, 5], even(20, 16), [1, 1], false),
        pool([40, 33], [7, 5], even(20, 16), [1, 1], true),
        pool([3, 70], [2, 3], uneven, [2, 2], true),
        pool([70, 3], [3, 20], even(35, 1), [2, 1], false),
        pool([64, 64], [64, 64], none, [1, 1], false),
        pool([151, 203], [1, 1], none, [1, 1], false),
    ];
    let shape = [2, 3, 151, 203];
    let graph = verify::verify(network(shape, &pools)).expect("a sound graph");
    let len = shape.iter().product();
    hold_against_the_oracle(&graph, &around(1000.0, len));
    // A constant is off each time in the same direction.
    hold_against_the_oracle(&graph, &vec![1.234_567_8; len]);
}

/// Four million numbers, a thousand deviations from zero, in the crate.
#[test]
fn means_of_millions_are_right_in_crates() {
    let shape = [1, 1, 2049, 2048];
    let pools = [
        Op::GlobalAvgPool,
        pool([1024, 1023], [700, 900], Pads::symmetric(512, 511), [1, 1], false),
        pool([1024, 1024], [1025, 1024], Pads::default(), [1, 1], false),
    ];
    let (input, source) = (around(1000.0, shape.iter().product()), FillSource { gain: 1.0 });
    let compiled = compile(network(shape, &pools), &pipeline::Options::default()).expect("it compiles");
    let expected = interp::run_f32(&compiled.source, &source, std::slice::from_ref(&input)).expect("the oracle runs");
    let built = Built::new("sums", &compiled, &source);
    let mut with_fma = None;
    let input = [Elements::F32(input)];
    for (target, threads) in built.available_targets().into_iter().flat_map(|target| [(target, 1), (target, 3)]) {
        let found = built.run_elements(&input, target, threads);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = error(found.clone().into_f32().as_deref().expect("f32s"), expected);
            assert!(error <= TOLERANCE, "output {i} on {target}: error {error:e}");
        }
        if target.has_fma() {
            assert!(*with_fma.get_or_insert(found.clone()) == found, "{target} on {threads} threads gives other bits");
        }
    }
}

/// Thousands of products, whose errors grow with the root of a run's length, not with that of their number.
#[test]
fn sums_of_thousands_of_products_are_right() {
    let net = "net Products(x: [2, 512, 8, 8]) {
        let strided = conv(x, 40, kernel = 3, stride = 2, padding = 1);
        let square = conv(x, 20, kernel = 3, padding = 1);
        let wide = conv(x, 24, kernel = 5, stride = 2, padding = 2, groups = 2);
        let dense = linear(flatten(x), 33);
        let product = matmul(reshape(x, [2, 8, 4096]), reshape(x, [2, 4096, 8]));
        (strided, square, wide, dense, product)
    }";
    let graph = verify::verify(elaborated("products", net, &[])).expect("a sound graph");
    hold_against_the_oracle(&graph, &around(0.5, 2 * 512 * 64));
}
