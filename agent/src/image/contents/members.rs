//! What is packed into a file, as it is handed on.

use std::io::{self, Read};

/// How much of one archive is read, unpacked.
pub(super) const LIMIT: u64 = 8 << 30;

/// Takes a member, by its name, with its content.
pub(super) type Take<'a> = dyn FnMut(&str, &mut dyn Read) -> io::Result<()> + 'a;

/// What became of a file.
pub(super) enum Unpacked {
    /// It is not an archive.
    Plain,
    Members,
    /// Not all of it was searched; why.
    InPart(String),
    /// None of it was unpacked; why.
    Not(String),
}
