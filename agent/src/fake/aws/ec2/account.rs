//! The state of EC2 in memory: snapshots and volumes, and how volumes change state.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::AwsError;
use crate::aws::client::call::Call;
use crate::aws::ec2::{Attachment, ElasticAddress, NewVolume, Snapshot, Volume, VolumeQuery};
use crate::digest::Sha256;
use crate::host::disks::Content;

/// What the account contains, by id.
#[derive(Default)]
pub(super) struct Account {
    pub(super) snapshots: BTreeMap<String, (Snapshot, Content)>,
    pub(super) volumes: BTreeMap<String, Held>,
    /// The request that each client token was used for.
    pub(super) tokens: BTreeMap<String, (NewVolume, String)>,
    pub(super) instance_tags: BTreeMap<String, String>,
    pub(super) addresses: BTreeMap<String, ElasticAddress>,
    /// Ids that were made up, given neither by a document nor by a test.
    pub(super) invented: BTreeSet<String>,
}

pub(super) struct Held {
    pub(super) volume: Volume,
    pub(super) content: Content,
    /// For how many polls it is shown as `creating`.
    pub(super) creating: usize,
    /// The state that follows `creating`.
    pub(super) becomes: String,
    /// For how many polls it is not shown at all: EC2 is eventually consistent.
    pub(super) unseen: usize,
    /// Whether it stays `attaching` forever.
    pub(super) stuck: bool,
}

impl Held {
    pub(super) fn new(volume: Volume, content: Content) -> Self {
        Self { volume, content, creating: 0, becomes: "available".into(), unseen: 0, stuck: false }
    }

    /// Advances its state by one poll.
    pub(super) fn pass(&mut self) {
        self.unseen = self.unseen.saturating_sub(1);
        match self.creating.checked_sub(1) {
            Some(left) => self.creating = left,
            None if self.volume.state == "creating" => self.volume.state.clone_from(&self.becomes),
            None => {}
        }
        self.volume.attachments.retain(|attachment| attachment.state != "detaching");
        if self.volume.state == "in-use" && self.volume.attachments.is_empty() {
            self.volume.state = "available".into();
        }
        for attachment in self.volume.attachments.iter_mut().filter(|attachment| attachment.state == "attaching" && !self.stuck) {
            attachment.state = "attached".into();
        }
    }

    /// Marks it as attached, from EC2's point of view.
    pub(super) fn attach(&mut self, instance: &str, device: &str, state: &str) {
        self.volume.state = "in-use".into();
        let (instance, device, state) = (instance.to_owned(), device.to_owned(), state.to_owned());
        self.volume.attachments.push(Attachment { instance, device, state, delete_on_termination: false });
    }
}

impl Account {
    pub(super) fn held(&mut self, call: &Call, id: &str) -> Result<&mut Held, AwsError> {
        self.volumes.get_mut(id).ok_or_else(|| no_volume(call, id))
    }

    /// Makes a new volume with its content, if EC2 would accept the request.
    pub(super) fn make(&mut self, call: &Call, new: &NewVolume) -> Result<(Volume, Content), AwsError> {
        let origin = match &new.snapshot {
            None => None,
            Some(id) => Some(
                self.snapshots
                    .get(id)
                    .cloned()
                    .ok_or_else(|| refused(call, "InvalidSnapshot.NotFound", &format!("The snapshot '{id}' does not exist.")))?,
            ),
        };
        if let Some((snapshot, _)) = origin.as_ref().filter(|(snapshot, _)| snapshot.state != "completed") {
            let message = format!("Snapshot is in invalid state - {}", snapshot.state);
            return Err(refused(call, "IncorrectState", &message));
        }
        let least = origin.as_ref().map(|(snapshot, _)| snapshot.size_gib);
        let Some(size_gib) = new.size_gib.or(least) else {
            return Err(refused(call, "MissingParameter", "The request must contain the parameter size/snapshot"));
        };
        if let Some(least) = least.filter(|least| size_gib < *least) {
            let message = format!("Volume of {size_gib}GiB is smaller than its snapshot, expect size >= {least}GiB");
            return Err(refused(call, "InvalidParameterValue", &message));
        }
        let encrypted = new.encrypted.unwrap_or(new.kms_key.is_some()) || origin.as_ref().is_some_and(|(snapshot, _)| snapshot.encrypted);
        let id = made_up("vol", &new.client_token);
        self.invented.insert(id.clone());
        let volume = Volume {
            id,
            state: "creating".into(),
            zone: new.zone.clone(),
            size_gib,
            kind: new.kind.clone().unwrap_or_else(|| "gp2".into()),
            snapshot: new.snapshot.clone(),
            encrypted,
            multi_attach: false,
            attachments: Vec::new(),
            tags: new.tags.clone(),
        };
        Ok((volume, origin.map_or(Content::Blank, |(_, content)| content)))
    }
}

/// An id that is recognizably made up. It depends on `seed` only, not on what was made before.
pub(super) fn made_up(kind: &str, seed: &str) -> String {
    let Sha256(bytes) = Sha256::of(seed.as_bytes());
    format!("{kind}-{:017x}", u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]))
}

pub(super) fn has(tags: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| tags.get(key) == Some(value))
}

pub(super) fn matches(volume: &Volume, query: &VolumeQuery) -> bool {
    let VolumeQuery { ids, tags, zone, state, attached_to } = query;
    let attached = |to: &String| volume.attachments.iter().any(|attachment| attachment.instance == *to);
    (ids.is_empty() || ids.contains(&volume.id))
        && has(&volume.tags, tags)
        && zone.as_ref().is_none_or(|zone| *zone == volume.zone)
        && state.as_ref().is_none_or(|state| *state == volume.state)
        && attached_to.as_ref().is_none_or(attached)
}

pub(super) fn refused(call: &Call, code: &str, message: &str) -> AwsError {
    call.refused(Some(code), Some(message), Some(400))
}

pub(super) fn no_volume(call: &Call, id: &str) -> AwsError {
    refused(call, "InvalidVolume.NotFound", &format!("The volume '{id}' does not exist."))
}

pub(super) fn no_address(call: &Call, id: &str) -> AwsError {
    refused(call, "InvalidAllocationID.NotFound", &format!("The allocation ID '{id}' does not exist"))
}
