//! The tests of kiln as a whole, in one binary.

mod allocations;
mod crates;
mod engines;
mod golden;
mod network;
mod random;
mod ui;
mod zoo;
