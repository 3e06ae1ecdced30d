//! Why something could not be mounted, and what to do about it.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::host::HostError;
use crate::template::TemplateError;

/// Why something could not be mounted. Existing mounts are unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    #[error("cannot fill in a field")]
    Render(#[source] TemplateError),
    #[error("{message}")]
    Option { message: String, hint: &'static str },
    #[error("the block device {} does not exist", node.display())]
    NoDevice { node: PathBuf },
    #[error("{} is already mounted from {by}", at.display())]
    InUse { at: PathBuf, by: String },
    #[error("{} holds {found}, which cannot be mounted{}", node.display(), wanted.as_ref().map_or_else(String::new, |wanted| format!(" as {wanted}")))]
    NotMountable { node: PathBuf, found: String, wanted: Option<String> },
    #[error("{program}, which mounts {kind}, is not installed")]
    NoHelper { program: String, kind: String },
    #[error("cannot mount it now")]
    Network { source: HostError },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for MountError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Render(source) => return source.hint(),
            Self::Option { hint, .. } => (*hint).into(),
            Self::NoDevice { .. } => "refer to a volume instead, as in \"{{volumes.NAME.device}}\", or correct the path".into(),
            Self::InUse { .. } => "unmount it, or give this mount another path".into(),
            Self::NotMountable { found, .. } if found == "nothing" => "name its filesystem in `volumes:`, as in `filesystem: xfs`".into(),
            Self::NotMountable { .. } => "correct `type:`, or name the device on top of it (/dev/mapper/…, /dev/md…)".into(),
            Self::NoHelper { kind, .. } => match kind.as_str() {
                "nfs" | "nfs4" => "install nfs-common (Debian, Ubuntu) or nfs-utils (Amazon Linux) in the image".into(),
                "efs" => "install amazon-efs-utils in the image".into(),
                "cifs" | "smb3" => "install cifs-utils in the image".into(),
                kind => format!("install the package that has mount.{kind} in the image"),
            },
            Self::Network { source } => match source {
                HostError::Tool { said, .. } if said.contains("denied") => "let the server export it to this instance's address".into(),
                _ => "check the name, the security group (NFS: TCP 2049) and the mount target of this zone".into(),
            },
            Self::Host(HostError::Path { operation: "bind", path, source }) if source.kind() == std::io::ErrorKind::NotFound => {
                format!("make {} first, in the image or by a step of this document, or correct `device:`", path.display())
            }
            Self::Host(source) => return source.hint(),
        })
    }

    fn is_transient(&self) -> bool {
        match self {
            // Early in a boot the network, name resolution or the server may not be up yet.
            Self::Network { source: HostError::Tool { said, .. } } => {
                let said = said.to_ascii_lowercase();
                !["denied", "no such file", "incorrect mount option", "bad option", "invalid"].iter().any(|word| said.contains(word))
            }
            Self::Network { .. } => true,
            Self::Host(source) => source.is_transient(),
            _ => false,
        }
    }
}
