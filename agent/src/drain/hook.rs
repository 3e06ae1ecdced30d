//! The lifecycle hook that waits for the end of this machine: find it, keep it waiting, and complete it.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::outlook::Outlook;
use super::sign::Sign;
use super::told::Told;
use super::trouble::DrainError;
use super::waits::{at_most, wrong};
use crate::aws::autoscaling::{ActionResult, GROUP_TAG, Hook, LifecycleAction, no_action};
use crate::backoff::Backoff;
use crate::boot::Cloud;
use crate::failure::{Explanation, Failure as _};
use crate::host::Clock;
use crate::steps::drain::settings::{self, Settings};

/// How often ingot checks whether a hook has begun to wait, and whether the group is terminating the instance.
const UNSEEN_EVERY: Duration = Duration::from_secs(5);
const UNWANTED_EVERY: Duration = Duration::from_secs(1);

/// The interval of heartbeats if the hook's timeout is not known: a third of the shortest timeout that a hook can have.
const SHORTEST: Duration = Duration::from_secs(10);

/// How long AWS may be unreachable or throttle.
const PATIENCE: Duration = Duration::from_secs(600);

/// The same when the machine is about to be turned off.
const IN_HASTE: Duration = Duration::from_secs(20);

/// How long a denial may last: a permission that was just granted takes time to apply.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// A lifecycle hook that makes Auto Scaling wait, and what is needed to complete it.
pub(super) struct Waiting<'a> {
    pub(super) hook: &'a settings::Hook,
    pub(super) settings: &'a Settings,
    pub(super) cloud: &'a dyn Cloud,
    pub(super) clock: &'a dyn Clock,
    pub(super) outlook: &'a Outlook,
    pub(super) found: OnceCell<Found>,
    /// Whether it has waited for this instance. The hook begins to wait some time after the state `Terminated`, once
    /// the load balancer has deregistered the instance.
    pub(super) seen: Cell<bool>,
}

/// The action to complete, and the timing of its hook.
pub(super) struct Found {
    action: LifecycleAction,
    /// How often a heartbeat is due.
    every: Duration,
    /// How long heartbeats can keep the hook waiting before the end of the drain.
    longest: Option<Duration>,
    /// Whether the group is known not to have the hook.
    is_missing: bool,
}

/// The result of completing a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completion {
    Done,
    /// It no longer waits, and never will again.
    Gone,
    /// It does not wait now, but may wait after another sign.
    NotYet,
}

impl Waiting<'_> {
    async fn found(&self) -> Result<&Found, DrainError> {
        self.found.get_or_try_init(|| self.find()).await
    }

    async fn find(&self) -> Result<Found, DrainError> {
        let (metadata, groups) = (self.cloud.metadata(), self.cloud.aws().groups);
        let instance = metadata.identity().await.map_err(DrainError::Instance)?.instance_id;
        let group = match &self.hook.group {
            Some(group) => Some(group.clone()),
            // If tags are not available in instance metadata, Auto Scaling is asked.
            None => match metadata.tag(GROUP_TAG).await {
                Ok(Some(group)) => Some(group),
                _ => groups.group_of(&instance).await.map_err(DrainError::FindHook)?,
            },
        };
        let group = group.ok_or_else(|| DrainError::NoGroup { instance: instance.clone() })?;
        let hooks = groups.leaving_hooks(&group).await;
        if let Ok(hooks) = &hooks {
            wrong(self.settings, &group, hooks).into_iter().for_each(|wrong| log::warn!("{wrong}"));
        }
        let (hook, known) = match (&self.hook.name, hooks) {
            (Some(name), Ok(hooks)) => (name.clone(), Ok(hooks.into_iter().find(|hook| hook.name == *name))),
            // The hook can be completed without knowing its timeout.
            (Some(name), Err(error)) if !error.is_transient() => {
                log::warn!("heartbeats are sent every {SHORTEST:?}: {}", Explanation::of(&DrainError::FindHook(error)));
                (name.clone(), Err(()))
            }
            (_, Err(error)) => return Err(DrainError::FindHook(error)),
            (None, Ok(hooks)) => only(hooks, &group).map(|hook| (hook.name.clone(), Ok(Some(hook))))?,
        };
        let is_missing = known == Ok(None);
        let known = known.ok().flatten();
        let every = known.as_ref().map_or(SHORTEST, |hook| (hook.heartbeat_timeout / 3).max(SHORTEST));
        let longest = known.as_ref().map(at_most);
        Ok(Found { action: LifecycleAction { group, hook, instance }, every, longest, is_missing })
    }

    /// Sends heartbeats from `Terminated` on, until it is dropped or the hook no longer waits. Failures are only
    /// warnings: the drain may end before the hook times out.
    pub(super) async fn keep(&self) {
        let mut told = Told::default();
        let mut attempt = 0;
        loop {
            if !self.outlook.is_terminated() {
                self.clock.sleep(UNWANTED_EVERY).await;
                continue;
            }
            attempt += 1;
            let (pause, trouble) = match self.found().await {
                Err(error) => (SHORTEST, Some(Explanation::of(&error))),
                Ok(found) => match self.cloud.aws().groups.heartbeat(&found.action).await {
                    Ok(()) => {
                        if !self.seen.replace(true)
                            && let Some(longest) = found.longest
                        {
                            self.outlook.shorten(self.clock.elapsed() + longest);
                        }
                        (found.every, None)
                    }
                    Err(error) if no_action(&error) && (self.seen.get() || found.is_missing) => return,
                    Err(error) if no_action(&error) => (UNSEEN_EVERY, None),
                    Err(error) => {
                        let pause = if error.is_transient() { Backoff::CALL.pause(attempt, error.retry_after) } else { found.every };
                        (pause.min(SHORTEST), Some(Explanation::of(&error)))
                    }
                },
            };
            trouble.into_iter().for_each(|error| told.warn(format!("a heartbeat may be missed: {error}")));
            self.clock.sleep(pause).await;
        }
    }

    /// Completes the hook. After `Terminated`, it first waits for the hook to begin waiting, for as
    /// long as the machine lives.
    pub(super) async fn complete(&self) -> Result<Completion, DrainError> {
        let (mut begun, mut tries, mut told) = (self.clock.elapsed(), 0, Told::default());
        let is_shutdown = self.outlook.sign == Sign::Shutdown;
        loop {
            tries += 1;
            let error = match self.try_complete(&mut told).await {
                Ok(Some(completion)) => return Ok(completion),
                Ok(None) => {
                    self.clock.sleep(UNSEEN_EVERY).await;
                    (begun, tries) = (self.clock.elapsed(), 0);
                    continue;
                }
                Err(error) => error,
            };
            let (patience, backoff) = match (error.is_transient(), is_shutdown) {
                (true, true) => (IN_HASTE, Backoff::CALL),
                (true, false) => (PATIENCE, Backoff::CALL),
                (false, true) => return Err(error),
                (false, false) => (REFUSED_FOR, Backoff::REFUSED),
            };
            let pause = backoff.pause(tries, error.retry_after());
            if self.clock.elapsed() - begun + pause > patience {
                return Err(error);
            }
            told.warn(Explanation::of(&error).to_string());
            self.clock.sleep(pause).await;
        }
    }

    /// `None` if the hook does not wait yet, but is going to.
    async fn try_complete(&self, told: &mut Told) -> Result<Option<Completion>, DrainError> {
        let Found { action, is_missing, .. } = self.found().await?;
        let LifecycleAction { group, hook, .. } = action;
        match self.cloud.aws().groups.complete(action, ActionResult::Continue).await {
            Ok(()) => log::info!("completed lifecycle hook {hook} of group {group} with CONTINUE"),
            Err(error) if no_action(&error) => {
                let nobody = format!("lifecycle hook {hook} of group {group} does not wait for this instance: {error}");
                if !self.outlook.is_terminated() || self.outlook.sign == Sign::Shutdown {
                    log::info!("{nobody}");
                    return Ok(Some(Completion::NotYet));
                }
                if self.seen.get() || *is_missing {
                    log::warn!(
                        "{nobody}\n  hint: allow autoscaling:RecordLifecycleActionHeartbeat if the hook's heartbeat timeout is shorter than `grace`"
                    );
                    return Ok(Some(Completion::Gone));
                }
                told.waiting(&format!("lifecycle hook {hook} of group {group} to wait for this instance"));
                return Ok(None);
            }
            Err(error) => return Err(DrainError::Hook(error)),
        }
        Ok(Some(Completion::Done))
    }
}

/// The only termination hook of a group.
fn only(hooks: Vec<Hook>, group: &str) -> Result<Hook, DrainError> {
    let names: Vec<String> = hooks.iter().map(|hook| hook.name.clone()).collect();
    let mut hooks = hooks.into_iter();
    match (hooks.next(), hooks.next()) {
        (Some(hook), None) => Ok(hook),
        _ => Err(DrainError::WhichHook { group: group.to_owned(), names }),
    }
}
