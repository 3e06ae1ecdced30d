//! The final check of a unit at the end of the boot, some time after its step has finished.

use std::time::Duration;

use super::trouble::{ServiceError, in_time, slow, unproven};
use crate::host::Unit;
use crate::step::{Context, Judgment, Look, Progress};
use crate::steps::health::{Health, Illness, has_an_end, health};
use crate::steps::ready::{self, RESTARTS, Ready};

/// How long a unit may take to stop, or to be restarted after it has died.
const SETTLES: Duration = Duration::from_secs(10);

/// Judges the current state of a service's unit.
pub(super) async fn judge(found: &Unit, look: Look, ready: Option<&Ready>, cx: &Context<'_>) -> Result<Judgment, ServiceError> {
    let restarts = cx.world.known.restarts_since(cx.address, cx.key(), found.restarts);
    match health(found) {
        Health::Sound => up(found, restarts, look, ready, cx).await,
        // It was seen to run successfully. A timer may run it again at any time, and the result of such a run is not
        // checked.
        Health::Moving if has_an_end(found) => Ok(Judgment::Sound),
        Health::Moving if look.is_last || look.waited < limit(found, cx.patience) => Ok(Judgment::Open),
        Health::Moving => Err(slow(found, look.waited, cx).await),
        // The restart has not been counted yet.
        Health::Ill(Illness::Restarting) if restarts == 0 && !look.restarted && !look.is_last && look.waited < SETTLES => {
            Ok(Judgment::Open)
        }
        Health::Ill(_) if found.active == "inactive" && has_an_end(found) => Ok(Judgment::Sound),
        Health::Ill(_) if ready::idles(found, cx).await.map_err(ServiceError::Host)? => Ok(Judgment::Sound),
        Health::Ill(_) => Err(in_time(found, restarts, cx).await),
    }
}

/// Judges a unit that is up. One restart may be intentional, for example that of an agent that has updated itself.
async fn up(found: &Unit, restarts: u32, look: Look, ready: Option<&Ready>, cx: &Context<'_>) -> Result<Judgment, ServiceError> {
    let is_restarted = restarts > 0;
    if is_restarted && (look.restarted || restarts >= RESTARTS) {
        return Err(in_time(found, restarts, cx).await);
    }
    if is_restarted {
        let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
        cx.progress(Progress::Warning(format!("its program ended after it had started, and systemd restarted it {times}")));
    }
    if let Some(ready) = ready
        && (is_restarted || look.moved)
        && !look.is_last
        && let Err(not_ready) = ready::wait(ready, cx).await
    {
        return Err(unproven(not_ready, cx).await);
    }
    // Restarts during the probe are left to the next check.
    cx.world.known.set_restarts(cx.address, cx.key(), found.restarts);
    Ok(if is_restarted && !look.is_last { Judgment::Restarted } else { Judgment::Sound })
}

/// How long a unit may be in transition. A unit that starts or reloads gets the same time as in its step, because
/// another unit or a command of this boot may have restarted it.
fn limit(unit: &Unit, patience: Duration) -> Duration {
    if unit.active == "deactivating" { SETTLES } else { patience.max(SETTLES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_starts_has_the_time_of_its_step_and_what_stops_has_not() {
        let limit = |active: &str, patience: u64| {
            let unit = Unit { active: active.into(), ..Unit::default() };
            limit(&unit, Duration::from_secs(patience)).as_secs()
        };
        assert_eq!(["activating", "reloading", "inactive", "deactivating"].map(|active| limit(active, 300)), [300, 300, 300, 10]);
        assert_eq!(limit("activating", 3), 10);
    }
}
