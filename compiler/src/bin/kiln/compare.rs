//! `kiln run --compare`: outputs beside those that are expected.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap_lex::OsStrExt;
use kiln_compiler::graph::{Elements, Graph};
use serde_json::{Value, json};

use crate::npy;
use crate::report::Failure;

/// The arguments about what is expected.
#[derive(clap::Args)]
pub(crate) struct Comparison {
    /// A `.npy` file of what the output should be, that of several photos stacked in their order; `NAME=FILE`, repeated,
    /// where there are several outputs. Prints the largest difference, and fails where it is over the tolerance
    #[arg(long, value_name = "FILE")]
    compare: Vec<OsString>,
    /// The largest difference that --compare allows, as a part of the largest number expected of the output
    #[arg(long, requires = "compare", default_value_t = 1e-5, value_parser = tolerance)]
    tolerance: f64,
}

/// What one output should be.
pub(crate) struct Expected {
    /// Which of the network's outputs.
    pub(crate) output: usize,
    name: String,
    file: PathBuf,
    shape: Vec<usize>,
    numbers: Elements,
    tolerance: f64,
}

/// How far an output is from what it should be.
pub(crate) struct Difference {
    name: String,
    file: PathBuf,
    /// The largest difference; infinite where NaN or infinity stands on one side alone.
    largest: f64,
    /// The same as a part of the largest number expected, if that is not 0.
    relative: f64,
    /// Where it is, with what is found and what is expected there.
    at: (Vec<usize>, f64, f64),
    tolerance: f64,
}

impl Comparison {
    /// Reads all that is expected.
    pub(crate) fn read(&self, graph: &Graph) -> Result<Vec<Expected>, Failure> {
        let names: Vec<&str> = graph.outputs().iter().map(|output| output.name.as_str()).collect();
        let mut expected: Vec<Expected> = Vec::new();
        for argument in &self.compare {
            let named = (0..names.len())
                .filter_map(|at| Some((at, argument.strip_prefix(names[at])?.strip_prefix("=")?)))
                .max_by_key(|&(at, _)| names[at].len());
            let (output, file) = match named {
                Some(named) => named,
                None if names.len() == 1 => (0, argument.as_os_str()),
                None => {
                    let message = format!("`--compare {}` names no output", argument.display());
                    return Err(Failure::new(message)
                        .help(format!("this network has {}: write `--compare NAME=FILE`", names.join(", "))));
                }
            };
            if expected.iter().any(|other| other.output == output) {
                return Err(Failure::new(format!("what the output `{}` should be is given twice", names[output])));
            }
            let (shape, numbers) = npy::read(Path::new(file))?;
            let (name, tolerance) = (names[output].to_owned(), self.tolerance);
            expected.push(Expected { output, name, file: file.into(), shape, numbers, tolerance });
        }
        Ok(expected)
    }
}

impl Expected {
    /// Makes sure that what is expected has the shape of what is found; a first extent of 1 may be left out.
    pub(crate) fn check_shape(&self, found: &[usize]) -> Result<(), Failure> {
        let fits = self.shape == found || found.first() == Some(&1) && self.shape == found[1..];
        if fits {
            return Ok(());
        }
        let (file, name) = (self.file.display(), &self.name);
        Err(Failure::new(format!("{file} has shape {:?}, but the output `{name}` is {found:?}", self.shape)))
    }

    /// The largest difference, of as many numbers as are expected. NaN is as NaN, and an infinity as the same.
    pub(crate) fn difference(&self, found: &Elements) -> Difference {
        let (numbers, expected) = (found.to_f64(), self.numbers.to_f64());
        // Integers may be too long for f64.
        let integers = [found, &self.numbers].map(|of| if of.dtype().is_float() { None } else { of.to_i64() });
        let [exact, exact_expected] = integers;
        let exact = exact.zip(exact_expected);
        let difference = |at: usize| match &exact {
            Some((found, expected)) => (i128::from(found[at]) - i128::from(expected[at])).unsigned_abs() as f64,
            None if numbers[at] == expected[at] || numbers[at].is_nan() && expected[at].is_nan() => 0.0,
            None if numbers[at].is_finite() && expected[at].is_finite() => (numbers[at] - expected[at]).abs(),
            None => f64::INFINITY,
        };
        let (mut largest, mut at) = (0.0, 0);
        for index in 0..expected.len() {
            let difference = difference(index);
            if difference > largest {
                (largest, at) = (difference, index);
            }
        }
        let scale = expected.iter().filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()));
        let relative = if scale == 0.0 { largest } else { largest / scale };
        let there = |of: &[f64]| of.get(at).copied().unwrap_or_default();
        Difference {
            name: self.name.clone(),
            file: self.file.clone(),
            largest,
            relative,
            at: (place(at, &self.shape), there(&numbers), there(&expected)),
            tolerance: self.tolerance,
        }
    }
}

/// The indices of an element.
fn place(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut indices: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let index = at % extent.max(1);
            at /= extent.max(1);
            index
        })
        .collect();
    indices.reverse();
    indices
}

impl Difference {
    /// Whether the output is what it should be.
    fn holds(&self) -> bool {
        self.relative <= self.tolerance
    }

    /// For people, in a line.
    pub(crate) fn line(&self) -> String {
        let Difference { name, largest, relative, at: (place, found, expected), .. } = self;
        if *largest == 0.0 {
            return format!("{name}: as expected, no difference\n");
        }
        format!(
            "{name}: largest difference {largest:.3e}, {relative:.3e} of the largest number expected; \
             at {place:?} {found:?} in place of {expected:?}\n"
        )
    }

    /// For programs. What is not finite is null.
    pub(crate) fn object(&self) -> Value {
        let (place, found, expected) = &self.at;
        json!({
            "output": self.name,
            "file": self.file.display().to_string(),
            "largest_difference": self.largest,
            "relative_difference": self.relative,
            "at": place,
            "found": found,
            "expected": expected,
            "tolerance": self.tolerance,
            "holds": self.holds(),
        })
    }

    /// An error where an output is not what it should be: all of them.
    pub(crate) fn check(differences: &[Difference]) -> Result<(), Failure> {
        let wrong = differences.iter().filter(|difference| !difference.holds()).map(|difference| {
            let Difference { name, file, relative, tolerance, .. } = difference;
            let file = file.display();
            format!("the output `{name}` is {relative:.3e} off {file}, more than the tolerance of {tolerance:e}")
        });
        let wrong: Vec<String> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("\n"))) }
    }
}

/// Reads a tolerance.
fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "a tolerance is a number from 0 on".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(found: Elements, expected: Elements) -> Difference {
        let shape = vec![expected.len() / 2, 2];
        let (name, file) = ("y".to_owned(), PathBuf::from("e.npy"));
        Expected { output: 0, name, file, shape, numbers: expected, tolerance: 1e-5 }.difference(&found)
    }

    #[test]
    fn the_largest_difference_is_found_with_its_place() {
        let floats = |v: [f32; 4]| Elements::F32(v.to_vec());
        let far = difference(floats([1.0, 2.0, -8.5, 0.25]), floats([1.0, 2.5, -8.0, 0.0]));
        assert_eq!((far.largest, far.relative, far.holds()), (0.5, 0.0625, false));
        assert_eq!(far.at, (vec![0, 1], 2.0, 2.5));
        let line =
            "y: largest difference 5.000e-1, 6.250e-2 of the largest number expected; at [0, 1] 2.0 in place of 2.5\n";
        assert_eq!(far.line(), line);
        let small = difference(floats([1.0, 0.0, 0.0, 1e-6]), floats([1.0, 0.0, 0.0, 0.0]));
        assert!(small.holds() && small.largest > 0.0);
        let zero = difference(floats([0.0, 0.0, 0.0, 1e-6]), floats([0.0; 4]));
        assert!(zero.holds() && zero.relative == zero.largest && zero.relative > 0.0);
    }

    #[test]
    fn what_is_not_finite_is_equal_or_infinitely_far() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let floats = |v: [f32; 4]| Elements::F32(v.to_vec());
        let same = difference(floats([nan, inf, -inf, 1.0]), floats([nan, inf, -inf, 1.0]));
        assert!(same.holds() && same.line() == "y: as expected, no difference\n");
        for (found, expected) in [(nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, -inf), (inf, -inf), (nan, inf)] {
            let far = difference(floats([1.0, 1.0, found, 1.0]), floats([1.0, 1.0, expected, 1.0]));
            assert!(!far.holds() && far.largest.is_infinite() && far.at.0 == [1, 0], "{found} {expected}");
            assert!(far.object()["relative_difference"].is_null());
        }
    }

    #[test]
    fn long_integers_differ_by_one() {
        let one = difference(Elements::I64(vec![i64::MAX, 0]), Elements::I64(vec![i64::MAX - 1, 0]));
        assert_eq!((one.largest, one.holds()), (1.0, true));
        let one = difference(Elements::U8(vec![3, 200]), Elements::I64(vec![3, 201]));
        assert_eq!((one.largest, one.holds()), (1.0, false));
        let mixed = difference(Elements::F32(vec![3.5, 1.0]), Elements::I64(vec![3, 1]));
        assert_eq!(mixed.largest, 0.5);
    }
}
