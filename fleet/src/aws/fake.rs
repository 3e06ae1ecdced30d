//! A bucket in a directory, for tests. Conditional writes are atomic between processes, and each write can be made to
//! fail.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::objects::{Condition, Listed, Object, Objects, Put};
use crate::digest::Sha256;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::release::content::Content;

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not reach the bucket.
    NotSent,
    /// It takes effect, but is never answered, however often it is sent.
    NotAnswered,
    /// It takes effect, its answer is lost, and the call is repeated.
    SentTwice,
    /// The process waits to be killed, before or after the write takes effect.
    HangBefore,
    HangAfter,
}

#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    /// The write that fails, counted from 0, and how.
    fault: Cell<Option<(usize, Fault)>>,
    writes: Cell<usize>,
    pub(crate) log: RefCell<Vec<String>>,
    /// How often a prefix was listed.
    pub(crate) lists: Cell<usize>,
}

impl Directory {
    pub(crate) fn new(root: &Path) -> Self {
        let (fault, writes, log, lists) = (Cell::new(None), Cell::new(0), RefCell::default(), Cell::new(0));
        Self { root: root.to_owned(), fault, writes, log, lists }
    }

    pub(crate) fn with(root: &Path, write: usize, fault: Fault) -> Self {
        let new = Self::new(root);
        new.fault.set(Some((write, fault)));
        new
    }

    /// Writes without faults or conditions, as an operator in the AWS console would.
    pub(crate) fn place(&self, key: &str, content: &[u8]) {
        let at = self.at(key);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, content).unwrap();
    }

    pub(crate) fn found(&self, key: &str) -> Option<Vec<u8>> {
        fs::read(self.at(key)).ok()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut open = vec![self.root.clone()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => open.push(path),
                    false => keys.push(path.strip_prefix(&self.root).unwrap().display().to_string()),
                }
            }
        }
        keys.retain(|key| !key.starts_with('.'));
        keys.sort();
        keys
    }

    fn at(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn write(&self, key: &str, content: &[u8], condition: Condition<'_>) -> Result<Put, Failure> {
        self.log.borrow_mut().push(format!("put {key}"));
        let number = self.writes.replace(self.writes.get() + 1);
        let fault = self.fault.get().filter(|(write, _)| *write == number).map(|(_, fault)| fault);
        let silent = || Failure::new(Exit::Unreachable, format!("cannot write {key}"));
        match fault {
            None => Ok(self.take(key, content, condition)),
            Some(Fault::NotSent) => Err(silent()),
            Some(Fault::NotAnswered) => {
                self.take(key, content, condition);
                Err(silent())
            }
            Some(Fault::SentTwice) => {
                self.take(key, content, condition);
                Ok(self.take(key, content, condition))
            }
            Some(Fault::HangBefore) => hang(),
            Some(Fault::HangAfter) => {
                self.take(key, content, condition);
                hang()
            }
        }
    }

    fn take(&self, key: &str, content: &[u8], condition: Condition<'_>) -> Put {
        let at = self.at(key);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let lock = File::create(self.root.join(".lock")).unwrap();
        lock.lock().unwrap();
        let now = fs::read(&at).ok().map(|content| etag(&content));
        let holds = match condition {
            Condition::Absent => now.is_none(),
            Condition::Unchanged(wanted) => now.as_deref() == Some(wanted),
        };
        if !holds {
            return Put::Refused;
        }
        let staged = self.root.join(format!(".staged-{}", std::process::id()));
        fs::write(&staged, content).unwrap();
        fs::rename(&staged, &at).unwrap();
        Put::Done { etag: etag(content) }
    }
}

fn etag(content: &[u8]) -> String {
    Sha256::of(content).to_string()
}

/// Reports on stdout that it hangs, then waits to be killed.
fn hang() -> ! {
    let mut out = io::stdout();
    out.write_all(b"\nhanging\n").and_then(|()| out.flush()).unwrap();
    loop {
        std::thread::park();
    }
}

impl Objects for Directory {
    async fn get(&self, key: &str) -> Result<Option<Object>, Failure> {
        Ok(self.found(key).map(|content| Object { etag: etag(&content), content }))
    }

    async fn put(&self, key: &str, content: Vec<u8>, condition: Condition<'_>) -> Result<Put, Failure> {
        self.write(key, &content, condition)
    }

    async fn upload(&self, key: &str, content: &Content, _: &dyn Fn(u64)) -> Result<Put, Failure> {
        self.write(key, &content.read(0).unwrap(), Condition::Absent)
    }

    async fn compare(&self, key: &str, content: &Content) -> Result<Option<bool>, Failure> {
        Ok(self.found(key).map(|found| Sha256::of(&found) == content.sha256))
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, Failure> {
        self.lists.set(self.lists.get() + 1);
        let found = self.keys().into_iter().filter(|key| key.starts_with(prefix) && key.as_str() > after);
        let listed = |key: String| {
            let about = fs::metadata(self.at(&key)).unwrap();
            Listed { key, bytes: about.len(), modified: Timestamp::try_from(about.modified().unwrap()).unwrap() }
        };
        Ok(found.map(listed).collect())
    }

    async fn below(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let found: BTreeSet<String> =
            self.keys().iter().filter_map(|key| Some(key.strip_prefix(prefix)?.split_once('/')?.0.to_owned())).collect();
        Ok(found.into_iter().collect())
    }

    async fn remove(&self, key: &str) -> Result<(), Failure> {
        self.log.borrow_mut().push(format!("remove {key}"));
        let _ = fs::remove_file(self.at(key));
        Ok(())
    }
}
