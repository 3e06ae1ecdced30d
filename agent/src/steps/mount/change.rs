//! The differences between a mount and its wanted state.

use std::fmt;
use std::path::PathBuf;

use crate::host::Attributes;
use crate::host::disks::{Device, Filesystem};
use crate::host::mounts::MountCall;

/// One difference between a mount and its wanted state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    CreateDirectory(PathBuf),
    /// A volume that was mounted here for an earlier document.
    Unmount {
        at: PathBuf,
        volume: String,
    },
    Check {
        device: Device,
    },
    Mount(MountCall),
    MountBy {
        program: String,
        call: MountCall,
    },
    Remount {
        call: MountCall,
        set: Vec<&'static str>,
    },
    Grow {
        device: Device,
        filesystem: Filesystem,
        at: PathBuf,
        to: u64,
    },
    SetAttributes {
        at: PathBuf,
        attributes: Attributes,
    },
    SwapOn {
        device: Device,
        priority: Option<u16>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDirectory(path) => write!(f, "create directory {}", path.display()),
            Self::Unmount { at, volume } => write!(f, "unmount {volume}, which was mounted at {} before", at.display()),
            Self::Check { device } => write!(f, "check the filesystem on {}", device.node.display()),
            Self::Mount(call) => {
                write!(f, "mount {} at {}", call.source, call.at.display())?;
                if call.filesystem.is_empty() { Ok(()) } else { write!(f, " ({})", call.filesystem) }
            }
            Self::MountBy { program, call } => write!(f, "mount {} at {} by {program}", call.source, call.at.display()),
            Self::Remount { call, set } => write!(f, "remount at {}: {}", call.at.display(), set.join(",")),
            Self::Grow { filesystem, at, to, .. } => write!(f, "grow {filesystem} at {} to {} GiB", at.display(), to >> 30),
            Self::SetAttributes { at, attributes: Attributes { mode, uid, gid } } => {
                write!(f, "set mode {mode:04o} and owner {uid}:{gid} of {}", at.display())
            }
            Self::SwapOn { device, .. } => write!(f, "swap on {}", device.node.display()),
        }
    }
}
