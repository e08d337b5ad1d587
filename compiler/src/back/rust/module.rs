//! Modules of emitted code: files of a crate, or nested in one expansion.

use proc_macro2::TokenStream;
use quote::quote;

use super::names::ident;
use super::print::{self, doc, inner_doc};

/// A module.
#[derive(Debug)]
pub(super) struct Module {
    /// Its name.
    pub(super) name: String,
    /// Its doc comment.
    pub(super) doc: String,
    /// Attributes of its declaration.
    pub(super) attributes: TokenStream,
    /// What is in it beside its children.
    pub(super) items: TokenStream,
    /// Modules in it.
    pub(super) children: Vec<Module>,
}

impl Module {
    /// The module and its children as files in a folder: path and text.
    pub(super) fn files(
        &self,
        folder: &str,
        header: &str,
        files: &mut Vec<(String, String)>,
    ) -> Result<(), syn::Error> {
        let Module { name, doc, attributes: _, items, children } = self;
        let own = format!("{folder}/{name}");
        let path = if children.is_empty() { format!("{own}.rs") } else { format!("{own}/mod.rs") };
        let doc = inner_doc(doc);
        let declarations = children.iter().map(|child| child.declaration(&quote! { pub }));
        files.push((path, print::file(header, quote! { #doc #(#declarations)* #items })?));
        children.iter().try_for_each(|child| child.files(&own, header, files))
    }

    /// The declaration of the module's file.
    pub(super) fn declaration(&self, visibility: &TokenStream) -> TokenStream {
        let (attributes, name) = (&self.attributes, ident(&self.name));
        quote! { #attributes #visibility mod #name; }
    }

    /// The module and its children as one item; `imports` stand in each of them.
    pub(super) fn tokens(&self, imports: &TokenStream) -> TokenStream {
        let Module { name, doc: text, attributes, items, children } = self;
        let (doc, name) = (doc(text), ident(name));
        let children = children.iter().map(|child| child.tokens(imports));
        quote! { #doc #attributes pub mod #name { #imports #(#children)* #items } }
    }
}

/// `use path::{…};` for those of some names that occur in tokens; nothing for none.
pub(super) fn import(path: &TokenStream, names: &[&str], tokens: &TokenStream) -> TokenStream {
    let used: Vec<_> =
        names.iter().map(|name| ident(name)).filter(|name| super::body::mentions(tokens, name)).collect();
    match &used[..] {
        [] => quote! {},
        [one] => quote! { use #path::#one; },
        several => quote! { use #path::{#(#several),*}; },
    }
}
