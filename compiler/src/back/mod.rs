//! Back ends: from what is verified to something that runs.
//!
//! A back end takes verified programs, or a verified graph, and nothing else: what the verifier proves (bounds, scopes,
//! aliasing; types) is what the code or the file that it writes relies on.

#[cfg(feature = "onnx")]
pub mod onnx;
pub mod rust;
