//! The report of one boot: every step's outcome, times, attempts and errors.
//!
//! Kept up to date on disk during the boot, so that a crash leaves it readable. It contains no secrets by construction:
//! only addresses, lines of changes, and messages, never content. [`screen`] shows it to people.

pub(crate) mod console;
pub(crate) mod event;
pub(crate) mod journal;
pub(crate) mod marks;
pub(crate) mod screen;
pub(crate) mod timeline;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::failure::Explanation;
use crate::host::startup::Startup;
use crate::json::{closed, of_bytes};
use crate::sorting::Sort as _;
use crate::step::Phase;
use crate::step::amount::Amount;

/// The path of the report, below `--root`.
pub(crate) const REPORT: &str = "/run/ingot/report.json";

/// The version of the report's format.
const VERSION: u32 = 1;

/// The report of one boot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Version of this format.
    pub(crate) version: u32,
    /// Version of ingot that wrote the report.
    pub(crate) ingot: String,
    pub(crate) outcome: BootOutcome,
    /// The instance id, once it is known.
    pub(crate) instance: Option<String>,
    /// The kernel's boot id: reports from the same boot of the operating system share it.
    pub(crate) boot_id: String,
    pub(crate) pid: u32,
    /// RFC 3339, on the wall clock, which may be wrong this early.
    pub(crate) started_at: String,
    pub(crate) finished_at: Option<String>,
    /// Milliseconds from the start of the process until now or, once the boot is over, until its
    /// end. On the monotonic clock.
    pub(crate) elapsed_ms: f64,
    /// SHA-256 of the document's layers, in order.
    pub(crate) document: Option<String>,
    /// Whether there is no document at all.
    #[serde(skip)]
    pub(crate) undocumented: bool,
    /// The phase of the document that ran, if the document has phases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) phase: Option<Phase>,
    /// The release, if one was requested, or if the one in force is not that of the launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<ReleaseReport>,
    /// Steps of the document that are not part of the boot, because their `when:` is false.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_due: Vec<Address>,
    /// What the boot is waiting for before its first step.
    pub(crate) waiting: Option<String>,
    /// What went wrong before the first step.
    pub(crate) error: Option<Trouble>,
    /// What an operator should know, though it stopped nothing.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    /// Milliseconds at which the phases before the steps ended: `user_data`, `plan`.
    #[serde(default)]
    pub(crate) phases_ms: BTreeMap<String, f64>,
    #[serde(default)]
    pub(crate) steps: Vec<StepReport>,
    /// The requests to IMDS and AWS, once the boot is over.
    #[serde(default)]
    pub(crate) exchanges: Vec<ExchangeReport>,
    /// Milliseconds at which the boot reached each mark, once it is over: see [`marks`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) marks_ms: BTreeMap<String, f64>,
    /// How the machine started this process, if systemd reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) startup: Option<Startup>,
}

/// The release that a boot was for: NAME@sha256:DIGEST, or `launched`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReleaseReport {
    /// The release of this boot.
    pub(crate) wanted: String,
    /// The release of the next boot.
    pub(crate) in_force: String,
    /// Why the two differ although the boot succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_kept: Option<String>,
}

impl fmt::Display for ReleaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wanted == self.in_force {
            true => f.write_str(&self.wanted),
            false => write!(f, "{} is in force, {} was requested", self.in_force, self.wanted),
        }?;
        self.not_kept.as_ref().map_or(Ok(()), |why| write!(f, "; {why}"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BootOutcome {
    Running,
    Done,
    /// A step failed that was not required.
    Degraded,
    Failed,
    /// Nothing was done, because there is neither a layer in the image nor user data.
    #[serde(rename = "no document")]
    NoDocument,
}

/// A failure, as it is stored in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
    /// AWS or IMDS did not answer at all.
    #[serde(default)]
    pub(crate) unreachable: bool,
}

impl From<&Explanation> for Trouble {
    fn from(explanation: &Explanation) -> Self {
        let Explanation { message, causes, hint, unreachable, .. } = explanation.clone();
        Self { message, causes, hint, unreachable }
    }
}

/// One step of one boot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepReport {
    pub(crate) address: Address,
    pub(crate) outcome: Outcome,
    pub(crate) required: bool,
    /// Whether the boot does not wait for this step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) beside: bool,
    /// Steps that it waited for.
    pub(crate) needs: Vec<Address>,
    /// Whether it also waited for every step that is not itself such a step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) after_rest: bool,
    /// Milliseconds from the start of the process.
    pub(crate) started_ms: Option<f64>,
    pub(crate) finished_ms: Option<f64>,
    pub(crate) attempts: u32,
    /// The changes it made, or was making when it failed, one line each.
    pub(crate) changes: Vec<String>,
    /// What it is waiting for, while it runs.
    pub(crate) waiting: Option<String>,
    /// The progress of a step that is reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<Amount>,
    pub(crate) error: Option<Trouble>,
    /// The step whose failure kept this one from running.
    pub(crate) skipped_for: Option<Address>,
    /// The times when it was idle, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) idle: Vec<Idle>,
    /// AWS or IMDS did not answer its last try, and another one follows: `waiting` describes it.
    #[serde(skip)]
    pub(crate) unreachable: bool,
    /// Why the last try to get what it waits for failed.
    #[serde(skip)]
    pub(crate) refusal: Option<Explanation>,
}

/// A time when a step was idle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Idle {
    /// Milliseconds from the start of the process.
    pub(crate) from_ms: f64,
    /// `None` while it lasts.
    pub(crate) to_ms: Option<f64>,
    pub(crate) kind: IdleKind,
    /// The reason, as it is shown while it lasts.
    pub(crate) why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IdleKind {
    /// Waiting for something outside: a disk, a program, a service.
    Waiting,
    /// Waiting until the next try.
    Retrying,
}

/// A request to IMDS or AWS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExchangeReport {
    /// Milliseconds from the start of the process.
    pub(crate) at_ms: f64,
    pub(crate) took_ms: Option<f64>,
    /// The AWS action, or the IMDS path.
    pub(crate) what: String,
    pub(crate) status: Option<u16>,
}

impl StepReport {
    fn is_bad(&self) -> bool {
        match self.outcome {
            Outcome::Failed | Outcome::Skipped => true,
            Outcome::Pending | Outcome::Running => !self.beside,
            Outcome::Unchanged | Outcome::Changed => false,
        }
    }

    /// Extends `why` this step was ended early with what it was waiting for, and with the reason
    /// why that did not arrive.
    pub(crate) fn cut_off(&self, why: Explanation) -> Explanation {
        let why = why.while_waiting(self.waiting.as_deref(), self.unreachable);
        let Some(refusal) = &self.refusal else { return why };
        let message = match why.message.ends_with(&refusal.message) {
            // Between two tries, the step was waiting "to try again: …".
            true => why.message,
            false => format!("{}; the last try failed: {}", why.message, refusal.message),
        };
        Explanation { message, causes: refusal.causes.clone(), hint: refusal.hint.clone().or(why.hint), ..why }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Pending,
    Running,
    Unchanged,
    Changed,
    Failed,
    Skipped,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Report {
    pub(crate) fn begin(now: jiff::Timestamp, boot_id: String) -> Self {
        Self {
            version: VERSION,
            ingot: env!("CARGO_PKG_VERSION").into(),
            outcome: BootOutcome::Running,
            instance: None,
            boot_id,
            pid: std::process::id(),
            started_at: now.to_string(),
            finished_at: None,
            elapsed_ms: 0.0,
            document: None,
            undocumented: false,
            phase: None,
            release: None,
            not_due: Vec::new(),
            waiting: None,
            error: None,
            warnings: Vec::new(),
            phases_ms: BTreeMap::new(),
            steps: Vec::new(),
            exchanges: Vec::new(),
            marks_ms: BTreeMap::new(),
            startup: None,
        }
    }

    /// Parses a report. If it is truncated, for example because of a full disk, returns the part
    /// that is left; the second value says so.
    ///
    /// # Errors
    ///
    /// If it is damaged in another way, or is not a report.
    pub(crate) fn read(bytes: &[u8]) -> serde_json::Result<(Self, bool)> {
        let error = match of_bytes(bytes) {
            Ok(report) => return Ok((report, false)),
            Err(error) => error,
        };
        // The cut may be within a character.
        let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        if !error.is_eof() && text.len() == bytes.len() {
            return Err(error);
        }
        let left = closed(text).into_iter().flatten().find_map(|text| serde_json::from_str(&text).ok());
        left.map(|report| (report, true)).ok_or(error)
    }

    /// Whether the boot can no longer succeed: a required step has failed, or something before the steps.
    pub(crate) fn has_failed(&self) -> bool {
        self.error.is_some() || self.steps.iter().any(|step| step.required && step.is_bad())
    }

    /// Closes the report: the outcome follows from the steps and from [`error`](Report::error).
    /// Background steps that have not ended do not count.
    pub(crate) fn end(&mut self, now: jiff::Timestamp, elapsed: Duration) {
        self.outcome = if self.has_failed() {
            BootOutcome::Failed
        } else if self.steps.iter().any(StepReport::is_bad) {
            BootOutcome::Degraded
        } else if self.undocumented {
            BootOutcome::NoDocument
        } else {
            BootOutcome::Done
        };
        self.waiting = None;
        self.finished_at = Some(now.to_string());
        self.elapsed_ms = milliseconds(elapsed);
    }

    /// The first failure: before the steps, or of the step that failed first.
    pub(crate) fn first_failure(&self) -> Option<(Option<&Address>, &Trouble)> {
        let before = self.error.as_ref().map(|error| (None, error));
        before.or_else(|| self.failed().first().map(|(step, error)| (Some(&step.address), *error)))
    }

    /// Every failed step: required ones first, and in the order in which they ended.
    pub(crate) fn failed(&self) -> Vec<(&StepReport, &Trouble)> {
        let mut failed: Vec<_> = self.steps.iter().filter_map(|step| Some((step, step.error.as_ref()?))).collect();
        failed.order_by(|(a, _), (b, _)| {
            (!a.required, a.finished_ms).partial_cmp(&(!b.required, b.finished_ms)).unwrap_or(std::cmp::Ordering::Equal)
        });
        failed
    }

    /// Whether the only reason for the failure of this boot is that AWS or IMDS was unreachable.
    pub(crate) fn is_unreachable(&self) -> bool {
        let failed = self.steps.iter().filter(|step| step.required).filter_map(|step| step.error.as_ref());
        let mut troubles = self.error.iter().chain(failed).peekable();
        troubles.peek().is_some() && troubles.all(|trouble| trouble.unreachable)
    }

    /// The steps that still run in the background after the boot.
    pub(crate) fn going_on(&self) -> impl Iterator<Item = &StepReport> {
        let over = self.finished_at.is_some();
        self.steps.iter().filter(move |step| over && matches!(step.outcome, Outcome::Pending | Outcome::Running))
    }

    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.steps.iter().filter(|step| step.outcome == outcome).count()
    }
}

/// Milliseconds, with a precision of microseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
