//! Why a deployment failed, in one sentence from the best source.
//!
//! Sources in order: the alarm that made CloudFormation roll back, evidence of the deployment's own instances, the
//! stack, instance refreshes, scaling activities, target health, consoles. If the stack only says that instances failed
//! or did not report, the other sources are consulted first, since they know why.

use std::collections::{BTreeMap, BTreeSet};

use super::activity::Activity;
use super::happened::{Deployment, Event, Evidence, Happened};
use super::scaling::{self, Fault, trouble};
use super::words::{self, BY_SOMEBODY, Failing, failing, is_back, on_one_line};

/// The cause if no source has one.
const NOBODY_KNOWS: &str = "CloudFormation rolled back, and neither it nor any instance reports why";

/// Why a deployment failed or was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It was aborted.
    Aborted(String),
    /// It failed, as this sentence says.
    Failure(String),
}

impl Cause {
    pub(crate) fn sentence(&self) -> &str {
        match self {
            Self::Aborted(sentence) | Self::Failure(sentence) => sentence,
        }
    }
}

/// Returns the cause of a failed deployment.
pub(crate) fn cause_of_failure(happened: &Happened, of: &Deployment) -> Cause {
    cause(happened, of).unwrap_or_else(|| Cause::Failure(NOBODY_KNOWS.to_owned()))
}

/// Returns the cause, or `None` if nothing went wrong or no source has a cause.
pub(crate) fn cause(happened: &Happened, of: &Deployment) -> Option<Cause> {
    let span = Span::of(&happened.events, of);
    if let Some(event) = span.events.iter().find(|event| is_back(event) && event.reason.as_deref() == Some(BY_SOMEBODY)) {
        return Some(Cause::Aborted(format!("the update was canceled{}", words::by(event))));
    }
    let first = of_alarm(&span).or_else(|| of_evidence(happened, of)).or_else(|| of_stack(happened, of, &span));
    let first = first.or_else(|| of_refresh(happened, of)).or_else(|| of_launches(&happened.activities, &span));
    let first = first.or_else(|| of_health(happened, &span, None)).or_else(|| of_console(happened, None));
    let first = first?;
    Some(Cause::Failure(match of_way_back(&span) {
        Some(why) => format!("{first}; the rollback failed too: {why}"),
        None => first,
    }))
}

/// Returns an instance whose console may say more than all other sources, since it reported a failure but left no
/// evidence.
pub(crate) fn left_nothing<'h>(happened: &'h Happened, of: &Deployment) -> Option<&'h str> {
    let is_silent = happened.evidence.iter().all(|one| !is_of(one, happened, of));
    happened.events.iter().filter(|event| of.has(event)).find_map(words::failed_instance).filter(|_| is_silent)
}

/// Returns what is reported at once during a deployment: failures of its instances, and obstacles to launches.
pub(crate) fn news(happened: &Happened, of: &Deployment) -> Vec<String> {
    let launches = happened
        .activities
        .iter()
        .filter(|one| one.begun >= of.began && matches!(trouble(one), Some((Fault::NotLaunched | Fault::TakenBack, _))));
    failures(happened, of).into_iter().map(told).chain(launches.map(scaling::sentence)).collect()
}

/// Returns the first failure of each of the deployment's own instances, oldest first.
fn failures<'h>(happened: &'h Happened, of: &Deployment) -> Vec<&'h Evidence> {
    let mut first: BTreeMap<&str, &Evidence> = BTreeMap::new();
    for one in happened.evidence.iter().filter(|one| is_of(one, happened, of)) {
        let known = first.entry(&one.instance).or_insert(one);
        if one.at < known.at {
            *known = one;
        }
    }
    let mut found: Vec<&Evidence> = first.into_values().collect();
    found.sort_by_key(|one| one.at);
    found
}

/// Describes a failure that an instance left as evidence.
pub(super) fn told(evidence: &Evidence) -> String {
    format!("{}: {} ({})", evidence.instance, on_one_line(&evidence.reason), evidence.url)
}

/// Returns whether evidence belongs to a deployment, by the instance's tags. If EC2 no longer knows the instance, time
/// decides: it booted after the update that replaces instances began, and before the rollback, which launches the
/// previous release.
fn is_of(evidence: &Evidence, happened: &Happened, of: &Deployment) -> bool {
    if let Some(deployment) = evidence.deployment {
        return deployment == of.number;
    }
    let span = Span::of(&happened.events, of);
    let begun = span.begun.map_or(of.began, |event| event.at.max(of.began));
    evidence.began >= begun && span.back.is_none_or(|event| evidence.began <= event.at)
}

/// The events from the first one of a deployment until another operation begins.
struct Span<'h> {
    events: &'h [Event],
    /// The event that begins its last operation.
    begun: Option<&'h Event>,
    /// The event that begins the rollback.
    back: Option<&'h Event>,
}

impl<'h> Span<'h> {
    fn of(events: &'h [Event], of: &Deployment) -> Self {
        let first = events.iter().position(|event| of.has(event)).unwrap_or(events.len());
        let events = &events[first..];
        let begins =
            |event: &&Event| event.reason.as_deref() == Some(BY_SOMEBODY) && event.status.ends_with("_IN_PROGRESS") && !is_back(event);
        // A rollback may have its own token if an operator canceled the update.
        let end = events.iter().position(|event| begins(&event) && !of.has(event)).unwrap_or(events.len());
        let events = &events[..end];
        Self { events, begun: events.iter().rfind(begins), back: events.iter().find(|event| is_back(event)) }
    }

    /// Returns the failures before the rollback, or those of the rollback.
    fn failed(&self, is_way_back: bool) -> impl Iterator<Item = (&'h Event, Failing)> {
        let at = self.events.iter().position(|event| Some(event) == self.back).map_or(self.events.len(), |at| at + 1);
        let events = if is_way_back { &self.events[at..] } else { &self.events[..at] };
        events.iter().filter_map(|event| Some((event, failing(event)?)))
    }
}

/// Returns the alarm that made CloudFormation roll back. It rolls back at the first failure it notices, so instances
/// that failed without its notice are not the cause.
fn of_alarm(span: &Span<'_>) -> Option<String> {
    match span.failed(false).next()? {
        (event, Failing::Says(sentence)) if words::alarm(event).is_some() => Some(sentence),
        _ => None,
    }
}

fn of_evidence(happened: &Happened, of: &Deployment) -> Option<String> {
    let failures = failures(happened, of);
    let (first, others) = failures.split_first()?;
    let same = others.iter().filter(|one| one.reason == first.reason).count();
    let more = match (same, others.iter().find(|one| one.reason != first.reason)) {
        (_, Some(other)) => format!("; {} failed for another reason: {}", other.instance, on_one_line(&other.reason)),
        (0, None) => String::new(),
        (1, None) => "; another instance failed in the same way".to_owned(),
        (many, None) => format!("; {many} other instances failed in the same way"),
    };
    Some(told(first) + &more)
}

fn of_stack(happened: &Happened, of: &Deployment, span: &Span<'_>) -> Option<String> {
    let mut signals = None;
    for (_, failing) in span.failed(false).filter(|(event, _)| of.has(event)) {
        match failing {
            Failing::Says(sentence) => return Some(sentence),
            Failing::Signals(sentence) => signals = signals.or(Some(sentence)),
            Failing::Follows => {}
        }
    }
    let signals = signals?;
    if let Some(id) = span.events.iter().find_map(words::failed_instance) {
        let known = of_console(happened, Some(id)).or_else(|| of_health(happened, span, Some(id)));
        return Some(known.unwrap_or_else(|| format!("{id}: reported that its boot failed, but left no evidence")));
    }
    let known = of_refresh(happened, of).or_else(|| of_launches(&happened.activities, span));
    let known = known.or_else(|| of_health(happened, span, None)).or_else(|| of_console(happened, None));
    Some(known.unwrap_or_else(|| match span.events.iter().rev().find_map(words::patience) {
        Some(patience) => format!("{signals} ({patience}); no instance reports why"),
        None => signals,
    }))
}

fn of_way_back(span: &Span<'_>) -> Option<String> {
    let has_failed = span.events.iter().any(|event| matches!(event.status.as_str(), "UPDATE_ROLLBACK_FAILED" | "ROLLBACK_FAILED"));
    let why = span.failed(true).filter(|_| has_failed).find_map(|(_, failing)| match failing {
        Failing::Says(sentence) | Failing::Signals(sentence) => Some(sentence),
        Failing::Follows => None,
    });
    why.or_else(|| has_failed.then(|| "the stack gives no reason".to_owned()))
}

fn of_refresh(happened: &Happened, of: &Deployment) -> Option<String> {
    let is_failed = |status: &str| ["Failed", "RollbackFailed", "RollbackSuccessful", "Cancelled"].contains(&status);
    let mut of_deployment = happened.refreshes.iter().filter(|one| one.at >= of.began && is_failed(&one.status));
    of_deployment.find_map(|one| Some(format!("the instance refresh failed: {}", on_one_line(one.reason.as_deref()?))))
}

/// Returns what Auto Scaling says about failed launches, and whether AWS is the cause.
fn of_launches(activities: &[Activity], span: &Span<'_>) -> Option<String> {
    let (begun, back) = (span.begun?, span.back);
    let within = activities.iter().filter(|one| one.begun >= begun.at && back.is_none_or(|back| one.begun <= back.at));
    let within: Vec<&Activity> = within.collect();
    // Auto Scaling retries, in other zones if needed, so an earlier failure is over once a launch has succeeded.
    let last = within.iter().filter(|one| one.is_launch() && !one.is_failed && one.instance().is_some()).map(|one| one.begun).max();
    let is_over = |one: &Activity, fault| fault == Fault::NotLaunched && last.is_some_and(|last| one.begun < last);
    let mut troubles = within.iter().filter_map(|one| Some((*one, trouble(one)?)));
    let (activity, (fault, why)) = troubles.find(|(one, (fault, _))| !is_over(one, *fault))?;
    let id = activity.instance().unwrap_or("an instance");
    Some(match fault {
        Fault::NotLaunched => format!("no instance could be launched: {why}. The release is not the cause"),
        Fault::TakenBack => format!("{id}: launch abandoned: {why}. The release is not the cause"),
        Fault::OfBoot => format!("{id}: launch abandoned: {why}"),
    })
}

/// Returns what target groups last said about an unhealthy instance: this one, or any.
fn of_health(happened: &Happened, span: &Span<'_>, instance: Option<&str>) -> Option<String> {
    let (begun, back) = (span.begun?, span.back);
    let within = happened.health.iter().filter(|one| one.at >= begun.at && back.is_none_or(|back| one.at <= back.at));
    // An instance that was unhealthy before and is being replaced is not the cause.
    let launched = |one: &&Activity| one.is_launch() && one.begun >= begun.at;
    let new: BTreeSet<&str> = happened.activities.iter().filter(launched).filter_map(Activity::instance).collect();
    let is_new = |id: &str| new.is_empty() || new.contains(id);
    let mut unhealthy =
        within.filter(|one| one.state == "unhealthy" && instance.map_or_else(|| is_new(&one.instance), |id| id == one.instance));
    unhealthy.next_back().map(|one| {
        let why = one.why.as_ref().map(|why| format!(": {}", on_one_line(why))).unwrap_or_default();
        format!("{}: the load balancer found it unhealthy{why}", one.instance)
    })
}

fn of_console(happened: &Happened, instance: Option<&str>) -> Option<String> {
    let found = happened.consoles.iter().find(|one| instance.is_none_or(|id| id == one.instance))?;
    Some(format!("{}: {} (its console)", found.instance, on_one_line(&found.line)))
}
