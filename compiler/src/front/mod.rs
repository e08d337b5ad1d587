//! The network language: text or macro tokens to a [`Graph`](crate::graph::Graph).
//!
//! ```text
//! text ──────────┐  scan   parse            elaborate
//! macro tokens ──┴──────> ───────> Spec ─────────────> Graph
//! ```
//!
//! One parser serves both doors, and all mistakes of a stage are collected before it fails.

#[cfg(feature = "onnx")]
pub mod onnx;
pub mod spec;
pub mod zoo;

mod elaborate;
mod load;
mod parse;
mod rust_file;
mod scan;
mod source;
mod value;

pub use elaborate::{Loader, NoFiles, OpEntry, OpParam, Overrides, elaborate, nearest, nets, ops};
pub use load::{load, short_name};
pub use parse::{parse_text, parse_tokens};
pub use source::TokenSpans;
