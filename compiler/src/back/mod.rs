//! Back ends: from a program to something that runs.
//!
//! A back end takes verified programs and nothing else: what the verifier proves (bounds, scopes, aliasing) is what the
//! code that it writes relies on.

pub mod rust;
