//! Reads a decompressed tar as it arrives, one entry after another.

use std::cell::Cell;
use std::io::{BufReader, Read};

use ::tar::{Archive, Entry, EntryType, PaxExtensions};
use nix::sys::time::TimeSpec;

use super::error::{UnpackError, broken, damaged, refused};
use super::limit::Rationed;
use super::sink::Sink;

/// The limit on headers between the contents of two files, in bytes: enough for names of any length that Linux accepts,
/// and for attributes.
const HEADERS: u64 = 1 << 20;

/// Buffer size for small reads, such as headers; large reads bypass the buffer.
const BUFFER: usize = 32 << 10;

/// Reads a tar, and everything after it, which may only be zeros.
pub(super) fn unpack(decoder: impl Read, sink: &mut Sink) -> Result<(), UnpackError> {
    let ration = Cell::new(HEADERS);
    let mut archive = Archive::new(Rationed { inner: BufReader::with_capacity(BUFFER, decoder), ration: &ration, ended: false });
    let mut entries = archive.entries().map_err(broken)?;
    let mut usual = None;
    loop {
        ration.set(HEADERS);
        let Some(entry) = entries.next() else { break };
        take(entry.map_err(broken)?, &ration, &mut usual, sink)?;
    }
    let mut rest = archive.into_inner();
    if rest.ended {
        return Err(damaged(if sink.entries == 0 { "it is empty" } else { "it ends without the mark of its end" }));
    }
    if sink.entries == 0 {
        return Err(damaged("it is empty"));
    }
    ration.set(u64::MAX);
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = rest.read(&mut buffer).map_err(broken)?;
        if length == 0 {
            return Ok(());
        }
        sink.limit.content(length as u64)?;
        sink.limit.bytes -= length as u64;
        if buffer[..length].iter().any(|byte| *byte != 0) {
            return Err(damaged("something follows its end"));
        }
    }
}

/// Processes an entry. `usual` is the modification time from a global header, which applies to files without their own.
fn take<R: Read>(mut entry: Entry<'_, R>, ration: &Cell<u64>, usual: &mut Option<TimeSpec>, sink: &mut Sink) -> Result<(), UnpackError> {
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        let mut attributes = Vec::new();
        entry.read_to_end(&mut attributes).map_err(broken)?;
        *usual = Attributes::of(PaxExtensions::new(&attributes)).modified.or(*usual);
        return Ok(());
    }
    let name = entry.path_bytes().into_owned();
    let attributes = entry.pax_extensions().map_err(broken)?.map(Attributes::of).unwrap_or_default();
    if attributes.is_sparse {
        return Err(refused(&name, "a sparse file in a form that is not read here: make it without --sparse"));
    }
    let mode = entry.header().mode().map_err(broken)?;
    let of_header = || Some(TimeSpec::new(entry.header().mtime().ok()?.try_into().ok()?, 0));
    let modified = attributes.modified.or(*usual).or_else(of_header);
    let link = |entry: &Entry<'_, R>| entry.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
    match kind {
        EntryType::Directory => sink.directory(&name, mode),
        // Directories in the oldest tar format.
        EntryType::Regular if name.ends_with(b"/") => sink.directory(&name, mode),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            ration.set(u64::MAX);
            let size = entry.size();
            sink.file(&name, mode, modified, size, &mut entry)
        }
        EntryType::Symlink => {
            let target = link(&entry);
            sink.symlink(&name, &target)
        }
        EntryType::Link => {
            let to = link(&entry);
            sink.hard_link(&name, &to)
        }
        EntryType::Fifo => Err(refused(&name, "which is a FIFO")),
        EntryType::Char | EntryType::Block => Err(refused(&name, "which is a device")),
        _ => Err(refused(&name, "which is neither a file nor a directory nor a link")),
    }
}

/// The pax header attributes that are used here. The crate already applies name, link target and size.
#[derive(Default)]
struct Attributes {
    /// The plain header has only whole seconds, and its writer may have rounded them, which would make a .pyc stale.
    modified: Option<TimeSpec>,
    is_sparse: bool,
}

impl Attributes {
    fn of(attributes: PaxExtensions<'_>) -> Self {
        let mut found = Self::default();
        // Attributes that cannot be parsed are skipped: values of extended attributes may be any bytes.
        for attribute in attributes.filter_map(Result::ok) {
            match attribute.key_bytes() {
                b"mtime" => found.modified = std::str::from_utf8(attribute.value_bytes()).ok().and_then(time),
                key => found.is_sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        found
    }
}

/// A pax timestamp: seconds since 1970, optionally with a fraction, possibly negative.
fn time(text: &str) -> Option<TimeSpec> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i64 = format!("{fraction:0<9.9}").parse().ok()?;
    Some(match whole.starts_with('-') && nanoseconds > 0 {
        true => TimeSpec::new(seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds),
        false => TimeSpec::new(seconds, nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond() {
        let read = |text: &str| time(text).map(|time| (time.tv_sec(), time.tv_nsec()));
        assert_eq!(read("1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(read("1700000000.5"), Some((1_700_000_000, 500_000_000)));
        assert_eq!(read("1700000000.9999999999"), Some((1_700_000_000, 999_999_999)));
        assert_eq!(read("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(read("-0.5"), Some((-1, 500_000_000)));
        for wrong in ["", "x", "1.x", "1.-5", "1e9", ".", "-9223372036854775808.5"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
