//! Describes what a unit did, and what to do about it.

use crate::host::{Ended, Unit};
use crate::steps::health::{Health, Illness, health};

/// The text that follows the name of a unit that is not up, and a hint if there is a better one than to read its
/// journal.
///
/// `others` are the units that it conflicts with.
pub(super) fn words(unit: &Unit, others: &[Unit]) -> (String, Option<String>) {
    let name = &unit.id;
    match health(unit) {
        Health::Ill(Illness::Failed) => failure(unit),
        Health::Ill(Illness::Restarting) => (format!("is restarting: it {}{}", end(unit), restarts(unit)), None),
        Health::Ill(Illness::Skipped | Illness::Refused) if unit.result == "exec-condition" => exec_condition(unit),
        Health::Ill(Illness::Skipped) => {
            let hint = format!("make the condition true before {name} starts, or remove it from the unit: see `systemctl cat {name}`");
            (
                format!("was skipped by systemd: {}", unmet(unit, "Condition", "a condition of its unit (Condition…= or ExecCondition=)")),
                Some(hint),
            )
        }
        Health::Ill(Illness::Refused) => {
            let hint = format!("make the assertion true before {name} starts: see `systemctl cat {name}`");
            (format!("was not started: {}", unmet(unit, "Assert", "an assertion of its unit")), Some(hint))
        }
        Health::Ill(Illness::Ended) => {
            let service_type = if unit.service_type.is_empty() { "simple" } else { &unit.service_type };
            let hint = format!(
                "set `Type=oneshot` in {name} if its program is meant to exit, or `Type=forking` if it continues in the background"
            );
            (format!("is not running: its program exited with 0, but Type={service_type} expects it to keep running"), Some(hint))
        }
        Health::Ill(Illness::Stopped) => stopped(unit, others),
        Health::Sound | Health::Moving => (format!("is {}{}", state(unit), restarts(unit)), None),
    }
}

/// `active (running)`
pub(super) fn state(unit: &Unit) -> String {
    format!("{} ({})", unit.active, unit.sub)
}

fn restarts(unit: &Unit) -> String {
    match unit.restarts {
        0 => String::new(),
        1 => ", after a restart".to_owned(),
        n => format!(", after {n} restarts"),
    }
}

fn unmet(unit: &Unit, prefix: &str, one_of_them: &str) -> String {
    let own: Vec<&(String, bool)> = unit.conditions.iter().filter(|(text, _)| text.starts_with(prefix)).collect();
    let unmet: Vec<&str> = own.iter().filter(|(_, unmet)| *unmet).map(|(text, _)| text.as_str()).collect();
    let all: Vec<&str> = own.iter().map(|(text, _)| text.as_str()).collect();
    match (unmet.as_slice(), all.as_slice()) {
        ([one], _) | ([], [one]) => format!("{one} was not met"),
        ([], []) => format!("{one_of_them} was not met"),
        ([], all) => format!("not all of these were met: {}", all.join(", ")),
        (unmet, _) => format!("these were not met: {}", unmet.join(", ")),
    }
}

fn exec_condition(unit: &Unit) -> (String, Option<String>) {
    let name = &unit.id;
    // Once systemd has unloaded the unit, it no longer reports how the program ended.
    let program = unit.helper.as_ref().filter(|helper| helper.setting == "ExecCondition");
    let ended = program.map_or_else(|| " was not met".to_owned(), |helper| format!(" ({}) {}", helper.program, helper.ended));
    let hint = format!("make the ExecCondition= of {name} succeed, or remove it from the unit: see `systemctl cat {name}`");
    (format!("was skipped by systemd: its ExecCondition={ended}"), Some(hint))
}

fn stopped(unit: &Unit, others: &[Unit]) -> (String, Option<String>) {
    let up = |other: &&Unit| matches!(other.active.as_str(), "active" | "activating" | "reloading");
    match others.iter().find(up) {
        Some(Unit { id: other, .. }) => {
            let hint = format!("start only one of {} and {other}, or remove `Conflicts=` from their units", unit.id);
            (format!("was stopped by {other}, which conflicts with it (Conflicts=)"), Some(hint))
        }
        None => {
            let ended = if unit.main == Ended::default() { String::new() } else { format!(" (its program {})", unit.main) };
            let hint = format!("run `journalctl -b -u {}` to see what stopped it", unit.id);
            (format!("is not running: it was stopped{ended}"), Some(hint))
        }
    }
}

/// How the decisive program of a unit ended.
fn end(unit: &Unit) -> String {
    let main = unit.main;
    // If an auxiliary program fails, the main one is stopped, and its exit status means nothing.
    let beside = unit.helper.as_ref().filter(|_| !main.has_failed() && (main.signal().is_none() || main.was_stopped()));
    match beside {
        Some(helper) => format!("failed: {}= ({}) {}", helper.setting, helper.program, helper.ended),
        // With Restart=always, systemd restarts a program that did nothing wrong, too.
        None if main == Ended::default() || (main.is_well() && unit.result != "success") => {
            "failed in a program other than its main one, such as ExecStartPre=".to_owned()
        }
        None => main.to_string(),
    }
}

fn failure(unit: &Unit) -> (String, Option<String>) {
    let (name, main, restarts) = (&unit.id, unit.main, restarts(unit));
    let timed_out = |setting: &str| format!("timed out ({setting}) and {main}{restarts}");
    match unit.result.as_str() {
        "exit-code" | "signal" | "core-dump" => (format!("{}{restarts}", end(unit)), None),
        "timeout" => {
            let hint = format!("raise TimeoutStartSec= in {name}, or run `journalctl -b -u {name}` to see what it waits for");
            (timed_out("TimeoutStartSec= or TimeoutStopSec="), Some(hint))
        }
        "watchdog" => (timed_out("WatchdogSec="), None),
        "oom-kill" => {
            let hint = format!("use a larger instance type, or raise MemoryMax= in {name}");
            (format!("was killed because it ran out of memory{restarts}"), Some(hint))
        }
        "protocol" => {
            let hint = format!("make the program report readiness as Type={} requires, or change Type= in {name}", unit.service_type);
            (format!("{main} before it reported readiness (Type={}){restarts}", unit.service_type), Some(hint))
        }
        "start-limit-hit" => {
            let hint = format!("run `journalctl -b -u {name}` to see why it fails");
            (format!("was started too often within its StartLimitIntervalSec={restarts}"), Some(hint))
        }
        result => (format!("failed with {result}{restarts}"), None),
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;
    use crate::host::{Checked, Helper};

    fn unit(result: &str, main: Ended) -> Unit {
        let text = |text: &str| text.to_owned();
        Unit { id: text("x.service"), active: text("failed"), result: text(result), main, service_type: text("notify"), ..Unit::default() }
    }

    fn helper(setting: &str, status: i32) -> Option<Helper> {
        Some(Helper { setting: setting.into(), program: "/bin/sh".into(), ended: Ended::exited(status) })
    }

    fn says(unit: &Unit) -> String {
        words(unit, &[]).0
    }

    /// Regression: it was reported as "exited with 15", although no program had exited with that status.
    #[test]
    fn a_signal_is_no_exit_status_and_a_failure_is_of_the_program_that_failed() {
        let term = Ended::killed(Signal::SIGTERM);
        for (unit, said) in [
            (unit("exit-code", Ended::exited(15)), "exited with 15"),
            (unit("signal", Ended::killed(Signal::SIGSEGV)), "was killed by SIGSEGV"),
            (Unit { restarts: 3, ..unit("exit-code", Ended::exited(1)) }, "exited with 1, after 3 restarts"),
            (Unit { helper: helper("ExecStartPost", 3), ..unit("exit-code", term) }, "failed: ExecStartPost= (/bin/sh) exited with 3"),
            (
                Unit { helper: helper("ExecStartPre", 4), ..unit("exit-code", Ended::default()) },
                "failed: ExecStartPre= (/bin/sh) exited with 4",
            ),
            // The main program failed first, and the auxiliary one failed as a consequence.
            (Unit { helper: helper("ExecStartPost", 1), ..unit("exit-code", Ended::exited(7)) }, "exited with 7"),
            (unit("timeout", term), "timed out (TimeoutStartSec= or TimeoutStopSec=) and was killed by SIGTERM"),
            (unit("watchdog", Ended::killed(Signal::SIGABRT)), "timed out (WatchdogSec=) and was killed by SIGABRT"),
            (unit("oom-kill", Ended::killed(Signal::SIGKILL)), "was killed because it ran out of memory"),
            (unit("protocol", Ended::exited(0)), "exited with 0 before it reported readiness (Type=notify)"),
            (unit("start-limit-hit", Ended::exited(1)), "was started too often within its StartLimitIntervalSec="),
            (unit("resources", Ended::default()), "failed with resources"),
        ] {
            assert_eq!(says(&unit), said);
        }
    }

    #[test]
    fn what_is_down_is_down_for_a_reason() {
        let down = |main: Ended| Unit { active: "inactive".into(), sub: "dead".into(), ..unit("success", main) };
        assert_eq!(says(&down(Ended::exited(0))), "is not running: its program exited with 0, but Type=notify expects it to keep running");
        let stopped = down(Ended::killed(Signal::SIGTERM));
        assert_eq!(says(&stopped), "is not running: it was stopped (its program was killed by SIGTERM)");
        let other = |id: &str, active: &str| Unit { id: id.into(), active: active.into(), ..Unit::default() };
        let others = [other("shutdown.target", "inactive"), other("y.service", "active")];
        assert_eq!(words(&stopped, &others).0, "was stopped by y.service, which conflicts with it (Conflicts=)");

        let condition = |text: &str, unmet: bool| (text.to_owned(), unmet);
        let skipped = |conditions| Unit { condition: Checked::UNMET, conditions, ..down(Ended::default()) };
        for (conditions, said) in [
            (vec![], "a condition of its unit (Condition…= or ExecCondition=) was not met"),
            (vec![condition("ConditionPathExists=/a", false)], "ConditionPathExists=/a was not met"),
            (vec![condition("ConditionHost=a", false), condition("ConditionUser=b", true)], "ConditionUser=b was not met"),
            (
                vec![condition("ConditionHost=a", false), condition("ConditionUser=b", false)],
                "not all of these were met: ConditionHost=a, ConditionUser=b",
            ),
        ] {
            assert_eq!(says(&skipped(conditions)), format!("was skipped by systemd: {said}"));
        }
        for condition in [Checked::MET, Checked::UNMET] {
            let by_program = Unit { condition, result: "exec-condition".into(), ..down(Ended::default()) };
            assert_eq!(says(&by_program), "was skipped by systemd: its ExecCondition= was not met");
            let by_program = Unit { helper: helper("ExecCondition", 1), ..by_program };
            assert_eq!(says(&by_program), "was skipped by systemd: its ExecCondition= (/bin/sh) exited with 1");
        }
        let refused = Unit {
            condition: Checked::MET,
            assertion: Checked::UNMET,
            conditions: vec![condition("AssertUser=b", true)],
            ..down(Ended::default())
        };
        assert_eq!(says(&refused), "was not started: AssertUser=b was not met");
        let restarting = Unit { active: "activating".into(), sub: "auto-restart".into(), ..unit("exit-code", Ended::exited(3)) };
        assert_eq!(says(&restarting), "is restarting: it exited with 3");
        let always = Unit { main: Ended::exited(0), result: "success".into(), restarts: 2, ..restarting };
        assert_eq!(says(&always), "is restarting: it exited with 0, after 2 restarts");
    }
}
