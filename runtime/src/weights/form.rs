//! The orders in which packed tensors are stored.

use super::evaluate::{Evaluator, row_count, row_len};
use super::expr::{ExprError, ExprId};

/// Channels in a block.
const BLOCK: usize = 16;
/// How much of a tensor without blocks is evaluated at once, in elements.
const SLICE: usize = 1 << 16;

/// How a packed tensor is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// A vector by channel, padded with zeros to a multiple of 16. From `[C]`, or C and extents of 1.
    Vector,
    /// Panels of one output block: `[O/16]` of { for each input block of 16 channels: `[KH][KW][channels that exist in
    /// the block][16 O]` }. Exactly I input channels; output channels are padded with zeros. From O, I and any further
    /// extents, where I counts the input channels of a group.
    Panel,
    /// `[C/16][KH][KW][16]`, the last block padded with zeros. From C, 1 and any further extents.
    Depthwise,
    /// Kernels G g Gᵀ of Winograd's F(2×2, 3×3) on 16 points: `[O/16][16][I][16 O]`, outputs padded with zeros. From O, I,
    /// 3 and 3.
    WinogradF2,
    /// The same of F(4×4, 3×3) on 36 points: `[O/16][36][I][16 O]`.
    WinogradF4,
    /// The tensor as it is, row-major.
    Plain,
}

/// G of F(2×2, 3×3): what takes a kernel to its points (Lavin and Gray, arXiv 1509.09308).
const WINOGRAD_F2: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
/// The points of F(4×4, 3×3) are 0, these two with both signs, and infinity. Rounding errors of sums over 64 to 256 channels
/// are 1.8 times those of direct convolution; with the usual 1 and 2 they are 4.2 times as large. All powers that the
/// transforms need are exact.
pub const WINOGRAD_F4_POINTS: [f64; 2] = [11.0 / 16.0, 3.0 / 2.0];

/// G of F(4×4, 3×3) by Cook and Toom: of each point p the row [1, p, p²], divided by the product of p's distances to the other
/// finite points.
const WINOGRAD_F4: [[f64; 3]; 6] = {
    let [a, b] = WINOGRAD_F4_POINTS;
    let (near, far) = (2.0 * a * a * (a * a - b * b), 2.0 * b * b * (b * b - a * a));
    [
        [1.0 / (a * a * b * b), 0.0, 0.0],
        [1.0 / near, a / near, a * a / near],
        [1.0 / near, -a / near, a * a / near],
        [1.0 / far, b / far, b * b / far],
        [1.0 / far, -b / far, b * b / far],
        [0.0, 0.0, 1.0],
    ]
};

impl Form {
    /// All forms.
    pub const ALL: [Self; 6] =
        [Self::Vector, Self::Panel, Self::Depthwise, Self::WinogradF2, Self::WinogradF4, Self::Plain];

    /// The name as printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Panel => "panel",
            Self::Depthwise => "depthwise",
            Self::WinogradF2 => "winograd_f2",
            Self::WinogradF4 => "winograd_f4",
            Self::Plain => "plain",
        }
    }
}

/// The extents that a form sees in a shape: outputs, inputs, taps. None where it does not take the shape.
fn extents(form: Form, shape: &[usize]) -> Option<[usize; 3]> {
    match (form, shape) {
        (Form::Vector, &[channels, ref rest @ ..]) if rest.iter().all(|&extent| extent == 1) => Some([channels, 1, 1]),
        (Form::Panel, &[outputs, inputs, ref taps @ ..]) => Some([outputs, inputs, taps.iter().product()]),
        (Form::Depthwise, &[channels, 1, ref taps @ ..]) => Some([channels, 1, taps.iter().product()]),
        (Form::WinogradF2 | Form::WinogradF4, &[outputs, inputs, 3, 3]) => Some([outputs, inputs, 9]),
        (Form::Plain, shape) => Some([row_count(shape) as usize, row_len(shape), 1]),
        (Form::Vector | Form::Panel | Form::Depthwise | Form::WinogradF2 | Form::WinogradF4, _) => None,
    }
}

/// The length of a packed tensor in `f32` elements. None where the form does not take the shape.
pub fn packed_len(form: Form, shape: &[usize]) -> Option<usize> {
    let [outputs, inputs, taps] = extents(form, shape)?;
    match form {
        Form::Vector | Form::Panel | Form::Depthwise => Some(outputs.next_multiple_of(BLOCK) * inputs * taps),
        Form::WinogradF2 => Some(outputs.next_multiple_of(BLOCK) * inputs * WINOGRAD_F2.len().pow(2)),
        Form::WinogradF4 => Some(outputs.next_multiple_of(BLOCK) * inputs * WINOGRAD_F4.len().pow(2)),
        Form::Plain => Some(outputs * inputs * taps),
    }
}

/// Evaluates an expression and hands it out in its form, piece by piece: a piece is an output block, or a slice of what
/// has none.
///
/// # Errors
/// The expression is not there, or the form does not take its shape.
pub fn pack(evaluator: &Evaluator<'_>, id: ExprId, form: Form, emit: &mut dyn FnMut(&[f32])) -> Result<(), ExprError> {
    let shape = evaluator.shape(id)?;
    let [outputs, inputs, taps] = extents(form, shape).ok_or_else(|| refusal(id, form, shape))?;
    let row = inputs * taps;
    let at_once = match form {
        Form::Vector => SLICE,
        Form::Panel | Form::Depthwise | Form::WinogradF2 | Form::WinogradF4 => BLOCK,
        Form::Plain => (SLICE / row.max(1)).max(1),
    };
    let mut piece = Vec::new();
    for start in (0..outputs).step_by(at_once) {
        let end = outputs.min(start + at_once);
        let values = evaluator.rows(id, &(start as u32..end as u32).collect::<Vec<_>>());
        piece.clear();
        match form {
            Form::Vector | Form::Plain => piece.extend(values.iter().map(|&value| value as f32)),
            Form::Panel | Form::Depthwise => panel(&values, inputs, taps, &mut piece),
            Form::WinogradF2 => winograd(&values, inputs, &WINOGRAD_F2, &mut piece),
            Form::WinogradF4 => winograd(&values, inputs, &WINOGRAD_F4, &mut piece),
        }
        if form == Form::Vector {
            piece.resize(piece.len().next_multiple_of(BLOCK), 0.0);
        }
        emit(&piece);
    }
    Ok(())
}

/// One output block, of as many outputs as there are rows in `values`. A depthwise block is a panel of one input.
fn panel(values: &[f64], inputs: usize, taps: usize, piece: &mut Vec<f32>) {
    let row = inputs * taps;
    for block in (0..inputs).step_by(BLOCK) {
        for tap in 0..taps {
            for input in block..inputs.min(block + BLOCK) {
                let outputs = values.chunks_exact(row).map(|row| row[input * taps + tap] as f32);
                piece.extend(outputs.chain([0.0; BLOCK]).take(BLOCK));
            }
        }
    }
}

/// One output block of 3×3 kernels on the points of `to_points`.
fn winograd<const POINTS: usize>(values: &[f64], inputs: usize, to_points: &[[f64; 3]; POINTS], piece: &mut Vec<f32>) {
    let dot = |a: &[f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let start = piece.len();
    piece.resize(start + POINTS * POINTS * inputs * BLOCK, 0.0);
    for (output, row) in values.chunks_exact(inputs * 9).enumerate() {
        for (input, g) in row.chunks_exact(9).enumerate() {
            for (i, down) in to_points.iter().enumerate() {
                let columns = [0, 1, 2].map(|column| dot(down, [g[column], g[3 + column], g[6 + column]]));
                for (j, across) in to_points.iter().enumerate() {
                    let point = i * POINTS + j;
                    piece[start + (point * inputs + input) * BLOCK + output] = dot(across, columns) as f32;
                }
            }
        }
    }
}

/// The error of a form that does not take a shape.
pub(super) fn refusal(id: ExprId, form: Form, shape: &[usize]) -> ExprError {
    ExprError { id, message: format!("shape {shape:?} has no {} form", form.name()) }
}

#[cfg(test)]
mod tests {
    use super::super::expr::Expr;
    use super::super::source::FillSource;
    use super::*;
    use crate::fill::{Kind, fill};

    fn packed(form: Form, shape: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let exprs = [Expr::Read { name: "w".into(), kind: Kind::Kernel, shape: shape.to_vec().into() }];
        let source = FillSource { gain: 1.0 };
        let evaluator = Evaluator::new(&exprs, &source).unwrap();
        let mut packed = Vec::new();
        pack(&evaluator, ExprId(0), form, &mut |piece| packed.extend_from_slice(piece)).unwrap();
        assert_eq!(Some(packed.len()), packed_len(form, shape), "{form:?} {shape:?}");
        (packed, fill("w", Kind::Kernel, shape, 1.0))
    }

    #[test]
    fn panels_by_index() {
        for [o, i, kh, kw] in [[16, 16, 1, 1], [35, 3, 3, 3], [17, 40, 2, 3], [1, 1, 1, 1]] {
            let (packed, plain) = packed(Form::Panel, &[o, i, kh, kw]);
            let panel = i * kh * kw * 16;
            for oc in 0..o.next_multiple_of(16) {
                for ic in 0..i {
                    for tap in 0..kh * kw {
                        let exist = 16.min(i - ic / 16 * 16);
                        let place = ic / 16 * 16 * kh * kw * 16 + (tap * exist + ic % 16) * 16 + oc % 16;
                        let expected = if oc < o { plain[(oc * i + ic) * kh * kw + tap] } else { 0.0 };
                        assert_eq!(packed[oc / 16 * panel + place], expected, "{o} {i} {kh} {kw}: {oc} {ic} {tap}");
                    }
                }
            }
        }
        assert_eq!(packed(Form::Panel, &[20, 33]).0, packed(Form::Panel, &[20, 33, 1, 1]).0);
    }

    #[test]
    fn depthwise_by_index() {
        let (packed, plain) = packed(Form::Depthwise, &[21, 1, 3, 5]);
        for channel in 0..32 {
            for tap in 0..15 {
                let expected = if channel < 21 { plain[channel * 15 + tap] } else { 0.0 };
                assert_eq!(packed[(channel / 16 * 15 + tap) * 16 + channel % 16], expected);
            }
        }
    }

    /// The points of a kernel times those of a patch are, back in pixels, what the kernel gives on the patch.
    #[test]
    fn winograd_points_filter_as_their_kernels_do() {
        // Bᵀ and Aᵀ: of F(2×2, 3×3) from the paper that has G, of F(4×4, 3×3) by their definition.
        let f2: [&[&[f64]]; 2] = [
            &[&[1., 0., -1., 0.], &[0., 1., 1., 0.], &[0., -1., 1., 0.], &[0., 1., 0., -1.]],
            &[&[1., 1., 1., 0.], &[0., 1., -1., -1.]],
        ];
        let [a, b] = WINOGRAD_F4_POINTS;
        let (a2, b2) = (a * a, b * b);
        let f4: [&[&[f64]]; 2] = [
            &[
                &[a2 * b2, 0., -a2 - b2, 0., 1., 0.],
                &[0., -a * b2, -b2, a, 1., 0.],
                &[0., a * b2, -b2, -a, 1., 0.],
                &[0., -a2 * b, -a2, b, 1., 0.],
                &[0., a2 * b, -a2, -b, 1., 0.],
                &[0., a2 * b2, 0., -a2 - b2, 0., 1.],
            ],
            &[
                &[1., 1., 1., 1., 1., 0.],
                &[0., a, -a, b, -b, 0.],
                &[0., a2, a2, b2, b2, 0.],
                &[0., a * a2, -a * a2, b * b2, -b * b2, 1.],
            ],
        ];
        let [outputs, inputs] = [17, 5];
        for (form, [to_points, to_outputs]) in [(Form::WinogradF2, f2), (Form::WinogradF4, f4)] {
            let (packed, plain) = packed(form, &[outputs, inputs, 3, 3]);
            let (n, m) = (to_points.len(), to_outputs.len());
            let patch = |row: usize, column: usize| ((row * 7 + column * 3) % 11) as f64 - 5.0;
            // Along both axes: by[i] · x · by[j].
            let both = |by: &[&[f64]], i: usize, j: usize, x: &dyn Fn(usize, usize) -> f64| -> f64 {
                (0..n).map(|r| (0..n).map(|c| by[i][r] * x(r, c) * by[j][c]).sum::<f64>()).sum()
            };
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                let kernel = |point: usize| f64::from(packed[((o / 16 * n * n + point) * inputs + i) * 16 + o % 16]);
                let product = |r: usize, c: usize| kernel(r * n + c) * both(to_points, r, c, &patch);
                for (y, x) in (0..m).flat_map(|y| (0..m).map(move |x| (y, x))) {
                    let tap = |k: usize| f64::from(plain[(o * inputs + i) * 9 + k]);
                    let expected: f64 = (0..9).map(|k| tap(k) * patch(y + k / 3, x + k % 3)).sum();
                    let found = both(to_outputs, y, x, &product);
                    assert!((found - expected).abs() < 1e-5, "{form:?} {o} {i} {y} {x}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn vectors_and_plain_tensors() {
        let (vector, plain) = packed(Form::Vector, &[21]);
        assert_eq!((&vector[..21], &vector[21..]), (&plain[..], &[0.0; 11][..]));
        assert_eq!(packed(Form::Vector, &[21, 1, 1]).0.len(), 32);
        for shape in [&[][..], &[7], &[3, 100_000], &[300, 2, 250], &[0, 3], &[3, 0]] {
            let (packed, plain) = packed(Form::Plain, shape);
            assert_eq!(packed, plain);
        }
    }

    #[test]
    fn shapes_that_a_form_does_not_take() {
        for (form, shape) in [(Form::Vector, &[2, 3][..]), (Form::Panel, &[2]), (Form::Depthwise, &[4, 2, 3, 3])]
            .into_iter()
            .chain([(Form::WinogradF2, &[32, 16, 3][..]), (Form::WinogradF4, &[32, 16, 5, 5])])
        {
            assert_eq!(packed_len(form, shape), None);
        }
    }
}
