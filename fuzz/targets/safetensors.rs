//! Any bytes as a safetensors file: what is read of it is as long as it says, and is written as it was read.

#![no_main]

use kiln_rt::safetensors::{SafeTensors, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = SafeTensors::parse(bytes) else { return };
    // Those of a type that is not read have a name and a shape alone.
    assert!(
        file.names()
            .all(|name| file.shape(name).is_some() && file.tensor(name).is_some() == file.unread(name).is_none())
    );
    let tensors: Vec<_> = file.names().filter_map(|name| Some((name, file.tensor(name)?))).collect();
    for (_, view) in &tensors {
        assert_eq!(view.len(), view.shape.iter().product::<usize>());
        if !view.is_empty() {
            view.element(view.len() - 1);
        }
    }
    let again = write(tensors.iter().copied());
    let again = SafeTensors::parse(&again).expect("what was written");
    assert!(tensors.iter().all(|&(name, view)| again.tensor(name) == Some(view)));
});
