//! Lists of files with digests, as stored by dpkg, apk, RPM and pip.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::super::{file, packages};
use crate::digest::Known;

/// The files of the packages that are installed below one directory. Paths are stored as hashes, because there are
/// hundreds of thousands.
#[derive(Debug, Default)]
pub(super) struct Listed {
    hasher: RandomState,
    digests: HashMap<u64, Known>,
}

/// Directories in which system packages have no files. A package with files there was made for a deployment.
const OF_THE_OWNER: [&str; 5] = ["opt/", "srv/", "home/", "root/", "usr/local/"];

impl Listed {
    /// Reads all lists in `directory`; paths in them are relative to it.
    pub(super) fn read(directory: &Path) -> Self {
        let mut listed = Self::default();
        listed.add_dpkg(directory);
        listed.add_apk(directory);
        listed.add_rpm(directory);
        listed.add_pip(directory);
        listed
    }

    /// The digests that are listed for `path`.
    pub(super) fn digests(&self, path: &[u8]) -> impl Iterator<Item = Known> {
        // A package may list lib/x for a file at usr/lib/x, if lib is a link to usr/lib.
        let names = [Some(path), path.strip_prefix(b"usr/")];
        names.into_iter().flatten().filter_map(|name| self.digests.get(&self.hasher.hash_one(name)).copied())
    }

    fn add(&mut self, path: &[u8], digest: Option<Known>) {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if let Some(digest) = digest {
            self.digests.insert(self.hasher.hash_one(path), digest);
        }
    }

    /// Adds a file of a system package, unless it is in a directory of the owner: a package for those may have been
    /// made on this machine.
    fn add_of_system(&mut self, path: &[u8], digest: Option<Known>) {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if !OF_THE_OWNER.iter().any(|directory| path.starts_with(directory.as_bytes())) {
            self.add(path, digest);
        }
    }

    fn add_dpkg(&mut self, directory: &Path) {
        let dpkg = directory.join("var/lib/dpkg");
        let mut shipped = HashSet::new();
        // Distroless images have these lists in `status.d`.
        for path in ["info", "status.d"].iter().filter_map(|name| fs::read_dir(dpkg.join(name)).ok()).flatten().flatten() {
            let path = path.path();
            if path.extension().is_some_and(|extension| extension == "md5sums") {
                for (digest, path) in sums(&file::list(&path)) {
                    shipped.insert(digest);
                    self.add_of_system(path, Known::of_hex(digest.as_slice()));
                }
            }
        }
        // A file that a package's script assembled here was not published.
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

    /// `F:` is a directory, `R:` a file in it, and `Z:` the file's digest.
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

    /// Reads `path,sha256=…,size` from each RECORD.
    fn add_pip(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "dist-info") {
                continue;
            }
            // Not installed from an index: pip may have generated the list from a local directory.
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

/// Parses lines such as `0123…  path`.
fn sums(content: &[u8]) -> impl Iterator<Item = ([u8; 32], &[u8])> {
    lines(content).filter_map(|line| line.split_first_chunk::<32>().map(|(digest, path)| (*digest, path.trim_ascii_start())))
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}
