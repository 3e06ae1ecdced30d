//! Finds which files of an image were installed by packages, according to dpkg or RPM.
//!
//! Only files in the system's own directories count: a package's files in `/etc`, `/opt` or `/srv` may have been
//! changed or made by the owner.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::file;

/// Directories that contain files of packages only.
pub(crate) const SYSTEM: [&str; 8] = ["/usr/", "/boot/", "/lib/", "/lib64/", "/lib32/", "/libx32/", "/bin/", "/sbin/"];

/// An exception within them.
const LOCAL: &str = "/usr/local/";

/// How long `rpm` may take to list all files.
const PATIENCE: Duration = Duration::from_secs(60);

/// The files installed by packages, and when. Paths are stored as hashes, because there are hundreds of thousands.
#[derive(Debug)]
pub(crate) struct Owned {
    hasher: RandomState,
    installed: HashMap<u64, i64>,
}

/// The files that packages installed in the image at `root`. `None` if that cannot be determined.
pub(crate) fn owned(root: &Path) -> Option<Owned> {
    let mut owned = Owned { hasher: RandomState::new(), installed: HashMap::new() };
    owned.add_dpkg(root);
    ask_rpm(root, r"[%{=INSTALLTIME} %{FILENAMES}\n]", |time, path| {
        if let Some(installed) = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok()) {
            owned.add(path, installed);
        }
    });
    (!owned.installed.is_empty()).then_some(owned)
}

impl Owned {
    /// When a package installed that file. `None` if none did.
    pub(crate) fn installed(&self, path: &Path) -> Option<i64> {
        self.installed.get(&self.key(path.as_os_str().as_bytes())).copied()
    }

    fn key(&self, path: &[u8]) -> u64 {
        self.hasher.hash_one(path)
    }

    fn add(&mut self, path: &[u8], installed: i64) {
        let of_the_system = SYSTEM.iter().any(|directory| path.starts_with(directory.as_bytes()));
        if !of_the_system || path.starts_with(LOCAL.as_bytes()) {
            return;
        }
        let key = self.key(path);
        self.installed.insert(key, installed);
        // A package may list /lib/x for a file at /usr/lib/x, if /lib is a link to /usr/lib.
        if !path.starts_with(b"/usr/") && !path.starts_with(b"/boot/") {
            let key = self.key(&[b"/usr", path].concat());
            self.installed.insert(key, installed);
        }
    }

    /// dpkg writes a package's file list when it has unpacked the package.
    fn add_dpkg(&mut self, root: &Path) {
        let Ok(entries) = fs::read_dir(root.join("var/lib/dpkg/info")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != "list") {
                continue;
            }
            if let (Ok(metadata), list) = (fs::symlink_metadata(&path), file::list(&path)) {
                list.split(|byte| *byte == b'\n').for_each(|path| self.add(path, metadata.mtime()));
            }
        }
    }
}

/// What `rpm` lists in `format` about the packages at `root`, if there are any: the first word of each line, and the
/// path after it.
pub(super) fn ask_rpm(root: &Path, format: &str, mut take: impl FnMut(&[u8], &[u8])) {
    if !["var/lib/rpm", "usr/lib/sysimage/rpm"].iter().any(|database| root.join(database).exists()) {
        return;
    }
    let mut rpm = Command::new("rpm");
    rpm.arg("--root").arg(root).args(["--query", "--all", "--queryformat", format]);
    let Ok(mut rpm) = rpm.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else { return };
    let Some(listed) = rpm.stdout.take() else { return };
    thread::scope(|scope| {
        let (done, is_done) = mpsc::channel::<()>();
        scope.spawn(move || {
            // It exits by itself, unless it waits for a lock that is never released.
            if is_done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = rpm.kill();
            }
            let _ = rpm.wait();
        });
        for line in BufReader::new(listed).split(b'\n').map_while(Result::ok) {
            if let Some(space) = line.iter().position(|byte| *byte == b' ') {
                take(&line[..space], &line[space + 1..]);
            }
        }
        drop(done);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(list: &str) -> (tempfile::TempDir, Owned) {
        let root = tempfile::tempdir().unwrap();
        let info = root.path().join("var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        fs::write(info.join("tool.list"), list).unwrap();
        let owned = owned(root.path()).unwrap();
        (root, owned)
    }

    #[test]
    fn dpkg_knows_what_it_brought_to_the_systems_directories() {
        let (_root, owned) = image("/.\n/usr/bin/tool\n/lib/tool.so\n/etc/tool.conf\n/opt/tool/main\n/usr/local/x\n");
        let is_owned = |path: &str| owned.installed(Path::new(path)).is_some();
        assert!(is_owned("/usr/bin/tool"));
        assert!(is_owned("/lib/tool.so"));
        assert!(is_owned("/usr/lib/tool.so"), "/lib is a link");
        for path in ["/etc/tool.conf", "/opt/tool/main", "/usr/local/x", "/usr/bin/other"] {
            assert!(!is_owned(path), "{path}");
        }
    }

    #[test]
    fn nobody_can_tell_without_a_package_manager() {
        assert!(owned(tempfile::tempdir().unwrap().path()).is_none());
    }
}
