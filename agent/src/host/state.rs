//! What cannot be inspected and so must be remembered: which commands and signals this instance has begun, and ended.
//!
//! One file for each instance, `/var/lib/ingot/instances/<instance-id>/record.json`, so that an image made from an
//! instance that has booted does not carry its memory into another; what goes on beside a boot has one of its own beside
//! it. It says its version, its instance and a checksum; what was torn, is not ours, or is not a file at all, is set aside as
//! `record.json.bad` and counts for nothing. A disk that is full or read-only takes no record: then what needs one does not
//! begin, and all else does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::digest::Sha256;
use crate::failure::Explanation;
use crate::json::of_bytes;

use super::attributes::{Attributes, FileKind};
use super::error::HostError;
use super::files::Files;

/// Where ingot keeps what it remembers.
pub(crate) const STATE: &str = "/var/lib/ingot";

pub(crate) const INSTANCES: &str = "/var/lib/ingot/instances";

/// A record has a line for each command and signal: kilobytes.
const LIMIT: u64 = 16 << 20;

const VERSION: u32 = 1;

/// How many names are tried for what is set aside.
const SET_ASIDE: usize = 3;

/// The memory of this instance.
pub(crate) struct Record {
    files: Rc<dyn Files>,
    owner: (u32, u32),
    instance: String,
    path: PathBuf,
    staged: PathBuf,
    entries: RefCell<BTreeMap<String, Entry>>,
    distrusted: Option<String>,
    /// No one knows what the file holds, so it is not written either.
    is_unread: bool,
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
    /// Written before. If nothing else follows, no one knows how far it came.
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

    /// A record that the disk does not give: empty, and what it is told is remembered by no one else. The one on the disk
    /// stays as it is.
    pub(crate) fn unread(files: Rc<dyn Files>, owner: (u32, u32), instance: &str) -> Self {
        Self { is_unread: true, ..Self::of(directory(instance), "record", files, owner, instance, BTreeMap::new(), None) }
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

    /// The record of one application, in a file of its own: what runs is brought back after a reboot without anything else.
    ///
    /// # Errors
    ///
    /// As [`load`](Record::load).
    pub(crate) async fn application(&self, name: &str) -> Result<Self, HostError> {
        let directory = directory(&self.instance).join("applications");
        Self::within(directory, name, self.files.clone(), self.owner, &self.instance).await
    }

    /// Removes the record of one application.
    ///
    /// # Errors
    ///
    /// If it stays.
    pub(crate) async fn forget_application(&self, name: &str) -> Result<(), HostError> {
        self.files.remove(&self.application_path(name)).await
    }

    pub(crate) fn application_path(&self, name: &str) -> PathBuf {
        directory(&self.instance).join("applications").join(format!("{name}.json"))
    }

    /// The names of the applications that anything is remembered of.
    ///
    /// # Errors
    ///
    /// If the directory of their records cannot be read.
    pub(crate) async fn applications(&self) -> Result<Vec<String>, HostError> {
        Self::application_names(&*self.files, &self.instance).await
    }

    /// The same for someone who only looks: one that is not to be trusted stays where it is, and reads as empty.
    ///
    /// # Errors
    ///
    /// If it is there and cannot be read.
    pub(crate) async fn glance(files: Rc<dyn Files>, instance: &str, name: &str) -> Result<Self, HostError> {
        let directory = directory(instance).join("applications");
        let content = files.read(&directory.join(format!("{name}.json")), LIMIT).await?;
        let entries = content.and_then(|content| parse(&content, instance).ok()).unwrap_or_default();
        Ok(Self::of(directory, name, files, (0, 0), instance, entries, None))
    }

    /// The names of the applications of an instance that anything is remembered of.
    ///
    /// # Errors
    ///
    /// If the directory of their records cannot be read.
    pub(crate) async fn application_names(files: &dyn Files, instance: &str) -> Result<Vec<String>, HostError> {
        let found = files.list(&directory(instance).join("applications")).await?;
        Ok(found.iter().filter(|name| !name.starts_with('.')).filter_map(|name| name.strip_suffix(".json")).map(str::to_owned).collect())
    }

    async fn named(name: &str, files: Rc<dyn Files>, owner: (u32, u32), instance: &str) -> Result<Self, HostError> {
        Self::within(directory(instance), name, files, owner, instance).await
    }

    async fn within(directory: PathBuf, name: &str, files: Rc<dyn Files>, owner: (u32, u32), instance: &str) -> Result<Self, HostError> {
        let path = directory.join(format!("{name}.json"));
        let content = files.read(&path, LIMIT).await;
        let is_other = |kind| !matches!(kind, FileKind::File | FileKind::Symlink);
        let (entries, distrusted) = match content {
            Ok(None) => (BTreeMap::new(), None),
            Ok(Some(content)) => match parse(&content, instance) {
                Ok(entries) => (entries, None),
                Err(why) => (BTreeMap::new(), Some(why)),
            },
            Err(HostError::TooLarge { .. }) => (BTreeMap::new(), Some("it is too large".into())),
            Err(_) if files.stat(&path).await?.is_some_and(|stat| is_other(stat.kind)) => (BTreeMap::new(), Some("it is no file".into())),
            Err(error) => return Err(error),
        };
        let distrusted = match distrusted {
            Some(why) => Some(set_aside(&*files, &path, &why).await),
            None => None,
        };
        Ok(Self::of(directory, name, files, owner, instance, entries, distrusted))
    }

    fn of(
        directory: PathBuf,
        name: &str,
        files: Rc<dyn Files>,
        owner: (u32, u32),
        instance: &str,
        entries: BTreeMap<String, Entry>,
        distrusted: Option<String>,
    ) -> Self {
        Self {
            files,
            owner,
            instance: instance.to_owned(),
            path: directory.join(format!("{name}.json")),
            staged: directory.join(format!(".{name}.json.new")),
            entries: RefCell::new(entries),
            distrusted,
            is_unread: false,
            changes: Cell::new(0),
            written: Mutex::new(0),
        }
    }

    /// Takes in what another process has written since.
    ///
    /// # Errors
    ///
    /// As [`load`](Record::load).
    pub(crate) async fn refresh(&self) -> Result<(), HostError> {
        let (directory, name) = (self.path.parent().unwrap_or(&self.path), self.path.file_stem().unwrap_or_default());
        let found = Self::within(directory.to_owned(), &name.to_string_lossy(), self.files.clone(), self.owner, &self.instance).await?;
        self.entries.replace(found.entries.into_inner());
        Ok(())
    }

    /// Whose memory it is.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// What was there in place of a record, if it was not to be trusted: what has become of it, and why.
    pub(crate) fn distrusted(&self) -> Option<&str> {
        self.distrusted.as_deref()
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
        if self.is_unread {
            let source = std::io::Error::other("it could not be read");
            return Err(HostError::Path { operation: "add to", path: self.path.clone(), source });
        }
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
    let on_disk: OnDisk = of_bytes(content).map_err(|error| format!("it does not parse: {error}"))?;
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

/// Moves what is not to be trusted out of the way. What an operator should know of it.
async fn set_aside(files: &dyn Files, path: &Path, why: &str) -> String {
    let said = format!("{} is not to be trusted: {why}; what it remembered is forgotten", path.display());
    let mut failed = None;
    for number in 1..=SET_ASIDE {
        let bad = path.with_extension(if number == 1 { "json.bad".into() } else { format!("json.bad.{number}") });
        // Over an older one, unless one of them is a directory.
        match files.install(path, &bad).await {
            Ok(()) => return format!("{said}, and it is now {}", bad.display()),
            Err(error) => failed = Some(error),
        }
    }
    let error = failed.map_or_else(String::new, |error| Explanation::of(&error).to_string());
    format!("{said}, and it cannot be set aside: {error}")
}

fn checksum(entries: &BTreeMap<String, Entry>) -> String {
    let canonical = serde_json::to_vec(entries).unwrap_or_default();
    Sha256::of(&canonical).to_string()
}

/// Where everything lies that is kept for one instance alone.
pub(crate) fn directory(instance: &str) -> PathBuf {
    Path::new(INSTANCES).join(as_name(instance))
}

/// `instance` as the name of a directory: the metadata service, or a stand-in for it, must not choose the path.
fn as_name(instance: &str) -> String {
    let safe = |character: char| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' };
    let name: String = instance.chars().take(100).map(safe).collect();
    if name.trim_start_matches('.').is_empty() { "unknown".into() } else { name }
}

#[cfg(test)]
mod tests;
