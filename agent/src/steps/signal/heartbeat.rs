//! Heartbeats: keep a lifecycle hook waiting while the boot runs; after that it waits no longer than its timeout.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fields::Signal;
use super::target::only;
use super::trouble::SignalError;
use crate::aws::autoscaling::{LifecycleAction, no_action};
use crate::backoff::Backoff;
use crate::failure::{Explanation, Failure};
use crate::step::{Context, Progress};

/// A boot that finishes within this time needs no heartbeat. The minimum timeout of a hook is 30 seconds, and the
/// machine has already used some of them.
const FIRST: Duration = Duration::from_secs(5);

/// A third of the minimum timeout of a hook.
const SHORTEST: Duration = Duration::from_secs(10);

/// Sends heartbeats until nothing waits for this instance any more, or until the future is dropped. Failures are only
/// warnings, because the boot may finish before the hook times out.
pub(super) async fn keep(signal: &Signal, cx: &Context<'_>) {
    let mut warned = Warned { cx, said: BTreeSet::new() };
    cx.host().clock.sleep(FIRST).await;
    let mut attempt = 0;
    let (action, every) = loop {
        attempt += 1;
        match found(signal, cx).await {
            Ok(found) => break found,
            Err(error) if error.is_transient() => {
                warned.note(&error);
                pause(attempt, cx).await;
            }
            Err(error) => return warned.note(&error),
        }
    };
    let every = every.unwrap_or_else(|error| {
        warned.note(&error);
        SHORTEST
    });
    attempt = 0;
    loop {
        match cx.world.aws.groups.heartbeat(&action).await {
            Ok(()) => {
                attempt = 0;
                // If the timeout is unknown, the minimum is assumed.
                cx.world.waiting.hook_lasts(cx.address, cx.host().clock.elapsed() + 3 * every);
                cx.host().clock.sleep(every).await;
            }
            Err(error) if no_action(&error) => return cx.world.waiting.hook_is_over(cx.address),
            Err(error) => {
                attempt += 1;
                let transient = error.is_transient();
                warned.note(&SignalError::Heartbeat(error));
                if transient { pause(attempt, cx).await } else { cx.host().clock.sleep(every).await }
            }
        }
    }
}

/// Pauses, but no longer than the minimum timeout permits.
async fn pause(attempt: u32, cx: &Context<'_>) {
    cx.host().clock.sleep(Backoff::CALL.pause(attempt, Some(Duration::from_secs(1))).min(SHORTEST)).await;
}

/// The hook to send heartbeats for, and the interval; or why these cannot be determined.
async fn found(signal: &Signal, cx: &Context<'_>) -> Result<(LifecycleAction, Result<Duration, SignalError>), SignalError> {
    let (group, instance) = signal.group(cx).await?;
    let hooks = cx.world.aws.groups.launch_hooks(&group).await;
    let (hook, timeout) = match (signal.hook_name(cx)?, hooks) {
        (Some(name), Ok(hooks)) => {
            let timeout = hooks.into_iter().find(|hook| hook.name == name).map(|hook| hook.heartbeat_timeout);
            (name.clone(), timeout.ok_or_else(|| SignalError::NoHook { group: group.clone(), name }))
        }
        (Some(name), Err(error)) if !error.is_transient() => (name, Err(SignalError::FindHook(error))),
        (_, Err(error)) => return Err(SignalError::FindHook(error)),
        (None, Ok(hooks)) => {
            let hook = only(hooks, &group)?;
            (hook.name, Ok(hook.heartbeat_timeout))
        }
    };
    Ok((LifecycleAction { group, hook, instance }, timeout.map(|timeout| (timeout / 3).max(SHORTEST))))
}

/// Reports each warning once.
struct Warned<'a> {
    cx: &'a Context<'a>,
    said: BTreeSet<String>,
}

impl Warned<'_> {
    fn note(&mut self, error: &SignalError) {
        let Explanation { message, causes, hint, .. } = Explanation::of(error);
        let causes: String = causes.iter().map(|cause| format!(": {cause}")).collect();
        let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
        let text = format!("a heartbeat may be missed: {message}{causes}{hint}");
        if self.said.insert(text.clone()) {
            self.cx.progress(Progress::Warning(text));
        }
    }
}
