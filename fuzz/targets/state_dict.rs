//! Any bytes as a state dict of PyTorch: what is read of it is as long as it says.

#![no_main]

use kiln_compiler::checkpoint::torch::StateDict;
use kiln_rt::fill::Kind;
use kiln_rt::weights::{Source, Stored};
use libfuzzer_sys::fuzz_target;

/// The most elements that are asked for, since a network asks for as many as it has.
const MOST: usize = 1 << 16;

fuzz_target!(|file: &[u8]| {
    let Ok(dict) = StateDict::parse(file) else { return };
    for (name, shape) in dict.shapes() {
        let count = shape.iter().product::<usize>();
        if count > MOST {
            continue;
        }
        match dict.tensor(name, Kind::Kernel, shape) {
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
