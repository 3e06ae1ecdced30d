//! Determines which files of an image are unchanged since their publication, from the metadata of package managers.
//!
//! | packages of | listed in | compared by |
//! |---|---|---|
//! | dpkg | `md5sums`, and the configuration files of `status` and of ucf | MD5 |
//! | RPM | its database, which `rpm` reads | SHA-256 |
//! | apk | `lib/apk/db/installed` | SHA-1 |
//! | pip | `*.dist-info/RECORD` | SHA-256 |
//! | Maven | the `.sha1` next to an archive | SHA-1 |
//! | Go | the `.ziphash` of the module ([`go`]) | SHA-256 of all of its files |
//! | npm, Composer, RubyGems | lock files and specifications, which cover archives but not files ([`timed`]) | time |
//!
//! Only files in which something was found are compared: comparing all files would mean reading them all. A directory
//! that contains such a list is the root of the listed paths, so container layers, chroots and virtual environments are
//! handled like the image itself.

mod go;
mod lists;
mod timed;

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::file;
use crate::digest::Known;
use lists::Listed;

/// The evidence that a file is as it was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Digest,
    /// It has not been written since. This is weak evidence, because times can be set.
    Time,
}

/// What is known about the packages of an image, loaded on demand.
#[derive(Debug)]
pub(crate) struct Published {
    root: PathBuf,
    listed: Mutex<HashMap<PathBuf, Arc<Listed>>>,
    modules: Mutex<HashMap<PathBuf, bool>>,
}

impl Published {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), listed: Mutex::default(), modules: Mutex::default() }
    }

    /// Whether the file at `path`, as named in the image, is as its package published it.
    pub(crate) fn holds(&self, path: &Path) -> Option<By> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let file = self.root.join(relative);
        let is = |known: Known| file::open(&file).and_then(|mut file| known.is_of(&mut file)).unwrap_or(false);
        for directory in relative.ancestors().skip(1) {
            let within = relative.strip_prefix(directory).unwrap_or(relative);
            if self.listed(directory).digests(within.as_os_str().as_bytes()).any(is) {
                return Some(By::Digest);
            }
        }
        if maven(&file).is_some_and(is) || self.is_of_a_module(relative) {
            return Some(By::Digest);
        }
        timed::is_as_unpacked(&self.root, relative).then_some(By::Time)
    }

    /// Whether the file at `path` was compiled by Python from a source next to it, and so contains what the source
    /// contains. Compares the length of the source, which the compiled file records; the recorded time differs in a
    /// copied tree.
    pub(crate) fn is_compiled(&self, path: &Path) -> bool {
        let is_of = |source: PathBuf| {
            let mut head = [0; 16];
            let file = self.root.join(path.strip_prefix("/").unwrap_or(path));
            let Ok(source) = fs::metadata(self.root.join(source.strip_prefix("/").unwrap_or(&source))) else { return false };
            // A compiled file that is validated by the digest of its source records no length.
            let by_length = |head: &[u8; 16]| {
                head[4] & 1 == 0 && head[12..].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)) == source.len()
            };
            file::open(&file).and_then(|mut file| file.read_exact(&mut head)).is_ok() && by_length(&head)
        };
        source_of(path).is_some_and(is_of)
    }

    fn listed(&self, directory: &Path) -> Arc<Listed> {
        let known = |all: &HashMap<PathBuf, Arc<Listed>>| all.get(directory).cloned();
        if let Some(listed) = known(&self.listed.lock().unwrap_or_else(PoisonError::into_inner)) {
            return listed;
        }
        let listed = Arc::new(Listed::read(&self.root.join(directory)));
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).insert(directory.to_owned(), Arc::clone(&listed));
        listed
    }

    fn is_of_a_module(&self, file: &Path) -> bool {
        let Some(module) = go::module(file) else { return false };
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        *modules.entry(module.directory.clone()).or_insert_with(|| go::is_as_published(&self.root, &module))
    }
}

/// The source that Python compiled a file from: `x.py` for `__pycache__/x.cpython-311.pyc`.
pub(crate) fn source_of(path: &Path) -> Option<PathBuf> {
    let directory = path.parent().filter(|directory| directory.ends_with("__pycache__"))?;
    let (name, _) = path.file_name()?.to_str()?.strip_suffix(".pyc")?.split_once('.')?;
    Some(directory.with_file_name(format!("{name}.py")))
}

/// The file types that Maven downloads.
const ARCHIVES: [&str; 6] = ["jar", "war", "ear", "aar", "pom", "zip"];

/// The digest from `x.jar.sha1`, which Maven stores in its repository together with a note on the origin of the file.
fn maven(file: &Path) -> Option<Known> {
    let is_archive = file.extension().is_some_and(|extension| ARCHIVES.iter().any(|known| extension == *known));
    if !is_archive || fs::symlink_metadata(file.with_file_name("_remote.repositories")).is_err() {
        return None;
    }
    let mut name = file.file_name()?.to_owned();
    name.push(".sha1");
    let text = file::list(&file.with_file_name(name));
    Known::of_hex(text.get(..40)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(files: &[(&str, &str)]) -> (tempfile::TempDir, Published) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let published = Published::new(root.path());
        (root, published)
    }

    /// The digests of "test".
    const MD5: &str = "098f6bcd4621d373cade4e832627b4f6";
    /// The digest of "made".
    const MD5_MADE: &str = "4ab8710d781ba5b13aaf561cafd896b7";
    const SHA1: &str = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3";

    #[test]
    fn dpkg_knows_files_and_configuration_in_any_root() {
        for root in ["", "var/lib/docker/overlay2/0a/diff/"] {
            let at = |path: &str| format!("{root}{path}");
            let (_root, published) = image(&[
                (&at("usr/lib/tool/a"), "test"),
                (&at("usr/lib/tool/edited"), "test2"),
                (&at("usr/lib/tool/other"), "test"),
                (&at("etc/tool.conf"), "test"),
                (&at("etc/changed.conf"), "test2"),
                (&at("etc/by-ucf.conf"), "test"),
                (&at("etc/made-here.conf"), "made"),
                (&at("opt/tool/key"), "test"),
                (&at("usr/local/key"), "test"),
                (
                    &at("var/lib/dpkg/info/tool.md5sums"),
                    &format!("{MD5}  lib/tool/a\n{MD5}  usr/lib/tool/edited\n{MD5}  opt/tool/key\n{MD5}  usr/local/key\n"),
                ),
                (
                    &at("var/lib/dpkg/status"),
                    &format!("Package: tool\nConffiles:\n /etc/tool.conf {MD5}\n /etc/changed.conf {MD5} obsolete\n /x newconffile\n"),
                ),
                (&at("var/lib/ucf/hashfile"), &format!("{MD5}  /etc/by-ucf.conf\n{MD5_MADE}  /etc/made-here.conf\n")),
            ]);
            let holds = |path: &Path| published.holds(path) == Some(By::Digest);
            for path in ["usr/lib/tool/a", "etc/tool.conf", "etc/by-ucf.conf"] {
                assert!(holds(&Path::new("/").join(at(path))), "{root}{path}");
            }
            for path in [
                "usr/lib/tool/edited",
                "usr/lib/tool/other",
                "etc/changed.conf",
                "etc/none",
                "etc/made-here.conf",
                "opt/tool/key",
                "usr/local/key",
            ] {
                assert!(!holds(&Path::new("/").join(at(path))), "{root}{path}");
            }
        }
    }

    #[test]
    fn pip_apk_and_maven_know_their_files() {
        let (_root, published) = image(&[
            ("opt/venv/lib/python3/site-packages/shop/a.py", "test"),
            ("opt/venv/lib/python3/site-packages/shop/b.py", "test2"),
            (
                "opt/venv/lib/python3/site-packages/shop-1.dist-info/RECORD",
                "shop/a.py,sha256=n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg,4\nshop/b.py,sha256=n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg,4\n",
            ),
            ("srv/alpine/usr/bin/a", "test"),
            ("srv/alpine/lib/apk/db/installed", "P:a\nF:usr\nF:usr/bin\nR:a\nZ:Q1qUqP5cyxm6YcTAhz05Hph5gvu9M=\n"),
            ("root/.m2/repository/x/1/x-1.jar", "test"),
            ("root/.m2/repository/x/1/_remote.repositories", ""),
            ("root/.m2/repository/x/1/x-1.key", "test"),
            ("root/.m2/repository/x/1/x-1.key.sha1", SHA1),
            ("srv/x/y.jar", "test"),
            ("srv/x/y.jar.sha1", SHA1),
            ("opt/own/lib/shop/a.py", "test"),
            ("opt/own/lib/shop-1.dist-info/direct_url.json", "{}"),
            ("opt/own/lib/shop-1.dist-info/RECORD", "shop/a.py,sha256=n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg,4\n"),
            ("root/.m2/repository/x/1/x-1.jar.sha1", SHA1),
        ]);
        let holds = |path: &Path| published.holds(path) == Some(By::Digest);
        let site = "/opt/venv/lib/python3/site-packages/shop";
        assert!(holds(&Path::new(site).join("a.py")));
        assert!(!holds(&Path::new(site).join("b.py")), "edited");
        assert!(holds(Path::new("/srv/alpine/usr/bin/a")));
        assert!(holds(Path::new("/root/.m2/repository/x/1/x-1.jar")));
        for own in ["/root/.m2/repository/x/1/x-1.jar.sha1", "/root/.m2/repository/x/1/x-1.key", "/srv/x/y.jar", "/opt/own/lib/shop/a.py"] {
            assert!(!holds(Path::new(own)), "{own}");
        }
    }

    #[test]
    fn knows_what_python_compiled_a_file_from() {
        let source = |path: &str| source_of(Path::new(path));
        assert_eq!(source("/usr/lib/x/__pycache__/a.cpython-311.pyc"), Some("/usr/lib/x/a.py".into()));
        assert_eq!(source("/usr/lib/x/a.pyc"), None, "it may be all there is");
        let compiled = "0123\0\0\0\0mtim\x04\0\0\0code";
        let at = |name: &str| format!("opt/x/__pycache__/{name}.cpython-311.pyc");
        let (_root, published) =
            image(&[("opt/x/a.py", "test"), ("opt/x/b.py", "edited"), (&at("a"), compiled), (&at("b"), compiled), (&at("c"), compiled)]);
        let is = |name: &str| published.is_compiled(&Path::new("/").join(at(name)));
        assert!(is("a") && !is("b") && !is("c"));
        let by_digest = "0123\x01\0\0\0digest\0\0code";
        let (_root, published) = image(&[("opt/x/a.py", "test"), (&at("a"), by_digest)]);
        assert!(!published.is_compiled(&Path::new("/").join(at("a"))), "nobody has compared it");
    }
}
