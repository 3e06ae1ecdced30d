//! Decides which instances get a release in place, and which are taken back. Pure.
//!
//! Two tags show the progress of an instance: `ingot:deployment` is the number of the deployment from the moment the
//! release may be sent to it, and `ingot:release` is the release once it runs. The direction of a deployment is stored
//! in its record, so a process that takes it over goes the same way.

use std::time::Duration;

use jiff::SignedDuration;

use super::course::Standing;
use super::record::{Record, Release};
use crate::release::name::Name;

/// Maximum number of instances that a command is sent to.
///
/// Source: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html>
pub(super) const LARGEST_BATCH: u32 = 50;

/// Time limit of an instance's boot if the stack has none.
const LONGEST_BOOT: Duration = Duration::from_secs(60 * 60);

/// Stack parameters that may change. Any other may affect the launch template, which running instances never see.
const MAY_DIFFER: [&str; 4] = ["MaxSize", "MinSize", "Release", "ReleaseSha256"];

/// An instance of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standee {
    pub(crate) id: String,
    /// LifecycleState, such as `InService`.
    pub(crate) lifecycle: String,
    pub(crate) deployment: Option<u64>,
    pub(crate) release: Option<Name>,
}

impl Standee {
    /// Returns whether it is in service.
    pub(crate) fn serves(&self) -> bool {
        self.lifecycle == "InService"
    }

    /// Returns whether it is on its way into service.
    pub(crate) fn comes(&self) -> bool {
        self.lifecycle.starts_with("Pending")
    }

    /// Returns whether it runs the release of a deployment.
    pub(crate) fn has(&self, record: &Record) -> bool {
        self.deployment == Some(record.number) && self.runs(&record.goal.release.name)
    }

    /// Returns whether a deployment has reached it and may have changed it. `before` is what it ran before.
    pub(crate) fn is_reached(&self, record: &Record, before: &Before) -> bool {
        let release = &record.goal.release.name;
        self.deployment == Some(record.number) || (self.runs(release) && *release != before.release.name)
    }

    fn runs(&self, release: &Name) -> bool {
        self.release.as_ref() == Some(release)
    }
}

/// Direction of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heading {
    On,
    /// Back, because an operator aborted it.
    Undone,
    /// Back, because it has failed.
    Failed,
}

impl Heading {
    const fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Undone => "undo",
            Self::Failed => "back",
        }
    }
}

/// The latest state of the instances according to the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) heading: Heading,
    /// The instances that may still be about to receive the release.
    pub(crate) sent: Vec<String>,
}

impl Turn {
    pub(crate) fn of(record: &Record) -> Self {
        let token = record.ordered.as_ref().map_or("", |ordered| ordered.token.as_str());
        let (head, sent) = token.split_once(':').unwrap_or((token, ""));
        let found = [Heading::Undone, Heading::Failed].into_iter().find(|heading| head == named(*heading, record));
        let sent = sent.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        Self { heading: found.unwrap_or(Heading::On), sent }
    }

    pub(crate) fn token(&self, record: &Record) -> String {
        format!("{}:{}", named(self.heading, record), self.sent.join(","))
    }
}

fn named(heading: Heading, record: &Record) -> String {
    format!("ingot-{}-{}-{}", record.number, heading.word(), record.attempt)
}

/// The comment of a command, which identifies it.
pub(crate) fn comment(record: &Record) -> String {
    named(Heading::On, record)
}

/// What the instances ran before the deployment, according to the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Before {
    pub(crate) number: u64,
    pub(crate) release: Release,
}

impl Before {
    pub(crate) fn of(standing: &Standing) -> Option<Self> {
        let parsed = |name: &str| standing.parameter(name);
        let release = Release { name: parsed("Release")?.parse().ok()?, sha256: parsed("ReleaseSha256")?.parse().ok()? };
        Some(Self { number: parsed("Deployment")?.parse().ok()?, release })
    }
}

/// Batch size and time limit per instance, according to the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) batch: usize,
    pub(crate) patience: Duration,
}

impl Pace {
    pub(crate) fn of(standing: &Standing) -> Self {
        let batch = standing.parameter("BatchSize").and_then(|size| size.parse::<u32>().ok()).unwrap_or(1);
        let patience = standing.parameter("PauseTime").and_then(|time| time.parse::<SignedDuration>().ok());
        let patience = patience.and_then(|time| Duration::try_from(time).ok()).unwrap_or(LONGEST_BOOT);
        Self { batch: batch.clamp(1, LARGEST_BATCH) as usize, patience }
    }
}

/// Returns the next instances to send the release to, starting with those that may already have received it.
pub(crate) fn next_on(standees: &[Standee], record: &Record, pace: Pace) -> Vec<String> {
    let mut left: Vec<&Standee> = standees.iter().filter(|one| one.serves() && !one.has(record)).collect();
    left.sort_by_key(|one| (one.deployment != Some(record.number), &one.id));
    left.into_iter().take(pace.batch).map(|one| one.id.clone()).collect()
}

/// Returns the next instances to take back to the previous release.
pub(crate) fn next_back(standees: &[Standee], record: &Record, before: &Before, pace: Pace) -> Vec<String> {
    let reached = standees.iter().filter(|one| one.serves() && one.is_reached(record, before));
    reached.take(pace.batch).map(|one| one.id.clone()).collect()
}

/// Returns the changed parameters that an in-place deployment cannot apply.
pub(crate) fn beyond(differing: &[String]) -> Vec<&str> {
    differing.iter().map(String::as_str).filter(|name| !MAY_DIFFER.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::tests::record;

    fn standee(id: &str, lifecycle: &str, deployment: u64, release: &str) -> Standee {
        let (id, lifecycle, release) = (id.into(), lifecycle.into(), Some(release.parse().unwrap()));
        Standee { id, lifecycle, deployment: Some(deployment), release }
    }

    const PACE: Pace = Pace { batch: 2, patience: LONGEST_BOOT };

    #[test]
    fn reached_instances_come_first() {
        // Deployment 7 deploys v1.
        let standees = [
            standee("i-1", "InService", 7, "v1"),
            standee("i-2", "InService", 6, "v0"),
            standee("i-3", "InService", 6, "v0"),
            standee("i-4", "InService", 7, "v0"),
            standee("i-5", "Pending:Wait", 6, "v0"),
            standee("i-6", "Terminating:Wait", 6, "v0"),
        ];
        assert_eq!(next_on(&standees, &record(), PACE), ["i-4", "i-2"]);
        let back = |standees: &[Standee], before: &str| {
            let release = Release { name: before.parse().unwrap(), sha256: record().goal.release.sha256 };
            next_back(standees, &record(), &Before { number: 6, release }, PACE)
        };
        assert_eq!(back(&standees, "v0"), ["i-1", "i-4"]);
        assert_eq!(next_on(&standees[..1], &record(), PACE), [""; 0]);
        assert_eq!(back(&standees[1..3], "v0"), [""; 0]);
        // Its tags were set by another process that had not seen the deployment.
        let tagged = [standee("i-1", "InService", 6, "v1")];
        assert_eq!(back(&tagged, "v0"), ["i-1"]);
        assert_eq!(back(&tagged, "v1"), [""; 0], "it was on this release before");
    }

    #[test]
    fn the_record_holds_the_direction() {
        let at = "2026-11-30T23:01:00Z".parse().unwrap();
        for heading in [Heading::On, Heading::Undone, Heading::Failed] {
            for sent in [vec![], vec!["i-1".to_owned(), "i-2".to_owned()]] {
                let turn = Turn { heading, sent };
                assert_eq!(Turn::of(&record().order(&turn.token(&record()), at)), turn);
            }
        }
        let on = Turn { heading: Heading::On, sent: vec![] };
        assert_eq!(Turn::of(&record()), on);
        assert_eq!(Turn::of(&record().order("ingot-7-release-ann-1", at)), on);
        assert_eq!(Turn::of(&record().order("ingot-6-undo-ann-1:", at)), on, "of another deployment");
    }

    #[test]
    fn the_stack_holds_the_previous_release_and_the_batch_size() {
        let sha256 = "0".repeat(64);
        let pairs = [("Deployment", "6"), ("Release", "v0"), ("ReleaseSha256", &sha256), ("BatchSize", "3"), ("PauseTime", "PT17M")];
        let parameters = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let standing = Standing { parameters, ..Standing::default() };
        let before = Before::of(&standing).unwrap();
        assert_eq!((before.number, before.release.name.to_string()), (6, "v0".to_owned()));
        assert_eq!(Pace::of(&standing), Pace { batch: 3, patience: Duration::from_secs(17 * 60) });
        assert_eq!((Before::of(&Standing::default()), Pace::of(&Standing::default()).batch), (None, 1));
    }

    #[test]
    fn nothing_but_the_release_and_the_sizes_may_differ() {
        let differing = ["Document", "Image", "MaxSize", "Release", "ReleaseSha256"].map(str::to_owned);
        assert_eq!(beyond(&differing), ["Document", "Image"]);
    }
}
