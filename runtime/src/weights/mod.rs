//! Weight expressions.
pub mod expr;
pub mod form;
pub use expr::{Expr, ExprId, HOLE};
pub use form::{Form, packed_len};
