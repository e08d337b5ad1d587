//! The text form of a [`Program`]: printed for people, read back exactly.
//!
//! ```text
//! kernel relu_32_4px units 2 flops 128 tile "1×1"
//!   in_place y over x
//!   x: read f32 blocks 2 of 64
//!   y: write f32 blocks 2 of 64
//! {
//!   for cb in lo..hi {
//!     for pixel in 0..4 {
//!       store y[cb][16*pixel], max(0.0, load x[cb][16*pixel])
//!     }
//!   }
//! }
//! ```
//!
//! Variables, locals, parameters, buffers and kernels stand under their names, so a dump changes only where the program
//! does. `parse(&print(program))` is the program, for every program whose names the verifier accepts. `//` begins a
//! comment.
//!
//! | form | meaning |
//! | --- | --- |
//! | `x[b][i]`, `w[i]` | element i of block b of `x`; element i of a flat parameter |
//! | `16*ob + 2*(r mod 3) + taps[k] - 1` | an index; `taps` is a table parameter |
//! | `max(0, 1 - oh)..min(3, 57 - oh)` | a range |
//! | `for v in range { … }`, `for v in 0..3 unroll { … }` | a loop |
//! | `let v = value` | [`super::Stmt::Let`] |
//! | `store y[b][i], value`, `store y[b][i] lanes 5, value` | [`super::Stmt::Store`] |
//! | `zero y[b][i], 48`, `prefetch 2, w[i]` | [`super::Stmt::Zero`], [`super::Stmt::Prefetch`] |
//! | `tile p: 6, b: 2 { init …  reduce … { … }  finish { … } }` | [`super::Tile`] |
//! | `reduce ib in 0..4, kw in {0: 1..6, 1: 0..6} { fma(a, b) }` | [`super::Reduction`]; taps with their pixels |
//! | `reduce ib in 0..4 { prefetch 2, w[i + 64] fma(a, b) }` | with what each point asks for |
//! | `reduce kh in 0..3, kw in {0: 0..8, 1: 0..8} together { … }` | taps that are one point |
//! | `load x[b][i]`, `load x[b][i] lanes 5`, `splat x[b][i]`, `splat x[b][i] lane 1 of 4` | reads |
//! | `0.5`, `i32(3)`, `f32(0x7fc00001)`, `acc`, `v` | constants, the accumulator, a local |
//! | `fma(a, b, c)`, `exp(v)`, `select_lt(a, b, then, otherwise)` | functions |

mod body;
mod lexer;
mod parse;
mod print;
mod weights;

pub use lexer::ParseError;
pub use parse::{parse, parse_kernel};
pub use print::{index, kernel, print};

#[cfg(doc)]
use super::Program;

/// Words that mean something in a value.
const IN_VALUES: [&str; 19] = [
    "acc",
    "add",
    "div",
    "exp",
    "f32",
    "fma",
    "i32",
    "inf",
    "load",
    "max",
    "min",
    "mul",
    "nan",
    "neg",
    "select_lt",
    "splat",
    "sub",
    "to_f32",
    "to_i32",
];

/// Words that mean something in an index or a range.
const IN_INDEXES: [&str; 3] = ["max", "min", "mod"];

/// Whether a word is made of letters, digits and `_`, and begins with no digit.
pub fn is_identifier(word: &str) -> bool {
    !word.starts_with(|c: char| c.is_ascii_digit())
        && !word.is_empty()
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a variable or a parameter may have this name.
pub fn is_variable(word: &str) -> bool {
    is_identifier(word) && !IN_INDEXES.contains(&word)
}

/// Whether a local may have this name.
pub fn is_local(word: &str) -> bool {
    is_identifier(word) && !IN_VALUES.contains(&word)
}

#[cfg(test)]
mod tests;
