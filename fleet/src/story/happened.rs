//! What happened, as reported by each source.

use jiff::Timestamp;
use serde::Serialize;

use super::activity::Activity;
use crate::deployment::course::Operation;
use crate::deployment::record::Record;

/// One event of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    /// Logical ID in the template, or the name of the stack in events about the stack itself.
    pub(crate) resource: String,
    /// ResourceStatus, such as `UPDATE_FAILED`.
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    /// ClientRequestToken of the operation that it belongs to.
    #[serde(skip)]
    pub(crate) token: Option<String>,
}

/// A failure that an instance left in the evidence bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) instance: String,
    /// When its boot began.
    pub(crate) began: Timestamp,
    pub(crate) at: Timestamp,
    /// The first failure: address, message, causes.
    pub(crate) reason: String,
    /// URL of the object with all details.
    pub(crate) url: String,
    /// The deployment that launched the instance, by its tags; `None` if EC2 no longer knows the instance.
    pub(crate) deployment: Option<u64>,
}

/// What a target group said about an instance.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Checked {
    pub(crate) at: Timestamp,
    pub(crate) instance: String,
    /// Such as `unhealthy`.
    pub(crate) state: String,
    /// In AWS's words.
    pub(crate) why: Option<String>,
}

/// An instance refresh of a group.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstanceRefresh.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refresh {
    pub(crate) at: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
}

/// The line that ingot wrote to the console of an instance whose boot failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Console {
    pub(crate) instance: String,
    pub(crate) line: String,
}

/// Everything known, each list oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) events: Vec<Event>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) activities: Vec<Activity>,
    pub(crate) health: Vec<Checked>,
    pub(crate) refreshes: Vec<Refresh>,
    pub(crate) consoles: Vec<Console>,
}

/// The deployment that a story is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deployment {
    pub(crate) number: u64,
    pub(crate) began: Timestamp,
    /// Tokens of its operations on the stack.
    pub(crate) tokens: Vec<String>,
}

impl Deployment {
    pub(crate) fn of(record: &Record) -> Self {
        let tokens = [Operation::Create, Operation::SetPolicy, Operation::SetRelease].map(|operation| operation.token(record));
        Self { number: record.number, began: record.began, tokens: tokens.into() }
    }

    pub(super) fn has(&self, event: &Event) -> bool {
        event.token.as_ref().is_some_and(|token| self.tokens.contains(token))
    }
}

impl Happened {
    /// Merges later findings: activities and refreshes replace their earlier state, and health is added where it has
    /// changed.
    pub(crate) fn take(&mut self, later: Self) {
        self.events.extend(later.events);
        self.evidence.extend(later.evidence);
        self.consoles.extend(later.consoles);
        for activity in later.activities {
            match self.activities.iter_mut().find(|known| (known.begun, &known.cause) == (activity.begun, &activity.cause)) {
                Some(known) => *known = activity,
                None => self.activities.push(activity),
            }
        }
        self.activities.sort_by_key(|one| one.begun);
        for refresh in later.refreshes {
            self.refreshes.retain(|known| known.at != refresh.at);
            self.refreshes.push(refresh);
        }
        for checked in later.health {
            let last = self.health.iter().rfind(|known| known.instance == checked.instance);
            if last.is_none_or(|last| (&last.state, &last.why) != (&checked.state, &checked.why)) {
                self.health.push(checked);
            }
        }
    }
}

/// Finds ingot's line in console output: `ingot: the boot failed: …; see …`.
pub(crate) fn line_of(console: &str) -> Option<String> {
    let (_, line) = console.lines().filter_map(|line| line.rsplit_once("ingot: the boot failed: ")).next_back()?;
    let line = line.trim();
    Some(line.strip_suffix("; see `ingot status`").unwrap_or(line).to_owned())
}
