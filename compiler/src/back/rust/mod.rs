//! The Rust back end: programs as Rust source, built with `quote` and printed by `prettyplease`.
//!
//! | file | writes |
//! | --- | --- |
//! | `kernel` | a kernel as a function: doc comment, signature, attributes |
//! | `body` | its loops and statements |
//! | `tile` | register tiles |
//! | `value` | values as method calls |
//! | `address` | addresses: pointers bound where their variables are |
//! | `index` | index arithmetic in `usize` |
//! | `names` | identifiers |
//! | `print` | text, with comments |

mod address;
mod body;
mod index;
mod kernel;
mod names;
mod print;
#[cfg(test)]
mod tests;
mod tile;
mod value;
