//! File operations where openat2(2) and `/proc/self/fd` do not exist: by path.
//!
//! For `ingot check` and `ingot dry-run`, which a developer runs on files of their own: links that another user lays
//! between two calls are no concern. Below a root, nothing is read or written that a symbolic link moves out of the
//! root: such a path is an error, while Linux resolves it below the root.

#[path = "../tree/portable.rs"]
#[cfg_attr(target_os = "linux", allow(clippy::duplicate_mod, reason = "only the tests have both of its users"))]
mod portable;
#[cfg(test)]
#[path = "tree/tests.rs"]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::Mode;
use zeroize::Zeroizing;

use self::portable::content;
pub(super) use self::portable::{Growth, Tree};
pub(crate) use self::portable::{failed, found, outlives_the_boot};
use crate::host::attributes::{Attributes, FileKind, Stat};
use crate::host::error::HostError;
use crate::host::wanted::still_wanted;
use crate::sorting::Sort as _;

impl Tree {
    /// `path` without symbolic links, as far as it exists.
    pub(crate) fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
        let real = self.real(path)?;
        let Some(root) = self.real_root()? else { return Ok(real) };
        Ok(Path::new("/").join(real.strip_prefix(root).unwrap_or(Path::new(""))))
    }

    pub(crate) fn mount_point(&self, path: &Path) -> io::Result<PathBuf> {
        self.resolved(path)
    }

    pub(crate) fn open(&self, path: &Path, flags: OFlag, mode: u32) -> io::Result<OwnedFd> {
        let mode = Mode::from_bits_truncate(libc::mode_t::try_from(mode).unwrap_or_default());
        let opened = open(&self.real(path)?, flags, mode)?;
        still_wanted()?;
        Ok(opened)
    }

    pub(crate) fn read(&self, path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
        // Non-blocking: opening a FIFO must not wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened = found(self.open(path, flags, 0)).map_err(|source| failed("read", path, source))?;
        opened.map(|opened| content(File::from(opened), path, limit)).transpose()
    }

    pub(crate) fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(described(&fs::symlink_metadata(self.entry(path)?)?))
    }

    pub(crate) fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let Some(entries) = found(self.real(directory).and_then(fs::read_dir))? else { return Ok(Vec::new()) };
        let names: io::Result<Vec<String>> = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
        let mut names = names?;
        names.order();
        Ok(names)
    }

    pub(crate) fn create_directory(
        &self,
        path: &Path,
        mode: u32,
        owner: Option<(u32, u32)>,
        grown: &mut dyn FnMut(&Path, Growth),
    ) -> io::Result<()> {
        if let Some(root) = &self.root {
            fs::create_dir_all(root)?;
        }
        let mut parts: Vec<&Path> = path.ancestors().filter(|part| part.file_name().is_some()).collect();
        parts.reverse();
        for part in parts {
            let place = self.real(part)?;
            if place.is_dir() {
                continue;
            }
            let parent = part.parent().unwrap_or(Path::new("/"));
            grown(parent, Growth::Begins);
            let made = DirBuilder::new().mode(mode).create(&place);
            grown(parent, if made.is_ok() { Growth::Created } else { Growth::Failed });
            made?;
            if let Some((uid, gid)) = owner {
                chown(&place, Some(uid), Some(gid))?;
            }
            // Exactly, whatever the umask.
            fs::set_permissions(&place, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    pub(crate) fn stage(&self, staged: &Path, content: &[u8], attributes: Attributes) -> Result<(), HostError> {
        let failed = |source| failed("write", staged, source);
        let place = self.entry(staged).map_err(failed)?;
        found(fs::remove_file(&place)).and_then(|_| still_wanted()).map_err(failed)?;
        let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place).map_err(failed)?;
        still_wanted().and_then(|()| filled(new, content, attributes)).map_err(|error| {
            // The first error is the one to report.
            let _ = fs::remove_file(&place);
            failed(error)
        })
    }

    /// What a dry run writes need not survive a crash of the machine.
    pub(crate) fn sync(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn install(&self, staged: &Path, path: &Path) -> io::Result<()> {
        fs::rename(self.entry(staged)?, self.entry(path)?)
    }

    /// For locks alone, of which there are none here.
    pub(crate) fn exchange(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn set_attributes(&self, path: &Path, attributes: Attributes) -> io::Result<()> {
        let place = self.entry(path)?;
        let now = described(&fs::symlink_metadata(&place)?);
        if now.kind == FileKind::Symlink {
            return Err(Errno::ELOOP.into());
        }
        if (now.attributes.uid, now.attributes.gid) != (attributes.uid, attributes.gid) {
            chown(&place, Some(attributes.uid), Some(attributes.gid))?;
        }
        fs::set_permissions(&place, fs::Permissions::from_mode(attributes.mode))
    }

    pub(crate) fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.entry(path)?)
    }

    /// Where the entry of a directory really is; it may be a symbolic link itself.
    fn entry(&self, path: &Path) -> io::Result<PathBuf> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(self.real(parent)?.join(name)),
            _ => self.real(path),
        }
    }

    /// Where `path` really is: without symbolic links, as far as it exists.
    fn real(&self, path: &Path) -> io::Result<PathBuf> {
        let (place, root) = (self.located(path), self.real_root()?);
        for known in place.ancestors() {
            let Some(real) = found(fs::canonicalize(known))? else { continue };
            if root.as_ref().is_some_and(|root| !real.starts_with(root)) {
                return Err(io::Error::other(format!("a symbolic link on its way leads to {}", real.display())));
            }
            // Component by component, because joining an empty path would add a slash.
            let rest = place.strip_prefix(known).unwrap_or(Path::new(""));
            return Ok(real.components().chain(rest.components()).collect());
        }
        Ok(place)
    }

    fn real_root(&self) -> io::Result<Option<PathBuf>> {
        Ok(self.root.as_ref().map(fs::canonicalize).map(found).transpose()?.flatten())
    }
}

/// Sets owner and mode of a new, empty file before anyone else can open it, then writes it.
fn filled(mut file: File, content: &[u8], attributes: Attributes) -> io::Result<()> {
    let made = described(&file.metadata()?).attributes;
    if (made.uid, made.gid) != (attributes.uid, attributes.gid) {
        fchown(&file, Some(attributes.uid), Some(attributes.gid))?;
    }
    file.set_permissions(fs::Permissions::from_mode(attributes.mode))?;
    file.write_all(content)
}

fn described(metadata: &fs::Metadata) -> Stat {
    let kind = match metadata.file_type() {
        kind if kind.is_file() => FileKind::File,
        kind if kind.is_dir() => FileKind::Directory,
        kind if kind.is_symlink() => FileKind::Symlink,
        _ => FileKind::Other,
    };
    Stat {
        kind,
        attributes: Attributes { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() },
        size: metadata.len(),
        inode: metadata.ino(),
        changed_ns: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
    }
}

/// Attributes that prevent a change, which are asked for on Linux only.
pub(super) mod marks {
    use super::Tree;
    use crate::host::error::HostError;

    pub(in crate::host) fn explained(_tree: &Tree, error: HostError) -> HostError {
        error
    }
}
