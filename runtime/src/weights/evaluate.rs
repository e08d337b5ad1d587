//! The values of weight expressions.
//!
//! They are asked for by rows, the slices along axis 0, so that a kernel of many megabytes is never held in f64 as a
//! whole: an output block needs its rows, and each expression needs only some rows of what it refers to. All is f64, a
//! product and a sum rounded separately, in the order of the indices.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::PackError;
use super::expr::{Expr, ExprError, ExprId, HOLE, shapes};
use super::source::{Source, Stored, check};

/// Expressions with the tensors that they read.
pub struct Evaluator<'a> {
    exprs: &'a [Expr],
    shapes: Vec<Vec<usize>>,
    /// For each expression that reads one, its tensor.
    stored: Vec<Option<Stored<'a>>>,
    /// Operands that every row needs whole: vectors along the channels.
    vectors: RefCell<BTreeMap<ExprId, Rc<[f64]>>>,
}

impl<'a> Evaluator<'a> {
    /// Finds everything that `exprs` reads in `source`.
    ///
    /// # Errors
    /// A malformed list; or all that the source lacks or has in another shape.
    pub fn new(exprs: &'a [Expr], source: &'a dyn Source) -> Result<Self, PackError> {
        let shapes = shapes(exprs)?;
        let errors = check(exprs, source);
        if !errors.is_empty() {
            return Err(PackError::Source(errors));
        }
        let mut stored = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let tensor = if let Expr::Read { name, kind, shape } = expr {
                Some(source.tensor(name, *kind, shape).map_err(|error| PackError::Source(vec![error]))?)
            } else {
                None
            };
            stored.push(tensor);
        }
        Ok(Self { exprs, shapes, stored, vectors: RefCell::default() })
    }

    /// The shape of an expression.
    ///
    /// # Errors
    /// It is not in the list.
    pub fn shape(&self, id: ExprId) -> Result<&[usize], ExprError> {
        let shape =
            self.shapes.get(id.index()).ok_or_else(|| ExprError { id, message: "not in the list".to_owned() })?;
        Ok(shape)
    }

    /// The given rows of an expression, one after another, in the given order and as often as given. A row is what one
    /// index of axis 0 leaves; a scalar is one row.
    ///
    /// # Panics
    /// When the expression or a row is not there.
    pub fn rows(&self, id: ExprId, rows: &[u32]) -> Vec<f64> {
        let shape = &self.shapes[id.index()];
        let length = row_len(shape);
        let range = |row: u32| row as usize * length..(row as usize + 1) * length;
        match &self.exprs[id.index()] {
            Expr::Read { .. } => {
                let stored = self.read(id);
                let mut out = Vec::with_capacity(rows.len() * length);
                rows.iter().for_each(|&row| stored.append(range(row), &mut out));
                out
            }
            Expr::Literal { bits, .. } => {
                let row = |&row| bits[range(row)].iter().map(|&bits| f64::from(f32::from_bits(bits)));
                rows.iter().flat_map(row).collect()
            }
            Expr::Splat { bits, .. } => vec![f64::from(f32::from_bits(*bits)); rows.len() * length],
            Expr::Transpose { of, perm } => self.transposed(*of, perm, rows),
            Expr::Reshape { of, .. } => self.reshaped(*of, length, rows),
            Expr::Concat { of, axis } => self.concatenated(of, *axis, shape, rows),
            Expr::Gather { of, axis, index } => self.gathered(*of, *axis, index, rows),
            Expr::Scale { of, axis, by } => {
                let mut out = self.rows(*of, rows);
                let by = self.vector(*by);
                if *axis == 0 {
                    for (row, values) in rows.iter().zip(out.chunks_exact_mut(length.max(1))) {
                        values.iter_mut().for_each(|value| *value *= by[*row as usize]);
                    }
                } else {
                    let inner: usize = shape[axis + 1..].iter().product();
                    for (values, by) in out.chunks_exact_mut(inner.max(1)).zip(by.iter().cycle()) {
                        values.iter_mut().for_each(|value| *value *= by);
                    }
                }
                out
            }
            Expr::Add { a, b } => {
                let mut out = self.rows(*a, rows);
                out.iter_mut().zip(self.rows(*b, rows)).for_each(|(a, b)| *a += b);
                out
            }
            Expr::Times { of, bits } => {
                let mut out = self.rows(*of, rows);
                out.iter_mut().for_each(|value| *value *= f64::from_bits(*bits));
                out
            }
            Expr::RsqrtEps { of, eps } => {
                let mut out = self.rows(*of, rows);
                out.iter_mut().for_each(|value| *value = 1.0 / (*value + f64::from_bits(*eps)).sqrt());
                out
            }
            Expr::Contract { of, by, groups } => self.contracted(*of, *by, *groups, rows),
        }
    }

    /// All elements, row-major.
    ///
    /// # Panics
    /// When the expression is not there.
    pub fn all(&self, id: ExprId) -> Vec<f64> {
        self.rows(id, &(0..row_count(&self.shapes[id.index()])).collect::<Vec<_>>())
    }

    fn read(&self, id: ExprId) -> &Stored<'a> {
        // new() found a tensor for each Read, and shapes() saw to it that a Transpose is of one.
        self.stored[id.index()].as_ref().expect("only what is read is stored")
    }

    /// A vector that rows share, computed once.
    fn vector(&self, id: ExprId) -> Rc<[f64]> {
        if let Some(vector) = self.vectors.borrow().get(&id) {
            return Rc::clone(vector);
        }
        let vector: Rc<[f64]> = self.all(id).into();
        self.vectors.borrow_mut().insert(id, Rc::clone(&vector));
        vector
    }

    fn transposed(&self, of: ExprId, perm: &[usize], rows: &[u32]) -> Vec<f64> {
        let (stored, from) = (self.read(of), &self.shapes[of.index()]);
        let stride = |axis: usize| from[axis + 1..].iter().product::<usize>();
        let Some((&first, rest)) = perm.split_first() else { return vec![stored.element(0); rows.len()] };
        // Where the elements of a row lie, from the row's first.
        let mut offsets = vec![0];
        for &axis in rest {
            offsets =
                offsets.iter().flat_map(|offset| (0..from[axis]).map(move |i| offset + i * stride(axis))).collect();
        }
        let row = |&row: &u32| {
            let start = row as usize * stride(first);
            offsets.iter().map(move |offset| stored.element(start + offset))
        };
        rows.iter().flat_map(row).collect()
    }

    fn reshaped(&self, of: ExprId, length: usize, rows: &[u32]) -> Vec<f64> {
        let inner = row_len(&self.shapes[of.index()]);
        if inner == length {
            return self.rows(of, rows);
        }
        if inner == 0 || length == 0 {
            return Vec::new();
        }
        // The rows of the operand that the result's rows touch, each once.
        let touched = |row: u32| row as usize * length / inner..((row as usize + 1) * length).div_ceil(inner);
        let mut needed: Vec<u32> = rows.iter().flat_map(|&row| touched(row)).map(|row| row as u32).collect();
        needed.sort_unstable();
        needed.dedup();
        let values = self.rows(of, &needed);
        let mut out = Vec::with_capacity(rows.len() * length);
        for &row in rows {
            let start = row as usize * length;
            // The touched rows of one row follow one another in `needed`, since none between them is missing.
            let place = needed.partition_point(|&needed| (needed as usize) < start / inner);
            out.extend_from_slice(&values[place * inner + start % inner..][..length]);
        }
        out
    }

    fn concatenated(&self, parts: &[ExprId], axis: usize, shape: &[usize], rows: &[u32]) -> Vec<f64> {
        let length = row_len(shape);
        let mut out = vec![0.0; rows.len() * length];
        let mut start = 0;
        for &part in parts {
            let extent = self.shapes[part.index()][axis];
            if axis == 0 {
                let here: Vec<usize> =
                    (0..rows.len()).filter(|&i| (start..start + extent).contains(&(rows[i] as usize))).collect();
                let wanted: Vec<u32> = here.iter().map(|&i| rows[i] - start as u32).collect();
                let values = self.rows(part, &wanted);
                for (j, i) in here.into_iter().enumerate() {
                    out[i * length..][..length].copy_from_slice(&values[j * length..][..length]);
                }
            } else {
                let inner: usize = shape[axis + 1..].iter().product();
                let values = self.rows(part, rows);
                let pieces = values.chunks_exact((extent * inner).max(1));
                for (whole, piece) in out.chunks_exact_mut((shape[axis] * inner).max(1)).zip(pieces) {
                    whole[start * inner..][..piece.len()].copy_from_slice(piece);
                }
            }
            start += extent;
        }
        out
    }

    fn gathered(&self, of: ExprId, axis: usize, index: &[u32], rows: &[u32]) -> Vec<f64> {
        let from = &self.shapes[of.index()];
        if axis == 0 {
            let length = row_len(from);
            let chosen = || rows.iter().map(|&row| index[row as usize]);
            let wanted: Vec<u32> = chosen().filter(|&row| row != HOLE).collect();
            let values = self.rows(of, &wanted);
            let mut found = values.chunks_exact(length.max(1));
            let mut out = Vec::with_capacity(rows.len() * length);
            for row in chosen() {
                match row {
                    HOLE => out.resize(out.len() + length, 0.0),
                    _ => out.extend_from_slice(found.next().unwrap_or_default()),
                }
            }
            return out;
        }
        let inner: usize = from[axis + 1..].iter().product();
        let values = self.rows(of, rows);
        let mut out = Vec::new();
        for whole in values.chunks_exact((from[axis] * inner).max(1)) {
            for &i in index {
                match i {
                    HOLE => out.resize(out.len() + inner, 0.0),
                    i => out.extend_from_slice(&whole[i as usize * inner..][..inner]),
                }
            }
        }
        out
    }

    fn contracted(&self, of: ExprId, by: ExprId, groups: usize, rows: &[u32]) -> Vec<f64> {
        let shape = &self.shapes[of.index()];
        let (outputs, inputs, by) = (shape[0], shape[1], self.vector(by));
        let taps: usize = shape[2..].iter().product();
        let values = self.rows(of, rows);
        let mut out = Vec::with_capacity(rows.len());
        for (j, &row) in rows.iter().enumerate() {
            let group = row as usize / (outputs / groups);
            let row = &values[j * inputs * taps..][..inputs * taps];
            let products = (0..inputs * taps).map(|i| row[i] * by[group * inputs + i / taps]);
            out.push(products.fold(0.0, |sum, product| sum + product));
        }
        out
    }
}

/// How many rows a shape has.
pub(super) fn row_count(shape: &[usize]) -> u32 {
    shape.first().map_or(1, |&extent| extent as u32)
}

/// How many elements a row has.
pub(super) fn row_len(shape: &[usize]) -> usize {
    shape.iter().skip(1).product()
}

#[cfg(test)]
mod tests;
