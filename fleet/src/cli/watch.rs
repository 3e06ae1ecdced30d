//! What the user sees of a deployment: one line for each operation, one for each instance that changed, and the
//! progress.

use std::cell::RefCell;

use indicatif::ProgressBar;
use jiff::Timestamp;

use super::changes;
use super::members::Members;
use super::operator::Operator;
use super::output::tell;
use super::paint::Line;
use super::progress;
use crate::conduct::Tell;
use crate::deployment::course::{Operation, Wanted};
use crate::deployment::record::{Policy, Record};
use crate::failure::Failure;
use crate::release::name::Name;
use crate::story::{self, Color, Event, Seen, serving};

/// Reports a deployment on stderr.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    stack: String,
    members: Members<'a>,
    progress: Option<Progress>,
    /// Whether the instances stay.
    stays: bool,
    /// The instances as reported last.
    seen: RefCell<Vec<Seen>>,
}

/// The progress of a deployment.
#[derive(Debug)]
struct Progress {
    number: u64,
    /// How many instances there will be, and how many are replaced at a time.
    wanted: u32,
    batch: u32,
    bar: ProgressBar,
}

impl<'a> Watcher<'a> {
    /// Watches a deployment that is under way, until its instances run what it sets.
    pub(super) fn of(operator: &'a Operator, record: &Record, sets: &Wanted) -> Self {
        let wanted = record.goal.capacity.desired.max(1);
        let batch = match record.goal.policy {
            Policy::Rolling | Policy::RollingWithBatch | Policy::InPlace => {
                sets.all().get("BatchSize").and_then(|batch| batch.parse().ok())
            }
            _ => None,
        };
        let batch = batch.filter(|batch| (1..wanted).contains(batch)).unwrap_or(wanted);
        let progress = Progress { number: record.number, wanted, batch, bar: progress::instances(u64::from(wanted)) };
        progress.goes_on(0);
        Self { progress: Some(progress), stays: record.goal.policy == Policy::InPlace, ..Self::back(operator) }
    }

    /// Watches one that is rolled back: only CloudFormation knows its progress.
    pub(super) fn back(operator: &'a Operator) -> Self {
        Self { stack: operator.stack(), members: Members::new(operator), progress: None, stays: false, seen: RefCell::default() }
    }
}

impl Progress {
    fn goes_on(&self, done: u32) {
        self.bar.set_position(u64::from(done.min(self.wanted)));
        self.bar.set_message(batches(done, self.wanted, self.batch));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Which batch is being replaced, if there is more than one.
fn batches(done: u32, wanted: u32, batch: u32) -> String {
    match (wanted.div_ceil(batch), done / batch + 1) {
        (1, _) => "instances".to_owned(),
        (all, now) => format!("batch {} of {all}", now.min(all)),
    }
}

/// Prints a line with the time.
fn told(line: Line) {
    tell(&changes::at(Timestamp::now(), line));
}

impl Tell for Watcher<'_> {
    fn begins(&self, operation: Operation) {
        told(Line::plain(match operation {
            Operation::Create => "creating the stack",
            Operation::SetPolicy => "setting the policy",
            Operation::SetRelease if self.stays => "setting the release for instances that are launched from now on",
            Operation::SetRelease => "replacing what runs",
        }));
    }

    fn sends(&self, release: &Name, ids: &[String], goes_back: bool) {
        let verb = if goes_back { "rolling back" } else { "updating" };
        told(Line::plain(format!("{verb} {} to {release}", ids.join(", "))));
    }

    fn waits_for_others(&self, status: &str) {
        told(Line::plain(format!("waiting: the stack is in {status}, because of another operation")));
    }

    fn silent(&self, failure: &Failure) {
        told(Line::plain(format!("{}; the deployment does not depend on it; retrying", failure.sentence())));
    }

    fn event(&self, event: &Event) {
        if let Some(said) = story::sentence(event, &self.stack).filter(|_| story::is_bad(event)) {
            let color = if event.resource == self.stack { Color::Yellow } else { Color::Red };
            told(Line::of(color, said));
        }
    }

    fn news(&self, sentence: &str) {
        told(Line::of(Color::Red, sentence));
    }

    async fn look(&self) {
        let Ok(now) = self.members.now().await else { return };
        let now: Vec<Seen> = now.instances.into_iter().map(|one| Seen::of(one, &[], &[])).collect();
        changes::of_instances(&self.seen.borrow(), &now).into_iter().for_each(told);
        if let Some(progress) = &self.progress {
            progress.goes_on(u32::try_from(serving(&now, progress.number)).unwrap_or(u32::MAX));
        }
        self.seen.replace(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_counted_from_1() {
        let told: Vec<String> = [0, 1, 2, 5, 6].map(|done| batches(done, 6, 2)).into();
        assert_eq!(told, ["batch 1 of 3", "batch 1 of 3", "batch 2 of 3", "batch 3 of 3", "batch 3 of 3"]);
        assert_eq!((batches(0, 7, 2), batches(6, 7, 2)), ("batch 1 of 4".into(), "batch 4 of 4".into()));
        assert_eq!(batches(0, 4, 4), "instances");
    }
}
