//! Indexes and bounds as `usize` arithmetic.
//!
//! Loop variables and in-bounds indexes are not negative, but parts of their sums may be. So what is added comes first
//! and what is subtracted last, which never goes below zero on the way, and a bound subtracts with saturation: no
//! variable is negative, so a range that ends below zero is empty, as one that ends at zero.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::body::Body;
use crate::kernel::{Bound, Index, Range, Term, Var};

/// A sum in two parts, both written with plus signs.
struct Sum {
    added: Vec<TokenStream>,
    subtracted: Vec<TokenStream>,
}

impl Body<'_> {
    /// The index with variables that stand for one number replaced by it.
    pub(super) fn resolve(&self, index: &Index) -> Index {
        let known = self.known.iter().filter(|(var, _)| index.mentions(**var));
        known.fold(index.clone(), |index, (&var, &value)| index.substitute(var, &Index::constant(value)))
    }

    /// A resolved index that is not negative.
    pub(super) fn index(&self, index: &Index) -> TokenStream {
        let Sum { added, subtracted } = self.sum(index);
        if added.is_empty() {
            return quote! { 0 #(- #subtracted)* };
        }
        quote! { #(#added)+* #(- #subtracted)* }
    }

    /// One resolved term with its factor taken as positive.
    pub(super) fn term(&self, term: &Term, factor: u64) -> TokenStream {
        let term = match term {
            Term::Var(var) => {
                let name = self.var(*var);
                quote! { #name }
            }
            Term::Mod(index, modulus) => {
                let Sum { added, subtracted } = self.sum(index);
                let modulus = Literal::i64_unsuffixed(*modulus);
                match (&added[..], &subtracted[..]) {
                    ([only], []) => quote! { #only % #modulus },
                    _ => quote! { (#(#added)+* #(- #subtracted)*) % #modulus },
                }
            }
            Term::Table(param, index) => {
                let (table, index) = (self.param(*param), self.index(index));
                quote! { *#table.add(#index) as usize }
            }
        };
        if factor == 1 {
            return term;
        }
        let factor = Literal::u64_unsuffixed(factor);
        match syn::parse2::<syn::Ident>(term.clone()) {
            Ok(name) => quote! { #name * #factor },
            Err(_) => quote! { (#term) * #factor },
        }
    }

    /// `lo..hi` of a loop over `var`. An end that is more than a sum has a name, bound where its variables are.
    pub(super) fn range(&mut self, var: Var, range: &Range) -> TokenStream {
        let (lo, hi) = (self.end(var, "start", &range.lo), self.end(var, "end", &range.hi));
        quote! { #lo..#hi }
    }

    /// The same for a range whose length the compiler is not to know.
    pub(super) fn opaque_range(&mut self, var: Var, values: std::ops::Range<i64>) -> TokenStream {
        let (lo, hi) = (literal(values.start), literal(values.end));
        let end = quote! { ::core::hint::black_box(#hi) };
        let wish = format!("{}_end", self.kernel.vars[var.index()]);
        let note = "The length of a loop that is to stay one: written out, it would need more registers.";
        let name = self.bind_end(&wish, end, &[], Some(note));
        quote! { #lo..#name }
    }

    fn end(&mut self, var: Var, role: &str, bound: &Bound) -> TokenStream {
        let (tokens, indexes) = (self.bound(bound), self.bound_indexes(bound));
        let is_sum = match bound {
            Bound::Index(index) => {
                let Sum { added, subtracted } = self.sum(&self.resolve(index));
                !added.is_empty() && subtracted.is_empty()
            }
            Bound::Min(..) | Bound::Max(..) => is_path(&tokens),
        };
        if is_sum || self.constant_bound(bound).is_some() {
            return tokens;
        }
        let name = format!("{}_{role}", self.kernel.vars[var.index()]);
        let name = self.bind_end(&name, tokens, &indexes, None);
        quote! { #name }
    }

    fn bound_indexes(&self, bound: &Bound) -> Vec<Index> {
        match bound {
            Bound::Index(a) => vec![self.resolve(a)],
            Bound::Min(a, b) | Bound::Max(a, b) => vec![self.resolve(a), self.resolve(b)],
        }
    }

    /// The values of a range that are known now.
    pub(super) fn constant_range(&self, range: &Range) -> Option<std::ops::Range<i64>> {
        Some(self.constant_bound(&range.lo)?..self.constant_bound(&range.hi)?)
    }

    fn constant_bound(&self, bound: &Bound) -> Option<i64> {
        let constant = |index: &Index| self.resolve(index).as_constant();
        match bound {
            Bound::Index(a) => constant(a),
            Bound::Min(a, b) => Some(constant(a)?.min(constant(b)?)),
            Bound::Max(a, b) => Some(constant(a)?.max(constant(b)?)),
        }
    }

    /// A bound, and 0 where it is negative. Smaller and larger may be taken after that: both are monotone.
    fn bound(&self, bound: &Bound) -> TokenStream {
        if let Some(value) = self.constant_bound(bound) {
            return literal(value.max(0));
        }
        match bound {
            Bound::Index(a) => self.saturating(&self.resolve(a)),
            Bound::Min(a, b) => {
                let (a, b) = self.constant_last(a, b);
                let (a, b) = (self.receiver(&a), self.saturating(&b));
                quote! { #a.min(#b) }
            }
            Bound::Max(a, b) => {
                let (a, b) = self.constant_last(a, b);
                if b.as_constant().is_some_and(|value| value <= 0) {
                    return self.saturating(&a);
                }
                let (a, b) = (self.receiver(&a), self.saturating(&b));
                quote! { #a.max(#b) }
            }
        }
    }

    /// Both resolved; methods are not called on bare numbers, whose type nothing would say.
    fn constant_last(&self, a: &Index, b: &Index) -> (Index, Index) {
        let (a, b) = (self.resolve(a), self.resolve(b));
        if a.as_constant().is_some() { (b, a) } else { (a, b) }
    }

    fn saturating(&self, index: &Index) -> TokenStream {
        let Sum { added, subtracted } = self.sum(index);
        match (&added[..], &subtracted[..]) {
            ([], _) => literal(0),
            (_, []) => quote! { #(#added)+* },
            ([only], _) if index.terms.iter().all(|(_, factor)| *factor < 0) => {
                // A bare number, which needs a type to call a method on.
                let only = format!("{only}usize").parse::<Literal>();
                let only = only.map_or_else(|_| literal(0), |only| quote! { #only });
                quote! { #only.saturating_sub(#(#subtracted)+*) }
            }
            ([only], _) if is_path(only) => quote! { #only.saturating_sub(#(#subtracted)+*) },
            _ => quote! { (#(#added)+*).saturating_sub(#(#subtracted)+*) },
        }
    }

    /// The same, to call a method on.
    fn receiver(&self, index: &Index) -> TokenStream {
        let Sum { added, subtracted } = self.sum(index);
        let tokens = self.saturating(index);
        match (&added[..], &subtracted[..]) {
            ([only], []) if is_path(only) => tokens,
            (_, [_, ..]) if !added.is_empty() => tokens,
            _ => quote! { (#tokens) },
        }
    }

    fn sum(&self, index: &Index) -> Sum {
        let mut sum = Sum { added: Vec::new(), subtracted: Vec::new() };
        for (term, factor) in &index.terms {
            let part = self.term(term, factor.unsigned_abs());
            if *factor > 0 { sum.added.push(part) } else { sum.subtracted.push(part) }
        }
        match index.constant {
            0 if index.terms.is_empty() => sum.added.push(literal(0)),
            0 => {}
            constant if constant > 0 => sum.added.push(literal(constant)),
            constant => sum.subtracted.push(literal(-constant)),
        }
        sum
    }
}

/// A number without a type.
pub(super) fn literal(value: i64) -> TokenStream {
    let literal = Literal::i64_unsuffixed(value);
    quote! { #literal }
}

/// The variables of an index, in terms of all kinds.
pub(super) fn variables(index: &Index) -> Vec<Var> {
    index.terms.iter().flat_map(|(term, _)| term_variables(term)).collect()
}

/// The variables of a term.
pub(super) fn term_variables(term: &Term) -> Vec<Var> {
    match term {
        Term::Var(var) => vec![*var],
        Term::Mod(index, _) | Term::Table(_, index) => variables(index),
    }
}

fn is_path(tokens: &TokenStream) -> bool {
    syn::parse2::<syn::Ident>(tokens.clone()).is_ok()
}
