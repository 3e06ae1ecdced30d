//! Elastic Load Balancing, in memory: the instance is healthy in every target group unless a test says otherwise, and
//! no other instance exists.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;

use super::calls::Calls;
use crate::aws::AwsError;
use crate::aws::balancers::{Balancers, SERVICE, TargetHealth};
use crate::aws::client::call::Call;
use crate::fake::machine::{FakeMachine, INSTANCE};
use crate::host::identity;

/// Used in place of an AWS error code: the call is never answered.
const SILENCE: &str = "silence";

#[derive(Default)]
pub(crate) struct FakeBalancers {
    /// The machine whose instance is registered. In a rehearsal, an instance with any id counts as this one.
    machine: Option<FakeMachine>,
    /// By target group, what each successive describe finds; the last entry repeats forever. An error is an AWS error
    /// code.
    found: RefCell<BTreeMap<String, VecDeque<Result<TargetHealth, &'static str>>>>,
    calls: Calls,
}

impl FakeBalancers {
    pub(crate) fn new(machine: FakeMachine) -> Self {
        Self { machine: Some(machine), ..Self::default() }
    }

    fn next(&self, group: &str) -> Option<Result<TargetHealth, &'static str>> {
        let mut found = self.found.borrow_mut();
        let looks = found.get_mut(group)?;
        if looks.len() > 1 { looks.pop_front() } else { looks.front().cloned() }
    }
}

#[async_trait(?Send)]
impl Balancers for FakeBalancers {
    async fn health(&self, group: &str, instance: &str) -> Result<TargetHealth, AwsError> {
        let call = Call::new(SERVICE, "DescribeTargetHealth", group);
        self.calls.begin(call.service, call.operation, std::slice::from_ref(&call.resource)).await?;
        let found = self.next(group);
        if let Some(machine) = &self.machine
            && identity::dmi(&*machine.host().files).await.as_deref().unwrap_or(INSTANCE) != instance
        {
            return Ok(TargetHealth::not_registered());
        }
        match found {
            Some(Err(SILENCE)) => std::future::pending().await,
            Some(Err(code)) => Err(call.refused(Some(code), Some("it was to fail"), Some(400))),
            Some(Ok(health)) => Ok(health),
            None => Ok(TargetHealth { state: "healthy".into(), reason: None, description: None }),
        }
    }
}

/// For tests: setting the scene and reading results.
#[cfg(test)]
mod knobs {
    use super::{FakeBalancers, TargetHealth};

    impl FakeBalancers {
        /// Sets what successive describes of a group find: a state, a state and its reason, or `! CODE` for an error;
        /// `! silence` means no answer at all.
        pub(crate) fn finds(&self, group: &str, looks: &[&'static str]) {
            let look = |text: &&'static str| match (text.strip_prefix("! "), text.split_once(' ')) {
                (Some(code), _) => Err(code),
                (None, Some((state, reason))) => Ok(TargetHealth { state: state.into(), reason: Some(reason.into()), description: None }),
                (None, None) => Ok(TargetHealth { state: (*text).into(), reason: None, description: None }),
            };
            self.found.borrow_mut().insert(group.into(), looks.iter().map(look).collect());
        }

        pub(crate) fn count(&self) -> usize {
            self.calls.count("DescribeTargetHealth")
        }
    }
}
