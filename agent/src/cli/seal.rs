//! `ingot seal`: the last command to run on a machine before it becomes an image.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::output::{self, data, talk};
use crate::cli::root::Root;
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::clock::SystemClock;
use crate::host::environment::Environment;
use crate::host::files::DiskFiles;
use crate::host::{HostError, lock};
use crate::image::builder;
use crate::image::scrub::Scrubber;
use crate::seal::{self, Scrub, Sealed, Sealing, attestation};

/// Check that this machine is fit to be imaged: no secrets, no machine-specific state, and a working boot setup
///
/// Prints each finding with path, line and rule, never with a secret. Without findings, it writes the attestation
/// /etc/ingot/attestation.json. /etc/ingot/seal.yaml allows what is meant to be in the image.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove what is left of this machine: host keys, IDs, logs, histories, caches, and the keys of the launch
    #[arg(long)]
    scrub: bool,
    /// List what --scrub would remove, and what would still be found, and change nothing
    #[arg(long, requires = "scrub")]
    dry_run: bool,
    #[command(flatten)]
    root: Root,
}

pub(crate) async fn run(args: Args, json: bool, environment: &Environment) -> Exit {
    let clock = SystemClock::start();
    let root = args.root.root.unwrap_or_else(|| PathBuf::from("/"));
    let live = builder::is_this_machine(&root);
    let files = DiskFiles::new(Some(root.clone()));
    let scrub = match (args.scrub, args.dry_run) {
        (false, _) => Scrub::Keep,
        (true, true) => Scrub::List,
        (true, false) => Scrub::Remove,
    };
    match objection(&root, live, scrub == Scrub::Remove, &files).await {
        Ok(None) => {}
        Ok(Some(message)) => {
            talk(&message);
            return Exit::Usage;
        }
        Err(error) => return failed(&error),
    }
    let allow = match seal::allow_list(&files).await {
        Ok(allow) => allow,
        Err(error) => {
            talk(&error.told());
            return Exit::Document;
        }
    };
    let threads = builder::threads();
    let sealing = Sealing { root: &root, live, scrub, threads, build: &environment.build, clock: &clock, allow: &allow };
    match sealing.run().await {
        Ok(sealed) => {
            let is_dry = scrub == Scrub::List;
            if json {
                output::json(&as_json(&sealed, is_dry));
            } else {
                data(&as_text(&sealed, is_dry));
            }
            if sealed.findings.is_empty() { Exit::Done } else { Exit::Failed }
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &HostError) -> Exit {
    talk(&Explanation::of(error).to_string());
    Exit::Failed
}

/// Why this machine or root cannot, or should not, be sealed with these options.
async fn objection(root: &Path, live: bool, scrub: bool, files: &DiskFiles) -> Result<Option<String>, HostError> {
    if !live {
        return Ok(None);
    }
    if !builder::is_root() {
        return Ok(Some(
            "only root can read all of this machine\n  hint: run this command with sudo, or name another image with --root".into(),
        ));
    }
    if let Some(holder) = lock::holder(Path::new(lock::BOOT), files).await? {
        let who = holder.pid.map_or_else(String::new, |pid| format!(", process {pid}"));
        return Ok(Some(format!("ingot is booting this machine{who}\n  hint: wait for it to finish with `ingot status --wait`")));
    }
    let refused = if scrub { builder::objection(&Scrubber::open(root)?)? } else { None };
    Ok(refused.map(|why| {
        format!("this machine is not scrubbed: {why}\n  hint: run this command on the machine that becomes the image, or name an image with --root")
    }))
}

fn as_json(sealed: &Sealed, is_dry: bool) -> serde_json::Value {
    let removed = if is_dry { "would_remove" } else { "removed" };
    json!({
        "sealed": sealed.attestation.is_some(),
        "findings": sealed.findings,
        "notes": sealed.notes,
        removed: sealed.removed.iter().map(|finding| json!({ "path": finding.path, "rule": finding.rule, "says": finding.says })).collect::<Vec<_>>(),
        "allowed": sealed.allowed,
        "attestation": sealed.attestation,
    })
}

fn as_text(sealed: &Sealed, is_dry: bool) -> String {
    let mut text = String::new();
    for finding in &sealed.removed {
        text.push_str(&format!("{} {finding}\n", if is_dry { "would remove" } else { "removed" }));
    }
    for finding in &sealed.findings {
        text.push_str(&format!("{finding}\n  hint: {}\n", finding.hint));
    }
    for note in &sealed.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    let allowed = match sealed.allowed.len() {
        0 => String::new(),
        many => format!(", {many} allowed"),
    };
    text.push_str(&match sealed.findings.len() {
        0 if is_dry => format!("would be sealed: nothing else was found{allowed}\n"),
        0 => format!(
            "sealed: {} files, {} read in {:.1} s, nothing found{allowed}; attestation {}\n",
            grouped(sealed.files),
            size(sealed.bytes),
            sealed.took.as_secs_f64(),
            attestation::PATH
        ),
        1 => format!("not sealed: 1 finding{allowed}\n"),
        many => format!("not sealed: {many} findings{allowed}\n"),
    });
    text
}

/// A number with a comma after each group of thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes / 1000),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!((grouped(7), grouped(1234), grouped(48_213_000)), ("7".into(), "1,234".into(), "48,213,000".into()));
        assert_eq!((size(1200), size(1_900_000_000)), ("1 kB".into(), "1.9 GB".into()));
    }
}
