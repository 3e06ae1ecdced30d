//! Which parts of an archive's entry are accepted: its name, its mode, the target of a link. Pure.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The maximum nesting depth: removing a tree takes one file descriptor for each level.
const DEPTH: usize = 200;

/// The longest path of Linux in bytes, including the terminating NUL.
const PATH: usize = 4096;

/// The longest file name of Linux, in bytes.
const NAME: usize = 255;

/// The maximum permissions of files and directories: writable by the owner, readable by all. Never setuid, setgid or
/// sticky.
const MODE: u32 = 0o755;

/// Bits that the archive's author may rely on.
const SPECIAL: u32 = 0o6000;

/// The destination of an entry, below the directory being created; `None` for that directory itself and for stripped
/// parts.
///
/// # Errors
///
/// What is wrong with the name.
pub(super) fn place(name: &[u8], strip: usize) -> Result<Option<PathBuf>, &'static str> {
    if name.starts_with(b"/") {
        return Err("which is an absolute path");
    }
    if name.contains(&0) {
        return Err("which has a NUL in its name");
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&b"..".as_slice()) {
        return Err("which leads out of its directory by `..`");
    }
    if parts.len() > DEPTH {
        return Err("which is nested too deep");
    }
    if name.len() >= PATH || parts.iter().any(|part| part.len() > NAME) {
        return Err("whose name is longer than Linux allows");
    }
    let path: PathBuf = parts.into_iter().skip(strip).map(OsStr::from_bytes).collect();
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

/// Whether Linux accepts this as the target of a symbolic link.
pub(super) fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && !target.contains(&0) && target.len() < PATH
}

/// Checks that a symbolic link at `at` stays inside.
///
/// It may contain `..` only at its beginning: there the path goes through real directories. Further on, it could go
/// through another link, and the parent of that link's target may be outside.
///
/// # Errors
///
/// Which property of the link may lead outside.
pub(super) fn stays_inside(at: &Path, target: &[u8]) -> Result<(), &'static str> {
    if target.starts_with(b"/") {
        return Err("a link to an absolute path");
    }
    let parts = || target.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let up = parts().take_while(|part| *part == b"..").count();
    let depth = at.components().count() - 1;
    if up > depth {
        return Err("a link that leads out of the bundle");
    }
    if parts().skip(up).any(|part| part == b"..") {
        return Err("a link with `..` after a name, which may lead out of the bundle through another link");
    }
    Ok(())
}

/// The permissions of a file, and whether bits were removed that its author may rely on.
pub(super) fn mode(archived: u32) -> (u32, bool) {
    (archived & MODE, archived & SPECIAL != 0)
}

/// The permissions of files and directories for which an archive states none.
pub(super) const DEFAULT_MODES: (u32, u32) = (0o644, 0o755);

/// The permissions of a directory. Its owner always gets full access, since it would be useless otherwise.
pub(super) fn directory_mode(archived: u32) -> u32 {
    archived & MODE | 0o700
}

/// A name for messages.
pub(super) fn shown(name: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text: String = String::from_utf8_lossy(name).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let at = |name: &str, strip| place(name.as_bytes(), strip).unwrap().map(|path| path.display().to_string());
        assert_eq!(at("./a//b/./c", 0).as_deref(), Some("a/b/c"));
        assert_eq!(at("shop-1/bin/shop", 1).as_deref(), Some("bin/shop"));
        assert_eq!((at("./", 0), at("shop-1/", 1), at("shop-1", 2)), (None, None, None));
        assert_eq!(at("a..b/..c", 0).as_deref(), Some("a..b/..c"));
        for name in ["../x", "a/../../x", "a/..", "/etc/passwd", "//x", "a\0b"] {
            assert!(place(name.as_bytes(), 0).is_err(), "{name}");
        }
        // Stripped components are checked as well.
        assert!(place(b"../x/y", 2).is_err());
        assert!(place(&[b'a'; 256], 0).is_err() && place(&b"a/".repeat(201), 0).is_err() && place(&b"ab/".repeat(1400), 0).is_err());
        assert!(place(b"\xff\xfe", 0).unwrap().is_some());
    }

    #[test]
    fn links_stay_inside() {
        let leads = |at: &str, to: &str| is_target(to.as_bytes()) && stays_inside(Path::new(at), to.as_bytes()).is_ok();
        for (at, to) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "b/c"), ("a/b", "./../c"), ("a/b", "..")] {
            assert!(leads(at, to), "{at} -> {to}");
        }
        for (at, to) in [("a", "/etc"), ("a", "../b"), ("a/b", "../../c"), ("a", "b/../../c"), ("a/b", "c/../d"), ("a", ""), ("a", "x\0")] {
            assert!(!leads(at, to), "{at} -> {to}");
        }
    }

    #[test]
    fn no_bit_comes_through_that_gives_anybody_rights() {
        assert_eq!(mode(0o4755), (0o755, true));
        assert_eq!(mode(0o2666), (0o644, true));
        assert_eq!(mode(0o1777), (0o755, false));
        assert_eq!(mode(0o600), (0o600, false));
        assert_eq!((directory_mode(0o2777), directory_mode(0o050)), (0o755, 0o750));
    }
}
