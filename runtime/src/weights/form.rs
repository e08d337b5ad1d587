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

/// The length of a packed tensor.
pub fn packed_len(form: Form, shape: &[usize]) -> Option<usize> {
    let first = shape[0].next_multiple_of(16);
    let rest: usize = shape[1..].iter().product();
    Some(match form {
        Form::Plain => shape.iter().product(),
        Form::Vector | Form::Panel | Form::Depthwise => first * rest,
    })
}
