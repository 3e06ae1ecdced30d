//! Lists of files with their digests, as dpkg, apk, RPM and pip keep them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::super::{file, packages};
use crate::digest::Known;

/// What the packages that are installed below one directory hold. Paths are kept as hashes: there are hundreds of thousands.
#[derive(Debug, Default)]
pub(super) struct Listed {
    hasher: RandomState,
    digests: HashMap<u64, Known>,
}

/// Where packages of the system have nothing, and those that someone made for a deployment have all.
const OF_THE_OWNER: [&str; 5] = ["opt/", "srv/", "home/", "root/", "usr/local/"];

impl Listed {
    /// All that is listed in `directory`: paths are below it.
    pub(super) fn read(directory: &Path) -> Self {
        let mut listed = Self::default();
        listed.add_dpkg(directory);
        listed.add_apk(directory);
        listed.add_rpm(directory);
        listed.add_pip(directory);
        listed
    }

    /// By which `path` may be known.
    pub(super) fn digests(&self, path: &[u8]) -> impl Iterator<Item = Known> {
        // A package may name lib/x what lies at usr/lib/x, where lib is a link to it.
        let names = [Some(path), path.strip_prefix(b"usr/")];
        names.into_iter().flatten().filter_map(|name| self.digests.get(&self.hasher.hash_one(name)).copied())
    }

    fn add(&mut self, path: &[u8], digest: Option<Known>) {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if let Some(digest) = digest {
            self.digests.insert(self.hasher.hash_one(path), digest);
        }
    }

    /// Of a package that may have been made on this machine, to bring what is its owner's.
    fn add_of_system(&mut self, path: &[u8], digest: Option<Known>) {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if !OF_THE_OWNER.iter().any(|directory| path.starts_with(directory.as_bytes())) {
            self.add(path, digest);
        }
    }

    fn add_dpkg(&mut self, directory: &Path) {
        let dpkg = directory.join("var/lib/dpkg");
        let mut shipped = HashSet::new();
        // As distroless images have it, too, in `status.d`.
        for path in ["info", "status.d"].iter().filter_map(|name| fs::read_dir(dpkg.join(name)).ok()).flatten().flatten() {
            let path = path.path();
            if path.extension().is_some_and(|extension| extension == "md5sums") {
                for (digest, path) in sums(&file::list(&path)) {
                    shipped.insert(digest);
                    self.add_of_system(path, Known::of_hex(digest.as_slice()));
                }
            }
        }
        // What a script of a package has put together here, no one has published.
        for (digest, path) in sums(&file::list(&directory.join("var/lib/ucf/hashfile"))) {
            if shipped.contains(&digest) {
                self.add_of_system(path, Known::of_hex(digest.as_slice()));
            }
        }
        let status = file::list(&dpkg.join("status"));
        // ` /etc/x.conf 0123… obsolete`, below `Conffiles:`.
        for line in lines(&status).filter_map(|line| line.strip_prefix(b" /")) {
            let mut words = line.split(|byte| *byte == b' ');
            if let (Some(path), Some(digest)) = (words.next(), words.next()) {
                self.add_of_system(path, Known::of_hex(digest));
            }
        }
    }

    /// `F:` is a directory, `R:` a file in it, and `Z:` the digest of that.
    fn add_apk(&mut self, directory: &Path) {
        let (mut folder, mut name) = (Vec::new(), Vec::new());
        for line in lines(&file::list(&directory.join("lib/apk/db/installed"))) {
            match line.split_at_checked(2) {
                Some((b"F:", path)) => folder = [path, b"/"].concat(),
                Some((b"R:", path)) => name = [&folder, path].concat(),
                Some((b"Z:", digest)) => {
                    let digest = digest.strip_prefix(b"Q1").and_then(|digest| STANDARD.decode(digest).ok());
                    self.add(&name, digest.and_then(|digest| Known::of_bytes(&digest)));
                }
                _ => {}
            }
        }
    }

    fn add_rpm(&mut self, directory: &Path) {
        packages::ask_rpm(directory, r"[%{FILEDIGESTS} %{FILENAMES}\n]", |digest, path| self.add_of_system(path, Known::of_hex(digest)));
    }

    /// `path,sha256=…,size` in each RECORD.
    fn add_pip(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "dist-info") {
                continue;
            }
            // Not of an index: pip has made the list of a directory of this machine, say.
            if fs::symlink_metadata(path.join("direct_url.json")).is_ok() {
                continue;
            }
            for line in lines(&file::list(&path.join("RECORD"))) {
                let mut fields = line.rsplitn(3, |byte| *byte == b',');
                let digest = fields.nth(1).and_then(|field| field.strip_prefix(b"sha256="));
                if let (Some(digest), Some(path)) = (digest, fields.next()) {
                    let digest = URL_SAFE_NO_PAD.decode(digest).ok();
                    self.add(path, digest.and_then(|digest| Known::of_bytes(&digest)));
                }
            }
        }
    }
}

/// `0123…  path`.
fn sums(content: &[u8]) -> impl Iterator<Item = ([u8; 32], &[u8])> {
    lines(content).filter_map(|line| line.split_first_chunk::<32>().map(|(digest, path)| (*digest, path.trim_ascii_start())))
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}
