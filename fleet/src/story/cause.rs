//! Why a deployment failed: one sentence, from whoever knows it best.

use super::happened::{Event, Evidence};

/// Reasons that follow from another failure, and name none.
const FOLLOWING: [&str; 4] =
    ["Resource update cancelled", "Resource creation cancelled", "The following resource(s) failed", "Rollback requested by user"];

/// What CloudFormation says of going back when somebody has ended the update; also of each operation that begins.
const ENDED_BY_SOMEBODY: &str = "User Initiated";

/// Why a deployment did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody has ended it.
    Aborted,
    /// In one sentence.
    Failure(String),
}

/// The cause, of the operations with these tokens. An instance knows best why it does not serve, then CloudFormation.
pub(crate) fn cause(events: &[Event], evidence: &[Evidence], tokens: &[String]) -> Option<Cause> {
    let ours = || events.iter().filter(|event| event.token.as_ref().is_some_and(|token| tokens.contains(token)));
    let is_ended = |event: &Event| event.status == "UPDATE_ROLLBACK_IN_PROGRESS" && event.reason.as_deref() == Some(ENDED_BY_SOMEBODY);
    // Going back may have a token of its own, of whoever has ended it.
    let since = events.iter().skip_while(|event| !event.token.as_ref().is_some_and(|token| tokens.contains(token)));
    if since.clone().any(is_ended) {
        return Some(Cause::Aborted);
    }
    let first = evidence.iter().filter(|one| one.reason.is_some()).min_by_key(|one| one.at);
    if let Some(Evidence { instance, reason: Some(reason), url, .. }) = first {
        return Some(Cause::Failure(format!("{instance}: {reason} ({url})")));
    }
    let failed = ours().filter(|event| event.status.ends_with("_FAILED") || event.status.contains("ROLLBACK"));
    let real = failed.filter_map(|event| Some((event, event.reason.as_deref()?)));
    let mut real = real.filter(|(_, reason)| !FOLLOWING.iter().any(|following| reason.starts_with(following)));
    real.next().map(|(event, reason)| Cause::Failure(format!("{}: {reason}", event.resource)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(resource: &str, status: &str, reason: &str) -> Event {
        let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        let at = "2026-11-30T20:00:00Z".parse().unwrap();
        Event { at, resource: resource.into(), status: status.into(), reason, token: Some("t".into()) }
    }

    fn told(events: &[Event], evidence: &[Evidence]) -> Option<String> {
        match cause(events, evidence, &["t".to_owned()])? {
            Cause::Aborted => Some("it was aborted".to_owned()),
            Cause::Failure(sentence) => Some(sentence),
        }
    }

    #[test]
    fn an_instance_knows_best() {
        let left = |instance: &str, minute: u32, reason: Option<&str>| Evidence {
            instance: instance.into(),
            at: format!("2026-11-30T20:{minute:02}:00Z").parse().unwrap(),
            reason: reason.map(str::to_owned),
            url: format!("s3://e/{instance}"),
        };
        let events = [event("Group", "UPDATE_FAILED", "Received 1 FAILURE signal(s) out of 1.")];
        let evidence = [left("i-2", 9, Some("services.b: later")), left("i-1", 5, Some("services.a: did not start")), left("i-0", 1, None)];
        assert_eq!(told(&events, &evidence).unwrap(), "i-1: services.a: did not start (s3://e/i-1)");
        assert_eq!(told(&events, &[]).unwrap(), "Group: Received 1 FAILURE signal(s) out of 1.");
    }

    #[test]
    fn what_follows_is_no_cause() {
        let events = [
            event("shop-prod", "UPDATE_IN_PROGRESS", "User Initiated"),
            event("Alarm", "UPDATE_FAILED", "Resource update cancelled"),
            event("Group", "UPDATE_FAILED", "You have exceeded your quota of 8 vCPU"),
            event("shop-prod", "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: [Group]. "),
        ];
        assert_eq!(told(&events, &[]).unwrap(), "Group: You have exceeded your quota of 8 vCPU");
        assert_eq!(told(&[event("shop-prod", "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")], &[]).unwrap(), "it was aborted");
        assert_eq!(told(&[event("Group", "UPDATE_COMPLETE", "")], &[]), None);
        assert_eq!(cause(&events, &[], &["another".to_owned()]), None, "of another operation");
        let mut ended = [event("shop-prod", "UPDATE_IN_PROGRESS", ""), event("shop-prod", "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")];
        ended[1].token = Some("Console-CancelUpdateStack-1".into());
        assert_eq!(told(&ended, &[]).unwrap(), "it was aborted", "in the console");
        assert_eq!(told(&ended[1..], &[]), None, "before");
    }
}
