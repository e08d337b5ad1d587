//! Weights as expressions: named tensors and what is computed from them before the first inference.
//!
//! A [`Pool`] hash-conses [`Expr`]s (the type is kiln-rt's, which evaluates the very same lists at build or load time),
//! so equal weights are one [`WeightId`]. Expressions are built by the constructors here, which normalize: read and
//! transpose innermost, then reshape, concatenate, gather channels, scale, add. A rewrite calls a constructor; nothing
//! ever edits an expression.

use std::borrow::Cow;
use std::collections::HashMap;

pub use kiln_rt::fill::Kind;
pub use kiln_rt::weights::{Expr, ExprId as WeightId, HOLE};

/// The expressions of a graph. Ids refer backwards only.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    exprs: Vec<Expr>,
    shapes: Vec<Vec<usize>>,
    known: HashMap<Expr, WeightId>,
}

/// A tensor that the weights file must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in the file.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its shape in the file.
    pub shape: Vec<usize>,
}

impl Pool {
    /// The expression of an id that this pool gave out.
    pub fn expr(&self, id: WeightId) -> &Expr {
        &self.exprs[id.0 as usize]
    }

    /// The shape of an expression's value.
    pub fn shape(&self, id: WeightId) -> &[usize] {
        &self.shapes[id.0 as usize]
    }

    /// All expressions, each after those it refers to.
    pub fn exprs(&self) -> &[Expr] {
        &self.exprs
    }

    /// A named tensor.
    pub fn read(&mut self, name: &str, kind: Kind, shape: &[usize]) -> WeightId {
        let expr = Expr::Read { name: Cow::Owned(name.to_owned()), kind, shape: Cow::Owned(shape.to_vec()) };
        self.intern(expr, shape.to_vec())
    }

    /// A named tensor stored with its axes in another order: axis i of the value is axis `perm[i]` of the file.
    pub fn read_transposed(&mut self, name: &str, kind: Kind, stored: &[usize], perm: &[usize]) -> WeightId {
        let of = self.read(name, kind, stored);
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return of;
        }
        let shape = perm.iter().map(|&p| stored[p]).collect();
        self.intern(Expr::Transpose { of, perm: Cow::Owned(perm.to_vec()) }, shape)
    }

    /// Literal values, row-major.
    pub fn literal(&mut self, shape: &[usize], values: &[f32]) -> WeightId {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let bits: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        if let Some(&first) = bits.first()
            && bits.iter().all(|&b| b == first)
        {
            return self.splat(shape, f32::from_bits(first));
        }
        self.intern(Expr::Literal { shape: Cow::Owned(shape.to_vec()), bits: Cow::Owned(bits) }, shape.to_vec())
    }

    /// One value everywhere.
    pub fn splat(&mut self, shape: &[usize], value: f32) -> WeightId {
        self.intern(Expr::Splat { shape: Cow::Owned(shape.to_vec()), bits: value.to_bits() }, shape.to_vec())
    }

    /// The same elements in another shape of the same size.
    pub fn reshape(&mut self, of: WeightId, shape: &[usize]) -> WeightId {
        debug_assert_eq!(self.shape(of).iter().product::<usize>(), shape.iter().product::<usize>());
        if self.shape(of) == shape {
            return of;
        }
        match self.expr(of).clone() {
            Expr::Reshape { of: inner, .. } => self.reshape(inner, shape),
            Expr::Splat { bits, .. } => self.splat(shape, f32::from_bits(bits)),
            _ => self.intern(Expr::Reshape { of, shape: Cow::Owned(shape.to_vec()) }, shape.to_vec()),
        }
    }

    /// Values one after the other along an axis.
    pub fn concat(&mut self, parts: &[WeightId], axis: usize) -> WeightId {
        let mut flat = Vec::new();
        for &part in parts {
            match self.expr(part) {
                Expr::Concat { of, axis: inner } if *inner == axis => flat.extend(of.iter().copied()),
                _ => flat.push(part),
            }
        }
        if let [only] = *flat {
            return only;
        }
        let mut shape = self.shape(flat[0]).to_vec();
        shape[axis] = flat.iter().map(|&part| self.shape(part)[axis]).sum();
        self.intern(Expr::Concat { of: Cow::Owned(flat), axis }, shape)
    }

    /// Elements `index` of an axis, in that order; [`HOLE`] gives zeros. Slices and permutations are gathers.
    pub fn gather(&mut self, of: WeightId, axis: usize, index: &[u32]) -> WeightId {
        let extent = self.shape(of)[axis];
        debug_assert!(index.iter().all(|&i| i == HOLE || (i as usize) < extent));
        if index.len() == extent && index.iter().enumerate().all(|(i, &j)| i == j as usize) {
            return of;
        }
        // A sum may hold one term many times: each is gathered from once.
        let plain = Expr::Gather { of, axis, index: Cow::Owned(index.to_vec()) };
        if let Some(&known) = self.known.get(&plain) {
            return known;
        }
        let normal = self.gather_normal(of, axis, index);
        self.known.insert(plain, normal);
        normal
    }

    fn gather_normal(&mut self, of: WeightId, axis: usize, index: &[u32]) -> WeightId {
        let whole = !index.contains(&HOLE);
        match self.expr(of).clone() {
            Expr::Gather { of: inner, axis: same, index: before } if same == axis => {
                let index: Vec<u32> =
                    index.iter().map(|&i| if i == HOLE { HOLE } else { before[i as usize] }).collect();
                self.gather(inner, axis, &index)
            }
            Expr::Concat { of: parts, axis: same } if same == axis && whole => {
                let mut start = 0;
                for part in parts.iter().copied() {
                    let end = start + self.shape(part)[axis] as u32;
                    if index.iter().all(|&i| (start..end).contains(&i)) {
                        let index: Vec<u32> = index.iter().map(|&i| i - start).collect();
                        return self.gather(part, axis, &index);
                    }
                    start = end;
                }
                self.gathered(of, axis, index)
            }
            Expr::Scale { of: inner, axis: by_axis, by } => {
                let inner = self.gather(inner, axis, index);
                let by = if by_axis == axis { self.gather(by, 0, index) } else { by };
                self.scale(inner, by_axis, by)
            }
            Expr::Add { a, b } => {
                let (a, b) = (self.gather(a, axis, index), self.gather(b, axis, index));
                self.add(a, b)
            }
            Expr::Times { of: inner, bits } => {
                let inner = self.gather(inner, axis, index);
                self.times(inner, f64::from_bits(bits))
            }
            Expr::RsqrtEps { of: inner, eps } if whole => {
                let inner = self.gather(inner, axis, index);
                self.rsqrt(inner, f64::from_bits(eps))
            }
            Expr::Contract { of: inner, by, groups: 1 } => {
                let inner = self.gather(inner, 0, index);
                self.contract(inner, by, 1)
            }
            Expr::Splat { shape, bits } if whole || bits == 0 => {
                let mut shape = shape.into_owned();
                shape[axis] = index.len();
                self.splat(&shape, f32::from_bits(bits))
            }
            Expr::Gather { .. }
            | Expr::Concat { .. }
            | Expr::RsqrtEps { .. }
            | Expr::Contract { .. }
            | Expr::Splat { .. }
            | Expr::Read { .. }
            | Expr::Literal { .. }
            | Expr::Transpose { .. }
            | Expr::Reshape { .. } => self.gathered(of, axis, index),
        }
    }

    fn gathered(&mut self, of: WeightId, axis: usize, index: &[u32]) -> WeightId {
        let mut shape = self.shape(of).to_vec();
        shape[axis] = index.len();
        self.intern(Expr::Gather { of, axis, index: Cow::Owned(index.to_vec()) }, shape)
    }

    /// `of` times the vector `by` along an axis. Scales of a lower axis stand further inside.
    pub fn scale(&mut self, of: WeightId, axis: usize, by: WeightId) -> WeightId {
        debug_assert_eq!(self.shape(by), &self.shape(of)[axis..=axis]);
        if self.is_splat(by, 1.0) || self.is_splat(of, 0.0) {
            return of;
        }
        match self.expr(of).clone() {
            Expr::Scale { of: inner, axis: same, by: first } if same == axis => {
                let both = self.scale(first, 0, by);
                self.scale(inner, axis, both)
            }
            Expr::Scale { of: inner, axis: outer, by: first } if outer > axis => {
                let inner = self.scale(inner, axis, by);
                self.scale(inner, outer, first)
            }
            _ if self.shape(of).len() == 1 && self.is_splat(of, 1.0) => by,
            _ => {
                let shape = self.shape(of).to_vec();
                self.intern(Expr::Scale { of, axis, by }, shape)
            }
        }
    }

    /// The sum of two tensors of one shape.
    pub fn add(&mut self, a: WeightId, b: WeightId) -> WeightId {
        debug_assert_eq!(self.shape(a), self.shape(b));
        if self.is_splat(a, 0.0) {
            return b;
        }
        if self.is_splat(b, 0.0) {
            return a;
        }
        let shape = self.shape(a).to_vec();
        self.intern(Expr::Add { a, b }, shape)
    }

    /// A constant multiple.
    pub fn times(&mut self, of: WeightId, factor: f64) -> WeightId {
        if factor == 1.0 || self.is_splat(of, 0.0) {
            return of;
        }
        match *self.expr(of) {
            Expr::Times { of: inner, bits } => self.times(inner, f64::from_bits(bits) * factor),
            _ => {
                let shape = self.shape(of).to_vec();
                self.intern(Expr::Times { of, bits: factor.to_bits() }, shape)
            }
        }
    }

    /// `1 / sqrt(of + eps)`.
    pub fn rsqrt(&mut self, of: WeightId, eps: f64) -> WeightId {
        let shape = self.shape(of).to_vec();
        self.intern(Expr::RsqrtEps { of, eps: eps.to_bits() }, shape)
    }

    /// What a shift of a convolution's input by channel adds to its outputs: `out[o] = sum over i, kh, kw of
    /// of[o, i, kh, kw] * by[g * I + i]`, where g is the group of o.
    pub fn contract(&mut self, of: WeightId, by: WeightId, groups: usize) -> WeightId {
        let channels = self.shape(of)[0];
        if self.is_splat(by, 0.0) {
            return self.splat(&[channels], 0.0);
        }
        self.intern(Expr::Contract { of, by, groups }, vec![channels])
    }

    /// A vector by input channel of a grouped kernel `[O, I, ..]`, applied as `of[o, i] * by[g * I + i]`.
    pub fn scale_in(&mut self, of: WeightId, by: WeightId, groups: usize) -> WeightId {
        if groups == 1 {
            return self.scale(of, 1, by);
        }
        let (outputs, inputs) = (self.shape(of)[0] / groups, self.shape(of)[1]);
        let parts: Vec<WeightId> = (0..groups)
            .map(|g| {
                let rows: Vec<u32> = (g * outputs..(g + 1) * outputs).map(|o| o as u32).collect();
                let columns: Vec<u32> = (g * inputs..(g + 1) * inputs).map(|i| i as u32).collect();
                let (kernel, by) = (self.gather(of, 0, &rows), self.gather(by, 0, &columns));
                self.scale(kernel, 1, by)
            })
            .collect();
        if inputs == 1 && outputs == 1 { self.scale(of, 0, by) } else { self.concat(&parts, 0) }
    }

    /// BatchNorm as `x * scale + shift` (Ioffe and Szegedy 2015, algorithm 2): `scale = gamma / sqrt(var + eps)`,
    /// `shift = beta - mean * scale`.
    pub fn batch_norm(
        &mut self,
        affine: Option<(WeightId, WeightId)>,
        mean: WeightId,
        var: WeightId,
        eps: f64,
    ) -> (WeightId, WeightId) {
        let mut scale = self.rsqrt(var, eps);
        if let Some((gamma, _)) = affine {
            scale = self.scale(gamma, 0, scale);
        }
        let moved = self.scale(mean, 0, scale);
        let mut shift = self.times(moved, -1.0);
        if let Some((_, beta)) = affine {
            shift = self.add(beta, shift);
        }
        (scale, shift)
    }

    /// The named tensors that these expressions read, in order of first use, each once.
    pub fn sources(&self, roots: impl IntoIterator<Item = WeightId>) -> Vec<Source> {
        let (exprs, _) = self.program(roots);
        exprs
            .into_iter()
            .filter_map(|expr| match expr {
                Expr::Read { name, kind, shape } => {
                    Some(Source { name: name.into_owned(), kind, shape: shape.into_owned() })
                }
                Expr::Literal { .. }
                | Expr::Splat { .. }
                | Expr::Transpose { .. }
                | Expr::Reshape { .. }
                | Expr::Concat { .. }
                | Expr::Gather { .. }
                | Expr::Scale { .. }
                | Expr::Add { .. }
                | Expr::Times { .. }
                | Expr::RsqrtEps { .. }
                | Expr::Contract { .. } => None,
            })
            .collect()
    }

    /// The expressions that `roots` need, renumbered in depth-first order, and the new ids of the roots: equal for
    /// equal weights, whatever else the pool holds.
    pub fn program(&self, roots: impl IntoIterator<Item = WeightId>) -> (Vec<Expr>, Vec<WeightId>) {
        let mut renumbered: HashMap<WeightId, WeightId> = HashMap::new();
        let mut exprs = Vec::new();
        let mut ids = Vec::new();
        for root in roots {
            let mut stack = vec![(root, false)];
            while let Some((id, ready)) = stack.pop() {
                if renumbered.contains_key(&id) {
                    continue;
                }
                if ready {
                    let expr = map_operands(self.expr(id), |of| renumbered[&of]);
                    renumbered.insert(id, WeightId(exprs.len() as u32));
                    exprs.push(expr);
                } else {
                    stack.push((id, true));
                    stack.extend(self.expr(id).operands().into_iter().rev().map(|of| (of, false)));
                }
            }
            ids.push(renumbered[&root]);
        }
        (exprs, ids)
    }

    /// An expression over ids of this pool, in normal form.
    ///
    /// # Errors
    /// What about its operands or attributes does not fit.
    pub fn insert(&mut self, expr: Expr) -> Result<WeightId, String> {
        expr.shape(|of| self.shape(of))?;
        Ok(match expr {
            Expr::Read { name, kind, shape } => self.read(&name, kind, &shape),
            Expr::Literal { shape, bits } => {
                let values: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
                self.literal(&shape, &values)
            }
            Expr::Splat { shape, bits } => self.splat(&shape, f32::from_bits(bits)),
            Expr::Transpose { of, perm } => match self.expr(of).clone() {
                Expr::Read { name, kind, shape } => self.read_transposed(&name, kind, &shape, &perm),
                Expr::Literal { .. }
                | Expr::Splat { .. }
                | Expr::Transpose { .. }
                | Expr::Reshape { .. }
                | Expr::Concat { .. }
                | Expr::Gather { .. }
                | Expr::Scale { .. }
                | Expr::Add { .. }
                | Expr::Times { .. }
                | Expr::RsqrtEps { .. }
                | Expr::Contract { .. } => return Err("only a named tensor is transposed".to_owned()),
            },
            Expr::Reshape { of, shape } => self.reshape(of, &shape),
            Expr::Concat { of, axis } => self.concat(&of, axis),
            Expr::Gather { of, axis, index } => self.gather(of, axis, &index),
            Expr::Scale { of, axis, by } => self.scale(of, axis, by),
            Expr::Add { a, b } => self.add(a, b),
            Expr::Times { of, bits } => self.times(of, f64::from_bits(bits)),
            Expr::RsqrtEps { of, eps } => self.rsqrt(of, f64::from_bits(eps)),
            Expr::Contract { of, by, groups } => self.contract(of, by, groups),
        })
    }

    /// Whether an expression is one value everywhere, and that value.
    pub fn is_splat(&self, id: WeightId, value: f32) -> bool {
        matches!(self.expr(id), Expr::Splat { bits, .. } if *bits == value.to_bits())
    }

    fn intern(&mut self, expr: Expr, shape: Vec<usize>) -> WeightId {
        if let Some(&id) = self.known.get(&expr) {
            return id;
        }
        let id = WeightId(self.exprs.len() as u32);
        self.exprs.push(expr.clone());
        self.shapes.push(shape);
        self.known.insert(expr, id);
        id
    }
}

/// The same expression over other operands.
pub fn map_operands(expr: &Expr, mut map: impl FnMut(WeightId) -> WeightId) -> Expr {
    let mut expr = expr.clone();
    match &mut expr {
        Expr::Read { .. } | Expr::Literal { .. } | Expr::Splat { .. } => {}
        Expr::Transpose { of, .. }
        | Expr::Reshape { of, .. }
        | Expr::Gather { of, .. }
        | Expr::Times { of, .. }
        | Expr::RsqrtEps { of, .. } => *of = map(*of),
        Expr::Concat { of, .. } => of.to_mut().iter_mut().for_each(|of| *of = map(*of)),
        Expr::Scale { of, by, .. } | Expr::Contract { of, by, .. } => {
            *of = map(*of);
            *by = map(*by);
        }
        Expr::Add { a, b } => {
            *a = map(*a);
            *b = map(*b);
        }
    }
    expr
}

#[cfg(test)]
mod tests;
