//! Why an archive was not unpacked, and hints on how to fix that.

use std::io;
use std::path::PathBuf;

use super::entry;
use super::format::WINDOW;
use crate::digest::Sha256;
use crate::failure::{Failure, Objection};
use crate::host::error::HostError;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("the archive holds `{name}`, {why}")]
    Refused { name: String, why: String },
    /// `allow` is the entry of `links:` that would permit it.
    #[error("the archive holds `{name}`, {why}")]
    LeadsOut { name: String, why: String, allow: String },
    /// The file may be intact, but has an unsupported format.
    #[error("{0}")]
    Unreadable(Objection),
    #[error("the archive is damaged: {why}")]
    Damaged { why: String },
    #[error("the archive unpacks to more than {limit} bytes, or to more files than fit in them")]
    TooLarge { limit: u64 },
    #[error("the archive's SHA-256 is {found}, expected {wanted}")]
    Digest { wanted: Sha256, found: Sha256 },
    #[error("received {found} bytes, expected {wanted}")]
    Length { wanted: u64, found: u64 },
    #[error("the filesystem of {} has no space for {name}", at.display())]
    NoSpace { name: String, at: PathBuf },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for UnpackError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused { .. } => "rebuild the archive without it; nothing was installed".into(),
            Self::LeadsOut { allow, .. } => {
                format!("rebuild the archive without it, or allow the link in the bundle: `links: {{ {allow} }}`")
            }
            Self::Unreadable(objection) => objection.hint.clone(),
            Self::Damaged { .. } => "rebuild the archive and publish it again".into(),
            Self::TooLarge { .. } => "raise `max_size_gib` if it is meant to be this large".into(),
            Self::Digest { .. } => {
                "correct `sha256` in the document, or publish the archive that it belongs to: another one has replaced it".into()
            }
            Self::Length { .. } => "run `ingot boot` again; if that does not help, look for a proxy that alters responses".into(),
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

/// Converts an error of a format's reader.
pub(super) fn broken(error: io::Error) -> UnpackError {
    match (error.kind(), error.to_string()) {
        (io::ErrorKind::ConnectionAborted, _) => damaged("the download was aborted"),
        (io::ErrorKind::UnexpectedEof, _) => damaged("it is truncated"),
        // The tar crate's messages for a truncated archive.
        (_, said) if said.contains("EOF") || said.contains("no future member") || said == "failed to read entire block" => {
            damaged("it is truncated")
        }
        (_, said) if said == "Unknown frame descriptor" || said == "invalid gzip header" => damaged("there is data after its end"),
        (_, said) if said.starts_with("Frame requires too much memory") => UnpackError::Unreadable(Objection::new(
            format!("this is zstd with a window of more than {} MiB, which ingot does not unpack", (1_u32 << WINDOW) >> 20),
            "compress it with `zstd -19 FILE` or less, without `--long` and `--ultra`",
        )),
        (_, said) if said.starts_with("Dictionary mismatch") => UnpackError::Unreadable(Objection::new(
            "this is zstd with a dictionary, which ingot does not unpack",
            "compress it without `-D`",
        )),
        (_, said) => damaged(&said),
    }
}
