//! What a new crate is to a Cargo workspace around it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob};
use kiln_compiler::back::rust::Workspace;
use toml::{Table, Value};

use crate::report::{Context, Failure};

/// What a crate in a folder, which need not be there yet, is to a workspace: the nearest folder around it whose manifest
/// has a `[workspace]` decides, as Cargo has it.
pub(crate) fn around(folder: &Path) -> Result<Workspace, Failure> {
    let folder = resolved(folder)?;
    let roots = folder.ancestors().skip(1).filter_map(|above| Some((above, manifest(above)?)));
    for (above, manifest) in roots {
        let Some(table) = manifest.get("workspace").and_then(Value::as_table) else { continue };
        let root = Root { folder: above, manifest: &manifest, table };
        return Ok(if root.excludes(&folder) {
            Workspace::Outside
        } else if root.lists(&folder) || root.depends_on(&folder) {
            Workspace::Member
        } else {
            Workspace::Own
        });
    }
    Ok(Workspace::Outside)
}

/// The path without `..` and links, as far as it is there.
fn resolved(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path).context("cannot tell where the folder lies")?;
    let there = absolute.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    Ok(match there {
        Some((above, real)) => real.join(absolute.strip_prefix(above).unwrap_or(Path::new(""))),
        None => absolute,
    })
}

/// The manifest of a folder; one that Cargo would not read is none.
fn manifest(folder: &Path) -> Option<Table> {
    fs::read_to_string(folder.join("Cargo.toml")).ok()?.parse().ok()
}

/// The root of a workspace.
struct Root<'a> {
    folder: &'a Path,
    manifest: &'a Table,
    /// Its `[workspace]`.
    table: &'a Table,
}

impl Root<'_> {
    fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.table.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether `exclude` keeps a folder out and `members` does not name it.
    fn excludes(&self, folder: &Path) -> bool {
        let within = |path: &str| folder.starts_with(self.folder.join(path));
        self.list("exclude").any(within) && !self.list("members").any(within)
    }

    /// Whether `members` has a folder.
    fn lists(&self, folder: &Path) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        self.patterns()
            .any(|pattern| Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches_path_with(folder, options)))
    }

    /// The entries of `members`, from the system's root on.
    fn patterns(&self) -> impl Iterator<Item = String> {
        let root = Pattern::escape(&self.folder.to_string_lossy());
        self.list("members").map(move |member| format!("{root}/{}", member.trim_end_matches('/')))
    }

    /// Whether a member, or what one depends on by path within the workspace, depends on a folder.
    fn depends_on(&self, folder: &Path) -> bool {
        let members = self.patterns().filter_map(|pattern| glob(&pattern).ok()).flatten().flatten();
        let mut waiting: Vec<PathBuf> = members.collect();
        let mut seen: HashSet<PathBuf> = waiting.iter().cloned().collect();
        let mut found = self.dependencies(self.folder, self.manifest);
        loop {
            for path in std::mem::take(&mut found) {
                if path == folder {
                    return true;
                }
                if path.starts_with(self.folder) && seen.insert(path.clone()) {
                    waiting.push(path);
                }
            }
            let Some(next) = waiting.pop() else { return false };
            if let Some(manifest) = manifest(&next) {
                found = self.dependencies(&next, &manifest);
            }
        }
    }

    /// The folders that a manifest names as dependencies.
    fn dependencies(&self, of: &Path, manifest: &Table) -> Vec<PathBuf> {
        const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
        let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        let tables = targets.filter_map(Value::as_table).chain([manifest]);
        let kinds = tables.flat_map(|table| KINDS.iter().filter_map(|kind| table.get(*kind)?.as_table()));
        let path = |(name, dependency): (&String, &Value)| {
            let inherited = || self.table.get("dependencies")?.get(name);
            let (from, dependency) = match dependency.get("workspace") {
                Some(_) => (self.folder, inherited()?),
                None => (of, dependency),
            };
            resolved(&from.join(dependency.get("path")?.as_str()?)).ok()
        };
        kinds.flatten().filter_map(path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    fn found(files: &[(&str, &str)], place: &str) -> Workspace {
        let folder = folder(files);
        around(&folder.path().join(place)).expect("it is told")
    }

    #[test]
    fn a_crate_is_a_member_where_the_workspace_has_it() {
        let root = |text: &str| format!("[workspace]\n{text}\n");
        let listed = root("members = [\"app\", \"nets/*\"]\nexclude = [\"old\"]");
        let app = "[package]\nname = \"app\"\n[dependencies]\nlib = { path = \"../lib\" }\n";
        let lib = "[target.'cfg(unix)'.build-dependencies]\nnet = { path = \"../models/net\" }\n";
        let files = [("Cargo.toml", listed.as_str()), ("app/Cargo.toml", app), ("lib/Cargo.toml", lib)];
        assert_eq!(found(&files, "nets/a"), Workspace::Member);
        assert_eq!(found(&files, "app/../nets/b"), Workspace::Member);
        assert_eq!(found(&files, "models/net"), Workspace::Member);
        assert_eq!(found(&files, "nets/a/b"), Workspace::Own);
        assert_eq!(found(&files, "models/other"), Workspace::Own);
        assert_eq!(found(&files, "old/net"), Workspace::Outside);
        assert_eq!(found(&[("Cargo.toml", &root(""))], "net"), Workspace::Own);

        let inherited = root("members = [\"app\"]\n[workspace.dependencies]\nnet = { path = \"net\" }");
        let app = "[dependencies]\nnet.workspace = true\n";
        assert_eq!(found(&[("Cargo.toml", &inherited), ("app/Cargo.toml", app)], "net"), Workspace::Member);
    }

    #[test]
    fn a_package_that_is_no_workspace_has_no_members() {
        let package = "[package]\nname = \"app\"\n[dependencies]\nnet = { path = \"net\" }\n";
        assert_eq!(found(&[("app/Cargo.toml", package)], "app/net"), Workspace::Outside);
        assert_eq!(found(&[("app/Cargo.toml", "]")], "app/net"), Workspace::Outside);
    }
}
