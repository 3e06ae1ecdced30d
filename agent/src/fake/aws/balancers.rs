//! Elastic Load Balancing, in memory: the instance is healthy in every group, unless a test says otherwise; no other one is there.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;

use super::calls::Calls;
use crate::aws::AwsError;
use crate::aws::balancers::{Balancers, SERVICE, TargetHealth};
use crate::aws::client::call::Call;
use crate::fake::machine::{FakeMachine, INSTANCE};
use crate::host::identity;

/// In place of a code of AWS: there is no answer.
const SILENCE: &str = "silence";

#[derive(Default)]
pub(crate) struct FakeBalancers {
    /// The instance that is registered. In a rehearsal, whatever it is called.
    machine: Option<FakeMachine>,
    /// By group, what each look at it finds; the last finds it for ever. An error is a code of AWS.
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

/// What tests state and ask.
#[cfg(test)]
mod knobs {
    use super::{FakeBalancers, TargetHealth};

    impl FakeBalancers {
        /// Has the looks at a group find these one after the other: a state, a state and its reason, or `! CODE` of an error;
        /// `! silence` is no answer at all.
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
