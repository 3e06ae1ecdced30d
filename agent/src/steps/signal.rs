//! `signals:` — reports the result of the boot to services that wait for this instance.
//!
//! ```yaml
//! signals:
//!   stack: { cloudformation: {} }                      # stack and resource by the instance's tags, or given:
//!   web:   { cloudformation: { stack: shop, resource: WebGroup } }
//!   wait:  { cloudformation: { wait_condition_url: "{{secrets.wait}}" } }    # the only kind that carries a reason
//!   hook:  { lifecycle_hook: { name: ready } }         # group from the tag; name optional if there is one launch hook
//!   lb:    { cloudformation: {}, targets: ["{{values.target_group}}"] }      # SUCCESS once it is healthy there
//!   proof: { s3: "s3://shop-evidence/shop/prod/", logs: [shop.service] }     # report and journal of a failed boot
//! ```
//!
//! Signals are sent after all other steps, whatever their results; after the failure of a required step they are sent
//! at once, because the boot can no longer succeed. They are SUCCESS and CONTINUE, or FAILURE and ABANDON. Each signal
//! is recorded before and after it is sent, and retried until AWS accepts it; a repeated signal has no further effect.
//! Once success has been signaled, failure never is, because a stack only waits for the first boot. A lifecycle hook
//! waits again when the instance leaves a warm pool, so it is signaled once in each phase of each start of the
//! machine.
//!
//! [`target`] finds the receiver of a signal, [`healthy`] waits for the load balancer, and [`evidence`] defines the
//! evidence. [`heartbeat`] keeps a hook waiting while the boot runs, and [`Order::AfterEverything`] determines when
//! signals are sent.

mod due;
mod evidence;
mod fields;
mod healthy;
mod heartbeat;
mod seen;
mod target;
mod trouble;
mod zstd;

use std::fmt;
use std::time::Duration;

use self::due::{detail, is_due, result, told};
use self::evidence::{Evidence, On};
use self::fields::{To, WaitUrl};
use self::target::Target;
use crate::aws::autoscaling::no_action;
use crate::aws::cloudformation::{ResourceSignal, SignalStatus, WaitSignal, waits_no_more};
use crate::backoff::Backoff;
use crate::failure::{Explanation, Failure, Objection};
use crate::host::state::{Entry, EntryState};
use crate::step::verdict::Verdict;
use crate::step::{AsksAws, Context, Held, Order, Outputs, Phase, Progress, Shape, Step, Turn};
use crate::text::Text;

pub(crate) use self::evidence::{Ended, Moment, of_end};
pub(crate) use self::fields::Signal;
pub(crate) use self::trouble::SignalError;

/// Retries stop after as long as for any other call to AWS.
const PATIENCE: Duration = Duration::from_secs(600);

/// Evidence that S3 has not accepted by then is too late: the instance may be gone.
const PATIENCE_FOR_EVIDENCE: Duration = Duration::from_secs(30);

/// Twice this time is less than what a boot reserves for its signals after its deadline.
const RECORDED_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    target: Target,
    status: SignalStatus,
    reason: Option<String>,
    /// ARNs of target groups to wait for.
    healthy_in: Vec<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&self.target, self.status))?;
        if !self.healthy_in.is_empty() {
            let names: Vec<String> = self.healthy_in.iter().map(|group| seen::name(group)).collect();
            write!(f, " once it is healthy in {}", names.join(", "))?;
        }
        match (&self.target, &self.reason) {
            (Target::Evidence(_), _) | (_, None) => Ok(()),
            (_, Some(reason)) => write!(f, ": {reason}"),
        }
    }
}

impl Step for Signal {
    type Change = Change;
    type Error = SignalError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        match &self.to {
            To::Resource { .. } if !self.targets.is_empty() => {
                "what the boot came to, to CloudFormation; a success once load balancers find it healthy".into()
            }
            To::Resource { .. } => "what the boot came to, to CloudFormation".into(),
            To::Evidence(Evidence { s3, on: On::Failure, .. }) => format!("report and journal of a failed boot, to {}", shown(s3)),
            To::Evidence(Evidence { s3, .. }) => format!("report and journal of the boot, to {}", shown(s3)),
            To::WaitCondition(_) => "what the boot came to, to a wait condition".into(),
            To::Hook { name: Some(name), .. } => format!("what the boot came to, to the lifecycle hook {}", shown(name)),
            To::Hook { name: None, .. } => "what the boot came to, to the lifecycle hook".into(),
        }
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        let hook = matches!(self.to, To::Hook { .. });
        let evidence = matches!(self.to, To::Evidence(_));
        let turn = match (&self.to, self.targets.is_empty()) {
            (To::Evidence(_), _) => Turn::Evidence,
            (To::Hook { .. }, _) => Turn::Hook,
            (_, false) => Turn::AfterHooks,
            (_, true) => Turn::Any,
        };
        Shape {
            texts: self.texts(),
            order: Order::AfterEverything,
            turn,
            // A stack waits for instances that serve.
            phase: if hook || evidence { Phase::Warm } else { Phase::Serve },
            heeds_phase: hook,
            goes_on_meanwhile: hook,
            patience: if evidence { PATIENCE_FOR_EVIDENCE } else { PATIENCE },
            asks_aws: if matches!(self.to, To::WaitCondition(_)) { AsksAws::Never } else { AsksAws::UnlessDone },
            ..Shape::default()
        }
    }

    fn objections(&self, _key: &str, secret: bool) -> Vec<Objection> {
        let objection = |message: &str, hint: &str| vec![Objection { message: message.into(), hint: hint.into() }];
        match &self.to {
            To::WaitCondition(WaitUrl(url)) if url.is_plain() && !url.raw().starts_with("https://") => {
                objection("the URL of a wait condition begins with https://", "give it what `Ref` of the wait condition's handle says")
            }
            To::WaitCondition(_) => self.wrong_targets().collect(),
            _ if secret => objection("the target of a signal cannot be a secret", "everybody may see it: write it into the document"),
            To::Evidence(evidence) => evidence.objections(),
            _ => self.wrong_targets().collect(),
        }
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, SignalError> {
        let verdict = cx.world.known.verdict();
        if verdict == Verdict::Well && matches!(self.to, To::Evidence(_)) {
            // The evidence of a successful boot is written after the boot.
            return Ok(Vec::new());
        }
        let target = self.target(cx).await?;
        let (status, reason, healthy_in) = match verdict {
            Verdict::Well => match self.groups(cx) {
                Ok(groups) => (SignalStatus::Success, None, groups),
                // A receiver is waiting, so the failure is signaled when this is applied.
                Err(why) if cx.world.waiting.is_telling() => (SignalStatus::Failure, Some(Explanation::of(&why).message), Vec::new()),
                Err(why) => return Err(why),
            },
            Verdict::Failed { reason } => (SignalStatus::Failure, Some(reason), Vec::new()),
        };
        let recorded = cx.world.record.get(cx.address.as_str());
        let due = is_due(&target, status, recorded.as_ref(), &cx.world.boot_id, cx.world.phase);
        Ok(due.then_some(Change { target, status, reason, healthy_in }).into_iter().collect())
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), SignalError> {
        if let (To::Evidence(evidence), Target::Evidence(place)) = (&self.to, &change.target) {
            return evidence.send(place, Moment::Failure, cx).await;
        }
        if cx.world.known.verdict() == Verdict::Well
            && let Err(why) = self.groups(cx)
        {
            return self.tell_unhealthy(change, why, cx).await;
        }
        if change.healthy_in.is_empty() {
            return self.tell(change, cx).await;
        }
        match healthy::wait(&change.healthy_in, &self.instance(cx)?, cx).await {
            Ok(()) => {
                cx.world.waiting.set_unhealthy(cx.address, None);
                self.tell(change, cx).await
            }
            Err(unhealthy) => self.tell_unhealthy(change, unhealthy, cx).await,
        }
    }

    async fn outputs(&self, _cx: &Context<'_>) -> Result<Outputs, SignalError> {
        Ok(Outputs::default())
    }

    async fn meanwhile(&self, cx: &Context<'_>) {
        heartbeat::keep(self, cx).await;
    }
}

impl Signal {
    /// Whether this signal keeps evidence of the finished boot.
    pub(crate) fn testifies(&self, failed: bool) -> bool {
        matches!(&self.to, To::Evidence(evidence) if failed || evidence.on == On::Always)
    }

    /// The place for its evidence.
    pub(crate) fn prefix(&self) -> Option<&Text> {
        if let To::Evidence(evidence) = &self.to { Some(&evidence.s3) } else { None }
    }

    /// Writes evidence, retrying until S3 accepts it.
    ///
    /// # Errors
    ///
    /// The first error that is not worth a retry.
    pub(crate) async fn testify(&self, moment: Moment, cx: &Context<'_>) -> Result<(), SignalError> {
        let To::Evidence(evidence) = &self.to else { return Ok(()) };
        let place = evidence.place(cx)?;
        for tries in 1.. {
            match evidence.send(&place, moment, cx).await {
                Err(error) if error.is_transient() => cx.host().clock.sleep(Backoff::CALL.pause(tries, error.retry_after())).await,
                ended => return ended,
            }
        }
        unreachable!("it is tried until it ends")
    }

    /// Signals failure instead of success, because the instance did not become healthy in time.
    async fn tell_unhealthy(&self, change: Change, why: SignalError, cx: &Context<'_>) -> Result<(), SignalError> {
        let reason = Explanation::of(&why);
        let reason = [&[reason.message], reason.causes.as_slice()].concat().join(": ");
        self.testify_first(&reason, cx).await;
        let failure = Change { status: SignalStatus::Failure, reason: Some(reason), healthy_in: Vec::new(), ..change };
        cx.progress(Progress::Output(failure.to_string()));
        match self.tell(failure, cx).await {
            // The step is retried, and then signals the failure at once.
            Err(error) if error.is_transient() => Err(error),
            _ => Err(why),
        }
    }

    /// Has the evidence of this failure written before any receiver learns of it, because the evidence written at the
    /// end of the boot does not contain it. No hook is waiting any more, since load balancers only know an instance
    /// whose hooks are complete.
    async fn testify_first(&self, reason: &str, cx: &Context<'_>) {
        let (waiting, clock) = (&cx.world.waiting, &cx.host().clock);
        let Verdict::Failed { reason } = Verdict::failed(Some(cx.address), reason, &cx.world.redactor) else { return };
        // If the step is repeated, for example at the deadline of the boot, writing the evidence may have been
        // interrupted.
        if waiting.set_unhealthy(cx.address, Some(reason)) {
            return;
        }
        let left = waiting.left(clock.elapsed()).into_iter().fold(cx.time_left(), Duration::min);
        tokio::select! {
            biased;
            () = cx.siblings.testify(cx) => {}
            () = clock.sleep(Held::of(None, Some(left)).longest) => {}
        }
        waiting.has_testified(cx.address);
    }

    /// Sends a signal, and records the progress before and after.
    async fn tell(&self, change: Change, cx: &Context<'_>) -> Result<(), SignalError> {
        let detail = detail(&change.target, change.status, cx.world.phase);
        record(EntryState::Started, &detail, cx).await;
        cx.asking(format!("for AWS to take it: {}", told(&change.target, change.status)));
        match self.send(&change, cx).await {
            Ok(()) => {}
            // The signal has been sent elsewhere, or the receiver has timed out, so nothing waits for it any more.
            Err(SignalError::Refused(error)) if waits_no_more(&error) || no_action(&error) => {
                let nobody = format!("nothing waits for it any longer: {error}");
                cx.progress(match change.status {
                    SignalStatus::Success => Progress::Output(nobody),
                    SignalStatus::Failure => Progress::Warning(nobody),
                });
            }
            Err(error) => return Err(error),
        }
        record(EntryState::Done, &detail, cx).await;
        Ok(())
    }

    async fn send(&self, change: &Change, cx: &Context<'_>) -> Result<(), SignalError> {
        let (aws, status) = (&cx.world.aws, change.status);
        let sent = match &change.target {
            Target::Resource { stack, resource } => {
                let unique_id = self.instance(cx)?;
                aws.stacks.signal_resource(&ResourceSignal { stack: stack.clone(), resource: resource.clone(), unique_id, status }).await
            }
            Target::WaitCondition { url, .. } => {
                let reason = change.reason.clone().unwrap_or_else(|| "the boot is done".into());
                let signal = WaitSignal { status, unique_id: self.instance(cx)?, data: reason.clone(), reason };
                aws.stacks.signal_wait_condition(url, &signal).await
            }
            Target::Hook(action) => aws.groups.complete(action, result(status)).await,
            Target::Evidence(_) => Ok(()),
        };
        sent.map_err(SignalError::Refused)
    }
}

/// Records the progress of the signal. A full or hanging disk does not prevent the signal: at worst it is sent again.
async fn record(state: EntryState, detail: &str, cx: &Context<'_>) {
    let clock = &cx.host().clock;
    let entry = Entry { state, boot_id: cx.world.boot_id.clone(), at: clock.now().to_string(), detail: Some(detail.into()) };
    let trouble = tokio::select! {
        biased;
        written = cx.world.record.put(cx.address.as_str(), entry) => match written {
            Ok(()) => return,
            Err(error) => Explanation::of(&error).to_string(),
        },
        () = clock.sleep(RECORDED_WITHIN) => format!("the disk has not answered for {RECORDED_WITHIN:?}"),
    };
    cx.progress(Progress::Warning(format!("the next boot may signal again, because this is not recorded: {trouble}")));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: serde_json::Value) -> Result<Signal, String> {
        serde_json::from_value(fields).map_err(|error| error.to_string())
    }

    #[test]
    fn goes_to_exactly_one() {
        for fields in [
            json!({}),
            json!({ "cloudformation": {}, "lifecycle_hook": {} }),
            json!({ "cloudformation": { "wait_condition_url": "https://x", "stack": "s" } }),
            json!({ "cloudformation": { "stak": "s" } }),
        ] {
            assert!(read(fields.clone()).is_err(), "{fields}");
        }
        assert!(read(json!({ "cloudformation": {} })).is_ok() && read(json!({ "lifecycle_hook": {} })).is_ok());
    }

    #[test]
    fn the_url_of_a_wait_condition_does_not_print() {
        let signal = read(json!({ "cloudformation": { "wait_condition_url": "https://s3cr3t" } })).unwrap();
        let summary = signal.summary(&|text| text.raw().to_owned());
        assert!(!format!("{signal:?} {summary}").contains("s3cr3t"));
    }
}
