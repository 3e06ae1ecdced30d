//! What a boot is asked for.

use std::cell::OnceCell;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;

/// One boot, as somebody asks for it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) user_data: UserData,
    /// Where the image's layers lie, if not in the usual place: outside of the root that is booted.
    pub(crate) layers: Option<PathBuf>,
    /// The steps to run, with what they need. Empty for the whole document.
    pub(crate) only: Vec<Address>,
    /// When to give up, counted from the start.
    pub(crate) deadline: Duration,
    /// Whether systemd started this process to boot the machine it runs on: then the report says how it came to that.
    pub(crate) started_by_systemd: bool,
}

/// Where the document of the user comes from. Displays as the option `--user-data` names it.
#[derive(Debug)]
pub(crate) enum UserData {
    Metadata,
    Nothing,
    /// A file outside of the root that is booted: as the user named it, and where it is.
    File {
        named: String,
        path: PathBuf,
    },
    /// With what was read of it: a second phase of the document cannot read it again.
    StandardInput(OnceCell<Vec<u8>>),
}

impl Request {
    /// Whether it is for the whole document, and not for some of its steps.
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
