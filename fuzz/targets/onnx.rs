//! Any bytes as an ONNX file, with a file beside it.

#![no_main]

use kiln_compiler::front::onnx::{Bytes, Folder, Settings, import};
use libfuzzer_sys::fuzz_target;

struct Beside;

impl Folder for Beside {
    fn open(&self, path: &str) -> Result<Bytes, String> {
        match path {
            "data" => Ok(Bytes::from_static(&[7; 512])),
            _ => Err("there is none".to_owned()),
        }
    }
}

fuzz_target!(|file: &[u8]| {
    _ = import("m.onnx", Bytes::copy_from_slice(file), &Settings::default(), &Beside);
});
