//! Any text as a spec, and every network in it.

#![no_main]

use kiln_compiler::front::{NoFiles, Overrides, elaborate, nets, parse_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(spec) = parse_text("a.net", text) else { return };
    for net in nets(&spec) {
        _ = elaborate(&spec, net, &Overrides::default(), &NoFiles);
    }
});
