//! CloudFormation and Auto Scaling, in memory, waiting for one machine in memory.
//!
//! Every stack and group that is named exists. A signal that is sent counts as a change by this process, so that a test
//! can kill the process right after it. Failures on request are in [`Trouble`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::calls::Calls;
use crate::aws::autoscaling::{self, ActionResult, AutoScaling, Hook, LifecycleAction};
use crate::aws::client::call::Call;
use crate::aws::cloudformation::{self, CloudFormation, ResourceSignal, WaitSignal};
use crate::aws::{AwsError, AwsErrorKind};
use crate::fake::machine::FakeMachine;
use crate::host::Clock;
use crate::text::SecretText;

/// The heartbeat timeout of a hook for which none was set.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(300);

/// Failures on request, by action: refusals, and answers that never arrive although the call took effect.
#[derive(Debug, Default)]
struct Trouble {
    refusals: RefCell<Vec<(&'static str, String, String)>>,
    lost: RefCell<Vec<&'static str>>,
}

impl Trouble {
    fn refusal(&self, call: &Call) -> Result<(), AwsError> {
        let mut refusals = self.refusals.borrow_mut();
        match refusals.iter().position(|(operation, ..)| *operation == call.operation) {
            Some(at) => {
                let (_, code, message) = refusals.remove(at);
                Err(call.refused(Some(&code), Some(&message), Some(400)))
            }
            None => Ok(()),
        }
    }

    fn lose_answer(&self, call: &Call) -> Result<(), AwsError> {
        let mut lost = self.lost.borrow_mut();
        match lost.iter().position(|operation| *operation == call.operation) {
            Some(at) => {
                lost.remove(at);
                Err(call.error(AwsErrorKind::Unreachable, "connection reset"))
            }
            None => Ok(()),
        }
    }
}

/// What both services share: the machine that calls them, and the planned failures.
struct Service {
    machine: FakeMachine,
    calls: Calls,
    trouble: Trouble,
}

impl Service {
    fn new(machine: FakeMachine) -> Self {
        Self { machine, calls: Calls::default(), trouble: Trouble::default() }
    }

    async fn begin(&self, call: &Call) -> Result<(), AwsError> {
        self.machine.alive().await;
        self.calls.begin(call.service, call.operation, std::slice::from_ref(&call.resource)).await?;
        self.trouble.refusal(call)
    }

    /// Makes a change that counts as one by this process; `change` returns whether there was anything to change.
    async fn change(&self, call: &Call, change: impl FnOnce() -> Result<bool, AwsError>) -> Result<(), AwsError> {
        self.begin(call).await?;
        let mut outcome = None;
        let ended = self.machine.change(|| {
            let made = change();
            let changed = matches!(made, Ok(true));
            outcome = Some(made);
            Ok(changed)
        });
        ended.await.map_err(|error| call.error(AwsErrorKind::Unreachable, error.to_string()))?;
        outcome.expect("a change that ended was made")?;
        self.trouble.lose_answer(call)
    }
}

/// CloudFormation. It accepts every signal, including repeated ones.
pub(crate) struct FakeCloudFormation {
    service: Service,
    signals: RefCell<Vec<ResourceSignal>>,
    waited: RefCell<Vec<(SecretText, WaitSignal)>>,
    complete: Cell<bool>,
}

impl FakeCloudFormation {
    pub(crate) fn new(machine: FakeMachine) -> Self {
        Self { service: Service::new(machine), signals: RefCell::default(), waited: RefCell::default(), complete: Cell::new(false) }
    }
}

#[async_trait(?Send)]
impl CloudFormation for FakeCloudFormation {
    async fn signal_resource(&self, signal: &ResourceSignal) -> Result<(), AwsError> {
        let call = Call::new(cloudformation::SERVICE, "SignalResource", format!("{} of {}", signal.resource, signal.stack));
        let complete = self.complete.get();
        let taken = || {
            if complete {
                let message = format!("Stack {} is in CREATE_COMPLETE state and cannot be signaled", signal.stack);
                return Err(call.refused(Some("ValidationError"), Some(&message), Some(400)));
            }
            self.signals.borrow_mut().push(signal.clone());
            Ok(true)
        };
        self.service.change(&call, taken).await
    }

    async fn signal_wait_condition(&self, url: &SecretText, signal: &WaitSignal) -> Result<(), AwsError> {
        let call = Call::new(cloudformation::SERVICE, "PUT", "to the wait condition");
        let taken = || {
            self.waited.borrow_mut().push((url.clone(), signal.clone()));
            Ok(true)
        };
        self.service.change(&call, taken).await
    }
}

/// Auto Scaling. It waits for each lifecycle action until the action is completed or its heartbeat times out.
pub(crate) struct FakeAutoScaling {
    service: Service,
    group: RefCell<Option<String>>,
    hooks: RefCell<Option<Vec<Hook>>>,
    /// Finished actions, with their results.
    over: RefCell<BTreeMap<LifecycleAction, ActionResult>>,
    /// When the actions begin; until then, the load balancer is still draining the instance.
    begins: Cell<Duration>,
    /// When each action began or had its last heartbeat.
    beats: RefCell<BTreeMap<LifecycleAction, Vec<Duration>>>,
}

impl FakeAutoScaling {
    pub(crate) fn new(machine: FakeMachine) -> Self {
        let (group, hooks, over, beats) = (RefCell::default(), RefCell::default(), RefCell::default(), RefCell::default());
        Self { service: Service::new(machine), group, hooks, over, begins: Cell::default(), beats }
    }

    fn hooks(&self) -> Vec<Hook> {
        let invented = || vec![Hook { name: "<the launch hook>".into(), heartbeat_timeout: HEARTBEAT_TIMEOUT }];
        self.hooks.borrow().clone().unwrap_or_else(invented)
    }

    /// Checks that an action is being waited for at the current time.
    fn waits(&self, call: &Call, action: &LifecycleAction) -> Result<(), AwsError> {
        let now = self.service.machine.elapsed();
        let begins = self.begins.get();
        let last = self.beats.borrow().get(action).and_then(|beats| beats.last().copied()).unwrap_or(begins);
        let timeout =
            self.hooks().into_iter().find(|hook| hook.name == action.hook).map_or(HEARTBEAT_TIMEOUT, |hook| hook.heartbeat_timeout);
        if now > last + timeout {
            self.over.borrow_mut().entry(action.clone()).or_insert(ActionResult::Abandon);
        }
        if now < begins || self.over.borrow().contains_key(action) {
            let message = format!("No active Lifecycle Action found with instance ID {}", action.instance);
            return Err(call.refused(Some("ValidationError"), Some(&message), Some(400)));
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl AutoScaling for FakeAutoScaling {
    async fn group_of(&self, instance: &str) -> Result<Option<String>, AwsError> {
        self.service.begin(&Call::new(autoscaling::SERVICE, "DescribeAutoScalingInstances", instance)).await?;
        Ok(self.group.borrow().clone())
    }

    async fn launch_hooks(&self, group: &str) -> Result<Vec<Hook>, AwsError> {
        self.service.begin(&Call::new(autoscaling::SERVICE, "DescribeLifecycleHooks", group)).await?;
        Ok(self.hooks())
    }

    async fn leaving_hooks(&self, group: &str) -> Result<Vec<Hook>, AwsError> {
        self.launch_hooks(group).await
    }

    async fn complete(&self, action: &LifecycleAction, result: ActionResult) -> Result<(), AwsError> {
        let call = Call::new(autoscaling::SERVICE, "CompleteLifecycleAction", format!("{} of {}", action.hook, action.group));
        let completed = || {
            self.waits(&call, action)?;
            self.over.borrow_mut().insert(action.clone(), result);
            Ok(true)
        };
        self.service.change(&call, completed).await
    }

    async fn heartbeat(&self, action: &LifecycleAction) -> Result<(), AwsError> {
        let call = Call::new(autoscaling::SERVICE, "RecordLifecycleActionHeartbeat", format!("{} of {}", action.hook, action.group));
        self.service.begin(&call).await?;
        self.waits(&call, action)?;
        let now = self.service.machine.elapsed();
        self.beats.borrow_mut().entry(action.clone()).or_default().push(now);
        self.service.trouble.lose_answer(&call)
    }

    async fn set_unhealthy(&self, instance: &str) -> Result<(), AwsError> {
        let call = Call::new(autoscaling::SERVICE, "SetInstanceHealth", instance);
        if self.group.borrow().is_none() {
            let message = format!("Instance Id not found - No managed instance found for instance ID: {instance}");
            return Err(call.refused(Some("ValidationError"), Some(&message), Some(400)));
        }
        self.service.change(&call, || Ok(true)).await
    }
}

/// For tests: setting the scene and reading results.
#[cfg(test)]
mod knobs {
    use super::{ActionResult, Duration, FakeAutoScaling, FakeCloudFormation, Hook, LifecycleAction, ResourceSignal, Service, WaitSignal};

    impl Service {
        fn refuse(&self, operation: &'static str, code: &str, message: &str, times: usize) {
            let refusal = (operation, code.to_owned(), message.to_owned());
            self.trouble.refusals.borrow_mut().extend(std::iter::repeat_n(refusal, times));
        }
    }

    impl FakeCloudFormation {
        /// Makes the next `times` calls of an action fail with an error code.
        pub(crate) fn refuse(&self, operation: &'static str, code: &str, times: usize) {
            self.service.refuse(operation, code, &format!("{operation} was to fail"), times);
        }

        /// Makes the next call of an action take effect without an answer.
        pub(crate) fn lose_answer(&self, operation: &'static str) {
            self.service.trouble.lost.borrow_mut().push(operation);
        }

        /// Makes every stack complete, so that it accepts no more signals.
        pub(crate) fn complete(&self) {
            self.complete.set(true);
        }

        pub(crate) fn count(&self, operation: &str) -> usize {
            self.service.calls.count(operation)
        }

        /// Every signal that was accepted, in order.
        pub(crate) fn signals(&self) -> Vec<ResourceSignal> {
            self.signals.borrow().clone()
        }

        /// Every signal that was sent to a wait condition, in order, with its URL.
        pub(crate) fn waited(&self) -> Vec<(String, WaitSignal)> {
            self.waited.borrow().iter().map(|(url, signal)| (url.expose().to_owned(), signal.clone())).collect()
        }
    }

    impl FakeAutoScaling {
        /// As [`FakeCloudFormation::refuse`].
        pub(crate) fn refuse(&self, operation: &'static str, code: &str, times: usize) {
            self.service.refuse(operation, code, &format!("{operation} was to fail"), times);
        }

        /// Sets the group of the instance, and its launch hooks with their timeouts in seconds.
        pub(crate) fn set(&self, group: Option<&str>, hooks: &[(&str, u64)]) {
            let hook = |(name, seconds): &(&str, u64)| Hook { name: (*name).into(), heartbeat_timeout: Duration::from_secs(*seconds) };
            *self.group.borrow_mut() = group.map(str::to_owned);
            *self.hooks.borrow_mut() = Some(hooks.iter().map(hook).collect());
        }

        /// Makes the actions begin after this many seconds.
        pub(crate) fn begins_after(&self, seconds: u64) {
            self.begins.set(Duration::from_secs(seconds));
        }

        /// Makes the hooks wait again, as when the instance leaves the warm pool.
        pub(crate) fn wait_again(&self) {
            let now = self.service.machine.host().clock.elapsed();
            let over = std::mem::take(&mut *self.over.borrow_mut());
            self.beats.borrow_mut().extend(over.into_keys().map(|action| (action, vec![now])));
        }

        pub(crate) fn count(&self, operation: &str) -> usize {
            self.service.calls.count(operation)
        }

        /// The finished actions and their results.
        pub(crate) fn over(&self) -> Vec<(LifecycleAction, ActionResult)> {
            self.over.borrow().iter().map(|(action, result)| (action.clone(), *result)).collect()
        }
    }
}
