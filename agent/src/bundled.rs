//! The judgment of an instance on a release, for `ingot-fleet`, which publishes releases. Nothing in the agent calls
//! this, so the linker leaves it out of the program.

use std::fs::File;
use std::io::Read;

use crate::failure::Failure as _;
use crate::host::unpack::judge::judge;

/// An archive that can be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// `tar`, `tar.gz`, `tar.zst` or `zip`.
    pub format: &'static str,
    pub entries: u64,
    /// What an operator should know, though it stops nothing.
    pub warnings: Vec<String>,
}

/// Why an archive cannot be unpacked, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub message: String,
    pub hint: Option<String>,
}

/// Reads an archive of `length` bytes to its end, as an instance would; `scratch` is an empty
/// file, for formats whose table of contents is at their end.
///
/// # Errors
///
/// The error that an instance would report.
pub fn judge_archive(content: impl Read + Send, length: u64, scratch: File) -> Result<Archive, Refusal> {
    match judge(content, length, scratch) {
        Ok(judged) => Ok(Archive { format: judged.format, entries: judged.entries, warnings: judged.warnings }),
        Err(error) => Err(Refusal { message: error.to_string(), hint: error.hint() }),
    }
}
