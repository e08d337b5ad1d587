//! The tests of kiln as a whole, in one binary.

mod engines;
mod golden;
mod random;
