//! The last look at a unit, when the boot ends: its step was done some time ago.

use std::time::Duration;

use super::trouble::{ServiceError, in_time, slow, unproven};
use crate::host::Unit;
use crate::step::{Context, Judgment, Look, Progress};
use crate::steps::health::{Health, Illness, has_an_end, health};
use crate::steps::ready::{self, RESTARTS, Ready};

/// How long a unit may take to stop, or to be started again after it has died.
const SETTLES: Duration = Duration::from_secs(10);

/// What is to be said of the unit of a service as it is now.
pub(super) async fn judge(found: &Unit, look: Look, ready: Option<&Ready>, cx: &Context<'_>) -> Result<Judgment, ServiceError> {
    let restarts = cx.world.known.restarts_since(cx.address, cx.key(), found.restarts);
    match health(found) {
        Health::Sound => up(found, restarts, look, ready, cx).await,
        // That it ran was seen when it did. A timer may run it again at any time, and how that ends is not asked.
        Health::Moving if has_an_end(found) => Ok(Judgment::Sound),
        Health::Moving if look.is_last || look.waited < limit(found, cx.patience) => Ok(Judgment::Open),
        Health::Moving => Err(slow(found, look.waited, cx).await),
        // This restart does not count yet.
        Health::Ill(Illness::Restarting) if restarts == 0 && !look.restarted && !look.is_last && look.waited < SETTLES => {
            Ok(Judgment::Open)
        }
        Health::Ill(_) if found.active == "inactive" && has_an_end(found) => Ok(Judgment::Sound),
        Health::Ill(_) if ready::idles(found, cx).await.map_err(ServiceError::Host)? => Ok(Judgment::Sound),
        Health::Ill(_) => Err(in_time(found, restarts, cx).await),
    }
}

/// Of a unit that is up. One restart may be meant, such as that of an agent that has updated itself.
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
    // Restarts while it was probed are for the next look to see.
    cx.world.known.set_restarts(cx.address, cx.key(), found.restarts);
    Ok(if is_restarted && !look.is_last { Judgment::Restarted } else { Judgment::Sound })
}

/// How long a unit may be on its way. One that starts or reloads gets the time that its step has, as it would have there:
/// another unit may have restarted it, or a command of this boot.
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
