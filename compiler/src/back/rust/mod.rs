//! The Rust back end: programs as Rust source, built with `quote` and printed by `prettyplease`.
//!
//! A network is [`Compiled`] for one target or several. Its [`Packing`] says what the weights file holds; then
//! [`emit_crate`] makes a crate of files, [`emit_module`] one file that a crate includes, [`emit_tokens`] the expansion of
//! a macro. All is data in, data out.
//!
//! | file | writes |
//! | --- | --- |
//! | `kernel` | a kernel as a function: doc comment, signature, attributes |
//! | `body` | its loops and statements |
//! | `tile` | register tiles |
//! | `value` | values as method calls |
//! | `address` | addresses: pointers bound where their variables are |
//! | `index` | index arithmetic in `usize` |
//! | `modules` | the modules of kernels, by target and kind |
//! | `plan` | the steps with their arguments |
//! | `weights` | where packed tensors lie and come from |
//! | `network` | what is constant about a network |
//! | `api`, `lent` | the types that users see: with threads, and on lent memory |
//! | `foreign`, `header` | the functions for C; their header, and programs that call them |
//! | `emit`, `templates` | a crate: source, manifest, README, example, test |
//! | `include` | one file that a crate includes |
//! | `expand` | the expansion of a macro |
//! | `names` | identifiers, names of packages and of files |
//! | `module`, `print` | text, with comments |

mod address;
mod api;
mod body;
mod compiled;
mod emit;
mod expand;
mod foreign;
mod header;
mod include;
mod index;
mod kernel;
mod lent;
mod module;
mod modules;
mod names;
mod network;
mod plan;
mod print;
mod templates;
#[cfg(test)]
mod tests;
mod tile;
mod value;
mod weights;

pub use api::type_names;
pub use compiled::{Compiled, Error, Packing, Signature, Tensor};
pub use emit::{CrateOptions, EmittedCrate, EmittedFile, Golden, Workspace, emit_crate};
pub use expand::{ExpandOptions, emit_tokens};
pub use include::{ModuleOptions, emit_module};
pub use kernel::kernel_text;
pub use names::{OutputFiles, PackageName};
