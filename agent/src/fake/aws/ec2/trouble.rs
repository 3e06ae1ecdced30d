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
            let message = format!("{operation} was to fail with {code}");
            let failure = Failure { operation: operation.into(), code: code.into(), message, left: times };
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

        /// Puts a volume into another state, such as `deleting`.
        pub(crate) fn set_state(&self, volume: &str, state: &str) {
            self.account.borrow_mut().volumes.get_mut(volume).expect("a volume that is there").volume.state = state.into();
        }
    }
}
