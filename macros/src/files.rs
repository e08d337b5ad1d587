//! The files that the nets of a macro use.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use kiln_compiler::front::Loader;
use proc_macro2::TokenStream;
use quote::quote;

/// Reads files relative to the source file that contains the macro, and remembers which.
pub(crate) struct Files {
    /// How the compiler calls that source file.
    source: String,
    /// Its folder.
    folder: PathBuf,
    read: RefCell<BTreeSet<PathBuf>>,
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
        Files { source, folder, read: RefCell::default() }
    }

    /// Items that make Cargo compile again when a file that was read changes.
    pub(crate) fn included(&self) -> TokenStream {
        let read = self.read.borrow();
        let paths = read.iter().filter_map(|path| std::path::absolute(path).ok()?.to_str().map(String::from));
        quote! { #(const _: &[u8] = ::core::include_bytes!(#paths);)* }
    }
}

impl Loader for Files {
    fn load(&self, from: &str, path: &str) -> Result<(String, String), String> {
        let from_folder = Path::new(from).parent().unwrap_or(Path::new(""));
        let folder = if from == self.source { &self.folder } else { from_folder };
        let path = without_dots(&folder.join(path));
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let name = path.display().to_string();
        self.read.borrow_mut().insert(path);
        Ok((name, text))
    }
}

/// `a/c` for `a/b/../c` and `a/./c`: a file has one name, however it was reached.
fn without_dots(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(short.components().next_back(), Some(Component::Normal(_))) => {
                short.pop();
            }
            Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => short.push(part),
        }
    }
    short
}
