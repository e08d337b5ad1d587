//! The verifier of programs.
