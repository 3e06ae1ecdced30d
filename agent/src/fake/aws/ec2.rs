//! EC2, in memory, for one machine in memory: a volume that is attached here becomes a disk of that machine.
//!
//! States change as they do at EC2: with each DescribeVolumes, `creating` becomes `available`, `attaching` becomes
//! `attached`, and `detaching` ends. The same request always gets the same ids. Failures on request are in [`trouble`].

mod account;
mod inventing;
#[cfg(test)]
mod tests;
mod trouble;

use std::cell::RefCell;
use std::collections::BTreeMap;

use async_trait::async_trait;

use self::account::{Account, Held, has, matches, no_address, no_volume, refused};
use self::trouble::Trouble;
use super::calls::Calls;
use crate::aws::client::call::Call;
use crate::aws::ec2::{Attachment, Ec2, ElasticAddress, Here, NewVolume, SERVICE, Snapshot, SnapshotQuery, Volume, VolumeQuery};
use crate::aws::{AwsError, AwsErrorKind};
use crate::fake::machine::{FakeMachine, INSTANCE};
use crate::host::disks::{Content, Disks, Origin};
use crate::host::identity;
use crate::host::mounts::Mounts;

/// The primary network interface of the instance.
const PRIMARY: &str = "eni-0123456789abcdef0";

/// Its primary private address.
const PRIVATE: &str = "10.0.0.7";

/// EC2 as one instance sees it.
pub(crate) struct FakeEc2 {
    machine: FakeMachine,
    zone: String,
    /// Whether snapshots and volumes that were never put in are made up, as in a rehearsal.
    inventing: bool,
    calls: Calls,
    account: RefCell<Account>,
    trouble: RefCell<Trouble>,
}

impl FakeEc2 {
    /// An empty account. The instance is the one that `machine` reports.
    pub(crate) fn new(machine: FakeMachine, zone: &str) -> Self {
        let (calls, account, trouble) = (Calls::default(), RefCell::default(), RefCell::default());
        Self { machine, zone: zone.into(), inventing: false, calls, account, trouble }
    }

    /// Adds a snapshot; a volume restored from it holds `content`.
    pub(crate) fn with_snapshot(self, snapshot: Snapshot, content: Content) -> Self {
        self.account.borrow_mut().snapshots.insert(snapshot.id.clone(), (snapshot, content));
        self
    }

    /// Adds a volume. If it is attached to this instance, the caller has to plug it into the machine.
    pub(crate) fn with_volume(self, volume: Volume, content: Content) -> Self {
        self.account.borrow_mut().volumes.insert(volume.id.clone(), Held::new(volume, content));
        self
    }

    /// Makes up what was never put in, for `ingot dry-run`. A query by tags that ingot itself sets finds nothing.
    pub(crate) fn inventing(mut self) -> Self {
        self.inventing = true;
        self
    }

    /// The machine that gets the account's volumes as its disks.
    pub(crate) fn machine(&self) -> FakeMachine {
        self.machine.clone()
    }

    /// Gives the instance a tag.
    pub(crate) fn tag_instance(&self, key: &str, value: &str) {
        self.account.borrow_mut().instance_tags.insert(key.into(), value.into());
    }

    /// Every volume in its current state, ordered by id.
    pub(crate) fn all_volumes(&self) -> Vec<Volume> {
        self.account.borrow().volumes.values().map(|held| held.volume.clone()).collect()
    }

    /// How often an action such as `AttachVolume` was called.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.calls.count(operation)
    }

    /// Terminates the instance: its volumes become available, or are deleted if that was requested.
    pub(crate) fn terminate(&self, instance: &str) {
        let mut account = self.account.borrow_mut();
        account.volumes.retain(|id, held| {
            let of_instance = |attachment: &Attachment| attachment.instance == instance;
            let Some(attachment) = held.volume.attachments.iter().find(|attachment| of_instance(attachment)) else { return true };
            self.machine.unplug(id);
            let keep = !attachment.delete_on_termination;
            held.volume.attachments.retain(|attachment| !of_instance(attachment));
            held.volume.state = "available".into();
            keep
        });
    }

    async fn begin(&self, call: &Call) -> Result<(), AwsError> {
        self.machine.alive().await;
        self.calls.begin(call.service, call.operation, std::slice::from_ref(&call.resource)).await?;
        self.trouble.borrow_mut().with(call)
    }

    /// Makes a change of the account, and possibly of the machine, that counts as one change by this process. `change`
    /// returns what it made and whether that is new.
    async fn change<T>(&self, call: &Call, change: impl FnOnce(&mut Account) -> Result<(T, bool), AwsError>) -> Result<T, AwsError> {
        self.begin(call).await?;
        let mut outcome = None;
        let ended = self.machine.change(|| {
            let made = change(&mut self.account.borrow_mut());
            let changed = matches!(made, Ok((_, true)));
            outcome = Some(made);
            Ok(changed)
        });
        ended.await.map_err(|error| call.error(AwsErrorKind::Unreachable, error.to_string()))?;
        let (made, _) = outcome.expect("a change that ended was made")?;
        self.trouble.borrow_mut().lose_answer(call)?;
        Ok(made)
    }

    /// The content of a volume that is plugged into the machine, and whether it is mounted.
    async fn disk(&self, volume: &str) -> Option<(Content, bool)> {
        let disk = self.machine.all().await.ok()?.into_iter().find(|disk| disk.origin == Origin::Volume(volume.into()))?;
        let mounted = self.machine.table().await.ok()?.iter().any(|mounted| mounted.device == disk.number);
        Some((self.machine.content(&disk.node).await.ok()?, mounted))
    }
}

#[async_trait(?Send)]
impl Ec2 for FakeEc2 {
    async fn here(&self) -> Result<Here, AwsError> {
        let instance = identity::dmi(&*self.machine.host().files).await;
        Ok(Here { instance: instance.unwrap_or_else(|| INSTANCE.into()), zone: self.zone.clone(), private_ip: PRIVATE.into() })
    }

    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, AwsError> {
        let call = query.call();
        self.begin(&call).await?;
        let mut account = self.account.borrow_mut();
        if self.inventing {
            account.invent_snapshot(query);
        }
        if let Some(id) = query.id.as_ref().filter(|id| !account.snapshots.contains_key(*id)) {
            return Err(refused(&call, "InvalidSnapshot.NotFound", &format!("The snapshot '{id}' does not exist.")));
        }
        let matching = |snapshot: &&Snapshot| query.id.as_ref().is_none_or(|id| *id == snapshot.id) && has(&snapshot.tags, &query.tags);
        Ok(account.snapshots.values().map(|(snapshot, _)| snapshot).filter(matching).cloned().collect())
    }

    async fn volumes(&self, query: &VolumeQuery) -> Result<Vec<Volume>, AwsError> {
        let call = query.call();
        self.begin(&call).await?;
        let mut account = self.account.borrow_mut();
        if self.inventing {
            account.invent_volume(query, &self.zone);
        }
        account.volumes.values_mut().for_each(Held::pass);
        let seen = |id: &String| account.volumes.get(id).is_some_and(|held| held.unseen == 0);
        if let Some(id) = query.ids.iter().find(|id| !seen(id)) {
            return Err(no_volume(&call, id));
        }
        let seen = account.volumes.values().filter(|held| held.unseen == 0).map(|held| &held.volume);
        Ok(seen.filter(|volume| matches(volume, query)).cloned().collect())
    }

    async fn create_volume(&self, new: &NewVolume) -> Result<Volume, AwsError> {
        let call = new.call();
        let (creating, unseen, becomes) = self.trouble.borrow().birth();
        self.change(&call, |account| {
            if let Some((request, id)) = account.tokens.get(&new.client_token).cloned() {
                if request != *new {
                    let message = "The client token you have provided is associated with a different request.";
                    return Err(refused(&call, "IdempotentParameterMismatch", message));
                }
                return Ok((account.held(&call, &id)?.volume.clone(), false));
            }
            let (volume, content) = account.make(&call, new)?;
            account.tokens.insert(new.client_token.clone(), (new.clone(), volume.id.clone()));
            let held = Held { creating, unseen, becomes, ..Held::new(volume.clone(), content) };
            account.volumes.insert(volume.id.clone(), held);
            Ok((volume, true))
        })
        .await
    }

    async fn attach_volume(&self, volume: &str, instance: &str, device: &str) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "AttachVolume", volume);
        let here = self.here().await?;
        let stuck = self.trouble.borrow().sticks(volume, device);
        let race = self.trouble.borrow_mut().race(volume);
        let disks = self.machine.all().await.unwrap_or_default();
        let taken = disks.iter().any(|disk| disk.attached_as.as_deref() == Some(device));
        self.change(&call, |account| {
            if instance != here.instance {
                return Err(refused(&call, "InvalidInstanceID.NotFound", &format!("The instance ID '{instance}' does not exist")));
            }
            let attached = account.volumes.values().flat_map(|held| &held.volume.attachments);
            let taken = taken || attached.into_iter().any(|other| other.instance == instance && other.device == device);
            let held = account.held(&call, volume)?;
            if let Some(winner) = race {
                held.attach(&winner, device, "attached");
            }
            let Volume { state, zone, multi_attach, attachments, size_gib, .. } = &held.volume;
            if *zone != here.zone {
                let message = format!("The volume '{volume}' is not in the same availability zone as instance '{instance}'");
                return Err(refused(&call, "InvalidVolume.ZoneMismatch", &message));
            }
            if state == "in-use" && (!multi_attach || attachments.iter().any(|attachment| attachment.instance == instance)) {
                return Err(refused(&call, "VolumeInUse", &format!("{volume} is already attached to an instance")));
            }
            if state != "available" && state != "in-use" {
                return Err(refused(&call, "IncorrectState", &format!("{volume} is not 'available'.")));
            }
            if taken {
                let message = format!("Invalid value '{device}' for unixDevice. Attachment point {device} is already in use");
                return Err(refused(&call, "InvalidParameterValue", &message));
            }
            if !stuck {
                let origin = Origin::Volume(volume.into());
                self.machine.plug(origin, Some(device), u64::from(*size_gib) << 30, held.content.clone());
            }
            held.stuck = stuck;
            held.attach(instance, device, "attaching");
            Ok(((), true))
        })
        .await
    }

    async fn detach_volume(&self, volume: &str, instance: &str) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "DetachVolume", volume);
        let disk = self.disk(volume).await;
        self.change(&call, |account| {
            let held = account.held(&call, volume)?;
            let Some(attachment) = held.volume.attachments.iter_mut().find(|attachment| attachment.instance == instance) else {
                let message = format!("Volume '{volume}' is not attached to '{instance}'.");
                return Err(refused(&call, "InvalidAttachment.NotFound", &message));
            };
            match disk {
                // The kernel still uses it, so it cannot be released.
                Some((_, true)) => attachment.state = "busy".into(),
                _ => attachment.state = "detaching".into(),
            }
            if let Some((content, false)) = disk {
                held.content = content;
                self.machine.unplug(volume);
            }
            held.stuck = false;
            Ok(((), true))
        })
        .await
    }

    async fn set_delete_on_termination(&self, instance: &str, device: &str, delete: bool) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "ModifyInstanceAttribute", instance);
        self.change(&call, |account| {
            let mut attachments = account.volumes.values_mut().flat_map(|held| &mut held.volume.attachments);
            let Some(attachment) = attachments.find(|attachment| attachment.instance == instance && attachment.device == device) else {
                return Err(refused(&call, "InvalidInstanceAttributeValue", &format!("No device is currently mapped at {device}")));
            };
            Ok(((), std::mem::replace(&mut attachment.delete_on_termination, delete) != delete))
        })
        .await
    }

    async fn create_tags(&self, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "CreateTags", resource);
        self.change(&call, |account| {
            let known = match account.snapshots.get_mut(resource) {
                Some((snapshot, _)) => &mut snapshot.tags,
                None => &mut account.held(&call, resource)?.volume.tags,
            };
            let new = !has(known, tags);
            known.extend(tags.clone());
            Ok(((), new))
        })
        .await
    }

    async fn tags(&self, resource: &str) -> Result<BTreeMap<String, String>, AwsError> {
        self.begin(&Call::new(SERVICE, "DescribeTags", resource)).await?;
        let account = self.account.borrow();
        let of_volume = account.volumes.get(resource).map(|held| &held.volume.tags);
        Ok(of_volume.unwrap_or(&account.instance_tags).clone())
    }

    async fn address(&self, allocation: &str) -> Result<ElasticAddress, AwsError> {
        let call = Call::new(SERVICE, "DescribeAddresses", allocation);
        self.begin(&call).await?;
        let mut account = self.account.borrow_mut();
        if self.inventing {
            account.invent_address(allocation);
        }
        account.addresses.get(allocation).cloned().ok_or_else(|| no_address(&call, allocation))
    }

    async fn primary_interface(&self) -> Result<String, AwsError> {
        Ok(PRIMARY.into())
    }

    async fn associate_address(&self, allocation: &str, interface: &str) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "AssociateAddress", allocation);
        let here = self.here().await?.instance;
        self.change(&call, |account| {
            let address = account.addresses.get_mut(allocation).ok_or_else(|| no_address(&call, allocation))?;
            let before = address.clone();
            (address.interface, address.private_ip) = (Some(interface.into()), Some(PRIVATE.into()));
            address.instance = Some(here);
            Ok(((), before != *address))
        })
        .await
    }
}
