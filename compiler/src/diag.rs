//! Diagnostics.

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {}
