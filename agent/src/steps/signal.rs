//! `signals:` — what the boot came to, told to those that wait for this instance.
//!
//! ```yaml
//! signals:
//!   stack: { cloudformation: {} }                      # stack and resource by the instance's tags, or given:
//!   web:   { cloudformation: { stack: shop, resource: WebGroup } }
//!   wait:  { cloudformation: { wait_condition_url: "{{secrets.wait}}" } }    # the only one that takes a reason along
//!   hook:  { lifecycle_hook: { name: ready } }         # group by the tag; no name needed where there is one launch hook
//! ```
//!
//! A signal comes after everything, however that ended; after the failure of a required step at once, for nothing can
//! make the boot a good one any more. Others are told SUCCESS and CONTINUE, or FAILURE and ABANDON. What was sent is on
//! record before and after, and is sent again until AWS has taken it: the same signal twice counts as one. Nobody is told
//! of a failure who has been told of a success: a stack waits for the first boot only. A lifecycle hook waits again when
//! the instance leaves a warm pool, so it is told once in each phase of each start of the machine.
//!
//! Whom a signal goes to is found in [`target`]; that a hook waits as long as the boot goes on is the business of
//! [`heartbeat`]; when it is time, that of [`Order::AfterEverything`].

mod fields;
mod heartbeat;
mod target;
mod trouble;

use std::fmt;
use std::time::Duration;

use self::fields::{To, WaitUrl};
use self::target::Target;
use crate::aws::autoscaling::{ActionResult, no_action};
use crate::aws::cloudformation::{ResourceSignal, SignalStatus, WaitSignal, waits_no_more};
use crate::failure::{Explanation, Objection};
use crate::host::state::{Entry, EntryState};
use crate::step::verdict::Verdict;
use crate::step::{AsksAws, Context, Order, Outputs, Phase, Progress, Shape, Step};
use crate::text::Text;

pub(crate) use self::fields::Signal;
pub(crate) use self::trouble::SignalError;

/// As long as any other call to AWS is tried.
const PATIENCE: Duration = Duration::from_secs(600);

/// Twice as long is less than what a boot has left for its signals once its deadline has passed.
const RECORDED_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    target: Target,
    status: SignalStatus,
    reason: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&self.target, self.status))?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl Step for Signal {
    type Change = Change;
    type Error = SignalError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        match &self.to {
            To::Resource { .. } => "what the boot came to, to CloudFormation".into(),
            To::WaitCondition(_) => "what the boot came to, to a wait condition".into(),
            To::Hook { name: Some(name), .. } => format!("what the boot came to, to the lifecycle hook {}", shown(name)),
            To::Hook { name: None, .. } => "what the boot came to, to the lifecycle hook".into(),
        }
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        let hook = matches!(self.to, To::Hook { .. });
        Shape {
            texts: self.texts(),
            order: Order::AfterEverything,
            // A stack waits for instances that serve.
            phase: if hook { Phase::Warm } else { Phase::Serve },
            heeds_phase: hook,
            goes_on_meanwhile: hook,
            patience: PATIENCE,
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
            To::WaitCondition(_) => Vec::new(),
            _ if secret => objection("the name of one who waits cannot be a secret", "everybody may see it: write it into the document"),
            _ => Vec::new(),
        }
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, SignalError> {
        let target = self.target(cx).await?;
        let (status, reason) = match cx.world.known.verdict() {
            Verdict::Well => (SignalStatus::Success, None),
            Verdict::Failed { reason } => (SignalStatus::Failure, Some(reason)),
        };
        let recorded = cx.world.record.get(cx.address.as_str());
        let due = is_due(&target, status, recorded.as_ref(), &cx.world.boot_id, cx.world.phase);
        Ok(due.then_some(Change { target, status, reason }).into_iter().collect())
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), SignalError> {
        let detail = detail(&change.target, change.status, cx.world.phase);
        record(EntryState::Started, &detail, cx).await;
        cx.asking(format!("for AWS to take it: {}", told(&change.target, change.status)));
        match self.send(&change, cx).await {
            Ok(()) => {}
            // Others have told it, or their time was over: there is nobody left to tell.
            Err(SignalError::Refused(error)) if waits_no_more(&error) || no_action(&error) => {
                let nobody = format!("nobody waits for it any more: {error}");
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

    async fn outputs(&self, _cx: &Context<'_>) -> Result<Outputs, SignalError> {
        Ok(Outputs::default())
    }

    async fn meanwhile(&self, cx: &Context<'_>) {
        heartbeat::keep(self, cx).await;
    }
}

impl Signal {
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
        };
        sent.map_err(SignalError::Refused)
    }
}

fn result(status: SignalStatus) -> ActionResult {
    match status {
        SignalStatus::Success => ActionResult::Continue,
        SignalStatus::Failure => ActionResult::Abandon,
    }
}

/// What is told to whom, for people.
fn told(target: &Target, status: SignalStatus) -> String {
    match target {
        Target::Resource { stack, resource } => format!("signal {} to stack {stack}, resource {resource}", status.word()),
        Target::WaitCondition { .. } => format!("signal {} to the wait condition", status.word()),
        Target::Hook(action) => format!("complete lifecycle hook {} of group {} with {}", action.hook, action.group, result(status).word()),
    }
}

/// The same for the record: it tells two targets apart, and holds no URL.
fn detail(target: &Target, status: SignalStatus, phase: Phase) -> String {
    match target {
        Target::Resource { .. } => told(target, status),
        Target::WaitCondition { digest, .. } => format!("{} {digest}", told(target, status)),
        Target::Hook(_) => format!("{} in phase {}", told(target, status), phase.word()),
    }
}

/// Whether a signal is to be sent, by what is on record of the last one.
fn is_due(target: &Target, status: SignalStatus, recorded: Option<&Entry>, boot_id: &str, phase: Phase) -> bool {
    let Some(entry) = recorded.filter(|entry| entry.state == EntryState::Done) else { return true };
    let was_told = |status| entry.detail.as_deref() == Some(&*detail(target, status, phase));
    match target {
        // Without /proc nobody knows which boot this is.
        Target::Hook(_) => !was_told(status) || entry.boot_id != boot_id || boot_id.is_empty(),
        _ => !was_told(status) && !was_told(SignalStatus::Success),
    }
}

/// Notes how far the signal has come. A disk that is full, or hangs, does not keep it from those who wait for it: at the
/// worst it is sent once more.
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
    cx.progress(Progress::Warning(format!("the next boot may signal once more, since this is not on record: {trouble}")));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::aws::autoscaling::LifecycleAction;

    fn read(fields: serde_json::Value) -> Result<Signal, String> {
        serde_json::from_value(fields).map_err(|error| error.to_string())
    }

    fn stack() -> Target {
        Target::Resource { stack: "shop".into(), resource: "Web".into() }
    }

    fn hook() -> Target {
        Target::Hook(LifecycleAction { group: "shop".into(), hook: "ready".into(), instance: "i-0".into() })
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

    #[test]
    fn is_due_until_it_was_taken_and_a_success_is_the_last_word() {
        use SignalStatus::{Failure, Success};
        let entry = |state, target: &Target, status| Entry {
            state,
            boot_id: "b".into(),
            at: String::new(),
            detail: Some(detail(target, status, Phase::Serve)),
        };
        let (started, done) = (EntryState::Started, EntryState::Done);
        let other = Target::Resource { stack: "other".into(), resource: "Web".into() };
        let rows = [
            // What is on record, the boot and its phase, what is to be told: is it due?
            (None, "b", Phase::Serve, stack(), Success, true),
            (Some(entry(started, &stack(), Success)), "b", Phase::Serve, stack(), Success, true),
            (Some(entry(done, &stack(), Success)), "c", Phase::Serve, stack(), Success, false),
            (Some(entry(done, &stack(), Failure)), "b", Phase::Serve, stack(), Success, true),
            (Some(entry(done, &stack(), Failure)), "c", Phase::Serve, stack(), Failure, false),
            (Some(entry(done, &stack(), Success)), "c", Phase::Serve, stack(), Failure, false),
            (Some(entry(done, &stack(), Success)), "b", Phase::Serve, other, Success, true),
            (Some(entry(done, &hook(), Success)), "b", Phase::Serve, hook(), Success, false),
            (Some(entry(done, &hook(), Success)), "b", Phase::Warm, hook(), Success, true),
            (Some(entry(done, &hook(), Success)), "c", Phase::Serve, hook(), Success, true),
            (Some(entry(done, &hook(), Failure)), "b", Phase::Serve, hook(), Success, true),
        ];
        for (recorded, boot, phase, target, status, due) in rows {
            assert_eq!(is_due(&target, status, recorded.as_ref(), boot, phase), due, "{recorded:?} {boot} {phase:?} {target:?} {status:?}");
        }
    }
}
