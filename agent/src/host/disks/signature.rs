//! What lies on a disk, as signatures say it.

use std::fmt;

/// What lies on a disk or partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Zeros wherever a signature could be.
    Blank,
    /// What is recognised. More than one signature: no one can tell which of them is meant.
    Holds(Vec<Signature>),
    /// Something, and nothing that is recognised: the first bytes that are not zero, in hexadecimal.
    Unknown { at: u64, bytes: String },
    /// No one knows, for this is a rehearsal: it is taken for what is asked for.
    Unspecified,
}

/// What a superblock, a label or a partition table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// As blkid(8) names it: `xfs`, `ext4`, `btrfs`, `swap`, `LVM2_member`, `linux_raid_member`, `crypto_LUKS`, `gpt`, `dos` …
    pub(crate) kind: String,
    pub(crate) label: Option<String>,
    /// In lower case, with dashes.
    pub(crate) uuid: Option<String>,
    /// In bytes; `None` where the kind is not one of [`Filesystem`](super::filesystem::Filesystem), ext2 or ext3.
    pub(crate) size: Option<u64>,
    pub(crate) state: State,
}

/// In which state a filesystem was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Clean,
    /// It was in use, or is; mounting it replays its journal.
    Unreplayed,
    /// ext4: errors were met, or it has no journal and was in use, or is. To be checked before it is mounted.
    Unchecked,
    /// Its superblock contradicts itself, such as by a wrong checksum: the reason.
    Damaged(String),
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if let Some(label) = &self.label {
            write!(f, " {label:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("nothing"),
            Self::Holds(signatures) => {
                let names: Vec<String> = signatures.iter().map(ToString::to_string).collect();
                f.write_str(&names.join(" and "))
            }
            Self::Unknown { at, bytes } => write!(f, "something unknown ({bytes} at byte {at})"),
            Self::Unspecified => f.write_str("what is asked for"),
        }
    }
}

impl Signature {
    /// Of a kind of which no more is known.
    pub(super) fn plain(kind: &str) -> Self {
        Self { kind: kind.to_owned(), label: None, uuid: None, size: None, state: State::Clean }
    }
}
