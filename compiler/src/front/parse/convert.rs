//! Syn's expressions to the language's. Whatever is Rust but not the language is reported where it stands, and parsing goes on.

use proc_macro2::TokenTree;
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{BinOp, Lit, Member, RangeLimits, Token, UnOp};

use crate::diag::{Diagnostic, Span};
use crate::front::scan;
use crate::front::source::Places;
use crate::front::spec::{Arg, Arm, BinaryOp, Block, Call, Expr, ExprKind, Ident, Piece, Stmt, UnaryOp};

/// Converts syntax trees, collecting mistakes.
pub(super) struct Convert<'a> {
    places: Places<'a>,
    pub(super) mistakes: Vec<Diagnostic>,
}

impl<'a> Convert<'a> {
    pub(super) fn new(places: Places<'a>) -> Self {
        Convert { places, mistakes: Vec::new() }
    }

    /// Records syn's mistakes; one at the end of the input is placed at its last token.
    pub(super) fn syntax(&mut self, error: syn::Error, last: Option<proc_macro2::Span>) {
        for error in error {
            let span = self.places.span(error.span()).or_else(|| self.places.span(last?)).unwrap_or(Span::NOWHERE);
            self.error(span, error.to_string());
        }
    }

    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.mistakes.push(Diagnostic::error(span, message));
        let last = self.mistakes.len() - 1;
        &mut self.mistakes[last]
    }

    /// Records that something is not part of the language.
    pub(super) fn refuse(&mut self, span: Span, what: &str) -> &mut Diagnostic {
        self.error(span, format!("{what} is not part of the network language"))
    }

    pub(super) fn place(&self, span: proc_macro2::Span) -> Span {
        self.places.span(span).unwrap_or(Span::NOWHERE)
    }

    /// From the first to the last token of a tree.
    pub(super) fn whole(&self, tree: &impl ToTokens) -> Span {
        let mut tokens = tree.to_token_stream().into_iter();
        let Some(first) = tokens.next() else { return Span::NOWHERE };
        let last = tokens.last().as_ref().map_or(first.span(), TokenTree::span);
        self.place(first.span()).to(self.place(last))
    }

    pub(super) fn ident(&self, ident: &syn::Ident) -> Ident {
        Ident { name: ident.to_string(), span: self.place(ident.span()) }
    }

    pub(super) fn path_span(&self, path: &[syn::Ident]) -> Span {
        match (path.first(), path.last()) {
            (Some(first), Some(last)) => self.place(first.span()).to(self.place(last.span())),
            _ => Span::NOWHERE,
        }
    }

    pub(super) fn block(&mut self, block: &syn::Block) -> Block {
        let span = self.place(block.brace_token.span.open()).to(self.place(block.brace_token.span.close()));
        let mut stmts = Vec::new();
        let mut tail = None;
        for (i, stmt) in block.stmts.iter().enumerate() {
            match stmt {
                syn::Stmt::Local(local) => stmts.extend(self.local(local)),
                syn::Stmt::Expr(syn::Expr::Verbatim(tokens), Some(_)) if tokens.is_empty() => {}
                syn::Stmt::Expr(expr, None) if i + 1 == block.stmts.len() => tail = Some(Box::new(self.expr(expr))),
                syn::Stmt::Expr(expr, _) => stmts.push(Stmt::Expr(self.expr(expr))),
                syn::Stmt::Item(item) => {
                    let span = self.whole(item);
                    self.refuse(span, "an item inside a body").help = Some("move it out of the braces".into());
                }
                syn::Stmt::Macro(mac) => {
                    let span = self.whole(mac);
                    self.refuse(span, "a macro call").help = instead_of_macro(&mac.mac);
                }
            }
        }
        Block { stmts, tail, span }
    }

    fn local(&mut self, local: &syn::Local) -> Option<Stmt> {
        let pattern = self.pattern(&local.pat);
        let Some(init) = &local.init else {
            self.error(pattern.span, "`let` needs a value").help = Some("write `let x = …;`".into());
            return None;
        };
        if let Some((token, _)) = &init.diverge {
            let span = self.place(token.span);
            self.refuse(span, "`else` after `let`");
        }
        Some(Stmt::Let { pattern, value: self.expr(&init.expr) })
    }

    pub(super) fn expr(&mut self, expr: &syn::Expr) -> Expr {
        match expr {
            syn::Expr::Lit(lit) => self.literal(&lit.lit),
            syn::Expr::Path(path) => match path.path.get_ident() {
                Some(ident) if path.qself.is_none() => {
                    let Ident { name, span } = self.ident(ident);
                    Expr { kind: ExprKind::Name(name), span }
                }
                _ => self.refused(expr, "a path that is not called"),
            },
            syn::Expr::Paren(paren) => {
                let inner = self.expr(&paren.expr);
                let span = self.place(paren.paren_token.span.open()).to(self.place(paren.paren_token.span.close()));
                Expr { span, ..inner }
            }
            syn::Expr::Group(group) => self.expr(&group.expr),
            syn::Expr::Unary(unary) => self.unary(unary),
            syn::Expr::Binary(binary) => self.binary(binary),
            syn::Expr::Assign(assign) => {
                let place = self.expr(&assign.left);
                let value = self.expr(&assign.right);
                self.assign(place, None, value)
            }
            syn::Expr::Call(call) => self.call(call),
            syn::Expr::MethodCall(call) => {
                let receiver = self.expr(&call.receiver);
                if let Some(turbofish) = &call.turbofish {
                    let span = self.whole(turbofish);
                    self.refuse(span, "a type argument");
                }
                let method = self.ident(&call.method);
                let span = receiver.span.to(self.place(call.paren_token.span.close()));
                let args = self.args(&call.args);
                let receiver = Some(Box::new(receiver));
                let call = Call { path: vec![method.name], path_span: method.span, receiver, args };
                Expr { kind: ExprKind::Call(call), span }
            }
            syn::Expr::Index(index) => {
                let (array, position) = (self.expr(&index.expr), self.expr(&index.index));
                let span = array.span.to(self.place(index.bracket_token.span.close()));
                Expr { kind: ExprKind::Index(Box::new(array), Box::new(position)), span }
            }
            syn::Expr::Field(field) => self.field(field),
            syn::Expr::Tuple(tuple) => {
                let span = self.place(tuple.paren_token.span.open()).to(self.place(tuple.paren_token.span.close()));
                Expr { kind: ExprKind::Tuple(tuple.elems.iter().map(|e| self.expr(e)).collect()), span }
            }
            syn::Expr::Array(array) => {
                let brackets = array.bracket_token.span;
                let span = self.place(brackets.open()).to(self.place(brackets.close()));
                Expr { kind: ExprKind::Array(array.elems.iter().map(|e| self.expr(e)).collect()), span }
            }
            syn::Expr::Repeat(repeat) => {
                let brackets = repeat.bracket_token.span;
                let span = self.place(brackets.open()).to(self.place(brackets.close()));
                let (value, count) = (self.expr(&repeat.expr), self.expr(&repeat.len));
                Expr { kind: ExprKind::Repeat(Box::new(value), Box::new(count)), span }
            }
            syn::Expr::Range(range) => match (&range.start, &range.end) {
                (Some(start), Some(end)) => {
                    let (start, end) = (self.expr(start), self.expr(end));
                    let inclusive = matches!(range.limits, RangeLimits::Closed(_));
                    let span = start.span.to(end.span);
                    Expr { kind: ExprKind::Range { start: Box::new(start), end: Box::new(end), inclusive }, span }
                }
                _ => self.refused(expr, "a range without both ends"),
            },
            syn::Expr::If(branch) => self.branch(branch),
            syn::Expr::Match(of) => {
                let subject = Box::new(self.expr(&of.expr));
                let arms = of.arms.iter().map(|arm| self.arm(arm)).collect();
                let span = self.place(of.match_token.span).to(self.place(of.brace_token.span.close()));
                Expr { kind: ExprKind::Match { subject, arms }, span }
            }
            syn::Expr::ForLoop(each) => {
                if let Some(label) = &each.label {
                    let span = self.whole(label);
                    self.refuse(span, "a label");
                }
                let pattern = self.pattern(&each.pat);
                let items = Box::new(self.expr(&each.expr));
                let body = self.block(&each.body);
                let span = self.place(each.for_token.span).to(body.span);
                Expr { kind: ExprKind::For { pattern, items, body }, span }
            }
            syn::Expr::Block(block) if block.label.is_none() => {
                let block = self.block(&block.block);
                Expr { span: block.span, kind: ExprKind::Block(block) }
            }
            syn::Expr::While(of) => self.refused_help(of.while_token.span, "`while`", "loop over a range with `for`"),
            syn::Expr::Loop(of) => self.refused_help(of.loop_token.span, "`loop`", "loop over a range with `for`"),
            syn::Expr::Return(of) => {
                self.refused_help(of.return_token.span, "`return`", "the last expression of a body is its value")
            }
            syn::Expr::Break(of) => self.refused_help(of.break_token.span, "`break`", "loop over a shorter range"),
            syn::Expr::Continue(of) => self.refused_help(of.continue_token.span, "`continue`", "use `if`"),
            syn::Expr::Cast(cast) => {
                self.refused_help(cast.as_token.span, "`as`", "`int(x)` makes an integer of a float")
            }
            syn::Expr::Closure(_) => {
                let span = self.whole(expr);
                self.refuse(span, "a closure").help = Some(
                    "write a function beside the net, `fn NAME(x) { … }`; a loop over an array, `for x in list`".into(),
                );
                Expr { kind: ExprKind::Error, span }
            }
            syn::Expr::Macro(mac) => {
                let span = self.whole(expr);
                self.refuse(span, "a macro call").help = instead_of_macro(&mac.mac);
                Expr { kind: ExprKind::Error, span }
            }
            syn::Expr::Struct(_) => {
                let span = self.whole(expr);
                self.refuse(span, "a struct").help = Some("write a tuple, `(a, b)`, or an array".into());
                Expr { kind: ExprKind::Error, span }
            }
            syn::Expr::Let(of) => self.refused_help(of.let_token.span, "`let` in a condition", "use `match`"),
            syn::Expr::Reference(of) => {
                self.refused_help(of.and_token.span, "`&`", "leave it out: a value is copied where it is used")
            }
            _ => self.refused(expr, "this expression"),
        }
    }

    fn refused(&mut self, expr: &syn::Expr, what: &str) -> Expr {
        let span = self.whole(expr);
        self.refuse(span, what);
        Expr { kind: ExprKind::Error, span }
    }

    fn refused_help(&mut self, token: proc_macro2::Span, what: &str, help: &str) -> Expr {
        let span = self.place(token);
        self.refuse(span, what).help = Some(help.into());
        Expr { kind: ExprKind::Error, span }
    }

    fn literal(&mut self, lit: &Lit) -> Expr {
        let span = self.place(lit.span());
        let kind = match lit {
            Lit::Int(int) if int.suffix().is_empty() => match int.base10_parse() {
                Ok(value) => ExprKind::Int(value),
                Err(_) => {
                    self.error(span, "this integer does not fit 64 bits");
                    ExprKind::Error
                }
            },
            Lit::Float(float) if float.suffix().is_empty() => match float.base10_parse::<f64>() {
                Ok(value) if value.is_finite() => ExprKind::Float(value),
                _ => {
                    self.error(span, "this number is too large");
                    ExprKind::Error
                }
            },
            Lit::Int(_) | Lit::Float(_) => {
                self.refuse(span, "a suffix of a number").help = Some("`3` is an integer, `3.0` a float".into());
                ExprKind::Error
            }
            Lit::Bool(value) => ExprKind::Bool(value.value),
            Lit::Str(text) => ExprKind::Str(self.string(&text.value(), span)),
            _ => {
                self.refuse(span, "this literal");
                ExprKind::Error
            }
        };
        Expr { kind, span }
    }

    /// Text and values in braces; `{{` and `}}` are braces.
    fn string(&mut self, text: &str, span: Span) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push(c);
                rest = &rest[2..];
            } else if c == '{' {
                let Some(end) = rest.find('}') else {
                    self.error(span, "`{` in a string opens a value that `}` must close").help =
                        Some("write `{{` for a brace".into());
                    break;
                };
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Value(self.value_in_string(&rest[1..end], span)));
                rest = &rest[end + 1..];
            } else if c == '}' {
                self.error(span, "`}` in a string closes nothing").help = Some("write `}}` for a brace".into());
                rest = &rest[1..];
            } else {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        pieces
    }

    fn value_in_string(&mut self, text: &str, span: Span) -> Expr {
        let error = match scan::check(text) {
            Err(mistake) => mistake.message,
            // Strings in braces of strings would nest without end, and nobody could read them.
            Ok(()) if text.contains('"') => "a string cannot stand in a string's braces".to_owned(),
            Ok(()) => match syn::parse_str::<syn::Expr>(text) {
                Ok(expr) => {
                    let outer = std::mem::replace(&mut self.places, Places::Inside(span));
                    let expr = Expr { span, ..self.expr(&expr) };
                    self.places = outer;
                    return expr;
                }
                Err(error) => error.to_string(),
            },
        };
        self.error(span, format!("in `{{{text}}}`: {error}"));
        Expr { kind: ExprKind::Error, span }
    }

    fn unary(&mut self, unary: &syn::ExprUnary) -> Expr {
        let operand = self.expr(&unary.expr);
        let (op, token) = match &unary.op {
            UnOp::Neg(token) => (UnaryOp::Neg, token.span),
            UnOp::Not(token) => (UnaryOp::Not, token.span),
            _ => return self.refused(&syn::Expr::Unary(unary.clone()), "a dereference"),
        };
        let span = self.place(token).to(operand.span);
        Expr { kind: ExprKind::Unary(op, Box::new(operand)), span }
    }

    fn binary(&mut self, binary: &syn::ExprBinary) -> Expr {
        let (left, right) = (self.expr(&binary.left), self.expr(&binary.right));
        let (op, assigns) = match &binary.op {
            BinOp::Add(_) => (BinaryOp::Add, false),
            BinOp::Sub(_) => (BinaryOp::Sub, false),
            BinOp::Mul(_) => (BinaryOp::Mul, false),
            BinOp::Div(_) => (BinaryOp::Div, false),
            BinOp::Rem(_) => (BinaryOp::Rem, false),
            BinOp::Eq(_) => (BinaryOp::Eq, false),
            BinOp::Ne(_) => (BinaryOp::Ne, false),
            BinOp::Lt(_) => (BinaryOp::Lt, false),
            BinOp::Le(_) => (BinaryOp::Le, false),
            BinOp::Gt(_) => (BinaryOp::Gt, false),
            BinOp::Ge(_) => (BinaryOp::Ge, false),
            BinOp::And(_) => (BinaryOp::And, false),
            BinOp::Or(_) => (BinaryOp::Or, false),
            BinOp::AddAssign(_) => (BinaryOp::Add, true),
            BinOp::SubAssign(_) => (BinaryOp::Sub, true),
            BinOp::MulAssign(_) => (BinaryOp::Mul, true),
            BinOp::DivAssign(_) => (BinaryOp::Div, true),
            BinOp::RemAssign(_) => (BinaryOp::Rem, true),
            other => {
                let span = self.whole(other);
                self.refuse(span, "this operator");
                return Expr { kind: ExprKind::Error, span: left.span.to(right.span) };
            }
        };
        if assigns {
            return self.assign(left, Some(op), right);
        }
        let span = left.span.to(right.span);
        Expr { kind: ExprKind::Binary(op, Box::new(left), Box::new(right)), span }
    }

    fn assign(&mut self, place: Expr, op: Option<BinaryOp>, value: Expr) -> Expr {
        let span = place.span.to(value.span);
        let kind = match place.kind {
            ExprKind::Name(name) => {
                ExprKind::Assign { place: Ident { name, span: place.span }, op, value: Box::new(value) }
            }
            ExprKind::Error => ExprKind::Error,
            _ => {
                self.error(place.span, "only a variable can be assigned");
                ExprKind::Error
            }
        };
        Expr { kind, span }
    }

    fn call(&mut self, call: &syn::ExprCall) -> Expr {
        let syn::Expr::Path(func) = &*call.func else {
            return self.refused(&syn::Expr::Call(call.clone()), "a call of what is not a name");
        };
        let plain = func.qself.is_none() && func.path.segments.iter().all(|segment| segment.arguments.is_none());
        if !plain || func.path.leading_colon.is_some() {
            return self.refused(&call.func, "this path");
        }
        let path: Vec<syn::Ident> = func.path.segments.iter().map(|segment| segment.ident.clone()).collect();
        let path_span = self.path_span(&path);
        let args = self.args(&call.args);
        let span = path_span.to(self.place(call.paren_token.span.close()));
        let path = path.iter().map(ToString::to_string).collect();
        Expr { kind: ExprKind::Call(Call { path, path_span, receiver: None, args }), span }
    }

    /// The arguments of a call: `name = value` names one.
    pub(super) fn args(&mut self, args: &Punctuated<syn::Expr, Token![,]>) -> Vec<Arg> {
        let mut named = false;
        let mut out = Vec::new();
        for arg in args {
            let (name, value) = match arg {
                syn::Expr::Assign(assign) => match &*assign.left {
                    syn::Expr::Path(path) if path.path.get_ident().is_some() => {
                        (path.path.get_ident().map(|ident| self.ident(ident)), self.expr(&assign.right))
                    }
                    _ => {
                        let span = self.whole(&assign.left);
                        self.error(span, "the name of an argument is expected before `=`");
                        continue;
                    }
                },
                _ => (None, self.expr(arg)),
            };
            if name.is_none() && named {
                self.error(value.span, "an argument without a name cannot follow one with a name");
            }
            named |= name.is_some();
            out.push(Arg { name, value });
        }
        out
    }

    fn field(&mut self, field: &syn::ExprField) -> Expr {
        let tuple = self.expr(&field.base);
        match &field.member {
            Member::Unnamed(index) => {
                let span = tuple.span.to(self.place(index.span));
                Expr { kind: ExprKind::Field(Box::new(tuple), index.index), span }
            }
            Member::Named(name) => {
                let name = self.ident(name);
                self.refuse(name.span, "a field").help = Some(format!("to call it, write `.{}()`", name.name));
                Expr { kind: ExprKind::Error, span: tuple.span.to(name.span) }
            }
        }
    }

    fn branch(&mut self, branch: &syn::ExprIf) -> Expr {
        let condition = Box::new(self.expr(&branch.cond));
        let then = self.block(&branch.then_branch);
        let otherwise = branch.else_branch.as_ref().map(|(_, expr)| Box::new(self.expr(expr)));
        let last = otherwise.as_ref().map_or(then.span, |expr| expr.span);
        let span = self.place(branch.if_token.span).to(last);
        Expr { kind: ExprKind::If { condition, then, otherwise }, span }
    }

    fn arm(&mut self, arm: &syn::Arm) -> Arm {
        let (pat, guard) = match &arm.pat {
            syn::Pat::Guard(guarded) => (&*guarded.pat, Some(self.expr(&guarded.guard))),
            pat => (pat, None),
        };
        Arm { pattern: self.pattern(pat), guard, value: self.expr(&arm.body) }
    }
}

/// What the language has in place of a macro.
fn instead_of_macro(call: &syn::Macro) -> Option<String> {
    let name = call.path.segments.last()?.ident.to_string();
    Some(match name.as_str() {
        "format" | "concat" | "stringify" => "a string holds values in braces: `\"block.{i}\"`".to_owned(),
        "vec" => "an array is written `[a, b]`, or `[a; 3]`".to_owned(),
        "print" | "println" | "eprint" | "eprintln" | "dbg" => {
            "leave it out: `kiln graph SPEC` prints what a net becomes".to_owned()
        }
        _ => return None,
    })
}
