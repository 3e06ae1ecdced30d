//! Compares the content of a device with what is asked for. Pure: only the judgment, without any reading.
//!
//! A filesystem is only created on a blank device. Anything else that was not asked for is rejected, and described in
//! the error: it may be the only copy of the user's data.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::host::disks::{Content, Disk, Filesystem, Signature, State};

/// The wanted content of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) filesystem: Filesystem,
    pub(super) label: Option<&'a str>,
    pub(super) uuid: Option<&'a str>,
}

/// What has to be done about the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as wanted.
    Good,
    /// A filesystem has to be created.
    Make,
}

/// Judges the content of `node`.
pub(super) fn judge(asked: &Asked<'_>, content: &Content, node: &Path, read_only: bool) -> Result<Verdict, ContentError> {
    let refuse = |why: Why| Err(ContentError { node: node.to_owned(), asked: asked.filesystem, why });
    match content {
        Content::Unspecified => Ok(Verdict::Good),
        Content::Blank if read_only => refuse(Why::ReadOnly),
        Content::Blank => Ok(Verdict::Make),
        Content::Holds(signatures) => match signatures.as_slice() {
            [one] if one.kind == asked.filesystem.name() => match mismatch(asked, one) {
                Some(why) => refuse(why),
                None => Ok(Verdict::Good),
            },
            [_] => refuse(Why::Other(content.to_string())),
            _ => refuse(Why::Several(content.to_string())),
        },
        Content::Unknown { .. } => refuse(Why::Other(content.to_string())),
    }
}

/// Whether this may be the result of an interrupted mkfs on a blank device. Every mkfs writes last what makes a
/// filesystem complete, so a complete one, or anything else, was put there by someone since then, and must not be
/// overwritten.
pub(super) fn is_half_made(filesystem: Filesystem, content: &Content) -> bool {
    match content {
        Content::Unknown { .. } => true,
        Content::Holds(signatures) => {
            signatures.iter().all(|found| found.kind == filesystem.name() && matches!(found.state, State::Damaged(_)))
        }
        Content::Blank | Content::Unspecified => false,
    }
}

fn mismatch(asked: &Asked<'_>, found: &Signature) -> Option<Why> {
    if let State::Damaged(why) = &found.state {
        return Some(Why::Damaged(why.clone()));
    }
    let differs = |what: &'static str, asked: Option<&str>, found: Option<&str>| {
        let asked = asked?;
        let same = found.is_some_and(|found| found.eq_ignore_ascii_case(asked) && (what == "UUID" || found == asked));
        (!same).then(|| Why::Named { what, asked: asked.to_owned(), found: found.unwrap_or("none").to_owned() })
    };
    differs("label", asked.label, found.label.as_deref()).or_else(|| differs("UUID", asked.uuid, found.uuid.as_deref()))
}

/// The partition of a disk that is meant; `None` is the disk itself.
pub(super) fn part(disk: &Disk, wanted: Option<u32>, content: &Content) -> Result<Option<u32>, PartError> {
    let known: Vec<u32> = disk.partitions.iter().map(|partition| partition.number).collect();
    match (wanted, known.as_slice()) {
        (Some(number), known) if known.contains(&number) => Ok(Some(number)),
        (Some(number), _) => Err(PartError::Missing { node: disk.node.clone(), number, known }),
        (None, [only]) if is_table(content) => Ok(Some(*only)),
        (None, [_, _, ..]) if is_table(content) => Err(PartError::Several { node: disk.node.clone(), known }),
        (None, _) => Ok(None),
    }
}

fn is_table(content: &Content) -> bool {
    matches!(content, Content::Holds(signatures) if signatures.iter().all(|signature| matches!(signature.kind.as_str(), "gpt" | "dos")))
}

/// Why the content of a device is rejected. Nothing was written to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {}", node.display(), why.of(*asked))]
pub(crate) struct ContentError {
    node: PathBuf,
    asked: Filesystem,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    Other(String),
    Several(String),
    Named { what: &'static str, asked: String, found: String },
    Damaged(String),
    ReadOnly,
}

impl Why {
    fn of(&self, asked: Filesystem) -> String {
        match self {
            Self::Other(found) => format!("already holds {found}, and the document asks for {asked}"),
            Self::Several(found) => format!("holds {found} at the same time, so its content is ambiguous"),
            Self::Named { what, asked, found } => format!("holds a filesystem with the {what} {found}, and the document asks for {asked}"),
            Self::Damaged(why) => format!("holds {asked} that is damaged: {why}"),
            Self::ReadOnly => format!("is blank, should hold {asked}, and is read-only"),
        }
    }
}

impl Failure for ContentError {
    fn hint(&self) -> Option<String> {
        let node = self.node.display();
        Some(match &self.why {
            // ingot never overwrites data: this may be the only copy.
            Why::Other(_) | Why::Several(_) => {
                format!("correct the document; or, if nothing on {node} is needed, run `wipefs --all {node}`, then `ingot boot`")
            }
            Why::Named { what: "label", .. } => format!("correct `label:`, or check whether {node} is the right volume"),
            Why::Named { .. } => format!("correct `uuid:`, or check whether {node} is the right volume"),
            Why::Damaged(_) => match self.asked {
                Filesystem::Xfs => format!("check it with `xfs_repair -n {node}`, or restore another snapshot"),
                Filesystem::Ext4 => format!("check it with `e2fsck -n {node}`, or restore another snapshot"),
                Filesystem::Btrfs => format!("check it with `btrfs check --readonly {node}`, or restore another snapshot"),
                Filesystem::Swap => format!("recreate it with `mkswap {node}`"),
            },
            Why::ReadOnly => "attach it writable, or restore it from a snapshot that holds a filesystem".into(),
        })
    }
}

/// Why the partition cannot be determined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PartError {
    #[error("{} has no partition {number}; it has {known:?}", node.display())]
    Missing { node: PathBuf, number: u32, known: Vec<u32> },
    #[error("{} has the partitions {known:?}, and none of them is named", node.display())]
    Several { node: PathBuf, known: Vec<u32> },
}

impl Failure for PartError {
    fn hint(&self) -> Option<String> {
        Some("name the partition with `partition:`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::failure::Explanation;
    use crate::host::disks::{DeviceNumber, Origin, Partition};

    const NODE: &str = "/dev/nvme1n1";

    fn holds(kinds: &[&str]) -> Content {
        let signature = |kind: &&str| Signature {
            kind: (*kind).into(),
            label: Some("data".into()),
            uuid: Some("0a1b2c3d-0000-4000-8000-000000000001".into()),
            size: None,
            state: State::Clean,
        };
        Content::Holds(kinds.iter().map(signature).collect())
    }

    fn asked(filesystem: Filesystem) -> Asked<'static> {
        Asked { filesystem, label: None, uuid: None }
    }

    fn said(asked: &Asked<'_>, content: &Content) -> String {
        Explanation::of(&judge(asked, content, Path::new(NODE), false).unwrap_err()).to_string()
    }

    #[test]
    fn makes_a_filesystem_on_nothing_but_a_blank_device() {
        let xfs = asked(Filesystem::Xfs);
        assert_eq!(judge(&xfs, &Content::Blank, Path::new(NODE), false), Ok(Verdict::Make));
        assert_eq!(judge(&xfs, &holds(&["xfs"]), Path::new(NODE), false), Ok(Verdict::Good));
        for kind in ["ext4", "ext3", "btrfs", "swap", "LVM2_member", "linux_raid_member", "crypto_LUKS", "gpt", "dos", "ntfs"] {
            assert!(judge(&xfs, &holds(&[kind]), Path::new(NODE), false).is_err(), "{kind}");
        }
        assert!(judge(&xfs, &holds(&["xfs", "ext4"]), Path::new(NODE), false).is_err());
        assert!(judge(&xfs, &Content::Unknown { at: 0, bytes: "ff".into() }, Path::new(NODE), false).is_err());
        assert!(judge(&xfs, &Content::Blank, Path::new(NODE), true).is_err());
    }

    #[test]
    fn says_what_was_found_and_what_to_do() {
        insta::assert_snapshot!(said(&asked(Filesystem::Xfs), &holds(&["ext4"])), @r#"
        /dev/nvme1n1 already holds ext4 "data", and the document asks for xfs
          hint: correct the document; or, if nothing on /dev/nvme1n1 is needed, run `wipefs --all /dev/nvme1n1`, then `ingot boot`
        "#);
        let labelled = Asked { label: Some("shop"), ..asked(Filesystem::Xfs) };
        insta::assert_snapshot!(said(&labelled, &holds(&["xfs"])), @r"
        /dev/nvme1n1 holds a filesystem with the label data, and the document asks for shop
          hint: correct `label:`, or check whether /dev/nvme1n1 is the right volume
        ");
    }

    #[test]
    fn begins_again_only_where_nothing_is_whole() {
        let is_half_made = |content: &Content| is_half_made(Filesystem::Xfs, content);
        let mut half = holds(&["xfs"]);
        assert!(!is_half_made(&half) && !is_half_made(&Content::Blank), "these are judged as ever");
        if let Content::Holds(signatures) = &mut half {
            signatures[0].state = State::Damaged("mkfs.xfs did not complete".into());
        }
        assert!(is_half_made(&half) && is_half_made(&Content::Unknown { at: 0, bytes: "ff".into() }));
        assert!(!is_half_made(&holds(&["ext4"])) && !is_half_made(&holds(&["xfs", "ext4"])));
    }

    #[test]
    fn a_uuid_is_the_same_in_capitals_and_a_label_is_not() {
        let uuid = Asked { uuid: Some("0A1B2C3D-0000-4000-8000-000000000001"), ..asked(Filesystem::Xfs) };
        assert_eq!(judge(&uuid, &holds(&["xfs"]), Path::new(NODE), false), Ok(Verdict::Good));
        let label = Asked { label: Some("Data"), ..asked(Filesystem::Xfs) };
        assert!(judge(&label, &holds(&["xfs"]), Path::new(NODE), false).is_err());
    }

    #[test]
    fn finds_the_partition_that_is_meant() {
        let disk = |count: u32| Disk {
            node: NODE.into(),
            number: DeviceNumber { major: 259, minor: 0 },
            size: 1 << 30,
            read_only: false,
            origin: Origin::Other,
            attached_as: None,
            partitions: (1..=count)
                .map(|number| Partition {
                    node: format!("{NODE}p{number}").into(),
                    number,
                    device: DeviceNumber { major: 259, minor: number },
                    size: 1 << 20,
                })
                .collect(),
            holders: Vec::new(),
        };
        let table = holds(&["gpt"]);
        assert_eq!(part(&disk(0), None, &holds(&["xfs"])), Ok(None));
        assert_eq!(part(&disk(1), None, &table), Ok(Some(1)));
        assert_eq!(part(&disk(3), Some(2), &table), Ok(Some(2)));
        assert_eq!(part(&disk(0), None, &table), Ok(None), "and then the table itself is what lies there");
        assert!(matches!(part(&disk(2), None, &table), Err(PartError::Several { .. })));
        assert!(matches!(part(&disk(2), Some(3), &table), Err(PartError::Missing { .. })));
    }
}
