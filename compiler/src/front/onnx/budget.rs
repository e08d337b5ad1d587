//! What may be made of a file's tensors when the file is read: a bound for all its nodes together.

use super::Problem;
use super::tensor::Tensor;

/// Steps of the interpreter that may be taken for one model, about a second.
pub(super) const WORK: u64 = 1 << 29;

/// How many elements may still be made.
#[derive(Clone)]
pub(super) struct Budget {
    /// None once more was asked for.
    left: Option<usize>,
}

impl Budget {
    /// Elements that are made even of a small file.
    pub(super) const LEAST: usize = 8 << 20;

    /// For a model with these tensors: each of their elements twice. Tensors that share their bytes count once.
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
        Budget { left: Some(elements.min(stored).saturating_mul(2).saturating_add(Budget::LEAST)) }
    }

    /// Takes the elements of a shape. An empty axis counts as one of 1, so that what is left bounds the loops over the
    /// others too.
    ///
    /// # Errors
    /// They are more than are left.
    pub(super) fn take(&mut self, shape: &[usize]) -> Result<(), Problem> {
        let steps = shape.iter().try_fold(1usize, |steps, &extent| steps.checked_mul(extent.max(1)));
        self.check()?;
        let left = steps.and_then(|steps| self.left?.checked_sub(steps));
        self.left = left;
        let too_large =
            || Problem::new(format!("a value of shape {shape:?} is too large to be computed when compiling"));
        left.map(|_| ()).ok_or_else(too_large)
    }

    /// Whether anything can still be taken: once more was asked for than there was, nothing more is made.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let spent = || Problem::new("what is computed when compiling was too large before");
        self.left.map(|_| ()).ok_or_else(spent)
    }
}
