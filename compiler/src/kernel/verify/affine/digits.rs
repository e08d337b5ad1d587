//! Elements as digits, and units as functions of elements.
//!
//! With moduli `s0 > s1 > …`, an element `e` has the digits `e / s0`, `e mod s0 / s1`, and so on. The moduli of some
//! accesses are chosen among the factors of their variables, such that each digit of each access is affine: the access
//! `1792*oh + 224*t + 16*p + lane` has the digits `oh`, `t`, `p` and `lane` for 1792, 224, 16 and 1, as `t` is below 8,
//! `p` below 14 and `lane` below 16. Elements are the same where all their digits are.

use std::collections::BTreeSet;

use super::super::interval::Scope;
use super::collect::Access;
use crate::kernel::{Index, Term, Var};

/// What an access touches, or one element, in digits: of its block, and of its place in it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a>(pub(super) &'a [Index]);

impl Place<'_> {
    /// Whether the values of all variables in scope follow from the digits.
    pub(super) fn tells_variables(&self, scope: &Scope<'_>) -> bool {
        let vars = scope.vars().iter().map(|bounded| bounded.var);
        let open: Vec<Var> =
            vars.filter(|var| scope.interval(&Index::var(*var)).is_none_or(|(first, last)| first != last)).collect();
        let row = |index: &Index| open.iter().map(|var| i128::from(index.factor(*var))).collect();
        let mut rows: Vec<Vec<i128>> = self.0.iter().map(row).collect();
        reduce(&mut rows, open.len()).is_some_and(|pivots| pivots.len() == open.len())
    }

    /// Whether a digit has no value that another place's may have.
    pub(super) fn is_apart_from(&self, scope: &Scope<'_>, other: Place<'_>, others: &Scope<'_>) -> bool {
        self.0.iter().zip(other.0).any(|(own, other)| {
            let (Some(own), Some(other)) = (scope.interval(own), others.interval(other)) else { return false };
            own.1 < other.0 || other.1 < own.0
        })
    }
}

/// Which moduli there are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Moduli {
    /// Those that fit; what is below the last is in no digit.
    Fitting,
    /// Down to 1, so that elements are the same where all digits are.
    DownToOne,
    /// The same, of which each divides the one before and the first this length: a sum of digits is an element.
    Dividing(i64),
}

/// Some accesses in digits.
pub(super) struct Digits {
    /// The moduli of blocks and those of elements, each smaller than the one before.
    pub(super) blocks: Vec<i64>,
    pub(super) elements: Vec<i64>,
    /// The digits of each access: its block's and its element's.
    pub(super) of: Vec<Vec<Index>>,
    /// By how much elements may be moved up such that no digit of a modulus changes, one a modulus.
    slack: Vec<i64>,
}

/// The digits of accesses; none where an interval cannot be found.
pub(super) fn digits(accesses: &[&Access<'_>], moduli: Moduli) -> Option<Digits> {
    let mut of: Vec<Vec<Index>> = accesses.iter().map(|_| Vec::new()).collect();
    let blocks = accesses.iter().map(|access| access.block.clone()).collect();
    let (blocks, _) = chain(accesses, blocks, Moduli::DownToOne, &mut of)?;
    let elements = accesses.iter().map(|access| access.element()).collect();
    let (elements, slack) = chain(accesses, elements, moduli, &mut of)?;
    Some(Digits { blocks, elements, of, slack })
}

/// Takes an index of each access apart. The moduli, and the slack of each.
fn chain(
    accesses: &[&Access<'_>],
    mut rests: Vec<Index>,
    moduli: Moduli,
    of: &mut [Vec<Index>],
) -> Option<(Vec<i64>, Vec<i64>)> {
    let mut factors: BTreeSet<i64> = BTreeSet::new();
    factors.extend(rests.iter().flat_map(|rest| rest.terms.iter().map(|(_, factor)| factor.abs())));
    if moduli != Moduli::Fitting {
        factors.insert(1);
    }
    let (mut found, mut slacks) = (Vec::new(), Vec::new());
    for &modulus in factors.iter().rev() {
        let divides = match moduli {
            Moduli::Fitting | Moduli::DownToOne => true,
            Moduli::Dividing(len) => found.last().unwrap_or(&len) % modulus == 0,
        };
        let Some((splits, slack)) = (if divides { split(accesses, &rests, modulus)? } else { None }) else { continue };
        for ((rest, of), (digit, below)) in rests.iter_mut().zip(&mut *of).zip(splits) {
            *rest = below;
            of.push(digit);
        }
        found.push(modulus);
        slacks.push(slack);
    }
    Some((found, slacks))
}

/// The digit of a modulus and what is below it, of each access, and by how much all may be moved up.
type Split = (Vec<(Index, Index)>, i64);

/// Splits what is left of accesses by a modulus; Some(None) where a digit would not be affine.
fn split(accesses: &[&Access<'_>], rests: &[Index], modulus: i64) -> Option<Option<Split>> {
    let (mut splits, mut slack) = (Vec::with_capacity(rests.len()), i64::MAX);
    for (access, rest) in accesses.iter().zip(rests) {
        let (mut digit, mut below) = (Index::constant(0), Index::constant(rest.constant));
        for (term, factor) in &rest.terms {
            if factor % modulus == 0 {
                digit.terms.push((term.clone(), factor / modulus));
            } else if factor.abs() < modulus {
                below.terms.push((term.clone(), *factor));
            } else {
                return Some(None);
            }
        }
        let (least, largest) = access.scope.interval(&below)?;
        let (least, largest) = (i64::try_from(least).ok()?, i64::try_from(largest).ok()?);
        let whole = least.div_euclid(modulus);
        if largest - whole * modulus >= modulus {
            return Some(None);
        }
        slack = slack.min(modulus - 1 - (largest - whole * modulus));
        splits.push((digit + whole, below - whole * modulus));
    }
    Some(Some((splits, slack)))
}

/// Which unit touches an element, for all elements that some accesses touch: a sum of multiples of digits.
#[derive(Clone, Debug)]
pub(in crate::kernel::verify) struct Owner {
    blocks: Vec<Multiple>,
    pub(in crate::kernel::verify) elements: Vec<Multiple>,
    constant: i64,
    /// By how much elements may be moved up before a digit changes.
    pub(in crate::kernel::verify) slack: i64,
}

/// A multiple of a digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kernel::verify) struct Multiple {
    /// What numbers are taken modulo first; 0 where they are not.
    pub(in crate::kernel::verify) above: i64,
    pub(in crate::kernel::verify) modulus: i64,
    pub(in crate::kernel::verify) factor: i64,
}

impl Owner {
    /// What the elements of a block add to.
    pub(in crate::kernel::verify) fn of_block(&self, block: i64) -> Option<i64> {
        self.blocks.iter().try_fold(self.constant, |sum, &Multiple { above, modulus, factor }| {
            let rest = if above == 0 { block } else { block % above };
            sum.checked_add(factor.checked_mul(rest / modulus)?)
        })
    }
}

/// The owner of the elements that accesses touch, if each element has one that can be told by its digits.
pub(super) fn owner(accesses: &[&Access<'_>]) -> Option<Owner> {
    let digits = digits(accesses, Moduli::Fitting)?;
    // An equation for each variable and the constant of each access: the sum of multiples is the unit.
    let mut equations: BTreeSet<Vec<i128>> = BTreeSet::new();
    for (access, of) in accesses.iter().zip(&digits.of) {
        let vars: BTreeSet<Var> =
            of.iter().chain([&access.unit]).flat_map(|i| i.terms.iter().filter_map(var)).collect();
        let row = |constant: i64, part: &dyn Fn(&Index) -> i64| {
            let factors = of.iter().map(part).chain([part(&access.unit)]);
            [constant].into_iter().chain(factors).map(i128::from).collect::<Vec<_>>()
        };
        equations.extend(vars.into_iter().map(|var| row(0, &|index| index.factor(var))));
        equations.insert(row(1, &|index| index.constant));
    }
    let solution = solve(equations.into_iter().collect())?;
    let (blocks, elements) = solution[1..].split_at(digits.blocks.len());
    let used = digits.slack.iter().zip(elements).filter(|(_, factor)| **factor != 0);
    Some(Owner {
        blocks: multiples(&digits.blocks, blocks),
        elements: multiples(&digits.elements, elements),
        constant: solution[0],
        slack: used.map(|(slack, _)| *slack).min().unwrap_or(i64::MAX),
    })
}

/// Multiples of digits that are not zero, each with the modulus before its own.
fn multiples(moduli: &[i64], factors: &[i64]) -> Vec<Multiple> {
    let mut multiples: Vec<Multiple> = Vec::new();
    for (i, (&modulus, &factor)) in moduli.iter().zip(factors).enumerate().filter(|(_, (_, factor))| **factor != 0) {
        let above = if i == 0 { 0 } else { moduli[i - 1] };
        match multiples.last_mut() {
            // Two digits that count through are one.
            Some(last) if last.modulus == above && last.factor.checked_mul(modulus) == factor.checked_mul(above) => {
                (last.modulus, last.factor) = (modulus, factor);
            }
            _ => multiples.push(Multiple { above, modulus, factor }),
        }
    }
    multiples
}

fn var((term, _): &(Term, i64)) -> Option<Var> {
    match term {
        Term::Var(var) => Some(*var),
        Term::Mod(..) | Term::Table(..) => None,
    }
}

/// Solves linear equations, the right side last, in integers; unknowns that are free are zero. Later unknowns are free
/// before earlier ones.
fn solve(mut rows: Vec<Vec<i128>>) -> Option<Vec<i64>> {
    let unknowns = rows.first()?.len() - 1;
    let pivots = reduce(&mut rows, unknowns)?;
    if rows[pivots.len()..].iter().any(|row| row[unknowns] != 0) {
        return None;
    }
    let mut solution = vec![0; unknowns];
    for (row, column) in rows.iter().zip(pivots) {
        let (right, factor) = (row[unknowns], row[column]);
        if right % factor != 0 {
            return None;
        }
        solution[column] = i64::try_from(right / factor).ok()?;
    }
    Some(solution)
}

/// Brings rows to reduced echelon form, without fractions; the columns of the pivots, one a row from the first on.
fn reduce(rows: &mut [Vec<i128>], columns: usize) -> Option<Vec<usize>> {
    let mut pivots = Vec::new();
    for column in 0..columns {
        let at = pivots.len();
        let Some(found) = (at..rows.len()).find(|&row| rows[row][column] != 0) else { continue };
        rows.swap(at, found);
        let pivot = rows[at].clone();
        for (row, values) in rows.iter_mut().enumerate() {
            if row != at && values[column] != 0 {
                eliminate(values, &pivot, column)?;
            }
        }
        pivots.push(column);
    }
    Some(pivots)
}

/// Takes a multiple of `pivot` off a multiple of `row`, such that a column is zero.
fn eliminate(row: &mut [i128], pivot: &[i128], column: usize) -> Option<()> {
    let (own, other) = (row[column], pivot[column]);
    let mut common = 0;
    for (value, by) in row.iter_mut().zip(pivot) {
        *value = value.checked_mul(other)?.checked_sub(by.checked_mul(own)?)?;
        common = greatest_common_divisor(common, *value);
    }
    if common > 1 {
        row.iter_mut().for_each(|value| *value /= common);
    }
    Some(())
}

fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a as i128
}
