//! The compiler behind kiln.
pub mod back;
pub mod diag;
pub mod front;
pub mod graph;
pub mod kernel;
pub mod layout;
pub mod lower;
pub mod optimize;
pub mod pipeline;
pub mod plan;
pub mod schedule;
pub mod target;
