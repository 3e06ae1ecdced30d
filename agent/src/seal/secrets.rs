//! Secrets in the files of an image: private keys, tokens and passwords.
//!
//! | file | what |
//! |---|---|
//! | `rules` | the rules: those of gitleaks, and our own |
//! | `rule` | one rule, and which rules guess |
//! | `expression` | what the matches of a rule's expression begin with |
//! | `allowance` | what a rule finds but does not mean |
//! | `judge` | finds the secrets in a part of a file |
//! | `pem` | whether what looks like a private key is one |
//! | `keystore` | private keys in binary files |
//! | `wide` | text with two bytes per character |
//! | `place` | which files are read, and which rules apply |
//!
//! A finding never contains any part of what was found.

mod allowance;
mod expression;
mod judge;
mod keystore;
mod pem;
mod place;
mod rule;
mod rules;
#[cfg(test)]
mod tests;
mod wide;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::image::contents::{self, By, Owned, Part, Published, Reader, Seen};
use crate::seal::finding::Finding;
use crate::seal::setup::binary::BINARY;

use judge::Notes;
use rules::Rules;

/// The result of a scan.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Ordered by path and line.
    pub(crate) findings: Vec<Finding>,
    /// The number of files whose content was read.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// What was not searched, and why.
    pub(crate) skipped: Vec<String>,
    /// The rule sets, and the number of rules in each.
    pub(crate) rules: BTreeMap<String, usize>,
}

/// Searches for secrets in every file below `root` that differs from what was published, with `threads` threads. A file
/// that cannot be read is a finding, too. Takes seconds.
pub(crate) fn scan(root: &Path, threads: usize) -> Scan {
    let scanner = Scanner {
        rules: Rules::load(),
        owned: contents::owned(root),
        published: Published::new(root),
        findings: Mutex::default(),
        skipped: Mutex::default(),
    };
    let amount = contents::read(root, threads, &scanner);
    let mut findings = scanner.findings.into_inner().unwrap_or_else(PoisonError::into_inner);
    findings.sort_unstable();
    // Several versions of a file may contain the same secret.
    findings.dedup();
    let mut skipped = scanner.skipped.into_inner().unwrap_or_else(PoisonError::into_inner);
    skipped.sort_unstable();
    Scan { findings, skipped, files: amount.files, bytes: amount.bytes, rules: scanner.rules.sets }
}

struct Scanner {
    rules: Rules,
    owned: Option<Owned>,
    published: Published,
    findings: Mutex<Vec<Finding>>,
    skipped: Mutex<Vec<String>>,
}

impl Scanner {
    fn found(&self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).extend(findings);
    }
}

impl Reader for Scanner {
    type Notes = Notes;

    fn wants(&self, file: &Seen<'_>, notes: &mut Notes) -> bool {
        if let Some(name) = file.member {
            // Git stores no names with committed content, so all rules apply to it.
            let is_nameless = name.is_empty();
            let path = if is_nameless { file.path.to_owned() } else { file.path.join(name) };
            let guesses = (is_nameless || place::is_packed_settings(&path)) && place::is_for_guesses(&path, self.owned.is_some());
            *notes = Notes::new(&self.rules, &path, guesses);
            return true;
        }
        let installed = |path: &Path| self.owned.as_ref().and_then(|owned| owned.installed(path));
        let is_compiled = || contents::source_of(file.path).is_some_and(|source| installed(&source).is_some());
        let is_known = file.path == Path::new(BINARY) || place::is_of_cpython(&file.path.to_string_lossy());
        if is_known || place::is_as_a_package_brought_it(file.modified, installed(file.path)) || is_compiled() {
            return false;
        }
        *notes = Notes::new(&self.rules, file.path, place::is_for_guesses(file.path, self.owned.is_some()));
        true
    }

    fn take(&self, _: &Seen<'_>, part: &Part<'_>, notes: &mut Notes) {
        judge::judge(&self.rules, part, notes);
    }

    fn end(&self, file: &Seen<'_>, notes: Notes) {
        let mut findings = notes.findings(&self.rules, file);
        // Only checked for files with findings, because it reads another file again.
        if findings.is_empty() || self.published.is_compiled(file.path) {
            return;
        }
        match self.published.holds(file.path) {
            Some(By::Digest) => return,
            // A file time is not enough to ignore what is certainly a secret, except where examples of
            // secrets are shown.
            Some(By::Time) if place::is_shown(place::in_its_root(&file.path.to_string_lossy())) => return,
            Some(By::Time) => findings.retain(|finding| !self.rules.guesses(&finding.rule)),
            None => {}
        }
        self.found(findings);
    }

    fn skipped(&self, path: &Path, why: String) {
        if self.published.holds(path).is_none() {
            let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
            skipped.push(format!("{} was not searched for secrets: {why}", path.display()));
        }
    }

    fn failed(&self, path: &Path, error: &io::Error) {
        self.found([Finding {
            path: path.to_owned(),
            line: None,
            rule: "unreadable".into(),
            says: format!("cannot be searched for secrets: {error}"),
            hint: "run `ingot seal` as root, and check the disk for errors".into(),
        }]);
    }
}
