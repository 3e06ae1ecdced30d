//! `--release`: run another release on this instance than the one it was launched with.
//!
//! The release is a layer on top of user data, with `values.release` and `values.release_sha256`, kept for this
//! instance alone in `/var/lib/ingot/instances/ID/release.yaml`. A boot that requests a release has the layer in
//! memory. It writes the file when the steps have succeeded, before any signal is sent; until then the previous release
//! is in force, and a reboot in between returns to it. In a warm pool only a part of the document has run, so nothing
//! is kept there. Nothing is changed until the bundles of the release have been downloaded and verified:
//! [`put_release_first`](Plan::put_release_first).
//!
//! Of several requests, the last one wins: a request that waited for the lock is dropped if a
//! later one has changed this instance in the meantime.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::aws::Identity;
use crate::boot::in_hand::{Asked, InHand};
use crate::boot::state::Boot;
use crate::boot::stop::Stop;
use crate::boot::wanted::Wanted;
use crate::document::error::{DocumentError, Mistake, Sources};
use crate::document::source::Layers;
use crate::execute::{Execution, publish};
use crate::failure::Explanation;
use crate::host::{Attributes, HostError, state};
use crate::json::of_bytes;
use crate::plan::{Known, OfRelease, Plan};
use crate::report::{Outcome, ReleaseReport, Report, StepReport, Trouble};
use crate::step::Phase;
use crate::steps::install::staged;

/// The last request that changed this instance. Kept in memory: a reboot ends the processes
/// whose requests it is compared with.
const LAST: &str = "/run/ingot/release.json";

/// The file that keeps an instance's release, as a layer.
const FILE: &str = "release.yaml";

/// The longest layer that is read, in bytes. Those that ingot writes have a few lines.
const LIMIT: u64 = 64 << 10;

/// How long the disk may take: the caller waits for the end of the boot.
const WRITTEN_WITHIN: Duration = Duration::from_secs(20);

/// The last request that changed this instance.
#[derive(Serialize, Deserialize)]
struct Last {
    boot_id: String,
    asked_us: u64,
    release: String,
    is_kept: bool,
}

impl Boot {
    /// Drops a request if a later one has changed this instance. Called with the lock held.
    pub(super) async fn is_still_wanted(&self) -> Result<(), Stop> {
        let Some(asked) = &self.request.release else { return Ok(()) };
        let boot_id = self.recorder.report().boot_id.clone();
        let found = self.ground.host.files.read(Path::new(LAST), LIMIT).await.ok().flatten();
        let last = found.and_then(|bytes| of_bytes::<Last>(&bytes).ok());
        let Some(last) = last.filter(|last| last.boot_id == boot_id && last.asked_us > microseconds(asked)) else { return Ok(()) };
        let then = if last.is_kept { "is in force" } else { "failed after it had changed this instance" };
        let message = format!("{} was requested after {}, and {then}", last.release, asked.wanted);
        Err(Stop::Superseded(Explanation::new(message, Some(asked.wanted.again()))))
    }

    /// Remembers a request that found everything in place already: it still counts as the last one.
    pub(super) async fn remember_request(&self) {
        if let (Some(asked), Some((_, wanted, _))) = (&self.request.release, self.in_hand()) {
            self.write_last(asked, &wanted, true).await;
        }
    }

    /// Adds the layer of the requested release or, if none is requested, of the release in force.
    pub(super) async fn add_release(&self, layers: &mut Layers, identity: &mut Option<Identity>) -> Result<(), Stop> {
        let asked = self.request.release.as_ref().map(|asked| asked.wanted.clone());
        // The file is in a directory named after the instance.
        let is_unknown = self.dmi.get().cloned().flatten().is_none() && identity.is_none();
        if is_unknown && (asked.is_some() || self.is_any_kept().await?) {
            *identity = Some(self.cloud().metadata().identity().await?);
        }
        let path = state::directory(&self.id(identity.as_ref()).await).join(FILE);
        let kept = self.ground.host.files.read(&path, LIMIT).await?;
        let former = match kept.map(|bytes| Wanted::of_layer(&bytes)) {
            None => Some(Wanted::Launched),
            Some(former) => former,
        };
        let wanted = match (asked, &former) {
            (Some(asked), _) => asked,
            (None, Some(former)) => former.clone(),
            (None, None) => return Err(damaged(&path)),
        };
        let in_force = former.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        if self.request.release.is_some() || wanted != Wanted::Launched {
            let release = ReleaseReport { wanted: wanted.to_string(), in_force, not_kept: None };
            self.recorder.amend(|report| report.release = Some(release));
        }
        let goes_back_to = match &former {
            Some(former) if *former != wanted => Some(former.in_force(layers)),
            _ => None,
        };
        if let Some(layer) = wanted.layer() {
            layers.add(&path.display().to_string(), &layer);
            self.keep_signals(layers);
        }
        *self.release.borrow_mut() = Some(InHand { path, wanted, bundles: Vec::new(), goes_back_to, is_kept: Some(false) });
        Ok(())
    }

    /// Whether a release is kept for any instance: this one, or one whose disk this was before.
    async fn is_any_kept(&self) -> Result<bool, HostError> {
        let files = &self.ground.host.files;
        for instance in files.list(Path::new(state::INSTANCES)).await? {
            if files.stat(&state::directory(&instance).join(FILE)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs the bundles of a requested release before every other change. `known` is what the whole document refers to.
    pub(super) fn put_release_first(&self, plan: &mut Plan, known: Known) -> Result<(), Stop> {
        let Some(asked) = &self.request.release else { return Ok(()) };
        let OfRelease { bundles, known: here } = plan.put_release_first();
        if let Some(in_hand) = &mut *self.release.borrow_mut() {
            in_hand.bundles = bundles;
        }
        // `launched` needs no reference to `values.release`: user data alone says what it is.
        if asked.wanted == Wanted::Launched {
            return Ok(());
        }
        let wanted = &asked.wanted;
        let message = match (known.is_named || here.is_named, known.is_verified || here.is_verified) {
            (true, true) => return Ok(()),
            (false, _) => format!("no step refers to values.release: `--release {wanted}` would change nothing"),
            (true, false) => format!("no step refers to values.release_sha256: `--release {wanted}` would not be verified"),
        };
        let hint =
            "name both in the bundle, as in `s3: \"s3://BUCKET/{{values.release}}.tar.zst\"` and `sha256: \"{{values.release_sha256}}\"`";
        Err(Stop::Release(mistake(message, hint)))
    }

    /// Makes the execution keep the requested release once the steps have succeeded.
    pub(super) fn keep_release_with<'a>(&'a self, execution: &mut Execution<'a>) {
        if self.request.release.is_some() && self.world().phase == Phase::Serve {
            execution.before_told(Box::pin(self.keep_release()));
        }
    }

    /// Keeps the requested release if the steps have succeeded: from here on it is the one in force.
    async fn keep_release(&self) {
        // Signals are not among the failures: they have not been sent yet, and may be required.
        let has_failed = |step: &StepReport| step.required && matches!(step.outcome, Outcome::Failed | Outcome::Skipped);
        if self.recorder.report().steps.iter().any(has_failed) {
            return;
        }
        let Some((path, wanted, missing)) = self.in_hand() else { return };
        self.mark_kept(None);
        let kept = match missing {
            Some(bundle) => {
                let message = format!("{bundle} failed and is `required: false`: the release is incomplete");
                Err(Explanation::new(message, Some(format!("see with `ingot status` why {bundle} failed, then {}", wanted.again()))))
            }
            None => tokio::select! {
                biased;
                kept = self.write_release(&path, &wanted) => kept.map_err(|error| Explanation::of(&error)),
                () = self.clock().sleep(WRITTEN_WITHIN) => {
                    return self.not_known(&wanted, &format!("the disk has not answered for {WRITTEN_WITHIN:?}"));
                }
            },
        };
        match kept {
            Ok(()) => {
                let wanted = wanted.to_string();
                self.recorder
                    .amend(|report| report.release = Some(ReleaseReport { wanted: wanted.clone(), in_force: wanted, not_kept: None }));
                self.mark_kept(Some(true));
            }
            Err(why) => {
                let hint = why.hint.clone().or_else(|| Some(format!("correct the cause, then {}", wanted.again())));
                let message = format!("{wanted} is not kept; a reboot returns to the previous release: {}", why.message);
                self.amend_error(&Explanation { message, hint, ..why });
            }
        }
    }

    /// Reports what became of the requested release, and remembers the request if it has changed this instance.
    pub(super) async fn release_ended(&self) {
        let Some(asked) = &self.request.release else { return };
        let Some((_, wanted, missing)) = self.in_hand() else { return };
        let is_kept = self.release.borrow().as_ref().and_then(|in_hand| in_hand.is_kept);
        if self.world().phase == Phase::Warm {
            let why =
                format!("it is not kept, because this instance is in a warm pool: {} once the instance is in service", wanted.again());
            let amend = |release: &mut ReleaseReport| release.not_kept = Some(why.clone());
            return self.recorder.amend(|report| report.release.iter_mut().for_each(amend));
        }
        let is_told = self.recorder.report().error.is_some();
        if !is_told && is_kept.is_none() {
            self.not_known(&wanted, "the boot was stopped while this was being written");
        } else if !is_told && is_kept == Some(false) && !self.recorder.report().has_failed() {
            let message = format!("{wanted} is not kept; a reboot returns to the previous release: the boot was stopped too early");
            self.amend_error(&Explanation::new(message, Some(wanted.again())));
        }
        let has_changed = |report: &Report| report.steps.iter().any(|step| step.address.kind() != "signals" && !step.changes.is_empty());
        if missing.is_some() || is_kept != Some(true) && !has_changed(&self.recorder.report()) {
            return;
        }
        self.write_last(asked, &wanted, is_kept == Some(true)).await;
    }

    async fn write_last(&self, asked: &Asked, wanted: &Wanted, is_kept: bool) {
        let boot_id = self.recorder.report().boot_id.clone();
        let last = Last { boot_id, asked_us: microseconds(asked), release: wanted.to_string(), is_kept };
        let content = serde_json::to_vec(&last).expect("it is plain data");
        tokio::select! {
            biased;
            written = publish(Path::new(LAST), &content, &self.ground.host) => {
                if let Err(error) = written {
                    self.note(&Explanation::of(&error).to_string());
                }
            }
            () = self.clock().sleep(WRITTEN_WITHIN) => self.note(&format!("{LAST}: the disk has not answered for {WRITTEN_WITHIN:?}")),
        }
    }

    /// The path at which the requested release is kept, the release itself, and the bundle of it
    /// that is missing, if any.
    fn in_hand(&self) -> Option<(PathBuf, Wanted, Option<Address>)> {
        let in_hand = self.release.borrow();
        let in_hand = in_hand.as_ref()?;
        Some((in_hand.path.clone(), in_hand.wanted.clone(), self.missing(&in_hand.bundles)))
    }

    fn mark_kept(&self, is_kept: Option<bool>) {
        if let Some(in_hand) = &mut *self.release.borrow_mut() {
            in_hand.is_kept = is_kept;
        }
    }

    fn not_known(&self, wanted: &Wanted, why: &str) {
        let message = format!("it is not known whether {wanted} is kept: {why}");
        self.amend_error(&Explanation::new(message, Some(wanted.again())));
    }

    fn amend_error(&self, why: &Explanation) {
        self.recorder.amend(|report| report.error = Some(Trouble::from(why)));
    }

    /// A bundle of the release that failed or did not run.
    fn missing(&self, bundles: &[Address]) -> Option<Address> {
        let report = self.recorder.report();
        let is_bad = |outcome| !matches!(outcome, Outcome::Unchanged | Outcome::Changed);
        let bad = report.steps.iter().find(|step| bundles.contains(&step.address) && is_bad(step.outcome));
        bad.map(|step| step.address.clone())
    }

    async fn write_release(&self, path: &Path, wanted: &Wanted) -> Result<(), HostError> {
        let host = &self.ground.host;
        let (uid, gid) = host.users.own();
        if let Some(directory) = path.parent() {
            host.files.create_directory(directory, 0o700).await?;
        }
        let content = wanted.layer().unwrap_or_else(|| Wanted::NO_LAYER.to_owned());
        host.files.stage(&staged(path), content.as_bytes(), Attributes { mode: 0o600, uid, gid }).await?;
        host.files.install(&staged(path), path).await?;
        match wanted {
            // A removed file may reappear after a power failure. It was overwritten first, so what
            // reappears means the same.
            Wanted::Launched => host.files.remove(path).await,
            Wanted::Release { .. } => Ok(()),
        }
    }
}

/// The kept file was not written by ingot.
fn damaged(path: &Path) -> Stop {
    let message = format!("{} is not a release layer written by ingot", path.display());
    Stop::Document(mistake(message, "name the release: `ingot boot --release NAME@sha256:DIGEST`, or `--release launched`"))
}

fn mistake(message: String, hint: &str) -> DocumentError {
    DocumentError::new(vec![Mistake::of_a_file(message, Some(hint.into()))], Sources::new())
}

/// When a request was made, in microseconds since the kernel started.
fn microseconds(asked: &Asked) -> u64 {
    u64::try_from(asked.at.as_micros()).unwrap_or(u64::MAX)
}
