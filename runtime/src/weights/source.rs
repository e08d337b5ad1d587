//! Where named tensors come from.

use std::collections::BTreeSet;
use std::ops::Range;
use std::{error, fmt};

use super::super::fill::{Formula, Kind};
use super::super::safetensors::{Dtype, SafeTensors, View};
use super::expr::Expr;

/// How many missing tensors get suggestions: when more are missing, the file is another one.
const SUGGESTED: usize = 20;

/// Tensors by name.
pub trait Source {
    /// The tensor of that name, if it has exactly that shape.
    ///
    /// # Errors
    /// It is missing, or its shape is another.
    fn tensor(&self, name: &str, kind: Kind, shape: &[usize]) -> Result<Stored<'_>, SourceError>;

    /// All names, for suggestions. None where every name is one.
    fn names(&self) -> Vec<&str>;
}

/// A tensor where it lies.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// In a file.
    View(View<'a>),
    /// In a formula.
    Formula(Formula),
}

impl Stored<'_> {
    /// Element `index` in row-major order.
    ///
    /// # Panics
    /// When there is no such element.
    pub fn element(&self, index: usize) -> f64 {
        match self {
            Self::View(view) => view.element(index),
            Self::Formula(formula) => f64::from(formula.element(index)),
        }
    }

    /// Appends the elements of a range.
    ///
    /// # Panics
    /// When there are no such elements.
    pub fn append(&self, range: Range<usize>, out: &mut Vec<f64>) {
        match self {
            Self::View(View { dtype: Dtype::F32, bytes, .. }) => {
                let elements = bytes[4 * range.start..4 * range.end].chunks_exact(4);
                out.extend(elements.map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))));
            }
            Self::View(_) | Self::Formula(_) => out.extend(range.map(|index| self.element(index))),
        }
    }
}

impl Source for SafeTensors<'_> {
    fn tensor(&self, name: &str, _: Kind, shape: &[usize]) -> Result<Stored<'_>, SourceError> {
        if let Some(elements) = self.unread(name) {
            return Err(SourceError::Unread { name: name.to_owned(), why: format!("elements of type {elements}") });
        }
        let Some(view) = SafeTensors::tensor(self, name) else {
            return Err(SourceError::Missing { name: name.to_owned(), near: Vec::new() });
        };
        if view.shape != shape {
            let (expected, found) = (shape.to_vec(), view.shape.to_vec());
            return Err(SourceError::Shape { name: name.to_owned(), expected, found });
        }
        Ok(Stored::View(view))
    }

    fn names(&self) -> Vec<&str> {
        SafeTensors::names(self).collect()
    }
}

/// Every tensor, by the formula of its kind.
#[derive(Clone, Copy, Debug)]
pub struct FillSource {
    /// The gain of kernels.
    pub gain: f64,
}

impl Source for FillSource {
    fn tensor(&self, name: &str, kind: Kind, shape: &[usize]) -> Result<Stored<'_>, SourceError> {
        Ok(Stored::Formula(Formula::new(name, kind, shape, self.gain)))
    }

    fn names(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// Everything that `exprs` reads and `source` does not have as it is read, in order, each once.
pub fn check(exprs: &[Expr], source: &dyn Source) -> Vec<SourceError> {
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for expr in exprs {
        let Expr::Read { name, kind, shape } = expr else { continue };
        if seen.insert((name, shape)) {
            errors.extend(source.tensor(name, *kind, shape).err());
        }
    }
    let names = source.names();
    let missing = errors.iter_mut().filter_map(|error| match error {
        SourceError::Missing { name, near } => Some((name, near)),
        SourceError::Shape { .. } | SourceError::Unread { .. } => None,
    });
    for (name, near) in missing.take(SUGGESTED) {
        *near = nearest(name, &names);
    }
    errors
}

/// Up to three names that differ from `name` in at most a third of its characters, nearest first.
fn nearest(name: &str, names: &[&str]) -> Vec<String> {
    let most = (name.len() / 3).max(2);
    let near = names.iter().filter(|other| other.len().abs_diff(name.len()) <= most);
    let mut near: Vec<_> = near.map(|&other| (distance(name.as_bytes(), other.as_bytes()), other)).collect();
    near.retain(|&(distance, _)| distance <= most);
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}

/// Levenshtein's distance, a row of the table at a time.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A tensor that a source does not have as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// There is none of that name.
    Missing {
        /// The name.
        name: String,
        /// Names that are there and look like it, nearest first.
        near: Vec<String>,
    },
    /// It has another shape.
    Shape {
        /// The name.
        name: String,
        /// The shape that is read.
        expected: Vec<usize>,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// It is kept in a way that is not read.
    Unread {
        /// The name.
        name: String,
        /// What it has that is not read: `elements of type F8_E4M3`.
        why: String,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, near } => {
                write!(f, "the weights have no tensor `{name}`")?;
                for (index, near) in near.iter().enumerate() {
                    write!(f, "{} `{near}`", if index == 0 { "; near it are" } else { "," })?;
                }
                Ok(())
            }
            Self::Shape { name, expected, found } => {
                write!(f, "tensor `{name}` has shape {found:?}, and {expected:?} is needed")
            }
            Self::Unread { name, why } => write!(f, "tensor `{name}` has {why}, which kiln does not read"),
        }
    }
}

impl error::Error for SourceError {}

#[cfg(test)]
mod tests {
    use super::super::super::safetensors::write;
    use super::*;

    #[test]
    fn all_mistakes_are_found_with_near_names() {
        let file = write([
            ("layer1.conv1.weight", View { dtype: Dtype::F32, shape: &[1, 2], bytes: &[0; 8] }),
            ("layer1.conv2.weight", View { dtype: Dtype::F16, shape: &[2], bytes: &[0; 4] }),
        ]);
        let source = SafeTensors::parse(&file).unwrap();
        let read = |name: &'static str, shape: &'static [usize]| Expr::Read {
            name: name.into(),
            kind: Kind::Kernel,
            shape: shape.into(),
        };
        let exprs = [
            read("layer1.conv1.weight", &[2, 1]),
            read("layer1.conv2.weight", &[2]),
            read("layer1.conv3.weight", &[2]),
            read("layer1.conv3.weight", &[2]),
            read("head", &[2]),
        ];
        let errors: Vec<String> = check(&exprs, &source).iter().map(SourceError::to_string).collect();
        assert_eq!(
            errors,
            [
                "tensor `layer1.conv1.weight` has shape [1, 2], and [2, 1] is needed",
                "the weights have no tensor `layer1.conv3.weight`; near it are `layer1.conv1.weight`, \
                 `layer1.conv2.weight`",
                "the weights have no tensor `head`",
            ]
        );
        assert!(check(&exprs, &FillSource { gain: 1.0 }).is_empty());
    }

    #[test]
    fn distances() {
        for (a, b, d) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 2)] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), d);
        }
    }
}
