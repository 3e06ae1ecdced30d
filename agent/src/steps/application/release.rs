//! The contents of a release that determine what runs: a snapshot of its directory, and the function that takes it.
//!
//! Everything that judges a release works on this value, so the dry run and the boot reach the same result. Only the
//! top level, the hooks, `.ebextensions` and a few named paths are examined, and only the files that are judged by
//! their content are read. Links are followed within the release, but never out of it.

mod places;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) use self::places::tells;
use self::places::{PROBED, is_entered, is_read};
use crate::host::{FileKind, Files, HostError, Stat};

/// Maximum number of examined entries per directory, in addition to those that determine what runs.
const ENTRIES_LIMIT: usize = 2000;

/// Maximum size of a file that is read, in bytes. Files of this kind have a few kilobytes; a larger hook is a program.
pub(crate) const FILE_LIMIT: u64 = 256 << 10;

/// Maximum number of bytes read from one release in total.
const TOTAL_LIMIT: u64 = 8 << 20;

/// A release: the entries that were found, by path relative to the release, with `/` as separator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Release {
    entries: BTreeMap<String, Entry>,
    /// Directories with more entries than the limit.
    pub(crate) cut: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// The permission bits; for a link, those of its target.
    pub(crate) mode: u32,
    /// `None` if the content is not read.
    content: Option<Content>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// A link that leads out of the release, or whose target does not exist.
    Astray,
    /// A socket, a FIFO or a device.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Bytes(Vec<u8>),
    TooLarge,
}

impl Release {
    /// Reads the release in `root`. A directory that does not exist is an empty release.
    ///
    /// # Errors
    ///
    /// If ingot cannot read it, for example for lack of permission.
    pub(crate) async fn read(root: &Path, files: &dyn Files) -> Result<Self, HostError> {
        let root = files.resolved(root).await?;
        let mut reader = Reader { files, root: root.clone(), left: TOTAL_LIMIT, release: Self::default() };
        let mut open = vec![(String::new(), root.clone())];
        while let Some((directory, real)) = open.pop() {
            let mut names = files.list(&real).await?;
            if names.len() > ENTRIES_LIMIT {
                let rest = names.split_off(ENTRIES_LIMIT);
                names.extend(rest.into_iter().filter(|name| directory.is_empty() && tells(name)));
                reader.release.cut.push(if directory.is_empty() { ".".into() } else { directory.clone() });
            }
            for name in names {
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                if let Some(found) = reader.look(&path).await?
                    && is_entered(&path)
                {
                    open.push((path, found));
                }
            }
        }
        for path in PROBED {
            if reader.release.is_directory(path.split('/').next().unwrap_or(path)) {
                reader.look(path).await?;
            }
        }
        Ok(reader.release)
    }

    pub(crate) fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(crate) fn is_file(&self, path: &str) -> bool {
        self.entry(path).is_some_and(|entry| entry.kind == Kind::File)
    }

    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.entry(path).is_some_and(|entry| entry.kind == Kind::Directory)
    }

    /// Whether it is an executable file.
    pub(crate) fn is_program(&self, path: &str) -> bool {
        self.entry(path).is_some_and(|entry| entry.kind == Kind::File && entry.mode & 0o111 != 0)
    }

    /// The direct entries of a directory, by name; "" is the top level.
    pub(crate) fn within<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let name = move |path: &'a String| path.strip_prefix(prefix.as_str()).filter(|name| !name.is_empty() && !name.contains('/'));
        self.entries.iter().filter_map(move |(path, entry)| Some((name(path)?, entry)))
    }

    /// Directories that would be examined, but are links out of the release.
    pub(crate) fn astray(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|(path, entry)| is_entered(path) && entry.kind == Kind::Astray).map(|(path, _)| path.as_str())
    }

    /// The top-level files whose names have this suffix.
    pub(crate) fn ending<'a>(&'a self, suffix: &'a str) -> impl Iterator<Item = &'a str> {
        self.within("").filter(move |(name, entry)| entry.kind == Kind::File && name.ends_with(suffix)).map(|(name, _)| name)
    }
}

/// Takes the snapshot.
struct Reader<'a> {
    files: &'a dyn Files,
    /// The root with all symbolic links resolved.
    root: PathBuf,
    /// How many bytes may still be read.
    left: u64,
    release: Release,
}

impl Reader<'_> {
    /// Records what is at `path`. Returns its real path if it is a directory.
    async fn look(&mut self, path: &str) -> Result<Option<PathBuf>, HostError> {
        let named = self.root.join(path);
        // Parts of a probed path may be links too.
        let Some((real, stat)) = self.within(&named).await? else {
            if self.files.stat(&named).await.ok().flatten().is_some() {
                self.note(path, Entry { kind: Kind::Astray, mode: 0, content: None });
            }
            return Ok(None);
        };
        let kind = match stat.kind {
            FileKind::File => Kind::File,
            FileKind::Directory => Kind::Directory,
            FileKind::Symlink | FileKind::Other => Kind::Other,
        };
        let content = if kind == Kind::File && is_read(path) { Some(self.content(&real, stat.size).await?) } else { None };
        self.note(path, Entry { kind, mode: stat.attributes.mode, content });
        Ok((kind == Kind::Directory).then_some(real))
    }

    /// The real path of `path`, and what is there; `None` if it is outside the release or does not exist.
    async fn within(&self, path: &Path) -> Result<Option<(PathBuf, Stat)>, HostError> {
        // This includes cycles of links.
        let Ok(real) = self.files.resolved(path).await else { return Ok(None) };
        if !real.starts_with(&self.root) {
            return Ok(None);
        }
        let stat = self.files.stat(&real).await?;
        Ok(stat.filter(|stat| stat.kind != FileKind::Symlink).map(|stat| (real, stat)))
    }

    async fn content(&mut self, real: &Path, size: u64) -> Result<Content, HostError> {
        if size > FILE_LIMIT.min(self.left) {
            return Ok(Content::TooLarge);
        }
        let bytes = self.files.read(real, FILE_LIMIT).await?.map(|bytes| bytes.to_vec()).unwrap_or_default();
        self.left = self.left.saturating_sub(bytes.len() as u64);
        Ok(Content::Bytes(bytes))
    }

    fn note(&mut self, path: &str, entry: Entry) {
        self.release.entries.insert(path.to_owned(), entry);
    }
}

#[cfg(test)]
impl Release {
    /// A release for tests: files with their content, with mode 0644. A path that ends with `/` is a directory, and one
    /// that begins with `+` a program.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut release = Self::default();
        for (path, content) in files {
            let (path, mode) = path.strip_prefix('+').map_or((*path, 0o644), |path| (path, 0o755));
            let directory = path.strip_suffix('/');
            for (end, _) in path.match_indices('/') {
                release.entries.insert(path[..end].into(), Entry { kind: Kind::Directory, mode: 0o755, content: None });
            }
            if directory.is_none() {
                let content = is_read(path).then(|| Content::Bytes(content.as_bytes().to_vec()));
                release.entries.insert(path.into(), Entry { kind: Kind::File, mode, content });
            }
        }
        release
    }

    pub(crate) fn of_bytes(path: &str, content: &[u8]) -> Self {
        let content = Some(Content::Bytes(content.to_vec()));
        Self { entries: BTreeMap::from([(path.into(), Entry { kind: Kind::File, mode: 0o644, content })]), cut: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::machine::FakeMachine;

    async fn read(machine: &FakeMachine) -> Release {
        Release::read(Path::new("/opt/shop/releases/1"), &*machine.host().files).await.unwrap()
    }

    fn machine(files: &[(&str, &str)]) -> FakeMachine {
        let machine = FakeMachine::new_instance();
        for (path, content) in files {
            machine.add_file(&format!("/opt/shop/releases/1/{path}"), content);
        }
        machine
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_holds_what_is_judged_and_no_more() {
        let files = [
            ("Procfile", "web: x\n"),
            ("src/deep/down.js", "x"),
            ("app.js", "secret"),
            (".platform/hooks/prebuild/01.sh", "#!/bin/sh\n"),
            (".platform/nginx/conf.d/a.conf", "x"),
            (".ebextensions/a.config", "commands: {}\n"),
            (".ebextensions/readme.md", "x"),
            ("vendor/bundle/gem", "x"),
        ];
        let release = read(&machine(&files)).await;
        let paths: Vec<&str> = release.entries.keys().map(String::as_str).collect();
        let expected = [
            ".ebextensions",
            ".ebextensions/a.config",
            ".ebextensions/readme.md",
            ".platform",
            ".platform/hooks",
            ".platform/hooks/prebuild",
            ".platform/hooks/prebuild/01.sh",
            ".platform/nginx",
            ".platform/nginx/conf.d",
            ".platform/nginx/conf.d/a.conf",
            "Procfile",
            "app.js",
            "src",
            "vendor",
            "vendor/bundle",
        ];
        assert_eq!(paths, expected);
        let read: Vec<&str> = release.entries.iter().filter(|(_, entry)| entry.content.is_some()).map(|(path, _)| path.as_str()).collect();
        let expected = [".ebextensions/a.config", ".platform/hooks/prebuild/01.sh", ".platform/nginx/conf.d/a.conf", "Procfile"];
        assert_eq!(read, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn links_are_followed_within_the_release_and_never_out_of_it() {
        let machine = machine(&[("deploy/Procfile", "web: x\n"), (".platform/hooks/predeploy/a.sh", "#!/bin/sh\n"), ("vendor/x", "")]);
        machine.add_file("/etc/shadow", "root:x\n");
        machine.add_directory("/etc/bundle");
        for (link, target) in [
            ("Procfile", "deploy/Procfile"),
            (".platform/confighooks", "hooks"),
            ("Buildfile", "/etc/shadow"),
            ("package.json", "../../../../etc/shadow"),
            ("Gemfile", "nowhere"),
            ("Dockerfile", "Dockerfile"),
            ("vendor/bundle", "/etc/bundle"),
        ] {
            machine.add_link(&format!("/opt/shop/releases/1/{link}"), target);
        }
        let release = read(&machine).await;
        assert_eq!(release.text("Procfile").unwrap().unwrap(), "web: x\n");
        assert_eq!(release.bytes(".platform/confighooks/predeploy/a.sh"), Some(b"#!/bin/sh\n".as_slice()));
        for astray in ["Buildfile", "package.json", "Gemfile", "Dockerfile", "vendor/bundle"] {
            assert_eq!(release.entry(astray).unwrap().kind, Kind::Astray, "{astray}");
            assert!(release.bytes(astray).is_none(), "{astray}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_is_bounded() {
        let machine = machine(&[("Procfile", &"#".repeat(FILE_LIMIT as usize + 1))]);
        for number in 0..40 {
            machine.add_file(&format!("/opt/shop/releases/1/.ebextensions/{number}.config"), &"#".repeat(FILE_LIMIT as usize));
        }
        for number in 0..ENTRIES_LIMIT {
            machine.add_file(&format!("/opt/shop/releases/1/files-{number}"), "");
        }
        for late in ["package.json", "server.js", "shop.jar", "public/index.php", "uploads.txt"] {
            machine.add_file(&format!("/opt/shop/releases/1/{late}"), "");
        }
        let release = read(&machine).await;
        assert_eq!(release.entry("Procfile").unwrap().content, Some(Content::TooLarge));
        assert!(["package.json", "server.js", "shop.jar", "public/index.php"].iter().all(|late| release.is_file(late)));
        assert!(!release.is_file("uploads.txt"));
        let read: usize = release.entries.keys().filter_map(|path| Some(release.bytes(path)?.len())).sum();
        assert_eq!(read as u64, TOTAL_LIMIT);
        assert_eq!(release.cut, ["."]);
        assert_eq!(release.within("").count(), ENTRIES_LIMIT + 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_that_is_not_there_is_empty() {
        assert_eq!(read(&FakeMachine::new_instance()).await, Release::default());
    }
}
