//! Checks that an image contains no secrets and nothing of the machine it was made on, and that its boot setup works.
//!
//! | file | what |
//! |---|---|
//! | `finding` | what is wrong with an image, and what is allowed and why |
//! | `allow` | the allow list: read, and matched with findings |
//! | `traces` | what is left of the machine the image was made on, and how it is removed |
//! | `secrets` | private keys, tokens and passwords in every file that is not from a package, by a rule set |
//! | `setup` | ingot itself, its layers, and the units that they start |
//! | `attestation` | the attestation of a sealed image |
//!
//! Nothing here reads files directly: [`image::contents`](crate::image::contents) and
//! [`image::scrub`](crate::image::scrub) do.

pub(crate) mod allow;
pub(crate) mod attestation;
pub(crate) mod finding;
pub(crate) mod secrets;
mod setup;
mod traces;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::document::error::DocumentError;
use crate::failure::{Explanation, Failure};
use crate::gather::Gather as _;
use crate::host::environment::Build;
use crate::host::files::DiskFiles;
use crate::host::{Attributes, Clock, Files as _, HostError};
use crate::image::scrub::Scrubber;
use crate::sorting::Sort as _;

use self::attestation::{Attestation, Evidence};
use self::finding::{AllowList, Allowed, Finding};
use self::secrets::Scan;
use self::setup::Setup;

/// The most files that are named as not searched.
const SKIPPED: usize = 20;

/// Traces that are secrets themselves, with the rule that would report the same file for the secret.
const SECRET_TRACES: [(&str, &str); 3] = [("ssh-host-key", "private-key"), ("ssh-host-key", "keystore"), ("builder-id", "secret-file")];

/// What to do with traces of the build machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scrub {
    /// Report them as findings.
    Keep,
    /// List what would be removed, and change nothing.
    List,
    Remove,
}

/// The options of one sealing.
pub(crate) struct Sealing<'a> {
    /// The root directory of the image.
    pub(crate) root: &'a Path,
    /// Whether the image is the machine on which this process runs.
    pub(crate) live: bool,
    /// What to do with traces that can be removed safely.
    pub(crate) scrub: Scrub,
    pub(crate) threads: usize,
    pub(crate) build: &'a Build,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) allow: &'a AllowList,
}

/// The result of a sealing.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) findings: Vec<Finding>,
    pub(crate) notes: Vec<String>,
    /// What was removed, or would be.
    pub(crate) removed: Vec<Finding>,
    /// Paths that would be removed as a whole.
    going: Vec<PathBuf>,
    /// The entries of the allow list that matched.
    pub(crate) allowed: Vec<Allowed>,
    /// The number of files that were searched for secrets, their size in bytes, and how long that took.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// `None` if there are findings.
    pub(crate) attestation: Option<Attestation>,
}

/// Reads the allow list of an image.
///
/// # Errors
///
/// If it cannot be read, or has mistakes.
pub(crate) async fn allow_list(files: &DiskFiles) -> Result<AllowList, AllowError> {
    let content = files.read(Path::new(allow::PATH), 1 << 20).await.map_err(AllowError::Read)?;
    let Some(content) = content else { return Ok(AllowList::default()) };
    AllowList::parse(&String::from_utf8_lossy(&content)).map_err(AllowError::Wrong)
}

impl Sealing<'_> {
    /// Scrubs if requested, checks everything, and writes the attestation if nothing is wrong.
    ///
    /// # Errors
    ///
    /// If something could not be checked, since then the result is not known.
    pub(crate) async fn run(&self) -> Result<Sealed, HostError> {
        let image = Scrubber::open(self.root)?;
        let files = DiskFiles::new(Some(self.root.to_owned()));
        let mut sealed = Sealed::default();
        let mut used = BTreeSet::new();
        self.traces(&image, &mut used, &mut sealed)?;
        if self.scrub == Scrub::Remove {
            self.look_again(&image, &mut sealed)?;
        }
        let begun = self.clock.elapsed();
        let scan = secrets::scan(self.root, self.threads);
        (sealed.files, sealed.bytes, sealed.took) = (scan.files, scan.bytes, self.clock.elapsed() - begun);
        let most = scan.skipped.len().min(SKIPPED);
        sealed.notes.extend(scan.skipped[..most].iter().cloned());
        if scan.skipped.len() > most {
            sealed.notes.push(format!("{} more files were not searched for secrets", scan.skipped.len() - most));
        }
        let setup = setup::check(&image, &files, self.live).await?;
        sealed.notes.extend(setup.notes.iter().cloned());
        let going = std::mem::take(&mut sealed.going);
        let is_said = |finding: &Finding| {
            let mut of_file = sealed.findings.iter().filter(|other| other.path == finding.path);
            of_file.any(|other| SECRET_TRACES.contains(&(other.rule.as_str(), finding.rule.as_str())))
        };
        let said: BTreeSet<Finding> = scan.findings.iter().filter(|finding| is_said(finding)).cloned().gather();
        let stays = |finding: &&Finding| !said.contains(*finding) && !going.iter().any(|path| finding.path.starts_with(path));
        for finding in scan.findings.iter().chain(&setup.findings).filter(stays) {
            match self.allow.covering(finding) {
                Some(entry) => drop(used.insert(entry)),
                None => sealed.findings.push(finding.clone()),
            }
        }
        sealed.findings.order();
        sealed.findings.dedup();
        for (index, entry) in self.allow.allow.iter().enumerate() {
            match used.contains(&index) {
                true => sealed.allowed.push(entry.clone()),
                false => sealed.notes.push(format!("{}: no {} finding at {}", allow::PATH, entry.rule, entry.path)),
            }
        }
        if self.scrub == Scrub::List {
            return Ok(sealed);
        }
        if sealed.findings.is_empty() {
            self.attest(&scan, &setup, &files, &mut sealed).await?;
        } else {
            // An attestation from an earlier sealing would be wrong now.
            files.remove(Path::new(attestation::PATH)).await?;
        }
        if self.scrub == Scrub::Remove && sealed.attestation.is_some() {
            sealed.notes.extend(image.discard_free_space());
        }
        Ok(sealed)
    }

    async fn attest(&self, scan: &Scan, setup: &Setup, files: &DiskFiles, sealed: &mut Sealed) -> Result<(), HostError> {
        let removed: Vec<PathBuf> = sealed.removed.iter().map(|finding| finding.path.clone()).collect();
        let evidence = Evidence { now: self.clock.now(), build: self.build, scan, setup, allowed: &sealed.allowed, removed: &removed };
        let attestation = Attestation::of(evidence, files).await?;
        write(&attestation, files).await?;
        sealed.attestation = Some(attestation);
        Ok(())
    }

    fn traces(&self, image: &Scrubber, used: &mut BTreeSet<usize>, sealed: &mut Sealed) -> Result<(), HostError> {
        for trace in traces::find::find(image)? {
            if let Some(entry) = self.allow.covering(&trace.finding) {
                used.insert(entry);
            } else if self.scrub == Scrub::Keep || !trace.is_removable() {
                sealed.findings.push(trace.finding);
            } else if self.scrub == Scrub::List {
                sealed.going.extend(trace.wholly());
                sealed.removed.extend(trace.each());
            } else if let Err(error) = trace.remove(image) {
                let Explanation { message, causes, hint, .. } = Explanation::of(&error);
                let says = std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": ");
                let hint = hint.unwrap_or_else(|| "remove it by hand, and seal again".into());
                sealed.findings.push(Finding { says, hint, ..trace.finding });
            } else {
                sealed.removed.push(trace.finding);
            }
        }
        Ok(())
    }

    /// Reports what was removed but exists again. Logs and temporary files are exempt, because they
    /// may be written at any time.
    fn look_again(&self, image: &Scrubber, sealed: &mut Sealed) -> Result<(), HostError> {
        for trace in traces::find::find(image)? {
            let gone = |removed: &Finding| (&removed.path, &removed.rule) == (&trace.finding.path, &trace.finding.rule);
            if ["log", "temporary"].contains(&trace.finding.rule.as_str()) || !sealed.removed.iter().any(gone) {
                continue;
            }
            if !trace.is_removable() || self.allow.covering(&trace.finding).is_some() {
                continue;
            }
            let says = format!("{}, which came back after it was removed", trace.finding.says);
            sealed.findings.push(Finding { says, hint: "stop what writes it, and seal again".into(), ..trace.finding });
        }
        Ok(())
    }
}

async fn write(attestation: &Attestation, files: &DiskFiles) -> Result<(), HostError> {
    let path = Path::new(attestation::PATH);
    let mut text = serde_json::to_vec_pretty(attestation).unwrap_or_default();
    text.push(b'\n');
    files.create_directory(Path::new("/etc/ingot"), 0o755).await?;
    let staged = path.with_file_name(".ingot-staged.attestation.json");
    let (uid, gid) = crate::image::builder::own();
    files.stage(&staged, &text, Attributes { mode: 0o644, uid, gid }).await?;
    files.install(&staged, path).await
}

/// Why an allow list cannot be used.
#[derive(Debug)]
pub(crate) enum AllowError {
    Read(HostError),
    Wrong(DocumentError),
}

impl AllowError {
    /// The error as text for the user.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Read(error) => Explanation::of(error as &dyn Failure).to_string(),
            Self::Wrong(error) => error.to_string(),
        }
    }
}
