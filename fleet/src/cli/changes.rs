//! Which instances of an environment changed between two looks.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::paint::{Line, on_a_line};
use crate::story::{Color, Part, Seen};

/// One line for each instance that is new, has changed its state, or is gone.
pub(super) fn of_instances(before: &[Seen], now: &[Seen]) -> Vec<Line> {
    let known: BTreeMap<&str, &Seen> = before.iter().map(|seen| (seen.instance.id.as_str(), seen)).collect();
    let is_new = |seen: &&Seen| known.get(seen.instance.id.as_str()).is_none_or(|known| told(known) != told(seen));
    let changed = now.iter().filter(is_new).map(|seen| Line { text: told(seen), color: color(seen) });
    let is_gone = |seen: &&Seen| now.iter().all(|other| other.instance.id != seen.instance.id);
    let gone = before.iter().filter(is_gone).map(|seen| Line::of(Color::Grey, format!("{}  gone", seen.instance.id)));
    changed.chain(gone).collect()
}

fn told(seen: &Seen) -> String {
    let release = seen.instance.release.as_deref().unwrap_or("-");
    let cause = seen.cause.as_deref().map(|cause| format!("  {}", on_a_line(cause))).unwrap_or_default();
    format!("{}  {:<12}  {release}{cause}", seen.instance.id, seen.state())
}

/// The color of an instance.
pub(super) fn color(seen: &Seen) -> Option<Color> {
    match seen.state().part() {
        Part::Well => Some(Color::Green),
        Part::Starting => None,
        Part::Unwell => Some(Color::Red),
        Part::Away => Some(Color::Grey),
    }
}

/// The same line, preceded by the time.
pub(super) fn at(time: Timestamp, line: Line) -> Line {
    Line { text: format!("{}  {}", time.strftime("%H:%M:%SZ"), line.text), ..line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Instance, Target};

    fn seen(id: &str, lifecycle: &str, target: Option<&str>, cause: Option<&str>) -> Seen {
        let target = target.map(|state| Target { state: state.into(), why: None });
        let (id, lifecycle, release) = (id.into(), lifecycle.into(), Some("v2".into()));
        let instance = Instance { id, lifecycle, release, target, is_healthy: true, is_balanced: true, ..Instance::default() };
        Seen { instance, since: None, cause: cause.map(str::to_owned) }
    }

    #[test]
    fn one_line_for_each_that_changed() {
        let before = [
            seen("i-1", "InService", Some("healthy"), None),
            seen("i-2", "Pending:Wait", None, None),
            seen("i-3", "Terminating:Proceed", None, None),
        ];
        let now = [
            seen("i-1", "InService", Some("unhealthy"), Some("Health checks\nfailed")),
            seen("i-2", "InService", Some("healthy"), None),
            seen("i-4", "Pending", None, None),
        ];
        let lines = of_instances(&before, &now);
        let told: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        let expected = ["i-1  unhealthy     v2  Health checks failed", "i-2  serving       v2", "i-4  launching     v2", "i-3  gone"];
        assert_eq!(told, expected);
        assert_eq!(lines[0].color, Some(Color::Red));
        assert_eq!(of_instances(&now, &now), []);
        // Neither the lifecycle hook nor the registration changes the state shown.
        let joins = seen("i-4", "Pending:Proceed", None, None);
        assert_eq!(of_instances(&[joins], &[seen("i-4", "InService", Some("initial"), None)]), []);
        let line = at("2026-12-01T09:00:07.25Z".parse().unwrap(), Line::plain("x"));
        assert_eq!(line.text, "09:00:07Z  x");
    }
}
