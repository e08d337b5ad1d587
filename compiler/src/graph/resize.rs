//! Resizing: where the elements of a result lie among those of its operand, and what is taken there.
//!
//! [`Coordinates::position`] and [`Resize::taken`] are the one place where positions are computed: the fronts, the
//! interpreter, the lowering and the writer of ONNX files ask them.

use std::fmt;

use super::F32;

/// A feature map sampled at other places, rows and columns apart: output row y lies at [`Coordinates::position`] among the
/// rows of the input, and [`Filter`] says what is taken there. Rows outside of the input are its first or last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resize {
    /// Rows and columns of the result, at least 1.
    pub size: [usize; 2],
    /// Outputs an input, along rows and columns. The size need not be the product.
    pub scale: [Scale; 2],
    /// What is taken.
    pub filter: Filter,
    /// Where.
    pub coordinates: Coordinates,
}

/// How many outputs an axis has for each input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scale {
    /// A quotient of extents, both at least 1: positions are exact.
    Ratio {
        /// The dividend.
        outputs: usize,
        /// The divisor.
        inputs: usize,
    },
    /// A number, positive and finite: positions are computed in f32, and one within 10^-6 of a half counts as a half where
    /// it is rounded to the nearest. So ONNX Runtime has it.
    Number(F32),
}

/// What is taken at a position p between elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// The element at p, rounded.
    Nearest(Rounding),
    /// With `i = floor(p)`: `(i + 1 - p) * x[i] + (p - i) * x[i + 1]`.
    Linear,
}

/// How a position becomes an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rounding {
    /// Downwards.
    Floor,
    /// Upwards.
    Ceil,
    /// To the nearest, halves downwards.
    HalfDown,
    /// To the nearest, halves upwards.
    HalfUp,
}

/// Where an output lies among inputs, of which it has s an element; with the names of ONNX. Where s is 1, output y lies at
/// y.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coordinates {
    /// `(y + 1/2) / s - 1/2`
    HalfPixel,
    /// The same, but 0 where there is one output.
    PytorchHalfPixel,
    /// The same, moved so that the middle of the outputs lies at the middle of the inputs:
    /// `(y + 1/2) / s - 1/2 + inputs / 2 * (1 - outputs / (s * inputs))`.
    HalfPixelSymmetric,
    /// `(y + 1/2) / s`
    TfHalfPixelForNn,
    /// `y / s`
    Asymmetric,
    /// `y * (inputs - 1) / (outputs - 1)`, 0 where there is one output.
    AlignCorners,
}

/// A place among the elements of an axis: `below + share`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// The element at or before the place; negative before the first one.
    pub below: i64,
    /// How far behind that element, from 0 to less than 1. Of a quotient of integers below 2^52 it is 0 or 1/2 only where
    /// it is that exactly.
    pub share: f64,
}

/// How near to a half a position that was computed in f32 is one.
const HALF: f64 = 1e-6;

impl Resize {
    /// What output `y` takes along rows (0) or columns (1), of which the input has `extent`: one element, or two, with
    /// their shares.
    pub fn taken(&self, side: usize, extent: usize, y: usize) -> Vec<(usize, f64)> {
        let within = |element: i64| element.clamp(0, extent as i64 - 1) as usize;
        let position = self.coordinates.position(self.scale[side], [extent, self.size[side]], y);
        match self.filter {
            Filter::Nearest(rounding) => vec![(within(rounding.element(position, self.scale[side])), 1.0)],
            Filter::Linear => {
                let Position { below, share } = position;
                vec![(within(below), 1.0 - share), (within(below + 1), share)]
            }
        }
    }
}

impl Scale {
    /// As a number, rounded.
    pub fn to_f64(self) -> f64 {
        match self {
            Scale::Ratio { outputs, inputs } => outputs as f64 / inputs as f64,
            Scale::Number(scale) => f64::from(scale.get()),
        }
    }

    /// Whether it is positive and no larger than any network needs.
    pub fn is_bounded(self) -> bool {
        match self {
            Scale::Ratio { outputs, inputs } => [outputs, inputs].iter().all(|extent| (1..=1 << 32).contains(extent)),
            Scale::Number(scale) => scale.get().is_finite() && scale.get() > 0.0,
        }
    }

    /// Whether it is 1.
    pub fn is_one(self) -> bool {
        match self {
            Scale::Ratio { outputs, inputs } => outputs == inputs,
            Scale::Number(scale) => scale.get() == 1.0,
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scale::Ratio { outputs, inputs } => write!(f, "{outputs}/{inputs}"),
            Scale::Number(scale) => write!(f, "{}", scale.get()),
        }
    }
}

impl Coordinates {
    /// Where output `y` of `outputs` lies among `inputs`.
    pub fn position(self, scale: Scale, [inputs, outputs]: [usize; 2], y: usize) -> Position {
        use Coordinates::{
            AlignCorners, Asymmetric, HalfPixel, HalfPixelSymmetric, PytorchHalfPixel, TfHalfPixelForNn,
        };
        if scale.is_one() {
            return Position { below: y as i64, share: 0.0 };
        }
        match (self, scale) {
            (PytorchHalfPixel | AlignCorners, _) if outputs == 1 => Position { below: 0, share: 0.0 },
            (AlignCorners, _) => quotient(y as i128 * (inputs as i128 - 1), outputs as i128 - 1),
            (_, Scale::Ratio { outputs: a, inputs: b }) => {
                let [y, inputs, outputs, a, b] = [y, inputs, outputs, a, b].map(|extent| extent as i128);
                match self {
                    HalfPixel | PytorchHalfPixel => quotient((2 * y + 1) * b - a, 2 * a),
                    HalfPixelSymmetric => quotient((inputs - 1) * a + (2 * y + 1 - outputs) * b, 2 * a),
                    TfHalfPixelForNn => quotient((2 * y + 1) * b, 2 * a),
                    Asymmetric | AlignCorners => quotient(y * b, a),
                }
            }
            (_, Scale::Number(scale)) => {
                let (y, s) = (y as f32, scale.get());
                Position::of(match self {
                    HalfPixel | PytorchHalfPixel => (y + 0.5) / s - 0.5,
                    HalfPixelSymmetric => {
                        let (inputs, outputs) = (inputs as f32, outputs as f32);
                        let offset = inputs / 2.0 * (1.0 - outputs / (s * inputs));
                        (f64::from(offset) + (f64::from(y) + 0.5) / f64::from(s) - 0.5) as f32
                    }
                    TfHalfPixelForNn => (y + 0.5) / s,
                    Asymmetric | AlignCorners => y / s,
                })
            }
        }
    }
}

/// A quotient of integers, the divisor positive, as a position.
fn quotient(dividend: i128, divisor: i128) -> Position {
    let (below, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    Position { below: below as i64, share: rest as f64 / divisor as f64 }
}

impl Position {
    /// The place that a number names; one that is far outside is outside.
    pub fn of(number: f32) -> Self {
        let number = f64::from(number).clamp(-1e12, 1e12);
        Position { below: number.floor() as i64, share: number - number.floor() }
    }

    /// As a number, rounded.
    pub fn to_f64(self) -> f64 {
        self.below as f64 + self.share
    }
}

impl Rounding {
    /// The element that a position becomes, which was computed by a scale of this kind.
    pub fn element(self, Position { below, share }: Position, scale: Scale) -> i64 {
        let half = match scale {
            Scale::Ratio { .. } => 0.0,
            Scale::Number(_) => HALF,
        };
        below
            + match self {
                Rounding::Floor => 0,
                Rounding::Ceil => i64::from(share > 0.0),
                Rounding::HalfDown => i64::from(share > 0.5 + half),
                Rounding::HalfUp => i64::from(share >= 0.5 - half),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::super::F32;
    use super::{Coordinates, Filter, Resize, Rounding, Scale};

    const COORDINATES: [Coordinates; 6] = [
        Coordinates::HalfPixel,
        Coordinates::PytorchHalfPixel,
        Coordinates::HalfPixelSymmetric,
        Coordinates::TfHalfPixelForNn,
        Coordinates::Asymmetric,
        Coordinates::AlignCorners,
    ];
    const ROUNDINGS: [Rounding; 4] = [Rounding::Floor, Rounding::Ceil, Rounding::HalfDown, Rounding::HalfUp];

    fn nearest(
        scale: Scale,
        [inputs, outputs]: [usize; 2],
        rounding: Rounding,
        coordinates: Coordinates,
    ) -> Vec<usize> {
        let resize = Resize { size: [1, outputs], scale: [scale; 2], filter: Filter::Nearest(rounding), coordinates };
        (0..outputs).map(|y| resize.taken(1, inputs, y)[0].0).collect()
    }

    fn by_sizes(inputs: usize, outputs: usize) -> Scale {
        Scale::Ratio { outputs, inputs }
    }

    /// The element that is taken, by its definition: `position = top / bottom`, and an element is a whole number.
    fn defined(inputs: i64, outputs: i64, y: i64, rounding: Rounding, coordinates: Coordinates) -> usize {
        let (top, bottom) = match coordinates {
            _ if inputs == outputs => (y, 1),
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if outputs == 1 => (0, 1),
            // By sizes, the outputs are as many as the scale says, so that nothing is moved.
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel | Coordinates::HalfPixelSymmetric => {
                ((2 * y + 1) * inputs - outputs, 2 * outputs)
            }
            Coordinates::TfHalfPixelForNn => ((2 * y + 1) * inputs, 2 * outputs),
            Coordinates::Asymmetric => (y * inputs, outputs),
            Coordinates::AlignCorners => (y * (inputs - 1), outputs - 1),
        };
        // Of the elements from the first one on, the first that is near enough.
        let element = (-1..inputs + 1).find(|&element| match rounding {
            Rounding::Floor => top < (element + 1) * bottom,
            Rounding::Ceil => top <= element * bottom,
            Rounding::HalfDown => 2 * top <= (2 * element + 1) * bottom,
            Rounding::HalfUp => 2 * top < (2 * element + 1) * bottom,
        });
        element.unwrap_or(inputs).clamp(0, inputs - 1) as usize
    }

    #[test]
    fn positions_by_sizes_are_exact() {
        for inputs in 1..=40i64 {
            for outputs in (1..=40i64).chain([64, 75, 97, 159, 299]) {
                for (coordinates, rounding) in COORDINATES.iter().flat_map(|c| ROUNDINGS.map(|r| (*c, r))) {
                    let extents = [inputs as usize, outputs as usize];
                    let found = nearest(by_sizes(extents[0], extents[1]), extents, rounding, coordinates);
                    let expected: Vec<usize> =
                        (0..outputs).map(|y| defined(inputs, outputs, y, rounding, coordinates)).collect();
                    assert_eq!(found, expected, "{inputs} to {outputs}, {coordinates:?}, {rounding:?}");
                }
            }
        }
    }

    /// ONNX Runtime 1.32.0 on the CPU.
    #[test]
    fn positions_by_numbers_are_those_of_onnx_runtime() {
        use Coordinates::{Asymmetric, HalfPixel, HalfPixelSymmetric, TfHalfPixelForNn};
        use Rounding::{Ceil, Floor, HalfDown, HalfUp};
        let by = |number: f32| Scale::Number(F32::new(number));
        let element = |inputs, outputs: usize, number, rounding, coordinates, y: usize| {
            nearest(by(number), [inputs, outputs], rounding, coordinates)[y]
        };
        // A little beside a half is a half, and farther away is not.
        assert_eq!(element(7, 2, 2.0 / 7.0, HalfUp, Asymmetric, 1), 4);
        assert_eq!(element(26, 28, 28.0 / 26.0, HalfUp, Asymmetric, 21), 19);
        assert_eq!(element(30, 9, 9.0 / 30.0, HalfUp, HalfPixel, 7), 24);
        assert_eq!(element(40, 218, 218.0 / 40.0, HalfDown, HalfPixel, 163), 30);
        // Positions are f32s.
        assert_eq!(element(7, 19, 19.0 / 7.0, Ceil, HalfPixel, 9), 4);
        assert_eq!(element(14, 2, 2.0 / 14.0, Floor, Asymmetric, 1), 6);
        assert_eq!(element(14, 1, 1.0 / 14.0, Floor, TfHalfPixelForNn, 0), 6);
        assert_eq!(element(3, 1, 1.0 / 3.0, Floor, HalfPixelSymmetric, 0), 0);
    }

    #[test]
    fn shares_of_two_neighbours_are_exact_by_sizes() {
        let scale = [by_sizes(2, 3), by_sizes(1 << 20, 3 << 19)];
        let resize = Resize { size: [3, 3 << 19], scale, filter: Filter::Linear, coordinates: Coordinates::HalfPixel };
        assert_eq!(resize.taken(0, 2, 1), [(0, 0.5), (1, 0.5)]);
        // (1000000 + 1/2) / (3/2) - 1/2 is 666666 and a half, far from where f32 has halves.
        assert_eq!(resize.taken(1, 1 << 20, 1_000_000), [(666_666, 1.0 - 1.0 / 2.0), (666_667, 1.0 / 2.0)]);
    }
}
