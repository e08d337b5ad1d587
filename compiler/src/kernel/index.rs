//! Integers of a kernel: sums of variables, and the ranges that loops run over.

use super::{ParamId, Var};

/// `lo..hi`, empty where `hi <= lo`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first value.
    pub lo: Bound,
    /// One past the last.
    pub hi: Bound,
}

/// An end of a range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// An index.
    Index(Index),
    /// The smaller of two.
    Min(Index, Index),
    /// The larger of two.
    Max(Index, Index),
}

/// A sum of terms and a constant. Terms are ordered, distinct, and have non-zero factors.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index {
    /// Terms with their factors.
    pub terms: Vec<(Term, i64)>,
    /// The constant.
    pub constant: i64,
}

/// A part of an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Term {
    /// A variable.
    Var(Var),
    /// An index modulo a positive number: a ring of that many rows. The index is not negative.
    Mod(Box<Index>, i64),
    /// An entry of a table parameter.
    Table(ParamId, Box<Index>),
}

impl Index {
    /// A constant.
    pub fn constant(value: i64) -> Index {
        Index { terms: Vec::new(), constant: value }
    }

    /// A variable.
    pub fn var(var: Var) -> Index {
        Index::term(Term::Var(var))
    }

    /// A term, once.
    pub fn term(term: Term) -> Index {
        Index { terms: vec![(term, 1)], constant: 0 }
    }

    /// The value, if it has no terms.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The factor of a variable, outside of `mod` and tables.
    pub fn factor(&self, var: Var) -> i64 {
        self.terms.iter().find(|(term, _)| *term == Term::Var(var)).map_or(0, |(_, factor)| *factor)
    }

    /// Whether a variable occurs anywhere in it.
    pub fn mentions(&self, var: Var) -> bool {
        self.terms.iter().any(|(term, _)| match term {
            Term::Var(v) => *v == var,
            Term::Mod(index, _) | Term::Table(_, index) => index.mentions(var),
        })
    }

    /// The index with another in the place of a variable, everywhere.
    pub fn substitute(&self, var: Var, by: &Index) -> Index {
        let mut result = Index::constant(self.constant);
        for (term, factor) in &self.terms {
            let value = match term {
                Term::Var(v) if *v == var => by.clone(),
                Term::Var(v) => Index::var(*v),
                Term::Mod(index, modulus) => {
                    let index = index.substitute(var, by);
                    match index.as_constant() {
                        Some(value) if value >= 0 => Index::constant(value % modulus),
                        _ => Index::term(Term::Mod(Box::new(index), *modulus)),
                    }
                }
                Term::Table(param, index) => Index::term(Term::Table(*param, Box::new(index.substitute(var, by)))),
            };
            result = result + value * *factor;
        }
        result
    }
}

impl From<i64> for Index {
    fn from(value: i64) -> Index {
        Index::constant(value)
    }
}

impl From<usize> for Index {
    fn from(value: usize) -> Index {
        Index::constant(value as i64)
    }
}

impl From<Var> for Index {
    fn from(var: Var) -> Index {
        Index::var(var)
    }
}

impl<T: Into<Index>> std::ops::Add<T> for Index {
    type Output = Index;
    fn add(mut self, other: T) -> Index {
        let other = other.into();
        self.constant += other.constant;
        for (term, factor) in other.terms {
            match self.terms.binary_search_by(|(t, _)| t.cmp(&term)) {
                Ok(i) => {
                    self.terms[i].1 += factor;
                    if self.terms[i].1 == 0 {
                        self.terms.remove(i);
                    }
                }
                Err(i) => self.terms.insert(i, (term, factor)),
            }
        }
        self
    }
}

impl<T: Into<Index>> std::ops::Sub<T> for Index {
    type Output = Index;
    fn sub(self, other: T) -> Index {
        self + other.into() * -1i64
    }
}

impl std::ops::Mul<i64> for Index {
    type Output = Index;
    fn mul(mut self, factor: i64) -> Index {
        if factor == 0 {
            return Index::constant(0);
        }
        self.constant *= factor;
        self.terms.iter_mut().for_each(|(_, f)| *f *= factor);
        self
    }
}

impl std::ops::Mul<usize> for Index {
    type Output = Index;
    fn mul(self, factor: usize) -> Index {
        self * factor as i64
    }
}

impl std::ops::Mul<i64> for Var {
    type Output = Index;
    fn mul(self, factor: i64) -> Index {
        Index::var(self) * factor
    }
}

impl std::ops::Mul<usize> for Var {
    type Output = Index;
    fn mul(self, factor: usize) -> Index {
        Index::var(self) * factor
    }
}

impl Range {
    /// `lo..hi`.
    pub fn new(lo: impl Into<Index>, hi: impl Into<Index>) -> Range {
        Range { lo: Bound::Index(lo.into()), hi: Bound::Index(hi.into()) }
    }

    /// The part of `0..extent` that lies in `lo..hi`, both moved down by `start`.
    pub fn units(start: impl Into<Index>, extent: usize) -> Range {
        let start = start.into();
        Range {
            lo: Bound::Max(Index::var(Var::LO) - start.clone(), Index::constant(0)),
            hi: Bound::Min(Index::var(Var::HI) - start, Index::from(extent)),
        }
    }
}
