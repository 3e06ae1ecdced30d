//! State that cannot be inspected and so has to be remembered: which commands and signals this instance has started and
//! completed.
//!
//! There is one file for each instance, `/var/lib/ingot/instances/<instance-id>/record.json`, so that an image made
//! from an instance that has booted does not carry its state into another. Work that continues after a boot has a
//! separate file next to it. The file contains its version, its instance and a checksum. A file that is truncated,
//! belongs to another instance, or is not a regular file is moved aside to `record.json.bad` and ignored. If the disk
//! is full or read-only, nothing can be recorded: steps that need a record then do not start, and all others do.

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

/// The directories of ingot's state.
pub(crate) const STATE: &str = "/var/lib/ingot";

pub(crate) const INSTANCES: &str = "/var/lib/ingot/instances";

/// Maximum size in bytes. A record has a line for each command and signal, so it usually has a few kilobytes.
const LIMIT: u64 = 16 << 20;

const VERSION: u32 = 1;

/// How many file names are tried for moving a bad record aside.
const SET_ASIDE: usize = 3;

/// The record of this instance.
pub(crate) struct Record {
    files: Rc<dyn Files>,
    owner: (u32, u32),
    instance: String,
    path: PathBuf,
    staged: PathBuf,
    entries: RefCell<BTreeMap<String, Entry>>,
    distrusted: Option<String>,
    /// Whether the file could not be read. It must then not be written either.
    is_unread: bool,
    /// Counts the changes of `entries`.
    changes: Cell<u64>,
    /// The last change that is in the file. The task that holds the lock writes on behalf of all that wait.
    written: Mutex<u64>,
}

/// The record of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) state: EntryState,
    /// The boot in which it reached this state.
    pub(crate) boot_id: String,
    /// The time, for display.
    pub(crate) at: String,
    /// Information that the step needs again. Never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryState {
    /// Written before the action. If no other state follows, it is unknown how far the action got.
    Started,
    /// Written after the action.
    Done,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    version: u32,
    instance: String,
    /// Digest of the entries, serialized as here but without white space.
    sha256: String,
    entries: BTreeMap<String, Entry>,
}

impl Record {
    /// Reads the record of `instance`; it is empty if there is none or it cannot be trusted. `owner` is ingot's uid and
    /// gid.
    ///
    /// # Errors
    ///
    /// If it exists but cannot be read: continuing would run again what has already run.
    pub(crate) async fn load(files: Rc<dyn Files>, owner: (u32, u32), instance: &str) -> Result<Self, HostError> {
        Self::named("record", files, owner, instance).await
    }

    /// An empty record in place of one that cannot be read. Changes are kept in memory only, and the file on disk is
    /// left unchanged.
    pub(crate) fn unread(files: Rc<dyn Files>, owner: (u32, u32), instance: &str) -> Self {
        Self { is_unread: true, ..Self::of(directory(instance), "record", files, owner, instance, BTreeMap::new(), None) }
    }

    /// The record of one step in a file of its own. Work that continues after a boot needs one: later boots write the
    /// main record, and neither may overwrite the other's entries.
    ///
    /// # Errors
    ///
    /// As for [`load`](Record::load).
    pub(crate) async fn apart(&self, address: &str) -> Result<Self, HostError> {
        Self::named(&address.replace('/', "!"), self.files.clone(), self.owner, &self.instance).await
    }

    /// The record of one application, in a file of its own: after a reboot, a running application is restored from this
    /// file alone.
    ///
    /// # Errors
    ///
    /// As for [`load`](Record::load).
    pub(crate) async fn application(&self, name: &str) -> Result<Self, HostError> {
        let directory = directory(&self.instance).join("applications");
        Self::within(directory, name, self.files.clone(), self.owner, &self.instance).await
    }

    /// Removes the record of one application.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub(crate) async fn forget_application(&self, name: &str) -> Result<(), HostError> {
        self.files.remove(&self.application_path(name)).await
    }

    pub(crate) fn application_path(&self, name: &str) -> PathBuf {
        directory(&self.instance).join("applications").join(format!("{name}.json"))
    }

    /// The names of the applications that have a record.
    ///
    /// # Errors
    ///
    /// If the directory of their records cannot be read.
    pub(crate) async fn applications(&self) -> Result<Vec<String>, HostError> {
        Self::application_names(&*self.files, &self.instance).await
    }

    /// The record of one application, for read-only use: a record that cannot be trusted stays in place and reads as
    /// empty.
    ///
    /// # Errors
    ///
    /// If it exists and cannot be read.
    pub(crate) async fn glance(files: Rc<dyn Files>, instance: &str, name: &str) -> Result<Self, HostError> {
        let directory = directory(instance).join("applications");
        let content = files.read(&directory.join(format!("{name}.json")), LIMIT).await?;
        let entries = content.and_then(|content| parse(&content, instance).ok()).unwrap_or_default();
        Ok(Self::of(directory, name, files, (0, 0), instance, entries, None))
    }

    /// The names of the applications of an instance that have a record.
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

    /// Reads what another process has written since.
    ///
    /// # Errors
    ///
    /// As for [`load`](Record::load).
    pub(crate) async fn refresh(&self) -> Result<(), HostError> {
        let (directory, name) = (self.path.parent().unwrap_or(&self.path), self.path.file_stem().unwrap_or_default());
        let found = Self::within(directory.to_owned(), &name.to_string_lossy(), self.files.clone(), self.owner, &self.instance).await?;
        self.entries.replace(found.entries.into_inner());
        Ok(())
    }

    /// The instance that the record belongs to.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// If the file could not be trusted, the reason and what was done with it.
    pub(crate) fn distrusted(&self) -> Option<&str> {
        self.distrusted.as_deref()
    }

    pub(crate) fn get(&self, address: &str) -> Option<Entry> {
        self.entries.borrow().get(address).cloned()
    }

    /// Every entry whose address begins with `prefix`, with its address.
    pub(crate) fn below(&self, prefix: &str) -> Vec<(String, Entry)> {
        let entries = self.entries.borrow();
        entries.iter().filter(|(address, _)| address.starts_with(prefix)).map(|(address, entry)| (address.clone(), entry.clone())).collect()
    }

    /// Stores `entry`: once this returns, it is on disk.
    ///
    /// # Errors
    ///
    /// If it could not be written; earlier entries remain valid.
    pub(crate) async fn put(&self, address: &str, entry: Entry) -> Result<(), HostError> {
        self.set(address, Some(entry)).await
    }

    /// Removes the entry of `address`: once this returns, it is gone from the disk.
    ///
    /// # Errors
    ///
    /// As for [`put`](Record::put).
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
        // Cannot fail: it contains only strings and maps of strings, which JSON can always represent.
        let mut content = serde_json::to_vec_pretty(&on_disk).unwrap_or_default();
        content.push(b'\n');
        content
    }
}

/// Parses the entries of a record file, or returns why it cannot be trusted.
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

/// Moves an untrusted record aside. Returns a message for the operator.
async fn set_aside(files: &dyn Files, path: &Path, why: &str) -> String {
    let said = format!("{} is not to be trusted: {why}; what it remembered is forgotten", path.display());
    let mut failed = None;
    for number in 1..=SET_ASIDE {
        let bad = path.with_extension(if number == 1 { "json.bad".into() } else { format!("json.bad.{number}") });
        // Replaces an older one, unless one of the two is a directory.
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

/// The directory of everything that belongs to one instance only.
pub(crate) fn directory(instance: &str) -> PathBuf {
    Path::new(INSTANCES).join(as_name(instance))
}

/// `instance` as a directory name: the metadata service, or a server that impersonates it, must not be able to choose
/// the path.
fn as_name(instance: &str) -> String {
    let safe = |character: char| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' };
    let name: String = instance.chars().take(100).map(safe).collect();
    if name.trim_start_matches('.').is_empty() { "unknown".into() } else { name }
}

#[cfg(test)]
mod tests;
