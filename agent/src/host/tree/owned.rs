//! Creates a directory that belongs to another user from the start: made under a temporary name next to its final
//! place, then renamed.
//!
//! The owner of an existing directory is never repaired, and the power may fail between mkdir(2) and chown(2).

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::libc;
use nix::sys::stat::{Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, unlinkat};

/// Creates `name` in `parent`. Removes first what a killed process has left under the temporary name.
///
/// # Errors
///
/// `EEXIST` if `name` exists; `EPERM` if another user has replaced the newly made directory by a different one.
pub(super) fn make(parent: &OwnedFd, name: &OsStr, mode: Mode, owner: (u32, u32)) -> Result<(), Errno> {
    let mut beside = OsString::from(".ingot-staged.");
    beside.push(name);
    let left = match unlinkat(parent, beside.as_os_str(), UnlinkatFlags::RemoveDir) {
        // A file may also have been staged under this name.
        Err(Errno::ENOTDIR) => unlinkat(parent, beside.as_os_str(), UnlinkatFlags::NoRemoveDir),
        other => other,
    };
    left.or_else(|error| if error == Errno::ENOENT { Ok(()) } else { Err(error) })?;
    mkdirat(parent, beside.as_os_str(), Mode::S_IRWXU)?;
    let made = hand_over(parent, &beside, mode, owner).and_then(|()| rename(parent, &beside, name));
    if made.is_err() {
        // The first error is the one to report.
        let _ = unlinkat(parent, beside.as_os_str(), UnlinkatFlags::RemoveDir);
    }
    made
}

/// Changes the owner of the new directory. A user who can write to `parent` may have replaced it in the meantime, for
/// instance by one of root's with content, which must not be handed over.
fn hand_over(parent: &OwnedFd, name: &OsStr, mode: Mode, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = openat(parent, name, flags, Mode::empty())?;
    let found = fstat(&made)?;
    let is_ours = found.st_uid == geteuid().as_raw() && found.st_mode & 0o7077 & !libc::S_ISGID == 0;
    let is_empty = || fs::read_dir(format!("/proc/self/fd/{}", made.as_raw_fd())).is_ok_and(|mut entries| entries.next().is_none());
    if !is_ours || !is_empty() {
        return Err(Errno::EPERM);
    }
    fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    fchmod(&made, mode)
}

/// Never replaces anything: a plain rename would replace another user's empty directory.
fn rename(parent: &OwnedFd, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    let no_nul = |_| Errno::EINVAL;
    let (one, other) = (CString::new(from.as_bytes()).map_err(no_nul)?, CString::new(to.as_bytes()).map_err(no_nul)?);
    let at = parent.as_raw_fd();
    // SAFETY: the descriptor is open and both names are NUL-terminated for the duration of the call. nix has no
    // `renameat2` for musl.
    let done = unsafe { libc::syscall(libc::SYS_renameat2, at, one.as_ptr(), at, other.as_ptr(), libc::RENAME_NOREPLACE) };
    match Errno::result(done) {
        // NFS (and so EFS), 9p, CephFS and some FUSE filesystems support no flags; old kernels lack the call.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => rename_plainly(parent, from, to),
        done => done.map(drop),
    }
}

/// The same for filesystems without that flag. rename(2) replaces an empty directory, hence the check: only a directory
/// that is created between check and rename, and is empty, gets replaced.
fn rename_plainly(parent: &OwnedFd, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    match fstatat(parent, to, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EEXIST),
        Err(Errno::ENOENT) => match renameat(parent, from, parent, to) {
            Err(Errno::ENOTDIR | Errno::ENOTEMPTY) => Err(Errno::EEXIST),
            done => done,
        },
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::Path;

    use super::super::Tree;
    use super::*;

    #[test]
    fn each_that_is_made_belongs_to_the_user_and_others_stay() {
        assert!(nix::unistd::geteuid().is_root(), "only root can make what belongs to another user");
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("home/.ingot-staged.shop")).unwrap();
        let tree = Tree { root: Some(root.path().to_owned()) };
        for _boot in 0..2 {
            tree.create_directory(Path::new("/home/shop/.config/app"), 0o750, Some((1000, 1001)), &mut |_, _| {}).unwrap();
        }
        let seen = |path: &str| fs::metadata(at(path)).map(|found| (found.uid(), found.gid(), found.mode() & 0o7777)).unwrap();
        assert_eq!(["home/shop", "home/shop/.config", "home/shop/.config/app"].map(seen), [(1000, 1001, 0o750); 3]);
        assert_eq!(seen("home").0, 0);
        assert!(!at("home/.ingot-staged.shop").exists());
        fs::write(at("home/file"), "").unwrap();
        tree.create_directory(Path::new("/home/file"), 0o750, Some((1000, 1001)), &mut |_, _| {}).unwrap_err();
        assert!(at("home/file").is_file() && !at("home/.ingot-staged.file").exists());
    }
    /// A file staged by an interrupted boot used to block the directory forever.
    #[test]
    fn what_is_staged_under_the_name_goes_also_if_it_is_a_file() {
        assert!(geteuid().is_root(), "only root can make what belongs to another user");
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".ingot-staged.shop"), "").unwrap();
        let tree = Tree { root: Some(root.path().to_owned()) };
        tree.create_directory(Path::new("/shop"), 0o750, Some((1000, 1001)), &mut |_, _| {}).unwrap();
        assert!(root.path().join("shop").is_dir() && !root.path().join(".ingot-staged.shop").exists());
    }

    /// On a network filesystem, `renameat2` with a flag fails as an invalid argument, and every directory was refused.
    #[test]
    fn without_flags_nothing_is_replaced_either() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for directory in ["empty", "full/a"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        fs::write(at("file"), "").unwrap();
        symlink("nowhere", at("link")).unwrap();
        let parent = OwnedFd::from(fs::File::open(root.path()).unwrap());
        for there in ["empty", "full", "file", "link"] {
            fs::create_dir(at("new")).unwrap();
            assert_eq!(rename_plainly(&parent, OsStr::new("new"), OsStr::new(there)), Err(Errno::EEXIST), "{there}");
            fs::remove_dir(at("new")).unwrap();
        }
        fs::create_dir(at("new")).unwrap();
        assert_eq!(rename_plainly(&parent, OsStr::new("new"), OsStr::new("made")), Ok(()));
        assert!(at("made").is_dir() && !at("new").exists());
    }

    /// The owner of the parent may rename one of root's directories to this place between two calls.
    #[test]
    fn nothing_but_what_was_made_is_handed_over() {
        assert!(geteuid().is_root(), "only root can make what belongs to another user");
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("full/secret")).unwrap();
        fs::create_dir_all(at("open")).unwrap();
        fs::create_dir_all(at("new")).unwrap();
        [("full", 0o700), ("open", 0o755), ("new", 0o700)]
            .iter()
            .for_each(|(path, mode)| fs::set_permissions(at(path), fs::Permissions::from_mode(*mode)).unwrap());
        let parent = OwnedFd::from(fs::File::open(root.path()).unwrap());
        let handed = |name: &str| hand_over(&parent, OsStr::new(name), Mode::from_bits_truncate(0o755), (1000, 1000));
        assert_eq!(["full", "open", "new"].map(handed), [Err(Errno::EPERM), Err(Errno::EPERM), Ok(())]);
        assert_eq!(["full", "open", "new"].map(|name| fs::metadata(at(name)).unwrap().uid()), [0, 0, 1000]);
    }
}
