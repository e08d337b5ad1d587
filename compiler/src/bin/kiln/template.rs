//! The tensors that a network reads: as a list, and as a safetensors file of zeros to be filled in.

use std::collections::BTreeSet;
use std::path::Path;

use kiln_compiler::diag::counted;
use kiln_compiler::graph::weights::Source;
use kiln_rt::safetensors::{Dtype, start};
use serde_json::{Value, json};

use crate::dump::print;
use crate::file::NewFile;
use crate::report::{Context, Failure};

/// Zeros that are written at once.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Name and shape of each tensor, a line each, and their number.
pub(crate) fn list(sources: &[Source]) -> String {
    let sources = named(sources);
    let width = sources.iter().map(|source| source.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for Source { name, shape, .. } in &sources {
        text.push_str(&format!("{name:width$}  {shape:?}\n"));
    }
    let numbers = sources.iter().copied().map(elements).sum();
    text.push_str(&format!("{} of {}\n", counted(sources.len(), "tensor"), counted(numbers, "number")));
    text
}

/// The same in JSON.
pub(crate) fn object(sources: &[Source]) -> Value {
    let tensors: Vec<_> =
        named(sources).into_iter().map(|Source { name, shape, .. }| json!({ "name": name, "shape": shape })).collect();
    json!({ "tensors": tensors })
}

/// Writes a safetensors file of f32 zeros under the network's names and in its shapes.
pub(crate) fn write(sources: &[Source], path: &Path, force: bool) -> Result<(), Failure> {
    let sources = named(sources);
    let start = start(sources.iter().map(|&source| (&*source.name, Dtype::F32, &*source.shape, 4 * elements(source))));
    let file = NewFile::begin(path, force)?;
    let whole = file.write(|out| {
        let doing = || format!("cannot write {}", path.display());
        out.write_all(&start).context(doing())?;
        let mut left = 4 * sources.iter().copied().map(elements).sum::<usize>();
        while left > 0 {
            let piece = left.min(ZEROS.len());
            out.write_all(&ZEROS[..piece]).context(doing())?;
            left -= piece;
        }
        Ok(())
    })?;
    whole.finish()?;
    print(&format!("{} in {}, all zeros, to be filled in\n", counted(sources.len(), "tensor"), path.display()))
}

/// Each tensor once: a network may read one in two shapes, of which the first is its own.
fn named(sources: &[Source]) -> Vec<&Source> {
    let mut known = BTreeSet::new();
    sources.iter().filter(|source| known.insert(source.name.as_str())).collect()
}

fn elements(source: &Source) -> usize {
    source.shape.iter().product()
}
