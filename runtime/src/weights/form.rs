//! Packed forms.

/// In what order a packed tensor's elements lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// A vector by channel, padded with zeros to a multiple of 16.
    Vector,
    /// Panels of one output block.
    Panel,
    /// Depthwise: `[c/16][kh][kw][16]` from `[C, 1, KH, KW]`.
    Depthwise,
    /// Row-major.
    Plain,
}
