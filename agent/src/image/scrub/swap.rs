//! Swap on the machine that builds an image.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;

use super::{Scrubber, Spot, there};
use crate::host::HostError;
use crate::host::tree::failed;

/// The last ten bytes of the first page written by mkswap(8), with pages of 4, 16 or 64 KiB.
const SIGNATURE: &[u8] = b"SWAPSPACE2";

impl Scrubber {
    /// Whether a file is a swap file.
    pub(crate) fn is_swap(&self, spot: &Spot) -> Result<bool, HostError> {
        let failed = |error| failed("read", &spot.path(), error);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let Some(fd) = there(self.open_spot(spot, flags)).map_err(failed)? else { return Ok(false) };
        let file = std::fs::File::from(fd);
        let mut found = [0; SIGNATURE.len()];
        let is_at = |end: u64| file.read_exact_at(&mut found, end - SIGNATURE.len() as u64).is_ok() && found == SIGNATURE;
        Ok([4096, 16_384, 65_536].into_iter().any(is_at))
    }

    /// Deactivates a swap file of the image, if the kernel uses it.
    pub(crate) fn stop_swapping(&self, path: &Path) -> Result<(), HostError> {
        let path = self.root.join(path.strip_prefix("/").unwrap_or(path));
        let failed = |error| failed("swapoff", &path, error);
        let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
        if !swaps.lines().skip(1).any(|line| line.split_whitespace().next().map(Path::new) == Some(&path)) {
            return Ok(());
        }
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
        // SAFETY: the string is NUL-terminated and lives as long as the call.
        Errno::result(unsafe { libc::swapoff(name.as_ptr()) }).map(drop).map_err(|errno| failed(errno.into()))
    }
}
