//! The story of a stack: everything known, as sentences in chronological order.

use jiff::Timestamp;
use serde::Serialize;

use super::activity::Activity;
use super::happened::{Checked, Evidence, Happened};
use super::{scaling, words};

/// One sentence of the story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    pub(crate) source: Source,
    pub(crate) said: String,
}

/// Source of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    Stack,
    Scaling,
    Targets,
    Evidence,
    Refresh,
}

/// Returns the story, oldest first. `stack` is the name of the stack.
pub(crate) fn tale(happened: &Happened, stack: &str) -> Vec<Line> {
    let line = |at, source, said| Line { at, source, said };
    let events = happened.events.iter().filter_map(|one| Some(line(one.at, Source::Stack, words::sentence(one, stack)?)));
    let refreshes = happened.refreshes.iter().map(|one| {
        let why = one.reason.as_ref().map(|why| format!(": {}", words::on_one_line(why))).unwrap_or_default();
        line(one.ended.unwrap_or(one.at), Source::Refresh, format!("instance refresh: {}{why}", one.status))
    });
    let mut found: Vec<Line> = events.chain(refreshes).collect();
    found.extend(happened.activities.iter().filter_map(of_activity));
    found.extend(happened.health.iter().filter_map(of_health));
    found.extend(happened.evidence.iter().map(of_evidence));
    found.sort_by_key(|line| line.at);
    found
}

/// Returns the sentence of an activity. A launch is mentioned once its instance exists, and a failed launch when it
/// ended.
fn of_activity(activity: &Activity) -> Option<Line> {
    if activity.is_launch() && !activity.is_failed && activity.instance().is_none() {
        return None;
    }
    let at = activity.ended.filter(|_| activity.is_failed).unwrap_or(activity.begun);
    Some(Line { at, source: Source::Scaling, said: scaling::sentence(activity) })
}

/// Returns the sentence of target health, which is mentioned only if bad.
fn of_health(health: &Checked) -> Option<Line> {
    let why = health.why.as_ref().map(|why| format!(": {}", words::on_one_line(why))).unwrap_or_default();
    let said = format!("{}: the load balancer finds it unhealthy{why}", health.instance);
    (health.state == "unhealthy").then_some(Line { at: health.at, source: Source::Targets, said })
}

fn of_evidence(evidence: &Evidence) -> Line {
    Line { at: evidence.at, source: Source::Evidence, said: super::cause::told(evidence) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Refresh;

    #[test]
    fn a_refresh_is_told_at_its_start_while_it_runs_and_at_its_end_afterwards() {
        let at = |minute: i64| Timestamp::from_second(60 * minute).unwrap();
        let told = |ended: Option<Timestamp>, status: &str| {
            let refresh = Refresh { at: at(1), ended, status: status.into(), reason: None };
            let lines = tale(&Happened { refreshes: vec![refresh], ..Happened::default() }, "shop-prod");
            lines.into_iter().map(|line| (line.at, line.said)).collect::<Vec<_>>()
        };
        assert_eq!(told(None, "InProgress"), [(at(1), "instance refresh: InProgress".to_owned())]);
        assert_eq!(told(Some(at(70)), "Failed"), [(at(70), "instance refresh: Failed".to_owned())]);
    }
}
