//! Stack events as sentences. The texts of CloudFormation about groups are from
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html> and from logs that users
//! have posted.

use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

use super::happened::Event;

/// Reasons of events that merely follow from another failure.
const FOLLOWING: [&str; 4] =
    ["Resource update cancelled", "Resource creation cancelled", "The following resource(s) failed", "Rollback requested by user"];

/// CloudFormation's reason for each operation that begins, and for a rollback if the update was canceled.
pub(crate) const BY_SOMEBODY: &str = "User Initiated";

/// Reasons that add nothing to the status.
const EMPTY: [&str; 3] = [BY_SOMEBODY, "Resource creation Initiated", "Eventual consistency check initiated"];

/// Sentences about a resource while it changes, and about its signals. `%R` is the resource.
static CHANGING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    table(&[
        (
            r"^Rolling update initiated\. Terminating (\d+) obsolete instance\(s\) in batches of (\d+), while keeping at least (\d+) ",
            "%R: $1 instances are replaced, at most $2 at a time, keeping $3 in service",
        ),
        (r"^Temporarily setting autoscaling group MinSize and DesiredCapacity to (\d+)", "%R: has $1 instances during the update"),
        (
            r"^New instance\(s\) added to autoscaling group - Waiting on (\d+) resource signal\(s\) with a timeout of (\w+)",
            "%R: waits up to $2 for $1 instances to serve",
        ),
        (
            r"^Terminating instance\(s\) \[([^\]]*)\]; replacing with (\d+) new instance\(s\)",
            "%R: terminates $1 and launches $2 instances instead",
        ),
        (r"^Successfully terminated instance\(s\) \[([^\]]*)\] \(Progress (\d+)%\)", "%R: terminated $1, $2% done"),
        (r"^Received SUCCESS signal with UniqueId (\S+)", "$1: serves"),
        (r"^Received FAILURE signal with UniqueId (\S+)", "$1: reports that its boot failed"),
        (r"^Failed to receive (\d+) resource signal\(s\) for the current batch", "%R: $1 instances did not report in time"),
        (r"^Requested update requires the creation of a new physical resource", "%R: is replaced by a new one"),
    ])
});

/// Failures that the instances know more about than CloudFormation. `%R` is the resource.
static SIGNALS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    table(&[
        (
            r"^Received (\d+) FAILURE signal\(s\) out of (\d+)\.\s+Unable to satisfy 100%",
            "%R: $1 of $2 instances reported that the boot failed, but all must serve",
        ),
        (
            r"^Received (\d+) FAILURE signal\(s\) out of (\d+)\.\s+Unable to satisfy (\d+)%",
            "%R: $1 of $2 instances reported that the boot failed, but $3% must serve",
        ),
        (r"^Received (\d+) FAILURE signal\(s\) out of (\d+)", "%R: $1 of $2 instances reported that the boot failed"),
        (r"^Received (\d+) SUCCESS signal\(s\) out of (\d+)", "%R: only $1 of $2 instances reported that they serve"),
        (r"^Failed to receive (\d+) resource signal\(s\)", "%R: $1 instances did not report in time"),
    ])
});

static HANDLER: LazyLock<Regex> = LazyLock::new(|| regex(r#"(?s)^Resource handler returned message: "(.*)" \(RequestToken: [^)]*\)\s*$"#));
static SERVICE: LazyLock<Regex> = LazyLock::new(|| regex(r" \(Service: [^)]*\)"));
static DENIED: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"User: \S*?(?:assumed-role|role|user)/([^/\s]+)\S* is not authorized to perform: ([\w-]+:[\w*]+)(?: on resource: (\S+))?")
});
static ALARM: LazyLock<Regex> = LazyLock::new(|| regex(r":alarm:([^\s,\]\)]+)"));
static PERIOD: LazyLock<Regex> = LazyLock::new(|| regex(r"\bPT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?\b"));
static ONE: LazyLock<Regex> = LazyLock::new(|| regex(r"(of )?\b1 instances( are)?"));

/// Class of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failing {
    /// It says what is wrong.
    Says(String),
    /// Instances reported a failure, or did not report.
    Signals(String),
    /// It follows from another failure.
    Follows,
}

/// Returns the failure that an event reports, or `None` if it reports none.
pub(super) fn failing(event: &Event) -> Option<Failing> {
    let reason = event.reason.as_deref().unwrap_or_default();
    let is_failed = event.status.ends_with("_FAILED");
    if !is_failed && !is_back(event) {
        return None;
    }
    if let Some(name) = alarm(event) {
        return Some(Failing::Says(format!("the alarm {name} went into ALARM")));
    }
    if reason.is_empty() || reason == BY_SOMEBODY || FOLLOWING.iter().any(|following| reason.starts_with(following)) {
        return Some(Failing::Follows);
    }
    Some(match among(&SIGNALS, reason, &event.resource) {
        Some(sentence) => Failing::Signals(sentence),
        None => Failing::Says(format!("{}: {}", event.resource, plain(reason))),
    })
}

/// Returns whether CloudFormation begins to roll back.
pub(super) fn is_back(event: &Event) -> bool {
    matches!(event.status.as_str(), "ROLLBACK_IN_PROGRESS" | "UPDATE_ROLLBACK_IN_PROGRESS")
}

/// Returns whether an event is reported at once, while the operation is running.
pub(crate) fn is_bad(event: &Event) -> bool {
    is_back(event) || failing(event).is_some() || failed_instance(event).is_some()
}

/// Returns the alarm that makes CloudFormation roll back. AWS does not document the sentence, which contains the
/// alarm's ARN.
pub(super) fn alarm(event: &Event) -> Option<&str> {
    let reason = event.reason.as_deref().filter(|_| is_back(event))?;
    ALARM.captures(reason).and_then(|found| Some(found.get(1)?.as_str()))
}

/// Returns the instance that an event reports as failed.
pub(super) fn failed_instance(event: &Event) -> Option<&str> {
    event.reason.as_deref()?.strip_prefix("Received FAILURE signal with UniqueId ").map(str::trim).filter(|id| id.starts_with("i-"))
}

/// Returns how long the group waits for instances, according to an event.
pub(super) fn patience(event: &Event) -> Option<String> {
    let reason = event.reason.as_deref().filter(|reason| reason.contains("with a timeout of "))?;
    PERIOD.captures(reason).map(|found| period(&found))
}

/// Describes an event in a sentence, or returns `None` if it says nothing new. `stack` is the name of the stack.
pub(crate) fn sentence(event: &Event, stack: &str) -> Option<String> {
    let Event { resource, status, reason, .. } = event;
    if resource == stack {
        return of_stack(event);
    }
    let reason = reason.as_deref().unwrap_or_default();
    let (verb, end) = status.split_once('_').unwrap_or((status, ""));
    let done = match verb {
        "CREATE" => "created",
        "UPDATE" => "updated",
        "DELETE" => "deleted",
        _ => return Some(format!("{resource}: {status}")),
    };
    match end {
        "COMPLETE" => Some(format!("{resource}: {done}")),
        "SKIPPED" => Some(format!("{resource}: is kept")),
        "FAILED" => match failing(event)? {
            Failing::Follows => None,
            Failing::Signals(sentence) => Some(sentence),
            Failing::Says(_) => Some(format!("{resource}: could not be {done}: {}", plain(reason))),
        },
        _ if reason.is_empty() || EMPTY.contains(&reason) => None,
        _ => Some(among(&CHANGING, reason, resource).unwrap_or_else(|| format!("{resource}: {}", plain(reason)))),
    }
}

/// Describes an event about the stack itself.
fn of_stack(event: &Event) -> Option<String> {
    let reason = event.reason.as_deref().unwrap_or_default();
    let said = match event.status.as_str() {
        "CREATE_IN_PROGRESS" => "the stack is being created",
        "CREATE_COMPLETE" => "the stack is created",
        "CREATE_FAILED" => "the stack could not be created and was left as it is",
        "ROLLBACK_IN_PROGRESS" => "the stack could not be created: removing what was created",
        "ROLLBACK_COMPLETE" => "what was created has been removed",
        "ROLLBACK_FAILED" => "what was created could not be removed",
        "UPDATE_IN_PROGRESS" => "the stack is being updated",
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" => "the update is done: removing what it replaced",
        "UPDATE_COMPLETE" => "the stack is updated",
        "UPDATE_FAILED" => "the update failed, and the stack was left as it is",
        "UPDATE_ROLLBACK_IN_PROGRESS" => "the update failed: rolling back",
        "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS" => "the rollback is done: removing what the update created",
        "UPDATE_ROLLBACK_COMPLETE" => "everything is as before",
        "UPDATE_ROLLBACK_FAILED" => "the rollback failed",
        "DELETE_IN_PROGRESS" => "the stack is being deleted",
        "DELETE_COMPLETE" => "the stack is deleted",
        "DELETE_FAILED" => "the stack could not be deleted",
        "REVIEW_IN_PROGRESS" => return None,
        status => status,
    };
    if is_back(event) && reason == BY_SOMEBODY {
        return Some(format!("the update was canceled{}: rolling back", by(event)));
    }
    match failing(event) {
        Some(Failing::Says(_)) if alarm(event).is_none() => Some(format!("{said}: {}", plain(reason))),
        Some(Failing::Says(why)) => Some(format!("{why}: rolling back")),
        _ => Some(said.to_owned()),
    }
}

/// Returns where an update was canceled, as far as its token tells.
///
/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_StackEvent.html>
pub(super) fn by(event: &Event) -> &'static str {
    let is_of_console = event.token.as_deref().is_some_and(|token| token.starts_with("Console-"));
    if is_of_console { " in the CloudFormation console" } else { "" }
}

/// Shortens a reason by the parts that only AWS Support needs.
pub(crate) fn plain(reason: &str) -> String {
    let inner = HANDLER.captures(reason).and_then(|found| found.get(1)).map_or(reason, |found| found.as_str());
    let short = SERVICE.replace_all(inner.trim(), "");
    if let Some(found) = DENIED.captures(&short) {
        let part = |number: usize| found.get(number).map_or("", |part| part.as_str());
        let on = Some(part(3)).filter(|on| !on.is_empty()).map(|on| format!(" on {on}")).unwrap_or_default();
        return format!("the role {} is not allowed to perform {}{on}", part(1), part(2));
    }
    on_one_line(&short)
}

/// Joins the lines of a text and limits its length.
pub(super) fn on_one_line(text: &str) -> String {
    const LONGEST: usize = 600;
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

fn among(table: &[(Regex, &str)], reason: &str, resource: &str) -> Option<String> {
    let (captures, words) = table.iter().find_map(|(pattern, words)| Some((pattern.captures(reason)?, words)))?;
    let mut said = String::new();
    captures.expand(words, &mut said);
    let said = PERIOD.replace_all(&said, |found: &Captures<'_>| period(found));
    let said = ONE.replace_all(&said, |found: &Captures<'_>| match (found.get(1), found.get(2).map_or("", |verb| verb.as_str())) {
        (Some(_), _) => found[0].to_owned(),
        (None, " are") => "1 instance is".to_owned(),
        (None, _) => "1 instance".to_owned(),
    });
    Some(said.replace("%R", resource))
}

/// Formats a period such as `PT1H30M` for people.
fn period(found: &Captures<'_>) -> String {
    let part = |number: usize, unit: &str| found.get(number).map(|part| format!("{} {unit}", part.as_str()));
    [part(1, "h"), part(2, "min"), part(3, "s")].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn table(rows: &[(&str, &'static str)]) -> Vec<(Regex, &'static str)> {
    rows.iter().map(|(pattern, words)| (regex(pattern), *words)).collect()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}
