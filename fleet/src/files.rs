//! The files of an application: fleet.yaml, and what it names.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use glob::glob;

/// Reads a file of at most `limit` bytes.
///
/// # Errors
///
/// Why it cannot be read, as a fragment.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut content));
    match read {
        Ok(_) if content.len() as u64 > limit => Err(format!("it has more than {} MiB", limit >> 20)),
        Ok(_) => Ok(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("there is no such file".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Replaces an existing file, as a whole or not at all. Keeps its mode, and a symlink to it.
///
/// # Errors
///
/// Why it cannot be written, as a fragment.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), String> {
    let write = || {
        let path = fs::canonicalize(path)?;
        let mode = fs::metadata(&path)?.permissions();
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let mut file = File::create(&beside)?;
        let written = file.set_permissions(mode).and_then(|()| file.write_all(content)).and_then(|()| file.sync_all());
        let moved = written.and_then(|()| fs::rename(&beside, &path));
        if moved.is_err() {
            // The first error is the one that counts.
            let _ = fs::remove_file(&beside);
        }
        moved
    };
    write().map_err(|error| error.to_string())
}

/// The files below `directory` that match a pattern, sorted by name.
///
/// # Errors
///
/// What is wrong with the pattern.
pub(crate) fn matching(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let directory = glob::Pattern::escape(&directory.display().to_string());
    let pattern = Path::new(&directory).join(pattern);
    let paths = glob(&pattern.display().to_string()).map_err(|error| error.msg.to_owned())?;
    let mut found: Vec<PathBuf> = paths.filter_map(Result::ok).filter(|path| path.is_file()).collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_behind_its_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("fleet.yaml"), directory.path().join("link"));
        fs::write(&file, "former").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("fleet.yaml", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left beside it");
    }
}
