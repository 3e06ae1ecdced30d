//! Packs a directory as tar.zst, with the same bytes whenever it has the same content.
//!
//! Entries are sorted and belong to user and group 0. Modes are what an instance keeps of them: at most 0755, so that a
//! umask of 002 makes the same release as one of 022. All times are the same. Each hard link is packed as a file of its
//! own.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek as _};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::tree::{self, Entry, What};
use crate::exit::Exit;
use crate::failure::Failure;

/// Level of zstd: it saves half of what the highest level saves, at ten times its speed. Its window is 4 MiB; instances
/// accept 16.
const LEVEL: i32 = 9;

/// The time of all files if no revision gives one: 1980, the oldest time that every archive format can hold.
pub(crate) const NO_TIME: u64 = 315_532_800;

/// What an instance keeps of a mode.
const MODE: u32 = 0o755;

/// Packs a directory into a file without a name, which disappears with this process. `time` is the date of all files,
/// in seconds since 1970.
pub(crate) fn pack(directory: &Path, time: u64, mut progress: impl FnMut(u64, u64)) -> Result<File, Failure> {
    let entries = tree::entries(directory)?;
    let files = || entries.iter().filter_map(|entry| if let What::File { bytes, .. } = entry.what { Some(bytes) } else { None });
    if files().next().is_none() {
        return Err(Failure::new(Exit::Failed, format!("{} has no files to release", directory.display()))
            .hint("check its .ebignore or .gitignore, or name another directory"));
    }
    let (total, mut done) = (files().sum(), 0);
    let file = tempfile::tempfile().map_err(|error| unwritten(&error))?;
    let mut builder = Builder::new(encoder(file).map_err(|error| unwritten(&error))?);
    for entry in &entries {
        done += append(&mut builder, directory, entry, time)?;
        progress(done, total);
    }
    let finish = |builder: Builder<Archive>| {
        let mut file = builder.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    };
    finish(builder).map_err(|error: io::Error| unwritten(&error))
}

/// What entries are written to.
type Archive = zstd::Encoder<'static, BufWriter<File>>;

fn encoder(file: File) -> io::Result<Archive> {
    let mut encoder = zstd::Encoder::new(BufWriter::new(file), LEVEL)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// Adds one entry. Returns its size in bytes.
fn append(builder: &mut Builder<Archive>, directory: &Path, entry: &Entry, time: u64) -> Result<u64, Failure> {
    let mut header = Header::new_gnu();
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match &entry.what {
        What::Directory { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(mode & MODE | 0o700);
            builder.append_data(&mut header, &entry.path, io::empty()).map_err(|error| unwritten(&error))?;
            Ok(0)
        }
        What::Link { to } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            builder.append_link(&mut header, &entry.path, to).map_err(|error| unwritten(&error))?;
            Ok(0)
        }
        What::File { mode, bytes } => {
            let at = directory.join(&entry.path);
            let unread = |error: io::Error| Failure::new(Exit::Failed, format!("cannot read {}", at.display())).because(&error);
            header.set_entry_type(EntryType::Regular);
            header.set_mode(mode & MODE);
            header.set_size(*bytes);
            let mut exact = Exact { file: File::open(&at).map_err(unread)?, left: *bytes, trouble: None };
            let appended = builder.append_data(&mut header, &entry.path, &mut exact);
            if let Some(trouble) = exact.ended() {
                return Err(unread(trouble).hint("make it readable, and release a directory that nothing writes to"));
            }
            appended.map_err(|error| unwritten(&error))?;
            Ok(*bytes)
        }
    }
}

fn unwritten(error: &io::Error) -> Failure {
    let at = std::env::temp_dir();
    Failure::new(Exit::Failed, format!("cannot write an archive to {}", at.display()))
        .because(error)
        .hint("set TMPDIR to a directory with enough space")
}

/// Reads exactly as much of a file as it had when its size was determined, because the header says so.
struct Exact {
    file: File,
    left: u64,
    trouble: Option<io::Error>,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        match self.file.read(&mut buffer[..room]) {
            Ok(0) => {
                self.trouble = Some(io::Error::other("it became shorter while it was read"));
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(length) => {
                self.left -= length as u64;
                Ok(length)
            }
            Err(error) => {
                let kind = error.kind();
                self.trouble = Some(error);
                Err(kind.into())
            }
        }
    }
}

impl Exact {
    /// What went wrong with the file, if anything; it may also have grown.
    fn ended(mut self) -> Option<io::Error> {
        if self.trouble.is_some() || self.left > 0 {
            // Without trouble with the file, the archive could not be written.
            return self.trouble;
        }
        match self.file.read(&mut [0]) {
            Ok(0) => None,
            Ok(_) => Some(io::Error::other("it became longer while it was read")),
            Err(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn bytes(directory: &Path) -> Vec<u8> {
        let mut content = Vec::new();
        pack(directory, NO_TIME, |_, _| {}).unwrap().read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn same_content_gives_the_same_bytes() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let long = "x".repeat(150);
        for (directory, names, mode) in [(&one, ["a", "b"], 0o644), (&other, ["b", "a"], 0o664)] {
            fs::create_dir(directory.path().join("d")).unwrap();
            for name in names.into_iter().chain([long.as_str()]) {
                let at = directory.path().join("d").join(name);
                fs::write(&at, "content").unwrap();
                fs::set_permissions(&at, Permissions::from_mode(mode)).unwrap();
            }
            fs::set_permissions(directory.path().join("d"), Permissions::from_mode(0o755 | mode & 0o020)).unwrap();
            fs::set_permissions(directory.path().join("d/b"), Permissions::from_mode(0o700)).unwrap();
            symlink("d/a", directory.path().join("link")).unwrap();
        }
        let packed = bytes(one.path());
        assert_eq!(packed, bytes(other.path()));
        fs::set_permissions(other.path().join("d/a"), Permissions::from_mode(0o755)).unwrap();
        assert_ne!(packed, bytes(other.path()), "the executable bit is part of the content");

        let unpacked = zstd::decode_all(&*packed).unwrap();
        let mut archive = tar::Archive::new(&*unpacked);
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (entry.path().unwrap().display().to_string(), header.mode().unwrap(), header.mtime().unwrap(), header.uid().unwrap())
            })
            .collect();
        let at = |path: &str, mode| (path.to_owned(), mode, NO_TIME, 0);
        assert_eq!(found, [at("d", 0o755), at("d/a", 0o644), at("d/b", 0o700), at(&format!("d/{long}"), 0o644), at("link", 0o777)]);
    }

    #[test]
    fn an_empty_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("empty")).unwrap();
        assert!(pack(directory.path(), 0, |_, _| {}).unwrap_err().to_string().contains("has no files to release"));
    }
}
