//! The maximum duration of a boot, from the time limits of its steps.

use std::time::Duration;

use crate::plan::unit::{self, Rest};
use crate::plan::{Plan, Unit};

impl Plan {
    /// The longest time until the last signal, if each step uses all of its time limit. Steps that run in the
    /// background do not count.
    pub(crate) fn longest(&self) -> Duration {
        let mut ends = vec![Duration::ZERO; self.units.len()];
        let order = unit::in_order(&self.units);
        for at in order.iter().copied().filter(|at| !self.units[*at].last) {
            ends[at] = self.begins(at, &ends) + self.limit(at);
        }
        let everything = self.latest(&ends, |unit| !unit.last && !unit.beside);
        for at in order.into_iter().filter(|at| self.units[*at].last) {
            ends[at] = everything.max(self.begins(at, &ends)) + self.limit(at);
        }
        self.latest(&ends, |unit| !unit.beside)
    }

    /// When a unit starts at the latest: after its needs, and after the rest if it waits for that.
    fn begins(&self, at: usize, ends: &[Duration]) -> Duration {
        let unit = &self.units[at];
        let needed = unit.needs.iter().map(|need| ends[need.unit]).max().unwrap_or_default();
        match unit.rest {
            Rest::After(place) => needed.max(self.latest(ends, |other| matches!(other.rest, Rest::Part(waiting) if waiting > place))),
            _ => needed,
        }
    }

    fn latest(&self, ends: &[Duration], counts: impl Fn(&Unit) -> bool) -> Duration {
        self.units.iter().zip(ends).filter(|(unit, _)| counts(unit)).map(|(_, end)| *end).max().unwrap_or_default()
    }

    fn limit(&self, at: usize) -> Duration {
        self.units[at].members.iter().map(|member| self.nodes[*member].patience).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::document::BootDocument;
    use crate::document::source::Layers;
    use crate::plan::Plan;

    fn longest(document: &str) -> Duration {
        let mut layers = Layers::default();
        layers.add("boot.yaml", document);
        Plan::compile(BootDocument::of(layers), &Default::default()).unwrap().longest()
    }

    #[test]
    fn what_runs_at_the_same_time_counts_once() {
        let commands = "version: 1\ncommands:\n  a: { run: [/a], timeout: 10m }\n  b: { run: [/b], timeout: 4m }\n";
        assert_eq!(longest(commands), Duration::from_secs(600));
        let after = format!("{commands}  c: {{ run: [/c], timeout: 1m, after: [commands.b] }}\n");
        assert_eq!(longest(&after), Duration::from_secs(600));
    }

    #[test]
    fn services_come_after_the_rest_and_signals_after_everything() {
        let document = "version: 1\ncommands: { a: { run: [/a], timeout: 10m } }\n\
                        services: { a.service: { timeout: 2m }, b.service: { timeout: 3m, after: [] } }\n\
                        signals: { hook: { lifecycle_hook: { name: ready }, timeout: 1m } }\n";
        assert_eq!(longest(document), Duration::from_secs(13 * 60));
    }
}
