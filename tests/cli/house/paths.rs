//! Resolves a path to a file: modules, re-exports, aliases.
#![expect(clippy::disallowed_methods, reason = "a test reads the sources as they lie in the checkout")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::source::{self, Use};

/// The files of a crate, by module path: `host::files`; the root is `lib`.
pub(crate) struct House {
    files: BTreeMap<String, File>,
}

struct File {
    uses: Vec<Use>,
    /// Paths that are written out where they are used.
    paths: Vec<Vec<String>>,
    /// Every name outside of `use`.
    names: BTreeSet<String>,
    /// The number of lines, including tests.
    lines: usize,
}

impl House {
    /// Reads every file below `src`, except unit tests.
    pub(crate) fn read(src: &Path) -> Self {
        let mut found = Vec::new();
        collect(src, "", &mut found);
        let tests: Vec<String> = found.iter().flat_map(|(module, text)| test_modules(module, text)).collect();
        let is_test = |module: &str| tests.iter().any(|test| module == test || module.starts_with(&format!("{test}::")));
        Self::of(found.into_iter().filter(|(module, _)| !is_test(module)))
    }

    pub(crate) fn of(files: impl Iterator<Item = (String, String)>) -> Self {
        let file = |text: String| {
            let (uses, body) = source::uses(&source::bare(&text));
            File { uses, paths: source::paths(&body), names: source::names(&body), lines: text.lines().count() }
        };
        Self { files: files.map(|(module, text)| (module, file(text))).collect() }
    }

    pub(crate) fn lengths(&self) -> impl Iterator<Item = (&str, usize)> {
        self.files.iter().map(|(module, file)| (module.as_str(), file.lines))
    }

    /// The imports of each file: the files that define the names it uses.
    pub(crate) fn imports(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.files.keys().map(|module| (module.clone(), self.imports_of(module))).collect()
    }

    fn imports_of(&self, module: &str) -> BTreeSet<String> {
        let file = &self.files[module];
        let mut targets = BTreeSet::new();
        for each in file.uses.iter().filter(|each| !each.public || self.imports_too(module, file, each)) {
            match self.resolve(module, &each.path) {
                // A module that is imported whole: the names used from it are found below.
                Some(Found::Module(found)) if each.name != "*" && self.is_used(file, &each.name) => drop(found),
                Some(found) => drop(targets.insert(found.file())),
                None => {}
            }
        }
        for path in &file.paths {
            let aliased = file.uses.iter().find(|each| each.name == path[0]);
            let whole: Vec<String> = match aliased {
                Some(each) => each.path.iter().chain(&path[1..]).cloned().collect(),
                None => path.clone(),
            };
            targets.extend(self.resolve(module, &whole).map(Found::file));
        }
        targets.remove(module);
        targets
    }

    /// Whether a re-export is also an import: the file uses the name itself, or the name is from another room.
    fn imports_too(&self, module: &str, file: &File, each: &Use) -> bool {
        let room = |path: &str| path.split("::").next().map(str::to_owned);
        let found = self.resolve(module, &each.path).map(Found::file);
        file.names.contains(&each.name) || found.is_some_and(|found| room(&found) != room(module))
    }

    fn is_used(&self, file: &File, alias: &str) -> bool {
        file.paths.iter().any(|path| path[0] == alias)
    }

    /// Resolves a path that is written in `module`; `None` if it is from another crate, or not in a module.
    fn resolve(&self, module: &str, path: &[String]) -> Option<Found> {
        let mut base: Vec<&str> = if module == "lib" { Vec::new() } else { module.split("::").collect() };
        let mut rest = path.iter().map(String::as_str).peekable();
        match *rest.peek()? {
            "crate" => {
                base.clear();
                rest.next();
            }
            "self" => drop(rest.next()),
            "super" => {
                while rest.peek() == Some(&"super") {
                    base.pop();
                    rest.next();
                }
            }
            child if self.files.contains_key(&joined(&base, child)) => {}
            _ => return None,
        }
        self.walk(base.into_iter().map(str::to_owned).collect(), rest, 0)
    }

    fn walk<'a>(&self, mut base: Vec<String>, rest: impl Iterator<Item = &'a str>, depth: usize) -> Option<Found> {
        let mut rest: Vec<&str> = rest.collect();
        while !rest.is_empty()
            && self.files.contains_key(
                &[&base.join("::"), rest[0]].iter().filter(|part| !part.is_empty()).map(ToString::to_string).collect::<Vec<_>>().join("::"),
            )
        {
            base.push(rest.remove(0).to_owned());
        }
        let module = if base.is_empty() { "lib".to_owned() } else { base.join("::") };
        let Some(name) = rest.first() else { return Some(Found::Module(module)) };
        let file = self.files.get(&module)?;
        // A re-export stands for the file that it comes from.
        let offered = file.uses.iter().filter(|each| each.public).find(|each| each.name == *name);
        if let Some(each) = offered
            && depth < 8
        {
            let whole: Vec<String> = each.path.iter().cloned().chain(rest[1..].iter().map(ToString::to_string)).collect();
            return self.resolve(&module, &whole).map(|found| Found::Name(found.file()));
        }
        Some(Found::Name(module))
    }
}

enum Found {
    Module(String),
    Name(String),
}

impl Found {
    fn file(self) -> String {
        match self {
            Self::Module(file) | Self::Name(file) => file,
        }
    }
}

fn joined(base: &[&str], child: &str) -> String {
    base.iter().copied().chain([child]).collect::<Vec<_>>().join("::")
}

fn collect(directory: &Path, module: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let below = if module.is_empty() { stem.to_owned() } else { format!("{module}::{stem}") };
        if path.is_dir() {
            collect(&path, &below, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let own = if stem == "mod" { module.to_owned() } else { below };
            found.push((own, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The modules that a file declares only for its tests.
fn test_modules(module: &str, text: &str) -> Vec<String> {
    let declared = text.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let line = after.trim_start().lines().next()?;
        let (visibility, name) = line.strip_suffix(';')?.split_once("mod ")?;
        (visibility.is_empty() || visibility.starts_with("pub")).then_some(name)
    });
    let prefix = if module == "lib" { String::new() } else { format!("{module}::") };
    declared.map(|name| format!("{prefix}{name}")).collect()
}
