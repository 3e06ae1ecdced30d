//! EC2's volumes and snapshots, its elastic addresses, and tags.
//!
//! The types here hold what steps decide by, in AWS's own words where those are states.

mod codes;
pub(super) mod live;

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::aws::client::call::Call;
use crate::aws::client::error::{AwsError, Service};

/// The name of EC2 in IAM, and what its errors mean.
pub(crate) const SERVICE: &Service = &Service { name: "ec2", hint: codes::hint, is_transient: codes::is_transient };

/// EC2, as far as volumes, addresses and tags are concerned. Every list is read to its last page.
#[async_trait(?Send)]
pub(crate) trait Ec2 {
    /// This instance and its zone, from the identity document.
    async fn here(&self) -> Result<Here, AwsError>;

    /// DescribeSnapshots.
    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, AwsError>;

    /// DescribeVolumes. A volume id that does not exist is an error with the code `InvalidVolume.NotFound`.
    async fn volumes(&self, query: &VolumeQuery) -> Result<Vec<Volume>, AwsError>;

    /// CreateVolume. The same client token and the same request give the same volume.
    async fn create_volume(&self, new: &NewVolume) -> Result<Volume, AwsError>;

    /// AttachVolume. Returns once EC2 has agreed, not once the disk is there.
    async fn attach_volume(&self, volume: &str, instance: &str, device: &str) -> Result<(), AwsError>;

    /// DetachVolume.
    async fn detach_volume(&self, volume: &str, instance: &str) -> Result<(), AwsError>;

    /// ModifyInstanceAttribute: DeleteOnTermination of what is attached as `device`.
    async fn set_delete_on_termination(&self, instance: &str, device: &str, delete: bool) -> Result<(), AwsError>;

    /// CreateTags, which also overwrites.
    async fn create_tags(&self, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), AwsError>;

    /// DescribeTags: every tag of a resource, those of AWS's own included.
    async fn tags(&self, resource: &str) -> Result<BTreeMap<String, String>, AwsError>;

    /// DescribeAddresses of one address. One that does not exist is an error with the code `InvalidAllocationID.NotFound`.
    async fn address(&self, allocation: &str) -> Result<ElasticAddress, AwsError>;

    /// This instance's primary network interface, from instance metadata.
    async fn primary_interface(&self) -> Result<String, AwsError>;

    /// AssociateAddress with a network interface, whoever has the address until now.
    async fn associate_address(&self, allocation: &str, interface: &str) -> Result<(), AwsError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Here {
    pub(crate) instance: String,
    pub(crate) zone: String,
    /// The primary private address of the primary network interface. Empty where it has none.
    pub(crate) private_ip: String,
}

/// An elastic IP address, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ElasticAddress {
    pub(crate) public_ip: String,
    pub(crate) instance: Option<String>,
    /// Of an instance, or of what AWS runs, such as a NAT gateway.
    pub(crate) interface: Option<String>,
    /// Which of the interface's addresses it stands for.
    pub(crate) private_ip: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SnapshotQuery {
    /// One snapshot; else every one with these tags.
    pub(crate) id: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// An account id, `self` or `amazon`. `None` is `self` where tags are asked for, and anybody's where an id is.
    pub(crate) owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    /// `pending`, `completed`, `error`, `recoverable`, `recovering`.
    pub(crate) state: String,
    /// As EC2 writes it, in UTC: it sorts by time.
    pub(crate) started: String,
    pub(crate) size_gib: u32,
    pub(crate) encrypted: bool,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VolumeQuery {
    pub(crate) ids: Vec<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) zone: Option<String>,
    /// `creating`, `available`, `in-use`, `deleting`, `deleted`, `error`.
    pub(crate) state: Option<String>,
    /// Only what is attached to this instance.
    pub(crate) attached_to: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) id: String,
    /// As in [`VolumeQuery::state`].
    pub(crate) state: String,
    pub(crate) zone: String,
    pub(crate) size_gib: u32,
    pub(crate) kind: String,
    pub(crate) snapshot: Option<String>,
    pub(crate) encrypted: bool,
    pub(crate) multi_attach: bool,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) instance: String,
    pub(crate) device: String,
    /// `attaching`, `attached`, `detaching`, `detached`, `busy`.
    pub(crate) state: String,
    pub(crate) delete_on_termination: bool,
}

/// What CreateVolume is told; `None` leaves it to EC2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NewVolume {
    /// At most 64 ASCII characters.
    pub(crate) client_token: String,
    pub(crate) zone: String,
    pub(crate) snapshot: Option<String>,
    pub(crate) size_gib: Option<u32>,
    pub(crate) kind: Option<String>,
    pub(crate) iops: Option<u32>,
    pub(crate) throughput_mib_s: Option<u32>,
    pub(crate) initialization_rate_mib_s: Option<u32>,
    pub(crate) encrypted: Option<bool>,
    pub(crate) kms_key: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl SnapshotQuery {
    /// The call it is asked by.
    pub(crate) fn call(&self) -> Call {
        Call::new(SERVICE, "DescribeSnapshots", self.id.clone().unwrap_or_else(|| tagged(&self.tags)))
    }
}

impl VolumeQuery {
    /// The call it is asked by.
    pub(crate) fn call(&self) -> Call {
        let Self { ids, tags, attached_to, .. } = self;
        let of = match attached_to {
            _ if !ids.is_empty() => ids.join(", "),
            Some(instance) if tags.is_empty() => format!("of {instance}"),
            _ => tagged(tags),
        };
        Call::new(SERVICE, "DescribeVolumes", of)
    }
}

impl NewVolume {
    /// The call it is made by.
    pub(crate) fn call(&self) -> Call {
        let of = match (&self.snapshot, self.size_gib) {
            (Some(snapshot), _) => format!("from {snapshot}"),
            (None, Some(size)) => format!("of {size} GiB"),
            (None, None) => "without a size".into(),
        };
        Call::new(SERVICE, "CreateVolume", of)
    }
}

/// Tags, for people.
fn tagged(tags: &BTreeMap<String, String>) -> String {
    let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("with {}", tags.join(", "))
}
