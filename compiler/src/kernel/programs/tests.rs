use super::*;
use crate::kernel::interp::{Options, Split, run};
use crate::kernel::text::{parse, print};
use crate::kernel::verify::verify;
use crate::kernel::{Buffer, LANES, Program};

/// Numbers in -1..1 that differ.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    (0..len as u32).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// A program that the verifier accepts and that reads back from its print.
fn program(text: &str) -> Program {
    let program = parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parse(&print(&program)).unwrap_or_else(|error| panic!("{error}")), program);
    verify(program).unwrap_or_else(|found| panic!("{}", found[0])).into_inner()
}

/// Its output, the same for every split and whatever memory held before.
fn output(program: &Program, packed: impl Fn(&Buffer) -> Vec<f32>, inputs: &[Vec<f32>]) -> Vec<f32> {
    let run = |poison, split| {
        let options = Options { poison, split };
        run(program, &packed, inputs, options).unwrap_or_else(|error| panic!("{error}")).remove(0)
    };
    let first = run(false, Split::Whole);
    for split in [Split::Whole, Split::Workers(2), Split::Shuffled(1), Split::Shuffled(2)] {
        assert_eq!(run(true, split), first, "{split:?}");
    }
    first
}

/// Element of channel c at a pixel, of a map in blocks that lie one after the other.
fn at(map: &[f32], pixels: usize, c: usize, pixel: usize) -> f64 {
    f64::from(map[(c / LANES * pixels + pixel) * LANES + c % LANES])
}

fn assert_close(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= 1e-5 * (1.0 + want.abs()), "{what}: {got} for {want}");
}

/// A kernel `[O, I]` of a panel.
fn panel(weight: &[f32], inputs: usize, o: usize, i: usize) -> f64 {
    f64::from(weight[o / LANES * inputs * LANES + i * LANES + o % LANES])
}

#[test]
fn the_ring_computes_an_inverted_residual() {
    let program = program(INVERTED_RESIDUAL_RING);
    let packed = |buffer: &Buffer| {
        let scale = if buffer.name.ends_with("bias") { 1.0 } else { 0.4 };
        numbers(buffer.len, buffer.name.len() as u32 * 1000).into_iter().map(|v| v * scale).collect::<Vec<f32>>()
    };
    let weight = |name: &str| packed(program.buffers.iter().find(|buffer| buffer.name == name).unwrap());
    let x = numbers(3200, 1);
    let got = output(&program, packed, std::slice::from_ref(&x));

    let (side, pixels) = (10, 100);
    let relu6 = |v: f64| v.clamp(0.0, 6.0);
    let [expand, expand_bias] = [weight("expand"), weight("expand_bias")];
    let expanded = |c: usize, pixel: usize| {
        let sum: f64 = (0..32).map(|i| at(&x, pixels, i, pixel) * panel(&expand, 32, c, i)).sum();
        relu6(sum + f64::from(expand_bias[c]))
    };
    let map: Vec<Vec<f64>> = (0..48).map(|c| (0..pixels).map(|pixel| expanded(c, pixel)).collect()).collect();
    let [depthwise, depthwise_bias] = [weight("depthwise"), weight("depthwise_bias")];
    let filtered = |c: usize, pixel: usize| {
        let (row, column) = (pixel / side, pixel % side);
        let mut sum = f64::from(depthwise_bias[c]);
        for (kh, kw) in (0..3).flat_map(|kh| (0..3).map(move |kw| (kh, kw))) {
            let (row, column) = ((row + kh).wrapping_sub(1), (column + kw).wrapping_sub(1));
            if row < side && column < side {
                let w = depthwise[c / LANES * 144 + (kh * 3 + kw) * LANES + c % LANES];
                sum += map[c][row * side + column] * f64::from(w);
            }
        }
        relu6(sum)
    };
    let filtered: Vec<Vec<f64>> = (0..48).map(|c| (0..pixels).map(|pixel| filtered(c, pixel)).collect()).collect();
    let [project, project_bias] = [weight("project"), weight("project_bias")];
    for (o, pixel) in (0..32).flat_map(|o| (0..pixels).map(move |pixel| (o, pixel))) {
        let sum: f64 = (0..48).map(|i| filtered[i][pixel] * panel(&project, 48, o, i)).sum();
        let want = sum + f64::from(project_bias[o]) + at(&x, pixels, o, pixel);
        assert_close(at(&got, pixels, o, pixel), want, &format!("channel {o}, pixel {pixel}"));
    }
}

#[test]
fn winograd_computes_a_convolution() {
    let program = program(WINOGRAD_F2X2);
    let (side, pixels, channels) = (8, 64, 32);
    let weights = numbers(channels * channels * 9, 5);
    let g = |o: usize, i: usize, kh: usize, kw: usize| f64::from(weights[((o * channels + i) * 3 + kh) * 3 + kw]);
    // G of F(2×2, 3×3).
    let transform = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    let mut transformed = vec![0.0; 16 * channels * channels];
    for (o, i) in (0..channels).flat_map(|o| (0..channels).map(move |i| (o, i))) {
        for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
            let mut sum = 0.0;
            for (kh, kw) in (0..3).flat_map(|kh| (0..3).map(move |kw| (kh, kw))) {
                sum += transform[a][kh] * g(o, i, kh, kw) * transform[b][kw];
            }
            let block = ((a * 4 + b) * 2 + o / LANES) * 2 + i / LANES;
            transformed[(block * LANES + i % LANES) * LANES + o % LANES] = sum as f32;
        }
    }
    let bias = numbers(channels, 77);
    let x = numbers(channels * pixels, 3);
    let packed = |buffer: &Buffer| if buffer.name == "kernel" { transformed.clone() } else { bias.clone() };
    let got = output(&program, packed, std::slice::from_ref(&x));
    for (o, row, column) in (0..channels).flat_map(|o| (0..pixels).map(move |p| (o, p / side, p % side))) {
        let mut want = f64::from(bias[o]);
        for (kh, kw) in (0..3).flat_map(|kh| (0..3).map(move |kw| (kh, kw))) {
            let (row, column) = ((row + kh).wrapping_sub(1), (column + kw).wrapping_sub(1));
            if row < side && column < side {
                want += (0..channels).map(|i| at(&x, pixels, i, row * side + column) * g(o, i, kh, kw)).sum::<f64>();
            }
        }
        assert_close(at(&got, pixels, o, row * side + column), want, &format!("channel {o} at {row}, {column}"));
    }
}

#[test]
fn scattered_channels_are_read_where_they_lie() {
    let program = program(SCATTERED_POINTWISE);
    let packed = |buffer: &Buffer| numbers(buffer.len, buffer.len as u32);
    let (a, b) = (numbers(448, 1), numbers(224, 2000));
    let got = output(&program, packed, &[a.clone(), b.clone()]);
    let (weight, bias) = (numbers(640, 640), numbers(32, 32));
    // Channels 0, 3, 6, … come from `b`; the others alternate between the first and the second block of `a`.
    let from_b = [3, 0, 15, 7, 8, 1, 2];
    let channel = |i: usize, pixel: usize| match i % 3 {
        0 => b[16 * pixel + from_b[i / 3]],
        1 => a[16 * pixel + i / 3],
        _ => a[224 + 16 * pixel + 6 + i / 3],
    };
    for (o, pixel) in (0..32).flat_map(|o| (0..14).map(move |pixel| (o, pixel))) {
        let mut want = bias[o];
        for i in 0..20 {
            want = channel(i, pixel).mul_add(weight[o / 16 * 320 + 16 * i + o % 16], want);
        }
        assert_eq!(got[o / 16 * 224 + 16 * pixel + o % 16].to_bits(), want.to_bits(), "channel {o}, pixel {pixel}");
    }
}
