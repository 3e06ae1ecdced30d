//! Where the time of past deployments went, from which `plan` estimates the next one.
//!
//! Creations contribute only launches, since an update has nothing else in common with them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::activity::Activity;
use super::happened::{Event, Happened};
use crate::deployment::course::Operation;
use crate::deployment::estimate::{Known, Spent};
use crate::deployment::record::{Record, State};

/// Reason of the event for an instance that signals success.
const SIGNALED: &str = "Received SUCCESS signal with UniqueId ";

/// Logical ID of the group in the templates.
const GROUP: &str = "Group";

/// A launch and the signal of its instance.
#[derive(Debug, Clone, Copy)]
struct Launch {
    began: Timestamp,
    signaled: Timestamp,
}

/// Derives the known durations from what happened since the first of these records. `bake` is in seconds.
pub(crate) fn known(records: &[Record], happened: &Happened, stack: &str, bake: u64) -> Known {
    let signals: BTreeMap<&str, Timestamp> = happened.events.iter().filter_map(signal).collect();
    let done = || happened.activities.iter().filter(|one| !one.is_failed);
    let launch = |one: &Activity| Some(Launch { began: one.begun, signaled: *signals.get(one.instance()?)? });
    let launches: Vec<Launch> = done().filter(|one| one.is_launch()).filter_map(launch).collect();
    let took = |is_launch: bool| done().filter(move |one| one.is_launch() == is_launch).filter_map(|one| between(one.begun, one.ended?));
    let until_signal = !launches.is_empty();
    Known {
        launches: match until_signal {
            true => launches.iter().filter_map(|one| between(one.began, one.signaled)).collect(),
            false => took(true).collect(),
        },
        until_signal,
        ends: took(false).collect(),
        deployments: records.iter().filter_map(|record| spent(record, &happened.events, &launches, stack)).collect(),
        bake,
        ..Known::default()
    }
}

fn signal(event: &Event) -> Option<(&str, Timestamp)> {
    Some((event.reason.as_deref()?.strip_prefix(SIGNALED)?, event.at))
}

fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    to.duration_since(from).try_into().ok()
}

/// Returns where the time of a deployment went, or `None` if it was a creation, failed, or is too old for
/// CloudFormation's events.
fn spent(record: &Record, events: &[Event], launches: &[Launch], stack: &str) -> Option<Spent> {
    let ended = record.ended.filter(|_| record.state == State::Good)?;
    let release = Operation::SetRelease.token(record);
    let of_it = || events.iter().filter(|event| event.token.as_deref().is_some_and(|token| Operation::is_of(token, record)));
    let of_stack = || of_it().filter(|event| event.resource == stack);
    let is_release = |event: &&Event| event.token.as_ref() == Some(&release);
    let begun = of_stack().find(is_release)?.at;
    let done = of_stack().find(|event| is_release(event) && event.status == "UPDATE_COMPLETE")?.at;
    let policy = of_stack().find(|event| !is_release(event)).and_then(|event| between(event.at, begun));
    let within: Vec<Launch> = launches.iter().copied().filter(|one| one.began >= begun && one.signaled <= done).collect();
    // The launches of a deleted group are no longer known.
    let is_whole = of_it().filter(is_release).filter_map(signal).count() == within.len();
    let batches = batches(within);
    let pauses = batches.windows(2).filter_map(|pair| between(pair[0].signaled, pair[1].began));
    let end = end_of_group(&of_it().filter(is_release).collect::<Vec<_>>());
    let bake = bake(&of_it().filter(is_release).collect::<Vec<_>>(), stack);
    let spent = Spent { policy, between: pauses.collect(), end, rest: None };
    let counted = batches.iter().filter_map(|batch| between(batch.began, batch.signaled)).chain(spent.between.iter().copied());
    let counted: Duration = counted.chain([policy, end, bake].into_iter().flatten()).sum();
    let rest = between(record.began, ended)?.checked_sub(counted)?;
    Some(Spent { rest: Some(rest).filter(|_| is_whole), ..spent })
}

/// Groups launches into batches, each from its first launch to its last signal. An instance launched before the whole
/// batch has signaled belongs to that batch.
fn batches(mut launches: Vec<Launch>) -> Vec<Launch> {
    launches.sort_by_key(|one| one.began);
    let mut found: Vec<Launch> = Vec::new();
    for one in launches {
        match found.last_mut().filter(|batch| one.began < batch.signaled) {
            Some(batch) => batch.signaled = batch.signaled.max(one.signaled),
            None => found.push(one),
        }
    }
    found
}

/// Returns how long the deletion of an earlier group took.
fn end_of_group(events: &[&Event]) -> Option<Duration> {
    let at = |status: &str| events.iter().find(|event| event.resource == GROUP && event.status == status).map(|event| event.at);
    between(at("DELETE_IN_PROGRESS")?, at("DELETE_COMPLETE")?)
}

/// Returns how long alarms were watched, in whole minutes: from the last resource until CloudFormation begins to clean
/// up.
fn bake(events: &[&Event], stack: &str) -> Option<Duration> {
    let at = events.iter().position(|event| event.resource == stack && event.status == "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")?;
    let last = events[..at].iter().rfind(|event| event.resource != stack)?;
    let waited = between(last.at, events[at].at)?;
    Some(Duration::from_secs(waited.as_secs() / 60 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::Beginner;
    use crate::deployment::record::tests::{beginner, goal};

    const STACK: &str = "shop-prod";

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + (seconds * 1000.0) as i64).unwrap()
    }

    fn record(began: f64, ended: f64) -> Record {
        numbered(7, began, ended)
    }

    fn numbered(number: u64, began: f64, ended: f64) -> Record {
        let record = Record::begin("shop", "prod", number, goal("v1"), Beginner { at: at(began), ..beginner("ann") });
        record.end(State::Good, at(ended), None)
    }

    fn event(second: f64, resource: &str, status: &str, operation: Operation) -> Event {
        let token = Some(operation.token(&record(0.0, 1.0)));
        Event { at: at(second), resource: resource.into(), status: status.into(), reason: None, token }
    }

    fn signaled(second: f64, instance: &str) -> Event {
        let reason = Some(format!("{SIGNALED}{instance}"));
        Event { reason, ..event(second, GROUP, "UPDATE_IN_PROGRESS", Operation::SetRelease) }
    }

    fn activity(what: &str, began: f64, ended: f64) -> Activity {
        let (description, cause) = (what.to_owned(), String::new());
        Activity { begun: at(began), ended: Some(at(ended)), description, cause, is_failed: false, message: None }
    }

    /// A policy update, two batches of two, a bake of two minutes, and the deletion of a group.
    fn happened() -> Happened {
        let of = |second: f64, resource: &str, status: &str| event(second, resource, status, Operation::SetRelease);
        let launched = |id: &str, began: f64| activity(&format!("Launching a new EC2 instance: {id}"), began, began + 30.0);
        Happened {
            events: vec![
                event(3.0, STACK, "UPDATE_IN_PROGRESS", Operation::SetPolicy),
                event(9.0, STACK, "UPDATE_COMPLETE", Operation::SetPolicy),
                of(11.0, STACK, "UPDATE_IN_PROGRESS"),
                of(12.0, GROUP, "UPDATE_IN_PROGRESS"),
                signaled(54.0, "i-1"),
                signaled(56.0, "i-2"),
                signaled(100.0, "i-3"),
                signaled(99.0, "i-4"),
                of(101.0, GROUP, "UPDATE_COMPLETE"),
                of(221.5, STACK, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
                of(222.0, GROUP, "DELETE_IN_PROGRESS"),
                of(252.0, GROUP, "DELETE_COMPLETE"),
                of(253.0, STACK, "UPDATE_COMPLETE"),
            ],
            activities: vec![
                launched("i-1", 14.0),
                launched("i-2", 15.0),
                activity("Terminating EC2 instance: i-0", 14.0, 47.0),
                launched("i-3", 60.0),
                launched("i-4", 61.0),
                Activity { is_failed: true, ..launched("i-5", 60.0) },
                // From scaling out, for which CloudFormation waited for no signal.
                launched("i-6", 300.0),
            ],
            ..Happened::default()
        }
    }

    fn seconds(times: &[Duration]) -> Vec<f64> {
        times.iter().map(Duration::as_secs_f64).collect()
    }

    #[test]
    fn all_time_of_a_deployment_is_accounted_for() {
        let found = known(&[record(0.0, 254.0)], &happened(), STACK, 60);
        assert_eq!((seconds(&found.launches), found.until_signal, found.bake), (vec![40.0, 41.0, 40.0, 38.0], true, 60));
        assert_eq!(seconds(&found.ends), [33.0]);
        let [Spent { policy, between, end, rest }] = found.deployments.as_slice() else { panic!("{found:?}") };
        assert_eq!((*policy, seconds(between), *end), (Some(Duration::from_secs(8)), vec![4.0], Some(Duration::from_secs(30))));
        // 254 s minus 8 s for the policy, batches of 42 s and 40 s, 4 s between them, two minutes of bake, and 30 s for
        // the group.
        assert_eq!(*rest, Some(Duration::from_secs(10)));
    }

    /// Regression: a minute of launching was attributed to CloudFormation's steps once the group that knew of it was
    /// replaced.
    #[test]
    fn time_spent_by_a_deleted_group_is_unknown() {
        let mut gone = happened();
        gone.activities.retain(|one| one.instance() == Some("i-6"));
        let found = known(&[record(0.0, 254.0)], &gone, STACK, 0);
        assert_eq!((found.deployments[0].rest, found.deployments[0].policy), (None, Some(Duration::from_secs(8))));
    }

    #[test]
    fn uninformative_records_are_left_out() {
        let failed = record(0.0, 254.0).end(State::Failed, at(254.0), None);
        let before_the_events = numbered(6, -300.0, -50.0);
        let found = known(&[failed, before_the_events], &happened(), STACK, 0);
        assert_eq!(found.deployments, []);
        // Without signals, a launch counts until the instance is in service.
        let mut silent = happened();
        silent.events.clear();
        let found = known(&[record(0.0, 254.0)], &silent, STACK, 0);
        assert_eq!((seconds(&found.launches), found.until_signal), (vec![30.0; 5], false));
        assert_eq!(known(&[], &Happened::default(), STACK, 0), Known::default());
    }

    #[test]
    fn a_creation_contributes_only_launches() {
        let mut created = happened();
        for event in &mut created.events {
            event.token = Some(Operation::Create.token(&record(0.0, 1.0)));
        }
        let found = known(&[record(0.0, 254.0)], &created, STACK, 0);
        assert_eq!((found.launches.len(), found.deployments.len()), (4, 0));
    }
}
