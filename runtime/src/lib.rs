//! The ground floor.
