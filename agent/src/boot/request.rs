//! The options of one boot.

use std::cell::OnceCell;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;
use crate::boot::in_hand::Asked;

/// The options of one boot, without the command line.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) user_data: UserData,
    /// The directory of the image's layers, if it is not the default. Not below the root that is booted.
    pub(crate) layers: Option<PathBuf>,
    /// The steps to run, with their dependencies. Empty for the whole document.
    pub(crate) only: Vec<Address>,
    /// The release to run from now on; `None` for the release in force.
    pub(crate) release: Option<Asked>,
    /// When the boot times out, counted from its start.
    pub(crate) deadline: Duration,
    /// Whether systemd started this process to boot the machine it runs on. If so, the report
    /// includes the times of the machine's own start.
    pub(crate) started_by_systemd: bool,
}

/// The source of the user's document. Displays as the value of `--user-data`.
#[derive(Debug)]
pub(crate) enum UserData {
    Metadata,
    Nothing,
    /// A file, not below the root that is booted: the name as the user gave it, and the absolute path.
    File {
        named: String,
        path: PathBuf,
    },
    /// Keeps what was read, because a second phase of the document cannot read it again.
    StandardInput(OnceCell<Vec<u8>>),
}

impl Request {
    /// Whether the boot is for the whole document, not for some of its steps.
    pub(crate) fn is_whole(&self) -> bool {
        self.only.is_empty()
    }
}

impl fmt::Display for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "imds",
            Self::Nothing => "none",
            Self::File { named, .. } => named,
            Self::StandardInput(_) => "-",
        })
    }
}
