//! Kernel log messages about a device during an operation: a failing mount(2) returns only a number, and the log
//! explains it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

/// The longest record, in bytes (PRINTK_MESSAGE_MAX and its prefix).
const RECORD: usize = 8192;

/// The level of a warning, see syslog(3): lower is worse.
const WARNING: u32 = 4;

/// How many of the last lines are kept.
const LINES: usize = 3;

/// The kernel's log from now on; `None` if it may not be read.
pub(super) struct KernelLog(Option<File>);

impl KernelLog {
    pub(super) fn from_now() -> Self {
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
        let at_end = opened.and_then(|mut log| log.seek(SeekFrom::End(0)).map(|_| log));
        Self(at_end.inspect_err(|error| log::debug!("cannot read the kernel's log: {error}")).ok())
    }

    /// The last complaints that name the device or, for messages about unknown options, begin with the name of the
    /// filesystem.
    pub(super) fn about(mut self, node: &Path, filesystem: &str) -> Vec<String> {
        let name = node.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut lines = Vec::new();
        let mut record = [0; RECORD];
        // Each read returns one record; the read after the last one fails.
        while let Some(Ok(length)) = self.0.as_mut().map(|log| log.read(&mut record)) {
            lines.extend(complaint(&record[..length]).filter(|text| names(text, &name) || begins(text, filesystem)));
        }
        lines.split_off(lines.len().saturating_sub(LINES))
    }
}

/// The text of a record at level warning or worse: `4,1234,5678901,-;XFS (nvme1n1): Unmount and run xfs_repair`, which
/// may be followed by separate lines `NAME=value`. A text that announces a hex dump does not count.
fn complaint(record: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(record);
    let (prefix, message) = text.lines().next()?.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    // The higher bits of the number are the facility.
    (priority % 8 <= WARNING && !message.ends_with(':')).then(|| message.to_owned())
}

fn begins(message: &str, filesystem: &str) -> bool {
    !filesystem.is_empty() && message.strip_prefix(filesystem).is_some_and(|rest| rest.starts_with(": "))
}

/// Whether a message names a device, and not only one whose name has the same beginning.
fn names(message: &str, name: &str) -> bool {
    !name.is_empty() && message.split(|next: char| !next.is_ascii_alphanumeric() && next != '-').any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_said_of_the_device() {
        let text = complaint(b"3,1000,123456,-;XFS (nvme1n1): Filesystem has duplicate UUID\n SUBSYSTEM=block\n").unwrap();
        assert_eq!(text, "XFS (nvme1n1): Filesystem has duplicate UUID");
        assert!(names(&text, "nvme1n1") && !names(&text, "nvme1n") && !names(&text, ""));
        assert!(names("BTRFS error (device dm-0): open_ctree failed", "dm-0"));
        assert!(!names("EXT4-fs (nvme1n1p1): mounted", "nvme1n1"));
        assert!(begins("xfs: Unknown parameter 'x'", "xfs") && !begins("xfs (sda): x", "xfs") && !begins(": x", ""));
        for record in ["no record", "5,1,1,-;XFS (nvme1n1): Mounting V5 Filesystem", "1,1,1,-;XFS (nvme1n1): First 128 bytes:", "x;y"] {
            assert_eq!(complaint(record.as_bytes()), None, "{record}");
        }
    }

    #[test]
    fn is_silent_of_what_nobody_spoke_of() {
        assert_eq!(KernelLog::from_now().about(Path::new("/dev/no-such-disk"), ""), [""; 0]);
    }
}
