//! The differences between a bundle and its wanted state.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

use super::release::Release;
use crate::host::Attributes;
use crate::host::unpack::Unpacked;
use crate::step::fields::Mode;

/// One difference between a bundle and its wanted state.
#[derive(Debug)]
pub(crate) enum Change {
    /// A directory left by an interrupted boot.
    RemoveStaged(PathBuf),
    Fetch {
        release: Box<Release>,
        to: PathBuf,
        attributes: Attributes,
        replaces: bool,
        /// The unpacked release, once it is staged.
        unpacked: RefCell<Option<Unpacked>>,
    },
    HandOver {
        release: PathBuf,
        attributes: Attributes,
        /// For a single-file release: its file, and the attributes of that.
        file: Option<(PathBuf, Attributes)>,
    },
    Switch {
        link: PathBuf,
        from: Option<PathBuf>,
        to: PathBuf,
    },
    RemoveRelease {
        release: PathBuf,
        mark: PathBuf,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoveStaged(path) => write!(f, "remove {}, left by a boot that was cut off", path.display()),
            Self::Fetch { release, to, replaces, .. } => {
                match &release.file {
                    None => write!(f, "unpack {} to {}", release.source, to.display())?,
                    Some(file) => write!(f, "download {} as {} to {}", release.source, file.name, to.display())?,
                }
                f.write_str(if *replaces { ", replacing what is there" } else { "" })
            }
            Self::HandOver { release, attributes, file } => {
                let (path, Attributes { mode, uid, gid }) = file.as_ref().map_or((release, attributes), |(path, own)| (path, own));
                write!(f, "give {} to {uid}:{gid}, mode {}", path.display(), Mode(*mode))
            }
            Self::Switch { link, from: None, to } => write!(f, "switch {} to {}", link.display(), to.display()),
            Self::Switch { link, from: Some(from), to } => {
                write!(f, "switch {} from {} to {}", link.display(), from.display(), to.display())
            }
            Self::RemoveRelease { release, .. } => write!(f, "remove {}", release.display()),
        }
    }
}
