//! Links that may leave the directory that is being made, because the document says so. Pure.
//!
//! A release often shares directories with the ones before it, and holds links to them, or has them made. The document
//! gives a name or a pattern of each, and where they may lead. Only what is named here leads out; what lies behind it is
//! the machine's own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::entry;
use super::error::{UnpackError, refused};

/// Which links may leave a directory, and where to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// Where the directory is in the end: links that go up by `..` lead somewhere from there.
    at: PathBuf,
    /// By a path in the directory, in which `*` stands for part of a name: an absolute path, which they may lead to or below.
    allowed: BTreeMap<String, PathBuf>,
}

impl Links {
    pub(crate) fn new(at: PathBuf, allowed: BTreeMap<String, PathBuf>) -> Self {
        Self { at, allowed }
    }

    /// Checks where a symbolic link at `at`, which the archive calls `name`, leads: nowhere out of the directory, unless it is
    /// allowed here.
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

    /// Whether the link `link`, a path in the directory, may lead to `target`.
    pub(super) fn allow(&self, link: &Path, target: &[u8]) -> bool {
        let Some(target) = self.resolved(link, target) else { return false };
        let exactly = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        self.allowed.iter().any(|(name, to)| {
            let named = || Pattern::new(name).is_ok_and(|pattern| pattern.matches_path_with(link, exactly));
            target.starts_with(to) && named()
        })
    }

    /// The links that have to be there in the end: those that are named by more than a pattern.
    pub(super) fn named(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let named = self.allowed.iter().filter(|(name, _)| !is_pattern(name));
        named.map(|(name, to)| (Path::new(name), to.as_path()))
    }

    /// Where a link leads, as far as its text tells: `..` after a name may lead anywhere, by way of another link.
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

/// Whether a name stands for several.
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
            // From /opt/shop/releases/1.
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
