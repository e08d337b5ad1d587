//! The ground floor.
pub mod fill;
pub mod target;
pub mod weights;
