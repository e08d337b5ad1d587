//! All sources that a spec needs, and who sees which name.

use std::collections::{BTreeMap, HashMap};

use super::suggest::nearest;
use crate::diag::{Diagnostic, Error, Errors, Sources, Span};
use crate::front::parse::parse_source;
use crate::front::spec::{Alias, Function, Item, Net, SourcePath, Spec};
use crate::front::zoo;

/// Reads the files that `use "…";` names. The library itself touches no files.
pub trait Loader {
    /// The canonical name and the text of the file that `from` (a name that was given to [`parse_text`] or came from here)
    /// calls `path`, relative to itself; or why there is none. Files of the same canonical name are one.
    ///
    /// [`parse_text`]: crate::front::parse_text
    fn load(&self, from: &str, path: &str) -> Result<(String, String), String>;
}

/// A loader for specs that use no files.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Loader for NoFiles {
    fn load(&self, _from: &str, _path: &str) -> Result<(String, String), String> {
        Err("files cannot be read here".into())
    }
}

/// Sources of one spec.
const MAX_MODULES: usize = 256;

/// The sources of a spec: module 0 is the spec itself.
pub(super) struct Library {
    pub(super) sources: Sources,
    pub(super) modules: Vec<Module>,
    /// The modules that came with kiln, by the names under which they were asked for.
    zoo: BTreeMap<String, usize>,
}

/// One source.
pub(super) struct Module {
    pub(super) spec: Spec,
    /// What it uses: the name before `::`, and which module that is.
    imports: Vec<(String, usize)>,
}

/// What a path names, and the module it stands in.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    Function(usize, &'a Function),
    Net(usize, &'a Net),
    Alias(usize, &'a Alias),
}

/// Why a path names nothing.
pub(super) enum NotFound {
    /// There is no such name.
    Unknown,
    /// Several used sources have it; their names.
    Ambiguous(Vec<String>),
}

impl Library {
    /// Reads everything that a spec uses, directly or not.
    ///
    /// # Errors
    /// Sources that cannot be read, and the syntax mistakes of those that can.
    pub(super) fn load(root: &Spec, loader: &dyn Loader) -> Result<Library, Error> {
        let mut library = Library { sources: root.sources.clone(), modules: Vec::new(), zoo: BTreeMap::new() };
        let mut mistakes = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        known.insert(library.name(0), 0);
        library.modules.push(Module { spec: root.clone(), imports: Vec::new() });
        let mut next = 0;
        while next < library.modules.len() {
            for (source, span, import) in needs(&library.modules[next].spec) {
                match library.find_or_read(next, &source, span, loader, &mut known) {
                    Ok(index) if import => {
                        let name = match &source {
                            SourcePath::Zoo(name) => name.clone(),
                            SourcePath::File(path) => stem(path).to_owned(),
                        };
                        library.modules[next].imports.push((name, index));
                    }
                    Ok(_) => {}
                    Err(Error::Spec(errors)) => mistakes.extend(errors.diagnostics),
                    Err(error) => mistakes.push(Diagnostic::error(span, error.to_string())),
                }
            }
            next += 1;
        }
        if mistakes.is_empty() { Ok(library) } else { Err(Errors::new(mistakes, library.sources).into()) }
    }

    fn find_or_read(
        &mut self,
        from: usize,
        source: &SourcePath,
        span: Span,
        loader: &dyn Loader,
        known: &mut HashMap<String, usize>,
    ) -> Result<usize, Error> {
        let unreadable = |why: String| Error::from(Errors::new(vec![Diagnostic::error(span, why)], Sources::default()));
        let from = self.name(from);
        let (name, text) = match source {
            SourcePath::Zoo(name) => match zoo::find(name) {
                Some(zoo::Entry { family, .. }) => (format!("zoo:{}", family.name), family.text.to_owned()),
                None => {
                    let near = nearest(name, zoo::names());
                    let hint = near.map_or(String::new(), |near| format!("; `zoo::{near}` is near"));
                    return Err(unreadable(format!("there is no `zoo::{name}`{hint}")));
                }
            },
            // The files of the zoo lie beside each other.
            SourcePath::File(path) if from.starts_with("zoo:") => match zoo::find(stem(path)) {
                Some(zoo::Entry { family, net: None }) => (format!("zoo:{}", family.name), family.text.to_owned()),
                Some(_) | None => return Err(unreadable(format!("the zoo has no file `{path}`"))),
            },
            SourcePath::File(path) => {
                loader.load(&from, path).map_err(|why| unreadable(format!("cannot read `{path}`: {why}")))?
            }
        };
        if let Some(&index) = known.get(&name) {
            if let SourcePath::Zoo(zoo) = source {
                self.zoo.insert(zoo.clone(), index);
            }
            return Ok(index);
        }
        if self.modules.len() >= MAX_MODULES {
            return Err(unreadable(format!("a spec uses at most {MAX_MODULES} sources")));
        }
        let index = self.modules.len();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let file = self.sources.add(&name, Some(text));
        let spec = parse_source(text, &self.sources, file)?;
        self.modules.push(Module { spec, imports: Vec::new() });
        if let SourcePath::Zoo(zoo) = source {
            self.zoo.insert(zoo.clone(), index);
        }
        known.insert(name, index);
        Ok(index)
    }

    /// The name that a module was read under. A module's file is the last of the sources it was parsed with.
    fn name(&self, module: usize) -> String {
        let files = self.modules.get(module).map_or(&self.sources, |module| &module.spec.sources).files();
        files.last().map_or_else(String::new, |file| file.name.to_string())
    }

    /// What `path` names in a module: its own items first, then those of the sources it uses.
    pub(super) fn find(&self, module: usize, path: &[String]) -> Result<Found<'_>, NotFound> {
        match path {
            [name] => {
                if let Some(found) = self.own(module, name, true) {
                    return Ok(found);
                }
                let mut found = Vec::new();
                let mut seen = Vec::new();
                for (import, index) in &self.modules[module].imports {
                    if !seen.contains(index) {
                        seen.push(*index);
                        found.extend(self.own(*index, name, false).map(|item| (import, item)));
                    }
                }
                match found[..] {
                    [] => Err(NotFound::Unknown),
                    [(_, item)] => Ok(item),
                    _ => Err(NotFound::Ambiguous(found.into_iter().map(|(import, _)| import.clone()).collect())),
                }
            }
            [zoo, name] if zoo == "zoo" => {
                let index = *self.zoo.get(name).ok_or(NotFound::Unknown)?;
                if let Some(zoo::Entry { net: Some(net), .. }) = zoo::find(name) {
                    return self.own(index, net, false).ok_or(NotFound::Unknown);
                }
                let written = self.modules[index].spec.nets().filter(|net| net.public);
                let nets: Vec<&str> = written.map(|net| net.function.name.name.as_str()).collect();
                match nets[..] {
                    [] => Err(NotFound::Unknown),
                    [net] => self.own(index, net, false).ok_or(NotFound::Unknown),
                    _ => Err(NotFound::Ambiguous(nets.iter().map(|net| format!("zoo::{name}::{net}")).collect())),
                }
            }
            [zoo, name, net] if zoo == "zoo" => {
                let index = self.zoo.get(name).ok_or(NotFound::Unknown)?;
                self.own(*index, net, false).ok_or(NotFound::Unknown)
            }
            [import, name] => {
                let imports = &self.modules[module].imports;
                let index = imports.iter().find(|(known, _)| known == import).ok_or(NotFound::Unknown)?.1;
                self.own(index, name, false).ok_or(NotFound::Unknown)
            }
            _ => Err(NotFound::Unknown),
        }
    }

    /// An item of a module; nets that are not public are seen from `inside` only.
    fn own(&self, module: usize, name: &str, inside: bool) -> Option<Found<'_>> {
        self.modules[module].spec.items.iter().find_map(|item| match item {
            Item::Function(function) if function.name.name == name => Some(Found::Function(module, function)),
            Item::Net(net) if net.function.name.name == name && (net.public || inside) => Some(Found::Net(module, net)),
            Item::Alias(alias) if alias.name.name == name && (alias.public || inside) => {
                Some(Found::Alias(module, alias))
            }
            Item::Function(_) | Item::Net(_) | Item::Alias(_) | Item::Use(_) | Item::Setting(_) => None,
        })
    }

    /// The functions that a module can call by one name.
    pub(super) fn callable(&self, module: usize) -> impl Iterator<Item = &str> {
        let imported = self.modules[module].imports.iter().map(|(_, index)| *index);
        std::iter::once(module)
            .chain(imported)
            .flat_map(|index| self.modules[index].spec.functions().map(|function| function.name.name.as_str()))
    }
}

/// The names of the nets that users of a spec see, in the order of the text: the public ones, or all if none is public.
pub fn nets(spec: &Spec) -> Vec<&str> {
    let public = public(spec);
    if !public.is_empty() {
        return public;
    }
    let all = spec.items.iter().filter_map(|item| match item {
        Item::Net(net) => Some(net.function.name.name.as_str()),
        Item::Alias(alias) => Some(alias.name.name.as_str()),
        Item::Function(_) | Item::Use(_) | Item::Setting(_) => None,
    });
    all.collect()
}

fn public(spec: &Spec) -> Vec<&str> {
    let public = spec.items.iter().filter_map(|item| match item {
        Item::Net(net) if net.public => Some(net.function.name.name.as_str()),
        Item::Alias(alias) if alias.public => Some(alias.name.name.as_str()),
        Item::Net(_) | Item::Alias(_) | Item::Function(_) | Item::Use(_) | Item::Setting(_) => None,
    });
    public.collect()
}

/// The sources that a spec names, where, and whether it imports their names.
fn needs(spec: &Spec) -> Vec<(SourcePath, Span, bool)> {
    let sources = spec.items.iter().filter_map(|item| match item {
        Item::Use(import) => Some((import.source.clone(), import.span, true)),
        Item::Alias(alias) => match &alias.target.path[..] {
            [zoo, name, ..] if zoo == "zoo" => Some((SourcePath::Zoo(name.clone()), alias.target.path_span, false)),
            _ => None,
        },
        Item::Function(_) | Item::Net(_) | Item::Setting(_) => None,
    });
    sources.collect()
}

/// `blocks` of `nets/blocks.net`.
fn stem(path: &str) -> &str {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    file.strip_suffix(".net").unwrap_or(file)
}
