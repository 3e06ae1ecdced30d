//! Which files of a directory go into a release, always in the same order.
//!
//! `.git` and `.elasticbeanstalk` are always left out, and so is what `.ebignore` names, or, if there is none, what
//! `.gitignore` files in the directory and below it name. Files above the directory are not read: a directory that a
//! build creates, and that the repository ignores as a whole, is packed as a whole.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use ignore::WalkBuilder;
use ignore::gitignore::Gitignore;

use crate::exit::Exit;
use crate::failure::Failure;

/// Names the files to leave out, in the syntax of `.gitignore`, and replaces `.gitignore` files.
const EB_IGNORE: &str = ".ebignore";

/// What is never part of a release: directories of tools.
const NEVER: [&str; 2] = [".git", ".elasticbeanstalk"];

/// One entry, by its path in the directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    Directory { mode: u32 },
    File { mode: u32, bytes: u64 },
    Link { to: PathBuf },
}

/// Everything that goes into the release, sorted by path.
pub(super) fn entries(directory: &Path) -> Result<Vec<Entry>, Failure> {
    let at = directory.join(EB_IGNORE);
    let eb = at.is_file().then(|| Gitignore::new(&at));
    if let Some((_, Some(error))) = &eb {
        return Err(Failure::new(Exit::Failed, format!("{} is not valid", at.display())).because(error).hint("correct the pattern"));
    }
    let has_eb = eb.is_some();
    let mut walk = WalkBuilder::new(directory);
    walk.standard_filters(false).git_ignore(!has_eb).require_git(false).parents(false).follow_links(false);
    walk.sort_by_file_name(|a, b| a.as_bytes().cmp(b.as_bytes()));
    walk.filter_entry(move |entry| {
        let is_directory = entry.file_type().is_some_and(|what| what.is_dir());
        let is_left_out = || eb.as_ref().is_some_and(|(eb, _)| eb.matched(entry.path(), is_directory).is_ignore());
        entry.depth() == 0 || !NEVER.iter().any(|never| entry.file_name() == *never) && !is_left_out()
    });
    let mut entries = Vec::new();
    for found in walk.build() {
        let found = found.map_err(|error| Failure::new(Exit::Failed, format!("cannot read {}", directory.display())).because(&error))?;
        if let Some(error) = found.error() {
            return Err(Failure::new(Exit::Failed, format!("a .gitignore below {} is not valid", directory.display())).because(error));
        }
        let Ok(path) = found.path().strip_prefix(directory) else { continue };
        if !path.as_os_str().is_empty() {
            let what = what(found.path(), path)?;
            entries.push(Entry { path: path.to_owned(), what });
        }
    }
    Ok(entries)
}

fn what(at: &Path, path: &Path) -> Result<What, Failure> {
    let unread = |error: io::Error| Failure::new(Exit::Failed, format!("cannot read {}", at.display())).because(&error);
    let found = fs::symlink_metadata(at).map_err(unread)?;
    let (kind, mode) = (found.file_type(), found.mode() & 0o777);
    if kind.is_symlink() {
        let to = fs::read_link(at).map_err(unread)?;
        return match leaves(path, &to) {
            None => Ok(What::Link { to }),
            Some(why) => Err(Failure::new(Exit::Failed, format!("{} is {why}: {}", at.display(), to.display()))
                .hint("replace the link with its target, or name it in .ebignore and create it with `links:` of the bundle")),
        };
    }
    match (kind.is_dir(), kind.is_file()) {
        (true, _) => Ok(What::Directory { mode }),
        (_, true) => Ok(What::File { mode, bytes: found.len() }),
        _ => {
            let name = if kind.is_socket() {
                "a socket"
            } else if kind.is_fifo() {
                "a pipe"
            } else {
                "a device"
            };
            Err(Failure::new(Exit::Failed, format!("{} is {name}, which a release cannot hold", at.display()))
                .hint("remove it, or name it in .ebignore"))
        }
    }
}

/// Why a link is refused, by the rule of the instances: `..` may only be at its beginning, and may not lead out of the
/// release.
fn leaves(path: &Path, to: &Path) -> Option<&'static str> {
    if to.is_absolute() {
        return Some("a link to an absolute path");
    }
    let parts = || to.components().filter(|part| *part != Component::CurDir);
    let up = parts().take_while(|part| *part == Component::ParentDir).count();
    if up >= path.components().count() {
        return Some("a link that leads out of the release");
    }
    let is_odd = parts().skip(up).any(|part| part == Component::ParentDir);
    is_odd.then_some("a link with `..` after a name, which may lead out of the release through another link")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let at = directory.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, content).unwrap();
        }
        directory
    }

    fn names(directory: &Path) -> Vec<String> {
        let found = entries(directory).unwrap();
        found.iter().filter(|entry| !matches!(entry.what, What::Directory { .. })).map(|entry| entry.path.display().to_string()).collect()
    }

    #[test]
    fn leaves_out_what_git_ignores() {
        let files = [
            (".git/HEAD", ""),
            (".gitignore", "*.log\n/tmp/\n"),
            ("a.log", ""),
            ("b/.gitignore", "!keep.log\n"),
            ("b/keep.log", ""),
            ("b/x/.git", ""),
            ("tmp/x", ""),
            ("c/tmp/x", ""),
        ];
        assert_eq!(names(tree(&files).path()), [".gitignore", "b/.gitignore", "b/keep.log", "c/tmp/x"]);
    }

    #[test]
    fn ebignore_replaces_gitignore() {
        let files = [
            (".gitignore", "dist/\n"),
            (".ebignore", "src\n*.map\n!keep.map\n"),
            ("dist/app.js", ""),
            ("dist/app.map", ""),
            ("keep.map", ""),
            ("src/a.ts", ""),
        ];
        assert_eq!(names(tree(&files).path()), [".ebignore", ".gitignore", "dist/app.js", "keep.map"]);
    }

    #[test]
    fn ignore_files_above_the_directory_are_not_read() {
        let above = tree(&[(".git/HEAD", ""), (".gitignore", "dist/\n*.js\n"), (".ebignore", "*"), ("dist/app.js", "")]);
        assert_eq!(names(&above.path().join("dist")), ["app.js"]);
    }

    #[test]
    fn links_stay_inside() {
        let leads = |at: &str, to: &str| leaves(Path::new(at), Path::new(to)).is_none();
        for (at, to) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a/b", "./../c"), ("a/b", "..")] {
            assert!(leads(at, to), "{at} -> {to}");
        }
        for (at, to) in [("a", "/etc"), ("a", "../b"), ("a/b", "../../c"), ("a", "b/../../c"), ("a/b", "c/../d")] {
            assert!(!leads(at, to), "{at} -> {to}");
        }
    }

    #[test]
    fn refuses_what_a_release_cannot_contain() {
        let directory = tree(&[("a", "")]);
        symlink("../../etc/passwd", directory.path().join("link")).unwrap();
        assert!(
            entries(directory.path()).unwrap_err().to_string().contains("link is a link that leads out of the release: ../../etc/passwd")
        );
        fs::remove_file(directory.path().join("link")).unwrap();
        let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
        assert!(entries(directory.path()).unwrap_err().to_string().contains("socket is a socket"));
    }
}
