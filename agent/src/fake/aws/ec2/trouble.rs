//! What goes wrong with EC2 on request.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::client::call::Call;
use crate::aws::{AwsError, AwsErrorKind};

#[derive(Default)]
pub(super) struct Trouble {
    failures: Vec<Failure>,
    /// Actions whose next answers never arrive, though they took effect; and how many.
    lost: BTreeMap<String, usize>,
    /// For how many polls new volumes are `creating`, and for how many they are not seen.
    creating: usize,
    unseen: usize,
    /// What new volumes become, unless that is `available`.
    becomes: Option<String>,
    /// Volumes and devices that are for ever `attaching`.
    stuck: BTreeSet<String>,
    /// Who attaches a volume just before us.
    races: BTreeMap<String, String>,
}

struct Failure {
    operation: String,
    code: String,
    message: String,
    left: usize,
}

impl Trouble {
    /// What is to go wrong with this call.
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

    /// How a new volume comes to be: polls as `creating`, polls unseen, and what it becomes.
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

/// Failures on request. They take `&self`: a test may ask for them in the middle.
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

        /// Takes back what was denied.
        pub(crate) fn allow(&self, operation: &str) {
            self.trouble.borrow_mut().failures.retain(|failure| failure.operation != operation);
        }

        /// Has the next `times` calls of an action fail with one of EC2's codes.
        pub(crate) fn fail(&self, operation: &str, code: &str, times: usize) {
            self.refuse(operation, code, &format!("{operation} was to fail with {code}"), times);
        }

        /// The same in EC2's own words.
        pub(crate) fn refuse(&self, operation: &str, code: &str, message: &str, times: usize) {
            let failure = Failure { operation: operation.into(), code: code.into(), message: message.into(), left: times };
            self.trouble.borrow_mut().failures.push(failure);
        }

        /// Has the next `times` calls of an action take effect, and their answers never arrive.
        pub(crate) fn lose_answers(&self, operation: &str, times: usize) {
            self.trouble.borrow_mut().lost.insert(operation.into(), times);
        }

        /// Has new volumes be `creating` for this many polls; 0 unless told.
        pub(crate) fn creating_for(&self, polls: usize) {
            self.trouble.borrow_mut().creating = polls;
        }

        /// Has new volumes not exist for this many polls, as is so before EC2 agrees with itself.
        pub(crate) fn unseen_for(&self, polls: usize) {
            // The first poll lets its time pass before it looks.
            self.trouble.borrow_mut().unseen = polls + usize::from(polls > 0);
        }

        /// Has new volumes end in this state, such as `error` for a KMS key that may not be used.
        pub(crate) fn creating_ends_in(&self, state: &str) {
            self.trouble.borrow_mut().becomes = Some(state.into());
        }

        /// Has a volume, or whatever is attached as this device, be `attaching` for ever: no disk comes.
        pub(crate) fn stick(&self, volume_or_device: &str) {
            self.trouble.borrow_mut().stuck.insert(volume_or_device.into());
        }

        /// Has another instance attach a volume just before the next AttachVolume of it, which EC2 then refuses.
        pub(crate) fn lose_race_for(&self, volume: &str, winner: &str) {
            self.trouble.borrow_mut().races.insert(volume.into(), winner.into());
        }

        /// Has another instance attach a volume now.
        pub(crate) fn taken_by(&self, volume: &str, instance: &str) {
            self.account.borrow_mut().volumes.get_mut(volume).expect("a volume that is there").attach(instance, "/dev/sdf", "attached");
        }

        /// Puts an elastic address there, or gives it to another instance.
        pub(crate) fn address_of(&self, allocation: &str, instance: Option<&str>) {
            let (public_ip, instance) = ("203.0.113.7".into(), instance.map(str::to_owned));
            let address = ElasticAddress { public_ip, instance, interface: None, private_ip: None };
            self.account.borrow_mut().addresses.insert(allocation.into(), address);
        }

        /// Gives an elastic address to a network interface of this instance, and to one of its private addresses.
        pub(crate) fn address_on(&self, allocation: &str, interface: &str, private_ip: &str) {
            self.address_of(allocation, Some(crate::fake::machine::INSTANCE));
            let mut account = self.account.borrow_mut();
            let address = account.addresses.get_mut(allocation).expect("it is there");
            (address.interface, address.private_ip) = (Some(interface.into()), Some(private_ip.into()));
        }

        /// Which network interface has an elastic address, and which of its own stands for it.
        pub(crate) fn interface(&self, allocation: &str) -> Option<(String, String)> {
            let account = self.account.borrow();
            let address = account.addresses.get(allocation)?;
            Some((address.interface.clone()?, address.private_ip.clone()?))
        }

        /// Which instance has an elastic address.
        pub(crate) fn holder(&self, allocation: &str) -> Option<String> {
            self.account.borrow().addresses.get(allocation)?.instance.clone()
        }

        /// Puts a volume into another state, such as `deleting`.
        pub(crate) fn set_state(&self, volume: &str, state: &str) {
            self.account.borrow_mut().volumes.get_mut(volume).expect("a volume that is there").volume.state = state.into();
        }
    }
}
