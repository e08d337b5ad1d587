//! The body of a kernel: loops and statements.

use std::collections::{BTreeMap, HashMap, HashSet};

use proc_macro2::{Ident, Literal, TokenStream, TokenTree};
use quote::quote;

use super::address::Scope;
use super::names::{Namer, ident};
use super::value::Sharing;
use crate::kernel::{Elem, Kernel, LANES, Local, ParamId, Prefetch, Range, Stmt, Var};

/// A body while it is written.
pub(super) struct Body<'k> {
    pub(super) kernel: &'k Kernel,
    pub(super) names: Namer,
    params: Vec<Ident>,
    /// The variables in scope that are variables in the text too.
    pub(super) vars: HashMap<Var, Ident>,
    /// The variables in scope that stand for one number.
    pub(super) known: BTreeMap<Var, i64>,
    /// The locals in scope.
    pub(super) locals: HashMap<Local, Ident>,
    /// What the locals hold.
    pub(super) local_elems: HashMap<Local, Elem>,
    /// The loops around, outermost first; the first is the kernel itself.
    pub(super) scopes: Vec<Scope>,
    /// Constants by their bits, named at the top.
    pub(super) constants: HashMap<u32, Ident>,
    /// The accumulator that is finished.
    pub(super) accumulator: Ident,
    /// What the accumulators of the present tile hold.
    pub(super) accumulator_elem: Elem,
    /// The locals of the tile that is finished: their values differ between accumulators.
    pub(super) finish_locals: HashSet<Local>,
}

/// The parameters' names and the statements of a kernel.
pub(super) fn body(kernel: &Kernel) -> (Vec<Ident>, TokenStream) {
    let mut names = Namer::default();
    reserve_accumulators(&kernel.body, &mut names);
    let vars = [Var::LO, Var::HI].map(|var| (var, names.fresh(&kernel.vars[var.index()])));
    let params: Vec<Ident> = kernel.params.iter().map(|param| names.fresh(&param.name)).collect();
    let mut body = Body {
        kernel,
        names,
        params: params.clone(),
        vars: HashMap::from(vars.clone()),
        known: BTreeMap::new(),
        locals: HashMap::new(),
        local_elems: HashMap::new(),
        scopes: vec![Scope::default()],
        constants: HashMap::new(),
        accumulator: ident("acc"),
        accumulator_elem: Elem::F32,
        finish_locals: HashSet::new(),
    };
    let mut out = Sharing::default();
    body.statements(&kernel.body, &mut out);
    let (lets, statements) = (body.leave(), out.into_statements());
    let tokens = quote! { #(#lets)* #(#statements)* };
    // A parameter that nothing reads is marked as such: the text has no warnings.
    let named = vars.into_iter().map(|(_, name)| name).chain(params);
    let named = named.map(|name| if mentions(&tokens, &name) { name } else { ident(&format!("_{name}")) });
    (named.collect(), tokens)
}

impl Body<'_> {
    /// The name of a parameter.
    pub(super) fn param(&self, param: ParamId) -> Ident {
        self.params[param.index()].clone()
    }

    /// The name of a variable in scope.
    pub(super) fn var(&self, var: Var) -> Ident {
        self.vars.get(&var).cloned().unwrap_or_else(|| ident("unbound"))
    }

    /// The name of a local in scope.
    pub(super) fn local(&self, local: Local) -> Ident {
        self.locals.get(&local).cloned().unwrap_or_else(|| ident("unbound"))
    }

    /// Writes statements.
    pub(super) fn statements(&mut self, statements: &[Stmt], out: &mut Sharing) {
        for statement in statements {
            self.statement(statement, out);
        }
    }

    fn statement(&mut self, statement: &Stmt, out: &mut Sharing) {
        match statement {
            Stmt::For { var, range, unroll, body } => match self.constant_range(range) {
                Some(values) if *unroll || values.end - values.start <= 1 => {
                    for value in values {
                        self.known.insert(*var, value);
                        self.statements(body, out);
                    }
                    self.known.remove(var);
                }
                _ => self.repeat(*var, range, out, |this, out| this.statements(body, out)),
            },
            Stmt::Let { local, value } => {
                let value = self.resolve_value(value);
                let held = self.elem(&value);
                let value = self.value(&value, out);
                let name = self.bind_local(*local, held);
                out.push(quote! { let #name = #value; });
            }
            Stmt::Tile(tile) => self.tile(tile, out),
            Stmt::Store { at, value, lanes } => {
                let value = self.resolve_value(value);
                let value = self.value(&value, out);
                let at = self.resolve_at(at);
                let pointer = self.pointer(&at);
                out.push(if *lanes == LANES && !self.holds_bytes(at.param) {
                    quote! { #value.store(#pointer); }
                } else {
                    let lanes = Literal::usize_unsuffixed(*lanes);
                    quote! { #value.store_lanes(#pointer, #lanes); }
                });
            }
            Stmt::Zero { at, len } => {
                let at = self.resolve_at(at);
                let pointer = self.pointer(&at);
                let len = Literal::usize_unsuffixed(*len);
                out.push(quote! { #pointer.write_bytes(0, #len); });
            }
            Stmt::Prefetch(prefetch) => self.prefetch(prefetch, out),
        }
    }

    pub(super) fn prefetch(&mut self, Prefetch { at, level }: &Prefetch, out: &mut Sharing) {
        let at = self.resolve_at(at);
        let pointer = self.pointer_anywhere(&at);
        let level = Literal::u8_unsuffixed(*level);
        out.push(quote! { prefetch::<#level>(#pointer); });
    }

    /// Writes a loop; one whose body is empty is left out.
    pub(super) fn repeat(
        &mut self,
        var: Var,
        range: &Range,
        out: &mut Sharing,
        body: impl FnOnce(&mut Self, &mut Sharing),
    ) {
        let range = self.range(var, range);
        self.repeat_over(var, range, out, body);
    }

    /// The same, over a range as text.
    pub(super) fn repeat_over(
        &mut self,
        var: Var,
        range: TokenStream,
        out: &mut Sharing,
        body: impl FnOnce(&mut Self, &mut Sharing),
    ) {
        let name = self.enter(var);
        let mut inside = Sharing::default();
        body(self, &mut inside);
        let (lets, statements) = (self.leave(), inside.into_statements());
        if statements.is_empty() {
            return;
        }
        let body = quote! { #(#lets)* #(#statements)* };
        let name = if mentions(&body, &name) { name } else { ident(&format!("_{name}")) };
        out.push(quote! { for #name in #range { #body } });
    }

    /// A local gets its name; bound again in a copy of its body, it keeps it.
    fn bind_local(&mut self, local: Local, held: Elem) -> Ident {
        self.local_elems.insert(local, held);
        if let Some(name) = self.locals.get(&local) {
            return name.clone();
        }
        let name = self.names.fresh(&self.kernel.locals[local.index()]);
        self.locals.insert(local, name.clone());
        if let Some(scope) = self.scopes.last_mut() {
            scope.locals.push(local);
        }
        name
    }
}

/// The name of a tile's accumulator.
pub(super) fn accumulator(pixel: usize, block: usize) -> Ident {
    accumulator_apart(pixel, block, 0)
}

/// The name of the accumulator of what is summed apart inside of so many axes; of the tile's own inside of none.
pub(super) fn accumulator_apart(pixel: usize, block: usize, axes: usize) -> Ident {
    let apart = if axes > 0 { format!("_{axes}") } else { String::new() };
    ident(&format!("a{pixel}_{block}{apart}"))
}

fn reserve_accumulators(statements: &[Stmt], names: &mut Namer) {
    for statement in statements {
        match statement {
            Stmt::For { body, .. } => reserve_accumulators(body, names),
            Stmt::Tile(tile) => {
                let apart = tile.reductions.iter().map(|reduction| reduction.apart).max().unwrap_or(0);
                for pixel in 0..tile.pixels {
                    for block in 0..tile.blocks {
                        let name = |axes| accumulator_apart(pixel, block, axes).to_string();
                        (0..=apart).for_each(|axes| names.reserve(&name(axes)));
                    }
                }
                reserve_accumulators(&tile.finish, names);
            }
            Stmt::Let { .. } | Stmt::Store { .. } | Stmt::Zero { .. } | Stmt::Prefetch { .. } => {}
        }
    }
}

/// Whether an identifier occurs anywhere in tokens.
pub(super) fn mentions(tokens: &TokenStream, name: &Ident) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(other) => other == *name,
        TokenTree::Group(group) => mentions(&group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
