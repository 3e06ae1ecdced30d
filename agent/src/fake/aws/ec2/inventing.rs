//! What a rehearsal makes up: a snapshot, a volume or an address for each one that a document names.

use std::collections::BTreeSet;

use super::FakeEc2;
use super::account::{Account, Held, has, made_up};
use crate::aws::ec2::{ElasticAddress, Snapshot, SnapshotQuery, Volume, VolumeQuery};
use crate::host::disks::Content;

/// The size of everything made up, in GiB: the smallest size a document can ask for.
const SIZE: u32 = 1;

/// Prefix of the tags that ingot itself sets: in a new account, nothing carries them.
const OWN_TAGS: &str = "ingot:";

impl FakeEc2 {
    /// The ids that were made up.
    pub(crate) fn invented(&self) -> BTreeSet<String> {
        self.account.borrow().invented.clone()
    }

    /// For each made-up snapshot, the phrase that a change contains if the volume's size comes from the snapshot, and
    /// the snapshot's id.
    pub(crate) fn invented_sizes(&self) -> Vec<(String, String)> {
        let account = self.account.borrow();
        account.snapshots.keys().map(|id| (format!(" of {SIZE} GiB from {id}"), id.clone())).collect()
    }
}

impl Account {
    pub(super) fn invent_snapshot(&mut self, query: &SnapshotQuery) {
        let found = match &query.id {
            Some(id) => self.snapshots.contains_key(id),
            None => {
                query.tags.keys().any(|key| key.starts_with(OWN_TAGS))
                    || self.snapshots.values().any(|(one, _)| has(&one.tags, &query.tags))
            }
        };
        if found {
            return;
        }
        let id = query.id.clone().unwrap_or_else(|| self.invent("snap", &format!("{:?}", query.tags)));
        let snapshot = Snapshot {
            id: id.clone(),
            state: "completed".into(),
            started: "2026-01-01T00:00:00.000Z".into(),
            size_gib: SIZE,
            encrypted: false,
            tags: query.tags.clone(),
        };
        self.snapshots.insert(id, (snapshot, Content::Unspecified));
    }

    /// Makes up volumes by id, or by tags in any state. A query for available volumes looks for one to reuse, and finds
    /// none.
    pub(super) fn invent_volume(&mut self, query: &VolumeQuery, zone: &str) {
        let missing: Vec<String> = query.ids.iter().filter(|id| !self.volumes.contains_key(*id)).cloned().collect();
        missing.into_iter().for_each(|id| self.put(id, query, zone));

        let VolumeQuery { ids, tags, state, attached_to, .. } = query;
        let named = ids.is_empty() && !tags.is_empty() && state.is_none() && attached_to.is_none();
        let own = tags.keys().any(|key| key.starts_with(OWN_TAGS));
        if named && !own && !self.volumes.values().any(|held| has(&held.volume.tags, tags)) {
            let id = self.invent("vol", &format!("{tags:?}"));
            self.put(id, query, zone);
        }
    }

    /// Makes up an address that may be associated with another instance.
    pub(super) fn invent_address(&mut self, allocation: &str) {
        let instance = Some("wherever it is now".into());
        let address = ElasticAddress { public_ip: "<its address>".into(), instance, interface: None, private_ip: None };
        self.addresses.entry(allocation.into()).or_insert(address);
    }

    fn invent(&mut self, kind: &str, seed: &str) -> String {
        let id = made_up(kind, seed);
        self.invented.insert(id.clone());
        id
    }

    fn put(&mut self, id: String, query: &VolumeQuery, zone: &str) {
        let volume = Volume {
            id: id.clone(),
            state: "available".into(),
            zone: query.zone.clone().unwrap_or_else(|| zone.into()),
            size_gib: SIZE,
            kind: "gp3".into(),
            snapshot: None,
            encrypted: false,
            multi_attach: false,
            attachments: Vec::new(),
            tags: query.tags.clone(),
        };
        self.volumes.insert(id, Held::new(volume, Content::Unspecified));
    }
}
