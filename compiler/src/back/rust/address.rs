//! Addresses: a pointer bound where its variables are, and a constant displacement.
//!
//! The address of an element is a sum. Its parts are added in the order in which their variables are bound, and each
//! partial sum is a pointer with a name, bound once at the top of the body of the innermost loop it depends on. So what
//! is left at the access is a constant, the same pointer serves all pixels and blocks of a tile, and nothing is left to
//! hoist for a compiler at a low opt-level.
//!
//! A partial sum may lie outside its buffer (the rest may be negative, or a range empty), so it is made by
//! `wrapping_add`. The access itself adds by `add` where that is sound: a displacement that is not negative, to a
//! pointer that no negative part has moved, lies between the start of the buffer and an element of it.

use std::collections::HashMap;

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::body::Body;
use super::index::{literal, term_variables, variables};
use super::print::comment;
use crate::kernel::{At, Index, Local, ParamId, Term, Var};

/// What a pointer has been moved by: a block of a parameter, and terms with their factors.
type Place = (ParamId, Option<Index>, Vec<(Term, i64)>);

/// What has been bound at one level of loops.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// The variable of the loop; None for the kernel itself.
    var: Option<Var>,
    /// `let` statements at the top of the loop's body.
    lets: Vec<TokenStream>,
    /// The pointers among them.
    pointers: HashMap<Place, Ident>,
    /// Ends of loops among them, by their text.
    ends: HashMap<String, Ident>,
    /// Locals that end with the body.
    pub(super) locals: Vec<Local>,
}

impl Body<'_> {
    /// Enters the body of a loop: its variable's name.
    pub(super) fn enter(&mut self, var: Var) -> Ident {
        let name = self.names.fresh(&self.kernel.vars[var.index()]);
        self.vars.insert(var, name.clone());
        self.scopes.push(Scope { var: Some(var), ..Scope::default() });
        name
    }

    /// Leaves it: what stands at its top. Its names are free again, for a name that is bound further out later does not
    /// reach into it.
    pub(super) fn leave(&mut self) -> Vec<TokenStream> {
        let Some(scope) = self.scopes.pop() else { return Vec::new() };
        scope.pointers.values().chain(scope.ends.values()).for_each(|name| self.names.release(name));
        for local in scope.locals {
            if let Some(name) = self.locals.remove(&local) {
                self.names.release(&name);
            }
        }
        if let Some(name) = scope.var.and_then(|var| self.vars.remove(&var)) {
            self.names.release(&name);
        }
        scope.lets
    }

    /// Binds a value at the top of the kernel.
    pub(super) fn bind_first(&mut self, statement: TokenStream) {
        self.scopes[0].lets.push(statement);
    }

    /// Binds the end of a loop, made of some indexes, where their variables are bound; a `note` stands above.
    pub(super) fn bind_end(&mut self, wish: &str, end: TokenStream, indexes: &[Index], note: Option<&str>) -> Ident {
        let terms = indexes.iter().flat_map(|index| &index.terms);
        let depth = terms.map(|(term, _)| self.term_depth(term)).max().unwrap_or(0);
        let text = end.to_string();
        if let Some(known) = self.scopes[depth].ends.get(&text) {
            return known.clone();
        }
        let name = self.names.fresh(wish);
        let scope = &mut self.scopes[depth];
        scope.lets.extend(note.map(comment));
        scope.lets.push(quote! { let #name = #end; });
        scope.ends.insert(text, name.clone());
        name
    }

    /// The address of a resolved place that is accessed.
    pub(super) fn pointer(&mut self, at: &At) -> TokenStream {
        let base = self.base(at);
        let forward = at.offset.terms.iter().all(|(_, factor)| *factor > 0);
        let constant = literal(at.offset.constant.abs());
        match at.offset.constant {
            0 => quote! { #base },
            ..0 => quote! { #base.wrapping_sub(#constant) },
            _ if forward => quote! { #base.add(#constant) },
            _ => quote! { #base.wrapping_add(#constant) },
        }
    }

    /// The address of a resolved place that need not be inside its parameter.
    pub(super) fn pointer_anywhere(&mut self, at: &At) -> TokenStream {
        let base = self.base(at);
        let constant = literal(at.offset.constant.abs());
        match at.offset.constant {
            0 => quote! { #base },
            ..0 => quote! { #base.wrapping_sub(#constant) },
            _ => quote! { #base.wrapping_add(#constant) },
        }
    }

    /// The pointer that holds all but the constant.
    fn base(&mut self, at: &At) -> Ident {
        let (mut pointer, mut depth) = match &at.block {
            None => (self.param(at.param), 0),
            Some(block) => self.block(at.param, block),
        };
        let mut rest: Vec<(usize, (Term, i64))> = at
            .offset
            .terms
            .iter()
            .map(|(term, factor)| (self.term_depth(term).max(depth), (term.clone(), *factor)))
            .collect();
        rest.sort_by_key(|(depth, _)| *depth);
        let mut added: Vec<(Term, i64)> = Vec::new();
        while let Some((next, _)) = rest.first() {
            depth = *next;
            let now = rest.iter().take_while(|(at, _)| *at == depth).count();
            let terms: Vec<(Term, i64)> = rest.drain(..now).map(|(_, term)| term).collect();
            added.extend(terms.iter().cloned());
            let key = (at.param, at.block.clone(), added.clone());
            pointer = match self.scopes[depth].pointers.get(&key) {
                Some(known) => known.clone(),
                None => {
                    let name = self.pointer_name(at.param, terms.iter().flat_map(|(term, _)| term_variables(term)));
                    let moved = self.moved(pointer, &terms);
                    self.bind_pointer(depth, key, name, moved)
                }
            };
        }
        pointer
    }

    /// The start of a block, and where it is bound.
    fn block(&mut self, param: ParamId, block: &Index) -> (Ident, usize) {
        let depth = block.terms.iter().map(|(term, _)| self.term_depth(term)).max().unwrap_or(0);
        // A block is looked up where its index is valid; that `lo` is a unit is known only inside a loop over units.
        let mentions_units = variables(block).iter().any(|var| [Var::LO, Var::HI].contains(var));
        let depth = if mentions_units { self.scopes.len() - 1 } else { depth };
        let key = (param, Some(block.clone()), Vec::new());
        if let Some(known) = self.scopes[depth].pointers.get(&key) {
            return (known.clone(), depth);
        }
        let name = match block.as_constant() {
            Some(number) => self.names.fresh(&format!("{}_{number}", self.param(param))),
            None => self.pointer_name(param, variables(block).into_iter()),
        };
        let (list, index) = (self.param(param), self.index(block));
        (self.bind_pointer(depth, key, name, quote! { #list.at(#index) }), depth)
    }

    fn bind_pointer(&mut self, depth: usize, key: Place, name: Ident, value: TokenStream) -> Ident {
        let scope = &mut self.scopes[depth];
        scope.lets.push(quote! { let #name = #value; });
        scope.pointers.insert(key, name.clone());
        name
    }

    /// `pointer` moved by some terms.
    fn moved(&self, pointer: Ident, terms: &[(Term, i64)]) -> TokenStream {
        let part = |forward: bool| -> Vec<TokenStream> {
            let parts = terms.iter().filter(|(_, factor)| (*factor > 0) == forward);
            parts.map(|(term, factor)| self.term(term, factor.unsigned_abs())).collect()
        };
        let (added, subtracted) = (part(true), part(false));
        let add = (!added.is_empty()).then(|| quote! { .wrapping_add(#(#added)+*) });
        let subtract = (!subtracted.is_empty()).then(|| quote! { .wrapping_sub(#(#subtracted)+*) });
        quote! { #pointer #add #subtract }
    }

    /// `x_oh` for the parameter x moved to row oh: the innermost of the variables names it.
    fn pointer_name(&mut self, param: ParamId, variables: impl Iterator<Item = Var>) -> Ident {
        let innermost = variables.max_by_key(|var| self.depth(*var));
        let param = self.param(param);
        let name = innermost.map_or_else(|| format!("{param}_at"), |var| format!("{param}_{}", self.var(var)));
        self.names.fresh(&name)
    }

    fn term_depth(&self, term: &Term) -> usize {
        let variables = term_variables(term);
        let reads_table = matches!(term, Term::Table(..));
        if reads_table && variables.iter().any(|var| [Var::LO, Var::HI].contains(var)) {
            return self.scopes.len() - 1;
        }
        variables.into_iter().map(|var| self.depth(var)).max().unwrap_or(0)
    }

    fn depth(&self, var: Var) -> usize {
        self.scopes.iter().rposition(|scope| scope.var == Some(var)).unwrap_or(0)
    }
}
