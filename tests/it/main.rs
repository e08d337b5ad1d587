//! The tests of kiln as a whole, in one binary.

mod allocations;
mod build_script;
mod conformance;
mod crates;
mod engines;
mod features;
mod golden;
mod integers;
mod names;
mod network;
mod onnx;
mod oracle;
mod random;
mod shared;
mod state_dicts;
mod sums;
mod ui;
mod ulp;
mod zoo;
mod zoo_page;
