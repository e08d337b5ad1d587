//! Proofs about kernels whose accesses are affine, in time that depends on their text and not on their extents.
//!
//! `collect` brings the accesses of a kernel and the loops around them into normal form. `digits` takes elements
//! apart such that two are the same only if all their digits are, and finds the unit that an element belongs to as a sum
//! of multiples of its digits: if there is such a sum for all accesses to a memory, no two units meet in it. `covered`
//! proves that an element has been written before: those of scratch before they are read, and all of an output.
//!
//! Nothing is proved of rings and of what is written by tables; `super::trace` runs through those.

mod collect;
mod covered;
mod digits;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::interval::{Bounded, Scope, renamed};
use super::trace::regions;
use crate::kernel::{
    Access as Use, Arg, BufferId, Index, Kernel, KernelId, ParamId, ParamKind, Place as Memory, Program, Step, Var,
};
use collect::{Access, Accesses, accesses};
use covered::{conditions, is_covered, is_never};
use digits::{Moduli, Place, digits, owner};
pub(super) use digits::{Multiple, Owner};

/// What is known of a program's kernels, each looked at once.
pub(super) struct Proofs<'a> {
    program: &'a Program,
    /// By kernel, its accesses to parameters that some step gives memory which steps write.
    kernels: Vec<Option<Accesses<'a>>>,
    owners: BTreeMap<(KernelId, BTreeSet<ParamId>), Option<Rc<Owner>>>,
    scratch: BTreeMap<(KernelId, ParamId), bool>,
}

impl<'a> Proofs<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        let mut followed: Vec<BTreeSet<ParamId>> = vec![BTreeSet::new(); program.kernels.len()];
        for step in &program.steps {
            let written = |arg: &Arg| regions(arg).iter().any(|at| is_written(&program.buffer(at.buffer).place));
            let params = (0u32..).map(ParamId).zip(&step.args).filter(|(_, arg)| written(arg));
            followed[step.kernel.index()].extend(params.map(|(param, _)| param));
        }
        let kernels = program.kernels.iter().zip(&followed).map(|(kernel, params)| accesses(kernel, params)).collect();
        Proofs { program, kernels, owners: BTreeMap::new(), scratch: BTreeMap::new() }
    }

    fn kernel(&self, id: KernelId) -> &'a Kernel {
        &self.program.kernels[id.index()]
    }

    /// The accesses to some parameters, in the order of the text; none where some are not affine.
    fn accesses(&self, id: KernelId, params: &BTreeSet<ParamId>) -> Option<Vec<&Access<'a>>> {
        let all = self.kernels[id.index()].as_ref()?;
        let regular = all.irregular.is_disjoint(params);
        regular.then(|| all.list.iter().filter(|access| params.contains(&access.param)).collect())
    }

    /// The unit that touches an element of some parameters, which are the same memory; none where the elements do not
    /// tell it.
    pub(super) fn owner(&mut self, id: KernelId, params: BTreeSet<ParamId>) -> Option<Rc<Owner>> {
        let key = (id, params);
        if let Some(known) = self.owners.get(&key) {
            return known.clone();
        }
        let found = self.accesses(id, &key.1).and_then(|accesses| owner(&accesses)).map(Rc::new);
        self.owners.insert(key, found.clone());
        found
    }

    /// Whether no unit writes what another one touches of some parameters, which are the same memory.
    pub(super) fn units_are_apart(&mut self, id: KernelId, params: BTreeSet<ParamId>) -> bool {
        self.owner(id, params.clone()).is_some()
            || self.accesses(id, &params).and_then(|accesses| pairs_are_apart(&accesses)).unwrap_or(false)
    }

    /// Whether no unit writes an element of a parameter twice.
    pub(super) fn writes_once(&self, id: KernelId, param: ParamId) -> bool {
        self.accesses(id, &[param].into()).and_then(|accesses| writes_once(&accesses)).unwrap_or(false)
    }

    /// Whether each unit writes each element of a parameter before it reads it.
    pub(super) fn writes_before_reading(&mut self, id: KernelId, param: ParamId) -> bool {
        if let Some(known) = self.scratch.get(&(id, param)) {
            return *known;
        }
        let own = self.accesses(id, &[param].into());
        let known = own.and_then(|own| writes_before_reading(&own)).unwrap_or(false);
        self.scratch.insert((id, param), known);
        known
    }

    /// Whether steps write all elements of a buffer.
    pub(super) fn is_written_whole(&self, buffer: BufferId) -> bool {
        let mut writes = Vec::new();
        for step in &self.program.steps {
            let Some(of_step) = self.writes_into(step, buffer) else { return false };
            writes.extend(of_step);
        }
        let len = self.program.buffer(buffer).len;
        i64::try_from(len).ok().and_then(|len| covers(self.kernel(KernelId(0)), &writes, len)).unwrap_or(false)
    }

    /// The writes of a step into a buffer with the numbers of the blocks that they are for, elements counted from the
    /// buffer's first.
    fn writes_into(&self, step: &Step, buffer: BufferId) -> Option<Vec<(Access<'a>, i64)>> {
        let mut writes = Vec::new();
        for (i, (param, arg)) in self.kernel(step.kernel).params.iter().zip(&step.args).enumerate() {
            let (ParamKind::Flat { access, .. } | ParamKind::Blocks { access, .. }) = param.kind else { continue };
            for (block, region) in (0..).zip(regions(arg)).filter(|(_, region)| region.buffer == buffer) {
                if access == Use::Read {
                    continue;
                }
                let own = self.accesses(step.kernel, &[ParamId(i as u32)].into())?;
                writes.extend(own.into_iter().filter(|access| access.write).map(|access| {
                    let offset = access.offset.clone() + region.offset;
                    (Access { offset, ..access.clone() }, block)
                }));
            }
        }
        Some(writes)
    }
}

/// Whether steps write into a memory.
fn is_written(place: &Memory) -> bool {
    match place {
        Memory::Output(_) | Memory::Arena(_) | Memory::Scratch(_) => true,
        Memory::Input(_) | Memory::Packed { .. } => false,
    }
}

/// Whether two accesses, of which one writes, touch the same elements in the same unit only.
fn pairs_are_apart(accesses: &[&Access<'_>]) -> Option<bool> {
    let digits = digits(accesses, Moduli::DownToOne)?;
    for (i, access) in accesses.iter().enumerate() {
        for (j, other) in accesses[..=i].iter().enumerate().filter(|(_, other)| access.write || other.write) {
            let pair = if i == j { vec![*access] } else { vec![*access, *other] };
            if owner(&pair).is_none() && (i == j || !are_apart(access, &digits.of[i], other, &digits.of[j])) {
                return Some(false);
            }
        }
    }
    Some(true)
}

/// Whether two accesses touch no element both, wherever each of them is.
fn are_apart(a: &Access<'_>, digits_of_a: &[Index], b: &Access<'_>, digits_of_b: &[Index]) -> bool {
    // The variables of each are its own, also those of loops around both.
    let never_touches = |access: &Access<'_>, own: &[Index], other: &Access<'_>, others: &[Index]| {
        let scope = other.scope.renamed();
        let others: Vec<Index> = others.iter().map(renamed).collect();
        conditions(access, Place(own), Place(&others), &scope).is_some_and(|conditions| is_never(&scope, &conditions))
    };
    Place(digits_of_a).is_apart_from(&a.scope, Place(digits_of_b), &b.scope)
        || never_touches(a, digits_of_a, b, digits_of_b)
        || never_touches(b, digits_of_b, a, digits_of_a)
}

fn writes_before_reading(accesses: &[&Access<'_>]) -> Option<bool> {
    let digits = digits(accesses, Moduli::DownToOne)?;
    let place = |i: usize| Place(&digits.of[i]);
    Some(accesses.iter().enumerate().filter(|(_, read)| !read.write).all(|(i, read)| {
        let before = (0..i).filter(|&j| accesses[j].write);
        is_covered(&read.scope, before.filter_map(|j| conditions(accesses[j], place(j), place(i), &read.scope)))
    }))
}

fn writes_once(accesses: &[&Access<'_>]) -> Option<bool> {
    let writes: Vec<&Access<'_>> = accesses.iter().copied().filter(|access| access.write).collect();
    let digits = digits(&writes, Moduli::DownToOne)?;
    for (i, access) in writes.iter().enumerate() {
        if !Place(&digits.of[i]).tells_variables(&access.scope) {
            return Some(false);
        }
        for j in 0..i {
            if !are_apart(access, &digits.of[i], writes[j], &digits.of[j]) {
                return Some(false);
            }
        }
    }
    Some(true)
}

/// Whether writes reach all elements below a length; each with the number of its block that lies there.
fn covers(kernel: &Kernel, writes: &[(Access<'_>, i64)], len: i64) -> Option<bool> {
    let accesses: Vec<&Access<'_>> = writes.iter().map(|(access, _)| access).collect();
    let digits = digits(&accesses, Moduli::Dividing(len))?;
    let (mut scope, mut element, mut around) = (Scope::new(kernel), Vec::new(), len);
    for (number, modulus) in (0..).zip(&digits.elements) {
        let var = Var(u32::MAX - number);
        scope = scope.with(Bounded::values(var, 0, around / modulus - 1));
        element.push(Index::var(var));
        around = *modulus;
    }
    let conditions = writes.iter().zip(&digits.of).filter_map(|((access, block), of)| {
        let mut rest = *block;
        let mut wanted: Vec<Index> = Vec::new();
        for modulus in &digits.blocks {
            wanted.push(Index::constant(rest / modulus));
            rest %= modulus;
        }
        wanted.extend(element.iter().cloned());
        conditions(access, Place(of), Place(&wanted), &scope)
    });
    Some(is_covered(&scope, conditions))
}

#[cfg(test)]
mod tests;
