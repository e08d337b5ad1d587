//! Any bytes as a small network of an ONNX file, compiled for every target: what is compiled is proved, so that a pass that
//! breaks an invariant says so.

#![no_main]

use kiln_compiler::diag::Error;
use kiln_compiler::front::onnx::{Bytes, Folder, Settings, import};
use kiln_compiler::graph::Graph;
use kiln_compiler::pipeline::{Options, compile};
use libfuzzer_sys::fuzz_target;

struct Alone;

impl Folder for Alone {
    fn open(&self, _: &str) -> Result<Bytes, String> {
        Err("there is none".to_owned())
    }
}

/// What is larger takes long without showing more.
fn is_small(graph: &Graph) -> bool {
    const NODES: usize = 48;
    const ELEMENTS: usize = 1 << 16;
    graph.len() <= NODES && graph.ids().all(|id| graph.node(id).ty.len() <= ELEMENTS)
}

fuzz_target!(|file: &[u8]| {
    let Ok(import) = import("m.onnx", Bytes::copy_from_slice(file), &Settings::default(), &Alone) else { return };
    if is_small(&import.graph)
        && let Err(Error::Bug(message)) = compile(import.graph, &Options::default())
    {
        panic!("{message}");
    }
});
