//! Identifiers for emitted code: legal, readable, each thing its own.

use std::collections::HashSet;

use proc_macro2::{Ident, Span};

/// Hands out identifiers that differ from all it gave before.
#[derive(Debug, Default)]
pub(super) struct Namer {
    taken: HashSet<String>,
}

impl Namer {
    /// An identifier like `wish`: itself where it is free, else with the first free number behind it.
    pub(super) fn fresh(&mut self, wish: &str) -> Ident {
        let wish = snake(wish);
        let mut name = wish.clone();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            name = format!("{wish}_{number}");
            number += 1;
        }
        ident(&name)
    }

    /// Takes a name back.
    pub(super) fn release(&mut self, name: &Ident) {
        self.taken.remove(&name.to_string());
    }

    /// Keeps a name for someone else.
    pub(super) fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// Whether a name was given or kept.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.taken.contains(name)
    }
}

/// An identifier of emitted code; `name` is a legal one.
pub(super) fn ident(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// `features.0.conv-1` as `features_0_conv_1`: letters, digits and single underscores, no digit first, no keyword.
pub(super) fn snake(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, 'n');
    }
    if name.is_empty() || syn::parse_str::<Ident>(&name).is_err() {
        name.push_str("_v");
    }
    name
}

/// The same for constants and statics: `FEATURES_0_CONV_1`.
pub(super) fn upper(text: &str) -> String {
    snake(text).to_ascii_uppercase()
}

/// The same for types: `mobilenet_v2` as `MobilenetV2`, `MobileNetV2` as it is.
pub(super) fn camel(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            starts = true;
        } else if std::mem::take(&mut starts) {
            name.push(c.to_ascii_uppercase());
        } else {
            name.push(c);
        }
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || name == "Self" {
        name.insert_str(0, "Net");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_and_distinct() {
        let mut namer = Namer::default();
        namer.reserve("x");
        let names: Vec<String> = ["x", "features.0.0", "features.0.0", "for", "0", "_", "a  b"]
            .map(|wish| namer.fresh(wish).to_string())
            .into();
        assert_eq!(names, ["x_1", "features_0_0", "features_0_0_1", "for_v", "n0", "__v", "a_b"]);
        assert_eq!([camel("mobilenet_v2"), camel("MobileNetV2"), camel("3d")], ["MobilenetV2", "MobileNetV2", "Net3d"]);
    }
}
