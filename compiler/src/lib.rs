//! The compiler behind kiln.
pub mod back;
pub mod build_script;
pub mod checkpoint;
pub mod diag;
pub mod files;
pub mod front;
pub mod graph;
pub mod kernel;
pub mod layout;
pub mod lower;
#[cfg(feature = "onnx")]
pub mod onnx_schema;
pub mod optimize;
pub mod pipeline;
pub mod plan;
pub mod schedule;
pub mod target;

pub use build_script::Build;
