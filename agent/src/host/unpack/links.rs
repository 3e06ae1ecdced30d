//! Links that may point outside the directory that is being created, because the document allows it. Pure.
//!
//! Releases often share directories with their predecessors: they contain links to them, or links are created for them.
//! The document lists a name or pattern for each link, and the target that it may have. Only links listed here may
//! point outside; what lies behind their targets is part of the machine.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::entry;
use super::error::{UnpackError, refused};

/// Which links may leave a directory, and their permitted targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// The final location of the directory: links with `..` are resolved from there.
    at: PathBuf,
    /// Maps a path in the directory, in which `*` matches part of a name, to the absolute path that the link may point
    /// to or below.
    allowed: BTreeMap<String, PathBuf>,
}

impl Links {
    pub(crate) fn new(at: PathBuf, allowed: BTreeMap<String, PathBuf>) -> Self {
        Self { at, allowed }
    }

    /// Checks the target of a symbolic link at `at`, which the archive calls `name`: it must stay inside the directory
    /// unless it is allowed here.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn judge(&self, name: &[u8], at: &Path, target: &[u8]) -> Result<(), UnpackError> {
        if !entry::is_target(target) {
            return Err(refused(name, &format!("a link to nothing that Linux takes for a path: {}", entry::shown(target))));
        }
        let Err(why) = entry::stays_inside(at, target) else { return Ok(()) };
        if self.allow(at, target) {
            return Ok(());
        }
        let why = format!("{why}: {}", entry::shown(target));
        Err(match self.resolved(at, target) {
            Some(to) => UnpackError::LeadsOut { name: entry::shown(name), why, allow: format!("{at:?}: {to:?}") },
            None => refused(name, &why),
        })
    }

    /// Whether the link `link`, a path in the directory, may point to `target`.
    pub(super) fn allow(&self, link: &Path, target: &[u8]) -> bool {
        let Some(target) = self.resolved(link, target) else { return false };
        let exactly = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        self.allowed.iter().any(|(name, to)| {
            let named = || Pattern::new(name).is_ok_and(|pattern| pattern.matches_path_with(link, exactly));
            target.starts_with(to) && named()
        })
    }

    /// The links that must exist in the end: those listed without a pattern.
    pub(super) fn named(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let named = self.allowed.iter().filter(|(name, _)| !is_pattern(name));
        named.map(|(name, to)| (Path::new(name), to.as_path()))
    }

    /// The target of a link, resolved textually. `None` if `..` follows a name, because that name may be another link.
    fn resolved(&self, link: &Path, target: &[u8]) -> Option<PathBuf> {
        let target = Path::new(OsStr::from_bytes(target));
        let mut resolved = self.at.join(link);
        resolved.pop();
        let mut is_below = false;
        for part in target.components() {
            match part {
                Component::RootDir => (resolved, is_below) = (PathBuf::from("/"), true),
                Component::ParentDir if is_below => return None,
                Component::ParentDir => drop(resolved.pop()),
                Component::Normal(name) => {
                    resolved.push(name);
                    is_below = true;
                }
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Some(resolved)
    }
}

/// Whether a name is a pattern.
fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(allowed: &[(&str, &str)]) -> Links {
        let allowed = allowed.iter().map(|(name, to)| ((*name).to_owned(), PathBuf::from(to))).collect();
        Links::new("/opt/shop/releases/1".into(), allowed)
    }

    #[test]
    fn only_named_links_lead_out_and_only_where_they_may() {
        let links = links(&[("shared/*", "/srv/shared"), ("config.yml", "/etc/shop/config.yml"), ("log", "/opt/shop/shared/log")]);
        let allow = |link: &str, target: &str| links.allow(Path::new(link), target.as_bytes());
        for (link, target) in [
            ("shared/a", "/srv/shared/a"),
            ("shared/a", "/srv/shared"),
            ("shared/a", "//srv/./shared/a/b"),
            ("config.yml", "/etc/shop/config.yml"),
            // Relative to /opt/shop/releases/1.
            ("log", "../../shared/log"),
        ] {
            assert!(allow(link, target), "{link} -> {target}");
        }
        for (link, target) in [
            ("shared/a", "/srv/sharedevil"),
            ("shared/a", "/srv"),
            ("shared/a", "/srv/shared/../../etc/passwd"),
            ("shared/a/b", "/srv/shared/a"),
            ("other/a", "/srv/shared/a"),
            ("config.yml", "/etc/shop/config.yml.old"),
            ("config.yml", "/srv/shared"),
            ("log", "../shared/log"),
            ("log", "../../shared/../../../etc"),
            ("log", "../../../../etc"),
        ] {
            assert!(!allow(link, target), "{link} -> {target}");
        }
    }

    #[test]
    fn a_pattern_makes_no_link() {
        let links = links(&[("shared/*", "/srv/shared"), ("a?", "/a"), ("b[1]", "/b"), ("data", "/srv/data")]);
        assert_eq!(links.named().collect::<Vec<_>>(), [(Path::new("data"), Path::new("/srv/data"))]);
        assert_eq!(Links::default().named().count(), 0);
    }
}
