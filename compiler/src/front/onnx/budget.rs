//! What may be made of a file's tensors when the file is read: bounds for all its nodes together.

use super::Problem;
use super::tensor::Tensor;

/// How often each element of a file's tensors may be read or made. Weights that the file standardizes take some ten, and
/// thirty steps of the interpreter.
const TIMES: usize = 64;

/// How much may still be made.
#[derive(Clone)]
pub(super) struct Budget {
    /// Elements in all. None once more was asked for.
    left: Option<usize>,
    /// Elements that may be there at a time, beside those that are.
    room: usize,
    /// Steps of the interpreter.
    pub(super) work: u64,
}

impl Budget {
    /// Elements that are made even of a small file.
    pub(super) const LEAST: usize = 8 << 20;
    /// Steps of the interpreter that are taken even for a small file, about a second.
    const WORK: u64 = 1 << 29;

    /// For a model with these tensors: made of each of their elements are as many as [`TIMES`] says, of which two are there
    /// at a time. Tensors that share their bytes count once.
    pub(super) fn for_tensors<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Self {
        let (mut elements, mut parts) = (0usize, Vec::new());
        for tensor in tensors {
            elements = elements.saturating_add(tensor.len());
            parts.push(tensor.memory());
        }
        parts.sort_by_key(|part| (part.start, part.end));
        let (mut stored, mut end) = (0, 0);
        for part in parts {
            stored += part.end.saturating_sub(part.start.max(end));
            end = end.max(part.end);
        }
        Budget::for_elements(elements.min(stored))
    }

    /// For a model with so many elements.
    pub(super) fn for_elements(stored: usize) -> Self {
        let made = stored.saturating_mul(TIMES);
        Budget {
            left: Some(made.saturating_add(Budget::LEAST)),
            room: stored.saturating_mul(2).saturating_add(Budget::LEAST),
            work: Budget::WORK.saturating_add(made as u64),
        }
    }

    /// Takes the elements of a shape. An empty axis counts as one of 1, so that what is left bounds the loops over the
    /// others too.
    ///
    /// # Errors
    /// They are more than are left, or than there is room for.
    pub(super) fn take(&mut self, shape: &[usize]) -> Result<(), Problem> {
        let steps = shape.iter().try_fold(1usize, |steps, &extent| steps.checked_mul(extent.max(1)));
        self.check()?;
        let left = steps.filter(|&steps| steps <= self.room).and_then(|steps| self.left?.checked_sub(steps));
        self.left = left;
        let too_large =
            || Problem::new(format!("a value of shape {shape:?} is too large to be computed when compiling"));
        left.map(|_| ()).ok_or_else(too_large)
    }

    /// What is left after something apart, of which nothing stays.
    pub(super) fn after(&mut self, apart: &Budget) {
        (self.left, self.work) = (apart.left, apart.work);
    }

    /// A tensor that was made stays.
    pub(super) fn hold(&mut self, tensor: &Tensor) {
        if tensor.is_alone() {
            self.room = self.room.saturating_sub(tensor.len());
        }
    }

    /// A tensor goes.
    pub(super) fn release(&mut self, tensor: &Tensor) {
        if tensor.is_alone() {
            self.room = self.room.saturating_add(tensor.len());
        }
    }

    /// Whether anything can still be taken: once more was asked for than there was, nothing more is made.
    ///
    /// # Errors
    /// It cannot, which follows from what was told then.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let spent =
            || Problem { follows: true, ..Problem::new("what is computed when compiling was too large before") };
        self.left.map(|_| ()).ok_or_else(spent)
    }
}
