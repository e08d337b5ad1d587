//! Values as method calls on blocks of sixteen lanes.

use std::collections::{HashMap, HashSet};

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::body::Body;
use super::names::ident;
use crate::graph::F32;
use crate::kernel::{Access, At, Elem, LANES, Local, Param, ParamId, ParamKind, Value};

/// Straight-line code in which equal values are computed once: those that occur twice get a name at their first use.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// How often each value occurs, under distinct parents.
    uses: HashMap<Value, usize>,
    /// The values that have a name by now.
    bound: HashMap<Value, Ident>,
    /// The names.
    names: HashSet<String>,
    /// Statements so far.
    statements: Vec<TokenStream>,
}

impl Sharing {
    /// Adds a statement.
    pub(super) fn push(&mut self, statement: TokenStream) {
        self.statements.push(statement);
    }

    /// Adds the statements of other code, which shares nothing with this.
    pub(super) fn append(&mut self, other: Sharing) {
        self.statements.extend(other.statements);
    }

    /// The statements, in order.
    pub(super) fn into_statements(self) -> Vec<TokenStream> {
        self.statements
    }
}

impl Body<'_> {
    /// Counts the occurrences of a resolved value and its parts, for [`Body::value`] to share.
    pub(super) fn count(&self, value: &Value, sharing: &mut Sharing) {
        if self.is_stable(value) {
            let uses = sharing.uses.entry(value.clone()).or_default();
            *uses += 1;
            if *uses > 1 {
                return;
            }
        }
        operands(value).into_iter().for_each(|operand| self.count(operand, sharing));
    }

    /// A resolved value as an expression. What it shares is bound in `sharing` before.
    pub(super) fn value(&mut self, value: &Value, sharing: &mut Sharing) -> TokenStream {
        if let Some(name) = sharing.bound.get(value) {
            return quote! { #name };
        }
        let tokens = self.expression(value, sharing);
        let is_name = matches!(value, Value::Const(_) | Value::ConstI32(_) | Value::Local(_) | Value::Acc);
        if is_name || sharing.uses.get(value).is_none_or(|uses| *uses < 2) {
            return tokens;
        }
        let name = self.shared_name(value, sharing);
        sharing.push(quote! { let #name = #tokens; });
        sharing.bound.insert(value.clone(), name.clone());
        quote! { #name }
    }

    fn expression(&mut self, value: &Value, sharing: &mut Sharing) -> TokenStream {
        match value {
            Value::Const(constant) => self.constant(*constant),
            Value::ConstI32(constant) => {
                let constant = Literal::i32_unsuffixed(*constant);
                quote! { I32x16::splat(#constant) }
            }
            Value::Local(local) => {
                let name = self.local(*local);
                quote! { #name }
            }
            Value::Acc => {
                let name = &self.accumulator;
                quote! { #name }
            }
            Value::Load { at, lanes } => {
                let block = self.block_type(value);
                let pointer = self.pointer(at);
                if *lanes == LANES && !self.holds_bytes(at.param) {
                    quote! { #block::load(#pointer) }
                } else {
                    let lanes = Literal::usize_unsuffixed(*lanes);
                    quote! { #block::load_lanes(#pointer, #lanes) }
                }
            }
            Value::Splat(at) => {
                let block = self.block_type(value);
                let pointer = self.pointer(at);
                quote! { #block::load_splat(#pointer) }
            }
            Value::SplatGroup { at, lane, width } => {
                let block = self.block_type(value);
                let pointer = self.pointer(at);
                let (lane, width) = (Literal::usize_unsuffixed(*lane), Literal::usize_unsuffixed(*width));
                quote! { #block::load(#pointer).splat_group::<#lane, #width>() }
            }
            Value::Unary(function, a) => {
                let a = self.value(a, sharing);
                let function = ident(function.name());
                quote! { #a.#function() }
            }
            Value::Binary(function, a, b) => {
                let (a, b) = (self.value(a, sharing), self.value(b, sharing));
                let function = ident(function.name());
                quote! { #a.#function(#b) }
            }
            Value::Fma(a, b, c) => {
                let (a, b, c) = (self.value(a, sharing), self.value(b, sharing), self.value(c, sharing));
                quote! { #a.mul_add(#b, #c) }
            }
            Value::SelectLt { a, b, then, otherwise } => {
                let (a, b) = (self.value(a, sharing), self.value(b, sharing));
                let (then, otherwise) = (self.value(then, sharing), self.value(otherwise, sharing));
                quote! { F32x16::select_lt(#a, #b, #then, #otherwise) }
            }
        }
    }

    /// A constant: zero in place, others with a name at the top of the kernel.
    fn constant(&mut self, constant: F32) -> TokenStream {
        let value = constant.get();
        if constant.bits() == 0 {
            return quote! { F32x16::zero() };
        }
        if let Some(name) = self.constants.get(&constant.bits()) {
            return quote! { #name };
        }
        let digits = format!("{value:?}").replace('-', "m");
        let wish = match digits.strip_suffix(".0") {
            _ if !value.is_finite() => format!("{value:?}").replace('-', "minus_"),
            Some(integer) => format!("c{integer}"),
            None => format!("c{digits}"),
        };
        let name = self.names.fresh(&wish);
        let number = number(value);
        self.bind_first(quote! { let #name = F32x16::splat(#number); });
        self.constants.insert(constant.bits(), name.clone());
        quote! { #name }
    }

    /// `x3` for the fourth shared value of the parameter x, `t3` for one that is computed.
    fn shared_name(&self, value: &Value, sharing: &mut Sharing) -> Ident {
        let stem = if let Value::Load { at, .. } | Value::Splat(at) | Value::SplatGroup { at, .. } = value {
            self.param(at.param).to_string()
        } else {
            "t".to_owned()
        };
        let free = |name: &String| !self.names.is_taken(name);
        let name = (0..).map(|i| format!("{stem}{i}")).find(|name| free(name) && !sharing.names.contains(name));
        let name = name.unwrap_or(stem);
        sharing.names.insert(name.clone());
        ident(&name)
    }

    /// Whether a value is the same wherever it stands in straight-line code: it has no accumulator, no local of a
    /// tile's finish, and nothing of a parameter that is written as well as read.
    fn is_stable(&self, value: &Value) -> bool {
        let own = match value {
            Value::Acc => false,
            Value::Local(local) => !self.finish_locals.contains(local),
            Value::Load { at, .. } | Value::Splat(at) | Value::SplatGroup { at, .. } => self.is_read_only(at.param),
            Value::Const(_) | Value::ConstI32(_) => true,
            Value::Unary(..) | Value::Binary(..) | Value::Fma(..) | Value::SelectLt { .. } => true,
        };
        own && operands(value).into_iter().all(|operand| self.is_stable(operand))
    }

    /// Whether a parameter's elements are shorter than lanes, so that they are widened one by one.
    pub(super) fn holds_bytes(&self, param: ParamId) -> bool {
        match self.kernel.params[param.index()].kind {
            ParamKind::Flat { elem, .. } | ParamKind::Blocks { elem, .. } => matches!(elem, Elem::I8 | Elem::U8),
            ParamKind::Table { .. } => false,
        }
    }

    /// The type of a value's lanes.
    pub(super) fn elem(&self, value: &Value) -> Elem {
        elem(value, &self.kernel.params, &self.local_elems, self.accumulator_elem)
    }

    fn is_read_only(&self, param: ParamId) -> bool {
        match self.kernel.params[param.index()].kind {
            ParamKind::Flat { access, .. } | ParamKind::Blocks { access, .. } => access == Access::Read,
            ParamKind::Table { .. } => true,
        }
    }

    /// The type that holds a loaded value.
    fn block_type(&self, value: &Value) -> Ident {
        ident(match self.elem(value) {
            Elem::I32 | Elem::I8 | Elem::U8 => "I32x16",
            Elem::F32 | Elem::Bf16 => "F32x16",
        })
    }

    /// The value with variables that stand for one number replaced by it.
    pub(super) fn resolve_value(&self, value: &Value) -> Value {
        let resolve = |value: &Value| Box::new(self.resolve_value(value));
        match value {
            Value::Const(_) | Value::ConstI32(_) | Value::Local(_) | Value::Acc => value.clone(),
            Value::Load { at, lanes } => Value::Load { at: self.resolve_at(at), lanes: *lanes },
            Value::Splat(at) => Value::Splat(self.resolve_at(at)),
            Value::SplatGroup { at, lane, width } => {
                Value::SplatGroup { at: self.resolve_at(at), lane: *lane, width: *width }
            }
            Value::Unary(function, a) => Value::Unary(*function, resolve(a)),
            Value::Binary(function, a, b) => Value::Binary(*function, resolve(a), resolve(b)),
            Value::Fma(a, b, c) => Value::Fma(resolve(a), resolve(b), resolve(c)),
            Value::SelectLt { a, b, then, otherwise } => {
                Value::SelectLt { a: resolve(a), b: resolve(b), then: resolve(then), otherwise: resolve(otherwise) }
            }
        }
    }

    /// The same for a place.
    pub(super) fn resolve_at(&self, at: &At) -> At {
        At {
            param: at.param,
            block: at.block.as_ref().map(|block| self.resolve(block)),
            offset: self.resolve(&at.offset),
        }
    }
}

/// The values that a value is computed from.
pub(super) fn operands(value: &Value) -> Vec<&Value> {
    match value {
        Value::Const(_)
        | Value::ConstI32(_)
        | Value::Local(_)
        | Value::Acc
        | Value::Load { .. }
        | Value::Splat(_)
        | Value::SplatGroup { .. } => Vec::new(),
        Value::Unary(_, a) => vec![a],
        Value::Binary(_, a, b) => vec![a, b],
        Value::Fma(a, b, c) => vec![a, b, c],
        Value::SelectLt { a, b, then, otherwise } => vec![a, b, then, otherwise],
    }
}

/// The element type of a value's lanes, with that of the accumulator.
fn elem(value: &Value, params: &[Param], locals: &HashMap<Local, Elem>, acc: Elem) -> Elem {
    let of = |value: &Value| elem(value, params, locals, acc);
    match value {
        Value::Const(_) => Elem::F32,
        Value::Acc => acc,
        Value::ConstI32(_) => Elem::I32,
        Value::Local(local) => locals.get(local).copied().unwrap_or(Elem::F32),
        Value::Load { at, .. } | Value::Splat(at) | Value::SplatGroup { at, .. } => match params[at.param.index()].kind
        {
            ParamKind::Flat { elem, .. } | ParamKind::Blocks { elem, .. } => match elem {
                Elem::F32 | Elem::Bf16 => elem,
                Elem::I32 | Elem::I8 | Elem::U8 => Elem::I32,
            },
            ParamKind::Table { .. } => Elem::I32,
        },
        Value::Unary(function, _) => function.signature().1,
        Value::Binary(_, a, _) | Value::Fma(a, ..) => of(a),
        Value::SelectLt { then, .. } => of(then),
    }
}

/// The shortest text that reads back as the same number.
fn number(value: f32) -> TokenStream {
    if value.is_nan() {
        let bits = Literal::u32_unsuffixed(value.to_bits());
        return quote! { f32::from_bits(#bits) };
    }
    if value.is_infinite() {
        return if value > 0.0 {
            quote! { f32::INFINITY }
        } else {
            quote! { f32::NEG_INFINITY }
        };
    }
    let magnitude = Literal::f32_unsuffixed(value.abs());
    if value.is_sign_negative() {
        quote! { -#magnitude }
    } else {
        quote! { #magnitude }
    }
}
