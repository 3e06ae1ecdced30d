//! Counts how many times each run of a worker was asked to stop. Pure.

use super::sign::Sign;
use crate::host::Unit;

/// How to ask a worker to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Nothing,
    /// By SIGTERM: the worker takes no more messages. A second one makes it give back those in hand.
    Terminate,
    /// By a stop job, because the worker has no process to signal, or one that systemd would restart.
    Stop,
}

/// How many times each run of a worker was asked to stop. If systemd restarts a worker, that is
/// another run, which takes messages again.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Unit, run, times.
    runs: Vec<(String, String, u32)>,
    /// Whether this is not on record yet.
    pub(super) is_new: bool,
}

impl Asked {
    /// Reads from the record which workers were asked before the drain was interrupted. They are finishing their work;
    /// if asked again, they would give it back.
    pub(super) fn of_record(text: &str) -> Self {
        let runs = text.split_whitespace().filter_map(|entry| entry.split_once('='));
        Self { runs: runs.map(|(unit, run)| (unit.to_owned(), run.to_owned(), 1)).collect(), is_new: false }
    }

    pub(super) fn to_record(&self) -> String {
        let entries: Vec<String> = self.runs.iter().map(|(unit, run, _)| format!("{unit}={run}")).collect();
        entries.join(" ")
    }

    /// How to ask a running worker now. A worker whose time is over is asked twice, in two consecutive
    /// looks, because two signals at once count as one.
    pub(super) fn turn(&mut self, unit: &Unit, is_late: bool, sign: Sign) -> Ask {
        // At a shutdown, systemd already has a stop job for it, and will not start it.
        if unit.active == "activating" && sign != Sign::Shutdown {
            return Ask::Stop;
        }
        let run = format!("{}/{}", unit.restarts, unit.up_since);
        let at = self.runs.iter().position(|(name, known, _)| *name == unit.id && *known == run);
        let at = at.unwrap_or_else(|| {
            // A worker that is already stopping was asked by something else.
            let times = u32::from(unit.active == "deactivating");
            self.runs.push((unit.id.clone(), run, times));
            self.is_new = true;
            self.runs.len() - 1
        });
        let times = &mut self.runs[at].2;
        if *times > u32::from(is_late) {
            return Ask::Nothing;
        }
        *times += 1;
        Ask::Terminate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(active: &str, restarts: u32) -> Unit {
        Unit { id: "ingot-worker@jobs.service".into(), active: active.into(), restarts, up_since: 7, ..Unit::default() }
    }

    fn turns<const N: usize>(asked: &mut Asked, looks: [(&str, u32, bool); N]) -> [Ask; N] {
        looks.map(|(active, restarts, is_late)| asked.turn(&unit(active, restarts), is_late, Sign::Terminated))
    }

    #[test]
    fn each_run_is_asked_once_and_once_more_when_it_is_late() {
        let looks = [("active", 0, false), ("active", 0, false), ("active", 1, false), ("active", 1, true), ("active", 1, true)];
        let turns = turns(&mut Asked::default(), looks);
        assert_eq!(turns, [Ask::Terminate, Ask::Nothing, Ask::Terminate, Ask::Terminate, Ask::Nothing]);
    }

    #[test]
    fn one_of_which_it_is_late_at_the_first_look_is_asked_twice() {
        let turns = turns(&mut Asked::default(), [("active", 0, true); 3]);
        assert_eq!(turns, [Ask::Terminate, Ask::Terminate, Ask::Nothing]);
    }

    #[test]
    fn one_that_starts_is_stopped_for_good() {
        let mut asked = Asked::default();
        assert_eq!(turns(&mut asked, [("activating", 0, false), ("activating", 1, false)]), [Ask::Stop; 2]);
        assert_eq!(asked.turn(&unit("activating", 2), false, Sign::Shutdown), Ask::Terminate);
    }

    #[test]
    fn one_that_stops_already_is_asked_only_when_it_is_late() {
        let turns = turns(&mut Asked::default(), [("deactivating", 0, false), ("deactivating", 0, true), ("deactivating", 0, true)]);
        assert_eq!(turns, [Ask::Nothing, Ask::Terminate, Ask::Nothing]);
    }

    #[test]
    fn one_that_was_asked_before_the_drain_was_cut_off_is_not_asked_again() {
        let mut asked = Asked::default();
        turns(&mut asked, [("active", 3, false)]);
        let mut again = Asked::of_record(&asked.to_record());
        assert_eq!(turns(&mut again, [("active", 3, false), ("active", 4, false)]), [Ask::Nothing, Ask::Terminate]);
        assert_eq!(turns(&mut Asked::of_record(""), [("active", 3, false)]), [Ask::Terminate]);
    }
}
