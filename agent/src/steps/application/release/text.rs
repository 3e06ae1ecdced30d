//! The files of a release as text, or the reason why they cannot be used.

use std::str;

use super::{Content, FILE_LIMIT, Kind, Release};
use crate::steps::application::remark::Remark;

impl Release {
    /// The content of a file that is read; `None` if it does not exist, is not a file, or is too large.
    pub(crate) fn bytes(&self, path: &str) -> Option<&[u8]> {
        match &self.entry(path)?.content {
            Some(Content::Bytes(bytes)) => Some(bytes),
            Some(Content::TooLarge) | None => None,
        }
    }

    /// A file as text, without a byte order mark; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If it is not a file, leads out of the release, is too large, or is not UTF-8.
    pub(crate) fn text(&self, path: &str) -> Option<Result<&str, Remark>> {
        let entry = self.entry(path)?;
        Some(match (entry.kind, &entry.content) {
            (Kind::Astray, _) => {
                Err(Remark::of(path, "this link leads out of the release, or nowhere", "put the file itself into the bundle"))
            }
            (Kind::Directory | Kind::Other, _) => Err(Remark::of(path, "this is not a file", "put a file of this name into the bundle")),
            (_, Some(Content::Bytes(bytes))) => str::from_utf8(bytes).map(|text| text.trim_start_matches('\u{feff}')).map_err(|error| {
                let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
                Remark::at(path, line, "this is not UTF-8 text", "save the file as UTF-8")
            }),
            (_, Some(Content::TooLarge) | None) => {
                Err(Remark::of(path, format!("the file is larger than {} KiB", FILE_LIMIT >> 10), "make it smaller"))
            }
        })
    }
}
