//! Decides which signals are due, based on the record of the previous one.

use super::target::Target;
use crate::aws::autoscaling::ActionResult;
use crate::aws::cloudformation::SignalStatus;
use crate::host::state::{Entry, EntryState};
use crate::step::Phase;

pub(super) fn result(status: SignalStatus) -> ActionResult {
    match status {
        SignalStatus::Success => ActionResult::Continue,
        SignalStatus::Failure => ActionResult::Abandon,
    }
}

/// The signal and its receiver, for display.
pub(super) fn told(target: &Target, status: SignalStatus) -> String {
    match target {
        Target::Resource { stack, resource } => format!("signal {} to stack {stack}, resource {resource}", status.word()),
        Target::WaitCondition { .. } => format!("signal {} to the wait condition", status.word()),
        Target::Evidence(place) => format!("write the evidence of this boot to {place}"),
        Target::Hook(action) => format!("complete lifecycle hook {} of group {} with {}", action.hook, action.group, result(status).word()),
    }
}

/// The same for the record: it distinguishes receivers, and contains no URL.
pub(super) fn detail(target: &Target, status: SignalStatus, phase: Phase) -> String {
    match target {
        Target::Resource { .. } | Target::Evidence(_) => told(target, status),
        Target::WaitCondition { digest, .. } => format!("{} {digest}", told(target, status)),
        Target::Hook(_) => format!("{} in phase {}", told(target, status), phase.word()),
    }
}

/// Whether a signal has to be sent, according to the record of the previous one.
pub(super) fn is_due(target: &Target, status: SignalStatus, recorded: Option<&Entry>, boot_id: &str, phase: Phase) -> bool {
    let Some(entry) = recorded.filter(|entry| entry.state == EntryState::Done) else { return true };
    let was_told = |status| entry.detail.as_deref() == Some(&*detail(target, status, phase));
    match target {
        // Without /proc, the current boot cannot be identified.
        Target::Hook(_) if entry.boot_id != boot_id || boot_id.is_empty() => true,
        _ => !was_told(status) && !was_told(SignalStatus::Success),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::autoscaling::LifecycleAction;

    fn stack() -> Target {
        Target::Resource { stack: "shop".into(), resource: "Web".into() }
    }

    fn hook() -> Target {
        Target::Hook(LifecycleAction { group: "shop".into(), hook: "ready".into(), instance: "i-0".into() })
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
            // Recorded entry, boot and phase, signal to send: is it due?
            (None, "b", Phase::Serve, stack(), Success, true),
            (Some(entry(started, &stack(), Success)), "b", Phase::Serve, stack(), Success, true),
            (Some(entry(done, &stack(), Success)), "c", Phase::Serve, stack(), Success, false),
            (Some(entry(done, &stack(), Failure)), "b", Phase::Serve, stack(), Success, true),
            (Some(entry(done, &stack(), Failure)), "c", Phase::Serve, stack(), Failure, false),
            (Some(entry(done, &stack(), Success)), "c", Phase::Serve, stack(), Failure, false),
            (Some(entry(done, &stack(), Success)), "b", Phase::Serve, other, Success, true),
            (Some(entry(done, &hook(), Success)), "b", Phase::Serve, hook(), Success, false),
            (Some(entry(done, &hook(), Success)), "b", Phase::Warm, hook(), Success, true),
            (Some(entry(done, &hook(), Success)), "b", Phase::Serve, hook(), Failure, false),
            (Some(entry(done, &hook(), Success)), "b", Phase::Warm, hook(), Failure, true),
            (Some(entry(done, &hook(), Success)), "c", Phase::Serve, hook(), Failure, true),
            (Some(entry(done, &hook(), Success)), "c", Phase::Serve, hook(), Success, true),
            (Some(entry(done, &hook(), Failure)), "b", Phase::Serve, hook(), Success, true),
        ];
        for (recorded, boot, phase, target, status, due) in rows {
            assert_eq!(is_due(&target, status, recorded.as_ref(), boot, phase), due, "{recorded:?} {boot} {phase:?} {target:?} {status:?}");
        }
    }
}
