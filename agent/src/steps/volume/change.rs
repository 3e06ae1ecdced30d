//! The differences between a volume and its wanted state.

use std::collections::BTreeMap;
use std::fmt;

use crate::aws::ec2::NewVolume;
use crate::host::disks::{Device, Disk, NewFilesystem, Wanted};

/// One difference between a volume and its wanted state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Waits for a disk that something other than ingot attaches.
    Await(Wanted),
    Make {
        request: Box<NewVolume>,
        failed: u32,
        source: String,
    },
    Attach {
        volume: String,
        reused: bool,
        /// Whether it was available a moment ago.
        ready: bool,
    },
    /// EC2 reports that it is attached to this instance.
    Adopt {
        volume: String,
        reused: bool,
    },
    Settle(Settlement),
    MakeFilesystem {
        device: Device,
        new: NewFilesystem,
    },
}

/// The settings in EC2 of an attached volume.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settlement {
    pub(super) volume: String,
    pub(super) tags: BTreeMap<String, String>,
    /// The device name, and whether the volume attached there is deleted with the instance.
    pub(super) delete: Option<(String, bool)>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Await(Wanted::Volume(volume)) => write!(f, "wait for {volume} to be attached"),
            Self::Await(Wanted::AttachedAs(name)) => write!(f, "wait for the disk {name}"),
            Self::Await(Wanted::InstanceStore(number)) => write!(f, "wait for instance store {number}"),
            Self::Make { request, .. } => {
                let size = request.size_gib.map_or_else(String::new, |gib| format!(" of {gib} GiB"));
                let kind = request.kind.as_ref().map_or_else(String::new, |kind| format!(" {kind}"));
                match &request.snapshot {
                    Some(snapshot) => write!(f, "restore a{kind} volume{size} from {snapshot}"),
                    None => write!(f, "create a blank{kind} volume{size}"),
                }
            }
            Self::Attach { volume, reused: true, .. } => write!(f, "attach {volume}, which is available for reuse"),
            Self::Attach { volume, reused: false, .. } => write!(f, "attach {volume}"),
            Self::Adopt { volume, .. } => write!(f, "wait for {volume} to be attached"),
            Self::Settle(Settlement { volume, tags, delete }) => {
                let tags = (!tags.is_empty()).then(|| format!("tag {volume}"));
                let delete = delete.as_ref().map(|(_, delete)| {
                    if *delete {
                        format!("have {volume} deleted with the instance")
                    } else {
                        format!("keep {volume} when the instance goes")
                    }
                });
                f.write_str(&tags.into_iter().chain(delete).collect::<Vec<_>>().join(", "))
            }
            Self::MakeFilesystem { device, new } => {
                write!(f, "make a filesystem, {}, on {}", new.kind, device.node.display())?;
                device.volume.as_ref().map_or(Ok(()), |volume| write!(f, " ({volume})"))
            }
        }
    }
}

/// How far the preparation of a volume has come.
pub(super) enum Found {
    Disk(Disk),
    Next(Change),
}
