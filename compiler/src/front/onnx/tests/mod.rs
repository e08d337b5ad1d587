//! Models made on the spot: what they answer by the oracle and by kernels, and what is said of those that are wrong.

mod answers;
mod formulas;
mod functions;
mod hostile;
mod inputs;
mod known;
mod microsoft;
mod model;
mod quantized;
mod tensors;
mod windows;

use super::{Bytes, Folder, Import, Settings, import};
use crate::graph::{interp, text};
use crate::kernel;
use crate::pipeline::{Options, compile};
use crate::target::Target;
use model::Model;

/// No files but the model.
pub(super) struct Alone;

impl Folder for Alone {
    fn open(&self, path: &str) -> Result<Bytes, String> {
        Err(format!("there is no file {path}"))
    }
}

pub(super) fn imported(model: &Model) -> Import {
    import("m.onnx", model.bytes(), &Settings::default(), &Alone).unwrap_or_else(|error| panic!("{error}"))
}

/// What is said of a model that is wrong.
pub(super) fn mistakes(bytes: Bytes) -> String {
    match import("m.onnx", bytes, &Settings::default(), &Alone) {
        Ok(import) => panic!("it is taken:\n{}", text::print(&import.graph)),
        Err(error) => error.to_string(),
    }
}

/// The outputs for these inputs, by the oracle; the kernels of the optimized network say the same.
pub(super) fn answers(model: &Model, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let Import { graph, tensors, .. } = imported(model);
    let options = Options { targets: vec![Target::Avx2], ..Options::default() };
    let compiled = compile(graph, &options).unwrap_or_else(|error| panic!("{error}"));
    let expected = interp::run_f32(&compiled.source, &tensors, inputs).expect("the oracle runs");
    let options = kernel::interp::Options { poison: true, ..Default::default() };
    let found = kernel::interp::run_with(&compiled.programs[0], &tensors, inputs, options).expect("the kernels run");
    for (found, expected) in found.iter().zip(&expected) {
        near(found, expected, 1e-5);
    }
    expected
}

pub(super) fn near(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{found:?} for {expected:?}");
    let largest = expected.iter().fold(1e-30f32, |m, v| if v.is_finite() { m.max(v.abs()) } else { m });
    for (a, b) in found.iter().zip(expected) {
        let same = a == b || a.is_nan() && b.is_nan();
        assert!(same || (a - b).abs() <= tolerance * largest, "{found:?} for {expected:?}");
    }
}

/// `0, step, 2 * step, …` around zero.
pub(super) fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 - len as f32 / 2.0) * 0.25).collect()
}
