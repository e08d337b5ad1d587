//! The verifier: what back ends may rely on, so that code made of a [`Verified`] program needs no check at run time.
//!
//! A program that it accepts has these invariants; each has its [`Invariant`] and its file:
//!
//! - **structure**: ids lie in their lists; names are there and distinct; a buffer lies inside its memory, in the arena
//!   and in scratch on a multiple of 16 elements; inputs and outputs are numbered without gaps; a packed buffer has the
//!   length of its form; arguments fit their parameters in kind, number, element type, and length within their buffers;
//! - **scope**: a variable or local is bound once and used inside what binds it; `acc` stands in a finish; no tile in a
//!   finish; unrolled ranges are constant; tiles are not empty; lanes are 1 to 16; indexes are in normal form;
//! - **types**: a value is computed from f32s or from i32s as its function wants, a tile's updates are of the type of its
//!   accumulators, a store fits its parameter;
//! - **access**: what is read may be read and what is written may be written: by the parameter's access, and by the
//!   buffer's place, since inputs and weights are read only and outputs are never read;
//! - **bounds**: for all calls and all values of the variables, every access lies inside its parameter, every index of
//!   a table inside the table, and what is taken modulo is not negative. Prefetches are free;
//! - **aliasing**: in a step, a written region overlaps no other region, except where the kernel allows a pair to be in
//!   place: then both are the very same elements;
//! - **in place**: such a pair is read only in the store that overwrites the same place, or bound just before it, and
//!   no element is written twice in a unit;
//! - **units**: no unit of a step touches what another unit of it writes, but for scratch, which is a worker's own; and
//!   a call of all units writes what the units write one by one;
//! - **waits**: a step that waits for its own units has as many as the step before, and unit u touches nothing that
//!   another unit has written, and writes nothing that another unit has touched, since the last barrier;
//! - **scratch**: a unit reads no scratch element that it has not written before;
//! - **liveness**: a step reads only buffers of the arena that a step has written, and every element of every output is
//!   written.
//!
//! All of it is proved from the text of kernels, in time that does not depend on their extents: bounds by the
//! intervals of indexes (`interval`), the rest by the digits of affine ones (`affine`). Where a kernel's accesses are not affine, as
//! in a ring of rows, and where the text does not suffice, its units are run through one by one, with loops folded into
//! runs of elements (`trace`), as long as those are few enough. That finds an example of what is wrong too. The planner's
//! promise, that a buffer still holds its own value when it is read, is checked by [`crate::plan::check`].

mod affine;
mod bounds;
mod flow;
mod in_place;
mod interval;
mod scope;
mod sharing;
mod structure;
mod trace;
mod waits;

use std::fmt;

use super::Program;
use crate::graph::Verified;

/// A group of invariants; the module's comment says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Ids, names, places, arguments.
    Structure,
    /// Variables, locals, forms of statements.
    Scope,
    /// Types of values.
    Types,
    /// Reading what may be read and writing what may be written.
    Access,
    /// Accesses inside their parameters.
    Bounds,
    /// Regions of a step that overlap.
    Aliasing,
    /// Pairs of parameters that may be the same memory.
    InPlace,
    /// Units that do not depend on each other.
    Units,
    /// What a step waits for.
    Waits,
    /// Scratch written before it is read.
    Scratch,
    /// Buffers written before they are read, outputs written at all.
    Liveness,
    /// Accesses that the text of the kernel proves apart, or few enough to run through: a program beyond that is not wrong,
    /// but too large.
    Size,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// The step, by position, if it is a step that is wrong.
    pub step: Option<usize>,
    /// The kernel, by name.
    pub kernel: Option<String>,
    /// The source nodes that the step computes, by name.
    pub layers: Vec<String>,
    /// The statements around, outermost first.
    pub statement: Vec<String>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.step {
            write!(f, "step {step}: ")?;
        }
        if let Some(kernel) = &self.kernel {
            write!(f, "kernel {kernel}: ")?;
        }
        for statement in &self.statement {
            write!(f, "{statement}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Violation {}

/// Accepts a program that has all invariants of this module.
///
/// # Errors
/// What it found: all violations of structure and scope, or, where there are none, all others.
pub fn verify(program: Program) -> Result<Verified<Program>, Vec<Violation>> {
    let mut report = Report::default();
    structure::check(&program, &mut report);
    for kernel in &program.kernels {
        report.kernel = Some(kernel.name.clone());
        scope::check(kernel, &mut report);
    }
    report.kernel = None;
    if report.found.is_empty() {
        for kernel in &program.kernels {
            report.kernel = Some(kernel.name.clone());
            bounds::check(kernel, &mut report);
        }
        report.kernel = None;
    }
    if report.found.is_empty() {
        let (mut proofs, mut traces) = (affine::Proofs::new(&program), trace::Traces::new(&program));
        in_place::check(&program, &mut proofs, &mut traces, &mut report);
        sharing::check(&program, &mut proofs, &mut traces, &mut report);
        waits::check(&program, &mut proofs, &mut report);
        flow::check(&program, &proofs, &mut traces, &mut report);
    }
    if report.found.is_empty() {
        return Ok(Verified::assert_checked(program));
    }
    for of in &mut report.found {
        of.layers = of.step.and_then(|step| program.steps.get(step)).map_or_else(Vec::new, |step| step.layers.clone());
    }
    Err(report.found)
}

/// Takes away each barrier that is proved needless: before a step of which unit u touches only what unit u of the steps
/// since the last barrier did. The memory plan is as it is, so where a step writes over what another unit of the step
/// before still reads, the barrier stays.
pub fn spare_barriers(program: Verified<Program>) -> Verified<Program> {
    let least = waits::least_waits(&program, &mut affine::Proofs::new(&program));
    let mut program = program.into_inner();
    for (step, waits) in program.steps.iter_mut().zip(least) {
        step.waits = waits;
    }
    // The waits are proved by what the verifier proves them by, and nothing else changed.
    Verified::assert_checked(program)
}

/// Violations with the place that is being looked at.
#[derive(Default)]
struct Report {
    found: Vec<Violation>,
    step: Option<usize>,
    kernel: Option<String>,
    statement: Vec<String>,
}

impl Report {
    fn add(&mut self, invariant: Invariant, what: impl Into<String>) {
        self.found.push(Violation {
            invariant,
            step: self.step,
            kernel: self.kernel.clone(),
            layers: Vec::new(),
            statement: self.statement.clone(),
            what: what.into(),
        });
    }

    /// Looks at something inside the present statement.
    fn within<T>(&mut self, label: impl Into<String>, look: impl FnOnce(&mut Self) -> T) -> T {
        self.statement.push(label.into());
        let result = look(self);
        self.statement.pop();
        result
    }
}

#[cfg(test)]
mod tests;
