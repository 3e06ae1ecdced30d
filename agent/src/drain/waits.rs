//! Whether the lifecycle hook waits as long as a drain may take. Pure.

use std::time::Duration;

use crate::aws::autoscaling::Hook;
use crate::steps::drain::settings::Settings;

/// The number of its timeouts for which a hook can be kept waiting.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html>
const TIMEOUTS: u32 = 100;

/// How much of that time is reserved for stopping units and completing the hook.
const AFTERWARDS: Duration = Duration::from_secs(120);

/// The longest time for which work in hand and requests may keep a hook waiting.
pub(super) fn at_most(hook: &Hook) -> Duration {
    (hook.heartbeat_timeout * TIMEOUTS).saturating_sub(AFTERWARDS)
}

/// What is wrong with the termination hooks of a group, given these settings. `None` if nothing is.
pub(super) fn wrong(settings: &Settings, group: &str, hooks: &[Hook]) -> Option<String> {
    let name = settings.hook.as_ref()?.name.as_deref();
    let hook = match (name, hooks) {
        (None, [hook]) => hook,
        (None, _) => return Some(format!("the group {group} has {} termination hooks: name one in the document", hooks.len())),
        (Some(name), _) => match hooks.iter().find(|hook| hook.name == name) {
            Some(hook) => hook,
            None => return Some(format!("the group {group} has no termination hook {name}: correct its name in the document")),
        },
    };
    (at_most(hook) < settings.grace()).then(|| {
        format!(
            "the group {group} waits for hook {} no longer than {:?}, and `grace` is {:?}: give the hook a longer heartbeat timeout",
            hook.name,
            hook.heartbeat_timeout * TIMEOUTS,
            settings.grace()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::drain::settings::Hook as Wanted;

    #[test]
    fn a_hook_that_is_missing_or_too_short_is_told() {
        let wrong = |name: Option<&str>, grace_s: u64, hooks: &[(&str, u64)]| {
            let wanted = Wanted { name: name.map(str::to_owned), group: None };
            let settings = Settings { hook: Some(wanted), grace_ms: grace_s * 1000, ..Settings::default() };
            let hook = |(name, timeout): &(&str, u64)| Hook { name: (*name).into(), heartbeat_timeout: Duration::from_secs(*timeout) };
            super::wrong(&settings, "web", &hooks.iter().map(hook).collect::<Vec<_>>()).unwrap_or_default()
        };
        let leaving = ("leaving", 60);
        assert_eq!(wrong(Some("leaving"), 5880, &[("x", 30), leaving]), "");
        assert_eq!(wrong(None, 5880, &[leaving]), "");
        assert!(wrong(None, 5881, &[leaving]).contains("waits for hook leaving no longer than 6000s, and `grace` is 5881s"));
        assert!(wrong(Some("left"), 1, &[leaving]).contains("no termination hook left"));
        assert!(wrong(None, 1, &[leaving, leaving]).contains("has 2 termination hooks"));
    }
}
