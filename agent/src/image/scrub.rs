//! An image from which `ingot seal` removes files: every path below one directory, without a way out.
//!
//! The image is `/` of a machine on which images are built, or another tree passed as `--root`. Paths are resolved by
//! openat2(2) (Linux 5.6) within the image and the filesystems that belong to it: the one that contains its root, and
//! those mounted by its /etc/fstab. Everything else mounted there (a tmpfs, a share, a bind mount of the building
//! machine) is not copied into the image, and is left alone.
//!
//! [`seal`](crate::seal) decides what is removed, and why. Removing is in [`remove`].

mod discard;
mod remove;
mod spot;
mod swap;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::stat::{Mode, fstat};

use crate::host::tree::{described, failed, through};
use crate::host::{FileKind, HostError};
use crate::sorting::Sort as _;

pub(crate) use self::spot::{Found, Spot};

/// The image.
#[derive(Debug)]
pub(crate) struct Scrubber {
    root: PathBuf,
    opened: OwnedFd,
    /// The mount points of disk filesystems in its /etc/fstab, deeper ones first.
    mounts: Vec<PathBuf>,
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

impl Scrubber {
    /// # Errors
    ///
    /// If there is no such directory, or its /etc/fstab cannot be read.
    pub(crate) fn open(root: &Path) -> Result<Self, HostError> {
        let opened = open(root, DIRECTORY, Mode::empty()).map_err(|errno| failed("open", root, errno.into()))?;
        let mut scrubber = Self { root: root.to_owned(), opened, mounts: Vec::new() };
        let fstab = scrubber.read(&Spot::of(Path::new("/etc/fstab")), 1 << 20)?.unwrap_or_default();
        scrubber.mounts = mounted_from_disks(&String::from_utf8_lossy(&fstab));
        Ok(scrubber)
    }

    /// Describes what is at a path. `None` if it does not exist or is on a filesystem that is not part of the image.
    pub(crate) fn find(&self, spot: &Spot) -> Result<Option<Found>, HostError> {
        let opened = self.open_spot(spot, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC);
        let described = opened.and_then(|fd| Ok(described(&fstat(&fd)?)));
        let stat = there(described).map_err(|error| failed("inspect", &spot.path(), error))?;
        Ok(stat.map(|stat| Found { kind: stat.kind, size: stat.size }))
    }

    /// The names in a directory, sorted, without those that are not part of the image. Empty if the directory does not
    /// exist.
    pub(crate) fn list(&self, spot: &Spot) -> Result<Vec<PathBuf>, HostError> {
        let failed = |error| failed("list", &spot.path(), error);
        let Some(directory) = there(self.open_spot(spot, DIRECTORY | OFlag::O_NOFOLLOW)).map_err(failed)? else {
            return Ok(Vec::new());
        };
        names(&directory).map_err(failed)
    }

    /// Reads a regular file. `None` if it does not exist.
    pub(crate) fn read(&self, spot: &Spot, limit: u64) -> Result<Option<Vec<u8>>, HostError> {
        let failed = |error| failed("read", &spot.path(), error);
        if self.find(spot)?.is_none_or(|found| found.kind != FileKind::File) {
            return Ok(None);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let Some(fd) = there(self.open_spot(spot, flags)).map_err(failed)? else { return Ok(None) };
        let mut content = Vec::new();
        File::from(fd).take(limit + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 > limit { Err(HostError::TooLarge { path: spot.path(), limit }) } else { Ok(Some(content)) }
    }

    /// The first `length` bytes of a regular file; links are followed within the image. `None` if it does not exist.
    pub(crate) fn head(&self, spot: &Spot, length: usize) -> Result<Option<Vec<u8>>, HostError> {
        let failed = |error| failed("read", &spot.path(), error);
        let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC);
        let opened = openat2(&self.opened, &spot.path(), how.resolve(ResolveFlag::RESOLVE_IN_ROOT));
        let Some(fd) = there(opened.map_err(io::Error::from)).map_err(failed)? else { return Ok(None) };
        let file = File::from(fd);
        if !file.metadata().map_err(failed)?.is_file() {
            return Ok(None);
        }
        let mut content = Vec::new();
        file.take(length as u64).read_to_end(&mut content).map_err(failed)?;
        Ok(Some(content))
    }

    /// The permission bits of a path.
    pub(crate) fn mode(&self, spot: &Spot) -> Result<Option<u32>, HostError> {
        let opened = there(self.open_spot(spot, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC));
        let stat = opened.and_then(|fd| fd.map(|fd| Ok(described(&fstat(&fd)?))).transpose());
        Ok(stat.map_err(|error| failed("inspect", &spot.path(), error))?.map(|stat| stat.attributes.mode))
    }

    /// The target of a symbolic link. `None` if it is not a link.
    pub(crate) fn link(&self, spot: &Spot) -> Result<Option<PathBuf>, HostError> {
        let (parent, name) = match there(self.parent(spot)).map_err(|error| failed("inspect", &spot.path(), error))? {
            Some(parent) => parent,
            None => return Ok(None),
        };
        Ok(readlinkat(&parent, name.as_path()).ok().map(PathBuf::from))
    }

    /// Every path that matches `pattern`: an absolute path in which `*` and `?` match parts of one name. Links are
    /// followed in the components before the first wildcard.
    pub(crate) fn matching(&self, pattern: &str) -> Result<Vec<Spot>, HostError> {
        let is_plain = |part: &Component<'_>| !part.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte));
        let parts: Vec<Component<'_>> = Path::new(pattern).components().collect();
        let fixed = parts.iter().take_while(|part| is_plain(part)).count().min(parts.len() - 1);
        let base: PathBuf = parts[..fixed].iter().collect();
        self.below(&base, &parts[fixed..].iter().collect::<PathBuf>())
    }

    /// The same for a pattern relative to one directory.
    pub(crate) fn below(&self, base: &Path, pattern: &Path) -> Result<Vec<Spot>, HostError> {
        let mut spots = vec![Spot::below(base, "")];
        for part in pattern.components() {
            let text = part.as_os_str().to_string_lossy();
            if !text.contains(['*', '?', '[']) {
                spots = spots.iter().map(|spot| spot.join(part)).collect();
                continue;
            }
            let Ok(pattern) = glob::Pattern::new(&text) else { return Ok(Vec::new()) };
            let mut matching = Vec::new();
            for spot in spots {
                let names = self.list(&spot)?;
                matching.extend(names.iter().filter(|name| pattern.matches(&name.to_string_lossy())).map(|name| spot.join(name)));
            }
            spots = matching;
        }
        let mut found = Vec::new();
        for spot in spots {
            if self.find(&spot)?.is_some() {
                found.push(spot);
            }
        }
        Ok(found)
    }

    /// The home directories of all users: those in /etc/passwd, and the directories in /home.
    pub(crate) fn homes(&self) -> Result<Vec<PathBuf>, HostError> {
        let passwd = self.read(&Spot::of(Path::new("/etc/passwd")), 64 << 20)?.unwrap_or_default();
        let passwd = String::from_utf8_lossy(&passwd);
        let mut homes: Vec<PathBuf> = passwd.lines().filter_map(|line| line.split(':').nth(5)).map(PathBuf::from).collect();
        homes.retain(|home| home.is_absolute() && !home.components().any(|part| part == Component::ParentDir));
        homes.push("/root".into());
        for home in self.matching("/home/*")? {
            if self.find(&home)?.is_some_and(|found| found.kind == FileKind::Directory) {
                homes.push(home.path());
            }
        }
        homes.order();
        homes.dedup();
        Ok(homes)
    }

    fn open_spot(&self, spot: &Spot, flags: OFlag) -> io::Result<OwnedFd> {
        if spot.rest.as_os_str().is_empty() {
            return self.open_base(&spot.base);
        }
        self.open_below(&spot.base, &spot.rest, flags)
    }

    /// Opens `rest` below `base`, or below a filesystem of the image that is mounted on the path.
    fn open_below(&self, base: &Path, rest: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let crossed = match within(&self.open_base(base)?, rest, flags) {
            Err(error) if error.raw_os_error() == Some(Errno::EXDEV as i32) => error,
            opened => return opened,
        };
        let path = base.join(rest);
        match self.mounts.iter().find(|at| path.starts_with(at) && !base.starts_with(at)) {
            Some(at) if *at == path => self.open_base(at),
            Some(at) => within(&self.open_base(at)?, path.strip_prefix(at).unwrap_or(rest), flags),
            None => Err(crossed),
        }
    }

    /// The directory that contains `spot`, and the name in it.
    fn parent(&self, spot: &Spot) -> io::Result<(OwnedFd, PathBuf)> {
        let name = spot.rest.file_name().ok_or(Errno::EISDIR)?.into();
        Ok(match spot.rest.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => (self.open_below(&spot.base, parent, DIRECTORY)?, name),
            None => (self.open_base(&spot.base)?, name),
        })
    }

    fn open_base(&self, path: &Path) -> io::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT;
        let how = |flags: ResolveFlag| OpenHow::new().flags(DIRECTORY).resolve(flags);
        match openat2(&self.opened, path, how(resolve | ResolveFlag::RESOLVE_NO_XDEV)) {
            Err(Errno::EXDEV) => {}
            opened => return Ok(opened?),
        }
        let at = self.mounts.iter().find(|at| path.starts_with(at)).ok_or(Errno::EXDEV)?;
        let mount = openat2(&self.opened, at, how(resolve))?;
        match path.strip_prefix(at).ok().filter(|rest| !rest.as_os_str().is_empty()) {
            Some(rest) => within(&mount, rest, DIRECTORY),
            None => Ok(mount),
        }
    }
}

/// The executable of this process.
pub(crate) fn running_program() -> Result<Option<Vec<u8>>, HostError> {
    let path = Path::new("/proc/self/exe");
    fs::read(path).map(Some).map_err(|error| failed("read", path, error))
}

/// Opens a path below a directory, without following links or crossing into another filesystem.
fn within(directory: &OwnedFd, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
    // A final link is not followed but can still be opened.
    Ok(openat2(directory, path, OpenHow::new().flags(flags | OFlag::O_NOFOLLOW).resolve(resolve))?)
}

fn names(directory: &OwnedFd) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(through(directory))? {
        let name: PathBuf = entry?.file_name().into();
        // Opened by name, because a filesystem mounted over it is not part of the image.
        match within(directory, &name, OFlag::O_PATH | OFlag::O_CLOEXEC) {
            Ok(_) => names.push(name),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    names.order();
    Ok(names)
}

/// Whether a path does not exist, or is not part of the image.
fn is_absent(error: &io::Error) -> bool {
    let absent = [Errno::ENOENT, Errno::ENOTDIR, Errno::EXDEV, Errno::ELOOP];
    error.raw_os_error().is_some_and(|code| absent.contains(&Errno::from_raw(code)))
}

fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The mount points in an fstab(5) whose filesystems are on disks, deeper ones first.
fn mounted_from_disks(fstab: &str) -> Vec<PathBuf> {
    let of_a_disk = |source: &str| ["/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="].iter().any(|kind| source.starts_with(kind));
    let lines = fstab.lines().filter(|line| !line.trim_start().starts_with('#'));
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut mounts: Vec<PathBuf> = fields
        .filter(|fields| fields.len() >= 2 && of_a_disk(fields[0]) && fields[1].starts_with('/') && fields[1] != "/")
        .map(|fields| PathBuf::from(fields[1]))
        .collect();
    mounts.order_by_key(|at| std::cmp::Reverse(at.components().count()));
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A tree of files (`name`) and directories (`name/`).
    pub(super) fn tree(paths: &[&str]) -> (tempfile::TempDir, Scrubber) {
        let directory = tempfile::tempdir().unwrap();
        for path in paths {
            let at = directory.path().join(path.trim_start_matches('/'));
            match path.ends_with('/') {
                true => fs::create_dir_all(&at).unwrap(),
                false => {
                    fs::create_dir_all(at.parent().unwrap()).unwrap();
                    fs::write(&at, "x").unwrap();
                }
            }
        }
        let scrubber = Scrubber::open(directory.path()).unwrap();
        (directory, scrubber)
    }

    fn found(scrubber: &Scrubber, pattern: &str) -> Vec<String> {
        scrubber.matching(pattern).unwrap().iter().map(|spot| spot.path().display().to_string()).collect()
    }

    #[test]
    fn a_pattern_means_what_lies_there_hidden_files_too() {
        let (_directory, scrubber) = tree(&["/home/a/.x", "/home/b/.x", "/home/c/y", "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/other"]);
        assert_eq!(found(&scrubber, "/home/*/.x"), ["/home/a/.x", "/home/b/.x"]);
        assert_eq!(found(&scrubber, "/etc/ssh/ssh_host_*"), ["/etc/ssh/ssh_host_rsa_key"]);
        assert_eq!(found(&scrubber, "/home/a/*"), ["/home/a/.x"]);
        assert_eq!(found(&scrubber, "/no/such/*"), [""; 0]);
    }

    /// A link has the same target as in the running image, and is followed only in the fixed part of a pattern.
    #[test]
    fn links_stay_within_the_image() {
        let (directory, scrubber) = tree(&["/run/x", "/home/a/.ssh/known_hosts"]);
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x"), "x").unwrap();
        fs::create_dir_all(directory.path().join("var")).unwrap();
        symlink("/run", directory.path().join("var/run")).unwrap();
        symlink(outside.path(), directory.path().join("out")).unwrap();
        symlink("/home/a", directory.path().join("home/b")).unwrap();
        assert_eq!(found(&scrubber, "/var/run/x"), ["/var/run/x"]);
        assert_eq!(found(&scrubber, "/out/x"), [""; 0]);
        assert_eq!(found(&scrubber, "/home/*/.ssh/known_hosts"), ["/home/a/.ssh/known_hosts"]);
        assert_eq!(scrubber.link(&Spot::of(Path::new("/home/b"))).unwrap(), Some("/home/a".into()));
        assert!(scrubber.read(&Spot::of(Path::new("/home/b")), 10).unwrap().is_none());
    }

    #[test]
    fn knows_the_homes_of_users_without_those_that_are_links() {
        let (directory, scrubber) = tree(&["/home/a/", "/srv/app/"]);
        fs::create_dir_all(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:9:9::/srv/app:/bin/sh\nbad:x\n").unwrap();
        symlink("/srv", directory.path().join("home/link")).unwrap();
        assert_eq!(scrubber.homes().unwrap(), ["/home/a", "/root", "/srv/app"].map(PathBuf::from));
    }

    #[test]
    fn filesystems_of_the_image_are_those_of_its_fstab() {
        let fstab = "# /dev/x /commented ext4\nUUID=1 / ext4\nLABEL=UEFI /boot/efi vfat\nUUID=2 /boot ext4\ntmpfs /tmp tmpfs\n\
                     fs-1:/ /srv nfs4\n/swapfile none swap\n";
        assert_eq!(mounted_from_disks(fstab), ["/boot/efi", "/boot"].map(PathBuf::from));
    }
}
