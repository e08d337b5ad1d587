//! Any bytes as a state dict of PyTorch: what is read of it is as long as it says.

#![no_main]

use kiln_compiler::checkpoint::torch::StateDict;
use kiln_rt::fill::Kind;
use kiln_rt::weights::{Source, SourceError, Stored};
use libfuzzer_sys::fuzz_target;

/// The most elements that are asked for, since a network asks for as many as it has.
const MOST: usize = 1 << 16;

fuzz_target!(|file: &[u8]| {
    let Ok(dict) = StateDict::parse(file) else { return };
    for (name, shape) in dict.shapes() {
        // The shape of what is not read is the file's word alone.
        let count = shape.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent));
        let Some(count) = count.filter(|&count| count <= MOST) else { continue };
        match dict.tensor(name, Kind::Kernel, shape) {
            Err(SourceError::Unread { .. }) => {}
            Ok(Stored::View(view)) => {
                assert_eq!(view.len(), count);
                if count > 0 {
                    view.element(count - 1);
                }
            }
            other => panic!("{name}: {other:?}"),
        }
    }
});
