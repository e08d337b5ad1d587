//! The ground floor of kiln: what compiled networks run on, and what turns weights into what they read. It depends on
//! nothing but `std`.
//!
//! | module | what it is | in emitted crates |
//! | --- | --- | --- |
//! | [`target`] | instruction sets | core |
//! | [`simd`] | sixteen lanes of `f32`, once a target | core |
//! | [`blocks`] | blocks by offset | core |
//! | [`plan`] | programs in the form that runs: plans of steps of units | core |
//! | [`tensor`] | names and shapes of inputs and outputs | core |
//! | [`content_hash`] | whether a file is what it was | core |
//! | [`weights_file`] | the packed weights file | core |
//! | [`network`] | all that is constant about a network | core |
//! | [`lent`] | running a network on lent memory | core |
//! | [`pointers`] | what C hands over for inputs and outputs | core, for C |
//! | [`foreign_lent`] | what the C interface is made of on lent memory | core, for C |
//! | [`detect`] | targets by name, and which of them this processor has | std |
//! | [`arena`] | aligned memory | std |
//! | [`pool`] | a session's workers: fork, barrier, park | std |
//! | [`run`] | running plans on workers | std |
//! | [`model`] | a network with weights on a target | std |
//! | [`session`] | running a model | std |
//! | [`foreign`] | what the C interface of a network is made of | std, for C |
//! | [`weights_writer`] | writing the packed weights file | |
//! | [`content`] | what a file is, for messages | |
//! | [`safetensors`] | the file that trained weights come in | |
//! | [`fill`] | weights by formula, for tests | |
//! | [`peak`] | what a core could do at best | |
//! | [`load`] | trained weights to a model in one step | |
//! | [`weights`] | weight expressions: from trained tensors to packed ones | |
//! | [`sources`] | the text of the files that emitted crates hold | |
//!
//! A network's code is a static [`network::Network`]: for each target a [`plan::Plan`], whose steps are kernels over
//! [`simd`]. A [`model::Model`] joins it with packed weights; a [`session::Session`] runs it.
//!
//! Files that emitted crates hold name each other by `super::` alone, so that they work at any place in any crate. Those
//! marked `core` name nothing of `std` or `alloc`, and no file that does.

#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "owns raw memory")]
pub mod arena;
#[allow(unsafe_code, reason = "finds places in raw memory")]
pub mod blocks;
pub mod content;
pub mod content_hash;
pub mod detect;
pub mod fill;
#[allow(unsafe_code, reason = "takes the pointers of other languages")]
pub mod foreign;
#[allow(unsafe_code, reason = "makes a session in memory that other languages lend")]
pub mod foreign_lent;
#[allow(unsafe_code, reason = "calls a network's kernels on lent memory")]
pub mod lent;
pub mod load;
pub mod model;
pub mod network;
#[allow(unsafe_code, reason = "calls code for instructions that it asked for")]
pub mod peak;
#[allow(unsafe_code, reason = "calls kernels")]
pub mod plan;
#[allow(unsafe_code, reason = "makes slices of the pointers of other languages")]
pub mod pointers;
#[allow(unsafe_code, reason = "lends the caller's data to other threads")]
pub mod pool;
#[allow(unsafe_code, reason = "shares one memory between workers and calls kernels")]
pub mod run;
pub mod safetensors;
pub mod session;
#[allow(unsafe_code, reason = "loads and stores through pointers")]
pub mod simd;
pub mod sources;
pub mod target;
pub mod tensor;
pub mod weights;
pub mod weights_file;
pub mod weights_writer;
