//! Why an archive was not unpacked, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::entry;
use crate::digest::Sha256;
use crate::failure::Failure;
use crate::host::error::HostError;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("the archive holds `{name}`, {why}")]
    Refused { name: String, why: String },
    #[error("this is no archive: it looks like {like}")]
    NoArchive { like: &'static str },
    #[error("the archive is damaged: {why}")]
    Damaged { why: String },
    #[error("the archive unpacks to more than {limit} bytes, or to more files than fit in them")]
    TooLarge { limit: u64 },
    #[error("the archive is another one: its SHA-256 is {found}, not {wanted}")]
    Digest { wanted: Sha256, found: Sha256 },
    #[error("{found} bytes came, not {wanted}")]
    Length { wanted: u64, found: u64 },
    #[error("there is no room for {name} on the filesystem of {}", at.display())]
    NoSpace { name: String, at: PathBuf },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for UnpackError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused { .. } => "make the archive again without it; nothing was installed".into(),
            Self::NoArchive { .. } => {
                "publish a tar, tar.gz, tar.zst or zip, and look at what is there: `curl -I` or `aws s3 cp … -`".into()
            }
            Self::Damaged { .. } => "make the archive again, and publish it whole".into(),
            Self::TooLarge { .. } => "raise `max_size_gib` if this is meant to be so large".into(),
            Self::Digest { .. } => "correct `sha256` in the document, or find out who has replaced the archive".into(),
            Self::Length { .. } => "boot again; if that does not help, look for a proxy that alters answers".into(),
            Self::NoSpace { at, .. } => format!("free space on the filesystem of {}, or make it larger", at.display()),
            Self::Host(source) => return source.hint(),
        })
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Length { .. } => true,
            Self::Host(source) => source.is_transient(),
            _ => false,
        }
    }
}

pub(super) fn refused(name: &[u8], why: &str) -> UnpackError {
    UnpackError::Refused { name: entry::shown(name), why: why.to_owned() }
}

pub(super) fn damaged(why: &str) -> UnpackError {
    UnpackError::Damaged { why: why.to_owned() }
}

/// What a reader of a format says.
pub(super) fn broken(error: io::Error) -> UnpackError {
    match (error.kind(), error.to_string()) {
        (io::ErrorKind::ConnectionAborted, _) => damaged("it was given up"),
        (io::ErrorKind::UnexpectedEof, _) => damaged("it ends in the middle"),
        // The tar crate's words for the same.
        (_, said) if said.contains("EOF") || said == "failed to read entire block" => damaged("it ends in the middle"),
        (_, said) if said == "Unknown frame descriptor" || said == "invalid gzip header" => damaged("something else follows its end"),
        (_, said) => damaged(&said),
    }
}
