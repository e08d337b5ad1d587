//! The ground floor of kiln: what compiled networks run on, and what turns weights into what they read. It depends on
//! nothing but `std`.
//!
//! | module | what it is | in emitted crates |
//! | --- | --- | --- |
//! | [`target`] | instruction sets, and which of them this processor has | yes |
//! | [`simd`] | sixteen lanes of `f32`, once a target | yes |
//! | [`arena`] | aligned memory, blocks by offset | yes |
//! | [`pool`] | a session's workers: fork, barrier, park | yes |
//! | [`step`] | programs in the form that runs: plans of steps of units | yes |
//! | [`tensor`] | names and shapes of inputs and outputs | yes |
//! | [`content_hash`] | whether a file is what it was | yes |
//! | [`weights_file`] | the packed weights file | yes |
//! | [`model`] | a network with weights on a target | yes |
//! | [`session`] | running a model | yes |
//! | [`safetensors`] | the file that trained weights come in | |
//! | [`fill`] | weights by formula, for tests | |
//! | [`peak`] | what a core could do at best | |
//! | [`load`] | trained weights to a model in one step | |
//! | [`weights`] | weight expressions: from trained tensors to packed ones | |
//! | [`sources`] | the text of the files that emitted crates hold | |
//!
//! A network's code is a static [`model::Network`]: for each target a [`step::Plan`], whose steps are kernels over
//! [`simd`]. A [`model::Model`] joins it with packed weights; a [`session::Session`] runs it.
//!
//! Files that emitted crates hold name each other by `super::` alone, so that they work at any place in any crate.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "owns raw memory")]
pub mod arena;
pub mod content_hash;
pub mod fill;
pub mod load;
pub mod model;
#[allow(unsafe_code, reason = "calls code for instructions that it asked for")]
pub mod peak;
#[allow(unsafe_code, reason = "lends the caller's data to other threads")]
pub mod pool;
pub mod safetensors;
pub mod session;
#[allow(unsafe_code, reason = "loads and stores through pointers")]
pub mod simd;
pub mod sources;
#[allow(unsafe_code, reason = "shares one memory between workers and calls kernels")]
pub mod step;
pub mod target;
pub mod tensor;
pub mod weights;
pub mod weights_file;
