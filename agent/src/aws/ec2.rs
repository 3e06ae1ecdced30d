//! EC2: volumes and snapshots, elastic addresses, and tags.
//!
//! The types here hold the values that steps decide by, with states spelled as AWS spells them.

mod codes;
pub(super) mod live;

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::aws::client::call::Call;
use crate::aws::client::error::{AwsError, Service};

/// The name of EC2 in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service { name: "ec2", hint: codes::hint, is_transient: codes::is_transient };

/// The part of EC2 that deals with volumes, addresses and tags. Every list is read to its last page.
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

    /// AttachVolume. Returns once EC2 has accepted the request, possibly before the disk is there.
    async fn attach_volume(&self, volume: &str, instance: &str, device: &str) -> Result<(), AwsError>;

    /// DetachVolume.
    async fn detach_volume(&self, volume: &str, instance: &str) -> Result<(), AwsError>;

    /// ModifyInstanceAttribute: sets DeleteOnTermination for the volume attached as `device`.
    async fn set_delete_on_termination(&self, instance: &str, device: &str, delete: bool) -> Result<(), AwsError>;

    /// CreateTags. Overwrites existing tags.
    async fn create_tags(&self, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), AwsError>;

    /// DescribeTags: every tag of a resource, including those set by AWS.
    async fn tags(&self, resource: &str) -> Result<BTreeMap<String, String>, AwsError>;

    /// DescribeAddresses of one address. One that does not exist is an error with the code
    /// `InvalidAllocationID.NotFound`.
    async fn address(&self, allocation: &str) -> Result<ElasticAddress, AwsError>;

    /// This instance's primary network interface, from instance metadata.
    async fn primary_interface(&self) -> Result<String, AwsError>;

    /// AssociateAddress with a network interface, even if something else holds the address.
    async fn associate_address(&self, allocation: &str, interface: &str) -> Result<(), AwsError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Here {
    pub(crate) instance: String,
    pub(crate) zone: String,
    /// The primary private address of the primary network interface. Empty if it has none.
    pub(crate) private_ip: String,
}

/// An elastic IP address and its current holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ElasticAddress {
    pub(crate) public_ip: String,
    pub(crate) instance: Option<String>,
    /// The interface of an instance, or of a service that AWS runs, such as a NAT gateway.
    pub(crate) interface: Option<String>,
    /// The private address of that interface that the elastic address maps to.
    pub(crate) private_ip: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SnapshotQuery {
    /// The id of one snapshot. `None` selects every snapshot with `tags`.
    pub(crate) id: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// An account id, `self` or `amazon`. `None` means `self` in a query by tags, and any owner in a query by id.
    pub(crate) owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    /// `pending`, `completed`, `error`, `recoverable`, `recovering`.
    pub(crate) state: String,
    /// As EC2 writes it, in UTC, so that it sorts by time.
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
    /// Only volumes attached to this instance.
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

/// The parameters of CreateVolume; a field that is `None` is left to EC2.
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
    /// The call that runs this query.
    pub(crate) fn call(&self) -> Call {
        Call::new(SERVICE, "DescribeSnapshots", self.id.clone().unwrap_or_else(|| tagged(&self.tags)))
    }
}

impl VolumeQuery {
    /// The call that runs this query.
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
    /// The call that makes this volume.
    pub(crate) fn call(&self) -> Call {
        let of = match (&self.snapshot, self.size_gib) {
            (Some(snapshot), _) => format!("from {snapshot}"),
            (None, Some(size)) => format!("of {size} GiB"),
            (None, None) => "without a size".into(),
        };
        Call::new(SERVICE, "CreateVolume", of)
    }
}

/// Tags in readable form.
fn tagged(tags: &BTreeMap<String, String>) -> String {
    let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("with {}", tags.join(", "))
}
