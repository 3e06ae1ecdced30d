//! What releases and records ask of a bucket: objects that are made once, or changed only by who knows how they are.

use jiff::Timestamp;

use crate::failure::Failure;
use crate::release::content::Content;

/// A small object, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) content: Vec<u8>,
    /// Changes whenever the content does.
    pub(crate) etag: String,
}

/// What must hold for an object to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition<'a> {
    /// There is none (If-None-Match).
    Absent,
    /// It is still the one with this ETag (If-Match).
    Unchanged(&'a str),
}

/// What came of a write.
///
/// A call whose answer got lost is made again, so `Refused` may also mean that the first one took effect: read it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Put {
    Done { etag: String },
    Refused,
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) bytes: u64,
    pub(crate) modified: Timestamp,
}

/// One bucket.
pub(crate) trait Objects {
    async fn get(&self, key: &str) -> Result<Option<Object>, Failure>;

    async fn put(&self, key: &str, content: Vec<u8>, condition: Condition<'_>) -> Result<Put, Failure>;

    /// Writes an object of any size, if there is none; `progress` gets how many bytes there are by then.
    async fn upload(&self, key: &str, content: &Content, progress: &dyn Fn(u64)) -> Result<Put, Failure>;

    /// Whether the object has this content; `None` if there is no such object.
    async fn compare(&self, key: &str, content: &Content) -> Result<Option<bool>, Failure>;

    /// Every object below a prefix, by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        self.list_after(prefix, "").await
    }

    /// Those whose keys sort after this one.
    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, Failure>;

    /// The names that follow a prefix up to the next slash, sorted.
    async fn below(&self, prefix: &str) -> Result<Vec<String>, Failure>;

    /// Removes an object with all versions that it had.
    async fn remove(&self, key: &str) -> Result<(), Failure>;
}
