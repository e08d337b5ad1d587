//! Weight expressions.
pub mod expr;
pub use expr::{Expr, ExprId, HOLE};
