//! What cannot be inspected and so must be remembered: which commands and signals this instance has begun, and ended.
//!
//! One file for each instance, `/var/lib/ingot/instances/<instance-id>/record.json`, so that an image made from an
//! instance that has booted does not carry its memory into another; what goes on beside a boot has one of its own beside
//! it. It says its version, its instance and a checksum;
//! a file that was torn, or is not ours, is set aside as `record.json.bad` and counts for nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Attributes, Files, HostError};

const INSTANCES: &str = "/var/lib/ingot/instances";

/// A record has a line for each command and signal: kilobytes.
const LIMIT: u64 = 16 << 20;

const VERSION: u32 = 1;

/// The memory of this instance.
pub(crate) struct Record {
    files: Rc<dyn Files>,
    owner: (u32, u32),
    instance: String,
    path: PathBuf,
    staged: PathBuf,
    entries: RefCell<BTreeMap<String, Entry>>,
    /// Counts the changes of `entries`.
    changes: Cell<u64>,
    /// Up to which change the file is written. Who holds it, writes for everyone who waits.
    written: Mutex<u64>,
}

/// What is remembered of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) state: EntryState,
    /// The boot in which it came to this state.
    pub(crate) boot_id: String,
    /// When, for people.
    pub(crate) at: String,
    /// Whatever the step wants to know again. Never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryState {
    /// Written before. If nothing else follows, nobody knows how far it came.
    Started,
    /// Written after.
    Done,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    version: u32,
    instance: String,
    /// Of the entries, as they are written here but without white space.
    sha256: String,
    entries: BTreeMap<String, Entry>,
}

impl Record {
    /// Reads the record of `instance`; an empty one if there is none, or none to be trusted. `owner` is our uid and gid.
    ///
    /// # Errors
    ///
    /// If it is there and the disk does not give it: to go on would be to run again what ran.
    pub(crate) async fn load(files: Rc<dyn Files>, owner: (u32, u32), instance: &str) -> Result<Self, HostError> {
        Self::named("record", files, owner, instance).await
    }

    /// The record of one step in a file of its own. Who goes on beside a boot that is over needs one: later boots write
    /// the other, and neither is to overwrite what the other remembers.
    ///
    /// # Errors
    ///
    /// As [`load`](Record::load).
    pub(crate) async fn apart(&self, address: &str) -> Result<Self, HostError> {
        Self::named(&address.replace('/', "!"), self.files.clone(), self.owner, &self.instance).await
    }

    async fn named(name: &str, files: Rc<dyn Files>, owner: (u32, u32), instance: &str) -> Result<Self, HostError> {
        let directory = Path::new(INSTANCES).join(as_name(instance));
        let path = directory.join(format!("{name}.json"));
        let entries = match files.read(&path, LIMIT).await {
            Ok(None) => BTreeMap::new(),
            Ok(Some(content)) => match parse(&content, instance) {
                Ok(entries) => entries,
                Err(why) => set_aside(&*files, &path, &why).await,
            },
            Err(HostError::TooLarge { .. }) => set_aside(&*files, &path, "it is too large").await,
            Err(error) => return Err(error),
        };
        Ok(Self {
            files,
            owner,
            instance: instance.to_owned(),
            path,
            staged: directory.join(format!(".{name}.json.new")),
            entries: RefCell::new(entries),
            changes: Cell::new(0),
            written: Mutex::new(0),
        })
    }

    pub(crate) fn get(&self, address: &str) -> Option<Entry> {
        self.entries.borrow().get(address).cloned()
    }

    /// Every entry whose address begins with `prefix`, by address.
    pub(crate) fn below(&self, prefix: &str) -> Vec<(String, Entry)> {
        let entries = self.entries.borrow();
        entries.iter().filter(|(address, _)| address.starts_with(prefix)).map(|(address, entry)| (address.clone(), entry.clone())).collect()
    }

    /// Remembers `entry`: once this returns, it is on disk.
    ///
    /// # Errors
    ///
    /// If it could not be written; what was remembered before then still holds.
    pub(crate) async fn put(&self, address: &str, entry: Entry) -> Result<(), HostError> {
        self.set(address, Some(entry)).await
    }

    /// Forgets what is remembered of `address`: once this returns, it is gone from the disk.
    ///
    /// # Errors
    ///
    /// As [`put`](Record::put).
    pub(crate) async fn remove(&self, address: &str) -> Result<(), HostError> {
        self.set(address, None).await
    }

    async fn set(&self, address: &str, entry: Option<Entry>) -> Result<(), HostError> {
        let before = self.exchange(address, entry.clone());
        self.changes.set(self.changes.get() + 1);
        let mine = self.changes.get();

        let mut written = self.written.lock().await;
        if *written >= mine {
            return Ok(());
        }
        let upto = self.changes.get();
        match self.write().await {
            Ok(()) => {
                *written = upto;
                Ok(())
            }
            Err(error) => {
                if self.get(address) == entry {
                    self.exchange(address, before);
                }
                Err(error)
            }
        }
    }

    fn exchange(&self, address: &str, entry: Option<Entry>) -> Option<Entry> {
        let mut entries = self.entries.borrow_mut();
        match entry {
            Some(entry) => entries.insert(address.to_owned(), entry),
            None => entries.remove(address),
        }
    }

    async fn write(&self) -> Result<(), HostError> {
        let content = self.content();
        let (uid, gid) = self.owner;
        if let Some(directory) = self.path.parent() {
            self.files.create_directory(directory, 0o700).await?;
        }
        self.files.stage(&self.staged, &content, Attributes { mode: 0o600, uid, gid }).await?;
        self.files.install(&self.staged, &self.path).await
    }

    fn content(&self) -> Vec<u8> {
        let entries = self.entries.borrow().clone();
        let on_disk = OnDisk { version: VERSION, instance: self.instance.clone(), sha256: checksum(&entries), entries };
        // Strings and maps of strings: there is nothing in it that JSON cannot say.
        let mut content = serde_json::to_vec_pretty(&on_disk).unwrap_or_default();
        content.push(b'\n');
        content
    }
}

/// The entries of a record's file, or why it is not to be trusted.
fn parse(content: &[u8], instance: &str) -> Result<BTreeMap<String, Entry>, String> {
    let on_disk: OnDisk = serde_json::from_slice(content).map_err(|error| format!("it does not parse: {error}"))?;
    if on_disk.version != VERSION {
        return Err(format!("it is of version {}, and this ingot knows {VERSION}", on_disk.version));
    }
    if on_disk.instance != instance {
        return Err(format!("it is of {}", on_disk.instance));
    }
    if on_disk.sha256 != checksum(&on_disk.entries) {
        return Err("its checksum is wrong".into());
    }
    Ok(on_disk.entries)
}

async fn set_aside(files: &dyn Files, path: &Path, why: &str) -> BTreeMap<String, Entry> {
    let bad = path.with_extension("json.bad");
    log::warn!("{} is not to be trusted: {why}; it is now {}, and what it remembered is forgotten", path.display(), bad.display());
    if let Err(error) = files.install(path, &bad).await {
        log::warn!("{}", crate::failure::Explanation::of(&error));
    }
    BTreeMap::new()
}

fn checksum(entries: &BTreeMap<String, Entry>) -> String {
    let canonical = serde_json::to_vec(entries).unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, &canonical);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `instance` as the name of a directory: the metadata service, or a stand-in for it, must not choose the path.
fn as_name(instance: &str) -> String {
    let safe = |character: char| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' };
    let name: String = instance.chars().take(100).map(safe).collect();
    if name.trim_start_matches('.').is_empty() { "unknown".into() } else { name }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::files::DiskFiles;
    use super::*;

    fn entry(state: EntryState) -> Entry {
        Entry { state, boot_id: "b".into(), at: "2026-11-01T00:00:00Z".into(), detail: None }
    }

    struct Fixture {
        root: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            Self { root: tempfile::tempdir().unwrap() }
        }

        async fn load(&self, instance: &str) -> Record {
            let owner = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
            Record::load(Rc::new(DiskFiles::new(Some(self.root.path().to_owned()))), owner, instance).await.unwrap()
        }

        fn file(&self) -> PathBuf {
            self.root.path().join("var/lib/ingot/instances/i-1/record.json")
        }
    }

    #[tokio::test]
    async fn remembers_across_processes_and_not_across_instances() {
        let fixture = Fixture::new();
        fixture.load("i-1").await.put("commands.migrate", entry(EntryState::Done)).await.unwrap();
        assert_eq!(fixture.load("i-1").await.get("commands.migrate"), Some(entry(EntryState::Done)));
        assert_eq!(fixture.load("i-2").await.get("commands.migrate"), None);

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&fixture.file()), mode(fixture.file().parent().unwrap())), (0o600, 0o700));
        insta::assert_snapshot!(fs::read_to_string(fixture.file()).unwrap(), @r#"
        {
          "version": 1,
          "instance": "i-1",
          "sha256": "09d3f70eebc985d6e18ef60f7dc6a9bcf67c7f6eb6043854466eb3473c2e7344",
          "entries": {
            "commands.migrate": {
              "state": "done",
              "boot_id": "b",
              "at": "2026-11-01T00:00:00Z"
            }
          }
        }
        "#);
    }

    #[tokio::test]
    async fn loses_nothing_when_several_write_at_once() {
        let fixture = Fixture::new();
        let record = fixture.load("i-1").await;
        let puts = (0..50).map(|number| {
            let record = &record;
            async move { record.put(&format!("commands.{number:02}"), entry(EntryState::Started)).await }
        });
        assert!(futures_util::future::join_all(puts).await.into_iter().all(|put| put.is_ok()));
        assert_eq!(fixture.load("i-1").await.entries.borrow().len(), 50);
    }

    #[tokio::test]
    async fn sets_aside_what_it_cannot_trust() {
        let fixture = Fixture::new();
        fixture.load("i-1").await.put("commands.a", entry(EntryState::Done)).await.unwrap();
        let whole = fs::read_to_string(fixture.file()).unwrap();
        let spoilt = [
            String::new(),
            "\0\0\0\0".into(),
            whole[..whole.len() / 2].to_owned(),
            whole.replace("commands.a", "commands.b"),
            whole.replace("\"version\": 1", "\"version\": 2"),
            whole.replace("i-1", "i-2"),
        ];
        for content in spoilt {
            fs::write(fixture.file(), &content).unwrap();
            let record = fixture.load("i-1").await;
            assert_eq!(record.get("commands.a"), None, "{content}");
            assert!(!fixture.file().exists());
            assert_eq!(fs::read_to_string(fixture.file().with_extension("json.bad")).unwrap(), content);
            record.put("commands.c", entry(EntryState::Started)).await.unwrap();
            assert_eq!(fixture.load("i-1").await.get("commands.c"), Some(entry(EntryState::Started)));
        }
    }

    #[tokio::test]
    async fn forgets_what_could_not_be_written() {
        let fixture = Fixture::new();
        let record = fixture.load("i-1").await;
        fs::write(fixture.root.path().join("var"), "in the way").unwrap();
        assert!(record.put("commands.a", entry(EntryState::Started)).await.is_err());
        assert_eq!(record.get("commands.a"), None);
        fs::remove_file(fixture.root.path().join("var")).unwrap();
        record.put("commands.a", entry(EntryState::Started)).await.unwrap();
        assert_eq!(fixture.load("i-1").await.get("commands.a"), Some(entry(EntryState::Started)));
    }

    #[tokio::test]
    async fn what_is_kept_apart_is_not_overwritten() {
        let fixture = Fixture::new();
        let (first, second) = (fixture.load("i-1").await, fixture.load("i-1").await);
        let apart = first.apart("warm./srv/shop").await.unwrap();
        second.put("commands.a", entry(EntryState::Done)).await.unwrap();
        apart.put("warm./srv/shop", entry(EntryState::Done)).await.unwrap();
        let later = fixture.load("i-1").await;
        assert_eq!(later.get("commands.a"), Some(entry(EntryState::Done)));
        assert_eq!(later.get("warm./srv/shop"), None);
        assert_eq!(later.apart("warm./srv/shop").await.unwrap().get("warm./srv/shop"), Some(entry(EntryState::Done)));
        assert!(fixture.file().with_file_name("warm.!srv!shop.json").exists());
    }

    #[test]
    fn an_instance_id_is_no_path() {
        assert_eq!(as_name("i-0abc123def4567890"), "i-0abc123def4567890");
        assert_eq!(as_name("../../etc"), ".._.._etc");
        assert_eq!((as_name(".."), as_name("")), ("unknown".into(), "unknown".into()));
    }
}
