//! Passing on the members of an archive.

use std::io::{self, Read};

/// How much of one archive is read, in bytes of unpacked data.
pub(super) const LIMIT: u64 = 8 << 30;

/// Receives the name and the content of a member.
pub(super) type Take<'a> = dyn FnMut(&str, &mut dyn Read) -> io::Result<()> + 'a;

/// The result of unpacking a file.
pub(super) enum Unpacked {
    /// It is not an archive.
    Plain,
    Members,
    /// Part of it was not searched, with the reason.
    InPart(String),
    /// None of it was unpacked, with the reason.
    Not(String),
}
