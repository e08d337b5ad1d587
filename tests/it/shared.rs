//! Larger reference data, in the folder that `KILN_SHARED` names: a trained network on a photo, and the golden logits
//! that the stored ones are copies of. Without the variable there is nothing to hold against.

use std::path::{Path, PathBuf};

use kiln_compiler::pipeline::{Options, compile};
use kiln_rt::safetensors::SafeTensors;

use crate::crates::{Built, read_npy};
use crate::golden::{Golden, NETS, hold_against, zoo};
use crate::oracle::error;

fn shared() -> Option<PathBuf> {
    std::env::var_os("KILN_SHARED").map(PathBuf::from)
}

#[test]
fn the_stored_goldens_are_the_shared_ones() {
    let Some(shared) = shared() else { return };
    for net in NETS {
        let stored = format!("{}/tests/data/golden/{net}.json", env!("CARGO_MANIFEST_DIR"));
        let read = |path: &Path| -> serde_json::Value {
            serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
        };
        let (stored, reference) =
            (read(Path::new(&stored)), read(&shared.join("zoo/golden").join(format!("{net}.json"))));
        for field in ["input", "params", "macs", "gain", "state", "output"] {
            assert!(stored[field] == reference[field], "{net}: {field} is not the reference's");
        }
    }
}

#[test]
fn all_shared_goldens_name_and_count_as_the_zoo_does() {
    let Some(shared) = shared() else { return };
    let files = std::fs::read_dir(shared.join("zoo/golden")).expect("a folder");
    for path in files.map(|entry| entry.expect("an entry").path()) {
        let net = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        hold_against(&zoo(net, &[]), &Golden::from_file(&path), net);
    }
}

#[test]
fn a_trained_network_names_what_is_in_a_photo() {
    let Some(shared) = shared() else { return };
    let weights = std::fs::read(shared.join("weights/tf_efficientnet_lite0.safetensors")).expect("the weights");
    let tensors = SafeTensors::parse(&weights).expect("safetensors");
    let inputs = [read_npy(&shared.join("weights/chelsea_224_input.npy"))];
    let expected = read_npy(&shared.join("weights/chelsea_224_logits.npy"));
    let compiled = compile(zoo("tf_efficientnet_lite0", &[]), &Options::default()).expect("it compiles");
    let built = Built::new("photo", &compiled, &tensors);
    for target in built.available_targets() {
        let logits = built.run(&inputs, target, 1);
        let error = error(&logits, &expected);
        assert!(error <= 1e-5, "{target}: error {error:e}");
        let mut classes: Vec<usize> = (0..logits.len()).collect();
        classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        assert_eq!(classes[..3], [282, 285, 281], "{target}: tiger cat, Egyptian cat, tabby");
    }
}
