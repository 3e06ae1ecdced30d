//! What releases and records need of a bucket: objects created once, or changed only if they are as last read.

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
    /// The object does not exist (If-None-Match).
    Absent,
    /// The object still has this ETag (If-Match).
    Unchanged(&'a str),
}

/// Result of a write.
///
/// A call whose answer is lost is repeated, so `Refused` may also mean that the first attempt took effect: read the
/// object back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Put {
    Done { etag: String },
    Refused,
}

/// One entry of a listing.
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

    /// Creates an object of any size unless it exists. `progress` receives the number of bytes written so far.
    async fn upload(&self, key: &str, content: &Content, progress: &dyn Fn(u64)) -> Result<Put, Failure>;

    /// Returns whether the object has this content, or `None` if it does not exist.
    async fn compare(&self, key: &str, content: &Content) -> Result<Option<bool>, Failure>;

    /// Lists all objects below a prefix, by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        self.list_after(prefix, "").await
    }

    /// Lists the objects below a prefix whose keys sort after `after`.
    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, Failure>;

    /// Returns the names that follow a prefix, up to the next slash, sorted.
    async fn below(&self, prefix: &str) -> Result<Vec<String>, Failure>;

    /// Removes an object with all its versions.
    async fn remove(&self, key: &str) -> Result<(), Failure>;
}
