//! The files of an application: fleet.yaml, and what it names.

use std::fs::File;
use std::io::{self, Read as _};
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

/// The files below `directory` that a pattern names, in the order of their names.
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
