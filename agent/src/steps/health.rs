//! Whether a unit is up, according to systemd.
//!
//! Pure: [`ready`](super::ready) and [`service`](super::service) determine what is queried, and how often.

use crate::host::Unit;

/// The state of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is up, or has finished if it is a unit that finishes.
    Sound,
    /// Undecided: it is starting, stopping or reloading, or is about to do so.
    Moving,
    Ill(Illness),
}

/// Why a unit is not up, and will not come up by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Illness {
    /// systemd reports a failure.
    Failed,
    /// It has died, and systemd is about to restart it.
    Restarting,
    /// systemd did not start it because a condition was not met.
    Skipped,
    /// The same for an assertion or `ExecCondition=`.
    Refused,
    /// Its program has exited with 0, although it should keep running.
    Ended,
    /// It is down without a known failure, so someone has stopped it.
    Stopped,
}

/// The state of a unit according to its properties in systemd.
pub(crate) fn health(unit: &Unit) -> Health {
    // systemd has used several names for the states around a restart.
    if unit.sub.contains("auto-restart") {
        return Health::Ill(Illness::Restarting);
    }
    match unit.active.as_str() {
        "active" => Health::Sound,
        "failed" => Health::Ill(Illness::Failed),
        "inactive" if !unit.job => down(unit),
        _ => Health::Moving,
    }
}

/// A timer with `RemainAfterElapse=no` looks the same whether it was stopped or will not elapse again.
fn down(unit: &Unit) -> Health {
    let has_elapsed = unit.id.ends_with(".timer") && unit.ends_elapsed && unit.result == "success";
    Health::Ill(if unit.condition.is_unmet() {
        Illness::Skipped
    } else if unit.assertion.is_unmet() || unit.result == "exec-condition" {
        Illness::Refused
    } else if has_an_end(unit) || has_elapsed {
        return Health::Sound;
    } else if unit.main.is_well() && !unit.remains {
        Illness::Ended
    } else {
        Illness::Stopped
    })
}

/// Whether a unit that is down may have finished its work.
pub(crate) fn has_an_end(unit: &Unit) -> bool {
    unit.service_type == "oneshot" && !unit.remains
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Checked, Ended};

    fn unit(active: &str, sub: &str, service_type: &str) -> Unit {
        Unit { active: active.into(), sub: sub.into(), service_type: service_type.into(), result: "success".into(), ..Unit::default() }
    }

    #[test]
    fn a_unit_is_up_on_its_way_or_ill() {
        for (active, sub, expected) in [
            ("active", "running", Health::Sound),
            ("active", "exited", Health::Sound),
            ("active", "listening", Health::Sound),
            ("active", "waiting", Health::Sound),
            ("active", "mounted", Health::Sound),
            ("reloading", "reload", Health::Moving),
            ("activating", "start", Health::Moving),
            ("deactivating", "stop-sigterm", Health::Moving),
            ("activating", "auto-restart", Health::Ill(Illness::Restarting)),
            ("activating", "auto-restart-queued", Health::Ill(Illness::Restarting)),
            ("inactive", "dead-before-auto-restart", Health::Ill(Illness::Restarting)),
            ("failed", "failed", Health::Ill(Illness::Failed)),
            ("inactive", "dead", Health::Ill(Illness::Stopped)),
        ] {
            assert_eq!(health(&unit(active, sub, "simple")), expected, "{active} ({sub})");
        }
    }

    #[test]
    fn a_unit_that_is_down_may_have_done_its_work() {
        let oneshot = unit("inactive", "dead", "oneshot");
        assert_eq!(health(&oneshot), Health::Sound);
        assert_eq!(health(&Unit { remains: true, ..oneshot.clone() }), Health::Ill(Illness::Stopped));
        assert_eq!(health(&Unit { job: true, ..oneshot.clone() }), Health::Moving);
        let skipped = Unit { condition: Checked::UNMET, assertion: Checked::MET, ..oneshot.clone() };
        assert_eq!(health(&skipped), Health::Ill(Illness::Skipped));
        let refused = Unit { condition: Checked::MET, assertion: Checked::UNMET, ..oneshot.clone() };
        assert_eq!(health(&refused), Health::Ill(Illness::Refused));
        assert_eq!(health(&Unit { result: "exec-condition".into(), ..oneshot }), Health::Ill(Illness::Refused));

        let ended = Unit { main: Ended::exited(0), ..unit("inactive", "dead", "simple") };
        assert_eq!(health(&ended), Health::Ill(Illness::Ended));
        assert_eq!(health(&unit("inactive", "dead", "")), Health::Ill(Illness::Stopped), "a socket, a mount");
        let timer = Unit { id: "x.timer".into(), ends_elapsed: true, ..unit("inactive", "dead", "") };
        let stopped = Unit { ends_elapsed: false, ..timer.clone() };
        assert_eq!(health(&stopped), Health::Ill(Illness::Stopped), "it stays up after it has elapsed");
        assert_eq!(health(&timer), Health::Sound, "it has elapsed, and RemainAfterElapse=no");
        assert_eq!(health(&Unit { result: "resources".into(), ..timer }), Health::Ill(Illness::Stopped));
    }
}
