//! Which files are read, and how closely.
//!
//! - A file in the system's directories that a package brought, and that has not been written since, is not read: what is
//!   in it was published with the package. Whether it was written is told by its time of change, which a package sets to
//!   that of its making; comparing checksums would be to read it all.
//! - What Python compiled from such a file holds nothing that the file does not hold: it is not read either.
//! - ingot itself is not read: the rules are in it, and find themselves. Which binary it is is asked elsewhere.
//! - Anything else is read, configuration files of packages included.
//! - Where no package manager can say what it brought, the system's directories are read, and rules that guess are not
//!   heard there.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::image::contents::SYSTEM;

/// What programs keep of their own, full of words and hashes, and nobody's configuration.
const RECORDS: [&str; 5] = ["/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/rpm/", "/var/cache/", "/etc/ssl/certs/"];

/// Whether a file that was last changed at `modified` is what a package brought at `installed`.
pub(super) fn is_as_a_package_brought_it(modified: i64, installed: Option<i64>) -> bool {
    installed.is_some_and(|installed| modified <= installed)
}

/// What Python compiled a file from: `x.py` for `__pycache__/x.cpython-311.pyc`.
pub(super) fn source_of(path: &Path) -> Option<PathBuf> {
    let directory = path.parent().filter(|directory| directory.ends_with("__pycache__"))?;
    let (name, _) = path.file_name()?.to_str()?.strip_suffix(".pyc")?.split_once('.')?;
    Some(directory.with_file_name(format!("{name}.py")))
}

/// Whether rules that guess are heard in a file.
pub(super) fn is_for_guesses(path: &Path, packages_are_known: bool) -> bool {
    let path = path.as_os_str().as_bytes();
    let below = |directory: &str| path.starts_with(directory.as_bytes());
    let of_the_system = SYSTEM.iter().any(|directory| below(directory)) && !below("/usr/local/");
    !RECORDS.iter().any(|directory| below(directory)) && (packages_are_known || !of_the_system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_alone_what_a_package_brought_until_somebody_writes_to_it() {
        assert!(is_as_a_package_brought_it(100, Some(200)));
        assert!(!is_as_a_package_brought_it(300, Some(200)));
        assert!(!is_as_a_package_brought_it(100, None));
    }

    #[test]
    fn knows_what_python_compiled_a_file_from() {
        let source = |path: &str| source_of(Path::new(path));
        assert_eq!(source("/usr/lib/x/__pycache__/a.cpython-311.pyc"), Some("/usr/lib/x/a.py".into()));
        assert_eq!(source("/usr/lib/x/a.pyc"), None, "it may be all there is");
    }

    #[test]
    fn guesses_only_where_people_put_things() {
        let guesses = |path: &str, known| is_for_guesses(Path::new(path), known);
        assert!(guesses("/etc/app/app.toml", false));
        assert!(guesses("/usr/local/bin/deploy", false));
        assert!(guesses("/usr/lib/app/config.py", true));
        assert!(!guesses("/usr/lib/app/config.py", false));
        assert!(!guesses("/var/lib/dpkg/status", true));
    }
}
