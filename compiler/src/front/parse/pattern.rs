//! Patterns of `let`, `for` and `match`.

use syn::{Lit, Pat, RangeLimits};

use super::convert::Convert;
use crate::diag::Span;
use crate::front::spec::{Literal, Pattern, PatternKind};

impl Convert<'_> {
    pub(super) fn pattern(&mut self, pat: &Pat) -> Pattern {
        let span = self.whole(pat);
        let kind = match pat {
            Pat::Wild(_) => PatternKind::Any,
            Pat::Ident(ident) if ident.by_ref.is_none() && ident.subpat.is_none() => {
                PatternKind::Name { name: ident.ident.to_string(), mutable: ident.mutability.is_some() }
            }
            Pat::Paren(paren) => self.pattern(&paren.pat).kind,
            Pat::Tuple(tuple) => PatternKind::Tuple(tuple.elems.iter().map(|p| self.pattern(p)).collect()),
            Pat::Slice(slice) => PatternKind::Array(slice.elems.iter().map(|p| self.pattern(p)).collect()),
            Pat::Or(or) => PatternKind::Or(or.cases.iter().map(|p| self.pattern(p)).collect()),
            Pat::Lit(lit) => self.literal_pattern(&lit.lit, span),
            Pat::Range(range) => match (bound(&range.start), bound(&range.end)) {
                (Some(start), Some(end)) => match range.limits {
                    RangeLimits::Closed(_) => PatternKind::Range(start, end),
                    RangeLimits::HalfOpen(_) => PatternKind::Range(start, end.saturating_sub(1)),
                },
                _ => {
                    self.refuse(span, "a range pattern without two integers");
                    PatternKind::Any
                }
            },
            Pat::Type(typed) => {
                self.refuse(span, "a type in a pattern").help = Some("values have the type of what makes them".into());
                self.pattern(&typed.pat).kind
            }
            _ => {
                self.refuse(span, "this pattern").help =
                    Some("there are names, `_`, tuples, arrays, integers, strings, ranges and `|` between them".into());
                PatternKind::Any
            }
        };
        Pattern { kind, span }
    }

    fn literal_pattern(&mut self, lit: &Lit, span: Span) -> PatternKind {
        match lit {
            Lit::Int(int) if int.suffix().is_empty() => match int.base10_parse() {
                Ok(value) => PatternKind::Literal(Literal::Int(value)),
                Err(_) => {
                    self.error(span, "this integer does not fit 64 bits");
                    PatternKind::Any
                }
            },
            Lit::Bool(value) => PatternKind::Literal(Literal::Bool(value.value)),
            Lit::Str(text) => PatternKind::Literal(Literal::Str(text.value())),
            _ => {
                self.refuse(span, "this literal in a pattern");
                PatternKind::Any
            }
        }
    }
}

/// An integer at an end of a range pattern.
fn bound(end: &Option<Box<syn::Expr>>) -> Option<i64> {
    match end.as_deref()? {
        syn::Expr::Lit(syn::ExprLit { lit: Lit::Int(int), .. }) => int.base10_parse().ok(),
        syn::Expr::Unary(syn::ExprUnary { op: syn::UnOp::Neg(_), expr, .. }) => match &**expr {
            syn::Expr::Lit(syn::ExprLit { lit: Lit::Int(int), .. }) => int.base10_parse::<i64>().ok().map(|n| -n),
            _ => None,
        },
        _ => None,
    }
}
