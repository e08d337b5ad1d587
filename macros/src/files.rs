//! The files that the nets of a macro use.

use std::path::{Path, PathBuf};

use kiln_compiler::files;
use kiln_compiler::front::Loader;
use proc_macro2::TokenStream;
use quote::quote;

/// Reads files relative to the source file that contains the macro.
pub(crate) struct Files {
    /// How the compiler calls that source file.
    source: String,
    /// Its folder.
    folder: PathBuf,
    files: files::Files,
}

impl Files {
    /// For the macro of these tokens.
    pub(crate) fn beside(tokens: &TokenStream) -> Files {
        let span = tokens.clone().into_iter().next().map(|token| token.span());
        let file = span.and_then(|span| span.local_file());
        let folder = match file.as_deref().and_then(Path::parent) {
            Some(folder) => folder.to_owned(),
            // An editor's compiler does not always say where a file lies; most sources lie here.
            None => std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default().join("src"),
        };
        let source = span.map_or_else(String::new, |span| span.file());
        Files { source, folder, files: files::Files::default() }
    }

    /// Items that make Cargo compile again when a file that was read changes.
    pub(crate) fn included(&self) -> TokenStream {
        let read = self.files.were_read();
        let paths = read.iter().filter_map(|path| std::path::absolute(path).ok()?.to_str().map(String::from));
        quote! { #(const _: &[u8] = ::core::include_bytes!(#paths);)* }
    }
}

impl Loader for Files {
    fn load(&self, from: &str, path: &str) -> Result<(String, String), String> {
        if from == self.source { self.files.read(&self.folder.join(path)) } else { self.files.load(from, path) }
    }
}
