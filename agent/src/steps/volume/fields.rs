//! The fields of a volume.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::kind::{self, Kind};
use crate::aws::names::is_id;
use crate::failure::Objection;
use crate::host::disks::Filesystem;
use crate::step::device_name;
use crate::step::fields::{OrMap, one_of, within};
use crate::text::Text;

/// An EBS volume or an instance store, attached and identified by its volume ID.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Volume {
    /// Where the volume comes from.
    pub(super) from: Source,
    /// Attach an available volume of this Availability Zone with these tags before restoring or creating one.
    pub(super) reuse: Option<WithTags>,
    /// Size in GiB of a volume that is created. Default: that of the snapshot.
    #[serde(default, deserialize_with = "within::<_, 1, 65536>")]
    #[schemars(range(min = 1, max = 65536))]
    pub(super) size_gib: Option<u32>,
    /// Volume type. Default: that of EC2, gp2 or gp3.
    #[serde(rename = "type")]
    pub(super) kind: Option<Kind>,
    /// I/O operations per second, for gp3, io1 and io2. io1 and io2 require it.
    pub(super) iops: Option<u32>,
    /// Throughput in MiB/s, for gp3.
    pub(super) throughput_mib_s: Option<u32>,
    /// Rate in MiB/s at which EC2 loads the snapshot by itself; billed by AWS. Default: EC2 does not.
    #[serde(default, deserialize_with = "within::<_, 100, 300>")]
    #[schemars(range(min = 100, max = 300))]
    pub(super) initialization_rate_mib_s: Option<u32>,
    /// Whether the volume is encrypted. Default: as the snapshot, or as the account's setting.
    pub(super) encrypted: Option<bool>,
    /// KMS key for encryption: ID, ARN or alias. Default: the account's default key.
    pub(super) kms_key: Option<Text>,
    /// Tags for a volume that is created or reused, in addition to ingot's own.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, Text>,
    /// Whether the volume is deleted with the instance. Default: unchanged; EC2 keeps a volume that is attached later.
    pub(super) delete_on_termination: Option<bool>,
    /// Filesystem that must be there, or is created on a blank device. Default: whatever is there.
    pub(super) filesystem: Option<Filesystem>,
    /// Label that the filesystem must have, or gets when it is created.
    pub(super) label: Option<String>,
    /// UUID that the filesystem must have, or gets when it is created.
    pub(super) uuid: Option<String>,
    /// Number of the partition. Default: the only one or, without a partition table, the whole disk.
    #[serde(default, deserialize_with = "within::<_, 1, 128>")]
    #[schemars(range(min = 1, max = 128))]
    pub(super) partition: Option<u32>,
}

/// The source of a volume: exactly one of these.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "SourceFields")]
pub(super) enum Source {
    Snapshot(Snapshot),
    Volume(Existing),
    Device(Text),
    InstanceStore(u32),
    Blank,
}

#[derive(Debug, Clone)]
pub(super) enum Snapshot {
    Id(Text),
    Newest(Newest),
}

#[derive(Debug, Clone)]
pub(super) enum Existing {
    Id(Text),
    Tagged(WithTags),
}

/// Where a volume comes from: exactly one of these.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct SourceFields {
    /// Snapshot to restore: its ID, or the newest completed one with tags.
    snapshot: Option<OrMap<Text, Newest>>,
    /// Existing volume: its ID, or the one in this Availability Zone with tags.
    volume: Option<OrMap<Text, WithTags>>,
    /// Device that is already attached: its name in the block device mapping, such as `/dev/sdf`, or its volume ID.
    device: Option<Text>,
    /// Instance store, by number.
    instance_store: Option<u32>,
    /// A new, blank volume. Requires `size_gib`, unless `reuse` is given.
    blank: Option<Empty>,
}

/// The newest completed snapshot with all of these tags.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Newest {
    /// Tags that the snapshot must have; the newest match is used.
    pub(super) newest_with_tags: BTreeMap<String, Text>,
    /// Account that owns the snapshot. Default: this one.
    pub(super) owner: Option<Text>,
}

/// All of these tags.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WithTags {
    /// Tags that the volume must have.
    pub(super) with_tags: BTreeMap<String, Text>,
}

/// No settings: `{}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl TryFrom<SourceFields> for Source {
    type Error = Objection;

    fn try_from(fields: SourceFields) -> Result<Self, Objection> {
        let SourceFields { snapshot, volume, device, instance_store, blank } = fields;
        let given = [
            snapshot.map(|snapshot| {
                Self::Snapshot(match snapshot {
                    OrMap::Plain(id) => Snapshot::Id(id),
                    OrMap::Map(newest) => Snapshot::Newest(newest),
                })
            }),
            volume.map(|volume| {
                Self::Volume(match volume {
                    OrMap::Plain(id) => Existing::Id(id),
                    OrMap::Map(tagged) => Existing::Tagged(tagged),
                })
            }),
            device.map(Self::Device),
            instance_store.map(Self::InstanceStore),
            blank.map(|Empty {}| Self::Blank),
        ];
        let mut given: Vec<Self> = given.into_iter().flatten().collect();
        match (given.pop(), given.is_empty()) {
            (Some(source), true) => Ok(source),
            (source, _) => Err(one_of(
                "a volume",
                source.is_some(),
                "`snapshot: snap-…`, `volume: vol-…`, `device: /dev/sdf`, `instance_store: 0` or `blank: {}`",
                "snapshot, volume, device, instance_store and blank",
            )),
        }
    }
}

impl JsonSchema for Source {
    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        SourceFields::json_schema(generator)
    }
}

impl Volume {
    /// All strings that may contain references.
    pub(super) fn strings(&self) -> Vec<&Text> {
        let source: Vec<&Text> = match &self.from {
            Source::Snapshot(Snapshot::Id(text)) | Source::Volume(Existing::Id(text)) | Source::Device(text) => vec![text],
            Source::Snapshot(Snapshot::Newest(newest)) => newest.newest_with_tags.values().chain(&newest.owner).collect(),
            Source::Volume(Existing::Tagged(tagged)) => tagged.with_tags.values().collect(),
            Source::InstanceStore(_) | Source::Blank => Vec::new(),
        };
        let reuse = self.reuse.iter().flat_map(|reuse| reuse.with_tags.values());
        source.into_iter().chain(reuse).chain(self.tags.values()).chain(&self.kms_key).collect()
    }

    /// Whether ingot creates the volume if it does not exist.
    pub(super) fn is_made(&self) -> bool {
        matches!(self.from, Source::Snapshot(_) | Source::Blank)
    }

    /// Contradictions between the fields.
    pub(super) fn contradictions(&self) -> Vec<Objection> {
        let wrong = [self.wrong_source(), self.wrong_type(), self.wrong_tags(), self.wrong_filesystem()];
        let wrong = wrong.into_iter().flatten().map(|(message, hint)| (message, hint.to_owned()));
        let wrong = wrong.chain(self.wrong_device()).chain(self.wrong_size());
        wrong.map(|(message, hint)| Objection { message, hint }).collect()
    }

    /// Fields that this source does not use, or that it lacks.
    fn wrong_source(&self) -> Vec<(String, &'static str)> {
        let mut wrong = Vec::new();
        let made = self.is_made();
        let of_making = [
            ("reuse", self.reuse.is_some()),
            ("size_gib", self.size_gib.is_some()),
            ("type", self.kind.is_some()),
            ("iops", self.iops.is_some()),
            ("throughput_mib_s", self.throughput_mib_s.is_some()),
            ("encrypted", self.encrypted.is_some()),
            ("kms_key", self.kms_key.is_some()),
        ];
        for (field, _) in of_making.into_iter().filter(|(_, given)| *given && !made) {
            wrong.push((
                format!("`{field}` applies to a volume that is created, and this one exists already"),
                "remove it, or restore the volume from a snapshot",
            ));
        }
        if matches!(self.from, Source::Device(_) | Source::InstanceStore(_)) {
            for (field, given) in [("tags", !self.tags.is_empty()), ("delete_on_termination", self.delete_on_termination.is_some())] {
                if given {
                    wrong.push((
                        format!("`{field}` is for volumes that ingot attaches"),
                        "set it where the device is attached, such as in the launch template",
                    ));
                }
            }
        }
        if matches!(self.from, Source::Blank) && self.size_gib.is_none() && self.reuse.is_none() {
            wrong.push(("a blank volume needs a size".into(), "add `size_gib:`"));
        }
        if self.initialization_rate_mib_s.is_some() && !matches!(self.from, Source::Snapshot(_)) {
            wrong.push(("`initialization_rate_mib_s` has no effect here: only a snapshot is loaded".into(), "remove it"));
        }
        wrong
    }

    /// What EBS does not allow this type of volume that is created.
    fn wrong_size(&self) -> Vec<(String, String)> {
        let kind = self.kind.filter(|_| self.is_made());
        kind.map_or_else(Vec::new, |kind| kind::beyond_limits(kind, self.size_gib, self.iops, self.throughput_mib_s))
    }

    /// Fields that this type of volume cannot have, or that it lacks.
    fn wrong_type(&self) -> Vec<(String, &'static str)> {
        let mut wrong = Vec::new();
        if self.iops.is_some() && !matches!(self.kind, Some(Kind::Gp3 | Kind::Io1 | Kind::Io2)) {
            wrong.push(("`iops` can be set for gp3, io1 and io2 only".into(), "add `type: gp3`, or remove `iops`"));
        }
        if self.iops.is_none() && matches!(self.kind, Some(Kind::Io1 | Kind::Io2)) {
            wrong.push(("a volume of type io1 or io2 needs `iops`".into(), "add `iops:`"));
        }
        if self.throughput_mib_s.is_some() && self.kind != Some(Kind::Gp3) {
            wrong.push(("`throughput_mib_s` can be set for gp3 only".into(), "add `type: gp3`, or remove `throughput_mib_s`"));
        }
        if self.kms_key.is_some() && self.encrypted == Some(false) {
            wrong.push(("it has a `kms_key`, but its encryption is disabled".into(), "remove one of the two"));
        }
        wrong
    }

    fn wrong_tags(&self) -> Vec<(String, &'static str)> {
        let mut wrong = Vec::new();
        for tag in self.tags.keys().filter(|tag| tag.starts_with("aws:") || tag.starts_with("ingot:")) {
            wrong.push((format!("the tag `{tag}` is reserved"), "give it a name that begins with neither `aws:` nor `ingot:`"));
        }
        if self.selecting().any(BTreeMap::is_empty) {
            wrong.push(("without any tag, everything would match".into(), "name at least one tag"));
        }
        wrong
    }

    fn wrong_filesystem(&self) -> Vec<(String, &'static str)> {
        let mut wrong = Vec::new();
        if self.filesystem.is_none() && (self.label.is_some() || self.uuid.is_some()) {
            wrong.push(("`label` and `uuid` need `filesystem`".into(), "add `filesystem:`"));
        }
        let longest = match self.filesystem {
            Some(Filesystem::Xfs) => 12,
            Some(Filesystem::Swap) => 15,
            Some(Filesystem::Ext4) => 16,
            Some(Filesystem::Btrfs) | None => 255,
        };
        if self.label.as_ref().is_some_and(|label| label.is_empty() || label.len() > longest || label.contains(['/', '\0'])) {
            wrong.push((format!("a label of this filesystem has 1 to {longest} characters, and no slash"), "give it another `label`"));
        }
        let is_uuid = |uuid: &String| {
            let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
            groups == [8, 4, 4, 4, 12] && uuid.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
        };
        if self.uuid.as_ref().is_some_and(|uuid| !is_uuid(uuid)) {
            wrong.push(("`uuid` is not a UUID".into(), "write it as in 0a1b2c3d-0000-4000-8000-000000000001"));
        }
        wrong
    }

    fn wrong_device(&self) -> Option<(String, String)> {
        let Source::Device(device) = &self.from else { return None };
        let (raw, bare) = (device.raw(), device_name::bare(device.raw()));
        if raw.trim_start_matches("/dev/").starts_with("nvme") {
            let hint = "name the device as in the block device mapping, such as /dev/sdf, or by its volume ID";
            return Some((format!("{device} is a kernel name, which changes from boot to boot"), hint.into()));
        }
        let is_name = raw.strip_prefix("/dev/").is_some_and(|name| !name.is_empty()) || is_id("vol-", raw);
        let hint = match bare.starts_with("sd") || bare.starts_with("xvd") {
            true => format!("write `/dev/{raw}`"),
            false => "name the device as in the block device mapping, as in /dev/sdf, or by its volume ID".to_owned(),
        };
        (device.is_plain() && !is_name).then(|| (format!("`{device}` is not the name of a device"), hint))
    }

    /// Maps of tags that select something.
    fn selecting(&self) -> impl Iterator<Item = &BTreeMap<String, Text>> {
        let source = match &self.from {
            Source::Snapshot(Snapshot::Newest(newest)) => Some(&newest.newest_with_tags),
            Source::Volume(Existing::Tagged(tagged)) => Some(&tagged.with_tags),
            _ => None,
        };
        source.into_iter().chain(self.reuse.iter().map(|reuse| &reuse.with_tags))
    }
}
