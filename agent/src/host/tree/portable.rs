//! The parts of file operations that are the same on every system, with and without openat2(2).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use zeroize::Zeroizing;

use crate::host::error::HostError;

/// The files of this machine, or of the tree below `root`.
#[derive(Debug, Clone, Default)]
pub(in crate::host) struct Tree {
    pub(in crate::host) root: Option<PathBuf>,
}

impl Tree {
    /// The real location of `path`, for code that opens it by name.
    pub(crate) fn located(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(below(path)),
            None => path.to_owned(),
        }
    }
}

/// The progress of creating a directory in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Growth {
    Begins,
    Created,
    Failed,
}

/// The content of a file that was opened without waiting.
///
/// # Errors
///
/// If it is not a regular file, or is larger than `limit` bytes.
pub(in crate::host) fn content(file: File, path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, HostError> {
    let failed = |source| failed("read", path, source);
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(Errno::EISDIR.into()));
    }
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let too_large = || HostError::TooLarge { path: path.to_owned(), limit };
    if metadata.len() > limit {
        return Err(too_large());
    }
    // Allocated at full size, because growing would leave copies of a secret behind. Files in /proc report a size
    // of 0.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).max(4096) + 1));
    file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(content)
}

/// Whether a file at `path` should survive a crash of the machine. /run, which is in memory, does not.
pub(crate) fn outlives_the_boot(path: &Path) -> bool {
    !path.starts_with("/run")
}

pub(crate) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn failed(operation: &'static str, path: &Path, source: io::Error) -> HostError {
    HostError::Path { operation, path: path.to_owned(), source }
}

/// `path` without its leading slash and without `..`, for joining to a root.
fn below(path: &Path) -> PathBuf {
    let mut below = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::ParentDir => {
                below.pop();
            }
            _ => {}
        }
    }
    below
}
