//! Removes files from an image.
//!
//! All paths are resolved by descriptors: symbolic links are not followed, and a directory that is replaced by a link
//! in the meantime is not entered. Files left by a killed run are found and removed by the next one.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{DIRECTORY, Scrubber, Spot, is_absent, names, there, within};
use crate::host::HostError;
use crate::host::tree::{described, failed, filled, to_disk};

impl Scrubber {
    /// Removes a file, a link, or a directory with everything in it, except mounted filesystems.
    pub(crate) fn remove(&self, spot: &Spot) -> Result<(), HostError> {
        let failed = |error| failed("remove", &spot.path(), error);
        let Some((parent, name)) = there(self.parent(spot)).map_err(failed)? else { return Ok(()) };
        remove_at(&parent, &name).map_err(failed)?;
        to_disk(&parent).map_err(failed)
    }

    /// Truncates a regular file to zero length: it keeps its owner and mode, and processes can continue to write to it.
    pub(crate) fn empty(&self, spot: &Spot) -> Result<(), HostError> {
        self.write(spot, b"")
    }

    /// Overwrites a regular file in place, with one write. For short content of files that cannot be replaced by a
    /// rename.
    pub(crate) fn write(&self, spot: &Spot, content: &[u8]) -> Result<(), HostError> {
        let failed = |error| failed("write", &spot.path(), error);
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let Some(fd) = there(self.open_spot(spot, flags)).map_err(failed)? else { return Ok(()) };
        let mut file = File::from(fd);
        let written = file.set_len(0).and_then(|()| io::Write::write_all(&mut file, content)).and_then(|()| file.sync_all());
        written.map_err(failed)
    }

    /// Replaces a file by one with the same owner and mode and other content.
    pub(crate) fn replace(&self, spot: &Spot, content: &[u8]) -> Result<(), HostError> {
        let failed = |error| failed("write", &spot.path(), error);
        let (parent, name) = self.parent(spot).map_err(failed)?;
        let file = within(&parent, &name, OFlag::O_PATH | OFlag::O_CLOEXEC).map_err(failed)?;
        let attributes = described(&fstat(&file).map_err(|errno| failed(errno.into()))?).attributes;
        let staged = Path::new(".ingot-staged").with_extension(&name);
        remove_at(&parent, &staged).map_err(failed)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(&parent, staged.as_path(), flags, Mode::from_bits_truncate(0o600)).map_err(|errno| failed(errno.into()))?;
        let renamed = filled(File::from(made), content, attributes)
            .and_then(|file| file.sync_all())
            .and_then(|()| Ok(renameat(&parent, staged.as_path(), &parent, name.as_path())?))
            .and_then(|()| to_disk(&parent));
        renamed.map_err(failed)
    }
}

fn remove_at(parent: &OwnedFd, name: &Path) -> io::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        // EBUSY: something is mounted over the file.
        Ok(()) | Err(Errno::ENOENT | Errno::EBUSY) => return Ok(()),
        Err(Errno::EISDIR) => {}
        Err(other) => return Err(other.into()),
    }
    let directory = match within(parent, name, DIRECTORY) {
        Ok(directory) => directory,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names(&directory)? {
        remove_at(&directory, &name)?;
    }
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        // ENOTEMPTY: something is mounted below it, or was created just now.
        Ok(()) | Err(Errno::ENOENT | Errno::EBUSY | Errno::ENOTEMPTY) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn spot(path: &str) -> Spot {
        Spot::of(Path::new(path))
    }

    #[test]
    fn removes_a_tree_and_nothing_that_links_in_it_lead_to() {
        let (directory, scrubber) = tree(&["/var/lib/cloud/a/b", "/var/lib/cloud/c", "/etc/kept"]);
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        symlink(outside.path(), directory.path().join("var/lib/cloud/out")).unwrap();
        symlink("/etc", directory.path().join("var/lib/cloud/a/etc")).unwrap();
        scrubber.remove(&spot("/var/lib/cloud")).unwrap();
        assert!(!directory.path().join("var/lib/cloud").exists());
        assert!(directory.path().join("etc/kept").exists() && outside.path().join("kept").exists());
        scrubber.remove(&spot("/var/lib/cloud")).unwrap();
    }

    #[test]
    fn replaces_a_file_and_keeps_its_mode() {
        let (directory, scrubber) = tree(&["/etc/fstab"]);
        let path = directory.path().join("etc/fstab");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        scrubber.replace(&spot("/etc/fstab"), b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        scrubber.empty(&spot("/etc/fstab")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        assert_eq!(fs::read_dir(directory.path().join("etc")).unwrap().count(), 1, "nothing staged is left");
    }

    #[test]
    fn does_not_write_through_a_link() {
        let (directory, scrubber) = tree(&["/etc/kept"]);
        symlink("kept", directory.path().join("etc/machine-id")).unwrap();
        scrubber.empty(&spot("/etc/machine-id")).unwrap();
        assert_eq!(fs::read(directory.path().join("etc/kept")).unwrap(), b"x");
    }
}
