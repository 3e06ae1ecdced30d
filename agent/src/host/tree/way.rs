//! Resolves the path of something that is about to be changed, without symbolic links that another user may have
//! created.
//!
//! When root writes to `/srv/shop/config/x`, it must not write to `/etc/x` because the user `shop` has made `config` a
//! link to `/etc`. A link is followed if it belongs to root or to this process's own user, or if only these two can
//! write to its directory. Links of one other user are followed if their target belongs to that user as well, except to
//! mount points: a deploy user has a `current` next to its `releases`, and gains nothing from a link to its own files.
//! Below the target of such a link, paths are treated as in any directory of that user. The kernel's
//! `protected_symlinks` covers only directories with the sticky bit (proc_sys_fs(5)).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::host::error::ForeignLink;

/// Which links of other users are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    None,
    /// Links whose target belongs to the owner of the link.
    ToTheirOwn,
}

/// The number of links that the kernel follows: path_resolution(7).
const LINKS: u32 = 40;

/// Opens `path`, below `root` if there is one, for operations on it and below it. `kind` is `O_DIRECTORY` if it has to
/// be a directory: without that flag, autofs does not mount it.
///
/// # Errors
///
/// [`ForeignLink`] as the source of the error, besides the errors of open(2).
pub(super) fn open_way(root: Option<&Path>, path: &Path, kind: OFlag, foreign: Foreign) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = root.map(|root| open(root, flags | OFlag::O_DIRECTORY, Mode::empty())).transpose()?;
    let inside = if root.is_some() { ResolveFlag::RESOLVE_IN_ROOT } else { ResolveFlag::empty() };
    let how = OpenHow::new().flags(flags | kind).resolve(inside | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let straight = match &root {
        Some(root) => openat2(root, path, how),
        None => openat2(AT_FDCWD, path, how),
    };
    match straight {
        // The path contains a link, or the kernel lacks the call, or a sandbox forbids it.
        Err(Errno::ELOOP | Errno::ENOSYS | Errno::EPERM) => {}
        opened => return Ok(opened?),
    }
    let beginning = root.map_or_else(|| open("/", flags | OFlag::O_DIRECTORY, Mode::empty()), Ok)?;
    Way { beginning, below: Vec::new(), followed: Vec::new() }.walk(path, foreign)
}

/// The directories from the root to the current position, each with its name.
struct Way {
    beginning: OwnedFd,
    below: Vec<(OsString, OwnedFd)>,
    /// Links of another user that are being followed and whose targets have not been reached yet.
    followed: Vec<Followed>,
}

/// A link of another user.
struct Followed {
    link: PathBuf,
    owner: u32,
    /// How many components of the path remain when the link's target is reached.
    left: usize,
}

impl Way {
    fn here(&self) -> &OwnedFd {
        self.below.last().map_or(&self.beginning, |(_, directory)| directory)
    }

    fn walk(&mut self, path: &Path, foreign: Foreign) -> io::Result<OwnedFd> {
        let (mut left, mut links, mut owner) = (Vec::new(), 0, None);
        put_before(&mut left, path);
        while let Some(name) = left.pop() {
            if name == ".." {
                self.below.pop();
                self.end_links(left.len(), None)?;
                continue;
            }
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let found = openat(self.here(), name.as_os_str(), flags, Mode::empty())?;
            let stat = fstat(&found)?;
            match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFLNK => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    if !is_trusted(&fstat(self.here())?, &stat) {
                        let link = self.path_of(&name);
                        if foreign == Foreign::None || owner.is_some_and(|owner| owner != stat.st_uid) {
                            return Err(io::Error::other(ForeignLink { link, owner: stat.st_uid, leads_to: None }));
                        }
                        owner = Some(stat.st_uid);
                        self.followed.push(Followed { link, owner: stat.st_uid, left: left.len() });
                    }
                    let target = readlinkat(&found, "")?;
                    if target.as_bytes().starts_with(b"/") {
                        self.below.clear();
                    }
                    put_before(&mut left, Path::new(&target));
                }
                // Opened again, because only `O_DIRECTORY` makes autofs mount it.
                SFlag::S_IFDIR => {
                    let directory = openat(self.here(), name.as_os_str(), flags | OFlag::O_DIRECTORY, Mode::empty())?;
                    self.below.push((name, directory));
                }
                _ if left.is_empty() => {
                    self.end_links(0, Some((name.as_os_str(), stat.st_uid)))?;
                    return Ok(found);
                }
                _ => return Err(Errno::ENOTDIR.into()),
            }
            self.end_links(left.len(), None)?;
        }
        self.below.pop().map_or_else(|| self.beginning.try_clone(), |(_, directory)| Ok(directory))
    }

    /// Checks the followed links whose target is reached with this many components left: the current directory or, if
    /// `at` is given, the file with that name and owner.
    fn end_links(&mut self, left: usize, at: Option<(&OsStr, u32)>) -> io::Result<()> {
        while let Some(Followed { link, owner, .. }) = self.followed.pop_if(|followed| followed.left == left) {
            let (name, found) = match at {
                Some((name, owner)) => (name, owner),
                None => (OsStr::new(""), fstat(self.here())?.st_uid),
            };
            if found != owner {
                return Err(io::Error::other(ForeignLink { link, owner, leads_to: Some((self.path_of(name), found)) }));
            }
        }
        Ok(())
    }

    fn path_of(&self, name: &OsStr) -> PathBuf {
        let names = self.below.iter().map(|(name, _)| name.as_os_str()).chain([name]).filter(|name| !name.is_empty());
        Path::new("/").components().map(|root| root.as_os_str()).chain(names).collect()
    }
}

/// Pushes the components of `path` onto a stack, so that the first one is taken first.
fn put_before(left: &mut Vec<OsString>, path: &Path) {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    left.extend(parts.map(|part| part.as_os_str().to_owned()).rev().collect::<Vec<_>>());
}

/// Whether a link in `directory` was created by a user who may decide where root writes.
fn is_trusted(directory: &FileStat, link: &FileStat) -> bool {
    let ours = |stat: &FileStat| [0, nix::unistd::geteuid().as_raw()].contains(&stat.st_uid);
    let closed = directory.st_mode & 0o022 == 0;
    ours(link) || (ours(directory) && closed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use super::*;

    /// `/real/inner`, and links to it: one of root's, a user's link in a directory of root's, and a user's link in the
    /// user's directory.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let at = |path: &str| tree.path().join(path);
        fs::create_dir_all(at("real/inner")).unwrap();
        fs::create_dir_all(at("home")).unwrap();
        fs::create_dir_all(at("open")).unwrap();
        fs::write(at("real/file"), "").unwrap();
        symlink("/real", at("by-root")).unwrap();
        symlink("real", at("by-user")).unwrap();
        symlink("../real/../real", at("home/link")).unwrap();
        symlink("/real", at("open/link")).unwrap();
        symlink("/home/link", at("to-link")).unwrap();
        symlink("round", at("round")).unwrap();
        for path in ["by-user", "home/link", "home", "open/link"] {
            lchown(at(path), Some(1000), Some(1000)).unwrap();
        }
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o1777)).unwrap();
        tree
    }

    fn opened(root: &Path, path: &str) -> Result<PathBuf, String> {
        opened_with(root, path, Foreign::ToTheirOwn)
    }

    fn opened_with(root: &Path, path: &str, foreign: Foreign) -> Result<PathBuf, String> {
        let opened = open_way(Some(root), Path::new(path), OFlag::empty(), foreign).map_err(|error| error.to_string())?;
        let real = fs::read_link(super::super::through(&opened)).unwrap();
        Ok(Path::new("/").join(real.strip_prefix(fs::canonicalize(root).unwrap()).unwrap()))
    }

    #[test]
    fn a_link_is_followed_if_no_other_user_can_have_laid_it() {
        assert!(nix::unistd::geteuid().is_root(), "only root can make what belongs to another user");
        let tree = tree();
        for path in ["/real/inner", "/by-root/inner", "/by-user/inner", "/by-root/../real/inner", "/../../real/inner"] {
            assert_eq!(opened(tree.path(), path), Ok("/real/inner".into()), "{path}");
        }
        assert_eq!(opened(tree.path(), "/by-root/file"), Ok("/real/file".into()));
        let refused = "is a symbolic link of the user 1000, and leads to /real, which belongs to root";
        for (path, link) in [("/home/link/inner", "/home/link"), ("/to-link/inner", "/home/link"), ("/open/link", "/open/link")] {
            assert_eq!(opened(tree.path(), path), Err(format!("{link} {refused}")), "{path}");
        }
        for path in ["/home/link/inner", "/to-link/inner"] {
            assert!(opened_with(tree.path(), path, Foreign::None).unwrap_err().starts_with("/home/link is a symbolic link"), "{path}");
        }
        assert!(opened(tree.path(), "/round/x").unwrap_err().contains("symbolic links"));
        assert!(opened(tree.path(), "/by-root/file/x").unwrap_err().contains("directory"));
        assert!(opened(tree.path(), "/by-root/none").unwrap_err().contains("No such file"));
    }

    /// As Capistrano creates them: `current` next to `releases`, all owned by the deploying user.
    #[test]
    fn a_link_of_another_user_is_followed_to_what_that_user_owns() {
        assert!(nix::unistd::geteuid().is_root(), "only root can make what belongs to another user");
        let tree = tempfile::tempdir().unwrap();
        let at = |path: &str| tree.path().join(path);
        for directory in ["shop/releases/1/config", "shop/releases/1/root", "theirs"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        symlink("releases/1", at("shop/current")).unwrap();
        symlink("current/config", at("shop/config")).unwrap();
        symlink("/etc", at("shop/etc")).unwrap();
        symlink("../etc/file", at("shop/file")).unwrap();
        symlink("etc", at("shop/twice")).unwrap();
        symlink("releases/../..", at("shop/up")).unwrap();
        symlink("/theirs", at("shop/theirs")).unwrap();
        symlink("/shop/config", at("theirs/config")).unwrap();
        fs::create_dir_all(at("etc")).unwrap();
        fs::write(at("etc/file"), "").unwrap();
        for path in ["shop", "shop/releases", "shop/releases/1", "shop/releases/1/config"] {
            lchown(at(path), Some(1000), Some(1000)).unwrap();
        }
        for path in ["shop/current", "shop/config", "shop/etc", "shop/theirs", "shop/file", "shop/twice", "shop/up"] {
            lchown(at(path), Some(1000), Some(1000)).unwrap();
        }
        for path in ["theirs", "theirs/config"] {
            lchown(at(path), Some(1001), Some(1001)).unwrap();
        }

        for path in ["/shop/current/config", "/shop/config"] {
            assert_eq!(opened(tree.path(), path), Ok("/shop/releases/1/config".into()), "{path}");
            assert!(opened_with(tree.path(), path, Foreign::None).is_err(), "{path}");
        }
        // Treated as in `releases/1` itself: its owner controls that directory anyway, and has created no link in it.
        assert_eq!(opened(tree.path(), "/shop/current/root"), Ok("/shop/releases/1/root".into()));
        for (path, expected) in [
            ("/shop/etc", "/shop/etc is a symbolic link of the user 1000, and leads to /etc, which belongs to root"),
            ("/shop/etc/x", "/shop/etc is a symbolic link of the user 1000, and leads to /etc, which belongs to root"),
            ("/shop/up/shop", "/shop/up is a symbolic link of the user 1000, and leads to /, which belongs to root"),
            ("/shop/file", "/shop/file is a symbolic link of the user 1000, and leads to /etc/file, which belongs to root"),
            ("/shop/theirs", "/shop/theirs is a symbolic link of the user 1000, and leads to /theirs, which belongs to the user 1001"),
            ("/shop/twice/x", "/shop/etc is a symbolic link of the user 1000, and leads to /etc, which belongs to root"),
            ("/theirs/config", "/shop/config is a symbolic link of the user 1000, in a directory that others than root can write to"),
            ("/shop/current/none/../../../../etc", "No such file or directory (os error 2)"),
        ] {
            assert_eq!(opened(tree.path(), path).unwrap_err(), expected, "{path}");
        }
    }

    /// The second boot used to refuse what the first had created for root.
    #[test]
    fn what_is_made_behind_a_link_of_another_user_is_found_again() {
        assert!(nix::unistd::geteuid().is_root(), "only root can make what belongs to another user");
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        fs::create_dir_all(at("shop/releases/1")).unwrap();
        symlink("releases/1", at("shop/current")).unwrap();
        for path in ["shop", "shop/releases", "shop/releases/1", "shop/current"] {
            lchown(at(path), Some(1000), Some(1000)).unwrap();
        }
        let tree = super::super::Tree { root: Some(directory.path().to_owned()) };
        for _boot in 0..2 {
            tree.create_directory(Path::new("/shop/current/config/more"), 0o755, None, &mut |_, _| {}).unwrap();
            tree.parent_to_change(Path::new("/shop/current/config/more/app.env")).unwrap();
        }
        assert!(at("shop/releases/1/config/more").is_dir());
    }
}
