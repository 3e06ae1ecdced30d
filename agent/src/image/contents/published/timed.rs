//! Packages whose manager records the digest of an archive but not of the files in it: npm, Yarn, pnpm, Composer,
//! RubyGems.
//!
//! A file of such a package counts as published if it has not been written since the installation: not after the
//! manager's record of it or, if a tree was copied without its times, not after the package's own description.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::super::file;

/// How long it may take to copy the files of one package, in seconds.
const COPYING: i64 = 2;

/// An installed package with a record.
struct Package {
    directory: PathBuf,
    /// The file that the manager wrote after the installation.
    record: PathBuf,
    /// The package's description, which is the first or last of its files to be written.
    description: &'static str,
}

/// Whether `file`, a path relative to `root`, is unchanged since its package was unpacked.
pub(super) fn is_as_unpacked(root: &Path, file: &Path) -> bool {
    let Some(package) = node(root, file).or_else(|| composer(root, file)).or_else(|| gem(root, file)) else { return false };
    let written = |path: &Path| fs::symlink_metadata(root.join(path)).map(|found| found.mtime());
    let Ok(changed) = written(file) else { return false };
    let described = || written(&package.directory.join(package.description)).is_ok_and(|time| changed <= time + COPYING);
    written(&package.record).is_ok_and(|time| changed <= time) || described()
}

/// Splits `file` after the last directory `name`: returns the path up to it, and the path extended by `count` names
/// (one more for scoped names, `@x/y`).
fn below(file: &Path, name: &str, count: usize) -> Option<(PathBuf, PathBuf)> {
    let parts: Vec<Component<'_>> = file.components().collect();
    let at = parts.iter().rposition(|part| part.as_os_str() == name)?;
    let is_scope = parts.get(at + 1).is_some_and(|part| part.as_os_str().to_string_lossy().starts_with('@'));
    let end = at + 1 + count + usize::from(is_scope && count == 1);
    (end < parts.len()).then(|| (parts[..=at].iter().collect(), parts[..end].iter().collect()))
}

fn text(path: &Path) -> Option<String> {
    String::from_utf8(file::list(path)).ok().filter(|text| !text.is_empty())
}

/// `node_modules/x`, if a lock file has the integrity of its archive.
fn node(root: &Path, file: &Path) -> Option<Package> {
    let (inner, directory) = below(file, "node_modules", 1)?;
    let package = |record: PathBuf| Package { directory: directory.clone(), record, description: "package.json" };
    for modules in directory.ancestors().filter(|ancestor| ancestor.ends_with("node_modules")) {
        let project = modules.parent()?;
        let key = directory.strip_prefix(project).ok()?.to_str()?;
        for lock in [modules.join(".package-lock.json"), project.join("package-lock.json"), project.join("npm-shrinkwrap.json")] {
            let Some(lock_text) = text(&root.join(&lock)) else { continue };
            let lock_json: serde_json::Value = serde_json::from_str(&lock_text).unwrap_or_default();
            if lock_json["packages"][key]["integrity"].is_string() {
                return Some(package(lock));
            }
        }
        let by_others = [".yarn-integrity", ".yarn-state.yml", ".modules.yaml"].map(|name| modules.join(name));
        let Some(record) = by_others.into_iter().find(|record| root.join(record).exists()) else { continue };
        let name = directory.strip_prefix(&inner).ok()?.to_str()?;
        let locks = [project.join("yarn.lock"), project.join("pnpm-lock.yaml"), modules.join(".pnpm/lock.yaml")];
        if locks.iter().filter_map(|lock| text(&root.join(lock))).any(|lock| is_locked(&lock, name)) {
            return Some(package(record));
        }
    }
    None
}

/// Whether `yarn.lock` or `pnpm-lock.yaml` lists a package: `name@1.0`, or `/name/1.0` in older versions, at the
/// beginning of a word.
fn is_locked(lock: &str, name: &str) -> bool {
    lock.match_indices(name).any(|(at, _)| {
        let before = &lock[..at];
        let before = before.strip_suffix('/').unwrap_or(before);
        let begins = before.is_empty() || before.ends_with(|last: char| last.is_whitespace() || "\"',".contains(last));
        begins && lock[at + name.len()..].starts_with(['@', '/'])
    })
}

/// `vendor/x/y`, if Composer has a record of it.
fn composer(root: &Path, file: &Path) -> Option<Package> {
    let (vendor, directory) = below(file, "vendor", 2)?;
    let record = vendor.join("composer/installed.json");
    let name = directory.strip_prefix(&vendor).ok()?.to_str()?;
    let listed = text(&root.join(&record))?;
    let is_listed = [format!("\"name\": \"{name}\""), format!("\"name\":\"{name}\"")].iter().any(|entry| listed.contains(entry));
    is_listed.then_some(Package { directory, record, description: "composer.json" })
}

/// `gems/x-1.0`, if its specification is next to the directory.
fn gem(root: &Path, file: &Path) -> Option<Package> {
    let (gems, directory) = below(file, "gems", 1)?;
    let specification = format!("{}.gemspec", directory.file_name()?.to_str()?);
    let beside = gems.with_file_name("specifications");
    let places = [beside.join(&specification), beside.join("default").join(&specification)];
    let record = places.into_iter().find(|place| root.join(place).exists())?;
    Some(Package { directory, record, description: "README.md" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    const LOCK: &str = r#"{"packages": {"node_modules/x": {"integrity": "sha512-x"}, "node_modules/@y/z": {"integrity": "sha512-x"},
        "node_modules/x/node_modules/w": {"integrity": "sha512-x"}, "node_modules/local": {"resolved": "../local"}}}"#;

    /// Takes files with the second in which each was written.
    fn is(files: &[(&str, &str, u64)], file: &str) -> bool {
        let root = tempfile::tempdir().unwrap();
        for (path, content, second) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second);
            fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        is_as_unpacked(root.path(), Path::new(file))
    }

    #[test]
    fn npm_knows_what_it_unpacked_until_somebody_writes_to_it() {
        let app = |file: &str, second: u64| {
            let files = [("app/node_modules/.package-lock.json", LOCK, 100), (file, "x", second)];
            is(&files, file)
        };
        for file in ["app/node_modules/x/a.key", "app/node_modules/@y/z/test/a", "app/node_modules/x/node_modules/w/a"] {
            assert!(app(file, 100), "{file}");
            assert!(!app(file, 101), "{file}");
        }
        assert!(!app("app/node_modules/local/a", 1) && !app("app/node_modules/stray/a", 1) && !app("app/config/a", 1));
    }

    #[test]
    fn a_tree_that_was_copied_without_its_times_is_known_by_the_description_of_the_package() {
        let app = |second: u64| {
            let lock = ("app/package-lock.json", LOCK, 100);
            is(&[lock, ("app/node_modules/x/package.json", "{}", 500), ("app/node_modules/x/a", "x", second)], "app/node_modules/x/a")
        };
        assert!(app(501) && !app(560));
    }

    #[test]
    fn yarn_and_pnpm_know_what_their_locks_name() {
        let yarn = "x@^1.0:\n  version \"1.0\"\n\"@y/z@npm:1\":\n";
        let pnpm = "packages:\n  x@1.0.0:\n    resolution\n  '@y/z@1.0':\n  /old/1.0.0:\n";
        for (lock, record, content) in [("yarn.lock", ".yarn-integrity", yarn), ("pnpm-lock.yaml", ".modules.yaml", pnpm)] {
            let record = format!("app/node_modules/{record}");
            let app = |file: &str| is(&[(&format!("app/{lock}"), content, 1), (&record, "", 9), (file, "x", 5)], file);
            assert!(app("app/node_modules/x/a.key") && app("app/node_modules/@y/z/a.key"));
            assert_eq!(app("app/node_modules/old/a.key"), lock == "pnpm-lock.yaml");
            assert!(!app("app/node_modules/z/a.key") && !app("app/node_modules/local/a.key") && !app("app/node_modules/@y/x/a.key"));
            assert!(!is(&[(&record, "", 9), ("app/node_modules/x/a", "x", 5)], "app/node_modules/x/a"), "no lock");
        }
    }

    #[test]
    fn composer_and_rubygems_know_what_they_unpacked() {
        let php = |file: &str| is(&[("srv/vendor/composer/installed.json", r#"{"name": "a/b"}"#, 9), (file, "x", 5)], file);
        assert!(php("srv/vendor/a/b/tests/key.pem"));
        assert!(!php("srv/vendor/a/other/key.pem"));
        let ruby = |file: &str| is(&[("g/specifications/a-1.0.gemspec", "", 9), (file, "x", 5)], file);
        assert!(ruby("g/gems/a-1.0/test/key.pem"));
        assert!(!ruby("g/gems/a-2.0/test/key.pem"));
    }
}
