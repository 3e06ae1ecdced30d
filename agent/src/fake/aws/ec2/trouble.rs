//! Failures of EC2 that tests and laws can request.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::client::call::Call;
use crate::aws::{AwsError, AwsErrorKind};

#[derive(Default)]
pub(super) struct Trouble {
    failures: Vec<Failure>,
    /// Actions that take effect but whose answers never arrive, and for how many calls.
    lost: BTreeMap<String, usize>,
    /// For how many polls new volumes are `creating`, and for how many they are not shown.
    creating: usize,
    unseen: usize,
    /// The state that new volumes reach if it is not `available`.
    becomes: Option<String>,
    /// Volumes and devices that stay `attaching` forever.
    stuck: BTreeSet<String>,
    /// By volume, the instance that attaches it just before this one does.
    races: BTreeMap<String, String>,
}

struct Failure {
    operation: String,
    code: String,
    message: String,
    left: usize,
}

impl Trouble {
    /// Returns the failure planned for this call, if any.
    pub(super) fn with(&mut self, call: &Call) -> Result<(), AwsError> {
        let Some(failure) = self.failures.iter_mut().find(|failure| failure.left > 0 && failure.operation == call.operation) else {
            return Ok(());
        };
        failure.left -= 1;
        Err(call.refused(Some(&failure.code), Some(&failure.message), Some(400)))
    }

    pub(super) fn lose_answer(&mut self, call: &Call) -> Result<(), AwsError> {
        match self.lost.get_mut(call.operation) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Err(call.error(AwsErrorKind::Unreachable, "connection reset"))
            }
            _ => Ok(()),
        }
    }

    /// The life of a new volume: polls as `creating`, polls in which it is not shown, and the state it reaches.
    pub(super) fn birth(&self) -> (usize, usize, String) {
        (self.creating, self.unseen, self.becomes.clone().unwrap_or_else(|| "available".into()))
    }

    pub(super) fn sticks(&self, volume: &str, device: &str) -> bool {
        self.stuck.contains(volume) || self.stuck.contains(device)
    }

    pub(super) fn race(&mut self, volume: &str) -> Option<String> {
        self.races.remove(volume)
    }
}

/// Failures on request. They take `&self`, so that a test can request them at any time.
#[cfg(test)]
mod knobs {
    use super::Failure;
    use crate::aws::ec2::ElasticAddress;
    use crate::fake::aws::ec2::FakeEc2;

    impl FakeEc2 {
        /// Refuses the next `times` calls as AWS does under load.
        pub(crate) fn throttle(&self, times: usize) {
            self.calls.throttle.set(times);
        }

        /// Denies an action such as `CreateVolume` from now on.
        pub(crate) fn deny(&self, operation: &str) {
            self.fail(operation, "UnauthorizedOperation", usize::MAX);
        }

        /// Allows a denied action again.
        pub(crate) fn allow(&self, operation: &str) {
            self.trouble.borrow_mut().failures.retain(|failure| failure.operation != operation);
        }

        /// Makes the next `times` calls of an action fail with an EC2 error code.
        pub(crate) fn fail(&self, operation: &str, code: &str, times: usize) {
            self.refuse(operation, code, &format!("{operation} was to fail with {code}"), times);
        }

        /// Does the same, with EC2's own message.
        pub(crate) fn refuse(&self, operation: &str, code: &str, message: &str, times: usize) {
            let failure = Failure { operation: operation.into(), code: code.into(), message: message.into(), left: times };
            self.trouble.borrow_mut().failures.push(failure);
        }

        /// Makes the next `times` calls of an action take effect without an answer.
        pub(crate) fn lose_answers(&self, operation: &str, times: usize) {
            self.trouble.borrow_mut().lost.insert(operation.into(), times);
        }

        /// Keeps new volumes in `creating` for this many polls; the default is 0.
        pub(crate) fn creating_for(&self, polls: usize) {
            self.trouble.borrow_mut().creating = polls;
        }

        /// Hides new volumes for this many polls, as EC2 does until it is consistent.
        pub(crate) fn unseen_for(&self, polls: usize) {
            // The first poll counts down before it looks.
            self.trouble.borrow_mut().unseen = polls + usize::from(polls > 0);
        }

        /// Makes new volumes reach this state, such as `error` for a KMS key that may not be used.
        pub(crate) fn creating_ends_in(&self, state: &str) {
            self.trouble.borrow_mut().becomes = Some(state.into());
        }

        /// Keeps a volume, or the volume attached as this device, `attaching` forever: no disk appears.
        pub(crate) fn stick(&self, volume_or_device: &str) {
            self.trouble.borrow_mut().stuck.insert(volume_or_device.into());
        }

        /// Lets another instance attach a volume just before the next AttachVolume, which EC2 then refuses.
        pub(crate) fn lose_race_for(&self, volume: &str, winner: &str) {
            self.trouble.borrow_mut().races.insert(volume.into(), winner.into());
        }

        /// Lets another instance attach a volume now.
        pub(crate) fn taken_by(&self, volume: &str, instance: &str) {
            self.account.borrow_mut().volumes.get_mut(volume).expect("a volume that is there").attach(instance, "/dev/sdf", "attached");
        }

        /// Adds an elastic address, or associates it with another instance.
        pub(crate) fn address_of(&self, allocation: &str, instance: Option<&str>) {
            let (public_ip, instance) = ("203.0.113.7".into(), instance.map(str::to_owned));
            let address = ElasticAddress { public_ip, instance, interface: None, private_ip: None };
            self.account.borrow_mut().addresses.insert(allocation.into(), address);
        }

        /// Associates an elastic address with a network interface of this instance and with one of the interface's
        /// private addresses.
        pub(crate) fn address_on(&self, allocation: &str, interface: &str, private_ip: &str) {
            self.address_of(allocation, Some(crate::fake::machine::INSTANCE));
            let mut account = self.account.borrow_mut();
            let address = account.addresses.get_mut(allocation).expect("it is there");
            (address.interface, address.private_ip) = (Some(interface.into()), Some(private_ip.into()));
        }

        /// The network interface that an elastic address is associated with, and the interface's private address that
        /// it maps to.
        pub(crate) fn interface(&self, allocation: &str) -> Option<(String, String)> {
            let account = self.account.borrow();
            let address = account.addresses.get(allocation)?;
            Some((address.interface.clone()?, address.private_ip.clone()?))
        }

        /// The instance that an elastic address is associated with.
        pub(crate) fn holder(&self, allocation: &str) -> Option<String> {
            self.account.borrow().addresses.get(allocation)?.instance.clone()
        }

        /// Puts a volume into another state, such as `deleting`.
        pub(crate) fn set_state(&self, volume: &str, state: &str) {
            self.account.borrow_mut().volumes.get_mut(volume).expect("a volume that is there").volume.state = state.into();
        }
    }
}
