//! Names of nodes and weights: dotted, and each used once.

use std::collections::{HashMap, HashSet};

use crate::diag::Span;

/// The names given out so far.
#[derive(Default)]
pub(super) struct Names {
    nodes: HashSet<String>,
    counts: HashMap<String, usize>,
    tensors: HashMap<String, Span>,
}

impl Names {
    /// A name for a node: the wanted one, or, if another node has it, with a count behind it.
    pub(super) fn node(&mut self, wanted: String) -> String {
        if self.nodes.insert(wanted.clone()) { wanted } else { self.counted(&wanted) }
    }

    /// A name made from what something is, with a count behind it: `stem.conv_1`.
    pub(super) fn counted(&mut self, base: &str) -> String {
        let count = self.counts.entry(base.to_owned()).or_insert(0);
        loop {
            *count += 1;
            let name = format!("{base}_{count}");
            if self.nodes.insert(name.clone()) {
                return name;
            }
        }
    }

    /// A name for a layer that Keras would call so: the first as it is, the next with a 1 behind it.
    pub(super) fn layer(&mut self, base: &str) -> String {
        if self.nodes.insert(base.to_owned()) { base.to_owned() } else { self.counted(base) }
    }

    /// Claims the name of a weight for a layer, or says which layer has it.
    pub(super) fn tensor(&mut self, name: &str, place: Span) -> Result<(), Span> {
        match self.tensors.get(name) {
            Some(&first) => Err(first),
            None => {
                self.tensors.insert(name.to_owned(), place);
                Ok(())
            }
        }
    }
}

/// `inner` within `outer`.
pub(super) fn join(outer: &str, inner: &str) -> String {
    match (outer.is_empty(), inner.is_empty()) {
        (true, _) => inner.to_owned(),
        (_, true) => outer.to_owned(),
        _ => format!("{outer}.{inner}"),
    }
}
