//! Register tiles: accumulators as variables of their own, written out over pixels and blocks.
//!
//! Arrays of vectors would stay in memory below opt-level 3; variables are registers from level 1 on. Nothing else is
//! written out: axes are loops, and so are neighbouring taps for the same pixels. Within a point of the reduction what
//! several accumulators use has a name (a weight serves all pixels, an input all blocks), and is bound right before its
//! first use, so that as little as possible is alive at a time. Every update is pinned: its sum is made, and what it
//! needs is loaded, where the text says. Compilers would rather load ahead and keep what the next tap loads again, and
//! run out of registers.

use std::ops::Range;

use proc_macro2::TokenStream;
use quote::quote;

use super::body::{Body, accumulator, accumulator_apart};
use super::value::Sharing;
use crate::kernel::{self, Axis, Elem, LANES, Local, Reduction, Stmt, Tap, Tile, Update, Value, Var};

/// A point of the written-out taps: the tap's variable and value, if there is one, and the pixels that it allows.
type Point = (Option<(Var, i64)>, Range<usize>);

impl Body<'_> {
    /// Writes a tile.
    pub(super) fn tile(&mut self, tile: &Tile, out: &mut Sharing) {
        self.accumulator_elem = self.elem(&tile.init);
        self.start(tile, out);
        for reduction in &tile.reductions {
            self.reduce(tile, reduction, &reduction.axes, 0..tile.pixels, out);
        }
        self.finish(tile, out);
    }

    /// Binds the accumulators.
    fn start(&mut self, tile: &Tile, out: &mut Sharing) {
        let updated = self.updated(tile);
        let mut start = Sharing::default();
        let inits = self.each(tile, 0..tile.pixels, |this| this.resolve_value(&tile.init));
        inits.iter().for_each(|(.., init)| self.count(init, &mut start));
        for (pixel, block, init) in inits {
            let (name, value) = (accumulator(pixel, block), self.value(&init, &mut start));
            let mutable = updated[pixel].then(|| quote! { mut });
            start.push(quote! { let #mutable #name = #value; });
        }
        out.append(start);
    }

    /// Writes the loops over the axes and the updates in them, for some of the pixels.
    fn reduce(&mut self, tile: &Tile, of: &Reduction, axes: &[Axis], pixels: Range<usize>, out: &mut Sharing) {
        let Some((axis, inner)) = axes.split_first() else {
            return self.points(tile, of, &[(None, pixels)], out);
        };
        match axis {
            Axis::Loop { var, range } => match self.constant_range(range) {
                Some(values) if values.end - values.start <= 1 => {
                    for value in values {
                        self.known.insert(*var, value);
                        self.inside(tile, of, axes, pixels.clone(), out);
                    }
                    self.known.remove(var);
                }
                // A compiler would write out a short loop, and many points in a row need more registers than one.
                Some(values)
                    if matches!(of.update, Update::Fma(..))
                        && values.end - values.start < LANES as i64
                        && !inner.iter().any(|axis| matches!(axis, Axis::Loop { .. })) =>
                {
                    let range = self.opaque_range(*var, values);
                    self.repeat_over(*var, range, out, |this, out| this.inside(tile, of, axes, pixels, out));
                }
                _ => self.repeat(*var, range, out, |this, out| this.inside(tile, of, axes, pixels, out)),
            },
            Axis::Taps { var, taps, together: true } => {
                let points: Vec<Point> = allowed(taps, &pixels).map(|(tap, own)| (Some((*var, tap)), own)).collect();
                self.points(tile, of, &points, out);
            }
            Axis::Taps { var, taps, together: false } => {
                // Neighbours for the same pixels are a loop: edges take less code then.
                let mut runs: Vec<(Range<i64>, Range<usize>)> = Vec::new();
                for (tap, own) in allowed(taps, &pixels) {
                    match runs.last_mut() {
                        Some((values, pixels)) if values.end == tap && *pixels == own => values.end += 1,
                        _ => runs.push((tap..tap + 1, own)),
                    }
                }
                for (values, own) in runs {
                    let range = kernel::Range::new(values.start, values.end);
                    let mut axes = vec![Axis::Loop { var: *var, range }];
                    axes.extend_from_slice(inner);
                    self.reduce(tile, of, &axes, own, out);
                }
            }
        }
    }

    /// Writes what is inside of the first of some axes, for some of the pixels: where that is summed apart, with
    /// accumulators of its own.
    fn inside(&mut self, tile: &Tile, of: &Reduction, axes: &[Axis], pixels: Range<usize>, out: &mut Sharing) {
        let level = of.axes.len() - axes.len();
        if level >= of.apart {
            return self.reduce(tile, of, &axes[1..], pixels, out);
        }
        let names = |level: usize| {
            let of_pixel = move |pixel| (0..tile.blocks).map(move |block| accumulator_apart(pixel, block, level));
            pixels.clone().flat_map(of_pixel)
        };
        let is_f32 = self.accumulator_elem == Elem::F32;
        let zero = if is_f32 {
            quote! { F32x16::zero() }
        } else {
            quote! { I32x16::splat(0) }
        };
        names(level + 1).for_each(|apart| out.push(quote! { let mut #apart = #zero; }));
        self.reduce(tile, of, &axes[1..], pixels.clone(), out);
        for (name, apart) in names(level).zip(names(level + 1)) {
            let pin = is_f32.then(|| quote! { .pin() });
            out.push(quote! { #name = #name.add(#apart)#pin; });
        }
    }

    /// Writes the updates of some points, each for its pixels, and before them what the points ask for. What several
    /// updates use is computed once.
    fn points(&mut self, tile: &Tile, of: &Reduction, points: &[Point], out: &mut Sharing) {
        let mut updates = Vec::new();
        for (tap, pixels) in points {
            self.known.extend(*tap);
            if let Some(prefetch) = &of.prefetch {
                for block in 0..tile.blocks {
                    self.place(tile, pixels.start, block);
                    self.prefetch(prefetch, out);
                }
            }
            updates.extend(self.each(tile, pixels.clone(), |this| this.resolve_update(&of.update)));
            tap.iter().for_each(|(var, _)| {
                self.known.remove(var);
            });
        }
        let mut point = Sharing::default();
        for (.., update) in &updates {
            update_operands(update).into_iter().for_each(|operand| self.count(operand, &mut point));
        }
        for (pixel, block, update) in updates {
            let name = accumulator_apart(pixel, block, of.apart);
            let updated = self.update(&update, &name, &mut point);
            point.push(quote! { #name = #updated; });
        }
        out.append(point);
    }

    fn update(&mut self, update: &Update, name: &proc_macro2::Ident, point: &mut Sharing) -> TokenStream {
        let is_f32 = self.accumulator_elem == Elem::F32;
        match update {
            Update::Fma(a, b) => {
                let (a, b) = (self.value(a, point), self.value(b, point));
                quote! { #name.add_product(#a, #b) }
            }
            Update::Add(value) => {
                let value = self.value(value, point);
                if is_f32 {
                    quote! { #name.add(#value).pin() }
                } else {
                    quote! { #name.add(#value) }
                }
            }
            Update::Max(value) => {
                let value = self.value(value, point);
                if is_f32 {
                    quote! { #name.max_nan(#value).pin() }
                } else {
                    quote! { #name.max(#value) }
                }
            }
        }
    }

    fn resolve_update(&self, update: &Update) -> Update {
        match update {
            Update::Fma(a, b) => Update::Fma(self.resolve_value(a), self.resolve_value(b)),
            Update::Add(value) => Update::Add(self.resolve_value(value)),
            Update::Max(value) => Update::Max(self.resolve_value(value)),
        }
    }

    /// Writes what becomes of the results.
    fn finish(&mut self, tile: &Tile, out: &mut Sharing) {
        let around = std::mem::take(&mut self.finish_locals);
        locals(&tile.finish, &mut |local| {
            self.finish_locals.insert(local);
        });
        let mut finish = Sharing::default();
        for (.., values) in self.each(tile, 0..tile.pixels, |this| this.stored_values(&tile.finish)) {
            values.iter().for_each(|value| self.count(value, &mut finish));
        }
        for pixel in 0..tile.pixels {
            for block in 0..tile.blocks {
                self.place(tile, pixel, block);
                self.accumulator = accumulator(pixel, block);
                self.statements(&tile.finish, &mut finish);
            }
        }
        self.displace(tile);
        self.finish_locals = around;
        out.append(finish);
    }

    /// The values of statements that are not in loops.
    fn stored_values(&self, statements: &[Stmt]) -> Vec<Value> {
        let value = |statement: &Stmt| match statement {
            Stmt::Let { value, .. } | Stmt::Store { value, .. } => Some(self.resolve_value(value)),
            Stmt::For { .. } | Stmt::Tile(_) | Stmt::Zero { .. } | Stmt::Prefetch { .. } => None,
        };
        statements.iter().filter_map(value).collect()
    }

    /// What something is for each accumulator of some pixels, pixels outside.
    fn each<T>(
        &mut self,
        tile: &Tile,
        pixels: Range<usize>,
        mut what: impl FnMut(&mut Self) -> T,
    ) -> Vec<(usize, usize, T)> {
        let mut all = Vec::with_capacity(pixels.len() * tile.blocks);
        for pixel in pixels {
            for block in 0..tile.blocks {
                self.place(tile, pixel, block);
                all.push((pixel, block, what(self)));
            }
        }
        self.displace(tile);
        all
    }

    fn place(&mut self, tile: &Tile, pixel: usize, block: usize) {
        self.known.insert(tile.pixel, pixel as i64);
        self.known.insert(tile.block, block as i64);
    }

    fn displace(&mut self, tile: &Tile) {
        self.known.remove(&tile.pixel);
        self.known.remove(&tile.block);
    }

    /// For each pixel whether any update is written for it.
    fn updated(&mut self, tile: &Tile) -> Vec<bool> {
        let mut updated = vec![false; tile.pixels];
        for Reduction { axes, .. } in &tile.reductions {
            self.mark_updated(axes, 0..tile.pixels, &mut updated);
        }
        updated
    }

    fn mark_updated(&self, axes: &[Axis], pixels: Range<usize>, updated: &mut [bool]) {
        match axes.split_first() {
            None => updated[pixels].fill(true),
            Some((Axis::Loop { range, .. }, inner)) => {
                if self.constant_range(range).is_none_or(|values| !values.is_empty()) {
                    self.mark_updated(inner, pixels, updated);
                }
            }
            Some((Axis::Taps { taps, .. }, inner)) => {
                for (_, own) in allowed(taps, &pixels) {
                    self.mark_updated(inner, own, updated);
                }
            }
        }
    }
}

/// The values of taps that are for some of these pixels, and for which.
fn allowed(taps: &[Tap], pixels: &Range<usize>) -> impl Iterator<Item = (i64, Range<usize>)> {
    let own = |tap: &Tap| (tap.value, pixels.start.max(tap.first)..pixels.end.min(tap.end));
    taps.iter().map(own).filter(|(_, own)| !own.is_empty())
}

fn update_operands(update: &Update) -> Vec<&Value> {
    match update {
        Update::Fma(a, b) => vec![a, b],
        Update::Add(value) | Update::Max(value) => vec![value],
    }
}

/// The locals that statements bind.
fn locals(statements: &[Stmt], found: &mut impl FnMut(Local)) {
    for statement in statements {
        match statement {
            Stmt::Let { local, .. } => found(*local),
            Stmt::For { body, .. } => locals(body, found),
            Stmt::Tile(tile) => locals(&tile.finish, found),
            Stmt::Store { .. } | Stmt::Zero { .. } | Stmt::Prefetch { .. } => {}
        }
    }
}
