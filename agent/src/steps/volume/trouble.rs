//! Why a volume could not be made ready, and what to do about it.

use std::time::Duration;

use super::content::{ContentError, PartError};
use crate::aws::AwsError;
use crate::failure::Failure;
use crate::host::HostError;
use crate::step::fields::rounded;
use crate::template::TemplateError;

/// Why a volume could not be made ready. Nothing was written to a rejected device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("cannot render a field")]
    Render(#[source] TemplateError),
    #[error(transparent)]
    Ec2(AwsError),
    /// EC2 has something other than what was asked for.
    #[error(transparent)]
    Unsuitable(Unsuitable),
    #[error("waited {:?} for {what}", rounded(*waited))]
    Late { what: String, waited: Duration, hint: String },
    #[error(transparent)]
    Content(ContentError),
    #[error(transparent)]
    Part(PartError),
    #[error(transparent)]
    Host(HostError),
}

/// The permissions that a role needs to use a KMS key for a volume.
///
/// Source: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html>
const KMS_ACTIONS: &str = "kms:CreateGrant, kms:Decrypt, kms:DescribeKey, kms:GenerateDataKeyWithoutPlaintext and kms:ReEncrypt*";

/// What EC2 has, and why it cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsuitable {
    #[error("no completed snapshot {which} was found")]
    NoSnapshot { which: String, others: usize },
    #[error("{snapshot} is {state}, not completed")]
    SnapshotNotReady { snapshot: String, state: String },
    #[error("{snapshot} is {of_gib} GiB, more than the {wanted_gib} GiB asked for")]
    TooSmall { snapshot: String, of_gib: u32, wanted_gib: u32 },
    #[error("{volume} is in {zone}, but this instance is in {here}")]
    OtherZone { volume: String, zone: String, here: String },
    #[error("{volume} is attached to {by}")]
    InUse { volume: String, by: String },
    #[error("{volume} is a Multi-Attach volume, and is also attached to {by}")]
    Shared { volume: String, by: String },
    #[error("{volume} is {state}")]
    Gone { volume: String, state: String },
    #[error("EC2 accepted {volume} but could not create it")]
    NotMade { volume: String, encrypted: bool },
    #[error("{volume} could not be attached, after several attempts")]
    NotAttached { volume: String, encrypted: bool },
    #[error("EC2 does not show yet that {volume} is attached")]
    Unseen { volume: String },
    #[error("EC2 does not report yet that {instance} is running")]
    NotRunning { instance: String },
    #[error("no volume {which} was found in {zone}")]
    NoVolume { which: String, zone: String, elsewhere: Vec<String> },
    #[error("several volumes {which} are available: {}", found.join(", "))]
    Several { which: String, found: Vec<String> },
    #[error("another step of this document uses {volume}")]
    Taken { volume: String },
    #[error("every device name of this instance is in use")]
    NoNameLeft,
}

impl Failure for Unsuitable {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSnapshot { others: 0, .. } => {
                "correct the tags or the ID; a snapshot of another account needs `owner:`, and must be shared".into()
            }
            Self::NoSnapshot { others, .. } => {
                format!(
                    "{others} with these tags are not completed: wait for one, or see why it failed with `aws ec2 describe-snapshots --owner-ids self`"
                )
            }
            Self::SnapshotNotReady { .. } => "wait until it is completed, or name another".into(),
            Self::TooSmall { of_gib, .. } => format!("set `size_gib: {of_gib}` or more, or remove it"),
            Self::OtherZone { zone, .. } => {
                format!("launch the instance in {zone}, or restore a snapshot of the volume, which works in every zone")
            }
            Self::InUse { by, .. } => format!("detach it from {by}, or name another; with a snapshot, every instance gets its own volume"),
            Self::Shared { .. } => "an ordinary filesystem breaks when two instances mount it: restore a snapshot for each instance".into(),
            Self::Gone { volume, .. } => format!("name another volume; if {volume} held this instance's data, restore its last snapshot"),
            Self::NotMade { encrypted: true, .. } | Self::NotAttached { encrypted: true, .. } => {
                format!("allow this instance's role {KMS_ACTIONS} on the volume's key and on the snapshot's")
            }
            Self::NotAttached { .. } => "run `dmesg` for the kernel's NVMe messages".into(),
            Self::Unseen { .. } | Self::NotRunning { .. } => "give it a longer `timeout:` if EC2 stays like this".into(),
            Self::NotMade { volume, .. } => {
                format!("run `ingot boot` again; `aws ec2 describe-volumes --volume-ids {volume}` shows its state reason")
            }
            Self::NoVolume { elsewhere, .. } if elsewhere.is_empty() => "correct the tags, or restore from a snapshot".into(),
            Self::NoVolume { elsewhere, .. } => {
                format!("make one of these available, which have the tags but cannot be attached here: {}", elsewhere.join(", "))
            }
            Self::Several { .. } => "name one by its ID, or tag it".into(),
            Self::Taken { .. } => "give each step its own volume".into(),
            Self::NoNameLeft => "attach fewer volumes to this instance".into(),
        })
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Unseen { .. } | Self::NotRunning { .. })
            || matches!(self, Self::SnapshotNotReady { state, .. } if state == "pending")
    }
}

impl Failure for VolumeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render(source) => source.hint(),
            Self::Ec2(source) => source.hint(),
            Self::Unsuitable(source) => source.hint(),
            Self::Late { hint, .. } => Some(hint.clone()),
            Self::Content(source) => source.hint(),
            Self::Part(source) => source.hint(),
            Self::Host(source) => source.hint(),
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Ec2(source) => source.is_transient(),
            Self::Unsuitable(source) => source.is_transient(),
            Self::Host(source) => source.is_transient(),
            _ => false,
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Ec2(source) if source.is_unreachable())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Ec2(source) => source.retry_after(),
            _ => None,
        }
    }
}

impl From<Unsuitable> for VolumeError {
    fn from(source: Unsuitable) -> Self {
        Self::Unsuitable(source)
    }
}
