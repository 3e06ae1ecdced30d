//! Opens files in an untrusted tree: no links, no FIFOs, and no lists of unlimited size.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

use crate::host::calls::NO_ATIME;

/// The maximum size of a list that is read, in bytes.
const LIST: u64 = 64 << 20;

/// Opens a file for reading, without changing its access time if that is permitted.
pub(super) fn open(path: &Path) -> io::Result<File> {
    // Non-blocking: what was a file a moment ago may be a FIFO now.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let mut options = fs::OpenOptions::new();
    let opened = match options.read(true).custom_flags(flags | NO_ATIME).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => options.custom_flags(flags).open(path),
        opened => opened,
    }?;
    match opened.metadata()?.is_file() {
        true => Ok(opened),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")),
    }
}

/// The content of the list at `path`: empty if it does not exist or is too large.
pub(super) fn list(path: &Path) -> Vec<u8> {
    let read = || {
        let (file, mut content) = (open(path)?, Vec::new());
        file.take(LIST + 1).read_to_end(&mut content).map(|_| content)
    };
    let content: io::Result<Vec<u8>> = read();
    content.ok().filter(|content| content.len() as u64 <= LIST).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(list(&at("file")), b"x");
        for name in ["link", "pipe", "none"] {
            assert_eq!(list(&at(name)), b"", "{name}");
        }
        fs::File::create(at("large")).unwrap().set_len(LIST + 1).unwrap();
        assert_eq!(list(&at("large")), b"");
    }
}
