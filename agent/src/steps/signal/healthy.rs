//! Delays success: a stack receives SUCCESS once the load balancer has reported this instance healthy.
//!
//! Auto Scaling registers an instance when its launch hook is complete, and CloudFormation may terminate the old group
//! at the last success: if that came earlier, no instance would serve for a while. A failure is signaled without
//! waiting.

use std::time::Duration;

use futures_util::future::join_all;

use super::seen::{Seen, listed, name};
use super::trouble::SignalError;
use crate::aws::balancers::{SERVICE, TargetHealth};
use crate::aws::client::call::Call;
use crate::aws::{AwsError, AwsErrorKind};
use crate::backoff::Backoff;
use crate::failure::{Explanation, Failure};
use crate::step::fields::rounded;
use crate::step::{Context, Progress};

/// Part of the step's time that is reserved to signal a failure if the instance does not become healthy; less if that
/// time is short.
const RESERVE: Duration = Duration::from_secs(10);

/// Maximum duration of one check. After the deadline of the boot, there must still be time to signal the failure.
const LOOK: Duration = Duration::from_secs(8);

/// Waits until every target group reports this instance healthy in the same check.
///
/// # Errors
///
/// The last state of each group that is not healthy, once the time is over; at once if a group cannot be queried.
pub(super) async fn wait(groups: &[String], instance: &str, cx: &Context<'_>) -> Result<(), SignalError> {
    let clock = &cx.host().clock;
    let began = clock.elapsed();
    let until = cx.deadline.saturating_sub(RESERVE.min(cx.patience / 3));
    for tries in 1.. {
        let within = LOOK.min(until.saturating_sub(clock.elapsed())).max(Duration::from_secs(1));
        let looks = join_all(groups.iter().map(|group| look(group, instance, within, cx))).await;
        let (mut ill, mut refused) = (Vec::new(), None);
        for (group, look) in groups.iter().zip(looks) {
            let health = match look {
                Ok(health) if health.is_healthy() => continue,
                Ok(health) => health,
                Err(error) if error.is_transient() => {
                    let health = TargetHealth { state: "not known".into(), reason: None, description: Some(error.what.to_string()) };
                    refused = Some(error);
                    health
                }
                Err(error) => return Err(SignalError::FindHealth(error)),
            };
            ill.push(Seen { group: name(group), health });
        }
        let left = until.saturating_sub(clock.elapsed());
        if ill.is_empty() {
            return Ok(());
        }
        if left.is_zero() || cx.world.waiting.is_late() {
            return Err(SignalError::Unhealthy { waited: rounded(clock.elapsed().saturating_sub(began)), seen: ill });
        }
        match &refused {
            Some(error) => cx.progress(Progress::Refused(Explanation::of(error))),
            None => cx.waiting(format!("for the load balancer to report this instance healthy: {}", listed(&ill))),
        }
        let asked_for = refused.and_then(|error| error.retry_after);
        clock.sleep(Backoff::TARGET.pause(tries, asked_for).min(left)).await;
    }
    unreachable!("it is looked until it ends")
}

/// The health of this instance in a target group.
async fn look(group: &str, instance: &str, within: Duration, cx: &Context<'_>) -> Result<TargetHealth, AwsError> {
    tokio::select! {
        biased;
        health = cx.world.aws.balancers.health(group, instance) => health,
        () = cx.host().clock.sleep(within) => {
            let call = Call::new(SERVICE, "DescribeTargetHealth", group);
            Err(call.error(AwsErrorKind::Unreachable, format!("no response within {within:?}")))
        }
    }
}
