//! What a disk contains, according to its signatures.

use std::fmt;

/// The content of a disk or partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// All zeros wherever a signature could be.
    Blank,
    /// Recognized content. With more than one signature it is unknown which of them is valid.
    Holds(Vec<Signature>),
    /// Content that is not recognized: offset and hexadecimal value of the first bytes that are not zero.
    Unknown { at: u64, bytes: String },
    /// Unknown because this is a rehearsal: it counts as the content that is asked for.
    Unspecified,
}

/// The properties stated by a superblock, a label or a partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// The name that blkid(8) uses: `xfs`, `ext4`, `btrfs`, `swap`, `LVM2_member`, `linux_raid_member`, `crypto_LUKS`,
    /// `gpt`, `dos` …
    pub(crate) kind: String,
    pub(crate) label: Option<String>,
    /// In lower case, with dashes.
    pub(crate) uuid: Option<String>,
    /// In bytes; `None` if the kind is neither a [`Filesystem`](super::filesystem::Filesystem) nor ext2 or ext3.
    pub(crate) size: Option<u64>,
    pub(crate) state: State,
}

/// The state in which a filesystem was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Clean,
    /// It was or is in use; mounting it replays its journal.
    Unreplayed,
    /// ext4: it has recorded errors, or has no journal and was or is in use. It has to be checked before it is mounted.
    Unchecked,
    /// Its superblock is inconsistent, for instance because of a wrong checksum. Holds the reason.
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
    /// A signature of a kind about which nothing else is known.
    pub(super) fn plain(kind: &str) -> Self {
        Self { kind: kind.to_owned(), label: None, uuid: None, size: None, state: State::Clean }
    }
}
