//! What commands print: data on stdout, words for people on stderr.

use std::io::Write as _;

use crate::host::outlet::Stderr;

/// Prints data on stdout. Whoever closed it early has read enough.
pub(super) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { writeln!(out) });
}

/// Prints a line for people on stderr.
pub(super) fn talk(text: &str) {
    let _ = writeln!(Stderr::default(), "{text}");
}
